//! A connector's configuration: declared keys, checked values, and errors that name the nearest known key.

pub mod common;
mod extract;
pub mod file;
pub mod reference;
pub(crate) mod request;
pub mod shown;
pub(crate) mod topics;

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use fms_record::Template;

use self::file::Definition;
use self::shown::Secrets;
use crate::transforms;

/// Prefixes under which settings of the Kafka clients pass through unchecked, for librdkafka to check.
pub const PASSTHROUGH: [&str; 2] = ["consumer.override.", "producer.override."];

/// A configuration key that a connector or the worker understands. Values are checked by it, and the configuration
/// reference is made from it.
///
/// ```
/// use fms_connect::{Key, ValueType};
///
/// const FLUSH_SIZE: Key = Key::new("flush.size", ValueType::Int(1, i64::MAX), "An object has this number of rows")
///     .required()
///     .high()
///     .unit("rows")
///     .risk("If it is small, there are many small objects");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Name, as Kafka Connect writes it.
    pub name: &'static str,
    /// What its value may be.
    pub value_type: ValueType,
    /// The value when the key is absent. `None` with `required` false means that the key is unset then.
    pub default: Option<&'static str>,
    /// Whether a connector without it does not start.
    pub required: bool,
    /// Whether it affects names or bytes of what a flush writes, so that intents have to keep its value.
    pub in_intent: bool,
    /// How much an operator has to think about it.
    pub importance: Importance,
    /// What a number counts: `ms`, `bytes`, `rows`.
    pub unit: Option<&'static str>,
    /// Its meaning, without a full stop, because errors quote it too.
    pub doc: &'static str,
    /// What goes wrong when it is set badly, without a full stop.
    pub risk: Option<&'static str>,
}

impl Key {
    /// A key that is optional, without default, of medium importance and not part of the intent.
    pub const fn new(name: &'static str, value_type: ValueType, doc: &'static str) -> Self {
        Self {
            name,
            value_type,
            default: None,
            required: false,
            in_intent: false,
            importance: Importance::Medium,
            unit: None,
            doc,
            risk: None,
        }
    }

    /// A connector without it does not start.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Sets the value when the key is absent.
    #[must_use]
    pub const fn default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }

    /// Names or bytes of what a flush writes depend on this key, so that intents have to keep its value.
    #[must_use]
    pub const fn in_intent(mut self) -> Self {
        self.in_intent = true;
        self
    }

    /// What a number counts.
    #[must_use]
    pub const fn unit(mut self, unit: &'static str) -> Self {
        self.unit = Some(unit);
        self
    }

    /// What goes wrong when it is set badly.
    #[must_use]
    pub const fn risk(mut self, risk: &'static str) -> Self {
        self.risk = Some(risk);
        self
    }

    /// Every operator has to think about it.
    #[must_use]
    pub const fn high(mut self) -> Self {
        self.importance = Importance::High;
        self
    }

    /// Hardly anybody has to think about it.
    #[must_use]
    pub const fn low(mut self) -> Self {
        self.importance = Importance::Low;
        self
    }
}

/// How much an operator has to think about a key, in Kafka Connect's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "UPPERCASE")]
pub enum Importance {
    /// Every operator has to.
    High,
    /// Operators who want another behaviour have to.
    Medium,
    /// Hardly anybody has to.
    Low,
}

