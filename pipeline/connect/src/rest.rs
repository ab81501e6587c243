//! The HTTP interface of the worker: `/health`, `/metrics`, and the part of Kafka Connect's REST interface that reads.
//!
//! Connectors are files, so nothing can be changed here. Of a configuration, only what [may be
//! shown](crate::config::shown) is shown.

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};
use tokio::task::AbortHandle;
use tracing::warn;

use crate::config::file;
use crate::plugins::Plugins;
use crate::status::{Status, TaskState};
use crate::{Budget, metrics};

/// The limits of what clients can take up of the worker, whatever they do.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// The most connections at a time. One more closes the one that has been open for longest; a client that asks and
    /// reads is done long before that.
    connections: usize,
    /// How long the head of a request may take.
    head: Duration,
    /// How long a connection, which is for one request, may take in all.
    whole: Duration,
    /// The most bytes of a request's body.
    body: usize,
}

const LIMITS: Limits =
    Limits { connections: 64, head: Duration::from_secs(5), whole: Duration::from_secs(10), body: 256 << 10 };
/// The pause after the system could not give a connection because it has no descriptor left. Other connections end
/// meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the answers are made from.
#[derive(Clone)]
pub struct Rest {
    /// The connectors and their tasks.
    pub status: Arc<Status>,
    /// The kinds of sink.
    pub plugins: Plugins,
    /// Renders the metrics.
    pub metrics: &'static PrometheusHandle,
    /// What the tasks hold.
    pub budget: Budget,
    /// The most they should hold, bytes.
    pub budget_limit: usize,
    /// `host:port` of this worker.
    pub worker_id: String,
    /// The id of the Kafka cluster, if the cluster reported it.
    pub cluster_id: Option<String>,
}

/// Answers requests at this socket, without end.
pub async fn serve(listener: TcpListener, rest: Rest) -> io::Result<()> {
    serve_within(LIMITS, listener, rest).await
}

async fn serve_within(limits: Limits, listener: TcpListener, rest: Rest) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let service = TowerToHyperService::new(router(rest).layer(DefaultBodyLimit::max(limits.body)));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head).keep_alive(false);
    let mut connections: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "the REST interface cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        connections.retain(|connection| !connection.is_finished());
        if connections.len() >= limits.connections
            && let Some(longest) = connections.pop_front()
        {
            longest.abort();
        }
        let connection = http.serve_connection(TokioIo::new(stream), service.clone());
        let connection = tokio::time::timeout(limits.whole, connection);
        // An error of a connection concerns its client only.
        connections.push_back(tokio::spawn(async move { drop(connection.await) }).abort_handle());
    }
}

/// The routes.
pub fn router(rest: Rest) -> Router {
    Router::new()
        .route("/", get(root))
        .route("/health", get(health))
        .route("/metrics", get(render))
        .route("/connectors", get(connectors))
        .route("/connectors/{name}", get(connector))
        .route("/connectors/{name}/config", get(config))
        .route("/connectors/{name}/status", get(status))
        .route("/connectors/{name}/tasks/{task}/status", get(task_status))
        .route("/connector-plugins", get(plugins))
        .route("/connector-plugins/{plugin}/config", get(plugin_config))
        .route("/connector-plugins/{plugin}/config/validate", put(validate))
        .fallback(async || error(StatusCode::NOT_FOUND, "HTTP 404 Not Found"))
        .method_not_allowed_fallback(async || {
            error(StatusCode::METHOD_NOT_ALLOWED, "connectors are files: change the file and restart the worker")
        })
        .with_state(rest)
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn ok(body: &Value) -> Response {
    answer(StatusCode::OK, body)
}

/// An error in the form of Kafka Connect.
fn error(status: StatusCode, message: &str) -> Response {
    answer(status, &json!({"error_code": status.as_u16(), "message": message}))
}

fn no_connector(name: &str) -> Response {
    error(StatusCode::NOT_FOUND, &format!("Connector {name} not found"))
}

async fn root(State(rest): State<Rest>) -> Response {
    ok(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "commit": "unknown",
        "kafka_cluster_id": rest.cluster_id,
    }))
}

/// How long the loop of a task may make no progress before the task counts as stuck. Nothing that it waits for takes
/// nearly as long.
const TURN_LIMIT: Duration = Duration::from_mins(1);

/// The health of the worker: status 503 as soon as a task has failed, waits for its restart or is stuck, with every
/// such task and the reason.
async fn health(State(rest): State<Rest>) -> Response {
    let failed: Vec<Value> = rest
        .status
        .unwell(TURN_LIMIT)
        .into_iter()
        .map(|(connector, task, trace)| json!({"connector": connector, "task": task, "trace": trace}))
        .collect();
    if failed.is_empty() {
        ok(&json!({"status": "healthy"}))
    } else {
        answer(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "unhealthy", "failed": failed}))
    }
}

async fn render(State(rest): State<Rest>) -> Response {
    metrics::buffer(rest.budget.used(), rest.budget_limit);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], rest.metrics.render()).into_response()
}

async fn connectors(State(rest): State<Rest>) -> Response {
    ok(&rest.status.connectors().collect())
}

async fn connector(State(rest): State<Rest>, Path(name): Path<String>) -> Response {
    let Some(config) = rest.status.config(&name) else { return no_connector(&name) };
    let tasks: Vec<Value> =
        rest.status.tasks(&name).iter().map(|(task, _)| json!({"connector": name, "task": task})).collect();
    ok(&json!({"name": name, "config": config, "tasks": tasks, "type": "sink"}))
}

