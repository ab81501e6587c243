//! One run of one case: services, messages, subject, settling, observation, comparison.

use std::any::Any;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::case::{Case, CaseId, Expectation, FixtureError};
use crate::compare::{self, Comparison};
use crate::drive::{Disturbance, Drive, DriveError};
use crate::evidence::{Active, Evidence, Phase, keep};
use crate::history::History;
use crate::ledger::{self, Ledger, Produced};
use crate::mutate::Mutations;
use crate::observe::{self, MESSAGE, Observation};
use crate::outcome::{FoundBy, Outcome, Verdict};
use crate::schedule::{self, Schedule};
use crate::settle::SettleError;
use crate::snapshot::{self, Checked};
use crate::stack::{Stack, StackError};
use crate::subject::Clock;
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
    Drive(#[from] DriveError),
    #[error("{text}")]
    Observation { text: String, found_by: Vec<FoundBy> },
    #[error("the schedule {0} disturbed nothing: {1}")]
    Undisturbed(String, String),
    #[error("the framework itself failed, which is a defect of it: {0}")]
    Panic(String),
}

impl Failure {
    /// What has found the defect of the pipeline that made the case fail.
    fn found_by(&self) -> Vec<FoundBy> {
        let found_by = match self {
            Self::Observation { found_by, .. } => return found_by.clone(),
            // A run that was too slow and has nothing left to do has found nothing.
            Self::Drive(DriveError::Settle(SettleError::Behind { behind, .. })) if !behind.is_empty() => FoundBy::Lag,
            Self::Drive(DriveError::Settle(SettleError::Ended { .. })) => FoundBy::End,
            Self::Drive(DriveError::Settle(SettleError::Stop { .. })) => FoundBy::Stop,
            Self::Drive(DriveError::Settle(SettleError::WroteAfterCommit { .. })) => FoundBy::WriteAfterCommit,
            Self::Drive(DriveError::Settle(SettleError::TookBack { .. })) => FoundBy::Commits,
            Self::Drive(DriveError::Fenced { .. }) => FoundBy::Fencing,
            Self::Drive(DriveError::Settle(SettleError::NotSaid { .. })) => FoundBy::NoFailure,
            _ => return Vec::new(),
        };
        vec![found_by]
    }

    /// Whether it is the services that failed, and not the pipeline or the test.
    fn is_infrastructure(&self) -> bool {
        match self {
            Self::Stack(error) => error.infrastructure,
            Self::Drive(error) => error.is_infrastructure(),
            _ => false,
        }
    }
}

/// Runs a case. `repeat` is the command that runs it again.
///
/// Snapshots are written only in a process that [`crate::harness::main`] or [`crate::runner::main`] has begun. In every
/// other process they are compared and left as they are.
pub fn run(suite: &Suite, id: &CaseId, options: &Options, repeat: String) -> Outcome {
    carry_out(id, options, repeat, &suite.target(), |evidence| {
        let again = || attempt(suite, id, options, evidence, None);
        let attempt = again()?;
        let is_exact = Comparison::of(&options.schedule, &suite.program).is_exact();
        if is_exact && snapshot::is_due(&attempt.case, &attempt.observation) {
            agree(&attempt.observation, || Ok(again()?.observation), evidence)?;
        }
        judge(suite, options, attempt, evidence, snapshot::check)
    })
}

/// Runs a case again, for what the first run gave becomes a snapshot only if every run gives it.
fn agree(
    first: &Observation,
    again: impl Fn() -> Result<Observation, Failure>,
    evidence: &Evidence,
) -> Result<(), Failure> {
    let mut runs = vec![first.clone()];
    while runs.len() < snapshot::RUNS {
        evidence.log.note("-- the case is run once more, for its snapshots are new".to_owned());
        runs.push(again()?);
    }
    match snapshot::disagreement(&runs) {
        Some(text) => Err(Failure::Observation { text, found_by: vec![FoundBy::Snapshots] }),
        None => Ok(()),
    }
}

