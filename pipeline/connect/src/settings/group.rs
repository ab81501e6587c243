//! The settings of a group of workers, under the names that Kafka Connect's distributed workers give them.

use crate::{Config, Key, ValueType};

const GROUP: &str = "group.id";
const CONFIG_TOPIC: &str = "config.storage.topic";
const CONFIG_REPLICATION: &str = "config.storage.replication.factor";
const STATUS_TOPIC: &str = "status.storage.topic";
const STATUS_REPLICATION: &str = "status.storage.replication.factor";
const STATUS_PARTITIONS: &str = "status.storage.partitions";

/// The keys of a group of workers.
pub(super) const KEYS: &[Key] = &[
    Key::new(
        GROUP,
        ValueType::Text,
        "The worker belongs to this group, whose workers share out the tasks of the connectors that are in \
         `config.storage.topic`. It is a consumer group, of which the workers are the members. If the key is unset, the \
         worker stands alone",
    )
    .high()
    .risk("If two groups have the same name, each rebalances with the other"),
    Key::new(
        CONFIG_TOPIC,
        ValueType::Text,
        "The group's connectors are in this topic, as Kafka Connect writes them. It has one partition, is compacted, and is \
         created if it does not exist. Required with `group.id`",
    )
    .high()
    .risk("Passwords stand in it as they were sent, unless they were `${env:…}` or `${file:…}`"),
    Key::new(
        CONFIG_REPLICATION,
        ValueType::Int(-1, 32_767),
        "The number of replicas of `config.storage.topic` when it is created; -1 is the cluster's default",
    )
    .default("3")
    .unit("replicas")
    .risk("If it is more than there are brokers, the topic cannot be created"),
    Key::new(
        STATUS_TOPIC,
        ValueType::Text,
        "How the group's connectors and tasks are is in this topic, as Kafka Connect writes it. It is compacted, and is \
         created if it does not exist. Its partitions are the slots by which the group shares out tasks. Required with \
         `group.id`",
    )
    .high()
    .risk("If it is also the topic of another group, each group removes what the other says"),
    Key::new(
        STATUS_REPLICATION,
        ValueType::Int(-1, 32_767),
        "The number of replicas of `status.storage.topic` when it is created; -1 is the cluster's default",
    )
    .default("3")
    .unit("replicas")
    .risk("If it is more than there are brokers, the topic cannot be created"),
    Key::new(
        STATUS_PARTITIONS,
        ValueType::Int(1, 10_000),
        "The number of partitions of `status.storage.topic` when it is created",
    )
    .default("32")
    .unit("partitions")
    .risk(
        "No more workers than this get tasks, and with few partitions for each worker, some get more tasks than others. If \
         partitions are added to the topic, all workers have to be restarted",
    ),
];

/// A topic of a group of workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupTopic {
    /// The key that names it.
    pub key: &'static str,
    /// Its name.
    pub name: String,
    /// The number of partitions with which it is created.
    pub partitions: u32,
    /// Whether it has to have one partition alone.
    pub single: bool,
    /// The number of replicas with which it is created; -1 is the cluster's default.
    pub replication: i32,
    /// The key that sets the number of replicas.
    pub replication_key: &'static str,
}

/// The group that a worker belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSettings {
    /// `group.id`.
    pub id: String,
    /// `config.storage.topic`.
    pub configs: GroupTopic,
    /// `status.storage.topic`.
    pub statuses: GroupTopic,
}

impl GroupSettings {
    /// The group of this configuration, of which the keys in `given` are set. The error has each key that is wrong, and
    /// why.
    pub(super) fn of(
        config: &Config,
        given: impl Fn(&str) -> bool,
    ) -> Result<Option<Self>, Vec<(&'static str, String)>> {
        let Some(id) = config.get(GROUP) else {
            let useless = KEYS.iter().map(|key| key.name).filter(|key| given(key));
            let wrong: Vec<_> = useless.map(|key| (key, "has no effect without CONNECT_GROUP_ID".to_owned())).collect();
            return if wrong.is_empty() { Ok(None) } else { Err(wrong) };
        };
        let mut wrong = Vec::new();
        let mut topic = |key, replication_key, partitions: Option<i64>| {
            let name = config.get(key).unwrap_or_default().to_owned();
            if name.is_empty() {
                wrong.push((key, "is missing: a group of workers needs the topic".to_owned()));
            }
            let replication = config.int(replication_key).and_then(|count| i32::try_from(count).ok()).unwrap_or(-1);
            let single = partitions.is_none();
            let partitions = partitions.and_then(|count| u32::try_from(count).ok()).unwrap_or(1);
            GroupTopic { key, name, partitions, single, replication, replication_key }
        };
        let configs = topic(CONFIG_TOPIC, CONFIG_REPLICATION, None);
        let statuses = topic(STATUS_TOPIC, STATUS_REPLICATION, Some(config.int(STATUS_PARTITIONS).unwrap_or(1)));
        if configs.name == statuses.name && !configs.name.is_empty() {
            wrong.push((STATUS_TOPIC, "is the topic of CONNECT_CONFIG_STORAGE_TOPIC too: name another one".to_owned()));
        }
        if given("rest.changes.dir") {
            let reason = "has no effect with CONNECT_GROUP_ID: the connectors of a group are in its config topic";
            wrong.push(("rest.changes.dir", reason.to_owned()));
        }
        if wrong.is_empty() { Ok(Some(Self { id: id.to_owned(), configs, statuses })) } else { Err(wrong) }
    }
}
