//! What a test needs of its services: topics, tables, buckets, queues and databases.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

/// Everything that a stack creates for a test before the test begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// Kafka topics, each with its number of partitions.
    pub topics: BTreeMap<String, i32>,
    /// DynamoDB tables.
    pub tables: Vec<Table>,
    /// S3 buckets.
    pub buckets: Vec<String>,
    /// SQS queues.
    pub queues: BTreeMap<String, Queue>,
    /// What fills queues with events of new objects.
    pub notifications: Vec<Notification>,
    /// Databases of the Glue catalog.
    pub databases: Vec<String>,
}

impl Resources {
    /// Resources that consist of one topic.
    pub fn topic(name: &str, partitions: i32) -> Self {
        Self { topics: [(name.to_owned(), partitions)].into(), ..Self::default() }
    }

    /// Resources that consist of one table.
    pub fn table(table: Table) -> Self {
        Self { tables: vec![table], ..Self::default() }
    }

    /// The queues in the order in which they are created: those that take the messages of others come first, as the
    /// others name them.
    pub(crate) fn queues_in_order(&self) -> impl Iterator<Item = (&String, &Queue)> {
        let with = |has_dead_letters: bool| {
            self.queues.iter().filter(move |(_, queue)| queue.dead_letters.is_some() == has_dead_letters)
        };
        with(false).chain(with(true))
    }

    /// Resources that consist of one bucket.
    pub fn bucket(name: &str) -> Self {
        Self { buckets: vec![name.to_owned()], ..Self::default() }
    }
}

/// An SQS queue to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// For how many seconds a received message is hidden.
    pub visibility_timeout: u32,
    /// Where messages go that were received too often.
    pub dead_letters: Option<DeadLetterQueue>,
}

impl Queue {
    /// The attributes with which the queue is created. `arn` gives the name by which policies know a queue.
    pub(crate) fn attributes<E>(
        &self,
        arn: impl FnOnce(&str) -> Result<String, E>,
    ) -> Result<BTreeMap<String, String>, E> {
        let mut attributes = BTreeMap::from([("VisibilityTimeout".to_owned(), self.visibility_timeout.to_string())]);
        if let Some(DeadLetterQueue { queue, max_receives }) = &self.dead_letters {
            let policy = json!({"deadLetterTargetArn": arn(queue)?, "maxReceiveCount": max_receives});
            attributes.insert("RedrivePolicy".to_owned(), policy.to_string());
        }
        Ok(attributes)
    }
}

/// The queue for the messages of another queue that were received too often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterQueue {
    /// The queue.
    pub queue: String,
    /// How often a message is received before it goes there.
    pub max_receives: u32,
}

/// Events of the objects that are created in a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Notification {
    /// The bucket whose new objects are told.
    pub bucket: String,
    /// The queue that is told of them.
    pub queue: String,
    /// How the keys of these objects begin.
    #[serde(default)]
    pub prefix: String,
    /// How the keys of these objects end.
    #[serde(default)]
    pub suffix: String,
}

impl Notification {
    /// Whether the queue is told of the objects of its bucket with this key.
    pub(crate) fn matches(&self, key: &str) -> bool {
        key.starts_with(&self.prefix) && key.ends_with(&self.suffix)
    }

    /// Whether the queue is told of an object, which is given as bucket and key joined by a slash.
    pub(crate) fn tells_of(&self, object: &str) -> bool {
        let key = object.strip_prefix(&self.bucket).and_then(|rest| rest.strip_prefix('/'));
        key.is_some_and(|key| self.matches(key))
    }
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
    /// Attributes and their types. Each of them is the partition key of a global secondary index that contains all
    /// attributes. The table refuses an item in which such an attribute has another type.
    pub indexes: Vec<(String, String)>,
}

/// The name of the index on an attribute. The prefix makes it long enough: names of indexes have at least three
/// characters.
pub(crate) fn index_name(attribute: &str) -> String {
    format!("by-{attribute}")
}

impl Table {
    /// The key's attributes and their types, the partition key first.
    pub(crate) fn key(&self) -> impl Iterator<Item = &(String, String)> {
        std::iter::once(&self.partition_key).chain(&self.sort_key)
    }

    /// Every attribute whose type has to be declared for the table, without duplicates between keys and indexes.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = &(String, String)> {
        let indexes = self.indexes.iter().filter(|index| self.key().all(|key| key.0 != index.0));
        self.key().chain(indexes)
    }
}
