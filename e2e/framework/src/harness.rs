//! The test target: every case is a test, named `<protocol>::<case>`, for `cargo nextest run` and `cargo test`.

use std::panic;
use std::process::ExitCode;
use std::str::FromStr;
use std::thread;

use libtest_mimic::{Arguments, Completion, Trial};
use nix::sys::signal::{SigSet, Signal};

use crate::outcome::Verdict;
use crate::stack::docker::{KEEP_VARIABLE, engine, reaper};
use crate::stack::{Isolation, Kind};
use crate::{CaseId, Options, Program, Suite, discovery, evidence, hint, machine, reporting, run, snapshot, subject};

/// The variable that chooses a schedule for a test run.
pub const SCHEDULE: &str = "E2E_SCHEDULE";

/// The variable that chooses a stack: `embedded`, `docker` or `external`. nextest's profile of one of these names does it too.
pub const STACK: &str = "E2E_STACK";

/// The variable that says how tests are kept apart on the Docker stack: `shared` or `per-test`.
pub const ISOLATION: &str = "E2E_ISOLATION";

/// `main` of a test target with `harness = false`, for the project that the current folder is in. Takes the arguments that cargo and
/// nextest give to a test executable.
///
/// Has to be called before the process starts a thread.
pub fn main(program: Program) -> ExitCode {
    main_with(|| Suite::here(program).map_err(|error| error.to_string()))
}

/// [`main`] for a suite wherever it is.
pub fn main_of(suite: &Suite) -> ExitCode {
    main_with(|| Ok(suite.clone()))
}

/// Looks for the suite only after it has been asked whether this process is to end containers: that one is this executable in a folder
/// that belongs to no project.
fn main_with(suite: impl FnOnce() -> Result<Suite, String>) -> ExitCode {
    if let Some(status) = reaper::main_if_asked() {
        return status;
    }
    let arguments = Arguments::from_args();
    let prepared = suite().and_then(|suite| {
        prepare(false)?;
        let options = options()?;
        let cases = discovery::list(&suite.fixtures).map_err(|error| error.to_string())?;
        Ok((suite, cases, options))
    });
    let (suite, cases, options) = match prepared {
        Ok(prepared) => prepared,
        Err(problem) => {
            machine::warn(&problem);
            return ExitCode::from(2);
        }
    };
    // Without nextest it is this process that chooses among the cases; in a run of one case its schedule has been asked for by name.
    let chosen = |id: &CaseId| arguments.filter.as_ref().is_none_or(|filter| id.to_string().contains(filter.as_str()));
    let is_alone = std::env::var_os("NEXTEST").is_none() && cases.iter().filter(|id| chosen(id)).count() == 1;
    let options = Options { must_disturb: is_alone, ..options };
    let trials = cases.into_iter().map(|id| {
        let (suite, options) = (suite.clone(), options.clone());
        Trial::ignorable_test(id.to_string(), move || {
            let repeat = repeat(&id.to_string(), &options);
            let outcome = run(&suite, &id, &options, repeat);
            let schedule = options.schedule.to_string();
            let outcomes = std::slice::from_ref(&outcome);
            if let Err(problem) = reporting::add(&suite, options.stack, &schedule, outcomes, outcome.duration) {
                // The verdict stands without it.
                machine::warn(&problem);
            }
            match outcome.verdict {
                Verdict::Passed => Ok(Completion::Completed),
                Verdict::Undisturbed(why) => {
                    let text = format!(
                        "undisturbed: {id} passes, but the schedule {} disturbed nothing: {why}\n",
                        options.schedule
                    );
                    machine::print(&text);
                    Ok(Completion::ignored_with(format!("undisturbed: {why}")))
                }
                Verdict::Failed(why) | Verdict::Infrastructure(why) => Err(why.into()),
            }
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// What the environment asks for.
pub fn options() -> Result<Options, String> {
    let profile = std::env::var("NEXTEST_PROFILE").ok().filter(|profile| profile.parse::<Kind>().is_ok());
    Ok(Options {
        stack: variable(STACK, profile)?,
        isolation: variable(ISOLATION, None)?,
        keep: kept(),
        whole_run: false,
        schedule: variable(SCHEDULE, None)?,
        must_disturb: false,
        keep_evidence: false,
    })
}

/// Whether the environment asks to leave containers to the next run.
pub fn kept() -> bool {
    std::env::var(KEEP_VARIABLE).is_ok_and(|value| !value.is_empty() && value != "0")
}

fn variable<T: FromStr<Err = String> + Default>(name: &str, otherwise: Option<String>) -> Result<T, String> {
    match std::env::var(name).ok().or(otherwise) {
        Some(text) => text.parse().map_err(|error| format!("{name}: {error}")),
        None => Ok(T::default()),
    }
}

/// The command that runs one test again.
fn repeat(name: &str, options: &Options) -> String {
    let mut variables = String::new();
    if !options.schedule.is_plain() {
        variables = format!("{SCHEDULE}={} ", hint::quoted(&options.schedule.to_string()));
    }
    if options.isolation != Isolation::default() {
        variables = format!("{variables}{ISOLATION}={} ", options.isolation);
    }
    if options.stack != Kind::default() {
        variables = format!("{variables}{STACK}={} ", options.stack);
    }
    variables + &hint::test(name)
}

/// What a process that runs cases does first: it checks its environment, reads insta's variables, and watches for
/// SIGTERM and SIGINT.
///
/// nextest ends a test that takes too long with SIGTERM, and a person ends it with Ctrl-C: both times the evidence of what was running is
/// kept. With `accept`, snapshots are written without a review. An error names the variable that would make the run something else.
pub fn prepare(accept: bool) -> Result<(), String> {
    machine::check_environment()?;
    machine::raise_open_files();
    snapshot::prepare(accept)?;
    engine::find();
    watch_for_signals();
    Ok(())
}

/// Leaves SIGTERM and SIGINT to a thread that waits for them. It prints without a panic, for standard error may be gone by then, and a
/// second signal ends the process at once.
fn watch_for_signals() {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    // Blocked here and so in every thread to come, they are left to the one that waits for them.
    if signals.thread_block().is_err() {
        return;
    }
    thread::spawn(move || {
        let Ok(first) = signals.wait() else { return };
        thread::spawn(move || {
            if let Ok(text) = panic::catch_unwind(|| evidence::interrupted(first.as_str())) {
                machine::warn(&format!("\n{text}"));
            }
            end(first);
        });
        if let Ok(second) = signals.wait() {
            end(second);
        }
    });
}

/// Ends the process as a signal does, with its subjects.
fn end(signal: Signal) -> ! {
    subject::kill_all();
    std::process::exit(128 + signal as i32);
}
