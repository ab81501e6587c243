//! The worker as a member of its group: which slots Kafka's group protocol has assigned to it.
//!
//! Slots are the partitions of the status topic. Nothing is read by this consumer.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::bindings as raw;
use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::kafka::KafkaLog;
use crate::signal::Signal;

/// How long a poll waits. A member that leaves notices it this late.
const POLL: Duration = Duration::from_millis(100);
/// How long leaving may take. A coordinator that does not answer expels the member when its session is over.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(4);

/// What the group has assigned to this worker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Assignment {
    /// The slots. While the group rebalances they are those of before, because what runs goes on.
    pub slots: BTreeSet<u32>,
    /// The generation of the group, or of the member, which grows with each assignment.
    pub generation: i32,
    /// Whether the worker is a member that knows its slots.
    pub settled: bool,
}

/// The member, which leaves its group when it is dropped.
pub(super) struct Member {
    leave: watch::Sender<bool>,
    left: Mutex<Receiver<()>>,
}

impl Member {
    /// Joins the group.
    pub fn join(
        base: &ClientConfig,
        group: &str,
        topic: &str,
        worker_id: &str,
        assignment: Arc<Mutex<Assignment>>,
        signal: Arc<Signal>,
    ) -> Result<Self, String> {
        let mut config = base.clone();
        config.set("group.id", group).set("enable.auto.commit", "false").set("auto.offset.reset", "latest");
        config.set("enable.partition.eof", "false").set("allow.auto.create.topics", "false");
        // The assignor orders members by ids, which begin with this; so a worker that comes back gets its slots again.
        config.set("client.id", worker_id);
        if config.get("group.protocol") == Some("consumer") {
            config.set("group.remote.assignor", "range");
        } else {
            config.set("partition.assignment.strategy", "range");
        }
        let context = MemberContext { log: KafkaLog::new("the group of workers", &config), assignment, signal };
        let consumer = BaseConsumer::from_config_and_context(&config, context).map_err(|error| error.to_string())?;
        consumer.subscribe(&[topic]).map_err(|error| error.to_string())?;
        let ((leave, leaving), (done, left)) = (watch::channel(false), channel());
        thread::Builder::new()
            .name("group-member".into())
            .spawn(move || {
                serve(&consumer, &leaving);
                // This leaves the group.
                drop(consumer);
                drop(done);
            })
            .map_err(|error| format!("the operating system does not start a thread: {error}"))?;
        Ok(Self { leave, left: Mutex::new(left) })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.leave.send_replace(true);
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if left.recv_timeout(LEAVE_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
            warn!("the worker did not leave its group in time; its tasks go to others when its session is over");
        }
    }
}

/// Polls until the member leaves.
fn serve(consumer: &BaseConsumer<MemberContext>, leaving: &watch::Receiver<bool>) {
    while !*leaving.borrow() {
        if let Some(Err(error)) = consumer.poll(POLL) {
            warn!("the group of workers: {error}");
        }
        consumer.context().note_epoch(consumer);
    }
}

struct MemberContext {
    log: KafkaLog,
    assignment: Arc<Mutex<Assignment>>,
    signal: Arc<Signal>,
}

impl MemberContext {
    fn change(&self, change: impl FnOnce(&mut Assignment)) {
        let mut assignment = self.assignment.lock().unwrap_or_else(PoisonError::into_inner);
        let before = assignment.clone();
        change(&mut assignment);
        if *assignment != before {
            info!(slots = ?assignment.slots, generation = assignment.generation, settled = assignment.settled,
                "the worker's part of its group");
            self.signal.raise();
        }
    }

    /// With the protocol `consumer`, a member that is given nothing is not told so; it is settled once it has an epoch.
    fn note_epoch(&self, consumer: &BaseConsumer<Self>) {
        if !matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative) {
            return;
        }
        let generation = generation(consumer);
        self.change(|assignment| {
            assignment.settled = generation > 0;
            if generation > 0 {
                assignment.generation = generation;
            }
        });
    }
}

/// The generation in which the member is, or its epoch; at most 0 if it is in none.
#[allow(unsafe_code, reason = "rdkafka does not give it")]
fn generation(consumer: &BaseConsumer<MemberContext>) -> i32 {
    // SAFETY: the client is alive; what it gives is ours, and is destroyed once after its last use.
    unsafe {
        let metadata = raw::rd_kafka_consumer_group_metadata(consumer.client().native_ptr());
        if metadata.is_null() {
            return 0;
        }
        let generation = raw::rd_kafka_consumer_group_metadata_generation_id(metadata);
        raw::rd_kafka_consumer_group_metadata_destroy(metadata);
        generation
    }
}

impl ClientContext for MemberContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.log.line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.log.failure(&error, reason);
    }
}

impl ConsumerContext for MemberContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let slots: BTreeSet<u32> =
            partitions.elements().iter().filter_map(|element| u32::try_from(element.partition()).ok()).collect();
        let assigned = event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let answered = match (assigned, cooperative) {
            (true, _) => {
                // Nothing is to be read, so it is of no importance what the group has committed.
                let set = partitions.set_all_offsets(Offset::End);
                let taken = |()| {
                    if cooperative { consumer.incremental_assign(partitions) } else { consumer.assign(partitions) }
                };
                set.and_then(taken).and_then(|()| consumer.pause(partitions))
            }
            (false, true) => consumer.incremental_unassign(partitions),
            (false, false) => consumer.unassign(),
        };
        if let Err(error) = answered {
            warn!("answering the rebalance of the group of workers: {error}");
        }
        let generation = generation(consumer);
        self.change(|assignment| match (assigned, cooperative) {
            (true, true) => {
                assignment.slots.extend(slots);
                assignment.generation = generation;
            }
            (true, false) => *assignment = Assignment { slots, generation, settled: true },
            (false, true) => assignment.slots.retain(|slot| !slots.contains(slot)),
            // What runs goes on until the group has settled who runs it.
            (false, false) => assignment.settled = false,
        });
    }
}
