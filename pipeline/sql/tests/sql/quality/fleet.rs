//! The rows of a day: of a fleet of which nothing is wrong, and of one with everything that the checks look for.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// The checks that cannot run without a mart.
pub fn without_a_mart() -> BTreeSet<String> {
    [
        "daily_vehicle: a day has the trips and harsh events of their tables",
        "daily_vehicle: a vehicle has one row a day",
        "daily_vehicle: about as many vehicles drove as on the days before",
        "daily_vehicle: what people have seen stays as it was",
        "daily_vehicle: nobody drives more than a day can hold",
        "vehicle_kinematic_report: every vehicle that drove is in the mart",
    ]
    .map(str::to_owned)
    .into()
}

/// A row of this protocol, so many seconds after eight o'clock, with other fields.
fn row(object: &str, kind: &str, id: u64, second: u64, fields: Value) -> Value {
    let time = format!("2023-01-01T{:02}:{:02}:{:02}Z", 8 + second / 3600, second / 60 % 60, second % 60);
    let mut row = json!({
        "object": object, "type": kind, "command": "report", "id": id, "timestamp_iso": time, "seq": 0,
        "messaged_at": time, "message_id": format!("{kind}-{id}-{second}"), "message_seq": second / 60,
        "buffered": false,
    });
    let (Some(row_fields), Value::Object(fields)) = (row.as_object_mut(), fields) else { panic!("fields") };
    row_fields.extend(fields);
    row
}

/// A vehicle that drives north at 72 km/h.
fn kinematic(id: u64, second: u32, other: Value) -> Value {
    let second_of_arc = 20.0 / 6_371_000.0_f64;
    let mut fields = json!({
        "latitude": 37.5 + (second_of_arc * f64::from(second)).to_degrees(), "longitude": 127.0, "heading": 0.0,
        "speed": 72.0 + f64::from(second) / 1000.0, "fix_type": "THREE_D", "accel_x": 0.1, "accel_y": 0.0, "accel_z": 9.8,
        "odometer": 1000 + 20 * second,
    });
    let (Some(all), Value::Object(other)) = (fields.as_object_mut(), other) else { panic!("fields") };
    all.extend(other);
    row("vehicle", "kinematic", id, second.into(), fields)
}

fn status(id: u64, second: u64, fuel: f64, other: Value) -> Value {
    let mut fields = json!({
        "fuel_level": fuel, "coolant_temp": 90.5, "odometer": 1000 + second, "engine_running": true, "rpm": 1500.5,
        "doors": {"fl": false, "fr": false},
    });
    let (Some(all), Value::Object(other)) = (fields.as_object_mut(), other) else { panic!("fields") };
    all.extend(other);
    row("vehicle", "status", id, second, fields)
}

fn ev(id: u64, second: u64, soc: f64, coldest: f64, hottest: f64) -> Value {
    let fields = json!({"soc": soc, "battery_temp_min": coldest, "battery_temp_max": hottest, "is_charging": true});
    row("vehicle", "ev", id, second, fields)
}

fn tire(id: u64, wheel: u64, second: u64, pressure: i64) -> Value {
    row("vehicle", "tire", id, second, json!({"axle": 1, "wheel": wheel, "pressure": pressure}))
}

fn event(id: u64, second: u64, event_id: &str, event_type: &str) -> Value {
    let fields = json!({"event_id": event_id, "event_type": event_type, "latitude": 37.5, "longitude": 127.0});
    row("vehicle", "event", id, second, fields)
}

fn sensor(id: u64, second: u64, temperature: f64, humidity: f64) -> Value {
    let fields = json!({"sensor_id": "s1", "temperature": temperature, "humidity": humidity});
    row("sensor", "measurements", id, second, fields)
}

fn diagnostics(id: u64, count: u64, codes: &[&str]) -> Value {
    let codes: Vec<Value> = codes.iter().map(|code| json!({"code": code})).collect();
    row("vehicle", "diagnostics", id, 0, json!({"dtc_count": count, "dtcs": codes}))
}

