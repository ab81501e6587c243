//! Measures a worker: its memory while it is idle, and the time from a message to its item in DynamoDB.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use e2e::Suite;
use e2e::internals::{BASE_TIMESTAMP, Case, Embedded, Log, Record, Stack, Subject, partition_of};

use super::{PATIENCE, empty_stack, megabytes, milliseconds, ms, percentile, resident, row, simple_case, time_row};

const RATE: u32 = 200;
const MESSAGES: u32 = 10 * RATE;

/// The partition key of the item that a message becomes, as `deploy/connectors/dynamodb.json` defines it.
const PARTITION_KEY: (&str, &str) = ("pk", "${id}#vehicle#kinematic#report");
const MESSAGE: &str = r#"{"object":"vehicle","type":"kinematic","command":"report","id":${id},"messaged_at":"2023-01-01T12:00:01.000+09:00","measurements":[{"timestamp_iso":"2023-01-01T12:00:00.000+09:00","seq":0,"latitude":37.518342,"longitude":126.982117,"speed":55.3}]}"#;

/// How often the database is asked for outstanding items. This is the resolution of the measured latency.
const LOOK: Duration = Duration::from_millis(1);

/// Measures a worker with the shipped connectors: first while it is idle on an empty stack, then with messages at a
/// fixed rate.
pub(super) fn measure(suite: &Suite) -> Result<(), String> {
    let case = simple_case(suite)?;
    let (stack, environment) = empty_stack(&case)?;
    let log = Log::default();
    let subject = Subject::start(&suite.program, &case.settings.args, &environment, &suite.root, &log)
        .map_err(|error| error.to_string())?;
    let gone = || format!("the worker is not as it should be; its last lines:\n{}", log.last(15));

    // The worker consumes all topics except its own dead-letter topics.
    let consumed =
        case.settings.resources.topics.iter().filter(|(topic, _)| !case.settings.dead_letters.contains(topic));
    let assigned = consumed.filter_map(|(_, partitions)| usize::try_from(*partitions).ok()).sum::<usize>()
        * case.settings.groups.len();
    let deadline = Instant::now() + PATIENCE;
    while log.text().matches("partition assigned").count() < assigned {
        if subject.wait(Instant::now() + LOOK).is_some() || Instant::now() > deadline {
            return Err(gone());
        }
    }
    let mut memory = resident(&subject);
    // The worker idles for a while, because the memory that its threads and clients allocate when they first run counts
    // too.
    if subject.wait(Instant::now() + Duration::from_secs(2)).is_some() {
        return Err(gone());
    }
    memory = memory.max(resident(&subject));
    match memory {
        Some(bytes) => row("idle worker, resident memory", &megabytes(bytes), "< 40 MB", bytes < 40_000_000),
        None => row("idle worker, resident memory", "no /proc", "< 40 MB", false),
    }

    let (mut times, rate) = latencies(&case, &stack).map_err(|problem| format!("{problem}\n{}", gone()))?;
    let what = format!("produced to readable in DynamoDB, {MESSAGES} messages at {rate:.0}/s");
    row(&format!("{what}: p50"), &milliseconds(percentile(&mut times, 50)), "", true);
    time_row(&format!("{what}: p99"), percentile(&mut times, 99), ms(100));
    subject.terminate();
    subject.wait(Instant::now() + PATIENCE);
    Ok(())
}

/// For every message, the time from the call that sends it until its item can be read; and the rate at which messages
/// were really sent.
fn latencies(case: &Case, stack: &Embedded) -> Result<(Vec<Duration>, f64), String> {
    let table = case.settings.resources.tables.first().ok_or("the case has no table")?;
    let (sender, sent) = mpsc::channel::<(u32, Instant)>();
    thread::scope(|scope| {
        let producing = scope.spawn(move || produce(case, stack, &sender));
        let mut times = Vec::with_capacity(MESSAGES as usize);
        let mut outstanding: VecDeque<(String, Instant)> = VecDeque::new();
        let mut deadline = Instant::now() + PATIENCE;
        while times.len() < MESSAGES as usize {
            for (id, at) in sent.try_iter() {
                outstanding.push_back((PARTITION_KEY.1.replace("${id}", &id.to_string()), at));
            }
            let before = outstanding.len();
            let mut failed = None;
            outstanding.retain(|(key, at)| match stack.has_item(&table.name, PARTITION_KEY.0, key) {
                Ok(true) => {
                    times.push(at.elapsed());
                    false
                }
                Ok(false) => true,
                Err(error) => {
                    failed = Some(error.to_string());
                    true
                }
            });
            if let Some(problem) = failed {
                return Err(problem);
            }
            if outstanding.len() < before {
                deadline = Instant::now() + PATIENCE;
            } else if Instant::now() > deadline {
                return Err(format!("{} of {MESSAGES} messages could be read in DynamoDB", times.len()));
            }
            thread::sleep(LOOK);
        }
        let took = producing.join().map_err(|_| "the producer ended with a panic".to_owned())??;
        Ok((times, f64::from(MESSAGES) / took.as_secs_f64()))
    })
}

/// Sends the messages one by one at the fixed rate, and reports to `sent` when each was sent. Returns the time that all
/// of it took.
fn produce(case: &Case, stack: &Embedded, sent: &mpsc::Sender<(u32, Instant)>) -> Result<Duration, String> {
    let topic = &case.settings.topic;
    let partitions = case.settings.resources.topics[topic];
    let mut offsets = BTreeMap::new();
    let started = Instant::now();
    for id in 0..MESSAGES {
        let due = started + Duration::from_secs(1) / RATE * id;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let key = id.to_string();
        let partition = partition_of(Some(key.as_bytes()), partitions);
        let offset: &mut i64 = offsets.entry(partition).or_default();
        let record = Record {
            topic: topic.clone(),
            partition,
            offset: *offset,
            timestamp: BASE_TIMESTAMP + i64::from(id),
            value: Some(MESSAGE.replace("${id}", &key).into_bytes()),
            key: Some(key.into_bytes()),
            headers: Vec::new(),
        };
        *offset += 1;
        // The time is taken before the call, because the call is part of the latency. The send fails if the reader has
        // ended with an error, which the reader itself reports.
        let _ = sent.send((id, Instant::now()));
        stack.produce(&[record]).map_err(|error| error.to_string())?;
    }
    Ok(started.elapsed())
}
