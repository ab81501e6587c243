//! Readers that are not ours, `DuckDB` and pyarrow, read the rows of all fixtures of this fleet from the lake and
//! compare every value with the raw rows.
//!
//! They need a Python with both packages: `python3`, or the one that `E2E_PYTHON` names. Without it the test says so
//! and proves nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use fms_lake::{Folder, Object, Settings, convert_object};
use fms_record::Parser;
use jiff::tz::TimeZone;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures");

/// A Python that has both packages; says why there is none.
fn python() -> Option<String> {
    let python = std::env::var("E2E_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let import = Command::new(&python).args(["-c", "import duckdb, pyarrow"]).output();
    let problem = match import {
        Ok(output) if output.status.success() => return Some(python),
        Ok(output) => String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned(),
        Err(error) => error.to_string(),
    };
    println!(
        "SKIPPED: `{python}` cannot read the lake: {problem}. `pip install -r pipeline/lake/tests/requirements.txt`, or name \
         another interpreter in E2E_PYTHON"
    );
    None
}

/// The rows of every case of this fleet's own protocols as raw objects, as the S3 sink writes them.
fn raw_objects() -> BTreeMap<String, Vec<u8>> {
    let mut objects = BTreeMap::new();
    let mut parser = Parser::new(Some("measurements".into()));
    let folders = |folder: &Path| -> Vec<_> {
        let entries = fs::read_dir(folder).expect("a folder of fixtures").map(|entry| entry.expect("an entry").path());
        entries.filter(|path| path.is_dir()).collect()
    };
    for protocol in folders(Path::new(FIXTURES)) {
        for case in folders(&protocol) {
            let Ok(messages) = fs::read(case.join("messages.ndjson")) else { continue };
            let mut rows = Vec::new();
            for message in messages.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"{\"$record\"")) {
                let Ok(message) = parser.parse(message) else { continue };
                for row in message.rows().flatten() {
                    row.write_json(&mut rows);
                    rows.push(b'\n');
                }
            }
            let name = case.strip_prefix(FIXTURES).expect("below the fixtures").display().to_string();
            objects.insert(format!("{name}.json"), rows);
        }
    }
    objects
}

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
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/readers.py");
    let read = Command::new(python).arg(script).args([&raw, &lake]).output().expect("Python");
    let said = format!("{}{}", String::from_utf8_lossy(&read.stdout), String::from_utf8_lossy(&read.stderr));
    println!("{said}");
    assert!(read.status.success(), "{said}");
}
