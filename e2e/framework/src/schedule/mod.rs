//! How a run is disturbed. A schedule is chosen on the command line, never in a fixture: the same snapshots have to
//! hold under all of them.

mod crash;
mod list;
mod order;

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

pub(crate) use self::crash::{CrashPoint, Crashes};
pub use self::list::Schedules;
pub(crate) use self::order::{partition_anew, reordered, twice};

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
}

/// The seed of [`Schedule::Reordered`] where none is given.
const SEED: u64 = 1;

/// How much longer every call takes under [`Schedule::Slow`].
pub(crate) const DELAY: Duration = Duration::from_millis(200);

/// How many calls each service refuses under [`Schedule::Denied`].
pub(crate) const DENIALS: usize = 3;

impl Schedule {
    /// Every schedule that needs no crash point, each in its usual form.
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
        ]
    }

    /// Whether the subject gets the environment with short timeouts: because it is started more than once, or because
    /// the answer with a message of a queue may be lost, which stays hidden until its timeout.
    pub fn shortens_timeouts(&self) -> bool {
        matches!(self, Self::Restarted(_) | Self::Killed(_) | Self::Flaky | Self::Denied)
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
        !matches!(self, Self::Reordered(_) | Self::OneByOne | Self::Partitions(_) | Self::Restarted(Some(_)))
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

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("plain"),
            Self::Twice => f.write_str("twice"),
            Self::Reordered(seed) => write!(f, "reordered:{seed}"),
            Self::OneByOne => f.write_str("one-by-one"),
            Self::Partitions(partitions) => write!(f, "partitions-{partitions}"),
            Self::Restarted(None) => f.write_str("restarted"),
            Self::Restarted(Some(messages)) => write!(f, "restarted:{messages}"),
            Self::Killed(crashes) => write!(f, "killed:{crashes}"),
            Self::Throttled => f.write_str("throttled"),
            Self::Flaky => f.write_str("flaky"),
            Self::Slow => f.write_str("slow"),
            Self::Denied => f.write_str("denied"),
        }
    }
}

/// The most partitions of a topic: more would only take time.
const MOST_PARTITIONS: i32 = 100;

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |problem: &str| Err(format!("schedule `{text}`: {problem}"));
        let (name, detail) = text.split_once(':').map_or((text, None), |(name, detail)| (name, Some(detail)));
        match (name, detail) {
            ("plain", None) => Ok(Self::Plain),
            ("twice", None) => Ok(Self::Twice),
            ("reordered", None) => Ok(Self::Reordered(SEED)),
            ("reordered", Some(seed)) => match seed.parse() {
                Ok(seed) => Ok(Self::Reordered(seed)),
                Err(_) => wrong("the seed is a whole number, such as reordered:7"),
            },
            ("one-by-one", None) => Ok(Self::OneByOne),
            ("restarted", None) => Ok(Self::Restarted(None)),
            ("restarted", Some(messages)) => match messages.parse() {
                Ok(messages) => Ok(Self::Restarted(Some(messages))),
                Err(_) => wrong("write after how many messages, such as restarted:1"),
            },
            ("throttled", None) => Ok(Self::Throttled),
            ("flaky", None) => Ok(Self::Flaky),
            ("slow", None) => Ok(Self::Slow),
            ("denied", None) => Ok(Self::Denied),
            ("killed", Some(crashes)) => {
                crashes.parse().map(Self::Killed).map_err(|problem| format!("schedule `{text}`: {problem}"))
            }
            _ => match name.strip_prefix("partitions-").filter(|_| detail.is_none()) {
                Some(partitions) => match partitions.parse() {
                    Ok(partitions @ 1..=MOST_PARTITIONS) => Ok(Self::Partitions(partitions)),
                    _ => wrong("a topic has 1 to 100 partitions, such as partitions-3"),
                },
                None => Err(format!("there is no schedule `{text}`, but {NAMES}")),
            },
        }
    }
}

/// The schedules that there are, for people who have misspelt one.
pub(crate) const NAMES: &str = "plain, twice, reordered, reordered:SEED, one-by-one, partitions-N, restarted, restarted:N, throttled, \
                                flaky, slow, denied and killed:CALL, such as killed:s3.PutObject:2";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_read_as_it_is_shown() {
        for text in [
            "plain",
            "twice",
            "reordered:7",
            "one-by-one",
            "partitions-7",
            "restarted",
            "restarted:3",
            "throttled",
            "flaky",
            "slow",
            "denied",
            "killed:s3.PutObject:2",
            "killed:dynamodb.BatchWriteItem:1:after",
            "killed:s3.PutObject:2:after@raw/a:b@c",
            "killed:s3.PutObject:2:after+kafka.OffsetCommit:1",
            "killed:s3.PutObject:2+s3.PutObject:1:after+s3.PutObject:1@raw/a+b",
        ] {
            assert_eq!(text.parse::<Schedule>().expect(text).to_string(), text);
        }
        let before = "killed:s3.PutObject:2:before".parse::<Schedule>().expect("before is the default");
        assert_eq!(before.to_string(), "killed:s3.PutObject:2");
        assert_eq!("reordered".parse::<Schedule>().expect("a default seed").to_string(), "reordered:1");
    }

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

    #[test]
    fn what_is_no_schedule_is_refused_with_what_to_write() {
        for (wrong, says) in [
            ("", "there is no schedule"),
            ("planned", "there is no schedule"),
            ("plain:1", "there is no schedule"),
            ("killed", "there is no schedule"),
            ("partitions-3:1", "there is no schedule"),
            ("reordered:x", "reordered:7"),
            ("restarted:0", "restarted:1"),
            ("partitions-0", "partitions-3"),
            ("partitions-101", "partitions-3"),
            ("killed:3", "write SERVICE.OPERATION:NTH"),
            ("killed:s3.PutObject", "write SERVICE.OPERATION:NTH"),
            ("killed:s3.PutObject:0", "write SERVICE.OPERATION:NTH"),
            ("killed:s3.PutObject:1:later", "write SERVICE.OPERATION:NTH"),
            ("killed:s3.PutObject:1+", "write SERVICE.OPERATION:NTH"),
        ] {
            let problem = wrong.parse::<Schedule>().expect_err(wrong);
            assert!(problem.contains(says), "{wrong}: {problem}");
        }
    }
}
