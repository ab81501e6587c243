//! The calls to S3: buckets, conditional writes, ranges, odd keys, checksums, copies, deletes, both versions of
//! listings, multipart uploads and errors.
//!
//! The answers are compared as the SDK shows them, without what differs from run to run.

use std::fmt::Debug;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart, Delete, EncodingType, MetadataDirective,
    ObjectIdentifier,
};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::runtime::Runtime;

use crate::Endpoints;
use crate::answers::{Answers, refusal};

/// The smallest size of a part that another part may follow.
const PART: usize = 5 * 1024 * 1024;

/// Makes all calls in order.
pub fn calls(runtime: &Runtime, at: &Endpoints) -> Result<Answers, String> {
    let mut s3 = Bucket::new(at);
    runtime.block_on(async {
        buckets(&mut s3).await;
        conditions(&mut s3).await;
        ranges(&mut s3).await;
        attributes_and_checksums(&mut s3).await;
        copies_and_deletes(&mut s3).await;
        odd_keys(&mut s3).await;
        listings(&mut s3).await;
        uploads(&mut s3).await?;
        conditional_uploads(&mut s3).await?;
        listed_uploads(&mut s3).await?;
        ends(&mut s3).await
    })?;
    Ok(s3.answers)
}

async fn buckets(s3: &mut Bucket) {
    let (client, bucket) = (s3.client.clone(), s3.name.clone());
    let (none, other) = (format!("{bucket}-none"), format!("{bucket}-other"));
    s3.note("create a bucket", client.create_bucket().bucket(&bucket).send().await);
    s3.note("create a bucket again", client.create_bucket().bucket(&bucket).send().await);
    s3.note("create another bucket", client.create_bucket().bucket(&other).send().await);
    s3.note("create a bucket with a bad name", client.create_bucket().bucket("Not_A_Bucket").send().await);
    s3.note("create a bucket with a short name", client.create_bucket().bucket("ab").send().await);
    s3.note("head a bucket", client.head_bucket().bucket(&bucket).send().await);
    s3.note("head a bucket that does not exist", client.head_bucket().bucket(&none).send().await);
    s3.note("list a bucket that does not exist", client.list_objects_v2().bucket(&none).send().await);
    s3.note("put into a bucket that does not exist", client.put_object().bucket(&none).key("k").send().await);
    s3.note("get from a bucket that does not exist", client.get_object().bucket(&none).key("k").send().await.map(drop));
    s3.note("delete in a bucket that does not exist", client.delete_object().bucket(&none).key("k").send().await);
    s3.note(
        "upload to a bucket that does not exist",
        client.create_multipart_upload().bucket(&none).key("k").send().await,
    );
    s3.note("list uploads of a bucket that does not exist", client.list_multipart_uploads().bucket(&none).send().await);
    s3.note("delete a bucket", client.delete_bucket().bucket(&other).send().await);
    s3.note("delete a bucket that does not exist", client.delete_bucket().bucket(&none).send().await);
}

/// Writes and reads whose condition depends on the stored object.
async fn conditions(s3: &mut Bucket) {
    let (client, bucket) = (s3.client.clone(), s3.name.clone());
    let put = |body: &'static str| {
        client.put_object().bucket(&bucket).key("c").body(ByteStream::from_static(body.as_bytes()))
    };
    let (of_one, of_two) = ("\"f97c5d29941bfb1b2fdab0874906ab82\"", "\"b8a9f715dbb64fd5c56e7783c6820a61\"");
    s3.note("put if match, nothing there", put("one").if_match(of_one).send().await);
    s3.note("put if none match, nothing there", put("one").if_none_match("*").send().await);
    s3.note("put if none match, something there", put("two").if_none_match("*").send().await);
    s3.note("put if match", put("two").if_match(of_one).send().await);
    s3.note("put if match, no longer", put("three").if_match(of_one).send().await);
    s3.note("put if match, without quotes", put("two").if_match(of_two.trim_matches('"')).send().await);
    s3.note("put if none match an etag", put("three").if_none_match(of_one).send().await);
    s3.get("get after conditional puts", client.get_object().bucket(&bucket).key("c")).await;
    s3.get("get if match", client.get_object().bucket(&bucket).key("c").if_match(of_two)).await;
    s3.get("get if match, another", client.get_object().bucket(&bucket).key("c").if_match(of_one)).await;
    s3.get("get if none match", client.get_object().bucket(&bucket).key("c").if_none_match(of_two)).await;
    s3.get("get if none match, another", client.get_object().bucket(&bucket).key("c").if_none_match(of_one)).await;
    s3.note("head if none match", client.head_object().bucket(&bucket).key("c").if_none_match(of_two).send().await);
    s3.note("head if match, another", client.head_object().bucket(&bucket).key("c").if_match(of_one).send().await);
    s3.get("get what is not there", client.get_object().bucket(&bucket).key("none")).await;
    s3.note("head what is not there", client.head_object().bucket(&bucket).key("none").send().await);
    s3.get("get what is not there, if match", client.get_object().bucket(&bucket).key("none").if_match(of_one)).await;
}

