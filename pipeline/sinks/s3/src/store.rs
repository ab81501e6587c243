//! The calls to S3. Each is retried as configured, and each error names the object and what to do about it. No call
//! replaces what is stored.
//!
//! An object is written with `If-None-Match: *`. If an object of its name is stored already, the two are compared: a
//! replay of a flush, and a call that is repeated because its answer was lost, find their own bytes there and are done.
//! Any other object is an error. S3 itself and LocalStack know the header; older stores of other makers ignore it and
//! write in any case.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use fms_aws::{Error, Retry, Verdict};
use fms_connect::{RetryLimits, SinkError, TopicPartition, metrics};

use crate::content::{self, Comparison, Content, StoredObject};
use crate::layout::{Layout, is_of};

/// The checksum that every object is stored with, see [`content`].
const CHECKSUM: ChecksumAlgorithm = ChecksumAlgorithm::Crc32C;

/// The error code of a conditional write while another write to the same name is under way.
const CONFLICT: &str = "ConditionalRequestConflict";

/// How long the bucket is looked for at start, because the service may be just starting.
const PATIENCE: Duration = Duration::from_secs(4);

/// A client for the bucket of `layout`.
pub fn client(aws: &SdkConfig, layout: &Layout) -> Client {
    let own_endpoint = fms_aws::has_own_s3_endpoint(aws);
    let mut config = aws_sdk_s3::config::Builder::from(aws).force_path_style(own_endpoint);
    if let Some(region) = &layout.region {
        config = config.region(Region::new(region.clone()));
    }
    Client::from_conf(config.build())
}

/// The object that is being written, as errors and logs name it.
#[derive(Debug)]
pub struct ObjectTarget {
    /// Its bucket.
    pub bucket: Arc<str>,
    /// Its key.
    pub key: String,
    /// The partition that its rows are from.
    pub partition: TopicPartition,
    /// The offset at which its flush starts.
    pub start: i64,
}

impl fmt::Display for ObjectTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{} (records of {} from offset {} on)", self.bucket, self.key, self.partition, self.start)
    }
}

/// The calls to one bucket.
#[derive(Debug, Clone)]
pub struct Store {
    client: Client,
    bucket: Arc<str>,
    retry: Retry,
}

impl Store {
    /// The calls to the bucket of `layout`.
    pub fn new(client: Client, layout: &Layout, retry: Retry) -> Self {
        Self { client, bucket: layout.bucket.as_str().into(), retry }
    }

    /// Its name.
    pub fn bucket(&self) -> &Arc<str> {
        &self.bucket
    }

    /// Stores an object in one call.
    ///
    /// In no call is the payload part of the signature: hashing it would cost as much as the rest of an upload. HTTPS
    /// protects it on its way, and with the checksum S3 refuses damaged bytes.
    pub async fn put(&self, target: &ObjectTarget, body: Bytes, content: &Content) -> Result<(), SinkError> {
        let call = || async {
            let request = self.client.put_object().bucket(&*self.bucket).key(&target.key);
            let request = request.body(ByteStream::from(body.clone())).checksum_algorithm(CHECKSUM).if_none_match("*");
            request.customize().disable_payload_signing().send().await.map_err(Error::from)
        };
        match self.retry.run(format!("PutObject {target}"), verdict, call).await {
            Ok(_) => Ok(()),
            Err(error) if is_taken(&error) => {
                self.compare(target, content, Some(content::written(content.checksum))).await
            }
            Err(error) => Err(failed("storing", target, &error)),
        }
    }

    /// Begins an upload in parts and gives its id. The kind of checksum is named here, because otherwise S3 would
    /// refuse parts that have one.
    pub async fn begin(&self, target: &ObjectTarget) -> Result<String, SinkError> {
        let call = || async {
            let request = self.client.create_multipart_upload().bucket(&*self.bucket).key(&target.key);
            request.checksum_algorithm(CHECKSUM).send().await.map_err(Error::from)
        };
        let result = self.retry.run(format!("CreateMultipartUpload {target}"), Error::verdict, call).await;
        let upload = result.map_err(|error| failed("beginning the upload of", target, &error))?;
        upload.upload_id.ok_or_else(|| {
            SinkError::fatal(format!(
                "beginning the upload of {target}: S3 gave no upload id; check what answers at its endpoint"
            ))
        })
    }

