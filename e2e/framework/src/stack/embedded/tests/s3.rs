//! Tests of the embedded S3 with the AWS SDK as its client.

use super::*;

#[tokio::test]
async fn objects_are_put_read_listed_and_deleted() {
    let stack = start();
    let client = s3(&stack);
    client.create_bucket().bucket("lake").send().await.unwrap();
    client.head_bucket().bucket("lake").send().await.unwrap();
    assert!(client.head_bucket().bucket("other").send().await.is_err());
    for key in ["a/1 +%é.json", "a/2", "a/b/3", "a/b/4", "dir", "dir/child", "z"] {
        let body = ByteStream::from(key.as_bytes().to_vec());
        client.put_object().bucket("lake").key(key).content_encoding("gzip").body(body).send().await.unwrap();
    }
    let got = client.get_object().bucket("lake").key("a/1 +%é.json").send().await.unwrap();
    assert_eq!(got.content_encoding(), Some("gzip"));
    assert!(got.checksum_crc32().is_some(), "the checksum of the put is given back");
    assert_eq!(got.body.collect().await.unwrap().into_bytes(), "a/1 +%é.json");
    let got = client.get_object().bucket("lake").key("dir/child").range("bytes=4-6").send().await.unwrap();
    assert_eq!(got.content_range(), Some("bytes 4-6/9"));
    assert_eq!(got.body.collect().await.unwrap().into_bytes(), "chi");
    assert_eq!(client.head_object().bucket("lake").key("z").send().await.unwrap().content_length(), Some(1));
    assert_eq!(code(client.get_object().bucket("lake").key("y").send().await), "NoSuchKey");
    assert_eq!(code(client.get_object().bucket("lake").key("z").range("bytes=1-").send().await), "InvalidRange");

    let listed = client.list_objects_v2().bucket("lake").prefix("a/").delimiter("/").send().await.unwrap();
    assert_eq!(listed.contents().iter().filter_map(|o| o.key()).collect::<Vec<_>>(), ["a/1 +%é.json", "a/2"]);
    assert_eq!(listed.common_prefixes().iter().filter_map(|p| p.prefix()).collect::<Vec<_>>(), ["a/b/"]);
    for delimiter in [None, Some("/".to_owned())] {
        let page = client.list_objects_v2().bucket("lake").set_delimiter(delimiter.clone());
        let whole = page.clone().send().await.unwrap();
        let mut pages = page.into_paginator().page_size(1).send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.unwrap();
            assert_eq!(page.key_count(), Some(1));
            found.extend(page.contents().iter().filter_map(|o| o.key().map(ToOwned::to_owned)));
            found.extend(page.common_prefixes().iter().filter_map(|p| p.prefix().map(ToOwned::to_owned)));
        }
        let objects = whole.contents().iter().filter_map(|o| o.key());
        let mut expected: Vec<_> = objects.chain(whole.common_prefixes().iter().filter_map(|p| p.prefix())).collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "{delimiter:?}");
        assert_eq!(found.len(), if delimiter.is_some() { 4 } else { 7 });
    }

    client.delete_object().bucket("lake").key("z").send().await.unwrap();
    let keys: Vec<_> = stack.objects("lake").unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["a/1 +%é.json", "a/2", "a/b/3", "a/b/4", "dir", "dir/child"]);
    assert!(stack.objects("other").unwrap_err().to_string().contains("bucket other"));
}

#[tokio::test]
async fn a_bucket_is_of_the_account_that_is_expected_or_the_call_is_refused() {
    let stack = start();
    stack.provide(&Resources::bucket("lake")).unwrap();
    let client = s3(&stack);
    let put = |owner: &str| {
        client.put_object().bucket("lake").key("k").expected_bucket_owner(owner).body(b"1".to_vec().into()).send()
    };
    assert_eq!(code(put("111122223333").await), "AccessDenied");
    put("000000000000").await.unwrap();
    let copy = client.copy_object().bucket("lake").key("l").copy_source("lake/k");
    assert_eq!(code(copy.expected_source_bucket_owner("111122223333").send().await), "AccessDenied");
    assert_eq!(stack.objects("lake").unwrap().len(), 1);
}

#[tokio::test]
async fn of_twenty_conditional_puts_one_wins() {
    let stack = start();
    stack.provide(&Resources::bucket("lake")).unwrap();
    let client = s3(&stack);
    let puts = (0..20_u8).map(|n| {
        let put = client.put_object().bucket("lake").key("k").if_none_match("*").body(vec![n].into());
        tokio::spawn(put.send())
    });
    let mut won = Vec::new();
    for (n, put) in puts.collect::<Vec<_>>().into_iter().enumerate() {
        match put.await.unwrap() {
            Ok(_) => won.push(n),
            lost => assert_eq!(code(lost), "PreconditionFailed"),
        }
    }
    assert_eq!(won.len(), 1);
    assert_eq!(stack.objects("lake").unwrap(), [("k".to_owned(), vec![u8::try_from(won[0]).unwrap()])]);
}

