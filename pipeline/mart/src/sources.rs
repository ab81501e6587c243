//! What there is to read: the partitions of tables of the lake with their files, and those of models that were built.

use std::collections::BTreeMap;

use fms_lake::{Partition as Hour, TimeZone, Type};
use fms_query::{Definition, Lake, Partition, TableFile};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use object_store::ObjectMeta;
use object_store::path::Path;

use crate::catalog::Built;
use crate::inputs::{Partitions, Version};
use crate::model::{DAY, Model, Models, Reads};
use crate::plan::{Scope, day_of};

/// A table that models read.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// `None` if the lake does not have it, so that it has no rows.
    definition: Option<Definition>,
    /// The version of each partition.
    pub versions: Partitions,
    /// The files of each partition, as far as they are known.
    files: BTreeMap<String, Vec<TableFile>>,
    /// The folders of the other partitions.
    folders: BTreeMap<String, Path>,
}

impl Source {
    /// A table of the lake. Of its partitions, only those are looked at that models read for the days of a scope.
    pub async fn of_lake(lake: &Lake, name: &str, models: &Models, scope: Scope) -> anyhow::Result<Self> {
        let Some(definition) = lake.table(name).await? else { return Ok(Self::default()) };
        let mut partitions = lake.partitions(&definition).await?;
        let reads = || models.iter().filter_map(|model| model.sources.get(name));
        let [before, after] = [reads().map(|reads| reads.before).max(), reads().map(|reads| reads.after).max()];
        let days = |days: Option<u32>| jiff::Span::new().days(i64::from(days.unwrap_or_default()));
        let from = scope.from.map(|from| from.saturating_sub(days(before)));
        let to = scope.to.map(|to| to.saturating_add(days(after)));
        let day = |partition: &Partition| partition.values.first()?.parse::<Date>().ok();
        partitions.retain(|partition| {
            day(partition).is_some_and(|day| from.is_none_or(|from| from <= day) && to.is_none_or(|to| day <= to))
        });
        let files = lake.files(&definition, &partitions).await?;
        let mut source = Self { definition: Some(definition), ..Self::default() };
        for (partition, files) in partitions.into_iter().zip(files).filter(|(_, files)| !files.is_empty()) {
            let name = partition.values.join("/");
            source.versions.insert(name.clone(), version(&files));
            let file = |meta| TableFile { values: partition.values.clone(), meta };
            source.files.insert(name, files.into_iter().map(file).collect());
        }
        Ok(source)
    }

    /// The table of a model.
    pub fn of_model(model: &Model, built: &BTreeMap<Date, Built>) -> Self {
        let keys = vec![DAY.to_owned()];
        let definition =
            Definition { name: model.name.clone(), columns: model.fields(), keys, folder: Path::default() };
        let version = |(date, built): (&Date, &Built)| (date.to_string(), Version::of_content(&built.content));
        let folder = |(date, built): (&Date, &Built)| (date.to_string(), built.folder.clone());
        Self {
            definition: Some(definition),
            versions: built.iter().map(version).collect(),
            files: BTreeMap::new(),
            folders: built.iter().map(folder).collect(),
        }
    }

    /// Whether the lake has it.
    pub fn is_there(&self) -> bool {
        self.definition.is_some()
    }

    /// The columns that a model reads as another type than texts, which are texts in the lake.
    pub fn texts<'r>(&self, reads: &'r Reads) -> Vec<&'r str> {
        let columns = self.definition.iter().flat_map(|definition| &definition.columns);
        let texts: Vec<&str> =
            columns.filter(|column| column.data_type == Type::String).map(|column| column.name.as_str()).collect();
        let read = reads.columns.iter().filter(|column| column.data_type != Type::String);
        read.map(|column| column.name.as_str()).filter(|name| texts.contains(name)).collect()
    }

    /// The table and the files of some of its partitions; `None` if the lake does not have it.
    pub async fn read(
        &self,
        lake: &Lake,
        partitions: &Partitions,
    ) -> anyhow::Result<Option<(&Definition, Vec<TableFile>)>> {
        let Some(definition) = &self.definition else { return Ok(None) };
        let known = partitions.keys().filter_map(|name| self.files.get(name)).flatten().cloned();
        let mut files: Vec<TableFile> = known.collect();
        let others = partitions.keys().filter_map(|name| {
            let values = name.split('/').map(str::to_owned).collect();
            Some(Partition { values, folder: self.folders.get(name)?.clone() })
        });
        let others: Vec<Partition> = others.collect();
        for (partition, found) in others.iter().zip(lake.files(definition, &others).await?) {
            files.extend(found.into_iter().map(|meta| TableFile { values: partition.values.clone(), meta }));
        }
        Ok(Some((definition, files)))
    }

    /// How many bytes the files of some partitions have.
    pub fn size(&self, partitions: &Partitions) -> u64 {
        let files = partitions.keys().filter_map(|name| self.files.get(name)).flatten();
        files.map(|file| file.meta.size).sum()
    }

    /// How long ago the newest partition ended; `None` if there is none. Times to come, which broken clocks make, do
    /// not count.
    pub fn age(&self, now: Timestamp, zone: &TimeZone) -> Option<SignedDuration> {
        let end = |name: &String| {
            let values: Vec<&str> = name.split('/').collect();
            match Hour::of_values(&values) {
                Some(hour) => hour.end(zone),
                None => day_of(name)?.tomorrow().ok()?.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp()),
            }
        };
        // The hour that goes on is as fresh as can be.
        let hour = SignedDuration::from_hours(1);
        let ages = self.versions.keys().filter_map(end).map(|end| now.duration_since(end)).filter(|age| *age >= -hour);
        ages.min()
    }
}

fn version(files: &[ObjectMeta]) -> Version {
    let state = |file: &ObjectMeta| file.e_tag.clone().unwrap_or_else(|| file.last_modified.to_rfc3339());
    let states: Vec<String> = files.iter().map(state).collect();
    Version::of_files(
        files.iter().zip(&states).map(|(file, state)| (file.location.as_ref(), file.size, state.as_str())),
    )
}
