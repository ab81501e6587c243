//! A lake in S3 with its tables in Glue: which calls a query makes, and that it reads every row that it should.

use std::collections::BTreeMap;

use e2e::internals::Stack as _;
use fms_glue::{Column, PartitionInput, StorageDescriptor, TableInput};
use fms_query::{EventTime, Planned, Query};
use futures_util::TryStreamExt as _;
use jiff::ToSpan as _;
use jiff::civil::Date;
use serde_json::json;

use super::harness::{World, fleet, time};

fn zoneless() -> EventTime {
    EventTime { zone: None, ..time() }
}

#[test]
fn only_the_folders_of_the_partitions_that_are_asked_for_are_listed() {
    let world = World::new();
    world.convert(&fleet());
    let (lists, reads) = (world.calls("ListObjectsV2"), world.calls("GetPartitions"));
    let by_keys = "select count(*) as n from fleet.vehicle_tire_report where ymd = '2023-01-01' and hour >= '10'";
    let (rows, said) = world.query(time(), by_keys).expect("a query");
    assert_eq!(rows, [json!({"n": 48})]);
    assert!(said.contains("partitions: 4 read, 0 of those that the catalog named pruned"), "{said}");
    assert_eq!(world.calls("ListObjectsV2") - lists, 4, "a call for each partition");
    assert_eq!(world.calls("GetPartitions") - reads, 1);

    let by_time = "select count(*) as n from vehicle_tire_report where timestamp_iso = timestamp '2023-01-01 00:00:00'";
    let (rows, said) = world.query(time(), by_time).expect("a query");
    assert_eq!(rows, [json!({"n": 12})]);
    assert!(said.contains("partitions: 2 read, 4 of"), "{said}");
    let (rows, _) = world.query(zoneless(), by_time).expect("a query");
    assert_eq!(rows, [json!({"n": 12})]);
    let (all, _) = world.query(time(), "select count(*) as n from vehicle_tire_report").expect("a query");
    assert_eq!(all, [json!({"n": 120})]);
}

#[test]
fn a_query_that_names_the_file_of_a_row_has_it() {
    let world = World::new();
    world.convert(&fleet());
    let of = "from vehicle_tire_report where ymd = '2023-01-01' and hour = '10'";
    let (files, _) =
        world.query(time(), &format!("select \"$path\" as file, count(*) as n {of} group by 1")).expect("files");
    assert!(!files.is_empty());
    let keys: Vec<String> = world.stack.objects("lake").expect("objects").into_iter().map(|(key, _)| key).collect();
    for file in files {
        let path = file["file"].as_str().expect("a text");
        let key = path.strip_prefix("s3://lake/").expect("in the bucket");
        assert!(keys.iter().any(|one| one == key), "{key}");
        // It is a condition like any other.
        let counted = format!("select count(*) as n from vehicle_tire_report where \"$path\" = '{path}'");
        assert_eq!(world.query(time(), &counted).expect("a query").0, [json!({"n": file["n"]})]);
    }
    let (rows, _) = world.query(time(), &format!("select * {of} limit 1")).expect("a query");
    assert!(rows[0].get("$path").is_none(), "{}", rows[0]);
    let named = format!("select * {of} and \"$path\" is not null limit 1");
    let (rows, _) = world.query(time(), &named).expect("a query");
    assert!(rows[0]["$path"].is_string(), "{}", rows[0]);
}

#[test]
fn a_partition_is_read_at_its_own_place() {
    let world = World::new();
    world.convert(&fleet());
    let glue = world.glue();
    let moved = world.runtime.block_on(async {
        let only = Some("ymd = '2023-01-01' AND hour = '08'");
        let found = glue.partitions("fleet", "vehicle_tire_report", only).await.expect("partitions");
        found.into_iter().next().expect("a partition")
    });
    let storage = moved.storage_descriptor.clone().expect("a place");
    let place = storage.location.clone().expect("a place");
    let folder = place.strip_prefix("s3://lake/").expect("in the bucket");
    for (key, body) in world.stack.objects("lake").expect("objects") {
        if let Some(name) = key.strip_prefix(folder) {
            world.stack.put_object("raw", &format!("compacted/{name}"), &body).expect("put");
        }
    }
    let storage = StorageDescriptor { location: Some("s3://raw/compacted".to_owned()), ..storage };
    let input = PartitionInput { storage_descriptor: Some(storage), ..moved.into_input() };
    let failed = world.runtime.block_on(glue.update_partitions("fleet", "vehicle_tire_report", &[input]));
    assert_eq!(failed.expect("updated"), []);
    let sql = "select count(*) as n from vehicle_tire_report where ymd = '2023-01-01'";
    let (rows, said) = world.query(time(), sql).expect("a query");
    assert_eq!(rows, [json!({"n": 72})], "each row once, of two buckets");
    assert!(said.contains("files: 6 read"), "{said}");
}

#[test]
fn row_groups_are_left_out_by_their_statistics() {
    let world = World::new();
    world.convert(&fleet());
    let sql = "select count(*) as n from vehicle_tire_report where ymd = '2023-01-01' and pressure < 150";
    let (rows, said) = world.query(time(), sql).expect("a query");
    let (all, _) = world
        .query(time(), "select pressure, hour from vehicle_tire_report where ymd = '2023-01-01'")
        .expect("a query");
    let low = |row: &&serde_json::Value| row["pressure"].as_i64().expect("a number") < 150;
    assert_eq!(rows, [json!({"n": all.iter().filter(low).count()})]);
    assert!(!said.contains("row groups pruned: 0"), "{said}");
}

