//! The HTTP interface of the worker: `/health`, `/metrics`, and the part of Kafka Connect's REST interface that reads.
//!
//! Connectors are files, so nothing can be changed here. Of a configuration, only what [may be
//! shown](crate::config::shown) is shown.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use fms_serve::PrometheusHandle;
use serde_json::{Value, json};

use crate::config::file;
use crate::plugins::Plugins;
use crate::status::{Status, TaskState};
use crate::{Budget, metrics};

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
    fms_serve::metrics_text(rest.metrics)
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
