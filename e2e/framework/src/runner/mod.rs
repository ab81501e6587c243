//! The runner: a command line that runs cases in parallel, with a progress bar, a table and a report, and begins new ones.

pub(crate) mod cases;
mod command;
mod init;
mod new;
mod parity;
mod sweep;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::stack::docker;
use crate::{Program, Suite, machine, variables};

/// A case failed.
const FAILED: u8 = 1;
/// Nothing was run: the command line, the fixtures or the engine are not right.
const NOT_RUN: u8 = 2;
/// No case failed by itself, but services did.
const INFRASTRUCTURE: u8 = 3;

/// Run fixtures end to end: messages into Kafka, the pipeline as a process, what it stored against snapshots.
#[derive(Debug, Parser)]
#[command(name = "e2e", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: command::Run,
    #[command(flatten)]
    project: Project,
}

#[derive(Debug, Args)]
struct Project {
    /// The project's folder, which has `fixtures/`; else it is the nearest folder, from the current one upwards, with
    /// `fixtures/suite.toml`.
    #[arg(long, value_name = "FOLDER", global = true)]
    root: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Begin the fixtures of a project that has none: write a package that runs them, with an example.
    Init(init::Init),
    /// Begin a fixture: write its folder and say what to do next.
    New(new::New),
    /// Run fixtures on two stacks and compare what was observed, not only the snapshots.
    Parity(parity::Parity),
}

/// A command that a project adds to its runner.
pub struct Extra {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does, for `--help`.
    pub about: &'static str,
    /// Does it; an error is printed, and the exit status is that of a run in which nothing was run.
    pub run: fn(&Suite) -> Result<ExitCode, String>,
}

/// `main` of a runner: takes the arguments of the process. Has to be called before the process starts a thread.
///
/// The exit status is 0 if all cases passed, 1 if one failed, 2 if nothing was run, and 3 if only services failed.
pub fn main(program: Program, extra: &[Extra]) -> ExitCode {
    if let Some(status) = docker::reaper_if_asked() {
        return status;
    }
    // Before the arguments are parsed, for some of them have a variable, whose value would be blamed without its name.
    let checked = variables::check();
    carry_out(checked, program, extra).unwrap_or_else(|problem| {
        machine::warn(&problem);
        ExitCode::from(NOT_RUN)
    })
}

fn carry_out(checked: Result<(), String>, program: Program, extra: &[Extra]) -> Result<ExitCode, String> {
    checked?;
    let parser = extra.iter().fold(Arguments::command(), |parser, extra| {
        parser.subcommand(clap::Command::new(extra.name).about(extra.about))
    });
    let matches = parser.get_matches();
    let asked = matches.subcommand_name().and_then(|name| extra.iter().find(|extra| extra.name == name));
    let project = Project::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let suite = || match &project.root {
        Some(root) => Suite::at(root, program),
        None => Suite::here(program),
    };
    let suite = || suite().map_err(|error| error.to_string());
    if let Some(extra) = asked {
        return (extra.run)(&suite()?);
    }
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match arguments.command {
        Some(Command::Init(init)) => init.write(),
        Some(Command::New(new)) => new.write(&suite()?),
        Some(Command::Parity(parity)) => parity.run(&suite()?),
        None => command::run(suite()?, &arguments.run),
    }
}
