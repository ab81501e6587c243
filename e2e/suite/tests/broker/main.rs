//! Tests of what only a real broker does: topics that are deleted or created again while they are read, and transaction
//! markers.
//!
//! The worker is a real process of `fms connect` with the S3 sink. nextest's profile `docker` runs these tests.

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use e2e::internals::{self, Goal, History, Log, Resources, Settling, Stack, Subject, Waited, docker};
use e2e::{Options, StackKind};
use libtest_mimic::{Arguments, Failed, Trial};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tokio::runtime::Runtime;

/// How long a test waits for any condition before it fails.
const LIMIT: Duration = Duration::from_mins(1);
const BUCKET: &str = "raw";

type Test = fn() -> Result<(), Failed>;

fn main() -> ExitCode {
    fms_e2e::worker_or(|| {
        let asked = internals::options().is_ok_and(|options| options.stack == StackKind::Docker);
        if !asked {
            eprintln!(
                "the tests of the broker are ignored: they need the Docker stack; use nextest's profile `docker` or set E2E_STACK=docker"
            );
        }
        let all: [(&str, Test); 4] = [
            ("the_end_of_a_transaction_is_the_end_of_a_partition", transactions),
            ("a_topic_that_is_deleted_stops_no_other", deleted),
            ("a_topic_that_is_made_anew_is_told_before_anything_of_it_is_committed", made_anew),
            ("a_topic_that_matches_is_read_within_seconds", new_topic),
        ];
        let trials = all.map(|(name, run)| Trial::test(name, run).with_ignored_flag(!asked));
        libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
    })
}

/// What one test works with: a stack, an admin client, and a folder for the connector of its worker.
struct Place {
    runtime: Runtime,
    stack: Box<dyn Stack>,
    admin: AdminClient<DefaultClientContext>,
    servers: String,
    folder: tempfile::TempDir,
    log: Log,
}

