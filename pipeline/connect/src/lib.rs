//! The sink runtime in the manner of Kafka Connect: connectors from JSON, tasks, offsets, retries, dead letters, metrics, REST.

pub mod budget;
pub mod config;
mod consumer;
mod convert;
pub mod deadletter;
mod errors;
mod exclusive;
mod intent;
pub mod kafka;
mod lookup;
pub mod metrics;
pub mod plugins;
pub mod providers;
pub mod pulse;
mod reach;
mod record;
pub mod rest;
pub mod settings;
pub mod sink;
pub mod status;
pub mod task;
pub mod worker;

pub use budget::{Budget, Reservation};
pub use config::{Config, ConfigError, Importance, Key, Kind};
pub use deadletter::{DeadLetter, DeadLetterQueue, Stage};
pub use sink::{
    Demand, ErrantRow, Flush, LazyOrigin, Origin, Replay, RetryLimits, SinkConnector, SinkError, SinkRecord, SinkTask,
    StartedSink, Target, TaskContext, Tick, TopicPartition,
};
