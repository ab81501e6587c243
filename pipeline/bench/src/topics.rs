//! The topics, whose messages have a known size and whose rows are numbered from 0.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Context;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

/// The number of rows in a message that is unrolled.
const LIST: u64 = 60;

/// The text before the number of a row, in JSON and in the JSON of DynamoDB.
pub const MARKS: [&str; 2] = [r#""row":"#, r#""row":{"N":""#];

/// A kind of message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// One row of about 295 bytes.
    Flat,
    /// A list of 60 rows, about 17.8 KB.
    Unrolled,
}

/// How much a topic has of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// The number of its messages.
    pub messages: u64,
    /// The number of its partitions, to which messages are sent in turn.
    pub partitions: u16,
    /// The number of vehicles whose messages they are. Each has a key of its own.
    pub keys: u64,
}

impl Shape {
    /// So many messages of 100 vehicles in 4 partitions.
    pub fn of(messages: u64) -> Self {
        Self { messages, partitions: 4, keys: 100 }
    }
}

/// A topic that has been filled.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// What it has.
    pub shape: Shape,
    /// The number of rows in all its messages.
    pub rows: u64,
}

/// Creates a topic and fills it with record batches of 128 KiB.
pub async fn fill(servers: &str, name: String, kind: MessageKind, shape: Shape) -> anyhow::Result<Topic> {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", servers);
    let admin: AdminClient<DefaultClientContext> = client.create()?;
    let new = NewTopic::new(&name, i32::from(shape.partitions), TopicReplication::Fixed(1));
    let made = admin.create_topics([&new], &AdminOptions::new()).await?;
    if let Some(Err((topic, error))) = made.into_iter().next() {
        anyhow::bail!("creating topic {topic} at {servers}: {error}");
    }
    let producer: BaseProducer = client
        .set("batch.size", "131072")
        .set("batch.num.messages", "100000")
        .set("linger.ms", "50")
        .set("queue.buffering.max.kbytes", "65536")
        .create()?;
    let rows_each = if kind == MessageKind::Flat { 1 } else { LIST };
    let topic = Topic { name, shape, rows: shape.messages * rows_each };
    let sent = topic.clone();
    tokio::task::spawn_blocking(move || send(&producer, &sent, kind)).await??;
    Ok(topic)
}

/// Deletes a topic.
pub async fn remove(servers: &str, topic: &str) -> anyhow::Result<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", servers).create()?;
    admin.delete_topics(&[topic], &AdminOptions::new()).await.with_context(|| format!("removing topic {topic}"))?;
    Ok(())
}

fn send(producer: &BaseProducer, topic: &Topic, kind: MessageKind) -> anyhow::Result<()> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut payload = String::new();
    for number in 0..topic.shape.messages {
        payload.clear();
        let vehicle = 10_000 + number % topic.shape.keys;
        match kind {
            MessageKind::Flat => flat(&mut payload, &mut random, vehicle, number),
            MessageKind::Unrolled => unrolled(&mut payload, &mut random, vehicle, number * LIST),
        }
        let key = vehicle.to_string();
        let partition = i32::try_from(number % u64::from(topic.shape.partitions))?;
        let mut record = BaseRecord::to(&topic.name).partition(partition).key(&key).payload(&payload);
        while let Err((error, back)) = producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(error).with_context(|| format!("filling topic {}", topic.name));
            }
            producer.poll(Duration::from_millis(10));
            record = back;
        }
    }
    producer.flush(Duration::from_mins(1)).with_context(|| format!("filling topic {}", topic.name))
}

const IDENTITY: &str = r#""object":"vehicle","type":"kinematic","command":"report","version":"1.2.0""#;

fn flat(out: &mut String, random: &mut fastrand::Rng, vehicle: u64, row: u64) {
    let _infallible = write!(out, r#"{{{IDENTITY},"id":"{vehicle}","#);
    measurement(out, random, row);
    out.push('}');
}

fn unrolled(out: &mut String, random: &mut fastrand::Rng, vehicle: u64, first: u64) {
    let _infallible = write!(out, r#"{{{IDENTITY},"id":"{vehicle}","measurements":["#);
    for row in first..first + LIST {
        out.push_str(if row == first { "{" } else { ",{" });
        measurement(out, random, row);
        let _infallible = write!(
            out,
            r#","yaw_rate":{:.4},"fuel_level":{:.2},"engine_speed":{},"coolant_temperature":{:.2}}}"#,
            random.f64() - 0.5,
            random.f64() * 100.0,
            random.u32(700..4000),
            90.0 + random.f64(),
        );
    }
    out.push_str("]}");
}

/// Writes the fields that differ from row to row. The event time advances by a millisecond for each row, so the rows of
/// an hour lie in two hourly folders at most.
fn measurement(out: &mut String, random: &mut fastrand::Rng, row: u64) {
    let (minute, second, milli) = (row / 60_000 % 60, row / 1000 % 60, row % 1000);
    let mut degrees = |from: f64| from + random.f64() / 10.0;
    let (latitude, longitude) = (degrees(37.5), degrees(126.9));
    let mut g = || random.f64() * 4.0 - 2.0;
    let (x, y, z) = (g(), g(), g() + 9.81);
    let _infallible = write!(
        out,
        r#""timestamp_iso":"2024-09-07T16:{minute:02}:{second:02}.{milli:03}+09:00","row":{row},"latitude":{latitude:.6},"longitude":{longitude:.6},"speed":{:.1},"heading":{:.1},"accel_x":{x:.3},"accel_y":{y:.3},"accel_z":{z:.3},"odometer":{:.1}"#,
        random.f64() * 120.0,
        random.f64() * 360.0,
        100_000.0 + random.f64() * 100_000.0,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages have the sizes that the published figures name.
    #[test]
    fn messages_have_their_size() {
        let mut random = fastrand::Rng::with_seed(1);
        let (mut one, mut list) = (String::new(), String::new());
        flat(&mut one, &mut random, 10_022, 1_234_567);
        unrolled(&mut list, &mut random, 10_022, 1_234_560);
        assert!((285..305).contains(&one.len()), "{}: {one}", one.len());
        assert!((17_000..18_500).contains(&list.len()), "{}", list.len());
        for text in [one, list] {
            let read: Result<serde_json::Value, _> = serde_json::from_str(&text);
            assert!(read.is_ok(), "{text}");
        }
    }
}
