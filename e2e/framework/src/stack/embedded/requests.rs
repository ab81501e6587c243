//! The requests to the embedded Kafka: which ones there were, and one that is held, at which a subject can be killed.
//!
//! librdkafka's mock cluster has no hook. It keeps a list of the requests that it has received, and a stack of errors
//! and delays for those that it will receive. A request is held by a delay that is longer than any run: the broker has
//! carried it out, or has refused it, and its client gets no answer. Neither list says who has sent a request.

use rdkafka::bindings as sys;

use super::kafka::Kafka;
use crate::calls::Moment;
use crate::stack::StackError;

/// The broker whose requests are held: the only one, where requests are held.
const BROKER: i32 = 1;

/// How long the answer to a request that is held is delayed, in milliseconds: longer than any run.
const NEVER: i32 = 3_600_000;

/// A kind of request by which a pipeline makes something last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    name: &'static str,
    /// Its number in Kafka's protocol.
    key: i16,
    /// The error of a request that has had no effect.
    refusal: sys::rd_kafka_resp_err_t,
}

/// The number of a request for committed offsets.
const OFFSET_FETCH: i16 = 9;

/// What can be held.
const KINDS: [Kind; 2] = [
    Kind { name: "Produce", key: 0, refusal: sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION },
    Kind { name: "OffsetCommit", key: 8, refusal: sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NOT_COORDINATOR },
];

fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

impl Kafka {
    /// Begins to keep a list of all requests.
    #[allow(unsafe_code, reason = "the mock cluster has no complete safe interface")]
    pub(super) fn track_requests(&self) -> Result<(), StackError> {
        let cluster = self.cluster()?;
        // SAFETY: the cluster is alive (see `cluster`); the call takes the cluster's own lock.
        unsafe { sys::rd_kafka_mock_start_request_tracking(cluster) };
        Ok(())
    }

    /// The names of the requests so far that can be held, in the order of their arrival.
    pub(super) fn requests(&self) -> Result<Vec<&'static str>, StackError> {
        let named = |key| KINDS.iter().find(|kind| kind.key == key).map(|kind| kind.name);
        Ok(self.keys()?.into_iter().filter_map(named).collect())
    }

    /// The kind of each request so far, as its number in Kafka's protocol, in the order of their arrival.
    #[allow(unsafe_code, reason = "the mock cluster has no complete safe interface")]
    pub(super) fn keys(&self) -> Result<Vec<i16>, StackError> {
        let cluster = self.cluster()?;
        let mut count = 0;
        // SAFETY: the cluster is alive; the call takes its lock, and gives a list of copies, which is freed below.
        let list = unsafe { sys::rd_kafka_mock_get_requests(cluster, &raw mut count) };
        if list.is_null() {
            return Ok(Vec::new());
        }
        // SAFETY: the list has `count` pointers, each to a copy of a request, until it is freed.
        let requests = unsafe { std::slice::from_raw_parts(list, count) };
        // SAFETY: the request is alive, and the call only reads a field of it.
        let key = |request: &*mut sys::rd_kafka_mock_request_t| unsafe { sys::rd_kafka_mock_request_api_key(*request) };
        let found = requests.iter().map(key).collect();
        // SAFETY: the list came from the call above, is freed once, and is used no more.
        unsafe { sys::rd_kafka_mock_request_destroy_array(list, count) };
        Ok(found)
    }

    /// How many requests for committed offsets there were so far.
    pub(super) fn offset_fetches(&self) -> Result<usize, StackError> {
        Ok(self.keys()?.into_iter().filter(|key| *key == OFFSET_FETCH).count())
    }

    /// Holds the n-th request of this name from now on. False if there is no such request.
    #[allow(unsafe_code, reason = "the mock cluster has no complete safe interface")]
    pub(super) fn hold(&self, name: &str, nth: usize, moment: Moment) -> Result<bool, StackError> {
        let Some(kind) = kind(name) else { return Ok(false) };
        let cluster = self.cluster()?;
        let none = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        let held = if moment == Moment::Before { kind.refusal } else { none };
        let earlier = std::iter::repeat_n((none, 0), nth.saturating_sub(1));
        for (error, delay) in earlier.chain([(held, NEVER)]) {
            // SAFETY: the cluster is alive; the call takes its lock, and reads one error and one delay.
            let pushed = unsafe {
                sys::rd_kafka_mock_broker_push_request_error_rtts(cluster, BROKER, kind.key, 1, error, delay)
            };
            if pushed != none {
                return Err(StackError::new(format!("holding request {nth} of {name}"), "the broker does not know it"));
            }
        }
        Ok(true)
    }

    /// Whether the request that [`Self::hold`] was asked to hold has come. Its effect, if it has one, can then not be
    /// prevented any more.
    #[allow(unsafe_code, reason = "the mock cluster has no complete safe interface")]
    pub(super) fn holds(&self, name: &str) -> Result<bool, StackError> {
        let Some(kind) = kind(name) else { return Ok(false) };
        let cluster = self.cluster()?;
        let mut left = 0;
        // SAFETY: the cluster is alive; the call takes its lock, and writes the number of errors that are left.
        unsafe { sys::rd_kafka_mock_broker_error_stack_cnt(cluster, BROKER, kind.key, &raw mut left) };
        Ok(left == 0)
    }
}
