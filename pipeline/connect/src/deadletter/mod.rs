//! The dead-letter queue: a record that cannot be stored is produced to a topic, and acknowledged there before any
//! offset behind it is committed.
//!
//! Dead letters are delivered at least once: a crash between the acknowledgement and the commit repeats them. A letter
//! keeps the key, headers and timestamp of its record. Its value is that of the record; if only one row is wrong, it is
//! the text of that row, and the header `__connect.errors.row.index` says which row of the record it is.
//!
//! The other `__connect.errors.*` headers are those of Kafka Connect and are written with
//! `errors.deadletterqueue.context.headers.enable`. Two differ: `exception.stacktrace` is left out, for there is no
//! stack trace, and `request.id`, by which AWS finds the call that refused a row, is not known to Kafka Connect. A
//! record that has such headers is a letter that was sent back to its topic: they describe an earlier error, and the
//! new ones replace them.
//!
//! A letter that is larger than its topic allows does not stop the task: as much of it is sent as the topic takes, see
//! [`form`].

mod form;
mod letter;
mod producer;
mod topic;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord};
use tracing::warn;

use self::form::{ContextHeaders, LetterForm};
pub use self::letter::{DeadLetter, ErrorStage};
use self::producer::{
    DeliveryReport, OVERRIDES, ProducerCallbacks, Reports, Sending, is_too_large, producer_client, single,
};
pub(crate) use self::topic::ensure_topic;
use crate::config::common::dead_letter_topic;
use crate::kafka::{self, KafkaLog};
use crate::metrics::LetterMetrics;
use crate::{Budget, Config, ConfigError, Origin, Reservation, SinkError, TopicPartition};

const HEADERS: &str = "errors.deadletterqueue.context.headers.enable";

/// The bytes that may be on their way to the broker. More letters wait in the task, so that librdkafka holds no more of
/// the budget than this.
const IN_FLIGHT: usize = 4 << 20;

/// The dead-letter queue of one task.
///
/// [`send`](Self::send) never blocks and never loses a letter. The letters that it holds count in the task's budget,
/// and over that no more records are taken.
pub struct DeadLetterQueue {
    topic: String,
    context: Option<ContextHeaders>,
    producer: BaseProducer<ProducerCallbacks>,
    /// Sends the letters that are too large for `producer`: it compresses, and puts each of them into a batch of its
    /// own. It is created for the first such letter.
    single: Option<BaseProducer<ProducerCallbacks>>,
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
    /// The dead-letter queue of task `task`, if the connector has one. `client` is what the worker's producers have in
    /// common. The topic has to exist: the worker creates it when it starts.
    pub fn start(
        config: &Config,
        task: u32,
        client: &ClientConfig,
        budget: &Budget,
    ) -> Result<Option<Self>, Vec<ConfigError>> {
        let Some(topic) = dead_letter_topic(config) else { return Ok(None) };
        let client = producer_client(client, config)?;
        let reports = Reports::default();
        let log = KafkaLog::new(format!("connector {}, task {task}, dead letters", config.name()), &client);
        let producer = client
            .create_with_context(ProducerCallbacks { log: log.clone(), reports: Arc::clone(&reports) })
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

    /// Takes a letter. It is sent now, or as soon as there is room.
    pub fn send(&mut self, letter: DeadLetter) {
        self.metrics.requests.increment(1);
        let offsets = self.outstanding.entry(letter.origin.partition.clone()).or_default();
        *offsets.entry(letter.origin.offset).or_default() += 1;
        let size = letter.size();
        self.held.grow(size);
        self.waiting.push_back(Box::new(Sending { letter, form: LetterForm::default(), size }));
        self.produce();
    }

    /// Whether every letter of a record of this partition before `end` is acknowledged by all in-sync replicas.
    ///
    /// An error is final: a letter could not be delivered within the producer's `delivery.timeout.ms`, so the offset
    /// behind it must not be committed.
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
        for DeliveryReport { sending, failure } in reports {
            self.in_flight -= sending.size;
            match failure {
                None => self.delivered(&sending),
                Some(error) => self.refused(sending, &error),
            }
        }
        self.produce();
        match &self.failure {
            Some(failure) => Err(SinkError::fatal(failure.clone())),
            None => Ok(()),
        }
    }

    fn produce(&mut self) {
        while let Some(sending) = self.waiting.front() {
            // A letter that is larger than the limit is sent when no other is on its way.
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

    /// Gives a letter to the producer that its form needs. With an error, the letter comes back.
    fn try_send(&self, mut sending: Box<Sending>) -> Result<(), (KafkaError, Box<Sending>)> {
        let producer = self.single.as_ref().filter(|_| sending.form.is_alone()).unwrap_or(&self.producer);
        let origin = Arc::clone(&sending.letter.origin);
        let headers = sending.form.headers(&sending.letter, self.context.as_ref());
        let has_key = sending.form.has_key();
        // The producer copies the value. Until it reports, its copy is the only one.
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
            "the dead letter of {partition} offset {offset} is larger than the topic `{}` accepts, even when it is \
             compressed, so it was delivered without all of its {}. Raise the topic's `max.message.bytes` to keep such \
             letters whole",
            self.topic,
            cuts.join(", ")
        );
        self.metrics.cut(&cuts);
    }

    /// A letter was not taken. If it is too large, less of it is sent next, before all others; any other failure fails
    /// the task.
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
            let context = ProducerCallbacks { log: self.log.clone(), reports: Arc::clone(&self.reports) };
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
                 the offset is not committed, so the task reads the record again when it restarts"
            )
        });
    }
}
