//! What the connectors and tasks of a worker are doing, in Kafka Connect's words.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::metrics;

/// What a task is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskState {
    /// It has not begun, or has ended as it was told to.
    Unassigned,
    /// It runs.
    Running,
    /// It has stopped for this reason.
    Failed(String),
}

impl TaskState {
    const NAMES: [&'static str; 3] = ["UNASSIGNED", "RUNNING", "FAILED"];

    /// Kafka Connect's name for it.
    pub fn name(&self) -> &'static str {
        match self {
            TaskState::Unassigned => "UNASSIGNED",
            TaskState::Running => "RUNNING",
            TaskState::Failed(_) => "FAILED",
        }
    }

    /// Why it failed.
    pub fn trace(&self) -> Option<&str> {
        match self {
            TaskState::Failed(trace) => Some(trace),
            TaskState::Unassigned | TaskState::Running => None,
        }
    }
}

/// The connectors of a worker, as they were configured, and the states of their tasks.
#[derive(Debug, Default)]
pub struct Status {
    connectors: BTreeMap<String, BTreeMap<String, String>>,
    tasks: Mutex<BTreeMap<(String, u32), TaskState>>,
}

impl Status {
    /// A connector, with its configuration as written: without the values of config providers.
    pub fn add(&mut self, connector: &str, written: BTreeMap<String, String>, tasks: u32) {
        self.connectors.insert(connector.into(), written);
        for task in 0..tasks {
            self.set(connector, task, TaskState::Unassigned);
        }
    }

    /// The task is doing this from now on.
    pub fn set(&self, connector: &str, task: u32, state: TaskState) {
        metrics::task_status(connector, task, state.name(), &TaskState::NAMES);
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

    /// Connector, task and reason of every task that has failed.
    pub fn failed(&self) -> Vec<(String, u32, String)> {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks
            .iter()
            .filter_map(|((connector, task), state)| Some((connector.clone(), *task, state.trace()?.to_owned())))
            .collect()
    }
}
