//! Which files of a partition there are to merge.

use std::collections::BTreeSet;
use std::io;

use crate::bucket::manifest::{Content, Place};
use crate::bucket::store::{Listed, Store};

use super::Compacted;

/// The files of a partition with all of its rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Compacted files.
    pub compacted: Vec<Listed>,
    /// Files that were written since, or before the first compaction, of which there is at most one of a name. If there
    /// is none, there is nothing to merge.
    pub fresh: Vec<Listed>,
}

impl Plan {
    /// The files that are merged.
    pub fn files(&self) -> impl Iterator<Item = &Listed> {
        self.compacted.iter().chain(&self.fresh)
    }

    /// What would become of the partition, as far as that is known without reading its files.
    pub fn foreseen(&self) -> Compacted {
        if self.fresh.is_empty() {
            return Compacted { unchanged: 1, ..Compacted::default() };
        }
        let bytes_before = self.files().map(|file| file.bytes).sum();
        Compacted { partitions: 1, files_before: self.files().count() as u64, bytes_before, ..Compacted::default() }
    }
}

/// All files of a partition, as they were at one time.
pub(super) struct Listing {
    /// Those in the base folder.
    pub base: Vec<Listed>,
    /// Those of compactions.
    pub compacted: Vec<Listed>,
}

impl Listing {
    /// Lists the files of a partition.
    pub async fn new(store: &Store, place: &Place) -> io::Result<Self> {
        Ok(Self { base: store.list(&place.base()).await?, compacted: store.list(&place.compacted()).await? })
    }

    /// The files that readers see: of each name there is one.
    pub fn visible(&self, content: &Content, place: &Place) -> Vec<Listed> {
        let Plan { mut compacted, fresh } = self.plan(content, place);
        let waiting = place.waiting();
        compacted.extend(fresh.into_iter().filter(|file| file.folder() != waiting));
        compacted
    }

    /// Which of the files there are to merge.
    pub fn plan(&self, content: &Content, place: &Place) -> Plan {
        let current = self.compacted.iter().filter(|file| file.folder() == content.current && is_rows(file));
        let (compacted, mut fresh): (Vec<Listed>, Vec<Listed>) =
            current.cloned().partition(|file| content.files.contains(file.name()));
        let late: BTreeSet<String> = fresh.iter().map(|file| file.name().to_owned()).collect();
        let waiting = place.waiting();
        let others = self.compacted.iter().filter(|file| file.folder() == waiting).chain(&self.base);
        // A file that came late is in the base folder, too.
        let is_fresh = |file: &&Listed| !late.contains(file.name()) && !content.sources.contains_key(file.name());
        fresh.extend(others.filter(|file| is_rows(file)).filter(is_fresh).cloned());
        Plan { compacted, fresh }
    }
}

fn is_rows(file: &Listed) -> bool {
    file.path.ends_with(".parquet")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_file_is_merged_once_and_what_was_merged_is_not_merged_again() {
        let (place, _) = Place::of("formatted/t/ymd=2023-01-01/hour=03/a.parquet").expect("a partition");
        let in_folder = |folder: &str, names: &[&str]| -> Vec<Listed> {
            let listed = |name: &&str| {
                let path = format!("{folder}{name}.parquet");
                Listed { path, etag: String::new(), bytes: 1, modified: 0 }
            };
            names.iter().map(listed).collect()
        };
        let content = Content {
            current: format!("{}1/", place.compacted()),
            files: ["0.parquet".into()].into(),
            rows: None,
            sources: ["a", "b", "a-1"].map(|name| (format!("{name}.parquet"), None)).into(),
            replaced: Vec::new(),
            next: None,
            is_dropped: false,
            types: 0,
            texts: BTreeMap::new(),
        };
        let mut compacted = in_folder(&content.current, &["0", "late"]);
        compacted.extend(in_folder(&format!("{}0/", place.compacted()), &["0", "old"]));
        compacted.extend(in_folder(&place.waiting(), &["a-1", "b-2"]));
        compacted.push(Listed { path: place.manifest(), ..compacted[0].clone() });
        let base = in_folder(&place.base(), &["a", "b", "late", "alone"]);
        let plan = Listing { base, compacted: compacted.clone() }.plan(&content, &place);
        assert_eq!(plan.compacted, compacted[..1]);
        let names: Vec<&str> = plan.fresh.iter().map(Listed::name).collect();
        assert_eq!(names, ["late.parquet", "b-2.parquet", "alone.parquet"]);
    }
}
