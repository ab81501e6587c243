//! What a fleet has sent is replayed from raw objects and from a topic: the pipeline stores the same rows at other times,
//! and those of copies of the vehicles.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::{Duration, Instant};

use e2e::StackKind;
use fms_e2e::load::Pipeline;
use fms_simulator::RowKey;
use libtest_mimic::Failed;

const FLEET: &str = "simulate --vehicles 4 --speed max --rhythm steady --seed 5 --from 2026-11-27T08:00:00+09:00 \
    --duration 10m --to kafka --protocols vehicle/kinematic,vehicle/tire,vehicle/event,device/heartbeat --faults";
/// Rows of a wrong clock are years away from the others, and are left out of a replay by their times.
const FAULTS: &str =
    "[rates]\ntruncated = 0.05\ntombstone = 0.02\nnumber-as-text = 0.02\nlate = 0.1\nclock-wrong = 0.3\n";
/// 2026-11-26T23:00:00Z, in milliseconds since the Unix epoch.
const MORNING: i64 = 1_795_734_000_000;
const DAY: i64 = 86_400_000;

/// The rows of the raw objects whose times are so many days after that of the fleet.
fn rows(pipeline: &Pipeline, day: i64) -> Result<Vec<RowKey>, Failed> {
    let mut rows = Vec::new();
    for (key, bytes) in pipeline.stack.objects("fms")? {
        if !key.starts_with("raw/fms.vehicle.real/") {
            continue;
        }
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(&*bytes).read_to_string(&mut text)?;
        rows.extend(text.lines().map(|line| RowKey::of_json(line.as_bytes())));
    }
    let begin = MORNING + day * DAY;
    rows.retain(|row| (begin - DAY / 2..begin + DAY / 2).contains(&row.millis));
    rows.sort();
    Ok(rows)
}

/// Runs `fms` and lets the pipeline store what it has sent. Gives what it has said.
fn stored(pipeline: &mut Pipeline, arguments: &str) -> Result<String, Failed> {
    let output = pipeline.fms(&arguments.split_whitespace().collect::<Vec<_>>())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(format!("{arguments}: {} {said}", output.status).into());
    }
    pipeline.set_workers(1)?;
    pipeline.start_others()?;
    pipeline.drain(Instant::now(), Duration::from_mins(1), &|| false)?;
    pipeline.stop()?;
    Ok(said)
}

fn later(rows: &[RowKey], millis: i64) -> Vec<RowKey> {
    rows.iter().map(|row| RowKey { millis: row.millis + millis, ..row.clone() }).collect()
}

pub(crate) fn stores_the_same_rows_at_other_times() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let faults = folder.path().join("faults.toml");
    std::fs::write(&faults, FAULTS)?;
    let mut pipeline = Pipeline::prepare(&fms_e2e::suite(), StackKind::Embedded, None, &BTreeMap::new())?;
    stored(&mut pipeline, &format!("{FLEET} {}", faults.display()))?;
    let first = rows(&pipeline, 0)?;
    if first.len() < 500 {
        return Err(format!("only {} rows were stored", first.len()).into());
    }

    // From raw objects, a day later. What they say of the first message is when it was sent, so a replay that begins
    // with a given time is asked to take that time for it.
    let replay = "--to kafka --speed max --since 2026-11-26T12:00:00Z --until 2026-11-27T12:00:00Z";
    let source = "simulate replay s3://fms/raw/fms.vehicle.real/";
    let said = stored(&mut pipeline, &format!("{source} {replay} --from 2026-11-27T12:00:00Z"))?;
    assert!(said.contains(&format!("{} rows", first.len())), "{said}");
    assert!(rows(&pipeline, 1)? == later(&first, DAY), "{said}");

    // From the topic, two days later, with a copy of each vehicle. What was replayed already is behind --until.
    let replay = replay.replace("--since 2026-11-26T12:00:00Z ", "");
    let said = stored(
        &mut pipeline,
        &format!("simulate replay topic:fms.vehicle.real {replay} --from 2026-11-28T23:00:00Z --clones 2"),
    )?;
    let found = rows(&pipeline, 2)?;
    let (copies, own): (Vec<_>, Vec<_>) = found.into_iter().partition(|row| row.message_id.ends_with("-1"));
    let moved = own.first().zip(first.first()).map_or(0, |(own, first)| own.millis - first.millis);
    // The record of the first message came after what it tells.
    assert!(moved.abs_diff(2 * DAY) < 600_000 && moved % 1000 == 0, "{moved}: {said}");
    assert!(own == later(&first, moved), "{said}");
    let of_copy = |row: &RowKey| RowKey {
        id: format!("{}1", row.id),
        message_id: format!("{}-1", row.message_id),
        ..row.clone()
    };
    let mut expected: Vec<RowKey> = own.iter().map(of_copy).collect();
    expected.sort();
    assert!(copies == expected, "{said}");

    pipeline.stack.put_object("fms", "broken/rows.json.gz", b"\x1f\x8b\x08 and no more")?;
    for (source, says) in [
        ("s3://fms/broken/", "cannot read s3://fms/broken/rows.json.gz"),
        ("s3://fms/raw/nothing", "has no message of the time that is asked for"),
        ("s3://nowhere/", "cannot read s3://nowhere/"),
        ("topic:nowhere", "topic nowhere at 127.0.0.1"),
        ("s3://lake/formatted/", "line 1 of s3://lake/formatted/"),
        ("s3://fms/raw --follow", "--follow is for a topic"),
    ] {
        let arguments = format!("simulate replay {source} --to stdout --speed max");
        let output = pipeline.fms(&arguments.split_whitespace().collect::<Vec<_>>())?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(says), "{arguments}: {} {said}", output.status);
    }
    Ok(())
}
