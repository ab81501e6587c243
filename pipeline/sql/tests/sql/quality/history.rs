//! The verdicts of earlier runs: what is kept of them, and which days are checked again.

use std::fs;
use std::path::Path;

use fms_lake::Settings;
use serde_json::Value;

use super::{fleet, quality, suite};
use crate::common::{self, convert, lake, program, query};

const CHECKS: &str =
    "  - {name: fuel, range: {column: fuel_level, max: 100}}\n  - {name: rows, row_count: {max: 999}}\n";

#[test]
fn each_run_adds_its_verdicts_also_if_two_run_at_once() {
    let lake = lake(&fleet::unwell());
    let file = suite(CHECKS);
    let path = lake.path().to_str().expect("a path");
    let run = || {
        let mut command = program();
        command.args(["quality", "run", "--now", "2023-01-02T02:00:00Z", "--lake", path, "--history", path]);
        command.arg(file.path()).stdout(std::process::Stdio::null());
        command
    };
    let both = [run().spawn().expect("fms-sql starts"), run().spawn().expect("fms-sql starts")];
    for mut child in both {
        assert_eq!(child.wait().expect("it ends").code(), Some(1));
    }
    let sql = "select check_name, outcome, bad, count(*) as n, count(distinct version) as versions \
               from quality_results group by check_name, outcome, bad order by check_name";
    let kept: Vec<String> = query(lake.path(), sql).iter().map(Value::to_string).collect();
    insta::assert_snapshot!(kept.join("\n"));
}

/// A query that gives other rows than the last time fails once, and then what it gives is what is expected.
#[test]
fn a_query_that_gives_other_rows_than_before_is_told_once() {
    let lake = lake(&fleet::well());
    let path = lake.path().to_str().expect("a path");
    let file = suite(
        "  - name: who drove\n    stable: select id, count(*) as n from vehicle_status_report where ymd between $from and $to \
         group by id\n",
    );
    let mut hour = 1;
    let mut run = |arguments: &[&str]| {
        hour += 1;
        let mut command = program();
        command.args([
            "quality",
            "run",
            "--format",
            "json",
            "--lake",
            path,
            "--now",
            &format!("2023-01-02T{hour:02}:00:00Z"),
        ]);
        let ran = common::run(command.arg(file.path()).args(arguments));
        let verdict: Value = serde_json::from_str(ran.output.trim()).expect("JSON");
        (ran.status, verdict["observed"].as_str().expect("a text").to_owned())
    };
    let kept = ["--history", path];
    let first = run(&kept);
    assert_eq!(first, (Some(0), "1 row".to_owned()));
    assert_eq!(run(&kept), first);

    let row = fleet::well().iter().find(|row| row.contains("\"status\"")).expect("a row").clone();
    convert(lake.path(), &Settings::default(), &[("topics/late.json".to_owned(), row)]);
    let other = (Some(1), "1 row, and not as when it was checked last".to_owned());
    assert_eq!(run(&kept), other);
    assert_eq!(run(&kept), first);
    // Of other days, nothing is known yet.
    let days = ["--history", path, "--from", "2022-12-31", "--to", "2022-12-31"];
    assert_eq!(run(&days), (Some(0), "0 rows".to_owned()));
    let (status, observed) = run(&[]);
    assert!(status == Some(2) && observed.contains("name the history: --history PLACE"), "{observed}");
}

#[test]
fn a_day_that_changed_after_its_verdict_is_checked_again() {
    let lake = lake(&fleet::well());
    let path = lake.path().to_str().expect("a path");
    let file = suite(CHECKS);
    let changed = |file: &Path| {
        let days = ["--from", "2022-12-31", "--to", "2023-01-02", "--format", "json", "--history", path, "--changed"];
        let ran = quality(lake.path(), &[&[file.to_str().expect("a path")], &days[..]].concat());
        assert!(ran.error.is_empty(), "{}", ran.error);
        let verdicts = ran.output.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        verdicts.map(|verdict| format!("{} {}", verdict["from"], verdict["check"]).replace('"', "")).collect::<Vec<_>>()
    };
    let all = ["2022-12-31", "2023-01-01", "2023-01-02"].map(|day| [format!("{day} fuel"), format!("{day} rows")]);
    assert_eq!(changed(file.path()), all.concat());
    assert!(changed(file.path()).is_empty());

    // Late rows of a day.
    let row = fleet::well().iter().find(|row| row.contains("\"status\"")).expect("a row").clone();
    convert(lake.path(), &Settings::default(), &[("topics/late.json".to_owned(), row.clone())]);
    assert_eq!(changed(file.path()), all[1]);
    assert!(changed(file.path()).is_empty());

    // A new check has looked at no day, and one that could not run says nothing of any.
    fs::write(file.path(), fs::read_to_string(file.path()).expect("a file") + "  - {name: no, holds: nothing > 1}\n")
        .expect("written");
    convert(lake.path(), &Settings::default(), &[("topics/later.json".to_owned(), row)]);
    assert_eq!(changed(file.path()).len(), 5);
    assert_eq!(changed(file.path()), ["2022-12-31 no", "2023-01-01 no", "2023-01-02 no"]);
}

