//! Crash points: the calls at which a subject can be killed, one or several in turn, and how people name them.

use std::fmt;
use std::str::FromStr;

use crate::calls::{Call, CallName, Moment, named};
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

    /// The crash points of these calls to AWS, each with its call: one before and one after each of them, and one in the
    /// middle of a batch that can be torn. They have targets, which are named without the `namespace` of a shared stack.
    pub(crate) fn at_all<'c>(calls: &'c [Call], namespace: &str) -> Vec<(Self, &'c Call)> {
        let points = |(name, call): (CallName, &'c Call)| {
            let torn = call.can_be_torn.then(|| Self { call: name.clone(), moment: Moment::Torn });
            let [before, after] = Self::around(&name);
            [before].into_iter().chain(torn).chain([after]).map(|point| (point, call)).collect::<Vec<_>>()
        };
        named(calls, namespace).into_iter().zip(calls).flat_map(points).collect()
    }

    /// The crash points before and after a call.
    pub(crate) fn around(call: &CallName) -> [Self; 2] {
        [Moment::Before, Moment::After].map(|moment| Self { call: call.clone(), moment })
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
/// They are written with `+` between them: `s3.PutObject:1:after@raw/a+kafka.OffsetCommit:1`. After a crash, calls are
/// counted anew. A `+` within a target is no end of it, unless the name of a call and its number follow.
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
        let mut points = split(text).into_iter().map(str::parse);
        let first = points.next().unwrap_or_else(|| "".parse())?;
        Ok(Self { first, then: points.collect::<Result<_, _>>()? })
    }
}

/// The texts of the crash points.
fn split(text: &str) -> Vec<&str> {
    let mut points = Vec::new();
    let mut begin = 0;
    for (at, _) in text.match_indices('+') {
        if is_begin(&text[at + 1..]) || !text[begin..at].contains('@') {
            points.push(&text[begin..at]);
            begin = at + 1;
        }
    }
    points.push(&text[begin..]);
    points
}

/// Whether a text begins with service, operation and number, as no key of an object is expected to.
fn is_begin(text: &str) -> bool {
    let named = text.split_once(':').and_then(|(name, rest)| Some((name.split_once('.')?, rest)));
    named.is_some_and(|((service, operation), rest)| {
        let is_name =
            |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        is_name(service) && is_name(operation) && rest.starts_with(|first: char| first.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::calls::Effect;

    fn call(service: &str, operation: &str, target: &str, can_be_torn: bool) -> Call {
        Call {
            number: 1,
            service: service.into(),
            operation: operation.into(),
            target: target.into(),
            effect: Effect::Write,
            process: String::new(),
            deletes: 0,
            can_be_torn,
            started: Instant::now(),
            finished: None,
            is_throttled: false,
            request_bytes: 0,
        }
    }

    fn points(calls: &[Call], namespace: &str) -> Vec<String> {
        CrashPoint::at_all(calls, namespace).iter().map(|(point, _)| point.to_string()).collect()
    }

    #[test]
    fn every_call_has_a_crash_point_before_and_one_after_it_and_a_batch_has_one_in_its_middle() {
        let calls = [
            call("s3", "PutObject", "x-raw/a+0.json", false),
            call("dynamodb", "BatchWriteItem", "x-fleet", true),
            call("dynamodb", "ListTables", "", false),
        ];
        let expected = [
            "s3.PutObject:1@raw/",
            "s3.PutObject:1:after@raw/",
            "dynamodb.BatchWriteItem:1@fleet",
            "dynamodb.BatchWriteItem:1:torn@fleet",
            "dynamodb.BatchWriteItem:1:after@fleet",
            "dynamodb.ListTables:1",
            "dynamodb.ListTables:1:after",
        ];
        assert_eq!(points(&calls, "x-"), expected);
    }

    #[test]
    fn calls_are_counted_by_what_their_names_match() {
        let targets = ["fleet-2", "fleet", "other", "fleet", "fleet-2"];
        let calls = targets.map(|target| call("dynamodb", "PutItem", target, false));
        let names: Vec<String> = points(&calls, "").into_iter().filter(|name| !name.contains(":after")).collect();
        let expected = ["1@fleet-2", "2@fleet", "1@other", "3@fleet", "2@fleet-2"];
        assert_eq!(names, expected.map(|name| format!("dynamodb.PutItem:{name}")));
    }

    #[test]
    fn each_of_several_crashes_may_have_a_target_with_a_plus() {
        for text in [
            "s3.PutObject:1:after@raw/topics/t+0+000.json+s3.PutObject:2@raw/a+b/+kafka.OffsetCommit:1",
            "s3.PutObject:1+s3.PutObject:2:after@raw/x+",
        ] {
            let crashes: Crashes = text.parse().expect(text);
            assert_eq!(crashes.to_string(), text);
        }
        let crashes: Crashes = "s3.PutObject:1@raw/t+0+s3.PutObject:2".parse().expect("two crashes");
        let targets: Vec<_> = crashes.points().map(|point| point.call.target.as_deref()).collect();
        assert_eq!(targets, [Some("raw/t+0"), None]);
        assert!("s3.PutObject:1+nothing".parse::<Crashes>().is_err());
    }
}
