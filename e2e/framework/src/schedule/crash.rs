//! Crash points: the calls at which a subject can be killed, one or several in turn, and how people name them.

use std::fmt;
use std::str::FromStr;

use crate::calls::{CallName, Moment};
use crate::proxy::service::can_be_torn;

/// The call at which a subject is killed, and whether the service does what was asked before the subject dies.
///
/// It is written `s3.PutObject:2:after@bucket/prefix`: service, operation, the how many-th of these calls, and
/// `before` (which may be left out), `torn` or `after`. With a target, such as a table or a bucket and the beginning of a
/// key, only calls to that target are counted. Targets are named as fixtures name them, without the namespace of a
/// shared stack.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CrashPoint {
    /// The call.
    pub call: CallName,
    /// Whether the subject dies before the service sees the request, when the service has carried out a half of it, or
    /// after the service has answered and before the subject sees it.
    pub moment: Moment,
}

impl CrashPoint {
    pub(super) fn sentence(&self) -> String {
        let CallName { service, operation, nth, target } = &self.call;
        let target = target.as_ref().map(|target| format!(" to {target}")).unwrap_or_default();
        let moment = match self.moment {
            Moment::Before => "before the service sees it",
            Moment::Torn => "when the service has carried out the first half of its items",
            Moment::After => "after the service has carried it out",
        };
        format!("call {nth} of {service}.{operation}{target}, {moment}")
    }

    /// The crash points of every one of these calls: one before and one after it, and one in the middle of a batch that
    /// can be torn.
    pub fn at_all(calls: &[CallName]) -> Vec<Self> {
        let points = |call: &CallName| {
            let torn = can_be_torn(&call.service, &call.operation).then_some(Moment::Torn);
            let moments = [Moment::Before].into_iter().chain(torn).chain([Moment::After]);
            moments.map(|moment| Self { call: call.clone(), moment }).collect::<Vec<_>>()
        };
        calls.iter().flat_map(points).collect()
    }
}

impl fmt::Display for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CallName { service, operation, nth, target } = &self.call;
        write!(f, "{service}.{operation}:{nth}")?;
        match self.moment {
            Moment::Before => {}
            Moment::Torn => f.write_str(":torn")?,
            Moment::After => f.write_str(":after")?,
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
                 the subject is killed, or :torn if it is to do a half of a batch, then @TARGET if only calls to one table, bucket or key count"
            )
        };
        let (call, target) = text.split_once('@').map_or((text, None), |(call, target)| (call, Some(target)));
        let mut parts = call.split(':');
        let (service, operation) = parts.next().and_then(|name| name.split_once('.')).ok_or_else(problem)?;
        let nth = parts.next().and_then(|nth| nth.parse().ok()).filter(|nth| *nth > 0).ok_or_else(problem)?;
        let moment = match (parts.next(), parts.next()) {
            (None | Some("before"), None) => Moment::Before,
            (Some("torn"), None) if can_be_torn(service, operation) => Moment::Torn,
            (Some("torn"), None) => {
                return Err(format!(
                    "`{text}`: {service} carries out {operation} as a whole or not at all, or its body is not read; a batch such as \
                     dynamodb.BatchWriteItem can be torn"
                ));
            }
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

/// One crash, or several of which each follows the recovery from the one before it.
///
/// They are written with `+` between them: `s3.PutObject:1:after+kafka.OffsetCommit:1`. After a crash, calls are counted
/// anew. Only the last crash point may have a target, which reaches to the end of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crashes {
    /// The call of the first crash.
    pub first: CrashPoint,
    /// The calls of those that follow.
    pub then: Vec<CrashPoint>,
}

impl Crashes {
    /// All crash points in turn.
    pub(crate) fn points(&self) -> impl Iterator<Item = &CrashPoint> {
        std::iter::once(&self.first).chain(&self.then)
    }

    /// The same, with one more crash after them.
    pub(crate) fn and(&self, point: CrashPoint) -> Self {
        let mut crashes = self.clone();
        crashes.then.push(point);
        crashes
    }

    /// What the last crash has in common with the same crash at another of these calls.
    pub(super) fn kind(&self) -> String {
        let CrashPoint { call: CallName { service, operation, .. }, moment } = self.then.last().unwrap_or(&self.first);
        let moment = match moment {
            Moment::Before => "before",
            Moment::Torn => "torn",
            Moment::After => "after",
        };
        let again = if self.then.is_empty() { String::new() } else { format!("crash {}, ", self.then.len() + 1) };
        format!("{again}{moment} {service}.{operation}")
    }

    pub(super) fn sentence(&self) -> String {
        let points: Vec<String> = self.points().map(CrashPoint::sentence).collect();
        format!("the pipeline is killed at {}, and started again", points.join(", started again and killed at "))
    }
}

impl From<CrashPoint> for Crashes {
    fn from(first: CrashPoint) -> Self {
        Self { first, then: Vec::new() }
    }
}

impl fmt::Display for Crashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        self.then.iter().try_for_each(|point| write!(f, "+{point}"))
    }
}

impl FromStr for Crashes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (calls, target) = text.split_at(text.find('@').unwrap_or(text.len()));
        let mut calls: Vec<String> = calls.split('+').map(str::to_owned).collect();
        if let Some(last) = calls.last_mut() {
            last.push_str(target);
        }
        let mut points = calls.iter().map(|call| call.parse());
        let first = points.next().unwrap_or_else(|| "".parse())?;
        Ok(Self { first, then: points.collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_a_crash_point_before_and_one_after_it_and_a_batch_has_one_in_its_middle() {
        let call = |service: &str, operation: &str| CallName {
            service: service.into(),
            operation: operation.into(),
            nth: 1,
            target: None,
        };
        let calls = [call("s3", "PutObject"), call("dynamodb", "BatchWriteItem")];
        let points: Vec<String> = CrashPoint::at_all(&calls).iter().map(ToString::to_string).collect();
        let batch = "dynamodb.BatchWriteItem:1";
        let expected =
            ["s3.PutObject:1", "s3.PutObject:1:after", batch, &format!("{batch}:torn"), &format!("{batch}:after")];
        assert_eq!(points, expected);
    }
}
