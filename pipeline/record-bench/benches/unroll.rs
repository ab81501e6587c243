//! Measures how fast a message of 60 rows becomes one JSON line for each row, in comparison with other JSON libraries.

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fms_record::{EventTime, Parser, Template};
use serde_json::Value;

const ROWS: usize = 60;

/// One kinematic report: one minute with one row a second, about 18 KB.
fn kinematic() -> String {
    let mut text = String::from(
        r#"{"object":"vehicle","type":"kinematic","command":"report","id":10022,"device_id":"SFT-0010022","message_id":"01J9Z3K7Q2M4N6P8R0S1T3V5W7","message_seq":48211,"schema_version":"1.2","firmware":"2.4.1","messaged_at":"2023-01-01T12:00:00.000+09:00","buffered":false,"measurements_count":60,"measurements":["#,
    );
    for row in 0..ROWS {
        if row > 0 {
            text.push(',');
        }
        let step = f64::from(u32::try_from(row).expect("few rows"));
        write!(
            text,
            r#"{{"timestamp_iso":"2023-01-01T11:59:{row:02}.000+09:00","seq":{row},"latitude":{:.7},"longitude":{:.7},"altitude":{:.1},"heading":{:.1},"speed":{:.1},"horizontal_accuracy":{:.1},"satellites":{},"fix_type":"THREE_D","accel_x":{:.3},"accel_y":{:.3},"accel_z":{:.3},"yaw_rate":{:.2},"odometer":{}}}"#,
            37.394_912_1 + step * 0.000_131_7,
            127.111_203_4 - step * 0.000_093_1,
            38.4 + step * 0.1,
            (271.3 + step * 3.7) % 360.0,
            (step * 1.9) % 110.0,
            1.2 + (step % 7.0) * 0.3,
            9 + row % 5,
            (step * 0.731).sin() * 2.0,
            (step * 0.377).cos(),
            9.81 + (step * 0.113).sin() * 0.2,
            (step * 0.291).sin() * 12.0,
            48_211_034 + row * 17,
        )
        .expect("writing to a string");
    }
    text.push_str("]}");
    text
}

type Way = fn(&[u8], &mut Vec<u8>);

/// The other libraries, and the functions that unroll with them.
const WAYS: [(&str, Way); 3] =
    [("serde_json::Value", values), ("sonic_rs::Value", sonic), ("sonic_rs lazily", sonic_lazy)];

/// A flat message of about 295 bytes, which becomes one row.
const FLAT: &str = r#"{"object":"vehicle","type":"status","command":"report","id":10022,"timestamp_iso":"2023-01-01T11:59:07.000+09:00","seq":7,"ignition":true,"engine_running":true,"rpm":1843.25,"odometer":48211034,"fuel_level":61.5,"fuel_rate":7.31,"coolant_temp":88.0,"battery_voltage":13.92,"gear":4,"locked":false}"#;

fn ours(parser: &mut Parser, payload: &[u8], out: &mut Vec<u8>) {
    let message = parser.parse(payload).expect("a valid message");
    for row in message.rows() {
        row.expect("a row").write_json(out);
        out.push(b'\n');
    }
}

fn values(payload: &[u8], out: &mut Vec<u8>) {
    let Value::Object(mut envelope) = serde_json::from_slice(payload).expect("a valid message") else {
        panic!("an object")
    };
    let Some(Value::Array(list)) = envelope.remove("measurements") else { panic!("a list") };
    for element in list {
        let Value::Object(element) = element else { panic!("an object") };
        let mut row = envelope.clone();
        row.extend(element);
        serde_json::to_writer(&mut *out, &row).expect("writing to memory");
        out.push(b'\n');
    }
}

