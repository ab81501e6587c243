//! The services of one test: Kafka, DynamoDB and S3, isolated from every other test, and the endpoints that a subject is given.

pub mod embedded;
pub(crate) mod http;

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::calls::Calls;

/// A Kafka record to send, or one that was read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Topic.
    pub topic: String,
    /// Partition: the framework places records itself, see [`crate::stack`].
    pub partition: i32,
    /// Offset; when sending, what it is expected to become (records of a partition are sent in order from its end).
    pub offset: i64,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers in order, duplicates included.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A DynamoDB table to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Name.
    pub name: String,
    /// Partition key attribute and its type, `S`, `N` or `B`.
    pub partition_key: (String, String),
    /// Sort key attribute and its type.
    pub sort_key: Option<(String, String)>,
}

/// What goes wrong in a stack: what was being done, to what, and the service's own words.
#[derive(Debug, thiserror::Error)]
#[error("{action}: {cause}")]
pub struct StackError {
    /// What was being done, to what.
    pub action: String,
    /// The service's own words.
    pub cause: String,
}

impl StackError {
    pub(crate) fn new(action: impl Into<String>, cause: impl Display) -> Self {
        Self { action: action.into(), cause: cause.to_string() }
    }
}

/// What a group has committed for each topic and partition: offset and metadata.
pub type Commits = BTreeMap<(String, i32), (i64, String)>;

/// The services of one test. Dropping it ends them.
pub trait Stack: Send + Sync {
    /// `KAFKA_BOOTSTRAP_SERVERS`, `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL_DYNAMODB`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY`: for the subject, whose AWS calls all pass the recording proxy.
    fn environment(&self) -> BTreeMap<String, String>;

    /// What the subject has called so far, and how many of its calls are in flight.
    fn calls(&self) -> &Calls;

    /// Creates a topic.
    fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), StackError>;

    /// Creates a table.
    fn create_table(&self, table: &Table) -> Result<(), StackError>;

    /// Creates a bucket.
    fn create_bucket(&self, bucket: &str) -> Result<(), StackError>;

    /// Sends records, each to its partition, and waits until all are acknowledged.
    fn produce(&self, records: &[Record]) -> Result<(), StackError>;

    /// The end offset of every partition of these topics.
    fn end_offsets(&self, topics: &[String]) -> Result<BTreeMap<(String, i32), i64>, StackError>;

    /// What `group` has committed for these partitions: offset and metadata; a partition without a commit is left out.
    fn committed(&self, group: &str, partitions: &[(String, i32)]) -> Result<Commits, StackError>;

    /// All records of a topic, by partition and offset; empty if the topic does not exist.
    fn read_topic(&self, topic: &str) -> Result<Vec<Record>, StackError>;

    /// All items of a table, unordered, each as DynamoDB's own JSON (`{"pk":{"S":"…"}}`) with its attributes sorted by name.
    fn scan(&self, table: &str) -> Result<Vec<serde_json::Value>, StackError>;

    /// Keys of a bucket, sorted, with the body of each.
    fn objects(&self, bucket: &str) -> Result<Vec<(String, Vec<u8>)>, StackError>;

    /// Keys of the multipart uploads of a bucket that are neither completed nor aborted, sorted.
    fn open_uploads(&self, bucket: &str) -> Result<Vec<String>, StackError>;
}
