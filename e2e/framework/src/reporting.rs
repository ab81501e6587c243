//! Adds outcomes to the report of a run. The runner does this once at its end, and a test target after each case.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use crate::observe::plural;
use crate::outcome::{Outcome, Times, Verdict};
use crate::report::{CaseReport, CaseVerdict, Report, RunFacts};
use crate::stack::StackKind;
use crate::{Suite, variables};

/// Adds outcomes, which took this long until now, to the report of this run, and returns the path of the newest
/// report, which is this one. `schedule` is the sentence about the schedule. An error names the report that could not
/// be written and what to do.
pub(crate) fn add(
    suite: &Suite,
    stack: StackKind,
    schedule: &str,
    outcomes: &[Outcome],
    took: Duration,
) -> Result<PathBuf, String> {
    let folder = suite.target().join("e2e");
    let report = Report::new(&folder, run_name());
    let cases: Vec<CaseReport> = outcomes.iter().map(|outcome| case(outcome, &folder)).collect();
    report.add(|| facts(suite, stack, schedule, took), &cases).map_err(|error| {
        format!(
            "cannot write the report {}: {error}; set CARGO_TARGET_DIR to a folder that can be written",
            report.page().display()
        )
    })
}

/// The name of this run, which the environment may give so that several runs share a report. All processes of a run of
/// nextest have the same name. Any other process is a run of its own.
fn run_name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let given = [variables::REPORT, "NEXTEST_RUN_ID"].into_iter().filter_map(|name| std::env::var(name).ok());
        let mut names = given.filter(|name| variables::is_name_of_report(name));
        names.next().unwrap_or_else(|| {
            format!("{}-{}", jiff::Timestamp::now().strftime("%Y-%m-%dT%H-%M-%S"), std::process::id())
        })
    })
}

fn facts(suite: &Suite, stack: StackKind, schedule: &str, took: Duration) -> RunFacts {
    RunFacts {
        started: jiff::Timestamp::now().saturating_sub(took).unwrap_or_default().as_millisecond(),
        root: suite.root.display().to_string(),
        commit: commit(&suite.root),
        stack: stack.to_string(),
        schedule: match std::env::var(variables::REPORT) {
            Ok(_) => "of several runs, each of which names its own".to_owned(),
            Err(_) => schedule.to_owned(),
        },
        subject: suite.program.to_string(),
    }
}

/// The commit that is checked out in a folder, and whether its files differ from it.
fn commit(root: &Path) -> Option<String> {
    let mut git = Command::new("git");
    git.arg("-C").arg(root).args(["describe", "--always", "--abbrev=12", "--exclude=*", "--dirty= and changes to it"]);
    let output = git.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

fn case(outcome: &Outcome, folder: &Path) -> CaseReport {
    CaseReport {
        name: outcome.name(),
        case: outcome.id.to_string(),
        kind: outcome.schedule.kind(),
        description: outcome.description.clone(),
        weaker: outcome.weaker.clone(),
        verdict: match &outcome.verdict {
            Verdict::Passed => CaseVerdict::Passed,
            Verdict::Undisturbed(_) => CaseVerdict::Undisturbed,
            Verdict::SameState(_) => CaseVerdict::SameState,
            Verdict::Failed(_) => CaseVerdict::Failed,
            Verdict::Infrastructure(_) => CaseVerdict::Infrastructure,
        },
        failure: outcome.failure().or(outcome.undisturbed()).or(outcome.same_state()).unwrap_or_default().to_owned(),
        difference: outcome.difference.clone(),
        log: outcome.log.clone(),
        evidence: outcome.evidence.as_deref().map(|evidence| files(evidence, folder)).unwrap_or_default(),
        counts: counts(outcome),
        faults: outcome.faults,
        ledger: outcome.ledger.clone(),
        phases: phases(&outcome.times),
        seconds: outcome.duration.as_secs_f64(),
    }
}

fn counts(outcome: &Outcome) -> Vec<(String, usize)> {
    outcome.counts.nouns().map(|noun| (plural(noun), outcome.counts.of(noun))).collect()
}

fn phases(times: &Times) -> Vec<(String, f64)> {
    times.named().map(|(name, time)| (name.to_owned(), time.as_secs_f64())).into()
}

/// The files of an evidence folder, as paths relative to the report's folder.
fn files(evidence: &Path, folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(evidence).into_iter().flatten().flatten();
    let mut files: Vec<String> = entries
        .filter_map(|entry| {
            let path = entry.path();
            Some(path.strip_prefix(folder).unwrap_or(&path).to_str()?.to_owned())
        })
        .collect();
    files.sort();
    files
}
