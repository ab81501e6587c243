//! The command `e2e load`: runs plans and compares reports.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use e2e::internals::prepare;
use e2e::{StackKind, Suite};

use super::capacity;
use super::compared::compared;
use super::page::page;
use super::plan::Plan;
use super::report::Report;
use super::run::{Target, run};
use super::text;

/// The exit status if a limit was broken, or the run says nothing.
const FAILED: u8 = 1;

/// Send a simulated fleet to the pipeline at a fixed schedule, measure what it makes of it, and check every row.
#[derive(Debug, Parser)]
#[command(name = "load", subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The plan: a TOML file such as those in deploy/load.
    #[arg(required = true, value_name = "PLAN")]
    plan: Option<PathBuf>,
    /// The services: embedded, docker or external.
    #[arg(long, env = "E2E_STACK", default_value = "embedded")]
    stack: StackKind,
    /// Test this command as the worker instead of `fms connect`. It runs in the project's folder and finds the services in
    /// its environment.
    #[arg(long, value_name = "COMMAND")]
    subject: Option<String>,
    /// Append the outcome as Markdown to this file.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Give metrics to Prometheus at this port while the test runs, under `/metrics`; 0 is one that the system chooses.
    #[arg(long, value_name = "PORT")]
    metrics_port: Option<u16>,
    /// Instead of one run, run the first step of the plan with more and more vehicles until the pipeline no longer keeps
    /// up, and print how much it can take.
    #[arg(long)]
    capacity: bool,
    /// Search for the capacity of each of these numbers of workers, and compare them with that of one.
    #[arg(long, requires = "capacity", value_delimiter = ',', value_name = "1,2,3")]
    workers: Vec<usize>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print two reports beside each other, as Markdown.
    Compare {
        /// Write them as a page with plots to this file, too.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
        /// The `report.json` of the earlier run.
        before: PathBuf,
        /// That of the later run.
        now: PathBuf,
    },
}

/// The command line.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Carries out the command.
pub fn carry_out(suite: &Suite, matches: &clap::ArgMatches) -> Result<ExitCode, String> {
    let arguments = Arguments::from_arg_matches(matches).map_err(|error| error.to_string())?;
    if let Some(Command::Compare { html, before, now }) = &arguments.command {
        let (before, now) = (Report::read(before)?, Report::read(now)?);
        if let Some(file) = html {
            write(file, &compared(&before, &now))?;
        }
        print(&text::comparison(&before, &now));
        return Ok(ExitCode::SUCCESS);
    }
    let path = arguments.plan.as_deref().ok_or("name the file of a plan")?;
    let plan = Plan::read(path)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let folder = suite.target().join("e2e/load").join(&name);
    std::fs::create_dir_all(&folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
    prepare(false)?;
    // It answers until the test is over.
    let _metrics =
        arguments.metrics_port.map(fms::MetricsPage::start).transpose().map_err(|error| format!("{error:#}"))?;
    let target = Target { suite, stack: arguments.stack, subject: arguments.subject.as_deref(), folder: &folder };
    if plan.limits.efficiency.is_some() && !arguments.capacity {
        return Err(format!("{}: the limit `efficiency` needs --capacity --workers 1,2,3", path.display()));
    }
    if arguments.capacity {
        let found = capacity::find(&target, &name, &plan, &arguments.workers, &tell)?;
        write(&folder.join("capacity.json"), &found.to_json()?)?;
        write(&folder.join("capacity.html"), &found.page())?;
        let markdown = found.markdown();
        write(&folder.join("capacity.md"), &markdown)?;
        if let Some(file) = &arguments.markdown {
            append(file, &markdown)?;
        }
        print(&format!("report: {}\n{}", folder.join("capacity.html").display(), found.text()));
        return match found.error() {
            Some(error) => Err(format!("the search ended early: {error}")),
            None if found.is_passed() => Ok(ExitCode::SUCCESS),
            None => Ok(FAILED.into()),
        };
    }
    let report = run(&target, &name, &plan, &tell)?;
    write(&folder.join("report.json"), &report.to_json()?)?;
    write(&folder.join("report.html"), &page(&report))?;
    let markdown = text::markdown(&report);
    write(&folder.join("report.md"), &markdown)?;
    print(&text::text(&report));
    print(&format!("report: {}\n", folder.join("report.html").display()));
    if let Some(file) = &arguments.markdown {
        append(file, &markdown)?;
    }
    Ok(if report.is_passed() { ExitCode::SUCCESS } else { FAILED.into() })
}

fn tell(line: &str) {
    eprintln!("{line}");
}

/// Prints to standard output. An error means that nobody reads it.
fn print(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn append(path: &Path, text: &str) -> Result<(), String> {
    use std::io::Write as _;
    let file = std::fs::File::options().create(true).append(true).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| format!("cannot append the outcome to {}: {error}", path.display()))
}
