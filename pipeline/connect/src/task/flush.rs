//! The stages of a partition's flush, from the moment it is due to the commit of its end.
//!
//! The process may die between any two stages: whoever takes the partition over ends up with the same rows in the sink,
//! see `intent`.

use std::time::Instant;

use super::partitions::{Owned, made_anew};
use super::{LOOK_AT_ALL, Task, TaskError, Wanted};
use crate::intent;
use crate::kafka::CommitOutcome;
use crate::metrics::wall_millis;
use crate::pulse::LoopStep;
use crate::sink::{Demand, SinkError, Tick};

/// The stage of a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FlushStage {
    /// The intent is to be committed.
    Intent,
    /// The sink completes the flush.
    Completing,
    /// The dead letters of records before the end are to be acknowledged.
    DeadLetters,
    /// The end is to be committed.
    End,
}

/// The result of one step of a partition's flush.
enum Step {
    /// The flush has advanced, and there may be more to do at once.
    Again,
    /// The flush waits for something outside.
    Wait,
    /// There is nothing to do.
    Idle,
    /// The partition was closed. The next one has its index now.
    Closed,
}

impl Task {
    /// Advances the flush of every partition as far as possible. Gives whether no flush is under way and none is due.
    ///
    /// After a commit that has to wait, no other one is tried in the same pass: it would have to wait too, and the
    /// consumer has to be polled first. Partitions with nothing to flush are looked at only once a second, so that a
    /// thousand idle ones cost as little as one.
    pub(super) fn advance(&mut self) -> Result<bool, TaskError> {
        let mut settled = true;
        self.commits_wait = false;
        self.commit_starts()?;
        let all = self.all_looked_at.elapsed() >= LOOK_AT_ALL;
        if all {
            self.all_looked_at = Instant::now();
        }
        let mut i = 0;
        while i < self.owned.len() {
            if !all && self.owned[i].is_quiet() {
                i += 1;
                continue;
            }
            match self.step(i)? {
                Step::Again | Step::Closed => {}
                Step::Wait => {
                    settled = false;
                    i += 1;
                }
                Step::Idle => i += 1,
            }
        }
        Ok(settled)
    }

    /// Commits where partitions begin of which the group has committed nothing: who watches the group would take a
    /// partition without a committed offset for one that is as far behind as it is long, or not behind at all. What a
    /// flush has committed is never replaced. Nothing depends on the success; a partition that is lost or gone meanwhile
    /// is noticed elsewhere.
    fn commit_starts(&mut self) -> Result<(), TaskError> {
        let owned = &self.owned;
        self.starts.retain(|(partition, _)| {
            let at = owned.position(partition.topic.as_bytes(), partition.partition);
            at.is_some_and(|i| owned[i].committed.is_none())
        });
        if self.starts.is_empty() {
            return Ok(());
        }
        self.status.pulse().is_doing(LoopStep::Committing);
        let outcome = self.consumer.commit_starts(&self.starts, self.patience());
        let outcome = outcome.map_err(|source| TaskError::Kafka {
            action: format!(
                "committing the starting offsets of new partitions in group connect-{}",
                self.config.name()
            ),
            source,
        })?;
        match outcome {
            CommitOutcome::Later(reason) => {
                self.commits_wait = true;
                tracing::debug!("the starting offsets of new partitions are not committed yet: {reason}");
            }
            CommitOutcome::Done => self.starts.clear(),
            CommitOutcome::Lost(reason) | CommitOutcome::Gone(reason) => {
                tracing::debug!("the starting offsets of new partitions are not committed: {reason}");
                self.starts.clear();
            }
        }
        Ok(())
    }

    fn step(&mut self, i: usize) -> Result<Step, TaskError> {
        let Some((flush, stage)) = self.owned[i].flush.clone() else { return self.begin(i) };
        let partition = self.owned[i].partition.clone();
        let next = match stage {
            FlushStage::Intent => {
                if let Some(step) = self.commit_intent(i, flush.end)? {
                    return Ok(step);
                }
                match self.sink.flush(&partition) {
                    Ok(()) => FlushStage::Completing,
                    Err(error) => return self.recover(i, error),
                }
            }
            FlushStage::Completing => {
                let complete = self.sink.poll(&partition, &mut self.errant);
                self.report_errant()?;
                match complete {
                    Ok(true) => FlushStage::DeadLetters,
                    Ok(false) => return Ok(Step::Wait),
                    Err(error) => return self.recover(i, error),
                }
            }
            FlushStage::DeadLetters => {
                if !self.errors.acknowledged(&partition, flush.end)? {
                    return Ok(Step::Wait);
                }
                FlushStage::End
            }
            FlushStage::End => {
                if !flush.intent {
                    self.check_topic(i)?;
                }
                if let Some(step) = self.commit(i, flush.end, "")? {
                    return Ok(step);
                }
                let owned = &mut self.owned[i];
                owned.committed = Some(flush.end);
                owned.last_commit = Instant::now();
                if owned.replay.as_ref().is_some_and(|(replay, _)| flush.end >= replay.end) {
                    owned.replay = None;
                }
                owned.flush = None;
                return Ok(Step::Again);
            }
        };
        self.owned[i].flush = Some((flush, next));
        Ok(Step::Again)
    }

