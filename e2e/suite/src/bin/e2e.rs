//! Runs all fixtures at once and tells what became of them: `cargo run --bin e2e`.

use std::process::ExitCode;

use clap::Parser;
use fms_e2e::runner::{self, Arguments};

fn main() -> ExitCode {
    fms_e2e::worker_or(|| runner::main(&fms_e2e::suite(), Arguments::parse()))
}