impl Importance {
    /// Kafka Connect's name for it.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// What a value may be. Durations are milliseconds and sizes are bytes, as integers, as Kafka Connect writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
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

impl ValueType {
    /// The value in the form in which it is kept: without surrounding blanks unless it is text, and booleans in lower
    /// case, as Kafka reads them.
    fn read(self, value: &str) -> Result<String, String> {
        let trimmed = value.trim();
        match self {
            ValueType::Text | ValueType::List => Ok(value.into()),
            ValueType::Bool if trimmed.eq_ignore_ascii_case("true") => Ok("true".into()),
            ValueType::Bool if trimmed.eq_ignore_ascii_case("false") => Ok("false".into()),
            ValueType::Bool => Err("is not a boolean; allowed: true, false".into()),
            ValueType::Int(min, max) => match trimmed.parse::<i64>() {
                Ok(number) if (min..=max).contains(&number) => Ok(number.to_string()),
                Ok(_) => Err(format!("is out of range; allowed: {}", range(min, max))),
                Err(_) => Err(format!("is not an integer; allowed: {}", range(min, max))),
            },
            ValueType::OneOf(allowed) if allowed.contains(&trimmed) => Ok(trimmed.into()),
            ValueType::OneOf(allowed) => {
                let hint = similar(trimmed, allowed.iter().copied()).map(|v| format!("; did you mean `{v}`?"));
                Err(format!("is not allowed; allowed: {}{}", allowed.join(", "), hint.unwrap_or_default()))
            }
            ValueType::Template => match Template::parse(value) {
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
    written: Arc<Written>,
}

/// A configuration as its author wrote it, which is what errors show of it.
#[derive(Debug, Default)]
struct Written {
    values: BTreeMap<String, String>,
    secrets: Secrets,
}

impl Written {
    fn error(&self, connector: &str, key: &str, value: Option<&str>, problem: &str) -> ConfigError {
        ConfigError::new(connector, key, value, self.secrets.hide(problem))
    }
}

impl Config {
    /// Checks these values, with the defaults of the keys for those that are missing. The error is the first problem
    /// found; [`Config::check`] gives all.
    pub fn new(name: &str, keys: &[&[Key]], values: BTreeMap<String, String>) -> Result<Self, ConfigError> {
        Self::check(name, keys, values).map_err(|mut problems| problems.swap_remove(0))
    }

    /// Checks these values, with the defaults of the keys for those that are missing. The error has every problem
    /// found, in the order of the keys, and at least one.
    ///
    /// A key has to be declared in `keys`, or to begin with one of [`PASSTHROUGH`].
    pub fn check(name: &str, keys: &[&[Key]], values: BTreeMap<String, String>) -> Result<Self, Vec<ConfigError>> {
        Self::checked(name, keys, &values.clone(), values)
    }

    /// A connector's configuration, checked as by [`Config::check`]. Errors show the values as they are written.
    pub fn of(definition: &Definition, keys: &[&[Key]]) -> Result<Self, Vec<ConfigError>> {
        Self::checked(&definition.name, keys, &definition.written, definition.values.clone())
    }

    fn checked(
        name: &str,
        keys: &[&[Key]],
        written: &BTreeMap<String, String>,
        mut values: BTreeMap<String, String>,
    ) -> Result<Self, Vec<ConfigError>> {
        extract::translate(&mut values);
        let keys = keys.iter().copied().flatten().map(|key| (key.name, *key)).collect();
        let written = Written { values: written.clone(), secrets: Secrets::new(written, &values) };
        Self::read(name, Arc::new(keys), values, Arc::new(written))
    }

    fn read(
        name: &str,
        keys: Arc<BTreeMap<&'static str, Key>>,
        given: BTreeMap<String, String>,
        written: Arc<Written>,
    ) -> Result<Self, Vec<ConfigError>> {
        let mut values = BTreeMap::new();
        let mut problems = Vec::new();
        let mut problem = |key: &str, value: Option<&String>, problem: &str| {
            problems.push(written.error(name, key, value.map(String::as_str), problem));
        };
        for (key, value) in given {
            if let Some(declared) = keys.get(key.as_str()) {
                match declared.value_type.read(&value) {
                    Ok(value) => drop(values.insert(key, value)),
                    Err(wrong) => problem(&key, written.values.get(&key), &wrong),
                }
            } else if transforms::is_key(&key) && keys.contains_key("transforms")
                || PASSTHROUGH.iter().any(|prefix| key.len() > prefix.len() && key.starts_with(prefix))
            {
                values.insert(key, value);
            } else if let Some(reason) = common::refused(&key) {
                problem(&key, None, &format!("is not supported: {reason}"));
            } else {
                let known = keys.keys().copied().chain(PASSTHROUGH);
                let hint = nearest(&key, known).map(|k| format!("; nearest known key: `{k}`")).unwrap_or_default();
                problem(&key, None, &format!("is not a known key{hint}"));
            }
        }
        for key in keys.values().filter(|key| key.required) {
            match values.get(key.name) {
                None => problem(key.name, None, &format!("is missing: {}", key.doc)),
                Some(value) if value.trim().is_empty() => problem(key.name, None, &format!("is empty: {}", key.doc)),
                Some(_) => {}
            }
        }
        problems.sort_by(|a, b| a.key.cmp(&b.key));
        problems.dedup_by(|later, first| later.key == first.key);
        if problems.is_empty() { Ok(Self { name: name.into(), keys, values, written }) } else { Err(problems) }
    }

    /// This configuration as it was when an intent was made: every key that is [`Key::in_intent`] has the value that
    /// `settings` gives it, or none. An intent of another version, with keys or values that this one does not know, is
    /// an error.
    pub fn with(&self, settings: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let mut values = self.values.clone();
        values.retain(|key, _| !self.is_in_intent(key));
        values.extend(settings.clone());
        // It is not known how a value that differs from today's was written, so it is not shown.
        let written = self.written.values.iter().filter(|(key, _)| values.get(*key) == self.values.get(*key));
        let written = Written {
            values: written.map(|(key, value)| (key.clone(), value.clone())).collect(),
            secrets: self.written.secrets.clone(),
        };
        Self::read(&self.name, Arc::clone(&self.keys), values, Arc::new(written))
            .map_err(|mut problems| problems.swap_remove(0))
    }

    /// The values, defaults included, of the set keys that are [`Key::in_intent`], and those of the transforms.
    pub fn intent_settings(&self) -> BTreeMap<String, String> {
        let declared = self.keys.values().filter(|key| key.in_intent);
        let declared = declared.filter_map(|key| Some((key.name.to_owned(), self.get(key.name)?.to_owned())));
        let transforms = self.values.iter().filter(|(key, _)| transforms::is_key(key));
        declared.chain(transforms.map(|(key, value)| (key.clone(), value.clone()))).collect()
    }

    /// Whether rows, names or bytes depend on the value of this key.
    fn is_in_intent(&self, key: &str) -> bool {
        transforms::is_key(key) || self.keys.get(key).is_some_and(|key| key.in_intent)
    }

    /// Whether there is a key of this name.
    pub(crate) fn declares(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// The connector's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of a key, or else its default. Panics for a key that was not declared, which is a mistake in the
    /// program.
    pub fn get(&self, key: &str) -> Option<&str> {
        let declared = self.keys.get(key).unwrap_or_else(|| panic!("the key `{key}` is used but not declared"));
        self.values.get(key).map(String::as_str).or(declared.default)
    }

    /// The value of a key that is required or has a default.
    pub fn text(&self, key: &str) -> &str {
        self.get(key).unwrap_or_else(|| panic!("the key `{key}` is neither required nor has a default"))
    }

    /// The value of a [`ValueType::Bool`].
    pub fn bool(&self, key: &str) -> bool {
        self.text(key) == "true"
    }

    /// The value of a [`ValueType::Int`], if set.
    pub fn int(&self, key: &str) -> Option<i64> {
        self.get(key).and_then(|v| v.parse().ok())
    }

    /// The value of a [`ValueType::Int`] that counts milliseconds, if set. A negative number counts as unset.
    pub fn millis(&self, key: &str) -> Option<Duration> {
        self.int(key).and_then(|millis| u64::try_from(millis).ok()).map(Duration::from_millis)
    }

    /// The value of a [`ValueType::OneOf`] whose values are the names of a `T`.
    pub fn one_of<T: FromStr>(&self, key: &str) -> Result<T, ConfigError> {
        self.text(key).parse().map_err(|_| self.error(key, "is not known"))
    }

    /// The values of a [`ValueType::List`], trimmed; empty if unset.
    pub fn list(&self, key: &str) -> Vec<&str> {
        self.get(key).map(|v| v.split(',').map(str::trim).filter(|v| !v.is_empty()).collect()).unwrap_or_default()
    }

    /// The settings under one of the [`PASSTHROUGH`] prefixes, or of a transform, without the prefix.
    pub fn prefixed<'c>(&'c self, prefix: &'c str) -> impl Iterator<Item = (&'c str, &'c str)> {
        self.values.iter().filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, value.as_str())))
    }

