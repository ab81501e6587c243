//! The poller with queues in memory.

mod outage;

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::testing::{Done, Fake, LONG};
use super::*;
use crate::event::event_of;
use crate::misfit::Reason;

fn object(key: &str) -> Object {
    Object { bucket: "raw".into(), key: key.into(), version_id: None }
}

fn event(keys: &[&str]) -> String {
    let records: Vec<Value> = keys
        .iter()
        .map(|key| serde_json::from_str::<Value>(&event_of(&object(key))).expect("an event")["Records"][0].take())
        .collect();
    json!({"Records": records}).to_string()
}

fn settings() -> Settings {
    Settings { at_a_time: 2, visibility: LONG, max_attempts: 3, shutdown_limit: LONG }
}

/// Converts by a function that may block. Raw objects are those below `topics/`, but not below `topics/lake/`.
struct By<F>(Arc<F>);

impl<F: Fn(&Object) -> Result<Option<Report>, ObjectError> + Send + Sync + 'static> Convert for By<F> {
    fn is_raw(&self, object: &Object) -> bool {
        object.key.starts_with("topics/") && !object.key.starts_with("topics/lake/")
    }

    async fn convert(&self, object: &Object) -> Result<Option<Report>, ObjectError> {
        let (convert, object) = (Arc::clone(&self.0), object.clone());
        match tokio::task::spawn_blocking(move || convert(&object)).await {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// The keys of the objects that were converted, in order.
#[derive(Clone, Default)]
struct Converted(Arc<Mutex<Vec<String>>>);

impl Converted {
    fn keys(&self) -> Vec<String> {
        self.0.lock().expect("no panic").clone()
    }

    /// Notes what is converted. A key that ends with a kind of I/O error fails with it.
    fn convert(&self) -> By<impl Fn(&Object) -> Result<Option<Report>, ObjectError> + use<>> {
        let noted = self.clone();
        By(Arc::new(move |object: &Object| {
            noted.0.lock().expect("no panic").push(object.key.clone());
            match object.key.rsplit('/').next() {
                Some("missing") => Err(io::Error::from(io::ErrorKind::NotFound).into()),
                Some("unreachable") => Err(io::Error::from(io::ErrorKind::ResourceBusy).into()),
                Some("broken") => Err(io::Error::other("cut off").into()),
                Some("panic") => panic!("a bug"),
                Some("done") => Ok(None),
                _ => Ok(Some(Report {
                    lines: 3,
                    rows: 2,
                    files: 1,
                    quarantined: [((Reason::Type, "a".into()), 1)].into(),
                    ..Report::default()
                })),
            }
        }))
    }
}

/// A poller that runs.
struct Running {
    main: Fake,
    fallback: Fake,
    health: Health,
    stop: watch::Sender<bool>,
    ended: JoinHandle<Stopped>,
}

fn start(main: Fake, convert: impl Convert, settings: Settings) -> Running {
    let fallback = Fake::new(&[]);
    let poll = Poll::new(main.clone(), fallback.clone(), convert, settings);
    let (health, (stop, stopping)) = (poll.health(), watch::channel(false));
    let ended = tokio::spawn(async move { poll.run(stopping).await });
    Running { main, fallback, health, stop, ended }
}

impl Running {
    async fn stop(self) -> Stopped {
        self.stop.send_replace(true);
        self.ended.await.expect("no panic")
    }

    /// Waits until the queue is empty, stops, and gives the letters.
    async fn letters(self) -> Vec<Value> {
        self.main.until("empty", |main| main.len() == 0).await;
        let letters = self.fallback.sent().iter().map(|text| serde_json::from_str(text).expect("a letter")).collect();
        assert_eq!(self.stop().await, Stopped { returned: 0 });
        letters
    }
}

fn reasons(letters: &[Value]) -> Vec<(&str, &str)> {
    letters
        .iter()
        .map(|letter| (letter["object"]["key"].as_str().unwrap_or(""), letter["reason"].as_str().unwrap_or("")))
        .collect()
}

#[tokio::test]
async fn raw_objects_are_converted_and_all_messages_deleted() {
    let converted = Converted::default();
    let main = Fake::new(&[
        &event(&["topics/a", "topics/b c"]),
        &event(&["other/x", "topics/lake/y"]),
        r#"{"Event":"s3:TestEvent"}"#,
    ]);
    let letters = start(main, converted.convert(), Settings { at_a_time: 1, ..settings() }).letters().await;
    assert_eq!(letters, [] as [Value; 0]);
    assert_eq!(converted.keys(), ["topics/a", "topics/b c"]);
}

#[tokio::test]
async fn what_fails_goes_to_the_fallback_queue_and_nothing_else_of_the_message() {
    let converted = Converted::default();
    let main = Fake::new(&[&event(&["topics/a", "topics/missing", "topics/panic", "topics/b", "topics/broken"])]);
    let letters = start(main.clone(), converted.convert(), settings()).letters().await;
    let expected = [("topics/missing", "missing"), ("topics/panic", "panic"), ("topics/broken", "read")];
    assert_eq!(reasons(&letters), expected);
    assert_eq!(converted.keys().len(), 5);
    assert_eq!(letters[1]["error"], "the conversion panicked, which is a bug: a bug");
    assert_eq!(letters[2]["error"], "cannot read the object: cut off");
    assert_eq!((&letters[2]["attempts"], &letters[2]["version"]), (&json!(1), &json!(1)));
    assert_eq!(letters[2]["event"]["Records"].as_array().map(Vec::len), Some(5));
}

#[tokio::test]
async fn what_cannot_be_read_hides_nothing_that_can() {
    let converted = Converted::default();
    let mixed = event(&["topics/a", "topics/b"]).replace("topics/a", "%FF");
    let main = Fake::new(&["hello", &mixed]);
    let letters = start(main, converted.convert(), Settings { at_a_time: 1, ..settings() }).letters().await;
    assert_eq!(reasons(&letters), [("", "unreadable"), ("", "unreadable")]);
    assert_eq!(letters[0]["event"], "hello");
    assert_eq!(converted.keys(), ["topics/b"]);
}

#[tokio::test]
async fn a_message_that_was_received_too_often_is_not_tried_again() {
    let converted = Converted::default();
    let main = Fake::new(&[&event(&["topics/a", "other/b"])]);
    main.received_before(3);
    let letters = start(main, converted.convert(), settings()).letters().await;
    assert_eq!(reasons(&letters), [("topics/a", "too-many-attempts")]);
    assert_eq!(letters[0]["attempts"], 4);
    assert_eq!(converted.keys(), [] as [String; 0]);
}

#[tokio::test]
async fn a_message_stays_until_the_fallback_queue_has_taken_what_failed() {
    let converted = Converted::default();
    let main = Fake::new(&[&event(&["topics/broken"])]);
    let visibility = Duration::from_millis(50);
    let running =
        start(main.clone(), converted.convert(), Settings { visibility, max_attempts: u32::MAX, ..settings() });
    running.fallback.broken(true);
    main.until("received again", |_| converted.keys().len() >= 3).await;
    assert!(!main.done().iter().any(|done| matches!(done, Done::Deleted(_))));
    running.fallback.broken(false);
    assert_eq!(reasons(&running.letters().await), [("topics/broken", "read")]);
}

#[tokio::test]
async fn a_message_is_kept_invisible_while_its_object_is_converted() {
    let visibility = Duration::from_millis(300);
    let (go_on, wait) = mpsc::channel::<()>();
    let (wait, conversions) = (Mutex::new(wait), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&conversions);
    let convert = By(Arc::new(move |_: &Object| {
        counted.fetch_add(1, Ordering::Relaxed);
        let _ = wait.lock().expect("no panic").recv();
        Ok(None)
    }));
    let running = start(Fake::new(&[&event(&["topics/a"])]), convert, Settings { visibility, ..settings() });
    let kept = Done::Hidden("0".into(), visibility);
    let beats = |main: &Fake| main.done().iter().filter(|done| **done == kept).count();
    running.main.until("kept for longer than its time", |main| beats(main) >= 4).await;
    go_on.send(()).expect("the conversion waits");
    running.letters().await;
    assert_eq!(conversions.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn no_more_is_received_than_can_be_converted_at_a_time() {
    let keys: Vec<String> = (0..9).map(|number| event(&[&format!("topics/{number}")])).collect();
    let main = Fake::new(&keys.iter().map(String::as_str).collect::<Vec<_>>());
    let (go_on, wait) = mpsc::channel::<()>();
    let (wait, seen) = (Mutex::new(wait), main.clone());
    let hidden_most = Arc::new(AtomicUsize::new(0));
    let most = Arc::clone(&hidden_most);
    let convert = By(Arc::new(move |_: &Object| {
        most.fetch_max(seen.len() - seen.visible().len(), Ordering::Relaxed);
        let _ = wait.lock().expect("no panic").recv();
        Ok(None)
    }));
    let running = start(main.clone(), convert, settings());
    main.until("two of them received", |main| main.visible().len() == 7).await;
    (0..9).for_each(|_| go_on.send(()).expect("conversions wait"));
    running.letters().await;
    assert_eq!(hidden_most.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn when_it_is_stopped_it_ends_what_is_under_way_and_begins_nothing() {
    let main = Fake::new(&[&event(&["topics/a"]), &event(&["topics/b"])]);
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let convert = By(Arc::new(move |_: &Object| {
        let _ = wait.lock().expect("no panic").recv();
        Ok(None)
    }));
    let running = start(main.clone(), convert, Settings { at_a_time: 1, ..settings() });
    main.until("the first one received", |main| main.visible().len() == 1).await;
    running.stop.send_replace(true);
    go_on.send(()).expect("the conversion waits");
    assert_eq!(running.stop().await, Stopped { returned: 0 });
    assert_eq!(main.visible(), [event(&["topics/b"])]);
    assert_eq!(main.len(), 1);
}

#[tokio::test]
async fn what_is_not_done_in_time_is_visible_at_once() {
    let main = Fake::new(&[&event(&["topics/a"])]);
    let (_go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let convert = By(Arc::new(move |_: &Object| {
        // Nobody sends; the end of the test drops the sender.
        let _ = wait.lock().expect("no panic").recv();
        Ok(None)
    }));
    let running = start(main.clone(), convert, Settings { shutdown_limit: Duration::ZERO, ..settings() });
    main.until("received", |main| main.visible().is_empty()).await;
    let fallback = running.fallback.clone();
    assert_eq!(running.stop().await, Stopped { returned: 1 });
    assert_eq!(main.visible(), [event(&["topics/a"])]);
    assert_eq!(fallback.len(), 0);
}

#[tokio::test]
async fn a_message_that_comes_when_it_stops_is_visible_again_at_once() {
    let converted = Converted::default();
    let main = Fake::new(&[]).patient();
    let running = start(main.clone(), converted.convert(), settings());
    main.until("asked for messages", |main| main.done().contains(&Done::Receive)).await;
    running.stop.send_replace(true);
    main.put(&event(&["topics/a"]));
    assert_eq!(running.stop().await, Stopped { returned: 1 });
    assert_eq!(main.done(), [Done::Receive, Done::Hidden("0".into(), Duration::ZERO)]);
    assert_eq!(converted.keys(), [] as [String; 0]);
}

#[tokio::test]
async fn a_queue_that_does_not_answer_is_a_problem_until_it_does() {
    let converted = Converted::default();
    let main = Fake::new(&[&event(&["topics/a"])]);
    main.broken(true);
    let running = start(main.clone(), converted.convert(), settings());
    main.until("a problem", |_| running.health.problem().is_some()).await;
    assert_eq!(running.health.problem().as_deref(), Some("cannot use fake: it is broken"));
    main.broken(false);
    let health = running.health.clone();
    assert_eq!(running.letters().await, [] as [Value; 0]);
    assert_eq!(health.problem(), None);
}

#[tokio::test]
async fn everything_is_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _guard = ::metrics::set_default_local_recorder(&recorder);
    let converted = Converted::default();
    let main = Fake::new(&[&event(&["topics/a", "other/b", "topics/broken", "topics/done"]), "hello"]);
    start(main, converted.convert(), settings()).letters().await;
    let text = recorder.handle().render();
    let mut counted: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.ends_with(" 0") && !line.contains("seconds"))
        .collect();
    counted.sort_unstable();
    insta::assert_snapshot!(counted.join("\n"), @r#"
    fms_lake_failures_total{reason="read"} 1
    fms_lake_failures_total{reason="unreadable"} 1
    fms_lake_files_total 1
    fms_lake_letters_sent_total 2
    fms_lake_messages_deleted_total 2
    fms_lake_messages_received_total 2
    fms_lake_objects_total{outcome="converted"} 1
    fms_lake_objects_total{outcome="failed"} 1
    fms_lake_objects_total{outcome="not-raw"} 1
    fms_lake_objects_total{outcome="on-record"} 1
    fms_lake_quarantined_rows_total{reason="type"} 1
    fms_lake_rows_total 2
    "#);
    assert!(text.contains("fms_lake_conversion_seconds_count 1"), "{text}");
}
