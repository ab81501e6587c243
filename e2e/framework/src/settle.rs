//! Waits until a run has drained: the committed offsets have reached the ends, and no call is in flight. Then the
//! subject has to stop in good order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::calls::{CLIENT_GONE, Call, Effect};
use crate::history::History;
use crate::mutate;
use crate::proxy::service::S3;
use crate::stack::{Notification, QueueDepth, Stack, StackError};
use crate::subject::{Subject, Waited, describe};

/// How long a subject may take from SIGTERM to its exit. A member whose group forms anew has to wait for the others before
/// it can leave; Kubernetes gives a container 30 s by default.
pub(crate) const STOP_LIMIT: Duration = Duration::from_secs(20);

/// How many of the subject's last lines an error shows.
const LAST_LINES: usize = 15;

/// The shortest and the longest interval between two requests for the committed offsets. The interval grows with the
/// time already waited.
const ASK: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(25));

/// After this time, partitions whose end is not reached are read, to find out whether there are records up to that end.
const LOOK_FOR_RECORDS: Duration = Duration::from_secs(1);

/// What a run has to reach: every group has committed the end of every partition that has records, and then the queues
/// are empty.
#[derive(Debug, Clone)]
pub struct Goal {
    /// Consumer groups.
    pub groups: Vec<String>,
    /// End offsets by topic and partition, none of them 0.
    pub ends: BTreeMap<(String, i32), i64>,
    /// SQS queues that have to be empty then.
    pub queues: Vec<DrainedQueue>,
}

/// A queue that has to become empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainedQueue {
    /// Its name.
    pub name: String,
    /// The objects of which it is told.
    pub notifications: Vec<Notification>,
    /// The messages that it gets apart from those about objects of the pipeline: one for each notification that is
    /// configured, those about objects that the case puts there, and those that it puts on the queue itself.
    pub others: usize,
    /// Where messages go that were received too often.
    pub dead_letters: Option<String>,
}

impl DrainedQueue {
    /// How many messages are still to come. S3 sends an event some time after it has created an object, so a queue may be
    /// empty although the pipeline has something left to do.
    fn to_come(&self, stack: &dyn Stack) -> Result<usize, StackError> {
        if self.notifications.is_empty() {
            return Ok(0);
        }
        let (mut sent, mut gone) = (self.others, 0);
        let namespace = stack.namespace();
        for call in stack.calls().snapshot() {
            let target = call.target.strip_prefix(namespace).unwrap_or(&call.target);
            let status = call.finished.map(|(_, status)| status);
            if call.deletes > 0 && target == self.name && matches!(status, Some(200 | CLIENT_GONE)) {
                gone += call.deletes;
            }
            let creates = ["PutObject", "CopyObject", "CompleteMultipartUpload"].contains(&call.operation.as_str());
            if creates && call.service == S3.name && status == Some(200) {
                sent += self.notifications.iter().filter(|notification| notification.tells_of(target)).count();
            }
        }
        if let Some(dead_letters) = &self.dead_letters {
            gone += usize::try_from(stack.queue(dead_letters)?.visible).unwrap_or(usize::MAX);
        }
        Ok(sent.saturating_sub(gone))
    }
}

/// When a run was first seen to have reached its goal.
#[derive(Debug, Clone, Copy)]
pub struct Covered {
    /// When the committed offsets covered everything.
    offsets: Instant,
    /// When the queues were empty, too.
    queues: Instant,
}

impl Goal {
    /// Lowers each end to the offset after the partition's last record. Behind that record there can only be
    /// transaction markers, which no consumer receives. Some pipelines commit the offset after the marker, others the
    /// offset after the last record.
    fn take_back_to_records(&mut self, stack: &dyn Stack) -> Result<(), StackError> {
        let topics: BTreeSet<String> = self.ends.keys().map(|(topic, _)| topic.clone()).collect();
        for topic in topics {
            let mut ends = BTreeMap::new();
            for record in stack.read_topic(&topic)? {
                ends.insert(record.partition, record.offset + 1);
            }
            for ((of, partition), end) in &mut self.ends {
                if *of == topic {
                    *end = ends.get(partition).map_or(0, |last: &i64| (*last).min(*end));
                }
            }
        }
        self.ends.retain(|_, end| *end > 0);
        Ok(())
    }
}