    /// Uploads part `number`, counted from 1.
    pub async fn part(
        &self,
        target: &ObjectTarget,
        id: &str,
        number: i32,
        body: Bytes,
    ) -> Result<CompletedPart, SinkError> {
        let call = || async {
            let request = self.client.upload_part().bucket(&*self.bucket).key(&target.key).upload_id(id);
            let request = request.part_number(number).body(ByteStream::from(body.clone())).checksum_algorithm(CHECKSUM);
            request.customize().disable_payload_signing().send().await.map_err(Error::from)
        };
        let result = self.retry.run(format!("UploadPart {number} of {target}"), Error::verdict, call).await;
        let part = result.map_err(|error| failed(&format!("uploading part {number} of"), target, &error))?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(part.e_tag)
            .set_checksum_crc32_c(part.checksum_crc32_c)
            .build())
    }

    /// Makes an object of its parts. The object appears only now.
    pub async fn complete(
        &self,
        target: &ObjectTarget,
        id: &str,
        parts: Vec<CompletedPart>,
        content: &Content,
    ) -> Result<(), SinkError> {
        let checksum = content::composite(parts.iter().map(CompletedPart::checksum_crc32_c));
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let call = || async {
            let request = self.client.complete_multipart_upload().bucket(&*self.bucket).key(&target.key);
            let request = request.upload_id(id).multipart_upload(parts.clone()).if_none_match("*");
            request.send().await.map_err(Error::from)
        };
        match self.retry.run(format!("CompleteMultipartUpload {target}"), verdict, call).await {
            Ok(_) => Ok(()),
            Err(error) if is_taken(&error) => {
                self.compare(target, content, checksum).await?;
                // S3 stores the parts, and charges for them, until the upload is aborted.
                let aborted = self.abort(&target.key, id).await;
                aborted.map(drop).map_err(|error| failed("aborting the needless upload of", target, &error))
            }
            Err(error) => Err(failed("completing the upload of", target, &error)),
        }
    }

    /// Compares the stored object of the same name. If it is the one that was to be stored, nothing is left to be done.
    /// `checksum` is the checksum of the latter in S3's notation.
    ///
    /// A replay of which some records have been compacted away finds an object that has more rows. The stored object
    /// stays, because it has every row once.
    async fn compare(
        &self,
        target: &ObjectTarget,
        content: &Content,
        checksum: Option<String>,
    ) -> Result<(), SinkError> {
        let call = || async {
            let request = self.client.head_object().bucket(&*self.bucket).key(&target.key);
            request.checksum_mode(ChecksumMode::Enabled).send().await.map_err(Error::from)
        };
        let found = match self.retry.run(format!("HeadObject {target}"), Error::verdict, call).await {
            Ok(found) => found,
            Err(error) if error.status() == Some(404) => {
                return Err(SinkError::restart(format!(
                    "storing {target}: there was an object of that name, which is gone now; the flush is repeated"
                )));
            }
            Err(error) => return Err(failed("looking at the stored object of the same name as", target, &error)),
        };
        let length = found.content_length().and_then(|length| u64::try_from(length).ok());
        // An object in parts has the checksum of its parts' checksums, followed by a dash and their number.
        let comparable = |(stored, ours): &(&str, String)| stored.contains('-') == ours.contains('-');
        let known = found.checksum_crc32_c().zip(checksum).filter(comparable);
        let same = if length == Some(content.bytes) { known.map(|(stored, ours)| stored == ours) } else { Some(false) };
        let stored = match same {
            Some(true) => StoredObject::Same,
            Some(false) if content.rows.is_none() => StoredObject::Other,
            Some(false) | None => self.read(target, content).await?,
        };
        match stored {
            StoredObject::Same => tracing::info!("{target} is stored already, with the same content"),
            StoredObject::WithMore => tracing::warn!(
                "{target} was stored before some of its records were compacted away, and stays as it is: it has their \
                 rows, too"
            ),
            StoredObject::Other => return Err(taken(target, content.bytes, length)),
        }
        Ok(())
    }

    /// Reads the stored object of the same name, to compare it.
    async fn read(&self, target: &ObjectTarget, content: &Content) -> Result<StoredObject, SinkError> {
        let call = || async {
            let get = self.client.get_object().bucket(&*self.bucket).key(&target.key);
            let mut found = get.send().await.map_err(Error::from)?;
            let mut comparison = Comparison::new(content).map_err(Error::interrupted)?;
            while let Some(bytes) = found.body.next().await {
                comparison.add(&bytes.map_err(Error::interrupted)?);
            }
            Ok(comparison.end())
        };
        let result = self.retry.run(format!("GetObject {target}"), Error::verdict, call).await;
        result.map_err(|error| failed("reading the stored object of the same name as", target, &error))
    }

    /// Aborts an upload. Gives whether it still existed.
    async fn abort(&self, key: &str, id: &str) -> Result<bool, Error> {
        let call = || async {
            let request = self.client.abort_multipart_upload().bucket(&*self.bucket).key(key).upload_id(id);
            request.send().await.map_err(Error::from)
        };
        match self.retry.run(format!("AbortMultipartUpload s3://{}/{key}", self.bucket), Error::verdict, call).await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("NoSuchUpload") => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Aborts the unfinished uploads of this partition's objects below `prefix`, and gives their number. S3 stores the
    /// parts of an upload, and charges for them, until it is completed or aborted.
    pub async fn abort_left_behind(&self, partition: &TopicPartition, prefix: &str) -> Result<u64, SinkError> {
        let failed = |doing: &str, error: &Error| {
            let (bucket, advice) = (&self.bucket, advice(error));
            SinkError::fatal(format!(
                "{doing} of {partition} below s3://{bucket}/{prefix}, left behind by its last owner: {error}; {advice}"
            ))
            .caused_by(error.clone())
        };
        let mut aborted = 0;
        let (mut key_marker, mut id_marker) = (None, None);
        loop {
            let call = || async {
                let request = self.client.list_multipart_uploads().bucket(&*self.bucket).prefix(prefix);
                let request = request.set_key_marker(key_marker.clone()).set_upload_id_marker(id_marker.clone());
                request.send().await.map_err(Error::from)
            };
            let what = format!("ListMultipartUploads s3://{}/{prefix}", self.bucket);
            let result = self.retry.run(what, Error::verdict, call).await;
            let page = result.map_err(|error| failed("listing the uploads", &error))?;
            for upload in page.uploads() {
                let (Some(key), Some(id)) = (upload.key(), upload.upload_id()) else { continue };
                if !is_of(key, partition) {
                    continue;
                }
                // An upload that does not exist any more was completed or aborted since it was listed.
                let there = self.abort(key, id).await.map_err(|error| failed("aborting the uploads", &error))?;
                aborted += u64::from(there);
            }
            if page.is_truncated() != Some(true) || page.next_key_marker().is_none() {
                return Ok(aborted);
            }
            key_marker = page.next_key_marker().map(Into::into);
            id_marker = page.next_upload_id_marker().map(Into::into);
        }
    }
}