impl Place {
    fn new() -> Result<Self, Failed> {
        let folder = fms_e2e::suite().docker_folder();
        let options = Options { keep: internals::kept(), ..Options::default() };
        let (stack, _) = docker::start(&options, &folder)?;
        let servers = stack.environment().get("KAFKA_BOOTSTRAP_SERVERS").cloned().unwrap_or_default();
        let admin = ClientConfig::new().set("bootstrap.servers", &servers).create()?;
        stack.provide(&Resources::bucket(BUCKET))?;
        Ok(Self { runtime: Runtime::new()?, stack, admin, servers, folder: tempfile::tempdir()?, log: Log::default() })
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.stack.namespace())
    }

    fn group(&self) -> String {
        format!("connect-{}", self.name("s3"))
    }

    /// Starts a worker with one S3 connector, which has `settings` in addition to the common ones.
    fn worker(&self, settings: &[(&str, &str)]) -> Result<Subject, Failed> {
        let mut connector = BTreeMap::from(
            [
                ("name", self.name("s3").as_str()),
                ("connector.class", "S3Sink"),
                ("s3.bucket.name", &self.name(BUCKET)),
                ("s3.region", "us-east-1"),
                ("flush.size", "1000"),
                ("errors.retry.timeout", "60000"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        connector.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let file = self.folder.path().join("s3.json");
        fs::write(&file, serde_json::to_vec(&connector)?)?;
        let mut environment = self.stack.environment();
        environment.extend(
            [
                ("CONNECT_LISTENERS", "http://127.0.0.1:0"),
                ("CONNECT_OFFSET_FLUSH_INTERVAL_MS", "100"),
                ("CONNECT_CONSUMER_FETCH_WAIT_MAX_MS", "10"),
                ("RUST_LOG", "info"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let arguments = ["connect".to_owned(), "--config".to_owned(), file.display().to_string()];
        let program = fms_e2e::suite().program;
        Ok(Subject::start(&program, &arguments, &environment, self.folder.path(), &self.log)?)
    }

    fn send(&self, topic: &str, rows: &[&str]) -> Result<(), Failed> {
        let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &self.servers).create()?;
        self.send_by(&producer, topic, rows)?;
        Ok(producer.flush(LIMIT)?)
    }

    fn send_by(&self, producer: &BaseProducer, topic: &str, rows: &[&str]) -> Result<(), Failed> {
        let topic = self.name(topic);
        for row in rows {
            let value = format!(r#"{{"row":"{row}"}}"#);
            producer
                .send(BaseRecord::<(), str>::to(&topic).partition(0).payload(&value))
                .map_err(|(error, _)| error)?;
        }
        Ok(())
    }

    fn create(&self, topic: &str) -> Result<(), Failed> {
        let name = self.name(topic);
        let new = NewTopic::new(&name, 1, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(LIMIT));
        let deadline = Instant::now() + LIMIT;
        loop {
            let result = self.runtime.block_on(self.admin.create_topics([&new], &options))?;
            match result.into_iter().find_map(Result::err) {
                None => return Ok(()),
                // The broker is still deleting an earlier topic of that name.
                Some(_) if Instant::now() < deadline => {}
                Some((topic, code)) => return Err(format!("creating {topic}: {code}").into()),
            }
        }
    }

    fn delete(&self, topic: &str) -> Result<(), Failed> {
        let options = AdminOptions::new().operation_timeout(Some(LIMIT));
        let name = self.name(topic);
        let result = self.runtime.block_on(self.admin.delete_topics(&[&name], &options))?;
        match result.into_iter().find_map(Result::err) {
            None => Ok(()),
            Some((topic, code)) => Err(format!("deleting {topic}: {code}").into()),
        }
    }

    /// The rows in S3, sorted.
    fn stored(&self) -> Result<Vec<String>, Failed> {
        let mut rows = Vec::new();
        for (_, body) in self.stack.objects(BUCKET)? {
            for line in String::from_utf8(body)?.lines() {
                let row: serde_json::Value = serde_json::from_str(line)?;
                rows.push(row["row"].as_str().unwrap_or("(none)").to_owned());
            }
        }
        rows.sort();
        Ok(rows)
    }

    /// Waits until these rows, and no others, are in S3.
    fn await_rows(&self, rows: &[&str]) -> Result<(), Failed> {
        let mut expected: Vec<String> = rows.iter().map(|row| (*row).to_owned()).collect();
        expected.sort();
        let deadline = Instant::now() + LIMIT;
        loop {
            let stored = self.stored()?;
            if stored == expected {
                return Ok(());
            }
            if Instant::now() > deadline {
                let log = self.log.last(15);
                return Err(format!("stored after {LIMIT:?}: {stored:?}, expected {expected:?}\n{log}").into());
            }
            // S3 offers no event to wait for.
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the only partition of a topic ends at `offset`. The broker answers before it has done all of it: a
    /// producer before the marker of its transaction is written, and whoever creates a topic again before the old
    /// one's log is gone, to which records may be appended until then.
    fn await_end(&self, topic: &str, offset: i64) -> Result<BTreeMap<(String, i32), i64>, Failed> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let ends = self.stack.end_offsets(&[topic.to_owned()]);
            if let Ok(ends) = &ends
                && ends.values().eq([&offset])
            {
                return Ok(ends.clone());
            }
            if Instant::now() > deadline {
                return Err(format!("the end of {topic} after {LIMIT:?}: {ends:?}, expected {offset}").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn await_line(&self, worker: &Subject, text: &str) -> Result<(), Failed> {
        match worker.wait_for_line(text, Instant::now() + LIMIT) {
            Waited::Found(_) => Ok(()),
            _ => Err(format!("the worker did not say `{text}`:\n{}", self.log.last(15)).into()),
        }
    }

    /// Sends SIGTERM to a worker and fails unless it ends with status 0 and no task of it has failed.
    fn ends_well(&self, worker: &Subject) -> Result<(), Failed> {
        worker.terminate();
        match worker.wait(Instant::now() + LIMIT) {
            Some(status) if status.success() => {}
            other => return Err(format!("the worker's end: {other:?}\n{}", self.log.last(15)).into()),
        }
        match self.log.find("task failed") {
            Some(line) => Err(format!("a task failed: {line}").into()),
            None => Ok(()),
        }
    }
}

/// A partition counts as idle and as drained although a transaction marker, which no consumer receives, follows its
/// last record.
fn transactions() -> Result<(), Failed> {
    let place = Place::new()?;
    place.stack.provide(&Resources::topic("t", 1))?;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &place.servers)
        .set("transactional.id", place.name("sender"))
        .create()?;
    producer.init_transactions(LIMIT)?;
    for (rows, commit) in [(&["a", "b"][..], true), (&["never"], false)] {
        producer.begin_transaction()?;
        place.send_by(&producer, "t", rows)?;
        producer.flush(LIMIT)?;
        if commit { producer.commit_transaction(LIMIT)? } else { producer.abort_transaction(LIMIT)? }
    }
    // The partition has two rows and the marker of their transaction, then one row of an aborted transaction and its
    // marker.
    let ends = place.await_end("t", 5)?;
    let topic = place.name("t");
    let worker = place.worker(&[("topics", &topic), ("rotate.idle.ms", "200")])?;
    place.await_rows(&["a", "b"])?;
    let mut goal = Goal { groups: vec![place.group()], ends, queues: Vec::new() };
    let history = History::default();
    let settling =
        Settling { stack: &*place.stack, subjects: std::slice::from_ref(&worker), log: &place.log, history: &history };
    let covered = settling.drained(&mut goal, LIMIT)?;
    place.ends_well(&worker)?;
    settling.written(&goal, covered)?;
    Ok(settling.keeps_commits(&goal)?)
}

/// If one of the topics that a pattern matches is deleted, the others are still read, at once and also after the group
/// has rebalanced.
fn deleted() -> Result<(), Failed> {
    let place = Place::new()?;
    ["t-gone", "t-stays"].iter().try_for_each(|topic| place.create(topic))?;
    place.send("t-gone", &["gone-1", "gone-2"])?;
    place.send("t-stays", &["stays-1"])?;
    let pattern = format!("{}t-.*", place.stack.namespace());
    let worker = place.worker(&[("topics.regex", &pattern), ("rotate.idle.ms", "200")])?;
    place.await_rows(&["gone-1", "gone-2", "stays-1"])?;
    place.delete("t-gone")?;
    place.send("t-stays", &["stays-2"])?;
    place.await_rows(&["gone-1", "gone-2", "stays-1", "stays-2"])?;
    // Once this topic is read, the client has refreshed its list of topics and the group has rebalanced.
    place.create("t-third")?;
    place.send("t-third", &["third"])?;
    place.await_rows(&["gone-1", "gone-2", "stays-1", "stays-2", "third"])?;
    place.ends_well(&worker)
}

/// If a topic is deleted and created again, the task does not continue in the middle of the new topic: it fails before
/// it commits anything.
fn made_anew() -> Result<(), Failed> {
    let place = Place::new()?;
    place.create("t")?;
    place.send("t", &["old-1", "old-2", "old-3"])?;
    let topic = place.name("t");
    let worker = place.worker(&[("topics", &topic), ("rotate.idle.ms", "200")])?;
    place.await_rows(&["old-1", "old-2", "old-3"])?;
    place.delete("t")?;
    place.create("t")?;
    place.await_end("t", 0)?;
    place.send("t", &["new-1", "new-2", "new-3", "new-4", "new-5"])?;
    place.await_line(&worker, "task failed")?;
    place.await_line(&worker, "the topic was deleted and created again")?;
    worker.terminate();
    worker.wait(Instant::now() + LIMIT);
    let committed = place.stack.committed(&place.group(), &[("t".to_owned(), 0)])?;
    if !committed.is_empty() {
        return Err(format!("committed of the new topic: {committed:?}").into());
    }
    if place.stored()? != ["old-1", "old-2", "old-3"] {
        return Err(format!("stored: {:?}", place.stored()?).into());
    }
    // The error message tells people to choose another `topics.dir`; the new topic is then read from its beginning.
    let again = place.worker(&[("topics", &topic), ("rotate.idle.ms", "200"), ("topics.dir", "anew")])?;
    place.await_rows(&["old-1", "old-2", "old-3", "new-1", "new-2", "new-3", "new-4", "new-5"])?;
    again.terminate();
    match again.wait(Instant::now() + LIMIT) {
        Some(status) if status.success() => Ok(()),
        other => Err(format!("the worker's end: {other:?}\n{}", place.log.last(15)).into()),
    }
}

/// A new topic that matches the pattern is read within seconds, and not after the five minutes that are librdkafka's
/// default.
fn new_topic() -> Result<(), Failed> {
    let place = Place::new()?;
    place.create("t-first")?;
    place.send("t-first", &["first"])?;
    let pattern = format!("{}t-.*", place.stack.namespace());
    let worker = place.worker(&[("topics.regex", &pattern), ("rotate.idle.ms", "200")])?;
    place.await_rows(&["first"])?;
    place.create("t-second")?;
    place.send("t-second", &["second"])?;
    place.await_rows(&["first", "second"])?;
    place.ends_well(&worker)
}
