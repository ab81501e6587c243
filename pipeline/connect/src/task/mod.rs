//! One sink task: it polls its partitions, converts records, puts them into the sink, flushes and commits. Everything
//! that Kafka sees of a task happens on its thread.
//!
//! `records` takes batches of records, `partitions` follows the assignment, `flush` brings the flush of each partition
//! from stage to stage, and `tolerance` decides what becomes of failures.

mod error;
mod flush;
mod orders;
mod partitions;
mod records;
mod tolerance;

use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

pub(crate) use self::error::{Recovery, TaskError};
pub(crate) use self::orders::{Orders, Wanted};
use self::partitions::{Owned, Partitions, Reopening};
use self::tolerance::Tolerance;
use crate::config::common::NullValues;
use crate::connector::{ConnectorSpec, Subscription};
use crate::convert::Converter;
use crate::deadletter::DeadLetterQueue;
use crate::kafka::Consumer;
use crate::metrics::TaskMetrics;
use crate::pulse::LoopStep;
use crate::sink::{ErrantRow, RetryLimits, SinkTask, TaskContext, TaskFactory};
use crate::status::{State, TaskStatus};
use crate::{Budget, Config, TopicPartition};

/// How often conditions that depend on time are checked, and how soon a commit that had to wait is tried again.
const TICK: Duration = Duration::from_millis(20);

/// How many batches of records are taken before flushes and commits get their turn.
const BATCHES: usize = 5;

/// How often the lag is measured.
const LAG_INTERVAL: Duration = Duration::from_secs(1);

/// How often partitions with nothing to flush are looked at, so that failures in their background work are noticed.
const LOOK_AT_ALL: Duration = Duration::from_secs(1);

/// What a task is made of, each time it begins.
#[derive(Clone)]
pub(crate) struct TaskSpec {
    /// The connector it belongs to.
    pub connector: Arc<ConnectorSpec>,
    /// Its number, from 0.
    pub task: u32,
    /// Makes the task of the connector's sink.
    pub sink: TaskFactory,
    /// The settings of the consumer, without `group.id` and those that delivery depends on.
    pub client: rdkafka::ClientConfig,
    /// The settings of the producer of dead letters, without those of the connector.
    pub producer: rdkafka::ClientConfig,
    /// Where the sink's background work runs.
    pub runtime: Handle,
    /// The worker's `buffer.memory`.
    pub budget: Budget,
    /// `errors.retry.*`.
    pub retry: RetryLimits,
    /// What the task is told to do.
    pub orders: Orders,
    /// `task.shutdown.graceful.timeout.ms`.
    pub shutdown_timeout: Duration,
    /// `offset.flush.interval.ms`.
    pub offset_flush_interval: Duration,
    /// Where the task reports how it is.
    pub status: Arc<TaskStatus>,
}

/// Runs a task until it is told to shut down, or fails. It blocks its thread.
pub(crate) fn run(spec: TaskSpec) -> Result<(), TaskError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| TaskError::Assignment(format!("starting the task's event loop: {e}")))?;
    runtime.block_on(async { Task::new(spec)?.run().await })
}

struct Task {
    consumer: Consumer,
    sink: Box<dyn SinkTask>,
    converter: Converter,
    errors: Tolerance,
    errant: Vec<ErrantRow>,
    null_values: NullValues,
    owned: Partitions,
    /// Partitions that the task owns and has closed, until it is known where they go on.
    reopening: Vec<Reopening>,
    /// The partitions of which the group had committed nothing, and the offsets from which they are read, until those
    /// are committed.
    starts: Vec<(TopicPartition, i64)>,
    /// Partitions that have asked to be begun again, or to be read again from where they are, since the last batch.
    starting_over: Vec<TopicPartition>,
    /// Whether the task was over `buffer.memory` and is not yet under half of it again.
    pressed: bool,
    /// Whether records are taken.
    taking: bool,
    /// What is wanted of the task, as it has taken notice of it.
    wanted: Wanted,
    stopping: Option<Instant>,
    /// Whether a commit of this pass of the loop had to wait.
    commits_wait: bool,
    config: Config,
    topics: Subscription,
    budget: Budget,
    metrics: TaskMetrics,
    wake: Arc<Notify>,
    orders: Orders,
    shutdown_timeout: Duration,
    offset_flush_interval: Duration,
    lag_measured: Instant,
    all_looked_at: Instant,
    status: Arc<TaskStatus>,
}

