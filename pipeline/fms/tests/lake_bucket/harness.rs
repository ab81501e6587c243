//! The services of the embedded stack with what a lake needs, and the program.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use e2e::internals::{Embedded, Notification, Queue, Resources, Stack};

pub const PATIENCE: Duration = Duration::from_mins(1);

/// A bucket that announces its objects to the queue `events`, a fallback queue, and what a lake needs.
pub fn stack() -> Embedded {
    let stack = Embedded::start().expect("a stack");
    let queue = |name: &str| (name.to_owned(), Queue { visibility_timeout: 30, dead_letters: None });
    let notification = Notification {
        bucket: "raw-data".into(),
        queue: "events".into(),
        prefix: String::new(),
        suffix: String::new(),
    };
    let resources = Resources {
        queues: [queue("events"), queue("failed")].into(),
        notifications: vec![notification],
        buckets: ["raw-data", "lake"].map(ToOwned::to_owned).into(),
        databases: vec!["fleet".to_owned()],
        ..Resources::default()
    };
    stack.provide(&resources).expect("a bucket and queues");
    stack
}

pub fn url(name: &str) -> String {
    format!("http://sqs.invalid/000000000000/{name}")
}

pub fn fms(stack: &Embedded, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fms"));
    command.args(["lake"]).args(arguments).envs(stack.environment());
    command.env("FMS_LAKE_QUEUE_URL", url("events")).env("FMS_LAKE_FALLBACK_QUEUE_URL", url("failed"));
    // A receive that is under way is not given up at the end.
    command.env("FMS_LAKE_WAIT_TIME", "1");
    if arguments[0] == "poll" {
        command.env("FMS_LAKE_TO", "s3://lake").env("FMS_LAKE_DATABASE", "fleet").env("FMS_LAKE_RAW_PREFIX", "topics/");
    }
    command.env_remove("RUST_LOG");
    command
}

pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "no {what} within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

pub fn messages(stack: &Embedded, queue: &str) -> u64 {
    let depth = stack.queue(queue).expect("a queue");
    depth.visible + depth.in_flight + depth.delayed
}

/// Sends a message as the SDKs do.
pub fn send(stack: &Embedded, queue: &str, body: &str) {
    let environment = stack.environment();
    let address = environment["AWS_ENDPOINT_URL"].trim_start_matches("http://").trim_end_matches('/').to_owned();
    let body = serde_json::json!({"QueueUrl": url(queue), "MessageBody": body}).to_string();
    let mut stream = TcpStream::connect(&address).expect("the stack listens");
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nx-amz-target: AmazonSQS.SendMessage\r\n\
         content-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

pub fn row(second: u32) -> String {
    format!(
        r#"{{"object":"vehicle","type":"tire","command":"report","id":7,"timestamp_iso":"2022-12-25T11:00:{second:02}Z"}}"#
    )
}
