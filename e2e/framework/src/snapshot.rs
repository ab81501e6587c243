//! insta's snapshots beside the fixture: `snapshots/*.snap`, one a section of what was observed.
//!
//! On the plain schedule insta decides, and its variables (`INSTA_UPDATE`, `INSTA_FORCE_PASS`, …) and `cargo insta` work as ever. On
//! every other schedule the same files are compared here, without what a disturbance may legitimately change, and nothing is written.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Once;

use crate::case::Case;
use crate::diff::Diff;
use crate::observe::{Kind, Observation, Section};
use crate::schedule::Schedule;
use crate::subject::Program;

/// The header in which Kafka Connect names a record's offset: it differs when messages are sent twice.
const OFFSET_HEADER: &str = "header __connect.errors.offset:";

/// How many entries of a new snapshot a failure message shows.
const NEW_SHOWN: usize = 5;

/// One snapshot that is not as it should be.
#[derive(Debug, Clone)]
pub struct Mismatch {
    /// What to show at once.
    pub short: String,
    /// The same in full.
    pub full: String,
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Tells insta where the project is, so that it need not ask cargo in every test, and that differences are shown by this crate.
///
/// Has to be called before the process has a second thread. Variables that are set already stay, unless `accept` is asked for.
#[allow(
    unsafe_code,
    reason = "insta reads its settings from the environment, and setting a variable is unsafe beside other threads"
)]
pub(crate) fn prepare(root: &Path, accept: bool) {
    let variables: [(&str, &OsStr, bool); 3] = [
        ("INSTA_WORKSPACE_ROOT", root.as_os_str(), false),
        ("INSTA_OUTPUT", "none".as_ref(), false),
        // Not `always`: a description that changed is in the header of snapshots that did not.
        ("INSTA_UPDATE", "force".as_ref(), true),
    ];
    for (name, value, accepts) in variables {
        if if accepts { accept } else { std::env::var_os(name).is_none() } {
            // SAFETY: the callers, the harness and the runner, do this first of all, while the process has one thread.
            unsafe { std::env::set_var(name, value) };
        }
    }
}

/// What has to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Everything, and insta decides and writes.
    Exact,
    /// Items, rows and dead letters, in any order and in whatever objects.
    Invariant {
        /// Whether the offsets of dead letters do too: not where other records stand before them.
        offsets: bool,
        /// Whether rows may stand there twice, for their messages did.
        twice: bool,
    },
}

impl Comparison {
    /// What has to match after a run under this schedule.
    pub fn of(schedule: Schedule, program: &Program) -> Self {
        match schedule {
            Schedule::Plain if *program != Program::Running => Self::Exact,
            _ => Self::Invariant {
                offsets: schedule != Schedule::Twice && *program != Program::Running,
                twice: schedule == Schedule::Twice,
            },
        }
    }

    fn is_exact(self) -> bool {
        self == Self::Exact
    }
}

/// Compares every section with its snapshot and reports all that differ, then the snapshots that this run did not produce.
pub fn check(case: &Case, observation: &Observation, comparison: Comparison) -> Vec<Mismatch> {
    let folder = case.snapshots();
    let mut mismatches: Vec<Mismatch> = observation
        .sections
        .iter()
        .filter(|section| comparison.is_exact() || section.kind != Kind::Objects)
        .filter_map(|section| {
            let expected = read(&folder.join(format!("{}.snap", section.name)));
            if comparison.is_exact() { review(case, section, expected) } else { compare(section, expected, comparison) }
        })
        .collect();
    let produced: BTreeSet<String> = observation.sections.iter().map(|section| section.name.clone()).collect();
    mismatches.extend(unproduced(&folder, &produced, comparison));
    mismatches
}

/// Lets insta decide.
fn review(case: &Case, section: &Section, expected: Option<String>) -> Option<Mismatch> {
    let file = format!("snapshots/{}.snap", section.name);
    if accepted_by_insta(case, section) {
        if updates() {
            // insta leaves the pending one of an earlier run beside what it has just written.
            let _ = fs::remove_file(case.folder.join(file + ".new"));
        }
        return None;
    }
    let Some(expected) = expected else { return Some(new(&file, section)) };
    let diff = Diff::new(section.kind, &section.kind.entries(&expected), &section.entries);
    if diff.is_empty() {
        // Not a matter of entries: insta was asked for a full match, or the file is damaged.
        let text = format!("{file}: its header differs\n");
        return Some(Mismatch { short: text.clone(), full: text });
    }
    Some(mismatch(&file, &diff))
}

fn new(file: &str, section: &Section) -> Mismatch {
    let count = section.entries.len();
    let shown = Diff::new(section.kind, &[], &section.entries[..count.min(NEW_SHOWN)]).short();
    let mut short =
        format!("{file}: new, {count} {}{}\n{shown}", section.kind.noun(), if count == 1 { "" } else { "s" });
    if count > NEW_SHOWN {
        let _ = writeln!(short, "  … and {} more", count - NEW_SHOWN);
    }
    Mismatch { short, full: format!("{file}: new\n{}\n", section.text()) }
}

fn mismatch(file: &str, diff: &Diff) -> Mismatch {
    let summary = diff.summary();
    Mismatch {
        short: format!("{file}: {summary}\n{}", diff.short()),
        full: format!("{file}: {summary}\n{}", diff.full()),
    }
}

