//! The function as a process, between a runtime API and the S3, SQS and Glue of the embedded stack.

mod harness;

use std::time::Duration;

use e2e::internals::Stack as _;
use serde_json::json;

use self::harness::{LONG, World, event, refused, url};

/// The variable with the address of S3.
const S3: &str = "AWS_ENDPOINT_URL_S3";

fn row(second: u32) -> String {
    format!(
        r#"{{"object":"vehicle","type":"tire","command":"report","id":7,"timestamp_iso":"2022-12-25T11:00:{second:02}Z"}}"#
    )
}

#[test]
fn the_objects_of_a_batch_become_files_of_the_lake() {
    let world = World::new();
    let function = world.start(&[]);
    for n in 0..3 {
        let key = format!("topics/{n}.json");
        world.put(&key, row(n).as_bytes());
        world.send(&event(&[&key]));
    }
    world.send(r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"raw-data"}"#);
    let invocation = world.invoke(LONG);
    assert_eq!(world.finish(&invocation), [""; 0]);
    assert_eq!((world.files(), world.left(), world.letters().len()), (3, 0, 0));
    let tables = world.stack.catalog("fleet").expect("the database");
    assert_eq!(tables[0]["Name"], "vehicle_tire_report");

    let line = function.metric("fms_lake_rows_total");
    assert_eq!((&line["fms_lake_rows_total"], &line["fms_lake_raw_bytes_total"]), (&json!(3.0), &json!(300.0)));
    assert_eq!((&line["FunctionName"], &line["request_id"]), (&json!("lake"), &json!(invocation.id)));
    let said = function.said("object converted");
    assert_eq!((&said["span"]["request_id"], &said["level"]), (&json!(invocation.id), &json!("INFO")));

    // The same process: what it knows of the table and the partition is used.
    let asked =
        |operation: &str| world.stack.calls().snapshot().iter().filter(|call| call.operation == operation).count();
    let before = asked("BatchCreatePartition");
    world.put("topics/3.json", row(3).as_bytes());
    world.send(&event(&["topics/3.json", "topics/0.json"]));
    assert_eq!(world.finish(&world.invoke(LONG)), [""; 0]);
    assert_eq!((world.files(), asked("BatchCreatePartition"), asked("HeadBucket")), (4, before, 1));
    assert_eq!(function.metric("fms_lake_rows_total")["fms_lake_rows_total"], 1.0, "one is on record");
}

#[test]
fn events_are_read_as_sns_and_event_bridge_wrap_them() {
    let world = World::new();
    let _function = world.start(&[]);
    for key in ["topics/sns a.json", "topics/bridge a.json"] {
        world.put(key, row(1).as_bytes());
    }
    world.send(&json!({"Type": "Notification", "Message": event(&["topics/sns+a.json"])}).to_string());
    let object = json!({"bucket": {"name": "raw-data"}, "object": {"key": "topics/bridge a.json", "size": 1}});
    world.send(&json!({"source": "aws.s3", "detail-type": "Object Created", "detail": object}).to_string());
    assert_eq!(world.finish(&world.invoke(LONG)), [""; 0]);
    assert_eq!((world.files(), world.left(), world.letters().len()), (2, 0, 0));
}

