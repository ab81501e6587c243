//! The schedule that sets the clock of the pipeline: an hour ahead at the first write, and then to an hour behind.

use super::{Disturbance, Drive, DriveError};
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
        let disturbance = self.at_first_write(
            records,
            |write| {
                self.set(clock, AHEAD)?;
                drop(write);
                Ok(Disturbance::AsScheduled)
            },
            || Ok(self.set(clock, -AHEAD)?),
        )?;
        let told = clock.told().map_err(|error| StackError::new("reading how often the clock was asked", error))?;
        if disturbance == Disturbance::AsScheduled && told == 0 {
            let why = "the pipeline did not ask the C library for the time; a program that is linked statically, or in Go, asks \
                       the kernel, whose clock nobody can set for it";
            return Ok(Disturbance::None(why.to_owned()));
        }
        Ok(disturbance)
    }

    fn set(&self, clock: &Clock, seconds: i64) -> Result<(), StackError> {
        clock.set(seconds).map_err(|error| StackError::new("setting the clock of the pipeline", error))?;
        self.evidence.fault();
        let direction = if seconds > 0 { "ahead" } else { "behind" };
        self.evidence.log.note(format!("-- the clock is {} minutes {direction}", seconds.abs() / 60));
        Ok(())
    }
}
