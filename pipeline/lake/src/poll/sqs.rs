//! A queue of Amazon SQS.

use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use fms_aws::{Error, Retry, Verdict};

use super::metrics;
use super::queue::{Depth, Message, Queue, QueueError};

/// How long a call is retried. Then the message stays as it is, and the same is done again some time later.
const RETRIED_FOR: Duration = Duration::from_secs(20);
/// The longest pause between two attempts of a call.
const DELAY_MAX: Duration = Duration::from_secs(5);

/// A queue of Amazon SQS, by its URL.
#[derive(Debug, Clone)]
pub struct Sqs {
    client: Client,
    url: String,
    wait: u16,
    retry: Retry,
}

impl Sqs {
    /// The queue with this URL. `config` is that of [`fms_aws::load`], which retries nothing by itself. A receive waits
    /// for a message as long as `wait`, seconds, which may be 20 at most (the limit of SQS).
    pub fn new(config: &SdkConfig, url: impl Into<String>, wait: u16) -> Self {
        let retry = Retry::new("fms lake", Some(RETRIED_FOR), DELAY_MAX, metrics::retried);
        Self { client: Client::new(config), url: url.into(), wait, retry }
    }

    /// Whether the queue is there. An error says what can be done.
    pub async fn check(&self) -> Result<(), QueueError> {
        let call = || async {
            let request = self.client.get_queue_attributes().queue_url(&self.url);
            request.attribute_names(QueueAttributeName::QueueArn).send().await.map_err(Error::from)
        };
        self.run("find the queue", "GetQueueAttributes", Error::verdict_at_start, call).await.map(drop)
    }

    async fn run<T, F: Future<Output = Result<T, Error>>>(
        &self,
        doing: &'static str,
        operation: &'static str,
        verdict: impl Fn(&Error) -> Verdict,
        mut call: impl FnMut() -> F,
    ) -> Result<T, QueueError> {
        let counted = || {
            let called = call();
            async move {
                let answer = called.await;
                metrics::call(operation, answer.is_ok());
                answer
            }
        };
        let answer = self.retry.run(format!("{operation} {}", self.url), verdict, counted).await;
        answer.map_err(|error| {
            let error = match hint(&error) {
                Some(hint) => format!("{error}; {hint}").into(),
                None => error.into(),
            };
            QueueError { doing, queue: self.url.clone(), error }
        })
    }
}

/// What can be done about an error.
fn hint(error: &Error) -> Option<&'static str> {
    match (error.code(), error.status()) {
        (Some("AWS.SimpleQueueService.NonExistentQueue" | "QueueDoesNotExist"), _) => {
            Some("check the URL of the queue, and that AWS_REGION is the region of the queue")
        }
        (Some("AccessDenied" | "AccessDeniedException"), _) | (None, Some(403)) => Some(
            "allow sqs:GetQueueAttributes, sqs:ReceiveMessage, sqs:ChangeMessageVisibility, sqs:DeleteMessage and \
             sqs:SendMessage on both queues",
        ),
        (Some("OverLimit"), _) => {
            Some("SQS lets 120,000 messages of a queue be received and not deleted; wait until some are visible again")
        }
        _ => None,
    }
}

impl Queue for Sqs {
    async fn receive(&self, most: usize, visibility: Duration) -> Result<Vec<Message>, QueueError> {
        let call = || async {
            let request = self.client.receive_message().queue_url(&self.url).wait_time_seconds(self.wait.into());
            let request = request
                .max_number_of_messages(i32::try_from(most).unwrap_or(i32::MAX))
                .visibility_timeout(seconds(visibility))
                .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
                .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp);
            request.send().await.map_err(Error::from)
        };
        // What is denied or missing is said at once and not retried here: who receives does so again and again.
        let answer = self.run("receive from", "ReceiveMessage", Error::verdict_at_start, call).await?;
        Ok(answer.messages.unwrap_or_default().into_iter().map(message).collect())
    }

    async fn hide(&self, receipt: &str, visibility: Duration) -> Result<(), QueueError> {
        let call = || async {
            let request = self.client.change_message_visibility().queue_url(&self.url).receipt_handle(receipt);
            request.visibility_timeout(seconds(visibility)).send().await.map_err(Error::from)
        };
        let doing = "change how long a message is invisible in";
        self.run(doing, "ChangeMessageVisibility", Error::verdict, call).await.map(drop)
    }

    async fn delete(&self, receipt: &str) -> Result<(), QueueError> {
        let call = || async {
            let request = self.client.delete_message().queue_url(&self.url).receipt_handle(receipt);
            request.send().await.map_err(Error::from)
        };
        self.run("delete a message of", "DeleteMessage", Error::verdict, call).await.map(drop)
    }

    async fn send(&self, body: &str) -> Result<(), QueueError> {
        let call = || async {
            self.client.send_message().queue_url(&self.url).message_body(body).send().await.map_err(Error::from)
        };
        self.run("send a message to", "SendMessage", Error::verdict, call).await.map(drop)
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages as Visible, ApproximateNumberOfMessagesDelayed as Delayed,
            ApproximateNumberOfMessagesNotVisible as InFlight, RedrivePolicy,
        };
        let call = || async {
            let request = self.client.get_queue_attributes().queue_url(&self.url);
            let request = request.attribute_names(Visible).attribute_names(InFlight).attribute_names(Delayed);
            request.attribute_names(RedrivePolicy).send().await.map_err(Error::from)
        };
        let answer = self.run("count the messages of", "GetQueueAttributes", Error::verdict, call).await?;
        let number = |name| answer.attributes().and_then(|all| all.get(&name)?.parse().ok()).unwrap_or(0);
        let has_redrive_policy = answer.attributes().is_some_and(|all| all.contains_key(&RedrivePolicy));
        Ok(Depth {
            visible: number(Visible),
            in_flight: number(InFlight),
            delayed: number(Delayed),
            has_redrive_policy,
        })
    }
}

fn message(received: aws_sdk_sqs::types::Message) -> Message {
    use MessageSystemAttributeName::{ApproximateReceiveCount, SentTimestamp};
    let number = |name| received.attributes()?.get(&name)?.parse::<u64>().ok();
    Message {
        attempts: number(ApproximateReceiveCount).and_then(|count| count.try_into().ok()).unwrap_or(1),
        sent: number(SentTimestamp).map(|millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis)),
        id: received.message_id.unwrap_or_default(),
        body: received.body.unwrap_or_default(),
        receipt: received.receipt_handle.unwrap_or_default(),
    }
}

fn seconds(visibility: Duration) -> i32 {
    i32::try_from(visibility.as_secs()).unwrap_or(i32::MAX)
}
