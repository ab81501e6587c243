//! The keys that every connector has, as Kafka Connect names them, and those of Kafka Connect's that are refused with a
//! reason.

use strum::VariantNames as _;

use super::{Config, ConfigError, Key, ValueType};
use crate::connector::Subscription;
use crate::transforms;

const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";
const STRING: &str = "org.apache.kafka.connect.storage.StringConverter";
const BYTES: &str = "org.apache.kafka.connect.converters.ByteArrayConverter";
const SIMPLE_HEADERS: &str = "org.apache.kafka.connect.storage.SimpleHeaderConverter";

/// The key of the dead-letter topic.
pub const DEAD_LETTER_TOPIC: &str = "errors.deadletterqueue.topic.name";

/// The values of `errors.tolerance`: which errors of records and rows do not end the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum Tolerated {
    None,
    All,
}

/// The values of `behavior.on.null.values`: what becomes of a record whose value is null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum NullValues {
    Ignore,
    Fail,
    DeadLetter,
}

/// The keys that every connector has. Defaults are Kafka Connect's.
pub const COMMON: &[Key] = &[
    Key::new(
        "name",
        ValueType::Text,
        "The connector's name is unique within the worker, and its consumer group is `connect-<name>`",
    )
    .required()
    .high()
    .risk("A connector with another name has another consumer group and reads all records again"),
    Key::new("connector.class", ValueType::Text, "This class names the kind of sink").required().high(),
    Key::new(
        "topics",
        ValueType::List,
        "The connector reads these topics, separated by commas. Each of them has to exist when the worker \
         starts",
    )
    .high(),
    Key::new(
        "topics.regex",
        ValueType::Text,
        "The connector reads every topic whose whole name matches, including topics that are created later",
    )
    .high()
    .risk("A pattern that matches more than was meant writes the records of other topics into the sink"),
    Key::new("tasks.max", ValueType::Int(1, 1000), "This worker runs this number of tasks for the connector")
        .default("1")
        .high()
        .unit("tasks")
        .risk(
            "If there are more tasks than partitions, some tasks have nothing to do, and each of them takes its \
             part of `buffer.memory`",
        ),
    Key::new(
        "key.converter",
        ValueType::Text,
        "The keys of records are kept byte for byte. This setting is accepted so that a configuration of \
         Kafka Connect can be used as it is",
    )
    .low(),
    Key::new(
        "key.converter.schemas.enable",
        ValueType::Bool,
        "This setting has no effect, because the keys of records are kept byte for byte",
    )
    .low(),
    Key::new("value.converter", ValueType::Text, "Values are read as JSON, and their text is kept").low(),
    Key::new(
        "value.converter.schemas.enable",
        ValueType::Bool,
        "With `false`, or unset without `value.converter`, a value is the message. With `true`, a value is \
         `{\"schema\": …, \"payload\": …}`, as Kafka Connect's JsonConverter writes it, and its payload is \
         the message",
    )
    .in_intent()
    .risk("A value of the other form becomes a dead letter"),
    Key::new(
        "header.converter",
        ValueType::Text,
        "The headers of records are kept byte for byte. This setting is accepted so that a configuration of \
         Kafka Connect can be used as it is",
    )
    .low(),
    Key::new(
        "converter.extract.field",
        ValueType::Text,
        "The message is the object in this field, or at this path such as `payload.after`, as with Kafka \
         Connect's transform ExtractField$Value. If the field is null, the record counts as one whose value \
         is null, see `behavior.on.null.values`",
    )
    .in_intent()
    .risk("A record without that field becomes a dead letter"),
    Key::new(
        "converter.split.list.key",
        ValueType::Text,
        "Each element of the list in this field, or at this path such as `data.dp`, becomes a row, together \
         with the other fields of the envelope. If the list lies deeper, the object that holds it stays in \
         the row, without the list. `$` means that the message itself is the list. If the key is unset, a \
         message is one row",
    )
    .in_intent()
    .high()
    .risk("If messages have no list of this name, each of them becomes a dead letter"),
    Key::new(
        "converter.split.list.optional",
        ValueType::Text,
        "Messages in which a field has one of these values (`field=value|value`), or all messages (`all`), \
         may lack the list, and are then one row themselves. Other messages without the list become dead \
         letters",
    )
    .default("command=command|response")
    .in_intent()
    .risk("With `all`, nobody notices a mistyped list"),
    Key::new(
        "converter.required.fields",
        ValueType::List,
        "A message has to have each of these fields as a number or as a string that is not empty \
         (`name:string` stands for such a string only); otherwise it becomes a dead letter. If the key is \
         unset, a message with a list needs `object:string,type:string,id`, and any other message needs \
         nothing. An empty value means that no field is required",
    )
    .in_intent()
    .risk("Without required fields, rows are stored that nobody can assign to a vehicle"),
    Key::new(
        "converter.update.fields.template",
        ValueType::List,
        "These fields are set in every row, as `name=template` separated by commas, such as \
         `pk=${id}#${object}`. A template may use fields (`${id}`), paths (`${position.speed}`), alternatives \
         (`${a|b}`), parts of the Kafka record (`${@key}`, `${@topic}`, `${@partition}`, `${@offset}`, \
         `${@timestamp}`, `${@header.NAME}`), and the row's `${@index}` and `${@digest}`",
    )
    .in_intent()
    .risk("A row that lacks a field of the template becomes a dead letter"),
    Key::new(
        "transforms",
        ValueType::List,
        "These single message transforms are applied to each message in this order, before its list becomes rows. Each is \
         configured by `transforms.NAME.type`, the keys of its class, and `transforms.NAME.predicate` and \
         `transforms.NAME.negate`",
    )
    .in_intent()
    .risk("What a transform drops or masks is not stored anywhere else"),
    Key::new(
        "predicates",
        ValueType::List,
        "The transforms may name these predicates, each of which is configured by `predicates.NAME.type` and the keys of \
         its class",
    )
    .in_intent()
    .low(),
    Key::new(
        "errors.tolerance",
        ValueType::OneOf(Tolerated::VARIANTS),
        "With `none`, a record or row that cannot be stored fails the task. With `all`, it goes to the \
         dead-letter queue",
    )
    .default("none")
    .high()
    .risk("With `all` and without a dead-letter queue, such records and rows are lost"),
    Key::new(
        "errors.retry.timeout",
        ValueType::Int(-1, i64::MAX),
        "A call that may succeed later is retried for this long; -1 means without end, and 0 means not at \
         all. A call that is throttled is always retried without end",
    )
    .default("0")
    .high()
    .unit("ms")
    .risk("If the time is short, an outage that would have passed fails the task"),
    Key::new(
        "errors.retry.delay.max.ms",
        ValueType::Int(1, i64::MAX),
        "This is the longest pause between two attempts of a call",
    )
    .default("60000")
    .unit("ms")
    .risk("If it is long, the task still waits when the service has recovered"),
    Key::new(
        "errors.log.enable",
        ValueType::Bool,
        "If `true`, every tolerated error is logged. Errors that fail the task are always logged",
    )
    .default("false")
    .risk("A topic full of bad records fills the log"),
    Key::new(
        "errors.log.include.messages",
        ValueType::Bool,
        "If `true`, the log line of an error also shows the key and the value of the record",
    )
    .default("false")
    .risk("Whoever reads the log reads the data of the records"),
    Key::new(
        "errors.deadletterqueue.topic.name",
        ValueType::Text,
        "Records and rows that cannot be stored are sent to this topic. With an empty name there is no \
         dead-letter queue",
    )
    .default("")
    .high()
    .risk("A connector that reads this topic as well receives the broken records"),
    Key::new(
        "errors.deadletterqueue.topic.replication.factor",
        ValueType::Int(1, 32767),
        "If the dead-letter topic has to be created, it gets this number of replicas. If the key is unset, the \
         broker decides",
    )
    .unit("replicas")
    .risk("With more replicas than the cluster has brokers, the topic cannot be created"),
    Key::new(
        "errors.deadletterqueue.context.headers.enable",
        ValueType::Bool,
        "If `true`, dead letters have `__connect.errors.*` headers that say where the record comes from and \
         what is wrong with it",
    )
    .default("false")
    .risk("Without these headers, nobody can see why a record is in the dead-letter topic"),
    Key::new(
        "behavior.on.null.values",
        ValueType::OneOf(NullValues::VARIANTS),
        "A record without a value (a tombstone) is skipped, fails the task, or becomes a dead letter",
    )
    .default("fail")
    .risk("With `fail`, the first tombstone of a compacted topic stops the task"),
];

