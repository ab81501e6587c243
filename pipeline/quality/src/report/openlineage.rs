//! Verdicts as an event of `OpenLineage`: each table is an input with an assertion for each of its checks.

use fms_openlineage::{Facet, Kind, Run, dataset};
use serde_json::{Value, json};

use crate::verdict::{Outcome, Verdict};

/// The event. A check that could not run is an assertion without success, whose `outcome` says so.
pub(super) fn report(verdicts: &[Verdict]) -> String {
    let assertion = |verdict: &Verdict| -> Value {
        let mut assertion = json!({
            "assertion": format!("{}: {}", verdict.kind, verdict.check),
            "success": matches!(verdict.outcome, Outcome::Pass | Outcome::Warn),
            "outcome": verdict.outcome.name(),
            "severity": verdict.severity.name(),
        });
        if let [column] = verdict.columns.as_slice() {
            assertion["column"] = json!(column);
        }
        assertion
    };
    let run = Run { job: "quality".to_owned(), id: run_id(verdicts), producer: "urn:fms:quality" };
    let input = |of_table: &[Verdict]| -> Value {
        let assertions: Vec<Value> = of_table.iter().map(assertion).collect();
        let mut input = dataset(of_table.first().map_or("", |verdict| verdict.table.as_str()));
        input["inputFacets"] = run.facets([(Facet::DataQualityAssertions, json!({"assertions": assertions}))]);
        input
    };
    let inputs: Vec<Value> = verdicts.chunk_by(|a, b| a.table == b.table).map(input).collect();
    let time = verdicts.first().map_or("", |verdict| verdict.ran_at.as_str());
    run.event(Kind::Complete, time, &inputs, &[], &json!({}))
}

/// The id of a run, which follows from when it was and what it checked.
pub(super) fn run_id(verdicts: &[Verdict]) -> String {
    fms_openlineage::run_id(verdicts.iter().flat_map(|verdict| {
        let Verdict { table, check, ran_at, from, to, .. } = verdict;
        [table, check, ran_at, from, to].map(String::as_str)
    }))
}
