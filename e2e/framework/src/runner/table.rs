//! Writes outcomes as a table for people, as Markdown for the summary of a job, and as JSON for programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::observe::{Counts, plural};
use crate::outcome::{Outcome, Times, Verdict, phases};
use crate::schedule::Schedule;

/// The table: one line for each case, then the totals and the verdict.
pub(super) fn text(outcomes: &[Outcome], took: Duration) -> String {
    let total: Counts = outcomes.iter().map(|outcome| &outcome.counts).sum();
    let nouns: Vec<&str> = total.nouns().collect();
    let mut head = vec!["case".to_owned()];
    head.extend(nouns.iter().map(|noun| plural(noun)));
    head.push("seconds".to_owned());
    let mut lines = vec![head];
    let several = schedules(outcomes).len() > 1;
    let name = |outcome| name(outcome, several);
    lines.extend(outcomes.iter().map(|outcome| cells(name(outcome), &outcome.counts, &nouns, outcome.duration)));
    lines.push(cells(counted(outcomes), &total, &nouns, took));
    let mut text = String::new();
    let widths: Vec<usize> =
        (0..lines[0].len()).map(|i| lines.iter().map(|line| line[i].chars().count()).max().unwrap_or(0)).collect();
    let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
    for (i, line) in lines.iter().enumerate() {
        if i == 1 || i == lines.len() - 1 {
            let _ = writeln!(text, "{}", rule.join("  "));
        }
        let _ = write!(text, "{:<width$}", line[0], width = widths[0]);
        for (cell, width) in line.iter().zip(&widths).skip(1) {
            let _ = write!(text, "  {cell:>width$}");
        }
        text.push('\n');
    }
    let _ = writeln!(text, "\n{}", verdict(outcomes));
    for outcome in outcomes {
        if let Some(why) = outcome.undisturbed() {
            let _ = writeln!(text, "  ○ {}: {why}", outcome.name());
        }
        if let Some(why) = outcome.failure() {
            let _ = writeln!(text, "  ✗ {}: {}", outcome.name(), beginning(why));
        }
    }
    text.push_str(&proof(outcomes));
    let times: Times = outcomes.iter().map(|outcome| outcome.times).sum();
    let _ = writeln!(text, "phases, of all cases together: {}", phases(&times));
    text
}

/// How many cases there were or, if they ran more than once, runs.
fn counted(outcomes: &[Outcome]) -> String {
    match (schedules(outcomes).len() > 1, outcomes.len()) {
        (true, runs) => format!("{runs} runs"),
        (false, 1) => "1 case".to_owned(),
        (false, cases) => format!("{cases} cases"),
    }
}

/// The first lines of a failure. The whole of it was printed when the case ended, which may be far above the table or cut
/// away by a CI system that keeps the end of a log.
fn beginning(failure: &str) -> String {
    const LINES: usize = 8;
    let lines: Vec<&str> = failure.trim_end().lines().collect();
    let mut text = lines[..lines.len().min(LINES)].join("\n    ");
    if let Some(more) = lines.len().checked_sub(LINES).filter(|more| *more > 0) {
        let _ = write!(text, "\n    … {more} more lines above");
    }
    text
}

/// One line for each schedule: how its runs ended, and how long all of them took.
pub(super) fn by_schedule(outcomes: &[Outcome], times: &[(Schedule, Duration)]) -> String {
    let width = times.iter().map(|(schedule, _)| schedule.to_string().chars().count()).max().unwrap_or(0).max(8);
    let mut text = format!("{:<width$}  passed  undisturbed  failed  seconds\n", "schedule");
    for (schedule, took) in times {
        let of_schedule = |outcome: &&Outcome| outcome.schedule == *schedule;
        let count =
            |is: fn(&Outcome) -> bool| outcomes.iter().filter(of_schedule).filter(|outcome| is(outcome)).count();
        let passed = count(|outcome| outcome.verdict == Verdict::Passed);
        let undisturbed = count(|outcome| outcome.undisturbed().is_some());
        let failed = count(|outcome| outcome.failure().is_some());
        let (schedule, seconds) = (schedule.to_string(), took.as_secs_f64());
        let _ = writeln!(text, "{schedule:<width$}  {passed:>6}  {undisturbed:>11}  {failed:>6}  {seconds:>7.1}");
    }
    text
}

/// A line that says how many faults there were and what became of the rows; empty if there was none.
fn proof(outcomes: &[Outcome]) -> String {
    let proof = Outcome::proof(outcomes);
    if proof.faults == 0 { String::new() } else { format!("{proof}\n") }
}

