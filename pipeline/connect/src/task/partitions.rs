//! The partitions that the task owns, as the consumer's callbacks reported them, and where each was taken over.

use std::ops::{Index, IndexMut};
use std::time::Instant;

use rdkafka::Offset;

use super::flush::FlushStage;
use super::{Task, TaskError};
use crate::convert::Converter;
use crate::kafka::{AssignmentChange, Committed};
use crate::sink::{Flush, Replay};
use crate::{TopicPartition, intent};

/// The partitions that the task owns, sorted, so that one of thousands is found in a few steps.
#[derive(Default)]
pub(super) struct Partitions(Vec<Owned>);

impl Partitions {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Owned> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Owned> {
        self.0.iter_mut()
    }

    /// The index of the partition, or the one that it would have.
    fn place(&self, topic: &[u8], partition: i32) -> Result<usize, usize> {
        self.0.binary_search_by(|owned| {
            let number = owned.partition.partition.cmp(&partition);
            // Numbers are compared first, because that is fast and they rarely are equal.
            number.then_with(|| owned.partition.topic.as_bytes().cmp(topic))
        })
    }

    pub(super) fn position(&self, topic: &[u8], partition: i32) -> Option<usize> {
        self.place(topic, partition).ok()
    }

    fn insert(&mut self, owned: Owned) {
        match self.place(owned.partition.topic.as_bytes(), owned.partition.partition) {
            Ok(at) => self.0[at] = owned,
            Err(at) => self.0.insert(at, owned),
        }
    }

    /// Removes a partition. Those behind it move up.
    fn remove(&mut self, partition: &TopicPartition) -> Option<Owned> {
        self.position(partition.topic.as_bytes(), partition.partition).map(|at| self.0.remove(at))
    }
}

impl Index<usize> for Partitions {
    type Output = Owned;

    fn index(&self, at: usize) -> &Owned {
        &self.0[at]
    }
}

impl IndexMut<usize> for Partitions {
    fn index_mut(&mut self, at: usize) -> &mut Owned {
        &mut self.0[at]
    }
}

/// A partition that the task owns. It lasts from an assignment to the revocation: this is the ownership epoch in which
/// commits are allowed.
pub(super) struct Owned {
    pub(super) partition: TopicPartition,
    /// The offset that the group has committed; not one of [`Task::starts`], by which the sink names nothing.
    pub(super) committed: Option<i64>,
    /// The offset of the first record seen, if nothing was committed.
    pub(super) first: Option<i64>,
    /// The next offset to be put.
    pub(super) position: Option<i64>,
    /// The `position` at which a flush was last looked for.
    pub(super) looked_at: Option<i64>,
    pub(super) idle_since: Option<Instant>,
    pub(super) replay: Option<(Replay, Converter)>,
    pub(super) paused: bool,
    /// Set if the partition is to be closed and opened again, with the reason.
    pub(super) restart: Option<String>,
    /// Whether librdkafka has to be brought back to `position`.
    pub(super) seek: bool,
    pub(super) flush: Option<(Flush, FlushStage)>,
    pub(super) commit_logged: bool,
    /// See [`ActiveTopics::note`](crate::status::ActiveTopics::note).
    pub(super) noted: u64,
    pub(super) last_commit: Instant,
}

/// A partition that the task owns but has closed, until its committed offset has been read again.
pub(super) struct Reopening {
    partition: TopicPartition,
    /// The offset that was committed when it was closed. If the group no longer has one, the topic was deleted and
    /// created again meanwhile.
    committed: Option<i64>,
}

impl Owned {
    /// Whether the record at this offset was put already.
    pub(super) fn is_behind(&self, offset: i64) -> bool {
        self.position.is_some_and(|position| offset < position)
    }

    /// Whether a flush is being repeated of which not all records have come.
    pub(super) fn is_repeating(&self) -> bool {
        self.replay.as_ref().is_some_and(|(replay, _)| self.position.is_none_or(|position| position < replay.end))
    }

    /// Whether there is nothing to flush, because every record that has come is committed.
    pub(super) fn is_quiet(&self) -> bool {
        self.flush.is_none() && (self.position.is_none() || self.position == self.committed)
    }

    /// The offset at which it goes on.
    pub(super) fn next(&self) -> Offset {
        self.position.or(self.committed).map_or(Offset::Beginning, Offset::Offset)
    }
}

impl Task {
    /// Opens what was assigned and closes what was revoked since the last poll.
    pub(super) fn apply_changes(&mut self) -> Result<(), TaskError> {
        for change in self.consumer.changes() {
            match change {
                AssignmentChange::Assigned(partitions) => {
                    for committed in partitions {
                        self.close(&committed.partition);
                        self.open(committed)?;
                    }
                }
                AssignmentChange::Revoked(partitions) => {
                    self.reopening.retain(|reopening| !partitions.contains(&reopening.partition));
                    for partition in &partitions {
                        self.close(partition);
                    }
                }
                AssignmentChange::Found(committed) => self.reopen(committed)?,
                AssignmentChange::Failed(reason) => return Err(TaskError::Assignment(reason)),
            }
            self.metrics.partition_count(self.owned.len());
        }
        Ok(())
    }

