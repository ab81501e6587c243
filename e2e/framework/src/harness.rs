//! The test target: every case is a test, named `<protocol>::<case>`, for `cargo nextest run` and `cargo test`.

use std::process::ExitCode;
use std::thread;

use libtest_mimic::{Arguments, Trial};
use nix::sys::signal::{SigSet, Signal};

use crate::run::{Options, Suite, run};
use crate::schedule::Schedule;
use crate::{discovery, report, snapshot};

/// The variable that chooses a schedule for a test run.
pub const SCHEDULE: &str = "E2E_SCHEDULE";

/// `main` of a test target with `harness = false`. Takes the arguments that cargo and nextest give to a test executable.
///
/// Has to be called before the process starts a thread.
pub fn main(suite: &Suite) -> ExitCode {
    prepare(suite, false);
    let arguments = Arguments::from_args();
    let cases = match discovery::list(&suite.fixtures) {
        Ok(cases) => cases,
        Err(error) => return refuse(&error.to_string()),
    };
    let schedule = match std::env::var(SCHEDULE).unwrap_or_default().as_str() {
        "" => Schedule::Plain,
        text => match text.parse() {
            Ok(schedule) => schedule,
            Err(error) => return refuse(&format!("{SCHEDULE}: {error}")),
        },
    };
    let trials = cases.into_iter().map(|id| {
        let suite = suite.clone();
        Trial::test(id.to_string(), move || {
            let repeat = repeat(&id.to_string(), schedule);
            match run(&suite, &id, &Options { schedule, keep: false }, repeat).failure {
                Some(failure) => Err(failure.into()),
                None => Ok(()),
            }
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn refuse(problem: &str) -> ExitCode {
    eprintln!("{problem}");
    ExitCode::from(2)
}

/// The command that runs one test again.
fn repeat(name: &str, schedule: Schedule) -> String {
    let variable = if schedule.is_plain() { String::new() } else { format!("{SCHEDULE}={schedule} ") };
    format!("{variable}cargo nextest run -E 'test(={name})'")
}

/// What a process that runs cases does first: insta's settings, and the watch for SIGTERM and SIGINT.
///
/// nextest ends a test that takes too long with SIGTERM, and a person with Ctrl-C: both leave the capsules of what was running. With
/// `accept`, snapshots are written without a review.
pub fn prepare(suite: &Suite, accept: bool) {
    snapshot::prepare(&suite.root, accept);
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    // Blocked here and so in every thread to come, they are left to the one that waits for them.
    if signals.thread_block().is_err() {
        return;
    }
    thread::spawn(move || {
        if let Ok(signal) = signals.wait() {
            eprintln!("\n{}", report::interrupted(signal.as_str()));
            std::process::exit(128 + signal as i32);
        }
    });
}