/// Why a run has not drained.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// A service did not answer.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// The run did not drain in time. The text says which group is behind on which partition, by how many records, and
    /// which calls are in flight.
    #[error("not drained after {} s\n{behind}{}", seconds(*limit), last(log))]
    Behind {
        /// The time that the run had.
        limit: Duration,
        /// A line for each partition that is behind, and for each call in flight.
        behind: String,
        /// The last lines of the subject's log.
        log: String,
    },
    /// The subject ended by itself before the run had drained.
    #[error("the subject ended before it had drained: {status}{}", last(log))]
    Ended {
        /// The subject's exit status, for people.
        status: String,
        /// The last lines of the subject's log.
        log: String,
    },
    /// The subject did not stop in good order when it was asked to.
    #[error("the subject was asked to stop (SIGTERM) and {problem}{}", last(log))]
    Stop {
        /// What the subject did instead.
        problem: String,
        /// The last lines of the subject's log.
        log: String,
    },
    /// The subject wrote something, or was not done with it, after it had committed the offset that covers this write.
    #[error("wrote after the commit that covers it: {calls}; a crash between the two would have lost it")]
    WroteAfterCommit {
        /// The calls, by name and target.
        calls: String,
    },
    /// A group committed a lower offset than before, so that records are read again which are stored.
    #[error("committed lower offsets than before, so that what is stored is read again:\n{lower}{}", last(log))]
    TookBack {
        /// A line for each partition.
        lower: String,
        /// The last lines of the subject's log.
        log: String,
    },
    /// A failure that the case expects did not happen.
    #[error("expected the subject to fail and to say `{text}`, but {problem}{}", last(log))]
    NotSaid {
        /// The text of `expect_failure`, which the subject had to print.
        text: String,
        /// What the subject did instead.
        problem: String,
        /// The last lines of the subject's log.
        log: String,
    },
}

fn seconds(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64())
}

fn last(log: &str) -> String {
    if log.is_empty() {
        return "\nit printed nothing".to_owned();
    }
    format!("\nits last lines:\n{log}")
}

/// A run that is under way: its services, the processes of its pipeline, their log and what they have committed so far.
pub struct Settling<'a> {
    /// The services.
    pub stack: &'a dyn Stack,
    /// The processes of the pipeline, the subject itself first. There is none for a pipeline that was running before and
    /// that the framework did not start.
    pub subjects: &'a [Subject],
    /// The log of what they print.
    pub log: &'a crate::subject::Log,
    /// What was seen to be committed.
    pub history: &'a History,
}

