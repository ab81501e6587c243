//! The calls to the lake's bucket. A file is only ever replaced in the state in which it was seen, and never by one of
//! an older version of its table.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::sync::Arc;

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use fms_aws::{Error, Retry, Verdict};

use super::calls::CountS3;
use super::failure;
use super::raw::S3Url;
use super::schema::Version;
use super::spool::Spool;
use super::storage::Storage;
use crate::object::Published;

/// The metadata of a file with the version of the table by which it was written.
const VERSION: &str = "fms-table-version";
/// The metadata of a file with the SHA-256 of its bytes.
const DIGEST: &str = "fms-sha256";

/// The largest file that is put in one call, and the size of the parts of a larger one. So much of every file that is
/// being put is in memory. S3 takes 10,000 parts, so a file may have 160 GB.
const PART: u64 = 16 << 20;

/// How often a file is looked at again because somebody else wrote it meanwhile.
const MAX_ROUNDS: usize = 16;

/// A client for S3, whose calls are counted.
pub(super) fn client(aws: &SdkConfig) -> Client {
    let own_endpoint = fms_aws::has_own_s3_endpoint(aws);
    Client::from_conf(
        aws_sdk_s3::config::Builder::from(aws).force_path_style(own_endpoint).interceptor(CountS3).build(),
    )
}

/// The calls to one bucket, below a prefix.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub client: Client,
    pub bucket: Arc<str>,
    /// Empty, or ends with `/`.
    pub prefix: Arc<str>,
    pub retry: Retry,
    pub storage: Arc<Storage>,
}

/// A file as a listing has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its path below the lake.
    pub path: String,
    pub etag: String,
    pub bytes: u64,
    /// When it was stored, in seconds since the Unix epoch.
    pub modified: i64,
}

impl Listed {
    /// The name of the file in its folder.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The path of its folder, which ends with `/`.
    pub fn folder(&self) -> &str {
        self.path.strip_suffix(self.name()).unwrap_or_default()
    }
}

/// What is known of a file that is to be stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Put {
    /// The version of the table by which it was written.
    pub version: Option<Version>,
    /// Whether that is known to be the newest version, so that even a file by a newer one is replaced.
    pub is_newest: bool,
    /// Whether most likely no file is stored there, so that it is not looked for first.
    pub is_new: bool,
}

impl Put {
    /// Whether the file was written by a version of the table before this one, in which columns have got other types.
    pub fn is_before(&self, types: u64) -> bool {
        !self.is_newest && self.version.is_some_and(|version| version.number() < types)
    }
}

/// A file as it will be stored.
struct File<'f> {
    /// The whole key.
    key: String,
    body: &'f mut Spool,
    content_type: &'static str,
    version: Option<Version>,
    digest: String,
}

/// What is stored under a key.
enum Before {
    Nothing,
    /// A file with this `ETag`.
    File(String),
}

impl Store {
    /// The calls to the bucket of a place, below its key.
    pub fn new(aws: &SdkConfig, place: &S3Url, retry: Retry) -> Self {
        let slash = if place.key.is_empty() || place.key.ends_with('/') { "" } else { "/" };
        let prefix = format!("{}{slash}", place.key);
        let (bucket, prefix) = (place.bucket.as_str().into(), prefix.into());
        Self { client: client(aws), bucket, prefix, retry, storage: Arc::default() }
    }

    /// Checks that the bucket exists.
    pub async fn check(&self) -> io::Result<()> {
        let call = || async {
            self.client
                .head_bucket()
                .bucket(&*self.bucket)
                .set_expected_bucket_owner(self.storage.owner())
                .send()
                .await
                .map_err(Error::from)
        };
        let what = format!("HeadBucket s3://{}", self.bucket);
        match self.retry.run(what, Error::verdict_at_start, call).await {
            Ok(_) => Ok(()),
            Err(error) if error.status() == Some(404) => {
                Err(io::Error::other(format!("there is no bucket `{}`; create it", self.bucket)))
            }
            Err(error) => Err(failure::s3(format!("look at the bucket `{}`", self.bucket), error)),
        }
    }

