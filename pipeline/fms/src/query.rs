//! `fms query`, `fms mart`, `fms quality` and `fms alerts`: hand over to `fms-sql`, a program of its own, because its
//! engine would make this one ten times as large.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::{LogFormat, NOT_STARTED, say};

/// The program that runs queries.
const PROGRAM: &str = "fms-sql";

/// What is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    Query,
    Mart,
    Quality,
    Alerts,
}

impl Task {
    fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Mart => "mart",
            Self::Quality => "quality",
            Self::Alerts => "alerts",
        }
    }
}

/// Becomes the program with these arguments. Returns only if there is none.
pub(crate) fn run(task: Task, arguments: &[OsString], log_format: LogFormat) -> ExitCode {
    let beside = beside();
    let program = beside.as_deref().filter(|program| program.is_file()).unwrap_or(Path::new(PROGRAM));
    let mut command = Command::new(program);
    // A query is what the program does without another word.
    if task != Task::Query {
        command.arg(task.name());
    }
    if log_format == LogFormat::Json {
        command.args(["--log-format", "json"]);
    }
    let error = command.args(arguments).exec();
    let problem = match error.kind() {
        io::ErrorKind::NotFound => format!(
            "there is no program `{PROGRAM}` beside this one or in PATH; build it with `cargo build --release --bin \
             {PROGRAM}`, and put it there"
        ),
        _ => format!("cannot start {}: {error}", program.display()),
    };
    say(&format!("fms {}: {problem}", task.name()));
    NOT_STARTED.into()
}

/// Where the program is if it was installed with this one.
fn beside() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.with_file_name(PROGRAM))
}
