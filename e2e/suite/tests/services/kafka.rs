//! The calls to Kafka: records with keys and headers, compression, large messages, positions and times, commits with
//! metadata, groups and transactions.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Runtime;

use crate::Endpoints;
use crate::answers::Answers;

/// How long an answer may take on an overloaded machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a client looks for something that does not exist.
const SHORTLY: Duration = Duration::from_secs(1);
/// How long a client is polled at a time.
const STEP: Duration = Duration::from_millis(5);
/// The number of partitions of the topic that most calls use.
const PARTITIONS: i32 = 3;
const NOON: i64 = 1_672_574_400_000;

/// Makes all calls in order.
pub fn calls(runtime: &Runtime, at: &Endpoints) -> Result<Answers, String> {
    let mut kafka = Kafka { runtime, at, answers: Answers::new(&at.namespace) };
    for (topic, partitions) in [("rows", PARTITIONS), ("large", 1), ("times", 1), ("group", PARTITIONS), ("tx", 1)] {
        (at.create_topic)(&kafka.name(topic), partitions)?;
    }
    let run = |error: KafkaError| format!("a client of {}: {error}", at.get("KAFKA_BOOTSTRAP_SERVERS"));
    records(&mut kafka).map_err(run)?;
    compression_and_size(&mut kafka).map_err(run)?;
    positions_and_times(&mut kafka).map_err(run)?;
    commits(&mut kafka).map_err(run)?;
    groups(&mut kafka).map_err(run)?;
    transactions(&mut kafka).map_err(run)?;
    Ok(kafka.answers)
}

/// Records are read back with the keys, values, headers and timestamps that they were sent with, or without them.
fn records(kafka: &mut Kafka<'_>) -> KafkaResult<()> {
    let topic = kafka.name("rows");
    let reader = kafka.consumer("reader", &[])?;
    kafka.note("watermarks of an empty partition", reader.fetch_watermarks(&topic, 0, PATIENCE));
    kafka.note("watermarks of a partition that does not exist", reader.fetch_watermarks(&topic, 9, SHORTLY));
    kafka.note("watermarks of a topic that does not exist", reader.fetch_watermarks(&kafka.name("none"), 0, SHORTLY));
    kafka.read("read an empty partition", &reader, &topic, 0, Offset::Beginning, 1)?;
    let producer = kafka.producer(&[])?;
    let headers = OwnedHeaders::new()
        .insert(Header { key: "a", value: Some("1") })
        .insert(Header { key: "a", value: Some("2") })
        .insert(Header { key: "empty", value: Some("") })
        .insert(Header::<&str> { key: "null", value: None });
    let at = || FutureRecord::<[u8], [u8]>::to(&topic).partition(0).timestamp(NOON);
    for (call, record) in [
        ("a record", at().key(b"key").payload(b"value")),
        ("a tombstone", at().key(b"key")),
        ("a record without key", at().payload(b"value")),
        ("neither key nor value", at()),
        ("empty key and value", at().key(b"").payload(b"")),
        ("headers", at().key(b"key").payload(b"value").headers(headers)),
        ("bytes that are no text", at().key(&[0, 255]).payload(&[0xc3, 0x28])),
        ("a time of zero", at().payload(b"value").timestamp(1)),
        ("a time far ahead", at().payload(b"value").timestamp(NOON + 86_400_000)),
    ] {
        kafka.send(&format!("send {call}"), &producer, record);
    }
    kafka.read("read them", &reader, &topic, 0, Offset::Beginning, 20)?;
    kafka.note("watermarks after records", reader.fetch_watermarks(&topic, 0, PATIENCE));
    let elsewhere = FutureRecord::<[u8], [u8]>::to(&topic).partition(9).payload(b"value");
    kafka.send("send to a partition that does not exist", &producer, elsewhere);
    for acks in ["0", "1", "all"] {
        let producer = kafka.producer(&[("acks", acks)])?;
        kafka.send(&format!("send with acks={acks}"), &producer, at().partition(1).key(b"k").payload(acks.as_bytes()));
    }
    let producer = kafka.producer(&[("enable.idempotence", "true")])?;
    kafka.send("send idempotently", &producer, at().partition(1).payload(b"once"));
    kafka.read("read what was sent in other ways", &reader, &topic, 1, Offset::Beginning, 20)?;
    let mut metadata = Vec::new();
    for name in ["rows", "none"] {
        let found = reader.fetch_metadata(Some(&kafka.name(name)), PATIENCE)?;
        metadata.push(
            found
                .topics()
                .iter()
                .map(|t| (t.name().to_owned(), t.partitions().len(), t.error().map(RDKafkaErrorCode::from)))
                .collect::<Vec<_>>(),
        );
    }
    kafka.note("metadata of a topic", Ok(&metadata[0]));
    kafka.note("metadata of a topic that does not exist", Ok(&metadata[1]));
    Ok(())
}

