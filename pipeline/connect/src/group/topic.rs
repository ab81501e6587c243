//! The two topics of a group, which are created if they do not exist.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
};
use rdkafka::error::RDKafkaErrorCode as Code;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::info;

use crate::kafka::{self, ClusterProbe, KafkaLog};
use crate::settings::{self, GroupTopic};

/// How long the cluster may take to create a topic.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long the cluster may take to say how topics are cleaned up. One that cannot say it does not answer at all.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long is waited before a topic is looked for again that has just been created.
const STEP: Duration = Duration::from_millis(20);
/// After which time all brokers know the settings of a topic that has just been created.
const SETTLED: Duration = Duration::from_secs(3);
const POLICY: &str = "cleanup.policy";

/// A client of the cluster that looks after the topics of a group.
pub(super) struct TopicKeeper<'w> {
    admin: AdminClient<KafkaLog>,
    log: KafkaLog,
    runtime: &'w Handle,
    stop: &'w watch::Receiver<bool>,
}

impl<'w> TopicKeeper<'w> {
    /// With these settings. The error is a sentence.
    pub(super) fn new(
        client: &ClientConfig,
        runtime: &'w Handle,
        stop: &'w watch::Receiver<bool>,
    ) -> Result<Self, String> {
        let log = KafkaLog::of_start("the group's topics", client);
        let admin = kafka::asking(client).create_with_context(log.clone()).map_err(|error| error.to_string())?;
        Ok(Self { admin, log, runtime, stop })
    }

    /// Makes sure that the topic exists, and has one partition if that is what the group needs. Gives the number of its
    /// partitions, and whether it was created here. The error is a sentence.
    pub(super) fn ensure(&self, topic: &GroupTopic) -> Result<(u32, bool), String> {
        let Self { admin, log, stop, .. } = self;
        let probe = ClusterProbe { log, timeout: TIMEOUT, stop };
        let find = || {
            // A question for the topic itself might make the broker create it, as it creates any other.
            let metadata = probe.metadata(admin.inner(), None, |_| ())?;
            let found = metadata.topics().iter().find(|found| found.name() == topic.name);
            Ok::<_, String>(found.map_or((0, None), |found| (found.partitions().len(), found.error().map(Code::from))))
        };
        let (mut partitions, error) = find()?;
        let mut created = false;
        if partitions == 0 {
            created = self.create(topic)?;
            let deadline = Instant::now() + TIMEOUT;
            loop {
                let (found, error) = find()?;
                if found > 0 && error.is_none() {
                    partitions = found;
                    break;
                }
                if Instant::now() > deadline || *stop.borrow() {
                    let error = error.map_or_else(|| "it has no partitions".to_owned(), |error| error.to_string());
                    return Err(format!("it was created, but cannot be used {} s later: {error}", TIMEOUT.as_secs()));
                }
                std::thread::sleep(STEP);
            }
        } else if let Some(error) = error.filter(|error| *error != Code::LeaderNotAvailable) {
            return Err(format!("it cannot be used: {error}"));
        }
        if topic.single && partitions != 1 {
            return Err(format!(
                "it has {partitions} partitions and must have one, or configurations would be read in another order than they \
                 were written in: name another topic, or one that does not exist"
            ));
        }
        let count = u32::try_from(partitions).map_err(|_| format!("it has {partitions} partitions"))?;
        Ok((count, created))
    }

    /// Creates the topic. Gives false if another worker has just done so.
    fn create(&self, topic: &GroupTopic) -> Result<bool, String> {
        let partitions = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
        let new =
            NewTopic::new(&topic.name, partitions, TopicReplication::Fixed(topic.replication)).set(POLICY, "compact");
        let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
        let result = self.runtime.block_on(self.admin.create_topics([&new], &options));
        let error = match result.map(|results| results.into_iter().next()) {
            Ok(None | Some(Ok(_))) => {
                info!(topic = topic.name, partitions, "the topic of the group was created");
                return Ok(true);
            }
            Ok(Some(Err((_, Code::TopicAlreadyExists)))) => return Ok(false),
            Ok(Some(Err((_, error)))) => error.to_string(),
            Err(error) => error.to_string(),
        };
        Err(format!(
            "it does not exist and cannot be created: {error}; create it with cleanup.policy=compact, or set {} to what the \
             cluster can hold",
            settings::variable(topic.replication_key)
        ))
    }

    /// The first of these topics that is not compacted, so that it would lose configurations or states in time, and what to do
    /// about it.
    ///
    /// A broker may say so for a moment of a topic that another worker has just created, so it is asked again. As with Kafka
    /// Connect, a cluster that does not say how its topics are cleaned up is trusted.
    pub(super) fn not_compacted<'t>(&self, topics: &[&'t GroupTopic]) -> Option<(&'t GroupTopic, String)> {
        let options = AdminOptions::new().request_timeout(Some(DESCRIBE_TIMEOUT));
        let resources: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(&topic.name)).collect();
        let deadline = Instant::now() + SETTLED;
        loop {
            let described = match self.runtime.block_on(self.admin.describe_configs(&resources, &options)) {
                Ok(described) => described,
                Err(error) => {
                    info!("whether the topics of the group are compacted cannot be found out: {error}");
                    return None;
                }
            };
            let policy = |topic: &GroupTopic| {
                let of_topic = |config: &&ConfigResource| matches!(&config.specifier, OwnedResourceSpecifier::Topic(name) if *name == topic.name);
                described.iter().flatten().find(of_topic)?.get(POLICY)?.value.clone()
            };
            let wrong =
                topics.iter().find_map(|topic| Some((*topic, policy(topic).filter(|policy| policy != "compact")?)));
            let (topic, policy) = wrong?;
            if Instant::now() > deadline {
                return Some((
                    topic,
                    format!(
                        "it has {POLICY}={policy}, so Kafka would remove configurations and states that are still needed: set \
                         {POLICY}=compact for it, or name another topic"
                    ),
                ));
            }
            std::thread::sleep(STEP);
        }
    }
}
