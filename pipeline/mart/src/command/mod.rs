//! The command line of `fms mart`.

mod arguments;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use clap::Parser as _;
use fms_query::Lake;
use fms_query::program::{say, start_log};
use jiff::Timestamp;
use jiff::civil::Date;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};

use self::arguments::{Arguments, Build, Choice, Command, Diff, Expire, Place, Shown, Told};
use crate::apply::{Sum, Work};
use crate::catalog::Catalog;
use crate::diff;
use crate::engine::{Session, Target};
use crate::example::examples;
use crate::lineage::{self, Events};
use crate::model::Models;
use crate::plan::Scope;
use crate::publish::{Connection, Publish, Published};

/// Exit status: rows do not pass a check, a server does not take them, or an example is not what it should be. Another attempt
/// finds the same.
const FAILED: u8 = 1;
/// Exit status: nothing was begun, or not everything was done. Another attempt goes on where this one has ended.
const NOT_DONE: u8 = 2;

/// What became of a command that was begun.
enum Outcome {
    Done,
    /// What failed has been said.
    Failed,
    /// What could not be done has been said.
    Unfinished,
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
    match run(arguments) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => FAILED.into(),
        Ok(Outcome::Unfinished) => NOT_DONE.into(),
        Err(error) => {
            say(&format!("fms mart: {error:#}"));
            NOT_DONE.into()
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    start_log(arguments.log_format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let work = act(arguments.command, runtime.handle().clone());
    let result = runtime.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tracing::info!("the mart is worked on");
        tokio::select! {
            result = work => result,
            _ = terminate.recv() => Ok(stopped()),
            _ = interrupt.recv() => Ok(stopped()),
        }
    });
    // A thread that is still decoding a file would hold up the end.
    runtime.shutdown_background();
    result
}

/// Whatever is not published yet is as if it had never been.
fn stopped() -> Outcome {
    say("fms mart: it was stopped by a signal; what was not built yet will be by the next run");
    Outcome::Unfinished
}

async fn act(command: Command, handle: Handle) -> anyhow::Result<Outcome> {
    match command {
        Command::Test(choice) => test(&choice).await,
        Command::Lineage(lineage) => show(&lineage).await,
        Command::Plan(build) => {
            let (models, lake, catalog) = opened(&build, &handle).await?;
            work(&build, &models, &lake, &*catalog, Scope::default())?
                .plan(&|line| print(&format!("{line}\n")))
                .await?;
            Ok(Outcome::Done)
        }
        Command::Apply(told) => apply(&told, &handle, Scope::default()).await,
        Command::Backfill(told) => {
            let range = &told.build.range;
            ensure!(range.from.is_some() && range.to.is_some(), "name the days: --from DAY --to DAY");
            apply(&told, &handle, Scope { is_all: true, ..Scope::default() }).await
        }
        Command::Diff(difference) => compare(&difference, &handle).await,
        Command::Sql(sql) => statements(&sql, &handle).await,
        Command::Publish(publish) => send(publish, &handle).await,
        Command::Expire(expire) => remove(&expire, &handle).await,
    }
}

async fn opened(build: &Build, handle: &Handle) -> anyhow::Result<(Models, Lake, Box<dyn Catalog>)> {
    let models = build.choice.models()?;
    let (lake, catalog) = open(&build.place, handle).await?;
    Ok((models, lake, catalog))
}

/// The lake and the mart. The configuration of AWS is loaded on a thread of its own, for that blocks.
async fn open(place: &Place, handle: &Handle) -> anyhow::Result<(Lake, Box<dyn Catalog>)> {
    let (place, handle) = (place.clone(), handle.clone());
    tokio::task::spawn_blocking(move || place.open(&handle)).await?
}

