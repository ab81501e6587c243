//! Kafka in this process: librdkafka's mock cluster, one broker, reached over TCP like any other.
//!
//! It keeps 5 MiB or 100,000 batches of a partition and evicts the oldest beyond that. A test that lost records this way could pass for the
//! wrong reason, so sending more is refused and reading an evicted partition is an error.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::bindings as sys;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};

use crate::stack::{Commits, Record, StackError};

/// What the mock cluster keeps of a partition, in bytes of record batches.
const PARTITION_BYTES: usize = 5 * 1024 * 1024;

/// What the mock cluster keeps of a partition, in record batches.
const PARTITION_BATCHES: usize = 100_000;

/// How long a broker in this process may take to answer, on a machine with far more to do than it can.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long to serve a client's events at a time: rdkafka waits for the whole of it, even if what it waits for is there at once.
const STEP: Duration = Duration::from_millis(1);

/// Bytes of a record in the worst case, in a batch of its own: 61 for the batch, then length, attributes, timestamp and offset deltas, and
/// the lengths of key, value and headers as varints.
fn batch_bytes(record: &Record) -> usize {
    let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + length(value) + 10).sum();
    61 + 36 + length(&record.key) + length(&record.value) + headers
}

/// A cluster of its own. Dropping it ends the broker and disconnects its clients.
pub struct Kafka {
    /// Clients that read what a group has committed; they never join it. Before the cluster, so that they end while it still answers.
    groups: Mutex<HashMap<String, BaseConsumer>>,
    /// Topics created here, with what has been sent to each partition: bytes and batches.
    topics: Mutex<BTreeMap<String, Vec<(usize, usize)>>>,
    /// Owns the mock cluster, and is a client of it.
    producer: BaseProducer<Deliveries>,
    bootstrap: String,
}

/// What became of the messages that were sent: the index of each that failed, and why.
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

impl Kafka {
    /// Starts the broker on a port that the kernel picks.
    pub fn start() -> Result<Self, StackError> {
        let failed = |error: KafkaError| StackError::new("starting the embedded Kafka", error);
        let producer: BaseProducer<Deliveries> = ClientConfig::new()
            .set("test.mock.num.brokers", "1")
            // One request at a time keeps a partition's order even if one of them is repeated.
            .set("max.in.flight.requests.per.connection", "1")
            .set("message.max.bytes", PARTITION_BYTES.to_string())
            .set("linger.ms", "0")
            .set("message.timeout.ms", PATIENCE.as_millis().to_string())
            .create_with_context(Deliveries::default())
            .map_err(failed)?;
        let mut kafka = Self { groups: Mutex::default(), topics: Mutex::default(), producer, bootstrap: String::new() };
        kafka.bootstrap = kafka.set_up()?;
        Ok(kafka)
    }

    /// The mock cluster: valid for as long as `self.producer`, which created it, is.
    #[allow(unsafe_code, reason = "the mock cluster has no complete safe interface")]
    fn cluster(&self) -> Result<*mut sys::rd_kafka_mock_cluster_t, StackError> {
        // SAFETY: the pointer is that of a live client, and the call only reads a field that is set before the client is handed out.
        let cluster = unsafe { sys::rd_kafka_handle_mock_cluster(self.producer.client().native_ptr()) };
        if cluster.is_null() {
            return Err(StackError::new(
                "starting the embedded Kafka",
                "librdkafka was built without its mock cluster",
            ));
        }
        Ok(cluster)
    }

