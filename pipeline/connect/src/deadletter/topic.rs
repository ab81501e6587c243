//! The topic of a connector's dead letters, which is created at start if it does not exist.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseProducer, Producer as _};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::producer::{OVERRIDES, ProducerCallbacks, Reports, producer_client};
use crate::config::common::{DEAD_LETTER_TOPIC, dead_letter_topic};
use crate::kafka::{self, ClusterProbe, KafkaLog};
use crate::{Config, ConfigError};

pub(super) const REPLICATION: &str = "errors.deadletterqueue.topic.replication.factor";

/// How long the cluster may take to say whether the topic exists, or to create it.
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes sure that the connector's dead-letter topic exists, if it has one. Once `stop` is true it no longer waits for
/// the cluster.
///
/// A broker that creates topics by itself may do so. Otherwise, and whenever a replication factor is set, the topic is
/// created with one partition, as Kafka Connect does.
pub(crate) fn ensure_topic(
    config: &Config,
    client: &ClientConfig,
    runtime: &Handle,
    stop: &watch::Receiver<bool>,
) -> Result<(), Vec<ConfigError>> {
    let Some(topic) = dead_letter_topic(config) else { return Ok(()) };
    let mut client = producer_client(client, config)?;
    let replication = config.int(REPLICATION).and_then(|factor| i32::try_from(factor).ok());
    client.set("allow.auto.create.topics", if replication.is_none() { "true" } else { "false" });
    let client = kafka::asking(&client);
    let log = KafkaLog::of_start(format!("connector {}, dead letters", config.name()), &client);
    let reports = Reports::default();
    let producer: BaseProducer<ProducerCallbacks> = client
        .create_with_context(ProducerCallbacks { log: log.clone(), reports })
        .map_err(|error| vec![kafka::rejected(config, OVERRIDES, &error)])?;
    let wrong = |problem: String| vec![config.error(DEAD_LETTER_TOPIC, problem)];

    let reach = ClusterProbe { log: &log, timeout: METADATA_TIMEOUT, stop };
    let metadata =
        reach.metadata(producer.client(), Some(topic), |timeout| producer.poll(timeout)).map_err(|problem| {
            wrong(format!("cannot ask the Kafka cluster at {} for the topic: {problem}", log.servers()))
        })?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    match found.and_then(MetadataTopic::error).map(RDKafkaErrorCode::from) {
        None => return Ok(()),
        // The broker is creating it, and will have done so by the time of the first letter.
        Some(RDKafkaErrorCode::LeaderNotAvailable) if replication.is_none() => return Ok(()),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::LeaderNotAvailable) => {}
        Some(other) => return Err(wrong(format!("the topic cannot be used: {other}"))),
    }

    create(topic, replication, &client, log, runtime).map_err(|failure| {
        wrong(format!(
            "the topic does not exist and cannot be created: {failure}; create it, or set `{REPLICATION}` to what the \
             cluster can hold"
        ))
    })
}

/// Creates the topic with one partition. The error is Kafka's.
fn create(
    topic: &str,
    replication: Option<i32>,
    client: &ClientConfig,
    log: KafkaLog,
    runtime: &Handle,
) -> Result<(), String> {
    let admin: AdminClient<KafkaLog> = client.create_with_context(log).map_err(|error| error.to_string())?;
    // -1 stands for the broker's own default.replication.factor.
    let new = NewTopic::new(topic, 1, TopicReplication::Fixed(replication.unwrap_or(-1)));
    let options = AdminOptions::new().request_timeout(Some(METADATA_TIMEOUT));
    let results = runtime.block_on(admin.create_topics([&new], &options)).map_err(|error| error.to_string())?;
    match results.into_iter().next() {
        None | Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
        Some(Err((_, error))) => Err(error.to_string()),
    }
}