/// Runs a case with mutations. No snapshot is written. The evidence goes to a folder below `folder`, so that it does
/// not replace that of other runs.
pub(crate) fn mutated(
    suite: &Suite,
    id: &CaseId,
    options: &Options,
    repeat: String,
    folder: &Path,
    mutations: &Arc<Mutations>,
) -> Outcome {
    carry_out(id, options, repeat, folder, |evidence| {
        let attempt = attempt(suite, id, options, evidence, Some(mutations))?;
        if let Some(stack) = &evidence.found().stack {
            mutations.end(&stack.calls().snapshot());
        }
        if matches!(attempt.case.expectation, Expectation::Failure { outputs: false, .. }) {
            mutations.forget();
        }
        judge(suite, options, attempt, evidence, |case, observation, comparison| Checked {
            mismatches: snapshot::differences(case, observation, comparison),
            problems: Vec::new(),
        })
    })
}

/// Compares what a run has left with what the case expects. `check` compares the snapshots, and may write them.
fn judge(
    suite: &Suite,
    options: &Options,
    attempt: Attempt,
    evidence: &Evidence,
    check: impl FnOnce(&Case, &Observation, Comparison) -> Checked,
) -> Result<Verdict, Failure> {
    let Attempt { case, observation, ledger, disturbance } = attempt;
    if let Disturbance::SameState(schedule) = disturbance {
        return Ok(Verdict::SameState(schedule.to_string()));
    }
    evidence.phase(Phase::Comparing);
    let comparison = Comparison::of(&options.schedule, &suite.program);
    let (mut problems, mut full, mut found_by) = (Vec::new(), Vec::new(), Vec::new());
    // The ledger comes first, because it names the message.
    if let Some(problem) = ledger.and_then(|ledger| ledger.problem) {
        evidence.phase(Phase::Balancing);
        problems.push(problem.short);
        full.push(problem.full);
        found_by.push(FoundBy::Ledger);
    }
    if let Err(problem) = expected_amount(&case, &observation) {
        problems.push(problem);
        found_by.push(FoundBy::Snapshots);
    } else {
        let Checked { mismatches, problems: unwritten } = check(&case, &observation, comparison);
        problems.extend(unwritten);
        if !mismatches.is_empty() {
            full.extend(mismatches.iter().map(|mismatch| mismatch.full.clone()));
            problems.push(compare::describe(&mismatches, comparison));
            found_by.push(FoundBy::Snapshots);
        }
        if options.schedule.is_plain() && !observation.unmatched.is_empty() {
            problems.extend(observation.unmatched);
            found_by.push(FoundBy::Redaction);
        }
    }
    if !full.is_empty() {
        evidence.found().diff = Some(full.join("\n"));
    }
    if !problems.is_empty() {
        return Err(Failure::Observation { text: problems.join("\n"), found_by });
    }
    match disturbance {
        Disturbance::AsScheduled | Disturbance::SameState(_) => Ok(Verdict::Passed),
        Disturbance::None(why) if options.must_disturb => Err(Failure::Undisturbed(options.schedule.to_string(), why)),
        Disturbance::None(why) => Ok(Verdict::Undisturbed(why)),
    }
}

/// Runs a case and compares nothing, for what it observes is to be compared with what another stack gives.
pub(crate) fn observe(suite: &Suite, id: &CaseId, options: &Options, repeat: String) -> (Outcome, Observation) {
    let mut observed = Observation::default();
    let outcome = carry_out(id, options, repeat, &suite.target(), |evidence| {
        observed = attempt(suite, id, options, evidence, None)?.observation;
        Ok(Verdict::Passed)
    });
    (outcome, observed)
}

