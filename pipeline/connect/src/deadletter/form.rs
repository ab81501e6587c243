//! Which parts of a letter are sent: all of them, or as much as its topic takes. The letter's headers name what is left
//! out. Pure.
//!
//! A topic that refuses a letter does not say how large it may be. So less is sent step by step: first the letter is
//! compressed and sent in a batch of its own; then the text of its error is cut; then the headers about the error are
//! left out; and then the largest of value, record's headers and key, the next largest, and the last. From then on
//! headers say where the record is, whatever `errors.deadletterqueue.context.headers.enable` says, so that it can be
//! read again; and they give the size of what is missing and, of value and key, the digest.

use rdkafka::message::{Header, OwnedHeaders};
use sha2::{Digest as _, Sha256};

use super::{DeadLetter, ErrorStage};

/// The prefix of the names of all headers about an error.
const PREFIX: &str = "__connect.errors.";

/// The bytes to which the text of an error is cut.
const SHORT: usize = 256;

/// What the context headers say about the task.
pub(super) struct ContextHeaders {
    pub connector: String,
    pub task: String,
    pub converter: String,
    pub sink: String,
}

/// How much the letter says about the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum ErrorContext {
    #[default]
    Whole,
    /// Everything, but the text of the error is cut.
    Short,
    /// Nothing.
    Nothing,
}

/// A part of a letter that can be large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
enum LetterPart {
    Value,
    Headers,
    Key,
}

impl LetterPart {
    /// The bytes that the letter has in this part.
    fn size(self, letter: &DeadLetter) -> usize {
        match self {
            Self::Value => letter.value.as_ref().map_or(0, Vec::len),
            Self::Headers => own_headers(letter).map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len)).sum(),
            Self::Key => letter.origin.key.as_ref().map_or(0, Vec::len),
        }
    }
}

/// A part that is left out.
#[derive(Debug, Clone)]
struct LeftOut {
    part: LetterPart,
    size: usize,
    /// The digest in hexadecimal, of a part that is one sequence of bytes.
    sha256: Option<String>,
}

/// Which parts of a letter are sent, and how.
#[derive(Debug, Clone, Default)]
pub(super) struct LetterForm {
    alone: bool,
    context: ErrorContext,
    left_out: Vec<LeftOut>,
}

impl LetterForm {
    /// Whether the letter is sent compressed and in a batch of its own.
    pub fn is_alone(&self) -> bool {
        self.alone
    }

    /// Whether the letter's value is sent.
    pub fn has_value(&self) -> bool {
        self.has(LetterPart::Value)
    }

    /// Whether the record's key is sent.
    pub fn has_key(&self) -> bool {
        self.has(LetterPart::Key)
    }

    fn has(&self, part: LetterPart) -> bool {
        !self.left_out.iter().any(|left_out| left_out.part == part)
    }

    /// Takes the next step towards less, after the topic has refused the letter in this form. Gives whether there was a
    /// step left.
    pub fn shrink(&mut self, letter: &DeadLetter, context: bool) -> bool {
        if !self.alone {
            self.alone = true;
            return true;
        }
        if context && self.left_out.is_empty() && self.context != ErrorContext::Nothing {
            let cut = self.context == ErrorContext::Whole && letter.error.len() > SHORT;
            self.context = if cut { ErrorContext::Short } else { ErrorContext::Nothing };
            return true;
        }
        let left = [LetterPart::Value, LetterPart::Headers, LetterPart::Key].into_iter().filter(|part| self.has(*part));
        let largest = left.map(|part| (part, part.size(letter))).max_by_key(|(_, size)| *size);
        let Some((part, size)) = largest.filter(|(_, size)| *size > 0) else { return false };
        let bytes = match part {
            LetterPart::Value => letter.value.as_ref(),
            LetterPart::Key => letter.origin.key.as_ref(),
            LetterPart::Headers => None,
        };
        let sha256 = bytes.map(|bytes| hex::encode(Sha256::digest(bytes)));
        self.left_out.push(LeftOut { part, size, sha256 });
        // There is room again for the headers about the error.
        self.context = ErrorContext::Short;
        true
    }

    /// The names of what is left out or cut, for metric and log.
    pub fn cuts(&self, letter: &DeadLetter) -> Vec<&'static str> {
        let text = match self.context {
            ErrorContext::Short if letter.error.len() > SHORT => Some("error message"),
            ErrorContext::Nothing => Some("context headers"),
            ErrorContext::Whole | ErrorContext::Short => None,
        };
        text.into_iter().chain(self.left_out.iter().map(|left_out| left_out.part.into())).collect()
    }

    /// The headers that are sent: the record's own, then those about the error. A letter that was sent back to its
    /// topic has headers about an earlier error, which are left out.
    pub fn headers(&self, letter: &DeadLetter, context: Option<&ContextHeaders>) -> OwnedHeaders {
        let origin = &letter.origin;
        let mut headers = OwnedHeaders::new_with_capacity(origin.headers.len() + 16);
        if self.has(LetterPart::Headers) {
            for (key, value) in own_headers(letter) {
                headers = headers.insert(Header { key, value });
            }
        }
        let mut insert = |name: &str, value: &str| {
            let key = format!("{PREFIX}{name}");
            headers = std::mem::take(&mut headers).insert(Header { key: &key, value: Some(value) });
        };
        let context = context.filter(|_| self.context != ErrorContext::Nothing);
        if context.is_some() || !self.left_out.is_empty() {
            insert("topic", &origin.partition.topic);
            insert("partition", &origin.partition.partition.to_string());
            insert("offset", &origin.offset.to_string());
        }
        if let Some(context) = context {
            let class = match letter.stage {
                ErrorStage::ValueConverter => &context.converter,
                // What transforms is named by its key: the message as a whole, or a row.
                ErrorStage::Transformation if letter.row.is_none() => "transforms",
                ErrorStage::Transformation => "converter.update.fields.template",
                ErrorStage::TaskPut => &context.sink,
            };
            insert("connector.name", &context.connector);
            insert("task.id", &context.task);
            insert("stage", letter.stage.name());
            insert("class.name", class);
            insert("exception.class.name", letter.error_class);
            match self.context {
                ErrorContext::Whole => insert("exception.message", &letter.error),
                ErrorContext::Short | ErrorContext::Nothing => insert("exception.message", &short(&letter.error)),
            }
            if let Some(id) = &letter.request_id {
                insert("request.id", id);
            }
        }
        // Without this header, the text of a row could not be told from a message.
        if let Some(row) = letter.row {
            insert("row.index", &row.to_string());
        }
        for LeftOut { part, size, sha256 } in &self.left_out {
            insert(&format!("{part}.size"), &size.to_string());
            if let Some(sha256) = sha256 {
                insert(&format!("{part}.sha256"), sha256);
            }
        }
        headers
    }
}

/// The record's headers, without those about an earlier error.
fn own_headers(letter: &DeadLetter) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
    let all = letter.origin.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
    all.filter(|(name, _)| !name.starts_with(PREFIX))
}

/// The text, cut to at most [`SHORT`] bytes and an ellipsis.
fn short(text: &str) -> String {
    if text.len() <= SHORT {
        return text.into();
    }
    format!("{}…", &text[..text.floor_char_boundary(SHORT)])
}
