//! `fms quality judge`: what the checks find of the faults of a simulated fleet.

use std::fs;
use std::path::Path;

use fms_simulator::{Expectation, Fault, Made, Protocols, Rates, Rhythm, Shard};
use insta::assert_snapshot;
use serde_json::Value;

use super::CHECKS;
use crate::common::{Ran, program, run};

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
        beyond: Vec::new(),
    };
    let mut expectation = Expectation::default();
    made.each_message(|message| expectation.add(message)).expect("made");
    expectation.made.push(made);
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), expectation.to_json()).expect("written");
    file
}

fn judge(checks: &Path, expectation: &tempfile::NamedTempFile, arguments: &[&str]) -> Ran {
    let mut command = program();
    run(command.args(["quality", "judge"]).arg(checks).arg("--expect").arg(expectation.path()).args(arguments))
}

#[test]
fn the_checks_find_what_the_simulator_does_wrong_and_nothing_else() {
    let expectation = expectation(12, 12);
    let ran = judge(CHECKS.as_ref(), &expectation, &["--min-recall", "0.99", "--min-precision", "0.95"]);
    assert_snapshot!(ran.output);
    ran.ok();
}

/// A program reads the same, and why a fault is not judged. A precision that is less than what is asked for is a
/// failure.
#[test]
fn a_program_reads_what_the_checks_are_worth() {
    let expectation = expectation(12, 12);
    let ran =
        judge(CHECKS.as_ref(), &expectation, &["--tag", "fault:missing-seconds", "--json", "--min-precision", "1"]);
    assert_eq!(ran.status, Some(1), "{}", ran.error);
    let lines: Vec<Value> = ran.output.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), fms_simulator::FAULTS.len());
    for line in &lines {
        assert_eq!(line["checks"].as_array().is_some_and(Vec::is_empty), line["not_judged"].is_string(), "{line}");
    }
    let of = lines.iter().find(|line| line["fault"] == "missing-seconds").expect("a judgement");
    assert!(of["precision"].as_f64().is_some_and(|precision| precision > 0.95 && precision < 1.0), "{of}");
}

#[test]
fn a_tag_of_no_fault_is_named() {
    let checks = tempfile::tempdir().expect("a folder");
    let file = checks.path().join("a.yml");
    let text = "table: t\nowner: a@example.com\nchecks:\n  - {name: a, holds: x, tags: ['fault:jmup']}\n";
    fs::write(&file, text).expect("written");
    let ran = judge(&file, &expectation(1, 1), &[]);
    assert_eq!(ran.status, Some(2));
    assert!(ran.error.contains("did you mean `fault:jump`?"), "{}", ran.error);
}
