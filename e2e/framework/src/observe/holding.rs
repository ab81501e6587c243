//! What is stored, as the pipeline wrote it: without redactions, escapes and order. The count ledger is made of it.

use std::fmt;

/// What one table, object or dead-letter topic holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Holding {
    /// The items of a table, as JSON.
    Items { table: String, items: Vec<String> },
    /// The lines or the Parquet rows of the object `bucket/key`.
    Object { path: String, rows: Vec<String> },
    /// The records of a dead-letter topic.
    Letters { topic: String, letters: Vec<Letter> },
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    /// The message that its headers name.
    pub source: Option<MessageId>,
    /// The row of that message that its headers name; `None` if it is about the whole message.
    pub index: Option<usize>,
    /// Its value.
    pub value: Option<Vec<u8>>,
}

/// A message by its place in Kafka.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct MessageId {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic {}, partition {}, offset {}", self.topic, self.partition, self.offset)
    }
}
