//! The hours of a table as they are in S3 and in the catalog, for those who look at a whole lake.

use std::collections::BTreeMap;
use std::io;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::bucket::Bucket;
use crate::bucket::manifest::{Content, Manifest, Place};
use crate::bucket::schema::is_same;
use crate::bucket::store::Listed;
use crate::partition::Partition;

/// How many manifests are read at a time.
const READS: usize = 32;

/// An hour of a table that has files or a partition.
#[derive(Debug, Default)]
pub(crate) struct Hour {
    /// All files in the folder that converters write to.
    pub base: Vec<Listed>,
    /// All files that compactors wrote, and the manifest.
    pub compacted: Vec<Listed>,
    /// The partition in the catalog.
    pub partition: Option<fms_glue::Partition>,
}

impl Hour {
    /// The files of rows in a folder.
    pub fn rows_in<'h>(&'h self, folder: &'h str) -> impl Iterator<Item = &'h Listed> {
        self.all_rows().filter(move |file| file.folder() == folder)
    }

    /// The files of rows in all folders.
    pub fn all_rows(&self) -> impl Iterator<Item = &Listed> {
        self.base.iter().chain(&self.compacted).filter(|file| file.path.ends_with(".parquet"))
    }

    /// The folder to which the catalog sends readers: a URL.
    pub fn location(&self) -> Option<&str> {
        let location = self.partition.as_ref()?.storage_descriptor.as_ref()?.location.as_ref();
        Some(location.map_or("", String::as_str))
    }
}

impl Bucket {
    /// The hours of a table, with what their manifests say. Files are listed first, then partitions, and the manifests
    /// are read last, so that what has been compacted since the files were listed is known.
    pub(crate) async fn all_hours(
        &self,
        table: &str,
        folders: &str,
    ) -> io::Result<BTreeMap<Partition, (Hour, Manifest)>> {
        let mut hours: BTreeMap<Partition, Hour> = BTreeMap::new();
        for root in ["formatted/", "compacted/"] {
            for file in self.store.list(&format!("{root}{folders}/")).await? {
                // The folders of another table may begin like those of this one.
                let Some(place) = Place::around(&file.path).filter(|place| place.folders == folders) else { continue };
                let hour = hours.entry(place.partition).or_default();
                if root == "formatted/" { hour.base.push(file) } else { hour.compacted.push(file) }
            }
        }
        for partition in self.catalog.partitions(table).await? {
            let Some(place) = Partition::of_values(&partition.values) else { continue };
            hours.entry(place).or_default().partition = Some(partition);
        }
        let read = |(partition, mut hour): (Partition, Hour)| async move {
            let place = Place { folders: folders.to_owned(), partition };
            // A first compaction that comes between is not seen here, and the files before it are there.
            let has_manifest = hour.compacted.iter().any(|file| file.path == place.manifest());
            let manifest =
                if has_manifest { Manifest::read(&self.store, &place).await? } else { Manifest::none(&place) };
            let content = &manifest.content;
            if content.files.len() > hour.rows_in(&content.current).count() {
                // It was compacted since its files were listed.
                hour.compacted = self.store.list(&place.compacted()).await?;
            }
            Ok::<_, io::Error>((partition, (hour, manifest)))
        };
        stream::iter(hours).map(read).buffer_unordered(READS).try_collect().await
    }
}

/// Whether readers of an hour who are sent to this URL are in a folder that has all rows.
pub(crate) fn is_live(bucket: &Bucket, content: &Content, location: &str) -> bool {
    content.live().any(|live| is_same(&bucket.catalog.url(live), location))
}
