//! A queue in memory for tests, which notes what is done with it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::queue::{Depth, Message, Queue, QueueError};

/// How long a receive waits for a message.
const WAIT: Duration = Duration::from_millis(20);
/// How long nothing takes that goes well.
pub(super) const LONG: Duration = Duration::from_mins(1);

/// What was done with a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Done {
    Receive,
    Hidden(String, Duration),
    Deleted(String),
    Sent(String),
}

#[derive(Debug, Default)]
struct State {
    messages: Vec<Entry>,
    done: Vec<Done>,
    broken: bool,
    patient: bool,
    sent: usize,
}

#[derive(Debug)]
struct Entry {
    id: String,
    body: String,
    attempts: u32,
    visible_from: Instant,
    sent: SystemTime,
}

/// A queue whose clones are the same queue. The receipt of a message is its id.
#[derive(Debug, Clone)]
pub(super) struct Fake {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<()>,
}

impl Fake {
    pub fn new(bodies: &[&str]) -> Self {
        let fake = Self { state: Arc::default(), changed: watch::Sender::new(()) };
        for body in bodies {
            fake.put(body);
        }
        fake
    }

    fn state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let answer = change(&mut self.state.lock().expect("no test panics while it holds this"));
        self.changed.send_replace(());
        answer
    }

    /// Puts a message into the queue. Ids are numbers from 0.
    pub fn put(&self, body: &str) {
        self.state(|state| {
            let id = state.sent.to_string();
            state.sent += 1;
            let (visible_from, sent) = (Instant::now(), SystemTime::now());
            state.messages.push(Entry { id, body: body.to_owned(), attempts: 0, visible_from, sent });
        });
    }

    /// From now on messages were received that often already.
    pub fn received_before(&self, attempts: u32) {
        self.state(|state| state.messages.iter_mut().for_each(|message| message.attempts = attempts));
    }

    /// The messages were sent that much earlier.
    pub fn sent_before(&self, age: Duration) {
        self.state(|state| state.messages.iter_mut().for_each(|message| message.sent -= age));
    }

    /// From now on all messages are visible, however long they were to be hidden.
    pub fn reveal(&self) {
        self.state(|state| state.messages.iter_mut().for_each(|message| message.visible_from = Instant::now()));
    }

    /// From now on the queue answers nothing but errors, or all is well again.
    pub fn broken(&self, broken: bool) {
        self.state(|state| state.broken = broken);
    }

    /// From now on a receive waits until there is a message.
    pub fn patient(self) -> Self {
        self.state(|state| state.patient = true);
        self
    }

    pub fn done(&self) -> Vec<Done> {
        self.state.lock().expect("no test panics while it holds this").done.clone()
    }

    pub fn sent(&self) -> Vec<String> {
        self.done().into_iter().filter_map(|done| if let Done::Sent(body) = done { Some(body) } else { None }).collect()
    }

    /// The texts of the messages that can be received.
    pub fn visible(&self) -> Vec<String> {
        let now = Instant::now();
        let state = self.state.lock().expect("no test panics while it holds this");
        state.messages.iter().filter(|entry| entry.visible_from <= now).map(|entry| entry.body.clone()).collect()
    }

    pub fn len(&self) -> usize {
        self.state.lock().expect("no test panics while it holds this").messages.len()
    }

    /// Waits until what was done with the queue is as wanted.
    pub async fn until(&self, what: &str, mut wanted: impl FnMut(&Self) -> bool) {
        let mut changed = self.changed.subscribe();
        let waiting = async {
            while !wanted(self) {
                changed.changed().await.expect("the sender is in this queue");
            }
        };
        timeout(LONG, waiting).await.unwrap_or_else(|_| panic!("not {what}: {:?}", self.done()));
    }

    fn call<T>(&self, call: impl FnOnce(&mut State) -> T) -> Result<T, QueueError> {
        self.state(|state| {
            if state.broken {
                return Err(QueueError { doing: "use", queue: "fake".into(), error: "it is broken".into() });
            }
            Ok(call(state))
        })
    }

    fn take(&self, most: usize, visibility: Duration) -> Result<Vec<Message>, QueueError> {
        let now = Instant::now();
        self.call(|state| {
            let visible = state.messages.iter_mut().filter(|entry| entry.visible_from <= now).take(most);
            visible
                .map(|entry| {
                    entry.visible_from = now + visibility;
                    entry.attempts += 1;
                    Message {
                        id: entry.id.clone(),
                        body: entry.body.clone(),
                        receipt: entry.id.clone(),
                        attempts: entry.attempts,
                        sent: Some(entry.sent),
                    }
                })
                .collect()
        })
    }
}

impl Queue for Fake {
    async fn receive(&self, most: usize, visibility: Duration) -> Result<Vec<Message>, QueueError> {
        let wait = self.call(|state| {
            state.done.push(Done::Receive);
            if state.patient { LONG } else { WAIT }
        })?;
        let end = Instant::now() + wait;
        let mut changed = self.changed.subscribe();
        loop {
            // Of what others change, only a new message matters; looking for one changes something itself.
            let sent = self.state.lock().expect("no test panics while it holds this").sent;
            let taken = self.take(most, visibility)?;
            let another = changed.wait_for(|()| self.state.lock().is_ok_and(|state| state.sent > sent));
            if !taken.is_empty() || timeout_at(end, another).await.is_err() {
                return Ok(taken);
            }
        }
    }

    async fn hide(&self, receipt: &str, visibility: Duration) -> Result<(), QueueError> {
        self.call(|state| {
            state.done.push(Done::Hidden(receipt.to_owned(), visibility));
            for entry in state.messages.iter_mut().filter(|entry| entry.id == receipt) {
                entry.visible_from = Instant::now() + visibility;
            }
        })
    }

    async fn delete(&self, receipt: &str) -> Result<(), QueueError> {
        self.call(|state| {
            state.done.push(Done::Deleted(receipt.to_owned()));
            state.messages.retain(|entry| entry.id != receipt);
        })
    }

    async fn send(&self, body: &str) -> Result<(), QueueError> {
        self.call(|state| state.done.push(Done::Sent(body.to_owned())))?;
        self.put(body);
        Ok(())
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        self.call(|state| Depth { visible: state.messages.len() as u64, ..Depth::default() })
    }
}
