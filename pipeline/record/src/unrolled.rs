//! The list of a message: its elements, and which of their fields hide one of the envelope.

use std::ops::Range;

use crate::error::NameError;
use crate::field::{self, Field, short};
use crate::json::scan::{self, Scan, byte, fault, white_space};
use crate::object::object;

/// The elements of the list, and the fields of all of them in one vector.
#[derive(Debug, Default)]
pub(crate) struct Unrolled {
    pub(crate) elements: Vec<Element>,
    fields: Vec<Field>,
    pub(crate) shapes: Vec<Shape>,
}

impl Unrolled {
    /// Makes room for what a list of so many bytes usually holds.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.fields.reserve((bytes / 18).min(4096));
        self.elements.reserve((bytes / 128).min(1024));
    }

    /// What becomes of the next element, which is an object with these fields. `alike` says that their names are those
    /// of the newest shape.
    fn outcome(&mut self, text: &str, fields: Range<usize>, alike: bool) -> ElementOutcome {
        let known = self.shapes.len();
        if alike && known > 0 {
            return ElementOutcome::Row { shape: short(known - 1) };
        }
        match field::check(text, &self.fields[fields]) {
            Ok(()) => {
                self.shapes.push(Shape { element: self.elements.len(), omitted: Vec::new() });
                ElementOutcome::Row { shape: short(known) }
            }
            Err(error) => ElementOutcome::Name(Box::new(error)),
        }
    }

    pub(crate) fn fields_of(&self, index: usize) -> &[Field] {
        let Element { first, last, .. } = self.elements[index];
        &self.fields[first as usize..last as usize]
    }
}

/// One element of the list.
#[derive(Debug)]
pub(crate) struct Element {
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// The places of its fields in `Unrolled::fields`, from this one …
    first: u32,
    /// … to before this one.
    last: u32,
    pub(crate) outcome: ElementOutcome,
}

/// What became of an element. It is small, because a message may have very many.
#[derive(Debug)]
pub(crate) enum ElementOutcome {
    /// It is a row. `shape` is the place of its shape in `Unrolled::shapes`.
    Row { shape: u32 },
    /// It is no object, and so no row.
    NotAnObject,
    /// Something is wrong with its field names.
    Name(Box<NameError>),
}

/// What rows with the same field names in the same order have in common. The elements of a message nearly always have
/// the same names, which are then checked and compared with those of the envelope only once a message.
#[derive(Debug)]
pub(crate) struct Shape {
    /// The first such element.
    pub(crate) element: usize,
    /// The places, ascending, of the envelope's fields that these rows do not have: the list, and every field that the
    /// element has itself.
    pub(crate) omitted: Vec<u32>,
}

/// Scans the rest of the list after its opening bracket.
pub(crate) fn elements(text: &str, at: usize, unrolled: &mut Unrolled) -> Scan {
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
            if matches!(outcome, ElementOutcome::Row { .. }) {
                previous = fields;
            }
            outcome
        } else {
            at = scan::value(bytes, at)?;
            ElementOutcome::NotAnObject
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
