//! What operators watch: the page of the metrics is that of the sources and of all processes, every alert has a page of
//! the run-book and counts metrics that there are, Prometheus's own tool tests the alerts, and every panel of the dashboards
//! shows something.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use e2e::internals::{BASE_TIMESTAMP, Embedded, Notification, Queue, Record, Resources, Stack};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(40);

/// The tests of the alerts.
const TESTS: [&str; 3] = ["tests/worker.yml", "tests/lake.yml", "tests/quality.yml"];

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
    for crate_name in ["aws", "connect", "fms/src/simulate", "glue", "lake", "lambda", "quality", "serve", "sinks"] {
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

/// A process that is killed at the end of its test. Its log is a file, in which it says where it listens.
struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `fms` on these services.
    fn fms(stack: &Embedded, log: PathBuf, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fms"));
        command.args(arguments).envs(stack.environment()).envs(environment.iter().copied()).env("RUST_LOG", "info");
        Self::start(&mut command, log)
    }

    fn start(command: &mut Command, log: PathBuf) -> Self {
        let child = command.stdout(Stdio::null()).stderr(fs::File::create(&log).expect("a log")).spawn();
        Self { child: child.expect("it starts"), log }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).expect("a log")
    }

    /// The port at which it gives metrics that have all of these texts, with the metrics.
    fn metrics(&self, texts: &[&str]) -> (u16, String) {
        until(
            &format!("metrics with {texts:?}"),
            || self.said(),
            || {
                let said = self.said();
                // The addresses of the services are in the log, too.
                let ports = said.split("http://127.0.0.1:").skip(1).filter_map(|rest| {
                    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
                    port.parse::<u16>().ok()
                });
                let mut answers = ports.filter_map(|port| Some((port, get(port, "/metrics")?)));
                answers.find(|(_, answer)| texts.iter().all(|text| answer.contains(text)))
            },
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks until there is something. `why` says more if there is nothing.
fn until<T>(what: &str, why: impl Fn() -> String, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "no {what} within {PATIENCE:?}:\n{}", why());
        thread::sleep(Duration::from_millis(20));
    }
}

/// The body of an answer with status 200.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    // With this version the answer comes as a whole, without chunks.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: x\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.lines().next()?.contains(" 200 ").then(|| body.to_owned())
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

const CONNECTOR: &str = r#"{"name": "raw", "connector.class": "S3Sink", "topics": "t", "s3.bucket.name": "raw-data",
    "topics.dir": "raw", "flush.size": "1", "partitioner.class": "FieldAndTime", "partition.field.name": "object",
    "path.format": "yyyy", "partition.duration.ms": "3600000", "timezone": "UTC", "timestamp.extractor": "Record",
    "errors.tolerance": "all", "errors.deadletterqueue.topic.name": "letters"}"#;

/// What a worker and a poller need, and that the poller learns of what the worker stores.
fn services() -> Embedded {
    let stack = Embedded::start().expect("a stack");
    let queue = Queue { visibility_timeout: 30, dead_letters: None };
    let notification =
        Notification { bucket: "raw-data".into(), queue: "main".into(), prefix: "raw/".into(), suffix: String::new() };
    let resources = Resources {
        topics: BTreeMap::from([("t".to_owned(), 1), ("letters".to_owned(), 1)]),
        buckets: vec!["raw-data".to_owned(), "lake".to_owned()],
        queues: BTreeMap::from([("main".to_owned(), queue.clone()), ("fallback".to_owned(), queue)]),
        notifications: vec![notification],
        databases: vec!["fleet".to_owned()],
        ..Resources::default()
    };
    stack.provide(&resources).expect("resources");
    stack
}

fn worker(stack: &Embedded, folder: &Path) -> Process {
    let config = folder.join("raw.json");
    fs::write(&config, CONNECTOR).expect("written");
    let arguments = ["connect", "--config", config.to_str().expect("UTF-8")];
    let environment = [("CONNECT_LISTENERS", "http://127.0.0.1:0"), ("CONNECT_OFFSET_FLUSH_INTERVAL_MS", "50")];
    Process::fms(stack, folder.join("worker.log"), &arguments, &environment)
}

