//! Turns every fixture into a test, for `cargo nextest run` and `cargo test`.

use std::process::ExitCode;

use e2e::{Program, harness};

fn main() -> ExitCode {
    // The pipeline under test: a command that runs in the project's folder.
    harness::main(Program::Shell("PIPELINE".into()))
}
