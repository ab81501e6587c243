//! The tables in Glue: how they are read, created and given columns while others do the same.
//!
//! A table is only ever replaced in the version that was read; if somebody was faster, it is read again. Partitions
//! have columns of their own, which readers compare with the table's, so a table that got columns has its partitions
//! brought up after it. In between, its parameter `fms.partitions.version` is behind, and whoever meets such a table
//! finishes the work. That is how a crash leaves nothing behind.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use fms_glue::{Glue, TableInput, already_exists, modified_meanwhile};

use super::calls;
use super::failure;
use super::partitions::Known;
use super::schema::{self, PARTITIONS_VERSION, Version};
use crate::ddl::External;
use crate::partition::Partition;
use crate::table::{Identity, Table};
use crate::types::Field;

/// How often a table is read again because others changed it. Each time at least one of them has got what it wanted.
pub(super) const MAX_ROUNDS: usize = 100;

/// The tables of a lake.
#[derive(Debug, Clone)]
pub(crate) struct Catalog {
    pub glue: Glue,
    pub database: Arc<str>,
    /// The folder of the lake: `s3://bucket/prefix/`.
    pub root: Arc<str>,
    pub known: Arc<Known>,
}

impl Catalog {
    /// Checks that the database exists.
    pub async fn check(&self) -> io::Result<()> {
        let database = &*self.database;
        let found = self.glue.database(database).await;
        match found.map_err(|error| failure::glue(format!("look at the database `{database}`"), error))? {
            Some(_) => Ok(()),
            None => Err(io::Error::other(format!("there is no database `{database}` in Glue; create it"))),
        }
    }

    /// The table of this identity, if there is one. Its partitions have its columns.
    pub async fn table(&self, identity: &Identity) -> io::Result<Option<Table>> {
        let name = identity.table();
        let Some(mut table) = self.find(&name).await? else { return Ok(None) };
        let location = self.location(identity);
        let mut read = self.usable(&table, schema::read(&table, &location))?;
        if schema::lags(&table) {
            table = self.settle(&name).await?;
            read = self.usable(&table, schema::read(&table, &location))?;
        }
        calls::note_version(&name, Version::of(&table).number());
        Ok(Some(read))
    }

    /// The table of this identity as it is, if there is one. Nothing is changed, so its partitions may lag.
    pub async fn seen(&self, identity: &Identity) -> io::Result<Option<Table>> {
        let Some(table) = self.find(&identity.table()).await? else { return Ok(None) };
        self.usable(&table, schema::read(&table, &self.location(identity))).map(Some)
    }

    /// The tables of the lake with their folders, such as `object=vehicle/type=tire/command=report`: those of these
    /// names, or all.
    pub async fn tables(&self, names: &[String]) -> io::Result<Vec<(String, String)>> {
        let found = self.glue.tables(&self.database).await;
        let found = found.map_err(|error| failure::glue(format!("list the tables of `{}`", self.database), error))?;
        let lakes =
            found.iter().filter_map(|table| Some((table.name.clone(), schema::folders(table, &self.root)?.to_owned())));
        let mut tables: Vec<(String, String)> = lakes.collect();
        if let Some(missing) = names.iter().find(|name| !tables.iter().any(|(table, _)| table == *name)) {
            return Err(io::Error::other(format!(
                "{} is no table of the lake at {}; correct its name, or the lake",
                self.shown(missing),
                self.root
            )));
        }
        tables.retain(|(table, _)| names.is_empty() || names.contains(table));
        Ok(tables)
    }

    /// A table of the lake by its name, and the version by which its columns have got their types. Its partitions have
    /// its columns.
    pub async fn named(&self, name: &str) -> io::Result<(Table, u64)> {
        let mut table = self.existing(name).await?;
        if schema::lags(&table) {
            table = self.settle(name).await?;
        }
        let location = table.storage_descriptor.as_ref().and_then(|storage| storage.location.clone());
        let read = self.usable(&table, schema::read(&table, &location.unwrap_or_default()))?;
        Ok((read, schema::types(&table)))
    }

    /// These tables of the lake as the catalog has them, or all: with the columns that they have now, and where the files
    /// of each hour are. Nothing is changed.
    pub async fn external(&self, names: &[String]) -> io::Result<Vec<External>> {
        let mut all = Vec::new();
        for (table, _) in self.tables(names).await? {
            let found = self.existing(&table).await?;
            let location = found.storage_descriptor.as_ref().and_then(|storage| storage.location.clone());
            let location = location.unwrap_or_default();
            let columns = self.usable(&found, schema::read(&found, &location))?.columns;
            let hours = self.partitions(&table).await?.into_iter().filter_map(|partition| {
                let location = partition.storage_descriptor?.location?;
                Some((Partition::of_values(&partition.values)?, location))
            });
            let hours: BTreeMap<Partition, String> = hours.collect();
            all.push(External { table, columns, location, hours: hours.into_iter().collect() });
        }
        Ok(all)
    }