/// Batches in every compression, and messages up to the largest size.
fn compression_and_size(kafka: &mut Kafka<'_>) -> KafkaResult<()> {
    let (rows, large) = (kafka.name("rows"), kafka.name("large"));
    let reader = kafka.consumer("reader", &[])?;
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let producer = kafka.producer(&[("compression.type", codec), ("linger.ms", "20")])?;
        let values: Vec<String> = (0..50).map(|n| format!("{codec} {n} {}", "text ".repeat(40))).collect();
        let mut sent = Vec::new();
        for value in &values {
            let record = FutureRecord::<[u8], _>::to(&rows).partition(2).payload(value.as_bytes());
            sent.push(producer.send_result(record).map_err(|(error, _)| error)?);
        }
        let mut offsets = Vec::new();
        for sent in sent {
            offsets.push(match kafka.runtime.block_on(sent) {
                Ok(Ok(sent)) => Ok(sent.offset),
                Ok(Err((error, _))) => Err(error),
                Err(_) => Err(KafkaError::Canceled),
            });
        }
        let first = offsets.first().and_then(|first| first.as_ref().ok().copied()).unwrap_or_default();
        let last = offsets.pop().unwrap_or(Ok(-1));
        kafka.note(&format!("send 50 with {codec}, the last one's offset"), last);
        let read = collect(&reader, &rows, 2, Offset::Offset(first), 50)?;
        let equal = read.len() == 50 && read.iter().zip(&values).all(|(read, value)| read.contains(value.as_str()));
        kafka.note(&format!("read 50 with {codec}, all as sent"), Ok(equal));
    }
    for (call, client_limit, length) in [
        ("1,000,000 bytes", "1000000", 999_000),
        ("2 MiB, refused by the client", "1000000", 2 << 20),
        ("2 MiB, left to the broker", "10000000", 2 << 20),
        ("1 MiB and 1 KiB, left to the broker", "10000000", (1 << 20) + 1024),
    ] {
        let producer = kafka.producer(&[("message.max.bytes", client_limit)])?;
        let value = vec![b'x'; length];
        let record = FutureRecord::<[u8], [u8]>::to(&large).partition(0).payload(&value).timestamp(NOON);
        let sent = kafka.runtime.block_on(producer.send(record, PATIENCE));
        kafka.note(&format!("send {call}"), sent.map(|_| "sent").map_err(|(error, _)| error));
    }
    let read = collect(&reader, &large, 0, Offset::Beginning, 1)?;
    kafka.note("read 1,000,000 bytes", Ok(read.iter().map(String::len).collect::<Vec<_>>()));
    let small = kafka.consumer("reader", &[("fetch.message.max.bytes", "1000"), ("fetch.max.bytes", "1048576")])?;
    let read = collect(&small, &large, 0, Offset::Beginning, 1)?;
    kafka.note("read it with a small fetch", Ok(read.iter().map(String::len).collect::<Vec<_>>()));
    Ok(())
}

/// Reading from a position, from beyond the end, and from a time.
fn positions_and_times(kafka: &mut Kafka<'_>) -> KafkaResult<()> {
    let topic = kafka.name("times");
    let producer = kafka.producer(&[])?;
    for n in 0..5 {
        let value = n.to_string();
        let record =
            FutureRecord::<[u8], _>::to(&topic).partition(0).payload(value.as_bytes()).timestamp(NOON + n * 1000);
        kafka.send(&format!("send at {n} s"), &producer, record);
    }
    let reader = kafka.consumer("reader", &[("auto.offset.reset", "error")])?;
    for (call, from) in [
        ("the beginning", Offset::Beginning),
        ("an offset", Offset::Offset(3)),
        ("the end", Offset::End),
        ("two before the end", Offset::OffsetTail(2)),
        ("the first past the end", Offset::Offset(5)),
        ("past the end", Offset::Offset(99)),
    ] {
        kafka.read(&format!("read from {call}"), &reader, &topic, 0, from, 2)?;
    }
    let earliest = kafka.consumer("reader", &[("auto.offset.reset", "earliest")])?;
    kafka.read("read from past the end, else the earliest", &earliest, &topic, 0, Offset::Offset(99), 1)?;
    let latest = kafka.consumer("reader", &[("auto.offset.reset", "latest")])?;
    kafka.read("read from past the end, else the latest", &latest, &topic, 0, Offset::Offset(99), 1)?;
    kafka.read("read from the commit that there is not, else fail", &reader, &topic, 0, Offset::Stored, 1)?;
    kafka.read("read from the commit that there is not, else the earliest", &earliest, &topic, 0, Offset::Stored, 1)?;
    collect(&earliest, &topic, 0, Offset::Beginning, 1)?;
    let sought = earliest.seek(&topic, 0, Offset::Offset(4), PATIENCE);
    let next = next(&earliest);
    kafka.note("seek and read", sought.map(|()| next));
    for (call, time) in [
        ("before the first", NOON - 1),
        ("of the first", NOON),
        ("between two", NOON + 1500),
        ("of the last", NOON + 4000),
        ("after the last", NOON + 4001),
    ] {
        let mut asked = TopicPartitionList::new();
        asked.add_partition_offset(&topic, 0, Offset::Offset(time))?;
        let found = reader.offsets_for_times(asked, PATIENCE);
        kafka.note(&format!("offset for a time {call}"), found.map(|found| listed(&found)));
    }
    let mut asked = TopicPartitionList::new();
    asked.add_partition_offset(&topic, 9, Offset::Offset(NOON))?;
    kafka.note(
        "offset for a time in a partition that does not exist",
        reader.offsets_for_times(asked, SHORTLY).map(|found| listed(&found)),
    );
    Ok(())
}