    /// Stores a file, unless it is stored already or one by a newer version of its table is.
    pub async fn put(&self, path: &str, body: &mut Spool, put: Put) -> io::Result<Published> {
        let content_type =
            if path.ends_with(".parquet") { "application/vnd.apache.parquet" } else { "application/x-ndjson" };
        let digest = body.digest();
        let mut file = File { key: self.key(path), body, content_type, version: put.version, digest };
        let mut is_known = put.is_new;
        for _ in 0..MAX_ROUNDS {
            let found = if std::mem::take(&mut is_known) { None } else { self.head(&file.key).await? };
            let before = match found {
                None => Before::Nothing,
                Some(found) => {
                    let metadata = |name: &str| found.metadata().and_then(|all| all.get(name));
                    if metadata(DIGEST) == Some(&file.digest) {
                        return Ok(Published::Visible);
                    }
                    let stored: Option<Version> = metadata(VERSION).and_then(|version| version.parse().ok());
                    let is_newer = stored.zip(file.version).is_some_and(|(stored, ours)| stored.is_newer_than(ours));
                    if is_newer && !put.is_newest {
                        return Ok(Published::Outdated);
                    }
                    Before::File(found.e_tag.unwrap_or_default())
                }
            };
            if self.replace(&mut file, &before).await? {
                return Ok(Published::Visible);
            }
        }
        let shown = self.shown(&file.key);
        Err(failure::restless(format!(
            "others wrote {shown} {MAX_ROUNDS} times in a row; convert the object again later"
        )))
    }

    /// Whether a file with these bytes is stored.
    pub async fn has(&self, path: &str, digest: &str) -> io::Result<bool> {
        let found = self.head(&self.key(path)).await?;
        Ok(found.is_some_and(|found| found.metadata().and_then(|all| all.get(DIGEST)).is_some_and(|of| of == digest)))
    }

