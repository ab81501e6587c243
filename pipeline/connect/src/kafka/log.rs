//! Where the log lines and errors of librdkafka go: to the worker's own log, or into one sentence about why a cluster
//! cannot be reached.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, ClientContext};
use tracing::{debug, error, info, warn};

/// Sends the log lines and errors of a client to `tracing`. Every error has the bootstrap servers beside it, so that a
/// wrong address is seen.
#[derive(Debug, Clone)]
pub(crate) struct KafkaLog {
    client: String,
    bootstrap: String,
    /// The failures of the connections, kept instead of logged. Only a client that asks whether the cluster can be
    /// reached has this.
    failures: Option<Arc<Mutex<Vec<String>>>>,
}

impl KafkaLog {
    /// The log of a client with these settings. `client` says whose client it is, such as `connector raw, task 0`.
    pub fn new(client: impl Into<String>, config: &ClientConfig) -> Self {
        let bootstrap = config.get("bootstrap.servers").unwrap_or_default().into();
        Self { client: client.into(), bootstrap, failures: None }
    }

    /// The log of a client that is to find out whether the cluster can be reached. Failures are kept for one sentence
    /// instead of logged.
    pub fn of_start(client: impl Into<String>, config: &ClientConfig) -> Self {
        Self { failures: Some(Arc::default()), ..Self::new(client, config) }
    }

    /// `bootstrap.servers`.
    pub fn servers(&self) -> &str {
        &self.bootstrap
    }

    /// The failures that were kept since the last call.
    pub fn take_failures(&self) -> Vec<String> {
        let lock = self.failures.as_ref().map(|failures| failures.lock().unwrap_or_else(PoisonError::into_inner));
        lock.map(|mut failures| std::mem::take(&mut *failures)).unwrap_or_default()
    }

    /// Keeps the text if this log keeps failures; gives whether it does.
    fn keep(&self, text: &str) -> bool {
        let Some(failures) = &self.failures else { return false };
        debug!(target: "librdkafka", client = self.client, "{text}");
        failures.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
        true
    }

    /// For [`ClientContext::log`].
    pub fn line(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        let client = self.client.as_str();
        if self.keep(line) {
            return;
        }
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                error!(target: "librdkafka", client, facility, bootstrap_servers = self.bootstrap, "{line}");
            }
            RDKafkaLogLevel::Warning => warn!(target: "librdkafka", client, facility, "{line}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => info!(target: "librdkafka", client, facility, "{line}"),
            RDKafkaLogLevel::Debug => debug!(target: "librdkafka", client, facility, "{line}"),
        }
    }

    /// For [`ClientContext::error`].
    pub fn failure(&self, error: &KafkaError, reason: &str) {
        if self.keep(reason) {
            return;
        }
        error!(
            target: "librdkafka",
            client = self.client,
            bootstrap_servers = self.bootstrap,
            "{reason} ({error})"
        );
    }
}

impl ClientContext for KafkaLog {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.failure(&error, reason);
    }
}

impl ConsumerContext for KafkaLog {}
