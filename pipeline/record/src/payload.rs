//! Checks of a payload as a whole: its encoding, its end, and what is wrong with one that is no JSON object.

use crate::MessageError;
use crate::excerpt::{Excerpt, Position, kind};
use crate::field::MAX_PAYLOAD;
use crate::json;
use crate::json::scan::{self, Fault, Scan, byte, fault, white_space};

/// The end of the message, which is at `end` if only white space follows.
#[inline]
pub(crate) fn last(text: &[u8], end: usize) -> Scan {
    match white_space(text, end) {
        rest if rest == text.len() => Ok(end),
        rest => Err(fault(rest, END)),
    }
}

/// What is expected behind the message.
const END: &str = "the end of the message";

/// The payload as text.
pub(crate) fn utf8(payload: &[u8]) -> Result<&str, MessageError> {
    if payload.len() > MAX_PAYLOAD {
        return Err(MessageError::MessageTooLong { length: payload.len(), limit: MAX_PAYLOAD });
    }
    std::str::from_utf8(payload).map_err(|error| {
        if let Some(encoding) = byte_order_mark(payload) {
            return MessageError::OtherEncoding { encoding };
        }
        if let Some(schema) = registry_schema(payload) {
            return MessageError::SchemaRegistry { schema };
        }
        let (valid, rest) = payload.split_at(error.valid_up_to());
        MessageError::NotUtf8 {
            offset: valid.len(),
            byte: byte(rest, 0),
            before: Excerpt::end_of(std::str::from_utf8(valid).unwrap_or_default()),
        }
    })
}

/// The encoding other than UTF-8 whose byte order mark the payload begins with.
fn byte_order_mark(payload: &[u8]) -> Option<&'static str> {
    match payload {
        [0xff, 0xfe, 0, 0, ..] => Some("UTF-32 (little endian)"),
        [0, 0, 0xfe, 0xff, ..] => Some("UTF-32 (big endian)"),
        [0xff, 0xfe, ..] => Some("UTF-16 (little endian)"),
        [0xfe, 0xff, ..] => Some("UTF-16 (big endian)"),
        _ => None,
    }
}

/// The schema's id, if the payload begins as Confluent's serializers write it, with a zero byte and an id of four
/// bytes.
///
/// Ids are small numbers, so their first byte is zero, while UTF-16 has a character there. Zero bytes of a buffer that
/// stand before an object are recognized by the object's beginning.
fn registry_schema(payload: &[u8]) -> Option<u32> {
    let (&[0, 0, b, c, d], [first, ..]) = payload.split_first_chunk()? else { return None };
    let id = u32::from_be_bytes([0, b, c, d]);
    let is_object = id == u32::from(b'{') && matches!(first, b'"' | b'}' | b' ' | b'\n' | b'\r' | b'\t');
    (id != 0 && !is_object).then_some(id)
}

/// The error for a value that is no object. `body` is the field that holds the value; without it, the value is the
/// payload itself.
#[cold]
pub(crate) fn not_an_object(value: &str, body: Option<&str>) -> MessageError {
    let holds_json = json::raw(value).and_then(|raw| json::decode(raw).ok()).is_some_and(|text| {
        let start = white_space(text.as_bytes(), 0);
        matches!(byte(text.as_bytes(), start), b'{' | b'[')
            && scan::value(text.as_bytes(), start).and_then(|end| last(text.as_bytes(), end)).is_ok()
    });
    let body = body.map(ToOwned::to_owned);
    match body {
        body if holds_json => MessageError::JsonInString { body },
        Some(field) => MessageError::BodyNotAnObject { field, found: kind(value) },
        None => MessageError::NotAnObject { found: kind(value) },
    }
}

/// The error for a payload with this fault.
#[cold]
pub(crate) fn syntax(text: &str, fault: &Fault) -> MessageError {
    let Fault { at: offset, expected } = *fault;
    let at = Position::of(text, offset);
    if let Some(schema) = registry_schema(text.as_bytes()) {
        return MessageError::SchemaRegistry { schema };
    }
    let before = &text[..offset];
    if expected == END && text[offset..].starts_with(['{', '[']) && before[before.trim_end().len()..].contains('\n') {
        return MessageError::SeveralLines { at };
    }
    if offset == text.len() {
        MessageError::Truncated { at, expected, near: Excerpt::end_of(text) }
    } else {
        let (before, rest) = text.split_at(offset);
        MessageError::InvalidJson { at, expected, found: Excerpt::start_of(rest), after: Excerpt::end_of(before) }
    }
}
