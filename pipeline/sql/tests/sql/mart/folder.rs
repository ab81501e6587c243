//! A mart in the folder of a lake: what is built when, and what it says.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::harness::{self, TOTAL, WAY, convert, four_days, late, mart, small_models, status};
use crate::common::{program, query};

#[test]
fn a_late_row_causes_the_days_that_read_it_and_no_others() {
    let (lake, models) = (tempfile::tempdir().expect("a folder"), small_models());
    let (lake, models) = (lake.path(), models.path());
    convert(lake, &[four_days()]);
    insta::assert_snapshot!(mart(lake, models, "plan", &[]).ok());
    insta::assert_snapshot!(mart(lake, models, "apply", &["--at-once", "1"]).ok());
    let ways = "select ymd, id, meters from way order by ymd, id";
    let before = query(lake, ways);
    assert_eq!(before[0], json!({"ymd": "2023-01-01", "id": 7, "meters": 100}));
    assert_eq!((before.len(), &before[2]["meters"]), (8, &json!(1100)));
    let again = mart(lake, models, "apply", &[]).ok();
    assert_eq!(
        again,
        "0 partitions built, of which 0 are as before; 8 were as they should be; 0 held back; 0 failed; 0 skipped\n"
    );

    convert(lake, &[late()]);
    insta::assert_snapshot!(mart(lake, models, "plan", &[]).ok());
    insta::assert_snapshot!(mart(lake, models, "apply", &["--at-once", "1"]).ok());
    let after = query(lake, ways);
    let others: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
    // The way of the third day begins on the second one, at a row that is as before.
    assert_eq!(others, [(&before[2], &json!({"ymd": "2023-01-02", "id": 7, "meters": 1150}))]);
    let totals = query(lake, "select meters from total where ymd = '2023-01-02'");
    assert_eq!(totals, [json!({"meters": 2250})]);
}

#[test]
fn another_query_is_built_anew_and_can_be_compared_before() {
    let (lake, models) = (tempfile::tempdir().expect("a folder"), small_models());
    let (lake, models) = (lake.path(), models.path());
    convert(lake, &[four_days()]);
    mart(lake, models, "apply", &[]).ok();
    let other = tempfile::tempdir().expect("a folder");
    let (old, new) = (models.join("way.sql"), other.path().join("way.sql"));
    fs::write(&new, WAY.replace("max(a.odometer) - min(b.odometer)", "case when a.id = 7 then 0 else 100 end"))
        .expect("written");
    let paths = [&old, &new].map(|path| path.to_str().expect("UTF-8"));
    let compared = mart(lake, models, "diff", &[paths[0], paths[1], "--to", "2023-01-02"]);
    assert_eq!(compared.status, Some(1), "{}", compared.error);
    insta::assert_snapshot!(compared.output, @r"
    2023-01-01: 2 rows in both, 0 only in A, 0 only in B; `meters` is another in 1
    2023-01-02: 2 rows in both, 0 only in A, 0 only in B; `meters` is another in 2
    ");
    assert_eq!(mart(lake, models, "diff", &[paths[0], paths[0]]).status, Some(0), "nothing differs from itself");
    fs::copy(&new, &old).expect("copied");
    insta::assert_snapshot!(mart(lake, models, "apply", &["--select", "way+", "--at-once", "1"]).ok());
}

#[test]
fn rows_that_do_not_pass_a_check_are_not_published_and_stop_the_days_that_read_them() {
    let (lake, models) = (tempfile::tempdir().expect("a folder"), small_models());
    let (lake, models) = (lake.path(), models.path());
    convert(lake, &[four_days()]);
    mart(lake, models, "apply", &[]).ok();
    let ways = "select ymd, id, meters from way order by ymd, id";
    let before = query(lake, ways);
    let rows = [status(7, 4, 7, 9000), status(8, 2, 10, 2150)].join("\n");
    convert(lake, &[("topics/b.json".to_owned(), rows)]);
    // All days of the other model have to be built, and one of them reads what cannot be.
    fs::write(models.join("total.sql"), TOTAL.replace("sum(meters)", "sum(meters) + 1")).expect("written");
    let ran = mart(lake, models, "apply", &["--at-once", "1"]);
    assert_eq!((ran.status, ran.error.as_str()), (Some(1), ""));
    insta::assert_snapshot!(ran.output);
    let after = query(lake, ways);
    let others: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
    assert_eq!(others, [(&before[3], &json!({"ymd": "2023-01-02", "id": 8, "meters": 1150}))]);
    let totals = query(lake, "select meters from total order by ymd");
    assert_eq!(totals, [201, 2251, 2201, 2200].map(|meters| json!({"meters": meters})));
}

/// A build that is stopped has not failed a check: another attempt goes on where it ended.
#[test]
fn a_build_that_is_stopped_is_to_be_tried_again() {
    let rows = "vehicle_status_report";
    let endless = WAY.replace(
        "group by a.ymd, a.id",
        &format!(
            "cross join {rows} c cross join {rows} d cross join {rows} e cross join {rows} f group by a.ymd, a.id"
        ),
    );
    let (lake, models) = (tempfile::tempdir().expect("a folder"), harness::models(&[("way.sql", &endless)]));
    let rows: Vec<String> = (0..400).map(|number| status(7, 1, 8, number)).collect();
    convert(lake.path(), &[("topics/a.json".to_owned(), rows.join("\n"))]);
    let mut command = program();
    command.args(["mart", "apply", "--lake"]).arg(lake.path()).arg("--models").arg(models.path());
    let mut child = command.env("RUST_LOG", "fms_mart=info").stderr(Stdio::piped()).spawn().expect("fms-sql starts");
    // It says so when it listens for signals.
    let mut lines = BufReader::new(child.stderr.take().expect("standard error")).lines();
    let first = lines.next().expect("a line").expect("a line");
    assert!(first.contains("the mart is worked on"), "{first}");
    kill(Pid::from_raw(i32::try_from(child.id()).expect("an id")), Signal::SIGTERM).expect("a signal");
    let rest: Vec<String> = lines.map(|line| line.expect("a line")).collect();
    assert_eq!(child.wait().expect("it ends").code(), Some(2), "{rest:?}");
    assert!(rest.concat().contains("it was stopped by a signal"), "{rest:?}");
}

#[test]
fn a_day_of_which_hours_have_expired_keeps_its_rows() {
    let (lake, models) = (tempfile::tempdir().expect("a folder"), small_models());
    let (lake, models) = (lake.path(), models.path());
    convert(lake, &[four_days()]);
    mart(lake, models, "apply", &[]).ok();
    let hours = lake.join("formatted/object=vehicle/type=status/command=report/ymd=2023-01-01");
    fs::remove_dir_all(hours.join("hour=08")).expect("removed");
    let kept = mart(lake, models, "apply", &[]).ok();
    assert!(kept.starts_with("0 partitions built"), "{kept}");
    convert(lake, &[("topics/d.json".to_owned(), status(7, 1, 10, 1200))]);
    let held = mart(lake, models, "apply", &["--select", "way", "--to", "2023-01-01"]).ok();
    insta::assert_snapshot!(held, @r"
    way 2023-01-01: it stays as it is, for vehicle_status_report 2023-01-01/08 is gone, so that fewer rows would be made; `--despite-gone` builds it nevertheless
    0 partitions built, of which 0 are as before; 0 were as they should be; 1 held back; 0 failed; 0 skipped
    ");
    let rows = "select id, meters from way where ymd = '2023-01-01' order by id";
    assert_eq!(query(lake, rows), [json!({"id": 7, "meters": 100}), json!({"id": 8, "meters": 100})]);
    mart(lake, models, "apply", &["--select", "way", "--to", "2023-01-01", "--despite-gone"]).ok();
    assert_eq!(query(lake, rows), [json!({"id": 7, "meters": 100}), json!({"id": 8, "meters": 0})]);
}

#[test]
fn what_was_replaced_is_removed_after_the_grace_period() {
    let (lake, models) = (tempfile::tempdir().expect("a folder"), small_models());
    let (lake, models) = (lake.path(), models.path());
    convert(lake, &[four_days()]);
    mart(lake, models, "apply", &[]).ok();
    convert(lake, &[late()]);
    mart(lake, models, "apply", &[]).ok();
    let files = || {
        let files = fms_lake::files(&lake.join("mart/way")).expect("files");
        files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "parquet")).count()
    };
    assert_eq!(files(), 5);
    assert_eq!(mart(lake, models, "expire", &[]).ok(), "");
    assert_eq!(files(), 5, "readers may be at them still");
    let expired = mart(lake, models, "expire", &["--grace", "0s"]).ok();
    assert_eq!((expired.as_str(), files()), ("way: 1 files removed\ntotal: 1 files removed\n", 4));
    assert_eq!(query(lake, "select count(*) as n from way"), [json!({"n": 8})]);
}

