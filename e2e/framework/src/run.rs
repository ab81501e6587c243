//! One run of one case: services, messages, subject, settling, observation, comparison.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::calls::{Fault, Hits, Moment};
use crate::case::{Case, CaseId, Expectation, FixtureError};
use crate::observe::{Counts, Observation};
use crate::report::{Active, Evidence, Outcome, keep};
use crate::schedule::Schedule;
use crate::settle::{Goal, SettleError, Settling};
use crate::snapshot;
use crate::stack::embedded::Embedded;
use crate::stack::{Record, Stack, StackError};
use crate::subject::{Killer, Program, Subject, SubjectError};

/// A project's fixtures and the pipeline they test.
#[derive(Debug, Clone)]
pub struct Suite {
    /// The project's folder: the subject's working directory, so that what fixtures name is relative to it.
    pub root: PathBuf,
    /// The folder of the fixtures.
    pub fixtures: PathBuf,
    /// What is started as the pipeline.
    pub program: Program,
}

impl Suite {
    /// The fixtures in `root/fixtures`.
    pub fn new(root: impl Into<PathBuf>, program: Program) -> Self {
        let root = root.into();
        // Paths are shown to people: `/project/e2e/suite/../..` is `/project`.
        let root = root.canonicalize().unwrap_or(root);
        Self { fixtures: root.join("fixtures"), root, program }
    }

    /// Where capsules and reports go: `CARGO_TARGET_DIR`, else `target` below the root.
    pub fn target(&self) -> PathBuf {
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), |folder| self.root.join(folder))
    }
}

/// How cases are run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How the run is disturbed.
    pub schedule: Schedule,
    /// Whether the capsule of a passing run is kept too.
    pub keep: bool,
}

