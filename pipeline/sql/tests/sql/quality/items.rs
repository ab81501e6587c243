//! The rows of a lake beside the items that the worker's other sink has written of the same messages.

use std::path::Path;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use e2e::internals::{Resources, Stack as _, Table};
use fms_lake::Settings;
use insta::assert_snapshot;
use serde_json::json;

use super::suite;
use crate::common::{Ran, Services, run};

const CHECK: &str = "  - {name: both, in_dynamodb: {table: items, key: '${id}#vehicle#status#report'}, settle: 2h}\n";

/// A row of this vehicle at a time of the first of January.
fn row(id: u64, time: &str) -> String {
    json!({"object": "vehicle", "type": "status", "command": "report", "id": id, "timestamp_iso": format!("2023-01-01T{time}Z")})
        .to_string()
}

/// The keys of its item, of which the sort key ends with a digest.
fn key(id: u64, time: &str) -> [(&'static str, String); 2] {
    [("pk", format!("{id}#vehicle#status#report")), ("sk", format!("2023-01-01T{time}Z#0a1b"))]
}

struct World {
    services: Services,
    client: Client,
}

impl World {
    fn new(rows: &[String]) -> Self {
        let services = Services::start();
        services.convert(Settings::default(), &[("topics/a.json".to_owned(), rows.join("\n"))]);
        let key = |name: &str| (name.to_owned(), "S".to_owned());
        let table =
            Table { name: "items".into(), partition_key: key("pk"), sort_key: Some(key("sk")), indexes: Vec::new() };
        services.stack.provide(&Resources { tables: vec![table], ..Resources::default() }).expect("a table");
        let client = Client::new(&services.aws());
        Self { services, client }
    }

    /// Puts an item of some size, so that those of a vehicle are several pages.
    fn put(&self, id: u64, time: &str, bytes: usize) {
        let mut put = self.client.put_item().table_name("items").item("more", AttributeValue::S("x".repeat(bytes)));
        for (name, value) in key(id, time) {
            put = put.item(name, AttributeValue::S(value));
        }
        self.services.runtime.block_on(put.send()).expect("put");
    }

    fn delete(&self, id: u64, time: &str) {
        let mut delete = self.client.delete_item().table_name("items");
        for (name, value) in key(id, time) {
            delete = delete.key(name, AttributeValue::S(value));
        }
        self.services.runtime.block_on(delete.send()).expect("deleted");
    }

    fn run(&self, file: &Path, more: &[&str]) -> Ran {
        let mut command = self.services.program();
        command.args(["quality", "run", "--to", "2023-01-01", "--database", "fleet"]).args(more).arg(file);
        run(&mut command)
    }
}

#[test]
fn keys_that_are_on_one_side_alone_are_named_by_hour() {
    let times = ["08:00:00", "08:00:01", "09:00:00.25", "23:30:00"];
    let rows: Vec<String> = [7, 8].iter().flat_map(|id| times.map(|time| row(*id, time))).collect();
    // The same message twice is one item.
    let world = World::new(&[&rows[..], &rows[..1]].concat());
    for id in [7, 8] {
        for time in times {
            world.put(id, time, 300_000);
        }
    }
    // A device of which the lake has nothing that day.
    world.put(9, "10:00:00", 1);
    let file = suite(CHECK);
    let late = ["--now", "2023-01-02T12:00:00Z"];
    let ran = world.run(file.path(), &late).done();
    assert!(ran.contains("pass  vehicle_status_report: both: 0 of 8 keys are on one side alone"), "{ran}");

    world.delete(7, "08:00:01");
    world.delete(8, "23:30:00");
    world.put(8, "08:00:01.5", 1);
    let ran = world.run(file.path(), &late);
    assert_eq!(ran.status, Some(1), "{}", ran.error);
    assert_snapshot!(ran.output);
    // The last hour has not settled yet.
    let ran = world.run(file.path(), &["--now", "2023-01-02T01:00:00Z"]);
    assert!(ran.output.contains("2 of 7 keys are on one side alone"), "{}", ran.output);
}

/// No file of the lake changes when items are mended, so a failure holds no longer than until the next run.
#[test]
fn what_failed_is_looked_at_again_although_no_file_has_changed() {
    let world = World::new(&[row(7, "08:00:00")]);
    let file = suite(CHECK);
    let run = |day: u32| {
        let now = format!("2023-01-{day:02}T12:00:00Z");
        let ran = world.run(file.path(), &["--now", &now, "--history", "s3://lake/v1", "--changed"]);
        ran.output.lines().last().unwrap_or_default().to_owned()
    };
    assert_eq!(run(2), "1 checks: 0 passed, 0 warned, 1 failed, 0 could not run");
    assert_eq!(run(3), "1 checks: 0 passed, 0 warned, 1 failed, 0 could not run");
    world.put(7, "08:00:00", 1);
    assert_eq!(run(4), "1 checks: 1 passed, 0 warned, 0 failed, 0 could not run");
    assert_eq!(run(5), "0 checks: 0 passed, 0 warned, 0 failed, 0 could not run");
    // What passed does not hold if another job has found since that it does not.
    world.delete(7, "08:00:00");
    let of_day = ["--now", "2023-01-05T13:00:00Z", "--history", "s3://lake/v1", "--from", "2023-01-01"];
    assert_eq!(world.run(file.path(), &of_day).status, Some(1));
    assert_eq!(run(6), "1 checks: 0 passed, 0 warned, 1 failed, 0 could not run");
}

#[test]
fn a_table_that_is_not_there_or_has_no_times_is_named() {
    let world = World::new(&[row(7, "08:00:00")]);
    let other = suite(&CHECK.replace("table: items", "table: others"));
    let ran = world.run(other.path(), &["--now", "2023-01-02T12:00:00Z"]);
    assert_eq!(ran.status, Some(2), "{}", ran.error);
    assert!(ran.output.contains("cannot look at the table `others` of DynamoDB"), "{}", ran.output);
    let [(pk, key), (sk, _)] = key(7, "08:00:00");
    let put = world.client.put_item().table_name("items").item(pk, AttributeValue::S(key));
    let put = put.item(sk, AttributeValue::S("2023-01-01T09-none".to_owned()));
    world.services.runtime.block_on(put.send()).expect("put");
    let ran = world.run(suite(CHECK).path(), &["--now", "2023-01-02T12:00:00Z"]);
    assert!(
        ran.output.contains("an item of the table `items` does not have a time before the first `#` of `sk`"),
        "{}",
        ran.output
    );
    assert!(!ran.output.contains("T09-none"), "what may be masked is named: {}", ran.output);
}

/// Vehicles write the time of where they are, and the sink writes it into the key as it is.
#[test]
fn the_time_of_a_key_may_have_any_offset() {
    let times = ["2023-01-01T09:30:00+09:00", "2023-01-02T08:00:00+09:00", "2022-12-31T20:00:00-05:00"];
    let rows = times.map(|time| row(7, "08:00:00").replace("2023-01-01T08:00:00Z", time));
    let world = World::new(&rows);
    let put = |time: &str| {
        let [(pk, key), (sk, _)] = key(7, "");
        let put = world.client.put_item().table_name("items").item(pk, AttributeValue::S(key));
        let put = put.item(sk, AttributeValue::S(format!("{time}#0a1b")));
        world.services.runtime.block_on(put.send()).expect("put");
    };
    times.into_iter().for_each(put);
    // One of the day before, and one of the day after.
    ["2023-01-01T08:59:59+09:00", "2023-01-02T09:00:00+09:00"].into_iter().for_each(put);
    let ran = world.run(suite(CHECK).path(), &["--now", "2023-01-02T12:00:00Z"]).done();
    assert!(ran.contains("both: 0 of 3 keys are on one side alone"), "{ran}");
}
