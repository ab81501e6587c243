//! What a lake tells about itself: its tables, their partitions, and where the files of these are.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use fms_lake::{Field, TimeZone};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::{Path, PathPart};
use object_store::{ObjectMeta, ObjectStore};

/// A table as the catalog has it.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// The columns of the files.
    pub columns: Vec<Field>,
    /// The names of the partition keys, whose values are texts.
    pub keys: Vec<String>,
    /// Where the files are, as far as no partition has a place of its own.
    pub folder: Path,
}

/// A partition of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The values of the partition keys.
    pub values: Vec<String>,
    /// The folder of its files.
    pub folder: Path,
}

/// Where tables and partitions are looked up.
#[async_trait]
pub(crate) trait Source: Debug + Send + Sync {
    /// The names of all tables.
    async fn names(&self) -> anyhow::Result<Vec<String>>;

    /// A table; `None` if there is none of this name.
    async fn table(&self, name: &str) -> anyhow::Result<Option<Definition>>;

    /// What stands before the path of a file, for people to find it: `s3://` in S3. In a folder, paths are relative to
    /// it.
    fn scheme(&self) -> &'static str {
        ""
    }

    /// The partitions of a table. The expression, in the words of Glue, chooses some of them; a source may give more.
    async fn partitions(&self, table: &Definition, expression: Option<&str>) -> anyhow::Result<Vec<Partition>>;
}

/// How the partition of a row follows from its time, as the lake was converted.
#[derive(Debug, Clone)]
pub struct EventTime {
    /// The column with a row's event time.
    pub column: String,
    /// The zone of the partitions' days and hours. If it is not known, every zone is allowed for.
    pub zone: Option<TimeZone>,
}

/// A lake that can be queried.
#[derive(Debug, Clone)]
pub struct Lake {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) store: Arc<dyn ObjectStore>,
    /// What may stand before the name of a table, as in `fleet.vehicle_tire_report`.
    pub(crate) database: String,
    pub(crate) time: EventTime,
}

/// How many folders are listed at a time.
const LISTS: usize = 32;

/// From how many partitions on, the folder that they have in common is listed instead of theirs.
const MANY: usize = 48;

impl Lake {
    /// A table; `None` if there is none of this name.
    pub async fn table(&self, name: &str) -> anyhow::Result<Option<Definition>> {
        self.source.table(name).await
    }

    /// All partitions of a table.
    pub async fn partitions(&self, table: &Definition) -> anyhow::Result<Vec<Partition>> {
        self.source.partitions(table, None).await
    }

    /// The files of partitions of a table, in their order: for each one, its files by their paths. If there are many
    /// partitions, the folders that they have in common are listed, which takes a call for a thousand files.
    pub async fn files(&self, table: &Definition, partitions: &[Partition]) -> anyhow::Result<Vec<Vec<ObjectMeta>>> {
        let mut roots: BTreeMap<Path, Vec<&Path>> = BTreeMap::new();
        let key = table.keys.first().map(|key| format!("{key}="));
        for Partition { folder, .. } in partitions {
            let is_above = |part: &PathPart<'_>| key.as_ref().is_some_and(|key| !part.as_ref().starts_with(key));
            let root: Path = folder.parts().take_while(is_above).collect();
            let is_nested = root.parts().count() < folder.parts().count();
            roots.entry(if is_nested { root } else { folder.clone() }).or_default().push(folder);
        }
        let listed = |(root, folders): (Path, Vec<&Path>)| {
            if folders.len() >= MANY { vec![root] } else { folders.into_iter().cloned().collect() }
        };
        let places: Vec<Path> = roots.into_iter().flat_map(listed).collect();
        let listing = stream::iter(places).map(|place| self.list(place));
        let found: Vec<Vec<ObjectMeta>> = listing.buffered(LISTS).try_collect().await?;
        let mut by_folder: HashMap<Path, Vec<ObjectMeta>> = HashMap::new();
        for file in found.into_iter().flatten().filter(is_data) {
            let depth = file.location.parts().count().saturating_sub(1);
            let folder: Path = file.location.parts().take(depth).collect();
            by_folder.entry(folder).or_default().push(file);
        }
        let files = partitions.iter().map(|partition| {
            let mut files = by_folder.remove(&partition.folder).unwrap_or_default();
            files.sort_by(|a, b| a.location.cmp(&b.location));
            files
        });
        Ok(files.collect())
    }

    async fn list(&self, folder: Path) -> anyhow::Result<Vec<ObjectMeta>> {
        let listed = self.store.list(Some(&folder)).try_collect().await;
        listed.with_context(|| format!("cannot list the files in {folder}"))
    }
}

/// Whether an object is one of a table's files: by the custom of Hive, names that begin with `_` or `.` are not.
pub(crate) fn is_data(object: &ObjectMeta) -> bool {
    object.size > 0 && object.location.filename().is_some_and(|name| !name.starts_with(['_', '.']))
}
