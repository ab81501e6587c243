//! A sink that writes every row to standard output, and a worker that runs it.
//!
//! ```text
//! KAFKA_BOOTSTRAP_SERVERS=localhost:9092 cargo run --example stdout -- connector.json
//! ```
//!
//! A connector for it is `{"name": "show", "connector.class": "Stdout", "topics": "vehicles"}`.

use std::collections::HashMap;
use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use fms_connect::config::file;
use fms_connect::providers::Providers;
use fms_connect::settings::Settings;
use fms_connect::worker::Worker;
use fms_connect::{
    Config, ConfigError, Demand, ErrantRow, Flush, Key, SinkConnector, SinkError, SinkRecord, SinkTask, StartedSink,
    TaskContext, Tick, TopicPartition,
};
use tokio::runtime::Handle;
use tokio::sync::watch;

struct Stdout;

impl SinkConnector for Stdout {
    fn classes(&self) -> &'static [&'static str] {
        &["Stdout"]
    }

    fn keys(&self) -> &'static [Key] {
        &[]
    }

    fn start(&self, _: &Config, _: &Handle) -> Result<Arc<dyn StartedSink>, ConfigError> {
        Ok(Arc::new(Stdout))
    }
}

impl StartedSink for Stdout {
    fn task(&self, _: TaskContext) -> Box<dyn SinkTask> {
        Box::new(Task::default())
    }
}

/// The offset after the last row that was written, for each partition with rows since its last flush.
#[derive(Default)]
struct Task(HashMap<TopicPartition, i64>);

impl SinkTask for Task {
    fn put(&mut self, record: &SinkRecord<'_>, _: &mut Vec<ErrantRow>) -> Result<(), SinkError> {
        let mut lines = Vec::new();
        for row in record.rows {
            row.write_json(&mut lines);
            lines.push(b'\n');
        }
        let written = std::io::stdout().write_all(&lines);
        self.0.insert(record.partition.clone(), record.offset + 1);
        written.map_err(|error| SinkError::fatal(format!("writing to standard output: {error}")).caused_by(error))
    }

    fn due(&mut self, partition: &TopicPartition, tick: &Tick) -> Result<Option<Flush>, SinkError> {
        let end = if tick.demand == Demand::Settings { None } else { self.0.remove(partition) };
        Ok(end.map(|end| Flush { end, intent: false, reason: tick.demand.reason() }))
    }

    fn close(&mut self, partition: &TopicPartition) {
        self.0.remove(partition);
    }
}

/// All of these problems in one error.
fn all<E: ToString>(problems: Vec<E>) -> String {
    problems.into_iter().map(|problem| problem.to_string()).collect::<Vec<_>>().join("\n")
}

fn main() -> Result<(), Box<dyn Error>> {
    let files: Vec<_> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let settings = Settings::from_env(std::env::vars()).map_err(all)?;
    let connectors = file::read(&files, &Providers::of_process()).map_err(all)?;
    let (_stop, stopped) = watch::channel(false);
    let worker = Worker::prepare(&settings, connectors, vec![Box::new(Stdout)], &stopped).map_err(all)?;
    worker.run(|| async { drop(tokio::signal::ctrl_c().await) });
    Ok(())
}
