//! Changes of what a pipeline does with SQS queues: messages that are lost, and messages that are deleted too early or
//! not at all.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use s3s::crypto::{Checksum as _, Md5};
use serde_json::{Value, json};

use super::Instead;
use super::sent::Sent;

/// A message is never sent, and the pipeline goes on as if it were.
pub(super) fn lose_message(sent: &Sent) -> Option<Instead> {
    let body = sent.json()?;
    let text = body.get("MessageBody")?.as_str()?;
    // Most SDKs check that the service has received what they sent.
    let md5 = Md5::checksum(text.as_bytes()).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let id = BASE64_STANDARD.encode("never sent");
    Some(Instead::Unsent(json!({"MessageId": id, "MD5OfMessageBody": md5}).to_string()))
}

/// The message is sent with the second half of its body lost.
pub(super) fn cut_message(sent: &Sent) -> Option<Instead> {
    let mut body = sent.json()?;
    let text = body.get("MessageBody")?.as_str()?;
    let half: String = text.chars().take(text.chars().count() / 2).collect();
    if half.is_empty() {
        return None;
    }
    body["MessageBody"] = half.into();
    Some(Instead::request(sent.with_json(&body)))
}

/// A message is not deleted, and the pipeline goes on as if it were.
pub(super) fn keep_message(sent: &Sent) -> Option<Instead> {
    sent.json()?.get("ReceiptHandle")?;
    Some(Instead::Unsent("{}".to_owned()))
}

/// Requests that delete the messages about objects which an answer has brought.
pub(super) fn delete_at_once(sent: &Sent, answer: &Value) -> Option<Vec<Sent>> {
    let queue = sent.json()?.get("QueueUrl")?.clone();
    let is_about_an_object = |message: &&Value| {
        let body = message["Body"].as_str().and_then(|body| serde_json::from_str::<Value>(body).ok());
        body.is_some_and(|body| body.get("Records").is_some())
    };
    let messages = answer.get("Messages")?.as_array()?.iter().filter(is_about_an_object);
    let delete = |message: &Value| {
        sent.for_operation("DeleteMessage", &json!({"QueueUrl": queue, "ReceiptHandle": message.get("ReceiptHandle")?}))
    };
    let requests: Vec<Sent> = messages.filter_map(delete).collect();
    (!requests.is_empty()).then_some(requests)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::sent::tests::json as sent;
    use super::*;

    #[test]
    fn a_message_is_lost_and_answered_with_its_digest() {
        let request = sent("AmazonSQS.SendMessage", &json!({"QueueUrl": "http://h/0/q", "MessageBody": "hello"}));
        let Some(Instead::Unsent(answer)) = lose_message(&request) else { panic!("it is sent") };
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["MD5OfMessageBody"], "5d41402abc4b2a76b9719d911017c592");
    }

    #[test]
    fn a_message_is_cut() {
        let request = sent("AmazonSQS.SendMessage", &json!({"MessageBody": "한국말로"}));
        let Some(Instead::Requests(requests)) = cut_message(&request) else { panic!("it is not concerned") };
        assert_eq!(requests[0].json().unwrap(), json!({"MessageBody": "한국"}));
    }

    #[test]
    fn messages_about_objects_are_deleted_as_soon_as_they_are_received() {
        let request = sent("AmazonSQS.ReceiveMessage", &json!({"QueueUrl": "http://h/0/q", "WaitTimeSeconds": 1}));
        let message = |body: &Value, receipt: &str| json!({"Body": body.to_string(), "ReceiptHandle": receipt});
        let (test, object) = (json!({"Event": "s3:TestEvent"}), json!({"Records": [{}]}));
        let answer = json!({"Messages": [message(&test, "1"), message(&object, "2")]});
        let requests = delete_at_once(&request, &answer).unwrap();
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].head.headers["x-amz-target"], "AmazonSQS.DeleteMessage");
        assert_eq!(requests[0].json().unwrap(), json!({"QueueUrl": "http://h/0/q", "ReceiptHandle": "2"}));
        assert!(delete_at_once(&request, &json!({"Messages": [message(&test, "1")]})).is_none());
        assert!(delete_at_once(&request, &json!({})).is_none());
    }
}
