//! AWS's JSON protocol: a POST that names its operation in `X-Amz-Target`, with JSON in both directions.
//!
//! A request may be signed, with any key, or not signed at all.

use std::convert::Infallible;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::stack::http;

/// A service that speaks this protocol.
pub(super) trait JsonService: Clone + Send + Sync + 'static {
    /// The type of the bodies.
    const CONTENT_TYPE: &'static str;
    /// What stands before the name of an operation in `X-Amz-Target`, without the dot.
    const TARGET: &'static str;
    /// What stands before the name of an error in `__type`.
    const ERROR_NAMESPACE: &'static str;
    /// The error for an operation that the service does not have.
    const UNKNOWN_OPERATION: &'static str;

    /// Carries out one call.
    fn call(&self, call: Call) -> impl Future<Output = Result<Value, Refusal>> + Send;
}

/// One call, as it arrived.
pub(super) struct Call {
    /// The name of the operation.
    pub operation: String,
    /// The host to which it was sent: the recording proxy, or the service itself.
    pub host: String,
    body: Bytes,
}

impl Call {
    /// A call for tests.
    #[cfg(test)]
    pub(super) fn new(operation: &str, input: &Value) -> Self {
        Self { operation: operation.to_owned(), host: "localhost".to_owned(), body: input.to_string().into() }
    }

    /// The input of the call. Members that are not known here are refused rather than ignored.
    pub(super) fn input<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        let body: &[u8] = if self.body.is_empty() { b"{}" } else { &self.body };
        serde_json::from_slice(body).map_err(|error| {
            Refusal::new("ValidationException", format!("1 validation error detected: {}: {error}", self.operation))
        })
    }
}

/// The error with which a service answers a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The name of the error.
    pub kind: &'static str,
    /// The name of the same error in the older query protocol, for services that had it.
    pub query_code: Option<&'static str>,
    pub message: String,
}

impl Refusal {
    pub(super) fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self { kind, query_code: None, message: message.into() }
    }
}

/// Serves `service` until this future is dropped.
pub(super) async fn serve<S: JsonService>(listener: TcpListener, service: S) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(answer(&service, request).await) }
    });
    http::serve(listener, answer).await;
}

async fn answer<S: JsonService>(service: &S, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let Some(target) = text("x-amz-target") else { return without_target(&head.headers) };
    let operation = target.strip_prefix(S::TARGET).and_then(|rest| rest.strip_prefix('.'));
    let outcome = match (operation, body.collect().await) {
        (Some(operation), Ok(body)) => {
            let host = text("host").unwrap_or("localhost").to_owned();
            service.call(Call { operation: operation.to_owned(), host, body: body.to_bytes() }).await
        }
        (None, _) => Err(unknown::<S>(target)),
        (_, Err(error)) => Err(Refusal::new("SerializationException", format!("the body ended early: {error}"))),
    };
    match outcome {
        Ok(output) => respond(StatusCode::OK, S::CONTENT_TYPE, output.to_string()),
        Err(refusal) => {
            let body = json!({"__type": format!("{}{}", S::ERROR_NAMESPACE, refusal.kind), "message": refusal.message});
            let mut response = respond(StatusCode::BAD_REQUEST, S::CONTENT_TYPE, body.to_string());
            let code = refusal.query_code.map(|code| format!("{code};Sender"));
            if let Some(code) = code.and_then(|code| HeaderValue::try_from(code).ok()) {
                response.headers_mut().insert("x-amzn-query-error", code);
            }
            response
        }
    }
}

/// The refusal of an operation that the service does not have.
pub(super) fn unknown<S: JsonService>(operation: &str) -> Refusal {
    Refusal::new(S::UNKNOWN_OPERATION, format!("the embedded service has no operation {operation}"))
}

/// The answer to a request of another protocol: AWS's query protocol, whose clients read XML, or none.
fn without_target(headers: &HeaderMap) -> Response<Full<Bytes>> {
    let problem = "the request has no X-Amz-Target; the embedded service speaks AWS's JSON protocol only, \
                   as the SDKs do since the end of 2023; use a newer SDK";
    let is_form = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form"));
    if !is_form {
        let body = json!({"__type": "UnknownOperationException", "message": problem});
        return respond(StatusCode::BAD_REQUEST, "application/json", body.to_string());
    }
    let error =
        format!("<Error><Type>Sender</Type><Code>UnsupportedOperation</Code><Message>{problem}</Message></Error>");
    respond(StatusCode::BAD_REQUEST, "text/xml", format!("<ErrorResponse>{error}</ErrorResponse>"))
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
