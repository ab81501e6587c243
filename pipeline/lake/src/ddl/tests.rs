//! The statements for a lake in a folder, and for one of which an hour was compacted.

use super::*;

const TABLE: &str = "s3://lake/formatted/object=vehicle/type=tire/command=report";

/// A table with two hours, of which the second one is at `second`.
fn table(second: &str) -> External {
    let columns = [
        ("id", "bigint"),
        ("timestamp_iso", "timestamp"),
        ("pressure", "double"),
        ("wheel", "struct<axle:bigint,notes:array<string>>"),
    ];
    let hour = |hour: &str| Partition::of_values(&["2022-12-25", hour]).expect("an hour");
    External {
        table: "vehicle_tire_report".to_owned(),
        columns: columns.map(|(name, text)| Field::new(name, text.parse().expect("a type"))).into(),
        location: TABLE.to_owned(),
        hours: vec![(hour("03"), format!("{TABLE}/ymd=2022-12-25/hour=03")), (hour("11"), second.to_owned())],
    }
}

fn in_folder(engine: Engine) -> String {
    let table = table(&format!("{TABLE}/ymd=2022-12-25/hour=11/"));
    engine.statements("fleet", &[table], Catalog::Own).expect("no row is hidden")
}

fn compacted(engine: Engine) -> Result<String, String> {
    let table = table("s3://lake/compacted/object=vehicle/ymd=2022-12-25/hour=11/20261127T090000Z-5d41402a/");
    engine.statements("fleet", &[table], Catalog::Shared)
}

#[test]
fn redshift_reads_the_glue_catalog() {
    insta::assert_snapshot!(compacted(Engine::Redshift).expect("statements"), @r#"
    -- The tables are those of the Glue catalog, with the partitions that they have when they are read.
    create external schema if not exists "fleet"
    from data catalog
    database 'fleet'
    iam_role default;
    "#);
}

#[test]
fn redshift_with_a_catalog_of_its_own() {
    insta::assert_snapshot!(in_folder(Engine::Redshift), @r#"
    create external schema if not exists "fleet"
    from data catalog
    database 'fleet'
    iam_role default
    create external database if not exists;

    create external table "fleet"."vehicle_tire_report" (
      "id" bigint,
      "timestamp_iso" timestamp,
      "pressure" double precision,
      "wheel" struct<axle:bigint, notes:array<varchar(65535)>>
    )
    partitioned by ("ymd" varchar(10), "hour" varchar(10))
    stored as parquet
    location 's3://lake/formatted/object=vehicle/type=tire/command=report/';
    alter table "fleet"."vehicle_tire_report" add if not exists
      partition (ymd='2022-12-25', hour='03') location 's3://lake/formatted/object=vehicle/type=tire/command=report/ymd=2022-12-25/hour=03/'
      partition (ymd='2022-12-25', hour='11') location 's3://lake/formatted/object=vehicle/type=tire/command=report/ymd=2022-12-25/hour=11/';
    "#);
}

#[test]
fn athena_gets_each_hour_where_it_is() {
    insta::assert_snapshot!(compacted(Engine::Athena).expect("statements"), @"
    -- These statements are for an engine that does not use the Glue catalog of the lake. Its own one does not learn of
    -- hours that come, go, or are compacted later: drop the tables then, and create them again.

    create external table if not exists `fleet`.`vehicle_tire_report` (
      `id` bigint,
      `timestamp_iso` timestamp,
      `pressure` double,
      `wheel` struct<axle:bigint,notes:array<string>>
    )
    partitioned by (`ymd` string, `hour` string)
    stored as parquet
    location 's3://lake/formatted/object=vehicle/type=tire/command=report/'
    tblproperties (
      'classification' = 'parquet'
    );
    alter table `fleet`.`vehicle_tire_report` add if not exists
      partition (ymd='2022-12-25', hour='03') location 's3://lake/formatted/object=vehicle/type=tire/command=report/ymd=2022-12-25/hour=03/'
      partition (ymd='2022-12-25', hour='11') location 's3://lake/compacted/object=vehicle/ymd=2022-12-25/hour=11/20261127T090000Z-5d41402a/';
    ");
}

#[test]
fn athena_with_projection_names_each_hour_by_its_folder() {
    let statements = in_folder(Engine::AthenaProjection);
    let template = "'storage.location.template' = \
         's3://lake/formatted/object=vehicle/type=tire/command=report/ymd=${ymd}/hour=${hour}/'";
    for property in ["'projection.enabled' = 'true'", "'projection.hour.digits' = '2'", template] {
        assert!(statements.contains(property), "{statements}");
    }
    assert!(statements.starts_with("-- Do not compact this lake"), "{statements}");
}

#[test]
fn projection_that_would_hide_compacted_rows_is_refused() {
    let refused = compacted(Engine::AthenaProjection).expect_err("an hour was moved");
    insta::assert_snapshot!(refused, @"partition projection would not find the rows of 1 hour of the table `vehicle_tire_report`, because a compaction has moved them; take the engine `athena`, whose partitions say where their rows are");
}

#[test]
fn trino_adds_partitions_and_drops_none() {
    insta::assert_snapshot!(in_folder(Engine::Trino), @r#"
    create table if not exists hive."fleet"."vehicle_tire_report" (
      "id" bigint,
      "timestamp_iso" timestamp(3),
      "pressure" double,
      "wheel" row("axle" bigint, "notes" array(varchar)),
      "ymd" varchar,
      "hour" varchar
    )
    with (
      external_location = 's3://lake/formatted/object=vehicle/type=tire/command=report/',
      format = 'PARQUET',
      partitioned_by = array['ymd', 'hour']
    );
    call hive.system.sync_partition_metadata('fleet', 'vehicle_tire_report', 'ADD');
    "#);
    let statements = compacted(Engine::Trino).expect("statements");
    let (_, calls) = statements.split_once(");\n").expect("a table first");
    insta::assert_snapshot!(calls, @"
    -- The catalog needs `hive.allow-register-partition-procedure=true`.
    call hive.system.register_partition('fleet', 'vehicle_tire_report', array['ymd', 'hour'], array['2022-12-25', '03'], 's3://lake/formatted/object=vehicle/type=tire/command=report/ymd=2022-12-25/hour=03/');
    call hive.system.register_partition('fleet', 'vehicle_tire_report', array['ymd', 'hour'], array['2022-12-25', '11'], 's3://lake/compacted/object=vehicle/ymd=2022-12-25/hour=11/20261127T090000Z-5d41402a/');
    ");
}

#[test]
fn partitions_are_added_by_the_hundred() {
    let mut table = table(TABLE);
    table.hours = std::iter::repeat_n(table.hours[0].clone(), 201).collect();
    let statements = Engine::Athena.statements("fleet", &[table], Catalog::Own).expect("statements");
    assert_eq!(statements.matches("alter table").count(), 3);
    assert_eq!(statements.matches("partition (").count(), 201);
}
