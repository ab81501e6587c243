//! The command line of `fms quality`.

mod arguments;
mod due;
mod files;
mod push;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, ensure};
use clap::Parser as _;
use fms_openlineage::{Backend, Outbox};
use fms_query::program::{say, start_log, stopped};
use fms_simulator::Expectation;
use jiff::Timestamp;
use tokio::runtime::Runtime;

use crate::check::{Check, Suite};
use crate::history::{self, Digests, History, Kept};
use crate::items::Items;
use crate::judge::{self, Judged, Judgement};
use crate::kind::Kind;
use crate::report::{Format, event, report};
use crate::run;
use crate::statement::{self, Days};
use crate::verdict::{Outcome, Verdict};
use crate::{import, profile};

use self::arguments::{Arguments, Choice, Command, FailOn, Import, Judge, Profile, Rows, RunChecks, Tool};
use self::due::Due;
use self::push::Group;

/// Exit status: a check failed.
const FAILED: u8 = 1;
/// Exit status: a check could not run, or nothing was begun.
const COULD_NOT_RUN: u8 = 2;

/// Runs the program with these arguments, of which the first is the program's name.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help goes to standard output. An error means that nobody reads it.
            let _ = error.print();
            return if error.use_stderr() { COULD_NOT_RUN.into() } else { ExitCode::SUCCESS };
        }
    };
    let done = start_log(arguments.log_format).and_then(|()| match &arguments.command {
        Command::Run(run) => run_checks(run),
        Command::List(choice) => list(choice),
        Command::Judge(arguments) => judge_checks(arguments),
        Command::Profile(arguments) => profile_table(arguments),
        Command::Import(arguments) => import_rules(arguments),
    });
    done.unwrap_or_else(|error| {
        say(&format!("fms quality: {error:#}"));
        COULD_NOT_RUN.into()
    })
}

/// The suites of a choice, each with the places of its checks that are chosen.
fn chosen(choice: &Choice) -> anyhow::Result<Vec<(Suite, Vec<usize>)>> {
    let mut suites = Vec::new();
    for suite in Suite::read(&choice.paths)? {
        if !choice.table.is_empty() && !choice.table.contains(&suite.table) {
            continue;
        }
        let has_tag = |index: &usize| {
            choice.tag.is_empty() || choice.tag.iter().any(|tag| suite.checks[*index].tags.contains(tag))
        };
        let chosen: Vec<usize> = (0..suite.checks.len()).filter(has_tag).collect();
        suites.push((suite, chosen));
    }
    let is_empty = suites.iter().all(|(_, chosen)| chosen.is_empty());
    ensure!(!is_empty, "no check is chosen; `fms quality list` shows which there are");
    Ok(suites)
}

fn list(choice: &Choice) -> anyhow::Result<ExitCode> {
    let mut lines = String::new();
    for (suite, chosen) in chosen(choice)? {
        for check in chosen.iter().map(|&index| &suite.checks[index]) {
            let (kind, severity, owner) = (check.kind.name(), check.severity.name(), suite.owner(check));
            // Writing to a text does not fail.
            let _ = writeln!(lines, "{}: {} ({kind}, {severity}, {owner})", suite.table, check.name);
        }
    }
    print(&lines)?;
    Ok(ExitCode::SUCCESS)
}

/// Whether a check is chosen that compares what a query gives with what it gave before.
fn has_stable((suite, chosen): &(Suite, Vec<usize>)) -> bool {
    chosen.iter().any(|&index| matches!(suite.checks[index].kind, Kind::Stable(_)))
}

/// Whether a check looks into `DynamoDB`.
fn is_of_items(check: &Check) -> bool {
    matches!(check.kind, Kind::InDynamoDb(_))
}

/// Whether a check looks at all rows of these days: the youngest that there can be have settled. If not, it will look at
/// more of them later although no file changes.
fn has_settled(check: &Check, days: Days, rows: &Rows, now: Timestamp) -> anyhow::Result<bool> {
    let Some(settle) = check.settle else { return Ok(true) };
    let end = days.to.tomorrow().and_then(|day| day.to_zoned(rows.timezone.clone()));
    let end = end.with_context(|| format!("there is no day after {}", days.to))?;
    Ok(now.duration_since(end.timestamp()) >= settle)
}

