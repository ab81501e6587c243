//! The tasks of connectors, started and stopped, and the memory that they share.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;
use tracing::{error, warn};

use super::client::{split_memory, task_client};
use super::herder::{Connector, Connectors, Herder};
use super::operation::sentences;
use super::start::CheckedConnector;
use super::tasks::{RunningTask, stop_all};
use crate::TaskFactory;
use crate::config::file::TargetState;
use crate::metrics::TaskMetrics;
use crate::sink::RetryLimits;
use crate::status::{State, TaskStatus};
use crate::task::{Orders, TaskSpec, Wanted};

impl Connectors {
    /// The number of all tasks once those of this connector run too.
    pub(super) fn task_count(&self, name: &str) -> usize {
        let count = |(own, connector): (&String, &Connector)| {
            if own == name { connector.dealt.len() } else { connector.tasks.len() }
        };
        self.all.iter().map(count).sum()
    }
}

impl Herder {
    /// Starts the sink of a connector again, from which tasks that are restarted later come. Those that run go on.
    pub(super) fn start_again(&self, connectors: &mut Connectors, name: &str) {
        let Some(connector) = connectors.all.get_mut(name) else { return };
        let checked = Arc::clone(&connector.checked);
        match checked.start(&self.settings, &self.runtime, &mut connectors.seen, &self.stopping) {
            Ok(factory) => {
                connector.factory = Some(factory);
                self.status.set(name, connector_state(connector.target));
            }
            Err(wrong) => self.status.set(name, State::Failed(sentences(&wrong))),
        }
    }

    /// Starts the sink of a connector, and its tasks.
    pub(super) fn begin(&self, connectors: &mut Connectors, name: &str) {
        let Some(checked) = connectors.all.get(name).map(|connector| Arc::clone(&connector.checked)) else { return };
        match checked.start(&self.settings, &self.runtime, &mut connectors.seen, &self.stopping) {
            Ok(factory) => {
                if let Some(connector) = connectors.all.get_mut(name) {
                    connector.factory = Some(factory);
                }
                let total = connectors.task_count(name);
                self.start_tasks(connectors, name, total);
            }
            Err(wrong) => {
                let trace = sentences(&wrong);
                error!(connector = name, "the connector failed to start: {trace}");
                if let Some(connector) = connectors.all.get_mut(name) {
                    connector.factory = None;
                }
                self.status.retain_tasks(name, &BTreeSet::new());
                self.status.set(name, State::Failed(trace));
            }
        }
    }

    /// Starts the tasks of a connector that is not stopped. `total` is the number of all tasks, with these.
    pub(super) fn start_tasks(&self, connectors: &mut Connectors, name: &str, total: usize) {
        let Some(connector) = connectors.all.get_mut(name) else { return };
        self.status.set(name, connector_state(connector.target));
        self.status.retain_tasks(name, &BTreeSet::new());
        let Some(factory) = connector.factory.clone().filter(|_| connector.target != TargetState::Stopped) else {
            return;
        };
        let dealt = connector.dealt.clone();
        self.start_these(connector, &factory, dealt, total);
    }

    /// Starts these tasks of a connector. `total` is the number of all tasks, with these.
    pub(super) fn start_these(
        &self,
        connector: &mut Connector,
        factory: &TaskFactory,
        tasks: impl IntoIterator<Item = u32>,
        total: usize,
    ) {
        let (queues, limit) = split_memory(self.settings.buffer_memory, total);
        self.memory.set_limit(limit);
        for task in tasks {
            let Some(status) = self.status.renew_task(&connector.checked.spec.name, task) else { continue };
            let started = self.start_task(connector, factory, task, status, queues / total.max(1));
            connector.tasks.insert(task, started);
        }
    }

    /// Starts one task.
    pub(super) fn start_task(
        &self,
        connector: &Connector,
        factory: &TaskFactory,
        task: u32,
        status: Arc<TaskStatus>,
        queue_bytes: usize,
    ) -> RunningTask {
        let CheckedConnector { spec, client, .. } = &*connector.checked;
        // From now on the task's counters exist, at zero.
        drop(TaskMetrics::new(&spec.name, task));
        let paused = connector.target == TargetState::Paused;
        let (wanted, order) = watch::channel(if paused { Wanted::Paused } else { Wanted::Running });
        let spec = TaskSpec {
            connector: Arc::clone(spec),
            task,
            sink: Arc::clone(factory),
            client: task_client(client, &spec.name, task, queue_bytes),
            producer: self.settings.producer.clone(),
            runtime: self.runtime.clone(),
            budget: self.memory.join(),
            retry: RetryLimits::of(&spec.config),
            orders: Orders { worker: self.stopping.clone(), task: order },
            shutdown_timeout: self.settings.shutdown_timeout,
            offset_flush_interval: self.settings.offset_flush_interval,
            status,
        };
        RunningTask::start(spec, wanted, self.run, self.restart_backoff_max)
    }

    /// Stops the tasks of a connector and waits until they have ended.
    pub(super) fn stop_tasks(&self, connectors: &mut Connectors, name: &str) {
        let Some(connector) = connectors.all.get_mut(name) else { return };
        let tasks = std::mem::take(&mut connector.tasks);
        if !stop_all(tasks.values(), self.stop_timeout()) {
            warn!(connector = name, "tasks that did not end in time may stay in the group for some time yet");
        }
    }

    /// Stops one task and waits until it has ended.
    pub(super) fn stop_one(&self, task: &RunningTask) {
        stop_all(std::iter::once(task), self.stop_timeout());
    }

    /// Divides the memory among the tasks that are left.
    pub(super) fn share_memory(&self, connectors: &Connectors) {
        let total = connectors.all.values().map(|connector| connector.tasks.len()).sum();
        self.memory.set_limit(split_memory(self.settings.buffer_memory, total).1);
    }
}

/// The state of a connector of which this is wanted.
pub(super) fn connector_state(target: TargetState) -> State {
    match target {
        TargetState::Running => State::Running,
        TargetState::Paused => State::Paused,
        TargetState::Stopped => State::Stopped,
    }
}
