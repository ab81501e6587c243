//! `e2e new <protocol>/<case>`: the folder of a fixture, and what to do next.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use e2e::Suite;

/// A message that every default understands, to be replaced.
const EXAMPLE: &str = r#"{"object":"vehicle","type":"example","command":"report","id":10022,"messaged_at":"2023-01-01T12:00:00.000+09:00","measurements":[{"timestamp_iso":"2023-01-01T11:59:59.000+09:00","seq":0}]}
"#;

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
        let write = |path: &Path, content: &[u8]| {
            fs::create_dir_all(path.parent().unwrap_or(path))
                .and_then(|()| fs::write(path, content))
                .map_err(|error| format!("cannot write {}: {error}", path.display()))
        };
        write(&folder.join("messages.ndjson"), &messages)?;
        write(&folder.join("case.toml"), b"description = \"What arrives, and what has to become of it.\"\n")?;
        if is_new {
            let defaults = "# Where this protocol's messages go, and their key. Everything else is in ../suite.toml.\n\
                            topic = \"fms.vehicle.real\"\nkey = \"${id}\"\n";
            write(&suite.fixtures.join(protocol).join("protocol.toml"), defaults.as_bytes())?;
        }
        let folder = folder.display();
        println!("{folder}/");
        println!(
            "  1. put messages into messages.ndjson, one a line{}",
            if self.from.is_some() { " (done)" } else { "" }
        );
        println!(
            "  2. say in case.toml what this is about{}",
            if is_new { "; the topic is in ../protocol.toml" } else { "" }
        );
        println!("  3. cargo run --bin e2e -- {protocol}::{case}     shows what the pipeline makes of them");
        println!("  4. cargo insta review                            accepts it, or the third command with --update");
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use e2e::{Program, discovery};

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
        assert!(new("trucks/first").write(&suite).expect_err("exists").contains("exists already"));
        for wrong in ["trucks", "a/b/c", "../x/y", "/x", "a b/c"] {
            assert!(new(wrong).write(&suite).is_err(), "{wrong}");
        }
    }
}
