//! Kafka, DynamoDB and S3 behind endpoints, used through their own clients, in a namespace; the subject's AWS calls pass the recording proxy.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, TableStatus,
};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration, Delete, ObjectIdentifier};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::future::{join_all, try_join_all};
use futures_util::{StreamExt, TryStreamExt, stream};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::types::RDKafkaErrorCode;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use super::kafka::{Client as Kafka, PATIENCE};
use super::{Commits, Record, Stack, StackError, Table, index_name, namespace};
use crate::calls::Calls;
use crate::proxy::{Proxy, Upstreams};
use crate::resign::Signer;
use crate::tls::Trust;
use crate::upstream::Upstream;

/// The largest record that a topic takes: as much as the embedded broker keeps of a partition.
const MAX_MESSAGE_BYTES: &str = "5242880";

/// How soon what was created is asked for again until it is there, at first and at most: AWS takes seconds for what others do at once.
const LOOK: Duration = Duration::from_millis(10);
const SLOWEST_LOOK: Duration = Duration::from_secs(1);

/// The longest name of a bucket, as S3 has it.
const BUCKET_NAME: usize = 63;

/// What a subject signs with whose requests are signed anew.
const NOBODYS_KEY: &str = "e2e";

/// How long a member that was killed may hold its group, at most.
const SESSION: Duration = Duration::from_secs(10);

/// How many objects are read at once.
const READS: usize = 8;

/// Where services are, and with which credentials.
#[derive(Debug, Clone)]
pub(crate) struct Endpoints {
    /// `bootstrap.servers`.
    pub kafka: String,
    /// URL of DynamoDB.
    pub dynamodb: String,
    /// URL of S3.
    pub s3: String,
    /// URL of SQS.
    pub sqs: String,
    pub region: String,
    pub access: Access,
}

/// Who may use the services.
#[derive(Debug, Clone)]
pub(crate) enum Access {
    /// Whoever has this key, the subject too: its requests are passed on as it has signed them.
    Key { access_key: String, secret_key: String },
    /// Whoever has these credentials. The subject gets a key that is nobody's, and its requests are signed anew.
    Credentials { provider: SharedCredentialsProvider, trust: Trust },
}

/// Who stands behind the services.
pub(crate) trait Backing: Send + Sync {
    /// Whether they are still there; an error is the infrastructure's fault and says what they said last.
    fn health(&self) -> Result<(), StackError> {
        Ok(())
    }

    /// Whether the services outlive the test, so that it has to take away what it has put into them.
    fn outlives_the_test(&self) -> bool;
}

/// What a test has made, to be taken away again.
#[derive(Default)]
struct Made {
    topics: BTreeSet<String>,
    tables: BTreeSet<String>,
    buckets: BTreeSet<String>,
    groups: BTreeSet<String>,
}

/// What was there before the test, on services whose names are another's.
#[derive(Default)]
struct Before {
    ends: BTreeMap<(String, i32), i64>,
    keys: BTreeSet<(String, String)>,
}

/// One test's view of the services.
pub(crate) struct Remote {
    namespace: String,
    /// `Some` where topics, tables and buckets are those of a pipeline that runs already.
    before: Option<Mutex<Before>>,
    environment: BTreeMap<String, String>,
    calls: Calls,
    kafka: Kafka,
    admin: AdminClient<DefaultClientContext>,
    dynamodb: aws_sdk_dynamodb::Client,
    s3: aws_sdk_s3::Client,
    region: String,
    made: Mutex<Made>,
    backing: Box<dyn Backing>,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

/// The threads of one stack.
pub(crate) fn threads() -> Result<Runtime, StackError> {
    let threads = Builder::new_multi_thread().worker_threads(2).thread_name("e2e-remote").enable_all().build();
    threads.map_err(|error| StackError::new("starting the stack's threads", error))
}

impl Remote {
    /// Connects to the services. Names that this test gives have `namespace` before them.
    pub fn connect(
        runtime: Runtime,
        endpoints: &Endpoints,
        namespace: String,
        backing: Box<dyn Backing>,
    ) -> Result<Self, StackError> {
        let failed = |action: &str, error: &dyn std::fmt::Display| StackError::new(action, error);
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &endpoints.kafka);
        let admin = config.create().map_err(|error| failed("creating a Kafka admin client", &error))?;
        // A send that is repeated, for a new partition has no leader yet, must not come behind the next one.
        config.set("message.max.bytes", MAX_MESSAGE_BYTES).set("enable.idempotence", "true");
        let kafka = Kafka::new(&config).map_err(|error| failed("creating a Kafka client", &error))?;

