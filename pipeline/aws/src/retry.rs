//! Retries of calls to the outside, with jittered backoff. Each retry is counted; the log has one line a minute for
//! each operation and reason.
//!
//! The retries that the AWS SDK does by itself are switched off (see [`load`](crate::load)), so that no retry is
//! hidden.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::{self, Display};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

/// The longest that the first wait may be; the limit doubles with each further attempt. 50 ms is a little more than one
/// round trip to a service of the same region.
const DELAY_MIN: Duration = Duration::from_millis(50);
/// How often an operation that is still being retried is logged again.
const LOG_INTERVAL: Duration = Duration::from_mins(1);
/// How many operations the log remembers. When there are more, it forgets the old ones and logs them as new, so that
/// its memory is bounded.
const LOG_OPERATIONS: usize = 1024;

/// What an error means for a retry of the call that returned it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The service asks for fewer calls. The call is retried without a time limit, with growing waits. The word is the
    /// `reason` label of the retry's metric.
    Throttled(&'static str),
    /// The error may pass by itself. The call is retried until the timeout. The word is the `reason` label of the
    /// retry's metric.
    Transient(&'static str),
    /// A retry would fail in the same way.
    Permanent,
}

/// How a client's calls are retried. Clones share the log's memory of what was reported.
#[derive(Clone)]
pub struct Retry {
    client: Arc<str>,
    timeout: Option<Duration>,
    delay_max: Duration,
    count: Arc<dyn Fn(&'static str) + Send + Sync>,
    log: Arc<Mutex<Log>>,
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, timeout, delay_max, .. } = self;
        let mut debug = f.debug_struct("Retry");
        debug.field("client", client).field("timeout", timeout).field("delay_max", delay_max).finish_non_exhaustive()
    }
}

impl Retry {
    /// Retries transient errors until `timeout` after the call began: `None` means without end, zero means not at all.
    /// A wait is never longer than `delay_max`.
    ///
    /// `client` names who calls, for the log. `count` is called before each retry with its reason, which is the
    /// verdict's word.
    pub fn new(
        client: impl Into<Arc<str>>,
        timeout: Option<Duration>,
        delay_max: Duration,
        count: impl Fn(&'static str) + Send + Sync + 'static,
    ) -> Self {
        Self { client: client.into(), timeout, delay_max, count: Arc::new(count), log: Arc::default() }
    }

    /// Calls `call` until it succeeds, its error is permanent, or the time is up. The result is that of the last call.
    ///
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
            // The wait ends when the time is up at the latest, so that the last attempt is made then and not before.
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

    /// A random part of 50 ms · 2^attempt, which is at most `delay_max`: tasks that failed together do not retry
    /// together.
    fn delay(&self, attempt: u32) -> Duration {
        let longest = DELAY_MIN.saturating_mul(1 << attempt.min(30)).min(self.delay_max);
        let millis = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(fastrand::u64(1..=millis.max(1)))
    }

    fn report(&self, what: &impl Display, reason: &'static str, error: &impl Display, delay: Duration) {
        (self.count)(reason);
        let retries = {
            // A thread that panicked while it held the lock has left a count that is one too low at most.
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            log.note(what.to_string(), reason, Instant::now())
        };
        if let Some(retries) = retries {
            warn!(
                client = &*self.client,
                reason,
                retries,
                delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
                "{what} failed and is retried: {error}"
            );
        }
    }
}

/// Which operations are being retried, when each was logged last, and how many retries there were since.
#[derive(Debug, Default)]
struct Log {
    seen: HashMap<(String, &'static str), (Instant, u64)>,
}

impl Log {
    /// Notes a retry. If a line is due, gives the number of retries since the last line, this one included.
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
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn retry(timeout: Option<u64>) -> Retry {
        retry_after(timeout, 1)
    }

    /// Retries with waits of at most `delay_max` milliseconds. The tests really wait: tokio's paused clock is a cargo
    /// feature with which every dependency of tokio would be compiled a second time.
    fn retry_after(timeout: Option<u64>, delay_max: u64) -> Retry {
        Retry::new("test", timeout.map(Duration::from_millis), Duration::from_millis(delay_max), |_| {})
    }

    /// Runs a call that fails `failures` times with errors of this verdict and then succeeds. Gives the result, the
    /// number of calls and the time that it all took.
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
        let retries = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&retries);
        let count = move |reason| {
            assert_eq!(reason, "throttled");
            seen.fetch_add(1, Ordering::Relaxed);
        };
        let retry = Retry::new("test", None, Duration::from_millis(1), count);
        run(&retry, Verdict::Throttled("throttled"), 3).await.0.unwrap();
        assert_eq!(retries.load(Ordering::Relaxed), 3);
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
