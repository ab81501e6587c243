//! What a pipeline has to end with after it was sent a fleet's messages: counts and a digest that need no order.
//!
//! Every figure is a sum over messages, so the expectations of the parts of a fleet, and of one time after the other, add
//! up to that of the whole.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::key::{Hour, KeySet, RowKey, Sum};
use crate::{Letters, Made, Message, RowId};

/// What messages have to become.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// How the messages were made: an entry for each run.
    pub made: Vec<Made>,
    /// By protocol, as `object/type/command`.
    pub protocols: BTreeMap<String, OfProtocol>,
    /// The dead letters.
    pub letters: OfLetters,
    /// How often each kind of fault was there, by name.
    pub faults: BTreeMap<String, u64>,
}

/// The dead letters that messages have to become, by the `id` of their vehicle, which is the key of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfLetters {
    /// Those of the sink that writes to DynamoDB.
    pub table: Sum,
    /// Those of the sink that writes raw objects.
    pub raw: Sum,
}

impl OfLetters {
    /// Those of a sink.
    pub const fn of(&self, letters: Letters) -> Sum {
        match letters {
            Letters::Table => self.table,
            Letters::Raw => self.raw,
        }
    }
}

/// What the messages of a protocol have to become.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfProtocol {
    /// How many messages were sent, each time that one was sent.
    pub messages: u64,
    /// How many bytes their values have.
    pub bytes: u64,
    /// How many rows there are in the messages: what raw objects have.
    pub rows: u64,
    /// How many different rows DynamoDB can hold of them: what the table has.
    pub items: u64,
    /// How many dead letters every sink has to write, of messages and of elements of lists.
    pub dead_letters: u64,
    /// How many rows become dead letters only where DynamoDB is the sink, because it cannot hold a value of theirs.
    pub refused_by_dynamodb: u64,
    /// Rows and items by the hour, in UTC, of the time that they say.
    pub hours: BTreeMap<Hour, OfHour>,
}

/// What the rows of an hour have to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfHour {
    /// All rows, as often as they were sent.
    pub rows: Sum,
    /// The different rows that DynamoDB can hold.
    pub items: Sum,
}

/// Why an expectation could not be read.
#[derive(Debug, Error)]
pub enum ExpectationError {
    /// The file could not be read.
    #[error("cannot read the expectation {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is no expectation.
    #[error("{} is not an expectation that `fms simulate --expect` has written: {error}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: serde_json::Error,
    },
}

impl Expectation {
    /// Adds a message that was sent.
    pub fn add(&mut self, message: &Message) {
        let of = self.protocols.entry(message.protocol.to_string()).or_default();
        of.messages += 1;
        of.bytes += message.value.as_ref().map_or(0, Vec::len) as u64;
        of.rows += message.rows.len() as u64;
        of.dead_letters += message.dead_letters;
        for row in &message.rows {
            let key = message.key(row);
            let hour = of.hours.entry(key.hour()).or_default();
            let one = Sum::one(&key);
            hour.rows.merge(one);
            if message.is_refused_by_dynamodb {
                of.refused_by_dynamodb += 1;
            } else if !message.is_copy && !row.is_repeated {
                of.items += 1;
                hour.items.merge(one);
            }
        }
        for (sum, letters) in [(&mut self.letters.table, Letters::Table), (&mut self.letters.raw, Letters::Raw)] {
            let letters = message.letters(letters);
            if letters > 0 {
                sum.add(&message.id.to_string(), letters);
            }
        }
        for (fault, count) in &message.faults {
            *self.faults.entry(fault.about().name.to_owned()).or_default() += count;
        }
    }

    /// Adds what was sent in addition, by another process or at another time.
    pub fn merge(&mut self, other: Self) {
        self.made.extend(other.made);
        for (name, theirs) in other.protocols {
            self.protocols.entry(name).or_default().merge(theirs);
        }
        self.letters.table.merge(other.letters.table);
        self.letters.raw.merge(other.letters.raw);
        for (name, count) in other.faults {
            *self.faults.entry(name).or_default() += count;
        }
    }

