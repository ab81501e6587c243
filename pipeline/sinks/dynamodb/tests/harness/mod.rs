//! A table of an embedded DynamoDB, the sink's task on it, and faults between the two.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use dynoxide::Database;
use fms_connect::testing;
use fms_connect::{ConfigError, Demand, ErrantRow, Flush, SinkConnector, SinkError, SinkTask, Tick, TopicPartition};
use fms_dynamodb::DynamoDbSink;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

/// How long anything may take before a test says that it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is done to a call that writes.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It is answered with this status and error code and does not reach the table.
    Error(u16, &'static str),
    /// Only so many of its items are written; the others are given back.
    Unprocessed(usize),
    /// It waits for a permit, then reaches the table.
    Hold(Arc<Semaphore>),
    /// It waits for a permit, then is answered with this status and error code and does not reach the table.
    HoldThenError(Arc<Semaphore>, u16, &'static str),
    /// It reaches the table, but the answer is lost.
    LostAnswer,
}

/// What calls wrote, and what is to happen to the next ones.
#[derive(Debug, Default)]
pub struct Wire {
    faults: Mutex<VecDeque<Fault>>,
    writes: Mutex<Vec<Vec<Value>>>,
}

impl Wire {
    /// The next writing calls meet these faults, one each; those after them meet none.
    pub fn then(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().expect("no test thread panicked").extend(faults);
    }

    /// Waits until so many calls have tried to write.
    pub fn wait_for(&self, calls: usize) {
        let started = Instant::now();
        while self.calls() < calls {
            assert!(started.elapsed() < PATIENCE, "{} of {calls} calls in {PATIENCE:?}", self.calls());
            std::thread::yield_now();
        }
    }

    /// How many calls have tried to write.
    pub fn calls(&self) -> usize {
        self.writes.lock().expect("no test thread panicked").len()
    }

    /// The items of each call that tried to write, in the order of the calls.
    pub fn writes(&self) -> Vec<Vec<Value>> {
        self.writes.lock().expect("no test thread panicked").clone()
    }
}

#[derive(Debug, Clone)]
struct Faulty {
    wire: Arc<Wire>,
    inner: SharedHttpConnector,
}

impl HttpConnector for Faulty {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self { wire, inner } = self.clone();
        HttpConnectorFuture::new(async move { wire.pass(request, &inner).await })
    }
}

impl Wire {
    async fn pass(
        &self,
        mut request: HttpRequest,
        inner: &SharedHttpConnector,
    ) -> Result<HttpResponse, ConnectorError> {
        let target = request.headers().get("x-amz-target").unwrap_or_default().to_owned();
        let body: Value = serde_json::from_slice(request.body().bytes().unwrap_or_default()).expect("a JSON body");
        let items: Vec<Value> = match target.rsplit('.').next() {
            Some("BatchWriteItem") => {
                let tables = body["RequestItems"].as_object().expect("tables");
                tables.values().flat_map(|puts| puts.as_array().expect("puts").clone()).collect()
            }
            Some("PutItem") => vec![json!({ "PutRequest": { "Item": body["Item"] } })],
            _ => return inner.call(request).await,
        };
        // The fault is taken first: a test that has seen a write may send the next one, which is to have the next fault.
        let fault = self.faults.lock().expect("no test thread panicked").pop_front();
        self.writes.lock().expect("no test thread panicked").push(items.clone());
        match fault {
            None => inner.call(request).await,
            Some(Fault::Hold(permits)) => {
                permits.acquire().await.expect("open").forget();
                inner.call(request).await
            }
            Some(Fault::LostAnswer) => {
                inner.call(request).await?;
                Err(ConnectorError::io(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()))
            }
            Some(Fault::Error(status, code)) => Ok(refusal(status, code)),
            Some(Fault::HoldThenError(permits, status, code)) => {
                permits.acquire().await.expect("open").forget();
                Ok(refusal(status, code))
            }
            Some(Fault::Unprocessed(written)) => {
                let table = body["RequestItems"].as_object().expect("a batch").keys().next().expect("a table").clone();
                let rest = items[written..].to_vec();
                if written > 0 {
                    let body = json!({ "RequestItems": { table.clone(): items[..written] } }).to_string();
                    request.headers_mut().insert("content-length", body.len().to_string());
                    *request.body_mut() = SdkBody::from(body);
                    inner.call(request).await?;
                }
                Ok(answer(200, &json!({ "UnprocessedItems": { table: rest } })))
            }
        }
    }
}

