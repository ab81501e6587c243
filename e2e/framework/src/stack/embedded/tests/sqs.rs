//! Tests of the embedded SQS with the AWS SDK as its client.

use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName,
    SendMessageBatchRequestEntry,
};

use super::*;

fn sqs(stack: &Embedded) -> aws_sdk_sqs::Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(aws_sdk_sqs::config::BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test"))
        .endpoint_url(&stack.environment["AWS_ENDPOINT_URL_SQS"])
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(RetryConfig::disabled());
    aws_sdk_sqs::Client::from_conf(config.build())
}

async fn create(client: &aws_sdk_sqs::Client, name: &str) -> String {
    client.create_queue().queue_name(name).send().await.unwrap().queue_url.unwrap()
}

#[tokio::test]
async fn messages_pass_the_recording_proxy_also_by_the_url_of_their_queue() {
    let stack = start();
    let client = sqs(&stack);
    let url = create(&client, "events").await;
    assert_eq!(url, format!("{}/{ACCOUNT}/events", stack.environment["AWS_ENDPOINT_URL_SQS"]));
    let kind = MessageAttributeValue::builder().data_type("String").string_value("upload").build().unwrap();
    let sent = client.send_message().queue_url(&url).message_body("one").message_attributes("kind", kind.clone());
    sent.send().await.unwrap();
    let receive = client.receive_message().queue_url(&url).message_attribute_names("All");
    let receive = receive.message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount);
    let got = receive.send().await.unwrap().messages.unwrap().remove(0);
    assert_eq!((got.body(), &got.message_attributes().unwrap()["kind"]), (Some("one"), &kind));
    let counted = &got.attributes().unwrap()[&MessageSystemAttributeName::ApproximateReceiveCount];
    assert_eq!((counted.as_str(), stack.queues.depth("events").unwrap().in_flight), ("1", 1));
    client.delete_message().queue_url(&url).receipt_handle(got.receipt_handle().unwrap()).send().await.unwrap();
    assert_eq!(code(client.get_queue_url().queue_name("other").send().await), QUEUE_DOES_NOT_EXIST);
    assert_eq!(
        outline(&stack.calls().snapshot()),
        [
            ("sqs", "CreateQueue", "events", Some(200)),
            ("sqs", "SendMessage", "events", Some(200)),
            ("sqs", "ReceiveMessage", "events", Some(200)),
            ("sqs", "DeleteMessage", "events", Some(200)),
            ("sqs", "GetQueueUrl", "other", Some(400)),
        ]
    );
    assert_eq!(stack.queues.messages("events").unwrap(), [""; 0]);
}

/// The name that the error has in the query protocol, which the SDKs keep.
const QUEUE_DOES_NOT_EXIST: &str = "AWS.SimpleQueueService.NonExistentQueue";

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_wakes_when_a_message_is_sent_or_its_queue_is_deleted() {
    let stack = start();
    let client = sqs(&stack);
    let url = create(&client, "events").await;
    let wait = |receives: usize| {
        let poll = tokio::spawn(client.receive_message().queue_url(&url).wait_time_seconds(20).send());
        let is_waiting =
            move |calls: &[Call]| calls.iter().filter(|call| call.operation == "ReceiveMessage").count() == receives;
        assert!(tokio::task::block_in_place(|| stack.calls().wait_until(soon(), is_waiting)));
        poll
    };
    let begun = Instant::now();
    let poll = wait(1);
    client.send_message().queue_url(&url).message_body("one").send().await.unwrap();
    assert_eq!(poll.await.unwrap().unwrap().messages()[0].body(), Some("one"));
    let poll = wait(2);
    client.delete_queue().queue_url(&url).send().await.unwrap();
    assert_eq!(code(poll.await.unwrap()), QUEUE_DOES_NOT_EXIST);
    assert!(begun.elapsed() < Duration::from_secs(20), "a poll went on to its end: {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_batch_is_received_again_after_its_timeout_and_then_deleted() {
    let stack = start();
    let client = sqs(&stack);
    let url = create(&client, "events").await;
    let entries = (0..10).map(|n| {
        SendMessageBatchRequestEntry::builder().id(n.to_string()).message_body(n.to_string()).build().unwrap()
    });
    client.send_message_batch().queue_url(&url).set_entries(Some(entries.collect())).send().await.unwrap();
    let receive = client.receive_message().queue_url(&url).max_number_of_messages(10).visibility_timeout(1);
    let receive = receive.wait_time_seconds(20);
    let first = receive.clone().send().await.unwrap();
    let again = receive.send().await.unwrap();
    let bodies = |got: &[aws_sdk_sqs::types::Message]| got.iter().map(|m| m.body.clone().unwrap()).collect::<Vec<_>>();
    assert_eq!(bodies(first.messages()), bodies(again.messages()));
    assert_eq!(again.messages().len(), 10);
    let entries = again.messages().iter().enumerate().map(|(n, message)| {
        let entry = DeleteMessageBatchRequestEntry::builder().id(n.to_string());
        entry.receipt_handle(message.receipt_handle().unwrap()).build().unwrap()
    });
    let deleted = client.delete_message_batch().queue_url(&url).set_entries(Some(entries.collect())).send().await;
    assert_eq!(deleted.unwrap().successful().len(), 10);
    let asked = client.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::All).send().await;
    let attributes = asked.unwrap().attributes.unwrap();
    assert_eq!(attributes[&QueueAttributeName::ApproximateNumberOfMessages], "0");
    assert_eq!(attributes[&QueueAttributeName::ApproximateNumberOfMessagesNotVisible], "0");
}
