//! Old hours leave the lake: first the catalog, so that nobody is sent to their files any more, and then S3.
//!
//! The hour of a partition decides, not the time at which a file was written. Folders of such hours that are in no
//! catalog, for example because an expiry was interrupted, are found in S3. The manifest of a partition goes last.
//!
//! Files of the quarantine belong to no hour, so theirs is the time at which they were written. The records of raw
//! objects stay: they keep an object that is named again from coming back.

use std::collections::BTreeSet;
use std::fmt;
use std::io;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::bucket::Bucket;
use crate::bucket::manifest::Place;
use crate::bucket::store::Listed;
use crate::partition::Partition;

/// Which hours leave a lake.
#[derive(Debug, Clone)]
pub struct Expire {
    /// The tables; all of the lake if it is empty.
    pub tables: Vec<String>,
    /// The zone of the partitions' days and hours.
    pub zone: TimeZone,
    /// Hours that were over by then leave.
    pub before: Timestamp,
    /// Whether nothing is changed.
    pub dry_run: bool,
}

/// What leaves a lake: a partition, or the old files of a quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiring(What);

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Partition {
        table: String,
        place: Place,
    },
    /// The files of this folder.
    Quarantine(String),
}

impl fmt::Display for Expiring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            What::Partition { table, place } => write!(f, "{table}, {}", place.partition),
            What::Quarantine(folder) => f.write_str(folder),
        }
    }
}

/// What left a lake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expired {
    /// Partitions.
    pub partitions: u64,
    /// Files of partitions.
    pub files: u64,
    /// Files of the quarantine.
    pub quarantined: u64,
    /// The bytes of all of these files.
    pub bytes: u64,
}

impl Expired {
    /// Adds what else left.
    pub fn add(&mut self, other: &Self) {
        self.partitions += other.partitions;
        self.files += other.files;
        self.quarantined += other.quarantined;
        self.bytes += other.bytes;
    }
}

impl Bucket {
    /// What has to leave the lake.
    pub async fn expiring(&self, expire: &Expire) -> io::Result<Vec<Expiring>> {
        let is_old = |partition: &Partition| partition.end(&expire.zone).is_some_and(|end| end <= expire.before);
        let mut found = Vec::new();
        for (table, folders) in self.catalog.tables(&expire.tables).await? {
            let in_catalog = self.catalog.partitions(&table).await?;
            let mut old: BTreeSet<Partition> =
                in_catalog.iter().filter_map(|partition| Partition::of_values(&partition.values)).collect();
            for root in ["formatted", "compacted"] {
                old.extend(self.hours(&format!("{root}/{folders}/"), &is_old).await?);
            }
            old.retain(is_old);
            found.extend(old.into_iter().map(|partition| {
                let place = Place { folders: folders.clone(), partition };
                Expiring(What::Partition { table: table.clone(), place })
            }));
            found.push(Expiring(What::Quarantine(format!("quarantine/{folders}/"))));
        }
        if expire.tables.is_empty() {
            found.push(Expiring(What::Quarantine("quarantine/unclassified/".to_owned())));
        }
        Ok(found)
    }

    /// The hours that have a folder in this folder of a table. Days of which no hour is old are not listed.
    async fn hours(&self, folder: &str, is_old: &impl Fn(&Partition) -> bool) -> io::Result<Vec<Partition>> {
        let key = |path: &str, key: &str| {
            let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            name.strip_prefix(key).map(ToOwned::to_owned)
        };
        let mut found = Vec::new();
        for day in self.store.folders(folder).await? {
            let Some(ymd) = key(&day, "ymd=") else { continue };
            if !Partition::of_values(&[ymd.as_str(), "00"]).as_ref().is_some_and(is_old) {
                continue;
            }
            for hour in self.store.folders(&day).await? {
                let values = key(&hour, "hour=").map(|hour| [ymd.clone(), hour]);
                found.extend(values.and_then(|values| Partition::of_values(&values)));
            }
        }
        Ok(found)
    }

    /// Lets something leave the lake.
    pub async fn expire(&self, expire: &Expire, expiring: &Expiring) -> io::Result<Expired> {
        let (table, place) = match &expiring.0 {
            What::Partition { table, place } => (table, place),
            What::Quarantine(folder) => return self.expire_quarantine(expire, folder).await,
        };
        if !expire.dry_run {
            self.catalog.forget(table, place.partition).await?;
        }
        let mut files = self.store.list(&place.base()).await?;
        // The manifest comes last, by the order of names.
        files.extend(self.store.list(&place.compacted()).await?);
        let manifest = place.manifest();
        let counted = files.iter().filter(|file| file.path != manifest);
        let expired = Expired {
            partitions: 1,
            files: counted.count() as u64,
            quarantined: 0,
            bytes: files.iter().map(|file| file.bytes).sum(),
        };
        self.delete(expire, &files).await?;
        Ok(expired)
    }

    async fn expire_quarantine(&self, expire: &Expire, folder: &str) -> io::Result<Expired> {
        let mut files = self.store.list(folder).await?;
        files.retain(|file| file.modified < expire.before.as_second());
        self.delete(expire, &files).await?;
        let bytes = files.iter().map(|file| file.bytes).sum();
        Ok(Expired { quarantined: files.len() as u64, bytes, ..Expired::default() })
    }

    async fn delete(&self, expire: &Expire, files: &[Listed]) -> io::Result<()> {
        for file in files.iter().filter(|_| !expire.dry_run) {
            self.store.delete(&file.path).await?;
        }
        Ok(())
    }
}
