//! What a sink implements: a connector that starts and makes tasks, and the tasks.
//!
//! A task has one thread, which polls the consumer, calls the task's methods and commits offsets. None of the methods
//! blocks: work that waits for the network is spawned on [`TaskContext::runtime`] and announces its end through
//! [`TaskContext::wake`].
//!
//! For each partition the runtime repeats: `put` any number of records, ask `due` until it returns a flush, commit the
//! intent of the flush (if it has one), call `flush`, call `poll` until the flush is complete, wait for the dead
//! letters before its end, and commit its end. Records that are `put` while a flush is completed belong to a later one.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::error::Error;
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

/// Where a record comes from, and everything else that a dead letter keeps of it besides its value.
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

/// An origin that is made when it is first asked for. Copying key and headers costs as much as a row, and few rows need
/// them.
pub struct LazyOrigin<'r> {
    made: OnceCell<Arc<Origin>>,
    make: &'r dyn Fn() -> Origin,
}

impl<'r> LazyOrigin<'r> {
    /// The origin that `make` makes.
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

/// One Kafka record, converted to rows. A record without rows is put as well, because its offset has to be committed.
#[derive(Debug, Clone, Copy)]
pub struct SinkRecord<'r> {
    /// Topic and partition.
    pub partition: &'r TopicPartition,
    /// Offset.
    pub offset: i64,
    /// Kafka's timestamp, milliseconds since the Unix epoch.
    pub timestamp: Option<i64>,
    /// Where it comes from.
    pub origin: &'r LazyOrigin<'r>,
    /// Its rows in order, without those that could not be converted.
    pub rows: &'r [Row<'r>],
}

/// A row that the sink cannot store. What becomes of it is up to the runtime, by `errors.tolerance` and the dead-letter
/// queue.
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
    /// The id of the call that refused the row, if a service did. It is not part of `error`, because it is different
    /// for every call.
    pub request_id: Option<String>,
}

/// A flush that is due. It covers every record before `end` that no earlier flush has covered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flush {
    /// The offset after the last record it covers.
    pub end: i64,
    /// Whether the names or bytes of what it writes depend on where it ends. If so, `end` is committed as an intent
    /// before [`SinkTask::flush`] is called.
    pub intent: bool,
    /// Why it is due now, for metrics and log: `flush.size`, `rotate.interval.ms`, `buffer.memory`, `shutdown`, …
    pub reason: &'static str,
}

/// Whether the runtime asks for a flush beyond what the sink's own settings ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
pub enum Demand {
    /// No: only what is due by the sink's settings is flushed.
    #[strum(serialize = "settings")]
    Settings,
    /// All that is buffered is to be flushed, because `offset.flush.interval.ms` has passed. This is for sinks without
    /// intents. A sink with intents ignores it unless it has no rows buffered, but an offset to commit.
    #[strum(serialize = "offset.flush.interval.ms")]
    Commit,
    /// All that is buffered is to be flushed, because the worker is over `buffer.memory`.
    #[strum(serialize = "buffer.memory")]
    Memory,
    /// All that is buffered is to be flushed, because the connector is paused and no more records come.
    #[strum(serialize = "pause")]
    Pause,
    /// All that is buffered is to be flushed, because the task is about to stop.
    #[strum(serialize = "shutdown")]
    Shutdown,
}

impl Demand {
    /// The name of the demand as the reason of a [`Flush`].
    pub fn reason(self) -> &'static str {
        self.into()
    }
}

/// What a sink is told about the present moment.
#[derive(Debug, Clone, Copy)]
pub struct Tick {
    /// Wall clock, milliseconds since the Unix epoch.
    pub wall_millis: i64,
    /// For how long the partition's end has been reached and no new record has come. `None` while there are records to
    /// come.
    pub idle: Option<Duration>,
    /// What the runtime asks for.
    pub demand: Demand,
    /// The offset after the last record that was put, unless the group has committed it.
    pub uncommitted: Option<i64>,
}

/// A flush that a previous owner of the partition has announced and perhaps begun. It has to be repeated to exactly
/// this end and with exactly these settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The offset at which the flush ends.
    pub end: i64,
    /// The values, at the time of the intent, of the keys that have [`Key::in_intent`].
    pub settings: BTreeMap<String, String>,
}

/// Why a sink cannot go on.
///
/// The text is complete: it names what was being done, to what, why it failed and what to do about it. The cause is
/// also kept as the error's source, for programs; whoever shows the text does not show the sources as well.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SinkError {
    /// The task fails.
    #[error("{text}")]
    Fatal {
        /// The whole error as text.
        text: String,
        /// Its cause.
        #[source]
        source: Option<Arc<dyn Error + Send + Sync>>,
    },
    /// What was buffered for this partition can no longer be completed, because another owner has aborted its upload.
    /// The runtime closes the partition and, if it is still the task's, opens it again from its committed offset.
    #[error("{text}")]
    Restart {
        /// The whole error as text.
        text: String,
        /// Its cause.
        #[source]
        source: Option<Arc<dyn Error + Send + Sync>>,
    },
}

