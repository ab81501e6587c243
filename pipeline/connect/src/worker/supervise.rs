//! A task's life: it runs, and after a failure whose cause can be repaired outside of the worker it restarts by itself,
//! with growing pauses.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info};

use crate::metrics;
use crate::status::{State, TaskStatus};
use crate::task::{Recovery, TaskError, TaskSpec, Wanted};

/// Runs a task until it was told to stop and has stopped, or has failed for good, and keeps its status. After a failure
/// whose cause can be repaired outside of the worker, the task restarts by itself: from the committed offsets, as a new
/// member of its group.
pub(super) fn supervise(spec: &TaskSpec, run: fn(TaskSpec) -> Result<(), TaskError>, longest: Duration) {
    let (name, task, status) = (spec.connector.name.as_str(), spec.task, &*spec.status);
    let mut orders = spec.orders.clone();
    let mut restarts = Restarts::new(longest);
    loop {
        status.pulse().begin_pass();
        let began = Instant::now();
        let (trace, reason) = match catch_unwind(AssertUnwindSafe(|| run(spec.clone()))) {
            Ok(Ok(())) => {
                info!(connector = name, task, "the task has ended");
                return status.set(State::Unassigned);
            }
            Ok(Err(error)) => match error.recovery() {
                Recovery::Restart(reason) => (error.to_string(), reason),
                Recovery::Stop => return fail(status, name, task, error.to_string()),
            },
            Err(panic) => (
                format!(
                    "the task panicked, which is a defect of this program: {}; report it with the log",
                    text(&*panic)
                ),
                "panic",
            ),
        };
        // A task that fails while it stops is not started again.
        if orders.wanted() == Wanted::Stopped {
            return fail(status, name, task, trace);
        }
        let pause = restarts.pause(began.elapsed());
        let number = restarts.number;
        error!(
            connector = name,
            task,
            reason,
            restart = number,
            pause_ms = pause.as_millis(),
            "the task failed and restarts by itself: {trace}"
        );
        metrics::task_restart(name, task, reason);
        let waiting = format!("{trace} (restart {number} by itself after {} s)", pause.as_secs_f64());
        status.set(State::Restarting(waiting));
        let stopped = spec.runtime.block_on(async { tokio::time::timeout(pause, orders.stopped()).await.is_ok() });
        if stopped {
            // The failure was logged already.
            return status.set(State::Failed(trace));
        }
        status.set(State::Running);
        info!(connector = name, task, restart = number, "the task restarts");
    }
}

/// How often a task has restarted, and how long it waits before the next time: a second at first, and then twice as
/// long each time.
struct Restarts {
    longest: Duration,
    number: u32,
}

impl Restarts {
    const FIRST: Duration = Duration::from_secs(1);

    fn new(longest: Duration) -> Self {
        Self { longest, number: 0 }
    }

    /// How long to wait after a run of this length. A run that was longer than the longest pause counts as a good one,
    /// after which the pauses begin with the shortest again.
    fn pause(&mut self, ran: Duration) -> Duration {
        if ran > self.longest {
            self.number = 0;
        }
        self.number += 1;
        Self::FIRST.saturating_mul(1 << (self.number - 1).min(30)).min(self.longest)
    }
}

/// Notes and logs that a task has failed for good.
pub(super) fn fail(status: &TaskStatus, name: &str, task: u32, trace: String) {
    error!(connector = name, task, "the task failed: {trace}");
    status.set(State::Failed(trace));
}

/// The message of a panic.
fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_a_good_run_begins_them_anew() {
        let mut restarts = Restarts::new(Duration::from_mins(1));
        let pauses: Vec<u64> = (0..8).map(|_| restarts.pause(Duration::from_secs(59)).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(restarts.pause(Duration::from_secs(61)), Duration::from_secs(1));
        let mut quick = Restarts::new(Duration::from_millis(20));
        assert_eq!(quick.pause(Duration::ZERO), Duration::from_millis(20));
    }
}
