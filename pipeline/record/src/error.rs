//! What can be wrong with a message or with one of its rows, in words a person can act on.

use std::fmt;

use thiserror::Error;

/// Why a whole message gives no rows. The original bytes go to the dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MessageError {
    /// There is nothing but white space in the payload.
    #[error(
        "the payload is empty ({length} bytes, none of them JSON); expected one JSON object: a producer that means a deletion \
         sends a null value, not an empty one"
    )]
    Empty {
        /// Bytes of the payload.
        length: usize,
    },
    /// The payload is larger than a Kafka record can be.
    #[error("the payload has {length} bytes; no more than {} can be read", crate::field::MAX_PAYLOAD)]
    TooLong {
        /// Bytes of the payload.
        length: usize,
    },
    /// The payload is not text.
    #[error(
        "the payload is not UTF-8: byte 0x{byte:02x} at byte offset {offset}, after {before}; is the producer sending another \
         encoding, or compressed or binary data?"
    )]
    NotUtf8 {
        /// Where the first invalid sequence begins.
        offset: usize,
        /// Its first byte.
        byte: u8,
        /// The valid text before it.
        before: Excerpt,
    },
    /// The text ends before the JSON does.
    #[error(
        "the JSON is cut off at its end, {at}: expected {expected} after {near}; was the message truncated on its way?"
    )]
    Truncated {
        /// The text's end.
        at: Position,
        /// What would have had to follow.
        expected: &'static str,
        /// The text before it.
        near: Excerpt,
    },
    /// The text is not JSON.
    #[error("invalid JSON at {at}: expected {expected}, found {found} after {after}{}", hint(found))]
    Syntax {
        /// Where it stops being JSON.
        at: Position,
        /// What would have been right there.
        expected: &'static str,
        /// What is there.
        found: Excerpt,
        /// The text before it.
        after: Excerpt,
    },
    /// Valid JSON, but no object.
    #[error("the message is {found}, expected one JSON object: a producer has to send one object a record")]
    NotAnObject {
        /// What it is: "an array", "a number", …
        found: &'static str,
    },
    /// A field's name in the envelope.
    #[error("in the envelope, {0}")]
    Name(#[from] NameError),
    /// A field that identifies the message is not there.
    #[error("the envelope has no field `{field}`; expected {expected}")]
    Missing {
        /// The field.
        field: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
    /// A field that identifies the message has a value that cannot.
    #[error("the envelope's field `{field}` is {found}; expected {expected}")]
    Identity {
        /// The field.
        field: &'static str,
        /// What it has to be.
        expected: &'static str,
        /// Its value.
        found: Excerpt,
    },
    /// The list to unroll is not there.
    #[error(
        "the envelope has no list `{list}` to unroll (converter.split.list.key), and its `command` is {command}: only messages \
         whose `command` is \"command\" or \"response\" go without a list"
    )]
    NoList {
        /// The configured field.
        list: String,
        /// The message's `command`.
        command: Excerpt,
    },
    /// The field to unroll is no list.
    #[error("the envelope's field `{list}` is {found}; expected an array to unroll (converter.split.list.key)")]
    NotAList {
        /// The configured field.
        list: String,
        /// Its value.
        found: Excerpt,
    },
}

