//! The Kafka record that a message came in, as far as templates can name its parts.

use std::borrow::Cow;
use std::fmt;

use crate::error::NoValue;

/// The record that a message came in. It is asked only if a template names a part of it.
pub trait Source: fmt::Debug {
    /// Its topic.
    fn topic(&self) -> &str;
    /// Its partition.
    fn partition(&self) -> i32;
    /// Its offset.
    fn offset(&self) -> i64;
    /// Its timestamp, milliseconds since the Unix epoch.
    fn timestamp(&self) -> Option<i64>;
    /// Its key.
    fn key(&self) -> Option<&[u8]>;
    /// The value of its last header of that name, which is the one that counts in Kafka. `Some(None)` is a header
    /// without a value.
    fn header(&self, name: &str) -> Option<Option<&[u8]>>;
}

/// A part of the record, displayed as a template names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RecordPart {
    /// `@key`.
    Key,
    /// `@topic`.
    Topic,
    /// `@partition`.
    Partition,
    /// `@offset`.
    Offset,
    /// `@timestamp`, milliseconds since the Unix epoch.
    Timestamp,
    /// `@header.NAME`.
    Header(String),
}

impl RecordPart {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "@key" => Self::Key,
            "@topic" => Self::Topic,
            "@partition" => Self::Partition,
            "@offset" => Self::Offset,
            "@timestamp" => Self::Timestamp,
            _ => Self::Header(name.strip_prefix("@header.").filter(|name| !name.is_empty())?.into()),
        })
    }

    /// The bytes of the part. The error says why there are none.
    pub(crate) fn of<'s>(&self, source: Option<&'s dyn Source>) -> Result<Cow<'s, [u8]>, NoValue> {
        let source = source.ok_or(NoValue::Absent)?;
        let shown = |text: String| Cow::Owned(text.into_bytes());
        let bytes = match self {
            Self::Key => Cow::Borrowed(source.key().ok_or(NoValue::Null)?),
            Self::Topic => Cow::Borrowed(source.topic().as_bytes()),
            Self::Partition => shown(source.partition().to_string()),
            Self::Offset => shown(source.offset().to_string()),
            Self::Timestamp => shown(source.timestamp().ok_or(NoValue::Absent)?.to_string()),
            Self::Header(name) => Cow::Borrowed(source.header(name).ok_or(NoValue::Absent)?.ok_or(NoValue::Null)?),
        };
        if bytes.is_empty() { Err(NoValue::Empty) } else { Ok(bytes) }
    }
}

impl fmt::Display for RecordPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => f.write_str("@key"),
            Self::Topic => f.write_str("@topic"),
            Self::Partition => f.write_str("@partition"),
            Self::Offset => f.write_str("@offset"),
            Self::Timestamp => f.write_str("@timestamp"),
            Self::Header(name) => write!(f, "@header.{name}"),
        }
    }
}
