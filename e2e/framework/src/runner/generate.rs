//! `e2e --generate N` makes fixtures of all workloads of up to N messages that a list of messages allows.
//!
//! Nobody has approved what these workloads lead to. An undisturbed run, repeated until three of them agree, says it; then
//! the other schedules have to lead to the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::files::{copied, emptied};
use crate::Suite;

/// The folder of the fixtures that has the messages, and the settings of the workloads in `protocol.toml`.
const SOURCE: &str = "generate";

/// The protocol of the cases that are made.
const PROTOCOL: &str = "generated";

/// What stands for the place of a message in its workload, from 1.
const PLACE: &str = "${n}";

/// The file of the messages: the text of each by its name.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Messages(BTreeMap<String, String>);

/// Writes the fixtures of all workloads of up to `bound` messages, in the place of those that were written before, and
/// gives the suite that has them.
pub(super) fn write(suite: &Suite, bound: usize) -> Result<Suite, String> {
    let source = suite.fixtures.join(SOURCE);
    let messages = read(&source.join("messages.toml"))?;
    let fixtures = suite.target().join("e2e/generated/fixtures");
    let protocol = fixtures.join(PROTOCOL);
    emptied(&fixtures)?;
    copied(&suite.fixtures.join("suite.toml"), &fixtures.join("suite.toml"))?;
    copied(&source.join("protocol.toml"), &protocol.join("protocol.toml"))?;
    for workload in workloads(&messages, bound) {
        let names: Vec<&str> = workload.iter().map(|(name, _)| *name).collect();
        let folder = protocol.join(names.join("_"));
        let lines = workload.iter().zip(1..).map(|((_, text), place)| text.replace(PLACE, &place.to_string()) + "\n");
        emptied(&folder)?;
        let path = folder.join("messages.ndjson");
        let written = fs::write(&path, lines.collect::<String>());
        written.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(Suite { fixtures, ..suite.clone() })
}

fn read(path: &Path) -> Result<BTreeMap<String, String>, String> {
    let hint = "it names the messages of which workloads are generated, see docs/schedules.md";
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}; {hint}", path.display()))?;
    let Messages(messages) = toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if let Some((name, _)) = messages.iter().find(|(name, text)| !is_name(name) || text.contains('\n')) {
        let problem = "a name has letters, digits and `-`, and a message has one line";
        return Err(format!("{}: `{name}`: {problem}", path.display()));
    }
    if messages.is_empty() {
        return Err(format!("{} has no message; {hint}", path.display()));
    }
    Ok(messages)
}

/// The names and texts of messages in the order in which they are sent.
type Workload<'a> = Vec<(&'a str, &'a str)>;

/// All sequences of 1 to `bound` messages, the shorter ones first.
fn workloads(messages: &BTreeMap<String, String>, bound: usize) -> Vec<Workload<'_>> {
    let mut all = Vec::new();
    let mut longest: Vec<Workload<'_>> = vec![Vec::new()];
    for _ in 0..bound {
        let mut longer = Vec::new();
        for workload in &longest {
            let next = messages.iter().map(|(name, text)| (name.as_str(), text.as_str()));
            longer.extend(next.map(|message| workload.iter().copied().chain([message]).collect::<Workload<'_>>()));
        }
        all.extend(longer.iter().cloned());
        longest = longer;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::Program;
    use crate::{CaseId, discovery};

    fn project(messages: &str) -> (tempfile::TempDir, Suite) {
        let root = tempfile::tempdir().expect("a folder");
        let source = root.path().join("fixtures/generate");
        fs::create_dir_all(&source).expect("created");
        fs::write(root.path().join("fixtures/suite.toml"), "topic = 't'\n").expect("written");
        fs::write(source.join("protocol.toml"), "groups = ['g']\n").expect("written");
        fs::write(source.join("messages.toml"), messages).expect("written");
        let suite = Suite::new(root.path(), Program::Running);
        (root, suite)
    }

    #[test]
    fn every_sequence_of_up_to_so_many_messages_is_a_case() {
        let messages: BTreeMap<String, String> = ["a", "b", "c"].map(|name| (name.to_owned(), name.to_owned())).into();
        for (bound, expected) in [(1, 3), (2, 3 + 9), (3, 3 + 9 + 27)] {
            assert_eq!(workloads(&messages, bound).len(), expected);
        }
        let names: Vec<String> =
            workloads(&messages, 2).iter().map(|w| w.iter().map(|(name, _)| *name).collect()).collect();
        assert_eq!(names[..5], ["a", "b", "c", "aa", "ab"]);
    }

    #[test]
    fn messages_know_their_place_and_earlier_fixtures_are_gone() {
        let (_root, suite) = project("late = 'late ${n}'\nbad = 'no json'\n");
        write(&suite, 3).expect("written");
        let generated = write(&suite, 2).expect("written again");
        let cases: Vec<String> =
            discovery::list(&generated.fixtures).expect("cases").iter().map(ToString::to_string).collect();
        assert_eq!(
            cases,
            ["bad", "bad_bad", "bad_late", "late", "late_bad", "late_late"].map(|name| format!("generated::{name}"))
        );
        let id = CaseId { protocol: PROTOCOL.into(), name: "bad_late".into() };
        let text = fs::read_to_string(id.folder(&generated.fixtures).join("messages.ndjson")).expect("messages");
        assert_eq!(text, "no json\nlate 2\n");
    }

    #[test]
    fn what_cannot_be_generated_is_told_with_the_file() {
        for (messages, says) in [
            ("", "messages.toml has no message"),
            ("'a b' = 'x'", "`a b`: a name has letters"),
            ("a = \"x\\ny\"", "`a`: a name has letters, digits and `-`, and a message has one line"),
            ("a = 1", "messages.toml: "),
        ] {
            let (_root, suite) = project(messages);
            let problem = write(&suite, 1).expect_err(messages);
            assert!(problem.contains(says), "{problem}");
        }
        let (root, suite) = project("a = 'x'");
        fs::remove_dir_all(root.path().join("fixtures/generate")).expect("removed");
        assert!(write(&suite, 1).expect_err("no folder").contains("see docs/schedules.md"));
    }
}