fn work<'w>(
    build: &'w Build,
    models: &'w Models,
    lake: &'w Lake,
    catalog: &'w dyn Catalog,
    scope: Scope,
) -> anyhow::Result<Work<'w>> {
    Ok(Work {
        models,
        selected: build.choice.selected(models)?,
        lake,
        catalog,
        scope: Scope { from: build.range.from, to: build.range.to, despite_gone: build.despite_gone, ..scope },
        at_once: build.at_once.map_or_else(|| std::thread::available_parallelism().map_or(1, Into::into), Into::into),
        memory: build.memory_limit,
        zone: build.timezone.clone(),
        now: build.now.unwrap_or_else(Timestamp::now),
        events: None,
    })
}

async fn apply(told: &Told, handle: &Handle, scope: Scope) -> anyhow::Result<Outcome> {
    let events = Events::open(told.openlineage.as_deref())?;
    let (models, lake, catalog) = opened(&told.build, handle).await?;
    let work = Work { events, ..work(&told.build, &models, &lake, &*catalog, scope)? };
    let done = work.apply(&|line| print(&format!("{line}\n"))).await;
    if let Some(events) = work.events {
        events.finish().await;
    }
    let Sum { built, unchanged, kept, held, refused, failed, skipped } = done?;
    print(&format!(
        "{built} partitions built, of which {unchanged} are as before; {kept} were as they should be; {held} held back; \
         {} failed; {skipped} skipped\n",
        refused + failed
    ));
    // Only if nothing is left that another attempt could build, the checks are the last word.
    Ok(match (failed, refused) {
        (0, 0) => Outcome::Done,
        (0, _) => Outcome::Failed,
        _ => Outcome::Unfinished,
    })
}

/// Shows what is made of what.
async fn show(arguments: &arguments::Lineage) -> anyhow::Result<Outcome> {
    let models = arguments.choice.models()?;
    let selected = arguments.choice.selected(&models)?;
    let text = match arguments.format {
        Shown::Tables => lineage::tables(&models, &selected),
        Shown::Columns => lineage::columns(&lineage::lineage(&models, &selected).await?),
        Shown::Html => lineage::html(&lineage::lineage(&models, &selected).await?),
    };
    print(&text);
    Ok(Outcome::Done)
}

/// Prints the statements for another engine, or runs them there.
async fn statements(sql: &arguments::Sql, handle: &Handle) -> anyhow::Result<Outcome> {
    let models = sql.choice.models()?;
    let selected = sql.choice.selected(&models)?;
    let generation = sql.now.unwrap_or_else(Timestamp::now).strftime("%Y%m%dT%H%M%SZ").to_string();
    let (database, mart, days) = (&sql.database, &sql.mart, (sql.from, sql.to));
    let target = Target { engine: sql.engine, database, mart, days, generation: &generation };
    if !sql.submit {
        for model in models.named(&selected) {
            print(&target.text(model)?);
        }
        return Ok(Outcome::Done);
    }
    // What cannot be written is found before anything is built.
    let statements = models.named(&selected).map(|model| target.statements(model));
    let statements: Vec<_> = statements.collect::<anyhow::Result<_>>()?;
    let (place, handle) = (sql.place()?, handle.clone());
    let session = tokio::task::spawn_blocking(move || Session::new(&fms_aws::load(&handle), &place)).await?;
    for statement in statements.iter().flatten() {
        let query = session.run(statement).await?;
        print(&format!("{} (query {query})\n", statement.what));
    }
    Ok(Outcome::Done)
}

/// Sends tables to a server.
async fn send(publish: arguments::Publish, handle: &Handle) -> anyhow::Result<Outcome> {
    let models = publish.choice.models()?;
    let selected = publish.choice.selected(&models)?;
    let (lake, catalog) = open(&publish.place, handle).await?;
    let connection = Connection { url: publish.target, ca: publish.ca, is_plain: publish.no_tls };
    let scope = Scope { from: publish.range.from, to: publish.range.to, ..Scope::default() };
    let work = Publish {
        models: &models,
        selected,
        lake: &lake,
        catalog: &*catalog,
        scope,
        memory: publish.memory_limit,
        despite_failed: publish.despite_failed,
    };
    let Published { sent, kept, held, failed } = work.run(&connection, &|line| print(&format!("{line}\n"))).await?;
    let held = if held > 0 { format!("{held} held back; ") } else { String::new() };
    print(&format!("{sent} partitions published; {kept} were there; {held}{failed} failed\n"));
    Ok(if failed > 0 { Outcome::Failed } else { Outcome::Done })
}

