//! Connectors that are paused, resumed, stopped and restarted.

use std::collections::BTreeSet;

use tracing::info;

use super::herder::{Connectors, Herder};
use super::operation::{OperationError, not_found, not_kept};
use crate::config::file::TargetState;
use crate::status::State;
use crate::task::Wanted;

/// What a restart includes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RestartScope {
    /// Also the tasks.
    pub tasks: bool,
    /// Only what has failed.
    pub only_failed: bool,
}

/// What a restart began again: the connector itself, and the numbers of tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Restarted {
    pub connector: bool,
    pub tasks: Vec<u32>,
}

impl Herder {
    /// Pauses a connector: its tasks keep their partitions, flush what they have taken, and take no more.
    pub fn pause(&self, name: &str) -> Result<(), OperationError> {
        self.change_target(name, TargetState::Paused)
    }

    /// Lets a connector run that was paused or stopped.
    pub fn resume(&self, name: &str) -> Result<(), OperationError> {
        self.change_target(name, TargetState::Running)
    }

    /// Stops a connector: its tasks flush, commit and leave their group, and then it has none.
    pub fn stop(&self, name: &str) -> Result<(), OperationError> {
        self.change_target(name, TargetState::Stopped)
    }

    fn change_target(&self, name: &str, target: TargetState) -> Result<(), OperationError> {
        self.check_changes()?;
        let mut connectors = self.lock();
        if let Some(group) = &self.group {
            return self.want_in(group, name, target);
        }
        let connector = connectors.all.get_mut(name).ok_or_else(|| not_found(name))?;
        let before = std::mem::replace(&mut connector.target, target);
        if before == target {
            return Ok(());
        }
        if let Some(store) = &self.store {
            let kept = store.keep(&connector.checked.definition, target);
            if let Err(error) = kept {
                connector.target = before;
                return Err(not_kept(name, &error));
            }
        }
        info!(connector = name, "the connector is to be {}", target.name());
        match (before, target) {
            (_, TargetState::Stopped) => {
                self.stop_tasks(&mut connectors, name);
                self.status.retain_tasks(name, &BTreeSet::new());
                self.status.set(name, State::Stopped);
                self.share_memory(&connectors);
            }
            (TargetState::Stopped, _) => self.begin(&mut connectors, name),
            (_, TargetState::Running | TargetState::Paused) => {
                let paused = target == TargetState::Paused;
                let wanted = if paused { Wanted::Paused } else { Wanted::Running };
                connector.tasks.values().for_each(|task| task.want(wanted));
                // A connector that could not start stays failed.
                if connector.factory.is_some() {
                    self.status.set(name, if paused { State::Paused } else { State::Running });
                }
            }
        }
        Ok(())
    }

    /// Restarts a connector, its tasks, or what of them has failed. Tasks are restarted from the committed offsets, after
    /// they have flushed and committed what they could.
    ///
    /// The connector itself is no more than what its start has checked and opened, so its restart alone disturbs no
    /// task.
    pub fn restart(&self, name: &str, scope: RestartScope) -> Result<Restarted, OperationError> {
        self.check_changes()?;
        let mut connectors = self.lock();
        if let Some(group) = &self.group {
            return self.restart_in(group, name, scope);
        }
        let connector = connectors.all.get(name).ok_or_else(|| not_found(name))?;
        if connector.target == TargetState::Stopped {
            return Ok(Restarted::default());
        }
        let has_failed = connector.factory.is_none();
        let tasks = if scope.tasks { self.tasks_of(name, scope.only_failed) } else { Vec::new() };
        let restarts = Restarted { connector: has_failed || !scope.only_failed, tasks };
        info!(connector = name, ?scope, ?restarts, "a restart was asked for");
        if has_failed || scope.tasks && !scope.only_failed {
            self.stop_tasks(&mut connectors, name);
            self.begin(&mut connectors, name);
        } else {
            if restarts.connector {
                self.start_again(&mut connectors, name);
            }
            for task in &restarts.tasks {
                self.restart_one(&mut connectors, name, *task);
            }
        }
        Ok(restarts)
    }

    /// The tasks of a connector that run here, or those that have failed.
    pub(super) fn tasks_of(&self, name: &str, only_failed: bool) -> Vec<u32> {
        let tasks = self.status.tasks(name).into_iter();
        let tasks = tasks.filter(|status| !only_failed || matches!(status.state(), State::Failed(_)));
        tasks.map(|status| status.task()).collect()
    }

    /// Restarts one task.
    pub fn restart_task(&self, name: &str, task: u32) -> Result<(), OperationError> {
        self.check_changes()?;
        let mut connectors = self.lock();
        if let Some(group) = &self.group {
            return self.restart_task_in(group, name, task);
        }
        if !connectors.all.contains_key(name) {
            return Err(not_found(name));
        }
        if !self.restart_one(&mut connectors, name, task) {
            return Err(OperationError::NotFound(format!("Task {name}-{task} not found")));
        }
        Ok(())
    }

    /// Stops a task and starts it again. Gives whether there is one of that number.
    pub(super) fn restart_one(&self, connectors: &mut Connectors, name: &str, task: u32) -> bool {
        let total: usize = connectors.all.values().map(|connector| connector.tasks.len()).sum();
        let Some(connector) = connectors.all.get_mut(name) else { return false };
        let (Some(factory), Some(running)) = (connector.factory.clone(), connector.tasks.get(&task)) else {
            return false;
        };
        self.stop_one(running);
        self.start_these(connector, &factory, [task], total);
        true
    }
}
