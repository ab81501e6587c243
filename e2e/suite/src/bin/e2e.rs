//! The runner of this project's fixtures: `cargo run --bin e2e`.

use std::process::ExitCode;

use e2e::runner::{self, Extra};

const MEASURE: Extra = Extra {
    command: || {
        clap::Command::new("measure")
            .about("Print the figures that this project promises, each beside its aim. They are about a release build.")
    },
    run: |suite, _| fms_e2e::measure::print(suite),
};

const LOAD: Extra = Extra { command: fms_e2e::load::command::command, run: fms_e2e::load::command::carry_out };

const FLEET: Extra = Extra { command: fms_e2e::fleet::command, run: fms_e2e::fleet::carry_out };

fn main() -> ExitCode {
    fms_e2e::worker_or(|| runner::main(fms_e2e::PROGRAM, &[FLEET, LOAD, MEASURE]))
}
