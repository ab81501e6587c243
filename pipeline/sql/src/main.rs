//! `fms-sql`, to which `fms query` hands over.

use std::process::ExitCode;

fn main() -> ExitCode {
    fms_sql::main_with(std::env::args_os())
}
