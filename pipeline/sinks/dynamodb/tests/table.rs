//! The sink against an embedded DynamoDB, driven as the runtime drives it.

mod harness;

use std::collections::HashSet;
use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::ScalarAttributeType::{B, N, S};
use fms_aws::Verdict;
use fms_connect::{Demand, Flush, SinkError, testing};
use harness::{Fault, Lab, enveloped, partition};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// Keys by which only rows that are equal in every field are one item.
const BY_CONTENT: [(&str, &str); 2] =
    [("dynamodb.partition.key", "${id}"), ("dynamodb.sort.key", "${timestamp_iso|messaged_at}#${@digest}")];

fn by_content(lab: &Lab) -> harness::Driver {
    lab.table(("pk", S), Some(("sk", S)), None);
    let mut driver = lab.start(&BY_CONTENT).expect("started");
    driver.open(0);
    driver
}

/// Items by their partition key alone, which is the row's field `pk`.
fn by_field(lab: &Lab) -> harness::Driver {
    lab.table(("pk", S), None, None);
    let mut driver = lab.start(&[]).expect("started");
    driver.open(0);
    driver
}

/// A value is what the row said, digit for digit; the key's attributes are added.
#[test]
fn values_are_kept() {
    let lab = Lab::new();
    let mut driver = by_content(&lab);
    let digits = "1234567890123456789012345678901234567.8";
    let message = format!(
        r#"{{"id":10022,"timestamp_iso":"2023-01-01T12:00:00.000+09:00","n":{digits},"big":9007199254740993,"s":"é😀\n","empty":"",
           "none":null,"list":[1,"x",{{"y":[]}}],"yes":true}}"#
    );
    assert!(driver.put(0, 7, &message).is_empty());
    assert_eq!(driver.flush(0), 8);
    let items = lab.items();
    assert_eq!(items.len(), 1);
    let item = &items[0];
    assert_eq!(item["pk"], "10022");
    assert!(item["sk"].as_str().is_some_and(|sk| sk.starts_with("2023-01-01T12:00:00.000+09:00#")));
    assert_eq!(
        (&item["id"], &item["n"], &item["big"]),
        (&json!({"N": "10022"}), &json!({ "N": digits }), &json!({"N": "9007199254740993"}))
    );
    assert_eq!((&item["s"], &item["empty"], &item["none"]), (&json!("é😀\n"), &json!(""), &Value::Null));
    assert_eq!((&item["list"], &item["yes"]), (&json!([{"N": "1"}, "x", {"y": []}]), &json!(true)));
}

/// Two rows of one second that differ stay two; the same message again adds nothing.
#[test]
fn same_second_stays_two_and_the_same_message_one() {
    let lab = Lab::new();
    let mut driver = by_content(&lab);
    let message = r#"{"id":1,"measurements":[{"timestamp_iso":"T","speed":1},{"timestamp_iso":"T","speed":2},{"timestamp_iso":"T","speed":1}]}"#;
    driver.put(0, 0, message);
    driver.put(0, 1, message);
    driver.flush(0);
    let speeds: HashSet<String> = lab.items().iter().map(|item| item["speed"].to_string()).collect();
    assert_eq!(lab.items().len(), 2);
    assert_eq!(speeds.len(), 2);
}

