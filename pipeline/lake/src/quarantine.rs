//! The rows that fit no table, as JSON lines with the reason and the origin of each, and how many there are of which
//! kind.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use crate::convert::{Target, Written};
use crate::misfit::{Misfit, Reason};

/// The raw object that a row was in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// Its version, if the bucket keeps versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
}

/// Where a row was.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Origin<'o> {
    #[serde(flatten)]
    pub object: &'o Object,
    /// The line of the object, counted from 1.
    pub line: u64,
}

/// How many rows are in quarantine, by the kind of reason and the column.
pub type Ledger = BTreeMap<(Reason, String), u64>;

/// The rows of one table that are in quarantine.
pub(crate) struct Quarantine<W> {
    out: Option<W>,
    rows: usize,
    ledger: Ledger,
}

impl<W> Default for Quarantine<W> {
    fn default() -> Self {
        Self { out: None, rows: 0, ledger: Ledger::new() }
    }
}

/// A line of a quarantine file.
#[derive(Serialize)]
struct Line<'l> {
    reason: &'static str,
    column: &'l str,
    expected: &'l str,
    found: &'l str,
    origin: Origin<'l>,
    /// The line as it is in the raw object. It is text and no object, so that all quarantine files have one schema,
    /// whatever their rows are.
    row: Cow<'l, str>,
}

impl<W: Write> Quarantine<W> {
    /// Writes a row. The first one creates the file.
    pub fn add(
        &mut self,
        line: &[u8],
        misfit: &Misfit,
        origin: Origin<'_>,
        create: impl FnOnce() -> io::Result<W>,
    ) -> io::Result<()> {
        let out = match &mut self.out {
            Some(out) => out,
            none => none.insert(create()?),
        };
        let Misfit { reason, column, expected, found } = misfit;
        let row = String::from_utf8_lossy(line);
        let entry = Line { reason: reason.as_str(), column, expected, found, origin, row };
        serde_json::to_writer(&mut *out, &entry)?;
        out.write_all(b"\n")?;
        self.rows += 1;
        *self.ledger.entry((*reason, column.clone())).or_default() += 1;
        Ok(())
    }

    /// The file, if there is any row.
    pub fn finish(self, target: Target) -> Option<(Written<W>, Ledger)> {
        let out = self.out?;
        Some((Written { target, out, rows: self.rows, with_rest: 0, parquet_bytes: 0 }, self.ledger))
    }
}
