//! What librdkafka's callbacks say during a poll: log lines, errors, and what happens to the assignment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;

use super::KafkaLog;
use super::lookup::names;
use super::record::RecordQueue;
use crate::TopicPartition;

/// What a callback reported about the assignment, in the order of the reports.
#[derive(Debug)]
pub(super) enum RebalanceEvent {
    /// Partitions that the group offers; it waits for an answer.
    Offered(TopicPartitionList),
    /// Partitions that the task no longer owns.
    Revoked(Vec<TopicPartition>),
    /// An event could not be answered.
    Failed(String),
}

/// Collects what the callbacks report during a poll, until the task looks at it.
pub(super) struct Context {
    pub(super) log: KafkaLog,
    pub(super) events: Mutex<Vec<RebalanceEvent>>,
    /// The queue that the records of all assigned partitions come to; `None` before it is made and after it is
    /// destroyed.
    records: Mutex<Option<RecordQueue>>,
    /// Whether the consumer leaves its group, so that nothing is taken over any more.
    pub(super) leaving: AtomicBool,
    /// Whether a callback was called, and so an event was served.
    pub(super) served: AtomicBool,
}

impl Context {
    /// The context of a consumer with these settings. `client` says whose consumer it is, for the log.
    pub(super) fn new(client: String, config: &ClientConfig) -> Self {
        Self {
            log: KafkaLog::new(client, config),
            events: Mutex::default(),
            records: Mutex::default(),
            leaving: AtomicBool::new(false),
            served: AtomicBool::new(false),
        }
    }

    pub(super) fn push(&self, event: RebalanceEvent) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    pub(super) fn records(&self) -> MutexGuard<'_, Option<RecordQueue>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forwards the records of the partitions to the task's queue. The error names a partition with which that is not
    /// possible.
    pub(super) fn forward(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) -> Result<(), String> {
        let (queue, client) = (self.records(), consumer.client().native_ptr());
        for element in partitions.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            if !queue.as_ref().is_some_and(|queue| queue.forward(client, topic, partition)) {
                return Err(format!("{topic}-{partition}"));
            }
        }
        Ok(())
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.served.store(true, Ordering::Relaxed);
        self.log.line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.served.store(true, Ordering::Relaxed);
        self.log.failure(&error, reason);
    }

    fn stats_raw(&self, json: &[u8]) {
        self.served.store(true, Ordering::Relaxed);
        self.log.line(RDKafkaLogLevel::Info, "STATS", &String::from_utf8_lossy(json));
    }
}

impl ConsumerContext for Context {
    /// Gives revoked partitions up at once. Offered partitions are answered later, by
    /// [`Consumer::changes`](super::Consumer::changes): meanwhile the member is polled and sends heartbeats.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        self.served.store(true, Ordering::Relaxed);
        // Every event has to be answered. Otherwise the group waits for this member, which then cannot even leave.
        let result = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            if self.leaving.load(Ordering::Relaxed) {
                decline(consumer)
            } else {
                self.push(RebalanceEvent::Offered(partitions.clone()));
                Ok(())
            }
        } else {
            self.push(RebalanceEvent::Revoked(
                partitions.elements().iter().map(|e| partition_of(e.topic(), e.partition())).collect(),
            ));
            if is_cooperative(consumer) { consumer.incremental_unassign(partitions) } else { consumer.unassign() }
        };
        if let Err(error) = result {
            self.push(RebalanceEvent::Failed(format!("answering the rebalance of {}: {error}", names(partitions))));
        }
    }
}

pub(super) fn is_cooperative(consumer: &BaseConsumer<Context>) -> bool {
    matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative)
}

/// Answers an assignment that is not taken, by taking nothing of it.
pub(super) fn decline(consumer: &BaseConsumer<Context>) -> KafkaResult<()> {
    if is_cooperative(consumer) { consumer.incremental_assign(&TopicPartitionList::new()) } else { consumer.unassign() }
}

fn partition_of(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition }
}
