//! Raw objects in S3: found by a prefix, and read as a stream that survives broken connections.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;
use std::sync::Arc;

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use bytes::{Buf as _, Bytes};
use fms_aws::{Error, Retry};
use tokio::runtime::Handle;

use super::failure::{self, Replaced};
use crate::quarantine::Object;

/// How often reading goes on after a broken connection without a byte in between.
const MAX_BREAKS: u32 = 5;

/// A place in S3: `s3://bucket`, or `s3://bucket/key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Url {
    /// The bucket.
    pub bucket: String,
    /// A key or a prefix of keys; empty for the whole bucket.
    pub key: String,
}

impl FromStr for S3Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("s3://").ok_or_else(|| format!("`{text}` does not begin with `s3://`"))?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(format!("`{text}` names no bucket"));
        }
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

impl fmt::Display for S3Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

/// A raw object in a certain state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// Which one it is.
    pub object: Object,
    /// The `ETag` of its bytes, with the quotes that S3 puts around it.
    pub etag: String,
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.object.bucket, self.object.key)
    }
}

/// The calls that read raw objects.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    client: Client,
    retry: Retry,
    /// The account that owns the buckets of the raw objects. Every call to another one's is refused.
    pub owner: Option<Arc<str>>,
}

impl Reading {
    /// Reads with this configuration. Every call is retried by `retry`.
    pub fn new(aws: &SdkConfig, retry: Retry) -> Self {
        Self { client: super::store::client(aws), retry, owner: None }
    }

    fn owner(&self) -> Option<String> {
        self.owner.as_deref().map(str::to_owned)
    }

    /// The objects of this key or below it, as far as one answer of S3 has them, and where the next answer begins.
    pub async fn list(&self, url: &S3Url, token: Option<String>) -> io::Result<(Vec<Raw>, Option<String>)> {
        let call = || async {
            let request = self.client.list_objects_v2().bucket(&url.bucket).prefix(&url.key);
            let request = request.set_expected_bucket_owner(self.owner());
            request.set_continuation_token(token.clone()).send().await.map_err(Error::from)
        };
        // A bucket that is missing when nothing was listed yet was never there.
        let verdict = if token.is_none() { Error::verdict_at_start } else { Error::verdict };
        let page = self.retry.run(format!("ListObjectsV2 {url}"), verdict, call).await;
        let page = page.map_err(|error| failure::s3(format!("list {url}"), error))?;
        let raws = page.contents().iter().filter_map(|found| {
            let (key, etag) = (found.key()?, found.e_tag()?);
            // A prefix fits `ab` as well as `a/b`; a key that ends with `/` stands for a folder and has no rows.
            let rest = key.strip_prefix(&url.key)?;
            let is_within = rest.is_empty() || url.key.is_empty() || url.key.ends_with('/') || rest.starts_with('/');
            let object = Object { bucket: url.bucket.clone(), key: key.to_owned(), version_id: None };
            (is_within && !key.ends_with('/')).then(|| Raw { object, etag: etag.to_owned() })
        });
        Ok((raws.collect(), page.next_continuation_token.clone()))
    }

    /// The state of an object, in the version that it names or in the current one.
    pub async fn find(&self, object: Object) -> io::Result<Raw> {
        let call = || async {
            let request = self.client.head_object().bucket(&object.bucket).key(&object.key);
            let request = request.set_expected_bucket_owner(self.owner());
            request.set_version_id(object.version_id.clone()).send().await.map_err(Error::from)
        };
        let shown = format!("s3://{}/{}", object.bucket, object.key);
        let found = self.retry.run(format!("HeadObject {shown}"), Error::verdict, call).await;
        let found = found.map_err(|error| failure::s3(format!("look at {shown}"), error))?;
        Ok(Raw { object, etag: found.e_tag.unwrap_or_default() })
    }

    /// Opens an object. If it has other bytes by now, that is an error. Must be called where blocking is allowed.
    pub fn open(&self, raw: &Arc<Raw>, handle: Handle) -> io::Result<RawReader> {
        let stream = handle.block_on(self.get(raw, 0))?;
        let reading = self.clone();
        Ok(RawReader { reading, raw: Arc::clone(raw), handle, stream, chunk: Bytes::new(), taken: 0, breaks: 0 })
    }

    /// The bytes of an object from `start` on.
    async fn get(&self, raw: &Raw, start: u64) -> io::Result<ByteStream> {
        let call = || async {
            let request = self.client.get_object().bucket(&raw.object.bucket).key(&raw.object.key);
            let request = request.set_expected_bucket_owner(self.owner());
            let request = request.set_version_id(raw.object.version_id.clone()).if_match(&raw.etag);
            let request = request.set_range((start > 0).then(|| format!("bytes={start}-")));
            request.send().await.map_err(Error::from)
        };
        match self.retry.run(format!("GetObject {raw}"), Error::verdict, call).await {
            Ok(found) => Ok(found.body),
            Err(error) if error.status() == Some(412) => Err(io::Error::other(Replaced(raw.clone()))),
            Err(error) => Err(failure::s3(format!("read {raw}"), error)),
        }
    }
}

/// The bytes of a raw object. When the connection breaks, reading goes on at the same byte.
#[derive(Debug)]
pub(crate) struct RawReader {
    reading: Reading,
    raw: Arc<Raw>,
    handle: Handle,
    stream: ByteStream,
    /// Bytes that have arrived and were not taken yet.
    chunk: Bytes,
    /// How many bytes have arrived.
    taken: u64,
    /// How often the connection broke since the last byte.
    breaks: u32,
}

impl Read for RawReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.handle.block_on(self.stream.next()) {
                None => return Ok(0),
                Some(Ok(chunk)) => {
                    self.taken += chunk.len() as u64;
                    self.breaks = 0;
                    self.chunk = chunk;
                }
                Some(Err(error)) if self.breaks == MAX_BREAKS => {
                    let doing = format!("read {} further than byte {}", self.raw, self.taken);
                    return Err(failure::s3(doing, Error::interrupted(error)));
                }
                Some(Err(error)) => {
                    self.breaks += 1;
                    tracing::warn!("reading {} goes on at byte {}: {error}", self.raw, self.taken);
                    self.stream = self.handle.block_on(self.reading.get(&self.raw, self.taken))?;
                }
            }
        }
        let length = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_bucket_and_perhaps_a_key() {
        let url = |text: &str| text.parse::<S3Url>().map(|url| (url.bucket, url.key));
        assert_eq!(url("s3://raw"), Ok(("raw".into(), String::new())));
        assert_eq!(url("s3://raw/"), Ok(("raw".into(), String::new())));
        assert_eq!(url("s3://raw/a b/c=1"), Ok(("raw".into(), "a b/c=1".into())));
        assert!(url("raw/a").is_err() && url("s3://").is_err() && url("s3:///a").is_err());
    }
}
