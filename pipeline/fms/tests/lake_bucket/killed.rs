//! Commands are killed with SIGKILL at their calls to AWS, just before a call takes effect or just after it did, and are
//! started again. Nothing is missing then, nothing is there twice, and no reader saw a row twice in between.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread;

use bytes::Bytes;
use e2e::internals::{CallName, Embedded, Fault, Moment, Stack as _, numbered};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde_json::Value;

use crate::harness::{fms, messages, send, stack, until};
use crate::poll::Poller;

/// How many crash points are passed over from one that is tried to the next. It is odd, so that those before and those
/// after calls take turns. With `FMS_EVERY_CALL` in the environment, every crash point is tried, which takes minutes.
fn stride() -> usize {
    if std::env::var_os("FMS_EVERY_CALL").is_some() { 1 } else { 23 }
}

fn run(stack: &Embedded, arguments: &[&str]) {
    let output = fms(stack, arguments).output().expect("fms starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "fms lake {arguments:?} ended with {}: {said}", output.status);
}

/// The calls that a command makes, each by the name that it has if calls are counted from the command's start.
fn calls_of(stack: &Embedded, arguments: &[&str]) -> Vec<CallName> {
    let before = stack.calls().snapshot().len();
    run(stack, arguments);
    let calls = stack.calls().snapshot();
    numbered(calls[before..].iter().map(|call| (call.service.as_str(), call.operation.as_str())))
}

/// Runs a command that is killed at a call, while a reader looks at the lake again and again. Gives how the command ended:
/// a run may do without the call.
fn run_killed(stack: &Embedded, arguments: &[&str], call: CallName, moment: Moment, at: &str) -> ExitStatus {
    let pid: Arc<OnceLock<Pid>> = Arc::default();
    let killed = Arc::clone(&pid);
    let hook = move |_: &str| kill(*killed.wait(), Signal::SIGKILL).expect("it waits for the answer to its call");
    stack.calls().inject(Fault::Hold { call, moment, hook: Box::new(hook) });
    let child = fms(stack, arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.expect("fms starts");
    pid.set(Pid::from_raw(i32::try_from(child.id()).expect("a process id"))).expect("it is set once");
    watch(stack, &mut child, at)
}

/// Reads the lake until a process has ended. No row may be there twice at any time.
fn watch(stack: &Embedded, child: &mut Child, at: &str) -> ExitStatus {
    loop {
        let ended = child.try_wait().expect("a child");
        assert_once(stack, at);
        match ended {
            Some(ended) => return ended,
            None => thread::yield_now(),
        }
    }
}

/// Kills a command at one call after the other, each time on new services. `begin` makes what it works on; `halfway` is
/// called when it is dead, and `finally` when it was run again, or when it has ended without that call.
fn at_calls(
    begin: impl Fn(&Embedded),
    arguments: &[&str],
    halfway: impl Fn(&Embedded, &str),
    finally: impl Fn(&Embedded, &str),
) {
    let undisturbed = stack();
    begin(&undisturbed);
    let calls = calls_of(&undisturbed, arguments);
    finally(&undisturbed, "undisturbed");
    let points: Vec<(&CallName, Moment)> =
        calls.iter().flat_map(|call| [(call, Moment::Before), (call, Moment::After)]).collect();
    let (mut tried, mut hit) = (0, 0);
    // Of a command with few calls, more of them.
    for &(call, moment) in points.iter().step_by(stride().min((points.len() / 8) | 1)) {
        let at = format!("killed {moment:?} {call:?}");
        let stack = stack();
        begin(&stack);
        let ended = run_killed(&stack, arguments, call.clone(), moment, &at);
        tried += 1;
        if ended.signal() == Some(Signal::SIGKILL as i32) {
            hit += 1;
            halfway(&stack, &at);
            run(&stack, arguments);
        } else {
            assert!(ended.success(), "{at}: it ended with {ended}");
        }
        finally(&stack, &at);
    }
    println!("{} calls, {tried} of {} crash points tried, {hit} hit", calls.len(), points.len());
    assert!(tried > 2 && hit * 10 >= tried * 9, "{hit} of {tried} crash points were hit");
}

/// The cases whose rows are the raw objects: two days, a table that grows, two tables, and a row that does not fit.
const CASES: [&str; 4] = ["across-midnight", "new-nested-field", "two-protocols-in-one-object", "scalar-to-list"];
/// How many rows they have, those in quarantine left out, and how many of these are in the second table.
const ROWS: usize = 11;
const OF_KINEMATIC: usize = 1;

/// The raw objects of the cases, as the S3 sink writes them. The vehicle's id is another one in each, so that no row is
/// there twice.
fn raw_objects() -> Vec<(String, String)> {
    let object = |(number, case): (usize, &&str)| {
        let path = format!("{}/../../fixtures/lake/{case}/messages.ndjson", env!("CARGO_MANIFEST_DIR"));
        let messages = fs::read_to_string(path).expect("a case");
        let rows: Vec<String> = messages.lines().flat_map(|message| rows_of(message, number)).collect();
        (format!("topics/{case}.json"), rows.join("\n"))
    };
    CASES.iter().enumerate().map(object).collect()
}

fn rows_of(message: &str, id: usize) -> Vec<String> {
    let mut envelope: serde_json::Map<String, Value> = serde_json::from_str(message).expect("a message");
    envelope["id"] = id.into();
    let Some(Value::Array(measurements)) = envelope.remove("measurements") else { panic!("no list in {message}") };
    let row = |measurement: Value| {
        let Value::Object(fields) = measurement else { panic!("no object in {message}") };
        Value::Object(envelope.clone().into_iter().chain(fields).collect()).to_string()
    };
    measurements.into_iter().map(row).collect()
}

fn put_raw(stack: &Embedded) {
    for (key, rows) in raw_objects() {
        stack.put_object("raw-data", &key, rows.as_bytes()).expect("an object");
    }
}

fn put_and_convert(stack: &Embedded) {
    put_raw(stack);
    run(stack, &CONVERT);
}

const CONVERT: [&str; 8] =
    ["convert", "s3://raw-data/topics/", "--to", "s3://lake", "--database", "fleet", "--at-once", "1"];
const LAKE: [&str; 4] = ["--lake", "s3://lake", "--database", "fleet"];

/// How often a reader sees each row that asks the catalog where the partitions are.
fn seen(stack: &Embedded) -> BTreeMap<String, usize> {
    let tables = stack.catalog("fleet").expect("the database");
    let objects = stack.objects("lake").expect("the bucket");
    let mut seen = BTreeMap::new();
    for table in tables {
        for partition in table["Partitions"].as_array().expect("partitions") {
            let location = partition["StorageDescriptor"]["Location"].as_str().expect("a location");
            let folder = location.strip_prefix("s3://lake/").expect("in the lake");
            for (_, file) in objects.iter().filter(|(key, _)| key.starts_with(folder) && key.ends_with(".parquet")) {
                let reader = SerializedFileReader::new(Bytes::from(file.clone())).expect("a Parquet file");
                for row in reader.get_row_iter(None).expect("rows") {
                    let row = row.expect("a row");
                    let told = ["id", "message_id", "timestamp_iso"].map(|wanted| {
                        let found = row.get_column_iter().find(|(name, _)| *name == wanted);
                        found.map_or_else(String::new, |(_, value)| value.to_string())
                    });
                    *seen.entry(format!("{} {}", table["Name"], told.join(" "))).or_default() += 1;
                }
            }
        }
    }
    seen
}

#[track_caller]
fn assert_once(stack: &Embedded, at: &str) -> usize {
    let seen = seen(stack);
    assert!(seen.values().all(|&times| times == 1), "{at}: a reader sees a row twice: {seen:#?}");
    seen.len()
}

/// The rows of the objects in quarantine.
fn quarantined(stack: &Embedded) -> usize {
    let objects = stack.objects("lake").expect("the bucket");
    let files = objects.iter().filter(|(key, _)| key.starts_with("quarantine/"));
    files.map(|(_, body)| String::from_utf8_lossy(body).lines().count()).sum()
}

/// Every row of the cases is in the lake once.
fn assert_whole(stack: &Embedded, at: &str) {
    assert_eq!((assert_once(stack, at), quarantined(stack)), (ROWS, 1), "{at}");
}

#[test]
fn a_conversion_is_whole_when_it_was_run_again() {
    at_calls(put_raw, &CONVERT, |_, _| {}, assert_whole);
}

#[test]
fn a_compaction_hides_no_row_and_shows_none_twice_when_it_dies() {
    let compact = [&["compact"][..], &LAKE, &["--at-once", "1"]].concat();
    at_calls(put_and_convert, &compact, assert_whole, |stack, at| {
        assert_whole(stack, at);
        let text = Value::from(stack.catalog("fleet").expect("the database")).to_string();
        assert!(text.contains("s3://lake/compacted/"), "{at}: readers are sent to the compacted files");
    });
}

/// The files that were replaced are removed after the grace period, which is over at once here.
#[test]
fn the_removal_of_replaced_files_removes_no_others_when_it_dies() {
    let compact = [&["compact"][..], &LAKE, &["--at-once", "1", "--grace", "0s"]].concat();
    let begin = |stack: &Embedded| {
        put_and_convert(stack);
        run(stack, &[&["compact"][..], &LAKE].concat());
    };
    at_calls(begin, &compact, assert_whole, |stack, at| {
        assert_whole(stack, at);
        let objects = stack.objects("lake").expect("the bucket");
        let left: Vec<&String> =
            objects.iter().map(|(key, _)| key).filter(|key| key.starts_with("formatted/")).collect();
        assert!(left.is_empty(), "{at}: {left:?}");
    });
}

#[test]
fn an_expiry_is_whole_when_it_was_run_again() {
    let expire = [&["expire"][..], &LAKE, &["--older-than", "1d", "--table", "vehicle_kinematic_report"]].concat();
    let halfway = |stack: &Embedded, at: &str| assert!(assert_once(stack, at) >= ROWS - OF_KINEMATIC, "{at}");
    at_calls(put_and_convert, &expire, halfway, |stack, at| {
        assert_eq!(assert_once(stack, at), ROWS - OF_KINEMATIC, "{at}");
    });
}

/// A letter that was sent and not deleted is sent twice. The rows of its object are in the lake once nevertheless.
#[test]
fn what_a_redrive_sends_back_is_converted_once_wherever_it_dies() {
    let redrive = ["redrive", "--visibility-timeout", "1"];
    let begin = |stack: &Embedded| {
        for (key, rows) in raw_objects() {
            // Nobody announces objects of this bucket.
            stack.put_object("lake", &key, rows.as_bytes()).expect("an object");
            let letter = serde_json::json!({
                "version": 1, "event": {"Records": []}, "object": {"bucket": "lake", "key": key}, "reason": "read",
                "error": "it was cut off", "attempts": 1, "time": "2026-11-27T02:00:00Z",
            });
            send(stack, "failed", &letter.to_string());
        }
    };
    // What the dead command had received is visible again a second later.
    let visible = |stack: &Embedded, at: &str| {
        until(&format!("{at}: visible letters"), || {
            (stack.queue("failed").expect("a queue").in_flight == 0).then_some(())
        });
    };
    at_calls(begin, &redrive, visible, |stack, at| {
        assert_eq!(messages(stack, "failed"), 0, "{at}");
        let poller = Poller::start(stack);
        until(&format!("{at}: empty queue"), || (messages(stack, "events") == 0).then_some(()));
        assert_eq!(poller.stop(), Some(0), "{at}");
        assert_whole(stack, at);
    });
}
