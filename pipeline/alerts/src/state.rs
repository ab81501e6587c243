//! What is kept between two runs: how each check ended last, open problems, the messages that tell of them, and what is
//! to be sent.

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::verdict::{Id, Outcome, Severity};

/// The version of the format.
pub(crate) const FORMAT: u32 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    pub format: u32,
    /// A random name, so that the numbers of messages of two states are never taken for each other.
    pub name: String,
    /// The number of the next thread or message.
    pub next: u64,
    pub checks: Vec<Seen>,
    /// Problems of which nobody is told yet, because of maintenance.
    pub held: Vec<Problem>,
    pub threads: Vec<Thread>,
    /// What is to be sent, in this order.
    pub outbox: Vec<Item>,
    /// The day of the last digest, as text.
    pub digest: Option<String>,
    /// Who sends now.
    pub lease: Option<Lease>,
}

/// How a check ended last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Seen {
    #[serde(flatten)]
    pub id: Id,
    pub outcome: Outcome,
    pub severity: Severity,
    pub description: String,
    /// When it ran, or since when it is known, if it never did.
    #[serde(with = "crate::serial")]
    pub ran_at: Timestamp,
    #[serde(with = "crate::serial")]
    pub to: Date,
    /// The days of its verdicts of this time: a run may look at several days one by one.
    #[serde(default)]
    pub taken: Vec<Days>,
    /// Whether it is configured and never ran.
    #[serde(default)]
    pub is_awaited: bool,
}

/// Some days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Days {
    #[serde(with = "crate::serial")]
    pub from: Date,
    #[serde(with = "crate::serial")]
    pub to: Date,
}

impl Days {
    /// Whether all of the other days are among these.
    pub fn has(self, other: Self) -> bool {
        self.from <= other.from && other.to <= self.to
    }
}

/// Days on which something is wrong, and of which it is not known that it is well since.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Found {
    pub days: Days,
    pub trouble: Trouble,
    pub observed: String,
    pub bad: u64,
    /// When it was found.
    #[serde(with = "crate::serial", default)]
    pub ran_at: Timestamp,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Problem {
    #[serde(flatten)]
    pub id: Id,
    pub trouble: Trouble,
    pub severity: Severity,
    #[serde(with = "crate::serial")]
    pub since: Timestamp,
    #[serde(with = "crate::serial")]
    pub from: Date,
    #[serde(with = "crate::serial")]
    pub to: Date,
    pub description: String,
    pub expected: String,
    pub observed: String,
    pub bad: u64,
    /// How many rows were bad when it was told last.
    pub told_bad: u64,
    pub query: Option<String>,
    pub sample: Vec<String>,
    /// All days that it is open for, those above among them. None if nobody ran the check.
    #[serde(default)]
    pub open: Vec<Found>,
    /// How it ended, in words.
    pub resolved: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Trouble {
    Failed,
    /// The check ran and could not say anything.
    CouldNotRun,
    /// Nobody ran the check.
    DidNotRun,
}

/// A message and the replies to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Thread {
    pub number: u64,
    pub owner: String,
    /// Empty for a webhook.
    pub channel: String,
    pub problems: Vec<Problem>,
    /// Where its first message is, once Slack has said so.
    pub posted: Option<Posted>,
    /// When it told of something last.
    #[serde(with = "crate::serial")]
    pub told: Timestamp,
}

/// Where Slack keeps a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Posted {
    pub channel: String,
    pub ts: String,
}

/// Something to be sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Item {
    pub number: u64,
    pub what: What,
    /// How often it was begun without it being known what came of it. If it was, it may be there already.
    pub begun: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
    /// The first message of a thread, with its problems as they are when it is sent.
    Open {
        thread: u64,
    },
    /// What has happened since, in the thread.
    Reply {
        thread: u64,
        lines: Vec<Line>,
    },
    /// The first message is changed to its problems as they are.
    Refresh {
        thread: u64,
    },
    Digest(Digest),
}

impl What {
    /// The thread that it belongs to.
    pub fn thread(&self) -> Option<u64> {
        match self {
            Self::Open { thread } | Self::Reply { thread, .. } | Self::Refresh { thread } => Some(*thread),
            Self::Digest(_) => None,
        }
    }
}

/// What has happened to a problem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub event: Event,
    pub problem: Problem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Event {
    New,
    /// It is another trouble than before, or at least twice as many rows are bad.
    Changed,
    /// It is still there after so long that it is told again.
    Still,
    Resolved,
}

