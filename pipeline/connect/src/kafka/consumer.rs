//! The consumer of one task: its membership in the group, the partitions that it is assigned, and their records.
//!
//! No call waits for a broker without a deadline, and no call that may wait is made in a callback. What the group has
//! committed for an assignment is read by a [`Lookup`] while the task goes on polling; the assignment is answered when
//! the lookup is done.

use std::ffi::CString;
use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::bindings as raw;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Notify;

use super::context::{Context, RebalanceEvent, decline, is_cooperative};
use super::lookup::{Lookup, names, number};
use super::record::{Batch, ConsumerError, RecordQueue};
use super::{Committed, FIXED_CONSUMER};
use crate::TopicPartition;

/// How long librdkafka's own threads may take to move a partition to another offset.
const SEEK_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a consumer that leaves its group is asked whether it has left.
const LEAVE_STEP: Duration = Duration::from_millis(1);

/// How long leaving may take. A coordinator that does not answer expels the member when its session is over.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(4);

/// A change of the assignment.
#[derive(Debug)]
pub(crate) enum AssignmentChange {
    /// Partitions that the task owns from now on, and what the group has committed for them.
    Assigned(Vec<Committed>),
    /// Partitions that the task no longer owns.
    Revoked(Vec<TopicPartition>),
    /// What the group has committed for a partition that the task owns and that [`Consumer::look_up`] was called for.
    Found(Committed),
    /// The assignment could not be taken over.
    Failed(String),
}

/// A consumer in its group. All of its methods are called on one thread.
pub(crate) struct Consumer {
    pub(super) inner: ManuallyDrop<Arc<BaseConsumer<Context>>>,
    wake: Arc<Notify>,
    /// The partitions that are offered, while the offsets that are committed for them are read.
    offered: Option<Lookup>,
    /// Partitions that the task owns and whose committed offsets are read again.
    again: Vec<Lookup>,
}

impl Consumer {
    /// A consumer of `config` with the settings of [`FIXED_CONSUMER`], which replace others. `name` is the task's name
    /// in logs. `wake` is notified when there is something to [`Self::poll`], to [`Self::take`] or in
    /// [`Self::changes`].
    pub fn new(mut config: ClientConfig, name: String, wake: &Arc<Notify>) -> KafkaResult<Self> {
        for (key, value, _) in FIXED_CONSUMER {
            config.set(*key, *value);
        }
        // With group.protocol=consumer (KIP-848) the broker assigns partitions.
        if config.get("partition.assignment.strategy").is_none() && config.get("group.protocol") != Some("consumer") {
            config.set("partition.assignment.strategy", "cooperative-sticky");
        }
        let context = Context::new(name, &config);
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

    /// Serves one event of librdkafka, without waiting; `None` if there is none. What its callbacks reported is then in
    /// [`Self::changes`], which has to be called before anything else.
    pub fn poll(&self) -> Option<KafkaResult<()>> {
        let context = self.inner.context();
        context.served.store(false, Ordering::Relaxed);
        match self.inner.poll(Duration::ZERO) {
            None => context.served.load(Ordering::Relaxed).then_some(Ok(())),
            Some(Err(error)) => Some(Err(error)),
            Some(Ok(record)) => {
                let (topic, partition, offset) = (record.topic(), record.partition(), record.offset());
                context.push(RebalanceEvent::Failed(format!(
                    "the record at offset {offset} of {topic}-{partition} came through the group's own queue, which is \
                     a defect of this program: report it with the log"
                )));
                Some(Ok(()))
            }
        }
    }

    /// The changes of the assignment since the last call. This is called after every [`Self::poll`], and once in each
    /// pass of the loop.
    pub fn changes(&mut self) -> Vec<AssignmentChange> {
        let events = std::mem::take(&mut *self.inner.context().events.lock().unwrap_or_else(PoisonError::into_inner));
        let mut changes = Vec::new();
        for event in events {
            match event {
                RebalanceEvent::Offered(partitions) => {
                    self.offered = Some(Lookup::start(&self.inner, partitions, false, &self.wake));
                }
                RebalanceEvent::Revoked(partitions) => {
                    let is_of = |lookup: &Lookup, revoked: &TopicPartition| {
                        lookup.partitions().find_partition(&revoked.topic, revoked.partition).is_some()
                    };
                    self.again.retain(|lookup| !partitions.iter().any(|revoked| is_of(lookup, revoked)));
                    changes.push(AssignmentChange::Revoked(partitions));
                }
                RebalanceEvent::Failed(reason) => changes.push(AssignmentChange::Failed(reason)),
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
                Ok(found) => changes.extend(found.into_iter().map(AssignmentChange::Found)),
                Err(error) => changes.push(AssignmentChange::Failed(format!(
                    "reading the committed offset of {}: {error}",
                    names(lookup.partitions())
                ))),
            }
            false
        });
        changes
    }

