//! The kinds of sink that connectors may name, and every check of a connector that needs no network. Starting a
//! connector begins with these checks, and REST's validation consists of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rdkafka::ClientConfig;
use serde_json::{Value, json};

use crate::config::common::{self, COMMON};
use crate::config::file::{Definition, TargetState};
use crate::config::{PASSTHROUGH, reference, shown};
use crate::connector::Subscription;
use crate::convert::Converter;
use crate::settings::Settings;
use crate::transforms;
use crate::{Config, ConfigError, Key, SinkConnector, ValueType, intent, kafka, providers};

pub(crate) const CONSUMER: &str = PASSTHROUGH[0];
const PRODUCER: &str = PASSTHROUGH[1];

/// The kinds of sink, and what the Kafka clients of all connectors have in common.
#[derive(Clone)]
pub struct Plugins {
    sinks: Arc<[Arc<dyn SinkConnector>]>,
    consumer: ClientConfig,
    producer: ClientConfig,
}

impl fmt::Debug for Plugins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.sinks.iter().map(|sink| sink.classes())).finish()
    }
}

/// A connector that passed every check that needs no network.
pub(crate) struct CheckedConfig {
    /// Its kind of sink.
    pub kind: Arc<dyn SinkConnector>,
    /// Its configuration.
    pub config: Config,
    /// The topics that it reads.
    pub topics: Subscription,
    /// Its consumers' settings.
    pub client: ClientConfig,
}

impl Plugins {
    /// Plugins with these kinds of sink.
    pub fn new(sinks: Vec<Box<dyn SinkConnector>>, settings: &Settings) -> Self {
        let sinks = sinks.into_iter().map(Arc::from).collect();
        Self { sinks, consumer: settings.consumer.clone(), producer: settings.producer.clone() }
    }

    /// The kind of sink that `connector.class` names.
    fn of_class(&self, class: &str) -> Option<&Arc<dyn SinkConnector>> {
        self.sinks.iter().find(|sink| sink.classes().contains(&class.trim()))
    }

    fn kind(&self, definition: &Definition) -> Result<&Arc<dyn SinkConnector>, ConfigError> {
        const CLASS: &str = "connector.class";
        let class = definition.values.get(CLASS);
        class.and_then(|class| self.of_class(class)).ok_or_else(|| {
            let known: Vec<_> = self.sinks.iter().flat_map(|sink| sink.classes()).copied().collect();
            let problem = if class.is_some() { "is not a known kind of sink" } else { "is missing" };
            let written = definition.written.get(CLASS).map(String::as_str);
            ConfigError::new(&definition.name, CLASS, written, format!("{problem}; known: {}", known.join(", ")))
        })
    }

    /// Whether `plugin` is another kind of sink than the one of this class, or none.
    pub(crate) fn is_other_than(&self, plugin: &str, class: &str) -> bool {
        let kind = self.of_class(class);
        kind.is_some_and(|kind| self.of_class(plugin).is_none_or(|other| other.classes() != kind.classes()))
    }

    /// Makes every check that needs no network. The error has every problem found.
    pub(crate) fn check(&self, definition: &Definition) -> Result<CheckedConfig, Vec<ConfigError>> {
        let kind = self.kind(definition).map_err(|error| vec![error])?;
        let config = Config::of(definition, &[COMMON, kind.keys()])?;
        let topics = Subscription::of(&config);
        let mut problems = common::check_reading(&config, topics.as_ref());
        problems.extend(intent::check(&config).err());
        problems.extend(Converter::new(&config).err());
        problems.extend(kind.check(&config).err());
        let mut client = |base: &ClientConfig, prefix| {
            let client = kafka::client(base, &config, prefix).and_then(|client| match client.create_native_config() {
                Ok(_) => Ok(client),
                Err(error) => Err(vec![kafka::rejected(&config, prefix, &error)]),
            });
            client.unwrap_or_else(|wrong| {
                problems.extend(wrong);
                ClientConfig::new()
            })
        };
        let client = (client(&self.consumer, CONSUMER), client(&self.producer, PRODUCER)).0;
        match topics {
            Ok(topics) if problems.is_empty() => Ok(CheckedConfig { kind: Arc::clone(kind), config, topics, client }),
            Ok(_) | Err(_) => Err(problems),
        }
    }

