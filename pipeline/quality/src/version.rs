//! The version of what a check looks at: which files the partitions of these days have, in which state.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::Context as _;
use fms_query::Lake;
use jiff::civil::Date;
use sha2::{Digest as _, Sha256};

use crate::statement::{DAY, Days};

/// How many digits of a digest are kept. Two versions share one by chance in one of 2^64 cases.
const DIGITS: usize = 16;

/// The version of some tables on some days.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(String);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Version {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// The digest of the files of each day. A table that is not kept by days has one, of no day.
type ByDay = BTreeMap<Option<Date>, String>;

/// What tables have, each of which is listed once.
pub(crate) struct Versions<'l> {
    lake: &'l Lake,
    from: Option<Date>,
    to: Date,
    tables: BTreeMap<String, Option<ByDay>>,
}

impl<'l> Versions<'l> {
    /// Looks at the days from one on, or at all, until another one.
    pub fn new(lake: &'l Lake, from: Option<Date>, to: Date) -> Self {
        Self { lake, from, to, tables: BTreeMap::new() }
    }

    /// The days of which a table has files.
    ///
    /// # Errors
    ///
    /// The catalog or the files cannot be listed.
    pub async fn days(&mut self, table: &str) -> anyhow::Result<BTreeSet<Date>> {
        let by_day = self.table(table).await?;
        Ok(by_day.into_iter().flat_map(|by_day| by_day.keys().copied().flatten()).collect())
    }

    /// The version of tables on these days. `None` if one of them is not there.
    ///
    /// # Errors
    ///
    /// The catalog or the files cannot be listed.
    pub async fn of(&mut self, tables: &BTreeSet<String>, days: Days) -> anyhow::Result<Option<Version>> {
        let mut hash = Sha256::new();
        for name in tables {
            let Some(by_day) = self.table(name).await? else { return Ok(None) };
            for (day, files) in by_day {
                if day.is_none_or(|day| days.from <= day && day <= days.to) {
                    hash.update(format!("{}:{name}{files}", name.len()));
                }
            }
        }
        Ok(Some(Version(digits(hash))))
    }

    async fn table(&mut self, name: &str) -> anyhow::Result<Option<&ByDay>> {
        if !self.tables.contains_key(name) {
            let listed = self.list(name).await.with_context(|| format!("cannot list the files of {name}"))?;
            self.tables.insert(name.to_owned(), listed);
        }
        Ok(self.tables.get(name).and_then(Option::as_ref))
    }

    async fn list(&self, name: &str) -> anyhow::Result<Option<ByDay>> {
        let Some(definition) = self.lake.table(name).await? else { return Ok(None) };
        let at = definition.keys.iter().position(|key| key == DAY);
        let mut partitions = Vec::new();
        for partition in self.lake.partitions(&definition).await? {
            // A partition whose day is none is no day that is looked at.
            let day = at.map(|at| partition.values.get(at).and_then(|day| day.parse::<Date>().ok()));
            let is_meant = |day: Date| self.from.is_none_or(|from| from <= day) && day <= self.to;
            match day {
                None => partitions.push((None, partition)),
                Some(Some(day)) if is_meant(day) => partitions.push((Some(day), partition)),
                Some(_) => {}
            }
        }
        partitions.sort_by(|(_, a), (_, b)| a.values.cmp(&b.values));
        let (days, partitions): (Vec<_>, Vec<_>) = partitions.into_iter().unzip();
        let files = self.lake.files(&definition, &partitions).await?;
        let mut hashes: BTreeMap<Option<Date>, Sha256> = BTreeMap::new();
        for (day, files) in days.into_iter().zip(files).filter(|(_, files)| !files.is_empty()) {
            let hash = hashes.entry(day).or_default();
            for file in files {
                let state = file.e_tag.unwrap_or_else(|| file.last_modified.to_string());
                // No part can be taken for another one.
                let name = file.location.to_string();
                hash.update(format!("{}:{name}{};{}:{state}", name.len(), file.size, state.len()));
            }
        }
        Ok(Some(hashes.into_iter().map(|(day, hash)| (day, digits(hash))).collect()))
    }
}

fn digits(hash: Sha256) -> String {
    hex::encode(hash.finalize())[..DIGITS].to_owned()
}
