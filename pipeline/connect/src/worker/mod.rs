//! The worker: it checks every connector before it consumes anything, runs their tasks, each on a thread of its own,
//! and reports how they are.
//!
//! A task that fails leaves the others running. After a failure whose cause can be repaired outside of the worker it
//! restarts by itself, with growing pauses; after one that would repeat itself it stays stopped until the worker is
//! restarted. Meanwhile `/health` answers with status 503 and the reason.

mod client;
mod conflicts;
mod distributed;
mod error;
mod herder;
mod launch;
mod lifecycle;
mod offsets;
mod operation;
mod start;
mod store;
mod supervise;
mod tasks;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests;

use std::fmt;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;
use tracing::{error, info};

use self::client::split_memory;
pub use self::error::StartError;
pub(crate) use self::herder::Herder;
use self::herder::{Connector, Connectors};
pub(crate) use self::lifecycle::{RestartScope, Restarted};
pub(crate) use self::offsets::NewOffsets;
pub(crate) use self::operation::OperationError;
use self::start::{CheckedConnector, ClusterView};
use self::store::Store;
use self::tasks::Run;
use crate::access::Gate;
use crate::budget::MemoryPool;
use crate::config::file::{Definition, TargetState};
use crate::config::shown;
use crate::group::Group;
pub use crate::group::GroupError;
use crate::loggers::LogLevels;
use crate::plugins::Plugins;
use crate::providers::Providers;
use crate::rest::{self, Rest};
use crate::settings::Settings;
use crate::status::Status;
use crate::{SinkConnector, TaskFactory, metrics, task};

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
    rest: Rest,
    gate: Gate,
    herder: Herder,
    stopping: watch::Sender<bool>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("rest", &self.rest).finish_non_exhaustive()
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
        let gate = settings.access.load().map_err(|error| vec![error.into()])?;
        let runtime = Runtime::new().map_err(|error| vec![error.into()])?;
        let (listener, address) = listen(settings).map_err(|error| vec![error])?;
        let (plugins, providers) = (Plugins::new(sinks, settings), Providers::of_process());
        let store = settings.rest_changes_dir.as_deref().map(Store::new);
        let definitions = match &store {
            Some(store) => store.merged(definitions, &providers)?,
            None => definitions,
        };
        let (checked, problems) = partition(definitions.into_iter().map(|d| CheckedConnector::new(d, &plugins)));
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut seen = ClusterView::default();
        let started = match start_all(&checked, settings, runtime.handle(), &mut seen, stop) {
            Ok(started) => started,
            Err(problems) => {
                // Dropping the runtime would wait for a sink that is still being started.
                runtime.shutdown_background();
                return Err(problems);
            }
        };

        if started.iter().all(Option::is_none) {
            let reached = ClusterView::of_cluster(settings, stop);
            seen = reached.map_err(|error| vec![if *stop.borrow() { StartError::Stopped } else { error }])?;
        }
        let (stopping, orders) = watch::channel(false);
        let status = Arc::<Status>::default();
        let worker_id = worker_id(settings, address);
        let cluster_id = seen.cluster_id.clone();
        let mut connectors = Connectors { seen, ..Connectors::default() };
        for (checked, factory) in checked.into_iter().zip(started) {
            let name = checked.definition.name.clone();
            status.configured(&name, shown::all_shown(&checked.definition.written));
            connectors.all.insert(name, Connector::new(checked, factory));
        }
        let group = match &settings.group {
            Some(own) => {
                let signal = Arc::clone(status.signal());
                let opened = Group::open(own, settings, worker_id.clone(), signal, runtime.handle(), stop);
                let opened = opened.and_then(|group| group.join(settings).map(|()| group));
                let opened = opened.map_err(|error| if *stop.borrow() { StartError::Stopped } else { error.into() });
                Some(Arc::new(opened.map_err(|error| vec![error])?))
            }
            None => None,
        };
        let tasks = connectors.all.values().map(|connector| connector.dealt.len()).sum();
        let memory = MemoryPool::new(split_memory(settings.buffer_memory, tasks).1);
        let herder = Herder {
            settings: settings.clone(),
            plugins: plugins.clone(),
            providers,
            store,
            group: group.clone(),
            runtime: runtime.handle().clone(),
            status: Arc::clone(&status),
            memory: memory.clone(),
            run: task::run,
            restart_backoff_max: settings.restart_backoff_max,
            stopping: orders,
            connectors: Mutex::new(connectors),
        };
        let rest = Rest { status, group, plugins, metrics: prometheus, memory, worker_id, cluster_id, levels: None };
        Ok(Self { runtime, listener, rest, gate, herder, stopping })
    }

    /// Lets REST show and set the levels of the log.
    #[must_use]
    pub fn with_log_levels(mut self, levels: Arc<dyn LogLevels>) -> Self {
        self.rest.levels = Some(levels);
        self
    }

    /// The address at which the worker listens.
    pub fn address(&self) -> SocketAddr {
        // It was bound when the worker was prepared.
        self.listener.local_addr().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// Runs until the future that `stop` makes is ready, then lets every task flush, commit and leave its group.
    pub fn run<S: Future<Output = ()>>(self, stop: impl FnOnce() -> S) -> WorkerOutcome {
        self.run_tasks(stop, task::run)
    }

    fn run_tasks<S: Future<Output = ()>>(self, stop: impl FnOnce() -> S, run: Run) -> WorkerOutcome {
        let address = self.address();
        let Self { runtime, listener, rest, gate, mut herder, stopping } = self;
        herder.run = run;
        let herder = Arc::new(herder);
        let scheme = if gate.tls.is_some() { "https" } else { "http" };
        info!(%address, "the worker listens at {scheme}://{address}");
        // Made before the first task and within the runtime, so that no signal is missed from then on.
        let stop = {
            let _context = runtime.enter();
            stop()
        };
        let following = if let Some(group) = &herder.group {
            match distributed::follow(&herder, group, rest.levels.clone()) {
                Ok(following) => Some((Arc::clone(group), following)),
                Err(error) => {
                    error!("the operating system does not start a thread for the group: {error}");
                    return WorkerOutcome::Failed;
                }
            }
        } else {
            herder.start_all();
            None
        };
        let status = Arc::clone(&rest.status);
        runtime.block_on(async {
            let router = rest::router(rest, Arc::clone(&herder), gate.users);
            tokio::spawn(async move {
                if let Err(error) = fms_serve::serve_for(rest::REQUEST_TIMEOUT, listener, gate.tls, router).await {
                    error!(%address, %error, "the REST interface has ended, so `/health` and `/metrics` do not answer \
                                              any more");
                }
            });
            stop.await;
        });
        info!("the worker stops: its tasks flush, commit and leave their groups");
        // Tells every task, also while a request changes connectors and has to be waited for.
        stopping.send_replace(true);
        status.signal().raise();
        let in_time = herder.stop_all();
        if let Some((group, following)) = following {
            distributed::leave(&group, following);
        }
        let failed = status.failed();
        runtime.shutdown_background();
        info!(failed_tasks = failed, "the worker has stopped");
        if in_time && failed == 0 { WorkerOutcome::Clean } else { WorkerOutcome::Failed }
    }
}