impl SinkError {
    /// An error that fails the task.
    pub fn fatal(text: impl Into<String>) -> Self {
        Self::Fatal { text: text.into(), source: None }
    }

    /// An error after which the partition is to be begun again.
    pub fn restart(text: impl Into<String>) -> Self {
        Self::Restart { text: text.into(), source: None }
    }

    /// This error with its cause.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Error + Send + Sync + 'static) -> Self {
        let (Self::Fatal { source, .. } | Self::Restart { source, .. }) = &mut self;
        *source = Some(Arc::new(cause));
        self
    }
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
    /// Background work notifies this when `poll` or `due` may return something else than before.
    pub wake: Arc<Notify>,
    /// The task's part of the worker's `buffer.memory`. The sink reserves here whatever it holds.
    pub budget: Budget,
    /// How the sink retries its calls to the outside.
    pub retry: RetryLimits,
}

/// How a sink retries a call that failed and may succeed later. A sink counts each retry with
/// [`metrics::retry`](crate::metrics::retry).
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
        Self {
            timeout: config.millis("errors.retry.timeout"),
            delay_max: config.millis("errors.retry.delay.max.ms").unwrap_or_default(),
        }
    }
}

/// A place to which only one connector may write a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExclusiveTarget {
    /// The key by which another place is chosen.
    pub key: &'static str,
    /// The place, as errors name it. It is equal for all configurations that write there.
    pub place: String,
}

/// A kind of sink: what `connector.class` names.
pub trait SinkConnector: Send + Sync {
    /// The accepted values of `connector.class`: the sink's name, then aliases such as class names of Kafka Connect.
    fn classes(&self) -> &'static [&'static str];

    /// The sink's own keys. By default it has none.
    fn keys(&self) -> &'static [Key] {
        &[]
    }

    /// The place where this configuration writes, if no other connector may write the same topics there because rows
    /// would be stored twice. By default there is none, which is right for sinks that replace a row when it is stored
    /// again.
    fn exclusive_target(&self, _config: &Config) -> Option<ExclusiveTarget> {
        None
    }

    /// Checks the values of the sink's keys, as far as that needs no network and goes beyond the kind of each key.
    /// Called before `start`, and also on its own.
    fn check(&self, config: &Config) -> Result<(), ConfigError> {
        let _ = config;
        Ok(())
    }

    /// Makes the clients and looks at the table or bucket, so that what is wrong is found before anything is consumed.
    /// Called outside of any async context: it waits with `runtime.block_on`.
    fn start(&self, config: &Config, runtime: &Handle) -> Result<TaskFactory, ConfigError>;
}

/// Makes the tasks of a sink that has started.
pub type TaskFactory = Arc<dyn Fn(TaskContext) -> Box<dyn SinkTask> + Send + Sync>;

/// One task of a sink. The module's documentation shows in which order its methods are called.
///
/// The defaults are those of a sink that has stored a record when [`put`](Self::put) returns, so that only its offset
/// is left to be committed. Every other sink implements all methods.
pub trait SinkTask {
    /// The partition belongs to this task from offset `start` on; `None` means that nothing was ever committed. Not
    /// called again for the partition before it is closed. With `replay`, the first flush ends at `replay.end`,
    /// whatever today's settings say.
    fn open(
        &mut self,
        partition: &TopicPartition,
        start: Option<i64>,
        replay: Option<&Replay>,
    ) -> Result<(), SinkError> {
        let _ = (partition, start, replay);
        Ok(())
    }

    /// Takes the rows of one record. Rows that cannot be stored are pushed to `errant`, and the others are stored.
    fn put(&mut self, record: &SinkRecord<'_>, errant: &mut Vec<ErrantRow>) -> Result<(), SinkError>;

    /// Whether the task has enough for now. While it has, it is given no records, so whatever changes that has to
    /// notify [`TaskContext::wake`]. This is for records that would only wait in memory; the limit of memory is
    /// [`TaskContext::budget`].
    fn is_full(&mut self) -> Result<bool, SinkError> {
        Ok(false)
    }

    /// The flush that is due for the partition. Asked again and again while no flush of the partition is under way.
    fn due(&mut self, partition: &TopicPartition, tick: &Tick) -> Result<Option<Flush>, SinkError> {
        let _ = partition;
        let end = tick.uncommitted.filter(|_| tick.demand != Demand::Settings);
        Ok(end.map(|end| Flush { end, intent: false, reason: tick.demand.reason() }))
    }

    /// The flush that `due` returned may be completed: its intent, if it has one, is committed.
    fn flush(&mut self, partition: &TopicPartition) -> Result<(), SinkError> {
        let _ = partition;
        Ok(())
    }

    /// Whether that flush is complete: every row before its end is stored, or has been pushed to `errant` here or in
    /// `put`.
    fn poll(&mut self, partition: &TopicPartition, errant: &mut Vec<ErrantRow>) -> Result<bool, SinkError> {
        let _ = (partition, errant);
        Ok(true)
    }

    /// The partition no longer belongs to this task, which forgets what it has buffered of it and begins no more work
    /// for it.
    fn close(&mut self, partition: &TopicPartition) {
        let _ = partition;
    }
}
