//! The connectors of a worker while it runs: what REST creates, changes and deletes.
//!
//! Changes are made one after the other, as in Kafka Connect's standalone worker. A configuration that could not start
//! is refused before anything that runs is touched. A connector is changed by stopping its tasks, which flush, commit
//! and leave their group, and by starting others, which go on where those have ended; so a change loses nothing and
//! repeats nothing, like a restart of the worker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::info;

use super::LEAVE_TIMEOUT;
use super::conflicts::conflicts;
use super::operation::{OperationError, invalid, not_found, not_kept, refusal};
use super::start::{CheckedConnector, ClusterView};
use super::store::Store;
use super::tasks::{Run, RunningTask, stop_all};
use crate::TaskFactory;
use crate::budget::MemoryPool;
use crate::config::file::{Definition, TargetState};
use crate::config::shown::{self, HIDDEN};
use crate::group::Group;
use crate::plugins::Plugins;
use crate::providers::Providers;
use crate::settings::Settings;
use crate::status::Status;

/// What all connectors of a worker have in common, and the connectors.
pub(crate) struct Herder {
    pub(super) settings: Settings,
    pub(super) plugins: Plugins,
    pub(super) providers: Providers,
    pub(super) store: Option<Store>,
    /// The group of workers, unless the worker stands alone.
    pub(super) group: Option<Arc<Group>>,
    pub(super) runtime: Handle,
    pub(super) status: Arc<Status>,
    pub(super) memory: MemoryPool,
    pub(super) run: Run,
    pub(super) restart_backoff_max: Duration,
    /// Becomes true when the worker stops.
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) connectors: Mutex<Connectors>,
}

/// The connectors by name, and what of the cluster is known.
#[derive(Default)]
pub(super) struct Connectors {
    pub all: BTreeMap<String, Connector>,
    pub seen: ClusterView,
}

/// A connector that passed every check that needs no network.
pub(super) struct Connector {
    pub checked: Arc<CheckedConnector>,
    /// Makes its tasks. A connector that is stopped, or that has failed to start, has none.
    pub factory: Option<TaskFactory>,
    pub target: TargetState,
    /// The numbers of those of its tasks that are to run here: all, if the worker stands alone.
    pub dealt: BTreeSet<u32>,
    /// The tasks that were started, by their numbers.
    pub tasks: BTreeMap<u32, RunningTask>,
}

impl Connector {
    pub fn new(checked: CheckedConnector, factory: Option<TaskFactory>) -> Self {
        let (target, dealt) = (checked.definition.state, (0..checked.tasks()).collect());
        Self { checked: Arc::new(checked), factory, target, dealt, tasks: BTreeMap::new() }
    }
}

impl Herder {
    pub(super) fn lock(&self) -> MutexGuard<'_, Connectors> {
        self.connectors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the tasks of all connectors.
    pub fn start_all(&self) {
        let mut connectors = self.lock();
        let names: Vec<_> = connectors.all.keys().cloned().collect();
        // The number of all tasks decides what each of them may hold.
        let total = connectors.all.values().map(|connector| connector.dealt.len()).sum();
        for name in names {
            self.start_tasks(&mut connectors, &name, total);
        }
    }

    /// Stops the tasks of all connectors. Gives whether they have ended in time.
    pub fn stop_all(&self) -> bool {
        let connectors = self.lock();
        stop_all(connectors.all.values().flat_map(|connector| connector.tasks.values()), self.stop_timeout())
    }

    pub(super) fn stop_timeout(&self) -> Duration {
        self.settings.shutdown_timeout.saturating_add(LEAVE_TIMEOUT)
    }

    /// Creates a connector.
    pub fn create(
        &self,
        name: &str,
        config: BTreeMap<String, String>,
        state: TargetState,
    ) -> Result<(), OperationError> {
        self.check_changes()?;
        let mut connectors = self.lock();
        let definition = self.define(name, config, state)?;
        let checked = self.check(definition)?;
        self.refresh()?;
        if self.known(&connectors, name).is_some() {
            return Err(OperationError::Conflict(format!("Connector {name} already exists")));
        }
        self.replace(&mut connectors, checked)
    }

    /// Gives a connector this configuration. The result is true if there was none of that name. Of a secret that is
    /// given as [`HIDDEN`], as REST shows it, the value stays as it is.
    pub fn configure(&self, name: &str, config: BTreeMap<String, String>) -> Result<bool, OperationError> {
        self.check_changes()?;
        let mut connectors = self.lock();
        self.refresh()?;
        self.put(&mut connectors, name, config)
    }

    fn put(
        &self,
        connectors: &mut Connectors,
        name: &str,
        mut config: BTreeMap<String, String>,
    ) -> Result<bool, OperationError> {
        let known = self.known(connectors, name);
        if let Some((written, _)) = &known {
            for (key, value) in &mut config {
                if value == HIDDEN
                    && shown::is_secret(key)
                    && let Some(kept) = written.get(key)
                {
                    value.clone_from(kept);
                }
            }
        }
        let (created, state) = (known.is_none(), known.map_or(TargetState::Running, |(_, target)| target));
        let checked = self.check(self.define(name, config, state)?)?;
        self.replace(connectors, checked)?;
        Ok(created)
    }