fn answer(status: u16, body: &Value) -> HttpResponse {
    HttpResponse::new(StatusCode::try_from(status).expect("a status"), SdkBody::from(body.to_string()))
}

fn refusal(status: u16, code: &str) -> HttpResponse {
    let body = json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": "injected" });
    answer(status, &body)
}

/// A key attribute, an index's key attribute: name and type.
pub type Attribute = (&'static str, ScalarAttributeType);

/// An embedded DynamoDB.
pub struct Lab {
    pub runtime: Runtime,
    pub wire: Arc<Wire>,
    pub aws: SdkConfig,
    pub client: Client,
}

impl Lab {
    pub fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        runtime.spawn(dynoxide::server::serve_on(listener, Database::memory().expect("a database")));
        let wire = Arc::new(Wire::default());
        let aws = aws(&endpoint, Arc::clone(&wire));
        let client = Client::new(&aws);
        Self { runtime, wire, aws, client }
    }

    /// Creates table `t-1`.
    pub fn table(&self, partition: Attribute, sort: Option<Attribute>, index: Option<Attribute>) {
        let element = |name: &str, kind| {
            KeySchemaElement::builder().attribute_name(name).key_type(kind).build().expect("complete")
        };
        let keys = [Some((partition.0, KeyType::Hash)), sort.as_ref().map(|(name, _)| (*name, KeyType::Range))];
        let keys = keys.into_iter().flatten().map(|(name, kind)| element(name, kind)).collect();
        let indexes = index.as_ref().map(|(name, _)| {
            let index = GlobalSecondaryIndex::builder()
                .index_name("by-attribute")
                .key_schema(element(name, KeyType::Hash))
                .projection(Projection::builder().projection_type(ProjectionType::All).build())
                .build();
            vec![index.expect("complete")]
        });
        let definitions = [Some(partition), sort, index].into_iter().flatten().map(|(name, kind)| {
            AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().expect("complete")
        });
        let call = self
            .client
            .create_table()
            .table_name("t-1")
            .billing_mode(BillingMode::PayPerRequest)
            .set_attribute_definitions(Some(definitions.collect()))
            .set_key_schema(Some(keys))
            .set_global_secondary_indexes(indexes);
        self.runtime.block_on(call.send()).expect("a new table");
    }

    /// Starts the sink on table `t-1` with these settings, `errors.retry.timeout` being a minute.
    pub fn start(&self, settings: &[(&str, &str)]) -> Result<Driver, ConfigError> {
        let sink = DynamoDbSink::with_aws(self.aws.clone());
        let base = [("dynamodb.table", "t-1"), ("errors.retry.timeout", "60000"), ("errors.retry.delay.max.ms", "20")];
        let config = testing::config(&sink, &[&base, settings].concat())?;
        let task = sink.start(&config, self.runtime.handle())?;
        let inner = testing::Driver::new(&config, self.runtime.handle(), |context| task(context));
        Ok(Driver { inner })
    }

    /// All items as plain values, numbers as their text, sorted, without [`ENVELOPE`].
    pub fn items(&self) -> Vec<Value> {
        let mut items = Vec::new();
        let mut from: Option<HashMap<String, AttributeValue>> = None;
        loop {
            let call = self.client.scan().table_name("t-1").set_exclusive_start_key(from.take());
            let page = self.runtime.block_on(call.send()).expect("a page");
            items.extend(page.items().iter().map(|item| {
                let mut item = item.clone();
                item.retain(|name, value| {
                    !(matches!(name.as_str(), "object" | "type")
                        || name == "id" && *value == AttributeValue::N("0".into()))
                });
                plain(&AttributeValue::M(item))
            }));
            from = page.last_evaluated_key;
            if from.is_none() {
                break;
            }
        }
        items.sort_by_key(Value::to_string);
        items
    }
}