/// Of rows with one key the last is stored, however they fall into batches, and no call has a key twice.
#[test]
fn newest_row_of_a_key_wins() {
    let lab = Lab::new();
    let mut driver = by_field(&lab);
    for offset in 0..40 {
        let rows: Vec<_> = (0..5).map(|n| format!(r#"{{"pk":"k{}","at":{}}}"#, n % 3, offset * 10 + n)).collect();
        driver.put(0, offset, &format!(r#"{{"measurements":[{}]}}"#, rows.join(",")));
    }
    assert_eq!(driver.flush(0), 40);
    let newest = [("k2", "392"), ("k0", "393"), ("k1", "394")].map(|(pk, at)| json!({"pk": pk, "at": {"N": at}}));
    assert_eq!(lab.items(), newest);
    for call in lab.wire.writes() {
        let keys: HashSet<String> = call.iter().map(|put| put["PutRequest"]["Item"]["pk"].to_string()).collect();
        assert_eq!(keys.len(), call.len());
    }
    assert_eq!(driver.held(), 0);
}

/// 2,000 rows of one message are stored in full batches, at most eight calls at a time, and the memory is accounted
/// for.
#[test]
fn large_message_goes_in_full_batches() {
    let lab = Lab::new();
    let mut driver = by_field(&lab);
    let held = Arc::new(Semaphore::new(0));
    lab.wire.then((0..80).map(|_| Fault::Hold(Arc::clone(&held))));
    let rows: Vec<_> = (0..2000).map(|n| format!(r#"{{"pk":"{n}"}}"#)).collect();
    driver.put(0, 0, &format!(r#"{{"measurements":[{}]}}"#, rows.join(",")));
    assert!(driver.held() > 2000 * 10);
    driver.due(0, Demand::Commit, None).expect("due");
    for answered in 0..80 {
        lab.wire.wait_for((answered + 8).min(80));
        let complete = driver.is_flushed(0);
        assert!(!complete && lab.wire.calls() <= answered + 8, "after {answered} answers");
        held.add_permits(1);
        driver.woken();
        let complete = driver.is_flushed(0);
        assert_eq!(complete, answered == 79);
    }
    assert_eq!(lab.items().len(), 2000);
    assert!(lab.wire.writes().iter().all(|call| call.len() == 25));
    assert_eq!(driver.held(), 0);
}

/// What comes while all eight calls are in flight goes in one batch.
#[test]
fn what_waits_goes_together() {
    let lab = Lab::new();
    let mut driver = by_field(&lab);
    let held = Arc::new(Semaphore::new(0));
    lab.wire.then((0..9).map(|_| Fault::Hold(Arc::clone(&held))));
    for offset in 0..20 {
        driver.put(0, offset, &format!(r#"{{"pk":"{offset}"}}"#));
    }
    lab.wire.wait_for(8);
    held.add_permits(9);
    driver.flush(0);
    let calls: Vec<_> = lab.wire.writes().iter().map(Vec::len).collect();
    assert_eq!(calls, [1, 1, 1, 1, 1, 1, 1, 1, 12]);
}

/// What no item can be is errant by itself, with its text and reason, and the rows beside it are stored.
#[test]
fn impossible_rows_are_errant_alone() {
    let lab = Lab::new();
    let mut driver = by_field(&lab);
    let text = |bytes: usize| "t".repeat(bytes);
    let rows = [
        r#"{"pk":"good"}"#.to_owned(),
        format!(r#"{{"pk":"large","t":"{}"}}"#, text(400 * 1024)),
        // Beside the text: (2 + 4) + 1 bytes here, (6 + 1) + (4 + 1) + (2 + 1) of the envelope.
        format!(r#"{{"pk":"full","t":"{}"}}"#, text(400 * 1024 - 22)),
        format!(r#"{{"pk":"digits","n":{}}}"#, "7".repeat(39)),
        r#"{"pk":"range","n":1e126}"#.to_owned(),
        r#"{"pk":"surrogate","s":"\ud83d"}"#.to_owned(),
        r#"{"pk":"twice","o":{"a":1,"a":2}}"#.to_owned(),
        format!(r#"{{"pk":"deep","o":{}{}}}"#, "[".repeat(40), "]".repeat(40)),
        r#"{"pk":""}"#.to_owned(),
        r#"{"x":"no key"}"#.to_owned(),
        r#"{"pk":17}"#.to_owned(),
        format!(r#"{{"pk":"{}"}}"#, text(2049)),
    ];
    let errant = driver.put(0, 3, &format!(r#"{{"measurements":[{}]}}"#, rows.join(",")));
    let expected = [
        (1, "ItemTooLarge", "409600"),
        (3, "TooManyDigits", "39 significant digits"),
        (4, "NumberOutOfRange", "magnitudes"),
        (5, "LoneSurrogate", "of the row"),
        (6, "DuplicateField", "`o` has the field `a` twice, at bytes"),
        (7, "NestedTooDeep", "32 levels deep, which is DynamoDB's limit"),
        (8, "MissingField", "needs the field `pk`, which is empty"),
        (9, "MissingField", "needs the field `pk`, which is absent"),
        (10, "KeyConflict", "17"),
        (
            11,
            "KeyTooLong",
            "its template `${pk}` (dynamodb.partition.key) is filled in mostly by field `pk` with 2049 bytes",
        ),
    ];
    assert_eq!(errant.iter().map(|row| row.index).collect::<Vec<_>>(), expected.map(|(index, ..)| index));
    for (row, (index, class, reason)) in errant.iter().zip(expected) {
        assert!(row.error.contains("t-1") && row.error.contains(reason), "{reason}: {}", row.error);
        assert_eq!(row.class, class);
        assert_eq!(String::from_utf8_lossy(&row.text), enveloped(&rows[index]));
        assert_eq!(row.origin.offset, 3);
    }
    assert_eq!(driver.flush(0), 4);
    let keys: Vec<_> = lab.items().iter().map(|item| item["pk"].clone()).collect();
    assert_eq!(keys, ["full", "good"]);
}

/// A key of type N is one key however the number is written.
#[test]
fn number_keys_are_equal_by_value() {
    let lab = Lab::new();
    lab.table(("id", N), Some(("at", N)), None);
    let mut driver = lab.start(&[("dynamodb.sort.key", "${t}")]).expect("started");
    driver.open(0);
    let rows = [r#"{"id":1,"t":"5","v":1}"#, r#"{"id":1.0,"t":"5.00","v":2}"#, r#"{"id":10e-1,"t":50e-1,"v":3}"#];
    driver.put(0, 0, &format!(r#"{{"measurements":[{}]}}"#, rows.join(",")));
    let errant = driver.put(0, 1, r#"{"id":"1","t":5}"#);
    assert!(errant[0].error.contains("type N"), "{}", errant[0].error);
    let errant = driver.put(0, 2, r#"{"id":1,"t":"five"}"#);
    assert!(errant[0].error.contains("`five` is not a number"), "{}", errant[0].error);
    driver.flush(0);
    assert_eq!(lab.items(), [json!({"id": {"N": "1"}, "at": {"N": "5"}, "t": {"N": "5"}, "v": {"N": "3"}})]);
}

/// Throttling, unprocessed items, server errors and lost answers delay rows but lose none.
#[test]
fn passing_faults_lose_nothing() {
    let lab = Lab::new();
    let mut driver = by_field(&lab);
    lab.wire.then([
        Fault::Error(400, "ProvisionedThroughputExceededException"),
        Fault::Unprocessed(10),
        Fault::Error(500, "InternalServerError"),
        Fault::LostAnswer,
        Fault::Unprocessed(0),
        Fault::Error(400, "ThrottlingException"),
        Fault::Unprocessed(1),
    ]);
    let rows: Vec<_> = (0..25).map(|n| format!(r#"{{"pk":"{n}"}}"#)).collect();
    driver.put(0, 0, &format!(r#"{{"measurements":[{}]}}"#, rows.join(",")));
    assert_eq!(driver.flush(0), 1);
    assert_eq!(lab.items().len(), 25);
    assert_eq!(lab.wire.writes().iter().map(Vec::len).collect::<Vec<_>>(), [25, 25, 15, 15, 15, 15, 15, 14]);
}

/// What was unprocessed is sent again without what was processed.
#[test]
fn only_what_is_left_is_sent_again() {
    let lab = Lab::new();
    let mut driver = by_field(&lab);
    lab.wire.then([Fault::Unprocessed(2)]);
    driver.put(0, 0, r#"{"measurements":[{"pk":"a"},{"pk":"b"},{"pk":"c"}]}"#);
    driver.flush(0);
    assert_eq!(lab.wire.writes().iter().map(Vec::len).collect::<Vec<_>>(), [3, 1]);
    assert_eq!(lab.items().len(), 3);
}

/// A row that only the table can refuse (an index's key of another type) is found and the rows of its batch are stored;
/// an older row that it had superseded is stored too.
#[test]
fn row_that_the_table_refuses_is_errant_alone() {
    let lab = Lab::new();
    lab.table(("pk", S), None, Some(("speed", N)));
    let mut driver = lab.start(&[]).expect("started");
    driver.open(0);
    let rows = r#"{"pk":"a","speed":1},{"pk":"b","speed":2},{"pk":"b","speed":"fast"},{"pk":"c"}"#;
    assert!(driver.put(0, 5, &format!(r#"{{"measurements":[{rows}]}}"#)).is_empty());
    let (end, errant) = driver.flush_errant(0);
    assert_eq!(end, 6);
    assert_eq!(errant.len(), 1);
    let row = &errant[0];
    assert_eq!((row.index, row.origin.offset), (2, 5));
    assert_eq!(String::from_utf8_lossy(&row.text), enveloped(r#"{"pk":"b","speed":"fast"}"#));
    assert_eq!(row.class, "RefusedByTable");
    assert!(row.error.contains("item b") && row.error.contains("ValidationException"), "{}", row.error);
    let id = row.request_id.as_deref().expect("the service gives one");
    assert!(!id.is_empty() && !row.error.contains(id), "the same reason each time: {}", row.error);
    assert_eq!(
        lab.items(),
        [json!({"pk": "a", "speed": {"N": "1"}}), json!({"pk": "b", "speed": {"N": "2"}}), json!({"pk": "c"})]
    );
}

/// Wherever a refused row stands in a full batch, it is found by halves, and every other row is stored.
#[test]
fn refused_row_of_a_batch_is_found_by_halves() {
    for (bad, calls) in [(0, &[25, 13, 7, 4, 2, 1, 1, 2, 3, 6, 12][..]), (24, &[25, 13, 12, 6, 6, 3, 3, 2, 1])] {
        let lab = Lab::new();
        lab.table(("pk", S), None, Some(("speed", N)));
        let mut driver = lab.start(&[]).expect("started");
        driver.open(0);
        let speed = |n| if n == bad { r#""fast""# } else { "1" };
        let rows: Vec<_> = (0..25).map(|n| format!(r#"{{"pk":"{n}","speed":{}}}"#, speed(n))).collect();
        driver.put(0, 5, &format!(r#"{{"measurements":[{}]}}"#, rows.join(",")));
        let (_, errant) = driver.flush_errant(0);
        assert_eq!(errant.iter().map(|row| row.index).collect::<Vec<_>>(), [bad]);
        assert_eq!(lab.items().len(), 24);
        assert_eq!(lab.wire.writes().iter().map(Vec::len).collect::<Vec<_>>(), calls);
    }
}

/// Several refused rows of a batch are all found, in their order, also beside faults that pass.
#[test]
fn all_refused_rows_of_a_batch_are_found() {
    let lab = Lab::new();
    lab.table(("pk", S), None, Some(("speed", N)));
    let mut driver = lab.start(&[]).expect("started");
    driver.open(0);
    // The second call is that of the first half.
    lab.wire.then([
        Fault::Hold(Arc::new(Semaphore::new(1))),
        Fault::Error(500, "InternalServerError"),
        Fault::Unprocessed(0),
    ]);
    let rows: Vec<_> =
        (0..25).map(|n| format!(r#"{{"pk":"{n}","speed":{}}}"#, if n % 7 == 3 { "true" } else { "1" })).collect();
    driver.put(0, 5, &format!(r#"{{"measurements":[{}]}}"#, rows.join(",")));
    let (_, errant) = driver.flush_errant(0);
    assert_eq!(errant.iter().map(|row| row.index).collect::<Vec<_>>(), [3, 10, 17, 24]);
    assert_eq!(lab.items().len(), 21);
}

/// DynamoDB refuses a zero for the exponent it is written with, but holds it.
#[test]
fn zero_is_stored_however_it_is_written() {
    let lab = Lab::new();
    lab.table(("id", N), None, None);
    let mut driver = lab.start(&[]).expect("started");
    driver.open(0);
    let zeros = ["0", "-0", "0e126", "0.0e-130", "-0e400", "0E+99999999999999999999"];
    assert!(driver.put(0, 0, &format!(r#"{{"id":0e400,"zeros":[{}],"n":-0e400}}"#, zeros.join(","))).is_empty());
    driver.flush(0);
    let zero = || json!({"N": "0"});
    assert_eq!(lab.items(), [json!({"zeros": zeros.map(|_| zero()), "n": zero()})]);
}

/// A row that the table refuses does not wait for the next commit to be known.
#[test]
fn refused_row_makes_a_flush_due() {
    let lab = Lab::new();
    lab.table(("pk", S), None, Some(("speed", N)));
    let mut driver = lab.start(&[]).expect("started");
    driver.open(0);
    driver.put(0, 5, r#"{"pk":"a","speed":"fast"}"#);
    let flush = loop {
        match driver.due(0, Demand::Settings, None) {
            Some(flush) => break flush,
            None => driver.woken(),
        }
    };
    assert_eq!(flush, Flush { end: 6, intent: false, reason: "errant rows" });
    let mut errant = Vec::new();
    assert!(driver.task().poll(&partition(0), &mut errant).expect("polled"));
    assert_eq!(errant.len(), 1);
    assert_eq!(driver.due(0, Demand::Settings, None), None);
}

/// A table that is deleted and created again delays rows, but loses none.
#[test]
fn a_table_that_is_made_again_is_written_to() {
    let lab = Lab::new();
    let mut driver = by_field(&lab);
    lab.runtime.block_on(lab.client.delete_table().table_name("t-1").send()).expect("deleted");
    driver.put(0, 41, r#"{"pk":"a"}"#);
    // The call was refused, and is retried.
    lab.wire.wait_for(3);
    lab.table(("pk", S), None, None);
    assert_eq!(driver.flush(0), 42);
    assert_eq!(lab.items(), [json!({"pk": "a"})]);
}

/// A table that stays away fails the task, and the error says what to do.
#[test]
fn a_table_that_stays_away_fails_the_task() {
    let lab = Lab::new();
    lab.table(("pk", S), None, None);
    let mut driver = lab.start(&[("errors.retry.timeout", "50")]).expect("started");
    driver.open(0);
    lab.runtime.block_on(lab.client.delete_table().table_name("t-1").send()).expect("deleted");
    driver.put(0, 41, r#"{"pk":"a"}"#);
    let error = driver.failure(0);
    let SinkError::Fatal { text, .. } = &error else { panic!("not fatal: {error}") };
    let cause = std::error::Error::source(&error).expect("its cause").to_string();
    assert!(cause.starts_with("ResourceNotFoundException"), "{cause}");
    for part in [
        "t-1",
        "key a",
        "topic-0 offsets 41 to 41",
        "ResourceNotFoundException",
        "dynamodb.table",
        "restarts by itself",
    ] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    assert_eq!(driver.try_put(0, 42, r#"{"pk":"b"}"#).expect_err("failed").to_string(), *text);
}

/// The rows of a closed partition are neither sent nor sent again, and their failures fail no task.
#[test]
fn closed_partition_is_left_alone() {
    let lab = Lab::new();
    let mut driver = by_field(&lab);
    driver.open(1);
    let held = Arc::new(Semaphore::new(0));
    lab.wire
        .then([Fault::Hold(Arc::clone(&held)), Fault::HoldThenError(Arc::clone(&held), 400, "AccessDeniedException")]);
    driver.put(0, 0, r#"{"pk":"a","v":"old"}"#);
    lab.wire.wait_for(1);
    driver.put(0, 1, r#"{"pk":"a","v":"waits"}"#);
    driver.put(0, 1, r#"{"pk":"b","v":"denied"}"#);
    driver.put(1, 0, r#"{"pk":"a","v":"new"}"#);
    lab.wire.wait_for(2);
    driver.task().close(&partition(0));
    assert!(driver.task().due(&partition(0), &testing::tick(Demand::Commit)).is_err());
    held.add_permits(2);
    assert_eq!(driver.flush(1), 1);
    assert_eq!(lab.items(), [json!({"pk": "a", "v": "new"})]);
    assert!(lab.wire.writes().iter().flatten().all(|put| !put.to_string().contains("waits")));
    while driver.held() > 0 {
        driver.woken();
        driver.task().poll(&partition(1), &mut Vec::new()).expect("a failure of a closed partition is none");
    }
}

/// A call that waits to be repeated does not come back after its partition has gone to another owner.
#[test]
fn revoked_rows_are_not_sent_again() {
    let lab = Lab::new();
    let mut driver = by_field(&lab);
    driver.open(1);
    lab.wire.then((0..3).map(|_| Fault::Error(400, "ThrottlingException")));
    driver.put(0, 0, r#"{"pk":"a"}"#);
    lab.wire.wait_for(1);
    driver.task().close(&partition(0));
    driver.put(1, 0, r#"{"pk":"b"}"#);
    driver.flush(1);
    while driver.held() > 0 {
        driver.woken();
        driver.task().poll(&partition(1), &mut Vec::new()).expect("polled");
    }
    assert_eq!(lab.items(), [json!({"pk": "b"})]);
}

/// A flush is due when it is asked for, or at the partition's end, and only if there is something new; records without
/// rows count.
#[test]
fn due_when_there_is_something_to_commit() {
    let lab = Lab::new();
    let mut driver = by_field(&lab);
    assert_eq!(driver.due(0, Demand::Commit, None), None);
    driver.put(0, 9, r#"{"measurements":[]}"#);
    assert_eq!(driver.due(0, Demand::Settings, None), None);
    for (demand, idle, reason) in [
        (Demand::Settings, Some(Duration::ZERO), "idle"),
        (Demand::Commit, None, "offset.flush.interval.ms"),
        (Demand::Memory, None, "buffer.memory"),
        (Demand::Shutdown, None, "shutdown"),
    ] {
        assert_eq!(driver.due(0, demand, idle), Some(Flush { end: 10, intent: false, reason }));
    }
    assert_eq!(driver.flush(0), 10);
    assert_eq!(driver.due(0, Demand::Commit, None), None);
    assert!(lab.wire.writes().is_empty());
}

/// What is wrong with the configuration is said at start.
#[test]
fn start_says_what_is_wrong() {
    let lab = Lab::new();
    let wrong = |settings: &[(&str, &str)]| match lab.start(settings) {
        Ok(_) => panic!("started"),
        Err(error) => error.to_string(),
    };
    let missing = wrong(&[]);
    for part in ["dynamodb.table", "t-1", "ResourceNotFoundException", "create the table"] {
        assert!(missing.contains(part), "`{part}` is not in: {missing}");
    }
    lab.table(("pk", S), None, None);
    let sort = wrong(&[("dynamodb.sort.key", "${seq}")]);
    assert!(sort.contains("dynamodb.sort.key") && sort.contains("has no sort key"), "{sort}");
    let template = wrong(&[("dynamodb.partition.key", "${id")]);
    assert!(template.contains("dynamodb.partition.key") && template.contains('}'), "{template}");
    assert!(wrong(&[("dynamodb.table", "no/such name")]).contains("dynamodb.table"));
}

#[test]
fn start_refuses_keys_that_rows_cannot_fill_in() {
    let lab = Lab::new();
    lab.table(("pk", B), None, None);
    let error = lab.start(&[]).err().expect("refused").to_string();
    assert!(error.contains("`pk`") && error.contains("type B"), "{error}");
}

/// The client that production uses speaks TLS to an https endpoint.
#[test]
fn https_endpoints_are_spoken_to_in_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("https://{}", listener.local_addr().expect("an address"));
    let first_byte = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().expect("a connection");
        let mut byte = [0];
        connection.read_exact(&mut byte).expect("a byte");
        byte[0]
    });
    let lab = Lab::new();
    let aws = lab.aws.clone().into_builder().endpoint_url(endpoint).http_client(fms_aws::https()).build();
    let client = aws_sdk_dynamodb::Client::new(&aws);
    let error =
        lab.runtime.block_on(client.describe_table().table_name("t-1").send()).expect_err("the connection ends");
    assert_eq!(fms_aws::Error::from(error).verdict(), Verdict::Transient("connection"));
    assert_eq!(first_byte.join().expect("read"), 0x16, "the first byte of a TLS handshake");
}
