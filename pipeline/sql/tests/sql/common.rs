//! The program, a lake in a folder, and one in S3 and Glue in memory, as the tests of all commands need them.

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
use tokio::runtime::Runtime;

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
    /// The output of a command that did what it should, and had nothing else to say.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!((self.status, self.error.as_str()), (Some(0), ""), "{}", self.output);
        self.output
    }

    /// The output of a command that did what it should, whatever else it had to say.
    #[track_caller]
    pub fn done(self) -> String {
        assert_eq!(self.status, Some(0), "{}", self.error);
        self.output
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Ran {
    command.output().expect("fms-sql starts").into()
}

/// The program, whose log has warnings only.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fms-sql"));
    command.env_remove("RUST_LOG");
    command
}

/// The rows of a query, by a command that names the lake.
#[track_caller]
pub fn rows(mut command: Command, sql: &str) -> Vec<Value> {
    let ran = run(command.args(["--format", "json"]).arg(sql));
    assert_eq!(ran.status, Some(0), "{sql}: {}", ran.error);
    ran.output.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The rows of a query of a lake in a folder.
#[track_caller]
pub fn query(lake: &Path, sql: &str) -> Vec<Value> {
    let mut command = program();
    command.arg("--lake").arg(lake);
    rows(command, sql)
}

/// Converts raw objects, each with its key and its rows, into a lake in a folder.
pub fn convert(lake: &Path, settings: &Settings, objects: &[(String, String)]) {
    let mut folder = Folder::new(lake);
    for (key, rows) in objects {
        let object = Object { bucket: "raw".into(), key: key.clone(), version_id: None };
        convert_object(settings, &object, || Ok(rows.as_bytes()), &mut folder).expect("converted");
    }
}

/// A lake of the rows of one raw object.
pub fn lake(rows: &[String]) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a folder");
    convert(root.path(), &Settings::default(), &[("topics/a.json".to_owned(), rows.join("\n"))]);
    root
}

/// S3 and Glue in memory, with an empty lake: the buckets `raw` and `lake`, and the database `fleet`.
pub struct Services {
    pub stack: Embedded,
    pub runtime: Runtime,
}

impl Services {
    pub fn start() -> Self {
        let stack = Embedded::start().expect("the services");
        let buckets = ["raw", "lake"].map(ToOwned::to_owned).into();
        let resources = Resources { buckets, databases: vec!["fleet".to_owned()], ..Resources::default() };
        stack.provide(&resources).expect("buckets and a database");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Self { stack, runtime: runtime.expect("a runtime") }
    }

    /// The configuration of clients.
    pub fn aws(&self) -> SdkConfig {
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

    pub fn retry() -> Retry {
        Retry::new("test", Some(Duration::from_secs(10)), Duration::from_millis(10), |_| {})
    }

    /// Converts raw objects, each with its key and its rows, into the lake.
    pub fn convert(&self, settings: Settings, objects: &[(String, String)]) {
        let place = "s3://lake/v1".parse().expect("a place");
        let bucket = Bucket::new(&self.aws(), &place, "fleet", Self::retry());
        let settings = Arc::new(settings);
        for (key, rows) in objects {
            self.stack.put_object("raw", key, rows.as_bytes()).expect("put");
            let object = Object { bucket: "raw".into(), key: key.clone(), version_id: None };
            self.runtime.block_on(bucket.convert_current(&settings, &object)).expect("converted");
        }
    }

    /// The program on these services, with its database.
    pub fn program(&self) -> Command {
        let mut program = program();
        program.envs(self.stack.environment()).env("AWS_REGION", "us-east-1");
        program
    }

    /// The rows of a query.
    #[track_caller]
    pub fn query(&self, sql: &str) -> Vec<Value> {
        let mut program = self.program();
        program.args(["--database", "fleet"]);
        rows(program, sql)
    }
}
