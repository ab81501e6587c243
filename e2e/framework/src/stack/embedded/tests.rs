//! The embedded stack as real clients see it: librdkafka, aws-sdk-s3 and aws-sdk-dynamodb.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

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
use crate::calls::{CLIENT_GONE, Call, Fault, Hits, Moment};

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

fn consumer(stack: &Embedded, group: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", &stack.environment["KAFKA_BOOTSTRAP_SERVERS"])
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap()
}

/// The next message. A poll may end early, without one, after a rebalance.
fn next(consumer: &BaseConsumer) -> Vec<u8> {
    let deadline = soon();
    loop {
        if let Some(message) = consumer.poll(deadline.saturating_duration_since(Instant::now())) {
            return message.unwrap().payload().unwrap().to_vec();
        }
        assert!(Instant::now() < deadline, "no message");
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

/// Service, operation, target and status of each call.
fn outline(calls: &[Call]) -> Vec<(&str, &str, &str, Option<u16>)> {
    let line = |call: &'_ Call| call.finished.map(|(_, status)| status);
    calls.iter().map(|call| (call.service, call.operation.as_str(), call.target.as_str(), line(call))).collect()
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
        stack.create_topic("t", 1).unwrap();
        stack.produce(&[record("t", 0, 0, &index.to_string())]).unwrap();
        stack.create_bucket("lake").unwrap();
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
fn records_are_read_as_they_were_sent() {
    let stack = start();
    stack.create_topic("fms.vehicle.real", 3).unwrap();
    let mut odd = record("fms.vehicle.real", 0, 1, "\u{feff}{");
    odd.headers = vec![("a".into(), None), ("a".into(), Some(b"2".to_vec())), ("a".into(), Some(Vec::new()))];
    odd.key = None;
    let mut tombstone = record("fms.vehicle.real", 2, 0, "");
    tombstone.value = None;
    let mut empty = record("fms.vehicle.real", 2, 1, "");
    empty.key = Some(Vec::new());
    let sent = [record("fms.vehicle.real", 0, 0, "{}"), odd, tombstone, empty];
    stack.produce(&sent).unwrap();
    assert_eq!(stack.read_topic("fms.vehicle.real").unwrap(), sent);
    let ends: Vec<_> = stack.end_offsets(&["fms.vehicle.real".into()]).unwrap().into_values().collect();
    assert_eq!(ends, [2, 0, 2]);
    assert_eq!(stack.read_topic("unknown").unwrap(), []);
    assert!(stack.end_offsets(&["unknown".into()]).unwrap_err().to_string().contains("does not exist"));
}

#[test]
fn order_is_kept_within_each_partition() {
    let stack = start();
    stack.create_topic("t", 4).unwrap();
    let sent: Vec<_> = (0..4000).map(|n| record("t", n % 4, i64::from(n / 4), &format!("{{\"n\":{n}}}"))).collect();
    stack.produce(&sent[..1999]).unwrap();
    stack.produce(&sent[1999..]).unwrap();
    let mut expected = sent;
    expected.sort_by_key(|record| (record.partition, record.offset));
    assert!(stack.read_topic("t").unwrap() == expected, "records differ");
}

#[test]
fn a_group_joins_without_delay_and_its_commits_are_read_with_their_metadata() {
    let stack = start();
    stack.create_topic("t", 2).unwrap();
    stack.produce(&[record("t", 0, 0, "a"), record("t", 0, 1, "b")]).unwrap();
    let partitions = [("t".to_owned(), 0), ("t".to_owned(), 1)];
    assert!(stack.committed("connect-s3", &partitions).unwrap().is_empty());

    let begun = Instant::now();
    let subject = consumer(&stack, "connect-s3");
    subject.subscribe(&["t"]).unwrap();
    assert_eq!(next(&subject), b"a");
    eprintln!("subscribed to first record: {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(3), "the group's first assignment was delayed");

    let commit = |offset, metadata: &str| {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("t", 0, Offset::Offset(offset)).unwrap();
        list.find_partition("t", 0).unwrap().set_metadata(metadata);
        subject.commit(&list, CommitMode::Sync).unwrap();
    };
    commit(1, "{\"end\":2}");
    let committed = stack.committed("connect-s3", &partitions).unwrap();
    assert_eq!(committed, BTreeMap::from([(("t".to_owned(), 0), (1, "{\"end\":2}".to_owned()))]));
    commit(2, "");
    let begun = Instant::now();
    let committed = stack.committed("connect-s3", &partitions).unwrap();
    eprintln!("committed() of a known group: {:?}", begun.elapsed());
    assert_eq!(committed, BTreeMap::from([(("t".to_owned(), 0), (2, String::new()))]));
}

#[test]
fn a_message_of_four_mebibytes_reaches_a_client_with_default_settings() {
    let stack = start();
    stack.create_topic("t", 1).unwrap();
    let value = "x".repeat(4 * MIB);
    stack.produce(&[record("t", 0, 0, &value), record("t", 0, 1, "after")]).unwrap();
    let subject = consumer(&stack, "defaults");
    subject.subscribe(&["t"]).unwrap();
    assert!(next(&subject) == value.as_bytes());
    assert_eq!(next(&subject), b"after");
}

#[test]
fn what_the_broker_would_evict_is_refused_before_anything_is_sent() {
    let stack = start();
    stack.create_topic("t", 2).unwrap();
    let large = "x".repeat(3 * MIB);
    let refused = stack.produce(&[record("t", 0, 0, &large), record("t", 0, 1, &large)]).unwrap_err().to_string();
    assert!(refused.contains("t-0") && refused.contains("use more partitions"), "{refused}");
    assert_eq!(stack.end_offsets(&["t".into()]).unwrap()[&("t".to_owned(), 0)], 0);
    stack.produce(&[record("t", 0, 0, &large), record("t", 1, 0, &large)]).unwrap();
    assert!(stack.produce(&[record("t", 0, 1, &large)]).is_err(), "earlier records count");

    let refused = stack.produce(&[record("t", 2, 0, "")]).unwrap_err().to_string();
    assert!(refused.contains("2 partitions"), "{refused}");
    assert!(stack.produce(&[record("u", 0, 0, "")]).unwrap_err().to_string().contains("not been created"));
    assert!(stack.create_topic("t", 1).unwrap_err().to_string().contains("creating topic t"));
}

#[test]
fn a_partition_keeps_all_that_is_admitted_to_it() {
    let stack = start();
    stack.create_topic("t", 1).unwrap();
    let mut small = record("t", 0, 0, &"x".repeat(900));
    small.headers = vec![("name".into(), Some(b"value".to_vec())); 3];
    let mut sent = 0;
    // Nothing lingers, so that batches are small and their overhead counts.
    while stack.produce(&vec![small.clone(); 40]).is_ok() {
        sent += 40;
    }
    while stack.produce(std::slice::from_ref(&small)).is_ok() {
        sent += 1;
    }
    assert!(sent > 4500, "{sent} records are fewer than fit into 5 MiB");
    assert_eq!(stack.read_topic("t").unwrap().len(), sent);
}

#[test]
fn a_partition_from_which_the_broker_evicted_records_is_not_read_as_if_it_were_whole() {
    let stack = start();
    stack.create_topic("letters", 1).unwrap();
    let subject: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &stack.environment["KAFKA_BOOTSTRAP_SERVERS"])
        .set("message.max.bytes", "5000000")
        .create()
        .unwrap();
    let letter = vec![b'x'; 2 * MIB];
    for _ in 0..3 {
        subject.send(BaseRecord::<(), _>::to("letters").partition(0).payload(&letter)).unwrap();
        subject.flush(PATIENCE).unwrap();
    }
    let error = stack.read_topic("letters").unwrap_err().to_string();
    assert!(error.contains("letters-0") && error.contains("are gone"), "{error}");
}

#[tokio::test]
async fn objects_are_put_read_listed_and_deleted() {
    let stack = start();
    let client = s3(&stack);
    client.create_bucket().bucket("lake").send().await.unwrap();
    client.head_bucket().bucket("lake").send().await.unwrap();
    assert!(client.head_bucket().bucket("other").send().await.is_err());
    for key in ["a/1 +%é.json", "a/2", "a/b/3", "a/b/4", "dir", "dir/child", "z"] {
        let body = ByteStream::from(key.as_bytes().to_vec());
        client.put_object().bucket("lake").key(key).content_encoding("gzip").body(body).send().await.unwrap();
    }
    let got = client.get_object().bucket("lake").key("a/1 +%é.json").send().await.unwrap();
    assert_eq!(got.content_encoding(), Some("gzip"));
    assert!(got.checksum_crc32().is_some(), "the checksum of the put is given back");
    assert_eq!(got.body.collect().await.unwrap().into_bytes(), "a/1 +%é.json");
    let got = client.get_object().bucket("lake").key("dir/child").range("bytes=4-6").send().await.unwrap();
    assert_eq!(got.content_range(), Some("bytes 4-6/9"));
    assert_eq!(got.body.collect().await.unwrap().into_bytes(), "chi");
    assert_eq!(client.head_object().bucket("lake").key("z").send().await.unwrap().content_length(), Some(1));
    assert_eq!(code(client.get_object().bucket("lake").key("y").send().await), "NoSuchKey");
    assert_eq!(code(client.get_object().bucket("lake").key("z").range("bytes=1-").send().await), "InvalidRange");

    let listed = client.list_objects_v2().bucket("lake").prefix("a/").delimiter("/").send().await.unwrap();
    assert_eq!(listed.contents().iter().filter_map(|o| o.key()).collect::<Vec<_>>(), ["a/1 +%é.json", "a/2"]);
    assert_eq!(listed.common_prefixes().iter().filter_map(|p| p.prefix()).collect::<Vec<_>>(), ["a/b/"]);
    for delimiter in [None, Some("/".to_owned())] {
        let page = client.list_objects_v2().bucket("lake").set_delimiter(delimiter.clone());
        let whole = page.clone().send().await.unwrap();
        let mut pages = page.into_paginator().page_size(1).send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.unwrap();
            assert_eq!(page.key_count(), Some(1));
            found.extend(page.contents().iter().filter_map(|o| o.key().map(ToOwned::to_owned)));
            found.extend(page.common_prefixes().iter().filter_map(|p| p.prefix().map(ToOwned::to_owned)));
        }
        let objects = whole.contents().iter().filter_map(|o| o.key());
        let mut expected: Vec<_> = objects.chain(whole.common_prefixes().iter().filter_map(|p| p.prefix())).collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "{delimiter:?}");
        assert_eq!(found.len(), if delimiter.is_some() { 4 } else { 7 });
    }

    client.delete_object().bucket("lake").key("z").send().await.unwrap();
    let keys: Vec<_> = stack.objects("lake").unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["a/1 +%é.json", "a/2", "a/b/3", "a/b/4", "dir", "dir/child"]);
    assert!(stack.objects("other").unwrap_err().to_string().contains("bucket other"));
}

