//! What must not happen in the course of a run, whatever it leads to in the end: that a group takes a commit back, and that a
//! process changes what is stored when its partitions are another's.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use crate::observe::{Observation, Rule};
use crate::stack::Commits;

/// The highest offsets that were seen to be committed.
#[derive(Debug, Default)]
pub struct History {
    highest: Mutex<BTreeMap<(String, String, i32), i64>>,
}

impl History {
    /// Notes what a group has committed now. The text has a line for every partition whose offset was higher before.
    pub(crate) fn note(&self, group: &str, committed: &Commits) -> String {
        let mut highest = self.highest.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for ((topic, partition), (offset, _)) in committed {
            let seen = highest.entry((group.to_owned(), topic.clone(), *partition)).or_insert(*offset);
            if offset < seen {
                let _ = writeln!(
                    text,
                    "group `{group}`: {topic}-{partition} is committed up to {offset}, and was up to {seen}"
                );
            }
            *seen = (*seen).max(*offset);
        }
        text
    }
}

/// A line for each entry that has gone from what is stored or has come to it. What may be stored more often after a
/// disturbance, such as dead letters, is left out, and so is the listing of objects.
pub(crate) fn changed(before: &Observation, after: &Observation) -> String {
    let entries = |observation: &Observation| {
        let mut entries: BTreeMap<(String, String), isize> = BTreeMap::new();
        for section in observation.sections.iter().filter(|section| section.kind.rule == Rule::EachOnce) {
            for entry in &section.entries {
                *entries.entry((section.name.clone(), entry.clone())).or_default() += 1;
            }
        }
        entries
    };
    let (mut change, before) = (entries(after), entries(before));
    for (entry, count) in before {
        *change.entry(entry).or_default() -= count;
    }
    let mut text = String::new();
    for ((section, entry), count) in change {
        let sign = if count < 0 { '-' } else { '+' };
        for _ in 0..count.abs() {
            let _ = writeln!(text, "{sign} {section}: {entry}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{EntryKind, Key, Section};

    fn commits(offset: i64) -> Commits {
        [(("t".to_owned(), 0), (offset, String::new()))].into()
    }

    #[test]
    fn a_commit_that_is_taken_back_is_told_even_if_a_higher_one_follows() {
        let history = History::default();
        assert_eq!([3, 3, 5].map(|offset| history.note("g", &commits(offset))).concat(), "");
        assert_eq!(history.note("other", &commits(1)), "", "each group has its own");
        assert_eq!(history.note("g", &commits(4)), "group `g`: t-0 is committed up to 4, and was up to 5\n");
        assert_eq!(history.note("g", &commits(6)), "");
    }

    #[test]
    fn entries_that_have_gone_or_come_are_told_but_for_those_that_may_be_repeated() {
        static ONCE: EntryKind =
            EntryKind { noun: "row", is_block: false, place: None, key: Key::None, rule: Rule::EachOnce };
        static REPEATED: EntryKind =
            EntryKind { rule: Rule::AtLeastOnce { offset_line: None, partition_line: None }, ..ONCE };
        let stored = |rows: &[&str], letters: &[&str]| {
            let entries = |of: &[&str]| of.iter().map(|entry| (*entry).to_owned()).collect();
            let sections =
                vec![Section::new("rows", &ONCE, entries(rows)), Section::new("dlq", &REPEATED, entries(letters))];
            Observation { sections, unmatched: Vec::new() }
        };
        let before = stored(&["a", "b"], &["x"]);
        assert_eq!(changed(&before, &stored(&["b", "a"], &["x", "x"])), "");
        assert_eq!(changed(&before, &stored(&["a", "a", "c"], &[])), "+ rows: a\n- rows: b\n+ rows: c\n");
    }
}
