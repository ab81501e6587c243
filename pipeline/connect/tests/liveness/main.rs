//! A worker outlasts what happens around it: brokers that refuse, freeze or forget, and sinks that fail and recover.

mod broker;
mod example;
mod group;
mod operate;
mod sink;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

use fms_connect::config::file;
use fms_connect::providers::Providers;
use fms_connect::settings::Settings;
use fms_connect::worker::{Worker, WorkerOutcome};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr as Code};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

use crate::broker::{Broker, wait_until};
use crate::sink::{Memory, Notes};

/// A worker in a thread of this process.
struct Running {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: JoinHandle<WorkerOutcome>,
}

impl Running {
    /// Runs these connectors, whose `connector.class` is `First` or `Second`, with the sinks that `notes` are of.
    fn start(broker: &Broker, connectors: &[Value], notes: &[(&'static [&'static str], &Arc<Notes>)]) -> Self {
        Self::start_with(&[], broker, connectors, notes)
    }

    /// With these settings besides.
    fn start_with(
        more: &[(&str, &str)],
        broker: &Broker,
        connectors: &[Value],
        notes: &[(&'static [&'static str], &Arc<Notes>)],
    ) -> Self {
        let variables = [
            ("KAFKA_BOOTSTRAP_SERVERS", broker.servers()),
            ("CONNECT_LISTENERS", "http://127.0.0.1:0"),
            ("CONNECT_OFFSET_FLUSH_INTERVAL_MS", "50"),
            ("CONNECT_TASK_RESTART_BACKOFF_MAX_MS", "50"),
            ("CONNECT_BUFFER_MEMORY", "1048576"),
            ("CONNECT_CONSUMER_FETCH_WAIT_MAX_MS", "10"),
            // The mock cluster lets nobody into a group of the other protocol again once all of its members have left.
            ("CONNECT_CONSUMER_GROUP_PROTOCOL", "consumer"),
        ];
        let settings = Settings::from_env(
            variables.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        )
        .expect("settings");
        let definitions = connectors
            .iter()
            .map(|json| file::parse(Path::new("c.json"), &json.to_string(), &Providers::of_process()).expect("JSON"))
            .collect();
        let sinks: Vec<_> =
            notes.iter().map(|(classes, notes)| Box::new(Memory { classes, notes: Arc::clone(notes) }) as _).collect();
        let worker =
            Worker::prepare(&settings, definitions, sinks, &watch::channel(false).1).expect("a worker that can start");
        let address = worker.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || worker.run(|| async { drop(stopped.await) }));
        Self { address, stop: Some(stop), thread }
    }

    /// Stops it, and expects that every task flushed, committed and left.
    fn ends_cleanly(mut self) {
        drop(self.stop.take());
        wait_until("the worker's end", || self.thread.is_finished());
        assert_eq!(self.thread.join().expect("no panic"), WorkerOutcome::Clean);
    }

    fn get(&self, path: &str) -> String {
        self.exchange("GET", path, "")
    }

    /// The status of the answer, and its body, which is null if it is no JSON.
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let text = self.exchange(method, path, body);
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    fn exchange(&self, method: &str, path: &str, body: &str) -> String {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(self.address).expect("the worker listens");
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        )
        .expect("a request");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        text
    }
}

fn connector(class: &str, topics: &str) -> Value {
    json!({"name": class.to_lowercase(), "connector.class": class, "topics.regex": topics})
}

/// The broker answers some requests of this kind with these errors: no task fails, and every record is stored.
fn passes_by(kind: RDKafkaApiKey, errors: &[Code]) {
    let broker = Broker::start(&[("a", 2), ("b", 1)]);
    for (topic, partition) in [("a", 0), ("a", 1), ("b", 0)] {
        broker.send(topic, partition, 5, 10);
    }
    let notes = Arc::<Notes>::default();
    broker.refuse(kind, errors);
    let worker = Running::start(&broker, &[connector("First", "a|b")], &[(&["First"], &notes)]);
    wait_until("15 records stored", || notes.count("") == 15);
    wait_until("all of b committed", || broker.committed("connect-first", "b", 0) == Some(5));
    let metrics = worker.get("/metrics");
    assert!(!metrics.contains("fms_task_restarts_total{"), "{metrics}");
    worker.ends_cleanly();
}

/// The coordinator fails for a while: the task asks again for the committed offsets after every error that is not
/// permanent.
#[test]
fn a_takeover_outlasts_a_coordinator_that_stumbles() {
    let errors = [
        Code::RD_KAFKA_RESP_ERR_UNKNOWN,
        Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        Code::RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
        Code::RD_KAFKA_RESP_ERR_UNKNOWN,
    ];
    passes_by(RDKafkaApiKey::OffsetFetch, &errors);
}

