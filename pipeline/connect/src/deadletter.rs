//! The dead-letter queue: what cannot be stored is produced to a topic and acknowledged before the offset behind it is committed.
//!
//! Dead letters are at least once: a crash between the acknowledgement and the commit repeats them. A letter keeps the record's
//! key, headers and timestamp; its value is the record's bytes, or the text of the one row that is wrong, and then the header
//! `__connect.errors.row.index` says which row of the record it was. The other `__connect.errors.*` headers are Kafka Connect's and
//! come with `errors.deadletterqueue.context.headers.enable`; `exception.stacktrace` has no counterpart here and is left out, and
//! `request.id`, by which AWS finds the call that refused a row, has none there. Such headers of a record, which a letter has that was sent
//! back to its topic, are those of an earlier error and give way to the new ones.
//!
//! A letter that is larger than the topic takes stops nobody: as much of it is sent as the topic takes, see [`form`].

mod form;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, Message};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::warn;

use self::form::{ContextHeaders, Form};
use crate::kafka::{self, KafkaLog};
use crate::metrics::LetterMetrics;
use crate::reach::Reach;
use crate::{Budget, Config, ConfigError, Origin, Reservation, SinkError, TopicPartition};

const TOPIC: &str = "errors.deadletterqueue.topic.name";
const REPLICATION: &str = "errors.deadletterqueue.topic.replication.factor";
const HEADERS: &str = "errors.deadletterqueue.context.headers.enable";
const OVERRIDES: &str = "producer.override.";

/// Bytes that may be on their way to the broker; more wait in the task, so that librdkafka holds no more than this of the budget.
const IN_FLIGHT: usize = 4 << 20;
/// The largest letter that a client sends, uncompressed. A topic's own limit decides, not the client's: what was read may be larger than the
/// client's default. A broker with default settings closes the connection at a request of 104,857,600 bytes.
const LETTER_MAX: usize = 100_000_000;
/// What compresses a letter that is too large otherwise, if the producer does not compress already.
const COMPRESSION: &str = "zstd";
/// How long the cluster may take to say whether the topic exists, or to create it.
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);

/// Where in a record's way the error happened, in Kafka Connect's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The value is not what the converter reads.
    ValueConverter,
    /// Its rows could not be made as configured.
    Transformation,
    /// The sink cannot store it.
    TaskPut,
}

impl Stage {
    /// The value of `__connect.errors.stage`.
    pub fn name(self) -> &'static str {
        match self {
            Stage::ValueConverter => "VALUE_CONVERTER",
            Stage::Transformation => "TRANSFORMATION",
            Stage::TaskPut => "TASK_PUT",
        }
    }
}

/// A record, or one row of it, that cannot be stored.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The record.
    pub origin: Arc<Origin>,
    /// The record's value as it arrived (`None`: a tombstone), or the text of the row.
    pub value: Option<Vec<u8>>,
    /// The row's index in the record, if the letter is of one row.
    pub row: Option<usize>,
    /// Where it happened.
    pub stage: Stage,
    /// The kind of error, for `__connect.errors.exception.class.name`.
    pub error_class: &'static str,
    /// What is wrong and what to do about it.
    pub error: String,
    /// The service's id of the call that refused it, if one did: another for each call, and so no part of the text.
    pub request_id: Option<String>,
}

impl DeadLetter {
    /// Bytes it takes in memory and, about, on the wire.
    fn size(&self) -> usize {
        let headers = self.origin.headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len));
        self.value.as_ref().map_or(0, Vec::len)
            + self.origin.key.as_ref().map_or(0, Vec::len)
            + headers.sum::<usize>()
            + self.error.len()
            // The context headers and the bookkeeping.
            + 512
    }
}

/// The dead-letter queue of one task.
///
/// [`send`](Self::send) never blocks and never loses a letter. What is held counts in the worker's budget, over which no more records are
/// taken.
pub struct DeadLetterQueue {
    topic: String,
    context: Option<ContextHeaders>,
    producer: BaseProducer<Deliveries>,
    /// For letters that are too large otherwise: compresses, and puts no two of them into one batch. Made when there is the first.
    single: Option<BaseProducer<Deliveries>>,
    client: ClientConfig,
    log: KafkaLog,
    reports: Reports,
    waiting: VecDeque<Box<Sending>>,
    outstanding: HashMap<TopicPartition, BTreeMap<i64, usize>>,
    in_flight: usize,
    held: Reservation,
    metrics: LetterMetrics,
    failure: Option<String>,
}

