//! The command line of `fms alerts`.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::{Args, Parser, Subcommand};
use fms_quality::Suite;
use fms_query::program::{LogFormat, say, start_log};
use jiff::Timestamp;
use tokio::runtime::Runtime;

use crate::config::Config;
use crate::deliver::deliver;
use crate::state::{State, Trouble, What};
use crate::step::{Configured, days, step};
use crate::store::{Place, Store};
use crate::text::counted;
use crate::verdict::{self, Id, Severity};

/// Exit status: something was not sent, or nothing was begun.
const NOT_DONE: u8 = 2;

/// Tell owners in Slack which checks of the data fail, and when they are well again.
///
/// The exit status is 0 if everything was sent, and otherwise 2. What was not sent is kept for the next time.
#[derive(Debug, Parser)]
#[command(name = "fms-sql", bin_name = "fms alerts", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// How log lines are written to standard error; `RUST_LOG` says which.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take results of checks, and send what has changed. Without results, send what time brings: checks that did not
    /// run, reminders, the digest, and what was not sent before.
    Send(Send),
    /// Show which problems are open, and what is to be sent. Nothing is sent.
    Show(StateOf),
    /// Forget checks that were renamed or removed, with their problems. Nothing is sent.
    Forget(Forget),
}

#[derive(Debug, Args)]
struct StateOf {
    /// Where the state is kept: a file, or an object such as `s3://bucket/alerts.json`.
    #[arg(long, env = "FMS_ALERTS_STATE", value_name = "PLACE")]
    state: Place,
}

#[derive(Debug, Args)]
struct Send {
    #[command(flatten)]
    state: StateOf,
    /// The file that says who is told where.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Results of `fms quality run --format json --output FILE`.
    #[arg(long, value_name = "FILE")]
    results: Vec<PathBuf>,
    /// The folder of `fms quality run --bad-rows FOLDER`, of which messages show some rows.
    #[arg(long, value_name = "FOLDER", requires = "results")]
    bad_rows: Option<PathBuf>,
    /// Files of the checks that have to run, or folders of such files, so that one which never ran is told of as well.
    /// Checks that are in none of them need not run.
    #[arg(long, env = "FMS_QUALITY_CHECKS", value_name = "PATH", value_delimiter = ',')]
    checks: Vec<PathBuf>,
    /// The time that is taken for now.
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
}

#[derive(Debug, Args)]
struct Forget {
    #[command(flatten)]
    state: StateOf,
    /// The table of the checks.
    #[arg(long, value_name = "TABLE")]
    table: String,
    /// The check; all of the table if it is not given.
    #[arg(long, value_name = "NAME")]
    check: Option<String>,
}

/// Runs the program with these arguments, of which the first is the program's name.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help goes to standard output. An error means that nobody reads it.
            let _ = error.print();
            return if error.use_stderr() { NOT_DONE.into() } else { ExitCode::SUCCESS };
        }
    };
    let done = start_log(arguments.log_format).and_then(|()| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("cannot start")?;
        match &arguments.command {
            Command::Send(arguments) => send(arguments, &runtime),
            Command::Show(state) => show(&Store::new(state.state.clone(), runtime.handle()), &runtime),
            Command::Forget(arguments) => forget(arguments, &runtime),
        }
    });
    match done {
        Ok(text) => {
            // That nobody reads it is no failure.
            let _ = writeln!(io::stdout(), "{}", text.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&format!("fms alerts: {error:#}"));
            NOT_DONE.into()
        }
    }
}

