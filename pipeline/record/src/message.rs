//! A message parsed once: its envelope and its rows, every value as its source text.

use std::ops::Range;

use crate::error::{Excerpt, NameError, Position, kind};
use crate::field::{self, Field, Index, MAX_PAYLOAD, short};
use crate::format::{WithoutList, is_one_of};
use crate::row::{Change, Place};
use crate::scan::{self, Fault, Scan, byte, fault, white_space};
use crate::{Format, MessageError, Row, RowError, Source, path, string};

/// How messages are read.
#[derive(Debug, Clone)]
pub struct Parser {
    format: Format,
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
    /// `list` is `converter.split.list.key`, everything else is as it is without settings: see [`Format::new`].
    pub fn new(list: Option<String>) -> Self {
        Self::of(Format::new(list))
    }

    /// Reads messages of this format.
    pub fn of(format: Format) -> Self {
        Self { format, known: KnownNames::default() }
    }

    /// Checks the whole of `payload` and finds its rows; no row is given out of a message that is not valid JSON to its end.
    ///
    /// A byte order mark is skipped. The message is what the [`Format`] says: the payload's object, or a part of it. With a list, the list
    /// has to be an array, and only messages that the format exempts may go without it and then are one row themselves. Takes time linear
    /// in the payload, however deep or wide it is.
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
        let mut message = Message {
            text: &text[..end],
            start,
            line_breaks: memchr::memchr2(b'\n', b'\r', &bytes[start..end]).is_some(),
            envelope,
            presets: Vec::new(),
            first: 0,
            unrolled: None,
            source: None,
        };
        if is_array {
            message.take_leading_scalars(&unrolled);
            message.unrolled = Some(unrolled);
            return Ok(message);
        }
        self.check_required(&message)?;
        if let Some(list) = &self.format.list {
            message.unroll(list, &self.format.without_list, unrolled)?;
        }
        Ok(message)
    }

    /// The part of a wrapped value that is the message: the text up to its end, and where it begins. The whole value is checked.
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

    /// Whether the message has what it needs, by default what it is and whose.
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
    /// What every row has otherwise than the envelope has it, or has beside it, in row order.
    presets: Vec<Change<'m>>,
    /// The first element of the list that is to be a row.
    first: usize,
    /// `None`: the message itself is its one row.
    unrolled: Option<Unrolled>,
    source: Option<&'m dyn Source>,
}

/// How many scalars before an array's first object are fields of its rows: OCPP has four.
const LEADING_SCALARS: usize = 8;

impl<'m> Message<'m> {
    /// The rows in the order of the list: one result an element; an element that is no row (not an object, a field twice) is an error of its own.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Result<Row<'_>, (usize, RowError)>> {
        let count = self.unrolled.as_ref().map_or(1, |unrolled| unrolled.elements.len());
        (self.first..count).map(|index| {
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

    /// Value text of an envelope field by name or path.
    pub(crate) fn find(&self, path: &str) -> Option<&'m str> {
        self.envelope(path).or_else(|| path::find_below(path, &|name| self.envelope(name)))
    }

    /// Says in which Kafka record the message came, for templates that name a part of it.
    pub fn set_source(&mut self, source: &'m dyn Source) {
        self.source = Some(source);
    }

    pub(crate) fn source(&self) -> Option<&'m dyn Source> {
        self.source
    }

