//! The start of one connector: the checks that need no network, those that do, and its sink.

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::{Metadata, MetadataTopic};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::error::{StartError, in_file};
use crate::config::file::Definition;
use crate::connector::{ConnectorSpec, Subscription};
use crate::kafka::{self, ClusterProbe, KafkaLog};
use crate::plugins::{self, CONSUMER, Plugins};
use crate::settings::Settings;
use crate::transforms::TopicRouter;
use crate::{ConfigError, SinkConnector, TaskFactory, deadletter};

/// What connectors found in the cluster while they started.
#[derive(Debug, Clone, Default)]
pub(super) struct ClusterView {
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// The topics that exist.
    pub topics: BTreeSet<String>,
}

impl ClusterView {
    /// What a worker without connectors finds in its cluster. The error says why it is not reached.
    pub fn of_cluster(settings: &Settings, stop: &watch::Receiver<bool>) -> Result<Self, StartError> {
        let client = kafka::asking(&settings.consumer);
        let log = KafkaLog::of_start("the worker's start", &client);
        let unreachable = |problem| StartError::Unreachable { servers: log.servers().to_owned(), problem };
        let consumer: BaseConsumer<KafkaLog> =
            client.create_with_context(log.clone()).map_err(|error| unreachable(error.to_string()))?;
        let probe = ClusterProbe { log: &log, timeout: settings.cluster_timeout, stop };
        let metadata = probe.metadata(consumer.client(), None, |timeout| drop(consumer.poll(timeout)));
        let metadata = metadata.map_err(unreachable)?;
        Ok(Self {
            cluster_id: consumer.client().fetch_cluster_id(Duration::ZERO),
            topics: metadata.topics().iter().map(|topic| topic.name().to_owned()).collect(),
        })
    }
}

/// A connector that passed every check that needs no network.
pub(super) struct CheckedConnector {
    pub definition: Definition,
    pub spec: Arc<ConnectorSpec>,
    pub kind: Arc<dyn SinkConnector>,
    /// The settings of the tasks' consumers.
    pub client: ClientConfig,
}

impl CheckedConnector {
    pub fn new(definition: Definition, plugins: &Plugins) -> Result<Self, Vec<StartError>> {
        let checked = plugins.check(&definition).map_err(|wrong| in_file(&definition.file, wrong))?;
        let plugins::CheckedConfig { kind, config, topics, client } = checked;
        let spec = Arc::new(ConnectorSpec { name: definition.name.clone(), config, topics });
        Ok(Self { definition, spec, kind, client })
    }

    /// `tasks.max`.
    pub fn tasks(&self) -> u32 {
        self.spec.config.int("tasks.max").and_then(|tasks| u32::try_from(tasks).ok()).unwrap_or(1)
    }

    fn errors(&self, wrong: Vec<ConfigError>) -> Vec<StartError> {
        in_file(&self.definition.file, wrong)
    }

    /// Makes the checks that need the network, and starts the sink. What exists in the cluster is noted in `seen`. The
    /// result means nothing once `stop` is true.
    pub fn start(
        &self,
        settings: &Settings,
        runtime: &Handle,
        seen: &mut ClusterView,
        stop: &watch::Receiver<bool>,
    ) -> Result<TaskFactory, Vec<StartError>> {
        let config = &self.spec.config;
        let log = KafkaLog::of_start(format!("connector {}, start", self.spec.name), &self.client);
        let consumer: BaseConsumer<KafkaLog> = kafka::asking(&self.client)
            .create_with_context(log.clone())
            .map_err(|error| self.errors(vec![kafka::rejected(config, CONSUMER, &error)]))?;
        let reach = ClusterProbe { log: &log, timeout: settings.cluster_timeout, stop };
        let metadata = reach
            .metadata(consumer.client(), None, |timeout| drop(consumer.poll(timeout)))
            .map_err(|problem| vec![StartError::Unreachable { servers: log.servers().to_owned(), problem }])?;
        if seen.cluster_id.is_none() {
            seen.cluster_id = consumer.client().fetch_cluster_id(Duration::ZERO);
        }

        seen.topics.extend(metadata.topics().iter().map(|topic| topic.name().to_owned()));
        let mut problems = self.missing_topics(&metadata);
        problems.extend(self.colliding_topics(&metadata));
        let letters = deadletter::ensure_topic(config, &settings.producer, runtime, stop);
        problems.extend(letters.err().unwrap_or_default());
        match self.start_sink(runtime, stop) {
            Some(Ok(sink)) if problems.is_empty() => Ok(sink),
            Some(Err(error)) => {
                problems.push(error);
                Err(self.errors(problems))
            }
            Some(Ok(_)) | None => Err(self.errors(problems)),
        }
    }

    /// Starts the sink. `None` if the worker was told to stop meanwhile.
    fn start_sink(&self, runtime: &Handle, stop: &watch::Receiver<bool>) -> Option<Result<TaskFactory, ConfigError>> {
        let (kind, config, handle) = (Arc::clone(&self.kind), self.spec.config.clone(), runtime.clone());
        let start = runtime.spawn_blocking(move || kind.start(&config, &handle));
        let mut stop = stop.clone();
        runtime.block_on(async {
            tokio::select! {
                started = start => Some(started.unwrap_or_else(|panic| resume_unwind(panic.into_panic()))),
                _ = stop.wait_for(|stop| *stop) => None,
            }
        })
    }

    /// Topics that transforms would store under the same name, in a place that takes one writer for each topic.
    fn colliding_topics(&self, metadata: &Metadata) -> Option<ConfigError> {
        let config = &self.spec.config;
        self.kind.exclusive_target(config)?;
        let existing = metadata.topics().iter().map(MetadataTopic::name);
        let own = existing.filter(|topic| self.spec.topics.reads(topic));
        let (one, other, name) = TopicRouter::of(config).ok()?.collision(own)?;
        Some(config.error(
            "transforms",
            format!(
                "`{one}` and `{other}` would both be stored under the name `{name}`, where their objects would get the same \
                 names: route them to different names"
            ),
        ))
    }

    /// The topics that the connector names and that cannot be read.
    fn missing_topics(&self, metadata: &Metadata) -> Vec<ConfigError> {
        let config = &self.spec.config;
        // Names that begin with two underscores are the cluster's own topics.
        let existing: Vec<String> =
            metadata.topics().iter().map(|t| t.name().to_owned()).filter(|name| !name.starts_with("__")).collect();
        match &self.spec.topics {
            Subscription::Topics(topics) => topics
                .iter()
                .filter_map(|topic| {
                    let found = metadata.topics().iter().find(|found| found.name() == topic);
                    match found.map(MetadataTopic::error) {
                        Some(None) => None,
                        Some(Some(error)) => {
                            let error = RDKafkaErrorCode::from(error);
                            Some(config.error("topics", format!("the topic `{topic}` cannot be read: {error}")))
                        }
                        None => {
                            let similar = kafka::similar_topics(topic, &existing);
                            Some(config.error("topics", format!("the topic `{topic}` does not exist; {similar}")))
                        }
                    }
                })
                .collect(),
            Subscription::Regex(pattern) if existing.iter().any(|topic| pattern.matches(topic)) => Vec::new(),
            Subscription::Regex(pattern) => {
                let similar = kafka::similar_topics(&pattern.source().replace(['\\', '^', '$'], ""), &existing);
                vec![config.error("topics.regex", format!("matches no topic that exists; {similar}"))]
            }
        }
    }
}
