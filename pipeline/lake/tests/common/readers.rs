//! `DuckDB` and pyarrow as readers of a lake in a folder.
//!
//! They need a Python with both packages: `python3`, or the one that `E2E_PYTHON` names. Without it a test says so and
//! proves nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use fms_record::Parser;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures");

/// A Python that has both packages; says why there is none.
pub fn python() -> Option<String> {
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
pub fn raw_objects() -> BTreeMap<String, Vec<u8>> {
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

/// Has both readers compare every value of a lake with the raw rows. Without repeats, a row that was sent several times
/// may be there as often or less often, but not never.
pub fn compare(python: &str, raw: &Path, lake: &Path, without_repeats: bool) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/readers.py");
    let option = without_repeats.then_some("--without-repeats");
    let read = Command::new(python).arg(script).args([raw, lake]).args(option).output().expect("Python");
    let said = format!("{}{}", String::from_utf8_lossy(&read.stdout), String::from_utf8_lossy(&read.stderr));
    println!("{said}");
    assert!(read.status.success(), "{said}");
}
