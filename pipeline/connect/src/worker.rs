//! The worker: checks every connector before it consumes anything, runs their tasks, each on a thread of its own, and says how they are.
//!
//! A task that fails leaves the others running; `/health` says 503 and why, until the worker is restarted.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::{Metadata, MetadataTopic};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{error, info};

use crate::config::common::{self, COMMON};
use crate::config::file::Definition;
use crate::convert::Converter;
use crate::deadletter::{self, DeadLetterQueue};
use crate::kafka::{self, KafkaLog};
use crate::metrics::TaskMetrics;
use crate::rest::{self, Rest};
use crate::settings::Settings;
use crate::status::{Status, TaskState};
use crate::task::{self, TaskError, TaskSpec};
use crate::{Budget, Config, ConfigError, Retry, SinkConnector, StartedSink, intent, metrics};

const CONSUMER: &str = "consumer.override.";
/// How long the cluster may take to answer at start.
const CLUSTER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a task may take to leave its group after its own time for flushing is over.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connector whose configuration is checked.
#[derive(Debug, Clone)]
pub struct ConnectorSpec {
    /// Its name.
    pub name: String,
    /// Its configuration.
    pub config: Config,
    /// What it reads.
    pub topics: Subscription,
}

/// The topics that a connector reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subscription {
    /// `topics`.
    Topics(Vec<String>),
    /// `topics.regex`: every topic whose whole name matches.
    Regex(String),
}

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A connector's configuration, or what it names does not exist.
    #[error("{}: {error}", file.display())]
    Config {
        /// The connector's file.
        file: PathBuf,
        /// What is wrong.
        error: ConfigError,
    },
    /// The cluster does not answer.
    #[error(
        "cannot reach Kafka at {servers} within {} s: {error}; is the cluster running, and is KAFKA_BOOTSTRAP_SERVERS right?",
        CLUSTER_TIMEOUT.as_secs()
    )]
    Unreachable {
        /// `bootstrap.servers`.
        servers: String,
        /// What librdkafka says.
        error: String,
    },
    /// Nothing can listen there.
    #[error("cannot listen at {host}:{port}: {error}; CONNECT_LISTENERS says where")]
    Listen {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// Why.
        error: std::io::Error,
    },
    /// The operating system gives no threads.
    #[error("cannot start a thread: {0}")]
    Threads(#[from] std::io::Error),
}

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every task flushed, committed and left.
    Clean,
    /// A task had failed, or did not end in time; the log says which and why.
    Failed,
}

/// A worker whose connectors are checked, ready to run.
pub struct Worker {
    runtime: Runtime,
    listener: TcpListener,
    address: SocketAddr,
    status: Arc<Status>,
    rest: Rest,
    tasks: Vec<TaskSpec>,
    shutdown: watch::Sender<bool>,
    shutdown_timeout: Duration,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("address", &self.address).field("status", &self.status).finish_non_exhaustive()
    }
}

