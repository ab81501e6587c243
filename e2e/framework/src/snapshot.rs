//! insta's snapshots beside the fixture: `snapshots/*.snap`, one for each section of what was observed.
//!
//! On the plain schedule insta compares and writes, and its variables (`INSTA_UPDATE`, `INSTA_FORCE_PASS`, …) and `cargo insta` work as
//! ever. On every other schedule the same files are only read.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Once;

use crate::case::Case;
use crate::compare::{Comparison, Mismatch, Snapshots, compare};
use crate::observe::{Observation, Section};

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

/// Compares every section with its snapshot. Gives all that differ, and the snapshots of which nothing was observed.
pub(crate) fn check(case: &Case, observation: &Observation, comparison: Comparison) -> Vec<Mismatch> {
    let folder = case.snapshots();
    if !comparison.is_exact() {
        return compare(&read_all(&folder), observation, comparison);
    }
    remove_what_is_not_observed(&folder, observation);
    // Read before insta writes.
    let expected = read_all(&folder);
    let accepted: BTreeSet<&str> =
        observation.sections.iter().filter(|section| accepted(case, section)).map(name).collect();
    let mut mismatches = compare(&expected, observation, comparison);
    mismatches.retain(|mismatch| {
        let is_observed = observation.sections.iter().any(|section| section.name == mismatch.section);
        let is_forced = !is_observed && says("INSTA_FORCE_PASS", &["1"]);
        !accepted.contains(mismatch.section.as_str()) && !is_forced
    });
    for section in observation.sections.iter().filter(|section| !accepted.contains(name(section))) {
        if mismatches.iter().all(|mismatch| mismatch.section != section.name) {
            // It is not about entries: insta was asked for a full match, or the file is damaged.
            mismatches.push(Mismatch::line(&section.name, "its header differs"));
        }
    }
    mismatches
}

fn name(section: &Section) -> &str {
    &section.name
}

/// Whether insta accepts a section, or was told to.
fn accepted(case: &Case, section: &Section) -> bool {
    let is_accepted = accepted_by_insta(case, section);
    if is_accepted && updates() {
        // insta leaves the pending snapshot of an earlier run beside what it has just written.
        let _ = fs::remove_file(case.snapshots().join(format!("{}.snap.new", section.name)));
    }
    is_accepted
}

/// insta's verdict. It says no by a panic; what differs is told by [`compare`].
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

/// Whether insta was told to write snapshots without a review.
fn updates() -> bool {
    says("INSTA_UPDATE", &["always", "1", "force"])
}

fn says(name: &str, values: &[&str]) -> bool {
    std::env::var(name).is_ok_and(|value| values.contains(&value.as_str()))
}

/// Removes pending snapshots of which nothing was observed, for they are of an earlier run; and if insta was told to write snapshots
/// without a review, those that were accepted once too.
fn remove_what_is_not_observed(folder: &Path, observation: &Observation) {
    let observed: BTreeSet<&str> = observation.sections.iter().map(name).collect();
    for file in files(folder) {
        let pending = file.strip_suffix(".snap.new");
        let stale = pending.or_else(|| file.strip_suffix(".snap").filter(|_| updates()));
        if stale.is_some_and(|name| !observed.contains(name)) {
            let _ = fs::remove_file(folder.join(&file));
        }
    }
}

/// The contents of all snapshots in a folder.
fn read_all(folder: &Path) -> Snapshots {
    let read = |file: String| Some((file.strip_suffix(".snap")?.to_owned(), read(&folder.join(&file))?));
    files(folder).filter_map(read).collect()
}

fn files(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
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

    #[test]
    fn the_content_of_a_snapshot_is_what_comes_behind_its_header() {
        let folder = tempfile::tempdir().expect("a folder");
        for (file, text) in
            [("a.snap", "---\nsource: x\n---\nb\n"), ("c.snap.new", "pending"), ("d.snap", "---\r\n---\r\n")]
        {
            fs::write(folder.path().join(file), text).expect("written");
        }
        let expected: Snapshots = [("a", "b"), ("d", "---\n---")].map(|(name, text)| (name.into(), text.into())).into();
        assert_eq!(read_all(folder.path()), expected);
        assert!(read_all(&folder.path().join("none")).is_empty());
    }
}
