//! `e2e new <protocol>/<case>` writes the folder of a new fixture and explains the next steps.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::{Suite, machine};

/// The `case.toml` of a new fixture, for its author to complete.
pub(super) const CASE: &str = "description = \"What arrives, and what has to become of it.\"\n";

/// The message of a new fixture, for its author to replace.
pub(super) const EXAMPLE: &str = "{\"id\":1,\"text\":\"replace this message by one that your pipeline gets\"}\n";

#[derive(Debug, Args)]
pub(super) struct New {
    /// `protocol/case`: the folders below fixtures/.
    #[arg(value_name = "PROTOCOL/CASE")]
    name: String,
    /// A file with messages, one a line, to begin with.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

impl New {
    /// Writes the folder. It is an error if the folder exists already. `runner` is the command that starts this
    /// runner again.
    pub(super) fn write(&self, suite: &Suite, runner: &str) -> Result<ExitCode, String> {
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
            let defaults = "# Settings of all cases of this protocol. The keys are those of ../suite.toml, and the values here take precedence.\n";
            write(&suite.fixtures.join(protocol).join("protocol.toml"), defaults.as_bytes())?;
        }
        let folder = folder.display();
        let done = if self.from.is_some() { " (done)" } else { "" };
        let shared =
            if is_new { "; settings of the whole protocol, such as `topic`, belong into ../protocol.toml" } else { "" };
        machine::print(&format!(
            "{folder}/\n  1. put messages into messages.ndjson, one a line{done}\n  2. describe the case in case.toml{shared}\n  \
             3. {runner} {protocol}::{case} shows what the pipeline stores\n  4. cargo insta review accepts that, and so does the third \
             command with --update\n"
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
        new("trucks/first").write(&suite, "e2e").expect("written");
        let cases: Vec<_> = discovery::list(&suite.fixtures).expect("a case").iter().map(ToString::to_string).collect();
        assert_eq!(cases, ["trucks::first"]);
        for file in ["trucks/protocol.toml", "trucks/first/case.toml", "trucks/first/messages.ndjson"] {
            let text = fs::read_to_string(suite.fixtures.join(file)).expect(file);
            assert!(
                !text.contains("fms") && !text.contains("vehicle"),
                "{file} names another project's things: {text}"
            );
        }
        assert!(new("trucks/first").write(&suite, "e2e").expect_err("exists").contains("exists already"));
        for wrong in ["trucks", "a/b/c", "../x/y", "/x", "a b/c"] {
            assert!(new(wrong).write(&suite, "e2e").is_err(), "{wrong}");
        }
    }
}
