//! One run of one case: services, messages, subject, settling, observation, comparison.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::calls::{Fault, Hits, Moment};
use crate::case::{Case, CaseId, Expectation, FixtureError};
use crate::evidence::{Active, Evidence, Phase, keep};
use crate::observe::Observation;
use crate::outcome::Outcome;
use crate::schedule::Schedule;
use crate::settle::{Goal, SettleError, Settling};
use crate::snapshot::{self, Comparison};
use crate::stack::{Record, Stack, StackError};
use crate::subject::{Killer, Program, Subject, SubjectError};
use crate::suite::{Options, Suite};

/// How many of the log's last lines the report of a failed case shows.
const LOG_SHOWN: usize = 60;

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
    #[error("the framework itself failed, which is a defect of it: {0}")]
    Panic(String),
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
    carry_out(suite, id, options, repeat, |evidence| {
        let (case, observation) = attempt(suite, id, options, evidence)?;
        evidence.found().observed = Some(observation.text());
        expected_amount(&case, &observation)?;

        evidence.phase(Phase::Comparing);
        let comparison = Comparison::of(options.schedule, &suite.program);
        let mismatches = snapshot::check(&case, &observation, comparison);
        if mismatches.is_empty() {
            return Ok(());
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
        observed = attempt(suite, id, options, evidence)?.1;
        Ok(())
    });
    (outcome, observed)
}

/// Does `work`, and makes of its end an outcome, with a capsule if it failed.
fn carry_out(
    suite: &Suite,
    id: &CaseId,
    options: &Options,
    repeat: String,
    work: impl FnOnce(&Evidence) -> Result<(), Failure>,
) -> Outcome {
    let started = Instant::now();
    let evidence = Evidence::new(id, options, repeat, &suite.target());
    // What an earlier run has left is not about this one.
    let _ = std::fs::remove_dir_all(&evidence.folder);
    let done = {
        let _active = Active::new(&evidence);
        // A panic is the failure of this case alone: the others go on, and the run has its table and report.
        catch_unwind(AssertUnwindSafe(|| work(&evidence))).unwrap_or_else(|panic| Err(Failure::Panic(said(&*panic))))
    };
    let mut infrastructure = false;
    let failure = match done {
        Ok(()) => None,
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
            Some(verdict.trim_end().to_owned() + &kept)
        }
    };
    if failure.is_none() && options.keep_capsules {
        // Asked for, so it is worth a word when it fails, but no failure of the case.
        if let Err(error) = evidence.write("passed") {
            eprintln!("{id}: cannot keep {}: {error}", evidence.folder.display());
        }
    }
    let times = evidence.times();
    let folder = (failure.is_some() || options.keep_capsules).then(|| evidence.folder.clone());
    let log = failure.is_some().then(|| evidence.log.last(LOG_SHOWN));
    let mut found = evidence.found();
    // The services end here, and not when the last copy of the evidence is dropped.
    found.stack = None;
    Outcome {
        id: id.clone(),
        description: found.description.take(),
        counts: found.counts,
        duration: started.elapsed(),
        times,
        failure,
        infrastructure,
        difference: found.diff.take(),
        log,
        evidence: folder,
    }
}

/// What a panic says.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_owned())
}

fn attempt(suite: &Suite, id: &CaseId, options: &Options, evidence: &Evidence) -> Result<(Case, Observation), Failure> {
    evidence.phase(Phase::Reading);
    let mut case = Case::read(&suite.fixtures, id)?;
    let messages = case.records.len();
    evidence.found().counts.messages = messages;
    evidence.found().description.clone_from(&case.description);

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
    evidence.found().counts = observation.counts(messages);
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
            cut(&observation.text())
        ))),
        _ => Ok(()),
    }
}

/// The beginning of a text that may be of any size: a terminal shows no more, and the whole is in the evidence.
fn cut(text: &str) -> String {
    const LINES: usize = 30;
    const WIDTH: usize = 160;
    let mut shown = String::new();
    for line in text.lines().take(LINES) {
        let end = line.char_indices().nth(WIDTH).map_or(line.len(), |(end, _)| end);
        let more = if end < line.len() { format!("… ({} bytes)", line.len()) } else { String::new() };
        let _ = writeln!(shown, "{}{more}", &line[..end]);
    }
    if text.lines().count() > LINES {
        let _ = writeln!(shown, "… and {} more lines", text.lines().count() - LINES);
    }
    shown
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_shows_of_an_observation_is_cut() {
        assert_eq!(cut("==== t\na\n"), "==== t\na\n");
        let long = format!("{}\n", "x".repeat(1000)).repeat(2_800);
        let shown = cut(&long);
        assert!(shown.len() < 6_000 && shown.ends_with("… and 2770 more lines\n"), "{shown}");
    }

    #[test]
    fn a_panic_is_the_failure_of_its_case_and_leaves_evidence() {
        let root = tempfile::tempdir().expect("a folder");
        let suite = Suite::new(root.path(), Program::Running);
        let id = CaseId { protocol: "p".into(), name: "c".into() };
        let outcome = carry_out(&suite, &id, &Options::default(), "run it".into(), |_| panic!("index out of range"));
        let failure = outcome.failure.expect("it failed");
        assert!(
            failure.contains("a defect of it: index out of range") && failure.contains("run it again"),
            "{failure}"
        );
    }
}
