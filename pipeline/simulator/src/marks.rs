//! Where a run goes on: what was sent, by the moment in which it left, as long as it is not known to have arrived.

use std::collections::VecDeque;

/// The moments in which records left that may be on their way, each with the number of its first record.
#[derive(Debug)]
pub(crate) struct Marks<M> {
    marks: VecDeque<(u64, M)>,
    sent: u64,
}

impl<M> Marks<M> {
    /// Nothing was sent yet.
    pub(crate) const fn new() -> Self {
        Self { marks: VecDeque::new(), sent: 0 }
    }

    /// How many records were sent.
    pub(crate) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Records that are sent from now on belong to this moment. Of what was before the record `arrived`, all has arrived,
    /// and it is forgotten.
    pub(crate) fn begin(&mut self, moment: M, arrived: u64) {
        while self.marks.get(1).is_some_and(|(next, _)| *next <= arrived) {
            self.marks.pop_front();
        }
        self.marks.push_back((self.sent, moment));
    }

    /// A record was sent.
    pub(crate) const fn count(&mut self) {
        self.sent += 1;
    }

    /// The moment to which records belong now.
    pub(crate) fn last(&self) -> Option<&M> {
        self.marks.back().map(|(_, moment)| moment)
    }

    /// The moment of a record, with the number of its first record; of a number that was not sent, the last moment.
    pub(crate) fn of(&self, record: u64) -> Option<&(u64, M)> {
        self.marks.iter().rev().find(|(first, _)| *first <= record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moment_of_a_record_is_known_until_it_has_arrived() {
        let mut marks = Marks::new();
        assert_eq!(marks.of(0), None);
        for (moment, records, arrived) in [("a", 3, 0), ("b", 2, 1), ("c", 4, 4)] {
            marks.begin(moment, arrived);
            (0..records).for_each(|_| marks.count());
        }
        assert_eq!(marks.sent(), 9);
        // Everything of `a` had arrived, and a part of `b`.
        let moments = [3, 4, 5, 8, 9].map(|record| marks.of(record).copied());
        assert_eq!(moments, [Some((3, "b")), Some((3, "b")), Some((5, "c")), Some((5, "c")), Some((5, "c"))]);
        marks.begin("d", 9);
        assert_eq!(marks.marks.len(), 2);
    }
}