/// A leader that does not report its earliest offset keeps no partition waiting, because librdkafka goes on asking.
#[test]
fn a_takeover_outlasts_a_leader_that_stumbles() {
    passes_by(RDKafkaApiKey::ListOffsets, &[Code::RD_KAFKA_RESP_ERR_UNKNOWN; 4]);
}

/// A commit that the broker fails for reasons of its own is made again.
#[test]
fn a_commit_that_fails_for_the_brokers_reasons_is_made_again() {
    passes_by(RDKafkaApiKey::OffsetCommit, &[Code::RD_KAFKA_RESP_ERR_UNKNOWN; 3]);
}

/// Every partition that a task owns has a committed offset, also one to which nothing is ever sent, and what was
/// committed before stays.
#[test]
fn the_start_of_a_partition_is_committed_before_a_record_comes() {
    let broker = Broker::start(&[("a", 2)]);
    broker.send("a", 0, 3, 10);
    operate::commit(&broker, "connect-first", 3, "");
    let notes = Arc::<Notes>::default();
    let worker = Running::start(&broker, &[connector("First", "a")], &[(&["First"], &notes)]);
    wait_until("the start of the other partition", || broker.committed("connect-first", "a", 1) == Some(0));
    assert_eq!(broker.committed("connect-first", "a", 0), Some(3));
    broker.send("a", 1, 2, 10);
    wait_until("its records", || broker.committed("connect-first", "a", 1) == Some(2));
    assert_eq!((notes.count("a-0"), notes.count("a-1"), notes.stored_twice()), (0, 2, 0));
    worker.ends_cleanly();
}

/// A commit for a topic that is gone drops that partition alone, and takes it up again if the topic is there.
#[test]
fn a_topic_that_is_gone_ends_no_other() {
    passes_by(RDKafkaApiKey::OffsetCommit, &[Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART; 3]);
}

/// A sink that refuses for a while needs nobody to restart it.
#[test]
fn a_sink_that_refuses_for_a_while_is_tried_again() {
    let broker = Broker::start(&[("a", 1)]);
    broker.send("a", 0, 5, 10);
    let notes = Arc::<Notes>::default();
    notes.refusals.store(4, Ordering::Relaxed);
    let worker = Running::start(&broker, &[connector("First", "a")], &[(&["First"], &notes)]);
    wait_until("5 records stored", || notes.count("a-0") == 5);
    let metrics = worker.get("/metrics");
    assert!(metrics.contains(r#"fms_task_restarts_total{connector="first",task="0",reason="sink"} 4"#), "{metrics}");
    worker.ends_cleanly();
}

/// The outage of one sink, whose task holds all the memory it can get, does not hold up another.
#[test]
fn a_sink_that_is_stuck_does_not_stop_another() {
    let broker = Broker::start(&[("a", 1)]);
    let (stuck, well) = (Arc::<Notes>::default(), Arc::<Notes>::default());
    stuck.stuck.store(true, Ordering::Relaxed);
    let connectors = [connector("First", "a"), connector("Second", "a")];
    let worker = Running::start(&broker, &connectors, &[(&["First"], &stuck), (&["Second"], &well)]);
    // Each time as much as both may hold together.
    for round in 1..=4 {
        broker.send("a", 0, 650, 1000);
        wait_until("a round stored by the sink that is well", || well.count("a-0") == round * 650);
    }
    assert_eq!(stuck.count("a-0"), 0);
    stuck.stuck.store(false, Ordering::Relaxed);
    wait_until("all stored by the other one", || stuck.count("a-0") == 4 * 650);
    worker.ends_cleanly();
}

/// Partitions that have nothing to flush are not looked at in every pass.
#[test]
fn idle_partitions_cost_no_look_a_pass() {
    const PARTITIONS: usize = 200;
    let broker = Broker::start(&[("a", 200)]);
    broker.send("a", 7, 1, 10);
    let notes = Arc::<Notes>::default();
    let worker = Running::start(&broker, &[connector("First", "a")], &[(&["First"], &notes)]);
    wait_until("the record committed", || broker.committed("connect-first", "a", 7) == Some(1));
    let seen = || (notes.passes.load(Ordering::Relaxed), notes.looks.load(Ordering::Relaxed));
    let (first, before) = seen();
    wait_until("a hundred passes", || seen().0 >= first + 100);
    let (last, looks) = seen();
    let (passes, looks) = (last - first, looks - before);
    assert!(looks < passes * PARTITIONS / 10, "{looks} looks in {passes} passes over {PARTITIONS} partitions");
    worker.ends_cleanly();
}
