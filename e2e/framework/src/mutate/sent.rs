//! A request of the pipeline as a mutation sees and changes it: the head and the whole body.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use hyper::Uri;
use hyper::body::Bytes;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;

/// The header that says how the body of a request to S3 is signed.
const CONTENT_SHA256: &str = "x-amz-content-sha256";

/// The characters that are not escaped in the path of a request.
const UNESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Marks a request that is no longer as its sender has signed it, so that it has to be signed again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Changed;

/// A request with its whole body. A request that a mutation has made of another one is marked as [`Changed`].
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub head: Parts,
    pub body: Bytes,
}

impl Sent {
    /// The body as JSON; `None` if it is something else, such as the form of an old SDK.
    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The request with another body, which is JSON.
    pub(super) fn with_json(&self, body: &Value) -> Self {
        self.with_body(body.to_string().into())
    }

    /// A request for another operation of the same service, with this body.
    pub(super) fn for_operation(&self, operation: &str, body: &Value) -> Option<Self> {
        let target = self.head.headers.get("x-amz-target")?.to_str().ok()?;
        let (service, _) = target.rsplit_once('.')?;
        let target = HeaderValue::from_str(&format!("{service}.{operation}")).ok()?;
        let mut sent = self.with_json(body);
        sent.head.headers.insert("x-amz-target", target);
        Some(sent)
    }

    /// The request with another body. What its headers said of the body before is taken off, for it is no longer true.
    pub(super) fn with_body(&self, body: Bytes) -> Self {
        let mut head = self.head.clone();
        let is_chunked = self.is_chunked();
        let headers = &mut head.headers;
        let about_body = |name: &HeaderName| {
            let name = name.as_str();
            name.starts_with("x-amz-checksum-")
                || ["content-md5", "x-amz-sdk-checksum-algorithm", "x-amz-trailer", "x-amz-decoded-content-length"]
                    .contains(&name)
        };
        let names: Vec<HeaderName> = headers.keys().filter(|name| about_body(name)).cloned().collect();
        for name in names {
            headers.remove(name);
        }
        if is_chunked {
            let encodings = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let kept: Vec<&str> =
                encodings.split(',').map(str::trim).filter(|encoding| *encoding != "aws-chunked").collect();
            match HeaderValue::from_str(&kept.join(", ")) {
                Ok(value) if !value.is_empty() => headers.insert(CONTENT_ENCODING, value),
                _ => headers.remove(CONTENT_ENCODING),
            };
        }
        headers.insert(CONTENT_LENGTH, body.len().into());
        head.extensions.insert(Changed);
        Self { head, body }
    }

    /// The bucket and the key of a request about an object.
    pub(super) fn object(&self) -> Option<(String, String)> {
        let path = percent_decode_str(self.head.uri.path().trim_start_matches('/')).decode_utf8().ok()?;
        let (bucket, key) = path.split_once('/')?;
        (!key.is_empty()).then(|| (bucket.to_owned(), key.to_owned()))
    }

    /// The request for the object with another key in the same bucket.
    pub(super) fn with_key(&self, key: &str) -> Option<Self> {
        let (bucket, _) = self.object()?;
        let path = utf8_percent_encode(&format!("/{bucket}/{key}"), UNESCAPED).to_string();
        let path = self.head.uri.query().map_or(path.clone(), |query| format!("{path}?{query}"));
        let mut uri = self.head.uri.clone().into_parts();
        uri.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
        let mut sent = self.with_body(self.unchunked()?);
        sent.head.uri = Uri::from_parts(uri).ok()?;
        Some(sent)
    }

    fn is_chunked(&self) -> bool {
        let signed = self.head.headers.get(CONTENT_SHA256);
        signed.is_some_and(|signed| signed.as_bytes().starts_with(b"STREAMING-"))
    }

    /// The body as S3 would store it: without the framing of `aws-chunked`, with which SDKs send a checksum after the
    /// body.
    pub(super) fn unchunked(&self) -> Option<Bytes> {
        if self.is_chunked() { unchunked(&self.body).map(Into::into) } else { Some(self.body.clone()) }
    }

    /// The text that the body is, decompressed; `None` if it is no text.
    pub(super) fn text(&self) -> Option<String> {
        let body = self.unchunked()?;
        let mut text = String::new();
        match Packing::of(&body) {
            Packing::None => text.push_str(std::str::from_utf8(&body).ok()?),
            Packing::Gzip => {
                MultiGzDecoder::new(&body[..]).read_to_string(&mut text).ok()?;
            }
            Packing::Zstd => text = String::from_utf8(zstd::decode_all(&body[..]).ok()?).ok()?,
        }
        Some(text)
    }