/// Why no more records were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intake {
    /// There are none, and the next one notifies the task; or none are to be taken.
    Drained,
    /// It is time for flushes and commits. There may be more records.
    More,
    /// The sink has enough.
    Full,
}

impl Task {
    fn new(spec: TaskSpec) -> Result<Self, TaskError> {
        let config = spec.connector.config.clone();
        let wake = Arc::<Notify>::default();
        let label = format!("connector {}, task {}", spec.connector.name, spec.task);
        let converter = Converter::new(&config)?;
        let dead_letters = DeadLetterQueue::start(&config, spec.task, &spec.producer, &spec.budget)
            .map_err(|mut wrong| wrong.swap_remove(0))?;
        let mut client = spec.client;
        client.set("group.id", format!("connect-{}", spec.connector.name));
        let consumer = Consumer::new(client, label, &wake)
            .map_err(|source| TaskError::Kafka { action: "creating the consumer".into(), source })?;
        let sink = (spec.sink)(TaskContext {
            connector: spec.connector.name.as_str().into(),
            task: spec.task,
            runtime: spec.runtime,
            wake: Arc::clone(&wake),
            budget: spec.budget.clone(),
            retry: spec.retry,
        });
        Ok(Self {
            consumer,
            sink,
            converter,
            errors: Tolerance::new(&config, dead_letters)?,
            errant: Vec::new(),
            null_values: config.one_of("behavior.on.null.values")?,
            owned: Partitions::default(),
            reopening: Vec::new(),
            starts: Vec::new(),
            starting_over: Vec::new(),
            pressed: false,
            taking: true,
            wanted: Wanted::Running,
            stopping: None,
            commits_wait: false,
            config,
            topics: spec.connector.topics.clone(),
            budget: spec.budget,
            metrics: TaskMetrics::new(&spec.connector.name, spec.task),
            wake,
            orders: spec.orders,
            shutdown_timeout: spec.shutdown_timeout,
            offset_flush_interval: spec.offset_flush_interval,
            lag_measured: Instant::now(),
            all_looked_at: Instant::now(),
            status: spec.status,
        })
    }

    /// Runs the loop until its end, and leaves the group whatever the result is: the partitions go to others at once,
    /// or to the next try of this task.
    async fn run(mut self) -> Result<(), TaskError> {
        let result = self.turn().await;
        for owned in self.owned.iter() {
            self.sink.close(&owned.partition);
            self.metrics.forget(&owned.partition);
        }
        self.metrics.partition_count(0);
        self.metrics.lags_measured();
        self.status.pulse().is_doing(LoopStep::Leaving);
        if !self.consumer.leave() {
            tracing::warn!(
                "the group coordinator did not answer in time when the task left its group; it removes the member when \
                 the session times out"
            );
        }
        result
    }

    async fn turn(&mut self) -> Result<(), TaskError> {
        self.subscribe()?;
        let (wake, mut orders) = (Arc::clone(&self.wake), self.orders.clone());
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut intake = Intake::Drained;
        loop {
            tokio::select! {
                biased;
                () = orders.stopped(), if self.stopping.is_none() => self.stopping = Some(Instant::now()),
                () = ready(()), if intake == Intake::More => {}
                () = wake.notified() => {}
                _ = tick.tick() => {}
            }
            self.status.pulse().begin_pass();
            self.take_notice();
            intake = self.consume()?;
            self.status.pulse().is_doing(LoopStep::Flushing);
            self.errors.poll()?;
            let taking = self.taking;
            self.relieve_pressure()?;
            let settled = self.advance()?;
            // Records that have come meanwhile are not announced again.
            if intake == Intake::Full && !self.sink.is_full()? || self.taking && !taking {
                intake = Intake::More;
            }
            self.measure_lag();
            if let Some(since) = self.stopping {
                if settled {
                    return Ok(());
                }
                if since.elapsed() > self.shutdown_timeout {
                    let unflushed = self.unflushed();
                    return if unflushed.is_empty() { Ok(()) } else { Err(TaskError::Unflushed(unflushed.join("; "))) };
                }
            }
        }
    }

