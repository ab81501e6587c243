//! `fms-sql`, the program with the query engine: `fms query`, `fms mart`, `fms quality` and `fms alerts`
//! hand over to it.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    // No query has these texts.
    match arguments.get(1).and_then(|first| first.to_str()) {
        Some("alerts") => {
            arguments.remove(1);
            fms_alerts::main_with(arguments)
        }
        Some("mart") => {
            arguments.remove(1);
            fms_mart::main_with(arguments)
        }
        Some("quality") => {
            arguments.remove(1);
            fms_quality::main_with(arguments)
        }
        _ => fms_query::main_with(arguments),
    }
}