fn run_checks(arguments: &RunChecks) -> anyhow::Result<ExitCode> {
    let suites = chosen(&arguments.choice)?;
    let backend = Backend::of_environment()?;
    let runtime = runtime()?;
    let now = arguments.rows.now();
    let days = arguments.rows.days(now)?;
    let lake = arguments.rows.lake(runtime.handle())?;
    let open = |place| {
        let owner = arguments.rows.expected_bucket_owner.as_deref();
        History::open(place, arguments.rows.database.as_deref(), owner, runtime.handle())
    };
    let history = arguments.history.as_ref().map(open).transpose()?;
    let has_items =
        |(suite, chosen): &(Suite, Vec<usize>)| chosen.iter().any(|&index| is_of_items(&suite.checks[index]));
    let zone = || arguments.rows.timezone.clone();
    let items = suites.iter().any(has_items).then(|| Items::new(runtime.handle(), zone()));
    let work = async {
        let mut kept = Vec::new();
        let earlier = match &history {
            None => None,
            // The history is long, and only these checks look into it.
            Some(_) if suites.iter().any(has_stable) => Some(history::digests(&lake).await?),
            Some(_) => Some(Digests::new()),
        };
        let (work, mut versions) = due::due(arguments, &lake, &suites, (days, now)).await?;
        for Due { suite, checks, days } in work {
            let definition = |index: &usize| suite.definition(&suite.checks[*index]);
            let mut about = Vec::new();
            for index in &checks {
                // Read before the rows, so that what changes meanwhile is checked again.
                let read = statement::tables(suite, *index, days);
                // Without a version, the day is looked at again.
                let is_whole = history.is_some() && has_settled(&suite.checks[*index], days, &arguments.rows, now)?;
                let version = if is_whole { versions.of(&read, days).await? } else { None };
                about.push((definition(index), version));
            }
            let memory = arguments.memory_limit;
            let found = run::check(&lake, suite, &checks, (days, now), memory, earlier.as_ref(), items.as_ref()).await;
            for ((mut verdict, (definition, version)), index) in found.into_iter().zip(about).zip(&checks) {
                if let Some(folder) = &arguments.bad_rows {
                    let day = arguments.changed.then_some(days.from);
                    verdict.bad_rows = files::keep_bad_rows(
                        &lake,
                        (suite, &suite.checks[*index], &verdict),
                        (days, arguments.memory_limit),
                        &folder.join(files::name_of_bad_rows(&verdict, day)),
                    )
                    .await?;
                }
                kept.push(Kept { verdict, definition, version });
            }
        }
        if let Some(history) = &history {
            history.add(&kept).await?;
        }
        Ok(kept.into_iter().map(|kept| kept.verdict).collect::<Vec<_>>())
    };
    let verdicts = until_stopped(runtime, work)?;
    write(arguments, &verdicts)?;
    if !verdicts.is_empty() {
        tell(backend, arguments.push_to.as_ref(), &verdicts)?;
    }
    let least = if arguments.fail_on == FailOn::Warn { Outcome::Warn } else { Outcome::Fail };
    let is_failed = |verdict: &Verdict| {
        (least..Outcome::Error).contains(&verdict.outcome) && verdict.severity >= arguments.severity
    };
    Ok(if verdicts.iter().any(is_failed) {
        FAILED.into()
    } else if verdicts.iter().any(|verdict| verdict.outcome == Outcome::Error) {
        COULD_NOT_RUN.into()
    } else {
        ExitCode::SUCCESS
    })
}

/// Sends the verdicts to a backend of `OpenLineage` and to a Pushgateway. That one does not take them is no failure of
/// a check, and is in the log.
fn tell(backend: Option<Backend>, group: Option<&Group>, verdicts: &[Verdict]) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        if let Some(outbox) = backend.map(Outbox::start) {
            outbox.send("COMPLETE of quality".to_owned(), event(verdicts));
            outbox.finish().await;
        }
        if let Some(group) = group
            && let Err(error) = group.replace(verdicts).await
        {
            tracing::warn!("{error:#}");
        }
    });
    Ok(())
}

fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")
}

/// Does this work. A signal ends it, so that temporary files are removed.
fn until_stopped<T>(runtime: Runtime, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let result = runtime.block_on(async {
        let stopped = stopped()?;
        tracing::info!("checks are run");
        tokio::select! {
            result = work => result,
            () = stopped => Err(anyhow!("it was stopped by a signal, and no verdict was written; run it again")),
        }
    });
    // A thread that is still decoding a file would hold up the end.
    runtime.shutdown_background();
    result
}

/// Prints what the checks are worth. The exit status is 1 if that is less than what is asked for.
fn judge_checks(arguments: &Judge) -> anyhow::Result<ExitCode> {
    let suites = chosen(&arguments.choice)?;
    let expectation = Expectation::read(&arguments.expect)?;
    let judged = Judged {
        expectation: &expectation,
        suites: &suites,
        lake: arguments.lake.as_deref(),
        zone: &arguments.timezone,
        memory: arguments.memory_limit,
    };
    let judgements = until_stopped(runtime()?, judge::judge(judged))?;
    print(&if arguments.json { judge::json(&judgements) } else { judge::text(&judgements) })?;
    let is_less = |share: Option<f64>, least: Option<f64>| share.zip(least).is_some_and(|(share, least)| share < least);
    let is_poor = |judgement: &Judgement| {
        is_less(judgement.recall(), arguments.min_recall) || is_less(judgement.precision(), arguments.min_precision)
    };
    Ok(if judgements.iter().any(is_poor) { FAILED.into() } else { ExitCode::SUCCESS })
}

/// Prints the checks that are proposed for a table.
fn profile_table(arguments: &Profile) -> anyhow::Result<ExitCode> {
    let Profile { table, owner, rows, memory_limit } = arguments;
    let runtime = runtime()?;
    let days = rows.days(rows.now())?;
    let lake = rows.lake(runtime.handle())?;
    let proposed = until_stopped(runtime, profile::propose(&lake, (table, owner), days, *memory_limit))?;
    print(&proposed.text()?)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the checks that are the same as rules of another tool. The exit status is 1 if some rules could not be taken,
/// which are named.
fn import_rules(arguments: &Import) -> anyhow::Result<ExitCode> {
    let Import { file, tool, table, owner, out } = arguments;
    let read = || -> anyhow::Result<_> {
        let text = std::fs::read_to_string(file)?;
        match tool {
            Tool::Dqdl => Ok(vec![import::of_dqdl(&text, table.as_deref().unwrap_or_default(), owner)?]),
            Tool::Dbt => import::of_dbt(&text, owner),
        }
    };
    let mut suites = read().with_context(|| format!("cannot take the rules of {}", file.display()))?;
    suites.retain(|suite| table.as_ref().is_none_or(|table| suite.table == *table));
    ensure!(!suites.is_empty(), "{} has no rules for this --table", file.display());
    for suite in &suites {
        let text = suite.text()?;
        match out {
            None => print(&text)?,
            Some(folder) => files::create(&folder.join(format!("{}.yml", suite.table)), text.as_bytes())?,
        }
        suite.left.iter().for_each(|left| say(&format!("{}: not taken: {left}", suite.table)));
    }
    let is_whole = suites.iter().all(|suite| suite.left.is_empty());
    Ok(if is_whole { ExitCode::SUCCESS } else { FAILED.into() })
}

fn write(arguments: &RunChecks, verdicts: &[Verdict]) -> anyhow::Result<()> {
    let report = |format| report(verdicts, format).context("cannot write the verdicts");
    for (format, path) in &arguments.report {
        files::replace(path, report(*format)?.as_bytes())?;
    }
    let text = report(arguments.format)?;
    match &arguments.output {
        None => print(&text),
        Some(path) => {
            files::replace(path, text.as_bytes())?;
            say(report(Format::Text)?.trim_end());
            Ok(())
        }
    }
}

/// Writes a text to standard output. That nobody reads it is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}
