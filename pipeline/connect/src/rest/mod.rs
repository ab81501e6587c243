//! The HTTP interface of the worker: Kafka Connect's REST interface, `/health` and `/metrics`.
//!
//! Of a configuration, only what [may be shown](crate::config::shown) is shown. Whatever changes something is refused
//! unless `rest.changes.enable` is set.

mod answer;
mod auth;
mod connectors;
mod loggers;
mod offsets;
mod plugins;
mod view;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::Response;
use axum::routing::{get, post, put};
use fms_serve::PrometheusHandle;
use serde_json::{Value, json};

use self::answer::{answer, error, ok};
pub use self::auth::{Users, UsersError};
use crate::budget::MemoryPool;
use crate::group::Group;
use crate::loggers::LogLevels;
use crate::metrics;
use crate::plugins::Plugins;
use crate::status::Status;
use crate::worker::Herder;

/// How long an operation may take before its answer is that it goes on, as in Kafka Connect.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(90);

/// How long the loop of a task may make no progress before the task counts as stuck. Nothing that it waits for takes
/// nearly as long.
const TURN_LIMIT: Duration = Duration::from_mins(1);

/// What the answers are made from.
#[derive(Clone)]
pub struct Rest {
    /// The connectors of this worker and the tasks that it runs.
    pub status: Arc<Status>,
    /// The group of workers, unless the worker stands alone.
    pub(crate) group: Option<Arc<Group>>,
    /// The kinds of sink.
    pub plugins: Plugins,
    /// Renders the metrics.
    pub metrics: &'static PrometheusHandle,
    /// What the tasks hold.
    pub(crate) memory: MemoryPool,
    /// `host:port` of this worker.
    pub worker_id: String,
    /// The id of the Kafka cluster, if the cluster reported it.
    pub cluster_id: Option<String>,
    /// The levels of the log, if the program lets them be changed.
    pub levels: Option<Arc<dyn LogLevels>>,
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rest").field("worker_id", &self.worker_id).field("status", &self.status).finish_non_exhaustive()
    }
}

/// What a request is answered with: what is known, and who changes it.
#[derive(Clone)]
struct Served {
    rest: Rest,
    herder: Arc<Herder>,
}

/// The routes. With `users`, only these are answered.
pub(crate) fn router(rest: Rest, herder: Arc<Herder>, users: Option<Arc<Users>>) -> Router {
    let router = routes().with_state(Served { rest, herder });
    match users {
        Some(users) => router.layer(middleware::from_fn_with_state(users, auth::check)),
        None => router,
    }
}

fn routes() -> Router<Served> {
    Router::new()
        .route("/", get(root))
        .route("/health", get(health))
        .route("/metrics", get(render))
        .route("/connectors", get(connectors::list).post(connectors::create))
        .route("/connectors/{name}", get(connectors::info).delete(connectors::delete))
        .route("/connectors/{name}/config", get(connectors::config).put(connectors::configure).patch(connectors::patch))
        .route("/connectors/{name}/status", get(connectors::status))
        .route("/connectors/{name}/pause", put(connectors::pause))
        .route("/connectors/{name}/resume", put(connectors::resume))
        .route("/connectors/{name}/stop", put(connectors::stop))
        .route("/connectors/{name}/restart", post(connectors::restart))
        .route("/connectors/{name}/topics", get(connectors::topics))
        .route("/connectors/{name}/topics/reset", put(connectors::reset_topics))
        .route("/connectors/{name}/tasks", get(connectors::tasks))
        .route("/connectors/{name}/tasks/{task}/status", get(connectors::task_status))
        .route("/connectors/{name}/tasks/{task}/restart", post(connectors::restart_task))
        .route("/connectors/{name}/offsets", get(offsets::read).patch(offsets::alter).delete(offsets::reset))
        .route("/connector-plugins", get(plugins::list))
        .route("/connector-plugins/{plugin}/config", get(plugins::config))
        .route("/connector-plugins/{plugin}/config/validate", put(plugins::validate))
        .route("/admin/loggers", get(loggers::list))
        .route("/admin/loggers/{logger}", get(loggers::level).put(loggers::set))
        .fallback(async || error(StatusCode::NOT_FOUND, "HTTP 404 Not Found"))
        .method_not_allowed_fallback(async || error(StatusCode::METHOD_NOT_ALLOWED, "HTTP 405 Method Not Allowed"))
}

async fn root(State(served): State<Served>) -> Response {
    ok(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "commit": crate::REVISION,
        "kafka_cluster_id": served.rest.cluster_id,
    }))
}

/// The health of the worker: status 503 as soon as a connector or task has failed, waits for its restart or is stuck,
/// with every one of them and the reason.
async fn health(State(served): State<Served>) -> Response {
    let failed: Vec<Value> = served
        .rest
        .status
        .unwell(TURN_LIMIT)
        .into_iter()
        .map(|(connector, task, trace)| match task {
            Some(task) => json!({"connector": connector, "task": task, "trace": trace}),
            None => json!({"connector": connector, "trace": trace}),
        })
        .collect();
    if failed.is_empty() {
        let message = "the worker has started, and every connector and task is well";
        ok(&json!({"status": "healthy", "message": message}))
    } else {
        let message = "connectors or tasks have failed, wait for their restart or are stuck";
        answer(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "unhealthy", "message": message, "failed": failed}))
    }
}

async fn render(State(served): State<Served>) -> Response {
    metrics::buffer(served.rest.memory.used(), served.rest.memory.limit());
    fms_serve::metrics_text(served.rest.metrics)
}
