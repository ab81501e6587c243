//! Runs a subject under one schedule: sends messages, starts the subject, disturbs it, lets it drain and stops it. The
//! result says whether the schedule disturbed the run at all.

mod broker;
mod clock;
mod crash;
mod disturbed;
mod first_write;
mod members;
mod memory;
mod state;
mod survey;
mod watch;

use std::time::Instant;

pub use self::state::KilledStates;
pub(crate) use self::state::after_death;
pub(crate) use self::survey::Seen;
use crate::calls::{Fault, Hits, Trouble};
use crate::case::{Case, Expectation, SeedObject};
use crate::evidence::{Evidence, Phase};
use crate::hearing::Hearing;
use crate::history::History;
use crate::schedule::{self, Schedule};
use crate::settle::{Covered, DrainedQueue, Goal, STOP_LIMIT, SettleError, Settling};
use crate::stack::{Record, Stack, StackError};
use crate::subject::{Clock, Program, Subject, SubjectError, describe};
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
    #[error("`{name}`, which `afterwards` runs when the pipeline has ended, {problem}; its log says why")]
    Afterwards { name: String, problem: String },
    #[error(
        "the {process} process was woken when another one had taken over, and changed what was stored by then:\n{changed}"
    )]
    Fenced { process: &'static str, changed: String },
}

impl DriveError {
    /// Whether the services failed, and not the pipeline.
    pub(crate) fn is_infrastructure(&self) -> bool {
        match self {
            Self::Stack(error) | Self::Settle(SettleError::Stack(error)) => error.infrastructure,
            Self::Subject(_) | Self::Settle(_) | Self::Afterwards { .. } | Self::Fenced { .. } => false,
        }
    }
}

/// Explains why the successor of a subject may not drain in time, and what to do about it.
const SESSION_HINT: &str = "this schedule starts the subject more than once, and Kafka gives the partitions of a member that was killed to \
    no other until its session has timed out, which takes 45 s by default; let the pipeline read its session timeout from the environment, \
    and set a short one in `env_when_restarted`\n";

/// Why a run is not disturbed whose subject makes no call.
const NO_CALL: &str = "the subject made no call to AWS";

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
    /// The run was disturbed, and ended there: another run goes on from the same state, that of this schedule.
    SameState(Schedule),
}

/// A case that is run on its services, under a schedule.
pub(crate) struct Drive<'a> {
    pub case: &'a Case,
    pub stack: &'a dyn Stack,
    pub suite: &'a Suite,
    pub schedule: &'a Schedule,
    pub killed_states: Option<&'a KilledStates>,
    /// The clock of the pipeline's processes, if they have one of their own.
    pub clock: Option<Clock>,
    pub evidence: &'a Evidence,
    pub history: History,
}

