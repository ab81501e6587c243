//! The metrics of the poller, `fms_lake_*`.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use super::queue::{Depth, Message};
use crate::object::Report;
use crate::rename::Renames;

const OBJECTS: &str = "fms_lake_objects_total";
const FAILURES: &str = "fms_lake_failures_total";
const ROWS: &str = "fms_lake_rows_total";
const FILES: &str = "fms_lake_files_total";
const WITH_REST: &str = "fms_lake_rest_rows_total";
const QUARANTINED: &str = "fms_lake_quarantined_rows_total";
const RENAMED: &str = "fms_lake_renamed_fields_total";
const PARQUET_BYTES: &str = "fms_lake_parquet_bytes_total";
const BYTES: &str = "fms_lake_raw_bytes_total";
const SECONDS: &str = "fms_lake_conversion_seconds";
const UNDER_WAY: &str = "fms_lake_messages_under_way";
const RECEIVED: &str = "fms_lake_messages_received_total";
const DELETED: &str = "fms_lake_messages_deleted_total";
const RETURNED: &str = "fms_lake_messages_returned_total";
const LETTERS: &str = "fms_lake_letters_sent_total";
const QUEUE: &str = "fms_lake_queue_messages";
const OLDEST: &str = "fms_lake_oldest_message_seconds";
const CALLS: &str = "fms_lake_queue_calls_total";
const RETRIES: &str = "fms_lake_queue_retries_total";

const COUNTERS: &[(&str, &str)] = &[
    (
        OBJECTS,
        "Objects that messages named, by outcome: converted, on-record (converted before), postponed (tried again \
         later), failed, or not-raw.",
    ),
    (FAILURES, "Objects that were not converted and messages that could not be read, by reason."),
    (ROWS, "Rows stored in files of tables."),
    (FILES, "Files of tables stored."),
    (WITH_REST, "Rows with something in the column `_rest` of their table, which gets no other column."),
    (QUARANTINED, "Rows put into quarantine, by reason."),
    (
        RENAMED,
        "Fields of converted objects whose columns have another name, by reason: form, conflict, reserved or length.",
    ),
    (PARQUET_BYTES, "Bytes of the files of tables stored."),
    (BYTES, "Bytes of the raw objects that were converted, as their events say."),
    (RECEIVED, "Messages received."),
    (DELETED, "Messages deleted, because nothing of them is left to do."),
    (RETURNED, "Messages made visible again, because the poller stopped."),
    (LETTERS, "Messages sent to the fallback queue."),
    (CALLS, "Calls of the queues, by operation and result: ok or error."),
    (RETRIES, "Calls of the queues retried, by reason."),
];

const GAUGES: &[(&str, &str)] = &[
    (UNDER_WAY, "Messages whose objects are being converted."),
    (QUEUE, "Messages in a queue, by queue (main or fallback) and state (visible, in-flight or delayed), about."),
    (OLDEST, "The age of the oldest message of a queue, as far as is known, by queue: main or fallback."),
];

/// Describes the metrics, and lets those without labels exist from now on, at zero. The recorder must be there already.
pub(super) fn describe() {
    for (name, text) in COUNTERS {
        describe_counter!(*name, *text);
    }
    for (name, text) in GAUGES {
        describe_gauge!(*name, *text);
    }
    crate::bucket::describe();
    describe_histogram!(SECONDS, "Seconds that the conversion of an object took.");
    for name in [ROWS, FILES, WITH_REST, PARQUET_BYTES, BYTES, RECEIVED, DELETED, RETURNED, LETTERS] {
        counter!(name).increment(0);
    }
    for outcome in ["converted", "on-record", "postponed", "failed", "not-raw"] {
        counter!(OBJECTS, "outcome" => outcome).increment(0);
    }
    under_way(0);
    oldest("main", Duration::ZERO);
}

pub(super) fn converted(report: &Report, size: Option<u64>, took: Duration) {
    counter!(OBJECTS, "outcome" => "converted").increment(1);
    counter!(ROWS).increment(report.rows);
    counter!(FILES).increment(report.files);
    counter!(WITH_REST).increment(report.with_rest.values().sum());
    counter!(BYTES).increment(size.unwrap_or(0));
    counter!(PARQUET_BYTES).increment(report.bytes);
    for (_, _, why) in report.renames.values().flat_map(Renames::iter) {
        counter!(RENAMED, "reason" => why.as_str()).increment(1);
    }
    histogram!(SECONDS).record(took);
    for ((reason, _), rows) in &report.quarantined {
        counter!(QUARANTINED, "reason" => reason.as_str()).increment(*rows);
    }
}

pub(super) fn on_record() {
    counter!(OBJECTS, "outcome" => "on-record").increment(1);
}

/// Objects are tried again later, as nothing but the time has to be another one.
pub(super) fn postponed(objects: u64) {
    counter!(OBJECTS, "outcome" => "postponed").increment(objects);
}

pub(super) fn not_raw() {
    counter!(OBJECTS, "outcome" => "not-raw").increment(1);
}

/// An object could not be converted, or a message not be read.
pub(super) fn failed(reason: &'static str, is_object: bool) {
    if is_object {
        counter!(OBJECTS, "outcome" => "failed").increment(1);
    }
    counter!(FAILURES, "reason" => reason).increment(1);
}

pub(super) fn received(messages: &[Message]) {
    counter!(RECEIVED).increment(messages.len() as u64);
}

/// The age of the oldest message of a queue.
pub(super) fn oldest(queue: &'static str, age: Duration) {
    gauge!(OLDEST, "queue" => queue).set(age.as_secs_f64());
}

pub(super) fn under_way(messages: usize) {
    gauge!(UNDER_WAY).set(to_f64(messages as u64));
}

pub(super) fn deleted() {
    counter!(DELETED).increment(1);
}

pub(super) fn returned() {
    counter!(RETURNED).increment(1);
}

pub(super) fn letter_sent() {
    counter!(LETTERS).increment(1);
}

pub(super) fn depth(queue: &'static str, depth: Depth) {
    for (state, messages) in [("visible", depth.visible), ("in-flight", depth.in_flight), ("delayed", depth.delayed)] {
        gauge!(QUEUE, "queue" => queue, "state" => state).set(to_f64(messages));
    }
}

pub(super) fn call(operation: &'static str, ok: bool) {
    counter!(CALLS, "operation" => operation, "result" => if ok { "ok" } else { "error" }).increment(1);
}

pub(super) fn retried(reason: &'static str) {
    counter!(RETRIES, "reason" => reason).increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has doubles only; exact up to 2^53")]
fn to_f64(number: u64) -> f64 {
    number as f64
}
