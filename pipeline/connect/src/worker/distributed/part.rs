//! A worker's part of its group: it runs the tasks that it is dealt, with the configurations of the config topic.
//!
//! It looks at everything with every change, and makes what runs the same as what is wanted. Nothing depends on how often
//! it looks, nor on what it has seen in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use crate::TaskFactory;
use crate::config::file::{Definition, TargetState};
use crate::config::shown;
use crate::group::{Group, Part, Report, Request, Subject};
use crate::loggers::LogLevels;
use crate::status::State;
use crate::task::Wanted;
use crate::worker::RestartScope;
use crate::worker::herder::{Connector, Connectors, Herder};
use crate::worker::launch::connector_state;
use crate::worker::operation::sentences;
use crate::worker::start::CheckedConnector;
use crate::worker::tasks::stop_all;

/// How long nothing has to happen before everything is looked at anyway.
const IDLE: Duration = Duration::from_mins(1);
/// After which time what could not be written is written again.
const AGAIN: Duration = Duration::from_secs(1);

/// What follows the group.
pub(in crate::worker) struct Follower<'h> {
    pub(super) herder: &'h Herder,
    pub(super) group: &'h Group,
    levels: Option<Arc<dyn LogLevels>>,
    /// Connectors that could not be started here, and when they are tried again.
    retries: BTreeMap<String, Retry>,
    /// What this worker has reported last.
    pub(super) reported: BTreeMap<Subject, Report>,
}

struct Retry {
    number: u32,
    at: Instant,
}

impl<'h> Follower<'h> {
    pub fn new(herder: &'h Herder, group: &'h Group, levels: Option<Arc<dyn LogLevels>>) -> Self {
        Self { herder, group, levels, retries: BTreeMap::new(), reported: BTreeMap::new() }
    }

    /// Follows the group until the worker stops. Gives what was reported last.
    pub fn run(mut self) -> BTreeMap<Subject, Report> {
        while !*self.herder.stopping.borrow() {
            let seen = self.group.signal.count();
            for request in self.group.take_requests() {
                self.serve(request);
            }
            let part = self.group.part();
            self.take_part(&part);
            let reported = self.report(&part);
            if let Err(problem) = &reported {
                warn!("the group is not told how the tasks are: {problem}; they go on");
            }
            let now = Instant::now();
            let retries = self.retries.values().map(|retry| retry.at.saturating_duration_since(now));
            let limit = retries.chain(reported.is_err().then_some(AGAIN)).min().unwrap_or(IDLE);
            self.group.signal.wait(seen, limit.min(IDLE));
        }
        self.reported
    }

    /// Does what was asked for once.
    fn serve(&mut self, request: Request) {
        match request {
            Request::Restart { connector, scope } => self.restart(&connector, scope),
            Request::RestartTask { connector, task } => {
                let mut connectors = self.herder.lock();
                if self.herder.restart_one(&mut connectors, &connector, task) {
                    info!(connector, task, "the task was restarted");
                }
            }
            Request::Level { logger, level } => {
                let set = self.levels.as_ref().map(|levels| levels.set(&logger, &level));
                if let Some(Err(problem)) = set {
                    warn!(logger, level, "a logger's level cannot be set: {problem}");
                }
            }
            Request::NoteTopics { connector } => self.herder.status.reset_topics(&connector),
        }
    }

    /// Restarts what of a connector runs here.
    fn restart(&mut self, name: &str, scope: RestartScope) {
        let mut connectors = self.herder.lock();
        let Some(connector) = connectors.all.get_mut(name) else { return };
        info!(connector = name, ?scope, "a restart was asked for");
        let has_failed = connector.factory.is_none();
        self.retries.remove(name);
        if scope.tasks && !scope.only_failed {
            // They are missing then, and are started with a new sink.
            connector.factory = None;
            self.herder.stop_tasks(&mut connectors, name);
            return;
        }
        let failed = if scope.tasks { self.herder.tasks_of(name, true) } else { Vec::new() };
        if !scope.only_failed && !has_failed {
            self.herder.start_again(&mut connectors, name);
        }
        for task in failed {
            self.herder.restart_one(&mut connectors, name, task);
        }
    }

    /// Makes what runs the same as what is wanted.
    fn take_part(&mut self, part: &Part) {
        let mut connectors = self.herder.lock();
        self.end_others(&mut connectors, part);
        let total = part.dealt.values().map(BTreeSet::len).sum();
        for name in part.configs.names() {
            if *self.herder.stopping.borrow() {
                return;
            }
            self.run_dealt(&mut connectors, part, name, total);
        }
        self.retries.retain(|name, _| part.configs.has(name));
        self.herder.share_memory(&connectors);
    }