/// Keys of Kafka Connect and its sinks that are not supported, and what to do instead. A `*` at the end stands for any
/// rest.
pub const REFUSED: &[(&str, &str)] = &[
    ("confluent.*", "there is no licence and no metrics reporter; remove it"),
    ("reporter.*", "there is no reporter: `/metrics` and the dead letters show the results; remove it"),
    ("key.converter.*", "keys are kept byte for byte; remove it"),
    ("value.converter.*", "values are read as JSON and their text is kept; remove it"),
    ("header.converter.*", "headers are kept byte for byte; remove it"),
    ("config.action.reload", "connectors are read when the worker starts; restart the worker to reload"),
    ("tasks.max.enforce", "`tasks.max` is always enforced; remove it"),
    ("errors.deadletterqueue.producer.*", "use `producer.override.`"),
    ("consumer.*", "use `consumer.override.` in a connector, or `CONNECT_CONSUMER_…` in the worker's environment"),
    ("producer.*", "use `producer.override.` in a connector, or `CONNECT_PRODUCER_…` in the worker's environment"),
    ("group.id", "the consumer group is always `connect-<name>`; remove it"),
    (
        "auto.offset.reset",
        "a new connector always starts at the earliest offset, and an offset that is out of range is an error; remove \
         it",
    ),
    ("bootstrap.servers", "set `KAFKA_BOOTSTRAP_SERVERS` in the worker's environment"),
    ("offset.flush.*", "it is a setting of the worker: set `CONNECT_OFFSET_FLUSH_INTERVAL_MS` in its environment"),
    ("buffer.memory", "it is a setting of the worker: set `CONNECT_BUFFER_MEMORY` in its environment"),
    ("listeners", "it is a setting of the worker: set `CONNECT_LISTENERS` in its environment"),
    ("s3.part.retries", "use `errors.retry.timeout`"),
    ("s3.retry.*", "use `errors.retry.timeout` and `errors.retry.delay.max.ms`"),
    (
        "s3.credentials.*",
        "credentials come from the standard AWS chain: environment, profile, web identity, container, instance",
    ),
    ("aws.access.key.id", "credentials come from the standard AWS chain: set `AWS_ACCESS_KEY_ID`, a profile or a role"),
    (
        "aws.secret.access.key",
        "credentials come from the standard AWS chain: set `AWS_SECRET_ACCESS_KEY`, a profile or a role",
    ),
    (
        "aws.dynamodb.endpoint",
        "the endpoint comes from the environment: `AWS_ENDPOINT_URL_DYNAMODB` or `AWS_ENDPOINT_URL`",
    ),
    ("aws.dynamodb.region", "the region comes from the environment: `AWS_REGION`"),
    ("store.url", "the endpoint comes from the environment: `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`"),
    ("schema.*", "values have no schema; remove it"),
];

