//! The poller: messages of a queue name raw objects, which are converted one after another; nothing is lost that could
//! not be.
//!
//! A message is deleted when all of its raw objects were converted or are in the fallback queue. Until then it is kept
//! invisible, so that no other poller receives it. If the process ends in between, the message becomes visible again by
//! itself and its objects are converted once more, which gives the same files.

mod ages;
mod batch;
mod health;
mod letter;
mod message;
mod metrics;
mod queue;
mod raws;
mod redrive;
mod sqs;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::{self, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, error, info, warn};

use self::ages::Ages;
use self::message::{Handler, Work};
use crate::object::{ObjectError, Report};
use crate::quarantine::Object;

pub use self::batch::Batch;
pub use self::health::Health;
pub use self::queue::{Depth, Message, Queue, QueueError};
pub use self::raws::Raws;
pub use self::redrive::{Redrive, Redriven, redrive};
pub use self::sqs::Sqs;

/// The most messages that SQS gives at a time.
const MOST: usize = 10;
/// The pause after a receive that failed, apart from the retries of the queue itself.
const PAUSE: Duration = Duration::from_secs(1);
/// How long messages may take to become visible again in the end.
const RETURNING: Duration = Duration::from_secs(5);
/// How often the queues are asked how many messages they have. The numbers are about a minute old in SQS itself.
const MEASURE_INTERVAL: Duration = Duration::from_secs(30);
/// How often the ages of messages are brought up to date.
const AGES_INTERVAL: Duration = Duration::from_secs(5);

/// What is done with the objects that messages name.
pub trait Convert: Send + Sync + 'static {
    /// Whether an object is a raw one. There is nothing to do for others.
    fn is_raw(&self, object: &Object) -> bool;

    /// Converts a raw object. `None` if it is on record that this was done already. It is called for as many objects at
    /// a time as the settings say.
    fn convert(&self, object: &Object) -> impl Future<Output = Result<Option<Report>, ObjectError>> + Send;
}

/// How messages are handled.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many messages are handled at a time, each of which has its objects converted one after another.
    pub at_a_time: usize,
    /// How long a message is invisible to others if the process ends. While it is being handled, that is extended.
    pub visibility: Duration,
    /// How often a message may be received. After that, its objects go to the fallback queue.
    pub max_attempts: u32,
    /// How long messages under way may take after the poller was told to stop.
    pub shutdown_limit: Duration,
}

/// How a poller ended that was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Messages that are visible again: those that were under way when the time was up, and those that came when it
    /// was told to stop.
    pub returned: usize,
}

/// Receives messages until it is told to stop.
pub struct Poll<Q, C> {
    handler: Arc<Handler<Q, C>>,
    health: Health,
}

impl<Q, C> fmt::Debug for Poll<Q, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poll").field("settings", &self.handler.settings).finish_non_exhaustive()
    }
}

impl<Q: Queue, C: Convert> Poll<Q, C> {
    /// A poller of `queue` that puts what it cannot do into `fallback`. The metrics' recorder must be there already.
    pub fn new(queue: Q, fallback: Q, convert: C, settings: Settings) -> Self {
        metrics::describe();
        let (queue, fallback) = (Arc::new(queue), Arc::new(fallback));
        let work = Work { fallback, convert, max_attempts: settings.max_attempts };
        let handler = Handler { queue, work, settings, ages: Ages::default() };
        Self { handler: Arc::new(handler), health: Health::default() }
    }

