//! One sink task: polls its partitions, converts, puts, flushes, commits. Everything that Kafka sees of a task happens on its thread.
//!
//! For each partition a flush goes through the stages of [`Stage`] in their order. Between any two of them the process may die,
//! and whoever takes the partition over ends up with the same rows in the sink: see `intent`.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::{FutureExt, StreamExt};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Headers, Message as _};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;

use crate::consumer::{Change, CommitOutcome, Committed, Consumer};
use crate::convert::{Converter, RowFailure};
use crate::deadletter::{DeadLetterQueue, Stage as ErrorStage};
use crate::errors::{ErrorHandling, Failure};
use crate::intent;
use crate::metrics::TaskMetrics;
use crate::sink::{
    Demand, ErrantRow, Flush, Origin, Replay, SinkError, SinkRecord, SinkTask, StartedSink, TaskContext, Tick,
};
use crate::worker::{ConnectorSpec, Subscription};
use crate::{Budget, Config, ConfigError, Retry, TopicPartition};

/// How often time-based conditions are looked at, and how soon a commit that has to wait is tried again.
const TICK: Duration = Duration::from_millis(20);

/// How many records are taken at once before flushes and commits get their turn.
const BATCH: usize = 500;

/// How often the lag is measured.
const LAG_INTERVAL: Duration = Duration::from_secs(1);

/// What a task is made of.
pub struct TaskSpec {
    /// The connector it belongs to.
    pub connector: Arc<ConnectorSpec>,
    /// Its number, from 0.
    pub task: u32,
    /// The connector's sink.
    pub sink: Arc<dyn StartedSink>,
    /// The consumer's settings, complete but for `group.id` and what delivery depends on.
    pub client: rdkafka::ClientConfig,
    /// The dead-letter queue.
    pub dead_letters: Option<DeadLetterQueue>,
    /// Where the sink's background work runs.
    pub runtime: Handle,
    /// The worker's `buffer.memory`.
    pub budget: Budget,
    /// `errors.retry.*`.
    pub retry: Retry,
    /// Where this task counts.
    pub metrics: TaskMetrics,
    /// Becomes true when the task is to flush, commit and leave.
    pub shutdown: watch::Receiver<bool>,
    /// `task.shutdown.graceful.timeout.ms`.
    pub shutdown_timeout: Duration,
    /// `offset.flush.interval.ms`.
    pub offset_flush_interval: Duration,
}

/// Why a task failed.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A record or a row cannot be stored and `errors.tolerance` is `none`.
    #[error("{partition} offset {offset}{}: {error}. The task stops because errors.tolerance is `none`; correct the producer and \
             skip the record, or set errors.tolerance to `all` with errors.deadletterqueue.topic.name", row.map(|r| format!(" row {r}")).unwrap_or_default())]
    Record {
        /// Its partition.
        partition: TopicPartition,
        /// Its offset.
        offset: i64,
        /// The row's index, if it is about one row.
        row: Option<usize>,
        /// What is wrong.
        error: String,
    },
    /// The sink cannot go on.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Kafka refused something, or cannot be reached for good.
    #[error("{action}: {source}")]
    Kafka {
        /// What was being done, to what.
        action: String,
        /// Kafka's words.
        source: KafkaError,
    },
    /// The group's offset does not exist in the partition.
    #[error("{0}")]
    OffsetOutOfRange(String),
    /// Something else about the assignment.
    #[error("{0}")]
    Assignment(String),
}

/// Where a flush is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its intent is to be committed.
    Intent,
    /// The sink completes it.
    Completing,
    /// The dead letters before its end are to be acknowledged.
    DeadLetters,
    /// Its end is to be committed.
    End,
}

/// A partition that is ours. It lasts from one assignment to its revocation: the ownership epoch in which commits are allowed.
struct Owned {
    partition: TopicPartition,
    /// What the group has committed.
    committed: Option<i64>,
    /// Offset of the first record seen, where nothing was committed.
    first: Option<i64>,
    /// The next offset to be put.
    position: Option<i64>,
    /// It has been read to its end, which is where it was taken over.
    at_end_unread: bool,
    idle_since: Option<Instant>,
    replay: Option<(Replay, Converter)>,
    paused: bool,
    flush: Option<(Flush, Stage)>,
    commit_logged: bool,
    last_commit: Instant,
}

