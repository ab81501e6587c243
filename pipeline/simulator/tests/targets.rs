//! A run sends what its plan says: to Kafka, and as the folder of a fixture.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use fms_simulator::target::{Fixture, Kafka, KafkaSettings, Missing, Record, Target, TargetError, Template};
use fms_simulator::{Expectation, Fault, Fleet, Made, Protocols, Rates, Rhythm, Run, Shard, Simulation};
use proptest::collection::btree_set;
use proptest::prelude::*;
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
    let done = run.run(&mut kafka, Some(&mut expectation), &|| false, &mut |_| {});
    assert!(done.error.is_none(), "{done:?}");
    let done = done.progress;
    assert_eq!((done.second, done.errors), (MORNING + 1200, 0));
    assert_eq!(done.messages, expectation.protocols.values().map(|of| of.messages).sum::<u64>());
    let mut expected: Vec<_> = simulation
        .plan(VEHICLES, Shard::WHOLE, MORNING, MORNING + 1200)
        .map(|departure| simulation.message(&departure))
        .collect();
    // The plan has the messages of a second by vehicle, and a run sends each when it is due.
    expected.sort_by_key(|message| message.at);
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

/// Keeps what arrives. Records are lost whose numbers are in `lost`, and nothing is taken from `stuck` on.
#[derive(Default)]
struct Kept {
    came: Vec<(String, i64, Option<Vec<u8>>)>,
    sent: u64,
    lost: BTreeSet<u64>,
    stuck: Option<u64>,
}

impl Target for Kept {
    fn send(&mut self, record: &Record<'_>, _stops: &dyn Fn() -> bool) -> Result<(), TargetError> {
        if self.stuck == Some(self.sent) {
            return Err(TargetError::Stopped);
        }
        if !self.lost.contains(&self.sent) {
            self.came.push((record.name.to_owned(), record.at, record.value.map(<[u8]>::to_vec)));
        }
        self.sent += 1;
        Ok(())
    }

    fn finish(&mut self, _stops: &dyn Fn() -> bool) -> Result<(), TargetError> {
        if self.missing().numbers.is_empty() { Ok(()) } else { Err(TargetError::Closed) }
    }

    fn arrived(&self) -> u64 {
        self.lost.first().copied().unwrap_or(u64::MAX)
    }

    fn missing(&mut self) -> Missing {
        Missing { numbers: self.lost.iter().copied().filter(|number| *number < self.sent).collect(), uncertain: 0 }
    }
}

/// A run that is stopped and the one that goes on after it send what one run sends.
#[test]
fn a_run_that_was_stopped_goes_on_where_it_was() {
    let simulation = simulation();
    let (mut whole, mut parts) = (Kept::default(), Kept::default());
    run(&simulation).run(&mut whole, None, &|| false, &mut |_| {});
    let asked = Cell::new(0);
    let stops = || {
        asked.set(asked.get() + 1);
        asked.get() > 50
    };
    let stopped = run(&simulation).run(&mut parts, None, &stops, &mut |_| {});
    let second = stopped.progress.second;
    assert!((MORNING..MORNING + 1200).contains(&second) && !parts.came.is_empty(), "{stopped:?}");
    assert!(stopped.error.is_none() && stopped.beyond.is_empty(), "{stopped:?}");
    let rest = Run { from: second, ..run(&simulation) };
    rest.run(&mut parts, None, &|| false, &mut |_| {});
    assert!(parts.came == whole.came && whole.came.is_sorted_by_key(|(_, at, _)| *at));
}

