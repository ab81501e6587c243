//! `e2e new <protocol>/<case>`: the folder of a fixture, and what to do next.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::{Suite, hint, machine};

/// A `case.toml` to be completed.
pub(super) const CASE: &str = "description = \"What arrives, and what has to become of it.\"\n";

/// A message to be replaced.
pub(super) const EXAMPLE: &str = "{\"id\":1,\"text\":\"replace this message by one that your pipeline gets\"}\n";

#[derive(Debug, Args)]
pub(super) struct New {
    /// `protocol/case`: the folders below fixtures/.
    #[arg(value_name = "PROTOCOL/CASE")]
    name: String,
    /// Messages to begin with, one a line.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

impl New {
    pub(super) fn write(&self, suite: &Suite) -> Result<ExitCode, String> {
        let valid = |name: &str| {
            !name.is_empty()
                && !name.starts_with('.')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        let (protocol, case) = self
            .name
            .split_once('/')
            .or_else(|| self.name.split_once("::"))
            .filter(|(protocol, case)| valid(protocol) && valid(case))
            .ok_or_else(|| format!("`{}`: write PROTOCOL/CASE, with letters, digits, `-`, `_` and `.`", self.name))?;
        let folder = suite.fixtures.join(protocol).join(case);
        if folder.exists() {
            return Err(format!("{} exists already", folder.display()));
        }
        let messages = match &self.from {
            Some(path) => fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?,
            None => EXAMPLE.as_bytes().to_vec(),
        };
        let is_new = !suite.fixtures.join(protocol).exists();
        write(&folder.join("messages.ndjson"), &messages)?;
        write(&folder.join("case.toml"), CASE.as_bytes())?;
        if is_new {
            let defaults = "# What all cases of this protocol have in common; the keys are those of ../suite.toml, and what is said here wins.\n";
            write(&suite.fixtures.join(protocol).join("protocol.toml"), defaults.as_bytes())?;
        }
        let (folder, runner) = (folder.display(), hint::runner());
        let done = if self.from.is_some() { " (done)" } else { "" };
        let shared =
            if is_new { "; what its protocol has in common, such as `topic`, is in ../protocol.toml" } else { "" };
        machine::print(&format!(
            "{folder}/\n  1. put messages into messages.ndjson, one a line{done}\n  2. say in case.toml what this case is about{shared}\n  \
             3. {runner} {protocol}::{case} shows what the pipeline makes of them\n  4. cargo insta review accepts it, or the third command \
             with --update\n"
        ));
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes a file and the folders above it.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), String> {
    fs::create_dir_all(path.parent().unwrap_or(path))
        .and_then(|()| fs::write(path, content))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Program, discovery};

    fn new(name: &str) -> New {
        New { name: name.into(), from: None }
    }

    #[test]
    fn a_new_fixture_is_a_case_and_an_old_one_is_not_touched() {
        let root = tempfile::tempdir().expect("a folder");
        let suite = Suite::new(root.path(), Program::Shell("true".into()));
        new("trucks/first").write(&suite).expect("written");
        let cases: Vec<_> = discovery::list(&suite.fixtures).expect("a case").iter().map(ToString::to_string).collect();
        assert_eq!(cases, ["trucks::first"]);
        for file in ["trucks/protocol.toml", "trucks/first/case.toml", "trucks/first/messages.ndjson"] {
            let text = fs::read_to_string(suite.fixtures.join(file)).expect(file);
            assert!(
                !text.contains("fms") && !text.contains("vehicle"),
                "{file} names another project's things: {text}"
            );
        }
        assert!(new("trucks/first").write(&suite).expect_err("exists").contains("exists already"));
        for wrong in ["trucks", "a/b/c", "../x/y", "/x", "a b/c"] {
            assert!(new(wrong).write(&suite).is_err(), "{wrong}");
        }
    }
}
