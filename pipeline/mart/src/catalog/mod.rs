//! Where the tables of a mart are. The file of a partition is stored in a folder that nobody else chooses, and then one
//! change of the catalog sends readers there, with the note of what it was built of. So a partition is as it was or as
//! it is, whoever dies when, and whoever builds it at the same time; the folder before is removed when no reader can be
//! at it.

mod bucket;
mod folder;
mod note;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::civil::Date;
use object_store::path::Path;

use crate::build::Output;
use crate::model::Model;
use crate::plan::Noted;

pub(crate) use bucket::Bucket;
pub(crate) use folder::Folder;

/// The file of a partition.
const FILE: &str = "rows.parquet";

/// A partition that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Built {
    /// The folder of its file, as the lake's store names it.
    pub folder: Path,
    /// The SHA-256 of its file.
    pub content: String,
    pub rows: u64,
    pub noted: Noted,
}

/// The tables of a mart.
#[async_trait]
pub(crate) trait Catalog: Send + Sync {
    /// The partitions of a model's table.
    async fn built(&self, model: &Model) -> anyhow::Result<BTreeMap<Date, Built>>;

    /// Sees to it that the table of a model exists, with its columns.
    async fn prepare(&self, model: &Model) -> anyhow::Result<()>;

    /// Stores the file of a partition where no reader looks yet. Gives the folder.
    async fn store(&self, model: &Model, date: Date, output: &Output) -> anyhow::Result<Path>;

    /// Sends readers of a partition to its folder, and notes what it was built of.
    async fn publish(&self, model: &Model, date: Date, built: &Built) -> anyhow::Result<()>;

    /// Removes the files of a model to which no reader was sent for the grace period. Gives how many.
    async fn expire(&self, model: &Model, grace: Duration, now: Timestamp) -> anyhow::Result<u64>;
}

/// The folder of a new file, below that of the model: a name that nobody else chooses.
fn generation(date: Date) -> String {
    format!("{}={date}/{:016x}", crate::model::DAY, fastrand::u64(..))
}

/// The folders, of those that a model has, from which files may be removed: nobody is sent there, and whoever was, has
/// been sent elsewhere for the grace period. Each folder comes with the time of its last change, in seconds.
fn dead<'f>(
    folders: &'f BTreeMap<String, i64>,
    current: &BTreeMap<Date, String>,
    grace: Duration,
    now: Timestamp,
) -> Vec<&'f String> {
    let Ok(limit) = now.checked_sub(grace) else { return Vec::new() };
    let is_old = |modified: &i64| *modified <= limit.as_second();
    let day = |folder: &str| folder.split('/').next()?.split_once('=')?.1.parse::<Date>().ok();
    let is_dead = |(folder, modified): &(&'f String, &i64)| {
        let current = day(folder).and_then(|date| current.get(&date));
        // Readers were sent to the current folder soon after it had been written.
        let is_settled = current.is_none_or(|current| folders.get(current).is_some_and(is_old));
        current != Some(*folder) && is_old(modified) && is_settled
    };
    folders.iter().filter(is_dead).map(|(folder, _)| folder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_removed_when_readers_have_been_elsewhere_for_the_grace_period() {
        let now: Timestamp = "2023-01-02T00:00:00Z".parse().expect("a time");
        let ago = |hours: i64| now.as_second() - 3600 * hours;
        let date: Date = "2023-01-01".parse().expect("a day");
        let folders = |ages: &[(&str, i64)]| -> BTreeMap<String, i64> {
            ages.iter().map(|(name, hours)| (format!("ymd=2023-01-01/{name}"), ago(*hours))).collect()
        };
        let dead = |ages: &[(&str, i64)], current: Option<&str>| {
            let current = current.map(|name| (date, format!("ymd=2023-01-01/{name}"))).into_iter().collect();
            let folders = folders(ages);
            let dead = super::dead(&folders, &current, Duration::from_hours(24), now);
            dead.into_iter().map(|folder| folder.rsplit('/').next().unwrap_or_default().to_owned()).collect::<String>()
        };
        assert_eq!(dead(&[("a", 90), ("b", 30)], Some("b")), "a");
        assert_eq!(dead(&[("a", 90), ("b", 3)], Some("b")), "", "readers may be at the one before still");
        assert_eq!(dead(&[("a", 90), ("b", 30), ("c", 3)], Some("b")), "a", "somebody is about to publish `c`");
        assert_eq!(dead(&[("a", 90), ("c", 3)], None), "a", "whoever wrote it is dead");
    }
}
