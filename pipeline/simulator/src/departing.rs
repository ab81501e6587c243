//! What leaves a vehicle in a second: its periodic batches, what happened, and commands with their responses.

use crate::departure::{Departure, Event, Subject};
use crate::faults::Fault;
use crate::protocol::Protocol;
use crate::random::Key;
use crate::simulation::Simulation;
use crate::timetable::{BEFORE, CHARGING, LATEST, Session};
use crate::trip::trip_events;
use crate::vehicle::{Draw, Vehicle};

/// The protocols that report period by period.
const PERIODIC: [Protocol; 8] = [
    Protocol::VehicleKinematic,
    Protocol::VehicleStatus,
    Protocol::VehicleEv,
    Protocol::VehicleTire,
    Protocol::AdasMeasurements,
    Protocol::SensorMeasurements,
    Protocol::BlackboxStatus,
    Protocol::DeviceHeartbeat,
];
/// All periods are multiples of this, and so are all delays, in seconds.
const STEP: i64 = 30;
/// How many such steps a message may be late.
const STEPS: i64 = LATEST / STEP;
/// How many more messages a hot device sends for each.
const EXTRA: u64 = 13;
/// The share of minutes of a trip with a warning of the driver's assistant: four an hour.
const WARNINGS: f64 = 0.07;
/// The share of a parked vehicle's hours with an event.
const PARKED_EVENTS: f64 = 0.001;
/// The share of ten minutes in which a vehicle is given a control command, and of hours in which a file is asked for.
const CONTROLS: f64 = 0.01;
const UPLOADS: f64 = 0.05;
/// How long a control command, and one for a file, is valid, in seconds.
pub(crate) const CONTROL_EXPIRES: i64 = 30;
pub(crate) const UPLOAD_EXPIRES: i64 = 600;

/// A vehicle in a second, and what leaves it.
pub(crate) struct Departing<'a> {
    pub(crate) simulation: &'a Simulation,
    pub(crate) vehicle: &'a Vehicle,
    pub(crate) second: i64,
    pub(crate) out: &'a mut Vec<Departure>,
}