impl DeadLetterQueue {
    /// The dead-letter queue of task `task`, if the connector has one. `client` is what the worker's producers have in common.
    /// The topic has to exist, see [`ensure_topic`].
    pub fn start(
        config: &Config,
        task: u32,
        client: &ClientConfig,
        budget: &Budget,
    ) -> Result<Option<Self>, Vec<ConfigError>> {
        let Some(topic) = topic(config) else { return Ok(None) };
        let client = producer_client(client, config)?;
        let reports = Reports::default();
        let log = KafkaLog::new(format!("connector {}, task {task}, dead letters", config.name()), &client);
        let producer = client
            .create_with_context(Deliveries { log: log.clone(), reports: Arc::clone(&reports) })
            .map_err(|error| vec![kafka::rejected(config, OVERRIDES, &error)])?;
        Ok(Some(Self {
            topic: topic.into(),
            context: config.bool(HEADERS).then(|| ContextHeaders {
                connector: config.name().into(),
                task: task.to_string(),
                converter: config.get("value.converter").unwrap_or("fms_record::Parser").into(),
                sink: config.text("connector.class").into(),
            }),
            producer,
            single: None,
            client,
            log,
            reports,
            waiting: VecDeque::new(),
            outstanding: HashMap::new(),
            in_flight: 0,
            held: budget.reservation(),
            metrics: LetterMetrics::new(config.name(), task),
            failure: None,
        }))
    }

    /// Takes a letter; it is on its way, or goes as soon as there is room.
    pub fn send(&mut self, letter: DeadLetter) {
        self.metrics.requests.increment(1);
        let offsets = self.outstanding.entry(letter.origin.partition.clone()).or_default();
        *offsets.entry(letter.origin.offset).or_default() += 1;
        let size = letter.size();
        self.held.grow(size);
        self.waiting.push_back(Box::new(Sending { letter, form: Form::default(), size }));
        self.produce();
    }

    /// Whether every letter of the partition from before `end` is acknowledged by all in-sync replicas. An error is final: a letter
    /// could not be delivered within the producer's `delivery.timeout.ms`, and the offset behind it must not be committed.
    pub fn acknowledged(&mut self, partition: &TopicPartition, end: i64) -> Result<bool, SinkError> {
        self.poll()?;
        let first = self.outstanding.get(partition).and_then(|offsets| offsets.keys().next());
        Ok(first.is_none_or(|first| *first >= end))
    }

    /// Takes in delivery reports and sends what waited for room.
    pub fn poll(&mut self) -> Result<(), SinkError> {
        self.producer.poll(Duration::ZERO);
        if let Some(single) = &self.single {
            single.poll(Duration::ZERO);
        }
        let reports = std::mem::take(&mut *self.reports.lock().unwrap_or_else(PoisonError::into_inner));
        for Report { sending, failure } in reports {
            self.in_flight -= sending.size;
            match failure {
                None => self.delivered(&sending),
                Some(error) => self.refused(sending, &error),
            }
        }
        self.produce();
        match &self.failure {
            Some(failure) => Err(SinkError::Fatal(failure.clone())),
            None => Ok(()),
        }
    }