/// Why one row cannot be stored while the rest of its message can.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RowError {
    /// The list element is no object, so it has no fields.
    #[error("the list element is {found}; expected an object")]
    NotAnObject {
        /// The element.
        found: Excerpt,
    },
    /// A field's name in the list element.
    #[error("in the list element, {0}")]
    Name(#[from] NameError),
    /// A field that holds the event time cannot be read as a time.
    #[error("field `{field}` holds no event time: {value} {reason}")]
    UnreadableTime {
        /// The field.
        field: String,
        /// Its value.
        value: Excerpt,
        /// Why not.
        reason: &'static str,
    },
    /// There is no event time anywhere.
    #[error(
        "the row has no event time: {}the envelope's `messaged_at` is absent or null and the Kafka record has no timestamp",
        .field.as_ref().map(|field| format!("field `{field}` (timestamp.field) is absent or null, ")).unwrap_or_default()
    )]
    NoTime {
        /// The configured field.
        field: Option<String>,
    },
    /// A template's alternatives are all absent, null or empty.
    #[error("the template `{template}` needs one of the fields {}: all are absent, null or empty", quoted(fields))]
    NoField {
        /// The template.
        template: String,
        /// Its alternatives, in order.
        fields: Vec<String>,
    },
    /// A template's field is an object or an array.
    #[error("the template `{template}` needs a string, number or boolean in field `{field}`, found {found}")]
    NotScalar {
        /// The template.
        template: String,
        /// The field.
        field: String,
        /// Its value.
        found: Excerpt,
    },
    /// A template's field is a string that is no Unicode text.
    #[error("the template `{template}` cannot use field `{field}`: {found} has a surrogate escape without its partner")]
    Surrogate {
        /// The template.
        template: String,
        /// The field.
        field: String,
        /// Its value.
        found: Excerpt,
    },
}

/// What is wrong with the names of an object's fields. Names are compared after decoding: `"\u0069d"` is `"id"`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// Two fields of one name: which is meant cannot be known.
    #[error("field `{name}` appears twice, at byte offsets {first} and {second}: which one is meant cannot be known")]
    Duplicate {
        /// The name.
        name: String,
        /// Byte offset of the first in the payload.
        first: usize,
        /// Byte offset of the second in the payload.
        second: usize,
    },
    /// A name that is no Unicode text, so it cannot be compared or stored.
    #[error(
        "the field name \"{name}\" at byte offset {offset} has a surrogate escape without its partner: it is no Unicode text"
    )]
    Surrogate {
        /// The name's text.
        name: String,
        /// Its byte offset in the payload.
        offset: usize,
    },
}

/// A place in a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Character in the line, from 1; a byte order mark is none.
    pub column: usize,
    /// Byte, from 0.
    pub offset: usize,
}

impl Position {
    pub(crate) fn of(text: &str, offset: usize) -> Self {
        let before = &text[..offset];
        let line = before.rsplit('\n').next().unwrap_or(before);
        Self {
            line: before.matches('\n').count() + 1,
            column: line.trim_start_matches('\u{feff}').chars().count() + 1,
            offset,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} column {} (byte offset {})", self.line, self.column, self.offset)
    }
}

/// A short piece of a payload, shown in backquotes with control characters escaped, so that a log line stays one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt(String);

impl Excerpt {
    const LENGTH: usize = 40;

    /// The beginning of `text`.
    pub(crate) fn start_of(text: &str) -> Self {
        let mut excerpt = printable(text.chars().take(Self::LENGTH));
        if text.chars().nth(Self::LENGTH).is_some() {
            excerpt.push('…');
        }
        Self(excerpt)
    }

    /// The end of `text`.
    pub(crate) fn end_of(text: &str) -> Self {
        let start = text.char_indices().rev().take(Self::LENGTH).last().map_or(0, |(start, _)| start);
        let more = if start > 0 { "…" } else { "" };
        Self(format!("{more}{}", printable(text[start..].chars())))
    }
}

fn printable(characters: impl Iterator<Item = char>) -> String {
    characters
        .flat_map(|c| {
            c.is_control().then(|| c.escape_default()).into_iter().flatten().chain((!c.is_control()).then_some(c))
        })
        .collect()
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str("nothing") } else { write!(f, "`{}`", self.0) }
    }
}

/// What a value is, with its article.
pub(crate) fn kind(json: &str) -> &'static str {
    match json.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

fn hint(found: &Excerpt) -> &'static str {
    let word = found.0.trim_start_matches(['-', '+']);
    if word.starts_with("NaN") || word.starts_with("Inf") || word.starts_with("nan") || word.starts_with("inf") {
        "; JSON has no NaN or infinity: the producer has to send null or leave the field out"
    } else {
        ""
    }
}

fn quoted(fields: &[String]) -> String {
    fields.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", ")
}
