//! The metrics of a task that only this sink has, and what its log says once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fms_connect::TaskContext;
use fms_connect::TopicPartition;
use fms_connect::metrics::SinkMetrics;
use fms_record::TimeSource;
use metrics::{Counter, counter};
use strum::{EnumCount as _, VariantNames as _};

/// The number of rows whose event time is from each [`TimeSource`], by its index.
pub type Sources = [u64; TimeSource::COUNT];

/// The counters of one task.
#[derive(Clone)]
pub struct Metrics {
    sink: SinkMetrics,
    objects: Counter,
    aborted: Counter,
    times: [Counter; TimeSource::COUNT],
    said_absent: Arc<AtomicBool>,
}

impl Metrics {
    /// The metrics with the labels of the connector and the task.
    pub fn new(context: &TaskContext) -> Self {
        let (connector, task) = (context.connector.to_string(), context.task.to_string());
        let counter = |name| counter!(name, "connector" => connector.clone(), "task" => task.clone());
        let time = |source: usize| {
            let source = TimeSource::VARIANTS[source];
            counter!("fms_s3_event_time_rows_total",
                "connector" => connector.clone(), "task" => task.clone(), "source" => source)
        };
        Self {
            sink: SinkMetrics::new(&context.connector, context.task),
            objects: counter("fms_s3_objects_written_total"),
            aborted: counter("fms_s3_uploads_aborted_total"),
            times: std::array::from_fn(time),
            said_absent: Arc::default(),
        }
    }

    /// An object with this many rows and stored bytes has appeared.
    pub fn stored(&self, rows: u64, bytes: u64) {
        self.objects.increment(1);
        self.sink.written(rows, bytes);
    }

    /// Uploads that a previous owner left behind were aborted.
    pub fn aborted(&self, uploads: u64) {
        self.aborted.increment(uploads);
    }

    /// Notes that a flush has ended whose event times are from these sources. Once in a task's life, the log says that
    /// no row of a flush had the configured field.
    pub fn flush_times(&self, field: &str, partition: &TopicPartition, sources: Sources) {
        let [from_field, from_envelope, from_kafka] = sources;
        if from_field > 0 || from_envelope + from_kafka == 0 || self.said_absent.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::warn!(
            topic = &*partition.topic,
            partition = partition.partition,
            "no row of a flush has the field `{field}` (timestamp.field): {from_envelope} rows have the envelope's \
             `messaged_at` as event time and {from_kafka} that of Kafka; if that is not meant, name the field by its \
             path, such as `position.fixTime`"
        );
    }

    /// Counts rows by the source of their event time.
    pub fn event_times(&self, sources: Sources) {
        for (counter, rows) in self.times.iter().zip(sources) {
            if rows > 0 {
                counter.increment(rows);
            }
        }
    }
}
