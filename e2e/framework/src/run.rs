//! One run of one case: services, messages, subject, settling, observation, comparison.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::calls::{Fault, Hits, Moment};
use crate::case::{Case, CaseId, Expectation, FixtureError};
use crate::evidence::{Active, Evidence, Phase, keep};
use crate::observe::{Counts, Observation};
use crate::outcome::Outcome;
use crate::schedule::Schedule;
use crate::settle::{Goal, SettleError, Settling};
use crate::snapshot::{self, Comparison};
use crate::stack::{Record, Stack, StackError};
use crate::subject::{Killer, Program, Subject, SubjectError};
use crate::suite::{Options, Suite};

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

impl Failure {
    /// Whether it is the services that failed, and not the pipeline or the test.
    fn is_infrastructure(&self) -> bool {
        match self {
            Self::Stack(error) | Self::Settle(SettleError::Stack(error)) => error.infrastructure,
            _ => false,
        }
    }
}

/// Runs a case. `repeat` is the command that runs it again.
pub fn run(suite: &Suite, id: &CaseId, options: &Options, repeat: String) -> Outcome {
    let mut counts = Counts::default();
    carry_out(suite, id, options, repeat, |evidence| {
        let (case, observation) = attempt(suite, id, options, evidence, &mut counts)?;
        counts = observation.counts(counts.messages);
        evidence.found().observed = Some(observation.text());
        expected_amount(&case, &observation)?;

        evidence.phase(Phase::Comparing);
        let comparison = Comparison::of(options.schedule, &suite.program);
        let mismatches = snapshot::check(&case, &observation, comparison);
        if mismatches.is_empty() {
            return Ok(counts);
        }
        evidence.found().diff =
            Some(mismatches.iter().map(|mismatch| mismatch.full.as_str()).collect::<Vec<_>>().join("\n"));
        Err(Failure::Observation(differs(&mismatches, comparison)))
    })
}

/// Runs a case and compares nothing: what is to be compared with another stack's observation.
pub(crate) fn observe(suite: &Suite, id: &CaseId, options: &Options, repeat: String) -> (Outcome, Observation) {
    let mut observed = Observation::default();
    let outcome = carry_out(suite, id, options, repeat, |evidence| {
        let mut counts = Counts::default();
        observed = attempt(suite, id, options, evidence, &mut counts)?.1;
        Ok(observed.counts(counts.messages))
    });
    (outcome, observed)
}

/// Does `work`, and makes of its end an outcome, with a capsule if it failed.
fn carry_out(
    suite: &Suite,
    id: &CaseId,
    options: &Options,
    repeat: String,
    work: impl FnOnce(&Evidence) -> Result<Counts, Failure>,
) -> Outcome {
    let started = Instant::now();
    let evidence = Evidence::new(id, options, repeat, &suite.target());
    // What an earlier run has left is not about this one.
    let _ = std::fs::remove_dir_all(&evidence.folder);
    let done = {
        let _active = Active::new(&evidence);
        work(&evidence)
    };
    let mut infrastructure = false;
    let (counts, failure) = match done {
        Ok(counts) => (counts, None),
        Err(failure) => {
            let mut verdict = format!("while {}: {failure}", evidence.found().phase());
            infrastructure = failure.is_infrastructure();
            // Services that have gone make a case fail in many ways.
            let stack = evidence.found().stack.clone();
            if let (false, Some(Err(error))) = (infrastructure, stack.map(|stack| stack.health())) {
                infrastructure = true;
                verdict = format!("{error}\n{verdict}");
            }
            if infrastructure {
                verdict = format!("infrastructure, not the pipeline: {verdict}");
            }
            let kept = keep(&evidence, &verdict);
            (Counts::default(), Some(verdict.trim_end().to_owned() + &kept))
        }
    };
    if failure.is_none() && options.keep_capsules {
        // Asked for, so it is worth a word when it fails, but no failure of the case.
        if let Err(error) = evidence.write("passed") {
            eprintln!("{id}: cannot keep {}: {error}", evidence.folder.display());
        }
    }
    // The services end here, not in the capsule's hands.
    evidence.found().stack = None;
    let times = evidence.times();
    Outcome { id: id.clone(), counts, duration: started.elapsed(), times, failure, infrastructure }
}

fn attempt(
    suite: &Suite,
    id: &CaseId,
    options: &Options,
    evidence: &Evidence,
    counts: &mut Counts,
) -> Result<(Case, Observation), Failure> {
    evidence.phase(Phase::Reading);
    let mut case = Case::read(&suite.fixtures, id)?;
    counts.messages = case.records.len();

    evidence.phase(Phase::StartingServices);
    let stack = options.start(suite)?;
    evidence.found().stack = Some(Arc::clone(&stack));
    provide(&case, stack.as_ref())?;
    case.settings = case.settings.within(stack.namespace());
    evidence.log.within(stack.namespace());

    let run = Run { case: &case, stack: stack.as_ref(), suite, schedule: options.schedule, evidence };
    match &case.expectation {
        Expectation::Failure { text } => run.expecting_failure(text)?,
        _ => run.to_the_end()?,
    }

    evidence.phase(Phase::Observing);
    let observation = match case.expectation {
        // What was written before it stopped depends on when it stopped.
        Expectation::Failure { .. } => Observation::default(),
        _ => Observation::of(&case, stack.as_ref())?,
    };
    Ok((case, observation))
}

/// Creates the topics, tables and buckets of a case.
pub fn provide(case: &Case, stack: &dyn Stack) -> Result<(), StackError> {
    stack.provide(&case.settings.topics, &case.settings.tables, &case.settings.buckets)
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

fn differs(mismatches: &[snapshot::Mismatch], comparison: Comparison) -> String {
    let count = mismatches.len();
    let mut text = format!(
        "{count} snapshot{} differ{}\n\n",
        if count == 1 { "" } else { "s" },
        if count == 1 { "s" } else { "" }
    );
    for mismatch in mismatches {
        let _ = writeln!(text, "{}", mismatch.short);
    }
    text.push_str(if comparison == Comparison::Exact {
        "if this is right: cargo insta review"
    } else {
        "snapshots are written by the plain schedule; in this run the pipeline behaved differently"
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

    /// Sends records, and checks that they are where they were meant to be.
    fn send(&self, records: &[Record]) -> Result<Goal, Failure> {
        self.evidence.phase(Phase::Sending);
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
        self.evidence.phase(Phase::AwaitingFailure);
        Ok(self.settling(&subject).said(text, self.case.settings.timeout)?)
    }

    /// Starts a subject, lets it drain and stops it.
    fn drain(&self, goal: &Goal) -> Result<(), Failure> {
        if self.suite.program == Program::Running {
            self.evidence.phase(Phase::Draining);
            let settling = Settling { stack: self.stack, subject: None, log: &self.evidence.log };
            return Ok(settling.drained(&mut goal.clone(), self.case.settings.timeout).map(drop)?);
        }
        self.drain_with(&self.start_subject()?, goal)
    }

    fn drain_with(&self, subject: &Subject, goal: &Goal) -> Result<(), Failure> {
        let settling = self.settling(subject);
        self.evidence.phase(Phase::Draining);
        let mut goal = goal.clone();
        let covered = settling.drained(&mut goal, self.case.settings.timeout)?;
        self.evidence.phase(Phase::Stopping);
        settling.stop()?;
        Ok(settling.settled(&goal, covered)?)
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
