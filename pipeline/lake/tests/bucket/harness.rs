//! S3 and Glue in memory, lakes in them, and clients that are disturbed.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::{Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::{
    HttpClient as _, HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use bytes::Bytes;
use e2e::internals::{Embedded, Resources, Stack as _};
use fms_aws::Retry;
use fms_glue::{Database, Glue};
use fms_lake::{Bucket, Object, ObjectError, Report, Settings};
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde_json::Value;
use tokio::runtime::Runtime;

/// The services, with the buckets `raw` and `lake`.
pub struct World {
    pub stack: Embedded,
    pub runtime: Runtime,
}

/// What happens to a request.
pub enum Action {
    /// Nothing special.
    Pass,
    /// The request never arrives.
    Refuse,
    /// The request does its work, and its answer is lost.
    Lose,
    /// The connection breaks in the middle of the answer's body.
    Break,
    /// Something else happens before it.
    After(Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// Decides what happens to each request.
pub type Policy = Arc<dyn Fn(&HttpRequest) -> Action + Send + Sync>;

struct Disturbed {
    inner: SharedHttpConnector,
    policy: Policy,
}

impl fmt::Debug for Disturbed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disturbed")
    }
}

impl HttpConnector for Disturbed {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (action, inner) = ((self.policy)(&request), self.inner.clone());
        HttpConnectorFuture::new(async move {
            match action {
                Action::Pass => inner.call(request).await,
                Action::Refuse => Err(ConnectorError::io("refused by the test".into())),
                Action::Lose => {
                    inner.call(request).await?;
                    Err(ConnectorError::io("lost by the test".into()))
                }
                Action::Break => Ok(broken(inner.call(request).await?).await),
                Action::After(first) => {
                    first.await;
                    inner.call(request).await
                }
            }
        })
    }
}

/// What happens to a call of a process that dies at the call with this number.
pub fn death(call: usize, number: usize, is_answer_lost: bool) -> Action {
    match call {
        call if call < number => Action::Pass,
        call if call == number && is_answer_lost => Action::Lose,
        _ => Action::Refuse,
    }
}

/// An answer whose body breaks off in the middle.
async fn broken(mut answer: HttpResponse) -> HttpResponse {
    let body = std::mem::replace(answer.body_mut(), SdkBody::empty());
    let whole = ByteStream::new(body).collect().await.expect("a body").into_bytes();
    let half = whole.slice(..whole.len() / 2);
    let frames = [Ok::<_, std::io::Error>(Frame::data(half)), Err(std::io::Error::other("broken by the test"))];
    *answer.body_mut() = SdkBody::from_body_1_x(StreamBody::new(stream::iter(frames)));
    answer
}

impl World {
    pub fn new() -> Self {
        let stack = Embedded::start().expect("the services");
        let buckets = ["raw", "lake"].map(ToOwned::to_owned).into();
        stack.provide(&Resources { buckets, ..Resources::default() }).expect("buckets");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Self { stack, runtime: runtime.expect("a runtime") }
    }

    pub fn aws(&self, policy: Option<Policy>) -> SdkConfig {
        let environment = self.stack.environment();
        let (id, secret) = (&environment["AWS_ACCESS_KEY_ID"], &environment["AWS_SECRET_ACCESS_KEY"]);
        let credentials = Credentials::new(id, secret, None, None, "test");
        let http = aws_smithy_http_client::Builder::new().build_http();
        let config = SdkConfig::builder()
            .endpoint_url(&environment["AWS_ENDPOINT_URL"])
            .region(Region::new("us-east-1"))
            .behavior_version(aws_config::BehaviorVersion::latest())
            .retry_config(aws_config::retry::RetryConfig::disabled())
            // What happens before a request may take longer than a connection may stand still.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .credentials_provider(SharedCredentialsProvider::new(credentials));
        let client = http_client_fn(move |settings, components| {
            let inner = http.http_connector(settings, components);
            match &policy {
                None => inner,
                Some(policy) => SharedHttpConnector::new(Disturbed { inner, policy: Arc::clone(policy) }),
            }
        });
        config.http_client(client).build()
    }

    fn bucket_with(&self, lake: &str, policy: Option<Policy>, patience: Duration) -> Bucket {
        let place = format!("s3://lake/{lake}").parse().expect("a place");
        let retry = Retry::new("test", Some(patience), Duration::from_millis(10), |_| {});
        Bucket::new(&self.aws(policy), &place, lake, retry)
    }

    /// A process that writes to the lake of this name: the prefix in the bucket `lake`, and the database, which is
    /// created if it does not exist.
    pub fn bucket(&self, lake: &str) -> Bucket {
        let database = Database { name: lake.to_owned(), ..Database::default() };
        match self.runtime.block_on(self.glue().create_database(&database)) {
            Err(error) if !fms_glue::already_exists(&error) => panic!("{error}"),
            _ => {}
        }
        self.bucket_with(lake, None, Duration::from_secs(10))
    }

    /// A process that writes to a lake that exists.
    pub fn beside(&self, lake: &str) -> Bucket {
        self.bucket_with(lake, None, Duration::from_secs(10))
    }

    /// A process that writes to a lake, to whose requests something happens. It does not repeat them.
    pub fn disturbed(&self, lake: &str, policy: impl Fn(&HttpRequest) -> Action + Send + Sync + 'static) -> Bucket {
        self.bucket(lake);
        self.bucket_with(lake, Some(Arc::new(policy)), Duration::ZERO)
    }

