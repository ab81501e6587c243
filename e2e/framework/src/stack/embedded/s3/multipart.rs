//! Multipart uploads: creating, uploading parts, completing, aborting and listing parts.

use std::collections::BTreeMap;
use std::time::SystemTime;

use hyper::body::Bytes;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, Checksum, ChecksumAlgorithm, ChecksumType,
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, ETag, ListPartsInput, ListPartsOutput, Part as ListedPart, StorageClass,
    UploadPartInput, UploadPartOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::checksum::{composite, own_checksum, receive};
use super::listing::{MAX_PAGE, page};
use super::notifications::Creation;
use super::{Attributes, Object, Part, Store, Upload, attributes, count, declared, hex, no_such_upload};

/// The smallest size of a part that is not the last one: 5 MiB, as in S3.
const MIN_PART: usize = 5 * 1024 * 1024;

/// Joins the parts that a completion names, in its order. Returns the body, its `ETag` and the length of each part.
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

pub(super) fn create(
    store: &Store,
    input: CreateMultipartUploadInput,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let mut state = store.state();
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

pub(super) async fn upload_part(
    store: &Store,
    request: S3Request<UploadPartInput>,
) -> S3Result<S3Response<UploadPartOutput>> {
    let input = request.input;
    if !(1..=10_000).contains(&input.part_number) {
        return Err(s3_error!(InvalidArgument, "part number {} is not within 1 and 10,000", input.part_number));
    }
    store.state().bucket(&input.bucket)?.upload(&input.key, &input.upload_id)?;
    let declared = declared!(input);
    let received =
        receive(input.body, declared, input.content_md5.as_deref(), request.trailing_headers.as_ref()).await?;
    let etag = received.etag();
    let checksum = received.checksum.clone();
    let part = Part { received, modified: SystemTime::now() };
    // The upload may have been completed or aborted while the body arrived.
    store.state().bucket(&input.bucket)?.upload(&input.key, &input.upload_id)?.parts.insert(input.part_number, part);
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

pub(super) fn complete(
    store: &Store,
    input: CompleteMultipartUploadInput,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let named = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
    let mut state = store.state();
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
    let object =
        Object { body, etag: etag.clone(), modified: SystemTime::now(), attributes, checksum: checksum.clone(), parts };
    bucket.uploads.remove(&(input.key.clone(), input.upload_id));
    state.create(&input.bucket, input.key.clone(), object, Creation::CompleteMultipartUpload);
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

pub(super) fn abort(
    store: &Store,
    input: AbortMultipartUploadInput,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let mut state = store.state();
    let upload = (input.key, input.upload_id);
    match state.bucket(&input.bucket)?.uploads.remove(&upload) {
        Some(_) => Ok(S3Response::new(AbortMultipartUploadOutput::default())),
        None => Err(no_such_upload(&upload.0, &upload.1)),
    }
}

pub(super) fn list_parts(store: &Store, input: ListPartsInput) -> S3Result<S3Response<ListPartsOutput>> {
    let limit = page(input.max_parts)?;
    let marker = input.part_number_marker.unwrap_or_default();
    let mut state = store.state();
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