    /// Sets the cluster up, and gives its address.
    #[allow(unsafe_code, reason = "the mock cluster has no complete safe interface")]
    fn set_up(&self) -> Result<String, StackError> {
        let cluster = self.cluster()?;
        // SAFETY: the cluster is alive (see `cluster`); the call takes the cluster's own lock. A group's first assignment is made at once,
        // not after the three seconds in which a real broker waits for more members.
        unsafe { sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0) };
        // SAFETY: the cluster is alive; the text is made once when it is created, ends with a zero and is copied here.
        let bootstrap = unsafe { CStr::from_ptr(sys::rd_kafka_mock_cluster_bootstraps(cluster)) };
        Ok(bootstrap.to_string_lossy().into_owned())
    }

    /// For `bootstrap.servers`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Creates a topic.
    #[allow(unsafe_code, reason = "the mock cluster has no complete safe interface")]
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), StackError> {
        let action = || format!("creating topic {topic} with {partitions} partitions");
        let count = usize::try_from(partitions).ok().filter(|count| *count > 0);
        let count = count.ok_or_else(|| StackError::new(action(), "a topic has at least one partition"))?;
        let name = CString::new(topic).map_err(|error| StackError::new(action(), error))?;
        let cluster = self.cluster()?;
        // SAFETY: the cluster is alive and the name outlives the call, which copies it, hands the request to the cluster's own thread through
        // a locked queue, and waits for its answer: it may be made from any thread.
        let code = unsafe { sys::rd_kafka_mock_topic_create(cluster, name.as_ptr(), partitions, 1) };
        match RDKafkaErrorCode::from(code) {
            RDKafkaErrorCode::NoError => {
                locked(&self.topics).insert(topic.to_owned(), vec![(0, 0); count]);
                Ok(())
            }
            code => Err(StackError::new(action(), code)),
        }
    }

    /// After which time a member that is not heard of leaves its group, and how often it is to be heard of. Of groups of the protocol
    /// `consumer` (KIP-848), where the broker says so; members of the classic protocol say it themselves.
    #[allow(unsafe_code, reason = "the mock cluster has no complete safe interface")]
    pub fn set_session_timeout(&self, session: Duration, heartbeat: Duration) -> Result<(), StackError> {
        let cluster = self.cluster()?;
        let millis = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the cluster is alive (see `cluster`); the calls take the cluster's own lock.
        unsafe {
            sys::rd_kafka_mock_set_group_consumer_session_timeout_ms(cluster, millis(session));
            sys::rd_kafka_mock_set_group_consumer_heartbeat_interval_ms(cluster, millis(heartbeat));
        }
        Ok(())
    }

    /// Sends records, those of a partition in order, and waits until all are acknowledged. Either all are sent or, if they exceed what the
    /// broker keeps, none.
    pub fn produce(&self, records: &[Record]) -> Result<(), StackError> {
        // Held to the end: one call at a time, so that the failed deliveries are its own.
        let mut topics = locked(&self.topics);
        let mut sent = topics.clone();
        for record in records {
            admit(&mut sent, record)?;
        }
        *topics = sent;
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
        // Each message ends in acknowledgement or failure within its own timeout, which is as long.
        let deadline = Instant::now() + 2 * PATIENCE;
        loop {
            match self.producer.in_flight_count() {
                0 => return Ok(()),
                left if Instant::now() > deadline => {
                    let problem = format!("{left} of them are not acknowledged after {:?}", 2 * PATIENCE);
                    return Err(StackError::new(format!("sending {sent} records"), problem));
                }
                _ => self.producer.poll(STEP),
            }
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
                // The queue is full: serving acknowledgements makes room.
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), rejected)) => {
                    message = rejected;
                    self.producer.poll(STEP);
                }
                Err((error, _)) => return Err(StackError::new(sending(record), error)),
            }
        }
    }

    /// The end offset of every partition of these topics; an error if one of them does not exist.
    pub fn end_offsets(&self, topics: &[String]) -> Result<BTreeMap<(String, i32), i64>, StackError> {
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
        let (low, high) = self
            .producer
            .client()
            .fetch_watermarks(topic, partition, PATIENCE)
            .map_err(|error| StackError::new(action(), error))?;
        if low > 0 {
            let problem = format!(
                "the first {low} records are gone: the embedded Kafka keeps 5 MiB or 100,000 batches of a partition; use more partitions or less data"
            );
            return Err(StackError::new(action(), problem));
        }
        Ok(high)
    }

    /// How many partitions a topic has, be it created here or by a client's use of it; `None` if it does not exist.
    fn partitions(&self, topic: &str) -> Result<Option<i32>, StackError> {
        // Asking for all topics creates none.
        let metadata = self
            .producer
            .client()
            .fetch_metadata(None, PATIENCE)
            .map_err(|error| StackError::new(format!("looking for topic {topic}"), error))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        Ok(found.and_then(|found| i32::try_from(found.partitions().len()).ok()))
    }

    /// What `group` has committed: offset and metadata, without the partitions that have no commit.
    pub fn committed(&self, group: &str, partitions: &[(String, i32)]) -> Result<Commits, StackError> {
        let failed = |error| StackError::new(format!("reading what group {group} has committed"), error);
        let mut asked = TopicPartitionList::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            asked.add_partition(topic, *partition);
        }
        let mut groups = locked(&self.groups);
        if !groups.contains_key(group) {
            groups.insert(group.to_owned(), self.consumer(group).map_err(failed)?);
        }
        let found = groups[group].committed_offsets(asked, PATIENCE).map_err(failed)?;
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
    pub fn read_topic(&self, topic: &str) -> Result<Vec<Record>, StackError> {
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
            match consumer.poll(deadline.saturating_duration_since(Instant::now())) {
                Some(message) => {
                    let record = read(&message.map_err(failed)?);
                    if left.get(&record.partition).is_some_and(|end| record.offset + 1 >= *end) {
                        left.remove(&record.partition);
                    }
                    records.push(record);
                }
                // A poll may end early, when all that there was to do is an event.
                None if Instant::now() < deadline => {}
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

    /// A consumer that neither joins its group nor commits.
    fn consumer(&self, group: &str) -> Result<BaseConsumer, KafkaError> {
        ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("fetch.wait.max.ms", "10")
            .create()
    }
}

/// Closes a consumer that is about to be dropped. Dropping it closes it too, but waits in steps of 100 ms.
fn close(consumer: &BaseConsumer) {
    if consumer.close_queue().is_ok() {
        while !consumer.closed() {
            // Nothing is expected any more but the end; a message that is still queued has been counted out.
            drop(consumer.poll(STEP));
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        locked(&self.groups).values().for_each(close);
    }
}

fn sending(record: &Record) -> String {
    format!("sending a record to {}-{}", record.topic, record.partition)
}

/// Counts a record into what its partition has been sent, or refuses it.
fn admit(topics: &mut BTreeMap<String, Vec<(usize, usize)>>, record: &Record) -> Result<(), StackError> {
    let refuse = |problem: String| Err(StackError::new(sending(record), problem));
    let Some(partitions) = topics.get_mut(&record.topic) else {
        return refuse("the topic has not been created".into());
    };
    let count = partitions.len();
    let Some((bytes, batches)) = usize::try_from(record.partition).ok().and_then(|at| partitions.get_mut(at)) else {
        return refuse(format!("the topic has {count} partitions, 0 to {}", count - 1));
    };
    *bytes += batch_bytes(record);
    *batches += 1;
    if *bytes > PARTITION_BYTES || *batches > PARTITION_BATCHES {
        return refuse(format!(
            "the partition would hold {bytes} bytes in up to {batches} batches, and the embedded Kafka keeps {PARTITION_BYTES} bytes and \
             {PARTITION_BATCHES} batches of one; use more partitions or less data"
        ));
    }
    Ok(())
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
