//! The schedule that sets the clock of the pipeline: an hour ahead at the first write, and then to an hour behind.

use super::first_write::NO_WRITE;
use super::{Disturbance, Drive, DriveError};
use crate::evidence::Phase;
use crate::stack::{Record, StackError};
use crate::subject::Clock;

/// How far the clock is ahead of the machine's, and then behind it, in seconds.
const AHEAD: i64 = 3600;

impl Drive<'_> {
    /// Sends the first half of the messages, sets the clock ahead at the first write, and behind when this half is settled;
    /// then sends the other half.
    pub(super) fn clock_jumps(&self, records: &[Record]) -> Result<Disturbance, DriveError> {
        let Some(clock) = &self.clock else {
            self.process(records)?;
            let why = "the clock of a process can be set on Linux with the GNU C library only";
            return Ok(Disturbance::None(why.to_owned()));
        };
        let half = if self.case.settings.in_order { records.len().min(1) } else { records.len().div_ceil(2) };
        let (first, others) = records.split_at(half);
        let subjects = self.start()?;
        let write = self.first_write();
        let mut goal = self.send(first)?;
        self.evidence.phase(Phase::Draining);
        let has_written = self.await_write(&write, &subjects, &goal)?.is_some();
        if has_written {
            self.set(clock, AHEAD)?;
        }
        drop(write);
        self.settle(&subjects, &mut goal)?;
        if has_written {
            self.set(clock, -AHEAD)?;
        }
        let goal = self.send_in_parts(&subjects, goal, others, half.max(1))?;
        self.drain_with(&subjects, &goal)?;
        let told = clock.told().map_err(|error| StackError::new("reading how often the clock was asked", error))?;
        Ok(match (has_written, told) {
            (false, _) => Disturbance::None(NO_WRITE.to_owned()),
            (true, 0) => {
                let why = "the pipeline did not ask the C library for the time; a program that is linked statically, or in Go, asks \
                           the kernel, whose clock nobody can set for it";
                Disturbance::None(why.to_owned())
            }
            (true, _) => Disturbance::AsScheduled,
        })
    }

    fn set(&self, clock: &Clock, seconds: i64) -> Result<(), StackError> {
        clock.set(seconds).map_err(|error| StackError::new("setting the clock of the pipeline", error))?;
        self.evidence.fault();
        let direction = if seconds > 0 { "ahead" } else { "behind" };
        self.evidence.log.note(format!("-- the clock is {} minutes {direction}", seconds.abs() / 60));
        Ok(())
    }
}
