//! A compacted topic that a worker reads from its beginning to its end, follows from then on, and writes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, watch};
use tracing::{error, warn};

use super::configs::Entry;
use super::writer::Writer;
use crate::kafka::{KafkaLog, RecordQueue};

/// How long the cluster may take to take in a record, or to give out what it has, as in Kafka Connect.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
/// How long the reader waits before it looks whether it has to end.
const STEP: Duration = Duration::from_millis(500);

/// What takes in the records, in the order of their offsets: key, value, and whether the record was written after the
/// topic was first read to its end.
pub(super) type Fold = Box<dyn FnMut(&str, Option<&[u8]>, bool) + Send>;

/// Up to which offset each partition was read.
#[derive(Default)]
struct Positions {
    of: Mutex<BTreeMap<i32, i64>>,
    moved: Condvar,
}

impl Positions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, i64>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reach(&self, partition: i32, next: i64) {
        let mut positions = self.lock();
        let position = positions.entry(partition).or_insert(0);
        *position = (*position).max(next);
        self.moved.notify_all();
    }

    /// Waits until everything before these offsets was read.
    fn wait(&self, ends: &BTreeMap<i32, i64>, limit: Duration) -> bool {
        let behind = |positions: &mut BTreeMap<i32, i64>| {
            ends.iter().any(|(partition, end)| positions.get(partition).unwrap_or(&0) < end)
        };
        let waited = self.moved.wait_timeout_while(self.lock(), limit, behind);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

/// The topic.
pub(super) struct SharedLog {
    topic: String,
    partitions: i32,
    writer: Writer,
    positions: Arc<Positions>,
    live: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
}

impl SharedLog {
    /// Begins to read the topic. `consumer` and `producer` are the settings of its clients.
    pub fn start(
        topic: &str,
        partitions: u32,
        consumer: &ClientConfig,
        producer: &ClientConfig,
        fold: Fold,
    ) -> Result<Self, String> {
        let failed = |error: KafkaError| error.to_string();
        let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
        let wake = Arc::<Notify>::default();
        let config = reader(consumer);
        let log = KafkaLog::new(format!("topic {topic}, reader"), &config);
        let mut client = BaseConsumer::from_config_and_context(&config, log).map_err(failed)?;
        let events = Arc::clone(&wake);
        client.set_nonempty_callback(move || events.notify_one());
        let queue = RecordQueue::new(client.client().native_ptr(), Arc::clone(&wake));
        let queue = queue.ok_or("librdkafka gives no queue")?;
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            if !queue.forward(client.client().native_ptr(), topic, partition) {
                return Err(format!("partition {partition} is not known to the client"));
            }
            list.add_partition_offset(topic, partition, Offset::Beginning).map_err(failed)?;
        }
        client.assign(&list).map_err(failed)?;
        let positions = Arc::<Positions>::default();
        let (live, ended) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let reader = Reader {
            topic: topic.to_owned(),
            queue,
            consumer: client,
            positions: Arc::clone(&positions),
            live: Arc::clone(&live),
            ended: Arc::clone(&ended),
            fold,
        };
        // One of its own, which lasts as long as the thread.
        let threads = |error| format!("the operating system does not start a thread: {error}");
        let runtime = Builder::new_current_thread().enable_time().build().map_err(threads)?;
        thread::Builder::new().name("group-log".into()).spawn(move || reader.run(&wake, &runtime)).map_err(threads)?;
        let writer = Writer::new(topic, producer).map_err(failed)?;
        Ok(Self { topic: topic.to_owned(), partitions, writer, positions, live, ended })
    }

    /// Waits until everything was read that was written before this call, or until `stop` is true. The error is a
    /// sentence.
    pub fn catch_up(&self, stop: &watch::Receiver<bool>) -> Result<(), String> {
        let deadline = Instant::now() + TIMEOUT;
        let mut ends = BTreeMap::new();
        for partition in 0..self.partitions {
            ends.insert(partition, self.end_of(partition, deadline)?);
        }
        while !self.positions.wait(&ends, STEP) {
            let topic = &self.topic;
            if *stop.borrow() {
                return Err(format!("the topic `{topic}` was not read to its end before the worker was stopped"));
            }
            if Instant::now() > deadline {
                return Err(format!("the topic `{topic}` was not read to its end within {} s", TIMEOUT.as_secs()));
            }
        }
        self.live.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Ends the reading.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// The end of a partition. A leader that has just changed is asked again.
    fn end_of(&self, partition: i32, deadline: Instant) -> Result<i64, String> {
        loop {
            match self.writer.end_of(partition) {
                Ok(end) => return Ok(end),
                Err(error) if Instant::now() > deadline || crate::kafka::is_permanent(&error) => {
                    return Err(format!("asking for the end of {}-{partition}: {error}", self.topic));
                }
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Writes these records in their order, and waits until they were read back. The error is a sentence; it may be that
    /// some of the records were written.
    pub fn write(&self, entries: &[Entry]) -> Result<(), String> {
        let failed = |problem: String| format!("writing to the topic `{}`: {problem}", self.topic);
        let deadline = Instant::now() + TIMEOUT;
        let ends = self.writer.send(entries, deadline).map_err(failed)?;
        if self.positions.wait(&ends, deadline.saturating_duration_since(Instant::now())) {
            return Ok(());
        }
        Err(failed(format!("what was written was not read back within {} s", TIMEOUT.as_secs())))
    }
}

impl Drop for SharedLog {
    fn drop(&mut self) {
        self.end();
    }
}

/// The settings of the reader. It assigns partitions to itself, so nothing of a group's protocol concerns it.
fn reader(base: &ClientConfig) -> ClientConfig {
    let mut config = base.clone();
    for key in ["group.protocol", "group.remote.assignor", "partition.assignment.strategy"] {
        config.remove(key);
    }
    config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
    config.set("auto.offset.reset", "earliest").set("enable.partition.eof", "true").set("check.crcs", "true");
    config.set("allow.auto.create.topics", "false");
    config
}

/// The thread that reads.
struct Reader {
    topic: String,
    /// It is dropped before its client.
    queue: RecordQueue,
    consumer: BaseConsumer<KafkaLog>,
    positions: Arc<Positions>,
    live: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    fold: Fold,
}

impl Reader {
    fn run(mut self, wake: &Notify, runtime: &Runtime) {
        while !self.ended.load(Ordering::Relaxed) {
            self.serve();
            if !self.take() {
                let notified = async { tokio::time::timeout(STEP, wake.notified()).await };
                // Whether something has come is looked at anyway.
                drop(runtime.block_on(notified));
            }
        }
    }

    /// Serves what librdkafka has to say.
    fn serve(&self) {
        while let Some(result) = self.consumer.poll(Duration::ZERO) {
            if let Err(error) = result {
                warn!(topic = self.topic, "reading a topic of the group: {error}");
            }
        }
    }

    /// Takes in the records that have come. Gives whether there may be more.
    fn take(&mut self) -> bool {
        let batch = self.queue.take();
        for record in batch.iter() {
            let partition = record.partition();
            if let Some(problem) = record.error() {
                match problem.code {
                    Code::PartitionEOF => self.positions.reach(partition, record.offset()),
                    code => {
                        error!(topic = self.topic, partition, "reading a topic of the group: {}: {code}", problem.text);
                    }
                }
                continue;
            }
            let live = self.live.load(Ordering::Relaxed);
            if let Some(Ok(key)) = record.key().map(std::str::from_utf8) {
                (self.fold)(key, record.payload(), live);
            } else {
                warn!(topic = self.topic, offset = record.offset(), "a record without a key that is text is ignored");
            }
            self.positions.reach(partition, record.offset() + 1);
        }
        batch.is_full()
    }
}
