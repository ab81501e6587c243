//! One row of a message: reading it, changing it, writing it.

use std::borrow::Cow;
use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::Message;
use crate::field::{self, Field};
use crate::json::compact::{self, write_line};
use crate::path;

/// One row: the envelope's fields (without the list), then the element's; on a name clash the element's value.
#[derive(Clone)]
pub struct Row<'m> {
    message: &'m Message<'m>,
    index: usize,
    /// The element's fields.
    own: &'m [Field],
    /// The envelope's fields that are not in this row, by place, ascending.
    omitted: &'m [u32],
    /// In row order: by place, those of [`Place::Appended`] in the order they came.
    changes: Vec<Change<'m>>,
}

/// A field that was set.
#[derive(Debug, Clone)]
pub(crate) struct Change<'m> {
    pub(crate) place: Place,
    pub(crate) name: Cow<'m, str>,
    pub(crate) json: Cow<'m, str>,
}

/// Where a field of a row stands. The order is that of the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Envelope(usize),
    Own(usize),
    Appended,
}

impl<'m> Row<'m> {
    pub(crate) fn new(message: &'m Message<'m>, index: usize, own: &'m [Field], omitted: &'m [u32]) -> Self {
        let mut row = Self { message, index, own, omitted, changes: Vec::new() };
        let presets = message.presets().iter().filter(|change| match change.place {
            Place::Envelope(at) => !row.omits(at),
            _ => field::find(message.text(), own, &change.name).is_none(),
        });
        row.changes = presets
            .map(|Change { place, name, json }| Change {
                place: *place,
                name: Cow::Borrowed(name),
                json: Cow::Borrowed(json),
            })
            .collect();
        row
    }

    /// Position of the element in the message's list, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The message it is in.
    pub fn message(&self) -> &'m Message<'m> {
        self.message
    }

    /// The value's JSON text; `None` when there is no such field. A JSON `null` is `Some("null")`.
    #[inline]
    pub fn get(&self, name: &str) -> Option<&str> {
        let text = self.message.text();
        match self.place(name)? {
            Place::Appended => self.appended().iter().find(|change| change.name == name).map(|change| &*change.json),
            place @ Place::Own(at) => Some(self.changed(place).unwrap_or_else(|| self.own[at].value(text))),
            place @ Place::Envelope(at) => Some(self.changed(place).unwrap_or_else(|| self.envelope()[at].value(text))),
        }
    }

    /// The JSON text of the value at a path: of the field of that very name, else for `a.b` of `b` in the object `a`.
    #[inline]
    pub fn find(&self, path: &str) -> Option<&str> {
        self.get(path).or_else(|| path::find_below(path, &|name| self.get(name)))
    }

    /// Sets a field: replaces the value of that name in place, else appends it. `json` is valid JSON text.
    pub fn set(&mut self, name: &str, json: String) {
        let place = self.place(name).unwrap_or(Place::Appended);
        let same = |change: &&mut Change<'_>| change.place == place && change.name == name;
        if let Some(change) = self.changes.iter_mut().find(same) {
            change.json = json.into();
        } else {
            let after = self.changes.partition_point(|change| change.place <= place);
            self.changes.insert(after, Change { place, name: name.to_owned().into(), json: json.into() });
        }
    }

    /// Name (decoded: escapes resolved) and JSON text of every field, in row order.
    pub fn fields(&self) -> impl Iterator<Item = (Cow<'_, str>, &str)> {
        let text = self.message.text();
        let source =
            move |place, field: &Field| (field.name(text), self.changed(place).unwrap_or_else(|| field.value(text)));
        let envelope = self.envelope().iter().enumerate().filter(|&(at, _)| !self.omits(at));
        let envelope = envelope.map(move |(at, field)| source(Place::Envelope(at), field));
        let own = self.own.iter().enumerate().map(move |(at, field)| source(Place::Own(at), field));
        let appended = self.appended().iter().map(|change| (Cow::Borrowed(&*change.name), &*change.json));
        envelope.chain(own).chain(appended)
    }

