//! The states of a worker's connectors and tasks, in Kafka Connect's words.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use strum::VariantNames as _;

use crate::metrics;
use crate::pulse::Pulse;
use crate::signal::Signal;

/// The state of a task, or of a connector itself.
#[derive(Debug, Clone, PartialEq, Eq, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "UPPERCASE")]
pub enum State {
    /// It has not begun, or has ended as it was told to.
    Unassigned,
    /// It runs.
    Running,
    /// It keeps its partitions and takes no records.
    Paused,
    /// It has no tasks. Only a connector can be stopped.
    Stopped,
    /// It has failed for this reason and will restart by itself.
    Restarting(String),
    /// It has failed for this reason and stays stopped.
    Failed(String),
}

impl State {
    /// Kafka Connect's name for it.
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// The reason why it failed.
    pub fn trace(&self) -> Option<&str> {
        match self {
            State::Restarting(trace) | State::Failed(trace) => Some(trace),
            State::Unassigned | State::Running | State::Paused | State::Stopped => None,
        }
    }
}

/// The state of one task, which the task itself and those who supervise it report.
#[derive(Debug)]
pub struct TaskStatus {
    connector: String,
    task: u32,
    state: Mutex<State>,
    pulse: Arc<Pulse>,
    topics: Arc<ActiveTopics>,
}

impl TaskStatus {
    fn new(connector: &str, task: u32, topics: &Arc<ActiveTopics>) -> Self {
        let state = Mutex::new(State::Unassigned);
        metrics::task_status(connector, task, State::Unassigned.name(), State::VARIANTS);
        Self { connector: connector.into(), task, state, pulse: Arc::default(), topics: Arc::clone(topics) }
    }

    /// The task's number.
    pub fn task(&self) -> u32 {
        self.task
    }

    /// Sets the state.
    pub fn set(&self, state: State) {
        metrics::task_status(&self.connector, self.task, state.name(), State::VARIANTS);
        change(&mut lock(&self.state), state, &self.topics.signal);
    }

    /// The state.
    pub fn state(&self) -> State {
        lock(&self.state).clone()
    }

    /// The pulse by which the task reports that its loop goes on.
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// The topics of which the connector has put records.
    pub(crate) fn topics(&self) -> &ActiveTopics {
        &self.topics
    }

    /// Why the task does not run as it should: it has failed, waits for its restart, or its loop has made no progress
    /// for longer than `limit`.
    fn unwell(&self, limit: Duration) -> Option<String> {
        match self.state() {
            State::Unassigned | State::Stopped => None,
            State::Running | State::Paused => self.pulse.stalled(limit),
            State::Restarting(trace) | State::Failed(trace) => Some(trace),
        }
    }

    /// Nothing is said of the task any more: it belongs to the connector no longer.
    fn forget(&self) {
        metrics::task_status(&self.connector, self.task, "", State::VARIANTS);
    }
}

/// The topics of which a connector has put records since it was created, or since they were last reset.
#[derive(Debug)]
pub(crate) struct ActiveTopics {
    /// Changes with every reset, so that a task has to look no further than at this number.
    epoch: AtomicU64,
    names: Mutex<BTreeSet<String>>,
    signal: Arc<Signal>,
}

impl ActiveTopics {
    fn new(signal: &Arc<Signal>) -> Self {
        Self { epoch: AtomicU64::new(1), names: Mutex::default(), signal: Arc::clone(signal) }
    }

    /// Notes that a record of the topic was put. `noted` is the caller's for each partition, at first 0.
    pub(crate) fn note(&self, topic: &str, noted: &mut u64) {
        let epoch = self.epoch.load(Ordering::Relaxed);
        if *noted != epoch {
            lock(&self.names).insert(topic.into());
            *noted = epoch;
            self.signal.raise();
        }
    }

    fn reset(&self) {
        let mut names = lock(&self.names);
        names.clear();
        self.epoch.fetch_add(1, Ordering::Relaxed);
    }
}

/// What is known of a connector.
#[derive(Debug, Clone)]
struct ConnectorStatus {
    /// Its configuration as it is written, without the values of config providers.
    written: BTreeMap<String, String>,
    state: State,
    tasks: BTreeMap<u32, Arc<TaskStatus>>,
    topics: Arc<ActiveTopics>,
}

/// The connectors of a worker, as they were configured, and the states of the tasks that it runs.
#[derive(Debug, Default)]
pub struct Status {
    connectors: Mutex<BTreeMap<String, ConnectorStatus>>,
    /// Raised with every change of a state, and of the topics of which records were put.
    signal: Arc<Signal>,
}

/// Changes a state, and says so if it is another one.
fn change(state: &mut State, new: State, signal: &Signal) {
    if *state != new {
        *state = new;
        signal.raise();
    }
}

impl Status {
    /// Raised with every change.
    pub(crate) fn signal(&self) -> &Arc<Signal> {
        &self.signal
    }

    /// Adds a connector, or changes its configuration, which is given as it is written.
    pub(crate) fn configured(&self, connector: &str, written: BTreeMap<String, String>) {
        let mut connectors = lock(&self.connectors);
        if let Some(known) = connectors.get_mut(connector) {
            known.written = written;
        } else {
            let (tasks, topics) = (BTreeMap::new(), Arc::new(ActiveTopics::new(&self.signal)));
            connectors.insert(connector.into(), ConnectorStatus { written, state: State::Unassigned, tasks, topics });
        }
    }

