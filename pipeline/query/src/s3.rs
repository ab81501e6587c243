//! S3 as a store of objects that are read: the first part of a path is the bucket, and the rest is the key.
//!
//! An object is only read in the state in which it was listed, so that the footer and the columns of a Parquet file
//! belong together even if it is replaced meanwhile.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::types::Object;
use bytes::Bytes;
use fms_aws::{Error, Retry};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error as StoreError, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

/// Objects of all buckets, read only.
#[derive(Debug, Clone)]
pub(crate) struct S3 {
    client: Client,
    retry: Retry,
    /// The `ETag` of each object that was listed.
    seen: Arc<Mutex<HashMap<Path, String>>>,
    /// The account that owns the buckets. Every call to another one's is refused.
    owner: Option<String>,
}

/// Part of an object, with what S3 said of the whole.
struct Fetched {
    bytes: Bytes,
    range: Range<u64>,
    size: u64,
    etag: Option<String>,
}

impl S3 {
    pub fn new(aws: &SdkConfig, retry: Retry, owner: Option<String>) -> Self {
        let own_endpoint = fms_aws::has_own_s3_endpoint(aws);
        let config = aws_sdk_s3::config::Builder::from(aws).force_path_style(own_endpoint).build();
        Self { client: Client::from_conf(config), retry, seen: Arc::default(), owner }
    }

    fn etag(&self, path: &Path) -> Option<String> {
        // A thread that panicked while it held the lock left the map as it was.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    /// One answer of a listing, and what the next call has to be given to go on.
    async fn page(
        &self,
        folder: &Path,
        token: Option<String>,
    ) -> Result<(Vec<ObjectMeta>, Option<String>), StoreError> {
        let (bucket, key) = split(folder);
        let prefix = if key.is_empty() { String::new() } else { format!("{key}/") };
        let call = || async {
            let request = self.client.list_objects_v2().bucket(bucket).prefix(&prefix);
            let request = request.set_expected_bucket_owner(self.owner.clone());
            request.set_continuation_token(token.clone()).send().await.map_err(Error::from)
        };
        let page = self.retry.run(format!("ListObjectsV2 s3://{folder}/"), Error::verdict_at_start, call).await;
        let page = page.map_err(|error| failed("list", folder, &error))?;
        let next = page.next_continuation_token.clone();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut listed = Vec::new();
        for object in page.contents.unwrap_or_default() {
            let meta = meta(bucket, object)?;
            if let Some(etag) = &meta.e_tag {
                seen.insert(meta.location.clone(), etag.clone());
            }
            listed.push(meta);
        }
        Ok((listed, next))
    }

    async fn fetch(&self, path: &Path, range: Option<&GetRange>) -> Result<Fetched, StoreError> {
        let (bucket, key) = split(path);
        let (etag, range) = (self.etag(path), range.map(header));
        let call = || async {
            let request = self.client.get_object().bucket(bucket).key(key).set_if_match(etag.clone());
            let request = request.set_expected_bucket_owner(self.owner.clone());
            let found = request.set_range(range.clone()).send().await.map_err(Error::from)?;
            let whole = found.content_range.as_deref().and_then(whole_and_start);
            let etag = found.e_tag;
            let bytes = found.body.collect().await.map_err(Error::interrupted)?.into_bytes();
            let (start, size) = whole.unwrap_or((0, bytes.len() as u64));
            Ok(Fetched { range: start..start + bytes.len() as u64, bytes, size, etag })
        };
        let fetched = self.retry.run(format!("GetObject s3://{path}"), Error::verdict_at_start, call).await;
        fetched.map_err(|error| failed("read", path, &error))
    }

    async fn head(&self, path: &Path) -> Result<Fetched, StoreError> {
        let (bucket, key) = split(path);
        let call = || async {
            let request = self.client.head_object().bucket(bucket).key(key);
            request.set_expected_bucket_owner(self.owner.clone()).send().await.map_err(Error::from)
        };
        let found = self.retry.run(format!("HeadObject s3://{path}"), Error::verdict_at_start, call).await;
        let found = found.map_err(|error| failed("look at", path, &error))?;
        let size = found.content_length.and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
        Ok(Fetched { bytes: Bytes::new(), range: 0..size, size, etag: found.e_tag })
    }
}

#[async_trait]
impl ObjectStore for S3 {
    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult, StoreError> {
        let Fetched { bytes, range, size, etag } =
            if options.head { self.head(path).await? } else { self.fetch(path, options.range.as_ref()).await? };
        let meta = ObjectMeta {
            location: path.clone(),
            last_modified: SystemTime::UNIX_EPOCH.into(),
            size,
            e_tag: etag,
            version: None,
        };
        options.check_preconditions(&meta)?;
        let payload = GetResultPayload::Stream(stream::once(async { Ok(bytes) }).boxed());
        Ok(GetResult { payload, meta, range, attributes: Attributes::default() })
    }

