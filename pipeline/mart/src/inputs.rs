//! What a partition was built of: the version of each input partition, as a catalog keeps it, and what has changed
//! since.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest as _, Sha256};

/// How many digits of a digest are kept. Two versions of a partition share one by chance in one of 2^48 cases.
const DIGITS: usize = 12;

/// The version of a partition: which files it has, in which state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(String);

impl Version {
    /// The version of a partition with these files: the name, the size and the state of each, in the order of names.
    pub fn of_files<'f>(files: impl IntoIterator<Item = (&'f str, u64, &'f str)>) -> Self {
        let mut hash = Sha256::new();
        for (name, size, state) in files {
            // No part can be taken for another one.
            hash.update(format!("{}:{name}{size};{}:{state}", name.len(), state.len()));
        }
        Self(hex::encode(hash.finalize())[..DIGITS].to_owned())
    }

    /// The version of a partition of the mart: its rows, whenever they were written.
    pub fn of_content(digest: &str) -> Self {
        Self(digest.chars().take(DIGITS).collect())
    }

    /// The version of a partition that is going to be built, and so may be another one then.
    pub fn not_yet() -> Self {
        Self("?".to_owned())
    }

    /// Whether it is that of a partition which is not built yet.
    pub fn is_not_yet(&self) -> bool {
        self.0 == "?"
    }
}

/// The input partitions of one source, by the values of their keys joined by `/`.
pub(crate) type Partitions = BTreeMap<String, Version>;

/// What a partition is built of, by the names of the sources.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Inputs(pub BTreeMap<String, Partitions>);

/// What has become of an input partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was not there.
    New,
    /// It has other files, or other rows.
    Changed,
    /// It is going to be built, and may have other rows then.
    Pending,
    /// It is not there any more, as after an expiry.
    Gone,
}

/// An input partition that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub source: String,
    pub partition: String,
    pub fate: Fate,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, partition, fate } = self;
        let fate = match fate {
            Fate::New => "is new",
            Fate::Changed => "has changed",
            Fate::Pending => "may change",
            Fate::Gone => "is gone",
        };
        write!(f, "{source} {partition} {fate}")
    }
}

impl Inputs {
    /// What has changed from these inputs to those of now.
    pub fn changes(&self, now: &Self) -> Vec<Change> {
        let none = Partitions::new();
        let mut changes = Vec::new();
        let sources: std::collections::BTreeSet<&String> = self.0.keys().chain(now.0.keys()).collect();
        for source in sources {
            let [before, after] = [self, now].map(|inputs| inputs.0.get(source).unwrap_or(&none));
            let mut change = |partition: &String, fate| {
                changes.push(Change { source: source.clone(), partition: partition.clone(), fate });
            };
            for (partition, version) in after {
                match before.get(partition) {
                    Some(same) if same == version => {}
                    _ if version.is_not_yet() => change(partition, Fate::Pending),
                    Some(_) => change(partition, Fate::Changed),
                    None => change(partition, Fate::New),
                }
            }
            for partition in before.keys().filter(|partition| !after.contains_key(*partition)) {
                change(partition, Fate::Gone);
            }
        }
        changes
    }

    /// The input partitions of a source as a text, which [`parse`](Self::parse) reads: `2023-01-01/08=1a2b3c4d5e6f`,
    /// with spaces between them.
    pub fn text(partitions: &Partitions) -> String {
        let text = |(partition, version): (&String, &Version)| format!("{partition}={}", version.0);
        partitions.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    /// The input partitions of a text. One that cannot be read is as if it was not there, so that it is taken for a new
    /// one.
    pub fn parse(text: &str) -> Partitions {
        let parts = text.split(' ').filter_map(|part| part.rsplit_once('='));
        parts.map(|(partition, version)| (partition.to_owned(), Version(version.to_owned()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn inputs(partitions: &[(&str, &str)]) -> Inputs {
        let partitions = partitions.iter().map(|(name, version)| ((*name).to_owned(), Version((*version).to_owned())));
        Inputs([("raw".to_owned(), partitions.collect())].into())
    }

    #[test]
    fn every_input_that_is_not_as_it_was_is_named() {
        let before = inputs(&[("2023-01-01/08", "a"), ("2023-01-01/09", "b"), ("2023-01-01/10", "c")]);
        let now = inputs(&[("2023-01-01/08", "a"), ("2023-01-01/09", "x"), ("2023-01-01/11", "d")]);
        let said: Vec<String> = before.changes(&now).iter().map(ToString::to_string).collect();
        assert_eq!(said, ["raw 2023-01-01/09 has changed", "raw 2023-01-01/11 is new", "raw 2023-01-01/10 is gone"]);
        assert_eq!(before.changes(&before), []);
        assert_eq!(Inputs::default().changes(&now).len(), 3);
    }

    #[test]
    fn a_version_depends_on_names_sizes_and_states() {
        let versions: Vec<Version> = [
            vec![("a", 1, "e")],
            vec![("b", 1, "e")],
            vec![("a", 2, "e")],
            vec![("a", 1, "f")],
            vec![("a", 1, "e"), ("a", 1, "e")],
            vec![],
        ]
        .into_iter()
        .map(Version::of_files)
        .collect();
        for version in &versions {
            assert_eq!(versions.iter().filter(|other| *other == version).count(), 1);
        }
    }

    proptest! {
        #[test]
        fn inputs_are_read_as_they_were_written(
            partitions in prop::collection::btree_map("[0-9]{4}-[0-9]{2}-[0-9]{2}(/[0-9]{2})?", "[0-9a-f]{12}", 0..9),
        ) {
            let partitions: Partitions =
                partitions.into_iter().map(|(name, version)| (name, Version(version))).collect();
            prop_assert_eq!(Inputs::parse(&Inputs::text(&partitions)), partitions);
        }
    }
}
