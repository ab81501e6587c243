//! The records of a topic, by their times: always the earliest of those that its partitions have next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer as _, DefaultConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::{Next, Recorded, ReplayError, Source};

/// How long brokers may take to answer.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long one look waits.
const LOOK: Duration = Duration::from_millis(50);
/// How much of each partition waits in the client, in KiB, and in records.
const QUEUE: (&str, &str) = ("1024", "1000");

/// What is read.
#[derive(Debug, Clone)]
pub struct TopicSettings {
    /// The topic.
    pub topic: String,
    /// `host:port`, several with commas between them.
    pub bootstrap_servers: String,
    /// More settings of librdkafka's consumer, such as those of TLS.
    pub consumer: Vec<(String, String)>,
    /// Records from this time on, in milliseconds since the Unix epoch; from the beginning if there is none.
    pub since: Option<i64>,
    /// Where partitions are read from instead, by their numbers. Partitions that are not in it are new, and read from their
    /// beginning. `None` if [`Self::since`] says where it begins.
    pub offsets: Option<BTreeMap<i32, i64>>,
    /// Records from before this time.
    pub until: Option<i64>,
    /// Whether it goes on with records that come later. Else it ends with what is there when it begins.
    pub follow: bool,
}

/// A topic. No group is joined, and nothing is committed.
pub struct Topic {
    settings: TopicSettings,
    consumer: Arc<BaseConsumer>,
    partitions: Vec<Partition>,
    /// The record that was given last: its partition by its place, and the offset behind it.
    given: Option<(usize, i64)>,
    /// When something came last, and what went wrong since then.
    heard: Instant,
    trouble: Option<KafkaError>,
}

struct Partition {
    queue: PartitionQueue<DefaultConsumerContext>,
    number: i32,
    /// The offset behind the last record that is wanted.
    end: i64,
    /// The offset of the first record that was not given, or that nobody is known to have done with.
    next: i64,
    /// The next record, with the offset behind it.
    head: Option<(Recorded, i64)>,
    /// Whether there is no record at the moment, or none that is wanted.
    is_at_end: bool,
}

fn failed<E: ToString>(settings: &TopicSettings, doing: &'static str) -> impl Fn(E) -> ReplayError {
    let (topic, servers) = (settings.topic.clone(), settings.bootstrap_servers.clone());
    move |problem| ReplayError::Topic {
        doing,
        topic: topic.clone(),
        servers: servers.clone(),
        problem: problem.to_string(),
    }
}

impl Topic {
    /// Begins to read.
    pub fn open(settings: TopicSettings) -> Result<Self, ReplayError> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &settings.bootstrap_servers).set("client.id", "fms-replay");
        config.set("group.id", "fms-replay").set("queued.max.messages.kbytes", QUEUE.0);
        config.set("queued.min.messages", QUEUE.1);
        for (name, value) in &settings.consumer {
            config.set(name, value);
        }
        config.set("enable.auto.commit", "false").set("enable.partition.eof", "true");
        // What is asked for by its offset and is not there any more is lost, and nobody shall miss it in silence.
        config.set("auto.offset.reset", if settings.offsets.is_some() { "error" } else { "earliest" });
        let consumer: BaseConsumer = config.create().map_err(failed(&settings, "start a consumer for"))?;
        let (consumer, topic) = (Arc::new(consumer), settings.topic.as_str());
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).map_err(failed(&settings, "find"))?;
        let numbers: Vec<i32> =
            metadata.topics().iter().flat_map(MetadataTopic::partitions).map(MetadataPartition::id).collect();
        if numbers.is_empty() {
            return Err(failed(&settings, "find")("it does not exist"));
        }
        let reading = "read";
        let mut assigned = TopicPartitionList::new();
        let offsets = settings.offsets.as_ref();
        if let Some(other) = offsets.and_then(|offsets| offsets.keys().find(|number| !numbers.contains(number))) {
            return Err(failed(&settings, "find")(format!("it has no partition {other}")));
        }
        let first = settings.since.filter(|_| offsets.is_none()).map_or(Offset::Beginning, Offset::Offset);
        for number in &numbers {
            let first = offsets.and_then(|offsets| offsets.get(number)).map_or(first, |offset| Offset::Offset(*offset));
            assigned.add_partition_offset(topic, *number, first).map_err(failed(&settings, reading))?;
        }
        if settings.since.is_some() && offsets.is_none() {
            // The offsets that are asked for are times, and the answer has offsets.
            assigned = consumer.offsets_for_times(assigned, PATIENCE).map_err(failed(&settings, "find a time in"))?;
        }
        // Before partitions are read: otherwise their first records would come by the queue of all partitions.
        let mut partitions = Vec::new();
        for number in numbers {
            let (begin, end) =
                consumer.fetch_watermarks(topic, number, PATIENCE).map_err(failed(&settings, "find the ends of"))?;
            let queue = consumer.split_partition_queue(topic, number);
            let queue = queue.ok_or_else(|| failed(&settings, reading)(format!("partition {number} is not there")))?;
            let first = assigned.find_partition(topic, number);
            let next = match first.as_ref().map(TopicPartitionListElem::offset) {
                Some(Offset::Offset(offset)) => offset,
                Some(Offset::Beginning) => begin,
                _ => end,
            };
            let is_at_end = end == 0 && !settings.follow;
            partitions.push(Partition { queue, number, end, next, head: None, is_at_end });
        }
        consumer.assign(&assigned).map_err(failed(&settings, reading))?;
        Ok(Self { consumer, partitions, given: None, heard: Instant::now(), trouble: None, settings })
    }

    /// Looks for the next record of a partition.
    fn look(&mut self, at: usize, patience: Duration) -> Result<(), ReplayError> {
        let Self { settings, partitions, heard, trouble, .. } = self;
        let partition = &mut partitions[at];
        match partition.queue.poll(patience) {
            None => {}
            Some(Ok(record)) => {
                (*heard, *trouble) = (Instant::now(), None);
                let (is_behind, behind) = (record.offset() >= partition.end && !settings.follow, record.offset() + 1);
                let recorded = recorded(&record);
                drop(record);
                if is_behind {
                    partition.is_at_end = true;
                } else if settings.until.is_none_or(|until| recorded.at < until) {
                    (partition.head, partition.is_at_end) = (Some((recorded, behind)), false);
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {
                *heard = Instant::now();
                partition.is_at_end = true;
            }
            Some(Err(error)) => self.error(error)?,
        }
        Ok(())
    }

    /// A broker that is away comes back, for some time.
    fn error(&mut self, error: KafkaError) -> Result<(), ReplayError> {
        use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, OperationTimedOut, Resolve};
        match error.rdkafka_error_code() {
            Some(AllBrokersDown | BrokerTransportFailure | OperationTimedOut | Resolve) => self.trouble = Some(error),
            _ => return Err(failed(&self.settings, "read")(error)),
        }
        Ok(())
    }
}

