//! The conversion of one raw object: its lines become the Parquet files of several tables. It does no I/O of its own.
//!
//! A table that has no column yet for a value of the object is not written. Instead, the conversion says which columns
//! it needs; once the catalog has them, the object is converted again for that table.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::Arc;

use fms_record::{EventTime, Message, MessageError, Parser, Row, RowError};
use jiff::tz::TimeZone;
use parquet::errors::ParquetError;
use thiserror::Error;

use crate::columns::Problem;
use crate::file::{File, Format};
use crate::lines::MAX_LINE;
use crate::misfit::{Misfit, Reason};
use crate::partition::Partition;
use crate::quarantine::{Ledger, Object, Origin, Quarantine};
use crate::raw_key::KeyTemplate;
use crate::rename::Renames;
use crate::rest::{RESERVED, REST};
use crate::shape::{Fields, Learned, Shape};
use crate::table::{Identity, Table};
use crate::types::Field;

/// The bytes that are shown of a line that is too long.
const SHOWN: usize = 1024;

/// How rows are told apart, sorted and held.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The fields whose values decide the table, `lake.table.fields`.
    pub table_fields: Vec<String>,
    /// Which of these fields are read from the key of the raw object instead of from the row.
    pub key_template: Option<KeyTemplate>,
    /// The field with a row's event time, `lake.timestamp.field`; a row without it takes its envelope's `messaged_at`.
    pub time_field: String,
    /// The zone of the partitions' days and hours, `lake.timezone`.
    pub zone: TimeZone,
    /// The columns by which rows are sorted, `lake.sort.fields`.
    pub sort_fields: Vec<String>,
    /// The bytes of lines that are held at a time, over all files of the object. When there are more, every file writes
    /// a row group.
    pub buffer: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Self {
            table_fields: names(&["object", "type", "command"]),
            key_template: None,
            time_field: "timestamp_iso".to_owned(),
            zone: TimeZone::UTC,
            sort_fields: names(&["id", "timestamp_iso"]),
            buffer: 64 << 20,
        }
    }
}

/// What a conversion takes of memory, in parts of the bytes of lines that it may hold: the columns, a sorted copy of
/// them and the row groups that are being compressed. Measured: 2.2.
const MEMORY_OF_BUFFER: (usize, usize) = (5, 2);

impl Settings {
    /// The most memory that one conversion takes, MiB.
    pub fn memory(&self) -> usize {
        let (times, of) = MEMORY_OF_BUFFER;
        (self.buffer * times / of) >> 20
    }

    /// A field of the key template that decides no table, if there is one: it would be read in vain.
    pub fn unused_key_field(&self) -> Option<&str> {
        let mut fields = self.key_template.iter().flat_map(KeyTemplate::fields);
        fields.find(|field| !self.table_fields.iter().any(|name| name == field))
    }
}

/// What a file of a conversion is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The rows of a table that are in one partition.
    Rows(Identity, Partition),
    /// The rows of a table that do not fit it.
    Quarantine(Identity),
    /// The lines that belong to no table.
    Unclassified,
}

/// What a conversion needs from outside.
pub trait Surroundings {
    /// A file that is being written. If it is dropped before the conversion gives it back, nothing may remain of it.
    type Out: Write + Send;

    /// The table of this identity, if there is one. An error is one of this table alone: others are still converted.
    fn table(&mut self, identity: &Identity) -> io::Result<Option<Table>>;

    /// A new file.
    fn create(&mut self, target: &Target) -> io::Result<Self::Out>;
}

