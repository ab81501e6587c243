//! Small files of hours that are over become few large ones, and old hours leave the lake, while converters write and
//! readers read.
//!
//! # Which files readers see
//!
//! A partition has a current folder, which has all of its rows. At first that is its base folder,
//! `formatted/…/ymd=…/hour=…/`, to which converters write. A compaction writes files into a new folder, a generation,
//! `compacted/…/ymd=…/hour=…/<generation>/`, and makes it the current one. The folder that it replaces keeps its files
//! for the grace period, so that readers that are at them can go on. A reader that asks the catalog and then reads all
//! files of the folder that it is sent to, sees every row once, whichever of these folders it is.
//!
//! What is current is decided by the manifest of the partition (`bucket::manifest`), which is replaced only in the
//! state in which it was read. The catalog follows: Glue replaces a partition whatever its state is, so somebody who
//! gives it columns may at the same time send readers back to the folder before. That does no harm as long as that
//! folder is there, for it has all rows, and the next compaction sends readers to the current folder again.
//!
//! # A compaction
//!
//! 1. It notes in the manifest the folder that it is going to write, `next`. The name is one that nobody else chooses.
//! 2. It lists the current folder and the base folder, and merges all rows into files of the folder `next`.
//! 3. It replaces the manifest: `next` becomes `current`, the names of the files whose rows were merged become
//!    `sources`, and the folder before is among those that are `replaced`. This is the moment that counts. If somebody
//!    has replaced the manifest since step 1, the compaction leaves the partition for later.
//! 4. It sends readers to the current folder, and then notes since when they have been sent there.
//! 5. When the grace period is over, and the catalog does send readers to the current folder, it takes the folder
//!    before off the manifest and removes its files.
//!
//! A compactor may die after any call: its `next` means nothing to anybody, it and its files are removed by a later one
//! after the grace period, and steps 4 and 5 are finished by whoever compacts next.
//!
//! # A conversion at the same time
//!
//! A converter puts its file into the base folder, and then reads the manifest (`bucket::deliver`).
//!
//! - If the manifest has a `next`, a compaction is under way that may have listed the folder before the file was there.
//!   The converter takes `next` away, so that step 3 fails, and reads the manifest again. A compaction that is noted
//!   after the converter has read the manifest lists the file, as it was there before.
//! - If the file is not among the `sources`, the converter puts it into the current folder and into every replaced one,
//!   so that readers see it wherever they are. The next compaction merges it.
//! - If it is among the `sources`, an earlier file of the same raw object was merged, and readers see its rows. If the
//!   new one has other bytes, because the table has more columns by now for example, it waits in a folder where nobody
//!   reads, and the next compaction merges it with the compacted files. Its rows are the same ones, so they are removed
//!   as repeats; what it has beside them comes in addition.
//!
//! So a raw object whose bytes were replaced keeps in compacted files also the rows that only its earlier bytes had.

mod alter;
mod cast;
mod clean;
mod expire;
mod footer;
mod keys;
mod merge;
mod plan;
mod rewrite;
mod widen;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::runtime::Handle;

use self::plan::Listing;
use crate::bucket::Bucket;
use crate::bucket::manifest::{Content, Manifest, Place};
use crate::bucket::schema::is_same;
use crate::partition::Partition;
use crate::task::joined;

pub use alter::{Alter, Altered};
pub(crate) use cast::is_castable;
pub use expire::{Expire, Expired, Expiring};

/// How a lake is compacted.
#[derive(Debug, Clone)]
pub struct Compact {
    /// The tables; all of the lake if it is empty.
    pub tables: Vec<String>,
    /// The zone of the partitions' days and hours.
    pub zone: TimeZone,
    /// The columns by which rows are sorted.
    pub sort_fields: Vec<String>,
    /// The columns that tell rows apart, together with those by which rows are sorted; all columns if it is empty.
    pub dedup_key: Vec<String>,
    /// How large a file becomes before the next one is begun, bytes.
    pub target_size: usize,
    /// How much memory rows may take before they are written to a temporary file, bytes.
    pub memory: usize,
    /// How long an hour has to be over.
    pub closed_after: Duration,
    /// For how long files that readers may be at are kept.
    pub grace: Duration,
    /// The time at which the compaction happens.
    pub now: Timestamp,
    /// Whether nothing is changed.
    pub dry_run: bool,
}

/// A partition that may have something to compact.
#[derive(Debug, Clone)]
pub struct Compacting {
    table: String,
    place: Place,
    /// Where the catalog sends readers.
    location: String,
}

impl fmt::Display for Compacting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.table, self.place.partition)
    }
}

