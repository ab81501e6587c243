//! A pipeline under a load that never ends for it: what it has stored is compared with what a simulated fleet has sent.

mod verify;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    fms_e2e::worker_or(tests)
}

fn tests() -> ExitCode {
    let trials = vec![Trial::test("what_is_missing_or_too_many_is_named_by_verify", verify::names_what_differs)];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
