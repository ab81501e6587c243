//! Schedules that disturb Kafka: the broker goes away and comes back, its answers to offset commits are lost, and
//! partitions and groups move to other brokers.

use std::thread;

use super::{Disturbance, Drive, DriveError};
use crate::calls::Moment;
use crate::schedule;
use crate::stack::Record;

/// The name of the request by which a pipeline commits.
const COMMIT: &str = "OffsetCommit";

/// How many commits are not answered. Clients repeat a commit by themselves, some of them only once or twice, so fewer
/// losses may not reach the pipeline. After each more, a client waits longer before it connects again, up to many seconds.
const LOSSES: usize = 3;

impl Drive<'_> {
    /// Lets the broker go away at the first write, and come back after a while.
    pub(super) fn broker_down(&self, records: &[Record]) -> Result<Disturbance, DriveError> {
        self.at_first_write(records, |write| {
            if !self.stack.set_broker_up(false)? {
                let why = "the pipeline reaches the broker without the framework's relay, which exists on the embedded stack, and on the \
                           docker stack if the engine is on this machine; services that run already are not ours";
                return Ok(Disturbance::None(why.to_owned()));
            }
            self.evidence.fault();
            self.evidence.log.note("-- the broker goes away".to_owned());
            drop(write);
            thread::sleep(schedule::OUTAGE);
            self.stack.set_broker_up(true)?;
            self.evidence.log.note("-- the broker is back".to_owned());
            Ok(Disturbance::AsScheduled)
        }, || Ok(()))
    }

    /// Gives partitions other leaders and groups other coordinators at the first write.
    pub(super) fn leader_change(&self, records: &[Record]) -> Result<Disturbance, DriveError> {
        let groups = &self.case.settings.groups;
        // After this move it is known where they are, so that each of them moves with the next one.
        if !self.stack.move_leaders(groups)? {
            self.process(records)?;
            let why =
                "this Kafka has no second broker to which leaders can move; the stacks embedded and docker have one";
            return Ok(Disturbance::None(why.to_owned()));
        }
        self.at_first_write(
            records,
            |_write| {
                self.stack.move_leaders(groups)?;
                self.evidence.fault();
                self.evidence.log.note("-- partitions have other leaders, and groups other coordinators".to_owned());
                Ok(Disturbance::AsScheduled)
            },
            || Ok(()),
        )
    }

    /// Lets the broker carry out the first commits, and close all connections instead of answering each.
    pub(super) fn commit_lost(&self, records: &[Record]) -> Result<Disturbance, DriveError> {
        if !self.stack.hold_kafka_request(COMMIT, 1, Moment::After)? {
            self.process(records)?;
            let why = "the pipeline reaches the broker without the framework's relay, so every commit is answered";
            return Ok(Disturbance::None(why.to_owned()));
        }
        let mut lost = 0;
        let drop_answer = || {
            lost += 1;
            if lost < LOSSES {
                self.stack.hold_kafka_request(COMMIT, 1, Moment::After)?;
            }
            self.stack.set_broker_up(true)?;
            self.evidence.fault();
            self.evidence.log.note("-- the answer to an offset commit is lost".to_owned());
            Ok(lost < LOSSES)
        };
        self.watching(COMMIT, drop_answer, || self.process(records))??;
        Ok(if lost > 0 {
            Disturbance::AsScheduled
        } else {
            Disturbance::None("the subject committed nothing".to_owned())
        })
    }
}
