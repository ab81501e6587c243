//! Messages as Kafka records, each of which has to be acknowledged by all replicas.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header as KafkaHeader, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};

use super::{Record, Target, TargetError};

/// How records are produced.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// `host:port`, several with commas between them.
    pub bootstrap_servers: String,
    /// A codec of Kafka: `none`, `gzip`, `snappy`, `lz4` or `zstd`.
    pub compression: String,
    /// More settings of librdkafka's producer, such as those of TLS.
    pub producer: Vec<(String, String)>,
}

/// The largest record in bytes that the client sends; it is over what crash reports need, so that the topic decides.
const MESSAGE_MAX: &str = "16000000";
/// How much waits in the client for its brokers, in KiB. The client sends no faster than they take it.
const QUEUE_MAX: &str = "65536";
/// How long the end of a run waits for its last acknowledgements. The client gives a record up after five minutes.
const FLUSH: Duration = Duration::from_secs(330);

/// Sends records to Kafka. The partition of a key is that of Java's producer.
pub struct Kafka {
    producer: BaseProducer<Callbacks>,
    servers: String,
}

/// What an error calls a record.
struct Name(Box<str>);

/// What the client says of records and brokers.
struct Callbacks {
    failure: Mutex<Option<TargetError>>,
    errors: AtomicU64,
}

impl Kafka {
    /// Starts a producer. The brokers need not answer yet.
    pub fn start(settings: &KafkaSettings) -> Result<Self, TargetError> {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &settings.bootstrap_servers)
            .set("client.id", "fms-simulate")
            .set("partitioner", "murmur2_random")
            .set("compression.type", &settings.compression)
            .set("message.max.bytes", MESSAGE_MAX)
            .set("queue.buffering.max.kbytes", QUEUE_MAX)
            .set("queue.buffering.max.messages", "1000000")
            .set("linger.ms", "20");
        for (name, value) in &settings.producer {
            client.set(name, value);
        }
        client.set("acks", "all").set("enable.idempotence", "true");
        let callbacks = Callbacks { failure: Mutex::default(), errors: AtomicU64::new(0) };
        let servers = settings.bootstrap_servers.clone();
        match client.create_with_context(callbacks) {
            Ok(producer) => Ok(Self { producer, servers }),
            Err(error) => Err(TargetError::Start { servers, error }),
        }
    }

    /// The failure of a record that was sent before, if there is one.
    fn failure(&self) -> Result<(), TargetError> {
        let mut failure = self.producer.context().failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take().map_or(Ok(()), Err)
    }
}

impl Target for Kafka {
    fn send(&mut self, sent: &Record<'_>) -> Result<(), TargetError> {
        let topic = sent.topic;
        let mut record =
            BaseRecord::<[u8], [u8], _>::with_opaque_to(topic, Box::new(Name(sent.name.into()))).timestamp(sent.at);
        if let Some(key) = sent.key {
            record = record.key(key);
        }
        if let Some(value) = sent.value {
            record = record.payload(value);
        }
        if !sent.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(sent.headers.len());
            record =
                record.headers(sent.headers.iter().fold(headers, |headers, (key, value)| {
                    headers.insert(KafkaHeader { key, value: value.as_deref() })
                }));
        }
        loop {
            match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(Duration::from_millis(50));
                    self.failure()?;
                }
                Err((error, back)) => return Err(not_delivered(&back.delivery_opaque, topic, error)),
            }
        }
        self.producer.poll(Duration::ZERO);
        self.failure()
    }

    fn finish(&mut self) -> Result<(), TargetError> {
        let flushed = self.producer.flush(FLUSH);
        self.failure()?;
        flushed.map_err(|error| TargetError::OnTheWay {
            left: self.producer.in_flight_count(),
            servers: self.servers.clone(),
            seconds: FLUSH.as_secs(),
            error,
        })
    }

    fn errors(&self) -> u64 {
        self.producer.context().errors.load(Ordering::Relaxed)
    }
}

impl ClientContext for Callbacks {
    fn error(&self, _error: KafkaError, _reason: &str) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }
}

impl ProducerContext for Callbacks {
    /// The name of the record.
    type DeliveryOpaque = Box<Name>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Self::DeliveryOpaque) {
        if let Err((error, record)) = result {
            let failure = not_delivered(&sent, record.topic(), error.clone());
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
        }
    }
}

fn not_delivered(name: &Name, topic: &str, error: KafkaError) -> TargetError {
    let advice = match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            "create the topic, or look at --topic"
        }
        Some(RDKafkaErrorCode::MessageTimedOut) => "look at --bootstrap-servers, and whether the brokers are up",
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
            "raise max.message.bytes of the topic, or leave vehicle/crash out"
        }
        _ => "look at the brokers, and begin again with --from",
    };
    let name = name.0.to_string();
    TargetError::NotDelivered { name, topic: topic.to_owned(), error: Box::new(error), advice }
}
