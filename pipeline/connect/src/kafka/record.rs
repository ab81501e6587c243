//! Records in batches, from one queue to which the queues of all assigned partitions are forwarded.
//!
//! Taken one by one, each record would cost an event, a look at the clock and several locks. The records of a batch
//! stay in librdkafka's memory and are read in place.

use std::ffi::{CStr, CString, c_void};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use rdkafka::bindings as raw;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr;
use tokio::sync::Notify;

/// The number of records of a batch, at which the cost of a call no longer matters. `buffer.memory` is checked between
/// two batches; how far one batch can exceed it is limited by what librdkafka's queue holds.
const BATCH: usize = 100;

/// A queue of records. It has to be dropped before its client.
pub(crate) struct RecordQueue {
    queue: NonNull<raw::rd_kafka_queue_t>,
    /// What librdkafka's threads notify. The queue has its address.
    _wake: Arc<Notify>,
}

#[allow(unsafe_code, reason = "librdkafka's queues have their own locks")]
// SAFETY: every function called on the queue may be called from any thread.
unsafe impl Send for RecordQueue {}

impl RecordQueue {
    /// An empty queue of `client`, which notifies `wake` whenever it is no longer empty. `None` if librdkafka gives
    /// none.
    #[allow(unsafe_code, reason = "rdkafka forwards no queues")]
    pub fn new(client: *mut raw::rd_kafka_t, wake: Arc<Notify>) -> Option<Self> {
        unsafe extern "C" fn notify(_: *mut raw::rd_kafka_t, wake: *mut c_void) {
            // SAFETY: this is what the queue was given; it outlives the callback, which `drop` takes away first.
            unsafe { &*wake.cast::<Notify>() }.notify_one();
        }
        // SAFETY: the client is alive; of what is notified, see there.
        unsafe {
            let queue = NonNull::new(raw::rd_kafka_queue_new(client))?;
            raw::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(notify), Arc::as_ptr(&wake).cast_mut().cast());
            Some(Self { queue, _wake: wake })
        }
    }

    /// Forwards the records of a partition to this queue. Called before the partition is assigned, because its first
    /// records would go to the consumer's own queue. Gives whether the client knows the partition.
    #[allow(unsafe_code, reason = "rdkafka forwards no queues")]
    pub fn forward(&self, client: *mut raw::rd_kafka_t, topic: &str, partition: i32) -> bool {
        let Ok(topic) = CString::new(topic) else { return false };
        // SAFETY: the client is alive; the partition's queue is destroyed here, once, which only gives up this
        // reference to it.
        unsafe {
            let Some(own) = NonNull::new(raw::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition)) else {
                return false;
            };
            raw::rd_kafka_queue_forward(own.as_ptr(), self.queue.as_ptr());
            raw::rd_kafka_queue_destroy(own.as_ptr());
        }
        true
    }

    /// The records that have come, at most one batch of them. Does not wait.
    #[allow(unsafe_code, reason = "rdkafka takes no batches")]
    pub fn take(&self) -> Batch {
        let mut records = Vec::with_capacity(BATCH);
        // SAFETY: there is room for as many as are asked for, and as many as it says are set.
        unsafe {
            let count =
                raw::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, records.as_mut_ptr(), records.capacity());
            records.set_len(usize::try_from(count).unwrap_or(0).min(records.capacity()));
        }
        Batch { records }
    }
}

impl Drop for RecordQueue {
    #[allow(unsafe_code, reason = "the queue is librdkafka's")]
    fn drop(&mut self) {
        // SAFETY: the callback is gone before what it uses; the queue is destroyed once. Partitions that are still
        // forwarded here hold references of their own to what is left of it.
        unsafe {
            raw::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, std::ptr::null_mut());
            raw::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

impl fmt::Debug for RecordQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordQueue").finish_non_exhaustive()
    }
}

/// A batch of records, in the order of their offsets within each partition.
#[derive(Default)]
pub(crate) struct Batch {
    records: Vec<*mut raw::rd_kafka_message_t>,
}

impl Batch {
    /// Whether the queue may have more records.
    pub fn is_full(&self) -> bool {
        self.records.len() == BATCH
    }

