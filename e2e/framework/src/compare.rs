//! Compares what was observed with what the snapshots say, by what a schedule may change. It reads and writes nothing.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::diff::Diff;
use crate::observe::{Observation, PLAIN_ONLY, Rule, Section, counted};
use crate::schedule::Schedule;
use crate::subject::Program;

/// How many entries of a new snapshot a failure message shows.
const NEW_SHOWN: usize = 5;

/// The contents of the snapshots of a case, by the names of their sections.
pub(crate) type Snapshots = BTreeMap<String, String>;

/// One section that is not as its snapshot says.
#[derive(Debug, Clone)]
pub(crate) struct Mismatch {
    /// The section's name.
    pub section: String,
    /// What to show at once.
    pub short: String,
    /// The same in full.
    pub full: String,
}

impl Mismatch {
    /// A mismatch that is told in one line.
    pub(crate) fn line(section: &str, problem: &str) -> Self {
        let text = format!("{}: {problem}\n", file(section));
        Self { section: section.to_owned(), short: text.clone(), full: text }
    }
}

/// What has to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// Everything, in order.
    Exact,
    /// What a disturbance must not change, in any order.
    Invariant {
        /// Whether the offsets of records have to match: not where other records come before them than usual.
        offsets: bool,
        /// Whether the partitions of records have to match: not where their topic has another number of them.
        partitions: bool,
        /// Whether one object of the pipeline ends where it does in the undisturbed run, so that what depends on that has to
        /// match.
        objects: bool,
        /// Whether what is there once may be there twice, because its message was sent twice.
        twice: bool,
    },
}

impl Comparison {
    /// What has to match after a run of this program under this schedule.
    pub(crate) fn of(schedule: &Schedule, program: &Program) -> Self {
        match schedule {
            Schedule::Plain if *program != Program::Running => Self::Exact,
            _ => Self::Invariant {
                offsets: schedule.keeps_offsets() && *program != Program::Running,
                partitions: !matches!(schedule, Schedule::Partitions(_)),
                objects: schedule.keeps_objects(),
                twice: *schedule == Schedule::Twice,
            },
        }
    }

    /// Whether what depends on the bounds of objects has to match.
    pub(crate) fn keeps_objects(self) -> bool {
        !matches!(self, Self::Invariant { objects: false, .. })
    }

    pub(crate) fn is_exact(self) -> bool {
        self == Self::Exact
    }
}

/// Every section that differs from its snapshot, then the snapshots of which nothing was observed.
pub(crate) fn compare(expected: &Snapshots, observation: &Observation, comparison: Comparison) -> Vec<Mismatch> {
    let differing = observation.sections.iter().filter_map(|section| {
        let expected = expected.get(&section.name).map(String::as_str);
        match (comparison, expected, section.kind.rule) {
            (Comparison::Exact, None, _) => Some(new(section)),
            (Comparison::Exact, Some(expected), _) => {
                differs(section, &section.kind.entries(expected), &section.entries)
            }
            (Comparison::Invariant { .. }, _, Rule::PlainOnly) => None,
            (Comparison::Invariant { offsets, partitions, twice, .. }, expected, _) => {
                let kind = section.kind;
                let hidden = hidden_lines(kind.rule, offsets, partitions);
                let expected = invariant(kind.entries(expected.unwrap_or_default()), &hidden);
                let mut observed = invariant(section.entries.clone(), &hidden);
                if twice || matches!(kind.rule, Rule::AtLeastOnce { .. }) {
                    observed = without_repetitions(&expected, observed);
                }
                differs(section, &expected, &observed)
            }
        }
    });
    let mut mismatches: Vec<Mismatch> = differing.collect();
    for (name, text) in expected {
        let is_compared = comparison.is_exact() || !PLAIN_ONLY.contains(&name.as_str());
        if is_compared && observation.sections.iter().all(|section| section.name != *name) {
            let mut mismatch = Mismatch::line(name, "nothing of this was observed; if that is right, delete the file");
            let _ = writeln!(mismatch.full, "{text}");
            mismatches.push(mismatch);
        }
    }
    mismatches
}

