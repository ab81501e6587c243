//! The test target: every case is a test, named `<protocol>::<case>`, for `cargo nextest run` and `cargo test`.

use std::process::ExitCode;
use std::str::FromStr;
use std::thread;

use libtest_mimic::{Arguments, Trial};
use nix::sys::signal::{SigSet, Signal};

use crate::run::run;
use crate::stack::docker::{KEEP_VARIABLE, engine, reaper};
use crate::stack::{Isolation, Kind};
use crate::suite::{Options, Suite};
use crate::{discovery, evidence, snapshot};

/// The variable that chooses a schedule for a test run.
pub const SCHEDULE: &str = "E2E_SCHEDULE";

/// The variable that chooses a stack: `embedded`, `docker` or `external`. nextest's profile of one of these names does it too.
pub const STACK: &str = "E2E_STACK";

/// The variable that says how tests are kept apart on the Docker stack: `shared` or `per-test`.
pub const ISOLATION: &str = "E2E_ISOLATION";

/// `main` of a test target with `harness = false`. Takes the arguments that cargo and nextest give to a test executable.
///
/// Has to be called before the process starts a thread.
pub fn main(suite: &Suite) -> ExitCode {
    if let Some(status) = reaper::main_if_asked() {
        return status;
    }
    prepare(suite, false);
    let arguments = Arguments::from_args();
    let (cases, options) = match (discovery::list(&suite.fixtures), options()) {
        (Ok(cases), Ok(options)) => (cases, options),
        (Err(error), _) => return refuse(&error.to_string()),
        (_, Err(error)) => return refuse(&error),
    };
    let trials = cases.into_iter().map(|id| {
        let (suite, options) = (suite.clone(), options.clone());
        Trial::test(id.to_string(), move || {
            let repeat = repeat(&id.to_string(), &options);
            match run(&suite, &id, &options, repeat).failure {
                Some(failure) => Err(failure.into()),
                None => Ok(()),
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
        keep_capsules: false,
    })
}

/// Whether the environment asks to leave containers to the next run.
pub fn kept() -> bool {
    std::env::var(KEEP_VARIABLE).is_ok_and(|value| !value.is_empty() && value != "0")
}

fn variable<T: FromStr<Err = String> + Default>(name: &str, otherwise: Option<String>) -> Result<T, String> {
    match std::env::var(name).ok().filter(|text| !text.is_empty()).or(otherwise) {
        Some(text) => text.parse().map_err(|error| format!("{name}: {error}")),
        None => Ok(T::default()),
    }
}

fn refuse(problem: &str) -> ExitCode {
    eprintln!("{problem}");
    ExitCode::from(2)
}

/// The command that runs one test again.
fn repeat(name: &str, options: &Options) -> String {
    let mut variables = String::new();
    if !options.schedule.is_plain() {
        variables = format!("{SCHEDULE}={} ", options.schedule);
    }
    if options.isolation != Isolation::default() {
        variables = format!("{variables}{ISOLATION}={} ", options.isolation);
    }
    if options.stack != Kind::default() {
        variables = format!("{variables}{STACK}={} ", options.stack);
    }
    format!("{variables}cargo nextest run -E 'test(={name})'")
}

/// What a process that runs cases does first: insta's settings, and the watch for SIGTERM and SIGINT.
///
/// nextest ends a test that takes too long with SIGTERM, and a person with Ctrl-C: both leave the capsules of what was running. With
/// `accept`, snapshots are written without a review.
pub fn prepare(suite: &Suite, accept: bool) {
    snapshot::prepare(&suite.root, accept);
    engine::find();
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    // Blocked here and so in every thread to come, they are left to the one that waits for them.
    if signals.thread_block().is_err() {
        return;
    }
    thread::spawn(move || {
        if let Ok(signal) = signals.wait() {
            eprintln!("\n{}", evidence::interrupted(signal.as_str()));
            std::process::exit(128 + signal as i32);
        }
    });
}