/// Does `work` and makes an outcome of its end. If it failed, its evidence is kept below `target`.
fn carry_out(
    id: &CaseId,
    options: &Options,
    repeat: String,
    target: &Path,
    work: impl FnOnce(&Evidence) -> Result<Verdict, Failure>,
) -> Outcome {
    let started = Instant::now();
    let evidence = Evidence::new(id, options, repeat, target);
    let done = {
        let _active = Active::new(&evidence);
        // A panic is the failure of this case alone: the others go on, and the run has its table and report.
        catch_unwind(AssertUnwindSafe(|| work(&evidence))).unwrap_or_else(|panic| Err(Failure::Panic(said(&*panic))))
    };
    let found_by = done.as_ref().err().map(Failure::found_by).unwrap_or_default();
    let verdict = done.unwrap_or_else(|failure| failed(&failure, &evidence));
    if options.keep_evidence && matches!(verdict, Verdict::Passed | Verdict::Undisturbed(_) | Verdict::SameState(_)) {
        // It was asked for, so it is worth a word when it cannot be written, but it is no failure of the case.
        if let Err(error) = evidence.write("passed") {
            crate::machine::warn(&format!("{id}: cannot write {}: {error}", evidence.folder.display()));
        }
    }
    let is_failure = matches!(verdict, Verdict::Failed(_) | Verdict::Infrastructure(_));
    let folder = (is_failure || options.keep_evidence).then(|| evidence.folder.clone());
    let log = is_failure.then(|| evidence.log.last(LOG_SHOWN));
    let (times, duration) = (evidence.times(), started.elapsed());
    let mut found = evidence.found();
    // The services end here, and not when the last copy of the evidence is dropped.
    let (crash_points, faults) = (found.crash_points(), found.faults());
    let reads = found.stack.take().map(|stack| stack.calls().reads()).unwrap_or_default();
    Outcome {
        id: id.clone(),
        description: found.description.take(),
        weaker: std::mem::take(&mut found.weaker),
        schedule: options.schedule.clone(),
        counts: found.counts.clone(),
        ledger: found.ledger.take(),
        duration,
        times,
        crash_points,
        reads,
        faults,
        verdict,
        found_by,
        difference: found.diff.take(),
        log,
        evidence: folder,
    }
}

/// The verdict on a run that failed; its evidence is kept.
fn failed(failure: &Failure, evidence: &Evidence) -> Verdict {
    let mut text = format!("while {}: {failure}", evidence.found().phase());
    let mut is_infrastructure = failure.is_infrastructure();
    // Services that have gone make a case fail in many ways.
    let stack = evidence.found().stack.clone();
    if let (false, Some(Err(error))) = (is_infrastructure, stack.map(|stack| stack.health())) {
        is_infrastructure = true;
        text = format!("{error}\n{text}");
    }
    if is_infrastructure {
        text = format!("infrastructure, not the pipeline: {text}");
    }
    let text = text.trim_end().to_owned() + &keep(evidence, &text);
    if is_infrastructure { Verdict::Infrastructure(text) } else { Verdict::Failed(text) }
}

/// What a panic says.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_owned())
}

/// A run that has ended, and what it has left.
struct Attempt {
    case: Case,
    observation: Observation,
    /// The ledger, if the case keeps one.
    ledger: Option<Ledger>,
    disturbance: Disturbance,
}