/// insta's verdict. Its panic is the way in which it says no; what differs is told by [`review`].
fn accepted_by_insta(case: &Case, section: &Section) -> bool {
    static QUIET_HOOK: Once = Once::new();
    QUIET_HOOK.call_once(|| {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                hook(panic);
            }
        }));
    });
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path(case.snapshots());
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_input_file(&case.folder);
    if let Some(description) = &case.description {
        settings.set_description(description.as_str());
    }
    QUIET.set(true);
    let verdict = panic::catch_unwind(AssertUnwindSafe(|| {
        settings.bind(|| insta::assert_snapshot!(section.name.clone(), section.text()));
    }));
    QUIET.set(false);
    verdict.is_ok()
}

/// Compares what every schedule has to leave alike.
fn compare(section: &Section, expected: Option<String>, comparison: Comparison) -> Option<Mismatch> {
    let file = format!("snapshots/{}.snap", section.name);
    let expected = section.kind.entries(&expected.unwrap_or_default());
    let expected = invariant(section.kind, expected, comparison);
    let observed = invariant(section.kind, section.entries.clone(), comparison);
    let diff = Diff::new(section.kind, &expected, &observed);
    (!diff.is_empty()).then(|| mismatch(&file, &diff))
}

/// The entries in an order of their own. Dead letters are at least once.
fn invariant(kind: Kind, mut entries: Vec<String>, comparison: Comparison) -> Vec<String> {
    let Comparison::Invariant { offsets, twice } = comparison else { return entries };
    if !offsets && kind == Kind::DeadLetters {
        for entry in &mut entries {
            *entry = entry.lines().filter(|line| !line.starts_with(OFFSET_HEADER)).collect::<Vec<_>>().join("\n");
        }
    }
    entries.sort();
    if kind == Kind::DeadLetters || twice {
        entries.dedup();
    }
    entries
}

/// Whether insta was told to write snapshots without a review.
fn updates() -> bool {
    says("INSTA_UPDATE", &["always", "1", "force"])
}

fn says(name: &str, values: &[&str]) -> bool {
    std::env::var(name).is_ok_and(|value| values.contains(&value.as_str()))
}

/// Snapshots in the folder that belong to nothing this run observed. Pending ones among them are removed: they are of an earlier run.
fn unproduced(folder: &Path, produced: &BTreeSet<String>, comparison: Comparison) -> Vec<Mismatch> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    let mut mismatches = Vec::new();
    for file in names {
        if let Some(name) = file.strip_suffix(".snap.new") {
            if comparison.is_exact() && !produced.contains(name) {
                let _ = fs::remove_file(folder.join(&file));
            }
            continue;
        }
        let Some(name) = file.strip_suffix(".snap") else { continue };
        if produced.contains(name) || (!comparison.is_exact() && name == "objects") {
            continue;
        }
        let path = folder.join(&file);
        if comparison.is_exact() && updates() {
            let _ = fs::remove_file(&path);
        } else if !comparison.is_exact() || !says("INSTA_FORCE_PASS", &["1"]) {
            let text = format!("snapshots/{file}: nothing of this was observed; if that is right, delete the file\n");
            let expected = read(&path).unwrap_or_default();
            mismatches.push(Mismatch { full: format!("{text}{expected}\n"), short: text });
        }
    }
    mismatches
}

/// The content of a snapshot file, without insta's header.
fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?.replace("\r\n", "\n");
    let content = text
        .strip_prefix("---\n")
        .and_then(|rest| rest.split_once("\n---\n"))
        .map_or(text.as_str(), |(_, content)| content);
    Some(content.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(entries: &[&str]) -> Section {
        Section {
            name: "s3__raw".into(),
            kind: Kind::Rows,
            entries: entries.iter().map(|entry| (*entry).to_owned()).collect(),
        }
    }

    #[test]
    fn a_disturbed_run_may_reorder_and_no_more() {
        let expected = || Some("a\nb".to_owned());
        let of = |schedule| Comparison::of(schedule, &Program::Shell("true".into()));
        let restarted = of(Schedule::Restarted);
        assert!(compare(&rows(&["b", "a"]), expected(), restarted).is_none());
        assert!(
            compare(&rows(&["a", "b", "b"]), expected(), restarted)
                .expect("a duplicate")
                .short
                .contains("1 row not expected")
        );
        assert!(compare(&rows(&["a"]), expected(), restarted).expect("a loss").short.contains("1 row missing"));
        assert!(compare(&rows(&["a", "a", "b", "b"]), expected(), of(Schedule::Twice)).is_none());
        assert_eq!(of(Schedule::Plain), Comparison::Exact);
        let running = Comparison::of(Schedule::Plain, &Program::Running);
        assert!(compare(&rows(&["a", "b", "b"]), expected(), running).is_some(), "nothing was sent twice");
    }

    #[test]
    fn a_snapshot_that_nothing_produced_is_reported() {
        let folder = tempfile::tempdir().expect("a folder");
        for file in ["gone.snap", "here.snap", "objects.snap"] {
            std::fs::write(folder.path().join(file), "---\nsource: x\n---\na\n").expect("written");
        }
        let produced = ["here".to_owned()].into();
        let comparison = Comparison::Invariant { offsets: true, twice: false };
        let mismatches = unproduced(folder.path(), &produced, comparison);
        assert_eq!(mismatches.len(), 1);
        assert!(mismatches[0].short.starts_with("snapshots/gone.snap: nothing of this was observed"));
        assert!(mismatches[0].full.ends_with("\na\n"));
    }
}
