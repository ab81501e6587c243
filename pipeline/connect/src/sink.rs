//! What a sink implements: a connector that starts, and its tasks.
//!
//! A task lives on one thread, which polls the consumer, calls the methods below and commits. None of them blocks: work that waits
//! for the network is spawned on [`TaskContext::runtime`] and announces its end through [`TaskContext::wake`].
//!
//! Per partition the runtime does, again and again: `put` … `put`, `due` → `Some(flush)`, commit the flush's intent (if it has
//! one), `flush`, `poll` until it says complete, wait for the dead letters before its end, commit its end.
//! Records go on being `put` while a flush is completed; they belong to a later one.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fms_record::{Row, Source};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::{Budget, Config, ConfigError, Key};

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Where a record comes from, and what a dead letter keeps of it.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Topic and partition.
    pub partition: TopicPartition,
    /// Offset.
    pub offset: i64,
    /// Kafka's timestamp, milliseconds since the Unix epoch.
    pub timestamp: Option<i64>,
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// The record's headers, in order, duplicates included.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// An origin that is made when it is first asked for: copying key and headers costs as much as a row, and hardly a row needs them.
pub struct LazyOrigin<'r> {
    made: OnceCell<Arc<Origin>>,
    make: &'r dyn Fn() -> Origin,
}

impl<'r> LazyOrigin<'r> {
    /// What `make` makes.
    pub fn new(make: &'r dyn Fn() -> Origin) -> Self {
        Self { made: OnceCell::new(), make }
    }

    /// The origin, the same at every call.
    pub fn get(&self) -> &Arc<Origin> {
        self.made.get_or_init(|| Arc::new((self.make)()))
    }
}

impl fmt::Debug for LazyOrigin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl Source for LazyOrigin<'_> {
    fn topic(&self) -> &str {
        &self.get().partition.topic
    }

    fn partition(&self) -> i32 {
        self.get().partition.partition
    }

    fn offset(&self) -> i64 {
        self.get().offset
    }

    fn timestamp(&self) -> Option<i64> {
        self.get().timestamp
    }

    fn key(&self) -> Option<&[u8]> {
        self.get().key.as_deref()
    }

    fn header(&self, name: &str) -> Option<Option<&[u8]>> {
        self.get().headers.iter().rfind(|(own, _)| own == name).map(|(_, value)| value.as_deref())
    }
}

/// One Kafka record, converted. `rows` may be empty: its offset still counts.
#[derive(Debug, Clone, Copy)]
pub struct SinkRecord<'r> {
    /// Topic and partition.
    pub partition: &'r TopicPartition,
    /// Offset.
    pub offset: i64,
    /// Kafka's timestamp, milliseconds since the Unix epoch.
    pub timestamp: Option<i64>,
    /// What a dead letter of it keeps.
    pub origin: &'r LazyOrigin<'r>,
    /// Its rows, in order, without those that could not be converted.
    pub rows: &'r [Row<'r>],
}

/// A row that this sink cannot store. The runtime applies `errors.tolerance` and the dead-letter queue.
#[derive(Debug, Clone)]
pub struct ErrantRow {
    /// The record it was in.
    pub origin: Arc<Origin>,
    /// Its index in the record.
    pub index: usize,
    /// Its JSON text.
    pub text: Vec<u8>,
    /// The cause's name: `__connect.errors.exception.class.name` of the dead letter.
    pub class: &'static str,
    /// What is wrong and what to do about it.
    pub error: String,
    /// The service's id of the call that refused it, if one did; no part of `error`, for it is another each time.
    pub request_id: Option<String>,
}

/// A flush that is due. It covers every record before `end` that no earlier flush covered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flush {
    /// The offset after the last record it covers.
    pub end: i64,
    /// Whether names or bytes depend on where it ends, so that `end` has to be committed as an intent before [`SinkTask::flush`].
    pub intent: bool,
    /// Why now, as metrics and log name it: `flush.size`, `rotate.interval.ms`, `buffer.memory`, `shutdown`, …
    pub reason: &'static str,
}

/// Whether the runtime asks for a flush beyond what the sink's own settings ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// Only what is due by the sink's settings.
    Settings,
    /// All that is buffered: `offset.flush.interval.ms` has passed. For sinks without intents; a sink with intents ignores it,
    /// unless it has nothing buffered and only an offset to advance.
    Commit,
    /// All that is buffered: the worker is over `buffer.memory`.
    Memory,
    /// All that is buffered: the task is about to stop.
    Shutdown,
}

/// What a sink may know about now.
#[derive(Debug, Clone, Copy)]
pub struct Tick {
    /// Wall clock, milliseconds since the Unix epoch.
    pub wall_millis: i64,
    /// Since when the partition's end is reached with no new record; `None` while there are records to come.
    pub idle: Option<Duration>,
    /// What the runtime asks for.
    pub demand: Demand,
}

/// A flush that a previous owner has announced and perhaps begun: it has to be repeated to exactly this end with exactly these settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The offset at which the flush ends.
    pub end: i64,
    /// The values, at the time of the intent, of the keys that have [`Key::in_intent`].
    pub settings: BTreeMap<String, String>,
}

