//! A set of kinds of faults, such as those of a row.

use crate::faults::{FAULTS, Fault};

/// A set of kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults(u64);

// Each kind has a bit.
const _: () = assert!(FAULTS_LEN <= 64);
const FAULTS_LEN: usize = Fault::BadElements as usize + 1;

impl Faults {
    /// These and another one.
    #[must_use]
    pub const fn with(self, fault: Fault) -> Self {
        Self(self.0 | 1 << fault as u64)
    }

    /// These but for one.
    #[must_use]
    pub const fn without(self, fault: Fault) -> Self {
        Self(self.0 & !(1 << fault as u64))
    }

    /// All that are in one of the two.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// All that are in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether a kind is one of them.
    pub const fn has(self, fault: Fault) -> bool {
        self.0 & (1 << fault as u64) != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them, in the order of [`FAULTS`].
    pub fn iter(self) -> impl Iterator<Item = Fault> {
        FAULTS.iter().map(|about| about.fault).filter(move |fault| self.has(*fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_into_it() {
        let set = Faults::default().with(Fault::Jump).with(Fault::BadElements).with(Fault::Jump);
        assert_eq!(set.iter().collect::<Vec<_>>(), [Fault::Jump, Fault::BadElements]);
        assert_eq!(set.without(Fault::Jump).iter().collect::<Vec<_>>(), [Fault::BadElements]);
        assert_eq!(set.intersection(Faults::default().with(Fault::Jump)).iter().count(), 1);
        assert!(Faults::default().union(Faults::default()).is_empty() && !set.is_empty());
        assert_eq!(FAULTS.len(), FAULTS_LEN);
    }
}
