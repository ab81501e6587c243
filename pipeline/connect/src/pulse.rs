//! Whether the loop of a task goes on, and where it stands if it does not.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A place in a task's loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::FromRepr)]
#[repr(u8)]
pub(crate) enum LoopPlace {
    #[strum(serialize = "creating its consumer and its sink")]
    Starting,
    #[strum(serialize = "serving its consumer's events")]
    Polling,
    #[strum(serialize = "putting records into its sink")]
    Putting,
    #[strum(serialize = "looking at its flushes")]
    Flushing,
    #[strum(serialize = "committing an offset")]
    Committing,
    #[strum(serialize = "leaving its group")]
    Leaving,
}

/// Written by the task's thread and read by those who ask for its health. Both cost one atomic operation.
#[derive(Debug)]
pub struct Pulse {
    began: Instant,
    /// The milliseconds from `began` to the last turn of the loop.
    turned: AtomicU64,
    place: AtomicU8,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { began: Instant::now(), turned: AtomicU64::new(0), place: AtomicU8::new(LoopPlace::Starting as u8) }
    }
}

impl Pulse {
    /// Notes that the loop has begun another turn.
    pub(crate) fn turn(&self) {
        self.turned.store(self.now(), Ordering::Relaxed);
    }

    /// Notes where the loop is.
    pub(crate) fn stands_at(&self, place: LoopPlace) {
        self.place.store(place as u8, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// If the loop has not turned for longer than `limit`, says for how long and where it stands.
    pub fn stalled(&self, limit: Duration) -> Option<String> {
        let since = Duration::from_millis(self.now().saturating_sub(self.turned.load(Ordering::Relaxed)));
        let place = LoopPlace::from_repr(self.place.load(Ordering::Relaxed)).unwrap_or(LoopPlace::Starting);
        (since > limit).then(|| format!("has not turned for {} s: it stands at {place}", since.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_does_not_turn_says_where_it_stands() {
        let began = Instant::now().checked_sub(Duration::from_secs(70)).expect("a clock that began before that");
        let pulse = Pulse { began, ..Pulse::default() };
        pulse.stands_at(LoopPlace::Committing);
        let stalled = pulse.stalled(Duration::from_mins(1));
        assert_eq!(stalled.as_deref(), Some("has not turned for 70 s: it stands at committing an offset"));
        assert_eq!(pulse.stalled(Duration::from_secs(80)), None);
        pulse.turn();
        assert_eq!(pulse.stalled(Duration::from_mins(1)), None);
    }
}
