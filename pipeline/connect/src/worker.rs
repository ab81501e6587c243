//! The worker: checks every connector before it consumes anything, runs their tasks, each on a thread of its own, and says how they are.
//!
//! A task that fails leaves the others running. For what can be mended outside it begins anew by itself, with growing pauses; what would fail
//! again as it did stops it until the worker is restarted. Meanwhile `/health` says 503 and why.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
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

use crate::config::file::Definition;
use crate::config::{common, shown};
use crate::deadletter;
use crate::exclusive::{self, Writer};
use crate::kafka::{self, KafkaLog};
use crate::metrics::TaskMetrics;
use crate::plugins::{self, CONSUMER, Plugins};
use crate::reach::Reach;
use crate::rest::{self, Rest};
use crate::settings::Settings;
use crate::sink::RetryLimits;
use crate::status::{Status, TaskState};
use crate::task::{self, Prospect, TaskError, TaskSpec};
use crate::{Budget, Config, ConfigError, SinkConnector, StartedSink, metrics};

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
    #[error("cannot reach Kafka at {servers}: {problem}")]
    Unreachable {
        /// `bootstrap.servers`.
        servers: String,
        /// Why, and what to do about it.
        problem: String,
    },
    /// It was told to stop before it had started: that is no failure.
    #[error("stopped before it had started")]
    Stopped,
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
    restart_backoff_max: Duration,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("address", &self.address).field("status", &self.status).finish_non_exhaustive()
    }
}

