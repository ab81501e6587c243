//! Readers that are not ours, `DuckDB` and pyarrow, read the rows of all fixtures of this fleet from the lake and
//! compare every value with the raw rows.

#[path = "common/readers.rs"]
mod readers;

use std::fs::{self, File};

use fms_lake::{Folder, Object, Settings, convert_object};
use jiff::tz::TimeZone;

use self::readers::{compare, python, raw_objects};

#[test]
fn duckdb_and_pyarrow_read_every_value_as_it_was_sent() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (raw, lake) = (folder.path().join("raw"), folder.path().join("lake"));
    let settings = Settings { zone: TimeZone::get("Asia/Seoul").expect("a zone"), ..Settings::default() };
    let mut written = Folder::new(&lake);
    for (key, rows) in raw_objects() {
        let path = raw.join(&key);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(&path, rows).expect("written");
        let object = Object { bucket: "raw".into(), key, version_id: None };
        // Converting twice leaves the same files.
        for _ in 0..2 {
            convert_object(&settings, &object, || File::open(&path), &mut written).expect("converted");
        }
    }
    compare(&python, &raw, &lake, false);
}
