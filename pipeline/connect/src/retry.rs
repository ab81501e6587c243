//! Retries of calls to the outside: `errors.retry.timeout` and `errors.retry.delay.max.ms`, counted by reason, the first of each logged.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Display;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use crate::{Config, metrics};

/// The first wait; the next ones are twice the one before. One round trip to a service of the same region, and some.
const DELAY_MIN: Duration = Duration::from_millis(50);
/// How often a retry that goes on is logged again.
const LOG_INTERVAL: Duration = Duration::from_mins(1);
/// How many operations are remembered for that. More are forgotten, and logged as new, instead of growing without bound.
const LOG_OPERATIONS: usize = 1024;

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
///
/// Every retry is counted; the first of an operation and a reason is logged, and again each minute with their number.
#[derive(Debug, Clone)]
pub struct Retry {
    /// `errors.retry.timeout`: `None` is without end (-1), zero is no retry.
    pub timeout: Option<Duration>,
    /// `errors.retry.delay.max.ms`.
    pub delay_max: Duration,
    connector: Arc<str>,
    task: u32,
    log: Arc<Mutex<Log>>,
}

impl Retry {
    /// Retries of one task; `timeout` as `None` is without end.
    pub fn new(connector: &str, task: u32, timeout: Option<Duration>, delay_max: Duration) -> Self {
        Self { timeout, delay_max, connector: connector.into(), task, log: Arc::default() }
    }

    /// Retries of one task as its connector's [`COMMON`](crate::config::common::COMMON) keys say.
    pub fn configured(config: &Config, task: u32) -> Self {
        let millis = |key| config.int(key).and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
        let delay_max = millis("errors.retry.delay.max.ms").unwrap_or(DELAY_MIN);
        Self::new(config.name(), task, millis("errors.retry.timeout"), delay_max)
    }

    /// Calls `call` until it succeeds, its error is permanent, or the time is up; then gives the last error.
    /// `what` names the operation and its target for the log.
    pub async fn run<T, E: Display, F: Future<Output = Result<T, E>>>(
        &self,
        what: impl Display,
        verdict: impl Fn(&E) -> Verdict,
        mut call: impl FnMut() -> F,
    ) -> Result<T, E> {
        let started = Instant::now();
        let mut attempt = 0;
        loop {
            let error = match call().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            // How long the wait may be: the last try is made when the time is up, not before.
            let (reason, left) = match verdict(&error) {
                Verdict::Permanent => return Err(error),
                Verdict::Throttled(reason) => (reason, Duration::MAX),
                Verdict::Transient(reason) => {
                    let left = self.timeout.map_or(Duration::MAX, |timeout| timeout.saturating_sub(started.elapsed()));
                    if left.is_zero() {
                        return Err(error);
                    }
                    (reason, left)
                }
            };
            let delay = self.delay(attempt).min(left);
            attempt += 1;
            self.report(&what, reason, &error, delay);
            tokio::time::sleep(delay).await;
        }
    }

    /// A random part of 50 ms · 2^attempt (at most `delay_max`), so that tasks that failed together do not come back together.
    fn delay(&self, attempt: u32) -> Duration {
        let longest = DELAY_MIN.saturating_mul(1 << attempt.min(30)).min(self.delay_max);
        let millis = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(fastrand::u64(1..=millis.max(1)))
    }

    fn report(&self, what: &impl Display, reason: &'static str, error: &impl Display, delay: Duration) {
        metrics::retry(&self.connector, self.task, reason);
        let retries = {
            // A panic of another holder leaves at most a count that is one short.
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            log.note(what.to_string(), reason, Instant::now())
        };
        if let Some(retries) = retries {
            warn!(
                connector = %self.connector,
                task = self.task,
                reason,
                retries,
                delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
                "{what}: {error}; trying again"
            );
        }
    }
}

