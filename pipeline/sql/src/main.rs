//! `fms-sql`, the program with the query engine: `fms query` and `fms mart` hand over to it.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    // No query has this text.
    if arguments.get(1).is_some_and(|first| first == "mart") {
        arguments.remove(1);
        return fms_mart::main_with(arguments);
    }
    fms_query::main_with(arguments)
}