impl Settling<'_> {
    /// Waits until the goal is reached and no call is in flight. Returns the moments at which it was first seen to be
    /// reached: no write may begin after them. If the end of a partition lies behind transaction markers only, this
    /// method lowers that end in `goal`.
    pub fn drained(&self, goal: &mut Goal, limit: Duration) -> Result<Covered, SettleError> {
        let started = Instant::now();
        let mut offsets = None;
        let mut looked = false;
        loop {
            if offsets.is_none() && !looked && started.elapsed() > LOOK_FOR_RECORDS {
                looked = true;
                goal.take_back_to_records(self.stack)?;
            }
            if offsets.is_none() && self.behind(goal)?.is_empty() {
                offsets = Some(Instant::now());
                mutate::note_committed(self.stack.calls());
            }
            // What is in a queue may follow from what the offsets cover, and a call that is in flight may fill one.
            if let Some(offsets) = offsets
                && self.stack.calls().in_flight() == 0
                && waiting(self.stack, goal)?.is_empty()
            {
                let queues = Instant::now();
                if self.stack.calls().in_flight() == 0 {
                    return Ok(Covered { offsets, queues });
                }
            }
            let interval = (started.elapsed() / 20).clamp(ASK.0, ASK.1);
            if let Some((subject, status)) = self.wait_for_end(Instant::now() + interval) {
                let status = named(subject, &subject.end(status));
                return Err(SettleError::Ended { status, log: self.log.last(LAST_LINES) });
            }
            if started.elapsed() > limit {
                let mut behind = self.behind(goal)? + &waiting(self.stack, goal)?;
                behind.push_str(&describe_in_flight(&in_flight(self.stack)));
                return Err(SettleError::Behind { limit, behind, log: self.log.last(LAST_LINES) });
            }
        }
    }

    /// Waits until a process has ended. Returns `None` at the deadline.
    fn wait_for_end(&self, deadline: Instant) -> Option<(&Subject, ExitStatus)> {
        let Some((first, others)) = self.subjects.split_first() else {
            std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
            return None;
        };
        let ended = others.iter().find(|subject| subject.status().is_some());
        let waited = ended.and_then(|subject| Some((subject, subject.wait(Instant::now())?)));
        waited.or_else(|| Some((first, first.wait(deadline)?)))
    }

    /// Stops all processes, one after the other, each of which has to exit with status 0 within [`STOP_LIMIT`].
    pub fn stop(&self) -> Result<(), SettleError> {
        for (at, subject) in self.subjects.iter().enumerate() {
            self.log
                .note(format!("-- SIGTERM{}", if subject.name().is_empty() { "" } else { " to " }) + subject.name());
            subject.terminate();
            // A process that waits for messages may do so to the end before it stops. Nothing is sent meanwhile.
            let is_last = at + 1 == self.subjects.len();
            self.stack.set_long_polls(!is_last);
            let stopped = subject.stopped(STOP_LIMIT).map_err(|problem| named(subject, &problem));
            self.stack.set_long_polls(true);
            stopped.map_err(|problem| SettleError::Stop { problem, log: self.log.last(LAST_LINES) })?;
        }
        Ok(())
    }

    /// Has to be called after [`Self::drained`], before anything more is sent. It is an error if a write began after
    /// what covers it, or was not done by then.
    pub fn written(&self, goal: &Goal, covered: Covered) -> Result<(), SettleError> {
        // A process that empties queues may write until they are empty. Where other processes do that, the subject itself has
        // nothing to write after its commits. Its calls are those that carry the name of none of the others.
        let further = self.subjects.get(1..).unwrap_or_default();
        let empties_queues = further.is_empty() && !goal.queues.is_empty();
        let covers = |call: &Call| {
            let is_of_further = further.iter().any(|subject| subject.name() == call.process);
            let has_no_commit = goal.ends.is_empty();
            if is_of_further || empties_queues || has_no_commit { covered.queues } else { covered.offsets }
        };
        // A client that has left does not wait for its write, and has made it again if it had to.
        let is_done_later = |call: &Call| {
            let done = call.finished.filter(|(_, status)| (200..300).contains(status));
            done.is_some_and(|(at, _)| at > covers(call))
        };
        let late: Vec<String> = self
            .stack
            .calls()
            .snapshot()
            .iter()
            // To delete a message is what covers a write of a process that empties a queue, and is no such write itself. It
            // is repeated if its answer was lost.
            .filter(|call| call.effect == Effect::Write && call.deletes == 0)
            .filter(|call| call.started > covers(call) || is_done_later(call))
            .map(|call| format!("{} {}", call.operation, call.target))
            .collect();
        if !late.is_empty() {
            return Err(SettleError::WroteAfterCommit { calls: late.join(", ") });
        }
        Ok(())
    }

    /// Has to be called after [`Self::stop`]. It is an error if a committed offset is lower than before.
    pub fn keeps_commits(&self, goal: &Goal) -> Result<(), SettleError> {
        let lower = self.behind(goal)?;
        if lower.is_empty() { Ok(()) } else { Err(SettleError::TookBack { lower, log: self.log.last(LAST_LINES) }) }
    }

    /// Waits until the subject prints a line that contains `text`.
    pub fn said(&self, text: &str, limit: Duration) -> Result<(), SettleError> {
        let waited =
            self.subjects.first().map(|subject| (subject, subject.wait_for_line(text, Instant::now() + limit)));
        let problem = match waited {
            None => "what a pipeline says that runs already is not known".to_owned(),
            Some((_, Waited::Found(_))) => return Ok(()),
            Some((_, Waited::Ended(status))) => format!("it ended without that: {}", describe(status)),
            Some((_, Waited::TimedOut)) => format!("it has not said that after {} s", seconds(limit)),
        };
        Err(SettleError::NotSaid { text: text.to_owned(), problem, log: self.log.last(LAST_LINES) })
    }
}

/// For how long a subject that has printed the expected text is watched, in case it drains nevertheless.
const FAILURE_LIMIT: Duration = Duration::from_secs(5);

impl Settling<'_> {
    /// Has to be called after [`Self::said`]. Checks that the subject has failed, then ends it. The subject has failed
    /// if it ends by itself, or if its groups do not reach the goal within [`FAILURE_LIMIT`], which happens when one of
    /// its tasks has failed. A subject without consumer groups has to end by itself.
    pub fn failed(&self, text: &str, goal: &Goal) -> Result<(), SettleError> {
        let Some(subject) = self.subjects.first() else { return Ok(()) };
        let deadline = Instant::now() + FAILURE_LIMIT;
        let problem = loop {
            if subject.wait(Instant::now() + ASK.1).is_some() {
                return Ok(());
            }
            let has_goal = !goal.groups.is_empty() && !goal.ends.is_empty();
            if has_goal && self.behind(goal)?.is_empty() {
                break "it said that and went on: it has drained all the same, and runs".to_owned();
            }
            if Instant::now() > deadline {
                if has_goal {
                    self.log.note("-- said what was expected and does not drain; SIGTERM".to_owned());
                    // The exit status does not matter, because the subject has already failed.
                    let _ = subject.stop(STOP_LIMIT);
                    return Ok(());
                }
                break format!("it said that and still runs after {} s", seconds(FAILURE_LIMIT));
            }
        };
        Err(SettleError::NotSaid { text: text.to_owned(), problem, log: self.log.last(LAST_LINES) })
    }
}

