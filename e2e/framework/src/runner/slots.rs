//! How many runs there are at once. Runs mostly wait: for a process to start, a session to end, a service that is slow. So
//! there are more of them as long as processors idle, and fewer again when none does.

use std::num::NonZeroUsize;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How many runs there are for each processor, at first and at least, and at most.
const FOR_EACH_CORE: (usize, usize) = (4, 20);

/// How often it is looked whether processors idle.
const LOOK: Duration = Duration::from_millis(200);

/// The share of their time, in percent, of which processors have to idle for one run more, and below which there is one less.
const IDLE: (u64, u64) = (12, 3);

/// The places of runs that take place at once.
pub(super) struct Slots {
    state: Mutex<State>,
    changed: Condvar,
    least: usize,
    most: usize,
}

struct State {
    taken: usize,
    limit: usize,
    /// Whether no further run will come.
    is_over: bool,
}

/// Says by its end that no further run comes.
pub(super) struct End<'a>(&'a Slots);

/// The place of one run, which is free again when this value is dropped.
pub(super) struct Slot<'a>(&'a Slots);

impl Slots {
    /// As many as `jobs` says; otherwise as many as the processors of this machine can serve.
    pub(super) fn new(jobs: Option<NonZeroUsize>) -> Self {
        let cores = thread::available_parallelism().map_or(2, NonZeroUsize::get);
        let (least, most) =
            jobs.map_or((cores * FOR_EACH_CORE.0, cores * FOR_EACH_CORE.1), |jobs| (jobs.get(), jobs.get()));
        let state = State { taken: 0, limit: least, is_over: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), least, most }
    }

    /// The most runs that there may be at once.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Waits until there is a free place, and takes it.
    pub(super) fn take(&self) -> Slot<'_> {
        let is_full = |state: &mut State| state.taken >= state.limit;
        let mut state = self.changed.wait_while(self.state(), is_full).unwrap_or_else(PoisonError::into_inner);
        state.taken += 1;
        Slot(self)
    }

    /// Adapts the number of places to what processors have left, until a value of [`Self::end`] is dropped.
    pub(super) fn adapt(&self) {
        if self.least == self.most {
            return;
        }
        let Some(mut before) = times() else { return };
        let mut state = self.state();
        while !state.is_over {
            state = self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
            let Some(now) = times() else { return };
            let (all, idle) = (now.0.saturating_sub(before.0), now.1.saturating_sub(before.1));
            // The system counts in hundredths of a second, and the wait ends early whenever a run has ended.
            if all >= 20 {
                before = now;
                state.limit = self.next(&state, 100 * idle / all);
                self.changed.notify_all();
            }
        }
    }

    /// The number of places after processors have idled for this share of their time. One more is of use only where all are
    /// taken.
    fn next(&self, state: &State, idle: u64) -> usize {
        if idle > IDLE.0 && state.taken >= state.limit {
            (state.limit + 1).min(self.most)
        } else if idle < IDLE.1 {
            (state.limit - 1).max(self.least)
        } else {
            state.limit
        }
    }

    /// Ends [`Self::adapt`] when it is dropped, which is when no further run comes.
    pub(super) fn end(&self) -> End<'_> {
        End(self)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.state().is_over = true;
        self.0.changed.notify_all();
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.state().taken -= 1;
        self.0.changed.notify_all();
    }
}

/// The time that all processors together have had, and that of it in which they idled, since the system started. It is
/// `None` where the system does not tell.
fn times() -> Option<(u64, u64)> {
    parse(&std::fs::read_to_string("/proc/stat").ok()?)
}

/// Reads the first line of `/proc/stat`: `cpu user nice system idle iowait irq softirq steal guest guest_nice`.
fn parse(stat: &str) -> Option<(u64, u64)> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?;
    // What guests have had is part of the time of users.
    let times: Vec<u64> =
        fields.split_ascii_whitespace().take(8).map(|time| time.parse().ok()).collect::<Option<_>>()?;
    Some((times.iter().sum(), times.get(3)? + times.get(4)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(least: usize, most: usize) -> Slots {
        let state = State { taken: least, limit: least, is_over: false };
        Slots { state: Mutex::new(state), changed: Condvar::new(), least, most }
    }

    #[test]
    fn there_are_more_runs_while_processors_idle_and_fewer_when_none_does() {
        let slots = slots(2, 3);
        let next = |taken, limit, idle| slots.next(&State { taken, limit, is_over: false }, idle);
        assert_eq!([next(2, 2, 50), next(3, 3, 50), next(1, 2, 50)], [3, 3, 2], "up to the most, if all are taken");
        assert_eq!([next(3, 3, 0), next(2, 2, 0), next(3, 3, 8)], [2, 2, 3], "down to the least");
    }

    #[test]
    fn a_place_is_free_again_when_its_run_has_ended() {
        let slots = Slots::new(NonZeroUsize::new(1));
        let slot = slots.take();
        thread::scope(|scope| {
            let waits = scope.spawn(|| drop(slots.take()));
            assert!(!waits.is_finished());
            drop(slot);
        });
        assert_eq!(slots.state().taken, 0);
    }

    #[test]
    fn the_idle_time_is_that_of_all_processors() {
        let stat = "cpu  10 1 5 80 4 0 0 0 3 0\ncpu0 5 0 2 40 2 0 0 0 0 0\n";
        assert_eq!(parse(stat), Some((100, 84)));
        assert_eq!(parse("intr 1"), None);
    }
}
