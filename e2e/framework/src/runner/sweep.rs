//! `e2e --sweep` runs every case undisturbed. Then it runs the case once for each of its calls to AWS and Kafka with the
//! subject killed before the call, and once with the subject killed after it, and for batches once more in their middle; or
//! for a sample of these crash points.

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
pub(super) const SENTENCE: &str = "killed at every call: each case runs undisturbed, then with the pipeline killed before and after each of its calls to AWS and Kafka, and in the middle of each batch";

/// A part of the crash points, which a seed chooses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// How many points are chosen, if there are as many.
    pub points: NonZeroUsize,
    pub seed: u64,
}

impl Sample {
    /// Chooses among the tasks. A point is chosen by its own name, so that one more or one less among the others, as
    /// when a pipeline asks a queue once more, hardly changes the choice.
    fn choose(self, mut tasks: Vec<(CaseId, Schedule)>) -> Vec<(CaseId, Schedule)> {
        tasks.sort_by_cached_key(|(id, schedule)| self.rank(&format!("{id} {schedule}")));
        tasks.truncate(self.points.get());
        tasks
    }

    /// The FNV-1a hash of the name, stirred with the seed.
    fn rank(self, name: &str) -> u64 {
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        fastrand::Rng::with_seed(hash ^ fastrand::Rng::with_seed(self.seed).u64(..)).u64(..)
    }
}

/// What a sweep has run.
#[derive(Debug)]
pub(super) struct Swept {
    /// The outcomes of all runs, with those of each case together.
    pub outcomes: Vec<Outcome>,
    /// How many crash points the undisturbed runs have shown.
    planned: usize,
    sample: Option<Sample>,
}

/// Sweeps the cases. A case that fails undisturbed is not run again.
pub(super) fn run(
    cases: &[CaseId],
    jobs: Option<NonZeroUsize>,
    quiet: bool,
    sample: Option<Sample>,
    run: impl Fn(&CaseId, Schedule) -> Outcome + Sync,
) -> Swept {
    let mut outcomes = run_all(cases, jobs, quiet, |id| run(id, Schedule::Plain));
    let passed = outcomes.iter().filter(|outcome| outcome.failure().is_none());
    let tasks: Vec<(CaseId, Schedule)> = passed
        .flat_map(|outcome| {
            let points = CrashPoint::at_all(&outcome.calls).into_iter();
            points.map(|point| (outcome.id.clone(), Schedule::Killed(point)))
        })
        .collect();
    let planned = tasks.len();
    let tasks = if let Some(sample) = sample { sample.choose(tasks) } else { tasks };
    outcomes.extend(run_all(&tasks, jobs, quiet, |(id, schedule)| run(id, schedule.clone())));
    outcomes.sort_by(|a, b| a.id.cmp(&b.id));
    Swept { outcomes, planned, sample }
}

/// The text about a sweep: one line for every case, then the totals and the runs that failed.
pub(super) fn text(swept: &Swept, took: Duration) -> String {
    let outcomes = &swept.outcomes;
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
    let seconds = took.as_secs_f64();
    let _ = writeln!(
        text,
        "\n{} cases, {killed} times killed and started again, {undisturbed} runs in which the call did not occur or could not be torn, {failed} failed, {seconds:.1} s",
        cases.len(),
    );
    text.push_str(&swept.points());
    for outcome in outcomes.iter().filter(|outcome| outcome.failure().is_some()) {
        let _ = writeln!(text, "  ✗ {}", outcome.name());
    }
    text
}

impl Swept {
    /// How many crash points were planned, chosen, hit and never hit. A run that failed has hit its point, or could not
    /// tell.
    fn points(&self) -> String {
        let under_a_point = || self.outcomes.iter().filter(|outcome| !outcome.schedule.is_plain());
        let (chosen, planned) = (under_a_point().count(), self.planned);
        let never = under_a_point().filter(|outcome| outcome.undisturbed().is_some()).count();
        let choice = match self.sample {
            Some(Sample { points, seed }) => {
                format!("{chosen} of them chosen by --sample {points} --seed {seed}")
            }
            None => "all of them chosen".to_owned(),
        };
        format!("{planned} crash points, {choice}: {} hit, {never} never hit\n", chosen - never)
    }
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
        let swept = run(&[id], None, true, None, |id, schedule| {
            let calls = ["s3.PutObject:1", "dynamodb.PutItem:1"];
            outcome(id, schedule, &calls)
        });
        let outcomes = &swept.outcomes;
        let schedules: Vec<String> = outcomes.iter().map(|outcome| outcome.schedule.to_string()).collect();
        for expected in
            ["plain", "killed:s3.PutObject:1", "killed:s3.PutObject:1:after", "killed:dynamodb.PutItem:1:after"]
        {
            assert!(schedules.iter().any(|schedule| schedule == expected), "{expected} is not among {schedules:?}");
        }
        assert_eq!(outcomes.len(), 5);
        let text = text(&swept, Duration::from_secs(1));
        assert!(text.contains("p::c       2            1       1\n"), "{text}");
        assert!(text.contains("1 cases, 2 times killed and started again"), "{text}");
        assert!(text.contains("\n4 crash points, all of them chosen: 3 hit, 1 never hit\n"), "{text}");
        assert!(text.ends_with("  ✗ p::c under killed:s3.PutObject:1\n"), "{text}");
    }

    fn chosen(seed: u64, names: &[String]) -> Vec<String> {
        let id = CaseId { protocol: "p".into(), name: "c".into() };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let sample = Sample { points: NonZeroUsize::new(4).expect("not zero"), seed };
        let swept = run(&[id], None, true, Some(sample), |id, schedule| outcome(id, schedule, &names));
        let text = text(&swept, Duration::from_secs(1));
        let expected = format!("{} crash points, 4 of them chosen by --sample 4 --seed {seed}: ", 2 * names.len());
        assert!(text.contains(&expected), "{text}");
        let mut chosen: Vec<String> = swept.outcomes.iter().map(|outcome| outcome.schedule.to_string()).collect();
        chosen.retain(|schedule| schedule != "plain");
        chosen.sort();
        chosen
    }

    #[test]
    fn a_seed_chooses_the_same_points_in_every_run_and_one_more_point_changes_one_choice_at_most() {
        let names: Vec<String> = (1..=20).map(|nth| format!("dynamodb.PutItem:{nth}")).collect();
        let first = chosen(7, &names);
        assert_eq!(first.len(), 4);
        assert_eq!(chosen(7, &names), first);
        assert_ne!(chosen(8, &names), first);
        let more: Vec<String> = names.into_iter().chain(["sqs.ReceiveMessage:1".to_owned()]).collect();
        let kept = chosen(7, &more).into_iter().filter(|point| first.contains(point)).count();
        assert!(kept >= 2, "of the two new points both may be chosen, and {kept} are left");
    }
}
