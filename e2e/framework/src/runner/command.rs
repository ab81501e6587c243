//! The runner's own command: run cases, then print their table and write their report.

use std::fs;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;

use super::cases::{run_all, select};
use super::{FAILED, INFRASTRUCTURE, sweep, table};
use crate::stack::{Isolation, StackKind, docker};
use crate::{CaseId, Options, Outcome, Program, Schedule, Suite, hint, machine, reporting, variables};

#[derive(Debug, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct Run {
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
    keep_evidence: bool,
    /// Where: embedded (no Docker), docker (containers that the framework starts), external (services that run already, found through
    /// `KAFKA_BOOTSTRAP_SERVERS` and `AWS_ENDPOINT_URL`; without the latter, AWS itself).
    #[arg(long, env = variables::STACK, default_value = "embedded")]
    stack: StackKind,
    /// On the docker stack: shared (one set of containers for the run) or per-test.
    #[arg(long, env = variables::ISOLATION, default_value = "shared")]
    isolation: Isolation,
    /// Leave the shared set of containers to the next run, which then need not start it and ends it, unless it keeps it too.
    #[arg(long)]
    keep: bool,
    /// Print one JSON document instead of the table.
    #[arg(long)]
    json: bool,
    /// How runs are disturbed: plain, twice, restarted, throttled, or killed:CALL, such as killed:s3.PutObject:2 for the second of these calls,
    /// or killed:s3.PutObject:2:after to let S3 carry it out.
    #[arg(long, env = variables::SCHEDULE, default_value = "plain")]
    schedule: Schedule,
    /// Kill the subject at every call to AWS, once before and once after it: one run for each, after an undisturbed one.
    #[arg(long, conflicts_with_all = ["schedule", "update", "subject_running"])]
    sweep: bool,
    /// Test this command instead of the suite's own pipeline. It runs in the project's folder and finds everything in its environment.
    #[arg(long, value_name = "COMMAND")]
    subject: Option<String>,
    /// Test a pipeline that runs already, with its own names, on the services of the external stack, such as a composed worker. Its
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
            keep: self.keep || variables::kept(),
            whole_run: true,
            schedule: self.schedule.clone(),
            must_disturb: false,
            keep_evidence: self.keep_evidence,
        }
    }
}

/// Runs the cases that the arguments choose; an error if there is nothing to run.
pub(super) fn run(mut suite: Suite, arguments: &Run) -> Result<ExitCode, String> {
    if arguments.update && !arguments.schedule.is_plain() {
        return Err(format!("--update: snapshots are written by the plain schedule, not by {}", arguments.schedule));
    }
    if let Some(command) = &arguments.subject {
        suite.program = Program::shell(command).map_err(|problem| format!("--subject: {problem}"))?;
    }
    if arguments.subject_running {
        suite.program = Program::Running;
    }
    let without_restart = [Schedule::Plain, Schedule::Twice];
    if arguments.subject_running && !without_restart.contains(&arguments.schedule) {
        return Err(format!(
            "--subject-running takes the schedules plain and twice, not --schedule {}: a pipeline that runs already is neither started \
             again, nor do its calls to AWS pass the framework's proxy",
            arguments.schedule
        ));
    }
    machine::prepare(arguments.update)?;
    let cases = select(&suite, &arguments.filters)?;
    // Asked for by name on one case, a schedule has to do something.
    let options = Options { must_disturb: cases.len() == 1, ..arguments.options() };
    let containers = match start_containers(&suite, &options)? {
        Ok(containers) => containers,
        Err(status) => return Ok(status),
    };
    let jobs = if arguments.subject_running { NonZeroUsize::new(1) } else { arguments.jobs };
    let started = Instant::now();
    let (outcomes, schedule) = if arguments.sweep {
        let run = |id: &CaseId, schedule: Schedule| {
            let repeat = repeat(id, arguments, &schedule);
            crate::run(&suite, id, &Options { schedule, must_disturb: false, ..options.clone() }, repeat)
        };
        (sweep::run(&cases, jobs, arguments.json, run), sweep::NAME.to_owned())
    } else {
        let run = |id: &CaseId| crate::run(&suite, id, &options, repeat(id, arguments, &options.schedule));
        (run_all(&cases, jobs, arguments.json, run), options.schedule.to_string())
    };
    let took = started.elapsed();
    let page = reporting::add(&suite, options.stack, &schedule, &outcomes, took);
    if arguments.json {
        machine::print(&format!("{}\n", table::json(&suite.root, &outcomes, &schedule, took)));
    } else {
        let text = if arguments.sweep { sweep::text(&outcomes, took) } else { table::text(&outcomes, took) };
        machine::print(&text);
        if let Some(containers) = &containers {
            machine::print(&format!("containers: {containers}\n"));
        }
        machine::print(&format!("project: {}\n", suite.root.display()));
    }
    if let Some(path) = &arguments.markdown {
        append(
            path,
            &table::markdown(&format!("Fixtures on {}", options.stack), &outcomes, took, containers.as_deref()),
        );
    }
    match page {
        Ok(path) if !arguments.json => machine::print(&format!("report: {}\n", path.display())),
        Ok(_) => {}
        // The verdicts stand without it.
        Err(problem) => machine::warn(&problem),
    }
    Ok(status(&outcomes))
}

