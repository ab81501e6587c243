//! The runner's default command: it runs cases, prints a table of them and writes their report.

use std::fs;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use super::cases::{Part, run_all, select};
use super::table::Told;
use super::{FAILED, INFRASTRUCTURE, advice, generate, sweep, table, with_subject};
use crate::drive::KilledStates;
use crate::schedule::Schedules;
use crate::stack::{Isolation, StackKind, docker};
use crate::{CaseId, Options, Outcome, Program, Schedule, Suite, hint, machine, reporting, variables};

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct RunArguments {
    /// Run only the cases whose name, `protocol::case`, contains one of these texts.
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
    /// Run only one part of these cases, such as 1/4. Together, the parts are all of them.
    #[arg(long, value_name = "K/N")]
    part: Option<Part>,
    /// How many cases run at once. Cases mostly wait, so without this option there are at least four for every processor, and
    /// more as long as processors idle.
    #[arg(long, short)]
    jobs: Option<NonZeroUsize>,
    /// Accept what the pipeline has stored: write new and changed snapshots, and remove those that nothing produces
    /// any more.
    #[arg(long)]
    update: bool,
    /// Keep the evidence of cases that pass, too: the log, the offsets, the calls and everything that was observed.
    #[arg(long)]
    keep_evidence: bool,
    /// The services: embedded (in this process), docker (containers that the framework starts), or external (services
    /// that run already; `KAFKA_BOOTSTRAP_SERVERS` and `AWS_ENDPOINT_URL` name them, and without the latter they are
    /// those of AWS).
    #[arg(long, env = variables::STACK, default_value = "embedded")]
    stack: StackKind,
    /// The containers of the docker stack: shared (one set for the whole run) or per-test.
    #[arg(long, env = variables::ISOLATION, default_value = "shared")]
    isolation: Isolation,
    /// Leave the shared set of containers to the next run, which then starts faster. That run ends the containers,
    /// unless it keeps them too.
    #[arg(long)]
    keep: bool,
    /// Print one JSON document instead of the table.
    #[arg(long)]
    json: bool,
    /// How runs are disturbed: one or several of plain, twice, reordered, reordered:SEED, one-by-one, partitions-N,
    /// restarted, restarted:N, throttled, flaky, slow, denied, clock, broker-down, commit-lost, leader-change, takeover, frozen,
    /// variant:NAME and killed:CALL, separated by commas; or all, which are those that need neither NAME nor CALL.
    /// killed:s3.PutObject:2 kills the pipeline at the second of these calls; killed:s3.PutObject:2:after does so after S3
    /// has carried out the call.
    #[arg(long, value_name = "NAME[,NAME…]", env = variables::SCHEDULE, default_value = "plain")]
    schedule: Schedules,
    /// Run every case undisturbed, then once for each of its calls to AWS and Kafka with the pipeline killed before the
    /// call, and once with the pipeline killed after it; a batch is also torn.
    #[arg(long, conflicts_with_all = ["schedule", "update", "subject_running"])]
    sweep: bool,
    /// Instead of the project's fixtures, run all workloads of up to N messages, which are those of
    /// fixtures/generate/messages.toml. An undisturbed run says what each leads to, and other schedules have to lead to the same.
    #[arg(long, value_name = "N", conflicts_with_all = ["update", "subject_running"])]
    generate: Option<NonZeroUsize>,
    /// With --sweep: how many crashes there are in one run. With 2, what is started again after a crash is killed at each of
    /// its own calls, too.
    #[arg(long, value_name = "N", requires = "sweep", default_value = "1")]
    depth: NonZeroUsize,
    /// With --sweep: kill the pipeline at this many of the calls only, and with --depth 2 at as many of those that follow a
    /// crash. A seed chooses them.
    #[arg(long, value_name = "N", requires = "sweep")]
    sample: Option<NonZeroUsize>,
    /// With --sample: the seed, which chooses the same calls again. Without it, a new one is chosen and printed.
    #[arg(long, value_name = "S", requires = "sample")]
    seed: Option<u64>,
    /// Test this command instead of the suite's own pipeline. It runs in the project's folder and finds the services
    /// in its environment.
    #[arg(long, value_name = "COMMAND")]
    subject: Option<String>,
    /// Test a pipeline that runs already, under its own names, on the external stack. Its tables are emptied first,
    /// so the services have to be at http:// endpoints.
    #[arg(long, conflicts_with = "subject", requires = "stack")]
    pub(super) subject_running: bool,
    /// Make the first run that fails under a schedule smaller at once, as the command `shrink` does.
    #[arg(long, conflicts_with_all = ["json", "subject_running"])]
    shrink: bool,
    /// Append the outcome as Markdown to this file, for example to the summary of a CI job.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

impl RunArguments {
    /// Whether the run accepts what it observes instead of comparing it.
    pub(super) fn writes_snapshots(&self) -> bool {
        self.update
    }

    /// The arguments beside its case and the stack that make one of these runs the same.
    pub(super) fn same(&self, options: &Options) -> Vec<String> {
        let mut same = vec!["--schedule".to_owned(), options.schedule.to_string()];
        if let Some(bound) = self.generate {
            same.extend(["--generate".to_owned(), bound.to_string()]);
        }
        if options.isolation != Isolation::default() {
            same.extend(["--isolation".to_owned(), options.isolation.to_string()]);
        }
        if let Some(subject) = &self.subject {
            same.extend(["--subject".to_owned(), subject.clone()]);
        }
        same
    }

    fn options(&self) -> Options {
        Options {
            stack: self.stack,
            isolation: self.isolation,
            keep: self.keep || variables::kept(),
            whole_run: true,
            schedule: Schedule::Plain,
            must_disturb: false,
            keep_evidence: self.keep_evidence,
            killed_states: None,
        }
    }
}

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
        let killed_states = Some(KilledStates::default());
        let options = Options { must_disturb: false, killed_states, ..options.clone() };
        let run_under = |id: &CaseId, schedule: Schedule| run(id, &Options { schedule, ..options.clone() });
        let extent = sweep::Extent { sample, depth: arguments.depth };
        let swept = sweep::run(cases, jobs, arguments.json, extent, run_under);
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
