//! Compaction: what becomes of the rows of hours that are over, and of the files that come late. A reader that asks the
//! catalog and then reads all files where it is sent sees no row twice.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fms_lake::{Bucket, Compact, Compacted, TimeZone};
use jiff::{SignedDuration, Timestamp};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;

use super::harness::{Action, World, columns, convert, row, row_of};
use super::operation;

/// Two days, which is longer than the grace period.
pub const LATER: SignedDuration = SignedDuration::from_hours(48);

pub fn options(now: Timestamp) -> Compact {
    Compact {
        tables: Vec::new(),
        zone: TimeZone::UTC,
        sort_fields: ["id", "timestamp_iso"].map(ToOwned::to_owned).into(),
        dedup_key: Vec::new(),
        target_size: 128 << 20,
        memory: 64 << 20,
        closed_after: Duration::from_hours(1),
        grace: Duration::from_hours(24),
        now,
        dry_run: false,
    }
}

pub async fn compact(bucket: Bucket, options: Compact) -> io::Result<Compacted> {
    let (options, mut sum) = (Arc::new(options), Compacted::default());
    for partition in bucket.compacting(&options).await? {
        sum.add(&bucket.compact(&options, &partition).await?);
    }
    Ok(sum)
}

/// The rows of files that were read before. A reader that looks before every call mostly sees the same ones.
static READ: LazyLock<Mutex<HashMap<Bytes, Vec<String>>>> = LazyLock::new(Mutex::default);

/// The rows of a file in their order: the fields that have a value.
fn rows_of(file: &Bytes) -> Vec<String> {
    if let Some(rows) = READ.lock().expect("no panic").get(file) {
        return rows.clone();
    }
    let reader = SerializedFileReader::new(file.clone()).expect("a Parquet file");
    let rows = reader.get_row_iter(None).expect("rows").map(|row| {
        let row = row.expect("a row");
        let fields = row.get_column_iter().filter(|(name, field)| {
            !matches!(field, Field::Null) && !["object", "type", "command"].contains(&name.as_str())
        });
        fields.map(|(name, field)| format!("{name}={field}")).collect::<Vec<_>>().join(" ")
    });
    let rows: Vec<String> = rows.collect();
    READ.lock().expect("no panic").insert(file.clone(), rows.clone());
    rows
}

impl World {
    /// Every row of a lake, with how often a reader sees it.
    pub fn seen(&self, lake: &str) -> BTreeMap<String, usize> {
        let files = self.files(lake);
        let mut seen = BTreeMap::new();
        for table in self.tables(lake).as_array().expect("tables") {
            for partition in table["Partitions"].as_array().expect("partitions") {
                let location = partition["StorageDescriptor"]["Location"].as_str().expect("a location");
                let folder = location.strip_prefix("s3://lake/").expect("in the lake");
                for (_, file) in files.iter().filter(|(path, _)| path.starts_with(folder)) {
                    for row in rows_of(file) {
                        *seen.entry(format!("{}: {row}", table["Name"])).or_default() += 1;
                    }
                }
            }
        }
        seen
    }

    #[track_caller]
    pub fn assert_once(&self, lake: &str, at: &str) -> BTreeSet<String> {
        let seen = self.seen(lake);
        assert!(seen.values().all(|&times| times == 1), "a row is seen twice {at}: {seen:#?}");
        seen.into_keys().collect()
    }

    pub fn compact(&self, lake: &str, now: Timestamp) -> Compacted {
        self.runtime.block_on(compact(self.bucket(lake), options(now))).expect("compacted")
    }

    /// Compacts until nothing is left to do, and asserts that only the files that readers see are left.
    #[track_caller]
    pub fn assert_clean_afterwards(&self, lake: &str, at: &str) {
        let now = Timestamp::now();
        let before = self.assert_once(lake, at);
        for round in 0_i32.. {
            // After all that the test has done until now.
            let compacted = self.compact(lake, now + LATER * (round + 4));
            assert_eq!(compacted.left, 0, "{at}");
            if compacted.partitions == 0 && compacted.removed == 0 && round > 1 {
                break;
            }
            assert!(round < 8, "there is always something to compact {at}: {compacted:?}");
        }
        let after = self.assert_once(lake, at);
        assert!(after.is_superset(&before), "{at}");
        let left: Vec<String> = self.files(lake).into_keys().filter(|path| path.ends_with(".parquet")).collect();
        let partitions = self.tables(lake);
        let partitions: usize = partitions
            .as_array()
            .expect("tables")
            .iter()
            .map(|table| table["Partitions"].as_array().map_or(0, Vec::len))
            .sum();
        assert_eq!(left.len(), partitions, "{at}: {left:#?}");
        assert!(left.iter().all(|path| path.starts_with("compacted/")), "{at}: {left:#?}");
    }

