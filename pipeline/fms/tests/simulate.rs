//! `fms simulate` as a process: what it writes, and what it says of mistakes.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs `fms simulate` with these arguments, in this folder.
fn simulate(folder: &Path, arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fms"))
        .arg("simulate")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .env_remove("KAFKA_BOOTSTRAP_SERVERS")
        .output()
        .expect("the program starts")
}

/// The same, where it has to succeed.
fn simulated(folder: &Path, arguments: &str) -> Output {
    let output = simulate(folder, arguments);
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).expect("a file")
}

/// The lines of these files together, sorted.
fn sorted(folder: &Path, names: &[&str]) -> Vec<String> {
    let text: String = names.iter().map(|name| read(folder, name)).collect();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

const FLEET: &str =
    "--vehicles 6 --speed max --rhythm steady --from 2026-11-27T08:00:00+09:00 --duration 20m --to file";

/// The parts of a fleet in two processes make exactly what one process makes, and so do their expectations.
#[test]
fn two_shards_are_the_whole_fleet() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |arguments: &str| simulated(folder.path(), arguments);
    for (name, shard) in [("whole", "1/1"), ("first", "1/2"), ("second", "2/2")] {
        let said = run(&format!("{FLEET} --out {name}.ndjson --expect {name}.json --shard {shard}")).stderr;
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.contains("2026-11-26T23:20:00Z: ") && said.contains(" rows, "), "{said}");
    }
    let read = |name: &str| read(folder.path(), name);
    let sorted = |names: &[&str]| sorted(folder.path(), names);
    let whole = sorted(&["whole.ndjson"]);
    assert!(whole.len() > 50, "{} messages", whole.len());
    assert!(whole == sorted(&["first.ndjson", "second.ndjson"]));
    let merged = run("merge first.json second.json").stdout;
    // How they were made is told of each part, and everything else adds up.
    let parsed = |text: &str| -> Value { serde_json::from_str(text).expect("an expectation") };
    let (mut merged, mut whole) = (parsed(&String::from_utf8_lossy(&merged)), parsed(&read("whole.json")));
    let made = |expectation: &mut Value| expectation["made"].take();
    let (parts, one) = (made(&mut merged), made(&mut whole));
    assert_eq!(merged, whole);
    let shards: Vec<_> = [&parts[0], &parts[1], &one[0]].map(|made| made["shard"].as_str()).into();
    assert_eq!(shards, [Some("1/2"), Some("2/2"), Some("1/1")]);
}

/// What was written to a file is replayed as it was, but later; two replays are the same, and their parts are the whole.
#[test]
fn a_replay_is_what_was_recorded_at_another_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |arguments: &str| simulated(folder.path(), arguments);
    let read = |name: &str| read(folder.path(), name);
    let sorted = |names: &[&str]| sorted(folder.path(), names);
    run(&format!("{FLEET} --out first.ndjson --header source=fleet"));
    let replay = "replay first.ndjson --speed max --to file --seed 3";
    // The first message leaves in the first second, so the same time gives the same messages.
    let first: Value = serde_json::from_str(read("first.ndjson").lines().next().expect("a line")).expect("JSON");
    let second = first["$record"]["timestamp"].as_i64().expect("a time").div_euclid(1000);
    let time = |second: i64| jiff::Timestamp::from_second(second).expect("a time").to_string();
    run(&format!("{replay} --from {} --out same.ndjson", time(second)));
    // A fleet sends the messages of a second by vehicle, and a replay by time.
    assert!(sorted(&["same.ndjson"]) == sorted(&["first.ndjson"]));
    run(&format!("{replay} --from {} --clones 3 --out later.ndjson", time(second + 86_400)));
    run(&format!("{replay} --from {} --clones 3 --out again.ndjson", time(second + 86_400)));
    let later = read("later.ndjson");
    assert!(later == read("again.ndjson") && later.lines().count() == 3 * read("first.ndjson").lines().count());
    assert!(later.contains("2026-11-28T08:") && !later.contains("2026-11-27T08:"));
    for part in ["1/2", "2/2"] {
        let out = part.replace('/', "-");
        run(&format!("{replay} --from {} --clones 3 --shard {part} --out {out}.ndjson", time(second + 86_400)));
    }
    assert!(sorted(&["1-2.ndjson", "2-2.ndjson"]) == sorted(&["later.ndjson"]));
}

#[test]
fn rows_of_a_csv_file_are_replayed() {
    let folder = tempfile::tempdir().expect("a folder");
    let csv = "object,type,command,id,message_id,timestamp_iso,speed,plate:text\n\
        vehicle,kinematic,report,7,a,2023-01-01T00:00:01Z,1.50,007\n\
        vehicle,kinematic,report,7,a,2023-01-01T00:00:02Z,,008\n\
        device,heartbeat,report,7,b,2023-01-01T00:00:00Z,,\n";
    std::fs::write(folder.path().join("rows.csv"), csv).expect("written");
    let output = simulated(folder.path(), "replay rows.csv --to stdout --speed max --from 2026-11-27T08:00:00Z");
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stdout), @r#"
    {"$record":{"topic":"fms.device.real","key":"7","timestamp":1795766400000,"value":{"object":"device","type":"heartbeat","command":"report","id":7,"message_id":"b","measurements":[{"timestamp_iso":"2026-11-27T08:00:00Z"}]}}}
    {"$record":{"topic":"fms.vehicle.real","key":"7","timestamp":1795766402000,"value":{"object":"vehicle","type":"kinematic","command":"report","id":7,"message_id":"a","measurements":[{"timestamp_iso":"2026-11-27T08:00:01Z","speed":1.50,"plate":"007"},{"timestamp_iso":"2026-11-27T08:00:02Z","plate":"008"}]}}}
    "#);
}

