//! The services of one test: Kafka, DynamoDB, S3, SQS and Glue, isolated from every other test, and the endpoints that a subject
//! is given.

mod credentials;
#[cfg_attr(not(feature = "docker"), path = "without_docker.rs")]
pub(crate) mod docker;
pub(crate) mod embedded;
mod error;
pub(crate) mod external;
pub(crate) mod http;
mod kafka;
mod kind;
pub(crate) mod namespace;
mod relay;
mod remote;
mod resources;

use std::collections::BTreeMap;

pub(crate) use self::error::StackError;
pub use self::kind::{Isolation, StackKind};
pub(crate) use self::resources::index_name;
pub use self::resources::{DeadLetterQueue, Notification, Queue, Resources, Table};
use crate::calls::{Calls, Moment};

/// A Kafka record to send, or one that was read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Topic.
    pub topic: String,
    /// Partition. The framework chooses it itself, by the key, as Kafka's own partitioner does.
    pub partition: i32,
    /// Offset. For a record to send, it is the offset that the record is expected to get, because the records of a
    /// partition are sent in order.
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

/// What a group has committed for each topic and partition: offset and metadata.
pub(crate) type Commits = BTreeMap<(String, i32), (i64, String)>;

/// How many messages a queue has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// Messages that can be received.
    pub visible: u64,
    /// Messages that were received and are hidden until they are deleted, or visible again.
    pub in_flight: u64,
    /// Messages that cannot be received yet.
    pub delayed: u64,
}

/// The services of one test. Dropping a stack ends its services, or deletes what the test has created in them.
pub trait Stack: Send + Sync {
    /// The environment variables that lead the subject to these services: `KAFKA_BOOTSTRAP_SERVERS`, `AWS_ENDPOINT_URL`
    /// and one `AWS_ENDPOINT_URL_*` for each service, `AWS_REGION`, `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
    /// All AWS calls of the subject go through the recording proxy.
    fn environment(&self) -> BTreeMap<String, String>;

    /// The prefix of the names of this test's topics, groups, tables, buckets, queues and databases on services that it shares with other
    /// tests; empty where the services are its own.
    ///
    /// All other methods take and return names without this prefix, except for consumer groups, which only the subject
    /// names.
    #[expect(clippy::unnecessary_literal_bound, reason = "other stacks give one of their own")]
    fn namespace(&self) -> &str {
        ""
    }

    /// Checks that the services are still there; an error is the infrastructure's fault.
    fn health(&self) -> Result<(), StackError> {
        Ok(())
    }

    /// The AWS calls of the subject, as the recording proxy records them.
    fn calls(&self) -> &Calls;

    /// Creates the topics, tables, buckets, queues and databases that a test needs. They can be used when this method returns.
    fn provide(&self, resources: &Resources) -> Result<(), StackError>;

    /// Sends records, each to its partition, and waits until all are acknowledged.
    fn produce(&self, records: &[Record]) -> Result<(), StackError>;

    /// The names of the requests to Kafka so far at which a subject can be killed, in the order of their arrival; on the
    /// embedded stack, those of the framework are among them. There are none where nobody tells.
    fn kafka_requests(&self) -> Result<Vec<&'static str>, StackError> {
        Ok(Vec::new())
    }

    /// Lets nobody answer the n-th request of this name from now on. [`Moment`] says whether the broker carries it out.
    /// False if this stack cannot do that.
    fn hold_kafka_request(&self, _name: &str, _nth: usize, _moment: Moment) -> Result<bool, StackError> {
        Ok(false)
    }

    /// Whether the request has come that is to be held.
    fn holds_kafka_request(&self, _name: &str) -> Result<bool, StackError> {
        Ok(false)
    }

    /// Breaks all connections to the broker, which refuses new ones from now on unless `up`. False if this stack cannot do
    /// that, or was not started for it.
    fn set_broker_up(&self, _up: bool) -> Result<bool, StackError> {
        Ok(false)
    }

    /// Gives every partition another leader, and each of these groups another coordinator. False if this stack cannot do
    /// that, or has a single broker.
    fn move_leaders(&self, _groups: &[String]) -> Result<bool, StackError> {
        Ok(false)
    }

    /// How often the committed offsets of a group were asked for so far, which a member does when it is assigned
    /// partitions. On the embedded stack the framework does so too, by [`Stack::committed`]. It is `None` where nobody
    /// tells.
    fn offset_fetches(&self) -> Result<Option<usize>, StackError> {
        Ok(None)
    }

    /// How many connections have asked for the committed offsets of a group so far. Each member has one of its own, and on
    /// the embedded stack the framework has one for each group. It is `None` where nobody tells.
    fn fetching_connections(&self) -> Option<usize> {
        None
    }

    /// Puts an object into a bucket.
    fn put_object(&self, bucket: &str, key: &str, body: &[u8]) -> Result<(), StackError>;

    /// Sends a message to a queue.
    fn send_message(&self, queue: &str, body: &str) -> Result<(), StackError>;

    /// Creates a table in a Glue database. `table` is a `TableInput` of Glue's API.
    fn create_catalog_table(&self, database: &str, table: &serde_json::Value) -> Result<(), StackError>;

    /// The end offset of every partition of these topics.
    fn end_offsets(&self, topics: &[String]) -> Result<BTreeMap<(String, i32), i64>, StackError>;

    /// What `group` has committed for these partitions: offset and metadata; a partition without a commit is left out.
    fn committed(&self, group: &str, partitions: &[(String, i32)]) -> Result<Commits, StackError>;

    /// All records of a topic, by partition and offset; empty if the topic does not exist.
    fn read_topic(&self, topic: &str) -> Result<Vec<Record>, StackError>;

    /// All items of a table, unordered, each as DynamoDB's own JSON (`{"pk":{"S":"…"}}`) with its attributes sorted by
    /// name.
    fn scan(&self, table: &str) -> Result<Vec<serde_json::Value>, StackError>;

    /// Keys of a bucket, sorted, with the body of each.
    fn objects(&self, bucket: &str) -> Result<Vec<(String, Vec<u8>)>, StackError>;

    /// Says whether a request for messages waits as long as it asks to. One that does not, and one that waits already, is
    /// answered after a moment at most. Services that are not the framework's own wait all the same.
    fn set_long_polls(&self, _long: bool) {}

    /// How many messages a queue has.
    fn queue(&self, name: &str) -> Result<QueueDepth, StackError>;

    /// The bodies of the messages of a queue.
    fn messages(&self, queue: &str) -> Result<Vec<String>, StackError>;

    /// The tables of a database, each as Glue gives it, with its partitions as `Partitions`.
    fn catalog(&self, database: &str) -> Result<Vec<serde_json::Value>, StackError>;

    /// Keys of the multipart uploads of a bucket that are neither completed nor aborted, sorted.
    fn open_uploads(&self, bucket: &str) -> Result<Vec<String>, StackError>;
}
