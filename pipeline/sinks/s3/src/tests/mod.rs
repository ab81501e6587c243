//! The sink against S3 in memory, driven as the runtime drives it.

mod flush;
mod replay;
mod uploads;

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::config::Credentials;
use aws_sdk_s3::types::ChecksumAlgorithm;
use e2e::internals::s3::{self, Store};
use fms_connect::{Config, Demand, Flush, Replay, SinkError, SinkTask as _, Tick, TopicPartition, testing};
use fms_record::Row;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::S3Sink;
use crate::settings::S3Settings;
use crate::store::client;
use crate::task::S3Task;

const BUCKET: &str = "raw";
const HOURLY: &[(&str, &str)] = &[
    ("partitioner.class", "TimeBased"),
    ("path.format", "'hour'=HH"),
    ("partition.duration.ms", "3600000"),
    ("timezone", "UTC"),
];

/// S3 in memory, and a thread for the tasks' background work.
struct World {
    runtime: Runtime,
    store: Store,
    aws: SdkConfig,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let store = Store::default();
        store.create_bucket(BUCKET);
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let served = store.clone();
        runtime.spawn(async move { s3::serve(listener, served, "key", "secret").await });
        let aws = aws_config::defaults(BehaviorVersion::latest())
            .endpoint_url(endpoint)
            .region("us-east-1")
            .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .http_client(aws_smithy_http_client::Builder::new().build_http());
        let aws = runtime.block_on(aws.load());
        Self { runtime, store, aws }
    }

    fn config(extra: &[(&str, &str)]) -> Config {
        let base = [("name", "raw"), ("s3.bucket.name", BUCKET), ("flush.size", "3")];
        testing::config(&S3Sink::default(), &[&base, extra].concat()).expect("a valid configuration")
    }

    fn task(&self, extra: &[(&str, &str)]) -> Driver<'_> {
        let config = Self::config(extra);
        let settings = S3Settings::parse(&config).expect("valid settings");
        let client = client(&self.aws, &settings.layout);
        let inner = testing::Driver::new(&config, self.runtime.handle(), |context| {
            Box::new(S3Task::new(context, config.clone(), settings, self.aws.clone(), client))
        });
        Driver { world: self, inner }
    }

    fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let objects = self.store.objects(BUCKET).expect("the bucket");
        objects.into_iter().map(|(key, body)| (key, body.to_vec())).collect()
    }

    /// Keys and their text.
    fn texts(&self) -> Vec<(String, String)> {
        let text = |body| String::from_utf8(body).expect("text");
        self.objects().into_iter().map(|(key, body)| (key, text(body))).collect()
    }

    /// Stores an object in one piece, without a CRC32C.
    fn store(&self, key: &str, body: &[u8]) {
        let settings = S3Settings::parse(&Self::config(&[])).expect("valid settings");
        let put = client(&self.aws, &settings.layout).put_object().bucket(BUCKET).key(key).body(body.to_vec().into());
        self.runtime.block_on(put.checksum_algorithm(ChecksumAlgorithm::Sha256).send()).expect("to put");
    }

    fn open_uploads(&self) -> Vec<String> {
        self.store.open_uploads(BUCKET).expect("the bucket")
    }
}

/// A task with partition 0 of topic `t`. What it does not do itself, the runtime's driver does.
struct Driver<'w> {
    world: &'w World,
    inner: testing::Driver<S3Task>,
}

impl Deref for Driver<'_> {
    type Target = testing::Driver<S3Task>;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl DerefMut for Driver<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.inner
    }
}

fn partition() -> TopicPartition {
    testing::partition("t", 0)
}

fn tick(demand: Demand, idle: Option<u64>) -> Tick {
    Tick { idle: idle.map(Duration::from_millis), ..testing::tick(demand) }
}

const SETTINGS: Tick = Tick { wall_millis: 0, idle: None, demand: Demand::Settings, uncommitted: None };

impl Driver<'_> {
    fn open(self) -> Self {
        self.open_at(Some(0))
    }

    /// Opens the partition where the group has committed `start`.
    fn open_at(mut self, start: Option<i64>) -> Self {
        self.task.open(&partition(), start, None).expect("to open");
        self
    }

    /// Takes over from an owner that had these settings and announced a flush of everything from 0 to `end`.
    fn take_over(self, end: i64, settings: &BTreeMap<String, String>) -> Self {
        self.take_over_at(0, end, settings)
    }

    fn take_over_at(mut self, start: i64, end: i64, settings: &BTreeMap<String, String>) -> Self {
        let replay = Replay { end, settings: settings.clone() };
        self.task.open(&partition(), Some(start), Some(&replay)).expect("to open");
        self
    }

    fn put(&mut self, offset: i64, message: &str) -> Result<(), SinkError> {
        let list = message.contains(r#""list""#).then_some("list");
        self.inner.put(&partition(), offset, message, list)
    }

    fn put_rows(&mut self, offset: i64, rows: &[Row<'_>]) -> Result<(), SinkError> {
        self.inner.put_rows(&partition(), offset, rows)
    }

    /// Puts a message into any partition.
    fn put_into(&mut self, partition: &TopicPartition, offset: i64, message: &str) {
        self.inner.put(partition, offset, message, None).expect("to put");
    }

    /// Puts records of one row each, whose event times have these hours.
    fn put_hours(&mut self, from: i64, hours: &[u32]) {
        for (offset, hour) in (from..).zip(hours) {
            let message = format!(r#"{{"n":{offset},"timestamp":"2023-01-01T{hour:02}:00:00Z"}}"#);
            self.put(offset, &message).expect("to put");
        }
    }

    /// Puts a record without rows.
    fn put_nothing(&mut self, offset: i64) {
        self.put_rows(offset, &[]).expect("to put");
    }

    /// The bytes that the task holds for rows.
    fn held(&self) -> usize {
        self.task.release();
        self.budget.used()
    }

    fn due(&mut self, tick: &Tick) -> Option<Flush> {
        self.inner.due(&partition(), tick).expect("no error")
    }

    /// Waits until `condition` gives something, which background work brings about.
    fn wait<T>(&mut self, what: &str, mut condition: impl FnMut(&mut Self) -> Option<T>) -> T {
        let mut found = None;
        while found.is_none() {
            found = condition(self);
            if found.is_none() {
                self.inner.notified(what);
            }
        }
        found.expect("it is there")
    }

    /// Completes the flush that is due, as if its intent was committed.
    fn flush(&mut self) -> Result<(), SinkError> {
        self.inner.flush(&partition())
    }

    /// Completes all flushes that are due, one by one. Gives their ends and reasons.
    fn flush_all(&mut self, tick: &Tick) -> Vec<(i64, &'static str)> {
        self.inner.flush_all(&partition(), tick).expect("to flush")
    }
}

/// A row of which seven are larger than a part.
fn big_row(offset: i64) -> String {
    format!(r#"{{"n":{offset},"text":"{}"}}"#, "x".repeat(1024 * 1024))
}
