//! Why what REST asks of a worker is not done, in the kinds that Kafka Connect tells apart.

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
