//! A minimal correct pipeline, and the defects that the variable `DEFECT` can give it.
//!
//! It stores each record as an item and as an object and then commits its offset. It shares no code with `fms connect`,
//! because the framework has to work with any pipeline. Variables make it like other pipelines: `TOPICS` is what it
//! reads, `OBJECT_NAMES=random` gives objects names and bounds that differ in every run, and `COPY_TO` is a topic
//! to which it sends each record too.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_s3::primitives::ByteStream;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use tokio::signal::unix::{SignalKind, signal};

/// The offset of the record at which a defect shows.
const VICTIM: i64 = 1;

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
    let sinks = Arc::new(Sinks::connect().await?);
    let consumer = consumer()?;

    let mut written_late = Vec::new();
    let mut newest = 0;
    while !stopping.load(Ordering::Relaxed) {
        let Some(message) = consumer.poll(Duration::from_millis(20)) else { continue };
        let message = message?;
        let record = (message.offset(), String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned());
        let victim = record.0 == VICTIM;
        let time = message.timestamp().to_millis().unwrap_or_default();
        let is_late = time < newest;
        newest = newest.max(time);
        if record.1.contains("poison") {
            bail!("cannot store offset {}: it is poison", record.0);
        }
        if is("commits early") && victim {
            written_late.push(record);
        } else if is("does not wait") {
            let sinks = Arc::clone(&sinks);
            tokio::spawn(async move { sinks.write(&record, 1).await });
        } else if is("writes in threes") {
            written_late.push(record);
            if written_late.len() < 3 {
                continue;
            }
            for record in written_late.drain(..) {
                sinks.write(&record, 1).await?;
            }
        } else if !(is("drops everything") || is("drops a row") && victim || is("drops late records") && is_late) {
            match sinks.write(&record, if is("duplicates a row") && victim { 2 } else { 1 }).await {
                Err(error) if is("drops what fails") => eprintln!("dropped: {error:#}"),
                written => written?,
            }
        }
        if is("never drains") && victim {
            eprintln!("waiting for something that will not come");
            if let Ok(listener) = std::env::var("TELL_WHEN_WAITING") {
                std::os::unix::net::UnixStream::connect(&listener).with_context(|| format!("telling {listener}"))?;
            }
            while !stopping.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            break;
        }
        let mut offsets = TopicPartitionList::new();
        let next = message.offset() + if is("commits too far") && message.offset() == 0 { 2 } else { 1 };
        offsets.add_partition_offset(message.topic(), message.partition(), Offset::Offset(next))?;
        consumer.commit(&offsets, CommitMode::Sync)?;
    }
    for record in &written_late {
        sinks.write(record, 1).await?;
    }
    if is("fails to stop") {
        bail!("cannot leave the group");
    }
    Ok(())
}

fn consumer() -> Result<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", std::env::var("KAFKA_BOOTSTRAP_SERVERS")?)
        .set("group.id", "copy")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "10")
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
}

impl Sinks {
    async fn connect() -> Result<Self> {
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
        })
    }

    async fn write(&self, (offset, text): &(i64, String), times: usize) -> Result<()> {
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