    /// An error about this value, for checks across keys. The value is shown as it is written, see [`shown`].
    pub fn error(&self, key: &str, problem: impl Into<String>) -> ConfigError {
        let value = match self.keys.get(key) {
            Some(_) if self.values.contains_key(key) => self.written.values.get(key).map(String::as_str),
            Some(declared) => declared.default,
            None if transforms::is_key(key) => self.written.values.get(key).map(String::as_str),
            None => None,
        };
        self.written.error(&self.name, key, value, &problem.into())
    }
}

/// What is wrong with a configuration, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "connector `{connector}`: `{key}`{}: {problem}",
    value.as_ref().map(|value| format!(" = `{value}`")).unwrap_or_default()
)]
pub struct ConfigError {
    /// The connector's name.
    pub connector: String,
    /// The key.
    pub key: String,
    /// Its value as it may be shown, if it has one.
    pub value: Option<String>,
    /// What is wrong, what is allowed, and the nearest known key or value.
    pub problem: String,
}

impl ConfigError {
    /// An error that shows the value, as it is written, if that may be shown.
    pub fn new(connector: &str, key: &str, written: Option<&str>, problem: impl Into<String>) -> Self {
        let value = written.map(|value| shown::shown(key, value).to_owned());
        Self { connector: connector.into(), key: key.into(), value, problem: problem.into() }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    const KEYS: &[Key] = &[
        Key::new("table", ValueType::Text, "the table to write to").required(),
        Key::new("flush.size", ValueType::Int(1, 1000), "").default("100").in_intent(),
        Key::new("on.error", ValueType::OneOf(&["ignore", "fail"]), "").in_intent(),
        Key::new("gzip", ValueType::Bool, "").default("false"),
        Key::new("names", ValueType::List, ""),
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
    fn an_error_shows_a_value_as_it_is_written() {
        let definition = |values: &[(&str, &str, &str)]| Definition {
            file: "a.json".into(),
            name: "vehicles".into(),
            written: values.iter().map(|(key, written, _)| ((*key).to_owned(), (*written).to_owned())).collect(),
            values: values.iter().map(|(key, _, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            state: file::TargetState::Running,
        };
        let wrong = definition(&[("table", "t", "t"), ("flush.size", "${env:X}", "ENV-SECRET")]);
        let problems = Config::of(&wrong, &[KEYS]).unwrap_err();
        assert_snapshot!(problems[0].to_string(), @"connector `vehicles`: `flush.size` = `${env:X}`: is not an integer; allowed: an integer from 1 to 1000");
        let right =
            definition(&[("table", "t", "t"), ("names", "a,${env:X}", "a,ENV-SECRET"), ("gzip", "TRUE", "TRUE")]);
        let config = Config::of(&right, &[KEYS]).unwrap();
        assert_eq!(config.list("names"), ["a", "ENV-SECRET"]);
        assert_snapshot!(config.error("names", "has `ENV-SECRET` in it").to_string(), @"connector `vehicles`: `names` = `a,${env:X}`: has `a,${env:X}` in it");
        assert_snapshot!(config.error("gzip", "cannot be").to_string(), @"connector `vehicles`: `gzip` = `TRUE`: cannot be");
        assert_snapshot!(config.error("flush.size", "is the default").to_string(), @"connector `vehicles`: `flush.size` = `100`: is the default");
        let replay = config.with(&values(&[("flush.size", "7")])).unwrap();
        assert_snapshot!(replay.error("flush.size", "was another's").to_string(), @"connector `vehicles`: `flush.size`: was another's");
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
