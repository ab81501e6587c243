//! `fms lake poll` and `fms lake redrive` with the S3 and SQS of the embedded stack.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::thread;

use e2e::internals::{Embedded, Stack as _};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{PATIENCE, fms, messages, row, send, stack, until, url};

/// A poller that has started, and the address at which it listens.
pub struct Poller(Child, String);

impl Poller {
    pub fn start(stack: &Embedded) -> Self {
        let mut command = fms(stack, &["poll", "--listen", "127.0.0.1:0"]);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("fms starts");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
        let mut said = Vec::new();
        let address = loop {
            let line = lines.next().unwrap_or_else(|| panic!("fms lake poll has ended: {said:#?}"));
            if let Some((_, address)) = line.split_once("listens at http://") {
                break address.split_whitespace().next().expect("an address").to_owned();
            }
            said.push(line);
        };
        // What nobody reads would end up in a pipe that is full.
        thread::spawn(move || lines.for_each(drop));
        Self(child, address)
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.1).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    pub fn stop(mut self) -> Option<i32> {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).expect("a process id"));
        kill(pid, Signal::SIGTERM).expect("it runs");
        until("end", || self.0.try_wait().expect("a child")).code()
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        // It has ended unless the test failed.
        let _ = self.0.kill();
    }
}

fn redrive(stack: &Embedded, arguments: &[&str]) -> (Option<i32>, String) {
    let output = fms(stack, &["redrive"]).args(arguments).output().expect("fms starts");
    (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
}

/// How many objects the lake has, by the first part of their keys.
fn files(stack: &Embedded) -> BTreeMap<String, usize> {
    let mut files = BTreeMap::new();
    for (key, _) in stack.objects("lake").expect("the bucket of the lake") {
        let folder = key.split('/').next().unwrap_or_default().to_owned();
        *files.entry(folder).or_default() += 1;
    }
    files
}

#[test]
fn objects_that_a_queue_names_become_a_lake_and_what_fails_is_converted_later() {
    let stack = stack();
    let put = |key: &str, body: &[u8]| stack.put_object("raw-data", key, body).expect("an object");
    put("topics/a b+c.json", row(0).as_bytes());
    put("elsewhere/of-another.parquet", b"PAR1");
    // The beginning of a gzip file.
    put("topics/cut.json.gz", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
    let poller = Poller::start(&stack);
    until("empty queue", || (messages(&stack, "events") == 0).then_some(()));
    assert!(poller.get("/health").starts_with("HTTP/1.0 200 "));
    // The fourth message is the test event. A call is counted a moment after it has its effect.
    for expected in [
        "\nfms_lake_objects_total{outcome=\"converted\"} 1\n",
        "\nfms_lake_objects_total{outcome=\"not-raw\"} 1\n",
        "\nfms_lake_failures_total{reason=\"read\"} 1\n",
        "\nfms_lake_conversion_seconds_bucket{le=\"+Inf\"} 1\n",
        "\nfms_lake_queue_calls_total{operation=\"DeleteMessage\",result=\"ok\"} 4\n",
        "\nfms_lake_s3_calls_total{operation=\"HeadBucket\",result=\"ok\"} 1\n",
        "\nfms_lake_glue_calls_total{operation=\"CreateTable\",result=\"ok\"} 1\n",
        "\nfms_lake_table_version{table=\"vehicle_tire_report\"} 1\n",
    ] {
        until(expected, || poller.get("/metrics").contains(expected).then_some(()));
    }
    // The object that was cut has a record, for the files that an interrupted conversion might have left.
    let expected = BTreeMap::from([("formatted".into(), 1), ("conversions".into(), 1)]);
    assert_eq!(files(&stack), expected);
    let tables = stack.catalog("fleet").expect("the database");
    assert_eq!(tables[0]["Name"], "vehicle_tire_report");
    let letters = stack.messages("failed").expect("a queue");
    assert_eq!(letters.len(), 1);
    let letter = r#""object":{"bucket":"raw-data","key":"topics/cut.json.gz"},"reason":"read","error":"cannot read"#;
    assert!(letters[0].contains(letter), "{letters:?}");

    let (status, said) = redrive(&stack, &["--dry-run", "--reason", "^missing"]);
    assert_eq!(
        (status, said.as_str()),
        (Some(0), "0 messages would be sent back, 1 kept\n  kept: 1 because of read\n")
    );
    assert_eq!(messages(&stack, "failed"), 1);
    put("topics/cut.json.gz", row(1).as_bytes());
    until("object that was put again", || (files(&stack)["formatted"] == 2).then_some(()));
    let (status, said) = redrive(&stack, &["--reason", "^read", "--prefix", "topics/"]);
    assert_eq!((status, said.as_str()), (Some(0), "1 message sent back, 0 kept\n  sent: 1 because of read\n"));
    let again = "\nfms_lake_objects_total{outcome=\"on-record\"} 1\n";
    until("message that was sent back", || poller.get("/metrics").contains(again).then_some(()));
    assert_eq!(files(&stack)["formatted"], 2, "nothing is converted twice");
    until("empty queue", || (messages(&stack, "events") == 0).then_some(()));
    assert_eq!(messages(&stack, "failed"), 0);
    assert_eq!(poller.stop(), Some(0));
}

/// An event as S3 sends it. The sequencer says which of two events of an object is the later one.
fn created(bucket: &str, key: &str, sequencer: &str) -> String {
    let object = serde_json::json!({"key": key, "sequencer": sequencer});
    let object = serde_json::json!({"bucket": {"name": bucket}, "object": object});
    let record = serde_json::json!({"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": object});
    serde_json::json!({"Records": [record]}).to_string()
}

/// S3 delivers events at least once and in any order. What counts is the object as it is when it is converted.
#[test]
fn events_may_come_twice_and_in_another_order_than_the_objects() {
    let stack = stack();
    // Nobody announces objects of this bucket.
    let put =
        |key: &str, rows: &[String]| stack.put_object("lake", key, rows.join("\n").as_bytes()).expect("an object");
    put("topics/a.json", &[row(0), row(1)]);
    put("topics/b.json", &[row(2)]);
    // The object was replaced before the first of its events, which is behind the second one.
    for (key, sequencer) in [("a", "02"), ("b", "01"), ("a", "01"), ("a", "02"), ("b", "01")] {
        send(&stack, "events", &created("lake", &format!("topics/{key}.json"), sequencer));
    }
    let poller = Poller::start(&stack);
    until("empty queue", || (messages(&stack, "events") == 0).then_some(()));
    for expected in [
        "\nfms_lake_objects_total{outcome=\"converted\"} 2\n",
        "\nfms_lake_objects_total{outcome=\"on-record\"} 3\n",
        "\nfms_lake_rows_total 3\n",
    ] {
        until(expected, || poller.get("/metrics").contains(expected).then_some(()));
    }
    assert_eq!((files(&stack)["formatted"], messages(&stack, "failed")), (2, 0));
    assert_eq!(poller.stop(), Some(0));
}

#[test]
fn an_object_that_is_gone_is_told_by_its_reason() {
    let stack = stack();
    send(&stack, "events", &created("raw-data", "topics/gone", "01"));
    let poller = Poller::start(&stack);
    let letters = until("letter", || stack.messages("failed").ok().filter(|letters| !letters.is_empty()));
    assert!(letters[0].contains(r#""reason":"missing""#), "{letters:?}");
    assert_eq!(poller.stop(), Some(0));
}

#[test]
fn what_is_wrong_is_said_at_once_and_all_of_it() {
    let stack = stack();
    let start = |queue: &str, fallback: &str, more: &[&str]| {
        let mut command = fms(&stack, &["poll", "--listen", "127.0.0.1:0"]);
        let output =
            command.args(["--queue", queue, "--fallback-queue", fallback]).args(more).output().expect("fms starts");
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    let said = start(&url("none"), &url("neither"), &[]);
    assert!(
        said.starts_with(
            "fms lake poll does not start:\n- cannot find the queue http://sqs.invalid/000000000000/none: "
        ),
        "{said}"
    );
    assert_eq!(said.matches("check the URL of the queue").count(), 2, "{said}");
    let said = start(&url("events"), &url("events"), &["--memory", "100"]);
    assert!(said.contains("one conversion takes up to 160") && said.contains("are the same queue"), "{said}");
}
