//! Which cases there are: the folders `fixtures/<protocol>/<case>/`. Only names are read, no fixture is opened.

use std::path::Path;

use crate::case::{CaseId, FixtureError};

/// All cases, sorted. None at all is an error: a suite that finds nothing must not pass.
pub fn list(fixtures: &Path) -> Result<Vec<CaseId>, FixtureError> {
    let mut cases = Vec::new();
    for protocol in folders(fixtures)? {
        for name in folders(&fixtures.join(&protocol))? {
            cases.push(CaseId { protocol: protocol.clone(), name });
        }
    }
    if cases.is_empty() {
        let problem = "no case found: a case is a folder `<protocol>/<case>/` with `messages.ndjson` in it";
        return Err(FixtureError::new(fixtures, problem));
    }
    Ok(cases)
}

/// Names of the visible folders in a folder, sorted.
fn folders(parent: &Path) -> Result<Vec<String>, FixtureError> {
    let entries = std::fs::read_dir(parent).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut names = Vec::new();
    for entry in entries.map_err(|error| FixtureError::io(parent, "list", &error))? {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        // A link to a folder counts as a folder, so the entry's own type does not decide. What cargo builds has a tag that says so.
        if name.starts_with('.') || !path.is_dir() || path.join("CACHEDIR.TAG").is_file() {
            continue;
        }
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            let problem = "a test is named after its folder: use letters, digits, `-`, `_` and `.`";
            return Err(FixtureError::new(&entry.path(), problem));
        }
        names.push(name);
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(folders: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for folder in folders {
            std::fs::create_dir_all(root.path().join(folder)).expect("created");
        }
        root
    }

    #[test]
    fn cases_are_sorted_and_named_after_their_folders() {
        let root = tree(&["b/two", "a/one", "b/one", ".git/x"]);
        std::fs::write(root.path().join("suite.toml"), "not = [read").expect("written");
        std::fs::create_dir_all(root.path().join("target/debug")).expect("created");
        std::fs::write(root.path().join("target/CACHEDIR.TAG"), "").expect("written");
        let names: Vec<_> = list(root.path()).expect("cases").iter().map(ToString::to_string).collect();
        assert_eq!(names, ["a::one", "b::one", "b::two"]);
    }

    #[test]
    fn no_case_is_an_error_and_so_is_a_name_that_is_no_test_name() {
        assert!(list(tree(&["a"]).path()).expect_err("none").problem.contains("no case found"));
        assert!(list(tree(&["a/b c"]).path()).is_err());
        assert!(list(Path::new("/nowhere")).is_err());
    }
}
