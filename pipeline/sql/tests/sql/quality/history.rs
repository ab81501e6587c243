//! The verdicts of earlier runs: what is kept of them, and which days are checked again.

use std::fs;
use std::path::Path;

use fms_lake::Settings;
use serde_json::Value;

use super::{fleet, quality, suite};
use crate::common::{self, convert, lake, program, query};

const CHECKS: &str = "  - {name: fuel, range: {column: fuel_level, max: 100}}\n  - {name: rows, row_count: {min: 1}}\n";

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

    // A check that could not run says nothing of the day.
    fs::write(file.path(), fs::read_to_string(file.path()).expect("a file") + "  - {name: no, holds: nothing > 1}\n")
        .expect("written");
    convert(lake.path(), &Settings::default(), &[("topics/later.json".to_owned(), row)]);
    assert_eq!(changed(file.path()).len(), 3);
    assert_eq!(changed(file.path()).len(), 3);
}
