//! The command line of `fms`, as a library, so that a test's own binary can become a worker.

pub mod allocator;
mod health;
mod lake;
mod log;
mod metrics_page;
mod query;
mod simulate;

pub use metrics_page::MetricsPage;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use fms_connect::SinkConnector;
use fms_connect::config::{file, reference};
use fms_connect::providers::Providers;
use fms_connect::settings::Settings;
use fms_connect::worker::{StartError, Worker, WorkerOutcome};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::info;

/// Exit status: a task had failed, or a worker is not healthy.
const FAILED: u8 = 1;
/// Exit status: nothing was started, because the command line, the environment, a connector or something that it needs
/// is wrong.
const NOT_STARTED: u8 = 2;
/// How long a worker may take to answer when it is asked for its health.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

/// The version, and the revision that it was built from.
static VERSION: LazyLock<String> =
    LazyLock::new(|| format!("{} (revision {})", env!("CARGO_PKG_VERSION"), fms_connect::REVISION));

/// Fleet data from Kafka to DynamoDB and S3.
#[derive(Debug, Parser)]
#[command(name = "fms", version = VERSION.as_str(), about)]
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
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Connect {
        #[command(subcommand)]
        command: Option<ConnectCommand>,
        /// Connector files in Kafka Connect's JSON; a folder stands for its *.json files. Without any, the worker runs
        /// what REST creates, which `CONNECT_REST_CHANGES_ENABLE` has to allow, or those of its group of workers
        /// (`CONNECT_GROUP_ID`).
        #[arg(long, num_args = 1.., value_name = "FILE")]
        config: Vec<PathBuf>,
    },
    /// Turn raw objects into typed, partitioned Parquet files.
    Lake {
        #[command(subcommand)]
        command: Box<lake::LakeCommand>,
    },
    /// Query the tables of a lake with SQL. The program `fms-sql` does it; `fms query --help` shows its options.
    #[command(disable_help_flag = true)]
    Query {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<OsString>,
    },
    /// Build tables for people and applications from those of a lake. The program `fms-sql` does it; `fms mart --help`
    /// shows its commands.
    #[command(disable_help_flag = true)]
    Mart {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<OsString>,
    },
    /// Check whether the tables of a lake and of its mart are possible, complete and consistent. The program `fms-sql` does
    /// it; `fms quality --help` shows its commands.
    #[command(disable_help_flag = true)]
    Quality {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<OsString>,
    },
    /// Tell owners in Slack which checks of the data fail, and when they are well again. The program `fms-sql` does it; `fms
    /// alerts --help` shows its commands.
    #[command(disable_help_flag = true)]
    Alerts {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<OsString>,
    },
    /// Simulate a fleet of vehicles: what real ones send, with what real ones do wrong.
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Simulate {
        #[command(subcommand)]
        command: Option<simulate::SimulateCommand>,
        #[command(flatten)]
        arguments: Box<simulate::Arguments>,
    },
    /// Ask a running worker how it is: exit status 0 if every task is well, else 1 with what is wrong. For health
    /// checks.
    Health(health::Arguments),
}

#[derive(Debug, Subcommand)]
enum ConnectCommand {
    /// Show what can be configured: every key with its type, default, unit, importance, and what goes wrong when it is
    /// set badly.
    Keys {
        /// Only what a connector of this kind has.
        #[arg(long, value_name = "CLASS")]
        connector: Option<String>,
        /// As the page docs/configuration.md.
        #[arg(long, conflicts_with = "json")]
        markdown: bool,
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// The sinks that connectors may name.
pub fn sinks() -> Vec<Box<dyn SinkConnector>> {
    vec![Box::new(fms_dynamodb::DynamoDbSink::default()), Box::new(fms_s3::S3Sink::default())]
}

/// Runs the program with these arguments, of which the first is the program's name. The exit status is 0 if the worker
/// stopped as it was asked to, or is healthy; 1 if a task had failed, or the worker is not healthy; 2 if nothing was
/// started, with every problem on standard error.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // This comes first, before anything that takes time, so that no signal is missed.
    let stop = arguments.iter().any(|argument| argument == "connect").then(stop_signal);
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help goes to standard output. An error means that nobody reads it.
            let _ = error.print();
            return if error.use_stderr() { NOT_STARTED.into() } else { ExitCode::SUCCESS };
        }
    };
    let config = match arguments.command {
        Command::Connect { command: Some(ConnectCommand::Keys { connector, markdown, json }), .. } => {
            return keys(connector.as_deref(), markdown, json);
        }
        Command::Connect { command: None, config } => config,
        Command::Health(arguments) => return health(&arguments),
        Command::Simulate { command, arguments: simulated } => {
            return simulate::run(command, &simulated, arguments.log_format);
        }
        Command::Lake { command } => return lake::run(*command, arguments.log_format),
        Command::Query { arguments: handed_over } => {
            return query::run(query::Task::Query, &handed_over, arguments.log_format);
        }
        Command::Mart { arguments: handed_over } => {
            return query::run(query::Task::Mart, &handed_over, arguments.log_format);
        }
        Command::Quality { arguments: handed_over } => {
            return query::run(query::Task::Quality, &handed_over, arguments.log_format);
        }
        Command::Alerts { arguments: handed_over } => {
            return query::run(query::Task::Alerts, &handed_over, arguments.log_format);
        }
    };
    let stop = stop.unwrap_or_else(stop_signal);
    let started = log::start(arguments.log_format).map_err(|error| vec![format!("{error:#}")]);
    match started.and_then(|levels| connect(&config, stop, levels)) {
        Ok(WorkerOutcome::Clean) => ExitCode::SUCCESS,
        Ok(WorkerOutcome::Failed) => FAILED.into(),
        Err(problems) => {
            report("fms connect", &problems, arguments.log_format);
            NOT_STARTED.into()
        }
    }
}

