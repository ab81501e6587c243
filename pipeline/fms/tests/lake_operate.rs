//! `fms lake status`, `repair` and `alter`: what they say and change, and their exit statuses.

use std::process::Command;

use e2e::internals::{Embedded, Resources, Stack as _};
use serde_json::{Value, json};

/// The services, with a bucket of raw objects and a lake in which some of them are converted.
fn services() -> Embedded {
    let services = Embedded::start().expect("the services");
    let buckets = ["raw", "lake"].map(ToOwned::to_owned).into();
    let resources = Resources { buckets, databases: vec!["fleet".to_owned()], ..Resources::default() };
    services.provide(&resources).expect("buckets and a database");
    put(&services, "a", &[tire(0, "812"), tire(1, "813"), tire(2, "[1]")]);
    put(&services, "b", &[tire(3, "814"), "no JSON".to_owned()]);
    let arguments = ["convert", "s3://raw/topics", "--to", "s3://lake/v1", "--database", "fleet"];
    let (status, said, errors) = run(&services, &[&arguments[..], &ZONE].concat());
    assert_eq!(status, Some(0), "{said}{errors}");
    services
}

const ZONE: [&str; 2] = ["--timezone", "Asia/Seoul"];
const LAKE: [&str; 4] = ["--lake", "s3://lake/v1", "--database", "fleet"];

fn tire(second: u32, pressure: &str) -> String {
    format!(
        r#"{{"object":"vehicle","type":"tire","command":"report","id":7,"timestamp_iso":"2022-12-25T11:00:{second:02}+09:00","pressure":{pressure}}}"#
    )
}

fn put(services: &Embedded, name: &str, rows: &[String]) {
    services.put_object("raw", &format!("topics/{name}.json"), rows.join("\n").as_bytes()).expect("put");
}

