//! A backend of `OpenLineage`, such as Marquez, gets events over HTTP beside the work that they tell of. The work
//! neither waits for it nor fails with it: what a backend does not take is named in the log.

use std::collections::VecDeque;
use std::env::{self, VarError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use fms_http::Http;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::warn;

/// The variables of the environment by which the clients of `OpenLineage` find their backend.
const URL: &str = "OPENLINEAGE_URL";
const ENDPOINT: &str = "OPENLINEAGE_ENDPOINT";
const API_KEY: &str = "OPENLINEAGE_API_KEY";
const DISABLED: &str = "OPENLINEAGE_DISABLED";

/// The endpoint of the clients, if none is named.
const EVENTS: &str = "api/v1/lineage";

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long is waited before an event is sent again, where it may arrive yet. Then it is given up.
const WAITS: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// How long the work waits at its end for events that are still to be sent.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where events are sent, and by which right.
pub struct Backend {
    url: Uri,
    /// The URL without what may be secret in it.
    name: String,
    authorization: Option<HeaderValue>,
    http: Http,
}

impl Backend {
    /// The backend that the environment names: `OPENLINEAGE_URL`, with `OPENLINEAGE_ENDPOINT` (`api/v1/lineage` if it
    /// is not set) and `OPENLINEAGE_API_KEY`. `None` if it names none, or if `OPENLINEAGE_DISABLED` is `true`.
    ///
    /// # Errors
    ///
    /// A variable cannot be used.
    pub fn of_environment() -> anyhow::Result<Option<Self>> {
        let [url, endpoint, key, disabled] = [URL, ENDPOINT, API_KEY, DISABLED].map(variable);
        if disabled?.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let Some(url) = url? else { return Ok(None) };
        Self::new(&url, endpoint?.as_deref().unwrap_or(EVENTS), key?.as_deref()).map(Some)
    }

    fn new(url: &str, endpoint: &str, key: Option<&str>) -> anyhow::Result<Self> {
        let whole = format!("{}/{}", url.trim_end_matches('/'), endpoint.trim_start_matches('/'));
        // The text may have a password, so it is not shown.
        let expected = || format!("{URL} and {ENDPOINT} are no URL such as http://marquez:5000 and {EVENTS}");
        let url: Uri = whole.parse().with_context(expected)?;
        let (Some(scheme @ ("http" | "https")), Some(host)) = (url.scheme_str(), url.host()) else { bail!(expected()) };
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let name = format!("{scheme}://{host}{port}{}", url.path());
        let bearer = |key: &str| HeaderValue::from_str(&format!("Bearer {key}"));
        let authorization = key.map(bearer).transpose();
        let authorization = authorization.map_err(|_| anyhow::anyhow!("{API_KEY} has characters that no key has"))?;
        Ok(Self { url, name, authorization, http: Http::new(TIMEOUT)? })
    }

    /// Sends an event once.
    async fn post(&self, event: &str) -> Result<(), Refusal> {
        let mut request = Request::post(&self.url).header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let body = Full::new(Bytes::copy_from_slice(event.trim_end().as_bytes()));
        let request = request.body(body).map_err(|_| Refusal::ForGood("the URL is none".to_owned()))?;
        let answer = match self.http.send(request).await {
            Ok(answer) => answer,
            Err(failure) => return Err(Refusal::ForNow(failure.to_string())),
        };
        let said =
            || format!("it answers {}: {}", answer.status, answer.body.chars().take(200).collect::<String>().trim());
        match answer.status {
            status if status.is_success() => Ok(()),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(Refusal::ForNow(said())),
            status if status.is_server_error() => Err(Refusal::ForNow(said())),
            _ => Err(Refusal::ForGood(said())),
        }
    }

    /// Sends events one after the other, in their order. While the backend is down, each is tried once, so that many
    /// events do not add up to a long time.
    async fn deliver(self, mut events: UnboundedReceiver<String>, left: Arc<Left>) {
        let mut is_down = false;
        while let Some(event) = events.recv().await {
            let mut waits = WAITS.iter().take(if is_down { 0 } else { WAITS.len() });
            let refusal = loop {
                match (self.post(&event).await, waits.next()) {
                    (Ok(()), _) => break None,
                    (Err(Refusal::ForNow(_)), Some(wait)) => sleep(*wait).await,
                    (Err(refusal), _) => break Some(refusal),
                }
            };
            is_down = matches!(refusal, Some(Refusal::ForNow(_)));
            let name = left.lock().pop_front().unwrap_or_default();
            if let Some(Refusal::ForNow(why) | Refusal::ForGood(why)) = refusal {
                warn!("OpenLineage: {} has not got the event `{name}`: {why}", self.name);
            }
        }
    }
}

/// Why an event was not taken.
enum Refusal {
    /// Another attempt may do better.
    ForNow(String),
    ForGood(String),
}

/// The names of the events that are still to be sent, in their order.
#[derive(Default)]
struct Left(Mutex<VecDeque<String>>);

impl Left {
    fn lock(&self) -> MutexGuard<'_, VecDeque<String>> {
        // A thread that panicked while it held the lock has left a name too many at most.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Events on their way to a backend. Whoever drops it gives up those that are still to be sent, and the log names them.
pub struct Outbox {
    events: Option<UnboundedSender<String>>,
    task: JoinHandle<()>,
    left: Arc<Left>,
    backend: String,
}

impl Outbox {
    /// Begins to send. Has to be called within a runtime of tokio.
    pub fn start(backend: Backend) -> Self {
        let (events, queue) = unbounded_channel();
        let (left, name) = (Arc::<Left>::default(), backend.name.clone());
        let task = tokio::spawn(backend.deliver(queue, Arc::clone(&left)));
        Self { events: Some(events), task, left, backend: name }
    }

    /// Sends an event, after those before it, and does not wait for that. Its name is for the log.
    pub fn send(&self, name: String, event: String) {
        self.left.lock().push_back(name);
        // A queue without a reader is one whose task has panicked. The name is still there, and the log will have it.
        let _ = self.events.as_ref().map(|events| events.send(event));
    }

    /// Waits until everything was sent or given up, half a minute at most.
    pub async fn finish(mut self) {
        self.events = None;
        // If the time is up, the names of what is left are in the log.
        let _ = timeout(PATIENCE, &mut self.task).await;
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.task.abort();
        let left: Vec<String> = self.left.lock().drain(..).collect();
        if !left.is_empty() {
            warn!("OpenLineage: {} has not got, because there was no more time: {}", self.backend, left.join(", "));
        }
    }
}

fn variable(name: &str) -> anyhow::Result<Option<String>> {
    match env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => bail!("{name} is no text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(url: &str, endpoint: &str) -> String {
        Backend::new(url, endpoint, None).map_or_else(|error| format!("{error:#}"), |backend| backend.url.to_string())
    }

    #[test]
    fn an_endpoint_is_added_to_a_url() {
        assert_eq!(url("http://marquez:5000", EVENTS), "http://marquez:5000/api/v1/lineage");
        assert_eq!(url("https://example.com/lineage/", "/events?a=b"), "https://example.com/lineage/events?a=b");
        for wrong in ["marquez:5000", "file:///tmp", "http://"] {
            assert!(url(wrong, EVENTS).contains("are no URL such as"), "{}", url(wrong, EVENTS));
        }
    }

    #[test]
    fn no_message_has_what_may_be_secret() {
        let backend = Backend::new("http://user:hidden@marquez:5000", "events?key=hidden", Some("hidden"));
        let backend = backend.expect("a backend");
        assert_eq!(backend.name, "http://marquez:5000/events");
        let wrong = Backend::new("http://marquez", EVENTS, Some("hidden\n")).err().map(|error| format!("{error:#}"));
        assert!(wrong.is_some_and(|said| !said.contains("hidden")));
    }
}
