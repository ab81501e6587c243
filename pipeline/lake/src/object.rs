//! One raw object, from its first byte to its published files: it is converted again for tables that had to grow.

use std::collections::BTreeSet;
use std::io::{self, Read};

use thiserror::Error;

use crate::convert::{Conversion, ConvertError, Converter, Outcome, Settings, Surroundings, Target, Written};
use crate::lines::{Line, each_line};
use crate::quarantine::{Ledger, Object};
use crate::table::{Identity, Table};
use crate::types::Field;

/// How often a table may have to grow for one object: once for what the object has, and once more for each other writer
/// that changes the table at the same time.
const MAX_ROUNDS: usize = 16;

/// Where files and tables are kept.
pub trait Lake: Surroundings {
    /// Adds columns to a table, or creates it. `known` is the table from which `columns` were made; if the catalog has
    /// another version by now, the columns that it lacks are added to that.
    fn grow(&mut self, identity: &Identity, known: Option<&Table>, columns: &[Field]) -> io::Result<()>;

    /// Makes a complete file of an object visible to readers, in place of what an earlier conversion of it left.
    /// `version` is that of the table by which the file was written.
    fn publish(&mut self, object: &Object, file: Written<Self::Out>, version: Option<&str>) -> io::Result<()>;

    /// Removes what earlier conversions of the object left in other files than these, which were published now.
    fn end(&mut self, object: &Object, published: &BTreeSet<Target>) -> io::Result<()>;
}

/// What became of an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Lines that are not empty.
    pub lines: u64,
    /// Rows in files of tables.
    pub rows: u64,
    /// Files of tables.
    pub files: u64,
    /// Lines in quarantine, by reason and column.
    pub quarantined: Ledger,
    /// Tables that were created or got columns.
    pub grown: BTreeSet<Identity>,
}

impl Report {
    /// Adds what became of another object.
    pub fn add(&mut self, other: Self) {
        self.lines += other.lines;
        self.rows += other.rows;
        self.files += other.files;
        self.grown.extend(other.grown);
        self.add_quarantined(other.quarantined);
    }

    fn add_quarantined(&mut self, ledger: Ledger) {
        for (reason, rows) in ledger {
            *self.quarantined.entry(reason).or_default() += rows;
        }
    }
}

/// Why an object could not be converted. The files of other tables may have been published.
#[derive(Debug, Error)]
pub enum ObjectError {
    /// The object could not be read to its end.
    #[error("cannot read the object: {0}")]
    Read(#[source] io::Error),
    /// A file could not be written or a table not be asked for.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// A table could not be created or changed.
    #[error("cannot add columns to the table `{table}`: {error}")]
    Grow {
        /// The table.
        table: String,
        /// What went wrong.
        #[source]
        error: io::Error,
    },
    /// A table never got the columns that the object needs.
    #[error(
        "the table `{table}` lacks columns after it was changed {MAX_ROUNDS} times; do other writers take them away?"
    )]
    NeverGrown {
        /// The table.
        table: String,
    },
    /// What an earlier conversion left could not be removed.
    #[error("cannot remove the files of an earlier conversion, so rows may be there twice: {0}")]
    End(#[source] io::Error),
    /// A file could not be made visible.
    #[error("cannot publish the file of {target}: {error}")]
    Publish {
        /// What the file is for.
        target: Target,
        /// What went wrong.
        #[source]
        error: io::Error,
    },
}

impl ObjectError {
    /// The kind of the error, in a word. A raw object that is not there, of which [`io::ErrorKind::NotFound`] tells, is
    /// `missing`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Read(error) if error.kind() == io::ErrorKind::NotFound => "missing",
            Self::Read(_) => "read",
            Self::Convert(_) => "convert",
            Self::Grow { .. } => "grow",
            Self::NeverGrown { .. } => "never-grown",
            Self::End(_) => "stale-files",
            Self::Publish { .. } => "publish",
        }
    }
}

impl From<io::Error> for ObjectError {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// Converts an object, which `open` opens from its first byte as often as it is called.
pub fn convert_object<L: Lake, R: Read>(
    settings: &Settings,
    object: &Object,
    mut open: impl FnMut() -> io::Result<R>,
    lake: &mut L,
) -> Result<Report, ObjectError> {
    let mut report = Report::default();
    let mut published = BTreeSet::new();
    let mut left: Option<BTreeSet<Identity>> = None;
    for _ in 0..MAX_ROUNDS {
        let conversion = convert_once(settings, object, open()?, lake, left.as_ref())?;
        report.lines = conversion.lines;
        left = Some(publish(object, conversion, lake, &mut report, &mut published)?);
        if left.as_ref().is_some_and(BTreeSet::is_empty) {
            lake.end(object, &published).map_err(ObjectError::End)?;
            return Ok(report);
        }
    }
    let table = left.into_iter().flatten().next().map(|identity| identity.table()).unwrap_or_default();
    Err(ObjectError::NeverGrown { table })
}

fn convert_once<L: Lake>(
    settings: &Settings,
    object: &Object,
    source: impl Read,
    lake: &mut L,
    only: Option<&BTreeSet<Identity>>,
) -> Result<Conversion<L::Out>, ObjectError> {
    let mut converter = Converter::new(settings, object, lake).only(only);
    each_line(source, |line| match line {
        Line::Whole(line) => converter.line(line).map_err(ObjectError::from),
        Line::TooLong(start, length) => converter.too_long(start, length).map_err(ObjectError::from),
    })?;
    Ok(converter.finish()?)
}

/// Publishes the files that are complete and lets tables grow. Gives the tables for which the object has to be
/// converted again.
fn publish<L: Lake>(
    object: &Object,
    conversion: Conversion<L::Out>,
    lake: &mut L,
    report: &mut Report,
    published: &mut BTreeSet<Target>,
) -> Result<BTreeSet<Identity>, ObjectError> {
    let mut left = BTreeSet::new();
    let unclassified = conversion.unclassified.map(|(file, ledger)| (vec![file], None, ledger));
    let mut complete: Vec<_> = unclassified.into_iter().collect();
    for (identity, outcome) in conversion.tables {
        match outcome {
            Outcome::Written { files, version, ledger } => complete.push((files, version, ledger)),
            Outcome::Grow { table, columns } => {
                lake.grow(&identity, table.as_ref(), &columns)
                    .map_err(|error| ObjectError::Grow { table: identity.table(), error })?;
                report.grown.insert(identity.clone());
                left.insert(identity);
            }
        }
    }
    for (files, version, ledger) in complete {
        for file in files {
            let target = file.target.clone();
            published.insert(target.clone());
            if let Target::Rows(..) = target {
                report.files += 1;
                report.rows += file.rows as u64;
            }
            lake.publish(object, file, version.as_deref()).map_err(|error| ObjectError::Publish { target, error })?;
        }
        report.add_quarantined(ledger);
    }
    Ok(left)
}