/// Why this key of Kafka Connect is not supported, and what to use instead. `None` for a key that Kafka Connect does
/// not have.
pub fn refused(key: &str) -> Option<&'static str> {
    let matches = |pattern: &str| match pattern.strip_suffix('*') {
        Some(prefix) => key.starts_with(prefix),
        None => key == pattern,
    };
    REFUSED.iter().find(|(pattern, _)| matches(pattern)).map(|(_, reason)| *reason)
}

/// The connector's dead-letter topic, if it has one.
pub fn dead_letter_topic(config: &Config) -> Option<&str> {
    config.get(DEAD_LETTER_TOPIC).map(str::trim).filter(|topic| !topic.is_empty())
}

/// Checks the values of [`COMMON`] keys that have to fit together, and those that would have no effect. Gives every
/// problem found.
pub fn check(config: &Config) -> Vec<ConfigError> {
    check_reading(config, Subscription::of(config).as_ref())
}

/// The same for what [`Subscription::of`] gives, so that who needs it has it made only once.
pub(crate) fn check_reading(config: &Config, topics: Result<&Subscription, &String>) -> Vec<ConfigError> {
    let mut problems = Vec::new();
    let mut problem = |key: &str, text: &str| problems.push(config.error(key, text));
    check_topics(config, topics, &mut problem);
    check_errors(config, &mut problem);
    check_converters(config, &mut problem);
    problems.extend(transforms::check(config));
    problems
}

/// Checks that the topics are given in one way, and that the dead-letter topic is none of them.
fn check_topics(config: &Config, topics: Result<&Subscription, &String>, problem: &mut impl FnMut(&str, &str)) {
    match (config.list("topics").is_empty(), config.get("topics.regex")) {
        (true, None) => problem("topics", "is missing: set either `topics` or `topics.regex`"),
        (false, Some(_)) => problem("topics", "excludes `topics.regex`: remove one of the two"),
        (true, Some(_)) | (false, None) => {}
    }
    if let Err(error) = topics {
        problem("topics.regex", &format!("is not a regular expression: {error}"));
    }
    let reads = |topic: &str| topics.is_ok_and(|topics| topics.reads(topic));
    if dead_letter_topic(config).is_some_and(reads) {
        problem(
            DEAD_LETTER_TOPIC,
            "is one of the topics that this connector reads, so its dead letters would come back for ever",
        );
    }
}

