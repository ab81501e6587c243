//! A connector's configuration: declared keys, checked values, errors that name the nearest known key.

pub mod common;
pub mod file;
mod transforms;

use std::collections::BTreeMap;
use std::sync::Arc;

use fms_record::Template;

/// Prefixes under which settings of the Kafka clients pass through unchecked, for librdkafka to check.
pub const PASSTHROUGH: [&str; 2] = ["consumer.override.", "producer.override."];

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

impl Kind {
    /// The value as it is kept: without the blanks around it where they mean nothing, booleans in lower case, as Kafka reads them.
    fn read(self, value: &str) -> Result<String, String> {
        let trimmed = value.trim();
        match self {
            Kind::Text | Kind::List => Ok(value.into()),
            Kind::Bool if trimmed.eq_ignore_ascii_case("true") => Ok("true".into()),
            Kind::Bool if trimmed.eq_ignore_ascii_case("false") => Ok("false".into()),
            Kind::Bool => Err("is not a boolean; allowed: true, false".into()),
            Kind::Int(min, max) => match trimmed.parse::<i64>() {
                Ok(number) if (min..=max).contains(&number) => Ok(number.to_string()),
                Ok(_) => Err(format!("is out of range; allowed: {}", range(min, max))),
                Err(_) => Err(format!("is not an integer; allowed: {}", range(min, max))),
            },
            Kind::OneOf(allowed) if allowed.contains(&trimmed) => Ok(trimmed.into()),
            Kind::OneOf(allowed) => {
                let hint = similar(trimmed, allowed.iter().copied()).map(|v| format!("; did you mean `{v}`?"));
                Err(format!("is not allowed; allowed: {}{}", allowed.join(", "), hint.unwrap_or_default()))
            }
            Kind::Template => match Template::parse(value) {
                Ok(_) => Ok(value.into()),
                Err(problem) => Err(format!("is not a template: {problem}")),
            },
        }
    }
}

fn range(min: i64, max: i64) -> String {
    match (min, max) {
        (i64::MIN, i64::MAX) => "an integer".into(),
        (_, i64::MAX) => format!("an integer from {min}"),
        (i64::MIN, _) => format!("an integer up to {max}"),
        _ => format!("an integer from {min} to {max}"),
    }
}

/// The most similar of `known`, however different it is; `None` if there are none.
pub fn nearest<'k>(text: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    scored(text, known).map(|(_, known)| known)
}

/// The most similar of `known` if it is close enough to be what was meant.
fn similar<'k>(text: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    scored(text, known).filter(|(score, _)| *score >= 0.5).map(|(_, known)| known)
}

fn scored<'k>(text: &str, known: impl IntoIterator<Item = &'k str>) -> Option<(f64, &'k str)> {
    let text = text.to_lowercase();
    known
        .into_iter()
        .map(|known| (strsim::normalized_damerau_levenshtein(&text, &known.to_lowercase()), known))
        .max_by(|a, b| a.0.total_cmp(&b.0))
}

/// A checked configuration: every value is of its key's kind.
#[derive(Debug, Clone)]
pub struct Config {
    name: String,
    keys: Arc<BTreeMap<&'static str, Key>>,
    values: BTreeMap<String, String>,
}

impl Config {
    /// Values over these keys' defaults, checked; the first problem found. [`Config::check`] finds all.
    pub fn new(name: &str, keys: &[&[Key]], values: BTreeMap<String, String>) -> Result<Self, ConfigError> {
        Self::check(name, keys, values).map_err(|mut problems| problems.swap_remove(0))
    }

    /// Values over these keys' defaults, checked; every problem found, in the order of the keys.
    ///
    /// A key has to be declared in `keys` or begin with one of [`PASSTHROUGH`]. The errors are never empty.
    pub fn check(name: &str, keys: &[&[Key]], mut values: BTreeMap<String, String>) -> Result<Self, Vec<ConfigError>> {
        transforms::translate(&mut values);
        let keys = keys.iter().copied().flatten().map(|key| (key.name, *key)).collect();
        Self::read(name, Arc::new(keys), values)
    }

