//! Commands are killed with SIGKILL at their calls to AWS, just before a call takes effect or just after it did, and are
//! started again. Nothing is missing then, nothing is there twice, and no reader saw a row twice in between.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use e2e::internals::{CallName, Embedded, Fault, Moment, Stack as _, numbered};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parquet::file::reader::{FileReader as _, SerializedFileReader};

use crate::harness::{fms, send, stack};

/// How many crash points are passed over from one that is tried to the next. It is odd, so that those before and those
/// after calls take turns. With `FMS_EVERY_CALL` in the environment, every crash point is tried, which takes minutes.
fn stride() -> usize {
    if std::env::var_os("FMS_EVERY_CALL").is_some() { 1 } else { 11 }
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

/// Runs a command that is killed at a call. Gives how it ended: a run may do without the call.
fn run_killed(stack: &Embedded, arguments: &[&str], call: CallName, moment: Moment) -> ExitStatus {
    let pid: Arc<OnceLock<Pid>> = Arc::default();
    let killed = Arc::clone(&pid);
    let hook = move |_: &str| kill(*killed.wait(), Signal::SIGKILL).expect("it waits for the answer to its call");
    stack.calls().inject(Fault::Hold { call, moment, hook: Box::new(hook) });
    let child = fms(stack, arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.expect("fms starts");
    pid.set(Pid::from_raw(i32::try_from(child.id()).expect("a process id"))).expect("it is set once");
    child.wait().expect("it ends")
}

/// Kills a command at one call after the other, each time on new services. `begin` makes what it works on; `halfway` is
/// called when it is dead, and `finally` when it was run again, or when it has ended without that call.
fn at_calls(
    begin: impl Fn(&Embedded),
    arguments: &[&str],
    halfway: impl Fn(&Embedded, &str),
    is_run_again: bool,
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
        let ended = run_killed(&stack, arguments, call.clone(), moment);
        tried += 1;
        if ended.signal() == Some(Signal::SIGKILL as i32) {
            hit += 1;
            halfway(&stack, &at);
            if is_run_again {
                run(&stack, arguments);
            }
        } else {
            assert!(ended.success(), "{at}: it ended with {ended}");
        }
        finally(&stack, &at);
    }
    println!("{} calls, {tried} of {} crash points tried, {hit} hit", calls.len(), points.len());
    assert!(tried > 2 && hit * 10 >= tried * 9, "{hit} of {tried} crash points were hit");
}

fn row(hour: u32, n: u32) -> String {
    format!(
        r#"{{"object":"vehicle","type":"tire","command":"report","id":7,"timestamp_iso":"2022-12-25T{hour:02}:00:00Z","n":{n}}}"#
    )
}

/// Raw objects of two tables and two hours, and a row that does not fit.
fn put_raw(stack: &Embedded) {
    let status = row(3, 8).replace("tire", "status");
    for (key, rows) in [
        ("topics/a.json", vec![row(3, 1), row(4, 2), status]),
        ("topics/b.json", vec![row(3, 3), "no JSON".to_owned()]),
        ("topics/c.json", vec![row(3, 4)]),
    ] {
        stack.put_object("raw-data", key, rows.join("\n").as_bytes()).expect("an object");
    }
}

const CONVERT: [&str; 8] =
    ["convert", "s3://raw-data/topics/", "--to", "s3://lake", "--database", "fleet", "--at-once", "1"];
const LAKE: [&str; 4] = ["--lake", "s3://lake", "--database", "fleet"];

/// How often a reader sees each row that asks the catalog where the partitions are: table, hour and `n`.
fn seen(stack: &Embedded) -> BTreeMap<String, usize> {
    let objects = stack.objects("lake").expect("the bucket");
    let mut seen = BTreeMap::new();
    for table in stack.catalog("fleet").expect("the database") {
        for partition in table["Partitions"].as_array().expect("partitions") {
            let location = partition["StorageDescriptor"]["Location"].as_str().expect("a location");
            let folder = location.strip_prefix("s3://lake/").expect("in the lake");
            for (_, file) in objects.iter().filter(|(key, _)| key.starts_with(folder) && key.ends_with(".parquet")) {
                let reader = SerializedFileReader::new(Bytes::from(file.clone())).expect("a Parquet file");
                for row in reader.get_row_iter(None).expect("rows") {
                    let row = row.expect("a row");
                    let (_, n) = row.get_column_iter().find(|(name, _)| *name == "n").expect("the column `n`");
                    *seen.entry(format!("{} {} {n}", table["Name"], partition["Values"])).or_default() += 1;
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

#[test]
fn a_conversion_is_whole_when_it_was_run_again() {
    let halfway = |stack: &Embedded, at: &str| {
        assert_once(stack, at);
    };
    at_calls(put_raw, &CONVERT, halfway, true, |stack, at| {
        assert_eq!((assert_once(stack, at), quarantined(stack)), (5, 1), "{at}");
    });
}

#[test]
fn a_compaction_hides_no_row_and_shows_none_twice_when_it_dies() {
    let begin = |stack: &Embedded| {
        put_raw(stack);
        run(stack, &CONVERT);
    };
    let compact = [&["compact"][..], &LAKE, &["--at-once", "1"]].concat();
    let whole = |stack: &Embedded, at: &str| assert_eq!(assert_once(stack, at), 5, "{at}");
    at_calls(begin, &compact, whole, true, |stack, at| {
        whole(stack, at);
        let tables = stack.catalog("fleet").expect("the database");
        let text = serde_json::Value::from(tables).to_string();
        assert!(text.contains("s3://lake/compacted/"), "{at}: readers are sent to the compacted files");
    });
}

#[test]
fn an_expiry_is_whole_when_it_was_run_again() {
    let begin = |stack: &Embedded| {
        put_raw(stack);
        run(stack, &CONVERT);
    };
    let expire = [&["expire"][..], &LAKE, &["--older-than", "1d", "--table", "vehicle_status_report"]].concat();
    let halfway = |stack: &Embedded, at: &str| assert!(assert_once(stack, at) >= 4, "{at}");
    at_calls(begin, &expire, halfway, true, |stack, at| assert_eq!(assert_once(stack, at), 4, "{at}"));
}

#[test]
fn no_letter_is_lost_when_a_redrive_dies() {
    const LETTERS: [&str; 3] = ["topics/a", "topics/b", "topics/c"];
    let begin = |stack: &Embedded| {
        for key in LETTERS {
            let object = serde_json::json!({"bucket": "raw-data", "key": key});
            let letter = serde_json::json!({
                "version": 1, "event": {"Records": []}, "object": object, "reason": "read", "error": "it was cut off",
                "attempts": 1, "time": "2026-11-27T02:00:00Z",
            });
            send(stack, "failed", &letter.to_string());
        }
    };
    let whole = |stack: &Embedded, at: &str| {
        let messages = |queue| stack.messages(queue).expect("a queue");
        let all = [messages("events"), messages("failed")].concat();
        let there: BTreeSet<&str> =
            LETTERS.into_iter().filter(|key| all.iter().any(|text| text.contains(key))).collect();
        assert_eq!(there.len(), LETTERS.len(), "{at}: {all:#?}");
    };
    // What the dead command had received is invisible for minutes, so it is not run again here.
    at_calls(begin, &["redrive"], whole, false, whole);
}
