//! What a batch of records brings: records become rows, failures go to the tolerance, and errors of the consumer end
//! the task or are logged.

use std::time::Duration;

use fms_record::{Message, MessageError, Row, Source};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::tolerance::Failure;
use super::{BATCHES, Intake, Task, TaskError};
use crate::config::common::NullValues;
use crate::convert::{Converter, RowFailure};
use crate::deadletter::ErrorStage;
use crate::kafka::{self, Batch, ConsumerError, Record};
use crate::pulse::LoopStep;
use crate::sink::{LazyOrigin, Origin, SinkError, SinkRecord, TopicPartition};
use crate::transforms::{Rekeyed, Transformed};

/// The number of events that are served before records get their turn.
const EVENTS: usize = 1000;

/// How long the broker may take to report which offsets a partition holds. The answer becomes part of an error.
const WATERMARKS_TIMEOUT: Duration = Duration::from_secs(2);

/// What is wrong with a record whose value is null.
const TOMBSTONE: &str = "the record's value is null (a tombstone), which is no message";

impl Task {
    /// Serves the events of the consumer and takes the records that have come, as many as one pass allows.
    pub(super) fn consume(&mut self) -> Result<Intake, TaskError> {
        for _ in 0..BATCHES {
            self.status.pulse().is_doing(LoopStep::Polling);
            // Events come before records, because a record may be of a partition that was assigned just now.
            self.serve()?;
            if !self.taking {
                return Ok(Intake::Drained);
            }
            if self.sink.is_full()? {
                return Ok(Intake::Full);
            }
            self.status.pulse().is_doing(LoopStep::Putting);
            let batch = self.consumer.take();
            let result = self.put_all(&batch);
            let full = batch.is_full();
            drop(batch);
            result?;
            self.start_over();
            if !full {
                return Ok(Intake::Drained);
            }
            if self.budget.is_over() {
                break;
            }
        }
        Ok(Intake::More)
    }

