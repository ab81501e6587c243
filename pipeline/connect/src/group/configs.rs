//! What the config topic says: its records are those of Kafka Connect, and the last record of each key counts.
//!
//! A connector is there if its configuration is. What is wanted of it and its number of tasks are records of their own,
//! which are written before the configuration, so a connector is never seen without them. As every key has a value of
//! its own, a compacted topic says the same as the whole one.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::file::TargetState;
use crate::worker::RestartScope;

const TARGET: &str = "target-state-";
const RESTART: &str = "restart-connector-";
const RESTART_TASK: &str = "restart-task-";
const LEVEL: &str = "logger-cluster-";
const TASKS: &str = "commit-";
const CONNECTOR: &str = "connector-";

/// A record: its key, and its value, without which it removes what the key said before.
pub(crate) type Entry = (String, Option<Vec<u8>>);

/// The connectors of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Configs {
    written: BTreeMap<String, BTreeMap<String, String>>,
    targets: BTreeMap<String, TargetState>,
    tasks: BTreeMap<String, u32>,
}

/// What a record asks for once, of the workers that run when it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// A connector is restarted, its tasks, or what of them has failed.
    Restart { connector: String, scope: RestartScope },
    /// A task is restarted.
    RestartTask { connector: String, task: u32 },
    /// A logger gets another level.
    Level { logger: String, level: String },
    /// The topics of a connector are noted anew.
    NoteTopics { connector: String },
}

#[derive(Deserialize)]
struct Properties {
    properties: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Target {
    state: String,
    #[serde(rename = "state.v2")]
    newer: Option<String>,
}

#[derive(Deserialize)]
struct Tasks {
    tasks: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Restart {
    only_failed: bool,
    include_tasks: bool,
}

#[derive(Deserialize)]
struct Level {
    level: String,
}

impl Configs {
    /// Takes in a record. The error says what is wrong with one that means nothing here; such a record changes nothing.
    pub fn apply(&mut self, key: &str, value: Option<&[u8]>) -> Result<Option<Request>, String> {
        if let Some(name) = key.strip_prefix(TARGET) {
            set(&mut self.targets, name, value, target)?;
        } else if let Some(name) = key.strip_prefix(RESTART) {
            let Some(value) = value else { return Ok(None) };
            let Restart { only_failed, include_tasks: tasks } = read(value)?;
            return Ok(Some(Request::Restart { connector: name.into(), scope: RestartScope { tasks, only_failed } }));
        } else if let Some(name) = key.strip_prefix(RESTART_TASK) {
            if value.is_none() {
                return Ok(None);
            }
            let (connector, task) = task(name)?;
            return Ok(Some(Request::RestartTask { connector, task }));
        } else if let Some(logger) = key.strip_prefix(LEVEL) {
            let Some(value) = value else { return Ok(None) };
            let Level { level } = read(value)?;
            return Ok(Some(Request::Level { logger: logger.into(), level }));
        } else if let Some(name) = key.strip_prefix(TASKS) {
            set(&mut self.tasks, name, value, |value| read::<Tasks>(value).map(|tasks| tasks.tasks))?;
        } else if let Some(name) = key.strip_prefix(CONNECTOR) {
            set(&mut self.written, name, value, |value| {
                let Properties { mut properties } = read(value)?;
                properties.insert("name".into(), name.into());
                Ok(properties)
            })?;
        } else {
            return Err("this program knows no such key".into());
        }
        Ok(None)
    }

    /// The connectors' names.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.written.keys()
    }

    /// Whether there is such a connector.
    pub fn has(&self, name: &str) -> bool {
        self.written.contains_key(name)
    }

    /// A connector's configuration as it was written.
    pub fn written(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.written.get(name)
    }

    /// What is wanted of a connector.
    pub fn target(&self, name: &str) -> TargetState {
        self.targets.get(name).copied().unwrap_or_default()
    }

    /// How many tasks a connector has, also while it is stopped.
    pub fn tasks(&self, name: &str) -> u32 {
        self.tasks.get(name).copied().unwrap_or(1).max(1)
    }

