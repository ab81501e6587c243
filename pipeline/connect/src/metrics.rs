//! The metrics of a worker, under Kafka Connect's names where it has them, and the text that `/metrics` gives to
//! Prometheus.
//!
//! With the `metrics` facade a sink counts from anywhere without being given a registry, and a handle costs one atomic
//! addition on the hot path; `fms-serve` collects and renders the metrics. This module has the names of the runtime's
//! metrics; each sink has those of its own. The families `kafka_connect_sink_task_*` and `kafka_connect_task_error_*`
//! are named as the JMX exporter names Kafka Connect's `sink-task-metrics` and `task-error-metrics`; `fms_*` are this
//! worker's own.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use fms_serve::PrometheusHandle;
use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

use crate::TopicPartition;

/// Collects every metric of this process from now on, and returns what renders them, which is always the same. Handles
/// that were made before the first call count into nothing.
pub fn install() -> &'static PrometheusHandle {
    let handle = fms_serve::recorder();
    describe();
    handle
}

fn describe() {
    for (name, text) in COUNTERS {
        describe_counter!(*name, *text);
    }
    for (name, text) in GAUGES {
        describe_gauge!(*name, *text);
    }
}

const READ: &str = "kafka_connect_sink_task_sink_record_read_total";
const SENT: &str = "kafka_connect_sink_task_sink_record_send_total";
const COMMITS: &str = "kafka_connect_sink_task_offset_commit_completion_total";
const COMMITS_FAILED: &str = "kafka_connect_sink_task_offset_commit_failure_total";
const ERRORS: &str = "kafka_connect_task_error_total_record_errors";
const FAILURES: &str = "kafka_connect_task_error_total_record_failures";
const SKIPPED: &str = "kafka_connect_task_error_total_records_skipped";
const RETRIES: &str = "kafka_connect_task_error_total_retries";
const LOGGED: &str = "kafka_connect_task_error_total_errors_logged";
const LETTERS: &str = "kafka_connect_task_error_deadletterqueue_produce_requests";
const LETTERS_FAILED: &str = "kafka_connect_task_error_deadletterqueue_produce_failures";
const LETTERS_CUT: &str = "fms_dead_letters_cut_total";
const ROWS: &str = "fms_sink_rows_written_total";
const BYTES: &str = "fms_sink_bytes_written_total";
const FLUSHES: &str = "fms_flushes_total";
const RETRIES_BY_REASON: &str = "fms_retries_total";

const PARTITIONS: &str = "kafka_connect_sink_task_partition_count";
const LAG_MAX: &str = "kafka_connect_sink_task_sink_record_lag_max";
const LAST_ERROR: &str = "kafka_connect_task_error_last_error_timestamp";
const STATUS: &str = "kafka_connect_connector_task_status";
const RESTARTS: &str = "fms_partition_restarts_total";
const TASK_RESTARTS: &str = "fms_task_restarts_total";
const LAG: &str = "fms_lag_records";
const BUFFER_USED: &str = "fms_buffer_used_bytes";
const BUFFER_LIMIT: &str = "fms_buffer_limit_bytes";

const COUNTERS: &[(&str, &str)] = &[
    (READ, "Records read from Kafka."),
    (SENT, "Records handed to the sink."),
    (COMMITS, "Offset commits that succeeded."),
    (COMMITS_FAILED, "Offset commits that failed."),
    (ERRORS, "Records or rows that could not be converted or stored."),
    (FAILURES, "Errors that failed the task."),
    (SKIPPED, "Records skipped because of errors or for having no value."),
    (RETRIES, "Calls retried."),
    (LOGGED, "Errors logged."),
    (LETTERS, "Dead letters handed to the producer."),
    (LETTERS_FAILED, "Dead letters that could not be delivered."),
    (LETTERS_CUT, "Dead letters delivered without a part, because their topic accepts no more, by that part."),
    (ROWS, "Rows stored in the sink."),
    (BYTES, "Bytes sent to the sink, as stored."),
    (RESTARTS, "Partitions read again from their committed offset, because another owner had aborted an upload."),
    (TASK_RESTARTS, "Restarts of the task by itself after a failure, by what had failed."),
    (FLUSHES, "Flushes by what made them due."),
    (RETRIES_BY_REASON, "Calls retried, by reason."),
];

