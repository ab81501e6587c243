//! The services of one test: Kafka, DynamoDB and S3, isolated from every other test, and the endpoints that a subject is given.

mod credentials;
pub mod docker;
pub mod embedded;
pub mod external;
pub(crate) mod http;
mod kafka;
pub(crate) mod namespace;
mod remote;

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::str::FromStr;

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
    /// Attributes, and their types, that are the partition key of a global secondary index each, which holds all attributes. A table refuses
    /// an item in which such an attribute is of another type.
    pub indexes: Vec<(String, String)>,
}

/// The name of the index on an attribute; names of indexes have at least three characters.
pub(crate) fn index_name(attribute: &str) -> String {
    format!("by-{attribute}")
}

impl Table {
    /// The key's attributes and their types, the partition key first.
    pub(crate) fn key(&self) -> impl Iterator<Item = &(String, String)> {
        std::iter::once(&self.partition_key).chain(&self.sort_key)
    }

    /// Every attribute whose type the table has to know, once.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = &(String, String)> {
        let indexes = self.indexes.iter().filter(|index| self.key().all(|key| key.0 != index.0));
        self.key().chain(indexes)
    }
}

/// What goes wrong in a stack: what was being done, to what, and the service's own words.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{action}: {cause}")]
pub struct StackError {
    /// What was being done, to what.
    pub action: String,
    /// The service's own words.
    pub cause: String,
    /// Whether the services themselves are at fault, and not what they were asked: no engine, an image that cannot be pulled, a container
    /// that does not start or has ended.
    pub infrastructure: bool,
}

impl StackError {
    pub(crate) fn new(action: impl Into<String>, cause: impl Display) -> Self {
        Self { action: action.into(), cause: cause.to_string(), infrastructure: false }
    }

    /// The services are at fault.
    pub(crate) fn infrastructure(action: impl Into<String>, cause: impl Display) -> Self {
        Self { infrastructure: true, ..Self::new(action, cause) }
    }
}

/// What a group has committed for each topic and partition: offset and metadata.
pub type Commits = BTreeMap<(String, i32), (i64, String)>;

/// Which stack a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// In the test's own process, without Docker.
    #[default]
    Embedded,
    /// Apache Kafka, DynamoDB Local and LocalStack in containers that the framework starts and ends.
    Docker,
    /// Services that run already, found through the environment; see [`external`].
    External,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedded => "embedded",
            Self::Docker => "docker",
            Self::External => "external",
        })
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "embedded" => Ok(Self::Embedded),
            "docker" => Ok(Self::Docker),
            "external" => Ok(Self::External),
            _ => Err(format!("stack `{text}`: there are embedded, docker and external")),
        }
    }
}

/// How tests that run at once are kept apart on the Docker stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// One set of containers for the whole run; every test has a namespace of its own.
    #[default]
    Shared,
    /// Containers of its own for every test.
    PerTest,
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Shared { "shared" } else { "per-test" })
    }
}

impl FromStr for Isolation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "shared" => Ok(Self::Shared),
            "per-test" => Ok(Self::PerTest),
            _ => Err(format!("isolation `{text}`: there are shared and per-test")),
        }
    }
}

/// The services of one test. Dropping it ends them, or takes away what the test has put into them.
pub trait Stack: Send + Sync {
    /// `KAFKA_BOOTSTRAP_SERVERS`, `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL_DYNAMODB`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY`: for the subject, whose AWS calls all pass the recording proxy.
    fn environment(&self) -> BTreeMap<String, String>;

    /// What stands before the names of this test's topics, groups, tables and buckets, for its services are not its own; else nothing.
    ///
    /// All other methods take and give names without it, except for consumer groups, which only the subject names.
    #[expect(clippy::unnecessary_literal_bound, reason = "other stacks give one of their own")]
    fn namespace(&self) -> &str {
        ""
    }

    /// Whether the services themselves are still there; an error is the infrastructure's fault.
    fn health(&self) -> Result<(), StackError> {
        Ok(())
    }

    /// What the subject has called so far, and how many of its calls are in flight.
    fn calls(&self) -> &Calls;

    /// Creates all that a test needs.
    fn provide(&self, topics: &BTreeMap<String, i32>, tables: &[Table], buckets: &[String]) -> Result<(), StackError> {
        topics.iter().try_for_each(|(topic, partitions)| self.create_topic(topic, *partitions))?;
        tables.iter().try_for_each(|table| self.create_table(table))?;
        buckets.iter().try_for_each(|bucket| self.create_bucket(bucket))
    }

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
