//! The partitions of tables in Glue: they are created when their first file is there, and have the table's columns.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fms_glue::{Failed, PartitionInput};

use super::catalog::{Catalog, MAX_ROUNDS};
use super::deliver::Lead;
use super::failure;
use super::schema::{self, Version, columns, same_columns};
use crate::partition::Partition;

/// How long a partition is taken to exist after it was seen. People drop partitions that became old; a file that comes
/// late for one of them is seen again after this time at the latest, when the next file comes.
const TRUSTED: Duration = Duration::from_mins(10);

/// The partitions that were seen a short time ago, so that not every object asks for them again.
#[derive(Debug, Default)]
pub(crate) struct Known {
    seen: Mutex<HashMap<(String, Partition), Seen>>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Instant,
    /// The version of the table by which its columns had got their types then.
    types: u64,
}

impl Known {
    /// Those of some partitions that were not seen, and by which version columns had got their types when the others
    /// were.
    fn unseen(&self, table: &str, leads: &BTreeMap<Partition, Lead>) -> (Vec<Partition>, u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, seen| seen.at.elapsed() < TRUSTED);
        let (mut unseen, mut types) = (Vec::new(), 0);
        for (partition, lead) in leads {
            match seen.get(&(table.to_owned(), *partition)).filter(|_| !lead.is_dropped) {
                Some(seen) => types = types.max(seen.types),
                None => unseen.push(*partition),
            }
        }
        (unseen, types)
    }

    /// Forgets the partitions of a table that was created, perhaps after it was deleted.
    pub fn forget(&self, table: &str) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).retain(|(of, _), _| of != table);
    }

    fn add(&self, table: &str, partitions: &[Partition], types: u64) {
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = Seen { at: Instant::now(), types };
        all.extend(partitions.iter().map(|partition| ((table.to_owned(), *partition), seen)));
    }
}

impl Catalog {
    /// Sees to it that these partitions of a table exist with its columns. Those that do not exist get the locations
    /// that are given, which are paths below the lake; others keep theirs. Gives the version of the table by which its
    /// columns have got their types, as far as it was read after these partitions were there.
    ///
    /// The table may get columns while a partition is created with the ones before, after those who gave them had gone
    /// through the partitions. So this ends only when all partitions have the columns of a table that did not change.
    pub async fn add_partitions(&self, name: &str, leads: &BTreeMap<Partition, Lead>) -> io::Result<u64> {
        let (unseen, types) = self.known.unseen(name, leads);
        if unseen.is_empty() {
            return Ok(types);
        }
        let mut table = self.existing(name).await?;
        for _ in 0..MAX_ROUNDS {
            let inputs = unseen.iter().map(|partition| self.input(&table, *partition, &leads[partition].location));
            let existing = self.create_partitions(&table, &inputs.collect::<Vec<_>>()).await?;
            let stale = self.stale(&table, &existing).await?;
            let now = self.existing(name).await?;
            if Version::of(&now) == Version::of(&table) {
                if stale.is_empty() {
                    let types = types.max(schema::types(&now));
                    self.known.add(name, &unseen, types);
                    return Ok(types);
                }
                self.update(name, &stale).await?;
            }
            table = now;
        }
        Err(self.restless(name))
    }

    /// Gives all partitions of a table its columns.
    pub async fn bring_up(&self, table: &fms_glue::Table) -> io::Result<()> {
        let all = self.partitions(&table.name).await?;
        let stale: Vec<_> = all.into_iter().filter_map(|partition| with_columns(partition, table)).collect();
        self.update(&table.name, &stale).await
    }

    /// All partitions of a table.
    pub async fn partitions(&self, table: &str) -> io::Result<Vec<fms_glue::Partition>> {
        let all = self.glue.partitions(&self.database, table, None).await;
        all.map_err(|error| failure::glue(self.of("read", table), error))
    }