/// Ranges of an object of ten bytes, and of an empty object.
async fn ranges(s3: &mut Bucket) {
    let (client, bucket) = (s3.client.clone(), s3.name.clone());
    s3.put("put ten bytes", "ten", "0123456789").await;
    s3.put("put no bytes", "empty", "").await;
    let ranges = [
        "bytes=0-0",
        "bytes=2-5",
        "bytes=7-",
        "bytes=-3",
        "bytes=-99",
        "bytes=8-99",
        "bytes=10-",
        "bytes=99-100",
        "bytes=-0",
        "bytes=5-2",
        "bytes=0-1,3-4",
        "bytes=a-b",
        "lines=0-1",
    ];
    for range in ranges {
        s3.get(&format!("get {range} of ten"), client.get_object().bucket(&bucket).key("ten").range(range)).await;
    }
    s3.get("get the first of no bytes", client.get_object().bucket(&bucket).key("empty").range("bytes=0-0")).await;
    s3.get("get no bytes", client.get_object().bucket(&bucket).key("empty")).await;
    s3.note("head with a range", client.head_object().bucket(&bucket).key("ten").range("bytes=2-5").send().await);
    s3.get("get part 1 of what has no parts", client.get_object().bucket(&bucket).key("ten").part_number(1)).await;
}

/// Attributes that are stored with an object, and checksums that are verified before it is stored.
async fn attributes_and_checksums(s3: &mut Bucket) {
    let (client, bucket) = (s3.client.clone(), s3.name.clone());
    let put = |key: &str| client.put_object().bucket(&bucket).key(key).body(ByteStream::from_static(b"text"));
    let with_attributes = put("a")
        .content_type("text/plain; charset=utf-8")
        .content_encoding("identity")
        .content_language("de")
        .content_disposition("attachment; filename=\"a b\"")
        .cache_control("no-store")
        .metadata("Camel-Case", "two  blanks");
    s3.note("put with attributes", with_attributes.send().await);
    s3.note("head attributes", client.head_object().bucket(&bucket).key("a").send().await);
    s3.get("get attributes", client.get_object().bucket(&bucket).key("a")).await;
    s3.put("put without attributes", "a", "text").await;
    s3.note("head without attributes", client.head_object().bucket(&bucket).key("a").send().await);
    let overridden = client.get_object().bucket(&bucket).key("a").response_content_type("text/css");
    s3.get("get with another content type", overridden).await;
    let wrong_md5 = BASE64_STANDARD.encode([0; 16]);
    s3.note("put with its MD5", put("md5").content_md5("HLJkmI8LeDwnNIGmGgBb9w==").send().await);
    s3.note("put with the MD5 of another", put("wrong").content_md5(&wrong_md5).send().await);
    s3.note("put with an MD5 that is none", put("wrong").content_md5("md5").send().await);
    s3.note("put with the CRC32 of another", put("wrong").checksum_crc32("AAAAAA==").send().await);
    s3.note("put with a CRC32 that is none", put("wrong").checksum_crc32("crc").send().await);
    s3.note(
        "put with the SHA-256 of another",
        put("wrong").checksum_sha256(BASE64_STANDARD.encode([0; 32])).send().await,
    );
    for algorithm in
        [ChecksumAlgorithm::Crc32C, ChecksumAlgorithm::Crc64Nvme, ChecksumAlgorithm::Sha1, ChecksumAlgorithm::Sha256]
    {
        let (call, key) = (format!("put with {algorithm}"), format!("sum {algorithm}"));
        s3.note(&call, put(&key).checksum_algorithm(algorithm).send().await);
        s3.get(&format!("get {key}"), client.get_object().bucket(&bucket).key(&key)).await;
    }
    s3.note("head what was refused", client.head_object().bucket(&bucket).key("wrong").send().await);
}