impl Worker {
    /// Checks everything that can be checked before a record is read: settings, topics, dead-letter topics, tables and buckets.
    /// Every problem found; the errors are never empty. Must not be called in an async context. Once `stop` is true it waits for nothing
    /// any more and says [`StartError::Stopped`].
    pub fn prepare(
        settings: &Settings,
        definitions: Vec<Definition>,
        sinks: Vec<Box<dyn SinkConnector>>,
        stop: &watch::Receiver<bool>,
    ) -> Result<Self, Vec<StartError>> {
        let prometheus = metrics::install();
        let start = |error: StartError| vec![error];
        let runtime = Runtime::new().map_err(|error| start(error.into()))?;
        let (host, port) = &settings.listener;
        let listen = |error| start(StartError::Listen { host: host.clone(), port: *port, error });
        let listener = TcpListener::bind((host.as_str(), *port)).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;

        let plugins = Plugins::new(sinks, settings);
        let (checked, mut problems) = partition(definitions.into_iter().map(|d| Checked::new(d, &plugins)));
        if !problems.is_empty() {
            return Err(problems);
        }
        let (mut cluster_id, mut topics) = (None, BTreeSet::new());
        let mut started = Vec::new();
        for connector in &checked {
            let sink = connector.start(settings, &runtime, &mut cluster_id, &mut topics, stop);
            if *stop.borrow() {
                // Not by dropping it, which would wait for a sink that is being started.
                runtime.shutdown_background();
                return Err(vec![StartError::Stopped]);
            }
            match sink {
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
        problems.extend(conflicts(&checked, &topics));
        if !problems.is_empty() {
            return Err(problems);
        }

        let total: usize = checked.iter().map(|connector| connector.tasks() as usize).sum();
        let (queues, budget_limit) = split_memory(settings.buffer_memory, total);
        let budget = Budget::divided(budget_limit, total);
        let (shutdown, stopping) = watch::channel(false);
        let mut status = Status::default();
        let mut tasks = Vec::new();
        for (connector, sink) in checked.into_iter().zip(started) {
            status.add(&connector.spec.name, shown::all_shown(&connector.definition.written), connector.tasks());
            for task in 0..connector.tasks() {
                // Its counters are there, at zero, before it begins.
                drop(TaskMetrics::new(&connector.spec.name, task));
                tasks.push(TaskSpec {
                    connector: Arc::clone(&connector.spec),
                    task,
                    sink: Arc::clone(&sink),
                    client: task_client(&connector.client, &connector.spec.name, task, queues / total.max(1)),
                    producer: settings.producer.clone(),
                    runtime: runtime.handle().clone(),
                    budget: budget.another(),
                    retry: RetryLimits::of(&connector.spec.config),
                    shutdown: stopping.clone(),
                    shutdown_timeout: settings.shutdown_timeout,
                    offset_flush_interval: settings.offset_flush_interval,
                    pulse: status.pulse(&connector.spec.name, task),
                });
            }
        }
        let status = Arc::new(status);
        let rest = Rest {
            status: Arc::clone(&status),
            plugins,
            metrics: prometheus,
            budget,
            budget_limit,
            worker_id: address.to_string(),
            cluster_id,
        };
        Ok(Self {
            runtime,
            listener,
            address,
            status,
            rest,
            tasks,
            shutdown,
            shutdown_timeout: settings.shutdown_timeout,
            restart_backoff_max: settings.restart_backoff_max,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs until `stop`, then lets every task flush, commit and leave its group.
    pub fn run<S: Future<Output = ()>>(self, stop: impl FnOnce() -> S) -> Outcome {
        self.run_tasks(stop, task::run)
    }

    fn run_tasks<S: Future<Output = ()>>(
        self,
        stop: impl FnOnce() -> S,
        run: fn(TaskSpec) -> Result<(), TaskError>,
    ) -> Outcome {
        let Self { runtime, listener, address, status, rest, tasks, shutdown, shutdown_timeout, restart_backoff_max } =
            self;
        let (done, mut ended) = mpsc::unbounded_channel();
        let mut running = BTreeSet::new();
        info!(%address, "listening at http://{address}");
        // Made before the first task, within the runtime: from there on a signal is not missed.
        let stop = {
            let _context = runtime.enter();
            stop()
        };
        for spec in tasks {
            let (name, task) = (spec.connector.name.clone(), spec.task);
            let (thread_status, done) = (Arc::clone(&status), done.clone());
            status.set(&name, task, TaskState::Running);
            info!(connector = name, task, topics = ?spec.connector.topics, "task started");
            let thread = thread::Builder::new().name(format!("{name}-{task}")).spawn(move || {
                let (name, task) = (spec.connector.name.clone(), spec.task);
                supervise(&spec, run, &thread_status, restart_backoff_max);
                // The receiver is gone when nobody waits any more.
                let _ = done.send((name, task));
            });
            match thread {
                Ok(_) => drop(running.insert((name, task))),
                Err(error) => fail(&status, &name, task, format!("cannot start its thread: {error}")),
            }
        }

        let in_time = runtime.block_on(async {
            tokio::spawn(async move {
                if let Err(error) = rest::serve(listener, rest).await {
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
        runtime.shutdown_background();
        info!(failed_tasks = failed, "stopped");
        if in_time && failed == 0 { Outcome::Clean } else { Outcome::Failed }
    }
}

/// Runs a task until it ends as it was told to, or for good, and notes what becomes of it. One that may be mended from outside begins anew by
/// itself: from the committed offsets, as a new member of its group.
fn supervise(spec: &TaskSpec, run: fn(TaskSpec) -> Result<(), TaskError>, status: &Status, longest: Duration) {
    let (name, task) = (spec.connector.name.as_str(), spec.task);
    let mut shutdown = spec.shutdown.clone();
    let mut restarts = Restarts::new(longest);
    loop {
        spec.pulse.turn();
        let began = Instant::now();
        let (trace, reason) = match catch_unwind(AssertUnwindSafe(|| run(spec.clone()))) {
            Ok(Ok(())) => {
                info!(connector = name, task, "task ended");
                return status.set(name, task, TaskState::Unassigned);
            }
            Ok(Err(error)) => match error.prospect() {
                Prospect::Restart(reason) => (error.to_string(), reason),
                Prospect::Stop => return fail(status, name, task, error.to_string()),
            },
            Err(panic) => (format!("panicked, which is a defect of the program: {}", text(&*panic)), "panic"),
        };
        // What fails while it stops is not tried again.
        if *shutdown.borrow() {
            return fail(status, name, task, trace);
        }
        let pause = restarts.pause(began.elapsed());
        let number = restarts.number;
        error!(
            connector = name,
            task,
            reason,
            restart = number,
            pause_ms = pause.as_millis(),
            "task failed, and begins anew by itself: {trace}"
        );
        metrics::task_restart(name, task, reason);
        let waiting = format!("{trace} (restart {number} by itself after {} s)", pause.as_secs_f64());
        status.set(name, task, TaskState::Restarting(waiting));
        let stopped = spec.runtime.block_on(async {
            // An error is a worker that is gone.
            tokio::time::timeout(pause, shutdown.wait_for(|stop| *stop)).await.is_ok()
        });
        if stopped {
            // It was told already.
            return status.set(name, task, TaskState::Failed(trace));
        }
        status.set(name, task, TaskState::Running);
        info!(connector = name, task, restart = number, "task begins anew");
    }
}

/// How often a task began anew, and how long it waits the next time: a second, and then twice as long each time.
struct Restarts {
    longest: Duration,
    number: u32,
}

impl Restarts {
    const FIRST: Duration = Duration::from_secs(1);

    fn new(longest: Duration) -> Self {
        Self { longest, number: 0 }
    }

    /// How long to wait after a run of so long. One that lasted longer than the longest pause was well, and is counted from the start.
    fn pause(&mut self, ran: Duration) -> Duration {
        if ran > self.longest {
            self.number = 0;
        }
        self.number += 1;
        Self::FIRST.saturating_mul(1 << (self.number - 1).min(30)).min(self.longest)
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

/// Divides `buffer.memory` into the bytes that librdkafka's queues may hold and those that the tasks may hold.
///
/// The queues need little to keep a task busy while the next fetch is on its way. They count a record's own bytes only; with the structures
/// around it and the fetch that it came in they take several times as much, and so do the client's threads. The tasks therefore never get
/// more than 10 of 16 parts, and with many tasks less: what [`CLIENT_BYTES`] leaves, but always an eighth.
fn split_memory(buffer_memory: usize, tasks: usize) -> (usize, usize) {
    let left = buffer_memory.saturating_sub(tasks.saturating_mul(CLIENT_BYTES));
    (buffer_memory / 32, left.clamp(buffer_memory / 8, buffer_memory / 16 * 10))
}

/// What a task's Kafka client takes under load beside its queue, rounded up: 3.7 MiB in a worker with ten tasks, and its share of the
/// program itself.
const CLIENT_BYTES: usize = 11 << 19;

/// A task's consumer: the connector's, with its share of the memory where the connector does not say otherwise.
fn task_client(client: &ClientConfig, connector: &str, task: u32, queue_bytes: usize) -> ClientConfig {
    let mut own = client.clone();
    let mut default = |key: &str, value: String| {
        if client.get(key).is_none() {
            own.set(key, value);
        }
    };
    default("client.id", format!("connect-{connector}-{task}"));
    // librdkafka lowers fetch.max.bytes to this, too.
    default("queued.max.messages.kbytes", (queue_bytes / 1024).clamp(64, 2_097_151).to_string());
    // How soon topics that match a pattern, and partitions that are added, are seen: librdkafka's default is five minutes.
    default("topic.metadata.refresh.interval.ms", "10000".into());
    // Once its queue is full, librdkafka does not fetch for so long: the default of a second starves a fast task.
    default("fetch.queue.backoff.ms", "5".into());
    own
}

/// A connector that passed every check that needs no network.
struct Checked {
    definition: Definition,
    spec: Arc<ConnectorSpec>,
    kind: Arc<dyn SinkConnector>,
    client: ClientConfig,
}

impl Checked {
    fn new(definition: Definition, plugins: &Plugins) -> Result<Self, Vec<StartError>> {
        let checked = plugins.check(&definition).map_err(|wrong| in_file(&definition.file, wrong))?;
        let plugins::Checked { kind, config, client } = checked;
        let topics = match config.get("topics.regex") {
            Some(pattern) => Subscription::Regex(pattern.into()),
            None => Subscription::Topics(config.list("topics").into_iter().map(Into::into).collect()),
        };
        let spec = Arc::new(ConnectorSpec { name: definition.name.clone(), config, topics });
        Ok(Self { definition, spec, kind, client })
    }

    fn tasks(&self) -> u32 {
        self.spec.config.int("tasks.max").and_then(|tasks| u32::try_from(tasks).ok()).unwrap_or(1)
    }

    fn errors(&self, wrong: Vec<ConfigError>) -> Vec<StartError> {
        in_file(&self.definition.file, wrong)
    }

    /// The checks that need the network, and the sink. Adds the topics that exist to `topics`. What it gives means nothing once `stop` is true.
    fn start(
        &self,
        settings: &Settings,
        runtime: &Runtime,
        cluster_id: &mut Option<String>,
        topics: &mut BTreeSet<String>,
        stop: &watch::Receiver<bool>,
    ) -> Result<Arc<dyn StartedSink>, Vec<StartError>> {
        let config = &self.spec.config;
        let log = KafkaLog::of_start(format!("connector {}, start", self.spec.name), &self.client);
        let consumer: BaseConsumer<KafkaLog> = kafka::asking(&self.client)
            .create_with_context(log.clone())
            .map_err(|error| self.errors(vec![kafka::rejected(config, CONSUMER, &error)]))?;
        let reach = Reach { log: &log, timeout: settings.cluster_timeout, stop };
        let metadata = reach
            .metadata(consumer.client(), None, |timeout| drop(consumer.poll(timeout)))
            .map_err(|problem| vec![StartError::Unreachable { servers: log.servers().to_owned(), problem }])?;
        if cluster_id.is_none() {
            *cluster_id = consumer.client().fetch_cluster_id(Duration::ZERO);
        }

        topics.extend(metadata.topics().iter().map(|topic| topic.name().to_owned()));
        let mut problems = self.missing_topics(&metadata);
        let letters = deadletter::ensure_topic(config, &settings.producer, runtime.handle(), stop);
        problems.extend(letters.err().unwrap_or_default());
        match self.start_sink(runtime, stop) {
            Some(Ok(sink)) if problems.is_empty() => Ok(sink),
            Some(Err(error)) => {
                problems.push(error);
                Err(self.errors(problems))
            }
            _ => Err(self.errors(problems)),
        }
    }

    /// Starts the sink; `None` if it was told to stop meanwhile.
    fn start_sink(
        &self,
        runtime: &Runtime,
        stop: &watch::Receiver<bool>,
    ) -> Option<Result<Arc<dyn StartedSink>, ConfigError>> {
        let (kind, config, handle) = (Arc::clone(&self.kind), self.spec.config.clone(), runtime.handle().clone());
        let start = runtime.spawn_blocking(move || kind.start(&config, &handle));
        let mut stop = stop.clone();
        runtime.block_on(async {
            tokio::select! {
                started = start => Some(started.unwrap_or_else(|panic| resume_unwind(panic.into_panic()))),
                _ = stop.wait_for(|stop| *stop) => None,
            }
        })
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

/// What is wrong with connectors beside each other.
fn conflicts(checked: &[Checked], topics: &BTreeSet<String>) -> Vec<StartError> {
    let writers = checked.iter().filter_map(|one| {
        let target = one.kind.exclusive_target(&one.spec.config)?;
        Some(Writer { spec: &one.spec, file: &one.definition.file, target })
    });
    let writers: Vec<_> = writers.collect();
    let mut problems = Vec::new();
    for (at, later) in writers.iter().enumerate() {
        let conflict = writers[..at].iter().find_map(|earlier| exclusive::conflict(earlier, later, topics));
        problems.extend(conflict.map(|error| StartError::Config { file: later.file.into(), error }));
    }
    problems
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use insta::assert_snapshot;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::DefaultProducerContext;
    use serde_json::{Value, json};
    use tokio::runtime::Handle;
    use tokio::sync::oneshot;

    use super::*;
    use crate::config::file;
    use crate::providers::Providers;
    use crate::{Key, Kind, SinkError, SinkTask, Target, TaskContext};

    struct TestSink;

    impl SinkConnector for TestSink {
        fn classes(&self) -> &'static [&'static str] {
            &["TestSink", "com.example.TestSink"]
        }

        fn keys(&self) -> &'static [Key] {
            const { &[Key::new("table", Kind::Text, "a table").required()] }
        }

        /// Tables that are named so take one writer.
        fn exclusive_target(&self, config: &Config) -> Option<Target> {
            let table = config.text("table");
            table.starts_with("exclusive").then(|| Target { key: "table", place: format!("the table {table}") })
        }

        fn start(&self, config: &Config, _: &Handle) -> Result<Arc<dyn StartedSink>, ConfigError> {
            match config.text("table") {
                "missing" => Err(config.error("table", "does not exist")),
                _ => Ok(Arc::new(TestSink)),
            }
        }
    }

    impl StartedSink for TestSink {
        fn task(&self, _: TaskContext) -> Box<dyn SinkTask> {
            unreachable!("these tests run no task of the sink")
        }
    }

    fn cluster(topics: &[&str]) -> MockCluster<'static, DefaultProducerContext> {
        let cluster = MockCluster::new(1).unwrap();
        for topic in topics {
            cluster.create_topic(topic, 2, 1).unwrap();
        }
        cluster
    }

    fn settings(servers: &str) -> Settings {
        let variables = [
            ("KAFKA_BOOTSTRAP_SERVERS", servers),
            ("CONNECT_LISTENERS", "http://127.0.0.1:0"),
            ("CONNECT_TASK_RESTART_BACKOFF_MAX_MS", "20"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Settings { cluster_timeout: Duration::from_secs(1), ..Settings::from_env(variables).unwrap() }
    }

    fn prepare(servers: &str, connectors: &[Value]) -> Result<Worker, Vec<StartError>> {
        let providers = Providers::new(|name| (name == "TABLE").then(|| "secret".to_owned()));
        let definitions = connectors
            .iter()
            .enumerate()
            .map(|(i, json)| file::parse(Path::new(&format!("{i}.json")), &json.to_string(), &providers).unwrap())
            .collect();
        Worker::prepare(&settings(servers), definitions, vec![Box::new(TestSink)], &watch::channel(false).1)
    }

    fn problems(servers: &str, connectors: &[Value]) -> String {
        let problems = prepare(servers, connectors).unwrap_err();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n").replace(servers, "KAFKA")
    }

    fn get(address: SocketAddr, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// Runs a worker, lets `check` look at it, stops it.
    fn running(worker: Worker, run: fn(TaskSpec) -> Result<(), TaskError>, check: impl FnOnce(SocketAddr)) -> Outcome {
        let address = worker.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || worker.run_tasks(|| async { drop(stopped.await) }, run));
        check(address);
        drop(stop);
        thread.join().unwrap()
    }

    #[expect(clippy::unnecessary_wraps, reason = "it stands for `task::run`")]
    fn until_stopped(mut spec: TaskSpec) -> Result<(), TaskError> {
        let runtime = spec.runtime.clone();
        runtime.block_on(async {
            spec.shutdown.wait_for(|stop| *stop).await.unwrap();
        });
        Ok(())
    }

    fn some_fail(spec: TaskSpec) -> Result<(), TaskError> {
        match spec.task {
            1 => Err(TaskError::OffsetOutOfRange("the offset is gone".into())),
            2 => Err(SinkError::Fatal("the bucket is gone".into()).into()),
            3 => panic!("at the disco"),
            _ => until_stopped(spec),
        }
    }

    /// Fails twice, and then runs.
    fn third_try(spec: TaskSpec) -> Result<(), TaskError> {
        static TRIES: AtomicUsize = AtomicUsize::new(0);
        match TRIES.fetch_add(1, Ordering::Relaxed) {
            0 => Err(SinkError::Fatal("access is denied".into()).into()),
            1 => panic!("at the disco"),
            _ => until_stopped(spec),
        }
    }

    /// Asks until the answer is as expected; the last one is shown if it never is.
    fn wait_for<T: std::fmt::Debug>(ask: impl Fn() -> T, expected: impl Fn(&T) -> bool) -> T {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        loop {
            let answer = ask();
            if expected(&answer) {
                return answer;
            }
            assert!(std::time::Instant::now() < deadline, "{answer:?}");
        }
    }

    #[test]
    fn every_problem_of_every_connector_is_told_before_the_network_is_asked() {
        assert_snapshot!(problems("127.0.0.1:1", &[
            json!({"name": "a", "connector.class": "TestSnk", "topics": "t"}),
            json!({"name": "b", "connector.class": "com.example.TestSink", "topics": "t", "tabel": "x", "tasks.max": 0}),
            json!({"name": "c", "connector.class": "TestSink", "topics": "t", "table": "x", "consumer.override.group.id": "x",
                "consumer.override.foo": "x", "converter.update.fields.template": "pk"}),
        ]), @r"
        0.json: connector `a`: `connector.class` = `TestSnk`: is not a known kind of sink; known: TestSink, com.example.TestSink
        1.json: connector `b`: `tabel`: is not a known key; nearest known key: `table`
        1.json: connector `b`: `table`: is missing: a table
        1.json: connector `b`: `tasks.max` = `0`: is out of range; allowed: an integer from 1 to 1000
        2.json: connector `c`: `converter.update.fields.template` = `pk`: `pk` is not of the form field=template
        2.json: connector `c`: `consumer.override.group.id`: cannot be set: the group is always `connect-<name>`: offsets and intents belong to it
        ");
    }

    #[test]
    fn a_worker_that_is_told_to_stop_does_not_wait_for_its_cluster() {
        // It takes connections and says nothing.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let settings = settings(&silent.local_addr().unwrap().to_string());
        let connector = json!({"name": "a", "connector.class": "TestSink", "topics": "t", "table": "x"});
        let definition = file::parse(Path::new("a.json"), &connector.to_string(), &Providers::new(|_| None)).unwrap();
        let started = std::time::Instant::now();
        let settings = Settings { cluster_timeout: Duration::from_mins(1), ..settings };
        let stopped = Worker::prepare(&settings, vec![definition], vec![Box::new(TestSink)], &watch::channel(true).1);
        assert_snapshot!(stopped.unwrap_err()[0], @"stopped before it had started");
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    }

    #[test]
    fn a_cluster_that_does_not_answer_is_named() {
        // Nothing listens at port 1.
        let text = problems(
            "127.0.0.1:1",
            &[json!({"name": "a", "connector.class": "TestSink", "topics": "t", "table": "x"})],
        );
        assert_snapshot!(text, @"cannot reach Kafka at KAFKA: nothing listens there (connection refused): start the cluster, or correct KAFKA_BOOTSTRAP_SERVERS");
    }

    #[test]
    fn what_does_not_exist_is_told_with_what_does() {
        let cluster = cluster(&["fms.vehicle.real", "other"]);
        assert_snapshot!(problems(&cluster.bootstrap_servers(), &[
            json!({"name": "a", "connector.class": "TestSink", "topics": "fms.vehicle.real,fms.vehicel.real", "table": "missing"}),
            json!({"name": "b", "connector.class": "TestSink", "topics.regex": "fms\\..*\\.reel", "table": "x"}),
        ]), @r"
        0.json: connector `a`: `topics` = `fms.vehicle.real,fms.vehicel.real`: the topic `fms.vehicel.real` does not exist; the most similar of the 2 that exist is `fms.vehicle.real`
        0.json: connector `a`: `table` = `missing`: does not exist
        1.json: connector `b`: `topics.regex` = `fms\..*\.reel`: matches no topic that exists; the most similar of the 2 that exist is `fms.vehicle.real`
        ");
    }

    /// Where two connectors would write a topic twice, the worker does not start, however each names its topics.
    #[test]
    fn a_topic_has_one_writer_at_a_place_that_takes_one() {
        let cluster = cluster(&["fms.vehicle.real", "fms.adas.real", "other"]);
        let connector = |name: &str, table: &str, key: &str, topics: &str| json!({"name": name, "connector.class": "TestSink", "table": table, key: topics});
        assert_snapshot!(problems(&cluster.bootstrap_servers(), &[
            connector("a", "exclusive", "topics", "fms.vehicle.real, other"),
            connector("b", "exclusive", "topics", "other"),
            connector("c", "exclusive", "topics.regex", "fms\\..*"),
            connector("d", "exclusive", "topics.regex", "fms\\.adas.*"),
            connector("e", "exclusive2", "topics.regex", "fms\\..*"),
            connector("f", "exclusive2", "topics.regex", "fms\\..*"),
        ]), @r"
        1.json: connector `b`: `table` = `exclusive`: connector `a` (0.json) writes topic `other` to the table exclusive as well, and its rows would be there twice; give one of the two another `table`, or other topics
        2.json: connector `c`: `table` = `exclusive`: connector `a` (0.json) writes topic `fms.vehicle.real` to the table exclusive as well, and its rows would be there twice; give one of the two another `table`, or other topics
        3.json: connector `d`: `table` = `exclusive`: connector `c` (2.json) writes topic `fms.adas.real` to the table exclusive as well, and its rows would be there twice; give one of the two another `table`, or other topics
        5.json: connector `f`: `table` = `exclusive2`: connector `e` (4.json) writes topic `fms.adas.real` to the table exclusive2 as well, and its rows would be there twice; give one of the two another `table`, or other topics
        ");
        for (one, other) in [
            (connector("a", "shared", "topics", "other"), connector("b", "shared", "topics", "other")),
            (connector("a", "exclusive", "topics", "other"), connector("b", "exclusive2", "topics", "other")),
            (connector("a", "exclusive", "topics", "other"), connector("b", "exclusive", "topics.regex", "fms\\..*")),
        ] {
            prepare(&cluster.bootstrap_servers(), &[one, other]).unwrap();
        }
    }

    #[test]
    fn a_failed_task_leaves_the_others_running_and_is_told_by_health() {
        let cluster = cluster(&["fms.vehicle.real"]);
        let connector = json!({"name": "a", "connector.class": "TestSink", "topics.regex": "fms\\..*", "table": "${env:TABLE}", "tasks.max": 2,
            "producer.override.sasl.password": "hunter2"});
        let worker = prepare(&cluster.bootstrap_servers(), &[connector]).unwrap();
        let outcome = running(worker, some_fail, |address| {
            let json = |path: &str| {
                let (status, body) = get(address, path);
                let body = body.replace(&address.to_string(), "WORKER");
                (status, serde_json::from_str::<Value>(&body).unwrap_or(Value::String(body)))
            };
            let expected = json!({"status": "unhealthy", "failed": [
                {"connector": "a", "task": 1, "trace": "the offset is gone"},
            ]});
            wait_for(|| json("/health"), |answer| *answer == (503, expected.clone()));
            assert_eq!(json("/connectors"), (200, json!(["a"])));
            let config = json!({"name": "a", "connector.class": "TestSink", "topics.regex": "fms\\..*", "table": "${env:TABLE}", "tasks.max": "2",
                "producer.override.sasl.password": "[hidden]"});
            assert_eq!(json("/connectors/a/config"), (200, config.clone()), "a provider's value is not shown");
            let tasks = json!([{"connector": "a", "task": 0}, {"connector": "a", "task": 1}]);
            assert_eq!(
                json("/connectors/a"),
                (200, json!({"name": "a", "config": config, "tasks": tasks, "type": "sink"}))
            );
            let first = json!({"id": 0, "state": "RUNNING", "worker_id": "WORKER"});
            let second = json!({"id": 1, "state": "FAILED", "worker_id": "WORKER", "trace": "the offset is gone"});
            assert_eq!(json("/connectors/a/tasks/1/status"), (200, second.clone()));
            let status = json("/connectors/a/status").1;
            assert_eq!(status["connector"], json!({"state": "RUNNING", "worker_id": "WORKER"}));
            assert_eq!((&status["tasks"][0], &status["tasks"][1]), (&first, &second));
            assert_eq!(json("/connectors/b").0, 404);
            assert_eq!(json("/connectors/a/tasks/7/status").0, 404);
            let (status, metrics) = get(address, "/metrics");
            assert_eq!(status, 200);
            for line in [
                r#"kafka_connect_connector_task_status{connector="a",task="1",status="FAILED"} 1"#,
                r#"kafka_connect_sink_task_sink_record_read_total{connector="a",task="0"} 0"#,
                "fms_buffer_limit_bytes 41943040",
            ] {
                assert!(metrics.contains(line), "{metrics}");
            }
        });
        assert_eq!(outcome, Outcome::Failed);
    }

    /// What can be mended outside, and even a panic, ends no task: it begins anew, as often as it has to, and says how often and why.
    #[test]
    fn a_task_that_may_be_mended_begins_anew_by_itself() {
        let cluster = cluster(&["t"]);
        let connector = json!({"name": "mended", "connector.class": "TestSink", "topics": "t", "table": "x"});
        let worker = prepare(&cluster.bootstrap_servers(), &[connector]).unwrap();
        let outcome = running(worker, third_try, |address| {
            wait_for(|| get(address, "/connectors/mended/tasks/0/status").1, |body| body.contains("RUNNING"));
            let metrics = wait_for(|| get(address, "/metrics").1, |text| text.contains(r#"reason="panic"} 1"#));
            assert!(
                metrics.contains(r#"fms_task_restarts_total{connector="mended",task="0",reason="sink"} 1"#),
                "{metrics}"
            );
            wait_for(|| get(address, "/health").0, |status| *status == 200);
        });
        assert_eq!(outcome, Outcome::Clean);
    }

    /// While it waits, the status and `/health` say so; a worker that is stopped then had a failed task.
    #[test]
    fn a_task_that_waits_to_begin_anew_is_not_well() {
        let cluster = cluster(&["t"]);
        let connector =
            json!({"name": "a", "connector.class": "TestSink", "topics": "t", "table": "x", "tasks.max": 4});
        let mut worker = prepare(&cluster.bootstrap_servers(), &[connector]).unwrap();
        worker.restart_backoff_max = Duration::from_mins(10);
        let outcome = running(worker, some_fail, |address| {
            let state = || get(address, "/connectors/a/tasks/2/status").1;
            wait_for(state, |task| task.contains(r#""state":"RESTARTING","trace":"the bucket is gone (restart "#));
            let (status, health) =
                wait_for(|| get(address, "/health"), |(_, body)| body.contains("the bucket is gone (restart "));
            assert_eq!(status, 503, "{health}");
        });
        assert_eq!(outcome, Outcome::Failed);
    }

    #[test]
    fn pauses_grow_to_their_limit_and_a_good_run_begins_them_anew() {
        let mut restarts = Restarts::new(Duration::from_mins(1));
        let pauses: Vec<u64> = (0..8).map(|_| restarts.pause(Duration::from_secs(59)).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(restarts.pause(Duration::from_secs(61)), Duration::from_secs(1));
        let mut quick = Restarts::new(Duration::from_millis(20));
        assert_eq!(quick.pause(Duration::ZERO), Duration::from_millis(20));
    }

    #[test]
    fn a_worker_that_is_stopped_ends_cleanly() {
        let cluster = cluster(&["t"]);
        let connector = json!({"name": "a", "connector.class": "TestSink", "topics": "t", "table": "x"});
        let worker = prepare(&cluster.bootstrap_servers(), &[connector]).unwrap();
        let outcome = running(worker, until_stopped, |address| assert_eq!(get(address, "/health").0, 200));
        assert_eq!(outcome, Outcome::Clean);
    }

    #[test]
    fn tasks_share_the_memory_of_the_queues_unless_a_connector_says_otherwise() {
        let (queues, tasks) = split_memory(64 << 20, 2);
        assert_eq!((queues, tasks), (2 << 20, 40 << 20));
        assert_eq!(split_memory(64 << 20, 6), (2 << 20, 31 << 20));
        assert_eq!(split_memory(64 << 20, 100), (2 << 20, 8 << 20));
        let mut client = ClientConfig::new();
        assert_eq!(task_client(&client, "a", 1, queues / 4).get("queued.max.messages.kbytes"), Some("512"));
        client.set("queued.max.messages.kbytes", "7");
        let own = task_client(&client, "a", 1, queues / 4);
        assert_eq!(own.get("queued.max.messages.kbytes"), Some("7"));
        assert_eq!(own.get("client.id"), Some("connect-a-1"));
    }
}
