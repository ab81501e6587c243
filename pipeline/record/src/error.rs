//! What can be wrong with a message or with one of its rows, in words that a person can act on.

use std::borrow::Cow;

use strum::IntoStaticStr;
use thiserror::Error;

use crate::excerpt::{Excerpt, Position};
use crate::format::WHOLE;

/// Why a whole message gives no rows. The original bytes go to the dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq, Error, IntoStaticStr)]
#[non_exhaustive]
pub enum MessageError {
    /// There is nothing but white space in the payload.
    #[error(
        "the payload is empty ({length} bytes, none of them JSON); expected one JSON object: a producer that means a \
         deletion sends a null value, not an empty one"
    )]
    EmptyMessage {
        /// Bytes of the payload.
        length: usize,
    },
    /// The payload is larger than a Kafka record can be.
    #[error("the payload has {length} bytes; no more than {limit} can be read")]
    MessageTooLong {
        /// Bytes of the payload.
        length: usize,
        /// How many can be read.
        limit: usize,
    },
    /// The payload begins with the byte order mark of another encoding.
    #[error(
        "the payload begins with the byte order mark of {encoding}, but JSON is exchanged in UTF-8: set the producer's \
         encoding"
    )]
    OtherEncoding {
        /// Its name.
        encoding: &'static str,
    },
    /// The payload is not text.
    #[error(
        "the payload is not UTF-8: byte 0x{byte:02x} at byte offset {offset} of the message{}; is the producer sending \
         another encoding, or compressed or binary data?",
        .before.after(", after")
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
        "the JSON is cut off at its end, {at}: expected {expected}{}; was the message truncated on its way?",
        .near.after(" after")
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
    #[error("invalid JSON at {at}: expected {expected}, found {found}{}{}", .after.after(" after"), hint(found))]
    InvalidJson {
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
    /// Confluent's wire format: a zero byte, a schema's id, and then the value in whatever form the schema says.
    #[error(
        "the value begins with a zero byte and the schema id {schema}: it was written for Confluent's Schema Registry, \
         and values are read without one here: have the producer send plain JSON (a JSON serializer without registry, \
         or Kafka Connect's org.apache.kafka.connect.json.JsonConverter)"
    )]
    SchemaRegistry {
        /// The schema's id.
        schema: u32,
    },
    /// Several JSON values, a line each.
    #[error(
        "the record holds several JSON values, one a line; the second begins at {at}: the producer has to send each as \
         a record of its own, or all of them as one array, which converter.split.list.key = `$` unrolls"
    )]
    SeveralLines {
        /// Where the second begins.
        at: Position,
    },
    /// A JSON object in a JSON string.
    #[error("{} is a string that holds JSON, so it was serialized twice: the producer has to send what is in \
             it", part(body.as_ref()))]
    JsonInString {
        /// The field that holds it; `None` is the message itself.
        body: Option<String>,
    },
    /// The message is a part of the value that is not there.
    #[error("the value has no `{field}`, which {} expects{}", wrapper(field, *.schemas), .schemas.then_some(PLAIN).unwrap_or_default())]
    MissingBody {
        /// The part.
        field: String,
        /// Whether it is the `payload` beside a `schema`.
        schemas: bool,
    },
    /// The message is a part of the value that is null.
    #[error("the value's `{field}` is null, which means a deletion, as a null value (a tombstone) does")]
    #[strum(serialize = "NullValue")]
    NullBody {
        /// The part.
        field: String,
    },
    /// The message is a part of the value that is no object.
    #[error("the value's `{field}` is {found}, expected one JSON object")]
    #[strum(serialize = "NotAnObject")]
    BodyNotAnObject {
        /// The part.
        field: String,
        /// What it is: "an array", "a number", …
        found: &'static str,
    },
    /// A field's name in the envelope.
    #[error("in the envelope, {0}")]
    #[strum(transparent)]
    Name(#[from] NameError),
    /// A field that identifies the message is not there.
    #[error("the envelope has no field `{field}`; expected {expected}")]
    MissingField {
        /// The field.
        field: String,
        /// What it has to be.
        expected: &'static str,
    },
    /// A field that identifies the message has a value that cannot identify it.
    #[error("the envelope's field `{field}` is {found}; expected {expected}")]
    UnusableIdentity {
        /// The field.
        field: String,
        /// What it has to be.
        expected: &'static str,
        /// Its value.
        found: Excerpt,
    },
    /// The list to unroll is not there.
    #[error(
        "{}, and its `{field}` is {found}: only messages whose `{field}` is {} go without a list",
        no_list(list),
        alternatives(values)
    )]
    MissingList {
        /// The configured list.
        list: String,
        /// The field by which messages may go without it.
        field: String,
        /// Its values in those.
        values: Vec<String>,
        /// Its value here.
        found: Excerpt,
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
#[derive(Debug, Clone, PartialEq, Eq, Error, IntoStaticStr)]
#[non_exhaustive]
pub enum RowError {
    /// The list element is no object, so it has no fields.
    #[error("list element {index} (counted from 0) is {found}; expected an object")]
    NotAnObject {
        /// The element's index.
        index: usize,
        /// The element.
        found: Excerpt,
    },
    /// A field's name in the list element.
    #[error("in list element {index} (counted from 0), {error}")]
    Name {
        /// The element's index.
        index: usize,
        /// What is wrong.
        error: NameError,
    },
    /// A field that holds the event time cannot be read as a time.
    #[error("field `{field}` holds no event time: {value} {reason}")]
    UnreadableTime {
        /// The field.
        field: String,
        /// Its value.
        value: Excerpt,
        /// Why not.
        reason: Cow<'static, str>,
    },
    /// There is no event time anywhere.
    #[error(
        "the row has no event time: {}the envelope's `messaged_at` is absent or null and the Kafka record has no \
         timestamp",
        .field.as_ref().map(|field| format!("field `{field}` (timestamp.field) is absent or null, ")).unwrap_or_default()
    )]
    MissingTime {
        /// The configured field.
        field: Option<String>,
    },
    /// A template's alternatives are all absent, null or empty.
    #[error("the template `{template}` needs {}", needs(fields))]
    MissingField {
        /// The template.
        template: String,
        /// Its alternatives, in order, and why each gives nothing.
        fields: Vec<(String, NoValue)>,
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
    /// A part of the Kafka record that a template uses is no text.
    #[error(
        "the template `{template}` needs text in `{variable}` of the Kafka record, found bytes that are not UTF-8: \
         {found}; leave it out of the template, or have the producer write text there"
    )]
    NotText {
        /// The template.
        template: String,
        /// The part: `@key`, `@header.NAME`.
        variable: String,
        /// Its bytes, those that are no printable ASCII escaped.
        found: Excerpt,
    },
    /// A template's field is a string that is no Unicode text.
    #[error("the template `{template}` cannot use field `{field}`: {found} has a surrogate escape without its partner")]
    LoneSurrogate {
        /// The template.
        template: String,
        /// The field.
        field: String,
        /// Its value.
        found: Excerpt,
    },
}

