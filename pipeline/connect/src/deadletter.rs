//! The dead-letter queue: what cannot be stored is produced to a topic and acknowledged before the offset behind it is committed.
//!
//! Dead letters are at least once: a crash between the acknowledgement and the commit repeats them. A letter keeps the record's
//! key, headers and timestamp; its value is the record's bytes, or the text of the one row that is wrong, and then the header
//! `__connect.errors.row.index` says which row of the record it was. The other `__connect.errors.*` headers are Kafka Connect's and
//! come with `errors.deadletterqueue.context.headers.enable`; `exception.stacktrace` has no counterpart here and is left out.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, Message};
use tokio::runtime::Handle;

use crate::kafka::{self, KafkaLog};
use crate::metrics::LetterMetrics;
use crate::{Budget, Config, ConfigError, Origin, Reservation, SinkError, TopicPartition};

const TOPIC: &str = "errors.deadletterqueue.topic.name";
const REPLICATION: &str = "errors.deadletterqueue.topic.replication.factor";
const HEADERS: &str = "errors.deadletterqueue.context.headers.enable";
const OVERRIDES: &str = "producer.override.";

/// Bytes that may be on their way to the broker; more wait in the task, so that librdkafka holds no more than this of the budget.
const IN_FLIGHT: usize = 4 << 20;
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
    reports: Reports,
    waiting: VecDeque<DeadLetter>,
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
        let context = Deliveries {
            log: KafkaLog::new(format!("connector {}, task {task}, dead letters", config.name()), &client),
            reports: Arc::clone(&reports),
        };
        let producer =
            client.create_with_context(context).map_err(|error| vec![kafka::rejected(config, OVERRIDES, &error)])?;
        Ok(Some(Self {
            topic: topic.into(),
            context: config.bool(HEADERS).then(|| ContextHeaders {
                connector: config.name().into(),
                task: task.to_string(),
                converter: config.get("value.converter").unwrap_or("fms_record::Parser").into(),
                sink: config.text("connector.class").into(),
            }),
            producer,
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
        self.held.grow(letter.size());
        self.waiting.push_back(letter);
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
        let reports = std::mem::take(&mut *self.reports.lock().unwrap_or_else(PoisonError::into_inner));
        for Report { ticket, failure } in reports {
            self.in_flight -= ticket.size;
            self.settled(&ticket);
            if let Some(error) = failure {
                self.failed(&ticket, &error);
            }
        }
        self.produce();
        match &self.failure {
            Some(failure) => Err(SinkError::Fatal(failure.clone())),
            None => Ok(()),
        }
    }

    fn produce(&mut self) {
        while let Some(letter) = self.waiting.front() {
            let size = letter.size();
            // A letter larger than the limit goes alone.
            if self.in_flight > 0 && self.in_flight + size > IN_FLIGHT {
                return;
            }
            let origin = &letter.origin;
            let ticket = Ticket { partition: origin.partition.clone(), offset: origin.offset, size };
            let headers = headers(letter, self.context.as_ref());
            let mut record = BaseRecord::with_opaque_to(&self.topic, Box::new(ticket)).headers(headers);
            record.key = origin.key.as_ref();
            record.payload = letter.value.as_ref();
            record.timestamp = origin.timestamp;
            match self.producer.send(record) {
                Ok(()) => {
                    self.in_flight += size;
                    self.waiting.pop_front();
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => return,
                Err((error, BaseRecord { delivery_opaque: ticket, .. })) => {
                    self.waiting.pop_front();
                    self.settled(&ticket);
                    self.failed(&ticket, &error.to_string());
                }
            }
        }
    }

    fn settled(&mut self, ticket: &Ticket) {
        self.held.resize(self.held.bytes() - ticket.size);
        let Some(offsets) = self.outstanding.get_mut(&ticket.partition) else { return };
        if let Some(letters) = offsets.get_mut(&ticket.offset) {
            *letters -= 1;
            if *letters == 0 {
                offsets.remove(&ticket.offset);
            }
        }
        if offsets.is_empty() {
            self.outstanding.remove(&ticket.partition);
        }
    }

    fn failed(&mut self, ticket: &Ticket, error: &str) {
        self.metrics.failures.increment(1);
        let (topic, partition, offset) = (&self.topic, &ticket.partition, ticket.offset);
        self.failure.get_or_insert_with(|| {
            format!(
                "the dead letter of {partition} offset {offset} was not delivered to the topic `{topic}`: {error}; \
                 its offset stays uncommitted, so the record comes again once the topic takes it"
            )
        });
    }
}

/// Which letters the producer has settled: from its callbacks, which run within its `poll`, to the queue.
type Reports = Arc<Mutex<Vec<Report>>>;

struct Report {
    ticket: Ticket,
    failure: Option<String>,
}

/// What goes with a letter through the producer.
struct Ticket {
    partition: TopicPartition,
    offset: i64,
    size: usize,
}

/// The producer's callbacks.
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
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let failure = result.as_ref().err().map(|(error, letter)| {
            format!("{error}, for a value of {} bytes", letter.payload().map_or(0, <[u8]>::len))
        });
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.push(Report { ticket: *ticket, failure });
    }
}

