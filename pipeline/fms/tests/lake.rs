//! `fms lake`: what its commands store, and what they say.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use e2e::internals::{Embedded, Resources, Stack as _};
use flate2::Compression;
use flate2::write::GzEncoder;

fn convert(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    lake(folder, "convert", arguments)
}

/// Runs a command of `fms lake` in a folder. Gives its exit status, its output and its errors.
fn lake(folder: &Path, command: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut fms = Command::new(env!("CARGO_BIN_EXE_fms"));
    let output = fms.args(["lake", command]).args(arguments).current_dir(folder).output().expect("fms starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn tire(second: u32, pressure: &str) -> String {
    format!(
        r#"{{"object":"vehicle","type":"tire","command":"report","id":7,"timestamp_iso":"2022-12-25T11:00:{second:02}+09:00","pressure":{pressure}}}"#
    )
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).expect("compressed");
    encoder.finish().expect("compressed")
}

/// All files below a folder, as paths from it.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).expect("below").display().to_string());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn objects_become_files_and_what_does_not_fit_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let raw = folder.path().join("raw/topics");
    fs::create_dir_all(&raw).expect("created");
    let text = [tire(0, "812.5"), tire(1, "[812.5,810]"), tire(2, "811")].join("\n");
    fs::write(raw.join("a.json.gz"), gzip(&text)).expect("written");
    fs::write(raw.join("b.json"), "not JSON\n").expect("written");
    let arguments = ["raw", "--to", "lake", "--timezone", "Asia/Seoul"];
    let (status, said, errors) = convert(folder.path(), &arguments);
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    insta::assert_snapshot!(said, @"
    2 objects converted: 2 rows of 4 in 1 file, 2 in quarantine
      created or given columns: vehicle_tire_report
      in quarantine: 1 row because of not-json
      in quarantine: 1 row because of type, column `pressure`
    ");
    let stored = files(&folder.path().join("lake"));
    let folders: Vec<&str> = stored.iter().filter_map(|name| name.split_once('-')).map(|(folder, _)| folder).collect();
    insta::assert_snapshot!(folders.join("\n"), @"
    formatted/object=vehicle/type=tire/command=report/ymd=2022
    quarantine/object=vehicle/type=tire/command=report/a
    quarantine/unclassified/b
    ");
    let read = || stored.iter().map(|name| fs::read(folder.path().join("lake").join(name)).expect("read")).collect();
    let before: Vec<Vec<u8>> = read();
    convert(folder.path(), &arguments);
    assert_eq!(files(&folder.path().join("lake")), stored);
    assert_eq!(before, read(), "a second conversion gives the same bytes");
}

#[test]
fn what_an_earlier_conversion_stored_elsewhere_is_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let lake = folder.path().join("lake");
    fs::write(folder.path().join("a.json"), tire(0, "[]")).expect("written");
    fs::write(folder.path().join("b.json"), tire(1, "812.5")).expect("written");
    // The pressure of `a` has no type until `b` gives its column one. Then `a` does not fit.
    for (object, status) in [("a.json", "1 row of 1"), ("b.json", "1 row of 1"), ("a.json", "0 rows of 1")] {
        let (_, said, errors) = convert(folder.path(), &[object, "--to", "lake"]);
        assert!(said.contains(status), "{object}: {said}{errors}");
    }
    let parquet = |files: Vec<String>| files.iter().filter(|name| name.contains(".parquet")).count();
    assert_eq!(parquet(files(&lake)), 1, "{:?}", files(&lake));
    // However the objects are named, they are the same ones, and the lake itself is none of them.
    let before = files(&lake);
    let (_, said, _) = convert(folder.path(), &[".", "--to", "lake"]);
    assert!(said.starts_with("2 objects converted: 1 row of 2"), "{said}");
    assert_eq!(files(&lake), before);
}

#[test]
fn an_object_that_cannot_be_read_is_named_and_the_others_are_converted() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = gzip(&tire(0, "812.5"));
    fs::write(folder.path().join("cut.json.gz"), &whole[..whole.len() - 4]).expect("written");
    fs::write(folder.path().join("good.json.gz"), whole).expect("written");
    let (status, said, errors) = convert(folder.path(), &["cut.json.gz", "good.json.gz", "--to", "lake"]);
    assert_eq!(status, Some(1));
    assert!(errors.starts_with("cut.json.gz: cannot read the object: "), "{errors}");
    assert!(said.starts_with("1 object converted: 1 row of 1 in 1 file") && said.contains("NOT converted: 1 object"));
    let left = files(&folder.path().join("lake"));
    assert_eq!(left.iter().filter(|name| name.contains("writing")).count(), 0, "{left:?}");
}