/// Checks that each key about errors has an effect beside the others.
fn check_errors(config: &Config, problem: &mut impl FnMut(&str, &str)) {
    let (tolerant, letters) = (config.text("errors.tolerance") == "all", dead_letter_topic(config).is_some());
    if letters && !tolerant {
        problem(
            DEAD_LETTER_TOPIC,
            "has no effect with errors.tolerance = `none`, which stops at the first error: set that to `all`",
        );
    }
    if !letters && config.bool("errors.deadletterqueue.context.headers.enable") {
        problem(
            "errors.deadletterqueue.context.headers.enable",
            "has no effect without errors.deadletterqueue.topic.name",
        );
    }
    if !letters && config.int("errors.deadletterqueue.topic.replication.factor").is_some() {
        problem(
            "errors.deadletterqueue.topic.replication.factor",
            "has no effect without errors.deadletterqueue.topic.name",
        );
    }
    if config.bool("errors.log.include.messages") && !config.bool("errors.log.enable") {
        problem("errors.log.include.messages", "has no effect without errors.log.enable = `true`");
    }
    if config.text("behavior.on.null.values") == "deadletter" && !letters {
        problem("behavior.on.null.values", "needs a dead-letter queue: set errors.deadletterqueue.topic.name");
    }
}

/// Checks that the converters of Kafka Connect are named that do what happens here.
fn check_converters(config: &Config, problem: &mut impl FnMut(&str, &str)) {
    if let Some(converter) = config.get("key.converter")
        && ![STRING, BYTES].contains(&converter)
    {
        problem("key.converter", &format!("keys are kept byte for byte and never read; allowed: {BYTES}, {STRING}"));
    }
    if let Some(converter) = config.get("value.converter") {
        if converter == JSON && config.get("value.converter.schemas.enable").is_none() {
            problem(
                "value.converter.schemas.enable",
                "has to be set, because Kafka Connect's default is true: set false for plain JSON, and true for values \
                 that are {\"schema\": …, \"payload\": …}",
            );
        } else if converter != JSON {
            let reason = "values are read as JSON objects, and there is no schema registry";
            problem("value.converter", &format!("{reason}; allowed: {JSON}"));
        }
    }
    if let Some(converter) = config.get("header.converter")
        && ![SIMPLE_HEADERS, STRING, BYTES].contains(&converter)
    {
        let allowed = format!("{SIMPLE_HEADERS}, {STRING}, {BYTES}");
        problem("header.converter", &format!("headers are kept byte for byte in dead letters; allowed: {allowed}"));
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn problems(pairs: &[(&str, &str)]) -> String {
        let base = [("name", "raw"), ("connector.class", "S3")];
        let values = base.iter().chain(pairs).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let problems = match Config::check("raw", &[COMMON], values) {
            Ok(config) => check(&config),
            Err(problems) => problems,
        };
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_configuration_pasted_from_kafka_connect_is_accepted() {
        assert_snapshot!(problems(&[
            ("topics.regex", "fms\\..*\\.real"),
            ("tasks.max", "4"),
            ("key.converter", STRING),
            ("key.converter.schemas.enable", "false"),
            ("value.converter", JSON),
            ("value.converter.schemas.enable", "false"),
            ("header.converter", SIMPLE_HEADERS),
            ("errors.tolerance", "all"),
            ("errors.deadletterqueue.topic.name", "dlq"),
            ("errors.deadletterqueue.topic.replication.factor", "1"),
        ]), @"");
    }

    #[test]
    fn what_is_not_honoured_is_refused_with_the_reason() {
        assert_snapshot!(problems(&[("topics", "t"), ("value.converter", JSON)]), @r#"connector `raw`: `value.converter.schemas.enable`: has to be set, because Kafka Connect's default is true: set false for plain JSON, and true for values that are {"schema": …, "payload": …}"#);
        assert_snapshot!(problems(&[("topics", "t"), ("value.converter", "io.confluent.connect.avro.AvroConverter")]), @"connector `raw`: `value.converter` = `io.confluent.connect.avro.AvroConverter`: values are read as JSON objects, and there is no schema registry; allowed: org.apache.kafka.connect.json.JsonConverter");
        assert_snapshot!(problems(&[("topics", "t"), ("s3.part.retries", "3")]), @"connector `raw`: `s3.part.retries`: is not supported: use `errors.retry.timeout`");
        assert_snapshot!(problems(&[("topics", "t"), ("behavior.on.null.values", "dead letter")]), @"connector `raw`: `behavior.on.null.values` = `dead letter`: is not allowed; allowed: ignore, fail, deadletter; did you mean `deadletter`?");
    }

    #[test]
    fn schemas_and_one_transform_are_understood() {
        const EXTRACT: &str = "org.apache.kafka.connect.transforms.ExtractField$Value";
        let schemas = [("value.converter", JSON), ("value.converter.schemas.enable", "true")];
        let transform = |class, more: &[(&'static str, &'static str)]| {
            let base =
                [("topics", "t"), ("transforms", "a"), ("transforms.a.type", class), ("transforms.a.field", "after")];
            problems(&[&base[..], &schemas, more].concat())
        };
        assert_eq!(transform(EXTRACT, &[]), "");
        let values =
            [("name", "raw"), ("connector.class", "S3"), ("transforms", " a "), ("transforms.a.type", EXTRACT)];
        let values = values.into_iter().chain([("transforms.a.field", "after")]);
        let values = values.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        assert_eq!(Config::new("raw", &[COMMON], values).unwrap().get("converter.extract.field"), Some("after"));
        // Anything more is a chain of transforms.
        assert_eq!(transform("org.apache.kafka.connect.transforms.ExtractField$Key", &[]), "");
        assert_snapshot!(transform(EXTRACT, &[("transforms.b.type", "x")]), @"connector `raw`: `transforms.b.type` = `x`: belongs to nothing that `transforms` names");
        assert_snapshot!(transform(EXTRACT, &[("converter.extract.field", "x")]), @"connector `raw`: `converter.extract.field` = `x`: has no defined order beside `transforms`: name an ExtractField$Value there instead");
    }

    #[test]
    fn what_would_have_no_effect_is_refused() {
        let stray = [
            ("topics", "a"),
            ("behavior.on.null.values", "deadletter"),
            ("errors.deadletterqueue.context.headers.enable", "true"),
            ("errors.deadletterqueue.topic.replication.factor", "3"),
            ("errors.log.include.messages", "true"),
        ];
        assert_snapshot!(problems(&stray), @r"
        connector `raw`: `errors.deadletterqueue.context.headers.enable` = `true`: has no effect without errors.deadletterqueue.topic.name
        connector `raw`: `errors.deadletterqueue.topic.replication.factor` = `3`: has no effect without errors.deadletterqueue.topic.name
        connector `raw`: `errors.log.include.messages` = `true`: has no effect without errors.log.enable = `true`
        connector `raw`: `behavior.on.null.values` = `deadletter`: needs a dead-letter queue: set errors.deadletterqueue.topic.name
        ");
        assert_snapshot!(problems(&[("topics", "a"), (DEAD_LETTER_TOPIC, "b")]), @"connector `raw`: `errors.deadletterqueue.topic.name` = `b`: has no effect with errors.tolerance = `none`, which stops at the first error: set that to `all`");
        let problem = problems(&[("topics.regex", r"fms\d")]);
        assert!(problem.contains("is not understood by Kafka's client"), "{problem}");
        assert_eq!(problems(&[("topics.regex", r"fms\.[a-z]+\.(real|test)")]), "");
    }

    #[test]
    fn topics_are_given_in_exactly_one_way_and_never_read_the_dead_letters() {
        assert_snapshot!(problems(&[]), @"connector `raw`: `topics`: is missing: set either `topics` or `topics.regex`");
        assert_snapshot!(problems(&[("topics", "a"), ("topics.regex", "b")]), @"connector `raw`: `topics` = `a`: excludes `topics.regex`: remove one of the two");
        assert_snapshot!(problems(&[("topics.regex", "a(")]), @"connector `raw`: `topics.regex` = `a(`: is not a regular expression: found open group without closing ')'");
        assert_snapshot!(problems(&[("topics.regex", "fms.*"), ("errors.tolerance", "all"), ("errors.deadletterqueue.topic.name", "fms.dlq")]), @"connector `raw`: `errors.deadletterqueue.topic.name` = `fms.dlq`: is one of the topics that this connector reads, so its dead letters would come back for ever");
        // The name that is used is the one without the blanks.
        for source in [("topics", "a, fms.dlq"), ("topics.regex", "fms\\.dlq")] {
            let problems = problems(&[source, ("errors.tolerance", "all"), (DEAD_LETTER_TOPIC, " fms.dlq\t")]);
            assert!(problems.contains("is one of the topics that this connector reads"), "{source:?}: {problems}");
        }
    }
}
