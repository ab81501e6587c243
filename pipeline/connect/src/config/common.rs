//! The keys that every connector has, as Kafka Connect names them, and those of Kafka Connect's that are refused with a reason.

use regex::Regex;

use super::{Config, ConfigError, Key, Kind};
use crate::deadletter;

const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";
const STRING: &str = "org.apache.kafka.connect.storage.StringConverter";
const BYTES: &str = "org.apache.kafka.connect.converters.ByteArrayConverter";
const SIMPLE_HEADERS: &str = "org.apache.kafka.connect.storage.SimpleHeaderConverter";

const LETTERS: &str = "errors.deadletterqueue.topic.name";

const fn key(name: &'static str, kind: Kind, default: Option<&'static str>, doc: &'static str) -> Key {
    Key { name, kind, default, required: false, in_intent: false, doc }
}

/// The keys that every connector has. Defaults are Kafka Connect's.
pub const COMMON: &[Key] = &[
    Key {
        required: true,
        ..key(
            "name",
            Kind::Text,
            None,
            "the connector's name, unique within the worker; its consumer group is `connect-<name>`, so another name reads everything again",
        )
    },
    Key { required: true, ..key("connector.class", Kind::Text, None, "the kind of sink") },
    key("topics", Kind::List, None, "topics to read, separated by commas; every one has to exist at start"),
    key("topics.regex", Kind::Text, None, "reads every topic whose whole name matches, topics created later included"),
    key(
        "tasks.max",
        Kind::Int(1, 1000),
        Some("1"),
        "tasks this worker runs; more tasks than partitions leave some idle",
    ),
    key("key.converter", Kind::Text, None, "keys are kept byte for byte"),
    key("key.converter.schemas.enable", Kind::Bool, None, "without effect on keys that are kept byte for byte"),
    key("value.converter", Kind::Text, None, "values are read as JSON, their text is kept"),
    Key {
        in_intent: true,
        ..key(
            "value.converter.schemas.enable",
            Kind::Bool,
            None,
            "false, or unset without `value.converter`: a value is the message; true: it is `{\"schema\": …, \"payload\": …}`, as Kafka \
             Connect's JsonConverter writes it, and its payload is the message",
        )
    },
    key("header.converter", Kind::Text, None, "headers are kept byte for byte in dead letters"),
    Key {
        in_intent: true,
        ..key(
            "converter.extract.field",
            Kind::Text,
            None,
            "the field, or path such as `payload.after`, whose object is the message, as the transform ExtractField$Value has it; one that \
             is null is a null value, see `behavior.on.null.values`",
        )
    },
    Key {
        in_intent: true,
        ..key(
            "converter.split.list.key",
            Kind::Text,
            None,
            "the field, or path such as `data.dp`, whose list becomes one row an element, with the envelope's other fields; what holds a \
             list that lies deeper stays in the row without it; `$` is the list that a message itself is; unset, a message is one row",
        )
    },
    Key {
        in_intent: true,
        ..key(
            "converter.split.list.optional",
            Kind::Text,
            Some("command=command|response"),
            "which messages may go without the list and are one row themselves: those in which a field has one of these values \
             (`field=value|value`), or `all`; others go to the dead letters",
        )
    },
    Key {
        in_intent: true,
        ..key(
            "converter.required.fields",
            Kind::List,
            None,
            "fields that a message has to have, as a number or a string that is not empty (`name:string`: as such a string), else it goes \
             to the dead letters; unset, `object:string,type:string,id` with a list and none without; empty, none",
        )
    },
    Key {
        in_intent: true,
        ..key(
            "converter.update.fields.template",
            Kind::List,
            None,
            "fields set in every row, as `name=template` separated by commas, e.g. `pk=${id}#${object}`; a template has fields \
             (`${id}`), paths (`${position.speed}`), alternatives (`${a|b}`), the record's `${@key}`, `${@topic}`, `${@partition}`, \
             `${@offset}`, `${@timestamp}` and `${@header.NAME}`, and the row's `${@index}` and `${@digest}`",
        )
    },
    key(
        "errors.tolerance",
        Kind::OneOf(&["none", "all"]),
        Some("none"),
        "none: a record or row that cannot be stored fails the task; all: it goes to the dead-letter queue, and is lost if there is none",
    ),
    key(
        "errors.retry.timeout",
        Kind::Int(-1, i64::MAX),
        Some("0"),
        "milliseconds for which a call that may yet succeed is tried again; -1 is without end, 0 is not at all",
    ),
    key(
        "errors.retry.delay.max.ms",
        Kind::Int(1, i64::MAX),
        Some("60000"),
        "longest wait between two tries, milliseconds",
    ),
    key("errors.log.enable", Kind::Bool, Some("false"), "whether every tolerated error is logged; failures always are"),
    key(
        "errors.log.include.messages",
        Kind::Bool,
        Some("false"),
        "whether that log line shows where the record is from: topic, partition, offset, timestamp",
    ),
    key(
        "errors.deadletterqueue.topic.name",
        Kind::Text,
        Some(""),
        "the topic for what cannot be stored; empty is none",
    ),
    key(
        "errors.deadletterqueue.topic.replication.factor",
        Kind::Int(1, 32767),
        None,
        "replicas of that topic if it has to be created; unset, the broker decides",
    ),
    key(
        "errors.deadletterqueue.context.headers.enable",
        Kind::Bool,
        Some("false"),
        "whether dead letters say in `__connect.errors.*` headers where they are from and what is wrong",
    ),
    key(
        "behavior.on.null.values",
        Kind::OneOf(&["ignore", "fail", "deadletter"]),
        Some("fail"),
        "what a record without value (a tombstone) is: skipped, a failure of the task, or a dead letter",
    ),
];

