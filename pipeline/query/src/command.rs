//! The command line of `fms query`.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufWriter, IsTerminal as _, Read as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use fms_lake::{TimeZone, time_zone};
use futures_util::TryStreamExt as _;
use tempfile::NamedTempFile;
use tokio::runtime::Handle;

use crate::output::{Format, Out, Writer, is_unread};
use crate::problem;
use crate::program::{LogFormat, begin_file, duration, retry, say, start_log, stopped};
use crate::query::{Planned, Query};
use crate::size::Size;
use crate::source::{EventTime, Lake};

/// Exit status: the query failed while it ran.
const FAILED: u8 = 1;
/// Exit status: nothing was begun, because the command line, the query, the lake or a limit is in the way.
const NOT_STARTED: u8 = 2;

/// Query the tables of a lake with SQL.
///
/// The exit status is 0 if the query ran to its end, 1 if it failed while it ran, and 2 if it was not begun.
#[derive(Debug, Parser)]
#[command(name = "fms-sql", bin_name = "fms query", version)]
struct Arguments {
    /// The query: one statement, with `$name` for parameters.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    sql: Option<String>,
    /// Read the query from a file; `-` is standard input.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The folder of a lake. Without it, the lake is in S3.
    #[arg(long, value_name = "FOLDER")]
    lake: Option<PathBuf>,
    /// The database of the Glue catalog that has the tables of a lake in S3. Its name may stand before that of a table;
    /// for a lake in a folder, it is `lake` if it is not given.
    #[arg(long, env = "FMS_LAKE_DATABASE", value_name = "NAME", required_unless_present = "lake")]
    database: Option<String>,
    /// The value of a parameter. It is read as the type that the query needs in its place.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
    /// How the result is written.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Write the result to a file, which appears when it is complete, instead of standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How much memory the query may use, such as 2GB; at least 100MB. Sorts, groups and joins that need more write to
    /// temporary files in `TMPDIR`. Without a limit, the query takes what it needs.
    #[arg(long, value_name = "BYTES")]
    memory_limit: Option<Size>,
    /// Stop the query after so long, such as 30s or 5m.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
    /// Refuse the query if the files of its partitions have more bytes, such as 10GB. Not all of them have to be read.
    #[arg(long, value_name = "BYTES")]
    max_scan: Option<Size>,
    /// The column with a row's event time: the field that the lake was converted by. From a range of it, the partitions
    /// follow.
    #[arg(long, env = "FMS_LAKE_TIMESTAMP_FIELD", value_name = "COLUMN", default_value = "timestamp_iso")]
    timestamp_field: String,
    /// The time zone that the lake was converted by. Without it, a range of the event time leaves the partitions of
    /// up to 16 hours more on both sides, so that the result is right for every zone.
    #[arg(long, env = "FMS_LAKE_TIMEZONE", value_name = "ZONE", value_parser = time_zone)]
    timezone: Option<TimeZone>,
    /// The AWS account that owns the buckets with the tables' files. If another one does, nothing is read there.
    #[arg(long, env = "FMS_LAKE_EXPECTED_BUCKET_OWNER", value_name = "ACCOUNT")]
    expected_bucket_owner: Option<String>,
    /// How log lines are written to standard error; `RUST_LOG` says which.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    log_format: LogFormat,
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as name=value")?;
    Ok((name.trim_start_matches('$').to_owned(), value.to_owned()))
}

/// How far a query came.
#[derive(Debug)]
enum Failure {
    NotStarted(anyhow::Error),
    Failed(anyhow::Error),
}

/// Runs the program with these arguments, of which the first is the program's name.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help goes to standard output. An error means that nobody reads it.
            let _ = error.print();
            return if error.use_stderr() { NOT_STARTED.into() } else { ExitCode::SUCCESS };
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::NotStarted(error)) => {
            say(&format!("fms query: {error:#}"));
            NOT_STARTED.into()
        }
        Err(Failure::Failed(error)) => {
            say(&format!("fms query: the query failed: {error:#}"));
            FAILED.into()
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (lake, query, runtime) = prepare(arguments).map_err(Failure::NotStarted)?;
    let work = work(arguments, &lake, &query);
    let result = runtime.block_on(async {
        let stopped = stopped().map_err(Failure::NotStarted)?;
        let timeout = async {
            match arguments.timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            result = work => result,
            () = timeout => {
                let after = arguments.timeout.unwrap_or_default();
                Err(Failure::Failed(anyhow::anyhow!("it took longer than --timeout {after:?}; allow more")))
            }
            () = stopped => Err(Failure::Failed(anyhow::anyhow!("it was stopped by a signal"))),
        }
    });
    // A thread that is still decoding a file would hold up the end.
    runtime.shutdown_background();
    result
}

