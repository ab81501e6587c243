//! What the commands of `fms-sql` have in common: its log, what it says, and files that appear when they are complete.

use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use fms_aws::Retry;
use jiff::SignedDuration;
use tempfile::NamedTempFile;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// How long a call is repeated.
const PATIENCE: Duration = Duration::from_mins(1);
/// The longest wait between two attempts of a call.
const DELAY_MAX: Duration = Duration::from_secs(5);

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// An object on each line.
    Json,
}

/// Starts the log on standard error: what `RUST_LOG` selects, or else warnings and errors.
///
/// # Errors
///
/// `RUST_LOG` is no list of log directives.
pub fn start_log(format: LogFormat) -> anyhow::Result<()> {
    let directives = std::env::var("RUST_LOG").ok().filter(|directives| !directives.is_empty());
    let directives = directives.as_deref().unwrap_or("warn");
    let filter = EnvFilter::try_new(directives)
        .with_context(|| format!("environment: `RUST_LOG` = `{directives}`: is not a list of log directives"))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).log_internal_errors(false);
    match format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    }
    .map_err(|error| anyhow::anyhow!("starting the log: {error}"))
}

/// Writes a line to standard error. If that is full or closed, the exit status has to do; `eprintln!` would panic.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// How the calls of a command are repeated.
pub fn retry(command: &'static str) -> Retry {
    Retry::new(command, Some(PATIENCE), DELAY_MAX, |_| {})
}

/// Ends with the first SIGTERM or SIGINT, so that temporary files are removed.
///
/// # Errors
///
/// Nobody can listen for signals.
pub fn stopped() -> anyhow::Result<impl Future<Output = ()>> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// The value of an option that is a duration such as `90m`.
///
/// # Errors
///
/// The text is no duration, or a negative one.
pub fn duration(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    Duration::try_from(duration).map_err(|_| "it is negative".to_owned())
}

/// A temporary file in the folder of the one that it becomes. Everybody may read that, as far as the umask allows;
/// temporary files are private otherwise.
///
/// # Errors
///
/// No file can be created in the folder.
pub fn begin_file(path: &Path) -> anyhow::Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let public: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    let file = tempfile::Builder::new().prefix(".writing-").permissions(public).tempfile_in(folder);
    file.with_context(|| format!("cannot create a file in {}", folder.display()))
}
