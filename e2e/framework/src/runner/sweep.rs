//! `e2e --sweep` runs every case undisturbed. Then it runs the case once for each of its AWS calls with the subject
//! killed before the call, and once with the subject killed after it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::num::NonZeroUsize;
use std::time::Duration;

use super::cases::run_all;
use crate::schedule::CrashPoint;
use crate::{CaseId, Outcome, Schedule};

/// The name of a sweep where a schedule is named.
pub(super) const NAME: &str = "killed at every call";

/// The sentence about a sweep in the report.
pub(super) const SENTENCE: &str = "killed at every call: each case runs undisturbed, then with the pipeline killed before and after each of its calls to AWS";

/// Returns the outcomes of all runs, with those of each case together. A case that fails undisturbed is not run again.
pub(super) fn run(
    cases: &[CaseId],
    jobs: Option<NonZeroUsize>,
    quiet: bool,
    run: impl Fn(&CaseId, Schedule) -> Outcome + Sync,
) -> Vec<Outcome> {
    let mut outcomes = run_all(cases, jobs, quiet, |id| run(id, Schedule::Plain));
    let passed = outcomes.iter().filter(|outcome| outcome.failure().is_none());
    let tasks: Vec<(CaseId, Schedule)> = passed
        .flat_map(|outcome| {
            let points = CrashPoint::at_all(&outcome.calls).into_iter();
            points.map(|point| (outcome.id.clone(), Schedule::Killed(point)))
        })
        .collect();
    outcomes.extend(run_all(&tasks, jobs, quiet, |(id, schedule)| run(id, schedule.clone())));
    outcomes.sort_by(|a, b| a.id.cmp(&b.id));
    outcomes
}

/// The text about a sweep: one line for every case, then the totals and the runs that failed.
pub(super) fn text(outcomes: &[Outcome], took: Duration) -> String {
    let mut cases: BTreeMap<&CaseId, Summary> = BTreeMap::new();
    for outcome in outcomes {
        cases.entry(&outcome.id).or_default().add(outcome);
    }
    let width = cases.keys().map(|id| id.to_string().chars().count()).max().unwrap_or(0);
    let mut text = format!("{:<width$}  killed  undisturbed  failed\n", "case");
    let mut total = Summary::default();
    for (id, Summary { killed, undisturbed, failed }) in &cases {
        let _ = writeln!(text, "{:<width$}  {killed:>6}  {undisturbed:>11}  {failed:>6}", id.to_string());
        total = Summary {
            killed: total.killed + killed,
            undisturbed: total.undisturbed + undisturbed,
            failed: total.failed + failed,
        };
    }
    let Summary { killed, undisturbed, failed } = total;
    let _ = writeln!(
        text,
        "\n{} cases, {killed} times killed and started again, {undisturbed} runs in which the call did not occur, {failed} failed, {:.1} s",
        cases.len(),
        took.as_secs_f64()
    );
    for outcome in outcomes.iter().filter(|outcome| outcome.failure().is_some()) {
        let _ = writeln!(text, "  ✗ {}", outcome.name());
    }
    text
}

/// How many runs of one case, or of all cases, ended in which way.
#[derive(Debug, Default, PartialEq, Eq)]
struct Summary {
    killed: usize,
    undisturbed: usize,
    failed: usize,
}

impl Summary {
    fn add(&mut self, outcome: &Outcome) {
        if outcome.failure().is_some() {
            self.failed += 1;
        } else if outcome.undisturbed().is_some() {
            self.undisturbed += 1;
        } else if !outcome.schedule.is_plain() {
            self.killed += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Counts;
    use crate::outcome::{Times, Verdict};

    fn outcome(id: &CaseId, schedule: Schedule, calls: &[&str]) -> Outcome {
        let calls = calls.iter().map(|point| point.parse::<CrashPoint>().expect("a call").call).collect();
        let (duration, times) = (Duration::ZERO, Times::default());
        let verdict = match schedule.to_string().as_str() {
            "killed:s3.PutObject:1" => Verdict::Failed("a row is missing".into()),
            "killed:s3.PutObject:1:after" => Verdict::Undisturbed("no such call".into()),
            _ => Verdict::Passed,
        };
        Outcome {
            id: id.clone(),
            description: None,
            schedule,
            counts: Counts::default(),
            ledger: None,
            duration,
            times,
            calls,
            verdict,
            difference: None,
            log: None,
            evidence: None,
        }
    }

    #[test]
    fn every_call_of_the_undisturbed_run_is_a_crash_point_before_and_after() {
        let id = CaseId { protocol: "p".into(), name: "c".into() };
        let outcomes = run(&[id], None, true, |id, schedule| {
            let calls = ["s3.PutObject:1", "dynamodb.PutItem:1"];
            outcome(id, schedule, &calls)
        });
        let schedules: Vec<String> = outcomes.iter().map(|outcome| outcome.schedule.to_string()).collect();
        for expected in
            ["plain", "killed:s3.PutObject:1", "killed:s3.PutObject:1:after", "killed:dynamodb.PutItem:1:after"]
        {
            assert!(schedules.iter().any(|schedule| schedule == expected), "{expected} is not among {schedules:?}");
        }
        assert_eq!(outcomes.len(), 5);
        let text = text(&outcomes, Duration::from_secs(1));
        assert!(text.contains("p::c       2            1       1\n"), "{text}");
        assert!(text.contains("1 cases, 2 times killed and started again"), "{text}");
        assert!(text.ends_with("  ✗ p::c under killed:s3.PutObject:1\n"), "{text}");
    }
}
