//! One raw object, from its first byte to its published files: it is converted again for tables that had to grow.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use parquet::errors::ParquetError;
use thiserror::Error;

use crate::bucket::failure;
use crate::convert::{Conversion, ConvertError, Converter, Outcome, Settings, Surroundings, Target, Written};
use crate::lines::{Line, each_line};
use crate::quarantine::{Ledger, Object};
use crate::rename::Renames;
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

    /// Says which files will be published next, so that they are found by [`end`](Self::end) of a later conversion even
    /// if this one does not get that far.
    fn announce(&mut self, object: &Object, targets: &BTreeSet<Target>) -> io::Result<()>;

    /// Makes the complete files of a table visible to readers, in place of what earlier conversions of the object left.
    /// `version` is that of the table by which the files were written.
    fn publish(
        &mut self,
        object: &Object,
        files: Vec<Written<Self::Out>>,
        version: Option<&str>,
    ) -> io::Result<Published>;

    /// Removes what earlier conversions of the object left in other files than these, which were published now.
    fn end(&mut self, object: &Object, published: &BTreeSet<Target>) -> io::Result<()>;
}

/// What became of the files of a table that were to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// Readers see them.
    Visible,
    /// There are files of the object that were written by a newer version of the table. They stay, and the object has
    /// to be converted for this table again.
    Outdated,
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
    /// Rows that have something in the column `_rest` of their table, which gets no other column.
    pub with_rest: BTreeMap<Identity, u64>,
    /// The fields that have other names as columns of their tables.
    pub renames: BTreeMap<Identity, Renames>,
    /// The bytes of the files of tables.
    pub bytes: u64,
}

impl Report {
    /// Adds what became of another object.
    pub fn add(&mut self, other: Self) {
        self.lines += other.lines;
        self.rows += other.rows;
        self.files += other.files;
        self.bytes += other.bytes;
        for (table, renames) in other.renames {
            self.renames.entry(table).or_default().extend(renames);
        }
        self.grown.extend(other.grown);
        for (table, rows) in other.with_rest {
            *self.with_rest.entry(table).or_default() += rows;
        }
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
    /// A file could not be written.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// The catalog did not say what a table is.
    #[error(transparent)]
    Table(io::Error),
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
    /// The object was converted by other settings before, and it was to be converted once more by the same ones.
    #[error(
        "the object was converted by other settings before; give the options for table fields, event time, time zone \
         and order that were given then"
    )]
    OtherSettings,
    /// It could not be noted which files the object has.
    #[error("cannot note which files are being published: {0}")]
    Announce(#[source] io::Error),
    /// What an earlier conversion left could not be removed.
    #[error("cannot remove the files of an earlier conversion, so rows may be there twice: {0}")]
    End(#[source] io::Error),
    /// The files of a table, or the one of the lines without a table, could not be made visible.
    #[error("cannot publish the files of {table}: {error}")]
    Publish {
        /// The table.
        table: String,
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
            Self::Table(_) => "table",
            Self::Grow { .. } => "grow",
            Self::NeverGrown { .. } => "never-grown",
            Self::OtherSettings => "other-settings",
            Self::Announce(_) => "announce",
            Self::End(_) => "stale-files",
            Self::Publish { .. } => "publish",
        }
    }

    /// Whether the same conversion may succeed later, when nobody has changed the object, its tables or the settings:
    /// S3 or Glue could not be reached, refused the call for a while, or others wrote at the same time.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Read(error)
            | Self::Table(error)
            | Self::Announce(error)
            | Self::End(error)
            | Self::Grow { error, .. }
            | Self::Publish { error, .. }
            | Self::Convert(ConvertError::Io(error)) => failure::may_pass(error),
            // What the writer of Parquet meets on the disk comes in an error of its own.
            Self::Convert(ConvertError::Parquet(ParquetError::External(error))) => {
                error.downcast_ref::<io::Error>().is_some_and(failure::may_pass)
            }
            Self::Convert(ConvertError::Parquet(_)) | Self::NeverGrown { .. } | Self::OtherSettings => false,
        }
    }
}

