//! What follows from what was counted.

use std::collections::BTreeSet;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::check::{Check, Severity, Suite};
use crate::kind::{Freshness, Kind, RowCount, Rows};
use crate::statement::Days;

/// What is said of a day that cannot be compared with others.
const NOT_KNOWN: &str = "it is not known yet what is typical";

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Everything is as it should be.
    Pass,
    /// The limit of a warning is reached.
    Warn,
    /// The limit of a failure is reached.
    Fail,
    /// The check could not run, so nothing is known.
    Error,
}

impl Outcome {
    /// Its name in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What was counted for a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counted {
    /// How many rows were looked at.
    pub total: u64,
    /// How many of them are bad.
    pub bad: u64,
    /// The time of the newest row, if the check is about it.
    pub newest: Option<Timestamp>,
}

/// What a check says of its table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The table.
    pub table: String,
    /// The name of the check.
    pub check: String,
    /// The name of its kind.
    pub kind: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// How bad it is if it fails.
    pub severity: Severity,
    /// Who is told.
    pub owner: String,
    /// What it means if it fails.
    pub description: String,
    /// The first day that was looked at.
    pub from: String,
    /// The last day that was looked at.
    pub to: String,
    /// What was expected, in words.
    pub expected: String,
    /// What was found, in words.
    pub observed: String,
    /// How many rows were looked at.
    pub total: u64,
    /// How many of them are bad.
    pub bad: u64,
    /// The query that shows the bad rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The name of the file that keeps the bad rows, in the folder of `--bad-rows`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bad_rows: Option<String>,
    /// When the check ran.
    pub ran_at: String,
    /// The columns that the check names, as far as its kind has such.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// The digest of the rows that a query gave, if they are to be the same later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The tags of the check.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
}

/// What is known about a run besides what was counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub days: Days,
    pub now: Timestamp,
}

impl Verdict {
    /// What follows from what was counted.
    pub(crate) fn new(suite: &Suite, check: &Check, counted: Counted, query: Option<String>, run: Run) -> Self {
        let Counted { total, bad, newest } = counted;
        let is_of_rows = |bad: u64| {
            let rows = if total == 1 { "row" } else { "rows" };
            if total == 0 { "there are no rows".to_owned() } else { format!("{bad} of {total} {rows}") }
        };
        let (bad, observed) = match &check.kind {
            Kind::RowCount(RowCount { days: Some(_), .. }) | Kind::Volume(_) if total == 0 => (0, NOT_KNOWN.to_owned()),
            Kind::RowCount(RowCount { days: Some(_), .. }) => {
                (bad, format!("{bad} of {total} days have another number of rows"))
            }
            Kind::RowCount(RowCount { min, max, .. }) => {
                let is_less = matches!(min, Some(Rows::Count(min)) if total < *min);
                let is_more = matches!(max, Some(Rows::Count(max)) if total > *max);
                (u64::from(is_less || is_more), format!("{total} rows"))
            }
            Kind::Freshness(Freshness { max_age }) => match newest {
                Some(newest) => {
                    let age = run.now.duration_since(newest);
                    let age = SignedDuration::from_secs(age.as_secs());
                    (u64::from(age > *max_age), format!("the newest row is of {newest}, {age:#} ago"))
                }
                None => (1, "there are no rows".to_owned()),
            },
            Kind::Volume(_) => (bad, format!("{bad} of {total} hours have another number of rows")),
            Kind::Unique(_) => (bad, format!("{bad} of {total} rows are there again")),
            Kind::InTable(_) => (bad, format!("{bad} of {total} values are not there")),
            Kind::Sql(_) => (bad, format!("{bad} rows")),
            Kind::Equal(_) => (bad, format!("{bad} rows are on one side alone")),
            Kind::Schema(_) => (bad, format!("{bad} of {total} columns differ")),
            Kind::InDynamoDb(_) => (bad, format!("{bad} of {total} keys are on one side alone")),
            Kind::Stable(_) => {
                let rows = if total == 1 { "1 row".to_owned() } else { format!("{total} rows") };
                (bad, if bad > 0 { format!("{rows}, and not as when it was checked last") } else { rows })
            }
            _ => (bad, is_of_rows(bad)),
        };
        // Of a whole table, either nothing is wrong or everything is.
        let total_for_limits = match check.kind {
            Kind::RowCount(RowCount { days: None, .. }) | Kind::Freshness(_) | Kind::Stable(_) => 1,
            _ => total,
        };
        let reaches =
            |limit: Option<crate::limit::Limit>| limit.is_some_and(|limit| limit.is_reached(bad, total_for_limits));
        let outcome = match (reaches(check.fails_at()), reaches(check.warn)) {
            (true, _) => Outcome::Fail,
            (false, true) => Outcome::Warn,
            (false, false) => Outcome::Pass,
        };
        let query = query.filter(|_| bad > 0);
        Self { outcome, observed, total, bad, query, ..Self::blank(suite, check, run) }
    }

