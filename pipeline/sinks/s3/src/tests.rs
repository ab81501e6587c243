//! The task against S3 in memory, driven as the runtime drives it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::config::Credentials;
use aws_sdk_s3::types::ChecksumAlgorithm;
use e2e::stack::embedded::s3::{self, Store};
use fms_connect::config::common::COMMON;

use fms_connect::{
    Budget, Config, Demand, ErrantRow, Flush, LazyOrigin, Origin, Replay, RetryLimits, SinkConnector, SinkError,
    SinkRecord, SinkTask, TaskContext, Tick, TopicPartition,
};
use fms_record::{Parser, Row};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use crate::S3Sink;
use crate::keys::KEYS;
use crate::settings::Settings;
use crate::store::{check_bucket, client};
use crate::task::{CALLS, S3Task};

const BUCKET: &str = "raw";
const HOURLY: &[(&str, &str)] = &[
    ("partitioner.class", "TimeBased"),
    ("path.format", "'hour'=HH"),
    ("partition.duration.ms", "3600000"),
    ("timezone", "UTC"),
];

/// S3 in memory, and a thread for the tasks' background work.
struct World {
    runtime: Runtime,
    store: Store,
    aws: SdkConfig,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let store = Store::default();
        store.create_bucket(BUCKET);
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let served = store.clone();
        runtime.spawn(async move { s3::serve(listener, served, "key", "secret").await });
        let aws = aws_config::defaults(BehaviorVersion::latest())
            .endpoint_url(endpoint)
            .region("us-east-1")
            .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .http_client(aws_smithy_http_client::Builder::new().build_http());
        let aws = runtime.block_on(aws.load());
        Self { runtime, store, aws }
    }

    fn config(extra: &[(&str, &str)]) -> Config {
        let base = [("name", "raw"), ("connector.class", "S3Sink"), ("topics", "t"), ("s3.bucket.name", BUCKET)];
        let values = base.iter().chain(&[("flush.size", "3")]).chain(extra);
        let values = values.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Config::new("raw", &[COMMON, KEYS], values.collect()).expect("a valid configuration")
    }

    fn task(&self, extra: &[(&str, &str)]) -> Driver<'_> {
        let config = Self::config(extra);
        let settings = Settings::parse(&config).expect("valid settings");
        let budget = Budget::new(64 * 1024 * 1024);
        let wake = Arc::new(Notify::new());
        let context = TaskContext {
            connector: "raw".into(),
            task: 0,
            runtime: self.runtime.handle().clone(),
            wake: Arc::clone(&wake),
            budget: budget.clone(),
            retry: RetryLimits::of(&config),
        };
        let client = client(&self.aws, &settings.layout);
        let intent = config.intent_settings();
        let task = Box::new(S3Task::new(context, config, settings, self.aws.clone(), client));
        Driver { world: self, task, wake, budget, intent, errant: Vec::new() }
    }

    fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let objects = self.store.objects(BUCKET).expect("the bucket");
        objects.into_iter().map(|(key, body)| (key, body.to_vec())).collect()
    }

    /// Keys and their text.
    fn texts(&self) -> Vec<(String, String)> {
        let text = |body| String::from_utf8(body).expect("text");
        self.objects().into_iter().map(|(key, body)| (key, text(body))).collect()
    }

    /// Stores an object in one piece, without a CRC32C.
    fn store(&self, key: &str, body: &[u8]) {
        let settings = Settings::parse(&Self::config(&[])).expect("valid settings");
        let put = client(&self.aws, &settings.layout).put_object().bucket(BUCKET).key(key).body(body.to_vec().into());
        self.runtime.block_on(put.checksum_algorithm(ChecksumAlgorithm::Sha256).send()).expect("to put");
    }

    fn open_uploads(&self) -> Vec<String> {
        self.store.open_uploads(BUCKET).expect("the bucket")
    }
}

/// A task with partition 0 of topic `t`, and what the runtime does with it.
struct Driver<'w> {
    world: &'w World,
    task: Box<S3Task>,
    wake: Arc<Notify>,
    budget: Budget,
    intent: BTreeMap<String, String>,
    errant: Vec<ErrantRow>,
}

fn partition() -> TopicPartition {
    TopicPartition { topic: "t".into(), partition: 0 }
}

fn tick(demand: Demand, idle: Option<u64>) -> Tick {
    Tick { wall_millis: 0, idle: idle.map(Duration::from_millis), demand }
}

const SETTINGS: Tick = Tick { wall_millis: 0, idle: None, demand: Demand::Settings };

