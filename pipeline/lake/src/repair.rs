//! What does not fit together of a lake in S3 and its catalog, and how it is mended beside converters and compactors.
//!
//! - Hours whose files no partition shows get one. A converter creates a partition after its first file is there, so
//!   files that are younger than the grace period are left to whoever is writing them.
//! - Partitions without files leave the catalog. A converter that has seen the partition a short time ago does not look
//!   for it again, and would have its file seen by nobody. So it is first noted in the manifest of the hour that the
//!   partition may be gone, which every converter reads after it has put a file; then the files are listed, the
//!   partition is dropped, and the files are listed once more. A file that was put before the last listing brings the
//!   partition back at once, and one that is put after it finds the note.
//! - Partitions that have other columns than the table, or send readers to a folder that has not all rows, get those of
//!   the table and of the manifest.
//!
//! What only people can mend is said, with what to do.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::time::Duration;

use jiff::Timestamp;

use crate::bucket::Bucket;
use crate::bucket::deliver::Lead;
use crate::bucket::manifest::{Content, Manifest, Place};
use crate::bucket::schema::{COLUMNS_VERSION, Version, columns, is_same, same_columns};
use crate::bucket::store::Listed;
use crate::hours::{Hour, is_live};

/// How often a table or a manifest is read again because others changed it.
const MAX_ROUNDS: usize = 16;

/// How a lake is repaired.
#[derive(Debug, Clone)]
pub struct Repair {
    /// The tables; all of the lake if it is empty.
    pub tables: Vec<String>,
    /// For how long files without a partition are left to those who may be writing them.
    pub grace: Duration,
    /// The time at which the lake is repaired.
    pub now: Timestamp,
}

/// Something that does not fit together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The table; or its folders, if the catalog has no such table.
    table: String,
    /// The hour; `None` if it is the whole table.
    place: Option<Place>,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// A partition has no files.
    Empty,
    /// Files have no partition.
    Unlisted { files: usize },
    /// The columns of a partition are not those of the table.
    Drifted { columns: Vec<String>, is_others: bool },
    /// Readers are sent to a folder that has not all rows.
    Misdirected { location: String },
    /// Compacted files are gone.
    LostFiles { files: Vec<String> },
    /// The manifest of compacted files is gone.
    LostManifest { manifest: String },
    /// Files belong to no table.
    NoTable,
}

/// What became of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repaired {
    /// It is mended.
    Mended,
    /// Others wrote there meanwhile, so it is left to the next repair.
    Left,
}

impl Finding {
    /// Whether the lake can mend it by itself.
    pub fn is_mendable(&self) -> bool {
        match &self.what {
            What::Empty | What::Unlisted { .. } | What::Misdirected { .. } => true,
            What::Drifted { is_others, .. } => !is_others,
            What::LostFiles { .. } | What::LostManifest { .. } | What::NoTable => false,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.table)?;
        if let Some(place) = &self.place {
            write!(f, ", {}", place.partition)?;
        }
        f.write_str(": ")?;
        match &self.what {
            What::Empty => f.write_str("the partition has no files; it leaves the catalog"),
            What::Unlisted { files } => {
                let files = if *files == 1 { "1 file is".to_owned() } else { format!("{files} files are") };
                write!(f, "{files} in no partition, so readers do not find the rows; the catalog gets the partition")
            }
            What::Drifted { columns, is_others: false } => {
                write!(f, "the partition differs from the table in {}; it gets the table's columns", columns.join(", "))
            }
            What::Drifted { columns, is_others: true } => write!(
                f,
                "the partition differs from the table in {}; the lake did not make this table, so correct it where it \
                 was made",
                columns.join(", ")
            ),
            What::Misdirected { location } => {
                write!(
                    f,
                    "the catalog sends readers to `{location}`, which has not all rows; it sends them to the rows"
                )
            }
            What::LostFiles { files } => {
                write!(f, "compacted files are gone: {}; restore earlier versions of them", files.join(", "))
            }
            What::LostManifest { manifest } => write!(
                f,
                "the catalog sends readers to compacted files, and what says which rows are in them is gone; restore \
                 {manifest}"
            ),
            What::NoTable => f.write_str(
                "there are files and no table; convert one of their raw objects with --again, which creates the table, \
                 and repair the lake again",
            ),
        }
    }
}

