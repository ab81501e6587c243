//! The log on standard error, whose levels can be changed while the program runs.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use fms_connect::loggers::{LogLevels, LoggerLevel};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::LogFormat;

/// The logger that stands for all that no other covers.
const ROOT: &str = "root";

const LEVELS: [&str; 6] = ["OFF", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"];

/// The levels of the log.
#[derive(Debug)]
pub struct Levels {
    filter: reload::Handle<EnvFilter, Registry>,
    /// The directives that the program started with.
    directives: String,
    /// What was set since, with the time of the change.
    set: Mutex<BTreeMap<String, (String, i64)>>,
}

/// Starts the log: what `RUST_LOG` selects, or else everything from `info` up.
pub fn start(format: LogFormat) -> anyhow::Result<Levels> {
    let directives = std::env::var_os("RUST_LOG").filter(|directives| !directives.is_empty());
    let directives = match directives.map(std::ffi::OsString::into_string).transpose() {
        Ok(directives) => directives.unwrap_or_else(|| "info".into()),
        Err(directives) => anyhow::bail!("environment: `RUST_LOG` = `{}`: is not UTF-8", directives.display()),
    };
    let filter = EnvFilter::try_new(&directives)
        .with_context(|| format!("environment: `RUST_LOG` = `{directives}`: is not a list of log directives"))?;
    let (filter, handle) = reload::Layer::new(filter);
    // A line that cannot be written is lost without a notice: the layer would write the notice with `eprintln!`, which
    // panics then.
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).log_internal_errors(false);
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => registry.with(lines.with_ansi(io::stderr().is_terminal())).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    }
    .map_err(|error| anyhow::anyhow!("starting the log: {error}"))?;
    Ok(Levels { filter: handle, directives, set: Mutex::default() })
}

/// The loggers that these directives name, each with its level.
fn named(directives: &str) -> BTreeMap<String, String> {
    let mut named = BTreeMap::from([(ROOT.to_owned(), "ERROR".to_owned())]);
    for directive in directives.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        let (logger, level) = match directive.split_once('=') {
            Some((logger, level)) => (logger, level.to_uppercase()),
            None if LEVELS.contains(&directive.to_uppercase().as_str()) => (ROOT, directive.to_uppercase()),
            None => (directive, "TRACE".to_owned()),
        };
        // A directive about spans or fields is no logger.
        if LEVELS.contains(&level.as_str()) && !logger.contains(['[', '{']) {
            named.insert(logger.into(), level);
        }
    }
    named
}

/// The directives that the program started with, and after them, so that they take precedence, those that were set.
fn all_directives<'s>(directives: &str, set: impl Iterator<Item = (&'s String, &'s String)>) -> String {
    set.fold(directives.to_owned(), |all, (logger, level)| match logger.as_str() {
        ROOT => format!("{all},{level}"),
        logger => format!("{all},{logger}={level}"),
    })
}

impl LogLevels for Levels {
    fn all(&self) -> Vec<LoggerLevel> {
        let mut all: BTreeMap<_, _> =
            named(&self.directives).into_iter().map(|(logger, level)| (logger, (level, None))).collect();
        let set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(set.iter().map(|(logger, (level, at))| (logger.clone(), (level.clone(), Some(*at)))));
        let level = |(logger, (level, last_modified))| LoggerLevel { logger, level, last_modified };
        all.into_iter().map(level).collect()
    }

    fn set(&self, logger: &str, level: &str) -> Result<(), String> {
        if !LEVELS.contains(&level) {
            return Err(format!("invalid log level '{level}'; there are {}", LEVELS.join(", ")));
        }
        if logger.is_empty() || !logger.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-')) {
            return Err(format!("`{logger}` is no logger: a logger is a module's path, such as fms_connect::task"));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        set.insert(logger.into(), (level.into(), now));
        let directives = all_directives(&self.directives, set.iter().map(|(logger, (level, _))| (logger, level)));
        let filter = EnvFilter::try_new(&directives).map_err(|error| format!("{directives}: {error}"))?;
        self.filter.reload(filter).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_name_loggers() {
        let of = |directives: &str| format!("{:?}", named(directives));
        assert_eq!(of("info"), r#"{"root": "INFO"}"#);
        assert_eq!(
            of("warn, fms_connect=debug,librdkafka"),
            r#"{"fms_connect": "DEBUG", "librdkafka": "TRACE", "root": "WARN"}"#
        );
        assert_eq!(of("fms_s3[put]=trace"), r#"{"root": "ERROR"}"#);
    }

    #[test]
    fn what_was_set_takes_precedence() {
        let set = BTreeMap::from([("fms_s3".to_owned(), "TRACE".to_owned()), (ROOT.to_owned(), "WARN".to_owned())]);
        let all = all_directives("info,fms_s3=debug", set.iter());
        assert_eq!(all, "info,fms_s3=debug,fms_s3=TRACE,WARN");
        let filter = EnvFilter::try_new(all).expect("directives").to_string();
        let mut parts: Vec<_> = filter.split(',').collect();
        parts.sort_unstable();
        assert_eq!(parts, ["fms_s3=trace", "warn"]);
    }
}
