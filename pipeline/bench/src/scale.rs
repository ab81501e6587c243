//! What a row costs as partitions, keys, objects and workers grow. In each series one of these grows and all else stays,
//! but for runs with the smallest objects, which have fewer rows. What grows with it faster than linearly would show as a
//! row that costs more and more.

use std::time::Duration;

use anyhow::Context;
use serde_json::json;

use crate::topics::{self, MessageKind, Shape};
use crate::{Arguments, Bench, Outcome, Run, dynamodb, s3};

/// The messages of a run for each row of an object, so that runs with the smallest objects end, too.
const OBJECTS: u64 = 5_000;

/// A run, and what grows up to it.
struct Point {
    series: &'static str,
    size: u64,
    shape: Shape,
    run: Run,
}

fn points(messages: u64) -> Vec<Point> {
    let base = Shape::of(messages);
    let point = |series, size: u64, shape, config, workers| {
        let (name, delay) = (format!("{series} {size}"), Duration::ZERO);
        let run = Run { name, kind: MessageKind::Flat, config, delay, connectors: 1, workers };
        Point { series, size, shape, run }
    };
    let flat = || s3("none", &json!({"partitioner.class": "Default"}));
    let partitions = [1_u16, 10, 100, 1000].map(|partitions| {
        // Objects have as many rows in all of these runs: those that a partition has in the last one.
        let rows = (messages / 1000).max(1);
        let config = s3("none", &json!({"partitioner.class": "Default", "flush.size": rows.to_string()}));
        point("partitions, S3", partitions.into(), Shape { partitions, ..base }, config, 1)
    });
    let keys = [10, 100, 1000, 10_000, 100_000].map(|keys| {
        // Each row takes ten times as long as with S3.
        point("keys, DynamoDB", keys, Shape { keys, messages: messages / 5, ..base }, dynamodb(), 1)
    });
    let objects = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000].map(|rows: u64| {
        let shape = Shape { messages: messages.min(rows * OBJECTS), partitions: 1, ..base };
        let config = s3("none", &json!({"partitioner.class": "Default", "flush.size": rows.to_string()}));
        point("rows of an object, S3", rows, shape, config, 1)
    });
    // Two tasks of each worker have a partition at least.
    let workers = [1_usize, 2, 4]
        .map(|workers| point("workers, S3", workers as u64, Shape { partitions: 8, ..base }, flat(), workers));
    partitions.into_iter().chain(keys).chain(objects).chain(workers).collect()
}

/// Prints the table, and returns whether no row was lost or doubled.
pub async fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let bench = Bench::start(arguments).await?;
    let servers = &bench.broker.servers;
    println!("| what grows | | rows | rows/s | CPU µs a row | peak MiB |\n| --- | --- | --- | --- | --- | --- |");
    let mut right = true;
    for (number, Point { series, size, shape, run }) in points(arguments.messages).into_iter().enumerate() {
        let name = format!("fms-bench-{}-scale-{number}", std::process::id());
        let topic = topics::fill(servers, name, run.kind, shape).await?;
        let outcome = async {
            bench.read(&topic).await?;
            bench.worker(&run, &topic).await.with_context(|| format!("run `{}`", run.name))
        }
        .await;
        // Also if the run has failed, for the broker may be an existing one.
        let removed = topics::remove(servers, &topic.name).await;
        let outcome = outcome?;
        removed?;
        let micros = outcome.micros_each();
        let Outcome { tally, usage } = outcome;
        let wrong = if tally.lost + tally.doubled == 0 {
            String::new()
        } else {
            format!(" {} lost, {} doubled", tally.lost, tally.doubled)
        };
        println!(
            "| {series} | {size} | {} | {:.0} | {micros:.2} | {} |{wrong}",
            tally.arrived,
            tally.rate,
            usage.peak / 1024,
        );
        right &= wrong.is_empty();
    }
    Ok(right)
}
