//! How a worker's memory and client settings become those of one task's consumer.

use rdkafka::ClientConfig;

/// What a task's Kafka client takes under load beside its queue, rounded up: 3.7 MiB in a worker with ten tasks, and
/// its share of the program itself.
const CLIENT_BYTES: usize = 5 << 20;

/// Divides `buffer.memory` into the bytes that librdkafka's queues may hold and those that the tasks may hold.
///
/// The queues need little to keep a task busy while the next fetch is on its way. They count a record's own bytes only;
/// with the structures around it and the fetch that it came in they take several times as much, and so do the client's
/// threads. The tasks therefore never get more than 10 of 16 parts, and with many tasks less: what [`CLIENT_BYTES`]
/// leaves, but always a quarter.
pub(super) fn split_memory(buffer_memory: usize, tasks: usize) -> (usize, usize) {
    let left = buffer_memory.saturating_sub(tasks.saturating_mul(CLIENT_BYTES));
    (buffer_memory / 16, left.clamp(buffer_memory / 4, buffer_memory / 16 * 10))
}

/// The settings of a task's consumer: those of its connector, and defaults for what the connector does not set.
pub(super) fn task_client(client: &ClientConfig, connector: &str, task: u32, queue_bytes: usize) -> ClientConfig {
    let mut own = client.clone();
    let mut default = |key: &str, value: String| {
        if client.get(key).is_none() {
            own.set(key, value);
        }
    };
    default("client.id", format!("connect-{connector}-{task}"));
    // librdkafka also lowers fetch.max.bytes to this.
    default("queued.max.messages.kbytes", (queue_bytes / 1024).clamp(64, 2_097_151).to_string());
    // New topics that match a pattern, and new partitions, are seen after this time; librdkafka's default is five
    // minutes.
    default("topic.metadata.refresh.interval.ms", "10000".into());
    // Once its queue is full, librdkafka does not fetch for this long; the default of a second starves a fast task.
    default("fetch.queue.backoff.ms", "5".into());
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_share_the_memory_of_the_queues_unless_a_connector_says_otherwise() {
        let (queues, tasks) = split_memory(64 << 20, 2);
        assert_eq!((queues, tasks), (4 << 20, 40 << 20));
        assert_eq!(split_memory(64 << 20, 6), (4 << 20, 34 << 20));
        assert_eq!(split_memory(64 << 20, 100), (4 << 20, 16 << 20));
        let mut client = ClientConfig::new();
        assert_eq!(task_client(&client, "a", 1, queues / 4).get("queued.max.messages.kbytes"), Some("1024"));
        client.set("queued.max.messages.kbytes", "7");
        let own = task_client(&client, "a", 1, queues / 4);
        assert_eq!(own.get("queued.max.messages.kbytes"), Some("7"));
        assert_eq!(own.get("client.id"), Some("connect-a-1"));
    }
}
