//! Signs a request of the subject again, by AWS Signature Version 4, for the service behind the recording proxy.
//!
//! The subject signs its request for the proxy's address, with a key that no service knows. The proxy replaces that
//! signature by one for the request that it passes on, made with the real credentials. A request that the subject did
//! not sign stays unsigned, so that the subject gets the answer that AWS gives to such requests.
//!
//! The rules are those of <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>:
//! `Host`, `Content-Type` and every `X-Amz-*` header are signed. Headers that concern only one connection are not.

use std::error::Error;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4::SigningParams;
use hyper::Uri;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// The header with the hash of an S3 request's body, or with a word that says how the body is checked instead.
const CONTENT_SHA256: &str = "x-amz-content-sha256";

/// The characters that are not escaped in the path of S3's canonical request.
const UNESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Signs requests again, for one region. It asks its credentials provider at every request, so the provider has to
/// cache credentials.
#[derive(Debug, Clone)]
pub(crate) struct Signer {
    credentials: SharedCredentialsProvider,
    region: String,
}

/// What is known of a request's body before it is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Content<'a> {
    /// The whole body is known.
    Whole(&'a [u8]),
    /// The whole body of a request to S3 is known, and is another one than the sender has declared.
    Object(&'a [u8]),
    /// Only what the sender declared in the header `X-Amz-Content-Sha256` is known, as for S3. The body streams through
    /// unchanged.
    Declared,
}

/// Why a request cannot be signed again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsigned {
    #[error(
        "the body is signed chunk by chunk ({0}) with the key that the recording proxy replaces, and so cannot be signed anew for this \
         service; make the pipeline's S3 client send bodies in one piece or with UNSIGNED-PAYLOAD (in the AWS SDKs: without chunked \
         encoding, or from memory), or test it on services at http:// endpoints"
    )]
    Chunks(String),
    #[error(
        "a presigned URL is for the recording proxy and cannot be signed anew; make the pipeline sign its requests in a header"
    )]
    Presigned,
    #[error("no AWS credentials to sign with: {0}")]
    Credentials(String),
    #[error("signing the request: {0}")]
    Request(String),
}

impl Signer {
    /// A signer that uses the credentials that `credentials` provides.
    pub(crate) fn new(credentials: SharedCredentialsProvider, region: &str) -> Self {
        Self { credentials, region: region.to_owned() }
    }

    /// A signer with a key that does not change.
    pub(crate) fn of_key(access_key: &str, secret_key: &str, region: &str) -> Self {
        let key = Credentials::new(access_key, secret_key, None, None, "e2e");
        Self::new(SharedCredentialsProvider::new(key), region)
    }

    /// Signs a request for the service that has this signing name. The URI of the request already has to be the
    /// service's own.
    pub(crate) async fn sign(&self, service: &str, head: &mut Parts, content: Content<'_>) -> Result<(), Unsigned> {
        let credentials = self.credentials.provide_credentials().await;
        let credentials = credentials.map_err(|error| Unsigned::Credentials(causes(&error)))?;
        sign_at(SystemTime::now(), service, &self.region, credentials, head, content)
    }
}

