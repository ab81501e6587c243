//! What `e2e record` makes of a topic is a fixture: the pipeline stores its rows, and nothing in it says whose they are.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use e2e::StackKind;
use fms_e2e::load::Pipeline;
use libtest_mimic::Failed;

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const FLEET: &str = "simulate --vehicles 4 --speed max --rhythm steady --seed 5 --from 2026-11-27T08:00:00+09:00 \
    --duration 5m --to kafka --protocols vehicle/kinematic,vehicle/tire --faults";

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub(crate) fn makes_a_fixture() -> Result<(), Failed> {
    let project = tempfile::tempdir()?;
    let root = project.path().canonicalize()?;
    for file in ["fixtures/suite.toml", "deploy/connectors/dynamodb.json", "deploy/connectors/s3.json"] {
        let to = root.join(file);
        fs::create_dir_all(to.parent().ok_or("a folder")?)?;
        fs::copy(Path::new(REPOSITORY).join(file), to)?;
    }
    let faults = root.join("faults.toml");
    fs::write(&faults, "[rates]\ntombstone = 0.05\ntruncated = 0.1\n")?;
    let pipeline = Pipeline::prepare(&fms_e2e::suite(), StackKind::Embedded, None, &BTreeMap::new())?;
    let fleet = format!("{FLEET} {}", faults.display());
    let output = pipeline.fms(&fleet.split_whitespace().collect::<Vec<_>>())?;
    assert!(output.status.success(), "{}", said(&output));
    let runner = |arguments: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_e2e"));
        command.args(arguments.split_whitespace()).current_dir(&root).env_remove("CARGO_MANIFEST_DIR");
        command.env("CARGO_TARGET_DIR", root.join("target")).env("INSTA_UPDATE", "no");
        command.env("KAFKA_BOOTSTRAP_SERVERS", &pipeline.environment["KAFKA_BOOTSTRAP_SERVERS"]).output()
    };
    let record = "record --topic fms.vehicle.real --out fixtures/recorded/morning --mask id,device_id,message_id --seed 7 \
        --move latitude,longitude --max-messages 40";
    let output = runner(record)?;
    assert!(output.status.success() && said(&output).contains("left out"), "{}", said(&output));

    let recorded = fs::read_to_string(root.join("fixtures/recorded/morning/messages.ndjson"))?;
    assert!((15..=40).contains(&recorded.lines().count()), "{}", recorded.lines().count());
    // The ids of the fleet begin with 10001, and Korea is between these degrees.
    let mut vehicles = BTreeMap::new();
    for line in recorded.lines() {
        let line: serde_json::Value = serde_json::from_str(line)?;
        let (key, message) = (line["$record"]["key"].as_str().unwrap_or_default(), &line["$record"]["value"]);
        assert!(!["10001", "10002", "10003", "10004"].contains(&key), "{line}");
        if message.is_null() {
            continue;
        }
        assert_eq!(message["id"].to_string(), key, "{line}");
        let device = message["device_id"].as_str().unwrap_or_default().to_owned();
        assert_eq!(*vehicles.entry(key.to_owned()).or_insert_with(|| device.clone()), device, "{line}");
        for row in message["measurements"].as_array().into_iter().flatten() {
            let is_at_home = row["latitude"].as_f64().is_some_and(|latitude| (36.0..39.0).contains(&latitude))
                && row["longitude"].as_f64().is_some_and(|longitude| (125.0..129.0).contains(&longitude));
            assert!(!is_at_home, "{row}");
        }
    }
    assert!((2..=4).contains(&vehicles.len()), "{vehicles:?}");

    // The pipeline stores what was recorded: only its snapshots are missing, which a person has to approve.
    let output = runner("recorded")?;
    let text = said(&output);
    assert!(text.contains("while comparing with the snapshots") && !text.contains("ledger"), "{text}");
    assert!(runner("--update recorded")?.status.success(), "{}", said(&runner("recorded")?));
    let output = runner("recorded")?;
    assert!(output.status.success(), "{}", said(&output));

    for (arguments, says) in [
        (record, "exists already"),
        ("record --topic fms.vehicle.real --out fixtures/recorded", "write the folder of a case"),
        (
            "record --topic fms.sensor.real --out fixtures/recorded/none",
            "there is nothing to record of topic fms.sensor.real",
        ),
    ] {
        let output = runner(arguments)?;
        assert!(output.status.code() == Some(2) && said(&output).contains(says), "{arguments}: {}", said(&output));
    }
    Ok(())
}