/// The schedules of these runs.
fn schedules(outcomes: &[Outcome]) -> BTreeSet<String> {
    outcomes.iter().map(|outcome| outcome.schedule.to_string()).collect()
}

/// The name of a run after a mark of how it ended. It names the schedule if other runs have another one.
fn name(outcome: &Outcome, several: bool) -> String {
    let mark = match &outcome.verdict {
        Verdict::Passed => '✓',
        Verdict::SameState(_) => '≡',
        Verdict::Undisturbed(_) => '○',
        Verdict::Failed(_) | Verdict::Infrastructure(_) => '✗',
    };
    if several { format!("{mark} {}", outcome.name()) } else { format!("{mark} {}", outcome.id) }
}

/// How many cases failed, and how many passed without having been disturbed, which proves little.
fn verdict(outcomes: &[Outcome]) -> String {
    let count = |is: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| is(outcome)).count();
    let failed = count(|outcome| outcome.failure().is_some());
    let verdict = match (failed, count(Outcome::is_infrastructure)) {
        (0, _) => "all passed".to_owned(),
        (failed, 0) => format!("{failed} failed"),
        (failed, broken) => format!("{failed} failed, {broken} of them for the infrastructure"),
    };
    match count(|outcome| outcome.undisturbed().is_some()) {
        0 => verdict,
        undisturbed => format!("{verdict}, but {undisturbed} undisturbed: their schedule changed nothing"),
    }
}

/// What a run tells beyond its outcomes.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The table for people.
    pub table: String,
    /// What people read first; empty if the table says it all.
    pub summary: String,
    /// What only a sweep has, for programs; null if there was none.
    pub sweep: Value,
}

/// The verdict, the summary, every failure, and the table folded away: for the summary of a job.
pub(super) fn markdown(
    title: &str,
    outcomes: &[Outcome],
    told: &Told,
    took: Duration,
    containers: Option<&str>,
) -> String {
    let failures: Vec<(&Outcome, &str)> =
        outcomes.iter().filter_map(|outcome| Some((outcome, outcome.failure()?))).collect();
    let mark = if failures.is_empty() { "✅" } else { "❌" };
    let cases = counted(outcomes);
    let verdict = verdict(outcomes);
    let mut markdown = format!("### {mark} {title}: {cases}, {verdict}, {:.1} s\n\n", took.as_secs_f64());
    if let Some(containers) = containers {
        let _ = writeln!(markdown, "Containers: {containers}\n");
    }
    if !told.summary.is_empty() {
        let _ = writeln!(markdown, "``````\n{}``````\n", told.summary);
    }
    for (outcome, failure) in failures {
        // Longer than any fence that a pipeline prints.
        let _ = writeln!(markdown, "**{}**\n\n``````diff\n{}\n``````\n", outcome.name(), failure.trim_end());
    }
    let table = &told.table;
    let _ = writeln!(markdown, "<details><summary>all cases</summary>\n\n``````\n{table}``````\n\n</details>\n");
    markdown
}

fn cells(name: String, counts: &Counts, nouns: &[&str], took: Duration) -> Vec<String> {
    let mut cells = vec![name];
    cells.extend(nouns.iter().map(|noun| counts.of(noun).to_string()));
    cells.push(format!("{:.2}", took.as_secs_f64()));
    cells
}