/// Runs the examples of models.
async fn test(choice: &Choice) -> anyhow::Result<Outcome> {
    let models = choice.models()?;
    let selected = choice.selected(&models)?;
    let (mut good, mut bad) = (0, 0);
    for model in models.named(&selected) {
        match examples(model).await {
            Ok(mismatches) => {
                good += model.examples.len() - mismatches.len();
                bad += mismatches.len();
                for mismatch in mismatches {
                    print(&format!("{}.sql, {mismatch}", model.name));
                }
            }
            Err(error) => {
                bad += model.examples.len();
                print(&format!("{}.sql, {error:#}\n", model.name));
            }
        }
    }
    print(&format!("{good} examples are as expected, {bad} are not\n"));
    Ok(if bad > 0 { Outcome::Failed } else { Outcome::Done })
}

/// Compares two versions of a model on the days of a range.
async fn compare(difference: &Diff, handle: &Handle) -> anyhow::Result<Outcome> {
    let Diff { a, b, build } = difference;
    let [name, other] = [a, b].map(|path| path.file_stem().and_then(|name| name.to_str()).unwrap_or_default());
    ensure!(name == other, "`{name}` and `{other}` are two models; name two files of one, such as old/trip.sql");
    let (_, lake, catalog) = opened(build, handle).await?;
    let versions = [with(&build.choice.models, a)?, with(&build.choice.models, b)?];
    let [a, b] = versions.each_ref().map(|models| work(build, models, &lake, &*catalog, Scope::default()));
    let (a, b) = (a?, b?);
    let mut days: BTreeSet<Date> = BTreeSet::new();
    let (of_a, of_b) = (a.everything(name).await?, b.everything(name).await?);
    days.extend(of_a.dates().chain(of_b.dates()));
    ensure!(!days.is_empty(), "there is nothing to build `{name}` of");
    let mut is_same = true;
    for date in days {
        let outputs = [a.day(name, date, &of_a).await?, b.day(name, date, &of_b).await?];
        let [Some(model_a), Some(model_b)] = [versions[0].get(name), versions[1].get(name)] else {
            bail!("there is no model `{name}`");
        };
        let found = diff::diff([model_a, model_b], outputs.each_ref()).await?;
        is_same &= found.is_none();
        print(&format!("{date}: {found}\n"));
    }
    Ok(if is_same { Outcome::Done } else { Outcome::Failed })
}

/// The models of a folder, with a file in the place of the one that has its name.
fn with(folder: &Path, file: &Path) -> anyhow::Result<Models> {
    let mut files: Vec<(PathBuf, String)> = Vec::new();
    let read = |path: &Path| std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "sql") && path.file_stem() != file.file_stem() {
            files.push((path.clone(), read(&path)?));
        }
    }
    files.push((file.to_owned(), read(file)?));
    Models::of(files).map_err(arguments::problems)
}

/// Removes what no reader was sent to for the grace period.
async fn remove(expire: &Expire, handle: &Handle) -> anyhow::Result<Outcome> {
    let models = expire.choice.models()?;
    let selected = expire.choice.selected(&models)?;
    let (_, catalog) = open(&expire.place, handle).await?;
    let now = Timestamp::now();
    for model in models.named(&selected) {
        let removed = catalog.expire(model, expire.grace, now).await?;
        if removed > 0 {
            print(&format!("{}: {removed} files removed\n", model.name));
        }
    }
    Ok(Outcome::Done)
}

/// Writes to standard output. If nobody reads it, what was done is done; `print!` would panic.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}
