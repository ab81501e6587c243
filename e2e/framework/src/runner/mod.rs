//! The runner: a command line that runs cases in parallel and shows a progress bar, a table and a report. It also
//! begins new projects and fixtures.

mod advice;
mod arguments;
pub(crate) mod cases;
mod command;
mod files;
mod generate;
mod init;
mod mutate;
mod mutations;
mod new;
mod parity;
mod record;
mod seeds;
mod shrink;
mod slots;
mod sweep;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::stack::docker;
use crate::{Program, Suite, hint, machine, variables};

/// The exit status if a case failed.
const FAILED: u8 = 1;
/// The exit status if nothing was run, because of the command line, the fixtures or the container engine.
const NOT_RUN: u8 = 2;
/// The exit status if services failed, and no case failed by itself.
const INFRASTRUCTURE: u8 = 3;

/// Run fixtures end to end: send their messages to Kafka, run the pipeline, and compare what it has stored with
/// snapshots.
#[derive(Debug, Parser)]
#[command(name = "e2e", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: arguments::RunArguments,
    #[command(flatten)]
    project: Project,
}

#[derive(Debug, Args)]
struct Project {
    /// The project's folder, which has `fixtures/`. Without this option it is the nearest folder, from the current one
    /// upwards, that has `fixtures/suite.toml`.
    #[arg(long, value_name = "FOLDER", global = true)]
    root: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Begin the fixtures of a project: write a package with an example fixture, a runner and a test target.
    Init(init::Init),
    /// Begin a fixture: write its folder and explain the next steps.
    New(new::New),
    /// Run fixtures on two stacks and compare everything that was observed.
    Parity(parity::Parity),
    /// Make a fixture of what is in a topic, with fields masked.
    Record(record::RecordArguments),
    /// Find the fewest messages of a case, and the earliest calls, with which it still fails under a schedule.
    Shrink(shrink::Shrink),
    /// Repeat the runs that are kept in fixtures/seeds.toml because they have once found a defect.
    Seeds(seeds::Seeds),
    /// Show that the fixtures catch broken pipelines: make the pipeline look broken in one way after the other, and
    /// report which fixture fails.
    Mutate(mutate::Mutate),
}

/// The suite, with the command of `--subject` in the place of its own pipeline if there is one.
fn with_subject(suite: Suite, command: Option<&str>) -> Result<Suite, String> {
    let Some(command) = command else { return Ok(suite) };
    let program = Program::shell(command).map_err(|problem| format!("--subject: {problem}"))?;
    Ok(Suite { program, ..suite })
}

/// A command that a project adds to its runner.
pub struct Extra {
    /// Its name, its arguments, and what it does, for `--help`.
    pub command: fn() -> clap::Command,
    /// Carries out the command with its arguments. If it returns an error, the error is printed and the exit status is 2.
    pub run: fn(&Suite, &ArgMatches) -> Result<ExitCode, String>,
}

/// `main` of a runner, which takes the arguments of the process. It has to be called before the process starts a
/// thread.
///
/// The exit status is 0 if all cases passed, 1 if one failed, 2 if nothing was run, and 3 if only services failed.
pub fn main(program: Program, extra: &[Extra]) -> ExitCode {
    if let Some(status) = docker::reaper_if_asked() {
        return status;
    }
    // This comes before the arguments are parsed: some of them have a variable, and an error in its value would not
    // name the variable.
    let checked = variables::check();
    carry_out(checked, program, extra).unwrap_or_else(|problem| {
        machine::warn(&problem);
        ExitCode::from(NOT_RUN)
    })
}

fn carry_out(checked: Result<(), String>, program: Program, extra: &[Extra]) -> Result<ExitCode, String> {
    checked?;
    let parser = extra.iter().fold(Arguments::command(), |parser, extra| parser.subcommand((extra.command)()));
    let matches = parser.get_matches();
    refuse_arguments_before_a_command(&matches)?;
    let asked = matches.subcommand().and_then(|(name, arguments)| {
        let extra = extra.iter().find(|extra| (extra.command)().get_name() == name)?;
        Some((extra, arguments))
    });
    let project = Project::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let suite = || match &project.root {
        Some(root) => Suite::at(root, program),
        None => Suite::here(program),
    };
    let suite = || suite().map_err(|error| error.to_string());
    let runner = hint::runner(project.root.as_deref());
    if let Some((extra, arguments)) = asked {
        return (extra.run)(&suite()?, arguments);
    }
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match arguments.command {
        Some(Command::Init(_)) if project.root.is_some() => {
            Err("`init` takes the folder of the new project as its argument, and no `--root`".to_owned())
        }
        Some(Command::Init(init)) => init.write(),
        Some(Command::New(new)) => new.write(&suite()?, &runner),
        Some(Command::Parity(parity)) => parity.run(&suite()?, &runner),
        Some(Command::Record(record)) => record.record(&suite()?, &runner),
        Some(Command::Shrink(shrink)) => shrink.run(suite()?, &runner),
        Some(Command::Seeds(seeds)) => seeds.run(&suite()?, &runner),
        Some(Command::Mutate(mutate)) => mutate.run(suite, &runner),
        None => command::run(suite()?, &arguments.run, &runner),
    }
}

/// Only `--root` may stand before a command. The command would ignore every other argument there.
fn refuse_arguments_before_a_command(matches: &ArgMatches) -> Result<(), String> {
    let Some(name) = matches.subcommand_name() else { return Ok(()) };
    let arguments = arguments::RunArguments::augment_args(clap::Command::new("run"));
    let is_given = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let Some(argument) = arguments.get_arguments().find(|argument| is_given(argument.get_id().as_str())) else {
        return Ok(());
    };
    let argument = argument.get_long().map_or_else(|| "FILTER".to_owned(), |long| format!("--{long}"));
    Err(format!(
        "`{argument}` stands before the command `{name}`, which would ignore it; write the arguments of `{name}` behind it \
         (`{name} --help` lists them)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> Option<String> {
        let matches = Arguments::command().try_get_matches_from(line.split(' ')).expect("it can be parsed");
        refuse_arguments_before_a_command(&matches).err()
    }

    #[test]
    fn a_command_is_one_after_root_and_takes_no_argument_before_it() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' ')).expect("it can be parsed");
        for line in ["e2e --root /p new a/b", "e2e new --root /p a/b", "e2e new a/b --root /p"] {
            let arguments = parse(line);
            assert!(matches!(arguments.command, Some(Command::New(_))), "{line}");
            assert_eq!(arguments.project.root.as_deref(), Some(std::path::Path::new("/p")), "{line}");
            assert_eq!(refused(line), None);
        }
        let problem = refused("e2e --stack external new a/b").expect("it is refused");
        assert!(problem.contains("--stack") && problem.contains("the command `new`"), "{problem}");
        assert_eq!(refused("e2e --stack external a b"), None);
    }
}
