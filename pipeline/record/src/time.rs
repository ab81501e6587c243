//! When a row happened: its own field, else the envelope's, else Kafka's timestamp.

use crate::{Row, RowError};

/// Where an event time was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeSource {
    /// The configured field of the row.
    Field,
    /// The envelope's `messaged_at`.
    Envelope,
    /// The Kafka record's timestamp.
    Kafka,
}

/// An event time and where it is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTime {
    /// Milliseconds since the Unix epoch, UTC.
    pub millis: i64,
    /// Which of the three it was.
    pub source: TimeSource,
}

impl EventTime {
    /// `field` is `timestamp.field`; absent or null falls through to the next source, present but unreadable is an error that shows it.
    pub fn of(_row: &Row<'_>, _field: Option<&str>, _kafka_millis: Option<i64>) -> Result<Self, RowError> {
        unimplemented!()
    }
}

/// Reads a time's JSON text: RFC 3339 with offset or `Z`, a space instead of `T`, epoch seconds or milliseconds (number or string).
pub fn parse_time(_json: &str) -> Option<i64> {
    None
}
