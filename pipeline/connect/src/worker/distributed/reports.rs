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
                .filter(|(subject, report)| is_news(statuses.of(subject), self.reported.get(subject), report))
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
        let report = |state: &State| Report::new(state, &self.group.worker_id, part.generation);
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

/// Whether a report has to be written: the topic says something else, and not because another worker was given the task
/// later. `reported` is what this worker has written last.
fn is_news(last: Option<&Report>, reported: Option<&Report>, report: &Report) -> bool {
    match last {
        Some(last) if last == report => false,
        Some(last) => last.generation <= report.generation || reported != Some(report),
        None => true,
    }
}

/// Removes what the topic says of connectors and tasks that are no more.
fn leftovers(statuses: &Statuses, part: &Part) -> Vec<Entry> {
    let is_there = |subject: &Subject| {
        let name = subject.connector();
        part.configs.has(name)
            && match subject {
                Subject::Connector(_) => true,
                Subject::Task(_, task) => {
                    part.configs.target(name) != TargetState::Stopped && *task < part.configs.tasks(name)
                }
            }
    };
    let gone = statuses.subjects().filter(|subject| !is_there(subject));
    let mut entries: Vec<Entry> = gone.map(|subject| group::report_entry(subject, None)).collect();
    for name in statuses.with_topics().filter(|name| !part.configs.has(name)) {
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::collections::BTreeSet;

    use insta::assert_snapshot;

    use super::*;
    use crate::group::Configs;

    fn report(state: &str, worker_id: &str, generation: i32) -> Report {
        Report { state: state.into(), trace: None, worker_id: worker_id.into(), generation, version: None }
    }

    #[test]
    fn a_report_of_a_worker_that_has_lost_the_task_is_replaced_and_one_of_its_next_owner_is_not() {
        let own = report("RUNNING", "a:1", 5);
        assert!(is_news(None, None, &own), "nobody has reported");
        assert!(!is_news(Some(&own), Some(&own), &own), "the topic says so");
        assert!(is_news(Some(&own), Some(&own), &report("FAILED", "a:1", 5)), "it has failed since");
        assert!(is_news(Some(&report("RUNNING", "b:1", 4)), Some(&own), &own), "one that was frozen has not heard");
        assert!(!is_news(Some(&report("RUNNING", "b:1", 6)), Some(&own), &own), "it went to another worker");
    }

    fn statuses(entries: &[Entry]) -> Statuses {
        let mut statuses = Statuses::default();
        for (key, value) in entries {
            statuses.apply(key, value.as_deref()).unwrap();
        }
        statuses
    }

    #[test]
    fn reports_on_what_is_no_more_are_removed() {
        let mut configs = Configs::default();
        for name in ["a", "stopped"] {
            for (key, value) in group::config_entries(name, &BTreeMap::new(), 2) {
                configs.apply(&key, value.as_deref()).unwrap();
            }
        }
        let (key, value) = group::target_entry("stopped", TargetState::Stopped);
        configs.apply(&key, value.as_deref()).unwrap();
        let mut entries = Vec::new();
        for name in ["a", "gone", "stopped"] {
            let subjects = [0, 1, 2].map(|task| Subject::Task(name.into(), task)).into_iter();
            let subjects = subjects.chain([Subject::Connector(name.into())]);
            entries.extend(subjects.map(|subject| group::report_entry(&subject, Some(&report("RUNNING", "a:1", 1)))));
            entries.push(group::topic_entry("t", name, 0, 0));
        }
        let part = Part { configs, cleans: true, ..Part::default() };
        let removed = leftovers(&statuses(&entries), &part);
        assert!(removed.iter().all(|(_, value)| value.is_none()));
        let removed: BTreeSet<_> = removed.into_iter().map(|(key, _)| key).collect();
        assert_snapshot!(Vec::from_iter(removed).join("\n"), @r"
        status-connector-gone
        status-task-a-2
        status-task-gone-0
        status-task-gone-1
        status-task-gone-2
        status-task-stopped-0
        status-task-stopped-1
        status-task-stopped-2
        status-topic-t:connector-gone
        ");
    }

    #[test]
    fn a_worker_that_leaves_reports_on_its_own_alone() {
        let (kept, lost) = (Subject::Task("a".into(), 0), Subject::Task("a".into(), 1));
        let own = report("RUNNING", "a:1", 1);
        let topic =
            [group::report_entry(&kept, Some(&own)), group::report_entry(&lost, Some(&report("RUNNING", "b:1", 2)))];
        let reported = BTreeMap::from([(kept.clone(), own.clone()), (lost, own)]);
        let entries = unassigned(&statuses(&topic), &reported);
        let ended = statuses(&entries);
        assert_eq!((entries.len(), ended.of(&kept)), (1, Some(&report("UNASSIGNED", "a:1", 1))));
    }
}
