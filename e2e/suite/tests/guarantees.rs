//! Every guarantee that `docs/delivery.md` gives names the tests that prove it and the schedules that they survive, and these
//! exist.

use std::fs;
use std::path::{Path, PathBuf};

use e2e::{Schedule, Schedules};

/// The head of the table with which each section ends.
const TABLE: &str = "| what | tests and fixtures | what they survive |\n| --- | --- | --- |\n";

/// The sections that give no guarantee.
const NO_GUARANTEE: [&str; 1] = ["What the tests cannot reach"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The sections of the page, each with its heading and its text.
fn sections(page: &str) -> Vec<(&str, &str)> {
    page.split("\n## ").skip(1).filter_map(|section| section.split_once('\n')).collect()
}

/// The rows of the table of a section: what is guaranteed, what proves it, and what that survives.
fn rows(section: &str) -> Vec<[&str; 3]> {
    let table = section.split_once(TABLE).map_or("", |(_, table)| table);
    let lines = table.lines().take_while(|line| line.starts_with('|'));
    let cells =
        |line| <[&str; 3]>::try_from(str::trim_matches(line, '|').split('|').map(str::trim).collect::<Vec<_>>());
    lines.map(|line| cells(line).unwrap_or_else(|cells| panic!("a row has {} cells: {line}", cells.len()))).collect()
}

/// The names in backquotes.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The texts of all sources of tests, but this one.
fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("guarantees.rs") {
            found.push(fs::read_to_string(&path).expect("a source"));
        }
    }
}

/// Whether there is a case or a test. A name that ends with `_` is the beginning of several.
fn exists(name: &str, sources: &[String]) -> bool {
    if let Some((protocol, case)) = name.split_once("::") {
        return root().join("fixtures").join(protocol).join(case).is_dir();
    }
    sources.iter().any(|source| is_test_function(name, source) || is_trial(name, source))
}

/// Whether a source has a function of this name with the attribute of a test above it.
fn is_test_function(name: &str, source: &str) -> bool {
    if !source.contains(&format!("fn {name}(")) {
        return false;
    }
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let is_named =
        |line: &&str| line.starts_with(&format!("fn {name}(")) || line.starts_with(&format!("async fn {name}("));
    let above =
        |at: usize| lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
    let is_test = |line: &&str| *line == "#[test]" || line.starts_with("#[tokio::test");
    lines.iter().enumerate().filter(|(_, line)| is_named(line)).any(|(at, _)| above(at).any(is_test))
}

/// Whether a source that makes tests by themselves has this name, or this beginning of names, as a text.
fn is_trial(name: &str, source: &str) -> bool {
    let end = if name.ends_with('_') { "" } else { "\"" };
    source.contains("Trial::test(") && source.contains(&format!("\"{name}{end}"))
}

/// Whether there is a schedule of this name; the sweep kills at every call.
fn is_schedule(name: &str) -> bool {
    name == "sweep" || (name != Schedules::default().to_string() && name.parse::<Schedule>().is_ok())
}

#[test]
fn every_guarantee_names_tests_that_exist_and_what_they_survive() {
    let page = fs::read_to_string(root().join("docs/delivery.md")).expect("the page");
    let mut code = Vec::new();
    for folder in ["pipeline", "e2e"] {
        sources(&root().join(folder), &mut code);
    }
    let mut problems = Vec::new();
    for (heading, section) in sections(&page) {
        let rows = rows(section);
        if rows.is_empty() != NO_GUARANTEE.contains(&heading) {
            problems.push(format!("`{heading}` has {} rows", rows.len()));
        }
        for [what, tests, survived] in rows {
            if what.is_empty() || survived.is_empty() || names(tests).next().is_none() {
                problems.push(format!("`{heading}`: a cell of `{what}` is empty, or names no test"));
            }
            problems.extend(
                names(tests).filter(|name| !exists(name, &code)).map(|name| format!("there is no test `{name}`")),
            );
            let unknown = names(survived).filter(|name| !is_schedule(name));
            problems.extend(unknown.map(|name| format!("`{heading}`: there is no schedule `{name}`")));
            // Only fixtures run under schedules.
            if names(survived).next().is_some() && !tests.contains("::") {
                problems.push(format!("`{heading}`: `{what}` names schedules and no fixture"));
            }
        }
    }
    assert!(problems.is_empty(), "docs/delivery.md:\n{}", problems.join("\n"));
}

#[test]
fn what_is_no_test_and_no_schedule_is_found() {
    let sources = [
        "#[test]\n// Why.\nfn a_test() {}\n\nfn a_helper() {}\n".to_owned(),
        "Trial::test(\"another\", run)\nformat!(\"a_beginning_{seed}\")".to_owned(),
        "println!(\"a text\")".to_owned(),
    ];
    for name in ["a_test", "another", "a_beginning_", "vehicle-status::report"] {
        assert!(exists(name, &sources), "{name}");
    }
    for name in ["a_tes", "a_helper", "anothe", "a text", "beginning_", "vehicle-status::reports"] {
        assert!(!exists(name, &sources), "{name}");
    }
    assert!(["sweep", "twice", "variant:flush-1"].into_iter().all(is_schedule));
    assert!(["plain", "swept", ""].into_iter().all(|name| !is_schedule(name)));
    let section = format!("Text `x`.\n\n{TABLE}| a | `b`, `c::d` | `twice` |\n\n| no | `row` | here |");
    assert_eq!(rows(&section), [["a", "`b`, `c::d`", "`twice`"]]);
    assert_eq!(names("`b`, `c::d`").collect::<Vec<_>>(), ["b", "c::d"]);
}
