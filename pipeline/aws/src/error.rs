//! One error type for the calls of every AWS service, with what the error means for a retry.

use std::error::Error as StdError;
use std::fmt;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};
use aws_smithy_types::error::ErrorMetadata;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::Verdict;

/// Why a call failed. Its text is one line with the service's code, its message, the HTTP status and the request id;
/// for a call without an answer, it is the chain of errors down to the cause.
#[derive(Debug, Clone)]
pub struct Error {
    code: Option<String>,
    status: Option<u16>,
    verdict: Verdict,
    /// The text without the status and the request id.
    text: String,
    request_id: Option<String>,
}

impl Error {
    /// The error of a call whose answer had a body that ended early. It is that of a broken connection.
    pub fn interrupted(error: impl Into<BoxError>) -> Self {
        Self::from(SdkError::<ErrorMetadata, _>::dispatch_failure(ConnectorError::io(error.into())))
    }

    /// The service's error code, such as `ResourceNotFoundException`. `None` if the service did not answer, or answered
    /// without a code.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// The HTTP status. `None` if the service did not answer.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// The id that the service gave to this call, which is different for every call. `None` if the service did not
    /// answer.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// The text without the request id, so that two failures of the same cause have the same text.
    pub fn reason(&self) -> String {
        match self.status {
            Some(status) => format!("{} (HTTP {status})", self.text),
            None => self.text.clone(),
        }
    }

    /// What the error means for a retry. A throttled call had no effect; a call with a transient error may have been
    /// executed nevertheless.
    ///
    /// Denied access and a missing bucket, table or queue are transient: they were in order when the program started (see
    /// [`verdict_at_start`](Self::verdict_at_start)), so somebody changed them and can change them back.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The verdict for a call at the program's start, where denied access and a missing bucket, table or queue are permanent:
    /// they are reported at once.
    pub fn verdict_at_start(&self) -> Verdict {
        match self.verdict {
            DENIED | MISSING => Verdict::Permanent,
            verdict => verdict,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status, &self.request_id) {
            (Some(status), Some(id)) => write!(f, "{} (HTTP {status}, request id {id})", self.text),
            _ => f.write_str(&self.reason()),
        }
    }
}

impl StdError for Error {}

impl<E: ProvideErrorMetadata + StdError + 'static> From<SdkError<E, HttpResponse>> for Error {
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let response = error.raw_response();
        let status = response.map(|response| response.status().as_u16());
        let service = error.as_service_error().map(ProvideErrorMetadata::meta);
        let code = service.and_then(|meta| meta.code());
        let verdict = match &error {
            // The next attempt would build the same request.
            SdkError::ConstructionFailure(_) => Verdict::Permanent,
            SdkError::TimeoutError(_) => Verdict::Transient("timeout"),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => Verdict::Transient("timeout"),
            SdkError::DispatchFailure(failure) if failure.is_user() => Verdict::Permanent,
            SdkError::DispatchFailure(failure) if failure.is_io() => Verdict::Transient("connection"),
            // This includes credentials that a provider could not fetch.
            SdkError::DispatchFailure(_) => Verdict::Transient("dispatch"),
            // The answer was cut off, so what it would have said is not known, whatever its status is.
            SdkError::ResponseError(_) if was_cut_off(&error) => Verdict::Transient("response"),
            _ => answered(code, status),
        };

        let mut text = String::new();
        match code {
            Some(code) => {
                text.push_str(code);
                if let Some(message) = service.and_then(|meta| meta.message()) {
                    push_line(&mut text, ": ", message);
                }
            }
            None => push_chain(&mut text, &error),
        }
        let request_id = response.and_then(|response| {
            let headers = response.headers();
            headers.get("x-amzn-requestid").or_else(|| headers.get("x-amz-request-id")).map(Into::into)
        });
        Self { code: code.map(Into::into), status, verdict, text, request_id }
    }
}

const DENIED: Verdict = Verdict::Transient("access-denied");
const MISSING: Verdict = Verdict::Transient("missing");

/// The verdict on an error answer. The service's code decides; without a known code, the HTTP status does.
fn answered(code: Option<&str>, status: Option<u16>) -> Verdict {
    match code {
        Some("ProvisionedThroughputExceededException") => Verdict::Throttled("throughput-exceeded"),
        Some("RequestLimitExceeded") => Verdict::Throttled("request-limit-exceeded"),
        Some("SlowDown") => Verdict::Throttled("slow-down"),
        Some(
            "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "TooManyRequestsException"
            | "BandwidthLimitExceeded"
            | "PriorRequestNotComplete",
        ) => Verdict::Throttled("throttling"),
        Some("RequestTimeout" | "RequestTimeoutException" | "OperationTimeoutException") => {
            Verdict::Transient("timeout")
        }
        // Before the next attempt the SDK fetches new credentials, and learns the clock's skew from this answer.
        Some("ExpiredToken" | "ExpiredTokenException") => Verdict::Transient("expired-token"),
        Some("RequestTimeTooSkewed") => Verdict::Transient("clock-skew"),
        Some(
            "AccessDenied"
            | "AccessDeniedException"
            | "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "UnrecognizedClientException"
            | "InvalidSignatureException",
        ) => DENIED,
        Some(
            "NoSuchBucket"
            | "ResourceNotFoundException"
            | "QueueDoesNotExist"
            | "AWS.SimpleQueueService.NonExistentQueue",
        ) => MISSING,
        // The request's body was damaged on its way.
        Some("BadDigest" | "CRC32CheckFailed") => Verdict::Transient("checksum"),
        _ => match status {
            Some(429) => Verdict::Throttled("throttling"),
            Some(403) => DENIED,
            Some(408) => Verdict::Transient("timeout"),
            Some(500..) => Verdict::Transient("server-error"),
            // The call succeeded, but the body of its answer could not be read.
            Some(200..=299) => Verdict::Transient("response"),
            _ => Verdict::Permanent,
        },
    }
}

