//! What is shown of connectors: those of this worker alone, or, in a group, those of all workers.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::shown;
use crate::group::{Group, Report, Subject};
use crate::status::State;

use super::Rest;

impl Rest {
    /// The connectors' names.
    pub(super) fn names(&self) -> Vec<String> {
        match &self.group {
            Some(group) => group.with_configs(|configs| configs.names().cloned().collect()),
            None => self.status.connectors(),
        }
    }

    /// A connector's configuration, as far as it may be shown.
    pub(super) fn config(&self, name: &str) -> Option<BTreeMap<String, String>> {
        match &self.group {
            Some(group) => group.with_configs(|configs| configs.written(name).map(shown::all_shown)),
            None => self.status.written(name),
        }
    }

    /// The numbers of a connector's tasks.
    pub(super) fn task_numbers(&self, name: &str) -> Vec<u32> {
        match &self.group {
            Some(group) => (0..group.task_count(name)).collect(),
            None => self.status.tasks(name).iter().map(|task| task.task()).collect(),
        }
    }

    /// How a connector is.
    pub(super) fn connector_report(&self, name: &str) -> Option<Report> {
        let Some(group) = &self.group else { return Some(self.own_report(&self.status.state(name)?)) };
        group.with_configs(|configs| configs.has(name)).then(|| reported(group, &Subject::Connector(name.to_owned())))
    }

    /// How a task is.
    pub(super) fn task_report(&self, name: &str, task: u32) -> Option<Report> {
        let Some(group) = &self.group else {
            let status = self.status.tasks(name).into_iter().find(|status| status.task() == task)?;
            return Some(self.own_report(&status.state()));
        };
        (task < group.task_count(name)).then(|| reported(group, &Subject::Task(name.to_owned(), task)))
    }

    /// The topics of which a connector has put records.
    pub(super) fn topics(&self, name: &str) -> BTreeSet<String> {
        match &self.group {
            Some(group) => group.with_statuses(|statuses, _| statuses.topics(name)),
            None => self.status.topics(name).unwrap_or_default().into_iter().collect(),
        }
    }

    fn own_report(&self, state: &State) -> Report {
        Report::new(state, &self.worker_id, 0)
    }
}

/// The last report on something in a group; until a worker has reported on it, that none runs it.
fn reported(group: &Group, subject: &Subject) -> Report {
    let last = group.with_statuses(|statuses, _| statuses.of(subject).cloned());
    last.unwrap_or_else(|| Report { version: None, ..Report::new(&State::Unassigned, "", 0) })
}