/// The right to send, for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    pub holder: String,
    #[serde(with = "crate::serial")]
    pub until: Timestamp,
}

impl State {
    /// A state in which nothing is known.
    pub fn new() -> Self {
        Self {
            format: FORMAT,
            name: format!("{:016x}", fastrand::u64(..)),
            next: 0,
            checks: Vec::new(),
            held: Vec::new(),
            threads: Vec::new(),
            outbox: Vec::new(),
            digest: None,
            lease: None,
        }
    }

    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Puts something after all that is to be sent.
    pub fn send(&mut self, what: What) {
        let number = self.number();
        self.outbox.push(Item { number, what, begun: 0 });
    }

    pub fn thread(&self, number: u64) -> Option<&Thread> {
        self.threads.iter().find(|thread| thread.number == number)
    }

    pub fn thread_mut(&mut self, number: u64) -> Option<&mut Thread> {
        self.threads.iter_mut().find(|thread| thread.number == number)
    }

    /// The problems that are open, those of which nobody is told yet among them.
    pub fn open(&self) -> impl Iterator<Item = &Problem> {
        self.threads.iter().flat_map(|thread| &thread.problems).chain(&self.held).filter(|problem| problem.is_open())
    }

    /// The id of a message, by which it is recognised when it is sent again: a UUID of version 8.
    pub fn message_id(&self, number: u64) -> String {
        let mut bytes: [u8; 32] = Sha256::digest(format!("{}/{number}", self.name)).into();
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = hex::encode(&bytes[..16]);
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    /// Something was sent. Says where a thread's first message is, if it is that.
    pub fn sent(&mut self, number: u64, posted: Option<Posted>) {
        let Some(at) = self.outbox.iter().position(|item| item.number == number) else { return };
        let item = self.outbox.remove(at);
        if let (What::Open { thread }, Some(posted)) = (&item.what, posted)
            && let Some(thread) = self.thread_mut(*thread)
        {
            thread.posted = Some(posted);
        }
        self.forget_ended();
    }

    /// The first message of a thread is not there any more: what is still to be told is told by itself.
    pub fn gone(&mut self, thread: u64) {
        if let Some(thread) = self.thread_mut(thread) {
            thread.posted = None;
        }
        self.outbox.retain(|item| item.what != What::Refresh { thread });
        self.forget_ended();
    }

    /// Forgets threads of which nothing is open and nothing is to be sent.
    pub fn forget_ended(&mut self) {
        let Self { threads, outbox, .. } = self;
        threads.retain(|thread| {
            thread.problems.iter().any(Problem::is_open)
                || outbox.iter().any(|item| item.what.thread() == Some(thread.number))
        });
    }

    /// Takes the right to send, or renews it. False if somebody else has it.
    pub fn lease_for(&mut self, holder: &str, now: Timestamp, time: SignedDuration) -> bool {
        let is_free = self.lease.as_ref().is_none_or(|lease| lease.holder == holder || lease.until <= now);
        if is_free {
            self.lease = Some(Lease { holder: holder.to_owned(), until: now + time });
        }
        is_free
    }
}

impl Problem {
    pub fn days(&self) -> Days {
        Days { from: self.from, to: self.to }
    }

    pub fn is_open(&self) -> bool {
        self.resolved.is_none()
    }
}

impl Thread {
    /// Whether a problem of this table belongs into it.
    pub fn takes(&self, id: &Id) -> bool {
        let has_table = |problem: &Problem| problem.is_open() && problem.id.table == id.table;
        self.owner == id.owner && self.problems.iter().any(has_table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_one_id_and_no_other_has_it() {
        let (one, other) = (State::new(), State::new());
        assert_eq!(one.message_id(1), one.message_id(1));
        assert_ne!(one.message_id(1), one.message_id(2));
        assert_ne!(one.message_id(1), other.message_id(1));
        assert_eq!(one.message_id(1).len(), 36);
    }

    #[test]
    fn one_sends_at_a_time_and_a_sender_that_is_gone_is_replaced() {
        let mut state = State::new();
        let (now, minute) = (Timestamp::UNIX_EPOCH, SignedDuration::from_mins(1));
        assert!(state.lease_for("a", now, minute));
        assert!(!state.lease_for("b", now, minute));
        assert!(state.lease_for("a", now, minute));
        assert!(state.lease_for("b", now + minute, minute));
        assert!(!state.lease_for("a", now + minute, minute));
    }
}
