//! What flushes write, when they are due, and what is refused.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fms_connect::{Demand, Flush, SinkConnector, SinkError, SinkTask as _, Tick, TopicPartition};

use super::*;
use crate::S3Sink;
use crate::store::check_bucket;

/// An object appears when its flush is completed, not before, under the offset at which the flush starts, with the rows
/// as they came.
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

/// Late rows go to their own hour's object, all objects of a partition flush together and have their flush's start in
/// their names.
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

/// The names that flushes give are those of the offsets at which they start: what was committed before, whatever
/// records are still there.
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

/// Half of the partitions with a flush that waits are enough; the count follows every call, and a partition that is
/// closed.
#[test]
fn full_with_flushes_that_wait() {
    let world = World::new();
    let mut driver = world.task(&[("flush.size", "1")]);
    let ids: Vec<_> = (0..4).map(|partition| TopicPartition { topic: "t".into(), partition }).collect();
    for id in &ids {
        driver.task.open(id, None, None).expect("to open");
    }
    for (at, id) in ids.iter().enumerate() {
        assert_eq!(driver.task.is_full().expect("no error"), at >= 2, "{at}");
        driver.put_into(id, 0, "{}");
    }
    for id in &ids[..2] {
        assert!(driver.task.due(id, &SETTINGS).expect("no error").is_some());
        driver.task.flush(id).expect("to flush");
    }
    assert!(driver.task.is_full().expect("no error"), "two of four");
    driver.task.close(&ids[3]);
    assert!(!driver.task.is_full().expect("no error"), "one of three");
    driver.put_into(&ids[0], 1, "{}");
    assert!(driver.task.is_full().expect("no error"), "two of three");
    driver.task.open(&ids[2], None, None).expect("to open again");
    assert!(!driver.task.is_full().expect("no error"), "what it held is forgotten");
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
    let place =
        |extra: &[(&str, &str)]| S3Sink::default().exclusive_target(&World::config(extra)).map(|target| target.place);
    assert_eq!(place(&[]).as_deref(), Some("s3://raw/topics"));
    assert_eq!(place(&[("s3.compression.type", "gzip"), ("flush.size", "9")]), place(&[]));
    assert_ne!(place(&[("topics.dir", "other")]), place(&[]));
    assert_ne!(place(&[("s3.bucket.name", "other")]), place(&[]));
}

/// An endpoint that takes connections and says nothing is told at start, within five seconds, whatever the retries' own
/// time is.
#[test]
fn silent_endpoint() {
    let world = World::new();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let aws = world.aws.clone().into_builder().endpoint_url(format!("http://{address}")).build();
    let settings = S3Settings::parse(&World::config(&[])).expect("valid settings");
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
    let settings = S3Settings::parse(&config).expect("valid settings");
    let client = client(&world.aws, &settings.layout);
    let check = world.runtime.block_on(check_bucket(&client, "missing", "raw"));
    let (key, problem) = check.expect_err("no bucket");
    assert_eq!((key, problem.as_str()), ("s3.bucket.name", "there is no such bucket; create it or correct the name"));

    let mut driver = world.task(&[("s3.bucket.name", "missing")]).open();
    let error = driver.wait("the clean-up", |driver| driver.task.due(&partition(), &SETTINGS).err());
    let text = error.to_string();
    assert!(matches!(error, SinkError::Fatal { .. }), "{text}");
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
