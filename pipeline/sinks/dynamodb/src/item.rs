//! Turns the JSON text of a row into the attributes of an item. Numbers are kept digit for digit, and a row that no
//! item can hold is refused with the reason.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::ops::Range;

use fms_record::json::{self, Event, Events};

use crate::key::KeyValue;
use crate::number::{self, NumberError};

/// The largest item in bytes, names and values together.
pub const ITEM_BYTES: usize = 400 * 1024;

/// The longest attribute name in bytes.
const NAME_BYTES: usize = 64 * 1024 - 1;

/// How deep values may be, where the value of an attribute is on the first level. The object of the row itself is open
/// around all of them, so this is also how many arrays and objects may be open around a value.
const LEVELS: usize = 32;

/// Why a row cannot be an item.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ItemError {
    /// A problem inside of one field.
    #[error("field `{field}`: {problem}")]
    Field {
        /// The row's field.
        field: String,
        /// What is wrong in it.
        problem: ItemProblem,
    },
    /// A problem of the row as a whole.
    #[error("{0}")]
    Row(ItemProblem),
    /// Over [`ITEM_BYTES`].
    #[error(
        "the item has {bytes} bytes (names and values), DynamoDB stores at most {ITEM_BYTES}; the largest field, \
         `{largest}`, is {largest_bytes} bytes of JSON"
    )]
    TooLarge {
        /// Bytes of the item.
        bytes: usize,
        /// Its largest field.
        largest: String,
        /// Bytes of that one's JSON text.
        largest_bytes: usize,
    },
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
pub enum ItemProblem {
    /// The row is not JSON.
    #[error("not valid JSON at byte {at} of the row: expected {expected}")]
    InvalidJson {
        /// The byte of the row's text at which it stops being JSON.
        at: usize,
        /// What would have been right there.
        expected: &'static str,
    },
    /// A string is not Unicode text.
    #[error(
        "a string has half of a surrogate pair (\\u{unit:04x}) at byte {at} of the row, which is no character and \
         cannot be stored"
    )]
    LoneSurrogate {
        /// The byte of the row's text at which the escape begins.
        at: usize,
        /// The half that is there.
        unit: u16,
    },
    /// A value is inside of too many lists and objects.
    #[error(
        "lists and objects are nested more than {limit} levels deep, which is DynamoDB's limit: flatten the value, or \
         send it as a string"
    )]
    NestedTooDeep {
        /// DynamoDB's limit.
        limit: usize,
    },
    /// Cannot be held.
    #[error(transparent)]
    #[strum(transparent)]
    Number(#[from] NumberError),
    /// An object has a field twice.
    #[error(
        "{} has the field `{name}` twice, at bytes {first} and {second} of the row, of which DynamoDB can store only \
         one",
        if path.is_empty() { "the row".into() } else { format!("the object `{path}`") }
    )]
    DuplicateField {
        /// Names and indexes (from 0) that lead from the row to the object, such as `imu.samples[2]`; empty for the row
        /// itself.
        path: String,
        /// The field.
        name: String,
        /// Byte of the row's text at which the first begins.
        first: usize,
        /// Byte of the row's text at which the second begins.
        second: usize,
    },
    /// An object has a field without a name.
    #[error("an object has a field with an empty name, which DynamoDB does not store")]
    EmptyFieldName,
    /// An object has a field with too long a name.
    #[error("an object has a field name of {0} bytes, DynamoDB stores at most {NAME_BYTES}")]
    FieldNameTooLong(usize),
    /// Not an object.
    #[error("a row has to be a JSON object")]
    NotAnObject,
}

impl From<json::Error> for ItemProblem {
    fn from(error: json::Error) -> Self {
        match error {
            json::Error::Syntax { at, expected } => Self::InvalidJson { at, expected },
            json::Error::LoneSurrogate { at, unit } => Self::LoneSurrogate { at, unit },
            json::Error::Depth { limit } => Self::NestedTooDeep { limit },
        }
    }
}

impl ItemError {
    /// The cause's name, as a dead letter names it.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Field { problem, .. } | Self::Row(problem) => problem.class(),
            Self::TooLarge { .. } => "ItemTooLarge",
        }
    }
}

impl ItemProblem {
    fn class(&self) -> &'static str {
        self.into()
    }

    fn within(self, field: Option<&Cow<'_, str>>) -> ItemError {
        match field {
            Some(field) => ItemError::Field { field: field.to_string(), problem: self },
            None => ItemError::Row(self),
        }
    }
}

/// The names of an object that is open. Up to 32 are compared one by one, and only if a name of this length and last
/// byte has been seen.
#[derive(Default)]
struct Names<'t> {
    seen: [u64; 4],
    few: Vec<Cow<'t, str>>,
    many: HashSet<Cow<'t, str>>,
}

impl<'t> Names<'t> {
    const FEW: usize = 32;