        let upstream = |what: &str, url: &str| {
            url.parse::<Upstream>().map_err(|error| failed(&format!("reading {what}'s address"), &error))
        };
        let (signer, trust, access_key, secret_key) = match &endpoints.access {
            Access::Key { access_key, secret_key } => (None, Trust::none(), access_key.as_str(), secret_key.as_str()),
            Access::Credentials { provider, trust } => {
                let signer = Signer::new(provider.clone(), &endpoints.region);
                (Some(signer), trust.clone(), NOBODYS_KEY, NOBODYS_KEY)
            }
        };
        let upstreams = Upstreams {
            dynamodb: upstream("DynamoDB", &endpoints.dynamodb)?,
            s3: upstream("S3", &endpoints.s3)?,
            sqs: Some(upstream("SQS", &endpoints.sqs)?),
            signer,
            trust,
        };
        let calls = Calls::default();
        let proxy = Proxy::start(runtime.handle(), &upstreams, &calls)
            .map_err(|error| failed("opening the recording proxy's ports", &error))?;
        let mut environment = proxy.environment(&endpoints.region, access_key, secret_key);
        environment.insert("KAFKA_BOOTSTRAP_SERVERS".to_owned(), endpoints.kafka.clone());
        Ok(Self {
            namespace,
            before: None,
            environment,
            calls,
            kafka,
            admin,
            dynamodb: dynamodb(endpoints)?,
            s3: s3(endpoints)?,
            region: endpoints.region.clone(),
            made: Mutex::default(),
            backing,
            runtime: Some(runtime),
        })
    }

    /// The names of a pipeline that runs already: nothing is created or taken away.
    pub fn of_running_subject(
        runtime: Runtime,
        endpoints: &Endpoints,
        backing: Box<dyn Backing>,
    ) -> Result<Self, StackError> {
        let mut remote = Self::connect(runtime, endpoints, String::new(), backing)?;
        remote.before = Some(Mutex::default());
        Ok(remote)
    }

    /// Notes what is there already, and empties the tables.
    fn look_before(
        &self,
        before: &Mutex<Before>,
        topics: &BTreeMap<String, i32>,
        tables: &[Table],
        buckets: &[String],
    ) -> Result<(), StackError> {
        let mut before = before.lock().unwrap_or_else(PoisonError::into_inner);
        before.ends = self.kafka.end_offsets(&topics.keys().cloned().collect::<Vec<_>>())?;
        for bucket in buckets {
            let keys = self.block_on(self.keys(bucket))?;
            before.keys.extend(keys.into_iter().map(|key| (bucket.clone(), key)));
        }
        tables.iter().try_for_each(|table| self.block_on(self.empty(table)))
    }

    async fn empty(&self, table: &Table) -> Result<(), StackError> {
        let failed = |cause: String| StackError::new(format!("emptying table {}", table.name), cause);
        let keys: Vec<&str> = table.key().map(|(name, _)| name.as_str()).collect();
        let mut items = self.dynamodb.scan().table_name(&table.name).into_paginator().items().send();
        while let Some(item) = items.next().await {
            let mut item = item.map_err(|error| failed(words(&error)))?;
            item.retain(|name, _| keys.contains(&name.as_str()));
            let delete = self.dynamodb.delete_item().table_name(&table.name).set_key(Some(item)).send().await;
            delete.map_err(|error| failed(words(&error)))?;
        }
        Ok(())
    }

