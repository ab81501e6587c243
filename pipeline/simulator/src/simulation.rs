//! What leaves a vehicle in a second: the core of the simulator, a function of the fleet, the vehicle and the second.
//!
//! Nothing is remembered from one second to the next. A message that is late is found by asking which of those that were
//! due before leave now, so a simulation can begin at any second and goes on as if it had always been running.

use crate::departing::Departing;
use crate::departure::Departure;
use crate::faults::Fault;
use crate::protocol::{Protocol, Protocols};
use crate::random::Key;
use crate::rates::Rates;
use crate::timetable::{LATEST, Rhythm, Session, session};
use crate::vehicle::{Fleet, Vehicle};

/// What is simulated. Two that are equal give the same messages, byte by byte.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulation {
    /// The fleet.
    pub fleet: Fleet,
    /// The second, since the Unix epoch, in which the fleet began to send. What was due before is not sent late or again.
    pub since: i64,
    /// How days pass.
    pub rhythm: Rhythm,
    /// What goes wrong.
    pub rates: Rates,
    /// What is sent.
    pub protocols: Protocols,
}

impl Simulation {
    /// Adds the messages that leave a vehicle in a second, in the order in which they leave.
    pub fn leaving(&self, vehicle: &Vehicle, second: i64, out: &mut Vec<Departure>) {
        let session = session(vehicle, self.rhythm, second, self.rates.of(Fault::Tunnel));
        let mut departing = Departing { simulation: self, vehicle, second, out };
        let mut awake = false;
        if let Some(session) = &session {
            let elapsed = second - session.start;
            awake = (0..=session.length).contains(&elapsed);
            if (1..=session.length + LATEST).contains(&elapsed) {
                departing.periods(session, elapsed - 1);
            }
            if (1..=session.length + 1).contains(&elapsed) {
                departing.events(session, elapsed - 1);
            }
        }
        if !awake {
            departing.parked();
        }
        departing.commands();
    }

    /// How likely something is in a trip, if it is `rate` over all trips: most trips have little of it and few have much.
    pub(crate) fn share_in(session: &Session, rate: f64, fault: Fault) -> f64 {
        let share = session.key.with(100 + fault as u64).share();
        rate * 5.0 * share * share * share * share
    }

    /// By how many seconds a message is late that is due in this second of its trip, and why.
    pub(crate) fn lateness(&self, session: &Session, protocol: Protocol, due: i64, key: Key) -> (i64, Option<Fault>) {
        if due > session.length {
            return (0, None);
        }
        if let Some((_, end)) = session.tunnel.filter(|(from, to)| (from * 60..to * 60).contains(&due)) {
            return (end * 60 - due, Some(Fault::Tunnel));
        }
        let late = self.rates.of(Fault::Late);
        if late > 0.0 && key.with(1).happens(Self::share_in(session, late, Fault::Late)) {
            return (key.with(2).between(2, 16) * 60, Some(Fault::Late));
        }
        if protocol.period() == Some(60) && key.with(3).happens(self.rates.of(Fault::Reordered)) {
            return (60, Some(Fault::Reordered));
        }
        (0, None)
    }

    /// Whether a message of a trip is sent twice.
    pub(crate) fn is_twice(&self, session: &Session, key: Key) -> bool {
        let twice = self.rates.of(Fault::Twice);
        twice > 0.0 && key.with(4).happens(Self::share_in(session, twice, Fault::Twice))
    }
}
