//! Answers in the form of Kafka Connect, and requests that take their time.

use std::sync::Arc;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{REQUEST_TIMEOUT, Served};
use crate::worker::{Herder, OperationError};

pub(super) fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

pub(super) fn ok(body: &Value) -> Response {
    answer(StatusCode::OK, body)
}

/// An error in the form of Kafka Connect.
pub(super) fn error(status: StatusCode, message: &str) -> Response {
    answer(status, &json!({"error_code": status.as_u16(), "message": message}))
}

pub(super) fn bad_request(message: &str) -> Response {
    error(StatusCode::BAD_REQUEST, message)
}

pub(super) fn no_connector(name: &str) -> Response {
    error(StatusCode::NOT_FOUND, &format!("Connector {name} not found"))
}

fn refusal(error_kind: &OperationError) -> Response {
    let status = match error_kind {
        OperationError::BadRequest(_) => StatusCode::BAD_REQUEST,
        OperationError::Forbidden(_) => StatusCode::FORBIDDEN,
        OperationError::NotFound(_) => StatusCode::NOT_FOUND,
        OperationError::Conflict(_) => StatusCode::CONFLICT,
        OperationError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    error(status, &error_kind.to_string())
}

/// Runs an operation of the herder, which waits for others, and makes its answer. An operation goes on to its end
/// whether or not the client waits for it.
pub(super) async fn operate<T: Send + 'static>(
    served: &Served,
    operation: impl FnOnce(&Herder) -> Result<T, OperationError> + Send + 'static,
    respond: impl FnOnce(T) -> Response,
) -> Response {
    let herder = Arc::clone(&served.herder);
    let running = tokio::task::spawn_blocking(move || operation(&herder));
    match tokio::time::timeout(REQUEST_TIMEOUT, running).await {
        Ok(Ok(Ok(done))) => respond(done),
        Ok(Ok(Err(refused))) => refusal(&refused),
        Ok(Err(panic)) => {
            let message = format!("the request failed by a defect of this program: {panic}; report it with the log");
            error(StatusCode::INTERNAL_SERVER_ERROR, &message)
        }
        Err(_) => error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Request timed out: the operation goes on, and the status shows when it is done",
        ),
    }
}

/// The values of a parameter in the query of a request, in order.
pub(super) fn parameters<'q>(query: Option<&'q str>, name: &'q str) -> impl Iterator<Item = &'q str> {
    let pairs = query.unwrap_or_default().split('&');
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).filter(move |(own, _)| *own == name).map(|pair| pair.1)
}

/// Whether a parameter is `true`. Anything else but `true` and `false` counts as false, as in Java.
pub(super) fn is_set(query: Option<&str>, name: &str) -> bool {
    parameters(query, name).next().is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_often_as_they_stand_there() {
        let query = Some("expand=info&expand=status&includeTasks=TRUE&onlyFailed");
        assert_eq!(parameters(query, "expand").collect::<Vec<_>>(), ["info", "status"]);
        assert!(is_set(query, "includeTasks") && !is_set(query, "onlyFailed") && !is_set(None, "includeTasks"));
    }
}