    /// Whether an object is of this test.
    fn is_new(&self, bucket: &str, key: &str) -> bool {
        self.before.as_ref().is_none_or(|before| {
            let before = before.lock().unwrap_or_else(PoisonError::into_inner);
            !before.keys.contains(&(bucket.to_owned(), key.to_owned()))
        })
    }

    /// What the services call this test's topic, table or bucket.
    fn real(&self, name: &str) -> String {
        format!("{}{name}", self.namespace)
    }

    fn without_namespace(&self, text: &str) -> String {
        namespace::take_off(text, &self.namespace)
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        // It is there until it is dropped, and then nobody has a reference any more.
        self.runtime.as_ref().expect("the stack's threads live as long as the stack").block_on(future)
    }

    fn made<T>(&self, note: impl FnOnce(&mut Made) -> T) -> T {
        note(&mut self.made.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn create_topics(&self, topics: &BTreeMap<String, i32>) -> Result<(), StackError> {
        if topics.is_empty() {
            return Ok(());
        }
        let names: Vec<(String, i32)> = topics.iter().map(|(name, count)| (self.real(name), *count)).collect();
        let action =
            || format!("creating the topics {}", names.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>().join(", "));
        self.made(|made| made.topics.extend(names.iter().map(|(name, _)| name.clone())));
        let new = names.iter().map(|(name, partitions)| {
            NewTopic::new(name, *partitions, TopicReplication::Fixed(-1))
                // Fixtures have times of their own, which are long past any retention.
                .set("retention.ms", "-1")
                .set("max.message.bytes", MAX_MESSAGE_BYTES)
        });
        let new: Vec<NewTopic<'_>> = new.collect();
        let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
        let results =
            self.admin.create_topics(&new, &options).await.map_err(|error| StackError::new(action(), error))?;
        match results.into_iter().find_map(Result::err) {
            Some((topic, code)) => Err(StackError::new(format!("creating topic {topic}"), code)),
            None => Ok(()),
        }
    }

    /// Waits until the broker tells its clients of these topics: that it created them comes first.
    fn await_topics(&self, topics: &BTreeMap<String, i32>) -> Result<(), StackError> {
        let deadline = Instant::now() + PATIENCE;
        for (topic, partitions) in topics {
            while self.kafka.leaders(&self.real(topic))? < *partitions {
                if Instant::now() > deadline {
                    let problem = format!("not all of its {partitions} partitions have a leader after {PATIENCE:?}");
                    return Err(StackError::new(format!("creating topic {}", self.real(topic)), problem));
                }
                std::thread::sleep(LOOK);
            }
        }
        Ok(())
    }

    async fn create_table(&self, table: &Table) -> Result<(), StackError> {
        let name = self.real(&table.name);
        let failed = |cause: String| StackError::new(format!("creating table {name}"), cause);
        let is_new = self.made(|made| made.tables.insert(name.clone()));
        let mut request = self.dynamodb.create_table().table_name(&name).billing_mode(BillingMode::PayPerRequest);
        let incomplete = |error: BuildError| failed(error.to_string());
        for (attribute, kind) in table.attributes() {
            let kind = ScalarAttributeType::from(kind.as_str());
            let definition = AttributeDefinition::builder().attribute_name(attribute).attribute_type(kind).build();
            request = request.attribute_definitions(definition.map_err(incomplete)?);
        }
        let element = |attribute: &String, role| {
            KeySchemaElement::builder().attribute_name(attribute).key_type(role).build().map_err(incomplete)
        };
        for ((attribute, _), role) in table.key().zip([KeyType::Hash, KeyType::Range]) {
            request = request.key_schema(element(attribute, role)?);
        }
        for (attribute, _) in &table.indexes {
            let index = GlobalSecondaryIndex::builder()
                .index_name(index_name(attribute))
                .key_schema(element(attribute, KeyType::Hash)?)
                .projection(Projection::builder().projection_type(ProjectionType::All).build());
            request = request.global_secondary_indexes(index.build().map_err(incomplete)?);
        }
        let created = request.send().await.map_err(|error| {
            if is_new && error.code() == Some("ResourceInUseException") {
                // It was there before: another's, and not to be taken away.
                self.made(|made| made.tables.remove(&name));
            }
            failed(words(&error))
        })?;
        let mut status = created.table_description.and_then(|table| table.table_status);
        let (mut look, deadline) = (LOOK, Instant::now() + PATIENCE);
        while status != Some(TableStatus::Active) {
            if Instant::now() > deadline {
                return Err(failed(format!("it is not active after {PATIENCE:?}, but {status:?}")));
            }
            tokio::time::sleep(look).await;
            look = (2 * look).min(SLOWEST_LOOK);
            status = match self.dynamodb.describe_table().table_name(&name).send().await {
                Ok(found) => found.table.and_then(|table| table.table_status),
                // Descriptions are eventually consistent.
                Err(error) if error.code() == Some("ResourceNotFoundException") => None,
                Err(error) => return Err(failed(words(&error))),
            };
        }
        Ok(())
    }

    async fn create_bucket(&self, bucket: &str) -> Result<(), StackError> {
        let name = self.real(bucket);
        let failed = |cause: String| StackError::new(format!("creating bucket {name}"), cause);
        if name.len() > BUCKET_NAME {
            let (length, over) = (name.len(), name.len() - BUCKET_NAME);
            return Err(failed(format!(
                "S3 takes names of up to {BUCKET_NAME} characters, and this one has {length} with the namespace; shorten it by {over} in \
                 the fixture"
            )));
        }
        let is_new = self.made(|made| made.buckets.insert(name.clone()));
        let elsewhere = (self.region != "us-east-1").then(|| {
            let region = BucketLocationConstraint::from(self.region.as_str());
            CreateBucketConfiguration::builder().location_constraint(region).build()
        });
        let created = self.s3.create_bucket().bucket(&name).set_create_bucket_configuration(elsewhere).send().await;
        created.map_err(|error| {
            if is_new && matches!(error.code(), Some("BucketAlreadyExists" | "BucketAlreadyOwnedByYou")) {
                // All of S3's users share its names: it is another's, and not to be taken away.
                self.made(|made| made.buckets.remove(&name));
            }
            failed(words(&error))
        })?;
        let (mut look, deadline) = (LOOK, Instant::now() + PATIENCE);
        // Buckets, unlike their objects, are eventually consistent.
        while let Err(error) = self.s3.head_bucket().bucket(&name).send().await {
            if error.as_service_error().is_none_or(|error| !error.is_not_found()) || Instant::now() > deadline {
                return Err(failed(format!("it was created, but cannot be reached: {}", words(&error))));
            }
            tokio::time::sleep(look).await;
            look = (2 * look).min(SLOWEST_LOOK);
        }
        Ok(())
    }

    async fn read_object(&self, bucket: &str, key: &str) -> Result<Vec<u8>, StackError> {
        let failed = |cause: String| StackError::new(format!("reading the object {bucket}/{key}"), cause);
        let object =
            self.s3.get_object().bucket(bucket).key(key).send().await.map_err(|error| failed(words(&error)))?;
        let body = object.body.collect().await.map_err(|error| failed(error.to_string()))?;
        Ok(body.to_vec())
    }

    async fn keys(&self, bucket: &str) -> Result<Vec<String>, StackError> {
        let failed = |cause: String| StackError::new(format!("listing the objects of bucket {bucket}"), cause);
        let mut pages = self.s3.list_objects_v2().bucket(bucket).into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failed(words(&error)))?;
            keys.extend(page.contents.unwrap_or_default().into_iter().filter_map(|object| object.key));
        }
        Ok(keys)
    }