    fn subscribe(&self) -> Result<(), TaskError> {
        let topics: Vec<String> = match &self.topics {
            Subscription::Topics(topics) => topics.clone(),
            // librdkafka takes a name that begins with ^ as a pattern, which it matches at the beginning of a topic's
            // name but not up to its end.
            Subscription::Regex(pattern) => vec![format!("^({})$", pattern.source())],
        };
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        self.consumer
            .subscribe(&names)
            .map_err(|source| TaskError::Kafka { action: format!("subscribing to {}", topics.join(", ")), source })
    }

    /// Over `buffer.memory`, the task takes no more records and flushes; under half of it, it goes on. What
    /// librdkafka's queue holds meanwhile has a limit of its own.
    ///
    /// A repeated flush cannot end early, so records of its partition are taken up to its end: only that end gives the
    /// memory back. Meanwhile the other partitions are paused, because their records come by the same queue.
    fn relieve_pressure(&mut self) -> Result<(), TaskError> {
        self.pressed = if self.pressed { !self.budget.is_relieved() } else { self.budget.is_over() };
        let closing = self.wanted == Wanted::Paused || self.stopping.is_some();
        let hold = self.pressed || closing;
        let repeats = !closing && self.owned.iter().any(Owned::is_repeating);
        self.taking = !hold || repeats;
        for owned in self.owned.iter_mut() {
            let pause = hold && repeats && !owned.is_repeating();
            if pause != owned.paused {
                let partition = &owned.partition;
                let result = if pause { self.consumer.pause(partition) } else { self.consumer.resume(partition) };
                result.map_err(|source| TaskError::Kafka {
                    action: format!("{} {partition}", if pause { "pausing" } else { "resuming" }),
                    source,
                })?;
                owned.paused = pause;
            }
        }
        Ok(())
    }

    /// Takes notice of what is wanted. From the moment at which it reports that it is paused, it takes no records.
    fn take_notice(&mut self) {
        let wanted = self.orders.wanted();
        if wanted == self.wanted {
            return;
        }
        self.wanted = wanted;
        match wanted {
            Wanted::Paused => {
                self.taking = false;
                tracing::info!(connector = self.config.name(), "the task is paused");
                self.status.set(State::Paused);
            }
            Wanted::Running => {
                self.taking = true;
                tracing::info!(connector = self.config.name(), "the task goes on");
                self.status.set(State::Running);
            }
            Wanted::Stopped => {}
        }
    }

    fn measure_lag(&mut self) {
        if self.lag_measured.elapsed() < LAG_INTERVAL {
            return;
        }
        self.lag_measured = Instant::now();
        for owned in self.owned.iter() {
            if let Some((low, high)) = self.consumer.watermarks(&owned.partition) {
                let position = owned.position.or(owned.committed).unwrap_or(low);
                // The marker at the end of a transaction is not a record that is still to come.
                let position =
                    if position < high { self.consumer.position(&owned.partition).max(Some(position)) } else { None };
                self.metrics.lag(&owned.partition, position.map_or(0, |position| (high - position).max(0)));
            }
        }
        self.metrics.lags_measured();
    }

    /// How long a question to the group may take, so that a task that stops is done in time.
    fn patience(&self) -> Duration {
        self.stopping.map_or(Duration::MAX, |since| self.shutdown_timeout.saturating_sub(since.elapsed()))
    }

    /// What is not flushed, for each partition.
    fn unflushed(&self) -> Vec<String> {
        let offset = |offset: Option<i64>| offset.map_or_else(|| "no offset".to_owned(), |at| format!("offset {at}"));
        let behind =
            self.owned.iter().filter(|o| o.flush.is_some() || o.position.is_some() && o.position != o.committed);
        behind
            .map(|owned| {
                let flush = owned.flush.as_ref().map_or_else(
                    || "no flush is under way".to_owned(),
                    |(flush, stage)| format!("the flush up to offset {} is at the stage {stage:?}", flush.end),
                );
                let (committed, read) = (offset(owned.committed), offset(owned.position));
                format!("{} is committed up to {committed} and read up to {read}, and {flush}", owned.partition)
            })
            .collect()
    }
}
