//! The models of `deploy/mart` on the lake of a simulated fleet, whose batches come late, twice and out of order.

use std::fs;
use std::path::Path;

use fms_simulator::target::Lines;
use fms_simulator::{Fault, Fleet, Protocols, Rates, Rhythm, Run, Shard, Simulation};
use serde_json::{Value, json};

use super::harness::{MODELS, convert, mart};
use crate::common::query;

/// A Thursday at 14:00 UTC, which is 23:00 in Korea, where the fleet drives.
const BEGIN: i64 = 1_795_701_600;
const HOUR: i64 = 3600;

/// Raw objects of all messages in the order in which they leave, a few of them each.
fn fleet() -> Vec<(String, String)> {
    let faults = [
        (Fault::Tunnel, 0.5),
        (Fault::Late, 0.2),
        (Fault::Reordered, 0.1),
        (Fault::Twice, 0.1),
        (Fault::SameRecordTwice, 0.05),
        (Fault::MissingSeconds, 0.04),
        (Fault::AnswerNever, 0.2),
    ];
    let simulation = Simulation {
        fleet: Fleet::new(11),
        since: BEGIN,
        rhythm: Rhythm::Days,
        rates: faults.iter().fold(Rates::none(), |rates, (fault, rate)| rates.with(*fault, *rate)),
        protocols: Protocols::parse(
            "vehicle/kinematic,vehicle/status,vehicle/ev,vehicle/event,vehicle/diagnostics,adas/event,sensor/measurements,\
             vehicle/control,device/heartbeat",
        )
        .expect("protocols"),
    };
    let topic = "t".parse().expect("a template");
    let run = Run {
        simulation: &simulation,
        vehicles: 3,
        shard: Shard::WHOLE,
        from: BEGIN,
        until: BEGIN + 12 * HOUR,
        speed: None,
        topic: &topic,
        headers: &[],
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("messages.ndjson");
    let mut lines = Lines::file(&path).expect("a file");
    assert!(run.run(&mut lines, None, &|| false, &mut |_| {}).error.is_none());
    let text = fs::read_to_string(path).expect("the messages");
    let messages: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let part = messages.len().div_ceil(3);
    let object = |(at, messages): (usize, &[Value])| {
        let rows: Vec<String> = messages.iter().flat_map(|message| rows(&message["$record"]["value"])).collect();
        (format!("topics/{at}.json"), rows.join("\n"))
    };
    messages.chunks(part).enumerate().map(object).collect()
}

/// The rows of a message: its fields, and those of an element of its list.
fn rows(message: &Value) -> Vec<String> {
    let mut envelope = message.as_object().expect("an object").clone();
    let Some(Value::Array(elements)) = envelope.remove("measurements") else { return vec![message.to_string()] };
    let row = |element: Value| {
        let mut row = envelope.clone();
        row.extend(element.as_object().expect("an object").clone());
        Value::Object(row).to_string()
    };
    elements.into_iter().map(row).collect()
}

fn models() -> Vec<String> {
    let files = fs::read_dir(MODELS).expect("the models").map(|entry| entry.expect("an entry").path());
    let mut names: Vec<String> =
        files.filter_map(|path| Some(path.file_name()?.to_str()?.strip_suffix(".sql")?.to_owned())).collect();
    names.sort();
    names
}

#[test]
fn what_is_built_bit_by_bit_is_what_is_built_at_once() {
    let (at_once, by_bits) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (at_once, by_bits) = (at_once.path(), by_bits.path());
    let objects = fleet();
    convert(at_once, &objects);
    mart(at_once, MODELS.as_ref(), "apply", &[]).ok();
    for object in &objects {
        convert(by_bits, std::slice::from_ref(object));
        // Until the first vehicle of a kind has sent something, the lake lacks tables, and says so.
        assert_eq!(mart(by_bits, MODELS.as_ref(), "apply", &[]).status, Some(0));
    }
    let mut empty = Vec::new();
    for model in models() {
        let sql = format!("select * from {model}");
        let rows = sorted(&query(at_once, &sql));
        assert_eq!(rows, sorted(&query(by_bits, &sql)), "{model}");
        if rows.is_empty() {
            empty.push(model);
        }
    }
    // The goods of this fleet stay cold.
    assert_eq!(empty, ["cold_chain_breach"], "others prove nothing");

    // Each trip is found once, whatever became of its messages.
    let started = "select count(distinct trip_id) as n from vehicle_event_report where event_type = 'trip_start'";
    let trips =
        query(at_once, "select count(*) as n, count(distinct trip_id) as named from trip where trip_id is not null");
    assert_eq!(trips, [json!({"n": query(at_once, started)[0]["n"], "named": query(at_once, started)[0]["n"]})]);
    let lost = "select count(*) as n from harsh_event where trip_begin_at is null";
    assert_eq!(query(at_once, lost), [json!({"n": 0})], "every harsh event is on a trip");

    wider_windows_change_nothing(at_once);
}

/// Rows in an order of their own, for partitions are read in any.
fn sorted(rows: &[Value]) -> Vec<String> {
    let mut rows: Vec<String> = rows.iter().map(Value::to_string).collect();
    rows.sort();
    rows
}

/// The days that a model says it reads are enough: with more of them, every day has the same rows.
fn wider_windows_change_nothing(lake: &Path) {
    let wider = tempfile::tempdir().expect("a folder");
    for (model, reads) in
        [("trip", "1 day before and after"), ("harsh_event", "1 day before"), ("trip_path", "1 day after")]
    {
        let file = format!("{MODELS}/{model}.sql");
        let text = fs::read_to_string(&file).expect("a model");
        let reads = format!("reads = \"{reads}\"");
        assert!(text.contains(&reads), "{model}");
        let other = wider.path().join(format!("{model}.sql"));
        fs::write(&other, text.replace(&reads, "reads = \"3 days before and after\"")).expect("written");
        let ran = mart(lake, MODELS.as_ref(), "diff", &[&file, other.to_str().expect("UTF-8")]);
        assert_eq!((ran.status, ran.error.as_str()), (Some(0), ""), "{model}: {}", ran.output);
    }
}
