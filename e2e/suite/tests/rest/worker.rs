//! `fms connect` as a process, operated by REST.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use e2e::internals::{Embedded, Resources, Stack};
use fms_e2e::PROGRAM;
use serde_json::{Value, json};

/// How long the worker may take to listen.
const LIMIT: Duration = Duration::from_secs(20);

/// What a worker has to be told of its group.
pub fn membership(prefix: &str) -> [(&'static str, String); 3] {
    [
        ("CONNECT_GROUP_ID", format!("{prefix}workers")),
        ("CONNECT_CONFIG_STORAGE_TOPIC", format!("{prefix}connect-configs")),
        ("CONNECT_STATUS_STORAGE_TOPIC", format!("{prefix}connect-status")),
    ]
}

/// A worker without connectors.
pub struct Worker {
    /// Where it listens.
    pub address: String,
    process: Child,
    /// What the names of its topic and bucket begin with.
    pub prefix: String,
    /// The services live as long as the worker.
    _stack: Box<dyn Stack>,
}

impl Worker {
    /// On embedded services.
    pub fn start() -> Result<Self, String> {
        let stack = Embedded::start().map_err(|error| error.to_string())?;
        // librdkafka's mock cluster lets nobody into a group of the other protocol again once it was empty.
        Self::start_on(Box::new(stack), &[("CONNECT_CONSUMER_GROUP_PROTOCOL", "consumer")])
    }

    /// On these services, as a member of a group, with these settings besides.
    pub fn start_in_group(stack: Box<dyn Stack>, settings: &[(&str, &str)]) -> Result<Self, String> {
        let own = membership(stack.namespace());
        let own = own.iter().map(|(name, value)| (*name, value.as_str()));
        let all: Vec<_> = own.chain(settings.iter().copied()).collect();
        Self::start_on(stack, &all)
    }

    /// On these services, with these settings besides.
    pub fn start_on(stack: Box<dyn Stack>, settings: &[(&str, &str)]) -> Result<Self, String> {
        for resources in [Resources::topic("t", 1), Resources::bucket("lake")] {
            stack.provide(&resources).map_err(|error| error.to_string())?;
        }
        let e2e::Program::Itself { role: (variable, role), .. } = PROGRAM else {
            return Err("the suite does not start itself as the pipeline".into());
        };
        let program = std::env::current_exe().map_err(|error| format!("this test's path: {error}"))?;
        let mut process = Command::new(program)
            .arg("connect")
            .envs(stack.environment())
            .env(variable, role)
            .env("CONNECT_LISTENERS", "http://127.0.0.1:0")
            .env("CONNECT_REST_CHANGES_ENABLE", "true")
            .env("CONNECT_CONSUMER_FETCH_WAIT_MAX_MS", "10")
            .envs(settings.iter().copied())
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("starting the worker: {error}"))?;
        let log = BufReader::new(process.stderr.take().ok_or("the worker has no standard error")?);
        let (sender, addresses) = channel();
        std::thread::spawn(move || {
            // Read to its end, so that the worker never waits for a reader.
            for line in log.lines().map_while(Result::ok) {
                if let Some((_, url)) = line.split_once("listens at ")
                    && let Some((_, address)) = url.split_once("://")
                {
                    let _ = sender.send(address.split_whitespace().next().unwrap_or(address).to_owned());
                }
            }
        });
        let address = addresses.recv_timeout(LIMIT).map_err(|_| "the worker did not say where it listens");
        match address {
            Ok(address) => Ok(Self { address, process, prefix: stack.namespace().to_owned(), _stack: stack }),
            Err(problem) => {
                // It is of no use any more.
                let _ = process.kill();
                Err(problem.into())
            }
        }
    }

    /// A configuration that is right. Without `flush.size`, it lacks a key that is required.
    pub fn config(&self) -> Value {
        json!({
            "connector.class": "S3Sink", "topics": format!("{}t", self.prefix), "flush.size": "10",
            "s3.bucket.name": format!("{}lake", self.prefix), "s3.region": "us-east-1", "partitioner.class": "Default",
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Whether it still ran is of no importance to a test that is over.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
