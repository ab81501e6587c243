#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

/// Calls an operation, and returns its answer or the name of its error.
fn call(queues: &Queues, operation: &str, input: &Value) -> Result<Value, &'static str> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let called = queues.call(Call::new(operation, input));
    runtime.block_on(called).map_err(|refusal| refusal.kind)
}

/// Calls an operation about the queue `events`.
fn of_events(queues: &Queues, operation: &str, mut input: Value) -> Result<Value, &'static str> {
    input["QueueUrl"] = json!(url("localhost", "events"));
    call(queues, operation, &input)
}

/// The queue `events`, whose messages go to `dead` when they have been received twice.
fn with_queue() -> Queues {
    let queues = Queues::default();
    queues.create("dead", &BTreeMap::new()).unwrap();
    let policy = json!({"deadLetterTargetArn": arn("dead"), "maxReceiveCount": 2}).to_string();
    queues.create("events", &[("RedrivePolicy".to_owned(), policy)].into()).unwrap();
    queues
}

fn depth(queues: &Queues, name: &str) -> (u64, u64, u64) {
    let QueueDepth { visible, in_flight, delayed } = queues.depth(name).unwrap();
    (visible, in_flight, delayed)
}

/// The receipt handle of the first message in an answer.
fn handle(received: &Value) -> Value {
    received["Messages"][0]["ReceiptHandle"].clone()
}

#[test]
fn a_queue_is_created_once_and_found_by_its_name() {
    let queues = with_queue();
    let created = call(&queues, "CreateQueue", &json!({"QueueName": "q", "Attributes": {"DelaySeconds": "5"}}));
    assert_eq!(created, Ok(json!({"QueueUrl": "http://localhost/000000000000/q"})));
    assert_eq!(call(&queues, "CreateQueue", &json!({"QueueName": "q"})), created, "nothing else is asked for");
    let other = json!({"QueueName": "q", "Attributes": {"DelaySeconds": "6"}});
    assert_eq!(call(&queues, "CreateQueue", &other), Err("QueueNameExists"));
    assert_eq!(call(&queues, "GetQueueUrl", &json!({"QueueName": "q"})), created);
    assert_eq!(call(&queues, "GetQueueUrl", &json!({"QueueName": "x"})), Err("QueueDoesNotExist"));
    for name in ["", "q.fifo", &"x".repeat(81)] {
        let refused = call(&queues, "CreateQueue", &json!({"QueueName": name}));
        assert_eq!(refused, Err("InvalidParameterValueException"), "{name}");
    }
    assert_eq!(call(&queues, "DeleteQueue", &json!({"QueueUrl": "http://localhost/q"})), Err("InvalidAddress"));
    assert_eq!(call(&queues, "TagQueue", &json!({})), Err("UnknownOperationException"));

    let list = |input: Value| call(&queues, "ListQueues", &input).unwrap();
    let page = list(json!({"MaxResults": 2}));
    assert_eq!(page["QueueUrls"], json!([url("localhost", "dead"), url("localhost", "events")]));
    let rest = list(json!({"MaxResults": 2, "NextToken": page["NextToken"]}));
    assert_eq!(rest, json!({"QueueUrls": [url("localhost", "q")]}));
    assert_eq!(list(json!({"QueueNamePrefix": "ev"})), json!({"QueueUrls": [url("localhost", "events")]}));
    of_events(&queues, "DeleteQueue", json!({})).unwrap();
    assert_eq!(queues.depth("events"), None);
}

