//! Tables in Glue that get no columns: those that somebody has locked, and those that are full.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::{Action, World, assert_settled, columns, row};
use crate::operation;

#[test]
fn a_table_that_is_locked_while_it_is_to_grow_gets_the_column_for_the_rest_and_no_other() {
    let world = World::new();
    let other = world.bucket("l");
    world.put("t/a.json", &[row(3, r#""n":1"#)]);
    world.put("t/b.json", &[row(4, r#""m":1"#)]);
    world.convert(&other, "t/a.json").expect("converted");
    let once = AtomicBool::new(true);
    let late = world.disturbed("l", move |request| {
        if operation(request) == "UpdateTable" && once.swap(false, Ordering::Relaxed) {
            let other = other.clone();
            return Action::After(Box::pin(async move { assert!(other.lock("o_t_c", true).await.expect("locked")) }));
        }
        Action::Pass
    });
    let report = world.convert(&late, "t/b.json").expect("converted").expect("a report");
    assert_eq!((report.rows, report.with_rest.values().sum()), (1, 1));
    let tables = world.tables("l");
    assert_eq!(columns(&tables[0])[5..], ["n bigint", "_rest string"]);
    assert_eq!(assert_settled(&tables[0]), 2);
}

#[test]
fn a_table_that_is_locked_and_unlocked_leaves_its_partitions_settled() {
    let world = World::new();
    let bucket = world.bucket("l");
    world.put("t/a.json", &[row(3, r#""n":1"#)]);
    world.convert(&bucket, "t/a.json").expect("converted");
    let lock = |is_locked| world.runtime.block_on(bucket.lock("o_t_c", is_locked));
    let version = || world.tables("l")[0]["Parameters"]["fms.partitions.version"].clone();
    let before = version();
    assert!(lock(true).expect("locked"));
    assert_eq!(assert_settled(&world.tables("l")[0]), 1);
    assert_ne!(version(), before, "a file with a rest is not by the version of one without");
    assert!(!lock(true).expect("locked already"));
    assert!(lock(false).expect("unlocked"));
    assert_eq!(version(), before);
    let error = world.runtime.block_on(bucket.lock("none", true)).expect_err("no table").to_string();
    assert_eq!(error, "there is no table `l.none`");
}

/// The object would give the table more columns than Glue takes.
#[test]
fn a_table_that_becomes_full_keeps_the_rest_and_does_not_fail_the_object() {
    let world = World::new();
    let bucket = world.bucket("l");
    let fields: Vec<String> = (0..10_100).map(|n| format!("\"c{n}\":{n}")).collect();
    world.put("t/a.json", &[row(3, &fields.join(","))]);
    world.put("t/b.json", &[row(3, r#""c1":1"#), row(3, r#""c1":1,"late":true"#)]);
    let report = world.convert(&bucket, "t/a.json").expect("converted").expect("a report");
    assert_eq!((report.rows, report.with_rest.values().sum()), (1, 1));
    let report = world.convert(&bucket, "t/b.json").expect("converted").expect("a report");
    assert_eq!((report.rows, report.with_rest.values().sum()), (2, 1));
    let tables = world.tables("l");
    assert_eq!(tables[0]["Parameters"]["fms.schema"], "full");
    let columns = columns(&tables[0]);
    assert_eq!((columns.len(), columns.last().map(String::as_str)), (9_998, Some("_rest string")));
    assert_eq!(assert_settled(&tables[0]), 1);
}