fn aws(endpoint: &str, wire: Arc<Wire>) -> SdkConfig {
    let https = fms_aws::https();
    let http = http_client_fn(move |settings, components| {
        let inner = https.http_connector(settings, components);
        SharedHttpConnector::new(Faulty { wire: Arc::clone(&wire), inner })
    });
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new("id", "secret", None, None, "test")))
        .endpoint_url(endpoint)
        .http_client(http)
        .retry_config(aws_config::retry::RetryConfig::disabled())
        .build()
}

fn plain(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!(text),
        AttributeValue::N(text) => json!({ "N": text }),
        AttributeValue::Bool(value) => json!(value),
        AttributeValue::Null(_) => Value::Null,
        AttributeValue::L(list) => list.iter().map(plain).collect(),
        AttributeValue::M(map) => Value::Object(
            map.iter().map(|(name, value)| (name.clone(), plain(value))).collect::<serde_json::Map<_, _>>(),
        ),
        other => panic!("not written by the sink: {other:?}"),
    }
}

/// A partition of topic `topic`.
pub fn partition(number: i32) -> TopicPartition {
    testing::partition("topic", number)
}

/// The fields that every message has, but for its `id`, which is 0 if a test does not give it. [`Lab::items`] leaves
/// them out.
pub const ENVELOPE: &str = r#""object":"o","type":"t""#;

/// A JSON object with the envelope's fields before its own.
pub fn enveloped(fields: &str) -> String {
    let own: Value = serde_json::from_str(fields).unwrap_or_default();
    let id = if own.get("id").is_none() { r#""id":0,"# } else { "" };
    format!("{{{ENVELOPE},{id}{}", &fields[1..])
}

/// A task of the sink, called as the runtime calls it. Partitions are named by their numbers.
pub struct Driver {
    pub inner: testing::Driver<dyn SinkTask>,
}

impl Driver {
    /// The task itself.
    pub fn task(&mut self) -> &mut dyn SinkTask {
        &mut *self.inner.task
    }

    /// The bytes that the task holds.
    pub fn held(&self) -> usize {
        self.inner.budget.used()
    }

    pub fn open(&mut self, number: i32) {
        self.task().open(&partition(number), None, None).expect("opened");
    }

    /// Puts one message with these fields after [`ENVELOPE`]. Its list, if it has one, is `measurements`. Gives the
    /// rows that are refused.
    pub fn try_put(&mut self, number: i32, offset: i64, fields: &str) -> Result<Vec<ErrantRow>, SinkError> {
        let list = fields.contains(r#""measurements""#).then_some("measurements");
        self.inner.put(&partition(number), offset, &enveloped(fields), list)?;
        Ok(std::mem::take(&mut self.inner.errant))
    }

    pub fn put(&mut self, number: i32, offset: i64, fields: &str) -> Vec<ErrantRow> {
        self.try_put(number, offset, fields).expect("put")
    }

    pub fn due(&mut self, number: i32, demand: Demand, idle: Option<Duration>) -> Option<Flush> {
        self.inner.due(&partition(number), &Tick { idle, ..testing::tick(demand) }).expect("due")
    }

    /// Whether the partition's flush is complete, as far as the task knows now.
    pub fn is_flushed(&mut self, number: i32) -> bool {
        self.task().poll(&partition(number), &mut Vec::new()).expect("polled")
    }

    /// Flushes all that was put, of which no row is refused. Gives the end.
    pub fn flush(&mut self, number: i32) -> i64 {
        let (end, errant) = self.flush_errant(number);
        assert!(errant.is_empty(), "{errant:?}");
        end
    }

    /// Flushes all that was put. Gives the end and the rows that the table refused.
    pub fn flush_errant(&mut self, number: i32) -> (i64, Vec<ErrantRow>) {
        let flush = self.due(number, Demand::Commit, None).expect("something to flush");
        self.inner.flush(&partition(number)).expect("flushed");
        (flush.end, std::mem::take(&mut self.inner.errant))
    }

    /// Waits until the sink has notified its task once more.
    pub fn woken(&self) {
        self.inner.notified("a notice of the sink");
    }

    /// Polls until the task fails.
    pub fn failure(&mut self, number: i32) -> SinkError {
        self.inner.wait("a failure", |driver| driver.task.poll(&partition(number), &mut Vec::new()).err())
    }
}