/// A run that has to stop before anything is due goes on from where its clock is, and not from the next message.
#[test]
fn a_run_that_waits_goes_on_from_its_clock() {
    let simulation = Simulation { protocols: Protocols::parse("vehicle/tire").expect("known"), ..simulation() };
    let run = Run { vehicles: 1, speed: Some(1.0), ..run(&simulation) };
    let asked = Cell::new(0);
    let stops = || {
        asked.set(asked.get() + 1);
        asked.get() > 3
    };
    let stopped = run.run(&mut Kept::default(), None, &stops, &mut |_| {});
    assert_eq!((stopped.progress.messages, stopped.progress.second), (0, MORNING), "{stopped:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is lost, and wherever a run has to stop: it says what has arrived, and the one that goes on sends the rest.
    /// Their expectations together are what has arrived in the end, and their messages can be made again.
    #[test]
    fn nothing_is_lost_where_a_target_fails(lost in btree_set(0_u64..300, 0..4), stuck in proptest::option::of(0_u64..300)) {
        let simulation = simulation();
        let made = |from, until, beyond| Made {
            seed: 11, first: 0, vehicles: VEHICLES, shard: Shard::WHOLE, from, until, since: MORNING,
            rhythm: Rhythm::Steady, protocols: Made::names(Protocols::all()), faults: simulation.rates.clone(), beyond,
        };
        let (mut whole, mut first) = (Kept::default(), Kept { lost, stuck, ..Kept::default() });
        run(&simulation).run(&mut whole, None, &|| false, &mut |_| {});
        let mut expectation = Expectation::default();
        let done = run(&simulation).run(&mut first, Some(&mut expectation), &|| false, &mut |_| {});
        prop_assert_eq!(done.progress.messages, first.came.len() as u64);
        let messages = expectation.protocols.values().map(|of| of.messages).sum::<u64>();
        prop_assert_eq!(messages, first.came.len() as u64);
        let from = done.progress.second;
        expectation.made.push(made(MORNING, from, done.beyond.clone()));
        let (mut rest, mut later) = (Kept::default(), Expectation::default());
        Run { from, ..run(&simulation) }.run(&mut rest, Some(&mut later), &|| false, &mut |_| {});
        later.made.push(made(from, MORNING + 1200, Vec::new()));
        // Everything has arrived, and what did so twice is what was said to.
        let again: u64 = done.beyond.iter().map(|[first, last]| last - first + 1).sum();
        prop_assert_eq!((first.came.len() + rest.came.len()) as u64, whole.came.len() as u64 + again);
        let mut came: Vec<_> = first.came.iter().chain(&rest.came).cloned().collect();
        came.sort();
        let mut once = whole.came.clone();
        once.sort();
        let (mut twice, mut all) = (came.clone(), once.clone());
        twice.dedup();
        all.dedup();
        prop_assert!(twice == all);
        // The items are those of a run that nothing has happened to, and there are as many more rows as have come twice.
        expectation.merge(later);
        let mut undisturbed = Expectation::default();
        run(&simulation).run(&mut Kept::default(), Some(&mut undisturbed), &|| false, &mut |_| {});
        for (protocol, of) in &undisturbed.protocols {
            prop_assert_eq!(expectation.protocols[protocol].items, of.items);
            prop_assert_eq!(expectation.protocols[protocol].keys(), of.keys());
        }
        let mut again = Expectation::default();
        for made in &expectation.made {
            made.each_message(|message| again.add(message)).expect("made");
        }
        prop_assert_eq!(again.protocols, expectation.protocols);
    }
}

/// A run that has to stop while no broker takes its records says that nothing has arrived.
#[test]
fn a_run_that_has_to_stop_does_not_wait_for_brokers() {
    let cluster = MockCluster::new(1).expect("a cluster");
    for object in TOPICS {
        cluster.create_topic(&format!("fms.{object}.real"), 1, 1).expect("a topic");
    }
    cluster.broker_down(1).expect("it goes away");
    let settings = KafkaSettings {
        bootstrap_servers: cluster.bootstrap_servers(),
        compression: "none".to_owned(),
        producer: vec![("queue.buffering.max.messages".to_owned(), "20".to_owned())],
    };
    let simulation = simulation();
    let mut expectation = Expectation::default();
    let mut kafka = Kafka::start(&settings).expect("a producer");
    let asked = Cell::new(0);
    let stops = || {
        asked.set(asked.get() + 1);
        asked.get() > 200
    };
    let done = run(&simulation).run(&mut kafka, Some(&mut expectation), &stops, &mut |_| {});
    assert!(done.error.is_none() && done.beyond.is_empty(), "{done:?}");
    assert_eq!((done.progress.messages, expectation), (0, Expectation::default()));
    assert!((MORNING..MORNING + 60).contains(&done.progress.second), "{done:?}");
}

#[test]
fn a_fixture_has_the_messages_and_says_what_they_are() {
    let simulation = simulation();
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("simulated");
    let mut fixture = Fixture::new(&folder, "A \"morning\".".to_owned()).expect("a folder");
    let mut expectation = Expectation::default();
    let done = run(&simulation).run(&mut fixture, Some(&mut expectation), &|| false, &mut |_| {}).progress;
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