#[tokio::test]
async fn of_twenty_conditional_puts_one_wins() {
    let stack = start();
    stack.create_bucket("lake").unwrap();
    let client = s3(&stack);
    let puts = (0..20_u8).map(|n| {
        let put = client.put_object().bucket("lake").key("k").if_none_match("*").body(vec![n].into());
        tokio::spawn(put.send())
    });
    let mut won = Vec::new();
    for (n, put) in puts.collect::<Vec<_>>().into_iter().enumerate() {
        match put.await.unwrap() {
            Ok(_) => won.push(n),
            lost => assert_eq!(code(lost), "PreconditionFailed"),
        }
    }
    assert_eq!(won.len(), 1);
    assert_eq!(stack.objects("lake").unwrap(), [("k".to_owned(), vec![u8::try_from(won[0]).unwrap()])]);
}

#[tokio::test]
async fn a_body_that_differs_from_its_checksum_is_refused_and_not_stored() {
    let stack = start();
    stack.create_bucket("lake").unwrap();
    let client = s3(&stack);
    let put = || client.put_object().bucket("lake").key("k").body(b"body".to_vec().into());
    let crc = "AAAAAA==";
    let sha = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert_eq!(code(put().checksum_crc32(crc).send().await), "BadDigest");
    assert_eq!(code(put().checksum_crc32_c(crc).send().await), "BadDigest");
    assert_eq!(code(put().checksum_sha256(sha).send().await), "BadDigest");
    assert_eq!(code(put().content_md5("AAAAAAAAAAAAAAAAAAAAAA==").send().await), "BadDigest");
    assert_eq!(stack.objects("lake").unwrap(), []);
    for right in
        [ChecksumAlgorithm::Crc32C, ChecksumAlgorithm::Crc64Nvme, ChecksumAlgorithm::Sha1, ChecksumAlgorithm::Sha256]
    {
        put().checksum_algorithm(right).send().await.unwrap();
    }
    assert_eq!(stack.objects("lake").unwrap().len(), 1);
}

