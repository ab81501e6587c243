//! Measures how long a query of a large lake is planned: a day of a table with 10,000 partitions and 100,000 files.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use aws_types::SdkConfig;
use e2e::internals::{Embedded, Resources, Stack};
use fms_aws::Retry;
use fms_glue::{Column, Glue, PartitionInput, StorageDescriptor, TableInput};
use jiff::ToSpan;
use jiff::civil::{Date, date};

use super::{PATIENCE, itself, ms, percentile, row, time_row};

/// The hours of 417 days, of which the last has fewer.
const PARTITIONS: usize = 10_000;
const FILES_OF_A_PARTITION: usize = 10;
const FIRST_DAY: Date = date(2025, 1, 1);
/// The day that is asked for.
const DAY: &str = "2025-06-01";
const RUNS: usize = 5;

const DATABASE: &str = "fleet";
const TABLE: &str = "vehicle_kinematic_report";

/// Lets a new process explain a query again and again, so that nothing is known of the lake from before.
pub(super) fn measure() -> Result<(), String> {
    let what = format!("query of a day planned, {PARTITIONS} partitions, {} files", PARTITIONS * FILES_OF_A_PARTITION);
    let program = itself()?.with_file_name("fms-sql");
    if !program.exists() {
        row(&what, "not built", "≤ 1000 ms: build it with --bin fms-sql", false);
        return Ok(());
    }
    let stack = Embedded::start().map_err(|error| error.to_string())?;
    fill(&stack)?;
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let before = lists(&stack);
        times.push(explain(&program, &stack)?);
        let lists = lists(&stack) - before;
        if lists != 24 {
            return Err(format!("planning a query of 24 partitions took {lists} calls of ListObjectsV2 instead of 24"));
        }
    }
    time_row(&format!("{what}: median of {RUNS} processes"), percentile(&mut times, 50), ms(1000));
    Ok(())
}

fn lists(stack: &Embedded) -> usize {
    stack.calls().snapshot().iter().filter(|call| call.operation == "ListObjectsV2").count()
}

fn explain(program: &Path, stack: &Embedded) -> Result<Duration, String> {
    let sql = format!("explain select id, max(speed) from {TABLE} where ymd = '{DAY}' group by id");
    let started = Instant::now();
    let output = Command::new(program)
        .args(["--database", DATABASE, "--format", "json", &sql])
        .envs(stack.environment())
        .output()
        .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    let took = started.elapsed();
    let said = String::from_utf8_lossy(&output.stderr);
    let files = format!("files: {} read", 24 * FILES_OF_A_PARTITION);
    if !output.status.success() || !said.contains(&files) {
        return Err(format!("{} {sql} did not find the {files}:\n{said}", program.display()));
    }
    Ok(took)
}

/// Puts the table, its partitions and its files into the lake. The files are not read by a plan, so they have no rows.
fn fill(stack: &Embedded) -> Result<(), String> {
    let resources =
        Resources { buckets: vec!["lake".to_owned()], databases: vec![DATABASE.to_owned()], ..Resources::default() };
    stack.provide(&resources).map_err(|error| error.to_string())?;
    let hours =
        FIRST_DAY.series(1.day()).flat_map(|day| (0..24).map(move |hour| [day.to_string(), format!("{hour:02}")]));
    let hours: Vec<[String; 2]> = hours.take(PARTITIONS).collect();
    for hour in &hours {
        for file in 0..FILES_OF_A_PARTITION {
            let key = format!("{}{file}.parquet", folder(hour));
            stack.put_object("lake", &key, b"no rows").map_err(|error| error.to_string())?;
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start a runtime: {error}"))?;
    let partition = |hour: &[String; 2]| PartitionInput {
        values: hour.to_vec(),
        storage_descriptor: Some(storage(&folder(hour))),
        ..PartitionInput::default()
    };
    runtime.block_on(async {
        let glue = Glue::new(&aws(&stack.environment())?, Retry::new("measure", Some(PATIENCE), ms(10), |_| {}));
        glue.create_table(DATABASE, &table()).await.map_err(|error| error.to_string())?;
        let partitions: Vec<PartitionInput> = hours.iter().map(partition).collect();
        let failed = glue.create_partitions(DATABASE, TABLE, &partitions).await.map_err(|error| error.to_string())?;
        failed.first().map_or(Ok(()), |failed| Err(format!("a partition was not created: {failed:?}")))
    })
}

/// The folder of a partition's files in the bucket.
fn folder([ymd, hour]: &[String; 2]) -> String {
    format!("formatted/object=vehicle/type=kinematic/command=report/ymd={ymd}/hour={hour}/")
}

fn storage(folder: &str) -> StorageDescriptor {
    let format = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat";
    StorageDescriptor {
        columns: vec![
            Column::new("id", "bigint"),
            Column::new("timestamp_iso", "timestamp"),
            Column::new("speed", "double"),
        ],
        location: Some(format!("s3://lake/{folder}")),
        input_format: Some(format.to_owned()),
        ..StorageDescriptor::default()
    }
}

fn table() -> TableInput {
    TableInput {
        name: TABLE.to_owned(),
        partition_keys: ["ymd", "hour"].map(|key| Column::new(key, "string")).into(),
        storage_descriptor: Some(storage("formatted/object=vehicle/type=kinematic/command=report/")),
        ..TableInput::default()
    }
}

fn aws(environment: &BTreeMap<String, String>) -> Result<SdkConfig, String> {
    let variable = |name: &str| {
        environment.get(name).cloned().ok_or_else(|| format!("the stack's environment has no variable {name}"))
    };
    let credentials =
        Credentials::new(variable("AWS_ACCESS_KEY_ID")?, variable("AWS_SECRET_ACCESS_KEY")?, None, None, "measure");
    Ok(SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(variable("AWS_REGION")?))
        .endpoint_url(variable("AWS_ENDPOINT_URL")?)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(fms_aws::https())
        .build())
}
