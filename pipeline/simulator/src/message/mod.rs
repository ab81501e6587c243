//! A message as it is sent, and what a pipeline has to make of it.

mod command;
mod envelope;
mod event;
mod measured;
mod position;
mod rows;
mod spoil;

use std::fmt;

use crate::departure::{Departure, Event, Subject};
use crate::fault_set::Faults;
use crate::faults::Fault;
use crate::motion::Motion;
use crate::protocol::Protocol;
use crate::simulation::Simulation;

use self::envelope::{Envelope, FIRMWARE};
use self::rows::{Clock, Rows};
use self::spoil::Spoiled;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its protocol, also if the message itself does not say it.
    pub protocol: Protocol,
    /// The `id` of its vehicle, which is the key of the record.
    pub id: u64,
    /// The timestamp of the record, in milliseconds since the Unix epoch.
    pub at: i64,
    /// What is sent. `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Whether the value is one JSON value on one line.
    pub is_json: bool,
    /// Its `message_id`.
    pub message_id: String,
    /// The rows that a pipeline has to make of it.
    pub rows: Vec<RowId>,
    /// How many dead letters a pipeline has to make of it: of the whole message, or of elements of its list.
    pub dead_letters: u64,
    /// Whether its rows are such that DynamoDB cannot hold them. They become dead letters there, and are stored in S3.
    pub is_refused_by_dynamodb: bool,
    /// Whether the same message was sent before.
    pub is_copy: bool,
    /// Its faults, with what [`FAULTS`](crate::FAULTS) says that is counted.
    pub faults: Vec<(Fault, u64)>,
    /// Those of its faults that all of its rows have.
    pub of_all_rows: Faults,
}

/// Whose dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Letters {
    /// Those of the sink that writes to DynamoDB.
    Table,
    /// Those of the sink that writes raw objects.
    Raw,
}

/// What tells a row of a message from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowId {
    /// The time that the row says, in milliseconds since the Unix epoch; that of the message, if the row has none.
    pub millis: i64,
    /// Its `seq`; a message that is one row has none.
    pub seq: Option<u32>,
    /// Whether the same row is in the message a second time.
    pub is_repeated: bool,
    /// The faults that this row has and others of its message may not have.
    pub faults: Faults,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {} of vehicle {}", self.message_id, self.id)
    }
}

impl Message {
    /// How many dead letters the sink of DynamoDB has to make of it, or that of raw objects.
    pub fn letters(&self, of: Letters) -> u64 {
        let refused = if of == Letters::Table && self.is_refused_by_dynamodb { self.rows.len() as u64 } else { 0 };
        self.dead_letters + refused
    }

    /// The faults that a row of this message shows. A wrong clock hides all others, because the row is among those of
    /// another year; times that are cut to the minute hide what is wrong with seconds.
    pub fn shown(&self, row: &RowId) -> Faults {
        let all = self.of_all_rows.union(row.faults);
        if all.has(Fault::ClockWrong) {
            return Faults::default().with(Fault::ClockWrong);
        }
        if all.has(Fault::MinuteTimes) {
            return all.without(Fault::MissingSeconds).without(Fault::SameSecond);
        }
        all
    }
}

/// Adds to the count of a fault.
fn count(faults: &mut Vec<(Fault, u64)>, fault: Fault, more: u64) {
    match faults.iter_mut().find(|(counted, _)| *counted == fault) {
        Some((_, count)) => *count += more,
        None => faults.push((fault, more)),
    }
}

impl Simulation {
    /// Writes a message. The same departure always gives the same bytes.
    pub fn message(&self, departure: &Departure) -> Message {
        let clock = Clock::of(self, departure);
        let envelope = Envelope::of(self, departure, clock);
        let list = departure.protocol.has_list().then(|| self.list(departure, clock));
        let (rows, list, row_faults) = list.map_or_else(
            || {
                let faults = Faults::default();
                let row = RowId { millis: envelope.messaged_at, seq: None, is_repeated: false, faults };
                (vec![row], Vec::new(), Vec::new())
            },
            Rows::end,
        );
        let spoiling = spoil::choose(&self.rates, departure);
        let text = envelope.write(departure, rows.len(), departure.protocol.has_list().then_some(&list), spoiling);
        let spoiled = Spoiled::of(text, spoiling, departure.key, rows);
        let mut faults = if spoiling.is_some_and(spoil::hides_rows) { Vec::new() } else { row_faults };
        let of_message = spoiling.map(|fault| (fault, spoiled.count));
        let one = |fault: Fault| (fault, 1);
        let of_message: Vec<(Fault, u64)> = of_message
            .into_iter()
            .chain(departure.lateness.map(one))
            .chain(clock.fault().map(one))
            .chain(clock.cuts().then_some(one(Fault::MinuteTimes)))
            .chain(envelope.is_updated().then_some(one(Fault::FirmwareUpdate)))
            .chain(departure.is_copy.then_some(one(Fault::Twice)))
            .chain(departure.is_extra.then_some(one(Fault::Hot)))
            .collect();
        let of_all_rows = of_message.iter().fold(Faults::default(), |set, (fault, _)| set.with(*fault));
        faults.extend(of_message);
        Message {
            protocol: departure.protocol,
            id: departure.vehicle.id(),
            at: departure.at,
            value: spoiled.value,
            is_json: spoiled.is_json,
            message_id: envelope.message_id,
            rows: spoiled.rows,
            dead_letters: spoiled.dead_letters,
            is_refused_by_dynamodb: spoiled.is_refused_by_dynamodb,
            is_copy: departure.is_copy,
            faults,
            of_all_rows,
        }
    }

    /// The list of measurements.
    fn list(&self, departure: &Departure, clock: Clock) -> Rows<'_> {
        let mut rows = Rows::begin(&self.rates, departure.key, clock);
        let motion = departure.session.as_ref().map(|session| Motion::new(&departure.vehicle, session, self.rhythm));
        let updated = envelope::is_updated(self, departure);
        let firmware = FIRMWARE[usize::from(updated)];
        match (departure.about, &motion, &departure.session) {
            (Subject::Period(number), Some(motion), Some(session)) => {
                let period = measured::Period { departure, session, motion, number, updated };
                period.write(&mut rows, &self.rates);
            }
            (Subject::Happened(second, event), _, Some(session)) => {
                let millis = (session.start + second) * 1000;
                event::write(&mut rows, departure, motion.as_ref(), second, millis, event, firmware);
            }
            (Subject::Parked(second, event), ..) => {
                event::write(&mut rows, departure, None, 0, second * 1000, event, firmware);
            }
            // Commands have no list, and only what happens on a trip has a session.
            _ => {}
        }
        rows
    }
}

/// Whether an event is the boot of a device.
const fn is_boot(about: Subject) -> bool {
    matches!(about, Subject::Happened(_, Event::Boot) | Subject::Parked(_, Event::Boot))
}