/// Runs a task until it is told to shut down, or fails. Blocks; belongs on a thread of its own.
pub fn run(spec: TaskSpec) -> Result<(), TaskError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| TaskError::Assignment(format!("starting the task's event loop: {e}")))?;
    runtime.block_on(async { Task::new(spec)?.run().await })
}

struct Task {
    consumer: Arc<Consumer>,
    sink: Box<dyn SinkTask>,
    converter: Converter,
    errors: ErrorHandling,
    errant: Vec<ErrantRow>,
    null_values: NullValues,
    owned: Vec<Owned>,
    /// Over `buffer.memory`, and not yet under half of it again.
    pressed: bool,
    stopping: Option<Instant>,
    config: Config,
    topics: Subscription,
    budget: Budget,
    metrics: TaskMetrics,
    wake: Arc<Notify>,
    shutdown: watch::Receiver<bool>,
    shutdown_timeout: Duration,
    offset_flush_interval: Duration,
    lag_measured: Instant,
}

/// `behavior.on.null.values`.
#[derive(Debug, Clone, Copy)]
enum NullValues {
    Ignore,
    Fail,
    DeadLetter,
}

impl Task {
    fn new(spec: TaskSpec) -> Result<Self, TaskError> {
        let config = spec.connector.config.clone();
        let wake = Arc::<Notify>::default();
        let label = format!("connector {}, task {}", spec.connector.name, spec.task);
        let converter = Converter::new(&config)?;
        let mut client = spec.client;
        client.set("group.id", format!("connect-{}", spec.connector.name));
        let consumer = Consumer::new(client, label, Arc::clone(&wake))
            .map_err(|source| TaskError::Kafka { action: "creating the consumer".into(), source })?;
        let sink = spec.sink.task(TaskContext {
            connector: spec.connector.name.as_str().into(),
            task: spec.task,
            runtime: spec.runtime,
            wake: Arc::clone(&wake),
            budget: spec.budget.clone(),
            retry: spec.retry,
        });
        Ok(Self {
            consumer: Arc::new(consumer),
            sink,
            converter,
            errors: ErrorHandling::new(&config, spec.dead_letters),
            errant: Vec::new(),
            null_values: match config.text("behavior.on.null.values") {
                "ignore" => NullValues::Ignore,
                "fail" => NullValues::Fail,
                _ => NullValues::DeadLetter,
            },
            owned: Vec::new(),
            pressed: false,
            stopping: None,
            config,
            topics: spec.connector.topics.clone(),
            budget: spec.budget,
            metrics: spec.metrics,
            wake,
            shutdown: spec.shutdown,
            shutdown_timeout: spec.shutdown_timeout,
            offset_flush_interval: spec.offset_flush_interval,
            lag_measured: Instant::now(),
        })
    }