    /// Takes messages away that were added before.
    pub(crate) fn take(&mut self, other: Self) {
        for (name, theirs) in other.protocols {
            if let Some(ours) = self.protocols.get_mut(&name) {
                ours.take(theirs);
            }
        }
        self.protocols.retain(|_, of| of.messages > 0);
        self.letters.table.take(other.letters.table);
        self.letters.raw.take(other.letters.raw);
        for (name, count) in other.faults {
            if let Some(ours) = self.faults.get_mut(&name) {
                *ours -= count;
            }
        }
        self.faults.retain(|_, count| *count > 0);
    }

    /// Reads the file of an expectation.
    pub fn read(path: &Path) -> Result<Self, ExpectationError> {
        let text = std::fs::read(path).map_err(|error| ExpectationError::Read { path: path.into(), error })?;
        serde_json::from_slice(&text).map_err(|error| ExpectationError::Content { path: path.into(), error })
    }

    /// The text of the file of an expectation.
    pub fn to_json(&self) -> String {
        // Maps with text as keys, and numbers: nothing that cannot be written.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

impl OfProtocol {
    fn merge(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.rows += other.rows;
        self.items += other.items;
        self.dead_letters += other.dead_letters;
        self.refused_by_dynamodb += other.refused_by_dynamodb;
        for (hour, theirs) in other.hours {
            let ours = self.hours.entry(hour).or_default();
            ours.rows.merge(theirs.rows);
            ours.items.merge(theirs.items);
        }
    }

    fn take(&mut self, other: Self) {
        self.messages -= other.messages;
        self.bytes -= other.bytes;
        self.rows -= other.rows;
        self.items -= other.items;
        self.dead_letters -= other.dead_letters;
        self.refused_by_dynamodb -= other.refused_by_dynamodb;
        for (hour, theirs) in other.hours {
            if let Some(ours) = self.hours.get_mut(&hour) {
                ours.rows.take(theirs.rows);
                ours.items.take(theirs.items);
            }
        }
        self.hours.retain(|_, of| of.rows.count > 0);
    }

    /// The digest of the keys of all items.
    pub fn keys(&self) -> KeySet {
        self.hours.values().fold(KeySet::default(), |mut keys, of| {
            keys.merge(of.items.keys);
            keys
        })
    }
}

impl Message {
    /// What tells a row of this message from all others.
    pub fn key(&self, row: &RowId) -> RowKey {
        RowKey {
            protocol: self.protocol.to_string(),
            millis: row.millis,
            id: self.id.to_string(),
            message_id: self.message_id.clone(),
            seq: row.seq.map(|seq| seq.to_string()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expectation_is_read_as_it_was_written() {
        let mut expectation = Expectation::default();
        let row = br#"{"object":"vehicle","type":"tire","command":"report","timestamp_iso":"2025-11-24T16:01:00Z"}"#;
        let hour = OfHour { rows: Sum::one(&RowKey::of_json(row)), items: Sum::default() };
        let of = OfProtocol {
            messages: 1,
            hours: [("2025-11-24T16".parse().expect("an hour"), hour)].into(),
            ..OfProtocol::default()
        };
        expectation.protocols.insert("vehicle/tire/report".to_owned(), of);
        expectation.faults.insert("late".to_owned(), 1);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("expect.json");
        std::fs::write(&path, expectation.to_json()).expect("written");
        assert_eq!(Expectation::read(&path).expect("read"), expectation);
        assert!(expectation.to_json().contains(r#""2025-11-24T16": {"#), "{}", expectation.to_json());
        std::fs::write(&path, "{}").expect("written");
        let error = Expectation::read(&path).expect_err("no expectation").to_string();
        assert!(error.contains("expect.json") && error.contains("missing field `made`"), "{error}");
    }
}