    /// Sends readers of a partition to a location. Gives where they were sent before; `None` if the partition does not
    /// exist, and so nobody is sent anywhere.
    ///
    /// It writes the columns, too, so it ends like [`add_partitions`](Self::add_partitions).
    pub async fn relocate(&self, name: &str, partition: Partition, location: &str) -> io::Result<Option<String>> {
        let mut before = None;
        let mut table = self.existing(name).await?;
        for _ in 0..MAX_ROUNDS {
            let found = self.glue.partitions_by_values(&self.database, name, &[partition.values().into()]).await;
            let found = found.map_err(|error| failure::glue(self.of("read", name), error))?;
            let Some(partition) = found.into_iter().next() else { return Ok(None) };
            let mut input = partition.clone().into_input();
            let storage = input.storage_descriptor.get_or_insert_default();
            before = before.or_else(|| Some(storage.location.clone().unwrap_or_default()));
            storage.columns = columns(&table).to_vec();
            storage.location = Some(location.to_owned());
            if input != partition.into_input() {
                self.update(name, &[input]).await?;
            }
            let now = self.existing(name).await?;
            if Version::of(&now) == Version::of(&table) {
                return Ok(before);
            }
            table = now;
        }
        Err(self.restless(name))
    }

    /// Takes a partition out of the catalog, if it is there.
    pub async fn forget(&self, table: &str, partition: Partition) -> io::Result<()> {
        let failed = self.glue.delete_partitions(&self.database, table, &[partition.values().into()]).await;
        let mut failed = failed.map_err(|error| failure::glue(self.of("delete", table), error))?;
        failed.retain(|failed| !failed.missing());
        self.none(&failed, "delete", table)
    }

    /// Creates partitions. Gives the values of those that exist already.
    async fn create_partitions(
        &self,
        table: &fms_glue::Table,
        inputs: &[PartitionInput],
    ) -> io::Result<Vec<Vec<String>>> {
        let failed = self.glue.create_partitions(&self.database, &table.name, inputs).await;
        let failed = failed.map_err(|error| failure::glue(self.of("create", &table.name), error))?;
        let (existing, failed): (Vec<_>, Vec<_>) = failed.into_iter().partition(Failed::already_exists);
        self.none(&failed, "create", &table.name)?;
        Ok(existing.into_iter().map(|failed| failed.values).collect())
    }

    /// Those of some partitions that have not the table's columns, as they should be.
    async fn stale(&self, table: &fms_glue::Table, values: &[Vec<String>]) -> io::Result<Vec<PartitionInput>> {
        let found = self.glue.partitions_by_values(&self.database, &table.name, values).await;
        let found = found.map_err(|error| failure::glue(self.of("read", &table.name), error))?;
        Ok(found.into_iter().filter_map(|partition| with_columns(partition, table)).collect())
    }

    /// Replaces partitions. One that was deleted meanwhile needs nothing.
    async fn update(&self, table: &str, partitions: &[PartitionInput]) -> io::Result<()> {
        let failed = self.glue.update_partitions(&self.database, table, partitions).await;
        let mut failed = failed.map_err(|error| failure::glue(self.of("change", table), error))?;
        failed.retain(|failed| !failed.missing());
        self.none(&failed, "change", table)
    }

    /// A partition of the lake with the table's columns.
    fn input(&self, table: &fms_glue::Table, partition: Partition, location: &str) -> PartitionInput {
        let mut storage = table.storage_descriptor.clone().unwrap_or_default();
        storage.location = Some(self.url(location));
        PartitionInput {
            values: partition.values().into(),
            storage_descriptor: Some(storage),
            ..PartitionInput::default()
        }
    }

    fn none(&self, failed: &[Failed], doing: &str, table: &str) -> io::Result<()> {
        let Some(first) = failed.first() else { return Ok(()) };
        let more = if failed.len() > 1 { format!(", and {} more", failed.len() - 1) } else { String::new() };
        Err(io::Error::other(format!("cannot {}: {first}{more}", self.of(doing, table))))
    }

    fn of(&self, doing: &str, table: &str) -> String {
        format!("{doing} partitions of the table {}", self.shown(table))
    }
}

/// A partition as it should be; `None` if it has the table's columns.
fn with_columns(partition: fms_glue::Partition, table: &fms_glue::Table) -> Option<PartitionInput> {
    let mut input = partition.into_input();
    let storage = input.storage_descriptor.get_or_insert_default();
    if same_columns(&storage.columns, columns(table)) {
        return None;
    }
    storage.columns = columns(table).to_vec();
    Some(input)
}