fn sign_at(
    time: SystemTime,
    service: &str,
    region: &str,
    credentials: Credentials,
    head: &mut Parts,
    content: Content<'_>,
) -> Result<(), Unsigned> {
    let query = head.uri.query().unwrap_or("");
    if query.split('&').any(|pair| pair.starts_with("X-Amz-Signature=")) {
        return Err(Unsigned::Presigned);
    }
    // Without this header, both the HTTP client and the signature take the host from the URI.
    head.headers.remove(HOST);
    if head.headers.remove(AUTHORIZATION).is_none() {
        return Ok(());
    }
    for replaced in ["x-amz-date", "x-amz-security-token"] {
        head.headers.remove(replaced);
    }

    let mut settings = SigningSettings::default();
    let declared = head.headers.remove(CONTENT_SHA256);
    let (path, body) = match content {
        Content::Whole(bytes) => (head.uri.path().to_owned(), SignableBody::Bytes(bytes)),
        Content::Object(_) | Content::Declared => {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
            let declared = declared.as_ref().map(|value| String::from_utf8_lossy(value.as_bytes()));
            let body = match (content, declared) {
                (Content::Object(bytes), _) => SignableBody::Bytes(bytes),
                (_, None) => SignableBody::UnsignedPayload,
                (_, Some(kind)) if kind.starts_with("STREAMING-AWS4-") => {
                    return Err(Unsigned::Chunks(kind.into_owned()));
                }
                (_, Some(hash)) => SignableBody::Precomputed(hash.into_owned()),
            };
            (canonical_path(&head.uri), body)
        }
    };
    let mut headers = Vec::new();
    for (name, value) in &head.headers {
        if is_signed(name) {
            let value = value.to_str().map_err(|error| Unsigned::Request(format!("header {name}: {error}")))?;
            headers.push((name.as_str(), value));
        }
    }
    let scheme = head.uri.scheme_str().unwrap_or_default();
    let authority = head.uri.authority().map_or("", Authority::as_str);
    let uri = format!("{scheme}://{authority}{path}?{query}");

    let failed = |error: &dyn Error| Unsigned::Request(causes(error));
    let identity = credentials.into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(time)
        .settings(settings)
        .build()
        .map_err(|error| failed(&error))?
        .into();
    let request = SignableRequest::new(head.method.as_str(), uri, headers.into_iter(), body);
    let request = request.map_err(|error| failed(&error))?;
    let (instructions, _) = sign(request, &parameters).map_err(|error| failed(&error))?.into_parts();
    for header in instructions.into_parts().0 {
        let mut value = HeaderValue::from_str(header.value()).map_err(|error| failed(&error))?;
        value.set_sensitive(header.sensitive());
        head.headers.insert(header.name(), value);
    }
    Ok(())
}

fn is_signed(name: &HeaderName) -> bool {
    name == CONTENT_TYPE || name.as_str().starts_with("x-amz-")
}

/// The path as S3 signs it: decoded, then escaped once. The result does not depend on how the sender escaped the path.
fn canonical_path(uri: &Uri) -> String {
    let decoded: Vec<u8> = percent_decode_str(uri.path()).collect();
    percent_encode(&decoded, UNESCAPED).to_string()
}

