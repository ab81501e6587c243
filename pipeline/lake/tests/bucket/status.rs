//! What a lake holds beside what its raw objects have, and what is missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fms_lake::{Bucket, HourStatus, Partition, Readers, S3Url, Status, Why};
use jiff::Timestamp;

use super::compaction::{LATER, compact, halfway, options};
use super::harness::{Action, World, convert, row, row_of};
use super::is;

fn status(world: &World, bucket: &Bucket) -> Status {
    let raw: S3Url = "s3://raw/t".parse().expect("a place");
    world.runtime.block_on(bucket.status(&[], &[raw])).expect("looked at")
}

fn hour<'s>(status: &'s Status, table: &str, hour: &str) -> &'s HourStatus {
    let partition = Partition::of_values(&["2023-01-01", hour]).expect("an hour");
    &status.tables[table].hours[&partition]
}

fn why(status: &Status) -> Vec<(&str, Why)> {
    status.not_converted.iter().map(|((_, key), why)| (key.as_str(), *why)).collect()
}

#[test]
fn rows_are_counted_by_hour_before_and_after_compaction() {
    let world = World::new();
    world.begin("l");
    world.put("t/bad.json", &[row(3, r#""n":"x""#), "no JSON".into(), "no JSON".into()]);
    world.convert(&world.bucket("l"), "t/bad.json").expect("converted");
    let before = status(&world, &world.bucket("l"));
    assert!(!before.is_incomplete(), "{before:?}");
    let found = hour(&before, "o_t_c", "03");
    assert_eq!((found.raw_rows, found.parquet_rows, found.files, found.late), (Some(3), Some(3), 2, None));
    assert!(found.bytes > 0);
    assert_eq!(before.tables["o_t_c"].quarantined.rows, Some(1));
    assert_eq!(before.tables["p_t_c"].quarantined.rows, Some(0));
    assert_eq!(before.unclassified.map(|of| (of.files, of.rows)), Some((1, Some(2))));

    // One row of the new object repeats another.
    world.put("t/again.json", &[row(3, r#""n":1"#), row(3, r#""n":8"#)]);
    world.convert(&world.bucket("l"), "t/again.json").expect("converted");
    world.compact("l", Timestamp::now());
    world.put("t/late.json", &[row(3, r#""n":9"#)]);
    world.convert(&world.bucket("l"), "t/late.json").expect("converted");
    let after = status(&world, &world.bucket("l"));
    let found = hour(&after, "o_t_c", "03");
    assert_eq!((found.raw_rows, found.parquet_rows, found.files, found.late), (Some(6), Some(5), 2, Some(1)));
    assert!(!after.is_incomplete(), "{after:?}");
    world.compact("l", Timestamp::now() + LATER);
    let found = status(&world, &world.bucket("l"));
    assert_eq!(hour(&found, "o_t_c", "03").parquet_rows, Some(5));
    assert!(!found.is_incomplete(), "{found:?}");
}

#[test]
fn objects_that_are_not_converted_are_named_with_the_reason() {
    let world = World::new();
    world.begin("l");
    world.put("t/new.json", &[row(3, r#""n":5"#)]);
    world.put("t/b.json", &[row(3, r#""n":6"#)]);
    world.put("t/dead.json", &[row(3, r#""n":7"#)]);
    let dying =
        world.disturbed("l", |request| if is(request, "PUT", "formatted") { Action::Lose } else { Action::Pass });
    world.convert(&dying, "t/dead.json").expect_err("dead");
    let found = status(&world, &world.bucket("l"));
    assert_eq!(
        why(&found),
        [("t/b.json", Why::Replaced), ("t/dead.json", Why::UnderWay), ("t/new.json", Why::NoRecord)]
    );
    assert!(found.is_incomplete());
    let of = hour(&found, "o_t_c", "03");
    assert_eq!(
        (of.under_way, of.raw_rows, of.parquet_rows),
        (1, Some(3), None),
        "the file that it left is not counted"
    );
}

#[test]
fn files_and_partitions_that_are_gone_are_missing_and_hours_that_expired_are_not() {
    let world = World::new();
    world.begin("l");
    let lost = world.files("l").into_keys().find(|path| path.contains("object=o/") && path.contains("hour=03/"));
    let lost = lost.expect("a file");
    world.delete("l", &lost);
    let drop = |table: &str, hour: &str| {
        let values = ["2023-01-01", hour].map(ToOwned::to_owned).to_vec();
        world.runtime.block_on(world.glue().delete_partitions("l", table, &[values])).expect("dropped");
    };
    drop("p_t_c", "03");
    let found = status(&world, &world.bucket("l"));
    assert_eq!(hour(&found, "o_t_c", "03").missing, [lost]);
    assert_eq!(hour(&found, "p_t_c", "03").readers, Readers::Nowhere);
    assert!(found.is_incomplete());

    let world = World::new();
    halfway(&world, "l");
    let expiring = super::expiry::expiring("2023-01-01T04:00:00Z");
    world.runtime.block_on(super::expiry::expire(world.bucket("l"), expiring)).expect("expired");
    let found = status(&world, &world.bucket("l"));
    assert_eq!((found.tables["o_t_c"].left, found.tables["o_t_c"].hours.len()), (1, 1));
    assert!(!found.is_incomplete(), "{found:?}");
}

/// What others do while the lake is looked at does not seem to be missing.
#[test]
fn nothing_seems_to_be_missing_while_others_work() {
    let world = Arc::new(World::new());
    for (number, (method, path)) in
        [("GET", "conversions"), ("GET", "formatted"), ("GET", "compacted"), ("POST", "/")].into_iter().enumerate()
    {
        let lake = format!("l{number}");
        halfway(&world, &lake);
        world.put("t/gone.json", &[row(3, r#""n":30"#), row_of("p", 3, r#""n":31"#)]);
        world.convert(&world.bucket(&lake), "t/gone.json").expect("converted");
        world.put("t/gone.json", &["no JSON".into()]);
        let (once, other) = (AtomicBool::new(true), world.beside(&lake));
        let looking = world.disturbed(&lake, move |request| {
            if !(request.method() == method && request.uri().contains(path) && once.swap(false, Ordering::Relaxed)) {
                return Action::Pass;
            }
            let other = other.clone();
            Action::After(Box::pin(async move {
                convert(other.clone(), "t/gone.json".into(), false).await.expect("converted");
                for round in 0..2 {
                    let now = Timestamp::now() + LATER * round;
                    compact(other.clone(), options(now)).await.expect("compacted");
                }
            }))
        });
        let found = world.runtime.block_on(looking.status(&[], &[])).expect("looked at");
        assert!(!found.is_incomplete(), "{method} {path}: {found:#?}");
    }
}

#[test]
fn rows_whose_quarantine_has_expired_are_not_counted() {
    let world = World::new();
    world.begin("l");
    let key = "t/object=o/type=t/command=c/ymd=20230101/hour=03/x.json";
    world.put(key, &[row(3, r#""n":"x""#), row(3, r#""n":1"#)]);
    world.convert(&world.bucket("l"), key).expect("converted");
    let quarantined = || {
        let table = &status(&world, &world.bucket("l")).tables["o_t_c"];
        (table.quarantined.files, table.raw_hours.values().map(|hour| hour.quarantined).sum::<u64>())
    };
    assert_eq!(quarantined(), (1, 1));
    for path in world.files("l").into_keys().filter(|path| path.starts_with("quarantine/")) {
        world.delete("l", &path);
    }
    assert_eq!(quarantined(), (0, 0));
}

#[test]
fn an_object_that_is_replaced_or_deleted_while_rows_are_counted_is_left_out() {
    let world = World::new();
    world.begin("l");
    for body in [Some("no JSON"), None] {
        world.put("t/x.json", &[row(3, r#""n":1"#)]);
        world.convert(&world.bucket("l"), "t/x.json").expect("converted");
        let (client, once) = (world.s3(), Arc::new(AtomicBool::new(true)));
        let is_first = Arc::clone(&once);
        let counting = world.disturbed("l", move |request| {
            let is_read = request.method() == "GET" && request.uri().contains("/raw/t/x.json");
            if !(is_read && is_first.swap(false, Ordering::Relaxed)) {
                return Action::Pass;
            }
            let client = client.clone();
            Action::After(Box::pin(async move {
                match body {
                    Some(body) => {
                        let body = body.as_bytes().to_vec().into();
                        client.put_object().bucket("raw").key("t/x.json").body(body).send().await.expect("replaced");
                    }
                    None => {
                        client.delete_object().bucket("raw").key("t/x.json").send().await.expect("deleted");
                    }
                }
            }))
        });
        let raw: S3Url = "s3://raw/t/x.json".parse().expect("a place");
        let counted = world.runtime.block_on(counting.miscounted(&[raw])).expect("counted");
        assert!(!once.load(Ordering::Relaxed), "{body:?}: the object was not read, so that nothing happened to it");
        assert!(counted.is_empty(), "{counted:?}");
    }
}
