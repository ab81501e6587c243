//! The runner: cases in parallel with a progress bar, then a table, totals and one page of HTML.

mod measure;
mod new;
mod parity;
mod table;

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};
use std::{fs, thread};

use clap::{Args, Parser, Subcommand};
use e2e::outcome::Outcome;
use e2e::report;
use e2e::stack::{Isolation, Kind, docker};
use e2e::{CaseId, Options, Program, Schedule, Suite, discovery, harness};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A case failed.
const FAILED: u8 = 1;
/// Nothing was run: the command line, the fixtures or the engine are not right.
const NOT_RUN: u8 = 2;
/// No case failed by itself, but services did.
const INFRASTRUCTURE: u8 = 3;

/// Run fixtures end to end: messages into Kafka, the pipeline as a process, what it stored against snapshots.
#[derive(Debug, Parser)]
#[command(name = "e2e", version, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Begin a fixture: write its folder and say what to do next.
    New(new::New),
    /// Run fixtures on two stacks and compare what was observed, not only the snapshots.
    Parity(parity::Parity),
    /// Print the figures that this project promises, each beside its aim. They are about a release build.
    Measure,
}

#[derive(Debug, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "they are a command line's flags")]
struct Run {
    /// Only cases whose name, `protocol::case`, contains one of these.
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
    /// How many cases run at once; they mostly wait, so the default is four for every core.
    #[arg(long, short)]
    jobs: Option<NonZeroUsize>,
    /// Accept what the pipeline made: write new and changed snapshots, remove those that nothing produces any more.
    #[arg(long)]
    update: bool,
    /// Keep the log, offsets, calls and observed document of passing cases too.
    #[arg(long)]
    keep_capsules: bool,
    /// Where: embedded (no Docker), docker (containers of the framework's own), external (services that run already, found through
    /// `KAFKA_BOOTSTRAP_SERVERS` and `AWS_ENDPOINT_URL`; without the latter, AWS itself).
    #[arg(long, env = harness::STACK, default_value = "embedded")]
    stack: Kind,
    /// On the docker stack: shared (one set of containers for the run) or per-test.
    #[arg(long, env = harness::ISOLATION, default_value = "shared")]
    isolation: Isolation,
    /// Leave the shared set of containers to the next run, which then need not start it and ends it, unless it keeps it too.
    #[arg(long)]
    keep: bool,
    /// Print one JSON document instead of the table.
    #[arg(long)]
    json: bool,
    /// How runs are disturbed: plain, twice, restarted, throttled, killed:K, killed:K:after.
    #[arg(long, env = harness::SCHEDULE, default_value = "plain")]
    schedule: Schedule,
    /// Test this command instead of `fms connect`. It runs in the project's folder and finds everything in its environment.
    #[arg(long, value_name = "COMMAND")]
    subject: Option<String>,
    /// Test the pipeline that runs already, under its own names on the services of the external stack: the composed worker, for one. Its
    /// tables are emptied first, so services have to be at http:// endpoints.
    #[arg(long, conflicts_with = "subject", requires = "stack")]
    subject_running: bool,
    /// Append the outcome as Markdown to this file, such as a job's summary.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

impl Run {
    fn options(&self) -> Options {
        Options {
            stack: self.stack,
            isolation: self.isolation,
            keep: self.keep || harness::kept(),
            whole_run: true,
            schedule: self.schedule,
            keep_capsules: self.keep_capsules,
        }
    }
}

/// `main` of the runner. Has to be called before the process starts a thread.
pub fn main(suite: &Suite, arguments: Arguments) -> ExitCode {
    let outcome = match arguments.command {
        Some(Command::New(new)) => new.write(suite),
        Some(Command::Parity(parity)) => parity.run(suite),
        Some(Command::Measure) => measure::print(suite),
        None => run(suite, &arguments.run),
    };
    outcome.unwrap_or_else(|problem| {
        eprintln!("{problem}");
        ExitCode::from(NOT_RUN)
    })
}

fn run(suite: &Suite, arguments: &Run) -> Result<ExitCode, String> {
    if arguments.update && !arguments.schedule.is_plain() {
        return Err(format!("--update: snapshots are written by the plain schedule, not by {}", arguments.schedule));
    }
    let mut suite = suite.clone();
    if let Some(command) = &arguments.subject {
        suite.program = Program::Shell(command.clone());
    }
    if arguments.subject_running {
        suite.program = Program::Running;
    }
    harness::prepare(&suite, arguments.update);
    let cases = select(&suite, &arguments.filters)?;
    let options = arguments.options();
    let containers = match start_containers(&suite, &options)? {
        Ok(containers) => containers,
        Err(status) => return Ok(status),
    };
    let jobs = if arguments.subject_running { NonZeroUsize::new(1) } else { arguments.jobs };
    let started = Instant::now();
    let outcomes = run_all(&cases, jobs, arguments.json, |id| e2e::run(&suite, id, &options, repeat(id, arguments)));
    let took = started.elapsed();
    let page = write_page(&suite, &outcomes, arguments.schedule, took);
    if arguments.json {
        println!("{}", table::json(&outcomes, arguments.schedule, took));
    } else {
        print!("{}", table::text(&outcomes, took));
        if let Some(containers) = &containers {
            println!("containers: {containers}");
        }
    }
    if let Some(path) = &arguments.markdown {
        append(
            path,
            &table::markdown(&format!("Fixtures on {}", options.stack), &outcomes, took, containers.as_deref()),
        )?;
    }
    match page {
        Ok(path) if !arguments.json => println!("report: {}", path.display()),
        Ok(_) => {}
        // The verdicts stand without it.
        Err(problem) => eprintln!("{problem}"),
    }
    Ok(status(&outcomes))
}

fn status(outcomes: &[Outcome]) -> ExitCode {
    let failed = |infrastructure| {
        outcomes.iter().any(|outcome| outcome.failure.is_some() && outcome.infrastructure == infrastructure)
    };
    match (failed(false), failed(true)) {
        (true, _) => ExitCode::from(FAILED),
        (false, true) => ExitCode::from(INFRASTRUCTURE),
        (false, false) => ExitCode::SUCCESS,
    }
}

/// On the Docker stack, makes sure of the engine and starts the containers that cases share; how long they took.
///
/// Without an engine nothing was run; if they do not start, it is not for the cases to say so one after the other.
fn start_containers(suite: &Suite, options: &Options) -> Result<Result<Option<String>, ExitCode>, String> {
    if options.stack != Kind::Docker {
        return Ok(Ok(None));
    }
    docker::engine::check().map_err(|error| error.to_string())?;
    if options.isolation == Isolation::PerTest {
        return Ok(Ok(None));
    }
    match docker::start_set(options.docker(&suite.docker_folder())) {
        Ok(set) => Ok(Ok(Some(docker::describe(&set)))),
        Err(error) => {
            eprintln!("infrastructure, not the pipeline: while starting the services: {error}");
            Ok(Err(ExitCode::from(INFRASTRUCTURE)))
        }
    }
}

fn append(path: &PathBuf, text: &str) -> Result<(), String> {
    let file = fs::File::options().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| format!("cannot append the summary to {}: {error}", path.display()))
}