/// How calls for this task of the connector are retried. Each retry counts in the task's metrics.
pub(crate) fn retry(connector: &str, task: u32, limits: RetryLimits) -> Retry {
    let (client, connector) = (format!("connector {connector}, task {task}"), connector.to_owned());
    Retry::new(client, limits.timeout, limits.delay_max, move |reason| metrics::retry(&connector, task, reason))
}

/// What an error of a conditional write means for a retry. A conflict with another write to the same name, which S3 has
/// not decided yet, passes.
fn verdict(error: &Error) -> Verdict {
    match error.code() {
        Some(CONFLICT) => Verdict::Transient("conflict"),
        _ => error.verdict(),
    }
}

/// Whether the error says that an object of that name is stored.
fn is_taken(error: &Error) -> bool {
    error.code() == Some("PreconditionFailed") || error.status() == Some(412)
}

/// The error for an object whose name another object has. Another `topics.dir` alone does not help, because the flush
/// is announced with the one that it has.
fn taken(target: &ObjectTarget, bytes: u64, stored: Option<u64>) -> SinkError {
    let ObjectTarget { partition, start, .. } = target;
    let stored = match stored {
        Some(stored) if stored == bytes => format!("of {stored} bytes, as many as this one, but not the same,"),
        Some(stored) => format!("of {stored} bytes, where this one has {bytes},"),
        None => format!("that is not the same (this one has {bytes} bytes)"),
    };
    SinkError::fatal(format!(
        "storing {target}: another object {stored} is stored under that name, and no stored object is replaced. Either \
         the topic was deleted and created again, or the group's offsets were reset to before what was stored, or \
         another connector writes the topic there. Move the objects of {} away, and the task goes on. To leave them \
         where they are, stop the worker, give it another `topics.dir` and set the group's offset of {partition} to \
         {start} once more (kafka-consumer-groups --reset-offsets), which withdraws the flush that was announced",
        partition.topic
    ))
}