/// What is wrong with the names of an object's fields. Names are compared after decoding: `"\u0069d"` is `"id"`.
#[derive(Debug, Clone, PartialEq, Eq, Error, IntoStaticStr)]
#[non_exhaustive]
pub enum NameError {
    /// Two fields of one name: which is meant cannot be known.
    #[error(
        "field `{name}` appears twice, at byte offsets {first} and {second} of the message: which one is meant cannot \
         be known"
    )]
    DuplicateField {
        /// The name.
        name: String,
        /// Byte offset of the first in the payload.
        first: usize,
        /// Byte offset of the second in the payload.
        second: usize,
    },
    /// A name that is no Unicode text, so it cannot be compared or stored.
    #[error(
        "the field name \"{name}\" at byte offset {offset} of the message has a surrogate escape without its partner: \
         it is no Unicode text"
    )]
    LoneSurrogate {
        /// The name's text.
        name: String,
        /// Its byte offset in the payload.
        offset: usize,
    },
}

/// Why a field gives a template nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "lowercase")]
pub enum NoValue {
    /// There is no such field.
    Absent,
    /// It is null.
    Null,
    /// It is an empty string.
    Empty,
}

impl NoValue {
    /// The value of a field, if it has something to give.
    pub(crate) fn or(value: Option<&str>) -> Result<&str, Self> {
        match value {
            None => Err(Self::Absent),
            Some("null") => Err(Self::Null),
            Some(r#""""#) => Err(Self::Empty),
            Some(value) => Ok(value),
        }
    }
}

impl MessageError {
    /// The name of the cause in a dead letter: that of the variant, or that of the problem with a field's name.
    pub fn class(&self) -> &'static str {
        self.into()
    }
}

