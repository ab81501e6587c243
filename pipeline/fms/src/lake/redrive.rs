//! `fms lake redrive`: sends what was given up back to the queue.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, value_parser};
use fms_lake::poll::{Redrive, Redriven, redrive};
use regex::Regex;
use tokio::runtime::Runtime;

use super::counted;
use super::queues::QueueArguments;
use crate::{FAILED, LogFormat, NOT_STARTED, report, say, start_log, stop_signal};

/// How many messages are received at once, which is the limit of SQS.
const MOST_RECEIVED: u64 = 10;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    queues: QueueArguments,
    /// Send only messages whose reason and error, as `reason: error`, have a match of this regular expression.
    #[arg(long, value_name = "REGEX")]
    reason: Option<Regex>,
    /// Send only messages about objects whose keys begin with this.
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// The most messages a second.
    #[arg(long, value_name = "MESSAGES", default_value = "50")]
    rate: NonZeroU32,
    /// How long messages are invisible to others while the command runs, and if it is killed, seconds. Ten messages have
    /// to be sent in a shorter time.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 300,
        value_parser = value_parser!(u64).range(1..=43_200)
    )]
    visibility_timeout: u64,
    /// Send nothing, only count.
    #[arg(long)]
    dry_run: bool,
}

/// Sends messages until none is left, or SIGTERM or SIGINT. The exit status is 0 then, 1 if a queue failed meanwhile,
/// and 2 if nothing was begun.
pub(crate) fn run(arguments: Arguments, format: LogFormat) -> ExitCode {
    match send(arguments, format) {
        Ok(Ok(text)) => {
            // An error means that nobody reads the output.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Ok(Err(problem)) => {
            say(&format!("fms lake redrive: {problem}; what was sent until now stays sent"));
            FAILED.into()
        }
        Err(problems) => {
            report("fms lake redrive", &problems, format);
            NOT_STARTED.into()
        }
    }
}

/// Gives the summary, or why it ended early.
fn send(arguments: Arguments, format: LogFormat) -> Result<Result<String, String>, Vec<String>> {
    let one = |problem: String| vec![problem];
    let stop = stop_signal().map_err(|error| one(format!("cannot listen for SIGTERM and SIGINT: {error}")))?;
    start_log(format).map_err(|error| one(format!("{error:#}")))?;
    let runtime = Runtime::new().map_err(|error| one(format!("cannot start threads: {error}")))?;
    let least = MOST_RECEIVED / u64::from(arguments.rate.get()) + 1;
    if arguments.visibility_timeout < least {
        return Err(one(format!(
            "--visibility-timeout has to be longer than {MOST_RECEIVED} messages take at this --rate, or they are sent twice; \
             give at least {least}"
        )));
    }
    let queues = arguments.queues.queues(&fms_aws::load(runtime.handle())).map_err(|error| one(error.to_string()))?;
    runtime.block_on(queues.check())?;
    let Arguments { reason, prefix, rate, visibility_timeout, dry_run, .. } = arguments;
    let options = Redrive { reason, prefix, rate, visibility: Duration::from_secs(visibility_timeout), dry_run };
    let progress = |redriven: &Redriven| {
        let (sent, kept) = (total(&redriven.sent), total(&redriven.kept));
        say(&format!("{} {}, {kept} kept", counted(sent, "message"), if dry_run { "to send" } else { "sent" }));
    };
    let redriven = runtime.block_on(redrive(&queues.fallback, &queues.main, &options, stop, progress));
    Ok(redriven.map(|redriven| summary(&redriven, dry_run)).map_err(|error| error.to_string()))
}

fn total(by_reason: &BTreeMap<String, u64>) -> u64 {
    by_reason.values().sum()
}

fn summary(redriven: &Redriven, dry_run: bool) -> String {
    let sent = if dry_run { "would be sent" } else { "sent" };
    let mut text =
        format!("{} {sent} back, {} kept\n", counted(total(&redriven.sent), "message"), total(&redriven.kept));
    for (what, by_reason) in [(sent, &redriven.sent), ("kept", &redriven.kept)] {
        for (reason, messages) in by_reason {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {what}: {messages} because of {reason}");
        }
    }
    text
}
