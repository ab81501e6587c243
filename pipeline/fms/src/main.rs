//! `fms`, the one binary that operators run.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: fms::allocator::Allocator = fms::allocator::Allocator;

fn main() -> ExitCode {
    fms::allocator::configure();
    fms::main_with(std::env::args_os())
}
