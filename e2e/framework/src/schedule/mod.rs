//! How a run is disturbed. A schedule is chosen on the command line, never in a fixture: the same snapshots have to
//! hold under all of them.

mod crash;
mod list;
mod name;
mod order;

use std::num::NonZeroUsize;
use std::time::Duration;

pub(crate) use self::crash::{CrashPoint, Crashes};
pub use self::list::Schedules;
pub(crate) use self::name::NAMES;
pub(crate) use self::order::{partition_anew, reordered, twice};
use crate::stack::embedded::{Absent, Brokers};

/// What happens to the subject and its services while a case runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Schedule {
    /// Nothing is disturbed: the messages are sent, then the subject is started, and it gets SIGTERM when it has
    /// drained. This is the only schedule that compares object boundaries and writes snapshots.
    #[default]
    Plain,
    /// Every message is sent twice.
    Twice,
    /// The messages of each partition are sent in another order, which this seed decides. Messages with the same key
    /// keep their order, and so do those without a key. A case in which no partition has messages of two keys is not
    /// disturbed.
    Reordered(u64),
    /// The subject runs, and each message is sent only after the one before it is settled. A case with one message is
    /// not disturbed.
    OneByOne,
    /// The topics to which messages are sent have this many partitions. A case whose topics have as many anyway is not
    /// disturbed.
    Partitions(i32),
    /// The subject is stopped in good order after this many messages, or after half of them, and another one is
    /// started for the rest. A case with no message left for it is not disturbed.
    Restarted(Option<NonZeroUsize>),
    /// The subject is killed (SIGKILL) at one of its calls to AWS or Kafka, and another one is started, which may be killed in
    /// turn. A run without one of these calls is not disturbed.
    Killed(Crashes),
    /// Each service of AWS refuses the first write and every second one after it, as it does with a client that asks for
    /// too much, and leaves an item of some batches unprocessed. A run without a write is not disturbed.
    Throttled,
    /// Of the calls to each service, the first one and every third one after it fail, each in another way. A run without
    /// a call is not disturbed.
    Flaky,
    /// Every call takes longer. A run without a call is not disturbed.
    Slow,
    /// Each service refuses the first calls as those of a caller without permission. A subject that ends because of it,
    /// or does not go on, is started again. A run without a call is not disturbed.
    Denied,
    /// The broker goes away at the subject's first write, and comes back after [`OUTAGE`]. A run without a write is not
    /// disturbed.
    BrokerDown,
    /// The broker carries out the first three offset commits, and closes all connections instead of answering each of
    /// them. A run without a commit is not disturbed.
    CommitLost,
    /// At the subject's first write, each partition gets another leader, and each group another coordinator. A run
    /// without a write is not disturbed.
    LeaderChange,
    /// A second process of the subject joins at the first write of the first one, which is stopped in good order later.
    /// The last messages are left for the second one. A case with one message is not disturbed.
    Takeover,
    /// Of two processes of the subject, the one that makes the first write is frozen at it, until the other one has
    /// drained, and is then woken. A run without a write is not disturbed.
    Frozen,
    /// The subject's clock jumps an hour ahead at its first write, and then to an hour behind. A run without a write is not
    /// disturbed, and neither is a subject that does not ask the C library for the time.
    Clock,
    /// From its first write on, the subject gets no more memory than it has. One that ends because of it, or does not go on,
    /// is started again. A run without a write is not disturbed, and neither is a subject that needs no more memory.
    Memory,
    /// The subject has the environment that the fixtures give to the variant of this name.
    Variant(String),
}

/// The seed of [`Schedule::Reordered`] where none is given.
const SEED: u64 = 1;

/// How much longer every call takes under [`Schedule::Slow`].
pub(crate) const DELAY: Duration = Duration::from_millis(200);

/// How long the broker is away under [`Schedule::BrokerDown`].
pub(crate) const OUTAGE: Duration = Duration::from_secs(1);

/// How many calls each service refuses under [`Schedule::Denied`].
pub(crate) const DENIALS: usize = 3;

impl Schedule {
    /// Every schedule that needs neither a crash point nor a variant, each in its usual form. [`Schedule::Frozen`] is not
    /// among them: the embedded broker may take longer than a case has to give the partitions out again.
    fn all() -> Vec<Self> {
        vec![
            Self::Plain,
            Self::Twice,
            Self::Reordered(SEED),
            Self::OneByOne,
            Self::Partitions(1),
            Self::Partitions(3),
            Self::Partitions(7),
            Self::Restarted(None),
            Self::Throttled,
            Self::Flaky,
            Self::Slow,
            Self::Denied,
            Self::Clock,
            Self::Memory,
            Self::BrokerDown,
            Self::CommitLost,
            Self::LeaderChange,
            Self::Takeover,
        ]
    }

    /// Whether the subject gets the environment with short timeouts: because it is started more than once, or because
    /// the answer with a message of a queue may be lost, which stays hidden until its timeout.
    pub fn shortens_timeouts(&self) -> bool {
        matches!(
            self,
            Self::Restarted(_)
                | Self::Killed(_)
                | Self::Flaky
                | Self::Denied
                | Self::Memory
                | Self::Takeover
                | Self::Frozen
        )
    }