    /// Keys and ids of the uploads that are neither completed nor aborted.
    async fn uploads(&self, bucket: &str) -> Result<Vec<(String, String)>, StackError> {
        let failed = |cause: String| StackError::new(format!("listing the open uploads of bucket {bucket}"), cause);
        let mut uploads = Vec::new();
        let (mut key_marker, mut id_marker) = (None, None);
        loop {
            let request = self.s3.list_multipart_uploads().bucket(bucket);
            let page = request.set_key_marker(key_marker).set_upload_id_marker(id_marker).send().await;
            let page = page.map_err(|error| failed(words(&error)))?;
            uploads.extend(
                page.uploads.unwrap_or_default().into_iter().filter_map(|upload| upload.key.zip(upload.upload_id)),
            );
            if page.is_truncated != Some(true) {
                return Ok(uploads);
            }
            (key_marker, id_marker) = (page.next_key_marker, page.next_upload_id_marker);
        }
    }

    /// Takes away what this test has made, and only that; gives what could not be.
    async fn clean_up(&self, made: &Made) -> Vec<String> {
        let topics = async {
            let names: Vec<&str> = made.topics.iter().map(String::as_str).collect();
            let options = AdminOptions::new().request_timeout(Some(PATIENCE));
            let mut left = self.delete_groups(&made.groups, &options).await;
            if !names.is_empty() {
                match self.admin.delete_topics(&names, &options).await {
                    Ok(results) => left.extend(results.into_iter().filter_map(|result| match result {
                        Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => None,
                        Err((topic, code)) => Some(format!("topic {topic}: {code}")),
                    })),
                    Err(error) => left.push(format!("topics {}: {error}", names.join(", "))),
                }
            }
            left
        };
        let tables = join_all(made.tables.iter().map(|table| async move {
            match self.dynamodb.delete_table().table_name(table).send().await {
                Ok(_) => None,
                Err(error) if error.code() == Some("ResourceNotFoundException") => None,
                Err(error) => Some(format!("table {table}: {}", words(&error))),
            }
        }));
        let buckets = join_all(made.buckets.iter().map(|bucket| async move {
            self.remove_bucket(bucket).await.err().map(|error| format!("bucket {bucket}: {error}"))
        }));
        let (mut left, tables, buckets) = tokio::join!(topics, tables, buckets);
        left.extend(tables.into_iter().chain(buckets).flatten());
        left
    }