/// Why a conversion cannot go on. Rows that do not fit are no such reason.
#[derive(Debug, Error)]
pub enum ConvertError {
    /// A file could not be begun or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A file could not be written.
    #[error("cannot write the Parquet file: {0}")]
    Parquet(#[from] ParquetError),
}

/// A file that a conversion has written.
#[derive(Debug)]
pub struct Written<W> {
    /// What it is for.
    pub target: Target,
    /// The output, with all of its bytes.
    pub out: W,
    /// How many rows are in it.
    pub rows: usize,
    /// Of these rows, how many have something in the column for what has no column.
    pub with_rest: usize,
    /// The bytes of Parquet in it; none of a file of the quarantine.
    pub parquet_bytes: u64,
}

/// What became of the rows of one table.
#[derive(Debug)]
pub enum Outcome<W> {
    /// Every row is in a file of the table or of the quarantine.
    Written {
        /// The files.
        files: Vec<Written<W>>,
        /// The version of the table by which they were written; `None` if there is no table, because no row has a
        /// column for one.
        version: Option<String>,
        /// Why rows are in quarantine, and how many.
        ledger: Ledger,
        /// The fields of rows that have other names as columns.
        renames: Renames,
    },
    /// Nothing was written, because the table has to get columns first.
    Grow {
        /// The table as it was, if there was one.
        table: Option<Table>,
        /// The columns that it needs: those it has, and new ones behind them.
        columns: Vec<Field>,
    },
}

/// What became of an object.
#[derive(Debug)]
pub struct Conversion<W> {
    /// The tables of the object's rows.
    pub tables: BTreeMap<Identity, Outcome<W>>,
    /// The tables that could not be asked for, and why. Their rows were left out.
    pub failed: BTreeMap<Identity, io::Error>,
    /// The file of the lines that belong to no table, and why they do not.
    pub unclassified: Option<(Written<W>, Ledger)>,
    /// How many lines there were, without empty ones.
    pub lines: u64,
}

/// The conversion of an object that is being read.
pub struct Converter<'s, S: Surroundings> {
    settings: &'s Settings,
    surroundings: &'s mut S,
    parser: Parser,
    /// The fields that the object's key gives, or why it gives none.
    of_key: Result<BTreeMap<String, String>, Misfit>,
    tables: BTreeMap<Identity, Filling<S::Out>>,
    /// The table of the last row that has one.
    last: Option<Arc<Identity>>,
    /// The tables that could not be asked for, and why.
    failed: BTreeMap<Identity, io::Error>,
    unclassified: Quarantine<S::Out>,
    /// Where the last line is.
    origin: Origin<'s>,
    /// The tables whose rows are converted; all of them and the lines without a table if it is `None`.
    only: Option<&'s BTreeSet<Identity>>,
    lines: u64,
    /// The bytes of the lines since all files wrote a row group.
    held: usize,
}

impl<'s, S: Surroundings> Converter<'s, S> {
    /// Begins the conversion of an object.
    pub fn new(settings: &'s Settings, object: &'s Object, surroundings: &'s mut S) -> Self {
        Self {
            settings,
            surroundings,
            parser: Parser::new(None),
            of_key: settings.key_template.as_ref().map_or(Ok(BTreeMap::new()), |template| template.read(&object.key)),
            tables: BTreeMap::new(),
            last: None,
            failed: BTreeMap::new(),
            unclassified: Quarantine::default(),
            origin: Origin { object, line: 0 },
            only: None,
            lines: 0,
            held: 0,
        }
    }

    /// Converts the rows of these tables only, if there are any given.
    #[must_use]
    pub fn only(mut self, tables: Option<&'s BTreeSet<Identity>>) -> Self {
        self.only = tables;
        self
    }

    /// Takes the next line of the object, without its line break. An empty line is no row.
    pub fn line(&mut self, line: &[u8]) -> Result<(), ConvertError> {
        self.origin.line += 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        self.lines += 1;
        let message = self.parser.parse(line);
        self.parsed(message.as_ref(), line)?;
        self.limit(line.len())
    }

    /// Passes over the next line of the object, as if it were empty.
    pub fn skip(&mut self) {
        self.origin.line += 1;
    }

    fn parsed(&mut self, message: Result<&Message<'_>, &MessageError>, line: &[u8]) -> Result<(), ConvertError> {
        let misfit = match message.map(|message| message.rows().next()) {
            Ok(Some(Ok(row))) => match self.identity(&row) {
                Ok(identity) => return self.row(&identity, &row, line),
                Err(misfit) => misfit,
            },
            Ok(Some(Err((_, error)))) => Misfit::new(Reason::NotJson, "a JSON object on one line", &error.to_string()),
            Ok(None) => return Ok(()),
            Err(error) => error.into(),
        };
        self.unclassified(line, &misfit)
    }

