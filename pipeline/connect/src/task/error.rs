//! Why a task failed.

use rdkafka::error::KafkaError;

use crate::{ConfigError, SinkError, TopicPartition};

/// Why a task failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TaskError {
    /// A record or a row cannot be stored and `errors.tolerance` is `none`.
    #[error("{partition} offset {offset}{}: {error}. The task stops because errors.tolerance is `none`; correct the producer and \
             skip the record, or set errors.tolerance to `all` with errors.deadletterqueue.topic.name", row.map(|r| format!(" row {r}")).unwrap_or_default())]
    Record {
        /// Its partition.
        partition: TopicPartition,
        /// Its offset.
        offset: i64,
        /// The row's index, if it is about one row.
        row: Option<usize>,
        /// What is wrong.
        error: String,
    },
    /// The sink cannot go on.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Kafka refused something, or cannot be reached for good.
    #[error("{action}: {source}")]
    Kafka {
        /// What was being done, to what.
        action: String,
        /// Kafka's words.
        source: KafkaError,
    },
    /// The group's offset does not exist in the partition.
    #[error("{0}")]
    OffsetOutOfRange(String),
    /// Something else about the assignment.
    #[error("{0}")]
    Assignment(String),
    /// It was asked to stop, and what it held could not be stored in time.
    #[error(
        "not flushed within task.shutdown.graceful.timeout.ms: {0}. Nothing is lost: these records are read again by the next owner"
    )]
    Unflushed(String),
}

/// What a failure of a task means for the next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prospect {
    /// It may be mended from outside: the task is to begin anew by itself. The word is the metric's `reason` label.
    Restart(&'static str),
    /// The next try would read the same records with the same settings and fail as this one did.
    Stop,
}

impl TaskError {
    /// Whether the task may begin anew by itself.
    pub fn prospect(&self) -> Prospect {
        match self {
            Self::Sink(_) => Prospect::Restart("sink"),
            Self::Kafka { .. } => Prospect::Restart("kafka"),
            Self::Assignment(_) => Prospect::Restart("assignment"),
            Self::Record { .. } | Self::Config(_) | Self::OffsetOutOfRange(_) | Self::Unflushed(_) => Prospect::Stop,
        }
    }
}
