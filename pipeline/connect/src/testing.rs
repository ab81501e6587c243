//! Driving a sink's task in a test as the runtime drives it: records in, flushes out, without Kafka.
//!
//! ```
//! # use std::sync::Arc;
//! # use fms_connect::{Config, ConfigError, Demand, ErrantRow, SinkConnector, SinkError, SinkRecord, SinkTask};
//! # use fms_connect::TaskFactory;
//! # struct Sink;
//! # impl SinkConnector for Sink {
//! #     fn classes(&self) -> &'static [&'static str] { &["Sink"] }
//! #     fn start(&self, _: &Config, _: &tokio::runtime::Handle) -> Result<TaskFactory, ConfigError> {
//! #         Ok(Arc::new(|_| Box::new(Sink)))
//! #     }
//! # }
//! # impl SinkTask for Sink {
//! #     fn put(&mut self, _: &SinkRecord<'_>, _: &mut Vec<ErrantRow>) -> Result<(), SinkError> { Ok(()) }
//! # }
//! use fms_connect::testing::{self, Driver};
//!
//! let runtime = tokio::runtime::Runtime::new()?;
//! let config = testing::config(&Sink, &[])?;
//! let task = Sink.start(&config, runtime.handle())?;
//! let mut driver = Driver::new(&config, runtime.handle(), |context| task(context));
//!
//! let partition = testing::partition("vehicles", 0);
//! driver.task.open(&partition, None, None)?;
//! driver.put(&partition, 41, r#"{"id":7}"#, None)?;
//! let flush = driver.due(&partition, &testing::tick(Demand::Shutdown))?.expect("a flush");
//! driver.flush(&partition)?;
//! assert_eq!(flush.end, 42);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use fms_record::{Parser, Row};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::config::common::COMMON;
use crate::{
    Budget, Config, ConfigError, Demand, ErrantRow, Flush, LazyOrigin, Origin, RetryLimits, SinkConnector, SinkError,
    SinkRecord, SinkTask, TaskContext, Tick, TopicPartition,
};

/// How long background work may take before a test says that it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// The bytes of the task's budget.
const BUDGET: usize = 64 << 20;

/// A configuration for a connector of this sink, named `test`. `values` are its own keys; a value of `name` or `topics`
/// replaces the default.
pub fn config(sink: &dyn SinkConnector, values: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let class = sink.classes().first().copied().unwrap_or_default();
    let base = [("name", "test"), ("connector.class", class), ("topics", "t")];
    let values: BTreeMap<_, _> =
        base.iter().chain(values).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let name = values["name"].clone();
    Config::new(&name, &[COMMON, sink.keys()], values)
}

/// A partition of a topic.
pub fn partition(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition }
}

/// A tick at the wall clock's beginning, while there are records to come. [`Driver::due`] adds what is not committed.
pub fn tick(demand: Demand) -> Tick {
    Tick { wall_millis: 0, idle: None, demand, uncommitted: None }
}

/// A task of a sink, and what the runtime has around it.
pub struct Driver<T: SinkTask + ?Sized> {
    /// The task, for calls without a method of the driver.
    pub task: Box<T>,
    /// The budget in which the task reserves what it holds.
    pub budget: Budget,
    /// The rows that the task has refused so far.
    pub errant: Vec<ErrantRow>,
    /// The settings that an intent of this task keeps.
    pub intent: BTreeMap<String, String>,
    /// The offset after the last record that was put, for each partition where no flush up to it is complete.
    uncommitted: HashMap<TopicPartition, i64>,
    /// The end of the flush that was due last, for each partition.
    ends: HashMap<TopicPartition, i64>,
    runtime: Handle,
    wake: Arc<Notify>,
}

