//! One row of a message, which can be read, changed and written.

use std::borrow::Cow;
use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::field::{self, Field};
use crate::json::compact::{self, write_line};
use crate::{Message, Names, path};

/// One row: the fields of the envelope without the list, then those of the element. If both have a field, the row has
/// the element's value.
#[derive(Clone)]
pub struct Row<'m> {
    message: &'m Message<'m>,
    index: usize,
    /// The element's fields.
    own: &'m [Field],
    /// The places, ascending, of the envelope's fields that are not in this row.
    omitted: &'m [u32],
    /// The changed fields in row order: by place, and those of [`FieldPlace::Appended`] in the order in which they were
    /// set.
    changes: Vec<FieldChange<'m>>,
}

/// A field that was set.
#[derive(Debug, Clone)]
pub(crate) struct FieldChange<'m> {
    pub(crate) place: FieldPlace,
    pub(crate) name: Cow<'m, str>,
    pub(crate) json: Cow<'m, str>,
}

/// The place of a field in a row. The order of places is that of the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FieldPlace {
    Envelope(usize),
    Own(usize),
    Appended,
}

impl<'m> Row<'m> {
    pub(crate) fn new(message: &'m Message<'m>, index: usize, own: &'m [Field], omitted: &'m [u32]) -> Self {
        let mut row = Self { message, index, own, omitted, changes: Vec::new() };
        let presets = message.presets().iter().filter(|change| match change.place {
            FieldPlace::Envelope(at) => !row.omits(at),
            FieldPlace::Own(_) | FieldPlace::Appended => field::find(message.text(), own, &change.name).is_none(),
        });
        row.changes = presets
            .map(|FieldChange { place, name, json }| FieldChange {
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

    /// The JSON text of a field's value; `None` if there is no such field. A JSON `null` is `Some("null")`.
    #[inline]
    pub fn get(&self, name: &str) -> Option<&str> {
        let text = self.message.text();
        match self.place(name)? {
            FieldPlace::Appended => {
                self.appended().iter().find(|change| change.name == name).map(|change| &*change.json)
            }
            place @ FieldPlace::Own(at) => Some(self.changed(place).unwrap_or_else(|| self.own[at].value(text))),
            place @ FieldPlace::Envelope(at) => {
                Some(self.changed(place).unwrap_or_else(|| self.envelope()[at].value(text)))
            }
        }
    }

    /// The JSON text of the value at a path. The path `a.b` is the field of exactly this name, or else the field `b` in
    /// the object `a`.
    #[inline]
    pub fn find(&self, path: &str) -> Option<&str> {
        self.get(path).or_else(|| path::find_below(path, &|name| self.get(name)))
    }

    /// Sets a field. The value of an existing field is replaced in its place; a new field is appended. `json` has to be
    /// valid JSON text.
    pub fn set(&mut self, name: &str, json: String) {
        let place = self.place(name).unwrap_or(FieldPlace::Appended);
        let same = |change: &&mut FieldChange<'_>| change.place == place && change.name == name;
        if let Some(change) = self.changes.iter_mut().find(same) {
            change.json = json.into();
        } else {
            let after = self.changes.partition_point(|change| change.place <= place);
            self.changes.insert(after, FieldChange { place, name: name.to_owned().into(), json: json.into() });
        }
    }

    /// The name, with its escapes decoded, and the JSON text of every field, in row order.
    pub fn fields(&self) -> Vec<(Cow<'_, str>, &str)> {
        let text = self.message.text();
        let names = self.places().map(|(_, field)| field.name(text));
        let appended = self.appended().iter().map(|change| Cow::Borrowed(&*change.name));
        let mut fields = Vec::with_capacity(self.envelope().len() + self.own.len() + appended.len());
        fields.extend(names.chain(appended).zip(self.values()));
        fields
    }

    /// The JSON text of every field, in row order.
    #[inline]
    pub fn values(&self) -> impl Iterator<Item = &str> {
        let text = self.message.text();
        let values = self.places().map(move |(place, field)| self.changed(place).unwrap_or_else(|| field.value(text)));
        values.chain(self.appended().iter().map(|change| &*change.json))
    }

    /// What stands for the names of all fields in row order: rows with equal ones have the same names. `None` if the
    /// row is an element of a list or was changed.
    #[inline]
    pub fn names(&self) -> Option<Names> {
        self.message.names().filter(|_| self.changes.is_empty())
    }

    /// The fields of the source, in row order.
    fn places(&self) -> impl Iterator<Item = (FieldPlace, &'m Field)> {
        let envelope = self.envelope().iter().enumerate().filter(|&(at, _)| !self.omits(at));
        let own = self.own.iter().enumerate().map(|(at, field)| (FieldPlace::Own(at), field));
        envelope.map(|(at, field)| (FieldPlace::Envelope(at), field)).chain(own)
    }

    /// Appends the row to `out` as one JSON object on one line.
    ///
    /// Fields that follow each other in the source are copied as they are, together with what is between them. Only
    /// where that contains a line break, which valid JSON has between tokens only, all white space between tokens is
    /// left out.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        let own = self.changes.partition_point(|change| change.place < FieldPlace::Own(0));
        let appended = self.changes.partition_point(|change| change.place < FieldPlace::Appended);
        self.write_fields(out, self.envelope(), self.omitted, &self.changes[..own]);
        self.write_fields(out, self.own, &[], &self.changes[own..appended]);
        for change in &self.changes[appended..] {
            // Writing to a vector cannot fail.
            let _infallible = serde_json::to_writer(&mut *out, &change.name);
            write_changed(out, &change.json);
        }
        // Every field was written with a comma after it.
        match out.last_mut() {
            Some(comma) if *comma == b',' => *comma = b'}',
            _ => out.push(b'}'),
        }
    }

    /// A digest of 128 bits as 32 hexadecimal digits. Rows have equal digests exactly if every field is equal in name
    /// and value text, whatever the order of the fields is.
    ///
    /// White space between the tokens of a list or object does not count. Everything else counts as it was written:
    /// `21.5` and `21.50` differ, and so do `"\u0061"` and `"a"`, and so do nested objects whose fields are in another
    /// order.
    ///
    /// It is the first half of the SHA-256 over the fields sorted by decoded name: each name and the text of each
    /// value, with its length (LEB128) before it.
    pub fn digest(&self) -> String {
        let mut fields = self.fields();
        fields.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut framed = Vec::with_capacity(1024);
        for (name, value) in &fields {
            write_framed(&mut framed, name.as_bytes());
            write_framed(&mut framed, &compact::value(value));
        }
        hex::encode(&Sha256::digest(&framed)[..16])
    }

    fn envelope(&self) -> &'m [Field] {
        self.message.envelope_fields()
    }

    fn omits(&self, envelope_field: usize) -> bool {
        self.omitted.binary_search_by_key(&envelope_field, |&place| place as usize).is_ok()
    }

    fn place(&self, name: &str) -> Option<FieldPlace> {
        let text = self.message.text();
        if let Some(at) = field::find(text, self.own, name) {
            return Some(FieldPlace::Own(at));
        }
        if let Some(at) = field::find(text, self.envelope(), name).filter(|&at| !self.omits(at)) {
            return Some(FieldPlace::Envelope(at));
        }
        self.appended().iter().any(|change| change.name == name).then_some(FieldPlace::Appended)
    }

    fn appended(&self) -> &[FieldChange<'m>] {
        &self.changes[self.changes.partition_point(|change| change.place < FieldPlace::Appended)..]
    }

    /// The new value of a field of the source, if it was set.
    #[inline]
    fn changed(&self, place: FieldPlace) -> Option<&str> {
        if self.changes.is_empty() {
            return None;
        }
        let at = self.changes.binary_search_by_key(&place, |change| change.place).ok()?;
        Some(&self.changes[at].json)
    }

    /// Writes the fields that are not omitted in runs, and `changes` in place of the fields that they replace. A comma
    /// follows each run.
    fn write_fields(&self, out: &mut Vec<u8>, fields: &[Field], mut omitted: &[u32], mut changes: &[FieldChange<'_>]) {
        let text = self.message.text();
        let mut from = 0;
        loop {
            let omit = omitted.first().map_or(fields.len(), |&place| place as usize);
            let change = changes.first().map_or(fields.len(), |change| match change.place {
                FieldPlace::Envelope(at) | FieldPlace::Own(at) => at,
                FieldPlace::Appended => fields.len(),
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

/// Writes fields that follow each other. Each value, and what is between names, values and fields, is written as one
/// line.
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
