//! The results of `fms quality run --format json`, with samples of the bad rows that it kept.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, ErrorKind};
use std::path::Path;

use anyhow::Context as _;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::state::Days;
use crate::text::plain;

/// How many bad rows are shown.
const SAMPLE_ROWS: usize = 3;
/// How much of a bad row is kept.
const SAMPLE_ROW: usize = 500;
/// How much of the name of its file.
const SAMPLE_FILE: usize = 120;

/// What one check says of its table. Members that are not needed here are left out.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Verdict {
    #[serde(flatten)]
    pub id: Id,
    pub outcome: Outcome,
    pub severity: Severity,
    #[serde(default)]
    pub description: String,
    /// The first and the last day that were looked at.
    #[serde(with = "crate::serial")]
    pub from: Date,
    #[serde(with = "crate::serial")]
    pub to: Date,
    pub expected: String,
    pub observed: String,
    #[serde(default)]
    pub bad: u64,
    /// The query that shows the bad rows, in which `$from` and `$to` stand for the days.
    pub query: Option<String>,
    #[serde(with = "crate::serial")]
    pub ran_at: Timestamp,
    /// The file with the bad rows, if it is known.
    pub bad_rows: Option<String>,
    /// The tags of the check.
    #[serde(default)]
    pub tags: BTreeSet<String>,
    /// Bad rows, without what nobody may see.
    #[serde(skip)]
    pub sample: Vec<String>,
}

impl Verdict {
    /// The days that were looked at.
    pub fn days(&self) -> Days {
        Days { from: self.from, to: self.to }
    }
}

/// What a problem is recognised by when the check runs again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Id {
    pub table: String,
    pub check: String,
    /// An e-mail address.
    pub owner: String,
}

/// How a check ended, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Pass,
    Warn,
    Fail,
    /// It could not run.
    Error,
}

/// How bad it is if a check fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    Info,
    #[default]
    Warning,
    Error,
}

/// Reads the results of a run, an object on each line.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<Verdict>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read the results {}", path.display()))?;
    let verdict = |(at, line): (usize, &str)| {
        let what = || format!("{}:{}: is no result of `fms quality run --format json`", path.display(), at + 1);
        serde_json::from_str(line).with_context(what)
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(verdict).collect()
}

/// Gives each verdict the first of the rows that `fms quality run --bad-rows FOLDER` kept for it.
pub(crate) fn add_samples(verdicts: &mut [Verdict], folder: &Path) -> anyhow::Result<()> {
    for verdict in verdicts.iter_mut().filter(|verdict| verdict.outcome.has_rows()) {
        let name_of = |character: char| if character.is_alphanumeric() { character } else { '-' };
        let name: String = verdict.id.check.chars().map(name_of).collect();
        // It is a name, and leads out of no folder.
        let kept = verdict.bad_rows.as_deref().and_then(|name| Path::new(name).file_name());
        let path = match kept {
            Some(name) => folder.join(name),
            None => folder.join(format!("{}.{name}.jsonl", verdict.id.table)),
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            // A check that counts whole tables has no rows.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot read the bad rows {}", path.display())),
        };
        let rows = BufReader::new(file).lines().take(SAMPLE_ROWS).map(|row| row.map(|row| sample(&row)));
        let rows: Result<Vec<String>, _> = rows.collect();
        verdict.sample = rows.with_context(|| format!("cannot read the bad rows {}", path.display()))?;
    }
    Ok(())
}

/// A bad row as it is shown: behind the name of its Parquet file, if it has one, for the row may be cut off.
fn sample(row: &str) -> String {
    #[derive(Deserialize)]
    struct Located {
        #[serde(rename = "$path")]
        path: String,
    }
    match serde_json::from_str(row) {
        Ok(Located { path }) => {
            let file = path.rsplit('/').next().unwrap_or(&path);
            plain(&format!("{}: {row}", plain(file, SAMPLE_FILE)), SAMPLE_ROW)
        }
        Err(_) => plain(row, SAMPLE_ROW),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_cut_off_still_names_its_file() {
        let long = "x".repeat(SAMPLE_ROW);
        let row = format!(r#"{{"a":"{long}","$path":"formatted/object=vehicle/hour=08/raw-1.parquet"}}"#);
        assert!(sample(&row).starts_with(r#"raw-1.parquet: {"a":"xx"#), "{}", sample(&row));
        // Rows of a query that a person wrote need not have a file.
        assert_eq!(sample(r#"{"a":1}"#), r#"{"a":1}"#);
        assert_eq!(sample(r#"{"$path":null}"#), r#"{"$path":null}"#);
    }
}
