//! Puts, copies and reads objects.

use std::ops;
use std::time::SystemTime;

use hyper::StatusCode;
use s3s::dto::{
    Checksum, ChecksumMode, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, ETag, ETagCondition,
    GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, MetadataDirective, PutObjectInput,
    PutObjectOutput, Range, StreamingBlob,
};
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::checksum::receive;
use super::notifications::Creation;
use super::{Attributes, Object, Store, attributes, count, declared, hex, names};

/// The answer to a GET or HEAD of an object, or of a range or a part of it, without the body; and the range of the
/// object that is the body.
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

/// Returns an error if the condition of a read is not met.
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

pub(super) async fn put(store: &Store, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
    let input = request.input;
    store.state().bucket(&input.bucket)?;
    let declared = declared!(input);
    let received =
        receive(input.body, declared, input.content_md5.as_deref(), request.trailing_headers.as_ref()).await?;
    let etag = received.etag();
    let checksum = received.checksum.clone();
    let mut state = store.state();
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
    state.create(&input.bucket, input.key, object, Creation::Put);
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

pub(super) fn copy(store: &Store, input: CopyObjectInput) -> S3Result<S3Response<CopyObjectOutput>> {
    let CopySource::Bucket { bucket: from, key, .. } = &input.copy_source else {
        return Err(s3_error!(NotImplemented, "copying from an access point"));
    };
    let mut state = store.state();
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
    state.bucket(&input.bucket)?;
    state.create(&input.bucket, input.key, object, Creation::Copy);
    Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() }))
}

pub(super) fn get(store: &Store, input: &GetObjectInput) -> S3Result<S3Response<GetObjectOutput>> {
    let mut state = store.state();
    let object = state.bucket(&input.bucket)?.object(&input.key)?;
    admit_read(object, input.if_match.as_ref(), input.if_none_match.as_ref())?;
    let (mut output, place) = describe(object, input.range, input.part_number, input.checksum_mode.as_ref())?;
    output.body = Some(StreamingBlob::from(Body::from(object.body.slice(place))));
    Ok(S3Response::new(output))
}

pub(super) fn head(store: &Store, input: &HeadObjectInput) -> S3Result<S3Response<HeadObjectOutput>> {
    let mut state = store.state();
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
