//! Where a vehicle is in a second of its trip, and what its engine, tank and battery show there.

use crate::recordings::recorded;
use crate::timetable::{BEFORE, Rhythm, Session, driven_before};
use crate::track::Track;
use crate::vehicle::{Draw, Vehicle};

/// A trip of a vehicle, as it is driven.
#[derive(Debug)]
pub(crate) struct Motion<'a> {
    vehicle: &'a Vehicle,
    session: &'a Session,
    track: &'static Track,
    rotation: (f64, f64, f64),
    /// Metres on the odometer when the trip began.
    odometer: f64,
}

/// A second of a trip, in whole steps of what the device reports.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Moment {
    /// Millionths of a degree.
    pub latitude: i64,
    pub longitude: i64,
    /// Tenths of a metre.
    pub altitude: i64,
    /// Tenths of a degree, 0 to 3599.
    pub heading: i64,
    /// Hundredths of km/h.
    pub speed: i64,
    /// Tenths of a metre.
    pub accuracy: i64,
    pub satellites: i64,
    /// Hundredths of m/s².
    pub accel: [i64; 3],
    /// Tenths of a degree a second.
    pub yaw_rate: i64,
    /// Metres.
    pub odometer: i64,
    /// Metres since the trip began.
    pub driven: f64,
}

/// The error of a receiver changes slowly, with the satellites that it sees: its standard deviation in metres, and after how
/// many seconds it is another one. From second to second, positions are uneven by their last digit, which is 0.1 m, as the
/// recorded ones are.
const DRIFT: (f64, i64) = (1.0, 60);

/// Metres that a tank lasts, from 95 % to 9 %.
const TANK: f64 = 560_000.0;

impl<'a> Motion<'a> {
    pub(crate) fn new(vehicle: &'a Vehicle, session: &'a Session, rhythm: Rhythm) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "metres of a vehicle's life")]
        let odometer = vehicle.first_odometer() as f64 + driven_before(vehicle, rhythm, session);
        Self { vehicle, session, track: &recorded()[session.track], rotation: vehicle.rotation(), odometer }
    }

    /// The second of the recorded trip that belongs to a second of the session.
    #[expect(clippy::cast_precision_loss, reason = "within a trip")]
    pub(crate) fn recorded_second(&self, second: i64) -> f64 {
        (second - BEFORE) as f64 * self.session.faster
    }

    pub(crate) fn is_driving(&self, second: i64) -> bool {
        (BEFORE..BEFORE + self.session.drive).contains(&second)
    }

    /// What the device measures in a second of the session.
    pub(crate) fn at(&self, second: i64) -> Moment {
        let mut point = self.track.at(self.recorded_second(second));
        let faster = self.session.faster;
        if !self.is_driving(second) {
            (point.speed, point.accel_x, point.accel_y, point.yaw_rate) = (0.0, 0.0, 0.0, 0.0);
        }
        let (cosine, sine, degrees) = self.rotation;
        let turned = |east: f64, north: f64| (north * cosine + east * sine, east * cosine - north * sine);
        let (mut north, mut east) = turned(point.east, point.north);
        let mut heading = point.heading - degrees;
        if !self.session.outbound {
            // The same way, turned by 180 degrees, ends where the way out began.
            let end = turned(self.track.end().east, self.track.end().north);
            (north, east) = (end.0 - north, end.1 - east);
            heading += 180.0;
        }
        let time = self.session.start + second;
        let (noise, drift) = (self.vehicle.draw(Draw::Second).at(time), self.vehicle.draw(Draw::Drift));
        let shaken = |part: u64, size: f64| noise.with(part).noise() * size;
        let off = |axis: u64| drift.with(axis).slow_noise(time, DRIFT.1) * DRIFT.0;
        let (latitude, longitude) = self.vehicle.place(north + off(0), east + off(1));
        let accel = [point.accel_x * faster * faster, point.accel_y * faster * faster, point.accel_z];
        Moment {
            latitude: steps(latitude, 1e6),
            longitude: steps(longitude, 1e6),
            // Sea level in Korea is that of the recording; hills come along with the way.
            altitude: steps(point.altitude + off(2), 10.0),
            heading: steps(heading, 10.0).rem_euclid(3600),
            speed: steps(point.speed * faster * 3.6, 100.0),
            accuracy: steps(point.accuracy + shaken(3, 0.1).abs(), 10.0),
            satellites: steps(point.satellites, 1.0),
            accel: [0, 1, 2].map(|axis| steps(accel[axis] + shaken(4 + axis as u64, 0.03), 100.0)),
            yaw_rate: steps(point.yaw_rate * faster + shaken(7, 0.05), 10.0),
            odometer: steps(self.odometer + point.distance, 1.0),
            driven: point.distance,
        }
    }

    /// The level of the tank in tenths of a percent. It is filled between trips, when it would not last for the next.
    pub(crate) fn fuel(&self, moment: &Moment) -> i64 {
        let filled = (self.odometer / TANK).floor() * TANK;
        let used = self.odometer - filled + moment.driven;
        steps(95.0 - used * 86.0 / TANK, 10.0).max(10)
    }

    /// The charge of an electric vehicle's battery in hundredths of a percent, at so many seconds of charging. It
    /// leaves its home with the same charge on every day, and is charged again when it has come home.
    pub(crate) fn charge(&self, moment: &Moment, charging: i64) -> i64 {
        let full = self.vehicle.draw(Draw::Electric).with(1).between(8000, 9500);
        let before = if self.session.outbound { 0.0 } else { self.track.end().distance };
        // 0.2 % a kilometre, and 11 kW into 60 kWh.
        full - steps((before + moment.driven) / 50.0, 1.0) + charging * 11 * 10_000 / (60 * 3600)
    }
}

