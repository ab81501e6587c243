//! A broker that answers as a test wants it to: librdkafka's mock cluster.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::bindings as raw;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{Offset, TopicPartitionList};

/// How long anything may take before a test gives up.
pub const LIMIT: Duration = Duration::from_secs(40);

/// A cluster of one broker.
pub struct Broker {
    /// Owns the cluster, and is a client of it.
    producer: BaseProducer,
    servers: String,
}

impl Broker {
    /// With these topics, each of so many partitions.
    pub fn start(topics: &[(&str, i32)]) -> Self {
        let producer: BaseProducer =
            ClientConfig::new().set("test.mock.num.brokers", "1").create().expect("a mock cluster");
        #[allow(unsafe_code, reason = "rdkafka sets neither a group's initial delay nor its heartbeats")]
        // SAFETY: the client is alive, and has a mock cluster for as long as it is.
        unsafe {
            let cluster = raw::rd_kafka_handle_mock_cluster(producer.client().native_ptr());
            raw::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0);
            // A member learns of its partitions by a heartbeat.
            raw::rd_kafka_mock_set_group_consumer_heartbeat_interval_ms(cluster, 100);
        }
        let servers = producer.client().mock_cluster().expect("the mock cluster").bootstrap_servers();
        let broker = Self { producer, servers };
        for (topic, partitions) in topics {
            broker.cluster().create_topic(topic, *partitions, 1).expect("a topic");
        }
        broker
    }

    fn cluster(&self) -> MockCluster<'_, DefaultProducerContext> {
        self.producer.client().mock_cluster().expect("the mock cluster")
    }

    /// Its address.
    pub fn servers(&self) -> &str {
        &self.servers
    }

    /// The next requests of this kind are answered with these errors, one each.
    pub fn refuse(&self, kind: RDKafkaApiKey, errors: &[RDKafkaRespErr]) {
        self.cluster().request_errors(kind, errors);
    }

    /// Sends so many messages of `bytes` bytes to a partition, and waits until they are there.
    pub fn send(&self, topic: &str, partition: i32, messages: usize, bytes: usize) {
        let value = format!(r#"{{"text":"{}"}}"#, "x".repeat(bytes));
        for _ in 0..messages {
            let record = BaseRecord::<(), str>::to(topic).partition(partition).payload(&value);
            self.producer.send(record).expect("room in the producer");
        }
        self.producer.flush(LIMIT).expect("delivered messages");
    }

    /// Sends one record to partition 0 of a topic, and waits until it is there.
    pub fn send_keyed(&self, topic: &str, key: &str, value: &str) {
        self.producer.send(BaseRecord::to(topic).partition(0).key(key).payload(value)).expect("room in the producer");
        self.producer.flush(LIMIT).expect("a delivered record");
    }

    /// What a group has committed for a partition.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.servers)
            .set("group.id", group)
            .create()
            .expect("a consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        match consumer.committed_offsets(list, LIMIT).expect("the group's offsets").elements()[0].offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }
    }
}

/// Waits until `reached`; `what` is what a failure says it waited for.
pub fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !reached() {
        assert!(Instant::now() < deadline, "not within {} s: {what}", LIMIT.as_secs());
        std::thread::sleep(Duration::from_millis(5));
    }
}
