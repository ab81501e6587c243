//! Lakes of a few vehicles, in a folder or in S3 and Glue in memory, and the program.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use aws_config::{Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use e2e::internals::{Embedded, Resources, Stack as _};
use fms_aws::Retry;
use fms_lake::{Bucket, Folder, Object, Settings, convert_object};
use serde_json::Value;

pub const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/mart");

/// A small model: how far the odometer of each vehicle went on a day and since the day before.
pub const WAY: &str = r#"/*
description = "How far the odometer of each vehicle went since the day before."
owner = "fleet@example.com"
grain = "a vehicle on a day"
keys = ["id"]
columns = """
id     bigint  the vehicle
rows   bigint  how many rows the day has
meters bigint  m, from the first row of the day before to the last one of the day
"""

[sources.vehicle_status_report]
reads = "1 day before"
columns = "id bigint, timestamp_iso timestamp, odometer bigint, color string"

[checks]
"nobody drives 5 km in two days here" = "meters < 5000"

[[examples]]
name = "two days"
given.vehicle_status_report = """
id | ymd        | odometer
7  | 2023-01-01 | 100
7  | 2023-01-02 | 150
"""
expect = """
ymd        | id | rows | meters
2023-01-01 | 7  | 1    | 0
2023-01-02 | 7  | 1    | 50
"""
*/
select a.ymd, a.id, count(distinct a.odometer) as rows, max(a.odometer) - min(b.odometer) as meters
from vehicle_status_report as a
join vehicle_status_report as b
  on b.id = a.id and (b.ymd = a.ymd or cast(b.ymd as date) = cast(a.ymd as date) - interval '1' day)
group by a.ymd, a.id
"#;

/// A model of the one before: the fleet's way.
pub const TOTAL: &str = r#"/*
description = "How far the fleet drove."
owner = "fleet@example.com"
grain = "a day"
keys = ["fleet"]
columns = """
fleet  string  all
meters bigint  m of all vehicles
"""

[sources.way]

[[examples]]
name = "a sum"
given.way = """
id | meters
7  | 100
8  | 10
"""
expect = """
fleet | meters
all   | 110
"""
*/
select ymd, 'all' as fleet, sum(meters) as meters from way group by ymd
"#;

/// A folder with these models.
pub fn models(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("written");
    }
    folder
}

pub fn small_models() -> tempfile::TempDir {
    models(&[("way.sql", WAY), ("total.sql", TOTAL)])
}

/// A row of the status of a vehicle.
pub fn status(id: u32, day: u32, hour: u32, odometer: u32) -> String {
    format!(
        r#"{{"object":"vehicle","type":"status","command":"report","id":{id},"timestamp_iso":"2023-01-{day:02}T{hour:02}:00:00Z","seq":0,"odometer":{odometer}}}"#
    )
}

/// A raw object of four days, on each of which two vehicles drive 100 m.
pub fn four_days() -> (String, String) {
    let rows =
        (1..=4).flat_map(|day| [7, 8].map(|id| [status(id, day, 8, day * 1000), status(id, day, 9, day * 1000 + 100)]));
    ("topics/a.json".to_owned(), rows.flatten().collect::<Vec<_>>().join("\n"))
}

/// A raw object with a row that comes late: vehicle 7 drove 50 m more on the second day.
pub fn late() -> (String, String) {
    ("topics/late.json".to_owned(), status(7, 2, 10, 2150))
}

/// Converts raw objects into a lake in a folder.
pub fn convert(lake: &Path, objects: &[(String, String)]) {
    let mut folder = Folder::new(lake);
    for (key, rows) in objects {
        let object = Object { bucket: "raw".into(), key: key.clone(), version_id: None };
        convert_object(&Settings::default(), &object, || Ok(rows.as_bytes()), &mut folder).expect("converted");
    }
}

/// What the program did: the exit status, the output and the errors.
#[derive(Debug)]
pub struct Ran {
    pub status: Option<i32>,
    pub output: String,
    pub error: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Self { status: output.status.code(), output: text(output.stdout), error: text(output.stderr) }
    }
}

