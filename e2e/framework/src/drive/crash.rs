//! Kills a process of the pipeline at one of its calls, or at one call after the other, and starts it again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::{Disturbance, Drive, DriveError, with_session_hint};
use crate::calls::{Call, CallName, Fault, KAFKA, Moment};
use crate::observe::counted;
use crate::schedule::{CrashPoint, Crashes};
use crate::settle::{Goal, SettleError};
use crate::subject::{Killer, Log, Subject};

/// What kills a process when it makes a call.
#[derive(Clone)]
struct Trap {
    point: CrashPoint,
    log: Log,
    /// The processes by their names, once they run.
    killers: Arc<OnceLock<Vec<(String, Killer)>>>,
    has_sprung: Arc<AtomicBool>,
}

impl Trap {
    fn new(point: &CrashPoint, log: &Log) -> Self {
        Self { point: point.clone(), log: log.clone(), killers: Arc::default(), has_sprung: Arc::default() }
    }

    /// Has to be called when the processes run: until then, [`Self::spring`] waits.
    fn arm(&self, subjects: &[Subject]) {
        let killers = subjects.iter().map(|subject| (subject.name().to_owned(), subject.killer()));
        let _ = self.killers.set(killers.collect());
    }

    /// Kills the process of this name.
    fn spring(&self, process: &str) {
        self.has_sprung.store(true, Ordering::SeqCst);
        let killers = self.killers.wait();
        // A name that none of the processes was given is one that the first process has chosen for itself.
        let killer = killers.iter().find(|(name, _)| name == process).or(killers.first());
        if let Some((name, killer)) = killer {
            let of = if name.is_empty() { String::new() } else { format!(" of {name}") };
            self.log.note(format!("-- SIGKILL{of} at {}", self.point));
            killer.kill();
        }
    }

    fn has_sprung(&self) -> bool {
        self.has_sprung.load(Ordering::SeqCst)
    }
}

impl Drive<'_> {
    /// Kills the process that makes a call at that call and starts it once more, for each call in turn. Then it lets the
    /// pipeline drain.
    pub(super) fn killed(&self, goal: &Goal, crashes: &Crashes) -> Result<Disturbance, DriveError> {
        let mut subjects = Vec::new();
        let last = crashes.then.len();
        for (at, point) in crashes.points().enumerate() {
            let trap = Trap::new(point, &self.evidence.log);
            let drained = if point.call.service == KAFKA {
                if !self.holds_at_kafka(point)? {
                    self.begin(&mut subjects, |_| ())?;
                    self.drain_with(&subjects, goal)?;
                    let why = "of the requests to Kafka, Produce and OffsetCommit can be held, which are named without a target, on \
                               the stacks embedded and docker";
                    return Ok(Disturbance::None(why.to_owned()));
                }
                // The broker does not tell which process has made the request, so the subject itself is killed.
                let spring = || {
                    trap.spring("");
                    Ok(false)
                };
                self.watching(&point.call.operation, spring, || self.drained_in(&trap, &mut subjects, goal))?
            } else {
                self.set_at_aws(&trap);
                self.drained_in(&trap, &mut subjects, goal)
            };
            match drained {
                // The pipeline may also have made this call while it was stopping.
                Err(DriveError::Settle(SettleError::Ended { .. } | SettleError::Stop { .. })) if trap.has_sprung() => {
                    self.evidence.fault();
                    // The crashes before it are those of another run, which has left this state.
                    if at == last
                        && let Some(schedule) = self.left_before(goal, &subjects)?
                    {
                        return Ok(Disturbance::SameState(schedule));
                    }
                }
                Ok(()) => {
                    let again = if at == 0 { "" } else { " after it was started again" };
                    let (made, points) = {
                        let found = self.evidence.found();
                        let points: Vec<CrashPoint> =
                            found.crash_points().into_iter().map(|(point, _)| point).collect();
                        (found.calls(), points)
                    };
                    let why = not_torn(point, &made, self.stack.namespace())
                        .unwrap_or_else(|| no_such_call(&point.call, again, &points));
                    return Ok(Disturbance::None(why));
                }
                Err(error) => return Err(error),
            }
        }
        self.surveyed(last + 1, || {
            self.start_again(&mut subjects)?;
            self.drain_with(&subjects, goal).map_err(with_session_hint)
        })?;
        Ok(Disturbance::AsScheduled)
    }

    /// Starts the pipeline, or what has ended of it.
    fn begin(&self, subjects: &mut Vec<Subject>, started: impl FnOnce(&[Subject])) -> Result<(), DriveError> {
        if !subjects.is_empty() {
            return self.start_again_and(subjects, started);
        }
        *subjects = self.start()?;
        started(subjects);
        Ok(())
    }

    /// Lets the pipeline drain, unless it falls into the trap.
    fn drained_in(&self, trap: &Trap, subjects: &mut Vec<Subject>, goal: &Goal) -> Result<(), DriveError> {
        self.begin(subjects, |subjects| trap.arm(subjects))?;
        self.drain_with(subjects, goal)
    }

    /// Sets the trap at a call to AWS.
    fn set_at_aws(&self, trap: &Trap) {
        let CrashPoint { call, moment } = trap.point.clone();
        let call = call.within(self.stack.namespace());
        let trap = trap.clone();
        self.stack.calls().inject(Fault::Hold { call, moment, hook: Box::new(move |process| trap.spring(process)) });
    }

    /// Lets a request to Kafka be held. False if it cannot.
    fn holds_at_kafka(&self, point: &CrashPoint) -> Result<bool, DriveError> {
        let CallName { operation, nth, target, .. } = &point.call;
        Ok(target.is_none() && self.stack.hold_kafka_request(operation, *nth, point.moment)?)
    }
}

