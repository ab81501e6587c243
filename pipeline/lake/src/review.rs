//! What is in quarantine, as people look at it: the rows with their origins, chosen and counted by kind.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader, Read};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::quarantine::Object;
use crate::table::Identity;

/// The folder of all files in quarantine.
pub(crate) const FOLDER: &str = "quarantine/";

/// A file in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineFile {
    /// Its path below the lake.
    pub path: String,
    /// When it was stored, to the second.
    pub stored: Timestamp,
}

impl QuarantineFile {
    /// The table that its rows do not fit: its name in the catalog, or `unclassified` for lines without a table. Where
    /// the folders do not say the name, because a value in it was too long for one, they stand for it.
    pub fn table(&self) -> String {
        let path = self.path.strip_prefix(FOLDER).unwrap_or(&self.path);
        let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
        Identity::of_folders(folders).map_or_else(|| folders.to_owned(), |identity| identity.table())
    }
}

/// A row in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantinedRow {
    /// The kind of reason, such as `type`.
    pub reason: String,
    /// The column, with the fields and elements below it; empty if it is about no column.
    pub column: String,
    /// What the column takes.
    pub expected: String,
    /// What the row has.
    pub found: String,
    /// Where the row was.
    pub origin: RowOrigin,
    /// The line as it is in the raw object.
    pub row: String,
}

/// Where a row was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowOrigin {
    /// The raw object.
    #[serde(flatten)]
    pub object: Object,
    /// The line of the object, counted from 1.
    pub line: u64,
}

/// Which rows in quarantine are meant. An empty list stands for all.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The names of their tables, as [`QuarantineFile::table`] gives them.
    pub tables: BTreeSet<String>,
    /// The kinds of reasons.
    pub reasons: BTreeSet<String>,
    /// The columns.
    pub columns: BTreeSet<String>,
}

impl Selection {
    /// Whether rows of this file may be meant.
    pub fn has_file(&self, file: &QuarantineFile) -> bool {
        self.tables.is_empty() || self.tables.contains(&file.table())
    }

    fn has(&self, row: &QuarantinedRow) -> bool {
        let is_meant = |set: &BTreeSet<String>, value: &String| set.is_empty() || set.contains(value);
        is_meant(&self.reasons, &row.reason) && is_meant(&self.columns, &row.column)
    }

    /// The rows of a file that are meant, given the bytes of the file.
    pub fn rows<R: Read>(&self, file: R) -> impl Iterator<Item = io::Result<QuarantinedRow>> {
        let rows = serde_json::Deserializer::from_reader(BufReader::new(file)).into_iter::<QuarantinedRow>();
        rows.map(|row| row.map_err(io::Error::from)).filter(|row| row.as_ref().map_or(true, |row| self.has(row)))
    }
}

/// What rows have in common that are listed as one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// The table.
    pub table: String,
    /// The kind of reason.
    pub reason: String,
    /// The column.
    pub column: String,
}

/// The rows of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// How many there are.
    pub rows: u64,
    /// When the oldest file with such a row was stored.
    pub first: Timestamp,
    /// When the newest one was.
    pub last: Timestamp,
    /// One of the rows in the oldest file.
    pub example: QuarantinedRow,
}

/// Rows in quarantine, by kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overview(pub BTreeMap<Kind, Group>);

impl Overview {
    /// The rows of one file that are meant.
    pub fn of(file: &QuarantineFile, bytes: impl Read, selection: &Selection) -> io::Result<Self> {
        let (mut groups, table) = (BTreeMap::new(), file.table());
        for row in selection.rows(bytes) {
            let row = row?;
            let kind = Kind { table: table.clone(), reason: row.reason.clone(), column: row.column.clone() };
            let (first, last) = (file.stored, file.stored);
            groups.entry(kind).or_insert(Group { rows: 0, first, last, example: row }).rows += 1;
        }
        Ok(Self(groups))
    }

    /// Adds the rows of another file.
    pub fn add(&mut self, other: Self) {
        for (kind, group) in other.0 {
            let Some(known) = self.0.get_mut(&kind) else {
                self.0.insert(kind, group);
                continue;
            };
            known.rows += group.rows;
            known.last = known.last.max(group.last);
            if group.first < known.first {
                (known.first, known.example) = (group.first, group.example);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, second: i64) -> QuarantineFile {
        QuarantineFile { path: path.to_owned(), stored: Timestamp::from_second(second).expect("a time") }
    }

    fn line(reason: &str, column: &str, line: u64) -> String {
        let origin = serde_json::json!({"bucket": "raw", "key": "a.json", "line": line});
        let row = serde_json::json!({"reason": reason, "column": column, "expected": "double", "found": "[]",
            "origin": origin, "row": "{\"a\":[]}"});
        format!("{row}\n")
    }

    #[test]
    fn the_folders_say_the_table() {
        let table = |path: &str| file(path, 0).table();
        assert_eq!(table("quarantine/object=vehicle/type=tire/command=report/a-1.jsonl"), "vehicle_tire_report");
        assert_eq!(table("quarantine/unclassified/a-1.jsonl"), "unclassified");
        let escaped = table("quarantine/topic=a%2FB/a-1.jsonl");
        assert!(escaped.starts_with("a_b_") && escaped.len() == 12, "as the converter names it: {escaped}");
        let shortened = format!("topic={}~{}", "x".repeat(128), "0".repeat(64));
        assert_eq!(table(&format!("quarantine/{shortened}/a-1.jsonl")), shortened);
    }

    #[test]
    fn rows_are_counted_by_kind_over_files() {
        let all = Selection::default();
        let (newer, older) = (file("quarantine/topic=t/b.jsonl", 20), file("quarantine/topic=t/a.jsonl", 10));
        let text = [line("type", "a", 3), line("type", "a", 4), line("no-time", "at", 5)].concat();
        let mut overview = Overview::of(&newer, text.as_bytes(), &all).expect("read");
        overview.add(Overview::of(&older, line("type", "a", 7).as_bytes(), &all).expect("read"));
        let shown: Vec<_> = overview.0.iter().map(|(kind, group)| (&*kind.reason, &*kind.column, group.rows)).collect();
        assert_eq!(shown, [("no-time", "at", 1), ("type", "a", 3)]);
        let group = overview.0.values().last().expect("two");
        assert_eq!((group.first.as_second(), group.last.as_second(), group.example.origin.line), (10, 20, 7));
    }

    #[test]
    fn a_selection_is_of_tables_reasons_and_columns() {
        let set = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect::<BTreeSet<_>>();
        let (a, b) = (file("quarantine/topic=a/x.jsonl", 0), file("quarantine/topic=b/x.jsonl", 0));
        let selection = Selection { tables: set(&["a"]), reasons: set(&["type"]), columns: set(&["c", "d"]) };
        assert!(selection.has_file(&a) && !selection.has_file(&b));
        let text = [line("type", "c", 1), line("type", "e", 2), line("no-time", "c", 3), line("type", "d", 4)].concat();
        let lines: Vec<u64> = selection.rows(text.as_bytes()).map(|row| row.expect("a row").origin.line).collect();
        assert_eq!(lines, [1, 4]);
        let cut = &text[..text.len() - 20];
        assert!(Selection::default().rows(cut.as_bytes()).last().expect("four").is_err(), "a file that is cut off");
    }
}
