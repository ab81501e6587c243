//! The consumer of one task: its assignment as our own callbacks saw it, commits that are fenced, cached watermarks.
//!
//! A broker checks the member and the generation of an offset commit, never who owns the partition. So the rules that keep a
//! stale task from committing stand here and in `task`: poll, callbacks and commits run on one thread, commits are
//! synchronous and for one partition, and none is sent without a current membership.

use std::ffi::{CStr, CString};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::Message as _;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Notify;

use crate::TopicPartition;
use crate::kafka::{self, KafkaLog};
use crate::record::{Batch, ConsumerError, RecordQueue};

/// How long one question to the group coordinator may take. A commit can wait behind a rebalance for the other members.
const COORDINATOR_TIMEOUT: Duration = Duration::from_secs(30);

/// How soon a broker that is not the one to ask is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// How often a consumer that leaves its group is asked whether it has.
const LEAVE_STEP: Duration = Duration::from_millis(1);

/// What a callback said about the assignment, in the order in which it was said.
#[derive(Debug)]
pub(crate) enum Change {
    /// Partitions that are ours from now on, and what the group has committed for them.
    Assigned(Vec<Committed>),
    /// Partitions that are no longer ours.
    Revoked(Vec<TopicPartition>),
    /// The assignment could not be taken over.
    Failed(String),
}

/// What the group has committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub partition: TopicPartition,
    pub offset: Option<i64>,
    pub metadata: String,
}

/// What became of a commit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CommitOutcome {
    /// The broker has it.
    Done,
    /// Not now: a rebalance is under way, or the answer is not known. Poll, and try again if the partition is still ours.
    Later(String),
    /// This member is out of the group: whatever it was about to do is somebody else's now.
    Lost(String),
}

/// The callbacks' side: collects what happens during a poll until the task looks at it.
pub(crate) struct Context {
    log: KafkaLog,
    changes: Mutex<Vec<Change>>,
    /// Where the records of all that is assigned come in; `None` before and after the consumer's time.
    records: Mutex<Option<RecordQueue>>,
    /// Nothing is taken over any more.
    leaving: AtomicBool,
    /// A callback was called: what was served was an event, of whatever kind.
    served: AtomicBool,
}

impl Context {
    fn push(&self, change: Change) {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).push(change);
    }

    fn records(&self) -> MutexGuard<'_, Option<RecordQueue>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the partitions' records come to our queue. The name of one with which that is not possible.
    fn forward(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) -> Result<(), String> {
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
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        self.served.store(true, Ordering::Relaxed);
        // Every event has to be answered, else the group waits for this member, which then cannot even leave.
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let assigned = event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        // An assignment that is not taken is answered too: with none of it.
        let decline = || {
            if cooperative { consumer.incremental_assign(&TopicPartitionList::new()) } else { consumer.unassign() }
        };
        let (result, change) = if assigned && self.leaving.load(Ordering::Relaxed) {
            (decline(), None)
        } else if assigned {
            let taken = take_over(consumer, partitions).map_err(|error| {
                format!("reading the committed or earliest offsets of {}: {error}", names(partitions))
            });
            let forwarded = |partition| format!("librdkafka has no queue for {partition}; restart the connector");
            match taken.and_then(|taken| self.forward(consumer, partitions).map_err(forwarded).map(|()| taken)) {
                Ok(committed) => {
                    let result =
                        if cooperative { consumer.incremental_assign(partitions) } else { consumer.assign(partitions) };
                    (result, Some(Change::Assigned(committed)))
                }
                Err(failed) => (decline(), Some(Change::Failed(failed))),
            }
        } else {
            let revoked = partitions.elements().iter().map(|e| name(e.topic(), e.partition())).collect();
            let result = if cooperative { consumer.incremental_unassign(partitions) } else { consumer.unassign() };
            (result, Some(Change::Revoked(revoked)))
        };
        if let Some(change) = change {
            self.push(change);
        }
        if let Err(error) = result {
            self.push(Change::Failed(format!("taking the assignment {}: {error}", names(partitions))));
        }
    }
}

