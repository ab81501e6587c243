//! What is to be sent is sent, in its order, by one sender at a time.
//!
//! - That a message is begun is kept before it is sent, and that it is done afterwards. So nothing is lost with a
//!   sender that ends in between, and who sends it again knows that it may be there already, and says so in it.
//! - A sender has the right to send for as long as a call can take, and renews it with each message. Another one waits
//!   until everything is sent, or until the right has lapsed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::bail;
use fms_query::program::say;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep, sleep_until};

use crate::config::Config;
use crate::message::{self, addressee};
use crate::slack::{Sent, Slack, TIMEOUT, To};
use crate::state::{Item, State, What};
use crate::store::{Store, Version};

/// For how long a sender has the right to send: longer than the calls for one message, which are two at most.
const LEASE: Duration = TIMEOUT.saturating_mul(3);
/// Slack takes a message a second in each channel.
const PACE: Duration = Duration::from_millis(1100);
/// The longest that Slack may ask to wait.
const LONGEST_WAIT: Duration = Duration::from_mins(5);
/// How often a message is sent of which it is not known whether it has arrived, and the waits in between.
const ATTEMPTS: u32 = 3;
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(2);
/// How often a sender that waits looks whether another one has sent everything.
const LOOK: Duration = Duration::from_millis(300);

/// Sends everything that is to be sent, and gives how many messages that were. An error says what was not sent; it is
/// kept for the next time.
pub(crate) async fn deliver(store: &Store, config: &Config) -> anyhow::Result<usize> {
    let mut sender = Sender {
        store,
        config,
        slack: None,
        name: format!("{:016x}", fastrand::u64(..)),
        last: BTreeMap::new(),
        passed_over: BTreeSet::new(),
        problems: Vec::new(),
        sent: 0,
    };
    let done = sender.run().await;
    let released = sender.release().await;
    done?;
    released?;
    if !sender.problems.is_empty() {
        let problems = sender.problems.join("\n- ");
        bail!("{} sent, but not all; what is left is kept for the next time:\n- {problems}", sender.sent);
    }
    Ok(sender.sent)
}

struct Sender<'a> {
    store: &'a Store,
    config: &'a Config,
    /// Made when there is something to send, so that no secret is needed before.
    slack: Option<Slack>,
    name: String,
    /// When each channel was written to last.
    last: BTreeMap<String, Instant>,
    /// What could not be sent this time, with what follows it in its thread.
    passed_over: BTreeSet<u64>,
    problems: Vec<String>,
    sent: usize,
}

