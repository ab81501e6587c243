//! Verdicts in the shape of dbt's `run_results.json`, which tools that watch dbt read.

use std::io;

use serde_json::{Value, json};

use crate::verdict::{Outcome, Verdict};

/// The version of the shape.
const SCHEMA: &str = "https://schemas.getdbt.com/dbt/run-results/v6.json";

/// The file. Checks of a table share a scan, so that none has a time of its own.
pub(super) fn report(verdicts: &[Verdict]) -> io::Result<String> {
    let result = |verdict: &Verdict| -> Value {
        let Verdict { table, check, outcome, observed, query, bad, .. } = verdict;
        json!({
            "status": outcome.name(),
            "timing": [],
            "thread_id": "main",
            "execution_time": 0.0,
            "adapter_response": {},
            "message": (*outcome != Outcome::Pass).then_some(observed),
            "failures": (*outcome != Outcome::Error).then_some(bad),
            "unique_id": format!("test.fms.{table}.{}", check.replace(|c: char| !c.is_alphanumeric(), "_")),
            "compiled": true,
            "compiled_code": query,
            "relation_name": table,
        })
    };
    let file = json!({
        "metadata": {
            "dbt_schema_version": SCHEMA,
            "dbt_version": format!("fms {}", env!("CARGO_PKG_VERSION")),
            "generated_at": verdicts.first().map(|verdict| &verdict.ran_at),
            "invocation_id": null,
            "env": {},
        },
        "results": verdicts.iter().map(result).collect::<Vec<_>>(),
        "elapsed_time": 0.0,
        "args": {},
    });
    Ok(serde_json::to_string_pretty(&file)? + "\n")
}
