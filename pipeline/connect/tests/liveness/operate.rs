//! A worker is operated by REST while messages come: nothing is lost and nothing is stored twice.

use std::sync::Arc;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::broker::{Broker, wait_until};
use crate::sink::Notes;
use crate::{Running, connector};

const REST: (&str, &str) = ("CONNECT_REST_CHANGES_ENABLE", "true");

fn config(class: &str, topics: &str) -> Value {
    json!({"connector.class": class, "topics": topics})
}

/// The state of a connector, and those of its tasks.
fn states(worker: &Running, name: &str) -> (Value, Vec<Value>) {
    let (_, status) = worker.ask("GET", &format!("/connectors/{name}/status"), "");
    let tasks = status["tasks"].as_array().expect("tasks").iter().map(|task| task["state"].clone()).collect();
    (status["connector"]["state"].clone(), tasks)
}

/// The guarantee: a connector that is created, paused, resumed, changed, stopped, restarted and deleted while messages
/// come stores each of them once.
#[test]
fn every_message_is_stored_once_whatever_is_done_to_its_connector() {
    let broker = Broker::start(&[("a", 2)]);
    let (notes, other) = (Arc::<Notes>::default(), Arc::<Notes>::default());
    let sinks = [(&["First"][..], &notes), (&["Second"][..], &other)];
    let worker = Running::start_with(&[REST], &broker, &[connector("Second", "a")], &sinks);
    let mut total = 0;
    let mut send = |messages: usize| {
        for partition in 0..2 {
            broker.send("a", partition, messages, 10);
        }
        total += 2 * messages;
        total
    };
    let stored = |expected: usize| wait_until(&format!("{expected} stored"), || notes.count("") == expected);

    // Before it is there.
    let all = send(5);
    let body = json!({"name": "first", "config": config("First", "a")});
    let (status, info) = worker.ask("POST", "/connectors", &body.to_string());
    assert_eq!((status, &info["tasks"]), (201, &json!([{"connector": "first", "task": 0}])), "{info}");
    assert_eq!(worker.ask("POST", "/connectors", &body.to_string()).0, 409);
    stored(all);

    // While it is paused, nothing is taken, and what was taken is stored and committed.
    assert_eq!(worker.ask("PUT", "/connectors/first/pause", "").0, 202);
    wait_until("a paused task", || states(&worker, "first") == (json!("PAUSED"), vec![json!("PAUSED")]));
    let paused = send(5);
    wait_until("all stored by another connector", || other.count("") == paused);
    assert_eq!(notes.count(""), all);
    assert_eq!(worker.ask("PUT", "/connectors/first/resume", "").0, 202);
    stored(paused);

    // Another configuration, another number of tasks.
    let mut changed = config("First", "a");
    changed["tasks.max"] = json!("2");
    let all = send(5);
    let (status, info) = worker.ask("PUT", "/connectors/first/config", &changed.to_string());
    assert_eq!((status, info["tasks"].as_array().map(Vec::len)), (200, Some(2)), "{info}");
    let all = all.max(send(5));
    stored(all);

    // Stopped: no task, no member, and the offsets stay.
    let all = send(5);
    assert_eq!(worker.ask("PUT", "/connectors/first/stop", "").0, 204);
    assert_eq!(states(&worker, "first"), (json!("STOPPED"), Vec::new()));
    let before = notes.count("");
    let all = all.max(send(5));
    assert_eq!(notes.count(""), before);
    let committed = (0..2).map(|partition| broker.committed("connect-first", "a", partition).unwrap_or(0)).sum::<i64>();
    assert_eq!(usize::try_from(committed).expect("offsets"), before, "what is stored is committed");
    assert_eq!(worker.ask("PUT", "/connectors/first/resume", "").0, 202);
    stored(all);

    // Restarted, as a whole and one task.
    let all = send(5);
    let (status, plan) = worker.ask("POST", "/connectors/first/restart?includeTasks=true&onlyFailed=false", "");
    assert_eq!((status, &plan["connector"]["state"]), (202, &json!("RESTARTING")), "{plan}");
    assert_eq!(worker.ask("POST", "/connectors/first/tasks/1/restart", "").0, 204);
    assert_eq!(worker.ask("POST", "/connectors/first/tasks/7/restart", "").0, 404);
    assert_eq!(worker.ask("POST", "/connectors/first/restart", "").0, 204);
    let all = all.max(send(5));
    stored(all);
    assert_eq!(worker.ask("GET", "/connectors/first/topics", "").1, json!({"first": {"topics": ["a"]}}));

    // Deleted and created again: it goes on where its group has ended.
    assert_eq!(worker.ask("DELETE", "/connectors/first", "").0, 204);
    assert_eq!(worker.ask("GET", "/connectors/first", "").0, 404);
    let all = all.max(send(5));
    assert_eq!(worker.ask("PUT", "/connectors/first/config", &changed.to_string()).0, 201);
    stored(all);
    assert_eq!(notes.stored_twice(), 0);
    worker.ends_cleanly();
}