/// Why a case failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Fixture(#[from] FixtureError),
    #[error(transparent)]
    Stack(#[from] StackError),
    #[error(transparent)]
    Subject(#[from] SubjectError),
    #[error(transparent)]
    Settle(#[from] SettleError),
    #[error("{0}")]
    Observation(String),
}

/// Runs a case. `repeat` is the command that runs it again.
pub fn run(suite: &Suite, id: &CaseId, options: &Options, repeat: String) -> Outcome {
    let started = Instant::now();
    let evidence = Evidence::new(id, options.schedule, repeat, &suite.target());
    // What an earlier run has left is not about this one.
    let _ = std::fs::remove_dir_all(&evidence.folder);
    let mut counts = Counts::default();
    let failure = {
        let _active = Active::new(&evidence);
        attempt(suite, id, options.schedule, &evidence, &mut counts).err()
    };
    let failure = failure.map(|failure| {
        let verdict = format!("while {}: {failure}", evidence.found().phase);
        let kept = keep(&evidence, &verdict);
        verdict.trim_end().to_owned() + &kept
    });
    if failure.is_none() && options.keep {
        // Asked for, so it is worth a word when it fails, but no failure of the case.
        if let Err(error) = evidence.write("passed") {
            eprintln!("{id}: cannot keep {}: {error}", evidence.folder.display());
        }
    }
    // The services end here, not in the capsule's hands.
    evidence.found().stack = None;
    Outcome { id: id.clone(), counts, duration: started.elapsed(), failure }
}

fn attempt(
    suite: &Suite,
    id: &CaseId,
    schedule: Schedule,
    evidence: &Evidence,
    counts: &mut Counts,
) -> Result<(), Failure> {
    evidence.phase("reading the fixture");
    let case = Case::read(&suite.fixtures, id)?;
    counts.messages = case.records.len();

    evidence.phase("starting the services");
    let stack: Arc<dyn Stack> = Arc::new(Embedded::start()?);
    evidence.found().stack = Some(Arc::clone(&stack));
    provide(&case, stack.as_ref())?;

    let run = Run { case: &case, stack: stack.as_ref(), suite, schedule, evidence };
    match &case.expectation {
        Expectation::Failure { text } => run.expecting_failure(text)?,
        _ => run.to_the_end()?,
    }

    evidence.phase("observing the result");
    let observation = match case.expectation {
        // What was written before it stopped depends on when it stopped.
        Expectation::Failure { .. } => Observation::default(),
        _ => Observation::of(&case, stack.as_ref())?,
    };
    *counts = observation.counts(counts.messages);
    evidence.found().observed = Some(observation.text());
    expected_amount(&case, &observation)?;

    evidence.phase("comparing with the snapshots");
    let mismatches = snapshot::check(&case, &observation, schedule);
    if mismatches.is_empty() {
        return Ok(());
    }
    evidence.found().diff =
        Some(mismatches.iter().map(|mismatch| mismatch.full.as_str()).collect::<Vec<_>>().join("\n"));
    Err(Failure::Observation(differs(&mismatches, schedule)))
}

/// Creates the topics, tables and buckets of a case.
pub fn provide(case: &Case, stack: &dyn Stack) -> Result<(), StackError> {
    for (topic, partitions) in &case.settings.topics {
        stack.create_topic(topic, *partitions)?;
    }
    for table in &case.settings.tables {
        stack.create_table(table)?;
    }
    case.settings.buckets.iter().try_for_each(|bucket| stack.create_bucket(bucket))
}

/// A case that observes nothing proves nothing, unless that is what it is about.
fn expected_amount(case: &Case, observation: &Observation) -> Result<(), Failure> {
    match (&case.expectation, observation.is_empty()) {
        (Expectation::Output, true) => Err(Failure::Observation(
            "nothing was observed: no item, no row, no dead letter; if that is right, say `expect_nothing = true` and `why` in case.toml".to_owned(),
        )),
        (Expectation::Nothing { why }, false) => Err(Failure::Observation(format!(
            "expected nothing ({why}), but observed:\n{}",
            observation.text()
        ))),
        _ => Ok(()),
    }
}

fn differs(mismatches: &[snapshot::Mismatch], schedule: Schedule) -> String {
    let count = mismatches.len();
    let mut text = format!(
        "{count} snapshot{} differ{}\n\n",
        if count == 1 { "" } else { "s" },
        if count == 1 { "s" } else { "" }
    );
    for mismatch in mismatches {
        let _ = writeln!(text, "{}", mismatch.short);
    }
    text.push_str(if schedule.is_plain() {
        "if this is right: cargo insta review"
    } else {
        "snapshots are written by the plain schedule; under this one the pipeline behaved differently"
    });
    text
}

struct Run<'a> {
    case: &'a Case,
    stack: &'a dyn Stack,
    suite: &'a Suite,
    schedule: Schedule,
    evidence: &'a Evidence,
}

impl Run<'_> {
    fn start_subject(&self) -> Result<Subject, Failure> {
        self.evidence.phase("starting the subject");
        let mut environment = self.stack.environment();
        environment.extend(self.case.settings.env.clone());
        if self.schedule.restarts() {
            environment.extend(self.case.settings.env_when_restarted.clone());
        }
        let Suite { program, root, .. } = self.suite;
        Ok(Subject::start(program, &self.case.settings.args, &environment, root, &self.evidence.log)?)
    }

    fn settling<'s>(&'s self, subject: &'s Subject) -> Settling<'s> {
        Settling { stack: self.stack, subject, log: &self.evidence.log }
    }

    /// Sends records, and checks that they are where they were meant to be.
    fn send(&self, records: &[Record]) -> Result<Goal, Failure> {
        self.evidence.phase("sending the messages");
        self.stack.produce(records)?;
        let mut ends = self.stack.end_offsets(std::slice::from_ref(&self.case.settings.topic))?;
        ends.retain(|_, end| *end > 0);
        let goal = Goal { groups: self.case.settings.groups.clone(), ends };
        self.evidence.found().goal = Some(goal.clone());
        Ok(goal)
    }

    fn expecting_failure(&self, text: &str) -> Result<(), Failure> {
        self.send(&self.case.records)?;
        let subject = self.start_subject()?;
        self.evidence.phase("waiting for the expected failure");
        Ok(self.settling(&subject).said(text, self.case.settings.timeout)?)
    }

    /// Starts a subject, lets it drain and stops it.
    fn drain(&self, goal: &Goal) -> Result<(), Failure> {
        self.drain_with(&self.start_subject()?, goal)
    }

    fn drain_with(&self, subject: &Subject, goal: &Goal) -> Result<(), Failure> {
        let settling = self.settling(subject);
        self.evidence.phase("waiting until it has drained");
        let covered = settling.drained(goal, self.case.settings.timeout)?;
        self.evidence.phase("stopping the subject");
        settling.stop()?;
        Ok(settling.settled(goal, covered)?)
    }

    /// Kills a subject at its call number `call`, then lets another one drain.
    fn killed(&self, goal: &Goal, call: usize, carried_out: bool) -> Result<(), Failure> {
        let killer: Arc<OnceLock<Killer>> = Arc::default();
        let (target, log) = (Arc::clone(&killer), self.evidence.log.clone());
        let hook = Box::new(move || {
            log.note(format!("-- SIGKILL at call {call}"));
            target.wait().kill();
        });
        let moment = if carried_out { Moment::After } else { Moment::Before };
        self.stack.calls().inject(Fault::Hold { call, moment, hook });
        let subject = self.start_subject()?;
        let _ = killer.set(subject.killer());
        match self.drain_with(&subject, goal) {
            Err(Failure::Settle(SettleError::Ended { .. })) if self.stack.calls().snapshot().len() >= call => {
                self.drain(goal)
            }
            other => other,
        }
    }

    fn to_the_end(&self) -> Result<(), Failure> {
        let records = &self.case.records;
        match self.schedule {
            Schedule::Plain => self.drain(&self.send(records)?),
            Schedule::Twice => self.drain(&self.send(&twice(records))?),
            Schedule::Restarted => {
                let (first, second) = records.split_at(records.len().div_ceil(2));
                self.drain(&self.send(first)?)?;
                // Without anything to do, the second one would be told to stop before it can hear it.
                if second.is_empty() { Ok(()) } else { self.drain(&self.send(second)?) }
            }
            Schedule::Killed { call, carried_out } => self.killed(&self.send(records)?, call, carried_out),
            Schedule::Throttled => {
                self.stack.calls().inject(Fault::Throttle(Hits::Every(2)));
                self.drain(&self.send(records)?)
            }
        }
    }
}

/// Every record twice in a row, with the offsets that this gives.
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
