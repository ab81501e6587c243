//! Why what REST asks of a worker is not done, in the kinds that Kafka Connect tells apart.

use super::error::StartError;
use crate::ConfigError;

/// Why an operation is not done. The text is for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OperationError {
    /// What is asked for is wrong.
    #[error("{0}")]
    BadRequest(String),
    /// The worker's settings do not allow it.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such connector or task.
    #[error("{0}")]
    NotFound(String),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// The worker, the cluster or a service failed.
    #[error("{0}")]
    Internal(String),
}

/// There is no connector of this name.
pub(super) fn not_found(name: &str) -> OperationError {
    OperationError::NotFound(format!("Connector {name} not found"))
}

/// The change was made but would not outlive the worker.
pub(super) fn not_kept(name: &str, error: &std::io::Error) -> OperationError {
    OperationError::Internal(format!(
        "connector `{name}`: its file in the folder of CONNECT_REST_CHANGES_DIR cannot be written: {error}"
    ))
}

/// The configuration is wrong.
pub(super) fn invalid(wrong: &[ConfigError]) -> OperationError {
    let errors: Vec<_> = wrong.iter().map(ToString::to_string).collect();
    OperationError::BadRequest(format!(
        "Connector configuration is invalid and contains the following {} error(s):\n{}\nThe endpoint \
         `/connector-plugins/{{connector.class}}/config/validate` tells the same of what needs no network",
        errors.len(),
        errors.join("\n")
    ))
}

/// What is wrong with a configuration is the client's to correct, everything else is not.
pub(super) fn refusal(wrong: Vec<StartError>) -> OperationError {
    let (mut config, mut others) = (Vec::new(), Vec::new());
    for error in wrong {
        match error {
            StartError::Config { error, .. } => config.push(error),
            other => others.push(other),
        }
    }
    if others.is_empty() { invalid(&config) } else { OperationError::Internal(sentences(&others)) }
}

/// These problems in one text.
pub(super) fn sentences(wrong: &[StartError]) -> String {
    let texts = wrong.iter().map(|error| match error {
        StartError::Config { error, .. } => error.to_string(),
        other => other.to_string(),
    });
    texts.collect::<Vec<_>>().join("\n")
}