fn sonic(payload: &[u8], out: &mut Vec<u8>) {
    use sonic_rs::{JsonContainerTrait, JsonValueMutTrait, Value};

    let mut envelope: Value = sonic_rs::from_slice(payload).expect("a valid message");
    let envelope = envelope.as_object_mut().expect("an object");
    let list = envelope.remove_entry(&"measurements").expect("a list").1;
    for element in list.as_array().expect("a list") {
        let mut row = envelope.clone();
        for (name, value) in element.as_object().expect("an object") {
            row.insert(name, value.clone());
        }
        sonic_rs::to_writer(&mut *out, &row).expect("writing to memory");
        out.push(b'\n');
    }
}

/// Unrolls without building trees: sonic-rs finds the text of each field and of each element. Unlike `fms-record`, this
/// does not notice names that an object has twice, or that envelope and element share.
fn sonic_lazy(payload: &[u8], out: &mut Vec<u8>) {
    let mut envelope = Vec::new();
    let mut list = None;
    for field in sonic_rs::to_object_iter(payload) {
        let (name, value) = field.expect("a valid message");
        if name == "measurements" {
            list = Some(value);
        } else {
            if !envelope.is_empty() {
                envelope.push(b',');
            }
            envelope.push(b'"');
            envelope.extend_from_slice(name.as_bytes());
            envelope.extend_from_slice(b"\":");
            envelope.extend_from_slice(value.as_raw_str().as_bytes());
        }
    }
    let list = list.expect("a list");
    for element in sonic_rs::to_array_iter(list.as_raw_str()) {
        let element = element.expect("a valid element");
        out.push(b'{');
        out.extend_from_slice(&envelope);
        for field in sonic_rs::to_object_iter(element.as_raw_str()) {
            let (name, value) = field.expect("a valid element");
            out.extend_from_slice(b",\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            out.extend_from_slice(value.as_raw_str().as_bytes());
        }
        out.extend_from_slice(b"}\n");
    }
}

fn unroll(c: &mut Criterion) {
    let text = kinematic();
    let payload = text.as_bytes();
    let mut parser = Parser::new(Some("measurements".into()));
    let mut out = Vec::with_capacity(1 << 20);
    println!("the message: {ROWS} rows, {} bytes", payload.len());

    for (name, throughput) in
        [("unroll/bytes", Throughput::Bytes(payload.len() as u64)), ("unroll/rows", Throughput::Elements(ROWS as u64))]
    {
        let mut group = c.benchmark_group(name);
        group.throughput(throughput);
        group.bench_function("fms-record", |b| {
            b.iter(|| {
                out.clear();
                ours(&mut parser, black_box(payload), &mut out);
            });
        });
        for (name, unroll) in WAYS {
            group.bench_function(name, |b| {
                b.iter(|| {
                    out.clear();
                    unroll(black_box(payload), &mut out);
                });
            });
        }
        group.finish();
    }

    let mut group = c.benchmark_group("parts");
    group.throughput(Throughput::Bytes(payload.len() as u64));
    group.bench_function("parse", |b| b.iter(|| black_box(parser.parse(black_box(payload)).expect("valid"))));
    group.finish();

    let message = parser.parse(payload).expect("valid");
    let rows: Vec<_> = message.rows().map(|row| row.expect("a row")).collect();
    let key = Template::parse("${id}#${object}#${type}").expect("a template");
    let mut group = c.benchmark_group("row");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("event time", |b| {
        b.iter(|| {
            rows.iter().map(|row| EventTime::of(row, Some("timestamp_iso"), None).expect("a time").millis).sum::<i64>()
        });
    });
    group.bench_function("key template", |b| {
        b.iter(|| rows.iter().map(|row| key.render(row).expect("a key").len()).sum::<usize>());
    });
    group.bench_function("digest", |b| b.iter(|| rows.iter().map(|row| row.digest().len()).sum::<usize>()));
    group.finish();

    let mut whole = Parser::new(None);
    let mut group = c.benchmark_group("flat");
    group.throughput(Throughput::Bytes(FLAT.len() as u64));
    group.bench_function("fms-record", |b| {
        b.iter(|| {
            out.clear();
            ours(&mut whole, black_box(FLAT.as_bytes()), &mut out);
        });
    });
    group.finish();
}

criterion_group!(benches, unroll);
criterion_main!(benches);
