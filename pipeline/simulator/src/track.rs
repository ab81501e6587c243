//! The recorded trips as tracks: where a vehicle was, second by second, without the flaws of the recording.
//!
//! The fault model puts flaws back at known rates, so here they are taken out: seconds before the first fix are cut off,
//! a missing second is interpolated, and a recording that begins while the vehicle is moving gets the seconds in which
//! it would have reached that speed.

use std::io::Read as _;

use crate::happening::{Happening, happenings};

/// The recordings, see `recordings/README.md`.
static RECORDINGS: &[u8] = include_bytes!("../../../recordings/canedge_trips_1hz.csv.gz");

/// The trips of the program.
pub(crate) fn own() -> Vec<Track> {
    let text = text();
    let read =
        |trip| Track::read(&text, trip).expect("the recordings are a part of the program, and its tests read them");
    TRIPS.map(read).into()
}

/// The names of the recorded trips.
pub(crate) const TRIPS: [&str; 2] = ["A", "C"];

/// The recordings as CSV.
pub(crate) fn text() -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(RECORDINGS)
        .read_to_string(&mut text)
        .expect("the recordings are a part of the program, and its tests read them");
    text
}

/// A second of a trip.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Point {
    /// Metres to the east of the trip's first point.
    pub east: f64,
    /// Metres to the north of the trip's first point.
    pub north: f64,
    /// Metres above the sea.
    pub altitude: f64,
    /// Degrees clockwise from north, 0 to below 360. A standing vehicle keeps the heading that it had.
    pub heading: f64,
    /// Metres a second.
    pub speed: f64,
    /// Change of speed in m/s².
    pub accel_x: f64,
    /// Acceleration to the left in m/s².
    pub accel_y: f64,
    /// Vertical acceleration with gravity in m/s².
    pub accel_z: f64,
    /// Degrees a second, to the right.
    pub yaw_rate: f64,
    /// What the receiver gives as its accuracy in metres.
    pub accuracy: f64,
    /// How many satellites the receiver used.
    pub satellites: f64,
    /// Metres driven since the trip's first point.
    pub distance: f64,
}

/// A trip.
#[derive(Debug, Clone)]
pub struct Track {
    points: Vec<Point>,
    /// What happens on the way, in the order of time.
    pub happenings: Vec<Happening>,
}

/// Metres in a degree of latitude.
pub const METRES_A_DEGREE: f64 = 111_194.9;
/// How far the site of a vehicle's home reaches, in metres of driving.
const AT_SITE: f64 = 400.0;
/// What is read of recordings.
const COLUMNS: [&str; 11] = [
    "FixType",
    "Latitude",
    "Longitude",
    "Altitude",
    "Heading",
    "Speed",
    "PositionAccuracy",
    "Satellites",
    "ax_mean",
    "az_max",
    "yaw_mean",
];
/// The acceleration of a trip that begins moving, in m/s².
const START: f64 = 1.0;
/// The highest speed that is read, in m/s.
const FASTEST: f64 = 100.0;

