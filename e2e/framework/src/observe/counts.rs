//! Counts of what was sent and observed, for each kind of thing.

use std::iter::Sum;

use serde::{Serialize, Serializer};

/// How many messages were sent, and how many entries of each kind were observed. A kind is identified by its noun, such
/// as `item`. Kinds are listed in the order in which they were first counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    by_noun: Vec<(&'static str, usize)>,
}

impl Counts {
    /// These counts, with `count` more entries of one kind.
    #[must_use]
    pub(crate) fn with(mut self, noun: &'static str, count: usize) -> Self {
        self.add(noun, count);
        self
    }

    /// Adds `count` entries of one kind.
    pub(crate) fn add(&mut self, noun: &'static str, count: usize) {
        match self.by_noun.iter_mut().find(|(known, _)| *known == noun) {
            Some((_, sum)) => *sum += count,
            None => self.by_noun.push((noun, count)),
        }
    }

    /// How many entries of one kind there are.
    pub(crate) fn of(&self, noun: &str) -> usize {
        self.by_noun.iter().find(|(known, _)| *known == noun).map_or(0, |(_, count)| *count)
    }

    /// How many entries there are of all kinds together.
    pub(crate) fn total(&self) -> usize {
        self.by_noun.iter().map(|(_, count)| count).sum()
    }

    /// The nouns of all kinds, in order.
    pub(crate) fn nouns(&self) -> impl Iterator<Item = &'static str> {
        self.by_noun.iter().map(|(noun, _)| *noun)
    }
}

impl<'a> Sum<&'a Counts> for Counts {
    fn sum<I: Iterator<Item = &'a Self>>(all: I) -> Self {
        let mut total = Self::default();
        for (noun, count) in all.flat_map(|counts| &counts.by_noun) {
            total.add(noun, *count);
        }
        total
    }
}

/// Serializes as a map from the plural of each noun, in which `_` replaces a space, to its count:
/// `{"messages":3,"dead_letters":1}`.
impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.by_noun.iter().map(|(noun, count)| (plural(noun).replace(' ', "_"), count)))
    }
}

/// The plural of a noun.
pub(crate) fn plural(noun: &str) -> String {
    format!("{noun}s")
}

/// A number with its noun: `1 row`, `2 rows`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {}", plural(noun)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_by_noun() {
        let one = Counts::default().with("message", 2).with("dead letter", 1);
        let other = Counts::default().with("message", 1).with("partition", 4);
        let total: Counts = [&one, &other].into_iter().sum();
        assert_eq!(total.nouns().collect::<Vec<_>>(), ["message", "dead letter", "partition"]);
        assert_eq!((total.of("message"), total.of("partition"), total.of("row")), (3, 4, 0));
        let json = serde_json::to_string(&total).expect("a map");
        assert_eq!(json, r#"{"messages":3,"dead_letters":1,"partitions":4}"#);
    }
}
