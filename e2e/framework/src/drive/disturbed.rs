//! How each schedule disturbs a run, and why it may come to nothing.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::{Disturbance, Drive, DriveError, NO_CALL, with_session_hint};
use crate::calls::{CallName, Fault, Hits, KAFKA, Moment, Trouble};
use crate::evidence::Phase;
use crate::observe::counted;
use crate::schedule::{self, CrashPoint};
use crate::settle::{Goal, STOP_LIMIT, SettleError};
use crate::stack::Record;
use crate::subject::{Killer, Subject};

/// Why the order in which messages are sent is not disturbed.
const IN_ORDER: &str = "the case says `in_order`, so its messages are sent one by one, in their order";

/// How long a subject that was denied a call may take until it has drained. After this time it is started again.
const WAIT_FOR_DENIED: Duration = Duration::from_secs(5);

/// How often the broker is asked whether a request has come.
pub(super) const LOOK_FOR_REQUEST: Duration = Duration::from_millis(1);

impl Drive<'_> {
    /// Sends the messages in another order.
    pub(super) fn reordered(&self, records: &[Record], seed: u64) -> Result<Disturbance, DriveError> {
        let in_order = self.case.settings.in_order;
        let reordered = if in_order { None } else { schedule::reordered(records, seed) };
        self.process(reordered.as_deref().unwrap_or(records))?;
        let why = match reordered {
            Some(_) => return Ok(Disturbance::AsScheduled),
            None if in_order => IN_ORDER,
            None => "no partition has messages of two keys, and messages of one key keep their order",
        };
        Ok(Disturbance::None(why.to_owned()))
    }

    /// Sends each message when the one before it is settled, to subjects that run meanwhile.
    pub(super) fn one_by_one(&self, records: &[Record]) -> Result<Disturbance, DriveError> {
        let why = match records.split_first() {
            Some((first, others)) if !others.is_empty() && !self.case.settings.in_order => {
                self.process_one_by_one(first, others)?;
                return Ok(Disturbance::AsScheduled);
            }
            _ if self.case.settings.in_order => IN_ORDER,
            _ => "the case has fewer than two messages",
        };
        self.process(records)?;
        Ok(Disturbance::None(why.to_owned()))
    }

    /// Stops the subject after some of the messages, and starts another one for the others.
    pub(super) fn restarted(&self, records: &[Record], after: Option<NonZeroUsize>) -> Result<Disturbance, DriveError> {
        let after = after.map_or(records.len().div_ceil(2), NonZeroUsize::get);
        let (first, second) = records.split_at(after.min(records.len()));
        self.process(first)?;
        if second.is_empty() {
            let why = format!("the case has {}, so nothing was left for a restarted subject", messages(records));
            return Ok(Disturbance::None(why));
        }
        self.process(second).map_err(with_session_hint)?;
        Ok(Disturbance::AsScheduled)
    }

    /// Injects faults into the calls of the subject. `none` says why there may be no call that they concern.
    pub(super) fn with_faults(
        &self,
        records: &[Record],
        faults: impl IntoIterator<Item = Fault>,
        none: &str,
    ) -> Result<Disturbance, DriveError> {
        faults.into_iter().for_each(|fault| self.stack.calls().inject(fault));
        self.process(records)?;
        Ok(self.if_disturbed(none))
    }

    fn if_disturbed(&self, none: &str) -> Disturbance {
        if self.stack.calls().disturbed() > 0 { Disturbance::AsScheduled } else { Disturbance::None(none.to_owned()) }
    }

    /// Lets each service deny its first calls. A subject that ends is started again. One that does not go on is stopped
    /// and started again, and nothing is denied any more.
    pub(super) fn denied(&self, records: &[Record]) -> Result<Disturbance, DriveError> {
        let calls = self.stack.calls();
        let goal = self.send(records)?;
        calls.inject(Fault::Trouble(Hits::First(schedule::DENIALS), vec![Trouble::Denied]));
        let mut subjects = self.start()?;
        let mut known = 0;
        let drained = loop {
            self.evidence.phase(Phase::Draining);
            let limit = WAIT_FOR_DENIED.min(self.case.settings.timeout);
            let drained = self.settling(&subjects).drained(&mut goal.clone(), limit);
            if !matches!(drained, Err(SettleError::Ended { .. })) || calls.disturbed() == known {
                break drained;
            }
            known = calls.disturbed();
            self.evidence.log.note("-- ended when it was denied, and is started again".to_owned());
            self.start_again(&mut subjects)?;
        };
        calls.end_troubles();
        match drained {
            Err(SettleError::Behind { .. }) if calls.disturbed() > 0 => {
                self.evidence.log.note("-- does not go on when it was denied, and is started again".to_owned());
                for subject in &subjects {
                    // How it ends does not matter, because it has failed already.
                    let _ = subject.stop(STOP_LIMIT);
                }
                self.start_again(&mut subjects)?;
            }
            Ok(_) | Err(SettleError::Behind { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.drain_with(&subjects, &goal).map_err(with_session_hint)?;
        Ok(self.if_disturbed(NO_CALL))
    }

    /// Kills the process that makes a call at that call, then starts it once more and lets the pipeline drain.
    pub(super) fn killed(&self, goal: &Goal, point: &CrashPoint) -> Result<Disturbance, DriveError> {
        if point.call.service == KAFKA {
            return self.killed_at_kafka(goal, point);
        }
        let killers: Arc<OnceLock<Vec<(String, Killer)>>> = Arc::default();
        let was_killed = Arc::new(AtomicBool::new(false));
        let hook = {
            let (killers, was_killed) = (Arc::clone(&killers), Arc::clone(&was_killed));
            let (log, point) = (self.evidence.log.clone(), point.clone());
            move |process: &str| {
                was_killed.store(true, Ordering::SeqCst);
                let killers = killers.wait();
                // A name that none of the processes was given is one that the first process has chosen for itself.
                let killer = killers.iter().find(|(name, _)| name == process).or(killers.first());
                if let Some((name, killer)) = killer {
                    let of = if name.is_empty() { String::new() } else { format!(" of {name}") };
                    log.note(format!("-- SIGKILL{of} at {point}"));
                    killer.kill();
                }
            }
        };
        let mut call = point.call.clone();
        call.target = call.target.map(|target| format!("{}{target}", self.stack.namespace()));
        self.stack.calls().inject(Fault::Hold { call, moment: point.moment, hook: Box::new(hook) });
        let mut subjects = self.start()?;
        let _ = killers.set(subjects.iter().map(|subject| (subject.name().to_owned(), subject.killer())).collect());
        let drained = self.drain_with(&subjects, goal);
        self.after_kill(&mut subjects, goal, drained, was_killed.load(Ordering::SeqCst), point)
    }

    /// The same for a request to Kafka. The broker does not tell which process makes it, so the subject itself is killed.
    fn killed_at_kafka(&self, goal: &Goal, point: &CrashPoint) -> Result<Disturbance, DriveError> {
        let CallName { operation, nth, target, .. } = &point.call;
        if target.is_some() || !self.stack.hold_kafka_request(operation, *nth, point.moment)? {
            self.drain(goal)?;
            let why = "the embedded broker can hold the requests Produce and OffsetCommit, which are named without a \
                       target, and no other broker can hold any";
            return Ok(Disturbance::None(why.to_owned()));
        }
        let mut subjects = self.start()?;
        let (was_killed, has_ended) = (AtomicBool::new(false), AtomicBool::new(false));
        let killer = subjects.first().map(Subject::killer);
        let drained = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !has_ended.load(Ordering::SeqCst) {
                    if self.stack.holds_kafka_request(operation).unwrap_or(false) {
                        was_killed.store(true, Ordering::SeqCst);
                        self.evidence.log.note(format!("-- SIGKILL at {point}"));
                        killer.iter().for_each(Killer::kill);
                        return;
                    }
                    std::thread::sleep(LOOK_FOR_REQUEST);
                }
            });
            let drained = self.drain_with(&subjects, goal);
            has_ended.store(true, Ordering::SeqCst);
            drained
        });
        self.after_kill(&mut subjects, goal, drained, was_killed.load(Ordering::SeqCst), point)
    }

    /// If a process was killed, starts it once more and lets the pipeline drain.
    fn after_kill(
        &self,
        subjects: &mut [Subject],
        goal: &Goal,
        drained: Result<(), DriveError>,
        was_killed: bool,
        point: &CrashPoint,
    ) -> Result<Disturbance, DriveError> {
        match drained {
            // The subject may also have made this call while it was stopping.
            Err(DriveError::Settle(SettleError::Ended { .. } | SettleError::Stop { .. })) if was_killed => {
                self.start_again(subjects)?;
                self.drain_with(subjects, goal).map_err(with_session_hint)?;
                Ok(Disturbance::AsScheduled)
            }
            Ok(()) => {
                let made = self.evidence.found().calls();
                Ok(Disturbance::None(not_torn(point, &made).unwrap_or_else(|| no_such_call(&point.call, &made))))
            }
            Err(error) => Err(error),
        }
    }
}

