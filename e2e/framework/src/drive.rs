//! Runs a subject under one schedule: sends messages, starts the subject, disturbs it, lets it drain and stops it. The
//! result says whether the schedule disturbed the run at all.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::calls::{CallName, Fault, Hits};
use crate::case::{Case, Expectation, SeedObject};
use crate::evidence::{Evidence, Phase};
use crate::hearing::Hearing;
use crate::observe::counted;
use crate::schedule::{CrashPoint, Schedule};
use crate::settle::{DrainedQueue, Goal, STOP_LIMIT, SettleError, Settling};
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

/// The variable from which the SDK of every language takes a name for its program, and sends it with each request. The
/// recording proxy tells the processes of a pipeline apart by it.
const PROCESS: &str = "AWS_SDK_UA_APP_ID";

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
        self.create_tables()?;
        self.put_objects()?;
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

    /// Creates the Glue tables of the case.
    fn create_tables(&self) -> Result<(), DriveError> {
        for table in &self.case.tables {
            let failed =
                |error| StackError::new(format!("creating the table {}.{}", table.database, table.name), error);
            let input = table.input(self.stack.namespace()).map_err(failed)?;
            self.stack.create_catalog_table(&table.database, &input)?;
        }
        Ok(())
    }

    /// Puts the objects of the case into S3.
    fn put_objects(&self) -> Result<(), DriveError> {
        self.evidence.phase(Phase::Sending);
        let mut objects = self.case.objects.iter();
        Ok(objects.try_for_each(|object| self.stack.put_object(&object.bucket, &object.key, &object.body))?)
    }

    /// Sends records. The returned goal has the ends that the partitions then have.
    fn send(&self, records: &[Record]) -> Result<Goal, DriveError> {
        self.evidence.phase(Phase::Sending);
        self.stack.produce(records)?;
        let topics: Vec<String> = self.case.topics().into_iter().map(str::to_owned).collect();
        let mut ends = self.stack.end_offsets(&topics)?;
        ends.retain(|_, end| *end > 0);
        let settings = &self.case.settings;
        let queues = settings.drained_queues.iter().map(|queue| self.drained_queue(queue)).collect();
        let goal = Goal { groups: settings.groups.clone(), ends, queues };
        self.evidence.found().goal = Some(goal.clone());
        Ok(goal)
    }

    fn drained_queue(&self, name: &str) -> DrainedQueue {
        let resources = &self.case.settings.resources;
        let notifications = resources.notifications.iter().filter(|notification| notification.queue == name);
        let notifications: Vec<_> = notifications.cloned().collect();
        let tells_of = |object: &SeedObject| {
            let object = format!("{}/{}", object.bucket, object.key);
            notifications.iter().filter(|notification| notification.tells_of(&object)).count()
        };
        // S3 sends a test event for each notification when it is configured.
        let others = notifications.len() + self.case.objects.iter().map(tells_of).sum::<usize>();
        let dead_letters = resources.queues.get(name).and_then(|queue| queue.dead_letters.as_ref());
        let dead_letters = dead_letters.map(|dead_letters| dead_letters.queue.clone());
        DrainedQueue { name: name.to_owned(), notifications, others, dead_letters }
    }

    /// Starts every process of the pipeline.
    fn start(&self) -> Result<Vec<Subject>, DriveError> {
        self.evidence.phase(Phase::StartingSubject);
        let further = self.case.settings.subjects.iter().map(|subject| subject.name.as_str());
        std::iter::once("").chain(further).map(|name| self.start_one(name)).collect()
    }

    /// Starts the process of this name; the name is empty for the subject itself.
    fn start_one(&self, name: &str) -> Result<Subject, DriveError> {
        let Suite { program, own, root, .. } = self.suite;
        let settings = &self.case.settings;
        let mut environment = self.stack.environment();
        environment.extend(settings.env.clone());
        if self.schedule.restarts() {
            environment.extend(settings.env_when_restarted.clone());
        }
        let further = settings.subjects.iter().find(|subject| subject.name.as_str() == name);
        let (program, args) = match further {
            Some(subject) => (&subject.program(own), &subject.args),
            None => (program, &settings.args),
        };
        if further.is_some() {
            environment.insert(PROCESS.to_owned(), name.to_owned());
        }
        Ok(Subject::start(program, args, &environment, root, &self.evidence.log.of(name))?)
    }

    fn settling<'s>(&'s self, subjects: &'s [Subject]) -> Settling<'s> {
        Settling { stack: self.stack, subjects, log: &self.evidence.log }
    }

    /// Starts the pipeline, lets it drain and stops it.
    fn drain(&self, goal: &Goal) -> Result<(), DriveError> {
        if self.suite.program == Program::Running {
            self.evidence.phase(Phase::Draining);
            return Ok(self.settling(&[]).drained(&mut goal.clone(), self.case.settings.timeout).map(drop)?);
        }
        self.drain_with(&self.start()?, goal)
    }

    fn drain_with(&self, subjects: &[Subject], goal: &Goal) -> Result<(), DriveError> {
        let settling = self.settling(subjects);
        self.evidence.phase(Phase::Draining);
        let mut goal = goal.clone();
        let covered = settling.drained(&mut goal, self.case.settings.timeout)?;
        self.evidence.phase(Phase::Stopping);
        settling.stop()?;
        Ok(settling.settled(&goal, covered)?)
    }

    fn expecting_failure(&self, text: &str) -> Result<Disturbance, DriveError> {
        let goal = self.send(&self.case.records)?;
        let subjects = self.start()?;
        self.evidence.phase(Phase::AwaitingFailure);
        let settling = self.settling(&subjects);
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

    /// Kills the process that makes a call at that call, then starts it once more and lets the pipeline drain.
    fn killed(&self, goal: &Goal, point: &CrashPoint) -> Result<Disturbance, DriveError> {
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
        match self.drain_with(&subjects, goal) {
            // The subject may also have made this call while it was stopping.
            Err(DriveError::Settle(SettleError::Ended { .. } | SettleError::Stop { .. }))
                if was_killed.load(Ordering::SeqCst) =>
            {
                self.start_again(&mut subjects)?;
                self.drain_with(&subjects, goal).map_err(with_session_hint)?;
                Ok(Disturbance::AsScheduled)
            }
            Ok(()) => Ok(Disturbance::None(no_such_call(&point.call, &self.stack.calls().names()))),
            Err(error) => Err(error),
        }
    }

    /// Starts successors of the processes that have ended.
    fn start_again(&self, subjects: &mut [Subject]) -> Result<(), DriveError> {
        self.evidence.phase(Phase::StartingSubject);
        for subject in subjects.iter_mut().filter(|subject| subject.status().is_some()) {
            let name = subject.name().to_owned();
            let hearing = Hearing::before_start(self.evidence.log.of(&name));
            *subject = self.start_one(&name)?;
            // If its predecessor had done all the work, the successor is asked to stop at once.
            hearing.wait(subject, STOP_LIMIT);
        }
        Ok(())
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
