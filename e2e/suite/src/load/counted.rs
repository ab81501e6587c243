//! The calls of a run, counted as they end, so that a run of many hours does not hold them.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use e2e::internals::{CLIENT_GONE, Call};

use super::look;
use super::report::CallFigures;

/// The operations that end with an object that can be read.
const STORES: [&str; 2] = ["PutObject", "CompleteMultipartUpload"];

/// The status by which S3 answers a conditional request for an object that is there already.
const PRECONDITION_FAILED: u16 = 412;

/// What is kept of calls.
#[derive(Default)]
pub(super) struct Counted {
    figures: BTreeMap<(String, String), CallFigures>,
    /// When each object was stored for the first time, and for the last time, by bucket and key.
    stored: HashMap<String, (Instant, Instant)>,
    /// When the last call ended that may have stored an object without an answer that says so: its client was stopped
    /// meanwhile, or the object was there already.
    may_be_stored: HashMap<String, Instant>,
}

impl Counted {
    /// Adds calls. Those of this program, and of the verification after the run, are none of the pipeline.
    pub(super) fn add(&mut self, calls: &[Call], namespace: &str) {
        for call in calls.iter().filter(|call| ![look::PROCESS, "verify"].contains(&call.process.as_str())) {
            let name = (call.service.clone(), call.operation.clone());
            let of = self.figures.entry(name).or_insert_with_key(|(service, operation)| CallFigures {
                service: service.clone(),
                operation: operation.clone(),
                calls: 0,
                throttled: 0,
                failed: 0,
                bytes: 0,
            });
            of.calls += 1;
            of.bytes += call.request_bytes as u64;
            of.throttled += u64::from(call.is_throttled);
            of.failed += u64::from(!call.is_throttled && call.finished.is_some_and(|(_, status)| status >= 400));
            self.add_object(call, namespace);
        }
    }

    fn add_object(&mut self, call: &Call, namespace: &str) {
        let Some((ended, status)) = call.finished else { return };
        if call.service != "s3" || !STORES.contains(&call.operation.as_str()) {
            return;
        }
        let target = logical(&call.target, namespace);
        match status {
            200..300 => {
                let (first, last) = self.stored.entry(target).or_insert((ended, ended));
                (*first, *last) = (ended.min(*first), ended.max(*last));
            }
            CLIENT_GONE | PRECONDITION_FAILED => {
                let last = self.may_be_stored.entry(target).or_insert(ended);
                *last = ended.max(*last);
            }
            _ => {}
        }
    }

    /// When an object that is there was stored for the first time, and for the last time, by its bucket and key.
    ///
    /// If no answer said so, it was stored at the latest when the last call ended that can have stored it or has found it.
    pub(super) fn stored(&self, name: &str) -> Option<(Instant, Instant)> {
        let unanswered = || self.may_be_stored.get(name).map(|at| (*at, *at));
        self.stored.get(name).copied().or_else(unanswered)
    }

    /// The calls of each operation.
    pub(super) fn figures(&self) -> Vec<CallFigures> {
        self.figures.values().cloned().collect()
    }
}

/// A name without the namespace, which the bucket has before its name, and a key before that of a topic in it. A stack gives
/// names without it, and the pipeline knows them with it.
pub(super) fn logical(name: &str, namespace: &str) -> String {
    name.replace(namespace, "")
}

#[cfg(test)]
mod tests {
    use e2e::internals::Effect;

    use super::*;

    #[test]
    fn names_are_told_without_the_namespace_wherever_it_is() {
        assert_eq!(logical("e2e-x-fms/raw/e2e-x-fms.vehicle.real/a", "e2e-x-"), "fms/raw/fms.vehicle.real/a");
        assert_eq!(logical("fms/raw/fms.vehicle.real/a", ""), "fms/raw/fms.vehicle.real/a");
    }

    #[test]
    fn calls_are_counted_by_operation_and_by_how_they_ended() {
        let mut counted = Counted::default();
        let put = |status, is_throttled| call("worker-1", "x-raw/a", "PutObject", status, is_throttled);
        counted.add(&[put(503, true), put(200, false), call("load", "x-raw/a", "PutObject", 200, false)], "x-");
        counted.add(&[put(500, false), put(200, false), call("worker-1", "x-raw/a", "GetObject", 200, false)], "x-");
        let [get, put] = &counted.figures()[..] else { panic!("{:?}", counted.figures()) };
        assert_eq!((get.calls, put.calls, put.throttled, put.failed, put.bytes), (1, 4, 1, 1, 40));
        let (first, last) = counted.stored("raw/a").expect("it was stored");
        assert!(first <= last && counted.stored.len() == 1);
    }

    #[test]
    fn an_object_whose_answer_nobody_waited_for_was_stored_when_it_was_found_at_the_latest() {
        let put = |key: &str, status: u16| call("worker-1", &format!("x-raw/{key}"), "PutObject", status, false);
        let mut counted = Counted::default();
        let (left, found) = (put("a", CLIENT_GONE), put("a", PRECONDITION_FAILED));
        let ended = found.finished.expect("the call has ended").0;
        counted.add(&[left, found, put("b", 503), put("c", CLIENT_GONE), put("c", 200)], "x-");
        assert_eq!(counted.stored("raw/a"), Some((ended, ended)));
        assert_eq!(counted.stored("raw/b"), None, "what was refused is not there");
        let answered = counted.stored.get("raw/c").copied();
        assert!(answered.is_some() && counted.stored("raw/c") == answered, "an answer is believed first");
    }

    fn call(process: &str, target: &str, operation: &str, status: u16, is_throttled: bool) -> Call {
        Call {
            number: 1,
            service: "s3".to_owned(),
            operation: operation.to_owned(),
            target: target.to_owned(),
            effect: Effect::Write,
            process: process.to_owned(),
            deletes: 0,
            can_be_torn: false,
            started: Instant::now(),
            finished: Some((Instant::now(), status)),
            is_throttled,
            request_bytes: 10,
        }
    }
}
