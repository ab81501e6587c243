//! What is wrong with the positions and the odometer of a trip.

use crate::faults::Fault;
use crate::motion::steps;
use crate::random::Key;
use crate::rates::Rates;
use crate::timetable::Session;

/// What is wrong with the positions and the odometer of a trip.
pub(super) struct PositionFaults {
    /// Seconds from the begin of the trip without a fix.
    no_fix: i64,
    /// Seconds after those at latitude 0 and longitude 0.
    zero: i64,
    jump: f64,
    odometer: Option<i64>,
    half: i64,
}

impl PositionFaults {
    pub(super) fn of(session: &Session, rates: &Rates) -> Self {
        let key = session.key;
        #[expect(clippy::cast_precision_loss, reason = "less than an hour")]
        let no_fix = steps(key.with(34).share() * 2.0 * rates.of(Fault::NoFix) * session.length as f64, 1.0);
        let zero = if key.with(35).happens(rates.of(Fault::ZeroPosition)) { key.with(36).between(1, 6) } else { 0 };
        let odometer = key.with(37).happens(rates.of(Fault::Odometer)).then(|| key.with(38).between(0, 3));
        Self { no_fix, zero, jump: rates.of(Fault::Jump), odometer, half: session.length / 2 }
    }

    pub(super) fn position(&self, second: i64, key: Key) -> Option<Fault> {
        if second < self.no_fix {
            Some(Fault::NoFix)
        } else if second < self.no_fix + self.zero {
            Some(Fault::ZeroPosition)
        } else {
            key.with(81).at(second).happens(self.jump).then_some(Fault::Jump)
        }
    }

    /// What a wrong odometer shows.
    pub(super) fn odometer(&self, second: i64, right: i64) -> Option<i64> {
        match self.odometer? {
            0 => Some(2_312_261_923),
            1 => Some(0),
            _ => (second > self.half).then_some((right - 20_000).max(0)),
        }
    }
}
