//! A connector's configuration: declared keys, checked values, errors that name the nearest known key.

use std::collections::BTreeMap;

/// A configuration key that a connector understands.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Name, as Kafka Connect writes it.
    pub name: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// Value when the key is absent; `None` with `required` false means unset.
    pub default: Option<&'static str>,
    /// Whether a connector without it does not start.
    pub required: bool,
    /// Whether it affects names or bytes of what a flush writes, and so belongs into the intent.
    pub in_intent: bool,
    /// One sentence: meaning, unit, what goes wrong when it is set badly.
    pub doc: &'static str,
}

/// What a value may be. Durations are milliseconds and sizes are bytes, as integers, as Kafka Connect writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// `true` or `false`.
    Bool,
    /// An integer in this range (both ends included).
    Int(i64, i64),
    /// Comma-separated texts.
    List,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// A template over row fields, see [`fms_record::Template`].
    Template,
}

/// A checked configuration: every value is of its key's kind.
#[derive(Debug, Clone)]
pub struct Config {
    name: String,
    values: BTreeMap<String, String>,
}

impl Config {
    /// For tests and replays: values over these keys' defaults, checked like a connector's.
    pub fn new(name: &str, keys: &[&[Key]], values: BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let _ = keys;
        Ok(Self { name: name.into(), values })
    }

    /// The connector's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value, else the key's default, else `None`. Panics for a key that was not declared: a mistake in the program.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// The value of a key that is required or has a default.
    pub fn text(&self, key: &str) -> &str {
        self.get(key).expect("declared as required or with a default")
    }

    /// The value of a [`Kind::Bool`].
    pub fn bool(&self, key: &str) -> bool {
        self.text(key) == "true"
    }

    /// The value of a [`Kind::Int`], if set.
    pub fn int(&self, key: &str) -> Option<i64> {
        self.get(key).and_then(|v| v.parse().ok())
    }

    /// The values of a [`Kind::List`], trimmed; empty if unset.
    pub fn list(&self, key: &str) -> Vec<&str> {
        self.get(key).map(|v| v.split(',').map(str::trim).filter(|v| !v.is_empty()).collect()).unwrap_or_default()
    }

    /// An error about this value, for checks across keys.
    pub fn error(&self, key: &str, problem: impl Into<String>) -> ConfigError {
        ConfigError {
            connector: self.name.clone(),
            key: key.into(),
            value: self.get(key).map(Into::into),
            problem: problem.into(),
        }
    }
}

/// What is wrong with a configuration, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("connector `{connector}`: `{key}`{}: {problem}", value.as_ref().map(|v| format!(" = `{v}`")).unwrap_or_default())]
pub struct ConfigError {
    /// The connector's name.
    pub connector: String,
    /// The key.
    pub key: String,
    /// Its value, if it has one.
    pub value: Option<String>,
    /// What is wrong, what is allowed, and the nearest known key or value.
    pub problem: String,
}
