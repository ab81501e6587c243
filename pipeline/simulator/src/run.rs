//! A run: the messages of a plan are sent when they are due, and counted.

use std::fmt;
use std::time::{Duration, Instant};

use crate::expect::Expectation;
use crate::pace::{Pace, TELL};
use crate::target::{Header, Target, TargetError, Template};
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

impl Run<'_> {
    /// Sends everything, and adds it to the expectation, until the end or until `stops` says so. `tell` is called every
    /// five seconds. What was told last is given back, after all messages have arrived.
    pub fn run(
        &self,
        target: &mut dyn Target,
        mut expectation: Option<&mut Expectation>,
        stops: &dyn Fn() -> bool,
        tell: &mut dyn FnMut(&Progress),
    ) -> Result<Progress, TargetError> {
        let pace = Pace::begin(self.from * 1000, self.speed);
        let mut told = pace.begin;
        let mut progress = Progress { second: self.from, ..Progress::default() };
        let mut is_stopped = false;
        for departure in self.simulation.plan(self.vehicles, self.shard, self.from, self.until) {
            let second = departure.at.div_euclid(1000);
            // A run stops between two seconds of the fleet, so that another one can begin where it stopped.
            if second > progress.second {
                progress.second = second;
                let Some(behind) = pace.wait(second * 1000, stops) else {
                    is_stopped = true;
                    break;
                };
                progress.behind = behind;
                if told.elapsed() >= TELL {
                    told = Instant::now();
                    self.complete(&mut progress, pace.begin, target);
                    tell(&progress);
                }
            }
            let message = self.simulation.message(&departure);
            message.send(target, self.topic, self.headers)?;
            progress.messages += 1;
            progress.rows += message.rows.len() as u64;
            progress.bytes += message.value.as_ref().map_or(0, Vec::len) as u64;
            if let Some(expectation) = &mut expectation {
                expectation.add(&message);
            }
        }
        target.finish()?;
        if !is_stopped {
            progress.second = self.until;
        }
        self.complete(&mut progress, pace.begin, target);
        Ok(progress)
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
