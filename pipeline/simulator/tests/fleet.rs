//! What a simulated fleet sends: the same on every run and in every partition of the work, as the catalogue says, with
//! as many faults as the rates say, and such that the pipeline makes of it what the expectation says.

use std::collections::{BTreeMap, BTreeSet};

use fms_record::{EventTime, Parser};
use fms_simulator::{
    Expectation, FAULTS, Fault, Fleet, KeySet, Message, Protocol, Protocols, Rates, Rhythm, Shard, Simulation,
};
use proptest::prelude::*;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A Friday at 08:00 in Korea.
const MORNING: i64 = 1_795_734_000;

fn simulation(rates: Rates) -> Simulation {
    Simulation {
        fleet: Fleet::new(7),
        since: MORNING - 86_400,
        rhythm: Rhythm::Days,
        rates,
        protocols: Protocols::all(),
    }
}

/// The messages of so many vehicles in so many minutes.
fn messages(simulation: &Simulation, vehicles: u64, from: i64, minutes: i64) -> impl Iterator<Item = Message> {
    simulation.plan(vehicles, Shard::WHOLE, from, from + minutes * 60).map(|departure| simulation.message(&departure))
}

fn only(simulation: Simulation, protocols: &str) -> Simulation {
    Simulation { protocols: Protocols::parse(protocols).expect("protocols"), ..simulation }
}

fn expected(messages: &[Message]) -> Expectation {
    let mut expectation = Expectation::default();
    for message in messages {
        expectation.add(message);
    }
    expectation
}

/// Changes only when messages change on purpose, and is the same on every machine.
#[test]
fn the_messages_of_a_seed_never_change() {
    let digest = |rates: Rates| {
        let mut digest = Sha256::new();
        for message in messages(&simulation(rates), 30, MORNING, 60) {
            digest.update(message.at.to_le_bytes());
            digest.update(message.id.to_le_bytes());
            digest.update(message.value.as_deref().unwrap_or(b"null"));
        }
        digest.finalize().iter().take(8).fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    };
    let digests = [digest(Rates::none()), digest(Rates::field())];
    assert_eq!(digests, ["dea777a5b908a15e", "5daf327902c300ee"]);
}

#[test]
fn every_protocol_is_sent_with_the_fields_and_ranges_of_the_catalogue() {
    let (mut seen, mut events) = (BTreeMap::<Protocol, usize>::new(), BTreeSet::new());
    let common = simulation(Rates::none());
    let rare = only(simulation(Rates::none()), "vehicle/crash,vehicle/diagnostics,vehicle/event");
    for message in messages(&common, 50, MORNING, 60).chain(messages(&rare, 2500, MORNING, 60)) {
        let text = message.value.as_deref().expect("a value");
        let value: Value = serde_json::from_slice(text).expect("JSON");
        let protocol = message.protocol;
        *seen.entry(protocol).or_default() += 1;
        let identity = format!(
            "{}/{}/{}",
            value["object"].as_str().expect("text"),
            value["type"].as_str().expect("text"),
            value["command"].as_str().expect("text")
        );
        assert_eq!(identity, protocol.to_string());
        assert_eq!(value["id"], message.id);
        assert_eq!(value["message_id"], message.message_id);
        assert!(message.dead_letters == 0 && message.faults.is_empty() && !message.is_copy);
        if !protocol.has_list() {
            assert!(value.get("measurements").is_none(), "{value}");
            check(protocol, &value);
            continue;
        }
        let rows = value["measurements"].as_array().expect("a list");
        assert_eq!(value["measurements_count"], rows.len());
        assert_eq!(rows.len(), message.rows.len());
        assert!(rows_of(protocol).contains(&rows.len()), "{protocol} has {} rows", rows.len());
        for (row, id) in rows.iter().zip(&message.rows) {
            let time: jiff::Timestamp = row["timestamp_iso"].as_str().expect("text").parse().expect("a time");
            assert_eq!(time.as_millisecond(), id.millis);
            assert_eq!(row["seq"].as_u64(), id.seq.map(u64::from));
            assert!(id.millis <= message.at && id.millis > message.at - 400_000, "{identity} {row}");
            check(protocol, row);
            if protocol == Protocol::VehicleEvent {
                events.insert(row["event_type"].as_str().expect("text").to_owned());
            }
        }
    }
    let missing: Vec<_> = Protocol::ALL.into_iter().filter(|protocol| !seen.contains_key(protocol)).collect();
    assert!(missing.is_empty(), "never sent: {missing:?}");
    let known = [
        "harsh_accel",
        "harsh_brake",
        "harsh_corner",
        "idling",
        "ignition_off",
        "ignition_on",
        "low_battery",
        "overspeed",
        "power_cut",
        "site_arrive",
        "site_depart",
        "site_enter",
        "tow",
        "trip_end",
        "trip_resume",
        "trip_start",
        "trip_stop",
    ];
    assert!(events.iter().all(|event| known.contains(&event.as_str())), "{events:?}");
    assert!(events.len() >= 10, "{events:?}");
}