/// A command, or the answer to one, a second after it was given. A command is good for 30 seconds.
fn request(object: &str, kind: &str, command: &str, number: u64, fields: Value) -> Value {
    let at = |second: u64| format!("2023-01-01T09:{number:02}:{second:02}Z");
    let mut fields = fields;
    fields["command"] = command.into();
    fields["request_id"] = format!("REQ-{number}").into();
    fields["message_id"] = format!("{kind}-{command}-{number}").into();
    fields["requested_at"] = at(0).into();
    fields["expires_at"] = at(30).into();
    let mut row = row(object, kind, 1, 0, json!({"messaged_at": at(u64::from(command == "response"))}));
    let (Some(all), Value::Object(fields)) = (row.as_object_mut(), fields) else { panic!("fields") };
    all.remove("timestamp_iso");
    all.remove("seq");
    all.extend(fields);
    row
}

/// Both kinds of commands, with their answers.
fn requests(number: u64, answer: &Value) -> Vec<Value> {
    let mut rows = Vec::new();
    for (object, kind, asked) in
        [("vehicle", "control", json!({"action": "LOCK"})), ("blackbox", "upload", json!({"channel": 1}))]
    {
        rows.push(request(object, kind, "command", number, asked));
        if !answer.is_null() {
            rows.push(request(object, kind, "response", number, answer.clone()));
        }
    }
    rows
}

fn lines(rows: &[Value]) -> Vec<String> {
    rows.iter().map(Value::to_string).collect()
}

fn healthy() -> Vec<Value> {
    let mut rows: Vec<Value> = (0..400).map(|second| kinematic(1, second, json!({}))).collect();
    rows.extend((0..20).map(|minute| status(1, 60 * minute, 50.5, json!({}))));
    rows.extend([ev(1, 0, 50.5, 20.5, 25.5), ev(1, 30, 50.6, 20.5, 25.5)]);
    rows.extend([tire(1, 1, 0, 250), tire(1, 2, 0, 255)]);
    rows.extend([event(1, 0, "A", "ignition_on"), event(1, 9, "B", "trip_start"), event(1, 99, "B2", "harsh_brake")]);
    rows.extend([event(1, 450, "B3", "trip_end"), event(1, 499, "C", "ignition_off")]);
    rows.extend((0..30).map(|second| sensor(1, second, f64::from(u32::try_from(second).expect("small")) / 8.0, 40.5)));
    rows.push(diagnostics(1, 2, &["P0420", "U0100"]));
    rows.extend(requests(1, &json!({"result": "SUCCESS"})));
    rows
}

/// A fleet of which nothing is wrong.
pub fn well() -> Vec<String> {
    lines(&healthy())
}