    fn produce(&mut self) {
        while let Some(sending) = self.waiting.front() {
            // A letter larger than the limit goes alone.
            if self.in_flight > 0 && self.in_flight + sending.size > IN_FLIGHT {
                return;
            }
            let Some(sending) = self.waiting.pop_front() else { return };
            let size = sending.size;
            match self.try_send(sending) {
                Ok(()) => self.in_flight += size,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), sending)) => {
                    self.waiting.push_front(sending);
                    return;
                }
                Err((error, sending)) => self.refused(sending, &error),
            }
        }
    }

    /// Gives a letter to the producer for its form, or back with the reason.
    fn try_send(&self, mut sending: Box<Sending>) -> Result<(), (KafkaError, Box<Sending>)> {
        let producer = self.single.as_ref().filter(|_| sending.form.is_alone()).unwrap_or(&self.producer);
        let origin = Arc::clone(&sending.letter.origin);
        let headers = sending.form.headers(&sending.letter, self.context.as_ref());
        let has_key = sending.form.has_key();
        // The producer makes a copy, which is the only one until it reports.
        let value = sending.letter.value.take();
        let mut record = BaseRecord::with_opaque_to(&self.topic, sending).headers(headers);
        record.key = origin.key.as_ref().filter(|_| has_key);
        record.payload = value.as_ref();
        record.timestamp = origin.timestamp;
        let (error, mut sending) = match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((error, record)) => (error, record.delivery_opaque),
        };
        sending.letter.value = value;
        Err((error, sending))
    }

    fn delivered(&mut self, sending: &Sending) {
        self.settled(sending);
        let Sending { letter, form, .. } = sending;
        let cuts = form.cuts(letter);
        if cuts.is_empty() {
            return;
        }
        let Origin { partition, offset, .. } = &*letter.origin;
        warn!(
            row = letter.row,
            "the dead letter of {partition} offset {offset} is larger than the topic `{}` takes, even compressed: it was delivered without all \
             of its {}. Raise the topic's `max.message.bytes` to keep such letters whole",
            self.topic,
            cuts.join(", ")
        );
        self.metrics.cut(&cuts);
    }

    /// A letter was not taken. If it is too large, less of it goes again, before all others; any other failure is the task's.
    fn refused(&mut self, mut sending: Box<Sending>, error: &KafkaError) {
        if !is_too_large(error) {
            let bytes = sending.letter.value.as_ref().map_or(0, Vec::len);
            self.failed(&sending, &format!("{error}, for a value of {bytes} bytes"));
            return;
        }
        if let Err(error) = self.make_single() {
            self.failed(&sending, &format!("the producer for large letters does not start: {error}"));
            return;
        }
        let Sending { letter, form, .. } = &mut *sending;
        if !form.shrink(letter, self.context.is_some()) {
            let cuts = form.cuts(letter).join(", ");
            self.failed(
                &sending,
                &format!("{error}, even compressed and without its {cuts}; raise the topic's `max.message.bytes`"),
            );
            return;
        }
        if !form.has_value() {
            letter.value = None;
        }
        self.waiting.push_front(sending);
    }

    fn make_single(&mut self) -> Result<(), KafkaError> {
        if self.single.is_none() {
            let context = Deliveries { log: self.log.clone(), reports: Arc::clone(&self.reports) };
            self.single = Some(single(&self.client).create_with_context(context)?);
        }
        Ok(())
    }

    fn settled(&mut self, sending: &Sending) {
        self.held.resize(self.held.bytes() - sending.size);
        let Origin { partition, offset, .. } = &*sending.letter.origin;
        let Some(offsets) = self.outstanding.get_mut(partition) else { return };
        if let Some(letters) = offsets.get_mut(offset) {
            *letters -= 1;
            if *letters == 0 {
                offsets.remove(offset);
            }
        }
        if offsets.is_empty() {
            self.outstanding.remove(partition);
        }
    }

    fn failed(&mut self, sending: &Sending, error: &str) {
        self.settled(sending);
        self.metrics.failures.increment(1);
        let (topic, Origin { partition, offset, .. }) = (&self.topic, &*sending.letter.origin);
        self.failure.get_or_insert_with(|| {
            format!(
                "the dead letter of {partition} offset {offset} was not delivered to the topic `{topic}`: {error}; \
                 its offset stays uncommitted, so the record comes again once the topic takes it"
            )
        });
    }
}

/// Whether a letter, or the batch it was in, is larger than the client sends or the topic takes.
fn is_too_large(error: &KafkaError) -> bool {
    matches!(
        error,
        KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::MessageBatchTooLarge)
    )
}

/// Which letters the producers have settled: from their callbacks, which run within their `poll`, to the queue.
type Reports = Arc<Mutex<Vec<Report>>>;

struct Report {
    sending: Box<Sending>,
    failure: Option<KafkaError>,
}

/// A letter on its way: it goes through the producer, without its value while that has a copy, and comes back with the report.
struct Sending {
    letter: DeadLetter,
    form: Form,
    /// Of the whole letter, whatever is sent of it.
    size: usize,
}

