//! The predicates that decide to which records a transform is applied.

use regex::Regex;

use super::Record;
use super::build::{KeyProblem, whole};
use super::json::Json;
use crate::{Config, Key, ValueType};

/// The names of the predicates' classes, without their package, and their keys.
pub(super) const KINDS: &[(&str, &[Key])] = &[
    (
        "TopicNameMatches",
        &[Key::new("pattern", ValueType::Text, "The whole name of the topic matches this pattern").required()],
    ),
    ("HasHeaderKey", &[Key::new("name", ValueType::Text, "The record has a header of this name").required()]),
    ("RecordIsTombstone", &[]),
];

/// A condition on records.
#[derive(Debug, Clone)]
pub(super) enum Predicate {
    TopicNameMatches(Regex),
    HasHeaderKey(String),
    RecordIsTombstone,
}

impl Predicate {
    pub fn new(kind: &str, config: &Config) -> Result<Self, KeyProblem> {
        Ok(match kind {
            "TopicNameMatches" => {
                Self::TopicNameMatches(whole(config.text("pattern")).map_err(|problem| ("pattern", problem))?)
            }
            "HasHeaderKey" => Self::HasHeaderKey(config.text("name").into()),
            _ => Self::RecordIsTombstone,
        })
    }

    /// Whether it holds for the record as the transforms before have left it.
    pub fn holds(&self, record: &Record<'_>) -> bool {
        match self {
            Self::TopicNameMatches(pattern) => pattern.is_match(&record.topic),
            Self::HasHeaderKey(name) => record.origin.headers.iter().any(|(own, _)| own == name),
            Self::RecordIsTombstone => record.value == Json::Null,
        }
    }
}
