//! A worker, a poller and a simulator on the embedded services.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use e2e::internals::{Embedded, Notification, Queue, Resources, Stack as _};

use crate::process::Process;

const CONNECTOR: &str = r#"{"name": "raw", "connector.class": "S3Sink", "topics": "t", "s3.bucket.name": "raw-data",
    "topics.dir": "raw", "flush.size": "1", "partitioner.class": "FieldAndTime", "partition.field.name": "object",
    "path.format": "yyyy", "partition.duration.ms": "3600000", "timezone": "UTC", "timestamp.extractor": "Record",
    "errors.tolerance": "all", "errors.deadletterqueue.topic.name": "letters"}"#;

/// What a worker and a poller need, and that the poller learns of what the worker stores.
pub fn services() -> Embedded {
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

pub fn worker(stack: &Embedded, folder: &Path) -> Process {
    let config = folder.join("raw.json");
    fs::write(&config, CONNECTOR).expect("written");
    let arguments = ["connect", "--config", config.to_str().expect("UTF-8")];
    let environment = [("CONNECT_LISTENERS", "http://127.0.0.1:0"), ("CONNECT_OFFSET_FLUSH_INTERVAL_MS", "50")];
    Process::fms(stack, folder.join("worker.log"), &arguments, &environment)
}

pub fn poller(stack: &Embedded, folder: &Path) -> Process {
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
pub fn simulator(stack: &Embedded, folder: &Path) -> Process {
    let arguments = ["simulate", "--to", "stdout", "--vehicles", "50", "--rhythm", "steady", "--metrics-port", "0"];
    Process::fms(stack, folder.join("simulator.log"), &arguments, &[])
}
