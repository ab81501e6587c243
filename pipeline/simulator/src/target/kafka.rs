//! Messages as Kafka records, each of which has to be acknowledged by all replicas.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header as KafkaHeader, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig};
use rdkafka::{ClientConfig, ClientContext};

use super::arrivals::Arrivals;
use super::{GRACE, Missing, NAP, Record, Target, TargetError};

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
    /// How many records the client has taken.
    sent: u64,
}

/// A record on its way: its number, and what an error calls it.
struct OnTheWay {
    number: u64,
    name: Box<str>,
}

/// What the client says of records and brokers.
struct Callbacks {
    failure: Mutex<Option<TargetError>>,
    arrivals: Mutex<Arrivals>,
    /// How many records were lost that a broker may have got.
    uncertain: AtomicU64,
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
        let callbacks = Callbacks {
            failure: Mutex::default(),
            arrivals: Mutex::default(),
            uncertain: AtomicU64::new(0),
            errors: AtomicU64::new(0),
        };
        let servers = settings.bootstrap_servers.clone();
        match client.create_with_context(callbacks) {
            Ok(producer) => Ok(Self { producer, servers, sent: 0 }),
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
    fn send(&mut self, sent: &Record<'_>, stops: &dyn Fn() -> bool) -> Result<(), TargetError> {
        // The record is taken only if those before it are well, so that whoever counts records counts as this does.
        self.producer.poll(Duration::ZERO);
        self.failure()?;
        let topic = sent.topic;
        let on_the_way = Box::new(OnTheWay { number: self.sent, name: sent.name.into() });
        let mut record = BaseRecord::<[u8], [u8], _>::with_opaque_to(topic, on_the_way).timestamp(sent.at);
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
        let begin = Instant::now();
        loop {
            match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(NAP);
                    self.failure()?;
                    if stops() && begin.elapsed() > GRACE {
                        return Err(TargetError::Stopped);
                    }
                }
                Err((error, back)) => return Err(not_delivered(&back.delivery_opaque, topic, error)),
            }
        }
        self.sent += 1;
        Ok(())
    }

    fn finish(&mut self, stops: &dyn Fn() -> bool) -> Result<(), TargetError> {
        let begin = Instant::now();
        let mut stopped: Option<Instant> = None;
        loop {
            let flushed = self.producer.flush(NAP);
            self.failure()?;
            let Err(error) = flushed else { return Ok(()) };
            if stops() && stopped.get_or_insert_with(Instant::now).elapsed() > GRACE {
                return Err(TargetError::Stopped);
            }
            if begin.elapsed() > FLUSH {
                let (left, servers) = (self.producer.in_flight_count(), self.servers.clone());
                return Err(TargetError::OnTheWay { left, servers, seconds: FLUSH.as_secs(), error });
            }
        }
    }

    fn arrived(&self) -> u64 {
        self.producer.context().arrivals().first_missing()
    }

    fn missing(&mut self) -> Missing {
        // What brokers have is waited for, and what they do not have yet is not given to them any more.
        self.producer.purge(PurgeConfig::default().queue());
        let _is_known_below = self.producer.flush(GRACE);
        self.producer.purge(PurgeConfig::default().queue().inflight());
        let _is_known_below = self.producer.flush(GRACE);
        let context = self.producer.context();
        Missing { numbers: context.arrivals().missing(self.sent), uncertain: context.uncertain.load(Ordering::Relaxed) }
    }

    fn errors(&self) -> u64 {
        self.producer.context().errors.load(Ordering::Relaxed)
    }
}

impl Callbacks {
    fn arrivals(&self) -> MutexGuard<'_, Arrivals> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Callbacks {
    fn error(&self, _error: KafkaError, _reason: &str) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }
}

impl ProducerContext for Callbacks {
    type DeliveryOpaque = Box<OnTheWay>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Self::DeliveryOpaque) {
        let Err((error, record)) = result else { return self.arrivals().add(sent.number) };
        let code = error.rdkafka_error_code();
        if matches!(code, Some(RDKafkaErrorCode::PurgeInflight | RDKafkaErrorCode::MessageTimedOut)) {
            self.uncertain.fetch_add(1, Ordering::Relaxed);
        }
        // What was given up is no failure of its own.
        if !matches!(code, Some(RDKafkaErrorCode::PurgeInflight | RDKafkaErrorCode::PurgeQueue)) {
            let failure = not_delivered(&sent, record.topic(), error.clone());
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
        }
    }
}

fn not_delivered(sent: &OnTheWay, topic: &str, error: KafkaError) -> TargetError {
    let advice = match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            "create the topic, or look at --topic"
        }
        Some(RDKafkaErrorCode::MessageTimedOut) => "look at --bootstrap-servers, and whether the brokers are up",
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
            "raise max.message.bytes of the topic, or leave vehicle/crash out"
        }
        _ => "look at the brokers",
    };
    let name = sent.name.to_string();
    TargetError::NotDelivered { name, topic: topic.to_owned(), error: Box::new(error), advice }
}
