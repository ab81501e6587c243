//! A column gets another type: what becomes of its values, wherever that dies and whoever else works at the same time.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fms_lake::{Alter, Altered, Bucket, Field, Object, Overview, Selection, Settings, Type};
use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use parquet::file::reader::{FileReader as _, SerializedFileReader};

use super::compaction::{LATER, compact, options};
use super::harness::{Action, World, columns, convert, row, row_of};
use super::interference::stride;
use super::{is, operation};

fn to(column: &str, to: Type) -> Arc<Alter> {
    Arc::new(Alter {
        table: "o_t_c".into(),
        column: column.into(),
        to,
        sort_fields: ["id", "timestamp_iso"].map(ToOwned::to_owned).into(),
        memory: 64 << 20,
        at_once: 1,
        now: Timestamp::now(),
    })
}

async fn alter(bucket: Bucket, options: Arc<Alter>) -> io::Result<Altered> {
    bucket.alter(&options).await
}

impl World {
    fn alter(&self, lake: &str, options: Arc<Alter>) -> Altered {
        self.runtime.block_on(alter(self.bucket(lake), options)).expect("altered")
    }

    /// An hour that is compacted, one that is and got a late file, one that is not, and one of a table that stays.
    fn before_alteration(&self, lake: &str) {
        self.put("t/seed.json", &[row(3, r#""n":2"#), row(3, r#""n":3"#), row(4, r#""n":4"#)]);
        self.put("t/more.json", &[row(3, r#""n":5"#), row(4, r#""n":6"#), row_of("p", 3, r#""n":7"#)]);
        let bucket = self.bucket(lake);
        for key in ["t/seed.json", "t/more.json"] {
            self.convert(&bucket, key).expect("converted");
        }
        self.compact(lake, "2023-01-01T06:00:00Z".parse().expect("a time"));
        self.put("t/late.json", &[row(4, r#""n":8"#), row(5, r#""n":9"#), row(5, r#""n":2.5"#)]);
        self.convert(&bucket, "t/late.json").expect("converted");
    }

    /// Asserts that every file to which readers of the table are sent has this type in its column, and gives how many
    /// files that are.
    #[track_caller]
    fn assert_typed(&self, lake: &str, column: &str, physical: &str, at: &str) -> usize {
        let (files, tables, mut count) = (self.files(lake), self.tables(lake), 0);
        let table =
            tables.as_array().expect("tables").iter().find(|table| table["Name"] == "o_t_c").expect("the table");
        for partition in table["Partitions"].as_array().expect("partitions") {
            assert_eq!(columns(partition), columns(table), "{at}");
            let location = partition["StorageDescriptor"]["Location"].as_str().expect("a location");
            let folder = location.strip_prefix("s3://lake/").expect("in the lake");
            for (path, file) in files.iter().filter(|(path, _)| path.starts_with(folder)) {
                let reader = SerializedFileReader::new(file.clone()).expect("a Parquet file");
                let schema = reader.metadata().file_metadata().schema_descr_ptr();
                let found = schema.columns().iter().find(|found| found.name() == column);
                let found = found.map(|found| found.physical_type().to_string());
                assert!(found.as_ref().is_none_or(|found| found == physical), "{at}, {path} has {found:?}");
                count += 1;
            }
        }
        count
    }

    fn quarantined(&self, bucket: &Bucket) -> u64 {
        let all = Selection::default();
        let parts = bucket.quarantine(all.clone(), move |file, bytes| Overview::of(file, bytes, &all));
        let parts: Vec<Overview> = self.runtime.block_on(parts.try_collect()).expect("read");
        parts.iter().flat_map(|part| part.0.values()).map(|group| group.rows).sum()
    }

    /// What readers see of the numbers, by how often.
    fn numbers(&self, lake: &str) -> BTreeMap<String, usize> {
        let numbers = self.seen(lake).into_iter().filter(|(row, _)| row.contains("o_t_c"));
        let number = |row: &str| row.split(' ').find(|field| field.starts_with("n=")).unwrap_or_default().to_owned();
        numbers.map(|(row, times)| (number(&row), times)).collect()
    }
}

/// What decides whether a file is written again is at its end, and a file may have 128 MiB.
#[test]
fn a_file_is_read_as_a_whole_only_to_be_written_again() {
    let world = World::new();
    world.before_alteration("l");
    let reads: Arc<[AtomicUsize; 2]> = Arc::default();
    let noted = Arc::clone(&reads);
    let bucket = world.disturbed("l", move |request| {
        if is(request, "GET", ".parquet") {
            noted[usize::from(request.headers().get("range").is_some())].fetch_add(1, Ordering::Relaxed);
        }
        Action::Pass
    });
    let altered = world.runtime.block_on(alter(bucket, to("n", Type::Double))).expect("altered");
    let [whole, ends] = [0, 1].map(|kind| reads[kind].load(Ordering::Relaxed) as u64);
    assert_eq!(whole, altered.files);
    assert!(ends >= altered.hours, "{ends} ends were read");
}

#[test]
fn every_file_has_the_new_type_and_rows_in_quarantine_fit_afterwards() {
    let world = World::new();
    world.before_alteration("l");
    let bucket = world.bucket("l");
    assert_eq!(world.quarantined(&bucket), 1);
    let altered = world.alter("l", to("n", Type::Double));
    assert_eq!((altered.is_changed, altered.hours, altered.files, altered.rows), (true, 3, 4, 7));
    assert_eq!(world.assert_typed("l", "n", "DOUBLE", "afterwards"), 4);
    let expected: BTreeMap<String, usize> = [2, 3, 4, 5, 6, 8, 9].iter().map(|n| (format!("n={n}.0"), 1)).collect();
    assert_eq!(world.numbers("l"), expected);
    let parameters = world.tables("l")[0]["Parameters"].clone();
    assert_eq!(
        (&parameters["fms.types.version"], &parameters["fms.altering"]),
        (&"2".into(), &serde_json::Value::Null)
    );

    let object = Object { bucket: "raw".into(), key: "t/late.json".into(), version_id: None };
    let settings = Arc::new(Settings::default());
    world.runtime.block_on(bucket.replay(&settings, &object)).expect("converted").expect("a report");
    assert_eq!(world.quarantined(&bucket), 0);
    let with_replayed: BTreeMap<String, usize> = expected.into_iter().chain([("n=2.5".to_owned(), 1)]).collect();
    assert_eq!(world.numbers("l"), with_replayed);
    assert!(!world.runtime.block_on(bucket.status(&[], &[])).expect("looked at").is_incomplete());

    let again = world.alter("l", to("n", Type::Double));
    assert_eq!(again, Altered::default());
    world.assert_clean_afterwards("l", "in the end");
    assert_eq!(world.numbers("l"), with_replayed);
    world.assert_typed("l", "n", "DOUBLE", "when it is compacted");
}

#[test]
fn scalars_become_texts_and_objects_that_are_converted_again_are_seen_once() {
    let world = World::new();
    world.before_alteration("l");
    world.alter("l", to("n", Type::String));
    assert_eq!(world.assert_typed("l", "n", "BYTE_ARRAY", "afterwards"), 4);
    let before = world.numbers("l");
    assert_eq!(before.keys().next().map(String::as_str), Some("n=\"2\""));
    for key in ["t/seed.json", "t/more.json"] {
        world.runtime.block_on(convert(world.bucket("l"), key.into(), true)).expect("converted");
    }
    assert_eq!(world.numbers("l"), before);
    world.assert_clean_afterwards("l", "in the end");
    assert_eq!(world.numbers("l"), before);
    // The same numbers, as texts of other forms.
    world.put("t/seed.json", &[row(3, r#""n":2.0"#), row(3, r#""n":"3""#), row(4, r#""n":4e0"#), row(3, r#""n":"x""#)]);
    world.convert(&world.bucket("l"), "t/seed.json").expect("converted");
    world.assert_clean_afterwards("l", "when it is merged");
    let merged: Vec<String> = world.numbers("l").into_keys().collect();
    assert_eq!(merged.len(), before.len() + 1, "{merged:?}");
    // The column by which rows are sorted may be text, too.
    world.alter("l", to("id", Type::String));
    world.assert_typed("l", "id", "BYTE_ARRAY", "afterwards");
}

#[test]
fn a_column_is_added_also_to_a_locked_table() {
    let world = World::new();
    world.before_alteration("l");
    let bucket = world.bucket("l");
    world.runtime.block_on(bucket.lock("o_t_c", true)).expect("locked");
    let add = |field: Field| world.runtime.block_on(bucket.add_column("o_t_c", &field));
    assert!(add(Field::new("m", Type::Double)).expect("added"));
    assert!(!add(Field::new("m", Type::Double)).expect("there"));
    let error = add(Field::new("m", Type::String)).expect_err("another type").to_string();
    assert!(error.contains("its column `m` is double, which has no room for"), "{error}");
    world.assert_typed("l", "m", "DOUBLE", "afterwards");
    let table = &world.tables("l")[0];
    assert_eq!(columns(table).last().map(String::as_str), Some("m double"));
    assert_eq!(table["Parameters"]["fms.schema"], "locked");
}

#[test]
fn what_cannot_be_altered_is_refused_and_nothing_changes() {
    let world = World::new();
    world.before_alteration("l");
    let refused = |options: Arc<Alter>| {
        let before = (world.files("l"), world.tables("l"));
        let error = world.runtime.block_on(alter(world.bucket("l"), options)).expect_err("refused").to_string();
        assert!(before == (world.files("l"), world.tables("l")), "{error}");
        error
    };
    assert!(refused(to("nn", Type::Double)).contains("it has no column `nn`; it has object, type, command, id"));
    assert!(refused(to("n", Type::Boolean)).contains("is bigint, which cannot become boolean"));
    assert!(refused(to("timestamp_iso", Type::String)).contains("is timestamp, which cannot become string"));
    let mut other = (*to("n", Type::Double)).clone();
    other.table = "none".into();
    assert!(refused(Arc::new(other)).contains("`l.none` is no table of the lake"));

    world.put("t/large.json", &[row(6, r#""n":9007199254740993"#)]);
    world.convert(&world.bucket("l"), "t/large.json").expect("converted");
    let tables = world.tables("l");
    let error = world.runtime.block_on(alter(world.bucket("l"), to("n", Type::Double))).expect_err("refused");
    assert!(error.to_string().contains("has 9007199254740993, which a double does not hold"), "{error}");
    assert_eq!(world.tables("l"), tables);
    assert!(world.numbers("l").contains_key("n=9007199254740993"));
    world.assert_clean_afterwards("l", "in the end");
}

#[test]
fn another_change_waits_for_the_one_that_has_begun() {
    let world = World::new();
    world.before_alteration("l");
    let dying = world.disturbed("l", |request| match operation(request) {
        "BatchUpdatePartition" => Action::Refuse,
        _ => Action::Pass,
    });
    world.runtime.block_on(alter(dying, to("n", Type::Double))).expect_err("dead");
    let error = world.runtime.block_on(alter(world.bucket("l"), to("id", Type::String))).expect_err("refused");
    assert!(error.to_string().contains("finish it first, by `--column n --to double`"), "{error}");
    assert!(world.alter("l", to("n", Type::Double)).is_resumed);
    world.alter("l", to("id", Type::String));
    world.assert_typed("l", "n", "DOUBLE", "afterwards");
}

#[test]
fn an_alteration_may_die_before_every_call() {
    die_at_every_call(false);
}

#[test]
fn an_alteration_may_die_before_the_answer_to_every_call() {
    die_at_every_call(true);
}

fn die_at_every_call(is_answer_lost: bool) {
    let world = World::new();
    for number in (0..).step_by(stride()) {
        let lake = format!("l{number}");
        world.before_alteration(&lake);
        let rows: usize = world.numbers(&lake).values().sum();
        let dying = world.dying(&lake, number, is_answer_lost);
        let died = world.runtime.block_on(alter(dying, to("n", Type::Double))).is_err();
        let at = format!("dead at call {number}");
        world.assert_once(&lake, &at);
        assert_eq!(world.numbers(&lake).values().sum::<usize>(), rows, "{at}");
        // Others go on meanwhile.
        world.put("t/x.json", &[row(3, r#""n":21"#), row(4, r#""n":22"#), row(6, r#""n":23"#)]);
        world.convert(&world.bucket(&lake), "t/x.json").expect("converted");
        world.compact(&lake, "2023-01-01T07:00:00Z".parse().expect("a time"));
        assert_eq!(world.numbers(&lake).values().sum::<usize>(), rows + 3, "{at}");
        world.alter(&lake, to("n", Type::Double));
        world.assert_typed(&lake, "n", "DOUBLE", &at);
        assert_eq!(world.numbers(&lake).values().sum::<usize>(), rows + 3, "{at}");
        world.assert_clean_afterwards(&lake, &at);
        world.assert_typed(&lake, "n", "DOUBLE", &at);
        world.expire_all(&lake);
        if !died {
            assert!(number > 20, "the alteration made {number} calls only");
            return;
        }
    }
}

/// A converter that has read the table before it was altered does not leave the earlier type anywhere.
#[test]
fn an_alteration_may_happen_at_every_call_of_a_converter() {
    let world = Arc::new(World::new());
    for number in (1..).step_by(stride()) {
        let lake = format!("l{number}");
        world.before_alteration(&lake);
        world.put("t/x.json", &[row(3, r#""n":21"#), row(4, r#""n":22"#), row(6, r#""n":23"#), row(6, r#""n":2.5"#)]);
        let (calls, other, is_over) = (AtomicUsize::new(0), world.beside(&lake), Arc::new(AtomicBool::new(true)));
        let over = Arc::clone(&is_over);
        let overtaken = world.disturbed(&lake, move |_| {
            if calls.fetch_add(1, Ordering::Relaxed) != number {
                return Action::Pass;
            }
            over.store(false, Ordering::Relaxed);
            let other = other.clone();
            Action::After(Box::pin(async move {
                alter(other, to("n", Type::Double)).await.expect("altered");
            }))
        });
        world.runtime.block_on(convert(overtaken, "t/x.json".into(), false)).expect("converted");
        let at = format!("altered at call {number}");
        if is_over.load(Ordering::Relaxed) {
            assert!(number > 12, "the conversion made {number} calls only");
            return;
        }
        world.assert_typed(&lake, "n", "DOUBLE", &at);
        let numbers = world.numbers(&lake);
        assert!(numbers.values().all(|&times| times == 1), "{at}: {numbers:?}");
        assert!(["n=21.0", "n=22.0", "n=23.0"].iter().all(|n| numbers.contains_key(*n)), "{at}: {numbers:?}");
        world.assert_clean_afterwards(&lake, &at);
        world.assert_typed(&lake, "n", "DOUBLE", &at);
        world.expire_all(&lake);
    }
}

#[test]
fn a_converter_and_a_compactor_may_work_at_every_call_of_an_alteration() {
    let world = Arc::new(World::new());
    for number in (0..).step_by(stride()) {
        let lake = format!("l{number}");
        world.before_alteration(&lake);
        world.put("t/x.json", &[row(3, r#""n":21"#), row(4, r#""n":22"#), row(6, r#""n":23"#)]);
        world.put("t/grow.json", &[row(4, r#""n":24,"m":1"#)]);
        let (calls, other, is_over) = (AtomicUsize::new(0), world.beside(&lake), Arc::new(AtomicBool::new(true)));
        let over = Arc::clone(&is_over);
        let working = world.disturbed(&lake, move |_| {
            if calls.fetch_add(1, Ordering::Relaxed) != number {
                return Action::Pass;
            }
            over.store(false, Ordering::Relaxed);
            let other = other.clone();
            Action::After(Box::pin(async move {
                for key in ["t/x.json", "t/grow.json"] {
                    convert(other.clone(), key.into(), false).await.expect("converted");
                }
                compact(other, options(Timestamp::now() - LATER)).await.expect("compacted");
            }))
        });
        world.runtime.block_on(alter(working, to("n", Type::Double))).expect("altered");
        let at = format!("others at call {number}");
        world.assert_typed(&lake, "n", "DOUBLE", &at);
        let numbers = world.numbers(&lake);
        assert!(numbers.values().all(|&times| times == 1), "{at}: {numbers:?}");
        if is_over.load(Ordering::Relaxed) {
            assert!(number > 20, "the alteration made {number} calls only");
            return;
        }
        assert!(["n=21.0", "n=22.0", "n=23.0", "n=24.0"].iter().all(|n| numbers.contains_key(*n)), "{at}: {numbers:?}");
        world.assert_clean_afterwards(&lake, &at);
        world.assert_typed(&lake, "n", "DOUBLE", &at);
        world.expire_all(&lake);
    }
}

/// Both conversions know the hour from before, so neither asks the catalog for it again.
#[test]
fn a_converter_that_read_the_table_before_writes_its_new_hour_by_the_new_type() {
    let world = Arc::new(World::new());
    world.before_alteration("l");
    world.put("t/x.json", &[row(7, r#""n":21"#)]);
    world.put("t/y.json", &[row(7, r#""n":22"#)]);
    let once = AtomicBool::new(true);
    let other = Arc::new(std::sync::Mutex::new(None::<Bucket>));
    let of_policy = Arc::clone(&other);
    let altering = world.beside("l");
    let bucket = world.disturbed("l", move |request| {
        if !(is(request, "PUT", "hour%3D07") && once.swap(false, Ordering::Relaxed)) {
            return Action::Pass;
        }
        let (same, altering) = (of_policy.lock().expect("no panic").clone().expect("set"), altering.clone());
        Action::After(Box::pin(async move {
            alter(altering, to("n", Type::Double)).await.expect("altered");
            convert(same, "t/y.json".into(), false).await.expect("converted");
        }))
    });
    *other.lock().expect("no panic") = Some(bucket.clone());
    world.runtime.block_on(convert(bucket, "t/x.json".into(), false)).expect("converted");
    *other.lock().expect("no panic") = None;
    world.assert_typed("l", "n", "DOUBLE", "afterwards");
    assert!(["n=21.0", "n=22.0"].iter().all(|n| world.numbers("l").contains_key(*n)), "{:?}", world.numbers("l"));
}
