//! The producers of dead letters: their settings, and the reports of their deliveries.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, Message as _};

use super::form::LetterForm;
use super::letter::DeadLetter;
use crate::kafka::{self, KafkaLog};
use crate::{Config, ConfigError};

/// What the keys begin with that are settings of a connector's producers.
pub(super) const OVERRIDES: &str = "producer.override.";

/// The largest letter that a client sends, in bytes before compression. It is larger than the client's default, which
/// records may exceed, so that the topic's limit decides. A broker with default settings closes the connection at a
/// request of 104,857,600 bytes.
const LETTER_MAX: usize = 100_000_000;
/// The codec for letters that are too large without compression, if the producer does not compress already.
const COMPRESSION: &str = "zstd";
/// The settings of the producer: those of all connectors, those of this one, and what the delivery of letters depends
/// on.
pub(super) fn producer_client(base: &ClientConfig, config: &Config) -> Result<ClientConfig, Vec<ConfigError>> {
    let mut defaults = base.clone();
    // Kafka Connect's producer chooses partitions in this way.
    defaults.set("partitioner", "murmur2_random");
    defaults.set("message.max.bytes", LETTER_MAX.to_string()).set("linger.ms", "1");
    let mut client = kafka::client(&defaults, config, OVERRIDES)?;
    client.set("acks", "all").set("enable.idempotence", "true");
    Ok(client)
}

/// The settings of a producer for letters that are too large for the other one. Each letter is a batch of its own,
/// because the limit of a topic is one of batches, and it is compressed, because its record may have been. librdkafka's
/// own limit is one of uncompressed bytes.
pub(super) fn single(client: &ClientConfig) -> ClientConfig {
    let mut single = client.clone();
    single.set("batch.num.messages", "1").set("linger.ms", "0");
    // The two names are of one setting.
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

/// Whether the error says that a letter, or the batch that it was in, is larger than the client or the topic allows.
pub(super) fn is_too_large(error: &KafkaError) -> bool {
    matches!(
        error,
        KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::MessageBatchTooLarge)
    )
}

/// The letters that the producers have settled. Their callbacks, which run within their `poll`, write it, and the queue
/// reads it.
pub(super) type Reports = Arc<Mutex<Vec<DeliveryReport>>>;

/// What has become of a letter.
pub(super) struct DeliveryReport {
    pub sending: Box<Sending>,
    /// Why it was not delivered.
    pub failure: Option<KafkaError>,
}

/// A letter on its way. It goes through the producer and comes back with the report; meanwhile it has no value, for the
/// producer has a copy.
pub(super) struct Sending {
    pub letter: DeadLetter,
    pub form: LetterForm,
    /// The size of the whole letter, whatever part of it is sent.
    pub size: usize,
}

/// The callbacks of a producer.
pub(super) struct ProducerCallbacks {
    pub log: KafkaLog,
    pub reports: Reports,
}

impl ClientContext for ProducerCallbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.log.line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.log.failure(&error, reason);
    }
}

impl ProducerContext for ProducerCallbacks {
    type DeliveryOpaque = Box<Sending>;

    fn delivery(&self, result: &DeliveryResult<'_>, mut sending: Box<Sending>) {
        let failure = result.as_ref().err().map(|(error, message)| {
            sending.letter.value = message.payload().map(<[u8]>::to_vec);
            error.clone()
        });
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.push(DeliveryReport { sending, failure });
    }
}
