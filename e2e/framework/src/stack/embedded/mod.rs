//! The embedded stack: Kafka, DynamoDB, S3 and the recording proxy in the test's own process, ready in milliseconds, without Docker.

pub mod dynamodb;
pub mod kafka;
pub mod s3;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::http::uri::Authority;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use self::dynamodb::Tables;
use self::kafka::Kafka;
use self::s3::Store;
use super::{Commits, Record, Stack, StackError, Table};
use crate::calls::Calls;
use crate::proxy::{self, Proxy, Upstreams};
use crate::tls::Trust;
use crate::upstream::Upstream;

/// What the subject signs with, and where it believes to be.
const REGION: &str = "us-east-1";
const ACCESS_KEY: &str = "embedded";
const SECRET_KEY: &str = "embedded-secret";

/// Services of its own for one test, on ports of 127.0.0.1 that the kernel picks and on threads of its own. Any number of them fit into one
/// process. Dropping it ends all of them.
pub struct Embedded {
    environment: BTreeMap<String, String>,
    calls: Calls,
    kafka: Kafka,
    tables: Tables,
    store: Store,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl Embedded {
    /// Starts all services; they take requests when this returns.
    pub fn start() -> Result<Self, StackError> {
        let kafka = Kafka::start()?;
        let tables = Tables::new()?;
        let store = Store::default();
        let calls = Calls::default();
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("e2e-embedded")
            .enable_all()
            .build()
            .map_err(|error| StackError::new("starting the embedded stack's threads", error))?;
        let proxy = listen(&runtime, &tables, &store, &calls)
            .map_err(|error| StackError::new("opening the embedded stack's ports", error))?;
        let mut environment = proxy.environment(REGION, ACCESS_KEY, SECRET_KEY);
        environment.insert("KAFKA_BOOTSTRAP_SERVERS".to_owned(), kafka.client().bootstrap().to_owned());
        Ok(Self { environment, calls, kafka, tables, store, runtime: Some(runtime) })
    }

    /// After which time a member that is not heard of leaves its group, and how often it is to be heard of: for members of the protocol
    /// `consumer` (KIP-848). Those of the classic protocol set `session.timeout.ms` themselves.
    pub fn set_session_timeout(&self, session: Duration, heartbeat: Duration) -> Result<(), StackError> {
        self.kafka.set_session_timeout(session, heartbeat)
    }

    /// Whether a table has an item whose partition key, the attribute `name`, is this text: asked of the database itself, fast enough to
    /// see when it became readable.
    pub fn has_item(&self, table: &str, name: &str, value: &str) -> Result<bool, StackError> {
        self.tables.has_item(table, name, value)
    }
}

/// Serves DynamoDB and S3, each on a port of its own, and the proxy before them.
fn listen(runtime: &Runtime, tables: &Tables, store: &Store, calls: &Calls) -> io::Result<Proxy> {
    let _context = runtime.enter();
    let upstream =
        |address: SocketAddr| Authority::try_from(address.to_string()).map(Upstream::http).map_err(io::Error::other);
    let (listener, address) = proxy::bind()?;
    let dynamodb = upstream(address)?;
    runtime.spawn(dynamodb::serve(listener, tables.clone()));
    let (listener, address) = proxy::bind()?;
    let s3 = upstream(address)?;
    runtime.spawn(s3::serve(listener, store.clone(), ACCESS_KEY, SECRET_KEY));
    let upstreams = Upstreams { dynamodb, s3, sqs: None, signer: None, trust: Trust::none() };
    Proxy::start(runtime.handle(), &upstreams, calls)
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Does not wait, and so may be called within another runtime.
            runtime.shutdown_background();
        }
    }
}

fn no_bucket(action: &str, bucket: &str) -> StackError {
    StackError::new(format!("{action} of bucket {bucket}"), "the bucket does not exist")
}

impl Stack for Embedded {
    fn environment(&self) -> BTreeMap<String, String> {
        self.environment.clone()
    }

    fn calls(&self) -> &Calls {
        &self.calls
    }

    fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), StackError> {
        self.kafka.create_topic(topic, partitions)
    }

    fn create_table(&self, table: &Table) -> Result<(), StackError> {
        self.tables.create(table)
    }

    fn create_bucket(&self, bucket: &str) -> Result<(), StackError> {
        self.store.create_bucket(bucket);
        Ok(())
    }

    fn produce(&self, records: &[Record]) -> Result<(), StackError> {
        self.kafka.produce(records)
    }

    fn end_offsets(&self, topics: &[String]) -> Result<BTreeMap<(String, i32), i64>, StackError> {
        self.kafka.client().end_offsets(topics)
    }

    fn committed(&self, group: &str, partitions: &[(String, i32)]) -> Result<Commits, StackError> {
        self.kafka.client().committed(group, partitions)
    }

    fn read_topic(&self, topic: &str) -> Result<Vec<Record>, StackError> {
        self.kafka.client().read_topic(topic)
    }

    fn scan(&self, table: &str) -> Result<Vec<Value>, StackError> {
        self.tables.scan(table)
    }

    fn objects(&self, bucket: &str) -> Result<Vec<(String, Vec<u8>)>, StackError> {
        let objects = self.store.objects(bucket).ok_or_else(|| no_bucket("reading the objects", bucket))?;
        Ok(objects.into_iter().map(|(key, body)| (key, body.to_vec())).collect())
    }

    fn open_uploads(&self, bucket: &str) -> Result<Vec<String>, StackError> {
        self.store.open_uploads(bucket).ok_or_else(|| no_bucket("reading the open uploads", bucket))
    }
}