#[tokio::test]
async fn a_streamed_body_with_its_checksum_in_a_trailer_is_stored_as_it_was() {
    let stack = start();
    stack.create_bucket("lake").unwrap();
    let bytes: Vec<u8> = (0..3 * MIB).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&bytes).unwrap();
    let body = ByteStream::from_path(file.path()).await.unwrap();
    s3(&stack).put_object().bucket("lake").key("k").body(body).send().await.unwrap();
    assert!(stack.objects("lake").unwrap() == [("k".to_owned(), bytes)]);
    assert!(stack.calls().snapshot()[0].request_bytes > 3 * MIB, "the trailer is part of the request");
}

#[tokio::test]
async fn a_part_of_an_object_is_read_by_its_number_and_past_the_last_there_is_none() {
    let stack = start();
    stack.create_bucket("lake").unwrap();
    let client = s3(&stack);
    let begun = client.create_multipart_upload().bucket("lake").key("k").send().await.unwrap();
    let mut parts = Vec::new();
    for (number, body) in [(1, vec![b'a'; 5 * MIB]), (2, b"second".to_vec())] {
        let upload = client.upload_part().bucket("lake").key("k").part_number(number).body(body.into());
        let etag = upload.set_upload_id(begun.upload_id.clone()).send().await.unwrap().e_tag;
        parts.push(CompletedPart::builder().part_number(number).set_e_tag(etag).build());
    }
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let complete = client.complete_multipart_upload().bucket("lake").key("k").multipart_upload(parts);
    complete.set_upload_id(begun.upload_id).send().await.unwrap();
    let part = |number: i32| client.get_object().bucket("lake").key("k").part_number(number).send();
    let second = part(2).await.unwrap();
    assert_eq!((second.parts_count(), second.content_range()), (Some(2), Some("bytes 5242880-5242885/5242886")));
    assert_eq!(second.body.collect().await.unwrap().into_bytes(), "second");
    assert_eq!(code(part(3).await), "InvalidPartNumber");
}

