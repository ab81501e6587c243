//! A message that leaves, before it is written, and what it is about.

use crate::faults::Fault;
use crate::protocol::Protocol;
use crate::random::Key;
use crate::timetable::Session;
use crate::vehicle::Vehicle;

/// A message that leaves, before it is written.
#[derive(Debug, Clone, Copy)]
pub struct Departure {
    /// Whose it is.
    pub vehicle: Vehicle,
    /// Its protocol.
    pub protocol: Protocol,
    /// When it gets to Kafka, in milliseconds since the Unix epoch.
    pub at: i64,
    /// When its device sends it, by a right clock, in milliseconds since the Unix epoch. A network may take minutes.
    pub sent: i64,
    /// Whether the same message has left before.
    pub is_copy: bool,
    /// Whether it is one of the messages that a hot device sends in addition.
    pub(crate) is_extra: bool,
    /// What made it late.
    pub(crate) lateness: Option<Fault>,
    /// What it is about.
    pub(crate) about: Subject,
    pub(crate) session: Option<Session>,
    /// The draws of this message.
    pub(crate) key: Key,
}

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Subject {
    /// The period of this number since the trip began.
    Period(i64),
    /// Something that happened in this second of the trip.
    Happened(i64, Event),
    /// Something about a parked vehicle in this second since the Unix epoch.
    Parked(i64, Event),
    /// A command that was given in this second since the Unix epoch, with its draws, or the response to it.
    Command(i64, Key),
}

/// What a device reports as soon as it happens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Event {
    /// The device has booted.
    Boot,
    /// The state of the vehicle's diagnosis; with trouble codes or without.
    Diagnostics(bool),
    /// A `vehicle/event` with its type, value and severity, and whether it is at a site.
    Vehicle(&'static str, f64, u8, bool),
    /// An `adas/event` with its type and level.
    Adas(&'static str, i64),
    /// A crash.
    Crash,
}

impl Event {
    pub(crate) const fn protocol(&self) -> Protocol {
        match self {
            Self::Boot => Protocol::DeviceHeartbeat,
            Self::Diagnostics(_) => Protocol::VehicleDiagnostics,
            Self::Vehicle(..) => Protocol::VehicleEvent,
            Self::Adas(..) => Protocol::AdasEvent,
            Self::Crash => Protocol::VehicleCrash,
        }
    }
}