impl Ran {
    /// The output of a command that did what it should.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!((self.status, self.error.as_str()), (Some(0), ""), "{}", self.output);
        self.output
    }
}

pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fms-sql"));
    command.env_remove("RUST_LOG");
    command
}

/// Runs a command of `fms mart` on a lake in a folder.
pub fn mart(lake: &Path, models: &Path, command: &str, arguments: &[&str]) -> Ran {
    let mut program = program();
    program.args(["mart", command, "--models"]).arg(models).arg("--lake").arg(lake).args(arguments);
    program.output().expect("fms-sql starts").into()
}

/// The rows of a query of a lake in a folder.
pub fn query(lake: &Path, sql: &str) -> Vec<Value> {
    let output = program().args(["--format", "json", "--lake"]).arg(lake).arg(sql).output().expect("fms-sql starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{error}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// S3 and Glue in memory, with an empty lake: the buckets `raw` and `lake`, and the database `fleet`.
pub struct World {
    pub stack: Embedded,
    pub models: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        let stack = Embedded::start().expect("the services");
        let buckets = ["raw", "lake"].map(ToOwned::to_owned).into();
        let resources = Resources { buckets, databases: vec!["fleet".to_owned()], ..Resources::default() };
        stack.provide(&resources).expect("buckets and a database");
        Self { stack, models: small_models() }
    }

    fn aws(&self) -> SdkConfig {
        let environment = self.stack.environment();
        let (id, secret) = (&environment["AWS_ACCESS_KEY_ID"], &environment["AWS_SECRET_ACCESS_KEY"]);
        SdkConfig::builder()
            .endpoint_url(&environment["AWS_ENDPOINT_URL"])
            .region(Region::new("us-east-1"))
            .behavior_version(aws_config::BehaviorVersion::latest())
            .retry_config(aws_config::retry::RetryConfig::disabled())
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(id, secret, None, None, "test")))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build()
    }

    /// Converts raw objects into the lake.
    pub fn convert(&self, objects: &[(String, String)]) {
        let place = "s3://lake/v1".parse().expect("a place");
        let retry = Retry::new("test", Some(Duration::from_secs(10)), Duration::from_millis(10), |_| {});
        let bucket = Bucket::new(&self.aws(), &place, "fleet", retry);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let settings = Arc::new(Settings::default());
        for (key, rows) in objects {
            self.stack.put_object("raw", key, rows.as_bytes()).expect("put");
            let object = Object { bucket: "raw".into(), key: key.clone(), version_id: None };
            runtime.block_on(bucket.convert_current(&settings, &object)).expect("converted");
        }
    }

    /// A command of `fms mart`.
    pub fn command(&self, command: &str, arguments: &[&str]) -> Command {
        let mut program = program();
        program.args(["mart", command, "--models"]).arg(self.models.path()).args(["--database", "fleet"]);
        program.args(["--mart", "s3://lake/mart"]).args(arguments).envs(self.stack.environment());
        program
    }

    pub fn mart(&self, command: &str, arguments: &[&str]) -> Ran {
        self.command(command, arguments).output().expect("fms-sql starts").into()
    }

    /// The rows of a query.
    pub fn query(&self, sql: &str) -> Vec<Value> {
        let mut program = program();
        program.args(["--format", "json", "--database", "fleet", sql]).envs(self.stack.environment());
        let output = program.output().expect("fms-sql starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{error}");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// A table as Glue has it, with its partitions.
    pub fn table(&self, name: &str) -> Value {
        let tables = self.stack.catalog("fleet").expect("the database");
        let table = tables.into_iter().find(|table| table["Name"] == name);
        table.unwrap_or_else(|| panic!("there is no table `{name}`"))
    }

    /// The keys of the mart's objects.
    pub fn keys(&self) -> Vec<String> {
        let objects = self.stack.objects("lake").expect("the bucket");
        objects.into_iter().map(|(key, _)| key).filter(|key| key.starts_with("mart/")).collect()
    }
}