/// A measurement in whole steps of a device, of which `a_unit` make a unit.
#[expect(clippy::cast_possible_truncation, reason = "measurements are small")]
pub(crate) fn steps(value: f64, a_unit: f64) -> i64 {
    (value * a_unit).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timetable::session;
    use crate::vehicle::Fleet;

    /// All sessions of a vehicle in some days, in order.
    fn sessions(vehicle: &Vehicle) -> Vec<Session> {
        let from = 1_767_225_600;
        let mut found: Vec<Session> =
            (0..5 * 1440).filter_map(|minute| session(vehicle, Rhythm::Days, from + minute * 60, 0.3)).collect();
        found.dedup_by_key(|session| session.number);
        found
    }

    #[test]
    fn a_vehicle_never_jumps_neither_within_a_trip_nor_between_two() {
        for index in 0..20 {
            let vehicle = Vehicle::new(&Fleet::new(5), index);
            let mut last: Option<Moment> = None;
            for session in sessions(&vehicle) {
                let motion = Motion::new(&vehicle, &session, Rhythm::Days);
                for second in 0..session.length {
                    let moment = motion.at(second);
                    if let Some(last) = last {
                        let metres = |step: i64| step.abs() / 9;
                        let moved = metres(moment.latitude - last.latitude) + metres(moment.longitude - last.longitude);
                        assert!(moved < 60, "{index} {second}: {last:?} {moment:?}");
                        assert!((0..40).contains(&(moment.odometer - last.odometer)), "{last:?} {moment:?}");
                    }
                    assert!((100..10_000).contains(&motion.charge(&moment, 0)), "{}", motion.charge(&moment, 0));
                    assert!((10..1000).contains(&motion.fuel(&moment)), "{}", motion.fuel(&moment));
                    last = Some(moment);
                }
            }
            assert!(last.is_some());
        }
    }

    /// The heading is that of the way, however it is turned.
    #[test]
    fn a_vehicle_drives_in_the_direction_of_its_heading() {
        for index in 0..10 {
            let vehicle = Vehicle::new(&Fleet::new(9), index);
            let session = sessions(&vehicle)[usize::try_from(index % 2).expect("small")];
            let motion = Motion::new(&vehicle, &session, Rhythm::Days);
            let mut off = Vec::new();
            for second in (100..1500).step_by(10) {
                let (from, to) = (motion.at(second), motion.at(second + 1));
                if from.speed < 4000 {
                    continue;
                }
                #[expect(clippy::cast_precision_loss, reason = "small")]
                let (north, east, heading) = (
                    (to.latitude - from.latitude) as f64,
                    (to.longitude - from.longitude) as f64 * 0.793,
                    from.heading as f64 / 10.0,
                );
                off.push(((east.atan2(north).to_degrees() - heading + 540.0).rem_euclid(360.0) - 180.0).abs());
            }
            off.sort_unstable_by(f64::total_cmp);
            assert!(off[off.len() / 2] < 8.0, "{index}: {off:?}");
        }
    }
}
