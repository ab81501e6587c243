//! A lake in a folder: the tables are JSON files, and the partitions are what folders there are, or what the file of
//! the table says.

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use fms_lake::{Folder, PARTITION_KEYS};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error, ObjectStore};
use percent_encoding::percent_decode_str;

use crate::placed::{PlacedPartition, PlacedTable};
use crate::source::{Definition, EventTime, Lake, Partition, Source};

#[derive(Debug)]
struct Tables {
    definitions: Vec<Definition>,
    /// The partitions of tables that say where theirs are, by the tables' names.
    placed: BTreeMap<String, Vec<Partition>>,
    store: Arc<dyn ObjectStore>,
}

impl Lake {
    /// The lake in a folder. Its tables may be called by their names, or by those of `database`.
    pub fn in_folder(root: &FilePath, database: &str, time: EventTime) -> anyhow::Result<Self> {
        let tables = Folder::new(root)
            .tables()
            .with_context(|| format!("{} is no lake; name the folder that has `tables/`", root.display()))?;
        let tables = tables.into_iter().map(|(name, (folder, table))| {
            let folder = Path::parse(&folder).with_context(|| format!("cannot use the location `{folder}`"))?;
            Ok(Definition { name, columns: table.columns, keys: PARTITION_KEYS.map(str::to_owned).into(), folder })
        });
        let mut tables = tables.collect::<anyhow::Result<Vec<_>>>()?;
        let mut placed = BTreeMap::new();
        for (name, table) in PlacedTable::all(root)? {
            let columns = table.fields().with_context(|| format!("cannot use the table `{name}` of the mart"))?;
            let partition = |(values, partition): (String, PlacedPartition)| {
                let location = &partition.location;
                let folder = Path::parse(location).with_context(|| format!("cannot use the location `{location}`"))?;
                Ok(Partition { values: values.split('/').map(str::to_owned).collect(), folder })
            };
            let partitions = table.partitions.into_iter().map(partition).collect::<anyhow::Result<Vec<_>>>()?;
            placed.insert(name.clone(), partitions);
            tables.push(Definition { name, columns, keys: table.keys, folder: Path::default() });
        }
        let store =
            LocalFileSystem::new_with_prefix(root).with_context(|| format!("cannot read {}", root.display()))?;
        let store: Arc<dyn ObjectStore> = Arc::new(store);
        let source = Arc::new(Tables { definitions: tables, placed, store: Arc::clone(&store) });
        Ok(Self { source, store, database: database.to_owned(), time })
    }
}

#[async_trait]
impl Source for Tables {
    async fn names(&self) -> anyhow::Result<Vec<String>> {
        Ok(self.definitions.iter().map(|table| table.name.clone()).collect())
    }

    async fn table(&self, name: &str) -> anyhow::Result<Option<Definition>> {
        Ok(self.definitions.iter().find(|table| table.name == name).cloned())
    }

    async fn partitions(&self, table: &Definition, _: Option<&str>) -> anyhow::Result<Vec<Partition>> {
        if let Some(partitions) = self.placed.get(&table.name) {
            return Ok(partitions.clone());
        }
        let mut partitions = vec![Partition { values: Vec::new(), folder: table.folder.clone() }];
        for key in &table.keys {
            let mut below = Vec::new();
            for partition in partitions {
                for folder in self.folders(&partition.folder).await? {
                    // Other folders are not the table's.
                    let value = folder.filename().and_then(|name| name.strip_prefix(key)?.strip_prefix('='));
                    let Some(value) = value.and_then(|value| percent_decode_str(value).decode_utf8().ok()) else {
                        continue;
                    };
                    let values = partition.values.iter().cloned().chain([value.into_owned()]).collect();
                    below.push(Partition { values, folder });
                }
            }
            partitions = below;
        }
        Ok(partitions)
    }
}

impl Tables {
    async fn folders(&self, folder: &Path) -> anyhow::Result<Vec<Path>> {
        match self.store.list_with_delimiter(Some(folder)).await {
            Ok(listed) => Ok(listed.common_prefixes),
            // A table whose rows are all in quarantine has no folder.
            Err(Error::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error).with_context(|| format!("cannot list the folder {folder}")),
        }
    }
}
