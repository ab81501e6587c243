//! Why a task failed.

use rdkafka::error::KafkaError;

use crate::{ConfigError, SinkError, TopicPartition};

/// Why a task failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TaskError {
    /// A record or row cannot be stored, and the configuration says that this fails the task.
    #[error(
        "{}the record at offset {offset} of {partition} cannot be stored: {error}. {advice}",
        row.map(|row| format!("row {row} of ")).unwrap_or_default()
    )]
    Record {
        /// Its partition.
        partition: TopicPartition,
        /// Its offset.
        offset: i64,
        /// The row's index, if it is about one row.
        row: Option<usize>,
        /// What is wrong.
        error: String,
        /// Why this fails the task, and what to do about it.
        advice: &'static str,
    },
    /// The sink cannot go on.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Kafka refused something for good.
    #[error("{action}: {source}")]
    Kafka {
        /// What was being done, and to what.
        action: String,
        /// Kafka's reason.
        source: KafkaError,
    },
    /// The group's offset does not exist in the partition.
    #[error("{0}")]
    OffsetOutOfRange(String),
    /// The assignment cannot be taken over for another reason.
    #[error("{0}")]
    Assignment(String),
    /// The task was told to stop, and what it held could not be stored in time.
    #[error(
        "the task did not flush within task.shutdown.graceful.timeout.ms: {0}. Nothing is lost: the next owner of the \
         partitions reads these records again"
    )]
    Unflushed(String),
}

/// Whether a task that failed is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// Somebody may repair the cause outside of the worker, so the task restarts by itself. The word is the `reason`
    /// label of the restart's metric.
    Restart(&'static str),
    /// The next try would read the same records with the same settings and fail in the same way.
    Stop,
}

impl TaskError {
    /// What the failure means for the next try.
    pub fn recovery(&self) -> Recovery {
        match self {
            Self::Sink(_) => Recovery::Restart("sink"),
            Self::Kafka { .. } => Recovery::Restart("kafka"),
            Self::Assignment(_) => Recovery::Restart("assignment"),
            Self::Record { .. } | Self::Config(_) | Self::OffsetOutOfRange(_) | Self::Unflushed(_) => Recovery::Stop,
        }
    }
}
