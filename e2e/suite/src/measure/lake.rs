//! Measures a poller of the lake: the time from a raw object to its rows in the catalog, and its memory.

use std::thread;
use std::time::{Duration, Instant};

use e2e::Suite;
use e2e::internals::{Call, Case, Embedded, Log, Stack, Subject};
use serde_json::{Value, json};

use super::{PATIENCE, empty_stack, megabytes, milliseconds, ms, percentile, resident, row, simple_case, time_row};

const RATE: u32 = 20;
const OBJECTS: u32 = 20 * RATE;
const ROWS: u32 = 60;

/// Each of so many objects has its rows in an hour of its own, so that its partition has to be created.
const HOUR: u32 = 20;

/// Starts a poller on an empty stack, and puts objects at a fixed rate.
pub(super) fn measure(suite: &Suite) -> Result<(), String> {
    let case = simple_case(suite)?;
    let (stack, mut environment) = empty_stack(&case)?;
    // Fixtures are converted one after the other; this is about the poller as it is by default.
    environment.remove("FMS_LAKE_CONCURRENCY");
    let log = Log::default();
    let args = ["lake", "poll"].map(str::to_owned);
    let poller = Subject::start(&suite.program, &args, &environment, &suite.root, &log).map_err(|e| e.to_string())?;
    let measured = latencies(&case, &stack).map_err(|problem| format!("{problem}\n{}", log.last(15)));
    let memory = resident(&poller);
    poller.terminate();
    poller.wait(Instant::now() + PATIENCE);
    let mut times = measured?;
    let what = format!("raw object of {ROWS} rows to its rows in the catalog, {OBJECTS} objects at {RATE}/s");
    row(&format!("{what}: p50"), &milliseconds(percentile(&mut times, 50)), "", true);
    time_row(&format!("{what}: p99"), percentile(&mut times, 99), ms(500));
    if let Some(bytes) = memory {
        row("poller after these objects, resident memory", &megabytes(bytes), "", true);
    }
    Ok(())
}

/// For every object, the time from the call that puts it until its Parquet file is stored and its partition is in the
/// catalog. Objects are put one by one, each when it is due.
fn latencies(case: &Case, stack: &Embedded) -> Result<Vec<Duration>, String> {
    let notification = case.settings.resources.notifications.first().ok_or("the case has no notification")?;
    // The first object creates the table, which happens once in the life of a protocol.
    let mut put = Vec::new();
    put_object(stack, &notification.bucket, 0)?;
    await_files(stack, 0)?;
    let started = Instant::now();
    for number in 1..=OBJECTS {
        let due = started + Duration::from_secs(1) / RATE * (number - 1);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        put.push(Instant::now());
        put_object(stack, &notification.bucket, number)?;
    }
    await_files(stack, OBJECTS)?;
    let calls = stack.calls().snapshot();
    let mut partitions = calls.iter().filter(|call| is_partition(call)).skip(1);
    let mut times = Vec::with_capacity(put.len());
    for (number, put) in (1..=OBJECTS).zip(put) {
        let file = calls.iter().find(|call| is_file(call) && call.target.contains(&name(number)));
        let mut visible = ended(file, number)?;
        if opens_an_hour(number) {
            visible = visible.max(ended(partitions.next(), number)?);
        }
        times.push(visible.saturating_duration_since(put));
    }
    Ok(times)
}

fn ended(call: Option<&Call>, number: u32) -> Result<Instant, String> {
    let finished = call.and_then(|call| call.finished).filter(|(_, status)| *status < 300);
    finished.map(|(at, _)| at).ok_or_else(|| format!("object {number} has no file or no partition"))
}

fn is_file(call: &Call) -> bool {
    call.operation == "PutObject" && call.target.starts_with("lake/formatted/")
}

fn is_partition(call: &Call) -> bool {
    call.operation == "BatchCreatePartition"
}

/// Waits for the files of the objects up to this one, and for the partitions of their hours.
fn await_files(stack: &Embedded, last: u32) -> Result<(), String> {
    let (files, partitions) = (last as usize + 1, (0..=last).filter(|number| opens_an_hour(*number)).count());
    let done = |calls: &[Call], which: fn(&Call) -> bool| {
        calls.iter().filter(|call| which(call) && call.finished.is_some()).count()
    };
    let stored = |calls: &[Call]| done(calls, is_file) >= files && done(calls, is_partition) >= partitions;
    if stack.calls().wait_until(Instant::now() + PATIENCE, stored) {
        return Ok(());
    }
    let found = stack.calls().snapshot().iter().filter(|call| is_file(call)).count();
    Err(format!("{found} of {files} objects became a file after {} s", PATIENCE.as_secs()))
}

fn opens_an_hour(number: u32) -> bool {
    number.is_multiple_of(HOUR)
}

/// The part of the names by which object and file are told from the others.
fn name(number: u32) -> String {
    format!("{number:010}")
}

fn put_object(stack: &Embedded, bucket: &str, number: u32) -> Result<(), String> {
    let hour = number / HOUR;
    let lines: String = (0..ROWS).map(|second| line(number, hour, second).to_string() + "\n").collect();
    let key = format!(
        "raw/fms.vehicle.real/object=vehicle/type=kinematic/command=report/fms.vehicle.real+0+{}.json",
        name(number)
    );
    stack.put_object(bucket, &key, lines.as_bytes()).map_err(|error| error.to_string())
}

fn line(number: u32, hour: u32, second: u32) -> Value {
    let time = format!("2023-01-{:02}T{:02}:00:{second:02}.000+09:00", 1 + hour / 24, hour % 24);
    json!({
        "object": "vehicle", "type": "kinematic", "command": "report", "id": number, "messaged_at": time,
        "timestamp_iso": time, "seq": second, "latitude": 37.518_342, "longitude": 126.982_117, "altitude": 21.4,
        "heading": 182.5, "speed": f64::from(second) + 0.25, "satellites": 9, "fix_type": "THREE_D", "accel_x": 0.12,
        "accel_y": -0.03, "accel_z": 9.79, "yaw_rate": 0.4, "odometer": 1_000 * number + second,
    })
}
