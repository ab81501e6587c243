//! Runs a subject under one schedule: sends messages, starts the subject, disturbs it, lets it drain and stops it. The
//! result says whether the schedule disturbed the run at all.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::calls::{CallName, Fault, Hits};
use crate::case::{Case, Expectation};
use crate::evidence::{Evidence, Phase};
use crate::hearing::Hearing;
use crate::observe::counted;
use crate::schedule::{CrashPoint, Schedule};
use crate::settle::{Goal, STOP_LIMIT, SettleError, Settling};
use crate::stack::{Record, Stack, StackError};
use crate::subject::{Killer, Program, Subject, SubjectError};
use crate::suite::Suite;

/// Why a run under a schedule failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriveError {
    #[error(transparent)]
    Stack(#[from] StackError),
    #[error(transparent)]
    Subject(#[from] SubjectError),
    #[error(transparent)]
    Settle(#[from] SettleError),
}

impl DriveError {
    /// Whether the services failed, and not the pipeline.
    pub(crate) fn is_infrastructure(&self) -> bool {
        match self {
            Self::Stack(error) | Self::Settle(SettleError::Stack(error)) => error.infrastructure,
            Self::Subject(_) | Self::Settle(_) => false,
        }
    }
}

/// Explains why the successor of a subject may not drain in time, and what to do about it.
const SESSION_HINT: &str = "this schedule starts the subject more than once, and Kafka gives the partitions of a member that was killed to \
    no other until its session has timed out, which takes 45 s by default; let the pipeline read its session timeout from the environment, \
    and set a short one in `env_when_restarted`\n";

/// Whether a schedule disturbed a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Disturbance {
    /// The run was disturbed as the schedule says. The plain schedule disturbs nothing.
    AsScheduled,
    /// The schedule did not disturb the run, for this reason.
    None(String),
}

/// A case that is run on its services, under a schedule.
pub(crate) struct Drive<'a> {
    pub case: &'a Case,
    pub stack: &'a dyn Stack,
    pub suite: &'a Suite,
    pub schedule: &'a Schedule,
    pub evidence: &'a Evidence,
}

