//! Every guarantee that `docs/delivery.md` gives names the tests that prove it, and these tests exist.

use std::fs;
use std::path::{Path, PathBuf};

/// The beginning of a list of tests.
const TESTED: &str = "*Tested by* ";

/// The sections that give no guarantee.
const NO_GUARANTEE: [&str; 1] = ["What the tests cannot reach"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The sections of the page, each with its heading and its text.
fn sections(page: &str) -> Vec<(&str, &str)> {
    page.split("\n## ").skip(1).filter_map(|section| section.split_once('\n')).collect()
}

/// The names in backquotes in the paragraph that lists tests.
fn tests(section: &str) -> Vec<String> {
    let Some((_, after)) = section.split_once(TESTED) else { return Vec::new() };
    let paragraph = after.split("\n\n").next().unwrap_or_default();
    paragraph.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The text of all sources of tests, but this one.
fn sources(folder: &Path, found: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("guarantees.rs") {
            found.push_str(&fs::read_to_string(&path).expect("a source"));
        }
    }
}

/// Whether there is a case, a test function or the name of a test. One that ends with `_` is the beginning of several.
fn exists(name: &str, sources: &str) -> bool {
    if let Some((protocol, case)) = name.split_once("::") {
        return root().join("fixtures").join(protocol).join(case).is_dir();
    }
    if name.ends_with('_') {
        return sources.contains(&format!("\"{name}"));
    }
    sources.contains(&format!("fn {name}(")) || sources.contains(&format!("\"{name}\""))
}

#[test]
fn every_guarantee_names_tests_that_exist() {
    let page = fs::read_to_string(root().join("docs/delivery.md")).expect("the page");
    let mut code = String::new();
    for folder in ["pipeline", "e2e"] {
        sources(&root().join(folder), &mut code);
    }
    let mut problems = Vec::new();
    for (heading, section) in sections(&page) {
        let tests = tests(section);
        if tests.is_empty() != NO_GUARANTEE.contains(&heading) {
            problems.push(format!("`{heading}` names {} tests", tests.len()));
        }
        let missing = tests.iter().filter(|name| !exists(name, &code));
        problems.extend(missing.map(|name| format!("`{heading}`: there is no `{name}`")));
    }
    assert!(problems.is_empty(), "docs/delivery.md:\n{}", problems.join("\n"));
}

#[test]
fn a_name_that_no_test_has_is_found() {
    let sources = "fn a_test() {}\nTrial::test(\"another\", run)\nformat!(\"a_beginning_{seed}\")";
    for name in ["a_test", "another", "a_beginning_", "vehicle-status::report"] {
        assert!(exists(name, sources), "{name}");
    }
    for name in ["a_tes", "anothe", "beginning_", "vehicle-status::reports"] {
        assert!(!exists(name, sources), "{name}");
    }
    assert_eq!(tests("Text `x`.\n\n*Tested by* `a`,\n`b::c`.\n\n`d`"), ["a", "b::c"]);
}
