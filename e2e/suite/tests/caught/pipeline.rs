//! A minimal correct pipeline, and the defects that the variable `DEFECT` can give it.
//!
//! It stores each record as an item and as an object and then commits its offset. It shares no code with `fms connect`,
//! because the framework has to work with any pipeline. Variables make it like other pipelines: `TOPICS` is what it
//! reads, `OBJECT_NAMES=random` gives objects names and bounds that differ in every run, `COPY_TO` is a topic
//! to which it sends each record too, `BATCH` is how many records it stores together, and `ITEMS=newest` lets an item
//! tell the newest offset at which its text came.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use aws_sdk_s3::primitives::ByteStream;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use tokio::signal::unix::{SignalKind, signal};

/// The offset of the record at which a defect shows.
const VICTIM: i64 = 1;

const HOUR: Duration = Duration::from_hours(1);

/// More memory than a process has that has not asked for it.
const LARGE: usize = 256 << 20;

/// The file that a process has which runs alone.
const LOCK: &str = "lock";

pub fn main() -> ExitCode {
    run_to_its_end(run())
}

/// Runs a process of the pipeline. If it fails, it says why and exits with status 3.
pub fn run_to_its_end(process: impl Future<Output = Result<()>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let end = runtime.context("starting tokio").and_then(|runtime| runtime.block_on(process));
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(3)
        }
    }
}

async fn run() -> Result<()> {
    let begun = SystemTime::now();
    let defect = std::env::var("DEFECT").unwrap_or_default();
    let is = |name: &str| defect == name;
    if is("crashes at start") {
        bail!("table `rows` has no key attribute `id`");
    }
    let stopping = Arc::new(AtomicBool::new(false));
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn({
        let stopping = Arc::clone(&stopping);
        async move {
            terminate.recv().await;
            stopping.store(true, Ordering::Relaxed);
        }
    });

    if is("says INFO") {
        eprintln!("INFO ready");
    }
    take_turn(&defect, &stopping).await?;
    let sinks = Arc::new(Sinks::connect(&defect).await?);
    let consumer = consumer(if is("reconnects too late") { "60000" } else { "100" })?;
    let batch = if is("writes in threes") { 3 } else { batch_size()? };

    let is_reckless = is("commits early after a crash") && sinks.has_objects().await?;
    let mut more = Vec::new();
    let mut written_late = Vec::new();
    let mut newest = 0;
    while !stopping.load(Ordering::Relaxed) {
        let message = match consumer.poll(Duration::from_millis(20)) {
            None => continue,
            Some(Err(error)) if is_temporary(&error) && !is("ends without a broker") => continue,
            Some(message) => message?,
        };
        if is("trusts its leaders") {
            check_leader(&consumer, &message)?;
        }
        let record = (message.offset(), String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned());
        let victim = record.0 == VICTIM;
        let time = message.timestamp().to_millis().unwrap_or_default();
        let is_late = time < newest;
        let is_tired = is("gives up after an hour") && begun.elapsed().is_ok_and(|time| time >= HOUR);
        newest = newest.max(time);
        if record.1.contains("poison") {
            bail!("cannot store offset {}: it is poison", record.0);
        }
        if victim && is_reckless {
            commit_next(&consumer, &message, 1, false)?;
            sinks.write(&record, 1).await?;
            continue;
        }
        if is("grows") {
            more.push(Vec::<u8>::with_capacity(LARGE));
        }
        if is("drops what does not fit") && victim && Vec::<u8>::new().try_reserve(LARGE).is_err() {
            eprintln!("dropped: there is no memory for offset {}", record.0);
        } else if is("commits early") && victim {
            written_late.push(record);
        } else if is("does not wait") {
            let sinks = Arc::clone(&sinks);
            tokio::spawn(async move { sinks.write(&record, 1).await });
        } else if batch > 1 {
            written_late.push(record);
            if written_late.len() < batch {
                continue;
            }
            sinks.write_batch(&std::mem::take(&mut written_late)).await?;
        } else if !(is("drops everything")
            || is("drops a row") && victim
            || is("drops late records") && is_late
            || is_tired)
        {
            match sinks.write(&record, if is("duplicates a row") && victim { 2 } else { 1 }).await {
                Err(error) if is("drops what fails") => eprintln!("dropped: {error:#}"),
                written => written?,
            }
        }
        if is("never drains") && victim {
            wait_for_nothing(&stopping).await?;
            break;
        }
        if is("takes a commit back") && message.offset() == VICTIM + 1 {
            take_back(&consumer, &message).await?;
        }
        let handled = if is("commits too far") && message.offset() == 0 { 2 } else { 1 };
        commit_next(&consumer, &message, handled, is("ends without a broker"))?;
    }
    for record in &written_late {
        sinks.write(record, 1).await?;
    }
    if is("runs alone") || is("waits for its turn") {
        std::fs::remove_file(LOCK)?;
    }
    if is("fails to stop") {
        bail!("cannot leave the group");
    }
    Ok(())
}

