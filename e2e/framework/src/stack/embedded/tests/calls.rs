//! Tests of calls through the recording proxy: how they are recorded, disturbed and ended.

use super::*;

#[tokio::test]
async fn every_call_is_recorded_on_either_endpoint() {
    let stack = start();
    stack.provide(&Resources::bucket("lake")).unwrap();
    stack.provide(&Resources::table(rows())).unwrap();
    assert!(stack.provide(&Resources::table(rows())).unwrap_err().to_string().starts_with("creating table rows"));
    let any = &stack.environment["AWS_ENDPOINT_URL"];
    s3_at(any).put_object().bucket("lake").key("a b").body(b"12345".to_vec().into()).send().await.unwrap();
    s3(&stack).list_objects_v2().bucket("lake").send().await.unwrap();
    let _ = s3(&stack).get_object().bucket("lake").key("none").send().await;
    dynamodb_at(any).put_item().table_name("rows").set_item(Some(item("2"))).send().await.unwrap();
    let batch = dynamodb(&stack).batch_write_item().request_items("rows", vec![put("1"), put("3")]);
    batch.send().await.unwrap();
    let _ = dynamodb(&stack).put_item().table_name("none").set_item(Some(item("2"))).send().await;
    let mut other = TcpStream::connect(any.replace("http://", "")).unwrap();
    other
        .write_all(
            b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: Kinesis_20131202.PutRecord\r\nContent-Length: 2\r\n\r\n{}",
        )
        .unwrap();
    assert!(stack.calls().wait_until(soon(), |calls| calls.len() == 7));

    assert!(stack.calls().wait_until(soon(), |calls| calls.iter().all(|call| call.finished.is_some())));
    let calls = stack.calls().snapshot();
    assert_eq!(
        outline(&calls),
        [
            ("s3", "PutObject", "lake/a b", Some(200)),
            ("s3", "ListObjectsV2", "lake", Some(200)),
            ("s3", "GetObject", "lake/none", Some(404)),
            ("dynamodb", "PutItem", "rows", Some(200)),
            ("dynamodb", "BatchWriteItem", "rows", Some(200)),
            ("dynamodb", "PutItem", "none", Some(400)),
            ("unknown", "PutRecord", "", Some(501)),
        ]
    );
    assert_eq!(calls[0].request_bytes, 5);
    assert!(calls[4].request_bytes > 100);
    assert_eq!(calls.iter().map(|call| call.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);

    let mut scanned = stack.scan("rows").unwrap();
    scanned.sort_by_key(|item| item["pk"]["S"].as_str().map(ToOwned::to_owned));
    let expected = |id: &str| json!({"a": {"N": "35.6812362000001"}, "pk": {"S": id}});
    assert_eq!(scanned, [expected("1"), expected("2"), expected("3")]);
    assert!(stack.scan("none").unwrap_err().to_string().starts_with("scanning table none"));
}

#[tokio::test]
async fn throttled_writes_do_nothing_and_say_so_in_the_services_own_words() {
    let stack = start();
    stack.provide(&Resources::bucket("lake")).unwrap();
    stack.provide(&Resources::table(rows())).unwrap();
    stack.calls().inject(Fault::Throttle(Hits::First(1)));
    let put_object = || s3(&stack).put_object().bucket("lake").key("k").body(vec![0; 3 * MIB].into()).send();
    let put_item = || dynamodb(&stack).put_item().table_name("rows").set_item(Some(item("1"))).send();
    assert_eq!(code(put_object().await), "SlowDown");
    assert_eq!(code(put_item().await), "ProvisionedThroughputExceededException");
    assert_eq!((stack.objects("lake").unwrap().len(), stack.scan("rows").unwrap().len()), (0, 0));
    put_object().await.unwrap();
    put_item().await.unwrap();
    let statuses: Vec<_> = outline(&stack.calls().snapshot()).into_iter().map(|(.., status)| status).collect();
    assert_eq!(statuses, [Some(503), Some(400), Some(200), Some(200)]);
}

/// Each service refuses in its own words, and a client that asks again is served.
#[tokio::test]
async fn denied_and_failed_calls_do_nothing_and_say_so_in_the_services_own_words() {
    let stack = start();
    stack.provide(&Resources::bucket("lake")).unwrap();
    stack.provide(&Resources::table(rows())).unwrap();
    stack.calls().inject(Fault::Trouble(Hits::First(1), vec![Trouble::Denied]));
    let put_object = || s3(&stack).put_object().bucket("lake").key("k").body(b"1".to_vec().into()).send();
    let put_item = || dynamodb(&stack).put_item().table_name("rows").set_item(Some(item("1"))).send();
    assert_eq!(code(put_object().await), "AccessDenied");
    assert_eq!(code(put_item().await), "AccessDeniedException");
    stack.calls().inject(Fault::Trouble(Hits::First(1), vec![Trouble::Failed]));
    assert_eq!(code(put_object().await), "InternalError");
    assert_eq!(code(put_item().await), "InternalServerError");
    assert_eq!((stack.objects("lake").unwrap().len(), stack.scan("rows").unwrap().len()), (0, 0));
    put_object().await.unwrap();
    put_item().await.unwrap();
    let statuses: Vec<_> = outline(&stack.calls().snapshot()).into_iter().map(|(.., status)| status).collect();
    assert_eq!(statuses, [Some(403), Some(400), Some(500), Some(500), Some(200), Some(200)]);
}

/// The clients of these tests do not retry, so that they see what is lost.
#[tokio::test]
async fn a_lost_answer_says_nothing_of_whether_the_call_took_effect() {
    let stack = start();
    stack.provide(&Resources::bucket("lake")).unwrap();
    let put = |key: &'static str| s3(&stack).put_object().bucket("lake").key(key).body(b"1".to_vec().into()).send();
    let lost = [("before", Trouble::LostBefore), ("after", Trouble::LostAfter), ("no body to cut", Trouble::Truncated)];
    for (key, trouble) in lost {
        stack.calls().inject(Fault::Trouble(Hits::First(1), vec![trouble]));
        assert!(put(key).await.unwrap_err().as_service_error().is_none(), "{key}");
        stack.calls().end_troubles();
    }
    let keys: Vec<String> = stack.objects("lake").unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["after", "no body to cut"]);
    assert_eq!(stack.calls().in_flight(), 0);

    stack.calls().inject(Fault::Trouble(Hits::First(1), vec![Trouble::Truncated]));
    let listing = || s3(&stack).list_objects_v2().bucket("lake").send();
    assert!(listing().await.unwrap_err().as_service_error().is_none());
    assert_eq!(listing().await.unwrap().contents().len(), 2);
    let statuses: Vec<_> = outline(&stack.calls().snapshot()).into_iter().map(|(.., status)| status).collect();
    assert_eq!(statuses, [Some(NO_ANSWER), Some(200), Some(200), Some(200), Some(200)]);
}

