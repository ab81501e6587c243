//! The calls of a run, counted as they end, so that a run of many hours does not hold them.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use e2e::internals::Call;

use super::look;
use super::report::CallFigures;

/// The operations that end with an object that can be read.
const STORES: [&str; 2] = ["PutObject", "CompleteMultipartUpload"];

/// What is kept of calls.
#[derive(Default)]
pub(super) struct Counted {
    figures: BTreeMap<(String, String), CallFigures>,
    /// When each object was stored for the first time, and for the last time, by bucket and key.
    pub(super) stored: HashMap<String, (Instant, Instant)>,
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
            if let Some((target, ended)) = stored(call, namespace) {
                let (first, last) = self.stored.entry(target).or_insert((ended, ended));
                (*first, *last) = (ended.min(*first), ended.max(*last));
            }
        }
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

/// The object that a call has stored, and when it had done so.
fn stored(call: &Call, namespace: &str) -> Option<(String, Instant)> {
    let (ended, _) = call.finished.filter(|(_, status)| *status < 300)?;
    let is_stored = call.service == "s3" && STORES.contains(&call.operation.as_str());
    is_stored.then(|| (logical(&call.target, namespace), ended))
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
        let call = |process: &str, operation: &str, status: u16, is_throttled| Call {
            number: 1,
            service: "s3".to_owned(),
            operation: operation.to_owned(),
            target: "x-raw/a".to_owned(),
            effect: Effect::Write,
            process: process.to_owned(),
            deletes: 0,
            can_be_torn: false,
            started: Instant::now(),
            finished: Some((Instant::now(), status)),
            is_throttled,
            request_bytes: 10,
        };
        let mut counted = Counted::default();
        let put = |status, is_throttled| call("worker-1", "PutObject", status, is_throttled);
        counted.add(&[put(503, true), put(200, false), call("load", "PutObject", 200, false)], "x-");
        counted.add(&[put(500, false), put(200, false), call("worker-1", "GetObject", 200, false)], "x-");
        let [get, put] = &counted.figures()[..] else { panic!("{:?}", counted.figures()) };
        assert_eq!((get.calls, put.calls, put.throttled, put.failed, put.bytes), (1, 4, 1, 1, 40));
        let (first, last) = counted.stored["raw/a"];
        assert!(first <= last && counted.stored.len() == 1);
    }
}
