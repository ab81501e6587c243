//! What a lake in S3 holds, hour by hour, beside what it should hold by the records of its raw objects.
//!
//! Nothing is changed, and no file of rows is read: the numbers of rows are those that converters and compactors have
//! noted. A lake changes while it is looked at. So the raw objects are listed first, then their records are read, then
//! the lake's files and partitions are listed, and the manifests of compacted hours are read last: whoever converts or
//! compacts meanwhile is further on than what was read before says, so nothing seems to be missing that is there. Only
//! an object that has fewer files than before might; so the record of a file that seems to be missing is read again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::bucket::manifest::{Manifest, Place};
use crate::bucket::record::{FOLDER, Recorded};
use crate::bucket::{Bucket, Raw, S3Url};
use crate::hours::{Hour, is_live};
use crate::partition::Partition;
use crate::raw_hour;

/// How many records are read at a time.
const READS: usize = 32;

/// What a lake holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// The tables, by their names.
    pub tables: BTreeMap<String, TableStatus>,
    /// Lines that belong to no table; `None` if only some tables were asked for.
    pub unclassified: Option<Quarantined>,
    /// Raw objects of which rows are missing, by bucket and key.
    pub not_converted: BTreeMap<(String, String), Why>,
}

/// What a table holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableStatus {
    /// The hours that have a partition or files.
    pub hours: BTreeMap<Partition, HourStatus>,
    /// Rows that do not fit the table.
    pub quarantined: Quarantined,
    /// What is not in the lake of raw objects whose keys name the table and an hour.
    pub raw_hours: BTreeMap<Partition, RawHour>,
    /// How many hours that raw objects had rows of are neither in the catalog nor in S3: they have expired.
    pub left: u64,
}

/// What is in quarantine of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quarantined {
    /// Files.
    pub files: u64,
    /// Rows in them; `None` if it is not known of one of them.
    pub rows: Option<u64>,
}

/// What is not in the lake of the raw objects whose keys name an hour of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RawHour {
    /// Their rows in quarantine, as far as that is known.
    pub quarantined: u64,
    /// How many of them are not converted, or not as they are now.
    pub not_converted: u64,
}

/// What an hour of a table holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HourStatus {
    /// Rows of the hour that converted raw objects have, those in quarantine left out; `None` if it is not known.
    pub raw_rows: Option<u64>,
    /// Rows that readers find: fewer than `raw_rows` where a compaction has removed repeats. `None` if it is not known.
    pub parquet_rows: Option<u64>,
    /// Files in the folder with all rows.
    pub files: u64,
    /// The bytes of these files.
    pub bytes: u64,
    /// How many files came after the hour was compacted; `None` if it is not compacted.
    pub late: Option<u64>,
    /// Where the catalog sends readers.
    pub readers: Readers,
    /// Raw objects with rows of the hour whose conversion is under way, or was interrupted.
    pub under_way: u64,
    /// Files of converted raw objects that are not there: their paths below the lake.
    pub missing: Vec<String>,
}

/// Where the catalog sends readers of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Readers {
    /// To a folder with all rows.
    #[default]
    There,
    /// Nowhere: the catalog has no such partition.
    Nowhere,
    /// To a folder that has not all rows.
    Elsewhere,
}

impl Readers {
    /// It in a word, for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::There => "there",
            Self::Nowhere => "nowhere",
            Self::Elsewhere => "elsewhere",
        }
    }
}

/// Why rows of a raw object are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It has no record, so it was never converted.
    NoRecord,
    /// Its conversion is under way, or was interrupted.
    UnderWay,
    /// It has other bytes now than those that were converted.
    Replaced,
}

impl Why {
    /// The reason in a word, for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoRecord => "no-record",
            Self::UnderWay => "under-way",
            Self::Replaced => "replaced",
        }
    }
}

impl Status {
    /// Whether rows are missing, or readers do not find them.
    pub fn is_incomplete(&self) -> bool {
        let is_incomplete = |hour: &HourStatus| !hour.missing.is_empty() || hour.readers != Readers::There;
        !self.not_converted.is_empty() || self.tables.values().flat_map(|table| table.hours.values()).any(is_incomplete)
    }
}

impl Bucket {
    /// What these tables of the lake hold; all if none is named. `raw` names raw objects, or folders of them, that
    /// should have been converted.
    ///
    /// It takes a call for each thousand raw objects, records, files and partitions, and one for each record and each
    /// compacted hour.
    pub async fn status(&self, tables: &[String], raw: &[S3Url]) -> io::Result<Status> {
        let raws = self.all_raws(raw).await?;
        let records = self.records().await?;
        let mut status = Status { not_converted: not_converted(&raws, &records), ..Status::default() };
        for (table, folders) in self.catalog.tables(tables).await? {
            let mut look = Look::new(self, &table, folders).await?;
            look.add_all(&records);
            look.add_waiting(status.not_converted.keys());
            look.look_again(self).await?;
            status.tables.insert(table, look.finish(self));
        }
        if tables.is_empty() {
            let mut unclassified = Quarantine::list(self, "quarantine/unclassified/").await?;
            for record in records.values() {
                unclassified.add(record);
            }
            status.unclassified = Some(unclassified.finish());
        }
        Ok(status)
    }

