//! Messages about what happened: events of trips and of drivers, trouble codes, crashes, the boot of a device.

use super::command::pick;
use super::rows::Rows;
use crate::departure::{Departure, Event};
use crate::json::{Object, date, ulid};
use crate::motion::{Motion, steps};
use crate::random::Key;
use crate::trip::BOOT;

/// The rows of a crash, how many there are in a second, and which of them is the impact.
const CRASH_ROWS: i64 = 2000;
const CRASH_RATE: i64 = 100;
const IMPACT: i64 = CRASH_ROWS / 2;

/// Writes the rows of an event that happened in this second of a trip, and at this time.
pub(super) fn write(
    rows: &mut Rows<'_>,
    departure: &Departure,
    motion: Option<&Motion<'_>>,
    second: i64,
    millis: i64,
    event: Event,
    firmware: &str,
) {
    let (vehicle, key) = (&departure.vehicle, departure.key);
    match event {
        Event::Boot => rows.row(millis, |row| {
            let reason = if motion.is_some() { "IGNITION" } else { "TIMER" };
            heartbeat(row, key, BOOT, Some(reason), firmware);
        }),
        Event::Diagnostics(has_trouble) => rows.row(millis, |row| diagnostics(row, key, has_trouble)),
        Event::Vehicle(kind, value, severity, at_site) => rows.row(millis, |row| {
            let (latitude, longitude) = motion.map_or_else(
                || {
                    let (latitude, longitude) = vehicle.place(0.0, 0.0);
                    (steps(latitude, 1e6), steps(longitude, 1e6))
                },
                |motion| {
                    let moment = motion.at(second);
                    (moment.latitude, moment.longitude)
                },
            );
            let trip = departure.session.map_or_else(
                || "NONE".to_owned(),
                |session| {
                    let day = date(session.number.div_euclid(32)).strftime("%Y%m%d");
                    format!("T-{}-{day}-{:02}", vehicle.id(), session.number.rem_euclid(32) + 1)
                },
            );
            row.text("event_id", &ulid(millis, [key.with(60).bits(), key.with(61).bits()]))
                .text("event_type", kind)
                .text("trip_id", &trip)
                .decimal("latitude", latitude, 6)
                .decimal("longitude", longitude, 6)
                .decimal("value", steps(value, 100.0), 2)
                .integer("severity", i64::from(severity));
            if at_site {
                row.text("geofence_id", &format!("GF-HOME-{}", vehicle.id()));
            }
        }),
        Event::Adas(kind, level) => rows.row(millis, |row| {
            let speed = motion.map_or(0, |motion| motion.at(second).speed);
            row.text("event_type", kind).integer("level", level).decimal("speed", speed, 2);
            if vehicle.has_blackbox() {
                row.text("clip_id", &format!("CLP-{}-{}", vehicle.id(), millis / 1000));
            } else {
                row.null("clip_id");
            }
        }),
        Event::Crash => crash(rows, motion, key, second, millis),
    }
}

/// The row of a heartbeat.
pub(super) fn heartbeat(row: &mut Object<'_>, key: Key, uptime: i64, boot_reason: Option<&str>, firmware: &str) {
    row.integer("uptime", uptime)
        .integer("rssi", key.with(62).between(-112, -55))
        .integer("buffered_records", 0)
        .text("clock_source", if boot_reason.is_some() { pick(key.with(63), &["RTC", "NETWORK"]) } else { "GNSS" });
    if let Some(reason) = boot_reason {
        row.text("boot_reason", reason);
    }
    row.text("firmware", firmware);
}

fn diagnostics(row: &mut Object<'_>, key: Key, has_trouble: bool) {
    const CODES: [(&str, i64, i64); 4] =
        [("P0420", 3056, 1), ("U0100", 639, 19), ("P0171", 3357, 0), ("C0035", 789, 5)];
    let count = if has_trouble { key.with(64).between(1, 3) } else { 0 };
    row.boolean("mil", has_trouble).integer("dtc_count", count).value("dtcs", |out| {
        out.push(b'[');
        for number in 0..count {
            if number > 0 {
                out.push(b',');
            }
            let (code, spn, fmi) = CODES[usize::try_from((key.with(65).between(0, 4) + number) % 4).unwrap_or(0)];
            let occurrence = key.with(66).at(number).between(1, 9);
            Object::begin(out)
                .text("code", code)
                .integer("spn", spn)
                .integer("fmi", fmi)
                .integer("occurrence", occurrence);
        }
        out.push(b']');
    });
}

/// The 20 seconds around a crash. The device sends them ten seconds after the impact.
fn crash(rows: &mut Rows<'_>, motion: Option<&Motion<'_>>, key: Key, second: i64, millis: i64) {
    let before = motion.map_or(0, |motion| motion.at(second).speed).max(2000);
    let peak = key.with(67).between(350, 900);
    let mut highest = 0;
    for number in 0..CRASH_ROWS {
        let shake = |axis: u64| steps(key.with(68).with(axis).at(number).noise() * 0.1, 100.0);
        // The impact takes a tenth of a second, in which a force rises and falls.
        let since = number - IMPACT;
        let force = if (0..10).contains(&since) { peak * (5 - (since - 5).abs()) / 5 } else { 0 };
        highest = highest.max(force.max(2));
        let speed = if since < 0 { before } else { (before - before * since / 12).max(0) };
        let at = millis - (CRASH_ROWS - number) * 1000 / CRASH_RATE;
        rows.row(at, |row| {
            // Forces are hundredths of g; an axis shows at most 78 m/s².
            row.decimal("accel_x", (shake(0) - force * 981 / 100).clamp(-7800, 7800), 2)
                .decimal("accel_y", shake(1) + force * 981 / 400, 2)
                .decimal("accel_z", 981 + shake(2), 2)
                .decimal("speed", speed, 2)
                .decimal("peak_g", highest, 2);
        });
    }
}
