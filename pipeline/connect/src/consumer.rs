//! The consumer of one task: its assignment as our own callbacks saw it, commits that are fenced, cached watermarks.
//!
//! A broker checks the member and the generation of an offset commit, never who owns the partition. So the rules that keep a
//! stale task from committing stand here and in `task`: poll, callbacks and commits run on one thread, commits are
//! synchronous and for one partition, and none is sent without a current membership.
//!
//! No call waits for a broker without a deadline, and none that may wait is made in a callback: what the group has committed is read by a
//! `lookup`, while the task goes on polling, and the assignment is answered when it is there.

use std::ffi::{CStr, CString};
use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::bindings as raw;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Notify;

use crate::TopicPartition;
use crate::kafka::{self, KafkaLog};
use crate::lookup::{Committed, Lookup, committed_of, names};
use crate::record::{Batch, ConsumerError, RecordQueue};

/// How long one question to the group coordinator may take. A commit can wait behind a rebalance for the other members; one that is given up
/// is put again after a poll.
const COORDINATOR_TIMEOUT: Duration = Duration::from_secs(10);

/// How long librdkafka's own threads may take to move a partition to another offset.
const SEEK_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a consumer that leaves its group is asked whether it has.
const LEAVE_STEP: Duration = Duration::from_millis(1);

/// How long that may take. A coordinator that does not answer expels the member by itself when its session is over.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(4);

/// What a callback said about the assignment, in the order in which it was said.
#[derive(Debug)]
enum Event {
    /// Partitions that are to be ours; the group waits for an answer.
    Offered(TopicPartitionList),
    /// Partitions that are no longer ours.
    Revoked(Vec<TopicPartition>),
    /// An event could not be answered.
    Failed(String),
}

/// What has become of the assignment.
#[derive(Debug)]
pub(crate) enum Change {
    /// Partitions that are ours from now on, and what the group has committed for them.
    Assigned(Vec<Committed>),
    /// Partitions that are no longer ours.
    Revoked(Vec<TopicPartition>),
    /// What the group has committed for a partition that is ours, and that [`Consumer::look_up`] was asked for.
    Found(Committed),
    /// The assignment could not be taken over.
    Failed(String),
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
    /// The partition's topic does not exist any more.
    Gone(String),
}

/// The callbacks' side: collects what happens during a poll until the task looks at it.
pub(crate) struct Context {
    log: KafkaLog,
    events: Mutex<Vec<Event>>,
    /// Where the records of all that is assigned come in; `None` before and after the consumer's time.
    records: Mutex<Option<RecordQueue>>,
    /// Nothing is taken over any more.
    leaving: AtomicBool,
    /// A callback was called: what was served was an event, of whatever kind.
    served: AtomicBool,
}

impl Context {
    fn push(&self, event: Event) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
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
    /// Gives partitions up at once. What is offered is answered later, with [`Consumer::changes`]: meanwhile the member is polled and its
    /// heartbeats go on.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        self.served.store(true, Ordering::Relaxed);
        // Every event has to be answered, else the group waits for this member, which then cannot even leave.
        let result = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            if self.leaving.load(Ordering::Relaxed) {
                decline(consumer)
            } else {
                self.push(Event::Offered(partitions.clone()));
                Ok(())
            }
        } else {
            self.push(Event::Revoked(partitions.elements().iter().map(|e| name(e.topic(), e.partition())).collect()));
            if is_cooperative(consumer) { consumer.incremental_unassign(partitions) } else { consumer.unassign() }
        };
        if let Err(error) = result {
            self.push(Event::Failed(format!("answering the group about {}: {error}", names(partitions))));
        }
    }
}

fn is_cooperative(consumer: &BaseConsumer<Context>) -> bool {
    matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative)
}

/// Answers an assignment that is not taken: with none of it.
fn decline(consumer: &BaseConsumer<Context>) -> KafkaResult<()> {
    if is_cooperative(consumer) { consumer.incremental_assign(&TopicPartitionList::new()) } else { consumer.unassign() }
}

fn name(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition }
}

/// A consumer in its group. All its methods are called on one thread.
pub(crate) struct Consumer {
    inner: ManuallyDrop<Arc<BaseConsumer<Context>>>,
    wake: Arc<Notify>,
    /// What is offered, while what is committed for it is read.
    offered: Option<Lookup>,
    /// Partitions that are ours and are looked up again.
    again: Vec<Lookup>,
}

