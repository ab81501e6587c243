//! What a run has left behind, as one canonical document: items, rows, objects, unfinished uploads and dead letters.
//!
//! A document is a list of sections, each of which becomes a snapshot. Two runs that did the same give the same document, byte for byte.
//! What is observed is the business of one module for each kind of thing; a new kind is such a module and a line in [`OBSERVERS`].

mod counts;
mod dead_letters;
mod items;
mod name;
mod objects;
mod visible;

use std::fmt::Write;

pub(crate) use self::counts::counted;
pub use self::counts::{Counts, plural};
#[cfg(test)]
pub(crate) use self::{dead_letters::DEAD_LETTER, items::ITEM, objects::OBJECT, objects::ROW};
use crate::case::Case;
use crate::stack::{Stack, StackError};

/// Everything that the framework observes, in the order of the document.
const OBSERVERS: [Observer<'static>; 3] = [&items::sections, &objects::sections, &dead_letters::sections];

/// Sections that are compared on the plain schedule only, see [`Rule::PlainOnly`].
pub(crate) const PLAIN_ONLY: [&str; 1] = [objects::LISTING];

/// Reads one kind of thing from the services of a run. Sections may be empty.
pub(crate) type Observer<'a> = &'a dyn Fn(&Case, &dyn Stack) -> Result<Vec<Section>, StackError>;

/// The noun under which sent messages are counted.
pub(crate) const MESSAGE: &str = "message";

/// What the entries of a section are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EntryKind {
    /// What people call one of them.
    pub noun: &'static str,
    /// Whether an entry has several lines; entries are then separated by an empty line.
    pub is_block: bool,
    /// What identifies one of them, so that a changed entry is told from a missing one and a new one.
    pub key: Key,
    /// How they are compared when the run was disturbed.
    pub rule: Rule,
}

/// What identifies an entry among the others of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// Nothing: entries are paired by how much of their content they have in common.
    None,
    /// The first field of a JSON object, or its first two if the first one is not unique.
    FirstFields,
    /// What stands before the first colon.
    Name,
    /// The lines of a block that have these names.
    Lines(&'static [&'static str]),
}

/// How the entries of a section are compared when the run was disturbed. On the plain schedule every section has to be as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Every entry has to be there as often as before, in any order; if messages were sent twice, at least once.
    EachOnce,
    /// Every entry has to be there at least once, in any order.
    AtLeastOnce {
        /// How a line begins that names a record's offset. Such lines are not compared where other records come before it than usual.
        offset_line: &'static str,
    },
    /// They are not compared, for they depend on when flushes happen.
    PlainOnly,
}

/// A part of the document: one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    /// The snapshot's name, safe as a file name.
    pub name: String,
    /// What its entries are.
    pub kind: &'static EntryKind,
    /// Its entries, none of them empty.
    pub entries: Vec<String>,
}

impl Section {
    /// The section's text, as it stands in the snapshot.
    pub fn text(&self) -> String {
        self.entries.join(self.kind.separator())
    }
}

impl EntryKind {
    fn separator(&self) -> &'static str {
        if self.is_block { "\n\n" } else { "\n" }
    }

    /// The entries in the text of a section.
    pub fn entries(&self, text: &str) -> Vec<String> {
        text.split(self.separator()).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
    }
}

/// The whole document.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observation {
    /// Its sections; none of them is empty.
    pub sections: Vec<Section>,
}

impl Observation {
    /// Looks at everything that the case names.
    pub fn of(case: &Case, stack: &dyn Stack) -> Result<Self, StackError> {
        Self::by(&OBSERVERS, case, stack)
    }

    /// What these observers see.
    pub fn by(observers: &[Observer<'_>], case: &Case, stack: &dyn Stack) -> Result<Self, StackError> {
        let mut sections = Vec::new();
        for observe in observers {
            sections.extend(observe(case, stack)?);
        }
        sections.retain(|section| !section.entries.is_empty());
        Ok(Self { sections })
    }

    /// Whether the run left nothing.
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    /// How many entries of each kind there are, beside the messages.
    pub fn counts(&self, messages: usize) -> Counts {
        let mut counts = Counts::default().with(MESSAGE, messages);
        for section in &self.sections {
            counts.add(section.kind.noun, section.entries.len());
        }
        counts
    }

    /// The document as one text.
    pub fn text(&self) -> String {
        self.sections.iter().fold(String::new(), |mut text, section| {
            let _ = writeln!(text, "==== {}\n{}\n", section.name, section.text());
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_read_back_as_it_was_written() {
        for (is_block, entries) in [(false, vec!["a", "b"]), (true, vec!["key: 1\nvalue: 2", "key: 3"])] {
            let kind = EntryKind { noun: "entry", is_block, key: Key::None, rule: Rule::EachOnce };
            let text = entries.join(kind.separator());
            assert_eq!(kind.entries(&text), entries);
        }
    }
}
