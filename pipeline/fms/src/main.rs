//! `fms`, the one binary that operators run.

use std::process::ExitCode;

fn main() -> ExitCode {
    fms::main_with(std::env::args_os())
}