    /// The table of a row, which mostly is that of the row before.
    fn identity(&mut self, row: &Row<'_>) -> Result<Arc<Identity>, Misfit> {
        let of_key = self.of_key.as_ref().map_err(Clone::clone)?;
        if let Some(last) = self.last.as_ref().filter(|last| last.has(row, of_key)) {
            return Ok(Arc::clone(last));
        }
        let identity = Arc::new(Identity::of(row, &self.settings.table_fields, of_key)?);
        self.last = Some(Arc::clone(&identity));
        Ok(identity)
    }

    /// Takes the beginning of the next line of the object, which is longer than the lake reads.
    pub fn too_long(&mut self, start: &[u8], length: u64) -> Result<(), ConvertError> {
        self.origin.line += 1;
        self.lines += 1;
        let shown = String::from_utf8_lossy(&start[..start.len().min(SHOWN)]);
        let expected = format!("a line of at most {MAX_LINE} bytes");
        self.unclassified(shown.as_bytes(), &Misfit::new(Reason::TooLong, expected, &format!("{length} bytes")))
    }

    fn unclassified(&mut self, line: &[u8], misfit: &Misfit) -> Result<(), ConvertError> {
        if self.only.is_some() {
            return Ok(());
        }
        let create = || self.surroundings.create(&Target::Unclassified);
        Ok(self.unclassified.add(line, misfit, self.origin, create)?)
    }

    /// Stores a row in its table, learns from it, or puts it into quarantine.
    fn row(&mut self, identity: &Identity, row: &Row<'_>, line: &[u8]) -> Result<(), ConvertError> {
        if self.only.is_some_and(|tables| !tables.contains(identity)) || self.failed.contains_key(identity) {
            return Ok(());
        }
        if !self.tables.contains_key(identity) {
            match self.surroundings.table(identity) {
                Ok(table) => {
                    let filling = Filling::new(table, &self.settings.sort_fields)?;
                    self.tables.insert(identity.clone(), filling);
                }
                Err(error) => {
                    self.failed.insert(identity.clone(), error);
                    return Ok(());
                }
            }
        }
        let Some(filling) = self.tables.get_mut(identity) else { return Ok(()) };
        let zone = &self.settings.zone;
        let stored = match partition(row, self.settings) {
            Err(misfit) => Err(misfit.into()),
            Ok(_) if filling.learned.is_some() => Err(Problem::Unknown),
            Ok(partition) => {
                let create = || self.surroundings.create(&Target::Rows(identity.clone(), partition));
                filling.store(partition, row, zone, create)?
            }
        };
        let learned = match stored {
            Ok(()) => return Ok(()),
            Err(Problem::Unknown) => filling.learn(row, zone),
            Err(Problem::Misfit(misfit)) => Err(*misfit),
            Err(Problem::Full) => Err(Misfit::new(Reason::TooLong, "a row of less than 2 GiB", "a longer one")),
        };
        let Err(misfit) = learned else { return Ok(()) };
        let create = || self.surroundings.create(&Target::Quarantine(identity.clone()));
        Ok(filling.quarantine.add(line, &misfit, self.origin, create)?)
    }

    /// Lets every file write a row group when as many bytes of lines were read as may be held. It counts the lines of
    /// the object and not what the files hold, so that row groups end at the same rows whichever tables are converted.
    fn limit(&mut self, bytes: usize) -> Result<(), ConvertError> {
        self.held += bytes;
        if self.held > self.settings.buffer {
            self.held = 0;
            for file in self.tables.values_mut().flat_map(|filling| filling.files.values_mut()) {
                file.flush()?;
            }
        }
        Ok(())
    }

    /// Ends the conversion: every file that is complete is written to its end.
    pub fn finish(self) -> Result<Conversion<S::Out>, ConvertError> {
        let mut tables = BTreeMap::new();
        for (identity, filling) in self.tables {
            let outcome = filling.finish(&identity)?;
            tables.insert(identity, outcome);
        }
        let unclassified = self.unclassified.finish(Target::Unclassified);
        Ok(Conversion { tables, failed: self.failed, unclassified, lines: self.lines })
    }
}

