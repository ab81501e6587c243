//! Parsing a payload into a message, in one strict scan.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::excerpt::Excerpt;
use crate::field::{self, Field};
use crate::format::Format;
use crate::json::scan::{self, Fault, byte, white_space};
use crate::object::object;
use crate::payload::{last, not_an_object, syntax, utf8};
use crate::unrolled::{Unrolled, elements};
use crate::{Message, MessageError, path};

/// The fields that there is room for at first. The envelopes of this fleet have up to 14, and most flat messages fit
/// too.
const INITIAL_ENVELOPE: usize = 32;

/// How messages are read.
#[derive(Debug, Clone)]
pub struct Parser {
    format: Format,
    known: KnownNames,
}

/// The field names of the last envelope, which were checked. The next message mostly has the same names in the same
/// order.
#[derive(Debug, Clone, Default)]
struct KnownNames {
    names: Names,
    /// The names, each with its closing quote.
    text: Vec<u8>,
    /// Where the names are in `text`. These fields have no values.
    fields: Vec<Field>,
}

/// What stands for the names of an envelope's fields in their order: envelopes with equal ones have the same names.
/// Those of envelopes with the same names may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Names(u64);

impl Names {
    /// What no other envelope has.
    fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

impl KnownNames {
    fn learn(&mut self, text: &str, fields: &[Field]) {
        self.names = Names::next();
        self.text.clear();
        self.fields.clear();
        for field in fields {
            self.fields.push(field.moved(self.text.len()));
            self.text.extend_from_slice(&field.quoted_name(text).as_bytes()[1..]);
        }
    }
}

impl Parser {
    /// A parser with this `converter.split.list.key` and otherwise the default settings, see [`Format::new`].
    pub fn new(list: Option<String>) -> Self {
        Self::of(Format::new(list))
    }

    /// A parser of messages of this format.
    pub fn of(format: Format) -> Self {
        Self { format, known: KnownNames::default() }
    }

    /// Checks the whole of `payload` and finds its rows. A message that is not valid JSON to its end gives an error and
    /// no rows.
    ///
    /// A byte order mark is skipped. The [`Format`] says whether the message is the payload's object or a part of it.
    /// The list, if the format names one, has to be an array; only messages that the format exempts may lack it, and
    /// these are one row themselves. Parsing takes time linear in the size of the payload, however deep or wide it is.
    pub fn parse<'m>(&mut self, payload: &'m [u8]) -> Result<Message<'m>, MessageError> {
        let text = utf8(payload)?;
        let start = white_space(text.as_bytes(), if text.starts_with('\u{feff}') { 3 } else { 0 });
        if start == text.len() {
            return Err(MessageError::EmptyMessage { length: payload.len() });
        }
        let (text, start) = if self.format.is_wrapped() { self.body(text, start)? } else { (text, start) };
        let bytes = text.as_bytes();
        let mut envelope = Vec::with_capacity(INITIAL_ENVELOPE);
        let mut unrolled = Unrolled::default();
        let is_array = byte(bytes, start) == b'[' && self.format.is_array();
        let end = if byte(bytes, start) == b'{' {
            self.envelope(text, start + 1, &mut envelope, &mut unrolled)
        } else if is_array {
            unrolled.reserve(bytes.len() - start);
            elements(text, start + 1, &mut unrolled).map(|end| (end, true))
        } else {
            scan::value(bytes, start).map(|end| (end, false))
        };
        let end = end.and_then(|(end, known)| last(bytes, end).map(|end| (end, known)));
        let (end, known) = end.map_err(|fault| syntax(text, &fault))?;
        if byte(bytes, start) != b'{' && !is_array {
            return Err(not_an_object(&text[start..end], None));
        }
        if !known {
            field::check(text, &envelope)?;
            self.known.learn(text, &envelope);
        }
        let mut message = Message::new(&text[..end], start, envelope, self.known.names);
        if is_array {
            message.unroll_array(unrolled);
            return Ok(message);
        }
        self.check_required(&message)?;
        if let Some(list) = &self.format.list {
            message.unroll(list, &self.format.without_list, unrolled)?;
        }
        Ok(message)
    }

    /// Finds the part of a wrapped value that is the message: the text up to its end, and where it begins. The whole
    /// value is checked.
    fn body<'m>(&self, text: &'m str, start: usize) -> Result<(&'m str, usize), MessageError> {
        let end = scan::value(text.as_bytes(), start).and_then(|end| last(text.as_bytes(), end));
        let mut body = start..end.map_err(|fault| syntax(text, &fault))?;
        let mut within = None;
        let schemas = self.format.schemas.then_some(("payload", true));
        for (field, schemas) in schemas.into_iter().chain(self.format.extract.as_deref().map(|field| (field, false))) {
            if byte(text.as_bytes(), body.start) != b'{' {
                return Err(not_an_object(&text[body], within));
            }
            let (fields, place) = path::locate(text, body.start, field)
                .ok_or_else(|| MessageError::MissingBody { field: field.into(), schemas })?;
            body = fields[place].value_start()..fields[place].end();
            if &text[body.clone()] == "null" {
                return Err(MessageError::NullBody { field: field.into() });
            }
            within = Some(field);
        }
        match text.as_bytes()[body.start] {
            b'{' => {}
            b'[' if self.format.is_array() => {}
            _ => return Err(not_an_object(&text[body], within)),
        }
        Ok((&text[..body.end], body.start))
    }

    /// Checks that the envelope has the fields that the format requires.
    fn check_required(&self, message: &Message<'_>) -> Result<(), MessageError> {
        for required in &self.format.required {
            let (field, expected) = (|| required.field.clone(), required.expected());
            let value =
                message.find(&required.field).ok_or_else(|| MessageError::MissingField { field: field(), expected })?;
            if !required.takes(value) {
                return Err(MessageError::UnusableIdentity {
                    field: field(),
                    expected,
                    found: Excerpt::start_of(value),
                });
            }
        }
        Ok(())
    }

    /// Scans the rest of the envelope after its opening brace, and the elements of the list, if it is an array. Gives
    /// the position after the envelope, and whether its names are the known ones.
    fn envelope(
        &self,
        text: &str,
        at: usize,
        envelope: &mut Vec<Field>,
        unrolled: &mut Unrolled,
    ) -> Result<(usize, bool), Box<Fault>> {
        let bytes = text.as_bytes();
        let mut known = self.known.fields.iter();
        let again = |_: &[Field], name| known.next().and_then(|known| known.again(&self.known.text, bytes, name));
        let (end, alike) = object(text, at, envelope, again, |field, at| {
            let is_list = byte(bytes, at) == b'[' && self.format.list.as_ref().is_some_and(|list| field.is(text, list));
            if is_list && unrolled.elements.is_empty() {
                unrolled.reserve(bytes.len() - at);
                elements(text, at + 1, unrolled)
            } else {
                scan::value(bytes, at)
            }
        })?;
        Ok((end, alike && envelope.len() == self.known.fields.len()))
    }
}
