//! The runner's default command: it runs cases, prints a table of them and writes their report.

use std::fs;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::arguments::RunArguments;
use super::cases::{run_all, select};
use super::table::Told;
use super::{FAILED, INFRASTRUCTURE, advice, generate, sweep, table, with_subject};
use crate::drive::KilledStates;
use crate::stack::{Isolation, StackKind, docker};
use crate::{CaseId, Options, Outcome, Program, Schedule, Suite, hint, machine, reporting};

/// Runs the cases that the arguments select. It is an error if there are none. `runner` is the command that starts
/// this runner again.
pub(super) fn run(mut suite: Suite, arguments: &RunArguments, runner: &str) -> Result<ExitCode, String> {
    if arguments.update && !arguments.schedule.single().is_some_and(Schedule::is_plain) {
        return Err(format!("--update: snapshots are written by the plain schedule, not by {}", arguments.schedule));
    }
    suite = with_subject(suite, arguments.subject.as_deref())?;
    if arguments.subject_running {
        suite.program = Program::Running;
    }
    let disturbs_pipeline = arguments.schedule.as_slice().iter().find(|schedule| !schedule.leaves_the_pipeline_alone());
    if let Some(schedule) = disturbs_pipeline.filter(|_| arguments.subject_running) {
        return Err(format!(
            "--subject-running takes the schedules plain, twice, reordered and one-by-one, not --schedule {schedule}: a pipeline that runs \
             already is not started again, its topics are there, and its calls to AWS do not pass the framework's proxy"
        ));
    }
    if let Some(bound) = arguments.generate {
        suite = generate::write(&suite, bound.get())?;
    }
    machine::prepare(arguments.update || arguments.generate.is_some())?;
    let mut cases = select(&suite, &arguments.filters)?;
    if let Some(part) = arguments.part {
        part.keep(&mut cases);
    }
    // A schedule that was chosen for a single case was meant for that case, so it has to disturb it.
    let must_disturb = cases.len() == 1 && arguments.schedule.single().is_some();
    let options = Options { must_disturb, ..arguments.options() };
    let containers = match start_containers(&suite, &options)? {
        Ok(containers) => containers,
        Err(status) => return Ok(status),
    };
    let jobs = if arguments.subject_running { NonZeroUsize::new(1) } else { arguments.jobs };
    let Ran { outcomes, schedules, sentence, took, told } =
        run_cases(&suite, &cases, jobs, arguments, &options, runner);
    let advice = advice::text(&outcomes, arguments, &options, runner);
    let page = reporting::add(&suite, options.stack, &sentence, &outcomes, took);
    if arguments.json {
        machine::print(&format!("{}\n", table::json(&suite.root, &outcomes, &schedules, &told, took)));
    } else {
        machine::print(&told.table);
        if let Some(containers) = &containers {
            machine::print(&format!("containers: {containers}\n"));
        }
        machine::print(&format!("project: {}\n", suite.root.display()));
        machine::print(&advice);
    }
    if let Some(path) = &arguments.markdown {
        let title = format!("Fixtures on {}", options.stack);
        append(path, &table::markdown(&title, &outcomes, &told, took, containers.as_deref()));
        if !advice.is_empty() {
            append(path, &format!("``````\n{}\n``````\n", advice.trim()));
        }
    }
    match page {
        Ok(path) if !arguments.json => machine::print(&format!("report: {}\n", path.display())),
        Ok(_) => {}
        // The verdicts do not depend on the report.
        Err(problem) => machine::warn(&problem),
    }
    if arguments.shrink
        && let Some(failed) = advice::failed(&outcomes).next()
    {
        advice::shrink(failed, &suite, arguments, &options)?;
    }
    Ok(status(&outcomes))
}

/// What was run.
struct Ran {
    outcomes: Vec<Outcome>,
    /// The names of the schedules.
    schedules: String,
    /// What they do, for people.
    sentence: String,
    took: Duration,
    told: Told,
}

/// Runs the cases under each schedule, or sweeps them.
fn run_cases(
    suite: &Suite,
    cases: &[CaseId],
    jobs: Option<NonZeroUsize>,
    arguments: &RunArguments,
    options: &Options,
    runner: &str,
) -> Ran {
    let run = |id: &CaseId, options: &Options| crate::run(suite, id, options, repeat(id, runner, arguments, options));
    let started = Instant::now();
    if arguments.sweep {
        let sample = arguments.sample.map(|points| {
            // A short number is enough, and it is easier to type.
            let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
            sweep::Sample { points, seed }
        });
        // To look at all states costs more than it spares where few of them are reached; and on services that are shared, no
        // two are the same, for names are others in every run.
        let are_foreseen = sample.is_none() && options.stack == StackKind::Embedded;
        let states = KilledStates::new(if are_foreseen { arguments.depth.get() } else { 0 });
        let options = Options { must_disturb: false, killed_states: Some(states.clone()), ..options.clone() };
        let run_under = |id: &CaseId, schedule: Schedule| run(id, &Options { schedule, ..options.clone() });
        let extent = sweep::Extent { sample, depth: arguments.depth };
        let swept = sweep::run(cases, jobs, arguments.json, extent, &states, run_under);
        let took = started.elapsed();
        let told = Told { table: sweep::text(&swept, took), summary: swept.summary(), sweep: swept.json() };
        let (schedules, sentence) = (sweep::NAME.to_owned(), sweep::SENTENCE.to_owned());
        return Ran { outcomes: swept.outcomes, schedules, sentence, took, told };
    }
    let (mut outcomes, mut times) = (Vec::new(), Vec::new());
    // Only the plain schedule says what a generated workload leads to.
    let schedules =
        if arguments.generate.is_some() { arguments.schedule.with_plain() } else { arguments.schedule.clone() };
    for schedule in schedules.as_slice() {
        let started = Instant::now();
        let options = Options { schedule: schedule.clone(), ..options.clone() };
        outcomes.extend(run_all(cases, jobs, arguments.json, |id| run(id, &options)));
        times.push((schedule.clone(), started.elapsed()));
    }
    let took = started.elapsed();
    let summary = if times.len() > 1 { table::by_schedule(&outcomes, &times) } else { String::new() };
    let told = Told { table: table::text(&outcomes, took) + &summary, summary, ..Told::default() };
    Ran { outcomes, schedules: schedules.to_string(), sentence: schedules.sentence(), took, told }
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

/// On the Docker stack, checks that there is an engine, starts the containers that cases share, and returns how long
/// they took to start.
///
/// The outer error means that nothing was run, because there is no engine. If the containers do not start, this
/// function reports it once, so that not every case does.
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

/// Appends Markdown to a file. If that fails, a warning is printed, because the verdicts do not depend on the file.
pub(super) fn append(path: &Path, text: &str) {
    let file = fs::File::options().create(true).append(true).open(path);
    if let Err(error) = file.and_then(|mut file| file.write_all(text.as_bytes())) {
        machine::warn(&format!("cannot append the summary to {}: {error}", path.display()));
    }
}

/// The command that runs one case again.
fn repeat(id: &CaseId, runner: &str, arguments: &RunArguments, options: &Options) -> String {
    let subject = arguments.subject.as_ref().map(|subject| format!(" --subject {}", hint::quoted(subject)));
    let running = if arguments.subject_running { " --subject-running" } else { "" };
    let generate = arguments.generate.map(|bound| format!(" --generate {bound}"));
    let (subject, generate) = (subject.unwrap_or_default(), generate.unwrap_or_default());
    format!("{runner} {id}{generate}{}{subject}{running}", hint::options(options))
}
