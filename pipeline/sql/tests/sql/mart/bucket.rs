//! A mart in S3 and Glue: how a partition is swapped in, and what two do at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use e2e::internals::{Fault, Stack as _};
use serde_json::{Value, json};

use super::harness::{TOTAL, World, four_days, late, models};

const WAYS: &str = "select ymd, id, meters from way order by ymd, id";

/// The location of each partition of a table.
fn locations(table: &Value) -> Vec<&str> {
    let partitions = table["Partitions"].as_array().expect("partitions");
    partitions.iter().filter_map(|partition| partition["StorageDescriptor"]["Location"].as_str()).collect()
}

#[test]
fn a_table_says_what_it_has_and_a_partition_what_it_was_built_of() {
    let world = World::new();
    world.convert(&[four_days()]);
    world.mart("apply", &[]).ok();
    assert_eq!(world.query(WAYS).len(), 8);
    let table = world.table("way");
    assert_eq!(table["Description"], "How far the odometer of each vehicle went since the day before.");
    assert_eq!(table["Parameters"]["classification"], "parquet");
    let columns = &table["StorageDescriptor"]["Columns"];
    assert_eq!(columns[1], json!({"Name": "rows", "Type": "bigint", "Comment": "how many rows the day has"}));
    let partition = &table["Partitions"][1];
    assert_eq!((&partition["Values"], &partition["StorageDescriptor"]["Columns"]), (&json!(["2023-01-02"]), columns));
    let reads = partition["Parameters"]["fms.mart.reads.vehicle_status_report"].as_str().expect("the inputs");
    let read: Vec<&str> = reads.split(' ').filter_map(|part| part.split('=').next()).collect();
    assert_eq!(read, ["2023-01-01/08", "2023-01-01/09", "2023-01-02/08", "2023-01-02/09"]);
}

#[test]
fn a_late_row_moves_the_partitions_whose_rows_are_others() {
    let world = World::new();
    world.convert(&[four_days()]);
    world.mart("apply", &[]).ok();
    let before = world.table("way");
    world.convert(&[late()]);
    let said = world.mart("apply", &["--at-once", "1"]).ok();
    insta::assert_snapshot!(said, @r"
    way 2023-01-02: 2 rows; vehicle_status_report 2023-01-02/10 is new
    way 2023-01-03: 2 rows, as before; vehicle_status_report 2023-01-02/10 is new
    total 2023-01-02: 1 rows; way 2023-01-02 has changed
    3 partitions built, of which 1 are as before; 5 were as they should be; 0 held back; 0 failed; 0 skipped
    ");
    let after = world.table("way");
    let moved: Vec<usize> = (0..4).filter(|&day| locations(&before)[day] != locations(&after)[day]).collect();
    assert_eq!(moved, [1], "the third day was built, and has the rows of before");
    assert_eq!(world.keys().len(), 10, "readers may be at the files of before");
    world.mart("expire", &["--grace", "0s"]).ok();
    assert_eq!(world.keys().len(), 8);
    assert_eq!(world.query(WAYS).len(), 8);
}

#[test]
fn two_that_build_at_the_same_time_leave_whole_tables() {
    let world = World::new();
    world.convert(&[four_days()]);
    let begin = || world.command("apply", &[]).stdout(std::process::Stdio::null()).spawn().expect("fms-sql starts");
    let both = [begin(), begin()];
    for mut child in both {
        assert!(child.wait().expect("it ends").success());
    }
    let alone = World::new();
    alone.convert(&[four_days()]);
    alone.mart("apply", &[]).ok();
    assert_eq!(world.query(WAYS), alone.query(WAYS));
    for table in ["way", "total"] {
        let table = world.table(table);
        let locations = locations(&table);
        assert_eq!((locations.len(), locations.iter().collect::<BTreeSet<_>>().len()), (4, 4));
    }
    let again = world.mart("apply", &[]).ok();
    assert!(again.starts_with("0 partitions built"), "{again}");
}

#[test]
fn a_table_of_somebody_else_is_left_alone() {
    let world = World::new();
    world.convert(&[four_days()]);
    let mut world = world;
    let model = TOTAL.replace("[sources.way]", "[sources.way]\ncolumns = \"id bigint, meters bigint\"");
    world.models = models(&[("vehicle_status_report.sql", &model)]);
    let ran = world.mart("apply", &[]);
    assert_eq!(ran.status, Some(2), "{}", ran.output);
    assert!(
        ran.error.contains("there is a table `fleet.vehicle_status_report` that is none of the mart"),
        "{}",
        ran.error
    );
    assert!(world.keys().is_empty());
}

#[test]
fn a_file_that_is_replaced_after_it_was_listed_is_not_taken_for_the_one_before() {
    let world = Arc::new(World::new());
    world.convert(&[four_days()]);
    let objects = world.stack.objects("lake").expect("the bucket");
    let file = |day: u32, hour: u32| {
        let folder = format!("/ymd=2023-01-{day:02}/hour={hour:02}/");
        objects.iter().find(|(key, _)| key.contains(&folder)).expect("a file").clone()
    };
    // When everything is listed, the table is created; then, the file of the first hour gets the rows of the second.
    let ((key, _), (_, body)) = (file(1, 8), file(1, 9));
    let other = Arc::clone(&world);
    let hook = move |_: &str| other.stack.put_object("lake", &key, &body).expect("put");
    world.stack.calls().inject(Fault::FirstWrite { except: Vec::new(), hook: Box::new(hook) });
    let ran = world.mart("apply", &["--at-once", "1", "--select", "way"]);
    assert_eq!(ran.status, Some(2), "{}", ran.error);
    assert!(ran.output.contains("it was replaced after it had been listed; run the query again"), "{}", ran.output);
    // Two days read the file.
    assert!(ran.output.contains("2 partitions built, ") && ran.output.contains("2 failed"), "{}", ran.output);
    world.mart("apply", &[]).ok();
    let rows = world.query("select meters from way where ymd = '2023-01-01' order by id");
    assert_eq!(rows, [json!({"meters": 0}), json!({"meters": 0})]);
    let again = world.mart("apply", &[]).ok();
    assert!(again.starts_with("0 partitions built"), "{again}");
}