/// Which operations are being retried, and when that was said last.
#[derive(Debug, Default)]
struct Log {
    seen: HashMap<(String, &'static str), (Instant, u64)>,
}

impl Log {
    /// How many retries there were since the last line, this one included, if a line is due.
    fn note(&mut self, what: String, reason: &'static str, now: Instant) -> Option<u64> {
        if self.seen.len() >= LOG_OPERATIONS {
            self.seen.retain(|_, (said, _)| now.duration_since(*said) < LOG_INTERVAL);
            if self.seen.len() >= LOG_OPERATIONS {
                self.seen.clear();
            }
        }
        match self.seen.entry((what, reason)) {
            Entry::Vacant(new) => {
                new.insert((now, 0));
                Some(1)
            }
            Entry::Occupied(mut old) => {
                let (said, silent) = old.get_mut();
                *silent += 1;
                (now.duration_since(*said) >= LOG_INTERVAL).then(|| {
                    *said = now;
                    std::mem::take(silent)
                })
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn retry(timeout: Option<u64>) -> Retry {
        retry_after(timeout, 1)
    }

    /// Retries with waits of at most `delay_max` milliseconds: the time passes for real, since tokio's paused clock is a feature
    /// that would compile the whole tree a second time.
    fn retry_after(timeout: Option<u64>, delay_max: u64) -> Retry {
        Retry::new("c", 0, timeout.map(Duration::from_millis), Duration::from_millis(delay_max))
    }

    /// Runs a call that fails as `verdict` says, `failures` times and then succeeds; gives the result, the calls and the time.
    async fn run(retry: &Retry, verdict: Verdict, failures: u32) -> (Result<u32, String>, u32, Duration) {
        let calls = Cell::new(0);
        let started = Instant::now();
        let call = || {
            calls.set(calls.get() + 1);
            let calls = calls.get();
            async move { if calls > failures { Ok(calls) } else { Err(format!("failure {calls}")) } }
        };
        let result = retry.run("Put to table t", |_: &String| verdict, call).await;
        (result, calls.get(), started.elapsed())
    }

    #[tokio::test]
    async fn a_transient_error_is_tried_again_until_the_time_is_up_and_no_longer() {
        let (result, calls, took) = run(&retry_after(Some(100), 1000), Verdict::Transient("timeout"), u32::MAX).await;
        assert_eq!(result.unwrap_err(), format!("failure {calls}"));
        // The last wait ends when the time is up, and then there is one more try.
        assert!(calls >= 2 && took >= Duration::from_millis(100), "{calls} calls in {took:?}");
    }

    #[tokio::test]
    async fn without_a_timeout_nothing_is_tried_again() {
        let (result, calls, _) = run(&retry(Some(0)), Verdict::Transient("timeout"), 1).await;
        assert_eq!((result, calls), (Err("failure 1".into()), 1));
    }

    #[tokio::test]
    async fn an_endless_timeout_and_throttling_never_give_up() {
        assert_eq!(run(&retry(None), Verdict::Transient("timeout"), 200).await.0, Ok(201));
        assert_eq!(run(&retry(Some(0)), Verdict::Throttled("throttled"), 200).await.0, Ok(201));
    }

    #[tokio::test]
    async fn a_permanent_error_is_given_at_once() {
        let (result, calls, _) = run(&retry(None), Verdict::Permanent, 1).await;
        assert_eq!((result, calls), (Err("failure 1".into()), 1));
    }

    #[test]
    fn waits_grow_to_their_limit() {
        let retry = retry_after(None, 1000);
        for (attempt, longest) in [(0, 50), (1, 100), (3, 400), (5, 1000), (40, 1000)] {
            let waits = (0..200).map(|_| retry.delay(attempt).as_millis());
            let (least, most) = waits.fold((u128::MAX, 0), |(least, most), wait| (least.min(wait), most.max(wait)));
            assert!(least >= 1 && most <= longest && most > longest / 2, "{attempt}: {least} to {most} of {longest}");
        }
    }

    #[tokio::test]
    async fn every_retry_is_counted_under_its_reason() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let _guard = ::metrics::set_default_local_recorder(&recorder);
        run(&retry(None), Verdict::Throttled("throttled"), 3).await.0.unwrap();
        let text = recorder.handle().render();
        assert!(text.contains(r#"fms_retries_total{connector="c",task="0",reason="throttled"} 3"#), "{text}");
        assert!(text.contains(r#"kafka_connect_task_error_total_retries{connector="c",task="0"} 3"#), "{text}");
    }

    #[test]
    fn the_first_retry_is_logged_then_one_line_a_minute_with_the_number() {
        let mut log = Log::default();
        let start = Instant::now();
        let mut note = |what: &str, seconds| log.note(what.into(), "slow", start + Duration::from_secs(seconds));
        assert_eq!(note("a", 0), Some(1));
        assert_eq!(note("a", 1), None);
        assert_eq!(note("b", 1), Some(1));
        assert_eq!(note("a", 61), Some(2));
        assert_eq!(note("a", 62), None);
    }

    #[test]
    fn the_log_forgets_instead_of_growing() {
        let mut log = Log::default();
        let now = Instant::now();
        for operation in 0..10 * LOG_OPERATIONS {
            log.note(operation.to_string(), "slow", now);
            assert!(log.seen.len() <= LOG_OPERATIONS);
        }
    }
}
