//! A test's view of services that are reached at endpoints: it uses their clients and works in a namespace. The
//! subject's AWS calls go through the recording proxy.

mod clean_up;
mod clients;
mod create;
mod items;
mod leaders;
mod queues;
mod reassign;
mod running;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_s3::error::DisplayErrorContext;
use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use hyper::http::uri::Authority;
use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use self::clean_up::Created;
use self::clients::sqs;
pub(crate) use self::clients::{Access, Endpoints, dynamodb, s3};
use self::running::Before;
use super::embedded::glue::{self, Catalog};
use super::kafka::Client as Kafka;
use super::relay::Relay;
use super::{Commits, QueueDepth, Record, Resources, Stack, StackError, namespace};
use crate::calls::{Calls, Moment};
use crate::proxy::service::{GLUE, Service};
use crate::proxy::{self, Proxy, Upstreams};
use crate::resign::Signer;
use crate::tls::Trust;
use crate::upstream::Upstream;

/// The largest record that a topic accepts, in bytes: as much as the embedded broker keeps of a partition.
const MAX_MESSAGE_BYTES: &str = "5242880";

/// The shortest interval between two checks whether a resource has reached the expected state.
const LOOK: Duration = Duration::from_millis(10);

/// The key that a subject gets if its requests are signed again. No service knows this key.
const NOBODYS_KEY: &str = "e2e";

/// Why there are no databases.
const NO_CATALOG: &str = "the framework creates and observes Glue databases on the stacks embedded and docker only; run the case on one of them";

/// The variable by which a subject finds Kafka.
const BOOTSTRAP: &str = "KAFKA_BOOTSTRAP_SERVERS";

/// How many objects are read at once.
const READS: usize = 8;

/// The processes or containers that run the services.
pub(crate) trait Backing: Send + Sync {
    /// Checks that the services still run. An error is the infrastructure's fault, and shows what they printed last.
    fn health(&self) -> Result<(), StackError> {
        Ok(())
    }

    /// Whether the services outlive the test, so that it has to delete what it has created in them.
    fn outlives_the_test(&self) -> bool;
}

/// One test's view of the services.
pub(crate) struct Remote {
    namespace: String,
    /// What existed before the test. It is `Some` if the topics, tables and buckets are those of a pipeline that runs
    /// already.
    before: Option<Mutex<Before>>,
    environment: BTreeMap<String, String>,
    calls: Calls,
    kafka: Kafka,
    admin: AdminClient<DefaultClientContext>,
    dynamodb: aws_sdk_dynamodb::Client,
    s3: aws_sdk_s3::Client,
    sqs: aws_sdk_sqs::Client,
    /// What is before the broker, if the subject reaches it through a relay.
    relay: Option<Relay>,
    /// The Glue catalog in this process, where the services have none.
    catalog: Option<Catalog>,
    region: String,
    created: Mutex<Created>,
    backing: Box<dyn Backing>,
    /// It is `None` only while this value is dropped.
    runtime: Option<Runtime>,
}

/// The runtime of one stack, with threads of its own.
pub(crate) fn threads() -> Result<Runtime, StackError> {
    let threads = Builder::new_multi_thread().worker_threads(2).thread_name("e2e-remote").enable_all().build();
    threads.map_err(|error| StackError::new("starting the stack's threads", error))
}

