//! How a run is disturbed. A schedule is chosen on the command line, never in a fixture: the same snapshots have to
//! hold under all of them.

use std::fmt;
use std::str::FromStr;

use crate::calls::{CallName, Moment};

/// What happens to the subject and its services while a case runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Schedule {
    /// Nothing is disturbed: the messages are sent, then the subject is started, and it gets SIGTERM when it has
    /// drained. This is the only schedule that compares object boundaries and writes snapshots.
    #[default]
    Plain,
    /// Every message is sent twice.
    Twice,
    /// The subject is stopped in good order halfway through the messages, and another one is started for the rest. A
    /// case with one message cannot be disturbed this way.
    Restarted,
    /// The subject is killed (SIGKILL) at one of its calls to AWS, and another one is started. A run without this
    /// call is not disturbed.
    Killed(CrashPoint),
    /// AWS refuses the first write and every second one after it, as it does with a client that asks for too much. A
    /// run without a write is not disturbed.
    Throttled,
}

impl Schedule {
    /// Whether the subject is started more than once.
    pub fn restarts(&self) -> bool {
        matches!(self, Self::Restarted | Self::Killed(_))
    }

    /// The schedule and what it does, as one sentence for people.
    pub(crate) fn sentence(&self) -> String {
        let what = match self {
            Self::Plain => "nothing is disturbed".to_owned(),
            Self::Twice => "every message is sent twice".to_owned(),
            Self::Restarted => "the pipeline is stopped after half of the messages and started again".to_owned(),
            Self::Throttled => "AWS refuses the first write and every second one after it".to_owned(),
            Self::Killed(point) => point.sentence(),
        };
        format!("{self}: {what}")
    }

    /// Whether object boundaries, their listing, and the number of times that a row appears have to match too.
    pub fn is_plain(&self) -> bool {
        *self == Self::Plain
    }
}

/// The call at which a subject is killed, and whether the service does what was asked before the subject dies.
///
/// It is written `s3.PutObject:2:after@bucket/prefix`: service, operation, the how many-th of these calls, and
/// `before` (which may be left out) or `after`. With a target, such as a table or a bucket and the beginning of a
/// key, only calls to that target are counted. Targets are named as fixtures name them, without the namespace of a
/// shared stack.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CrashPoint {
    /// The call.
    pub call: CallName,
    /// Whether the subject dies before the service sees the request, or after the service has answered and before the
    /// subject sees it.
    pub moment: Moment,
}

impl CrashPoint {
    fn sentence(&self) -> String {
        let CallName { service, operation, nth, target } = &self.call;
        let target = target.as_ref().map(|target| format!(" to {target}")).unwrap_or_default();
        let moment = match self.moment {
            Moment::Before => "before the service sees it",
            Moment::After => "after the service has carried it out",
        };
        format!("the pipeline is killed at call {nth} of {service}.{operation}{target}, {moment}, and started again")
    }

    /// The two crash points of every one of these calls, one before and one after it.
    pub fn at_all(calls: &[CallName]) -> Vec<Self> {
        let points =
            |call: &CallName| [Moment::Before, Moment::After].map(|moment| Self { call: call.clone(), moment });
        calls.iter().flat_map(points).collect()
    }
}

impl fmt::Display for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CallName { service, operation, nth, target } = &self.call;
        write!(f, "{service}.{operation}:{nth}")?;
        if self.moment == Moment::After {
            f.write_str(":after")?;
        }
        target.iter().try_for_each(|target| write!(f, "@{target}"))
    }
}

impl FromStr for CrashPoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let problem = || {
            format!(
                "`{text}` names no call: write SERVICE.OPERATION:NTH, such as s3.PutObject:2, then :after if the service is to do it before \
                 the subject is killed, then @TARGET if only calls to one table, bucket or key count"
            )
        };
        let (call, target) = text.split_once('@').map_or((text, None), |(call, target)| (call, Some(target)));
        let mut parts = call.split(':');
        let (service, operation) = parts.next().and_then(|name| name.split_once('.')).ok_or_else(problem)?;
        let nth = parts.next().and_then(|nth| nth.parse().ok()).filter(|nth| *nth > 0).ok_or_else(problem)?;
        let moment = match (parts.next(), parts.next()) {
            (None | Some("before"), None) => Moment::Before,
            (Some("after"), None) => Moment::After,
            _ => return Err(problem()),
        };
        if service.is_empty() || operation.is_empty() || target == Some("") {
            return Err(problem());
        }
        let (service, operation, target) = (service.to_owned(), operation.to_owned(), target.map(str::to_owned));
        Ok(Self { call: CallName { service, operation, nth, target }, moment })
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("plain"),
            Self::Twice => f.write_str("twice"),
            Self::Restarted => f.write_str("restarted"),
            Self::Killed(point) => write!(f, "killed:{point}"),
            Self::Throttled => f.write_str("throttled"),
        }
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "plain" => Ok(Self::Plain),
            "twice" => Ok(Self::Twice),
            "restarted" => Ok(Self::Restarted),
            "throttled" => Ok(Self::Throttled),
            _ => match text.strip_prefix("killed:") {
                Some(point) => {
                    point.parse().map(Self::Killed).map_err(|problem| format!("schedule `{text}`: {problem}"))
                }
                None => Err(format!(
                    "there is no schedule `{text}`, but plain, twice, restarted, throttled and killed:CALL, such as killed:s3.PutObject:2"
                )),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_read_as_it_is_shown() {
        for text in [
            "plain",
            "twice",
            "restarted",
            "throttled",
            "killed:s3.PutObject:2",
            "killed:dynamodb.BatchWriteItem:1:after",
            "killed:s3.PutObject:2:after@raw/a:b@c",
        ] {
            assert_eq!(text.parse::<Schedule>().expect(text).to_string(), text);
        }
        let before = "killed:s3.PutObject:2:before".parse::<Schedule>().expect("before is the default");
        assert_eq!(before.to_string(), "killed:s3.PutObject:2");
    }

    #[test]
    fn a_schedule_is_explained_in_a_sentence() {
        let sentence = |text: &str| text.parse::<Schedule>().expect(text).sentence();
        assert_eq!(sentence("plain"), "plain: nothing is disturbed");
        assert_eq!(
            sentence("killed:s3.PutObject:2:after@raw/a"),
            "killed:s3.PutObject:2:after@raw/a: the pipeline is killed at call 2 of s3.PutObject to raw/a, after the service has \
             carried it out, and started again"
        );
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_what_to_write() {
        for wrong in ["", "planned", "plain:1", "killed"] {
            assert!(wrong.parse::<Schedule>().expect_err(wrong).contains("there is no schedule"), "{wrong}");
        }
        for wrong in ["killed:3", "killed:s3.PutObject", "killed:s3.PutObject:0", "killed:s3.PutObject:1:later"] {
            assert!(wrong.parse::<Schedule>().expect_err(wrong).contains("write SERVICE.OPERATION:NTH"), "{wrong}");
        }
    }

    #[test]
    fn every_call_has_a_crash_point_before_and_one_after_it() {
        let call = CallName { service: "s3".into(), operation: "PutObject".into(), nth: 1, target: None };
        let points: Vec<String> = CrashPoint::at_all(&[call]).iter().map(ToString::to_string).collect();
        assert_eq!(points, ["s3.PutObject:1", "s3.PutObject:1:after"]);
    }
}