/// Prints the configuration reference of connectors of this kind, or of everything including the worker.
fn keys(connector: Option<&str>, markdown: bool, json: bool) -> ExitCode {
    let sinks = sinks();
    let mut groups = reference::groups(sinks.iter().map(Box::as_ref));
    if let Some(class) = connector {
        let Some(sink) = sinks.iter().find(|sink| sink.classes().contains(&class)) else {
            let known: Vec<_> = sinks.iter().flat_map(|sink| sink.classes()).copied().collect();
            say(&format!("`{class}` is not a known kind of sink; known: {}", known.join(", ")));
            return NOT_STARTED.into();
        };
        groups = reference::groups([sink.as_ref()]);
        groups.retain(|group| !group.environment);
    }
    let text = match (markdown, json) {
        (true, _) => reference::markdown(&groups),
        (false, true) => format!("{:#}\n", reference::json(&groups)),
        (false, false) => reference::text(&groups),
    };
    // An error means that nobody reads the output to its end.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn health(arguments: &health::Arguments) -> ExitCode {
    match health::probe(arguments, HEALTH_TIMEOUT) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{error:#}"));
            FAILED.into()
        }
    }
}

/// Writes a line to standard error. If that is full or closed, the exit status has to do; `eprintln!` would panic.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

fn report(command: &str, problems: &[String], format: LogFormat) {
    match format {
        LogFormat::Text => say(&format!("{command} does not start:\n- {}", problems.join("\n- "))),
        LogFormat::Json => tracing::error!(?problems, "{command} does not start"),
    }
}

/// Starts the log on standard error: what `RUST_LOG` selects, or else everything from `info` up.
fn start_log(format: LogFormat) -> anyhow::Result<()> {
    log::start(format).map(drop)
}

/// Runs a worker until SIGTERM or SIGINT.
fn connect(
    config: &[PathBuf],
    stop: io::Result<watch::Receiver<bool>>,
    levels: log::Levels,
) -> Result<WorkerOutcome, Vec<String>> {
    let mut stop = stop.map_err(|error| vec![format!("cannot listen for SIGTERM and SIGINT: {error}")])?;
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
    if !config.is_empty() && settings.group.is_some() {
        return Err(vec![
            "--config has no effect with CONNECT_GROUP_ID: the connectors of a group are in its config topic; create them \
             by REST, with any worker of the group that has CONNECT_REST_CHANGES_ENABLE=true"
                .into(),
        ]);
    }
    if config.is_empty() && !settings.rest_changes && settings.group.is_none() {
        return Err(vec![
            "there is no connector: name files with --config, or let REST create connectors with \
             CONNECT_REST_CHANGES_ENABLE=true"
                .into(),
        ]);
    }
    info!(
        version = env!("CARGO_PKG_VERSION"),
        revision = fms_connect::REVISION,
        bootstrap_servers = settings.bootstrap_servers,
        "fms connect starts"
    );
    match Worker::prepare(&settings, definitions, sinks(), &stop) {
        Ok(worker) => Ok(worker.with_log_levels(Arc::new(levels)).run(|| async move {
            // An error cannot happen, because the sender lives as long as the process.
            let _ = stop.wait_for(|stop| *stop).await;
        })),
        Err(errors) if errors.iter().any(|error| matches!(error, StartError::Stopped)) => {
            info!("the worker was stopped before it had started");
            Ok(WorkerOutcome::Clean)
        }
        Err(errors) => Err(strings(&errors)),
    }
}

fn strings(errors: &[impl ToString]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// The variables of the environment that are Unicode, which all of this program's are.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The files, and the `*.json` files in the folders, sorted by name.
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

/// A flag that becomes true with the first SIGTERM or SIGINT after this call. Later signals change nothing.
fn stop_signal() -> io::Result<watch::Receiver<bool>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut terminate, mut interrupt) = {
        let _context = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    let (stop, stopped) = watch::channel(false);
    thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            info!("received {name}");
            let _ = stop.send(true);
            stop.closed().await;
        });
    })?;
    Ok(stopped)
}
