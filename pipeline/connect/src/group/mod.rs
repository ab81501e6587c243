//! A group of workers: what its connectors are and how they are, on two compacted topics, and which of their tasks this
//! worker runs, by Kafka's own group protocol.
//!
//! Every worker reads both topics from the beginning to the end before it takes part, and follows them. The config topic
//! says what is wanted, and every worker does its part of that; the status topic says what has become of it.

mod configs;
mod deal;
mod log;
mod member;
mod statuses;
mod topic;
mod writer;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::warn;

pub(crate) use self::configs::{
    Configs, Entry, Request, config_entries, deletion, level_entry, restart_entry, restart_task_entry, target_entry,
};
use self::log::SharedLog;
use self::member::{Assignment, Member};
pub(crate) use self::statuses::{Report, Statuses, Subject, report_entry, topic_entry, topic_reset};
use self::topic::TopicKeeper;
use crate::config::file::TargetState;
use crate::settings::{GroupSettings, GroupTopic, Settings};
use crate::signal::Signal;

/// Why a worker cannot take part in its group.
#[derive(Debug, thiserror::Error)]
#[error("the group `{group}`: the topic `{topic}` of {variable}: {problem}")]
pub struct GroupError {
    /// The group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// The setting that names the topic.
    pub variable: String,
    /// Why it is of no use, and what to do about it.
    pub problem: String,
}

/// What was read of the topics.
#[derive(Debug, Default)]
struct View {
    configs: Configs,
    statuses: Statuses,
    requests: VecDeque<Request>,
}

/// The group, as this worker sees it.
pub(crate) struct Group {
    settings: GroupSettings,
    /// How other workers, and who asks for the status, know this worker.
    pub worker_id: String,
    slots: u32,
    view: Arc<Mutex<View>>,
    assignment: Arc<Mutex<Assignment>>,
    configs: SharedLog,
    statuses: SharedLog,
    member: Mutex<Option<Member>>,
    /// Raised with every change of what is read or assigned.
    pub signal: Arc<Signal>,
}

