//! What operators watch: the page of the metrics is that of the sources and of both processes, every alert has a page of
//! the run-book and counts metrics that there are, and Prometheus's own tool tests the alerts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use e2e::internals::{Embedded, Queue, Resources, Stack};

const PATIENCE: Duration = Duration::from_secs(20);

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
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let text = fs::read_to_string(&path).expect("a source");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            found.extend(code.split('"').skip(1).step_by(2).filter(|text| is_metric(text)).map(str::to_owned));
        }
    }
}

#[test]
fn the_page_lists_the_metrics_of_the_sources() {
    let mut found = BTreeSet::new();
    for crate_name in ["aws", "connect", "glue", "lake", "lambda", "serve", "sinks"] {
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

/// A process that is killed at the end of its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `fms` and gives what it says at `/metrics`, once that has all of these texts. Its log goes to a file, in which
/// it says where it listens.
fn scrape(stack: &Embedded, folder: &Path, arguments: &[&str], environment: &[(&str, &str)], texts: &[&str]) -> String {
    let log = folder.join("log");
    let child = Command::new(env!("CARGO_BIN_EXE_fms"))
        .args(arguments)
        .envs(stack.environment())
        .envs(environment.iter().copied())
        .env("RUST_LOG", "info")
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).expect("a log"))
        .spawn();
    let _process = Process(child.expect("fms starts"));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = fs::read_to_string(&log).expect("a log");
        let address = said.split("http://127.0.0.1:").skip(1).filter_map(|rest| {
            let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
            port.parse::<u16>().ok()
        });
        // The services' addresses are in the log, too.
        let answers = address.filter_map(metrics_at);
        if let Some(text) = answers.into_iter().find(|answer| texts.iter().all(|text| answer.contains(text))) {
            return text;
        }
        assert!(Instant::now() < deadline, "no metrics within {PATIENCE:?}:\n{said}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn metrics_at(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
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

const CONNECTOR: &str =
    r#"{"name": "raw", "connector.class": "S3Sink", "topics": "t", "s3.bucket.name": "raw-data", "flush.size": "1"}"#;

#[test]
fn a_worker_gives_what_the_page_lists() {
    let stack = Embedded::start().expect("a stack");
    stack.provide(&Resources::topic("t", 1)).expect("a topic");
    stack.provide(&Resources::bucket("raw-data")).expect("a bucket");
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("raw.json");
    fs::write(&config, CONNECTOR).expect("written");
    let arguments = ["connect", "--config", config.to_str().expect("UTF-8")];
    let environment = [("CONNECT_LISTENERS", "http://127.0.0.1:0")];
    let answer = scrape(&stack, folder.path(), &arguments, &environment, &["fms_lag_records{", "\"RUNNING\"} 1"]);
    let metrics = given(&answer);
    assert!(metrics.len() > 20, "{answer}");
    are_listed(&metrics);
}

#[test]
fn a_poller_gives_what_the_page_lists() {
    let stack = Embedded::start().expect("a stack");
    let queue = Queue { visibility_timeout: 30, dead_letters: None };
    let queues = BTreeMap::from([("main".to_owned(), queue.clone()), ("fallback".to_owned(), queue)]);
    let databases = vec!["fleet".to_owned()];
    stack.provide(&Resources { queues, databases, ..Resources::bucket("lake") }).expect("resources");
    let folder = tempfile::tempdir().expect("a folder");
    let environment = [
        ("FMS_LAKE_QUEUE_URL", "https://sqs.us-east-1.amazonaws.com/000000000000/main"),
        ("FMS_LAKE_FALLBACK_QUEUE_URL", "https://sqs.us-east-1.amazonaws.com/000000000000/fallback"),
        ("FMS_LAKE_TO", "s3://lake"),
        ("FMS_LAKE_DATABASE", "fleet"),
        ("FMS_LAKE_LISTEN", "127.0.0.1:0"),
    ];
    let answer = scrape(&stack, folder.path(), &["lake", "poll"], &environment, &["fms_lake_queue_messages{"]);
    let metrics = given(&answer);
    assert!(metrics.len() > 10, "{answer}");
    are_listed(&metrics);
}

/// The names of the alerts, in the order of the file.
fn alerts(rules: &str) -> Vec<&str> {
    rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect()
}

#[test]
fn every_alert_has_its_page_and_its_tests_and_counts_metrics_that_there_are() {
    let (rules, runbook) = (read("deploy/prometheus/rules.yml"), read("docs/runbook.md"));
    let tests = read("deploy/prometheus/tests/worker.yml") + &read("deploy/prometheus/tests/lake.yml");
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
    let tested = run(&["test", "rules", "tests/worker.yml", "tests/lake.yml"]).expect("it has started before");
    for output in [checked, tested] {
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}");
    }
}