    /// A group that has a member is not deleted: one that was killed counts until its session times out.
    async fn delete_groups(&self, groups: &BTreeSet<String>, options: &AdminOptions) -> Vec<String> {
        let mut groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        let deadline = Instant::now() + SESSION;
        while !groups.is_empty() {
            let results = match self.admin.delete_groups(&groups, options).await {
                Ok(results) => results,
                Err(error) => return vec![format!("groups {}: {error}", groups.join(", "))],
            };
            let gone = |result: &Result<_, (String, RDKafkaErrorCode)>| {
                matches!(result, Ok(_) | Err((_, RDKafkaErrorCode::GroupIdNotFound)))
            };
            let failed: Vec<_> = results.into_iter().filter(|result| !gone(result)).filter_map(Result::err).collect();
            if Instant::now() > deadline || failed.iter().any(|(_, code)| *code != RDKafkaErrorCode::NonEmptyGroup) {
                return failed.into_iter().map(|(group, code)| format!("group {group}: {code}")).collect();
            }
            groups.retain(|group| failed.iter().any(|(name, _)| name == group));
            tokio::time::sleep(LOOK).await;
        }
        Vec::new()
    }

    async fn remove_bucket(&self, bucket: &str) -> Result<(), StackError> {
        let failed = |cause: String| StackError::new("removing it", cause);
        for (key, id) in self.uploads(bucket).await? {
            let abort = self.s3.abort_multipart_upload().bucket(bucket).key(key).upload_id(id).send().await;
            abort.map_err(|error| failed(words(&error)))?;
        }
        // As many as one call takes.
        for keys in self.keys(bucket).await?.chunks(1000) {
            let objects: Result<Vec<_>, _> =
                keys.iter().map(|key| ObjectIdentifier::builder().key(key).build()).collect();
            let objects = objects.and_then(|objects| Delete::builder().set_objects(Some(objects)).quiet(true).build());
            let delete = objects.map_err(|error| failed(error.to_string()))?;
            self.s3
                .delete_objects()
                .bucket(bucket)
                .delete(delete)
                .send()
                .await
                .map_err(|error| failed(words(&error)))?;
        }
        match self.s3.delete_bucket().bucket(bucket).send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("NoSuchBucket") => Ok(()),
            Err(error) => Err(failed(words(&error))),
        }
    }
}

