//! What a pipeline has to end with after it was sent a fleet's messages: counts and a digest that need no order.
//!
//! Every figure is a sum over messages, so the expectations of the parts of a fleet, and of one time after the other, add
//! up to that of the whole.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::Message;

/// What messages have to become.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// By protocol, as `object/type/command`.
    pub protocols: BTreeMap<String, OfProtocol>,
    /// How often each kind of fault was there, by name.
    pub faults: BTreeMap<String, u64>,
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
    /// The digest of the keys of all items.
    pub keys: KeySet,
    /// How many of the rows say a time in each hour, in UTC.
    pub hours: BTreeMap<Hour, u64>,
}

/// An order-free digest of a set of rows: the sum, modulo 2^128, of the first 16 bytes (big-endian) of the SHA-256 of
/// `object/type/command|id|message_id|seq|milliseconds` of each row. `seq` is empty if the row has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeySet(u128);

/// An hour, as `2026-11-27T08` in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hour(i64);

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
        let name = message.protocol.to_string();
        let prefix = format!("{name}|{}|{}|", message.id, message.message_id);
        let of = self.protocols.entry(name).or_default();
        of.messages += 1;
        of.bytes += message.value.as_ref().map_or(0, Vec::len) as u64;
        of.rows += message.rows.len() as u64;
        of.dead_letters += message.dead_letters;
        for row in &message.rows {
            *of.hours.entry(Hour(row.millis.div_euclid(3_600_000))).or_default() += 1;
            if message.is_refused_by_dynamodb {
                of.refused_by_dynamodb += 1;
            } else if !message.is_copy && !row.is_repeated {
                of.items += 1;
                let seq = row.seq.map(|seq| seq.to_string()).unwrap_or_default();
                of.keys.add(&format!("{prefix}{seq}|{}", row.millis));
            }
        }
        for (fault, count) in &message.faults {
            *self.faults.entry(fault.about().name.to_owned()).or_default() += count;
        }
    }

    /// Adds what was sent in addition, by another process or at another time.
    pub fn merge(&mut self, other: Self) {
        for (name, theirs) in other.protocols {
            match self.protocols.entry(name) {
                Entry::Vacant(place) => {
                    place.insert(theirs);
                }
                Entry::Occupied(mut place) => place.get_mut().merge(theirs),
            }
        }
        for (name, count) in other.faults {
            *self.faults.entry(name).or_default() += count;
        }
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
        self.keys.0 = self.keys.0.wrapping_add(other.keys.0);
        for (hour, rows) in other.hours {
            *self.hours.entry(hour).or_default() += rows;
        }
    }
}

impl KeySet {
    /// Adds the key of a row.
    pub fn add(&mut self, key: &str) {
        let digest = Sha256::digest(key.as_bytes());
        let half = digest.iter().take(16).fold(0, |number: u128, byte| number << 8 | u128::from(*byte));
        self.0 = self.0.wrapping_add(half);
    }
}

impl fmt::Display for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for KeySet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        u128::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| format!("`{text}` is not a digest of 32 hexadecimal digits"))
    }
}

impl fmt::Display for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}T{:02}", crate::json::date(self.0.div_euclid(24)), self.0.rem_euclid(24))
    }
}

impl FromStr for Hour {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let start: Option<jiff::Timestamp> = format!("{text}:00Z").parse().ok();
        start.map(|start| Self(start.as_second().div_euclid(3600))).ok_or_else(|| format!("`{text}` is not an hour"))
    }
}

macro_rules! as_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}
as_text!(KeySet);
as_text!(Hour);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expectation_is_read_as_it_was_written() {
        let mut expectation = Expectation::default();
        let mut keys = KeySet::default();
        keys.add("vehicle/tire/report|10001|01|0|5");
        let of = OfProtocol { messages: 1, keys, hours: [(Hour(490_000), 4)].into(), ..OfProtocol::default() };
        expectation.protocols.insert("vehicle/tire/report".to_owned(), of);
        expectation.faults.insert("late".to_owned(), 1);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("expect.json");
        std::fs::write(&path, expectation.to_json()).expect("written");
        assert_eq!(Expectation::read(&path).expect("read"), expectation);
        assert!(expectation.to_json().contains(r#""2025-11-24T16": 4"#), "{}", expectation.to_json());
        std::fs::write(&path, "{}").expect("written");
        let error = Expectation::read(&path).expect_err("no expectation").to_string();
        assert!(error.contains("expect.json") && error.contains("missing field `protocols`"), "{error}");
    }

    /// Anyone can compute the digest: the figure is that of Python's hashlib.
    #[test]
    fn the_digest_is_a_sum_of_hashes() {
        let (mut one, mut other) = (KeySet::default(), KeySet::default());
        for key in ["abc", "def"] {
            one.add(key);
        }
        for key in ["def", "abc"] {
            other.add(key);
        }
        assert_eq!(one, other);
        let mut abc = KeySet::default();
        abc.add("abc");
        assert_eq!(abc.to_string(), "ba7816bf8f01cfea414140de5dae2223");
    }
}