#[tokio::test]
async fn objects_are_copied_listed_by_marker_and_their_bucket_is_deleted_when_it_is_empty() {
    let stack = start();
    stack.create_bucket("lake").unwrap();
    let client = s3(&stack);
    let put = client.put_object().bucket("lake").key("a b").content_type("text/plain").body(b"1".to_vec().into());
    put.send().await.unwrap();
    let copy = |to: &str| client.copy_object().bucket("lake").key(to).copy_source("lake/a%20b").send();
    copy("c/d").await.unwrap();
    assert_eq!(code(copy("a b").await), "InvalidRequest");
    assert_eq!(client.head_object().bucket("lake").key("c/d").send().await.unwrap().content_type(), Some("text/plain"));

    let list = || client.list_objects().bucket("lake").delimiter("/").encoding_type(EncodingType::Url);
    let page = list().max_keys(1).send().await.unwrap();
    assert_eq!(page.contents()[0].key(), Some("a%20b"));
    let next = list().marker("a b").send().await.unwrap();
    assert_eq!((next.contents().len(), next.common_prefixes()[0].prefix()), (0, Some("c/")));
    assert_eq!(list().marker("c/").send().await.unwrap().common_prefixes(), [], "a marker's own prefix is passed");

    let delete = || client.delete_bucket().bucket("lake").send();
    assert_eq!(code(delete().await), "BucketNotEmpty");
    for key in ["a b", "c/d"] {
        client.delete_object().bucket("lake").key(key).send().await.unwrap();
    }
    delete().await.unwrap();
    assert_eq!(code(delete().await), "NoSuchBucket");
}