    pub(crate) async fn all_raws(&self, urls: &[S3Url]) -> io::Result<Vec<Raw>> {
        let mut all = Vec::new();
        for url in urls {
            let (mut page, mut next) = self.raws(url, None).await?;
            all.append(&mut page);
            while next.is_some() {
                (page, next) = self.raws(url, next).await?;
                all.append(&mut page);
            }
        }
        Ok(all)
    }

    /// All records by their paths.
    async fn records(&self) -> io::Result<BTreeMap<String, Recorded>> {
        let paths = self.store.list(FOLDER).await?.into_iter().map(|file| file.path);
        let read = |path: String| async move {
            let recorded = Recorded::read(&self.store, &path).await?;
            Ok::<_, io::Error>(recorded.map(|recorded| (path, recorded)))
        };
        let read = stream::iter(paths).map(read).buffer_unordered(READS);
        read.try_filter_map(|found| std::future::ready(Ok(found))).try_collect().await
    }
}

/// The raw objects that are listed and not converted, and those whose record says so.
fn not_converted(raws: &[Raw], records: &BTreeMap<String, Recorded>) -> BTreeMap<(String, String), Why> {
    let under_way = records.values().filter(|recorded| recorded.converted.is_none());
    let under_way = under_way.map(|recorded| (name(&recorded.object), Why::UnderWay));
    let listed = raws.iter().filter_map(|raw| {
        let why = match records.get(&Recorded::path(&raw.object)).map(|recorded| &recorded.converted) {
            None => Why::NoRecord,
            Some(Some(etag)) if *etag != raw.etag => Why::Replaced,
            Some(_) => return None,
        };
        Some((name(&raw.object), why))
    });
    under_way.chain(listed).collect()
}

/// A raw object by bucket and key.
pub(crate) fn name(object: &crate::quarantine::Object) -> (String, String) {
    (object.bucket.clone(), object.key.clone())
}

/// Rows of files whose numbers the records say.
#[derive(Debug, Default)]
struct Count {
    rows: u64,
    /// The names of files whose rows are not counted yet.
    uncounted: BTreeSet<String>,
}

impl Count {
    fn of(uncounted: impl Iterator<Item = String>) -> Self {
        Self { rows: 0, uncounted: uncounted.collect() }
    }

    /// Counts the rows of a file, if it is one of these, and says how many it has counted.
    fn add(&mut self, name: &str, rows: Option<u64>) -> u64 {
        let counted = rows.filter(|_| self.uncounted.remove(name)).unwrap_or(0);
        self.rows += counted;
        counted
    }

    /// How many rows there are; `None` if not all files are counted.
    fn known(&self) -> Option<u64> {
        self.uncounted.is_empty().then_some(self.rows)
    }
}

/// The files of a quarantine, and how many rows the records say that they have.
struct Quarantine {
    folder: String,
    files: u64,
    count: Count,
}

impl Quarantine {
    async fn list(bucket: &Bucket, folder: &str) -> io::Result<Self> {
        let files = bucket.store.list(folder).await?;
        let own = files.iter().filter(|file| file.folder() == folder).map(|file| file.path.clone());
        let count = Count::of(own);
        Ok(Self { folder: folder.to_owned(), files: count.uncounted.len() as u64, count })
    }

    /// Counts the rows that an object has in files that are there, and says how many they are.
    fn add(&mut self, recorded: &Recorded) -> u64 {
        let own = recorded.files.iter().filter(|(path, _)| path.starts_with(&self.folder));
        own.map(|(path, rows)| self.count.add(path, *rows)).sum()
    }

    fn finish(&self) -> Quarantined {
        Quarantined { files: self.files, rows: self.count.known() }
    }
}

/// An hour that is being looked at.
struct Looking {
    hour: Hour,
    manifest: Manifest,
    place: Place,
    raw_rows: Option<u64>,
    under_way: u64,
    /// The rows of files in the current folder that are not compacted.
    count: Count,
    /// The files in the current folder.
    there: BTreeSet<String>,
    /// Whether converted rows are there.
    has_rows: bool,
    /// Files that seem to be missing, with the paths of their records.
    suspects: Vec<(String, String)>,
}

impl Looking {
    fn new(place: Place, hour: Hour, manifest: Manifest) -> Self {
        let content = &manifest.content;
        let there: BTreeSet<String> = hour.rows_in(&content.current).map(|file| file.name().to_owned()).collect();
        let count = Count::of(there.difference(&content.files).cloned());
        let has_rows = !content.files.is_empty();
        Self { hour, place, raw_rows: Some(0), under_way: 0, count, there, has_rows, suspects: Vec::new(), manifest }
    }

