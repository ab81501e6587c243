//! `e2e --sweep` runs every case undisturbed. Then it runs the case once for each of its calls to AWS and Kafka with the
//! subject killed before the call, and once with the subject killed after it, and for batches once more in their middle; or
//! for a sample of these crash points. With a depth of 2, what was started after a crash is killed at each of its own calls,
//! too.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::num::NonZeroUsize;
use std::time::Duration;

use serde_json::{Value, json};

use super::cases::run_all;
use crate::calls::Moment;
use crate::drive::KilledStates;
use crate::schedule::Crashes;
use crate::{CaseId, Outcome, Schedule, Verdict};

/// The name of a sweep where a schedule is named.
pub(super) const NAME: &str = "killed at every call";

/// The sentence about a sweep in the report.
pub(super) const SENTENCE: &str = "killed at every call: each case runs undisturbed, then with the pipeline killed before and after each of its calls to AWS and Kafka, and in the middle of each batch";

/// Which crash points are run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// All of them, or a part.
    pub sample: Option<Sample>,
    /// How many crashes there are in one run.
    pub depth: NonZeroUsize,
}

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
    fn choose(self, tasks: &mut Vec<Task>) {
        tasks.sort_by_cached_key(|Task { id, schedule, .. }| self.rank(&format!("{id} {schedule}")));
        tasks.truncate(self.points.get());
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
    /// What was run with one crash, with two, and so on.
    levels: Vec<Level>,
    sample: Option<Sample>,
}

/// What was run with the same number of crashes.
#[derive(Debug, Default)]
struct Level {
    /// How many crash points the runs with one crash less have shown, without those that are as others.
    planned: usize,
    /// How many crash points follow a call that only reads, so that they leave the state that is before it.
    after_reads: usize,
    /// How many of them were chosen.
    chosen: usize,
    /// How many of these were not run, because they would have left a state that another run goes on from.
    foreseen: usize,
    /// Those of these in which the call did not occur.
    never: Vec<String>,
    /// How many runs ended in a state that another run goes on from.
    same: usize,
}

impl Level {
    /// In how many runs the pipeline was killed.
    fn hit(&self) -> usize {
        self.chosen - self.foreseen - self.never.len()
    }

    fn add(&mut self, killed: &[Outcome]) {
        // A run that failed has hit its point, or could not tell.
        let never = killed.iter().filter(|outcome| outcome.undisturbed().is_some());
        self.never.extend(never.map(|outcome| format!("{} {}", outcome.id, outcome.schedule)));
        self.same += killed.iter().filter(|outcome| outcome.same_state().is_some()).count();
    }
}

/// A run with a crash at a point that an earlier run has shown.
struct Task {
    id: CaseId,
    schedule: Schedule,
    /// The state that the crash left there, if it was seen.
    state: Option<u64>,
}

/// Sweeps the cases. A case that fails undisturbed is not run again. `states` are those in which `run` kills.
pub(super) fn run(
    cases: &[CaseId],
    jobs: Option<NonZeroUsize>,
    quiet: bool,
    Extent { sample, depth }: Extent,
    states: &KilledStates,
    run: impl Fn(&CaseId, Schedule) -> Outcome + Sync,
) -> Swept {
    let mut outcomes = run_all(cases, jobs, quiet, |id| run(id, Schedule::Plain));
    let mut levels = Vec::new();
    let mut shown = 0;
    for _ in 0..depth.get() {
        let mut level = Level::default();
        let mut tasks = one_crash_more(&outcomes[shown..], &mut level.after_reads);
        shown = outcomes.len();
        level.planned = tasks.len();
        if let Some(sample) = sample {
            sample.choose(&mut tasks);
        }
        level.chosen = tasks.len();
        let run = |task: &Task| run(&task.id, task.schedule.clone());
        let is_expected =
            |Task { id, schedule, state }: &Task| state.is_none_or(|state| states.expect(id, state, schedule));
        let (due, foreseen): (Vec<Task>, Vec<Task>) = tasks.into_iter().partition(is_expected);
        outcomes.extend(run_all(&due, jobs, quiet, run));
        // What was expected to leave a state may have left another one, for calls of a pipeline may change their order.
        let is_left = |Task { id, state, .. }: &Task| state.is_some_and(|state| states.is_reached(id, state));
        let (foreseen, due): (Vec<Task>, Vec<Task>) = foreseen.into_iter().partition(is_left);
        outcomes.extend(run_all(&due, jobs, quiet, run));
        level.foreseen = foreseen.len();
        level.add(&outcomes[shown..]);
        levels.push(level);
    }
    outcomes.sort_by(|a, b| a.id.cmp(&b.id));
    Swept { outcomes, levels, sample }
}

