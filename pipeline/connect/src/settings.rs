//! The worker's own settings, from the environment, under the names that Kafka Connect's images give them.
//!
//! `CONNECT_BUFFER_MEMORY` is `buffer.memory`: names are in upper case with `_` for `.`, `__` for `_` and `___` for
//! `-`. Variables that begin with `CONNECT_CONSUMER_` or `CONNECT_PRODUCER_` are defaults for the Kafka clients of
//! every connector; a connector's own `consumer.override.` or `producer.override.` replaces them.

mod group;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

pub use self::group::{GroupSettings, GroupTopic};
use crate::access::{self, Access};
use crate::config::nearest;
use crate::config::shown::Secrets;
use crate::{Config, Key, ValueType, kafka};

const BOOTSTRAP: &str = "KAFKA_BOOTSTRAP_SERVERS";
const OF_CONSUMERS: &str = "the member of the group has the settings of the consumers: set it as `CONNECT_CONSUMER_…`, such as \
     `CONNECT_CONSUMER_SESSION_TIMEOUT_MS`";
const BUFFER_MEMORY_MIN: i64 = 1 << 20;

/// The keys of the worker. Their defaults are Kafka Connect's, except that of `task.shutdown.graceful.timeout.ms`,
/// whose 5 seconds would often cut off an upload that then has to be repeated.
const KEYS: &[Key] = &[
    Key::new(
        "bootstrap.servers",
        ValueType::List,
        "The worker connects to the Kafka cluster at these addresses, as `host:port` separated by commas. \
         `KAFKA_BOOTSTRAP_SERVERS` sets the same",
    )
    .required()
    .high()
    .risk("With one address alone, the worker does not start while that server is down"),
    Key::new(
        "listeners",
        ValueType::Text,
        "REST, `/health` and `/metrics` listen at this address, `http://host:port`, or `https://host:port` with \
         `ssl.keystore.location`. With port 0 the system chooses a port, which the log names",
    )
    .default("http://0.0.0.0:8083")
    .risk(
        "Without `rest.extension.classes` and `ssl.client.auth` there is no password, so whoever reaches the port can \
         read the configuration of the connectors, and change it if `CONNECT_REST_CHANGES_ENABLE` is `true`",
    ),
    Key::new(
        "rest.changes.enable",
        ValueType::Bool,
        "If `true`, REST may create, change, pause, stop, restart and delete connectors, change the offsets of their \
         groups, and set log levels. Otherwise it only reads",
    )
    .default("false")
    .high()
    .risk(
        "Whoever reaches the port can then send the data of the topics elsewhere, and whatever `${env:…}` and \
         `${file:…}` can read",
    ),
    Key::new(
        "rest.changes.dir",
        ValueType::Text,
        "Connectors that REST has changed are kept in this folder, a file each, and take precedence over those of \
         `--config` at the next start. If the key is unset, changes last until the worker ends",
    )
    .risk("If two workers share the folder, each overwrites what the other has changed"),
    Key::new(
        "rest.advertised.host.name",
        ValueType::Text,
        "Under this name other machines reach the worker. With `rest.advertised.port` it is the `worker_id` in the status \
         of what the worker runs. If the key is unset, it is the host of `listeners`, or the name of the machine if the \
         worker listens on all interfaces",
    )
    .risk("If two workers of a group have the same name and port, the status does not tell them apart"),
    Key::new(
        "rest.advertised.port",
        ValueType::Int(1, 65_535),
        "The port in `worker_id`. If the key is unset, it is the one at which the worker listens",
    )
    .unit("port"),
    Key::new(
        "buffer.memory",
        ValueType::Int(BUFFER_MEMORY_MIN, i64::MAX),
        "All tasks together hold at most this many bytes between Kafka and their sinks. Above it they flush early, \
         and then pause",
    )
    .default("67108864")
    .high()
    .unit("bytes")
    .risk(
        "If it is small, objects are small and tasks pause; if it is large, it has to fit into the memory \
         limit of the container",
    ),
    Key::new(
        "offset.flush.interval.ms",
        ValueType::Int(1, i64::MAX),
        "A sink that does not flush by settings of its own is flushed this often, and its offsets are \
         committed",
    )
    .default("60000")
    .unit("ms")
    .risk("Records whose offsets are not committed are written again after a crash"),
    Key::new(
        "task.shutdown.graceful.timeout.ms",
        ValueType::Int(0, i64::MAX),
        "When the worker stops, its tasks may take this long to flush and commit. What is left is repeated at \
         the next start",
    )
    .default("30000")
    .unit("ms")
    .risk(
        "If it is longer than the time until the orchestrator sends SIGKILL, the flush is cut off in the \
         middle",
    ),
    Key::new(
        "task.restart.backoff.max.ms",
        ValueType::Int(1, i64::MAX),
        "A task that failed for a cause outside of the worker (a service or broker that refuses, or a bucket, \
         table or topic that is missing) restarts by itself, first after one second and then after twice as \
         long each time, but never after more than this",
    )
    .default("60000")
    .unit("ms")
    .risk("If it is long, the task still waits when the cause has been repaired"),
];