/// An SDK's error with its causes; its own text is `service error` only.
pub(crate) fn words<E: std::error::Error>(error: &E) -> String {
    DisplayErrorContext(error).to_string()
}

fn sdk(endpoints: &Endpoints, url: &str) -> Result<aws_config::SdkConfig, StackError> {
    let (provider, http) = match &endpoints.access {
        Access::Key { access_key, secret_key } => (
            SharedCredentialsProvider::new(Credentials::new(access_key, secret_key, None, None, "e2e")),
            aws_smithy_http_client::Builder::new().build_http(),
        ),
        Access::Credentials { provider, trust } => (provider.clone(), trust.http_client()?),
    };
    Ok(aws_config::SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(endpoints.region.clone()))
        .credentials_provider(provider)
        .endpoint_url(url)
        .http_client(http)
        .sleep_impl(aws_sdk_s3::config::SharedAsyncSleep::new(Sleep))
        .build())
}

/// The SDK's own one comes with a feature that brings more.
#[derive(Debug)]
struct Sleep;

impl aws_sdk_s3::config::AsyncSleep for Sleep {
    fn sleep(&self, duration: Duration) -> aws_sdk_s3::config::Sleep {
        aws_sdk_s3::config::Sleep::new(tokio::time::sleep(duration))
    }
}

/// A client of DynamoDB itself, past the proxy.
pub(crate) fn dynamodb(endpoints: &Endpoints) -> Result<aws_sdk_dynamodb::Client, StackError> {
    Ok(aws_sdk_dynamodb::Client::new(&sdk(endpoints, &endpoints.dynamodb)?))
}

/// A client of S3 itself, past the proxy. Buckets are named in the path, for local names have no subdomains.
pub(crate) fn s3(endpoints: &Endpoints) -> Result<aws_sdk_s3::Client, StackError> {
    let config = aws_sdk_s3::config::Builder::from(&sdk(endpoints, &endpoints.s3)?).force_path_style(true);
    Ok(aws_sdk_s3::Client::from_conf(config.build()))
}

/// DynamoDB's own JSON for an item, attributes sorted by name.
fn item(attributes: HashMap<String, AttributeValue>) -> Value {
    let sorted: BTreeMap<String, AttributeValue> = attributes.into_iter().collect();
    Value::Object(sorted.into_iter().map(|(name, value)| (name, attribute(value))).collect())
}

fn attribute(value: AttributeValue) -> Value {
    let binary = |blob: aws_sdk_dynamodb::primitives::Blob| BASE64.encode(blob);
    match value {
        AttributeValue::S(text) => json!({"S": text}),
        AttributeValue::N(number) => json!({"N": canonical(&number)}),
        AttributeValue::Bool(value) => json!({"BOOL": value}),
        AttributeValue::Null(value) => json!({"NULL": value}),
        AttributeValue::M(map) => json!({"M": item(map)}),
        AttributeValue::L(list) => json!({"L": list.into_iter().map(attribute).collect::<Vec<_>>()}),
        AttributeValue::B(bytes) => json!({"B": binary(bytes)}),
        AttributeValue::Ss(set) => json!({"SS": set}),
        AttributeValue::Ns(set) => json!({"NS": set}),
        AttributeValue::Bs(set) => json!({"BS": set.into_iter().map(binary).collect::<Vec<_>>()}),
        other => json!({"unknown": format!("{other:?}")}),
    }
}

