//! What a worker writes to the status topic: how the connectors and tasks are that it has been dealt.
//!
//! A report of another worker on what this one runs, such as one that was frozen and has not heard that its tasks have
//! gone elsewhere, is replaced again, unless it is of a later generation of the group.

use std::collections::BTreeMap;

use super::part::Follower;
use crate::config::file::TargetState;
use crate::group::{self, Entry, Part, Report, Statuses, Subject};
use crate::status::State;

impl Follower<'_> {
    /// Reports what has changed, and, if that is this worker's part, removes reports on what is no more.
    pub(super) fn report(&mut self, part: &Part) -> Result<(), String> {
        let own = self.own_reports(part);
        let entries = self.group.with_statuses(|statuses, all_taken| {
            let mut entries: Vec<Entry> = own
                .iter()
                .filter(|(subject, report)| self.is_news(statuses, subject, report))
                .map(|(subject, report)| group::report_entry(subject, Some(report)))
                .collect();
            if part.cleans {
                entries.extend(leftovers(statuses, part));
            }
            // A reset that was not served yet has to come first, or it would be undone here.
            if all_taken {
                entries.extend(self.new_topics(statuses, part));
            }
            entries
        });
        self.group.report(&entries)?;
        self.reported = own;
        Ok(())
    }

    /// How the connectors and tasks are that this worker has been dealt.
    fn own_reports(&self, part: &Part) -> BTreeMap<Subject, Report> {
        let report = |state: &State| Report {
            state: state.name().into(),
            trace: state.trace().filter(|trace| !trace.is_empty()).map(str::to_owned),
            worker_id: self.group.worker_id.clone(),
            generation: part.generation,
            version: Some(env!("CARGO_PKG_VERSION").into()),
        };
        let mut own = BTreeMap::new();
        for (name, dealt) in &part.dealt {
            if dealt.contains(&0)
                && let Some(state) = self.herder.status.state(name)
            {
                own.insert(Subject::Connector(name.clone()), report(&state));
            }
            for task in self.herder.status.tasks(name).iter().filter(|task| dealt.contains(&task.task())) {
                own.insert(Subject::Task(name.clone(), task.task()), report(&task.state()));
            }
        }
        own
    }

    /// Whether a report says something that the topic does not say.
    fn is_news(&self, statuses: &Statuses, subject: &Subject, report: &Report) -> bool {
        match statuses.of(subject) {
            Some(last) if last == report => false,
            Some(last) => last.generation <= report.generation || self.reported.get(subject) != Some(report),
            None => true,
        }
    }

    /// The topics of which tasks here have put records, and which the status topic does not have.
    fn new_topics(&self, statuses: &Statuses, part: &Part) -> Vec<Entry> {
        let millis = jiff::Timestamp::now().as_millisecond();
        let mut entries = Vec::new();
        for (name, dealt) in &part.dealt {
            let (known, task) = (statuses.topics(name), dealt.first().copied().unwrap_or_default());
            let topics = self.herder.status.topics(name).unwrap_or_default();
            let new = topics.iter().filter(|topic| !known.contains(*topic));
            entries.extend(new.map(|topic| group::topic_entry(topic, name, task, millis)));
        }
        entries
    }
}

/// Removes what the topic says of connectors and tasks that are no more.
fn leftovers(statuses: &Statuses, part: &Part) -> Vec<Entry> {
    let is_there = |subject: &Subject| {
        let name = subject.connector();
        part.configs.written(name).is_some()
            && match subject {
                Subject::Connector(_) => true,
                Subject::Task(_, task) => {
                    part.configs.target(name) != TargetState::Stopped && *task < part.configs.tasks(name)
                }
            }
    };
    let gone = statuses.subjects().filter(|subject| !is_there(subject));
    let mut entries: Vec<Entry> = gone.map(|subject| group::report_entry(subject, None)).collect();
    for name in statuses.with_topics().filter(|name| part.configs.written(name).is_none()) {
        entries.extend(statuses.topics(name).iter().map(|topic| group::topic_reset(topic, name)));
    }
    entries
}

/// The records by which a worker says that what it has reported on runs no more. What another worker has reported on since
/// is that one's.
pub(super) fn unassigned(statuses: &Statuses, reported: &BTreeMap<Subject, Report>) -> Vec<Entry> {
    let ended = |report: &Report| Report { state: State::Unassigned.name().into(), trace: None, ..report.clone() };
    let own = reported.iter().filter(|(subject, report)| statuses.of(subject) == Some(report));
    own.map(|(subject, report)| group::report_entry(subject, Some(&ended(report)))).collect()
}