impl Worker {
    /// Checks everything that can be checked before a record is read: settings, topics, dead-letter topics, tables and buckets.
    /// Every problem found; the errors are never empty. Must not be called in an async context.
    pub fn prepare(
        settings: &Settings,
        definitions: Vec<Definition>,
        sinks: &[Box<dyn SinkConnector>],
    ) -> Result<Self, Vec<StartError>> {
        let prometheus = metrics::install();
        let start = |error: StartError| vec![error];
        let runtime = Runtime::new().map_err(|error| start(error.into()))?;
        let (host, port) = &settings.listener;
        let listen = |error| start(StartError::Listen { host: host.clone(), port: *port, error });
        let listener = TcpListener::bind((host.as_str(), *port)).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;

        let (checked, mut problems) = partition(definitions.into_iter().map(|d| Checked::new(d, settings, sinks)));
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut cluster_id = None;
        let mut started = Vec::new();
        for connector in &checked {
            match connector.start(settings, &runtime, &mut cluster_id) {
                Ok(sink) => started.push(sink),
                Err(wrong) => {
                    let unreachable = wrong.iter().any(|error| matches!(error, StartError::Unreachable { .. }));
                    problems.extend(wrong);
                    // The next connector would wait for the same cluster and say the same.
                    if unreachable {
                        return Err(problems);
                    }
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }

        let (queues, budget_limit) = split_memory(settings.buffer_memory);
        let budget = Budget::new(budget_limit);
        let total: usize = checked.iter().map(|connector| connector.tasks() as usize).sum();
        let (shutdown, stopping) = watch::channel(false);
        let mut status = Status::default();
        let mut tasks = Vec::new();
        for (connector, sink) in checked.into_iter().zip(started) {
            status.add(&connector.spec.name, connector.definition.written.clone(), connector.tasks());
            for task in 0..connector.tasks() {
                let config = &connector.spec.config;
                let wrong = |wrong: Vec<ConfigError>| connector.errors(wrong);
                tasks.push(TaskSpec {
                    connector: Arc::clone(&connector.spec),
                    task,
                    sink: Arc::clone(&sink),
                    client: task_client(&connector.client, &connector.spec.name, task, queues / total.max(1)),
                    dead_letters: DeadLetterQueue::start(config, task, &settings.producer, &budget)
                        .map_err(wrong)?,
                    runtime: runtime.handle().clone(),
                    budget: budget.clone(),
                    retry: Retry::configured(config, task),
                    metrics: TaskMetrics::new(&connector.spec.name, task),
                    shutdown: stopping.clone(),
                    shutdown_timeout: settings.shutdown_timeout,
                    offset_flush_interval: settings.offset_flush_interval,
                });
            }
        }
        let status = Arc::new(status);
        let rest = Rest {
            status: Arc::clone(&status),
            metrics: prometheus,
            budget,
            budget_limit,
            worker_id: address.to_string(),
            cluster_id,
        };
        let shutdown_timeout = settings.shutdown_timeout;
        Ok(Self { runtime, listener, address, status, rest, tasks, shutdown, shutdown_timeout })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs until `stop`, then lets every task flush, commit and leave its group.
    pub fn run(self, stop: impl Future<Output = ()>) -> Outcome {
        self.run_tasks(stop, task::run)
    }

    fn run_tasks(self, stop: impl Future<Output = ()>, run: fn(TaskSpec) -> Result<(), TaskError>) -> Outcome {
        let Self { runtime, listener, address, status, rest, tasks, shutdown, shutdown_timeout } = self;
        let (done, mut ended) = mpsc::unbounded_channel();
        let mut running = BTreeSet::new();
        info!(%address, "listening at http://{address}");
        for spec in tasks {
            let (name, task) = (spec.connector.name.clone(), spec.task);
            let (thread_status, done) = (Arc::clone(&status), done.clone());
            status.set(&name, task, TaskState::Running);
            info!(connector = name, task, topics = ?spec.connector.topics, "task started");
            let thread = thread::Builder::new().name(format!("{name}-{task}")).spawn(move || {
                let (name, task) = (spec.connector.name.clone(), spec.task);
                supervise(spec, run, &thread_status);
                // The receiver is gone when nobody waits any more.
                let _ = done.send((name, task));
            });
            match thread {
                Ok(_) => drop(running.insert((name, task))),
                Err(error) => fail(&status, &name, task, format!("cannot start its thread: {error}")),
            }
        }

        let in_time = runtime.block_on(async {
            let server = async move {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                axum::serve(listener, rest::router(rest)).await
            };
            tokio::spawn(async move {
                if let Err(error) = server.await {
                    error!(%address, %error, "the REST interface has ended");
                }
            });
            stop.await;
            info!("stopping: tasks flush, commit and leave");
            // Every task may have ended by itself; then nobody listens.
            let _ = shutdown.send(true);
            let deadline = Instant::now() + shutdown_timeout.saturating_add(LEAVE_TIMEOUT);
            while !running.is_empty() {
                match tokio::time::timeout_at(deadline, ended.recv()).await {
                    Ok(Some(task)) => drop(running.remove(&task)),
                    Ok(None) => break,
                    Err(_) => {
                        let tasks: Vec<_> = running.iter().map(|(name, task)| format!("{name}-{task}")).collect();
                        error!(
                            "not ended within task.shutdown.graceful.timeout.ms: {}; what they have not committed comes again at the next start",
                            tasks.join(", ")
                        );
                        return false;
                    }
                }
            }
            true
        });
        let failed = status.failed();
        for (connector, task, trace) in &failed {
            error!(connector, task, "had failed: {trace}");
        }
        runtime.shutdown_background();
        info!("stopped");
        if in_time && failed.is_empty() { Outcome::Clean } else { Outcome::Failed }
    }
}

/// Runs a task to its end, whatever that is, and notes it.
fn supervise(spec: TaskSpec, run: fn(TaskSpec) -> Result<(), TaskError>, status: &Status) {
    let (name, task) = (spec.connector.name.clone(), spec.task);
    match catch_unwind(AssertUnwindSafe(|| run(spec))) {
        Ok(Ok(())) => {
            info!(connector = name, task, "task ended");
            status.set(&name, task, TaskState::Unassigned);
        }
        Ok(Err(error)) => fail(status, &name, task, error.to_string()),
        Err(panic) => fail(status, &name, task, format!("panicked, which is a defect of the program: {}", text(&*panic))),
    }
}

fn fail(status: &Status, name: &str, task: u32, trace: String) {
    error!(connector = name, task, "task failed: {trace}");
    status.set(name, task, TaskState::Failed(trace));
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

/// Of `buffer.memory`, what librdkafka's queues may hold and what the tasks may: a quarter is enough to keep a task busy while the
/// next fetch is on its way, and is lost to nothing else.
fn split_memory(buffer_memory: usize) -> (usize, usize) {
    let queues = buffer_memory / 4;
    (queues, buffer_memory - queues)
}

/// A task's consumer: the connector's, with its share of the memory where the connector does not say otherwise.
fn task_client(client: &ClientConfig, connector: &str, task: u32, queue_bytes: usize) -> ClientConfig {
    let mut own = client.clone();
    let mut default = |key: &str, value: String| {
        if client.get(key).is_none() {
            own.set(key, value);
        }
    };
    default("client.id", format!("connect-{connector}-{task}"));
    default("queued.max.messages.kbytes", (queue_bytes / 1024).clamp(64, 2_097_151).to_string());
    // Once its queue is full, librdkafka does not fetch for so long: the default of a second starves a fast task.
    default("fetch.queue.backoff.ms", "5".into());
    own
}

/// A connector that passed every check that needs no network.
struct Checked<'s> {
    definition: Definition,
    spec: Arc<ConnectorSpec>,
    kind: &'s dyn SinkConnector,
    client: ClientConfig,
}

impl<'s> Checked<'s> {
    fn new(
        definition: Definition,
        settings: &Settings,
        sinks: &'s [Box<dyn SinkConnector>],
    ) -> Result<Self, Vec<StartError>> {
        let file = definition.file.clone();
        Self::check(definition, settings, sinks).map_err(|wrong| in_file(&file, wrong))
    }

    fn check(
        definition: Definition,
        settings: &Settings,
        sinks: &'s [Box<dyn SinkConnector>],
    ) -> Result<Self, Vec<ConfigError>> {
        let name = &definition.name;
        let kind = kind(&definition, sinks).map_err(|error| vec![error])?;
        let config = Config::check(name, &[COMMON, kind.keys()], definition.values.clone())?;
        let mut problems = common::check(&config);
        problems.extend(intent::check(&config).err());
        problems.extend(Converter::new(&config).err());
        let mut client = |base: &ClientConfig, prefix| {
            let client = kafka::client(base, &config, prefix).and_then(|client| match client.create_native_config() {
                Ok(_) => Ok(client),
                Err(error) => Err(vec![kafka::rejected(&config, prefix, &error)]),
            });
            client.unwrap_or_else(|wrong| {
                problems.extend(wrong);
                ClientConfig::new()
            })
        };
        let consumer = client(&settings.consumer, CONSUMER);
        client(&settings.producer, "producer.override.");
        if !problems.is_empty() {
            return Err(problems);
        }
        let topics = match config.get("topics.regex") {
            Some(pattern) => Subscription::Regex(pattern.into()),
            None => Subscription::Topics(config.list("topics").into_iter().map(Into::into).collect()),
        };
        let spec = Arc::new(ConnectorSpec { name: name.clone(), config, topics });
        Ok(Self { definition, spec, kind, client: consumer })
    }

    fn tasks(&self) -> u32 {
        self.spec.config.int("tasks.max").and_then(|tasks| u32::try_from(tasks).ok()).unwrap_or(1)
    }

    fn errors(&self, wrong: Vec<ConfigError>) -> Vec<StartError> {
        in_file(&self.definition.file, wrong)
    }

    /// The checks that need the network, and the sink.
    fn start(
        &self,
        settings: &Settings,
        runtime: &Runtime,
        cluster_id: &mut Option<String>,
    ) -> Result<Arc<dyn StartedSink>, Vec<StartError>> {
        let config = &self.spec.config;
        let servers = || self.client.get("bootstrap.servers").unwrap_or_default().to_owned();
        let log = KafkaLog::new(format!("connector {}, start", self.spec.name), &self.client);
        let consumer: BaseConsumer<KafkaLog> = self
            .client
            .create_with_context(log)
            .map_err(|error| self.errors(vec![kafka::rejected(config, CONSUMER, &error)]))?;
        let metadata = consumer
            .fetch_metadata(None, CLUSTER_TIMEOUT)
            .map_err(|error| vec![StartError::Unreachable { servers: servers(), error: error.to_string() }])?;
        if cluster_id.is_none() {
            *cluster_id = consumer.client().fetch_cluster_id(Duration::ZERO);
        }

        let mut problems = self.missing_topics(&metadata);
        problems.extend(deadletter::ensure_topic(config, &settings.producer, runtime.handle()).err().unwrap_or_default());
        match self.kind.start(config, runtime.handle()) {
            Ok(sink) if problems.is_empty() => Ok(sink),
            Ok(_) => Err(self.errors(problems)),
            Err(error) => {
                problems.push(error);
                Err(self.errors(problems))
            }
        }
    }

    fn missing_topics(&self, metadata: &Metadata) -> Vec<ConfigError> {
        let config = &self.spec.config;
        // Names with two underscores are the cluster's own.
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
            Subscription::Regex(pattern) => {
                let matches = common::topic_pattern(pattern)
                    .is_ok_and(|pattern| existing.iter().any(|topic| pattern.is_match(topic)));
                let similar = || kafka::similar_topics(&pattern.replace(['\\', '^', '$'], ""), &existing);
                (!matches)
                    .then(|| config.error("topics.regex", format!("matches no topic that exists; {}", similar())))
                    .into_iter()
                    .collect()
            }
        }
    }
}

/// The sink that `connector.class` names.
fn kind<'s>(definition: &Definition, sinks: &'s [Box<dyn SinkConnector>]) -> Result<&'s dyn SinkConnector, ConfigError> {
    let class = definition.values.get("connector.class");
    let known = || sinks.iter().flat_map(|sink| sink.classes()).copied();
    let found = class.and_then(|class| sinks.iter().find(|sink| sink.classes().contains(&class.trim())));
    found.map(Box::as_ref).ok_or_else(|| ConfigError {
        connector: definition.name.clone(),
        key: "connector.class".into(),
        value: class.cloned(),
        problem: format!(
            "{}; known: {}",
            if class.is_some() { "is not a known kind of sink" } else { "is missing" },
            known().collect::<Vec<_>>().join(", ")
        ),
    })
}

fn in_file(file: &std::path::Path, wrong: Vec<ConfigError>) -> Vec<StartError> {
    wrong.into_iter().map(|error| StartError::Config { file: file.into(), error }).collect()
}

fn partition<T, E>(results: impl Iterator<Item = Result<T, Vec<E>>>) -> (Vec<T>, Vec<E>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => good.push(value),
            Err(errors) => bad.extend(errors),
        }
    }
    (good, bad)
}
