//! The crate's example, run as a program.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::broker::Broker;

/// The sink to standard output writes every row of its topic.
#[test]
fn the_example_writes_its_topic_to_standard_output() {
    let broker = Broker::start(&[("vehicles", 1)]);
    broker.send("vehicles", 0, 3, 5);
    let folder = tempfile::tempdir().expect("a folder");
    let connector = folder.path().join("show.json");
    let json = json!({"name": "show", "connector.class": "Stdout", "topics": "vehicles"});
    std::fs::write(&connector, json.to_string()).expect("a file");
    // Cargo builds examples beside the folder of the tests.
    let test = std::env::current_exe().expect("this test's path");
    let example = test.ancestors().nth(2).expect("the folder of the build").join("examples/stdout");
    let mut child = Command::new(&example)
        .arg(&connector)
        .env("KAFKA_BOOTSTRAP_SERVERS", broker.servers())
        .env("CONNECT_LISTENERS", "http://127.0.0.1:0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; `cargo build --examples` makes it", example.display()));
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let lines: Vec<_> = lines.take(3).map(|line| line.expect("a line")).collect();
    child.kill().expect("a process to end");
    child.wait().expect("an end");
    assert_eq!(lines, [r#"{"text":"xxxxx"}"#; 3]);
}
