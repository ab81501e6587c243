//! Batches of messages that somebody else receives and deletes, as AWS Lambda does, which gives a function a limited
//! time for each of them.
//!
//! Messages with objects that cannot be converted for now are given back, to be received again after the visibility
//! timeout of their queue. When the time is up, so are those that are not done. A conversion that is under way then
//! cannot be ended from outside. It goes on whenever the process runs, and finds itself on record or does no harm. Until
//! it has ended, it counts as one of those that there may be at a time, for it still takes memory.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument as _, Span, warn};

use super::ages::oldest;
use super::message::{Finished, Work};
use super::queue::{Message, Queue};
use super::{Convert, metrics};
use crate::object::{ObjectError, Report};
use crate::quarantine::Object;
use crate::task::joined;

/// Handles one batch of messages after another.
pub struct Batch<Q, C> {
    work: Work<Q, Bounded<C>>,
}

impl<Q, C> fmt::Debug for Batch<Q, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("max_attempts", &self.work.max_attempts).finish_non_exhaustive()
    }
}

impl<Q: Queue, C: Convert> Batch<Q, C> {
    /// Converts the objects of messages, `at_a_time` of them, and puts into `fallback` what cannot be done, or belongs
    /// to a message that was received more than `max_attempts` times.
    pub fn new(fallback: Q, convert: C, at_a_time: usize, max_attempts: u32) -> Self {
        let convert = Bounded { convert: Arc::new(convert), free: Arc::new(Semaphore::new(at_a_time.max(1))) };
        Self { work: Work { fallback: Arc::new(fallback), convert, max_attempts } }
    }

    /// Handles the messages of a batch until the time is up. Gives the ids of those that have to be received again; the
    /// others have to be deleted.
    pub async fn handle(&self, messages: &[Message], until: Instant) -> Vec<String> {
        metrics::received(messages);
        metrics::oldest("main", oldest(messages, SystemTime::now()));
        let mut under_way: FuturesUnordered<_> = messages
            .iter()
            .enumerate()
            .map(async |(n, message)| (n, self.work.finish(message).await == Finished::Done))
            .collect();
        let mut is_done = vec![false; messages.len()];
        loop {
            match timeout_at(until, under_way.next()).await {
                Ok(Some((n, done))) => is_done[n] = done,
                Ok(None) => break,
                Err(_) => {
                    let left = under_way.len();
                    warn!("the time is up for {left} of {} messages: they will be received again", messages.len());
                    break;
                }
            }
        }
        let left = messages.iter().zip(is_done).filter(|(_, is_done)| !is_done);
        left.map(|(message, _)| message.id.clone()).inspect(|_| metrics::returned()).collect()
    }
}

/// Converts a limited number of objects at a time.
struct Bounded<C> {
    convert: Arc<C>,
    free: Arc<Semaphore>,
}

impl<C: Convert> Convert for Bounded<C> {
    fn is_raw(&self, object: &Object) -> bool {
        self.convert.is_raw(object)
    }

    /// If this is dropped before it has ended, the conversion goes on and keeps its place.
    async fn convert(&self, object: &Object) -> Result<Option<Report>, ObjectError> {
        // The semaphore is never closed.
        let place = Arc::clone(&self.free).acquire_owned().await.ok();
        let (convert, object) = (Arc::clone(&self.convert), object.clone());
        let converting = async move {
            let _place = place;
            convert.convert(&object).await
        };
        let converted = joined(tokio::spawn(converting.instrument(Span::current()))).await;
        converted.unwrap_or_else(|error| Err(ObjectError::Read(error)))
    }
}
