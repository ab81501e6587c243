//! The first write of a pipeline to AWS, which waits at the recording proxy: the moment at which a schedule disturbs the
//! run, because then the pipeline has read messages and has not committed them.

use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use super::{Disturbance, Drive, DriveError};
use crate::calls::Fault;
use crate::evidence::Phase;
use crate::settle::{Goal, SettleError};
use crate::stack::Record;
use crate::subject::Subject;

/// Why a run is not disturbed whose subject writes nothing.
pub(super) const NO_WRITE: &str = "the subject wrote nothing to AWS";

/// How long the write is waited for before it is checked whether the pipeline has drained without it.
const LOOK: Duration = Duration::from_millis(10);

/// The first write from the moment at which it was asked for. It is passed on to its service when this value is dropped.
pub(super) struct FirstWrite {
    reached: Receiver<String>,
    _passes_on: Sender<()>,
}

impl Drive<'_> {
    /// Sends the first half of the messages, disturbs the run at the first write, and sends the other half when the first
    /// one is settled. The write waits until `disturb` drops it. A run that was disturbed is changed once more, by
    /// `between`, before the other half is sent.
    pub(super) fn at_first_write(
        &self,
        records: &[Record],
        disturb: impl FnOnce(FirstWrite) -> Result<Disturbance, DriveError>,
        between: impl FnOnce() -> Result<(), DriveError>,
    ) -> Result<Disturbance, DriveError> {
        let half = if self.case.settings.in_order { records.len().min(1) } else { records.len().div_ceil(2) };
        let (first, others) = records.split_at(half);
        let subjects = self.start()?;
        let write = self.first_write();
        let mut goal = self.send(first)?;
        self.evidence.phase(Phase::Draining);
        let disturbance = match self.await_write(&write, &subjects, &goal)? {
            Some(_) => disturb(write)?,
            None => Disturbance::None(NO_WRITE.to_owned()),
        };
        self.settle(&subjects, &mut goal)?;
        if disturbance == Disturbance::AsScheduled {
            between()?;
        }
        let goal = self.send_in_parts(&subjects, goal, others, half.max(1))?;
        self.drain_with(&subjects, &goal)?;
        Ok(disturbance)
    }

    /// Lets the next write of the subject wait. Writes of the further processes do not count.
    pub(super) fn first_write(&self) -> FirstWrite {
        let (announce, reached) = mpsc::channel();
        let (passes_on, waits) = mpsc::channel::<()>();
        let hook = move |process: &str| {
            // Both fail when nobody waits for the write any more.
            let _ = announce.send(process.to_owned());
            let _ = waits.recv();
        };
        let except = self.case.settings.subjects.iter().map(|subject| subject.name.as_str().to_owned()).collect();
        self.stack.calls().inject(Fault::FirstWrite { except, hook: Box::new(hook) });
        FirstWrite { reached, _passes_on: passes_on }
    }

    /// Waits until the write has come, and returns the name of the process that makes it. It is `None` if the pipeline
    /// drains without a write, or neither drains nor writes in time.
    pub(super) fn await_write(
        &self,
        write: &FirstWrite,
        subjects: &[Subject],
        goal: &Goal,
    ) -> Result<Option<String>, DriveError> {
        let deadline = Instant::now() + self.case.settings.timeout;
        while Instant::now() < deadline {
            if let Ok(process) = write.reached.recv_timeout(LOOK) {
                return Ok(Some(process));
            }
            match self.settling(subjects).drained(&mut goal.clone(), Duration::ZERO) {
                Ok(_) => break,
                Err(SettleError::Behind { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // The write may have come when it was last looked at.
        Ok(write.reached.try_recv().ok())
    }
}
