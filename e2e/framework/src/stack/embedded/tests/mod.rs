//! Tests of the embedded stack with real clients: librdkafka and the AWS SDKs.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod calls;
mod kafka;
mod notifications;
mod s3;
mod service;
mod sqs;

use std::collections::HashMap;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, EncodingType};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::json;

use super::*;
use crate::calls::{CLIENT_GONE, Call, CallName, Fault, Hits, Moment, NO_ANSWER, Trouble};
use crate::stack::Table;

const MIB: usize = 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(20);

fn start() -> Embedded {
    Embedded::start().unwrap()
}

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

fn s3_at(endpoint: &str) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test"))
        .endpoint_url(endpoint)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(RetryConfig::disabled());
    aws_sdk_s3::Client::from_conf(config.build())
}

fn s3(stack: &Embedded) -> aws_sdk_s3::Client {
    s3_at(&stack.environment["AWS_ENDPOINT_URL_S3"])
}

fn dynamodb_at(endpoint: &str) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test"))
        .endpoint_url(endpoint)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(RetryConfig::disabled());
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

fn dynamodb(stack: &Embedded) -> aws_sdk_dynamodb::Client {
    dynamodb_at(&stack.environment["AWS_ENDPOINT_URL_DYNAMODB"])
}

fn code<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug, R: std::fmt::Debug>(
    result: Result<T, SdkError<E, R>>,
) -> String {
    let error = result.unwrap_err();
    error.code().map_or_else(|| format!("{error:?}"), ToOwned::to_owned)
}

fn record(topic: &str, partition: i32, offset: i64, value: &str) -> Record {
    Record {
        topic: topic.into(),
        partition,
        offset,
        timestamp: 1_672_542_000_000 + offset,
        key: Some(b"10022".to_vec()),
        value: Some(value.into()),
        headers: Vec::new(),
    }
}

fn rows() -> Table {
    Table { name: "rows".into(), partition_key: ("pk".into(), "S".into()), sort_key: None, indexes: Vec::new() }
}

fn item(id: &str) -> HashMap<String, AttributeValue> {
    HashMap::from([
        ("pk".into(), AttributeValue::S(id.into())),
        ("a".into(), AttributeValue::N("35.6812362000001".into())),
    ])
}

fn put(id: &str) -> WriteRequest {
    WriteRequest::builder().put_request(PutRequest::builder().set_item(Some(item(id))).build().unwrap()).build()
}

/// The service, operation, target and status of each call.
fn outline(calls: &[Call]) -> Vec<(&str, &str, &str, Option<u16>)> {
    let line = |call: &'_ Call| call.finished.map(|(_, status)| status);
    calls
        .iter()
        .map(|call| (call.service.as_str(), call.operation.as_str(), call.target.as_str(), line(call)))
        .collect()
}

#[test]
fn twenty_stacks_at_once_start_in_milliseconds_and_do_not_see_each_other() {
    let mut took = Vec::new();
    let stacks: Vec<_> = (0..20)
        .map(|_| {
            let begun = Instant::now();
            let stack = start();
            took.push(begun.elapsed());
            stack
        })
        .collect();
    took.sort();
    eprintln!("embedded stack ready: median {:?}, slowest of 20 {:?}", took[10], took[19]);
    assert!(took[10] < Duration::from_secs(1), "{took:?}");
    for (index, stack) in stacks.iter().enumerate() {
        stack.provide(&Resources::topic("t", 1)).unwrap();
        stack.produce(&[record("t", 0, 0, &index.to_string())]).unwrap();
        stack.provide(&Resources::bucket("lake")).unwrap();
    }
    for (index, stack) in stacks.iter().enumerate() {
        let read = stack.read_topic("t").unwrap();
        assert_eq!(read, [record("t", 0, 0, &index.to_string())]);
        assert_eq!(stack.objects("lake").unwrap(), []);
    }
}

#[test]
fn dropping_a_stack_closes_its_ports() {
    let stack = start();
    let kafka = stack.environment["KAFKA_BOOTSTRAP_SERVERS"].clone();
    let s3 = stack.environment["AWS_ENDPOINT_URL_S3"].replace("http://", "");
    assert!(TcpStream::connect(&kafka).is_ok() && TcpStream::connect(&s3).is_ok());
    drop(stack);
    let deadline = soon();
    while TcpStream::connect(&kafka).is_ok() || TcpStream::connect(&s3).is_ok() {
        assert!(Instant::now() < deadline, "a port is still open");
        std::thread::yield_now();
    }
}

#[test]
fn a_scan_reads_all_pages() {
    let stack = start();
    stack.provide(&Resources::table(rows())).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    for id in 0..4 {
        let mut item = item(&id.to_string());
        item.insert("big".into(), AttributeValue::S("x".repeat(390_000)));
        let client = dynamodb(&stack);
        runtime.block_on(client.put_item().table_name("rows").set_item(Some(item)).send()).unwrap();
    }
    assert_eq!(stack.scan("rows").unwrap().len(), 4);
}
