//! The protocols of the fleet: their names, and how often a device reports.

use std::fmt;

/// A protocol: what `object`, `type` and `command` of its messages say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the name of its protocol")]
pub enum Protocol {
    VehicleKinematic,
    VehicleStatus,
    VehicleEv,
    VehicleTire,
    VehicleDiagnostics,
    VehicleEvent,
    VehicleCrash,
    AdasMeasurements,
    AdasEvent,
    SensorMeasurements,
    BlackboxStatus,
    BlackboxUploadCommand,
    BlackboxUploadResponse,
    VehicleControlCommand,
    VehicleControlResponse,
    DeviceHeartbeat,
}

use Protocol as P;

impl Protocol {
    /// All of them, in the order of the catalogue.
    pub const ALL: [Self; 16] = [
        P::VehicleKinematic,
        P::VehicleStatus,
        P::VehicleEv,
        P::VehicleTire,
        P::VehicleDiagnostics,
        P::VehicleEvent,
        P::VehicleCrash,
        P::AdasMeasurements,
        P::AdasEvent,
        P::SensorMeasurements,
        P::BlackboxStatus,
        P::BlackboxUploadCommand,
        P::BlackboxUploadResponse,
        P::VehicleControlCommand,
        P::VehicleControlResponse,
        P::DeviceHeartbeat,
    ];

    /// `object`, `type` and `command`.
    pub const fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            P::VehicleKinematic => ("vehicle", "kinematic", "report"),
            P::VehicleStatus => ("vehicle", "status", "report"),
            P::VehicleEv => ("vehicle", "ev", "report"),
            P::VehicleTire => ("vehicle", "tire", "report"),
            P::VehicleDiagnostics => ("vehicle", "diagnostics", "report"),
            P::VehicleEvent => ("vehicle", "event", "report"),
            P::VehicleCrash => ("vehicle", "crash", "report"),
            P::AdasMeasurements => ("adas", "measurements", "report"),
            P::AdasEvent => ("adas", "event", "report"),
            P::SensorMeasurements => ("sensor", "measurements", "report"),
            P::BlackboxStatus => ("blackbox", "status", "report"),
            P::BlackboxUploadCommand => ("blackbox", "upload", "command"),
            P::BlackboxUploadResponse => ("blackbox", "upload", "response"),
            P::VehicleControlCommand => ("vehicle", "control", "command"),
            P::VehicleControlResponse => ("vehicle", "control", "response"),
            P::DeviceHeartbeat => ("device", "heartbeat", "report"),
        }
    }

    /// Whether its messages have a list of measurements. Commands and responses have none.
    pub fn has_list(self) -> bool {
        self.names().2 == "report"
    }

    /// How many seconds one message covers, of those that a device sends again and again while it is awake.
    pub(crate) const fn period(self) -> Option<i64> {
        match self {
            P::VehicleEv => Some(30),
            P::VehicleKinematic
            | P::VehicleStatus
            | P::AdasMeasurements
            | P::SensorMeasurements
            | P::BlackboxStatus => Some(60),
            P::VehicleTire | P::DeviceHeartbeat => Some(300),
            _ => None,
        }
    }

    /// The number of its draws.
    pub(crate) const fn number(self) -> u64 {
        self as u64
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (object, kind, command) = self.names();
        write!(f, "{object}/{kind}/{command}")
    }
}

/// A set of protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocols(u32);

impl Protocols {
    /// Every protocol.
    pub fn all() -> Self {
        Protocol::ALL.into_iter().collect()
    }

    /// Reads `all`, or names such as `vehicle/kinematic,adas/event`; commands and responses belong to one name.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::all());
        }
        let mut bits = 0;
        for name in text.split(',').map(str::trim) {
            let before = bits;
            for protocol in Protocol::ALL.into_iter().filter(|protocol| short(*protocol) == name) {
                bits |= protocol.bit();
            }
            if bits == before && !Protocol::ALL.iter().any(|protocol| short(*protocol) == name) {
                let mut known: Vec<_> = Protocol::ALL.into_iter().map(short).collect();
                known.dedup();
                return Err(format!("there is no protocol `{name}`; there are `all`, {}", known.join(", ")));
            }
        }
        Ok(Self(bits))
    }

    /// Whether the set has this protocol.
    pub const fn contains(self, protocol: Protocol) -> bool {
        self.0 & protocol.bit() != 0
    }
}

impl FromIterator<Protocol> for Protocols {
    fn from_iter<I: IntoIterator<Item = Protocol>>(protocols: I) -> Self {
        Self(protocols.into_iter().fold(0, |bits, protocol| bits | protocol.bit()))
    }
}

/// The name of a protocol on the command line.
fn short(protocol: Protocol) -> String {
    let (object, kind, _) = protocol.names();
    format!("{object}/{kind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_named_by_object_and_type() {
        let some = Protocols::parse("vehicle/tire, vehicle/control").expect("known");
        let chosen: Vec<_> = Protocol::ALL.into_iter().filter(|protocol| some.contains(*protocol)).collect();
        assert_eq!(chosen, [P::VehicleTire, P::VehicleControlCommand, P::VehicleControlResponse]);
        assert_eq!(Protocols::parse("all"), Ok(Protocols::all()));
        let error = Protocols::parse("vehicle/tyre").expect_err("unknown");
        assert!(error.contains("`vehicle/tyre`") && error.contains("vehicle/tire, vehicle/diagnostics"), "{error}");
        assert_eq!(error.matches("vehicle/control").count(), 1);
    }
}
