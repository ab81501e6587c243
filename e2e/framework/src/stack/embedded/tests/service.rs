//! Adds a service that the framework does not know, to show what is needed to record, throttle, crash at and observe
//! its calls.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};

use super::*;
use crate::calls::{self, Effect};
use crate::case::{Case, CaseId};
use crate::observe::{EntryKind, Key, Observation, Redactor, Rule, Section};
use crate::proxy::service::{Refusal, Service};
use crate::stack::http;

/// A queue of notes. `POST /queue` with a note adds it.
static NOTES: Service = Service {
    name: "notes",
    title: "Notes",
    target_prefix: None,
    streams: false,
    request: |head, _| calls::Request {
        operation: "AddNote".to_owned(),
        target: head.uri.path().trim_start_matches('/').to_owned(),
        effect: Effect::Write,
        can_be_partial: false,
        deletes: 0,
    },
    throttled: Refusal { status: StatusCode::TOO_MANY_REQUESTS, content_type: "text/plain", body: "too fast" },
    denied: Refusal { status: StatusCode::FORBIDDEN, content_type: "text/plain", body: "no" },
    failed: Refusal { status: StatusCode::INTERNAL_SERVER_ERROR, content_type: "text/plain", body: "broken" },
    shorten: None,
    batches: &[],
};

static NOTE: EntryKind = EntryKind { noun: "note", is_block: false, place: None, key: Key::None, rule: Rule::EachOnce };

type Notes = Arc<Mutex<Vec<String>>>;

fn serve(notes: Notes) -> Server {
    Box::new(|listener| {
        let service = service_fn(move |request: Request<Incoming>| {
            let notes = Arc::clone(&notes);
            async move {
                let note =
                    request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                notes.lock().unwrap().push(String::from_utf8_lossy(&note).into_owned());
                Ok::<_, Infallible>(Response::new(String::new()))
            }
        });
        Box::pin(http::serve(listener, service))
    })
}

/// A case that names nothing to observe.
fn case() -> Case {
    let fixtures = tempfile::tempdir().unwrap();
    let folder = fixtures.path().join("p/c");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(fixtures.path().join("suite.toml"), "topic = 't'\ngroups = ['g']\n[topics]\nt = 1\n").unwrap();
    std::fs::write(folder.join("messages.ndjson"), "{}\n").unwrap();
    Case::read(fixtures.path(), &CaseId { protocol: "p".into(), name: "c".into() }).unwrap()
}

/// Sends one note as a client of the service would, and returns the status of the answer, or `None` if there is no
/// answer.
fn add(stack: &Embedded, note: &str) -> Option<String> {
    use std::io::Read as _;
    let address = stack.environment["AWS_ENDPOINT_URL_NOTES"].replace("http://", "");
    let mut client = TcpStream::connect(&address).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    write!(client, "POST /queue HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n{note}", note.len()).unwrap();
    let mut status = [0; 12];
    client.read_exact(&mut status).ok()?;
    Some(String::from_utf8_lossy(&status[9..]).into_owned())
}

#[test]
fn a_new_service_is_recorded_throttled_crashed_at_and_observed() {
    let notes = Notes::default();
    let stack = Embedded::start_with(Brokers::One, vec![(&NOTES, serve(Arc::clone(&notes)))]).unwrap();

    assert_eq!(add(&stack, "first").as_deref(), Some("200"));
    stack.calls().inject(Fault::Throttle(Hits::First(1)));
    assert_eq!(add(&stack, "refused").as_deref(), Some("429"));
    let point: crate::schedule::CrashPoint = "notes.AddNote:1:after@queue".parse().unwrap();
    let (reached, killed) = mpsc::channel();
    let hook = Box::new(move |_: &str| reached.send(()).unwrap());
    stack.calls().inject(Fault::Hold { call: point.call, moment: point.moment, hook });
    assert_eq!(add(&stack, "second"), None);
    killed.recv_timeout(PATIENCE).unwrap();
    assert!(stack.calls().wait_until(soon(), |calls| calls.iter().all(|call| call.finished.is_some())));
    assert_eq!(
        outline(&stack.calls().snapshot()),
        [
            ("notes", "AddNote", "queue", Some(200)),
            ("notes", "AddNote", "queue", Some(429)),
            ("notes", "AddNote", "queue", Some(CLIENT_GONE)),
        ]
    );

    let observe = |_: &Case, _: &dyn Stack, _: &Redactor<'_>| {
        Ok(vec![Section::new("notes", &NOTE, notes.lock().unwrap().clone())])
    };
    let observation = Observation::by(&[&observe], &case(), &stack).unwrap();
    assert_eq!(observation.text(), "==== notes\nfirst\nsecond\n\n");
    assert_eq!(observation.counts(2).of("note"), 2);
}