#[tokio::test]
async fn a_body_that_differs_from_its_checksum_is_refused_and_not_stored() {
    let stack = start();
    stack.provide(&Resources::bucket("lake")).unwrap();
    let client = s3(&stack);
    let put = || client.put_object().bucket("lake").key("k").body(b"body".to_vec().into());
    let crc = "AAAAAA==";
    let sha = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert_eq!(code(put().checksum_crc32(crc).send().await), "BadDigest");
    assert_eq!(code(put().checksum_crc32_c(crc).send().await), "BadDigest");
    assert_eq!(code(put().checksum_sha256(sha).send().await), "BadDigest");
    assert_eq!(code(put().content_md5("AAAAAAAAAAAAAAAAAAAAAA==").send().await), "BadDigest");
    assert_eq!(stack.objects("lake").unwrap(), []);
    for right in
        [ChecksumAlgorithm::Crc32C, ChecksumAlgorithm::Crc64Nvme, ChecksumAlgorithm::Sha1, ChecksumAlgorithm::Sha256]
    {
        put().checksum_algorithm(right).send().await.unwrap();
    }
    assert_eq!(stack.objects("lake").unwrap().len(), 1);
}

#[tokio::test]
async fn a_streamed_body_with_its_checksum_in_a_trailer_is_stored_as_it_was() {
    let stack = start();
    stack.provide(&Resources::bucket("lake")).unwrap();
    let bytes: Vec<u8> = (0..3 * MIB).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&bytes).unwrap();
    let body = ByteStream::from_path(file.path()).await.unwrap();
    s3(&stack).put_object().bucket("lake").key("k").body(body).send().await.unwrap();
    assert!(stack.objects("lake").unwrap() == [("k".to_owned(), bytes)]);
    assert!(stack.calls().snapshot()[0].request_bytes > 3 * MIB, "the trailer is part of the request");
}

#[tokio::test]
async fn a_part_of_an_object_is_read_by_its_number_and_past_the_last_there_is_none() {
    let stack = start();
    stack.provide(&Resources::bucket("lake")).unwrap();
    let client = s3(&stack);
    let begun = client.create_multipart_upload().bucket("lake").key("k").send().await.unwrap();
    let mut parts = Vec::new();
    for (number, body) in [(1, vec![b'a'; 5 * MIB]), (2, b"second".to_vec())] {
        let upload = client.upload_part().bucket("lake").key("k").part_number(number).body(body.into());
        let etag = upload.set_upload_id(begun.upload_id.clone()).send().await.unwrap().e_tag;
        parts.push(CompletedPart::builder().part_number(number).set_e_tag(etag).build());
    }
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let complete = client.complete_multipart_upload().bucket("lake").key("k").multipart_upload(parts);
    complete.set_upload_id(begun.upload_id).send().await.unwrap();
    let part = |number: i32| client.get_object().bucket("lake").key("k").part_number(number).send();
    let second = part(2).await.unwrap();
    assert_eq!((second.parts_count(), second.content_range()), (Some(2), Some("bytes 5242880-5242885/5242886")));
    assert_eq!(second.body.collect().await.unwrap().into_bytes(), "second");
    assert_eq!(code(part(3).await), "InvalidPartNumber");
}

#[tokio::test]
async fn objects_are_copied_listed_by_marker_and_their_bucket_is_deleted_when_it_is_empty() {
    let stack = start();
    stack.provide(&Resources::bucket("lake")).unwrap();
    let client = s3(&stack);
    let put = client.put_object().bucket("lake").key("a b").content_type("text/plain").body(b"1".to_vec().into());
    put.send().await.unwrap();
    let copy = |to: &str| client.copy_object().bucket("lake").key(to).copy_source("lake/a%20b").send();
    copy("c/d").await.unwrap();
    assert_eq!(code(copy("a b").await), "InvalidRequest");
    assert_eq!(client.head_object().bucket("lake").key("c/d").send().await.unwrap().content_type(), Some("text/plain"));

    let list = || client.list_objects().bucket("lake").delimiter("/").encoding_type(EncodingType::Url);
    let page = list().max_keys(1).send().await.unwrap();
    assert_eq!(page.contents()[0].key(), Some("a%20b"));
    let next = list().marker("a b").send().await.unwrap();
    assert_eq!((next.contents().len(), next.common_prefixes()[0].prefix()), (0, Some("c/")));
    assert_eq!(list().marker("c/").send().await.unwrap().common_prefixes(), [], "a marker's own prefix is passed");

    let delete = || client.delete_bucket().bucket("lake").send();
    assert_eq!(code(delete().await), "BucketNotEmpty");
    for key in ["a b", "c/d"] {
        client.delete_object().bucket("lake").key(key).send().await.unwrap();
    }
    delete().await.unwrap();
    assert_eq!(code(delete().await), "NoSuchBucket");
}