fn rows_of(protocol: Protocol) -> std::ops::RangeInclusive<usize> {
    match protocol {
        Protocol::VehicleKinematic | Protocol::AdasMeasurements => 60..=60,
        Protocol::VehicleStatus => 6..=6,
        Protocol::VehicleEv => 3..=3,
        Protocol::VehicleTire => 4..=6,
        Protocol::VehicleCrash => 2000..=2000,
        Protocol::SensorMeasurements => 12..=12,
        _ => 1..=1,
    }
}

/// Checks the fields of a row. `n`, `i`, `s`, `b` are the types of the catalogue; `?` may be null or absent.
#[expect(clippy::too_many_lines, reason = "this is a list with the fields of one protocol after the other")]
fn check(protocol: Protocol, row: &Value) {
    let fields: &[(&str, &str, f64, f64)] = match protocol {
        Protocol::VehicleKinematic => &[
            ("latitude", "n", 36.0, 39.0),
            ("longitude", "n", 125.0, 129.0),
            ("altitude", "n", -100.0, 1000.0),
            ("heading", "n", 0.0, 359.95),
            ("speed", "n", 0.0, 250.0),
            ("horizontal_accuracy", "n", 0.0, 62.0),
            ("satellites", "i", 0.0, 40.0),
            ("fix_type", "s", 0.0, 0.0),
            ("accel_x", "n", -78.0, 78.0),
            ("accel_y", "n", -78.0, 78.0),
            ("accel_z", "n", -78.0, 78.0),
            ("yaw_rate", "n", -80.0, 80.0),
            ("odometer", "i", 0.0, 1e9),
        ],
        Protocol::VehicleStatus => &[
            ("ignition", "b", 0.0, 0.0),
            ("engine_running", "b", 0.0, 0.0),
            ("rpm", "n?", 0.0, 16_383.0),
            ("odometer", "i", 0.0, 1e9),
            ("fuel_level", "n?", 0.0, 100.0),
            ("fuel_rate", "n?", 0.0, 60.0),
            ("coolant_temp", "n?", -40.0, 215.0),
            ("battery_voltage", "n", 9.0, 30.0),
            ("gear", "i", 0.0, 12.0),
            ("locked", "b", 0.0, 0.0),
            ("headlight", "b", 0.0, 0.0),
        ],
        Protocol::VehicleEv => &[
            ("soc", "n", 0.0, 100.0),
            ("voltage", "n", 200.0, 500.0),
            ("current", "n", -600.0, 600.0),
            ("battery_temp_min", "n", -40.0, 60.0),
            ("battery_temp_max", "n", -40.0, 60.0),
            ("is_charging", "b", 0.0, 0.0),
            ("charge_power", "n", 0.0, 400_000.0),
            ("range", "i", 0.0, 1e6),
        ],
        Protocol::VehicleTire => &[
            ("axle", "i", 1.0, 6.0),
            ("wheel", "i", 1.0, 4.0),
            ("pressure", "i", 100.0, 1200.0),
            ("temperature", "n", -40.0, 120.0),
            ("is_low", "b", 0.0, 0.0),
        ],
        Protocol::VehicleDiagnostics => &[("mil", "b", 0.0, 0.0), ("dtc_count", "i", 0.0, 20.0)],
        Protocol::VehicleEvent => &[
            ("event_id", "s", 0.0, 0.0),
            ("event_type", "s", 0.0, 0.0),
            ("trip_id", "s", 0.0, 0.0),
            ("latitude", "n", 36.0, 39.0),
            ("longitude", "n", 125.0, 129.0),
            ("value", "n", -1000.0, 10_000.0),
            ("severity", "i", 0.0, 3.0),
            ("geofence_id", "s?", 0.0, 0.0),
        ],
        Protocol::VehicleCrash => &[
            ("accel_x", "n", -78.0, 78.0),
            ("accel_y", "n", -78.0, 78.0),
            ("accel_z", "n", -78.0, 78.0),
            ("speed", "n", 0.0, 250.0),
            ("peak_g", "n", 0.0, 100.0),
        ],
        Protocol::AdasMeasurements => &[
            ("lead_distance", "n?", 0.0, 250.0),
            ("time_gap", "i?", 0.0, 10_000.0),
            ("lane_offset", "n", -2.0, 2.0),
            ("speed", "n", 0.0, 250.0),
        ],
        Protocol::AdasEvent => &[
            ("event_type", "s", 0.0, 0.0),
            ("level", "i", 1.0, 3.0),
            ("speed", "n", 0.0, 250.0),
            ("clip_id", "s?", 0.0, 0.0),
        ],
        Protocol::SensorMeasurements => &[
            ("sensor_id", "s", 0.0, 0.0),
            ("temperature", "n", -40.0, 85.0),
            ("humidity", "n", 0.0, 100.0),
            ("cargo_door_open", "b", 0.0, 0.0),
            ("battery", "n", 2.0, 5.0),
        ],
        Protocol::BlackboxStatus => &[
            ("recording", "b", 0.0, 0.0),
            ("storage_used", "n", 0.0, 100.0),
            ("temperature", "n", -40.0, 90.0),
            ("channels", "i", 1.0, 8.0),
            ("error_code", "s?", 0.0, 0.0),
        ],
        Protocol::BlackboxUploadCommand => {
            &[("request_id", "s", 0.0, 0.0), ("channel", "i", 1.0, 4.0), ("from", "s", 0.0, 0.0), ("to", "s", 0.0, 0.0)]
        }
        Protocol::BlackboxUploadResponse => &[
            ("request_id", "s", 0.0, 0.0),
            ("result", "s", 0.0, 0.0),
            ("file_key", "s?", 0.0, 0.0),
            ("bytes", "i", 0.0, 1e9),
            ("error_code", "s?", 0.0, 0.0),
        ],
        Protocol::VehicleControlCommand => &[("request_id", "s", 0.0, 0.0), ("action", "s", 0.0, 0.0)],
        Protocol::VehicleControlResponse => &[
            ("request_id", "s", 0.0, 0.0),
            ("result", "s", 0.0, 0.0),
            ("error_code", "s?", 0.0, 0.0),
            ("executed_at", "s?", 0.0, 0.0),
        ],
        Protocol::DeviceHeartbeat => &[
            ("uptime", "i", 0.0, 1e8),
            ("rssi", "i", -120.0, -40.0),
            ("buffered_records", "i", 0.0, 1e6),
            ("clock_source", "s", 0.0, 0.0),
            ("boot_reason", "s?", 0.0, 0.0),
            ("firmware", "s", 0.0, 0.0),
        ],
    };
    for (name, kind, from, to) in fields {
        let value = &row[*name];
        if kind.ends_with('?') && value.is_null() {
            continue;
        }
        let is = match &kind[..1] {
            "s" => value.as_str().is_some_and(|text| !text.is_empty()),
            "b" => value.is_boolean(),
            "i" => value.is_i64() && (*from..=*to).contains(&value.as_f64().expect("a number")),
            _ => value.as_f64().is_some_and(|number| (*from..=*to).contains(&number)),
        };
        assert!(is, "{protocol}: {name} is {value}: {row}");
    }
}

