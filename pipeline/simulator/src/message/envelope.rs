//! The envelope of a message: whose it is, what it is, when it was sent.

use super::is_boot;
use super::rows::Clock;
use super::spoil;
use crate::departure::{Departure, Subject};
use crate::faults::Fault;
use crate::json::{Object, ulid};
use crate::simulation::Simulation;
use crate::vehicle::Draw;

pub(super) struct Envelope {
    pub(super) message_id: String,
    /// What the clock of the sender says when it sends, in milliseconds since the Unix epoch.
    pub(super) messaged_at: i64,
    firmware: Option<&'static str>,
    is_updated: bool,
}

/// The firmware of devices, before and after an update.
pub(super) const FIRMWARE: [&str; 2] = ["2.4.1", "2.5.0"];

/// Whether the device of this message had its update.
pub(super) fn is_updated(simulation: &Simulation, departure: &Departure) -> bool {
    departure.sent >= simulation.rates.firmware_update_at * 1000
        && departure.vehicle.draw(Draw::Fault).with(1).happens(simulation.rates.of(Fault::FirmwareUpdate))
}

impl Envelope {
    pub(super) fn of(simulation: &Simulation, departure: &Departure, clock: Clock) -> Self {
        let is_command = departure.protocol.names().2 == "command";
        // A command comes from a server, whose clock is right.
        let messaged_at = if is_command { departure.sent } else { clock.says(departure.sent) };
        let is_updated = !is_command && is_updated(simulation, departure);
        Self {
            message_id: ulid(messaged_at, [departure.key.with(7).bits(), departure.key.with(8).bits()]),
            messaged_at,
            firmware: (!is_command).then_some(FIRMWARE[usize::from(is_updated)]),
            is_updated,
        }
    }

    pub(super) const fn is_updated(&self) -> bool {
        self.is_updated
    }

    /// Writes the message with this list, or with the fields of a command or response.
    pub(super) fn write(
        &self,
        departure: &Departure,
        rows: usize,
        list: Option<&Vec<u8>>,
        spoiling: Option<Fault>,
    ) -> Vec<u8> {
        let mut out = Vec::with_capacity(512 + list.map_or(0, Vec::len));
        let (object, kind, command) = departure.protocol.names();
        let id = i64::try_from(departure.vehicle.id()).unwrap_or(i64::MAX);
        let mut message = Object::begin(&mut out);
        let missing = spoil::missing(spoiling, departure.key);
        if missing != Some("object") {
            message.text("object", object);
        }
        if missing != Some("type") {
            message.text("type", kind);
        }
        message.text("command", command);
        if missing != Some("id") {
            message.integer("id", id);
        }
        if self.firmware.is_some() {
            message.text("device_id", &format!("SFT-{id:07}"));
        }
        message.text("message_id", &self.message_id);
        if self.firmware.is_some() {
            message.integer("message_seq", sequence(departure));
        }
        message.text("schema_version", "1.2");
        if let Some(firmware) = self.firmware {
            message.text("firmware", firmware);
        }
        message.time("messaged_at", self.messaged_at);
        if self.firmware.is_some() {
            message.boolean("buffered", departure.lateness == Some(Fault::Tunnel));
        }
        if let Some((name, json)) = spoil::extra(spoiling, departure.vehicle.id()) {
            message.raw(name, &json);
        }
        if let Some(list) = list {
            message.integer("measurements_count", i64::try_from(rows).unwrap_or(i64::MAX));
            spoil::write_list(&mut message, list, rows, spoiling, departure.key);
        } else {
            super::command::write(&mut message, departure);
        }
        drop(message);
        out
    }
}

/// The number of a message: of the batches of a protocol since the device has booted, which is when the ignition is
/// turned on. What happens in between has the second in which it did.
const fn sequence(departure: &Departure) -> i64 {
    match departure.about {
        Subject::Period(number) => number,
        about if is_boot(about) => 0,
        Subject::Happened(second, _) => second,
        Subject::Parked(..) | Subject::Command(..) => 1,
    }
}
