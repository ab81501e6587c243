//! The worker: it checks every connector before it consumes anything, runs their tasks, each on a thread of its own,
//! and reports how they are.
//!
//! A task that fails leaves the others running. After a failure whose cause can be repaired outside of the worker it
//! restarts by itself, with growing pauses; after one that would repeat itself it stays stopped until the worker is
//! restarted. Meanwhile `/health` answers with status 503 and the reason.

mod client;
mod conflicts;
mod error;
mod start;
mod supervise;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, info};

use self::client::{split_memory, task_client};
pub use self::error::StartError;
use self::start::{CheckedConnector, ClusterView};
use self::supervise::{fail, supervise};
use crate::config::file::Definition;
use crate::config::shown;
use crate::metrics::TaskMetrics;
use crate::plugins::Plugins;
use crate::rest::{self, Rest};
use crate::settings::Settings;
use crate::sink::RetryLimits;
use crate::status::{Status, TaskState};
use crate::task::{self, TaskError, TaskSpec};
use crate::{Budget, SinkConnector, TaskFactory, metrics};

/// How long a task may take to leave its group after its time for flushing is over.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerOutcome {
    /// Every task flushed, committed and left its group.
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
    /// Checks everything that can be checked before a record is read: settings, topics, dead-letter topics, tables and
    /// buckets. The error has every problem found, at least one.
    ///
    /// Must not be called in an async context. Once `stop` is true it no longer waits for anything and returns
    /// [`StartError::Stopped`].
    pub fn prepare(
        settings: &Settings,
        definitions: Vec<Definition>,
        sinks: Vec<Box<dyn SinkConnector>>,
        stop: &watch::Receiver<bool>,
    ) -> Result<Self, Vec<StartError>> {
        let prometheus = metrics::install();
        let runtime = Runtime::new().map_err(|error| vec![error.into()])?;
        let (listener, address) = listen(settings).map_err(|error| vec![error])?;
        let plugins = Plugins::new(sinks, settings);
        let (checked, problems) = partition(definitions.into_iter().map(|d| CheckedConnector::new(d, &plugins)));
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut seen = ClusterView::default();
        let started = match start_all(&checked, settings, &runtime, &mut seen, stop) {
            Ok(started) => started,
            Err(problems) => {
                // Dropping the runtime would wait for a sink that is still being started.
                runtime.shutdown_background();
                return Err(problems);
            }
        };

        let (shutdown, stopping) = watch::channel(false);
        let Tasks { specs: tasks, status, budget, budget_limit } =
            Tasks::of(checked, started, settings, &runtime, &stopping);
        let status = Arc::new(status);
        let rest = Rest {
            status: Arc::clone(&status),
            plugins,
            metrics: prometheus,
            budget,
            budget_limit,
            worker_id: address.to_string(),
            cluster_id: seen.cluster_id,
        };
        let (shutdown_timeout, restart_backoff_max) = (settings.shutdown_timeout, settings.restart_backoff_max);
        Ok(Self { runtime, listener, address, status, rest, tasks, shutdown, shutdown_timeout, restart_backoff_max })
    }

    /// The address at which the worker listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs until the future that `stop` makes is ready, then lets every task flush, commit and leave its group.
    pub fn run<S: Future<Output = ()>>(self, stop: impl FnOnce() -> S) -> WorkerOutcome {
        self.run_tasks(stop, task::run)
    }

    fn run_tasks<S: Future<Output = ()>>(
        self,
        stop: impl FnOnce() -> S,
        run: fn(TaskSpec) -> Result<(), TaskError>,
    ) -> WorkerOutcome {
        let Self { runtime, listener, address, status, rest, tasks, shutdown, shutdown_timeout, restart_backoff_max } =
            self;
        info!(%address, "the worker listens at http://{address}");
        // Made before the first task and within the runtime, so that no signal is missed from then on.
        let stop = {
            let _context = runtime.enter();
            stop()
        };
        let (done, mut ended) = unbounded_channel();
        let mut running = BTreeSet::new();
        for spec in tasks {
            let (name, task) = (spec.connector.name.clone(), spec.task);
            let (thread_status, done) = (Arc::clone(&status), done.clone());
            status.set(&name, task, TaskState::Running);
            info!(connector = name, task, topics = ?spec.connector.topics, "task started");
            let thread = thread::Builder::new().name(format!("{name}-{task}")).spawn(move || {
                let (name, task) = (spec.connector.name.clone(), spec.task);
                supervise(&spec, run, &thread_status, restart_backoff_max);
                // An error means that nobody waits for the tasks any more.
                let _ = done.send((name, task));
            });
            match thread {
                Ok(_) => drop(running.insert((name, task))),
                Err(error) => fail(
                    &status,
                    &name,
                    task,
                    format!("the operating system does not start a thread for the task: {error}"),
                ),
            }
        }

        let in_time = runtime.block_on(async {
            tokio::spawn(async move {
                if let Err(error) = fms_serve::serve(listener, rest::router(rest)).await {
                    error!(%address, %error, "the REST interface has ended, so `/health` and `/metrics` do not answer \
                                              any more");
                }
            });
            stop.await;
            info!("the worker stops: its tasks flush, commit and leave their groups");
            // An error means that every task has ended by itself.
            let _ = shutdown.send(true);
            all_end(running, &mut ended, shutdown_timeout.saturating_add(LEAVE_TIMEOUT)).await
        });
        let failed = status.failed();
        runtime.shutdown_background();
        info!(failed_tasks = failed, "the worker has stopped");
        if in_time && failed == 0 { WorkerOutcome::Clean } else { WorkerOutcome::Failed }
    }
}

