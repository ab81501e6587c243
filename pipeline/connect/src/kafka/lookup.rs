//! Reading what a group has committed on a thread of its own, so that a coordinator that does not answer keeps no
//! member from polling.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Notify;

use super::is_permanent;
use crate::TopicPartition;

/// How long one question may take. The next one follows at once, so this only limits how late the thread notices that
/// its lookup was dropped.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the leaders of new partitions are asked for their earliest offsets, before that is left to librdkafka.
const EARLIEST_TIMEOUT: Duration = Duration::from_secs(2);

/// The first and the longest pause between two questions. A topic or group that has just been created, or that moves,
/// has no leader or coordinator for some milliseconds.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(2));

/// How often a lookup that is still going on is logged.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// What the group has committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub partition: TopicPartition,
    pub offset: Option<i64>,
    pub metadata: String,
    /// If nothing is committed, the earliest offset of the partition, provided that its leader reported it in time.
    pub earliest: Option<i64>,
}

impl Committed {
    /// The offset from which the partition is read. The earliest offset is given as a number if it is known: librdkafka
    /// itself often asks for it before the leader is connected, and asks again only 500 ms later.
    pub fn start(&self) -> Offset {
        self.offset.or(self.earliest).map_or(Offset::Beginning, Offset::Offset)
    }
}

/// A question that is asked until it is answered, or refused for good. Dropping the lookup ends it.
#[derive(Debug)]
pub(crate) struct Lookup {
    partitions: TopicPartitionList,
    answers: Receiver<KafkaResult<Vec<Committed>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Lookup {
    /// Asks for `partitions`, and notifies `wake` when there is an answer. With `existing`, it first waits until the
    /// partitions exist, which those of a deleted topic do not.
    pub fn start<C: ConsumerContext + 'static>(
        consumer: &Arc<BaseConsumer<C>>,
        partitions: TopicPartitionList,
        existing: bool,
        wake: &Arc<Notify>,
    ) -> Self {
        let (sender, answers) = channel();
        let ended = Arc::new(AtomicBool::new(false));
        let asking = LookupThread {
            consumer: Arc::clone(consumer),
            partitions: partitions.clone(),
            existing,
            ended: Arc::clone(&ended),
            answer: sender,
        };
        let wake = Arc::clone(wake);
        // If no thread can be started the sender is dropped, which `answer` takes for a refusal.
        let thread = thread::Builder::new().name("committed".into()).spawn(move || {
            asking.run();
            wake.notify_one();
        });
        Self { partitions, answers, ended, thread: thread.ok() }
    }

    /// The partitions that were asked for.
    pub fn partitions(&self) -> &TopicPartitionList {
        &self.partitions
    }

