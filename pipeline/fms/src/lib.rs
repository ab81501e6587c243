//! The command line of `fms`, as a library, so that a test's own binary can become a worker.

pub mod allocator;
mod health;

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use fms_connect::SinkConnector;
use fms_connect::config::file;
use fms_connect::providers::Providers;
use fms_connect::settings::Settings;
use fms_connect::worker::{Outcome, Worker};
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;
use tracing_subscriber::EnvFilter;

/// A task had failed, or a worker is not healthy.
const FAILED: u8 = 1;
/// Nothing was started: the command line, the environment, a connector or what it needs is not right.
const NOT_STARTED: u8 = 2;
/// How long a healthy worker may take to say so.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

/// Fleet data from Kafka to DynamoDB and S3.
#[derive(Debug, Parser)]
#[command(name = "fms", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// How log lines are written to standard error; `RUST_LOG` says which.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run connectors: sinks that read Kafka topics.
    Connect {
        /// Connector files in Kafka Connect's JSON; a folder stands for its *.json files.
        #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
        config: Vec<PathBuf>,
    },
    /// Ask a running worker how it is: exit status 0 if every task is well, else 1 with what is wrong. For health checks.
    Health {
        /// Where the worker listens, and `/health`.
        #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8083/health")]
        url: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// The sinks that connectors may name.
pub fn sinks() -> Vec<Box<dyn SinkConnector>> {
    vec![Box::new(fms_dynamodb::DynamoDbSink::default()), Box::new(fms_s3::S3Sink)]
}

/// Runs the program with these arguments, the program's name first. Exit status 0: stopped as asked, or healthy; 1: a task had failed,
/// or not healthy; 2: not started, with every problem on standard error.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // To standard output if help was asked for. If that is closed, nobody reads it.
            let _ = error.print();
            return if error.use_stderr() { NOT_STARTED.into() } else { ExitCode::SUCCESS };
        }
    };
    let config = match arguments.command {
        Command::Connect { config } => config,
        Command::Health { url } => return health(&url),
    };
    match start_log(arguments.log_format).map_err(|error| vec![format!("{error:#}")]).and_then(|()| connect(&config)) {
        Ok(Outcome::Clean) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => FAILED.into(),
        Err(problems) => {
            report(&problems, arguments.log_format);
            NOT_STARTED.into()
        }
    }
}

fn health(url: &str) -> ExitCode {
    match health::probe(url, HEALTH_TIMEOUT) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            FAILED.into()
        }
    }
}

fn report(problems: &[String], format: LogFormat) {
    match format {
        LogFormat::Text => eprintln!("fms connect does not start:\n- {}", problems.join("\n- ")),
        LogFormat::Json => tracing::error!(?problems, "fms connect does not start"),
    }
}

/// Logs go to standard error: what `RUST_LOG` says, else `info` and above.
fn start_log(format: LogFormat) -> anyhow::Result<()> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => {
            EnvFilter::try_new(&directives).with_context(|| format!("environment: `RUST_LOG` = `{directives}`"))?
        }
        _ => EnvFilter::new("info"),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    }
    .map_err(|error| anyhow::anyhow!("starting the log: {error}"))
}

/// Runs a worker until SIGTERM or SIGINT.
fn connect(config: &[PathBuf]) -> Result<Outcome, Vec<String>> {
    let stop = stop_signal().map_err(|error| vec![format!("cannot listen for SIGTERM and SIGINT: {error}")])?;
    let settings = Settings::from_env(variables());
    let definitions = files(config)
        .map_err(|error| vec![format!("{error:#}")])
        .and_then(|files| file::read(&files, &Providers::of_process()).map_err(|errors: Vec<_>| strings(&errors)));
    let (settings, definitions) = match (settings, definitions) {
        (Ok(settings), Ok(definitions)) => (settings, definitions),
        (settings, definitions) => {
            let mut problems = settings.err().map(|errors: Vec<_>| strings(&errors)).unwrap_or_default();
            problems.extend(definitions.err().unwrap_or_default());
            return Err(problems);
        }
    };
    info!(version = env!("CARGO_PKG_VERSION"), bootstrap_servers = settings.bootstrap_servers, "fms connect starts");
    let worker = Worker::prepare(&settings, definitions, &sinks()).map_err(|errors: Vec<_>| strings(&errors))?;
    Ok(worker.run(|| stop))
}

fn strings(errors: &[impl ToString]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// The environment, without what is not Unicode: nothing of ours is.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The files, and the `*.json` files of the folders, by name.
fn files(config: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in config {
        if path.is_dir() {
            let found = json_files(path).with_context(|| format!("{}: cannot read the folder", path.display()))?;
            anyhow::ensure!(!found.is_empty(), "{}: has no *.json files", path.display());
            files.extend(found);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn json_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Resolves at the first SIGTERM or SIGINT from the call on: one that comes while the worker is prepared stops it as soon as it runs.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    // Handlers are the process's; whichever runtime is polled later takes in what they have seen.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _context = runtime.enter();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        info!("{name} received");
    })
}
