//! Starting a worker and running its tasks: what is refused at start, and what becomes of tasks that fail.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use insta::assert_snapshot;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::*;
use crate::config::file;
use crate::providers::Providers;
use crate::task::{TaskError, TaskSpec};
use crate::{Config, ConfigError, ExclusiveTarget, Key, SinkError, ValueType};

struct TestSink;

impl SinkConnector for TestSink {
    fn classes(&self) -> &'static [&'static str] {
        &["TestSink", "com.example.TestSink"]
    }

    fn keys(&self) -> &'static [Key] {
        const { &[Key::new("table", ValueType::Text, "a table").required()] }
    }

    /// Tables that are named so take one writer.
    fn exclusive_target(&self, config: &Config) -> Option<ExclusiveTarget> {
        let table = config.text("table");
        table.starts_with("exclusive").then(|| ExclusiveTarget { key: "table", place: format!("the table {table}") })
    }

    fn start(&self, config: &Config, _: &Handle) -> Result<TaskFactory, ConfigError> {
        match config.text("table") {
            "missing" => Err(config.error("table", "does not exist")),
            _ => Ok(Arc::new(|_| unreachable!("these tests run no task of the sink"))),
        }
    }
}

fn cluster(topics: &[&str]) -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    for topic in topics {
        cluster.create_topic(topic, 2, 1).unwrap();
    }
    cluster
}

