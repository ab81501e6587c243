//! What differs between two lists of entries, told by field: a changed row shows the fields that changed, not two long lines.

mod pair;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use self::pair::pair;
use crate::json;
use crate::observe::EntryKind;

/// The longest line of a failure message, in characters; the report has everything in full.
const SHORT: usize = 160;

/// How many entries of one section, and how many lines of one entry, a failure message shows.
const SHOWN: usize = 12;

/// The parts of an entry, each with its name: the fields of a JSON object, or the lines of a block.
type Parts = Vec<(String, String)>;

/// The difference between what was expected and what was observed.
#[derive(Debug, Clone)]
pub(crate) struct Diff {
    kind: &'static EntryKind,
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
pub(crate) struct Part {
    pub name: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

impl Diff {
    /// Compares two lists of entries of one kind, in which the order counts.
    pub(crate) fn new(kind: &'static EntryKind, expected: &[String], observed: &[String]) -> Self {
        let pairing = pair(kind, expected, observed);
        // A change stands where the entry was expected; what was not expected stands behind the last entry that is where it was.
        let mut changes: Vec<((usize, usize), Change)> = Vec::new();
        changes.extend(pairing.missing.iter().map(|i| ((*i, 0), Change::Missing(expected[*i].clone()))));
        for (i, j) in pairing.changed {
            let parts = changed_parts(&expected[i], &observed[j]);
            changes.push(((i, 0), Change::Differs(expected[i].clone(), parts)));
        }
        let moved = pairing.same.iter().filter(|(.., moved)| *moved);
        changes.extend(moved.map(|(i, ..)| ((*i, 0), Change::Moved(expected[*i].clone()))));
        let mut in_place = pairing.same.iter().filter(|(.., moved)| !moved).peekable();
        let mut last = 0;
        for j in pairing.unexpected {
            while let Some((i, ..)) = in_place.next_if(|(_, other, _)| *other < j) {
                last = i + 1;
            }
            changes.push(((last, 1 + j), Change::Unexpected(observed[j].clone())));
        }
        // Before the entry that was expected at `last`, if it is another.
        changes.sort_by_key(|((i, j), _)| if *j > 0 { (*i, 0, *j) } else { (*i, 1, 0) });
        Self { kind, changes: changes.into_iter().map(|(_, change)| change).collect() }
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Of each entry that changed, the parts that did. If as many entries are missing as are not expected, they are paired
    /// in their order, unless the first of their parts tells them apart.
    pub(crate) fn changed(&self) -> Vec<Vec<Part>> {
        let (mut changed, mut missing, mut unexpected) = (Vec::new(), Vec::new(), Vec::new());
        for change in &self.changes {
            match change {
                Change::Differs(_, parts) => changed.push(parts.clone()),
                Change::Missing(entry) => missing.push(entry),
                Change::Unexpected(entry) => unexpected.push(entry),
                Change::Moved(_) => {}
            }
        }
        if missing.len() == unexpected.len() {
            let is_another = |before: &str, after: &str| {
                let (before, after) = (parts(before).unwrap_or_default(), parts(after).unwrap_or_default());
                before.len().max(after.len()) > 1 && before.first() != after.first()
            };
            let pairs = missing.into_iter().zip(unexpected).filter(|(before, after)| !is_another(before, after));
            changed.extend(pairs.map(|(before, after)| changed_parts(before, after)));
        }
        changed
    }

    /// `1 row missing, 2 items changed`.
    pub(crate) fn summary(&self) -> String {
        let count = |wanted: fn(&Change) -> bool| self.changes.iter().filter(|change| wanted(change)).count();
        let told = [
            (count(|change| matches!(change, Change::Missing(_))), "missing"),
            (count(|change| matches!(change, Change::Unexpected(_))), "not expected"),
            (count(|change| matches!(change, Change::Differs(..))), "changed"),
            (count(|change| matches!(change, Change::Moved(_))), "moved"),
        ];
        let noun = self.kind.noun;
        let told = told.iter().filter(|(count, _)| *count > 0);
        told.map(|(count, what)| format!("{count} {noun}{} {what}", if *count == 1 { "" } else { "s" }))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// The changes, cut to what a person reads at once.
    pub(crate) fn short(&self) -> String {
        self.render(SHOWN, SHORT)
    }

    /// The changes in full.
    pub(crate) fn full(&self) -> String {
        self.render(usize::MAX, usize::MAX)
    }

    fn render(&self, entries: usize, width: usize) -> String {
        let mut text = String::new();
        for change in self.changes.iter().take(entries) {
            match change {
                Change::Missing(entry) => signed('-', entry, entries, width, &mut text),
                Change::Unexpected(entry) => signed('+', entry, entries, width, &mut text),
                Change::Moved(entry) => signed('↕', entry, entries, width, &mut text),
                Change::Differs(entry, parts) => {
                    let first = entry.lines().next().unwrap_or_default();
                    signed('~', first, 1, width.min(SHORT / 2), &mut text);
                    for Part { name, before, after } in parts.iter().take(entries) {
                        let show = |value: &Option<String>| {
                            value.as_ref().map_or("(absent)".to_owned(), |value| cut(value, width))
                        };
                        let _ = writeln!(text, "      {}: {} → {}", cut(name, width), show(before), show(after));
                    }
                    more(parts.len(), entries, "      ", &mut text);
                }
            }
        }
        more(self.changes.len(), entries, "  ", &mut text);
        text
    }
}

/// Says how many were left out.
fn more(count: usize, shown: usize, indent: &str, text: &mut String) {
    if count > shown {
        let _ = writeln!(text, "{indent}… and {} more", count - shown);
    }
}

fn signed(sign: char, entry: &str, lines: usize, width: usize, text: &mut String) {
    for line in entry.lines().take(lines) {
        let _ = writeln!(text, "  {sign} {}", cut(line, width));
    }
    more(entry.lines().count(), lines, "  ", text);
}

/// The first `width` characters, and how long the whole is if there are more.
fn cut(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

/// The parts in which two entries differ, in the order of the first, then those that only the second has.
fn changed_parts(expected: &str, observed: &str) -> Vec<Part> {
    let whole = |entry: &str| vec![("entry".to_owned(), entry.to_owned())];
    let (before, after) = match (parts(expected), parts(observed)) {
        (Some(before), Some(after)) => (before, after),
        _ => (whole(expected), whole(observed)),
    };
    let mut left: Vec<Option<&(String, String)>> = after.iter().map(Some).collect();
    let mut changed = Vec::new();
    for (name, value) in &before {
        // A name may occur several times, such as a header: the first with the same value, else the first, is its counterpart.
        let same = left.iter().position(|part| part.is_some_and(|(n, v)| n == name && v == value));
        let other = same.or_else(|| left.iter().position(|part| part.is_some_and(|(n, _)| n == name)));
        let after = other.and_then(|index| left[index].take()).map(|(_, value)| value.clone());
        if same.is_none() {
            changed.push(Part { name: name.clone(), before: Some(value.clone()), after });
        }
    }
    changed.extend(left.into_iter().flatten().map(|(name, value)| Part {
        name: name.clone(),
        before: None,
        after: Some(value.clone()),
    }));
    changed
}

/// The fields of a JSON object, or the `name: value` lines of a block.
fn parts(entry: &str) -> Option<Parts> {
    if let Some(fields) = json::fields(entry.as_bytes()) {
        return Some(fields.into_iter().map(|(name, value)| (name, value.get().to_owned())).collect());
    }
    entry.lines().map(|line| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
}