/// Keys of Kafka Connect and of its sinks that mean something which is not done here. A `*` at the end stands for any rest.
const REFUSED: &[(&str, &str)] = &[
    (
        "transforms*",
        "single message transforms do not run here; `converter.split.list.key` unrolls lists and `converter.update.fields.template` sets \
         fields; a single ExtractField$Value with its `field` is understood, as `converter.extract.field`",
    ),
    ("predicates*", "single message transforms, and so their predicates, do not run here"),
    ("confluent.*", "there is no licence and no metrics reporter; remove it"),
    ("reporter.*", "there is no reporter; results are metrics on `/metrics` and dead letters"),
    ("key.converter.*", "keys are kept byte for byte; remove it"),
    ("value.converter.*", "values are read as JSON and their text is kept; remove it"),
    ("header.converter.*", "headers are kept byte for byte; remove it"),
    ("config.action.reload", "connectors are read when the worker starts; restart the worker to reload"),
    ("tasks.max.enforce", "`tasks.max` is always enforced; remove it"),
    ("errors.deadletterqueue.producer.*", "use `producer.override.`"),
    ("consumer.*", "use `consumer.override.` in a connector, or `CONNECT_CONSUMER_…` in the worker's environment"),
    ("producer.*", "use `producer.override.` in a connector, or `CONNECT_PRODUCER_…` in the worker's environment"),
    ("group.id", "the group is always `connect-<name>`"),
    (
        "auto.offset.reset",
        "a new connector always starts at the earliest offset; an offset out of range is an error, not a jump",
    ),
    ("bootstrap.servers", "the worker's environment says it: `KAFKA_BOOTSTRAP_SERVERS`"),
    ("offset.flush.*", "it is the worker's: `CONNECT_OFFSET_FLUSH_INTERVAL_MS` in its environment"),
    ("buffer.memory", "it is the worker's: `CONNECT_BUFFER_MEMORY` in its environment"),
    ("listeners", "it is the worker's: `CONNECT_LISTENERS` in its environment"),
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
    ("schema.*", "values have no schema here"),
];

