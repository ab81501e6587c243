//! The keys of rows: bytes whose order is that of the rows, and by which repeats of a row are found.
//!
//! A key is the values of the sort fields, a digest of what tells a row from another, and, if that is not the whole
//! row, a digest of the whole row. So repeats are next to each other, and which of them comes first does not depend on
//! the files that they came from.
//!
//! A number that became a text, because its column has got another type, has another text than one that is converted
//! today may have: `1` for `1.0`. So what tells rows apart is the number that such a text stands for.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::{ArrowError, DataType, Schema};
use sha2::{Digest as _, Sha256};

use super::cast::same_text;
use crate::types::Type;

/// How many bytes of a digest are enough to tell rows apart.
const DIGEST: usize = 16;

/// How keys are made of rows of one schema.
#[derive(Debug)]
pub(super) struct Keying {
    /// The sort fields; `None` if there are none.
    order: Option<Encoding>,
    /// The columns that tell rows apart, if those are not all.
    identity: Option<Encoding>,
    whole: Encoding,
    /// The columns of texts that were values of another type, with that type.
    texts: Vec<(usize, Type)>,
}

#[derive(Debug)]
struct Encoding {
    columns: Vec<usize>,
    converter: RowConverter,
}

/// The keys of some rows.
#[derive(Debug)]
pub(super) struct Keys {
    bytes: Vec<u8>,
    /// Where each key ends.
    ends: Vec<usize>,
}

impl Keying {
    /// Keys by the columns `sort`, for rows that are the same if those of `identity` are; all columns if it is empty.
    ///
    /// `texts` are columns of texts that were values of another type.
    pub fn new(
        schema: &Schema,
        sort: &[String],
        identity: &[String],
        texts: &[(String, Type)],
    ) -> Result<Self, ArrowError> {
        let some = |names: &[String]| -> Result<Option<Encoding>, ArrowError> {
            let columns: Vec<usize> = names.iter().map(|name| schema.index_of(name)).collect::<Result<_, _>>()?;
            if columns.is_empty() { Ok(None) } else { Encoding::new(schema, columns).map(Some) }
        };
        let all = || Encoding::new(schema, (0..schema.fields().len()).collect());
        let place = |(name, was): &(String, Type)| {
            let place = schema.column_with_name(name).filter(|(_, field)| *field.data_type() == DataType::Utf8);
            place.map(|(place, _)| (place, was.clone()))
        };
        let texts: Vec<(usize, Type)> = texts.iter().filter_map(place).collect();
        let identity = match some(identity)? {
            None if !texts.is_empty() => Some(all()?),
            identity => identity,
        };
        Ok(Self { order: some(sort)?, identity, whole: all()?, texts })
    }

    /// The keys of rows.
    pub fn of(&self, rows: &RecordBatch) -> Result<Keys, ArrowError> {
        let encoded = |encoding: &Option<Encoding>| encoding.as_ref().map(|encoding| encoding.of(rows)).transpose();
        let (order, whole) = (encoded(&self.order)?, self.whole.of(rows)?);
        let before = self.as_before(rows)?;
        let identity = self.identity.as_ref().map(|encoding| encoding.of(&before)).transpose()?;
        let is_same = |row: usize| {
            let text = |rows: &RecordBatch, place: usize| rows.column(place).as_string::<i32>().value(row).to_owned();
            self.texts.iter().all(|(place, _)| text(rows, *place) == text(&before, *place))
        };
        let mut keys = Keys { bytes: Vec::new(), ends: Vec::with_capacity(rows.num_rows()) };
        for row in 0..rows.num_rows() {
            if let Some(order) = &order {
                keys.bytes.extend_from_slice(order.row(row).data());
            }
            if let Some(identity) = &identity {
                keys.bytes.extend_from_slice(&digest(identity, row));
                // The row that was there before comes first, so that it stays.
                keys.bytes.push(u8::from(!is_same(row)));
            }
            keys.bytes.extend_from_slice(&digest(&whole, row));
            keys.ends.push(keys.bytes.len());
        }
        Ok(keys)
    }

    /// The rows with each text as that of the value that it was, or would have been.
    fn as_before(&self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let mut columns = rows.columns().to_vec();
        for (place, was) in &self.texts {
            let texts = columns[*place].as_string::<i32>().iter();
            let texts: StringArray = texts.map(|text| text.map(|text| same_text(text, was))).collect();
            columns[*place] = Arc::new(texts);
        }
        RecordBatch::try_new(rows.schema(), columns)
    }

    /// The part of a key that repeats of a row have in common.
    pub fn identity<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        let rest = if self.identity.is_some() { 1 + DIGEST } else { 0 };
        &key[..key.len() - rest]
    }
}

fn digest(rows: &Rows, row: usize) -> [u8; DIGEST] {
    let mut digest = [0; DIGEST];
    digest.copy_from_slice(&Sha256::digest(rows.row(row).data())[..DIGEST]);
    digest
}

impl Encoding {
    fn new(schema: &Schema, columns: Vec<usize>) -> Result<Self, ArrowError> {
        let fields = columns.iter().map(|&column| SortField::new(schema.field(column).data_type().clone()));
        Ok(Self { converter: RowConverter::new(fields.collect())?, columns })
    }

    fn of(&self, rows: &RecordBatch) -> Result<Rows, ArrowError> {
        let columns: Vec<ArrayRef> = self.columns.iter().map(|&column| rows.column(column).clone()).collect();
        self.converter.convert_columns(&columns)
    }
}

impl Keys {
    /// The key of a row.
    pub fn of(&self, row: usize) -> &[u8] {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[row]]
    }
}
