//! How this worker's Kafka clients are set up: bootstrap servers, defaults, overrides, and where librdkafka's own log lines go.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{ClientConfig, ClientContext};
use tracing::{debug, error, info, warn};

use crate::config::nearest;
use crate::{Config, ConfigError};

/// Consumer settings that delivery depends on, their values, and the reason that refuses them in an override.
pub(crate) const FIXED_CONSUMER: &[(&str, &str, &str)] = &[
    ("enable.auto.commit", "false", "offsets are committed by the worker once what is before them is stored"),
    ("enable.auto.offset.store", "false", "offsets are committed by the worker once what is before them is stored"),
    (
        "auto.offset.reset",
        "error",
        "a new connector starts at the earliest offset, and an offset out of range is an error, not a jump",
    ),
    (
        "enable.partition.eof",
        "false",
        "the worker compares offsets with the high watermark, and an event would count as a record",
    ),
    ("check.crcs", "true", "a damaged record must not pass for another"),
];

/// Other settings that the worker needs as they are.
const FIXED: &[(&str, &str)] = &[
    ("group.id", "the group is always `connect-<name>`: offsets and intents belong to it"),
    ("group.instance.id", "every task would have the same, and each would fence the others"),
    ("plugin.library.paths", "foreign code is not loaded into the worker"),
    ("acks", "a dead letter counts once every in-sync replica has it"),
    ("enable.idempotence", "the producer's own retries must not repeat a dead letter"),
];

/// Why this setting cannot be overridden, if it cannot.
fn fixed(key: &str) -> Option<&'static str> {
    let consumer = FIXED_CONSUMER.iter().map(|(fixed, _, reason)| (*fixed, *reason));
    consumer.chain(FIXED.iter().copied()).find(|(fixed, _)| *fixed == key).map(|(_, reason)| reason)
}

/// Java client settings that librdkafka has under another name or does without.
const JAVA: &[(&str, &str)] = &[
    ("sasl.jaas.config", "use `sasl.username` and `sasl.password`"),
    ("ssl.truststore.location", "use `ssl.ca.location` with a PEM file"),
    ("ssl.truststore.password", "use `ssl.ca.location` with a PEM file"),
    ("ssl.truststore.type", "use `ssl.ca.location` with a PEM file"),
    ("ssl.keystore.type", "use `ssl.certificate.location` and `ssl.key.location` with PEM files"),
    ("max.poll.records", "records are taken as they come; remove it"),
    ("key.deserializer", "keys are kept byte for byte; remove it"),
    ("value.deserializer", "values are read as JSON; remove it"),
    ("buffer.memory", "use `queue.buffering.max.kbytes`"),
];

/// `base` with the connector's settings under `prefix` over it. Refused are settings that the worker fixes; librdkafka checks the rest.
pub fn client(base: &ClientConfig, config: &Config, prefix: &'static str) -> Result<ClientConfig, Vec<ConfigError>> {
    let mut client = base.clone();
    let mut problems = Vec::new();
    for (key, value) in config.prefixed(prefix) {
        match refused(key) {
            Some(problem) => problems.push(override_error(config, prefix, key, &problem)),
            None => drop(client.set(key, value)),
        }
    }
    if problems.is_empty() { Ok(client) } else { Err(problems) }
}