/// Why a sink cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// The task fails. The text names what was being done, to what, and what to do about it.
    #[error("{0}")]
    Fatal(String),
    /// What was buffered for this partition can no longer be completed (its upload was aborted by another owner): the runtime closes the
    /// partition and, if it is still ours, opens it again from its committed offset.
    #[error("{0}")]
    Restart(String),
}

/// What a task gets from the worker.
#[derive(Debug, Clone)]
pub struct TaskContext {
    /// The connector's name.
    pub connector: Arc<str>,
    /// The task's number, from 0.
    pub task: u32,
    /// Where background work runs.
    pub runtime: Handle,
    /// Notified by background work when `poll` or `due` may have something new to say.
    pub wake: Arc<Notify>,
    /// The worker's `buffer.memory`: whatever a sink holds is reserved here.
    pub budget: Budget,
    /// How the sink retries its calls to the outside.
    pub retry: RetryLimits,
}

/// How a sink retries a call that failed and may succeed later. A sink counts each retry with [`metrics::retry`](crate::metrics::retry).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryLimits {
    /// `errors.retry.timeout`: how long a call is retried; `None` means without end, zero means not at all.
    pub timeout: Option<Duration>,
    /// `errors.retry.delay.max.ms`: the longest wait between two attempts.
    pub delay_max: Duration,
}

impl RetryLimits {
    /// The limits that the connector's [`COMMON`](crate::config::common::COMMON) keys set.
    pub fn of(config: &Config) -> Self {
        let millis = |key| config.int(key).and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
        Self {
            timeout: millis("errors.retry.timeout"),
            delay_max: millis("errors.retry.delay.max.ms").unwrap_or_default(),
        }
    }
}

/// A place that takes only one writer a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The key by which another place is chosen.
    pub key: &'static str,
    /// The place, as errors name it; equal for all configurations that write there.
    pub place: String,
}

/// A kind of sink: what `connector.class` names.
pub trait SinkConnector: Send + Sync {
    /// The accepted values of `connector.class`; the first is ours, the rest are aliases (Kafka Connect's class names).
    fn classes(&self) -> &'static [&'static str];

    /// The sink's own keys.
    fn keys(&self) -> &'static [Key];

    /// Where this configuration writes and no other connector may write the same topics, for what both store would be there twice. By
    /// default there is no such place: what one stores of a row replaces what another has stored of it, as an item with the same key does.
    fn exclusive_target(&self, _config: &Config) -> Option<Target> {
        None
    }

    /// What can be said of the sink's values without the network, beyond what each key's kind says. Called before `start`, and by itself.
    fn check(&self, config: &Config) -> Result<(), ConfigError> {
        let _ = config;
        Ok(())
    }

    /// Values that go together, clients, and a look at the table or bucket: what is wrong is found here, before anything is consumed.
    /// Called outside of any async context; waits with `runtime.block_on`.
    fn start(&self, config: &Config, runtime: &Handle) -> Result<Arc<dyn StartedSink>, ConfigError>;
}

/// A configured sink that makes tasks.
pub trait StartedSink: Send + Sync {
    /// A new task.
    fn task(&self, context: TaskContext) -> Box<dyn SinkTask>;
}

/// One task's half of a sink. See the module's text for the order of the calls.
pub trait SinkTask {
    /// The partition is ours from offset `start` on (`None`: nothing was ever committed). Not called twice without `close`.
    /// With `replay`, the first flush ends at `replay.end` whatever the settings of today say.
    fn open(
        &mut self,
        partition: &TopicPartition,
        start: Option<i64>,
        replay: Option<&Replay>,
    ) -> Result<(), SinkError>;

    /// Takes one record's rows. Rows that cannot be stored are pushed to `errant`; the rest goes on.
    fn put(&mut self, record: &SinkRecord<'_>, errant: &mut Vec<ErrantRow>) -> Result<(), SinkError>;

    /// Whether it has enough for now: no more records are taken until it says otherwise. Whatever changes that has to notify
    /// [`TaskContext::wake`]. A sink that says so keeps what is only waiting out of memory; [`TaskContext::budget`] is the limit for all.
    fn is_full(&mut self) -> Result<bool, SinkError> {
        Ok(false)
    }

    /// The flush that is due; asked again and again while none is under way for the partition.
    fn due(&mut self, partition: &TopicPartition, tick: &Tick) -> Result<Option<Flush>, SinkError>;

    /// The flush that `due` gave may be completed: its intent is committed.
    fn flush(&mut self, partition: &TopicPartition) -> Result<(), SinkError>;

    /// Whether that flush is complete: everything before its end is stored, or is in `errant`.
    fn poll(&mut self, partition: &TopicPartition, errant: &mut Vec<ErrantRow>) -> Result<bool, SinkError>;

    /// The partition is no longer ours: forget what is buffered and begin no more work for it.
    fn close(&mut self, partition: &TopicPartition);
}
