//! Queues, the events of new objects and the catalog, as a stack provides and observes them for a test: the same on
//! both stacks.

use std::thread;
use std::time::{Duration, Instant};

use e2e::internals::{Notification, Queue, Resources, Stack};
use serde_json::Value;

/// How long a service may take to send an event.
const LIMIT: Duration = Duration::from_secs(30);

/// Creates a bucket that tells a queue of some of its objects, and returns what can be observed then.
pub fn observed(stack: &dyn Stack) -> Result<Vec<String>, String> {
    let queue = Queue { visibility_timeout: 5, dead_letters: None };
    let [bucket, events] = ["raw", "events"].map(str::to_owned);
    let notification =
        Notification { bucket: bucket.clone(), queue: events.clone(), prefix: "rows/".into(), suffix: ".json".into() };
    let resources = Resources {
        buckets: vec![bucket],
        queues: [(events, queue)].into(),
        notifications: vec![notification],
        databases: vec!["lake".to_owned()],
        ..Resources::default()
    };
    let text = |error: &dyn std::fmt::Display| error.to_string();
    stack.provide(&resources).map_err(|error| text(&error))?;
    for key in ["rows/a b.json", "rows/타이어.json", "rows/c.csv", "other/d.json"] {
        stack.put_object("raw", key, b"{}").map_err(|error| text(&error))?;
    }
    // The test event, and one for each object with the prefix and the suffix.
    let deadline = Instant::now() + LIMIT;
    while stack.queue("events").map_err(|error| text(&error))?.visible < 3 {
        if Instant::now() > deadline {
            return Err(format!("the queue has fewer than 3 messages after {LIMIT:?}"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    let bodies = stack.messages("events").map_err(|error| text(&error))?;
    let mut observed = bodies.iter().map(|body| told(body)).collect::<Result<Vec<_>, _>>()?;
    observed.sort();
    let depth = stack.queue("events").map_err(|error| text(&error))?;
    observed.push(format!("{depth:?} after the messages were read"));
    let tables = stack.catalog("lake").map_err(|error| text(&error))?;
    observed.push(format!("{} tables", tables.len()));
    Ok(observed)
}

/// What a message tells, with the key decoded: the services encode it differently.
fn told(body: &str) -> Result<String, String> {
    let event: Value = serde_json::from_str(body).map_err(|error| format!("{error}: {body}"))?;
    if event["Event"] == "s3:TestEvent" {
        return Ok(format!("test event of bucket {}", event["Bucket"]));
    }
    let record = &event["Records"][0];
    let key = record["s3"]["object"]["key"].as_str().unwrap_or_default().replace('+', " ");
    let key = percent_encoding::percent_decode_str(&key).decode_utf8_lossy().into_owned();
    Ok(format!("{} of {} in {}", record["eventName"], key, record["s3"]["bucket"]["name"]))
}