/// The exit status of a run with these outcomes.
pub(super) fn status(outcomes: &[Outcome]) -> ExitCode {
    let failed = |infrastructure| {
        outcomes.iter().any(|outcome| outcome.failure().is_some() && outcome.is_infrastructure() == infrastructure)
    };
    match (failed(false), failed(true)) {
        (true, _) => ExitCode::from(FAILED),
        (false, true) => ExitCode::from(INFRASTRUCTURE),
        (false, false) => ExitCode::SUCCESS,
    }
}

/// On the Docker stack, makes sure of the engine and starts the containers that cases share; gives how long they took.
///
/// Without an engine nothing was run. If the containers do not start, that is said once, and not by every case.
pub(super) fn start_containers(suite: &Suite, options: &Options) -> Result<Result<Option<String>, ExitCode>, String> {
    if options.stack != StackKind::Docker {
        return Ok(Ok(None));
    }
    options.stack.check().and_then(|()| docker::check_engine()).map_err(|error| error.to_string())?;
    if options.isolation == Isolation::PerTest {
        return Ok(Ok(None));
    }
    match docker::start_set(options, &suite.docker_folder()) {
        Ok(set) => Ok(Ok(Some(docker::describe(&set)))),
        Err(error) => {
            machine::warn(&format!("infrastructure, not the pipeline: while starting the services: {error}"));
            Ok(Err(ExitCode::from(INFRASTRUCTURE)))
        }
    }
}

/// Appends Markdown to the summary of a job. Where that fails it only warns, for the verdicts stand without it.
pub(super) fn append(path: &Path, text: &str) {
    let file = fs::File::options().create(true).append(true).open(path);
    if let Err(error) = file.and_then(|mut file| file.write_all(text.as_bytes())) {
        machine::warn(&format!("cannot append the summary to {}: {error}", path.display()));
    }
}

/// The command that runs one case again.
fn repeat(id: &CaseId, arguments: &Run, schedule: &Schedule) -> String {
    let schedule = (!schedule.is_plain()).then(|| format!(" --schedule {}", hint::quoted(&schedule.to_string())));
    let stack = (arguments.stack != StackKind::default()).then(|| format!(" --stack {}", arguments.stack));
    let isolation =
        (arguments.isolation != Isolation::default()).then(|| format!(" --isolation {}", arguments.isolation));
    let subject = arguments.subject.as_ref().map(|subject| format!(" --subject {}", hint::quoted(subject)));
    let running = arguments.subject_running.then(|| " --subject-running".to_owned());
    let options = [schedule, stack, isolation, subject, running];
    format!("{} {id}{}", hint::runner(), options.into_iter().flatten().collect::<String>())
}