    /// A process that dies at a call, of which that many come before it: before the call arrives, or before its answer.
    pub fn dying(&self, lake: &str, number: usize, is_answer_lost: bool) -> Bucket {
        let calls = AtomicUsize::new(0);
        self.disturbed(lake, move |_| death(calls.fetch_add(1, Ordering::Relaxed), number, is_answer_lost))
    }

    pub fn glue(&self) -> Glue {
        Glue::new(&self.aws(None), Retry::new("test", None, Duration::from_millis(10), |_| {}))
    }

    pub fn put(&self, key: &str, rows: &[String]) {
        self.stack.put_object("raw", key, rows.join("\n").as_bytes()).expect("put");
    }

    pub fn put_bytes(&self, key: &str, bytes: &[u8]) {
        self.stack.put_object("raw", key, bytes).expect("put");
    }

    /// Puts an object that nobody reads.
    pub fn stack_put(&self, bucket: &str, key: &str) {
        self.stack.put_object(bucket, key, b"{}").expect("put");
    }

    /// A client of S3 whose requests are not disturbed.
    pub fn s3(&self) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::config::Builder::from(&self.aws(None)).force_path_style(true).build();
        aws_sdk_s3::Client::from_conf(config)
    }

    /// Deletes a file of a lake, as somebody might by hand.
    pub fn delete(&self, lake: &str, path: &str) {
        let deleting = self.s3().delete_object().bucket("lake").key(format!("{lake}/{path}")).send();
        self.runtime.block_on(deleting).expect("deleted");
    }

    pub fn convert(&self, bucket: &Bucket, key: &str) -> Result<Option<Report>, ObjectError> {
        self.runtime.block_on(convert(bucket.clone(), key.to_owned(), false))
    }

    /// Everything in a lake but its records, by the path below the lake.
    pub fn files(&self, lake: &str) -> BTreeMap<String, Bytes> {
        let objects = self.stack.objects("lake").expect("the bucket");
        let below = objects
            .into_iter()
            .filter_map(|(key, body)| Some((key.strip_prefix(lake)?.strip_prefix('/')?.to_owned(), Bytes::from(body))));
        below.collect()
    }

    /// The tables of a lake with their partitions, without what differs from run to run. The lake's name is left out.
    pub fn tables(&self, lake: &str) -> Value {
        let mut tables = Value::from(self.stack.catalog(lake).expect("a database"));
        strip(&mut tables);
        serde_json::from_str(&tables.to_string().replace(&format!("s3://lake/{lake}/"), "s3://lake/")).expect("JSON")
    }

    /// What there is after the test: the files, tables and records.
    pub fn state(&self, lake: &str) -> (BTreeMap<String, Bytes>, Value) {
        let mut files = self.files(lake);
        for (_, record) in files.iter_mut().filter(|(path, _)| path.starts_with("conversions/")) {
            let mut value: Value = serde_json::from_slice(record).expect("JSON");
            // The digest has the database's name in it.
            value["converted"].as_object_mut().expect("converted").remove("settings").expect("a digest");
            *record = value.to_string().into();
        }
        (files, self.tables(lake))
    }

    /// How often an operation was called on targets that have this in their name.
    pub fn calls(&self, operation: &str, target: &str) -> usize {
        let calls = self.stack.calls().snapshot();
        calls.iter().filter(|call| call.operation == operation && call.target.contains(target)).count()
    }
}

fn strip(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(strip),
        Value::Object(members) => {
            for name in ["CreateTime", "UpdateTime", "CreationTime", "VersionId", "DatabaseName"] {
                members.remove(name);
            }
            members.values_mut().for_each(strip);
        }
        _ => {}
    }
}

pub async fn convert(bucket: Bucket, key: String, again: bool) -> Result<Option<Report>, ObjectError> {
    let raw = bucket.raw(Object { bucket: "raw".into(), key, version_id: None }).await.expect("a raw object");
    bucket.convert(&Arc::new(Settings::default()), &raw, again).await
}

/// A row of the table `o_t_c` at this hour, with further fields.
pub fn row(hour: u32, fields: &str) -> String {
    row_of("o", hour, fields)
}

/// A row of the table `<object>_t_c`.
pub fn row_of(object: &str, hour: u32, fields: &str) -> String {
    let time = format!("2023-01-01T{hour:02}:00:00Z");
    format!(r#"{{"object":"{object}","type":"t","command":"c","id":1,"timestamp_iso":"{time}",{fields}}}"#)
}

/// The columns of a table, or of a partition.
pub fn columns(entity: &Value) -> Vec<String> {
    let columns = entity["StorageDescriptor"]["Columns"].as_array().expect("columns");
    columns.iter().map(|column| format!("{} {}", column["Name"], column["Type"]).replace('"', "")).collect()
}

/// Asserts that all partitions of a table have its columns, and that the table says so. Gives how many there are.
#[track_caller]
pub fn assert_settled(table: &Value) -> usize {
    let partitions = table["Partitions"].as_array().expect("partitions");
    for partition in partitions {
        assert_eq!(columns(partition), columns(table), "partition {}", partition["Values"]);
        let location = partition["StorageDescriptor"]["Location"].as_str().expect("a location");
        let [ymd, hour] = [0, 1].map(|key| partition["Values"][key].as_str().expect("a value"));
        assert!(location.ends_with(&format!("/ymd={ymd}/hour={hour}/")), "{location}");
    }
    let parameters = &table["Parameters"];
    let number = parameters["fms.columns.version"].as_str().expect("a version");
    let settled = parameters["fms.partitions.version"].as_str().expect("a version");
    assert_eq!(settled.split('-').next(), Some(number));
    partitions.len()
}