/// A producer's callbacks.
struct Deliveries {
    log: KafkaLog,
    reports: Reports,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.log.line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.log.failure(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Sending>;

    fn delivery(&self, result: &DeliveryResult<'_>, mut sending: Box<Sending>) {
        let failure = result.as_ref().err().map(|(error, message)| {
            sending.letter.value = message.payload().map(<[u8]>::to_vec);
            error.clone()
        });
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.push(Report { sending, failure });
    }
}

/// The dead-letter topic, if the connector has one.
pub fn topic(config: &Config) -> Option<&str> {
    config.get(TOPIC).map(str::trim).filter(|topic| !topic.is_empty())
}

fn producer_client(base: &ClientConfig, config: &Config) -> Result<ClientConfig, Vec<ConfigError>> {
    let mut defaults = base.clone();
    // As Kafka Connect's producer places them.
    defaults.set("partitioner", "murmur2_random");
    defaults.set("message.max.bytes", LETTER_MAX.to_string()).set("linger.ms", "1");
    let mut client = kafka::client(&defaults, config, OVERRIDES)?;
    client.set("acks", "all").set("enable.idempotence", "true");
    Ok(client)
}

/// The same producer for letters that are too large: each is a batch of its own, for a topic's limit is one of batches, and compressed,
/// for the record may have come so. librdkafka's own limit is one of what is not compressed yet.
fn single(client: &ClientConfig) -> ClientConfig {
    let mut single = client.clone();
    single.set("batch.num.messages", "1").set("linger.ms", "0");
    // Two names of one setting.
    let compresses = |name| client.get(name).is_some_and(|codec| codec != "none");
    if !compresses("compression.codec") && !compresses("compression.type") {
        single.remove("compression.codec").set("compression.type", COMPRESSION);
    }
    if client
        .get("message.max.bytes")
        .and_then(|bytes| bytes.parse().ok())
        .is_none_or(|bytes: usize| bytes < LETTER_MAX)
    {
        single.set("message.max.bytes", LETTER_MAX.to_string());
    }
    single
}

/// Makes sure that the dead-letter topic is there, if the connector has one: a broker that creates topics by itself may do so;
/// otherwise, and whenever a replication factor is set, it is created with one partition, as Kafka Connect does.
/// Once `stop` is true it does not wait for the cluster any more.
pub fn ensure_topic(
    config: &Config,
    client: &ClientConfig,
    runtime: &Handle,
    stop: &watch::Receiver<bool>,
) -> Result<(), Vec<ConfigError>> {
    let Some(topic) = topic(config) else { return Ok(()) };
    let mut client = producer_client(client, config)?;
    let replication = config.int(REPLICATION).and_then(|factor| i32::try_from(factor).ok());
    client.set("allow.auto.create.topics", if replication.is_none() { "true" } else { "false" });
    let client = kafka::asking(&client);
    let log = KafkaLog::of_start(format!("connector {}, dead letters", config.name()), &client);
    let reports = Reports::default();
    let producer: BaseProducer<Deliveries> = client
        .create_with_context(Deliveries { log: log.clone(), reports })
        .map_err(|error| vec![kafka::rejected(config, OVERRIDES, &error)])?;
    let wrong = |problem: String| vec![config.error(TOPIC, problem)];

    let reach = Reach { log: &log, timeout: METADATA_TIMEOUT, stop };
    let metadata =
        reach.metadata(producer.client(), Some(topic), |timeout| producer.poll(timeout)).map_err(|problem| {
            wrong(format!("cannot ask the Kafka cluster at {} for the topic: {problem}", log.servers()))
        })?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    match found.and_then(MetadataTopic::error).map(RDKafkaErrorCode::from) {
        None => return Ok(()),
        // Being created: by the time of the first letter it is there.
        Some(RDKafkaErrorCode::LeaderNotAvailable) if replication.is_none() => return Ok(()),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::LeaderNotAvailable) => {}
        Some(other) => return Err(wrong(format!("the topic cannot be used: {other}"))),
    }