const GAUGES: &[(&str, &str)] = &[
    (PARTITIONS, "Partitions assigned to the task."),
    (LAG_MAX, "The largest lag of the task's partitions, in records."),
    (LAST_ERROR, "When the last error happened, milliseconds since the Unix epoch."),
    (STATUS, "1 for the status that the task has, and 0 for the others."),
    (LAG, "Records between the committed offset and the end of the partition."),
    (BUFFER_USED, "Bytes held between Kafka and the sinks."),
    (BUFFER_LIMIT, "The part of buffer.memory that the tasks share, the most that should be held."),
];

/// The counters of one task, looked up once.
#[derive(Debug)]
pub struct TaskMetrics {
    connector: String,
    task: String,
    records_read: Counter,
    records_sent: Counter,
    commits: Counter,
    commits_failed: Counter,
    restarts: Counter,
    errors: Counter,
    failures: Counter,
    skipped: Counter,
    logged: Counter,
    last_error: Gauge,
    partitions: Gauge,
    lag_max: Gauge,
    lags: HashMap<TopicPartition, (Gauge, i64)>,
    flushes: HashMap<&'static str, Counter>,
}

impl TaskMetrics {
    /// The metrics of task `task` of `connector`. All of them exist from now on, at zero.
    pub fn new(connector: &str, task: u32) -> Self {
        let (connector, task) = (connector.to_owned(), task.to_string());
        let counter = |name| counter!(name, "connector" => connector.clone(), "task" => task.clone());
        let gauge = |name| gauge!(name, "connector" => connector.clone(), "task" => task.clone());
        // These are counted elsewhere, but exist from the start.
        for name in [RETRIES, LETTERS, LETTERS_FAILED, ROWS, BYTES] {
            counter(name).increment(0);
        }
        let metrics = Self {
            records_read: counter(READ),
            records_sent: counter(SENT),
            commits: counter(COMMITS),
            commits_failed: counter(COMMITS_FAILED),
            restarts: counter(RESTARTS),
            errors: counter(ERRORS),
            failures: counter(FAILURES),
            skipped: counter(SKIPPED),
            logged: counter(LOGGED),
            last_error: gauge(LAST_ERROR),
            partitions: gauge(PARTITIONS),
            lag_max: gauge(LAG_MAX),
            lags: HashMap::new(),
            flushes: HashMap::new(),
            connector,
            task,
        };
        metrics.partition_count(0);
        metrics.lag_max.set(0.0);
        metrics
    }

    /// Records came from Kafka.
    pub fn records_read(&self, records: u64) {
        self.records_read.increment(records);
    }

    /// Records were given to the sink.
    pub fn records_sent(&self, records: u64) {
        self.records_sent.increment(records);
    }

    /// A flush began, for this reason.
    pub fn flush(&mut self, reason: &'static str) {
        let (connector, task) = (&self.connector, &self.task);
        let make = || counter!(FLUSHES, "connector" => connector.clone(), "task" => task.clone(), "reason" => reason);
        self.flushes.entry(reason).or_insert_with(make).increment(1);
    }

    /// An offset was committed.
    pub fn commit_ok(&self) {
        self.commits.increment(1);
    }

    /// An offset could not be committed.
    pub fn commit_failed(&self) {
        self.commits_failed.increment(1);
    }

    /// A partition was begun again from its committed offset.
    pub fn partition_restarted(&self) {
        self.restarts.increment(1);
    }

    /// A record or row could not be converted or stored, whatever the consequence is.
    pub fn record_error(&self) {
        self.errors.increment(1);
        self.last_error.set(to_f64(wall_millis()));
    }

    /// The error of a record or row fails the task.
    pub fn record_failure(&self) {
        self.failures.increment(1);
    }

    /// A record was skipped.
    pub fn record_skipped(&self) {
        self.skipped.increment(1);
    }

    /// An error was logged.
    pub fn error_logged(&self) {
        self.logged.increment(1);
    }

