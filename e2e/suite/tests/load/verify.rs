//! `fms simulate verify` finds nothing wrong with a complete run, and names what is taken away from each store.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use e2e::StackKind;
use fms_e2e::load::Pipeline;
use libtest_mimic::Failed;
use tokio::runtime::Runtime;

const FLEET: &str = "simulate --vehicles 6 --speed max --rhythm steady --seed 3 --from 2026-11-27T08:00:00+09:00 \
    --duration 10m --to kafka --protocols vehicle/status,vehicle/tire,vehicle/event,device/heartbeat --faults";
const FAULTS: &str = "[rates]\ntwice = 0.1\nsame-record-twice = 0.1\nlone-surrogate = 0.05\nnumber-as-text = 0.05\n\
    truncated = 0.05\ntombstone = 0.05\nlate = 0.1\n";

/// Runs `fms` with these arguments, and gives its exit status and what it has printed.
fn fms(pipeline: &Pipeline, arguments: &str) -> Result<(Option<i32>, String), Failed> {
    let output = pipeline.fms(&arguments.split_whitespace().collect::<Vec<_>>())?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Ok((output.status.code(), said))
}

/// A verdict that has to be a difference, and what it has to say.
fn differs(pipeline: &Pipeline, store: &str, folder: &Path, says: &[&str]) -> Result<String, Failed> {
    let (status, said) =
        fms(pipeline, &format!("simulate verify --expect {} {store}", folder.join("e.json").display()))?;
    if status != Some(1) || !says.iter().all(|text| said.contains(text)) {
        return Err(format!("{store} has to differ and to say {says:?}, but: {status:?} {said}").into());
    }
    Ok(said)
}