#[tokio::test]
async fn a_multipart_upload_appears_when_it_is_completed() {
    let stack = start();
    stack.provide(&Resources::bucket("lake")).unwrap();
    let client = s3(&stack);
    let begin = async |key: &str| {
        let begun = client.create_multipart_upload().bucket("lake").key(key).send().await.unwrap();
        begun.upload_id().unwrap().to_owned()
    };
    let part = async |key: &str, id: &str, number: i32, body: Vec<u8>| {
        let upload = client.upload_part().bucket("lake").key(key).upload_id(id).part_number(number);
        let uploaded = upload.body(body.into()).send().await.unwrap();
        CompletedPart::builder().part_number(number).set_e_tag(uploaded.e_tag).build()
    };
    let complete = |key: &str, id: &str, parts: Vec<CompletedPart>| {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        client.complete_multipart_upload().bucket("lake").key(key).upload_id(id).multipart_upload(parts).send()
    };

    let id = begin("k").await;
    let first = part("k", &id, 1, vec![b'a'; 5 * MIB]).await;
    let second = part("k", &id, 2, vec![b'b'; 7]).await;
    let third = part("k", &id, 3, vec![b'c'; 7]).await;
    assert_eq!(stack.objects("lake").unwrap(), []);
    assert_eq!(stack.open_uploads("lake").unwrap(), ["k"]);
    assert_eq!(code(complete("k", &id, vec![second.clone(), first.clone()]).await), "InvalidPartOrder");
    assert_eq!(code(complete("k", &id, vec![first.clone(), second.clone(), third.clone()]).await), "EntityTooSmall");
    let missing = CompletedPart::builder().part_number(4).e_tag("\"x\"").build();
    assert_eq!(code(complete("k", &id, vec![first.clone(), missing]).await), "InvalidPart");
    assert_eq!(code(complete("k", "upload-x", vec![first.clone()]).await), "NoSuchUpload");
    let parts = client.list_parts().bucket("lake").key("k").upload_id(&id).max_parts(2).send().await.unwrap();
    assert_eq!(parts.parts().iter().filter_map(aws_sdk_s3::types::Part::size).collect::<Vec<_>>(), [5_242_880, 7]);
    assert_eq!((parts.is_truncated(), parts.next_part_number_marker()), (Some(true), Some("2")));

    complete("k", &id, vec![first.clone(), third]).await.unwrap();
    let objects = stack.objects("lake").unwrap();
    assert!(objects[0].1.len() == 5 * MIB + 7 && objects[0].1.ends_with(b"accccccc"));
    assert_eq!(code(complete("k", &id, vec![first]).await), "NoSuchUpload");

    let ids = [begin("p/1").await, begin("p/1").await, begin("p/2").await, begin("q").await];
    let mut found = Vec::new();
    let (mut key_marker, mut id_marker) = (None, None);
    loop {
        let list = client.list_multipart_uploads().bucket("lake").prefix("p/").max_uploads(1);
        let page = list.set_key_marker(key_marker).set_upload_id_marker(id_marker).send().await.unwrap();
        found.extend(page.uploads().iter().filter_map(|upload| upload.upload_id().map(ToOwned::to_owned)));
        if page.is_truncated() != Some(true) {
            break;
        }
        (key_marker, id_marker) = (page.next_key_marker, page.next_upload_id_marker);
    }
    assert_eq!(found, ids[..3]);
    let abort = || client.abort_multipart_upload().bucket("lake").key("p/1").upload_id(&ids[0]).send();
    abort().await.unwrap();
    assert_eq!(code(abort().await), "NoSuchUpload");
    assert_eq!(stack.open_uploads("lake").unwrap(), ["p/1", "p/2", "q"]);
}

#[tokio::test]
async fn completing_an_upload_can_be_bound_to_what_the_key_has() {
    let stack = start();
    stack.provide(&Resources::bucket("lake")).unwrap();
    let client = s3(&stack);
    let begun = client.create_multipart_upload().bucket("lake").key("k").send().await.unwrap();
    let id = begun.upload_id().unwrap();
    let part = client.upload_part().bucket("lake").key("k").upload_id(id).part_number(1).body(b"part".to_vec().into());
    let etag = part.send().await.unwrap().e_tag;
    let parts = CompletedPart::builder().part_number(1).set_e_tag(etag).build();
    let parts = CompletedMultipartUpload::builder().parts(parts).build();
    let complete = client.complete_multipart_upload().bucket("lake").key("k").upload_id(id).multipart_upload(parts);
    assert_eq!(code(complete.clone().if_match("\"x\"").send().await), "NoSuchKey");
    let put = client.put_object().bucket("lake").key("k").body(b"put".to_vec().into()).send().await.unwrap();
    assert_eq!(code(complete.clone().if_none_match("*").send().await), "PreconditionFailed");
    assert_eq!(code(complete.clone().if_match("\"x\"").send().await), "PreconditionFailed");
    assert_eq!(stack.objects("lake").unwrap(), [("k".to_owned(), b"put".to_vec())]);
    complete.if_match(put.e_tag().unwrap()).send().await.unwrap();
    assert_eq!(stack.objects("lake").unwrap(), [("k".to_owned(), b"part".to_vec())]);
}
