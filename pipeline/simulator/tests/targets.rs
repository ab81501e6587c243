//! A run sends what its plan says: to Kafka, and as the folder of a fixture.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use fms_simulator::target::{Fixture, Kafka, KafkaSettings, Record, Target, TargetError, Template};
use fms_simulator::{Expectation, Fault, Fleet, Protocols, Rates, Rhythm, Run, Shard, Simulation};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::mocking::MockCluster;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use serde_json::Value;

/// A Friday at 08:00 in Korea.
const MORNING: i64 = 1_795_734_000;
/// As many as a partition of the mock cluster holds, which is 5 MB.
const VEHICLES: u64 = 8;
const TOPICS: [&str; 5] = ["vehicle", "adas", "sensor", "blackbox", "device"];

fn simulation() -> Simulation {
    let rates = Rates::field().with(Fault::Tombstone, 0.02).with(Fault::NotUtf8, 0.02).with(Fault::Truncated, 0.02);
    Simulation { fleet: Fleet::new(11), since: MORNING, rhythm: Rhythm::Steady, rates, protocols: Protocols::all() }
}

static TOPIC: LazyLock<Template> = LazyLock::new(|| "fms.{object}.real".parse().expect("a template"));

fn run(simulation: &Simulation) -> Run<'_> {
    Run {
        simulation,
        vehicles: VEHICLES,
        shard: Shard::WHOLE,
        from: MORNING,
        until: MORNING + 1200,
        speed: None,
        topic: &TOPIC,
        headers: &[],
    }
}

/// The next record of a consumer.
fn next(consumer: &BaseConsumer) -> BorrowedMessage<'_> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(record) = consumer.poll(Duration::from_millis(100)) {
            return record.expect("a record");
        }
        assert!(Instant::now() < deadline, "no record came");
    }
}

/// Every message is in the topic of its object, with its key, its time and its value.
#[test]
fn what_is_sent_to_kafka_is_what_is_expected() {
    let cluster = MockCluster::new(1).expect("a cluster");
    for object in TOPICS {
        cluster.create_topic(&format!("fms.{object}.real"), 1, 1).expect("a topic");
    }
    let settings = KafkaSettings {
        bootstrap_servers: cluster.bootstrap_servers(),
        compression: "zstd".to_owned(),
        producer: vec![("linger.ms".to_owned(), "1".to_owned())],
    };
    let simulation = simulation();
    let mut expectation = Expectation::default();
    let mut kafka = Kafka::start(&settings).expect("a producer");
    let headers = [("content-type".to_owned(), Some(b"application/json".to_vec()))];
    let run = Run { headers: &headers, ..run(&simulation) };
    let done = run.run(&mut kafka, Some(&mut expectation), &|| false, &mut |_| {}).expect("everything is sent");
    assert_eq!((done.second, done.errors), (MORNING + 1200, 0));
    assert_eq!(done.messages, expectation.protocols.values().map(|of| of.messages).sum::<u64>());
    let expected: Vec<_> = simulation
        .plan(VEHICLES, Shard::WHOLE, MORNING, MORNING + 1200)
        .map(|departure| simulation.message(&departure))
        .collect();
    assert_eq!(done.messages, expected.len() as u64);
    assert!(expected.iter().any(|message| message.value.is_none()));

    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "test")
        .create()
        .expect("a consumer");
    for object in TOPICS {
        let topic = format!("fms.{object}.real");
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(&topic, 0, Offset::Beginning).expect("a partition");
        consumer.assign(&assignment).expect("assigned");
        for message in expected.iter().filter(|message| message.protocol.names().0 == object) {
            let record = next(&consumer);
            assert_eq!(record.key(), Some(message.id.to_string().as_bytes()));
            assert_eq!(record.timestamp().to_millis(), Some(message.at));
            assert_eq!(record.payload(), message.value.as_deref());
            let header = record.headers().expect("headers").get(0);
            assert_eq!((header.key, header.value), ("content-type", Some(&b"application/json"[..])));
        }
    }
}

/// A run that is stopped and the one that goes on after it send what one run sends.
#[test]
fn a_run_that_was_stopped_goes_on_where_it_was() {
    /// Keeps what it is sent.
    #[derive(Default)]
    struct Kept(Vec<(String, i64, Option<Vec<u8>>)>);
    impl Target for Kept {
        fn send(&mut self, record: &Record<'_>) -> Result<(), TargetError> {
            self.0.push((record.name.to_owned(), record.at, record.value.map(<[u8]>::to_vec)));
            Ok(())
        }

        fn finish(&mut self) -> Result<(), TargetError> {
            Ok(())
        }
    }
    let simulation = simulation();
    let (mut whole, mut parts) = (Kept::default(), Kept::default());
    run(&simulation).run(&mut whole, None, &|| false, &mut |_| {}).expect("sent");
    let asked = std::cell::Cell::new(0);
    let stops = || {
        asked.set(asked.get() + 1);
        asked.get() > 50
    };
    let stopped = run(&simulation).run(&mut parts, None, &stops, &mut |_| {}).expect("stopped");
    assert!((MORNING..MORNING + 1200).contains(&stopped.second) && !parts.0.is_empty(), "{stopped:?}");
    let rest = Run { from: stopped.second, ..run(&simulation) };
    rest.run(&mut parts, None, &|| false, &mut |_| {}).expect("sent");
    assert!(parts.0 == whole.0);
}

#[test]
fn a_fixture_has_the_messages_and_says_what_they_are() {
    let simulation = simulation();
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("simulated");
    let mut fixture = Fixture::new(&folder, "A \"morning\".".to_owned()).expect("a folder");
    let mut expectation = Expectation::default();
    let done = run(&simulation).run(&mut fixture, Some(&mut expectation), &|| false, &mut |_| {}).expect("written");
    let lines = std::fs::read_to_string(folder.join("messages.ndjson")).expect("messages");
    let mut topics = BTreeMap::<String, u64>::new();
    for line in lines.lines() {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let record = &record["$record"];
        *topics.entry(record["topic"].as_str().expect("a topic").to_owned()).or_default() += 1;
        assert!(record.get("value").is_some() != record.get("value_base64").is_some(), "{line}");
    }
    assert_eq!(topics.values().sum::<u64>(), done.messages);
    assert_eq!(topics.len(), TOPICS.len(), "{topics:?}");
    let case: toml::Table =
        std::fs::read_to_string(folder.join("case.toml")).expect("a case").parse().expect("settings");
    assert_eq!(case["description"].as_str(), Some("A \"morning\"."));
    assert!(topics.contains_key(case["topic"].as_str().expect("a topic")));
    assert!(Fixture::new(&folder, String::new()).is_err_and(|error| error.to_string().contains("messages.ndjson")));
}