#[test]
fn what_fails_goes_to_the_fallback_queue_and_keeps_nothing_else_from_being_converted() {
    let world = World::new();
    let function = world.start(&[]);
    world.put("topics/good.json", row(1).as_bytes());
    // The beginning of a gzip file.
    world.put("topics/cut.json.gz", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
    world.put("elsewhere/of-another.parquet", b"PAR1");
    world.send("no JSON");
    world.send(&event(&["topics/cut.json.gz", "topics/good.json", "topics/gone.json", "elsewhere/of-another.parquet"]));
    assert_eq!(world.finish(&world.invoke(LONG)), [""; 0]);
    assert_eq!((world.files(), world.left()), (1, 0));
    let mut reasons: Vec<String> =
        world.letters().iter().map(|letter| letter["reason"].as_str().expect("a reason").to_owned()).collect();
    reasons.sort();
    assert_eq!(reasons, ["missing", "read", "unreadable"]);
    let said = function.said("the lake gives up");
    assert_eq!(said["level"], "WARN");
    assert!(said["message_id"].is_string(), "{said}");
    let line = function.metric("fms_lake_letters_sent_total");
    assert_eq!(line["fms_lake_letters_sent_total"], 3.0);
}

#[test]
fn a_message_whose_letter_cannot_be_sent_is_reported_and_no_other() {
    let world = World::new();
    let gate = world.gate("AWS_ENDPOINT_URL_SQS", "AmazonSQS.SendMessage");
    let _function = world.start(&[("AWS_ENDPOINT_URL_SQS", &gate.address)]);
    world.put("topics/good.json", row(1).as_bytes());
    let gone = event(&["topics/gone.json"]);
    world.send(&gone);
    world.send(&event(&["topics/good.json"]));
    assert_eq!(world.finish(&world.invoke(Duration::from_secs(8))), [gone]);
    assert_eq!((world.files(), world.left()), (1, 1));
}

#[test]
fn what_is_under_way_when_the_time_is_nearly_up_is_reported() {
    let world = World::new();
    let gate = world.gate(S3, "PUT /lake/v1/formatted");
    let function = world.start(&[(S3, &gate.address), ("FMS_LAKE_CONCURRENCY", "1")]);
    world.put("topics/slow.json", row(1).as_bytes());
    world.send(&event(&["topics/slow.json"]));
    world.send("no JSON");
    let invocation = world.invoke(Duration::from_secs(5));
    gate.reached();
    assert_eq!(world.finish(&invocation), [event(&["topics/slow.json"])]);
    let said = function.said("the time is up");
    assert_eq!(said["span"]["request_id"], invocation.id.as_str());
    assert_eq!(function.metric("fms_lake_messages_returned_total")["fms_lake_messages_returned_total"], 1.0);

    gate.open();
    assert_eq!(world.finish(&world.invoke(LONG)), [""; 0]);
    assert_eq!((world.files(), world.left(), world.letters().len()), (1, 0, 1));
}

#[test]
fn a_function_that_is_killed_is_followed_by_another_that_converts_the_batch_again() {
    let world = World::new();
    for start in ["PUT /lake/v1/conversions", "PUT /lake/v1/formatted"] {
        let gate = world.gate(S3, start);
        let key = if start.ends_with("formatted") { "topics/a.json" } else { "topics/b.json" };
        let mut function = world.start(&[(S3, &gate.address)]);
        world.put(key, row(1).as_bytes());
        world.send(&event(&[key]));
        let invocation = world.invoke(LONG);
        gate.reached();
        function.kill();
        world.put_back(&invocation);
        let _function = world.start(&[]);
        assert_eq!(world.finish(&world.invoke(LONG)), [""; 0], "killed before {start}");
    }
    assert_eq!((world.files(), world.left(), world.letters().len()), (2, 0, 0));
}

#[test]
fn an_object_of_a_message_that_was_received_too_often_goes_to_the_fallback_queue() {
    let world = World::new();
    world.put("topics/a.json", row(1).as_bytes());
    world.send(&event(&["topics/a.json"]));
    for _ in 0..2 {
        world.put_back(&world.receive());
    }
    let _function = world.start(&[("FMS_LAKE_MAX_ATTEMPTS", "2")]);
    assert_eq!(world.finish(&world.invoke(LONG)), [""; 0]);
    assert_eq!(world.letters()[0]["reason"], "too-many-attempts");
    assert_eq!((world.letters()[0]["attempts"].as_u64(), world.files()), (Some(3), 0));
}

#[test]
fn an_event_of_something_else_is_an_error_that_says_so() {
    let world = World::new();
    let _function = world.start(&[]);
    let error = world.invoke_with(json!({"Records": [{"body": "{}"}]})).expect_err("no SQS");
    assert!(error["errorMessage"].as_str().expect("a text").contains("invoked by an SQS queue"), "{error}");
    world.invoke_with(json!({"a": 1})).expect_err("no records");
}

#[test]
fn what_is_wrong_is_said_at_the_start() {
    let world = World::new();
    let (status, said) = refused(&mut world.command(&[("FMS_LAKE_TO", "lake"), ("FMS_LAKE_TIMEZONE", "Seoul")]));
    assert_eq!((status, &said["level"]), (Some(2), &json!("ERROR")));
    let problems = said["problems"].as_str().expect("a list");
    assert!(problems.contains("`FMS_LAKE_TO` = `lake`") && problems.contains("`FMS_LAKE_TIMEZONE`"), "{problems}");

    let (status, said) =
        refused(&mut world.command(&[("FMS_LAKE_DATABASE", "none"), ("FMS_LAKE_FALLBACK_QUEUE_URL", &url("none"))]));
    let problems = said["problems"].as_str().expect("a list");
    assert_eq!(status, Some(2));
    assert!(problems.contains("there is no database `none`") && problems.contains("check the URL"), "{problems}");
}

/// The figure of `docs/lambda.md`; run it with `--no-capture` to see it.
#[test]
fn an_object_of_60_rows_takes_little_memory() {
    let world = World::new();
    let function = world.start(&[]);
    let rows: Vec<String> = (0..60).map(row).collect();
    for n in 0..10 {
        let key = format!("topics/{n}.json");
        world.put(&key, rows.join("\n").as_bytes());
        world.send(&event(&[&key]));
    }
    assert_eq!(world.finish(&world.invoke(LONG)), [""; 0]);
    let peak = function.peak();
    println!("peak: {peak} KiB");
    assert!(peak < 128 << 10, "{peak} KiB");
}