/// A number as AWS gives it back. DynamoDB Local does so too, but for those in maps and lists, which keep trailing zeros and the sign of 0.
fn canonical(number: &str) -> &str {
    let number = if number.contains('.') && !number.contains(['e', 'E']) {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    };
    if number == "-0" { "0" } else { number }
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

    fn provide(&self, topics: &BTreeMap<String, i32>, tables: &[Table], buckets: &[String]) -> Result<(), StackError> {
        if let Some(before) = &self.before {
            return self.look_before(before, topics, tables, buckets);
        }
        self.block_on(async {
            let tables = try_join_all(tables.iter().map(|table| self.create_table(table)));
            let buckets = try_join_all(buckets.iter().map(|bucket| self.create_bucket(bucket)));
            tokio::try_join!(self.create_topics(topics), tables, buckets)
        })?;
        self.await_topics(topics)
    }

    fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), StackError> {
        self.provide(&[(topic.to_owned(), partitions)].into(), &[], &[])
    }

    fn create_table(&self, table: &Table) -> Result<(), StackError> {
        self.block_on(self.create_table(table))
    }

    fn create_bucket(&self, bucket: &str) -> Result<(), StackError> {
        self.block_on(self.create_bucket(bucket))
    }

    fn produce(&self, records: &[Record]) -> Result<(), StackError> {
        let named = |record: &Record| Record { topic: self.real(&record.topic), ..record.clone() };
        self.kafka.produce(&records.iter().map(named).collect::<Vec<_>>())
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
        self.made(|made| made.groups.insert(group.to_owned()));
        let partitions: Vec<(String, i32)> = partitions.iter().map(|(topic, n)| (self.real(topic), *n)).collect();
        let commits = self.kafka.committed(group, &partitions)?;
        Ok(commits.into_iter().map(|((topic, n), commit)| ((self.without_namespace(&topic), n), commit)).collect())
    }

    fn read_topic(&self, topic: &str) -> Result<Vec<Record>, StackError> {
        let mut records = self.kafka.read_topic(&self.real(topic))?;
        if let Some(before) = &self.before {
            let before = before.lock().unwrap_or_else(PoisonError::into_inner);
            records.retain(|record| {
                before.ends.get(&(topic.to_owned(), record.partition)).is_none_or(|end| record.offset >= *end)
            });
        }
        for record in &mut records {
            record.topic = self.without_namespace(&record.topic);
            // Headers name topics, tables and buckets; key and value are the pipeline's content.
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
        let items = items.map_err(|error| StackError::new(format!("scanning table {name}"), words(&error)))?;
        Ok(items.into_iter().map(item).collect())
    }

    fn objects(&self, bucket: &str) -> Result<Vec<(String, Vec<u8>)>, StackError> {
        let bucket = self.real(bucket);
        let mut objects: Vec<(String, Vec<u8>)> = self.block_on(async {
            let mut keys = self.keys(&bucket).await?;
            keys.retain(|key| self.is_new(&bucket, key));
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
            let made = self.made(std::mem::take);
            let left = self.block_on(self.clean_up(&made));
            if !left.is_empty() {
                eprintln!("cannot take away what a test has made:\n  {}", left.join("\n  "));
            }
        }
        if let Some(runtime) = self.runtime.take() {
            // Does not wait, and so may be called within another runtime.
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_shown_as_aws_gives_them_back() {
        let number = |text: &str| AttributeValue::N(text.to_owned());
        let map =
            AttributeValue::M(HashMap::from([("b".to_owned(), number("62.0")), ("a".to_owned(), number("-0.0"))]));
        let attributes =
            HashMap::from([("m".to_owned(), map), ("l".to_owned(), AttributeValue::L(vec![number("1.50")]))]);
        let expected = r#"{"l":{"L":[{"N":"1.5"}]},"m":{"M":{"a":{"N":"0"},"b":{"N":"62"}}}}"#;
        assert_eq!(item(attributes).to_string(), expected);
        assert_eq!(canonical("1.0E+20"), "1.0E+20");
    }
}