/// All keys of the worker.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().chain(group::KEYS).chain(access::KEYS)
}

/// Settings of Kafka Connect's workers that this worker does not have, and what to do instead.
pub const REFUSED: &[(&str, &str)] = &[
    (
        "offset.storage.",
        "offsets of source connectors would be there; those of sinks are offsets of consumer groups, which Kafka stores; \
         remove it",
    ),
    ("session.timeout.ms", OF_CONSUMERS),
    ("heartbeat.interval.ms", OF_CONSUMERS),
    ("rebalance.timeout.ms", "a task that goes to another worker keeps no other waiting; remove it"),
    ("scheduled.rebalance.max.delay.ms", "tasks go to other workers as soon as theirs has left the group; remove it"),
    ("connect.protocol", "the group of workers is a consumer group; remove it"),
    ("inter.worker.", "workers do not talk to each other; remove it"),
    ("plugin.", "sinks are built in; remove it"),
    ("key.converter", "set it in the files of the connectors"),
    ("value.converter", "set it in the files of the connectors"),
    ("ssl.key.password", "the private key in `ssl.keystore.location` must have no password; remove it"),
    ("ssl.keystore.password", "files in PEM have none; remove it"),
    ("ssl.truststore.password", "files in PEM have none; remove it"),
    ("ssl.keystore.", "put key and certificates into the file of `ssl.keystore.location`"),
    ("ssl.truststore.", "put the certificates into the file of `ssl.truststore.location`"),
    (
        "ssl.",
        "REST speaks TLS 1.2 and 1.3 with the strong ciphers alone; settings of Kafka's clients are \
         `CONNECT_CONSUMER_SSL_…` and `CONNECT_PRODUCER_SSL_…`",
    ),
    ("listeners.https.", "of its settings there are the locations and types of the two stores, and `ssl.client.auth`"),
    ("rest.", "workers do not talk to each other by REST; `CONNECT_LISTENERS` says where this one listens; remove it"),
    ("log4j.", "use `RUST_LOG` and `--log-format`"),
];

/// The settings of a worker, besides its connectors.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `bootstrap.servers`.
    pub bootstrap_servers: String,
    /// `listeners`: host and port.
    pub listener: (String, u16),
    /// What REST asks of clients.
    pub access: Access,
    /// `rest.changes.enable`.
    pub rest_changes: bool,
    /// `rest.changes.dir`.
    pub rest_changes_dir: Option<PathBuf>,
    /// `rest.advertised.host.name`.
    pub advertised_host: Option<String>,
    /// `rest.advertised.port`.
    pub advertised_port: Option<u16>,
    /// The group of workers that the worker belongs to, if it does not stand alone.
    pub group: Option<GroupSettings>,
    /// `buffer.memory`.
    pub buffer_memory: usize,
    /// `offset.flush.interval.ms`.
    pub offset_flush_interval: Duration,
    /// `task.shutdown.graceful.timeout.ms`.
    pub shutdown_timeout: Duration,
    /// `task.restart.backoff.max.ms`.
    pub restart_backoff_max: Duration,
    /// How long the cluster may take to answer at start.
    pub cluster_timeout: Duration,
    /// The settings that the consumers of all connectors share.
    pub consumer: ClientConfig,
    /// The settings that the producers of all connectors share.
    pub producer: ClientConfig,
}

/// What is wrong with a variable of the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError {
    /// The variable.
    pub variable: String,
    /// Its value, unless it may be a secret.
    pub value: Option<String>,
    /// What is wrong, and what is allowed.
    pub problem: String,
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "environment: `{}` = `{value}`: {}", self.variable, self.problem),
            None => write!(f, "environment: `{}`: {}", self.variable, self.problem),
        }
    }
}

impl std::error::Error for SettingError {}