impl RowError {
    /// The name of the cause in a dead letter: that of the variant, or that of the problem with a field's name.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Name { error, .. } => error.class(),
            other => other.into(),
        }
    }
}

impl NameError {
    /// The name of the cause in a dead letter, which is that of the variant.
    pub fn class(&self) -> &'static str {
        self.into()
    }
}

fn hint(found: &Excerpt) -> &'static str {
    match (found.nuls, &*found.text) {
        (0, _) => {}
        (_, "") => {
            return "; is the producer sending its buffer with what it has not filled? It has to send the message only";
        }
        _ => return "; is the producer sending UTF-16, or binary data?",
    }
    let word = found.text.trim_start_matches(['-', '+']);
    if word.starts_with("NaN") || word.starts_with("Inf") || word.starts_with("nan") || word.starts_with("inf") {
        "; JSON has no NaN or infinity: the producer has to send null or leave the field out"
    } else {
        ""
    }
}

/// What to do if values are not `{"schema": …, "payload": …}`.
const PLAIN: &str = r#": it is true for values that are {"schema": …, "payload": …}, and false for plain JSON"#;

fn wrapper(field: &str, schemas: bool) -> String {
    if schemas { "value.converter.schemas.enable".into() } else { format!("converter.extract.field = `{field}`") }
}

fn part(body: Option<&String>) -> String {
    body.map_or_else(|| "the message".into(), |field| format!("the value's `{field}`"))
}

fn no_list(list: &str) -> String {
    if list == WHOLE {
        return format!("the message is an object, not an array to unroll (converter.split.list.key = `{list}`)");
    }
    format!("the envelope has no list `{list}` to unroll (converter.split.list.key)")
}

/// The values in quotes, `or` before the last.
fn alternatives(values: &[String]) -> String {
    let quoted: Vec<_> = values.iter().map(|value| format!("\"{value}\"")).collect();
    match quoted.split_last() {
        Some((last, others @ [_, ..])) => format!("{} or {last}", others.join(", ")),
        _ => quoted.concat(),
    }
}

fn needs(fields: &[(String, NoValue)]) -> String {
    match fields {
        [(part, lack)] if part.starts_with('@') => return format!("the Kafka record's `{part}`, which is {lack}"),
        [(field, lack)] => return format!("the field `{field}`, which is {lack}"),
        _ => {}
    }
    let fields: Vec<_> = fields.iter().map(|(field, lack)| format!("`{field}` ({lack})")).collect();
    format!("one of the fields {}", fields.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_number_of_json_is_has_a_hint_in_each_spelling() {
        for text in ["NaN", "nan", "Infinity", "-Infinity", "+inf", "-Inf"] {
            assert!(hint(&Excerpt::start_of(text)).contains("no NaN or infinity"), "{text}");
        }
        assert_eq!(hint(&Excerpt::start_of("null")), "");
    }
}
