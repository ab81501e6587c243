//! Kafka in this process: librdkafka's mock cluster, usually of one broker, which clients reach over TCP like any other
//! broker.
//!
//! The broker keeps 5 MiB or 100,000 batches of a partition, and evicts the oldest batches beyond that. A test that
//! lost records in this way could pass for the wrong reason. Therefore sending more is refused, and it is an error to
//! read a partition from which records were evicted.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::AtomicI32;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::stack::kafka::{Client, sending};
use crate::stack::{Record, StackError};

/// How many bytes of record batches the mock cluster keeps of a partition.
const PARTITION_BYTES: usize = 5 * 1024 * 1024;

/// How many record batches the mock cluster keeps of a partition.
const PARTITION_BATCHES: usize = 100_000;

/// After this time, the thread of the mock cluster is woken.
const NUDGE: Duration = Duration::from_millis(5);

/// The bytes that a record takes in the worst case, when it has a batch of its own. The batch takes 61; the length,
/// attributes, timestamp and offset deltas and the lengths of key, value and headers, which are varints, take up to 36.
fn batch_bytes(record: &Record) -> usize {
    let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + length(value) + 10).sum();
    61 + 36 + length(&record.key) + length(&record.value) + headers
}

/// A mock cluster that is used by one stack only. Dropping it ends the broker and disconnects its clients.
pub(crate) struct Kafka {
    /// The topics created here, with the bytes and batches that were sent to each partition.
    topics: Mutex<BTreeMap<String, Vec<(usize, usize)>>>,
    /// How many brokers the cluster has, which are numbered from 1.
    pub(super) brokers: u8,
    /// How often leaders were moved.
    pub(super) moves: AtomicI32,
    /// The client that owns the mock cluster.
    client: Client,
}

impl Kafka {
    /// Starts this many brokers, each on a port that the kernel picks.
    pub(crate) fn start(brokers: u8) -> Result<Self, StackError> {
        let mut config = ClientConfig::new();
        config.set("test.mock.num.brokers", brokers.to_string()).set("message.max.bytes", PARTITION_BYTES.to_string());
        let client =
            Client::new(&config).map_err(|error: KafkaError| StackError::new("starting the embedded Kafka", error))?;
        let mut kafka = Self { topics: Mutex::default(), brokers, moves: AtomicI32::new(0), client };
        let bootstrap = kafka.set_up()?;
        kafka.client.set_bootstrap(bootstrap);
        Ok(kafka)
    }

    /// The client through which records are sent and read.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The mock cluster. The pointer is valid as long as `self.client`, which created the cluster, exists.
    #[allow(unsafe_code, reason = "the mock cluster has no complete safe interface")]
    pub(super) fn cluster(&self) -> Result<*mut sys::rd_kafka_mock_cluster_t, StackError> {
        // SAFETY: the pointer is that of a live client, and the call only reads a field that is set before the client
        // is handed out.
        let cluster = unsafe { sys::rd_kafka_handle_mock_cluster(self.client.native()) };
        if cluster.is_null() {
            return Err(StackError::new(
                "starting the embedded Kafka",
                "librdkafka was built without its mock cluster",
            ));
        }
        Ok(cluster)
    }

