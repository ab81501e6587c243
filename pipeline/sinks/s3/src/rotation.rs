//! The rules by which a flush ends, and the word for each that log and metrics use.

use std::time::Duration;

use fms_connect::{Demand, Tick};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The parts after which an object ends. S3 takes 10,000 parts in an upload; the margin is for what one message and the
/// end of the compressor can add.
const PARTS: usize = 9_000;

/// The reason why a flush ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
pub enum FlushReason {
    /// An object has the configured number of rows.
    #[strum(serialize = "flush.size")]
    FlushSize,
    /// The event time of the next record is too far from that of the first row in its object.
    #[strum(serialize = "rotate.interval.ms")]
    Interval,
    /// The wall clock has passed a multiple of the interval.
    #[strum(serialize = "rotate.schedule.interval.ms")]
    Schedule,
    /// No record has come for the configured time.
    #[strum(serialize = "rotate.idle.ms")]
    Idle,
    /// An object is near S3's limit of 10,000 parts.
    #[strum(serialize = "s3.part.size")]
    Parts,
    /// The worker is over `buffer.memory`.
    #[strum(serialize = "buffer.memory")]
    Memory,
    /// The connector is paused.
    #[strum(serialize = "pause")]
    Pause,
    /// The task is stopping.
    #[strum(serialize = "shutdown")]
    Shutdown,
    /// The intent of a previous owner says so.
    #[strum(serialize = "replay")]
    Replay,
    /// There are records without rows, so only their offset has to be committed.
    #[strum(serialize = "offset.flush.interval.ms")]
    Offset,
}

impl FlushReason {
    /// The reason as log and metrics name it.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The settings that decide when a flush ends. They affect names and bytes only through that end, which the intent
/// keeps.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// `flush.size`: the rows after which an object is flushed. It can have more, because a message is never divided.
    pub flush_size: u64,
    /// `rotate.interval.ms`.
    pub interval: Option<i64>,
    /// `rotate.schedule.interval.ms` in `timezone`.
    pub schedule: Option<Schedule>,
    /// `rotate.idle.ms`.
    pub idle: Option<Duration>,
}

/// Moments of the wall clock: every local midnight, and the multiples of an interval since the last one.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The interval in milliseconds, more than 0.
    pub interval: i64,
    /// `timezone`.
    pub zone: TimeZone,
}

impl Schedule {
    /// The first moment after `wall`, both in milliseconds since 1970. `None` past the end of the calendar.
    ///
    /// A day begins at local midnight, whatever the length of the day before was: clocks are set, and not every
    /// interval divides a day.
    pub fn after(&self, wall: i64) -> Option<i64> {
        let today = Timestamp::from_millisecond(wall).ok()?.to_zoned(self.zone.clone()).start_of_day().ok()?;
        let midnight = today.timestamp().as_millisecond();
        let passed = (wall - midnight).div_euclid(self.interval);
        let multiple =
            passed.checked_add(1)?.checked_mul(self.interval).and_then(|passed| midnight.checked_add(passed));
        let tomorrow = today.tomorrow().and_then(|tomorrow| tomorrow.start_of_day());
        let tomorrow = tomorrow.ok().map(|midnight| midnight.timestamp().as_millisecond());
        multiple.into_iter().chain(tomorrow).min()
    }

    /// The moment at which the buffered rows are flushed. It is the one that was `set`, unless the clock was set back
    /// so far that it is more than an interval away.
    pub fn moment(&self, set: Option<i64>, wall: i64) -> Option<i64> {
        set.filter(|at| at.saturating_sub(wall) <= self.interval).or_else(|| self.after(wall))
    }
}

/// What a partition has buffered.
#[derive(Debug, Clone, Copy)]
pub struct Buffered {
    /// Whether there are rows.
    pub rows: bool,
    /// The moment at which the schedule ends it.
    pub scheduled: Option<i64>,
    /// Whether parts are being uploaded, whose memory is free when that is done.
    pub uploading: bool,
}

impl Rotation {
    /// Whether a flush ends before a record that has a row of event time `next`. `first` is the event time of the first
    /// row in the object that the row would go to.
    ///
    /// This depends on records alone. Rows that are older than the first one never end a flush: late rows join their
    /// object.
    pub fn ends_before(&self, first: Option<i64>, next: Option<i64>) -> bool {
        match (self.interval, first, next) {
            (Some(interval), Some(first), Some(next)) => next.saturating_sub(first) >= interval,
            _ => false,
        }
    }

    /// Whether a flush ends after a message, when an object has this many rows and full parts then.
    pub fn ends_after(&self, rows: u64, parts: usize) -> Option<FlushReason> {
        if rows >= self.flush_size {
            Some(FlushReason::FlushSize)
        } else if parts >= PARTS {
            Some(FlushReason::Parts)
        } else {
            None
        }
    }

