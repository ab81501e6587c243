//! Verdicts as `JUnit` has them: a test suite for each table.

use std::fmt::Write as _;

use super::markup::escaped;
use crate::verdict::{Outcome, Verdict};

/// A test suite for each table, and a test case for each check.
pub(super) fn report(verdicts: &[Verdict]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for suite in verdicts.chunk_by(|a, b| a.table == b.table) {
        let count = |outcome| suite.iter().filter(|verdict| verdict.outcome == outcome).count();
        let table = suite.first().map_or("", |verdict| verdict.table.as_str());
        let _ = writeln!(
            out,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\">",
            escaped(table),
            suite.len(),
            count(Outcome::Fail),
            count(Outcome::Error),
        );
        for verdict in suite {
            let Verdict { check, outcome, expected, observed, query, owner, .. } = verdict;
            let _ = write!(out, "    <testcase classname=\"{}\" name=\"{}\"", escaped(table), escaped(check));
            let query = query.as_deref().unwrap_or_default();
            let detail = escaped(&format!("expected: {expected}\nowner: {owner}\n{query}"));
            let _ = match outcome {
                Outcome::Pass => writeln!(out, "/>"),
                Outcome::Warn => {
                    writeln!(out, "><system-out>warning: {}\n{detail}</system-out></testcase>", escaped(observed))
                }
                Outcome::Fail => {
                    writeln!(out, "><failure message=\"{}\">{detail}</failure></testcase>", escaped(observed))
                }
                Outcome::Error => {
                    writeln!(out, "><error message=\"{}\">{detail}</error></testcase>", escaped(observed))
                }
            };
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}
