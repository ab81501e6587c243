//! Commands that servers give, and what devices answer: control of the vehicle, and files of the black box.

use crate::departing::{CONTROL_EXPIRES, UPLOAD_EXPIRES};
use crate::departure::{Departure, Subject};
use crate::faults::Fault;
use crate::json::{Object, date, ulid};
use crate::protocol::Protocol;
use crate::random::Key;
use crate::timetable::LOCAL;

/// Writes the fields that follow the envelope.
pub(super) fn write(message: &mut Object<'_>, departure: &Departure) {
    let Subject::Command(given, key) = departure.about else { return };
    let requested_at = given * 1000;
    let is_control = matches!(departure.protocol, Protocol::VehicleControlCommand | Protocol::VehicleControlResponse);
    let expires = if is_control { CONTROL_EXPIRES } else { UPLOAD_EXPIRES };
    message
        .text("request_id", &format!("REQ-{}", ulid(requested_at, [key.with(10).bits(), key.with(11).bits()])))
        .time("requested_at", requested_at)
        .time("expires_at", requested_at + expires * 1000);
    let clip = Clip::of(given, key);
    match departure.protocol {
        Protocol::VehicleControlCommand => {
            let actions = ["LOCK", "LOCK", "UNLOCK", "UNLOCK", "HORN", "HAZARD", "IMMOBILIZE"];
            message.text("action", pick(key.with(12), &actions));
        }
        Protocol::VehicleControlResponse => {
            let results =
                ["SUCCESS", "SUCCESS", "SUCCESS", "SUCCESS", "SUCCESS", "SUCCESS", "ACCEPTED", "FAILED", "REJECTED"];
            let result =
                if departure.lateness == Some(Fault::AnswerLate) { "TIMEOUT" } else { pick(key.with(13), &results) };
            message.text("result", result);
            match result {
                "FAILED" => message.text("error_code", "ACTUATOR_FAILED"),
                "REJECTED" => message.text("error_code", "VEHICLE_MOVING"),
                "TIMEOUT" => message.text("error_code", "NO_ANSWER_IN_TIME"),
                _ => message,
            };
            match result {
                "SUCCESS" => message.time("executed_at", departure.sent - key.with(14).between(100, 700)),
                _ => message.null("executed_at"),
            };
        }
        Protocol::BlackboxUploadCommand => {
            message.integer("channel", clip.channel).time("from", clip.from * 1000).time("to", clip.to * 1000);
        }
        _ if departure.lateness == Some(Fault::AnswerLate) || key.with(15).happens(0.1) => {
            message.text("result", "FAILED").null("file_key").integer("bytes", 0);
            message.text("error_code", "RANGE_NOT_AVAILABLE");
        }
        _ => {
            let bytes = (clip.to - clip.from) * key.with(16).between(250_000, 380_000);
            message.text("result", "SUCCESS").text("file_key", &clip.file(departure.vehicle.id()));
            message.integer("bytes", bytes).null("error_code");
        }
    }
}

/// The part of a recording that is asked for.
struct Clip {
    channel: i64,
    /// Seconds since the Unix epoch.
    from: i64,
    to: i64,
}

impl Clip {
    /// Of a command that was given in this second.
    fn of(given: i64, key: Key) -> Self {
        let to = given - key.with(20).between(30, 3600);
        Self { channel: key.with(22).between(1, 5), from: to - key.with(21).between(20, 121), to }
    }

    fn file(&self, id: u64) -> String {
        let clock = |second: i64| {
            let of_day = (second + LOCAL).rem_euclid(86_400);
            format!("{:02}{:02}{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60)
        };
        let day = date((self.from + LOCAL).div_euclid(86_400)).strftime("%Y/%m/%d");
        format!("video/{id}/{day}/ch{}-{}-{}.mp4", self.channel, clock(self.from), clock(self.to))
    }
}

/// One of these.
pub(super) fn pick(key: Key, of: &[&'static str]) -> &'static str {
    let length = i64::try_from(of.len()).unwrap_or(1);
    of[usize::try_from(key.between(0, length)).unwrap_or(0)]
}