    /// Adds a name. Gives whether it is new.
    fn insert(&mut self, name: Cow<'t, str>) -> bool {
        if self.many.is_empty() {
            let last = name.as_bytes().last().copied().unwrap_or(0);
            let mark = usize::from(last ^ name.len().to_le_bytes()[0].rotate_left(3));
            let (word, bit) = (mark >> 6, 1 << (mark & 63));
            if self.seen[word] & bit != 0 && self.few.contains(&name) {
                return false;
            }
            self.seen[word] |= bit;
            if self.few.len() < Self::FEW {
                self.few.push(name);
                return true;
            }
            self.many.extend(self.few.drain(..));
        }
        self.many.insert(name)
    }
}

/// Appends the item of a row to `out` in DynamoDB's JSON: the row's fields, then the attributes of `key` that it does
/// not have. Gives the size of the item by DynamoDB's rules, which count names, values and an overhead for lists and
/// objects; `key_bytes` is what the key adds to it.
///
/// Checks everything that can be known of the row alone. Strings, and numbers other than zero, are copied as they stand
/// in the row, because both kinds of JSON write them in the same way. After an error, what was appended is of no use.
pub fn write_item<'k>(
    text: &str,
    key_bytes: usize,
    key: impl Iterator<Item = (&'k str, &'k KeyValue)>,
    out: &mut Vec<u8>,
) -> Result<usize, ItemError> {
    let mut item = ItemWriter { text, absent: key.collect(), size: key_bytes, open: Vec::new(), field: None, out };
    let mut events = Events::new(text, LEVELS);
    while let Some(event) = events.next() {
        let event = event.map_err(|error| item.wrong(error))?;
        item.write(event, events.start()..events.position())?;
    }
    if item.size > ITEM_BYTES {
        let (largest, largest_bytes) = largest_field(text);
        return Err(ItemError::TooLarge { bytes: item.size, largest, largest_bytes });
    }
    Ok(item.size)
}

/// An item that is being written from the events of its row.
struct ItemWriter<'t, 'k, 'o> {
    /// The row's text.
    text: &'t str,
    /// The attributes of the key that no field of the row has been so far.
    absent: Vec<(&'k str, &'k KeyValue)>,
    /// The size so far, by DynamoDB's rules.
    size: usize,
    /// The names of each object that is open. Those of an array stay empty.
    open: Vec<Names<'t>>,
    /// The row's own field that the last event was in.
    field: Option<Cow<'t, str>>,
    out: &'o mut Vec<u8>,
}

impl<'t> ItemWriter<'t, '_, '_> {
    fn wrong(&self, problem: impl Into<ItemProblem>) -> ItemError {
        problem.into().within(self.field.as_ref())
    }

