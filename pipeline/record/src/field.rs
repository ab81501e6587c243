//! Fields as positions in the text. They are found and compared by their names with escapes decoded.

use std::borrow::Cow;
use std::collections::hash_map::{Entry, HashMap};

use crate::error::NameError;
use crate::json;
use crate::json::scan::{self, Fault};

/// The most bytes of a payload. Kafka cannot carry more, and positions fit into 31 bits.
pub(crate) const MAX_PAYLOAD: usize = i32::MAX as usize;

/// The number of names up to which they are compared one by one, instead of through a hash map.
const FEW: usize = 32;

/// The bit of `Field::name_length` that says that the name has escapes. With it, the length equals no plain length.
const ESCAPED: u32 = 1 << 31;

/// The place of a field in the text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    /// First byte of the name, after its quote.
    name: u32,
    name_length: u32,
    /// First byte of the value.
    value: u32,
    /// First byte after the value.
    end: u32,
}

/// A position in the form in which fields keep it.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a payload has at most MAX_PAYLOAD bytes")]
pub(crate) fn short(at: usize) -> u32 {
    at as u32
}

impl Field {
    /// A field whose name begins at `name`, after its quote.
    #[inline]
    pub(crate) fn scan(text: &[u8], name: usize) -> Result<Self, Box<Fault>> {
        let mut escapes = false;
        let end = scan::string_noting(text, name, &mut escapes)?;
        let length = short(end - 1 - name);
        Ok(Self { name: short(name), name_length: if escapes { length | ESCAPED } else { length }, value: 0, end: 0 })
    }

    /// This field with its name at another position: `Some` if `text` has at `name` the same name as `own` has for this
    /// field, and a closing quote.
    #[inline]
    pub(crate) fn again(self, own: &[u8], text: &[u8], name: usize) -> Option<Self> {
        let own = &own[self.name as usize..=self.quote()];
        let same = text.get(name..name + own.len()) == Some(own);
        same.then(|| self.moved(name))
    }

    /// The same name, begun at another position.
    #[inline]
    pub(crate) fn moved(self, name: usize) -> Self {
        Self { name: short(name), ..self }
    }

    /// The same field with a value at that place.
    #[inline]
    pub(crate) fn with_value(self, value: usize, end: usize) -> Self {
        Self { value: short(value), end: short(end), ..self }
    }

    /// Position of the name's closing quote.
    #[inline]
    pub(crate) fn quote(self) -> usize {
        (self.name + (self.name_length & !ESCAPED)) as usize
    }

    /// Position of the name's opening quote.
    #[inline]
    pub(crate) fn start(self) -> usize {
        self.name as usize - 1
    }

    /// Position of the value.
    #[inline]
    pub(crate) fn value_start(self) -> usize {
        self.value as usize
    }

    /// Position after the value.
    #[inline]
    pub(crate) fn end(self) -> usize {
        self.end as usize
    }

    /// The value's text.
    #[inline]
    pub(crate) fn value(self, text: &str) -> &str {
        &text[self.value as usize..self.end as usize]
    }

    /// The name's text with its quotes, escapes as they stand.
    pub(crate) fn quoted_name(self, text: &str) -> &str {
        &text[self.start()..=self.quote()]
    }

    fn raw_name(self, text: &str) -> &str {
        &text[self.name as usize..self.quote()]
    }

    /// A hash of the name's length and its last eight bytes, in which similar names differ.
    #[inline]
    fn small_hash(self, text: &[u8]) -> u8 {
        let length = self.name_length & !ESCAPED;
        let own = match text[..self.quote()].last_chunk() {
            // The lowest bytes of the word come first in the text. Shifting removes those that stand before a name
            // shorter than the word.
            Some(ending) => {
                let others = 64_u32.saturating_sub(length.saturating_mul(8));
                u64::from_le_bytes(*ending).checked_shr(others).unwrap_or(0)
            }
            // The name is shorter than the word and too near to the beginning of the text for one. The same number is
            // made byte by byte.
            None => {
                text[self.name as usize..self.quote()].iter().rev().fold(0, |own, &byte| own << 8 | u64::from(byte))
            }
        };
        ((own ^ u64::from(length)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
    }

    fn is_escaped(self) -> bool {
        self.name_length & ESCAPED != 0
    }

    /// The decoded name. Of a name that cannot be decoded, which is reported before anybody asks for it, it is the
    /// text.
    #[inline]
    pub(crate) fn name(self, text: &str) -> Cow<'_, str> {
        let raw = self.raw_name(text);
        if self.is_escaped() { json::decode(raw).unwrap_or(Cow::Borrowed(raw)) } else { Cow::Borrowed(raw) }
    }

    /// Whether this is the field `name` (decoded).
    #[inline]
    pub(crate) fn is(self, text: &str, name: &str) -> bool {
        if self.name_length as usize == name.len() {
            text.as_bytes()[self.name as usize..self.quote()] == *name.as_bytes()
        } else {
            self.is_escaped() && self.name(text) == name
        }
    }
}

/// The place of the field of that name.
#[inline]
pub(crate) fn find(text: &str, fields: &[Field], name: &str) -> Option<usize> {
    fields.iter().position(|field| field.is(text, name))
}

/// Checks that the names of an object can be decoded and that none is there twice. Takes time linear in the number of
/// fields.
pub(crate) fn check(text: &str, fields: &[Field]) -> Result<(), NameError> {
    if fields.iter().any(|field| field.is_escaped()) {
        for field in fields {
            if json::decode(field.raw_name(text)).is_err() {
                return Err(NameError::LoneSurrogate { name: field.raw_name(text).into(), offset: field.start() });
            }
        }
    } else if fields.len() <= FEW && plain_and_distinct(text, fields) {
        return Ok(());
    }
    let mut seen = HashMap::with_capacity(fields.len());
    for field in fields {
        match seen.entry(field.name(text)) {
            Entry::Vacant(entry) => {
                entry.insert(field.start());
            }
            Entry::Occupied(entry) => {
                let first = *entry.get();
                return Err(NameError::DuplicateField { name: entry.key().to_string(), first, second: field.start() });
            }
        }
    }
    Ok(())
}

/// Whether a few names without escapes all differ. A name is compared with the earlier ones only if a hash of 8 bits
/// says that it may be equal to one.
fn plain_and_distinct(text: &str, fields: &[Field]) -> bool {
    let mut seen = [0_u64; 4];
    fields.iter().enumerate().all(|(index, field)| {
        let hash = field.small_hash(text.as_bytes());
        let (word, bit) = (usize::from(hash >> 6), 1 << (hash & 63));
        let new = seen[word] & bit == 0 || find(text, &fields[..index], field.raw_name(text)).is_none();
        seen[word] |= bit;
        new
    })
}

/// Finds many fields of one object by name, each in constant time.
pub(crate) enum Index<'m> {
    Few(&'m str, &'m [Field]),
    Many(HashMap<Cow<'m, str>, usize>),
}

impl<'m> Index<'m> {
    pub(crate) fn new(text: &'m str, fields: &'m [Field]) -> Self {
        if fields.len() <= FEW {
            Self::Few(text, fields)
        } else {
            Self::Many(fields.iter().enumerate().map(|(place, field)| (field.name(text), place)).collect())
        }
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        match self {
            Self::Few(text, fields) => find(text, fields, name),
            Self::Many(places) => places.get(name).copied(),
        }
    }
}