impl Sender<'_> {
    async fn run(&mut self) -> anyhow::Result<()> {
        let mut said = false;
        loop {
            let (mut state, version) = self.store.load().await?;
            let Some(item) = self.next(&state) else { return Ok(()) };
            if self.slack.is_none() {
                self.slack = Some(Slack::new(self.config)?);
            }
            if !state.lease_for(&self.name, Timestamp::now(), signed(LEASE)) {
                if !said {
                    say("fms alerts: another sender is at work; waiting for it");
                    said = true;
                }
                sleep(LOOK).await;
                continue;
            }
            if let Some(item) = state.outbox.iter_mut().find(|other| other.number == item.number) {
                item.begun += 1;
            }
            // Before this is kept, nothing is sent.
            if self.store.save(&state, &version).await?.is_some() {
                self.send(&state, item).await?;
            }
        }
    }

    /// The next message that can be sent. One that could not be sent holds up its thread.
    fn next(&self, state: &State) -> Option<Item> {
        let is_held_up = |item: &Item| {
            let thread = item.what.thread();
            let before = state.outbox.iter().take_while(|before| before.number != item.number);
            let mut of_thread = before.filter(|before| thread.is_some() && before.what.thread() == thread);
            self.passed_over.contains(&item.number) || of_thread.any(|before| self.passed_over.contains(&before.number))
        };
        state.outbox.iter().find(|item| !is_held_up(item)).cloned()
    }

    /// Sends a message, as it was before this attempt was kept.
    async fn send(&mut self, state: &State, item: Item) -> anyhow::Result<()> {
        let number = item.number;
        let Some(sent) = self.call(state, &item).await? else {
            return self.change(|state| state.sent(number, None)).await;
        };
        match sent {
            Sent::Done(posted) => {
                self.sent += 1;
                self.change(|state| state.sent(number, posted.clone())).await
            }
            Sent::Gone => {
                let thread = item.what.thread().unwrap_or_default();
                self.change(|state| {
                    not_begun(state, number);
                    state.gone(thread);
                })
                .await
            }
            Sent::Wait(time) if time <= LONGEST_WAIT => {
                let (name, lease) = (self.name.clone(), signed(LEASE + time));
                self.change(|state| {
                    not_begun(state, number);
                    state.lease_for(&name, Timestamp::now(), lease);
                })
                .await?;
                sleep(time).await;
                Ok(())
            }
            Sent::Wait(time) => {
                self.pass_over(&item, &format!("Slack asks to wait for {time:?}"));
                self.change(|state| not_begun(state, number)).await
            }
            Sent::Refused(why) => {
                self.pass_over(&item, &why);
                self.change(|state| not_begun(state, number)).await
            }
            Sent::Unknown(why) if item.begun + 1 >= ATTEMPTS => {
                self.pass_over(&item, &format!("{why}; it is not known whether it has arrived"));
                Ok(())
            }
            Sent::Unknown(_) => {
                sleep(BETWEEN_ATTEMPTS).await;
                Ok(())
            }
        }
    }

    fn pass_over(&mut self, item: &Item, why: &str) {
        self.passed_over.insert(item.number);
        let what = match &item.what {
            What::Digest(digest) => format!("the digest of {}", digest.day),
            What::Open { .. } => "a new message".to_owned(),
            What::Reply { .. } => "a reply".to_owned(),
            What::Refresh { .. } => "a change of a message".to_owned(),
        };
        self.problems.push(format!("{what}: {why}"));
    }

    /// Makes the call for a message. `None` if there is nothing to do.
    async fn call(&mut self, state: &State, item: &Item) -> anyhow::Result<Option<Sent>> {
        let Self { config, slack: Some(slack), last, .. } = self else { bail!("there is no client of Slack") };
        let may_be_twice = item.begun > 0;
        let id = state.message_id(item.number);
        let thread = item.what.thread().and_then(|number| state.thread(number));
        let channel = match (&item.what, thread) {
            (What::Digest(digest), _) => digest.channel.clone(),
            (_, Some(thread)) => thread.posted.as_ref().map_or(&thread.channel, |posted| &posted.channel).clone(),
            // Its thread has ended: there is nothing to tell.
            (_, None) => return Ok(None),
        };
        if let Some(last) = last.get(&channel) {
            sleep_until(*last + PACE).await;
        }
        let to = match thread {
            Some(thread) => addressee(&thread.owner, slack.user(&thread.owner).await.as_deref()),
            None => String::new(),
        };
        let posted = thread.and_then(|thread| thread.posted.as_ref());
        let sent = match (&item.what, thread) {
            (What::Open { .. }, Some(thread)) => {
                let message = message::opening(config, thread, &to, may_be_twice);
                slack.post(&To { channel: &channel, thread: None, id: &id }, &message).await
            }
            (What::Reply { lines, .. }, _) => {
                let message = message::reply(config, lines, &to, may_be_twice);
                slack.post(&To { channel: &channel, thread: posted, id: &id }, &message).await
            }
            (What::Digest(digest), _) => {
                let message = message::digest(config, digest, may_be_twice);
                slack.post(&To { channel: &channel, thread: None, id: &id }, &message).await
            }
            (What::Refresh { .. }, Some(thread)) => match posted {
                Some(posted) if slack.has_threads() => {
                    // That a message was changed twice is no difference.
                    slack.update(posted, &message::opening(config, thread, &to, false)).await
                }
                // A webhook cannot change what it said.
                _ => return Ok(None),
            },
            (_, None) => return Ok(None),
        };
        last.insert(channel, Instant::now());
        Ok(Some(sent))
    }

    /// Changes the state as it is, again and again until nobody else has changed it meanwhile.
    async fn change(&self, change: impl Fn(&mut State)) -> anyhow::Result<()> {
        loop {
            let (mut state, version) = self.store.load().await?;
            change(&mut state);
            if self.store.save(&state, &version).await?.is_some() {
                return Ok(());
            }
        }
    }

    /// Gives the right to send back, if it is this sender's.
    async fn release(&self) -> anyhow::Result<()> {
        loop {
            let (mut state, version): (State, Version) = self.store.load().await?;
            if state.lease.as_ref().is_none_or(|lease| lease.holder != self.name) {
                return Ok(());
            }
            state.lease = None;
            if self.store.save(&state, &version).await?.is_some() {
                return Ok(());
            }
        }
    }
}

/// It is known that an attempt came to nothing.
fn not_begun(state: &mut State, number: u64) {
    if let Some(item) = state.outbox.iter_mut().find(|item| item.number == number) {
        item.begun = item.begun.saturating_sub(1);
    }
}

fn signed(time: Duration) -> SignedDuration {
    SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX)
}