    /// Forgets a connector.
    pub(crate) fn remove(&self, connector: &str) {
        self.retain_tasks(connector, &BTreeSet::new());
        lock(&self.connectors).remove(connector);
    }

    /// Forgets the tasks of a connector that are not among these.
    pub(crate) fn retain_tasks(&self, connector: &str, kept: &BTreeSet<u32>) {
        let mut connectors = lock(&self.connectors);
        let Some(known) = connectors.get_mut(connector) else { return };
        known.tasks.retain(|task, status| {
            let keeps = kept.contains(task);
            if !keeps {
                status.forget();
            }
            keeps
        });
    }

    /// A new status for a task that is started. If it was started before and did not end in time, it keeps the old one to
    /// itself.
    pub(crate) fn renew_task(&self, connector: &str, task: u32) -> Option<Arc<TaskStatus>> {
        let mut connectors = lock(&self.connectors);
        let known = connectors.get_mut(connector)?;
        let status = Arc::new(TaskStatus::new(connector, task, &known.topics));
        known.tasks.insert(task, Arc::clone(&status));
        Some(status)
    }

    /// Sets the state of the connector itself.
    pub(crate) fn set(&self, connector: &str, state: State) {
        if let Some(known) = lock(&self.connectors).get_mut(connector) {
            change(&mut known.state, state, &self.signal);
        }
    }

    fn of<T>(&self, connector: &str, view: impl FnOnce(&ConnectorStatus) -> T) -> Option<T> {
        lock(&self.connectors).get(connector).map(view)
    }

    /// The connectors' names.
    pub fn connectors(&self) -> Vec<String> {
        lock(&self.connectors).keys().cloned().collect()
    }

    /// A connector's configuration as written.
    pub fn written(&self, connector: &str) -> Option<BTreeMap<String, String>> {
        self.of(connector, |known| known.written.clone())
    }

    /// The state of the connector itself.
    pub fn state(&self, connector: &str) -> Option<State> {
        self.of(connector, |known| known.state.clone())
    }

    /// The tasks of a connector that this worker runs, in the order of their numbers. There are none while it is stopped.
    pub fn tasks(&self, connector: &str) -> Vec<Arc<TaskStatus>> {
        self.of(connector, |known| known.tasks.values().cloned().collect()).unwrap_or_default()
    }

    /// The topics of which the connector has put records.
    pub fn topics(&self, connector: &str) -> Option<Vec<String>> {
        self.of(connector, |known| lock(&known.topics.names).iter().cloned().collect())
    }

    /// Forgets those topics.
    pub fn reset_topics(&self, connector: &str) {
        self.of(connector, |known| known.topics.reset());
    }

    /// The connector, task and reason of every task that does not run as it should, because it has failed, waits
    /// for its restart, or whose loop has made no progress for longer than `limit`. A connector that has failed itself
    /// has no task.
    pub fn unwell(&self, limit: Duration) -> Vec<(String, Option<u32>, String)> {
        let connectors = lock(&self.connectors);
        let mut unwell = Vec::new();
        for (name, known) in &*connectors {
            if let State::Failed(trace) = &known.state {
                unwell.push((name.clone(), None, trace.clone()));
            }
            let tasks = known.tasks.values();
            unwell.extend(tasks.filter_map(|task| Some((name.clone(), Some(task.task), task.unwell(limit)?))));
        }
        unwell
    }

    /// How many tasks have failed for good.
    pub fn failed(&self) -> usize {
        let connectors = lock(&self.connectors);
        let tasks = connectors.values().flat_map(|known| known.tasks.values());
        tasks.filter(|task| matches!(task.state(), State::Failed(_))).count()
    }
}

/// What a panic has left behind is as good as before: every change is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A task that runs and makes no progress is as unwell as one that has failed; a task that has not started is not.
    #[test]
    fn a_running_task_that_is_stuck_is_unwell() {
        let status = Status::default();
        status.configured("raw", BTreeMap::new());
        let tasks = [0, 1].map(|task| status.renew_task("raw", task).expect("a connector"));
        assert!(status.unwell(Duration::ZERO).is_empty());
        tasks[1].set(State::Running);
        while status.unwell(Duration::ZERO).is_empty() {}
        let (connector, task, reason) = status.unwell(Duration::ZERO).swap_remove(0);
        assert_eq!((connector.as_str(), task), ("raw", Some(1)));
        assert!(reason.starts_with("the task has made no progress for "), "{reason}");
        assert!(status.unwell(Duration::from_mins(1)).is_empty(), "its loop has made progress in the last minute");
        tasks[0].set(State::Restarting("denied".into()));
        assert_eq!(status.unwell(Duration::from_mins(1)), [("raw".to_owned(), Some(0), "denied".to_owned())]);
        assert_eq!(status.failed(), 0);
    }

    #[test]
    fn topics_are_noted_again_after_a_reset() {
        let status = Status::default();
        status.configured("raw", BTreeMap::new());
        let task = status.renew_task("raw", 0).expect("a connector");
        let mut noted = 0;
        task.topics().note("a", &mut noted);
        task.topics().note("a", &mut noted);
        assert_eq!(status.topics("raw"), Some(vec!["a".to_owned()]));
        status.reset_topics("raw");
        assert_eq!(status.topics("raw"), Some(Vec::new()));
        task.topics().note("a", &mut noted);
        assert_eq!(status.topics("raw"), Some(vec!["a".to_owned()]));
        assert_eq!(status.topics("other"), None);
    }
}