impl Drive<'_> {
    /// Runs the case until its subject has drained and stopped, or has failed as the case expects; then, what follows the
    /// pipeline.
    pub(crate) fn run(&self) -> Result<Disturbance, DriveError> {
        let disturbance = self.disturbed()?;
        // Of a state that another run goes on from, nothing is observed here, and a pipeline that failed has no results.
        let is_observed = !matches!(disturbance, Disturbance::SameState(_));
        if is_observed && !matches!(self.case.expectation, Expectation::Failure { .. }) {
            self.afterwards()?;
        }
        Ok(disturbance)
    }

    /// Runs the programs that follow the pipeline, each to its end.
    fn afterwards(&self) -> Result<(), DriveError> {
        let settings = &self.case.settings;
        for program in &settings.afterwards {
            self.evidence.phase(Phase::Afterwards);
            let name = program.name.as_str();
            let problem = match self.start_one(name)?.wait(Instant::now() + settings.timeout) {
                Some(status) if status.success() => continue,
                Some(status) => format!("ended with {}", describe(status)),
                None => format!("has not ended within {:?}", settings.timeout),
            };
            return Err(DriveError::Afterwards { name: name.to_owned(), problem });
        }
        Ok(())
    }

    /// Runs the subject under the schedule.
    fn disturbed(&self) -> Result<Disturbance, DriveError> {
        let records = &self.case.records;
        self.create_tables()?;
        self.put_objects()?;
        self.queue_messages()?;
        if let Expectation::Failure { text, .. } = &self.case.expectation {
            return self.expecting_failure(text);
        }
        match self.schedule {
            // What `Partitions` changes has been changed before the topics were created.
            // A case whose messages are sent one by one has another input then than when a process is killed.
            Schedule::Plain if !self.case.settings.in_order => self.surveyed(0, || self.process(records))?,
            Schedule::Plain | Schedule::Partitions(_) | Schedule::Variant(_) => self.process(records)?,
            Schedule::Twice => self.process(&schedule::twice(records))?,
            Schedule::Reordered(seed) => return self.reordered(records, *seed),
            Schedule::OneByOne => return self.one_by_one(records),
            Schedule::Restarted(after) => return self.restarted(records, *after),
            Schedule::Killed(crashes) => return self.killed(&self.send(records)?, crashes),
            Schedule::Throttled => {
                let faults = [Fault::Throttle(Hits::Every(2)), Fault::Unprocessed(Hits::Every(4))];
                return self.with_faults(records, faults, "the subject wrote nothing, so no write was refused");
            }
            Schedule::Flaky => {
                let troubles = vec![Trouble::Failed, Trouble::LostBefore, Trouble::LostAfter, Trouble::Truncated];
                return self.with_faults(records, [Fault::Trouble(Hits::Every(3), troubles)], NO_CALL);
            }
            Schedule::Slow => {
                let late = Fault::Trouble(Hits::Every(1), vec![Trouble::Late(schedule::DELAY)]);
                return self.with_faults(records, [late], NO_CALL);
            }
            Schedule::Denied => return self.denied(records),
            Schedule::Clock => return self.clock_jumps(records),
            Schedule::Memory => return self.out_of_memory(records),
            Schedule::BrokerDown => return self.broker_down(records),
            Schedule::CommitLost => return self.commit_lost(records),
            Schedule::LeaderChange => return self.leader_change(records),
            Schedule::Takeover => return self.takeover(records),
            Schedule::Frozen => return self.frozen(records),
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

    /// Puts the messages of the case on queues.
    fn queue_messages(&self) -> Result<(), DriveError> {
        let namespace = self.stack.namespace();
        let mut messages = self.case.queued.iter();
        Ok(messages.try_for_each(|message| self.stack.send_message(&message.queue, &message.body(namespace)))?)
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
        let told = self.case.objects.iter().map(tells_of).sum::<usize>();
        let queued = self.case.queued.iter().filter(|message| message.queue == name).count();
        let others = notifications.len() + told + queued;
        let dead_letters = resources.queues.get(name).and_then(|queue| queue.dead_letters.as_ref());
        let dead_letters = dead_letters.map(|dead_letters| dead_letters.queue.clone());
        DrainedQueue { name: name.to_owned(), notifications, others, dead_letters }
    }

    /// Starts every process of the pipeline.
    fn start(&self) -> Result<Vec<Subject>, DriveError> {
        self.evidence.found().start_subject()?;
        self.evidence.phase(Phase::StartingSubject);
        let further = self.case.settings.subjects.iter().map(|subject| subject.name.as_str());
        std::iter::once("").chain(further).map(|name| self.start_one(name)).collect()
    }

    /// Starts the process of this name. A name that none of the further processes has is one of the subject itself, for
    /// which the name is empty if there is only one.
    fn start_one(&self, name: &str) -> Result<Subject, DriveError> {
        self.evidence.found().start_process(name);
        let Suite { program, own, root, .. } = self.suite;
        let settings = &self.case.settings;
        let mut environment = self.stack.environment();
        environment.extend(settings.env.clone());
        if self.schedule.shortens_timeouts() {
            environment.extend(settings.env_when_restarted.clone());
        }
        if let Schedule::Variant(variant) = self.schedule {
            environment.extend(settings.variants.get(variant).cloned().unwrap_or_default());
        }
        let mut further = settings.subjects.iter().chain(&settings.afterwards);
        let further = further.find(|subject| subject.name.as_str() == name);
        let (program, args) = match further {
            Some(subject) => (&subject.program(own), &subject.args),
            None => (program, &settings.args),
        };
        if !name.is_empty() {
            environment.insert(PROCESS.to_owned(), name.to_owned());
        }
        if let Some(clock) = &self.clock {
            clock.put_into(&mut environment);
        }
        Ok(Subject::start(program, args, &environment, root, &self.evidence.log.of(name))?)
    }

    fn settling<'s>(&'s self, subjects: &'s [Subject]) -> Settling<'s> {
        Settling { stack: self.stack, subjects, log: &self.evidence.log, history: &self.history }
    }

    /// Sends records to the pipeline, lets it drain and stops it.
    fn process(&self, records: &[Record]) -> Result<(), DriveError> {
        match records.split_first() {
            Some((first, others)) if self.case.settings.in_order => self.process_one_by_one(first, others),
            _ => self.drain(&self.send(records)?),
        }
    }

    /// Sends each record when the one before it is settled, to subjects that run meanwhile.
    fn process_one_by_one(&self, first: &Record, others: &[Record]) -> Result<(), DriveError> {
        let is_running = self.suite.program == Program::Running;
        let subjects = if is_running { Vec::new() } else { self.start()? };
        let goal = self.send(std::slice::from_ref(first))?;
        let goal = self.send_in_parts(&subjects, goal, others, 1)?;
        if is_running { self.drain(&goal) } else { self.drain_with(&subjects, &goal) }
    }

    /// Sends records in parts of `size`, each when what was sent before it is settled. Returns the goal of what was sent
    /// last, which is not settled yet.
    fn send_in_parts(
        &self,
        subjects: &[Subject],
        mut goal: Goal,
        records: &[Record],
        size: usize,
    ) -> Result<Goal, DriveError> {
        for part in records.chunks(size) {
            let covered = self.settle(subjects, &mut goal)?;
            if !self.schedule.hides_commits() {
                self.settling(subjects).written(&goal, covered)?;
            }
            goal = self.send(part)?;
        }
        Ok(goal)
    }

    /// Waits until what was sent has drained.
    fn settle(&self, subjects: &[Subject], goal: &mut Goal) -> Result<Covered, DriveError> {
        self.evidence.phase(Phase::Draining);
        Ok(self.settling(subjects).drained(goal, self.case.settings.timeout)?)
    }

    /// Starts the pipeline, lets it drain and stops it.
    fn drain(&self, goal: &Goal) -> Result<(), DriveError> {
        if self.suite.program == Program::Running {
            return self.settle(&[], &mut goal.clone()).map(drop);
        }
        self.drain_with(&self.start()?, goal)
    }

    fn drain_with(&self, subjects: &[Subject], goal: &Goal) -> Result<(), DriveError> {
        let mut goal = goal.clone();
        let covered = self.settle(subjects, &mut goal)?;
        self.evidence.phase(Phase::Stopping);
        let settling = self.settling(subjects);
        settling.stop()?;
        if !self.schedule.hides_commits() {
            settling.written(&goal, covered)?;
        }
        Ok(settling.keeps_commits(&goal)?)
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
            // These two have changed the topics and the environment before the subject was started.
            Schedule::Plain | Schedule::Partitions(_) | Schedule::Variant(_) => Disturbance::AsScheduled,
            _ => Disturbance::None("the case expects the pipeline to fail, and is run undisturbed".to_owned()),
        })
    }

    /// Starts successors of the processes that have ended.
    fn start_again(&self, subjects: &mut [Subject]) -> Result<(), DriveError> {
        self.start_again_and(subjects, |_| ())
    }

    /// The same, and calls `started` when they run and may not have done anything yet.
    fn start_again_and(&self, subjects: &mut [Subject], started: impl FnOnce(&[Subject])) -> Result<(), DriveError> {
        self.evidence.found().start_subject()?;
        self.evidence.phase(Phase::StartingSubject);
        let mut hearings = Vec::new();
        for (at, subject) in subjects.iter_mut().enumerate().filter(|(_, subject)| subject.status().is_some()) {
            let name = subject.name().to_owned();
            hearings.push((at, Hearing::before_start(self.evidence.log.of(&name))));
            *subject = self.start_one(&name)?;
        }
        started(subjects);
        // If their predecessors had done all the work, the successors are asked to stop at once.
        for (at, hearing) in hearings {
            hearing.wait(&subjects[at], STOP_LIMIT);
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
