//! A dead letter that is larger than the `max.message.bytes` of its topic arrives without the parts that do not fit.
//!
//! The embedded broker has no such limit, so this needs a real one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fms_connect::config::common::COMMON;
use fms_connect::deadletter::{DeadLetter, DeadLetterQueue, ErrorStage};
use fms_connect::{Budget, Config, Origin, TopicPartition};
use libtest_mimic::Failed;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use super::runs::wait_until;

const TOPIC: &str = "letters";

/// The `max.message.bytes` of the topic.
const LIMIT: usize = 100_000;

/// How long it may take to deliver a letter, including the attempts that the topic refuses.
const DELIVERY: Duration = Duration::from_secs(20);

/// The sizes of the parts of a letter that can be large.
struct Letter {
    value: Vec<u8>,
    header: usize,
    key: usize,
    error: usize,
}

impl Letter {
    fn make(self, random: &mut fastrand::Rng, offset: i64) -> DeadLetter {
        let origin = Origin {
            partition: TopicPartition { topic: "t".into(), partition: 0 },
            offset,
            timestamp: None,
            key: Some(bytes(random, self.key)),
            headers: vec![("own".to_owned(), Some(bytes(random, self.header)))],
        };
        let error = std::iter::repeat_with(|| random.alphanumeric()).take(self.error).collect();
        DeadLetter {
            origin: Arc::new(origin),
            value: Some(self.value),
            row: None,
            stage: ErrorStage::ValueConverter,
            error_class: "Wrong",
            error,
            request_id: None,
        }
    }
}

/// Random bytes, which cannot be compressed.
fn bytes(random: &mut fastrand::Rng, count: usize) -> Vec<u8> {
    std::iter::repeat_with(|| random.u8(..)).take(count).collect()
}

/// Checks that each letter arrives with as much as the topic accepts, and names what it lacks.
pub fn arrive_with_what_fits(servers: &str) -> Result<(), Failed> {
    let client = ClientConfig::new().set("bootstrap.servers", servers).clone();
    let admin: AdminClient<DefaultClientContext> = client.create()?;
    let limit = LIMIT.to_string();
    let topic = NewTopic::new(TOPIC, 1, TopicReplication::Fixed(1)).set("max.message.bytes", &limit);
    let created = e2e::internals::docker::runtime()?.block_on(admin.create_topics([&topic], &AdminOptions::new()))?;
    created
        .into_iter()
        .collect::<Result<Vec<_>, _>>()
        .map_err(|(topic, error)| format!("creating {topic}: {error}"))?;

    let random = &mut fastrand::Rng::with_seed(7);
    let whole = || Letter { value: b"{".to_vec(), header: 1, key: 1, error: 1 };
    let letters = [
        // The first value compresses well; the second is just below the limit.
        (Letter { value: vec![b'x'; 30 * LIMIT], ..whole() }, "key 1, value 3000000, own 1, message 1"),
        (Letter { value: bytes(random, LIMIT * 99 / 100), ..whole() }, "key 1, value 99000, own 1, message 1"),
        (
            Letter { value: bytes(random, LIMIT * 9 / 10), error: LIMIT, ..whole() },
            "key 1, value 90000, own 1, message 259",
        ),
        (Letter { value: bytes(random, LIMIT - 200), ..whole() }, "key 1, value 99800, own 1"),
        (Letter { value: bytes(random, 2 * LIMIT), ..whole() }, "key 1, own 1, message 1, value.size 200000"),
        (Letter { header: 2 * LIMIT, ..whole() }, "key 1, value 1, message 1, headers.size 200003"),
        (Letter { key: 2 * LIMIT, ..whole() }, "value 1, own 1, message 1, key.size 200000"),
        (
            Letter { value: bytes(random, 4 * LIMIT), header: 3 * LIMIT, key: 2 * LIMIT, error: LIMIT },
            "message 259, value.size 400000, headers.size 300003, key.size 200000",
        ),
    ];

    let settings = [
        ("name", "c"),
        ("connector.class", "x"),
        ("topics", "t"),
        ("errors.deadletterqueue.topic.name", TOPIC),
        ("errors.deadletterqueue.context.headers.enable", "true"),
    ];
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let config = Config::new("c", &[COMMON], BTreeMap::from(settings))?;
    let queue = DeadLetterQueue::start(&config, 0, &client, &Budget::new(64 << 20));
    let mut queue = queue.map_err(|problems| problems[0].to_string())?.ok_or("no dead-letter queue")?;
    let partition = TopicPartition { topic: "t".into(), partition: 0 };
    let (mut expected, mut offset) = (Vec::new(), 0);
    for (letter, arrives) in letters {
        queue.send(letter.make(random, offset));
        offset += 1;
        wait_until(arrives, DELIVERY, || match queue.acknowledged(&partition, offset) {
            Ok(true) => Ok(()),
            Ok(false) => Err("it is not acknowledged".to_owned()),
            Err(error) => Err(error.to_string()),
        })?;
        expected.push(arrives.to_owned());
    }
    Ok(super::expect_eq("what arrived", arrived(&client, expected.len())?, expected)?)
}

/// Reads the letters back and returns the sizes of the parts of each.
fn arrived(client: &ClientConfig, count: usize) -> Result<Vec<String>, Failed> {
    let consumer: BaseConsumer = client.clone().set("group.id", "letters").create()?;
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(TOPIC, 0, Offset::Beginning)?;
    consumer.assign(&partitions)?;
    let mut letters = Vec::new();
    while letters.len() < count {
        let letter = consumer.poll(DELIVERY).ok_or("no letter")??;
        let mut parts = Vec::new();
        parts.extend(letter.key().map(|key| format!("key {}", key.len())));
        parts.extend(letter.payload().map(|value| format!("value {}", value.len())));
        for header in letter.headers().into_iter().flat_map(Headers::iter) {
            let value = header.value.unwrap_or_default();
            match header.key.trim_start_matches("__connect.errors.") {
                "own" => parts.push(format!("own {}", value.len())),
                "exception.message" => parts.push(format!("message {}", value.len())),
                size @ ("value.size" | "headers.size" | "key.size") => {
                    parts.push(format!("{size} {}", String::from_utf8_lossy(value)));
                }
                _ => {}
            }
        }
        letters.push(parts.join(", "));
    }
    Ok(letters)
}