/// For each run that passed, the same run with one crash more: at each call that the pipeline made at last. A call that only
/// reads changes nothing, so a crash after it leaves what one before it leaves; such crashes are only counted.
fn one_crash_more(outcomes: &[Outcome], after_reads: &mut usize) -> Vec<Task> {
    let mut tasks = Vec::new();
    for outcome in outcomes.iter().filter(|outcome| outcome.verdict == Verdict::Passed) {
        for (point, state) in &outcome.crash_points {
            let operation = (point.call.service.clone(), point.call.operation.clone());
            if point.moment == Moment::After && outcome.reads.contains(&operation) {
                *after_reads += 1;
                continue;
            }
            let crashes = match &outcome.schedule {
                Schedule::Killed(crashes) => crashes.and(point.clone()),
                _ => Crashes::from(point.clone()),
            };
            tasks.push(Task { id: outcome.id.clone(), schedule: Schedule::Killed(crashes), state: *state });
        }
    }
    tasks
}

/// The text about a sweep: one line for every case, then the totals and the runs that failed.
pub(super) fn text(swept: &Swept, took: Duration) -> String {
    let outcomes = &swept.outcomes;
    let mut cases: BTreeMap<&CaseId, Summary> = BTreeMap::new();
    for outcome in outcomes {
        cases.entry(&outcome.id).or_default().add(outcome);
    }
    let width = cases.keys().map(|id| id.to_string().chars().count()).max().unwrap_or(0);
    let mut text = format!("{:<width$}  killed  same state  undisturbed  failed\n", "case");
    let mut total = Summary::default();
    for (id, Summary { killed, same, undisturbed, failed }) in &cases {
        let id = id.to_string();
        let _ = writeln!(text, "{id:<width$}  {killed:>6}  {same:>10}  {undisturbed:>11}  {failed:>6}");
        total = Summary {
            killed: total.killed + killed,
            same: total.same + same,
            undisturbed: total.undisturbed + undisturbed,
            failed: total.failed + failed,
        };
    }
    let Summary { killed, same, undisturbed, failed } = total;
    let seconds = took.as_secs_f64();
    let _ = writeln!(
        text,
        "\n{} cases, {killed} times killed and started again, {same} times killed in the state of another run, {undisturbed} runs in which the call did not occur, {failed} failed, {seconds:.1} s",
        cases.len(),
    );
    text.push_str(&swept.summary());
    for outcome in outcomes.iter().filter(|outcome| outcome.failure().is_some()) {
        let _ = writeln!(text, "  ✗ {}", outcome.name());
    }
    text
}

impl Swept {
    /// What the sweep covers and what it proves, with the seed that repeats it.
    pub(super) fn summary(&self) -> String {
        let seed = self.sample.map(|sample| format!(", seed {}", sample.seed)).unwrap_or_default();
        format!("{}{}{seed}\n", self.points(), Outcome::proof(&self.outcomes))
    }

    /// The same for programs, except for the proof: what was planned, run, hit and never hit for each number of crashes in
    /// a run, and the sample.
    pub(super) fn json(&self) -> Value {
        let level = |level: &Level| {
            json!({
                "planned": level.planned,
                "after_reads": level.after_reads,
                "chosen": level.chosen,
                "foreseen": level.foreseen,
                "hit": level.hit(),
                "same_state": level.same,
                "never_hit": level.never,
            })
        };
        json!({
            "crashes": self.levels.iter().map(level).collect::<Vec<_>>(),
            "sample": self.sample.map(|sample| sample.points),
            "seed": self.sample.map(|sample| sample.seed),
        })
    }

    /// How many crash points were planned, chosen, hit and never hit, for each number of crashes in a run.
    fn points(&self) -> String {
        let mut text = String::new();
        for (level, crash) in self.levels.iter().zip(1..) {
            let Level { planned, after_reads, chosen, foreseen, never, same } = level;
            let choice = match self.sample {
                Some(Sample { points, seed }) => {
                    format!("{chosen} of them chosen by --sample {points} --seed {seed}")
                }
                None => "all of them chosen".to_owned(),
            };
            let what = if crash == 1 { "crash points".to_owned() } else { format!("crash points for crash {crash}") };
            let same =
                if *same == 0 { String::new() } else { format!(" ({same} of them in the state of another run)") };
            let foreseen = if *foreseen == 0 {
                String::new()
            } else {
                format!("{foreseen} not run, for they leave the state of another run, ")
            };
            let missed = never.len();
            let _ =
                writeln!(text, "{planned} {what}, {choice}: {foreseen}{} hit{same}, {missed} never hit", level.hit());
            for name in never {
                let _ = writeln!(text, "  never hit: {name}");
            }
            if *after_reads > 0 {
                let _ =
                    writeln!(text, "{after_reads} more after calls that only read, which leave the state before them");
            }
        }
        text
    }
}