impl Remote {
    /// Connects to the services. The names of the test's resources are prefixed with `namespace`.
    pub(crate) fn connect(
        runtime: Runtime,
        endpoints: &Endpoints,
        namespace: String,
        backing: Box<dyn Backing>,
    ) -> Result<Self, StackError> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &endpoints.kafka);
        let admin = config.create().map_err(|error| StackError::new("creating a Kafka admin client", error))?;
        // If a send is repeated because a new partition has no leader yet, the record must not come after the next one.
        config.set("message.max.bytes", MAX_MESSAGE_BYTES).set("enable.idempotence", "true");
        let kafka = Kafka::new(&config).map_err(|error| StackError::new("creating a Kafka client", error))?;

        let region = &endpoints.region;
        let (signer, signs_all, trust, [access_key, secret_key]) = match &endpoints.access {
            Access::Key { access_key, secret_key } => {
                let signer = Signer::of_key(access_key, secret_key, region);
                (signer, false, Trust::none(), [access_key.as_str(), secret_key])
            }
            Access::Credentials { provider, trust } => {
                (Signer::new(provider.clone(), region), true, trust.clone(), [NOBODYS_KEY, NOBODYS_KEY])
            }
        };
        let mut services = endpoints.services.clone();
        let catalog = serve_catalog(&runtime, &mut services)?;
        let upstreams = Upstreams { services, signer, signs_all, trust };
        let calls = Calls::default();
        let proxy = Proxy::start(runtime.handle(), &upstreams, &calls)
            .map_err(|error| StackError::new("opening the recording proxy's ports", error))?;
        let mut environment = proxy.environment(&endpoints.region, access_key, secret_key);
        environment.insert(BOOTSTRAP.to_owned(), endpoints.kafka.clone());
        Ok(Self {
            namespace,
            before: None,
            environment,
            calls,
            kafka,
            admin,
            dynamodb: dynamodb(endpoints)?,
            s3: s3(endpoints)?,
            sqs: sqs(endpoints)?,
            relay: None,
            catalog,
            region: endpoints.region.clone(),
            created: Mutex::default(),
            backing,
            runtime: Some(runtime),
        })
    }

    /// Lets the subject reach the brokers through a relay, which can disturb this subject alone. It needs all of them to be
    /// at addresses of this machine; otherwise there is none.
    #[cfg(feature = "docker")]
    pub(crate) fn relayed(mut self) -> Result<Self, StackError> {
        let Some(bootstrap) = self.environment.get_mut(BOOTSTRAP) else { return Ok(self) };
        let local = |broker: &str| {
            broker.parse::<std::net::SocketAddr>().ok().filter(|broker| broker.ip() == std::net::Ipv4Addr::LOCALHOST)
        };
        let brokers: Option<Vec<_>> = bootstrap.split(',').map(local).collect();
        if let (Some(brokers), Some(runtime)) = (brokers, &self.runtime) {
            let relay = Relay::start(runtime.handle(), &brokers, super::relay::Absent::Stay);
            let relay = relay.map_err(|error| StackError::new("starting a relay before Kafka", error))?;
            *bootstrap = relay.addresses().map(|address| address.to_string()).collect::<Vec<_>>().join(",");
            self.relay = Some(relay);
        }
        Ok(self)
    }

    /// Connects to the services for a pipeline that runs already, and uses its names. No topic, table or bucket is
    /// created or deleted.
    pub(crate) fn of_running_subject(
        runtime: Runtime,
        endpoints: &Endpoints,
        backing: Box<dyn Backing>,
    ) -> Result<Self, StackError> {
        let mut remote = Self::connect(runtime, endpoints, String::new(), backing)?;
        remote.before = Some(Mutex::default());
        Ok(remote)
    }

    /// The name that a topic, table or bucket of this test has in the services.
    fn real(&self, name: &str) -> String {
        format!("{}{name}", self.namespace)
    }

    fn without_namespace(&self, text: &str) -> String {
        namespace::take_off(text, &self.namespace)
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        // The runtime is taken only in `drop`, and then no reference to this value exists any more.
        self.runtime.as_ref().expect("the stack's threads live as long as the stack").block_on(future)
    }

    fn created<T>(&self, change: impl FnOnce(&mut Created) -> T) -> T {
        change(&mut self.created.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn create_databases(&self, databases: &[String]) -> Result<(), StackError> {
        for database in databases {
            let catalog = self.the_catalog(|| format!("creating database {database}"))?;
            catalog.create_database(&self.real(database));
        }
        Ok(())
    }

    /// The Glue catalog, which is needed for `action`.
    fn the_catalog(&self, action: impl Fn() -> String) -> Result<&Catalog, StackError> {
        self.catalog.as_ref().ok_or_else(|| StackError::new(action(), NO_CATALOG))
    }

    async fn read_object(&self, bucket: &str, key: &str) -> Result<Vec<u8>, StackError> {
        let action = || format!("reading the object {bucket}/{key}");
        let object = self.s3.get_object().bucket(bucket).key(key).send().await;
        let object = object.map_err(|error| StackError::sdk(action(), error))?;
        let body = object.body.collect().await.map_err(|error| StackError::new(action(), error))?;
        Ok(body.to_vec())
    }

    async fn keys(&self, bucket: &str) -> Result<Vec<String>, StackError> {
        let action = || format!("listing the objects of bucket {bucket}");
        let mut pages = self.s3.list_objects_v2().bucket(bucket).into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| StackError::sdk(action(), error))?;
            keys.extend(page.contents.unwrap_or_default().into_iter().filter_map(|object| object.key));
        }
        Ok(keys)
    }

    /// The keys and ids of the uploads that are neither completed nor aborted.
    async fn uploads(&self, bucket: &str) -> Result<Vec<(String, String)>, StackError> {
        let action = || format!("listing the open uploads of bucket {bucket}");
        let mut uploads = Vec::new();
        let (mut key_marker, mut id_marker) = (None, None);
        loop {
            let request = self.s3.list_multipart_uploads().bucket(bucket);
            let page = request.set_key_marker(key_marker).set_upload_id_marker(id_marker).send().await;
            let page = page.map_err(|error| StackError::sdk(action(), error))?;
            uploads.extend(
                page.uploads.unwrap_or_default().into_iter().filter_map(|upload| upload.key.zip(upload.upload_id)),
            );
            if page.is_truncated != Some(true) {
                return Ok(uploads);
            }
            (key_marker, id_marker) = (page.next_key_marker, page.next_upload_id_marker);
        }
    }
}

