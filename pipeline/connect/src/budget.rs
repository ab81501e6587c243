//! `buffer.memory`: one budget of bytes for all that a worker holds between Kafka and its sinks, and the part of each
//! task in it.
//!
//! Half of the budget is divided among the tasks that there are, and each may count on its share whatever the others
//! hold. The other half is lent to tasks that need more. So the whole is exceeded by no more than what a task takes
//! between two checks, and a sink whose service is down, and whose tasks are therefore full, does not hold up the
//! others. A task that comes or goes changes the shares of all.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};

/// The budget of a worker, of which its tasks get their parts.
#[derive(Debug, Clone)]
pub(crate) struct MemoryPool(Arc<Whole>);

impl MemoryPool {
    /// A budget of `limit` bytes, which no task has a part of yet.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Whole { used: AtomicUsize::new(0), limit: AtomicUsize::new(limit), tasks: RwLock::default() }))
    }

    /// The part of one more task. It ends with the last copy of it and the last of its reservations.
    pub fn join(&self) -> Budget {
        let used = Arc::<AtomicUsize>::default();
        self.0.tasks.write().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&used));
        Budget(Arc::new(Part { whole: Arc::clone(&self.0), used }))
    }

    /// The bytes that all tasks have reserved.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// The most that all tasks together should hold, in bytes.
    pub fn limit(&self) -> usize {
        self.0.limit.load(Ordering::Relaxed)
    }

    /// Sets that most.
    pub fn set_limit(&self, limit: usize) {
        self.0.limit.store(limit, Ordering::Relaxed);
    }
}

/// A task's part of the worker's budget. Reserving never blocks and never fails; over the limit, the runtime flushes
/// and takes no more records.
#[derive(Clone)]
pub struct Budget(Arc<Part>);

struct Part {
    whole: Arc<Whole>,
    /// Bytes that the task has reserved.
    used: Arc<AtomicUsize>,
}

impl Drop for Part {
    fn drop(&mut self) {
        let own = Arc::downgrade(&self.used);
        let mut tasks = self.whole.tasks.write().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|task| !task.ptr_eq(&own));
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("used", &self.own()).field("whole", &self.0.whole).finish()
    }
}

/// What all tasks share.
#[derive(Debug)]
struct Whole {
    used: AtomicUsize,
    limit: AtomicUsize,
    /// What each task has reserved.
    tasks: RwLock<Vec<Weak<AtomicUsize>>>,
}

impl Whole {
    /// The bytes that belong to each task alone.
    fn share(&self) -> usize {
        let tasks = self.tasks.read().unwrap_or_else(PoisonError::into_inner).len();
        self.limit.load(Ordering::Relaxed) / 2 / tasks.max(1)
    }

    /// A task's share, the bytes that are lent to tasks beyond theirs, and those that may be lent.
    fn loans(&self) -> (usize, usize, usize) {
        let tasks = self.tasks.read().unwrap_or_else(PoisonError::into_inner);
        let limit = self.limit.load(Ordering::Relaxed);
        let share = limit / 2 / tasks.len().max(1);
        let used = tasks.iter().filter_map(Weak::upgrade).map(|used| used.load(Ordering::Relaxed));
        let lent = used.fold(0_usize, |lent, used| lent.saturating_add(used.saturating_sub(share)));
        (share, lent, limit - share * tasks.len().max(1))
    }
}

impl Budget {
    /// The budget of a task that has no others beside it.
    pub fn new(limit: usize) -> Self {
        MemoryPool::new(limit).join()
    }

    /// An empty reservation, which can grow.
    pub fn reservation(&self) -> Reservation {
        Reservation { budget: self.clone(), bytes: 0 }
    }

    /// The bytes that all tasks of the worker have reserved.
    pub fn used(&self) -> usize {
        self.0.whole.used.load(Ordering::Relaxed)
    }

    fn own(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Whether the task holds more than its share while more is lent than may be. It has to give back before it takes
    /// more.
    pub fn is_over(&self) -> bool {
        if self.is_relieved() {
            return false;
        }
        let (share, lent, loan) = self.0.whole.loans();
        self.own() > share && lent > loan
    }

    /// Whether the task may reserve this many bytes more.
    pub fn has_room(&self, bytes: usize) -> bool {
        let own = self.own();
        let (share, lent, may_be_lent) = self.0.whole.loans();
        let loan = own.saturating_add(bytes).saturating_sub(own.max(share));
        loan == 0 || lent.saturating_add(loan) <= may_be_lent
    }

    /// Whether a task that was over may take records again. It has to be within its share, so that it does not stop and
    /// go on all the time.
    pub fn is_relieved(&self) -> bool {
        self.own() <= self.0.whole.share()
    }

    fn take(&self, bytes: usize) {
        self.0.whole.used.fetch_add(bytes, Ordering::Relaxed);
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: usize) {
        self.0.whole.used.fetch_sub(bytes, Ordering::Relaxed);
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
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
        let pool = MemoryPool::new(100);
        let (greedy, modest) = (pool.join(), pool.join());
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

    /// The shares follow the tasks that there are; one whose reservation outlives it still counts.
    #[test]
    fn tasks_come_and_go() {
        let pool = MemoryPool::new(100);
        let first = pool.join();
        let held = holding(&first, 50);
        assert!(first.is_relieved(), "alone, half is its share");
        let second = pool.join();
        assert!(!first.is_relieved() && first.has_room(25) && second.has_room(50));
        let late = holding(&second, 30);
        drop(second);
        assert!(!first.is_relieved(), "it still holds something");
        drop(late);
        assert!(first.is_relieved());
        pool.set_limit(40);
        assert!(first.is_over());
        drop(held);
        assert_eq!((pool.used(), pool.limit()), (0, 40));
    }

    proptest! {
        /// Tasks that take only what they have room for never hold more than the whole, and each always has room for
        /// its share.
        #[test]
        fn the_whole_holds(tasks in 1_usize..6, steps in proptest::collection::vec((0_usize..6, 0_usize..60), 1..80)) {
            const LIMIT: usize = 120;
            let pool = MemoryPool::new(LIMIT);
            let budgets: Vec<Budget> = (0..tasks).map(|_| pool.join()).collect();
            let mut held: Vec<Reservation> = budgets.iter().map(Budget::reservation).collect();
            for (task, bytes) in steps {
                let (budget, held) = (&budgets[task % tasks], &mut held[task % tasks]);
                if bytes <= held.bytes() || budget.has_room(bytes - held.bytes()) {
                    held.resize(bytes);
                }
                prop_assert!(pool.used() <= LIMIT);
                for budget in &budgets {
                    prop_assert!(budget.has_room(pool.0.share().saturating_sub(budget.own())));
                    prop_assert!(!budget.is_over());
                }
            }
            held.clear();
            prop_assert_eq!((pool.used(), pool.0.loans().1), (0, 0));
        }
    }
}
