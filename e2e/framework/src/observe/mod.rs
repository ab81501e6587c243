//! Observes what a run has left behind, as one canonical document: items, rows, objects, unfinished uploads, tables of
//! the catalog, messages of queues, records of output topics and dead letters.
//!
//! A document is a list of sections, each of which becomes a snapshot. Two runs with the same result give the same
//! document, byte for byte. One module observes each kind of thing. A new kind needs such a module and an entry in
//! [`OBSERVERS`].

mod catalog;
mod counts;
mod dead_letters;
mod holding;
mod items;
mod name;
mod objects;
mod output_topics;
#[cfg(feature = "parquet")]
mod parquet;
mod queues;
mod record;
mod redactor;
mod visible;

use std::fmt::Write;

pub(crate) use self::counts::{Counts, counted, plural};
pub(crate) use self::holding::{Holding, Letter, MessageId};
pub(crate) use self::objects::lines;
pub(crate) use self::redactor::Redactor;
#[cfg(test)]
pub(crate) use self::{dead_letters::DEAD_LETTER, items::ITEM, objects::OBJECT, objects::ROW};
use crate::case::{Case, Place};
use crate::stack::{Stack, StackError};

/// Everything that the framework observes, in the order of the document.
const OBSERVERS: [Observer<'static>; 6] = [
    &items::sections,
    &objects::sections,
    &catalog::sections,
    &queues::sections,
    &output_topics::sections,
    &dead_letters::sections,
];

/// The names of the sections that are compared on the plain schedule only, see [`Rule::PlainOnly`].
pub(crate) const PLAIN_ONLY: [&str; 1] = [objects::LISTING];

/// Reads one kind of thing from the services of a run. It may return sections without entries.
pub(crate) type Observer<'a> = &'a dyn Fn(&Case, &dyn Stack, &Redactor<'_>) -> Result<Vec<Section>, StackError>;

/// The noun under which sent messages are counted.
pub(crate) const MESSAGE: &str = "message";

/// The kind of the entries of a section.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EntryKind {
    /// The noun for one entry, in the singular.
    pub noun: &'static str,
    /// Whether an entry may have several lines. Such entries are separated by an empty line.
    pub is_block: bool,
    /// Where redactions find the values of an entry; `None` if they concern none of them.
    pub place: Option<Place>,
    /// What identifies an entry, so that a changed entry is not reported as a missing one and a new one.
    pub key: Key,
    /// How the entries are compared when the run was disturbed.
    pub rule: Rule,
}

/// What identifies an entry among the others of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// Nothing identifies an entry. Entries are paired by how much of their content they have in common.
    None,
    /// The first field of a JSON object, or its first two fields if the first one is not unique.
    FirstFields,
    /// The text before the first colon.
    Name,
    /// The lines of a block that have these names.
    Lines(&'static [&'static str]),
}

/// How the entries of a section are compared when the run was disturbed. On the plain schedule every section has to be
/// equal to its snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Every entry has to be there as often as in the undisturbed run, in any order. If messages were sent twice, it
    /// has to be there at least as often.
    EachOnce,
    /// Every entry has to be there at least as often as in the undisturbed run, in any order.
    AtLeastOnce {
        /// The beginning of a line that names a record's offset, if entries have one. Such lines are not compared if
        /// other records may come before it than in the undisturbed run of the snapshot.
        offset_line: Option<&'static str>,
        /// The same for the partition, which is not compared if the topic has another number of partitions.
        partition_line: Option<&'static str>,
    },
    /// The entries are not compared, because they depend on when flushes happen.
    PlainOnly,
}

/// A part of the document, which becomes one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    /// The name of the snapshot, which can be used as a file name.
    pub name: String,
    /// The kind of its entries.
    pub kind: &'static EntryKind,
    /// Its entries, none of them empty.
    pub entries: Vec<String>,
    /// What its entries show, as it is stored. It is empty where entries are of no row.
    pub holdings: Vec<Holding>,
}

impl Section {
    /// A section whose entries are of no row.
    pub(crate) fn new(name: impl Into<String>, kind: &'static EntryKind, entries: Vec<String>) -> Self {
        Self { name: name.into(), kind, entries, holdings: Vec::new() }
    }

    /// The section with what its entries show, as it is stored.
    #[must_use]
    fn holding(self, holdings: Vec<Holding>) -> Self {
        Self { holdings, ..self }
    }

    /// The text of the section, as it is stored in the snapshot.
    pub(crate) fn text(&self) -> String {
        self.entries.join(self.kind.separator())
    }
}

impl EntryKind {
    fn separator(&self) -> &'static str {
        if self.is_block { "\n\n" } else { "\n" }
    }

    /// Splits the text of a section into its entries.
    pub(crate) fn entries(&self, text: &str) -> Vec<String> {
        text.split(self.separator()).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
    }
}

/// The whole document.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observation {
    /// Its sections; none of them is empty.
    pub sections: Vec<Section>,
    /// The redactions of the case that matched nothing, each as a sentence with what to do about it.
    pub unmatched: Vec<String>,
}

impl Observation {
    /// Observes everything that the case names.
    pub(crate) fn of(case: &Case, stack: &dyn Stack) -> Result<Self, StackError> {
        Self::by(&OBSERVERS, case, stack)
    }

    /// Observes with these observers only.
    pub(crate) fn by(observers: &[Observer<'_>], case: &Case, stack: &dyn Stack) -> Result<Self, StackError> {
        let redactor = Redactor::new(&case.settings.redactions);
        let mut sections = Vec::new();
        for observe in observers {
            sections.extend(observe(case, stack, &redactor)?);
        }
        sections.retain(|section| !section.entries.is_empty());
        Ok(Self { sections, unmatched: redactor.unmatched() })
    }

    /// What is stored, as the pipeline wrote it.
    pub(crate) fn holdings(&self) -> impl Iterator<Item = &Holding> {
        self.sections.iter().flat_map(|section| &section.holdings)
    }

    /// Whether the run left nothing behind.
    pub(crate) fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    /// The number of messages, as given, and of the entries of each kind.
    pub(crate) fn counts(&self, messages: usize) -> Counts {
        let mut counts = Counts::default().with(MESSAGE, messages);
        for section in &self.sections {
            counts.add(section.kind.noun, section.entries.len());
        }
        counts
    }

    /// The document as one text.
    pub(crate) fn text(&self) -> String {
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
            let kind = EntryKind { noun: "entry", is_block, place: None, key: Key::None, rule: Rule::EachOnce };
            let text = entries.join(kind.separator());
            assert_eq!(kind.entries(&text), entries);
        }
    }
}