    /// How many tasks each connector has.
    pub fn all_tasks(&self) -> BTreeMap<String, u32> {
        self.names().map(|name| (name.clone(), self.tasks(name))).collect()
    }
}

fn set<T>(
    values: &mut BTreeMap<String, T>,
    name: &str,
    value: Option<&[u8]>,
    read: impl FnOnce(&[u8]) -> Result<T, String>,
) -> Result<(), String> {
    match value {
        Some(value) => drop(values.insert(name.into(), read(value)?)),
        None => drop(values.remove(name)),
    }
    Ok(())
}

fn read<'v, T: Deserialize<'v>>(value: &'v [u8]) -> Result<T, String> {
    serde_json::from_slice(value).map_err(|problem| problem.to_string())
}

/// What is wanted, where older versions of Kafka Connect know no `STOPPED`.
fn target(value: &[u8]) -> Result<TargetState, String> {
    let Target { state, newer } = read(value)?;
    let state = newer.unwrap_or(state);
    state.parse().map_err(|_| format!("`{state}` is no state that can be wanted"))
}

/// Splits `NAME-NUMBER`.
pub(super) fn task(name: &str) -> Result<(String, u32), String> {
    let split = name.rsplit_once('-').and_then(|(connector, task)| Some((connector.to_owned(), task.parse().ok()?)));
    split.ok_or_else(|| format!("`{name}` does not end in the number of a task"))
}

fn entry(prefix: &str, name: &str, value: &Value) -> Entry {
    (format!("{prefix}{name}"), Some(value.to_string().into_bytes()))
}

/// The record of what is wanted of a connector.
pub(crate) fn target_entry(name: &str, state: TargetState) -> Entry {
    let older = if state == TargetState::Stopped { TargetState::Paused } else { state };
    entry(TARGET, name, &json!({"state": older.name(), "state.v2": state.name()}))
}

/// The records of a connector's configuration, of which the last makes it known.
pub(crate) fn config_entries(name: &str, written: &BTreeMap<String, String>, tasks: u32) -> [Entry; 2] {
    [entry(TASKS, name, &json!({"tasks": tasks})), entry(CONNECTOR, name, &json!({"properties": written}))]
}

/// The records that delete a connector, of which the first makes it unknown.
pub(crate) fn deletion(name: &str) -> [Entry; 3] {
    [CONNECTOR, TARGET, TASKS].map(|prefix| (format!("{prefix}{name}"), None))
}

/// The record that asks for a restart.
pub(crate) fn restart_entry(name: &str, scope: RestartScope) -> Entry {
    entry(RESTART, name, &json!({"only-failed": scope.only_failed, "include-tasks": scope.tasks}))
}

/// The record that asks for the restart of a task.
pub(crate) fn restart_task_entry(name: &str, task: u32) -> Entry {
    entry(RESTART_TASK, &format!("{name}-{task}"), &json!({"task": task}))
}

/// The record that asks for another level of a logger.
pub(crate) fn level_entry(logger: &str, level: &str) -> Entry {
    entry(LEVEL, logger, &json!({"level": level}))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::collections::BTreeSet;

    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;

    fn folded<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> Configs {
        let mut configs = Configs::default();
        for (key, value) in entries {
            configs.apply(key, value.as_deref()).unwrap();
        }
        configs
    }

    fn shown((key, value): &Entry) -> String {
        format!("{key} {}", value.as_ref().map_or("(removed)", |value| std::str::from_utf8(value).unwrap()))
    }

    #[test]
    fn records_are_those_of_kafka_connect() {
        let written = BTreeMap::from([("name".to_owned(), "a".to_owned()), ("tasks.max".to_owned(), "2".to_owned())]);
        let scope = RestartScope { tasks: true, only_failed: false };
        let mut all = vec![target_entry("a", TargetState::Running), target_entry("a", TargetState::Stopped)];
        all.extend(config_entries("a", &written, 2));
        all.extend([restart_entry("a", scope), restart_task_entry("a-b", 1), level_entry("root", "DEBUG")]);
        all.extend(deletion("a"));
        assert_snapshot!(all.iter().map(shown).collect::<Vec<_>>().join("\n"), @r#"
        target-state-a {"state":"RUNNING","state.v2":"RUNNING"}
        target-state-a {"state":"PAUSED","state.v2":"STOPPED"}
        commit-a {"tasks":2}
        connector-a {"properties":{"name":"a","tasks.max":"2"}}
        restart-connector-a {"include-tasks":true,"only-failed":false}
        restart-task-a-b-1 {"task":1}
        logger-cluster-root {"level":"DEBUG"}
        connector-a (removed)
        target-state-a (removed)
        commit-a (removed)
        "#);
        let mut configs = folded(&all[..4]);
        assert_eq!((configs.written("a"), configs.tasks("a")), (Some(&written), 2));
        assert_eq!(configs.target("a"), TargetState::Stopped);
        let mut asked = |entry: &Entry| configs.apply(&entry.0, entry.1.as_deref()).unwrap();
        assert_eq!(asked(&all[4]), Some(Request::Restart { connector: "a".into(), scope }));
        assert_eq!(asked(&all[5]), Some(Request::RestartTask { connector: "a-b".into(), task: 1 }));
        assert_eq!(folded(&all), Configs::default());
    }

    #[test]
    fn a_record_that_means_nothing_changes_nothing() {
        let mut configs = folded(&config_entries("a", &BTreeMap::new(), 1));
        let before = configs.clone();
        for (key, value) in [
            ("session-key", "{}"),
            ("connector-a", "{"),
            ("connector-a", r#"{"properties": {"a": 1}}"#),
            ("target-state-a", r#"{"state": "GONE"}"#),
            ("commit-a", r#"{"tasks": -1}"#),
            ("restart-task-a", "{}"),
        ] {
            assert!(configs.apply(key, Some(value.as_bytes())).is_err(), "{key} {value}");
        }
        assert_eq!(configs, before);
        // Kafka Connect before version 3.5 writes no newer state.
        configs.apply("target-state-a", Some(br#"{"state":"PAUSED"}"#)).unwrap();
        assert_eq!(configs.target("a"), TargetState::Paused);
    }

    fn any_entry() -> impl Strategy<Value = Entry> {
        let (name, tasks) = ("[ab]", 1_u32..4);
        (name, tasks, 0..6).prop_map(|(name, tasks, kind)| match kind {
            0 => target_entry(&name, TargetState::Stopped),
            1 => target_entry(&name, TargetState::Running),
            2 => deletion(&name)[0].clone(),
            3 => deletion(&name)[1].clone(),
            4 => config_entries(&name, &BTreeMap::new(), tasks)[0].clone(),
            _ => config_entries(&name, &BTreeMap::from([("tasks.max".into(), tasks.to_string())]), tasks)[1].clone(),
        })
    }

    proptest! {
        #[test]
        fn a_compacted_topic_says_the_same_as_the_whole_one(
            entries in proptest::collection::vec(any_entry(), 0..40),
            compacted in 0_usize..40,
        ) {
            // Compaction keeps the last record of each key in the part that it has gone through.
            let compacted = compacted.min(entries.len());
            let mut seen = BTreeSet::new();
            let mut kept: Vec<&Entry> = entries[..compacted].iter().rev().filter(|entry| seen.insert(&entry.0)).collect();
            kept.reverse();
            kept.extend(&entries[compacted..]);
            prop_assert_eq!(folded(kept), folded(&entries));
        }

        #[test]
        fn the_order_of_different_keys_is_of_no_importance(entries in proptest::collection::vec(any_entry(), 0..20)) {
            let mut by_key = entries.clone();
            by_key.sort_by(|one, other| one.0.cmp(&other.0));
            prop_assert_eq!(folded(&by_key), folded(&entries));
        }
    }
}
