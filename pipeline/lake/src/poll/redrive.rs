//! From the fallback queue back to the queue: what was given up is converted again.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::time::Duration;

use regex::Regex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::letter::Fallen;
use super::queue::{Message, Queue, QueueError};
use super::{MOST, stopped};
use crate::event::created_objects;

/// Which messages go back, and how fast.
#[derive(Debug, Clone)]
pub struct Redrive {
    /// Only those whose reason and error, as `reason: error`, have a match.
    pub reason: Option<Regex>,
    /// Only those about objects whose keys begin with this.
    pub prefix: Option<String>,
    /// The most messages a second.
    pub rate: NonZeroU32,
    /// How long a message of the fallback queue is invisible to others: longer than ten messages take at the rate. If the
    /// process ends, messages that stay in the queue are visible again after this time.
    pub visibility: Duration,
    /// Nothing is sent, only counted.
    pub dry_run: bool,
}

/// What became of the messages of the fallback queue, or would become of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Redriven {
    /// Those that were sent back, by reason.
    pub sent: BTreeMap<String, u64>,
    /// Those that stay, by reason.
    pub kept: BTreeMap<String, u64>,
}

/// Sends messages of the fallback queue back until it has no more that were not seen, or `stop` is true. `progress` is
/// called after every receive.
///
/// A message is deleted only after it was sent. If the process is killed in between, it is sent twice, and its object
/// converted twice to the same files.
pub async fn redrive<Q: Queue>(
    fallback: &Q,
    queue: &Q,
    options: &Redrive,
    stop: watch::Receiver<bool>,
    mut progress: impl FnMut(&Redriven),
) -> Result<Redriven, QueueError> {
    let mut redriven = Redriven::default();
    // Messages that stay are invisible meanwhile, so that those behind them are received.
    let mut held = HashMap::new();
    let result = send_all(fallback, queue, options, stop, &mut progress, &mut redriven, &mut held).await;
    for receipt in held.values() {
        if let Err(error) = fallback.hide(receipt, Duration::ZERO).await {
            let seconds = options.visibility.as_secs();
            warn!("messages stay invisible in the fallback queue for up to {seconds} seconds: {error}");
            break;
        }
    }
    result.map(|()| redriven)
}

async fn send_all<Q: Queue>(
    fallback: &Q,
    queue: &Q,
    options: &Redrive,
    mut stop: watch::Receiver<bool>,
    progress: &mut impl FnMut(&Redriven),
    redriven: &mut Redriven,
    held: &mut HashMap<String, String>,
) -> Result<(), QueueError> {
    let pause = Duration::from_secs(1) / options.rate.get();
    let mut next = Instant::now();
    // How many messages were received since the last one that had not been seen before.
    let mut old = 0;
    loop {
        let messages = fallback.receive(MOST, options.visibility).await?;
        let received = messages.len();
        let is_new = |message: &Message| held.insert(message.id.clone(), message.receipt.clone()).is_none();
        let new: Vec<_> = messages.into_iter().filter(is_new).collect();
        old = if new.is_empty() { old + received } else { 0 };
        for message in new {
            let (reason, text) = choose(&message, options);
            let Some(text) = text else {
                *redriven.kept.entry(reason).or_default() += 1;
                continue;
            };
            if !options.dry_run {
                tokio::select! {
                    biased;
                    () = stopped(&mut stop) => return Ok(()),
                    () = sleep_until(next) => next = next.max(Instant::now()) + pause,
                }
                queue.send(&text).await?;
                fallback.delete(&message.receipt).await?;
                held.remove(&message.id);
            }
            *redriven.sent.entry(reason).or_default() += 1;
        }
        progress(redriven);
        // After a long time, those that are held appear again.
        if received == 0 || old > held.len() || *stop.borrow() {
            return Ok(());
        }
    }
}