    fn list(&self, folder: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta, StoreError>> {
        let (store, folder) = (self.clone(), folder.cloned().unwrap_or_default());
        let pages = stream::try_unfold(Some(None), move |next: Option<Option<String>>| {
            let (store, folder) = (store.clone(), folder.clone());
            async move {
                let Some(token) = next else { return Ok(None) };
                let (page, next) = store.page(&folder, token).await?;
                Ok::<_, StoreError>(Some((stream::iter(page.into_iter().map(Ok)), next.map(Some))))
            }
        });
        pages.try_flatten().boxed()
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult, StoreError> {
        Err(read_only("put_opts"))
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>, StoreError> {
        Err(read_only("put_multipart_opts"))
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<Path, StoreError>>,
    ) -> BoxStream<'static, Result<Path, StoreError>> {
        stream::once(async { Err(read_only("delete_stream")) }).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult, StoreError> {
        // Folders are known from the catalog.
        Err(read_only("list_with_delimiter"))
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<(), StoreError> {
        Err(read_only("copy_opts"))
    }
}

impl fmt::Display for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("S3")
    }
}

fn read_only(operation: &str) -> StoreError {
    StoreError::NotImplemented { operation: operation.to_owned(), implementer: "the reader of S3".to_owned() }
}

fn split(path: &Path) -> (&str, &str) {
    path.as_ref().split_once('/').unwrap_or((path.as_ref(), ""))
}

fn meta(bucket: &str, object: Object) -> Result<ObjectMeta, StoreError> {
    let time = object.last_modified.and_then(|time| SystemTime::try_from(time).ok());
    Ok(ObjectMeta {
        location: Path::parse(format!("{bucket}/{}", object.key.unwrap_or_default()))?,
        last_modified: time.unwrap_or(SystemTime::UNIX_EPOCH).into(),
        size: object.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
        e_tag: object.e_tag,
        version: None,
    })
}

/// The value of the header `Range`.
fn header(range: &GetRange) -> String {
    match range {
        GetRange::Bounded(range) => format!("bytes={}-{}", range.start, range.end.saturating_sub(1)),
        GetRange::Offset(start) => format!("bytes={start}-"),
        GetRange::Suffix(length) => format!("bytes=-{length}"),
    }
}

/// The start of the range and the size of the whole object in a header such as `bytes 5-9/100`.
fn whole_and_start(header: &str) -> Option<(u64, u64)> {
    let (range, size) = header.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, size.parse().ok()?))
}

fn failed(doing: &str, path: &Path, error: &Error) -> StoreError {
    let advice = match (error.code(), error.status()) {
        (_, Some(412)) => "it was replaced after it had been listed; run the query again",
        (Some("NoSuchKey"), _) => "it was removed after it had been listed; run the query again",
        (Some("NoSuchBucket"), _) => "correct the location in the catalog, or create the bucket",
        (Some("AccessDenied"), _) | (None, Some(403)) => "grant s3:GetObject and s3:ListBucket",
        (Some("PermanentRedirect" | "AuthorizationHeaderMalformed"), _) | (None, Some(301)) => {
            "the bucket is in another region: set AWS_REGION"
        }
        (_, None) => "check the AWS credentials, region and endpoint",
        _ => "repair the cause, and run the query again",
    };
    let source = format!("cannot {doing} s3://{path}: {error}; {advice}").into();
    StoreError::Generic { store: "S3", source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_written_and_read_as_http_has_them() {
        assert_eq!(header(&GetRange::Bounded(5..10)), "bytes=5-9");
        assert_eq!(header(&GetRange::Offset(5)), "bytes=5-");
        assert_eq!(header(&GetRange::Suffix(8)), "bytes=-8");
        assert_eq!(whole_and_start("bytes 5-9/100"), Some((5, 100)));
        assert_eq!(whole_and_start("bytes 5-9/*"), None);
    }
}