impl Bucket {
    /// What does not fit together.
    pub async fn repairing(&self, repair: &Repair) -> io::Result<Vec<Finding>> {
        let mut found = Vec::new();
        let tables = self.catalog.tables(&repair.tables).await?;
        for (table, folders) in &tables {
            found.extend(self.findings(repair, table, folders).await?);
        }
        if repair.tables.is_empty() {
            let known: BTreeSet<&String> = tables.iter().map(|(_, folders)| folders).collect();
            let in_store = self.tables_in_store().await?;
            let unknown = in_store.into_iter().filter(|folders| !known.contains(folders));
            found.extend(unknown.map(|table| Finding { table, place: None, what: What::NoTable }));
        }
        Ok(found)
    }

    /// What does not fit together of a table whose columns do not change meanwhile.
    async fn findings(&self, repair: &Repair, name: &str, folders: &str) -> io::Result<Vec<Finding>> {
        for _ in 0..MAX_ROUNDS {
            let table = self.catalog.existing(name).await?;
            let hours = self.all_hours(name, folders).await?;
            if Version::of(&self.catalog.existing(name).await?) != Version::of(&table) {
                continue;
            }
            let mut found = Vec::new();
            for (partition, (hour, manifest)) in hours {
                let place = Place { folders: folders.to_owned(), partition };
                let Some(what) = self.examine(repair, &table, &place, &hour, &manifest) else { continue };
                // The partition may have got its first file since the files were listed.
                if what == What::Empty && self.has_rows(&place).await? {
                    continue;
                }
                found.push(Finding { table: name.to_owned(), place: Some(place), what });
            }
            return Ok(found);
        }
        Err(self.catalog.restless(name))
    }

    fn examine(
        &self,
        repair: &Repair,
        table: &fms_glue::Table,
        place: &Place,
        hour: &Hour,
        manifest: &Manifest,
    ) -> Option<What> {
        let content = &manifest.content;
        let there: BTreeSet<&str> = hour.rows_in(&content.current).map(Listed::name).collect();
        let lost: Vec<String> = content.files.iter().filter(|name| !there.contains(name.as_str())).cloned().collect();
        if !lost.is_empty() {
            return Some(What::LostFiles { files: lost });
        }
        let Some(location) = hour.location() else {
            let limit = repair.now.checked_sub(repair.grace).ok()?.as_second();
            let is_old = hour.rows_in(&content.current).any(|file| file.modified <= limit);
            return is_old.then_some(What::Unlisted { files: there.len() });
        };
        if hour.all_rows().next().is_none() {
            return Some(What::Empty);
        }
        // A folder of before the columns got other types has all rows, but not as the partition says.
        let is_right = if content.types == 0 {
            is_live(self, content, location)
        } else {
            is_same(location, &self.catalog.url(&content.current))
        };
        if !is_right {
            let is_compacted = location.starts_with(&self.catalog.url(&place.compacted()));
            return Some(if is_compacted && !manifest.exists() {
                What::LostManifest { manifest: self.catalog.url(&place.manifest()) }
            } else {
                What::Misdirected { location: location.to_owned() }
            });
        }
        let own = hour.partition.as_ref()?.storage_descriptor.as_ref().map_or(&[][..], |storage| &storage.columns);
        let is_others = !table.parameters.contains_key(COLUMNS_VERSION);
        (!same_columns(own, columns(table)))
            .then(|| What::Drifted { columns: differing(own, columns(table)), is_others })
    }

