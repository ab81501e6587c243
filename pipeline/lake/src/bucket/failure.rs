//! The errors of calls to S3 and Glue, as the lake reports them.

use std::io;

use fms_aws::{Error, Verdict};
use thiserror::Error;

use super::raw::Raw;

/// A call that failed after all retries: what was being done, why it failed, and what to do about it.
#[derive(Debug, Clone, Error)]
#[error("cannot {doing}: {error}; {advice}")]
pub struct CallFailed {
    doing: String,
    advice: &'static str,
    /// The error of the last attempt.
    #[source]
    pub error: Error,
}

/// Another conversion of the same object wrote at the same time. The object has to be converted again, from the start.
#[derive(Debug, Clone, Copy, Error)]
#[error("another conversion of the object was under way at the same time; convert it again")]
pub struct Conflict;

impl From<Conflict> for io::Error {
    fn from(conflict: Conflict) -> Self {
        io::Error::new(io::ErrorKind::ResourceBusy, conflict)
    }
}

/// A raw object was replaced while it was being read, so its new bytes have to be converted.
#[derive(Debug, Clone, Error)]
#[error("{0} has been replaced since it was found; convert it again")]
pub(super) struct Replaced(pub Raw);

/// The error for a call to Glue.
pub(super) fn glue(doing: String, error: Error) -> io::Error {
    let advice = match error.code() {
        Some("EntityNotFoundException") => "create the database, or correct its name",
        Some("AccessDeniedException") => {
            "grant glue:GetDatabase, glue:GetTable, glue:CreateTable, glue:UpdateTable, glue:GetPartitions, \
             glue:BatchGetPartition, glue:BatchCreatePartition and glue:BatchUpdatePartition; and glue:GetTables to \
             look after a lake, and glue:BatchDeletePartition besides to let hours expire or to repair it"
        }
        _ => general(&error),
    };
    io::Error::other(CallFailed { doing, advice, error })
}

/// The error for a call to S3. That an object or its version does not exist is [`io::ErrorKind::NotFound`].
pub(super) fn s3(doing: String, error: Error) -> io::Error {
    let is_missing = matches!(error.code(), Some("NoSuchKey" | "NoSuchVersion" | "NotFound"));
    let advice = match (error.code(), error.status()) {
        (Some("NoSuchBucket"), _) => "create the bucket, or correct its name",
        (Some("AccessDenied"), _) | (None, Some(403)) => {
            "grant s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload and s3:ListBucket, without \
             which S3 denies access to objects that do not exist"
        }
        _ if is_missing => "it was deleted; put it again to have it converted",
        (Some("PermanentRedirect" | "AuthorizationHeaderMalformed"), _) | (None, Some(301)) => {
            "the bucket is in another region: set AWS_REGION"
        }
        _ => general(&error),
    };
    let kind = if is_missing { io::ErrorKind::NotFound } else { io::ErrorKind::Other };
    io::Error::new(kind, CallFailed { doing, advice, error })
}

/// Others wrote the same thing again and again meanwhile, which may end.
pub(super) fn restless(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::ResourceBusy, text)
}

/// Whether what failed may succeed later by itself: the service could not be reached, asked for fewer calls or denied
/// access, others wrote at the same time, or the disk for temporary files was full.
pub(crate) fn may_pass(error: &io::Error) -> bool {
    let inner = error.get_ref();
    let called = inner.and_then(|inner| inner.downcast_ref::<CallFailed>());
    let is_replaced = inner.is_some_and(<dyn std::error::Error + Send + Sync>::is::<Replaced>);
    called.is_some_and(|failed| failed.error.verdict() != Verdict::Permanent)
        || is_replaced
        || matches!(error.kind(), io::ErrorKind::ResourceBusy | io::ErrorKind::StorageFull)
}

/// Whether a raw object could not be read because it was replaced or deleted meanwhile.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Replaced>)
}

fn general(error: &Error) -> &'static str {
    match error.verdict() {
        Verdict::Permanent if error.status().is_none() => "check the AWS credentials, region and endpoint",
        Verdict::Permanent => "repair the cause, and convert the object again",
        Verdict::Throttled(_) | Verdict::Transient(_) => "it did not pass by itself; convert the object again later",
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
    use aws_smithy_runtime_api::client::result::SdkError;
    use aws_smithy_types::body::SdkBody;
    use aws_smithy_types::error::ErrorMetadata;

    use super::*;

    fn answered(code: &str, status: u16) -> Error {
        let status = status.try_into().expect("a status");
        SdkError::service_error(
            ErrorMetadata::builder().code(code).build(),
            HttpResponse::new(status, SdkBody::empty()),
        )
        .into()
    }

    #[test]
    fn what_a_service_may_get_over_passes_and_what_the_object_is_does_not() {
        let call = |code, status| s3("read s3://raw/a".into(), answered(code, status));
        for (error, passes) in [
            (call("SlowDown", 503), true),
            (call("InternalError", 500), true),
            (call("AccessDenied", 403), true),
            (call("NoSuchBucket", 404), true),
            (call("NoSuchKey", 404), false),
            (call("InvalidRange", 416), false),
            (glue("read the table".into(), answered("ThrottlingException", 400)), true),
            (glue("read the table".into(), answered("InvalidInputException", 400)), false),
            (s3("read s3://raw/a".into(), Error::interrupted("connection reset")), true),
            (Conflict.into(), true),
            (restless("others wrote".into()), true),
            (io::Error::from(io::ErrorKind::StorageFull), true),
            (io::Error::new(io::ErrorKind::InvalidInput, "corrupt deflate stream"), false),
            (io::Error::from(io::ErrorKind::UnexpectedEof), false),
        ] {
            assert_eq!(may_pass(&error), passes, "{error}");
        }
    }
}
