//! How old the oldest messages of both queues are, as far as a poller knows, which SQS itself tells to `CloudWatch` only.
//!
//! The ages grow while nothing is heard from a queue: a poller that is busy or cut off does not show the age of better
//! days.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::queue::Message;

/// What is known of the messages of both queues. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Ages(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// When the messages that are being handled were sent, by their receipts.
    held: HashMap<String, SystemTime>,
    /// When the messages that wait for another attempt were sent, and until when they are invisible, by their ids.
    postponed: HashMap<String, (SystemTime, SystemTime)>,
    /// When a receive was answered last. A message that nobody has seen was sent after that, or was not the first.
    answered: Option<SystemTime>,
    /// Whether the last receive failed.
    is_unreadable: bool,
    letters: Letters,
}

/// The messages of the fallback queue.
#[derive(Debug, Default, Clone, Copy)]
enum Letters {
    #[default]
    Unknown,
    None,
    /// The oldest one that was seen was sent then.
    Since(SystemTime),
}

/// A message that is being handled, until this is dropped.
pub(super) struct Held {
    ages: Ages,
    receipt: String,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.ages.change(|state| state.held.remove(&self.receipt));
    }
}

impl Ages {
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that a receive was answered with these messages, or that it failed.
    pub fn received(&self, messages: Option<&[Message]>, now: SystemTime) {
        self.change(|state| {
            state.is_unreadable = messages.is_none();
            // Before the first answer, what waits is as old as the poller at least.
            if messages.is_some() || state.answered.is_none() {
                state.answered = Some(now);
            }
            for message in messages.unwrap_or_default() {
                state.postponed.remove(&message.id);
            }
        });
    }

    /// Notes that a message is being handled.
    pub fn hold(&self, message: &Message) -> Held {
        let sent = message.sent.unwrap_or_else(SystemTime::now);
        self.change(|state| state.held.insert(message.receipt.clone(), sent));
        Held { ages: self.clone(), receipt: message.receipt.clone() }
    }

    /// Notes that a message is invisible for as long as `pause`, and then waits to be received by any poller.
    pub fn postponed(&self, message: &Message, pause: Duration) {
        let now = SystemTime::now();
        let sent = message.sent.unwrap_or(now);
        self.change(|state| state.postponed.insert(message.id.clone(), (sent, now + pause)));
    }

    /// Notes the messages of the fallback queue that were seen, of which there are none if it is empty.
    pub fn letters(&self, seen: &[Message]) {
        let oldest = seen.iter().filter_map(|message| message.sent).min();
        self.change(|state| state.letters = oldest.map_or(Letters::None, Letters::Since));
    }

    /// The age of the oldest message that waits or is being handled.
    pub fn oldest_message(&self, now: SystemTime) -> Duration {
        self.change(|state| {
            state.postponed.retain(|_, (_, until)| *until > now);
            let postponed = state.postponed.values().map(|(sent, _)| *sent);
            let unseen = state.answered.filter(|_| state.is_unreadable);
            let sent = state.held.values().copied().chain(postponed).chain(unseen).min();
            sent.map_or(Duration::ZERO, |sent| age(sent, now))
        })
    }

    /// The age of the oldest message of the fallback queue; zero if there is none. `None` if the queue was never read.
    pub fn oldest_letter(&self, now: SystemTime) -> Option<Duration> {
        match self.change(|state| state.letters) {
            Letters::Unknown => None,
            Letters::None => Some(Duration::ZERO),
            Letters::Since(sent) => Some(age(sent, now)),
        }
    }
}

/// The age of the oldest of these messages; zero if there is none.
pub(super) fn oldest(messages: &[Message], now: SystemTime) -> Duration {
    messages.iter().filter_map(|message| message.sent).min().map_or(Duration::ZERO, |sent| age(sent, now))
}

/// Clocks may differ a little, so a message may seem to come from the future.
fn age(sent: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(sent).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    fn message(id: &str, sent: u64) -> Message {
        Message { id: id.into(), body: String::new(), receipt: format!("r{id}"), attempts: 1, sent: Some(at(sent)) }
    }

    fn oldest(ages: &Ages, now: u64) -> u64 {
        ages.oldest_message(at(now)).as_secs()
    }

    #[test]
    fn a_message_ages_while_it_is_handled_and_no_longer() {
        let ages = Ages::default();
        let messages = [message("a", 10), message("b", 20)];
        ages.received(Some(&messages), at(30));
        let [a, b] = messages.each_ref().map(|message| ages.hold(message));
        assert_eq!((oldest(&ages, 30), oldest(&ages, 700)), (20, 690));
        drop(a);
        assert_eq!(oldest(&ages, 700), 680);
        drop(b);
        assert_eq!(oldest(&ages, 700), 0);
    }

    #[test]
    fn while_the_queue_cannot_be_read_the_age_grows_from_the_last_answer_on() {
        let ages = Ages::default();
        ages.received(Some(&[]), at(100));
        assert_eq!(oldest(&ages, 130), 0, "nothing waits");
        ages.received(None, at(140));
        ages.received(None, at(200));
        assert_eq!(oldest(&ages, 900), 800);
        ages.received(Some(&[]), at(900));
        assert_eq!(oldest(&ages, 900), 0);

        let never_read = Ages::default();
        never_read.received(None, at(50));
        never_read.received(None, at(60));
        assert_eq!(oldest(&never_read, 100), 50);
    }

    #[test]
    fn a_message_that_was_postponed_ages_until_it_can_be_received_by_any_poller() {
        let ages = Ages::default();
        let now = SystemTime::now();
        let before = Message { sent: Some(now - Duration::from_mins(20)), ..message("a", 0) };
        ages.postponed(&before, Duration::from_mins(1));
        let age = ages.oldest_message(now + Duration::from_secs(30));
        assert_eq!(age, Duration::from_secs(20 * 60 + 30));
        assert_eq!(ages.oldest_message(now + Duration::from_mins(2)), Duration::ZERO, "whoever receives it knows it");
        ages.postponed(&before, Duration::from_mins(1));
        ages.received(Some(&[before]), now);
        assert_eq!(ages.oldest_message(now), Duration::ZERO);
    }

    #[test]
    fn letters_age_until_the_fallback_queue_is_empty() {
        let ages = Ages::default();
        assert_eq!(ages.oldest_letter(at(100)), None);
        ages.letters(&[message("b", 30), message("a", 20)]);
        assert_eq!(ages.oldest_letter(at(100)), Some(Duration::from_secs(80)));
        ages.letters(&[]);
        assert_eq!(ages.oldest_letter(at(100)), Some(Duration::ZERO));
    }
}