/// Whether reading failed, and not what was read: a source of the error is one of input and output.
fn was_cut_off(error: &dyn StdError) -> bool {
    error.source().is_some_and(|source| source.is::<std::io::Error>() || was_cut_off(source))
}

/// Appends the messages of an error and of its sources. A source whose message its parent repeats is left out.
fn push_chain(text: &mut String, error: &dyn StdError) {
    push_line(text, "", &error.to_string());
    let mut source = error.source();
    while let Some(error) = source {
        let message = error.to_string();
        if !text.ends_with(&message) {
            push_line(text, ": ", &message);
        }
        source = error.source();
    }
}

/// Appends `separator` and `more`. Control characters become spaces, so that the text stays on one line.
fn push_line(text: &mut String, separator: &str, more: &str) {
    text.push_str(separator);
    text.extend(more.chars().map(|c| if c.is_control() { ' ' } else { c }));
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use aws_smithy_runtime_api::http::StatusCode;
    use aws_smithy_types::body::SdkBody;
    use aws_smithy_types::error::ErrorMetadata;

    use super::*;

    fn response(status: u16) -> HttpResponse {
        let mut response =
            HttpResponse::new(StatusCode::try_from(status).expect("a valid status"), SdkBody::from("<html>"));
        response.headers_mut().insert("x-amzn-requestid", "R1");
        response
    }

    fn service(code: &str, status: u16) -> Error {
        let meta = ErrorMetadata::builder().code(code).message("first\nsecond").build();
        SdkError::service_error(meta, response(status)).into()
    }

    /// The text has code, message, status and request id on one line; the reason is the same without the request id.
    #[test]
    fn text_is_one_line() {
        let error = service("ValidationException", 400);
        assert_eq!(error.to_string(), "ValidationException: first second (HTTP 400, request id R1)");
        assert_eq!(error.reason(), "ValidationException: first second (HTTP 400)");
        assert_eq!(error.request_id(), Some("R1"));
    }

    /// The code decides before the status does.
    #[test]
    fn verdict_follows_the_code_then_the_status() {
        let cases = [
            ("ThrottlingException", 400, Verdict::Throttled("throttling")),
            ("SlowDown", 503, Verdict::Throttled("slow-down")),
            ("ProvisionedThroughputExceededException", 400, Verdict::Throttled("throughput-exceeded")),
            ("InternalServerError", 500, Verdict::Transient("server-error")),
            ("Unheard", 429, Verdict::Throttled("throttling")),
            ("RequestTimeout", 400, Verdict::Transient("timeout")),
            ("OperationTimeoutException", 400, Verdict::Transient("timeout")),
            // Repeating the call would not help: the caller has to read again what it wants to change.
            ("ConcurrentModificationException", 400, Verdict::Permanent),
            ("ValidationException", 400, Verdict::Permanent),
            ("AccessDeniedException", 400, DENIED),
            ("Unheard", 403, DENIED),
            ("NoSuchBucket", 404, MISSING),
            ("AWS.SimpleQueueService.NonExistentQueue", 400, MISSING),
            ("NoSuchUpload", 404, Verdict::Permanent),
        ];
        for (code, status, verdict) in cases {
            assert_eq!(service(code, status).verdict(), verdict, "{code} with {status}");
        }
    }

    /// Denied access and a missing table are retried while a program runs, and reported at once when it starts.
    #[test]
    fn what_is_denied_or_missing_passes_unless_the_connector_starts() {
        for (code, at_start) in [
            ("AccessDenied", Verdict::Permanent),
            ("ResourceNotFoundException", Verdict::Permanent),
            ("SlowDown", Verdict::Throttled("slow-down")),
        ] {
            let error = service(code, 400);
            assert_ne!(error.verdict(), Verdict::Permanent, "{code}");
            assert_eq!(error.verdict_at_start(), at_start, "{code}");
        }
    }

    /// A gateway's answer that is not the service's format is judged by its status.
    #[test]
    fn answers_without_a_code_are_judged_by_status() {
        let error = Error::from(SdkError::<ErrorMetadata, _>::response_error("not JSON", response(502)));
        assert_eq!(
            (error.code(), error.status(), error.verdict()),
            (None, Some(502), Verdict::Transient("server-error"))
        );
        assert!(error.to_string().contains("not JSON"), "{error}");
    }

    /// An answer that was cut off may have said anything, so its status decides nothing.
    #[test]
    fn answers_that_were_cut_off_are_asked_for_again() {
        for status in [200, 400, 404] {
            let cut =
                std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "end of file before message length reached");
            let error = Error::from(SdkError::<ErrorMetadata, _>::response_error(cut, response(status)));
            assert_eq!(error.verdict(), Verdict::Transient("response"), "{status}");
        }
    }

    /// The error of a call without an answer shows the chain of errors down to the cause.
    #[test]
    fn requests_without_an_answer_show_their_cause() {
        let refused = ConnectorError::io(std::io::Error::other("connection refused").into());
        let error = Error::from(SdkError::<ErrorMetadata, _>::dispatch_failure(refused));
        assert_eq!((error.status(), error.verdict()), (None, Verdict::Transient("connection")));
        assert!(error.to_string().ends_with("connection refused"), "{error}");
        let late = Error::from(SdkError::<ErrorMetadata, _>::timeout_error("late"));
        assert_eq!(late.verdict(), Verdict::Transient("timeout"));
    }
}
