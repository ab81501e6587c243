//! The test target: every case is a test, named `<protocol>::<case>`, for `cargo nextest run` and `cargo test`.
//!
//! Environment variables choose how the tests are run:
//!
//! | variable | values |
//! | --- | --- |
//! | `E2E_STACK` | `embedded`, `docker` or `external`; a profile of nextest with one of these names chooses it, too |
//! | `E2E_SCHEDULE` | `plain`, `twice`, `restarted`, `throttled`, or `killed:CALL`, such as `killed:s3.PutObject:1` |
//! | `E2E_ISOLATION` | `shared` or `per-test`: whether tests on the Docker stack share one set of containers |
//! | `E2E_KEEP` | `1` leaves the shared set of containers to the next run |

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

use crate::outcome::Verdict;
use crate::stack::{Isolation, StackKind, docker};
use crate::variables::{self, ISOLATION, SCHEDULE, STACK};
use crate::{CaseId, Options, Program, Suite, discovery, hint, machine, reporting, run};

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
        let options = variables::options()?;
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
    // Without nextest, this process chooses among the cases. If it runs one case, the schedule was meant for that
    // case.
    let chosen = |id: &CaseId| arguments.filter.as_ref().is_none_or(|filter| id.to_string().contains(filter.as_str()));
    let is_alone = std::env::var_os("NEXTEST").is_none() && cases.iter().filter(|id| chosen(id)).count() == 1;
    let options = Options { must_disturb: is_alone, ..options };
    let trials = cases.into_iter().map(|id| {
        let (suite, options) = (suite.clone(), options.clone());
        Trial::ignorable_test(id.to_string(), move || {
            let repeat = repeat(&id.to_string(), &options);
            let outcome = run(&suite, &id, &options, repeat);
            let schedule = options.schedule.sentence();
            let outcomes = std::slice::from_ref(&outcome);
            if let Err(problem) = reporting::add(&suite, options.stack, &schedule, outcomes, outcome.duration) {
                // The verdict does not depend on the report.
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