fn select(suite: &Suite, filters: &[String]) -> Result<Vec<CaseId>, String> {
    let all = discovery::list(&suite.fixtures).map_err(|error| error.to_string())?;
    let known = all.len();
    let protocols: BTreeSet<String> = all.iter().map(|id| id.protocol.clone()).collect();
    let wanted = |id: &CaseId| filters.is_empty() || filters.iter().any(|filter| id.to_string().contains(filter));
    let cases: Vec<CaseId> = all.into_iter().filter(wanted).collect();
    if cases.is_empty() {
        let protocols: Vec<String> = protocols.into_iter().collect();
        return Err(format!(
            "none of the {known} cases has `{}` in its name; protocols: {}",
            filters.join("` or `"),
            protocols.join(", ")
        ));
    }
    Ok(cases)
}

/// Runs the cases, `jobs` at a time; gives their outcomes in the order of the cases.
fn run_all(
    cases: &[CaseId],
    jobs: Option<NonZeroUsize>,
    quiet: bool,
    run: impl Fn(&CaseId) -> Outcome + Sync,
) -> Vec<Outcome> {
    let jobs =
        jobs.map_or_else(|| thread::available_parallelism().map_or(8, |cores| cores.get() * 4), NonZeroUsize::get);
    let bar = progress(cases.len());
    let next = Mutex::new(cases.iter());
    let outcomes = Mutex::new(Vec::with_capacity(cases.len()));
    thread::scope(|scope| {
        for _ in 0..jobs.min(cases.len()) {
            scope.spawn(|| {
                loop {
                    let Some(id) = next.lock().unwrap_or_else(PoisonError::into_inner).next() else { break };
                    let outcome = run(id);
                    if let (Some(failure), false) = (&outcome.failure, quiet) {
                        bar.suspend(|| println!("✗ {id}\n  {}\n", failure.trim_end().replace('\n', "\n  ")));
                    }
                    bar.inc(1);
                    outcomes.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
                }
            });
        }
    });
    bar.finish_and_clear();
    let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by(|a, b| a.id.cmp(&b.id));
    outcomes
}

fn progress(cases: usize) -> ProgressBar {
    let target =
        if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(cases as u64), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} cases, {elapsed}") {
        bar.set_style(style);
    }
    bar
}

/// The command that runs one case again.
fn repeat(id: &CaseId, arguments: &Run) -> String {
    let schedule = (!arguments.schedule.is_plain()).then(|| format!(" --schedule {}", arguments.schedule));
    let stack = (arguments.stack != Kind::default()).then(|| format!(" --stack {}", arguments.stack));
    let isolation =
        (arguments.isolation != Isolation::default()).then(|| format!(" --isolation {}", arguments.isolation));
    let quoted = |subject: &String| format!(" --subject '{}'", subject.replace('\'', "'\\''"));
    let running = arguments.subject_running.then(|| " --subject-running".to_owned());
    let options = [schedule, stack, isolation, arguments.subject.as_ref().map(quoted), running];
    format!("cargo run --bin e2e -- {id}{}", options.into_iter().flatten().collect::<String>())
}

fn write_page(suite: &Suite, outcomes: &[Outcome], schedule: Schedule, took: Duration) -> Result<PathBuf, String> {
    let folder = suite.target().join("e2e");
    let path = folder.join("report.html");
    fs::create_dir_all(&folder).and_then(|()| fs::write(&path, report::html(outcomes, schedule, took))).map_err(
        |error| {
            format!(
                "cannot write the report {}: {error}; set CARGO_TARGET_DIR to a folder that can be written",
                path.display()
            )
        },
    )?;
    Ok(path)
}
