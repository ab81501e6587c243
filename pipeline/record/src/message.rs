//! A message parsed once: its envelope and its rows, every value as its source text.

use std::ops::Range;

use crate::error::{Excerpt, NameError, Position, kind};
use crate::field::{self, Field, Index, MAX_PAYLOAD, short};
use crate::scan::{self, Fault, Scan, byte, fault, white_space};
use crate::{MessageError, Row, RowError, string};

/// How messages are read: which list, if any, is unrolled into rows.
#[derive(Debug, Clone)]
pub struct Parser {
    list: Option<String>,
    known: KnownNames,
}

/// The names of the last envelope, which are checked: the next message mostly has the same in the same order.
#[derive(Debug, Clone, Default)]
struct KnownNames {
    /// Each with its closing quote.
    text: Vec<u8>,
    /// Where they are in it; without values.
    fields: Vec<Field>,
}

impl KnownNames {
    fn learn(&mut self, text: &str, fields: &[Field]) {
        self.text.clear();
        self.fields.clear();
        for field in fields {
            self.fields.push(field.moved(self.text.len()));
            self.text.extend_from_slice(&field.quoted_name(text).as_bytes()[1..]);
        }
    }
}

impl Parser {
    /// `list` is `converter.split.list.key`; without it the whole message is one row.
    pub fn new(list: Option<String>) -> Self {
        Self { list, known: KnownNames::default() }
    }

    /// Checks the whole of `payload` and finds its rows; no row is given out of a message that is not valid JSON to its end.
    ///
    /// A byte order mark is skipped. With a list, the envelope needs `object` and `type` (strings that are not empty) and `id` (such a
    /// string, or a number), and the list has to be an array; only messages whose `command` is `command` or `response` may go without
    /// the list, and then are one row themselves. Takes time linear in the payload, however deep or wide it is.
    pub fn parse<'m>(&mut self, payload: &'m [u8]) -> Result<Message<'m>, MessageError> {
        let text = utf8(payload)?;
        let bytes = text.as_bytes();
        let start = white_space(bytes, if text.starts_with('\u{feff}') { 3 } else { 0 });
        if start == bytes.len() {
            return Err(MessageError::EmptyMessage { length: payload.len() });
        }
        let mut envelope = Vec::with_capacity(INITIAL_ENVELOPE);
        let mut unrolled = Unrolled::default();
        let end = if byte(bytes, start) == b'{' {
            self.envelope(text, start + 1, &mut envelope, &mut unrolled)
        } else {
            scan::value(bytes, start).map(|end| (end, false))
        };
        let end = end.and_then(|(end, known)| match white_space(bytes, end) {
            rest if rest == bytes.len() => Ok((end, known)),
            rest => Err(fault(rest, "the end of the message")),
        });
        let (end, known) = end.map_err(|fault| syntax(text, &fault))?;
        if byte(bytes, start) != b'{' {
            return Err(MessageError::NotAnObject { found: kind(&text[start..]) });
        }
        if !known {
            field::check(text, &envelope)?;
            self.known.learn(text, &envelope);
        }
        let mut message = Message {
            text: &text[..end],
            start,
            line_breaks: memchr::memchr2(b'\n', b'\r', &bytes[start..end]).is_some(),
            envelope,
            unrolled: None,
        };
        if let Some(list) = &self.list {
            check_identity(&message)?;
            message.unrolled = unroll(&message, list, unrolled)?;
        }
        Ok(message)
    }

    /// The rest of the envelope after its opening brace, and whether its names are the known ones. The elements of the list, if it is an
    /// array, are found on the way.
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
            let is_list = byte(bytes, at) == b'[' && self.list.as_ref().is_some_and(|list| field.is(text, list));
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

/// Room for an envelope (14 fields where the fleet's protocols are batched) or a flat message without growing.
const INITIAL_ENVELOPE: usize = 32;

/// A valid message. Rows borrow it.
#[derive(Debug)]
pub struct Message<'m> {
    /// The payload up to the end of its object.
    text: &'m str,
    /// Where its object begins.
    start: usize,
    /// Whether there is a raw line break somewhere; valid JSON has them only between tokens.
    line_breaks: bool,
    envelope: Vec<Field>,
    /// `None`: the message itself is its one row.
    unrolled: Option<Unrolled>,
}

