//! Messages about a period of a trip: what the sensors of the vehicle and of its cargo measured.

use super::envelope::FIRMWARE;
use super::event::heartbeat;
use super::position::PositionFaults;
use super::rows::Rows;
use crate::departure::Departure;
use crate::faults::Fault;
use crate::json::Object;
use crate::motion::{Moment, Motion, steps};
use crate::protocol::Protocol;
use crate::random::Key;
use crate::rates::Rates;
use crate::timetable::Session;
use crate::vehicle::Vehicle;

/// A period of a trip.
pub(super) struct Period<'p> {
    pub(super) departure: &'p Departure,
    pub(super) session: &'p Session,
    pub(super) motion: &'p Motion<'p>,
    pub(super) number: i64,
    /// Whether the device has the new firmware.
    pub(super) updated: bool,
}

impl Period<'_> {
    pub(super) fn write(&self, rows: &mut Rows<'_>, rates: &Rates) {
        let period = self.departure.protocol.period().unwrap_or(60);
        let seconds = self.number * period..(self.number + 1) * period;
        match self.departure.protocol {
            Protocol::VehicleKinematic => {
                let faults = PositionFaults::of(self.session, rates);
                rows.seconds(self.session.start, seconds, |rows, second, millis| {
                    self.kinematic(rows, second, millis, &faults);
                });
            }
            Protocol::AdasMeasurements => {
                rows.seconds(self.session.start, seconds, |rows, second, millis| self.adas(rows, second, millis));
            }
            Protocol::VehicleStatus => self.each(rows, seconds.step_by(10), Self::status),
            Protocol::VehicleEv => self.each(rows, seconds.step_by(10), Self::ev),
            Protocol::SensorMeasurements => {
                let sensors = self.departure.vehicle.cargo_sensors();
                for second in seconds.step_by(if sensors > 1 { 10 } else { 5 }) {
                    for sensor in 1..=sensors {
                        rows.row(self.millis(second), |row| self.sensor(row, second, sensor));
                    }
                }
            }
            Protocol::VehicleTire => self.tires(rows, seconds.end - 1),
            Protocol::BlackboxStatus => self.each(rows, seconds.end - 1..seconds.end, Self::blackbox),
            _ => rows.row(self.millis(seconds.end - 1), |row| {
                heartbeat(row, self.key(), seconds.end - 1, None, FIRMWARE[usize::from(self.updated)]);
            }),
        }
    }

    fn vehicle(&self) -> &Vehicle {
        &self.departure.vehicle
    }

    fn key(&self) -> Key {
        self.departure.key
    }

    fn millis(&self, second: i64) -> i64 {
        (self.session.start + second) * 1000
    }

    /// A row for each of these seconds.
    fn each(
        &self,
        rows: &mut Rows<'_>,
        seconds: impl Iterator<Item = i64>,
        write: impl Fn(&Self, &mut Object<'_>, i64),
    ) {
        for second in seconds {
            rows.row(self.millis(second), |row| write(self, row, second));
        }
    }

    fn kinematic(&self, rows: &mut Rows<'_>, second: i64, millis: i64, faults: &PositionFaults) {
        let mut moment = self.motion.at(second);
        let mut fix = if moment.satellites < 4 { "TWO_D" } else { "THREE_D" };
        match faults.position(second, self.key()) {
            Some(Fault::NoFix) => {
                let stale = self.motion.at(0);
                (moment.latitude, moment.longitude) = (stale.latitude, stale.longitude);
                (moment.altitude, moment.accuracy, moment.satellites) = (-54_000, 630, 0);
                fix = "NONE";
                rows.count(Fault::NoFix);
            }
            Some(Fault::ZeroPosition) => {
                (moment.latitude, moment.longitude) = (0, 0);
                rows.count(Fault::ZeroPosition);
            }
            Some(_) => {
                moment.latitude += self.key().with(70).at(second).between(20_000, 90_000);
                moment.longitude -= self.key().with(71).at(second).between(20_000, 90_000);
                rows.count(Fault::Jump);
            }
            None => {}
        }
        if let Some(odometer) = faults.odometer(second, moment.odometer) {
            moment.odometer = odometer;
            rows.count(Fault::Odometer);
        }
        rows.row(millis, |row| self.kinematic_row(row, &moment, fix));
    }

    fn kinematic_row(&self, row: &mut Object<'_>, moment: &Moment, fix: &str) {
        row.decimal("latitude", moment.latitude, 6)
            .decimal("longitude", moment.longitude, 6)
            .decimal("altitude", moment.altitude, 1)
            .decimal("heading", moment.heading, 1)
            .decimal("speed", moment.speed, 2)
            .decimal("horizontal_accuracy", moment.accuracy, 1);
        if self.updated {
            // A scalar becomes a list: the satellites of each system.
            let (half, rest) = (moment.satellites / 2, moment.satellites - moment.satellites / 2);
            row.raw("satellites", format!("[{half},{rest}]").as_bytes()).decimal("hdop", 5 + moment.accuracy / 2, 1);
        } else {
            row.integer("satellites", moment.satellites);
        }
        row.text("fix_type", fix)
            .decimal("accel_x", moment.accel[0], 2)
            .decimal("accel_y", moment.accel[1], 2)
            .decimal("accel_z", moment.accel[2], 2)
            .decimal("yaw_rate", moment.yaw_rate, 1)
            .integer("odometer", moment.odometer);
    }

    /// The vehicle ahead is as far away as it takes 1.2 to 2.8 seconds to drive. In slow traffic and in some minutes there
    /// is none.
    fn adas(&self, rows: &mut Rows<'_>, second: i64, millis: i64) {
        let moment = self.motion.at(second);
        // The gap changes from minute to minute, and a little in between.
        let minute = self.key().with(72);
        let gap = minute.between(1200, 2800) + steps(self.key().with(73).at(second).noise() * 40.0, 1.0);
        let has_lead = moment.speed > 1000 && minute.with(0).happens(0.8);
        rows.row(millis, |row| {
            if has_lead {
                // Hundredths of km/h times milliseconds are 1/360,000 of a metre.
                row.decimal("lead_distance", moment.speed * gap / 36_000, 1).integer("time_gap", gap);
            } else {
                row.null("lead_distance").null("time_gap");
            }
            let offset = steps(self.key().with(74).at(second / 5).noise() * 0.12, 100.0);
            row.decimal("lane_offset", offset, 2).decimal("speed", moment.speed, 2);
        });
    }

    /// The engine turns with the wheels in the gear that fits the speed, burns fuel for its idling and for its
    /// acceleration, and warms up in the first minutes.
    fn status(&self, row: &mut Object<'_>, second: i64) {
        let moment = self.motion.at(second);
        let shifts = [0, 1500, 3000, 4500, 6500];
        let gear = shifts.iter().filter(|shift| moment.speed > **shift).count();
        let electric = self.vehicle().is_electric();
        let noise = self.key().with(75).at(second);
        row.boolean("ignition", true).boolean("engine_running", true);
        if electric {
            row.integer("odometer", moment.odometer);
        } else {
            let ratio = [0, 130, 75, 52, 40, 32][gear];
            let rpm = (moment.speed * ratio).max(78_000) + steps(noise.noise() * 15.0, 100.0);
            let burnt = 8 + moment.speed * 8 / 1000 + (moment.accel[0].max(0) * moment.speed) / 12_000;
            let warm = (900 - 700 * (600 - second).max(0) / 600) + steps(noise.with(0).noise() * 0.5, 10.0);
            row.decimal("rpm", rpm / 25 * 25, 2)
                .integer("odometer", moment.odometer)
                .decimal("fuel_level", self.motion.fuel(&moment), 1)
                .decimal("fuel_rate", burnt, 1)
                .decimal("coolant_temp", warm, 1);
        }
        row.decimal("battery_voltage", 1395 + steps(noise.with(1).noise() * 0.08, 100.0), 2)
            .integer("gear", i64::try_from(gear).unwrap_or(0));
        let is_standing = !self.motion.is_driving(second);
        if self.updated {
            // An object becomes a scalar.
            row.text("doors", if is_standing { "FL" } else { "CLOSED" });
        } else {
            row.value("doors", |out| {
                let mut doors = Object::begin(out);
                doors.boolean("fl", is_standing);
                for door in ["fr", "rl", "rr", "trunk"] {
                    doors.boolean(door, false);
                }
            });
        }
        let hour = (self.session.start / 3600 + 9).rem_euclid(24);
        row.boolean("locked", !is_standing).boolean("headlight", !(7..18).contains(&hour));
    }

    /// A battery of about 360 V, whose current follows from what the motor needs for the acceleration and the speed;
    /// braking gives some of it back. At home it is charged with 11 kW.
    fn ev(&self, row: &mut Object<'_>, second: i64) {
        let moment = self.motion.at(second);
        let charging = (second - self.session.length).max(0);
        let is_charging = charging > 0;
        let soc = self.motion.charge(&moment, charging);
        let voltage = 3200 + soc / 20;
        // Hundredths of kW: the acceleration of 1.7 t, and the resistance of the road and the air.
        let needed = moment.speed * moment.accel[0] * 170 / 36_000 + moment.speed / 10 + 60;
        let needed = if needed < 0 { needed / 2 } else { needed };
        let power = if is_charging { 1100 } else { -needed.clamp(-9000, 15_000) };
        let temperature = 180 + second / 60 + self.key().with(76).between(-5, 6);
        row.decimal("soc", soc, 2)
            .decimal("voltage", voltage, 1)
            .decimal("current", power * 1000 / voltage, 1)
            .decimal("battery_temp_min", temperature, 1)
            .decimal("battery_temp_max", temperature + 25, 1)
            .boolean("is_charging", is_charging)
            .integer("charge_power", if is_charging { 11_000 } else { 0 })
            // A percent is five kilometres.
            .integer("range", soc * 50);
    }

    /// Tyres warm up with the speed, and their pressure rises with the temperature. One tyre of some vehicles is low.
    fn tires(&self, rows: &mut Rows<'_>, second: i64) {
        let moment = self.motion.at(second);
        let is_truck = self.vehicle().axles()[1] > 2;
        let cold = if is_truck { 780 } else { 235 };
        let wheels: i64 = self.vehicle().axles().iter().sum();
        let low = self.vehicle().draw(crate::vehicle::Draw::Built).with(2);
        let low_wheel = low.happens(0.05).then(|| low.with(0).between(0, wheels));
        let mut number = 0;
        for (axle, on_axle) in (1..).zip(self.vehicle().axles()) {
            for wheel in 1..=*on_axle {
                let warmth =
                    second.min(1200) * 150 / 1200 + moment.speed / 200 + self.key().with(77).at(number).between(0, 10);
                let is_low = low_wheel == Some(number);
                let pressure = cold * (1000 + warmth / 3) / 1000 * if is_low { 70 } else { 100 } / 100;
                rows.row(self.millis(second), |row| {
                    row.integer("axle", axle)
                        .integer("wheel", wheel)
                        .integer("pressure", pressure)
                        .decimal("temperature", 180 + warmth, 1)
                        .boolean("is_low", is_low);
                });
                number += 1;
            }
        }
    }

    /// A sensor in a cold store of -18 °C or 4 °C, which is a little warmer while the doors are open at the end of a trip.
    fn sensor(&self, row: &mut Object<'_>, second: i64, sensor: u64) {
        let is_open = !self.motion.is_driving(second) && self.session.outbound;
        let key = self.key().with(78).with(sensor).at(second);
        let cold = if sensor.is_multiple_of(2) { 40 } else { -180 };
        row.text("sensor_id", &format!("TH-{:04}-{sensor}", self.vehicle().id() % 10_000))
            .decimal("temperature", cold + if is_open { 60 } else { 0 } + steps(key.noise() * 0.3, 10.0), 1)
            .decimal("humidity", 600 + steps(key.with(0).noise() * 1.5, 10.0), 1)
            .boolean("cargo_door_open", is_open)
            .decimal("battery", 358 - i64::try_from(self.vehicle().index % 40).unwrap_or(0), 2);
    }

    fn blackbox(&self, row: &mut Object<'_>, second: i64) {
        let has_error = self.key().with(79).happens(0.002);
        // A ring of files, which fills up in a day.
        let used = 400 + self.millis(second).div_euclid(1000).rem_euclid(86_400) / 160;
        row.boolean("recording", !has_error)
            .decimal("storage_used", if has_error { 1000 } else { used }, 1)
            .decimal("temperature", 380 + self.key().with(80).between(0, 120), 1)
            .integer("channels", 4);
        if has_error {
            row.text("error_code", "SD_WRITE_FAILED");
        } else {
            row.null("error_code");
        }
    }
}
