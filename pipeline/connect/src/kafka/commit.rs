//! Offset commits of one partition, with a deadline, and only while the consumer is a member of its group.
//!
//! A broker checks the member and the generation of an offset commit, but never who owns the partition. So these rules,
//! together with `task`, keep a stale task from committing: poll, callbacks and commits run on one thread; commits are
//! synchronous and, except for starting offsets, for one partition; and none is sent without a current membership.

use std::ffi::{CStr, CString};
use std::time::Duration;

use rdkafka::bindings as raw;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::consumer::list;
use super::lookup::committed_of;
use super::{Committed, Consumer, is_permanent};
use crate::TopicPartition;

/// How long one question to the group coordinator may take. A commit can wait behind a rebalance for the other members;
/// one that is given up is tried again after a poll.
const COORDINATOR_TIMEOUT: Duration = Duration::from_secs(10);

/// The result of a commit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CommitOutcome {
    /// The broker has accepted it.
    Done,
    /// It is not accepted now, because a rebalance is under way, or the answer is not known. It is to be tried again
    /// after a poll, if the task still owns the partition.
    Later(String),
    /// This member is no longer in the group, so the flush belongs to another owner of the partition.
    Lost(String),
    /// The partition's topic does not exist any more.
    Gone(String),
}

impl Consumer {
    /// Reads what the group has committed for this partition. Waits no longer than `patience`.
    pub(super) fn committed(&self, partition: &TopicPartition, patience: Duration) -> KafkaResult<Committed> {
        let committed = committed_of(&self.inner.committed_offsets(list(partition), patience)?)?;
        committed.into_iter().next().ok_or(KafkaError::NoMessageReceived)
    }

    /// Whether the group still has a committed offset for this partition, for which it had one. When a topic is
    /// deleted, its offsets vanish, and a new topic of that name would be read from where the old one was left. `None`
    /// if the answer is not known now.
    pub fn is_committed(&self, partition: &TopicPartition, patience: Duration) -> Option<bool> {
        let committed = self.committed(partition, patience.min(COORDINATOR_TIMEOUT));
        committed.ok().map(|committed| committed.offset.is_some())
    }

    /// Commits the offset of one partition with its metadata. Waits no longer than `patience`, and as long again for
    /// reading the commit back. An error is permanent.
    pub fn commit(
        &self,
        partition: &TopicPartition,
        offset: i64,
        metadata: &str,
        patience: Duration,
    ) -> KafkaResult<CommitOutcome> {
        let mut list = TopicPartitionList::new();
        let mut element = list.add_partition(&partition.topic, partition.partition);
        element.set_offset(Offset::Offset(offset))?;
        element.set_metadata(metadata);
        let patience = patience.min(COORDINATOR_TIMEOUT);
        self.commit_list(&list, patience, |error| self.read_again(partition, offset, metadata, error, patience))
    }

