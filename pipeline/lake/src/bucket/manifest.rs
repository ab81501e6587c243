//! Where the files of a partition are that was compacted, and whose rows are in its compacted files.
//!
//! The manifest is one small object, `compacted/…/ymd=…/hour=…/manifest.json`. A partition that was never compacted has
//! none, and its files are in its base folder, `formatted/…/ymd=…/hour=…/`. The manifest is replaced only in the state
//! in which it was read, so that compactors and converters notice each other by it; `compact` says how.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde::{Deserialize, Serialize};

use super::store::Store;
use crate::partition::Partition;

/// The file name of a manifest.
const NAME: &str = "manifest.json";

/// A partition of a table, as far as the names of its files go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The folders of the table: `object=vehicle/type=tire/command=report`.
    pub folders: String,
    /// The day and hour.
    pub partition: Partition,
}

impl Place {
    /// The partition and the name of a file with this path, if it is a file of rows in a base folder.
    pub fn of(path: &str) -> Option<(Self, &str)> {
        let mut parts = path.strip_prefix("formatted/")?.rsplitn(4, '/');
        let (name, hour, day, folders) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let values = [day.strip_prefix("ymd=")?, hour.strip_prefix("hour=")?];
        Some((Self { folders: folders.to_owned(), partition: Partition::of_values(&values)? }, name))
    }

    /// The partition of any file below its folders, whether a converter or a compactor wrote it.
    pub fn around(path: &str) -> Option<Self> {
        let below = ["formatted/", "compacted/"].iter().find_map(|root| path.strip_prefix(root))?;
        let (folders, rest) = below.split_once("/ymd=")?;
        let (day, rest) = rest.split_once("/hour=")?;
        let (hour, _) = rest.split_once('/')?;
        Some(Self { folders: folders.to_owned(), partition: Partition::of_values(&[day, hour])? })
    }

    /// The folder that converters write to.
    pub fn base(&self) -> String {
        format!("formatted/{}/{}/", self.folders, self.partition)
    }

    /// The folder of everything that compactors write.
    pub fn compacted(&self) -> String {
        format!("compacted/{}/{}/", self.folders, self.partition)
    }

    /// The folder of files that wait for the next compaction, because those before them were merged.
    pub fn waiting(&self) -> String {
        format!("{}waiting/", self.compacted())
    }

    /// The path of the manifest.
    pub fn manifest(&self) -> String {
        format!("{}{NAME}", self.compacted())
    }
}

/// A folder that readers used to be sent to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Replaced {
    /// The path of the folder.
    pub location: String,
    /// Since when the catalog sends readers to another one, in seconds since the Unix epoch; `None` while that is not
    /// known yet.
    pub since: Option<i64>,
}

/// The manifest as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Content {
    /// The folder with all rows of the partition.
    pub current: String,
    /// The names of the compacted files in it. Others came later.
    pub files: BTreeSet<String>,
    /// How many rows the compacted files have; unknown if an earlier version of this program wrote them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// The files whose rows are in the compacted ones, by their names, with the SHA-256 of their bytes if it is known.
    pub sources: BTreeMap<String, Option<String>>,
    /// Folders that still have files, because readers may be at them. They have all rows, too.
    pub replaced: Vec<Replaced>,
    /// The folder of a compaction that is under way.
    pub next: Option<String>,
    /// Whether the partition may have been taken out of the catalog, because it had no files, so that whoever stores
    /// one has to look for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_dropped: bool,
    /// The version of the table since which the columns have the types that they have in these files. A file by an
    /// earlier version does not belong here.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub types: u64,
    /// The columns that were values of another type and are texts now, with that type. In compacted files, their texts
    /// may be others than those of the same rows when they are converted again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub texts: BTreeMap<String, String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(version: &u64) -> bool {
    *version == 0
}

impl Content {
    /// That of a partition that was never compacted.
    fn new(place: &Place) -> Self {
        let (files, sources, replaced) = (BTreeSet::new(), BTreeMap::new(), Vec::new());
        Self {
            current: place.base(),
            files,
            rows: None,
            sources,
            replaced,
            next: None,
            is_dropped: false,
            types: 0,
            texts: BTreeMap::new(),
        }
    }

    /// The folders in which readers look for files.
    pub fn live(&self) -> impl Iterator<Item = &String> {
        self.replaced.iter().map(|replaced| &replaced.location).chain([&self.current])
    }

    /// Whether readers look for files in this folder.
    pub fn is_live(&self, location: &str) -> bool {
        self.live().any(|live| live == location)
    }
}

/// The manifest of a partition, as it was read or written last.
#[derive(Debug)]
pub(crate) struct Manifest {
    path: String,
    pub content: Content,
    /// The `ETag` of the manifest; `None` if there is none yet.
    etag: Option<String>,
}

impl Manifest {
    /// Reads the manifest of a partition, which may not exist.
    pub async fn read(store: &Store, place: &Place) -> io::Result<Self> {
        let path = place.manifest();
        let Some((bytes, etag)) = store.get(&path).await? else { return Ok(Self::none(place)) };
        let content = serde_json::from_slice(&bytes).map_err(|error| {
            let (bucket, prefix) = (&store.bucket, &store.prefix);
            io::Error::other(format!(
                "cannot read the manifest s3://{bucket}/{prefix}{path}: {error}; restore an earlier version of it"
            ))
        })?;
        Ok(Self { path, content, etag: Some(etag) })
    }

    /// That of a partition which is known to have none.
    pub fn none(place: &Place) -> Self {
        Self { path: place.manifest(), content: Content::new(place), etag: None }
    }

    /// Whether there is one.
    pub fn exists(&self) -> bool {
        self.etag.is_some()
    }

    /// Replaces the content if nobody else did so since it was read. Gives whether it is there now.
    pub async fn replace(&mut self, store: &Store, next: Content) -> io::Result<bool> {
        if next == self.content && self.exists() {
            return Ok(true);
        }
        let bytes = serde_json::to_vec(&next)?.into();
        let etag = match store.put_small(&self.path, bytes, self.etag.as_deref()).await? {
            Some(etag) => etag,
            // If the answer to an attempt was lost, the next attempt finds what that one stored.
            None => match store.get(&self.path).await? {
                Some((bytes, etag)) if serde_json::from_slice(&bytes).is_ok_and(|found: Content| found == next) => etag,
                _ => return Ok(false),
            },
        };
        (self.etag, self.content) = (Some(etag), next);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_the_partition_and_the_name_of_a_file_of_rows() {
        let path = "formatted/object=a%2Fb/type=t/ymd=2022-12-25/hour=11/x-1.parquet";
        let (place, name) = Place::of(path).expect("a file of rows");
        assert_eq!((format!("{}{name}", place.base()), name), (path.to_owned(), "x-1.parquet"));
        assert_eq!(place.manifest(), "compacted/object=a%2Fb/type=t/ymd=2022-12-25/hour=11/manifest.json");
        for inner in [path, &place.manifest(), &format!("{}x", place.waiting())] {
            assert_eq!(Place::around(inner).as_ref(), Some(&place), "{inner}");
        }
        for other in ["quarantine/unclassified/x.jsonl", "formatted/x.parquet", "formatted/a/ymd=1/hour=2/x.parquet"] {
            assert_eq!((Place::of(other), Place::around(other)), (None, None), "{other}");
        }
    }
}
