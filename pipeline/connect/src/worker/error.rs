//! Why a worker does not start.

use std::path::{Path, PathBuf};

use crate::ConfigError;
use crate::access::AccessError;
use crate::config::file::FileError;
use crate::group::GroupError;

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A connector's configuration is wrong, or names something that does not exist.
    #[error("{}: {error}", file.display())]
    Config {
        /// The connector's file.
        file: PathBuf,
        /// What is wrong.
        #[source]
        error: ConfigError,
    },
    /// The cluster does not answer.
    #[error("cannot reach Kafka at {servers}: {problem}")]
    Unreachable {
        /// `bootstrap.servers`.
        servers: String,
        /// Why, and what to do about it.
        problem: String,
    },
    /// The worker was told to stop before it had started. That is no failure.
    #[error("the worker was stopped before it had started")]
    Stopped,
    /// The worker cannot listen at its address.
    #[error("the worker cannot listen at {host}:{port}: {error}; CONNECT_LISTENERS sets the address")]
    Listen {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The operating system's reason.
        #[source]
        error: std::io::Error,
    },
    /// REST cannot ask of clients what it should.
    #[error("{0}")]
    Access(#[from] AccessError),
    /// A connector that REST made earlier cannot be read.
    #[error("{0}")]
    Stored(FileError),
    /// The folder of what REST changes is of no use.
    #[error("the folder {} cannot be used: {error}; CONNECT_REST_CHANGES_DIR sets it", folder.display())]
    Store {
        /// The folder.
        folder: PathBuf,
        /// The operating system's reason.
        #[source]
        error: std::io::Error,
    },
    /// The worker cannot take part in its group.
    #[error("{0}")]
    Group(#[from] GroupError),
    /// The operating system does not start a thread.
    #[error("the operating system does not start a thread: {0}")]
    Threads(#[from] std::io::Error),
}

/// These problems of the connector that is defined in `file`.
pub(super) fn in_file(file: &Path, wrong: Vec<ConfigError>) -> Vec<StartError> {
    wrong.into_iter().map(|error| StartError::Config { file: file.into(), error }).collect()
}