impl Drive<'_> {
    /// Runs the case until its subject has drained and stopped, or has failed as the case expects.
    pub(crate) fn run(&self) -> Result<Disturbance, DriveError> {
        let records = &self.case.records;
        if let Expectation::Failure { text, .. } = &self.case.expectation {
            return self.expecting_failure(text);
        }
        match self.schedule {
            Schedule::Plain => self.drain(&self.send(records)?)?,
            Schedule::Twice => self.drain(&self.send(&twice(records))?)?,
            Schedule::Restarted => return self.restarted(records),
            Schedule::Killed(point) => return self.killed(&self.send(records)?, point),
            Schedule::Throttled => {
                self.stack.calls().inject(Fault::Throttle(Hits::Every(2)));
                self.drain(&self.send(records)?)?;
                if self.stack.calls().refused() == 0 {
                    return Ok(Disturbance::None("the subject wrote nothing, so no write was refused".to_owned()));
                }
            }
        }
        Ok(Disturbance::AsScheduled)
    }

    /// Sends records. The returned goal has the ends that the partitions then have.
    fn send(&self, records: &[Record]) -> Result<Goal, DriveError> {
        self.evidence.phase(Phase::Sending);
        self.stack.produce(records)?;
        let topics: Vec<String> = self.case.topics().into_iter().map(str::to_owned).collect();
        let mut ends = self.stack.end_offsets(&topics)?;
        ends.retain(|_, end| *end > 0);
        let goal = Goal { groups: self.case.settings.groups.clone(), ends };
        self.evidence.found().goal = Some(goal.clone());
        Ok(goal)
    }

    fn start_subject(&self) -> Result<Subject, DriveError> {
        self.evidence.phase(Phase::StartingSubject);
        let mut environment = self.stack.environment();
        environment.extend(self.case.settings.env.clone());
        if self.schedule.restarts() {
            environment.extend(self.case.settings.env_when_restarted.clone());
        }
        let Suite { program, root, .. } = self.suite;
        Ok(Subject::start(program, &self.case.settings.args, &environment, root, &self.evidence.log)?)
    }

    fn settling<'s>(&'s self, subject: &'s Subject) -> Settling<'s> {
        Settling { stack: self.stack, subject: Some(subject), log: &self.evidence.log }
    }

    /// Starts a subject, lets it drain and stops it.
    fn drain(&self, goal: &Goal) -> Result<(), DriveError> {
        if self.suite.program == Program::Running {
            self.evidence.phase(Phase::Draining);
            let settling = Settling { stack: self.stack, subject: None, log: &self.evidence.log };
            return Ok(settling.drained(&mut goal.clone(), self.case.settings.timeout).map(drop)?);
        }
        self.drain_with(&self.start_subject()?, goal)
    }

    fn drain_with(&self, subject: &Subject, goal: &Goal) -> Result<(), DriveError> {
        let settling = self.settling(subject);
        self.evidence.phase(Phase::Draining);
        let mut goal = goal.clone();
        let covered = settling.drained(&mut goal, self.case.settings.timeout)?;
        self.evidence.phase(Phase::Stopping);
        settling.stop()?;
        Ok(settling.settled(&goal, covered)?)
    }

    fn expecting_failure(&self, text: &str) -> Result<Disturbance, DriveError> {
        let goal = self.send(&self.case.records)?;
        let subject = self.start_subject()?;
        self.evidence.phase(Phase::AwaitingFailure);
        let settling = self.settling(&subject);
        settling.said(text, self.case.settings.timeout)?;
        settling.failed(text, &goal)?;
        settling.quiet();
        Ok(match self.schedule {
            Schedule::Plain => Disturbance::AsScheduled,
            _ => Disturbance::None("the case expects the pipeline to fail, and is run undisturbed".to_owned()),
        })
    }

    fn restarted(&self, records: &[Record]) -> Result<Disturbance, DriveError> {
        let (first, second) = records.split_at(records.len().div_ceil(2));
        self.drain(&self.send(first)?)?;
        if second.is_empty() {
            return Ok(Disturbance::None(
                "the case has one message, so nothing was left for a restarted subject".to_owned(),
            ));
        }
        self.drain(&self.send(second)?).map_err(with_session_hint)?;
        Ok(Disturbance::AsScheduled)
    }

    /// Kills a subject at a call, then starts a second subject and lets it drain.
    fn killed(&self, goal: &Goal, point: &CrashPoint) -> Result<Disturbance, DriveError> {
        let killer: Arc<OnceLock<Killer>> = Arc::default();
        let was_killed = Arc::new(AtomicBool::new(false));
        let hook = {
            let (killer, was_killed) = (Arc::clone(&killer), Arc::clone(&was_killed));
            let (log, point) = (self.evidence.log.clone(), point.clone());
            move || {
                was_killed.store(true, Ordering::SeqCst);
                log.note(format!("-- SIGKILL at {point}"));
                killer.wait().kill();
            }
        };
        let mut call = point.call.clone();
        call.target = call.target.map(|target| format!("{}{target}", self.stack.namespace()));
        self.stack.calls().inject(Fault::Hold { call, moment: point.moment, hook: Box::new(hook) });
        let subject = self.start_subject()?;
        let _ = killer.set(subject.killer());
        match self.drain_with(&subject, goal) {
            // The subject may also have made this call while it was stopping.
            Err(DriveError::Settle(SettleError::Ended { .. } | SettleError::Stop { .. }))
                if was_killed.load(Ordering::SeqCst) =>
            {
                let hearing = Hearing::before_start(&self.evidence.log);
                let successor = self.start_subject()?;
                // If its predecessor had done all the work, the successor is asked to stop at once.
                hearing.wait(&successor, &self.evidence.log, STOP_LIMIT);
                self.drain_with(&successor, goal).map_err(with_session_hint)?;
                Ok(Disturbance::AsScheduled)
            }
            Ok(()) => Ok(Disturbance::None(no_such_call(&point.call, &self.stack.calls().names()))),
            Err(error) => Err(error),
        }
    }
}

/// The error of a successor, with [`SESSION_HINT`] if it did not drain in time.
fn with_session_hint(error: DriveError) -> DriveError {
    match error {
        DriveError::Settle(SettleError::Behind { limit, behind, log }) => {
            DriveError::Settle(SettleError::Behind { limit, behind: behind + SESSION_HINT, log })
        }
        error => error,
    }
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

/// Every record twice in a row. The offsets are those that the records get in this order.
fn twice(records: &[Record]) -> Vec<Record> {
    let mut offsets: BTreeMap<(String, i32), i64> = BTreeMap::new();
    records
        .iter()
        .flat_map(|record| [record.clone(), record.clone()])
        .map(|mut record| {
            let next = offsets.entry((record.topic.clone(), record.partition)).or_insert(0);
            record.offset = *next;
            *next += 1;
            record
        })
        .collect()
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
}
