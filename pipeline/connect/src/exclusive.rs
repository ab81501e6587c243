//! No two connectors of a worker write one topic to one place that takes only one writer.

use std::collections::BTreeSet;
use std::path::Path;

use regex::Regex;

use crate::ConfigError;
use crate::config::common::topic_pattern;
use crate::sink::Target;
use crate::worker::{ConnectorSpec, Subscription};

/// One of the connectors that are to be compared.
#[derive(Debug)]
pub(crate) struct Writer<'w> {
    /// What it reads.
    pub spec: &'w ConnectorSpec,
    /// The file it is defined in.
    pub file: &'w Path,
    /// Where it writes alone.
    pub target: Target,
}

/// Why `later` cannot run beside `earlier`, if they write a topic to one target. `existing` are the topics that there are.
pub(crate) fn conflict(earlier: &Writer<'_>, later: &Writer<'_>, existing: &BTreeSet<String>) -> Option<ConfigError> {
    if earlier.target.place != later.target.place {
        return None;
    }
    let topic = shared_topic(&earlier.spec.topics, &later.spec.topics, existing)?;
    let Target { key, place } = &later.target;
    Some(later.spec.config.error(
        key,
        format!(
            "connector `{}` ({}) writes topic `{topic}` to {place} as well, and its rows would be there twice; give one of the two another \
             `{key}`, or other topics",
            earlier.spec.name,
            earlier.file.display(),
        ),
    ))
}

/// A topic, existing or named, that both read; `None` if there is none today. Two patterns that are the same are one topic that may come.
fn shared_topic(one: &Subscription, other: &Subscription, existing: &BTreeSet<String>) -> Option<String> {
    match (one, other) {
        (Subscription::Topics(topics), other) | (other, Subscription::Topics(topics)) => {
            topics.iter().find(|topic| reads(other, topic)).cloned()
        }
        (Subscription::Regex(pattern), Subscription::Regex(same)) if pattern == same => {
            let topic = existing.iter().find(|topic| reads(one, topic));
            Some(topic.unwrap_or(pattern).clone())
        }
        (Subscription::Regex(one), Subscription::Regex(other)) => {
            let (one, other) = (pattern(one)?, pattern(other)?);
            existing.iter().find(|topic| one.is_match(topic) && other.is_match(topic)).cloned()
        }
    }
}

fn reads(subscription: &Subscription, topic: &str) -> bool {
    match subscription {
        Subscription::Topics(topics) => topics.iter().any(|named| named == topic),
        Subscription::Regex(regex) => pattern(regex).is_some_and(|pattern| pattern.is_match(topic)),
    }
}

/// A pattern that is none was refused before.
fn pattern(pattern: &str) -> Option<Regex> {
    topic_pattern(pattern).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_that_two_connectors_read() {
        let existing = ["fms.adas.real", "fms.vehicle.real", "other"].map(str::to_owned).into();
        let list = |topics: &[&str]| Subscription::Topics(topics.iter().map(|topic| (*topic).to_owned()).collect());
        let regex = |pattern: &str| Subscription::Regex(pattern.to_owned());
        for (one, other, expected) in [
            (list(&["a", "b"]), list(&["b", "c"]), Some("b")),
            (list(&["a", "b"]), list(&["c"]), None),
            (list(&["x", "fms.new.real"]), regex(r"fms\..*\.real"), Some("fms.new.real")),
            (list(&["fms.vehicle"]), regex(r"fms\..*\.real"), None),
            (regex(r"fms\..*"), regex(r".*\.real"), Some("fms.adas.real")),
            (regex(r"fms\..*"), regex(r"fms\..*"), Some("fms.adas.real")),
            (regex("none"), regex("none"), Some("none")),
            (regex("fms.*"), regex("other|none"), None),
        ] {
            assert_eq!(shared_topic(&one, &other, &existing).as_deref(), expected, "{one:?} {other:?}");
            assert_eq!(shared_topic(&other, &one, &existing).as_deref(), expected, "{other:?} {one:?}");
        }
    }
}