    /// Mends what does not fit together.
    pub async fn repair(&self, finding: &Finding) -> io::Result<Repaired> {
        let Some(place) = &finding.place else { return Ok(Repaired::Left) };
        let is_mended = match &finding.what {
            What::Empty => self.drop_empty(&finding.table, place).await?,
            What::Unlisted { .. } => self.list_rows(&finding.table, place).await?,
            What::Drifted { .. } | What::Misdirected { .. } => self.direct(&finding.table, place).await?,
            What::LostFiles { .. } | What::LostManifest { .. } | What::NoTable => false,
        };
        Ok(if is_mended { Repaired::Mended } else { Repaired::Left })
    }

    /// Takes a partition without files out of the catalog. Gives whether that was done; if there are files by now, the
    /// partition stays or comes back.
    async fn drop_empty(&self, table: &str, place: &Place) -> io::Result<bool> {
        let mut manifest = Manifest::read(&self.store, place).await?;
        let noted = Content { is_dropped: true, ..manifest.content.clone() };
        if !manifest.replace(&self.store, noted).await? || self.has_rows(place).await? {
            return Ok(false);
        }
        self.catalog.forget(table, place.partition).await?;
        if self.has_rows(place).await? {
            self.list_rows(table, place).await?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Puts a partition into the catalog that has files. If they are gone by now, because the hour is expiring, the
    /// next repair takes it out again.
    async fn list_rows(&self, table: &str, place: &Place) -> io::Result<bool> {
        let manifest = Manifest::read(&self.store, place).await?;
        let lead = Lead { location: manifest.content.current, is_dropped: true };
        self.catalog.add_partitions(table, &[(place.partition, lead)].into()).await?;
        Ok(self.has_rows(place).await? && self.direct(table, place).await?)
    }

    /// Gives a partition the table's columns and the folder of the manifest.
    async fn direct(&self, table: &str, place: &Place) -> io::Result<bool> {
        let mut current = Manifest::read(&self.store, place).await?.content.current;
        for _ in 0..MAX_ROUNDS {
            self.catalog.relocate(table, place.partition, &self.catalog.url(&current)).await?;
            let now = Manifest::read(&self.store, place).await?.content.current;
            if now == current {
                return Ok(true);
            }
            current = now;
        }
        Ok(false)
    }

    /// Whether an hour has files of rows.
    async fn has_rows(&self, place: &Place) -> io::Result<bool> {
        for folder in [place.base(), place.compacted()] {
            if self.store.list(&folder).await?.iter().any(|file| file.path.ends_with(".parquet")) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The folders of tables in S3.
    async fn tables_in_store(&self) -> io::Result<BTreeSet<String>> {
        let (mut found, mut left) = (BTreeSet::new(), vec!["formatted/".to_owned()]);
        while let Some(folder) = left.pop() {
            for inner in self.store.folders(&folder).await? {
                if inner[folder.len()..].starts_with("ymd=") {
                    let table = folder.trim_start_matches("formatted/").trim_end_matches('/');
                    found.insert(table.to_owned());
                } else {
                    left.push(inner);
                }
            }
        }
        found.remove("");
        Ok(found)
    }
}

/// The names of columns that are not the same in both.
fn differing(own: &[fms_glue::Column], table: &[fms_glue::Column]) -> Vec<String> {
    let has = |columns: &[fms_glue::Column], wanted: &fms_glue::Column| {
        columns.iter().any(|column| column.name == wanted.name && column.data_type == wanted.data_type)
    };
    let mut names: BTreeSet<&String> = BTreeSet::new();
    names.extend(table.iter().filter(|column| !has(own, column)).map(|column| &column.name));
    names.extend(own.iter().filter(|column| !has(table, column)).map(|column| &column.name));
    if names.is_empty() {
        return vec!["the order of columns".to_owned()];
    }
    names.into_iter().map(|name| format!("`{name}`")).collect()
}