    /// The brokers that Kafka has to have on the stacks that the framework starts.
    pub(crate) fn brokers(&self) -> Brokers {
        match self {
            // The relay tells the members of a group apart.
            Self::BrokerDown | Self::CommitLost | Self::Takeover => Brokers::Relayed(Absent::Stay),
            Self::LeaderChange => Brokers::Two,
            Self::Killed(_) | Self::Memory => Brokers::Relayed(Absent::Leave),
            _ => Brokers::One,
        }
    }

    /// Whether a write may begin after the commit that covers it, because the process that writes cannot know of this
    /// commit: its answer was lost, or another process has made it.
    pub(crate) fn hides_commits(&self) -> bool {
        matches!(self, Self::CommitLost | Self::Frozen)
    }

    /// Whether a pipeline that runs already can be tested under this schedule: it is not started again, and its calls
    /// and topics are its own.
    pub(crate) fn leaves_the_pipeline_alone(&self) -> bool {
        matches!(self, Self::Plain | Self::Twice | Self::Reordered(_) | Self::OneByOne)
    }

    /// Whether every record has the offset that it has in an undisturbed run.
    pub(crate) fn keeps_offsets(&self) -> bool {
        !matches!(self, Self::Twice | Self::Reordered(_) | Self::Partitions(_))
    }

    /// Whether a pipeline that puts messages into objects puts them into the same ones as in an undisturbed run.
    pub(crate) fn keeps_objects(&self) -> bool {
        match self {
            Self::Plain
            | Self::Killed(_)
            | Self::Throttled
            | Self::Flaky
            | Self::Slow
            | Self::Denied
            | Self::Memory => true,
            Self::Twice
            | Self::Reordered(_)
            | Self::OneByOne
            | Self::Partitions(_)
            | Self::Restarted(_)
            | Self::Clock
            | Self::BrokerDown
            | Self::CommitLost
            | Self::LeaderChange
            | Self::Takeover
            | Self::Frozen
            | Self::Variant(_) => false,
        }
    }

    /// The schedule and what it does, as one sentence for people.
    pub(crate) fn sentence(&self) -> String {
        let what = match self {
            Self::Plain => "nothing is disturbed".to_owned(),
            Self::Twice => "every message is sent twice".to_owned(),
            Self::Reordered(seed) => {
                format!("the seed {seed} decides the order of messages whose order Kafka leaves open")
            }
            Self::OneByOne => "each message is sent after the one before it is settled".to_owned(),
            Self::Partitions(1) => "the topics have 1 partition".to_owned(),
            Self::Partitions(partitions) => format!("the topics have {partitions} partitions"),
            Self::Restarted(None) => "the pipeline is stopped after half of the messages and started again".to_owned(),
            Self::Restarted(Some(messages)) => {
                format!("the pipeline is stopped after {messages} of the messages and started again")
            }
            Self::Throttled => "AWS refuses the first write and every second one after it".to_owned(),
            Self::Flaky => "the first call to each service and every third one after it fail".to_owned(),
            Self::Slow => format!("every call to AWS takes {} ms longer", DELAY.as_millis()),
            Self::Denied => format!("each service of AWS denies the first {DENIALS} calls"),
            Self::Clock => {
                "the pipeline's clock jumps an hour ahead at its first write, and to an hour behind later".to_owned()
            }
            Self::Memory => "the pipeline gets no more memory from its first write on".to_owned(),
            Self::BrokerDown => {
                format!("the broker goes away at the first write and comes back after {} s", OUTAGE.as_secs())
            }
            Self::CommitLost => {
                "the broker carries out the first three offset commits and does not answer them".to_owned()
            }
            Self::LeaderChange => {
                "at the first write, partitions get other leaders and groups other coordinators".to_owned()
            }
            Self::Takeover => "a second process joins at the first write, and the first one leaves later".to_owned(),
            Self::Frozen => {
                "of two processes, the one that writes first is frozen until the other one has taken over".to_owned()
            }
            Self::Variant(name) => format!("the pipeline has the environment of the variant {name}"),
            Self::Killed(crashes) => crashes.sentence(),
        };
        format!("{self}: {what}")
    }

    /// The schedule, or the kind of its last crash point, where runs of one kind are shown together.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Killed(crashes) => crashes.kind(),
            other => other.to_string(),
        }
    }

    /// Whether object boundaries, their listing, and the number of times that a row appears have to match too.
    pub fn is_plain(&self) -> bool {
        *self == Self::Plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_explained_in_a_sentence() {
        let sentence = |text: &str| text.parse::<Schedule>().expect(text).sentence();
        assert_eq!(sentence("plain"), "plain: nothing is disturbed");
        assert_eq!(
            sentence("restarted:2"),
            "restarted:2: the pipeline is stopped after 2 of the messages and started again"
        );
        assert_eq!(
            sentence("killed:s3.PutObject:2:after@raw/a"),
            "killed:s3.PutObject:2:after@raw/a: the pipeline is killed at call 2 of s3.PutObject to raw/a, after the service has \
             carried it out, and started again"
        );
        assert_eq!(
            sentence("killed:s3.PutObject:2:after+kafka.OffsetCommit:1"),
            "killed:s3.PutObject:2:after+kafka.OffsetCommit:1: the pipeline is killed at call 2 of s3.PutObject, after the service \
             has carried it out, started again and killed at call 1 of kafka.OffsetCommit, before the service sees it, and started again"
        );
    }
}
