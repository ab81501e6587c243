//! S3: the operation is told by method, path and query, and bodies stream through.

use hyper::header::HeaderMap;
use hyper::{Method, StatusCode, Uri};
use percent_encoding::percent_decode_str;

use super::{Refusal, Service, begins_with_any};
use crate::calls::{Effect, Request};

const READS: [&str; 4] = ["Get", "Head", "List", "Select"];

/// S3, in path style: the bucket stands in the path.
pub(crate) static S3: Service = Service {
    name: "s3",
    title: "S3",
    target_prefix: None,
    streams: true,
    request: |head, _| {
        let (operation, target) = operation(&head.method, &head.uri, &head.headers);
        let effect = if begins_with_any(operation, &READS) { Effect::Read } else { Effect::Write };
        Request { operation: operation.to_owned(), target, effect, can_be_partial: false, deletes: 0 }
    },
    throttled: Refusal {
        status: StatusCode::SERVICE_UNAVAILABLE,
        content_type: "application/xml",
        body: "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
               <Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>",
    },
    denied: Refusal {
        status: StatusCode::FORBIDDEN,
        content_type: "application/xml",
        body: "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
               <Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>",
    },
    failed: Refusal {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        content_type: "application/xml",
        body: "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
               <Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>",
    },
    shorten: None,
    // `DeleteObjects` could be torn, but its body passes through unread. An object is stored as a whole or not at all.
    batches: &[],
};

/// Operation and target of a request: `PutObject` and `bucket/key`.
fn operation(method: &Method, uri: &Uri, headers: &HeaderMap) -> (&'static str, String) {
    let target = percent_decode_str(uri.path().trim_start_matches('/')).decode_utf8_lossy().into_owned();
    let (bucket, key) = target.split_once('/').unwrap_or((&target, ""));
    let has = |name: &str| {
        let query = uri.query().unwrap_or("");
        query.split('&').any(|pair| pair.split_once('=').map_or(pair, |(name, _)| name) == name)
    };
    let copies = headers.contains_key("x-amz-copy-source");
    let operation = match (method, bucket, key) {
        (&Method::GET, "", _) => "ListBuckets",
        (&Method::GET, _, "") if has("uploads") => "ListMultipartUploads",
        (&Method::GET, _, "") if has("list-type") => "ListObjectsV2",
        (&Method::GET, _, "") if has("location") => "GetBucketLocation",
        (&Method::GET, _, "") => "ListObjects",
        (&Method::HEAD, _, "") => "HeadBucket",
        (&Method::PUT, _, "") => "CreateBucket",
        (&Method::DELETE, _, "") => "DeleteBucket",
        (&Method::POST, _, "") => "DeleteObjects",
        (&Method::GET, ..) if has("uploadId") => "ListParts",
        (&Method::GET, ..) => "GetObject",
        (&Method::HEAD, ..) => "HeadObject",
        (&Method::PUT, ..) if has("uploadId") && copies => "UploadPartCopy",
        (&Method::PUT, ..) if has("uploadId") => "UploadPart",
        (&Method::PUT, ..) if copies => "CopyObject",
        (&Method::PUT, ..) => "PutObject",
        (&Method::POST, ..) if has("uploads") => "CreateMultipartUpload",
        (&Method::POST, ..) if has("uploadId") => "CompleteMultipartUpload",
        (&Method::DELETE, ..) if has("uploadId") => "AbortMultipartUpload",
        (&Method::DELETE, ..) => "DeleteObject",
        _ => "Unknown",
    };
    let target = target.strip_suffix('/').filter(|_| key.is_empty()).map_or(target.clone(), ToOwned::to_owned);
    (operation, target)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn operations_are_told_by_method_path_and_query() {
        let cases = [
            ("GET", "/", "ListBuckets", ""),
            ("PUT", "/lake", "CreateBucket", "lake"),
            ("HEAD", "/lake/", "HeadBucket", "lake"),
            ("GET", "/lake/?list-type=2&prefix=a%2Fb", "ListObjectsV2", "lake"),
            ("GET", "/lake?uploads&prefix=x", "ListMultipartUploads", "lake"),
            ("POST", "/lake?delete", "DeleteObjects", "lake"),
            ("PUT", "/lake/a/b%20c.json?x-id=PutObject", "PutObject", "lake/a/b c.json"),
            ("PUT", "/lake/k?partNumber=1&uploadId=7", "UploadPart", "lake/k"),
            ("POST", "/lake/k?uploads", "CreateMultipartUpload", "lake/k"),
            ("POST", "/lake/k?uploadId=7", "CompleteMultipartUpload", "lake/k"),
            ("DELETE", "/lake/k?uploadId=7", "AbortMultipartUpload", "lake/k"),
            ("DELETE", "/lake/k", "DeleteObject", "lake/k"),
            ("GET", "/lake/k?uploadId=7", "ListParts", "lake/k"),
            ("GET", "/lake/folder/", "GetObject", "lake/folder/"),
            ("HEAD", "/lake/k", "HeadObject", "lake/k"),
        ];
        for (method, uri, name, target) in cases {
            let found = operation(&method.parse().unwrap(), &uri.parse().unwrap(), &HeaderMap::new());
            assert_eq!(found, (name, target.to_owned()), "{method} {uri}");
        }
    }

    #[test]
    fn reads_are_told_from_writes() {
        let effect = |method: &str, uri: &str| (S3.request)(&super::super::tests::head(method, uri, &[]), &[]).effect;
        assert_eq!(effect("HEAD", "/lake"), Effect::Read);
        assert_eq!(effect("GET", "/lake?uploads"), Effect::Read);
        assert_eq!(effect("POST", "/lake/k?uploadId=7"), Effect::Write);
        assert_eq!(effect("DELETE", "/lake/k"), Effect::Write);
    }
}
