//! Prometheus has data for every panel of the dashboards.

use std::cell::Cell;
use std::thread;
use std::time::Duration;

use e2e::internals::{BASE_TIMESTAMP, Record, Stack as _};
use serde_json::{Value, json};

use crate::process::{get, prometheus, until};
use crate::services::{poller, services, simulator, worker};
use crate::site::Site;
use crate::{read, repository};

/// The queries of all panels, each with the names of its dashboard and panel.
fn queries() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for name in ["fms-worker.json", "fms-lake.json", "fms-quality.json", "fms-simulator.json", "fms-load.json"] {
        let dashboard: Value = serde_json::from_str(&read(&format!("deploy/grafana/{name}"))).expect("a dashboard");
        for panel in dashboard["panels"].as_array().expect("panels") {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let expression = target["expr"].as_str().expect("an expression");
                let expression = expression.replace("$__rate_interval", "10s");
                let expression = ["$instance", "$connector", "$owner", "$table"]
                    .iter()
                    .fold(expression, |expression, variable| expression.replace(variable, ".*"));
                found.push((format!("{name}: {}", panel["title"].as_str().expect("a title")), expression));
            }
        }
    }
    found
}

/// Whether Prometheus has a number for a query.
fn has_data(prometheus: u16, query: &str) -> bool {
    let encoded = query.bytes().fold(String::new(), |encoded, byte| format!("{encoded}%{byte:02X}"));
    let Some(answer) = get(prometheus, &format!("/api/v1/query?query={encoded}")) else { return false };
    let answer: Value = serde_json::from_str(&answer).expect("an answer of Prometheus");
    let result = answer["data"]["result"].as_array().expect("a result");
    result.iter().any(|sample| sample["value"][1].as_str().is_some_and(|value| value != "NaN"))
}

/// What `fms quality run --format prometheus` writes of checks that passed, failed and could not run.
const QUALITY: &str = "\
fms_quality_outcome{table=\"t\",check=\"a\",severity=\"error\",owner=\"workshop@example.com\"} 0
fms_quality_outcome{table=\"t\",check=\"b\",severity=\"error\",owner=\"workshop@example.com\"} 2
fms_quality_outcome{table=\"t\",check=\"c\",severity=\"error\",owner=\"fleet-data@example.com\"} 3
fms_quality_rows{table=\"t\",check=\"b\",severity=\"error\",owner=\"workshop@example.com\"} 100
fms_quality_bad_rows{table=\"t\",check=\"b\",severity=\"error\",owner=\"workshop@example.com\"} 7
fms_quality_last_run_timestamp_seconds{table=\"t\",check=\"b\",severity=\"error\",owner=\"workshop@example.com\"} 1700000000
";

/// What `e2e load` gives after so many seconds, in each of which three messages were sent and two rows found.
pub fn load(seconds: u32) -> String {
    let (messages, rows) = (3 * seconds, 2 * seconds);
    format!(
        "fms_load_messages_total {messages}\n\
        fms_load_late_messages_total {seconds}\n\
        fms_load_delay_seconds_bucket{{le=\"0.05\"}} {seconds}\n\
        fms_load_delay_seconds_bucket{{le=\"+Inf\"}} {rows}\n\
        fms_load_delay_seconds_sum {seconds}\n\
        fms_load_delay_seconds_count {rows}\n\
        fms_load_lag_messages{{group=\"connect-s3\"}} 7\n\
        fms_load_vehicles 100\n\
        fms_load_workers 2\n\
        fms_load_cores{{process=\"load\"}} 0.5\n\
        fms_load_memory_bytes{{process=\"load\"}} 1000\n"
    )
}

/// Prometheus reads a worker, a poller and a simulator while they work, the results of checks, and those of a load test.
#[test]
fn every_panel_has_data_in_prometheus() {
    let (stack, folder) = (services(), tempfile::tempdir().expect("a folder"));
    let (worker, poller) = (worker(&stack, folder.path()), poller(&stack, folder.path()));
    let (of_worker, _) = worker.metrics(&["\"RUNNING\"} 1"]);
    let (of_poller, _) = poller.metrics(&["fms_lake_"]);
    let simulator = simulator(&stack, folder.path());
    let (of_simulator, _) = simulator.metrics(&["fms_simulator_messages_total"]);
    let (quality, load_test) = (Site::start(QUALITY), Site::start(&load(0)));
    let jobs = [
        ("fms-worker", of_worker),
        ("fms-poller", of_poller),
        ("fms-simulator", of_simulator),
        ("fms-quality", quality.port()),
        ("fms-load", load_test.port()),
    ];
    let rules = json!({"rule_files": [repository().join("deploy/prometheus/rules.yml")]});
    let Some((prometheus, port)) = prometheus(folder.path(), &jobs, rules) else { return };

    let queries = queries();
    assert!(queries.len() > 30, "{queries:?}");
    stack.put_object("raw-data", "raw/t/broken.json.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03 no gzip").expect("put");
    let mut offset = 0;
    let without_data = Cell::new(Vec::new());
    until(
        "data for every panel",
        || format!("{:?}\n{}", without_data.take(), prometheus.said()),
        || {
            // Two rows of which one does not fit the table of the other, and one that is none.
            for value in [
                r#"{"object":"thing","id":1,"timestamp_iso":"2023-01-01T00:00:00Z"}"#,
                r#"{"object":"thing","id":{"a":1},"timestamp_iso":"2023-01-01T00:00:00Z"}"#,
                "no row",
            ] {
                let value = Some(value.as_bytes().to_vec());
                let record = Record {
                    topic: "t".into(),
                    partition: 0,
                    offset,
                    timestamp: BASE_TIMESTAMP,
                    key: None,
                    value,
                    headers: Vec::new(),
                };
                stack.produce(&[record]).expect("sent");
                offset += 1;
            }
            load_test.show(&load(u32::try_from(offset).expect("few records")));
            thread::sleep(Duration::from_millis(300));
            let missing: Vec<String> =
                queries.iter().filter(|(_, query)| !has_data(port, query)).map(|(panel, _)| panel.clone()).collect();
            let is_done = missing.is_empty();
            without_data.set(missing);
            is_done.then_some(())
        },
    );
}