#[test]
fn attributes_are_read_set_together_and_checked() {
    let queues = with_queue();
    let get = |names: &[&str]| of_events(&queues, "GetQueueAttributes", json!({"AttributeNames": names}));
    let set = |attributes: Value| of_events(&queues, "SetQueueAttributes", json!({"Attributes": attributes}));
    let all = get(&["All"]).unwrap()["Attributes"].clone();
    assert_eq!((&all["VisibilityTimeout"], &all["QueueArn"]), (&json!("30"), &json!(arn("events"))));
    assert!(all["CreatedTimestamp"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(get(&["Policy"]), Ok(json!({})));
    assert_eq!(get(&["Dragon"]), Err("InvalidAttributeName"));

    set(json!({"VisibilityTimeout": "7", "RedrivePolicy": ""})).unwrap();
    let shown = get(&["VisibilityTimeout", "RedrivePolicy"]).unwrap();
    assert_eq!(shown, json!({"Attributes": {"VisibilityTimeout": "7"}}));
    let redrive = |target: String, max: Value| {
        let policy = json!({"deadLetterTargetArn": target, "maxReceiveCount": max});
        json!({"RedrivePolicy": policy.to_string()})
    };
    for (attributes, kind) in [
        (json!({"VisibilityTimeout": "8", "DelaySeconds": "901"}), "InvalidAttributeValue"),
        (json!({"VisibilityTimeout": "8", "FifoQueue": "true"}), "InvalidAttributeName"),
        (json!({"RedrivePolicy": "{"}), "InvalidParameterValueException"),
        (redrive(arn("nobody"), json!(1)), "InvalidParameterValueException"),
        (redrive(arn("events"), json!(1)), "InvalidParameterValueException"),
        (redrive(arn("dead"), json!(0)), "InvalidParameterValueException"),
        (redrive("dead".to_owned(), json!(1)), "InvalidParameterValueException"),
    ] {
        assert_eq!(set(attributes.clone()), Err(kind), "{attributes}");
    }
    assert_eq!(get(&["VisibilityTimeout", "RedrivePolicy"]).unwrap(), shown, "what is refused changes nothing");
    set(redrive(arn("dead"), json!("3"))).unwrap();
}

#[test]
fn what_a_message_must_not_be_is_refused() {
    let queues = with_queue();
    let attributes = |attribute: Value| json!({"MessageBody": "x", "MessageAttributes": {"a": attribute}});
    let many: BTreeMap<String, Value> =
        (0..11).map(|n| (format!("a{n}"), json!({"DataType": "String", "StringValue": "x"}))).collect();
    for (message, kind) in [
        (json!({"MessageBody": ""}), "MissingRequiredParameterException"),
        (json!({"MessageBody": "\u{0}"}), "InvalidMessageContents"),
        (json!({"MessageBody": "x", "DelaySeconds": 901}), "InvalidParameterValueException"),
        (json!({"MessageBody": "x".repeat(1024 * 1024 + 1)}), "InvalidParameterValueException"),
        (json!({"MessageBody": "x", "MessageGroupId": "g"}), "InvalidParameterValueException"),
        (json!({"MessageBody": "x", "MessageAttributes": many}), "InvalidParameterValueException"),
        (attributes(json!({"DataType": "String"})), "InvalidParameterValueException"),
        (attributes(json!({"DataType": "Number", "StringValue": "x"})), "InvalidParameterValueException"),
        (attributes(json!({"DataType": "Binary", "BinaryValue": "?"})), "InvalidParameterValueException"),
        (attributes(json!({"DataType": "Dragon", "StringValue": "x"})), "InvalidParameterValueException"),
    ] {
        assert_eq!(of_events(&queues, "SendMessage", message), Err(kind));
    }
    of_events(&queues, "SendMessage", json!({"MessageBody": "x".repeat(1024 * 1024)})).unwrap();
    assert_eq!(depth(&queues, "events"), (1, 0, 0));
    assert!(!queues.send("nowhere", "x"));
}

#[test]
fn a_message_is_received_with_what_is_asked_for() {
    let queues = with_queue();
    let attributes = json!({
        "kind": {"DataType": "String", "StringValue": "upload"},
        "n": {"DataType": "Number.int", "StringValue": "7"},
        "raw": {"DataType": "Binary", "BinaryValue": "AP8="},
    });
    let message = json!({"MessageBody": "hello", "MessageAttributes": attributes});
    let sent = of_events(&queues, "SendMessage", message).unwrap();
    assert_eq!(sent["MD5OfMessageBody"], "5d41402abc4b2a76b9719d911017c592");
    assert_eq!(sent["MD5OfMessageAttributes"], ALL_ATTRIBUTES);

    let receive = |asked: Value| of_events(&queues, "ReceiveMessage", asked).map(|mut got| got["Messages"][0].take());
    let plain = receive(json!({"VisibilityTimeout": 0})).unwrap();
    assert_eq!((&plain["MessageId"], &plain["Body"]), (&sent["MessageId"], &json!("hello")));
    assert_eq!((&plain["Attributes"], &plain["MessageAttributes"]), (&Value::Null, &Value::Null));
    let asked = json!({
        "MessageSystemAttributeNames": ["ApproximateReceiveCount", "SentTimestamp"],
        "MessageAttributeNames": ["ki.*"],
        "VisibilityTimeout": 0,
    });
    let got = receive(asked).unwrap();
    assert_eq!(got["Attributes"]["ApproximateReceiveCount"], "2");
    assert!(got["Attributes"]["SentTimestamp"].as_str().unwrap().parse::<u64>().unwrap() > 1_600_000_000_000);
    assert_eq!(got["MessageAttributes"], json!({"kind": attributes["kind"]}));
    assert_eq!(got["MD5OfMessageAttributes"], KIND_ALONE, "the digest is that of the attributes that are given");
    for asked in [
        json!({"MaxNumberOfMessages": 11}),
        json!({"MaxNumberOfMessages": 0}),
        json!({"WaitTimeSeconds": 21}),
        json!({"VisibilityTimeout": 43_201}),
    ] {
        assert_eq!(receive(asked), Err("InvalidParameterValueException"));
    }
    assert_eq!(receive(json!({"AttributeNames": ["Dragon"]})), Err("InvalidAttributeName"));
    assert_eq!(receive(json!({"Dragon": 1})), Err("ValidationException"));
}

/// Computed by AWS's description of the digest with Python's `hashlib` and `struct`.
const ALL_ATTRIBUTES: &str = "a0d0a3dfcc5cf4a3b1fd3d202600abf4";
const KIND_ALONE: &str = "81ce4105eaa926f413e55af000f49c12";

#[test]
fn only_the_latest_receipt_deletes_and_hides() {
    let queues = with_queue();
    queues.send("events", "x");
    let receive = |hide: u32| of_events(&queues, "ReceiveMessage", json!({"VisibilityTimeout": hide})).unwrap();
    let delete = |handle: &Value| of_events(&queues, "DeleteMessage", json!({"ReceiptHandle": handle}));
    let hide = |handle: &Value, seconds: u32| {
        let input = json!({"ReceiptHandle": handle, "VisibilityTimeout": seconds});
        of_events(&queues, "ChangeMessageVisibility", input)
    };
    let first = handle(&receive(0));
    assert_eq!(hide(&first, 5), Err("MessageNotInflight"), "it is visible again");
    let second = handle(&receive(30));
    assert_eq!((delete(&first), hide(&first, 0)), (Ok(done()), Err("MessageNotInflight")));
    assert_eq!(depth(&queues, "events"), (0, 1, 0));
    assert_eq!(hide(&second, 43_201), Err("InvalidParameterValueException"));
    hide(&second, 0).unwrap();
    assert_eq!(depth(&queues, "events"), (1, 0, 0));
    assert_eq!((delete(&second), delete(&second)), (Ok(done()), Ok(done())));
    assert_eq!(queues.messages("events").unwrap(), [""; 0]);
    assert_eq!(hide(&second, 0), Err("InvalidParameterValueException"));
    assert_eq!(delete(&json!("x")), Err("ReceiptHandleIsInvalid"));
}

#[test]
fn a_message_that_was_received_too_often_wakes_who_waits_at_the_dead_letter_queue() {
    let queues = with_queue();
    queues.send("events", "poison");
    let receive = |queue: &str| {
        let input = json!({
            "QueueUrl": url("localhost", queue),
            "VisibilityTimeout": 0,
            "WaitTimeSeconds": if queue == "dead" { 20 } else { 0 },
            "AttributeNames": ["All"],
        });
        let queues = queues.clone();
        async move { queues.call(Call::new("ReceiveMessage", &input)).await.unwrap() }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let begun = std::time::Instant::now();
    let dead = runtime.block_on(async {
        let waits = tokio::spawn(receive("dead"));
        tokio::task::yield_now().await;
        for _ in 0..2 {
            assert_eq!(receive("events").await["Messages"][0]["Body"], "poison");
        }
        assert!(!waits.is_finished());
        assert_eq!(receive("events").await, json!({}));
        waits.await.unwrap()
    });
    assert!(begun.elapsed().as_secs() < 10, "the poll went on to its end: {:?}", begun.elapsed());
    assert_eq!(dead["Messages"][0]["Body"], "poison");
    assert_eq!(dead["Messages"][0]["Attributes"]["DeadLetterQueueSourceArn"], arn("events"));
    assert_eq!((depth(&queues, "events"), depth(&queues, "dead")), ((0, 0, 0), (1, 0, 0)));
}

#[test]
fn a_batch_is_refused_as_a_whole_or_by_its_entries() {
    let queues = with_queue();
    let send_all = |entries: Value| of_events(&queues, "SendMessageBatch", json!({"Entries": entries}));
    let entry = |id: &str, body: &str| json!({"Id": id, "MessageBody": body});
    let half = "x".repeat(600_000);
    for (entries, kind) in [
        (json!([]), "EmptyBatchRequest"),
        ((0..11).map(|n| entry(&n.to_string(), "x")).collect(), "TooManyEntriesInBatchRequest"),
        (json!([entry("a", "x"), entry("a", "y")]), "BatchEntryIdsNotDistinct"),
        (json!([entry("a b", "x")]), "InvalidBatchEntryId"),
        (json!([entry("a", &half), entry("b", &half)]), "BatchRequestTooLong"),
    ] {
        assert_eq!(send_all(entries), Err(kind));
    }
    assert_eq!(queues.messages("events").unwrap(), [""; 0]);

    let delayed = json!({"Id": "c", "MessageBody": "z", "DelaySeconds": 900});
    let sent = send_all(json!([entry("a", "x"), entry("b", "\u{1}"), delayed])).unwrap();
    assert_eq!((&sent["Successful"][0]["Id"], &sent["Successful"][1]["Id"]), (&json!("a"), &json!("c")));
    let failed = &sent["Failed"][0];
    assert_eq!((&failed["Id"], &failed["Code"]), (&json!("b"), &json!("InvalidMessageContents")));
    assert_eq!(depth(&queues, "events"), (1, 0, 1));

    let got = of_events(&queues, "ReceiveMessage", json!({"MaxNumberOfMessages": 10})).unwrap();
    let hide = json!({"Entries": [{"Id": "a", "ReceiptHandle": handle(&got), "VisibilityTimeout": 60}]});
    let hidden = of_events(&queues, "ChangeMessageVisibilityBatch", hide).unwrap();
    assert_eq!(hidden, json!({"Successful": [{"Id": "a"}], "Failed": []}));
    let delete = json!({"Entries": [{"Id": "a", "ReceiptHandle": handle(&got)}, {"Id": "b", "ReceiptHandle": "x"}]});
    let deleted = of_events(&queues, "DeleteMessageBatch", delete).unwrap();
    assert_eq!(deleted["Successful"], json!([{"Id": "a"}]));
    assert_eq!(deleted["Failed"][0]["Code"], "ReceiptHandleIsInvalid");
    assert_eq!(queues.messages("events").unwrap(), ["z"]);
    of_events(&queues, "PurgeQueue", json!({})).unwrap();
    assert_eq!(of_events(&queues, "PurgeQueue", json!({})), Err("PurgeQueueInProgress"));
    assert_eq!(queues.messages("events").unwrap(), [""; 0]);
}

#[test]
fn a_long_poll_that_waits_already_ends_when_long_polls_are_ended_and_loses_no_message() {
    let queues = with_queue();
    let input = json!({"QueueUrl": url("localhost", "events"), "WaitTimeSeconds": 20});
    let receive = || {
        let (queues, input) = (queues.clone(), input.clone());
        async move { queues.call(Call::new("ReceiveMessage", &input)).await.unwrap() }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let waits = tokio::spawn(receive());
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        queues.set_long_polls(false);
        assert_eq!(waits.await.unwrap(), json!({}));
        assert_eq!(receive().await, json!({}), "and no other one waits for long");
        queues.send("events", "one");
        assert_eq!(receive().await["Messages"][0]["Body"], "one");
        queues.set_long_polls(true);
        let waits = tokio::spawn(receive());
        tokio::task::yield_now().await;
        queues.send("events", "two");
        assert_eq!(waits.await.unwrap()["Messages"][0]["Body"], "two");
    });
}
