//! Schedules with two processes of the subject in its consumer groups: the second takes over from the first, which leaves
//! in good order, or is frozen and woken again.

use std::time::{Duration, Instant};

use super::first_write::NO_WRITE;
use super::{Disturbance, Drive, DriveError, with_session_hint};
use crate::calls::Effect;
use crate::evidence::Phase;
use crate::hearing::Hearing;
use crate::history;
use crate::observe::Observation;
use crate::settle::{STOP_LIMIT, SettleError};
use crate::stack::{Record, StackError};
use crate::subject::Subject;

/// The name of the second process of the subject.
const SECOND: &str = "second-worker";

/// How long members may take to be assigned partitions. A member may also rightly get none, if there are fewer partitions
/// than members.
const WAIT_FOR_PARTITIONS: Duration = Duration::from_secs(5);

/// Why a run is not disturbed in which there is no sign that the second process was given anything before the first one left.
const NOT_SHARED: &str = "there is no sign that the second process was given partitions before the first one left: it had written \
    nothing, and no second member of each group had asked for its committed offsets";

/// How often the broker is asked whether they were.
const LOOK_FOR_PARTITIONS: Duration = Duration::from_millis(10);

impl Drive<'_> {
    /// Starts a second process at the first write of the first one, sends more to both of them, stops the first one, and
    /// sends the rest.
    pub(super) fn takeover(&self, records: &[Record]) -> Result<Disturbance, DriveError> {
        let in_order = self.case.settings.in_order;
        let third = if in_order { 1 } else { (records.len() / 3).max(1) };
        if records.len() < 2 {
            self.process(records)?;
            return Ok(Disturbance::None(
                "the case has fewer than two messages, so nothing was left for a second process".to_owned(),
            ));
        }
        let (first, others) = records.split_at(third);
        let (middle, last) = others.split_at(others.len() - third);
        let size = if in_order { 1 } else { records.len() };

        let mut subjects = self.start()?;
        let write = self.first_write();
        let goal = self.send(first)?;
        self.evidence.phase(Phase::Draining);
        self.await_write(&write, &subjects, &goal)?;
        let connections = self.stack.fetching_connections();
        self.start_second(&mut subjects)?;
        drop(write);
        // Of members that rebalance cooperatively, only those ask that were given more.
        let both_have_partitions = connections.map_or(Ok(false), |before| self.await_new_members(before))?;
        let mut goal = self.send_in_parts(&subjects, goal, middle, size).map_err(with_session_hint)?;
        self.settle(&subjects, &mut goal).map_err(with_session_hint)?;

        let shares = both_have_partitions || self.has_written(SECOND);

        // The second process takes the place of the first one among the subjects.
        let leaving = subjects.swap_remove(0);
        self.evidence.log.note("-- the first process is stopped".to_owned());
        self.settling(std::slice::from_ref(&leaving)).stop()?;
        let goal = self.send(last)?;
        self.drain_with(&subjects, &goal).map_err(with_session_hint)?;
        Ok(if shares { Disturbance::AsScheduled } else { Disturbance::None(NOT_SHARED.to_owned()) })
    }

    /// Freezes the process that makes the first write at that write. When the other process has drained, wakes it, and
    /// sends the last message.
    pub(super) fn frozen(&self, records: &[Record]) -> Result<Disturbance, DriveError> {
        let in_order = self.case.settings.in_order;
        let count = records.len();
        let (first, last) = records.split_at(if in_order { count.min(1) } else { count - usize::from(count > 1) });

        let fetches = self.stack.offset_fetches()?;
        let mut subjects = self.start()?;
        self.await_partitions(fetches)?;
        let fetches = self.stack.offset_fetches()?;
        self.start_second(&mut subjects)?;
        // Both are members before one of them is frozen. The embedded broker may give the name of a member whose session
        // has ended to one that joins later, and would mistake the two for each other.
        self.await_partitions(fetches)?;

        let write = self.first_write();
        let mut goal = self.send(first)?;
        self.evidence.phase(Phase::Draining);
        let Some(process) = self.await_write(&write, &subjects, &goal)? else {
            let goal = self.send_in_parts(&subjects, goal, last, 1)?;
            self.drain_with(&subjects, &goal)?;
            return Ok(Disturbance::None(NO_WRITE.to_owned()));
        };
        // A name that none of the processes was given is one that the first process has chosen for itself.
        let frozen = subjects.iter().position(|subject| subject.name() == process).unwrap_or(0);
        subjects[frozen].freeze();
        let name = if process == SECOND { "second" } else { "first" };
        self.evidence.fault();
        self.evidence.log.note(format!("-- the {name} process is frozen at its first write"));
        drop(write);
        self.settle(&subjects, &mut goal).map_err(with_session_hint)?;

        let stored = Observation::of(self.case, self.stack)?;
        let fetches = self.stack.offset_fetches()?;
        subjects[frozen].thaw();
        self.evidence.log.note(format!("-- the other process has drained, and the {name} one is woken"));
        self.await_partitions(fetches)?;
        if let Err(DriveError::Settle(SettleError::Ended { .. })) = self.settle(&subjects, &mut goal) {
            self.evidence.log.note("-- a process has ended, and is started again".to_owned());
            self.start_again(&mut subjects)?;
        }
        let changed = history::changed(&stored, &Observation::of(self.case, self.stack)?);
        if !changed.is_empty() {
            return Err(DriveError::Fenced { process: name, changed });
        }
        let goal = self.send_in_parts(&subjects, goal, last, 1).map_err(with_session_hint)?;
        self.drain_with(&subjects, &goal).map_err(with_session_hint)?;
        Ok(Disturbance::AsScheduled)
    }

    /// Starts the second process of the subject, after all others.
    fn start_second(&self, subjects: &mut Vec<Subject>) -> Result<(), DriveError> {
        let hearing = Hearing::before_start(self.evidence.log.of(SECOND));
        self.evidence.log.note("-- a second process is started".to_owned());
        let second = self.start_one(SECOND)?;
        hearing.wait(&second, STOP_LIMIT);
        subjects.push(second);
        Ok(())
    }

    /// Waits until a member of each group has asked for committed offsets since there were `fetches` such requests, so until
    /// it was assigned partitions. True if they were in time; false also where nobody tells, which
    /// is not waited for. Nobody else may ask meanwhile.
    fn await_partitions(&self, fetches: Option<usize>) -> Result<bool, StackError> {
        let Some(before) = fetches else { return Ok(false) };
        let wanted = before + self.case.settings.groups.len();
        await_in_time(|| Ok(self.stack.offset_fetches()?.is_none_or(|fetches| fetches >= wanted)))
    }

    /// Waits until a member of each group has asked for committed offsets on a connection that had not done so `before`.
    /// False if that is not so in time.
    fn await_new_members(&self, before: usize) -> Result<bool, StackError> {
        let wanted = before + self.case.settings.groups.len();
        await_in_time(|| Ok(self.stack.fetching_connections().is_none_or(|connections| connections >= wanted)))
    }

    /// Whether a process of this name has written anything to AWS.
    fn has_written(&self, process: &str) -> bool {
        let calls = self.stack.calls().snapshot();
        calls.iter().any(|call| call.process == process && call.effect == Effect::Write)
    }
}

/// Waits until members have been assigned partitions. False if they are not in time.
fn await_in_time(are_assigned: impl Fn() -> Result<bool, StackError>) -> Result<bool, StackError> {
    let deadline = Instant::now() + WAIT_FOR_PARTITIONS;
    while !are_assigned()? {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(LOOK_FOR_PARTITIONS);
    }
    Ok(true)
}
