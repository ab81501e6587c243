//! The clock of a run: when a moment of the fleet's time is due.

use std::thread;
use std::time::{Duration, Instant};

/// How often progress is told.
pub(crate) const TELL: Duration = Duration::from_secs(5);
/// How long a run sleeps at most before it asks whether it has to stop.
const NAP: Duration = Duration::from_millis(100);

/// How the fleet's time passes.
#[derive(Debug)]
pub(crate) struct Pace {
    /// When it began.
    pub begin: Instant,
    /// The fleet's time then, in milliseconds since the Unix epoch.
    from: i64,
    /// How many of its seconds pass in one; `None` is as many as possible.
    speed: Option<f64>,
}

impl Pace {
    pub(crate) fn begin(from: i64, speed: Option<f64>) -> Self {
        Self { begin: Instant::now(), from, speed }
    }

    /// The fleet's time now; `None` if it passes as fast as possible.
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds of some years")]
    pub(crate) fn now(&self) -> Option<i64> {
        self.speed.map(|speed| self.from.saturating_add((self.begin.elapsed().as_secs_f64() * speed * 1000.0) as i64))
    }

    /// Waits until a moment of the fleet's time is due, and says by how much it is later. `None` if the run has to stop.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of some years")]
    pub(crate) fn wait(&self, millis: i64, stops: &dyn Fn() -> bool) -> Option<Duration> {
        let after = (millis - self.from).max(0) as f64 / 1000.0;
        let due = self.speed.and_then(|speed| {
            let after = Duration::try_from_secs_f64(after / speed).unwrap_or(Duration::MAX);
            self.begin.checked_add(after).or_else(|| self.begin.checked_add(Duration::from_hours(1 << 20)))
        });
        loop {
            if stops() {
                return None;
            }
            let left = due.map_or(Duration::ZERO, |due| due.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Some(due.map_or(Duration::ZERO, |due| due.elapsed()));
            }
            thread::sleep(left.min(NAP));
        }
    }
}
