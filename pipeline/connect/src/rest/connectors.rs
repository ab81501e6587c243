//! `/connectors`: what they are configured with, how they are, and what becomes of them.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::answer::{answer, bad_request, error, is_set, no_connector, ok, operate, parameters};
use super::{Rest, Served};
use crate::config::request::{self, Creation};
use crate::group::Report;
use crate::status::State as Condition;
use crate::worker::{Herder, OperationError, RestartScope, Restarted};

/// A connector's name, configuration and tasks, Kafka Connect's `ConnectorInfo`.
fn info_of(rest: &Rest, name: &str) -> Option<Value> {
    let config = rest.config(name)?;
    let tasks = rest.task_numbers(name).into_iter();
    let tasks: Vec<Value> = tasks.map(|task| json!({"connector": name, "task": task})).collect();
    Some(json!({"name": name, "config": config, "tasks": tasks, "type": "sink"}))
}

/// A connector's state and those of its tasks, Kafka Connect's `ConnectorStateInfo`. What was just restarted is shown as
/// restarting.
fn status_of(rest: &Rest, name: &str, restarted: &Restarted) -> Option<Value> {
    let own = rest.connector_report(name)?;
    let own = if restarted.connector { restarting(own) } else { own };
    let tasks = rest.task_numbers(name).into_iter().filter_map(|task| {
        let report = rest.task_report(name, task)?;
        let report = if restarted.tasks.contains(&task) { restarting(report) } else { report };
        let mut json = report_json(&report);
        json["id"] = task.into();
        Some(json)
    });
    let tasks: Vec<Value> = tasks.collect();
    Some(json!({"name": name, "connector": report_json(&own), "tasks": tasks, "type": "sink"}))
}

fn restarting(report: Report) -> Report {
    Report { state: Condition::Restarting(String::new()).name().into(), trace: None, ..report }
}

fn report_json(report: &Report) -> Value {
    let Report { state, trace, worker_id, version, generation: _ } = report;
    let version = version.as_deref().unwrap_or_default();
    let mut json = json!({"state": state, "worker_id": worker_id, "version": version});
    if let Some(trace) = trace {
        json["trace"] = trace.as_str().into();
    }
    json
}

pub(super) async fn list(State(served): State<Served>, RawQuery(query): RawQuery) -> Response {
    let names = served.rest.names();
    let expand: Vec<&str> = parameters(query.as_deref(), "expand").collect();
    if expand.is_empty() {
        return ok(&json!(names));
    }
    let mut all = serde_json::Map::new();
    for name in names {
        let mut expanded = serde_json::Map::new();
        for part in &expand {
            let value = match *part {
                "status" => status_of(&served.rest, &name, &Restarted::default()),
                "info" => info_of(&served.rest, &name),
                _ => None,
            };
            expanded.extend(value.map(|value| ((*part).to_owned(), value)));
        }
        all.insert(name, Value::Object(expanded));
    }
    ok(&Value::Object(all))
}