    /// Whether the flush of what is buffered ends now.
    pub fn ends_now(&self, buffered: Buffered, tick: &Tick) -> Option<FlushReason> {
        if !buffered.rows {
            return match tick.demand {
                Demand::Shutdown => Some(FlushReason::Shutdown),
                Demand::Pause => Some(FlushReason::Pause),
                Demand::Commit => Some(FlushReason::Offset),
                // At the partition's end, no later rows will take the offset with them.
                Demand::Settings | Demand::Memory => tick.idle.is_some().then_some(FlushReason::Offset),
            };
        }
        if buffered.scheduled.is_some_and(|at| tick.wall_millis >= at) {
            return Some(FlushReason::Schedule);
        }
        if let (Some(limit), Some(idle)) = (self.idle, tick.idle)
            && idle >= limit
        {
            return Some(FlushReason::Idle);
        }
        match tick.demand {
            // The memory of parts that are being uploaded will be free without ending the object, which would only make
            // it smaller.
            Demand::Memory if buffered.uploading => None,
            Demand::Memory => Some(FlushReason::Memory),
            Demand::Shutdown => Some(FlushReason::Shutdown),
            Demand::Pause => Some(FlushReason::Pause),
            Demand::Settings | Demand::Commit => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000;

    fn rotation() -> Rotation {
        Rotation { flush_size: 10, interval: Some(HOUR), schedule: None, idle: Some(Duration::from_secs(5)) }
    }

    fn tick(demand: Demand, idle: Option<u64>) -> Tick {
        Tick { wall_millis: 1000, idle: idle.map(Duration::from_secs), demand, uncommitted: None }
    }

    const ROWS: Buffered = Buffered { rows: true, scheduled: None, uploading: false };
    const OFFSET: Buffered = Buffered { rows: false, scheduled: None, uploading: false };

    /// The interval counts forward from the object's first row; late rows and new objects do not end a flush.
    #[test]
    fn interval() {
        for (first, next, ends) in [
            (Some(0), Some(HOUR), true),
            (Some(0), Some(HOUR - 1), false),
            (Some(HOUR), Some(-HOUR), false),
            (Some(i64::MIN), Some(i64::MAX), true),
            (None, Some(HOUR), false),
        ] {
            assert_eq!(rotation().ends_before(first, next), ends, "{first:?} {next:?}");
        }
        assert!(!Rotation { interval: None, ..rotation() }.ends_before(Some(0), Some(HOUR)));
    }

    #[test]
    fn rows_and_parts() {
        assert_eq!(rotation().ends_after(9, 8_999), None);
        assert_eq!(rotation().ends_after(10, 0), Some(FlushReason::FlushSize));
        assert_eq!(rotation().ends_after(1, 9_000), Some(FlushReason::Parts));
    }

    /// `Commit` never ends what has rows; memory and shutdown do; idle does after its time.
    #[test]
    fn demands() {
        for (buffered, demand, idle, expected) in [
            (ROWS, Demand::Settings, None, None),
            (ROWS, Demand::Settings, Some(4), None),
            (ROWS, Demand::Settings, Some(5), Some(FlushReason::Idle)),
            (ROWS, Demand::Commit, Some(0), None),
            (ROWS, Demand::Memory, None, Some(FlushReason::Memory)),
            (Buffered { uploading: true, ..ROWS }, Demand::Memory, None, None),
            (ROWS, Demand::Shutdown, None, Some(FlushReason::Shutdown)),
            (ROWS, Demand::Pause, None, Some(FlushReason::Pause)),
            (Buffered { scheduled: Some(1000), ..ROWS }, Demand::Settings, None, Some(FlushReason::Schedule)),
            (Buffered { scheduled: Some(1001), ..ROWS }, Demand::Settings, None, None),
            (OFFSET, Demand::Settings, None, None),
            (OFFSET, Demand::Settings, Some(0), Some(FlushReason::Offset)),
            (OFFSET, Demand::Commit, None, Some(FlushReason::Offset)),
            (OFFSET, Demand::Memory, None, None),
            (OFFSET, Demand::Shutdown, None, Some(FlushReason::Shutdown)),
            (OFFSET, Demand::Pause, None, Some(FlushReason::Pause)),
        ] {
            let actual = rotation().ends_now(buffered, &tick(demand, idle));
            assert_eq!(actual, expected, "{buffered:?} {demand:?} {idle:?}");
        }
    }

    /// Milliseconds of a time as jiff reads it.
    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().expect("a time").as_millisecond()
    }

    fn schedule(zone: &str, interval: i64) -> Schedule {
        Schedule { interval, zone: TimeZone::get(zone).expect("a known zone") }
    }

    /// Moments are local midnights and the multiples of the interval since the last one, also on the days on which
    /// clocks are set.
    #[test]
    fn moments() {
        for (zone, interval, now, next) in [
            ("Asia/Tokyo", HOUR, "1970-01-01T00:00:00Z", "1970-01-01T01:00:00Z"),
            ("Asia/Tokyo", HOUR, "1970-01-01T00:59:59.999Z", "1970-01-01T01:00:00Z"),
            ("Asia/Tokyo", 24 * HOUR, "1970-01-01T00:00:00Z", "1970-01-02T00:00:00+09:00"),
            ("UTC", 24 * HOUR, "2023-01-01T23:59:59.999Z", "2023-01-02T00:00:00Z"),
            // An interval that does not divide a day begins anew each midnight.
            ("UTC", 7 * HOUR, "2023-01-01T20:00:00Z", "2023-01-01T21:00:00Z"),
            ("UTC", 7 * HOUR, "2023-01-01T21:00:00Z", "2023-01-02T00:00:00Z"),
            ("UTC", 7 * HOUR, "2023-01-02T01:00:00Z", "2023-01-02T07:00:00Z"),
            // More than a day is a day.
            ("UTC", 100 * HOUR, "2023-01-01T21:00:00Z", "2023-01-02T00:00:00Z"),
            ("UTC", i64::MAX, "2023-01-01T21:00:00Z", "2023-01-02T00:00:00Z"),
            // Spring: the day has 23 hours, 02:00 to 03:00 is not there.
            ("Europe/Berlin", 24 * HOUR, "2023-03-26T00:00:00+01:00", "2023-03-27T00:00:00+02:00"),
            ("Europe/Berlin", 24 * HOUR, "2023-03-26T12:00:00+02:00", "2023-03-27T00:00:00+02:00"),
            ("Europe/Berlin", HOUR, "2023-03-26T01:30:00+01:00", "2023-03-26T03:00:00+02:00"),
            ("Europe/Berlin", 12 * HOUR, "2023-03-26T13:00:00+02:00", "2023-03-27T00:00:00+02:00"),
            // Autumn: the day has 25 hours, 02:00 to 03:00 comes twice.
            ("Europe/Berlin", 24 * HOUR, "2023-10-29T00:00:00+02:00", "2023-10-29T23:00:00+01:00"),
            ("Europe/Berlin", 24 * HOUR, "2023-10-29T23:00:00+01:00", "2023-10-30T00:00:00+01:00"),
            ("Europe/Berlin", HOUR, "2023-10-29T02:30:00+02:00", "2023-10-29T02:00:00+01:00"),
            ("Europe/Berlin", HOUR, "2023-10-29T23:30:00+01:00", "2023-10-30T00:00:00+01:00"),
            // Clocks are set at midnight: the day begins at 01:00.
            ("America/Sao_Paulo", 24 * HOUR, "2018-11-03T12:00:00-03:00", "2018-11-04T01:00:00-02:00"),
        ] {
            let after = schedule(zone, interval).after(at(now));
            assert_eq!(after, Some(at(next)), "{zone} {interval} {now}");
        }
    }

    /// What is buffered keeps its moment while time goes on, and gets another when the clock is set back over more than
    /// an interval.
    #[test]
    fn clocks_that_are_set_back() {
        let hourly = schedule("UTC", HOUR);
        let (now, moment) = (at("2023-01-01T10:30:00Z"), at("2023-01-01T11:00:00Z"));
        for (set, wall, expected) in [
            (None, now, moment),
            (Some(moment), now, moment),
            (Some(moment), moment, moment),
            (Some(moment), moment + 5 * HOUR, moment),
            (Some(moment), now - HOUR / 2, moment),
            (Some(moment), now - HOUR, moment - HOUR),
            (Some(moment), now - 100 * HOUR, moment - 100 * HOUR),
        ] {
            assert_eq!(hourly.moment(set, wall), Some(expected), "{set:?} {wall}");
        }
    }

    proptest! {
        /// The next moment is after now, and neither an interval nor a midnight comes before it.
        #[test]
        fn a_moment_is_never_far(
            zone in proptest::sample::select(vec!["UTC", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kolkata"]),
            interval in prop_oneof![1..200 * HOUR, Just(24 * HOUR), Just(i64::MAX)],
            wall in -3_000_000_000_000..5_000_000_000_000_i64,
        ) {
            let schedule = schedule(zone, interval);
            let after = schedule.after(wall).expect("within the calendar");
            prop_assert!(after > wall && after - wall <= interval, "{after}");
            let day = |millis| Timestamp::from_millisecond(millis).expect("in range").to_zoned(schedule.zone.clone()).date();
            prop_assert_eq!(day(wall), day(after - 1), "a midnight is between");
            prop_assert_eq!(schedule.moment(Some(after), wall), Some(after));
        }
    }
}