    /// Answers the group. Each partition starts at its committed offset, or else at its earliest record.
    fn take_over(&self, mut partitions: TopicPartitionList, answer: KafkaResult<Vec<Committed>>) -> AssignmentChange {
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
                (self.inner.incremental_assign(&partitions), AssignmentChange::Assigned(committed))
            }
            Ok(committed) => (self.inner.assign(&partitions), AssignmentChange::Assigned(committed)),
            Err(failed) => (decline(&self.inner), AssignmentChange::Failed(failed)),
        };
        match result {
            Ok(()) => change,
            Err(error) => {
                AssignmentChange::Failed(format!("taking over the assigned partitions {}: {error}", names(&partitions)))
            }
        }
    }

    /// Reads what the group has committed for a partition that the task owns. The result comes as
    /// [`AssignmentChange::Found`], unless the partition is revoked before. With `existing`, a partition of a topic
    /// that was deleted is waited for.
    pub fn look_up(&mut self, partition: &TopicPartition, existing: bool) {
        self.again.push(Lookup::start(&self.inner, list(partition), existing, &self.wake));
    }

    /// The records that have come, at most one batch of them. Does not wait.
    pub fn take(&self) -> Batch {
        self.inner.context().records().as_ref().map(RecordQueue::take).unwrap_or_default()
    }

    /// Logs an error that came in a batch in the way in which other errors are logged.
    pub fn log(&self, error: &ConsumerError) {
        self.inner.context().log.failure(&KafkaError::MessageConsumption(error.code), &error.text);
    }

    /// Asks the broker for the low and the high watermark of a partition.
    pub fn fetch_watermarks(&self, partition: &TopicPartition, timeout: Duration) -> KafkaResult<(i64, i64)> {
        self.inner.fetch_watermarks(&partition.topic, partition.partition, timeout)
    }

    /// The low and the high watermark that the last fetch brought. `None` before the first fetch.
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

    /// The offset after all records of a partition that librdkafka has given, and after the transaction markers behind
    /// them, which it never gives. `None` before the first record.
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        let list = list(partition);
        #[allow(unsafe_code, reason = "rdkafka wraps only the call for all that is assigned")]
        // SAFETY: client and list outlive the call, which writes into the list's elements.
        let error = unsafe { raw::rd_kafka_position(self.inner.client().native_ptr(), list.ptr()) };
        let offset = list.elements().first().map(TopicPartitionListElem::offset);
        offset.filter(|_| error == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).and_then(number)
    }

    /// Gives back what is assigned and leaves the group. Gives whether that was done in time; otherwise `drop` goes on
    /// with it on another thread.
    pub fn leave(&mut self) -> bool {
        self.inner.context().leaving.store(true, Ordering::Relaxed);
        self.again.clear();
        // Leaving waits until every offer of the group is answered.
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

    /// Stops fetching a partition, which the task still owns.
    pub fn pause(&self, partition: &TopicPartition) -> KafkaResult<()> {
        self.inner.pause(&list(partition))
    }

    /// Fetches a paused partition again.
    pub fn resume(&self, partition: &TopicPartition) -> KafkaResult<()> {
        self.inner.resume(&list(partition))
    }

    /// Continues reading the partition at `offset`.
    pub fn seek(&self, partition: &TopicPartition, offset: Offset) -> KafkaResult<()> {
        self.inner.seek(&partition.topic, partition.partition, offset, SEEK_TIMEOUT)
    }
}

impl Drop for Consumer {
    /// Closing the client still polls: from now on nothing is taken over, and the queue is destroyed before the client.
    /// Closing waits for brokers without a deadline, so a consumer that has not left in time is closed on a thread of
    /// its own.
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

/// A list of this partition alone.
pub(super) fn list(partition: &TopicPartition) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition(&partition.topic, partition.partition);
    list
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::*;
    use crate::kafka::CommitOutcome;

    /// A commit waits no longer than it may, even if the broker takes it and never answers.
    #[test]
    fn a_commit_waits_for_no_longer_than_it_may() {
        let cluster = MockCluster::new(1).expect("a cluster");
        cluster.create_topic("t", 1, 1).expect("a topic");
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "g");
        let mut consumer = Consumer::new(config, "test".into(), &Arc::default()).expect("a consumer");
        consumer.subscribe(&["t"]).expect("a subscription");
        let partition = TopicPartition { topic: "t".into(), partition: 0 };
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut assigned = false;
        while !assigned {
            assert!(Instant::now() < deadline, "no assignment within 30 s");
            drop(consumer.inner.poll(Duration::from_millis(10)));
            assigned = consumer.changes().iter().any(|change| matches!(change, AssignmentChange::Assigned(_)));
        }
        let patience = Duration::from_secs(20);
        assert_eq!(consumer.commit(&partition, 1, "first", patience), Ok(CommitOutcome::Done));
        assert_eq!(consumer.is_committed(&partition, patience), Some(true));
        cluster.broker_round_trip_time(1, Duration::from_mins(10)).expect("the broker");
        let asked = Instant::now();
        let outcome = consumer.commit(&partition, 2, "second", Duration::from_millis(200));
        assert!(matches!(outcome, Ok(CommitOutcome::Later(_))), "{outcome:?}");
        assert_eq!(consumer.is_committed(&partition, Duration::from_millis(200)), None);
        // The commit and reading it back each have their time, and a busy machine needs some more; the answer takes
        // minutes.
        assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
        assert!(!consumer.leave(), "the coordinator does not answer");
    }
}
