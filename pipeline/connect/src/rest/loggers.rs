//! `/admin/loggers`: the levels of the worker's log.

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::Served;
use super::answer::{bad_request, error, ok, operate, parameters};
use crate::loggers::LoggerLevel;

fn all(served: &Served) -> Vec<LoggerLevel> {
    served.rest.levels.as_ref().map(|levels| levels.all()).unwrap_or_default()
}

fn level_json(level: &LoggerLevel) -> Value {
    json!({"level": level.level, "last_modified": level.last_modified})
}

pub(super) async fn list(State(served): State<Served>) -> Response {
    let all: Map<_, _> = all(&served).iter().map(|level| (level.logger.clone(), level_json(level))).collect();
    ok(&Value::Object(all))
}

pub(super) async fn level(State(served): State<Served>, Path(logger): Path<String>) -> Response {
    let all = all(&served);
    let found = all.iter().find(|level| level.logger == logger);
    found.map_or_else(
        || error(StatusCode::NOT_FOUND, &format!("Logger {logger} not found.")),
        |level| ok(&level_json(level)),
    )
}

pub(super) async fn set(
    State(served): State<Served>,
    Path(logger): Path<String>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    let body: Value = match serde_json::from_slice(&body) {
        Ok(body) => body,
        Err(problem) => return bad_request(&format!("the body is not JSON: {problem}")),
    };
    let Some(level) = body["level"].as_str() else {
        return bad_request("Desired 'level' parameter was not specified in request.");
    };
    let Some(levels) = served.rest.levels.clone() else {
        return error(StatusCode::NOT_FOUND, "this program's log cannot be changed while it runs");
    };
    let level = level.to_uppercase();
    // A worker that stands alone is the whole cluster.
    let cluster = parameters(query.as_deref(), "scope").any(|scope| scope.eq_ignore_ascii_case("cluster"));
    let respond = |set: Result<String, String>| match set {
        Ok(_) if cluster => StatusCode::NO_CONTENT.into_response(),
        Ok(logger) => ok(&json!([logger])),
        Err(problem) => error(StatusCode::NOT_FOUND, &problem),
    };
    operate(
        &served,
        move |herder| {
            herder.check_changes()?;
            let set = levels.set(&logger, &level).map(|()| logger.clone());
            if cluster && set.is_ok() {
                herder.set_level(&logger, &level)?;
            }
            Ok(set)
        },
        respond,
    )
    .await
}
