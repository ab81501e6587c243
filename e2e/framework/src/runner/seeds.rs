//! `e2e seeds` repeats the runs that are kept in `fixtures/seeds.toml` because they have once found a defect: each is an
//! invocation of this runner, with a seed or a crash point, and the reason why it is there.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use clap::{Args, Parser};
use serde::Deserialize;

use super::{Arguments, FAILED};
use crate::stack::StackKind;
use crate::{Suite, hint, machine, variables};

/// The file, in the folder of the fixtures.
const FILE: &str = "seeds.toml";

#[derive(Debug, Args)]
pub(super) struct Seeds {
    /// The file with the runs, instead of fixtures/seeds.toml.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Repeat those that are for these services: embedded, docker or external.
    #[arg(long, env = variables::STACK, default_value = "embedded")]
    stack: StackKind,
    /// Append the outcome of each run as Markdown to this file.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// The runs of a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    run: Vec<Run>,
}

/// One of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    /// The arguments of the runner.
    arguments: Vec<String>,
    /// What it has found, for people.
    why: String,
    /// The services on which it runs.
    #[serde(default)]
    stack: Stack,
}

/// The name of a stack, as the file has it.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "String")]
struct Stack(StackKind);

impl TryFrom<String> for Stack {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

/// What people add to the file so that a run is repeated from now on.
pub(super) fn entry(arguments: &[String], stack: StackKind) -> String {
    let arguments: Vec<String> =
        arguments.iter().map(|argument| toml::Value::from(argument.as_str()).to_string()).collect();
    let stack = if stack == StackKind::default() { String::new() } else { format!("stack = \"{stack}\"\n") };
    format!("[[run]]\narguments = [{}]\nwhy = \"\" # what it has found\n{stack}", arguments.join(", "))
}

impl Seeds {
    /// Repeats one run after the other, each in a process of its own. The exit status is 0 if all of them have passed.
    pub(super) fn run(&self, suite: &Suite, runner: &str) -> Result<ExitCode, String> {
        let path = self.file.clone().unwrap_or_else(|| suite.fixtures.join(FILE));
        let Kept { run: runs } = read(&path)?;
        let all = runs.len();
        let runs: Vec<Run> = runs.into_iter().filter(|run| run.stack.0 == self.stack).collect();
        let report = env::var(variables::REPORT).unwrap_or_else(|_| format!("seeds-{}", std::process::id()));
        let mut failed = Vec::new();
        for run in &runs {
            let line = run.arguments.iter().map(|argument| word(argument)).collect::<Vec<_>>().join(" ");
            machine::print(&format!("\n== {line}\n   {}\n", run.why.trim()));
            if !self.repeat(suite, run, &report)? {
                failed.push(line);
            }
        }
        machine::print(&format!(
            "\n{} of {all} kept runs are for the stack {}: {} passed, {} failed\n",
            runs.len(),
            self.stack,
            runs.len() - failed.len(),
            failed.len()
        ));
        for line in &failed {
            machine::print(&format!("  ✗ {runner} {line}\n"));
        }
        Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
    }

    /// Whether a run passes. All runs share the report of this name.
    fn repeat(&self, suite: &Suite, run: &Run, report: &str) -> Result<bool, String> {
        let program = env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
        let mut command = Command::new(program);
        command.arg("--root").arg(&suite.root).args(&run.arguments);
        command.env(variables::STACK, self.stack.to_string()).env_remove(variables::SCHEDULE);
        command.env(variables::REPORT, report);
        if let Some(path) = &self.markdown {
            command.arg("--markdown").arg(path);
        }
        let status = command.status().map_err(|error| format!("cannot start this program again: {error}"))?;
        Ok(status.success())
    }
}

/// An argument as a person types it.
pub(super) fn word(argument: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/=,@+".contains(c);
    if !argument.is_empty() && argument.chars().all(is_plain) { argument.to_owned() } else { hint::quoted(argument) }
}

/// Reads the file and checks every run of it.
fn read(path: &Path) -> Result<Kept, String> {
    let hint = "see docs/failures.md";
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}; {hint}", path.display()))?;
    let kept: Kept = toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    if kept.run.is_empty() {
        return Err(format!("{} has no run, so repeating its runs would prove nothing; {hint}", path.display()));
    }
    for (run, number) in kept.run.iter().zip(1..) {
        check(run).map_err(|problem| format!("{}: run {number}: {problem}", path.display()))?;
    }
    Ok(kept)
}

/// Refuses what is not the default command, what writes snapshots, and what has no reason.
fn check(run: &Run) -> Result<(), String> {
    if run.why.trim().is_empty() {
        return Err("`why` is empty; write what the run has found".to_owned());
    }
    let arguments = std::iter::once("e2e").chain(run.arguments.iter().map(String::as_str));
    let parsed = Arguments::try_parse_from(arguments).map_err(|error| format!("`arguments`: {error}"))?;
    match parsed {
        Arguments { command: Some(_), .. } => Err("`arguments` names a command; write those of a run".to_owned()),
        Arguments { run, .. } if run.update => Err("`arguments` has `--update`, which compares nothing".to_owned()),
        Arguments { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str) -> Result<Kept, String> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), text).expect("written");
        read(file.path())
    }

    #[test]
    fn what_a_failure_prints_can_be_added_as_it_is_once_it_has_a_reason() {
        let arguments = ["p::c", "--schedule", "killed:s3.PutObject:1@raw/a \"b\""].map(str::to_owned);
        let text = entry(&arguments, StackKind::Docker);
        assert!(kept(&text).expect_err("no reason").contains("run 1: `why` is empty; write what the run has found"));
        let kept = kept(&text.replace("why = \"\"", "why = \"It lost a row.\"")).expect("valid");
        assert_eq!((kept.run[0].arguments.as_slice(), kept.run[0].stack.0), (&arguments[..], StackKind::Docker));
        assert_eq!(word(&arguments[2]), "'killed:s3.PutObject:1@raw/a \"b\"'");
        assert!(!entry(&arguments, StackKind::Embedded).contains("stack"));
    }

    #[test]
    fn a_run_that_proves_nothing_is_refused_with_its_number() {
        let run = |arguments: &str| format!("[[run]]\nwhy = 'w'\narguments = [{arguments}]\n");
        for (text, says) in [
            ("run = []".to_owned(), "has no run, so repeating"),
            (run("'--update'"), "run 1: `arguments` has `--update`"),
            (run("'mutate'"), "run 1: `arguments` names a command"),
            (run("'--sead', '1'"), "unexpected argument '--sead'"),
            (run("'a', '--schedule', 'twise'"), "there is no schedule `twise`"),
            (run("'a'") + "stack = 'dokker'", "dokker"),
            (run("'a'") + "because = ''", "unknown field `because`"),
        ] {
            let problem = kept(&text).expect_err(&text);
            assert!(problem.contains(says), "{problem}");
        }
    }
}
