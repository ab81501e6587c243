//! S3 in memory: `s3s` speaks the protocol and checks signatures, and this module keeps buckets, objects and multipart
//! uploads.
//!
//! Everything that S3 decides atomically (conditional writes, completing an upload) is decided under one lock, after
//! the body has been received and checked. A write that is refused therefore leaves nothing behind.

mod checksum;
mod listing;
mod multipart;
mod notifications;
mod objects;
mod owner;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use hyper::body::Bytes;
use hyper::http::Extensions;
use hyper::{HeaderMap, Method, Uri};
use s3s::auth::SimpleAuth;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, Bucket as ListedBucket, Checksum, ChecksumAlgorithm,
    ChecksumType, CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput,
    CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteBucketInput,
    DeleteBucketOutput, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject,
    ETagCondition, GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput,
    HeadObjectOutput, ListBucketsInput, ListBucketsOutput, ListMultipartUploadsInput, ListMultipartUploadsOutput,
    ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, ListPartsInput, ListPartsOutput,
    Metadata, PutObjectInput, PutObjectOutput, StreamingBlob, UploadPartInput, UploadPartOutput,
};
use s3s::service::S3ServiceBuilder;
use s3s::{Body, S3, S3Error, S3Request, S3Response, S3Result, s3_error};
use tokio::net::TcpListener;

use super::sqs::Queues;
use crate::stack::{Notification, http};

/// Serves `store` until this future is dropped. Requests have to be signed with this key.
pub async fn serve(listener: TcpListener, store: Store, access_key: &str, secret_key: &str) {
    let mut service = S3ServiceBuilder::new(store);
    service.set_auth(SimpleAuth::from_single(access_key, secret_key));
    service.set_access(owner::Owned);
    http::serve(listener, service.build()).await;
}

/// All buckets. Clones share the same store.
#[derive(Debug, Clone, Default)]
pub struct Store {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    buckets: BTreeMap<String, Bucket>,
    /// Counts uploads. It makes their ids unique, and orders them by the time of their initiation, as S3 lists them.
    uploads_begun: u64,
    /// Counts the objects that were created, to order the messages that announce them.
    created: u64,
    /// The queues that notifications name.
    queues: Queues,
}

#[derive(Debug)]
struct Bucket {
    created: SystemTime,
    objects: BTreeMap<String, Object>,
    notifications: Vec<Notification>,
    /// The unfinished uploads, by key and upload id.
    uploads: BTreeMap<(String, String), Upload>,
}

#[derive(Debug, Clone)]
struct Object {
    body: Bytes,
    etag: String,
    modified: SystemTime,
    attributes: Attributes,
    /// The checksums that the sender declared, which were checked. An object that was uploaded in parts may have one
    /// that S3 computed instead.
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

/// Takes from a request the attributes that it gives to its object.
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
use attributes;

/// The checksums that a request declares for its body.
macro_rules! declared {
    ($input:ident) => {
        Checksum {
            checksum_crc32: $input.checksum_crc32,
            checksum_crc32c: $input.checksum_crc32c,
            checksum_crc64nvme: $input.checksum_crc64nvme,
            checksum_sha1: $input.checksum_sha1,
            checksum_sha256: $input.checksum_sha256,
            ..Default::default()
        }
    };
}
use declared;

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
    received: checksum::Received,
    modified: SystemTime,
}

impl Store {
    /// A store whose buckets can announce their objects to these queues.
    pub(crate) fn announcing_to(queues: Queues) -> Self {
        Self { state: Arc::new(Mutex::new(State { queues, ..State::default() })) }
    }

    /// Creates a bucket. A bucket that exists already is left unchanged, as S3 does in us-east-1.
    pub fn create_bucket(&self, name: &str) {
        self.state().buckets.entry(name.to_owned()).or_insert_with(|| Bucket {
            created: SystemTime::now(),
            objects: BTreeMap::new(),
            notifications: Vec::new(),
            uploads: BTreeMap::new(),
        });
    }

    /// Puts an object as a client does. The error says why S3 would refuse it.
    pub(crate) async fn put(&self, bucket: &str, key: &str, body: Vec<u8>) -> Result<(), String> {
        let input = PutObjectInput::builder().bucket(bucket.to_owned()).key(key.to_owned());
        let input = input.body(Some(StreamingBlob::from(Body::from(Bytes::from(body))))).build();
        let request = S3Request {
            input: input.map_err(|error| error.to_string())?,
            method: Method::PUT,
            uri: Uri::default(),
            headers: HeaderMap::default(),
            extensions: Extensions::default(),
            credentials: None,
            region: None,
            service: None,
            trailing_headers: None,
        };
        self.put_object(request).await.map(drop).map_err(|error| error.to_string())
    }

    /// The keys of a bucket, sorted, each with its body. It is `None` if there is no such bucket.
    pub fn objects(&self, bucket: &str) -> Option<Vec<(String, Bytes)>> {
        let state = self.state();
        let objects = &state.buckets.get(bucket)?.objects;
        Some(objects.iter().map(|(key, object)| (key.clone(), object.body.clone())).collect())
    }

    /// The keys of the uploads that are neither completed nor aborted, sorted. It is `None` if there is no such bucket.
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

    /// Returns an error if the condition of a write to `key` is not met.
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

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

fn count(length: usize) -> Option<i64> {
    i64::try_from(length).ok()
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
        objects::put(self, request).await
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        objects::copy(self, request.input)
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        objects::get(self, &request.input)
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        objects::head(self, &request.input)
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
        listing::list_objects_v2(self, request.input)
    }

    async fn list_objects(&self, request: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
        listing::list_objects(self, request.input)
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        multipart::create(self, request.input)
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        multipart::upload_part(self, request).await
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        multipart::complete(self, request.input)
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        multipart::abort(self, request.input)
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        listing::list_uploads(self, request.input)
    }

    async fn list_parts(&self, request: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        multipart::list_parts(self, request.input)
    }
}
