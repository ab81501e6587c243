//! A worker in a group: changes wait for the group, and a topic that is of no use is told at start.

use std::sync::Arc;

use fms_connect::settings::Settings;
use fms_connect::worker::Worker;
use insta::assert_snapshot;
use rdkafka::bindings::rd_kafka_resp_err_t as Code;
use rdkafka::types::RDKafkaApiKey;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::broker::{Broker, wait_until};
use crate::sink::Notes;
use crate::{Running, connector};

const GROUP: [(&str, &str); 4] = [
    ("CONNECT_GROUP_ID", "workers"),
    ("CONNECT_CONFIG_STORAGE_TOPIC", "configs"),
    ("CONNECT_STATUS_STORAGE_TOPIC", "states"),
    ("CONNECT_REST_CHANGES_ENABLE", "true"),
];

/// While a worker does not know its part of the group, it answers what it reads, and refuses changes as Kafka Connect does.
#[test]
fn changes_are_refused_until_the_group_has_settled() {
    let broker = Broker::start(&[("a", 1), ("configs", 1), ("states", 4)]);
    broker.send("a", 0, 3, 10);
    broker.refuse(RDKafkaApiKey::FindCoordinator, &[Code::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE; 12]);
    let notes = Arc::<Notes>::default();
    let worker = Running::start_with(&GROUP, &broker, &[], &[(&["First"], &notes)]);
    let body = connector("First", "a");
    let create = json!({"name": "first", "config": body}).to_string();
    let (status, refusal) = worker.ask("POST", "/connectors", &create);
    assert_eq!(status, 409, "{refusal}");
    assert_snapshot!(refusal["message"].as_str().expect("a text"), @"Cannot complete request momentarily due to no known leader URL, likely because a rebalance was underway.");
    assert_eq!(worker.ask("GET", "/connectors", ""), (200, json!([])));
    wait_until("a group that has settled", || worker.ask("POST", "/connectors", &create).0 == 201);
    wait_until("3 records stored", || notes.count("") == 3);
    let status = || worker.ask("GET", "/connectors/first/status", "").1;
    wait_until("a task that is reported", || status()["tasks"][0]["state"] == "RUNNING");
    worker.ends_cleanly();
}

/// A connector that cannot run on a worker is told with the reason, also by other workers, and others go on.
#[test]
fn a_connector_of_the_topic_that_cannot_start_is_told() {
    let broker = Broker::start(&[("a", 1), ("configs", 1), ("states", 4)]);
    let worker = |notes: &Arc<Notes>| Running::start_with(&GROUP, &broker, &[], &[(&["First"], notes)]);
    for (key, value) in [
        ("commit-bad", json!({"tasks": 1})),
        ("connector-bad", json!({"properties": {"connector.class": "Gone", "topics": "a"}})),
        ("connector-first", json!({"properties": {"connector.class": "First", "topics": "a"}})),
        ("session-key", json!({"key": "x"})),
    ] {
        broker.send_keyed("configs", key, &value.to_string());
    }
    broker.send("a", 0, 3, 10);
    let notes = Arc::<Notes>::default();
    let one = worker(&notes);
    wait_until("3 records stored", || notes.count("") == 3);
    let status = || one.ask("GET", "/connectors/bad/status", "").1;
    wait_until("a failed task", || status()["tasks"][0]["state"] == "FAILED");
    let trace = status()["connector"]["trace"].as_str().expect("a reason").to_owned();
    assert_snapshot!(trace, @"connector `bad`: `connector.class` = `Gone`: is not a known kind of sink; known: First");
    assert_eq!(one.ask("GET", "/connectors", "").1, json!(["bad", "first"]));
    // Corrected, it runs.
    let config = json!({"connector.class": "First", "topics": "a"});
    let change = || one.ask("PUT", "/connectors/bad/config", &config.to_string()).0;
    wait_until("the correction", || change() == 200);
    wait_until("its task", || status()["tasks"][0]["state"] == "RUNNING");
    assert_eq!(status()["connector"]["state"], Value::from("RUNNING"));
    one.ends_cleanly();
}

#[test]
fn a_config_topic_with_several_partitions_is_refused() {
    let broker = Broker::start(&[("configs", 2), ("states", 4)]);
    let variables = GROUP
        .iter()
        .copied()
        .chain([("KAFKA_BOOTSTRAP_SERVERS", broker.servers()), ("CONNECT_LISTENERS", "http://127.0.0.1:0")]);
    let settings = Settings::from_env(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let settings = settings.expect("settings");
    let refused = Worker::prepare(&settings, Vec::new(), Vec::new(), &watch::channel(false).1).expect_err("a topic");
    assert_snapshot!(refused[0], @"the group `workers`: the topic `configs` of CONNECT_CONFIG_STORAGE_TOPIC: it has 2 partitions and must have one, or configurations would be read in another order than they were written in: name another topic, or one that does not exist");
}
