//! S3 in memory: `s3s` speaks the protocol and checks signatures, this module keeps buckets, objects and multipart uploads.
//!
//! Everything that S3 decides atomically (conditional writes, completing an upload) is decided under one lock, after the body has been
//! received and checked: a write that is refused leaves nothing behind.

use std::collections::BTreeMap;
use std::ops::{self, Bound};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::auth::SimpleAuth;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc64Nvme, Md5};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, Bucket as ListedBucket, Checksum, ChecksumAlgorithm,
    ChecksumMode, ChecksumType, CommonPrefix, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
    CompletedPart, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, CreateBucketInput,
    CreateBucketOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteBucketInput, DeleteBucketOutput,
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag, ETagCondition,
    EncodingType, GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput,
    HeadObjectOutput, ListBucketsInput, ListBucketsOutput, ListMultipartUploadsInput, ListMultipartUploadsOutput,
    ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, ListPartsInput, ListPartsOutput,
    Metadata, MetadataDirective, MultipartUpload, Object as ListedObject, ObjectStorageClass, Owner,
    Part as ListedPart, PutObjectInput, PutObjectOutput, Range, StorageClass, StreamingBlob, Timestamp,
    UploadPartInput, UploadPartOutput,
};
use s3s::service::S3ServiceBuilder;
use s3s::{Body, S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, TrailingHeaders, s3_error};
use tokio::net::TcpListener;

use crate::stack::http;

/// The smallest part of a multipart upload that may be followed by another: 5 MiB, as S3 has it.
const MIN_PART: usize = 5 * 1024 * 1024;

/// The largest page of any listing.
const MAX_PAGE: i32 = 1000;

/// What a listing with the encoding `url` leaves as it is.
const PLAIN_IN_LISTINGS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Serves `store` until dropped. Requests have to be signed with this key.
pub async fn serve(listener: TcpListener, store: Store, access_key: &str, secret_key: &str) {
    let mut service = S3ServiceBuilder::new(store);
    service.set_auth(SimpleAuth::from_single(access_key, secret_key));
    http::serve(listener, service.build()).await;
}

/// All buckets. Clones are the same store.
#[derive(Debug, Clone, Default)]
pub struct Store {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    buckets: BTreeMap<String, Bucket>,
    /// Makes upload ids unique, and ordered as S3 lists them: by initiation.
    uploads_begun: u64,
}

#[derive(Debug)]
struct Bucket {
    created: SystemTime,
    objects: BTreeMap<String, Object>,
    /// By key and upload id.
    uploads: BTreeMap<(String, String), Upload>,
}

#[derive(Debug, Clone)]
struct Object {
    body: Bytes,
    etag: String,
    modified: SystemTime,
    attributes: Attributes,
    /// What the sender declared, and was right about.
    checksum: Checksum,
    /// The lengths of the parts it was uploaded in; empty if it was put as a whole.
    parts: Vec<usize>,
}

#[derive(Debug, Clone, Default)]
struct Attributes {
    cache_control: Option<String>,
    content_disposition: Option<String>,
    content_encoding: Option<String>,
    content_language: Option<String>,
    content_type: Option<String>,
    metadata: Option<Metadata>,
}

/// The attributes that a request gives to its object.
macro_rules! attributes {
    ($input:ident) => {
        Attributes {
            cache_control: $input.cache_control,
            content_disposition: $input.content_disposition,
            content_encoding: $input.content_encoding,
            content_language: $input.content_language,
            content_type: $input.content_type,
            metadata: $input.metadata,
        }
    };
}

#[derive(Debug)]
struct Upload {
    initiated: SystemTime,
    attributes: Attributes,
    checksum_algorithm: Option<ChecksumAlgorithm>,
    checksum_type: Option<ChecksumType>,
    parts: BTreeMap<i32, Part>,
}

#[derive(Debug, Clone)]
struct Part {
    received: Received,
    modified: SystemTime,
}

impl Store {
    /// Creates a bucket, or leaves the one that is there as it is, as S3 does in us-east-1.
    pub fn create_bucket(&self, name: &str) {
        self.state().buckets.entry(name.to_owned()).or_insert_with(|| Bucket {
            created: SystemTime::now(),
            objects: BTreeMap::new(),
            uploads: BTreeMap::new(),
        });
    }

    /// Keys, sorted, with their bodies; `None` if there is no such bucket.
    pub fn objects(&self, bucket: &str) -> Option<Vec<(String, Bytes)>> {
        let state = self.state();
        let objects = &state.buckets.get(bucket)?.objects;
        Some(objects.iter().map(|(key, object)| (key.clone(), object.body.clone())).collect())
    }