impl<'m> Message<'m> {
    /// The rows in the order of the list: one result an element; an element that is no row (not an object, a field twice) is an error of its own.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Result<Row<'_>, (usize, RowError)>> {
        let count = self.unrolled.as_ref().map_or(1, |unrolled| unrolled.elements.len());
        (0..count).map(|index| {
            let Some(unrolled) = &self.unrolled else { return Ok(Row::new(self, index, &[], &[])) };
            match &unrolled.elements[index].outcome {
                Outcome::Row { shape } => {
                    Ok(Row::new(self, index, unrolled.fields_of(index), &unrolled.shapes[*shape as usize].omitted))
                }
                Outcome::NotAnObject => {
                    Err((index, RowError::NotAnObject { index, found: Excerpt::start_of(self.element_text(index)) }))
                }
                Outcome::Name(error) => Err((index, RowError::Name { index, error: NameError::clone(error) })),
            }
        })
    }

    /// The JSON text of list element `index`, for a dead letter; the whole message's text when it has no list or no such element.
    pub fn element_text(&self, index: usize) -> &'m str {
        match self.unrolled.as_ref().and_then(|unrolled| unrolled.elements.get(index)) {
            Some(element) => &self.text[element.start as usize..element.end as usize],
            None => &self.text[self.start..],
        }
    }

    /// Value text of an envelope field, the list included.
    pub fn envelope(&self, name: &str) -> Option<&'m str> {
        field::find(self.text, &self.envelope, name).map(|place| self.envelope[place].value(self.text))
    }

    pub(crate) fn text(&self) -> &'m str {
        self.text
    }

    pub(crate) fn has_line_breaks(&self) -> bool {
        self.line_breaks
    }

    pub(crate) fn envelope_fields(&self) -> &[Field] {
        &self.envelope
    }
}

/// The elements of the list and, in one vector for all, their fields.
#[derive(Debug, Default)]
struct Unrolled {
    elements: Vec<Element>,
    fields: Vec<Field>,
    shapes: Vec<Shape>,
}

impl Unrolled {
    /// Room for what so many bytes of list usually hold.
    fn reserve(&mut self, bytes: usize) {
        self.fields.reserve((bytes / 18).min(4096));
        self.elements.reserve((bytes / 128).min(1024));
    }

    /// What becomes of the next element, an object with these fields; `alike`: their names are those of the newest shape.
    fn outcome(&mut self, text: &str, fields: Range<usize>, alike: bool) -> Outcome {
        let known = self.shapes.len();
        if alike && known > 0 {
            return Outcome::Row { shape: short(known - 1) };
        }
        match field::check(text, &self.fields[fields]) {
            Ok(()) => {
                self.shapes.push(Shape { element: self.elements.len(), omitted: Vec::new() });
                Outcome::Row { shape: short(known) }
            }
            Err(error) => Outcome::Name(Box::new(error)),
        }
    }

    fn fields_of(&self, index: usize) -> &[Field] {
        let Element { first, last, .. } = self.elements[index];
        &self.fields[first as usize..last as usize]
    }
}

/// One element of the list.
#[derive(Debug)]
struct Element {
    start: u32,
    end: u32,
    /// Its fields in `Unrolled::fields`.
    first: u32,
    last: u32,
    outcome: Outcome,
}

/// What became of an element. Small, for a message may have very many.
#[derive(Debug)]
enum Outcome {
    /// A row, with its shape in `Unrolled::shapes`.
    Row {
        shape: u32,
    },
    NotAnObject,
    Name(Box<NameError>),
}

/// What rows with the same field names in the same order have in common. The elements of a message nearly always do, so that names are
/// checked and compared with the envelope's once a message and not once a row.
#[derive(Debug)]
struct Shape {
    /// The first such element.
    element: usize,
    /// The envelope's fields that are not in these rows, by place, ascending: the list, and those of which the element has its own.
    omitted: Vec<u32>,
}

/// The rest of an object after its opening brace: appends its fields and gives the position after it, and whether every name is the one
/// that was expected next. `again` gives that field if it is at the position, and is asked once a field, with those so far; `value` scans the
/// value of a field.
#[inline]
fn object(
    text: &str,
    at: usize,
    fields: &mut Vec<Field>,
    mut again: impl FnMut(&[Field], usize) -> Option<Field>,
    mut value: impl FnMut(Field, usize) -> Scan,
) -> Result<(usize, bool), Box<Fault>> {
    let bytes = text.as_bytes();
    let mut alike = true;
    let mut at = white_space(bytes, at);
    if byte(bytes, at) == b'}' {
        return Ok((at + 1, true));
    }
    loop {
        if byte(bytes, at) != b'"' {
            return Err(fault(at, "a field name in double quotes"));
        }
        let name = at + 1;
        let field = if let Some(field) = again(fields, name) {
            field
        } else {
            alike = false;
            Field::scan(bytes, name)?
        };
        at = scan::colon(bytes, field.quote() + 1)?;
        let end = value(field, at)?;
        fields.push(field.with_value(at, end));
        at = white_space(bytes, end);
        match byte(bytes, at) {
            b',' => at = white_space(bytes, at + 1),
            b'}' => return Ok((at + 1, alike)),
            _ => return Err(fault(at, "`,` or `}`")),
        }
    }
}

