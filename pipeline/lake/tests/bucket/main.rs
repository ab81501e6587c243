//! A lake in S3 with a Glue catalog: several converters at once, converters that die, and objects that change.

mod alteration;
mod compaction;
mod expiry;
mod harness;
mod interference;
mod locked;
mod readback;
#[path = "../common/readers.rs"]
mod readers;
mod repair;
mod replay;
mod status;
mod storage;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use e2e::internals::Stack as _;
use fms_glue::{Column, StorageDescriptor, TableInput};
use futures_util::future::join_all;

use self::harness::{Action, World, assert_settled, columns, convert, row, row_of};

/// The operation of a call to Glue, or the method of one to S3.
fn operation(request: &HttpRequest) -> &str {
    let target = request.headers().get("x-amz-target").and_then(|target| target.strip_prefix("AWSGlue."));
    target.unwrap_or(request.method())
}

/// A method of S3 on a path that has this in it.
fn is(request: &HttpRequest, method: &str, path: &str) -> bool {
    request.method() == method && request.uri().contains(path)
}

#[test]
fn objects_become_files_a_table_and_its_partitions() {
    let world = World::new();
    let bucket = world.bucket("l");
    world.put("t/a.json", &[row(3, r#""n":1"#), row(4, r#""n":2"#), row(4, r#""n":"x""#), "no JSON".into()]);
    let report = world.convert(&bucket, "t/a.json").expect("converted").expect("a report");
    assert_eq!((report.lines, report.rows, report.files, report.quarantined.values().sum()), (4, 3, 2, 1));

    let names: Vec<String> = world.files("l").into_keys().collect();
    let name = names[0].strip_prefix("conversions/").and_then(|name| name.strip_suffix(".json")).expect("a record");
    let folder = "formatted/object=o/type=t/command=c/ymd=2023-01-01";
    assert_eq!(
        names[1..],
        [
            format!("{folder}/hour=03/{name}.parquet"),
            format!("{folder}/hour=04/{name}.parquet"),
            format!("quarantine/unclassified/{name}.jsonl"),
        ]
    );
    let tables = world.tables("l");
    let table = &tables[0];
    assert_eq!(table["Name"], "o_t_c");
    assert_eq!(table["StorageDescriptor"]["Location"], "s3://lake/formatted/object=o/type=t/command=c/");
    assert_eq!(columns(table)[3..], ["id bigint", "timestamp_iso timestamp", "n string"]);
    assert_eq!(assert_settled(table), 2);
}

#[test]
fn converters_that_add_columns_at_once_lose_none() {
    let world = World::new();
    let processes = [world.bucket("l"), world.bucket("l")];
    let objects: Vec<String> = (0..8).map(|n| format!("t/{n}.json")).collect();
    for (hour, key) in (0..).zip(&objects) {
        world.put(key, &[row(hour, &format!(r#""c{hour}":{{"f{hour}":1}},"s":{{"f{hour}":1}}"#))]);
    }
    let conversions =
        objects.iter().zip(processes.iter().cycle()).map(|(key, bucket)| convert(bucket.clone(), key.clone(), false));
    let reports = world.runtime.block_on(async { join_all(conversions.map(tokio::spawn)).await });
    for report in reports {
        assert_eq!(report.expect("no panic").expect("converted").expect("a report").rows, 1);
    }
    let tables = world.tables("l");
    let found: BTreeSet<String> = columns(&tables[0]).into_iter().collect();
    for n in 0..8 {
        assert!(found.contains(&format!("c{n} struct<f{n}:bigint>")), "{n}: {found:?}");
    }
    let shared = found.iter().find(|column| column.starts_with("s ")).expect("a column that all have");
    assert!((0..8).all(|n| shared.contains(&format!("f{n}:bigint"))), "{shared}");
    assert_eq!(assert_settled(&tables[0]), 8);
}

#[test]
fn converters_that_create_a_partition_at_once_share_it() {
    let world = World::new();
    let processes = [world.bucket("l"), world.bucket("l")];
    let objects: Vec<String> = (0..6).map(|n| format!("t/{n}.json")).collect();
    for key in &objects {
        world.put(key, &[row(3, r#""n":1"#)]);
    }
    let conversions =
        objects.iter().zip(processes.iter().cycle()).map(|(key, bucket)| convert(bucket.clone(), key.clone(), false));
    let reports = world.runtime.block_on(async { join_all(conversions.map(tokio::spawn)).await });
    assert!(reports.into_iter().all(|report| matches!(report, Ok(Ok(Some(_))))));
    assert_eq!(assert_settled(&world.tables("l")[0]), 1);
    assert_eq!(world.files("l").keys().filter(|path| path.ends_with(".parquet")).count(), 6);
}

/// The partition is created with the columns that the table had when it was read, after those who gave it more have
/// gone through its partitions.
#[test]
fn a_partition_that_was_created_with_old_columns_gets_the_new_ones() {
    let world = Arc::new(World::new());
    world.put("t/a.json", &[row(3, r#""n":1"#)]);
    world.put("t/b.json", &[row(4, r#""n":1"#)]);
    world.put("t/c.json", &[row(5, r#""m":1"#)]);
    let other = world.bucket("l");
    world.convert(&other, "t/a.json").expect("converted");
    let once = AtomicBool::new(true);
    let late = world.disturbed("l", move |request| {
        if operation(request) == "BatchCreatePartition" && once.swap(false, Ordering::Relaxed) {
            let grow = convert(other.clone(), "t/c.json".into(), false);
            return Action::After(Box::pin(async { assert!(grow.await.expect("converted").is_some()) }));
        }
        Action::Pass
    });
    world.convert(&late, "t/b.json").expect("converted");
    let tables = world.tables("l");
    assert!(columns(&tables[0]).contains(&"m bigint".to_owned()));
    assert_eq!(assert_settled(&tables[0]), 3);
}

#[test]
fn whoever_meets_a_table_whose_partitions_lag_brings_them_up() {
    let world = World::new();
    let bucket = world.bucket("l");
    for (hour, key) in [(3, "t/a.json"), (4, "t/b.json"), (6, "t/d.json")] {
        world.put(key, &[row(hour, r#""n":1"#)]);
    }
    world.put("t/c.json", &[row(5, r#""m":1"#)]);
    world.convert(&bucket, "t/a.json").expect("converted");
    world.convert(&bucket, "t/b.json").expect("converted");
    let is_dead = AtomicBool::new(false);
    let dying = world.disturbed("l", move |request| {
        is_dead.fetch_or(operation(request) == "GetPartitions", Ordering::Relaxed);
        if is_dead.load(Ordering::Relaxed) { Action::Refuse } else { Action::Pass }
    });
    world.convert(&dying, "t/c.json").expect_err("it died");
    let tables = world.tables("l");
    assert!(columns(&tables[0]).contains(&"m bigint".to_owned()));
    assert!(!columns(&tables[0]["Partitions"][0]).contains(&"m bigint".to_owned()), "the test is at the right place");

    world.convert(&bucket, "t/d.json").expect("converted");
    assert_eq!(assert_settled(&world.tables("l")[0]), 3);
}

#[test]
fn a_converter_may_die_before_every_call() {
    die_at_every_call(false);
}

#[test]
fn a_converter_may_die_before_the_answer_to_every_call() {
    die_at_every_call(true);
}

/// Wherever a converter dies, the next conversion of the object leaves the lake as if it had not.
fn die_at_every_call(is_answer_lost: bool) {
    let world = World::new();
    world.put("t/a.json", &[row(3, r#""n":1"#), row_of("p", 3, r#""n":1"#)]);
    world.put("t/b.json", &[row(3, r#""m":1"#), row(4, r#""m":{}"#), row_of("p", 3, r#""n":[1]"#)]);
    let whole = world.bucket("whole");
    world.convert(&whole, "t/a.json").expect("converted");
    world.convert(&whole, "t/b.json").expect("converted");
    let expected = world.state("whole");

    for death in 0.. {
        let lake = format!("l{death}");
        let bucket = world.bucket(&lake);
        world.convert(&bucket, "t/a.json").expect("converted");
        // The first call is that of the test, which asks for the object.
        let dying = world.dying(&lake, death + 1, is_answer_lost);
        let is_dead = world.convert(&dying, "t/b.json").is_err();
        world.convert(&world.bucket(&lake), "t/b.json").expect("converted");
        assert_eq!(world.state(&lake), expected, "dead at call {death}");
        if !is_dead {
            assert!(death > 15, "the converter made {death} calls only");
            return;
        }
    }
}

#[test]
fn a_table_that_cannot_be_used_keeps_no_other_table_from_its_files_and_they_are_written_once() {
    let world = World::new();
    let bucket = world.bucket("l");
    let storage = StorageDescriptor {
        columns: vec![Column::new("n", "decimal(10,2)")],
        location: Some("s3://lake/l/formatted/object=p/type=t/command=c/".into()),
        ..StorageDescriptor::default()
    };
    let partition_keys = ["ymd", "hour"].map(|key| Column::new(key, "string")).into();
    let odd =
        TableInput { name: "p_t_c".into(), storage_descriptor: Some(storage), partition_keys, ..TableInput::default() };
    world.runtime.block_on(world.glue().create_table("l", &odd)).expect("created");
    world.put("t/a.json", &[row(3, r#""n":1"#), row_of("p", 3, r#""n":1"#), row_of("q", 3, r#""n":1"#)]);

    for _ in 0..2 {
        let error = world.convert(&bucket, "t/a.json").expect_err("the odd table").to_string();
        assert!(error.contains("`l.p_t_c`") && error.contains("column `n`"), "{error}");
        let tables = world.tables("l");
        assert_eq!((assert_settled(&tables[0]), assert_settled(&tables[2])), (1, 1));
    }
    world.runtime.block_on(world.glue().delete_table("l", "p_t_c")).expect("deleted");
    assert_eq!(world.convert(&bucket, "t/a.json").expect("converted").expect("a report").rows, 3);
    for object in ["o", "p", "q"] {
        assert_eq!(world.calls("PutObject", &format!("formatted/object={object}")), 1, "{object}");
    }
}

#[test]
fn a_table_of_others_is_written_to_and_left_as_it_is_until_it_has_to_grow() {
    let world = World::new();
    let bucket = world.bucket("l");
    let names = ["object", "type", "command", "id", "timestamp_iso", "n"];
    let types = ["string", "string", "string", "bigint", "timestamp", "double"];
    let storage = StorageDescriptor {
        columns: names.into_iter().zip(types).map(|(name, data_type)| Column::new(name, data_type)).collect(),
        location: Some("s3://lake/l/formatted/object=o/type=t/command=c".into()),
        ..StorageDescriptor::default()
    };
    let table = TableInput {
        name: "o_t_c".into(),
        storage_descriptor: Some(storage),
        partition_keys: ["ymd", "hour"].map(|key| Column::new(key, "string")).into(),
        parameters: [("owner".to_owned(), "fleet".to_owned())].into(),
        ..TableInput::default()
    };
    world.runtime.block_on(world.glue().create_table("l", &table)).expect("created");
    world.put("t/a.json", &[row(3, r#""n":1"#)]);
    world.put("t/b.json", &[row(4, r#""m":1"#)]);
    world.convert(&bucket, "t/a.json").expect("converted");
    assert_eq!(world.calls("UpdateTable", ""), 0);
    world.convert(&bucket, "t/b.json").expect("converted");
    let tables = world.tables("l");
    assert_eq!(tables[0]["Parameters"]["owner"], "fleet");
    assert_eq!(columns(&tables[0])[5..], ["n double", "m bigint"]);
    assert_eq!(assert_settled(&tables[0]), 2);
}

#[test]
fn what_is_converted_is_skipped_and_converting_it_again_puts_nothing() {
    let world = World::new();
    let bucket = world.bucket("l");
    world.put("t/a.json", &[row(3, r#""n":1"#), "no JSON".into()]);
    world.convert(&bucket, "t/a.json").expect("converted").expect("a report");
    let (before, puts) = (world.files("l"), world.calls("PutObject", "lake/"));
    assert!(world.convert(&bucket, "t/a.json").expect("skipped").is_none());
    let again = world.runtime.block_on(convert(bucket.clone(), "t/a.json".into(), true));
    assert_eq!(again.expect("converted").expect("a report").rows, 1);
    assert_eq!((world.files("l"), world.calls("PutObject", "lake/")), (before, puts));
}

#[test]
fn a_large_file_is_put_in_parts_and_once() {
    let world = World::new();
    let bucket = world.bucket("l");
    // Lines that are no JSON go into one file as they are.
    let lines: Vec<String> = (0..5).map(|n| n.to_string().repeat(4 << 20)).collect();
    world.put("t/a.json", &lines);
    for _ in 0..2 {
        let report = world.runtime.block_on(convert(bucket.clone(), "t/a.json".into(), true));
        assert_eq!(report.expect("converted").expect("a report").quarantined.values().sum::<u64>(), 5);
    }
    assert_eq!((world.calls("UploadPart", "lake/"), world.calls("CompleteMultipartUpload", "lake/")), (2, 1));
    assert_eq!(world.stack.open_uploads("lake").expect("the bucket"), Vec::<String>::new());
    let files = world.files("l");
    let (_, file) = files.iter().find(|(path, _)| path.starts_with("quarantine/")).expect("the file");
    assert_eq!(file.split(|&byte| byte == b'\n').count(), 6, "five lines, and nothing after the last");
    assert!(file.len() > 16 << 20);
}

#[test]
fn an_object_that_changed_leaves_no_stale_file() {
    let world = World::new();
    let bucket = world.bucket("l");
    world.put("t/b.json", &[row(3, r#""n":1"#)]);
    world.put("t/a.json", &[row(3, r#""n":1"#), row(4, r#""n":1"#), row_of("p", 4, r#""n":1"#), "no JSON".into()]);
    world.convert(&bucket, "t/b.json").expect("converted");
    world.convert(&bucket, "t/a.json").expect("converted");
    world.put("t/a.json", &[row(4, r#""n":2"#)]);
    assert_eq!(world.convert(&bucket, "t/a.json").expect("converted").expect("a report").rows, 1);
    let left: Vec<String> = world.files("l").into_keys().filter(|path| !path.starts_with("conversions/")).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left[0].contains("hour=03/b-") && left[1].contains("hour=04/a-"), "{left:?}");
}

#[test]
fn what_a_converter_that_died_had_published_is_removed_when_the_object_has_changed() {
    let world = World::new();
    world.put("t/a.json", &[row(3, r#""n":1"#), row(4, r#""n":1"#), "no JSON".into()]);
    let dying = world.disturbed("l", |request| match operation(request) {
        "BatchCreatePartition" => Action::Refuse,
        _ => Action::Pass,
    });
    world.convert(&dying, "t/a.json").expect_err("it died");
    assert_eq!(world.files("l").keys().filter(|path| !path.starts_with("conversions/")).count(), 3);
    world.put("t/a.json", &[row(4, r#""n":2"#)]);
    world.convert(&world.bucket("l"), "t/a.json").expect("converted");
    let left: Vec<String> = world.files("l").into_keys().filter(|path| !path.starts_with("conversions/")).collect();
    assert!(left.len() == 1 && left[0].contains("hour=04"), "{left:?}");
}

/// The file of a newer table has the columns that the older one lacks: the older conversion must not put its own there.
#[test]
fn a_file_is_not_replaced_by_one_of_an_older_table() {
    let world = World::new();
    let other = world.bucket("l");
    world.put("t/a.json", &[row(3, r#""n":1"#)]);
    world.put("t/b.json", &[row(4, r#""n":1"#)]);
    world.put("t/c.json", &[row(5, r#""m":1"#)]);
    world.convert(&other, "t/a.json").expect("converted");
    let once = AtomicBool::new(true);
    let process = other.clone();
    let late = world.disturbed("l", move |request| {
        let is_put = is(request, "PUT", "hour%3D04") || is(request, "PUT", "hour=04");
        if is_put && once.swap(false, Ordering::Relaxed) {
            let (grow, same) = (
                convert(process.clone(), "t/c.json".into(), false),
                convert(process.clone(), "t/b.json".into(), false),
            );
            return Action::After(Box::pin(async {
                grow.await.expect("converted").expect("the table grows");
                same.await.expect("converted").expect("by the new table");
            }));
        }
        Action::Pass
    });
    let result = world.convert(&late, "t/b.json").expect("converted");
    assert_eq!(result, None, "the other conversion was faster");
    let files = world.files("l");
    let (path, file) = files.iter().find(|(path, _)| path.contains("hour=04")).expect("the file");
    let text = String::from_utf8_lossy(file);
    let version = world.tables("l")[0]["Parameters"]["fms.partitions.version"].as_str().expect("a version").to_owned();
    assert!(version.starts_with("2-") && text.contains(&version), "{path} is not by version {version}");
    assert_eq!(assert_settled(&world.tables("l")[0]), 3);
}

/// The versions of the new table begin anew, so its files seem to be older than those of the one before.
#[test]
fn a_table_that_was_deleted_comes_back_when_its_objects_are_converted_again() {
    let world = World::new();
    let bucket = world.bucket("l");
    world.put("t/a.json", &[row(3, r#""n":1"#)]);
    world.put("t/b.json", &[row(4, r#""m":1"#)]);
    for key in ["t/a.json", "t/b.json", "t/a.json"] {
        world.runtime.block_on(convert(bucket.clone(), key.into(), true)).expect("converted");
    }
    assert!(world.runtime.block_on(world.glue().delete_table("l", "o_t_c")).expect("deleted"));
    world.runtime.block_on(convert(bucket.clone(), "t/a.json".into(), true)).expect("converted");
    let tables = world.tables("l");
    assert_eq!(columns(&tables[0])[5..], ["n bigint"]);
    assert_eq!(assert_settled(&tables[0]), 1);
    let files = world.files("l");
    let (_, file) = files.iter().find(|(path, _)| path.contains("hour=03")).expect("the file");
    let version = tables[0]["Parameters"]["fms.partitions.version"].as_str().expect("a version");
    assert!(version.starts_with("1-") && String::from_utf8_lossy(file).contains(version));
}

#[test]
fn reading_goes_on_where_the_connection_broke() {
    let world = World::new();
    let rows: Vec<String> = (0..2000).map(|n| row(n / 1000, &format!(r#""n":{n}"#))).collect();
    world.put("t/a.json", &rows);
    let breaks = AtomicUsize::new(0);
    let bucket = world.disturbed("l", move |request| {
        let is_read = is(request, "GET", "/raw/");
        if is_read && breaks.fetch_add(1, Ordering::Relaxed) < 3 { Action::Break } else { Action::Pass }
    });
    assert_eq!(world.convert(&bucket, "t/a.json").expect("converted").expect("a report").rows, 2000);
    assert!(world.calls("GetObject", "raw/") >= 5, "three breaks and two readings");
}

#[test]
fn objects_are_found_by_their_key_or_below_it_without_the_lakes_own() {
    let world = World::new();
    let bucket = world.bucket("l");
    for key in ["t", "t/a.json", "t/b/c.json", "tt/d.json", "t/folder/"] {
        world.stack_put("raw", key);
    }
    for key in ["l/raw.json", "l/formatted/x.parquet", "l/quarantine/x.jsonl", "l/conversions/x.json", "m/formatted/y"]
    {
        world.stack_put("lake", key);
    }
    let found = |url: &str| {
        let (raws, next) = world.runtime.block_on(bucket.raws(&url.parse().expect("a URL"), None)).expect("listed");
        assert_eq!(next, None);
        raws.into_iter().map(|raw| raw.object.key).collect::<Vec<_>>()
    };
    assert_eq!(found("s3://raw/t"), ["t", "t/a.json", "t/b/c.json"]);
    assert_eq!(found("s3://raw/t/"), ["t/a.json", "t/b/c.json"]);
    assert_eq!(found("s3://raw/t/a.json"), ["t/a.json"]);
    assert_eq!(found("s3://raw").len(), 4);
    assert_eq!(found("s3://lake"), ["l/raw.json", "m/formatted/y"]);
}

#[test]
fn a_bucket_or_database_that_is_missing_is_said_at_once() {
    let world = World::new();
    world.bucket("l");
    let check = |place: &str, database: &str| {
        let retry = fms_aws::Retry::new("test", None, std::time::Duration::from_millis(1), |_| {});
        let bucket = fms_lake::Bucket::new(&world.aws(None), &place.parse().expect("a place"), database, retry);
        world.runtime.block_on(bucket.check()).map_err(|error| error.to_string())
    };
    assert_eq!(check("s3://lake", "l"), Ok(()));
    assert_eq!(check("s3://none", "l"), Err("there is no bucket `none`; create it".into()));
    assert_eq!(check("s3://lake", "none"), Err("there is no database `none` in Glue; create it".into()));
}