/// The reason of a message, and what to send for it, if it is to be sent.
fn choose(message: &Message, options: &Redrive) -> (String, Option<String>) {
    let (reason, said, keys, text) = match Fallen::read(&message.body) {
        Fallen::Letter(letter) => {
            let said = format!("{}: {}", letter.reason(), letter.error());
            (letter.reason().to_owned(), said, letter.key().map(str::to_owned).into_iter().collect(), letter.again())
        }
        Fallen::Newer => return ("written by a later version".to_owned(), None),
        Fallen::Other => {
            let keys: Vec<_> =
                created_objects(&message.body).into_iter().flatten().map(|created| created.object.key).collect();
            ("not said".to_owned(), String::new(), keys, message.body.clone())
        }
    };
    let matches = options.reason.as_ref().is_none_or(|reason| reason.is_match(&said))
        && options.prefix.as_ref().is_none_or(|prefix| keys.iter().any(|key| key.starts_with(prefix)));
    (reason, matches.then_some(text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::letter::Letter;
    use super::super::testing::{Done, Fake, LONG};
    use super::*;
    use crate::event::event_of;
    use crate::quarantine::Object;

    fn object(key: &str) -> Object {
        Object { bucket: "raw".into(), key: key.into(), version_id: None }
    }

    fn letter(key: &str, reason: &str) -> String {
        Letter::new("{}", Some(object(key)), reason, format!("{reason} of {key}"), 1).text()
    }

    fn all() -> Redrive {
        Redrive { reason: None, prefix: None, rate: NonZeroU32::MAX, visibility: LONG, dry_run: false }
    }

    fn fallen() -> Fake {
        let other = event_of(&object("topics/d"));
        Fake::new(&[&letter("topics/a", "read"), &letter("other/b", "read"), &letter("topics/c", "publish"), &other])
    }

    async fn run(fallback: &Fake, main: &Fake, options: &Redrive) -> Redriven {
        let (_go_on, stop) = watch::channel(false);
        redrive(fallback, main, options, stop, |_| {}).await.expect("queues that answer")
    }

    fn keys(main: &Fake) -> Vec<String> {
        let sent = main.sent();
        let objects = sent.iter().flat_map(|text| created_objects(text));
        objects.map(|created| created.expect("an event").object.key).collect()
    }

    fn counts<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
        counts.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect()
    }

    #[tokio::test]
    async fn everything_goes_back_and_is_deleted() {
        let (fallback, main) = (fallen(), Fake::new(&[]));
        let redriven = run(&fallback, &main, &all()).await;
        assert_eq!(redriven.sent, counts([("read", 2), ("publish", 1), ("not said", 1)]));
        assert_eq!(keys(&main), ["topics/a", "other/b", "topics/c", "topics/d"]);
        assert_eq!(fallback.len(), 0);
    }

    #[tokio::test]
    async fn only_what_was_chosen_goes_back_and_the_rest_is_visible_again() {
        let (fallback, main) = (fallen(), Fake::new(&[]));
        let options = Redrive { reason: Regex::new("^read: .* of").ok(), prefix: Some("topics/".into()), ..all() };
        let redriven = run(&fallback, &main, &options).await;
        assert_eq!(redriven.sent, counts([("read", 1)]));
        assert_eq!(redriven.kept, counts([("read", 1), ("publish", 1), ("not said", 1)]));
        assert_eq!(keys(&main), ["topics/a"]);
        assert_eq!(fallback.visible().len(), 3);
        let options = Redrive { prefix: Some("topics/".into()), ..all() };
        run(&fallback, &main, &options).await;
        assert_eq!(keys(&main), ["topics/a", "topics/c", "topics/d"]);
    }

    #[tokio::test]
    async fn more_than_one_receive_holds_is_seen_once() {
        let letters: Vec<_> = (0..35).map(|number| letter(&format!("topics/{number}"), "read")).collect();
        let fallback = Fake::new(&letters.iter().map(String::as_str).collect::<Vec<_>>());
        let main = Fake::new(&[]);
        let redriven = run(&fallback, &main, &Redrive { dry_run: true, ..all() }).await;
        assert_eq!((redriven.sent, main.len()), (counts([("read", 35)]), 0));
        assert_eq!(fallback.visible().len(), 35);
        let redriven = run(&fallback, &main, &Redrive { prefix: Some("topics/1".into()), ..all() }).await;
        assert_eq!((redriven.sent, redriven.kept), (counts([("read", 11)]), counts([("read", 24)])));
    }

    #[tokio::test]
    async fn a_message_is_deleted_only_after_it_was_sent() {
        let (fallback, main) = (fallen(), Fake::new(&[]));
        main.broken(true);
        let (_go_on, stop) = watch::channel(false);
        let error = redrive(&fallback, &main, &all(), stop, |_| {}).await.expect_err("a queue that does not answer");
        assert_eq!(error.to_string(), "cannot use fake: it is broken");
        assert!(!fallback.done().iter().any(|done| matches!(done, Done::Deleted(_))));
        assert_eq!(fallback.visible().len(), 4);
    }

    #[tokio::test]
    async fn a_letter_of_a_later_version_stays() {
        let newer = json!({"version": 2, "reason": "read", "found": []}).to_string();
        let (fallback, main) = (Fake::new(&[&newer]), Fake::new(&[]));
        let redriven = run(&fallback, &main, &all()).await;
        assert_eq!((redriven.kept.values().sum::<u64>(), main.len()), (1, 0));
        assert_eq!(fallback.visible(), [newer]);
    }

    #[tokio::test]
    async fn it_stops_between_two_messages() {
        let (fallback, main) = (fallen(), Fake::new(&[]));
        let (go_on, stop) = watch::channel(false);
        go_on.send_replace(true);
        redrive(&fallback, &main, &all(), stop, |_| {}).await.expect("queues that answer");
        assert_eq!((fallback.visible().len(), main.len()), (4, 0));
    }
}
