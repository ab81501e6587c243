//! Readers that are not ours read every value of a lake in S3, before and after its compaction, and after columns have got
//! other types.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use fms_lake::{Alter, Object, Settings, TimeZone, Type};
use jiff::Timestamp;
use serde_json::json;

use super::compaction::{compact, options};
use super::harness::World;
use super::readers::{compare, python, raw_objects};

impl World {
    /// Writes a lake as a reader sees it into a folder: the files of every partition from where the catalog has them.
    fn export(&self, lake: &str, to: &Path) -> usize {
        let write = |path: String, content: &[u8]| {
            let path = to.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, content).expect("written");
        };
        let (files, mut count) = (self.files(lake), 0);
        for (path, content) in files.iter().filter(|(path, _)| path.starts_with("quarantine/")) {
            write(path.clone(), content);
        }
        let below = |location: &serde_json::Value| {
            let location = location["StorageDescriptor"]["Location"].as_str().expect("a location");
            location.strip_prefix("s3://lake/").expect("in the lake").to_owned()
        };
        for table in self.tables(lake).as_array().expect("tables") {
            let columns = table["StorageDescriptor"]["Columns"].as_array().expect("columns");
            let column = |column: &serde_json::Value| json!({"name": column["Name"], "type": column["Type"]});
            let columns: Vec<_> = columns.iter().map(column).collect();
            let entry = json!({"location": below(table), "version": 1, "columns": columns});
            write(format!("tables/{}.json", table["Name"].as_str().expect("a name")), entry.to_string().as_bytes());
            for partition in table["Partitions"].as_array().expect("partitions") {
                let folder = below(partition);
                let values = [0, 1].map(|key| partition["Values"][key].as_str().expect("a value"));
                let to = format!("{}ymd={}/hour={}", below(table), values[0], values[1]);
                for (path, content) in &files {
                    if let Some(name) = path.strip_prefix(&folder).filter(|_| path.ends_with(".parquet")) {
                        write(format!("{to}/{name}"), content);
                        count += 1;
                    }
                }
            }
        }
        count
    }
}

#[test]
fn duckdb_and_pyarrow_read_every_value_before_and_after_compaction_and_changes_of_types() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let (world, settings) = (World::new(), Settings { zone: zone(), ..Settings::default() });
    let (bucket, settings) = (world.bucket("l"), Arc::new(settings));
    let raw = path("raw");
    for (key, rows) in raw_objects() {
        // Two objects, so that there is something to merge.
        let end = rows[..rows.len() / 2].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for (half, rows) in [&rows[..end], &rows[end..]].into_iter().enumerate() {
            let key = format!("{half}/{key}");
            let file = raw.join(&key);
            fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            fs::write(file, rows).expect("written");
            world.put_bytes(&key, rows);
            let object = Object { bucket: "raw".into(), key, version_id: None };
            world.runtime.block_on(bucket.convert_current(&settings, &object)).expect("converted");
        }
    }
    let before = world.export("l", &path("before"));
    compare(&python, &raw, &path("before"), false);
    // Devices whose clocks are ahead send hours that are over late.
    let options = fms_lake::Compact { zone: zone(), ..options("2200-01-01T00:00:00Z".parse().expect("a time")) };
    let compacted = world.runtime.block_on(compact(bucket.clone(), options)).expect("compacted");
    let after = world.export("l", &path("after"));
    println!("{before} files became {after}: {compacted:?}");
    assert!(after < before && compacted.repeats > 0, "there is something to merge");
    compare(&python, &raw, &path("after"), true);

    for (table, column, to) in
        [("vehicle_kinematic_report", "seq", Type::Double), ("vehicle_status_report", "gear", Type::String)]
    {
        let (table, column, sort_fields) = (table.to_owned(), column.to_owned(), settings.sort_fields.clone());
        let now = Timestamp::now();
        let alteration = Arc::new(Alter { table, column, to, sort_fields, memory: 64 << 20, at_once: 1, now });
        let changed = world.runtime.block_on(bucket.alter(&alteration)).expect("altered");
        assert!(changed.is_changed && changed.files > 0, "{alteration:?}: {changed:?}");
    }
    world.export("l", &path("altered"));
    compare(&python, &raw, &path("altered"), true);
}

fn zone() -> TimeZone {
    TimeZone::get("Asia/Seoul").expect("a zone")
}
