//! What operators watch: the page of the metrics is that of the sources and of all processes, every alert has a page of
//! the run-book and counts metrics that there are, Prometheus's own tool tests the alerts, every panel of the
//! dashboards shows something, and an alert reaches its owner.

mod alertmanager;
mod composed;
mod panels;
mod process;
mod request;
mod rules;
mod services;
mod site;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use self::services::{poller, services, simulator, worker};

/// A metric's name and its labels.
type Metrics = BTreeMap<String, BTreeSet<String>>;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Whether a text is the name of one of our metrics.
fn is_metric(text: &str) -> bool {
    let is_ours = text.starts_with("kafka_connect_") || text.starts_with("fms_");
    is_ours && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// The metrics that the page lists, as `name{label,label}` in backquotes.
fn listed() -> Metrics {
    let page = read("docs/metrics.md");
    let code = page.lines().filter(|line| line.starts_with("| `")).flat_map(|line| line.split('`').skip(1).step_by(2));
    let metric = |text: &str| {
        let (name, labels) = text.split_once('{').unwrap_or((text, "}"));
        let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()).map(str::to_owned);
        is_metric(name).then(|| (name.to_owned(), labels.collect()))
    };
    code.filter_map(metric).collect()
}

/// All names of metrics in the sources of the pipeline.
fn in_sources(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            // Neither tests nor benches count anything of their own.
            if !["tests", "benches"].contains(&name.as_str()) {
                in_sources(&path, found);
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") && name != "tests.rs" {
            let text = fs::read_to_string(&path).expect("a source");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            found.extend(code.split('"').skip(1).step_by(2).filter(|text| is_metric(text)).map(str::to_owned));
        }
    }
}

#[test]
fn the_page_lists_the_metrics_of_the_sources() {
    let mut found = BTreeSet::new();
    for crate_name in [
        "aws",
        "connect",
        "fms/src/simulate",
        "glue",
        "lake",
        "lambda",
        "quality",
        "serve",
        "sinks",
        "../e2e/suite/src/load",
    ] {
        in_sources(&repository().join("pipeline").join(crate_name), &mut found);
    }
    let listed: BTreeSet<String> = listed().into_keys().collect();
    let missing: Vec<_> = found.difference(&listed).collect();
    let unknown: Vec<_> = listed.difference(&found).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "docs/metrics.md lacks {missing:?}, and has in excess {unknown:?}"
    );
}

/// The metrics of an answer with their labels. A histogram has its own name, and not those of its parts.
fn given(answer: &str) -> Metrics {
    let (listed, mut metrics) = (listed(), Metrics::new());
    for line in answer.lines().filter(|line| is_metric(line.split(['{', ' ']).next().unwrap_or_default())) {
        let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap_or(line.len()));
        let part = ["_bucket", "_sum", "_count"].iter().find_map(|ending| name.strip_suffix(ending));
        let name = part.filter(|_| !listed.contains_key(name)).unwrap_or(name);
        // No value of a label has a comma here.
        let labels = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(labels, _)| labels);
        let labels = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
        let labels = labels.filter(|label| label != "le" && label != "quantile");
        metrics.entry(name.to_owned()).or_default().extend(labels);
    }
    metrics
}

fn are_listed(given: &Metrics) {
    let listed = listed();
    for (name, labels) in given {
        let expected = listed.get(name).unwrap_or_else(|| panic!("docs/metrics.md does not list {name}"));
        assert_eq!(labels, expected, "the labels of {name} in docs/metrics.md");
    }
}

#[test]
fn every_process_gives_what_the_page_lists() {
    let (stack, folder) = (services(), tempfile::tempdir().expect("a folder"));
    let (worker, poller) = (worker(&stack, folder.path()), poller(&stack, folder.path()));
    let (_, of_worker) = worker.metrics(&["fms_lag_records{", "\"RUNNING\"} 1"]);
    let (_, of_poller) = poller.metrics(&["fms_lake_queue_messages{"]);
    let simulator = simulator(&stack, folder.path());
    // They are told every five seconds.
    let (_, of_simulator) = simulator.metrics(&["fms_simulator_vehicles{"]);
    let of_load_test = panels::load(1);
    for (answer, least) in [(of_worker, 20), (of_poller, 10), (of_simulator, 6), (of_load_test, 7)] {
        let metrics = given(&answer);
        assert!(metrics.len() > least, "{answer}");
        are_listed(&metrics);
    }
}