    /// The check could not run.
    pub(crate) fn error(suite: &Suite, check: &Check, problem: &str, run: Run) -> Self {
        Self { observed: format!("it could not run: {problem}"), ..Self::blank(suite, check, run) }
    }

    fn blank(suite: &Suite, check: &Check, Run { days, now }: Run) -> Self {
        Self {
            table: suite.table.clone(),
            check: check.name.clone(),
            kind: check.kind.name(),
            outcome: Outcome::Error,
            severity: check.severity,
            owner: suite.owner(check).to_owned(),
            description: check.description.clone(),
            from: days.from.to_string(),
            to: days.to.to_string(),
            expected: expected(check),
            observed: String::new(),
            total: 0,
            bad: 0,
            query: None,
            bad_rows: None,
            ran_at: now.to_string(),
            columns: check.kind.columns(),
            digest: None,
            tags: check.tags.clone(),
        }
    }
}

/// What a check expects, in words.
fn expected(check: &Check) -> String {
    let at = |limit: Option<crate::limit::Limit>, does: &str| limit.map(|limit| format!("{does} at {limit}"));
    let limits: Vec<String> = at(check.warn, "warns").into_iter().chain(at(check.fails_at(), "fails")).collect();
    let bounds = |min: Option<String>, max: Option<String>| match (min, max) {
        (Some(min), Some(max)) => format!("from {min} to {max}"),
        (Some(min), None) => format!("{min} or more"),
        (None, Some(max)) => format!("{max} or less"),
        (None, None) => String::new(),
    };
    let what = match &check.kind {
        Kind::NotNull(columns) => format!("{} is there", list(&columns.columns)),
        Kind::Range(range) => {
            let bound = |bound: Option<f64>| bound.map(|bound| bound.to_string());
            format!("{} is {}", range.column, bounds(bound(range.min), bound(range.max)))
        }
        Kind::Accepted(accepted) => format!("{} is one of {}", accepted.column, accepted.values.join(", ")),
        Kind::Pattern(pattern) => format!("{} matches {}", pattern.column, pattern.regex),
        Kind::Length(length) => {
            let bound = |bound: Option<u64>| bound.map(|bound| bound.to_string());
            format!("{} has {} characters", length.column, bounds(bound(length.min), bound(length.max)))
        }
        Kind::Holds(condition) | Kind::Step(condition) => condition.trim().to_owned(),
        Kind::Jump(jump) => format!("{}, {} move by {} km/h at most", jump.latitude, jump.longitude, jump.max_speed),
        Kind::Stuck(stuck) => format!("{} is not the same for {} rows", stuck.column, stuck.rows),
        Kind::Transitions(transitions) => format!("{} follows the table of transitions", transitions.column),
        Kind::Unique(columns) => format!("{} is there once", list(&columns.columns)),
        Kind::InTable(other) => format!("{} is in {}.{}", other.column, other.table, other.to),
        Kind::RowCount(RowCount { min, max, days }) => {
            let bound = |bound: &Option<Rows>| bound.map(|bound| bound.to_string());
            let usual = days.map_or_else(String::new, |days| format!(" of the median of {days} days before"));
            format!("{} rows{usual}", bounds(bound(min), bound(max)))
        }
        Kind::Volume(volume) => format!("as many rows as at the same hour of {} weeks before", volume.weeks),
        Kind::Freshness(Freshness { max_age }) => format!("the newest row is at most {max_age:#} old"),
        Kind::Schema(columns) => format!("the table has these {} columns", columns.len()),
        Kind::Sql(_) => "the query gives no rows".to_owned(),
        Kind::Equal(_) => "both queries give the same rows".to_owned(),
        Kind::InDynamoDb(items) => format!("rows and the items of {} in DynamoDB have the same keys", items.table),
        Kind::Stable(_) => "the query gives the same rows as when it was checked last".to_owned(),
    };
    format!("{what} ({})", limits.join(", "))
}

fn list(columns: &[crate::column::Path]) -> String {
    columns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