    /// Commits the intent of the flush that ends at `end`. Gives what [`Self::commit`] gives.
    fn commit_intent(&mut self, i: usize, end: i64) -> Result<Option<Step>, TaskError> {
        let owned = &self.owned[i];
        let settings = match &owned.replay {
            Some((replay, _)) => replay.settings.clone(),
            None => self.config.intent_settings(),
        };
        let Some(start) = owned.committed.or(owned.first) else {
            return Err(TaskError::Assignment(format!(
                "flushing {} up to offset {end}: no record of the partition has come, which is a defect of the sink: report \
                 it with the log",
                owned.partition
            )));
        };
        self.check_topic(i)?;
        let step = self.commit(i, start, &intent::encode(end, &settings))?;
        if step.is_none() {
            self.owned[i].committed = Some(start);
        }
        Ok(step)
    }

    /// Asks the sink for a flush that is due.
    fn begin(&mut self, i: usize) -> Result<Step, TaskError> {
        let owned = &mut self.owned[i];
        let still =
            owned.position.is_some() && std::mem::replace(&mut owned.looked_at, owned.position) == owned.position;
        // The partition's end counts only after a record since the assignment, because the fetch that brought the
        // record also brought the watermark; an older watermark may be outdated. A repeated flush ends where its intent
        // says, whatever the watermark is. Behind the last record there may be the marker of a transaction's end, which
        // librdkafka passes over: its position is asked for only when no records come.
        let at_end = owned.replay.is_none()
            && owned.position.is_some_and(|position| {
                self.consumer.watermarks(&owned.partition).is_some_and(|(_, high)| {
                    position >= high || still && self.consumer.position(&owned.partition) >= Some(high)
                })
            });
        owned.idle_since = if at_end { owned.idle_since.or_else(|| Some(Instant::now())) } else { None };
        let tick = Tick {
            wall_millis: wall_millis(),
            idle: owned.idle_since.map(|since| since.elapsed()),
            demand: if self.stopping.is_some() {
                Demand::Shutdown
            } else if self.wanted == Wanted::Paused {
                Demand::Pause
            } else if self.pressed {
                Demand::Memory
            } else if owned.last_commit.elapsed() >= self.offset_flush_interval {
                Demand::Commit
            } else {
                Demand::Settings
            },
            uncommitted: owned.position.filter(|position| owned.committed != Some(*position)),
        };
        match self.sink.due(&owned.partition, &tick) {
            Ok(None) => Ok(Step::Idle),
            Ok(Some(flush)) => {
                tracing::debug!(partition = %owned.partition, end = flush.end, reason = flush.reason, "a flush is due");
                self.metrics.flush(flush.reason);
                if flush.intent {
                    owned.flush = Some((flush, FlushStage::Intent));
                    return Ok(Step::Again);
                }
                let partition = owned.partition.clone();
                owned.flush = Some((flush, FlushStage::Completing));
                match self.sink.flush(&partition) {
                    Ok(()) => Ok(Step::Again),
                    Err(error) => self.recover(i, error),
                }
            }
            Err(error) => self.recover(i, error),
        }
    }

    fn recover(&mut self, i: usize, error: SinkError) -> Result<Step, TaskError> {
        match error {
            SinkError::Restart { text, .. } => {
                let partition = self.owned[i].partition.clone();
                self.restart(&partition, &text);
                Ok(Step::Closed)
            }
            error @ SinkError::Fatal { .. } => Err(error.into()),
        }
    }

    /// Checks before the first commit of a flush that the topic is still the one that was read.
    fn check_topic(&self, i: usize) -> Result<(), TaskError> {
        let Owned { partition, committed, .. } = &self.owned[i];
        match committed {
            Some(committed)
                if !self.commits_wait && self.consumer.is_committed(partition, self.patience()) == Some(false) =>
            {
                Err(made_anew(partition, *committed))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Commits for a partition that the task owns. `None` means that it is done; otherwise the commit is to be tried
    /// again after a poll, if the task still owns the partition.
    fn commit(&mut self, i: usize, offset: i64, metadata: &str) -> Result<Option<Step>, TaskError> {
        if self.commits_wait {
            return Ok(Some(Step::Wait));
        }
        self.status.pulse().is_doing(LoopStep::Committing);
        let (partition, patience) = (self.owned[i].partition.clone(), self.patience());
        let outcome =
            self.consumer.commit(&partition, offset, metadata, patience).map_err(|source| TaskError::Kafka {
                action: format!("committing offset {offset} of {partition} in group connect-{}", self.config.name()),
                source,
            })?;
        match outcome {
            CommitOutcome::Done => {
                self.metrics.commit_ok();
                self.owned[i].commit_logged = false;
                Ok(None)
            }
            CommitOutcome::Later(reason) => {
                self.commits_wait = true;
                self.metrics.commit_failed();
                if !std::mem::replace(&mut self.owned[i].commit_logged, true) {
                    tracing::warn!(%partition, offset, "the broker does not accept the commit now; the task tries \
                                                        again as long as it owns the partition: {reason}");
                }
                Ok(Some(Step::Wait))
            }
            CommitOutcome::Lost(reason) => {
                self.metrics.commit_failed();
                tracing::warn!(%partition, offset, "the task is no longer a member of its group, so the next owner of \
                                                    the partition repeats the flush: {reason}");
                self.close(&partition);
                Ok(Some(Step::Closed))
            }
            CommitOutcome::Gone(reason) => {
                self.metrics.commit_failed();
                self.drop_partition(&partition, &reason);
                Ok(Some(Step::Closed))
            }
        }
    }
}
