//! A message parsed once: its envelope and its rows, every value as its source text.

use crate::{MessageError, RowError};

/// How messages are read: which list, if any, is unrolled into rows.
#[derive(Debug, Clone)]
pub struct Parser {
    list: Option<String>,
}

impl Parser {
    /// `list` is `converter.split.list.key`; without it the whole message is one row.
    pub fn new(list: Option<String>) -> Self {
        Self { list }
    }

    /// Checks the whole of `payload` and finds its rows; no row is given out of a message that is not valid JSON to its end.
    pub fn parse<'m>(&self, _payload: &'m [u8]) -> Result<Message<'m>, MessageError> {
        let _ = &self.list;
        unimplemented!()
    }
}

/// A valid message. Rows borrow the payload's text.
#[derive(Debug)]
pub struct Message<'m> {
    _payload: &'m [u8],
}

impl<'m> Message<'m> {
    /// The rows in the order of the list: one result an element; an element that is no row (not an object, a field twice) is an error of its own.
    pub fn rows(&self) -> impl Iterator<Item = Result<Row<'m>, (usize, RowError)>> + '_ {
        std::iter::empty()
    }

    /// The JSON text of list element `index`, for a dead letter; the whole message's text when it has no list.
    pub fn element_text(&self, _index: usize) -> &'m str {
        unimplemented!()
    }

    /// Value text of an envelope field.
    pub fn envelope(&self, _name: &str) -> Option<&'m str> {
        None
    }
}

/// One row: the envelope's fields (without the list), then the element's; on a name clash the element's value.
#[derive(Debug, Clone)]
pub struct Row<'m> {
    index: usize,
    _payload: &'m [u8],
}

impl<'m> Row<'m> {
    /// Position of the element in the message's list, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The value's JSON text; `None` when there is no such field. A JSON `null` is `Some("null")`.
    pub fn get(&self, _name: &str) -> Option<&str> {
        None
    }

    /// Sets a field: replaces the value of that name in place, else appends it. `json` is valid JSON text.
    pub fn set(&mut self, _name: &str, _json: String) {}

    /// Name (decoded: escapes resolved) and JSON text of every field, in row order.
    pub fn fields(&self) -> impl Iterator<Item = (std::borrow::Cow<'_, str>, &str)> {
        std::iter::empty()
    }

    /// Appends the row as one JSON object without a line break inside (raw line breaks between tokens are whitespace and are dropped).
    pub fn write_json(&self, _out: &mut Vec<u8>) {}

    /// 128 bits that are equal exactly for rows that are equal in every field (name and value text), whatever the field order: 32 hex digits.
    pub fn digest(&self) -> String {
        String::new()
    }
}