/// How others know this worker: where they reach it, as far as that is known.
fn worker_id(settings: &Settings, address: SocketAddr) -> String {
    let host = settings.advertised_host.clone().unwrap_or_else(|| match address.ip() {
        ip if ip.is_unspecified() && settings.group.is_some() => machine().unwrap_or_else(|| ip.to_string()),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        std::net::IpAddr::V4(ip) => ip.to_string(),
    });
    format!("{host}:{}", settings.advertised_port.unwrap_or(address.port()))
}

/// The name of this machine.
fn machine() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?.trim().to_owned();
    (!name.is_empty()).then_some(name)
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

/// Starts the sinks of all connectors that are to run, and checks the connectors beside each other. The error has every
/// problem found.
fn start_all(
    connectors: &[CheckedConnector],
    settings: &Settings,
    runtime: &Handle,
    seen: &mut ClusterView,
    stop: &watch::Receiver<bool>,
) -> Result<Vec<Option<TaskFactory>>, Vec<StartError>> {
    let (mut started, mut problems) = (Vec::new(), Vec::new());
    for connector in connectors {
        if connector.definition.state == TargetState::Stopped {
            started.push(None);
            continue;
        }
        let sink = connector.start(settings, runtime, seen, stop);
        if *stop.borrow() {
            return Err(vec![StartError::Stopped]);
        }
        match sink {
            Ok(sink) => started.push(Some(sink)),
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
    problems.extend(conflicts::conflicts(&connectors.iter().collect::<Vec<_>>(), &seen.topics));
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