    /// Puts a batch's records, and counts them.
    fn put_all(&mut self, batch: &Batch) -> Result<(), TaskError> {
        let (mut read, mut sent) = (0, 0);
        // Records of one partition come in runs.
        let mut run: Option<(Record<'_>, Option<usize>)> = None;
        let result = batch.iter().try_for_each(|record| {
            let owned = match run {
                Some((first, owned)) if record.is_beside(first) => owned,
                Some(_) | None => {
                    let owned = self.owned.position(record.topic(), record.partition());
                    if let Some(i) = owned {
                        let owned = &mut self.owned[i];
                        self.status.topics().note(&owned.partition.topic, &mut owned.noted);
                    }
                    owned
                }
            };
            run = Some((record, owned));
            match (record.error(), owned) {
                // The record comes again later, or was put before a seek.
                (None, Some(i)) if self.owned[i].restart.is_some() || self.owned[i].is_behind(record.offset()) => {}
                (None, Some(i)) => {
                    read += 1;
                    self.put(i, record)?;
                    sent += 1;
                }
                (None, None) => {} // revoked while it was in the queue; the next owner reads it
                (Some(error), owned) => self.receive_error(owned, record, &error)?,
            }
            Ok(())
        });
        self.metrics.records_read(read);
        self.metrics.records_sent(sent);
        result
    }

    /// Serves librdkafka's events, which are log lines, errors and changes of the assignment. All that have come are
    /// served, because an event that comes behind another is not announced; their number is limited, so that records
    /// get their turn.
    fn serve(&mut self) -> Result<(), TaskError> {
        for _ in 0..EVENTS {
            match self.consumer.poll() {
                None => break,
                Some(Err(error)) if is_fatal(&error) => {
                    return Err(TaskError::Kafka { action: "polling the consumer".into(), source: error });
                }
                // librdkafka goes on trying. Its context has logged the reason.
                Some(Ok(()) | Err(_)) => {}
            }
            self.apply_changes()?;
        }
        // The results of lookups come without an event.
        self.apply_changes()
    }

    fn receive_error(
        &mut self,
        owned: Option<usize>,
        record: Record<'_>,
        error: &ConsumerError,
    ) -> Result<(), TaskError> {
        if matches!(error.code, Code::AutoOffsetReset | Code::OffsetOutOfRange) {
            return Err(self.out_of_range(owned, record));
        }
        let source = KafkaError::MessageConsumption(error.code);
        if is_fatal(&source) {
            let at = if record.offset() < 0 { String::new() } else { format!(" at offset {}", record.offset()) };
            return Err(TaskError::Kafka { action: format!("reading {}{at}: {}", record.place(), error.text), source });
        }
        // librdkafka goes on trying.
        self.consumer.log(error);
        if let Some(i) = owned {
            // librdkafka counts the error as a record, and would step over the real one after a pause.
            self.owned[i].seek = true;
            self.starting_over.push(self.owned[i].partition.clone());
        }
        Ok(())
    }

    fn out_of_range(&self, owned: Option<usize>, record: Record<'_>) -> TaskError {
        let place = record.place();
        let gone = owned.map(|i| &self.owned[i]).and_then(|owned| {
            let offset = owned.position.or(owned.committed)?;
            let (low, high) = self.consumer.fetch_watermarks(&owned.partition, WATERMARKS_TIMEOUT).ok()?;
            Some(format!("{place} offset {offset} is out of range: the partition holds {low} to {high}"))
        });
        TaskError::OffsetOutOfRange(format!(
            "{}. Either the records were deleted before the task read them, or the topic was deleted and created \
             again. The task skips no record by itself: set the group's offset with kafka-consumer-groups \
             --reset-offsets to where the task is to go on, and restart the connector. If the topic was created again, \
             a sink that names what it writes by offsets (S3) first needs a place without the objects of the old \
             topic, such as another topics.dir",
            gone.unwrap_or_else(|| format!("the group's offset of {place} is out of range"))
        ))
    }

    /// Begins again with the partitions of which a record of the last batch asked for it.
    fn start_over(&mut self) {
        for partition in std::mem::take(&mut self.starting_over) {
            let Some(i) = self.owned.position(partition.topic.as_bytes(), partition.partition) else { continue };
            if let Some(reason) = self.owned[i].restart.take() {
                self.restart(&partition, &reason);
            } else if std::mem::take(&mut self.owned[i].seek)
                && let Err(error) = self.seek(&partition, self.owned[i].next())
            {
                // The broker whose failure caused it is not back yet.
                tracing::debug!("{error}; the task tries again");
                self.owned[i].seek = true;
                self.starting_over.push(partition);
            }
        }
    }

    fn put(&mut self, i: usize, record: Record<'_>) -> Result<(), TaskError> {
        let Self { owned, converter, errors, errant, sink, metrics, null_values, starting_over, .. } = self;
        let (owned, offset) = (&mut owned[i], record.offset());
        owned.first.get_or_insert(offset);
        owned.position = Some(offset + 1);
        owned.idle_since = None;

        let (partition, timestamp) = (&owned.partition, record.timestamp());
        let origin = || Origin {
            partition: partition.clone(),
            offset,
            timestamp,
            key: record.key().map(<[u8]>::to_vec),
            headers: record.headers(),
        };
        let origin = LazyOrigin::new(&origin);
        let mut failed = |stage, class, error, row, value| {
            errors.handle(Failure { origin: origin.get(), stage, class, error, request_id: None, row, value }, metrics)
        };
        let converter = match &mut owned.replay {
            Some((replay, converter)) if offset < replay.end => converter,
            Some(_) | None => converter,
        };
        let payload = record.payload();
        let transformed = match converter.transform(&origin, payload) {
            Ok(transformed) => transformed,
            Err(error) => {
                let parsed = payload.filter(|_| error.unreadable).map(|payload| converter.parse(payload, &origin));
                match parsed {
                    Some(Err(unread)) => {
                        failed(ErrorStage::ValueConverter, unread.class(), unread.to_string(), None, payload)?;
                    }
                    Some(Ok(_)) | None => failed(ErrorStage::Transformation, error.class, error.text, None, payload)?,
                }
                Transformed::dropped()
            }
        };
        let rekeyed = transformed.key.as_deref().map(|key| Rekeyed { source: &origin, key });
        let source: &dyn Source = rekeyed.as_ref().map_or(&origin, |rekeyed| rekeyed);
        let value = transformed.value.as_deref();
        let message = match value.map(|value| converter.parse(value, source)).transpose() {
            Ok(None) if transformed.dropped => None,
            Ok(Some(message)) => Some(message),
            null @ (Ok(None) | Err(MessageError::NullBody { .. })) => {
                let error = null.err().map_or_else(|| TOMBSTONE.to_owned(), |error| error.to_string());
                match null_values {
                    NullValues::Ignore => metrics.record_skipped(),
                    NullValues::Fail => return Err(null_value(partition, offset, &error)),
                    NullValues::DeadLetter => failed(ErrorStage::ValueConverter, "NullValue", error, None, payload)?,
                }
                None
            }
            Err(error) => {
                failed(ErrorStage::ValueConverter, error.class(), error.to_string(), None, payload)?;
                None
            }
        };
        let rows = match &message {
            Some(message) => rows_of(converter, message, |stage, class, error, index, text| {
                failed(stage, class, error, Some(index), Some(text))
            })?,
            None => Vec::new(),
        };
        // A record without rows is put as well, because its offset has to be committed.
        let result = match sink.put(&SinkRecord { partition, offset, timestamp, origin: &origin, rows: &rows }, errant)
        {
            // The partition is begun again when the batch is done: its other records in there would come too early.
            Err(error @ SinkError::Restart { .. }) => {
                owned.restart = Some(error.to_string());
                starting_over.push(owned.partition.clone());
                Ok(())
            }
            result => result,
        };
        self.report_errant()?;
        Ok(result?)
    }

    /// Hands the rows that the sink refused to the tolerance.
    pub(super) fn report_errant(&mut self) -> Result<(), TaskError> {
        for row in self.errant.drain(..) {
            self.errors.handle(
                Failure {
                    origin: &row.origin,
                    stage: ErrorStage::TaskPut,
                    class: row.class,
                    error: row.error,
                    request_id: row.request_id,
                    row: Some(row.index),
                    value: Some(&row.text),
                },
                &self.metrics,
            )?;
        }
        Ok(())
    }
}

/// The error for a record whose value is null, where that fails the task.
fn null_value(partition: &TopicPartition, offset: i64, error: &str) -> TaskError {
    TaskError::Record {
        partition: partition.clone(),
        offset,
        row: None,
        error: error.to_owned(),
        advice: "The task stops because behavior.on.null.values is `fail`; set that to `ignore` or `deadletter`, or \
                 skip the record",
    }
}

/// The rows of a message. Those that cannot be made are given to `failed`, with their index and text.
fn rows_of<'m>(
    converter: &Converter,
    message: &'m Message<'m>,
    mut failed: impl FnMut(ErrorStage, &'static str, String, usize, &'m [u8]) -> Result<(), TaskError>,
) -> Result<Vec<Row<'m>>, TaskError> {
    let mut failures = Vec::new();
    let rows = converter.rows(message, |index, failure| failures.push((index, failure)));
    for (index, failure) in failures {
        let (stage, class, error) = match failure {
            RowFailure::Element(error) => (ErrorStage::ValueConverter, error.class(), error.to_string()),
            RowFailure::Update { field, error } => {
                (ErrorStage::Transformation, error.class(), format!("setting field `{field}`: {error}"))
            }
        };
        failed(stage, class, error, index, message.element_text(index).as_bytes())?;
    }
    Ok(rows)
}

/// Whether an error of the consumer ends the task: it does not pass by itself, or a record cannot be read as it is
/// stored.
fn is_fatal(error: &KafkaError) -> bool {
    kafka::is_permanent(error)
        || matches!(
            error.rdkafka_error_code(),
            Some(
                Code::BadMessage
                    | Code::BadCompression
                    | Code::MessageSizeTooLarge
                    | Code::InvalidMessage
                    | Code::InvalidMessageSize
            )
        )
}