/// Fails if another process runs, or waits until none does, where the defect is one of these.
async fn take_turn(defect: &str, stopping: &AtomicBool) -> Result<()> {
    if defect == "runs alone" {
        std::fs::File::create_new(LOCK).context("another process runs already")?;
    }
    while defect == "waits for its turn"
        && std::fs::File::create_new(LOCK).is_err()
        && !stopping.load(Ordering::Relaxed)
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// How many records are stored together.
fn batch_size() -> Result<usize> {
    std::env::var("BATCH").map_or(Ok(1), |size| size.parse().context("BATCH"))
}

/// Commits that as many messages are handled, from this one on.
fn commit_next(consumer: &BaseConsumer, message: &impl Message, handled: i64, is_fatal: bool) -> Result<()> {
    let mut offsets = TopicPartitionList::new();
    let next = Offset::Offset(message.offset() + handled);
    offsets.add_partition_offset(message.topic(), message.partition(), next)?;
    commit(consumer, &offsets, is_fatal)
}

/// Commits, as often as it takes if the broker is away, unless that `is_fatal`. What belongs to another member is left to it.
fn commit(consumer: &BaseConsumer, offsets: &TopicPartitionList, is_fatal: bool) -> Result<()> {
    while let Err(error) = consumer.commit(offsets, CommitMode::Sync) {
        if is_fatal || !is_temporary(&error) && !is_of_another(&error) {
            return Err(error.into());
        }
        eprintln!("cannot commit: {error}");
        if is_of_another(&error) {
            break;
        }
    }
    Ok(())
}

/// Waits until the process is to stop.
async fn wait_for_nothing(stopping: &AtomicBool) -> Result<()> {
    eprintln!("waiting for something that will not come");
    if let Ok(listener) = std::env::var("TELL_WHEN_WAITING") {
        std::os::unix::net::UnixStream::connect(&listener).with_context(|| format!("telling {listener}"))?;
    }
    while !stopping.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Commits that a message is still to be handled which was handled long ago, and works for a while.
async fn take_back(consumer: &BaseConsumer, message: &impl Message) -> Result<()> {
    let mut earlier = TopicPartitionList::new();
    earlier.add_partition_offset(message.topic(), message.partition(), Offset::Offset(VICTIM))?;
    consumer.commit(&earlier, CommitMode::Sync)?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(())
}

/// Whether the broker cannot be reached at the moment, so that a request is worth repeating.
fn is_temporary(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(
        code,
        Some(
            Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::OperationTimedOut
                | Code::RequestTimedOut
                | Code::NotCoordinator
                | Code::CoordinatorNotAvailable
                | Code::WaitingForCoordinator
        )
    )
}

/// Whether a commit was refused because its record may belong to another member now, which reads it again.
fn is_of_another(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(code, Some(Code::UnknownMemberId | Code::IllegalGeneration | Code::RebalanceInProgress | Code::NoOffset))
}

/// An error if the partition of the message has another leader than in the first check.
fn check_leader(consumer: &BaseConsumer, message: &impl Message) -> Result<()> {
    static FIRST: std::sync::OnceLock<i32> = std::sync::OnceLock::new();
    let metadata = consumer.fetch_metadata(Some(message.topic()), Duration::from_secs(10))?;
    let mut partitions = metadata.topics().iter().flat_map(MetadataTopic::partitions);
    let leader =
        partitions.find(|partition| partition.id() == message.partition()).map_or(-1, MetadataPartition::leader);
    let first = *FIRST.get_or_init(|| leader);
    if first == leader { Ok(()) } else { bail!("the partition had leader {first} and has leader {leader}") }
}

/// The consumer, which waits for this time before it connects again, in milliseconds.
fn consumer(reconnects_after: &str) -> Result<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", std::env::var("KAFKA_BOOTSTRAP_SERVERS")?)
        .set("group.id", "copy")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "10")
        .set("reconnect.backoff.ms", reconnects_after)
        .set("reconnect.backoff.max.ms", reconnects_after)
        .set("session.timeout.ms", std::env::var("SESSION_TIMEOUT_MS")?)
        .set("heartbeat.interval.ms", "100")
        .create()?;
    let topics = std::env::var("TOPICS").unwrap_or_else(|_| "in".to_owned());
    consumer.subscribe(&topics.split(',').collect::<Vec<_>>())?;
    Ok(consumer)
}

struct Sinks {
    dynamodb: aws_sdk_dynamodb::Client,
    s3: aws_sdk_s3::Client,
    copies: Option<(BaseProducer, String)>,
    defect: String,
}

impl Sinks {
    async fn connect(defect: &str) -> Result<Self> {
        let http = aws_smithy_http_client::Builder::new().build_http();
        let config = aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await;
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        let mut producer = ClientConfig::new();
        producer.set("bootstrap.servers", std::env::var("KAFKA_BOOTSTRAP_SERVERS")?).set("linger.ms", "0");
        let copies = std::env::var("COPY_TO").ok().map(|topic| Ok::<_, anyhow::Error>((producer.create()?, topic)));
        Ok(Self {
            dynamodb: aws_sdk_dynamodb::Client::new(&config),
            s3: aws_sdk_s3::Client::from_conf(s3),
            copies: copies.transpose()?,
            defect: defect.to_owned(),
        })
    }

