//! Checksums of bodies. Those that a sender declares are checked. For a multipart upload without a declared algorithm,
//! S3 computes a checksum of its own.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http_body_util::BodyExt;
use hyper::body::Bytes;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc64Nvme, Md5};
use s3s::dto::{Checksum, ChecksumAlgorithm, ChecksumType, CompletedPart, ETag, StreamingBlob};
use s3s::{Body, S3Result, TrailingHeaders, s3_error};

use super::{Upload, hex};

/// A body that has arrived whole and agrees with every checksum that was declared for it.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub bytes: Bytes,
    pub md5: [u8; 16],
    pub checksum: Checksum,
}

impl Received {
    pub(crate) fn etag(&self) -> ETag {
        ETag::Strong(hex(&self.md5))
    }
}

/// Receives a body and checks it. Its checksums are declared in headers, or in trailers after the body.
pub(super) async fn receive(
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

/// The checksum that S3 computes for a multipart upload for which no algorithm was declared.
pub(super) fn own_checksum(body: &Bytes) -> Checksum {
    let mut hasher =
        ChecksumHasher { crc32: None, crc32c: None, sha1: None, sha256: None, crc64nvme: Some(Crc64Nvme::default()) };
    hasher.update(body);
    let full = Some(ChecksumType::from_static(ChecksumType::FULL_OBJECT));
    Checksum { checksum_type: full, ..hasher.finalize() }
}

/// The checksum of the parts' checksums, followed by the number of parts, as S3 computes it for CRC32 and CRC32C. There
/// is none if one of the parts was sent without a checksum.
pub(super) fn composite(upload: &Upload, named: &[CompletedPart], algorithm: &ChecksumAlgorithm) -> Checksum {
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

/// Refuses a checksum that is not base64, or does not have the length of its algorithm.
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

/// The algorithms of these checksums.
pub(super) fn algorithms(checksum: &Checksum) -> Vec<ChecksumAlgorithm> {
    let named = [
        (checksum.checksum_crc32.is_some(), ChecksumAlgorithm::CRC32),
        (checksum.checksum_crc32c.is_some(), ChecksumAlgorithm::CRC32C),
        (checksum.checksum_crc64nvme.is_some(), ChecksumAlgorithm::CRC64NVME),
        (checksum.checksum_sha1.is_some(), ChecksumAlgorithm::SHA1),
        (checksum.checksum_sha256.is_some(), ChecksumAlgorithm::SHA256),
    ];
    named.into_iter().filter(|(there, _)| *there).map(|(_, name)| ChecksumAlgorithm::from_static(name)).collect()
}
