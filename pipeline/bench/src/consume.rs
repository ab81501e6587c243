//! The upper limit of what librdkafka delivers: all partitions are read in batches from one queue, and the records are
//! dropped.

use std::ffi::CString;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rdkafka::bindings as raw;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::subject;

const BATCH: usize = 5000;

/// How long to wait for the next message before reading is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads `messages` messages of the topic and prints four numbers for the process that has started this one: the
/// milliseconds from the first to the last message, the CPU milliseconds, the peak memory in KiB, and the bytes read.
pub fn consume(servers: &str, topic: &str, partitions: u16, messages: usize) -> anyhow::Result<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "fms-bench-consume")
        .set("enable.auto.commit", "false")
        .set("fetch.queue.backoff.ms", "5")
        .set("queued.max.messages.kbytes", "16384")
        .create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..i32::from(partitions) {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let name = CString::new(topic).context("a topic's name has no NUL")?;
    let client = consumer.client().native_ptr();
    let mut batch = vec![std::ptr::null_mut(); BATCH];
    let (mut first, mut taken, mut bytes) = (None, 0, 0);
    let mut latest = Instant::now();
    #[allow(unsafe_code, reason = "rdkafka wraps no call that takes a batch")]
    // SAFETY: the client outlives the queues, and each queue is destroyed once. The array has room for as many messages
    // as are requested, and each message is read only before it is destroyed.
    unsafe {
        let queue = raw::rd_kafka_queue_new(client);
        for partition in 0..i32::from(partitions) {
            let own = raw::rd_kafka_queue_get_partition(client, name.as_ptr(), partition);
            raw::rd_kafka_queue_forward(own, queue);
            raw::rd_kafka_queue_destroy(own);
        }
        while taken < messages && latest.elapsed() < PATIENCE {
            let before = taken;
            let count = raw::rd_kafka_consume_batch_queue(queue, 100, batch.as_mut_ptr(), BATCH);
            for &message in &batch[..usize::try_from(count).unwrap_or_default()] {
                if (*message).err == raw::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                    first.get_or_insert_with(Instant::now);
                    taken += 1;
                    bytes += (*message).len;
                }
                raw::rd_kafka_message_destroy(message);
            }
            if taken > before {
                latest = Instant::now();
            }
            drop(consumer.poll(Duration::ZERO));
        }
        raw::rd_kafka_queue_destroy(queue);
    }
    ensure!(taken == messages, "{taken} of {messages} messages came, and no more for {PATIENCE:?}");
    let time = first.map_or(Duration::ZERO, |first| first.elapsed());
    let own = std::process::id();
    println!("{} {} {} {bytes}", time.as_millis(), subject::cpu(own)?.as_millis(), subject::peak(own)?);
    Ok(())
}