/// The answer to a change: the connector as it is now.
fn changed(rest: &Rest, name: &str, created: bool) -> Response {
    let Some(info) = info_of(rest, name) else { return no_connector(name) };
    let mut response = answer(if created { StatusCode::CREATED } else { StatusCode::OK }, &info);
    if created && let Ok(location) = HeaderValue::from_str(&format!("/connectors/{name}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

pub(super) async fn create(State(served): State<Served>, body: Bytes) -> Response {
    let Creation { name, config, state } = match request::creation(&body) {
        Ok(creation) => creation,
        Err(problem) => return bad_request(&format!("the body does not create a connector: {problem}")),
    };
    let own = name.clone();
    operate(&served, move |herder| herder.create(&own, config, state), |()| changed(&served.rest, &name, true)).await
}

pub(super) async fn info(State(served): State<Served>, Path(name): Path<String>) -> Response {
    info_of(&served.rest, &name).map_or_else(|| no_connector(&name), |info| ok(&info))
}

pub(super) async fn config(State(served): State<Served>, Path(name): Path<String>) -> Response {
    served.rest.config(&name).map_or_else(|| no_connector(&name), |config| ok(&json!(config)))
}

pub(super) async fn configure(State(served): State<Served>, Path(name): Path<String>, body: Bytes) -> Response {
    let config = match request::values(&body) {
        Ok(config) => config,
        Err(problem) => return bad_request(&format!("the body is not a configuration: {problem}")),
    };
    let own = name.clone();
    operate(&served, move |herder| herder.configure(&own, config), |created| changed(&served.rest, &name, created))
        .await
}

pub(super) async fn patch(State(served): State<Served>, Path(name): Path<String>, body: Bytes) -> Response {
    let values: Result<BTreeMap<String, Value>, _> = serde_json::from_slice(&body);
    let values = match values {
        Ok(values) => values,
        Err(problem) => return bad_request(&format!("the body is not a configuration: {problem}")),
    };
    let mut patch = BTreeMap::new();
    for (key, value) in values {
        let value = match value {
            Value::Null => None,
            Value::String(text) => Some(text),
            Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
            Value::Array(_) | Value::Object(_) => {
                return bad_request(&format!("`{key}` is neither a text, a number, a boolean nor null"));
            }
        };
        patch.insert(key, value);
    }
    let own = name.clone();
    operate(&served, move |herder| herder.patch(&own, patch), |()| changed(&served.rest, &name, false)).await
}

pub(super) async fn delete(State(served): State<Served>, Path(name): Path<String>) -> Response {
    done(&served, StatusCode::NO_CONTENT, move |herder| herder.delete(&name)).await
}

/// Runs an operation whose answer has no body.
async fn done(
    served: &Served,
    status: StatusCode,
    operation: impl FnOnce(&Herder) -> Result<(), OperationError> + Send + 'static,
) -> Response {
    operate(served, operation, |()| status.into_response()).await
}

pub(super) async fn status(State(served): State<Served>, Path(name): Path<String>) -> Response {
    status_of(&served.rest, &name, &Restarted::default()).map_or_else(
        || error(StatusCode::NOT_FOUND, &format!("No status found for connector {name}")),
        |status| ok(&status),
    )
}

pub(super) async fn pause(State(served): State<Served>, Path(name): Path<String>) -> Response {
    done(&served, StatusCode::ACCEPTED, move |herder| herder.pause(&name)).await
}

pub(super) async fn resume(State(served): State<Served>, Path(name): Path<String>) -> Response {
    done(&served, StatusCode::ACCEPTED, move |herder| herder.resume(&name)).await
}

pub(super) async fn stop(State(served): State<Served>, Path(name): Path<String>) -> Response {
    done(&served, StatusCode::NO_CONTENT, move |herder| herder.stop(&name)).await
}

pub(super) async fn restart(
    State(served): State<Served>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.as_deref();
    let scope = RestartScope { tasks: is_set(query, "includeTasks"), only_failed: is_set(query, "onlyFailed") };
    let own = name.clone();
    operate(
        &served,
        move |herder| herder.restart(&own, scope),
        |restarted| {
            if !scope.tasks && !scope.only_failed {
                return StatusCode::NO_CONTENT.into_response();
            }
            let status = status_of(&served.rest, &name, &restarted);
            status.map_or_else(|| no_connector(&name), |status| answer(StatusCode::ACCEPTED, &status))
        },
    )
    .await
}

pub(super) async fn topics(State(served): State<Served>, Path(name): Path<String>) -> Response {
    // Kafka Connect has no topics for a connector that it does not have, and that is no error.
    let topics = served.rest.topics(&name);
    ok(&json!({name: {"topics": topics}}))
}

pub(super) async fn reset_topics(State(served): State<Served>, Path(name): Path<String>) -> Response {
    done(&served, StatusCode::ACCEPTED, move |herder| herder.reset_topics(&name)).await
}

pub(super) async fn tasks(State(served): State<Served>, Path(name): Path<String>) -> Response {
    let Some(config) = served.rest.config(&name) else { return no_connector(&name) };
    let tasks = served.rest.task_numbers(&name).into_iter();
    let tasks: Vec<Value> =
        tasks.map(|task| json!({"id": {"connector": name, "task": task}, "config": config})).collect();
    ok(&json!(tasks))
}

pub(super) async fn task_status(State(served): State<Served>, Path((name, task)): Path<(String, String)>) -> Response {
    let number = task.parse::<u32>().ok();
    let found = number.and_then(|number| Some((number, served.rest.task_report(&name, number)?)));
    match found {
        Some((number, report)) => {
            let mut json = report_json(&report);
            json["id"] = number.into();
            ok(&json)
        }
        None => error(StatusCode::NOT_FOUND, &format!("No status found for task {name}-{task}")),
    }
}

pub(super) async fn restart_task(State(served): State<Served>, Path((name, task)): Path<(String, String)>) -> Response {
    let Ok(task) = task.parse() else { return error(StatusCode::NOT_FOUND, "HTTP 404 Not Found") };
    done(&served, StatusCode::NO_CONTENT, move |herder| herder.restart_task(&name, task)).await
}
