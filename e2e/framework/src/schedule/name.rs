//! The names of schedules, as people write them.

use std::fmt;
use std::str::FromStr;

use super::{SEED, Schedule};

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
            Self::Clock => f.write_str("clock"),
            Self::Memory => f.write_str("memory"),
            Self::BrokerDown => f.write_str("broker-down"),
            Self::CommitLost => f.write_str("commit-lost"),
            Self::LeaderChange => f.write_str("leader-change"),
            Self::Takeover => f.write_str("takeover"),
            Self::Frozen => f.write_str("frozen"),
            Self::Variant(name) => write!(f, "variant:{name}"),
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
            ("clock", None) => Ok(Self::Clock),
            ("memory", None) => Ok(Self::Memory),
            ("broker-down", None) => Ok(Self::BrokerDown),
            ("commit-lost", None) => Ok(Self::CommitLost),
            ("leader-change", None) => Ok(Self::LeaderChange),
            ("takeover", None) => Ok(Self::Takeover),
            ("frozen", None) => Ok(Self::Frozen),
            ("variant", Some(name)) if !name.is_empty() => Ok(Self::Variant(name.to_owned())),
            ("variant", _) => wrong("write which variant of the fixtures, such as variant:small-batches"),
            ("killed", Some(point)) => {
                point.parse().map(Self::Killed).map_err(|problem| format!("schedule `{text}`: {problem}"))
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
                                flaky, slow, denied, clock, memory, broker-down, commit-lost, leader-change, takeover, frozen, variant:NAME and \
                                killed:CALL, such as killed:s3.PutObject:2";

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
            "clock",
            "memory",
            "broker-down",
            "commit-lost",
            "leader-change",
            "takeover",
            "frozen",
            "variant:small-batches",
            "killed:s3.PutObject:2",
            "killed:dynamodb.BatchWriteItem:1:torn",
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
            ("killed:s3.PutObject:1:torn", "a batch such as dynamodb.BatchWriteItem can be torn"),
            ("killed:kafka.Produce:1:torn", "a batch such as dynamodb.BatchWriteItem can be torn"),
            ("variant", "variant:small-batches"),
            ("variant:", "variant:small-batches"),
            ("frozen:1", "there is no schedule"),
        ] {
            let problem = wrong.parse::<Schedule>().expect_err(wrong);
            assert!(problem.contains(says), "{wrong}: {problem}");
        }
    }
}
