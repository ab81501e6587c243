//! What happens to a record or row that cannot be stored: `errors.tolerance`, `errors.log.*` and the dead-letter queue.

use std::borrow::Cow;
use std::sync::Arc;

use super::error::TaskError;
use crate::config::common::Tolerated;
use crate::deadletter::{DeadLetter, DeadLetterQueue, ErrorStage};
use crate::metrics::TaskMetrics;
use crate::{Config, ConfigError, Origin, SinkError, TopicPartition};

/// The failure of a whole record, or of one of its rows.
#[derive(Debug)]
pub(super) struct Failure<'f> {
    pub origin: &'f Arc<Origin>,
    pub stage: ErrorStage,
    /// The error's kind, for `__connect.errors.exception.class.name`.
    pub class: &'static str,
    /// What is wrong.
    pub error: String,
    /// The service's id of the call that refused it.
    pub request_id: Option<String>,
    /// The row's index in the message, if it is one row's failure.
    pub row: Option<usize>,
    /// The value of the record as it arrived, or the text of the row.
    pub value: Option<&'f [u8]>,
}

/// Applies a connector's settings to the failures of one task. Every failure is counted, and every failure that does
/// not become a dead letter is logged.
pub(super) struct Tolerance {
    tolerated: Tolerated,
    log: bool,
    log_messages: bool,
    dead_letters: Option<DeadLetterQueue>,
}

impl Tolerance {
    pub fn new(config: &Config, dead_letters: Option<DeadLetterQueue>) -> Result<Self, ConfigError> {
        Ok(Self {
            tolerated: config.one_of("errors.tolerance")?,
            log: config.bool("errors.log.enable"),
            log_messages: config.bool("errors.log.include.messages"),
            dead_letters,
        })
    }

    /// With `errors.tolerance=none` the failure ends the task. With `all` a dead letter is sent; without a dead-letter
    /// queue, the record or row is skipped.
    pub fn handle(&mut self, failure: Failure<'_>, metrics: &TaskMetrics) -> Result<(), TaskError> {
        metrics.record_error();
        let Origin { partition, offset, .. } = &**failure.origin;
        if self.tolerated == Tolerated::None {
            metrics.record_failure();
            return Err(TaskError::Record {
                partition: partition.clone(),
                offset: *offset,
                row: failure.row,
                error: match failure.request_id {
                    Some(id) => format!("{} (request id {id})", failure.error),
                    None => failure.error,
                },
                advice: "The task stops because errors.tolerance is `none`; correct the producer and skip the record, \
                         or set errors.tolerance to `all` with errors.deadletterqueue.topic.name",
            });
        }
        if self.log || self.dead_letters.is_none() {
            metrics.error_logged();
            let include = self.log_messages;
            tracing::error!(
                topic = %partition.topic, partition = partition.partition, offset, row = failure.row,
                timestamp = failure.origin.timestamp, request_id = failure.request_id,
                key = text(failure.origin.key.as_deref(), include).as_deref(),
                value = text(failure.value, include).as_deref(),
                "the {} {}: {}",
                if failure.row.is_some() { "row" } else { "record" },
                if self.dead_letters.is_some() { "goes to the dead-letter queue" } else { "is skipped" },
                failure.error,
            );
        }
        match &mut self.dead_letters {
            Some(queue) => queue.send(DeadLetter {
                origin: Arc::clone(failure.origin),
                value: failure.value.map(<[u8]>::to_vec),
                row: failure.row,
                stage: failure.stage,
                error_class: failure.class,
                error: failure.error,
                request_id: failure.request_id,
            }),
            None => metrics.record_skipped(),
        }
        Ok(())
    }

    /// Takes in the reports of the dead letters that are on their way, and sends those that waited for room.
    pub fn poll(&mut self) -> Result<(), SinkError> {
        self.dead_letters.as_mut().map_or(Ok(()), DeadLetterQueue::poll)
    }

    /// Whether every dead letter of this partition before `end` is acknowledged.
    pub fn acknowledged(&mut self, partition: &TopicPartition, end: i64) -> Result<bool, SinkError> {
        self.dead_letters.as_mut().map_or(Ok(true), |queue| queue.acknowledged(partition, end))
    }
}

/// The bytes as text, if `errors.log.include.messages` says so.
fn text(bytes: Option<&[u8]>, include: bool) -> Option<Cow<'_, str>> {
    bytes.filter(|_| include).map(String::from_utf8_lossy)
}