    let admin: AdminClient<KafkaLog> =
        client.create_with_context(log).map_err(|error| vec![kafka::rejected(config, OVERRIDES, &error)])?;
    // -1 is the broker's own default.replication.factor.
    let new = NewTopic::new(topic, 1, TopicReplication::Fixed(replication.unwrap_or(-1)));
    let options = AdminOptions::new().request_timeout(Some(METADATA_TIMEOUT));
    let failure = match runtime.block_on(admin.create_topics([&new], &options)) {
        Ok(results) => match results.into_iter().next() {
            None | Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => return Ok(()),
            Some(Err((_, error))) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    Err(wrong(format!(
        "the topic does not exist and cannot be created: {failure}; create it, or set `{REPLICATION}` to what the cluster can hold"
    )))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::time::Instant;

    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::message::Headers;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::DefaultProducerContext;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
    use rdkafka::{Offset, TopicPartitionList};

    use super::*;
    use crate::config::common::COMMON;

    type Cluster = MockCluster<'static, DefaultProducerContext>;

    fn cluster() -> (Cluster, ClientConfig) {
        let cluster = MockCluster::new(1).unwrap();
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", cluster.bootstrap_servers());
        (cluster, client)
    }

    fn config(more: &[(&str, &str)]) -> Config {
        let base = [("name", "raw"), ("connector.class", "S3"), ("topics", "t"), (TOPIC, "dlq")];
        let values = base.iter().chain(more).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Config::new("raw", &[COMMON], values).unwrap()
    }

    fn letter(offset: i64, row: Option<usize>) -> DeadLetter {
        DeadLetter {
            origin: Arc::new(Origin {
                partition: TopicPartition { topic: "t".into(), partition: 3 },
                offset,
                timestamp: Some(1_672_542_000_000),
                key: Some(b"10022".to_vec()),
                headers: vec![("h".into(), Some(b"1".to_vec())), ("h".into(), None)],
            }),
            value: Some(b"{broken".to_vec()),
            row,
            stage: Stage::ValueConverter,
            error_class: "fms_record::MessageError",
            error: "not JSON".into(),
            request_id: None,
        }
    }

    fn wait(queue: &mut DeadLetterQueue, end: i64) -> Result<(), SinkError> {
        let started = Instant::now();
        while !queue.acknowledged(&letter(0, None).origin.partition, end)? {
            assert!(started.elapsed() < Duration::from_secs(20), "no delivery report within 20 s");
            queue.producer.poll(Duration::from_millis(10));
        }
        Ok(())
    }

    fn read(client: &ClientConfig, count: usize) -> Vec<rdkafka::message::OwnedMessage> {
        let consumer: BaseConsumer =
            client.clone().set("group.id", "test").set("enable.auto.commit", "false").create().unwrap();
        let metadata = consumer.fetch_metadata(Some("dlq"), Duration::from_secs(5)).unwrap();
        let mut partitions = TopicPartitionList::new();
        for partition in metadata.topics()[0].partitions() {
            partitions.add_partition_offset("dlq", partition.id(), Offset::Beginning).unwrap();
        }
        consumer.assign(&partitions).unwrap();
        let mut messages = Vec::new();
        while messages.len() < count {
            messages.push(consumer.poll(Duration::from_secs(10)).expect("a message within 10 s").unwrap().detach());
        }
        messages
    }

    fn shown(message: &rdkafka::message::OwnedMessage) -> Vec<(String, Option<String>)> {
        let text = |value: Option<&[u8]>| value.map(|value| String::from_utf8(value.to_vec()).unwrap());
        message.headers().unwrap().iter().map(|header| (header.key.to_owned(), text(header.value))).collect()
    }

    #[test]
    fn a_letter_keeps_the_record_and_says_where_it_is_from_and_what_is_wrong() {
        let (_cluster, client) = cluster();
        let config = config(&[(HEADERS, "true")]);
        let budget = Budget::new(1 << 20);
        let mut queue = DeadLetterQueue::start(&config, 2, &client, &budget).unwrap().unwrap();
        queue.send(letter(17, None));
        assert!(budget.used() > 0);
        wait(&mut queue, 18).unwrap();
        assert_eq!(budget.used(), 0);
        let message = &read(&client, 1)[0];
        assert_eq!(message.key(), Some(&b"10022"[..]));
        assert_eq!(message.payload(), Some(&b"{broken"[..]));
        assert_eq!(message.timestamp().to_millis(), Some(1_672_542_000_000));
        let some = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
        assert_eq!(
            shown(message),
            [
                some("h", "1"),
                ("h".into(), None),
                some("__connect.errors.topic", "t"),
                some("__connect.errors.partition", "3"),
                some("__connect.errors.offset", "17"),
                some("__connect.errors.connector.name", "raw"),
                some("__connect.errors.task.id", "2"),
                some("__connect.errors.stage", "VALUE_CONVERTER"),
                some("__connect.errors.class.name", "fms_record::Parser"),
                some("__connect.errors.exception.class.name", "fms_record::MessageError"),
                some("__connect.errors.exception.message", "not JSON"),
            ]
        );
    }

    #[test]
    fn without_context_headers_only_a_rows_index_is_added() {
        let (_cluster, client) = cluster();
        let mut queue = DeadLetterQueue::start(&config(&[]), 0, &client, &Budget::new(1)).unwrap().unwrap();
        let tombstone = DeadLetter { value: None, ..letter(1, None) };
        queue.send(letter(0, Some(4)));
        queue.send(tombstone);
        wait(&mut queue, 2).unwrap();
        let messages = read(&client, 2);
        let own = [("h".to_owned(), Some("1".to_owned())), ("h".to_owned(), None)];
        assert_eq!(shown(&messages[0])[..2], own);
        assert_eq!(shown(&messages[0])[2..], [("__connect.errors.row.index".to_owned(), Some("4".to_owned()))]);
        assert_eq!(shown(&messages[1]), own);
        assert_eq!(messages[1].payload(), None);
    }

    #[test]
    fn letters_count_as_acknowledged_up_to_the_first_that_is_not() {
        let (cluster, client) = cluster();
        cluster.create_topic("dlq", 1, 1).unwrap();
        let mut queue = DeadLetterQueue::start(&config(&[]), 0, &client, &Budget::new(1)).unwrap().unwrap();
        let partition = letter(0, None).origin.partition.clone();
        cluster.broker_down(1).unwrap();
        assert!(queue.acknowledged(&partition, i64::MAX).unwrap());
        queue.send(letter(17, None));
        assert!(queue.acknowledged(&partition, 17).unwrap(), "the letter is of a later record");
        assert!(!queue.acknowledged(&partition, 18).unwrap(), "no broker has it");
        cluster.broker_up(1).unwrap();
        wait(&mut queue, 18).unwrap();
    }

    #[test]
    fn more_letters_than_the_producer_takes_wait_and_none_is_lost() {
        let (cluster, client) = cluster();
        cluster.create_topic("dlq", 1, 1).unwrap();
        let config = config(&[("producer.override.queue.buffering.max.messages", "3")]);
        let mut queue = DeadLetterQueue::start(&config, 0, &client, &Budget::new(1)).unwrap().unwrap();
        cluster.broker_down(1).unwrap();
        (0..10).for_each(|offset| queue.send(letter(offset, None)));
        assert!(!queue.waiting.is_empty());
        cluster.broker_up(1).unwrap();
        wait(&mut queue, 10).unwrap();
        assert!(queue.waiting.is_empty());
        assert_eq!(read(&client, 10).len(), 10);
    }

    #[test]
    fn a_letter_that_is_refused_fails_the_task_and_is_named() {
        let (cluster, client) = cluster();
        cluster.create_topic("dlq", 1, 1).unwrap();
        let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        cluster.request_errors(RDKafkaApiKey::Produce, &[refusal]);
        let mut queue = DeadLetterQueue::start(&config(&[]), 0, &client, &Budget::new(1)).unwrap().unwrap();
        queue.send(letter(17, None));
        let error = wait(&mut queue, 18).unwrap_err();
        insta::assert_snapshot!(error, @"the dead letter of t-3 offset 17 was not delivered to the topic `dlq`: Message production error: TopicAuthorizationFailed (Broker: Topic authorization failed), for a value of 7 bytes; its offset stays uncommitted, so the record comes again once the topic takes it");
        assert_eq!(queue.poll(), Err(error), "the task cannot go on");
    }

    /// A letter of which every part can be left out: in the order of their sizes value, headers, key.
    fn full_letter() -> DeadLetter {
        let mut letter = letter(17, Some(4));
        let origin = Arc::make_mut(&mut letter.origin);
        origin.headers = vec![("trace-id".into(), Some(b"4bf9".to_vec()))];
        DeadLetter { value: Some(b"{\"n\":1,\"text\":\"x\"}".to_vec()), error: "é".repeat(1000), ..letter }
    }

    /// What arrives of [`full_letter`] after so many refusals for its size, or the task's error; and the metrics.
    fn refused(times: usize, more: &[(&str, &str)]) -> (Result<String, SinkError>, String) {
        let (cluster, client) = cluster();
        cluster.create_topic("dlq", 1, 1).unwrap();
        let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
        cluster.request_errors(RDKafkaApiKey::Produce, &vec![refusal; times]);
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let _guard = ::metrics::set_default_local_recorder(&recorder);
        let budget = Budget::new(1 << 20);
        let mut queue = DeadLetterQueue::start(&config(more), 0, &client, &budget).unwrap().unwrap();
        queue.send(full_letter());
        let result = wait(&mut queue, 18);
        assert_eq!(budget.used(), 0, "nothing is held any more");
        let arrived = result.map(|()| {
            let message = &read(&client, 1)[0];
            let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            let headers = shown(message).into_iter().map(|(name, value)| {
                let value = value.unwrap_or_default();
                // As many as are kept of a long text.
                let value = if value.len() > 100 { format!("{} characters", value.chars().count()) } else { value };
                format!("\n  {}={value}", name.replace("__connect.errors.", "…"))
            });
            format!("key {:?}, value {:?}{}", text(message.key()), text(message.payload()), headers.collect::<String>())
        });
        (arrived, recorder.handle().render())
    }

    #[test]
    fn a_letter_that_is_too_large_is_delivered_with_less_and_less() {
        let arrived = |times| refused(times, &[(HEADERS, "true")]).0.unwrap();
        let whole = arrived(0);
        insta::assert_snapshot!(whole, @r#"
        key Some("10022"), value Some("{\"n\":1,\"text\":\"x\"}")
          trace-id=4bf9
          …topic=t
          …partition=3
          …offset=17
          …connector.name=raw
          …task.id=0
          …stage=VALUE_CONVERTER
          …class.name=fms_record::Parser
          …exception.class.name=fms_record::MessageError
          …exception.message=1000 characters
          …row.index=4
        "#);
        assert_eq!(arrived(1), whole, "compressed and by itself");
        assert_eq!(arrived(2), whole.replace("1000 characters", "129 characters"), "with a shorter text");
        insta::assert_snapshot!(arrived(3), @r#"
        key Some("10022"), value Some("{\"n\":1,\"text\":\"x\"}")
          trace-id=4bf9
          …row.index=4
        "#);
        insta::assert_snapshot!(arrived(4), @r#"
        key Some("10022"), value None
          trace-id=4bf9
          …topic=t
          …partition=3
          …offset=17
          …connector.name=raw
          …task.id=0
          …stage=VALUE_CONVERTER
          …class.name=fms_record::Parser
          …exception.class.name=fms_record::MessageError
          …exception.message=129 characters
          …row.index=4
          …value.size=18
          …value.sha256=f839ca279f4105d2625bf71e802443efa68c9b0b4fe1334f2ac0796b2ee7e278
        "#);
        insta::assert_snapshot!(arrived(5), @r#"
        key Some("10022"), value None
          …topic=t
          …partition=3
          …offset=17
          …connector.name=raw
          …task.id=0
          …stage=VALUE_CONVERTER
          …class.name=fms_record::Parser
          …exception.class.name=fms_record::MessageError
          …exception.message=129 characters
          …row.index=4
          …value.size=18
          …value.sha256=f839ca279f4105d2625bf71e802443efa68c9b0b4fe1334f2ac0796b2ee7e278
          …headers.size=12
        "#);
        insta::assert_snapshot!(arrived(6), @r#"
        key None, value None
          …topic=t
          …partition=3
          …offset=17
          …connector.name=raw
          …task.id=0
          …stage=VALUE_CONVERTER
          …class.name=fms_record::Parser
          …exception.class.name=fms_record::MessageError
          …exception.message=129 characters
          …row.index=4
          …value.size=18
          …value.sha256=f839ca279f4105d2625bf71e802443efa68c9b0b4fe1334f2ac0796b2ee7e278
          …headers.size=12
          …key.size=5
          …key.sha256=22167355cff64913077bb69aa8a1ca4d7f80442050d5c18a08598b2f0fa17d93
        "#);
    }

    #[test]
    fn without_context_headers_what_is_left_out_is_named_all_the_same() {
        insta::assert_snapshot!(refused(1, &[]).0.unwrap(), @r#"
        key Some("10022"), value Some("{\"n\":1,\"text\":\"x\"}")
          trace-id=4bf9
          …row.index=4
        "#);
        insta::assert_snapshot!(refused(2, &[]).0.unwrap(), @r#"
        key Some("10022"), value None
          trace-id=4bf9
          …topic=t
          …partition=3
          …offset=17
          …row.index=4
          …value.size=18
          …value.sha256=f839ca279f4105d2625bf71e802443efa68c9b0b4fe1334f2ac0796b2ee7e278
        "#);
    }

    #[test]
    fn a_topic_that_takes_no_letter_at_all_fails_the_task() {
        insta::assert_snapshot!(refused(7, &[(HEADERS, "true")]).0.unwrap_err(), @"the dead letter of t-3 offset 17 was not delivered to the topic `dlq`: Message production error: MessageSizeTooLarge (Broker: Message size too large), even compressed and without its error message, value, headers, key; raise the topic's `max.message.bytes`; its offset stays uncommitted, so the record comes again once the topic takes it");
    }

    #[test]
    fn what_is_cut_from_letters_is_counted() {
        let cut = |times| -> Vec<String> {
            let metrics = refused(times, &[(HEADERS, "true")]).1;
            metrics.lines().filter(|line| line.starts_with("fms_dead_letters_cut_total{")).map(str::to_owned).collect()
        };
        assert!(cut(1).is_empty(), "it is whole");
        let of = |cut| format!(r#"fms_dead_letters_cut_total{{connector="raw",task="0",cut="{cut}"}} 1"#);
        assert_eq!(cut(3), [of("context headers")]);
        let mut both = cut(4);
        both.sort();
        assert_eq!(both, [of("error message"), of("value")]);
    }

    #[test]
    fn the_largest_part_of_a_letter_is_left_out_first() {
        let mut letter = full_letter();
        Arc::make_mut(&mut letter.origin).key = Some(vec![b'k'; 100]);
        let mut form = Form::default();
        let cuts: Vec<_> = std::iter::from_fn(|| form.shrink(&letter, false).then(|| form.cuts(&letter))).collect();
        let expected: [&[&str]; 4] = [
            &[],
            &["error message", "key"],
            &["error message", "key", "value"],
            &["error message", "key", "value", "headers"],
        ];
        assert_eq!(cuts, expected);
    }

    /// A topic's limit is one of batches, so that letters are refused for those beside them.
    #[test]
    fn letters_of_a_batch_that_is_too_large_are_all_delivered_whole() {
        let (cluster, client) = cluster();
        cluster.create_topic("dlq", 1, 1).unwrap();
        let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
        cluster.request_errors(RDKafkaApiKey::Produce, &[refusal]);
        let config = config(&[("producer.override.linger.ms", "500"), ("producer.override.batch.num.messages", "10")]);
        let mut queue = DeadLetterQueue::start(&config, 0, &client, &Budget::new(1)).unwrap().unwrap();
        (0..10).for_each(|offset| queue.send(letter(offset, None)));
        wait(&mut queue, 10).unwrap();
        assert!(read(&client, 10).iter().all(|message| message.payload() == Some(b"{broken")));
    }

    #[test]
    fn a_letter_over_the_clients_own_limit_is_delivered_whole() {
        let (cluster, client) = cluster();
        cluster.create_topic("dlq", 1, 1).unwrap();
        let config = config(&[("producer.override.message.max.bytes", "1000")]);
        let mut queue = DeadLetterQueue::start(&config, 0, &client, &Budget::new(1)).unwrap().unwrap();
        queue.send(DeadLetter { value: Some(vec![b'x'; 5000]), ..letter(17, None) });
        wait(&mut queue, 18).unwrap();
        assert_eq!(read(&client, 1)[0].payload().map(<[u8]>::len), Some(5000));
    }

    #[test]
    fn letters_that_are_too_large_are_compressed_as_configured_or_at_all() {
        let of = |settings: &[(&str, &str)]| {
            let mut client = ClientConfig::new();
            for (key, value) in settings {
                client.set(*key, *value);
            }
            let single = single(&client);
            ["compression.codec", "compression.type", "message.max.bytes"].map(|key| single.get(key).map(str::to_owned))
        };
        let some = |value: &str| Some(value.to_owned());
        assert_eq!(of(&[]), [None, some("zstd"), some("100000000")]);
        assert_eq!(
            of(&[("compression.codec", "none"), ("message.max.bytes", "1000")]),
            [None, some("zstd"), some("100000000")]
        );
        assert_eq!(
            of(&[("compression.codec", "lz4"), ("message.max.bytes", "200000000")]),
            [some("lz4"), None, some("200000000")]
        );
        assert_eq!(of(&[("compression.type", "gzip")]), [None, some("gzip"), some("100000000")]);
    }

    /// A letter that was sent back to its topic and fails again says what is wrong now, and nothing of before.
    #[test]
    fn headers_of_an_earlier_error_give_way() {
        let (cluster, client) = cluster();
        cluster.create_topic("dlq", 1, 1).unwrap();
        let again = || {
            let mut letter = letter(17, None);
            let headers = &mut Arc::make_mut(&mut letter.origin).headers;
            for name in ["topic", "offset", "exception.message", "row.index", "value.sha256"] {
                headers.push((format!("__connect.errors.{name}"), Some(b"old".to_vec())));
            }
            letter
        };
        for context in ["true", "false"] {
            let config = config(&[(HEADERS, context)]);
            let mut queue = DeadLetterQueue::start(&config, 0, &client, &Budget::new(1)).unwrap().unwrap();
            queue.send(again());
            wait(&mut queue, 18).unwrap();
        }
        let letters: Vec<_> = read(&client, 2).iter().map(shown).collect();
        assert!(letters.iter().flatten().all(|(_, value)| value.as_deref() != Some("old")), "{letters:?}");
        assert_eq!(letters.iter().map(Vec::len).collect::<Vec<_>>(), [2 + 9, 2]);
    }

    #[test]
    fn the_id_of_the_call_that_refused_a_row_has_a_header_of_its_own() {
        let (cluster, client) = cluster();
        cluster.create_topic("dlq", 1, 1).unwrap();
        let mut queue =
            DeadLetterQueue::start(&config(&[(HEADERS, "true")]), 0, &client, &Budget::new(1)).unwrap().unwrap();
        queue.send(DeadLetter { request_id: Some("R1".into()), ..letter(17, Some(4)) });
        wait(&mut queue, 18).unwrap();
        let headers = shown(&read(&client, 1)[0]);
        assert!(headers.contains(&("__connect.errors.request.id".into(), Some("R1".into()))), "{headers:?}");
    }

    #[test]
    fn a_broker_that_creates_topics_creates_this_one() {
        let (_cluster, client) = cluster();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        ensure_topic(&config(&[]), &client, runtime.handle(), &watch::channel(false).1).unwrap();
        ensure_topic(&config(&[(REPLICATION, "1")]), &client, runtime.handle(), &watch::channel(false).1).unwrap();
    }
}