/// Asks what the group has committed and starts each partition there, else at its earliest record.
///
/// The earliest offset is asked for here: left to librdkafka, the first question for it is often put before the partition's leader is
/// connected, and the next one 500 ms later.
fn take_over<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &mut TopicPartitionList,
) -> KafkaResult<Vec<Committed>> {
    let committed = read_committed(consumer, partitions)?;
    for Committed { partition: TopicPartition { topic, partition }, offset, .. } in &committed {
        let start = match offset {
            Some(offset) => *offset,
            None => settled(|| consumer.fetch_watermarks(topic, *partition, COORDINATOR_TIMEOUT))?.0,
        };
        partitions.set_partition_offset(topic, *partition, Offset::Offset(start))?;
    }
    Ok(committed)
}

fn read_committed<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &TopicPartitionList,
) -> KafkaResult<Vec<Committed>> {
    settled(|| committed_of(&consumer.committed_offsets(partitions.clone(), COORDINATOR_TIMEOUT)?))
}

/// Asks again for a while when a broker is not yet, or no longer, the one to ask: a topic or group that has just come into being has no
/// leader or coordinator for some milliseconds, and one that moves has none either.
fn settled<T>(mut ask: impl FnMut() -> KafkaResult<T>) -> KafkaResult<T> {
    let deadline = Instant::now() + COORDINATOR_TIMEOUT;
    loop {
        match ask() {
            Err(error) if is_unsettled(&error) && Instant::now() < deadline => std::thread::sleep(ASK_AGAIN),
            result => return result,
        }
    }
}

fn is_unsettled(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::NotLeaderForPartition
                | Code::LeaderNotAvailable
                | Code::UnknownTopicOrPartition
                | Code::NotCoordinator
                | Code::CoordinatorLoadInProgress
                | Code::CoordinatorNotAvailable
        )
    )
}

fn committed_of(list: &TopicPartitionList) -> KafkaResult<Vec<Committed>> {
    let elements = list.elements();
    elements
        .iter()
        .enumerate()
        .map(|(i, element)| {
            element.error()?;
            let offset = match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            };
            Ok(Committed { partition: name(element.topic(), element.partition()), offset, metadata: metadata(list, i) })
        })
        .collect()
}

/// The metadata of element `i`. Whoever committed it may have written any bytes.
fn metadata(list: &TopicPartitionList, i: usize) -> String {
    #[allow(unsafe_code, reason = "rdkafka panics on metadata that is not UTF-8")]
    // SAFETY: `i` is one of the list's elements, which live as long as the list; the metadata is copied.
    unsafe {
        debug_assert!(i < list.count());
        let element = &*(*list.ptr()).elems.add(i);
        if element.metadata.is_null() || element.metadata_size == 0 {
            return String::new();
        }
        let bytes = std::slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size);
        String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
    }
}

fn name(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition }
}

fn names(partitions: &TopicPartitionList) -> String {
    partitions.elements().iter().map(|e| format!("{}-{}", e.topic(), e.partition())).collect::<Vec<_>>().join(", ")
}

/// A consumer in its group. All its methods are called on one thread.
pub(crate) struct Consumer {
    inner: BaseConsumer<Context>,
}

impl Consumer {
    /// A consumer of `config` with [`kafka::FIXED_CONSUMER`] over it. `name` is the task's in logs; `wake` is notified when there is
    /// something to [`Self::poll`] or to [`Self::take`].
    pub fn new(mut config: ClientConfig, name: String, wake: &Arc<Notify>) -> KafkaResult<Self> {
        for (key, value, _) in kafka::FIXED_CONSUMER {
            config.set(*key, *value);
        }
        // With group.protocol=consumer (KIP-848) it is the broker that assigns.
        if config.get("partition.assignment.strategy").is_none() && config.get("group.protocol") != Some("consumer") {
            config.set("partition.assignment.strategy", "cooperative-sticky");
        }
        let context = Context {
            log: KafkaLog::new(name, &config),
            changes: Mutex::default(),
            records: Mutex::default(),
            leaving: AtomicBool::new(false),
            served: AtomicBool::new(false),
        };
        let mut inner = BaseConsumer::from_config_and_context(&config, context)?;
        let events = Arc::clone(wake);
        inner.set_nonempty_callback(move || events.notify_one());
        *inner.context().records() = RecordQueue::new(inner.client().native_ptr(), Arc::clone(wake));
        Ok(Self { inner })
    }