    fn read(
        name: &str,
        keys: Arc<BTreeMap<&'static str, Key>>,
        given: BTreeMap<String, String>,
    ) -> Result<Self, Vec<ConfigError>> {
        let mut values = BTreeMap::new();
        let mut problems = Vec::new();
        let mut problem = |key: &str, value: Option<String>, problem: String| {
            problems.push(ConfigError { connector: name.into(), key: key.into(), value, problem });
        };
        for (key, value) in given {
            if let Some(declared) = keys.get(key.as_str()) {
                match declared.kind.read(&value) {
                    Ok(value) => drop(values.insert(key, value)),
                    Err(wrong) => problem(&key, Some(value), wrong),
                }
            } else if PASSTHROUGH.iter().any(|prefix| key.len() > prefix.len() && key.starts_with(prefix)) {
                values.insert(key, value);
            } else if let Some(reason) = common::refused(&key) {
                problem(&key, None, format!("is not supported: {reason}"));
            } else {
                let known = keys.keys().copied().chain(PASSTHROUGH);
                let hint = nearest(&key, known).map(|k| format!("; nearest known key: `{k}`")).unwrap_or_default();
                problem(&key, None, format!("is not a known key{hint}"));
            }
        }
        for key in keys.values().filter(|key| key.required) {
            match values.get(key.name) {
                None => problem(key.name, None, format!("is missing: {}", key.doc)),
                Some(value) if value.trim().is_empty() => problem(key.name, None, format!("is empty: {}", key.doc)),
                Some(_) => {}
            }
        }
        problems.sort_by(|a, b| a.key.cmp(&b.key));
        problems.dedup_by(|later, first| later.key == first.key);
        if problems.is_empty() { Ok(Self { name: name.into(), keys, values }) } else { Err(problems) }
    }

    /// This configuration as it was when an intent was made: every key that is [`Key::in_intent`] has its value from `settings`,
    /// and only from there. An intent of another version, with keys or values that this one does not know, is an error.
    pub fn with(&self, settings: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let mut values = self.values.clone();
        values.retain(|key, _| !self.keys.get(key.as_str()).is_some_and(|key| key.in_intent));
        values.extend(settings.clone());
        Self::read(&self.name, Arc::clone(&self.keys), values).map_err(|mut problems| problems.swap_remove(0))
    }

    /// The values, defaults included, of the set keys that are [`Key::in_intent`].
    pub fn intent_settings(&self) -> BTreeMap<String, String> {
        self.keys
            .values()
            .filter(|key| key.in_intent)
            .filter_map(|key| Some((key.name.to_owned(), self.get(key.name)?.to_owned())))
            .collect()
    }

    /// The connector's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value, else the key's default, else `None`. Panics for a key that was not declared: a mistake in the program.
    pub fn get(&self, key: &str) -> Option<&str> {
        let declared = self.keys.get(key).unwrap_or_else(|| panic!("the key `{key}` is used but not declared"));
        self.values.get(key).map(String::as_str).or(declared.default)
    }