/// What became of a partition, or of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Partitions whose files were merged.
    pub partitions: u64,
    /// Partitions with nothing to merge.
    pub unchanged: u64,
    /// Partitions that were left for later, because others wrote to them.
    pub left: u64,
    /// Files that were merged, and their bytes.
    pub files_before: u64,
    /// The bytes of the files that were merged.
    pub bytes_before: u64,
    /// Files that were written.
    pub files_after: u64,
    /// The bytes of the files that were written.
    pub bytes_after: u64,
    /// Rows in the files that were written.
    pub rows: u64,
    /// Rows that were left out, because they repeat another.
    pub repeats: u64,
    /// Files that were removed, because others have their rows for longer than the grace period.
    pub removed: u64,
}

impl Compacted {
    /// Adds what became of another partition.
    pub fn add(&mut self, other: &Self) {
        self.partitions += other.partitions;
        self.unchanged += other.unchanged;
        self.left += other.left;
        self.files_before += other.files_before;
        self.bytes_before += other.bytes_before;
        self.files_after += other.files_after;
        self.bytes_after += other.bytes_after;
        self.rows += other.rows;
        self.repeats += other.repeats;
        self.removed += other.removed;
    }
}

impl Bucket {
    /// The partitions in the catalog whose hours are over.
    pub async fn compacting(&self, compact: &Compact) -> io::Result<Vec<Compacting>> {
        let mut found = Vec::new();
        for (table, folders) in self.catalog.tables(&compact.tables).await? {
            for partition in self.catalog.partitions(&table).await? {
                let place = Partition::of_values(&partition.values)
                    .map(|partition| Place { folders: folders.clone(), partition });
                let Some(place) = place.filter(|place| is_over(place.partition, compact)) else { continue };
                let location = partition.storage_descriptor.and_then(|storage| storage.location).unwrap_or_default();
                found.push(Compacting { table: table.clone(), place, location });
            }
        }
        Ok(found)
    }

    /// Merges the files of a partition, and removes those that have been replaced for longer than the grace period.
    ///
    /// The work is done on a thread of its own, so that this may be called in an async context.
    pub async fn compact(&self, compact: &Arc<Compact>, compacting: &Compacting) -> io::Result<Compacted> {
        let (bucket, compact, compacting) = (self.clone(), Arc::clone(compact), compacting.clone());
        let handle = Handle::current();
        let working = move || bucket.compact_here(&compact, &compacting, &handle);
        joined(tokio::task::spawn_blocking(working)).await?
    }

    fn compact_here(&self, compact: &Compact, compacting: &Compacting, handle: &Handle) -> io::Result<Compacted> {
        let place = &compacting.place;
        let mut manifest = handle.block_on(Manifest::read(&self.store, place))?;
        let listing = handle.block_on(Listing::new(&self.store, place))?;
        let plan = listing.plan(&manifest.content, place);
        if compact.dry_run {
            return Ok(plan.foreseen());
        }
        compacting.check(self, &manifest.content)?;
        let before = manifest.content.current.clone();
        let mut compacted = Compacted { unchanged: 1, ..Compacted::default() };
        if !plan.fresh.is_empty() {
            compacted = rewrite::rewrite(self, compact, compacting, &mut manifest, handle)?;
        }
        if compacted.left == 0 && manifest.content.current != place.base() {
            compacted.removed = handle.block_on(async {
                clean::send_readers(self, compact, compacting, &mut manifest, &before).await?;
                clean::remove(self, compact, place, &mut manifest, &listing).await
            })?;
        }
        Ok(compacted)
    }
}

impl Compacting {
    /// Whether the catalog was seen to send readers to this location.
    fn is_sent_to(&self, location: &str) -> bool {
        is_same(&self.location, location)
    }

    /// Refuses a partition whose rows are elsewhere, for readers would not see them any more.
    fn check(&self, bucket: &Bucket, content: &Content) -> io::Result<()> {
        let [base, compacted] = [self.place.base(), self.place.compacted()].map(|path| bucket.catalog.url(&path));
        let is_compacted = content.current != self.place.base() && self.location.starts_with(&compacted);
        if is_compacted || self.is_sent_to(&base) {
            return Ok(());
        }
        let (location, manifest) = (&self.location, bucket.catalog.url(&self.place.manifest()));
        Err(io::Error::other(format!(
            "the catalog sends readers to `{location}`, of which {manifest} says nothing; restore that, or correct the \
             location to `{base}`"
        )))
    }
}

fn is_over(partition: Partition, compact: &Compact) -> bool {
    let end = partition.end(&compact.zone).and_then(|end| end.checked_add(compact.closed_after).ok());
    end.is_some_and(|end| end <= compact.now)
}
