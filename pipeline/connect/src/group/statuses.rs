//! What the status topic says: the last report on each connector and task, and the topics that connectors have read.
//! Its records are those of Kafka Connect.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::configs::{Entry, task};
use crate::status::State;

const CONNECTOR: &str = "status-connector-";
const TASK: &str = "status-task-";
const TOPIC: &str = "status-topic-";
const OF_CONNECTOR: &str = ":connector-";

/// Who a report is on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Connector(String),
    Task(String, u32),
}

impl Subject {
    /// Its connector.
    pub fn connector(&self) -> &str {
        match self {
            Self::Connector(name) | Self::Task(name, _) => name,
        }
    }

    fn key(&self) -> String {
        match self {
            Self::Connector(name) => format!("{CONNECTOR}{name}"),
            Self::Task(name, task) => format!("{TASK}{name}-{task}"),
        }
    }
}

/// The state of a connector or task, and where it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub state: String,
    /// Why it has failed.
    #[serde(default)]
    pub trace: Option<String>,
    /// `host:port` of its worker; empty if no worker has reported yet.
    pub worker_id: String,
    /// The generation of the group in which the worker was given it.
    #[serde(default)]
    pub generation: i32,
    /// The version of the worker.
    #[serde(default)]
    pub version: Option<String>,
}

impl Report {
    /// A report of this program's version.
    pub fn new(state: &State, worker_id: &str, generation: i32) -> Self {
        Self {
            state: state.name().into(),
            trace: state.trace().filter(|trace| !trace.is_empty()).map(str::to_owned),
            worker_id: worker_id.to_owned(),
            generation,
            version: Some(env!("CARGO_PKG_VERSION").into()),
        }
    }
}

/// The reports of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Statuses {
    reports: BTreeMap<Subject, Report>,
    topics: BTreeMap<String, BTreeSet<String>>,
}

impl Statuses {
    /// Takes in a record. Gives the connector whose topics were reset, if it says that. The error says what is wrong with
    /// a record that means nothing here; such a record changes nothing.
    pub fn apply(&mut self, key: &str, value: Option<&[u8]>) -> Result<Option<String>, String> {
        let subject = if let Some(name) = key.strip_prefix(CONNECTOR) {
            Subject::Connector(name.into())
        } else if let Some(name) = key.strip_prefix(TASK) {
            let (name, task) = task(name)?;
            Subject::Task(name, task)
        } else if let Some((topic, name)) = key.strip_prefix(TOPIC).and_then(|rest| rest.split_once(OF_CONNECTOR)) {
            let topics = self.topics.entry(name.into()).or_default();
            let reset = value.is_none() && topics.remove(topic);
            if value.is_some() {
                topics.insert(topic.into());
            }
            return Ok(reset.then(|| name.to_owned()));
        } else {
            return Err("this program knows no such key".into());
        };
        match value {
            Some(value) => {
                let report = serde_json::from_slice(value).map_err(|problem| problem.to_string())?;
                self.reports.insert(subject, report);
            }
            None => drop(self.reports.remove(&subject)),
        }
        Ok(None)
    }

    /// The last report.
    pub fn of(&self, subject: &Subject) -> Option<&Report> {
        self.reports.get(subject)
    }

    /// Everything that there are reports on.
    pub fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.reports.keys()
    }

    /// The topics that a connector has put records of.
    pub fn topics(&self, connector: &str) -> BTreeSet<String> {
        self.topics.get(connector).cloned().unwrap_or_default()
    }

    /// The connectors that have put records.
    pub fn with_topics(&self) -> impl Iterator<Item = &String> {
        self.topics.iter().filter(|(_, topics)| !topics.is_empty()).map(|(name, _)| name)
    }
}

/// The record of a report; without one, it removes the last.
pub(crate) fn report_entry(subject: &Subject, report: Option<&Report>) -> Entry {
    (subject.key(), report.map(|report| json!(report).to_string().into_bytes()))
}

/// The record that a connector's task has put records of a topic, seen at this time in milliseconds since 1970.
pub(crate) fn topic_entry(topic: &str, connector: &str, task: u32, millis: i64) -> Entry {
    let value = json!({"topic": {"name": topic, "connector": connector, "task": task, "discoverTimestamp": millis}});
    (topic_key(topic, connector), Some(value.to_string().into_bytes()))
}

/// The record that forgets a topic of a connector.
pub(crate) fn topic_reset(topic: &str, connector: &str) -> Entry {
    (topic_key(topic, connector), None)
}

fn topic_key(topic: &str, connector: &str) -> String {
    format!("{TOPIC}{topic}{OF_CONNECTOR}{connector}")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn reports_are_those_of_kafka_connect() {
        let report = |state: &str, trace: Option<&str>| Report {
            state: state.into(),
            trace: trace.map(str::to_owned),
            worker_id: "a:8083".into(),
            generation: 3,
            version: Some("1.0".into()),
        };
        let (running, failed) = (report("RUNNING", None), report("FAILED", Some("the bucket is gone")));
        let (connector, task) = (Subject::Connector("a".into()), Subject::Task("a-b".into(), 7));
        let entries = [
            report_entry(&connector, Some(&running)),
            report_entry(&task, Some(&failed)),
            topic_entry("t", "a", 0, 17),
        ];
        let shown = |(key, value): &Entry| format!("{key} {}", std::str::from_utf8(value.as_ref().unwrap()).unwrap());
        assert_snapshot!(entries.iter().map(shown).collect::<Vec<_>>().join("\n"), @r#"
        status-connector-a {"generation":3,"state":"RUNNING","trace":null,"version":"1.0","worker_id":"a:8083"}
        status-task-a-b-7 {"generation":3,"state":"FAILED","trace":"the bucket is gone","version":"1.0","worker_id":"a:8083"}
        status-topic-t:connector-a {"topic":{"connector":"a","discoverTimestamp":17,"name":"t","task":0}}
        "#);
        let mut statuses = Statuses::default();
        for (key, value) in &entries {
            statuses.apply(key, value.as_deref()).unwrap();
        }
        assert_eq!((statuses.of(&connector), statuses.of(&task)), (Some(&running), Some(&failed)));
        assert_eq!(statuses.topics("a"), BTreeSet::from(["t".to_owned()]));
        // What Kafka Connect 3 writes has no version.
        let older = br#"{"state":"RUNNING","trace":null,"worker_id":"b:8083","generation":4}"#;
        statuses.apply("status-task-a-0", Some(older)).unwrap();
        assert_eq!(statuses.of(&Subject::Task("a".into(), 0)).unwrap().generation, 4);

        let (key, value) = topic_reset("t", "a");
        assert_eq!(statuses.apply(&key, value.as_deref()), Ok(Some("a".into())));
        assert_eq!(statuses.apply(&key, value.as_deref()), Ok(None), "they were reset before");
        for (subject, left) in [(&connector, 2), (&task, 1)] {
            let (key, value) = report_entry(subject, None);
            statuses.apply(&key, value.as_deref()).unwrap();
            assert_eq!(statuses.subjects().count(), left);
        }
        assert!(statuses.apply("status-task-a", Some(older)).is_err());
        assert!(statuses.apply("status-task-a-1", Some(b"{}")).is_err());
    }
}