/// The trips of a folder are driven in the place of those of the program. The same trips give the same messages.
#[test]
fn trips_of_a_folder_are_driven() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../../recordings/canedge_trips_1hz.csv.gz");
    let run = |arguments: &str| simulated(folder.path(), arguments);
    std::fs::create_dir(folder.path().join("both")).expect("a folder");
    std::fs::copy(own, folder.path().join("both/trips.csv.gz")).expect("copied");
    run(&format!("{FLEET} --out own.ndjson"));
    run(&format!("{FLEET} --out both.ndjson --recordings both"));
    assert!(read(folder.path(), "own.ndjson") == read(folder.path(), "both.ndjson"));
    let mut text = String::new();
    let file = std::fs::File::open(own).expect("the recordings");
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(file), &mut text).expect("text");
    let (head, rest) = text.split_once('\n').expect("names");
    let one: Vec<&str> = rest.lines().filter(|line| line.starts_with("C,")).take(900).collect();
    std::fs::create_dir(folder.path().join("one")).expect("a folder");
    std::fs::write(folder.path().join("one/short.csv"), format!("{head}\n{}\n", one.join("\n"))).expect("written");
    run(&format!("{FLEET} --out one.ndjson --recordings one"));
    let one = read(folder.path(), "one.ndjson");
    assert!(one.lines().count() > 20 && one != read(folder.path(), "own.ndjson"));
}

/// A run whose messages cannot be delivered says so, and writes what has arrived and where another one goes on.
#[test]
fn what_has_arrived_is_written_when_a_run_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let fleet = FLEET.replace("--to file", "--to kafka --bootstrap-servers 127.0.0.1:1 --expect e.json");
    let output = simulate(folder.path(), &format!("{fleet} --producer message.timeout.ms=500"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("was not delivered to topic fms."), "{said}");
    let goes_on = "fms simulate has failed; with --from 2026-11-26T23:0";
    assert!(said.contains(goes_on) && said.contains(" --since 2026-11-26T23:00:00Z it goes on where it was"), "{said}");
    let expectation: Value = serde_json::from_str(&read(folder.path(), "e.json")).expect("an expectation");
    assert_eq!(expectation["protocols"], serde_json::json!({}));
    let (from, until) = (&expectation["made"][0]["from"], &expectation["made"][0]["until"]);
    assert!(from.as_i64() <= until.as_i64() && until.as_i64() < from.as_i64().map(|from| from + 60), "{expectation}");
}

#[test]
fn mistakes_are_explained_and_nothing_is_started() {
    let folder = tempfile::tempdir().expect("a folder");
    for (arguments, says) in [
        ("--to file", "--out PATH is missing"),
        ("--to kafka", "--bootstrap-servers is missing"),
        ("--to fixture --out there", "--duration is missing: a fixture has an end"),
        ("--to stdout --from 2012-01-01T00:00:00Z", "the fleet has driven since 2020-01-05T15:00:00Z"),
        ("--to stdout --speed 10", "such as 1x or 10x, or max"),
        ("--to stdout --protocols vehicle/tyre", "there is no protocol `vehicle/tyre`"),
        ("--to stdout --faults rates.toml", "cannot read the rates of faults in rates.toml"),
        ("--to stdout --shard 3/2", "`3/2` is no part of a fleet"),
        ("--to mqtt", "--mqtt is missing"),
        ("--to mqtt --mqtt localhost", "`localhost` is no broker"),
        ("--to mqtt --mqtt mqtts://localhost --mqtt-ca ca.pem", "cannot use --mqtt-ca"),
        ("--to mqtt --mqtt mqtt://localhost --mqtt-user me", "MQTT_PASSWORD is missing"),
        ("--to stdout --topic fms.{objekt}", "there is no field `{objekt}`"),
        ("--to stdout --recordings nowhere", "cannot read the recordings in nowhere"),
        ("--to stdout --recordings .", "it has no trip"),
        ("replay nowhere --to stdout", "cannot read nowhere"),
        ("replay topic: --to stdout", "write the name of a topic"),
        ("replay topic:t --to stdout", "--source-servers is missing"),
        ("replay . --to stdout", ". has no message of the time that is asked for"),
        ("replay . --to stdout --move latitude", "write two fields"),
        ("merge whole.json", "cannot read the expectation whole.json"),
    ] {
        let output = simulate(folder.path(), arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(says), "{arguments}: {:?} {said}", output.status);
        assert!(output.stdout.is_empty(), "{arguments}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 0);
}