/// The part of a worker in the group.
#[derive(Debug, Clone, Default)]
pub(crate) struct Part {
    /// All connectors.
    pub configs: Configs,
    /// The tasks that this worker runs. A worker that has the first task of a connector also reports on the connector.
    pub dealt: BTreeMap<String, BTreeSet<u32>>,
    pub generation: i32,
    /// Whether this worker removes what the status topic says of connectors and tasks that are no more.
    pub cleans: bool,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is one assignment, so what a panic has left behind is as good as before.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Group {
    /// Reads both topics, which are created if they do not exist. Must not be called in an async context.
    pub fn open(
        own: &GroupSettings,
        settings: &Settings,
        worker_id: String,
        signal: Arc<Signal>,
        runtime: &Handle,
        stop: &watch::Receiver<bool>,
    ) -> Result<Self, GroupError> {
        let view = Arc::<Mutex<View>>::default();
        let mut consumer = settings.consumer.clone();
        consumer.set("group.id", &own.id);
        let refused = |topic: &GroupTopic, problem| GroupError {
            group: own.id.clone(),
            topic: topic.name.clone(),
            variable: crate::settings::variable(topic.key),
            problem,
        };
        let keeper = TopicKeeper::new(&consumer, runtime, stop).map_err(|problem| refused(&own.configs, problem))?;
        let ensure = |topic: &GroupTopic| keeper.ensure(topic).map_err(|problem| refused(topic, problem));
        let ((partitions, made), (slots, states_made)) = (ensure(&own.configs)?, ensure(&own.statuses)?);
        // What was just created is compacted.
        let found = [(&own.configs, made), (&own.statuses, states_made)];
        let found: Vec<_> = found.into_iter().filter(|(_, made)| !made).map(|(topic, _)| topic).collect();
        if !found.is_empty()
            && let Some((topic, problem)) = keeper.not_compacted(&found)
        {
            return Err(refused(topic, problem));
        }
        let open = |topic: &GroupTopic, partitions, fold| {
            let log = SharedLog::start(&topic.name, partitions, &consumer, &settings.producer, fold)
                .and_then(|log| log.catch_up(stop).map(|()| log));
            log.map_err(|problem| refused(topic, problem))
        };
        let configs = open(
            &own.configs,
            partitions,
            fold("config", &view, &signal, |seen, key, value| seen.configs.apply(key, value)),
        )?;
        let statuses = open(&own.statuses, slots, fold("status", &view, &signal, note_status))?;
        let (settings, assignment, member) = (own.clone(), Arc::default(), Mutex::default());
        Ok(Self { settings, worker_id, slots, view, assignment, configs, statuses, member, signal })
    }

    /// Joins the group.
    pub fn join(&self, settings: &Settings) -> Result<(), GroupError> {
        let GroupSettings { id, statuses, .. } = &self.settings;
        let (assignment, signal) = (Arc::clone(&self.assignment), Arc::clone(&self.signal));
        let member = Member::join(&settings.consumer, id, &statuses.name, &self.worker_id, assignment, signal);
        let refused = |problem| GroupError {
            group: id.clone(),
            topic: statuses.name.clone(),
            variable: crate::settings::variable(statuses.key),
            problem,
        };
        *lock(&self.member) = Some(member.map_err(refused)?);
        Ok(())
    }

    /// Leaves the group, so that its tasks go to other workers at once, and follows the topics no longer.
    pub fn leave(&self) {
        drop(lock(&self.member).take());
        self.configs.end();
        self.statuses.end();
    }

    /// `group.id`.
    pub fn id(&self) -> &str {
        &self.settings.id
    }

    /// Whether the worker knows its part of the group: it is a member, and the group does not rebalance.
    pub fn is_settled(&self) -> bool {
        lock(&self.assignment).settled
    }

    /// What this worker has to do. While the group rebalances it is what it was before.
    pub fn part(&self) -> Part {
        let configs = lock(&self.view).configs.clone();
        let Assignment { slots, generation, settled } = lock(&self.assignment).clone();
        let dealt = deal::dealt(&configs.all_tasks(), self.slots, &slots);
        Part { configs, dealt, generation, cleans: settled && slots.contains(&0) }
    }

    /// What was asked for since the last call.
    pub fn take_requests(&self) -> Vec<Request> {
        lock(&self.view).requests.drain(..).collect()
    }

    /// What the config topic says.
    pub fn with_configs<T>(&self, look: impl FnOnce(&Configs) -> T) -> T {
        look(&lock(&self.view).configs)
    }

    /// What the status topic says, and whether everything that was asked for was taken.
    pub fn with_statuses<T>(&self, look: impl FnOnce(&Statuses, bool) -> T) -> T {
        let view = lock(&self.view);
        look(&view.statuses, view.requests.is_empty())
    }

    /// How many tasks a connector has now: none while it is stopped.
    pub fn task_count(&self, name: &str) -> u32 {
        self.with_configs(|configs| {
            let stopped = !configs.has(name) || configs.target(name) == TargetState::Stopped;
            if stopped { 0 } else { configs.tasks(name) }
        })
    }

    /// Waits until everything was read that other workers have changed before, or until `stop` is true. The error is a
    /// sentence.
    pub fn catch_up(&self, stop: &watch::Receiver<bool>) -> Result<(), String> {
        self.configs.catch_up(stop)
    }

    /// Changes what is wanted, and waits until this worker has read it. The error is a sentence.
    pub fn write(&self, entries: &[Entry]) -> Result<(), String> {
        self.configs.write(entries)
    }

    /// Reports how things are, and waits until this worker has read it. The error is a sentence.
    pub fn report(&self, entries: &[Entry]) -> Result<(), String> {
        if entries.is_empty() { Ok(()) } else { self.statuses.write(entries) }
    }
}

/// Takes a record into what was seen of the topic with these `contents`.
fn fold(
    contents: &'static str,
    view: &Arc<Mutex<View>>,
    signal: &Arc<Signal>,
    apply: impl Fn(&mut View, &str, Option<&[u8]>) -> Result<Option<Request>, String> + Send + 'static,
) -> log::Fold {
    let (view, signal) = (Arc::clone(view), Arc::clone(signal));
    Box::new(move |key, value, live| {
        let mut seen = lock(&view);
        match apply(&mut seen, key, value) {
            // What was asked for before this worker was there is not its business.
            Ok(request) => seen.requests.extend(request.filter(|_| live)),
            Err(problem) => warn!(key, "a record of the {contents} topic is ignored: {problem}"),
        }
        drop(seen);
        signal.raise();
    })
}

fn note_status(seen: &mut View, key: &str, value: Option<&[u8]>) -> Result<Option<Request>, String> {
    let reset = seen.statuses.apply(key, value)?;
    Ok(reset.map(|connector| Request::NoteTopics { connector }))
}