/// `{"root": …, "passed": …, "same_state": …, "undisturbed": …, "failed": …, "sweep": …, "cases": […]}`. Every run is counted
/// under one of the four ends.
pub(super) fn json(root: &Path, outcomes: &[Outcome], schedule: &str, told: &Told, took: Duration) -> Value {
    let count = |is: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| is(outcome)).count();
    let cases: Vec<Value> = outcomes
        .iter()
        .map(|outcome| {
            json!({
                "name": outcome.id.to_string(),
                "schedule": outcome.schedule.to_string(),
                "passed": outcome.verdict == Verdict::Passed,
                "undisturbed": outcome.undisturbed(),
                "same_state": outcome.same_state(),
                "failure": outcome.failure(),
                "infrastructure": outcome.is_infrastructure(),
                "faults": outcome.faults,
                "phases": outcome.times.named().map(|(name, time)| (name.to_owned(), time.as_secs_f64())).into_iter().collect::<BTreeMap<_, _>>(),
                "seconds": outcome.duration.as_secs_f64(),
                "counts": outcome.counts,
                "ledger": outcome.ledger,
                "weaker": outcome.weaker,
            })
        })
        .collect();
    json!({
        "root": root,
        "schedule": schedule,
        "passed": count(|outcome| outcome.verdict == Verdict::Passed),
        "same_state": count(|outcome| outcome.same_state().is_some()),
        "undisturbed": count(|outcome| outcome.undisturbed().is_some()),
        "failed": count(|outcome| outcome.failure().is_some()),
        "proof": Outcome::proof(outcomes),
        "sweep": told.sweep,
        "seconds": took.as_secs_f64(),
        "counts": outcomes.iter().map(|outcome| &outcome.counts).sum::<Counts>(),
        "cases": cases,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CaseId;

    fn outcome(name: &str, rows: usize, verdict: Verdict) -> Outcome {
        Outcome {
            id: CaseId { protocol: "p".into(), name: name.into() },
            schedule: Schedule::Plain,
            counts: Counts::default().with("message", 1).with("row", rows),
            ledger: None,
            duration: Duration::from_millis(500),
            times: Times::default(),
            crash_points: Vec::new(),
            reads: BTreeSet::new(),
            faults: 0,
            verdict,
            found_by: Vec::new(),
            description: None,
            weaker: Vec::new(),
            difference: None,
            log: None,
            evidence: None,
        }
    }

    #[test]
    fn the_table_lines_up_and_adds_up() {
        let outcomes = [outcome("one", 60, Verdict::Passed), outcome("three", 1, Verdict::Failed("no".into()))];
        let text = text(&outcomes, Duration::from_secs(1));
        assert!(text.contains("\n  ✗ p::three: no\n"), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "case        messages  rows  seconds");
        assert_eq!(lines[2], "✓ p::one           1    60     0.50");
        assert_eq!(lines[3], "✗ p::three         1     1     0.50");
        assert_eq!(lines[5], "2 cases            2    61     1.00");
        assert_eq!(lines[7], "1 failed");
        let told = Told { table: text, summary: "2 crash points\n".to_owned(), ..Told::default() };
        let markdown = markdown("Fixtures", &outcomes, &told, Duration::from_secs(1), Some("Kafka 1.0 s"));
        assert!(
            markdown.starts_with("### ❌ Fixtures: 2 cases, 1 failed, 1.0 s\n\nContainers: Kafka 1.0 s\n"),
            "{markdown}"
        );
        assert!(
            markdown.contains("``````\n2 crash points\n``````\n\n**p::three**\n\n``````diff\nno\n``````"),
            "{markdown}"
        );
        assert_eq!(json(Path::new("/p"), &outcomes, "plain", &told, Duration::ZERO)["counts"]["rows"], 61);
    }

    #[test]
    fn a_long_failure_is_repeated_by_its_first_lines_only() {
        assert_eq!(beginning("a\nb\n"), "a\n    b");
        let long = (1..=10).map(|line| line.to_string()).collect::<Vec<_>>().join("\n");
        assert_eq!(beginning(&long).lines().count(), 9);
        assert!(beginning(&long).ends_with("\n    8\n    … 2 more lines above"), "{}", beginning(&long));
    }

    #[test]
    fn among_several_schedules_each_run_names_its_own_and_each_schedule_has_its_time() {
        let mut outcomes = [outcome("one", 60, Verdict::Passed), outcome("one", 60, Verdict::Failed("no".into()))];
        outcomes[1].schedule = Schedule::Twice;
        let text = text(&outcomes, Duration::from_secs(1));
        assert!(text.contains("✓ p::one            ") && text.contains("✗ p::one under twice  "), "{text}");
        assert!(text.contains("\n2 runs "), "{text}");
        let times = [(Schedule::Plain, Duration::from_secs(2)), (Schedule::Twice, Duration::from_millis(500))];
        let expected = "schedule  passed  undisturbed  failed  seconds\n\
                        plain          1            0       0      2.0\n\
                        twice          0            0       1      0.5\n";
        assert_eq!(by_schedule(&outcomes, &times), expected);
    }

    #[test]
    fn runs_that_were_not_disturbed_or_left_a_known_state_are_counted_apart_with_the_reason() {
        let outcomes = [
            outcome("one", 60, Verdict::Passed),
            outcome("two", 1, Verdict::Undisturbed("no write".into())),
            outcome("three", 1, Verdict::SameState("killed:s3.PutObject:1".into())),
        ];
        let text = text(&outcomes, Duration::from_secs(1));
        assert!(text.contains("all passed, but 1 undisturbed") && text.contains("  ○ p::two: no write\n"), "{text}");
        let told = Told { sweep: json!({"seed": 7}), ..Told::default() };
        let json = json(Path::new("/p"), &outcomes, "throttled", &told, Duration::ZERO);
        let ends = ["passed", "same_state", "undisturbed", "failed"].map(|end| json[end].as_u64());
        assert_eq!((ends, &json["sweep"]["seed"]), ([Some(1), Some(1), Some(1), Some(0)], &7.into()));
    }
}
