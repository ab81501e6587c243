//! The schedule that takes memory away from the pipeline: from its first write on, a process gets no more than it has.

use std::time::Duration;

use super::{Disturbance, Drive, DriveError, first_write::NO_WRITE, with_session_hint};
use crate::evidence::Phase;
use crate::settle::SettleError;
use crate::stack::Record;
use crate::subject::Subject;

/// How long a pipeline that gets no more memory may take until it has drained. After this time it is started again.
const WAIT_FOR_MEMORY: Duration = Duration::from_secs(5);

impl Drive<'_> {
    /// Gives the process that makes the first write no more memory. If it ends because of that, or does not go on, it is
    /// started again and gets what it asks for.
    pub(super) fn out_of_memory(&self, records: &[Record]) -> Result<Disturbance, DriveError> {
        let goal = self.send(records)?;
        let mut subjects = self.start()?;
        let write = self.first_write();
        self.evidence.phase(Phase::Draining);
        let Some(process) = self.await_write(&write, &subjects, &goal)? else {
            self.drain_with(&subjects, &goal)?;
            return Ok(Disturbance::None(NO_WRITE.to_owned()));
        };
        // A name that none of the processes was given is one that the first process has chosen for itself.
        let writer = subjects.iter().find(|subject| subject.name() == process).or(subjects.first());
        let is_limited = writer.is_some_and(Subject::keep_its_memory);
        drop(write);
        if !is_limited {
            self.drain_with(&subjects, &goal)?;
            let why = "the memory of a process that runs can be limited on Linux only";
            return Ok(Disturbance::None(why.to_owned()));
        }
        self.evidence.log.note("-- from now on it gets no more memory than it has".to_owned());
        let limit = WAIT_FOR_MEMORY.min(self.case.settings.timeout);
        let drained = self.settling(&subjects).drained(&mut goal.clone(), limit).map_err(DriveError::from);
        match drained.and_then(|_| self.drain_with(&subjects, &goal)) {
            Ok(()) => {
                let why = "the pipeline needed no more memory than it had at its first write";
                return Ok(Disturbance::None(why.to_owned()));
            }
            Err(DriveError::Settle(SettleError::Ended { .. } | SettleError::Stop { .. })) => {
                self.evidence.log.note("-- ended without memory, and is started again".to_owned());
            }
            Err(DriveError::Settle(SettleError::Behind { .. })) => {
                self.evidence.log.note("-- does not go on without memory: SIGKILL, and it is started again".to_owned());
            }
            Err(error) => return Err(error),
        }
        self.evidence.fault();
        // Others may have ended with it, and it may not have ended itself. It has no memory to stop in good order.
        for subject in &subjects {
            subject.killer().kill();
        }
        self.start_again(&mut subjects)?;
        self.drain_with(&subjects, &goal).map_err(with_session_hint)?;
        Ok(Disturbance::AsScheduled)
    }
}