impl Settings {
    /// Reads the settings from these variables. Those that do not begin with `CONNECT_` are ignored, except
    /// `KAFKA_BOOTSTRAP_SERVERS`. The error has every problem found.
    pub fn from_env(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, Vec<SettingError>> {
        let Read { values, mut sources, mut consumer, mut producer, mut problems } = Read::of(variables);
        for (prefix, client) in [("CONNECT_CONSUMER_", &consumer), ("CONNECT_PRODUCER_", &producer)] {
            problems.extend(rejected(prefix, client));
        }
        let config = match Config::check("worker", &[KEYS, group::KEYS, access::KEYS], values) {
            Ok(config) => config,
            Err(wrong) => {
                problems.extend(wrong.into_iter().map(|error| SettingError {
                    variable: sources.remove(&error.key).unwrap_or_else(|| match error.key.as_str() {
                        "bootstrap.servers" => BOOTSTRAP.into(),
                        key => variable(key),
                    }),
                    value: error.value,
                    problem: error.problem,
                }));
                return Err(problems);
            }
        };
        let (https, listener) = listener(config.text("listeners")).unwrap_or_else(|problem| {
            let value = Some(config.text("listeners").to_owned());
            problems.push(SettingError { variable: "CONNECT_LISTENERS".into(), value, problem });
            Default::default()
        });
        let access = Access::of(&config, https).unwrap_or_else(|wrong| {
            problems.extend(wrong.into_iter().map(|(key, problem)| SettingError {
                variable: sources.remove(key).unwrap_or_else(|| variable(key)),
                value: None,
                problem,
            }));
            Access::default()
        });
        let group = GroupSettings::of(&config, |key| sources.contains_key(key)).unwrap_or_else(|wrong| {
            problems.extend(wrong.into_iter().map(|(key, problem)| SettingError {
                variable: variable(key),
                value: None,
                problem,
            }));
            None
        });
        if config.get("rest.changes.dir").is_some() && !config.bool("rest.changes.enable") {
            problems.push(SettingError {
                variable: variable("rest.changes.dir"),
                value: None,
                problem: "has no effect without CONNECT_REST_CHANGES_ENABLE=true".into(),
            });
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let bootstrap_servers = config.text("bootstrap.servers").to_owned();
        for client in [&mut consumer, &mut producer] {
            if client.get("bootstrap.servers").is_none() {
                client.set("bootstrap.servers", &bootstrap_servers);
            }
        }
        let millis = |key| config.millis(key).unwrap_or_default();
        Ok(Self {
            bootstrap_servers,
            listener,
            access,
            rest_changes: config.bool("rest.changes.enable"),
            rest_changes_dir: config.get("rest.changes.dir").map(PathBuf::from),
            advertised_host: config.get("rest.advertised.host.name").map(str::to_owned),
            advertised_port: config.int("rest.advertised.port").and_then(|port| u16::try_from(port).ok()),
            group,
            buffer_memory: usize::try_from(config.int("buffer.memory").unwrap_or_default()).unwrap_or(usize::MAX),
            offset_flush_interval: millis("offset.flush.interval.ms"),
            shutdown_timeout: millis("task.shutdown.graceful.timeout.ms"),
            restart_backoff_max: millis("task.restart.backoff.max.ms"),
            cluster_timeout: Duration::from_secs(10),
            consumer,
            producer,
        })
    }
}

/// The variables, sorted by what they are for. The values are not checked yet.
#[derive(Default)]
struct Read {
    /// The values of the worker's keys.
    values: BTreeMap<String, String>,
    /// The variable of each key in `values`.
    sources: BTreeMap<String, String>,
    consumer: ClientConfig,
    producer: ClientConfig,
    problems: Vec<SettingError>,
}

impl Read {
    fn of(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut read = Self::default();
        for (variable, value) in variables {
            let name = variable.strip_prefix("CONNECT_");
            let client = [("CONSUMER_", &mut read.consumer), ("PRODUCER_", &mut read.producer)]
                .into_iter()
                .find_map(|(prefix, client)| Some((name?.strip_prefix(prefix)?, client)));
            if let Some((setting, client)) = client {
                let setting = key_of(setting);
                match kafka::refused(&setting) {
                    Some(reason) => read.problems.push(SettingError { variable, value: None, problem: reason }),
                    None => drop(client.set(setting, value)),
                }
                continue;
            }
            let key = match name {
                Some(name) => {
                    let key = key_of(name);
                    // REST has no other settings of TLS, so both names mean the same.
                    match key.strip_prefix("listeners.https.") {
                        Some(own) if access::KEYS.iter().any(|known| known.name == own) => own.to_owned(),
                        _ => key,
                    }
                }
                None if variable == BOOTSTRAP => "bootstrap.servers".to_owned(),
                None => continue,
            };
            read.worker_key(key, variable, value);
        }
        read
    }

    /// Takes the value of one of the worker's keys.
    fn worker_key(&mut self, key: String, variable: String, value: String) {
        if !keys().any(|known| known.name == key) {
            let problem = unknown(&key);
            self.problems.push(SettingError { variable, value: None, problem });
        } else if let Some(other) = self.values.insert(key.clone(), value.clone())
            && other != value
        {
            let problem = format!("contradicts `{}` = `{other}`", self.sources[&key]);
            self.problems.push(SettingError { variable, value: Some(value), problem });
        } else {
            self.sources.insert(key, variable);
        }
    }
}

/// What librdkafka has against the settings of a client, whose variables begin with `prefix`.
fn rejected(prefix: &str, client: &ClientConfig) -> Option<SettingError> {
    let Err(KafkaError::ClientConfig(_, description, key, _)) = client.create_native_config() else { return None };
    let settings: BTreeMap<_, _> =
        client.config_map().iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let description = Secrets::new(&settings, &settings).hide(&description);
    let problem = format!("librdkafka does not take it: {description}");
    Some(SettingError { variable: format!("{prefix}{}", variable_of(&key)), value: None, problem })
}

/// The variable of a key: `buffer.memory` → `CONNECT_BUFFER_MEMORY`.
pub fn variable(key: &str) -> String {
    format!("CONNECT_{}", variable_of(key))
}

/// `BUFFER_MEMORY` → `buffer.memory`.
fn key_of(variable: &str) -> String {
    variable.to_lowercase().replace("___", "-").replace("__", "\0").replace('_', ".").replace('\0', "_")
}

/// `buffer.memory` → `BUFFER_MEMORY`.
fn variable_of(key: &str) -> String {
    key.to_uppercase().replace('_', "__").replace('-', "___").replace('.', "_")
}

fn unknown(key: &str) -> String {
    if let Some((_, reason)) = REFUSED.iter().find(|(prefix, _)| key.starts_with(prefix)) {
        return format!("is not supported: {reason}");
    }
    match nearest(key, keys().map(|known| known.name).chain(["consumer.", "producer."])) {
        Some(known) => format!("is not a known setting; nearest known variable: `CONNECT_{}`", variable_of(known)),
        None => "is not a known setting".into(),
    }
}

/// Whether the listener speaks TLS, and its host and port, of `http://host:port`. Without a host, the worker listens on
/// every interface.
fn listener(text: &str) -> Result<(bool, (String, u16)), String> {
    let allowed = "allowed: one `http://host:port` or `https://host:port`, where port 0 is any free one";
    let (scheme, address) = text.trim().split_once("://").ok_or_else(|| format!("is not HTTP; {allowed}"))?;
    let https = match scheme {
        "http" => false,
        "https" => true,
        _ => return Err(format!("is not HTTP; {allowed}")),
    };
    let (host, port) =
        address.trim_end_matches('/').rsplit_once(':').ok_or_else(|| format!("has no port; {allowed}"))?;
    let port = port.parse().map_err(|_| format!("has no port from 0 to 65535; {allowed}"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok((https, (if host.is_empty() { "0.0.0.0" } else { host }.to_owned(), port)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, Vec<SettingError>> {
        Settings::from_env(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn problems(variables: &[(&str, &str)]) -> String {
        read(variables).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_bootstrap_servers_are_enough() {
        let settings = read(&[(BOOTSTRAP, "kafka:9092"), ("PATH", "/bin")]).unwrap();
        assert_eq!(settings.listener, ("0.0.0.0".into(), 8083));
        assert_eq!(settings.buffer_memory, 64 << 20);
        assert_eq!(settings.offset_flush_interval, Duration::from_mins(1));
        assert_eq!(settings.consumer.get("bootstrap.servers"), Some("kafka:9092"));
    }

    #[test]
    fn client_defaults_are_kept_apart() {
        let settings = read(&[
            ("CONNECT_BOOTSTRAP_SERVERS", "kafka:9092"),
            ("CONNECT_LISTENERS", "http://[::1]:0"),
            ("CONNECT_CONSUMER_SESSION_TIMEOUT_MS", "30000"),
            ("CONNECT_PRODUCER_SECURITY_PROTOCOL", "SSL"),
        ])
        .unwrap();
        assert_eq!(settings.listener, ("::1".into(), 0));
        assert_eq!(settings.consumer.get("session.timeout.ms"), Some("30000"));
        assert_eq!(settings.consumer.get("security.protocol"), None);
        assert_eq!(settings.producer.get("security.protocol"), Some("SSL"));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_variable() {
        assert_snapshot!(problems(&[]), @"environment: `KAFKA_BOOTSTRAP_SERVERS`: is missing: The worker connects to the Kafka cluster at these addresses, as `host:port` separated by commas. `KAFKA_BOOTSTRAP_SERVERS` sets the same");
        assert_snapshot!(problems(&[(BOOTSTRAP, "a:1"), ("CONNECT_BOOTSTRAP_SERVERS", "b:1")]), @"environment: `CONNECT_BOOTSTRAP_SERVERS` = `b:1`: contradicts `KAFKA_BOOTSTRAP_SERVERS` = `a:1`");
        assert_snapshot!(problems(&[(BOOTSTRAP, "a:1"), ("CONNECT_BUFER_MEMORY", "1")]), @"environment: `CONNECT_BUFER_MEMORY`: is not a known setting; nearest known variable: `CONNECT_BUFFER_MEMORY`");
        assert_snapshot!(problems(&[(BOOTSTRAP, "a:1"), ("CONNECT_BUFFER_MEMORY", "64MB")]), @"environment: `CONNECT_BUFFER_MEMORY` = `64MB`: is not an integer; allowed: an integer from 1048576");
        assert_snapshot!(problems(&[(BOOTSTRAP, "a:1"), ("CONNECT_GROUP_ID", "x")]), @r"
        environment: `CONNECT_CONFIG_STORAGE_TOPIC`: is missing: a group of workers needs the topic
        environment: `CONNECT_STATUS_STORAGE_TOPIC`: is missing: a group of workers needs the topic
        ");
        assert_snapshot!(problems(&[(BOOTSTRAP, "a:1"), ("CONNECT_STATUS_STORAGE_TOPIC", "x"), ("CONNECT_CONFIG_STORAGE_REPLICATION_FACTOR", "1")]), @r"
        environment: `CONNECT_CONFIG_STORAGE_REPLICATION_FACTOR`: has no effect without CONNECT_GROUP_ID
        environment: `CONNECT_STATUS_STORAGE_TOPIC`: has no effect without CONNECT_GROUP_ID
        ");
        assert_snapshot!(problems(&[(BOOTSTRAP, "a:1"), ("CONNECT_GROUP_ID", "x"), ("CONNECT_CONFIG_STORAGE_TOPIC", "t"), ("CONNECT_STATUS_STORAGE_TOPIC", "t")]), @"environment: `CONNECT_STATUS_STORAGE_TOPIC`: is the topic of CONNECT_CONFIG_STORAGE_TOPIC too: name another one");
        assert_snapshot!(problems(&[(BOOTSTRAP, "a:1"), ("CONNECT_OFFSET_STORAGE_TOPIC", "x"), ("CONNECT_SESSION_TIMEOUT_MS", "1")]), @r"
        environment: `CONNECT_OFFSET_STORAGE_TOPIC`: is not supported: offsets of source connectors would be there; those of sinks are offsets of consumer groups, which Kafka stores; remove it
        environment: `CONNECT_SESSION_TIMEOUT_MS`: is not supported: the member of the group has the settings of the consumers: set it as `CONNECT_CONSUMER_…`, such as `CONNECT_CONSUMER_SESSION_TIMEOUT_MS`
        ");
        assert_snapshot!(problems(&[(BOOTSTRAP, "a:1"), ("CONNECT_LISTENERS", "ftp://0.0.0.0:8083")]), @"environment: `CONNECT_LISTENERS` = `ftp://0.0.0.0:8083`: is not HTTP; allowed: one `http://host:port` or `https://host:port`, where port 0 is any free one");
        assert_snapshot!(problems(&[(BOOTSTRAP, "a:1"), ("CONNECT_REST_CHANGES_DIR", "/connectors")]), @"environment: `CONNECT_REST_CHANGES_DIR`: has no effect without CONNECT_REST_CHANGES_ENABLE=true");
        assert_snapshot!(problems(&[(BOOTSTRAP, "a:1"), ("CONNECT_CONSUMER_SASL_PASWORD", "secret")]), @r#"environment: `CONNECT_CONSUMER_SASL_PASWORD`: librdkafka does not take it: No such configuration property: "sasl.pasword""#);
        assert_snapshot!(problems(&[(BOOTSTRAP, "a:1"), ("CONNECT_CONSUMER_ENABLE_AUTO_COMMIT", "true")]), @"environment: `CONNECT_CONSUMER_ENABLE_AUTO_COMMIT`: cannot be set: the worker commits an offset once everything before it is stored");
    }

    proptest! {
        #[test]
        fn a_key_has_one_variable(key in "[a-z]{1,5}([._-][a-z]{1,5}){0,4}") {
            prop_assert_eq!(key_of(&variable_of(&key)), key);
        }
    }
}
