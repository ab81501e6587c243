//! A lake of a small fleet, in a folder or in S3 and Glue in memory, and the program that queries it.

use std::ops::Deref;
use std::path::Path;

use e2e::internals::Stack as _;
use fms_glue::Glue;
use fms_lake::{Settings, TimeZone};
use fms_query::{EventTime, Lake, Planned, Problem, Query};
use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use serde_json::Value;

use crate::common::{self, Ran, Services, program, run};

/// 2022-12-31T15:00:00Z, which is midnight in Seoul.
const MIDNIGHT: i64 = 1_672_498_800;

/// The time so many minutes after midnight in Seoul.
pub fn at(minute: i64) -> String {
    Timestamp::from_second(MIDNIGHT + 60 * minute).expect("a time").to_string()
}

/// A row of a table `vehicle_<kind>_report`, with further fields.
pub fn row(kind: &str, id: u32, minute: i64, fields: &str) -> String {
    let (time, table) = (at(minute), format!(r#""object":"vehicle","type":"{kind}","command":"report""#));
    format!(r#"{{{table},"id":{id},"timestamp_iso":"{time}","seq":0,{fields}}}"#)
}

/// The raw objects of two days and three vehicles: one for each hour in which something was measured.
pub fn fleet() -> Vec<(String, String)> {
    let mut objects = Vec::new();
    for hour in (8..14).chain(30..34) {
        let mut rows = Vec::new();
        for id in 1..=3_u32 {
            // Vehicles stand still from ten to twelve, and send no positions.
            if !(10..12).contains(&hour) {
                rows.extend((0..60).step_by(10).map(|minute| kinematic(id, 60 * hour + minute)));
            }
            for wheel in 1..=4 {
                let pressure = 250 - 10 * i64::from(id) - (60 * hour + wheel) % 100;
                let fields = format!(
                    r#""axle":{},"wheel":{wheel},"pressure":{pressure},"is_low":{}"#,
                    (wheel + 1) / 2,
                    pressure < 160
                );
                rows.push(row("tire", id, 60 * hour, &fields));
            }
            // The trunk, and how often a fault was seen, came with a later firmware.
            let (trunk, count) = if hour < 10 { ("", "") } else { (r#","trunk":true"#, r#","count":2"#) };
            let fields =
                format!(r#""doors":{{"front_left":{}{trunk}}},"faults":[{{"code":"P0{hour}"{count}}}]"#, hour % 3 == 0);
            rows.push(row("status", id, 60 * hour + 5, &fields));
        }
        objects.push((format!("topics/vehicle/{hour:02}.json"), rows.join("\n")));
    }
    objects
}

fn kinematic(id: u32, minute: i64) -> String {
    // A vehicle brakes hard every 50 minutes.
    let speed = if minute % 50 == 0 { 5.25 } else { 60.5 + f64::from(id) };
    let firmware = if minute < 600 { String::new() } else { r#","firmware":"2.0""#.to_owned() };
    let odometer = 1000 * i64::from(id) + 7 * minute;
    let (latitude, longitude) = (37.5 + f64::from(id) / 7.0, 126.9);
    let fields =
        format!(r#""speed":{speed},"odometer":{odometer},"latitude":{latitude},"longitude":{longitude}{firmware}"#);
    row("kinematic", id, minute, &fields)
}

pub fn seoul() -> TimeZone {
    TimeZone::get("Asia/Seoul").expect("a zone")
}

pub fn settings() -> Settings {
    Settings { zone: seoul(), ..Settings::default() }
}

/// How the fleet's lake was converted.
pub fn time() -> EventTime {
    EventTime { column: "timestamp_iso".to_owned(), zone: Some(seoul()) }
}

/// Converts raw objects into a lake in a folder.
pub fn convert(lake: &Path, objects: &[(String, String)]) {
    common::convert(lake, &settings(), objects);
}

/// Runs the program on a lake in a folder.
pub fn fms_sql(lake: &Path, arguments: &[&str]) -> Ran {
    run(program().arg("--lake").arg(lake).args(arguments))
}

/// S3 and Glue in memory, with an empty lake.
pub struct World(pub Services);

impl Deref for World {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.0
    }
}

impl World {
    pub fn new() -> Self {
        Self(Services::start())
    }

    pub fn glue(&self) -> Glue {
        Glue::new(&self.aws(), Services::retry())
    }

    /// Converts raw objects into the lake.
    pub fn convert(&self, objects: &[(String, String)]) {
        self.0.convert(settings(), objects);
    }

    pub fn lake(&self, time: EventTime) -> Lake {
        Lake::in_catalog(&self.aws(), "fleet", time, &Services::retry())
    }

    /// Runs a query on the lake. Gives the rows as JSON, and what it said at the end.
    pub fn query(&self, time: EventTime, sql: &str) -> Result<(Vec<Value>, String), Problem> {
        let query = Query { sql: sql.to_owned(), ..Query::default() };
        self.runtime.block_on(async {
            let planned = Planned::new(&self.lake(time), &query).await?;
            let batches: Vec<_> = planned.start().expect("started").try_collect().await.expect("rows");
            let mut text = Vec::new();
            let mut writer = datafusion::arrow::json::LineDelimitedWriter::new(&mut text);
            for batch in &batches {
                writer.write(batch).expect("written");
            }
            writer.finish().expect("written");
            let lines = String::from_utf8(text).expect("UTF-8");
            let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
            let summary = planned.summary(rows.len() as u64).to_string();
            Ok((rows, summary))
        })
    }

    /// How often an operation was called.
    pub fn calls(&self, operation: &str) -> usize {
        self.stack.calls().snapshot().iter().filter(|call| call.operation == operation).count()
    }
}