/// The tasks of all connectors, and what they share.
struct Tasks {
    specs: Vec<TaskSpec>,
    status: Status,
    budget: Budget,
    /// The bytes of the budget.
    budget_limit: usize,
}

impl Tasks {
    /// The tasks of these connectors, each with the factory of its tasks.
    fn of(
        connectors: Vec<CheckedConnector>,
        factories: Vec<TaskFactory>,
        settings: &Settings,
        runtime: &Runtime,
        stopping: &watch::Receiver<bool>,
    ) -> Self {
        let total: usize = connectors.iter().map(|connector| connector.tasks() as usize).sum();
        let (queues, budget_limit) = split_memory(settings.buffer_memory, total);
        let budget = Budget::divided(budget_limit, total);
        let mut status = Status::default();
        let mut specs = Vec::new();
        for (connector, factory) in connectors.into_iter().zip(factories) {
            let name = &connector.spec.name;
            status.add(name, shown::all_shown(&connector.definition.written), connector.tasks());
            for task in 0..connector.tasks() {
                // From now on the task's counters exist, at zero.
                drop(TaskMetrics::new(name, task));
                specs.push(TaskSpec {
                    connector: Arc::clone(&connector.spec),
                    task,
                    sink: Arc::clone(&factory),
                    client: task_client(&connector.client, name, task, queues / total.max(1)),
                    producer: settings.producer.clone(),
                    runtime: runtime.handle().clone(),
                    budget: budget.another(),
                    retry: RetryLimits::of(&connector.spec.config),
                    shutdown: stopping.clone(),
                    shutdown_timeout: settings.shutdown_timeout,
                    offset_flush_interval: settings.offset_flush_interval,
                    pulse: status.pulse(name, task),
                });
            }
        }
        Self { specs, status, budget, budget_limit }
    }
}

/// A connector's name and the number of one of its tasks.
type TaskName = (String, u32);

/// Waits until all of these tasks have ended. Gives whether they did so within `limit`; the log names those that did
/// not.
async fn all_end(mut running: BTreeSet<TaskName>, ended: &mut UnboundedReceiver<TaskName>, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    while !running.is_empty() {
        match tokio::time::timeout_at(deadline, ended.recv()).await {
            Ok(Some(task)) => drop(running.remove(&task)),
            Ok(None) => break,
            Err(_) => {
                let tasks: Vec<_> = running.iter().map(|(name, task)| format!("{name}-{task}")).collect();
                error!(
                    "these tasks did not end within task.shutdown.graceful.timeout.ms: {}; the records that they have \
                     not committed are read again at the next start",
                    tasks.join(", ")
                );
                return false;
            }
        }
    }
    true
}

/// Listens at the address of the settings.
fn listen(settings: &Settings) -> Result<(TcpListener, SocketAddr), StartError> {
    let (host, port) = &settings.listener;
    let bind = || {
        let listener = TcpListener::bind((host.as_str(), *port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bind().map_err(|error| StartError::Listen { host: host.clone(), port: *port, error })
}

/// Starts the sinks of all connectors, and checks the connectors beside each other. The error has every problem found.
fn start_all(
    connectors: &[CheckedConnector],
    settings: &Settings,
    runtime: &Runtime,
    seen: &mut ClusterView,
    stop: &watch::Receiver<bool>,
) -> Result<Vec<TaskFactory>, Vec<StartError>> {
    let (mut started, mut problems) = (Vec::new(), Vec::new());
    for connector in connectors {
        let sink = connector.start(settings, runtime, seen, stop);
        if *stop.borrow() {
            return Err(vec![StartError::Stopped]);
        }
        match sink {
            Ok(sink) => started.push(sink),
            Err(wrong) => {
                let unreachable = wrong.iter().any(|error| matches!(error, StartError::Unreachable { .. }));
                problems.extend(wrong);
                // The next connector would wait for the same cluster and report the same.
                if unreachable {
                    return Err(problems);
                }
            }
        }
    }
    problems.extend(conflicts::conflicts(connectors, &seen.topics));
    if problems.is_empty() { Ok(started) } else { Err(problems) }
}

/// The values of all results, and the errors of all.
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
