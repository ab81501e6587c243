//! `fms simulate` as a process: what it writes, and what it says of mistakes.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs `fms simulate` with these arguments, in this folder.
fn simulate(folder: &Path, arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fms"))
        .arg("simulate")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .env_remove("KAFKA_BOOTSTRAP_SERVERS")
        .output()
        .expect("the program starts")
}

const FLEET: &str =
    "--vehicles 6 --speed max --rhythm steady --from 2026-11-27T08:00:00+09:00 --duration 20m --to file";

/// The parts of a fleet in two processes make exactly what one process makes, and so do their expectations.
#[test]
fn two_shards_are_the_whole_fleet() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |arguments: &str| {
        let output = simulate(folder.path(), arguments);
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        output
    };
    for (name, shard) in [("whole", "1/1"), ("first", "1/2"), ("second", "2/2")] {
        let said = run(&format!("{FLEET} --out {name}.ndjson --expect {name}.json --shard {shard}")).stderr;
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.contains("2026-11-26T23:20:00Z: ") && said.contains(" rows, "), "{said}");
    }
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("a file");
    let sorted = |names: &[&str]| {
        let text: String = names.iter().map(|name| read(name)).collect();
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    let whole = sorted(&["whole.ndjson"]);
    assert!(whole.len() > 50, "{} messages", whole.len());
    assert!(whole == sorted(&["first.ndjson", "second.ndjson"]));
    let merged = run("merge first.json second.json").stdout;
    // How they were made is told of each part, and everything else adds up.
    let parsed = |text: &str| -> Value { serde_json::from_str(text).expect("an expectation") };
    let (mut merged, mut whole) = (parsed(&String::from_utf8_lossy(&merged)), parsed(&read("whole.json")));
    let made = |expectation: &mut Value| expectation["made"].take();
    let (parts, one) = (made(&mut merged), made(&mut whole));
    assert_eq!(merged, whole);
    let shards: Vec<_> = [&parts[0], &parts[1], &one[0]].map(|made| made["shard"].as_str()).into();
    assert_eq!(shards, [Some("1/2"), Some("2/2"), Some("1/1")]);
}

#[test]
fn mistakes_are_explained_and_nothing_is_started() {
    let folder = tempfile::tempdir().expect("a folder");
    for (arguments, says) in [
        ("--to file", "--out PATH is missing"),
        ("--to kafka", "--bootstrap-servers is missing"),
        ("--to fixture --out there", "--duration is missing: a fixture has an end"),
        ("--to stdout --from 2012-01-01T00:00:00Z", "the fleet has driven since 2020-01-05T15:00:00Z"),
        ("--to stdout --speed 10", "such as 1x or 10x, or max"),
        ("--to stdout --protocols vehicle/tyre", "there is no protocol `vehicle/tyre`"),
        ("--to stdout --faults rates.toml", "cannot read the rates of faults in rates.toml"),
        ("--to stdout --shard 3/2", "`3/2` is no part of a fleet"),
        ("merge whole.json", "cannot read the expectation whole.json"),
    ] {
        let output = simulate(folder.path(), arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(says), "{arguments}: {:?} {said}", output.status);
        assert!(output.stdout.is_empty(), "{arguments}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 0);
}
