//! The embedded stack: Kafka, DynamoDB, S3, SQS, Glue and the recording proxy in the test's own process, ready in
//! milliseconds, without Docker.

pub(crate) mod dynamodb;
pub(crate) mod glue;
mod json_service;
pub(crate) mod kafka;
mod leaders;
mod requests;
pub mod s3;
pub(crate) mod sqs;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use hyper::http::uri::Authority;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use self::dynamodb::Tables;
use self::glue::Catalog;
use self::kafka::Kafka;
use self::s3::Store;
use self::sqs::Queues;
pub(crate) use super::relay::Absent;
use super::relay::Relay;
use super::{Commits, QueueDepth, Record, Resources, Stack, StackError};
use crate::calls::{Calls, Moment};
use crate::proxy::service::{DYNAMODB, GLUE, S3, SQS, Service};
use crate::proxy::{self, Proxy, Upstreams};
use crate::resign::Signer;
use crate::tls::Trust;
use crate::upstream::Upstream;

/// The region that the subject is given, and the key with which it signs.
const REGION: &str = "us-east-1";
const ACCESS_KEY: &str = "embedded";
const SECRET_KEY: &str = "embedded-secret";

/// The account that owns everything: the one that stand-ins for AWS use.
const ACCOUNT: &str = "000000000000";

/// The services of one test. They use ports of 127.0.0.1 that the kernel picks, and threads of their own. One process
/// can have any number of such stacks. Dropping a stack ends its services.
pub struct Embedded {
    environment: BTreeMap<String, String>,
    calls: Calls,
    kafka: Kafka,
    /// What clients reach instead of the broker, if their connections can be broken.
    relay: Option<Relay>,
    tables: Tables,
    store: Store,
    queues: Queues,
    catalog: Catalog,
    /// It is `None` only while the stack is dropped.
    runtime: Option<Runtime>,
}

/// The brokers that a schedule needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Brokers {
    /// A single one.
    One,
    /// A single one, whose connections can be broken, and what becomes of members whose clients close theirs.
    Relayed(Absent),
    /// Two, between which leaders can move.
    Two,
}

impl Brokers {
    /// How many there are.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::One | Self::Relayed(_) => 1,
            Self::Two => 2,
        }
    }
}

/// A function that serves one AWS service on a listener. The service ends when the returned future is dropped.
pub(crate) type Server = Box<dyn FnOnce(TcpListener) -> Pin<Box<dyn Future<Output = ()> + Send>>>;

impl Embedded {
    /// Starts all services. They accept requests when this returns.
    pub fn start() -> Result<Self, StackError> {
        Self::start_with(Brokers::One, Vec::new())
    }

    /// Starts all services, and these in addition to AWS's.
    pub(crate) fn start_with(brokers: Brokers, more: Vec<(&'static Service, Server)>) -> Result<Self, StackError> {
        let mut kafka = Kafka::start(brokers.number())?;
        kafka.track_requests()?;
        let tables = Tables::new()?;
        let queues = Queues::default();
        let store = Store::announcing_to(queues.clone());
        let catalog = Catalog::default();
        let calls = Calls::default();
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("e2e-embedded")
            .enable_all()
            .build()
            .map_err(|error| StackError::new("starting the embedded stack's threads", error))?;
        let (served_tables, served_store) = (tables.clone(), store.clone());
        let (served_queues, served_catalog) = (queues.clone(), catalog.clone());
        let mut servers: Vec<(&'static Service, Server)> = vec![
            (&DYNAMODB, Box::new(|listener| Box::pin(dynamodb::serve(listener, served_tables)))),
            (&GLUE, Box::new(|listener| Box::pin(glue::serve(listener, served_catalog)))),
            (&S3, Box::new(|listener| Box::pin(s3::serve(listener, served_store, ACCESS_KEY, SECRET_KEY)))),
            (&SQS, Box::new(|listener| Box::pin(sqs::serve(listener, served_queues)))),
        ];
        servers.extend(more);
        let proxy = listen(&runtime, servers, &calls)
            .map_err(|error| StackError::new("opening the embedded stack's ports", error))?;
        let relay = match brokers {
            Brokers::Relayed(absent) => Some(relay_to(&mut kafka, &runtime, absent)?),
            Brokers::One | Brokers::Two => None,
        };
        let mut environment = proxy.environment(REGION, ACCESS_KEY, SECRET_KEY);
        environment.insert("KAFKA_BOOTSTRAP_SERVERS".to_owned(), kafka.client().bootstrap().to_owned());
        Ok(Self { environment, calls, kafka, relay, tables, store, queues, catalog, runtime: Some(runtime) })
    }

    /// Sets the time after which a silent member is removed from its group, and the interval of its heartbeats. This is
    /// for members of the protocol `consumer` (KIP-848). Members of the classic protocol set `session.timeout.ms`
    /// themselves.
    pub fn set_session_timeout(&self, session: Duration, heartbeat: Duration) -> Result<(), StackError> {
        self.kafka.set_session_timeout(session, heartbeat)
    }

    /// Whether a table has an item whose partition key, the attribute `name`, is this text. This asks the database
    /// directly, which is fast enough to measure when an item became readable.
    pub fn has_item(&self, table: &str, name: &str, value: &str) -> Result<bool, StackError> {
        self.tables.has_item(table, name, value)
    }
}

/// Puts a relay before the broker.
fn relay_to(kafka: &mut Kafka, runtime: &Runtime, absent: Absent) -> Result<Relay, StackError> {
    let broker = kafka.client().bootstrap().parse().map_err(io::Error::other);
    let relay = broker.and_then(|broker| Relay::start(runtime.handle(), &[broker], absent));
    let relay = relay.map_err(|error| StackError::new("starting a relay before the embedded Kafka", error))?;
    for address in relay.addresses() {
        kafka.advertise(address)?;
    }
    Ok(relay)
}

/// Serves each service on a port of its own, and all of them through one proxy.
fn listen(runtime: &Runtime, servers: Vec<(&'static Service, Server)>, calls: &Calls) -> io::Result<Proxy> {
    let _context = runtime.enter();
    let mut services = Vec::new();
    for (service, serve) in servers {
        let (listener, address) = proxy::bind()?;
        services.push((service, Upstream::http(Authority::try_from(address.to_string()).map_err(io::Error::other)?)));
        runtime.spawn(serve(listener));
    }
    let signer = Signer::of_key(ACCESS_KEY, SECRET_KEY, REGION);
    let upstreams = Upstreams { services, signer, signs_all: false, trust: Trust::none() };
    Proxy::start(runtime.handle(), &upstreams, calls)
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // This call does not wait, so it is allowed within another runtime.
            runtime.shutdown_background();
        }
    }
}

