//! `fms quality judge`: what the checks find of the faults of a simulated fleet.

use std::fs;
use std::process::Command;

use fms_simulator::{Expectation, Fault, Made, Protocols, Rates, Rhythm, Shard};
use insta::assert_snapshot;
use serde_json::Value;

use crate::CHECKS;

/// A Thursday at 14:00 UTC, which is 23:00 in Korea, where the fleet drives.
const BEGIN: i64 = 1_795_701_600;

/// What a fleet has sent within some hours, with many faults.
fn expectation(vehicles: u64, hours: i64) -> tempfile::NamedTempFile {
    // More of what is seldom, so that a small fleet has some of each; not too much, so that faults do not meet.
    let often = [
        (Fault::Jump, 0.002),
        (Fault::ZeroPosition, 0.3),
        (Fault::Odometer, 0.2),
        (Fault::ClockWrong, 0.05),
        (Fault::MinuteTimes, 0.2),
        (Fault::TextAsNumber, 0.002),
        (Fault::AnswerLate, 0.2),
        (Fault::AnswerNever, 0.2),
    ];
    let faults = often.iter().fold(Rates::field(), |rates, (fault, rate)| rates.with(*fault, *rate));
    let protocols = Protocols::parse("vehicle/kinematic,vehicle/status,vehicle/control,blackbox/upload");
    let made = Made {
        seed: 5,
        first: 0,
        vehicles,
        shard: Shard::WHOLE,
        from: BEGIN,
        until: BEGIN + hours * 3600,
        since: BEGIN,
        rhythm: Rhythm::Days,
        protocols: Made::names(protocols.expect("protocols")),
        faults,
    };
    let mut expectation = Expectation::default();
    made.each_message(|message| expectation.add(message)).expect("made");
    expectation.made.push(made);
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), expectation.to_json()).expect("written");
    file
}

fn judge(expectation: &tempfile::NamedTempFile, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fms-sql"));
    command.args(["quality", "judge", CHECKS, "--expect"]).arg(expectation.path()).args(arguments);
    let output = command.output().expect("fms-sql starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_checks_find_what_the_simulator_does_wrong_and_nothing_else() {
    let expectation = expectation(12, 12);
    let (status, output, error) = judge(&expectation, &["--min-recall", "0.99", "--min-precision", "0.95"]);
    assert_snapshot!(output);
    assert_eq!((status, error.as_str()), (Some(0), ""));
}

/// A program reads the same, and why a fault is not judged. A recall that is less than what is asked for is a failure.
#[test]
fn a_program_reads_what_the_checks_are_worth() {
    let expectation = expectation(12, 12);
    let (status, output, error) =
        judge(&expectation, &["--tag", "fault:missing-seconds", "--json", "--min-recall", "1"]);
    assert_eq!(status, Some(1), "{error}");
    let lines: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), fms_simulator::FAULTS.len());
    for line in &lines {
        assert_eq!(line["checks"].as_array().is_some_and(Vec::is_empty), line["not_judged"].is_string(), "{line}");
    }
    let of = lines.iter().find(|line| line["fault"] == "missing-seconds").expect("a judgement");
    assert!(of["recall"].as_f64().is_some_and(|recall| recall > 0.99 && recall < 1.0), "{of}");
}

#[test]
fn a_tag_of_no_fault_is_named() {
    let checks = tempfile::tempdir().expect("a folder");
    let file = checks.path().join("a.yml");
    let text = "table: t\nowner: a@example.com\nchecks:\n  - {name: a, holds: x, tags: ['fault:jmup']}\n";
    fs::write(&file, text).expect("written");
    let expectation = expectation(1, 1);
    let output = Command::new(env!("CARGO_BIN_EXE_fms-sql"))
        .args(["quality", "judge"])
        .arg(&file)
        .arg("--expect")
        .arg(expectation.path())
        .output()
        .expect("fms-sql starts");
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(error.contains("did you mean `fault:jump`?"), "{error}");
}