    /// Creates a table, or adds what it lacks of these columns.
    pub async fn grow(&self, identity: &Identity, columns: &[Field]) -> io::Result<()> {
        let name = identity.table();
        let location = self.location(identity);
        for _ in 0..MAX_ROUNDS {
            let Some(table) = self.find(&name).await? else {
                if self.create(&schema::create(name.clone(), location.clone(), columns)).await? {
                    return Ok(());
                }
                continue;
            };
            self.usable(&table, schema::read(&table, &location))?;
            let version = table.version_id.clone();
            let grown = schema::grow(table.clone(), columns);
            let is_done = match self.usable(&table, grown)? {
                Some(input) => self.replace(&input, version.as_deref()).await?,
                None => true,
            };
            if is_done {
                return self.settle(&name).await.map(drop);
            }
        }
        Err(self.restless(&name))
    }

    /// Locks the table of this name, so that data adds no columns to it, or lets it grow again. Gives whether that
    /// changed anything.
    pub async fn lock(&self, name: &str, is_locked: bool) -> io::Result<bool> {
        for _ in 0..MAX_ROUNDS {
            let Some(table) = self.find(name).await? else {
                return Err(io::Error::other(format!("there is no table {}", self.shown(name))));
            };
            let version = table.version_id.clone();
            let Some(input) = self.usable(&table, schema::lock(table.clone(), is_locked))? else { return Ok(false) };
            if self.replace(&input, version.as_deref()).await? {
                return self.settle(name).await.map(|_| true);
            }
        }
        Err(self.restless(name))
    }

    /// Gives all partitions of a table its columns, and notes that it was done. Gives the table.
    ///
    /// The columns may change meanwhile, and somebody faster may note it for the new ones. So that no partition keeps
    /// the columns that were written here, this ends only when they are still those of the table.
    pub(super) async fn settle(&self, name: &str) -> io::Result<fms_glue::Table> {
        let mut written: Option<Version> = None;
        for _ in 0..MAX_ROUNDS {
            let table = self.existing(name).await?;
            let version = Version::of(&table);
            if !schema::lags(&table) && written.is_none_or(|written| written == version) {
                return Ok(table);
            }
            self.bring_up(&table).await?;
            written = Some(version);
            if schema::lags(&table) {
                let glue_version = table.version_id.clone();
                let mut input = table.into_input();
                input.parameters.insert(PARTITIONS_VERSION.to_owned(), version.to_string());
                self.replace(&input, glue_version.as_deref()).await?;
            }
        }
        Err(self.restless(name))
    }

    /// The table of this name.
    pub async fn existing(&self, name: &str) -> io::Result<fms_glue::Table> {
        let gone = || io::Error::other(format!("the table {} was deleted; convert the object again", self.shown(name)));
        self.find(name).await?.ok_or_else(gone)
    }

    async fn find(&self, name: &str) -> io::Result<Option<fms_glue::Table>> {
        let found = self.glue.table(&self.database, name).await;
        found.map_err(|error| failure::glue(format!("read the table {}", self.shown(name)), error))
    }

    /// Creates a table. Gives whether it did not exist.
    async fn create(&self, table: &TableInput) -> io::Result<bool> {
        match self.glue.create_table(&self.database, table).await {
            Ok(()) => {
                self.known.forget(&table.name);
                Ok(true)
            }
            Err(error) if already_exists(&error) => Ok(false),
            Err(error) => Err(failure::glue(format!("create the table {}", self.shown(&table.name)), error)),
        }
    }

    /// Replaces a table. Gives whether it had the version.
    pub(super) async fn replace(&self, table: &TableInput, version: Option<&str>) -> io::Result<bool> {
        match self.glue.update_table(&self.database, table, version).await {
            Ok(()) => Ok(true),
            Err(error) if modified_meanwhile(&error) => Ok(false),
            Err(error) => Err(failure::glue(format!("change the table {}", self.shown(&table.name)), error)),
        }
    }

    pub(super) fn usable<T>(&self, table: &fms_glue::Table, result: Result<T, String>) -> io::Result<T> {
        let name = &table.name;
        result.map_err(|problem| io::Error::other(format!("cannot use the table {}: {problem}", self.shown(name))))
    }

    pub fn restless(&self, name: &str) -> io::Error {
        let shown = self.shown(name);
        failure::restless(format!(
            "the table {shown} was changed by others {MAX_ROUNDS} times in a row; convert it later"
        ))
    }

    /// A table as errors name it.
    pub fn shown(&self, name: &str) -> String {
        format!("`{}.{name}`", self.database)
    }

    fn location(&self, identity: &Identity) -> String {
        self.url(&format!("formatted/{}/", identity.folders()))
    }

    /// The URL of a path below the lake.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.root)
    }
}
