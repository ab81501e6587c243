//! The metrics as lines of the log that `CloudWatch` makes metrics of: the embedded metric format.
//!
//! A process that may be frozen at any time cannot be asked for its metrics. So each invocation ends with what it has
//! added to them: one line for each combination of labels, which are dimensions, with the function as a further one.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use metrics::{Counter, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use serde_json::{Map, Value, json};

/// The namespace of the metrics in `CloudWatch`.
const NAMESPACE: &str = "fms";
/// The most values of a metric that a line may have.
const MAX_VALUES: usize = 100;

/// What the metrics are since the last lines were written.
#[derive(Debug)]
pub(crate) struct Emf {
    function: String,
    metrics: Mutex<Metrics>,
}

#[derive(Debug, Default)]
struct Metrics {
    counters: BTreeMap<Key, Arc<AtomicU64>>,
    gauges: BTreeMap<Key, Arc<Last>>,
    histograms: BTreeMap<Key, Arc<Values>>,
}

/// The value that a gauge was set to last.
#[derive(Debug, Default)]
struct Last(Mutex<Option<f64>>);

/// The values of a histogram.
#[derive(Debug, Default)]
struct Values(Mutex<Vec<f64>>);

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl GaugeFn for Last {
    fn increment(&self, value: f64) {
        *locked(&self.0).get_or_insert_default() += value;
    }

    fn decrement(&self, value: f64) {
        *locked(&self.0).get_or_insert_default() -= value;
    }

    fn set(&self, value: f64) {
        *locked(&self.0) = Some(value);
    }
}

impl HistogramFn for Values {
    fn record(&self, value: f64) {
        locked(&self.0).push(value);
    }
}

/// Leaves the metrics to a value that is also read.
struct Shared(Arc<Emf>);

impl Recorder for Shared {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        locked(&self.0.metrics).counters.entry(key.clone()).or_default().clone().into()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        locked(&self.0.metrics).gauges.entry(key.clone()).or_default().clone().into()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        locked(&self.0.metrics).histograms.entry(key.clone()).or_default().clone().into()
    }
}

impl Emf {
    /// Collects every metric of this process from now on.
    pub fn install(function: &str) -> Result<Arc<Self>, String> {
        let emf = Arc::new(Self { function: function.to_owned(), metrics: Mutex::default() });
        let installed = metrics::set_global_recorder(Shared(Arc::clone(&emf)));
        installed.map_err(|error| format!("cannot collect metrics: {error}"))?;
        Ok(emf)
    }

    /// Writes what was added since the last time to standard output, where `CloudWatch` looks for it.
    pub fn write(&self, request_id: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut out = io::stdout().lock();
        for line in self.lines(request_id, u64::try_from(now.as_millis()).unwrap_or(u64::MAX)) {
            // An error means that nobody reads the log.
            let _ = writeln!(out, "{line}");
        }
        let _ = out.flush();
    }

    fn lines(&self, request_id: &str, millis: u64) -> Vec<Value> {
        let mut lines = Vec::new();
        for (labels, metrics) in self.take() {
            let longest = metrics.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
            for start in (0..longest).step_by(MAX_VALUES) {
                lines.push(self.line(request_id, millis, &labels, &metrics, start));
            }
        }
        lines
    }

    /// A line with the values from `start` on.
    fn line(&self, request_id: &str, millis: u64, labels: &Labels, metrics: &[Taken], start: usize) -> Value {
        let mut line = Map::new();
        let (mut dimensions, mut declared) = (vec!["FunctionName"], Vec::new());
        line.insert("FunctionName".to_owned(), self.function.as_str().into());
        line.insert("request_id".to_owned(), request_id.into());
        for (name, value) in labels {
            dimensions.push(name);
            line.insert(name.clone(), value.as_str().into());
        }
        for (name, values) in metrics {
            match values.get(start..).unwrap_or_default() {
                [] => continue,
                [one] => line.insert(name.clone(), (*one).into()),
                more => line.insert(name.clone(), more[..more.len().min(MAX_VALUES)].into()),
            };
            declared.push(json!({"Name": name, "Unit": unit(name)}));
        }
        let metrics = json!([{"Namespace": NAMESPACE, "Dimensions": [dimensions], "Metrics": declared}]);
        line.insert("_aws".to_owned(), json!({"Timestamp": millis, "CloudWatchMetrics": metrics}));
        line.into()
    }