impl Departing<'_> {
    /// The key of a message: of a trip by its number, or of a parked vehicle.
    fn key(&self, protocol: Protocol, trip: i64, number: i64) -> Key {
        self.vehicle.draw(Draw::Message).with(protocol.number()).at(trip).at(number)
    }

    /// Adds a message that was due in this second since the Unix epoch, and takes `late` seconds on the way.
    fn add(&mut self, protocol: Protocol, key: Key, due: i64, late: i64, departure: Departure) {
        if due < self.simulation.since || !self.simulation.protocols.contains(protocol) {
            return;
        }
        // The protocols of a vehicle leave one after the other within the second.
        let offset = i64::try_from(protocol.number()).unwrap_or(0) * 50 + key.with(5).between(0, 50);
        let at = self.second * 1000 + offset;
        let departure = Departure { at, sent: at - late * 1000, ..departure };
        self.out.push(departure);
        let is_hot = || self.vehicle.draw(Draw::Fault).with(2).happens(self.simulation.rates.of(Fault::Hot));
        if protocol.has_list() && is_hot() {
            self.out.extend((0..EXTRA).map(|number| Departure {
                is_extra: true,
                key: key.with(200 + number),
                ..departure
            }));
        }
    }

    fn departure(&self, protocol: Protocol, about: Subject, session: Option<Session>, key: Key) -> Departure {
        let vehicle = *self.vehicle;
        let (is_copy, is_extra) = (false, false);
        Departure { vehicle, protocol, at: 0, sent: 0, is_copy, is_extra, lateness: None, about, session, key }
    }

    /// The batches that leave `elapsed` seconds after the trip began: those that are due, and those that were due before
    /// and are late. Looking back from the newest gives the order in which a device empties its memory.
    pub(crate) fn periods(&mut self, session: &Session, elapsed: i64) {
        if elapsed % STEP != 0 {
            return;
        }
        for late in (0..=STEPS).map(|steps| steps * STEP) {
            let due = elapsed - late;
            if due <= 0 {
                return;
            }
            for protocol in PERIODIC {
                let Some(period) = protocol.period().filter(|period| due % period == 0) else { continue };
                if due > self.awake_for(session, protocol) {
                    continue;
                }
                let number = due / period - 1;
                let key = self.key(protocol, session.number, number);
                let (delay, lateness) = self.simulation.lateness(session, protocol, due, key);
                // The network was late, or the device, which then says that it has kept the message.
                let on_the_way = if lateness == Some(Fault::Tunnel) { late - delay } else { late };
                let about = Subject::Period(number);
                let departure = Departure { lateness, ..self.departure(protocol, about, Some(*session), key) };
                if delay == late {
                    self.add(protocol, key, self.second - late, on_the_way, departure);
                }
                let again = delay + key.with(6).between(0, 4) * 60;
                if again == late && self.simulation.is_twice(session, key) {
                    let copy = Departure { is_copy: true, ..departure };
                    self.add(protocol, key, self.second - late, on_the_way, copy);
                }
            }
        }
    }

    /// For how many seconds of a trip a vehicle sends a protocol; 0 if it does not have what is measured.
    fn awake_for(&self, session: &Session, protocol: Protocol) -> i64 {
        let vehicle = self.vehicle;
        let has = match protocol {
            // At home it charges.
            Protocol::VehicleEv if !session.outbound && vehicle.is_electric() => return session.length + CHARGING,
            Protocol::VehicleEv => vehicle.is_electric(),
            Protocol::AdasMeasurements => vehicle.has_adas(),
            Protocol::SensorMeasurements => vehicle.cargo_sensors() > 0,
            Protocol::BlackboxStatus => vehicle.has_blackbox(),
            _ => true,
        };
        if has { session.length } else { 0 }
    }

    /// What happened in this second of the trip, or, when there is coverage again, since there was none.
    pub(crate) fn events(&mut self, session: &Session, elapsed: i64) {
        match session.tunnel.map(|(from, to)| (from * 60, to * 60)) {
            Some((from, to)) if (from..to).contains(&elapsed) => {}
            Some((from, to)) if elapsed == to => {
                for second in (from..=to).rev() {
                    self.events_of(session, second, (second < to).then_some(Fault::Tunnel));
                }
            }
            _ => self.events_of(session, elapsed, None),
        }
    }

    fn events_of(&mut self, session: &Session, second: i64, lateness: Option<Fault>) {
        let warning = self.warning(session, second);
        let mut number = second * 16;
        let due = session.start + second + 1;
        let mut happened = |event: Event| {
            let protocol = event.protocol();
            let key = self.key(protocol, session.number, number);
            number += 1;
            let about = Subject::Happened(second, event);
            let departure = Departure { lateness, ..self.departure(protocol, about, Some(*session), key) };
            self.add(protocol, key, due, 0, departure);
            if self.simulation.is_twice(session, key) {
                self.add(protocol, key, due, 0, Departure { is_copy: true, ..departure });
            }
        };
        trip_events(session, second, &mut happened);
        if let Some(warning) = warning {
            happened(warning);
        }
    }

    /// A warning of the driver's assistant, at one second of some of the minutes in which the vehicle drives.
    fn warning(&self, session: &Session, second: i64) -> Option<Event> {
        let minute = session.key.with(10).at(second / 60);
        let is_now = second % 60 == minute.with(0).between(0, 60)
            && minute.with(1).happens(WARNINGS)
            && (BEFORE..BEFORE + session.drive).contains(&second)
            && self.vehicle.has_adas();
        let kinds = ["FCW", "LDW", "LDW", "PCW", "DMS_DROWSY", "DMS_DISTRACT"];
        let kind = kinds[usize::try_from(minute.with(2).between(0, 6)).unwrap_or(0)];
        is_now.then(|| Event::Adas(kind, minute.with(3).between(1, 4)))
    }

    /// A parked vehicle wakes once an hour.
    pub(crate) fn parked(&mut self) {
        let draws = self.vehicle.draw(Draw::Parked);
        if self.second.rem_euclid(3600) != draws.between(0, 3600) {
            return;
        }
        let hour = draws.at(self.second.div_euclid(3600));
        let mut wakes = vec![Event::Boot];
        if hour.with(0).happens(PARKED_EVENTS) {
            wakes.push(match hour.with(1).between(0, 3) {
                0 => Event::Vehicle("tow", 0.0, 3, false),
                1 => Event::Vehicle("power_cut", 0.0, 3, false),
                _ => Event::Vehicle("low_battery", 11.4, 1, false),
            });
        }
        for event in wakes {
            let protocol = event.protocol();
            let key = self.key(protocol, -1, self.second);
            let departure = self.departure(protocol, Subject::Parked(self.second, event), None, key);
            self.add(protocol, key, self.second, 0, departure);
        }
    }

    /// Commands that are given in this second, and responses to earlier ones.
    pub(crate) fn commands(&mut self) {
        let rates = &self.simulation.rates;
        let answer = |key: Key, usual: (i64, i64), expires: i64, late: i64| {
            if key.with(2).happens(rates.of(Fault::AnswerNever)) {
                None
            } else if key.with(3).happens(rates.of(Fault::AnswerLate)) {
                Some((key.with(4).between(expires + 1, expires + late), Some(Fault::AnswerLate)))
            } else {
                Some((key.with(4).between(usual.0, usual.1), None))
            }
        };
        let block = |draw: Draw, length: i64, probability: f64, until: i64| {
            let block = self.second.div_euclid(length);
            let key = self.vehicle.draw(draw).at(block);
            key.with(0).happens(probability).then(|| (block * length + key.with(1).between(0, until), key))
        };
        // A response comes within the block of its command.
        let control = block(Draw::Control, 600, CONTROLS, 480)
            .map(|(given, key)| (given, key, answer(key, (1, 11), CONTROL_EXPIRES, 60)));
        let upload = block(Draw::Upload, 3600, UPLOADS, 2600)
            .filter(|_| self.vehicle.has_blackbox())
            .map(|(given, key)| (given, key, answer(key, (10, 121), UPLOAD_EXPIRES, 300)));
        let both = [
            (control, Protocol::VehicleControlCommand, Protocol::VehicleControlResponse),
            (upload, Protocol::BlackboxUploadCommand, Protocol::BlackboxUploadResponse),
        ];
        for (command, asks, answers) in both {
            let Some((given, draws, response)) = command else { continue };
            let about = Subject::Command(given, draws);
            if given == self.second {
                let key = self.key(asks, -2, given);
                // A command that is never answered is counted where it is given.
                let lateness = response.is_none().then_some(Fault::AnswerNever);
                let departure = Departure { lateness, ..self.departure(asks, about, None, key) };
                self.add(asks, key, given, 0, departure);
            } else if let Some((_, lateness)) = response.filter(|(after, _)| given + after == self.second) {
                let key = self.key(answers, -2, given);
                let departure = Departure { lateness, ..self.departure(answers, about, None, key) };
                self.add(answers, key, given, 0, departure);
            }
        }
    }
}
