//! The line of a trip is near every position of it: on recorded trips, and on circles, of which no point is far from those
//! beside it.

use std::io::Read as _;
use std::path::Path;

use serde_json::{Value, json};

use super::harness::{MODELS, convert, mart};
use crate::common::query;

const RECORDINGS: &[u8] = include_bytes!("../../../../../recordings/canedge_trips_1hz.csv.gz");

/// Metres in a degree of latitude.
const DEGREE: f64 = 111_195.08;

/// How far the model says that a position may be from the line, with what is lost by rounding.
const BOUND: f64 = 10.0 + 1e-6;

fn row(id: u64, time: &str, seq: usize, (latitude, longitude): (f64, f64)) -> String {
    json!({
        "object": "vehicle", "type": "kinematic", "command": "report", "id": id, "timestamp_iso": time, "seq": seq,
        "latitude": latitude, "longitude": longitude, "speed": 36.5, "fix_type": "THREE_D", "odometer": 1,
    })
    .to_string()
}

/// The recorded trips, with the positions that have a fix.
fn recorded() -> Vec<String> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(RECORDINGS).read_to_string(&mut text).expect("the recordings");
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let names = lines.next().expect("the names of the columns");
    let at = |name: &str| names.iter().position(|column| *column == name).expect(name);
    let [trip, time, fix, north, east] = ["trip", "t_utc", "FixType", "Latitude", "Longitude"].map(at);
    let rows = lines.enumerate().filter_map(|(seq, line)| {
        let number = |at: usize| line[at].parse::<f64>().ok();
        let has_fix = number(fix)? > 0.0;
        let id = if line[trip] == "A" { 1 } else { 2 };
        has_fix.then_some(row(id, line[time], seq, (number(north)?, number(east)?)))
    });
    rows.collect()
}

/// A vehicle that drives in a circle with this radius for five minutes, 10 m in each second.
fn circle(id: u64, radius: f64) -> Vec<String> {
    let at = |second: u32| {
        let angle = f64::from(second) * 10.0 / radius;
        let (north, east) = (radius * angle.sin() / DEGREE, radius * angle.cos() / DEGREE);
        (50.0 + north, 10.0 + east / 50.0_f64.to_radians().cos())
    };
    let time = |second: u32| format!("2023-01-01T08:{:02}:{:02}Z", second / 60, second % 60);
    (0..300).map(|second| row(id, &time(second), 0, at(second))).collect()
}

struct Point {
    /// Degrees.
    north: f64,
    east: f64,
    second: f64,
}

/// How far a position is from the leg of its line that is drawn for its time, in metres, by the map at the position.
fn distance(at: &Point, line: &[Point]) -> f64 {
    let flat =
        |of: &Point| ((of.east - at.east) * DEGREE * at.north.to_radians().cos(), (of.north - at.north) * DEGREE);
    let of_leg = |leg: &[Point]| {
        let ((x, y), (to_x, to_y)) = (flat(&leg[0]), flat(&leg[1]));
        let (dx, dy) = (to_x - x, to_y - y);
        let length = dx * dx + dy * dy;
        let share = if length > 0.0 { (-(x * dx + y * dy) / length).clamp(0.0, 1.0) } else { 0.0 };
        (x + share * dx).hypot(y + share * dy)
    };
    let legs = line.windows(2).filter(|leg| leg[0].second <= at.second && at.second <= leg[1].second);
    legs.map(of_leg).fold(f64::INFINITY, f64::min)
}

/// The positions of a vehicle's trips, and the points of their lines.
fn of_vehicle(lake: &Path, id: u64) -> (Vec<Point>, Vec<Point>) {
    let positions = format!(
        "select k.latitude, k.longitude, extract(epoch from k.timestamp_iso) as second \
         from vehicle_kinematic_report k join trip t \
         on t.id = k.id and k.timestamp_iso between t.begin_at and t.end_at where k.id = {id}"
    );
    let line = format!(
        "select latitude, longitude, extract(epoch from at) as second \
         from trip_path where id = {id} order by trip_begin_at, point"
    );
    let points = |sql: &str| {
        let number = |row: &Value, name: &str| row[name].as_f64().expect("a number");
        let point = |row: &Value| Point {
            north: number(row, "latitude"),
            east: number(row, "longitude"),
            second: number(row, "second"),
        };
        query(lake, sql).iter().map(point).collect::<Vec<_>>()
    };
    (points(&positions), points(&line))
}

#[test]
fn no_position_is_farther_from_the_line_of_its_trip_than_the_model_says() {
    let lake = tempfile::tempdir().expect("a folder");
    let lake = lake.path();
    let rows = [recorded(), circle(3, 300.0), circle(4, 30.0), circle(5, 3000.0)].concat();
    convert(lake, &[("topics/a.json".to_owned(), rows.join("\n"))]);
    assert_eq!(mart(lake, MODELS.as_ref(), "apply", &["--select", "+trip_path"]).status, Some(0));
    // How many positions there are for each point of the line, at least.
    for (id, fewer) in [(1, 4), (2, 4), (3, 4), (4, 1), (5, 10)] {
        let (positions, line) = of_vehicle(lake, id);
        assert!(positions.len() >= 300, "vehicle {id} has {} positions", positions.len());
        let farthest = positions.iter().map(|at| distance(at, &line)).fold(0.0, f64::max);
        assert!(farthest <= BOUND, "vehicle {id}: {farthest} m");
        // A line on which every position is would say nothing of the bound.
        assert!(farthest > 0.5, "vehicle {id}: {farthest} m");
        let (positions, points) = (positions.len(), line.len());
        assert!(points * fewer <= positions, "vehicle {id}: {points} points of {positions} positions");
    }
}