/// The rest of the list after its opening bracket.
fn elements(text: &str, at: usize, unrolled: &mut Unrolled) -> Scan {
    let bytes = text.as_bytes();
    let mut previous = 0..0;
    let mut at = white_space(bytes, at);
    if byte(bytes, at) == b']' {
        return Ok(at + 1);
    }
    loop {
        let (start, first) = (at, unrolled.fields.len());
        let outcome = if byte(bytes, at) == b'{' {
            let mut expected = previous.clone();
            let again =
                |fields: &[Field], name| expected.next().and_then(|place| fields[place].again(bytes, bytes, name));
            let (end, alike) = object(text, at + 1, &mut unrolled.fields, again, |_, at| scan::value(bytes, at))?;
            at = end;
            let fields = first..unrolled.fields.len();
            let alike = alike && fields.len() == previous.len();
            let outcome = unrolled.outcome(text, fields.clone(), alike);
            if matches!(outcome, Outcome::Row { .. }) {
                previous = fields;
            }
            outcome
        } else {
            at = scan::value(bytes, at)?;
            Outcome::NotAnObject
        };
        unrolled.elements.push(Element {
            start: short(start),
            end: short(at),
            first: short(first),
            last: short(unrolled.fields.len()),
            outcome,
        });
        at = white_space(bytes, at);
        match byte(bytes, at) {
            b',' => at = white_space(bytes, at + 1),
            b']' => return Ok(at + 1),
            _ => return Err(fault(at, "`,` or `]`")),
        }
    }
}

fn utf8(payload: &[u8]) -> Result<&str, MessageError> {
    if payload.len() > MAX_PAYLOAD {
        return Err(MessageError::MessageTooLong { length: payload.len() });
    }
    std::str::from_utf8(payload).map_err(|error| {
        if let Some(encoding) = byte_order_mark(payload) {
            return MessageError::OtherEncoding { encoding };
        }
        let (valid, rest) = payload.split_at(error.valid_up_to());
        MessageError::NotUtf8 {
            offset: valid.len(),
            byte: byte(rest, 0),
            before: Excerpt::end_of(std::str::from_utf8(valid).unwrap_or_default()),
        }
    })
}

/// The encoding whose byte order mark the payload begins with. None of them is UTF-8.
fn byte_order_mark(payload: &[u8]) -> Option<&'static str> {
    match payload {
        [0xff, 0xfe, 0, 0, ..] => Some("UTF-32 (little endian)"),
        [0, 0, 0xfe, 0xff, ..] => Some("UTF-32 (big endian)"),
        [0xff, 0xfe, ..] => Some("UTF-16 (little endian)"),
        [0xfe, 0xff, ..] => Some("UTF-16 (big endian)"),
        _ => None,
    }
}

#[cold]
fn syntax(text: &str, fault: &Fault) -> MessageError {
    let Fault { at: offset, expected } = *fault;
    let at = Position::of(text, offset);
    if offset == text.len() {
        MessageError::Truncated { at, expected, near: Excerpt::end_of(text) }
    } else {
        let (before, rest) = text.split_at(offset);
        MessageError::InvalidJson { at, expected, found: Excerpt::start_of(rest), after: Excerpt::end_of(before) }
    }
}

/// Whether the message says what it is and whose.
fn check_identity(message: &Message<'_>) -> Result<(), MessageError> {
    for (field, number, expected) in [
        ("object", false, "a string that is not empty"),
        ("type", false, "a string that is not empty"),
        ("id", true, "a number, or a string that is not empty"),
    ] {
        let value = message.envelope(field).ok_or(MessageError::MissingField { field, expected })?;
        let good = match value.as_bytes()[0] {
            b'"' => value != r#""""#,
            b'-' | b'0'..=b'9' => number,
            _ => false,
        };
        if !good {
            return Err(MessageError::UnusableIdentity { field, expected, found: Excerpt::start_of(value) });
        }
    }
    Ok(())
}

/// Settles what the envelope says about the list; `None` if the message is a row itself.
fn unroll(message: &Message<'_>, list: &str, mut unrolled: Unrolled) -> Result<Option<Unrolled>, MessageError> {
    let (text, envelope) = (message.text, &message.envelope);
    let Some(place) = field::find(text, envelope, list) else {
        let command = message.envelope("command").unwrap_or("absent");
        let decoded = string::raw(command).and_then(string::decode);
        let has_none = decoded.is_some_and(|command| command == "command" || command == "response");
        let error = || MessageError::MissingList { list: list.into(), command: Excerpt::start_of(command) };
        return has_none.then_some(None).ok_or_else(error);
    };
    let value = envelope[place].value(text);
    if !value.starts_with('[') {
        return Err(MessageError::NotAList { list: list.into(), found: Excerpt::start_of(value) });
    }
    let index = Index::new(text, envelope);
    for number in 0..unrolled.shapes.len() {
        let names = unrolled.fields_of(unrolled.shapes[number].element).iter();
        let mut omitted: Vec<u32> = names.filter_map(|field| index.find(&field.name(text))).map(short).collect();
        omitted.push(short(place));
        omitted.sort_unstable();
        omitted.dedup();
        unrolled.shapes[number].omitted = omitted;
    }
    Ok(Some(unrolled))
}
