//! Outcomes as a table for people and as JSON for programs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Schedule;
use crate::observe::Counts;
use crate::outcome::{Outcome, Times, phases};

const HEAD: [&str; 7] = ["case", "messages", "rows", "items", "objects", "dead letters", "seconds"];

/// One line a case, then the totals and the verdict.
pub(super) fn text(outcomes: &[Outcome], took: Duration) -> String {
    let total: Counts = outcomes.iter().map(|outcome| outcome.counts).sum();
    let failed = outcomes.iter().filter(|outcome| outcome.failure.is_some()).count();
    let name = |outcome: &Outcome| format!("{} {}", if outcome.failure.is_some() { '✗' } else { '✓' }, outcome.id);
    let mut lines = vec![HEAD.map(str::to_owned)];
    lines.extend(outcomes.iter().map(|outcome| cells(name(outcome), &outcome.counts, outcome.duration)));
    let cases = if outcomes.len() == 1 { "case" } else { "cases" };
    lines.push(cells(format!("{} {cases}", outcomes.len()), &total, took));
    let mut text = String::new();
    let widths: Vec<usize> =
        (0..HEAD.len()).map(|i| lines.iter().map(|line| line[i].chars().count()).max().unwrap_or(0)).collect();
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
    let _ = writeln!(text, "\n{}", verdict(outcomes, failed));
    let times: Times = outcomes.iter().map(|outcome| outcome.times).sum();
    let _ = writeln!(text, "phases, of all cases together: {}", phases(&times));
    text
}

fn verdict(outcomes: &[Outcome], failed: usize) -> String {
    let infrastructure = outcomes.iter().filter(|outcome| outcome.infrastructure).count();
    match (failed, infrastructure) {
        (0, _) => "all passed".to_owned(),
        (failed, 0) => format!("{failed} failed"),
        (failed, broken) => format!("{failed} failed, {broken} of them for the infrastructure"),
    }
}

/// The verdict, the table folded away, and every failure: for the summary of a job.
pub(super) fn markdown(title: &str, outcomes: &[Outcome], took: Duration, containers: Option<&str>) -> String {
    let failures: Vec<(&Outcome, &String)> =
        outcomes.iter().filter_map(|outcome| Some((outcome, outcome.failure.as_ref()?))).collect();
    let mark = if failures.is_empty() { "✅" } else { "❌" };
    let cases = outcomes.len();
    let verdict = verdict(outcomes, failures.len());
    let mut markdown = format!("### {mark} {title}: {cases} cases, {verdict}, {:.1} s\n\n", took.as_secs_f64());
    if let Some(containers) = containers {
        let _ = writeln!(markdown, "Containers: {containers}\n");
    }
    for (outcome, failure) in failures {
        // Longer than any fence that a pipeline prints.
        let _ = writeln!(markdown, "**{}**\n\n``````diff\n{}\n``````\n", outcome.id, failure.trim_end());
    }
    let table = text(outcomes, took);
    let _ = writeln!(markdown, "<details><summary>all cases</summary>\n\n``````\n{table}``````\n\n</details>\n");
    markdown
}

fn cells(name: String, counts: &Counts, took: Duration) -> [String; 7] {
    let Counts { messages, rows, items, objects, dead_letters } = counts;
    [
        name,
        messages.to_string(),
        rows.to_string(),
        items.to_string(),
        objects.to_string(),
        dead_letters.to_string(),
        format!("{:.2}", took.as_secs_f64()),
    ]
}

/// `{"root": …, "passed": …, "failed": …, "cases": […]}`.
pub(super) fn json(root: &Path, outcomes: &[Outcome], schedule: Schedule, took: Duration) -> Value {
    let failed = outcomes.iter().filter(|outcome| outcome.failure.is_some()).count();
    let cases: Vec<Value> = outcomes
        .iter()
        .map(|outcome| {
            json!({
                "name": outcome.id.to_string(),
                "passed": outcome.failure.is_none(),
                "failure": outcome.failure,
                "infrastructure": outcome.infrastructure,
                "phases": outcome.times.named().map(|(name, time)| (name.to_owned(), time.as_secs_f64())).into_iter().collect::<BTreeMap<_, _>>(),
                "seconds": outcome.duration.as_secs_f64(),
                "counts": outcome.counts,
            })
        })
        .collect();
    json!({
        "root": root,
        "schedule": schedule.to_string(),
        "passed": outcomes.len() - failed,
        "failed": failed,
        "seconds": took.as_secs_f64(),
        "counts": outcomes.iter().map(|outcome| outcome.counts).sum::<Counts>(),
        "cases": cases,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CaseId;

    #[test]
    fn the_table_lines_up_and_adds_up() {
        let outcome = |name: &str, rows, failure: Option<&str>| Outcome {
            id: CaseId { protocol: "p".into(), name: name.into() },
            counts: Counts { messages: 1, rows, ..Counts::default() },
            duration: Duration::from_millis(500),
            times: Times::default(),
            infrastructure: false,
            failure: failure.map(Into::into),
            description: None,
            difference: None,
            log: None,
            evidence: None,
        };
        let outcomes = [outcome("one", 60, None), outcome("three", 1, Some("no"))];
        let text = text(&outcomes, Duration::from_secs(1));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[2], "✓ p::one           1    60      0        0             0     0.50");
        assert_eq!(lines[3], "✗ p::three         1     1      0        0             0     0.50");
        assert_eq!(lines[5], "2 cases            2    61      0        0             0     1.00");
        assert_eq!(lines[7], "1 failed");
        let markdown = markdown("Fixtures", &outcomes, Duration::from_secs(1), Some("Kafka 1.0 s"));
        assert!(
            markdown.starts_with("### ❌ Fixtures: 2 cases, 1 failed, 1.0 s\n\nContainers: Kafka 1.0 s\n"),
            "{markdown}"
        );
        assert!(markdown.contains("**p::three**\n\n``````diff\nno\n``````"), "{markdown}");
        assert_eq!(json(Path::new("/p"), &outcomes, Schedule::Plain, Duration::ZERO)["counts"]["rows"], 61);
    }
}