/// The partition of a row's event time.
fn partition(row: &Row<'_>, settings: &Settings) -> Result<Partition, Misfit> {
    let time = EventTime::of(row, Some(&settings.time_field), None).map_err(|error| match error {
        RowError::MissingTime { .. } => {
            Misfit::new(Reason::NoTime, "a time here or in `messaged_at`", "nothing in both")
        }
        other => Misfit::new(Reason::NoTime, "a time with a UTC offset", &other.to_string()),
    });
    let time = time.map_err(|misfit| misfit.within(&settings.time_field))?;
    Partition::of(time.millis, &settings.zone).ok_or_else(|| {
        let shown = time.millis.to_string();
        Misfit::new(Reason::NoTime, "a time that calendars show", &shown).within(&settings.time_field)
    })
}

/// A table that is being filled.
struct Filling<W: Write + Send> {
    table: Option<Table>,
    /// The format of the files; `None` if there is no table yet.
    format: Option<Arc<Format>>,
    files: BTreeMap<Partition, File<W>>,
    quarantine: Quarantine<W>,
    /// What the rows have that the table lacks. While there is something, rows are learned from and not stored.
    learned: Option<Learned>,
}

impl<W: Write + Send> Filling<W> {
    fn new(table: Option<Table>, sort: &[String]) -> Result<Self, ParquetError> {
        let format = table.as_ref().map(|table| Format::new(table, sort)).transpose()?;
        Ok(Self {
            learned: None,
            format: format.map(Arc::new),
            table,
            files: BTreeMap::new(),
            quarantine: Quarantine::default(),
        })
    }

    /// Appends a row to the file of its partition.
    fn store(
        &mut self,
        partition: Partition,
        row: &Row<'_>,
        zone: &TimeZone,
        create: impl FnOnce() -> io::Result<W>,
    ) -> Result<Result<(), Problem>, ConvertError> {
        let Some(format) = &self.format else { return Ok(Err(Problem::Unknown)) };
        let file = match self.files.entry(partition) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(File::new(Arc::clone(format), create()?)?),
        };
        if file.is_full() {
            file.flush()?;
        }
        let mut pushed = file.push(row, zone);
        if matches!(pushed, Err(Problem::Full)) {
            file.flush()?;
            pushed = file.push(row, zone);
        }
        Ok(pushed)
    }

    /// Notes what a row has that the table lacks. From then on nothing is stored, and the files, of which none is
    /// complete, are dropped. A row that does not fit in another way is an error, and nothing is noted.
    fn learn(&mut self, row: &Row<'_>, zone: &TimeZone) -> Result<(), Misfit> {
        let members = row.fields();
        let columns = self.table.as_ref().map_or(&[][..], |table| &table.columns);
        if self.learned.as_mut().is_some_and(|learned| learned.knows(&members, columns, zone)) {
            return Ok(());
        }
        let mut lacks = Fields::default();
        if self.table.as_ref().is_none_or(|table| table.growth.is_open()) {
            lacks.learn(&members, columns, &RESERVED, zone)?;
        } else {
            // Such a table gets no column but the one in which the row is kept.
            lacks.add(REST, Shape::Text);
        }
        if self.learned.is_none() && !lacks.grow(&mut columns.to_vec()) {
            let expected = "a value for which a column can be made";
            return Err(Misfit::new(Reason::Type, expected, "one whose original text has a column of another type"));
        }
        self.learned.get_or_insert_default().add(&members, lacks, columns, &RESERVED);
        self.files.clear();
        Ok(())
    }

    fn finish(self, identity: &Identity) -> Result<Outcome<W>, ConvertError> {
        if let Some(learned) = &self.learned {
            let mut columns = self.table.as_ref().map(|table| table.columns.clone()).unwrap_or_default();
            learned.fields().grow(&mut columns);
            return Ok(Outcome::Grow { table: self.table, columns });
        }
        let (mut files, mut renames) = (Vec::new(), Renames::default());
        for (partition, file) in self.files {
            let file = file.finish(Target::Rows(identity.clone(), partition), &mut renames)?;
            // Of a partition whose rows are all in quarantine, there is no file.
            if file.rows > 0 {
                files.push(file);
            }
        }
        let (quarantine, ledger) = self.quarantine.finish(Target::Quarantine(identity.clone())).unzip();
        files.extend(quarantine);
        let version = self.table.map(|table| table.version);
        Ok(Outcome::Written { files, version, ledger: ledger.unwrap_or_default(), renames })
    }
}
