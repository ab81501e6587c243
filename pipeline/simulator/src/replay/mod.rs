//! Messages that were recorded are sent again: at another time, as fast as then or faster, and as those of more vehicles.
//!
//! A [`Source`] gives them in the order of their times: a [`Topic`] as it is read, files and objects after an [`Intake`]
//! has read and sorted all of them. [`Replay`] sends them.

mod batch;
mod csv;
mod intake;
mod line;
mod run;
mod shift;
mod sorter;
mod topic;

use std::collections::BTreeMap;
use std::io;

use thiserror::Error;

use crate::target::{Header, TargetError};

pub use intake::{Intake, Sorted};
pub use run::{Done, GoesOn, Replay};
pub use topic::{Topic, TopicSettings};

/// A message as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// When it was sent, in milliseconds since the Unix epoch.
    pub at: i64,
    /// Its topic, where that was recorded.
    pub topic: Option<String>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value. `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<Header>,
}

/// What a source has next.
#[derive(Debug)]
pub enum Next {
    /// A message.
    Message(Recorded),
    /// Nothing at the moment.
    Idle,
    /// Nothing any more.
    End,
}

/// Recorded messages in the order of their times.
pub trait Source {
    /// Waits a moment at most. Whoever asks for the next message has done with the one before.
    fn next(&mut self) -> Result<Next, ReplayError>;

    /// The offset of the first message of each partition that nobody has done with; `None` if there are no partitions.
    fn offsets(&self) -> Option<BTreeMap<i32, i64>> {
        None
    }
}

/// Why a replay ended before its end.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// Something in a file or an object is no message.
    #[error("{place}: {problem}")]
    NoMessage {
        /// Which line of which file or object.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// What was read could not be put in order.
    #[error("cannot sort messages by their times in a temporary file: {0}; TMPDIR says in which folder it is")]
    Sort(#[from] io::Error),
    /// A topic could not be read.
    #[error("cannot {doing} topic {topic} at {servers}: {problem}; look at --bootstrap-servers and --consumer")]
    Topic {
        /// What was being done.
        doing: &'static str,
        /// The topic.
        topic: String,
        /// The servers.
        servers: String,
        /// Why.
        problem: String,
    },
    /// There is no topic for a message.
    #[error("the topic of a message of {at} was not recorded, and it lacks a field of --topic")]
    NoTopic {
        /// Its time.
        at: jiff::Timestamp,
    },
    /// A topic that is followed would never end, because what is sent goes into it.
    #[error(
        "what is sent would go to topic {0} itself, which is followed, and be sent again for ever; name another --topic"
    )]
    Circle(String),
    /// A message could not be sent.
    #[error(transparent)]
    Target(#[from] TargetError),
}
