//! The sink runtime in the manner of Kafka Connect: connectors from JSON, tasks, offsets, retries, dead letters,
//! metrics and REST.
//!
//! A sink implements two traits: a [`SinkConnector`] checks a configuration, starts and makes tasks, and a [`SinkTask`]
//! takes records and stores them. `examples/stdout.rs` is a complete sink, and [`testing`] drives a task as the runtime
//! does. A [`worker`] runs connectors; [`config`], [`settings`] and [`providers`] are what it is configured with.

pub mod access;
mod budget;
pub mod config;
mod connector;
mod convert;
pub mod deadletter;
mod group;
mod intent;
mod kafka;
pub mod loggers;
pub mod metrics;
mod plugins;
pub mod providers;
mod pulse;
mod rest;
pub mod settings;
mod signal;
mod sink;
mod status;
mod task;
pub mod testing;
mod transforms;
pub mod worker;

/// The revision of the sources that this program was built from, if whoever built it has said so by the variable
/// `FMS_REVISION`.
pub const REVISION: &str = match option_env!("FMS_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

pub use budget::{Budget, Reservation};
pub use config::{Config, ConfigError, Importance, Key, ValueType};
pub use sink::{
    Demand, ErrantRow, ExclusiveTarget, Flush, LazyOrigin, Origin, Replay, RetryLimits, SinkConnector, SinkError,
    SinkRecord, SinkTask, TaskContext, TaskFactory, Tick, TopicPartition,
};
pub use transforms::TopicRouter;
