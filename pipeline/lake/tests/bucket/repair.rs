//! What does not fit together is found and mended, wherever a repair dies and whoever else works at the same time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fms_glue::{Column, PartitionInput};
use fms_lake::{Bucket, Repair, Repaired};
use jiff::{SignedDuration, Timestamp};

use super::compaction::{LATER, compact, halfway, options};
use super::harness::{Action, World, assert_settled, convert, row, row_of};
use super::interference::stride;

/// A repair after the grace period.
fn later() -> Repair {
    let now = Timestamp::now() + SignedDuration::from_hours(1);
    Repair { tables: Vec::new(), grace: Duration::from_mins(1), now }
}

/// Repairs a lake. Gives what was found, and whether all of it was mended.
async fn repair(bucket: Bucket) -> io::Result<(Vec<String>, bool)> {
    let (mut found, mut is_whole) = (Vec::new(), true);
    for finding in bucket.repairing(&later()).await? {
        found.push(finding.to_string());
        is_whole &= finding.is_mendable() && bucket.repair(&finding).await? == Repaired::Mended;
    }
    Ok((found, is_whole))
}

impl World {
    fn findings(&self, lake: &str, options: &Repair) -> Vec<String> {
        let found = self.runtime.block_on(self.bucket(lake).repairing(options)).expect("looked at");
        found.iter().map(ToString::to_string).collect()
    }

    fn partition(&self, lake: &str, table: &str, hour: &str) -> PartitionInput {
        let values = ["2023-01-01", hour].map(ToOwned::to_owned).to_vec();
        let found = self.runtime.block_on(self.glue().partitions_by_values(lake, table, &[values]));
        found.expect("read").remove(0).into_input()
    }

    /// Changes a partition, as somebody might by hand.
    fn change(&self, lake: &str, hour: &str, change: impl Fn(&mut PartitionInput)) {
        let mut partition = self.partition(lake, "o_t_c", hour);
        change(&mut partition);
        let failed = self.runtime.block_on(self.glue().update_partitions(lake, "o_t_c", &[partition]));
        assert_eq!(failed.expect("changed"), []);
    }

    fn drop_partition(&self, lake: &str, table: &str, hour: &str) {
        let values = ["2023-01-01", hour].map(ToOwned::to_owned).to_vec();
        self.runtime.block_on(self.glue().delete_partitions(lake, table, &[values])).expect("dropped");
    }

    fn remove_files(&self, lake: &str, hour: &str) {
        let is_one = |path: &String| path.contains(&format!("hour={hour}/")) && path.ends_with(".parquet");
        for path in self.files(lake).into_keys().filter(is_one) {
            self.delete(lake, &path);
        }
    }
}

fn storage(partition: &mut PartitionInput) -> &mut fms_glue::StorageDescriptor {
    partition.storage_descriptor.as_mut().expect("files")
}

