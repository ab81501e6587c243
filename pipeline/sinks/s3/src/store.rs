//! The calls to S3: each retried as configured, each error naming the object and what to do about it.

use std::fmt;
use std::sync::Arc;

use aws_config::{Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use fms_aws::Error;
use fms_connect::{Retry, SinkError, TopicPartition};

use crate::settings::{Layout, is_of};

/// A client for the bucket of `layout`. An endpoint of one's own is asked with the bucket in the path: it has no name a bucket.
pub fn client(aws: &SdkConfig, layout: &Layout) -> Client {
    let own_endpoint = aws.endpoint_url().is_some() || std::env::var_os("AWS_ENDPOINT_URL_S3").is_some();
    let mut config = aws_sdk_s3::config::Builder::from(aws).force_path_style(own_endpoint);
    if let Some(region) = &layout.region {
        config = config.region(Region::new(region.clone()));
    }
    Client::from_conf(config.build())
}

/// The object that is written, as errors and logs name it.
#[derive(Debug)]
pub struct Target {
    /// Its bucket.
    pub bucket: Arc<str>,
    /// Its key.
    pub key: String,
    /// The partition its rows are from.
    pub partition: TopicPartition,
    /// The offset of its first record.
    pub first: i64,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{} (records of {} from offset {} on)", self.bucket, self.key, self.partition, self.first)
    }
}

/// One bucket.
#[derive(Debug, Clone)]
pub struct Store {
    client: Client,
    bucket: Arc<str>,
    retry: Retry,
}

impl Store {
    /// The bucket of `layout`.
    pub fn new(client: Client, layout: &Layout, retry: Retry) -> Self {
        Self { client, bucket: layout.bucket.as_str().into(), retry }
    }

    /// Its name.
    pub fn bucket(&self) -> &Arc<str> {
        &self.bucket
    }

    /// Stores an object in one call.
    ///
    /// As everywhere here, the payload is not part of the signature: hashing it would cost as much as the rest of an upload, HTTPS guards
    /// it on its way, and the SDK's CRC32 lets S3 refuse what is damaged.
    pub async fn put(&self, target: &Target, body: Bytes) -> Result<(), SinkError> {
        let call = || async {
            let request = self.client.put_object().bucket(&*self.bucket).key(&target.key);
            let request = request.body(ByteStream::from(body.clone()));
            request.customize().disable_payload_signing().send().await.map_err(Error::from)
        };
        let result = self.retry.run(format!("PutObject {target}"), Error::verdict, call).await;
        result.map(drop).map_err(|error| failed("storing", target, &error))
    }

    /// Begins an upload in parts and gives its id. With CRC32 as its checksum, else S3 would refuse the parts that have one.
    pub async fn begin(&self, target: &Target) -> Result<String, SinkError> {
        let call = || async {
            let request = self.client.create_multipart_upload().bucket(&*self.bucket).key(&target.key);
            request.checksum_algorithm(ChecksumAlgorithm::Crc32).send().await.map_err(Error::from)
        };
        let result = self.retry.run(format!("CreateMultipartUpload {target}"), Error::verdict, call).await;
        let upload = result.map_err(|error| failed("beginning the upload of", target, &error))?;
        upload.upload_id.ok_or_else(|| {
            SinkError::Fatal(format!(
                "beginning the upload of {target}: S3 gave no upload id; check what answers at its endpoint"
            ))
        })
    }