    /// Whether an earlier process has written an object.
    async fn has_objects(&self) -> Result<bool> {
        let listed = self.s3.list_objects_v2().bucket("raw").send().await.context("listing bucket `raw`")?;
        Ok(!listed.contents().is_empty())
    }

    /// Stores records, the items of all of them by one call.
    async fn write_batch(&self, records: &[(i64, String)]) -> Result<()> {
        let first = records.first().map(|(_, text)| AttributeValue::S(text.clone()));
        let found = self.dynamodb.get_item().table_name("rows").set_key(first.map(|id| [("id".to_owned(), id)].into()));
        if self.defect != "trusts the first item" || found.send().await.context("reading `rows`")?.item.is_none() {
            let puts = records.iter().map(|(_, text)| {
                let (id, length) = (AttributeValue::S(text.clone()), AttributeValue::N(text.len().to_string()));
                let put = PutRequest::builder().item("id", id).item("length", length).build()?;
                Ok(WriteRequest::builder().put_request(put).build())
            });
            let puts = puts.collect::<Result<Vec<_>>>()?;
            let written = self.dynamodb.batch_write_item().request_items("rows", puts).send().await;
            written.context("writing a batch to table `rows`")?;
        }
        for (offset, text) in records {
            self.put(&format!("rows/{offset:010}.json"), format!("{text}\n")).await?;
        }
        Ok(())
    }

    /// Stores a record, and an item that tells the newest offset at which its text came. The object comes first.
    async fn write_newest(&self, offset: i64, text: &str) -> Result<()> {
        self.put(&format!("rows/{offset:010}.json"), format!("{text}\n")).await?;
        let put = self.dynamodb.put_item().table_name("rows").item("id", AttributeValue::S(text.to_owned()));
        let mut put = put.item("newest", AttributeValue::N(offset.to_string()));
        if self.defect != "overwrites newer items" {
            put = put.condition_expression("attribute_not_exists(newest) OR newest <= :offset");
            put = put.expression_attribute_values(":offset", AttributeValue::N(offset.to_string()));
        }
        match put.send().await.map_err(aws_sdk_dynamodb::Error::from) {
            Ok(_) | Err(aws_sdk_dynamodb::Error::ConditionalCheckFailedException(_)) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("writing offset {offset} to table `rows`")),
        }
    }

    async fn write(&self, (offset, text): &(i64, String), times: usize) -> Result<()> {
        if std::env::var("ITEMS").is_ok_and(|items| items == "newest") {
            return self.write_newest(*offset, text).await;
        }
        let put = self.dynamodb.put_item().table_name("rows");
        let put =
            put.item("id", AttributeValue::S(text.clone())).item("length", AttributeValue::N(text.len().to_string()));
        put.send().await.with_context(|| format!("writing offset {offset} to table `rows`"))?;
        if std::env::var("OBJECT_NAMES").is_ok_and(|names| names == "random") {
            for rows in split_anywhere(text) {
                self.put(&format!("rows/{:016x}.json", fastrand::u64(..)), rows).await?;
            }
        } else {
            self.put(&format!("rows/{offset:010}.json"), format!("{text}\n").repeat(times)).await?;
        }
        self.copies.as_ref().map_or(Ok(()), |(producer, topic)| copy(producer, topic, text))
    }

    async fn put(&self, key: &str, rows: String) -> Result<()> {
        let put = self.s3.put_object().bucket("raw").key(key).body(ByteStream::from(rows.into_bytes()));
        put.send().await.with_context(|| format!("writing object {key} to bucket `raw`"))?;
        Ok(())
    }
}

/// The words of a text as rows, in one object or in several, as if time decided when an object is full.
fn split_anywhere(text: &str) -> Vec<String> {
    let mut objects = vec![String::new()];
    for (i, word) in text.split(' ').enumerate() {
        if i > 0 && fastrand::bool() {
            objects.push(String::new());
        }
        if let Some(last) = objects.last_mut() {
            last.push_str(word);
            last.push('\n');
        }
    }
    objects
}

/// Sends a record with values that differ in every run, and waits until it is acknowledged.
fn copy(producer: &BaseProducer, topic: &str, text: &str) -> Result<()> {
    let number = fastrand::u64(..).to_string();
    let value = format!("{{\"id\":\"{text}\",\"meta\":{{\"number\":{number}}}}}");
    let headers = OwnedHeaders::new().insert(Header { key: "number", value: Some(&number) });
    let record = BaseRecord::to(topic).key(text).payload(&value).headers(headers);
    producer.send(record).map_err(|(error, _)| error).with_context(|| format!("sending `{text}` to {topic}"))?;
    producer.flush(Duration::from_secs(10)).with_context(|| format!("sending `{text}` to {topic}"))
}
