//! The history of a lake in S3 with its tables in Glue.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use aws_config::{Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use e2e::internals::{Embedded, Resources, Stack as _};
use fms_aws::Retry;
use fms_glue::{Database, Glue};
use fms_lake::{Bucket, Object, Settings};
use serde_json::Value;

use crate::{fleet, suite};

/// The configuration of clients of these services.
fn aws(stack: &Embedded) -> SdkConfig {
    let environment = stack.environment();
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

#[test]
fn runs_at_the_same_time_add_their_verdicts_to_a_table_in_s3() {
    let stack = Embedded::start().expect("the services");
    let buckets = ["raw", "lake"].map(ToOwned::to_owned).into();
    stack.provide(&Resources { buckets, ..Resources::default() }).expect("buckets");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let retry = Retry::new("test", Some(Duration::from_secs(10)), Duration::from_millis(10), |_| {});
    let aws = aws(&stack);
    stack.put_object("raw", "topics/a.json", fleet::well().join("\n").as_bytes()).expect("put");
    runtime.expect("a runtime").block_on(async {
        let database = Database { name: "fleet".to_owned(), ..Database::default() };
        Glue::new(&aws, retry.clone()).create_database(&database).await.expect("a database");
        let bucket = Bucket::new(&aws, &"s3://lake/v1".parse().expect("a place"), "fleet", retry);
        let object = Object { bucket: "raw".into(), key: "topics/a.json".into(), version_id: None };
        bucket.convert_current(&Arc::new(Settings::default()), &object).await.expect("converted");
    });

    let program = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fms-sql"));
        command.envs(stack.environment()).stderr(Stdio::inherit()).env("AWS_REGION", "us-east-1");
        command
    };
    let file =
        suite("  - {name: fuel, range: {column: fuel_level, max: 100}}\n  - {name: rows, row_count: {min: 1}}\n");
    let run = |more: &[&str]| {
        let mut command = program();
        command.args(["quality", "run", "--now", "2023-01-02T02:00:00Z", "--database", "fleet"]);
        command.args(["--history", "s3://lake/v1"]).arg(file.path()).args(more).stdout(Stdio::piped());
        command.spawn().expect("fms-sql starts")
    };
    for child in [run(&[]), run(&[])] {
        assert!(child.wait_with_output().expect("it ends").status.success());
    }
    let sql = "select check_name, outcome, count(*) as n, count(distinct version) as versions from quality_results \
               group by check_name, outcome order by check_name";
    let output = program().args(["--database", "fleet", "--format", "json", sql]).output().expect("fms-sql starts");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let kept: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let kept: Vec<String> = kept.iter().map(Value::to_string).collect();
    let each = |name: &str| format!(r#"{{"check_name":"{name}","n":2,"outcome":"pass","versions":1}}"#);
    assert_eq!(kept, [each("fuel"), each("rows")]);
    let output = run(&["--changed", "--format", "json"]).wait_with_output().expect("it ends");
    assert!(output.status.success() && output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
}