fn messages(records: &[Record]) -> String {
    match records.len() {
        0 => "no message".to_owned(),
        1 => "one message".to_owned(),
        count => format!("{count} messages"),
    }
}

/// Says that a call to any target was to be torn and has occurred: it has too few items.
fn not_torn(point: &CrashPoint, made: &[CallName]) -> Option<String> {
    let CallName { service, operation, nth, .. } = &point.call;
    let is_too_small = point.moment == Moment::Torn && made.contains(&point.call);
    is_too_small.then(|| format!("call {nth} of {service}.{operation} has fewer than two items, so it cannot be torn"))
}

/// Says that a call did not occur, and which calls the subject made instead.
fn no_such_call(wanted: &CallName, made: &[CallName]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for call in made {
        *counts.entry(format!("{}.{}", call.service, call.operation)).or_default() += 1;
    }
    let CallName { service, operation, nth, target } = wanted;
    let target = target.as_ref().map(|target| format!(" to {target}")).unwrap_or_default();
    let made: Vec<String> = counts.into_iter().map(|(name, count)| format!("{count} {name}")).collect();
    let made = if made.is_empty() { "no call at all".to_owned() } else { made.join(", ") };
    format!("the subject made fewer than {}{target}, but {made}", counted(*nth, &format!("{service}.{operation} call")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_did_not_occur_is_told_beside_those_that_did() {
        let call = |operation: &str, nth, target: Option<&str>| {
            let target = target.map(str::to_owned);
            CallName { service: "s3".into(), operation: operation.into(), nth, target }
        };
        let made = [call("HeadBucket", 1, None), call("PutObject", 1, None), call("PutObject", 2, None)];
        assert_eq!(
            no_such_call(&call("PutObject", 3, Some("raw/a")), &made),
            "the subject made fewer than 3 s3.PutObject calls to raw/a, but 1 s3.HeadBucket, 2 s3.PutObject"
        );
        assert!(no_such_call(&call("PutObject", 1, None), &[]).ends_with("but no call at all"));
    }

    #[test]
    fn a_batch_that_occurred_and_was_not_torn_is_too_small() {
        let point = |text: &str| text.parse::<CrashPoint>().expect(text);
        let torn = point("dynamodb.BatchWriteItem:1:torn");
        let why = "call 1 of dynamodb.BatchWriteItem has fewer than two items, so it cannot be torn";
        assert_eq!(not_torn(&torn, std::slice::from_ref(&torn.call)).as_deref(), Some(why));
        assert_eq!(not_torn(&torn, &[]), None);
        let before = point("dynamodb.BatchWriteItem:1");
        assert_eq!(not_torn(&before, std::slice::from_ref(&before.call)), None);
    }
}