/// What the context headers say of the task.
struct ContextHeaders {
    connector: String,
    task: String,
    converter: String,
    sink: String,
}

/// The record's own headers, then those about the error.
fn headers(letter: &DeadLetter, context: Option<&ContextHeaders>) -> OwnedHeaders {
    let origin = &letter.origin;
    let mut headers = OwnedHeaders::new_with_capacity(origin.headers.len() + 11);
    for (key, value) in &origin.headers {
        headers = headers.insert(Header { key, value: value.as_ref() });
    }
    let mut insert = |name: &str, value: &str| {
        let key = format!("__connect.errors.{name}");
        headers = std::mem::take(&mut headers).insert(Header { key: &key, value: Some(value) });
    };
    if let Some(context) = context {
        let class = match letter.stage {
            Stage::ValueConverter => &context.converter,
            Stage::Transformation => "converter.update.fields.template",
            Stage::TaskPut => &context.sink,
        };
        insert("topic", &origin.partition.topic);
        insert("partition", &origin.partition.partition.to_string());
        insert("offset", &origin.offset.to_string());
        insert("connector.name", &context.connector);
        insert("task.id", &context.task);
        insert("stage", letter.stage.name());
        insert("class.name", class);
        insert("exception.class.name", letter.error_class);
        insert("exception.message", &letter.error);
    }
    // Without it, the text of a row could not be told from a message.
    if let Some(row) = letter.row {
        insert("row.index", &row.to_string());
    }
    headers
}

/// The dead-letter topic, if the connector has one.
pub fn topic(config: &Config) -> Option<&str> {
    config.get(TOPIC).map(str::trim).filter(|topic| !topic.is_empty())
}

fn producer_client(base: &ClientConfig, config: &Config) -> Result<ClientConfig, Vec<ConfigError>> {
    let mut defaults = base.clone();
    // As Kafka Connect's producer places them.
    defaults.set("partitioner", "murmur2_random");
    // The topic's own limit decides, not the client's: what was read may be larger than the client's default.
    defaults.set("message.max.bytes", "100000000").set("linger.ms", "1");
    let mut client = kafka::client(&defaults, config, OVERRIDES)?;
    client.set("acks", "all").set("enable.idempotence", "true");
    Ok(client)
}

/// Makes sure that the dead-letter topic is there, if the connector has one: a broker that creates topics by itself may do so;
/// otherwise, and whenever a replication factor is set, it is created with one partition, as Kafka Connect does.
pub fn ensure_topic(config: &Config, client: &ClientConfig, runtime: &Handle) -> Result<(), Vec<ConfigError>> {
    let Some(topic) = topic(config) else { return Ok(()) };
    let mut client = producer_client(client, config)?;
    let replication = config.int(REPLICATION).and_then(|factor| i32::try_from(factor).ok());
    client.set("allow.auto.create.topics", if replication.is_none() { "true" } else { "false" });
    let log = KafkaLog::new(format!("connector {}, dead letters", config.name()), &client);
    let reports = Reports::default();
    let producer: BaseProducer<Deliveries> = client
        .create_with_context(Deliveries { log: log.clone(), reports })
        .map_err(|error| vec![kafka::rejected(config, OVERRIDES, &error)])?;
    let wrong = |problem: String| vec![config.error(TOPIC, problem)];

    let metadata = producer.client().fetch_metadata(Some(topic), METADATA_TIMEOUT).map_err(|error| {
        let servers = client.get("bootstrap.servers").unwrap_or_default();
        wrong(format!("cannot ask the Kafka cluster at {servers} for the topic: {error}"))
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
        let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
        cluster.request_errors(RDKafkaApiKey::Produce, &[refusal]);
        let mut queue = DeadLetterQueue::start(&config(&[]), 0, &client, &Budget::new(1)).unwrap().unwrap();
        queue.send(letter(17, None));
        let error = wait(&mut queue, 18).unwrap_err();
        insta::assert_snapshot!(error, @"the dead letter of t-3 offset 17 was not delivered to the topic `dlq`: Message production error: MessageSizeTooLarge (Broker: Message size too large), for a value of 7 bytes; its offset stays uncommitted, so the record comes again once the topic takes it");
        assert_eq!(queue.poll(), Err(error), "the task cannot go on");
    }

    #[test]
    fn a_broker_that_creates_topics_creates_this_one() {
        let (_cluster, client) = cluster();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        ensure_topic(&config(&[]), &client, runtime.handle()).unwrap();
        ensure_topic(&config(&[(REPLICATION, "1")]), &client, runtime.handle()).unwrap();
    }
}