/// Why this key of Kafka Connect is not supported, and what to use instead; `None` for a key that is nobody's.
pub fn refused(key: &str) -> Option<&'static str> {
    let matches = |pattern: &str| match pattern.strip_suffix('*') {
        Some(prefix) => key.starts_with(prefix),
        None => key == pattern,
    };
    REFUSED.iter().find(|(pattern, _)| matches(pattern)).map(|(_, reason)| *reason)
}

/// Checks of [`COMMON`] keys that go together, and of the values whose meaning is not honoured. Every problem found.
pub fn check(config: &Config) -> Vec<ConfigError> {
    let mut problems = Vec::new();
    let mut problem = |key: &str, text: &str| problems.push(config.error(key, text));

    match (config.list("topics").is_empty(), config.get("topics.regex")) {
        (true, None) => problem("topics", "is missing: set either `topics` or `topics.regex`"),
        (false, Some(_)) => problem("topics", "and `topics.regex` exclude each other: remove one"),
        (true, Some(pattern)) => {
            if let Err(error) = topic_pattern(pattern) {
                problem("topics.regex", &format!("is not a regular expression: {error}"));
            }
        }
        (false, None) => {}
    }
    let letters = deadletter::topic(config);
    let pattern = config.get("topics.regex").and_then(|pattern| topic_pattern(pattern).ok());
    if letters.is_some_and(|topic| {
        config.list("topics").contains(&topic) || pattern.is_some_and(|pattern| pattern.is_match(topic))
    }) {
        problem(LETTERS, "is one of the topics this connector reads: its dead letters would come back for ever");
    }

    let (tolerant, letters) = (config.text("errors.tolerance") == "all", letters.is_some());
    if letters && !tolerant {
        problem(
            LETTERS,
            "has no effect with errors.tolerance = `none`, which stops at the first error: set that to `all`",
        );
    }
    if !letters && config.bool("errors.deadletterqueue.context.headers.enable") {
        problem(
            "errors.deadletterqueue.context.headers.enable",
            "has no effect without errors.deadletterqueue.topic.name",
        );
    }
    if config.text("behavior.on.null.values") == "deadletter" && !letters {
        problem("behavior.on.null.values", "there is no dead-letter queue: set errors.deadletterqueue.topic.name");
    }

    if let Some(converter) = config.get("key.converter")
        && ![STRING, BYTES].contains(&converter)
    {
        problem("key.converter", &format!("keys are kept byte for byte and never read; allowed: {BYTES}, {STRING}"));
    }
    if let Some(converter) = config.get("value.converter") {
        if converter == JSON && config.get("value.converter.schemas.enable").is_none() {
            problem(
                "value.converter.schemas.enable",
                "has to be set, for Kafka Connect's default is true: false for plain JSON, true for values that are {\"schema\": …, \"payload\": …}",
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
    problems
}

/// `topics.regex` as Kafka Connect means it: the whole name has to match.
///
/// librdkafka matches with the C library's extended regular expressions, so what only one of the two understands is refused.
pub fn topic_pattern(pattern: &str) -> Result<Regex, String> {
    let foreign = Regex::new(r"\\[A-Za-z0-9]|\(\?|[*+?}][?+]|\[\[:\^").map_err(|error| error.to_string())?;
    if let Some(found) = foreign.find(pattern) {
        return Err(format!(
            "`{}` is not understood by Kafka's client, which takes POSIX extended regular expressions: write `[0-9]` for `\\d`, `(…)` for `(?:…)`",
            found.as_str()
        ));
    }
    Regex::new(&format!("^(?:{pattern})$")).map_err(|error| match error {
        // The error shows the pattern with the anchors; the last line is what is wrong with it.
        regex::Error::Syntax(text) => text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
        other => other.to_string(),
    })
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
        assert_snapshot!(problems(&[("topics", "t"), ("value.converter", JSON)]), @r#"connector `raw`: `value.converter.schemas.enable`: has to be set, for Kafka Connect's default is true: false for plain JSON, true for values that are {"schema": …, "payload": …}"#);
        assert_snapshot!(problems(&[("topics", "t"), ("value.converter", "io.confluent.connect.avro.AvroConverter")]), @"connector `raw`: `value.converter` = `io.confluent.connect.avro.AvroConverter`: values are read as JSON objects, and there is no schema registry; allowed: org.apache.kafka.connect.json.JsonConverter");
        assert_snapshot!(problems(&[("topics", "t"), ("transforms.a.type", "x")]), @"connector `raw`: `transforms.a.type`: is not supported: single message transforms do not run here; `converter.split.list.key` unrolls lists and `converter.update.fields.template` sets fields; a single ExtractField$Value with its `field` is understood, as `converter.extract.field`");
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
        for refused in [
            transform("org.apache.kafka.connect.transforms.ExtractField$Key", &[]),
            transform(EXTRACT, &[("transforms.b.type", "x")]),
            transform(EXTRACT, &[("transforms.a.predicate", "x")]),
            transform(EXTRACT, &[("converter.extract.field", "x")]),
        ] {
            assert!(refused.contains("`transforms`: is not supported"), "{refused}");
        }
    }

    #[test]
    fn what_would_have_no_effect_is_refused() {
        let stray = [
            ("topics", "a"),
            ("behavior.on.null.values", "deadletter"),
            ("errors.deadletterqueue.context.headers.enable", "true"),
        ];
        assert_snapshot!(problems(&stray), @r"
        connector `raw`: `errors.deadletterqueue.context.headers.enable` = `true`: has no effect without errors.deadletterqueue.topic.name
        connector `raw`: `behavior.on.null.values` = `deadletter`: there is no dead-letter queue: set errors.deadletterqueue.topic.name
        ");
        assert_snapshot!(problems(&[("topics", "a"), (LETTERS, "b")]), @"connector `raw`: `errors.deadletterqueue.topic.name` = `b`: has no effect with errors.tolerance = `none`, which stops at the first error: set that to `all`");
        for pattern in [r"fms\d", "a(?:b)", "a*?", "(?i)a"] {
            let problem = problems(&[("topics.regex", pattern)]);
            assert!(problem.contains("is not understood by Kafka's client"), "{pattern}: {problem}");
        }
        assert_eq!(problems(&[("topics.regex", r"fms\.[a-z]+\.(real|test)")]), "");
    }

    #[test]
    fn topics_are_given_in_exactly_one_way_and_never_read_the_dead_letters() {
        assert_snapshot!(problems(&[]), @"connector `raw`: `topics`: is missing: set either `topics` or `topics.regex`");
        assert_snapshot!(problems(&[("topics", "a"), ("topics.regex", "b")]), @"connector `raw`: `topics` = `a`: and `topics.regex` exclude each other: remove one");
        assert_snapshot!(problems(&[("topics.regex", "a(")]), @"connector `raw`: `topics.regex` = `a(`: is not a regular expression: unclosed group");
        assert_snapshot!(problems(&[("topics.regex", "fms.*"), ("errors.tolerance", "all"), ("errors.deadletterqueue.topic.name", "fms.dlq")]), @"connector `raw`: `errors.deadletterqueue.topic.name` = `fms.dlq`: is one of the topics this connector reads: its dead letters would come back for ever");
        // The name that is used is the one without the blanks.
        for source in [("topics", "a, fms.dlq"), ("topics.regex", "fms\\.dlq")] {
            let problems = problems(&[source, ("errors.tolerance", "all"), (LETTERS, " fms.dlq\t")]);
            assert!(problems.contains("is one of the topics this connector reads"), "{source:?}: {problems}");
        }
    }

    #[test]
    fn a_topic_pattern_matches_whole_names() {
        let pattern = topic_pattern("a|b").unwrap();
        assert!(pattern.is_match("b") && !pattern.is_match("ab") && !pattern.is_match("bc"));
    }
}
