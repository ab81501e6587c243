//! The runner of all fixtures: `cargo run --bin e2e`.

use std::process::ExitCode;

use e2e::{Program, runner};

fn main() -> ExitCode {
    // The pipeline under test: a command that runs in the project's folder.
    runner::main(Program::Shell("PIPELINE".into()), &[])
}