/// Why this client setting cannot be set, if it cannot.
pub fn refused(key: &str) -> Option<String> {
    let reason =
        |table: &[(&str, &'static str)]| table.iter().find(|(name, _)| *name == key).map(|(_, reason)| *reason);
    let fixed = fixed(key).map(|reason| format!("cannot be set: {reason}"));
    fixed.or_else(|| reason(JAVA).map(|reason| format!("is the Java client's: {reason}")))
}

/// Every client setting that cannot be set, with the reason.
pub fn all_refused() -> impl Iterator<Item = (String, String)> {
    let fixed = FIXED_CONSUMER.iter().map(|(key, _, _)| *key).chain(FIXED.iter().map(|(key, _)| *key));
    let keys = fixed.chain(JAVA.iter().map(|(key, _)| *key));
    keys.filter_map(|key| Some((key.to_owned(), refused(key)?)))
}

/// These settings for a client with [`KafkaLog::of_start`]: that a connection was closed is told at the level of information only, which the
/// log's own level may leave out.
pub fn asking(client: &ClientConfig) -> ClientConfig {
    let mut asking = client.clone();
    asking.set_log_level(RDKafkaLogLevel::Info);
    asking
}

/// What librdkafka has against a client's settings, as an error about the override that brought it in. Values are not repeated:
/// passwords are among them.
pub fn rejected(config: &Config, prefix: &'static str, error: &KafkaError) -> ConfigError {
    match error {
        KafkaError::ClientConfig(_, description, key, _) => {
            override_error(config, prefix, key, &format!("librdkafka does not take it: {description}"))
        }
        other => override_error(config, prefix, "*", &format!("the Kafka client does not start: {other}")),
    }
}

fn override_error(config: &Config, prefix: &str, key: &str, problem: &str) -> ConfigError {
    config.error(&format!("{prefix}{key}"), problem)
}

/// Sends librdkafka's log lines and errors to `tracing`, with the bootstrap servers beside every error: an address that is wrong
/// has to be seen.
#[derive(Debug, Clone)]
pub struct KafkaLog {
    client: String,
    bootstrap: String,
    /// What is wrong with the connections, of a client that only asks whether there are any.
    failures: Option<Arc<Mutex<Vec<String>>>>,
}

impl KafkaLog {
    /// The log of a client with these settings; `client` says whose it is, e.g. `connector raw, task 0`.
    pub fn new(client: impl Into<String>, config: &ClientConfig) -> Self {
        let bootstrap = config.get("bootstrap.servers").unwrap_or_default().into();
        Self { client: client.into(), bootstrap, failures: None }
    }

    /// That of a client that is to find out whether the cluster can be reached: what it says is kept instead, for one sentence.
    pub fn of_start(client: impl Into<String>, config: &ClientConfig) -> Self {
        Self { failures: Some(Arc::default()), ..Self::new(client, config) }
    }

    /// `bootstrap.servers`.
    pub fn servers(&self) -> &str {
        &self.bootstrap
    }

    /// What was kept since the last call.
    pub fn take_failures(&self) -> Vec<String> {
        let lock = self.failures.as_ref().map(|failures| failures.lock().unwrap_or_else(PoisonError::into_inner));
        lock.map(|mut failures| std::mem::take(&mut *failures)).unwrap_or_default()
    }

    /// Keeps the text if this log does that.
    fn keep(&self, text: &str) -> bool {
        let Some(failures) = &self.failures else { return false };
        debug!(target: "librdkafka", client = self.client, "{text}");
        failures.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
        true
    }

    /// For [`ClientContext::log`].
    pub fn line(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        let client = self.client.as_str();
        if self.keep(line) {
            return;
        }
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                error!(target: "librdkafka", client, facility, bootstrap_servers = self.bootstrap, "{line}");
            }
            RDKafkaLogLevel::Warning => warn!(target: "librdkafka", client, facility, "{line}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => info!(target: "librdkafka", client, facility, "{line}"),
            RDKafkaLogLevel::Debug => debug!(target: "librdkafka", client, facility, "{line}"),
        }
    }

    /// For [`ClientContext::error`].
    pub fn failure(&self, error: &KafkaError, reason: &str) {
        if self.keep(reason) {
            return;
        }
        error!(
            target: "librdkafka",
            client = self.client,
            bootstrap_servers = self.bootstrap,
            "{reason} ({error})"
        );
    }
}

impl ClientContext for KafkaLog {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.failure(&error, reason);
    }
}

impl ConsumerContext for KafkaLog {}

