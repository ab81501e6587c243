//! What is in quarantine is stored after its table has changed, wherever a replay dies and whoever else converts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fms_lake::{Bucket, Object, ObjectError, Overview, Report, Selection, Settings};
use futures_util::TryStreamExt as _;

use crate::harness::{Action, World, assert_settled, convert, row, row_of};
use crate::is;

fn object(key: &str) -> Object {
    Object { bucket: "raw".into(), key: key.into(), version_id: None }
}

async fn replay(bucket: Bucket, key: &str) -> Result<Option<Report>, ObjectError> {
    bucket.replay(&Arc::new(Settings::default()), &object(key)).await
}

/// A lake in which two rows of `t/a.json` did not fit the column `n`, which has another type by now, and one has no
/// time.
fn with_quarantine(world: &World, lake: &str) -> Bucket {
    let bucket = world.bucket(lake);
    for key in ["t/seed.json", "t/a.json"] {
        world.convert(&bucket, key).expect("converted").expect("a report");
    }
    retype(world, lake);
    bucket
}

fn put(world: &World) {
    let timeless = r#"{"object":"o","type":"t","command":"c","n":3}"#.to_owned();
    let values = [row(3, r#""n":1"#), row(3, r#""n":2.5"#), row(4, r#""n":0.5"#)];
    world.put("t/seed.json", &[row(3, r#""n":1"#)]);
    world.put("t/a.json", &[&values[..], &[row_of("p", 3, r#""n":1"#), timeless]].concat());
}

/// Somebody makes the column `n` of the table a `double`.
fn retype(world: &World, lake: &str) {
    world.runtime.block_on(async {
        let table = world.glue().table(lake, "o_t_c").await.expect("read").expect("the table");
        let mut input = table.into_input();
        let storage = input.storage_descriptor.as_mut().expect("columns");
        for column in storage.columns.iter_mut().filter(|column| column.name == "n") {
            column.data_type = "double".into();
        }
        let number: u64 = input.parameters["fms.columns.version"].parse().expect("a number");
        input.parameters.insert("fms.columns.version".into(), (number + 1).to_string());
        world.glue().update_table(lake, &input, None).await.expect("changed");
    });
}

/// The rows in quarantine, by reason.
fn quarantined(world: &World, bucket: &Bucket) -> BTreeMap<String, u64> {
    let all = Selection::default();
    let parts = bucket.quarantine(all.clone(), move |file, bytes| Overview::of(file, bytes, &all));
    let mut overview = Overview::default();
    world
        .runtime
        .block_on(parts.try_collect::<Vec<_>>())
        .expect("read")
        .into_iter()
        .for_each(|part| overview.add(part));
    let mut reasons = BTreeMap::new();
    for (kind, group) in overview.0 {
        *reasons.entry(kind.reason).or_default() += group.rows;
    }
    reasons
}

fn kinds(kinds: &[(&str, u64)]) -> BTreeMap<String, u64> {
    kinds.iter().map(|&(reason, rows)| (reason.to_owned(), rows)).collect()
}

#[test]
fn rows_that_fit_by_now_are_stored_and_the_others_stay() {
    let world = World::new();
    put(&world);
    let bucket = with_quarantine(&world, "l");
    assert_eq!(quarantined(&world, &bucket), kinds(&[("no-time", 1), ("type", 2)]));
    let report = world.runtime.block_on(replay(bucket.clone(), "t/a.json")).expect("converted").expect("a report");
    assert_eq!((report.rows, report.quarantined.values().sum()), (4, 1));
    assert_eq!(quarantined(&world, &bucket), kinds(&[("no-time", 1)]));
    assert_eq!(assert_settled(&world.tables("l")[0]), 2);
}

#[test]
fn a_replay_may_die_before_every_call() {
    die_at_every_call(false);
}

#[test]
fn a_replay_may_die_before_the_answer_to_every_call() {
    die_at_every_call(true);
}

/// Wherever a replay dies: no row is neither stored nor in quarantine while the object is on record as converted, and
/// the next replay leaves the lake as if it had not died.
fn die_at_every_call(is_answer_lost: bool) {
    let world = World::new();
    put(&world);
    let whole = with_quarantine(&world, "whole");
    world.runtime.block_on(replay(whole, "t/a.json")).expect("converted");
    let expected = world.state("whole");
    for death in 0.. {
        let lake = format!("l{death}");
        let bucket = with_quarantine(&world, &lake);
        let dying = world.dying(&lake, death, is_answer_lost);
        let is_dead = world.runtime.block_on(replay(dying, "t/a.json")).is_err();
        let left = quarantined(&world, &bucket);
        let is_found_again = left.contains_key("type") || left == kinds(&[("no-time", 1)]);
        assert!(is_found_again, "dead at call {death}, {left:?} is in quarantine");
        world.runtime.block_on(replay(bucket, "t/a.json")).expect("converted");
        assert_eq!(world.state(&lake), expected, "dead at call {death}");
        if !is_dead {
            assert!(death > 12, "the replay made {death} calls only");
            return;
        }
    }
}

/// The files of the other conversion are those of the table before it was changed.
#[test]
fn a_replay_beside_a_converter_of_the_same_object_leaves_the_lake_as_if_it_were_alone() {
    let world = World::new();
    put(&world);
    let whole = with_quarantine(&world, "whole");
    world.runtime.block_on(replay(whole, "t/a.json")).expect("converted");
    for (method, path) in [("PUT", "conversions"), ("PUT", "formatted"), ("PUT", "quarantine"), ("GET", "conversions")]
    {
        let lake = format!("{}-{path}", method.to_lowercase()).replace('/', "");
        let bucket = with_quarantine(&world, &lake);
        let once = AtomicBool::new(true);
        let overtaken = world.disturbed(&lake, move |request| {
            if is(request, method, path) && once.swap(false, Ordering::Relaxed) {
                let other = convert(bucket.clone(), "t/a.json".into(), true);
                return Action::After(Box::pin(async { drop(other.await.expect("converted")) }));
            }
            Action::Pass
        });
        world.runtime.block_on(replay(overtaken, "t/a.json")).expect("converted");
        assert_eq!(world.state(&lake), world.state("whole"), "{method} {path}");
    }
}

#[test]
fn an_object_is_not_replayed_by_other_settings_or_without_its_raw_object() {
    let world = World::new();
    put(&world);
    let bucket = with_quarantine(&world, "l");
    let before = world.state("l");
    let zone = fms_lake::TimeZone::get("Asia/Seoul").expect("a zone");
    let other = Arc::new(Settings { zone, ..Settings::default() });
    let error = world.runtime.block_on(bucket.replay(&other, &object("t/a.json"))).expect_err("refused");
    assert_eq!(error.reason(), "other-settings");
    let missing = world.runtime.block_on(replay(bucket.clone(), "t/gone.json")).expect_err("missing");
    assert_eq!(missing.reason(), "missing");
    let version = Object { version_id: Some("null".into()), ..object("t/a.json") };
    let another = world.runtime.block_on(bucket.replay(&Arc::new(Settings::default()), &version));
    assert!(another.is_ok_and(|report| report.is_none()), "another version is in the lake");
    assert_eq!(world.state("l"), before);
}