    /// Writes an event, whose text is at `source`.
    fn write(&mut self, event: Event<'t>, source: Range<usize>) -> Result<(), ItemError> {
        if self.open.is_empty() {
            // After the end of the row's object there is nothing more.
            if event != Event::ObjectStart {
                return Err(ItemError::Row(ItemProblem::NotAnObject));
            }
            self.open.push(Names::default());
            self.out.push(b'{');
            return Ok(());
        }
        if !matches!(event, Event::ObjectEnd | Event::ArrayEnd) && !matches!(self.out.last(), Some(b'{' | b'[' | b':'))
        {
            self.out.push(b',');
        }
        // An element of a list, and a field of an object below the row's own, takes one byte more.
        let overhead = usize::from(self.open.len() > 1);
        let (text, begin) = (self.text, source.start);
        let source = &text.as_bytes()[source];
        let bytes = match event {
            Event::Name(name) => return self.name(name, source, begin),
            Event::ObjectEnd => {
                self.end_of_object();
                return Ok(());
            }
            Event::ArrayEnd => {
                self.open.pop();
                self.out.extend_from_slice(b"]}");
                return Ok(());
            }
            Event::ObjectStart => self.begin(br#"{"M":{"#),
            Event::ArrayStart => self.begin(br#"{"L":["#),
            Event::Null => {
                self.out.extend_from_slice(br#"{"NULL":true}"#);
                1
            }
            Event::Bool(value) => {
                self.out.extend_from_slice(if value { br#"{"BOOL":true}"# } else { br#"{"BOOL":false}"# });
                1
            }
            Event::Number(number) => {
                let (sent, bytes) = number::check(number).map_err(|error| self.wrong(error))?;
                write_pieces(self.out, [br#"{"N":""#, sent.as_bytes(), br#""}"#]);
                bytes
            }
            Event::String(text) => {
                write_pieces(self.out, [br#"{"S":"#, source, b"}"]);
                text.len()
            }
        };
        self.size += bytes + overhead;
        Ok(())
    }

    /// Writes the name of a field. `source` has the name in quotes and its colon; it begins at byte `begin` of the row.
    fn name(&mut self, name: Cow<'t, str>, source: &[u8], begin: usize) -> Result<(), ItemError> {
        if self.open.len() == 1 {
            self.field = Some(name.clone());
            self.absent.retain(|(absent, _)| *absent != name);
        }
        let bytes = name.len();
        match bytes {
            0 => return Err(self.wrong(ItemProblem::EmptyFieldName)),
            1..=NAME_BYTES => {}
            _ => return Err(self.wrong(ItemProblem::FieldNameTooLong(bytes))),
        }
        if !self.open.last_mut().is_some_and(|names| names.insert(name)) {
            return Err(self.wrong(twice(self.text, begin)));
        }
        self.size += bytes;
        self.out.extend_from_slice(source);
        Ok(())
    }

    /// Writes the beginning of a list or an object below the row's own. Gives its bytes.
    fn begin(&mut self, bracket: &[u8]) -> usize {
        self.open.push(Names::default());
        self.out.extend_from_slice(bracket);
        3
    }

    /// Writes the end of an object. The row's own ends with those attributes of the key that the row does not have.
    fn end_of_object(&mut self) {
        self.open.pop();
        if !self.open.is_empty() {
            self.out.extend_from_slice(b"}}");
            return;
        }
        for (name, value) in &self.absent {
            if self.out.last() != Some(&b'{') {
                self.out.push(b',');
            }
            write_string(name, self.out);
            let (kind, text): (&[u8], _) = match value {
                KeyValue::Number(number) => (br#":{"N":"#, Cow::Owned(number.to_string())),
                KeyValue::Text(text) => (br#":{"S":"#, Cow::Borrowed(text.as_str())),
            };
            self.out.extend_from_slice(kind);
            write_string(&text, self.out);
            self.out.push(b'}');
        }
        self.out.push(b'}');
    }
}

fn write_pieces(out: &mut Vec<u8>, pieces: [&[u8]; 3]) {
    for piece in pieces {
        out.extend_from_slice(piece);
    }
}

/// Appends a text as a JSON string.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    // A vector takes everything.
    let _infallible = serde_json::to_writer(out, text);
}

/// The problem of a name that begins at byte `second` and that its object has already. Reads the text again to find
/// where that is.
#[cold]
fn twice(text: &str, second: usize) -> ItemProblem {
    let mut around: Vec<Enclosing<'_>> = Vec::new();
    let mut events = Events::new(text, LEVELS);
    while let Some(Ok(event)) = events.next() {
        // An element of a list begins. The fields of an object begin with `Name`.
        if let (Some(Enclosing::List(elements)), false) = (around.last_mut(), event == Event::ArrayEnd) {
            *elements += 1;
        }
        match event {
            Event::Name(name) => {
                if events.start() == second {
                    return found_twice(&around, name.into_owned(), second);
                }
                if let Some(Enclosing::Map(names)) = around.last_mut() {
                    names.push((name, events.start()));
                }
            }
            Event::ObjectStart => around.push(Enclosing::Map(Vec::new())),
            Event::ArrayStart => around.push(Enclosing::List(0)),
            Event::ObjectEnd | Event::ArrayEnd => {
                around.pop();
            }
            Event::Null | Event::Bool(_) | Event::Number(_) | Event::String(_) => {}
        }
    }
    ItemProblem::NotAnObject
}

/// A list or an object around a place in the text.
enum Enclosing<'t> {
    /// How many elements have begun.
    List(usize),
    /// The names so far, and where each begins.
    Map(Vec<(Cow<'t, str>, usize)>),
}

fn found_twice(around: &[Enclosing<'_>], name: String, second: usize) -> ItemProblem {
    let Some((Enclosing::Map(names), outer)) = around.split_last() else { return ItemProblem::NotAnObject };
    let mut path = String::new();
    for step in outer {
        match step {
            Enclosing::List(elements) => {
                let _infallible = write!(path, "[{}]", elements.saturating_sub(1));
            }
            Enclosing::Map(names) => {
                path.push_str(if path.is_empty() { "" } else { "." });
                path.push_str(names.last().map_or("", |(name, _)| name));
            }
        }
    }
    let first = names.iter().find(|(known, _)| *known == name).map_or(second, |(_, first)| *first);
    ItemProblem::DuplicateField { path, name, first, second }
}

/// The field with the longest text, for the message about an item that is too large.
fn largest_field(text: &str) -> (String, usize) {
    let mut largest = (String::new(), 0);
    let mut current: Option<(String, usize)> = None;
    let mut events = Events::new(text, LEVELS);
    while let Some(Ok(event)) = events.next() {
        let next = match event {
            Event::Name(name) if events.depth() == 1 => Some((name.into_owned(), events.position())),
            Event::ObjectEnd if events.depth() == 0 => None,
            Event::Name(_)
            | Event::ObjectEnd
            | Event::ObjectStart
            | Event::ArrayStart
            | Event::ArrayEnd
            | Event::Null
            | Event::Bool(_)
            | Event::Number(_)
            | Event::String(_) => continue,
        };
        if let Some((name, start)) = std::mem::replace(&mut current, next) {
            let bytes = events.position() - start;
            if bytes > largest.1 {
                largest = (name, bytes);
            }
        }
    }
    largest
}

#[cfg(test)]
mod tests;
