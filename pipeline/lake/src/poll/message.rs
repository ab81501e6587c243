//! One message, from its receipt to its deletion: its objects are converted, what fails goes to the fallback queue, and
//! only then is it deleted.

use std::any::Any;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tracing::{debug, info, warn};

use super::ages::Ages;
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
    pub ages: Ages,
}

/// What is to be done for a message, whoever receives and deletes it.
pub(super) struct Work<Q, C> {
    pub fallback: Arc<Q>,
    pub convert: C,
    /// How often a message may be received. After that, its objects go to the fallback queue.
    pub max_attempts: u32,
}

/// The pause after the first attempt that failed for a reason that may pass. Each further one is four times as long.
const PAUSE_MIN: Duration = Duration::from_secs(30);
/// The longest pause. With five attempts, half an hour passes before an object goes to the fallback queue.
const PAUSE_MAX: Duration = Duration::from_mins(15);

/// Why an object was not converted.
struct Failure {
    reason: &'static str,
    error: String,
    /// Whether another attempt may succeed.
    may_pass: bool,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finished {
    /// Its objects are converted, or are in the fallback queue.
    Done,
    /// Something could not be reached, or asked for fewer calls. The message has to be received again after that time.
    Later(Duration),
    /// A letter could not be sent. The message has to be received again.
    NotSent,
}

impl<Q: Queue, C: Convert> Handler<Q, C> {
    /// Does with a message what is to be done. If it is not deleted in the end, it becomes visible again by itself, and
    /// all of it is done again.
    pub(super) async fn handle(&self, message: &Message) {
        let _held = self.ages.hold(message);
        let beats = beat(&*self.queue, &message.receipt, self.settings.visibility);
        let finished = tokio::select! {
            finished = self.work.finish(message) => finished,
            never = beats => match never {},
        };
        // Nothing keeps the message invisible any longer: a beat of a message that is deleted would be an error.
        match finished {
            Finished::Done => self.delete(message).await,
            Finished::Later(pause) => self.postpone(message, pause).await,
            Finished::NotSent => {}
        }
    }

    async fn postpone(&self, message: &Message, pause: Duration) {
        match self.queue.hide(&message.receipt, pause).await {
            Ok(()) => self.ages.postponed(message, pause),
            Err(error) => {
                warn!(message_id = message.id, "the message may be received again earlier than in time: {error}");
            }
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
    /// Converts the objects of a message and sends letters about those that fail. While something may pass and attempts
    /// are left, no letter is sent: all objects that are not on record by then are tried again.
    pub(super) async fn finish(&self, message: &Message) -> Finished {
        let (mut failed, mut postponed) = (Vec::new(), 0);
        for created in created_objects(&message.body) {
            let Err((object, failure)) = self.created(message, created).await else { continue };
            if failure.may_pass && message.attempts < self.max_attempts {
                let (key, reason) = (object.as_ref().map(|object| &object.key), failure.reason);
                warn!(message_id = message.id, reason, key, "the object will be tried again later: {}", failure.error);
                postponed += 1;
            }
            failed.push((object, failure));
        }
        if postponed > 0 {
            metrics::postponed(postponed);
            return Finished::Later(pause(message.attempts));
        }
        for (object, Failure { reason, error, .. }) in failed {
            let key = object.as_ref().map(|object| &object.key);
            warn!(message_id = message.id, reason, key, "the lake gives up: {error}");
            metrics::failed(reason, object.is_some());
            let letter = Letter::new(&message.body, object, reason, error, message.attempts);
            if let Err(error) = self.fallback.send(&letter.text()).await {
                warn!(message_id = message.id, "the message stays in its queue and will be received again: {error}");
                return Finished::NotSent;
            }
            metrics::letter_sent();
        }
        Finished::Done
    }

    /// Converts an object that a message names, if it is a raw one. An error says why that was not possible.
    async fn created(
        &self,
        message: &Message,
        created: Result<Created, EventError>,
    ) -> Result<(), (Option<Object>, Failure)> {
        let unreadable =
            |error: EventError| Failure { reason: "unreadable", error: error.to_string(), may_pass: false };
        let Created { object, size } = created.map_err(|error| (None, unreadable(error)))?;
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
        converted.map_err(|failure| (Some(object), failure))
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
            Ok(Err(error)) => {
                Err(Failure { reason: error.reason(), error: error.to_string(), may_pass: error.may_pass() })
            }
            Err(panic) => Err(Failure { reason: "panic", error: panicked(&*panic), may_pass: false }),
        }
    }

    fn too_often(&self, attempts: u32) -> Failure {
        let most = self.max_attempts;
        let error = format!(
            "the message was received {attempts} times, of which {most} are allowed: each time, the conversion was not \
             ended, as when its process is killed for lack of memory or its time is up, or the message could not be \
             deleted"
        );
        Failure { reason: "too-many-attempts", error, may_pass: false }
    }
}

/// How long a message waits after its attempt of this number.
pub(super) fn pause(attempts: u32) -> Duration {
    PAUSE_MIN.saturating_mul(4_u32.saturating_pow(attempts.saturating_sub(1))).min(PAUSE_MAX)
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
