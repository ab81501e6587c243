//! A client of any Kafka broker with what the framework needs: it sends to given partitions, and reads end offsets,
//! committed offsets and whole topics.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::metadata::MetadataBroker;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::types::RDKafka;
use rdkafka::{Offset, TopicPartitionList};

use super::{Commits, Record, StackError};

/// How long a broker may take to answer. The limit is high, because the machine may be overloaded.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How long is waited before a client's events are served again.
const STEP: Duration = Duration::from_millis(1);

/// The longest time, in milliseconds, after which a client tries again to reach a broker that has gone away.
const RECONNECT_MS: &str = "100";

/// How often a read checks its position, because the end of a topic may be reached without another record.
const READ_STEP: Duration = Duration::from_millis(50);

/// Who is in a cluster.
pub(crate) struct Cluster {
    /// The ids of its brokers.
    pub brokers: BTreeSet<i32>,
    /// The broker that leads each partition.
    pub leaders: BTreeMap<(String, i32), i32>,
}

/// A client of one cluster. It joins no group and commits nothing.
pub(crate) struct Client {
    /// The clients that read what a group has committed. This field stands before the producer so that it is dropped
    /// first, while an embedded broker still answers.
    groups: Mutex<HashMap<String, BaseConsumer>>,
    /// This lock is held while records are sent, so that all failed deliveries belong to one call.
    sending: Mutex<()>,
    producer: BaseProducer<Deliveries>,
    bootstrap: String,
}