/// The error for an object that could not be written. An upload that does not exist any more was aborted by another
/// owner of the partition, or completed by a call whose answer was lost. After this and after a conflict with another
/// write, the partition starts over and writes the same again.
fn failed(doing: &str, target: &ObjectTarget, error: &Error) -> SinkError {
    let failure = match error.code() {
        Some("NoSuchUpload") => SinkError::restart(format!(
            "{doing} {target}: {error}; the upload does not exist any more, and the flush is repeated"
        )),
        Some(CONFLICT) => SinkError::restart(format!("{doing} {target}: {error}; the flush is repeated")),
        _ => SinkError::fatal(format!("{doing} {target}: {error}; {}", advice(error))),
    };
    failure.caused_by(error.clone())
}

/// What to do about an error.
fn advice(error: &Error) -> &'static str {
    match (error.code(), error.status()) {
        (Some("NoSuchBucket"), _) => "create the bucket or correct `s3.bucket.name`",
        (Some("AccessDenied" | "InvalidAccessKeyId" | "SignatureDoesNotMatch"), _) | (None, Some(403)) => {
            "check the worker's AWS credentials and grant s3:PutObject, s3:GetObject (to compare what is stored \
             already), s3:AbortMultipartUpload and s3:ListBucketMultipartUploads"
        }
        (Some("PermanentRedirect" | "AuthorizationHeaderMalformed"), _) | (None, Some(301)) => {
            "the bucket is in another region: set `s3.region`"
        }
        (_, status) => match (error.verdict(), status) {
            (Verdict::Permanent, None) => "check the worker's AWS credentials, region and endpoint",
            (Verdict::Permanent, Some(_)) => {
                "nothing is lost: repair the cause; the task restarts by itself, from the committed offset"
            }
            (Verdict::Throttled(_) | Verdict::Transient(_), _) => {
                "S3 did not recover within `errors.retry.timeout`; the task restarts by itself, from the committed \
                 offset"
            }
        },
    }
}

/// Checks that the connector can use its bucket. The error is the key that is wrong, and what is wrong with it: an
/// answer of `HeadBucket` has no body, so the HTTP status has to tell.
pub async fn check_bucket(client: &Client, bucket: &str, connector: &str) -> Result<(), (&'static str, String)> {
    let limits = RetryLimits { timeout: Some(PATIENCE), delay_max: Duration::from_millis(500) };
    let retry = retry(connector, 0, limits);
    let call = || async {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(PATIENCE).build();
        let request = client.head_bucket().bucket(bucket).customize();
        let request = request.config_override(aws_sdk_s3::config::Builder::new().timeout_config(timeouts));
        request.send().await.map_err(Error::from)
    };
    let Err(error) = retry.run(format!("HeadBucket s3://{bucket}"), Error::verdict_at_start, call).await else {
        return Ok(());
    };
    Err(match error.status() {
        Some(404) => ("s3.bucket.name", "there is no such bucket; create it or correct the name".to_owned()),
        Some(403) => (
            "s3.bucket.name",
            "access is denied; grant the worker's AWS identity s3:ListBucket, and check that the bucket is yours"
                .to_owned(),
        ),
        Some(301) => ("s3.region", "the bucket is in another region; set `s3.region`".to_owned()),
        _ => {
            ("s3.bucket.name", format!("looking at the bucket failed: {error}; check endpoint, region and credentials"))
        }
    })
}
