//! What disturbed runs prove: how many faults they have survived, and that no row was lost or stored twice.

use std::fmt;

use serde::Serialize;

use crate::ledger::Balance;
use crate::observe::counted;

/// The faults of some runs, and what the count ledgers of these runs found. The ledgers count a row once for each account
/// that has to have it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Proof {
    /// How many faults were injected into runs that were compared at their end.
    pub faults: usize,
    /// The rows that are missing in an account.
    pub rows_lost: usize,
    /// The rows that an account has more often than it should, or that nobody sent.
    pub rows_twice: usize,
}

impl Proof {
    /// Adds up runs, each with its faults and its ledger.
    pub(crate) fn of<'a>(runs: impl Iterator<Item = (usize, Option<&'a Balance>)>) -> Self {
        runs.fold(Self::default(), |sum, (faults, ledger)| {
            let accounts = ledger.map(|ledger| ledger.accounts.as_slice()).unwrap_or_default();
            Self {
                faults: sum.faults + faults,
                rows_lost: sum.rows_lost + accounts.iter().map(|account| account.missing).sum::<usize>(),
                rows_twice: sum.rows_twice + accounts.iter().map(|account| account.too_many).sum::<usize>(),
            }
        })
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { faults, rows_lost, rows_twice } = self;
        let [faults, lost, twice] =
            [(faults, "fault"), (rows_lost, "row"), (rows_twice, "row")].map(|(count, noun)| counted(*count, noun));
        write!(f, "{faults} injected, {lost} lost, {twice} twice")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::AccountBalance;

    #[test]
    fn faults_and_rows_of_all_accounts_add_up() {
        let account = |missing, too_many| AccountBalance { missing, too_many, ..AccountBalance::default() };
        let ledger = Balance { accounts: vec![account(1, 0), account(2, 1)], ..Balance::default() };
        let proof = Proof::of([(7, Some(&ledger)), (1, None)].into_iter());
        assert_eq!(proof.to_string(), "8 faults injected, 3 rows lost, 1 row twice");
        assert_eq!(Proof::of([(1, None)].into_iter()).to_string(), "1 fault injected, 0 rows lost, 0 rows twice");
    }
}