#[tokio::test]
async fn a_multipart_upload_appears_when_it_is_completed() {
    let stack = start();
    stack.create_bucket("lake").unwrap();
    let client = s3(&stack);
    let begin = async |key: &str| {
        let begun = client.create_multipart_upload().bucket("lake").key(key).send().await.unwrap();
        begun.upload_id().unwrap().to_owned()
    };
    let part = async |key: &str, id: &str, number: i32, body: Vec<u8>| {
        let upload = client.upload_part().bucket("lake").key(key).upload_id(id).part_number(number);
        let uploaded = upload.body(body.into()).send().await.unwrap();
        CompletedPart::builder().part_number(number).set_e_tag(uploaded.e_tag).build()
    };
    let complete = |key: &str, id: &str, parts: Vec<CompletedPart>| {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        client.complete_multipart_upload().bucket("lake").key(key).upload_id(id).multipart_upload(parts).send()
    };

    let id = begin("k").await;
    let first = part("k", &id, 1, vec![b'a'; 5 * MIB]).await;
    let second = part("k", &id, 2, vec![b'b'; 7]).await;
    let third = part("k", &id, 3, vec![b'c'; 7]).await;
    assert_eq!(stack.objects("lake").unwrap(), []);
    assert_eq!(stack.open_uploads("lake").unwrap(), ["k"]);
    assert_eq!(code(complete("k", &id, vec![second.clone(), first.clone()]).await), "InvalidPartOrder");
    assert_eq!(code(complete("k", &id, vec![first.clone(), second.clone(), third.clone()]).await), "EntityTooSmall");
    let missing = CompletedPart::builder().part_number(4).e_tag("\"x\"").build();
    assert_eq!(code(complete("k", &id, vec![first.clone(), missing]).await), "InvalidPart");
    assert_eq!(code(complete("k", "upload-x", vec![first.clone()]).await), "NoSuchUpload");
    let parts = client.list_parts().bucket("lake").key("k").upload_id(&id).max_parts(2).send().await.unwrap();
    assert_eq!(parts.parts().iter().filter_map(aws_sdk_s3::types::Part::size).collect::<Vec<_>>(), [5_242_880, 7]);
    assert_eq!((parts.is_truncated(), parts.next_part_number_marker()), (Some(true), Some("2")));

    complete("k", &id, vec![first.clone(), third]).await.unwrap();
    let objects = stack.objects("lake").unwrap();
    assert!(objects[0].1.len() == 5 * MIB + 7 && objects[0].1.ends_with(b"accccccc"));
    assert_eq!(code(complete("k", &id, vec![first]).await), "NoSuchUpload");

    let ids = [begin("p/1").await, begin("p/1").await, begin("p/2").await, begin("q").await];
    let mut found = Vec::new();
    let (mut key_marker, mut id_marker) = (None, None);
    loop {
        let list = client.list_multipart_uploads().bucket("lake").prefix("p/").max_uploads(1);
        let page = list.set_key_marker(key_marker).set_upload_id_marker(id_marker).send().await.unwrap();
        found.extend(page.uploads().iter().filter_map(|upload| upload.upload_id().map(ToOwned::to_owned)));
        if page.is_truncated() != Some(true) {
            break;
        }
        (key_marker, id_marker) = (page.next_key_marker, page.next_upload_id_marker);
    }
    assert_eq!(found, ids[..3]);
    let abort = || client.abort_multipart_upload().bucket("lake").key("p/1").upload_id(&ids[0]).send();
    abort().await.unwrap();
    assert_eq!(code(abort().await), "NoSuchUpload");
    assert_eq!(stack.open_uploads("lake").unwrap(), ["p/1", "p/2", "q"]);
}

