//! `e2e parity` runs every fixture on two stacks and compares everything that was observed on them.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;

use super::cases::{run_all, select};
use super::command::{append, start_containers, status};
use super::table::{self, Told};
use crate::stack::{Isolation, StackKind};
use crate::{Options, Suite, machine, parity, variables};

#[derive(Debug, Args)]
pub(super) struct Parity {
    /// Run only the cases whose name, `protocol::case`, contains one of these texts.
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
    /// The two stacks to compare.
    #[arg(long, num_args = 2, value_delimiter = ',', default_values = ["embedded", "docker"])]
    stacks: Vec<StackKind>,
    /// The containers of the docker stack: shared (one set for the whole run) or per-test.
    #[arg(long, env = variables::ISOLATION, default_value = "shared")]
    isolation: Isolation,
    /// Leave the shared set of containers to the next run.
    #[arg(long)]
    keep: bool,
    /// Append the outcome as Markdown to this file.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

impl Parity {
    pub(super) fn run(&self, suite: &Suite, runner: &str) -> Result<ExitCode, String> {
        let [first, second] = self.stacks[..] else { return Err("--stacks: name two stacks".to_owned()) };
        if first == second {
            return Err(format!("--stacks: {first} is the same as {second}"));
        }
        machine::prepare(false)?;
        let cases = select(suite, &self.filters)?;
        let keep = self.keep || variables::kept();
        let on = |stack| Options { stack, isolation: self.isolation, keep, whole_run: true, ..Options::default() };
        let (first, second) = (on(first), on(second));
        for options in [&first, &second] {
            if let Err(status) = start_containers(suite, options)? {
                return Ok(status);
            }
        }
        let started = Instant::now();
        let outcomes = run_all(&cases, None, false, |id| parity::compare(suite, id, [&first, &second], runner));
        let took = started.elapsed();
        let told = Told { table: table::text(&outcomes, took), ..Told::default() };
        machine::print(&told.table);
        if outcomes.iter().all(|outcome| outcome.failure().is_none()) {
            machine::print(&format!("{} and {} gave the same in every case\n", first.stack, second.stack));
        }
        if let Some(path) = &self.markdown {
            let title = format!("Parity of {} and {}", first.stack, second.stack);
            append(path, &table::markdown(&title, &outcomes, &told, took, None));
        }
        Ok(status(&outcomes))
    }
}
