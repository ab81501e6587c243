//! What the subject called: every AWS request that passed the recording proxy, in order, and the faults to be injected.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Status of a call whose client went away before it had the whole answer, as a killed subject does. HTTP has none; nginx logs this one.
/// The service may or may not have done what was asked, but it is no longer doing it.
pub const CLIENT_GONE: u16 = 499;

/// One call of the subject.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its number, from 1, in the order in which requests arrived.
    pub number: usize,
    /// `dynamodb`, `s3` or `sqs`; `other` for a service that no stack has.
    pub service: &'static str,
    /// `BatchWriteItem`, `PutObject`, `CompleteMultipartUpload`, …
    pub operation: String,
    /// Table (several are joined by commas), or bucket and key joined by a slash.
    pub target: String,
    /// When it arrived.
    pub started: Instant,
    /// When its answer was sent, and its HTTP status or [`CLIENT_GONE`]; `None` while it is in flight.
    pub finished: Option<(Instant, u16)>,
    /// Bytes of the request's body that have arrived so far.
    pub request_bytes: usize,
}

impl Call {
    /// Whether it changes what a test observes (`Put…`, `BatchWrite…`, `Update…`, `Delete…`, multipart calls).
    pub fn is_write(&self) -> bool {
        const READS: [&str; 9] =
            ["Get", "Head", "List", "Describe", "Query", "Scan", "BatchGet", "TransactGet", "Select"];
        !READS.iter().any(|read| self.operation.starts_with(read))
    }
}

/// What a hold does when its call is there: typically SIGKILL to the subject. It may block.
pub type Hook = Box<dyn FnOnce() + Send>;

/// At which point of a call a [`Fault::Hold`] takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The request has arrived whole; the service never sees it.
    Before,
    /// The service has done its work and answered; the client never sees the answer.
    After,
}

/// Which of the calls that a fault concerns it hits, counted from when it was injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hits {
    /// The first this many.
    First(usize),
    /// Every n-th; with 1 or 0 every one, so that a client that retries for ever never gets through.
    Every(usize),
}

impl Hits {
    /// Whether the `count`-th call (from 1) is hit.
    fn includes(self, count: usize) -> bool {
        match self {
            Self::First(calls) => count <= calls,
            Self::Every(nth) => count.is_multiple_of(nth.max(1)),
        }
    }
}

/// A way in which AWS, or the subject's own death, disturbs a run.
pub enum Fault {
    /// Writes that are hit are refused and do nothing: `ProvisionedThroughputExceededException` from DynamoDB, 503 `SlowDown` from S3.
    Throttle(Hits),
    /// Of each `BatchWriteItem` that is hit, the last item is not written but returned in `UnprocessedItems`. The request that is passed on is
    /// shorter than the one that was signed; the embedded DynamoDB and DynamoDB Local do not mind.
    Unprocessed(Hits),
    /// The call with this number gets as far as `moment`, then `hook` runs, and the call is never answered: it is in flight until its
    /// client leaves.
    Hold {
        /// Number of the call, see [`Call::number`].
        call: usize,
        /// How far it gets.
        moment: Moment,
        /// What happens then.
        hook: Hook,
    },
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Throttle(hits) => f.debug_tuple("Throttle").field(hits).finish(),
            Self::Unprocessed(hits) => f.debug_tuple("Unprocessed").field(hits).finish(),
            Self::Hold { call, moment, .. } => {
                f.debug_struct("Hold").field("call", call).field("moment", moment).finish_non_exhaustive()
            }
        }
    }
}

/// What the proxy is to do with one call.
pub(crate) enum Plan {
    /// Pass it on.
    Forward,
    /// Refuse it.
    Throttle,
    /// Pass it on without its last item.
    Unprocessed,
    /// See [`Fault::Hold`].
    Hold(Moment, Hook),
}

/// The timeline of one test's calls, shared with the proxy. Clones are the same timeline.
#[derive(Clone, Default)]
pub struct Calls {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    /// Each with the number of calls that it has concerned so far.
    throttles: Vec<(Hits, usize)>,
    unprocessed: Vec<(Hits, usize)>,
    holds: BTreeMap<usize, (Moment, Hook)>,
}

impl State {
    /// The faults' decision about the newest call. A hold wins over a refusal, a refusal over a shortened batch; all of them count the call.
    fn plan(&mut self) -> Plan {
        fn hit(faults: &mut [(Hits, usize)]) -> bool {
            faults.iter_mut().fold(false, |hit, (hits, count)| {
                *count += 1;
                hits.includes(*count) || hit
            })
        }
        let Some(call) = self.calls.last() else { return Plan::Forward };
        let throttled = call.is_write() && hit(&mut self.throttles);
        let unprocessed = call.operation == "BatchWriteItem" && hit(&mut self.unprocessed);
        match self.holds.remove(&call.number) {
            Some((moment, hook)) => Plan::Hold(moment, hook),
            None if throttled => Plan::Throttle,
            None if unprocessed => Plan::Unprocessed,
            None => Plan::Forward,
        }
    }
}

impl Calls {
    /// How many calls have arrived and are not answered.
    pub fn in_flight(&self) -> usize {
        self.state().calls.iter().filter(|call| call.finished.is_none()).count()
    }

