//! What REST's `/admin/loggers` asks of the program's log.

use std::fmt;

/// A logger whose level was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggerLevel {
    /// The target of its log lines, such as `fms_connect::task`; `root` for all that no other covers.
    pub logger: String,
    /// Its level in upper case: `ERROR`, `WARN`, `INFO`, `DEBUG`, `TRACE` or `OFF`.
    pub level: String,
    /// When it was last set while the program ran, in milliseconds since the Unix epoch.
    pub last_modified: Option<i64>,
}

/// The levels of a program's log.
pub trait LogLevels: fmt::Debug + Send + Sync {
    /// Every logger whose level was set, `root` among them, sorted by name.
    fn all(&self) -> Vec<LoggerLevel>;

    /// Sets the level of a logger, and of those below it.
    ///
    /// # Errors
    /// The level is none of those of [`LoggerLevel::level`], or the name cannot be one of a logger.
    fn set(&self, logger: &str, level: &str) -> Result<(), String>;
}