impl Track {
    /// Reads a trip of recordings. An error says what is wrong with it.
    pub(crate) fn read(text: &str, trip: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        let names: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
        let mut columns = [0; COLUMNS.len()];
        for (column, name) in columns.iter_mut().zip(COLUMNS) {
            let place = names.iter().position(|known| *known == name);
            *column = place.ok_or_else(|| format!("the column `{name}` is missing"))?;
        }
        let cells: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
        if cells.iter().any(|cells| cells[0] == trip && cells.len() < names.len()) {
            return Err("a line has fewer cells than there are columns".to_owned());
        }
        let rows = cells
            .iter()
            .filter(|cells| cells[0] == trip)
            .map(|cells| columns.map(|column| cells[column].parse::<f64>().ok().filter(|cell| cell.is_finite())))
            .skip_while(|row| row[0] != Some(3.0));
        let rows: Vec<[Option<f64>; COLUMNS.len()]> = rows.collect();
        // The X axis of a logger that lies on its side holds gravity, and what it turns by is another axis.
        let gravity: Vec<f64> = rows.iter().filter_map(|row| row[8]).collect();
        let lies_on_its_side = gravity.iter().filter(|x| **x > 5.0).count() * 2 > gravity.len();
        let mut points: Vec<Point> = Vec::new();
        let (mut origin, mut missing) = (None, 0);
        for [fix, latitude, longitude, altitude, heading, speed, accuracy, satellites, x, z, yaw] in rows {
            let (Some(_), Some(latitude), Some(longitude), Some(speed)) = (fix, latitude, longitude, speed) else {
                missing += 1;
                continue;
            };
            let (from_latitude, from_longitude, cosine) = *origin.get_or_insert_with(|| {
                // Rounded, so that its last bit, which differs between machines, is nowhere seen.
                (latitude, longitude, (latitude.to_radians().cos() * 1e4).round() / 1e4)
            });
            if !(0.0..=FASTEST).contains(&speed) {
                return Err(format!(
                    "a speed of {speed} m/s is none of a vehicle; write metres a second, up to {FASTEST}"
                ));
            }
            let last = points.last().copied().unwrap_or_default();
            let point = Point {
                east: (longitude - from_longitude) * METRES_A_DEGREE * cosine,
                north: (latitude - from_latitude) * METRES_A_DEGREE,
                altitude: altitude.unwrap_or(last.altitude),
                heading: heading.unwrap_or(f64::NAN),
                speed: if speed < 0.5 { 0.0 } else { speed },
                accel_z: if lies_on_its_side { x } else { z }.unwrap_or(9.81),
                yaw_rate: yaw.filter(|_| !lies_on_its_side).unwrap_or(f64::NAN),
                accuracy: accuracy.unwrap_or(last.accuracy).max(0.8),
                satellites: satellites.unwrap_or(last.satellites),
                ..Point::default()
            };
            for step in 1..=missing {
                points.push(between(&last, &point, f64::from(step) / f64::from(missing + 1)));
            }
            missing = 0;
            points.push(point);
        }
        if points.len() < 2 {
            return Ok(Self { points, happenings: Vec::new() });
        }
        let points = derive(start_from_standstill(points));
        let happenings = happenings(&points);
        Ok(Self { points, happenings })
    }

    /// How long the trip was, in seconds.
    pub fn seconds(&self) -> i64 {
        i64::try_from(self.points.len()).unwrap_or(i64::MAX).saturating_sub(1).max(0)
    }

    /// The place at a second, which may lie between two recorded ones. Before the trip it is the first, after it the
    /// last.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the trip, which is short")]
    pub fn at(&self, second: f64) -> Point {
        let last = self.points.len() - 1;
        let second = second.max(0.0);
        let before = (second as usize).min(last);
        between(&self.points[before], &self.points[(before + 1).min(last)], second.fract())
    }

    /// The seconds at which a vehicle is some hundred metres away from where the trip began, and from where it ends.
    pub(crate) fn near_home(&self) -> (f64, f64) {
        let whole = self.end().distance;
        let second = |metres: f64| self.points.partition_point(|point| point.distance < metres);
        #[expect(clippy::cast_precision_loss, reason = "within a trip")]
        let (leaves, arrives) = (second(AT_SITE) as f64, second(whole - AT_SITE) as f64);
        (leaves, arrives)
    }

    /// The last point.
    pub fn end(&self) -> &Point {
        &self.points[self.points.len() - 1]
    }
}

/// The point at this share of the way from one to another.
fn between(from: &Point, to: &Point, share: f64) -> Point {
    let mean = |from: f64, to: f64| from + (to - from) * share;
    // The heading turns the shorter way.
    let turn = to.heading - from.heading;
    let turn = if turn > 180.0 {
        turn - 360.0
    } else if turn < -180.0 {
        turn + 360.0
    } else {
        turn
    };
    let heading = from.heading + turn * share;
    Point {
        east: mean(from.east, to.east),
        north: mean(from.north, to.north),
        altitude: mean(from.altitude, to.altitude),
        heading: if heading < 0.0 {
            heading + 360.0
        } else if heading >= 360.0 {
            heading - 360.0
        } else {
            heading
        },
        speed: mean(from.speed, to.speed),
        accel_x: mean(from.accel_x, to.accel_x),
        accel_y: mean(from.accel_y, to.accel_y),
        accel_z: mean(from.accel_z, to.accel_z),
        yaw_rate: mean(from.yaw_rate, to.yaw_rate),
        accuracy: mean(from.accuracy, to.accuracy),
        satellites: if share < 0.5 { from.satellites } else { to.satellites },
        distance: mean(from.distance, to.distance),
    }
}