impl Stack for Remote {
    fn environment(&self) -> BTreeMap<String, String> {
        self.environment.clone()
    }

    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn health(&self) -> Result<(), StackError> {
        self.backing.health()
    }

    fn calls(&self) -> &Calls {
        &self.calls
    }

    fn provide(&self, resources: &Resources) -> Result<(), StackError> {
        if let Some(before) = &self.before {
            return self.note_what_is_there(before, resources);
        }
        let Resources { topics, tables, buckets, queues: _, notifications, databases } = resources;
        self.create_databases(databases)?;
        self.block_on(async {
            let tables = try_join_all(tables.iter().map(|table| self.create_table(table)));
            let buckets = try_join_all(buckets.iter().map(|bucket| self.create_bucket(bucket)));
            tokio::try_join!(self.create_topics(topics), tables, buckets, self.create_queues(resources))?;
            self.notify(notifications).await
        })?;
        self.await_topics(topics)
    }

    fn produce(&self, records: &[Record]) -> Result<(), StackError> {
        let named = |record: &Record| Record { topic: self.real(&record.topic), ..record.clone() };
        self.kafka.produce(&records.iter().map(named).collect::<Vec<_>>())
    }

    fn kafka_requests(&self) -> Result<Vec<&'static str>, StackError> {
        Ok(self.relay.as_ref().map(Relay::requests).unwrap_or_default())
    }

    fn hold_kafka_request(&self, name: &str, nth: usize, moment: Moment) -> Result<bool, StackError> {
        Ok(self.relay.as_ref().is_some_and(|relay| relay.hold(name, nth, moment)))
    }

    fn holds_kafka_request(&self, _name: &str) -> Result<bool, StackError> {
        Ok(self.relay.as_ref().is_some_and(Relay::holds))
    }

    fn set_broker_up(&self, up: bool) -> Result<bool, StackError> {
        if let Some(relay) = &self.relay {
            relay.set(up);
        }
        Ok(self.relay.is_some())
    }

    fn move_leaders(&self, groups: &[String]) -> Result<bool, StackError> {
        self.move_to_other_brokers(groups)
    }

    fn offset_fetches(&self) -> Result<Option<usize>, StackError> {
        Ok(self.relay.as_ref().map(Relay::offset_fetches))
    }

    fn fetching_connections(&self) -> Option<usize> {
        self.relay.as_ref().map(Relay::fetching_connections)
    }

    fn put_object(&self, bucket: &str, key: &str, body: &[u8]) -> Result<(), StackError> {
        let bucket = self.real(bucket);
        let put = self.s3.put_object().bucket(&bucket).key(key).body(body.to_vec().into()).send();
        let done = self.block_on(put);
        done.map(drop).map_err(|error| StackError::sdk(format!("putting the object {bucket}/{key}"), error))
    }

    fn send_message(&self, queue: &str, body: &str) -> Result<(), StackError> {
        self.block_on(self.send(queue, body))
    }

    fn create_catalog_table(&self, database: &str, table: &Value) -> Result<(), StackError> {
        let database = self.real(database);
        let action = || format!("creating a table in the database {database}");
        let created = self.the_catalog(action)?.create_table(&database, table);
        created.map_err(|problem| StackError::new(action(), problem))
    }

    fn end_offsets(&self, topics: &[String]) -> Result<BTreeMap<(String, i32), i64>, StackError> {
        let topics: Vec<String> = topics.iter().map(|topic| self.real(topic)).collect();
        let ends = self.kafka.end_offsets(&topics)?;
        Ok(ends
            .into_iter()
            .map(|((topic, partition), end)| ((self.without_namespace(&topic), partition), end))
            .collect())
    }

    fn committed(&self, group: &str, partitions: &[(String, i32)]) -> Result<Commits, StackError> {
        self.created(|created| created.groups.insert(group.to_owned()));
        let partitions: Vec<(String, i32)> = partitions.iter().map(|(topic, n)| (self.real(topic), *n)).collect();
        let commits = self.kafka.committed(group, &partitions)?;
        Ok(commits.into_iter().map(|((topic, n), commit)| ((self.without_namespace(&topic), n), commit)).collect())
    }

    fn read_topic(&self, topic: &str) -> Result<Vec<Record>, StackError> {
        let mut records = self.kafka.read_topic(&self.real(topic))?;
        if let Some(before) = &self.before {
            let before = before.lock().unwrap_or_else(PoisonError::into_inner);
            records.retain(|record| before.is_new(topic, record));
        }
        for record in &mut records {
            record.topic = self.without_namespace(&record.topic);
            // Headers may contain names of topics, tables and buckets. The key and the value are the pipeline's content
            // and stay unchanged.
            for value in record.headers.iter_mut().filter_map(|(_, value)| value.as_mut()) {
                if let Ok(text) = std::str::from_utf8(value) {
                    *value = self.without_namespace(text).into_bytes();
                }
            }
        }
        Ok(records)
    }

    fn scan(&self, table: &str) -> Result<Vec<Value>, StackError> {
        let name = self.real(table);
        let pages = self.dynamodb.scan().table_name(&name).consistent_read(true).into_paginator().items().send();
        let items: Result<Vec<_>, _> = self.block_on(pages.collect::<Result<Vec<_>, _>>());
        let items = items.map_err(|error| StackError::sdk(format!("scanning table {name}"), error))?;
        Ok(items.into_iter().map(items::item).collect())
    }

    fn objects(&self, bucket: &str) -> Result<Vec<(String, Vec<u8>)>, StackError> {
        let bucket = self.real(bucket);
        let mut objects: Vec<(String, Vec<u8>)> = self.block_on(async {
            let mut keys = self.keys(&bucket).await?;
            keys.retain(|key| self.is_new_object(&bucket, key));
            let bucket = bucket.as_str();
            let read = |key: String| async move {
                let body = self.read_object(bucket, &key).await?;
                Ok::<_, StackError>((self.without_namespace(&key), body))
            };
            stream::iter(keys).map(read).buffer_unordered(READS).try_collect().await
        })?;
        objects.sort();
        Ok(objects)
    }

    fn queue(&self, name: &str) -> Result<QueueDepth, StackError> {
        self.block_on(self.depth(name))
    }

    fn messages(&self, queue: &str) -> Result<Vec<String>, StackError> {
        let bodies = self.block_on(self.bodies(queue))?;
        Ok(bodies.iter().map(|body| self.without_namespace(body)).collect())
    }

    fn catalog(&self, database: &str) -> Result<Vec<Value>, StackError> {
        let action = || format!("reading the tables of database {database}");
        let catalog = self.the_catalog(action)?;
        let tables = catalog.tables(&self.real(database));
        let tables = tables.ok_or_else(|| StackError::new(action(), "the database does not exist"))?;
        let named = |table: Value| serde_json::from_str(&self.without_namespace(&table.to_string()));
        tables.into_iter().map(named).collect::<Result<_, _>>().map_err(|error| StackError::new(action(), error))
    }

    fn open_uploads(&self, bucket: &str) -> Result<Vec<String>, StackError> {
        let uploads = self.block_on(self.uploads(&self.real(bucket)))?;
        let mut keys: Vec<String> = uploads.into_iter().map(|(key, _)| self.without_namespace(&key)).collect();
        keys.sort();
        Ok(keys)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        if self.backing.outlives_the_test() && self.before.is_none() && self.backing.health().is_ok() {
            let created = self.created(std::mem::take);
            let left = self.block_on(self.clean_up(&created));
            if !left.is_empty() {
                eprintln!("cannot delete what a test has created:\n  {}", left.join("\n  "));
            }
        }
        if let Some(runtime) = self.runtime.take() {
            // This call does not wait, so it is allowed within another runtime.
            runtime.shutdown_background();
        }
    }
}

/// Serves the embedded Glue in this process if the services have no Glue, and adds it to them.
fn serve_catalog(
    runtime: &Runtime,
    services: &mut Vec<(&'static Service, Upstream)>,
) -> Result<Option<Catalog>, StackError> {
    if services.iter().any(|(service, _)| service.name == GLUE.name) {
        return Ok(None);
    }
    let _context = runtime.enter();
    let failed = |error| StackError::new("opening the port of the Glue catalog", error);
    let (listener, address) = proxy::bind().map_err(failed)?;
    let authority = Authority::try_from(address.to_string()).map_err(|error| failed(std::io::Error::other(error)))?;
    let catalog = Catalog::default();
    runtime.spawn(glue::serve(listener, catalog.clone()));
    services.push((&GLUE, Upstream::http(authority)));
    Ok(Some(catalog))
}

/// The text of an SDK's error with its causes, because its own text is only `service error`.
pub(crate) fn with_causes<E: std::error::Error>(error: &E) -> String {
    DisplayErrorContext(error).to_string()
}