/// Runs a command of `fms lake`. Gives its exit status, its output and its errors.
fn run(services: &Embedded, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut fms = Command::new(env!("CARGO_BIN_EXE_fms"));
    let command = fms.arg("lake").args(arguments).envs(services.environment()).env("RUST_LOG", "warn");
    let output = command.output().expect("fms starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn on_lake(services: &Embedded, command: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    run(services, &[&[command], &LAKE[..], arguments].concat())
}

/// A line as its words.
fn words(text: &str, line: usize) -> String {
    text.lines().nth(line).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_status_is_told_for_people_and_programs() {
    let services = services();
    let (status, said, errors) = on_lake(&services, "status", &["--raw", "s3://raw/topics"]);
    assert_eq!((status, errors.as_str(), said.lines().count()), (Some(0), "", 4), "{said}");
    assert_eq!(words(&said, 0), "TABLE HOUR RAW ROWS PARQUET ROWS QUARANTINED NOT CONVERTED FILES SIZE STATE");
    let hour = words(&said, 1);
    assert!(
        hour.starts_with("vehicle_tire_report 2022-12-25 11 3 3 - - 2 ") && hour.ends_with("not compacted"),
        "{said}"
    );
    assert_eq!(words(&said, 2), "vehicle_tire_report - 1 - 1 - 1 - in quarantine");
    assert_eq!(words(&said, 3), "unclassified - 1 - 1 - 1 - in quarantine");

    put(&services, "c", &[tire(4, "815")]);
    let (status, said, _) = on_lake(&services, "status", &["--raw", "s3://raw/topics", "--json"]);
    assert_eq!(status, Some(1));
    let mut found: Value = serde_json::from_str(&said).expect("JSON");
    let hour = &mut found["tables"][0]["hours"][0];
    assert!(hour["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{said}");
    hour["bytes"] = 0.into();
    let expected = json!({
        "tables": [{
            "table": "vehicle_tire_report",
            "hours": [{
                "ymd": "2022-12-25", "hour": "11", "raw_rows": 3, "parquet_rows": 3, "files": 2, "bytes": 0,
                "compacted": false, "late_files": null, "readers": "there", "under_way": 0, "missing": [],
            }],
            "raw_hours": [], "quarantined": {"files": 1, "rows": 1}, "left": 0,
        }],
        "unclassified": {"files": 1, "rows": 1},
        "not_converted": [{"bucket": "raw", "key": "topics/c.json", "why": "no-record"}],
        "miscounted": null, "incomplete": true,
    });
    assert_eq!(found, expected);
    let (status, said, _) = on_lake(&services, "status", &["--raw", "s3://raw/topics"]);
    assert!(status == Some(1) && said.ends_with("s3://raw/topics/c.json: it is not converted yet\n"), "{said}");
    assert_eq!(on_lake(&services, "status", &[]).0, Some(0), "without raw objects, nothing says that one is missing");

    services.put_object("lake", "v1/conversions/x.json", b"{").expect("put");
    let (status, _, errors) = on_lake(&services, "status", &[]);
    assert_eq!(status, Some(2));
    assert!(errors.contains("cannot read the record s3://lake/v1/conversions/x.json"), "{errors}");
}

/// A raw object whose key says its table and hour, as the S3 sink names them.
#[test]
fn what_is_not_in_the_lake_is_told_by_the_hour_of_the_raw_objects() {
    let services = services();
    let folder = "fms/object=vehicle/type=tire/command=report/ymd=20221225";
    put(&services, &format!("{folder}/hour=11/d"), &[tire(5, "816"), tire(6, "[1]")]);
    let arguments = ["convert", "s3://raw/topics", "--to", "s3://lake/v1", "--database", "fleet"];
    assert_eq!(run(&services, &[&arguments[..], &ZONE].concat()).0, Some(0));
    put(&services, &format!("{folder}/hour=11/e"), &[tire(7, "817")]);
    put(&services, &format!("{folder}/hour=12/f"), &[tire(8, "818")]);
    let (status, said, errors) = on_lake(&services, "status", &["--raw", "s3://raw/topics", "--count"]);
    assert_eq!((status, errors.as_str()), (Some(1), ""), "{said}");
    assert!(words(&said, 1).starts_with("vehicle_tire_report 2022-12-25 11 4 4 1 1 3 "), "{said}");
    assert_eq!(words(&said, 2), "vehicle_tire_report 2022-12-25 12 - - - 1 - - not in the lake");
    assert_eq!(words(&said, 3), "vehicle_tire_report - 1 - 1 - 2 - in quarantine", "the other row");

    let converted = run(&services, &[&arguments[..], &ZONE].concat());
    assert_eq!(converted.0, Some(0));
    let count = || on_lake(&services, "status", &["--raw", "s3://raw/topics", "--count"]);
    assert_eq!(count().0, Some(0), "{}", count().1);
    // A converter that lost a row would have noted one less.
    let objects = services.objects("lake").expect("the bucket");
    let (key, record) = objects.iter().find(|(key, _)| key.starts_with("v1/conversions/e-")).expect("a record");
    let record = String::from_utf8_lossy(record).replace(r#""rows":[1]"#, r#""rows":[0]"#);
    services.put_object("lake", key, record.as_bytes()).expect("put");
    let (status, said, _) = count();
    assert_eq!(status, Some(1));
    assert!(said.contains("hour=11/e.json: it has 1 row, and 0 are in the lake or in quarantine"), "{said}");
}

#[test]
fn a_repair_says_what_it_would_do_and_does_it_with_apply() {
    let services = services();
    let (status, said, errors) = on_lake(&services, "repair", &["--grace", "0s"]);
    assert_eq!((status, said.as_str(), errors.as_str()), (Some(0), "0 faults found\n", ""));
    // A file of an hour that has no partition, as a converter leaves it that dies.
    let objects = services.objects("lake").expect("the bucket");
    let (key, file) = objects.iter().find(|(key, _)| key.ends_with(".parquet")).expect("a file");
    services.put_object("lake", &key.replace("hour=11", "hour=12"), file).expect("put");

    let catalog = || services.catalog("fleet").expect("the database");
    let before = catalog();
    let (status, said, _) = on_lake(&services, "repair", &["--grace", "0s"]);
    let sentence = "vehicle_tire_report, ymd=2022-12-25/hour=12: 1 file is in no partition, so readers do not find the \
                    rows; the catalog gets the partition\n";
    assert_eq!((status, said), (Some(1), format!("{sentence}1 fault found; --apply mends what can be mended\n")));
    assert_eq!(catalog(), before);
    let (status, said, errors) = on_lake(&services, "repair", &["--grace", "0s", "--apply"]);
    assert_eq!((status, said), (Some(0), format!("{sentence}1 fault mended\n")), "{errors}");
    assert_eq!(catalog()[0]["Partitions"][1]["Values"], json!(["2022-12-25", "12"]));
    let (status, _, errors) = on_lake(&services, "repair", &["--table", "none"]);
    assert!(status == Some(2) && errors.contains("`fleet.none` is no table of the lake"), "{errors}");
}

#[test]
fn engines_are_told_where_the_rows_of_a_compacted_hour_are() {
    let services = services();
    let ddl = |engine: &str| on_lake(&services, "ddl", &["--engine", engine]);
    assert_eq!(ddl("athena-projection").0, Some(0), "no row is elsewhere yet");
    let (status, said, errors) = on_lake(&services, "compact", &ZONE);
    assert!(status == Some(0) && said.starts_with("1 partition compacted"), "{said}{errors}");
    let (status, said, errors) = ddl("athena-projection");
    assert_eq!((status, said.as_str()), (Some(2), ""));
    assert!(errors.contains("would not find the rows of 1 hour of the table `vehicle_tire_report`"), "{errors}");
    let (status, said, errors) = ddl("athena");
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    let partition = "partition (ymd='2022-12-25', hour='11') location 's3://lake/v1/compacted/object=vehicle/";
    assert!(said.contains(partition) && said.contains("`pressure` bigint"), "{said}");
    let (_, said, _) = ddl("trino");
    assert!(said.contains("register_partition('fleet', 'vehicle_tire_report'") && !said.contains("'FULL'"), "{said}");
    let (_, said, _) = ddl("redshift");
    assert!(said.contains("from data catalog\ndatabase 'fleet'") && !said.contains("create external table"), "{said}");
    let (status, said, errors) = on_lake(&services, "ddl", &["--engine", "redshift", "vehicle_tire_report"]);
    assert_eq!((status, said.as_str()), (Some(2), ""), "the schema would have the other tables, too");
    assert!(errors.contains("a schema of Redshift has all tables"), "{errors}");
    let (status, _, errors) = on_lake(&services, "ddl", &["--engine", "athena", "none"]);
    assert!(status == Some(2) && errors.contains("`fleet.none` is no table of the lake"), "{errors}");
}

#[test]
fn a_column_that_became_a_double_takes_the_rows_in_quarantine() {
    let services = services();
    put(&services, "c", &[tire(4, "812.5")]);
    let convert = [&["convert", "s3://raw/topics", "--to", "s3://lake/v1", "--database", "fleet"][..], &ZONE].concat();
    let (_, said, _) = run(&services, &convert);
    assert!(said.contains("in quarantine: 1 row because of type, column `pressure`"), "{said}");
    let alter = |arguments: &[&str]| on_lake(&services, "alter", &[&["vehicle_tire_report"], arguments].concat());
    let (status, _, said) = alter(&["--column", "pressure", "--to", "double"]);
    assert_eq!(status, Some(0), "{said}");
    let done = "the column `pressure` of the table `vehicle_tire_report` is double";
    assert_eq!(said, format!("{done}; 2 files of 1 hour with 3 rows were written again\n"));
    let (status, _, said) = alter(&["--column", "pressure", "--to", "double"]);
    assert_eq!((status, said), (Some(0), format!("{done}, as it was\n")));
    let replay = [&["quarantine", "replay", "--reason", "type"], &LAKE[..], &ZONE].concat();
    let (status, said, errors) = run(&services, &replay);
    assert!(status == Some(0) && said.starts_with("2 objects converted: 3 rows of 4"), "{said}{errors}");
    let (_, said, _) = on_lake(&services, "status", &["--json"]);
    let found: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(found["tables"][0]["hours"][0]["parquet_rows"], 4, "{said}");
    assert_eq!(found["tables"][0]["quarantined"]["rows"], 1, "a list is no double");

    let (status, _, said) = alter(&["--add", "wear:double"]);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(said, "the table `vehicle_tire_report` has the column `wear`, which is double\n");
    assert!(alter(&["--add", "wear:double"]).2.ends_with("which is double, as it had\n"));
    assert_eq!(alter(&["--add", "doors.front:boolean"]).0, Some(0));
    let (status, _, said) = alter(&["--add", "doors.rear:boolean"]);
    assert_eq!(said, "the table `vehicle_tire_report` has the column `doors.rear`, which is boolean\n");
    assert_eq!(status, Some(0));
    assert!(alter(&["--add", "doors.rear:boolean"]).2.ends_with("which is boolean, as it had\n"));
    let table = &services.catalog("fleet").expect("the database")[0];
    for columns in [&table["StorageDescriptor"]["Columns"], &table["Partitions"][0]["StorageDescriptor"]["Columns"]] {
        assert!(columns.to_string().contains("struct<front:boolean,rear:boolean>"), "{columns}");
    }
    for (arguments, says) in [
        (&["--add", "Wear:double"][..], "lower-case letters, digits and `_`"),
        (&["--column", "pressure"], "--to <TYPE>"),
        (&["--add", "doors.rear:string"], "its column `doors` is struct<front:boolean,rear:boolean>"),
        (&[], "required"),
        (&["--column", "pressure", "--to", "bigint"], "column `pressure` is double, which cannot become bigint"),
        (&["--column", "none", "--to", "string"], "it has no column `none`"),
    ] {
        let (status, _, errors) = alter(arguments);
        assert_eq!(status, Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(says), "{arguments:?}: {errors}");
    }
}