impl Consumer {
    /// A consumer of `config` with [`kafka::FIXED_CONSUMER`] over it. `name` is the task's in logs; `wake` is notified when there is
    /// something to [`Self::poll`], to [`Self::take`] or in [`Self::changes`].
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
            events: Mutex::default(),
            records: Mutex::default(),
            leaving: AtomicBool::new(false),
            served: AtomicBool::new(false),
        };
        let mut inner = BaseConsumer::from_config_and_context(&config, context)?;
        let events = Arc::clone(wake);
        inner.set_nonempty_callback(move || events.notify_one());
        *inner.context().records() = RecordQueue::new(inner.client().native_ptr(), Arc::clone(wake));
        Ok(Self { inner: ManuallyDrop::new(Arc::new(inner)), wake: Arc::clone(wake), offered: None, again: Vec::new() })
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
                context.push(Event::Failed(format!(
                    "the record at offset {offset} of {topic}-{partition} came by the group's own queue: a mistake in this program"
                )));
                Some(Ok(()))
            }
        }
    }

    /// What has become of the assignment since the last call. To be asked for after every [`Self::poll`], and once a pass.
    pub fn changes(&mut self) -> Vec<Change> {
        let events = std::mem::take(&mut *self.inner.context().events.lock().unwrap_or_else(PoisonError::into_inner));
        let mut changes = Vec::new();
        for event in events {
            match event {
                Event::Offered(partitions) => {
                    self.offered = Some(Lookup::start(&self.inner, partitions, false, &self.wake));
                }
                Event::Revoked(partitions) => {
                    let is_of = |lookup: &Lookup, revoked: &TopicPartition| {
                        lookup.partitions().find_partition(&revoked.topic, revoked.partition).is_some()
                    };
                    self.again.retain(|lookup| !partitions.iter().any(|revoked| is_of(lookup, revoked)));
                    changes.push(Change::Revoked(partitions));
                }
                Event::Failed(reason) => changes.push(Change::Failed(reason)),
            }
        }
        if let Some(answer) = self.offered.as_ref().and_then(Lookup::answer)
            && let Some(lookup) = self.offered.take()
        {
            changes.push(self.take_over(lookup.partitions().clone(), answer));
        }
        self.again.retain(|lookup| {
            let Some(answer) = lookup.answer() else { return true };
            match answer {
                Ok(found) => changes.extend(found.into_iter().map(Change::Found)),
                Err(error) => changes.push(Change::Failed(format!(
                    "reading the committed offset of {}: {error}",
                    names(lookup.partitions())
                ))),
            }
            false
        });
        changes
    }

    /// Answers the group: each partition starts at what is committed, else at its earliest record.
    fn take_over(&self, mut partitions: TopicPartitionList, answer: KafkaResult<Vec<Committed>>) -> Change {
        let taken = answer
            .and_then(|committed| {
                for found in &committed {
                    let TopicPartition { topic, partition } = &found.partition;
                    partitions.set_partition_offset(topic, *partition, found.start())?;
                }
                Ok(committed)
            })
            .map_err(|error| format!("reading the committed offsets of {}: {error}", names(&partitions)));
        let forwarded = |partition| format!("librdkafka has no queue for {partition}; restart the connector");
        let taken = taken.and_then(|committed| {
            self.inner.context().forward(&self.inner, &partitions).map_err(forwarded).map(|()| committed)
        });
        let (result, change) = match taken {
            Ok(committed) if is_cooperative(&self.inner) => {
                (self.inner.incremental_assign(&partitions), Change::Assigned(committed))
            }
            Ok(committed) => (self.inner.assign(&partitions), Change::Assigned(committed)),
            Err(failed) => (decline(&self.inner), Change::Failed(failed)),
        };
        match result {
            Ok(()) => change,
            Err(error) => Change::Failed(format!("taking the assignment {}: {error}", names(&partitions))),
        }
    }

    /// Reads what the group has committed for a partition that is ours; it comes as [`Change::Found`], unless the partition is revoked before.
    /// With `existing`, once the partition exists: that of a topic that was deleted is waited for.
    pub fn look_up(&mut self, partition: &TopicPartition, existing: bool) {
        self.again.push(Lookup::start(&self.inner, list(partition), existing, &self.wake));
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

    /// What the group has committed for this partition. Waits for at most `patience`.
    fn committed(&self, partition: &TopicPartition, patience: Duration) -> KafkaResult<Committed> {
        let committed = committed_of(&self.inner.committed_offsets(list(partition), patience)?)?;
        committed.into_iter().next().ok_or(KafkaError::NoMessageReceived)
    }

    /// Whether the group has still committed something for this partition, which it had: with a topic that is deleted its offsets vanish, and
    /// one that is made anew under its name is read from where the old one was left. `None` if that is not known now.
    pub fn is_committed(&self, partition: &TopicPartition, patience: Duration) -> Option<bool> {
        let committed = self.committed(partition, patience.min(COORDINATOR_TIMEOUT));
        committed.ok().map(|committed| committed.offset.is_some())
    }

    /// Commits one partition's offset with its metadata, and says what became of it after at most `patience` and as much again for reading it
    /// back. An error is for good.
    pub fn commit(
        &self,
        partition: &TopicPartition,
        offset: i64,
        metadata: &str,
        patience: Duration,
    ) -> KafkaResult<CommitOutcome> {
        let Some(membership) = self.membership() else {
            // An empty group accepts a commit from anyone.
            return Ok(CommitOutcome::Later("not a member of the group at the moment".into()));
        };
        let patience = patience.min(COORDINATOR_TIMEOUT);
        let mut list = TopicPartitionList::new();
        let mut element = list.add_partition(&partition.topic, partition.partition);
        element.set_offset(Offset::Offset(offset))?;
        element.set_metadata(metadata);
        match self.commit_within(&list, patience) {
            // librdkafka stamps the membership when it sends, not when it is asked to.
            Ok(()) if self.membership().as_ref() == Some(&membership) => Ok(CommitOutcome::Done),
            Ok(()) => Ok(CommitOutcome::Later("the membership changed while it was under way".into())),
            Err(error) if kafka::is_permanent(&error) => Err(error),
            Err(error) => match error.rdkafka_error_code() {
                Some(Code::UnknownMemberId | Code::FencedMemberEpoch | Code::FencedInstanceId | Code::Fenced) => {
                    Ok(CommitOutcome::Lost(error.to_string()))
                }
                Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
                    Ok(CommitOutcome::Gone(error.to_string()))
                }
                Some(Code::OffsetMetadataTooLarge | Code::InvalidCommitOffsetSize) => Err(error),
                // Refused: nothing is to be read back.
                Some(Code::IllegalGeneration | Code::RebalanceInProgress | Code::StaleMemberEpoch) => {
                    Ok(CommitOutcome::Later(error.to_string()))
                }
                // The answer did not come, or says nothing about what became of it.
                _ => Ok(self.read_again(partition, offset, metadata, &error, patience)),
            },
        }
    }

    /// `rd_kafka_commit` waits for as long as its answer takes, which is for ever when a broker froze at the wrong moment. So the answer comes
    /// to a queue of its own, where the waiting ends in time; an answer that is late is thrown away with the queue.
    fn commit_within(&self, offsets: &TopicPartitionList, patience: Duration) -> KafkaResult<()> {
        let client = self.inner.client().native_ptr();
        let millis = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
        #[allow(unsafe_code, reason = "rdkafka commits without a deadline")]
        // SAFETY: the client and the list outlive the calls, librdkafka copies the list; queue and event are destroyed once, after their use.
        let code = unsafe {
            let queue = raw::rd_kafka_queue_new(client);
            let mut code = raw::rd_kafka_commit_queue(client, offsets.ptr(), queue, None, std::ptr::null_mut());
            if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                let event = raw::rd_kafka_queue_poll(queue, millis);
                if event.is_null() {
                    code = RDKafkaRespErr::RD_KAFKA_RESP_ERR__TIMED_OUT;
                } else {
                    code = raw::rd_kafka_event_error(event);
                    raw::rd_kafka_event_destroy(event);
                }
            }
            raw::rd_kafka_queue_destroy(queue);
            code
        };
        if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            Ok(())
        } else {
            Err(KafkaError::ConsumerCommit(code.into()))
        }
    }

    /// The answer to a commit did not arrive: whether it was accepted is read from the group.
    fn read_again(
        &self,
        partition: &TopicPartition,
        offset: i64,
        metadata: &str,
        error: &KafkaError,
        patience: Duration,
    ) -> CommitOutcome {
        match self.committed(partition, patience) {
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
            raw::rd_kafka_get_watermark_offsets(
                self.inner.client().native_ptr(),
                topic.as_ptr(),
                partition.partition,
                &raw mut low,
                &raw mut high,
            )
        };
        (error == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some((low, high))
    }

    /// The offset after all that librdkafka has given of a partition, and after the transaction markers behind it, which it gives to nobody.
    /// `None` before the first record.
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        let list = list(partition);
        #[allow(unsafe_code, reason = "rdkafka wraps only the call for all that is assigned")]
        // SAFETY: client and list outlive the call, which writes into the list's elements.
        let error = unsafe { raw::rd_kafka_position(self.inner.client().native_ptr(), list.ptr()) };
        match list.elements().first().map(TopicPartitionListElem::offset) {
            Some(Offset::Offset(offset)) if error == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Some(offset),
            _ => None,
        }
    }

    /// This consumer's member id and generation in its group; `None` while it has none.
    fn membership(&self) -> Option<(CString, i32)> {
        #[allow(unsafe_code, reason = "rdkafka's ConsumerGroupMetadata is opaque")]
        // SAFETY: the client outlives the call; the metadata is read, and its text copied, before it is destroyed, which is once.
        unsafe {
            let metadata = raw::rd_kafka_consumer_group_metadata(self.inner.client().native_ptr());
            if metadata.is_null() {
                return None;
            }
            let member = raw::rd_kafka_consumer_group_metadata_member_id(metadata);
            let member = if member.is_null() { CString::default() } else { CStr::from_ptr(member).to_owned() };
            let generation = raw::rd_kafka_consumer_group_metadata_generation_id(metadata);
            raw::rd_kafka_consumer_group_metadata_destroy(metadata);
            (!member.is_empty() && generation >= 1).then_some((member, generation))
        }
    }

    /// Gives back what is assigned and leaves the group. Whether that was done in time; else it goes on beside, see `drop`.
    pub fn leave(&mut self) -> bool {
        self.inner.context().leaving.store(true, Ordering::Relaxed);
        self.again.clear();
        // Leaving waits for every answer that the group was not given.
        if self.offered.take().is_some() {
            drop(decline(&self.inner));
        }
        let deadline = Instant::now() + LEAVE_TIMEOUT;
        if self.inner.close_queue().is_err() {
            return false; // dropping it says what is wrong
        }
        while !self.inner.closed() {
            drop(self.inner.poll(LEAVE_STEP));
            if Instant::now() > deadline {
                return false;
            }
        }
        true
    }

    /// Stops fetching a partition; it stays ours.
    pub fn pause(&self, partition: &TopicPartition) -> KafkaResult<()> {
        self.inner.pause(&list(partition))
    }

    /// Goes on fetching it.
    pub fn resume(&self, partition: &TopicPartition) -> KafkaResult<()> {
        self.inner.resume(&list(partition))
    }

    /// Continues at `offset`.
    pub fn seek(&self, partition: &TopicPartition, offset: Offset) -> KafkaResult<()> {
        self.inner.seek(&partition.topic, partition.partition, offset, SEEK_TIMEOUT)
    }
}