/// How many runs of one case, or of all cases, ended in which way.
#[derive(Debug, Default, PartialEq, Eq)]
struct Summary {
    killed: usize,
    same: usize,
    undisturbed: usize,
    failed: usize,
}

impl Summary {
    fn add(&mut self, outcome: &Outcome) {
        if outcome.failure().is_some() {
            self.failed += 1;
        } else if outcome.same_state().is_some() {
            self.same += 1;
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
    use crate::schedule::CrashPoint;

    fn outcome(id: &CaseId, schedule: Schedule, calls: &[&str]) -> Outcome {
        let calls = calls.iter().map(|point| point.parse::<CrashPoint>().expect("a call").call);
        let crash_points = calls.flat_map(|call| CrashPoint::around(&call)).map(|point| (point, None)).collect();
        let (duration, times) = (Duration::ZERO, Times::default());
        let faults = usize::from(!schedule.is_plain());
        let verdict = match schedule.to_string().as_str() {
            "killed:s3.PutObject:1" => Verdict::Failed("a row is missing".into()),
            "killed:s3.PutObject:1:after" => Verdict::Undisturbed("no such call".into()),
            _ => Verdict::Passed,
        };
        Outcome {
            id: id.clone(),
            description: None,
            weaker: Vec::new(),
            schedule,
            counts: Counts::default(),
            ledger: None,
            duration,
            times,
            crash_points,
            reads: [("s3".to_owned(), "HeadBucket".to_owned())].into(),
            faults,
            verdict,
            found_by: Vec::new(),
            difference: None,
            log: None,
            evidence: None,
        }
    }

    #[test]
    fn every_call_of_the_undisturbed_run_is_a_crash_point_before_and_after() {
        let id = CaseId { protocol: "p".into(), name: "c".into() };
        let swept = run(&[id], None, true, extent(None, 1), &KilledStates::default(), |id, schedule| {
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
        assert!(text.contains("p::c       2           0            1       1\n"), "{text}");
        assert!(text.contains("1 cases, 2 times killed and started again"), "{text}");
        let points =
            "\n4 crash points, all of them chosen: 3 hit, 1 never hit\n  never hit: p::c killed:s3.PutObject:1:after\n";
        assert!(text.contains(points), "{text}");
        assert!(text.contains("\n4 faults injected, 0 rows lost, 0 rows twice\n"), "{text}");
        assert!(text.ends_with("  ✗ p::c under killed:s3.PutObject:1\n"), "{text}");
        let level = json!({"planned": 4, "after_reads": 0, "chosen": 4, "foreseen": 0, "hit": 3, "same_state": 0, "never_hit": ["p::c killed:s3.PutObject:1:after"]});
        assert_eq!(swept.json(), json!({"crashes": [level], "sample": null, "seed": null}));
    }

    #[test]
    fn a_crash_after_a_call_that_only_reads_is_the_one_before_it() {
        let id = CaseId { protocol: "p".into(), name: "c".into() };
        let calls = ["s3.HeadBucket:1", "s3.PutObject:2"];
        let swept = run(&[id], None, true, extent(None, 1), &KilledStates::default(), |id, schedule| {
            outcome(id, schedule, &calls)
        });
        let schedules: Vec<String> = swept.outcomes.iter().map(|outcome| outcome.schedule.to_string()).collect();
        assert_eq!(schedules.len(), 4, "{schedules:?}");
        assert!(!schedules.contains(&"killed:s3.HeadBucket:1:after".to_owned()), "{schedules:?}");
        let text = text(&swept, Duration::from_secs(1));
        let expected = "\n3 crash points, all of them chosen: 3 hit, 0 never hit\n1 more after calls that only read, which leave the state before them\n";
        assert!(text.contains(expected), "{text}");
    }

    /// A sweep of three points: after the first call and before the second one the state is the same. A run that kills after the
    /// first call reaches this state, if `is_as_seen`.
    fn swept_with_states(is_as_seen: bool) -> (Swept, Vec<String>) {
        let id = CaseId { protocol: "p".into(), name: "c".into() };
        let states = KilledStates::default();
        let swept = run(&[id], None, true, extent(None, 1), &states, |id, schedule| {
            let mut outcome = outcome(id, schedule.clone(), &["dynamodb.PutItem:1", "dynamodb.PutItem:2"]);
            for ((_, state), seen) in outcome.crash_points.iter_mut().zip([1, 7, 7, 8]) {
                *state = Some(seen);
            }
            let reached = match schedule.to_string().as_str() {
                "killed:dynamodb.PutItem:1" => 1,
                "killed:dynamodb.PutItem:1:after" if is_as_seen => 7,
                "killed:dynamodb.PutItem:1:after" => 9,
                "killed:dynamodb.PutItem:2" => 7,
                "killed:dynamodb.PutItem:2:after" => 8,
                _ => return outcome,
            };
            assert_eq!(states.reach(id, reached, &schedule), None, "{schedule}");
            outcome
        });
        let schedules = swept.outcomes.iter().map(|outcome| outcome.schedule.to_string()).collect();
        (swept, schedules)
    }

    #[test]
    fn a_crash_that_leaves_the_state_of_another_one_is_not_run() {
        let (swept, schedules) = swept_with_states(true);
        assert!(!schedules.contains(&"killed:dynamodb.PutItem:2".to_owned()), "{schedules:?}");
        assert_eq!(schedules.len(), 4, "{schedules:?}");
        let points = "4 crash points, all of them chosen: 1 not run, for they leave the state of another run, 3 hit, 0 never hit\n";
        assert!(swept.summary().starts_with(points), "{}", swept.summary());
        assert_eq!(swept.json()["crashes"][0]["foreseen"], 1);
    }

    #[test]
    fn a_crash_is_run_after_all_if_no_run_has_come_to_its_state() {
        let (swept, schedules) = swept_with_states(false);
        assert_eq!(schedules.len(), 5, "{schedules:?}");
        assert!(
            swept.summary().starts_with("4 crash points, all of them chosen: 4 hit, 0 never hit\n"),
            "{}",
            swept.summary()
        );
    }

    fn extent(sample: Option<Sample>, depth: usize) -> Extent {
        Extent { sample, depth: NonZeroUsize::new(depth).expect("not zero") }
    }

    #[test]
    fn with_a_depth_of_two_what_was_started_again_is_killed_at_each_of_its_calls() {
        let id = CaseId { protocol: "p".into(), name: "c".into() };
        let swept = run(&[id], None, true, extent(None, 2), &KilledStates::default(), |id, schedule| {
            // What was started again has less to do.
            let calls =
                if schedule.is_plain() { ["s3.PutObject:1", "s3.PutObject:2"].as_slice() } else { &["s3.PutObject:1"] };
            outcome(id, schedule, calls)
        });
        let schedules: Vec<String> = swept.outcomes.iter().map(|outcome| outcome.schedule.to_string()).collect();
        for expected in ["killed:s3.PutObject:2", "killed:s3.PutObject:2:after+s3.PutObject:1:after"] {
            assert!(schedules.iter().any(|schedule| schedule == expected), "{expected} is not among {schedules:?}");
        }
        // Of the four runs with one crash, one failed and one was not disturbed.
        let text = text(&swept, Duration::from_secs(1));
        assert!(text.contains("\n4 crash points, all of them chosen: 3 hit, 1 never hit\n"), "{text}");
        assert!(text.contains("\n4 crash points for crash 2, all of them chosen: 4 hit, 0 never hit\n"), "{text}");
    }

    fn chosen(seed: u64, names: &[String]) -> Vec<String> {
        let id = CaseId { protocol: "p".into(), name: "c".into() };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let sample = Sample { points: NonZeroUsize::new(4).expect("not zero"), seed };
        let swept = run(&[id], None, true, extent(Some(sample), 1), &KilledStates::default(), |id, schedule| {
            outcome(id, schedule, &names)
        });
        let text = text(&swept, Duration::from_secs(1));
        let expected = format!("{} crash points, 4 of them chosen by --sample 4 --seed {seed}: ", 2 * names.len());
        assert!(text.contains(&expected) && swept.summary().ends_with(&format!(", seed {seed}\n")), "{text}");
        let json = swept.json();
        assert_eq!((&json["crashes"][0]["chosen"], &json["seed"]), (&4.into(), &seed.into()));
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
