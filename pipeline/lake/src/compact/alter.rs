//! A column of a table gets another type, or a table another column, because people say so: data never retypes.
//!
//! Readers want one physical type a column, so all files that have the column are written again. Each keeps its name
//! and its rows, in a new folder of its hour, so that an object that is converted again replaces its file there as it
//! would have before.
//!
//! 1. For each hour, `next` is noted in the manifest and the files are written to that folder, as a compaction does it.
//!    Nobody sees anything of it. If a value does not fit the new type, this ends with an error, and nothing has
//!    changed. Most of the time passes here.
//! 2. The table is replaced in the version that was read: the column has its new type, and the table says since which
//!    version, and that it is being altered. From here on, converters write the new type.
//! 3. For each hour, `next` becomes the current folder in the manifest, which also says now since which version of the
//!    table its files have their types, and the catalog sends readers there with the new columns. An hour to which
//!    somebody has written since step 1 is written again first, as its `next` is gone. This is repeated for hours that
//!    came meanwhile, until there is none.
//! 4. The table does not say any more that it is being altered.
//!
//! A process that dies in step 1 leaves files that a later compaction removes. One that dies later is resumed by the
//! same command, which begins at step 3.
//!
//! # A converter at the same time
//!
//! A converter that has read the table before step 2 writes the earlier type. It puts its file into the base folder and
//! then reads the manifest. Either the manifest has a `next`, which the converter takes away, so that the hour is
//! written again with this file; or its files are by a later version of the types, and the converter converts the object
//! again; or step 1 or 3 has not begun there, and lists the file. Of an hour that is new, there may be no manifest; then
//! the converter has read the table after it put the file (`bucket::partitions`), and converts the object again if the
//! types are by a later version.

use std::fs::File;
use std::io;
use std::sync::Arc;

use arrow_schema::ArrowError;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use tokio::runtime::Handle;

use super::footer;
use super::merge::Merge;
use super::plan::Listing;
use super::rewrite::{add, generation, unreadable};
use crate::bucket::Bucket;
use crate::bucket::alteration::Alteration;
use crate::bucket::manifest::{Content, Manifest, Place, Replaced};
use crate::bucket::schema::is_same;
use crate::bucket::spool::Spool;
use crate::bucket::store::{Listed, Put};
use crate::file::{Format, SortedFile};
use crate::partition::Partition;
use crate::table::Table;
use crate::task::joined;
use crate::types::{Field, Type};

/// How often an hour is written again because others wrote to it, and how often hours are looked for that came
/// meanwhile.
const MAX_ROUNDS: usize = 32;

/// How many hours are switched at a time.
const SWITCHES: usize = 8;

/// A change of a column's type.
#[derive(Debug, Clone)]
pub struct Alter {
    /// The table.
    pub table: String,
    /// The column.
    pub column: String,
    /// Its new type.
    pub to: Type,
    /// The columns by which rows are sorted.
    pub sort_fields: Vec<String>,
    /// How much memory the rows of a file may take before they are written to a temporary file, bytes.
    pub memory: usize,
    /// How many hours are worked on at a time.
    pub at_once: usize,
    /// The time at which the table is altered.
    pub now: Timestamp,
}

/// What became of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Altered {
    /// Whether the column has got its type now; otherwise it had it before.
    pub is_changed: bool,
    /// Whether an interrupted change was finished.
    pub is_resumed: bool,
    /// Hours whose files were written again and switched.
    pub hours: u64,
    /// Files that were written for them.
    pub files: u64,
    /// Rows in these files.
    pub rows: u64,
}

/// An hour whose files are written, and not current yet.
struct Prepared {
    place: Place,
    manifest: Manifest,
    /// The folder with the files; `None` if none of the hour's files had the earlier type.
    next: Option<String>,
    files: u64,
    rows: u64,
}

