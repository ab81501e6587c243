//! The test target: every case is a test, named `<protocol>::<case>`, for `cargo nextest run` and `cargo test`. If there
//! are several schedules, every case is a test under each of them, named `<protocol>::<case>::<schedule>`.
//!
//! Environment variables choose how the tests are run:
//!
//! | variable | values |
//! | --- | --- |
//! | `E2E_STACK` | `embedded`, `docker` or `external`; a profile of nextest with one of these names chooses it, too |
//! | `E2E_SCHEDULE` | one or several schedules, such as `twice`, `restarted:1,throttled` or `killed:s3.PutObject:1`; or `all` of those that need neither a crash point nor a variant, which nextest's profile `sweep` chooses, too |
//! | `E2E_ISOLATION` | `shared` or `per-test`: whether tests on the Docker stack share one set of containers |
//! | `E2E_KEEP` | `1` leaves the shared set of containers to the next run |

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

use crate::outcome::Verdict;
use crate::schedule::Schedules;
use crate::stack::{Isolation, StackKind, docker};
use crate::variables::{self, ISOLATION, SCHEDULE, STACK};
use crate::{CaseId, Options, Program, Schedule, Suite, discovery, hint, machine, reporting, run};

/// `main` of a test target with `harness = false`, for the project that the current folder is in. It takes the
/// arguments that cargo and nextest give to a test executable.
///
/// It has to be called before the process starts a thread.
pub fn main(program: Program) -> ExitCode {
    main_with(|| Suite::here(program).map_err(|error| error.to_string()))
}

/// [`main`] for a suite in any folder.
pub fn main_of(suite: &Suite) -> ExitCode {
    main_with(|| Ok(suite.clone()))
}

/// The process that ends containers is this executable in a folder that belongs to no project, so the suite is looked
/// for only after this function has found that the process is not that one.
fn main_with(suite: impl FnOnce() -> Result<Suite, String>) -> ExitCode {
    if let Some(status) = docker::reaper_if_asked() {
        return status;
    }
    let arguments = Arguments::from_args();
    let prepared = suite().and_then(|suite| {
        machine::prepare(false)?;
        let (options, schedules) = (variables::options()?, variables::schedules()?);
        let cases = discovery::list(&suite.fixtures).map_err(|error| error.to_string())?;
        Ok((suite, tests(cases, &schedules), options))
    });
    let (suite, tests, options) = match prepared {
        Ok(prepared) => prepared,
        Err(problem) => {
            machine::warn(&problem);
            return ExitCode::from(2);
        }
    };
    // Without nextest, this process chooses among the cases. If it runs one case, the schedule was meant for that
    // case.
    let chosen = |test: &Test| arguments.filter.as_ref().is_none_or(|filter| test.name.contains(filter.as_str()));
    let is_alone = std::env::var_os("NEXTEST").is_none() && tests.iter().filter(|test| chosen(test)).count() == 1;
    let trials = tests.into_iter().map(|Test { name, id, schedule }| {
        let options = Options { must_disturb: is_alone, schedule, ..options.clone() };
        let suite = suite.clone();
        Trial::ignorable_test(name, move || {
            let repeat = repeat(&id.to_string(), &options);
            let outcome = run(&suite, &id, &options, repeat);
            let schedule = options.schedule.sentence();
            let outcomes = std::slice::from_ref(&outcome);
            if let Err(problem) = reporting::add(&suite, options.stack, &schedule, outcomes, outcome.duration) {
                // The verdict does not depend on the report.
                machine::warn(&problem);
            }
            match outcome.verdict {
                Verdict::Passed | Verdict::SameState(_) => Ok(Completion::Completed),
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

/// A case under a schedule.
struct Test {
    name: String,
    id: CaseId,
    schedule: Schedule,
}

/// Every case under every schedule. The schedule is part of the name if there are several.
fn tests(cases: Vec<CaseId>, schedules: &Schedules) -> Vec<Test> {
    let of_case = |id: CaseId| {
        schedules.as_slice().iter().map(move |schedule| {
            let suffix = if schedules.single().is_some() { String::new() } else { format!("::{schedule}") };
            Test { name: format!("{id}{suffix}"), id: id.clone(), schedule: schedule.clone() }
        })
    };
    cases.into_iter().flat_map(of_case).collect()
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
    if options.stack != StackKind::default() {
        variables = format!("{variables}{STACK}={} ", options.stack);
    }
    variables + &hint::test(name)
}
