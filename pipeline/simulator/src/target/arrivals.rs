//! Which records have arrived, where some overtake others on their way.

use std::collections::VecDeque;

/// Records by their numbers, from 0 in the order in which they were sent.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// All before it have arrived.
    first: u64,
    /// Of each from then on, whether it has arrived.
    later: VecDeque<bool>,
}

impl Arrivals {
    /// A record has arrived.
    pub(super) fn add(&mut self, number: u64) {
        let Some(place) = number.checked_sub(self.first).and_then(|place| usize::try_from(place).ok()) else { return };
        if place >= self.later.len() {
            self.later.resize(place + 1, false);
        }
        self.later[place] = true;
        while self.later.front() == Some(&true) {
            self.later.pop_front();
            self.first += 1;
        }
    }

    /// The number of the first record that has not arrived.
    pub(super) const fn first_missing(&self) -> u64 {
        self.first
    }

    /// Those of so many records that have not arrived, in order.
    pub(super) fn missing(&self, sent: u64) -> Vec<u64> {
        let has_arrived = |number: &u64| {
            let place = usize::try_from(number - self.first).ok();
            place.and_then(|place| self.later.get(place)).copied().unwrap_or(false)
        };
        (self.first..sent).filter(|number| !has_arrived(number)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// In whatever order records arrive: those are missing that did not.
        #[test]
        fn what_has_not_arrived_is_missing(order in proptest::collection::vec(0_u64..40, 0..80)) {
            let mut arrivals = Arrivals::default();
            let mut arrived = BTreeSet::new();
            for number in order {
                arrivals.add(number);
                arrived.insert(number);
                let missing: Vec<u64> = (0..40).filter(|number| !arrived.contains(number)).collect();
                prop_assert_eq!(arrivals.missing(40), missing.clone());
                prop_assert_eq!(arrivals.first_missing(), missing.first().copied().unwrap_or(40));
            }
        }
    }
}
