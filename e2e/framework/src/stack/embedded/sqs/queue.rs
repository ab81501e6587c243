//! One queue: its messages, and when each of them can be received. Every function is given the time.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::attributes::Attributes;
use super::settings::Settings;
use crate::stack::QueueDepth;

#[derive(Debug)]
pub(super) struct Queue {
    pub settings: Settings,
    pub created: SystemTime,
    pub modified: SystemTime,
    pub purged: Option<Instant>,
    /// The messages, by their number.
    pub messages: BTreeMap<u64, Message>,
}

#[derive(Debug, Clone)]
pub(super) struct Message {
    pub body: String,
    pub attributes: Attributes,
    pub sent: SystemTime,
    pub first_received: Option<SystemTime>,
    /// How often it was received. Its latest receipt handle has this number.
    pub receives: u32,
    /// The queue from which it was moved here because it was received too often.
    pub source: Option<String>,
    sent_at: Instant,
    visible_from: Instant,
}

/// What a receive takes from a queue.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// The numbers of the messages that are received.
    pub received: Vec<u64>,
    /// The messages that were received too often before. They are no longer in the queue.
    pub dead: Vec<(u64, Message)>,
}

impl Queue {
    pub(super) fn new(settings: Settings) -> Self {
        let now = SystemTime::now();
        Self { settings, created: now, modified: now, purged: None, messages: BTreeMap::new() }
    }

    /// Adds a message, which can be received after `delay`.
    pub(super) fn put(&mut self, number: u64, body: &str, attributes: &Attributes, delay: Duration, now: Instant) {
        let message = Message {
            body: body.to_owned(),
            attributes: attributes.clone(),
            sent: SystemTime::now(),
            first_received: None,
            receives: 0,
            source: None,
            sent_at: now,
            visible_from: now + delay,
        };
        self.messages.insert(number, message);
    }

    /// Adds a message that was received too often from the queue `source`. Its time in this queue counts from when it
    /// was sent.
    pub(super) fn put_dead(&mut self, number: u64, mut message: Message, source: &str, now: Instant) {
        message.source = Some(source.to_owned());
        message.visible_from = now;
        self.messages.insert(number, message);
    }

    /// Receives at most `max` of the visible messages, and hides each for the time `hide`. A message that was received
    /// `max_receives` times already is not received but taken out.
    pub(super) fn take(&mut self, max: usize, hide: Duration, max_receives: Option<u32>, now: Instant) -> Taken {
        self.expire(now);
        let mut received = Vec::new();
        let mut dead = Vec::new();
        for (number, message) in self.messages.iter_mut().filter(|(_, message)| message.visible_from <= now) {
            if received.len() == max {
                break;
            }
            if max_receives.is_some_and(|most| message.receives >= most) {
                dead.push(*number);
                continue;
            }
            message.receives += 1;
            message.first_received.get_or_insert_with(SystemTime::now);
            message.visible_from = now + hide;
            received.push(*number);
        }
        let dead = dead.into_iter().filter_map(|number| Some((number, self.messages.remove(&number)?))).collect();
        Taken { received, dead }
    }

    /// The message that was received with this number of its receives, if it has not been received again since then.
    pub(super) fn held(&mut self, number: u64, receives: u32, now: Instant) -> Option<&mut Message> {
        self.expire(now);
        self.messages.get_mut(&number).filter(|message| message.receives == receives)
    }

    /// When the next of the hidden messages becomes visible.
    pub(super) fn next_visible(&self, now: Instant) -> Option<Instant> {
        self.messages.values().map(|message| message.visible_from).filter(|at| *at > now).min()
    }

    pub(super) fn depth(&mut self, now: Instant) -> QueueDepth {
        self.expire(now);
        let mut depth = QueueDepth::default();
        for message in self.messages.values() {
            let count = match message {
                _ if message.visible_from <= now => &mut depth.visible,
                _ if message.receives > 0 => &mut depth.in_flight,
                _ => &mut depth.delayed,
            };
            *count += 1;
        }
        depth
    }