    /// The records, and the errors between them.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        self.records.iter().map(|&message| Record { message, batch: PhantomData })
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        for &message in &self.records {
            #[allow(unsafe_code, reason = "the message is librdkafka's")]
            // SAFETY: each was given to us, and is destroyed once.
            unsafe {
                raw::rd_kafka_message_destroy(message);
            }
        }
    }
}

/// An error that came in place of a record.
#[derive(Debug)]
pub(crate) struct ConsumerError {
    pub code: RDKafkaErrorCode,
    /// librdkafka's text, which names the broker.
    pub text: String,
}

/// A record or an error of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Record<'b> {
    /// Never null, and alive as long as the batch.
    message: *const raw::rd_kafka_message_t,
    batch: PhantomData<&'b Batch>,
}

#[allow(unsafe_code, reason = "rdkafka makes its own messages of no others")]
// SAFETY, of all blocks below: the message is alive and does not change; its pointers are null or have the lengths that
// stand beside them.
impl<'b> Record<'b> {
    fn message(self) -> &'b raw::rd_kafka_message_t {
        unsafe { &*self.message }
    }

    /// The error, if it is one.
    pub fn error(self) -> Option<ConsumerError> {
        let error = self.message().err;
        (error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| {
            let text = unsafe { CStr::from_ptr(raw::rd_kafka_message_errstr(self.message)) };
            ConsumerError { code: error.into(), text: text.to_string_lossy().into_owned() }
        })
    }

    /// Whether it is of the same partition as another record, as far as that can be seen without comparing names.
    pub fn is_beside(self, other: Self) -> bool {
        let (own, other) = (self.message(), other.message());
        own.partition == other.partition && own.rkt == other.rkt && !own.rkt.is_null()
    }

    /// The name of its topic; empty if an error has no place.
    pub fn topic(self) -> &'b [u8] {
        let topic = self.message().rkt;
        if topic.is_null() {
            return b"";
        }
        unsafe { CStr::from_ptr(raw::rd_kafka_topic_name(topic)) }.to_bytes()
    }

    /// The number of its partition.
    pub fn partition(self) -> i32 {
        self.message().partition
    }

    /// The topic and partition, for messages.
    pub fn place(self) -> String {
        format!("{}-{}", String::from_utf8_lossy(self.topic()), self.message().partition)
    }

    /// Its offset. That of an error is where it happened, and negative if it has no place.
    pub fn offset(self) -> i64 {
        self.message().offset
    }

    /// Milliseconds since the Unix epoch.
    pub fn timestamp(self) -> Option<i64> {
        let mut kind = raw::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        let millis = unsafe { raw::rd_kafka_message_timestamp(self.message, &raw mut kind) };
        (millis >= 0 && kind != raw::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE).then_some(millis)
    }

    /// Its key.
    pub fn key(self) -> Option<&'b [u8]> {
        let message = self.message();
        (!message.key.is_null()).then(|| unsafe { slice::from_raw_parts(message.key.cast(), message.key_len) })
    }

    /// Its value.
    pub fn payload(self) -> Option<&'b [u8]> {
        let message = self.message();
        (!message.payload.is_null()).then(|| unsafe { slice::from_raw_parts(message.payload.cast(), message.len) })
    }

    /// Its headers in order, with duplicates. Bytes of a name that are not UTF-8, which Kafka's protocol does not
    /// allow, are replaced.
    pub fn headers(self) -> Vec<(String, Option<Vec<u8>>)> {
        let mut all = Vec::new();
        let none = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
        let mut headers = std::ptr::null_mut();
        if unsafe { raw::rd_kafka_message_headers(self.message, &raw mut headers) } != none {
            return all;
        }
        let (mut key, mut value, mut size) = (std::ptr::null(), std::ptr::null(), 0);
        while unsafe { raw::rd_kafka_header_get_all(headers, all.len(), &raw mut key, &raw mut value, &raw mut size) }
            == none
        {
            let name = unsafe { CStr::from_ptr(key) }.to_string_lossy().into_owned();
            let content =
                (!value.is_null()).then(|| unsafe { slice::from_raw_parts(value.cast::<u8>(), size) }.to_vec());
            all.push((name, content));
        }
        all
    }
}