#[derive(Default)]
struct Deliveries {
    failed: Mutex<Vec<(usize, KafkaError)>>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        if let Err((error, _)) = result {
            locked(&self.failed).push((index, error.clone()));
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
impl Client {
    /// A client of the broker that `config` leads to.
    pub(crate) fn new(config: &ClientConfig) -> Result<Self, KafkaError> {
        let producer = config
            .clone()
            // With one request at a time, the order of a partition is kept even if a request is repeated.
            .set("max.in.flight.requests.per.connection", "1")
            .set("linger.ms", "0")
            .set("reconnect.backoff.max.ms", RECONNECT_MS)
            .set("message.timeout.ms", PATIENCE.as_millis().to_string())
            .create_with_context(Deliveries::default())?;
        let bootstrap = config.get("bootstrap.servers").unwrap_or_default().to_owned();
        Ok(Self { groups: Mutex::default(), sending: Mutex::default(), producer, bootstrap })
    }

    /// librdkafka's own handle of the producer, valid as long as this client exists.
    pub(crate) fn native(&self) -> *mut RDKafka {
        self.producer.client().native_ptr()
    }

    /// The value for `bootstrap.servers`.
    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Sets the address of an embedded broker, which is known only after its client was created.
    pub(crate) fn set_bootstrap(&mut self, bootstrap: String) {
        self.bootstrap = bootstrap;
    }

    /// Sends records, those of a partition in order, and waits until all are acknowledged.
    pub(crate) fn produce(&self, records: &[Record]) -> Result<(), StackError> {
        let _sending = locked(&self.sending);
        for (index, record) in records.iter().enumerate() {
            self.send(index, record)?;
        }
        self.await_acknowledgements(records.len())?;
        match locked(&self.producer.context().failed).drain(..).next() {
            None => Ok(()),
            Some((index, error)) => Err(StackError::new(sending(&records[index]), error)),
        }
    }

    fn await_acknowledgements(&self, sent: usize) -> Result<(), StackError> {
        // Each message is acknowledged or fails within its own timeout, which is `PATIENCE`.
        let deadline = Instant::now() + 2 * PATIENCE;
        loop {
            match self.producer.in_flight_count() {
                0 => return Ok(()),
                left if Instant::now() > deadline => {
                    let problem = format!("{left} of them are not acknowledged after {:?}", 2 * PATIENCE);
                    return Err(StackError::new(format!("sending {sent} records"), problem));
                }
                _ => self.serve(),
            }
        }
    }

    /// Serves acknowledgements that have come, and gives those that have not some time.
    fn serve(&self) {
        // With a limit, this call would wait for the whole of it, and use the processor for the last millisecond of it.
        self.producer.poll(Duration::ZERO);
        if self.producer.in_flight_count() > 0 {
            std::thread::sleep(STEP);
        }
    }

    fn send(&self, index: usize, record: &Record) -> Result<(), StackError> {
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (key, value) in &record.headers {
            headers = headers.insert(Header { key, value: value.as_deref() });
        }
        let mut message = BaseRecord {
            topic: &record.topic,
            partition: Some(record.partition),
            payload: record.value.as_deref(),
            key: record.key.as_deref(),
            timestamp: Some(record.timestamp),
            headers: (!record.headers.is_empty()).then_some(headers),
            delivery_opaque: index,
        };
        loop {
            match self.producer.send(message) {
                Ok(()) => return Ok(()),
                // The queue is full. Serving acknowledgements makes room in it.
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), rejected)) => {
                    message = rejected;
                    self.serve();
                }
                Err((error, _)) => return Err(StackError::new(sending(record), error)),
            }
        }
    }

    /// The end offset of every partition of these topics; an error if one of them does not exist.
    pub(crate) fn end_offsets(&self, topics: &[String]) -> Result<BTreeMap<(String, i32), i64>, StackError> {
        let mut ends = BTreeMap::new();
        for topic in topics {
            let partitions = self.partitions(topic)?.ok_or_else(|| {
                StackError::new(format!("reading the end offsets of topic {topic}"), "the topic does not exist")
            })?;
            for partition in 0..partitions {
                ends.insert((topic.clone(), partition), self.end_offset(topic, partition)?);
            }
        }
        Ok(ends)
    }

    fn end_offset(&self, topic: &str, partition: i32) -> Result<i64, StackError> {
        let action = || format!("reading the end offset of {topic}-{partition}");
        let (low, high) = self.watermarks(topic, partition).map_err(|error| StackError::new(action(), error))?;
        if low > 0 {
            let problem = format!(
                "the first {low} records are gone: by the topic's retention, or because the embedded Kafka keeps 5 MiB or 100,000 batches of a partition; \
                 use more partitions or less data"
            );
            return Err(StackError::new(action(), problem));
        }
        Ok(high)
    }

    /// The low and the high watermark of a partition.
    fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), KafkaError> {
        settled(|| self.producer.client().fetch_watermarks(topic, partition, PATIENCE))
    }

    /// The number of partitions of a topic, whether it was created here or by a client that used it. It is `None` if
    /// the topic does not exist.
    fn partitions(&self, topic: &str) -> Result<Option<i32>, StackError> {
        // The request is for all topics, because a request for one topic may create that topic.
        let metadata = settled(|| self.producer.client().fetch_metadata(None, PATIENCE))
            .map_err(|error| StackError::new(format!("looking for topic {topic}"), error))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        Ok(found.and_then(|found| i32::try_from(found.partitions().len()).ok()))
    }

    /// The brokers of the cluster, and who leads which partition. A partition without a leader is left out.
    pub(crate) fn cluster(&self) -> Result<Cluster, StackError> {
        let metadata = settled(|| self.producer.client().fetch_metadata(None, PATIENCE))
            .map_err(|error| StackError::new("asking Kafka for its brokers and leaders", error))?;
        let mut leaders = BTreeMap::new();
        for topic in metadata.topics() {
            let led = topic.partitions().iter().filter(|partition| partition.leader() >= 0);
            leaders.extend(led.map(|partition| ((topic.name().to_owned(), partition.id()), partition.leader())));
        }
        Ok(Cluster { brokers: metadata.brokers().iter().map(MetadataBroker::id).collect(), leaders })
    }

    /// How many partitions of a topic have a leader. It is 0 if the broker does not know the topic yet.
    pub(crate) fn leaders(&self, topic: &str) -> Result<i32, StackError> {
        let metadata = self
            .producer
            .client()
            .fetch_metadata(Some(topic), PATIENCE)
            .map_err(|error| StackError::new(format!("looking for the leaders of topic {topic}"), error))?;
        let partitions = metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions);
        Ok(partitions.filter(|partition| partition.leader() >= 0).map(|_| 1).sum())
    }

    /// What `group` has committed: offset and metadata, without the partitions that have no commit.
    pub(crate) fn committed(&self, group: &str, partitions: &[(String, i32)]) -> Result<Commits, StackError> {
        let failed = |error| StackError::new(format!("reading what group {group} has committed"), error);
        let mut asked = TopicPartitionList::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            asked.add_partition(topic, *partition);
        }
        let mut groups = locked(&self.groups);
        if !groups.contains_key(group) {
            groups.insert(group.to_owned(), self.consumer(group).map_err(failed)?);
        }
        let found = settled(|| groups[group].committed_offsets(asked.clone(), PATIENCE)).map_err(failed)?;
        let mut committed = BTreeMap::new();
        for element in found.elements() {
            element.error().map_err(failed)?;
            if let Offset::Offset(offset) = element.offset() {
                let place = (element.topic().to_owned(), element.partition());
                committed.insert(place, (offset, element.metadata().to_owned()));
            }
        }
        Ok(committed)
    }

    /// All records of a topic, by partition and offset; empty if the topic does not exist.
    pub(crate) fn read_topic(&self, topic: &str) -> Result<Vec<Record>, StackError> {
        let action = || format!("reading topic {topic}");
        let failed = |error| StackError::new(action(), error);
        let mut assignment = TopicPartitionList::new();
        let mut left = BTreeMap::new();
        for partition in 0..self.partitions(topic)?.unwrap_or(0) {
            let end = self.end_offset(topic, partition)?;
            if end > 0 {
                assignment.add_partition_offset(topic, partition, Offset::Offset(0)).map_err(failed)?;
                left.insert(partition, end);
            }
        }
        let mut records = Vec::new();
        if left.is_empty() {
            return Ok(records);
        }
        let consumer = self.consumer("e2e-read-topic").map_err(failed)?;
        consumer.assign(&assignment).map_err(failed)?;
        let deadline = Instant::now() + PATIENCE;
        while !left.is_empty() {
            // The poll has a short limit, because a transaction marker does not end a poll.
            match consumer.poll(READ_STEP.min(deadline.saturating_duration_since(Instant::now()))) {
                // The connection is made again, as long as there is time.
                Some(Err(error)) if is_unreachable(&error) && Instant::now() < deadline => {}
                Some(message) => {
                    let record = read(&message.map_err(failed)?);
                    if left.get(&record.partition).is_some_and(|end| record.offset + 1 >= *end) {
                        left.remove(&record.partition);
                    }
                    records.push(record);
                }
                // A poll may end without a record, after an event or a transaction marker. A marker is not a record,
                // but it has an offset, so the position may have reached the end.
                None if Instant::now() < deadline => {
                    for position in consumer.position().map_err(failed)?.elements() {
                        let Offset::Offset(offset) = position.offset() else { continue };
                        if left.get(&position.partition()).is_some_and(|end| offset >= *end) {
                            left.remove(&position.partition());
                        }
                    }
                }
                None => {
                    let problem = format!("after {PATIENCE:?} these partitions are not read to their ends: {left:?}");
                    return Err(StackError::new(action(), problem));
                }
            }
        }
        close(&consumer);
        records.sort_by_key(|record| (record.partition, record.offset));
        Ok(records)
    }

    /// A consumer that neither joins the group nor commits.
    fn consumer(&self, group: &str) -> Result<BaseConsumer, KafkaError> {
        ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("fetch.wait.max.ms", "10")
            .set("reconnect.backoff.max.ms", RECONNECT_MS)
            .create()
    }
}