    /// The answer, which is given once, when it is there. An error is permanent.
    pub fn answer(&self) -> Option<KafkaResult<Vec<Committed>>> {
        match self.answers.try_recv() {
            Ok(answer) => Some(answer),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(KafkaError::NoMessageReceived)),
        }
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

/// The part of a lookup that belongs to its thread.
struct LookupThread<C: ConsumerContext> {
    consumer: Arc<BaseConsumer<C>>,
    partitions: TopicPartitionList,
    existing: bool,
    ended: Arc<AtomicBool>,
    answer: Sender<KafkaResult<Vec<Committed>>>,
}

impl<C: ConsumerContext> LookupThread<C> {
    fn run(self) {
        let mut pause = PAUSE.0;
        let mut logged = None::<Instant>;
        while !self.ended.load(Ordering::Relaxed) {
            let result = self.ask();
            match &result {
                Err(error) if !is_permanent(error) => {
                    if logged.is_some_and(|at| at.elapsed() >= LOG_INTERVAL) || logged.is_none() && pause > 4 * PAUSE.0
                    {
                        logged = Some(Instant::now());
                        tracing::warn!(
                            "reading the committed offsets of {}: {error}; the task asks again",
                            names(&self.partitions)
                        );
                    }
                }
                Ok(_) | Err(_) => {
                    // An error means that the lookup was dropped.
                    let _ = self.answer.send(result);
                    return;
                }
            }
            thread::park_timeout(pause);
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    fn ask(&self) -> KafkaResult<Vec<Committed>> {
        // That a partition has an earliest offset says that it exists.
        let found = if self.existing { Some(earliest(&self.consumer, self.partitions.clone())?) } else { None };
        let mut committed = committed_of(&self.consumer.committed_offsets(self.partitions.clone(), ASK_TIMEOUT)?)?;
        let mut fresh = TopicPartitionList::new();
        for Committed { partition, .. } in committed.iter().filter(|committed| committed.offset.is_none()) {
            fresh.add_partition(&partition.topic, partition.partition);
        }
        if fresh.count() == 0 {
            return Ok(committed);
        }
        let answer = match found {
            Some(found) => Some(found),
            None => self.earliest_in_time(&fresh)?,
        };
        if let Some(answer) = answer {
            for committed in committed.iter_mut().filter(|committed| committed.offset.is_none()) {
                let TopicPartition { topic, partition } = &committed.partition;
                let found = answer.find_partition(topic, *partition).filter(|found| found.error().is_ok());
                committed.earliest = found.and_then(|found| number(found.offset()));
            }
        }
        Ok(committed)
    }

    /// The earliest offsets of these partitions. `None` if a leader does not answer in time: it must keep no other
    /// partition waiting, and librdkafka goes on asking it for the beginning by itself.
    fn earliest_in_time(&self, partitions: &TopicPartitionList) -> KafkaResult<Option<TopicPartitionList>> {
        let deadline = Instant::now() + EARLIEST_TIMEOUT;
        loop {
            match earliest(&self.consumer, partitions.clone()) {
                Ok(answer) => return Ok(Some(answer)),
                Err(error) if is_permanent(&error) => return Err(error),
                Err(_) if Instant::now() < deadline && !self.ended.load(Ordering::Relaxed) => {
                    thread::park_timeout(PAUSE.0);
                }
                Err(_) => return Ok(None),
            }
        }
    }
}

/// The earliest offsets of all of these partitions, with one question to each leader. The error is that of any of them.
fn earliest<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    mut partitions: TopicPartitionList,
) -> KafkaResult<TopicPartitionList> {
    // In Kafka's protocol, this time stands for the earliest offset.
    partitions.set_all_offsets(Offset::Beginning)?;
    let answer = consumer.offsets_for_times(partitions, EARLIEST_TIMEOUT)?;
    for element in answer.elements() {
        element.error()?;
        if number(element.offset()).is_none() {
            return Err(KafkaError::MetadataFetch(Code::LeaderNotAvailable));
        }
    }
    Ok(answer)
}

/// The committed offsets in an answer of the coordinator.
pub(crate) fn committed_of(list: &TopicPartitionList) -> KafkaResult<Vec<Committed>> {
    let elements = list.elements();
    elements
        .iter()
        .enumerate()
        .map(|(i, element)| {
            element.error()?;
            let offset = number(element.offset());
            let partition = TopicPartition { topic: element.topic().into(), partition: element.partition() };
            Ok(Committed { partition, offset, metadata: metadata(list, i), earliest: None })
        })
        .collect()
}

/// The number of an offset, unless it stands for a place such as the beginning.
pub(super) fn number(offset: Offset) -> Option<i64> {
    match offset {
        Offset::Offset(offset) => Some(offset),
        Offset::Beginning | Offset::End | Offset::Stored | Offset::Invalid | Offset::OffsetTail(_) => None,
    }
}

/// The metadata of element `i`, which may be any bytes, whoever has committed it.
fn metadata(list: &TopicPartitionList, i: usize) -> String {
    #[allow(unsafe_code, reason = "rdkafka panics on metadata that is not UTF-8")]
    // SAFETY: `i` is one of the list's elements, which live as long as the list; the metadata is copied.
    unsafe {
        debug_assert!(i < list.count());
        let element = &*(*list.ptr()).elems.add(i);
        if element.metadata.is_null() || element.metadata_size == 0 {
            return String::new();
        }
        let bytes = std::slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size);
        String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
    }
}

/// The names of the first few partitions, and how many more there are.
pub(crate) fn names(partitions: &TopicPartitionList) -> String {
    const SHOWN: usize = 10;
    let elements = partitions.elements();
    let shown = elements.iter().take(SHOWN).map(|e| format!("{}-{}", e.topic(), e.partition())).collect::<Vec<_>>();
    match elements.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
