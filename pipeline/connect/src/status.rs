//! The states of a worker's connectors and tasks, in Kafka Connect's words.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use strum::VariantNames as _;

use crate::metrics;
use crate::pulse::Pulse;

/// The state of a task.
#[derive(Debug, Clone, PartialEq, Eq, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "UPPERCASE")]
pub enum TaskState {
    /// The task has not begun, or has ended as it was told to.
    Unassigned,
    /// The task runs.
    Running,
    /// The task has failed for this reason and will restart by itself.
    Restarting(String),
    /// The task has failed for this reason and stays stopped.
    Failed(String),
}

impl TaskState {
    /// Kafka Connect's name for it.
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// The reason why it failed.
    pub fn trace(&self) -> Option<&str> {
        match self {
            TaskState::Restarting(trace) | TaskState::Failed(trace) => Some(trace),
            TaskState::Unassigned | TaskState::Running => None,
        }
    }
}

/// The connectors of a worker, as they were configured, and the states of their tasks.
#[derive(Debug, Default)]
pub struct Status {
    connectors: BTreeMap<String, BTreeMap<String, String>>,
    tasks: Mutex<BTreeMap<(String, u32), TaskState>>,
    pulses: BTreeMap<(String, u32), Arc<Pulse>>,
}

impl Status {
    /// Adds a connector with its configuration as it is written, that is without the values of config providers.
    pub fn add(&mut self, connector: &str, written: BTreeMap<String, String>, tasks: u32) {
        self.connectors.insert(connector.into(), written);
        for task in 0..tasks {
            self.set(connector, task, TaskState::Unassigned);
            self.pulses.insert((connector.into(), task), Arc::default());
        }
    }

    /// The pulse by which a task reports that its loop goes on.
    pub fn pulse(&self, connector: &str, task: u32) -> Arc<Pulse> {
        self.pulses.get(&(connector.to_owned(), task)).map(Arc::clone).unwrap_or_default()
    }

    /// Sets the state of a task.
    pub fn set(&self, connector: &str, task: u32, state: TaskState) {
        metrics::task_status(connector, task, state.name(), TaskState::VARIANTS);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.insert((connector.into(), task), state);
    }

    /// The connectors' names.
    pub fn connectors(&self) -> impl Iterator<Item = &str> {
        self.connectors.keys().map(String::as_str)
    }

    /// A connector's configuration as written.
    pub fn config(&self, connector: &str) -> Option<&BTreeMap<String, String>> {
        self.connectors.get(connector)
    }

    /// A connector's tasks.
    pub fn tasks(&self, connector: &str) -> Vec<(u32, TaskState)> {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.iter().filter(|((of, _), _)| of == connector).map(|((_, task), state)| (*task, state.clone())).collect()
    }

    /// The connector, task and reason of every task that does not run as it should, because it has failed, waits
    /// for its restart, or whose loop has made no progress for longer than `limit`.
    pub fn unwell(&self, limit: Duration) -> Vec<(String, u32, String)> {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks
            .iter()
            .filter_map(|((connector, task), state)| {
                let stalled = || self.pulses.get(&(connector.clone(), *task))?.stalled(limit);
                let reason = match state {
                    TaskState::Unassigned => None,
                    TaskState::Running => stalled(),
                    TaskState::Restarting(trace) | TaskState::Failed(trace) => Some(trace.clone()),
                };
                Some((connector.clone(), *task, reason?))
            })
            .collect()
    }

    /// How many tasks have failed for good.
    pub fn failed(&self) -> usize {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.values().filter(|state| matches!(state, TaskState::Failed(_))).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A task that runs and makes no progress is as unwell as one that has failed; a task that has not started is not.
    #[test]
    fn a_running_task_that_is_stuck_is_unwell() {
        let mut status = Status::default();
        status.add("raw", BTreeMap::new(), 2);
        assert!(status.unwell(Duration::ZERO).is_empty());
        status.set("raw", 1, TaskState::Running);
        while status.unwell(Duration::ZERO).is_empty() {}
        let (connector, task, reason) = status.unwell(Duration::ZERO).swap_remove(0);
        assert_eq!((connector.as_str(), task), ("raw", 1));
        assert!(reason.starts_with("the task has made no progress for "), "{reason}");
        assert!(status.unwell(Duration::from_mins(1)).is_empty(), "its loop has made progress in the last minute");
        status.set("raw", 0, TaskState::Restarting("denied".into()));
        assert_eq!(status.unwell(Duration::from_mins(1)), [("raw".to_owned(), 0, "denied".to_owned())]);
        assert_eq!(status.failed(), 0);
    }
}