fn poller(stack: &Embedded, folder: &Path) -> Process {
    let environment = [
        ("FMS_LAKE_QUEUE_URL", "https://sqs.us-east-1.amazonaws.com/000000000000/main"),
        ("FMS_LAKE_FALLBACK_QUEUE_URL", "https://sqs.us-east-1.amazonaws.com/000000000000/fallback"),
        ("FMS_LAKE_TO", "s3://lake"),
        ("FMS_LAKE_DATABASE", "fleet"),
        ("FMS_LAKE_LISTEN", "127.0.0.1:0"),
        ("FMS_LAKE_WAIT_TIME", "1"),
        ("FMS_LAKE_TABLE_FIELDS", "object"),
    ];
    Process::fms(stack, folder.join("poller.log"), &["lake", "poll"], &environment)
}

/// A fleet that is written to nobody, at the speed of real vehicles.
fn simulator(stack: &Embedded, folder: &Path) -> Process {
    let arguments = ["simulate", "--to", "stdout", "--vehicles", "50", "--rhythm", "steady", "--metrics-port", "0"];
    Process::fms(stack, folder.join("simulator.log"), &arguments, &[])
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
    for (answer, least) in [(of_worker, 20), (of_poller, 10), (of_simulator, 6)] {
        let metrics = given(&answer);
        assert!(metrics.len() > least, "{answer}");
        are_listed(&metrics);
    }
}

/// The queries of all panels, each with the names of its dashboard and panel.
fn queries() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for name in ["fms-worker.json", "fms-lake.json", "fms-simulator.json"] {
        let dashboard: Value = serde_json::from_str(&read(&format!("deploy/grafana/{name}"))).expect("a dashboard");
        for panel in dashboard["panels"].as_array().expect("panels") {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let expression = target["expr"].as_str().expect("an expression");
                let expression = expression.replace("$__rate_interval", "10s");
                let expression = expression.replace("$instance", ".*").replace("$connector", ".*");
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

/// Prometheus, which `PROMETHEUS` names, reads a worker, a poller and a simulator while they work. Without it the reason is printed.
#[test]
fn every_panel_has_data_in_prometheus() {
    let prometheus = std::env::var("PROMETHEUS").unwrap_or_else(|_| "prometheus".to_owned());
    if Command::new(&prometheus).arg("--version").output().is_err() {
        println!("SKIPPED: `{prometheus}` does not start; install Prometheus, or name it in PROMETHEUS");
        return;
    }
    let (stack, folder) = (services(), tempfile::tempdir().expect("a folder"));
    let (worker, poller) = (worker(&stack, folder.path()), poller(&stack, folder.path()));
    let (of_worker, _) = worker.metrics(&["\"RUNNING\"} 1"]);
    let (of_poller, _) = poller.metrics(&["fms_lake_"]);
    let simulator = simulator(&stack, folder.path());
    let (of_simulator, _) = simulator.metrics(&["fms_simulator_messages_total"]);
    let config = folder.path().join("prometheus.yml");
    let job = |name: &str, port: u16| json!({"job_name": name, "static_configs": [{"targets": [format!("127.0.0.1:{port}")]}]});
    // JSON is YAML.
    let settings = json!({
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [
            job("fms-worker", of_worker), job("fms-poller", of_poller), job("fms-simulator", of_simulator),
        ],
    });
    fs::write(&config, settings.to_string()).expect("written");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let mut command = Command::new(&prometheus);
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let prometheus = Process::start(&mut command, folder.path().join("prometheus.log"));

    let queries = queries();
    assert!(queries.len() > 30, "{queries:?}");
    let mut offset = 0;
    let without_data = Cell::new(Vec::new());
    until(
        "data for every panel",
        || format!("{:?}\n{}", without_data.take(), prometheus.said()),
        || {
            // A row, and one that is none.
            for value in [r#"{"object":"thing","id":1,"timestamp_iso":"2023-01-01T00:00:00Z"}"#, "no row"] {
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
            thread::sleep(Duration::from_millis(300));
            let missing: Vec<String> =
                queries.iter().filter(|(_, query)| !has_data(port, query)).map(|(panel, _)| panel.clone()).collect();
            let is_done = missing.is_empty();
            without_data.set(missing);
            is_done.then_some(())
        },
    );
}

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
    let tested = run(&[&["test", "rules"], &TESTS[..]].concat()).expect("it has started before");
    for output in [checked, tested] {
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}");
    }
}