fn settings(servers: &str) -> Settings {
    let variables = [
        ("KAFKA_BOOTSTRAP_SERVERS", servers),
        ("CONNECT_LISTENERS", "http://127.0.0.1:0"),
        ("CONNECT_TASK_RESTART_BACKOFF_MAX_MS", "20"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Settings { cluster_timeout: Duration::from_secs(1), ..Settings::from_env(variables).unwrap() }
}

fn prepare(servers: &str, connectors: &[Value]) -> Result<Worker, Vec<StartError>> {
    let providers = Providers::new(|name| (name == "TABLE").then(|| "secret".to_owned()));
    let definitions = connectors
        .iter()
        .enumerate()
        .map(|(i, json)| file::parse(Path::new(&format!("{i}.json")), &json.to_string(), &providers).unwrap())
        .collect();
    Worker::prepare(&settings(servers), definitions, vec![Box::new(TestSink)], &watch::channel(false).1)
}

fn problems(servers: &str, connectors: &[Value]) -> String {
    let problems = prepare(servers, connectors).unwrap_err();
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n").replace(servers, "KAFKA")
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Runs a worker, lets `check` look at it, stops it.
fn running(worker: Worker, run: Run, check: impl FnOnce(SocketAddr)) -> WorkerOutcome {
    let address = worker.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = thread::spawn(move || worker.run_tasks(|| async { drop(stopped.await) }, run));
    check(address);
    drop(stop);
    thread.join().unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "it stands for `task::run`")]
fn until_stopped(mut spec: TaskSpec) -> Result<(), TaskError> {
    let runtime = spec.runtime.clone();
    runtime.block_on(async {
        spec.orders.stopped().await;
    });
    Ok(())
}

fn some_fail(spec: TaskSpec) -> Result<(), TaskError> {
    match spec.task {
        1 => Err(TaskError::OffsetOutOfRange("the offset is gone".into())),
        2 => Err(SinkError::fatal("the bucket is gone").into()),
        3 => panic!("at the disco"),
        _ => until_stopped(spec),
    }
}

/// Fails twice, and then runs.
fn third_try(spec: TaskSpec) -> Result<(), TaskError> {
    static TRIES: AtomicUsize = AtomicUsize::new(0);
    match TRIES.fetch_add(1, Ordering::Relaxed) {
        0 => Err(SinkError::fatal("access is denied").into()),
        1 => panic!("at the disco"),
        _ => until_stopped(spec),
    }
}

/// Asks until the answer is as expected; the last one is shown if it never is.
fn wait_for<T: std::fmt::Debug>(ask: impl Fn() -> T, expected: impl Fn(&T) -> bool) -> T {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let answer = ask();
        if expected(&answer) {
            return answer;
        }
        assert!(std::time::Instant::now() < deadline, "{answer:?}");
    }
}

#[test]
fn every_problem_of_every_connector_is_told_before_the_network_is_asked() {
    assert_snapshot!(problems("127.0.0.1:1", &[
        json!({"name": "a", "connector.class": "TestSnk", "topics": "t"}),
        json!({"name": "b", "connector.class": "com.example.TestSink", "topics": "t", "tabel": "x", "tasks.max": 0}),
        json!({"name": "c", "connector.class": "TestSink", "topics": "t", "table": "x", "consumer.override.group.id": "x",
            "consumer.override.foo": "x", "converter.update.fields.template": "pk"}),
    ]), @r"
    0.json: connector `a`: `connector.class` = `TestSnk`: is not a known kind of sink; known: TestSink, com.example.TestSink
    1.json: connector `b`: `tabel`: is not a known key; nearest known key: `table`
    1.json: connector `b`: `table`: is missing: a table
    1.json: connector `b`: `tasks.max` = `0`: is out of range; allowed: an integer from 1 to 1000
    2.json: connector `c`: `converter.update.fields.template` = `pk`: `pk` is not of the form field=template
    2.json: connector `c`: `consumer.override.group.id`: cannot be set: the consumer group is always `connect-<name>`, because offsets and intents belong to it
    ");
}

#[test]
fn a_worker_that_is_told_to_stop_does_not_wait_for_its_cluster() {
    // The cluster accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = settings(&silent.local_addr().unwrap().to_string());
    let connector = json!({"name": "a", "connector.class": "TestSink", "topics": "t", "table": "x"});
    let definition = file::parse(Path::new("a.json"), &connector.to_string(), &Providers::new(|_| None)).unwrap();
    let started = std::time::Instant::now();
    let settings = Settings { cluster_timeout: Duration::from_mins(1), ..settings };
    let stopped = Worker::prepare(&settings, vec![definition], vec![Box::new(TestSink)], &watch::channel(true).1);
    assert_snapshot!(stopped.unwrap_err()[0], @"the worker was stopped before it had started");
    // Far below the minute that the cluster would have been waited for.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn a_cluster_that_does_not_answer_is_named() {
    // Nothing listens at port 1.
    let text =
        problems("127.0.0.1:1", &[json!({"name": "a", "connector.class": "TestSink", "topics": "t", "table": "x"})]);
    assert_snapshot!(text, @"cannot reach Kafka at KAFKA: nothing listens there (connection refused): start the cluster, or correct KAFKA_BOOTSTRAP_SERVERS");
}

#[test]
fn what_does_not_exist_is_told_with_what_does() {
    let cluster = cluster(&["fms.vehicle.real", "other"]);
    assert_snapshot!(problems(&cluster.bootstrap_servers(), &[
        json!({"name": "a", "connector.class": "TestSink", "topics": "fms.vehicle.real,fms.vehicel.real", "table": "missing"}),
        json!({"name": "b", "connector.class": "TestSink", "topics.regex": "fms\\..*\\.reel", "table": "x"}),
    ]), @r"
    0.json: connector `a`: `topics` = `fms.vehicle.real,fms.vehicel.real`: the topic `fms.vehicel.real` does not exist; the most similar of the 2 that exist is `fms.vehicle.real`
    0.json: connector `a`: `table` = `missing`: does not exist
    1.json: connector `b`: `topics.regex` = `fms\..*\.reel`: matches no topic that exists; the most similar of the 2 that exist is `fms.vehicle.real`
    ");
}

/// Where two connectors would write a topic twice, the worker does not start, however each names its topics.
#[test]
fn a_topic_has_one_writer_at_a_place_that_takes_one() {
    let cluster = cluster(&["fms.vehicle.real", "fms.adas.real", "other"]);
    let connector = |name: &str, table: &str, key: &str, topics: &str| json!({"name": name, "connector.class": "TestSink", "table": table, key: topics});
    assert_snapshot!(problems(&cluster.bootstrap_servers(), &[
        connector("a", "exclusive", "topics", "fms.vehicle.real, other"),
        connector("b", "exclusive", "topics", "other"),
        connector("c", "exclusive", "topics.regex", "fms\\..*"),
        connector("d", "exclusive", "topics.regex", "fms\\.adas.*"),
        connector("e", "exclusive2", "topics.regex", "fms\\..*"),
        connector("f", "exclusive2", "topics.regex", "fms\\..*"),
    ]), @r"
    1.json: connector `b`: `table` = `exclusive`: connector `a` (0.json) writes topic `other` to the table exclusive as well, so its rows would be stored twice; give one of the two another `table`, or other topics
    2.json: connector `c`: `table` = `exclusive`: connector `a` (0.json) writes topic `fms.vehicle.real` to the table exclusive as well, so its rows would be stored twice; give one of the two another `table`, or other topics
    3.json: connector `d`: `table` = `exclusive`: connector `c` (2.json) writes topic `fms.adas.real` to the table exclusive as well, so its rows would be stored twice; give one of the two another `table`, or other topics
    5.json: connector `f`: `table` = `exclusive2`: connector `e` (4.json) writes topic `fms.adas.real` to the table exclusive2 as well, so its rows would be stored twice; give one of the two another `table`, or other topics
    ");
    for (one, other) in [
        (connector("a", "shared", "topics", "other"), connector("b", "shared", "topics", "other")),
        (connector("a", "exclusive", "topics", "other"), connector("b", "exclusive2", "topics", "other")),
        (connector("a", "exclusive", "topics", "other"), connector("b", "exclusive", "topics.regex", "fms\\..*")),
    ] {
        prepare(&cluster.bootstrap_servers(), &[one, other]).unwrap();
    }
}

/// Dead letters that would go round in a circle of connectors are refused; those that go along a line are not.
#[test]
fn dead_letters_do_not_go_round() {
    let cluster = cluster(&["a", "b", "c", "dlq-a", "dlq-b", "dlq-c"]);
    let connector = |name: &str, topics: &str, letters: &str| {
        json!({"name": name, "connector.class": "TestSink", "table": "x", "topics": topics, "errors.tolerance": "all",
            "errors.deadletterqueue.topic.name": letters})
    };
    assert_snapshot!(problems(&cluster.bootstrap_servers(), &[
        connector("a", "a,dlq-b", "dlq-a"),
        connector("b", "b,dlq-a", "dlq-b"),
    ]), @"1.json: connector `b`: `errors.deadletterqueue.topic.name` = `dlq-b`: is read by connector `a`, and this connector reads the dead letters of `a`: a record that none of them can store would go round for ever; give one of them another dead-letter topic, or other topics");
    assert_snapshot!(problems(&cluster.bootstrap_servers(), &[
        connector("a", "a,dlq-c", "dlq-a"),
        connector("b", "b,dlq-a", "dlq-b"),
        json!({"name": "c", "connector.class": "TestSink", "table": "x", "topics.regex": "dlq-b|c", "errors.tolerance": "all",
            "errors.deadletterqueue.topic.name": "dlq-c"}),
    ]), @"2.json: connector `c`: `errors.deadletterqueue.topic.name` = `dlq-c`: is read by connector `a`, whose dead letters go to `b`, and this connector reads the dead letters of `b`: a record that none of them can store would go round for ever; give one of them another dead-letter topic, or other topics");
    let line = [connector("a", "a", "dlq-a"), connector("b", "b,dlq-a", "dlq-b"), connector("c", "dlq-b", "dlq-c")];
    prepare(&cluster.bootstrap_servers(), &line).unwrap();
}

#[test]
fn a_failed_task_leaves_the_others_running_and_is_told_by_health() {
    let cluster = cluster(&["fms.vehicle.real"]);
    let connector = json!({"name": "a", "connector.class": "TestSink", "topics.regex": "fms\\..*", "table": "${env:TABLE}", "tasks.max": 2,
        "producer.override.sasl.password": "hunter2"});
    let worker = prepare(&cluster.bootstrap_servers(), &[connector]).unwrap();
    let outcome = running(worker, some_fail, |address| {
        let json = |path: &str| {
            let (status, body) = get(address, path);
            let body = body.replace(&address.to_string(), "WORKER");
            (status, serde_json::from_str::<Value>(&body).unwrap_or(Value::String(body)))
        };
        let expected = json!({"status": "unhealthy", "failed": [
            {"connector": "a", "task": 1, "trace": "the offset is gone"},
        ], "message": "connectors or tasks have failed, wait for their restart or are stuck"});
        wait_for(|| json("/health"), |answer| *answer == (503, expected.clone()));
        assert_eq!(json("/connectors"), (200, json!(["a"])));
        let config = json!({"name": "a", "connector.class": "TestSink", "topics.regex": "fms\\..*", "table": "${env:TABLE}", "tasks.max": "2",
            "producer.override.sasl.password": "[hidden]"});
        assert_eq!(json("/connectors/a/config"), (200, config.clone()), "a provider's value is not shown");
        let tasks = json!([{"connector": "a", "task": 0}, {"connector": "a", "task": 1}]);
        assert_eq!(
            json("/connectors/a"),
            (200, json!({"name": "a", "config": config, "tasks": tasks, "type": "sink"}))
        );
        let first = json!({"id": 0, "state": "RUNNING", "worker_id": "WORKER", "version": "0.1.0"});
        let second = json!({"id": 1, "state": "FAILED", "worker_id": "WORKER", "version": "0.1.0",
            "trace": "the offset is gone"});
        assert_eq!(json("/connectors/a/tasks/1/status"), (200, second.clone()));
        let status = json("/connectors/a/status").1;
        assert_eq!(status["connector"], json!({"state": "RUNNING", "worker_id": "WORKER", "version": "0.1.0"}));
        assert_eq!((&status["tasks"][0], &status["tasks"][1]), (&first, &second));
        assert_eq!(json("/connectors/b").0, 404);
        assert_eq!(json("/connectors/a/tasks/7/status").0, 404);
        let (status, metrics) = get(address, "/metrics");
        assert_eq!(status, 200);
        for line in [
            r#"kafka_connect_connector_task_status{connector="a",task="1",status="FAILED"} 1"#,
            r#"kafka_connect_sink_task_sink_record_read_total{connector="a",task="0"} 0"#,
            "fms_buffer_limit_bytes 41943040",
        ] {
            assert!(metrics.contains(line), "{metrics}");
        }
    });
    assert_eq!(outcome, WorkerOutcome::Failed);
}

/// A failure that can be repaired outside of the worker, and even a panic, ends no task: the task restarts as often as
/// it has to, and reports how often and why.
#[test]
fn a_task_whose_failure_can_be_repaired_restarts_by_itself() {
    let cluster = cluster(&["t"]);
    let connector = json!({"name": "mended", "connector.class": "TestSink", "topics": "t", "table": "x"});
    let worker = prepare(&cluster.bootstrap_servers(), &[connector]).unwrap();
    let outcome = running(worker, third_try, |address| {
        wait_for(|| get(address, "/connectors/mended/tasks/0/status").1, |body| body.contains("RUNNING"));
        let metrics = wait_for(|| get(address, "/metrics").1, |text| text.contains(r#"reason="panic"} 1"#));
        assert!(
            metrics.contains(r#"fms_task_restarts_total{connector="mended",task="0",reason="sink"} 1"#),
            "{metrics}"
        );
        wait_for(|| get(address, "/health").0, |status| *status == 200);
    });
    assert_eq!(outcome, WorkerOutcome::Clean);
}

/// While a task waits for its restart, the status and `/health` say so. A worker that is stopped then had a failed task.
#[test]
fn a_task_that_waits_for_its_restart_is_not_well() {
    let cluster = cluster(&["t"]);
    let connector = json!({"name": "a", "connector.class": "TestSink", "topics": "t", "table": "x", "tasks.max": 4});
    let mut worker = prepare(&cluster.bootstrap_servers(), &[connector]).unwrap();
    worker.herder.restart_backoff_max = Duration::from_mins(10);
    let outcome = running(worker, some_fail, |address| {
        let state = || get(address, "/connectors/a/tasks/2/status").1;
        wait_for(state, |task| task.contains(r#""state":"RESTARTING","trace":"the bucket is gone (restart "#));
        let (status, health) =
            wait_for(|| get(address, "/health"), |(_, body)| body.contains("the bucket is gone (restart "));
        assert_eq!(status, 503, "{health}");
    });
    assert_eq!(outcome, WorkerOutcome::Failed);
}

#[test]
fn a_worker_that_is_stopped_ends_cleanly() {
    let cluster = cluster(&["t"]);
    let connector = json!({"name": "a", "connector.class": "TestSink", "topics": "t", "table": "x"});
    let worker = prepare(&cluster.bootstrap_servers(), &[connector]).unwrap();
    let outcome = running(worker, until_stopped, |address| assert_eq!(get(address, "/health").0, 200));
    assert_eq!(outcome, WorkerOutcome::Clean);
}
