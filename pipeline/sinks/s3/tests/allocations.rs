//! How often memory is allocated for a row on its way from a message into an object. Whatever is allocated for each row
//! is paid a million times a second, so it is counted and not only timed.

use std::fmt::Write as _;

use allocation_counter::measure;
use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::config::Credentials;
use e2e::internals::s3::{self, Store};
use fms_connect::testing::{self, Driver};
use fms_connect::{SinkConnector as _, SinkTask};
use fms_record::{Parser, Row};
use fms_s3::S3Sink;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// As the connector that ships is configured, but that no flush is due.
const SETTINGS: &[(&str, &str)] = &[
    ("s3.bucket.name", "raw"),
    ("flush.size", "1000000"),
    ("partitioner.class", "FieldAndTime"),
    ("partition.field.name", "object,type,command"),
    ("path.format", "'ymd'=yyyyMMdd/'hour'=HH"),
    ("partition.duration.ms", "3600000"),
    ("timezone", "UTC"),
    ("timestamp.extractor", "RecordField"),
    ("timestamp.field", "timestamp_iso"),
];

const ROWS: usize = 2000;

/// S3 in memory.
fn store(runtime: &Runtime) -> SdkConfig {
    let store = Store::default();
    store.create_bucket("raw");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    runtime.spawn(async move { s3::serve(listener, store, "key", "secret").await });
    let aws = aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region("us-east-1")
        .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    runtime.block_on(aws.load())
}

/// How often this thread allocates until the rows of these messages are in their object.
fn allocations(messages: &[String], list: Option<&str>) -> u64 {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let sink = S3Sink::with_aws(store(&runtime));
    let config = testing::config(&sink, SETTINGS).expect("a valid configuration");
    let task = sink.start(&config, runtime.handle()).expect("a bucket");
    let mut driver: Driver<dyn SinkTask> = Driver::new(&config, runtime.handle(), |context| task(context));
    let partition = testing::partition("t", 0);
    driver.task.open(&partition, Some(0), None).expect("to open");
    let mut parser = Parser::new(list.map(ToOwned::to_owned));
    let mut offset = 0;
    let counted = measure(|| {
        for message in messages {
            let message = parser.parse(message.as_bytes()).expect("a message");
            let rows: Vec<Row<'_>> = message.rows().map(|row| row.expect("a row")).collect();
            driver.put_rows(&partition, offset, &rows).expect("to put");
            offset += 1;
        }
    });
    assert!(driver.errant.is_empty(), "{:?}", driver.errant);
    counted.count_total
}

const ENVELOPE: &str = r#""object":"vehicle","type":"kinematic","command":"report","id":10022"#;

fn measurement(row: usize) -> String {
    let (minute, second) = (row / 60 % 60, row % 60);
    format!(
        r#""timestamp_iso":"2024-09-07T16:{minute:02}:{second:02}.000+09:00","latitude":37.5123,"longitude":126.9{row:04},"speed":{row}.5"#
    )
}

/// A message whose list has so many elements.
fn list(rows: usize) -> Vec<String> {
    let mut message = format!(r#"{{{ENVELOPE},"measurements":["#);
    for row in 0..rows {
        let comma = if row == 0 { "" } else { "," };
        write!(message, "{comma}{{{}}}", measurement(row)).expect("text");
    }
    vec![message + "]}"]
}

/// So many messages of one row each.
fn flat(rows: usize) -> Vec<String> {
    (0..rows).map(|row| format!("{{{ENVELOPE},{}}}", measurement(row))).collect()
}

/// Twice as many rows take the same allocations, but for the few by which buffers have grown to twice their size.
#[test]
fn a_row_of_a_list_takes_no_allocation() {
    let [once, twice] = [ROWS, 2 * ROWS].map(|rows| allocations(&list(rows), Some("measurements")));
    assert!(twice - once <= 20, "{once} allocations for {ROWS} rows, {twice} for twice as many");
}

/// Each message takes two: for where its fields are, and for its rows.
#[test]
fn a_flat_message_takes_two_allocations() {
    let [once, twice] = [ROWS, 2 * ROWS].map(|rows| allocations(&flat(rows), None));
    let more = twice - once;
    assert!(more <= 2 * ROWS as u64 + 20, "{once} allocations for {ROWS} messages, {twice} for twice as many");
}
