//! The version of what a check looks at: which files the partitions of these days have, in which state.

use std::fmt;

use anyhow::Context as _;
use fms_query::Lake;
use sha2::{Digest as _, Sha256};

use crate::statement::{DAY, Days};

/// How many digits of a digest are kept. Two versions share one by chance in one of 2^64 cases.
const DIGITS: usize = 16;

/// The version of a table on some days.
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

impl Version {
    /// The version of a table on these days; of all its files if it is not kept by days. `None` if there is no such table.
    ///
    /// # Errors
    ///
    /// The catalog or the files cannot be listed.
    pub async fn of(lake: &Lake, table: &str, days: Days) -> anyhow::Result<Option<Self>> {
        let Some(definition) = lake.table(table).await? else { return Ok(None) };
        let mut partitions = lake.partitions(&definition).await?;
        if let Some(at) = definition.keys.iter().position(|key| key == DAY) {
            let (from, to) = (days.from.to_string(), days.to.to_string());
            partitions.retain(|partition| partition.values.get(at).is_some_and(|day| *day >= from && *day <= to));
        }
        partitions.sort_by(|a, b| a.values.cmp(&b.values));
        let files = lake.files(&definition, &partitions).await;
        let files = files.with_context(|| format!("cannot list the files of {table}"))?;
        let mut hash = Sha256::new();
        for file in files.into_iter().flatten() {
            let state = file.e_tag.unwrap_or_else(|| file.last_modified.to_string());
            // No part can be taken for another one.
            let name = file.location.to_string();
            hash.update(format!("{}:{name}{};{}:{state}", name.len(), file.size, state.len()));
        }
        Ok(Some(Self(hex::encode(hash.finalize())[..DIGITS].to_owned())))
    }
}
