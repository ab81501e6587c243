//! Where messages are sent.

mod arrivals;
mod fixture;
mod kafka;
mod lines;
mod mqtt;
mod template;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rdkafka::error::KafkaError;
use thiserror::Error;

use crate::Message;

pub use fixture::Fixture;
pub use kafka::{Kafka, KafkaSettings};
pub use lines::Lines;
pub use mqtt::{Broker, Mqtt, MqttSettings};
pub(crate) use template::FIELDS;
pub use template::{Template, TemplateError};

/// A name with its value, as a record has them beside its own value.
pub type Header = (String, Option<Vec<u8>>);

/// What is sent, in the form of a Kafka record. A target that knows no keys, times or headers leaves them out.
#[derive(Debug, Clone, Copy)]
pub struct Record<'r> {
    /// The topic.
    pub topic: &'r str,
    /// The key.
    pub key: Option<&'r [u8]>,
    /// Its time, in milliseconds since the Unix epoch.
    pub at: i64,
    /// The value. `None` is a tombstone.
    pub value: Option<&'r [u8]>,
    /// Its headers, in their order.
    pub headers: &'r [Header],
    /// Whether the value is one JSON value on one line.
    pub is_json: bool,
    /// What an error calls it, such as `message 01M8 of vehicle 10004`.
    pub name: &'r str,
}

/// How long a run that has to stop waits for a target that takes nothing, and for what is on its way to it.
pub(crate) const GRACE: Duration = Duration::from_secs(5);
/// How long a target waits before it asks again whether it has to stop.
pub(crate) const NAP: Duration = Duration::from_millis(50);

/// What has not arrived, although it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Missing {
    /// The numbers of the records, from 0 in the order in which they were sent.
    pub numbers: Vec<u64>,
    /// Of how many of them nobody knows whether they have arrived: the target had them and did not answer.
    pub uncertain: u64,
}

/// Where messages are sent.
pub trait Target {
    /// Sends a record. It may be on its way only, until [`Target::finish`] says that all have arrived.
    ///
    /// # Errors
    ///
    /// [`TargetError::Stopped`] if the target takes nothing and `stops` says that the run has to stop: the record was not
    /// sent. Any other error ends the run, and [`Target::missing`] says what has not arrived.
    fn send(&mut self, record: &Record<'_>, stops: &dyn Fn() -> bool) -> Result<(), TargetError>;

    /// Waits until everything has arrived.
    ///
    /// # Errors
    ///
    /// [`TargetError::Stopped`] if something is still on its way some seconds after `stops` has said so.
    fn finish(&mut self, stops: &dyn Fn() -> bool) -> Result<(), TargetError>;

    /// All records before the one of this number have arrived. A target that says nothing else takes each at once.
    fn arrived(&self) -> u64 {
        u64::MAX
    }

    /// Gives up what is on its way, and says what has not arrived. Nothing is sent after that.
    fn missing(&mut self) -> Missing {
        Missing::default()
    }

    /// How often sending failed and is tried again.
    fn errors(&self) -> u64 {
        0
    }
}

/// Why messages did not arrive.
#[derive(Debug, Error)]
pub enum TargetError {
    /// The run has to stop, and the target takes nothing.
    #[error("the run was stopped while its messages were on their way")]
    Stopped,
    /// A file or a folder could not be written.
    #[error("cannot write {}: {error}; the messages before are written", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A line cannot hold what is no text.
    #[error("{what} of {name} is no text, which a line of {} cannot hold; send it to Kafka", path.display())]
    NoText {
        /// Which message it is.
        name: String,
        /// What of it.
        what: String,
        /// The file.
        path: PathBuf,
    },
    /// Nobody reads the standard output any more.
    #[error("nobody reads the output any more")]
    Closed,
    /// The producer was not created.
    #[error("cannot start a Kafka producer for {servers}: {error}; look at --bootstrap-servers and --producer")]
    Start {
        /// The servers.
        servers: String,
        /// Why.
        error: KafkaError,
    },
    /// A message was not delivered.
    #[error("{name} was not delivered to topic {topic}: {error}; {advice}")]
    NotDelivered {
        /// Which message it is.
        name: String,
        /// The topic.
        topic: String,
        /// Why.
        error: Box<KafkaError>,
        /// What to do about it.
        advice: &'static str,
    },
    /// Messages are still on their way after a long time.
    #[error("{left} messages are still on their way to {servers} after {seconds} s: {error}; look at the brokers")]
    OnTheWay {
        /// How many.
        left: i32,
        /// The servers.
        servers: String,
        /// How long was waited.
        seconds: u64,
        /// What the client says.
        error: KafkaError,
    },
    /// A file of TLS could not be used.
    #[error("cannot use {what}: {problem}")]
    Tls {
        /// Which option names it.
        what: &'static str,
        /// Why.
        problem: String,
    },
    /// An MQTT broker did not take messages.
    #[error("{left} messages are not acknowledged by {broker}: {problem}; {advice}")]
    Mqtt {
        /// How many.
        left: usize,
        /// The broker.
        broker: String,
        /// Why.
        problem: String,
        /// What to do about it.
        advice: &'static str,
    },
    /// A name that is none of an MQTT topic.
    #[error(
        "{name} cannot be published to `{topic}`: the topic is empty or has `+`, `#` or a null character; look at --topic"
    )]
    NoMqttTopic {
        /// Which message it is.
        name: String,
        /// The topic.
        topic: String,
    },
}

impl Message {
    /// Sends the message. Its key is the `id` of its vehicle.
    ///
    /// # Errors
    ///
    /// Those of [`Target::send`].
    pub fn send(
        &self,
        target: &mut dyn Target,
        topic: &Template,
        headers: &[Header],
        stops: &dyn Fn() -> bool,
    ) -> Result<(), TargetError> {
        let (key, name) = (self.id.to_string(), self.to_string());
        let (object, kind, command) = self.protocol.names();
        let topic = topic.of([object, kind, command, &key]);
        let (key, value) = (Some(key.as_bytes()), self.value.as_deref());
        let record = Record { topic: &topic, key, at: self.at, value, headers, is_json: self.is_json, name: &name };
        target.send(&record, stops)
    }
}
