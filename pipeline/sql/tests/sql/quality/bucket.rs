//! The history of a lake in S3 with its tables in Glue.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use e2e::internals::Stack as _;
use fms_lake::Settings;
use nix::sys::signal::Signal;

use super::{fleet, suite};
use crate::common::{Services, run};
use crate::crash::{calls_after, points, run_killed, stride};

#[test]
fn runs_at_the_same_time_add_their_verdicts_to_a_table_in_s3() {
    let services = Services::start();
    services.convert(Settings::default(), &[("topics/a.json".to_owned(), fleet::well().join("\n"))]);
    let file =
        suite("  - {name: fuel, range: {column: fuel_level, max: 100}}\n  - {name: rows, row_count: {min: 1}}\n");
    let run = |more: &[&str]| {
        let mut command = services.program();
        command.stderr(Stdio::inherit());
        command.args(["quality", "run", "--now", "2023-01-02T02:00:00Z", "--database", "fleet"]);
        command.args(["--history", "s3://lake/v1"]).arg(file.path()).args(more).stdout(Stdio::piped());
        command.spawn().expect("fms-sql starts")
    };
    for child in [run(&[]), run(&[])] {
        assert!(child.wait_with_output().expect("it ends").status.success());
    }
    let sql = "select check_name, outcome, count(*) as n, count(distinct version) as versions from quality_results \
               group by check_name, outcome order by check_name";
    let kept: Vec<String> = services.query(sql).iter().map(ToString::to_string).collect();
    let each = |name: &str| format!(r#"{{"check_name":"{name}","n":2,"outcome":"pass","versions":1}}"#);
    assert_eq!(kept, [each("fuel"), each("rows")]);
    let output = run(&["--changed", "--format", "json"]).wait_with_output().expect("it ends");
    assert!(output.status.success() && output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Nothing is read from a bucket of another account, and verdicts are written to one of the right account.
#[test]
fn buckets_are_those_of_the_account_that_is_expected() {
    let services = Services::start();
    services.convert(Settings::default(), &[("topics/a.json".to_owned(), fleet::well().join("\n"))]);
    let checks = suite("  - {name: fuel, range: {column: fuel_level, max: 100}}\n");
    let run_as = |owner: &str, more: &[&str]| {
        let mut command = services.program();
        command.args(["quality", "run", "--now", "2023-01-02T02:00:00Z", "--database", "fleet"]);
        run(command.args(["--expected-bucket-owner", owner]).args(more).arg(checks.path()))
    };
    let history = ["--history", "s3://lake/v1"];
    run_as("000000000000", &history).done();
    let other = run_as("111122223333", &history);
    assert!(other.status == Some(2) && other.error.contains("AccessDenied"), "{}{}", other.output, other.error);
    let other = run_as("111122223333", &[]);
    assert!(other.status == Some(2) && other.output.contains("AccessDenied"), "{}{}", other.output, other.error);
    assert_eq!(services.query("select count(*) as n from quality_results")[0]["n"], 1);
}

/// A run that dies at any of its calls, also between the raw object with its verdicts and their file, has told nobody of
/// them. The next one adds its own, once.
#[test]
fn whenever_a_run_dies_the_next_one_leaves_a_history_that_is_whole() {
    let begin = || {
        let services = Services::start();
        services.convert(Settings::default(), &[("topics/a.json".to_owned(), fleet::well().join("\n"))]);
        services
    };
    let file =
        suite("  - {name: fuel, range: {column: fuel_level, max: 100}}\n  - {name: rows, row_count: {min: 1}}\n");
    let command = |services: &Services, hour: u32| -> Command {
        let mut command = services.program();
        command.args(["quality", "run", "--now", &format!("2023-01-02T{hour:02}:00:00Z"), "--database", "fleet"]);
        command.args(["--history", "s3://lake/v1", "--changed", "--to", "2023-01-01"]).arg(file.path());
        command
    };
    let undisturbed = begin();
    let before = undisturbed.stack.calls().snapshot().len();
    run(&mut command(&undisturbed, 2)).done();
    let calls = calls_after(&undisturbed.stack, before);
    let points = points(&calls);
    let (mut tried, mut hit) = (0, 0);
    for &(call, moment) in points.iter().step_by(stride()) {
        let at = format!("killed {moment:?} {call:?}");
        let services = begin();
        let ended = run_killed(&services.stack, &mut command(&services, 2), call, moment);
        tried += 1;
        hit += usize::from(ended.signal() == Some(Signal::SIGKILL as i32));
        run(&mut command(&services, 3)).done();
        let sql = "select check_name, count(*) as n, count(distinct ran_at) as runs, bool_and(outcome = 'pass') as passed \
                   from quality_results group by check_name order by check_name";
        let rows = services.query(sql);
        assert_eq!(rows.len(), 2, "{at}: {rows:?}");
        for row in &rows {
            assert!(row["n"] == row["runs"] && row["passed"] == true, "{at}: {rows:?}");
        }
        // Nothing is left to do.
        let again = run(command(&services, 4).args(["--format", "json"])).done();
        assert_eq!(again, "", "{at}");
    }
    println!("{} calls, {tried} of {} crash points tried, {hit} hit", calls.len(), points.len());
    assert!(tried > 2 && hit * 10 >= tried * 9, "{hit} of {tried} crash points were hit");
}
