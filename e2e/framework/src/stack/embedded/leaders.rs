//! The leaders of the embedded Kafka's partitions and the coordinators of groups move between its brokers.

use std::ffi::{CStr, CString};
use std::sync::atomic::Ordering;

use rdkafka::bindings as sys;
use rdkafka::error::RDKafkaErrorCode;

use super::kafka::Kafka;
use crate::stack::StackError;

/// The kind of coordinator that consumer groups have.
const GROUP: &CStr = c"group";

impl Kafka {
    /// Makes the next broker the leader of each partition and the coordinator of each of these groups. False if there is
    /// only one broker. Where groups and partitions were before the first move is not known.
    #[allow(unsafe_code, reason = "the mock cluster has no complete safe interface")]
    pub(super) fn move_leaders(&self, groups: &[String]) -> Result<bool, StackError> {
        if self.brokers < 2 {
            return Ok(false);
        }
        let cluster = self.cluster()?;
        let moved = self.moves.fetch_add(1, Ordering::SeqCst);
        let broker = |number: i32| (number + moved).rem_euclid(self.brokers.into()) + 1;
        let name = |text: &str| {
            CString::new(text).map_err(|error| StackError::new(format!("moving the leader of {text}"), error))
        };
        for (topic, partitions) in self.partitions() {
            let topic_name = name(&topic)?;
            for partition in (0..).take(partitions) {
                // SAFETY: the cluster is alive, and the name outlives the call, which copies it and waits for the answer
                // of the cluster's own thread.
                let code = unsafe {
                    sys::rd_kafka_mock_partition_set_leader(cluster, topic_name.as_ptr(), partition, broker(partition))
                };
                check(&format!("the leader of {topic}-{partition}"), code)?;
            }
        }
        for group in groups {
            let key = name(group)?;
            // SAFETY: the same as above; both texts outlive the call.
            let code = unsafe { sys::rd_kafka_mock_coordinator_set(cluster, GROUP.as_ptr(), key.as_ptr(), broker(0)) };
            check(&format!("the coordinator of group {group}"), code)?;
        }
        Ok(true)
    }
}

fn check(what: &str, code: sys::rd_kafka_resp_err_t) -> Result<(), StackError> {
    match RDKafkaErrorCode::from(code) {
        RDKafkaErrorCode::NoError => Ok(()),
        code => Err(StackError::new(format!("moving {what} to another broker"), code)),
    }
}
