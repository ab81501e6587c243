//! SQS: JSON with the operation in `X-Amz-Target`, or in older SDKs a form with an `Action`; the queue is in the body.

use hyper::StatusCode;
use serde::Deserialize;

use super::{Batch, Refusal, Service, begins_with_any, field_of_form, operation};
use crate::calls::{Effect, Request};

/// SQS.
pub(crate) static SQS: Service = Service {
    name: "sqs",
    title: "SQS",
    target_prefix: Some("AmazonSQS"),
    streams: false,
    request: |head, body| {
        let operation = operation(head, body);
        let effect = match operation.as_str() {
            // It may wait for a message that never comes. A received message is hidden for a while, which no test observes.
            "ReceiveMessage" => Effect::Wait,
            name if begins_with_any(name, &["Get", "List"]) => Effect::Read,
            _ => Effect::Write,
        };
        let deletes = match operation.as_str() {
            "DeleteMessage" => 1,
            "DeleteMessageBatch" => entries(body),
            _ => 0,
        };
        Request { operation, target: queue(body), effect, can_be_partial: false, deletes }
    },
    throttled: Refusal {
        status: StatusCode::BAD_REQUEST,
        content_type: "application/x-amz-json-1.0",
        body: "{\"__type\":\"com.amazonaws.sqs#RequestThrottled\",\
               \"message\":\"The request was denied due to request throttling.\"}",
    },
    denied: Refusal {
        status: StatusCode::FORBIDDEN,
        content_type: "application/x-amz-json-1.0",
        body: "{\"__type\":\"com.amazonaws.sqs#AccessDeniedException\",\
               \"message\":\"User is not authorized to perform this action.\"}",
    },
    failed: Refusal {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        content_type: "application/x-amz-json-1.0",
        body: "{\"__type\":\"com.amazonaws.sqs#InternalFailure\",\
               \"message\":\"We encountered an internal error. Please try again.\"}",
    },
    shorten: None,
    batches: &[
        Batch { operation: "SendMessageBatch", items: "Entries" },
        Batch { operation: "DeleteMessageBatch", items: "Entries" },
        Batch { operation: "ChangeMessageVisibilityBatch", items: "Entries" },
    ],
};

/// The number of entries of a batch. Those of a form are not counted.
fn entries(body: &[u8]) -> usize {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct Batch {
        entries: Vec<serde::de::IgnoredAny>,
    }
    serde_json::from_slice::<Batch>(body).unwrap_or_default().entries.len()
}

/// The name of the queue that a request is about; empty if it names none.
fn queue(body: &[u8]) -> String {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct Named {
        queue_url: Option<String>,
        queue_name: Option<String>,
    }
    let named = serde_json::from_slice(body).unwrap_or_else(|_| Named {
        queue_url: field_of_form(body, "QueueUrl"),
        queue_name: field_of_form(body, "QueueName"),
    });
    let of_url = named.queue_url.map(|url| url.rsplit('/').next().unwrap_or_default().to_owned());
    of_url.or(named.queue_name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::tests::head;
    use super::*;

    fn call(operation: &str, body: &[u8]) -> Request {
        (SQS.request)(&head("POST", "/", &[("x-amz-target", &format!("AmazonSQS.{operation}"))]), body)
    }

    #[test]
    fn a_queue_is_named_by_its_url_or_its_name() {
        let sent =
            call("SendMessage", br#"{"QueueUrl":"http://localhost:4566/000000000000/events","MessageBody":"{}"}"#);
        assert_eq!((sent.operation.as_str(), sent.target.as_str()), ("SendMessage", "events"));
        assert_eq!(call("CreateQueue", br#"{"QueueName":"events"}"#).target, "events");
        assert_eq!(call("ListQueues", b"{}").target, "");
        let form = (SQS.request)(&head("POST", "/", &[]), b"Action=SendMessage&QueueUrl=http%3A%2F%2Fh%2F0%2Fevents");
        assert_eq!((form.operation.as_str(), form.target.as_str()), ("SendMessage", "events"));
    }

    #[test]
    fn the_messages_that_are_deleted_are_counted() {
        let batch =
            br#"{"QueueUrl":"http://h/0/q","Entries":[{"Id":"a","ReceiptHandle":"1"},{"Id":"b","ReceiptHandle":"2"}]}"#;
        assert_eq!(call("DeleteMessageBatch", batch).deletes, 2);
        assert_eq!(call("DeleteMessage", b"{}").deletes, 1);
        assert_eq!(call("SendMessageBatch", batch).deletes, 0);
    }

    #[test]
    fn receiving_is_a_wait_and_neither_a_read_nor_a_write() {
        for (operation, effect) in [
            ("ReceiveMessage", Effect::Wait),
            ("GetQueueAttributes", Effect::Read),
            ("SendMessageBatch", Effect::Write),
            ("DeleteMessage", Effect::Write),
        ] {
            assert_eq!(call(operation, b"{}").effect, effect, "{operation}");
        }
    }
}