    /// Commits the offsets from which partitions are read of which the group has committed nothing, in one request and
    /// without metadata. Waits no longer than `patience`. An error is permanent.
    pub fn commit_starts(&self, starts: &[(TopicPartition, i64)], patience: Duration) -> KafkaResult<CommitOutcome> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in starts {
            list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(*offset))?;
        }
        // If it was accepted after all, making it again commits the same offsets once more.
        self.commit_list(&list, patience.min(COORDINATOR_TIMEOUT), |error| CommitOutcome::Later(error.to_string()))
    }

    /// Commits these offsets as a member of the group. `unknown` says what became of a commit to which no answer came.
    fn commit_list(
        &self,
        list: &TopicPartitionList,
        patience: Duration,
        unknown: impl FnOnce(&KafkaError) -> CommitOutcome,
    ) -> KafkaResult<CommitOutcome> {
        let Some(membership) = self.membership() else {
            // A group without members accepts a commit from anyone.
            return Ok(CommitOutcome::Later("the task is not a member of its group at the moment".into()));
        };
        match self.commit_within(list, patience) {
            // librdkafka adds the membership when it sends the commit, not when it is called.
            Ok(()) if self.membership().as_ref() == Some(&membership) => Ok(CommitOutcome::Done),
            Ok(()) => {
                Ok(CommitOutcome::Later("the membership of the group changed while the commit was under way".into()))
            }
            Err(error) if is_permanent(&error) => Err(error),
            Err(error) => match error.rdkafka_error_code() {
                Some(Code::UnknownMemberId | Code::FencedMemberEpoch | Code::FencedInstanceId | Code::Fenced) => {
                    Ok(CommitOutcome::Lost(error.to_string()))
                }
                Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
                    Ok(CommitOutcome::Gone(error.to_string()))
                }
                Some(Code::OffsetMetadataTooLarge | Code::InvalidCommitOffsetSize) => Err(error),
                // The commit was refused, so there is nothing to read back.
                Some(Code::IllegalGeneration | Code::RebalanceInProgress | Code::StaleMemberEpoch) => {
                    Ok(CommitOutcome::Later(error.to_string()))
                }
                // The answer did not come, or does not say whether the commit was accepted.
                _ => Ok(unknown(&error)),
            },
        }
    }

    /// Commits and waits for the answer no longer than `patience`. `rd_kafka_commit` would wait without end if a broker
    /// froze at the wrong moment. Here the answer comes to a queue of its own, and a late answer is destroyed with that
    /// queue.
    fn commit_within(&self, offsets: &TopicPartitionList, patience: Duration) -> KafkaResult<()> {
        let client = self.inner.client().native_ptr();
        let millis = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
        #[allow(unsafe_code, reason = "rdkafka commits without a deadline")]
        // SAFETY: the client and the list outlive the calls, librdkafka copies the list; queue and event are destroyed
        // once, after their use.
        let code = unsafe {
            let queue = raw::rd_kafka_queue_new(client);
            let mut code = raw::rd_kafka_commit_queue(client, offsets.ptr(), queue, None, std::ptr::null_mut());
            if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                let event = raw::rd_kafka_queue_poll(queue, millis);
                if event.is_null() {
                    code = RDKafkaRespErr::RD_KAFKA_RESP_ERR__TIMED_OUT;
                } else {
                    code = raw::rd_kafka_event_error(event);
                    raw::rd_kafka_event_destroy(event);
                }
            }
            raw::rd_kafka_queue_destroy(queue);
            code
        };
        if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            Ok(())
        } else {
            Err(KafkaError::ConsumerCommit(code.into()))
        }
    }

    /// The answer to a commit did not arrive, so what the group has committed is read to learn whether it was accepted.
    fn read_again(
        &self,
        partition: &TopicPartition,
        offset: i64,
        metadata: &str,
        error: &KafkaError,
        patience: Duration,
    ) -> CommitOutcome {
        match self.committed(partition, patience) {
            Ok(c) if c.offset == Some(offset) && c.metadata == metadata => CommitOutcome::Done,
            Ok(_) => CommitOutcome::Later(error.to_string()),
            Err(read) => {
                CommitOutcome::Later(format!("{error}, and the committed offset could not be read back: {read}"))
            }
        }
    }

    /// The member id and the generation of this consumer in its group. `None` while it is not a member.
    fn membership(&self) -> Option<(CString, i32)> {
        #[allow(unsafe_code, reason = "rdkafka's ConsumerGroupMetadata is opaque")]
        // SAFETY: the client outlives the call; the metadata is read, and its text copied, before it is destroyed,
        // which is once.
        unsafe {
            let metadata = raw::rd_kafka_consumer_group_metadata(self.inner.client().native_ptr());
            if metadata.is_null() {
                return None;
            }
            let member = raw::rd_kafka_consumer_group_metadata_member_id(metadata);
            let member = if member.is_null() { CString::default() } else { CStr::from_ptr(member).to_owned() };
            let generation = raw::rd_kafka_consumer_group_metadata_generation_id(metadata);
            raw::rd_kafka_consumer_group_metadata_destroy(metadata);
            (!member.is_empty() && generation >= 1).then_some((member, generation))
        }
    }
}