/// Runs the checks of a file that have changed, at an hour of the second of January or later, and says which ran on which
/// day and how they ended.
fn changed(lake: &Path, file: &Path, hour: u32, more: &[&str]) -> Vec<String> {
    let now = format!("2023-01-{:02}T{:02}:00:00Z", 2 + hour / 24, hour % 24);
    let mut command = program();
    command.args(["quality", "run", "--format", "json", "--changed", "--now", &now, "--to", "2023-01-01"]);
    command.arg("--lake").arg(lake).arg("--history").arg(lake).args(more);
    let ran = common::run(command.arg(file));
    assert!(ran.error.is_empty(), "{}", ran.error);
    let verdicts = ran.output.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let said = |of: Value| format!("{} {} {}", of["from"], of["check"], of["outcome"]).replace('"', "");
    verdicts.map(said).collect()
}

/// That a day was looked at by some checks says nothing of others, be they new or of other tags, or of the same ones once
/// they are defined otherwise.
#[test]
fn a_day_is_known_for_each_check_by_itself() {
    let lake = lake(&fleet::well());
    let file = suite(
        "  - {name: fuel, range: {column: fuel_level, max: 100}, tags: [integrity]}\n  \
         - {name: rows, row_count: {min: 1}, tags: [anomaly]}\n",
    );
    let run = |hour, more: &[&str]| changed(lake.path(), file.path(), hour, more);
    assert_eq!(run(2, &["--tag", "integrity"]), ["2023-01-01 fuel pass"]);
    assert_eq!(run(3, &["--tag", "anomaly"]), ["2023-01-01 rows pass"]);
    assert_eq!(run(4, &[]), [""; 0]);
    let text = fs::read_to_string(file.path()).expect("a file");
    let more = "  - {name: more, row_count: {min: 2}}\n";
    fs::write(file.path(), text.replace("max: 100", "max: 99") + more).expect("written");
    assert_eq!(run(5, &[]), ["2023-01-01 fuel pass", "2023-01-01 more pass"]);
    assert_eq!(run(6, &[]), [""; 0]);
}

/// Without a first day, all days that changed are looked at, and the last one also without rows. How old the newest row is
/// says nothing of days that are over.
#[test]
fn without_a_first_day_all_days_are_looked_at() {
    let earlier =
        fleet::well().iter().find(|row| row.contains("\"status\"")).expect("a row").replace("2023-01-01", "2022-11-11");
    let lake = lake(&[earlier]);
    let file =
        suite("  - {name: fuel, range: {column: fuel_level, max: 100}}\n  - {name: new, freshness: {max_age: 26h}}\n");
    let run = |hour| changed(lake.path(), file.path(), hour, &[]);
    assert_eq!(run(2), ["2022-11-11 fuel pass", "2023-01-01 fuel pass", "2023-01-01 new fail"]);
    // How old the newest row is changes as time goes by, so it is looked at each time.
    assert_eq!(run(5), ["2023-01-01 new fail"]);
    assert_eq!(run(20), ["2023-01-01 new fail"]);
}

/// Rows that have not settled yet are not looked at, and no file has to change for them to be.
#[test]
fn a_day_is_looked_at_until_its_rows_have_settled() {
    let row = fleet::well().iter().find(|row| row.contains("\"status\"")).expect("a row").clone();
    let at = row.split("\"timestamp_iso\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a time");
    let lake = lake(&[row.replace(at, "2023-01-01T23:30:00Z").replace("50.5", "150.5")]);
    let file = suite(
        "  - {name: fuel, range: {column: fuel_level, max: 100}, settle: 6h}\n  - {name: rows, row_count: {min: 1}}\n",
    );
    let run = |hour| changed(lake.path(), file.path(), hour, &[]);
    assert_eq!(run(2), ["2023-01-01 fuel pass", "2023-01-01 rows pass"]);
    assert_eq!(run(5), ["2023-01-01 fuel pass"]);
    assert_eq!(run(6), ["2023-01-01 fuel fail"]);
    assert_eq!(run(30), [""; 0]);
}

/// What a check reads besides its own table counts, too.
#[test]
fn a_check_runs_again_when_another_table_that_it_reads_has_changed() {
    let lake = lake(&fleet::well());
    let file = suite("  - {name: known, in_table: {column: id, table: vehicle_tire_report, to: id}}\n");
    let run = |hour| changed(lake.path(), file.path(), hour, &[]);
    assert_eq!(run(2), ["2023-01-01 known pass"]);
    assert_eq!(run(30), [""; 0]);
    let tire = fleet::well().iter().find(|row| row.contains("\"tire\"")).expect("a row").clone();
    convert(lake.path(), &Settings::default(), &[("topics/late.json".to_owned(), tire)]);
    assert_eq!(run(31), ["2023-01-01 known pass"]);
}

/// Days that are looked at one by one keep their bad rows in files of their own, which the verdicts name.
#[test]
fn bad_rows_of_several_days_are_kept_apart() {
    let bad = |day: &str| {
        let row = fleet::well().iter().find(|row| row.contains("\"status\"")).expect("a row").clone();
        row.replace("2023-01-01", day).replace("50.5", "150.5")
    };
    let lake = lake(&[bad("2022-12-31"), bad("2023-01-01")]);
    let file = suite("  - {name: fuel, range: {column: fuel_level, max: 100}}\n");
    let kept = tempfile::tempdir().expect("a folder");
    let more = ["--bad-rows", kept.path().to_str().expect("a path")];
    assert_eq!(changed(lake.path(), file.path(), 2, &more), ["2022-12-31 fuel fail", "2023-01-01 fuel fail"]);
    for day in ["2022-12-31", "2023-01-01"] {
        let rows =
            fs::read_to_string(kept.path().join(format!("vehicle_status_report.fuel.{day}.jsonl"))).expect("rows");
        assert!(rows.lines().count() == 1 && rows.contains(day), "{rows}");
    }
}