/// The rows of these messages, as the pipeline's own unrolling finds them.
fn unrolled(messages: &[Message]) -> BTreeMap<String, (u64, u64, BTreeMap<String, u64>)> {
    let mut parser = Parser::new(Some("measurements".into()));
    let mut found: BTreeMap<String, (u64, u64, BTreeMap<String, u64>)> = BTreeMap::new();
    for message in messages {
        let (rows, dead, hours) = found.entry(message.protocol.to_string()).or_default();
        let Ok(parsed) = parser.parse(message.value.as_deref().unwrap_or_default()) else {
            *dead += 1;
            continue;
        };
        for row in parsed.rows() {
            let Ok(row) = row else {
                *dead += 1;
                continue;
            };
            *rows += 1;
            let time = EventTime::of(&row, Some("timestamp_iso"), Some(message.at)).expect("a time").millis;
            let hour = jiff::Timestamp::from_millisecond(time).expect("a time").to_string()[..13].to_owned();
            *hours.entry(hour).or_default() += 1;
        }
    }
    found
}

/// The unrolling of the pipeline, which knows nothing of the simulator, finds what the expectation says.
#[test]
fn the_pipeline_makes_of_the_messages_what_is_expected() {
    let rates = FAULTS.iter().fold(Rates::field(), |rates, about| {
        rates.with(about.fault, if about.field < 0.001 { 0.004 } else { about.field.clamp(0.05, 0.2) })
    });
    let rates = rates.with(Fault::AnswerLate, 0.9).with(Fault::AnswerNever, 0.3).with(Fault::ClockWrong, 0.2);
    let rates = rates.with(Fault::Hot, 0.05);
    let messages: Vec<_> = messages(&simulation(rates), 90, MORNING, 60).collect();
    let expectation = expected(&messages);
    let found = unrolled(&messages);
    assert_eq!(found.keys().collect::<Vec<_>>(), expectation.protocols.keys().collect::<Vec<_>>());
    for (protocol, (rows, dead, hours)) in found {
        let expected = &expectation.protocols[&protocol];
        let expected_hours = expected.hours.iter().map(|(hour, of)| (hour.to_string(), of.rows.count)).collect();
        assert_eq!((rows, dead, hours), (expected.rows, expected.dead_letters, expected_hours), "{protocol}");
    }
    assert!(expectation.protocols.values().map(|of| of.dead_letters).sum::<u64>() > 20);
    let seen: Vec<_> = expectation.faults.keys().map(String::as_str).collect();
    let missing: Vec<_> = FAULTS.iter().map(|about| about.name).filter(|name| !seen.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The items that are expected are the different rows, as the table tells them apart.
#[test]
fn the_items_that_are_expected_are_the_different_rows() {
    let rates = Rates::none().with(Fault::Twice, 0.1).with(Fault::SameRecordTwice, 0.1).with(Fault::Late, 0.1);
    let rates = rates.with(Fault::MinuteTimes, 0.5).with(Fault::SameSecond, 0.1).with(Fault::LoneSurrogate, 0.05);
    // From the fleet's first second on: a copy is one of a message that was sent before.
    let simulation = Simulation { since: MORNING, ..simulation(rates) };
    let messages: Vec<_> = messages(&simulation, 30, MORNING, 60).collect();
    let mut expectation = Expectation::default();
    let mut parser = Parser::new(Some("measurements".into()));
    let (mut rows, mut different) = (0, BTreeMap::new());
    for message in &messages {
        expectation.add(message);
        let parsed = parser.parse(message.value.as_deref().expect("a value")).expect("a message");
        for row in parsed.rows() {
            let row = row.expect("a row");
            rows += 1;
            if message.is_refused_by_dynamodb {
                continue;
            }
            let text = |name| row.get(name).unwrap_or_default().trim_matches('"').to_owned();
            let millis = EventTime::of(&row, Some("timestamp_iso"), None).expect("a time").millis;
            let key = format!("{}|{}|{}|{}|{millis}", message.protocol, text("id"), text("message_id"), text("seq"));
            different.insert(row.digest(), key);
        }
    }
    let sum = |of: &dyn Fn(&fms_simulator::OfProtocol) -> u64| expectation.protocols.values().map(of).sum::<u64>();
    assert_eq!(sum(&|of| of.rows), rows);
    assert_eq!(sum(&|of| of.items), different.len() as u64);
    assert!(sum(&|of| of.items) + sum(&|of| of.refused_by_dynamodb) < rows, "nothing was there twice");
    let kinematic = Protocol::VehicleKinematic.to_string();
    let mut keys = KeySet::default();
    different.values().filter(|key| key.starts_with(&kinematic)).for_each(|key| keys.add(key));
    assert_eq!(keys, expectation.protocols[&kinematic].keys());
}

/// How often the faults of these rates were there, beside what was expected. With this seed the figures are fixed; the
/// bounds are wide, because vehicles and trips are few.
fn assert_rates(protocols: &str, vehicles: u64, of: &dyn Fn(&Message) -> u64, table: &[(Fault, f64, f64)]) {
    let rates = table.iter().fold(Rates::none(), |rates, (fault, rate, _)| rates.with(*fault, *rate));
    let (mut faults, mut all) = (BTreeMap::<Fault, u64>::new(), 0);
    for message in messages(&only(simulation(rates), protocols), vehicles, MORNING, 60) {
        for (fault, count) in &message.faults {
            *faults.entry(*fault).or_default() += count;
        }
        all += of(&message);
    }
    let mut wrong = Vec::new();
    for (fault, rate, expected) in table {
        #[expect(clippy::cast_precision_loss, reason = "counts of a test")]
        let share = faults.get(fault).copied().unwrap_or(0) as f64 / all as f64;
        if (share / expected - 1.0).abs() > 0.3 {
            wrong.push(format!("{}: {share:.4} of {all}, not {expected:.4} (rate {rate})", fault.about().name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

const fn one(_: &Message) -> u64 {
    1
}

#[test]
fn faults_of_trips_and_messages_are_as_frequent_as_their_rates() {
    let table = [
        (Fault::Late, 0.08, 0.08),
        (Fault::Reordered, 0.05, 0.046),
        // A copy is a message too.
        (Fault::Twice, 0.05, 0.05 / 1.05),
        (Fault::ClockSkew, 0.5, 0.4),
        (Fault::ClockWrong, 0.2, 0.2),
        (Fault::MinuteTimes, 0.3, 0.3),
        (Fault::SameRecordTwice, 0.05, 0.05),
        (Fault::NumberAsText, 0.02, 0.02 * 6.0),
        (Fault::FirmwareUpdate, 0.3, 0.3),
    ];
    assert_rates("vehicle/status", 300, &one, &table);
    let table = [(Fault::AnswerNever, 0.5, 0.5)];
    assert_rates("vehicle/control", 1500, &|message| u64::from(message.protocol.names().2 == "command"), &table);
    let table = [(Fault::AnswerLate, 0.5, 0.5)];
    assert_rates("vehicle/control", 1500, &|message| u64::from(message.protocol.names().2 == "response"), &table);
}

/// A hot vehicle sends 14 times as many messages as it would, and each of them is one of its own.
#[test]
fn a_hot_vehicle_sends_fourteen_times_as_much() {
    let simulation = |hot: f64| only(simulation(Rates::none().with(Fault::Hot, hot)), "vehicle/status,vehicle/event");
    let ids = |hot: f64| -> BTreeMap<u64, BTreeSet<String>> {
        let mut ids = BTreeMap::<u64, BTreeSet<String>>::new();
        for message in messages(&simulation(hot), 200, MORNING, 30) {
            assert!(ids.entry(message.id).or_default().insert(message.message_id));
        }
        ids
    };
    let (usual, some) = (ids(0.0), ids(0.1));
    let hot: Vec<_> = some.iter().filter(|(id, sent)| sent.len() > usual[id].len()).collect();
    assert!((2..30).contains(&hot.len()), "{}", hot.len());
    assert!(hot.iter().all(|(id, sent)| sent.len() == 14 * usual[id].len() && sent.is_superset(&usual[id])));
}

#[test]
fn faults_of_rows_are_as_frequent_as_their_rates() {
    let table = [
        // What is missing is no row.
        (Fault::MissingSeconds, 0.039, 0.039 / 0.961),
        (Fault::SameSecond, 0.018, 0.018),
        // In this hour more trips begin than end.
        (Fault::NoFix, 0.02, 0.025),
        (Fault::Jump, 0.01, 0.01),
        (Fault::TextAsNumber, 0.02, 0.02),
        (Fault::Odometer, 0.3, 0.3 * 5.0 / 6.0),
    ];
    assert_rates("vehicle/kinematic", 300, &|message| message.rows.len() as u64, &table);
}

#[test]
fn faults_of_whole_messages_are_as_frequent_as_their_rates() {
    let faults = [
        Fault::Truncated,
        Fault::NotUtf8,
        Fault::Empty,
        Fault::Tombstone,
        Fault::NotANumber,
        Fault::NotAnObject,
        Fault::DuplicateKey,
        Fault::MissingIdentity,
        Fault::BadList,
        Fault::ByteOrderMark,
        Fault::Deep,
        Fault::BigInteger,
        Fault::LoneSurrogate,
        Fault::LongNumber,
        Fault::EmptyList,
    ];
    assert_rates("vehicle/status", 300, &one, &faults.map(|fault| (fault, 0.05, 0.05)));
    // Two elements are wrong.
    assert_rates("vehicle/status", 300, &one, &[(Fault::BadElements, 0.1, 0.2)]);
}

/// What was kept in a tunnel leaves after it, newest first, and says so.
#[test]
fn what_was_kept_in_a_tunnel_leaves_newest_first() {
    let simulation = only(simulation(Rates::none().with(Fault::Tunnel, 1.0)), "vehicle/kinematic");
    let mut bursts = BTreeMap::<(u64, i64), Vec<i64>>::new();
    for message in messages(&simulation, 50, MORNING, 60) {
        let value: Value = serde_json::from_slice(message.value.as_deref().expect("a value")).expect("JSON");
        assert_eq!(value["buffered"].as_bool(), Some(message.faults == [(Fault::Tunnel, 1)]), "{value}");
        bursts.entry((message.id, message.at / 1000)).or_default().push(message.rows[0].millis);
    }
    assert!(bursts.values().any(|burst| burst.len() > 3));
    assert!(bursts.values().all(|burst| burst.is_sorted_by(|newer, older| newer > older)), "{bursts:?}");
}

/// No message is lost because it is late, and none is there that was not due: a fleet without delays has the same.
#[test]
fn late_messages_are_the_same_messages() {
    let late = Rates::none().with(Fault::Late, 0.2).with(Fault::Tunnel, 0.8).with(Fault::Reordered, 0.1);
    let ids = |rates| {
        let simulation = only(simulation(rates), "vehicle/kinematic,vehicle/ev,vehicle/event,vehicle/tire");
        // A whole day and the hour after it, so that what is late at its end arrives.
        messages(&simulation, 12, MORNING - 8 * 3600, 25 * 60)
            .map(|message| (message.protocol, message.id, message.rows[0].millis))
            .filter(|(.., millis)| *millis < (MORNING + 16 * 3600) * 1000)
            .collect::<BTreeSet<_>>()
    };
    let (right, late) = (ids(Rates::none()), ids(late));
    assert!(right.len() > 1000);
    assert_eq!(right, late);
}

/// A plan of seventy years for a billion vehicles is there at once and takes no memory: it is an iterator.
#[test]
fn a_plan_needs_no_memory_however_long_it_is() {
    let simulation = simulation(Rates::field());
    let plan = simulation.plan(1_000_000_000, Shard::WHOLE, MORNING, fms_simulator::LAST_SECOND);
    assert!(size_of_val(&plan) < 200);
    assert_eq!(plan.take(1000).count(), 1000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// The parts of a fleet, and one time after the other, are exactly the whole.
    #[test]
    fn parts_of_the_fleet_and_of_the_time_make_the_whole(
        seed: u64, parts in 1_u64..=5, vehicles in 1_u64..30, hour in 0_i64..168, cut in 1_i64..1200,
    ) {
        let (from, until) = (MORNING + hour * 3600, MORNING + hour * 3600 + 1200);
        let simulation = Simulation { fleet: Fleet::new(seed), since: from, ..simulation(Rates::field()) };
        let all = |shard: Shard, from, until| {
            simulation.plan(vehicles, shard, from, until).map(|departure| simulation.message(&departure)).collect::<Vec<_>>()
        };
        let whole = all(Shard::WHOLE, from, until);
        let mut sum = Expectation::default();
        let mut found = Vec::new();
        for part in 1..=parts {
            let shard = format!("{part}/{parts}").parse().expect("a shard");
            for (from, until) in [(from, from + cut), (from + cut, until)] {
                let messages = all(shard, from, until);
                sum.merge(expected(&messages));
                found.extend(messages);
            }
        }
        found.sort_by_key(|message| (message.at / 1000, message.id));
        prop_assert_eq!(&found, &whole);
        prop_assert_eq!(sum, expected(&whole));
        // One second after the other gives the same as all of them at once.
        let later = all(Shard::WHOLE, from + cut, until);
        prop_assert_eq!(&later[..], &whole[whole.len() - later.len()..]);
    }
}