impl Bucket {
    /// Changes the type of a column, and writes all files that have it again. Several processes must not do that to one
    /// table at the same time; converters and compactors may work.
    pub async fn alter(&self, alter: &Arc<Alter>) -> io::Result<Altered> {
        let folders = self.catalog.tables(std::slice::from_ref(&alter.table)).await?;
        let Some((_, folders)) = folders.into_iter().next() else { return Ok(Altered::default()) };
        let Alter { table: name, column, to, .. } = &**alter;
        let alteration = self.catalog.alteration(name, column, to).await?;
        let mut altered = Altered { is_resumed: matches!(alteration, Alteration::Begun(_)), ..Altered::default() };
        let (mut prepared, was) = match alteration {
            Alteration::Done => return Ok(altered),
            Alteration::Begun(was) => (Vec::new(), was),
            Alteration::Possible(was) => {
                let prepared = self.prepare_all(alter, &folders, None).await?;
                self.catalog.begin_alteration(name, column, to).await?;
                (prepared, was)
            }
        };
        for _ in 0..MAX_ROUNDS {
            let (_, types) = self.catalog.named(name).await?;
            prepared.extend(self.prepare_all(alter, &folders, Some((types, &prepared))).await?);
            if prepared.is_empty() && self.are_sent(name, &folders).await? {
                self.catalog.end_alteration(name).await?;
                return Ok(Altered { is_changed: true, ..altered });
            }
            let hours = stream::iter(std::mem::take(&mut prepared)).map(|hour| {
                let (files, rows, is_written) = (hour.files, hour.rows, hour.next.is_some());
                let switching = self.switch(alter, &was, hour, types);
                async move { Ok::<_, io::Error>((switching.await? && is_written).then_some((files, rows))) }
            });
            let switched: Vec<Option<(u64, u64)>> = hours.buffer_unordered(SWITCHES).try_collect().await?;
            for (files, rows) in switched.into_iter().flatten() {
                altered.hours += 1;
                altered.files += files;
                altered.rows += rows;
            }
        }
        Err(self.catalog.restless(name))
    }

    /// Adds a column to a table, also to a locked one. Gives whether it lacked the column. No file is written: those
    /// that lack the column have no value in it.
    pub async fn add_column(&self, table: &str, column: &Field) -> io::Result<bool> {
        self.catalog.tables(std::slice::from_ref(&table.to_owned())).await?;
        self.catalog.add_column(table, column).await
    }

    /// Writes the files of all hours of which that is not done yet: those whose types are by an earlier version than
    /// this, apart from those that are prepared; or all.
    async fn prepare_all(
        &self,
        alter: &Arc<Alter>,
        folders: &str,
        since: Option<(u64, &Vec<Prepared>)>,
    ) -> io::Result<Vec<Prepared>> {
        let mut places = Vec::new();
        for partition in self.catalog.partitions(&alter.table).await? {
            let Some(partition) = Partition::of_values(&partition.values) else { continue };
            let place = Place { folders: folders.to_owned(), partition };
            if !since.is_some_and(|(_, prepared)| prepared.iter().any(|hour| hour.place == place)) {
                places.push(place);
            }
        }
        let types = since.map(|(types, _)| types);
        let prepare = |place: Place| {
            let (bucket, alter, handle) = (self.clone(), Arc::clone(alter), Handle::current());
            let working = move || bucket.prepare(&alter, place, types, &handle);
            async { joined(tokio::task::spawn_blocking(working)).await? }
        };
        let prepared = stream::iter(places).map(prepare).buffer_unordered(alter.at_once);
        prepared.try_filter_map(|prepared| std::future::ready(Ok(prepared))).try_collect().await
    }

    /// Writes the files of an hour with the types that the table has, or will have. `None` if they have them by this
    /// version of the types.
    fn prepare(
        &self,
        alter: &Alter,
        place: Place,
        types: Option<u64>,
        handle: &Handle,
    ) -> io::Result<Option<Prepared>> {
        for _ in 0..MAX_ROUNDS {
            let mut manifest = handle.block_on(Manifest::read(&self.store, &place))?;
            if types.is_some_and(|types| manifest.content.types >= types) {
                return Ok(None);
            }
            let next = format!("{}{}/", place.compacted(), generation(alter.now));
            let announced = Content { next: Some(next.clone()), ..manifest.content.clone() };
            if !handle.block_on(manifest.replace(&self.store, announced))? {
                continue;
            }
            // Only files that are listed from now on are certain to be all of them.
            let files = handle.block_on(Listing::new(&self.store, &place))?.visible(&manifest.content, &place);
            let work = Work::new(self, alter, types.is_some(), handle)?;
            let written = match work.needs(&files)? {
                Some(true) => work.write(&files, &next)?,
                Some(false) => return Ok(Some(Prepared { place, manifest, next: None, files: 0, rows: 0 })),
                None => None,
            };
            if let Some(rows) = written {
                let files = files.len() as u64;
                return Ok(Some(Prepared { place, manifest, next: Some(next), files, rows }));
            }
        }
        Err(io::Error::other(format!(
            "{} was changed by others {MAX_ROUNDS} times in a row; alter the table again later",
            self.catalog.url(&place.manifest())
        )))
    }