impl Drop for Consumer {
    /// Closing the client still polls: nothing is taken over by it, and the queue is gone before the client. It waits for brokers without a
    /// deadline, so a consumer that has not left in time is closed beside.
    fn drop(&mut self) {
        self.inner.context().leaving.store(true, Ordering::Relaxed);
        *self.inner.context().records() = None;
        #[allow(unsafe_code, reason = "the value moves to another thread")]
        // SAFETY: it is taken once, here, and not used afterwards.
        let inner = unsafe { ManuallyDrop::take(&mut self.inner) };
        if inner.closed() {
            return;
        }
        let log = inner.context().log.clone();
        let closing = thread::Builder::new().name("closing".into()).spawn(move || drop(inner));
        if let Err(error) = closing {
            log.line(RDKafkaLogLevel::Error, "CLOSE", &format!("cannot start a thread to close the consumer: {error}"));
        }
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

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::*;

    /// A broker that takes a commit and never answers keeps nobody waiting for longer than was said.
    #[test]
    fn a_commit_waits_for_no_longer_than_it_may() {
        let cluster = MockCluster::new(1).expect("a cluster");
        cluster.create_topic("t", 1, 1).expect("a topic");
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "g");
        let mut consumer = Consumer::new(config, "test".into(), &Arc::default()).expect("a consumer");
        consumer.subscribe(&["t"]).expect("a subscription");
        let partition = name("t", 0);
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut assigned = false;
        while !assigned {
            assert!(Instant::now() < deadline, "no assignment within 30 s");
            drop(consumer.inner.poll(Duration::from_millis(10)));
            assigned = consumer.changes().iter().any(|change| matches!(change, Change::Assigned(_)));
        }
        let patience = Duration::from_secs(20);
        assert_eq!(consumer.commit(&partition, 1, "first", patience), Ok(CommitOutcome::Done));
        assert_eq!(consumer.is_committed(&partition, patience), Some(true));
        cluster.broker_round_trip_time(1, Duration::from_mins(10)).expect("the broker");
        let asked = Instant::now();
        let outcome = consumer.commit(&partition, 2, "second", Duration::from_millis(200));
        assert!(matches!(outcome, Ok(CommitOutcome::Later(_))), "{outcome:?}");
        assert_eq!(consumer.is_committed(&partition, Duration::from_millis(200)), None);
        // As long as the commit and reading it back may take, and room for a busy machine; the answer takes minutes.
        assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
        assert!(!consumer.leave(), "the coordinator does not answer");
    }
}
