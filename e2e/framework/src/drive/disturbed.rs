//! How the schedules without a crash disturb a run, and why they may come to nothing.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::{Disturbance, Drive, DriveError, NO_CALL, with_session_hint};
use crate::calls::{Fault, Hits, Trouble};
use crate::evidence::Phase;
use crate::schedule;
use crate::settle::{STOP_LIMIT, SettleError};
use crate::stack::Record;

/// Why the order in which messages are sent is not disturbed.
const IN_ORDER: &str = "the case says `in_order`, so its messages are sent one by one, in their order";

/// How long a subject that was denied a call may take until it has drained. After this time it is started again.
const WAIT_FOR_DENIED: Duration = Duration::from_secs(5);

impl Drive<'_> {
    /// Sends the messages in another order.
    pub(super) fn reordered(&self, records: &[Record], seed: u64) -> Result<Disturbance, DriveError> {
        let in_order = self.case.settings.in_order;
        let reordered = if in_order { None } else { schedule::reordered(records, seed) };
        self.process(reordered.as_deref().unwrap_or(records))?;
        let why = match reordered {
            Some(_) => return Ok(Disturbance::AsScheduled),
            None if in_order => IN_ORDER,
            None => "no partition has messages of two keys, and messages of one key keep their order",
        };
        Ok(Disturbance::None(why.to_owned()))
    }

    /// Sends each message when the one before it is settled, to subjects that run meanwhile.
    pub(super) fn one_by_one(&self, records: &[Record]) -> Result<Disturbance, DriveError> {
        let why = match records.split_first() {
            Some((first, others)) if !others.is_empty() && !self.case.settings.in_order => {
                self.process_one_by_one(first, others)?;
                return Ok(Disturbance::AsScheduled);
            }
            _ if self.case.settings.in_order => IN_ORDER,
            _ => "the case has fewer than two messages",
        };
        self.process(records)?;
        Ok(Disturbance::None(why.to_owned()))
    }

    /// Stops the subject after some of the messages, and starts another one for the others.
    pub(super) fn restarted(&self, records: &[Record], after: Option<NonZeroUsize>) -> Result<Disturbance, DriveError> {
        let after = after.map_or(records.len().div_ceil(2), NonZeroUsize::get);
        let (first, second) = records.split_at(after.min(records.len()));
        self.process(first)?;
        if second.is_empty() {
            let why = format!("the case has {}, so nothing was left for a restarted subject", messages(records));
            return Ok(Disturbance::None(why));
        }
        self.process(second).map_err(with_session_hint)?;
        Ok(Disturbance::AsScheduled)
    }

    /// Injects faults into the calls of the subject. `none` says why there may be no call that they concern.
    pub(super) fn with_faults(
        &self,
        records: &[Record],
        faults: impl IntoIterator<Item = Fault>,
        none: &str,
    ) -> Result<Disturbance, DriveError> {
        faults.into_iter().for_each(|fault| self.stack.calls().inject(fault));
        self.process(records)?;
        Ok(self.if_disturbed(none))
    }

    fn if_disturbed(&self, none: &str) -> Disturbance {
        if self.stack.calls().disturbed() > 0 { Disturbance::AsScheduled } else { Disturbance::None(none.to_owned()) }
    }

    /// Lets each service deny its first calls. A subject that ends is started again. One that does not go on is stopped
    /// and started again, and nothing is denied any more.
    pub(super) fn denied(&self, records: &[Record]) -> Result<Disturbance, DriveError> {
        let calls = self.stack.calls();
        let goal = self.send(records)?;
        calls.inject(Fault::Trouble(Hits::First(schedule::DENIALS), vec![Trouble::Denied]));
        let mut subjects = self.start()?;
        // How many calls had been denied when each process was started. One that ends without another one was not denied.
        let mut before = vec![0; subjects.len()];
        let drained = loop {
            self.evidence.phase(Phase::Draining);
            let limit = WAIT_FOR_DENIED.min(self.case.settings.timeout);
            let drained = self.settling(&subjects).drained(&mut goal.clone(), limit);
            let denied = calls.disturbed();
            let mut ended = before.iter_mut().zip(&subjects).filter(|(_, subject)| subject.status().is_some());
            let is_denied = ended.all(|(before, _)| std::mem::replace(before, denied) < denied);
            if !matches!(drained, Err(SettleError::Ended { .. })) || !is_denied {
                break drained;
            }
            self.evidence.log.note("-- ended when it was denied, and is started again".to_owned());
            self.start_again(&mut subjects)?;
        };
        calls.end_troubles();
        match drained {
            Err(SettleError::Behind { .. }) if calls.disturbed() > 0 => {
                self.evidence.log.note("-- does not go on when it was denied, and is started again".to_owned());
                for subject in &subjects {
                    // How it ends does not matter, because it has failed already.
                    let _ = subject.stop(STOP_LIMIT);
                }
                self.start_again(&mut subjects)?;
            }
            Ok(_) | Err(SettleError::Behind { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.drain_with(&subjects, &goal).map_err(with_session_hint)?;
        Ok(self.if_disturbed(NO_CALL))
    }
}

fn messages(records: &[Record]) -> String {
    match records.len() {
        0 => "no message".to_owned(),
        1 => "one message".to_owned(),
        count => format!("{count} messages"),
    }
}