    /// Whether messages are received.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Receives and handles messages until `stop` is true, and then waits for those under way as long as the settings
    /// allow. What is not done then becomes visible again at once.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) -> Stopped {
        let Settings { at_a_time, shutdown_limit, .. } = self.handler.settings;
        let mut under_way = UnderWay::default();
        let mut returned = 0;
        let mut deadline = None;
        while deadline.is_none() {
            under_way.reap();
            let free = at_a_time.max(1).saturating_sub(under_way.len());
            if free == 0 {
                tokio::select! {
                    () = stopped(&mut stop) => deadline = Some(Instant::now() + shutdown_limit),
                    () = under_way.one_ended() => {}
                }
                continue;
            }
            let messages;
            (messages, deadline) = self.receive(free.min(MOST), &mut stop).await;
            if deadline.is_some() {
                returned += self.put_back(messages.into_iter().map(|message| message.receipt)).await;
            } else {
                for message in messages {
                    under_way.start(Arc::clone(&self.handler), message);
                }
            }
        }
        let deadline = deadline.unwrap_or_else(Instant::now);
        info!(messages = under_way.len(), "the poller stops: it receives nothing more and ends what is under way");
        while under_way.len() > 0 && timeout_at(deadline, under_way.one_ended()).await.is_ok() {}
        returned += self.put_back(under_way.abort().await.into_iter()).await;
        Stopped { returned }
    }

    /// Gives messages, and if the poller was told to stop meanwhile, the time by which all has to end. A receive that
    /// is under way then is not given up: messages that are on their way would stay invisible for long.
    async fn receive(&self, most: usize, stop: &mut watch::Receiver<bool>) -> (Vec<Message>, Option<Instant>) {
        let Settings { visibility, shutdown_limit, .. } = self.handler.settings;
        let at_once = |stop: &watch::Receiver<bool>| stop.borrow().then(|| Instant::now() + shutdown_limit);
        if let Some(deadline) = at_once(stop) {
            return (Vec::new(), Some(deadline));
        }
        let mut receive = pin!(self.handler.queue.receive(most, visibility));
        let (received, deadline) = tokio::select! {
            biased;
            received = &mut receive => (received, at_once(stop)),
            () = stopped(stop) => {
                let deadline = Instant::now() + shutdown_limit;
                (timeout_at(deadline, receive).await.unwrap_or_else(|_| Ok(Vec::new())), Some(deadline))
            }
        };
        match received {
            Ok(messages) => {
                metrics::received(&messages);
                self.handler.ages.received(Some(&messages), SystemTime::now());
                if self.health.note(None) {
                    info!("the queue can be read again");
                }
                (messages, deadline)
            }
            Err(problem) => {
                self.handler.ages.received(None, SystemTime::now());
                if self.health.note(Some(problem.to_string())) {
                    error!("no message is received, and that is tried again without end: {problem}");
                }
                if deadline.is_none() {
                    // If it is time to stop, the next call notices.
                    let _ = timeout(PAUSE, stopped(stop)).await;
                }
                (Vec::new(), deadline)
            }
        }
    }

    /// Makes messages visible again, all of them at a time. Gives how many are.
    async fn put_back(&self, receipts: impl Iterator<Item = String>) -> usize {
        let queue = &self.handler.queue;
        let put_back = receipts.map(async |receipt| match queue.hide(&receipt, Duration::ZERO).await {
            Ok(()) => {
                metrics::returned();
                true
            }
            Err(problem) => {
                warn!("a message stays invisible for as long as it was to be: {problem}");
                false
            }
        });
        let Ok(put_back) = timeout(RETURNING, join_all(put_back)).await else {
            warn!("the queue did not answer in time, so messages stay invisible for as long as they were to be");
            return 0;
        };
        put_back.into_iter().filter(|visible| *visible).count()
    }

    /// Looks again and again at how many messages both queues have and how old they are, for the metrics.
    pub async fn measure(&self) -> Infallible {
        tokio::select! {
            never = self.measure_depths() => match never {},
            never = self.show_ages() => match never {},
        }
    }

    async fn measure_depths(&self) -> Infallible {
        let mut is_told = false;
        loop {
            for (name, queue) in [("main", &self.handler.queue), ("fallback", &self.handler.work.fallback)] {
                let depth = match queue.depth().await {
                    Ok(depth) => depth,
                    Err(problem) => {
                        debug!("the number of messages is not known: {problem}");
                        continue;
                    }
                };
                metrics::depth(name, depth);
                if name == "fallback" && depth.has_redrive_policy {
                    if !std::mem::replace(&mut is_told, true) {
                        warn!(
                            "how old the messages of the fallback queue are is not known, for it has a redrive policy, \
                             and whoever looks at them receives them"
                        );
                    }
                } else if name == "fallback" {
                    self.look_at_letters(depth).await;
                }
            }
            sleep(MEASURE_INTERVAL).await;
        }
    }

    /// Finds the oldest messages of the fallback queue. They stay visible to everybody.
    async fn look_at_letters(&self, depth: Depth) {
        let Depth { visible, in_flight, delayed, .. } = depth;
        if visible > 0 {
            match self.handler.work.fallback.receive(MOST, Duration::ZERO).await {
                // SQS may give nothing although there is something.
                Ok(seen) if seen.is_empty() => {}
                Ok(seen) => self.handler.ages.letters(&seen),
                Err(problem) => debug!("the age of the messages of the fallback queue is not known: {problem}"),
            }
        } else if in_flight + delayed == 0 {
            self.handler.ages.letters(&[]);
        }
    }

    async fn show_ages(&self) -> Infallible {
        loop {
            let (now, ages) = (SystemTime::now(), &self.handler.ages);
            metrics::oldest("main", ages.oldest_message(now));
            if let Some(age) = ages.oldest_letter(now) {
                metrics::oldest("fallback", age);
            }
            sleep(AGES_INTERVAL).await;
        }
    }
}

/// Is ready when the flag is true. Without a sender that never happens.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The messages that are being handled.
#[derive(Default)]
struct UnderWay {
    tasks: JoinSet<()>,
    receipts: HashMap<task::Id, String>,
}

impl UnderWay {
    fn len(&self) -> usize {
        self.receipts.len()
    }

    fn start<Q: Queue, C: Convert>(&mut self, handler: Arc<Handler<Q, C>>, message: Message) {
        let receipt = message.receipt.clone();
        let started = self.tasks.spawn(async move { handler.handle(&message).await });
        self.receipts.insert(started.id(), receipt);
        metrics::under_way(self.len());
    }

    /// Forgets those that have ended.
    fn reap(&mut self) {
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            self.ended(ended);
        }
    }

    /// Waits until one has ended, if there is one.
    async fn one_ended(&mut self) {
        if let Some(ended) = self.tasks.join_next_with_id().await {
            self.ended(ended);
        }
    }

    fn ended(&mut self, ended: Result<(task::Id, ()), task::JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(panic) => {
                error!(
                    "the handling of a message has ended by itself, and the message will be received again: {panic}"
                );
                panic.id()
            }
        };
        self.receipts.remove(&id);
        metrics::under_way(self.len());
    }

    /// Ends the handling of all messages, so that none is kept invisible any longer, and gives their receipts. Threads
    /// that convert go on until the process ends, but nothing follows from what they do.
    async fn abort(&mut self) -> Vec<String> {
        self.tasks.abort_all();
        let mut receipts = Vec::new();
        while let Some(ended) = self.tasks.join_next_with_id().await {
            match ended {
                Err(error) if error.is_cancelled() => receipts.extend(self.receipts.remove(&error.id())),
                ended => self.ended(ended),
            }
        }
        receipts
    }
}