async fn copies_and_deletes(s3: &mut Bucket) {
    let (client, bucket) = (s3.client.clone(), s3.name.clone());
    let put = client.put_object().bucket(&bucket).key("from me").body(ByteStream::from_static(b"copied"));
    s3.note("put what is copied", put.content_type("text/plain").metadata("m", "1").send().await);
    let copy =
        |source: &str, to: &str| client.copy_object().bucket(&bucket).key(to).copy_source(format!("{bucket}/{source}"));
    s3.note("copy", copy("from%20me", "to").send().await);
    s3.get("get the copy", client.get_object().bucket(&bucket).key("to")).await;
    let replaced = copy("from%20me", "to").metadata_directive(MetadataDirective::Replace).metadata("m", "2");
    s3.note("copy with other attributes", replaced.send().await);
    s3.get("get the copy with other attributes", client.get_object().bucket(&bucket).key("to")).await;
    s3.note("copy onto itself", copy("to", "to").send().await);
    s3.note("copy what is not there", copy("none", "to").send().await);
    let elsewhere = client.copy_object().bucket(&bucket).key("to").copy_source(format!("{bucket}-none/k"));
    s3.note("copy from a bucket that does not exist", elsewhere.send().await);
    s3.note("copy if match, another", copy("to", "to2").copy_source_if_match("\"0\"").send().await);
    s3.note("delete", client.delete_object().bucket(&bucket).key("to").send().await);
    s3.note("delete what is not there", client.delete_object().bucket(&bucket).key("to").send().await);
    let delete = |keys: &[&str], quiet: bool| {
        let objects = keys.iter().filter_map(|key| ObjectIdentifier::builder().key(*key).build().ok());
        Delete::builder().set_objects(Some(objects.collect())).quiet(quiet).build().ok()
    };
    for (call, keys, quiet) in [
        ("delete several", &["md5", "none", "sum SHA1"][..], false),
        ("delete several, quietly", &["sum SHA256", "none"], true),
        ("delete one twice at once", &["sum CRC32C", "sum CRC32C"], false),
        ("delete none", &[], false),
    ] {
        s3.note(call, client.delete_objects().bucket(&bucket).set_delete(delete(keys, quiet)).send().await);
    }
    let keys: Vec<String> = (0..1001).map(|n| n.to_string()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    s3.note("delete 1001", client.delete_objects().bucket(&bucket).set_delete(delete(&keys, true)).send().await);
}

/// Keys that an object store may confuse: each is put, read back and listed.
async fn odd_keys(s3: &mut Bucket) {
    let (client, bucket) = (s3.client.clone(), s3.name.clone());
    let long = "k".repeat(1024);
    for (call, key) in [
        ("blank", "odd/a b"),
        ("plus", "odd/a+b"),
        ("percent", "odd/a%20b"),
        ("unicode", "odd/Größe 木🚚"),
        ("dots", "odd/../b"),
        ("a dot", "odd/./b"),
        ("leading slash", "/odd/a"),
        ("two slashes", "odd//a"),
        ("a folder", "odd/dir"),
        ("a child of it", "odd/dir/child"),
        ("a trailing slash", "odd/dir/"),
        ("equals and ampersand", "odd/a=1&b=2"),
        ("question and number sign", "odd/a?b#c"),
        ("quotes and angles", "odd/\"<a>'&amp;"),
        ("a backslash and more", "odd/a\\b~!*(){}|^`:;@$,[]"),
        ("a line break", "odd/a\nb"),
        ("1024 bytes", long.as_str()),
    ] {
        let put =
            client.put_object().bucket(&bucket).key(key).body(ByteStream::from(call.as_bytes().to_vec())).send().await;
        match put {
            Ok(_) => s3.get(&format!("key: {call}"), client.get_object().bucket(&bucket).key(key)).await,
            Err(_) => s3.note(&format!("key: {call}"), put),
        }
    }
    s3.note("key: 1025 bytes", client.put_object().bucket(&bucket).key("k".repeat(1025)).send().await);
    s3.note(
        "list odd keys",
        client.list_objects_v2().bucket(&bucket).prefix("odd/").encoding_type(EncodingType::Url).send().await,
    );
    s3.note("list odd keys as they are", client.list_objects_v2().bucket(&bucket).prefix("odd/a ").send().await);
    s3.note(
        "list odd keys by folder",
        client.list_objects_v2().bucket(&bucket).prefix("odd/").delimiter("/").start_after("odd/b").send().await,
    );
    s3.note("delete a folder, its child stays", client.delete_object().bucket(&bucket).key("odd/dir").send().await);
    s3.get("get the child", client.get_object().bucket(&bucket).key("odd/dir/child")).await;
}

/// Listings by prefix, delimiter, page and start, in both versions.
async fn listings(s3: &mut Bucket) {
    let (client, bucket) = (s3.client.clone(), s3.name.clone());
    for key in ["l/a", "l/b/1", "l/b/2", "l/c", "l/d/1", "l/e é"] {
        s3.put(&format!("put {key}"), key, key).await;
    }
    let list = || client.list_objects_v2().bucket(&bucket).prefix("l/");
    s3.note("list", list().send().await);
    s3.note("list by delimiter", list().delimiter("/").send().await);
    s3.note("list by a delimiter of two characters", list().delimiter("b/").send().await);
    s3.note("list by a delimiter that none has", list().delimiter("#").send().await);
    s3.note("list after", list().start_after("l/b/1").send().await);
    s3.note("list after, by delimiter", list().start_after("l/b/1").delimiter("/").send().await);
    s3.note("list none", list().prefix("l/a").max_keys(0).send().await);
    s3.note("list a negative number", list().prefix("l/a").max_keys(-1).send().await);
    s3.note("list more than a page", list().max_keys(5000).send().await);
    s3.note("list with an empty delimiter", list().delimiter("").max_keys(1).send().await);
    s3.note("list with a token that is none", list().prefix("l/a").continuation_token("?").send().await);
    s3.note("list encoded", list().encoding_type(EncodingType::Url).delimiter("/").start_after("l/d").send().await);
    s3.note(
        "list owners",
        list()
            .fetch_owner(true)
            .max_keys(1)
            .send()
            .await
            .map(|page| page.contents().first().is_some_and(|object| object.owner().is_some())),
    );
    s3.note("list a prefix that none has", client.list_objects_v2().bucket(&bucket).prefix("none/").send().await);
    let mut token = None;
    for page in 1..=3 {
        let answer = list().delimiter("/").max_keys(2).set_continuation_token(token).send().await;
        token = answer.as_ref().ok().and_then(|page| page.next_continuation_token().map(ToOwned::to_owned));
        s3.note(&format!("list by delimiter, page {page} of 2"), answer);
    }
    let list = || client.list_objects().bucket(&bucket).prefix("l/");
    s3.note("list v1", list().send().await);
    s3.note("list v1 by delimiter", list().delimiter("/").max_keys(2).send().await);
    s3.note("list v1 by delimiter, next page", list().delimiter("/").max_keys(2).marker("l/b/").send().await);
    s3.note("list v1, first page", list().max_keys(2).send().await);
    s3.note("list v1, next page", list().max_keys(4).marker("l/b/1").send().await);
    s3.note("list v1 encoded", list().encoding_type(EncodingType::Url).marker("l/d/1").send().await);
}

/// Multipart uploads whose parts arrive in order, out of order, too small or wrong; uploads that are aborted or
/// completed twice.
async fn uploads(s3: &mut Bucket) -> Result<(), String> {
    let (client, bucket) = (s3.client.clone(), s3.name.clone());
    let large = || ByteStream::from(vec![b'x'; PART]);
    let small = || ByteStream::from_static(b"small");
    let part = |number: i32, etag: &str| CompletedPart::builder().part_number(number).e_tag(etag).build();
    let complete = |key: &str, id: &str, parts: Vec<CompletedPart>| {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        client.complete_multipart_upload().bucket(&bucket).key(key).upload_id(id).multipart_upload(parts)
    };
    let upload = |key: &str, id: &str, number: i32| {
        client.upload_part().bucket(&bucket).key(key).upload_id(id).part_number(number)
    };

    let begun = client
        .create_multipart_upload()
        .bucket(&bucket)
        .key("m/1")
        .content_type("text/plain")
        .metadata("m", "1")
        .send()
        .await;
    let id = s3.begun("begin an upload", begun)?;
    let second = s3.part("upload part 2 first", upload("m/1", &id, 2).body(small()).send().await)?;
    let first = s3.part("upload part 1", upload("m/1", &id, 1).body(large()).send().await)?;
    let third = s3.part("upload part 3", upload("m/1", &id, 3).body(small()).send().await)?;
    s3.note("upload part 0", upload("m/1", &id, 0).body(small()).send().await);
    s3.note("upload part 10001", upload("m/1", &id, 10_001).body(small()).send().await);
    s3.note(
        "upload a part with a wrong MD5",
        upload("m/1", &id, 4).body(small()).content_md5(BASE64_STANDARD.encode([0; 16])).send().await,
    );
    s3.note("upload a part of no upload", upload("m/1", "none", 1).body(small()).send().await);
    s3.note("upload a part to another key", upload("m/2", &id, 1).body(small()).send().await);
    s3.note("list parts", client.list_parts().bucket(&bucket).key("m/1").upload_id(&id).send().await);
    s3.note(
        "list parts, first page",
        client.list_parts().bucket(&bucket).key("m/1").upload_id(&id).max_parts(1).send().await,
    );
    s3.note(
        "list parts, next page",
        client.list_parts().bucket(&bucket).key("m/1").upload_id(&id).part_number_marker("1").send().await,
    );
    s3.get("get before it is completed", client.get_object().bucket(&bucket).key("m/1")).await;
    for (call, parts) in [
        ("in the wrong order", vec![part(2, &second), part(1, &first)]),
        ("a part too small", vec![part(1, &first), part(2, &second), part(3, &third)]),
        ("a wrong etag", vec![part(1, &second), part(2, &second)]),
        ("a part that was not uploaded", vec![part(1, &first), part(7, &second)]),
        ("no parts", vec![]),
    ] {
        s3.note(&format!("complete: {call}"), complete("m/1", &id, parts).send().await);
    }
    s3.note("complete: another key", complete("m/2", &id, vec![part(1, &first)]).send().await);
    s3.note("complete: an upload of none", complete("m/1", "none", vec![part(1, &first)]).send().await);
    s3.note("complete", complete("m/1", &id, vec![part(1, &first), part(2, unquoted(&second))]).send().await);
    s3.note("complete again", complete("m/1", &id, vec![part(1, &first), part(2, &second)]).send().await);
    s3.note("upload a part after completion", upload("m/1", &id, 5).body(small()).send().await);
    s3.note(
        "abort after completion",
        client.abort_multipart_upload().bucket(&bucket).key("m/1").upload_id(&id).send().await,
    );
    s3.note("head what was uploaded", client.head_object().bucket(&bucket).key("m/1").send().await);
    s3.get("get its end", client.get_object().bucket(&bucket).key("m/1").range("bytes=5242878-")).await;
    s3.get("get its part 2", client.get_object().bucket(&bucket).key("m/1").part_number(2)).await;

    let begun = client.create_multipart_upload().bucket(&bucket).key("m/1").send().await;
    let id = s3.begun("begin an upload over it", begun)?;
    s3.part("upload a part that is replaced", upload("m/1", &id, 1).body(small()).send().await)?;
    let only =
        s3.part("upload it again", upload("m/1", &id, 1).body(ByteStream::from_static(b"other")).send().await)?;
    s3.note("complete if none match", complete("m/1", &id, vec![part(1, &only)]).if_none_match("*").send().await);
    s3.note("complete over it", complete("m/1", &id, vec![part(1, &only)]).send().await);
    s3.get("get what is over it", client.get_object().bucket(&bucket).key("m/1")).await;

    let copied = client
        .create_multipart_upload()
        .bucket(&bucket)
        .key("m/3")
        .checksum_algorithm(ChecksumAlgorithm::Crc32)
        .send()
        .await;
    let id = s3.begun("begin an upload with checksums", copied)?;
    let answer = upload("m/3", &id, 1).body(small()).checksum_algorithm(ChecksumAlgorithm::Crc32).send().await;
    let only = s3.part("upload a part with its checksum", answer)?;
    s3.note(
        "upload a part with a wrong checksum",
        upload("m/3", &id, 2).body(small()).checksum_crc32("AAAAAA==").send().await,
    );
    let sum = CompletedPart::builder().part_number(1).e_tag(&only);
    let wrong = sum.clone().checksum_crc32("AAAAAA==").build();
    s3.note("complete: a wrong checksum of a part", complete("m/3", &id, vec![wrong]).send().await);
    s3.note("complete with checksums", complete("m/3", &id, vec![sum.checksum_crc32("dUXqEw==").build()]).send().await);
    s3.note("head what has checksums", client.head_object().bucket(&bucket).key("m/3").send().await);

    let begun = client.create_multipart_upload().bucket(&bucket).key("m/4").send().await;
    let id = s3.begun("begin an upload of one part", begun)?;
    let only = s3.part("upload its part", upload("m/4", &id, 1).body(large()).send().await)?;
    s3.note("complete: a part twice", complete("m/4", &id, vec![part(1, &only), part(1, &only)]).send().await);
    s3.note("complete: a part once", complete("m/4", &id, vec![part(1, &only)]).send().await);
    Ok(())
}

/// Writes as the S3 sink makes them: with CRC32C, only if no object exists, and with a look at the object that does
/// exist.
async fn conditional_uploads(s3: &mut Bucket) -> Result<(), String> {
    let (client, bucket) = (s3.client.clone(), s3.name.clone());
    let large = || ByteStream::from(vec![b'x'; PART]);
    let small = || ByteStream::from_static(b"small");
    let complete = |key: &str, id: &str, parts: Vec<CompletedPart>| {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        client.complete_multipart_upload().bucket(&bucket).key(key).upload_id(id).multipart_upload(parts)
    };
    let upload = |key: &str, id: &str, number: i32| {
        client.upload_part().bucket(&bucket).key(key).upload_id(id).part_number(number)
    };
    let create = || client.create_multipart_upload().bucket(&bucket).key("m/5");
    let castagnoli = ChecksumAlgorithm::Crc32C;
    let begun = create().checksum_algorithm(castagnoli.clone()).send().await;
    let id = s3.begun("begin an upload with CRC32C", begun)?;
    let first = upload("m/5", &id, 1).body(large()).checksum_algorithm(castagnoli.clone()).send().await;
    let first_sum = first.as_ref().ok().and_then(|part| part.checksum_crc32_c.clone());
    let first = s3.part("upload part 1 with CRC32C", first)?;
    let second = upload("m/5", &id, 2).body(small()).checksum_algorithm(castagnoli.clone()).send().await;
    let second_sum = second.as_ref().ok().and_then(|part| part.checksum_crc32_c.clone());
    let second = s3.part("upload part 2 with CRC32C", second)?;
    let sum = |number: i32, etag: &str, sum: &Option<String>| {
        CompletedPart::builder().part_number(number).e_tag(etag).set_checksum_crc32_c(sum.clone()).build()
    };
    let parts = || vec![sum(1, &first, &first_sum), sum(2, &second, &second_sum)];
    s3.note("complete if nothing is there", complete("m/5", &id, parts()).if_none_match("*").send().await);
    s3.note("complete again, if nothing is there", complete("m/5", &id, parts()).if_none_match("*").send().await);
    let head = || client.head_object().bucket(&bucket).key("m/5").checksum_mode(ChecksumMode::Enabled);
    s3.note("head the checksum of what has parts", head().send().await);
    let again = s3.begun("begin an upload of what is there", create().checksum_algorithm(castagnoli).send().await)?;
    let only = upload("m/5", &again, 1).body(small()).checksum_algorithm(ChecksumAlgorithm::Crc32C).send().await;
    let only_sum = only.as_ref().ok().and_then(|part| part.checksum_crc32_c.clone());
    let only = s3.part("upload a part of what is there", only)?;
    let parts = vec![sum(1, &only, &only_sum)];
    s3.note(
        "complete if nothing is there, though it is",
        complete("m/5", &again, parts).if_none_match("*").send().await,
    );
    let abort = client.abort_multipart_upload().bucket(&bucket).key("m/5").upload_id(&again);
    s3.note("abort what was not completed", abort.send().await);
    let put = || {
        let put = client.put_object().bucket(&bucket).key("m/6").body(small());
        put.checksum_algorithm(ChecksumAlgorithm::Crc32C).if_none_match("*")
    };
    s3.note("put with CRC32C, if nothing is there", put().send().await);
    s3.note("put with CRC32C, if nothing is there, again", put().send().await);
    let head = client.head_object().bucket(&bucket).key("m/6").checksum_mode(ChecksumMode::Enabled);
    s3.note("head the checksum of what was put", head.send().await);
    Ok(())
}

/// An etag without its quotes, a form that a completion accepts too.
fn unquoted(etag: &str) -> &str {
    etag.trim_matches('"')
}

/// Uploads are listed and aborted.
async fn listed_uploads(s3: &mut Bucket) -> Result<(), String> {
    let (client, bucket) = (s3.client.clone(), s3.name.clone());
    let mut ids = Vec::new();
    for key in ["u/a", "u/b/1", "u/b/2", "v"] {
        let begun = client.create_multipart_upload().bucket(&bucket).key(key).send().await;
        ids.push((key, s3.begun(&format!("begin {key}"), begun)?));
    }
    let list = || client.list_multipart_uploads().bucket(&bucket);
    s3.note("list uploads", list().send().await);
    s3.note("list uploads by prefix", list().prefix("u/b").send().await);
    s3.note("list uploads by delimiter", list().prefix("u/").delimiter("/").send().await);
    s3.note("list uploads, first page", list().max_uploads(2).send().await);
    s3.note("list uploads, next page", list().key_marker("u/b/1").send().await);
    s3.note("delete a bucket with uploads and objects", client.delete_bucket().bucket(&bucket).send().await);
    for (key, id) in &ids {
        let abort = client.abort_multipart_upload().bucket(&bucket).key(*key).upload_id(id);
        s3.note(&format!("abort {key}"), abort.send().await);
    }
    let (key, id) = &ids[0];
    s3.note("abort again", client.abort_multipart_upload().bucket(&bucket).key(*key).upload_id(id).send().await);
    s3.note("list parts after abort", client.list_parts().bucket(&bucket).key(*key).upload_id(id).send().await);
    s3.note("list no uploads", list().send().await);
    Ok(())
}

/// The bucket is emptied and deleted.
async fn ends(s3: &mut Bucket) -> Result<(), String> {
    let (client, bucket) = (s3.client.clone(), s3.name.clone());
    let listed = client.list_objects_v2().bucket(&bucket).encoding_type(EncodingType::Url).send().await;
    let listed = listed.map_err(|error| format!("listing bucket {bucket}: {error:?}"))?;
    for object in listed.contents() {
        let key = decoded(object.key().unwrap_or_default());
        let deleted = client.delete_object().bucket(&bucket).key(&key).send().await;
        deleted.map_err(|error| format!("deleting {key:?} of bucket {bucket}: {error:?}"))?;
    }
    s3.note("list an empty bucket", client.list_objects_v2().bucket(&bucket).send().await);
    s3.note("delete an emptied bucket", client.delete_bucket().bucket(&bucket).send().await);
    Ok(())
}

/// Decodes a key from a listing that was requested with the encoding `url`.
fn decoded(key: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = key.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        bytes.push(match byte {
            b'%' => digit(rest.next()).unwrap_or_default() * 16 + digit(rest.next()).unwrap_or_default(),
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The client, the bucket of these calls, and the answers so far.
struct Bucket {
    client: Client,
    name: String,
    answers: Answers,
}

impl Bucket {
    fn new(at: &Endpoints) -> Self {
        let (key, secret) = (at.get("AWS_ACCESS_KEY_ID"), at.get("AWS_SECRET_ACCESS_KEY"));
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(at.get("AWS_REGION").to_owned()))
            .credentials_provider(Credentials::new(key, secret, None, None, "parity"))
            .endpoint_url(at.get("AWS_ENDPOINT_URL_S3"))
            .force_path_style(true)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .retry_config(RetryConfig::disabled());
        let name = format!("{}bucket", at.namespace);
        Self { client: Client::from_conf(config.build()), name, answers: Answers::new(&at.namespace) }
    }

    fn note<T: Debug, E: ProvideErrorMetadata + Debug>(
        &mut self,
        call: &str,
        answer: Result<T, SdkError<E, HttpResponse>>,
    ) {
        self.answers.add(
            call,
            match answer {
                Ok(output) => format!("ok {}", readable(&format!("{output:#?}"))),
                Err(error) => refusal(&error),
            },
        );
    }

    async fn put(&mut self, call: &str, key: &str, body: &str) {
        let put = self.client.put_object().bucket(&self.name).key(key).body(ByteStream::from(body.as_bytes().to_vec()));
        self.note(call, put.send().await);
    }

    /// Reads an object with its body.
    async fn get(&mut self, call: &str, get: GetObjectFluentBuilder) {
        let answer = match get.send().await {
            Err(error) => refusal(&error),
            Ok(mut output) => {
                let body = std::mem::replace(&mut output.body, ByteStream::from_static(b"")).collect().await;
                let body = body.map_or_else(
                    |error| format!("{error:?}"),
                    |body| String::from_utf8_lossy(&body.to_vec()).into_owned(),
                );
                let body = if body.len() > 1000 { format!("{} bytes", body.len()) } else { format!("{body:?}") };
                format!("ok {} {body}", readable(&format!("{output:#?}")))
            }
        };
        self.answers.add(call, answer);
    }

    /// Adds the answer to the start of an upload, and returns the id of the upload.
    fn begun<E: ProvideErrorMetadata + Debug>(
        &mut self,
        call: &str,
        answer: Result<
            aws_sdk_s3::operation::create_multipart_upload::CreateMultipartUploadOutput,
            SdkError<E, HttpResponse>,
        >,
    ) -> Result<String, String> {
        let id = answer.as_ref().ok().and_then(|begun| begun.upload_id().map(ToOwned::to_owned));
        let id = id.ok_or_else(|| format!("{call}: there is no upload to go on with: {answer:?}"));
        self.note(call, answer);
        id
    }

    /// Adds the answer to the upload of a part, and returns the etag of the part.
    fn part<E: ProvideErrorMetadata + Debug>(
        &mut self,
        call: &str,
        answer: Result<aws_sdk_s3::operation::upload_part::UploadPartOutput, SdkError<E, HttpResponse>>,
    ) -> Result<String, String> {
        let etag = answer.as_ref().ok().and_then(|part| part.e_tag().map(ToOwned::to_owned));
        let etag = etag.ok_or_else(|| format!("{call}: there is no part to go on with: {answer:?}"));
        self.note(call, answer);
        etag
    }
}

/// Shows an output of the SDK on one line, without members that are unset and without those that differ from run to
/// run.
fn readable(pretty: &str) -> String {
    // The last of these belong to features that the embedded service lacks: encryption at rest and ARNs.
    const VARYING: [&str; 19] = [
        "_request_id",
        "_extended_request_id",
        "body",
        "last_modified",
        "initiated",
        "initiator",
        "owner",
        "upload_id",
        "location",
        "next_continuation_token",
        "continuation_token",
        "upload_id_marker",
        "next_upload_id_marker",
        "creation_date",
        "ssekms_key_id",
        "ssekms_encryption_context",
        "server_side_encryption",
        "bucket_arn",
        "bucket_region",
    ];
    let mut words = Vec::new();
    let mut skipped = None;
    for line in pretty.lines() {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim();
        if let Some(from) = skipped {
            if indent <= from {
                skipped = None;
            }
            continue;
        }
        let member = line.split(':').next().unwrap_or_default();
        if VARYING.contains(&member) && line != member {
            skipped = (!line.ends_with(',')).then_some(indent);
        } else if !line.ends_with(": None,") && line != ")," {
            words.push(line.strip_suffix("Some(").unwrap_or(line).trim_end());
        }
    }
    words.join(" ")
}
