//! Kafka clients: how they are set up, which of their settings cannot be set, and which of their errors are permanent.

mod commit;
mod consumer;
mod context;
mod group;
mod log;
mod lookup;
mod reach;
mod record;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

pub(crate) use self::commit::CommitOutcome;
pub(crate) use self::consumer::{AssignmentChange, Consumer};
pub(crate) use self::group::Group;
pub(crate) use self::log::KafkaLog;
pub(crate) use self::lookup::Committed;
pub(crate) use self::reach::ClusterProbe;
pub(crate) use self::record::{Batch, ConsumerError, Record, RecordQueue};
use crate::config::nearest;
use crate::{Config, ConfigError};

/// Consumer settings that delivery depends on, their values, and the reason that refuses them in an override.
const FIXED_CONSUMER: &[(&str, &str, &str)] = &[
    ("enable.auto.commit", "false", "the worker commits an offset once everything before it is stored"),
    ("enable.auto.offset.store", "false", "the worker commits an offset once everything before it is stored"),
    (
        "auto.offset.reset",
        "error",
        "a new connector starts at the earliest offset, and an offset that is out of range is an error",
    ),
    (
        "enable.partition.eof",
        "false",
        "the worker compares offsets with the high watermark, and an end-of-partition event would count as a record",
    ),
    ("check.crcs", "true", "a damaged record must not be taken for another one"),
];

/// Other settings that the worker needs as they are.
const FIXED: &[(&str, &str)] = &[
    ("group.id", "the consumer group is always `connect-<name>`, because offsets and intents belong to it"),
    ("group.instance.id", "every task would have the same id, and each would fence the others"),
    ("plugin.library.paths", "foreign code is not loaded into the worker"),
    ("acks", "a dead letter counts as delivered once every in-sync replica has it"),
    ("enable.idempotence", "the retries of the producer must not repeat a dead letter"),
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
    ("max.poll.records", "the worker takes the records that have come, without such a limit; remove it"),
    ("key.deserializer", "keys are kept byte for byte; remove it"),
    ("value.deserializer", "values are read as JSON; remove it"),
    ("buffer.memory", "use `queue.buffering.max.kbytes`"),
];

/// `base` with the connector's settings under `prefix` over it. Refused are settings that the worker fixes; librdkafka
/// checks the rest.
pub(crate) fn client(
    base: &ClientConfig,
    config: &Config,
    prefix: &'static str,
) -> Result<ClientConfig, Vec<ConfigError>> {
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
pub(crate) fn refused(key: &str) -> Option<String> {
    let reason =
        |table: &[(&str, &'static str)]| table.iter().find(|(name, _)| *name == key).map(|(_, reason)| *reason);
    let fixed = fixed(key).map(|reason| format!("cannot be set: {reason}"));
    fixed.or_else(|| reason(JAVA).map(|reason| format!("is the Java client's: {reason}")))
}

/// Every client setting that cannot be set, with the reason.
pub(crate) fn all_refused() -> impl Iterator<Item = (String, String)> {
    let fixed = FIXED_CONSUMER.iter().map(|(key, _, _)| *key).chain(FIXED.iter().map(|(key, _)| *key));
    let keys = fixed.chain(JAVA.iter().map(|(key, _)| *key));
    keys.filter_map(|key| Some((key.to_owned(), refused(key)?)))
}

/// These settings for a client with [`KafkaLog::of_start`]: that a connection was closed is told at the level of
/// information only, which the log's own level may leave out.
pub(crate) fn asking(client: &ClientConfig) -> ClientConfig {
    let mut asking = client.clone();
    asking.set_log_level(RDKafkaLogLevel::Info);
    asking
}

/// What librdkafka has against a client's settings, as an error about the override that brought it in. Values are not
/// repeated: passwords are among them.
pub(crate) fn rejected(config: &Config, prefix: &'static str, error: &KafkaError) -> ConfigError {
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

/// Whether an error of a Kafka client does not pass by itself: somebody has to grant or configure something, or the
/// client is of no more use. Everything else is tried again.
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
pub(crate) fn similar_topics(topic: &str, existing: &[String]) -> String {
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
    use crate::config::file::{Definition, TargetState};

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
        assert_snapshot!(refused("enable.auto.commit"), @"connector `raw`: `consumer.override.enable.auto.commit`: cannot be set: the worker commits an offset once everything before it is stored");
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
            state: TargetState::Running,
        };
        let config = Config::of(&definition, &[]).unwrap();
        let client = client(&ClientConfig::new(), &config, CONSUMER).unwrap();
        let error = client.create_native_config().err().unwrap();
        assert!(error.to_string().contains("ENV-SECRET"), "{error}");
        assert_snapshot!(rejected(&config, CONSUMER, &error), @r#"connector `raw`: `consumer.override.security.protocol`: librdkafka does not take it: Invalid value "${env:X}" for configuration property "security.protocol""#);
    }
}