    /// The task has this many partitions.
    pub fn partition_count(&self, partitions: usize) {
        self.partitions.set(to_f64(i64::try_from(partitions).unwrap_or(i64::MAX)));
    }

    /// The partition is this many records behind its end. After all partitions, [`Self::lags_measured`] has to be
    /// called.
    pub fn lag(&mut self, partition: &TopicPartition, records: i64) {
        if let Some((gauge, lag)) = self.lags.get_mut(partition) {
            if *lag != records {
                *lag = records;
                gauge.set(to_f64(records));
            }
        } else {
            let gauge = gauge!(LAG, "connector" => self.connector.clone(), "task" => self.task.clone(),
                "topic" => partition.topic.to_string(), "partition" => partition.partition.to_string());
            gauge.set(to_f64(records));
            self.lags.insert(partition.clone(), (gauge, records));
        }
    }

    /// The lags of all partitions have been given.
    pub fn lags_measured(&self) {
        self.lag_max.set(to_f64(self.lags.values().map(|(_, lag)| *lag).max().unwrap_or(0)));
    }

    /// The partition belongs to another task now, so its lag in this one is zero.
    pub fn forget(&mut self, partition: &TopicPartition) {
        if let Some((gauge, _)) = self.lags.remove(partition) {
            gauge.set(0.0);
        }
    }
}

/// Counts what a task of a sink has stored, from any thread.
#[derive(Debug, Clone)]
pub struct SinkMetrics {
    rows: Counter,
    bytes: Counter,
}

impl SinkMetrics {
    /// The metrics of task `task` of `connector`.
    pub fn new(connector: &str, task: u32) -> Self {
        let (connector, task) = (connector.to_owned(), task.to_string());
        let counter = |name| counter!(name, "connector" => connector.clone(), "task" => task.clone());
        Self { rows: counter(ROWS), bytes: counter(BYTES) }
    }

    /// The service has acknowledged `rows` rows in `bytes` bytes.
    pub fn written(&self, rows: u64, bytes: u64) {
        self.rows.increment(rows);
        self.bytes.increment(bytes);
    }
}

/// The dead letters of a task.
#[derive(Debug, Clone)]
pub(crate) struct LetterMetrics {
    connector: String,
    task: String,
    pub(crate) requests: Counter,
    pub(crate) failures: Counter,
}

impl LetterMetrics {
    pub(crate) fn new(connector: &str, task: u32) -> Self {
        let (connector, task) = (connector.to_owned(), task.to_string());
        let counter = |name| counter!(name, "connector" => connector.clone(), "task" => task.clone());
        let (requests, failures) = (counter(LETTERS), counter(LETTERS_FAILED));
        Self { connector, task, requests, failures }
    }

    /// A letter was delivered from which each of these was left out or cut.
    pub(crate) fn cut(&self, cuts: &[&'static str]) {
        for &cut in cuts {
            let (connector, task) = (self.connector.clone(), self.task.clone());
            counter!(LETTERS_CUT, "connector" => connector, "task" => task, "cut" => cut).increment(1);
        }
    }
}

/// A call is retried for this reason.
pub fn retry(connector: &str, task: u32, reason: &'static str) {
    let (connector, task) = (connector.to_owned(), task.to_string());
    counter!(RETRIES, "connector" => connector.clone(), "task" => task.clone()).increment(1);
    counter!(RETRIES_BY_REASON, "connector" => connector, "task" => task, "reason" => reason).increment(1);
}

/// The task begins again after a failure of this kind.
pub fn task_restart(connector: &str, task: u32, reason: &'static str) {
    let (connector, task) = (connector.to_owned(), task.to_string());
    counter!(TASK_RESTARTS, "connector" => connector, "task" => task, "reason" => reason).increment(1);
}

/// The bytes that the worker holds, and the most that it should hold.
pub fn buffer(used: usize, limit: usize) {
    gauge!(BUFFER_USED).set(to_f64(i64::try_from(used).unwrap_or(i64::MAX)));
    gauge!(BUFFER_LIMIT).set(to_f64(i64::try_from(limit).unwrap_or(i64::MAX)));
}

/// The task has `status`, which is one of `all`.
pub fn task_status(connector: &str, task: u32, status: &'static str, all: &[&'static str]) {
    for &name in all {
        gauge!(STATUS, "connector" => connector.to_owned(), "task" => task.to_string(), "status" => name)
            .set(if name == status { 1.0 } else { 0.0 });
    }
}

