//! Lists objects and unfinished uploads, in pages.

use std::ops::Bound;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{
    CommonPrefix, ETag, EncodingType, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListObjectsInput,
    ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, MultipartUpload, Object as ListedObject,
    ObjectStorageClass, Owner, StorageClass, Timestamp,
};
use s3s::{S3Response, S3Result, s3_error};

use super::checksum::algorithms;
use super::{Bucket, Store, count};

/// The largest number of entries on a page of any listing.
pub(super) const MAX_PAGE: i32 = 1000;

/// The characters that a listing with the encoding `url` leaves as they are.
const PLAIN_IN_LISTINGS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The number of entries that a page may have: as many as the request asks for, and at most [`MAX_PAGE`].
pub(super) fn page(asked: Option<i32>) -> S3Result<usize> {
    usize::try_from(asked.unwrap_or(MAX_PAGE).min(MAX_PAGE))
        .map_err(|_| s3_error!(InvalidArgument, "the size of a page must not be negative"))
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

/// Where the common prefix of a key ends: behind the first delimiter after the prefix of the listing. It is `None` if
/// the key is listed itself.
fn common_prefix_end(key: &str, prefix: &str, delimiter: Option<&String>) -> Option<usize> {
    let delimiter = delimiter?;
    key[prefix.len()..].find(delimiter.as_str()).map(|at| prefix.len() + at + delimiter.len())
}

/// A page of a listing of objects.
#[derive(Default)]
struct Objects {
    contents: Vec<ListedObject>,
    common_prefixes: Vec<CommonPrefix>,
    /// The last key or common prefix of the page.
    last: Option<String>,
    is_truncated: bool,
}

impl Objects {
    /// The page of at most `limit` entries that follows `after`, the last entry of the page before.
    fn list(bucket: &Bucket, input: &ListObjectsV2Input, after: Option<&str>, limit: usize) -> Self {
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let delimiter = input.delimiter.as_ref().filter(|delimiter| !delimiter.is_empty());
        let start_after = input.start_after.as_deref().filter(|_| after.is_none());
        let encoding = input.encoding_type.as_ref();
        let owner = || Owner { display_name: Some("embedded".into()), id: Some("embedded".into()) };
        let mut page = Self::default();
        let from = (Bound::Included(prefix), Bound::Unbounded);
        for (key, object) in bucket.objects.range::<str, _>(from).take_while(|(key, _)| key.starts_with(prefix)) {
            if start_after.is_some_and(|start| key.as_str() <= start) {
                continue;
            }
            let end = common_prefix_end(key, prefix, delimiter);
            let entry = &key[..end.unwrap_or(key.len())];
            if after.is_some_and(|after| entry <= after) || page.last.as_deref() == Some(entry) {
                continue;
            }
            if page.contents.len() + page.common_prefixes.len() == limit {
                page.is_truncated = limit > 0;
                break;
            }
            page.last = Some(entry.to_owned());
            if end.is_some() {
                page.common_prefixes.push(CommonPrefix { prefix: Some(shown(entry.to_owned(), encoding)) });
                continue;
            }
            page.contents.push(ListedObject {
                key: Some(shown(entry.to_owned(), encoding)),
                checksum_algorithm: Some(algorithms(&object.checksum)).filter(|named| !named.is_empty()),
                checksum_type: object.checksum.checksum_type.clone(),
                owner: input.fetch_owner.unwrap_or_default().then(owner),
                storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
                size: count(object.body.len()),
                e_tag: Some(ETag::Strong(object.etag.clone())),
                last_modified: Some(object.modified.into()),
                ..Default::default()
            });
        }
        page
    }
}

pub(super) fn list_objects_v2(store: &Store, input: ListObjectsV2Input) -> S3Result<S3Response<ListObjectsV2Output>> {
    let limit = page(input.max_keys)?;
    // The token encodes the last entry of the page before. It is opaque to clients, and safe in XML whatever the entry
    // contains.
    let after = match &input.continuation_token {
        None => None,
        Some(token) => {
            let last = BASE64_STANDARD.decode(token).ok().and_then(|last| String::from_utf8(last).ok());
            Some(last.ok_or_else(|| s3_error!(InvalidArgument, "the continuation token is not one of ours"))?)
        }
    };
    let mut state = store.state();
    let listed = Objects::list(state.bucket(&input.bucket)?, &input, after.as_deref(), limit);
    let Objects { contents, common_prefixes, last, is_truncated } = listed;
    let encoding = input.encoding_type.as_ref();
    Ok(S3Response::new(ListObjectsV2Output {
        key_count: i32::try_from(contents.len() + common_prefixes.len()).ok(),
        next_continuation_token: last.filter(|_| is_truncated).map(|last| BASE64_STANDARD.encode(last)),
        is_truncated: Some(is_truncated),
        contents: Some(contents),
        common_prefixes: Some(common_prefixes),
        name: Some(input.bucket),
        prefix: Some(shown(input.prefix.unwrap_or_default(), encoding)),
        delimiter: input.delimiter.filter(|d| !d.is_empty()).map(|delimiter| shown(delimiter, encoding)),
        max_keys: Some(input.max_keys.unwrap_or(MAX_PAGE)),
        continuation_token: input.continuation_token,
        start_after: input.start_after.map(|start| shown(start, encoding)),
        encoding_type: input.encoding_type,
        ..Default::default()
    }))
}

pub(super) fn list_objects(store: &Store, input: ListObjectsInput) -> S3Result<S3Response<ListObjectsOutput>> {
    let marker = input.marker.clone().unwrap_or_default();
    let has_delimiter = input.delimiter.as_ref().is_some_and(|delimiter| !delimiter.is_empty());
    // A marker may be a common prefix, which is then not listed again. A continuation token has the same meaning.
    let input = ListObjectsV2Input {
        continuation_token: input.marker.as_ref().map(|marker| BASE64_STANDARD.encode(marker)),
        fetch_owner: Some(true),
        start_after: None,
        ..input.into()
    };
    let page = list_objects_v2(store, input)?.output;
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

/// A page of a listing of unfinished uploads.
#[derive(Default)]
struct Uploads {
    entries: Vec<MultipartUpload>,
    common_prefixes: Vec<String>,
    /// The key and id of the last upload of the page, or its last common prefix.
    last: Option<(String, Option<String>)>,
    is_truncated: bool,
}

impl Uploads {
    /// The page of at most `limit` entries that follows the markers.
    fn list(bucket: &Bucket, input: &ListMultipartUploadsInput, limit: usize) -> Self {
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let delimiter = input.delimiter.as_ref().filter(|delimiter| !delimiter.is_empty());
        let key_marker = input.key_marker.as_deref().unwrap_or_default();
        let id_marker = input.upload_id_marker.as_deref();
        // A marker without an id is past all uploads of its key. An id without a key is ignored.
        let after = |key: &str, id: &str| {
            key > key_marker || (key == key_marker && id_marker.is_some_and(|marker| id > marker))
        };
        let mut page = Self::default();
        for ((key, id), upload) in
            bucket.uploads.iter().filter(|((key, id), _)| key.starts_with(prefix) && after(key, id))
        {
            let folder = common_prefix_end(key, prefix, delimiter).map(|end| &key[..end]);
            let listed = page.common_prefixes.last().map(String::as_str);
            if folder.is_some_and(|folder| folder == key_marker || listed == Some(folder)) {
                continue;
            }
            if page.entries.len() + page.common_prefixes.len() == limit {
                page.is_truncated = limit > 0;
                break;
            }
            if let Some(folder) = folder {
                page.last = Some((folder.to_owned(), None));
                page.common_prefixes.push(folder.to_owned());
                continue;
            }
            page.last = Some((key.clone(), Some(id.clone())));
            page.entries.push(MultipartUpload {
                key: Some(key.clone()),
                upload_id: Some(id.clone()),
                checksum_algorithm: upload.checksum_algorithm.clone(),
                checksum_type: upload.checksum_type.clone(),
                storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
                initiated: Some(Timestamp::from(upload.initiated)),
                ..Default::default()
            });
        }
        page
    }
}

pub(super) fn list_uploads(
    store: &Store,
    input: ListMultipartUploadsInput,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let limit = page(input.max_uploads)?;
    let mut state = store.state();
    let Uploads { entries, common_prefixes, last, is_truncated } =
        Uploads::list(state.bucket(&input.bucket)?, &input, limit);
    let (next_key_marker, next_upload_id_marker) = last.map_or((None, None), |(key, id)| (Some(key), id));
    let common_prefixes = common_prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(prefix) }).collect();
    Ok(S3Response::new(ListMultipartUploadsOutput {
        next_key_marker: Some(next_key_marker.unwrap_or_default()),
        next_upload_id_marker,
        common_prefixes: Some(common_prefixes),
        delimiter: input.delimiter.filter(|delimiter| !delimiter.is_empty()),
        is_truncated: Some(is_truncated),
        uploads: Some(entries),
        bucket: Some(input.bucket),
        prefix: input.prefix,
        key_marker: Some(input.key_marker.unwrap_or_default()),
        upload_id_marker: input.upload_id_marker,
        max_uploads: Some(input.max_uploads.unwrap_or(MAX_PAGE)),
        ..Default::default()
    }))
}