/// A lake in which one fault of each kind can be mended.
fn with_faults(world: &World, lake: &str) {
    world.begin(lake);
    world.put("t/more.json", &[row(5, r#""n":5"#), row(6, r#""n":6"#), row(7, r#""n":7"#)]);
    world.convert(&world.bucket(lake), "t/more.json").expect("converted");
    world.drop_partition(lake, "p_t_c", "03");
    world.change(lake, "04", |partition| storage(partition).columns.push(Column::new("odd", "string")));
    world.change(lake, "05", |partition| storage(partition).location = Some(format!("s3://lake/{lake}/elsewhere/")));
    world.remove_files(lake, "07");
}

#[test]
fn each_fault_is_said_in_a_sentence_and_mended() {
    let world = World::new();
    with_faults(&world, "l");
    let found = world.findings("l", &later());
    insta::assert_snapshot!(found.join("\n"), @"
    o_t_c, ymd=2023-01-01/hour=04: the partition differs from the table in `odd`; it gets the table's columns
    o_t_c, ymd=2023-01-01/hour=05: the catalog sends readers to `s3://lake/l/elsewhere/`, which has not all rows; it sends them to the rows
    o_t_c, ymd=2023-01-01/hour=07: the partition has no files; it leaves the catalog
    p_t_c, ymd=2023-01-01/hour=03: 1 file is in no partition, so readers do not find the rows; the catalog gets the partition
    ");
    let (again, is_whole) = world.runtime.block_on(repair(world.bucket("l"))).expect("repaired");
    assert_eq!((again, is_whole), (found, true));
    assert_eq!(world.findings("l", &later()), [""; 0]);
    assert_eq!(assert_settled(&world.tables("l")[0]), 4);
    assert_eq!(world.assert_once("l", "in the end").len(), 7);
}

#[test]
fn what_fits_together_and_what_is_just_being_written_is_no_fault() {
    let world = World::new();
    halfway(&world, "l");
    assert_eq!(world.findings("l", &later()), [""; 0]);
    world.compact("l", Timestamp::now() + LATER);
    assert_eq!(world.findings("l", &later()), [""; 0]);
    world.put("t/new.json", &[row(8, r#""n":8"#)]);
    let dying = world.disturbed("l", |request| match super::operation(request) {
        "BatchCreatePartition" => Action::Refuse,
        _ => Action::Pass,
    });
    world.convert(&dying, "t/new.json").expect_err("dead");
    assert_eq!(world.findings("l", &Repair { now: Timestamp::now(), ..later() }), [""; 0], "the file is young");
    assert_eq!(world.findings("l", &later()).len(), 1);
}

#[test]
fn what_only_people_can_mend_is_said_with_what_to_do() {
    let world = World::new();
    world.begin("l");
    world.compact("l", Timestamp::now());
    let is_of = |path: &String, hour: &str| path.contains("object=o/") && path.contains(hour);
    let files = world.files("l");
    let compacted = files.keys().find(|path| is_of(path, "hour=03/") && path.ends_with("/00000.parquet"));
    world.delete("l", compacted.expect("a compacted file"));
    let manifest = files.keys().find(|path| is_of(path, "hour=04/") && path.ends_with("manifest.json"));
    world.delete("l", manifest.expect("a manifest"));
    world.runtime.block_on(world.glue().delete_table("l", "p_t_c")).expect("deleted");
    let found = world.findings("l", &later());
    insta::assert_snapshot!(found.join("\n"), @"
    o_t_c, ymd=2023-01-01/hour=03: compacted files are gone: 00000.parquet; restore earlier versions of them
    o_t_c, ymd=2023-01-01/hour=04: the catalog sends readers to compacted files, and what says which rows are in them is gone; restore s3://lake/l/compacted/object=o/type=t/command=c/ymd=2023-01-01/hour=04/manifest.json
    object=p/type=t/command=c: there are files and no table; convert one of their raw objects with --again, which creates the table, and repair the lake again
    ");
    let (_, is_whole) = world.runtime.block_on(repair(world.bucket("l"))).expect("looked at");
    assert!(!is_whole);
    let one = Repair { tables: vec!["o_t_c".into()], ..later() };
    assert_eq!(world.findings("l", &one).len(), 2);
}

#[test]
fn a_repair_may_die_at_every_call_and_is_finished_by_the_next() {
    for is_answer_lost in [false, true] {
        let world = World::new();
        for number in (0..).step_by(stride()) {
            let lake = format!("l{number}");
            with_faults(&world, &lake);
            let dying = world.dying(&lake, number, is_answer_lost);
            let died = world.runtime.block_on(repair(dying)).is_err();
            let at = format!("dead at call {number}");
            world.assert_once(&lake, &at);
            world.runtime.block_on(repair(world.bucket(&lake))).expect("repaired");
            assert_eq!(world.findings(&lake, &later()), [""; 0], "{at}");
            assert_eq!(world.assert_once(&lake, &at).len(), 7, "{at}");
            if !died {
                assert!(number > 8, "the repair made {number} calls only");
                break;
            }
        }
    }
}

/// The other process knows the partitions: it has converted an object with rows of the same hours before.
#[test]
fn a_converter_or_compactor_may_work_at_every_call_of_a_repair() {
    let world = Arc::new(World::new());
    for number in (0..).step_by(stride()) {
        let lake = format!("l{number}");
        world.put("t/x.json", &[row(7, r#""n":21"#), row(4, r#""n":22"#), row_of("p", 3, r#""n":23"#)]);
        let other = world.bucket(&lake);
        world.begin(&lake);
        world.put("t/more.json", &[row(5, r#""n":5"#), row(6, r#""n":6"#), row(7, r#""n":7"#)]);
        world.convert(&other, "t/more.json").expect("converted");
        with_faults(&world, &lake);
        let (calls, count) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counting = Arc::clone(&count);
        let working = world.disturbed(&lake, move |_| {
            counting.fetch_add(1, Ordering::Relaxed);
            if calls.fetch_add(1, Ordering::Relaxed) != number {
                return Action::Pass;
            }
            let other = other.clone();
            Action::After(Box::pin(async move {
                convert(other.clone(), "t/x.json".into(), false).await.expect("converted");
                // It refuses the partition that is misdirected, as long as it is.
                let _ = compact(other, options(Timestamp::now())).await;
            }))
        });
        world.runtime.block_on(repair(working)).expect("repaired");
        let at = format!("another at call {number}");
        let seen = world.assert_once(&lake, &at);
        if count.load(Ordering::Relaxed) <= number {
            assert!(number > 8, "the repair made {number} calls only");
            return;
        }
        for (n, hour) in [("n=21", 7), ("n=22", 4)] {
            assert!(seen.iter().any(|row| row.contains(n)), "{at}, readers miss {n} of hour {hour}: {seen:?}");
        }
        world.runtime.block_on(repair(world.bucket(&lake))).expect("repaired");
        assert_eq!(world.findings(&lake, &later()), [""; 0], "{at}");
        assert_eq!(world.assert_once(&lake, &at).len(), 10, "{at}");
    }
}
