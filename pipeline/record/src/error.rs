//! What can be wrong with a message or with one of its rows, in words a person can act on.

/// Why a whole message gives no rows. The original bytes go to the dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Placeholder until the variants are written.
    #[error("{0}")]
    Invalid(String),
}

/// Why one row cannot be stored while the rest of its message can.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowError {
    /// Placeholder until the variants are written.
    #[error("{0}")]
    Invalid(String),
}