    /// Uploads part `number`, counted from 1.
    pub async fn part(&self, target: &Target, id: &str, number: i32, body: Bytes) -> Result<CompletedPart, SinkError> {
        let call = || async {
            let request = self.client.upload_part().bucket(&*self.bucket).key(&target.key).upload_id(id);
            let request = request.part_number(number).body(ByteStream::from(body.clone()));
            request.customize().disable_payload_signing().send().await.map_err(Error::from)
        };
        let result = self.retry.run(format!("UploadPart {number} of {target}"), Error::verdict, call).await;
        let part = result.map_err(|error| failed(&format!("uploading part {number} of"), target, &error))?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(part.e_tag)
            .set_checksum_crc32(part.checksum_crc32)
            .build())
    }

    /// Makes an object of its parts. Only here it appears.
    pub async fn complete(&self, target: &Target, id: &str, parts: Vec<CompletedPart>) -> Result<(), SinkError> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let call = || async {
            let request = self.client.complete_multipart_upload().bucket(&*self.bucket).key(&target.key);
            request.upload_id(id).multipart_upload(parts.clone()).send().await.map_err(Error::from)
        };
        let result = self.retry.run(format!("CompleteMultipartUpload {target}"), Error::verdict, call).await;
        result.map(drop).map_err(|error| failed("completing the upload of", target, &error))
    }

    /// Aborts the uploads of objects of this partition below `prefix`, and says how many there were. S3 keeps, and bills, the parts of
    /// an upload until it is completed or aborted.
    pub async fn abort_left_behind(&self, partition: &TopicPartition, prefix: &str) -> Result<u64, SinkError> {
        let failed = |doing: &str, error: &Error| {
            SinkError::Fatal(format!(
                "{doing} of {partition} below s3://{}/{prefix}, left behind by its last owner: {error}; {}",
                self.bucket,
                advice(error)
            ))
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
                let call = || async {
                    let request = self.client.abort_multipart_upload().bucket(&*self.bucket).key(key).upload_id(id);
                    request.send().await.map_err(Error::from)
                };
                let what = format!("AbortMultipartUpload s3://{}/{key}", self.bucket);
                match self.retry.run(what, Error::verdict, call).await {
                    Ok(_) => aborted += 1,
                    // Completed or aborted since it was listed.
                    Err(error) if error.code() == Some("NoSuchUpload") => {}
                    Err(error) => return Err(failed("aborting the uploads", &error)),
                }
            }
            if page.is_truncated() != Some(true) || page.next_key_marker().is_none() {
                return Ok(aborted);
            }
            key_marker = page.next_key_marker().map(Into::into);
            id_marker = page.next_upload_id_marker().map(Into::into);
        }
    }
}

/// Why the object could not be written. An upload that is gone was aborted by another owner of the partition, or completed by a call
/// whose answer was lost: the partition starts over, and what was written is written again, the same.
fn failed(doing: &str, target: &Target, error: &Error) -> SinkError {
    if error.code() == Some("NoSuchUpload") {
        return SinkError::Restart(format!("{doing} {target}: {error}; the upload is no longer there"));
    }
    SinkError::Fatal(format!("{doing} {target}: {error}; {}", advice(error)))
}

/// What to do about an error.
fn advice(error: &Error) -> &'static str {
    match (error.code(), error.status()) {
        (Some("NoSuchBucket"), _) => "create the bucket or correct `s3.bucket.name`",
        (Some("AccessDenied" | "InvalidAccessKeyId" | "SignatureDoesNotMatch"), _) | (None, Some(403)) => {
            "check the worker's AWS credentials and grant s3:PutObject, s3:AbortMultipartUpload and s3:ListBucketMultipartUploads"
        }
        (Some("PermanentRedirect" | "AuthorizationHeaderMalformed"), _) | (None, Some(301)) => {
            "the bucket is in another region: set `s3.region`"
        }
        (_, None | Some(429 | 500..)) => {
            "S3 did not recover within `errors.retry.timeout`; restart the connector, it goes on from the committed offset"
        }
        _ => "nothing is lost: repair the cause and restart the connector, it goes on from the committed offset",
    }
}

/// Why a connector cannot use its bucket: the key that is wrong, and what is. The answers of `HeadBucket` have no body, so their status
/// has to say it.
pub async fn check_bucket(client: &Client, bucket: &str, retry: &Retry) -> Result<(), (&'static str, String)> {
    let call = || async { client.head_bucket().bucket(bucket).send().await.map_err(Error::from) };
    let Err(error) = retry.run(format!("HeadBucket s3://{bucket}"), Error::verdict, call).await else { return Ok(()) };
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