impl<T: SinkTask + ?Sized> Driver<T> {
    /// Drives the task that `task` makes for a connector of this configuration.
    pub fn new(config: &Config, runtime: &Handle, task: impl FnOnce(TaskContext) -> Box<T>) -> Self {
        let (budget, wake) = (Budget::new(BUDGET), Arc::<Notify>::default());
        let context = TaskContext {
            connector: config.name().into(),
            task: 0,
            runtime: runtime.clone(),
            wake: Arc::clone(&wake),
            budget: budget.clone(),
            retry: RetryLimits::of(config),
        };
        let (task, intent, runtime) = (task(context), config.intent_settings(), runtime.clone());
        let (uncommitted, ends) = (HashMap::new(), HashMap::new());
        Self { task, budget, errant: Vec::new(), intent, uncommitted, ends, runtime, wake }
    }

    /// Puts a record with this message. The elements of its field `list`, if one is named, are its rows. Panics if the
    /// message is none.
    pub fn put(
        &mut self,
        partition: &TopicPartition,
        offset: i64,
        message: &str,
        list: Option<&str>,
    ) -> Result<(), SinkError> {
        let mut parser = Parser::new(list.map(Into::into));
        let message = parser.parse(message.as_bytes()).unwrap_or_else(|error| panic!("no message: {error}"));
        let row =
            |row: Result<_, (usize, _)>| row.unwrap_or_else(|(at, error)| panic!("element {at} is no row: {error}"));
        let rows: Vec<Row<'_>> = message.rows().map(row).collect();
        self.put_rows(partition, offset, &rows)
    }

    /// Puts a record of these rows, whose timestamp is 0.
    pub fn put_rows(&mut self, partition: &TopicPartition, offset: i64, rows: &[Row<'_>]) -> Result<(), SinkError> {
        let timestamp = Some(0);
        let origin = || Origin { partition: partition.clone(), offset, timestamp, key: None, headers: Vec::new() };
        let origin = &LazyOrigin::new(&origin);
        self.uncommitted.insert(partition.clone(), offset + 1);
        self.task.put(&SinkRecord { partition, offset, timestamp, origin, rows }, &mut self.errant)
    }

    /// The flush that is due.
    pub fn due(&mut self, partition: &TopicPartition, tick: &Tick) -> Result<Option<Flush>, SinkError> {
        let tick = Tick { uncommitted: self.uncommitted.get(partition).copied(), ..*tick };
        let flush = self.task.due(partition, &tick)?;
        self.ends.extend(flush.iter().map(|flush| (partition.clone(), flush.end)));
        Ok(flush)
    }

    /// Completes the flush that was due, as if its intent was committed, and commits its end.
    pub fn flush(&mut self, partition: &TopicPartition) -> Result<(), SinkError> {
        self.task.flush(partition)?;
        self.wait("the end of the flush", |driver| {
            driver.task.poll(partition, &mut driver.errant).map(|done| done.then_some(())).transpose()
        })?;
        let end = self.ends.remove(partition);
        if end >= self.uncommitted.get(partition).copied() {
            self.uncommitted.remove(partition);
        }
        Ok(())
    }

    /// Completes all flushes that are due, one after the other. Gives the end and the reason of each.
    pub fn flush_all(
        &mut self,
        partition: &TopicPartition,
        tick: &Tick,
    ) -> Result<Vec<(i64, &'static str)>, SinkError> {
        let mut flushes = Vec::new();
        while let Some(flush) = self.due(partition, tick)? {
            self.flush(partition)?;
            flushes.push((flush.end, flush.reason));
        }
        Ok(flushes)
    }

    /// Asks `condition` until it gives something, again after each notice of the task's background work. `what` is what
    /// is waited for.
    pub fn wait<R>(&mut self, what: &str, mut condition: impl FnMut(&mut Self) -> Option<R>) -> R {
        loop {
            if let Some(value) = condition(self) {
                return value;
            }
            self.notified(what);
        }
    }

    /// Waits until the task's background work has notified the task since the last wait. Panics after 30 seconds, and
    /// says that it waited for `what`.
    pub fn notified(&self, what: &str) {
        let notified = async { tokio::time::timeout(PATIENCE, self.wake.notified()).await };
        assert!(self.runtime.block_on(notified).is_ok(), "waited in vain for {what}");
    }
}