    async fn head(&self, key: &str) -> io::Result<Option<HeadObjectOutput>> {
        let call = || async {
            let request = self.client.head_object().bucket(&*self.bucket).key(key);
            request.set_expected_bucket_owner(self.storage.owner()).send().await.map_err(Error::from)
        };
        match self.retry.run(format!("HeadObject {}", self.shown(key)), Error::verdict, call).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(failure::s3(format!("look at {}", self.shown(key)), error)),
        }
    }

    /// Stores a file in place of what was there before. Gives whether that was still there.
    async fn replace(&self, file: &mut File<'_>, before: &Before) -> io::Result<bool> {
        let shown = self.shown(&file.key);
        let stored = if file.body.length() <= PART {
            self.put_whole(file, before).await
        } else {
            self.put_parts(file, before).await
        };
        match stored? {
            Ok(()) => Ok(true),
            Err(error) if was_changed(&error) => Ok(false),
            Err(error) => Err(failure::s3(format!("store {shown}"), error)),
        }
    }

    async fn put_whole(&self, file: &mut File<'_>, before: &Before) -> io::Result<Result<(), Error>> {
        let (storage, body) = (&self.storage, file.body.read(0, PART)?);
        let (if_match, if_none_match) = before.conditions();
        let call = || async {
            let request = self.client.put_object().bucket(&*self.bucket).key(&file.key).body(body.clone().into());
            let request = request.content_type(file.content_type).set_metadata(Some(file.metadata()));
            let request = request.set_if_match(if_match.clone()).set_if_none_match(if_none_match.clone());
            let request = request.set_storage_class(storage.class()).set_tagging(storage.tagging());
            let request = request
                .set_server_side_encryption(storage.encryption())
                .set_ssekms_key_id(storage.sse_kms_key_id.clone());
            request.set_expected_bucket_owner(storage.owner()).send().await.map_err(Error::from)
        };
        Ok(self.retry.run(format!("PutObject {}", self.shown(&file.key)), verdict, call).await.map(drop))
    }

    async fn put_parts(&self, file: &mut File<'_>, before: &Before) -> io::Result<Result<(), Error>> {
        let (storage, shown) = (&self.storage, self.shown(&file.key));
        let call = || async {
            let request = self.client.create_multipart_upload().bucket(&*self.bucket).key(&file.key);
            let request = request.content_type(file.content_type).set_metadata(Some(file.metadata()));
            let request = request.set_storage_class(storage.class()).set_tagging(storage.tagging());
            let request = request
                .set_server_side_encryption(storage.encryption())
                .set_ssekms_key_id(storage.sse_kms_key_id.clone())
                .set_expected_bucket_owner(storage.owner());
            // Otherwise S3 refuses parts that have a checksum.
            request.checksum_algorithm(ChecksumAlgorithm::Crc32).send().await.map_err(Error::from)
        };
        let upload = match self.retry.run(format!("CreateMultipartUpload {shown}"), Error::verdict, call).await {
            Ok(upload) => upload.upload_id.unwrap_or_default(),
            Err(error) => return Ok(Err(error)),
        };
        let stored = self.parts(file, &upload, before).await;
        if !matches!(stored, Ok(Ok(()))) {
            // S3 stores the parts, and charges for them, until the upload is aborted. The error that is given is the
            // one that led here.
            let request = self.client.abort_multipart_upload().bucket(&*self.bucket).key(&file.key).upload_id(&upload);
            let request = request.set_expected_bucket_owner(storage.owner());
            if let Err(error) = request.send().await.map_err(Error::from) {
                tracing::warn!("the unfinished upload of {shown} could not be aborted: {error}");
            }
        }
        stored
    }

    /// Uploads the parts of a file and makes it of them.
    async fn parts(&self, file: &mut File<'_>, upload: &str, before: &Before) -> io::Result<Result<(), Error>> {
        let shown = self.shown(&file.key);
        let mut parts = Vec::new();
        for (number, start) in (1..).zip((0..file.body.length()).step_by(usize::try_from(PART).unwrap_or(usize::MAX))) {
            let body: Bytes = file.body.read(start, PART)?;
            let call = || async {
                let request = self.client.upload_part().bucket(&*self.bucket).key(&file.key).upload_id(upload);
                let request = request.part_number(number).body(ByteStream::from(body.clone()));
                let request = request.set_expected_bucket_owner(self.storage.owner());
                request.checksum_algorithm(ChecksumAlgorithm::Crc32).send().await.map_err(Error::from)
            };
            match self.retry.run(format!("UploadPart {number} of {shown}"), Error::verdict, call).await {
                Ok(part) => parts.push(
                    CompletedPart::builder()
                        .part_number(number)
                        .set_e_tag(part.e_tag)
                        .set_checksum_crc32(part.checksum_crc32)
                        .build(),
                ),
                Err(error) => return Ok(Err(error)),
            }
        }
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let (if_match, if_none_match) = before.conditions();
        let call = || async {
            let request = self.client.complete_multipart_upload().bucket(&*self.bucket).key(&file.key);
            let request = request.upload_id(upload).multipart_upload(parts.clone());
            let request = request.set_expected_bucket_owner(self.storage.owner());
            let request = request.set_if_match(if_match.clone()).set_if_none_match(if_none_match.clone());
            request.send().await.map_err(Error::from)
        };
        Ok(self.retry.run(format!("CompleteMultipartUpload {shown}"), verdict, call).await.map(drop))
    }

    /// The bytes of a small file with its `ETag`, if it exists.
    pub async fn get(&self, path: &str) -> io::Result<Option<(Bytes, String)>> {
        let key = self.key(path);
        let call = || async {
            let request = self.client.get_object().bucket(&*self.bucket).key(&key);
            let found = request.set_expected_bucket_owner(self.storage.owner()).send().await.map_err(Error::from)?;
            let etag = found.e_tag.unwrap_or_default();
            let body = found.body.collect().await.map_err(Error::interrupted)?;
            Ok((body.into_bytes(), etag))
        };
        match self.retry.run(format!("GetObject {}", self.shown(&key)), Error::verdict, call).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.code() == Some("NoSuchKey") => Ok(None),
            Err(error) => Err(failure::s3(format!("read {}", self.shown(&key)), error)),
        }
    }

    /// Stores a small file in place of the one with this `ETag`, or as a new one. Gives its `ETag`; `None` if somebody
    /// else stored one meanwhile.
    pub async fn put_small(&self, path: &str, body: Bytes, before: Option<&str>) -> io::Result<Option<String>> {
        let key = self.key(path);
        let before = before.map_or(Before::Nothing, |etag| Before::File(etag.to_owned()));
        let (if_match, if_none_match) = before.conditions();
        let call = || async {
            let request = self.client.put_object().bucket(&*self.bucket).key(&key).body(body.clone().into());
            let request = request.content_type("application/json").set_expected_bucket_owner(self.storage.owner());
            let request = request
                .set_server_side_encryption(self.storage.encryption())
                .set_ssekms_key_id(self.storage.sse_kms_key_id.clone());
            let request = request.set_if_match(if_match.clone()).set_if_none_match(if_none_match.clone());
            request.send().await.map_err(Error::from)
        };
        match self.retry.run(format!("PutObject {}", self.shown(&key)), verdict, call).await {
            Ok(stored) => Ok(Some(stored.e_tag.unwrap_or_default())),
            Err(error) if was_changed(&error) => Ok(None),
            Err(error) => Err(failure::s3(format!("store {}", self.shown(&key)), error)),
        }
    }

    /// The files whose paths begin so.
    pub async fn list(&self, prefix: &str) -> io::Result<Vec<Listed>> {
        let mut files = Vec::new();
        self.each_page(prefix, None, |page| {
            files.extend(page.contents().iter().filter_map(|found| {
                Some(Listed {
                    path: found.key()?.strip_prefix(&*self.prefix)?.to_owned(),
                    etag: found.e_tag()?.to_owned(),
                    bytes: found.size().unwrap_or_default().unsigned_abs(),
                    modified: found.last_modified().map_or(i64::MAX, aws_sdk_s3::primitives::DateTime::secs),
                })
            }));
        })
        .await?;
        Ok(files)
    }

    /// The folders in a folder: their paths, which end with `/`.
    pub async fn folders(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut folders = Vec::new();
        self.each_page(folder, Some("/"), |page| {
            let found = page.common_prefixes().iter().filter_map(|found| found.prefix()?.strip_prefix(&*self.prefix));
            folders.extend(found.map(ToOwned::to_owned));
        })
        .await?;
        Ok(folders)
    }

    async fn each_page(
        &self,
        prefix: &str,
        delimiter: Option<&str>,
        mut page: impl FnMut(&ListObjectsV2Output),
    ) -> io::Result<()> {
        let prefix = self.key(prefix);
        let mut token: Option<String> = None;
        loop {
            let call = || async {
                let request = self.client.list_objects_v2().bucket(&*self.bucket).prefix(&prefix);
                let request = request.set_delimiter(delimiter.map(ToOwned::to_owned));
                let request = request.set_expected_bucket_owner(self.storage.owner());
                request.set_continuation_token(token.clone()).send().await.map_err(Error::from)
            };
            let found = self.retry.run(format!("ListObjectsV2 {}", self.shown(&prefix)), Error::verdict, call).await;
            let found = found.map_err(|error| failure::s3(format!("list {}", self.shown(&prefix)), error))?;
            page(&found);
            token = found.next_continuation_token;
            if token.is_none() {
                return Ok(());
            }
        }
    }

    /// A temporary file with the bytes of a file that is still the one with this `ETag`, and the SHA-256 that it was
    /// stored with; `None` if it is not.
    pub async fn download(&self, path: &str, etag: &str) -> io::Result<Option<(std::fs::File, Option<String>)>> {
        let key = self.key(path);
        let call = || async {
            let request = self.client.get_object().bucket(&*self.bucket).key(&key).if_match(etag);
            let request = request.set_expected_bucket_owner(self.storage.owner());
            let mut found = request.send().await.map_err(Error::from)?;
            let written = async {
                let mut file = tempfile::tempfile()?;
                while let Some(bytes) = found.body.next().await {
                    file.write_all(&bytes.map_err(io::Error::other)?)?;
                }
                Ok::<_, io::Error>(file)
            };
            let file = written.await.map_err(Error::interrupted)?;
            Ok((file, found.metadata.as_mut().and_then(|all| all.remove(DIGEST))))
        };
        match self.retry.run(format!("GetObject {}", self.shown(&key)), Error::verdict, call).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if was_changed(&error) => Ok(None),
            Err(error) => Err(failure::s3(format!("read {}", self.shown(&key)), error)),
        }
    }

    /// The last bytes of a file that is still the one with this `ETag`, all of it if it has no more; `None` if it is not.
    pub async fn end(&self, path: &str, etag: &str, length: u64) -> io::Result<Option<Bytes>> {
        let key = self.key(path);
        let call = || async {
            let request = self.client.get_object().bucket(&*self.bucket).key(&key).if_match(etag);
            let request = request.range(format!("bytes=-{length}"));
            let found = request.set_expected_bucket_owner(self.storage.owner()).send().await.map_err(Error::from)?;
            Ok(found.body.collect().await.map_err(Error::interrupted)?.into_bytes())
        };
        match self.retry.run(format!("GetObject {}", self.shown(&key)), Error::verdict, call).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if was_changed(&error) => Ok(None),
            Err(error) => Err(failure::s3(format!("read the end of {}", self.shown(&key)), error)),
        }
    }

    /// Removes a file, if it exists.
    pub async fn delete(&self, path: &str) -> io::Result<()> {
        let key = self.key(path);
        let call = || async {
            let request = self.client.delete_object().bucket(&*self.bucket).key(&key);
            request.set_expected_bucket_owner(self.storage.owner()).send().await.map_err(Error::from)
        };
        let deleted = self.retry.run(format!("DeleteObject {}", self.shown(&key)), Error::verdict, call).await;
        deleted.map(drop).map_err(|error| failure::s3(format!("remove {}", self.shown(&key)), error))
    }

    fn key(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    fn shown(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket)
    }
}

impl File<'_> {
    fn metadata(&self) -> HashMap<String, String> {
        let version = self.version.map(|version| (VERSION.to_owned(), version.to_string()));
        version.into_iter().chain([(DIGEST.to_owned(), self.digest.clone())]).collect()
    }
}

impl Before {
    /// The conditions under which a file may be stored: `If-Match` and `If-None-Match`.
    fn conditions(&self) -> (Option<String>, Option<String>) {
        match self {
            Self::Nothing => (None, Some("*".to_owned())),
            Self::File(etag) => (Some(etag.clone()), None),
        }
    }
}

/// What an error of a conditional write means for a retry. A conflict with another write to the same name, which S3 has
/// not decided yet, passes.
fn verdict(error: &Error) -> Verdict {
    match error.code() {
        Some("ConditionalRequestConflict") => Verdict::Transient("conflict"),
        _ => error.verdict(),
    }
}

/// Whether the error of a conditional write says that something else is stored than was expected; `NoSuchKey` says that
/// it is gone.
fn was_changed(error: &Error) -> bool {
    error.status() == Some(412) || matches!(error.code(), Some("PreconditionFailed" | "NoSuchKey"))
}