/// Commits by a client that is not a member of the group: offsets, metadata, commits that replace others, and refused
/// ones.
fn commits(kafka: &mut Kafka<'_>) -> KafkaResult<()> {
    let (topic, none) = (kafka.name("rows"), kafka.name("none"));
    let client = kafka.consumer("commits", &[])?;
    let place = |list: &[(&str, i32, i64, &str)]| {
        let mut places = TopicPartitionList::new();
        for (topic, partition, offset, metadata) in list {
            let mut place = places.add_partition(topic, *partition);
            place.set_metadata(*metadata);
            place.set_offset(Offset::Offset(*offset))?;
        }
        KafkaResult::Ok(places)
    };
    let committed = |group: &BaseConsumer, topic: &str, partition: i32| {
        let mut asked = TopicPartitionList::new();
        asked.add_partition(topic, partition);
        group.committed_offsets(asked, PATIENCE).map(|found| listed(&found))
    };
    kafka.note("committed, before there is a commit", committed(&client, &topic, 0));
    let (longest, too_long) = ("m".repeat(4096), "m".repeat(4097));
    for (call, list) in [
        ("an offset with metadata", vec![(topic.as_str(), 0, 5, "first")]),
        ("the same offset with other metadata", vec![(&topic, 0, 5, "second")]),
        ("a higher offset without metadata", vec![(&topic, 0, 8, "")]),
        ("a lower offset", vec![(&topic, 0, 2, "lower")]),
        ("an offset past the end", vec![(&topic, 0, 1_000_000, "past")]),
        ("offset zero", vec![(&topic, 0, 0, "größe \"{}\" 木")]),
        ("metadata of 4096 bytes", vec![(&topic, 0, 1, &longest)]),
        ("metadata of 4097 bytes", vec![(&topic, 0, 2, &too_long)]),
        ("two partitions", vec![(&topic, 0, 3, "p0"), (&topic, 1, 4, "p1")]),
        ("a partition that does not exist", vec![(&topic, 9, 1, "")]),
        ("a topic that does not exist", vec![(&none, 0, 1, "")]),
        ("a good partition and one that does not exist", vec![(&topic, 0, 6, "good"), (&topic, 9, 1, "")]),
    ] {
        let list = place(&list)?;
        kafka.note(&format!("commit {call}"), client.commit(&list, CommitMode::Sync));
        let found = committed(&client, &topic, 0)
            .map(|found| found.replace(&longest, "4096 times m").replace(&too_long, "4097 times m"));
        kafka.note(&format!("committed after: {call}"), found);
    }
    kafka.note("committed in the other partition", committed(&client, &topic, 1));
    kafka.note("committed in a partition that does not exist", committed(&client, &topic, 9));
    kafka.note("committed in a topic that does not exist", committed(&client, &none, 0));
    let another = kafka.consumer("commits", &[])?;
    kafka.note("committed, as another client sees it", committed(&another, &topic, 0));
    let other = kafka.consumer("others", &[])?;
    kafka.note("committed by another group", committed(&other, &topic, 0));
    kafka.read("read from the commit", &another, &topic, 0, Offset::Stored, 1)
}