/// The text of an error, followed by the texts of its causes.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::time::Duration;

    use hyper::Request;

    use super::*;

    /// The time of AWS's published examples, 2013-05-24T00:00:00Z.
    fn then() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_hours(15849 * 24)
    }

    fn key(token: Option<&str>) -> Credentials {
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        Credentials::new("AKIAIOSFODNN7EXAMPLE", secret, token.map(ToOwned::to_owned), None, "test")
    }

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// A request that a subject has signed.
    fn request(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let request = Request::get(uri)
            .header("host", "127.0.0.1:4711")
            .header("authorization", "AWS4-HMAC-SHA256 Credential=e2e/…")
            .header("x-amz-date", "20260101T000000Z")
            .header("x-amz-security-token", "the subject's");
        headers
            .iter()
            .fold(request, |request, (name, value)| request.header(*name, *value))
            .body(())
            .unwrap()
            .into_parts()
            .0
    }

    fn signed(service: &str, head: &mut Parts, content: Content<'_>) -> Result<String, String> {
        sign_at(then(), service, "us-east-1", key(None), head, content).map_err(|error| error.to_string())?;
        Ok(head.headers[AUTHORIZATION].to_str().unwrap().to_owned())
    }

    /// The examples are those of <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>.
    #[test]
    fn signatures_are_those_of_awss_examples() {
        for (query, signature) in [
            ("lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
            ("max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
        ] {
            let uri = format!("https://examplebucket.s3.amazonaws.com/?{query}");
            let mut head = request(&uri, &[(CONTENT_SHA256, EMPTY), ("user-agent", "any"), ("expect", "100-continue")]);
            let found = signed("s3", &mut head, Content::Declared).unwrap();
            assert_eq!(
                found,
                format!(
                    "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
                     SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}"
                )
            );
            assert_eq!(head.headers["x-amz-date"], "20130524T000000Z");
            assert_eq!(head.headers[CONTENT_SHA256], EMPTY);
            assert!(!head.headers.contains_key(HOST) && !head.headers.contains_key("x-amz-security-token"));
        }
    }

    #[test]
    fn a_key_is_signed_as_s3_reads_it_however_it_was_escaped() {
        let mut found: Vec<String> = ["hour=07/a%20b+c", "hour%3D07/a%20b%2Bc", "hour%3d07/a%20b%2bc"]
            .iter()
            .map(|key| {
                let mut head = request(&format!("http://s3:9000/lake/{key}"), &[(CONTENT_SHA256, EMPTY)]);
                signed("s3", &mut head, Content::Declared).unwrap()
            })
            .collect();
        found.dedup();
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_body_that_is_known_is_signed_and_what_was_said_of_another_is_taken_off() {
        let sign = |body: &[u8]| {
            let mut head = request("https://dynamodb.us-east-1.amazonaws.com/", &[(CONTENT_SHA256, EMPTY)]);
            let found = signed("dynamodb", &mut head, Content::Whole(body)).unwrap();
            assert!(!head.headers.contains_key(CONTENT_SHA256));
            found
        };
        assert_eq!(sign(b"{}"), sign(b"{}"));
        assert_ne!(sign(b"{}"), sign(b"{ }"));
    }

    #[test]
    fn the_hash_of_an_object_that_was_changed_is_that_of_its_new_body() {
        let declared = [(CONTENT_SHA256, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")];
        let mut head = request("http://s3/lake/hour=07/a%20b", &declared);
        let changed = signed("s3", &mut head, Content::Object(b"")).unwrap();
        assert_eq!(head.headers[CONTENT_SHA256], EMPTY);
        let mut head = request("http://s3/lake/hour=07/a%20b", &[(CONTENT_SHA256, EMPTY)]);
        assert_eq!(changed, signed("s3", &mut head, Content::Declared).unwrap());
    }

    #[test]
    fn the_token_of_a_session_is_sent_and_signed() {
        let mut head = request("https://s3.us-east-1.amazonaws.com/lake", &[]);
        sign_at(then(), "s3", "us-east-1", key(Some("session")), &mut head, Content::Declared).unwrap();
        assert_eq!(head.headers["x-amz-security-token"], "session");
        assert_eq!(head.headers[CONTENT_SHA256], "UNSIGNED-PAYLOAD", "none was declared");
        let authorization = head.headers[AUTHORIZATION].to_str().unwrap();
        assert!(authorization.contains("x-amz-date;x-amz-security-token,"), "{authorization}");
    }

    #[test]
    fn what_cannot_be_signed_anew_is_refused_with_what_to_do() {
        for kind in ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"] {
            let mut head = request("https://s3/lake/k", &[(CONTENT_SHA256, kind)]);
            let error = signed("s3", &mut head, Content::Declared).unwrap_err();
            assert!(error.contains(kind) && error.contains("without chunked encoding"), "{error}");
        }
        let mut head = request("https://s3/lake/k?X-Amz-Expires=60&X-Amz-Signature=00", &[]);
        let error = signed("s3", &mut head, Content::Declared).unwrap_err();
        assert!(error.contains("presigned"), "{error}");
    }

    #[test]
    fn a_checksum_in_a_trailer_needs_no_signature_of_its_own() {
        let trailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
        let mut head = request("https://s3/lake/k", &[(CONTENT_SHA256, trailer)]);
        signed("s3", &mut head, Content::Declared).unwrap();
        assert_eq!(head.headers[CONTENT_SHA256], trailer);
    }

    #[test]
    fn what_was_not_signed_stays_unsigned() {
        let mut head = request("https://s3/lake/k", &[]);
        head.headers.remove(AUTHORIZATION);
        sign_at(then(), "s3", "us-east-1", key(None), &mut head, Content::Declared).unwrap();
        assert!(!head.headers.contains_key(AUTHORIZATION));
    }
}
