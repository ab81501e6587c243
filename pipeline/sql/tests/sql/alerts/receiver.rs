//! A stand-in for Slack on this machine, which holds to Slack's limits and refuses what breaks them.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::request::request;

pub const TOKEN: &str = "xoxb-very-secret";
pub const WEBHOOK: &str = "/services/T0/B0/very-secret";

/// How far apart messages in one channel have to be.
const PACE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(30);

/// A call, as it was answered.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: String,
    pub body: Value,
    /// What was answered: `ok`, or an error.
    pub answer: String,
}

/// What the receiver does with the next call instead of what Slack does.
#[derive(Debug, Clone)]
pub enum Trick {
    /// This status, with these headers.
    Status(u16, &'static str),
    /// The call is done, and its connection is closed without an answer.
    NoAnswer,
    /// The call is done, and its answer waits until the receiver is told to go on.
    Hang,
    /// Slack's answer for an error.
    Error(&'static str),
}

#[derive(Default)]
struct Inner {
    calls: Vec<Call>,
    tricks: VecDeque<Trick>,
    /// Messages by their `ts`, with the channel and the newest content.
    messages: BTreeMap<String, (String, Value)>,
    users: BTreeMap<String, String>,
    last: BTreeMap<String, Instant>,
    posted: usize,
    is_going_on: bool,
}

#[derive(Clone)]
pub struct Receiver {
    port: u16,
    inner: Arc<(Mutex<Inner>, Condvar)>,
}

impl Receiver {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let receiver = Self { port, inner: Arc::default() };
        let serving = receiver.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let receiver = serving.clone();
                // A client that is killed closes its connection.
                thread::spawn(move || receiver.serve(&stream.expect("a connection")));
            }
        });
        receiver
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.0.lock().expect("no panic")
    }

    pub fn add_user(&self, email: &str, id: &str) {
        self.lock().users.insert(email.into(), id.into());
    }

    pub fn next(&self, trick: Trick) {
        self.lock().tricks.push_back(trick);
    }

    /// Lets the calls that hang go on.
    pub fn go_on(&self) {
        self.lock().is_going_on = true;
        self.inner.1.notify_all();
    }

    /// The calls that were answered since the last time, without those for users.
    pub fn calls(&self) -> Vec<Call> {
        let calls = std::mem::take(&mut self.lock().calls);
        calls.into_iter().filter(|call| call.method != "users.lookupByEmail").collect()
    }

    /// Waits until a message has arrived.
    pub fn wait_for_message(&self) {
        let inner = self.lock();
        let (_inner, waited) =
            self.inner.1.wait_timeout_while(inner, PATIENCE, |inner| inner.messages.is_empty()).expect("no panic");
        assert!(!waited.timed_out(), "no message within {PATIENCE:?}");
    }

    /// The newest content of each message, in the order in which they were posted.
    pub fn messages(&self) -> Vec<Value> {
        self.lock().messages.values().map(|(_, body)| body.clone()).collect()
    }

    pub fn remove_messages(&self) {
        self.lock().messages.clear();
    }

    /// Forgets how long ago messages were posted, so that a test does not have to wait between two senders.
    pub fn forget_pace(&self) {
        self.lock().last.clear();
    }

    fn serve(&self, stream: &TcpStream) {
        let Some((head, body)) = request(stream) else { return };
        let trick = if head.contains("users.lookupByEmail") { None } else { self.lock().tricks.pop_front() };
        let mut headers = String::new();
        let (status, answer) = match &trick {
            Some(Trick::Status(status, more)) => {
                headers.push_str(more);
                (*status, String::new())
            }
            Some(Trick::Error(error)) => (200, json!({"ok": false, "error": error}).to_string()),
            Some(Trick::NoAnswer | Trick::Hang) | None => self.answer(&head, &body, &mut headers),
        };
        let method = head.split([' ', '?']).nth(1).unwrap_or_default();
        let method = method.rsplit('/').next().unwrap_or_default().to_owned();
        let short = match serde_json::from_str::<Value>(&answer) {
            Ok(value) if value["ok"] == true => "ok".to_owned(),
            Ok(value) => value["error"].as_str().unwrap_or_default().to_owned(),
            Err(_) if answer.is_empty() => status.to_string(),
            Err(_) => answer.clone(),
        };
        let body = serde_json::from_str(&body).unwrap_or_default();
        self.lock().calls.push(Call { method, body, answer: short });
        self.inner.1.notify_all();
        match trick {
            Some(Trick::NoAnswer) => return,
            Some(Trick::Hang) => {
                let inner = self.lock();
                drop(self.inner.1.wait_timeout_while(inner, PATIENCE, |inner| !inner.is_going_on));
            }
            _ => {}
        }
        // Nobody may be there any more.
        let _ = write!(
            { stream },
            "HTTP/1.1 {status} x\r\nContent-Length: {}\r\n{headers}Connection: close\r\n\r\n{answer}",
            answer.len()
        );
    }

    fn answer(&self, head: &str, body: &str, headers: &mut String) -> (u16, String) {
        let refused = |error: &str| (200, json!({"ok": false, "error": error}).to_string());
        if head.starts_with(&format!("POST {WEBHOOK} ")) {
            let Ok(body) = serde_json::from_str::<Value>(body) else { return (400, "invalid_payload".into()) };
            if let Err(error) = holds(&body) {
                return (400, error.into());
            }
            if !self.lock().is_in_pace("webhook") {
                headers.push_str("Retry-After: 1\r\n");
                return (429, "rate_limited".into());
            }
            self.lock().keep("webhook", body);
            return (200, "ok".into());
        }
        if !head.to_lowercase().contains(&format!("authorization: bearer {TOKEN}\r\n")) {
            return refused("invalid_auth");
        }
        if let Some(rest) = head.strip_prefix("GET /api/users.lookupByEmail?email=") {
            let email = rest.split(' ').next().unwrap_or_default().replace("%40", "@").replace("%2E", ".");
            return match self.lock().users.get(&email) {
                Some(id) => (200, json!({"ok": true, "user": {"id": id}}).to_string()),
                None => refused("users_not_found"),
            };
        }
        let Ok(body) = serde_json::from_str::<Value>(body) else { return refused("invalid_json") };
        let channel = body["channel"].as_str().unwrap_or_default().to_owned();
        if let Err(error) = holds(&body) {
            return refused(error);
        }
        let mut inner = self.lock();
        if !inner.is_in_pace(&channel) {
            headers.push_str("Retry-After: 1\r\n");
            return (429, String::new());
        }
        // A bot is asked for by the channel's name once, and by its id afterwards.
        let id = if channel.starts_with('#') { format!("C{}", channel.len()) } else { channel };
        if head.starts_with("POST /api/chat.postMessage ") {
            let ts = inner.keep(&id, body);
            return (200, json!({"ok": true, "channel": id, "ts": ts}).to_string());
        }
        if head.starts_with("POST /api/chat.update ") {
            let ts = body["ts"].as_str().unwrap_or_default().to_owned();
            return match inner.messages.get_mut(&ts) {
                Some((channel, content)) if *channel == id => {
                    *content = body;
                    (200, json!({"ok": true, "channel": id, "ts": ts}).to_string())
                }
                _ => refused("message_not_found"),
            };
        }
        refused("unknown_method")
    }
}