    async fn run(mut self) -> Result<(), TaskError> {
        self.subscribe()?;
        let (consumer, wake, mut shutdown) =
            (Arc::clone(&self.consumer), Arc::clone(&self.wake), self.shutdown.clone());
        let mut records = consumer.stream().stream();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(record) = records.next() => {
                    self.receive(record)?;
                    for _ in 1..BATCH {
                        if self.budget.is_over() {
                            break;
                        }
                        let Some(Some(record)) = records.next().now_or_never() else { break };
                        self.receive(record)?;
                    }
                }
                () = wake.notified() => {}
                _ = tick.tick() => {}
                _ = shutdown.wait_for(|stop| *stop), if self.stopping.is_none() => self.stopping = Some(Instant::now()),
            }
            self.apply_changes()?;
            self.errors.poll()?;
            self.relieve_pressure()?;
            let settled = self.advance()?;
            self.measure_lag();
            if let Some(since) = self.stopping {
                if settled {
                    break;
                }
                if since.elapsed() > self.shutdown_timeout {
                    self.report_unflushed();
                    break;
                }
            }
        }
        for owned in &self.owned {
            self.sink.close(&owned.partition);
        }
        drop(records);
        consumer.leave().await;
        Ok(())
    }

    fn subscribe(&self) -> Result<(), TaskError> {
        let topics: Vec<String> = match &self.topics {
            Subscription::Topics(topics) => topics.clone(),
            // librdkafka takes a name that begins with ^ as a pattern, and matches it from there on, not to the name's end.
            Subscription::Regex(regex) => vec![format!("^({regex})$")],
        };
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        self.consumer
            .stream()
            .subscribe(&names)
            .map_err(|source| TaskError::Kafka { action: format!("subscribing to {}", topics.join(", ")), source })
    }

    /// Takes what a poll gave. What the poll's callbacks said comes first: a record may be of a partition that was assigned just now.
    fn receive(&mut self, record: Result<BorrowedMessage<'_>, KafkaError>) -> Result<(), TaskError> {
        self.apply_changes()?;
        match record {
            Ok(record) => self.put(&record),
            Err(KafkaError::PartitionEOF(number)) => {
                self.end_reached(number);
                Ok(())
            }
            Err(error) => match error.rdkafka_error_code() {
                Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => Err(self.out_of_range()),
                Some(
                    Code::TopicAuthorizationFailed
                    | Code::GroupAuthorizationFailed
                    | Code::ClusterAuthorizationFailed
                    | Code::SaslAuthenticationFailed
                    | Code::Authentication
                    | Code::Fatal,
                ) => Err(TaskError::Kafka { action: "consuming".into(), source: error }),
                _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                    Err(TaskError::Kafka { action: "consuming".into(), source: error })
                }
                // librdkafka goes on trying; its context has logged the reason.
                _ => Ok(()),
            },
        }
    }

    /// A partition of this number has been read to its end. That has to be known of one without records since it was assigned only where
    /// a flush is to be repeated whose records are gone. The event does not name the topic, and cached watermarks may be older than the
    /// assignment, so the broker is asked.
    fn end_reached(&mut self, number: i32) {
        let repeating = |o: &&mut Owned| o.partition.partition == number && o.position.is_none() && o.replay.is_some();
        for owned in self.owned.iter_mut().filter(repeating) {
            let (topic, timeout) = (&*owned.partition.topic, Duration::from_secs(10));
            if let Ok((low, high)) = self.consumer.stream().fetch_watermarks(topic, number, timeout) {
                owned.at_end_unread = owned.committed.unwrap_or(low) >= high;
            }
        }
    }

    /// Says which partition's offset is gone. The event itself does not name it.
    fn out_of_range(&self) -> TaskError {
        let gone = self.owned.iter().find_map(|o| {
            let offset = o.position.or(o.committed)?;
            let (topic, partition) = (&*o.partition.topic, o.partition.partition);
            let (low, high) =
                self.consumer.stream().fetch_watermarks(topic, partition, Duration::from_secs(10)).ok()?;
            (offset < low || offset > high).then(|| {
                format!("{} offset {offset} is out of range: the partition holds {low} to {high}", o.partition)
            })
        });
        TaskError::OffsetOutOfRange(format!(
            "{}. Records between were deleted before they were consumed, or the topic was made anew. Nothing is skipped by itself: \
             set the group's offset (kafka-consumer-groups --reset-offsets) to where it is to go on",
            gone.unwrap_or_else(|| "an offset of the group is out of range".into())
        ))
    }

    fn put(&mut self, record: &BorrowedMessage<'_>) -> Result<(), TaskError> {
        let (topic, number, offset) = (record.topic(), record.partition(), record.offset());
        let Some(owned) =
            self.owned.iter_mut().find(|o| o.partition.partition == number && &*o.partition.topic == topic)
        else {
            return Ok(()); // revoked while it was in the queue; the next owner reads it
        };
        if owned.position.is_some_and(|position| offset < position) {
            return Ok(()); // put before a seek
        }
        owned.first.get_or_insert(offset);
        owned.position = Some(offset + 1);
        owned.at_end_unread = false;
        owned.idle_since = None;
        self.metrics.records_read(1);

        let origin = Arc::new(Origin {
            partition: owned.partition.clone(),
            offset,
            timestamp: record.timestamp().to_millis(),
            key: record.key().map(<[u8]>::to_vec),
            headers: record
                .headers()
                .map(|headers| headers.iter().map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec))).collect())
                .unwrap_or_default(),
        });
        let converter = match &owned.replay {
            Some((replay, converter)) if offset < replay.end => converter,
            _ => &self.converter,
        };
        let errors = &mut self.errors;
        let Some(payload) = record.payload() else {
            let error = "the record's value is null (a tombstone), which is no message".to_owned();
            match self.null_values {
                NullValues::Ignore => self.metrics.record_skipped(),
                NullValues::Fail => {
                    return Err(TaskError::Record {
                        partition: origin.partition.clone(),
                        offset,
                        row: None,
                        error: format!("{error}; behavior.on.null.values is `fail`"),
                    });
                }
                NullValues::DeadLetter => errors.handle(
                    Failure {
                        origin: &origin,
                        stage: ErrorStage::ValueConverter,
                        class: "NullValue",
                        error,
                        row: None,
                        value: None,
                    },
                    &self.metrics,
                )?,
            }
            return self.put_rows(&origin, &[]);
        };
        let message = match converter.parse(payload) {
            Ok(message) => message,
            Err(error) => {
                errors.handle(
                    Failure {
                        origin: &origin,
                        stage: ErrorStage::ValueConverter,
                        class: error.class(),
                        error: error.to_string(),
                        row: None,
                        value: Some(payload),
                    },
                    &self.metrics,
                )?;
                return self.put_rows(&origin, &[]);
            }
        };
        let mut failed = Vec::new();
        let rows = converter.rows(&message, |index, failure| failed.push((index, failure)));
        for (index, failure) in failed {
            let (stage, class, error) = match failure {
                RowFailure::Element(error) => (ErrorStage::ValueConverter, error.class(), error.to_string()),
                RowFailure::Update { field, error } => {
                    (ErrorStage::Transformation, error.class(), format!("setting field `{field}`: {error}"))
                }
            };
            let value = message.element_text(index).as_bytes();
            errors.handle(
                Failure { origin: &origin, stage, class, error, row: Some(index), value: Some(value) },
                &self.metrics,
            )?;
        }
        self.put_rows(&origin, &rows)
    }

    fn put_rows(&mut self, origin: &Arc<Origin>, rows: &[fms_record::Row<'_>]) -> Result<(), TaskError> {
        let result = self.sink.put(&SinkRecord { origin, rows }, &mut self.errant);
        self.report_errant()?;
        match result {
            Ok(()) => {
                self.metrics.records_sent(1);
                Ok(())
            }
            Err(SinkError::Restart(reason)) => {
                let i = self.owned.iter().position(|o| o.partition == origin.partition);
                i.map_or(Ok(()), |i| self.restart(i, &reason))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Hands the rows that the sink refused to the error handling.
    fn report_errant(&mut self) -> Result<(), TaskError> {
        for row in std::mem::take(&mut self.errant) {
            self.errors.handle(
                Failure {
                    origin: &row.origin,
                    stage: ErrorStage::TaskPut,
                    class: row.class,
                    error: row.error,
                    row: Some(row.index),
                    value: Some(&row.text),
                },
                &self.metrics,
            )?;
        }
        Ok(())
    }

    /// Opens what was assigned and closes what was revoked since the last poll.
    fn apply_changes(&mut self) -> Result<(), TaskError> {
        for change in self.consumer.changes() {
            match change {
                Change::Assigned(partitions) => {
                    for committed in partitions {
                        self.close(&committed.partition.clone());
                        self.open(committed)?;
                    }
                }
                Change::Revoked(partitions) => {
                    for partition in &partitions {
                        self.close(partition);
                    }
                }
                Change::Failed(reason) => return Err(TaskError::Assignment(reason)),
            }
            self.metrics.partition_count(self.owned.len());
        }
        Ok(())
    }

    fn open(&mut self, Committed { partition, offset, metadata }: Committed) -> Result<(), TaskError> {
        let replay = intent::decode(&metadata)
            .map_err(|e| TaskError::Assignment(format!("taking over {partition} at offset {offset:?}: {e}")))?;
        let replay = match replay {
            Some(replay) => {
                let config = self.config.with(&replay.settings).map_err(|e| {
                    TaskError::Assignment(format!(
                        "repeating the flush of {partition} up to offset {}: {e}",
                        replay.end
                    ))
                })?;
                Some((replay, Converter::new(&config)?))
            }
            None => None,
        };
        tracing::info!(%partition, committed = offset, replay = replay.as_ref().map(|(r, _)| r.end), "partition assigned");
        match self.sink.open(&partition, offset, replay.as_ref().map(|(replay, _)| replay)) {
            Ok(()) => {}
            Err(SinkError::Restart(reason) | SinkError::Fatal(reason)) => return Err(SinkError::Fatal(reason).into()),
        }
        self.owned.push(Owned {
            partition,
            committed: offset,
            first: None,
            position: None,
            at_end_unread: false,
            idle_since: None,
            replay,
            paused: false,
            flush: None,
            commit_logged: false,
            last_commit: Instant::now(),
        });
        Ok(())
    }

    fn close(&mut self, partition: &TopicPartition) {
        if let Some(i) = self.owned.iter().position(|o| o.partition == *partition) {
            tracing::info!(%partition, flush = ?self.owned[i].flush, "partition revoked");
            self.owned.swap_remove(i);
            self.metrics.forget(partition);
            self.sink.close(partition);
        }
    }

    /// Forgets what is buffered of a partition that is still ours and begins again at what the group has committed.
    fn restart(&mut self, i: usize, reason: &str) -> Result<(), TaskError> {
        let partition = self.owned[i].partition.clone();
        tracing::warn!(%partition, "starting again from the committed offset: {reason}");
        self.close(&partition);
        let committed = self.consumer.committed(&partition).map_err(|source| TaskError::Kafka {
            action: format!("reading the committed offset of {partition}"),
            source,
        })?;
        self.consumer.seek(&partition, committed.offset).map_err(|source| TaskError::Kafka {
            action: format!("seeking {partition} to {:?}", committed.offset),
            source,
        })?;
        self.open(committed)
    }

    /// Over `buffer.memory`: stop fetching and flush. Under half of it: go on.
    ///
    /// A flush that is repeated cannot end early, so its partition goes on being fetched: waiting for memory that only its own end gives
    /// back would never end.
    fn relieve_pressure(&mut self) -> Result<(), TaskError> {
        self.pressed = if self.pressed { !self.budget.is_relieved() } else { self.budget.is_over() };
        for owned in &mut self.owned {
            let pause = self.stopping.is_some() || self.pressed && owned.replay.is_none();
            if pause != owned.paused {
                let partition = [&owned.partition];
                let result = if pause { self.consumer.pause(partition) } else { self.consumer.resume(partition) };
                result.map_err(|source| TaskError::Kafka {
                    action: format!("{} {}", if pause { "pausing" } else { "resuming" }, owned.partition),
                    source,
                })?;
                owned.paused = pause;
            }
        }
        Ok(())
    }

    /// Brings every partition's flush as far as it goes now. Whether none is under way and none is due.
    fn advance(&mut self) -> Result<bool, TaskError> {
        let mut settled = true;
        for partition in self.owned.iter().map(|o| o.partition.clone()).collect::<Vec<_>>() {
            // A step can close its partition, which moves the others.
            while let Some(i) = self.owned.iter().position(|o| o.partition == partition) {
                match self.step(i)? {
                    Step::Again => {}
                    Step::Wait => {
                        settled = false;
                        break;
                    }
                    Step::Idle => break,
                }
            }
        }
        Ok(settled)
    }

    fn step(&mut self, i: usize) -> Result<Step, TaskError> {
        let Some((flush, stage)) = self.owned[i].flush.clone() else { return self.begin(i) };
        let partition = self.owned[i].partition.clone();
        let next = match stage {
            Stage::Intent => {
                let owned = &self.owned[i];
                let settings = match &owned.replay {
                    Some((replay, _)) => replay.settings.clone(),
                    None => self.config.intent_settings(),
                };
                let Some(start) = owned.committed.or(owned.first) else {
                    return Err(TaskError::Assignment(format!("a flush of {partition} without a record: {flush:?}")));
                };
                match self.commit(i, start, &intent::encode(flush.end, &settings))? {
                    Step::Again => {}
                    other => return Ok(other),
                }
                match self.sink.flush(&partition) {
                    Ok(()) => Stage::Completing,
                    Err(error) => return self.recover(i, error),
                }
            }
            Stage::Completing => {
                let complete = self.sink.poll(&partition, &mut self.errant);
                self.report_errant()?;
                match complete {
                    Ok(true) => Stage::DeadLetters,
                    Ok(false) => return Ok(Step::Wait),
                    Err(error) => return self.recover(i, error),
                }
            }
            Stage::DeadLetters => {
                if !self.errors.acknowledged(&partition, flush.end)? {
                    return Ok(Step::Wait);
                }
                Stage::End
            }
            Stage::End => {
                match self.commit(i, flush.end, "")? {
                    Step::Again => {}
                    other => return Ok(other),
                }
                let owned = &mut self.owned[i];
                owned.committed = Some(flush.end);
                owned.last_commit = Instant::now();
                if owned.replay.as_ref().is_some_and(|(replay, _)| flush.end >= replay.end) {
                    owned.replay = None;
                }
                owned.flush = None;
                return Ok(Step::Again);
            }
        };
        self.owned[i].flush = Some((flush, next));
        Ok(Step::Again)
    }

    /// Asks the sink for a flush that is due.
    fn begin(&mut self, i: usize) -> Result<Step, TaskError> {
        let owned = &mut self.owned[i];
        let at_end = match owned.position {
            // A record has come since the assignment, and with it the watermark of the fetch that brought it.
            Some(position) => self.consumer.watermarks(&owned.partition).is_some_and(|(_, high)| position >= high),
            None => owned.at_end_unread,
        };
        owned.idle_since = if at_end { owned.idle_since.or_else(|| Some(Instant::now())) } else { None };
        let tick = Tick {
            wall_millis: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)),
            idle: owned.idle_since.map(|since| since.elapsed()),
            demand: if self.stopping.is_some() {
                Demand::Shutdown
            } else if self.pressed {
                Demand::Memory
            } else if owned.last_commit.elapsed() >= self.offset_flush_interval {
                Demand::Commit
            } else {
                Demand::Settings
            },
        };
        match self.sink.due(&owned.partition, &tick) {
            Ok(None) => Ok(Step::Idle),
            Ok(Some(flush)) => {
                tracing::debug!(partition = %owned.partition, end = flush.end, reason = flush.reason, "flush");
                self.metrics.flush(flush.reason);
                if flush.intent {
                    owned.flush = Some((flush, Stage::Intent));
                    return Ok(Step::Again);
                }
                let partition = owned.partition.clone();
                owned.flush = Some((flush, Stage::Completing));
                match self.sink.flush(&partition) {
                    Ok(()) => Ok(Step::Again),
                    Err(error) => self.recover(i, error),
                }
            }
            Err(error) => self.recover(i, error),
        }
    }

    fn recover(&mut self, i: usize, error: SinkError) -> Result<Step, TaskError> {
        match error {
            SinkError::Restart(reason) => self.restart(i, &reason).map(|()| Step::Wait),
            error @ SinkError::Fatal(_) => Err(error.into()),
        }
    }

    /// Commits for a partition that is ours. `Again` is success; on `Wait` it is to be tried again after a poll.
    fn commit(&mut self, i: usize, offset: i64, metadata: &str) -> Result<Step, TaskError> {
        let partition = self.owned[i].partition.clone();
        let outcome = self.consumer.commit(&partition, offset, metadata).map_err(|source| TaskError::Kafka {
            action: format!("committing offset {offset} of {partition} in group connect-{}", self.config.name()),
            source,
        })?;
        match outcome {
            CommitOutcome::Done => {
                self.metrics.commit_ok();
                self.owned[i].commit_logged = false;
                Ok(Step::Again)
            }
            CommitOutcome::Later(reason) => {
                self.metrics.commit_failed();
                if !std::mem::replace(&mut self.owned[i].commit_logged, true) {
                    tracing::warn!(%partition, offset, "commit not accepted now, trying again while the partition is ours: {reason}");
                }
                Ok(Step::Wait)
            }
            CommitOutcome::Lost(reason) => {
                self.metrics.commit_failed();
                tracing::warn!(%partition, offset, "no longer a member of the group, the flush is the next owner's: {reason}");
                self.close(&partition);
                Ok(Step::Wait)
            }
        }
    }

    fn measure_lag(&mut self) {
        if self.lag_measured.elapsed() < LAG_INTERVAL {
            return;
        }
        self.lag_measured = Instant::now();
        for owned in &self.owned {
            if let Some((low, high)) = self.consumer.watermarks(&owned.partition) {
                let position = owned.position.or(owned.committed).unwrap_or(low);
                self.metrics.lag(&owned.partition, (high - position).max(0));
            }
        }
    }

    fn report_unflushed(&self) {
        for owned in self.owned.iter().filter(|o| o.position.is_some() && o.position != o.committed) {
            tracing::warn!(
                partition = %owned.partition, committed = owned.committed, position = owned.position, flush = ?owned.flush,
                "not flushed within task.shutdown.graceful.timeout.ms; these records are read again by the next owner"
            );
        }
    }
}

/// What a step of a partition's flush came to.
enum Step {
    /// It went on; there may be more to do at once.
    Again,
    /// It waits for something outside.
    Wait,
    /// There is nothing to do.
    Idle,
}