/// Reads what the command line names. Must not be called in an async context.
fn prepare(arguments: &Arguments) -> anyhow::Result<(Lake, Query, tokio::runtime::Runtime)> {
    start_log(arguments.log_format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let query = Query {
        sql: text(arguments)?,
        parameters: arguments.parameters.iter().cloned().collect(),
        memory: arguments.memory_limit,
        max_scan: arguments.max_scan,
    };
    ensure!(query.parameters.len() == arguments.parameters.len(), "a parameter is given more than once");
    Ok((lake(arguments, runtime.handle())?, query, runtime))
}

fn lake(arguments: &Arguments, runtime: &Handle) -> anyhow::Result<Lake> {
    let time = EventTime { column: arguments.timestamp_field.clone(), zone: arguments.timezone.clone() };
    let database = arguments.database.as_deref();
    if let Some(folder) = &arguments.lake {
        return Lake::in_folder(folder, database.unwrap_or("lake"), time);
    }
    let database = database.context("name the lake: --lake FOLDER, or --database NAME of the Glue catalog")?;
    let owner = arguments.expected_bucket_owner.clone();
    Ok(Lake::in_catalog_of(&fms_aws::load(runtime), database, time, &retry("fms query"), owner))
}

fn text(arguments: &Arguments) -> anyhow::Result<String> {
    let text = match (&arguments.sql, &arguments.file) {
        (Some(sql), _) => sql.clone(),
        (None, Some(file)) if file.as_os_str() == "-" => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).context("cannot read the query from standard input")?;
            text
        }
        (None, Some(file)) => fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?,
        (None, None) => bail!("there is no query"),
    };
    ensure!(!text.trim().is_empty(), "the query is empty");
    Ok(text)
}

async fn work(arguments: &Arguments, lake: &Lake, query: &Query) -> Result<(), Failure> {
    let planned = Planned::new(lake, query).await.map_err(|error| Failure::NotStarted(error.into()))?;
    let (out, file) = out(arguments).map_err(Failure::NotStarted)?;
    let mut writer = Writer::new(arguments.format, &planned.schema(), out).map_err(Failure::NotStarted)?;
    let written = async {
        let mut rows = planned.start().map_err(|error| problem::of(&error))?;
        while let Some(batch) = rows.try_next().await.map_err(|error| problem::of(&error))? {
            writer.write(batch).context("cannot write the result")?;
        }
        writer.finish().context("cannot write the result")
    };
    let rows = match written.await {
        Ok(rows) => rows,
        Err(error) if arguments.output.is_none() && is_unread(&error) => return Ok(()),
        Err(error) => return Err(Failure::Failed(error)),
    };
    if let (Some(file), Some(path)) = (file, &arguments.output) {
        let kept = file.persist(path).with_context(|| format!("cannot write {}", path.display()));
        kept.map_err(Failure::Failed)?;
    }
    say(&planned.summary(rows).to_string());
    Ok(())
}

/// Where the result is written, and the file that it becomes.
fn out(arguments: &Arguments) -> anyhow::Result<(Out, Option<NamedTempFile>)> {
    let Some(path) = &arguments.output else {
        let is_unreadable = arguments.format == Format::Parquet && io::stdout().is_terminal();
        ensure!(!is_unreadable, "Parquet is nothing for a terminal; add --output FILE");
        return Ok((Box::new(BufWriter::new(io::stdout())), None));
    };
    let file = begin_file(path)?;
    let out = file.reopen().with_context(|| format!("cannot write {}", path.display()))?;
    Ok((Box::new(BufWriter::new(out)), Some(file)))
}
