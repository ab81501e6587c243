//! The folders of `pipeline/sql/cases`: messages become rows of a lake, then of `daily_vehicle`, and the checks of
//! `deploy/quality` look at both. What became of them is a snapshot beside the messages.
//!
//! A case is a folder with `messages.ndjson`, a message on each line as a device sent it, and `case.toml`:
//!
//! - `description`: what was sent, and what is expected;
//! - `finds`: the checks that are there for it, each of which has to find rows of its vehicles.
//!
//! The messages of `late.ndjson`, if it is there, come when the mart was built already. All cases are in one lake, of
//! 1 January 2023, which is checked once on the day after: so a case takes next to no time, and needs vehicles of its own,
//! whose ids are in the rows and in all texts by which rows are told apart.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

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
struct Written {
    description: String,
    #[serde(default)]
    finds: BTreeSet<String>,
}

/// A case, and what became of it.
#[derive(Debug)]
struct Case {
    name: String,
    folder: PathBuf,
    written: Written,
    vehicles: BTreeSet<u64>,
    dead: BTreeMap<String, u64>,
    held: BTreeMap<String, u64>,
    /// How many rows a check has found.
    found: BTreeMap<String, u64>,
}

impl Case {
    fn read(folder: PathBuf) -> Self {
        let name = folder.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let text = fs::read_to_string(folder.join("case.toml")).expect("case.toml");
        let written = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: case.toml: {error}"));
        let (vehicles, dead, held, found) = Default::default();
        Self { name, folder, written, vehicles, dead, held, found }
    }

    /// Stores the messages of a file in a lake, as the sink and the conversion do.
    fn store(&mut self, file: &str, lake: &Path) {
        let Ok(messages) = fs::read(self.folder.join(file)) else { return };
        let mut rows = Vec::new();
        for message in messages.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let mut parser = Parser::new(Some("measurements".to_owned()));
            let parsed = match parser.parse(message) {
                Ok(parsed) => parsed,
                Err(error) => {
                    *self.dead.entry(error.to_string()).or_default() += 1;
                    continue;
                }
            };
            for row in parsed.rows() {
                match row {
                    Ok(row) => {
                        self.vehicles.extend(row.get("id").and_then(|id| id.parse::<u64>().ok()));
                        row.write_json(&mut rows);
                        rows.push(b'\n');
                    }
                    Err((_, error)) => *self.dead.entry(error.to_string()).or_default() += 1,
                }
            }
        }
        let object = Object { bucket: "raw".into(), key: format!("topics/{}/{file}", self.name), version_id: None };
        let report = convert_object(&Settings::default(), &object, || Ok(rows.as_slice()), &mut Folder::new(lake));
        for ((reason, column), rows) in report.expect("converted").quarantined {
            *self.held.entry(format!("{} of {column:?}", reason.as_str())).or_default() += rows;
        }
    }

    /// Whether a row is of its vehicles: by its `id`, or by a text in which the id is.
    fn has(&self, row: &Value) -> bool {
        let values = row.as_object().into_iter().flatten();
        let of_text = |text: &str| -> Vec<u64> {
            text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
        };
        let mut ids = values.flat_map(|(name, value)| match value {
            Value::Number(number) if name == "id" || name == "value" => number.as_u64().into_iter().collect(),
            Value::String(text) if name != "$path" => of_text(text),
            _ => Vec::new(),
        });
        ids.any(|id| self.vehicles.contains(&id))
    }

    /// What became of it, in words.
    fn became(&self, days: &[Value], built: &str) -> String {
        let mut out = String::new();
        // Writing to a text does not fail.
        let _ = writeln!(out, "{}\n", self.written.description.trim());
        if self.folder.join("late.ndjson").exists() {
            for line in built.lines().filter(|line| line.starts_with("daily_vehicle")) {
                let _ = writeln!(out, "built again: {line}");
            }
        }
        for row in days.iter().filter(|row| self.has(row)) {
            let _ = writeln!(out, "daily_vehicle: {row}");
        }
        for (what, counts) in [("dead letter", &self.dead), ("quarantine", &self.held), ("found", &self.found)] {
            for (reason, number) in counts {
                let _ = writeln!(out, "{what}: {number}: {reason}");
            }
        }
        if self.found.is_empty() {
            let _ = writeln!(out, "found: nothing");
        }
        out
    }

    /// Compares it with its snapshot, and says what is wrong with it.
    fn compare(&self, became: &str) -> Option<String> {
        let compared = catch_unwind(AssertUnwindSafe(|| {
            let mut settings = insta::Settings::clone_current();
            settings.set_snapshot_path(&self.folder);
            settings.set_prepend_module_to_snapshot(false);
            settings.set_omit_expression(true);
            settings.bind(|| insta::assert_snapshot!("result", became));
        }));
        let (name, found) = (&self.name, &self.found);
        let missed: Vec<&String> = self.written.finds.iter().filter(|check| !found.contains_key(*check)).collect();
        if !missed.is_empty() {
            return Some(format!("{name}: not found by {missed:?}; found by {found:?}"));
        }
        compared.is_err().then(|| format!("{name}: the snapshot is another one"))
    }
}