/// Puts a steady acceleration in a straight line before a trip that begins moving.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some seconds")]
fn start_from_standstill(points: Vec<Point>) -> Vec<Point> {
    let (first, second) = (points[0], points[1]);
    let seconds = (first.speed / START).ceil();
    if seconds < 1.0 {
        return points;
    }
    let (east, north) = (second.east - first.east, second.north - first.north);
    // Two positions may be the same place, where they were rounded.
    let length = (east * east + north * north).sqrt().max(f64::MIN_POSITIVE);
    let before = |step: f64| {
        // The part of the way that is still to be driven: the square of time under a steady acceleration.
        let driven = step / seconds;
        let left = first.speed * seconds / 2.0 * (1.0 - driven * driven);
        Point {
            east: first.east - east / length * left,
            north: first.north - north / length * left,
            speed: first.speed * driven,
            ..first
        }
    };
    let steps = 0..seconds as u32;
    let mut whole: Vec<Point> = steps.map(|step| before(f64::from(step))).collect();
    whole.extend(points);
    let origin = whole[0];
    for point in &mut whole {
        point.east -= origin.east;
        point.north -= origin.north;
    }
    whole
}

/// Fills in what follows from the position and the speed.
fn derive(mut points: Vec<Point>) -> Vec<Point> {
    let mut heading = points.iter().map(|point| point.heading).find(|heading| !heading.is_nan()).unwrap_or(0.0);
    for at in 0..points.len() {
        let (next, here) = (points[(at + 1).min(points.len() - 1)], points[at]);
        let before = if at == 0 { here } else { points[at - 1] };
        if here.heading.is_nan() {
            let (east, north) = (next.east - before.east, next.north - before.north);
            if here.speed > 2.0 && (east * east + north * north) > 4.0 {
                heading = east.atan2(north).to_degrees().rem_euclid(360.0);
            }
        } else if here.speed > 0.0 {
            heading = here.heading;
        }
        let turned = if at == 0 { 0.0 } else { (heading - before.heading + 540.0).rem_euclid(360.0) - 180.0 };
        let point = &mut points[at];
        // Rounded, so that the last bit of an arctangent, which differs between machines, is nowhere seen.
        point.heading = (heading * 10.0).round() / 10.0 % 360.0;
        if point.yaw_rate.is_nan() {
            point.yaw_rate = if here.speed > 2.0 { turned.clamp(-40.0, 40.0) } else { 0.0 };
        }
        point.accel_x = if at == 0 { 0.0 } else { here.speed - before.speed };
        point.accel_y = here.speed * point.yaw_rate * (std::f64::consts::PI / 180.0);
        point.distance = if at == 0 { 0.0 } else { before.distance + before.speed.midpoint(here.speed) };
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recordings::recorded;

    #[test]
    fn tracks_begin_and_end_standing_and_have_no_gap() {
        for track in recorded() {
            assert!(track.points[0].speed < 0.5 && track.end().speed < 0.5, "{:?}", track.end());
            assert_eq!((track.points[0].east, track.points[0].north), (0.0, 0.0));
            for pair in track.points.windows(2) {
                let (east, north) = (pair[1].east - pair[0].east, pair[1].north - pair[0].north);
                let moved = (east * east + north * north).sqrt();
                // The position of the first seconds is not better than that.
                assert!((moved - pair[0].speed.midpoint(pair[1].speed)).abs() < 12.0, "{pair:?}");
                assert!(pair[1].distance >= pair[0].distance && pair[1].accel_x.abs() < 8.0, "{pair:?}");
                assert!((0.0..360.0).contains(&pair[1].heading) && pair[1].yaw_rate.abs() <= 40.0, "{pair:?}");
                assert!(pair[1].altitude > 0.0 && pair[1].accuracy < 40.0 && pair[1].satellites >= 3.0, "{pair:?}");
            }
        }
    }

    #[test]
    fn a_place_between_two_seconds_lies_between_them() {
        let track = &recorded()[1];
        let (before, here, after) = (track.at(600.0), track.at(600.25), track.at(601.0));
        assert_eq!(before, track.points[600]);
        assert!((here.distance - (before.distance * 0.75 + after.distance * 0.25)).abs() < 1e-9);
        assert_eq!(track.at(-5.0), track.points[0]);
        assert_eq!(track.at(1e6), *track.end());
        let turn =
            |from, to| between(&Point { heading: from, ..before }, &Point { heading: to, ..before }, 0.5).heading;
        assert!((turn(350.0, 20.0) - 5.0).abs() < 1e-9 && (turn(10.0, 340.0) - 355.0).abs() < 1e-9);
    }
}