/// Members join and leave, with each group protocol.
fn groups(kafka: &mut Kafka<'_>) -> KafkaResult<()> {
    let topic = kafka.name("group");
    let producer = kafka.producer(&[])?;
    for partition in 0..PARTITIONS {
        let record =
            FutureRecord::<[u8], _>::to(&topic).partition(partition).payload(b"row".as_slice()).timestamp(NOON);
        kafka.send(&format!("send to partition {partition} for groups"), &producer, record);
    }
    for (protocol, settings) in [
        ("range", vec![("partition.assignment.strategy", "range")]),
        ("cooperative", vec![("partition.assignment.strategy", "cooperative-sticky")]),
        ("static", vec![("partition.assignment.strategy", "range"), ("group.instance.id", "one")]),
        ("consumer", vec![("group.protocol", "consumer")]),
    ] {
        let session = kafka.at.session.as_millis().to_string();
        let classic = [("session.timeout.ms", session.as_str()), ("heartbeat.interval.ms", "100")];
        let settings: Vec<_> =
            if protocol == "consumer" { settings } else { settings.into_iter().chain(classic).collect() };
        let first = kafka.consumer(protocol, &settings)?;
        first.subscribe(&[&topic])?;
        let alone = settle(&[&first]);
        kafka.note(&format!("{protocol}: a member alone"), Ok(alone));
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, 0, Offset::Offset(1))?;
        kafka.note(&format!("{protocol}: a member commits"), first.commit(&list, CommitMode::Sync));
        let outsider = kafka.consumer(protocol, &[])?;
        kafka.note(&format!("{protocol}: one commits that is no member"), outsider.commit(&list, CommitMode::Sync));
        let mut settings = settings;
        settings.retain(|(name, _)| *name != "group.instance.id");
        let second = kafka.consumer(protocol, &settings)?;
        second.subscribe(&[&topic])?;
        let both = settle(&[&first, &second]);
        kafka.note(&format!("{protocol}: a second one joins"), Ok(both));
        kafka.note(&format!("{protocol}: a member commits after the rebalance"), first.commit(&list, CommitMode::Sync));
        if protocol == "static" {
            continue;
        }
        first.unsubscribe();
        // The member leaves the group once it has handled the revocation of its partitions, which it does while it is
        // polled.
        let deadline = Instant::now() + PATIENCE;
        while first.assignment()?.count() > 0 && Instant::now() < deadline {
            drop(first.poll(STEP));
        }
        let left = settle(&[&second]);
        kafka.note(&format!("{protocol}: the first one leaves"), Ok(left));
        kafka.note(&format!("{protocol}: one commits that has left"), first.commit(&list, CommitMode::Sync));
    }
    Ok(())
}

/// Which records of a transaction consumers can read.
fn transactions(kafka: &mut Kafka<'_>) -> KafkaResult<()> {
    let topic = kafka.name("tx");
    let id = kafka.name("transactions");
    let producer = kafka.producer(&[("transactional.id", &id)])?;
    kafka.note("transactions: begin to use them", producer.init_transactions(PATIENCE));
    for (value, commit) in [("aborted", false), ("committed", true)] {
        kafka.note(&format!("transactions: begin one that is {value}"), producer.begin_transaction());
        let record = FutureRecord::<[u8], _>::to(&topic).partition(0).payload(value.as_bytes()).timestamp(NOON);
        kafka.send(&format!("transactions: send what is {value}"), &producer, record);
        let ended = if commit { producer.commit_transaction(PATIENCE) } else { producer.abort_transaction(PATIENCE) };
        kafka.note(&format!("transactions: end one that is {value}"), ended);
    }
    let committed = kafka.consumer("reader", &[("isolation.level", "read_committed")])?;
    kafka.read("transactions: read what is committed", &committed, &topic, 0, Offset::Beginning, 2)?;
    let all = kafka.consumer("reader", &[("isolation.level", "read_uncommitted")])?;
    kafka.read("transactions: read all", &all, &topic, 0, Offset::Beginning, 2)
}

/// The settings of the clients, and the answers so far.
struct Kafka<'a> {
    runtime: &'a Runtime,
    at: &'a Endpoints,
    answers: Answers,
}

