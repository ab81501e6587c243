//! Tells which calls a pipeline made last before it was killed or stopped, and which it made first when it was started again.
//! Calls have the names that crash points have, so that any of them can be the next crash point.

use std::fmt::Write;
use std::time::Instant;

use crate::calls::{CLIENT_GONE, Call, CallName, KAFKA, NO_ANSWER, numbered};
use crate::schedule::Schedule;

/// How many calls are told on each side.
const SHOWN: usize = 4;

/// The calls around each start but the first one. `starts` has, for each start, how many calls to AWS and how many requests to
/// Kafka there had been. The result begins with an empty line; it is empty if there was one start.
pub(super) fn text(calls: &[Call], requests: &[&str], starts: &[(usize, usize)], schedule: &Schedule) -> String {
    let points: Vec<String> = match schedule {
        Schedule::Killed(crashes) => crashes.points().map(ToString::to_string).collect(),
        _ => Vec::new(),
    };
    let mut text = String::new();
    for (at, window) in starts.windows(2).enumerate() {
        let [before, here] = window else { continue };
        let next = starts.get(at + 2).copied().unwrap_or((calls.len(), requests.len()));
        let end = match points.get(at) {
            Some(point) => format!("killed at {point}, and started again"),
            None => "started again".to_owned(),
        };
        let _ = write!(text, "\n\n  the calls around the moment at which the pipeline was {end}:");
        let lines = |from: usize, to: usize| of_aws(calls.get(from..to).unwrap_or_default());
        let (last, first) = (lines(before.0, here.0), lines(here.0, next.0));
        let earlier = last.len().saturating_sub(SHOWN);
        for line in &last[earlier..] {
            let _ = write!(text, "\n    {line}");
        }
        text.push_str("\n    ---- here");
        for line in first.iter().take(SHOWN) {
            let _ = write!(text, "\n    {line}");
        }
        let names = |from: usize, to: usize| of_kafka(requests.get(from..to).unwrap_or_default());
        let (last, first) = (names(before.1, here.1), names(here.1, next.1));
        if !last.is_empty() || !first.is_empty() {
            let last = &last[last.len().saturating_sub(SHOWN)..];
            let first = &first[..first.len().min(SHOWN)];
            let _ = write!(text, "\n    requests to Kafka: {} ---- {}", listed(last), listed(first));
        }
    }
    text
}

/// Some calls to AWS that were made from one start to the next, each as a line.
fn of_aws(calls: &[Call]) -> Vec<String> {
    let names = numbered(calls.iter().map(|call| (call.service.as_str(), call.operation.as_str())));
    let line = |(call, name): (&Call, &CallName)| {
        let by = if call.process.is_empty() { String::new() } else { format!(" by {}", call.process) };
        format!("{}{by} {}: {}", short(name), call.target, end(call.finished))
    };
    calls.iter().zip(&names).map(line).collect()
}

/// The same of requests to Kafka, of which no more is known than their names.
fn of_kafka(requests: &[&str]) -> Vec<String> {
    numbered(requests.iter().map(|name| (KAFKA, *name))).iter().map(short).collect()
}

fn short(CallName { service, operation, nth, .. }: &CallName) -> String {
    format!("{service}.{operation}:{nth}")
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// How a call ended.
fn end(finished: Option<(Instant, u16)>) -> String {
    match finished {
        None => "in flight".to_owned(),
        Some((_, CLIENT_GONE)) => "its process was gone before it had the answer".to_owned(),
        Some((_, NO_ANSWER)) => "the service never received it".to_owned(),
        Some((_, status)) => format!("answered with status {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::Effect;

    fn call(operation: &str, target: &str, process: &str, status: Option<u16>) -> Call {
        Call {
            number: 1,
            service: "s3".into(),
            operation: operation.into(),
            target: target.into(),
            effect: Effect::Write,
            process: process.into(),
            deletes: 0,
            can_be_torn: false,
            started: Instant::now(),
            finished: status.map(|status| (Instant::now(), status)),
            is_throttled: false,
            request_bytes: 0,
        }
    }

    #[test]
    fn the_last_calls_before_a_kill_and_the_first_after_it_have_the_names_of_crash_points() {
        let calls = [
            call("HeadBucket", "raw", "", Some(200)),
            call("PutObject", "raw/a", "", Some(200)),
            call("GetObject", "raw/a", "poller", Some(200)),
            call("PutObject", "raw/b", "", Some(200)),
            call("PutObject", "raw/c", "", Some(CLIENT_GONE)),
            call("HeadBucket", "raw", "", Some(200)),
            call("PutObject", "raw/b", "", None),
        ];
        let requests = ["OffsetCommit", "OffsetCommit", "OffsetCommit"];
        let schedule = "killed:s3.PutObject:3:after".parse().expect("a schedule");
        insta::assert_snapshot!(text(&calls, &requests, &[(0, 0), (5, 2)], &schedule), @r"
          the calls around the moment at which the pipeline was killed at s3.PutObject:3:after, and started again:
            s3.PutObject:1 raw/a: answered with status 200
            s3.GetObject:1 by poller raw/a: answered with status 200
            s3.PutObject:2 raw/b: answered with status 200
            s3.PutObject:3 raw/c: its process was gone before it had the answer
            ---- here
            s3.HeadBucket:1 raw: answered with status 200
            s3.PutObject:1 raw/b: in flight
            requests to Kafka: kafka.OffsetCommit:1, kafka.OffsetCommit:2 ---- kafka.OffsetCommit:1
        ");
    }

    #[test]
    fn a_pipeline_that_was_started_once_has_no_such_moment_and_one_that_was_stopped_has() {
        let calls = [call("PutObject", "raw/a", "", Some(200)), call("PutObject", "raw/b", "", Some(NO_ANSWER))];
        assert_eq!(text(&calls, &[], &[(0, 0)], &Schedule::Plain), "");
        let told = text(&calls, &[], &[(0, 0), (1, 0)], &Schedule::Restarted(None));
        assert!(told.contains("at which the pipeline was started again:\n    s3.PutObject:1 raw/a"), "{told}");
        assert!(told.ends_with("---- here\n    s3.PutObject:1 raw/b: the service never received it"), "{told}");
    }
}
