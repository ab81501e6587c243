//! A sink that writes every row to standard output, and a worker that runs it.
//!
//! ```text
//! KAFKA_BOOTSTRAP_SERVERS=localhost:9092 cargo run --example stdout -- connector.json
//! ```
//!
//! A connector for it is `{"name": "show", "connector.class": "Stdout", "topics": "vehicles"}`.

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use fms_connect::config::file;
use fms_connect::providers::Providers;
use fms_connect::settings::Settings;
use fms_connect::worker::Worker;
use fms_connect::{Config, ConfigError, ErrantRow, SinkConnector, SinkError, SinkRecord, SinkTask, TaskFactory};
use tokio::runtime::Handle;
use tokio::sync::watch;

struct Stdout;

impl SinkConnector for Stdout {
    fn classes(&self) -> &'static [&'static str] {
        &["Stdout"]
    }

    fn start(&self, _: &Config, _: &Handle) -> Result<TaskFactory, ConfigError> {
        Ok(Arc::new(|_| Box::new(Stdout)))
    }
}

impl SinkTask for Stdout {
    fn put(&mut self, record: &SinkRecord<'_>, _: &mut Vec<ErrantRow>) -> Result<(), SinkError> {
        let mut lines = Vec::new();
        for row in record.rows {
            row.write_json(&mut lines);
            lines.push(b'\n');
        }
        let written = std::io::stdout().write_all(&lines);
        written.map_err(|error| SinkError::fatal(format!("writing to standard output: {error}")).caused_by(error))
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
