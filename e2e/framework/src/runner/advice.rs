//! What to do about runs that failed under a schedule: the command that makes such a run smaller, which may be carried out at
//! once, and what keeps it among the runs that are repeated.

use std::env;
use std::fmt::Write;
use std::process::Command;

use super::arguments::RunArguments;
use super::seeds;
use crate::stack::StackKind;
use crate::{Options, Outcome, Suite};

/// How many runs are told of. There are often many with the same cause.
const SHOWN: usize = 3;

/// The advice, one paragraph for each of the first runs that failed; empty if none failed under a schedule, or if the pipeline
/// cannot be started again.
pub(super) fn text(outcomes: &[Outcome], arguments: &RunArguments, options: &Options, runner: &str) -> String {
    let mut text = String::new();
    for outcome in failed(outcomes).take(SHOWN).filter(|_| !arguments.subject_running) {
        let options = Options { schedule: outcome.schedule.clone(), ..options.clone() };
        let same = arguments.same(&options);
        let line: Vec<String> = same.iter().map(|argument| seeds::word(argument)).collect();
        let stack = match options.stack {
            StackKind::Embedded => String::new(),
            stack => format!(" --stack {stack}"),
        };
        let _ = writeln!(text, "\n{} failed.", outcome.name());
        let _ = writeln!(text, "To make it smaller: {runner} shrink {} {}{stack}", outcome.id, line.join(" "));
        let mut kept = vec![outcome.id.to_string()];
        kept.extend(same);
        let _ = write!(
            text,
            "To repeat it from now on, add this to fixtures/seeds.toml:\n{}",
            seeds::entry(&kept, options.stack)
        );
    }
    let more = failed(outcomes).count().saturating_sub(SHOWN);
    if !text.is_empty() && more > 0 {
        let _ = writeln!(text, "\n{more} more runs failed under a schedule.");
    }
    text
}

/// Makes a run smaller, by this program in a process of its own: it accepts snapshots, which this process compares.
pub(super) fn shrink(
    outcome: &Outcome,
    suite: &Suite,
    arguments: &RunArguments,
    options: &Options,
) -> Result<(), String> {
    let program = env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let options = Options { schedule: outcome.schedule.clone(), ..options.clone() };
    let mut command = Command::new(program);
    command.arg("--root").arg(&suite.root).arg("shrink").arg(outcome.id.to_string());
    command.args(arguments.same(&options)).args(["--stack", &options.stack.to_string()]);
    // Whether it has found something smaller is what it prints; the verdict of this run does not depend on it.
    command.status().map_err(|error| format!("cannot start `shrink` for {}: {error}", outcome.name()))?;
    Ok(())
}

/// The runs that failed for the pipeline under a schedule.
pub(super) fn failed(outcomes: &[Outcome]) -> impl Iterator<Item = &Outcome> {
    outcomes
        .iter()
        .filter(|outcome| outcome.failure().is_some() && !outcome.is_infrastructure() && !outcome.schedule.is_plain())
}
