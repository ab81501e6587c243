//! How often memory is allocated for a row on its way from a message into a batch. Calls run on other threads and are not
//! counted.

#[allow(dead_code, reason = "the other test uses the rest of it")]
mod harness;

use std::fmt::Write as _;
use std::sync::Arc;

use allocation_counter::measure;
use aws_sdk_dynamodb::types::ScalarAttributeType::S;
use fms_record::{Parser, Row};
use harness::{Fault, Lab, partition};
use tokio::sync::Semaphore;

const ROWS: usize = 1000;

/// The most allocations of a row: its text, its key and its item are kept until a call has written it, each in memory of
/// its own that grows while it is written, and the digest in its key sorts its fields.
const LIMIT: u64 = 20;

/// How often this thread allocates until the rows of a message whose list has so many elements wait for a call.
fn allocations(rows: usize) -> u64 {
    let lab = Lab::new();
    lab.table(("pk", S), Some(("sk", S)), None);
    let keys = [
        ("dynamodb.partition.key", "${id}#${object}#${type}#${command}"),
        ("dynamodb.sort.key", "${timestamp_iso}#${@digest}"),
    ];
    let mut driver = lab.start(&keys).expect("started");
    driver.open(0);
    // No call ends, so as many of them are begun for few rows as for many.
    let held = Arc::new(Semaphore::new(0));
    lab.wire.then((0..100).map(|_| Fault::Hold(Arc::clone(&held))));
    let mut message =
        r#"{"object":"vehicle","type":"kinematic","command":"report","id":10022,"measurements":["#.to_owned();
    for row in 0..rows {
        let (comma, minute, second) = (if row == 0 { "" } else { "," }, row / 60 % 60, row % 60);
        write!(
            message,
            r#"{comma}{{"timestamp_iso":"2024-09-07T16:{minute:02}:{second:02}.000+09:00","latitude":37.5123,"longitude":126.9{row:04},"speed":{row}.5}}"#
        )
        .expect("text");
    }
    message.push_str("]}");
    let mut parser = Parser::new(Some("measurements".to_owned()));
    let counted = measure(|| {
        let message = parser.parse(message.as_bytes()).expect("a message");
        let rows: Vec<Row<'_>> = message.rows().map(|row| row.expect("a row")).collect();
        driver.inner.put_rows(&partition(0), 0, &rows).expect("to put");
    });
    assert!(driver.inner.errant.is_empty(), "{:?}", driver.inner.errant);
    held.add_permits(10_000);
    counted.count_total
}

#[test]
fn a_row_takes_few_allocations() {
    let [once, twice] = [ROWS, 2 * ROWS].map(allocations);
    let each = (twice - once).div_ceil(ROWS as u64);
    assert!(each <= LIMIT, "{each} allocations a row: {once} for {ROWS} rows, {twice} for twice as many");
}