    /// Kafka Connect's list of plugins: every name that `connector.class` may have.
    pub fn list(&self) -> Value {
        let classes = self.sinks.iter().flat_map(|sink| sink.classes());
        classes.map(|class| json!({"class": class, "type": "sink", "version": env!("CARGO_PKG_VERSION")})).collect()
    }

    /// The list of all plugins: the connectors, the transforms and their predicates.
    pub fn list_all(&self) -> Value {
        let version = env!("CARGO_PKG_VERSION");
        let others =
            transforms::kinds().map(|(class, kind, _)| json!({"class": class, "type": kind, "version": version}));
        match self.list() {
            Value::Array(connectors) => connectors.into_iter().chain(others).collect(),
            other => other,
        }
    }

    /// The keys of this plugin, as Kafka Connect's list of `ConfigKeyInfo`; `None` for a plugin that is not there.
    pub fn keys(&self, plugin: &str) -> Option<Value> {
        if let Some(sink) = self.of_class(plugin) {
            return Some(reference::key_infos(&**sink).into());
        }
        let (_, _, keys) = transforms::kinds().find(|(class, _, _)| class == plugin)?;
        Some((1_u32..).zip(keys).map(|(order, key)| reference::key_info(key, "", order)).collect())
    }

    /// The answer of Kafka Connect's validation of this configuration, its `ConfigInfos`. `None` for a plugin that does
    /// not exist.
    ///
    /// The caller must not learn what is in the worker's environment and files, which could be guessed from the
    /// answers. So a value that refers to a config provider is not looked up, and counts as right for its key.
    pub fn validate(&self, plugin: &str, given: &BTreeMap<String, String>) -> Option<Value> {
        let kind = self.of_class(plugin)?;
        let declared: BTreeMap<_, _> = COMMON.iter().chain(kind.keys()).map(|key| (key.name, key)).collect();
        let unknown = |key: &str| given.get(key).is_some_and(|value| providers::refers(value));
        let value = |(key, value): (&String, &String)| {
            let key_is = declared.get(key.as_str()).filter(|_| unknown(key));
            (key.clone(), key_is.and_then(|key| stand_in(key)).unwrap_or_else(|| value.clone()))
        };
        let definition = Definition {
            file: PathBuf::new(),
            name: given.get("name").cloned().unwrap_or_default(),
            written: given.clone(),
            values: given.iter().map(value).collect(),
            state: TargetState::Running,
        };
        let mut problems = self.check(&definition).err().unwrap_or_default();
        if let Some(class) = given.get("connector.class")
            && self.of_class(class).is_some_and(|other| other.classes() != kind.classes())
        {
            let problem = format!("is another kind of sink than `{plugin}`, which is asked for");
            problems.push(ConfigError::new(&definition.name, "connector.class", Some(class), problem));
        }
        problems.retain(|problem| !unknown(&problem.key));

        let infos = reference::key_infos(&**kind);
        let groups: BTreeSet<_> = infos.iter().filter_map(|info| info["group"].as_str()).collect();
        let config = |name: &str, definition: &Value, recommended: &[&str]| {
            let default = definition["default_value"].as_str();
            let value = given.get(name).map(|value| shown::shown(name, value)).or(default);
            let errors = problems.iter().filter(|problem| problem.key == name);
            let errors: Vec<_> = errors.map(|problem| format!("{name} {}", problem.problem)).collect();
            let value = json!({
                "name": name, "value": value, "recommended_values": recommended, "errors": errors, "visible": true,
            });
            json!({"definition": definition, "value": value})
        };
        let mut configs = Vec::new();
        for info in &infos {
            let Some(key) = info["name"].as_str().and_then(|name| declared.get(name)) else { continue };
            configs.push(config(key.name, info, reference::recommended(key.value_type)));
        }
        let others = given.keys().chain(problems.iter().map(|problem| &problem.key));
        let others: BTreeSet<_> = others.filter(|key| !declared.contains_key(key.as_str())).collect();
        configs.extend(others.into_iter().map(|key| config(key, &Value::Null, &[])));
        Some(json!({"name": plugin, "error_count": problems.len(), "groups": groups, "configs": configs}))
    }
}