#[test]
fn what_is_wrong_with_the_command_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("a.json"), tire(0, "1")).expect("written");
    fs::create_dir_all(folder.path().join("lake/tables")).expect("created");
    let table = r#"{"location":"","version":1,"columns":[{"name":"pressure","type":"decimal(9,2)"}]}"#;
    fs::write(folder.path().join("lake/tables/vehicle_tire_report.json"), table).expect("written");
    for (arguments, status, says) in [
        (&["none.json", "--to", "new"][..], 2, "cannot read none.json: No such file"),
        (&["a.json"], 2, "--to <FOLDER>"),
        (&["a.json", "--to", "new", "--timezone", "Mars/Olympus"], 2, "Mars/Olympus"),
        (&["a.json", "--to", "a.json"], 2, "there is no file in what was named, apart from those of the lake"),
        (&["a.json", "--to", "new", "--again"], 2, "are for a lake in S3"),
        (&["s3://raw/a.json", "--to", "new"], 2, "is in S3, so the lake has to be, too"),
        (&["a.json", "--to", "s3://lake", "--database", "l"], 2, "`a.json` does not begin with `s3://`"),
        (&["s3://raw", "--to", "s3://lake"], 2, "needs --database"),
        (&["lake", "--to", "lake"], 2, "there is no file in what was named, apart from those of the lake"),
        (&["a.json", "--to", "lake"], 1, "column `pressure`: the type `decimal` is not one that the lake writes"),
    ] {
        let (found, _, errors) = convert(folder.path(), arguments);
        assert_eq!(found, Some(status), "{arguments:?}: {errors}");
        assert!(errors.contains(says), "{arguments:?}: {errors}");
    }
}

#[test]
fn the_tables_of_a_lake_are_created_in_other_engines() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("raw.json"), tire(0, "812.5")).expect("written");
    let (status, _, errors) = convert(folder.path(), &["raw.json", "--to", "lake"]);
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    let ddl = |more: &[&str]| {
        let common = ["--location", "s3://bucket/lake/", "--database", "fleet", "--engine", "athena"];
        lake(folder.path(), "ddl", &[&common, more].concat())
    };
    let (status, said, errors) = ddl(&["--lake", "lake"]);
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    insta::assert_snapshot!(said, @"
    create external table if not exists `fleet`.`vehicle_tire_report` (
      `object` string,
      `type` string,
      `command` string,
      `id` bigint,
      `timestamp_iso` timestamp,
      `timestamp_iso__raw` string,
      `pressure` double
    )
    partitioned by (`ymd` string, `hour` string)
    stored as parquet
    location 's3://bucket/lake/formatted/object=vehicle/type=tire/command=report/'
    tblproperties (
      'classification' = 'parquet'
    );
    alter table `fleet`.`vehicle_tire_report` add if not exists
      partition (ymd='2022-12-25', hour='02') location 's3://bucket/lake/formatted/object=vehicle/type=tire/command=report/ymd=2022-12-25/hour=02/';
    ");
    let (status, _, errors) = ddl(&["--lake", "lake", "vehicle_tyre_report"]);
    assert_eq!(status, Some(2));
    assert!(errors.contains("has no table `vehicle_tyre_report`; it has vehicle_tire_report"), "{errors}");
    let (status, _, errors) = ddl(&["--lake", "elsewhere"]);
    assert_eq!(status, Some(2));
    assert!(errors.contains("cannot list elsewhere/tables"), "{errors}");
}

/// Runs `fms lake convert` against the services.
fn convert_in(services: &Embedded, arguments: &[&str]) -> (Option<i32>, String, String) {
    lake_in(services, "convert", arguments)
}