/// Runs all checks, and gives each case the rows of its vehicles that they find.
fn check(lake: &Path, cases: &mut [Case]) {
    let kept = tempfile::tempdir().expect("a folder");
    let mut checks = program();
    checks.args(["quality", "run", CHECKS, "--format", "json", "--now", "2023-01-02T02:00:00Z", "--lake"]).arg(lake);
    let ran = run(checks.arg("--history").arg(lake).arg("--bad-rows").arg(kept.path()));
    let verdicts = ran.output.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let mut seen = 0;
    for verdict in verdicts {
        let Some(file) = verdict["bad_rows"].as_str() else { continue };
        let text = |name: &str| verdict[name].as_str().unwrap_or_default().to_owned();
        let name = format!("{}: {}", text("table"), text("check"));
        for line in fs::read_to_string(kept.path().join(file)).expect("rows").lines() {
            let row: Value = serde_json::from_str(line).expect("JSON");
            let case = cases.iter_mut().find(|case| case.has(&row));
            let case = case.unwrap_or_else(|| panic!("{name}: {row} is of no case"));
            *case.found.entry(name.clone()).or_default() += 1;
            seen += 1;
        }
    }
    assert!(seen > 0, "{}", ran.error);
}

#[test]
fn each_anomaly_is_found_by_the_check_that_is_there_for_it() {
    let mut folders: Vec<PathBuf> =
        fs::read_dir(CASES).expect("the cases").map(|entry| entry.expect("an entry").path()).collect();
    folders.sort();
    let mut cases: Vec<Case> = folders.into_iter().map(Case::read).collect();
    assert!(cases.len() >= 25, "{} cases", cases.len());
    let lake = tempfile::tempdir().expect("a folder");
    let lake = lake.path();
    let day = ["--select", "+daily_vehicle", "--from", "2023-01-01", "--to", "2023-01-01"];
    let build = || mart(lake, MODELS.as_ref(), "apply", &day).done();
    let store = |cases: &mut [Case], file: &str| {
        for case in cases {
            case.store(file, lake);
        }
    };
    store(&mut cases, "messages.ndjson");
    build();
    store(&mut cases, "late.ndjson");
    let rebuilt = build();
    let mut owners: BTreeMap<u64, &str> = BTreeMap::new();
    for case in &cases {
        for id in &case.vehicles {
            let other = owners.insert(*id, &case.name);
            assert_eq!(other, None, "{} has the vehicle {id}, too", case.name);
        }
    }
    let days = query(lake, "select * from daily_vehicle order by ymd, id");
    check(lake, &mut cases);
    let wrong: Vec<String> = cases.iter().filter_map(|case| case.compare(&case.became(&days, &rebuilt))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