#[test]
fn what_is_no_table_of_the_lake_is_refused_with_the_reason() {
    let world = World::new();
    world.convert(&fleet());
    let glue = world.glue();
    let parquet = || StorageDescriptor {
        columns: vec![Column::new("a", "bigint")],
        location: Some("s3://lake/other/".to_owned()),
        input_format: Some("org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat".to_owned()),
        ..StorageDescriptor::default()
    };
    let table = |name: &str, storage: StorageDescriptor, parameters: BTreeMap<String, String>| TableInput {
        name: name.to_owned(),
        storage_descriptor: Some(storage),
        parameters,
        ..TableInput::default()
    };
    let projected = [("projection.enabled".to_owned(), "true".to_owned())].into();
    let text =
        StorageDescriptor { input_format: Some("org.apache.hadoop.mapred.TextInputFormat".to_owned()), ..parquet() };
    let odd = StorageDescriptor { columns: vec![Column::new("a", "decimal(10,2)")], ..parquet() };
    let nowhere = StorageDescriptor { location: None, ..parquet() };
    for (name, storage, parameters, reason) in [
        ("projected", parquet(), projected, "its partitions are known by projection"),
        ("text", text, BTreeMap::new(), "its files are not Parquet"),
        ("odd", odd, BTreeMap::new(), "column `a`: the type `decimal` is not one that the lake writes"),
        ("nowhere", nowhere, BTreeMap::new(), "the catalog does not say where it is"),
    ] {
        let input = table(name, storage, parameters);
        world.runtime.block_on(glue.create_table("fleet", &input)).expect("a table");
        let problem = world.query(time(), &format!("select * from {name}")).expect_err("refused").to_string();
        assert!(problem.contains(&format!("the table `{name}` cannot be queried: {reason}")), "{problem}");
    }
    let problem = world.query(time(), "select * from vehicle_tire").expect_err("refused").to_string();
    assert!(problem.contains("did you mean `vehicle_tire_report`?"), "{problem}");
}

#[test]
fn planning_takes_as_many_calls_as_partitions_match_however_many_there_are() {
    let world = World::new();
    world.convert(&fleet());
    let (glue, table) = (world.glue(), "vehicle_tire_report");
    let first: Date = "2020-01-01".parse().expect("a date");
    let days = first.series(1.day()).take(60).map(|day| day.to_string());
    let partitions: Vec<PartitionInput> = days.flat_map(|day| (0..24).map(move |hour| empty(&day, hour))).collect();
    let failed = world.runtime.block_on(glue.create_partitions("fleet", table, &partitions)).expect("created");
    assert_eq!(failed, []);
    for file in 0..30 {
        let key = format!("many/2020-01-02/{:02}/{file}.parquet", file % 24);
        world.stack.put_object("lake", &key, b"not read").expect("put");
    }
    let (lists, heads, reads) = (world.calls("ListObjectsV2"), world.calls("HeadObject"), world.calls("GetObject"));
    let sql = format!("explain select * from {table} where ymd = '2020-01-02' and hour < '12'");
    let (_, said) = world.query(time(), &sql).expect("a query");
    assert!(said.contains("partitions: 12 read, 0 of those that the catalog named pruned"), "{said}");
    assert!(said.contains("files: 18 read"), "{said}");
    assert_eq!(world.calls("ListObjectsV2") - lists, 12);
    assert_eq!((world.calls("HeadObject") - heads, world.calls("GetObject") - reads), (0, 0), "no file is read");
}

fn empty(day: &str, hour: u32) -> PartitionInput {
    let location = Some(format!("s3://lake/many/{day}/{hour:02}/"));
    let storage = StorageDescriptor { location, ..StorageDescriptor::default() };
    let values = vec![day.to_owned(), format!("{hour:02}")];
    PartitionInput { values, storage_descriptor: Some(storage), ..PartitionInput::default() }
}

#[test]
fn a_file_that_is_replaced_between_its_listing_and_its_reading_ends_the_query() {
    let world = World::new();
    world.convert(&fleet());
    let sql =
        "select sum(pressure) as sum from vehicle_tire_report where ymd = '2023-01-01' and hour = '08'".to_owned();
    let query = Query { sql, ..Query::default() };
    let lake = world.lake(time());
    let planned = world.runtime.block_on(Planned::new(&lake, &query)).expect("a plan");
    let objects = world.stack.objects("lake").expect("objects");
    let mut files = objects.iter().filter(|(key, _)| key.contains("type=tire") && key.contains("hour=08"));
    let (key, body) = files.next().expect("a file");
    world.stack.put_object("lake", key, &[&body[..], b"more"].concat()).expect("put");
    let result = world.runtime.block_on(async { planned.start().expect("started").try_collect::<Vec<_>>().await });
    let error = result.expect_err("the file is another one").to_string();
    assert!(error.contains("it was replaced after it had been listed; run the query again"), "{error}");
}