/// All mismatches for a person, and what to do about them.
pub(crate) fn describe(mismatches: &[Mismatch], comparison: Comparison) -> String {
    let verb = if mismatches.len() == 1 { "differs" } else { "differ" };
    let mut text = format!("{} {verb}\n\n", counted(mismatches.len(), "snapshot"));
    for mismatch in mismatches {
        let _ = writeln!(text, "{}", mismatch.short);
    }
    text.push_str(if comparison.is_exact() {
        "if this is right: cargo insta review"
    } else {
        "snapshots are written by the plain schedule; in this run the pipeline behaved differently"
    });
    text
}

fn file(section: &str) -> String {
    format!("snapshots/{section}.snap")
}

fn new(section: &Section) -> Mismatch {
    let count = section.entries.len();
    let (file, noun) = (file(&section.name), section.kind.noun);
    let shown = Diff::new(section.kind, &[], &section.entries[..count.min(NEW_SHOWN)]).short();
    let mut short = format!("{file}: new, {}\n{shown}", counted(count, noun));
    if count > NEW_SHOWN {
        let _ = writeln!(short, "  … and {} more", count - NEW_SHOWN);
    }
    Mismatch { section: section.name.clone(), short, full: format!("{file}: new\n{}\n", section.text()) }
}

fn differs(section: &Section, expected: &[String], observed: &[String]) -> Option<Mismatch> {
    let diff = Diff::new(section.kind, expected, observed);
    (!diff.is_empty()).then(|| {
        let (file, summary) = (file(&section.name), diff.summary());
        Mismatch {
            section: section.name.clone(),
            short: format!("{file}: {summary}\n{}", diff.short()),
            full: format!("{file}: {summary}\n{}", diff.full()),
        }
    })
}

/// How the lines begin that a schedule may change.
fn hidden_lines(rule: Rule, offsets: bool, partitions: bool) -> Vec<&'static str> {
    let Rule::AtLeastOnce { offset_line, partition_line } = rule else { return Vec::new() };
    let offset_line = offset_line.filter(|_| !offsets);
    let partition_line = partition_line.filter(|_| !partitions);
    offset_line.into_iter().chain(partition_line).collect()
}

/// The entries in an order of their own, without these lines. Empty lines of an object, which a snapshot does not tell
/// from the space between its entries, are left out.
fn invariant(mut entries: Vec<String>, hidden: &[&str]) -> Vec<String> {
    entries.retain(|entry| !entry.is_empty());
    if !hidden.is_empty() {
        let is_shown = |line: &&str| !hidden.iter().any(|hidden| line.starts_with(hidden));
        for entry in &mut entries {
            *entry = entry.lines().filter(is_shown).collect::<Vec<_>>().join("\n");
        }
    }
    entries.sort();
    entries
}