    fn open(&mut self, found: Committed) -> Result<(), TaskError> {
        let Committed { partition, offset, metadata, earliest } = found;
        let replay = intent::decode(&metadata).map_err(|error| {
            let at = offset.map(|offset| format!(" at offset {offset}")).unwrap_or_default();
            TaskError::Assignment(format!("taking over {partition}{at}: {error}"))
        })?;
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
        tracing::info!(%partition, committed = offset, replay = replay.as_ref().map(|(r, _)| r.end), "partition \
                                                                                                      assigned");
        match self.sink.open(&partition, offset, replay.as_ref().map(|(replay, _)| replay)) {
            Ok(()) => {}
            Err(error) => return Err(error.into()),
        }
        // librdkafka remembers a pause from an earlier assignment.
        self.consumer
            .resume(&partition)
            .map_err(|source| TaskError::Kafka { action: format!("resuming {partition}"), source })?;
        self.starts.retain(|(other, _)| *other != partition);
        self.starts.extend(earliest.filter(|_| offset.is_none()).map(|earliest| (partition.clone(), earliest)));
        self.owned.insert(Owned {
            partition,
            committed: offset,
            first: None,
            position: None,
            looked_at: None,
            idle_since: None,
            replay,
            paused: false,
            restart: None,
            seek: false,
            flush: None,
            commit_logged: false,
            noted: 0,
            last_commit: Instant::now(),
        });
        Ok(())
    }

    pub(super) fn close(&mut self, partition: &TopicPartition) -> Option<Owned> {
        let owned = self.owned.remove(partition)?;
        tracing::info!(%partition, flush = ?owned.flush, "partition revoked");
        self.metrics.forget(partition);
        self.sink.close(partition);
        Some(owned)
    }

    /// Forgets what is buffered of a partition that the task still owns. It begins again at the committed offset, as
    /// soon as that is known.
    pub(super) fn restart(&mut self, partition: &TopicPartition, reason: &str) {
        self.metrics.partition_restarted();
        tracing::warn!(%partition, "the task reads the partition again from its committed offset: {reason}");
        let committed = self.close(partition).and_then(|owned| owned.committed);
        self.reopening.push(Reopening { partition: partition.clone(), committed });
        self.consumer.look_up(partition, false);
    }

    /// Drops a partition whose topic does not exist any more. If a topic of that name is created, the task reads it
    /// from its beginning.
    pub(super) fn drop_partition(&mut self, partition: &TopicPartition, reason: &str) {
        let Some(owned) = self.close(partition) else { return };
        tracing::warn!(
            %partition, committed = owned.committed, read_to = owned.position,
            "the topic of the partition does not exist any more ({reason}): the task drops the partition and goes on \
             with its other ones. Of the records after the committed offset, those that the sink has stored already \
             stay stored"
        );
        self.reopening.push(Reopening { partition: partition.clone(), committed: None });
        self.consumer.look_up(partition, true);
    }

    /// Opens a partition that was closed, at the offset that the group has committed.
    fn reopen(&mut self, found: Committed) -> Result<(), TaskError> {
        let Some(at) = self.reopening.iter().position(|reopening| reopening.partition == found.partition) else {
            return Ok(());
        };
        if let (Some(committed), None) = (self.reopening.swap_remove(at).committed, found.offset) {
            return Err(made_anew(&found.partition, committed));
        }
        let (partition, start) = (found.partition.clone(), found.start());
        self.open(found)?;
        if let Err(error) = self.seek(&partition, start) {
            tracing::debug!("{error}; the task tries again");
            if let Some(i) = self.owned.position(partition.topic.as_bytes(), partition.partition) {
                self.owned[i].seek = true;
                self.starting_over.push(partition);
            }
        }
        Ok(())
    }

    pub(super) fn seek(&self, partition: &TopicPartition, offset: Offset) -> Result<(), TaskError> {
        self.consumer
            .seek(partition, offset)
            .map_err(|source| TaskError::Kafka { action: format!("seeking {partition} to {offset:?}"), source })
    }
}

/// The error for a topic that was deleted, together with what the group had committed for it, and created again under
/// its name.
pub(super) fn made_anew(partition: &TopicPartition, committed: i64) -> TaskError {
    TaskError::OffsetOutOfRange(format!(
        "the offset {committed}, which the group had committed for {partition}, is gone: the topic was deleted and \
         created again while the task read it, so the records that come now do not follow the earlier ones. The task \
         commits no offset of the new topic. To read the new topic from its beginning, restart the connector. A sink \
         that names what it writes by offsets (S3) first needs a place without the objects of the old topic, such as \
         another topics.dir"
    ))
}