async fn config(State(rest): State<Rest>, Path(name): Path<String>) -> Response {
    rest.status.config(&name).map_or_else(|| no_connector(&name), |config| ok(&json!(config)))
}

async fn status(State(rest): State<Rest>, Path(name): Path<String>) -> Response {
    if rest.status.config(&name).is_none() {
        return no_connector(&name);
    }
    let tasks: Vec<Value> =
        rest.status.tasks(&name).iter().map(|(task, state)| task_json(*task, state, &rest.worker_id)).collect();
    let connector = json!({"state": "RUNNING", "worker_id": rest.worker_id});
    ok(&json!({"name": name, "connector": connector, "tasks": tasks, "type": "sink"}))
}

async fn task_status(State(rest): State<Rest>, Path((name, task)): Path<(String, String)>) -> Response {
    if rest.status.config(&name).is_none() {
        return no_connector(&name);
    }
    let tasks = rest.status.tasks(&name);
    match tasks.iter().find(|(id, _)| id.to_string() == task) {
        Some((id, state)) => ok(&task_json(*id, state, &rest.worker_id)),
        None => error(StatusCode::NOT_FOUND, &format!("No status found for task {name}-{task}")),
    }
}

async fn plugins(State(rest): State<Rest>) -> Response {
    ok(&rest.plugins.list())
}

fn no_plugin(plugin: &str) -> Response {
    error(StatusCode::NOT_FOUND, &format!("Unknown plugin {plugin}"))
}

async fn plugin_config(State(rest): State<Rest>, Path(plugin): Path<String>) -> Response {
    rest.plugins.keys(&plugin).map_or_else(|| no_plugin(&plugin), |keys| ok(&keys))
}

async fn validate(State(rest): State<Rest>, Path(plugin): Path<String>, body: Bytes) -> Response {
    let given = match file::values(&body) {
        Ok(given) => given,
        Err(problem) => return error(StatusCode::BAD_REQUEST, &format!("the body is not a configuration: {problem}")),
    };
    rest.plugins.validate(&plugin, &given).map_or_else(|| no_plugin(&plugin), |infos| ok(&infos))
}

fn task_json(task: u32, state: &TaskState, worker_id: &str) -> Value {
    let mut json = json!({"id": task, "state": state.name(), "worker_id": worker_id});
    if let Some(trace) = state.trace() {
        json["trace"] = trace.into();
    }
    json
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};

    use tokio::runtime::Runtime;

    use super::*;
    use crate::settings::Settings;

    fn serving(limits: Limits) -> (Runtime, SocketAddr) {
        let environment = [("KAFKA_BOOTSTRAP_SERVERS".to_owned(), "a:1".to_owned())];
        let rest = Rest {
            status: Arc::default(),
            plugins: Plugins::new(Vec::new(), &Settings::from_env(environment).unwrap()),
            metrics: metrics::install(),
            budget: Budget::new(1),
            budget_limit: 1,
            worker_id: "w".into(),
            cluster_id: None,
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let runtime = Runtime::new().unwrap();
        runtime.spawn(serve_within(limits, listener, rest));
        (runtime, address)
    }

    fn client(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }

    /// What comes until the server closes the connection; an error is a connection that was reset.
    fn answer(mut stream: TcpStream) -> String {
        let mut text = String::new();
        match stream.read_to_string(&mut text) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("not closed: {error}"),
            _ => text,
        }
    }

    fn status(answer: &str) -> Option<u16> {
        answer.split(' ').nth(1)?.parse().ok()
    }

    const HEALTH: &str = "GET /health HTTP/1.1\r\nhost: w\r\n\r\n";

    #[test]
    fn clients_that_do_not_go_on_are_closed_and_leave_room_for_others_meanwhile() {
        // The times are long, so only the limit on the number of connections can close one.
        let patient = Limits { connections: 8, head: Duration::from_mins(1), whole: Duration::from_mins(1), ..LIMITS };
        let (_runtime, address) = serving(patient);
        let slow: Vec<_> = (0..100).map(|_| client(address, "GET /health HT")).collect();
        assert_eq!(status(&answer(client(address, HEALTH))), Some(200));
        for stream in slow.into_iter().take(100 - patient.connections) {
            assert_eq!(answer(stream), "");
        }
    }

    #[test]
    fn a_connection_has_its_time_for_head_and_body_and_serves_one_request() {
        let limits = Limits { head: Duration::from_millis(200), whole: Duration::from_millis(600), body: 50, ..LIMITS };
        let (_runtime, address) = serving(limits);
        // The answer ends only when the server closes the connection, which HTTP/1.1 would keep open.
        assert_eq!(status(&answer(client(address, HEALTH))), Some(200));
        assert_eq!(answer(client(address, "")), "");
        assert_eq!(answer(client(address, "GET /health HTTP/1.1\r\nhost:")), "");
        let body = "PUT /connector-plugins/x/config/validate HTTP/1.1\r\nhost: w\r\ncontent-length: 9\r\n\r\n{";
        assert_eq!(answer(client(address, body)), "");
        let large = format!("{}{}", body.replace(": 9", ": 100"), "x".repeat(99));
        assert_eq!(status(&answer(client(address, &large))), Some(413));
    }
}