    /// Keys of the uploads that are neither completed nor aborted, sorted; `None` if there is no such bucket.
    pub fn open_uploads(&self, bucket: &str) -> Option<Vec<String>> {
        let state = self.state();
        Some(state.buckets.get(bucket)?.uploads.keys().map(|(key, _)| key.clone()).collect())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn bucket(&mut self, name: &str) -> S3Result<&mut Bucket> {
        self.buckets.get_mut(name).ok_or_else(|| s3_error!(NoSuchBucket, "bucket {name} does not exist"))
    }
}

impl Bucket {
    fn object(&self, key: &str) -> S3Result<&Object> {
        self.objects.get(key).ok_or_else(|| s3_error!(NoSuchKey, "key {key} does not exist"))
    }

    fn upload(&mut self, key: &str, id: &str) -> S3Result<&mut Upload> {
        self.uploads.get_mut(&(key.to_owned(), id.to_owned())).ok_or_else(|| no_such_upload(key, id))
    }

    /// Whether a conditional write to `key` may go ahead.
    fn admit(
        &self,
        key: &str,
        if_match: Option<&ETagCondition>,
        if_none_match: Option<&ETagCondition>,
    ) -> S3Result<()> {
        let current = self.objects.get(key);
        match if_none_match {
            Some(condition) if !condition.is_any() => {
                return Err(s3_error!(NotImplemented, "a write takes If-None-Match only as *"));
            }
            Some(_) if current.is_some() => return Err(s3_error!(PreconditionFailed, "key {key} exists")),
            _ => {}
        }
        match (if_match, current) {
            (Some(_), None) => Err(s3_error!(NoSuchKey, "key {key} does not exist")),
            (Some(condition), Some(object)) if !names(condition, object) => {
                Err(s3_error!(PreconditionFailed, "key {key} has another ETag"))
            }
            _ => Ok(()),
        }
    }
}

fn no_such_upload(key: &str, id: &str) -> S3Error {
    s3_error!(
        NoSuchUpload,
        "upload {id} of key {key} does not exist: it was never begun, or it was completed or aborted"
    )
}

fn names(condition: &ETagCondition, object: &Object) -> bool {
    condition.as_etag().is_none_or(|etag| etag.value() == object.etag)
}

fn page(asked: Option<i32>) -> S3Result<usize> {
    usize::try_from(asked.unwrap_or(MAX_PAGE).min(MAX_PAGE))
        .map_err(|_| s3_error!(InvalidArgument, "the size of a page must not be negative"))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

fn count(length: usize) -> Option<i64> {
    i64::try_from(length).ok()
}

/// A body that has arrived whole and agrees with every checksum that was declared for it.
#[derive(Debug, Clone)]
struct Received {
    bytes: Bytes,
    md5: [u8; 16],
    checksum: Checksum,
}

impl Received {
    fn etag(&self) -> ETag {
        ETag::Strong(hex(&self.md5))
    }
}

/// Receives a body. Checksums come in headers, or in trailers after the body.
async fn receive(
    body: Option<StreamingBlob>,
    mut declared: Checksum,
    content_md5: Option<&str>,
    trailers: Option<&TrailingHeaders>,
) -> S3Result<Received> {
    let bytes = match body {
        None => Bytes::new(),
        Some(body) => match Body::from(body).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => {
                let mut refusal =
                    s3_error!(IncompleteBody, "the body ended early or does not match its signature: {error}");
                refusal.set_source(error);
                return Err(refusal);
            }
        },
    };
    if let Some(trailers) = trailers.and_then(TrailingHeaders::take) {
        let trailer = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
        declared.checksum_crc32 = trailer("x-amz-checksum-crc32").or(declared.checksum_crc32);
        declared.checksum_crc32c = trailer("x-amz-checksum-crc32c").or(declared.checksum_crc32c);
        declared.checksum_crc64nvme = trailer("x-amz-checksum-crc64nvme").or(declared.checksum_crc64nvme);
        declared.checksum_sha1 = trailer("x-amz-checksum-sha1").or(declared.checksum_sha1);
        declared.checksum_sha256 = trailer("x-amz-checksum-sha256").or(declared.checksum_sha256);
    }
    well_formed(&declared, content_md5)?;
    let mut hasher = ChecksumHasher {
        crc32: declared.checksum_crc32.is_some().then(Default::default),
        crc32c: declared.checksum_crc32c.is_some().then(Default::default),
        sha1: declared.checksum_sha1.is_some().then(Default::default),
        sha256: declared.checksum_sha256.is_some().then(Default::default),
        crc64nvme: declared.checksum_crc64nvme.is_some().then(Default::default),
    };
    hasher.update(&bytes);
    let mut actual = hasher.finalize();
    let md5 = Md5::checksum(&bytes);
    let actual_md5 = content_md5.map(|_| BASE64_STANDARD.encode(md5));
    for (name, declared, actual) in [
        ("CRC32", declared.checksum_crc32.as_deref(), actual.checksum_crc32.as_deref()),
        ("CRC32C", declared.checksum_crc32c.as_deref(), actual.checksum_crc32c.as_deref()),
        ("CRC64NVME", declared.checksum_crc64nvme.as_deref(), actual.checksum_crc64nvme.as_deref()),
        ("SHA1", declared.checksum_sha1.as_deref(), actual.checksum_sha1.as_deref()),
        ("SHA256", declared.checksum_sha256.as_deref(), actual.checksum_sha256.as_deref()),
        ("Content-MD5", content_md5, actual_md5.as_deref()),
    ] {
        if declared != actual {
            let (declared, actual) = (declared.unwrap_or_default(), actual.unwrap_or_default());
            return Err(s3_error!(BadDigest, "the {name} you specified is {declared}, that of the body is {actual}"));
        }
    }
    if !algorithms(&actual).is_empty() {
        actual.checksum_type = Some(ChecksumType::from_static(ChecksumType::FULL_OBJECT));
    }
    Ok(Received { bytes, md5, checksum: actual })
}

/// The checksum that S3 gives to an upload for which none was asked.
fn own_checksum(body: &Bytes) -> Checksum {
    let mut hasher =
        ChecksumHasher { crc32: None, crc32c: None, sha1: None, sha256: None, crc64nvme: Some(Crc64Nvme::default()) };
    hasher.update(body);
    let full = Some(ChecksumType::from_static(ChecksumType::FULL_OBJECT));
    Checksum { checksum_type: full, ..hasher.finalize() }
}

/// The checksum of the parts' checksums and how many there are; none if a part came without. Of CRC32 and CRC32C.
fn composite(upload: &Upload, named: &[CompletedPart], algorithm: &ChecksumAlgorithm) -> Checksum {
    let is_castagnoli = algorithm.as_str() == ChecksumAlgorithm::CRC32C;
    let of = |checksum: Checksum| if is_castagnoli { checksum.checksum_crc32c } else { checksum.checksum_crc32 };
    let mut joined = Vec::new();
    for name in named {
        let part = name.part_number.and_then(|number| upload.parts.get(&number));
        let sum = part.and_then(|part| BASE64_STANDARD.decode(of(part.received.checksum.clone())?).ok());
        let Some(sum) = sum else { return Checksum::default() };
        joined.extend(sum);
    }
    let mut hasher = ChecksumHasher {
        crc32: (!is_castagnoli).then(Default::default),
        crc32c: is_castagnoli.then(Default::default),
        sha1: None,
        sha256: None,
        crc64nvme: None,
    };
    hasher.update(&joined);
    let sum = of(hasher.finalize()).map(|sum| format!("{sum}-{}", named.len()));
    let (crc32, crc32c) = if is_castagnoli { (None, sum) } else { (sum, None) };
    let kind = Some(ChecksumType::from_static(ChecksumType::COMPOSITE));
    Checksum { checksum_crc32: crc32, checksum_crc32c: crc32c, checksum_type: kind, ..Default::default() }
}

/// Refuses declared checksums that are none: not base64, or not of their algorithm's length.
fn well_formed(declared: &Checksum, content_md5: Option<&str>) -> S3Result<()> {
    let is = |text: &str, length: usize| BASE64_STANDARD.decode(text).is_ok_and(|bytes| bytes.len() == length);
    if content_md5.is_some_and(|md5| !is(md5, 16)) {
        return Err(s3_error!(InvalidDigest, "the Content-MD5 you specified is not an MD5 in base64"));
    }
    for (name, value, length) in [
        ("CRC32", &declared.checksum_crc32, 4),
        ("CRC32C", &declared.checksum_crc32c, 4),
        ("CRC64NVME", &declared.checksum_crc64nvme, 8),
        ("SHA1", &declared.checksum_sha1, 20),
        ("SHA256", &declared.checksum_sha256, 32),
    ] {
        if value.as_ref().is_some_and(|value| !is(value, length)) {
            return Err(s3_error!(InvalidRequest, "the {name} you specified is not one in base64"));
        }
    }
    Ok(())
}

/// The algorithms of the checksums that there are.
fn algorithms(checksum: &Checksum) -> Vec<ChecksumAlgorithm> {
    let named = [
        (checksum.checksum_crc32.is_some(), ChecksumAlgorithm::CRC32),
        (checksum.checksum_crc32c.is_some(), ChecksumAlgorithm::CRC32C),
        (checksum.checksum_crc64nvme.is_some(), ChecksumAlgorithm::CRC64NVME),
        (checksum.checksum_sha1.is_some(), ChecksumAlgorithm::SHA1),
        (checksum.checksum_sha256.is_some(), ChecksumAlgorithm::SHA256),
    ];
    named.into_iter().filter(|(there, _)| *there).map(|(_, name)| ChecksumAlgorithm::from_static(name)).collect()
}

/// Puts the parts that a completion names together, in its order: the body, its etag, and the length of each part.
fn assemble(upload: &Upload, named: &[CompletedPart]) -> S3Result<(Bytes, String, Vec<usize>)> {
    if named.is_empty() {
        return Err(s3_error!(InvalidRequest, "a completion names at least one part"));
    }
    if !named.is_sorted_by(|a, b| a.part_number < b.part_number) {
        return Err(s3_error!(InvalidPartOrder, "parts have to be named in ascending order, each once"));
    }
    let mut body = Vec::new();
    let mut digests = Md5::new();
    let mut lengths = Vec::new();
    for (index, name) in named.iter().enumerate() {
        let number = name.part_number.unwrap_or_default();
        let part = upload.parts.get(&number).map(|part| &part.received);
        let part = part.filter(|part| {
            let agrees = |named: &Option<String>, stored: &Option<String>| named.is_none() || named == stored;
            name.e_tag.as_ref().is_some_and(|etag| *etag == part.etag())
                && agrees(&name.checksum_crc32, &part.checksum.checksum_crc32)
                && agrees(&name.checksum_crc32c, &part.checksum.checksum_crc32c)
                && agrees(&name.checksum_crc64nvme, &part.checksum.checksum_crc64nvme)
                && agrees(&name.checksum_sha1, &part.checksum.checksum_sha1)
                && agrees(&name.checksum_sha256, &part.checksum.checksum_sha256)
        });
        let Some(part) = part else {
            return Err(s3_error!(InvalidPart, "part {number} was not uploaded, or has another ETag or checksum"));
        };
        if part.bytes.len() < MIN_PART && index + 1 < named.len() {
            return Err(s3_error!(EntityTooSmall, "part {number} has {} bytes, fewer than 5 MiB", part.bytes.len()));
        }
        body.extend_from_slice(&part.bytes);
        digests.update(&part.md5);
        lengths.push(part.bytes.len());
    }
    Ok((body.into(), format!("{}-{}", hex(&digests.finalize()), named.len()), lengths))
}

/// What a GET or HEAD of an object, or of a range or a part of it, gives without the body, and where in the object that body is.
fn describe(
    object: &Object,
    range: Option<Range>,
    part: Option<i32>,
    mode: Option<&ChecksumMode>,
) -> S3Result<(GetObjectOutput, ops::Range<usize>)> {
    let full = object.body.len();
    let mut place = 0..full;
    let mut parts_count = None;
    if let Some(range) = range {
        let checked = range.check(full as u64)?;
        let position = |at: u64| usize::try_from(at).map_or(full, |at| at.min(full));
        place = position(checked.start)..position(checked.end);
    } else if let Some(part) = part {
        let lengths = if object.parts.is_empty() { &[full][..] } else { &object.parts[..] };
        let Some(at) = usize::try_from(part - 1).ok().filter(|at| *at < lengths.len()) else {
            let mut refusal = S3Error::new(S3ErrorCode::Custom("InvalidPartNumber".into()));
            refusal.set_status_code(StatusCode::RANGE_NOT_SATISFIABLE);
            refusal.set_message(format!("the object has {} parts", lengths.len()));
            return Err(refusal);
        };
        let start = lengths[..at].iter().sum();
        place = start..start + lengths[at];
        parts_count = i32::try_from(object.parts.len()).ok().filter(|count| *count > 0);
    }
    let is_whole = place == (0..full);
    let shown = is_whole && mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED);
    let checksum = if shown { object.checksum.clone() } else { Checksum::default() };
    let attributes = object.attributes.clone();
    let output = GetObjectOutput {
        accept_ranges: Some("bytes".into()),
        cache_control: attributes.cache_control,
        checksum_crc32: checksum.checksum_crc32,
        checksum_crc32c: checksum.checksum_crc32c,
        checksum_crc64nvme: checksum.checksum_crc64nvme,
        checksum_sha1: checksum.checksum_sha1,
        checksum_sha256: checksum.checksum_sha256,
        checksum_type: checksum.checksum_type,
        content_disposition: attributes.content_disposition,
        content_encoding: attributes.content_encoding,
        content_language: attributes.content_language,
        content_length: count(place.len()),
        content_range: (range.is_some() || (part.is_some() && full > 0))
            .then(|| format!("bytes {}-{}/{full}", place.start, place.end.saturating_sub(1))),
        content_type: attributes.content_type.or_else(|| Some("binary/octet-stream".into())),
        e_tag: Some(ETag::Strong(object.etag.clone())),
        last_modified: Some(object.modified.into()),
        metadata: attributes.metadata,
        parts_count,
        ..Default::default()
    };
    Ok((output, place))
}