impl Source for Topic {
    fn next(&mut self) -> Result<Next, ReplayError> {
        if let Some((at, behind)) = self.given.take() {
            self.partitions[at].next = behind;
        }
        // What is not of a partition comes here.
        match self.consumer.poll(Duration::ZERO) {
            Some(Ok(record)) => {
                let (partition, offset) = (record.partition(), record.offset());
                let problem = format!("the record at offset {offset} of partition {partition} came by the wrong queue");
                return Err(failed(&self.settings, "read")(problem));
            }
            Some(Err(error)) => self.error(error)?,
            None => {}
        }
        let follow = self.settings.follow;
        for at in 0..self.partitions.len() {
            let Partition { head, is_at_end, .. } = &self.partitions[at];
            if head.is_none() && (follow || !is_at_end) {
                self.look(at, Duration::ZERO)?;
            }
        }
        // As long as a partition may have an earlier record, none is given.
        let missing = self.partitions.iter().position(|partition| partition.head.is_none() && !partition.is_at_end);
        if let Some(at) = missing {
            self.look(at, LOOK)?;
            let waited = self.heard.elapsed();
            if waited > PATIENCE && self.partitions[at].head.is_none() {
                let why = self.trouble.as_ref().map(|trouble| format!(": {trouble}")).unwrap_or_default();
                let number = self.partitions[at].number;
                let problem = format!("no record of partition {number} came within {} s{why}", waited.as_secs());
                return Err(failed(&self.settings, "read")(problem));
            }
            return Ok(Next::Idle);
        }
        let heads = self.partitions.iter().enumerate();
        let heads = heads.filter_map(|(at, partition)| Some((partition.head.as_ref()?.0.at, partition.number, at)));
        let next = heads.min().and_then(|(.., at)| Some((at, self.partitions[at].head.take()?)));
        match next {
            Some((at, (message, behind))) => {
                self.given = Some((at, behind));
                Ok(Next::Message(message))
            }
            None if follow => {
                self.heard = Instant::now();
                std::thread::sleep(LOOK);
                Ok(Next::Idle)
            }
            None => Ok(Next::End),
        }
    }

    fn offsets(&self) -> Option<BTreeMap<i32, i64>> {
        Some(self.partitions.iter().map(|partition| (partition.number, partition.next)).collect())
    }
}

fn recorded(record: &BorrowedMessage<'_>) -> Recorded {
    let headers = record.headers().into_iter().flat_map(|headers| headers.iter());
    Recorded {
        at: record.timestamp().to_millis().unwrap_or(0),
        topic: Some(record.topic().to_owned()),
        key: record.key().map(<[u8]>::to_vec),
        value: record.payload().map(<[u8]>::to_vec),
        headers: headers.map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect(),
    }
}