    pub(super) fn bodies(&mut self, now: Instant) -> Vec<String> {
        self.expire(now);
        self.messages.values().map(|message| message.body.clone()).collect()
    }

    fn expire(&mut self, now: Instant) {
        let retention = seconds(self.settings.retention);
        self.messages.retain(|_, message| now < message.sent_at + retention);
    }
}

impl Message {
    /// Hides the message, which has been received, for another time. It returns false if it is visible already.
    pub(super) fn hide(&mut self, time: Duration, now: Instant) -> bool {
        let is_in_flight = self.visible_from > now;
        if is_in_flight {
            self.visible_from = now + time;
        }
        is_in_flight
    }
}

/// A number of seconds as attributes have it.
pub(super) fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

/// The time since the Unix epoch.
pub(super) fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const HIDE: Duration = Duration::from_secs(30);

    /// A queue with the messages 1 and 2, and the time when they were sent.
    fn queue() -> (Queue, Instant) {
        let now = Instant::now();
        let mut queue = Queue::new(Settings::default());
        queue.put(1, "one", &Attributes::new(), Duration::ZERO, now);
        queue.put(2, "two", &Attributes::new(), seconds(10), now);
        (queue, now)
    }

    fn depth(visible: u64, in_flight: u64, delayed: u64) -> QueueDepth {
        QueueDepth { visible, in_flight, delayed }
    }

    #[test]
    fn a_message_is_hidden_by_its_delay_and_by_each_receive() {
        let (mut queue, sent) = queue();
        assert_eq!(queue.depth(sent), depth(1, 0, 1));
        assert_eq!(queue.take(10, HIDE, None, sent).received, [1]);
        assert_eq!(queue.depth(sent), depth(0, 1, 1));
        assert_eq!(queue.next_visible(sent), Some(sent + seconds(10)));
        assert_eq!(queue.take(10, HIDE, None, sent + seconds(10)).received, [2]);
        let before = (sent + HIDE).checked_sub(Duration::from_millis(1)).unwrap();
        assert_eq!(queue.take(10, HIDE, None, before).received, [0; 0]);
        assert_eq!(queue.take(10, HIDE, None, sent + HIDE).received, [1]);
        assert_eq!(queue.messages[&1].receives, 2);
        assert_eq!(queue.bodies(sent), ["one", "two"]);
    }

    #[test]
    fn only_the_latest_receive_holds_a_message() {
        let (mut queue, sent) = queue();
        queue.take(1, HIDE, None, sent);
        assert!(queue.held(1, 1, sent + HIDE).is_some(), "it is held until it is received again");
        queue.take(1, HIDE, None, sent + HIDE);
        assert!(queue.held(1, 1, sent + HIDE).is_none());
        let held = queue.held(1, 2, sent + HIDE).unwrap();
        assert!(held.hide(Duration::ZERO, sent + HIDE) && !held.hide(HIDE, sent + HIDE));
    }

    #[test]
    fn a_message_that_was_received_too_often_is_taken_out() {
        let (mut queue, sent) = queue();
        for receive in 0..2 {
            assert_eq!(queue.take(1, HIDE, Some(2), sent + HIDE * receive).received, [1]);
        }
        let taken = queue.take(1, HIDE, Some(2), sent + HIDE * 2);
        assert_eq!((taken.received, taken.dead[0].0, taken.dead[0].1.receives), (vec![2], 1, 2));
        assert_eq!(queue.bodies(sent), ["two"]);
    }

    #[test]
    fn a_message_is_kept_for_the_retention_period() {
        let (mut queue, sent) = queue();
        let retention = seconds(queue.settings.retention);
        assert_eq!(queue.bodies(sent + retention - seconds(1)), ["one", "two"]);
        assert_eq!(queue.depth(sent + retention), depth(0, 0, 0));
    }
}