impl Inner {
    fn is_in_pace(&mut self, channel: &str) -> bool {
        let now = Instant::now();
        let is = self.last.get(channel).is_none_or(|last| now.duration_since(*last) >= PACE);
        if is {
            self.last.insert(channel.into(), now);
        }
        is
    }

    fn keep(&mut self, channel: &str, body: Value) -> String {
        self.posted += 1;
        let ts = format!("1700000000.{:06}", self.posted);
        self.messages.insert(ts.clone(), (channel.into(), body));
        ts
    }
}

/// What Slack documents of messages and their blocks.
fn holds(body: &Value) -> Result<(), &'static str> {
    let length = |text: &Value| text.as_str().unwrap_or_default().encode_utf16().count();
    let blocks = body["blocks"].as_array().ok_or("no_text")?;
    if length(&body["text"]) > 40_000 {
        return Err("msg_too_long");
    }
    if blocks.is_empty() || blocks.len() > 50 {
        return Err("invalid_blocks");
    }
    for block in blocks {
        let texts: Vec<&Value> = match block["type"].as_str() {
            Some("header") if block["text"]["type"] == "plain_text" => vec![&block["text"]["text"]],
            Some("section") if block["text"]["type"] == "mrkdwn" => vec![&block["text"]["text"]],
            Some("context") => {
                let elements = block["elements"].as_array().ok_or("invalid_blocks")?;
                if elements.is_empty() || elements.len() > 10 {
                    return Err("invalid_blocks");
                }
                elements.iter().map(|element| &element["text"]).collect()
            }
            _ => return Err("invalid_blocks"),
        };
        let limit = if block["type"] == "header" { 150 } else { 3000 };
        if texts.iter().any(|text| length(text) == 0 || length(text) > limit) {
            return Err("invalid_blocks");
        }
    }
    Ok(())
}

#[test]
fn the_receiver_refuses_what_slack_does() {
    let section = |text: &str| json!({"type": "section", "text": {"type": "mrkdwn", "text": text}});
    let message = |blocks: Vec<Value>| json!({"text": "t", "blocks": blocks});
    assert_eq!(holds(&message(vec![section("a")])), Ok(()));
    assert_eq!(holds(&message(vec![section(&"a".repeat(3001))])), Err("invalid_blocks"));
    assert_eq!(holds(&message(vec![section("a"); 51])), Err("invalid_blocks"));
    assert_eq!(holds(&json!({"text": "a".repeat(40_001), "blocks": [section("a")]})), Err("msg_too_long"));
    assert_eq!(holds(&json!({"text": "t"})), Err("no_text"));
}