pub(crate) fn names_what_differs() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("faults.toml"), FAULTS)?;
    let mut pipeline = Pipeline::prepare(&fms_e2e::suite(), StackKind::Embedded, None, &BTreeMap::new())?;
    let expect = path("e.json");
    let (status, said) = fms(&pipeline, &format!("{FLEET} {} --expect {expect}", path("faults.toml")))?;
    assert_eq!(status, Some(0), "{said}");
    pipeline.set_workers(1)?;
    pipeline.start_others()?;
    pipeline.drain(Instant::now(), Duration::from_mins(1), &|| false)?;
    pipeline.stop()?;

    // A complete run, with every store.
    let (table, raw, lake) = ("--table fleet", "--raw s3://fms/raw/", "--lake s3://lake --database fleet");
    let letters = "--letters-of-table fms.dead-letter.dynamodb --letters-of-raw fms.dead-letter.s3";
    let verify = |stores: &str| fms(&pipeline, &format!("simulate verify --expect {expect} {stores}"));
    let (status, said) = verify(&format!("{table} {raw} {lake} {letters}"))?;
    assert_eq!((status, said.matches(", complete\n").count()), (Some(0), 5), "{said}");
    let (status, said) = verify(&format!("{table} {raw} {lake} {letters} --json"))?;
    assert_eq!((status, said.matches(r#""missing":0"#).count()), (Some(0), 5), "{said}");

    // The sink of DynamoDB has dead letters of its own, and a pipeline that drops bad messages has none.
    differs(
        &pipeline,
        "--letters-of-raw fms.dead-letter.dynamodb",
        folder.path(),
        &["too many: ", " of vehicle 1000"],
    )?;
    differs(&pipeline, "--letters-of-table fms.dead-letter.s3", folder.path(), &["missing: ", " of vehicle 1000"])?;
    let nothing = "dead letters in fms.sensor.real: 0 of ";
    differs(&pipeline, "--letters-of-raw fms.sensor.real", folder.path(), &[nothing, "missing: "])?;

    // What cannot be compared is no difference.
    for (stores, says) in [
        ("", "nothing says what to compare"),
        ("--table nowhere", "cannot read the DynamoDB table nowhere"),
        ("--lake s3://lake", "--database"),
        ("--raw s3://nowhere/", "cannot read the raw objects of s3://nowhere/"),
    ] {
        let (status, said) = verify(stores)?;
        assert!(status == Some(2) && said.contains(says), "{stores}: {status:?} {said}");
    }

    // An item, a raw object, a Parquet file.
    let gone = Gone { endpoints: &pipeline.environment, runtime: Runtime::new()? };
    let item = pipeline.stack.scan("fleet")?.into_iter().next().ok_or("no item")?;
    gone.item(&item)?;
    let message = item["message_id"]["S"].as_str().ok_or("no message_id")?;
    let said = differs(&pipeline, table, folder.path(), &["1 missing", "missing: ", message])?;
    assert_eq!(said.matches("missing: ").count(), 1, "{said}");
    let key = |bucket: &str, begins: &str| -> Result<String, Failed> {
        let objects = pipeline.stack.objects(bucket)?;
        let found = objects.into_iter().find(|(key, _)| key.starts_with(begins));
        Ok(found.ok_or("no such object")?.0)
    };
    let parquet = key("lake", "formatted/object=vehicle/type=status/")?;
    gone.object("lake", &parquet)?;
    differs(
        &pipeline,
        lake,
        folder.path(),
        &["vehicle/status/report, 2026-11-", " missing", "missing: vehicle/status"],
    )?;
    let object = key("fms", "raw/fms.vehicle.real/object=vehicle/type=tire/")?;
    gone.object("fms", &object)?;
    differs(
        &pipeline,
        raw,
        folder.path(),
        &["vehicle/tire/report, 2026-11-", "missing: vehicle/tire/report of vehicle 1"],
    )?;

    // Rows that nobody has sent.
    let stranger = br#"{"object":"vehicle","type":"tire","command":"report","id":7,"message_id":"0","seq":0,"timestamp_iso":"2020-01-01T00:00:00Z"}"#;
    pipeline.stack.put_object("fms", "raw/stranger.json", stranger)?;
    differs(
        &pipeline,
        raw,
        folder.path(),
        &["vehicle/tire/report, 2020-01-01T00: 1 of 0, 1 too many", "too many: vehicle/tire/report of vehicle 7"],
    )?;
    Ok(())
}

/// Takes away what a pipeline has stored.
struct Gone<'a> {
    endpoints: &'a BTreeMap<String, String>,
    runtime: Runtime,
}

impl Gone<'_> {
    fn item(&self, item: &serde_json::Value) -> Result<(), Failed> {
        let credentials = aws_sdk_dynamodb::config::Credentials::new("embedded", "embedded-secret", None, None, "test");
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::latest())
            .region(aws_sdk_dynamodb::config::Region::new("us-east-1"))
            .credentials_provider(credentials)
            .http_client(fms_aws::https())
            .endpoint_url(&self.endpoints["AWS_ENDPOINT_URL_DYNAMODB"])
            .build();
        let client = aws_sdk_dynamodb::Client::from_conf(config);
        let key = |name: &str| AttributeValue::S(item[name]["S"].as_str().unwrap_or_default().to_owned());
        let delete = client.delete_item().table_name("fleet").key("pk", key("pk")).key("sk", key("sk"));
        self.runtime.block_on(delete.send())?;
        Ok(())
    }

    fn object(&self, bucket: &str, key: &str) -> Result<(), Failed> {
        let credentials = aws_sdk_s3::config::Credentials::new("embedded", "embedded-secret", None, None, "test");
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
            .region(aws_sdk_s3::config::Region::new("us-east-1"))
            .credentials_provider(credentials)
            .http_client(fms_aws::https())
            .endpoint_url(&self.endpoints["AWS_ENDPOINT_URL_S3"])
            .force_path_style(true)
            .build();
        self.runtime.block_on(aws_sdk_s3::Client::from_conf(config).delete_object().bucket(bucket).key(key).send())?;
        Ok(())
    }
}
