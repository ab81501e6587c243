//! The snapshots beside a fixture: `snapshots/*.snap`, one for each section of what was observed.
//!
//! They are insta's files: insta reads them, and `cargo insta` reviews them. Only the plain schedule writes them, as
//! insta's variables ask for it; every other schedule only reads the same files. The writing is done here and not by
//! insta, for two reasons: insta writes into the file itself, so that a full disk leaves half of it; and insta's header
//! names the place where this crate was compiled, which in other projects is a path of one machine.

mod birth;
mod file;
mod orders;

use std::collections::BTreeSet;
use std::path::Path;

pub(crate) use self::birth::{RUNS, disagreement, is_due};
pub(crate) use self::orders::prepare;
use self::orders::{Action, Orders};
use crate::case::Case;
use crate::compare::{Comparison, Mismatch, Snapshots, compare};
use crate::observe::{Observation, Section};

/// How far what was observed is as the snapshots say.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// The sections that differ and were not accepted, and the snapshots of which nothing was observed.
    pub mismatches: Vec<Mismatch>,
    /// The files that could not be written or removed, each with the cause.
    pub problems: Vec<String>,
}

/// Compares every section with its snapshot, and writes what insta's variables ask for.
pub(crate) fn check(case: &Case, observation: &Observation, comparison: Comparison) -> Checked {
    if comparison.is_exact() {
        return check_and_write(case, observation, orders::given());
    }
    Checked { mismatches: differences(case, observation, comparison), problems: Vec::new() }
}

/// Compares every section with its snapshot, and writes nothing.
pub(crate) fn differences(case: &Case, observation: &Observation, comparison: Comparison) -> Vec<Mismatch> {
    let depends_on_objects = |name: &str| {
        let mut prefixes = case.settings.depends_on_objects.keys();
        prefixes.any(|prefix| name.starts_with(prefix.as_str()))
    };
    let expected = read_all(&case.snapshots());
    let mut mismatches = compare(&expected, observation, comparison);
    mismatches.retain(|mismatch| comparison.keeps_objects() || !depends_on_objects(&mismatch.section));
    if comparison.is_exact() {
        // A file keeps no white space at its end, and so no row there that is empty.
        for section in &observation.sections {
            let is_of_section = |mismatch: &Mismatch| mismatch.section == section.name;
            if expected.get(&section.name) == Some(&file::content(section)) {
                mismatches.retain(|mismatch| !is_of_section(mismatch));
            } else if !mismatches.iter().any(is_of_section) {
                mismatches.push(Mismatch::line(&section.name, SPACE_DIFFERS));
            }
        }
    }
    mismatches
}

/// What is said of a section that has the entries of its snapshot and is not equal to it.
const SPACE_DIFFERS: &str = "its white space differs";

fn check_and_write(case: &Case, observation: &Observation, orders: Orders) -> Checked {
    let folder = case.snapshots();
    let mut problems = remove_what_is_not_observed(&folder, observation, orders);
    let expected = read_all(&folder);
    let mut mismatches = compare(&expected, observation, Comparison::Exact);
    for section in &observation.sections {
        let is_of_section = |mismatch: &Mismatch| mismatch.section == section.name;
        let problem = match check_section(case, section, expected.get(&section.name), orders) {
            Ok(None) => {
                mismatches.retain(|mismatch| !is_of_section(mismatch));
                continue;
            }
            Ok(Some(difference)) => (difference, None),
            Err(problem) => ("cannot be written", Some(problem)),
        };
        if !mismatches.iter().any(is_of_section) {
            mismatches.push(Mismatch::line(&section.name, problem.0));
        }
        problems.extend(problem.1);
    }
    if orders.pass {
        mismatches.clear();
    }
    Checked { mismatches, problems }
}

/// Compares one section with the content of its snapshot, and writes what is asked for. Gives what differs besides the
/// entries, or `None` if the snapshot is as it should be, now at least.
fn check_section(
    case: &Case,
    section: &Section,
    expected: Option<&String>,
    orders: Orders,
) -> Result<Option<&'static str>, String> {
    let path = case.snapshots().join(format!("{}.snap", section.name));
    let pending = path.with_extension("snap.new");
    orders::note_reference(&path)?;
    let content = file::content(section);
    let text = file::text(case, &content);
    let difference = if expected != Some(&content) {
        Some(SPACE_DIFFERS)
    } else if orders.full_match && !file::is(&path, &text) {
        Some("its header differs")
    } else {
        None
    };
    match orders.action(difference.is_none(), expected.is_some()) {
        Action::Accept => {
            file::write(&path, &text)?;
            file::remove(&pending)?;
            Ok(None)
        }
        Action::AskForReview => file::write(&pending, &text).map(|()| difference),
        Action::Nothing if difference.is_none() => file::remove(&pending).map(|()| None),
        Action::Nothing => Ok(difference),
    }
}

/// Removes pending snapshots of which nothing was observed, for they are of an earlier run; and if snapshots are to be
/// written without a review, those that were accepted once too. Gives the files that could not be removed.
fn remove_what_is_not_observed(folder: &Path, observation: &Observation, orders: Orders) -> Vec<String> {
    let observed: BTreeSet<&str> = observation.sections.iter().map(|section| section.name.as_str()).collect();
    let is_stale = |file: &String| {
        let name = file.strip_suffix(".snap.new");
        let name = name.or_else(|| file.strip_suffix(".snap").filter(|_| orders.accept_without_review()));
        name.is_some_and(|name| !observed.contains(name))
    };
    let stale = file::names(folder).filter(is_stale);
    stale.filter_map(|name| file::remove(&folder.join(name)).err()).collect()
}

/// The contents of all snapshots in a folder.
fn read_all(folder: &Path) -> Snapshots {
    let read = |name: String| Some((name.strip_suffix(".snap")?.to_owned(), file::read(&folder.join(&name))?));
    file::names(folder).filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_finds_the_same_differences_as_the_check_that_may_write() {
        let root = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, text).expect("written");
        };
        write("suite.toml", "topic = 't'\ngroups = ['g']\n[topics]\nt = 1\n");
        write("p/c/messages.ndjson", "{}\n");
        write("p/c/snapshots/rows.snap", "---\nsource: x\n---\na\n");
        let id = crate::CaseId { protocol: "p".into(), name: "c".into() };
        let case = Case::read(root.path(), &id).expect("a case");
        for (entries, differ) in [(&["a"][..], false), (&["a", "", " "], false), (&[" a"], true), (&["a", "b"], true)] {
            let entries = entries.iter().map(|entry| (*entry).to_owned()).collect();
            let sections = vec![Section::new("rows", &crate::observe::ROW, entries)];
            let observation = Observation { sections, unmatched: Vec::new() };
            assert_eq!(!differences(&case, &observation, Comparison::Exact).is_empty(), differ, "{observation:?}");
            let checked = check(&case, &observation, Comparison::Exact);
            assert_eq!(!checked.mismatches.is_empty(), differ, "{observation:?}");
        }
    }

    #[test]
    fn all_snapshots_of_a_folder_are_read_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["a.snap", "b.snap.new", ".c.tmp"] {
            std::fs::write(folder.path().join(name), "---\nsource: x\n---\nrow\n").expect("written");
        }
        assert_eq!(read_all(folder.path()), [("a".to_owned(), "row".to_owned())].into());
        assert!(read_all(&folder.path().join("none")).is_empty());
    }
}
