//! One message, from its receipt to its deletion: its objects are converted, what fails goes to the fallback queue, and
//! only then is it deleted.

use std::any::Any;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tracing::{debug, info, warn};

use super::letter::Letter;
use super::metrics;
use super::queue::{Message, Queue};
use super::{Convert, Settings};
use crate::event::{Created, EventError, created_objects};
use crate::object::Report;
use crate::quarantine::Object;

/// How long a message stays invisible is extended after this part of the time, so that two calls may fail.
const BEATS: u32 = 3;

/// What the messages of a poller are handled with.
pub(super) struct Handler<Q, C> {
    pub queue: Arc<Q>,
    pub work: Work<Q, C>,
    pub settings: Settings,
}

/// What is to be done for a message, whoever receives and deletes it.
pub(super) struct Work<Q, C> {
    pub fallback: Arc<Q>,
    pub convert: C,
    /// How often a message may be received. After that, its objects go to the fallback queue.
    pub max_attempts: u32,
}

/// Why an object was not converted.
struct Failure {
    reason: &'static str,
    error: String,
}

impl<Q: Queue, C: Convert> Handler<Q, C> {
    /// Does with a message what is to be done. If it is not deleted in the end, it becomes visible again by itself, and
    /// all of it is done again.
    pub(super) async fn handle(&self, message: &Message) {
        let beats = beat(&*self.queue, &message.receipt, self.settings.visibility);
        let is_done = tokio::select! {
            is_done = self.work.finish(message) => is_done,
            never = beats => match never {},
        };
        if is_done {
            // Nothing keeps the message invisible any longer: a beat of a message that is deleted would be an error.
            self.delete(message).await;
        }
    }

    async fn delete(&self, message: &Message) {
        match self.queue.delete(&message.receipt).await {
            Ok(()) => metrics::deleted(),
            Err(error) => warn!(
                message_id = message.id,
                "the message is done, but will be received again and converted to the same: {error}"
            ),
        }
    }
}

impl<Q: Queue, C: Convert> Work<Q, C> {
    /// Converts the objects of a message and sends letters about those that fail. Gives whether all of that was done.
    pub(super) async fn finish(&self, message: &Message) -> bool {
        for created in created_objects(&message.body) {
            let Err(letter) = self.created(message, created).await else { continue };
            warn!(
                message_id = message.id,
                reason = letter.reason(),
                key = letter.key(),
                "the lake gives up: {}",
                letter.error()
            );
            if let Err(error) = self.fallback.send(&letter.text()).await {
                warn!(message_id = message.id, "the message stays in its queue and will be received again: {error}");
                return false;
            }
            metrics::letter_sent();
        }
        true
    }

    /// Converts an object that a message names, if it is a raw one. The letter says why that was not possible.
    async fn created(&self, message: &Message, created: Result<Created, EventError>) -> Result<(), Letter> {
        let letter = |object, failure: Failure| {
            metrics::failed(failure.reason, Option::is_some(&object));
            Letter::new(&message.body, object, failure.reason, failure.error, message.attempts)
        };
        let Created { object, size } =
            created.map_err(|error| letter(None, Failure { reason: "unreadable", error: error.to_string() }))?;
        if !self.convert.is_raw(&object) {
            debug!(key = object.key, "this is no raw object");
            metrics::not_raw();
            return Ok(());
        }
        let converted = if message.attempts > self.max_attempts {
            Err(self.too_often(message.attempts))
        } else {
            self.convert(&object, size).await
        };
        converted.map_err(|failure| letter(Some(object), failure))
    }

    async fn convert(&self, object: &Object, size: Option<u64>) -> Result<(), Failure> {
        let started = Instant::now();
        // A conversion that panics leaves nothing that another would see.
        let converted = AssertUnwindSafe(self.convert.convert(object)).catch_unwind().await;
        let took = started.elapsed();
        match converted {
            Ok(Ok(Some(report))) => {
                log(&object.key, &report, took);
                metrics::converted(&report, size, took);
                Ok(())
            }
            Ok(Ok(None)) => {
                debug!(key = object.key, "the object was converted before");
                metrics::on_record();
                Ok(())
            }
            Ok(Err(error)) => Err(Failure { reason: error.reason(), error: error.to_string() }),
            Err(panic) => Err(Failure { reason: "panic", error: panicked(&*panic) }),
        }
    }

    fn too_often(&self, attempts: u32) -> Failure {
        let most = self.max_attempts;
        let error = format!(
            "the message was received {attempts} times, of which {most} are allowed: each time, the conversion was not \
             ended, as when its process is killed for lack of memory or its time is up, or the message could not be \
             deleted"
        );
        Failure { reason: "too-many-attempts", error }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("the conversion panicked, which is a bug: {}", text.unwrap_or("without a text"))
}

fn log(key: &str, report: &Report, took: Duration) {
    let quarantined: u64 = report.quarantined.values().sum();
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    info!(key, rows = report.rows, lines = report.lines, files = report.files, quarantined, millis, "object converted");
}

/// Keeps a message invisible while it is being handled.
async fn beat(queue: &impl Queue, receipt: &str, visibility: Duration) -> Infallible {
    loop {
        tokio::time::sleep(visibility / BEATS).await;
        if let Err(error) = queue.hide(receipt, visibility).await {
            warn!("a message may be received again while its objects are being converted: {error}");
        }
    }
}