impl From<io::Error> for ObjectError {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// Converts an object, which `open` opens from its first byte as often as it is called.
///
/// A table that cannot be used does not keep the others from being published. The error is then that of the first such
/// table, and a further conversion of the object is needed.
pub fn convert_object<L: Lake, R: Read>(
    settings: &Settings,
    object: &Object,
    mut open: impl FnMut() -> io::Result<R>,
    lake: &mut L,
) -> Result<Report, ObjectError> {
    let mut progress = Progress::default();
    let mut left: Option<BTreeSet<Identity>> = None;
    for _ in 0..MAX_ROUNDS {
        let conversion = convert_once(settings, object, open()?, lake, left.as_ref())?;
        progress.report.lines = conversion.lines;
        let again = progress.publish(object, conversion, lake)?;
        if again.is_empty() {
            if let Some(error) = progress.failed {
                return Err(error);
            }
            lake.end(object, &progress.published).map_err(ObjectError::End)?;
            return Ok(progress.report);
        }
        left = Some(again);
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

/// What has become of an object so far.
#[derive(Debug, Default)]
struct Progress {
    report: Report,
    published: BTreeSet<Target>,
    /// The first error of a table.
    failed: Option<ObjectError>,
}

/// The complete files of a table, or the one of the lines without a table.
struct Complete<W> {
    identity: Option<Identity>,
    files: Vec<Written<W>>,
    version: Option<String>,
    ledger: Ledger,
    renames: Renames,
}

impl Progress {
    /// Publishes the files that are complete and lets tables grow. Gives the tables for which the object has to be
    /// converted again.
    fn publish<L: Lake>(
        &mut self,
        object: &Object,
        conversion: Conversion<L::Out>,
        lake: &mut L,
    ) -> Result<BTreeSet<Identity>, ObjectError> {
        let (mut left, mut growing, mut complete) = (BTreeSet::new(), Vec::new(), Vec::new());
        if let Some((file, ledger)) = conversion.unclassified {
            complete.push(Complete {
                identity: None,
                files: vec![file],
                version: None,
                ledger,
                renames: Renames::default(),
            });
        }
        for (identity, outcome) in conversion.tables {
            match outcome {
                Outcome::Written { files, version, ledger, renames } => {
                    complete.push(Complete { identity: Some(identity), files, version, ledger, renames });
                }
                Outcome::Grow { table, columns } => growing.push((identity, table, columns)),
            }
        }
        self.failed(conversion.failed.into_values().map(ObjectError::Table).next());

        let targets: BTreeSet<Target> =
            complete.iter().flat_map(|table| &table.files).map(|file| file.target.clone()).collect();
        if !targets.is_empty() {
            lake.announce(object, &targets).map_err(ObjectError::Announce)?;
        }
        for table in complete {
            left.extend(self.publish_table(object, table, lake));
        }
        for (identity, table, columns) in growing {
            match lake.grow(&identity, table.as_ref(), &columns) {
                Ok(()) => {
                    self.report.grown.insert(identity.clone());
                    left.insert(identity);
                }
                Err(error) => self.failed(Some(ObjectError::Grow { table: identity.table(), error })),
            }
        }
        Ok(left)
    }

    /// Publishes the files of a table. Gives the table if the object has to be converted for it again.
    fn publish_table<L: Lake>(&mut self, object: &Object, table: Complete<L::Out>, lake: &mut L) -> Option<Identity> {
        let Complete { identity, files, version, ledger, renames } = table;
        let bytes: u64 = files.iter().map(|file| file.parquet_bytes).sum();
        let kept: Vec<_> = files.iter().map(|file| (file.target.clone(), file.rows, file.with_rest)).collect();
        match lake.publish(object, files, version.as_deref()) {
            Ok(Published::Outdated) => return identity,
            Ok(Published::Visible) => {}
            Err(error) => {
                let table = identity.map_or_else(|| "no table".to_owned(), |identity| identity.table());
                self.failed(Some(ObjectError::Publish { table, error }));
                return None;
            }
        }
        for (target, rows, with_rest) in kept {
            if let Target::Rows(identity, _) = &target {
                self.report.files += 1;
                self.report.rows += rows as u64;
                if with_rest > 0 {
                    *self.report.with_rest.entry(identity.clone()).or_default() += with_rest as u64;
                }
            }
            self.published.insert(target);
        }
        self.report.bytes += bytes;
        self.report.add_quarantined(ledger);
        if let Some(identity) = identity.filter(|_| !renames.is_empty()) {
            self.report.renames.entry(identity).or_default().extend(renames);
        }
        None
    }

    fn failed(&mut self, error: Option<ObjectError>) {
        self.failed = self.failed.take().or(error);
    }
}
