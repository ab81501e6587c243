//! Whether the loop of a task makes progress, and what it is doing if it does not.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a task's loop is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::FromRepr)]
#[repr(u8)]
pub(crate) enum LoopStep {
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
    /// The milliseconds from `began` to the beginning of the last pass.
    last_pass: AtomicU64,
    step: AtomicU8,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { began: Instant::now(), last_pass: AtomicU64::new(0), step: AtomicU8::new(LoopStep::Starting as u8) }
    }
}

impl Pulse {
    /// Notes that the loop has begun another pass.
    pub(crate) fn begin_pass(&self) {
        self.last_pass.store(self.now(), Ordering::Relaxed);
    }

    /// Notes what the loop is doing.
    pub(crate) fn is_doing(&self, step: LoopStep) {
        self.step.store(step as u8, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// If the loop has made no progress for longer than `limit`, says for how long, and what it is doing.
    pub fn stalled(&self, limit: Duration) -> Option<String> {
        let since = Duration::from_millis(self.now().saturating_sub(self.last_pass.load(Ordering::Relaxed)));
        let step = LoopStep::from_repr(self.step.load(Ordering::Relaxed)).unwrap_or(LoopStep::Starting);
        (since > limit).then(|| format!("the task has made no progress for {} s: it is {step}", since.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_without_progress_says_what_it_is_doing() {
        let began = Instant::now().checked_sub(Duration::from_secs(70)).expect("a clock that began before that");
        let pulse = Pulse { began, ..Pulse::default() };
        pulse.is_doing(LoopStep::Committing);
        let stalled = pulse.stalled(Duration::from_mins(1));
        assert_eq!(stalled.as_deref(), Some("the task has made no progress for 70 s: it is committing an offset"));
        assert_eq!(pulse.stalled(Duration::from_secs(80)), None);
        pulse.begin_pass();
        assert_eq!(pulse.stalled(Duration::from_mins(1)), None);
    }
}