    /// All calls so far, by number.
    pub fn snapshot(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// Waits until `condition` holds for the calls so far, looking again whenever one arrives, grows or ends; false if it does not until `deadline`.
    pub fn wait_until(&self, deadline: Instant, mut condition: impl FnMut(&[Call]) -> bool) -> bool {
        let mut state = self.state();
        loop {
            if condition(&state.calls) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Disturbs calls from the next one on.
    pub fn inject(&self, fault: Fault) {
        let mut state = self.state();
        match fault {
            Fault::Throttle(hits) => state.throttles.push((hits, 0)),
            Fault::Unprocessed(hits) => state.unprocessed.push((hits, 0)),
            Fault::Hold { call, moment, hook } => {
                state.holds.insert(call, (moment, hook));
            }
        }
    }

    /// Records a call that has arrived, and says what is to become of it.
    pub(crate) fn begin(&self, service: &'static str, operation: String, target: String) -> (InFlight, Plan) {
        let mut state = self.state();
        let number = state.calls.len() + 1;
        state.calls.push(Call {
            number,
            service,
            operation,
            target,
            started: Instant::now(),
            finished: None,
            request_bytes: 0,
        });
        let plan = state.plan();
        drop(state);
        self.shared.changed.notify_all();
        (InFlight { calls: self.clone(), number, ended: false }, plan)
    }

    /// Counts bytes of a request's body.
    pub(crate) fn add_request_bytes(&self, number: usize, bytes: usize) {
        self.state().calls[number - 1].request_bytes += bytes;
        self.shared.changed.notify_all();
    }

    fn end(&self, number: usize, status: u16) {
        self.state().calls[number - 1].finished = Some((Instant::now(), status));
        self.shared.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Calls").field(&self.snapshot()).finish()
    }
}

/// A call that is not answered yet. Dropped without an answer, its client has gone.
#[derive(Debug)]
pub(crate) struct InFlight {
    calls: Calls,
    number: usize,
    ended: bool,
}

impl InFlight {
    /// Its number.
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// Its answer has been sent.
    pub(crate) fn finish(mut self, status: u16) {
        self.ended = true;
        self.calls.end(self.number, status);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.ended {
            self.calls.end(self.number, CLIENT_GONE);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn begin(calls: &Calls, operation: &str) -> (InFlight, Plan) {
        calls.begin("dynamodb", operation.into(), "rows".into())
    }

    #[test]
    fn a_call_is_in_flight_until_it_is_answered_or_its_client_has_gone() {
        let calls = Calls::default();
        let (first, _) = begin(&calls, "PutItem");
        let (second, _) = begin(&calls, "PutItem");
        assert_eq!(calls.in_flight(), 2);
        second.finish(200);
        drop(first);
        assert_eq!(calls.in_flight(), 0);
        let ends: Vec<_> = calls.snapshot().iter().map(|call| call.finished.map(|(_, status)| status)).collect();
        assert_eq!(ends, [Some(CLIENT_GONE), Some(200)]);
    }

    #[test]
    fn throttling_counts_writes_only_and_retries_as_calls_of_their_own() {
        let calls = Calls::default();
        calls.inject(Fault::Throttle(Hits::First(2)));
        let throttled: Vec<_> = ["PutItem", "GetItem", "BatchWriteItem", "PutObject"]
            .iter()
            .map(|operation| matches!(begin(&calls, operation).1, Plan::Throttle))
            .collect();
        assert_eq!(throttled, [true, false, true, false]);

        let calls = Calls::default();
        calls.inject(Fault::Throttle(Hits::Every(3)));
        let throttled = (1..=6).filter(|_| matches!(begin(&calls, "UploadPart").1, Plan::Throttle)).count();
        assert_eq!(throttled, 2);
    }

    #[test]
    fn a_hold_hits_its_call_once_and_wins_over_a_refusal() {
        let calls = Calls::default();
        calls.inject(Fault::Throttle(Hits::Every(1)));
        calls.inject(Fault::Hold { call: 2, moment: Moment::After, hook: Box::new(|| ()) });
        assert!(matches!(begin(&calls, "PutItem").1, Plan::Throttle));
        assert!(matches!(begin(&calls, "PutItem").1, Plan::Hold(Moment::After, _)));
        assert!(matches!(begin(&calls, "PutItem").1, Plan::Throttle));
    }

    #[test]
    fn waiting_ends_with_the_change_or_with_the_deadline() {
        let calls = Calls::default();
        let (call, _) = begin(&calls, "PutItem");
        let waiter = {
            let calls = calls.clone();
            thread::spawn(move || {
                calls.wait_until(Instant::now() + Duration::from_mins(1), |calls| calls[0].finished.is_some())
            })
        };
        call.finish(200);
        assert!(waiter.join().expect("the waiter does not panic"));
        assert!(!calls.wait_until(Instant::now() + Duration::from_millis(5), |calls| calls.len() > 1));
    }

    #[test]
    fn reads_are_told_from_writes() {
        let call = |operation: &str| Call {
            number: 1,
            service: "s3",
            operation: operation.into(),
            target: String::new(),
            started: Instant::now(),
            finished: None,
            request_bytes: 0,
        };
        for write in ["PutItem", "BatchWriteItem", "TransactWriteItems", "CompleteMultipartUpload", "DeleteObjects"] {
            assert!(call(write).is_write(), "{write}");
        }
        for read in ["GetItem", "BatchGetItem", "HeadBucket", "ListMultipartUploads", "Query", "DescribeTable"] {
            assert!(!call(read).is_write(), "{read}");
        }
    }
}