/// A name as a listing shows it.
fn shown(name: String, encoding: Option<&EncodingType>) -> String {
    match encoding {
        Some(encoding) if encoding.as_str() == EncodingType::URL => {
            utf8_percent_encode(&name, PLAIN_IN_LISTINGS).to_string()
        }
        _ => name,
    }
}

/// Whether a conditional read may go ahead.
fn admit_read(
    object: &Object,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<()> {
    if if_match.is_some_and(|condition| !names(condition, object)) {
        return Err(s3_error!(PreconditionFailed, "the object has another ETag"));
    }
    if if_none_match.is_some_and(|condition| names(condition, object)) {
        return Err(S3Error::new(S3ErrorCode::NotModified));
    }
    Ok(())
}

#[async_trait::async_trait]
impl S3 for Store {
    async fn create_bucket(&self, request: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        Self::create_bucket(self, &request.input.bucket);
        let location = Some(format!("/{}", request.input.bucket));
        Ok(S3Response::new(CreateBucketOutput { location }))
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.state().bucket(&request.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn delete_bucket(&self, request: S3Request<DeleteBucketInput>) -> S3Result<S3Response<DeleteBucketOutput>> {
        let name = request.input.bucket;
        let mut state = self.state();
        if !state.bucket(&name)?.objects.is_empty() {
            return Err(s3_error!(BucketNotEmpty, "bucket {name} has objects"));
        }
        state.buckets.remove(&name);
        Ok(S3Response::new(DeleteBucketOutput::default()))
    }

    async fn list_buckets(&self, _: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        let state = self.state();
        let listed = state.buckets.iter().map(|(name, bucket)| ListedBucket {
            creation_date: Some(bucket.created.into()),
            name: Some(name.clone()),
            ..Default::default()
        });
        Ok(S3Response::new(ListBucketsOutput { buckets: Some(listed.collect()), ..Default::default() }))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        self.state().bucket(&input.bucket)?;
        let declared = Checksum {
            checksum_crc32: input.checksum_crc32,
            checksum_crc32c: input.checksum_crc32c,
            checksum_crc64nvme: input.checksum_crc64nvme,
            checksum_sha1: input.checksum_sha1,
            checksum_sha256: input.checksum_sha256,
            ..Default::default()
        };
        let received =
            receive(input.body, declared, input.content_md5.as_deref(), request.trailing_headers.as_ref()).await?;
        let etag = received.etag();
        let checksum = received.checksum.clone();
        let mut state = self.state();
        let bucket = state.bucket(&input.bucket)?;
        bucket.admit(&input.key, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let object = Object {
            etag: hex(&received.md5),
            body: received.bytes,
            modified: SystemTime::now(),
            attributes: attributes!(input),
            checksum: received.checksum,
            parts: Vec::new(),
        };
        bucket.objects.insert(input.key, object);
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(etag),
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            checksum_type: checksum.checksum_type,
            ..Default::default()
        }))
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = request.input;
        let CopySource::Bucket { bucket: from, key, .. } = &input.copy_source else {
            return Err(s3_error!(NotImplemented, "copying from an access point"));
        };
        let mut state = self.state();
        let mut object = state.bucket(from)?.object(key)?.clone();
        if input.copy_source_if_match.as_ref().is_some_and(|condition| !names(condition, &object))
            || input.copy_source_if_none_match.as_ref().is_some_and(|condition| names(condition, &object))
        {
            return Err(s3_error!(PreconditionFailed, "the ETag of {key} does not allow the copy"));
        }
        let directive = input.metadata_directive.as_ref().map(MetadataDirective::as_str);
        if directive == Some(MetadataDirective::REPLACE) {
            object.attributes = attributes!(input);
        } else if **from == *input.bucket && **key == *input.key {
            return Err(s3_error!(InvalidRequest, "a copy of an object onto itself has to change its attributes"));
        }
        object.modified = SystemTime::now();
        let result = CopyObjectResult {
            checksum_crc32: object.checksum.checksum_crc32.clone(),
            checksum_crc32c: object.checksum.checksum_crc32c.clone(),
            checksum_crc64nvme: object.checksum.checksum_crc64nvme.clone(),
            checksum_sha1: object.checksum.checksum_sha1.clone(),
            checksum_sha256: object.checksum.checksum_sha256.clone(),
            checksum_type: object.checksum.checksum_type.clone(),
            e_tag: Some(ETag::Strong(object.etag.clone())),
            last_modified: Some(object.modified.into()),
        };
        state.bucket(&input.bucket)?.objects.insert(input.key, object);
        Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let mut state = self.state();
        let object = state.bucket(&input.bucket)?.object(&input.key)?;
        admit_read(object, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let (mut output, place) = describe(object, input.range, input.part_number, input.checksum_mode.as_ref())?;
        output.body = Some(StreamingBlob::from(Body::from(object.body.slice(place))));
        Ok(S3Response::new(output))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        let mut state = self.state();
        let object = state.bucket(&input.bucket)?.object(&input.key)?;
        admit_read(object, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let (described, _) = describe(object, input.range, input.part_number, input.checksum_mode.as_ref())?;
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: described.accept_ranges,
            cache_control: described.cache_control,
            checksum_crc32: described.checksum_crc32,
            checksum_crc32c: described.checksum_crc32c,
            checksum_crc64nvme: described.checksum_crc64nvme,
            checksum_sha1: described.checksum_sha1,
            checksum_sha256: described.checksum_sha256,
            checksum_type: described.checksum_type,
            content_disposition: described.content_disposition,
            content_encoding: described.content_encoding,
            content_language: described.content_language,
            content_length: described.content_length,
            content_range: described.content_range,
            content_type: described.content_type,
            e_tag: described.e_tag,
            last_modified: described.last_modified,
            metadata: described.metadata,
            parts_count: described.parts_count,
            ..Default::default()
        }))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.state().bucket(&request.input.bucket)?.objects.remove(&request.input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let mut state = self.state();
        let bucket = state.bucket(&request.input.bucket)?;
        let mut deleted = Vec::new();
        for named in request.input.delete.objects {
            bucket.objects.remove(&named.key);
            deleted.push(DeletedObject { key: Some(named.key), ..Default::default() });
        }
        let quiet = request.input.delete.quiet.unwrap_or_default();
        Ok(S3Response::new(DeleteObjectsOutput { deleted: (!quiet).then_some(deleted), ..Default::default() }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let limit = page(input.max_keys)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let delimiter = input.delimiter.clone().filter(|delimiter| !delimiter.is_empty());
        // The last key or common prefix of the page before: opaque to clients, and safe in XML whatever it holds.
        let after = match &input.continuation_token {
            None => None,
            Some(token) => {
                let last = BASE64_STANDARD.decode(token).ok().and_then(|last| String::from_utf8(last).ok());
                Some(last.ok_or_else(|| s3_error!(InvalidArgument, "the continuation token is not one of ours"))?)
            }
        };
        let start_after = input.start_after.clone().filter(|_| after.is_none());

        let encoding = input.encoding_type.as_ref();
        let owner = input
            .fetch_owner
            .unwrap_or_default()
            .then(|| Owner { display_name: Some("embedded".into()), id: Some("embedded".into()) });

        let mut state = self.state();
        let bucket = state.bucket(&input.bucket)?;
        let (mut contents, mut common_prefixes) = (Vec::new(), Vec::new());
        let mut last: Option<String> = None;
        let mut is_truncated = false;
        let from = (Bound::Included(prefix.as_str()), Bound::Unbounded);
        for (key, object) in bucket.objects.range::<str, _>(from).take_while(|(key, _)| key.starts_with(&prefix)) {
            if start_after.as_ref().is_some_and(|start| key <= start) {
                continue;
            }
            let end =
                delimiter.as_ref().and_then(|d| key[prefix.len()..].find(d).map(|at| prefix.len() + at + d.len()));
            let entry = &key[..end.unwrap_or(key.len())];
            if after.as_deref().is_some_and(|after| entry <= after) || last.as_deref() == Some(entry) {
                continue;
            }
            if contents.len() + common_prefixes.len() == limit {
                is_truncated = limit > 0;
                break;
            }
            last = Some(entry.to_owned());
            if end.is_some() {
                common_prefixes.push(CommonPrefix { prefix: Some(shown(entry.to_owned(), encoding)) });
            } else {
                contents.push(ListedObject {
                    key: Some(shown(entry.to_owned(), encoding)),
                    checksum_algorithm: Some(algorithms(&object.checksum)).filter(|named| !named.is_empty()),
                    checksum_type: object.checksum.checksum_type.clone(),
                    owner: owner.clone(),
                    storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
                    size: count(object.body.len()),
                    e_tag: Some(ETag::Strong(object.etag.clone())),
                    last_modified: Some(object.modified.into()),
                    ..Default::default()
                });
            }
        }
        Ok(S3Response::new(ListObjectsV2Output {
            key_count: i32::try_from(contents.len() + common_prefixes.len()).ok(),
            next_continuation_token: last.filter(|_| is_truncated).map(|last| BASE64_STANDARD.encode(last)),
            is_truncated: Some(is_truncated),
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            name: Some(input.bucket),
            prefix: Some(shown(prefix, encoding)),
            delimiter: delimiter.map(|delimiter| shown(delimiter, encoding)),
            max_keys: Some(input.max_keys.unwrap_or(MAX_PAGE)),
            continuation_token: input.continuation_token,
            start_after: input.start_after.map(|start| shown(start, encoding)),
            encoding_type: input.encoding_type,
            ..Default::default()
        }))
    }

    async fn list_objects(&self, request: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
        let marker = request.input.marker.clone().unwrap_or_default();
        let has_delimiter = request.input.delimiter.as_ref().is_some_and(|delimiter| !delimiter.is_empty());
        // A marker may be a common prefix, which then is not listed again: so is what a continuation token stands for.
        let request = request.map_input(|input| ListObjectsV2Input {
            continuation_token: input.marker.as_ref().map(|marker| BASE64_STANDARD.encode(marker)),
            fetch_owner: Some(true),
            start_after: None,
            ..input.into()
        });
        let page = self.list_objects_v2(request).await?.output;
        let next = page.next_continuation_token.and_then(|token| BASE64_STANDARD.decode(token).ok());
        let next = next.and_then(|next| String::from_utf8(next).ok()).filter(|_| has_delimiter);
        Ok(S3Response::new(ListObjectsOutput {
            next_marker: next.map(|next| shown(next, page.encoding_type.as_ref())),
            marker: Some(shown(marker, page.encoding_type.as_ref())),
            is_truncated: page.is_truncated,
            contents: page.contents,
            common_prefixes: page.common_prefixes,
            name: page.name,
            prefix: page.prefix,
            delimiter: page.delimiter,
            max_keys: page.max_keys,
            encoding_type: page.encoding_type,
            ..Default::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = request.input;
        let mut state = self.state();
        state.bucket(&input.bucket)?;
        state.uploads_begun += 1;
        let id = format!("upload-{:016x}", state.uploads_begun);
        let composite = || ChecksumType::from_static(ChecksumType::COMPOSITE);
        let checksum_type = input.checksum_type.or_else(|| input.checksum_algorithm.is_some().then(composite));
        let upload = Upload {
            initiated: SystemTime::now(),
            attributes: attributes!(input),
            checksum_algorithm: input.checksum_algorithm.clone(),
            checksum_type: checksum_type.clone(),
            parts: BTreeMap::new(),
        };
        state.bucket(&input.bucket)?.uploads.insert((input.key.clone(), id.clone()), upload);
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            checksum_algorithm: input.checksum_algorithm,
            checksum_type,
            ..Default::default()
        }))
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let input = request.input;
        if !(1..=10_000).contains(&input.part_number) {
            return Err(s3_error!(InvalidArgument, "part number {} is not within 1 and 10,000", input.part_number));
        }
        self.state().bucket(&input.bucket)?.upload(&input.key, &input.upload_id)?;
        let declared = Checksum {
            checksum_crc32: input.checksum_crc32,
            checksum_crc32c: input.checksum_crc32c,
            checksum_crc64nvme: input.checksum_crc64nvme,
            checksum_sha1: input.checksum_sha1,
            checksum_sha256: input.checksum_sha256,
            ..Default::default()
        };
        let received =
            receive(input.body, declared, input.content_md5.as_deref(), request.trailing_headers.as_ref()).await?;
        let etag = received.etag();
        let checksum = received.checksum.clone();
        let part = Part { received, modified: SystemTime::now() };
        // The upload may have been completed or aborted while the body arrived.
        self.state().bucket(&input.bucket)?.upload(&input.key, &input.upload_id)?.parts.insert(input.part_number, part);
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(etag),
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            ..Default::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let named = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let mut state = self.state();
        let bucket = state.bucket(&input.bucket)?;
        let upload = bucket.upload(&input.key, &input.upload_id)?;
        let (body, etag, parts) = assemble(upload, &named)?;
        let attributes = upload.attributes.clone();
        let checksum = match (&upload.checksum_algorithm, &upload.checksum_type) {
            (None, _) => own_checksum(&body),
            (Some(algorithm), Some(kind))
                if matches!(algorithm.as_str(), ChecksumAlgorithm::CRC32 | ChecksumAlgorithm::CRC32C)
                    && kind.as_str() == ChecksumType::COMPOSITE =>
            {
                composite(upload, &named, algorithm)
            }
            _ => Checksum::default(),
        };
        bucket.admit(&input.key, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let object = Object {
            body,
            etag: etag.clone(),
            modified: SystemTime::now(),
            attributes,
            checksum: checksum.clone(),
            parts,
        };
        bucket.uploads.remove(&(input.key.clone(), input.upload_id));
        bucket.objects.insert(input.key.clone(), object);
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(etag)),
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_type: checksum.checksum_type,
            ..Default::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = request.input;
        let mut state = self.state();
        let upload = (input.key, input.upload_id);
        match state.bucket(&input.bucket)?.uploads.remove(&upload) {
            Some(_) => Ok(S3Response::new(AbortMultipartUploadOutput::default())),
            None => Err(no_such_upload(&upload.0, &upload.1)),
        }
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = request.input;
        let limit = page(input.max_uploads)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let key_marker = input.key_marker.clone().unwrap_or_default();
        let id_marker = input.upload_id_marker.clone();
        let mut state = self.state();
        let bucket = state.bucket(&input.bucket)?;
        // Without an id the marker is past all uploads of its key. An id without a key counts for nothing.
        let after = |key: &str, id: &str| {
            key > key_marker.as_str() || (key == key_marker && id_marker.as_deref().is_some_and(|marker| id > marker))
        };
        let delimiter = input.delimiter.clone().filter(|delimiter| !delimiter.is_empty());
        let (mut uploads, mut common_prefixes) = (Vec::new(), Vec::<String>::new());
        let (mut last, mut is_truncated) = (None, false);
        for ((key, id), upload) in
            bucket.uploads.iter().filter(|((key, id), _)| key.starts_with(&prefix) && after(key, id))
        {
            let end =
                delimiter.as_ref().and_then(|d| key[prefix.len()..].find(d).map(|at| prefix.len() + at + d.len()));
            let folder = end.map(|end| &key[..end]);
            if folder.is_some_and(|folder| folder == key_marker || common_prefixes.last().is_some_and(|l| l == folder))
            {
                continue;
            }
            if uploads.len() + common_prefixes.len() == limit {
                is_truncated = limit > 0;
                break;
            }
            if let Some(folder) = folder {
                last = Some((folder.to_owned(), None));
                common_prefixes.push(folder.to_owned());
                continue;
            }
            last = Some((key.clone(), Some(id.clone())));
            uploads.push(MultipartUpload {
                key: Some(key.clone()),
                upload_id: Some(id.clone()),
                checksum_algorithm: upload.checksum_algorithm.clone(),
                checksum_type: upload.checksum_type.clone(),
                storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
                initiated: Some(Timestamp::from(upload.initiated)),
                ..Default::default()
            });
        }
        let (next_key_marker, next_upload_id_marker) = last.map_or((None, None), |(key, id)| (Some(key), id));
        let common_prefixes = common_prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(prefix) }).collect();
        Ok(S3Response::new(ListMultipartUploadsOutput {
            next_key_marker: Some(next_key_marker.unwrap_or_default()),
            next_upload_id_marker,
            common_prefixes: Some(common_prefixes),
            delimiter,
            is_truncated: Some(is_truncated),
            uploads: Some(uploads),
            bucket: Some(input.bucket),
            prefix: input.prefix,
            key_marker: Some(key_marker),
            upload_id_marker: input.upload_id_marker,
            max_uploads: Some(input.max_uploads.unwrap_or(MAX_PAGE)),
            ..Default::default()
        }))
    }

    async fn list_parts(&self, request: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        let input = request.input;
        let limit = page(input.max_parts)?;
        let marker = input.part_number_marker.unwrap_or_default();
        let mut state = self.state();
        let upload = state.bucket(&input.bucket)?.upload(&input.key, &input.upload_id)?;
        let with_checksums = upload.checksum_algorithm.is_some();
        let mut found = upload.parts.range(marker.saturating_add(1)..);
        let parts: Vec<_> = found
            .by_ref()
            .take(limit)
            .map(|(number, part)| ListedPart {
                part_number: Some(*number),
                size: count(part.received.bytes.len()),
                e_tag: Some(part.received.etag()),
                last_modified: Some(part.modified.into()),
                checksum_crc32: part.received.checksum.checksum_crc32.clone().filter(|_| with_checksums),
                checksum_crc32c: part.received.checksum.checksum_crc32c.clone().filter(|_| with_checksums),
                ..Default::default()
            })
            .collect();
        let is_truncated = limit > 0 && found.next().is_some();
        Ok(S3Response::new(ListPartsOutput {
            next_part_number_marker: parts.last().and_then(|last| last.part_number),
            is_truncated: Some(is_truncated),
            parts: Some(parts),
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            part_number_marker: Some(marker),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            max_parts: Some(input.max_parts.unwrap_or(MAX_PAGE)),
            ..Default::default()
        }))
    }
}
