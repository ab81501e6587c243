//! `buffer.memory`: one budget of bytes for all that a worker holds between Kafka and its sinks, and the part of each
//! task in it.
//!
//! Half of the budget is divided among the tasks, and each may count on its share whatever the others hold. The other
//! half is lent to tasks that need more. So the whole is exceeded by no more than what a task takes between two checks,
//! and a sink whose service is down, and whose tasks are therefore full, does not hold up the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

/// A task's part of the worker's budget. Reserving never blocks and never fails; over the limit, the runtime flushes
/// and takes no more records.
#[derive(Debug, Clone)]
pub struct Budget {
    whole: Arc<Whole>,
    /// The bytes that belong to the task alone.
    share: usize,
    /// Bytes that the task has reserved.
    used: Arc<AtomicUsize>,
}

/// What all tasks share.
#[derive(Debug)]
struct Whole {
    used: AtomicUsize,
    /// The bytes that may be lent to tasks beyond their shares.
    loan: usize,
    /// The bytes that are lent. It is negative for a moment if one thread has given back what another is just adding.
    lent: AtomicIsize,
}

impl Whole {
    fn lent(&self) -> usize {
        usize::try_from(self.lent.load(Ordering::Relaxed)).unwrap_or(0)
    }
}

impl Budget {
    /// The budget of a task that has no others beside it.
    pub fn new(limit: usize) -> Self {
        Self::divided(limit, 1)
    }

    /// The part of one of `tasks` tasks in a budget of `limit` bytes. [`Self::another`] gives the parts of the others.
    pub fn divided(limit: usize, tasks: usize) -> Self {
        let share = limit / 2 / tasks.max(1);
        let whole = Whole { used: AtomicUsize::new(0), loan: limit - share * tasks.max(1), lent: AtomicIsize::new(0) };
        Self { whole: Arc::new(whole), share, used: Arc::default() }
    }

    /// The part of another task of the same worker.
    #[must_use]
    pub fn another(&self) -> Self {
        Self { whole: Arc::clone(&self.whole), share: self.share, used: Arc::default() }
    }

    /// An empty reservation, which can grow.
    pub fn reservation(&self) -> Reservation {
        Reservation { budget: self.clone(), bytes: 0 }
    }

    /// The bytes that all tasks of the worker have reserved.
    pub fn used(&self) -> usize {
        self.whole.used.load(Ordering::Relaxed)
    }

    fn own(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether the task holds more than its share while more is lent than may be. It has to give back before it takes
    /// more.
    pub fn is_over(&self) -> bool {
        self.own() > self.share && self.whole.lent() > self.whole.loan
    }

    /// Whether the task may reserve this many bytes more.
    pub fn has_room(&self, bytes: usize) -> bool {
        let own = self.own();
        let loan = own.saturating_add(bytes).saturating_sub(own.max(self.share));
        loan == 0 || self.whole.lent().saturating_add(loan) <= self.whole.loan
    }

    /// Whether a task that was over may take records again. It has to be within its share, so that it does not stop and
    /// go on all the time.
    pub fn is_relieved(&self) -> bool {
        self.own() <= self.share
    }

    fn take(&self, bytes: usize) {
        self.whole.used.fetch_add(bytes, Ordering::Relaxed);
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let loan = self.lent_at(before + bytes) - self.lent_at(before);
        self.whole.lent.fetch_add(loan.cast_signed(), Ordering::Relaxed);
    }

    fn give_back(&self, bytes: usize) {
        self.whole.used.fetch_sub(bytes, Ordering::Relaxed);
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        let loan = self.lent_at(before) - self.lent_at(before - bytes);
        self.whole.lent.fetch_sub(loan.cast_signed(), Ordering::Relaxed);
    }

    /// The bytes that are lent to a task that holds this many.
    fn lent_at(&self, used: usize) -> usize {
        used.saturating_sub(self.share)
    }
}

/// Reserved bytes, which are given back when this is dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    bytes: usize,
}

impl Reservation {
    /// Makes this a reservation of `bytes` bytes.
    pub fn resize(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.budget.take(bytes - self.bytes);
        } else if bytes < self.bytes {
            self.budget.give_back(self.bytes - bytes);
        }
        self.bytes = bytes;
    }

    /// Reserves `bytes` bytes more.
    pub fn grow(&mut self, bytes: usize) {
        self.resize(self.bytes + bytes);
    }

    /// The bytes that are reserved.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holding(budget: &Budget, bytes: usize) -> Reservation {
        let mut reservation = budget.reservation();
        reservation.resize(bytes);
        reservation
    }

    /// Alone, a task has all of it, and takes records again under half.
    #[test]
    fn one_task_has_the_whole() {
        let budget = Budget::new(100);
        let mut held = holding(&budget, 100);
        assert!(!budget.is_over() && !budget.has_room(1) && !budget.is_relieved());
        held.grow(1);
        assert!(budget.is_over());
        held.resize(50);
        assert!(budget.is_relieved() && budget.has_room(50));
    }

    /// A task that holds little takes records while another is over: an outage of one sink does not stop the other.
    #[test]
    fn a_task_within_its_share_is_never_held_up() {
        let greedy = Budget::divided(100, 2);
        let modest = greedy.another();
        let full = holding(&greedy, 76);
        assert!(greedy.is_over());
        assert!(!modest.is_over() && modest.has_room(25) && !modest.has_room(26));
        let own = holding(&modest, 25);
        assert!(!modest.is_over() && modest.is_relieved());
        assert_eq!(greedy.used(), 101);
        drop(full);
        let more = holding(&modest, 50);
        assert!(!modest.is_over(), "it borrows what is free");
        drop((own, more));
        assert_eq!(modest.used(), 0);
    }

    proptest! {
        /// Tasks that take only what they have room for never hold more than the whole, and each always has room for
        /// its share.
        #[test]
        fn the_whole_holds(tasks in 1_usize..6, steps in proptest::collection::vec((0_usize..6, 0_usize..60), 1..80)) {
            const LIMIT: usize = 120;
            let first = Budget::divided(LIMIT, tasks);
            let budgets: Vec<Budget> =
                (0..tasks).map(|i| if i == 0 { first.clone() } else { first.another() }).collect();
            let mut held: Vec<Reservation> = budgets.iter().map(Budget::reservation).collect();
            for (task, bytes) in steps {
                let (budget, held) = (&budgets[task % tasks], &mut held[task % tasks]);
                if bytes <= held.bytes() || budget.has_room(bytes - held.bytes()) {
                    held.resize(bytes);
                }
                prop_assert!(first.used() <= LIMIT);
                for budget in &budgets {
                    prop_assert!(budget.has_room(budget.share.saturating_sub(budget.own())));
                    prop_assert!(!budget.is_over());
                }
            }
            held.clear();
            prop_assert_eq!((first.used(), first.whole.lent()), (0, 0));
        }
    }
}
