//! The AWS services that the recording proxy knows: one description each, of how a request is read and refused.
//!
//! A new service is a file with a [`Service`] in it and a line in [`ALL`].

mod dynamodb;
mod glue;
mod s3;
mod sqs;
mod torn;

use std::fmt;

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use hyper::http::request::Parts;
use percent_encoding::percent_decode_str;
use serde_json::Value;

pub(crate) use self::dynamodb::DYNAMODB;
pub(crate) use self::glue::GLUE;
pub(crate) use self::s3::S3;
pub(crate) use self::sqs::SQS;
pub(crate) use self::torn::{Batch, can_be_torn};
use crate::calls::{Effect, Request};
use crate::upstream::Upstream;

/// All services that the framework knows, in the order in which people are told of them.
pub(crate) static ALL: [&Service; 4] = [&DYNAMODB, &S3, &SQS, &GLUE];

/// What the proxy knows of one AWS service.
pub(crate) struct Service {
    /// The name for which requests are signed, by which they are recognised, recorded and named in crash points.
    pub name: &'static str,
    /// The name by which people know it.
    pub title: &'static str,
    /// How the header `X-Amz-Target` of its requests begins, for services that have it. It tells unsigned requests apart.
    pub target_prefix: Option<&'static str>,
    /// Whether bodies are large and pass through while they arrive. Then `request` is not given the body, and the sender's own declaration
    /// of its hash is what is signed anew.
    pub streams: bool,
    /// Reads operation, target and effect from a request and its body.
    pub request: fn(&Parts, &[u8]) -> Request,
    /// How the service refuses a call because there were too many.
    pub throttled: Refusal,
    /// How the service refuses a call because its caller has no permission.
    pub denied: Refusal,
    /// How the service says that it has failed itself.
    pub failed: Refusal,
    /// Takes the last item out of a batch of which the service may do a part; `None` if it is no such batch.
    pub shorten: Option<Shorten>,
    /// The batches whose items the service carries out one by one.
    pub batches: &'static [Batch],
}