#[tokio::test]
async fn every_call_is_recorded_on_either_endpoint() {
    let stack = start();
    stack.create_bucket("lake").unwrap();
    stack.create_table(&rows()).unwrap();
    assert!(stack.create_table(&rows()).unwrap_err().to_string().starts_with("creating table rows"));
    let any = &stack.environment["AWS_ENDPOINT_URL"];
    s3_at(any).put_object().bucket("lake").key("a b").body(b"12345".to_vec().into()).send().await.unwrap();
    s3(&stack).list_objects_v2().bucket("lake").send().await.unwrap();
    let _ = s3(&stack).get_object().bucket("lake").key("none").send().await;
    dynamodb_at(any).put_item().table_name("rows").set_item(Some(item("2"))).send().await.unwrap();
    let batch = dynamodb(&stack).batch_write_item().request_items("rows", vec![put("1"), put("3")]);
    batch.send().await.unwrap();
    let _ = dynamodb(&stack).put_item().table_name("none").set_item(Some(item("2"))).send().await;
    let mut other = TcpStream::connect(any.replace("http://", "")).unwrap();
    other
        .write_all(b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSQS.SendMessage\r\nContent-Length: 2\r\n\r\n{}")
        .unwrap();
    assert!(stack.calls().wait_until(soon(), |calls| calls.len() == 7));

    assert!(stack.calls().wait_until(soon(), |calls| calls.iter().all(|call| call.finished.is_some())));
    let calls = stack.calls().snapshot();
    assert_eq!(
        outline(&calls),
        [
            ("s3", "PutObject", "lake/a b", Some(200)),
            ("s3", "ListObjectsV2", "lake", Some(200)),
            ("s3", "GetObject", "lake/none", Some(404)),
            ("dynamodb", "PutItem", "rows", Some(200)),
            ("dynamodb", "BatchWriteItem", "rows", Some(200)),
            ("dynamodb", "PutItem", "none", Some(400)),
            ("sqs", "SendMessage", "", Some(501)),
        ]
    );
    assert_eq!(calls[0].request_bytes, 5);
    assert!(calls[4].request_bytes > 100);
    assert_eq!(calls.iter().map(|call| call.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);

    let mut scanned = stack.scan("rows").unwrap();
    scanned.sort_by_key(|item| item["pk"]["S"].as_str().map(ToOwned::to_owned));
    let expected = |id: &str| json!({"a": {"N": "35.6812362000001"}, "pk": {"S": id}});
    assert_eq!(scanned, [expected("1"), expected("2"), expected("3")]);
    assert!(stack.scan("none").unwrap_err().to_string().starts_with("scanning table none"));
}

#[test]
fn a_scan_reads_all_pages() {
    let stack = start();
    stack.create_table(&rows()).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    for id in 0..4 {
        let mut item = item(&id.to_string());
        item.insert("big".into(), AttributeValue::S("x".repeat(390_000)));
        let client = dynamodb(&stack);
        runtime.block_on(client.put_item().table_name("rows").set_item(Some(item)).send()).unwrap();
    }
    assert_eq!(stack.scan("rows").unwrap().len(), 4);
}

#[tokio::test]
async fn throttled_writes_do_nothing_and_say_so_in_the_services_own_words() {
    let stack = start();
    stack.create_bucket("lake").unwrap();
    stack.create_table(&rows()).unwrap();
    stack.calls().inject(Fault::Throttle(Hits::First(2)));
    let put_object = || s3(&stack).put_object().bucket("lake").key("k").body(vec![0; 3 * MIB].into()).send();
    let put_item = || dynamodb(&stack).put_item().table_name("rows").set_item(Some(item("1"))).send();
    assert_eq!(code(put_object().await), "SlowDown");
    assert_eq!(code(put_item().await), "ProvisionedThroughputExceededException");
    assert_eq!((stack.objects("lake").unwrap().len(), stack.scan("rows").unwrap().len()), (0, 0));
    put_object().await.unwrap();
    put_item().await.unwrap();
    let statuses: Vec<_> = outline(&stack.calls().snapshot()).into_iter().map(|(.., status)| status).collect();
    assert_eq!(statuses, [Some(503), Some(400), Some(200), Some(200)]);
}

#[tokio::test]
async fn an_unprocessed_item_is_returned_and_not_written() {
    let stack = start();
    stack.create_table(&rows()).unwrap();
    stack.calls().inject(Fault::Unprocessed(Hits::First(2)));
    let write = |items: Vec<WriteRequest>| dynamodb(&stack).batch_write_item().request_items("rows", items).send();
    let answer = write(vec![put("1"), put("2")]).await.unwrap();
    assert_eq!(answer.unprocessed_items().unwrap()["rows"], [put("2")]);
    assert_eq!(stack.scan("rows").unwrap().len(), 1);
    let answer = write(vec![put("2")]).await.unwrap();
    assert_eq!(answer.unprocessed_items().unwrap()["rows"], [put("2")]);
    assert_eq!(stack.scan("rows").unwrap().len(), 1);
    let answer = write(vec![put("2")]).await.unwrap();
    assert!(answer.unprocessed_items().unwrap().is_empty());
    assert_eq!(stack.scan("rows").unwrap().len(), 2);
}

/// Holds the first call at `moment`, and gives the number of objects while it is held; then lets the client go.
async fn objects_while_held(moment: Moment) -> usize {
    let stack = start();
    stack.create_bucket("lake").unwrap();
    let (reached, held) = mpsc::channel();
    let hook = Box::new(move || reached.send(()).unwrap());
    stack.calls().inject(Fault::Hold { call: 1, moment, hook });
    let body = vec![0; 3 * MIB];
    let client = tokio::spawn(s3(&stack).put_object().bucket("lake").key("k").body(body.into()).send());
    let found = tokio::task::spawn_blocking(move || {
        held.recv_timeout(PATIENCE).unwrap();
        let calls = stack.calls();
        assert_eq!(calls.in_flight(), 1);
        assert_eq!(calls.snapshot()[0].request_bytes, 3 * MIB);
        let found = stack.objects("lake").unwrap().len();
        assert!(!client.is_finished(), "a held call is not answered");
        client.abort();
        assert!(calls.wait_until(soon(), |calls| calls[0].finished.is_some()), "the client's leaving ends the call");
        assert_eq!(outline(&calls.snapshot()), [("s3", "PutObject", "lake/k", Some(CLIENT_GONE))]);
        assert_eq!(stack.objects("lake").unwrap().len(), found);
        found
    });
    found.await.unwrap()
}

#[tokio::test]
async fn a_call_held_before_does_not_reach_its_service() {
    assert_eq!(objects_while_held(Moment::Before).await, 0);
}

#[tokio::test]
async fn a_call_held_after_has_done_its_work() {
    assert_eq!(objects_while_held(Moment::After).await, 1);
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_request_ends_the_call() {
    let stack = start();
    stack.create_bucket("lake").unwrap();
    let signed = PresigningConfig::expires_in(PATIENCE).unwrap();
    let request = s3(&stack).put_object().bucket("lake").key("k").content_length(100).presigned(signed).await.unwrap();
    let uri: hyper::Uri = request.uri().parse().unwrap();
    let address = uri.authority().unwrap().as_str();
    let mut client = TcpStream::connect(address).unwrap();
    let path = uri.path_and_query().unwrap();
    write!(client, "PUT {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 100\r\n\r\nhalf").unwrap();
    let calls = stack.calls();
    assert!(calls.wait_until(soon(), |calls| calls.first().is_some_and(|call| call.request_bytes == 4)));
    assert_eq!(calls.in_flight(), 1);
    drop(client);
    assert!(calls.wait_until(soon(), |calls| calls[0].finished.is_some()));
    assert_eq!(outline(&calls.snapshot()), [("s3", "PutObject", "lake/k", Some(CLIENT_GONE))]);
    assert_eq!(stack.objects("lake").unwrap(), []);
}

/// Not a promise, but what a whole test's calls cost: printed, and bounded only where something is clearly wrong.
#[tokio::test]
async fn a_call_takes_milliseconds() {
    let stack = start();
    stack.create_table(&rows()).unwrap();
    let client = dynamodb(&stack);
    let mut took = Vec::new();
    for id in 0..200 {
        let begun = Instant::now();
        client.put_item().table_name("rows").set_item(Some(item(&id.to_string()))).send().await.unwrap();
        took.push(begun.elapsed());
    }
    took.sort();
    eprintln!("PutItem through the proxy: median {:?}, p99 {:?}", took[100], took[198]);
    // Delayed acknowledgements with Nagle's algorithm would cost 40 ms each.
    assert!(took[100] < Duration::from_millis(30), "{took:?}");
}