#[tokio::test]
async fn a_late_call_reaches_its_service_after_its_time() {
    let stack = start();
    stack.provide(&Resources::bucket("lake")).unwrap();
    let late = Duration::from_millis(50);
    stack.calls().inject(Fault::Trouble(Hits::Every(1), vec![Trouble::Late(late)]));
    s3(&stack).put_object().bucket("lake").key("k").body(b"1".to_vec().into()).send().await.unwrap();
    let call = &stack.calls().snapshot()[0];
    assert!(call.finished.unwrap().0 - call.started >= late);
    assert_eq!(stack.objects("lake").unwrap().len(), 1);
}

#[tokio::test]
async fn an_unprocessed_item_is_returned_and_not_written() {
    let stack = start();
    stack.provide(&Resources::table(rows())).unwrap();
    stack.calls().inject(Fault::Unprocessed(Hits::First(2)));
    let write = |items: Vec<WriteRequest>| dynamodb(&stack).batch_write_item().request_items("rows", items).send();
    let answer = write(vec![put("1"), put("2")]).await.unwrap();
    assert_eq!(answer.unprocessed_items().unwrap()["rows"], [put("2")]);
    assert_eq!(stack.scan("rows").unwrap().len(), 1);
    let answer = write(vec![put("2")]).await.unwrap();
    assert_eq!(answer.unprocessed_items().unwrap()["rows"], [put("2")]);
    assert_eq!(stack.scan("rows").unwrap().len(), 1);
    let answer = write(vec![put("2")]).await.unwrap();
    assert!(answer.unprocessed_items().unwrap().is_empty());
    assert_eq!(stack.scan("rows").unwrap().len(), 2);
}

