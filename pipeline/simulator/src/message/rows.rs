//! The list of measurements of a message, row by row, with the faults of rows, and the clock of the device.

use super::{RowId, count};
use crate::departure::Departure;
use crate::fault_set::Faults;
use crate::faults::Fault;
use crate::json::{Object, Odd};
use crate::random::Key;
use crate::rates::Rates;
use crate::simulation::Simulation;
use crate::vehicle::Draw;

/// The clock of a device: what it says when it is a given time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// By how many milliseconds it is fast.
    fast: i64,
    fault: Option<Fault>,
    /// Whether times are cut to the minute.
    cuts: bool,
}

/// Weeks until the number of a GPS week begins anew, in milliseconds.
const ROLLOVER: i64 = 1024 * 7 * 86_400_000;

impl Clock {
    pub(super) fn of(simulation: &Simulation, departure: &Departure) -> Self {
        let rates = &simulation.rates;
        // A command comes from a server.
        let cuts = departure.protocol.names().2 != "command"
            && departure.vehicle.draw(Draw::Fault).with(0).happens(rates.of(Fault::MinuteTimes));
        let right = Self { fast: 0, fault: None, cuts };
        let Some(session) = departure.session else { return right };
        let key = session.key;
        if key.with(30).happens(rates.of(Fault::ClockWrong)) {
            // Such a clock begins to run at a time of its own when the device boots.
            let boots_at = match key.with(31).between(0, 4) {
                0 => 0,
                1 => session.start * 1000 - ROLLOVER,
                2 => 3_471_724_800_000,
                _ => 3_913_056_000_000,
            };
            return Self { fast: boots_at - session.start * 1000, fault: Some(Fault::ClockWrong), ..right };
        }
        if key.with(32).happens(rates.of(Fault::ClockSkew)) {
            return Self { fast: key.with(33).between(4000, 8001), fault: Some(Fault::ClockSkew), ..right };
        }
        right
    }

    /// What the clock says at this time, in milliseconds since the Unix epoch.
    pub(super) const fn says(self, millis: i64) -> i64 {
        let says = millis + self.fast;
        if self.cuts { says - says.rem_euclid(60_000) } else { says }
    }

    pub(super) const fn fault(self) -> Option<Fault> {
        self.fault
    }

    pub(super) const fn cuts(self) -> bool {
        self.cuts
    }
}

/// The list that is being written.
pub(super) struct Rows<'r> {
    rates: &'r Rates,
    key: Key,
    clock: Clock,
    json: Vec<u8>,
    ids: Vec<RowId>,
    faults: Vec<(Fault, u64)>,
    /// Those of the row that is written next.
    of_next: Faults,
    seq: u32,
}

impl<'r> Rows<'r> {
    pub(super) fn begin(rates: &'r Rates, key: Key, clock: Clock) -> Self {
        let mut json = Vec::with_capacity(16 * 1024);
        json.push(b'[');
        let (ids, faults) = (Vec::with_capacity(60), Vec::new());
        Self { rates, key: key.with(40), clock, json, ids, faults, of_next: Faults::default(), seq: 0 }
    }

    /// Writes the row of a right time.
    pub(super) fn row(&mut self, millis: i64, write: impl FnOnce(&mut Object<'_>)) {
        let begin = self.json.len();
        if self.seq > 0 {
            self.json.push(b',');
        }
        let key = self.key.with(u64::from(self.seq));
        let odd = self.odd(key);
        let millis = self.clock.says(millis);
        let mut object = Object::begin(&mut self.json);
        object.time("timestamp_iso", millis).integer("seq", i64::from(self.seq));
        object.set_odd(odd.map(|(odd, _)| odd));
        write(&mut object);
        let is_written = !object.is_odd();
        drop(object);
        if let Some((_, fault)) = odd.filter(|_| is_written) {
            self.count(fault);
        }
        let faults = std::mem::take(&mut self.of_next);
        let id = RowId { millis, seq: Some(self.seq), is_repeated: false, faults };
        self.ids.push(id);
        if self.seq == 0 && self.key.with(1 << 40).happens(self.rates.of(Fault::SameRecordTwice)) {
            self.json.push(b',');
            self.json.extend_from_within(begin..self.json.len() - 1);
            let faults = faults.with(Fault::SameRecordTwice);
            self.ids.push(RowId { is_repeated: true, faults, ..id });
            count(&mut self.faults, Fault::SameRecordTwice, 1);
        }
        self.seq += 1;
    }

    /// Writes a row for each second from the first to before the last, in seconds of a trip that began at `start`.
    pub(super) fn seconds(
        &mut self,
        start: i64,
        seconds: std::ops::Range<i64>,
        mut write: impl FnMut(&mut Self, i64, i64),
    ) {
        let (missing, same) = (self.rates.of(Fault::MissingSeconds), self.rates.of(Fault::SameSecond));
        let first = seconds.start;
        let gaps = self.key.with(1 << 41);
        // The second that the last row says, and whether another one says it too.
        let mut before: Option<(i64, bool)> = None;
        for second in seconds {
            // A gap of 1 to 3 seconds, 2 at the mean, begins as often as half of the missing seconds.
            let is_missing = missing > 0.0
                && (0..3).any(|before| {
                    let gap = gaps.at(second - before);
                    second - before >= first && gap.happens(missing / 2.0) && gap.with(0).between(1, 4) > before
                });
            if is_missing {
                count(&mut self.faults, Fault::MissingSeconds, 1);
                continue;
            }
            let is_same = same > 0.0 && second > first && gaps.with(1).at(second).happens(same);
            if is_same {
                count(&mut self.faults, Fault::SameSecond, 1);
            }
            let says = second - i64::from(is_same);
            // What the row shows: that seconds before it are missing, but for one that has gone to the second before it;
            // and that its second is there already.
            let gap = says - before.map_or(first, |(before, _)| before + 1);
            if gap > i64::from(before.is_some_and(|(_, is_double)| is_double)) {
                self.of_next = self.of_next.with(Fault::MissingSeconds);
            }
            let is_double = before.is_some_and(|(before, _)| before == says);
            if is_double {
                self.of_next = self.of_next.with(Fault::SameSecond);
            }
            before = Some((says, is_double));
            write(self, second, (start + says) * 1000);
        }
    }

    /// Counts a fault of the row that is written next.
    pub(super) fn count(&mut self, fault: Fault) {
        count(&mut self.faults, fault, 1);
        self.of_next = self.of_next.with(fault);
    }

    /// The rows, the list as JSON text, and the faults in it.
    pub(super) fn end(mut self) -> (Vec<RowId>, Vec<u8>, Vec<(Fault, u64)>) {
        self.json.push(b']');
        (self.ids, self.json, self.faults)
    }

    fn odd(&self, key: Key) -> Option<(Odd, Fault)> {
        let (as_text, as_number) = (self.rates.of(Fault::NumberAsText), self.rates.of(Fault::TextAsNumber));
        if as_text + as_number == 0.0 {
            return None;
        }
        let share = key.share();
        if share < as_text {
            Some((Odd::NumberAsText(u8::try_from(key.with(0).between(0, 2)).unwrap_or(0)), Fault::NumberAsText))
        } else if share < as_text + as_number {
            Some((Odd::TextAsNumber, Fault::TextAsNumber))
        } else {
            None
        }
    }
}