    /// The request with this text as its body, compressed as the body was before.
    pub(super) fn with_text(&self, text: &str) -> Option<Self> {
        let body = match Packing::of(&self.unchunked()?) {
            Packing::None => text.as_bytes().to_vec(),
            Packing::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).ok()?
            }
            Packing::Zstd => zstd::encode_all(text.as_bytes(), 0).ok()?,
        };
        Some(self.with_body(body.into()))
    }
}

/// How a body is compressed, by its first bytes.
enum Packing {
    None,
    Gzip,
    Zstd,
}

impl Packing {
    fn of(body: &[u8]) -> Self {
        if body.starts_with(&[0x1f, 0x8b]) {
            Self::Gzip
        } else if body.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Self::Zstd
        } else {
            Self::None
        }
    }
}

/// The content of a body that is framed as `aws-chunked`: each chunk is its size in hexadecimal digits, perhaps with
/// an extension after `;`, a line end, as many bytes, and a line end. A chunk of size 0 is the last one.
fn unchunked(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let end = body.windows(2).position(|bytes| bytes == b"\r\n")?;
        let line = std::str::from_utf8(&body[..end]).ok()?;
        let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        body = &body[end + 2..];
        if size == 0 {
            return Some(content);
        }
        content.extend_from_slice(body.get(..size)?);
        body = body.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
pub(super) mod tests {
    use hyper::Request;

    use super::*;

    /// A request that puts an object.
    pub(crate) fn put(path: &str, body: impl Into<Bytes>) -> Sent {
        let head = Request::put(path).header("content-md5", "of the body").body(()).unwrap().into_parts().0;
        Sent { head, body: body.into() }
    }

    /// A request with a JSON body.
    pub(crate) fn json(operation: &str, body: &Value) -> Sent {
        let head = Request::post("/").header("x-amz-target", operation).body(()).unwrap().into_parts().0;
        Sent { head, body: body.to_string().into() }
    }

    #[test]
    fn a_text_is_read_and_written_in_every_compression() {
        let plain = put("/raw/a", "one\ntwo\n");
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(b"one\ntwo\n").unwrap();
        let gzip = put("/raw/a.gz", gzip.finish().unwrap());
        let zstd = put("/raw/a.zst", zstd::encode_all(&b"one\ntwo\n"[..], 0).unwrap());
        for sent in [plain, gzip, zstd] {
            assert_eq!(sent.text().as_deref(), Some("one\ntwo\n"));
            let changed = sent.with_text("three\n").unwrap();
            assert_eq!(changed.text().as_deref(), Some("three\n"));
            assert_eq!(changed.body.starts_with(&sent.body[..2]), sent.body[..2] != *b"on", "the same compression");
            assert_eq!(changed.head.headers[CONTENT_LENGTH], HeaderValue::from(changed.body.len()));
            assert!(!changed.head.headers.contains_key("content-md5"));
            assert!(changed.head.extensions.get::<Changed>().is_some());
        }
        assert_eq!(put("/raw/a", &b"\xff\n"[..]).text(), None);
    }

    #[test]
    fn chunks_are_put_together_and_no_header_speaks_of_them_any_more() {
        let body = "4;chunk-signature=0\r\none\n\r\n4\r\ntwo\n\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n";
        let mut sent = put("/raw/a", body);
        for (name, value) in [
            ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
            ("content-encoding", "gzip, aws-chunked"),
            ("x-amz-trailer", "x-amz-checksum-crc32"),
            ("x-amz-decoded-content-length", "8"),
        ] {
            sent.head.headers.insert(name, HeaderValue::from_static(value));
        }
        assert_eq!(sent.text().as_deref(), Some("one\ntwo\n"));
        let changed = sent.with_text("one\n").unwrap();
        assert_eq!(changed.body, "one\n");
        assert_eq!(changed.head.headers[CONTENT_ENCODING], "gzip");
        for name in ["x-amz-trailer", "x-amz-decoded-content-length"] {
            assert!(!changed.head.headers.contains_key(name), "{name}");
        }
        assert_eq!(unchunked(b"5\r\none\n\r\n0\r\n\r\n"), None, "a wrong size");
    }

    #[test]
    fn a_key_is_replaced_and_the_query_stays() {
        let sent = put("/raw/a%20b/c.json?x-id=PutObject", "1");
        assert_eq!(sent.object(), Some(("raw".to_owned(), "a b/c.json".to_owned())));
        let other = sent.with_key("a b/d=1.json").unwrap();
        assert_eq!(other.head.uri, "/raw/a%20b/d%3D1.json?x-id=PutObject");
        assert_eq!(put("/raw", "").object(), None);
    }
}
