//! A pipeline under a load that never ends for it: what it has stored is compared with what a simulated fleet has sent.

mod browser;
mod follow;
mod record;
mod replay;
mod smoke;
mod verify;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    fms_e2e::worker_or(tests)
}

fn tests() -> ExitCode {
    let trials = vec![
        Trial::test("what_is_missing_or_too_many_is_named_by_verify", verify::names_what_differs),
        Trial::test("plans_of_the_repository_are_read", smoke::plans_are_read),
        Trial::test("a_short_run_keeps_its_limits", smoke::a_short_run_keeps_its_limits),
        Trial::test("a_recorded_topic_is_a_fixture", record::makes_a_fixture),
        Trial::test("a_replay_has_the_same_rows_at_other_times", replay::stores_the_same_rows_at_other_times),
        Trial::test("a_replay_of_a_topic_that_goes_on_is_stopped_and_goes_on", follow::goes_on_where_it_was_stopped),
        Trial::test("the_page_of_the_fleet_is_legible", browser::looks_at_the_fleet),
        Trial::test("mistakes_are_explained", smoke::mistakes_are_explained),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