fn send(arguments: &Send, runtime: &Runtime) -> anyhow::Result<String> {
    let Send { state: place, config, results, bad_rows, checks, now } = arguments;
    let text = fs::read_to_string(config).with_context(|| format!("cannot read {}", config.display()))?;
    let config = Config::parse(&text).with_context(|| config.display().to_string())?;
    let mut verdicts = Vec::new();
    for path in results {
        verdicts.extend(verdict::read(path)?);
    }
    if let Some(folder) = bad_rows {
        verdict::add_samples(&mut verdicts, folder)?;
    }
    let configured = if checks.is_empty() { None } else { Some(configured(checks)?) };
    let now = now.unwrap_or_else(Timestamp::now);
    let store = Store::new(place.state.clone(), runtime.handle());
    let open = runtime.block_on(async {
        loop {
            let (mut state, before) = store.load().await?;
            if before.is_first() {
                say(&format!("fms alerts: there is no state {} yet; every problem is a new one", place.state));
            }
            let read = state.clone();
            step(&mut state, &config, &verdicts, configured.as_deref(), now);
            let is_kept = (state == read && !before.is_first()) || store.save(&state, &before).await?.is_some();
            if is_kept {
                return anyhow::Ok(state.open().count());
            }
        }
    })?;
    let sent = runtime.block_on(deliver(&store, &config))?;
    let (results, open) = (counted(verdicts.len(), "result"), counted(open, "problem"));
    Ok(format!("{results} taken; {open} open; {} sent", counted(sent, "message")))
}

/// The checks of these files.
fn configured(paths: &[PathBuf]) -> anyhow::Result<Vec<Configured>> {
    let mut all = Vec::new();
    for suite in Suite::read(paths)? {
        for check in &suite.checks {
            let severity = match check.severity {
                fms_quality::Severity::Info => Severity::Info,
                fms_quality::Severity::Warning => Severity::Warning,
                fms_quality::Severity::Error => Severity::Error,
            };
            let (table, name) = (suite.table.clone(), check.name.clone());
            let id = Id { table, check: name, owner: suite.owner(check).to_owned() };
            all.push(Configured { id, severity, description: check.description.clone() });
        }
    }
    Ok(all)
}

fn show(store: &Store, runtime: &Runtime) -> anyhow::Result<String> {
    let (state, _) = runtime.block_on(store.load())?;
    let mut out = String::new();
    // Writing to a text does not fail.
    for problem in state.open() {
        let trouble = match problem.trouble {
            Trouble::Failed => "failed",
            Trouble::CouldNotRun => "could not run",
            Trouble::DidNotRun => "did not run",
        };
        let (id, days) = (&problem.id, days(problem.from, problem.to));
        let held = if state.held.contains(problem) { "; held back by maintenance" } else { "" };
        let _ = writeln!(
            out,
            "{}: {}: {trouble} for {days}, since {:.0}: {}; owner: {}{held}",
            id.table, id.check, problem.since, problem.observed, id.owner
        );
    }
    let (checks, open) = (counted(state.checks.len(), "check"), counted(state.open().count(), "problem"));
    let _ = writeln!(out, "{checks}, {open} open, {} to be sent", counted(state.outbox.len(), "message"));
    Ok(out)
}

fn forget(arguments: &Forget, runtime: &Runtime) -> anyhow::Result<String> {
    let Forget { state: place, table, check } = arguments;
    let store = Store::new(place.state.clone(), runtime.handle());
    let is_meant = |id: &Id| id.table == *table && check.as_ref().is_none_or(|check| id.check == *check);
    runtime.block_on(async {
        loop {
            let (mut state, before) = store.load().await?;
            let known = state.checks.len();
            forget_in(&mut state, is_meant);
            let forgotten = known - state.checks.len();
            ensure!(forgotten > 0, "the state {} has no such check; `fms alerts show` shows problems", place.state);
            if store.save(&state, &before).await?.is_some() {
                return Ok(format!("{} forgotten", counted(forgotten, "check")));
            }
        }
    })
}

/// Forgets these checks. A message that shows them is changed with the next sending.
fn forget_in(state: &mut State, is_meant: impl Fn(&Id) -> bool) {
    state.checks.retain(|check| !is_meant(&check.id));
    state.held.retain(|problem| !is_meant(&problem.id));
    let mut changed = Vec::new();
    for thread in &mut state.threads {
        for problem in thread.problems.iter_mut().filter(|problem| problem.is_open() && is_meant(&problem.id)) {
            problem.resolved = Some("there is no such check any more".to_owned());
            changed.push(thread.number);
        }
    }
    changed.dedup();
    for thread in changed {
        let is_open = |what: &What| *what == What::Open { thread } || *what == What::Refresh { thread };
        if !state.outbox.iter().any(|item| is_open(&item.what)) {
            state.send(What::Refresh { thread });
        }
    }
}