/// The wall clock, milliseconds since the Unix epoch.
pub(crate) fn wall_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has doubles only; exact up to 2^53")]
fn to_f64(number: i64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    fn rendered(count: impl FnOnce()) -> String {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            describe();
            count();
        });
        recorder.handle().render()
    }

    fn value(text: &str, name: &str) -> Option<String> {
        text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
    }

    #[test]
    fn counters_are_there_before_anything_happened() {
        let text = rendered(|| drop(TaskMetrics::new("raw", 1)));
        for (name, help) in COUNTERS {
            if [FLUSHES, RETRIES_BY_REASON, TASK_RESTARTS, LETTERS_CUT].contains(name) {
                continue;
            }
            assert_eq!(
                value(&text, &format!("{name}{{connector=\"raw\",task=\"1\"}}")).as_deref(),
                Some("0"),
                "{text}"
            );
            assert!(text.contains(&format!("# HELP {name} {help}")), "{text}");
        }
    }

    #[test]
    fn the_largest_lag_is_of_the_partitions_the_task_still_has() {
        let partition = |partition| TopicPartition { topic: "t".into(), partition };
        let max = r#"kafka_connect_sink_task_sink_record_lag_max{connector="raw",task="0"}"#;
        let text = rendered(|| {
            let mut metrics = TaskMetrics::new("raw", 0);
            metrics.lag(&partition(0), 7);
            metrics.lag(&partition(1), 9);
            metrics.lag(&partition(1), 3);
            metrics.lags_measured();
        });
        assert_eq!(value(&text, max).as_deref(), Some("7"));
        let of = |p| format!(r#"fms_lag_records{{connector="raw",task="0",topic="t",partition="{p}"}}"#);
        assert_eq!(value(&text, &of(1)).as_deref(), Some("3"));
        let text = rendered(|| {
            let mut metrics = TaskMetrics::new("raw", 0);
            metrics.lag(&partition(0), 7);
            metrics.lag(&partition(1), 3);
            metrics.forget(&partition(0));
            metrics.lags_measured();
        });
        assert_eq!(value(&text, max).as_deref(), Some("3"));
        assert_eq!(value(&text, &of(0)).as_deref(), Some("0"));
    }

    #[test]
    fn flushes_are_counted_by_reason() {
        let text = rendered(|| {
            let mut metrics = TaskMetrics::new("raw", 0);
            metrics.flush("flush.size");
            metrics.flush("flush.size");
            metrics.flush("shutdown");
        });
        let of = |reason| format!(r#"fms_flushes_total{{connector="raw",task="0",reason="{reason}"}}"#);
        assert_eq!(value(&text, &of("flush.size")).as_deref(), Some("2"));
        assert_eq!(value(&text, &of("shutdown")).as_deref(), Some("1"));
    }

    #[test]
    fn retries_are_counted_in_all_and_by_reason() {
        let text = rendered(|| {
            retry("c", 0, "throttled");
            retry("c", 0, "throttled");
        });
        assert!(text.contains(r#"fms_retries_total{connector="c",task="0",reason="throttled"} 2"#), "{text}");
        assert!(text.contains(r#"kafka_connect_task_error_total_retries{connector="c",task="0"} 2"#), "{text}");
    }

    #[test]
    fn a_task_has_one_status() {
        let text = rendered(|| {
            task_status("raw", 0, "RUNNING", &["RUNNING", "FAILED"]);
            task_status("raw", 0, "FAILED", &["RUNNING", "FAILED"]);
        });
        let of =
            |status| format!(r#"kafka_connect_connector_task_status{{connector="raw",task="0",status="{status}"}}"#);
        assert_eq!(value(&text, &of("RUNNING")).as_deref(), Some("0"));
        assert_eq!(value(&text, &of("FAILED")).as_deref(), Some("1"));
    }
}