    /// Makes the files of an hour current, whose types are by this version from now on. Gives whether nobody has written
    /// to the hour since they were written.
    async fn switch(&self, alter: &Alter, was: &Type, hour: Prepared, types: u64) -> io::Result<bool> {
        let Prepared { place, mut manifest, next, .. } = hour;
        let mut content = Content { next: None, types, ..manifest.content.clone() };
        if alter.to == Type::String {
            content.texts.insert(alter.column.clone(), was.to_string());
        }
        if let Some(next) = next {
            let before = std::mem::replace(&mut content.current, next);
            content.replaced.push(Replaced { location: before, since: None });
        }
        if !manifest.replace(&self.store, content).await? {
            return Ok(false);
        }
        let url = self.catalog.url(&manifest.content.current);
        self.catalog.relocate(&alter.table, place.partition, &url).await?;
        Ok(true)
    }

    /// Sees to it that the catalog sends readers of every hour to its current folder, with the table's columns, and
    /// gives whether it did.
    async fn are_sent(&self, table: &str, folders: &str) -> io::Result<bool> {
        let mut are_sent = true;
        for (partition, (hour, manifest)) in self.all_hours(table, folders).await? {
            let url = self.catalog.url(&manifest.content.current);
            if let Some(location) = hour.location().filter(|location| !is_same(location, &url)) {
                tracing::info!("readers of {partition} were sent back to {location}");
                self.catalog.relocate(table, partition, &url).await?;
                are_sent = false;
            }
        }
        Ok(are_sent)
    }
}

/// The work on the files of an hour, on a thread that may block.
struct Work<'w> {
    bucket: &'w Bucket,
    alter: &'w Alter,
    /// That of the new files.
    format: Format,
    put: Put,
    handle: &'w Handle,
}

impl<'w> Work<'w> {
    /// The work on files that are listed already, so that the table, which is read now, has all of their columns.
    fn new(bucket: &'w Bucket, alter: &'w Alter, is_begun: bool, handle: &'w Handle) -> io::Result<Self> {
        let Alter { table: name, column, to, sort_fields, .. } = alter;
        let table: Table = if is_begun {
            handle.block_on(bucket.catalog.named(name))?.0
        } else {
            handle.block_on(bucket.catalog.foreseen(name, column, to))?
        };
        let format = Format::new(&table, sort_fields).map_err(io::Error::other)?;
        let put = Put { version: table.version.parse().ok(), is_newest: true, is_new: true };
        Ok(Self { bucket, alter, format, put, handle })
    }

    /// A file that is still the one that was listed.
    fn read(&self, file: &Listed) -> io::Result<Option<File>> {
        let found = self.handle.block_on(self.bucket.store.download(&file.path, &file.etag))?;
        Ok(found.map(|(body, _)| body))
    }

    /// Whether a file has the column with another type; `None` if one was changed meanwhile.
    fn needs(&self, files: &[Listed]) -> io::Result<Option<bool>> {
        let wanted = self.format.schema().field_with_name(&self.alter.column).map_err(io::Error::other)?.data_type();
        for file in files {
            let Some(found) = footer::schema(self.bucket, file, self.handle)? else { return Ok(None) };
            if found.field_with_name(&self.alter.column).is_ok_and(|found| found.data_type() != wanted) {
                return Ok(Some(true));
            }
        }
        Ok(Some(false))
    }

    /// Writes files to the folder `next`. Gives how many rows they have; `None` if one was changed meanwhile.
    fn write(&self, files: &[Listed], next: &str) -> io::Result<Option<u64>> {
        let mut all = 0;
        for file in files {
            let Some(body) = self.read(file)? else { return Ok(None) };
            let (mut spool, rows) = self.recast(body).map_err(|error| unreadable(self.bucket, file, &error))?;
            let path = format!("{next}{}", file.name());
            self.handle.block_on(self.bucket.store.put(&path, &mut spool, self.put))?;
            all += rows;
        }
        Ok(Some(all))
    }

    /// The rows of a file with the new types. Gives the new file and how many there are.
    fn recast(&self, body: File) -> Result<(Spool, u64), ArrowError> {
        let mut merge = Merge::new(self.format.schema(), (self.format.sort(), &[]), &[], self.alter.memory)?;
        let read = add(&mut merge, body)?;
        let mut file = SortedFile::new(&self.format, Spool::new())?;
        merge.finish(false, |rows| Ok(file.write(&rows)?))?;
        let (spool, written) = file.finish()?;
        if read == written {
            Ok((spool, written))
        } else {
            Err(ArrowError::ComputeError(format!("{read} rows became {written}; this is a mistake in the program")))
        }
    }
}
