//! The dead letters of a sink, which `fms simulate verify` compares with those that there have to be.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

use anyhow::Context as _;
use fms_simulator::replay::{Next, Recorded, Source as _, Topic, TopicSettings};
use fms_simulator::{Expectation, Letters, Sum};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// How the headers begin that say where the record of a dead letter comes from.
const HEADERS: &str = "__connect.errors.";
/// Those that tell one dead letter from others: the record, and the row of it if it is not about all of it.
const PLACE: [&str; 4] = ["topic", "partition", "offset", "row.index"];

/// A topic with the dead letters of a sink.
pub(super) struct LetterTopic<'a> {
    pub(super) topic: &'a str,
    pub(super) of: Letters,
    pub(super) servers: &'a str,
    pub(super) consumer: &'a [(String, String)],
}

/// What there is to say of it.
pub(super) struct ComparedLetters {
    topic: String,
    expected: u64,
    found: u64,
    is_complete: bool,
    /// How many dead letters there are more of a vehicle than there have to be; why it is not known, if that is so.
    vehicles: Result<Vec<(String, i64)>, String>,
}

/// A dead letter, as its headers tell it from others. A digest of them takes the same memory for all names of topics.
fn place(letter: &Recorded) -> Option<[u8; 16]> {
    let header = |name: &str| {
        let is_it = |header: &&(String, Option<Vec<u8>>)| header.0.strip_prefix(HEADERS) == Some(name);
        letter.headers.iter().find(is_it).and_then(|(_, value)| value.as_deref())
    };
    let [topic, partition, offset, row] = PLACE.map(header);
    // Only a letter about one row says which.
    let place = [topic?, partition?, offset?, row.unwrap_or_default()];
    // With their lengths, other parts are never the same bytes.
    let digest = place
        .iter()
        .fold(Sha256::new(), |digest, part| digest.chain_update((part.len() as u64).to_le_bytes()).chain_update(part));
    digest.finalize().first_chunk().copied()
}

impl LetterTopic<'_> {
    /// Compares the dead letters with what is expected. A worker that crashes may repeat one, which counts once.
    pub(super) fn compare(&self, expectation: &Expectation) -> anyhow::Result<ComparedLetters> {
        let settings = TopicSettings {
            topic: self.topic.to_owned(),
            bootstrap_servers: self.servers.to_owned(),
            consumer: self.consumer.to_vec(),
            since: None,
            offsets: None,
            until: None,
            follow: false,
        };
        let mut topic = Topic::open(settings)?;
        let mut places = HashSet::new();
        let mut vehicles: BTreeMap<String, i64> = BTreeMap::new();
        let mut found = Sum::default();
        loop {
            let letter = match topic.next().with_context(|| format!("cannot read dead letters of {}", self.topic))? {
                Next::Message(letter) => letter,
                Next::Idle => continue,
                Next::End => break,
            };
            // Letters without headers cannot be told from each other, and each of them counts.
            if place(&letter).is_some_and(|place| !places.insert(place)) {
                continue;
            }
            let vehicle = String::from_utf8_lossy(letter.key.as_deref().unwrap_or_default()).into_owned();
            found.add(&vehicle, 1);
            *vehicles.entry(vehicle).or_default() += 1;
        }
        let expected = expectation.letters.of(self.of);
        let is_complete = expected == found;
        let vehicles = if is_complete { Ok(Vec::new()) } else { self.differing(expectation, vehicles) };
        Ok(ComparedLetters {
            topic: self.topic.to_owned(),
            expected: expected.count,
            found: found.count,
            is_complete,
            vehicles,
        })
    }

    /// How many more dead letters there are of each vehicle than there have to be, of those of which there are others.
    fn differing(
        &self,
        expectation: &Expectation,
        mut found: BTreeMap<String, i64>,
    ) -> Result<Vec<(String, i64)>, String> {
        for made in &expectation.made {
            made.each_message(|message| {
                let letters = i64::try_from(message.letters(self.of)).unwrap_or(i64::MAX);
                if letters > 0 {
                    *found.entry(message.id.to_string()).or_default() -= letters;
                }
            })?;
        }
        Ok(found.into_iter().filter(|(_, more)| *more != 0).collect())
    }
}

impl ComparedLetters {
    pub(super) const fn is_complete(&self) -> bool {
        self.is_complete
    }

    fn rows(&self, limit: usize) -> Vec<String> {
        let line = |(vehicle, more): &(String, i64)| {
            let what = if *more < 0 { "missing" } else { "too many" };
            format!("{what}: {} of vehicle {vehicle}", more.unsigned_abs())
        };
        self.vehicles.iter().flatten().take(limit).map(line).collect()
    }

    pub(super) fn text(&self, limit: usize) -> String {
        let Self { topic, expected, found, is_complete, vehicles } = self;
        let complete = if *is_complete { ", complete" } else { "" };
        let mut text = format!("dead letters in {topic}: {found} of {expected}{complete}\n");
        if let Err(problem) = vehicles {
            let _infallible = writeln!(text, "  the vehicles are not known: {problem}");
        }
        for row in self.rows(limit) {
            let _infallible = writeln!(text, "  {row}");
        }
        text
    }

    pub(super) fn json(&self, limit: usize) -> String {
        let sum = |is_missing: bool| {
            let some = self.vehicles.iter().flatten().filter(|(_, more)| (*more < 0) == is_missing);
            some.map(|(_, more)| more.unsigned_abs()).sum::<u64>()
        };
        let differs: &[&str] =
            if self.is_complete { &[] } else { &["dead letters of other vehicles, or another number"] };
        let line = json!({
            "store": format!("dead letters in {}", self.topic), "expected": self.expected, "found": self.found,
            "missing": sum(true), "too_many": sum(false), "hours": differs, "rows": self.rows(limit),
            "unnamed_hours": u64::from(self.vehicles.is_err()),
        });
        format!("{line}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_told_from_others_by_its_record_and_row() {
        let header = |name: &str, value: &str| (format!("{HEADERS}{name}"), Some(value.as_bytes().to_vec()));
        let headers = vec![header("topic", "t"), header("partition", "1"), header("offset", "7")];
        let letter = Recorded { at: 0, topic: None, key: None, value: None, headers };
        let mut of_row = letter.clone();
        of_row.headers.push(header("row.index", "2"));
        assert!(place(&letter).is_some() && place(&letter) != place(&of_row));
        let shifted = vec![header("topic", "t1"), header("partition", ""), header("offset", "7")];
        assert_ne!(place(&Recorded { headers: shifted, ..letter.clone() }), place(&letter));
        assert_eq!(place(&Recorded { headers: Vec::new(), ..letter }), None);
    }
}