impl Settling<'_> {
    /// One line for every partition that a group has not finished. The text is empty when the goal is reached. It is an error
    /// if a committed offset is lower than before.
    fn behind(&self, goal: &Goal) -> Result<String, SettleError> {
        let mut text = String::new();
        let partitions: Vec<(String, i32)> = goal.ends.keys().cloned().collect();
        for group in &goal.groups {
            let committed = mutate::commits(self.stack.calls(), self.stack.committed(group, &partitions)?);
            let lower = self.history.note(group, &committed);
            if !lower.is_empty() {
                return Err(SettleError::TookBack { lower, log: self.log.last(LAST_LINES) });
            }
            for (partition, end) in &goal.ends {
                let (topic, number) = partition;
                let _ = match committed.get(partition) {
                    Some((offset, _)) if offset >= end => continue,
                    Some((offset, _)) => {
                        writeln!(
                            text,
                            "group `{group}`: {topic}-{number} is committed up to {offset} of {end}, {} behind",
                            records(end - offset)
                        )
                    }
                    None => writeln!(text, "group `{group}`: {topic}-{number} has no commit, {} behind", records(*end)),
                };
            }
        }
        Ok(text)
    }

    /// Waits until no call is in flight, or for [`FAILURE_LIMIT`]: a service carries out a call even if its client has
    /// ended meanwhile.
    pub fn quiet(&self) {
        let deadline = Instant::now() + FAILURE_LIMIT;
        while self.stack.calls().in_flight() > 0 && Instant::now() < deadline {
            std::thread::sleep(ASK.0);
        }
    }
}

/// One line for every queue that is not empty.
fn waiting(stack: &dyn Stack, goal: &Goal) -> Result<String, StackError> {
    let mut text = String::new();
    for queue in &goal.queues {
        let QueueDepth { visible, in_flight, delayed } = stack.queue(&queue.name)?;
        let name = &queue.name;
        if visible + in_flight + delayed > 0 {
            let _ = writeln!(
                text,
                "queue `{name}` is not empty: {visible} visible, {in_flight} received and not deleted, {delayed} delayed"
            );
        } else {
            let to_come = queue.to_come(stack)?;
            if to_come > 0 {
                let _ = writeln!(
                    text,
                    "queue `{name}` is empty, but {to_come} more have to be deleted from it: an event has not come yet"
                );
            }
        }
    }
    Ok(text)
}

/// What happened to a process, with its name if there are several.
fn named(subject: &Subject, what: &str) -> String {
    if subject.name().is_empty() { what.to_owned() } else { format!("{}: {what}", subject.name()) }
}

fn records(count: i64) -> String {
    if count == 1 { "1 record".to_owned() } else { format!("{count} records") }
}

fn in_flight(stack: &dyn Stack) -> Vec<Call> {
    stack.calls().snapshot().into_iter().filter(Call::is_in_flight).collect()
}

fn describe_in_flight(calls: &[Call]) -> String {
    let mut text = String::new();
    for call in calls {
        let _ =
            writeln!(text, "in flight for {} s: {} {}", seconds(call.started.elapsed()), call.operation, call.target);
    }
    text
}

/// The committed offset and the end of every partition, for each group. This text is for the report of a failure.
pub(crate) fn offsets(stack: &dyn Stack, goal: &Goal) -> String {
    let of_group =
        |group: &String| committed_by(stack, goal, group).unwrap_or_else(|error| format!("{group}: {error}\n"));
    goal.groups.iter().map(of_group).collect()
}

/// The same, or why the offsets of a group are not known.
pub(crate) fn committed(stack: &dyn Stack, goal: &Goal) -> Result<String, StackError> {
    goal.groups.iter().map(|group| committed_by(stack, goal, group)).collect()
}

fn committed_by(stack: &dyn Stack, goal: &Goal, group: &str) -> Result<String, StackError> {
    let partitions: Vec<(String, i32)> = goal.ends.keys().cloned().collect();
    let committed = stack.committed(group, &partitions)?;
    let mut text = String::new();
    for ((topic, partition), end) in &goal.ends {
        let _ = match committed.get(&(topic.clone(), *partition)) {
            Some((offset, metadata)) => {
                writeln!(text, "{group} {topic}-{partition}: committed {offset}, end {end} {metadata}")
            }
            None => writeln!(text, "{group} {topic}-{partition}: committed nothing, end {end}"),
        };
    }
    Ok(text)
}
