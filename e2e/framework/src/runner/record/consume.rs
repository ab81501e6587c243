//! Reads the records of a topic that are there when the reading begins.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::stack::Record;

/// How long brokers may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is read.
#[derive(Debug)]
pub(super) struct Source<'s> {
    pub topic: &'s str,
    pub servers: &'s str,
    /// More settings of librdkafka.
    pub settings: &'s [(String, String)],
    /// The first offset of each partition.
    pub from: Option<i64>,
    /// How many records of each partition, counted from its end.
    pub last: Option<i64>,
    /// The most records of all partitions.
    pub most: usize,
}

/// The records, in an order that keeps that of each partition, and otherwise by time. If there are more than asked for,
/// they are the earliest ones.
pub(super) fn read(source: &Source<'_>) -> Result<Vec<Record>, String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        format!(
            "cannot {what} topic {} at {}: {error}; look at --bootstrap-servers and --topic",
            source.topic, source.servers
        )
    };
    let mut config = ClientConfig::new();
    // The group is never joined, and nothing is committed for it.
    config.set("bootstrap.servers", source.servers).set("group.id", "e2e-record").set("enable.auto.commit", "false");
    config.set("enable.partition.eof", "false").set("auto.offset.reset", "earliest");
    for (key, value) in source.settings {
        config.set(key, value);
    }
    let consumer: BaseConsumer = config.create().map_err(|error| failed("start a consumer for", &error))?;
    let metadata = consumer.fetch_metadata(Some(source.topic), PATIENCE).map_err(|error| failed("find", &error))?;
    let partitions: Vec<i32> =
        metadata.topics().iter().flat_map(MetadataTopic::partitions).map(MetadataPartition::id).collect();
    if partitions.is_empty() {
        return Err(failed("find", &"it does not exist"));
    }
    let mut assigned = TopicPartitionList::new();
    let mut ends = BTreeMap::new();
    for partition in partitions {
        let (low, high) = consumer
            .fetch_watermarks(source.topic, partition, PATIENCE)
            .map_err(|error| failed("find the ends of", &error))?;
        let first = source.from.unwrap_or(low).max(source.last.map_or(low, |last| high - last)).max(low);
        if first < high {
            let added = assigned.add_partition_offset(source.topic, partition, Offset::Offset(first));
            added.map_err(|error| failed("read", &error))?;
            ends.insert(partition, high);
        }
    }
    let mut read: BTreeMap<i32, VecDeque<Record>> = BTreeMap::new();
    consumer.assign(&assigned).map_err(|error| failed("read", &error))?;
    let mut deadline = Instant::now() + PATIENCE;
    while !ends.is_empty() {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            // Behind the last record there may be marks of transactions, which are never given.
            let position = consumer.position().map_err(|error| failed("read", &error))?;
            ends.retain(|partition, end| {
                let at = position.find_partition(source.topic, *partition).map(|found| found.offset());
                !matches!(at, Some(Offset::Offset(at)) if at >= *end)
            });
            if Instant::now() > deadline && !ends.is_empty() {
                return Err(failed("read", &format_args!("no record came within {} s", PATIENCE.as_secs())));
            }
            continue;
        };
        let message = message.map_err(|error| failed("read", &error))?;
        deadline = Instant::now() + PATIENCE;
        let (partition, offset) = (message.partition(), message.offset());
        let Some(end) = ends.get(&partition).copied() else { continue };
        if offset < end {
            let of = read.entry(partition).or_default();
            of.push_back(record(&message));
            // No partition gives more than all together may.
            if offset + 1 >= end || of.len() >= source.most {
                ends.remove(&partition);
            }
        } else {
            ends.remove(&partition);
        }
    }
    Ok(merged(read, source.most))
}

/// The records of all partitions, always that of the earliest time next.
fn merged(mut read: BTreeMap<i32, VecDeque<Record>>, most: usize) -> Vec<Record> {
    let mut records = Vec::new();
    while records.len() < most {
        let heads = read.iter().filter_map(|(partition, of)| Some((of.front()?.timestamp, *partition)));
        let Some((_, next)) = heads.min() else { break };
        records.extend(read.get_mut(&next).and_then(VecDeque::pop_front));
    }
    records
}

fn record(message: &rdkafka::message::BorrowedMessage<'_>) -> Record {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    Record {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().unwrap_or(0),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_merged_by_time_and_each_keeps_its_order() {
        let record = |partition: i32, offset: i64, timestamp: i64| Record {
            topic: "t".into(),
            partition,
            offset,
            timestamp,
            key: None,
            value: None,
            headers: Vec::new(),
        };
        // In partition 1, a late record comes before an earlier one.
        let read = || {
            BTreeMap::from([
                (0, VecDeque::from([record(0, 0, 10), record(0, 1, 30)])),
                (1, VecDeque::from([record(1, 0, 20), record(1, 1, 5)])),
            ])
        };
        let order = |most: usize| -> Vec<(i32, i64)> {
            merged(read(), most).iter().map(|record| (record.partition, record.offset)).collect()
        };
        assert_eq!(order(9), [(0, 0), (1, 0), (1, 1), (0, 1)]);
        assert_eq!(order(2), [(0, 0), (1, 0)]);
    }
}