impl Driver<'_> {
    fn open(self) -> Self {
        self.open_at(Some(0))
    }

    /// Opens the partition where the group has committed `start`.
    fn open_at(mut self, start: Option<i64>) -> Self {
        self.task.open(&partition(), start, None).expect("to open");
        self
    }

    /// Takes over from an owner that had these settings and announced a flush of everything from 0 to `end`.
    fn take_over(self, end: i64, settings: &BTreeMap<String, String>) -> Self {
        self.take_over_at(0, end, settings)
    }

    fn take_over_at(mut self, start: i64, end: i64, settings: &BTreeMap<String, String>) -> Self {
        let replay = Replay { end, settings: settings.clone() };
        self.task.open(&partition(), Some(start), Some(&replay)).expect("to open");
        self
    }

    fn put(&mut self, offset: i64, message: &str) -> Result<(), SinkError> {
        let mut parser = Parser::new(message.contains(r#""list""#).then(|| "list".to_owned()));
        let message = parser.parse(message.as_bytes()).expect("a valid message");
        let rows: Vec<_> = message.rows().map(|row| row.expect("a valid row")).collect();
        self.put_rows(offset, &rows)
    }

    fn put_rows(&mut self, offset: i64, rows: &[Row<'_>]) -> Result<(), SinkError> {
        self.put_rows_into(&partition(), offset, rows)
    }

    /// Puts a message into any partition.
    fn put_into(&mut self, partition: &TopicPartition, offset: i64, message: &str) {
        let mut parser = Parser::new(None);
        let message = parser.parse(message.as_bytes()).expect("a valid message");
        let rows: Vec<_> = message.rows().map(|row| row.expect("a valid row")).collect();
        self.put_rows_into(partition, offset, &rows).expect("to put");
    }

    fn put_rows_into(&mut self, partition: &TopicPartition, offset: i64, rows: &[Row<'_>]) -> Result<(), SinkError> {
        let timestamp = Some(0);
        let origin = || Origin { partition: partition.clone(), offset, timestamp, key: None, headers: Vec::new() };
        let origin = &LazyOrigin::new(&origin);
        self.task.put(&SinkRecord { partition, offset, timestamp, origin, rows }, &mut self.errant)
    }

    /// Puts records of one row, `hour` being that of its event time.
    fn put_hours(&mut self, from: i64, hours: &[u32]) {
        for (offset, hour) in (from..).zip(hours) {
            let message = format!(r#"{{"n":{offset},"timestamp":"2023-01-01T{hour:02}:00:00Z"}}"#);
            self.put(offset, &message).expect("to put");
        }
    }

    /// Puts a record without rows.
    fn put_nothing(&mut self, offset: i64) {
        self.put_rows(offset, &[]).expect("to put");
    }

    /// Bytes that the task holds for rows.
    fn held(&self) -> usize {
        self.task.release();
        self.budget.used()
    }

    fn due(&mut self, tick: &Tick) -> Option<Flush> {
        self.task.due(&partition(), tick).expect("no error")
    }

    /// Waits until `condition` gives something, which background work brings about.
    fn wait<T>(&mut self, what: &str, mut condition: impl FnMut(&mut Self) -> Option<T>) -> T {
        let wake = Arc::clone(&self.wake);
        self.world.runtime.block_on(async {
            loop {
                if let Some(value) = condition(self) {
                    return value;
                }
                let woken = tokio::time::timeout(Duration::from_secs(30), wake.notified()).await;
                assert!(woken.is_ok(), "waited for {what}");
            }
        })
    }

    /// Completes the flush that is due: its intent is committed.
    fn flush(&mut self) -> Result<(), SinkError> {
        self.task.flush(&partition())?;
        self.wait("the flush", |driver| {
            driver.task.poll(&partition(), &mut Vec::new()).map(|done| done.then_some(())).transpose()
        })
    }

    /// Completes all flushes that are due, one by one: their ends and reasons.
    fn flush_all(&mut self, tick: &Tick) -> Vec<(i64, &'static str)> {
        let mut flushes = Vec::new();
        while let Some(flush) = self.due(tick) {
            self.flush().expect("to flush");
            flushes.push((flush.end, flush.reason));
        }
        flushes
    }
}

/// An object appears when its flush is completed, not before, under the offset at which the flush starts, with the rows as they came.
#[test]
fn objects_appear_in_flush() {
    let world = World::new();
    let mut driver = world.task(&[]).open_at(Some(5));
    driver.put(7, r#"{"n":1.50,"a":"x"}"#).expect("to put");
    driver.put(8, r#"{"n":2}"#).expect("to put");
    assert_eq!(driver.due(&SETTINGS), None, "two rows are under `flush.size`");
    driver.put(12, r#"{"n":3}"#).expect("to put");
    driver.put(13, r#"{"n":4}"#).expect("to put");
    assert_eq!(driver.due(&SETTINGS), Some(Flush { end: 13, intent: true, reason: "flush.size" }));
    assert_eq!(world.texts(), []);
    driver.flush().expect("to flush");
    let key = "topics/t/partition=0/t+0+0000000005.json".to_owned();
    assert_eq!(world.texts(), [(key, "{\"n\":1.50,\"a\":\"x\"}\n{\"n\":2}\n{\"n\":3}\n".to_owned())]);
    assert_eq!(driver.due(&SETTINGS), None, "the fourth row waits for others");
    assert_eq!(driver.flush_all(&tick(Demand::Shutdown, None)), [(14, "shutdown")]);
    assert_eq!(driver.held(), 0, "what is stored is held no longer");
}

/// A message is never divided, however many rows it has.
#[test]
fn messages_are_not_divided() {
    let world = World::new();
    let mut driver = world.task(&[]).open();
    let list = r#"{"object":"o","type":"t","id":1,"list":[{"a":1},{"a":2},{"a":3},{"a":4},{"a":5}]}"#;
    driver.put(0, list).expect("to put");
    assert_eq!(driver.flush_all(&SETTINGS), [(1, "flush.size")]);
    assert_eq!(world.texts()[0].1.lines().count(), 5);
}

/// Late rows go to their own hour's object, all objects of a partition flush together and have their flush's start in their names.
#[test]
fn late_rows_join_their_hour() {
    let world = World::new();
    let mut driver = world.task(HOURLY).open();
    driver.put_hours(0, &[9, 8, 9, 8, 9]);
    assert_eq!(driver.flush_all(&SETTINGS), [(5, "flush.size")]);
    let counts: Vec<_> = world.texts().into_iter().map(|(key, text)| (key, text.lines().count())).collect();
    let expected = [("topics/t/hour=08/t+0+0000000000.json", 2), ("topics/t/hour=09/t+0+0000000000.json", 3)];
    assert_eq!(counts, expected.map(|(key, rows)| (key.to_owned(), rows)));
}

/// `rotate.interval.ms` ends a flush before the record that reaches it, and closed flushes wait for their turn.
#[test]
fn interval_ends_before_the_record() {
    let world = World::new();
    let mut driver = world.task(&[("rotate.interval.ms", "3600000"), ("flush.size", "100")]).open();
    driver.put_hours(0, &[1, 0, 1, 2, 2, 3]);
    assert_eq!(driver.flush_all(&SETTINGS), [(3, "rotate.interval.ms"), (5, "rotate.interval.ms")]);
    assert_eq!(driver.flush_all(&tick(Demand::Commit, Some(0))), [], "rows wait for the sink's own settings");
    assert_eq!(driver.flush_all(&tick(Demand::Memory, None)), [(6, "buffer.memory")]);
}

/// Whatever today's settings are, a takeover writes what the previous owner announced: the same keys, the same bytes.
#[test]
fn replay_writes_the_same_objects() {
    let settings: Vec<_> = [HOURLY, &[("s3.compression.type", "gzip"), ("flush.size", "100")]].concat();
    let hours = [3, 4, 3, 5, 4, 3, 3];
    let world = World::new();
    let mut first = world.task(&settings).open();
    first.put_hours(0, &hours);
    assert_eq!(first.flush_all(&tick(Demand::Shutdown, None)), [(7, "shutdown")]);
    let written = world.objects();
    assert_eq!(written.len(), 3);

    let world_after = World::new();
    let today = [
        ("flush.size", "1"),
        ("topics.dir", "elsewhere"),
        ("s3.compression.type", "zstd"),
        ("rotate.interval.ms", "1"),
    ];
    let mut next = world_after.task(&today).take_over(7, &first.intent);
    next.put_hours(0, &hours[..6]);
    assert_eq!(next.due(&tick(Demand::Shutdown, None)), None, "only its end ends it");
    next.put_hours(6, &hours[6..]);
    assert_eq!(next.flush_all(&SETTINGS), [(7, "replay")]);
    assert_eq!(world_after.objects(), written);

    // Then today's settings count.
    next.put_hours(7, &[9]);
    assert_eq!(next.flush_all(&SETTINGS), [(8, "flush.size")]);
    assert!(world_after.objects().contains_key("elsewhere/t/partition=0/t+0+0000000007.json.zst"));
}

/// The names that flushes give are those of the offsets at which they start: what was committed before, whatever records are still there.
#[test]
fn names_are_those_of_the_start() {
    for (start, offsets, expected) in [
        (Some(4), &[9, 10, 11, 20, 21, 22][..], &[4, 12][..]),
        (None, &[9, 10, 11, 20, 21, 22], &[9, 12]),
        (Some(0), &[0, 1, 2], &[0]),
    ] {
        let world = World::new();
        let mut driver = world.task(&[]).open_at(start);
        for offset in offsets {
            driver.put(*offset, "{}").expect("to put");
        }
        assert_eq!(driver.flush_all(&SETTINGS).len(), expected.len());
        let keys: Vec<_> = world.objects().into_keys().collect();
        let expected = expected.iter().map(|start| format!("topics/t/partition=0/t+0+{start:010}.json"));
        assert_eq!(keys, expected.collect::<Vec<_>>(), "{start:?} {offsets:?}");
    }
}

/// An offset that is committed without rows is where the next flush starts.
#[test]
fn offsets_without_rows_move_the_start() {
    let world = World::new();
    let mut driver = world.task(&[]).open_at(None);
    driver.put_nothing(3);
    assert_eq!(driver.flush_all(&tick(Demand::Commit, None)), [(4, "offset.flush.interval.ms")]);
    driver.put_hours(8, &[1, 1, 1]);
    assert_eq!(driver.flush_all(&SETTINGS), [(11, "flush.size")]);
    assert!(world.objects().contains_key("topics/t/partition=0/t+0+0000000004.json"), "{:?}", world.texts());
}

/// Records that are compacted away between a flush and its replay, the first, the last or all of a folder, change no name.
#[test]
fn a_replay_without_its_first_records_has_the_same_names() {
    let hours = [3, 4, 3, 5, 4, 3, 3];
    let world = World::new();
    let mut first = world.task(&[HOURLY, &[("flush.size", "100")]].concat()).open_at(Some(10));
    first.put_hours(10, &hours);
    assert_eq!(first.flush_all(&tick(Demand::Shutdown, None)), [(17, "shutdown")]);
    let written: Vec<_> = world.objects().into_keys().collect();
    assert_eq!(written.len(), 3);

    for (left, end_comes_with) in [(&[12, 13, 14, 16][..], 16), (&[15, 16], 16), (&[12], 30), (&[], 30)] {
        let world = World::new();
        let mut next = world.task(HOURLY).take_over_at(10, 17, &first.intent);
        for offset in left.iter().copied().chain((end_comes_with > 16).then_some(end_comes_with)) {
            let hour = usize::try_from(offset - 10).ok().and_then(|at| hours.get(at)).copied().unwrap_or(9);
            next.put_hours(offset, &[hour]);
        }
        assert_eq!(next.flush_all(&SETTINGS), [(17, "replay")], "{left:?}");
        let names: Vec<_> = world.objects().into_keys().collect();
        assert!(names.iter().all(|name| written.contains(name)), "{left:?}: {names:?}");
        assert_eq!(names.is_empty(), left.is_empty(), "{left:?}: {names:?}");

        // The flush after it starts where it ends.
        next.put_hours(40, &[9]);
        next.flush_all(&tick(Demand::Shutdown, None));
        assert!(world.objects().contains_key("topics/t/hour=09/t+0+0000000017.json"), "{left:?}: {:?}", world.texts());
    }
}

/// The last records before the announced end may no longer exist: a later record ends the replay, and nothing else does.
#[test]
fn replay_ends_at_its_end_across_gaps() {
    let world = World::new();
    let mut driver = world.task(&[]);
    let intent = driver.intent.clone();
    driver = driver.take_over(10, &intent);
    driver.put_hours(0, &[1, 1]);
    assert_eq!(driver.due(&SETTINGS), None);
    driver.put_hours(10, &[1]);
    assert_eq!(driver.flush_all(&SETTINGS), [(10, "replay")]);
    assert_eq!(world.texts()[0].1.lines().count(), 2, "the record at the end is not part of it");
    driver.task.close(&partition());

    driver = driver.take_over(10, &intent);
    driver.put_hours(0, &[1, 1]);
    assert_eq!(driver.due(&tick(Demand::Settings, Some(0))), None, "the partition's end may be old news");
    driver.task.close(&partition());

    driver = driver.take_over(10, &intent);
    driver.put_hours(12, &[1]);
    let due = driver.due(&SETTINGS);
    assert_eq!(due, Some(Flush { end: 10, intent: false, reason: "replay" }), "nothing is left to be written");
}

/// Records without rows write nothing and need no intent; their offset advances on demand and at the partition's end.
#[test]
fn offsets_without_rows_advance() {
    let world = World::new();
    let mut driver = world.task(&[]).open();
    driver.put_nothing(0);
    assert_eq!(driver.due(&SETTINGS), None);
    let flush = Flush { end: 1, intent: false, reason: "offset.flush.interval.ms" };
    assert_eq!(driver.due(&tick(Demand::Commit, None)), Some(flush));
    driver.flush().expect("to flush");
    driver.put_nothing(1);
    assert_eq!(driver.flush_all(&tick(Demand::Settings, Some(0))), [(2, "offset.flush.interval.ms")]);
    assert_eq!(driver.due(&tick(Demand::Commit, Some(0))), None, "nothing came since");
    assert_eq!(world.texts(), []);
}

/// `rotate.idle.ms` and `rotate.schedule.interval.ms`.
#[test]
fn idle_and_schedule() {
    let world = World::new();
    let extra = [("rotate.idle.ms", "500"), ("rotate.schedule.interval.ms", "60000"), ("timezone", "UTC")];
    let mut driver = world.task(&extra).open();
    driver.put_hours(0, &[1]);
    assert_eq!(driver.flush_all(&tick(Demand::Settings, Some(499))), []);
    assert_eq!(driver.flush_all(&tick(Demand::Settings, Some(500))), [(1, "rotate.idle.ms")]);
    driver.put_hours(1, &[1]);
    let at = |wall_millis| Tick { wall_millis, ..SETTINGS };
    assert_eq!(driver.flush_all(&at(119_999)), []);
    assert_eq!(driver.flush_all(&at(120_000)), [(2, "rotate.schedule.interval.ms")]);
}

/// A row that cannot be placed is errant and says why; the others of its message are stored.
#[test]
fn errant_rows_do_not_hold_up_the_rest() {
    let world = World::new();
    let fields = [("partitioner.class", "FieldAndTime"), ("partition.field.name", "kind"), ("flush.size", "1")];
    let mut driver = world.task(&[HOURLY, &fields].concat()).open();
    let message = concat!(
        r#"{"object":"o","type":"t","id":1,"list":[{"kind":"a/b","timestamp":"2023-01-01T05:00:00Z"},{"x":1},"#,
        r#"{"kind":"c","timestamp":"soon"}]}"#
    );
    driver.put(0, message).expect("to put");
    assert_eq!(driver.flush_all(&SETTINGS), [(1, "flush.size")]);
    let keys: Vec<_> = world.objects().into_keys().collect();
    assert_eq!(keys, ["topics/t/kind=a%2Fb/hour=05/t+0+0000000000.json"]);
    let [missing, unreadable] = &driver.errant[..] else { panic!("two errant rows: {:?}", driver.errant) };
    assert_eq!((missing.index, unreadable.index), (1, 2));
    assert_eq!((missing.class, unreadable.class), ("MissingField", "UnreadableTime"));
    assert!(missing.error.contains("`kind`, which `partition.field.name` asks for, is absent"), "{}", missing.error);
    assert!(unreadable.error.contains("soon"), "{}", unreadable.error);
    assert!(String::from_utf8_lossy(&missing.text).contains(r#""x":1"#));
}

/// A flush that is repeated where its objects are stored already finds them there, and leaves them: in one piece or in parts, and also
/// in a store that has no checksum of them.
#[test]
fn a_replay_of_the_same_bytes_is_done() {
    let rows = [r#"{"n":1}"#.to_owned(), r#"{"n":2}"#.to_owned()];
    for rows in [&rows[..], &(0..7).map(big_row).collect::<Vec<_>>()] {
        for has_checksum in [true, false] {
            let world = World::new();
            let mut first = world.task(&[("flush.size", "100")]).open();
            let put_all = |driver: &mut Driver<'_>| {
                for (offset, row) in (0..).zip(rows) {
                    driver.put(offset, row).expect("to put");
                }
            };
            put_all(&mut first);
            assert_eq!(first.flush_all(&tick(Demand::Shutdown, None)).len(), 1);
            let written = world.objects();
            if !has_checksum {
                world.store("topics/t/partition=0/t+0+0000000000.json", &written.values().next().expect("one")[..]);
            }
            let end = i64::try_from(rows.len()).expect("few");
            let mut next = world.task(&[]).take_over(end, &first.intent);
            put_all(&mut next);
            assert_eq!(next.flush_all(&SETTINGS), [(end, "replay")]);
            assert_eq!(world.objects(), written);
            assert_eq!(world.open_uploads(), [""; 0], "the upload that was not needed is aborted");
        }
    }
}

/// Another object of the same name is never replaced, whether it is larger, smaller or as large, and in one piece or in parts. The error
/// says which it is and what to do.
#[test]
fn another_object_is_not_replaced() {
    let name = "topics/t/partition=0/t+0+0000000000.json";
    for row in [r#"{"n":1}"#.to_owned(), big_row(0).replace("xx", &"x".repeat(12))] {
        let bytes = row.len() + 1;
        for other in [vec![b'x'; bytes], vec![b'x'; 3]] {
            let world = World::new();
            world.store(name, &other);
            let mut driver = world.task(&[("flush.size", "1")]).open();
            driver.put(0, &row).expect("to put");
            assert_eq!(driver.due(&SETTINGS).map(|flush| flush.end), Some(1));
            let error = driver.flush().expect_err("it is another");
            let text = error.to_string();
            assert!(matches!(error, SinkError::Fatal(_)), "{text}");
            let length = format!("another object of {} bytes", other.len());
            for part in
                ["s3://raw/topics/t/partition=0/t+0+", "of t-0 from offset 0 on", &length, "`topics.dir`", "made anew"]
            {
                assert!(text.contains(part), "{part}: {text}");
            }
            assert_eq!(text.contains(&format!("this one has {bytes}")), other.len() != bytes, "{text}");
            assert!(!text.contains("  "), "{text}");
            assert_eq!(world.objects().into_values().collect::<Vec<_>>(), [other]);
        }
    }
}

/// Records that are compacted away between a flush and its replay: what was stored before has every row, and stays. But an object that
/// lacks a row of the replay is another, and so is every other one where no record is gone.
#[test]
fn what_was_stored_before_compaction_stays() {
    for compression in ["none", "gzip", "zstd"] {
        let world = World::new();
        let settings = [HOURLY, &[("flush.size", "100"), ("s3.compression.type", compression)]].concat();
        let mut first = world.task(&settings).open();
        first.put_hours(0, &[3, 4, 3, 3, 4]);
        assert_eq!(first.flush_all(&tick(Demand::Shutdown, None)), [(5, "shutdown")]);
        let written = world.objects();
        let mut next = world.task(&[]).take_over(5, &first.intent);
        next.put_hours(2, &[3, 3]);
        next.put_hours(9, &[9]);
        assert_eq!(next.flush_all(&SETTINGS), [(5, "replay")]);
        assert_eq!(world.objects(), written, "{compression}");

        let mut next = world.task(&[]).take_over(5, &first.intent);
        next.put_hours(2, &[3]);
        next.put(3, r#"{"n":-1,"timestamp":"2023-01-01T03:00:00Z"}"#).expect("to put");
        next.put_hours(9, &[9]);
        assert_eq!(next.due(&SETTINGS).map(|flush| flush.end), Some(5));
        let error = next.flush().expect_err("a row is not there");
        assert!(error.to_string().contains("another object"), "{compression}: {error}");

        let mut next = world.task(&[]).take_over(4, &first.intent);
        next.put_hours(0, &[3, 4, 3, 4]);
        assert_eq!(next.due(&SETTINGS).map(|flush| flush.end), Some(4));
        next.flush().expect_err("no record is gone, so it is another flush");
        assert_eq!(world.objects(), written, "{compression}");
    }
}

fn big_row(offset: i64) -> String {
    format!(r#"{{"n":{offset},"text":"{}"}}"#, "x".repeat(1024 * 1024))
}

/// Beyond a part's size parts go ahead and give their memory back; the object appears only in the flush, whole.
#[test]
fn large_objects_go_in_parts() {
    let world = World::new();
    let mut driver = world.task(&[("flush.size", "13")]).open();
    for offset in 0..13 {
        driver.put(offset, &big_row(offset)).expect("to put");
    }
    driver.wait("two parts and the last", |driver| {
        driver.due(&SETTINGS);
        (driver.held() == 0).then_some(())
    });
    assert_eq!(world.open_uploads(), ["topics/t/partition=0/t+0+0000000000.json"]);
    assert_eq!(world.texts(), []);
    assert_eq!(driver.flush_all(&SETTINGS), [(13, "flush.size")]);
    let rows: String = (0..13).map(|offset| big_row(offset) + "\n").collect();
    assert_eq!(world.texts(), [("topics/t/partition=0/t+0+0000000000.json".to_owned(), rows)]);
    assert_eq!(world.open_uploads(), [""; 0]);
}

/// While parts are on their way, a full worker waits for them instead of making smaller objects.
#[test]
fn memory_waits_for_parts_under_way() {
    let world = World::new();
    let mut driver = world.task(&[("flush.size", "100")]).open();
    for offset in 0..6 {
        driver.put(offset, &big_row(offset)).expect("to put");
    }
    assert_eq!(driver.due(&tick(Demand::Memory, None)), None, "its clean-up and its part have just begun");
    let flush = driver.wait("the part", |driver| driver.due(&tick(Demand::Memory, None)));
    assert_eq!(flush, Flush { end: 6, intent: true, reason: "buffer.memory" });
}

/// Whoever takes a partition over aborts the uploads that were left behind there, in whatever folders, and no others.
#[test]
fn uploads_left_behind_are_aborted() {
    let world = World::new();
    let settings = Settings::parse(&World::config(&[])).expect("valid settings");
    let client = client(&world.aws, &settings.layout);
    let others = [
        "topics/t/partition=0/other.json",
        "topics/t/partition=10/t+10+0000000000.json",
        "topics/t2/partition=0/t2+0+0000000000.json",
    ];
    let ours = ["topics/t/a=t+1/hour=03/t+0+0000000000.json.gz", "topics/t/partition=0/t+0+0000000005.json"];
    world.runtime.block_on(async {
        for key in others.iter().chain(&ours) {
            client.create_multipart_upload().bucket(BUCKET).key(*key).send().await.expect("an upload");
        }
        // More than a page of them.
        for number in 0..1001 {
            let key = format!("topics/t/partition=0/t+0+{number:010}.json.zst");
            client.create_multipart_upload().bucket(BUCKET).key(key).send().await.expect("an upload");
        }
    });
    let mut driver = world.task(&[]).open();
    driver.put_hours(0, &[1, 1, 1]);
    assert_eq!(driver.flush_all(&SETTINGS), [(3, "flush.size")]);
    assert_eq!(world.open_uploads(), others, "before anything of ours is stored");
}

/// However many partitions are opened at once, a task has no more calls under way than its limit: clean-ups take their turns too.
#[test]
fn clean_ups_take_turns() {
    const PARTITIONS: i32 = 1000;
    let mut world = World::new();
    let (most, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let listener = world.runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    world.aws = world.aws.to_builder().endpoint_url(endpoint).build();
    let (counted, listed) = (Arc::clone(&most), Arc::clone(&done));
    world.runtime.spawn(async move {
        let under_way = Arc::new(AtomicUsize::new(0));
        while let Ok((mut connection, _)) = listener.accept().await {
            let (under_way, most, done) = (Arc::clone(&under_way), Arc::clone(&counted), Arc::clone(&listed));
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = connection.read_u8().await else { return };
                    head.push(byte);
                }
                most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // All that are allowed are there before the first is answered.
                while most.load(Ordering::SeqCst) < CALLS {
                    tokio::task::yield_now().await;
                }
                under_way.fetch_sub(1, Ordering::SeqCst);
                done.fetch_add(1, Ordering::SeqCst);
                let body = "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>";
                let answer =
                    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                let _ = connection.write_all(answer.as_bytes()).await;
            });
        }
    });
    let mut driver = world.task(&[]);
    for partition in 0..PARTITIONS {
        driver.task.open(&TopicPartition { topic: "t".into(), partition }, None, None).expect("to open");
    }
    driver.wait("the clean-ups", |_| (done.load(Ordering::SeqCst) == 1000).then_some(()));
    assert_eq!(most.load(Ordering::SeqCst), CALLS);
}

/// Half of the partitions with a flush that waits are enough; the count follows every call, and a partition that is closed.
#[test]
fn full_with_flushes_that_wait() {
    let world = World::new();
    let mut driver = world.task(&[("flush.size", "1")]);
    let ids: Vec<_> = (0..4).map(|partition| TopicPartition { topic: "t".into(), partition }).collect();
    for id in &ids {
        driver.task.open(id, None, None).expect("to open");
    }
    for (at, id) in ids.iter().enumerate() {
        assert_eq!(driver.task.is_full(), Ok(at >= 2), "{at}");
        driver.put_into(id, 0, "{}");
    }
    for id in &ids[..2] {
        assert!(driver.task.due(id, &SETTINGS).expect("no error").is_some());
        driver.task.flush(id).expect("to flush");
    }
    assert_eq!(driver.task.is_full(), Ok(true), "two of four");
    driver.task.close(&ids[3]);
    assert_eq!(driver.task.is_full(), Ok(false), "one of three");
    driver.put_into(&ids[0], 1, "{}");
    assert_eq!(driver.task.is_full(), Ok(true), "two of three");
    driver.task.open(&ids[2], None, None).expect("to open again");
    assert_eq!(driver.task.is_full(), Ok(false), "what it held is forgotten");
}

/// An upload that another owner has aborted cannot be completed: the partition starts over.
#[test]
fn aborted_uploads_restart_the_partition() {
    let world = World::new();
    let mut driver = world.task(&[("flush.size", "7")]).open();
    let mut next = world.task(&[("flush.size", "7")]);
    for offset in 0..7 {
        driver.put(offset, &big_row(offset)).expect("to put");
    }
    driver.wait("the parts", |driver| {
        driver.due(&SETTINGS);
        (driver.held() == 0).then_some(())
    });
    next = next.open();
    next.wait("the clean-up", |next| {
        next.due(&SETTINGS);
        next.world.open_uploads().is_empty().then_some(())
    });
    assert!(driver.due(&SETTINGS).is_some());
    let error = driver.flush().expect_err("the upload is gone");
    assert!(matches!(&error, SinkError::Restart(text) if text.contains("t+0+0000000000.json")), "{error:?}");
    assert_eq!(world.texts(), []);
}

/// After `close` nothing more is written, and the partition can be opened again.
#[test]
fn close_forgets() {
    let world = World::new();
    let mut driver = world.task(&[]).open();
    driver.put_hours(0, &[1, 1]);
    driver.task.close(&partition());
    assert_eq!(driver.held(), 0);
    assert!(driver.task.due(&partition(), &SETTINGS).is_err());
    driver = driver.open();
    driver.put_hours(0, &[1, 1, 1]);
    assert_eq!(driver.flush_all(&SETTINGS), [(3, "flush.size")]);
    assert_eq!(world.objects().len(), 1);
}

/// Two connectors that write below one folder of one bucket are told apart from those that do not.
#[test]
fn a_folder_has_one_writer() {
    let place = |extra: &[(&str, &str)]| S3Sink.exclusive_target(&World::config(extra)).map(|target| target.place);
    assert_eq!(place(&[]).as_deref(), Some("s3://raw/topics"));
    assert_eq!(place(&[("s3.compression.type", "gzip"), ("flush.size", "9")]), place(&[]));
    assert_ne!(place(&[("topics.dir", "other")]), place(&[]));
    assert_ne!(place(&[("s3.bucket.name", "other")]), place(&[]));
}

/// An endpoint that takes connections and says nothing is told at start, within five seconds, whatever the retries' own time is.
#[test]
fn silent_endpoint() {
    let world = World::new();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let aws = world.aws.clone().into_builder().endpoint_url(format!("http://{address}")).build();
    let settings = Settings::parse(&World::config(&[])).expect("valid settings");
    let started = std::time::Instant::now();
    let check = world.runtime.block_on(check_bucket(&client(&aws, &settings.layout), "raw", "raw"));
    let (key, problem) = check.expect_err("no answer");
    assert_eq!(key, "s3.bucket.name");
    assert!(problem.starts_with("looking at the bucket failed: ") && problem.contains("timeout"), "{problem}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}: {problem}", started.elapsed());
}

/// A bucket that is not there is found at start; one that vanishes fails the task. Both say what to do.
#[test]
fn missing_bucket() {
    let world = World::new();
    let config = World::config(&[("s3.bucket.name", "missing")]);
    let settings = Settings::parse(&config).expect("valid settings");
    let client = client(&world.aws, &settings.layout);
    let check = world.runtime.block_on(check_bucket(&client, "missing", "raw"));
    let (key, problem) = check.expect_err("no bucket");
    assert_eq!((key, problem.as_str()), ("s3.bucket.name", "there is no such bucket; create it or correct the name"));

    let mut driver = world.task(&[("s3.bucket.name", "missing")]).open();
    let error = driver.wait("the clean-up", |driver| driver.task.due(&partition(), &SETTINGS).err());
    let text = error.to_string();
    assert!(matches!(error, SinkError::Fatal(_)), "{text}");
    for part in ["of t-0", "s3://missing/topics/t/", "NoSuchBucket", "create the bucket"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// What a task says while it does this.
fn log(what: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            std::io::Write::write(&mut *self.0.lock().expect("not poisoned"), line)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, what);
    let bytes = log.0.lock().expect("not poisoned").clone();
    String::from_utf8(bytes).expect("UTF-8")
}

/// A `timestamp.field` that no row has is said, once; a path leads to a field that is deeper.
#[test]
fn a_time_that_no_row_has_is_said_once() {
    let world = World::new();
    let path = ("timestamp.field", "position.fixTime");
    let settings = [("partitioner.class", "Hourly"), ("timezone", "UTC"), ("flush.size", "1"), path];
    let message = |field: &str| format!(r#"{{"position":{{"{field}":"2023-01-01T05:00:00Z"}}}}"#);
    let said = |field: &str| {
        let mut driver = world.task(&settings).open();
        log(|| {
            for offset in 0..3 {
                driver.put(offset, &message(field)).expect("to put");
            }
        })
    };
    let absent = said("fixtime");
    assert_eq!(absent.matches("no row of a flush has the field `position.fixTime`").count(), 1, "{absent}");
    assert!(absent.contains("1 that of Kafka"), "{absent}");
    let there = said("fixTime");
    assert!(there.contains("a flush ends") && !there.contains("no row of a flush"), "{there}");
}
