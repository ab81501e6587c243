//! Mutations make a pipeline look broken, to show that the tests catch it.
//!
//! The pipeline is not changed and knows nothing of it. The recording proxy changes a call, or answers it in place of
//! the service, as a pipeline with that defect would have made it. What does not pass the proxy, which is what the
//! pipeline leaves in Kafka, is changed where the framework reads it. So mutations work for pipelines in any language.
//!
//! A mutation shows once in a run, at the first call or record that it concerns, because a single wrong row is harder
//! to find than many. One that never concerned anything did not happen.

mod catalog;
mod items;
mod lines;
mod list;
mod objects;
mod queues;
mod records;
mod run;
mod sent;

use std::collections::BTreeSet;

use serde_json::Value;

pub(crate) use self::list::{ALL, markdown};
pub(crate) use self::run::{Mutations, commits, dead_letters, note_committed, records};
pub(crate) use self::sent::{Changed, Sent};
use crate::case::Settings;
use crate::stack::{Commits, Record, Table};

/// One defect that a pipeline can be given.
#[derive(Debug)]
pub(crate) struct Mutation {
    /// Its name, for people and for the command line.
    pub name: &'static str,
    /// What the pipeline does, to stand after "a pipeline that" in a sentence.
    pub defect: &'static str,
    change: Change,
    /// Whether it shows at every call that it concerns, and not at the first one only.
    shows_always: bool,
    /// What has to happen in a run so that the defect does harm.
    pub needs: Needs,
}

impl Mutation {
    /// What a case has to have so that the mutation may concern it, in words, and whether this case has it.
    pub(crate) fn requires(&self, settings: &Settings) -> (&'static str, bool) {
        let Settings { resources, dead_letters, output_topics, groups, .. } = settings;
        match &self.change {
            Change::Call { service, .. } | Change::Answer { service, .. } => match *service {
                "s3" => ("a bucket", !resources.buckets.is_empty()),
                "dynamodb" => ("a table", !resources.tables.is_empty()),
                "sqs" => ("a queue", !resources.queues.is_empty()),
                "glue" => ("a database of the catalog", !resources.databases.is_empty()),
                _ => ("a service that is not known here", false),
            },
            Change::DeadLetters(_) => ("a dead-letter topic", !dead_letters.is_empty()),
            Change::Records(_) => ("an output topic", !output_topics.is_empty()),
            Change::Commits(_) => ("a consumer group", !groups.is_empty()),
        }
    }
}

/// What has to happen in a run so that a defect does harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing.
    Nothing,
    /// The process that receives messages from a queue is killed when it stores its first object.
    KillAtStore,
}

/// The records of a topic.
type Records = Vec<Record>;

/// Changes a call, or does not concern it.
type ChangeCall = fn(&Sent, &Context) -> Option<Instead>;

/// What a mutation changes. A function for records or commits says whether it has changed anything.
#[derive(Debug)]
enum Change {
    /// Calls of these operations.
    Call { service: &'static str, operations: &'static [&'static str], change: ChangeCall },
    /// Nothing of the calls of these operations, but it makes further calls of what they were answered.
    Answer {
        service: &'static str,
        operations: &'static [&'static str],
        change: fn(&Sent, &Value) -> Option<Vec<Sent>>,
    },
    /// The records of a dead-letter topic.
    DeadLetters(fn(&mut Records) -> bool),
    /// The records of an output topic.
    Records(fn(&mut Records) -> bool),
    /// What a consumer group has committed.
    Commits(fn(&mut Commits) -> bool),
}

impl Change {
    fn concerns(&self, to: &str, operation: &str) -> bool {
        match self {
            Self::Call { service, operations, .. } | Self::Answer { service, operations, .. } => {
                *service == to && operations.contains(&operation)
            }
            _ => false,
        }
    }
}

/// What happens in place of a call.
pub(crate) enum Instead {
    /// These requests are made, one after the other. The pipeline gets the answer to the last one.
    Requests(Vec<Sent>),
    /// The service never receives the call, and the pipeline gets this text as the body of its answer.
    Unsent(String),
    /// The pipeline gets this text as the body of the answer at once, and the service receives the call when the pipeline
    /// has committed its offsets, see [`Mutations::until_committed`].
    Later(String),
    /// The call is made. Then this mutation makes further calls of the answer, see [`Mutations::further`].
    Watched(&'static Mutation),
}

impl Instead {
    fn request(sent: Sent) -> Self {
        Self::Requests(vec![sent])
    }
}

/// What mutations know of the case that is run.
#[derive(Debug, Default)]
struct Context {
    /// The attributes of all tables that belong to a key or an index.
    keys: BTreeSet<String>,
    /// The sort keys among them.
    sort_keys: BTreeSet<String>,
    /// The objects that nobody observes, each as a bucket and a prefix of its keys. A change of them is no defect.
    unobserved: Vec<String>,
    /// See [`crate::stack::Stack::namespace`].
    namespace: String,
}

impl Context {
    fn of(settings: &Settings, namespace: &str) -> Self {
        let tables = &settings.resources.tables;
        let attributes = tables.iter().flat_map(Table::attributes);
        let sort_keys = tables.iter().filter_map(|table| table.sort_key.as_ref());
        Self {
            keys: attributes.map(|(name, _)| name.clone()).collect(),
            sort_keys: sort_keys.map(|(name, _)| name.clone()).collect(),
            unobserved: settings.unobserved_objects.clone(),
            namespace: namespace.to_owned(),
        }
    }

    /// Whether a request is about an object that nobody observes.
    fn is_unobserved(&self, sent: &Sent) -> bool {
        let Some((bucket, key)) = sent.object() else { return false };
        let object = format!("{}/{key}", bucket.strip_prefix(&self.namespace).unwrap_or(&bucket));
        self.unobserved.iter().any(|prefix| object.starts_with(prefix))
    }
}

/// The character that stands for one that was lost.
const REPLACEMENT: &str = "\u{fffd}";

/// The text with its first character that is not ASCII replaced, as by a wrong encoding.
fn mangled(text: &str) -> String {
    match text.char_indices().find(|(_, c)| !c.is_ascii()) {
        Some((at, c)) => [&text[..at], REPLACEMENT, &text[at + c.len_utf8()..]].concat(),
        None => text.to_owned(),
    }
}
