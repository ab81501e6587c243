//! What the group of a connector has committed, read and changed from outside of the group, as Kafka's own tools do.
//!
//! A broker refuses a change while the group has members.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::bindings as raw;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{IsError as _, KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::watch;

use super::lookup::committed_of;
use super::{ClusterProbe, Committed, KafkaLog};
use crate::TopicPartition;

/// How long the coordinator of a group may take to answer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The pause before a coordinator is asked for again.
const PAUSE: Duration = Duration::from_millis(100);

/// A group, seen from outside.
pub(crate) struct Group {
    id: String,
    consumer: BaseConsumer<KafkaLog>,
    log: KafkaLog,
    timeout: Duration,
}

impl Group {
    /// The group `id` at the cluster of these client settings. `timeout` is how long the cluster may take to answer.
    pub fn new(id: String, client: &ClientConfig, timeout: Duration) -> KafkaResult<Self> {
        let mut client = super::asking(client);
        client.set("group.id", &id).set("enable.auto.commit", "false");
        let log = KafkaLog::of_start(format!("group {id}"), &client);
        let consumer = client.create_with_context(log.clone())?;
        Ok(Self { id, consumer, log, timeout })
    }

    /// What the group has committed for the partitions of all topics that exist. The error is a sentence.
    pub fn committed(&self, stop: &watch::Receiver<bool>) -> Result<Vec<Committed>, String> {
        let mut all = TopicPartitionList::new();
        for partition in self.partitions(stop)? {
            all.add_partition(&partition.topic, partition.partition);
        }
        let ask = || self.consumer.committed_offsets(all.clone(), TIMEOUT).and_then(|list| committed_of(&list));
        let mut committed = with_a_coordinator(ask).map_err(|error| error.to_string())?;
        committed.retain(|committed| committed.offset.is_some());
        Ok(committed)
    }

    /// The partitions of all topics that exist.
    pub fn partitions(&self, stop: &watch::Receiver<bool>) -> Result<Vec<TopicPartition>, String> {
        let probe = ClusterProbe { log: &self.log, timeout: self.timeout, stop };
        let metadata = probe
            .metadata(self.consumer.client(), None, |timeout| drop(self.consumer.poll(timeout)))
            .map_err(|problem| format!("cannot reach Kafka at {}: {problem}", self.log.servers()))?;
        let of_topic = |topic: &rdkafka::metadata::MetadataTopic| {
            let name: std::sync::Arc<str> = topic.name().into();
            let partition = |id| TopicPartition { topic: std::sync::Arc::clone(&name), partition: id };
            topic.partitions().iter().map(|found| partition(found.id())).collect::<Vec<_>>()
        };
        Ok(metadata.topics().iter().flat_map(of_topic).collect())
    }

    /// The offsets of the first record of the partition and of the one that comes next.
    pub fn range(&self, partition: &TopicPartition) -> KafkaResult<(i64, i64)> {
        self.consumer.fetch_watermarks(&partition.topic, partition.partition, TIMEOUT)
    }

    /// Commits these offsets, without metadata, and removes what is committed where there is none.
    pub fn change(&self, offsets: &BTreeMap<TopicPartition, Option<i64>>) -> KafkaResult<()> {
        let (mut set, mut unset) = (TopicPartitionList::new(), TopicPartitionList::new());
        for (TopicPartition { topic, partition }, offset) in offsets {
            match offset {
                Some(offset) => set.add_partition_offset(topic, *partition, Offset::Offset(*offset))?,
                None => drop(unset.add_partition(topic, *partition)),
            }
        }
        if set.count() > 0 {
            with_a_coordinator(|| self.admin(&set, Change::Alter))?;
        }
        if unset.count() > 0 {
            with_a_coordinator(|| self.admin(&unset, Change::Delete))?;
        }
        Ok(())
    }