#[test]
fn every_day_of_a_range_is_built_when_it_is_asked_for() {
    let (lake, models) = (tempfile::tempdir().expect("a folder"), small_models());
    let (lake, models) = (lake.path(), models.path());
    convert(lake, &[four_days()]);
    mart(lake, models, "apply", &[]).ok();
    let range = ["--from", "2023-01-02", "--to", "2023-01-03", "--select", "+total", "--at-once", "1"];
    insta::assert_snapshot!(mart(lake, models, "backfill", &range).ok());
    assert_eq!(mart(lake, models, "backfill", &["--from", "2023-01-02"]).status, Some(2));
}

#[test]
fn a_table_that_the_lake_does_not_have_is_read_as_one_without_rows() {
    let (lake, models) = (tempfile::tempdir().expect("a folder"), small_models());
    let (lake, models) = (lake.path(), models.path());
    convert(lake, &[("topics/a.json".to_owned(), status(7, 1, 8, 1).replace("status", "tire"))]);
    let said = mart(lake, models, "apply", &["--select", "way"]).ok();
    assert!(said.starts_with("warning: the lake has no table `vehicle_status_report`, which is read as"), "{said}");
    let wrong = mart(lake, models, "apply", &["--select", "ways"]);
    assert_eq!(wrong.status, Some(2));
    assert_eq!(wrong.error, "fms mart: --select ways: there is no model `ways`; there are way, total\n");
}

#[test]
fn a_table_that_is_not_fresh_is_warned_of() {
    let lake = tempfile::tempdir().expect("a folder");
    let fresh = WAY.replace("reads = \"1 day before\"", "reads = \"1 day before\"\nfreshness = \"26h\"");
    let models = harness::models(&[("way.sql", &fresh), ("total.sql", TOTAL)]);
    let (lake, models) = (lake.path(), models.path());
    convert(lake, &[four_days()]);
    let said = |now: &str| mart(lake, models, "plan", &["--now", now, "--select", "way"]).ok();
    assert!(!said("2023-01-05T12:00:00Z").contains("warning"), "it ended at ten on the day before");
    let stale = said("2023-01-05T12:00:01Z");
    assert!(stale.starts_with("warning: `way` reads `vehicle_status_report`, whose newest hour ended"), "{stale}");
}
