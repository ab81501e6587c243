//! What a store has, beside what it has to have: first by protocol and hour, then, where they differ, row by row.
//!
//! Counts and digests of all rows take little memory. The keys of rows are made again from how the messages were made,
//! and only of the hours that differ.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use thiserror::Error;

use crate::expect::{Expectation, OfHour};
use crate::key::{Hour, RowKey, Sum};

/// What a store has to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// All rows, as often as they were sent.
    Rows,
    /// The different rows that DynamoDB can hold.
    Items,
}

/// What a store has, by protocol and hour.
#[derive(Debug, Clone, Default)]
pub struct Found(BTreeMap<(String, Hour), Sum>);

/// A protocol's hour of which a store has not what it has to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The protocol, as `object/type/command`.
    pub protocol: String,
    /// The hour.
    pub hour: Hour,
    /// How many rows there have to be.
    pub expected: u64,
    /// How many there are. If these are as many, they are others.
    pub found: u64,
}

/// The rows of hours that differ: how many more of each there are than there have to be.
#[derive(Debug)]
pub struct NamedRows {
    hours: BTreeSet<(String, Hour)>,
    more: HashMap<RowKey, i64>,
    /// How many of the hours that differ are left out, because their rows are too many for the memory.
    pub left_out: usize,
}

/// A row that is missing, or that should not be there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedRow {
    /// Which.
    pub key: RowKey,
    /// How often it is there too often; how often it is missing, if it is less than 0.
    pub more: i64,
}

/// Why rows cannot be named.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// The messages cannot be made again.
    #[error("the messages cannot be made again to name their rows: {0}; use the version of fms that has sent them")]
    Unknown(String),
    /// The messages that are made again are others.
    #[error(
        "the messages that are made again to name their rows are not those of the expectation; use the version of fms \
         that has sent them, and the same --recordings"
    )]
    Others,
}

/// The most rows whose keys are held to name those that differ: about 150 MB of memory.
const NAMED: u64 = 500_000;

impl What {
    fn of(self, hour: &OfHour) -> Sum {
        match self {
            Self::Rows => hour.rows,
            Self::Items => hour.items,
        }
    }
}

impl Found {
    /// Adds a row of the store.
    pub fn add(&mut self, key: &RowKey) {
        self.0.entry((key.protocol.clone(), key.hour())).or_default().merge(Sum::one(key));
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.0.values().map(|sum| sum.count).sum()
    }

    /// Where these are not the rows that have to be there, by protocol and hour.
    pub fn differences(&self, expectation: &Expectation, what: What) -> Vec<Difference> {
        let expected = expectation
            .protocols
            .iter()
            .flat_map(|(protocol, of)| of.hours.iter().map(move |(hour, of)| ((protocol.clone(), *hour), what.of(of))));
        let mut sums: BTreeMap<(String, Hour), [Sum; 2]> =
            expected.map(|(place, sum)| (place, [sum, Sum::default()])).collect();
        for (place, sum) in &self.0 {
            sums.entry(place.clone()).or_default()[1] = *sum;
        }
        let differing = sums.into_iter().filter(|(_, [expected, found])| expected != found);
        let difference = |((protocol, hour), [expected, found]): ((String, Hour), [Sum; 2])| Difference {
            protocol,
            hour,
            expected: expected.count,
            found: found.count,
        };
        differing.map(difference).collect()
    }
}

impl NamedRows {
    /// The rows that have to be in these hours, which are made again. The rows of the store are taken from them by
    /// [`NamedRows::found`].
    pub fn expected(expectation: &Expectation, what: What, differences: &[Difference]) -> Result<Self, VerifyError> {
        let mut held = 0;
        let mut hours = BTreeSet::new();
        for Difference { protocol, hour, expected, found } in differences {
            held += expected + found;
            if held <= NAMED || hours.is_empty() {
                hours.insert((protocol.clone(), *hour));
            }
        }
        let left_out = differences.len() - hours.len();
        let mut named = Self { hours, more: HashMap::new(), left_out };
        let mut again = Expectation::default();
        for made in &expectation.made {
            let each = |message: &crate::Message| {
                again.add(message);
                for row in &message.rows {
                    let is_item = !message.is_refused_by_dynamodb && !message.is_copy && !row.is_repeated;
                    if what == What::Rows || is_item {
                        named.add(message.key(row), -1);
                    }
                }
            };
            made.each_message(each).map_err(VerifyError::Unknown)?;
        }
        if again.protocols == expectation.protocols { Ok(named) } else { Err(VerifyError::Others) }
    }