/// Whether an error of a Kafka client does not pass by itself: somebody has to grant or configure something, or the client is of no more use.
/// Everything else is tried again.
pub(crate) fn is_permanent(error: &KafkaError) -> bool {
    matches!(error, KafkaError::MessageConsumptionFatal(_))
        || matches!(
            error.rdkafka_error_code(),
            Some(
                Code::TopicAuthorizationFailed
                    | Code::GroupAuthorizationFailed
                    | Code::ClusterAuthorizationFailed
                    | Code::SaslAuthenticationFailed
                    | Code::UnsupportedSASLMechanism
                    | Code::Authentication
                    | Code::Fatal
                    | Code::InvalidArgument
                    | Code::NotImplemented
            )
        )
}

/// Names of the topics that are most like `topic`, for an error about one that does not exist.
pub fn similar_topics(topic: &str, existing: &[String]) -> String {
    match nearest(topic, existing.iter().map(String::as_str)) {
        None => "this cluster has no topics".into(),
        Some(nearest) => format!("the most similar of the {} that exist is `{nearest}`", existing.len()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::collections::BTreeMap;

    use insta::assert_snapshot;
    use rdkafka::consumer::BaseConsumer;

    use super::*;
    use crate::config::file::Definition;

    const CONSUMER: &str = "consumer.override.";

    fn config(key: &str, value: &str) -> Config {
        Config::new("raw", &[], BTreeMap::from([(format!("{CONSUMER}{key}"), value.to_owned())])).unwrap()
    }

    #[test]
    fn an_override_stands_over_the_defaults() {
        let mut base = ClientConfig::new();
        base.set("bootstrap.servers", "a:1").set("client.id", "x");
        let client = client(&base, &config("bootstrap.servers", "b:1"), CONSUMER).unwrap();
        assert_eq!((client.get("bootstrap.servers"), client.get("client.id")), (Some("b:1"), Some("x")));
    }

    #[test]
    fn an_override_that_cannot_be_is_refused_by_name_without_its_value() {
        let refused = |key| client(&ClientConfig::new(), &config(key, "secret"), CONSUMER).unwrap_err()[0].to_string();
        assert_snapshot!(refused("enable.auto.commit"), @"connector `raw`: `consumer.override.enable.auto.commit`: cannot be set: offsets are committed by the worker once what is before them is stored");
        assert_snapshot!(refused("sasl.jaas.config"), @"connector `raw`: `consumer.override.sasl.jaas.config`: is the Java client's: use `sasl.username` and `sasl.password`");
        let unknown = config("sasl.pasword", "secret");
        let client = client(&ClientConfig::new(), &unknown, CONSUMER).unwrap();
        let error = client.create::<BaseConsumer>().err().unwrap();
        assert_snapshot!(rejected(&unknown, CONSUMER, &error), @r#"connector `raw`: `consumer.override.sasl.pasword`: librdkafka does not take it: No such configuration property: "sasl.pasword""#);
    }

    #[test]
    fn what_librdkafka_quotes_of_a_providers_value_is_not_repeated() {
        let key = "consumer.override.security.protocol".to_owned();
        let definition = Definition {
            file: "a.json".into(),
            name: "raw".into(),
            written: BTreeMap::from([(key.clone(), "${env:X}".to_owned())]),
            values: BTreeMap::from([(key, "ENV-SECRET".to_owned())]),
        };
        let config = Config::of(&definition, &[]).unwrap();
        let client = client(&ClientConfig::new(), &config, CONSUMER).unwrap();
        let error = client.create_native_config().err().unwrap();
        assert!(error.to_string().contains("ENV-SECRET"), "{error}");
        assert_snapshot!(rejected(&config, CONSUMER, &error), @r#"connector `raw`: `consumer.override.security.protocol`: librdkafka does not take it: Invalid value "${env:X}" for configuration property "security.protocol""#);
    }
}