    /// Two small objects with rows of two tables in an hour, converted.
    pub fn begin(&self, lake: &str) {
        self.put("t/a.json", &[row(3, r#""n":1"#), row(3, r#""n":2"#), row_of("p", 3, r#""n":1"#)]);
        self.put("t/b.json", &[row(3, r#""n":3"#), row(4, r#""n":4"#)]);
        for key in ["t/a.json", "t/b.json"] {
            self.convert(&self.bucket(lake), key).expect("converted");
        }
    }
}

/// A lake in which one compaction is behind and one, with late files and an object converted again, is ahead.
pub fn halfway(world: &World, lake: &str) {
    world.begin(lake);
    world.compact(lake, Timestamp::now());
    world.put("t/late.json", &[row(3, r#""n":9"#)]);
    world.put("t/grow.json", &[row(4, r#""m":9"#)]);
    for key in ["t/late.json", "t/grow.json"] {
        world.convert(&world.bucket(lake), key).expect("converted");
    }
    world.runtime.block_on(convert(world.bucket(lake), "t/a.json".into(), true)).expect("converted");
}

#[test]
fn small_files_become_a_sorted_one_without_repeats_and_are_removed_after_the_grace_period() {
    let world = World::new();
    let bucket = world.bucket("l");
    world.put("t/a.json", &[row(3, r#""n":3"#), row(3, r#""n":1"#).replace(r#""id":1"#, r#""id":2"#)]);
    world.put("t/b.json", &[row(3, r#""n":3"#), row(3, r#""m":"x""#).replace(r#""id":1"#, r#""id":0"#)]);
    for key in ["t/a.json", "t/b.json"] {
        world.convert(&bucket, key).expect("converted");
    }
    let now = Timestamp::now();
    let compacted = world.compact("l", now);
    assert_eq!((compacted.partitions, compacted.files_before, compacted.files_after), (1, 2, 1));
    assert_eq!((compacted.rows, compacted.repeats, compacted.removed), (3, 1, 0));
    let rows = world.assert_once("l", "after the compaction");
    assert_eq!(rows.len(), 3);
    let files = world.files("l");
    let (path, file) = files.iter().find(|(path, _)| path.ends_with("/00000.parquet")).expect("a compacted file");
    let ids: Vec<String> =
        rows_of(file).iter().map(|row| row.split(' ').next().unwrap_or_default().to_owned()).collect();
    assert_eq!(ids, ["id=0", "id=1", "id=2"]);
    let table = &world.tables("l")[0];
    assert_eq!(columns(&table["Partitions"][0]), columns(table));
    let location = table["Partitions"][0]["StorageDescriptor"]["Location"].as_str().expect("a location").to_owned();
    assert!(format!("s3://lake/{path}").starts_with(&location), "{path} is not in {location}");

    let puts = world.calls("PutObject", "lake/");
    let nothing = Compacted { unchanged: 1, ..Compacted::default() };
    assert_eq!((world.compact("l", now), world.calls("PutObject", "lake/")), (nothing, puts));
    assert_eq!(world.compact("l", now + LATER).removed, 2);
    assert_eq!(world.assert_once("l", "after the grace period"), rows);
    world.assert_clean_afterwards("l", "in the end");
}

#[test]
fn only_hours_that_are_over_are_compacted_and_a_dry_run_changes_nothing() {
    let world = World::new();
    world.begin("l");
    let before = world.files("l");
    let at = |time: &str| time.parse::<Timestamp>().expect("a time");
    assert_eq!(world.compact("l", at("2023-01-01T04:59:59Z")), Compacted::default());
    let dry = Compact { dry_run: true, ..options(at("2023-01-01T05:00:00Z")) };
    let dry = world.runtime.block_on(compact(world.bucket("l"), dry)).expect("foreseen");
    assert_eq!((dry.partitions, dry.files_before), (2, 3));
    assert_eq!(world.files("l"), before);
    let one = Compact { tables: vec!["p_t_c".into()], ..options(at("2023-01-01T05:00:00Z")) };
    assert_eq!(world.runtime.block_on(compact(world.bucket("l"), one)).expect("compacted").partitions, 1);
    let none = Compact { tables: vec!["x".into()], ..options(Timestamp::now()) };
    let error = world.runtime.block_on(compact(world.bucket("l"), none)).expect_err("no such table").to_string();
    assert!(error.contains("`l.x`"), "{error}");
}

#[test]
fn rows_go_into_as_many_files_as_their_size_asks_for() {
    let world = World::new();
    let rows: Vec<String> = (0..20_000).map(|n| row(3, &format!(r#""n":{}"#, (n * 7919) % 20_000))).collect();
    world.put("t/a.json", &rows);
    world.convert(&world.bucket("l"), "t/a.json").expect("converted");
    let small =
        Compact { sort_fields: vec!["n".into()], target_size: 20_000, memory: 100_000, ..options(Timestamp::now()) };
    let compacted = world.runtime.block_on(compact(world.bucket("l"), small)).expect("compacted");
    assert!(compacted.files_after > 2, "{compacted:?}");
    let files = world.files("l");
    let files = files.iter().filter(|(path, _)| path.starts_with("compacted/") && path.ends_with(".parquet"));
    let found: Vec<String> = files.flat_map(|(_, file)| rows_of(file)).collect();
    let of = |n: i64| format!("n={n}");
    assert!(found.iter().map(|row| row.rsplit(' ').next().unwrap_or_default()).eq((0..20_000).map(of)));
}

#[test]
fn rows_with_the_same_key_are_repeats_and_a_key_that_a_table_lacks_is_an_error() {
    let world = World::new();
    world.begin("l");
    let key = |name: &str| Compact { dedup_key: vec![name.to_owned()], ..options(Timestamp::now()) };
    let error = world.runtime.block_on(compact(world.bucket("l"), key("nn"))).expect_err("no such column").to_string();
    assert!(error.contains("`nn`"), "{error}");
    let compacted = world.runtime.block_on(compact(world.bucket("l"), key("command"))).expect("compacted");
    assert_eq!((compacted.rows, compacted.repeats), (3, 2), "rows of one vehicle and time are the same");
}

#[test]
fn a_partition_whose_rows_may_be_elsewhere_is_refused() {
    let world = World::new();
    world.begin("l");
    let error = || {
        let compacted = world.runtime.block_on(compact(world.bucket("l"), options(Timestamp::now())));
        compacted.expect_err("refused").to_string()
    };
    let partition = || {
        let found = world.runtime.block_on(world.glue().partitions("l", "p_t_c", None));
        found.expect("read").remove(0).into_input()
    };
    let moved = |to: &str| {
        let mut partition = partition();
        partition.storage_descriptor.as_mut().expect("files").location = Some(to.to_owned());
        world.runtime.block_on(world.glue().update_partitions("l", "p_t_c", &[partition])).expect("moved");
    };
    moved("s3://elsewhere/x/");
    assert!(error().contains("s3://elsewhere/x/"));
    moved("s3://lake/l/compacted/object=p/type=t/command=c/ymd=2023-01-01/hour=03/x/");
    assert!(error().contains("manifest.json"), "a manifest that was lost");
}

#[test]
fn a_file_that_comes_late_is_seen_at_once_and_merged_by_the_next_compaction() {
    let world = World::new();
    world.begin("l");
    let now = Timestamp::now();
    world.compact("l", now);
    world.put("t/late.json", &[row(3, r#""n":9"#), row(5, r#""n":9"#)]);
    let before = world.assert_once("l", "before");
    world.convert(&world.bucket("l"), "t/late.json").expect("converted");
    assert_eq!(world.assert_once("l", "when it has come").len(), before.len() + 2);
    let compacted = world.compact("l", now);
    assert_eq!((compacted.partitions, compacted.repeats), (2, 0));
    assert_eq!(world.assert_once("l", "when it is merged").len(), before.len() + 2);
    world.assert_clean_afterwards("l", "in the end");
}

/// An object that is converted again is neither seen twice nor lost: before and after its files were removed, with the
/// same columns and with more, and when it has rows that it did not have before.
#[test]
fn an_object_that_is_converted_again_is_seen_once() {
    let world = World::new();
    world.begin("l");
    let (now, bucket) = (Timestamp::now(), world.bucket("l"));
    let again = |key: &str| world.runtime.block_on(convert(bucket.clone(), key.into(), true)).expect("converted");
    let all = world.assert_once("l", "before");
    for round in 0..3 {
        world.compact("l", now + LATER * round);
        again("t/a.json");
        assert_eq!(world.assert_once("l", "by the same table"), all, "{round}");
    }
    world.put("t/grow.json", &[row(7, r#""m":1"#)]);
    world.convert(&bucket, "t/grow.json").expect("the table grows");
    again("t/a.json");
    let all = world.assert_once("l", "by a table with more columns");
    let compacted = world.compact("l", now + LATER * 3);
    assert_eq!((compacted.partitions, compacted.repeats), (2, 2), "the two rows of the hour 3, and the new hour");
    assert_eq!(world.assert_once("l", "when it is merged again"), all);

    world.put("t/a.json", &[row(3, r#""n":1"#), row(3, r#""n":77"#)]);
    world.convert(&bucket, "t/a.json").expect("converted");
    world.compact("l", now + LATER * 3);
    let found = world.assert_once("l", "with another row");
    assert_eq!(found.difference(&all).filter(|row| row.contains("n=77")).count(), 1);
    assert!(found.is_superset(&all), "what is in compacted files stays there");
    world.assert_clean_afterwards("l", "in the end");
}

#[test]
fn a_late_file_that_its_object_does_not_have_any_more_is_removed_everywhere() {
    let world = World::new();
    world.begin("l");
    world.compact("l", Timestamp::now());
    let before = world.assert_once("l", "before");
    world.put("t/late.json", &[row(3, r#""n":9"#)]);
    world.convert(&world.bucket("l"), "t/late.json").expect("converted");
    world.put("t/late.json", &["no JSON".into()]);
    world.convert(&world.bucket("l"), "t/late.json").expect("converted");
    assert_eq!(world.assert_once("l", "afterwards"), before);
    assert!(!world.files("l").keys().any(|path| path.ends_with(".parquet") && path.contains("/late-")));
}

/// Glue replaces a partition whatever its state is, so giving it columns may send readers back.
#[test]
fn readers_who_are_sent_back_by_a_change_of_columns_see_all_rows_and_are_sent_on_by_the_next_compaction() {
    let world = Arc::new(World::new());
    world.begin("l");
    world.put("t/grow.json", &[row(5, r#""m":9"#)]);
    world.put("t/late.json", &[row(3, r#""n":21"#)]);
    let (of_converter, once) = (Arc::clone(&world), AtomicUsize::new(0));
    let growing = world.disturbed("l", move |request| {
        let is_first = operation(request) == "BatchUpdatePartition" && once.fetch_add(1, Ordering::Relaxed) == 0;
        if !is_first {
            return Action::Pass;
        }
        let bucket = of_converter.beside("l");
        Action::After(Box::pin(async move {
            compact(bucket.clone(), options(Timestamp::now())).await.expect("compacted");
            convert(bucket, "t/late.json".into(), false).await.expect("converted");
        }))
    });
    world.convert(&growing, "t/grow.json").expect("converted");
    let location = |world: &World| world.tables("l")[0]["Partitions"][0]["StorageDescriptor"]["Location"].clone();
    assert!(location(&world).to_string().contains("formatted/"), "the test is at the right place");
    let seen = world.assert_once("l", "at the folder before");
    assert!(seen.iter().any(|row| row.contains("n=21")) && seen.len() == 7, "{seen:?}");
    world.compact("l", Timestamp::now() + LATER);
    assert!(location(&world).to_string().contains("compacted/"));
    assert_eq!(world.assert_once("l", "at the current folder"), seen);
    world.assert_clean_afterwards("l", "in the end");
}

#[test]
fn a_partition_that_was_dropped_comes_back_at_its_current_folder() {
    let world = World::new();
    world.begin("l");
    let all = world.assert_once("l", "before");
    for round in 0..2 {
        world.compact("l", Timestamp::now() + LATER * round);
    }
    let values = [["2023-01-01", "03"].map(ToOwned::to_owned).to_vec()];
    world.runtime.block_on(world.glue().delete_partitions("l", "o_t_c", &values)).expect("dropped");
    world.put("t/late.json", &[row(3, r#""n":21"#)]);
    world.convert(&world.bucket("l"), "t/late.json").expect("converted");
    let found = world.assert_once("l", "afterwards");
    assert!(found.is_superset(&all) && found.len() == all.len() + 1, "{found:?}");
}
