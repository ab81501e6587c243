//! A run: the messages of a plan are sent when they are due, and counted.

use std::fmt;
use std::time::{Duration, Instant};

use crate::expect::Expectation;
use crate::in_time::InTime;
use crate::made::Made;
use crate::marks::Marks;
use crate::message::Message;
use crate::pace::{Pace, TELL};
use crate::target::{Header, Missing, Target, TargetError, Template};
use crate::{Shard, Simulation};

/// What is run.
#[derive(Debug)]
pub struct Run<'r> {
    /// The simulation.
    pub simulation: &'r Simulation,
    /// How many vehicles the fleet has.
    pub vehicles: u64,
    /// Which part of them.
    pub shard: Shard,
    /// The first second, since the Unix epoch.
    pub from: i64,
    /// The second before which it ends.
    pub until: i64,
    /// How many seconds of the fleet pass in one; `None` is as many as possible.
    pub speed: Option<f64>,
    /// The topic.
    pub topic: &'r Template,
    /// What every record has beside its value.
    pub headers: &'r [Header],
}

/// How far a run is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// The second of the fleet, since the Unix epoch, before which every message was sent.
    pub second: i64,
    /// How many messages were sent.
    pub messages: u64,
    /// How many rows they had.
    pub rows: u64,
    /// How many bytes.
    pub bytes: u64,
    /// How long the run takes already.
    pub elapsed: Duration,
    /// By how much messages are sent later than they are due.
    pub behind: Duration,
    /// How long it will take if it goes on in this way; `None` if nobody knows.
    pub left: Option<Duration>,
    /// How many vehicles are driving, and how many there are; zeros in a replay, which does not know it.
    pub driving: (u64, u64),
    /// How often sending failed and was tried again.
    pub errors: u64,
}

/// How a run ended.
#[derive(Debug)]
pub struct Done {
    /// What has arrived. If the run ended early, another one goes on with the second in it: before that, everything has
    /// arrived.
    pub progress: Progress,
    /// Messages from that second on that have arrived as well, as [`Made::beyond`] has them.
    pub beyond: Vec<[u64; 2]>,
    /// How many more messages may have arrived, of which nobody knows.
    pub uncertain: u64,
    /// Why not everything was sent, if it was not because the run had to stop.
    pub error: Option<TargetError>,
}

