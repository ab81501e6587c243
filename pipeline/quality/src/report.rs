//! Verdicts as people and programs read them.

mod dbt;
mod html;
mod junit;
mod markup;
mod openlineage;
mod prometheus;

use std::fmt::Write as _;
use std::io;

use clap::ValueEnum;

use crate::verdict::{Outcome, Verdict};

/// The form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// An object on each line.
    Json,
    /// A test suite for each table, as continuous integration shows it.
    Junit,
    /// Metrics, as a file for the textfile collector of Prometheus' node exporter.
    Prometheus,
    /// A file of results as `dbt test` writes it.
    Dbt,
    /// An event of `OpenLineage` with an assertion for each check.
    Openlineage,
    /// A page that needs nothing else.
    Html,
}

/// What is told of these verdicts to a backend of `OpenLineage`.
pub(crate) fn event(verdicts: &[Verdict]) -> String {
    openlineage::report(verdicts)
}

/// The report of these verdicts.
pub(crate) fn report(verdicts: &[Verdict], format: Format) -> io::Result<String> {
    Ok(match format {
        Format::Text => text(verdicts),
        Format::Json => json(verdicts)?,
        Format::Junit => junit::report(verdicts),
        Format::Prometheus => prometheus::report(verdicts),
        Format::Dbt => dbt::report(verdicts)?,
        Format::Openlineage => openlineage::report(verdicts),
        Format::Html => html::report(verdicts),
    })
}

fn text(verdicts: &[Verdict]) -> String {
    let mut out = String::new();
    // Writing to a text does not fail.
    for verdict in verdicts {
        let Verdict { table, check, outcome, expected, observed, query, owner, description, .. } = verdict;
        let _ = writeln!(out, "{outcome:5} {table}: {check}: {observed}");
        if *outcome == Outcome::Pass {
            continue;
        }
        let _ = writeln!(out, "      expected: {expected}");
        if !description.is_empty() {
            let _ = writeln!(out, "      {}", description.trim());
        }
        let _ = writeln!(out, "      owner: {owner}");
        if let Some(query) = query {
            let _ = writeln!(out, "      the rows: fms query {}", quoted(query));
        }
    }
    let count = |outcome| verdicts.iter().filter(|verdict| verdict.outcome == outcome).count();
    let _ = writeln!(
        out,
        "{} checks: {} passed, {} warned, {} failed, {} could not run",
        verdicts.len(),
        count(Outcome::Pass),
        count(Outcome::Warn),
        count(Outcome::Fail),
        count(Outcome::Error),
    );
    out
}

/// A text as a shell takes it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''").replace('\n', " "))
}

fn json(verdicts: &[Verdict]) -> io::Result<String> {
    let mut out = String::new();
    for verdict in verdicts {
        out.push_str(&serde_json::to_string(verdict)?);
        out.push('\n');
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::check::Severity;

    fn verdict(check: &str, outcome: Outcome) -> Verdict {
        Verdict {
            table: "vehicle_status_report".into(),
            check: check.into(),
            kind: "range",
            outcome,
            severity: Severity::Error,
            owner: "fleet@example.com".into(),
            description: "Fuel is a percentage.".into(),
            from: "2023-01-01".into(),
            to: "2023-01-01".into(),
            expected: "fuel_level is from 0 to 100 (fails at 1)".into(),
            observed: "1 of 20 rows".into(),
            total: 20,
            bad: u64::from(outcome != Outcome::Pass),
            query: (outcome == Outcome::Fail).then(|| "select * from t where a = 'x' and b < 0".into()),
            bad_rows: None,
            columns: vec!["fuel_level".into()],
            digest: None,
            tags: ["integrity".into()].into(),
            ran_at: "2023-01-02T00:00:00Z".into(),
        }
    }

    fn verdicts() -> Vec<Verdict> {
        vec![
            verdict("all is well", Outcome::Pass),
            verdict("it \"warns\"", Outcome::Warn),
            verdict("fuel < 100", Outcome::Fail),
            verdict("no such column", Outcome::Error),
        ]
    }

    #[test]
    fn people_read_what_was_found_and_expected_and_whom_to_ask() {
        assert_snapshot!(text(&verdicts()));
    }

    #[test]
    fn continuous_integration_reads_a_suite_for_each_table() {
        assert_snapshot!(junit::report(&verdicts()));
    }

    #[test]
    fn tools_of_dbt_read_a_file_of_results() {
        assert_snapshot!(dbt::report(&verdicts()).expect("a report"));
    }

    #[test]
    fn openlineage_has_an_assertion_for_each_check() {
        assert_snapshot!(openlineage::report(&verdicts()));
        assert_ne!(openlineage::run_id(&verdicts()), openlineage::run_id(&verdicts()[..1]));
    }

    #[test]
    fn a_page_shows_the_worst_first_and_trusts_no_text() {
        let page = html::report(&verdicts());
        assert!(!page.contains("fuel < 100"), "{page}");
        assert_snapshot!(page);
    }

    #[test]
    fn prometheus_reads_how_each_check_ended_and_when() {
        assert_snapshot!(prometheus::report(&verdicts()));
    }

    /// A metric has one value, so a check that looked at several days has one line.
    #[test]
    fn prometheus_reads_the_worst_of_several_days() {
        let day = |outcome| verdict("fuel", outcome);
        let metrics = prometheus::report(&[day(Outcome::Pass), day(Outcome::Fail), day(Outcome::Warn)]);
        let lines: Vec<&str> = metrics.lines().filter(|line| !line.starts_with('#')).collect();
        let values: Vec<&str> = lines.iter().filter_map(|line| line.rsplit(' ').next()).collect();
        assert_eq!(values, ["2", "60", "2", "1672617600"], "{metrics}");
    }

    #[test]
    fn programs_read_an_object_on_each_line() {
        assert_snapshot!(json(&verdicts()[2..3]).expect("a report"));
    }
}