    /// Configures the cluster, and returns its address.
    #[allow(unsafe_code, reason = "the mock cluster has no complete safe interface")]
    fn set_up(&self) -> Result<String, StackError> {
        let cluster = self.cluster()?;
        // SAFETY: the cluster is alive (see `cluster`); the call takes the cluster's own lock. With this setting a
        // group's first assignment is made at once. A real broker waits three seconds for more members.
        unsafe { sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0) };
        // SAFETY: the cluster is alive; the text is made once when it is created, ends with a zero and is copied here.
        let bootstrap = unsafe { CStr::from_ptr(sys::rd_kafka_mock_cluster_bootstraps(cluster)) };
        Ok(bootstrap.to_string_lossy().into_owned())
    }

    /// Leads all clients of the only broker to this address.
    #[allow(unsafe_code, reason = "the mock cluster has no complete safe interface")]
    pub(super) fn advertise(&mut self, address: SocketAddr) -> Result<(), StackError> {
        let action = || format!("leading the clients of the embedded Kafka to {address}");
        let host = CString::new(address.ip().to_string()).map_err(|error| StackError::new(action(), error))?;
        let cluster = self.cluster()?;
        // SAFETY: the cluster is alive, and the host outlives the call, which takes the cluster's own lock and copies it.
        unsafe { sys::rd_kafka_mock_broker_set_host_port(cluster, 1, host.as_ptr(), address.port().into()) };
        self.client.set_bootstrap(address.to_string());
        Ok(())
    }

    /// Creates a topic.
    #[allow(unsafe_code, reason = "the mock cluster has no complete safe interface")]
    pub(crate) fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), StackError> {
        let action = || format!("creating topic {topic} with {partitions} partitions");
        let count = usize::try_from(partitions).ok().filter(|count| *count > 0);
        let count = count.ok_or_else(|| StackError::new(action(), "a topic has at least one partition"))?;
        let name = CString::new(topic).map_err(|error| StackError::new(action(), error))?;
        let cluster = self.cluster()?;
        // SAFETY: the cluster is alive and the name outlives the call, which copies it, hands the request to the
        // cluster's own thread through a locked queue, and waits for its answer: it may be made from any thread.
        let code = unsafe { sys::rd_kafka_mock_topic_create(cluster, name.as_ptr(), partitions, self.brokers.into()) };
        match RDKafkaErrorCode::from(code) {
            RDKafkaErrorCode::NoError => {
                locked(&self.topics).insert(topic.to_owned(), vec![(0, 0); count]);
                Ok(())
            }
            code => Err(StackError::new(action(), code)),
        }
    }

    /// Runs calls that wait for the cluster's own thread. That thread may miss that there is something to do if this comes
    /// just after something else, and then sleeps for up to a second. A connection wakes it.
    pub(super) fn awake<T>(&self, calls: impl FnOnce() -> T) -> T {
        let address = self.client.bootstrap().split(',').next().unwrap_or_default();
        let (done, wait) = mpsc::channel::<()>();
        thread::scope(|scope| {
            scope.spawn(move || {
                while wait.recv_timeout(NUDGE) == Err(RecvTimeoutError::Timeout) {
                    // It does not matter whether the broker accepts it.
                    drop(TcpStream::connect(address));
                }
            });
            let result = calls();
            drop(done);
            result
        })
    }

    /// Sets the time after which a silent member is removed from its group, and the interval of its heartbeats. This is
    /// for groups of the protocol `consumer` (KIP-848), where the broker decides this. Members of the classic protocol
    /// set it themselves.
    #[allow(unsafe_code, reason = "the mock cluster has no complete safe interface")]
    pub(crate) fn set_session_timeout(&self, session: Duration, heartbeat: Duration) -> Result<(), StackError> {
        let cluster = self.cluster()?;
        let millis = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the cluster is alive (see `cluster`); the calls take the cluster's own lock.
        unsafe {
            sys::rd_kafka_mock_set_group_consumer_session_timeout_ms(cluster, millis(session));
            sys::rd_kafka_mock_set_group_consumer_heartbeat_interval_ms(cluster, millis(heartbeat));
        }
        Ok(())
    }

    /// The topics created here, each with its number of partitions.
    pub(super) fn partitions(&self) -> BTreeMap<String, usize> {
        locked(&self.topics).iter().map(|(topic, partitions)| (topic.clone(), partitions.len())).collect()
    }

    /// Sends records, those of a partition in order, and waits until all are acknowledged. If they exceed what the
    /// broker keeps, none of them is sent.
    pub(crate) fn produce(&self, records: &[Record]) -> Result<(), StackError> {
        let mut topics = locked(&self.topics);
        let mut sent = topics.clone();
        for record in records {
            admit(&mut sent, record)?;
        }
        *topics = sent;
        self.client.produce(records)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds a record to the bytes and batches of its partition, or refuses it.
fn admit(topics: &mut BTreeMap<String, Vec<(usize, usize)>>, record: &Record) -> Result<(), StackError> {
    let refuse = |problem: String| Err(StackError::new(sending(record), problem));
    let Some(partitions) = topics.get_mut(&record.topic) else {
        return refuse("the topic has not been created".into());
    };
    let count = partitions.len();
    let Some((bytes, batches)) = usize::try_from(record.partition).ok().and_then(|at| partitions.get_mut(at)) else {
        return refuse(format!("the topic has {count} partitions, 0 to {}", count - 1));
    };
    *bytes += batch_bytes(record);
    *batches += 1;
    if *bytes > PARTITION_BYTES || *batches > PARTITION_BATCHES {
        return refuse(format!(
            "the partition would hold {bytes} bytes in up to {batches} batches, and the embedded Kafka keeps {PARTITION_BYTES} bytes and \
             {PARTITION_BATCHES} batches of one; use more partitions or less data"
        ));
    }
    Ok(())
}