    /// The value of a key that is required or has a default.
    pub fn text(&self, key: &str) -> &str {
        self.get(key).unwrap_or_else(|| panic!("the key `{key}` is neither required nor has a default"))
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

    /// What was set under one of the [`PASSTHROUGH`] prefixes, without the prefix.
    pub fn prefixed<'c>(&'c self, prefix: &'c str) -> impl Iterator<Item = (&'c str, &'c str)> {
        self.values.iter().filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, value.as_str())))
    }

    /// An error about this value, for checks across keys.
    pub fn error(&self, key: &str, problem: impl Into<String>) -> ConfigError {
        let value = if self.keys.contains_key(key) { self.get(key) } else { None };
        ConfigError {
            connector: self.name.clone(),
            key: key.into(),
            value: value.map(Into::into),
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    const KEYS: &[Key] = &[
        Key {
            name: "table",
            kind: Kind::Text,
            default: None,
            required: true,
            in_intent: false,
            doc: "the table to write to",
        },
        Key {
            name: "flush.size",
            kind: Kind::Int(1, 1000),
            default: Some("100"),
            required: false,
            in_intent: true,
            doc: "",
        },
        Key {
            name: "on.error",
            kind: Kind::OneOf(&["ignore", "fail"]),
            default: None,
            required: false,
            in_intent: true,
            doc: "",
        },
        Key { name: "gzip", kind: Kind::Bool, default: Some("false"), required: false, in_intent: false, doc: "" },
        Key { name: "names", kind: Kind::List, default: None, required: false, in_intent: false, doc: "" },
    ];

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn config(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::new("vehicles", &[KEYS], values(pairs))
    }

    fn problem(pairs: &[(&str, &str)]) -> String {
        config(pairs).unwrap_err().to_string()
    }

    #[test]
    fn values_stand_over_defaults_and_are_normalised() {
        let config = config(&[("table", "t"), ("gzip", " TRUE "), ("names", "a, b,,c")]).unwrap();
        assert_eq!(config.name(), "vehicles");
        assert_eq!(config.int("flush.size"), Some(100));
        assert!(config.bool("gzip"));
        assert_eq!(config.get("on.error"), None);
        assert_eq!(config.list("names"), ["a", "b", "c"]);
    }

    #[test]
    fn an_error_names_the_key_the_value_and_what_is_allowed() {
        assert_snapshot!(problem(&[("table", "t"), ("flush.sise", "1")]), @"connector `vehicles`: `flush.sise`: is not a known key; nearest known key: `flush.size`");
        assert_snapshot!(problem(&[("table", "t"), ("flush.size", "many")]), @"connector `vehicles`: `flush.size` = `many`: is not an integer; allowed: an integer from 1 to 1000");
        assert_snapshot!(problem(&[("table", "t"), ("flush.size", "0")]), @"connector `vehicles`: `flush.size` = `0`: is out of range; allowed: an integer from 1 to 1000");
        assert_snapshot!(problem(&[("table", "t"), ("on.error", "Ingore")]), @"connector `vehicles`: `on.error` = `Ingore`: is not allowed; allowed: ignore, fail; did you mean `ignore`?");
        assert_snapshot!(problem(&[("table", "t"), ("gzip", "yes")]), @"connector `vehicles`: `gzip` = `yes`: is not a boolean; allowed: true, false");
        assert_snapshot!(problem(&[]), @"connector `vehicles`: `table`: is missing: the table to write to");
        assert_snapshot!(problem(&[("table", " ")]), @"connector `vehicles`: `table`: is empty: the table to write to");
        assert_snapshot!(problem(&[("table", "t"), ("consumer.overide.fetch.min.bytes", "1")]), @"connector `vehicles`: `consumer.overide.fetch.min.bytes`: is not supported: use `consumer.override.` in a connector, or `CONNECT_CONSUMER_…` in the worker's environment");
    }

    #[test]
    fn every_problem_is_found() {
        let problems =
            Config::check("vehicles", &[KEYS], values(&[("flush.size", "0"), ("transforms", "x")])).unwrap_err();
        assert_eq!(problems.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), ["flush.size", "table", "transforms"]);
    }

    #[test]
    fn client_settings_pass_through() {
        let config = config(&[("table", "t"), ("consumer.override.fetch.min.bytes", "7")]).unwrap();
        assert_eq!(config.prefixed("consumer.override.").collect::<Vec<_>>(), [("fetch.min.bytes", "7")]);
    }

    #[test]
    fn a_replay_has_the_settings_of_its_intent_and_the_rest_of_today() {
        let then = config(&[("table", "old"), ("flush.size", "7")]).unwrap().intent_settings();
        assert_eq!(then, values(&[("flush.size", "7")]));
        let today = config(&[("table", "new"), ("flush.size", "9"), ("on.error", "fail")]).unwrap();
        let replay = today.with(&then).unwrap();
        assert_eq!(replay.int("flush.size"), Some(7));
        assert_eq!(replay.get("on.error"), None, "unset when the intent was made");
        assert_eq!(replay.text("table"), "new");
    }
}