    /// Adds what a record says of its file with this name.
    fn add(&mut self, record: &str, recorded: &Recorded, name: &str, rows: Option<u64>) {
        if recorded.converted.is_none() {
            self.under_way += 1;
            return;
        }
        self.raw_rows = self.raw_rows.zip(rows).map(|(sum, rows)| sum + rows);
        self.count.add(name, rows);
        if self.there.contains(name) || self.manifest.content.sources.contains_key(name) {
            self.has_rows = true;
        } else {
            self.suspects.push((record.to_owned(), format!("{}{name}", self.place.base())));
        }
    }

    fn finish(self, bucket: &Bucket) -> HourStatus {
        let content = &self.manifest.content;
        let compacted = if content.files.is_empty() { Some(0) } else { content.rows };
        let is_compacted = !content.files.is_empty();
        let readers = match self.hour.location() {
            Some(location) if !is_live(bucket, content, location) => Readers::Elsewhere,
            None if self.has_rows => Readers::Nowhere,
            _ => Readers::There,
        };
        HourStatus {
            raw_rows: self.raw_rows,
            parquet_rows: compacted.zip(self.count.known()).map(|(compacted, late)| compacted + late),
            files: self.there.len() as u64,
            bytes: self.hour.rows_in(&content.current).map(|file| file.bytes).sum(),
            late: is_compacted.then(|| self.there.difference(&content.files).count() as u64),
            readers,
            under_way: self.under_way,
            missing: self.suspects.into_iter().map(|(_, path)| path).collect(),
        }
    }
}

/// A table that is being looked at.
struct Look {
    folders: String,
    hours: BTreeMap<Partition, Looking>,
    quarantine: Quarantine,
    raw_hours: BTreeMap<Partition, RawHour>,
    left: BTreeSet<Partition>,
}

impl Look {
    async fn new(bucket: &Bucket, table: &str, folders: String) -> io::Result<Self> {
        let quarantine = Quarantine::list(bucket, &format!("quarantine/{folders}/")).await?;
        let hours = bucket.all_hours(table, &folders).await?;
        let look = |(partition, (hour, manifest))| {
            let place = Place { folders: folders.clone(), partition };
            (partition, Looking::new(place, hour, manifest))
        };
        let hours = hours.into_iter().map(look).collect();
        Ok(Self { hours, quarantine, raw_hours: BTreeMap::new(), left: BTreeSet::new(), folders })
    }

    fn add_all(&mut self, records: &BTreeMap<String, Recorded>) {
        for (record, recorded) in records {
            let quarantined = self.quarantine.add(recorded);
            if quarantined > 0
                && let Some(hour) = self.raw_hour(&recorded.object.key)
            {
                hour.quarantined += quarantined;
            }
            for (path, rows) in &recorded.files {
                let Some((place, name)) = Place::of(path).filter(|(place, _)| place.folders == self.folders) else {
                    continue;
                };
                if let Some(hour) = self.hours.get_mut(&place.partition) {
                    hour.add(record, recorded, name, *rows);
                } else if recorded.converted.is_some() {
                    self.left.insert(place.partition);
                }
            }
        }
    }

    /// Adds objects that are not converted, by bucket and key.
    fn add_waiting<'k>(&mut self, objects: impl Iterator<Item = &'k (String, String)>) {
        for (_, key) in objects {
            if let Some(hour) = self.raw_hour(key) {
                hour.not_converted += 1;
            }
        }
    }

    /// The hour of this table that the key of a raw object names.
    fn raw_hour(&mut self, key: &str) -> Option<&mut RawHour> {
        let (_, partition) = raw_hour::of(key).filter(|(folders, _)| *folders == self.folders)?;
        Some(self.raw_hours.entry(partition).or_default())
    }

    /// Reads the records of files that seem to be missing once more: their objects may have other files by now.
    async fn look_again(&mut self, bucket: &Bucket) -> io::Result<()> {
        for hour in self.hours.values_mut() {
            let mut missing = Vec::new();
            for (record, path) in std::mem::take(&mut hour.suspects) {
                let now = Recorded::read(&bucket.store, &record).await?;
                if now.is_some_and(|now| now.converted.is_some() && now.files.contains_key(&path)) {
                    missing.push((record, path));
                }
            }
            hour.suspects = missing;
        }
        Ok(())
    }

    fn finish(self, bucket: &Bucket) -> TableStatus {
        let hours = self.hours.into_iter().map(|(partition, hour)| (partition, hour.finish(bucket)));
        let left = self.left.len() as u64;
        TableStatus { hours: hours.collect(), quarantined: self.quarantine.finish(), raw_hours: self.raw_hours, left }
    }
}
