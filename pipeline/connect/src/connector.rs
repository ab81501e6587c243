//! What a connector is once its configuration is checked: its name, its settings and the topics that it reads.

use std::collections::BTreeSet;

use crate::Config;
use crate::config::topics::TopicPattern;

/// A connector whose configuration is checked.
#[derive(Debug, Clone)]
pub(crate) struct ConnectorSpec {
    /// Its name.
    pub name: String,
    /// Its configuration.
    pub config: Config,
    /// The topics that it reads.
    pub topics: Subscription,
}

/// The topics that a connector reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subscription {
    /// `topics`.
    Topics(Vec<String>),
    /// `topics.regex`: every topic whose whole name matches.
    Regex(TopicPattern),
}

impl Subscription {
    /// What the connector of this configuration reads. The error says what is wrong with its `topics.regex`.
    pub fn of(config: &Config) -> Result<Self, String> {
        Ok(match config.get("topics.regex") {
            Some(pattern) => Self::Regex(TopicPattern::parse(pattern)?),
            None => Self::Topics(config.list("topics").into_iter().map(Into::into).collect()),
        })
    }

    /// Whether the topic is one of them.
    pub fn reads(&self, topic: &str) -> bool {
        match self {
            Self::Topics(topics) => topics.iter().any(|named| named == topic),
            Self::Regex(pattern) => pattern.matches(topic),
        }
    }

    /// A topic that `other` reads as well. Topics that are named count whether or not they exist; a pattern matches the
    /// topics in `existing`. Two equal patterns share every topic that may be created.
    pub fn shared_topic(&self, other: &Self, existing: &BTreeSet<String>) -> Option<String> {
        match (self, other) {
            (Self::Topics(topics), other) | (other, Self::Topics(topics)) => {
                topics.iter().find(|topic| other.reads(topic)).cloned()
            }
            (Self::Regex(pattern), Self::Regex(same)) if pattern == same => {
                let topic = existing.iter().find(|topic| pattern.matches(topic));
                Some(topic.map_or_else(|| pattern.source().to_owned(), Clone::clone))
            }
            (Self::Regex(one), Self::Regex(other)) => {
                existing.iter().find(|topic| one.matches(topic) && other.matches(topic)).cloned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_that_two_connectors_read() {
        let existing = ["fms.adas.real", "fms.vehicle.real", "other"].map(str::to_owned).into();
        let list = |topics: &[&str]| Subscription::Topics(topics.iter().map(|topic| (*topic).to_owned()).collect());
        let regex = |pattern: &str| Subscription::Regex(TopicPattern::parse(pattern).expect("a pattern"));
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
            assert_eq!(one.shared_topic(&other, &existing).as_deref(), expected, "{one:?} {other:?}");
            assert_eq!(other.shared_topic(&one, &existing).as_deref(), expected, "{other:?} {one:?}");
        }
    }
}