/// Says that a call was to be torn and has occurred: it has too few items.
fn not_torn(point: &CrashPoint, made: &[Call], namespace: &str) -> Option<String> {
    let CallName { service, operation, nth, .. } = &point.call;
    let counted = point.call.clone().within(namespace);
    let has_occurred = made.iter().filter(|call| counted.is_about(call)).count() >= *nth;
    (point.moment == Moment::Torn && has_occurred)
        .then(|| format!("call {nth} of {service}.{operation} has fewer than two items, so it cannot be torn"))
}

/// Says that a call did not occur, and which calls the subject made instead.
fn no_such_call(wanted: &CallName, again: &str, points: &[CrashPoint]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for CrashPoint { call, .. } in points.iter().filter(|point| point.moment == Moment::Before) {
        *counts.entry(format!("{}.{}", call.service, call.operation)).or_default() += 1;
    }
    let CallName { service, operation, nth, target } = wanted;
    let target = target.as_ref().map(|target| format!(" to {target}")).unwrap_or_default();
    let made: Vec<String> = counts.into_iter().map(|(name, count)| format!("{count} {name}")).collect();
    let made = if made.is_empty() { "no call at all".to_owned() } else { made.join(", ") };
    format!(
        "the subject made fewer than {}{target}{again}, but {made}",
        counted(*nth, &format!("{service}.{operation} call"))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::{Calls, Effect, Request};

    fn point(text: &str) -> CrashPoint {
        text.parse().expect(text)
    }

    #[test]
    fn a_call_that_did_not_occur_is_told_beside_those_that_did() {
        let made =
            ["s3.HeadBucket:1@raw", "s3.PutObject:1@raw/a/", "s3.PutObject:1:after@raw/a/", "s3.PutObject:2@raw/a/"];
        assert_eq!(
            no_such_call(&point("s3.PutObject:3@raw/a").call, "", &made.map(point)),
            "the subject made fewer than 3 s3.PutObject calls to raw/a, but 1 s3.HeadBucket, 2 s3.PutObject"
        );
        assert!(no_such_call(&point("s3.PutObject:1").call, "", &[]).ends_with("but no call at all"));
    }

    #[test]
    fn a_batch_that_occurred_and_was_not_torn_is_too_small() {
        let calls = Calls::default();
        let request = Request {
            operation: "BatchWriteItem".into(),
            target: "fleet".into(),
            effect: Effect::Write,
            can_be_partial: true,
            deletes: 0,
        };
        let _call = calls.begin("dynamodb", "", request);
        let made = calls.snapshot();
        let torn = point("dynamodb.BatchWriteItem:1:torn@fleet");
        let why = "call 1 of dynamodb.BatchWriteItem has fewer than two items, so it cannot be torn";
        assert_eq!(not_torn(&torn, &made, "").as_deref(), Some(why));
        assert_eq!(not_torn(&point("dynamodb.BatchWriteItem:2:torn"), &made, ""), None);
        assert_eq!(not_torn(&point("dynamodb.BatchWriteItem:1:torn@other"), &made, ""), None);
        assert_eq!(not_torn(&torn, &[], ""), None);
        assert_eq!(not_torn(&point("dynamodb.BatchWriteItem:1"), &made, ""), None);
    }
}
