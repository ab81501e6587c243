//! This project's end-to-end tests: its fixtures, run on the framework `e2e` with `fms connect` as the subject.

pub mod fleet;
pub mod load;
pub mod measure;

use std::process::ExitCode;

use e2e::{Program, Suite};

/// The variable that makes this executable the pipeline instead of the test.
const ROLE: (&str, &str) = ("FMS_E2E_ROLE", "worker");

/// The subject, which is this executable once more, as `fms`.
pub const PROGRAM: Program = Program::Itself { name: "fms connect", role: ROLE };

/// The suite of the checkout that the current folder is in, which need not be the one in which this was compiled.
/// Outside of a checkout there is nothing to test, and the process ends.
pub fn suite() -> Suite {
    Suite::here(PROGRAM).unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(2)
    })
}

/// Runs the pipeline if this process was started as the subject, and ends containers if it was started for that.
/// Otherwise it runs `main`.
pub fn worker_or(main: impl FnOnce() -> ExitCode) -> ExitCode {
    if let Some(status) = e2e::reaper_if_asked() {
        return status;
    }
    if std::env::var(ROLE.0).is_ok_and(|role| role == ROLE.1) {
        return fms::main_with(std::env::args_os());
    }
    main()
}
