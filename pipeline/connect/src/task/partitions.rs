//! Which partitions are ours, as the consumer's callbacks said, and where each was taken over.

use std::time::Instant;

use super::flush::Stage;
use super::{Task, TaskError};
use crate::consumer::{Change, Committed};
use crate::convert::Converter;
use crate::sink::{Flush, Replay, SinkError};
use crate::{TopicPartition, intent};

/// A partition that is ours. It lasts from one assignment to its revocation: the ownership epoch in which commits are allowed.
pub(super) struct Owned {
    pub(super) partition: TopicPartition,
    /// What the group has committed.
    pub(super) committed: Option<i64>,
    /// Offset of the first record seen, where nothing was committed.
    pub(super) first: Option<i64>,
    /// The next offset to be put.
    pub(super) position: Option<i64>,
    pub(super) idle_since: Option<Instant>,
    pub(super) replay: Option<(Replay, Converter)>,
    pub(super) paused: bool,
    /// To be closed and opened again, and why.
    pub(super) restart: Option<String>,
    /// To go on at `position`, where librdkafka is not any more.
    pub(super) seek: bool,
    pub(super) flush: Option<(Flush, Stage)>,
    pub(super) commit_logged: bool,
    pub(super) last_commit: Instant,
}

impl Owned {
    /// Whether the record at this offset was put already.
    pub(super) fn is_behind(&self, offset: i64) -> bool {
        self.position.is_some_and(|position| offset < position)
    }

    /// Whether a flush is repeated and not all of its records have come.
    pub(super) fn is_repeating(&self) -> bool {
        self.replay.as_ref().is_some_and(|(replay, _)| self.position.is_none_or(|position| position < replay.end))
    }
}

impl Task {
    /// Opens what was assigned and closes what was revoked since the last poll.
    pub(super) fn apply_changes(&mut self) -> Result<(), TaskError> {
        for change in self.consumer.changes() {
            match change {
                Change::Assigned(partitions) => {
                    for committed in partitions {
                        self.close(&committed.partition.clone());
                        self.open(committed)?;
                    }
                }
                Change::Revoked(partitions) => {
                    for partition in &partitions {
                        self.close(partition);
                    }
                }
                Change::Failed(reason) => return Err(TaskError::Assignment(reason)),
            }
            self.metrics.partition_count(self.owned.len());
        }
        Ok(())
    }

    fn open(&mut self, Committed { partition, offset, metadata }: Committed) -> Result<(), TaskError> {
        let replay = intent::decode(&metadata)
            .map_err(|e| TaskError::Assignment(format!("taking over {partition} at offset {offset:?}: {e}")))?;
        let replay = match replay {
            Some(replay) => {
                let config = self.config.with(&replay.settings).map_err(|e| {
                    TaskError::Assignment(format!(
                        "repeating the flush of {partition} up to offset {}: {e}",
                        replay.end
                    ))
                })?;
                Some((replay, Converter::new(&config)?))
            }
            None => None,
        };
        tracing::info!(%partition, committed = offset, replay = replay.as_ref().map(|(r, _)| r.end), "partition assigned");
        match self.sink.open(&partition, offset, replay.as_ref().map(|(replay, _)| replay)) {
            Ok(()) => {}
            Err(SinkError::Restart(reason) | SinkError::Fatal(reason)) => return Err(SinkError::Fatal(reason).into()),
        }
        // librdkafka remembers a pause from an earlier assignment.
        self.consumer
            .resume(&partition)
            .map_err(|source| TaskError::Kafka { action: format!("resuming {partition}"), source })?;
        self.owned.push(Owned {
            partition,
            committed: offset,
            first: None,
            position: None,
            idle_since: None,
            replay,
            paused: false,
            restart: None,
            seek: false,
            flush: None,
            commit_logged: false,
            last_commit: Instant::now(),
        });
        Ok(())
    }

    pub(super) fn close(&mut self, partition: &TopicPartition) {
        if let Some(i) = self.owned.iter().position(|o| o.partition == *partition) {
            tracing::info!(%partition, flush = ?self.owned[i].flush, "partition revoked");
            self.owned.swap_remove(i);
            self.metrics.forget(partition);
            self.sink.close(partition);
        }
    }

    /// Forgets what is buffered of a partition that is still ours and begins again at what the group has committed.
    pub(super) fn restart(&mut self, i: usize, reason: &str) -> Result<(), TaskError> {
        let partition = self.owned[i].partition.clone();
        self.metrics.partition_restarted();
        tracing::warn!(%partition, "starting again from the committed offset: {reason}");
        self.close(&partition);
        let committed = self.consumer.committed(&partition).map_err(|source| TaskError::Kafka {
            action: format!("reading the committed offset of {partition}"),
            source,
        })?;
        self.seek(&partition, committed.offset)?;
        self.open(committed)
    }

    pub(super) fn seek(&self, partition: &TopicPartition, offset: Option<i64>) -> Result<(), TaskError> {
        self.consumer.seek(partition, offset).map_err(|source| TaskError::Kafka {
            action: format!(
                "seeking {partition} to {}",
                offset.map_or("its beginning".into(), |offset| offset.to_string())
            ),
            source,
        })
    }
}