fn no_queue(queue: &str) -> StackError {
    StackError::new(format!("using queue {queue}"), "the queue does not exist")
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

    fn provide(&self, resources: &Resources) -> Result<(), StackError> {
        let Resources { topics, tables, buckets, queues: _, notifications, databases } = resources;
        self.kafka
            .awake(|| topics.iter().try_for_each(|(topic, partitions)| self.kafka.create_topic(topic, *partitions)))?;
        tables.iter().try_for_each(|table| self.tables.create(table))?;
        for bucket in buckets {
            self.store.create_bucket(bucket);
        }
        for database in databases {
            self.catalog.create_database(database);
        }
        for (name, queue) in resources.queues_in_order() {
            let attributes = queue.attributes(|target| Ok::<_, StackError>(sqs::arn(target)))?;
            self.queues.create(name, &attributes)?;
        }
        for notification in notifications {
            self.store.notify(notification)?;
        }
        Ok(())
    }

    fn produce(&self, records: &[Record]) -> Result<(), StackError> {
        self.kafka.produce(records)
    }

    fn kafka_requests(&self) -> Result<Vec<&'static str>, StackError> {
        self.kafka.requests()
    }

    fn hold_kafka_request(&self, name: &str, nth: usize, moment: Moment) -> Result<bool, StackError> {
        self.kafka.hold(name, nth, moment)
    }

    fn holds_kafka_request(&self, name: &str) -> Result<bool, StackError> {
        self.kafka.holds(name)
    }

    fn set_broker_up(&self, up: bool) -> Result<bool, StackError> {
        if let Some(relay) = &self.relay {
            relay.set(up);
        }
        Ok(self.relay.is_some())
    }

    fn move_leaders(&self, groups: &[String]) -> Result<bool, StackError> {
        self.kafka.awake(|| self.kafka.move_leaders(groups))
    }

    fn offset_fetches(&self) -> Result<Option<usize>, StackError> {
        self.kafka.offset_fetches().map(Some)
    }

    fn fetching_connections(&self) -> Option<usize> {
        self.relay.as_ref().map(Relay::fetching_connections)
    }

    fn put_object(&self, bucket: &str, key: &str, body: &[u8]) -> Result<(), StackError> {
        // The runtime is taken only in `drop`, and then no reference to this value exists any more.
        let runtime = self.runtime.as_ref().expect("the stack's threads live as long as the stack");
        let put = runtime.block_on(self.store.put(bucket, key, body.to_vec()));
        put.map_err(|problem| StackError::new(format!("putting the object {bucket}/{key}"), problem))
    }

    fn send_message(&self, queue: &str, body: &str) -> Result<(), StackError> {
        if self.queues.send(queue, body) { Ok(()) } else { Err(no_queue(queue)) }
    }

    fn create_catalog_table(&self, database: &str, table: &Value) -> Result<(), StackError> {
        let created = self.catalog.create_table(database, table);
        created.map_err(|problem| StackError::new(format!("creating a table in the database {database}"), problem))
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

    fn set_long_polls(&self, long: bool) {
        self.queues.set_long_polls(long);
    }

    fn queue(&self, name: &str) -> Result<QueueDepth, StackError> {
        self.queues.depth(name).ok_or_else(|| no_queue(name))
    }

    fn messages(&self, queue: &str) -> Result<Vec<String>, StackError> {
        self.queues.messages(queue).ok_or_else(|| no_queue(queue))
    }

    fn catalog(&self, database: &str) -> Result<Vec<Value>, StackError> {
        let tables = self.catalog.tables(database);
        tables.ok_or_else(|| {
            StackError::new(format!("reading the tables of database {database}"), "the database does not exist")
        })
    }

    fn open_uploads(&self, bucket: &str) -> Result<Vec<String>, StackError> {
        self.store.open_uploads(bucket).ok_or_else(|| no_bucket("reading the open uploads", bucket))
    }
}
