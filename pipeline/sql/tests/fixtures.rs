//! The folders `fixtures/<protocol>/<case>/` of this package as tests: messages go through the worker and the lake, and the
//! models of the mart are built of them. This executable is all of these programs.

use std::ffi::OsString;
use std::process::ExitCode;

use e2e::Program;

/// The variable that makes this executable the pipeline, or the program of the mart, instead of the test.
const ROLE: (&str, &str) = ("FMS_SQL_ROLE", "fms");

fn main() -> ExitCode {
    if let Some(status) = e2e::reaper_if_asked() {
        return status;
    }
    if std::env::var(ROLE.0).is_ok_and(|role| role == ROLE.1) {
        let mut arguments: Vec<OsString> = std::env::args_os().collect();
        if arguments.get(1).is_some_and(|first| first == "mart") {
            arguments.remove(1);
            return fms_mart::main_with(arguments);
        }
        return fms::main_with(arguments);
    }
    e2e::harness::main(Program::Itself { name: "fms", role: ROLE })
}
