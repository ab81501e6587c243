//! The keys of rows: bytes whose order is that of the rows, and by which repeats of a row are found.
//!
//! A key is the values of the sort fields, a digest of what tells a row from another, and, if that is not the whole
//! row, a digest of the whole row. So repeats are next to each other, and which of them comes first does not depend on
//! the files that they came from.

use arrow_array::{ArrayRef, RecordBatch};
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::{ArrowError, Schema};
use sha2::{Digest as _, Sha256};

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
    pub fn new(schema: &Schema, sort: &[String], identity: &[String]) -> Result<Self, ArrowError> {
        let some = |names: &[String]| -> Result<Option<Encoding>, ArrowError> {
            let columns: Vec<usize> = names.iter().map(|name| schema.index_of(name)).collect::<Result<_, _>>()?;
            if columns.is_empty() { Ok(None) } else { Encoding::new(schema, columns).map(Some) }
        };
        let whole = Encoding::new(schema, (0..schema.fields().len()).collect())?;
        Ok(Self { order: some(sort)?, identity: some(identity)?, whole })
    }

    /// The keys of rows.
    pub fn of(&self, rows: &RecordBatch) -> Result<Keys, ArrowError> {
        let encoded = |encoding: &Option<Encoding>| encoding.as_ref().map(|encoding| encoding.of(rows)).transpose();
        let (order, identity, whole) = (encoded(&self.order)?, encoded(&self.identity)?, self.whole.of(rows)?);
        let mut keys = Keys { bytes: Vec::new(), ends: Vec::with_capacity(rows.num_rows()) };
        for row in 0..rows.num_rows() {
            if let Some(order) = &order {
                keys.bytes.extend_from_slice(order.row(row).data());
            }
            for digested in identity.iter().chain([&whole]) {
                keys.bytes.extend_from_slice(&Sha256::digest(digested.row(row).data())[..DIGEST]);
            }
            keys.ends.push(keys.bytes.len());
        }
        Ok(keys)
    }

    /// The part of a key that repeats of a row have in common.
    pub fn identity<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        let rest = if self.identity.is_some() { DIGEST } else { 0 };
        &key[..key.len() - rest]
    }
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
