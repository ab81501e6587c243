//! The worker in a group: what REST changes is written to the config topic, and each worker does its part of it once it
//! has read it.
//!
//! Whichever worker is asked makes the checks and writes the records, so workers need not talk to each other. An answer is
//! given when this worker has read its own record; the others read it as soon as Kafka gives it to them.

mod part;
mod reports;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tracing::{error, warn};

use super::herder::Herder;
use super::lifecycle::{RestartScope, Restarted};
use super::operation::{OperationError, not_found};
use super::start::CheckedConnector;
use crate::config::file::TargetState;
use crate::group::{self, Group, Report, Subject};
use crate::loggers::LogLevels;

use self::part::Follower;

/// The thread that does this worker's part. It gives what it has reported last.
pub(super) type Following = JoinHandle<BTreeMap<Subject, Report>>;

/// Follows the group on a thread of its own until the worker stops.
pub(super) fn follow(
    herder: &Arc<Herder>,
    group: &Arc<Group>,
    levels: Option<Arc<dyn LogLevels>>,
) -> std::io::Result<Following> {
    let (herder, group) = (Arc::clone(herder), Arc::clone(group));
    thread::Builder::new().name("group".into()).spawn(move || Follower::new(&herder, &group, levels).run())
}

/// Reports that the tasks have ended, and then leaves the group, so that they go to other workers at once.
pub(super) fn leave(group: &Group, following: Following) {
    let Ok(reported) = following.join() else {
        error!("the thread that follows the group has panicked, which is a defect of this program");
        return group.leave();
    };
    let entries = group.with_statuses(|statuses, _| reports::unassigned(statuses, &reported));
    if let Err(problem) = group.report(&entries) {
        warn!("the group is not told that the tasks have ended: {problem}");
    }
    group.leave();
}

/// Refuses what is asked of a connector that the group does not have.
fn check_known(group: &Group, name: &str) -> Result<(), OperationError> {
    if group.with_configs(|configs| configs.has(name)) { Ok(()) } else { Err(not_found(name)) }
}

fn unwritten(problem: String) -> OperationError {
    OperationError::Internal(problem)
}

impl Herder {
    /// Refuses while the group rebalances, as Kafka Connect does.
    pub(super) fn check_settled(&self) -> Result<(), OperationError> {
        if self.group.as_ref().is_none_or(|group| group.is_settled()) {
            return Ok(());
        }
        Err(OperationError::Conflict(
            "Cannot complete request momentarily due to no known leader URL, likely because a rebalance was underway."
                .into(),
        ))
    }

    /// Makes sure that what other workers have changed is known before something is checked beside it. Refuses while the
    /// group rebalances.
    pub(super) fn refresh(&self) -> Result<(), OperationError> {
        let Some(group) = &self.group else { return Ok(()) };
        self.check_settled()?;
        group.catch_up(&self.stopping).map_err(unwritten)
    }

    /// The group of workers and the group of a connector's tasks must not be the same.
    pub(super) fn check_name(&self, name: &str) -> Result<(), OperationError> {
        match &self.group {
            Some(group) if group.id() == format!("connect-{name}") => Err(OperationError::BadRequest(format!(
                "Consumer group for sink connector named {name} conflicts with Connect worker group {}",
                group.id()
            ))),
            _ => Ok(()),
        }
    }

    /// Writes the configuration of a connector, and for a new one what is wanted of it.
    pub(super) fn put_in(group: &Group, checked: &CheckedConnector) -> Result<(), OperationError> {
        let definition = &checked.definition;
        let mut entries = Vec::new();
        if group.with_configs(|configs| !configs.has(&definition.name)) {
            entries.push(group::target_entry(&definition.name, definition.state));
        }
        entries.extend(group::config_entries(&definition.name, &definition.written, checked.tasks()));
        group.write(&entries).map_err(unwritten)
    }

    /// Removes a connector.
    pub(super) fn delete_in(group: &Group, name: &str) -> Result<(), OperationError> {
        group.write(&group::deletion(name)).map_err(unwritten)
    }

    /// Writes what is wanted of a connector.
    pub(super) fn want_in(&self, group: &Group, name: &str, target: TargetState) -> Result<(), OperationError> {
        if target == TargetState::Stopped {
            self.check_settled()?;
        }
        group.catch_up(&self.stopping).map_err(unwritten)?;
        check_known(group, name)?;
        group.write(&[group::target_entry(name, target)]).map_err(unwritten)
    }

    /// Asks every worker to restart its part of a connector. Gives what will be restarted, by what is reported.
    pub(super) fn restart_in(
        &self,
        group: &Group,
        name: &str,
        scope: RestartScope,
    ) -> Result<Restarted, OperationError> {
        self.refresh()?;
        check_known(group, name)?;
        let count = group.task_count(name);
        if count == 0 {
            return Ok(Restarted::default());
        }
        let restarted = group.with_statuses(|statuses, _| {
            let concerned = |subject: &Subject| {
                !scope.only_failed || statuses.of(subject).is_some_and(|report| report.state == "FAILED")
            };
            let of_task = |task: &u32| concerned(&Subject::Task(name.to_owned(), *task));
            let tasks = if scope.tasks { (0..count).filter(of_task).collect() } else { Vec::new() };
            Restarted { connector: concerned(&Subject::Connector(name.to_owned())), tasks }
        });
        group.write(&[group::restart_entry(name, scope)]).map_err(unwritten)?;
        Ok(restarted)
    }

    /// Asks the worker that runs the task to restart it.
    pub(super) fn restart_task_in(&self, group: &Group, name: &str, task: u32) -> Result<(), OperationError> {
        self.refresh()?;
        check_known(group, name)?;
        if task >= group.task_count(name) {
            return Err(OperationError::NotFound(format!("Task {name}-{task} not found")));
        }
        group.write(&[group::restart_task_entry(name, task)]).map_err(unwritten)
    }

    /// Forgets the topics of which a connector has put records.
    pub fn reset_topics(&self, name: &str) -> Result<(), OperationError> {
        let Some(group) = &self.group else {
            self.status.reset_topics(name);
            return Ok(());
        };
        let topics = group.with_statuses(|statuses, _| statuses.topics(name));
        let entries: Vec<_> = topics.iter().map(|topic| group::topic_reset(topic, name)).collect();
        group.report(&entries).map_err(unwritten)
    }

    /// Sets the level of a logger of all workers of the group, if there is one.
    pub fn set_level(&self, logger: &str, level: &str) -> Result<(), OperationError> {
        match &self.group {
            Some(group) => group.write(&[group::level_entry(logger, level)]).map_err(unwritten),
            None => Ok(()),
        }
    }
}