    /// Appends the row as one JSON object in one line.
    ///
    /// Fields that follow each other in the source are copied as they stand, with what is between them. Only where that has a raw line
    /// break (valid JSON has them only between tokens), be it in a value or between two, all white space between tokens is dropped there.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        let own = self.changes.partition_point(|change| change.place < Place::Own(0));
        let appended = self.changes.partition_point(|change| change.place < Place::Appended);
        self.write_fields(out, self.envelope(), self.omitted, &self.changes[..own]);
        self.write_fields(out, self.own, &[], &self.changes[own..appended]);
        for change in &self.changes[appended..] {
            // A vector takes everything.
            let _infallible = serde_json::to_writer(&mut *out, &change.name);
            write_changed(out, &change.json);
        }
        // Every field was written with a comma after it.
        match out.last_mut() {
            Some(comma) if *comma == b',' => *comma = b'}',
            _ => out.push(b'}'),
        }
    }

    /// 128 bits that are equal exactly for rows that are equal in every field (name and value text), whatever the field order: 32 hex digits.
    ///
    /// White space between the tokens of a list or object is not part of its text. Everything else counts as it was written: `21.5` and
    /// `21.50` differ, and so do `"\u0061"` and `"a"`, and the field order of a nested object.
    ///
    /// The first half of SHA-256 over the fields sorted by decoded name: each name and each value's text, its length (LEB128) before it.
    pub fn digest(&self) -> String {
        let mut fields = Vec::with_capacity(self.envelope().len() + self.own.len() + self.changes.len());
        self.fields().for_each(|field| fields.push(field));
        fields.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut framed = Vec::with_capacity(1024);
        for (name, value) in &fields {
            write_framed(&mut framed, name.as_bytes());
            write_framed(&mut framed, &compact::value(value));
        }
        let half = &Sha256::digest(&framed)[..16];
        half.iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
            .collect()
    }

    fn envelope(&self) -> &'m [Field] {
        self.message.envelope_fields()
    }

    fn omits(&self, envelope_field: usize) -> bool {
        self.omitted.binary_search_by_key(&envelope_field, |&place| place as usize).is_ok()
    }

    fn place(&self, name: &str) -> Option<Place> {
        let text = self.message.text();
        if let Some(at) = field::find(text, self.own, name) {
            return Some(Place::Own(at));
        }
        if let Some(at) = field::find(text, self.envelope(), name).filter(|&at| !self.omits(at)) {
            return Some(Place::Envelope(at));
        }
        self.appended().iter().any(|change| change.name == name).then_some(Place::Appended)
    }

    fn appended(&self) -> &[Change<'m>] {
        &self.changes[self.changes.partition_point(|change| change.place < Place::Appended)..]
    }

    /// What a field of the source was set to.
    #[inline]
    fn changed(&self, place: Place) -> Option<&str> {
        if self.changes.is_empty() {
            return None;
        }
        let at = self.changes.binary_search_by_key(&place, |change| change.place).ok()?;
        Some(&self.changes[at].json)
    }

    /// Writes the fields that are not omitted, run by run, `changes` instead of those they replace; a comma after each run.
    fn write_fields(&self, out: &mut Vec<u8>, fields: &[Field], mut omitted: &[u32], mut changes: &[Change<'_>]) {
        let text = self.message.text();
        let mut from = 0;
        loop {
            let omit = omitted.first().map_or(fields.len(), |&place| place as usize);
            let change = changes.first().map_or(fields.len(), |change| match change.place {
                Place::Envelope(at) | Place::Own(at) => at,
                Place::Appended => fields.len(),
            });
            let stop = omit.min(change);
            if from < stop {
                let run = &fields[from..stop];
                if self.message.has_line_breaks() {
                    write_pieces(out, text, run);
                } else {
                    out.extend_from_slice(&text.as_bytes()[run[0].start()..run[run.len() - 1].end()]);
                }
                out.push(b',');
            }
            if stop == fields.len() {
                return;
            }
            if let ([change, rest @ ..], true) = (changes, change == stop) {
                out.extend_from_slice(fields[stop].quoted_name(text).as_bytes());
                write_changed(out, &change.json);
                changes = rest;
            } else {
                omitted = &omitted[1..];
            }
            from = stop + 1;
        }
    }
}

impl fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut json = Vec::new();
        self.write_json(&mut json);
        write!(f, "row {}: {}", self.index, String::from_utf8_lossy(&json))
    }
}

/// Writes fields that follow each other: each value, and what is between name and value and between the fields, as a line of its own.
fn write_pieces(out: &mut Vec<u8>, text: &str, run: &[Field]) {
    let mut end = None;
    for field in run {
        let between = end.map_or("", |end| &text[end..field.start()]);
        let colon = &text[field.quote() + 1..field.value_start()];
        write_line(out, between.as_bytes());
        out.extend_from_slice(field.quoted_name(text).as_bytes());
        write_line(out, colon.as_bytes());
        write_line(out, field.value(text).as_bytes());
        end = Some(field.end());
    }
}

fn write_changed(out: &mut Vec<u8>, json: &str) {
    out.push(b':');
    write_line(out, json.as_bytes());
    out.push(b',');
}

#[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
fn write_framed(out: &mut Vec<u8>, part: &[u8]) {
    let mut length = part.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(part);
}
