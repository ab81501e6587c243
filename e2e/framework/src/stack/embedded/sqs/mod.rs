//! SQS in memory: standard queues with visibility, delays, long polls and dead-letter queues.
//!
//! It follows AWS's API reference (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/>). Where AWS
//! promises little, this is stricter, so that a test finds who relies on more: only the receipt handle of the latest
//! receive deletes a message. Messages are received in the order in which they were sent. A member of a request that
//! is not known here is refused, because a test would otherwise pass that relies on it.

mod attributes;
mod messages;
mod queue;
mod queues;
mod receive;
mod settings;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::messages::Outgoing;
use self::queue::Queue;
use super::json_service::{self, Call, JsonService, Refusal, unknown};
use super::{ACCOUNT, REGION};
use crate::stack::{QueueDepth, StackError};

/// All queues. Clones share the same queues.
#[derive(Debug, Clone, Default)]
pub(crate) struct Queues {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the long polls, which then look again.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    queues: BTreeMap<String, Queue>,
    /// Whether long polls end after a moment.
    ends_polls: bool,
    /// Counts the messages of all queues. The number of a message orders its queue and is part of its id.
    sent: u64,
}

/// Serves `queues` until this future is dropped.
pub(crate) async fn serve(listener: TcpListener, queues: Queues) {
    json_service::serve(listener, queues).await;
}

/// The name by which policies and notifications know a queue.
pub(crate) fn arn(queue: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}")
}

impl Queues {
    /// Creates a queue with these attributes. A queue that exists already with the same attributes is left unchanged.
    /// The queue of a `RedrivePolicy` has to exist.
    pub(crate) fn create(&self, name: &str, attributes: &BTreeMap<String, String>) -> Result<(), StackError> {
        queues::ensure(&mut self.state(), name, attributes)
            .map_err(|refusal| StackError::new(format!("creating queue {name}"), refusal.message))
    }

    /// Sends a message. It returns false if there is no such queue.
    pub(crate) fn send(&self, name: &str, body: &str) -> bool {
        let sent = messages::put(&mut self.state(), name, &Outgoing::text(body)).is_ok();
        self.shared.changed.notify_waiters();
        sent
    }

    /// See [`crate::stack::Stack::set_long_polls`].
    pub(crate) fn set_long_polls(&self, long: bool) {
        self.state().ends_polls = !long;
        self.shared.changed.notify_waiters();
    }

    /// Counts the messages of a queue. It is `None` if there is no such queue.
    pub(crate) fn depth(&self, name: &str) -> Option<QueueDepth> {
        Some(self.state().queues.get_mut(name)?.depth(Instant::now()))
    }

    /// The bodies of all messages of a queue, in the order in which they were sent, also of those that are hidden. It
    /// is `None` if there is no such queue.
    pub(crate) fn messages(&self, name: &str) -> Option<Vec<String>> {
        Some(self.state().queues.get_mut(name)?.bodies(Instant::now()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call_now(&self, call: &Call) -> Result<Value, Refusal> {
        let state = &mut *self.state();
        match call.operation.as_str() {
            "CreateQueue" => queues::create(state, &call.input()?, &call.host),
            "GetQueueUrl" => queues::get_url(state, &call.input()?, &call.host),
            "ListQueues" => queues::list(state, &call.input()?, &call.host),
            "DeleteQueue" => queues::delete(state, &call.input()?),
            "PurgeQueue" => queues::purge(state, &call.input()?),
            "GetQueueAttributes" => queues::get_attributes(state, &call.input()?),
            "SetQueueAttributes" => queues::set_attributes(state, &call.input()?),
            "SendMessage" => messages::send(state, call.input()?),
            "SendMessageBatch" => messages::send_batch(state, call.input()?),
            "DeleteMessage" => messages::delete(state, call.input()?),
            "DeleteMessageBatch" => messages::delete_batch(state, call.input()?),
            "ChangeMessageVisibility" => messages::change_visibility(state, call.input()?),
            "ChangeMessageVisibilityBatch" => messages::change_visibility_batch(state, call.input()?),
            operation => Err(unknown::<Self>(operation)),
        }
    }
}

impl JsonService for Queues {
    const CONTENT_TYPE: &'static str = "application/x-amz-json-1.0";
    const TARGET: &'static str = "AmazonSQS";
    const ERROR_NAMESPACE: &'static str = "com.amazonaws.sqs#";
    const UNKNOWN_OPERATION: &'static str = "UnknownOperationException";

    async fn call(&self, call: Call) -> Result<Value, Refusal> {
        if call.operation == "ReceiveMessage" {
            return receive::receive(self, &call.input()?).await;
        }
        let answer = self.call_now(&call);
        // The call may have made a message visible, or have deleted a queue.
        self.shared.changed.notify_waiters();
        answer
    }
}

impl State {
    /// The queue that a request names by its URL.
    fn at(&mut self, url: &str) -> Result<&mut Queue, Refusal> {
        let name = name_in(url)?;
        self.named(name)
    }

    fn named(&mut self, name: &str) -> Result<&mut Queue, Refusal> {
        self.queues.get_mut(name).ok_or_else(|| {
            let kind = ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue");
            refusal(kind, format!("The specified queue does not exist: {name}."))
        })
    }
}

/// The URL of a queue, at the host to which the request was sent. It therefore leads through the recording proxy.
fn url(host: &str, name: &str) -> String {
    format!("http://{host}/{ACCOUNT}/{name}")
}

/// The name of the queue with this URL.
fn name_in(url: &str) -> Result<&str, Refusal> {
    let name = url.rsplit_once('/').filter(|(before, _)| before.ends_with(&format!("/{ACCOUNT}")));
    name.map(|(_, name)| name).ok_or_else(|| {
        let problem = format!("The address {url} is not valid for this endpoint: it does not end in /{ACCOUNT}/NAME.");
        refusal(("InvalidAddress", "InvalidAddress"), problem)
    })
}

/// A refusal, by the name of its error and by the name that the same error has in the query protocol.
fn refusal((kind, query_code): (&'static str, &'static str), message: impl Into<String>) -> Refusal {
    Refusal { kind, query_code: Some(query_code), message: message.into() }
}

fn invalid_parameter(message: impl Into<String>) -> Refusal {
    refusal(("InvalidParameterValueException", "InvalidParameterValue"), message)
}

/// The refusal of a number that is outside its range.
fn out_of_range(value: impl std::fmt::Display, name: &str, range: &std::ops::RangeInclusive<u32>) -> Refusal {
    let (least, most) = (range.start(), range.end());
    invalid_parameter(format!(
        "Value {value} for parameter {name} is invalid. Reason: Must be between {least} and {most}, if provided."
    ))
}

/// The answer of an operation that has nothing to say.
fn done() -> Value {
    json!({})
}
