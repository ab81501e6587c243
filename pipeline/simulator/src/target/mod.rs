//! Where messages are sent.

mod fixture;
mod kafka;
mod lines;

use std::io;
use std::path::PathBuf;

use rdkafka::error::KafkaError;
use thiserror::Error;

use crate::{Message, Protocol};

pub use fixture::Fixture;
pub use kafka::{Kafka, KafkaSettings};
pub use lines::Lines;

/// Where messages are sent.
pub trait Target {
    /// Sends a message. It may be on its way only, until [`Target::finish`] says that all have arrived.
    fn send(&mut self, topic: &str, message: &Message) -> Result<(), TargetError>;

    /// Waits until everything has arrived.
    fn finish(&mut self) -> Result<(), TargetError>;

    /// How often sending failed and is tried again.
    fn errors(&self) -> u64 {
        0
    }
}

/// Why messages did not arrive.
#[derive(Debug, Error)]
pub enum TargetError {
    /// A file or a folder could not be written.
    #[error("cannot write {}: {error}; the messages before are written", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
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
    #[error("message {message_id} of vehicle {id} was not delivered to topic {topic}: {error}; {advice}")]
    NotDelivered {
        /// The `message_id`.
        message_id: String,
        /// The vehicle, which is the key.
        id: u64,
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
}

/// The topic of a protocol: the template, such as `fms.{object}.real`, with `{object}` filled in.
pub fn topic(template: &str, protocol: Protocol) -> String {
    template.replace("{object}", protocol.names().0)
}