    /// Takes a row of the store.
    pub fn found(&mut self, key: RowKey) {
        self.add(key, 1);
    }

    fn add(&mut self, key: RowKey, more: i64) {
        if self.hours.contains(&(key.protocol.clone(), key.hour())) {
            *self.more.entry(key).or_default() += more;
        }
    }

    /// The rows that differ, in order.
    pub fn differing(self) -> Vec<NamedRow> {
        let differing = self.more.into_iter().filter(|(_, more)| *more != 0);
        let mut rows: Vec<NamedRow> = differing.map(|(key, more)| NamedRow { key, more }).collect();
        rows.sort_unstable();
        rows
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, hour, expected, found } = self;
        write!(f, "{protocol}, {hour}: {found} of {expected}")?;
        match found.cmp(expected) {
            std::cmp::Ordering::Less => write!(f, ", {} missing", expected - found),
            std::cmp::Ordering::Equal => write!(f, ", but not the same ones"),
            std::cmp::Ordering::Greater => write!(f, ", {} too many", found - expected),
        }
    }
}

impl fmt::Display for NamedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, more } = self;
        let what = if *more < 0 { "missing" } else { "too many" };
        match more.unsigned_abs() {
            1 => write!(f, "{what}: {key}"),
            times => write!(f, "{what}, {times} times: {key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Made, Protocols, Rates, Rhythm, Shard};

    fn expectation() -> Expectation {
        let made = Made {
            seed: 3,
            first: 0,
            vehicles: 4,
            shard: Shard::WHOLE,
            from: 1_795_734_000,
            until: 1_795_734_600,
            since: 1_795_734_000,
            rhythm: Rhythm::Steady,
            protocols: Made::names(Protocols::parse("vehicle/tire,vehicle/status").expect("known")),
            faults: Rates::field().with(crate::Fault::Twice, 0.2),
            beyond: Vec::new(),
        };
        let mut expectation = Expectation::default();
        made.each_message(|message| expectation.add(message)).expect("made");
        expectation.made.push(made);
        expectation
    }

    fn rows(expectation: &Expectation) -> Vec<RowKey> {
        let mut rows = Vec::new();
        let each = |message: &crate::Message| rows.extend(message.rows.iter().map(|row| message.key(row)));
        expectation.made[0].each_message(each).expect("made");
        rows
    }

    #[test]
    fn an_expectation_of_other_messages_cannot_name_rows() {
        let mut expectation = expectation();
        expectation.made[0].seed += 1;
        let differences = Found::default().differences(&expectation, What::Rows);
        assert!(!differences.is_empty());
        let error = NamedRows::expected(&expectation, What::Rows, &differences).expect_err("another fleet");
        assert!(matches!(error, VerifyError::Others), "{error}");
        expectation.made[0].protocols.push("vehicle/tyre/report".to_owned());
        let error = NamedRows::expected(&expectation, What::Rows, &differences).expect_err("unknown").to_string();
        assert!(error.contains("there is no protocol `vehicle/tyre/report`"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Whatever rows are taken away and repeated, in any order: exactly those are named.
        #[test]
        fn what_is_missing_or_too_many_is_named(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..6),
            reverse: bool,
        ) {
            let expectation = expectation();
            let mut stored = rows(&expectation);
            prop_assert!(stored.len() > 20);
            let mut changed: BTreeMap<RowKey, i64> = BTreeMap::new();
            for (at, is_taken) in changes {
                let row = if is_taken {
                    let at = at.index(stored.len());
                    stored.remove(at)
                } else {
                    let row = at.get(&stored).clone();
                    stored.push(row.clone());
                    row
                };
                *changed.entry(row).or_default() += if is_taken { -1 } else { 1 };
            }
            if reverse {
                stored.reverse();
            }
            let mut found = Found::default();
            for key in &stored {
                found.add(key);
            }
            let differences = found.differences(&expectation, What::Rows);
            let mut named = NamedRows::expected(&expectation, What::Rows, &differences).expect("made again");
            for key in stored {
                named.found(key);
            }
            let named: BTreeMap<RowKey, i64> = named.differing().into_iter().map(|row| (row.key, row.more)).collect();
            changed.retain(|_, more| *more != 0);
            prop_assert_eq!(differences.is_empty(), changed.is_empty());
            prop_assert_eq!(named, changed);
        }
    }
}