/// Repeats a request while no broker can be reached, or the brokers have not yet decided which of them answers for a topic
/// or group.
fn settled<T>(mut ask: impl FnMut() -> Result<T, KafkaError>) -> Result<T, KafkaError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Err(error) if is_unreachable(&error) && Instant::now() < deadline => std::thread::sleep(STEP),
            Err(KafkaError::MetadataFetch(
                RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::CoordinatorLoadInProgress
                | RDKafkaErrorCode::CoordinatorNotAvailable,
            )) if Instant::now() < deadline => std::thread::sleep(STEP),
            result => return result,
        }
    }
}

/// Whether the broker cannot be reached at the moment.
fn is_unreachable(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(code, Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown))
}

/// Closes a consumer that is about to be dropped. Dropping it closes it too, but waits in steps of 100 ms.
fn close(consumer: &BaseConsumer) {
    if consumer.close_queue().is_ok() {
        while !consumer.closed() {
            // Only the end of the consumer is awaited now. A message that is still queued is no longer needed.
            drop(consumer.poll(STEP));
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        locked(&self.groups).values().for_each(close);
    }
}

pub(crate) fn sending(record: &Record) -> String {
    format!("sending a record to {}-{}", record.topic, record.partition)
}

fn read(message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().map(|headers| {
        headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
    });
    Record {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
    }
}
