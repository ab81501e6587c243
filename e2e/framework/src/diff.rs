//! What differs between two lists of entries, told by field: a changed row shows the fields that changed, not two long lines.

use std::fmt::Write;

use similar::{Algorithm, DiffOp, capture_diff_slices};

use crate::json;
use crate::observe::Kind;

/// The longest line of a failure message; the capsule has everything in full.
const SHORT: usize = 160;

/// How many entries a failure message shows of one section.
const SHOWN: usize = 12;

/// The difference between what was expected and what was observed.
#[derive(Debug, Clone)]
pub struct Diff {
    kind: Kind,
    changes: Vec<Change>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Missing(String),
    Unexpected(String),
    /// It is there, but elsewhere.
    Moved(String),
    /// The expected entry, and each part of it that changed.
    Differs(String, Vec<Part>),
}

/// A field, or a line of a block, that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    name: String,
    before: Option<String>,
    after: Option<String>,
}

impl Diff {
    /// Compares in order.
    pub fn new(kind: Kind, expected: &[String], observed: &[String]) -> Self {
        let mut changes = Vec::new();
        for op in capture_diff_slices(Algorithm::Myers, expected, observed) {
            match op {
                DiffOp::Equal { .. } => {}
                DiffOp::Delete { old_index, old_len, .. } => {
                    changes.extend(expected[old_index..old_index + old_len].iter().cloned().map(Change::Missing));
                }
                DiffOp::Insert { new_index, new_len, .. } => {
                    changes.extend(observed[new_index..new_index + new_len].iter().cloned().map(Change::Unexpected));
                }
                DiffOp::Replace { old_index, old_len, new_index, new_len } => {
                    pair(
                        &expected[old_index..old_index + old_len],
                        &observed[new_index..new_index + new_len],
                        &mut changes,
                    );
                }
            }
        }
        Self { kind, changes: moved(changes) }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// `1 row missing, 2 items changed`.
    pub fn summary(&self) -> String {
        let count = |wanted: fn(&Change) -> bool| self.changes.iter().filter(|change| wanted(change)).count();
        let told = [
            (count(|change| matches!(change, Change::Missing(_))), "missing"),
            (count(|change| matches!(change, Change::Unexpected(_))), "not expected"),
            (count(|change| matches!(change, Change::Differs(..))), "changed"),
            (count(|change| matches!(change, Change::Moved(_))), "moved"),
        ];
        let noun = self.kind.noun();
        let told = told.iter().filter(|(count, _)| *count > 0);
        told.map(|(count, what)| format!("{count} {noun}{} {what}", if *count == 1 { "" } else { "s" }))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// The changes, cut to what a person reads at once.
    pub fn short(&self) -> String {
        self.render(SHOWN, SHORT)
    }

    /// The changes in full.
    pub fn full(&self) -> String {
        self.render(usize::MAX, usize::MAX)
    }

    fn render(&self, entries: usize, width: usize) -> String {
        let mut text = String::new();
        for change in self.changes.iter().take(entries) {
            match change {
                Change::Missing(entry) => signed('-', entry, width, &mut text),
                Change::Unexpected(entry) => signed('+', entry, width, &mut text),
                Change::Moved(entry) => signed('↕', entry, width, &mut text),
                Change::Differs(entry, parts) => {
                    signed('~', entry, width.min(SHORT / 2), &mut text);
                    for Part { name, before, after } in parts {
                        let show = |value: &Option<String>| {
                            value.as_ref().map_or("(absent)".to_owned(), |value| cut(value, width))
                        };
                        let _ = writeln!(text, "      {name}: {} → {}", show(before), show(after));
                    }
                }
            }
        }
        if self.changes.len() > entries {
            let _ = writeln!(text, "  … and {} more", self.changes.len() - entries);
        }
        text
    }
}

fn signed(sign: char, entry: &str, width: usize, text: &mut String) {
    for line in entry.lines().take(if sign == '~' { 1 } else { usize::MAX }) {
        let _ = writeln!(text, "  {sign} {}", cut(line, width));
    }
}

fn cut(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

/// Matches entries that were replaced: those that are alike are one changed entry.
fn pair(expected: &[String], observed: &[String], changes: &mut Vec<Change>) {
    let mut left: Vec<&String> = observed.iter().collect();
    for entry in expected {
        let alike = left.iter().enumerate().find_map(|(i, other)| Some((i, changed_parts(entry, other)?)));
        changes.push(match alike {
            Some((i, parts)) => {
                left.remove(i);
                Change::Differs(entry.clone(), parts)
            }
            None => Change::Missing(entry.clone()),
        });
    }
    changes.extend(left.into_iter().cloned().map(Change::Unexpected));
}

/// What is missing here and not expected there has moved.
fn moved(mut changes: Vec<Change>) -> Vec<Change> {
    let mut i = 0;
    while i < changes.len() {
        let twin = match &changes[i] {
            Change::Missing(entry) => Change::Unexpected(entry.clone()),
            Change::Unexpected(entry) => Change::Missing(entry.clone()),
            _ => Change::Moved(String::new()),
        };
        if let Some(later) = changes[i + 1..].iter().position(|change| *change == twin)
            && let Change::Missing(entry) | Change::Unexpected(entry) = twin
        {
            changes.remove(i + 1 + later);
            changes[i] = Change::Moved(entry);
        }
        i += 1;
    }
    changes
}

/// What differs between two entries that have at least half of their parts in common.
fn changed_parts(expected: &str, observed: &str) -> Option<Vec<Part>> {
    let (before, after) = (parts(expected)?, parts(observed)?);
    let value =
        |parts: &[(String, String)], name: &str| parts.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
    let mut names: Vec<&String> = before.iter().map(|(name, _)| name).collect();
    names.extend(after.iter().map(|(name, _)| name).filter(|name| value(&before, name).is_none()));
    let total = names.len();
    let changed: Vec<_> = names
        .into_iter()
        .map(|name| Part { name: name.clone(), before: value(&before, name), after: value(&after, name) })
        .filter(|part| part.before != part.after)
        .collect();
    (!changed.is_empty() && changed.len() * 2 <= total).then_some(changed)
}

/// The fields of a JSON object, or the `name: value` lines of a block.
fn parts(entry: &str) -> Option<Vec<(String, String)>> {
    if let Some(fields) = json::fields(entry.as_bytes()) {
        return Some(fields.into_iter().map(|(name, value)| (name, value.get().to_owned())).collect());
    }
    entry.lines().map(|line| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(expected: &[&str], observed: &[&str]) -> Diff {
        let owned = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>();
        Diff::new(Kind::Rows, &owned(expected), &owned(observed))
    }

    #[test]
    fn a_missing_and_a_repeated_row_are_told() {
        let missing = diff(&["a", "b", "c"], &["a", "c"]);
        assert_eq!((missing.summary().as_str(), missing.short().as_str()), ("1 row missing", "  - b\n"));
        let repeated = diff(&["a", "b"], &["a", "a", "b"]);
        assert_eq!((repeated.summary().as_str(), repeated.short().as_str()), ("1 row not expected", "  + a\n"));
        assert!(diff(&["a"], &["a"]).is_empty());
    }

    #[test]
    fn a_changed_row_shows_the_field_that_changed() {
        let changed = diff(&[r#"{"id":1,"speed":12.50,"seq":0}"#], &[r#"{"id":1,"speed":12.5,"seq":0}"#]);
        assert_eq!(changed.summary(), "1 row changed");
        assert!(changed.short().ends_with("      speed: 12.50 → 12.5\n"), "{}", changed.short());
    }

    #[test]
    fn a_row_that_moved_is_neither_missing_nor_unexpected() {
        let moved = diff(&["a", "b", "c"], &["b", "c", "a"]);
        assert_eq!((moved.summary().as_str(), moved.short().as_str()), ("1 row moved", "  ↕ a\n"));
    }

    #[test]
    fn rows_that_have_little_in_common_are_one_missing_and_one_not_expected() {
        let other = diff(&[r#"{"id":1,"a":1,"b":1}"#], &[r#"{"id":2,"a":2,"b":1}"#]);
        assert_eq!(other.summary(), "1 row missing, 1 row not expected");
    }

    #[test]
    fn long_lines_and_long_lists_are_cut_in_the_message_and_whole_in_the_capsule() {
        let long = "é".repeat(1000);
        let entries: Vec<String> = (0..50).map(|i| format!("{i}{long}")).collect();
        let diff = Diff::new(Kind::Rows, &entries, &[]);
        assert!(diff.short().contains("… and 38 more") && diff.short().len() < 10_000);
        assert!(diff.full().contains(&entries[49]));
    }
}
