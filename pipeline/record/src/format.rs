//! The form of a fleet's messages: where in a value the message is, which list becomes rows, and which fields have to
//! be there.

use crate::json;

/// The list of a message that is an array itself.
pub(crate) const WHOLE: &str = "$";

/// How messages are read. Every name may be a path: `a.b` is the field of exactly this name, or else `b` in `a`.
#[derive(Debug, Clone, Default)]
pub struct Format {
    /// `value.converter.schemas.enable`: a value is `{"schema": …, "payload": …}`, and its payload the message.
    pub schemas: bool,
    /// `converter.extract.field`: the message is the object at this path.
    pub extract: Option<String>,
    /// `converter.split.list.key`: the list whose elements become rows, `$` for a message that is an array; without it
    /// a message is a row.
    pub list: Option<String>,
    /// `converter.required.fields`: what the envelope has to have.
    pub required: Vec<Required>,
    /// `converter.split.list.optional`: which messages may go without the list, and then are one row themselves.
    pub without_list: WithoutList,
}

impl Format {
    /// The format with this list and the defaults of all other settings: an envelope around a list needs `object`,
    /// `type` and `id`.
    pub fn new(list: Option<String>) -> Self {
        let required = match list.as_deref() {
            None | Some(WHOLE) => Vec::new(),
            Some(_) => ["object:string", "type:string", "id"].map(Required::parse).into(),
        };
        Self { list, required, ..Self::default() }
    }

    /// A value of `converter.split.list.key`, or what is wrong with it.
    pub fn list(text: &str) -> Result<String, String> {
        match text.split_once('[') {
            _ if text.is_empty() => Err("is empty: name the list, or leave the key out".into()),
            Some((outer, _)) => Err(format!(
                "lists within lists are not unrolled: one list gives the rows, and what lists its elements have stay \
                 in the rows as they are; name the outer one, `{outer}`"
            )),
            None => Ok(text.into()),
        }
    }

    /// Whether the message is only a part of the value.
    pub(crate) fn is_wrapped(&self) -> bool {
        self.schemas || self.extract.is_some()
    }

    /// Whether the message may be an array.
    pub(crate) fn is_array(&self) -> bool {
        self.list.as_deref() == Some(WHOLE)
    }
}

/// A field that the envelope has to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Required {
    /// Its name or path.
    pub(crate) field: String,
    /// Whether it has to be a string. Otherwise it may be a number too.
    text: bool,
}

impl Required {
    /// Reads `name`, which stands for a number or a string that is not empty, or `name:string`, which stands for such a
    /// string only.
    pub fn parse(text: &str) -> Self {
        match text.strip_suffix(":string") {
            Some(field) => Self { field: field.into(), text: true },
            None => Self { field: text.into(), text: false },
        }
    }

    /// What its value has to be.
    pub(crate) fn expected(&self) -> &'static str {
        if self.text { "a string that is not empty" } else { "a number, or a string that is not empty" }
    }

    /// Whether this is such a value.
    pub(crate) fn takes(&self, json: &str) -> bool {
        match json.as_bytes().first() {
            Some(b'"') => json != r#""""#,
            Some(b'-' | b'0'..=b'9') => !self.text,
            _ => false,
        }
    }
}

/// Which messages may go without the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WithoutList {
    /// All.
    All,
    /// Those in which a field has one of some values.
    Where {
        /// Its name or path.
        field: String,
        /// The values, without quotes.
        values: Vec<String>,
    },
}

impl Default for WithoutList {
    /// Requests and responses.
    fn default() -> Self {
        Self::Where { field: "command".into(), values: vec!["command".into(), "response".into()] }
    }
}

impl WithoutList {
    /// Reads `all`, or `field=value|value`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim() == "all" {
            return Ok(Self::All);
        }
        let (field, values) = text.split_once('=').unwrap_or_default();
        let values: Vec<String> = values.split('|').map(|value| value.trim().to_owned()).collect();
        if field.trim().is_empty() || values.iter().any(String::is_empty) {
            return Err(
                "is neither `all` nor of the form `field=value|value`, such as `command=command|response`".into()
            );
        }
        Ok(Self::Where { field: field.trim().into(), values })
    }
}

/// Whether a value is one of these. A string is compared decoded, any other value by its JSON text.
pub(crate) fn is_one_of(value: &str, values: &[String]) -> bool {
    let own = json::raw(value).map_or(Ok(value.into()), json::decode);
    own.is_ok_and(|own| values.iter().any(|value| *value == own))
}
