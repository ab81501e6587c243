//! The folders of `pipeline/sql/cases`: messages become rows of a lake, then of `daily_vehicle`, and the checks of
//! `deploy/quality` look at both. What became of them is a snapshot beside the messages.
//!
//! A case is a folder with `messages.ndjson`, a message on each line as a device sent it, and `case.toml`:
//!
//! - `description`: what was sent, and what is expected;
//! - `finds`: the checks that are there for it, each of which has to warn or fail;
//! - `now`: when the checks run; at two o'clock on the day after, if it is not given.
//!
//! The messages of `late.ndjson`, if it is there, come when the mart was built already.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use fms_lake::{Folder, Object, Settings, convert_object};
use fms_record::Parser;
use serde::Deserialize;
use serde_json::Value;

use crate::common::{program, query, run};
use crate::mart::harness::{MODELS, mart};

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cases");
const CHECKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/quality");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    description: String,
    #[serde(default)]
    finds: BTreeSet<String>,
    #[serde(default = "the_day_after")]
    now: String,
}

fn the_day_after() -> String {
    "2023-01-02T02:00:00Z".to_owned()
}

/// What became of messages.
#[derive(Debug, Default)]
struct Became {
    tables: BTreeSet<String>,
    dead: BTreeMap<String, u64>,
    held: BTreeMap<String, u64>,
}

/// Stores messages in a lake as the sink and the conversion do.
fn store(file: &Path, lake: &Path, became: &mut Became) {
    let mut rows = Vec::new();
    for message in fs::read(file).expect("messages").split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let mut parser = Parser::new(Some("measurements".to_owned()));
        let parsed = match parser.parse(message) {
            Ok(parsed) => parsed,
            Err(error) => {
                *became.dead.entry(error.to_string()).or_default() += 1;
                continue;
            }
        };
        for row in parsed.rows() {
            match row {
                Ok(row) => {
                    let name = |field: &str| row.get(field).unwrap_or_default().trim_matches('"').to_owned();
                    became.tables.insert(["object", "type", "command"].map(name).join("_"));
                    row.write_json(&mut rows);
                    rows.push(b'\n');
                }
                Err((_, error)) => *became.dead.entry(error.to_string()).or_default() += 1,
            }
        }
    }
    let key = format!("topics/{}.json", file.file_stem().and_then(|name| name.to_str()).expect("a name"));
    let object = Object { bucket: "raw".into(), key, version_id: None };
    let mut folder = Folder::new(lake);
    let report = convert_object(&Settings::default(), &object, || Ok(rows.as_slice()), &mut folder).expect("converted");
    for ((reason, column), rows) in report.quarantined {
        *became.held.entry(format!("{} of {column:?}", reason.as_str())).or_default() += rows;
    }
}

/// Runs a case, and says what became of its messages. The checks that found something are given as well.
fn result(folder: &Path, case: &Case) -> (String, BTreeSet<String>) {
    let lake = tempfile::tempdir().expect("a folder");
    let (lake, mut became) = (lake.path(), Became::default());
    let build = || mart(lake, MODELS.as_ref(), "apply", &["--select", "+daily_vehicle"]).done();
    store(&folder.join("messages.ndjson"), lake, &mut became);
    let mut built = build();
    let late = folder.join("late.ndjson");
    if late.exists() {
        store(&late, lake, &mut became);
        built = build();
    }
    let mut out = String::new();
    // Writing to a text does not fail.
    let _ = writeln!(out, "{}\n", case.description.trim());
    if late.exists() {
        let again = built.lines().filter(|line| line.starts_with("daily_vehicle"));
        for line in again {
            let _ = writeln!(out, "built again: {line}");
        }
    }
    for row in query(lake, "select * from daily_vehicle order by ymd, id") {
        let _ = writeln!(out, "daily_vehicle: {row}");
    }
    for (what, counts) in [("dead letter", &became.dead), ("quarantine", &became.held)] {
        for (reason, number) in counts {
            let _ = writeln!(out, "{what}: {number} times: {reason}");
        }
    }
    let mut checks = program();
    checks.args(["quality", "run", CHECKS, "--format", "json", "--now", &case.now, "--lake"]).arg(lake);
    checks.arg("--history").arg(lake).args(["--table", "daily_vehicle"]);
    for table in &became.tables {
        checks.args(["--table", table]);
    }
    let ran = run(&mut checks);
    let verdicts: Vec<Value> =
        ran.output.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{}", ran.error))).collect();
    let text = |verdict: &Value, name: &str| verdict[name].as_str().unwrap_or_default().to_owned();
    let mut found = BTreeSet::new();
    let (mut passed, mut ill) = (0, 0);
    for verdict in &verdicts {
        let outcome = text(verdict, "outcome");
        if outcome == "pass" {
            passed += 1;
            continue;
        }
        let name = format!("{}: {}", text(verdict, "table"), text(verdict, "check"));
        let _ = writeln!(out, "{outcome}: {name}: {}", text(verdict, "observed"));
        ill += 1;
        if outcome != "error" {
            found.insert(name);
        }
    }
    let _ = writeln!(out, "{passed} of {} checks passed", passed + ill);
    (out, found)
}

/// Compares a case with its snapshot, and says what is wrong with it.
fn check(folder: &Path) -> Result<(), String> {
    let name = folder.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
    let text = fs::read_to_string(folder.join("case.toml")).map_err(|error| format!("{name}: case.toml: {error}"))?;
    let case: Case = toml::from_str(&text).map_err(|error| format!("{name}: case.toml: {error}"))?;
    let (became, found) = result(folder, &case);
    let compared = catch_unwind(AssertUnwindSafe(|| {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(folder);
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!("result", became));
    }));
    let missed: Vec<&String> = case.finds.difference(&found).collect();
    match (missed.as_slice(), compared) {
        ([], Ok(())) => Ok(()),
        ([], Err(_)) => Err(format!("{name}: the snapshot is another one")),
        (missed, _) => Err(format!("{name}: not found by {missed:?}; found by {found:?}")),
    }
}

#[test]
fn each_anomaly_is_found_by_the_check_that_is_there_for_it() {
    let mut folders: Vec<PathBuf> =
        fs::read_dir(CASES).expect("the cases").map(|entry| entry.expect("an entry").path()).collect();
    folders.sort();
    assert!(folders.len() >= 25, "{} cases", folders.len());
    let (next, wrong) = (Mutex::new(folders.iter()), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let Some(folder) = next.lock().expect("not poisoned").next() else { break };
            if let Err(why) = check(folder) {
                wrong.lock().expect("not poisoned").push(why);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, Into::into) {
            scope.spawn(work);
        }
    });
    let wrong = wrong.into_inner().expect("not poisoned");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