/// A configuration that cannot run is refused, and what runs goes on.
#[test]
fn a_wrong_change_is_refused_and_changes_nothing() {
    let broker = Broker::start(&[("a", 1)]);
    let notes = Arc::<Notes>::default();
    let worker = Running::start_with(&[REST], &broker, &[connector("First", "a")], &[(&["First"], &notes)]);
    let (status, error) = worker.ask("PUT", "/connectors/first/config", &config("First", "missing").to_string());
    let message = error["message"].as_str().unwrap_or_default();
    assert!(status == 400 && message.contains("the topic `missing` does not exist"), "{error}");
    let (status, error) = worker.ask("PUT", "/connectors/first/config", &config("Third", "a").to_string());
    assert!(status == 400 && error["message"].to_string().contains("known: First"), "{error}");
    let other = json!({"name": "other", "connector.class": "First", "topics": "a"});
    assert_eq!(worker.ask("PUT", "/connectors/first/config", &other.to_string()).0, 400);
    assert_eq!(worker.ask("PUT", "/connectors/first/config", "{").0, 400);
    assert_eq!(worker.ask("PATCH", "/connectors/first/config", r#"{"topics.regex": null}"#).0, 400);
    broker.send("a", 0, 5, 10);
    wait_until("5 records stored", || notes.count("") == 5);
    let (status, info) = worker.ask("PATCH", "/connectors/first/config", r#"{"errors.log.enable": true}"#);
    assert_eq!((status, &info["config"]["errors.log.enable"]), (200, &json!("true")), "{info}");
    for (method, path) in [
        ("PUT", "/connectors/none/pause"),
        ("PUT", "/connectors/none/stop"),
        ("POST", "/connectors/none/restart?includeTasks=true"),
        ("DELETE", "/connectors/none"),
        ("GET", "/connectors/none/offsets"),
        ("GET", "/nothing"),
    ] {
        assert_eq!(worker.ask(method, path, "").0, 404, "{method} {path}");
    }
    assert_eq!(worker.ask("DELETE", "/connectors", "").0, 405);
    worker.ends_cleanly();
}

/// Without the setting, REST reads and changes nothing.
#[test]
fn rest_only_reads_unless_it_is_allowed_to_change() {
    let broker = Broker::start(&[("a", 1)]);
    let notes = Arc::<Notes>::default();
    let worker = Running::start(&broker, &[connector("First", "a")], &[(&["First"], &notes)]);
    let new = json!({"name": "new", "config": config("First", "a")}).to_string();
    for (method, path, body) in [
        ("POST", "/connectors", new.as_str()),
        ("PUT", "/connectors/first/config", r#"{"connector.class": "First", "topics": "a"}"#),
        ("PATCH", "/connectors/first/config", "{}"),
        ("PUT", "/connectors/first/pause", ""),
        ("PUT", "/connectors/first/stop", ""),
        ("POST", "/connectors/first/restart", ""),
        ("POST", "/connectors/first/tasks/0/restart", ""),
        ("DELETE", "/connectors/first/offsets", ""),
        ("DELETE", "/connectors/first", ""),
    ] {
        let (status, error) = worker.ask(method, path, body);
        let message = error["message"].as_str().unwrap_or_default();
        assert!(status == 403 && message.contains("CONNECT_REST_CHANGES_ENABLE"), "{method} {path}: {error}");
    }
    assert_eq!(worker.ask("GET", "/connectors?expand=status", "").1["first"]["status"]["type"], "sink");
    worker.ends_cleanly();
}

/// What REST has made is there again when the worker starts again, in the state that it was left in.
#[test]
fn what_is_kept_in_a_folder_outlives_the_worker() {
    let broker = Broker::start(&[("a", 1)]);
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("connectors");
    let settings = [REST, ("CONNECT_REST_CHANGES_DIR", folder.to_str().expect("a path"))];
    let notes = Arc::<Notes>::default();
    let start = || Running::start_with(&settings, &broker, &[], &[(&["First"], &notes)]);
    let worker = start();
    let mut secret = config("First", "a");
    secret["consumer.override.sasl.password"] = json!("hunter2");
    let body = json!({"name": "kept", "initial_state": "STOPPED", "config": secret});
    assert_eq!(worker.ask("POST", "/connectors", &body.to_string()).0, 201);
    // A password is not shown, and what is sent back as it was shown leaves it as it is.
    let (_, shown) = worker.ask("GET", "/connectors/kept/config", "");
    assert_eq!(shown["consumer.override.sasl.password"], "[hidden]");
    assert_eq!(worker.ask("PUT", "/connectors/kept/config", &shown.to_string()).0, 200);
    let kept = std::fs::read_to_string(folder.join("kept.json")).expect("the connector's file");
    assert!(kept.contains("hunter2") && !kept.contains("hidden"), "{kept}");
    let body = json!({"name": "gone", "config": config("First", "a")});
    assert_eq!(worker.ask("POST", "/connectors", &body.to_string()).0, 201);
    assert_eq!(worker.ask("DELETE", "/connectors/gone", "").0, 204);
    worker.ends_cleanly();
    let worker = start();
    assert_eq!(worker.ask("GET", "/connectors", "").1, json!(["kept"]));
    assert_eq!(states(&worker, "kept"), (json!("STOPPED"), Vec::new()));
    broker.send("a", 0, 5, 10);
    assert_eq!(worker.ask("PUT", "/connectors/kept/resume", "").0, 202);
    wait_until("5 records stored", || notes.count("") == 5);
    worker.ends_cleanly();
}

/// Commits for a group that has no members, as another program would.
pub fn commit(broker: &Broker, group: &str, offset: i64, metadata: &str) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.servers())
        .set("group.id", group)
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    let mut element = list.add_partition("a", 0);
    element.set_offset(Offset::Offset(offset)).expect("an offset");
    element.set_metadata(metadata);
    consumer.commit(&list, CommitMode::Sync).expect("a commit");
}

/// Offsets are changed only while the connector is stopped, and never under an open intent, which would be lost with the
/// knowledge of what is stored.
#[test]
fn offsets_are_changed_only_when_stopped_and_without_an_open_intent() {
    let broker = Broker::start(&[("a", 1)]);
    broker.send("a", 0, 10, 10);
    let notes = Arc::<Notes>::default();
    let worker = Running::start_with(&[REST], &broker, &[], &[(&["First"], &notes)]);
    let body = json!({"name": "first", "initial_state": "stopped", "config": config("First", "a")});
    assert_eq!(worker.ask("POST", "/connectors", &body.to_string()).0, 201);
    assert_eq!(worker.ask("GET", "/connectors/first/offsets", "").1, json!({"offsets": []}));
    let alter = |offset: i64| {
        let partition = json!({"kafka_topic": "a", "kafka_partition": 0});
        let body = json!({"offsets": [{"partition": partition, "offset": {"kafka_offset": offset}}]});
        worker.ask("PATCH", "/connectors/first/offsets", &body.to_string())
    };
    // A worker that died within a flush has left its intent.
    commit(&broker, "connect-first", 2, r#"{"fms-intent":2,"end":6,"settings":{}}"#);
    let (status, error) = alter(4);
    let message = error["message"].as_str().unwrap_or_default().to_owned();
    assert!(status == 400 && message.contains("a flush up to offset 6 is not finished"), "{error}");
    let (status, error) = worker.ask("DELETE", "/connectors/first/offsets", "");
    assert!(status == 400 && error["message"].to_string().contains("up to offset 6"), "{error}");
    assert_eq!(broker.committed("connect-first", "a", 0), Some(2), "nothing was changed");
    // Without one, they are changed.
    commit(&broker, "connect-first", 2, "");
    assert_eq!(alter(11).0, 400, "the partition ends at 10");
    let (status, message) = alter(7);
    assert_eq!(status, 200, "{message}");
    let partition = json!({"kafka_topic": "a", "kafka_partition": 0});
    let expected = json!({"offsets": [{"partition": partition, "offset": {"kafka_offset": 7}}]});
    assert_eq!(worker.ask("GET", "/connectors/first/offsets", "").1, expected);
    assert_eq!(worker.ask("PUT", "/connectors/first/resume", "").0, 202);
    wait_until("3 records stored", || notes.count("") == 3);
    let (status, error) = alter(0);
    assert!(status == 400 && error["message"].to_string().contains("STOPPED"), "{error}");
    worker.ends_cleanly();
}