/// Runs a command of `fms lake` against the services.
fn lake_in(services: &Embedded, command: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut fms = Command::new(env!("CARGO_BIN_EXE_fms"));
    let command = fms.args(["lake", command]).args(arguments);
    command.envs(services.environment()).env("RUST_LOG", "warn");
    let output = command.output().expect("fms starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn objects_in_s3_become_a_lake_in_s3_with_tables_in_glue() {
    let services = Embedded::start().expect("the services");
    let buckets = ["raw", "lake"].map(ToOwned::to_owned).into();
    let resources = Resources { buckets, databases: vec!["fleet".to_owned()], ..Resources::default() };
    services.provide(&resources).expect("buckets and a database");
    let put = |key: &str, body: &[u8]| services.put_object("raw", key, body).expect("put");
    put("topics/a.json.gz", &gzip(&[tire(0, "812.5"), tire(1, "[812.5,810]"), tire(2, "811")].join("\n")));
    put("topics/b.json", b"not JSON\n");
    put("elsewhere/c.json", tire(3, "812").as_bytes());

    let arguments = ["s3://raw/topics", "--to", "s3://lake/v1", "--database", "fleet", "--timezone", "Asia/Seoul"];
    let (status, said, errors) = convert_in(&services, &arguments);
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    insta::assert_snapshot!(said, @"
    2 objects converted: 2 rows of 4 in 1 file, 2 in quarantine
      created or given columns: vehicle_tire_report
      in quarantine: 1 row because of not-json
      in quarantine: 1 row because of type, column `pressure`
    ");
    let tables = services.catalog("fleet").expect("the database");
    assert_eq!(tables[0]["Name"], "vehicle_tire_report");
    assert_eq!(tables[0]["Partitions"][0]["Values"], serde_json::json!(["2022-12-25", "11"]));
    let stored = services.objects("lake").expect("the bucket");
    assert!(stored.iter().all(|(key, _)| key.starts_with("v1/")), "{stored:?}");

    let (status, said, _) = convert_in(&services, &arguments);
    assert!(status == Some(0) && said.contains("converted before and left as they are: 2 objects"), "{said}");
    let (status, said, _) = convert_in(&services, &[&arguments[..], &["--again", "--at-once", "1"]].concat());
    assert!(status == Some(0) && said.starts_with("2 objects converted: 2 rows of 4"), "{said}");
    assert_eq!(services.objects("lake").expect("the bucket"), stored, "nothing was changed by it");

    let whole = gzip(&tire(0, "812.5"));
    put("topics/cut.json.gz", &whole[..whole.len() - 4]);
    let (status, said, errors) = convert_in(&services, &arguments);
    assert!(status == Some(1) && said.contains("NOT converted: 1 object"), "{said}");
    assert!(errors.starts_with("s3://raw/topics/cut.json.gz: cannot read the object: "), "{errors}");
}

#[test]
fn nothing_is_begun_in_s3_without_a_bucket_a_database_and_objects() {
    let services = Embedded::start().expect("the services");
    let buckets = ["raw", "lake"].map(ToOwned::to_owned).into();
    let resources = Resources { buckets, databases: vec!["fleet".to_owned()], ..Resources::default() };
    services.provide(&resources).expect("buckets and a database");
    for (from, to, database, says) in [
        ("s3://raw", "s3://none", "fleet", "there is no bucket `none`"),
        ("s3://raw", "s3://lake", "none", "there is no database `none` in Glue"),
        ("s3://raw/x", "s3://lake", "fleet", "there is no object at s3://raw/x"),
        ("s3://none", "s3://lake", "fleet", "cannot list s3://none/"),
    ] {
        let (status, _, errors) = convert_in(&services, &[from, "--to", to, "--database", database]);
        assert_eq!(status, Some(2), "{errors}");
        assert!(errors.contains(says), "{errors}");
    }
}

#[test]
fn a_locked_table_keeps_new_fields_in_the_rest_until_it_is_unlocked() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, more: &str| {
        fs::write(folder.path().join(name), tire(0, &format!("812.5{more}"))).expect("written");
    };
    write("a.json", "");
    write("b.json", r#","wear":{"mm":3}"#);
    assert_eq!(convert(folder.path(), &["a.json", "--to", "lake"]).0, Some(0));
    let lock = |command: &str, table: &str| lake(folder.path(), command, &[table, "--lake", "lake"]);
    let (status, _, said) = lock("lock", "vehicle_tire_report");
    assert_eq!((status, said.as_str()), (Some(0), "the table `vehicle_tire_report` is locked\n"));
    let (_, said, _) = convert(folder.path(), &["b.json", "--to", "lake"]);
    assert!(said.contains("  with a part in `_rest` of vehicle_tire_report: 1 row\n"), "{said}");
    let columns = || {
        let file = folder.path().join("lake/tables/vehicle_tire_report.json");
        let table: serde_json::Value = serde_json::from_slice(&fs::read(file).expect("read")).expect("JSON");
        let names = table["columns"].as_array().expect("columns").iter().map(|column| column["name"].to_string());
        names.collect::<Vec<_>>().split_off(6).join(" ")
    };
    assert_eq!(columns(), r#""pressure" "_rest""#);
    assert_eq!(lock("unlock", "vehicle_tire_report").0, Some(0));
    assert_eq!(lock("unlock", "vehicle_tire_report").2, "the table `vehicle_tire_report` is open, as it was\n");
    let (_, said, _) = convert(folder.path(), &["b.json", "--to", "lake"]);
    assert!(!said.contains("_rest"), "{said}");
    assert_eq!(columns(), r#""pressure" "_rest" "wear""#);
    let (status, _, said) = lock("lock", "none");
    assert!(status == Some(2) && said.contains("there is no table"), "{said}");
}

#[test]
fn rows_without_names_of_their_own_have_a_table_by_the_folder_of_their_object() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().canonicalize().expect("a path").display().to_string();
    fs::create_dir_all(folder.path().join("raw/acme")).expect("created");
    fs::write(folder.path().join("raw/acme/a.json"), r#"{"at":"2022-12-25T11:00:00Z","rpm":900}"#).expect("written");
    let template = format!("{}/raw/{{vendor}}/", root.trim_start_matches('/'));
    let arguments = ["raw", "--to", "lake", "--timestamp-field", "at", "--raw-key-template", &template];
    let (status, _, said) = convert(folder.path(), &arguments);
    assert!(status == Some(2) && said.contains("the field `vendor`, which decides no table"), "{said}");
    let (_, said, errors) = convert(folder.path(), &[&arguments[..], &["--table-fields", "vendor"]].concat());
    assert!(said.starts_with("1 object converted: 1 row of 1") && said.contains("columns: acme"), "{said}{errors}");
    assert!(files(&folder.path().join("lake")).iter().any(|path| path.starts_with("formatted/vendor=acme/ymd=")));
}

#[test]
fn rows_in_quarantine_are_listed_explained_and_stored_when_they_fit() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("a.json"), tire(0, "812")).expect("written");
    let rows = [tire(1, "812.5"), tire(2, "1.5"), "no JSON".to_owned()].join("\n");
    fs::write(folder.path().join("b.json"), rows).expect("written");
    for object in ["a.json", "b.json"] {
        assert_eq!(convert(folder.path(), &[object, "--to", "lake"]).0, Some(0));
    }
    let quarantine = |arguments: &[&str]| {
        let (status, said, errors) = lake(folder.path(), "quarantine", &[arguments, &["--lake", "lake"]].concat());
        assert!(status == Some(0) || !errors.is_empty(), "{arguments:?}");
        let root = folder.path().canonicalize().expect("a path").display().to_string();
        (status, said.replace(&root, "…"), errors.replace(&root, "…"))
    };
    let (_, listed, _) = quarantine(&["list"]);
    let lines: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((lines.len(), lines[0][..4].join(" ")), (3, "TABLE REASON COLUMN ROWS".to_owned()), "{listed}");
    assert_eq!(lines[1][..4], ["unclassified", "not-json", "-", "1"], "{listed}");
    assert_eq!(lines[2][..4], ["vehicle_tire_report", "type", "pressure", "2"], "{listed}");
    assert_eq!(lines[2][6..].join(" "), "expected bigint, found 812.5, in …/b.json line 1", "{listed}");
    let (_, explained, _) = quarantine(&["explain", "--reason", "type", "--limit", "1"]);
    let why = "vehicle_tire_report: type, column `pressure`: expected bigint, found 812.5";
    assert_eq!(explained, format!("…/b.json line 1: {why}\n  {}\n", tire(1, "812.5")));
    let (_, json, _) = quarantine(&["list", "--format", "json", "--column", "pressure"]);
    let kind: serde_json::Value = serde_json::from_str(&json).expect("one line");
    assert_eq!((&kind["rows"], &kind["table"]), (&2.into(), &"vehicle_tire_report".into()));

    // Somebody makes the column a double.
    let table = folder.path().join("lake/tables/vehicle_tire_report.json");
    let text = fs::read_to_string(&table).expect("read");
    let place = text.find("pressure").expect("the column");
    fs::write(&table, text[..place].to_owned() + &text[place..].replace("bigint", "double")).expect("written");
    let (status, _, said) = quarantine(&["replay", "--expected-raw-bucket-owner", "111122223333"]);
    assert!(status == Some(2) && said.contains("--expected-raw-bucket-owner is for a lake in S3"), "{said}");
    let (_, _, said) = quarantine(&["replay", "--dry-run"]);
    assert_eq!(said, "3 rows in quarantine, of 1 object\n  …/b.json\n");
    let (status, said, _) = quarantine(&["replay", "--table", "vehicle_tire_report"]);
    assert!(
        status == Some(0) && said.starts_with("1 object converted: 2 rows of 3 in 1 file, 1 in quarantine"),
        "{said}"
    );
    assert_eq!(quarantine(&["list"]).1.lines().count(), 2, "the heads, and the line that is no JSON");

    fs::remove_file(folder.path().join("b.json")).expect("removed");
    let (status, _, said) = quarantine(&["replay"]);
    assert!(status == Some(1) && said.contains("…/b.json: cannot read the object: No such file"), "{said}");
    assert!(said.contains("its rows stay in quarantine"), "{said}");
    let (status, _, said) = lake(folder.path(), "quarantine", &["list", "--lake", "none"]);
    assert!(status == Some(2) && said.contains("there is no folder none"), "{said}");
}

#[test]
fn hours_that_are_over_are_compacted_and_leave_the_lake_when_they_are_old() {
    let services = Embedded::start().expect("the services");
    let buckets = ["raw", "lake"].map(ToOwned::to_owned).into();
    let resources = Resources { buckets, databases: vec!["fleet".to_owned()], ..Resources::default() };
    services.provide(&resources).expect("buckets and a database");
    for (key, second) in [("topics/a.json", 0), ("topics/b.json", 1), ("topics/c.json", 1)] {
        services.put_object("raw", key, tire(second, "812.5").as_bytes()).expect("put");
    }
    let zone = ["--timezone", "Asia/Seoul"];
    let into = [&["s3://raw/topics", "--to", "s3://lake/v1", "--database", "fleet"][..], &zone].concat();
    let (status, said, errors) = convert_in(&services, &into);
    assert_eq!(status, Some(0), "{said}{errors}");

    let lake = [&["--lake", "s3://lake/v1", "--database", "fleet"][..], &zone].concat();
    let stored = || services.objects("lake").expect("the bucket");
    let before = stored();
    let (status, said, errors) = lake_in(&services, "compact", &[&lake[..], &["--dry-run"]].concat());
    assert!(said.starts_with("1 partition would be compacted: 3 files of "), "{said}{errors}");
    assert_eq!((status, stored()), (Some(0), before));
    let (status, said, errors) = lake_in(&services, "compact", &lake);
    let parts = ["1 partition compacted: 3 files of ", " became 1 file of ", " with 2 rows; 1 repeat removed\n"];
    assert!(status == Some(0) && parts.iter().all(|part| said.contains(part)), "{said}{errors}");
    let (status, said, _) = lake_in(&services, "compact", &[&lake[..], &["--grace", "0s"]].concat());
    assert_eq!(status, Some(0));
    insta::assert_snapshot!(said, @"
    0 partitions compacted: 0 files of 0 bytes became 0 files of 0 bytes with 0 rows; 0 repeats removed
      1 partition: nothing to merge
      3 files: removed that had been replaced before
    ");

    let (status, said, errors) = lake_in(&services, "expire", &[&lake[..], &["--older-than", "36500d"]].concat());
    assert!(status == Some(0) && said.starts_with("0 partitions left the lake"), "{said}{errors}");
    let (status, said, _) = lake_in(&services, "expire", &[&lake[..], &["--older-than", "90d"]].concat());
    assert!(status == Some(0) && said.starts_with("1 partition left the lake: 1 file, and 0 files"), "{said}");
    assert!(stored().iter().all(|(key, _)| key.starts_with("v1/conversions/")));

    let wrong = [&lake[..], &["--table", "none"]].concat();
    let (status, _, errors) = lake_in(&services, "compact", &wrong);
    assert!(status == Some(2) && errors.contains("`fleet.none` is no table of the lake"), "{errors}");
    let (status, _, errors) = lake_in(&services, "expire", &[&lake[..], &["--older-than", "90"]].concat());
    assert!(status == Some(2) && errors.contains("such as `90d`"), "{errors}");
}
