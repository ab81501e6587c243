//! The metrics of a load test while it runs, `fms_load_*`. Without a page that collects them, they count into nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use super::usage::Usage;

const MESSAGES: &str = "fms_load_messages_total";
const LATE: &str = "fms_load_late_messages_total";
const DELAY: &str = "fms_load_delay_seconds";
const LAG: &str = "fms_load_lag_messages";
const VEHICLES: &str = "fms_load_vehicles";
const WORKERS: &str = "fms_load_workers";
const CORES: &str = "fms_load_cores";
const MEMORY: &str = "fms_load_memory_bytes";

/// Says what the metrics are.
pub(super) fn describe() {
    describe_counter!(MESSAGES, "Messages that were sent.");
    describe_counter!(LATE, "Messages that left late, because the fleet itself was too slow.");
    describe_histogram!(DELAY, "From when a message was due until its first row could be read in DynamoDB.");
    describe_gauge!(LAG, "Messages that a group has not committed.");
    describe_gauge!(VEHICLES, "Vehicles that the step begins with.");
    describe_gauge!(WORKERS, "Workers of the pipeline.");
    describe_gauge!(CORES, "Cores that a process keeps busy.");
    describe_gauge!(MEMORY, "The memory of a process.");
    counter!(MESSAGES).absolute(0);
    counter!(LATE).absolute(0);
}

/// A message was sent.
pub(super) fn sent(is_late: bool) {
    counter!(MESSAGES).increment(1);
    counter!(LATE).increment(u64::from(is_late));
}

/// A row was found.
pub(super) fn found(delay: Duration) {
    histogram!(DELAY).record(delay.as_secs_f64());
}

/// A step has begun.
#[expect(clippy::cast_precision_loss, reason = "gauges")]
pub(super) fn step(vehicles: u64, workers: usize) {
    gauge!(VEHICLES).set(vehicles as f64);
    gauge!(WORKERS).set(workers as f64);
}

/// What was measured at a moment.
#[expect(clippy::cast_precision_loss, reason = "gauges")]
pub(super) fn measured(lag: &BTreeMap<String, i64>, processes: &BTreeMap<String, Usage>) {
    for (group, lag) in lag {
        gauge!(LAG, "group" => group.clone()).set(*lag as f64);
    }
    for (process, usage) in processes {
        gauge!(CORES, "process" => process.clone()).set(usage.cores);
        gauge!(MEMORY, "process" => process.clone()).set(usage.memory as f64);
    }
}