/// A fleet with everything that the checks look for.
pub fn unwell() -> Vec<String> {
    let mut rows = healthy();
    // Vehicle 2: what single rows of the kinematic table can have.
    for (second, wrong) in (0..).step_by(1).zip([
        json!({"id": null}),
        json!({"latitude": 91.0}),
        json!({"longitude": -180.5}),
        json!({"heading": 361.0}),
        json!({"speed": -1.0}),
        json!({"accel_z": 79.0}),
        json!({"fix_type": "NONE"}),
        json!({"latitude": 0.0, "longitude": 0.0}),
        json!({"messaged_at": "2023-01-03T09:00:00Z"}),
    ]) {
        rows.push(kinematic(2, second, wrong));
    }
    // Enough rows without a fix to be more than two percent.
    rows.extend((100..130).map(|second| kinematic(2, second, json!({"fix_type": "NONE"}))));
    // Vehicle 3: jumps 1.1 km, its odometer goes back and forth, and a batch is missing.
    rows.push(kinematic(3, 0, json!({})));
    rows.push(kinematic(3, 1, json!({"latitude": 37.51})));
    rows.push(kinematic(3, 2, json!({"latitude": 37.51, "odometer": 900})));
    rows.push(kinematic(3, 3, json!({"latitude": 37.51, "odometer": 2_312_261_923_u64})));
    rows.push(kinematic(3, 4, json!({"latitude": 37.51, "odometer": 2_312_261_924_u64, "message_seq": 2})));
    // Vehicle 4: its speed is stuck, and its ignition is off.
    rows.push(event(4, 0, "F", "ignition_off"));
    rows.extend((0..301).map(|second| kinematic(4, second, json!({"speed": 72.5}))));
    rows.extend([
        status(2, 0, 100.5, json!({"odometer": 500})),
        status(2, 60, 50.5, json!({"coolant_temp": 216.5, "odometer": 499, "rpm": 0.0})),
        status(2, 120, 50.5, json!({"doors": {"fr": true}})),
        status(2, 180, 50.5, json!({"doors": {"fr": true}, "id": null})),
    ]);
    // In the two weeks before, this hour had many more rows.
    rows.extend(["2022-12-25", "2022-12-18"].into_iter().flat_map(|day| {
        (0..100).map(move |second| {
            let time = format!("{day}T08:{:02}:{:02}Z", second / 60, second % 60);
            status(9, second, 50.5, json!({"timestamp_iso": time, "message_id": format!("{day}-{second}")}))
        })
    }));
    rows.extend([
        ev(2, 0, 101.0, 20.5, 61.5),
        ev(2, 30, 90.5, 30.5, 20.5),
        row("vehicle", "ev", 2, 60, json!({"id": null})),
    ]);
    rows.extend([tire(2, 1, 0, -5), tire(2, 1, 0, 250), row("vehicle", "tire", 2, 9, json!({"axle": 1}))]);
    rows.extend([
        event(2, 0, "D", "ignition_on"),
        event(2, 60, "E", "ignition_on"),
        event(2, 61, "E", "unheard_of"),
        event(2, 63, &"x".repeat(65), "low_fuel"),
        row("vehicle", "event", 2, 62, json!({"event_type": "tow"})),
    ]);
    rows.extend((0..720).map(|second| sensor(2, second, 4.5, 40.5)));
    rows.extend([sensor(3, 0, 85.5, 101.0), row("sensor", "measurements", 3, 1, json!({"temperature": 4.5}))]);
    rows.extend([diagnostics(2, 3, &["P0420"]), diagnostics(3, 1, &["X9999"])]);
    rows.push(row("vehicle", "diagnostics", 4, 0, json!({"id": null, "dtc_count": 0})));
    // Vehicle 5: the clock is of another year, or is cut to the minute.
    rows.push(kinematic(5, 0, json!({"timestamp_iso": "2080-01-06T00:00:00Z"})));
    rows.extend(
        (0..8).map(|seq| kinematic(5, 60, json!({"message_id": "cut", "seq": seq, "speed": 72.0 + f64::from(seq)}))),
    );
    // Vehicle 7: the odometer goes back 10 km.
    rows.extend([kinematic(7, 0, json!({"odometer": 100_000})), kinematic(7, 1, json!({"odometer": 90_000}))]);
    // Vehicle 6: two of three seconds are missing, and what was measured in the others was kept on the device, sent
    // twice, and has another row of the same second.
    for second in (0..600).step_by(3) {
        let kept = |seq: u64| kinematic(6, second, json!({"buffered": true, "seq": seq}));
        rows.extend([kept(0), kept(0), kept(1)]);
    }
    // One command has no answer, one a late one, and of one and its answer nobody knows whose they are.
    rows.extend(requests(2, &Value::Null));
    rows.extend(requests(3, &json!({"result": "SUCCESS", "messaged_at": "2023-01-01T09:03:31Z"})));
    rows.extend(requests(4, &json!({"result": "SUCCESS", "id": null})));
    rows.push(request("vehicle", "control", "command", 4, json!({"id": null})));
    rows.push(request("blackbox", "upload", "command", 4, json!({"id": null})));
    lines(&rows)
}