/// Reads the case, runs it on services of its own and observes what it has left.
fn attempt(
    suite: &Suite,
    id: &CaseId,
    options: &Options,
    evidence: &Evidence,
    mutations: Option<&Arc<Mutations>>,
) -> Result<Attempt, Failure> {
    evidence.phase(Phase::Reading);
    let mut case = Case::read(&suite.fixtures, id)?;
    let unchanged = match &options.schedule {
        Schedule::Partitions(partitions) => schedule::partition_anew(&mut case, *partitions),
        Schedule::Variant(name) => {
            let variant = case.settings.variant(name);
            variant.map_err(|problem| FixtureError::new(&case.folder.join("case.toml"), problem))?;
            None
        }
        _ => None,
    };
    evidence.found().counts.add(MESSAGE, case.records.len());
    evidence.found().description.clone_from(&case.description);
    evidence.found().weaker = case.settings.weaker();

    evidence.phase(Phase::StartingServices);
    let stack = options.start(suite)?;
    evidence.found().begin_on(Arc::clone(&stack));
    stack.provide(&case.settings.resources)?;
    case.settings = case.settings.within(stack.namespace());
    evidence.log.within(stack.namespace());
    if let Some(mutations) = mutations {
        mutations.begin(&case.settings, stack.namespace());
        stack.calls().mutate(Arc::clone(mutations));
    }

    let Options { schedule, killed_states, .. } = options;
    let killed_states = killed_states.as_ref();
    let clock = match schedule {
        Schedule::Clock => Clock::new().map_err(|error| StackError::new("making a clock for the pipeline", error))?,
        _ => None,
    };
    let drive = Drive {
        case: &case,
        stack: stack.as_ref(),
        suite,
        schedule,
        killed_states,
        clock,
        evidence,
        history: History::default(),
    };
    let disturbance = unchanged.map_or(drive.run()?, Disturbance::None);
    if let Disturbance::SameState(_) = disturbance {
        return Ok(Attempt { case, observation: Observation::default(), ledger: None, disturbance });
    }

    evidence.phase(Phase::Observing);
    let observation = match case.expectation {
        Expectation::Failure { outputs: false, .. } => Observation::by(&[], &case, stack.as_ref())?,
        _ => Observation::of(&case, stack.as_ref())?,
    };
    evidence.found().counts = observation.counts(case.records.len());
    evidence.found().observed = Some(observation.text());
    let ledger = ledger(&case, &observation, stack.as_ref(), options)?;
    evidence.found().ledger = ledger.as_ref().map(|ledger| ledger.balance.clone());
    Ok(Attempt { case, observation, ledger, disturbance })
}

/// The ledger of a case that keeps one. One that fails as it is expected to may stop anywhere, so it keeps none.
fn ledger(
    case: &Case,
    observation: &Observation,
    stack: &dyn Stack,
    options: &Options,
) -> Result<Option<Ledger>, StackError> {
    let Some(rules) = &case.settings.ledger else { return Ok(None) };
    if matches!(case.expectation, Expectation::Failure { .. }) {
        return Ok(None);
    }
    let mut records = Vec::new();
    for topic in case.topics() {
        records.extend(stack.read_topic(topic)?);
    }
    let mut produced = Produced::of(records, rules);
    for object in &case.objects {
        let path = format!("{}/{}", object.bucket, object.key);
        if rules.from_objects.iter().any(|prefix| path.starts_with(prefix)) {
            produced.add_lines(&path, &observe::lines(&object.key, &object.body));
        }
    }
    let holdings: Vec<_> = observation.holdings().collect();
    Ok(Some(ledger::balance(rules, &produced, &holdings, options.schedule.is_plain())))
}

/// A case that observes nothing proves nothing, unless that is what it is about.
fn expected_amount(case: &Case, observation: &Observation) -> Result<(), String> {
    match (&case.expectation, observation.is_empty()) {
        (Expectation::Output, true) => Err(
            "nothing was observed, neither item nor row nor record nor dead letter; if that is right, write `expect_nothing = true` and `why` in case.toml".to_owned(),
        ),
        (Expectation::Nothing { why }, false) => {
            Err(format!("expected nothing ({why}), but observed:\n{}", cut(&observation.text())))
        }
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
        let id = CaseId { protocol: "p".into(), name: "c".into() };
        let outcome =
            carry_out(&id, &Options::default(), "run it".into(), root.path(), |_| panic!("index out of range"));
        let failure = outcome.failure().expect("it failed");
        assert!(
            failure.contains("a defect of it: index out of range") && failure.contains("run it again"),
            "{failure}"
        );
    }
}
