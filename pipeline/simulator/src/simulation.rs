//! What leaves a vehicle in a second: the core of the simulator, a function of the fleet, the vehicle and the second.
//!
//! Nothing is remembered from one second to the next. A message that is late is found by asking which of those that were
//! due before leave now, so a simulation can begin at any second and goes on as if it had always been running.

use crate::faults::Fault;
use crate::protocol::{Protocol, Protocols};
use crate::random::Key;
use crate::rates::Rates;
use crate::timetable::{BEFORE, CHARGING, LATEST, Rhythm, Session, session};
use crate::track::recorded;
use crate::vehicle::{Draw, Fleet, Vehicle};

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
/// The second of a trip at which the device has booted.
pub(crate) const BOOT: i64 = 4;
/// The share of trips with a crash, and of trips in which a trouble code appears.
const CRASHES: f64 = 0.0005;
const TROUBLE: f64 = 0.02;
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
    fn share_in(session: &Session, rate: f64, fault: Fault) -> f64 {
        let share = session.key.with(100 + fault as u64).share();
        rate * 5.0 * share * share * share * share
    }

    /// By how many seconds a message is late that is due in this second of its trip, and why.
    fn lateness(&self, session: &Session, protocol: Protocol, due: i64, key: Key) -> (i64, Option<Fault>) {
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
    fn is_twice(&self, session: &Session, key: Key) -> bool {
        let twice = self.rates.of(Fault::Twice);
        twice > 0.0 && key.with(4).happens(Self::share_in(session, twice, Fault::Twice))
    }
}

struct Departing<'a> {
    simulation: &'a Simulation,
    vehicle: &'a Vehicle,
    second: i64,
    out: &'a mut Vec<Departure>,
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
        self.out.push(Departure { at, sent: at - late * 1000, ..departure });
    }

    fn departure(&self, protocol: Protocol, about: Subject, session: Option<Session>, key: Key) -> Departure {
        let vehicle = *self.vehicle;
        Departure { vehicle, protocol, at: 0, sent: 0, is_copy: false, lateness: None, about, session, key }
    }

    /// The batches that leave `elapsed` seconds after the trip began: those that are due, and those that were due before
    /// and are late. Looking back from the newest gives the order in which a device empties its memory.
    fn periods(&mut self, session: &Session, elapsed: i64) {
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
    fn events(&mut self, session: &Session, elapsed: i64) {
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
    fn parked(&mut self) {
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
    fn commands(&mut self) {
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

/// What happens in a second of a trip, whatever the vehicle is.
fn trip_events(session: &Session, second: i64, happened: &mut impl FnMut(Event)) {
    let key = session.key;
    let plain = |kind| Event::Vehicle(kind, 0.0, 0, false);
    match second {
        0 => happened(plain("ignition_on")),
        BOOT => happened(Event::Boot),
        BEFORE => happened(plain("trip_start")),
        30 if session.first_of_day => happened(Event::Diagnostics(false)),
        _ if second == BEFORE + session.drive => {
            if !session.outbound {
                happened(Event::Vehicle("site_arrive", 0.0, 0, true));
            }
            happened(plain("trip_end"));
        }
        _ if second == session.length - 1 => happened(plain("ignition_off")),
        _ => {}
    }
    // The recorded seconds that this second covers, which are more or fewer than one.
    let track = &recorded()[session.track];
    #[expect(clippy::cast_precision_loss, reason = "within a trip")]
    let recorded_at = |second: i64| (second - BEFORE) as f64 * session.faster;
    let (from, to) = (recorded_at(second), recorded_at(second + 1));
    if from < 0.0 {
        return;
    }
    for event in track.happenings.iter().skip(track.happenings.partition_point(|event| event.second < from)) {
        if event.second >= to {
            break;
        }
        happened(Event::Vehicle(event.kind, event.value * session.faster.powi(event.power), event.severity, false));
    }
    let (leaves, arrives) = track.near_home();
    if session.outbound && (from..to).contains(&leaves) {
        happened(Event::Vehicle("site_depart", 0.0, 0, true));
    } else if !session.outbound && (from..to).contains(&arrives) {
        happened(Event::Vehicle("site_enter", 0.0, 0, true));
    }
    if key.with(13).happens(TROUBLE) && second == key.with(14).between(BEFORE, BEFORE + session.drive) {
        happened(Event::Diagnostics(true));
    }
    if key.with(15).happens(CRASHES) && second == key.with(16).between(BEFORE + 60, BEFORE + session.drive) {
        happened(Event::Crash);
    }
}

impl Event {
    const fn protocol(&self) -> Protocol {
        match self {
            Self::Boot => Protocol::DeviceHeartbeat,
            Self::Diagnostics(_) => Protocol::VehicleDiagnostics,
            Self::Vehicle(..) => Protocol::VehicleEvent,
            Self::Adas(..) => Protocol::AdasEvent,
            Self::Crash => Protocol::VehicleCrash,
        }
    }
}
