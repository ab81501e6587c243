//! Verdicts as metrics of Prometheus, in its text format.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::verdict::{Outcome, Verdict};

const OUTCOME: &str = "fms_quality_outcome";
const ROWS: &str = "fms_quality_rows";
const BAD_ROWS: &str = "fms_quality_bad_rows";
const LAST_RUN: &str = "fms_quality_last_run_timestamp_seconds";

/// A gauge for each check: how it ended, how many rows it looked at and found bad, and when it ran.
pub(super) fn report(verdicts: &[Verdict]) -> String {
    let verdicts = &by_check(verdicts);
    let ran = |verdict: &&Verdict| verdict.outcome != Outcome::Error;
    let mut out = String::new();
    for (name, help) in [
        (OUTCOME, "How the check ended: 0 passed, 1 warned, 2 failed, 3 could not run."),
        (ROWS, "How many rows the check looked at."),
        (BAD_ROWS, "How many of the rows are bad."),
        (LAST_RUN, "When the check ran."),
    ] {
        // Writing to a text does not fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
        for verdict in verdicts {
            let value = match name {
                OUTCOME => Some(verdict.outcome as u64),
                ROWS => Some(verdict).filter(ran).map(|verdict| verdict.total),
                BAD_ROWS => Some(verdict).filter(ran).map(|verdict| verdict.bad),
                _ => time(&verdict.ran_at),
            };
            if let Some(value) = value {
                let _ = writeln!(out, "{name}{{{}}} {value}", labels(verdict));
            }
        }
    }
    out
}

/// One verdict of each check: of several days the worst, with the rows of all, for a metric has one value.
fn by_check(verdicts: &[Verdict]) -> Vec<Verdict> {
    let mut all: Vec<Verdict> = Vec::new();
    for verdict in verdicts {
        match all.iter_mut().find(|one| (&one.table, &one.check) == (&verdict.table, &verdict.check)) {
            Some(one) => {
                let (total, bad) = (one.total + verdict.total, one.bad + verdict.bad);
                // What could not run must not hide what has failed.
                let rank = |verdict: &Verdict| (verdict.outcome == Outcome::Fail, verdict.outcome);
                let worst = if rank(verdict) > rank(one) { verdict } else { &*one };
                *one = Verdict { total, bad, ..worst.clone() };
            }
            None => all.push(verdict.clone()),
        }
    }
    all
}

fn time(text: &str) -> Option<u64> {
    let time: Timestamp = text.parse().ok()?;
    u64::try_from(time.as_second()).ok()
}

fn labels(verdict: &Verdict) -> String {
    let label = |name: &str, value: &str| {
        format!("{name}=\"{}\"", value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', " "))
    };
    [
        label("table", &verdict.table),
        label("check", &verdict.check),
        label("severity", verdict.severity.name()),
        label("owner", &verdict.owner),
    ]
    .join(",")
}
