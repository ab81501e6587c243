//! Why a task failed.

use rdkafka::error::KafkaError;

use crate::{ConfigError, SinkError, TopicPartition};

/// Why a task failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TaskError {
    /// A record or row cannot be stored, and `errors.tolerance` is `none`.
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
        "not flushed within task.shutdown.graceful.timeout.ms: {0}. Nothing is lost: these records are read again by the next owner"
    )]
    Unflushed(String),
}

/// Whether a task that failed is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// Somebody may mend the cause outside, so the task begins again by itself. The word is the `reason` label of the
    /// restart's metric.
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