/// Holds the first call at `moment`, and returns the number of objects while it is held. The client is then dropped.
async fn objects_while_held(moment: Moment) -> usize {
    let stack = start();
    stack.provide(&Resources::bucket("lake")).unwrap();
    let (reached, held) = mpsc::channel();
    let hook = Box::new(move |_: &str| reached.send(()).unwrap());
    let call = CallName { service: "s3".into(), operation: "PutObject".into(), nth: 1, target: None };
    stack.calls().inject(Fault::Hold { call, moment, hook });
    let body = vec![0; 3 * MIB];
    let client = tokio::spawn(s3(&stack).put_object().bucket("lake").key("k").body(body.into()).send());
    let found = tokio::task::spawn_blocking(move || {
        held.recv_timeout(PATIENCE).unwrap();
        let calls = stack.calls();
        assert_eq!(calls.in_flight(), 1);
        assert_eq!(calls.snapshot()[0].request_bytes, 3 * MIB);
        let found = stack.objects("lake").unwrap().len();
        assert!(!client.is_finished(), "a held call is not answered");
        client.abort();
        assert!(calls.wait_until(soon(), |calls| calls[0].finished.is_some()), "the client's leaving ends the call");
        assert_eq!(outline(&calls.snapshot()), [("s3", "PutObject", "lake/k", Some(CLIENT_GONE))]);
        assert_eq!(stack.objects("lake").unwrap().len(), found);
        found
    });
    found.await.unwrap()
}

#[tokio::test]
async fn a_call_held_before_does_not_reach_its_service() {
    assert_eq!(objects_while_held(Moment::Before).await, 0);
}

#[tokio::test]
async fn a_batch_that_is_torn_has_done_the_first_half_of_its_work() {
    let stack = start();
    stack.provide(&Resources::table(rows())).unwrap();
    let (reached, held) = mpsc::channel();
    let hook = Box::new(move |_: &str| reached.send(()).unwrap());
    let call = CallName { service: "dynamodb".into(), operation: "BatchWriteItem".into(), nth: 1, target: None };
    stack.calls().inject(Fault::Hold { call, moment: Moment::Torn, hook });
    let batch = dynamodb(&stack).batch_write_item().request_items("rows", ["1", "2", "3", "4"].map(put).into());
    let client = tokio::spawn(batch.send());
    let found = tokio::task::spawn_blocking(move || {
        held.recv_timeout(PATIENCE).unwrap();
        assert!(!client.is_finished(), "a torn call is not answered");
        client.abort();
        stack.scan("rows").unwrap().len()
    });
    assert_eq!(found.await.unwrap(), 2);
}

#[tokio::test]
async fn a_call_held_after_has_done_its_work() {
    assert_eq!(objects_while_held(Moment::After).await, 1);
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_request_ends_the_call() {
    let stack = start();
    stack.provide(&Resources::bucket("lake")).unwrap();
    let signed = PresigningConfig::expires_in(PATIENCE).unwrap();
    let request = s3(&stack).put_object().bucket("lake").key("k").content_length(100).presigned(signed).await.unwrap();
    let uri: hyper::Uri = request.uri().parse().unwrap();
    let address = uri.authority().unwrap().as_str();
    let mut client = TcpStream::connect(address).unwrap();
    let path = uri.path_and_query().unwrap();
    write!(client, "PUT {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 100\r\n\r\nhalf").unwrap();
    let calls = stack.calls();
    assert!(calls.wait_until(soon(), |calls| calls.first().is_some_and(|call| call.request_bytes == 4)));
    assert_eq!(calls.in_flight(), 1);
    drop(client);
    assert!(calls.wait_until(soon(), |calls| calls[0].finished.is_some()));
    assert_eq!(outline(&calls.snapshot()), [("s3", "PutObject", "lake/k", Some(CLIENT_GONE))]);
    assert_eq!(stack.objects("lake").unwrap(), []);
}
