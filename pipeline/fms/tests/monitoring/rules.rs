//! The alerts: each has its page and its tests, and counts metrics that there are.

use std::process::Command;

use crate::{is_metric, listed, read, repository};

/// The tests of the alerts.
const TESTS: [&str; 3] = ["tests/worker.yml", "tests/lake.yml", "tests/quality.yml"];

/// The names of the alerts, in the order of the file.
fn alerts(rules: &str) -> Vec<&str> {
    rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect()
}

#[test]
fn every_alert_has_its_page_and_its_tests_and_counts_metrics_that_there_are() {
    let (rules, runbook) = (read("deploy/prometheus/rules.yml"), read("docs/runbook.md"));
    let tests: String = TESTS.iter().map(|file| read(&format!("deploy/prometheus/{file}"))).collect();
    let alerts = alerts(&rules);
    assert!(alerts.len() > 15, "{alerts:?}");
    let described: Vec<&str> = runbook.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(described, alerts, "the headings of docs/runbook.md");
    for alert in alerts {
        let page = format!("runbook: docs/runbook.md#{}", alert.to_lowercase());
        assert!(rules.contains(&page), "{alert} does not name its page `{page}`");
        let tested = tests.split("alertname: ").filter(|test| test.starts_with(&format!("{alert}\n")));
        let quiet = tested.clone().filter(|test| test.lines().nth(1).is_some_and(|line| line.ends_with("[]"))).count();
        assert!(quiet > 0 && tested.count() > quiet, "{alert} has to be tested firing, and not firing");
    }
    let listed = listed();
    let words = rules.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    for metric in words.filter(|word| is_metric(word)) {
        assert!(listed.contains_key(metric), "deploy/prometheus/rules.yml counts {metric}, which there is not");
    }
}

/// Prometheus's own tool, which `PROMTOOL` names. Without it the reason is printed.
#[test]
fn promtool_finds_that_alerts_fire_when_they_should() {
    let promtool = std::env::var("PROMTOOL").unwrap_or_else(|_| "promtool".to_owned());
    let folder = repository().join("deploy/prometheus");
    let run = |arguments: &[&str]| Command::new(&promtool).args(arguments).current_dir(&folder).output();
    let Ok(checked) = run(&["check", "rules", "rules.yml"]) else {
        println!("SKIPPED: `{promtool}` does not start; install Prometheus, or name its promtool in PROMTOOL");
        return;
    };
    let configured = run(&["check", "config", "prometheus.yml"]).expect("it has started before");
    let tested = run(&[&["test", "rules"], &TESTS[..]].concat()).expect("it has started before");
    for output in [checked, configured, tested] {
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}");
    }
}