    /// What was added since the last time, by labels.
    fn take(&self) -> BTreeMap<Labels, Vec<Taken>> {
        let mut taken: BTreeMap<Labels, Vec<Taken>> = BTreeMap::new();
        let mut add = |key: &Key, values: Vec<f64>| {
            if !values.is_empty() {
                let labels = key.labels().map(|label| (label.key().to_owned(), label.value().to_owned())).collect();
                taken.entry(labels).or_default().push((key.name().to_owned(), values));
            }
        };
        let metrics = locked(&self.metrics);
        for (key, counter) in &metrics.counters {
            let count = counter.swap(0, Ordering::Relaxed);
            add(key, (count > 0).then(|| to_f64(count)).into_iter().collect());
        }
        for (key, gauge) in &metrics.gauges {
            add(key, locked(&gauge.0).take().into_iter().collect());
        }
        for (key, histogram) in &metrics.histograms {
            add(key, std::mem::take(&mut *locked(&histogram.0)));
        }
        taken
    }
}

/// The names and values of labels.
type Labels = Vec<(String, String)>;
/// The name of a metric and its values.
type Taken = (String, Vec<f64>);

fn unit(name: &str) -> &'static str {
    match name {
        _ if name.ends_with("_seconds") => "Seconds",
        _ if name.ends_with("_bytes_total") => "Bytes",
        _ => "Count",
    }
}

#[expect(clippy::cast_precision_loss, reason = "CloudWatch has doubles only; exact up to 2^53")]
fn to_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use metrics::{counter, gauge, histogram};

    use super::*;

    #[test]
    fn a_line_has_what_was_added_since_the_last_one() {
        let emf = Arc::new(Emf { function: "lake".into(), metrics: Mutex::default() });
        let lines = || emf.lines("r-1", 1_700_000_000_000);
        metrics::with_local_recorder(&Shared(Arc::clone(&emf)), || {
            counter!("fms_lake_rows_total").increment(60);
            counter!("fms_lake_objects_total", "outcome" => "converted").increment(1);
            counter!("fms_lake_objects_total", "outcome" => "failed").increment(0);
            gauge!("fms_lake_oldest_message_seconds").set(2.5);
            histogram!("fms_lake_conversion_seconds").record(0.25);
            histogram!("fms_lake_conversion_seconds").record(0.5);
        });
        let written: Vec<String> = lines().iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(written.join("\n"), @r#"
        {"FunctionName":"lake","_aws":{"CloudWatchMetrics":[{"Dimensions":[["FunctionName"]],"Metrics":[{"Name":"fms_lake_rows_total","Unit":"Count"},{"Name":"fms_lake_oldest_message_seconds","Unit":"Seconds"},{"Name":"fms_lake_conversion_seconds","Unit":"Seconds"}],"Namespace":"fms"}],"Timestamp":1700000000000},"fms_lake_conversion_seconds":[0.25,0.5],"fms_lake_oldest_message_seconds":2.5,"fms_lake_rows_total":60.0,"request_id":"r-1"}
        {"FunctionName":"lake","_aws":{"CloudWatchMetrics":[{"Dimensions":[["FunctionName","outcome"]],"Metrics":[{"Name":"fms_lake_objects_total","Unit":"Count"}],"Namespace":"fms"}],"Timestamp":1700000000000},"fms_lake_objects_total":1.0,"outcome":"converted","request_id":"r-1"}
        "#);
        assert_eq!(lines(), Vec::<Value>::new(), "nothing was added");
    }

    #[test]
    fn more_values_than_a_line_takes_are_in_several() {
        let emf = Arc::new(Emf { function: "lake".into(), metrics: Mutex::default() });
        metrics::with_local_recorder(&Shared(Arc::clone(&emf)), || {
            for _ in 0..250 {
                histogram!("fms_lake_conversion_seconds").record(1.0);
            }
            counter!("fms_lake_rows_total").increment(1);
        });
        let lines = emf.lines("r-1", 0);
        let values = |line: &Value| line["fms_lake_conversion_seconds"].as_array().map(Vec::len);
        assert_eq!(lines.iter().map(values).collect::<Vec<_>>(), [Some(100), Some(100), Some(50)]);
        assert_eq!(lines.iter().filter(|line| !line["fms_lake_rows_total"].is_null()).count(), 1);
    }
}