    pub(crate) fn presets(&self) -> &[Change<'m>] {
        &self.presets
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

    /// An array's few scalars before its first object, such as those of OCPP's `[2,"19223201","MeterValues",{…}]`, are no rows but the
    /// fields `$0`, `$1`, … of all its rows.
    fn take_leading_scalars(&mut self, unrolled: &Unrolled) {
        let scalar = |element: &&Element| {
            matches!(element.outcome, Outcome::NotAnObject) && self.text.as_bytes()[element.start as usize] != b'['
        };
        let scalars = unrolled.elements.iter().take_while(scalar).count();
        let before_object =
            unrolled.elements.get(scalars).is_some_and(|element| !matches!(element.outcome, Outcome::NotAnObject));
        if !before_object || scalars > LEADING_SCALARS {
            return;
        }
        self.first = scalars;
        let field = |(index, element): (usize, &Element)| Change {
            place: Place::Appended,
            name: format!("${index}").into(),
            json: self.text[element.start as usize..element.end as usize].into(),
        };
        self.presets = unrolled.elements[..scalars].iter().enumerate().map(field).collect();
    }

    /// Settles what the envelope says about the list; without one the message stays a row itself.
    ///
    /// A list that is not a field of the envelope itself but lies deeper is cut out of the field that holds it.
    fn unroll(&mut self, list: &str, without: &WithoutList, mut unrolled: Unrolled) -> Result<(), MessageError> {
        let (text, envelope) = (self.text, &self.envelope);
        let not_a_list = |value| MessageError::NotAList { list: list.into(), found: Excerpt::start_of(value) };
        let mut whole = None;
        if let Some(place) = field::find(text, envelope, list) {
            let value = envelope[place].value(text);
            if !value.starts_with('[') {
                return Err(not_a_list(value));
            }
            whole = Some(short(place));
        } else if let Some((outer, fields, place)) = path::locate_below(text, envelope, list) {
            let value = fields[place].value(text);
            if !value.starts_with('[') {
                return Err(not_a_list(value));
            }
            unrolled.reserve(value.len());
            elements(text, fields[place].value_start() + 1, &mut unrolled).map_err(|fault| syntax(text, &fault))?;
            self.presets = vec![Change {
                place: Place::Envelope(outer),
                name: envelope[outer].name(text),
                json: without_field(text, envelope[outer], &fields, place).into(),
            }];
        } else {
            return self.check_list_is_optional(list, without);
        }
        let index = Index::new(text, envelope);
        for number in 0..unrolled.shapes.len() {
            let names = unrolled.fields_of(unrolled.shapes[number].element).iter();
            let mut omitted: Vec<u32> = names.filter_map(|field| index.find(&field.name(text))).map(short).collect();
            omitted.extend(whole);
            omitted.sort_unstable();
            omitted.dedup();
            unrolled.shapes[number].omitted = omitted;
        }
        self.unrolled = Some(unrolled);
        Ok(())
    }

    fn check_list_is_optional(&self, list: &str, without: &WithoutList) -> Result<(), MessageError> {
        let WithoutList::Where { field, values } = without else { return Ok(()) };
        let found = self.find(field);
        if found.is_some_and(|value| is_one_of(value, values)) {
            return Ok(());
        }
        Err(MessageError::MissingList {
            list: list.into(),
            field: field.clone(),
            values: values.clone(),
            found: Excerpt::start_of(found.unwrap_or("absent")),
        })
    }
}

/// The text of `outer`'s value without one of the `fields` of an object in it.
fn without_field(text: &str, outer: Field, fields: &[Field], place: usize) -> String {
    let own = fields[place];
    let (from, to) = match (place.checked_sub(1).map(|before| fields[before]), fields.get(place + 1)) {
        (Some(before), _) => (before.end(), own.end()),
        (None, Some(after)) => (own.start(), after.start()),
        (None, None) => (own.start(), own.end()),
    };
    [&text[outer.value_start()..from], &text[to..outer.end()]].concat()
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
pub(crate) fn object(
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

/// The end of the message, if there is nothing behind it.
#[inline]
fn last(text: &[u8], end: usize) -> Scan {
    match white_space(text, end) {
        rest if rest == text.len() => Ok(end),
        rest => Err(fault(rest, END)),
    }
}

/// What a fault behind the message expected.
const END: &str = "the end of the message";

fn utf8(payload: &[u8]) -> Result<&str, MessageError> {
    if payload.len() > MAX_PAYLOAD {
        return Err(MessageError::MessageTooLong { length: payload.len() });
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

/// The schema's id, if the payload begins as Confluent's serializers write it: a zero byte and an id of four bytes.
///
/// Ids are small numbers, so UTF-16 is told apart by its second byte; zero bytes of a buffer before an object are told by the object.
fn registry_schema(payload: &[u8]) -> Option<u32> {
    let (&[0, 0, b, c, d], [first, ..]) = payload.split_first_chunk()? else { return None };
    let id = u32::from_be_bytes([0, b, c, d]);
    let is_object = id == u32::from(b'{') && matches!(first, b'"' | b'}' | b' ' | b'\n' | b'\r' | b'\t');
    (id != 0 && !is_object).then_some(id)
}

/// Why a value is no message; `body` is the field that holds it, unless it is the payload itself.
#[cold]
fn not_an_object(json: &str, body: Option<&str>) -> MessageError {
    let holds_json = string::raw(json).and_then(string::decode).is_some_and(|text| {
        let start = white_space(text.as_bytes(), 0);
        matches!(byte(text.as_bytes(), start), b'{' | b'[')
            && scan::value(text.as_bytes(), start).and_then(|end| last(text.as_bytes(), end)).is_ok()
    });
    let body = body.map(ToOwned::to_owned);
    match body {
        body if holds_json => MessageError::JsonInString { body },
        Some(field) => MessageError::BodyNotAnObject { field, found: kind(json) },
        None => MessageError::NotAnObject { found: kind(json) },
    }
}

#[cold]
fn syntax(text: &str, fault: &Fault) -> MessageError {
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