    /// Makes one change, and waits for its answer.
    fn admin(&self, partitions: &TopicPartitionList, change: Change) -> KafkaResult<()> {
        let id = CString::new(self.id.as_str())?;
        let client = self.consumer.client().native_ptr();
        let millis = i32::try_from(TIMEOUT.as_millis()).unwrap_or(i32::MAX);
        let op = match change {
            Change::Alter => raw::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS,
            Change::Delete => raw::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETECONSUMERGROUPOFFSETS,
        };
        let mut text = [0; 128];
        #[allow(unsafe_code, reason = "rdkafka wraps neither of the two calls")]
        // SAFETY: client, list and texts outlive the calls, which copy them; options, request, queue and event are
        // destroyed once, after their last use; the results are read before their event is destroyed.
        let code = unsafe {
            let options = raw::rd_kafka_AdminOptions_new(client, op);
            raw::rd_kafka_AdminOptions_set_request_timeout(options, millis, text.as_mut_ptr(), text.len());
            let queue = raw::rd_kafka_queue_new(client);
            match change {
                Change::Alter => {
                    let mut request = raw::rd_kafka_AlterConsumerGroupOffsets_new(id.as_ptr(), partitions.ptr());
                    raw::rd_kafka_AlterConsumerGroupOffsets(client, &raw mut request, 1, options, queue);
                    raw::rd_kafka_AlterConsumerGroupOffsets_destroy(request);
                }
                Change::Delete => {
                    let mut request = raw::rd_kafka_DeleteConsumerGroupOffsets_new(id.as_ptr(), partitions.ptr());
                    raw::rd_kafka_DeleteConsumerGroupOffsets(client, &raw mut request, 1, options, queue);
                    raw::rd_kafka_DeleteConsumerGroupOffsets_destroy(request);
                }
            }
            let event = raw::rd_kafka_queue_poll(queue, millis.saturating_mul(2));
            let code = if event.is_null() {
                RDKafkaRespErr::RD_KAFKA_RESP_ERR__TIMED_OUT
            } else {
                let code = change.result(event);
                raw::rd_kafka_event_destroy(event);
                code
            };
            raw::rd_kafka_queue_destroy(queue);
            raw::rd_kafka_AdminOptions_destroy(options);
            code
        };
        if code.is_error() { Err(KafkaError::AdminOp(Code::from(code))) } else { Ok(()) }
    }
}

/// Asks again while the group has no coordinator, as one that has just been created or moves has none for a moment.
fn with_a_coordinator<T>(ask: impl Fn() -> KafkaResult<T>) -> KafkaResult<T> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let result = ask();
        let code = result.as_ref().err().and_then(KafkaError::rdkafka_error_code);
        let passes = matches!(
            code,
            Some(Code::NotCoordinator | Code::CoordinatorNotAvailable | Code::CoordinatorLoadInProgress)
        );
        if !passes || Instant::now() > deadline {
            return result;
        }
        thread::sleep(PAUSE);
    }
}

/// What becomes of what is committed.
#[derive(Debug, Clone, Copy)]
enum Change {
    Alter,
    Delete,
}

impl Change {
    /// The first error of the result.
    #[allow(unsafe_code, reason = "rdkafka wraps neither of the two calls")]
    unsafe fn result(self, event: *mut raw::rd_kafka_event_t) -> RDKafkaRespErr {
        let none = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
        // SAFETY: the event is the answer to the change of this kind, and everything in it lives as long.
        unsafe {
            let code = raw::rd_kafka_event_error(event);
            if code != none {
                return code;
            }
            let mut count = 0;
            let groups = match self {
                Self::Alter => {
                    let result = raw::rd_kafka_event_AlterConsumerGroupOffsets_result(event);
                    raw::rd_kafka_AlterConsumerGroupOffsets_result_groups(result, &raw mut count)
                }
                Self::Delete => {
                    let result = raw::rd_kafka_event_DeleteConsumerGroupOffsets_result(event);
                    raw::rd_kafka_DeleteConsumerGroupOffsets_result_groups(result, &raw mut count)
                }
            };
            for i in 0..count {
                let group = *groups.add(i);
                let error = raw::rd_kafka_group_result_error(group);
                if !error.is_null() && raw::rd_kafka_error_code(error) != none {
                    return raw::rd_kafka_error_code(error);
                }
                let partitions = raw::rd_kafka_group_result_partitions(group);
                if partitions.is_null() {
                    continue;
                }
                let elements = (0..usize::try_from((*partitions).cnt).unwrap_or(0)).map(|i| (*partitions).elems.add(i));
                if let Some(code) = elements.map(|element| (*element).err).find(|code| *code != none) {
                    return code;
                }
            }
            none
        }
    }
}
