//! What a poll gave: records become rows, failures go to the error handling, errors of the consumer end the task or pass.

use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Message as _};

use super::{NullValues, Task, TaskError};
use crate::consumer::headers;
use crate::convert::RowFailure;
use crate::deadletter::Stage;
use crate::errors::Failure;
use crate::sink::{LazyOrigin, Origin, SinkError, SinkRecord};

impl Task {
    /// Takes what a poll gave. What the poll's callbacks said comes first: a record may be of a partition that was assigned just now.
    pub(super) fn receive(&mut self, record: Result<BorrowedMessage<'_>, KafkaError>) -> Result<(), TaskError> {
        self.apply_changes()?;
        match record {
            Ok(record) => self.put(&record),
            // It has done its work by waking the task, which compares positions with watermarks: the event does not name its topic.
            Err(KafkaError::PartitionEOF(_)) => Ok(()),
            Err(error) => match error.rdkafka_error_code() {
                Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => Err(self.out_of_range()),
                Some(
                    Code::TopicAuthorizationFailed
                    | Code::GroupAuthorizationFailed
                    | Code::ClusterAuthorizationFailed
                    | Code::SaslAuthenticationFailed
                    | Code::Authentication
                    | Code::Fatal
                    | Code::BadMessage
                    | Code::BadCompression
                    | Code::NotImplemented
                    | Code::MessageSizeTooLarge
                    | Code::InvalidMessage
                    | Code::InvalidMessageSize,
                ) => Err(TaskError::Kafka { action: "consuming".into(), source: error }),
                _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                    Err(TaskError::Kafka { action: "consuming".into(), source: error })
                }
                // librdkafka goes on trying; its context has logged the reason.
                _ => Ok(()),
            },
        }
    }

    /// Says which partition's offset is gone. The event itself does not name it.
    fn out_of_range(&self) -> TaskError {
        let gone = self.owned.iter().find_map(|o| {
            let offset = o.position.or(o.committed)?;
            let (topic, partition) = (&*o.partition.topic, o.partition.partition);
            let (low, high) =
                self.consumer.stream().fetch_watermarks(topic, partition, Duration::from_secs(10)).ok()?;
            (offset < low || offset > high).then(|| {
                format!("{} offset {offset} is out of range: the partition holds {low} to {high}", o.partition)
            })
        });
        TaskError::OffsetOutOfRange(format!(
            "{}. Records between were deleted before they were consumed, or the topic was made anew. Nothing is skipped by itself: \
             set the group's offset (kafka-consumer-groups --reset-offsets) to where it is to go on",
            gone.unwrap_or_else(|| "an offset of the group is out of range".into())
        ))
    }

    fn put(&mut self, record: &BorrowedMessage<'_>) -> Result<(), TaskError> {
        let (topic, number, offset) = (record.topic(), record.partition(), record.offset());
        let Some(owned) =
            self.owned.iter_mut().find(|o| o.partition.partition == number && &*o.partition.topic == topic)
        else {
            return Ok(()); // revoked while it was in the queue; the next owner reads it
        };
        if owned.position.is_some_and(|position| offset < position) {
            return Ok(()); // put before a seek
        }
        owned.first.get_or_insert(offset);
        owned.position = Some(offset + 1);
        owned.idle_since = None;
        self.metrics.records_read(1);

        let (partition, timestamp) = (owned.partition.clone(), record.timestamp().to_millis());
        let origin = || Origin {
            partition: partition.clone(),
            offset,
            timestamp,
            key: record.key().map(<[u8]>::to_vec),
            headers: headers(record),
        };
        let origin = LazyOrigin::new(&origin);
        let sink_record = SinkRecord { partition: &partition, offset, timestamp, origin: &origin, rows: &[] };
        let converter = match &owned.replay {
            Some((replay, converter)) if offset < replay.end => converter,
            _ => &self.converter,
        };
        let errors = &mut self.errors;
        let Some(payload) = record.payload() else {
            let error = "the record's value is null (a tombstone), which is no message".to_owned();
            match self.null_values {
                NullValues::Ignore => self.metrics.record_skipped(),
                NullValues::Fail => {
                    return Err(TaskError::Record {
                        partition: partition.clone(),
                        offset,
                        row: None,
                        error: format!("{error}; behavior.on.null.values is `fail`"),
                    });
                }
                NullValues::DeadLetter => errors.handle(
                    Failure {
                        origin: origin.get(),
                        stage: Stage::ValueConverter,
                        class: "NullValue",
                        error,
                        row: None,
                        value: None,
                    },
                    &self.metrics,
                )?,
            }
            return self.put_rows(&sink_record);
        };
        let message = match converter.parse(payload) {
            Ok(message) => message,
            Err(error) => {
                errors.handle(
                    Failure {
                        origin: origin.get(),
                        stage: Stage::ValueConverter,
                        class: error.class(),
                        error: error.to_string(),
                        row: None,
                        value: Some(payload),
                    },
                    &self.metrics,
                )?;
                return self.put_rows(&sink_record);
            }
        };
        let mut failed = Vec::new();
        let rows = converter.rows(&message, |index, failure| failed.push((index, failure)));
        for (index, failure) in failed {
            let (stage, class, error) = match failure {
                RowFailure::Element(error) => (Stage::ValueConverter, error.class(), error.to_string()),
                RowFailure::Update { field, error } => {
                    (Stage::Transformation, error.class(), format!("setting field `{field}`: {error}"))
                }
            };
            let value = message.element_text(index).as_bytes();
            errors.handle(
                Failure { origin: origin.get(), stage, class, error, row: Some(index), value: Some(value) },
                &self.metrics,
            )?;
        }
        self.put_rows(&SinkRecord { rows: &rows, ..sink_record })
    }

    fn put_rows(&mut self, record: &SinkRecord<'_>) -> Result<(), TaskError> {
        let result = self.sink.put(record, &mut self.errant);
        self.report_errant()?;
        match result {
            Ok(()) => {
                self.metrics.records_sent(1);
                Ok(())
            }
            Err(SinkError::Restart(reason)) => {
                let i = self.owned.iter().position(|o| o.partition == *record.partition);
                i.map_or(Ok(()), |i| self.restart(i, &reason))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Hands the rows that the sink refused to the error handling.
    pub(super) fn report_errant(&mut self) -> Result<(), TaskError> {
        for row in std::mem::take(&mut self.errant) {
            self.errors.handle(
                Failure {
                    origin: &row.origin,
                    stage: Stage::TaskPut,
                    class: row.class,
                    error: row.error,
                    row: Some(row.index),
                    value: Some(&row.text),
                },
                &self.metrics,
            )?;
        }
        Ok(())
    }
}