/// The observed entries without those that are there more often than expected. One that is not expected at all stays
/// once. Both are sorted.
fn without_repetitions(expected: &[String], observed: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::with_capacity(expected.len());
    // How often the last entry is in `kept`.
    let mut times = 0;
    for entry in observed {
        times = if kept.last() == Some(&entry) { times } else { 0 };
        let start = expected.partition_point(|other| *other < entry);
        let wanted = expected[start..].partition_point(|other| *other == entry);
        if times < wanted.max(1) {
            kept.push(entry);
            times += 1;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{EntryKind, Key};

    static ROW: EntryKind =
        EntryKind { noun: "row", is_block: false, place: None, key: Key::None, rule: Rule::EachOnce };
    static OBJECT: EntryKind =
        EntryKind { noun: "object", is_block: false, place: None, key: Key::None, rule: Rule::PlainOnly };
    static LETTER: EntryKind = EntryKind {
        noun: "letter",
        place: None,
        is_block: true,
        key: Key::None,
        rule: Rule::AtLeastOnce { offset_line: Some("offset:"), partition_line: Some("partition:") },
    };

    fn found(expected: &str, kind: &'static EntryKind, entries: &[&str], schedule: &Schedule) -> String {
        let entries = entries.iter().map(|entry| (*entry).to_owned()).collect();
        let sections = vec![Section::new("s", kind, entries)];
        let observation = Observation { sections, ..Observation::default() };
        let comparison = Comparison::of(schedule, &Program::Shell("true".into()));
        let mismatches = compare(&[("s".to_owned(), expected.to_owned())].into(), &observation, comparison);
        mismatches.iter().map(|mismatch| mismatch.short.as_str()).collect()
    }

    #[test]
    fn a_disturbed_run_may_reorder_and_no_more() {
        let rows = |entries: &[&str], schedule| found("a\nb", &ROW, entries, &schedule);
        assert_eq!(rows(&["b", "a"], Schedule::Restarted(None)), "");
        assert!(rows(&["b", "a"], Schedule::Plain).contains("1 row moved"));
        assert!(rows(&["a", "b", "b"], Schedule::Restarted(None)).contains("1 row not expected"));
        assert!(rows(&["a"], Schedule::Restarted(None)).contains("1 row missing"));
        assert_eq!(rows(&["a", "a", "b", "b"], Schedule::Twice), "");
    }

    #[test]
    fn empty_lines_of_an_object_are_no_difference() {
        assert_eq!(found("a\n\nb", &ROW, &["", "b", "a", ""], &Schedule::Restarted(None)), "");
    }

    #[test]
    fn what_depends_on_flushes_is_compared_on_the_plain_schedule_only() {
        assert_eq!(found("a", &OBJECT, &["b"], &Schedule::Throttled), "");
        assert!(found("a", &OBJECT, &["b"], &Schedule::Plain).contains("object"));
    }

    #[test]
    fn what_is_sent_at_least_once_may_be_there_more_often_and_has_other_offsets_when_messages_are_sent_twice() {
        let letters = ["offset: 1\nvalue: a", "offset: 1\nvalue: a"];
        assert_eq!(found("offset: 1\nvalue: a", &LETTER, &letters, &Schedule::Restarted(None)), "");
        assert_eq!(found("offset: 0\nvalue: a", &LETTER, &letters, &Schedule::Twice), "");
        assert!(found("offset: 0\nvalue: a", &LETTER, &letters, &Schedule::Restarted(None)).contains("letter"));
    }

    #[test]
    fn a_record_has_another_offset_in_another_order_and_another_partition_among_more_of_them() {
        let found = |schedule| {
            found("partition: 0\noffset: 1\nvalue: a", &LETTER, &["partition: 2\noffset: 0\nvalue: a"], &schedule)
        };
        assert_eq!(found(Schedule::Partitions(3)), "");
        assert!(found(Schedule::Reordered(1)).contains("letter"));
        let reordered = ["partition: 0\noffset: 0\nvalue: a"];
        let found = |schedule| super::tests::found("partition: 0\noffset: 1\nvalue: a", &LETTER, &reordered, &schedule);
        assert_eq!(found(Schedule::Reordered(1)), "");
        assert!(found(Schedule::OneByOne).contains("letter"));
    }

    #[test]
    fn of_equal_entries_as_many_have_to_be_there_as_in_the_undisturbed_run() {
        let expected = "value: a\n\nvalue: a";
        for schedule in [Schedule::Restarted(None), Schedule::Twice] {
            let found = |letters: &[&str]| found(expected, &LETTER, letters, &schedule);
            assert!(found(&["value: a"]).contains("1 letter missing"), "{}", found(&["value: a"]));
            assert_eq!(found(&["value: a"; 2]), "");
            assert_eq!(found(&["value: a"; 5]), "");
        }
    }

    #[test]
    fn a_pipeline_that_runs_already_has_offsets_of_its_own_but_nothing_was_sent_twice() {
        let running = Comparison::of(&Schedule::Plain, &Program::Running);
        assert_eq!(running, Comparison::Invariant { offsets: false, partitions: true, objects: true, twice: false });
    }

    #[test]
    fn a_snapshot_that_nothing_produced_is_reported_with_its_content() {
        let expected: Snapshots = ["gone", "objects"].map(|name| (name.to_owned(), "a".to_owned())).into();
        let of = |comparison| compare(&expected, &Observation::default(), comparison);
        let mismatches = of(Comparison::Invariant { offsets: true, partitions: true, objects: true, twice: false });
        assert_eq!(mismatches.len(), 1, "the listing of objects is not compared");
        assert!(mismatches[0].short.starts_with("snapshots/gone.snap: nothing of this was observed"));
        assert!(mismatches[0].full.ends_with("\na\n"));
        assert_eq!(of(Comparison::Exact).len(), 2);
    }
}