/// A value that is right for this key, if not every text is.
fn stand_in(key: &Key) -> Option<String> {
    let right = match key.value_type {
        ValueType::Bool => "false".to_owned(),
        ValueType::Int(min, _) => min.max(1).to_string(),
        ValueType::OneOf(values) => values.first().copied().unwrap_or_default().to_owned(),
        ValueType::Text | ValueType::List | ValueType::Template => return None,
    };
    Some(key.default.map_or(right, ToOwned::to_owned))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use insta::assert_snapshot;
    use tokio::runtime::Handle;

    use super::*;
    use crate::TaskFactory;

    struct TestSink(&'static [&'static str]);

    impl SinkConnector for TestSink {
        fn classes(&self) -> &'static [&'static str] {
            self.0
        }

        fn keys(&self) -> &'static [Key] {
            const {
                &[
                    Key::new("table", ValueType::Text, "a table").required().high(),
                    Key::new("mode", ValueType::OneOf(&["a", "b"]), "a mode").default("a").risk("b is slow"),
                ]
            }
        }

        fn check(&self, config: &Config) -> Result<(), ConfigError> {
            match config.text("table") {
                "forbidden" => Err(config.error("table", "must not be")),
                _ => Ok(()),
            }
        }

        fn start(&self, config: &Config, _: &Handle) -> Result<TaskFactory, ConfigError> {
            Err(config.error("table", "these tests start nothing"))
        }
    }

    fn plugins() -> Plugins {
        let environment = [("KAFKA_BOOTSTRAP_SERVERS".to_owned(), "a:1".to_owned())];
        let sinks: Vec<Box<dyn SinkConnector>> =
            vec![Box::new(TestSink(&["TestSink", "com.example.TestSink"])), Box::new(TestSink(&["Other"]))];
        Plugins::new(sinks, &Settings::from_env(environment).unwrap())
    }

    /// `error_count`, and every value that is given or wrong.
    fn validated(pairs: &[(&str, &str)]) -> String {
        let given: BTreeMap<_, _> = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let infos = plugins().validate("TestSink", &given).unwrap();
        let configs = infos["configs"].as_array().unwrap().iter().map(|config| &config["value"]).filter(|value| {
            given.contains_key(value["name"].as_str().unwrap()) || !value["errors"].as_array().unwrap().is_empty()
        });
        let lines = configs.map(|value| format!("{} = {}: {}", value["name"], value["value"], value["errors"]));
        format!("{}\n{}", infos["error_count"], lines.collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn the_keys_have_the_form_of_kafka_connect() {
        assert_eq!(plugins().keys("Nothing"), None);
        let keys = plugins().keys("com.example.TestSink").unwrap();
        let key = |name: &str| keys.as_array().unwrap().iter().find(|key| key["name"] == name).unwrap().to_string();
        assert_snapshot!(key("mode"), @r#"{"default_value":"a","dependents":[],"display_name":"mode","documentation":"a mode. Take care: b is slow.","group":"TestSink","importance":"MEDIUM","name":"mode","order_in_group":2,"required":false,"type":"STRING","width":"MEDIUM"}"#);
        assert_snapshot!(key("errors.retry.timeout"), @r#"{"default_value":"0","dependents":[],"display_name":"errors.retry.timeout","documentation":"A call that may succeed later is retried for this long; -1 means without end, and 0 means not at all. A call that is throttled is always retried without end. Take care: If the time is short, an outage that would have passed fails the task.","group":"Error Handling","importance":"HIGH","name":"errors.retry.timeout","order_in_group":2,"required":false,"type":"LONG","width":"SHORT"}"#);
        assert_snapshot!(plugins().list().to_string(), @r#"[{"class":"TestSink","type":"sink","version":"0.1.0"},{"class":"com.example.TestSink","type":"sink","version":"0.1.0"},{"class":"Other","type":"sink","version":"0.1.0"}]"#);
    }

    #[test]
    fn validation_finds_what_starting_would_find() {
        let whole = plugins().validate("TestSink", &BTreeMap::new()).unwrap();
        let mode = whole["configs"].as_array().unwrap().iter().find(|config| config["value"]["name"] == "mode");
        assert_snapshot!(mode.unwrap().to_string(), @r#"{"definition":{"default_value":"a","dependents":[],"display_name":"mode","documentation":"a mode. Take care: b is slow.","group":"TestSink","importance":"MEDIUM","name":"mode","order_in_group":2,"required":false,"type":"STRING","width":"MEDIUM"},"value":{"errors":[],"name":"mode","recommended_values":["a","b"],"value":"a","visible":true}}"#);
        assert_snapshot!(whole["groups"].to_string(), @r#"["Common","Error Handling","TestSink"]"#);
        let right = [("name", "a"), ("connector.class", "TestSink"), ("topics", "t"), ("table", "x")];
        assert_snapshot!(validated(&right), @r#"
        0
        "name" = "a": []
        "connector.class" = "TestSink": []
        "topics" = "t": []
        "table" = "x": []
        "#);
        assert_snapshot!(validated(&[
            ("name", "a"), ("connector.class", "TestSink"), ("table", "x"), ("tasks.max", "many"), ("mode", "c"), ("tabel", "x"),
        ]), @r#"
        3
        "name" = "a": []
        "connector.class" = "TestSink": []
        "tasks.max" = "many": ["tasks.max is not an integer; allowed: an integer from 1 to 1000"]
        "table" = "x": []
        "mode" = "c": ["mode is not allowed; allowed: a, b"]
        "tabel" = "x": ["tabel is not a known key; nearest known key: `table`"]
        "#);
        assert_snapshot!(validated(&[
            ("name", "a"), ("connector.class", "TestSink"), ("topics", "t"), ("table", "forbidden"),
            ("consumer.override.group.id", "x"), ("producer.override.sasl.password", "hunter2"),
        ]), @r#"
        2
        "name" = "a": []
        "connector.class" = "TestSink": []
        "topics" = "t": []
        "table" = "forbidden": ["table must not be"]
        "consumer.override.group.id" = "x": ["consumer.override.group.id cannot be set: the consumer group is always `connect-<name>`, because offsets and intents belong to it"]
        "producer.override.sasl.password" = "[hidden]": []
        "#);
        assert_snapshot!(validated(&[("name", "a"), ("connector.class", "Other"), ("topics", "t"), ("table", "x")]), @r#"
        1
        "name" = "a": []
        "connector.class" = "Other": ["connector.class is another kind of sink than `TestSink`, which is asked for"]
        "topics" = "t": []
        "table" = "x": []
        "#);
    }

    /// Otherwise a secret could be guessed: whether it matches a pattern, is an integer, is a file's entry.
    #[test]
    fn validation_does_not_ask_the_providers() {
        let providers = [
            ("name", "a"),
            ("connector.class", "TestSink"),
            ("topics.regex", "^h"),
            ("table", "${env:HOME}"),
            ("tasks.max", "${file:/etc/hostname:nothing}"),
            ("mode", "${env:MODE}"),
            ("consumer.override.fetch.min.bytes", "${env:HOME}"),
            ("consumer.override.ssl.key.pem", "${env:HOME}"),
        ];
        assert_snapshot!(validated(&providers), @r#"
        0
        "name" = "a": []
        "connector.class" = "TestSink": []
        "topics.regex" = "^h": []
        "tasks.max" = "${file:/etc/hostname:nothing}": []
        "table" = "${env:HOME}": []
        "mode" = "${env:MODE}": []
        "consumer.override.fetch.min.bytes" = "${env:HOME}": []
        "consumer.override.ssl.key.pem" = "[hidden]": []
        "#);
    }
}
