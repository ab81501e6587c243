//! Why a file or a folder that a simulation is made from was refused.

use std::path::PathBuf;

use thiserror::Error;

/// Why a file of rates, or a folder of recordings, was refused.
#[derive(Debug, Error)]
pub enum RefusedFile {
    /// It, or a file in it, could not be read.
    #[error("cannot read {what} in {}: {error}{advice}", path.display())]
    Read {
        /// What is read from it.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
        /// What to do about it, behind a semicolon; empty if the error says it.
        advice: &'static str,
    },
    /// It says something that cannot be understood.
    #[error("{}: {problem}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong, and where.
        problem: String,
    },
}