    /// Changes some keys of a connector's configuration; one without a value is removed.
    pub fn patch(&self, name: &str, patch: BTreeMap<String, Option<String>>) -> Result<(), OperationError> {
        self.check_changes()?;
        let mut connectors = self.lock();
        self.refresh()?;
        let (mut config, _) = self.known(&connectors, name).ok_or_else(|| not_found(name))?;
        for (key, value) in patch {
            match value {
                Some(value) if value == HIDDEN && shown::is_secret(&key) => {}
                Some(value) => drop(config.insert(key, value)),
                None => drop(config.remove(&key)),
            }
        }
        self.put(&mut connectors, name, config).map(drop)
    }

    /// Deletes a connector. The offsets of its group stay.
    pub fn delete(&self, name: &str) -> Result<(), OperationError> {
        self.check_changes()?;
        let mut connectors = self.lock();
        self.refresh()?;
        if self.known(&connectors, name).is_none() {
            return Err(not_found(name));
        }
        if let Some(group) = &self.group {
            return Self::delete_in(group, name);
        }
        self.stop_tasks(&mut connectors, name);
        connectors.all.remove(name);
        self.status.remove(name);
        self.share_memory(&connectors);
        info!(connector = name, "the connector was deleted");
        match &self.store {
            Some(store) => store.forget(name).map_err(|error| not_kept(name, &error)),
            None => Ok(()),
        }
    }

    /// The configuration of a connector as it is written, and what is wanted of it.
    fn known(&self, connectors: &Connectors, name: &str) -> Option<(BTreeMap<String, String>, TargetState)> {
        if let Some(group) = &self.group {
            return group.with_configs(|configs| Some((configs.written(name)?.clone(), configs.target(name))));
        }
        let known = connectors.all.get(name)?;
        Some((known.checked.definition.written.clone(), known.target))
    }

    /// Refuses every change, unless the worker's settings allow them.
    pub fn check_changes(&self) -> Result<(), OperationError> {
        if self.settings.rest_changes {
            return Ok(());
        }
        Err(OperationError::Forbidden(
            "this worker runs the connectors of its files, and REST may not change them: change the file and restart the \
             worker, or set CONNECT_REST_CHANGES_ENABLE=true"
                .into(),
        ))
    }

    fn define(
        &self,
        name: &str,
        mut config: BTreeMap<String, String>,
        state: TargetState,
    ) -> Result<Definition, OperationError> {
        if let Some(own) = config.get("name").filter(|own| *own != name) {
            return Err(OperationError::BadRequest(format!(
                "the configuration's `name` is `{own}`, but the connector that is asked for is `{name}`"
            )));
        }
        if name.chars().any(char::is_control) {
            return Err(OperationError::BadRequest("the connector's name has control characters".into()));
        }
        self.check_name(name)?;
        config.insert("name".into(), name.into());
        Definition::made(config, state, &self.providers).map_err(|wrong| invalid(&wrong))
    }

    /// Makes the checks that need no network.
    fn check(&self, definition: Definition) -> Result<CheckedConnector, OperationError> {
        CheckedConnector::new(definition, &self.plugins).map_err(refusal)
    }

    /// Starts the sink of a connector, and checks the connector beside the others.
    fn start(
        &self,
        connectors: &mut Connectors,
        checked: &CheckedConnector,
    ) -> Result<Option<TaskFactory>, OperationError> {
        let factory = if checked.definition.state == TargetState::Stopped {
            None
        } else {
            let started = checked.start(&self.settings, &self.runtime, &mut connectors.seen, &self.stopping);
            if *self.stopping.borrow() {
                return Err(OperationError::Internal("the worker stops".into()));
            }
            Some(started.map_err(refusal)?)
        };
        let name = &checked.definition.name;
        let others = connectors.all.iter().filter(|(other, _)| *other != name);
        let mut beside: Vec<&CheckedConnector> = others.map(|(_, connector)| &*connector.checked).collect();
        beside.push(checked);
        let wrong = conflicts(&beside, &connectors.seen.topics);
        if wrong.is_empty() { Ok(factory) } else { Err(refusal(wrong)) }
    }

    /// Puts a connector in the place of the one of its name, if there is one.
    fn replace(&self, connectors: &mut Connectors, checked: CheckedConnector) -> Result<(), OperationError> {
        let factory = self.start(connectors, &checked)?;
        let name = checked.definition.name.clone();
        if let Some(group) = &self.group {
            return Self::put_in(group, &checked);
        }
        if let Some(store) = &self.store {
            store.keep(&checked.definition, checked.definition.state).map_err(|error| not_kept(&name, &error))?;
        }
        self.stop_tasks(connectors, &name);
        self.status.configured(&name, shown::all_shown(&checked.definition.written));
        connectors.all.insert(name.clone(), Connector::new(checked, factory));
        let total = connectors.task_count(&name);
        self.start_tasks(connectors, &name, total);
        info!(connector = name, "the connector was configured");
        Ok(())
    }

    /// The settings of a connector's consumers.
    pub(super) fn client(&self, name: &str) -> Result<ClientConfig, OperationError> {
        let connectors = self.lock();
        let connector = connectors.all.get(name).ok_or_else(|| not_found(name))?;
        Ok(connector.checked.client.clone())
    }
}
