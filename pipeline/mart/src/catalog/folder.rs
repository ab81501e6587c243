//! A mart in the folder of a lake: `mart/<model>/table.json` says where the partitions are. Whoever changes it holds a
//! lock for that moment.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path as FilePath, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context as _;
use async_trait::async_trait;
use fms_query::program::begin_file;
use fms_query::{PlacedColumn, PlacedPartition, PlacedTable};
use jiff::Timestamp;
use jiff::civil::Date;
use object_store::path::Path;

use super::{Built, Catalog, FILE, dead, generation, note};
use crate::build::Output;
use crate::model::{DAY, Model};

/// The file by whose lock the changes of a table are made one after the other.
const LOCK: &str = ".lock";

/// A mart in the folder of a lake.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    lake: PathBuf,
}

impl Folder {
    pub fn new(lake: &FilePath) -> Self {
        Self { lake: lake.to_owned() }
    }

    fn table(&self, model: &Model) -> anyhow::Result<PlacedTable> {
        Ok(PlacedTable::read(&PlacedTable::path(&self.lake, &model.name))?.unwrap_or_default())
    }

    /// The folder of a model's files, as the lake's store names it.
    fn place(model: &Model) -> String {
        format!("mart/{}", model.name)
    }

    /// Replaces the file of a table, while nobody else does.
    fn change(&self, model: &Model, change: impl FnOnce(&mut PlacedTable)) -> anyhow::Result<()> {
        let path = PlacedTable::path(&self.lake, &model.name);
        let folder = path.parent().unwrap_or(&self.lake);
        let replaced = || {
            fs::create_dir_all(folder)?;
            let lock = File::create(folder.join(LOCK))?;
            lock.lock()?;
            let before = self.table(model)?;
            let mut table = before.clone();
            change(&mut table);
            if table != before {
                let file = begin_file(&path)?;
                fs::write(file.path(), serde_json::to_vec_pretty(&table)?)?;
                file.persist(&path)?;
            }
            anyhow::Ok(())
        };
        replaced().with_context(|| format!("cannot change the table {}", path.display()))
    }
}

#[async_trait]
impl Catalog for Folder {
    async fn built(&self, model: &Model) -> anyhow::Result<BTreeMap<Date, Built>> {
        let built = self.table(model)?.partitions.into_iter().filter_map(|(day, partition)| {
            let folder = Path::parse(&partition.location).ok()?;
            Some((day.parse().ok()?, note::read(folder, &partition.parameters)?))
        });
        Ok(built.collect())
    }

    async fn prepare(&self, model: &Model) -> anyhow::Result<()> {
        let column = |column: &crate::model::Column| PlacedColumn {
            name: column.field.name.clone(),
            data_type: column.field.data_type.to_string(),
            comment: column.description.clone(),
        };
        self.change(model, |table| {
            table.keys = vec![DAY.to_owned()];
            table.columns = model.columns.iter().map(column).collect();
        })
    }

    async fn store(&self, model: &Model, date: Date, output: &Output) -> anyhow::Result<Path> {
        let place = format!("{}/{}", Self::place(model), generation(date));
        let folder = self.lake.join(&place);
        let stored = || {
            fs::create_dir_all(&folder)?;
            let mut file = File::create(folder.join(FILE))?;
            std::io::copy(&mut output.file.reopen()?, &mut file)?;
            file.sync_all()
        };
        stored().with_context(|| format!("cannot store a file in {}", folder.display()))?;
        Ok(Path::parse(place)?)
    }

    async fn publish(&self, model: &Model, date: Date, built: &Built) -> anyhow::Result<()> {
        let partition = PlacedPartition { location: built.folder.to_string(), parameters: note::write(built) };
        self.change(model, |table| {
            table.partitions.insert(date.to_string(), partition);
        })
    }

    async fn expire(&self, model: &Model, grace: Duration, now: Timestamp) -> anyhow::Result<u64> {
        let root = self.lake.join(Self::place(model));
        let found = if root.exists() { fms_lake::files(&root) } else { Ok(Vec::new()) };
        let failed = || format!("cannot look through {}", root.display());
        let mut folders: BTreeMap<String, i64> = BTreeMap::new();
        let files = found.with_context(failed)?;
        for file in files.iter().filter(|file| file.ends_with(FILE)) {
            let modified = file.metadata().and_then(|file| file.modified()).with_context(failed)?;
            let modified = modified.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
            let folder = file.strip_prefix(&root)?.parent().unwrap_or(FilePath::new(""));
            folders.insert(folder.to_string_lossy().into_owned(), i64::try_from(modified)?);
        }
        // Read after the files, so that none of them can have become current since.
        let place = format!("{}/", Self::place(model));
        let current = self.built(model).await?.into_iter();
        let current =
            current.filter_map(|(date, built)| Some((date, built.folder.as_ref().strip_prefix(&place)?.to_owned())));
        let dead = dead(&folders, &current.collect(), grace, now);
        for folder in &dead {
            let folder = root.join(folder);
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        Ok(dead.len() as u64)
    }
}