    /// Ends every task that no longer runs here, or not with this configuration, and waits for them all at once.
    fn end_others(&self, connectors: &mut Connectors, part: &Part) {
        let mut ending = Vec::new();
        for (name, connector) in &mut connectors.all {
            let same = part.configs.written(name) == Some(&connector.checked.definition.written);
            let runs = same && part.configs.target(name) != TargetState::Stopped;
            let kept = part.dealt.get(name).filter(|_| runs).cloned().unwrap_or_default();
            ending.extend(connector.tasks.extract_if(.., |task, _| !kept.contains(task)).map(|(_, task)| task));
            if !runs {
                connector.factory = None;
            }
            self.herder.status.retain_tasks(name, &kept);
        }
        stop_all(ending.iter(), self.herder.stop_timeout());
        let gone: Vec<_> = connectors.all.keys().filter(|name| !part.configs.has(name)).cloned().collect();
        for name in gone {
            connectors.all.remove(&name);
            info!(connector = name, "the connector was deleted");
        }
        for name in self.herder.status.connectors() {
            if !part.configs.has(&name) {
                self.herder.status.remove(&name);
            }
        }
    }

    /// Starts the tasks of a connector that are dealt to this worker and do not run, and tells those that do what is
    /// wanted.
    fn run_dealt(&mut self, connectors: &mut Connectors, part: &Part, name: &str, total: usize) {
        let Some(written) = part.configs.written(name) else { return };
        let (target, status) = (part.configs.target(name), &self.herder.status);
        let dealt = part.dealt.get(name).cloned().unwrap_or_default();
        let known = connectors.all.get(name);
        if known.is_none_or(|known| known.checked.definition.written != *written) {
            connectors.all.remove(name);
            self.retries.remove(name);
            status.configured(name, shown::all_shown(written));
            match self.checked(name, part) {
                Ok(checked) => {
                    connectors.all.insert(name.to_owned(), Connector::new(checked, None));
                    status.set(name, State::Unassigned);
                }
                Err(trace) => return self.set_all(name, &dealt, &State::Failed(trace)),
            }
        }
        let Some(connector) = connectors.all.get_mut(name) else { return };
        connector.dealt = dealt;
        if connector.target != target {
            connector.target = target;
            let wanted = if target == TargetState::Paused { Wanted::Paused } else { Wanted::Running };
            connector.tasks.values().for_each(|task| task.want(wanted));
            info!(connector = name, "the connector is to be {}", target.name());
        }
        let missing: Vec<u32> =
            connector.dealt.iter().filter(|task| !connector.tasks.contains_key(task)).copied().collect();
        if target == TargetState::Stopped || missing.is_empty() {
            self.retries.remove(name);
            // A restart of the connector itself may have failed, which its running tasks do not notice.
            let failed = matches!(status.state(name), Some(State::Failed(_)));
            if target == TargetState::Stopped || !failed {
                status.set(name, connector_state(target));
            }
            return;
        }
        let Some(factory) = self.factory(connectors, name) else { return };
        if let Some(connector) = connectors.all.get_mut(name) {
            status.set(name, connector_state(target));
            self.herder.start_these(connector, &factory, missing, total);
        }
    }

    /// The configuration of a connector, checked. The error is what is wrong with it here.
    fn checked(&self, name: &str, part: &Part) -> Result<CheckedConnector, String> {
        let written = part.configs.written(name).cloned().unwrap_or_default();
        let definition = Definition::made(written, part.configs.target(name), &self.herder.providers)
            .map_err(|wrong| wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
        CheckedConnector::new(definition, &self.herder.plugins).map_err(|wrong| sentences(&wrong))
    }

    /// What makes the tasks of a connector. If it cannot be started now, it is tried again, with growing pauses.
    fn factory(&mut self, connectors: &mut Connectors, name: &str) -> Option<TaskFactory> {
        let connector = connectors.all.get(name)?;
        if let Some(factory) = &connector.factory {
            return Some(Arc::clone(factory));
        }
        if self.retries.get(name).is_some_and(|retry| retry.at > Instant::now()) {
            return None;
        }
        let (checked, dealt) = (Arc::clone(&connector.checked), connector.dealt.clone());
        let Herder { settings, runtime, stopping, .. } = self.herder;
        match checked.start(settings, runtime, &mut connectors.seen, stopping) {
            Ok(_) if *stopping.borrow() => None,
            Ok(factory) => {
                self.retries.remove(name);
                connectors.all.get_mut(name)?.factory = Some(Arc::clone(&factory));
                Some(factory)
            }
            Err(wrong) => {
                let trace = sentences(&wrong);
                let number = self.retries.get(name).map_or(1, |retry| retry.number.saturating_add(1));
                let pause = AGAIN.saturating_mul(1 << (number - 1).min(30)).min(self.herder.restart_backoff_max);
                error!(connector = name, number, pause_ms = pause.as_millis(), "the connector did not start: {trace}");
                self.retries.insert(name.to_owned(), Retry { number, at: Instant::now() + pause });
                let waiting = format!("{trace} (start {number} failed, and the next follows by itself)");
                self.set_all(name, &dealt, &State::Restarting(waiting));
                None
            }
        }
    }

    /// Sets the state of a connector of which nothing can run here, and of its tasks.
    fn set_all(&self, name: &str, tasks: &BTreeSet<u32>, state: &State) {
        let status = &self.herder.status;
        status.set(name, state.clone());
        status.retain_tasks(name, tasks);
        let known: BTreeSet<u32> = status.tasks(name).iter().map(|task| task.task()).collect();
        for task in tasks.difference(&known) {
            status.renew_task(name, *task);
        }
        for task in status.tasks(name) {
            task.set(state.clone());
        }
    }
}