impl Kafka<'_> {
    /// A name with the namespace of these calls.
    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.at.namespace)
    }

    fn note<T: Debug>(&mut self, call: &str, answer: KafkaResult<T>) {
        let text = match answer {
            Ok(answer) => format!("ok {answer:?}"),
            Err(error) => refusal(&error),
        };
        self.answers.add(call, text);
    }

    /// The settings of a client; later ones replace earlier ones.
    fn client(&self, settings: &[&[(&str, &str)]]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.at.get("KAFKA_BOOTSTRAP_SERVERS"));
        config.extend(settings.concat().into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
        config
    }

    fn producer(&self, settings: &[(&str, &str)]) -> KafkaResult<FutureProducer> {
        self.client(&[&[("linger.ms", "0"), ("message.timeout.ms", "20000")], settings]).create()
    }

    /// A consumer that commits nothing by itself and reports the end of each partition.
    fn consumer(&self, group: &str, settings: &[(&str, &str)]) -> KafkaResult<BaseConsumer> {
        let group = self.name(group);
        let usual = [
            ("group.id", group.as_str()),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("auto.offset.reset", "earliest"),
            ("fetch.wait.max.ms", "10"),
        ];
        self.client(&[&usual, settings]).create()
    }

    fn send(&mut self, call: &str, producer: &FutureProducer, record: FutureRecord<'_, [u8], [u8]>) {
        let sent = self.runtime.block_on(producer.send(record, PATIENCE));
        self.note(call, sent.map(|sent| (sent.partition, sent.offset)).map_err(|(error, _)| error));
    }

    /// Reads at most `count` records of a partition, and adds them as the answer.
    fn read(
        &mut self,
        call: &str,
        reader: &BaseConsumer,
        topic: &str,
        partition: i32,
        from: Offset,
        count: usize,
    ) -> KafkaResult<()> {
        let read = collect(reader, topic, partition, from, count)?;
        self.answers.add(call, read.join("; "));
        Ok(())
    }
}

/// Reads at most `count` records of a partition, up to its end or to an error.
fn collect(reader: &BaseConsumer, topic: &str, partition: i32, from: Offset, count: usize) -> KafkaResult<Vec<String>> {
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, partition, from)?;
    reader.assign(&assignment)?;
    let mut read = Vec::new();
    while read.len() < count && read.last().is_none_or(|last: &String| !last.starts_with("error")) {
        read.push(next(reader));
    }
    Ok(read)
}

/// The next record, or the reason why there is none.
fn next(reader: &BaseConsumer) -> String {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match reader.poll(STEP) {
            Some(Ok(message)) => return shown(&message),
            Some(Err(error)) => return refusal(&error),
            None => {}
        }
    }
    format!("nothing within {PATIENCE:?}")
}

/// Polls the members until all partitions are assigned and each member has some. Returns the members' partitions as
/// sorted lists, which do not say which member has which list.
fn settle(members: &[&BaseConsumer]) -> Vec<Vec<i32>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut assigned = Vec::new();
        for member in members {
            // The records do not matter here, but a member takes part in a rebalance only while it is polled.
            drop(member.poll(STEP));
            let held =
                member.assignment().map(|held| held.elements().iter().map(TopicPartitionListElem::partition).collect());
            let mut held: Vec<i32> = held.unwrap_or_default();
            held.sort_unstable();
            assigned.push(held);
        }
        assigned.sort();
        let all: BTreeSet<i32> = assigned.iter().flatten().copied().collect();
        let settled = assigned.iter().all(|held| !held.is_empty())
            && assigned.iter().map(Vec::len).sum::<usize>() == all.len()
            && all.into_iter().eq(0..PARTITIONS);
        if settled || Instant::now() > deadline {
            return assigned;
        }
    }
}

fn refusal(error: &KafkaError) -> String {
    error.rdkafka_error_code().map_or_else(|| format!("error {error:?}"), |code| format!("error {code:?}"))
}

fn shown(message: &BorrowedMessage<'_>) -> String {
    let text = |bytes: Option<&[u8]>| bytes.map_or("none".to_owned(), |bytes| format!("\"{}\"", bytes.escape_ascii()));
    let headers: Vec<String> = message.headers().map_or_else(Vec::new, |headers| {
        headers.iter().map(|header| format!("{}={}", header.key, text(header.value))).collect()
    });
    let time = message
        .timestamp()
        .to_millis()
        .filter(|time| (NOON - 86_400_000..=NOON + 86_400_000).contains(time) || *time < 10);
    let time = time.map_or("now".to_owned(), |time| time.to_string());
    format!("{} {} {} [{}] {time}", message.offset(), text(message.key()), text(message.payload()), headers.join(" "))
}

/// Shows partitions with their offsets and metadata.
fn listed(list: &TopicPartitionList) -> String {
    let places = list
        .elements()
        .iter()
        .map(|place| {
            let error = place.error().err().map(|error| format!(" {}", refusal(&error))).unwrap_or_default();
            format!("{}-{} {:?} {:?}{error}", place.topic(), place.partition(), place.offset(), place.metadata())
        })
        .collect::<Vec<_>>();
    places.join("; ")
}
