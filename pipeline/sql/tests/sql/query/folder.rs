//! A lake in a folder: what the program prints, what it refuses, and how it says so.

use std::fs;
use std::path::Path;

use super::harness::{convert, fleet, fms_sql, row};
use crate::common::Ran;

fn lake() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    convert(folder.path(), &fleet());
    folder
}

fn ok(lake: &Path, arguments: &[&str]) -> (String, String) {
    let Ran { status, output, error } = fms_sql(lake, arguments);
    assert_eq!(status, Some(0), "{error}");
    (output, error)
}

fn refused(lake: &Path, arguments: &[&str]) -> String {
    let Ran { status, output, error } = fms_sql(lake, arguments);
    assert_eq!((status, output.as_str()), (Some(2), ""), "{error}");
    error
}

const COUNT: &str = "select id, count(*) as rows from vehicle_tire_report where id < 3 group by id order by id";

#[test]
fn a_result_is_a_table_csv_or_json_lines() {
    let lake = lake();
    let (table, _) = ok(lake.path(), &[COUNT]);
    insta::assert_snapshot!(table, @r"
    +----+------+
    | id | rows |
    +----+------+
    | 1  | 40   |
    | 2  | 40   |
    +----+------+
    ");
    assert_eq!(ok(lake.path(), &["--format", "csv", COUNT]).0, "id,rows\n1,40\n2,40\n");
    assert_eq!(ok(lake.path(), &["--format", "json", COUNT]).0, "{\"id\":1,\"rows\":40}\n{\"id\":2,\"rows\":40}\n");
    let none = "select id, speed from vehicle_kinematic_report where ymd = '1999-01-01'";
    assert_eq!(ok(lake.path(), &["--format", "csv", none]).0, "id,speed\n", "the names are there without a row");
}

#[test]
fn a_file_has_the_whole_result_or_does_not_exist() {
    let lake = lake();
    let out = tempfile::tempdir().expect("a folder");
    let path = out.path().join("result.csv");
    let file = path.to_str().expect("UTF-8");
    let (output, _) = ok(lake.path(), &["--format", "csv", "--output", file, COUNT]);
    assert_eq!((output.as_str(), fs::read_to_string(&path).expect("a file").as_str()), ("", "id,rows\n1,40\n2,40\n"));
    fs::remove_file(&path).expect("removed");
    let fails = "select 1 / (id - 1) as x from vehicle_tire_report";
    let Ran { status, error, .. } = fms_sql(lake.path(), &["--format", "csv", "--output", file, fails]);
    assert_eq!(status, Some(1), "{error}");
    assert!(error.contains("ivide by zero"), "{error}");
    assert_eq!(fs::read_dir(out.path()).expect("a folder").count(), 0, "nothing is left");
}

#[test]
fn it_is_said_at_the_end_what_was_read_and_what_it_would_have_cost() {
    let lake = lake();
    let (_, said) =
        ok(lake.path(), &["select * from vehicle_tire_report where ymd = '2023-01-01' and hour in ('08', '09')"]);
    assert!(said.starts_with("24 rows, "), "{said}");
    assert!(said.contains("partitions: 2 read, 8 of those that the catalog named pruned"), "{said}");
    assert!(said.contains("files: 2 read, 0 pruned"), "{said}");
    assert!(said.contains("Athena would have charged 0.00005 USD"), "{said}");
}

#[test]
fn a_range_of_the_event_time_leaves_few_partitions() {
    let lake = lake();
    let sql = "select count(*) as rows from vehicle_tire_report \
        where timestamp_iso >= timestamp '2022-12-31 23:00:00' and timestamp_iso < timestamp '2023-01-01 01:00:00'";
    let (with_zone, said) = ok(lake.path(), &["--format", "csv", "--timezone", "Asia/Seoul", sql]);
    assert_eq!(with_zone, "rows\n24\n");
    // The end is taken as part of the range.
    assert!(said.contains("partitions: 3 read, 7 of"), "{said}");
    let (without, said) = ok(lake.path(), &["--format", "csv", sql]);
    assert_eq!(without, with_zone);
    assert!(said.contains("partitions: 6 read, 4 of"), "{said}");
    let (_, said) = ok(lake.path(), &["--timezone", "Asia/Seoul", &format!("{sql} or timestamp_iso is null")]);
    assert!(said.contains("partitions: 10 read, 0 of"), "{said}");
}

#[test]
fn a_field_that_files_lack_is_null_in_structs_and_in_lists_of_them() {
    let lake = lake();
    let rows = "vehicle_status_report where id = 1 and ymd = '2023-01-01' and hour in ('09', '10')";
    let sql = &format!("select hour, doors, faults from {rows} order by hour");
    let (found, _) = ok(lake.path(), &["--format", "json", sql]);
    let expected = [
        r#"{"hour":"09","doors":{"front_left":true,"trunk":null},"faults":[{"code":"P09","count":null}]}"#,
        r#"{"hour":"10","doors":{"front_left":false,"trunk":true},"faults":[{"code":"P010","count":2}]}"#,
    ];
    assert_eq!(found.lines().collect::<Vec<_>>(), expected);
    let unfolded = format!("select hour, unnest(faults) as f from {rows}");
    let sql = format!("select f['code'] as code, f['count'] as times from ({unfolded}) as s order by hour");
    assert_eq!(ok(lake.path(), &["--format", "csv", &sql]).0, "code,times\nP09,\nP010,2\n");
    let refused = refused(lake.path(), &["--format", "csv", "select doors from vehicle_status_report"]);
    assert!(refused.contains("CSV cannot have the column `doors`"), "{refused}");
}

#[test]
fn a_partition_whose_value_is_escaped_and_a_table_without_files_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let odd = row("tire", 1, 0, r#""pressure":1"#).replace("report", "a/b=c d%");
    let text = odd.replace(r#""timestamp_iso":"2022-12-31T15:00:00Z""#, r#""timestamp_iso":"never""#);
    convert(folder.path(), &[("a.json".to_owned(), odd), ("b.json".to_owned(), text)]);
    let tables: Vec<_> = fs::read_dir(folder.path().join("tables")).expect("tables").collect();
    let name = tables[0].as_ref().expect("an entry").file_name().to_string_lossy().replace(".json", "");
    let (rows, _) = ok(folder.path(), &["--format", "csv", &format!("select pressure, command from {name}")]);
    assert_eq!(rows, "pressure,command\n1,a/b=c d%\n");
    fs::remove_dir_all(folder.path().join("formatted")).expect("removed");
    let (rows, _) = ok(folder.path(), &["--format", "csv", &format!("select count(*) as n from {name}")]);
    assert_eq!(rows, "n\n0\n");
}

#[test]
fn parameters_have_the_type_of_their_place() {
    let lake = lake();
    let sql = "select count(*) as n from vehicle_tire_report where id = $id and ymd = $day and timestamp_iso >= $since";
    let day = ["--format", "csv", "--param", "day=2023-01-01", "--param", "since=2023-01-01T00:00:00Z"];
    let with = |id: &'static str| [&day[..], &["--param", id, sql]].concat();
    assert_eq!(ok(lake.path(), &with("id=2")).0, "n\n20\n");
    assert!(refused(lake.path(), &with("id=two")).contains("the value `two` of the parameter `$id` cannot be read"));
    assert!(refused(lake.path(), &with("ID=2")).contains("has no parameter `$ID`"));
    assert!(refused(lake.path(), &["--param", "id=1", sql]).contains("the parameter `$day` has no value"));
    let quoted = "select '$id' as text from vehicle_tire_report limit 1";
    assert_eq!(ok(lake.path(), &["--format", "csv", quoted]).0, "text\n$id\n");
}

#[test]
fn a_problem_names_the_place_and_the_near_names() {
    let lake = lake();
    let error = |sql: &str| refused(lake.path(), &[sql]);
    assert_eq!(
        error("select id,\n  presure\nfrom vehicle_tire_report"),
        "fms query: line 2, column 3: there is no column `presure`; did you mean `pressure`?\n"
    );
    assert_eq!(
        error("select * from vehicle_tires_report"),
        "fms query: line 1, column 15: there is no table `vehicle_tires_report`; did you mean \
         `vehicle_tire_report`?\n"
    );
    assert!(error("select * from other.vehicle_tire_report").contains("every table here is in `lake`"));
    assert!(error("select 1 frm x y").starts_with("fms query: line 1, column "), "{}", error("select 1 frm x y"));
    assert!(error("select nofun(id) from vehicle_tire_report").contains("nofun"));
    for sql in ["drop table vehicle_tire_report", "insert into vehicle_tire_report values (1)", "set x = 1", " "] {
        error(sql);
    }
    let written = "copy (select 1) to '/tmp/fms-sql-must-not-write.csv'";
    error(written);
    assert!(!Path::new("/tmp/fms-sql-must-not-write.csv").exists());
    let elsewhere = tempfile::tempdir().expect("a folder");
    assert!(refused(elsewhere.path(), &["select 1"]).contains("is no lake; name the folder that has `tables/`"));
}

#[test]
fn a_query_is_refused_before_it_reads_more_than_it_may() {
    let lake = lake();
    let error = refused(
        lake.path(),
        &["--max-scan", "1kB", "select count(*) from vehicle_tire_report where ymd >= '2023-01-02'"],
    );
    assert!(error.contains(" in 4 files of 4 partitions, which is more than --max-scan 1.0 kB"), "{error}");
    ok(lake.path(), &["--max-scan", "1MB", COUNT]);
}

#[test]
fn a_query_ends_when_its_time_is_up() {
    let lake = lake();
    let endless = "select count(*) from vehicle_kinematic_report a, vehicle_kinematic_report b, \
        vehicle_kinematic_report c, vehicle_kinematic_report d, vehicle_kinematic_report e \
        where a.speed + b.speed + c.speed + d.speed <> e.speed";
    let Ran { status, error, .. } = fms_sql(lake.path(), &["--timeout", "200ms", endless]);
    assert_eq!(status, Some(1), "{error}");
    assert!(error.contains("it took longer than --timeout 200ms"), "{error}");
}

#[test]
fn explain_shows_the_plan() {
    let lake = lake();
    let (plan, _) = ok(lake.path(), &["explain select * from vehicle_tire_report where ymd = '2023-01-02' and id = 1"]);
    assert!(plan.contains("DataSourceExec") && plan.contains("ymd=2023-01-02"), "{plan}");
    assert!(!plan.contains("ymd=2023-01-01"), "{plan}");
}

#[test]
fn a_limit_in_which_no_sort_could_be_finished_is_refused() {
    let lake = lake();
    let error = refused(lake.path(), &["--memory-limit", "99MB", COUNT]);
    assert!(error.contains("--memory-limit 99.0 MB is less than 100 MB"), "{error}");
    ok(lake.path(), &["--memory-limit", "100MB", COUNT]);
}

#[test]
fn what_does_not_fit_the_limit_is_written_to_files_and_the_rows_are_the_same() {
    let lake = lake();
    // Each text is another one, and all of them together have 65 MB: more than operators may hold of the limit.
    let texts = "select a.odometer as a, b.odometer as b, t.hour as hour,
            repeat(concat(a.odometer, ' ', b.odometer, ' ', t.hour, ' '), 60) as text
        from vehicle_kinematic_report a, vehicle_kinematic_report b, vehicle_tire_report t
        where a.id < 3 and t.id = 1 and t.wheel = 1 and t.hour < '10'";
    let sorted = format!("select a, b, hour from ({texts}) as x order by text");
    let grouped = format!("select a, count(*) as rows, text from ({texts}) as x group by a, text");
    let grouped = format!("select a, count(*) as texts, sum(rows) as rows from ({grouped}) as y group by a order by a");
    for (sql, rows) in [(sorted, 82_944), (grouped, 96)] {
        let (all, said) = ok(lake.path(), &["--format", "csv", &sql]);
        assert!(!said.contains("temporary files"), "{said}");
        assert_eq!(all.lines().count(), rows + 1);
        let (limited, said) = ok(lake.path(), &["--format", "csv", "--memory-limit", "100MB", &sql]);
        assert!(said.contains("written to temporary files: "), "{said}");
        assert!(limited == all, "the rows differ: {said}");
    }
}
