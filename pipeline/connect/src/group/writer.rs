//! The producer of a topic of the group: what it has acknowledged is there, once and in order.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, Message as _};

use super::configs::Entry;
use super::log::TIMEOUT;
use crate::kafka::KafkaLog;

/// How long one question for the end of a partition may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// The producer.
pub(super) struct Writer {
    topic: String,
    producer: ThreadedProducer<Receipts>,
}

impl Writer {
    /// A producer with these settings.
    pub fn new(topic: &str, base: &ClientConfig) -> KafkaResult<Self> {
        let config = settings(base);
        let log = KafkaLog::new(format!("topic {topic}, writer"), &config);
        let producer = ThreadedProducer::from_config_and_context(&config, Receipts(log))?;
        Ok(Self { topic: topic.to_owned(), producer })
    }

    /// The end of a partition. The reader would ask only after its pending fetch was answered.
    pub fn end_of(&self, partition: i32) -> KafkaResult<i64> {
        self.producer.client().fetch_watermarks(&self.topic, partition, ASK_TIMEOUT).map(|(_, end)| end)
    }

    /// Sends the records in their order, and waits until all are acknowledged. Gives the offset behind the last one of each
    /// partition. The error is a sentence; it may be that some of the records were written.
    pub fn send(&self, entries: &[Entry], deadline: Instant) -> Result<BTreeMap<i32, i64>, String> {
        let mut receipts = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let (receipt, received) = sync_channel(1);
            let mut record = BaseRecord::with_opaque_to(&self.topic, Box::new(receipt)).key(key);
            if let Some(value) = value {
                record = record.payload(value);
            }
            self.producer.send(record).map_err(|(error, _)| error.to_string())?;
            receipts.push(received);
        }
        let mut ends = BTreeMap::new();
        for received in receipts {
            let (partition, offset) = received_by(&received, deadline)?;
            ends.insert(partition, offset + 1);
        }
        Ok(ends)
    }
}

fn received_by(received: &Receiver<Receipt>, deadline: Instant) -> Receipt {
    match received.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(receipt) => receipt,
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            Err(format!("no broker has acknowledged it within {} s", TIMEOUT.as_secs()))
        }
    }
}

/// The settings of the producer.
fn settings(base: &ClientConfig) -> ClientConfig {
    let mut config = base.clone();
    config.set("acks", "all").set("enable.idempotence", "true").set("linger.ms", "0");
    // Kafka Connect's producer chooses partitions in this way.
    config.set("partitioner", "murmur2_random").set("message.timeout.ms", TIMEOUT.as_millis().to_string());
    config.set("allow.auto.create.topics", "false");
    config
}

/// Partition and offset of a record that was acknowledged, or why it was not.
type Receipt = Result<(i32, i64), String>;

/// Tells who has sent a record what has become of it.
struct Receipts(KafkaLog);

impl ClientContext for Receipts {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.0.line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.failure(&error, reason);
    }
}

impl ProducerContext for Receipts {
    type DeliveryOpaque = Box<SyncSender<Receipt>>;

    fn delivery(&self, result: &DeliveryResult<'_>, receipt: Self::DeliveryOpaque) {
        let result = match result {
            Ok(record) => Ok((record.partition(), record.offset())),
            Err((error, _)) => Err(error.to_string()),
        };
        // Whoever has sent it may wait no longer.
        let _ = receipt.try_send(result);
    }
}
