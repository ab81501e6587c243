//! What the poller needs of a queue: messages that stay in it, invisible to others, until they are deleted.

use std::error::Error;
use std::time::{Duration, SystemTime};

use thiserror::Error;

/// A message that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What names it in the queue, however often it is received.
    pub id: String,
    /// Its text.
    pub body: String,
    /// What names this receipt of it.
    pub receipt: String,
    /// How often it was received, this time included.
    pub attempts: u32,
    /// When it was put into the queue.
    pub sent: Option<SystemTime>,
}

/// How many messages a queue has, as far as it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Those that can be received.
    pub visible: u64,
    /// Those that were received and not deleted.
    pub in_flight: u64,
    /// Those that wait until they can be received for the first time.
    pub delayed: u64,
    /// Whether the queue moves messages that are received too often to another one.
    pub has_redrive_policy: bool,
}

/// Why a call of a queue failed, after it was retried where that made sense.
#[derive(Debug, Error)]
#[error("cannot {doing} {queue}: {error}")]
pub struct QueueError {
    /// What was being done.
    pub doing: &'static str,
    /// The queue.
    pub queue: String,
    /// What went wrong, with what can be done about it.
    #[source]
    pub error: Box<dyn Error + Send + Sync>,
}

/// A queue that delivers each message at least once. Calls are retried within, and end at some time.
pub trait Queue: Send + Sync + 'static {
    /// Waits a few seconds for messages and gives at most `most` of them, which are from 1 to 10. Each of them is
    /// invisible for as long as `visibility`.
    fn receive(
        &self,
        most: usize,
        visibility: Duration,
    ) -> impl Future<Output = Result<Vec<Message>, QueueError>> + Send;

    /// Makes a message that was received invisible for as long as `visibility` from now; zero makes it visible at once.
    fn hide(&self, receipt: &str, visibility: Duration) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// Removes a message that was received.
    fn delete(&self, receipt: &str) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// Puts a message into the queue.
    fn send(&self, body: &str) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// How many messages there are.
    fn depth(&self) -> impl Future<Output = Result<Depth, QueueError>> + Send;
}
