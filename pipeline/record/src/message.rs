//! A parsed message: its envelope and its rows, every value as its source text.

use crate::error::NameError;
use crate::excerpt::Excerpt;
use crate::field::{self, Field, Index, short};
use crate::format::{WithoutList, is_one_of};
use crate::payload::syntax;
use crate::row::{FieldChange, FieldPlace};
use crate::unrolled::{Element, ElementOutcome, Unrolled, elements};
use crate::{MessageError, Names, Row, RowError, Source, path};

/// A valid message, which its rows borrow.
#[derive(Debug)]
pub struct Message<'m> {
    /// The payload up to the end of its object.
    text: &'m str,
    /// Where its object begins.
    start: usize,
    /// Whether there is an unescaped line break somewhere, which valid JSON has between tokens only.
    line_breaks: bool,
    envelope: Vec<Field>,
    /// What stands for the envelope's names, unless the message is an array.
    names: Names,
    /// The fields that every row has beside those of the envelope or with another value, in row order.
    presets: Vec<FieldChange<'m>>,
    /// The index of the first element that is to be a row.
    first: usize,
    /// The elements of the list. `None` if the message itself is its one row.
    unrolled: Option<Unrolled>,
    source: Option<&'m dyn Source>,
}

/// How many scalars before the first object of an array may be fields of its rows. OCPP has four.
const LEADING_SCALARS: usize = 8;

impl<'m> Message<'m> {
    /// A message that is one row. `text` ends where its object or array, which begins at `start`, ends.
    pub(crate) fn new(text: &'m str, start: usize, envelope: Vec<Field>, names: Names) -> Self {
        let line_breaks = memchr::memchr2(b'\n', b'\r', &text.as_bytes()[start..]).is_some();
        Self { text, start, line_breaks, envelope, names, presets: Vec::new(), first: 0, unrolled: None, source: None }
    }

    /// Makes the elements of an array that is the message itself its rows.
    pub(crate) fn unroll_array(&mut self, unrolled: Unrolled) {
        self.take_leading_scalars(&unrolled);
        self.unrolled = Some(unrolled);
    }

    /// The rows in the order of the list, with one result for each element. An element that is not a row, because it is
    /// no object or has a field twice, is an error with its index.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Result<Row<'_>, (usize, RowError)>> {
        let count = self.unrolled.as_ref().map_or(1, |unrolled| unrolled.elements.len());
        (self.first..count).map(|index| {
            let Some(unrolled) = &self.unrolled else { return Ok(Row::new(self, index, &[], &[])) };
            match &unrolled.elements[index].outcome {
                ElementOutcome::Row { shape } => {
                    Ok(Row::new(self, index, unrolled.fields_of(index), &unrolled.shapes[*shape as usize].omitted))
                }
                ElementOutcome::NotAnObject => {
                    Err((index, RowError::NotAnObject { index, found: Excerpt::start_of(self.element_text(index)) }))
                }
                ElementOutcome::Name(error) => Err((index, RowError::Name { index, error: NameError::clone(error) })),
            }
        })
    }

    /// The JSON text of the list's element `index`, for a dead letter. If there is no list or no such element, it is
    /// that of the whole message.
    pub fn element_text(&self, index: usize) -> &'m str {
        match self.unrolled.as_ref().and_then(|unrolled| unrolled.elements.get(index)) {
            Some(element) => &self.text[element.start as usize..element.end as usize],
            None => &self.text[self.start..],
        }
    }

    /// The JSON text of a field of the envelope, the list included.
    pub fn envelope(&self, name: &str) -> Option<&'m str> {
        field::find(self.text, &self.envelope, name).map(|place| self.envelope[place].value(self.text))
    }

    /// The JSON text of a field of the envelope, by name or path.
    pub(crate) fn find(&self, path: &str) -> Option<&'m str> {
        self.envelope(path).or_else(|| path::find_below(path, &|name| self.envelope(name)))
    }

    /// Sets the Kafka record that the message came in, for templates that use a part of it.
    pub fn set_source(&mut self, source: &'m dyn Source) {
        self.source = Some(source);
    }

    pub(crate) fn source(&self) -> Option<&'m dyn Source> {
        self.source
    }

    /// What stands for the names of the row that the message itself is; `None` if its rows are those of a list.
    pub(crate) fn names(&self) -> Option<Names> {
        self.unrolled.is_none().then_some(self.names)
    }

    pub(crate) fn presets(&self) -> &[FieldChange<'m>] {
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

    /// Makes the few scalars before the first object of an array, such as those of OCPP's
    /// `[2,"19223201","MeterValues",{…}]`, the fields `$0`, `$1`, … of all its rows, instead of rows.
    fn take_leading_scalars(&mut self, unrolled: &Unrolled) {
        let scalar = |element: &&Element| {
            matches!(element.outcome, ElementOutcome::NotAnObject)
                && self.text.as_bytes()[element.start as usize] != b'['
        };
        let scalars = unrolled.elements.iter().take_while(scalar).count();
        let before_object = unrolled
            .elements
            .get(scalars)
            .is_some_and(|element| !matches!(element.outcome, ElementOutcome::NotAnObject));
        if !before_object || scalars > LEADING_SCALARS {
            return;
        }
        self.first = scalars;
        let field = |(index, element): (usize, &Element)| FieldChange {
            place: FieldPlace::Appended,
            name: format!("${index}").into(),
            json: self.text[element.start as usize..element.end as usize].into(),
        };
        self.presets = unrolled.elements[..scalars].iter().enumerate().map(field).collect();
    }

    /// Makes the elements of the list rows. A message that may lack the list, and does, stays one row.
    ///
    /// A list that is not a field of the envelope itself but lies deeper is cut out of the field that contains it.
    pub(crate) fn unroll(
        &mut self,
        list: &str,
        without: &WithoutList,
        mut unrolled: Unrolled,
    ) -> Result<(), MessageError> {
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
            self.presets = vec![FieldChange {
                place: FieldPlace::Envelope(outer),
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