impl Run<'_> {
    /// Sends each message when it is due, and adds what has arrived to the expectation, until the end, until `stops` says so
    /// or until a message cannot be delivered. `tell` is called every five seconds.
    ///
    /// A run that has to stop does so between two seconds of the fleet; what is left of a second is sent at once. Only if the
    /// target takes nothing for some seconds, it stops within a second.
    pub fn run(
        &self,
        target: &mut dyn Target,
        mut expectation: Option<&mut Expectation>,
        stops: &dyn Fn() -> bool,
        tell: &mut dyn FnMut(&Progress),
    ) -> Done {
        let pace = Pace::begin(self.from * 1000, self.speed);
        let mut told = pace.begin;
        let mut progress = Progress { second: self.from, ..Progress::default() };
        let mut marks = Marks::new();
        let mut stopped = None;
        let mut error = None;
        for departure in InTime::new(self.simulation.plan(self.vehicles, self.shard, self.from, self.until)) {
            let second = departure.at.div_euclid(1000);
            if marks.last().is_none_or(|last| *last < second) {
                if pace.wait(second * 1000, stops).is_none() {
                    // Until this second nothing leaves, but it may be far away.
                    let next = marks.last().map_or(self.from, |last| last + 1);
                    let now = pace.now().map_or(second, |now| now.div_euclid(1000));
                    stopped = Some(now.clamp(next, second));
                    break;
                }
                marks.begin(second, target.arrived());
                progress.second = second;
                if told.elapsed() >= TELL {
                    told = Instant::now();
                    self.complete(&mut progress, pace.begin, target);
                    tell(&progress);
                }
            }
            let message = self.simulation.message(&departure);
            progress.behind = pace.wait(departure.at, stops).unwrap_or(progress.behind);
            if let Err(failed) = message.send(target, self.topic, self.headers, stops) {
                error = Some(failed);
                break;
            }
            marks.count();
            progress.add(&message);
            if let Some(expectation) = &mut expectation {
                expectation.add(&message);
            }
        }
        // A message that was not sent is missing, too.
        let unsent = error.is_some().then_some(marks.sent());
        error = error.or(target.finish(stops).err());
        let missing = if error.is_some() { target.missing() } else { Missing::default() };
        progress.second = stopped.unwrap_or(self.until);
        let first_missing = missing.numbers.first().copied().or(unsent);
        let beyond = first_missing
            .and_then(|first| marks.of(first))
            .map_or_else(Vec::new, |mark| self.take_back(*mark, marks.sent(), &missing, &mut progress, expectation));
        self.complete(&mut progress, pace.begin, target);
        let error = error.filter(|error| !matches!(error, TargetError::Stopped));
        Done { progress, beyond, uncertain: missing.uncertain, error }
    }

    /// Takes what is missing from what was counted, and gives the messages from the second on that have arrived. `mark` is
    /// the number of the first message of the second of the first one that is missing, and that second.
    fn take_back(
        &self,
        (first, second): (u64, i64),
        sent: u64,
        missing: &Missing,
        progress: &mut Progress,
        expectation: Option<&mut Expectation>,
    ) -> Vec<[u64; 2]> {
        progress.second = second;
        let (mut counted, mut arrived) = (Expectation::default(), Expectation::default());
        let mut beyond = Vec::new();
        let again = InTime::new(self.simulation.plan(self.vehicles, self.shard, second, self.until));
        for (number, departure) in (first..sent).zip(again) {
            let message = self.simulation.message(&departure);
            counted.add(&message);
            if missing.numbers.binary_search(&number).is_ok() {
                progress.take(&message);
            } else {
                beyond.push(number - first);
                arrived.add(&Message { is_copy: true, ..message });
            }
        }
        if let Some(expectation) = expectation {
            expectation.take(counted);
            expectation.merge(arrived);
        }
        Made::grouped(beyond.into_iter())
    }

    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn complete(&self, progress: &mut Progress, begin: Instant, target: &dyn Target) {
        progress.elapsed = begin.elapsed();
        progress.errors = target.errors();
        progress.driving = self.simulation.driving(self.vehicles, self.shard, progress.second);
        let (done, left) = (progress.second - self.from, self.until - progress.second);
        let share = (done > 0 && self.until < crate::LAST_SECOND).then(|| left as f64 / done as f64);
        progress.left =
            share.and_then(|share| Duration::try_from_secs_f64(progress.elapsed.as_secs_f64() * share).ok());
    }
}

impl Progress {
    fn add(&mut self, message: &Message) {
        self.messages += 1;
        self.rows += message.rows.len() as u64;
        self.bytes += message.value.as_ref().map_or(0, Vec::len) as u64;
    }

    fn take(&mut self, message: &Message) {
        self.messages -= 1;
        self.rows -= message.rows.len() as u64;
        self.bytes -= message.value.as_ref().map_or(0, Vec::len) as u64;
    }
}

impl fmt::Display for Progress {
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = jiff::Timestamp::from_second(self.second).unwrap_or_default();
        let rate = self.messages as f64 / self.elapsed.as_secs_f64().max(0.001);
        write!(
            f,
            "{time}: {} messages, {} rows, {:.1} MB sent; {rate:.0} messages/s; ",
            self.messages,
            self.rows,
            self.bytes as f64 / 1e6,
        )?;
        // A replay does not know who drives.
        if self.driving.1 > 0 {
            write!(f, "{} of {} vehicles drive; ", self.driving.0, self.driving.1)?;
        }
        write!(f, "{:.1} s behind; {} errors", self.behind.as_secs_f64(), self.errors)?;
        match self.left {
            Some(left) if left >= Duration::from_mins(2) => write!(f, "; {} min left", left.as_secs().div_ceil(60)),
            Some(left) if !left.is_zero() => write!(f, "; {} s left", left.as_secs()),
            _ => Ok(()),
        }
    }
}