    /// Joins the group. A name that begins with `^` is a pattern.
    pub fn subscribe(&self, topics: &[&str]) -> KafkaResult<()> {
        self.inner.subscribe(topics)
    }

    /// Serves one of librdkafka's events; `None` if there is none. Does not wait. What its callbacks said is in [`Self::changes`], which are
    /// to be looked at before anything else.
    pub fn poll(&self) -> Option<KafkaResult<()>> {
        let context = self.inner.context();
        context.served.store(false, Ordering::Relaxed);
        match self.inner.poll(Duration::ZERO) {
            None => context.served.load(Ordering::Relaxed).then_some(Ok(())),
            Some(Err(error)) => Some(Err(error)),
            Some(Ok(record)) => {
                let (topic, partition, offset) = (record.topic(), record.partition(), record.offset());
                context.push(Change::Failed(format!(
                    "the record at offset {offset} of {topic}-{partition} came by the group's own queue: a mistake in this program"
                )));
                Some(Ok(()))
            }
        }
    }

    /// What the callbacks have said since the last call.
    pub fn changes(&self) -> Vec<Change> {
        std::mem::take(&mut *self.inner.context().changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The records that have come, at most a batch; does not wait.
    pub fn take(&self) -> Batch {
        self.inner.context().records().as_ref().map(RecordQueue::take).unwrap_or_default()
    }

    /// Writes an error of a batch to the log, as those that do not come in one.
    pub fn log(&self, error: &ConsumerError) {
        self.inner.context().log.failure(&KafkaError::MessageConsumption(error.code), &error.text);
    }

    /// Asks the broker for a partition's low and high watermark.
    pub fn fetch_watermarks(&self, partition: &TopicPartition, timeout: Duration) -> KafkaResult<(i64, i64)> {
        self.inner.fetch_watermarks(&partition.topic, partition.partition, timeout)
    }

    /// What the group has committed for this partition.
    pub fn committed(&self, partition: &TopicPartition) -> KafkaResult<Committed> {
        let committed = settled(|| committed_of(&self.inner.committed_offsets(list(partition), COORDINATOR_TIMEOUT)?))?;
        committed.into_iter().next().ok_or(KafkaError::NoMessageReceived)
    }

    /// Commits one partition's offset with its metadata, and says what became of it.
    pub fn commit(&self, partition: &TopicPartition, offset: i64, metadata: &str) -> KafkaResult<CommitOutcome> {
        let Some(membership) = self.membership() else {
            // An empty group accepts a commit from anyone.
            return Ok(CommitOutcome::Later("not a member of the group at the moment".into()));
        };
        let mut list = TopicPartitionList::new();
        let mut element = list.add_partition(&partition.topic, partition.partition);
        element.set_offset(Offset::Offset(offset))?;
        element.set_metadata(metadata);
        match self.inner.commit(&list, CommitMode::Sync) {
            // librdkafka stamps the membership when it sends, not when it is asked to.
            Ok(()) if self.membership().as_ref() == Some(&membership) => Ok(CommitOutcome::Done),
            Ok(()) => Ok(CommitOutcome::Later("the membership changed while it was under way".into())),
            Err(error) => match error.rdkafka_error_code() {
                Some(Code::IllegalGeneration | Code::RebalanceInProgress | Code::StaleMemberEpoch) => {
                    Ok(CommitOutcome::Later(error.to_string()))
                }
                Some(Code::UnknownMemberId | Code::FencedMemberEpoch | Code::FencedInstanceId | Code::Fenced) => {
                    Ok(CommitOutcome::Lost(error.to_string()))
                }
                Some(
                    Code::RequestTimedOut
                    | Code::OperationTimedOut
                    | Code::MessageTimedOut
                    | Code::WaitingForCoordinator
                    | Code::CoordinatorLoadInProgress
                    | Code::CoordinatorNotAvailable
                    | Code::NotCoordinator
                    | Code::BrokerTransportFailure
                    | Code::AllBrokersDown
                    | Code::NetworkException,
                ) => Ok(self.read_again(partition, offset, metadata, &error)),
                _ => Err(error),
            },
        }
    }

    /// The answer to a commit did not arrive: whether it was accepted is read from the group.
    fn read_again(&self, partition: &TopicPartition, offset: i64, metadata: &str, error: &KafkaError) -> CommitOutcome {
        match self.committed(partition) {
            Ok(c) if c.offset == Some(offset) && c.metadata == metadata => CommitOutcome::Done,
            Ok(_) => CommitOutcome::Later(error.to_string()),
            Err(read) => CommitOutcome::Later(format!("{error}, and reading it back: {read}")),
        }
    }

    /// Low and high watermark as the last fetch brought them; `None` before the first fetch.
    pub fn watermarks(&self, partition: &TopicPartition) -> Option<(i64, i64)> {
        let topic = CString::new(&*partition.topic).ok()?;
        let (mut low, mut high) = (-1, -1);
        #[allow(unsafe_code, reason = "rdkafka wraps only the call that asks the broker")]
        // SAFETY: the client outlives the call, `topic` is NUL-terminated, and both pointers are valid for writing.
        let error = unsafe {
            rdkafka::bindings::rd_kafka_get_watermark_offsets(
                self.inner.client().native_ptr(),
                topic.as_ptr(),
                partition.partition,
                &raw mut low,
                &raw mut high,
            )
        };
        (error == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some((low, high))
    }

    /// This consumer's member id and generation in its group; `None` while it has none.
    fn membership(&self) -> Option<(CString, i32)> {
        #[allow(unsafe_code, reason = "rdkafka's ConsumerGroupMetadata is opaque")]
        // SAFETY: the client outlives the call; the metadata is read, and its text copied, before it is destroyed, which is once.
        unsafe {
            let metadata = rdkafka::bindings::rd_kafka_consumer_group_metadata(self.inner.client().native_ptr());
            if metadata.is_null() {
                return None;
            }
            let member = rdkafka::bindings::rd_kafka_consumer_group_metadata_member_id(metadata);
            let member = if member.is_null() { CString::default() } else { CStr::from_ptr(member).to_owned() };
            let generation = rdkafka::bindings::rd_kafka_consumer_group_metadata_generation_id(metadata);
            rdkafka::bindings::rd_kafka_consumer_group_metadata_destroy(metadata);
            (!member.is_empty() && generation >= 1).then_some((member, generation))
        }
    }

    /// Gives back what is assigned and leaves the group. Dropping the consumer does it too, but waits in steps of 100 ms.
    pub fn leave(&self) {
        self.inner.context().leaving.store(true, Ordering::Relaxed);
        if self.inner.close_queue().is_err() {
            return; // dropping it says what is wrong
        }
        while !self.inner.closed() {
            drop(self.inner.poll(LEAVE_STEP));
        }
    }

    /// Stops fetching a partition; it stays ours.
    pub fn pause(&self, partition: &TopicPartition) -> KafkaResult<()> {
        self.inner.pause(&list(partition))
    }

    /// Goes on fetching it.
    pub fn resume(&self, partition: &TopicPartition) -> KafkaResult<()> {
        self.inner.resume(&list(partition))
    }

    /// Continues at `offset`, or at the earliest record.
    pub fn seek(&self, partition: &TopicPartition, offset: Option<i64>) -> KafkaResult<()> {
        let offset = offset.map_or(Offset::Beginning, Offset::Offset);
        self.inner.seek(&partition.topic, partition.partition, offset, COORDINATOR_TIMEOUT)
    }
}

impl Drop for Consumer {
    /// Closing the client still polls: nothing is taken over by it, and the queue is gone before the client.
    fn drop(&mut self) {
        self.inner.context().leaving.store(true, Ordering::Relaxed);
        *self.inner.context().records() = None;
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("log", &self.inner.context().log).finish_non_exhaustive()
    }
}

fn list(partition: &TopicPartition) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition(&partition.topic, partition.partition);
    list
}