impl Service {
    /// The variable in which every AWS SDK looks for this service's endpoint.
    pub(crate) fn endpoint_variable(&self) -> String {
        format!("AWS_ENDPOINT_URL_{}", self.name.to_uppercase())
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Takes the last item out of the body of a batch.
type Shorten = fn(&[u8]) -> Option<Shortened>;

/// An answer by which a service refuses a call.
pub(crate) struct Refusal {
    pub status: StatusCode,
    pub content_type: &'static str,
    pub body: &'static str,
}

/// A batch of which the last item is left out.
pub(crate) struct Shortened {
    /// The request without the item; `None` if it was the only one.
    pub rest: Option<Bytes>,
    /// The type of the service's answers.
    pub content_type: &'static str,
    /// Adds the item to the service's answer to the rest, as one that was not processed.
    pub add: Box<dyn FnOnce(&mut Value) + Send>,
}

impl Shortened {
    /// The service's answer to the rest, in which the item that was left out is named as not processed.
    pub(crate) fn add_to(self, mut answer: Value) -> Bytes {
        (self.add)(&mut answer);
        answer.to_string().into()
    }
}

/// The service that a request is for, among those that are known, and its name; of all others only the name is known.
///
/// A request says it in its signature. Requests without one are told apart by `X-Amz-Target`, which of the services with a description only
/// S3 does not use.
pub(crate) fn addressed(head: &Parts, known: &[(&'static Service, Upstream)]) -> (&'static Service, String) {
    let all = || known.iter().map(|(service, _)| *service).chain(ALL);
    if let Some(name) = signed_for(head) {
        let found = all().find(|service| service.name == name);
        return (found.unwrap_or(&UNKNOWN), name);
    }
    let found = match header(&head.headers, "x-amz-target") {
        Some(target) => all().find(|service| service.target_prefix.is_some_and(|prefix| target.starts_with(prefix))),
        // A form is how services without X-Amz-Target other than S3 are called.
        None if is_form(&head.headers) => None,
        None => Some(&S3),
    };
    let service = found.unwrap_or(&UNKNOWN);
    (service, service.name.to_owned())
}

/// Any service without a description: its calls are recorded all the same.
static UNKNOWN: Service = Service {
    name: "unknown",
    title: "a service that the framework does not know",
    target_prefix: None,
    streams: false,
    request: |head, body| Request {
        operation: operation(head, body),
        target: String::new(),
        effect: Effect::Write,
        can_be_partial: false,
        deletes: 0,
    },
    throttled: Refusal {
        status: StatusCode::BAD_REQUEST,
        content_type: "application/x-amz-json-1.1",
        body: r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#,
    },
    denied: Refusal {
        status: StatusCode::FORBIDDEN,
        content_type: "application/x-amz-json-1.1",
        body: r#"{"__type":"AccessDeniedException","message":"Access denied"}"#,
    },
    failed: Refusal {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        content_type: "application/x-amz-json-1.1",
        body: r#"{"__type":"InternalFailure","message":"Internal failure"}"#,
    },
    shorten: None,
    batches: &[],
};

/// The service in the scope of a request's signature, `KEY/DATE/REGION/SERVICE/aws4_request`, in its header or in a presigned URL.
fn signed_for(head: &Parts) -> Option<String> {
    let in_header = header(&head.headers, AUTHORIZATION.as_str())
        .and_then(|header| Some(header.split_once("Credential=")?.1.split([',', ' ']).next()?.to_owned()));
    let scope = in_header.or_else(|| {
        let mut pairs = head.uri.query()?.split('&');
        let credential = pairs.find_map(|pair| pair.strip_prefix("X-Amz-Credential="))?;
        Some(percent_decode_str(credential).decode_utf8_lossy().into_owned())
    })?;
    let mut parts = scope.rsplit('/');
    (parts.next() == Some("aws4_request")).then(|| parts.next().map(str::to_owned))?
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<std::borrow::Cow<'a, str>> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()))
}

fn is_form(headers: &HeaderMap) -> bool {
    header(headers, CONTENT_TYPE.as_str()).is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"))
}

/// The operation that a request names: after the last dot of `X-Amz-Target`, or as `Action` in a form.
fn operation(head: &Parts, body: &[u8]) -> String {
    if let Some(target) = header(&head.headers, "x-amz-target") {
        return target.rsplit('.').next().unwrap_or(&target).to_owned();
    }
    field_of_form(body, "Action").unwrap_or_else(|| "Unknown".to_owned())
}

/// The value of a field in the body of a form.
fn field_of_form(body: &[u8], name: &str) -> Option<String> {
    let body = std::str::from_utf8(body).ok()?;
    let value = body.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned())
}

/// Whether an operation only reads, told by how its name begins.
fn begins_with_any(operation: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| operation.starts_with(prefix))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// The head of a request with these headers.
    pub(super) fn head(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = hyper::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn name(uri: &str, headers: &[(&str, &str)]) -> String {
        addressed(&head("POST", uri, headers), &[]).1
    }

    #[test]
    fn a_request_is_for_the_service_that_it_is_signed_for() {
        let signed = |service: &str| {
            format!("AWS4-HMAC-SHA256 Credential=k/20230101/us-east-1/{service}/aws4_request, Signature=0")
        };
        for service in ["dynamodb", "s3", "sqs", "glue", "sts"] {
            assert_eq!(name("/", &[("authorization", &signed(service))]), service);
        }
        assert_eq!(name("/b/k?X-Amz-Credential=k%2F20230101%2Fus-east-1%2Fs3%2Faws4_request", &[]), "s3");
    }

    #[test]
    fn an_unsigned_request_is_told_by_its_headers() {
        assert_eq!(name("/", &[("x-amz-target", "DynamoDB_20120810.PutItem")]), "dynamodb");
        assert_eq!(name("/", &[("x-amz-target", "AmazonSQS.SendMessage")]), "sqs");
        assert_eq!(name("/", &[("x-amz-target", "AWSGlue.GetTable")]), "glue");
        assert_eq!(name("/", &[("x-amz-target", "Kinesis_20131202.PutRecord")]), "unknown");
        assert_eq!(name("/", &[("content-type", "application/x-www-form-urlencoded; charset=utf-8")]), "unknown");
        assert_eq!(name("/bucket/key", &[]), "s3");
    }

    #[test]
    fn an_operation_is_named_in_a_header_or_in_a_form() {
        let head_of = |headers| head("POST", "/", headers);
        assert_eq!(operation(&head_of(&[("x-amz-target", "AWSGlue.GetTable")]), b""), "GetTable");
        assert_eq!(operation(&head_of(&[]), b"Version=1&Action=AssumeRole"), "AssumeRole");
        assert_eq!(operation(&head_of(&[]), b"\xff"), "Unknown");
        assert_eq!(field_of_form(b"QueueUrl=http%3A%2F%2Fh%2Fa+b", "QueueUrl").as_deref(), Some("http://h/a b"));
    }
}
