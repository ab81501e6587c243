//! Tests of the messages with which the embedded S3 announces objects in queues.

use super::*;
use crate::stack::Notification;

/// What the messages of a queue say of the objects that were created, and the sequencers of all of them. The messages
/// of other kinds are left out.
fn announced(stack: &Embedded, queue: &str) -> (Vec<Value>, Vec<String>) {
    let messages = stack.queues.messages(queue).unwrap();
    let messages = messages.iter().map(|body| serde_json::from_str::<Value>(body).unwrap());
    let mut sequencers = Vec::new();
    let mut objects = Vec::new();
    for message in messages.filter(|message| message["Records"].is_array()) {
        assert_eq!(message["Records"].as_array().unwrap().len(), 1);
        let record = &message["Records"][0];
        let object = &record["s3"]["object"];
        sequencers.push(object["sequencer"].as_str().unwrap().to_owned());
        objects.push(json!([record["eventName"], record["s3"]["bucket"]["name"], object["key"], object["size"]]));
    }
    (objects, sequencers)
}

#[tokio::test]
async fn a_bucket_announces_each_object_that_is_created_to_its_queue() {
    let stack = start();
    stack.provide(&Resources::bucket("lake")).unwrap();
    let notify = |bucket: &str, queue: &str, prefix: &str, suffix: &str| {
        let [bucket, queue, prefix, suffix] = [bucket, queue, prefix, suffix].map(str::to_owned);
        stack.store.notify(&Notification { bucket, queue, prefix, suffix })
    };
    assert!(notify("lake", "events", "up/", ".gz").unwrap_err().to_string().contains("queue events"));
    stack.queues.create("events", &BTreeMap::new()).unwrap();
    stack.queues.create("others", &BTreeMap::new()).unwrap();
    notify("lake", "events", "up/", ".gz").unwrap();
    notify("lake", "events", "up/", ".gz").unwrap();
    notify("lake", "others", "down/", "").unwrap();
    let overlap = notify("lake", "others", "up/x", "").unwrap_err().to_string();
    assert!(overlap.contains("overlaps with the one to queue events"), "{overlap}");
    assert!(notify("sea", "events", "", "").unwrap_err().to_string().contains("bucket sea"));
    let tests = stack.queues.messages("events").unwrap();
    let test: Value = serde_json::from_str(&tests[0]).unwrap();
    assert_eq!((tests.len(), &test["Event"], &test["Bucket"]), (1, &json!("s3:TestEvent"), &json!("lake")));

    let client = s3(&stack);
    let put = |key: &str| client.put_object().bucket("lake").key(key).body(b"123".to_vec().into());
    for key in ["up/ymd=1/a b.gz", "up/b", "c.gz", "down/d"] {
        put(key).send().await.unwrap();
    }
    assert_eq!(code(put("up/ymd=1/a b.gz").if_none_match("*").send().await), "PreconditionFailed");
    client.copy_object().bucket("lake").key("up/e.gz").copy_source("lake/c.gz").send().await.unwrap();
    let begun = client.create_multipart_upload().bucket("lake").key("up/f.gz").send().await.unwrap();
    let id = begun.upload_id().unwrap();
    let part = client.upload_part().bucket("lake").key("up/f.gz").upload_id(id).part_number(1);
    let etag = part.body(b"1234".to_vec().into()).send().await.unwrap().e_tag;
    let parts = CompletedPart::builder().part_number(1).set_e_tag(etag).build();
    let parts = CompletedMultipartUpload::builder().parts(parts).build();
    let complete = client.complete_multipart_upload().bucket("lake").key("up/f.gz").upload_id(id);
    complete.multipart_upload(parts).send().await.unwrap();
    client.delete_object().bucket("lake").key("up/f.gz").send().await.unwrap();

    let (objects, sequencers) = announced(&stack, "events");
    assert_eq!(
        objects,
        [
            json!(["ObjectCreated:Put", "lake", "up/ymd%3D1/a+b.gz", 3]),
            json!(["ObjectCreated:Copy", "lake", "up/e.gz", 3]),
            json!(["ObjectCreated:CompleteMultipartUpload", "lake", "up/f.gz", 4]),
        ]
    );
    assert!(sequencers.is_sorted_by(|a, b| a.len() == b.len() && a < b), "{sequencers:?}");
    assert_eq!(announced(&stack, "others").0, [json!(["ObjectCreated:Put", "lake", "down/d", 3])]);
}
