//! Verdicts as an event of `OpenLineage`: each table is an input with an assertion for each of its checks.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;

use serde_json::{Value, json};

use crate::verdict::{Outcome, Verdict};

const PRODUCER: &str = "urn:fms:quality";
const EVENT: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
const FACET: &str = "https://openlineage.io/spec/facets/1-0-1/DataQualityAssertionsDatasetFacet.json#/$defs/DataQualityAssertionsDatasetFacet";

/// The event. A check that could not run is an assertion without success, whose `outcome` says so.
pub(super) fn report(verdicts: &[Verdict]) -> io::Result<String> {
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
    let input = |of_table: &[Verdict]| -> Value {
        let assertions: Vec<Value> = of_table.iter().map(assertion).collect();
        let facet = json!({"_producer": PRODUCER, "_schemaURL": FACET, "assertions": assertions});
        json!({
            "namespace": "fms",
            "name": of_table.first().map(|verdict| &verdict.table),
            "inputFacets": {"dataQualityAssertions": facet},
        })
    };
    let inputs: Vec<Value> = verdicts.chunk_by(|a, b| a.table == b.table).map(input).collect();
    let event = json!({
        "eventType": "COMPLETE",
        "eventTime": verdicts.first().map(|verdict| &verdict.ran_at),
        "run": {"runId": run_id(verdicts)},
        "job": {"namespace": "fms", "name": "quality"},
        "inputs": inputs,
        "outputs": [],
        "producer": PRODUCER,
        "schemaURL": EVENT,
    });
    Ok(serde_json::to_string(&event)? + "\n")
}

/// The id of a run, which follows from when it was and what it checked, so that one that is told twice is one.
pub(super) fn run_id(verdicts: &[Verdict]) -> String {
    let half = |number: u8| {
        let mut hasher = DefaultHasher::new();
        number.hash(&mut hasher);
        for Verdict { table, check, ran_at, from, to, .. } in verdicts {
            (table, check, ran_at, from, to).hash(&mut hasher);
        }
        hasher.finish()
    };
    let (first, second) = (half(0), half(1));
    // A UUID of version 8, whose bits are anybody's.
    format!(
        "{:08x}-{:04x}-8{:03x}-{:04x}-{:012x}",
        first >> 32,
        first >> 16 & 0xffff,
        first & 0xfff,
        second >> 48 & 0x3fff | 0x8000,
        second & 0xffff_ffff_ffff
    )
}
