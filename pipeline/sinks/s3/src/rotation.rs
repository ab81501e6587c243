//! When a flush ends: the rules, and the one word that log and metrics use for each.

use std::time::Duration;

use fms_connect::{Demand, Tick};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// S3 takes 10,000 parts an upload; the margin is for what one message and a compressor's end can add.
const PARTS: usize = 9_000;

/// Why a flush ends where it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// An object has its rows.
    FlushSize,
    /// The next record's event time is too far from the first one's of its object.
    Interval,
    /// The wall clock has passed a multiple of the interval.
    Schedule,
    /// No record came for that long.
    Idle,
    /// An object is near S3's limit of 10,000 parts.
    Parts,
    /// The worker is over `buffer.memory`.
    Memory,
    /// The task stops.
    Shutdown,
    /// A previous owner's intent says so.
    Replay,
    /// Records without rows: only an offset to advance.
    Offset,
}

impl Reason {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FlushSize => "flush.size",
            Self::Interval => "rotate.interval.ms",
            Self::Schedule => "rotate.schedule.interval.ms",
            Self::Idle => "rotate.idle.ms",
            Self::Parts => "s3.part.size",
            Self::Memory => "buffer.memory",
            Self::Shutdown => "shutdown",
            Self::Replay => "replay",
            Self::Offset => "offset.flush.interval.ms",
        }
    }
}

/// The settings that say when a flush ends. None of them affects names or bytes but through that end, which the intent keeps.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// `flush.size`: rows an object has before it is flushed, more only by the rest of its last message.
    pub flush_size: u64,
    /// `rotate.interval.ms`.
    pub interval: Option<i64>,
    /// `rotate.schedule.interval.ms` in `timezone`.
    pub schedule: Option<Schedule>,
    /// `rotate.idle.ms`.
    pub idle: Option<Duration>,
}

/// Wall-clock moments: the multiples of an interval since local midnight.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Milliseconds, more than 0.
    pub interval: i64,
    /// `timezone`.
    pub zone: TimeZone,
}

impl Schedule {
    /// The first moment after `wall`, both in milliseconds since 1970; `None` past the calendar's end.
    pub fn after(&self, wall: i64) -> Option<i64> {
        let now = Timestamp::from_millisecond(wall).ok()?;
        let midnight = now.to_zoned(self.zone.clone()).start_of_day().ok()?.timestamp().as_millisecond();
        let passed = (wall - midnight).div_euclid(self.interval);
        midnight.checked_add(passed.checked_add(1)?.checked_mul(self.interval)?)
    }
}

/// What is buffered.
#[derive(Debug, Clone, Copy)]
pub struct Buffered {
    /// Whether it has rows.
    pub rows: bool,
    /// The moment of the schedule at which it ends.
    pub scheduled: Option<i64>,
    /// Whether uploads are under way, which give memory back when they end.
    pub uploading: bool,
}

impl Rotation {
    /// Whether a flush ends before a record with a row of event time `next`, for whose object the first row's is `first`.
    ///
    /// Depends on records alone. Rows older than the first never end a flush: late rows join their object.
    pub fn ends_before(&self, first: Option<i64>, next: Option<i64>) -> bool {
        match (self.interval, first, next) {
            (Some(interval), Some(first), Some(next)) => next.saturating_sub(first) >= interval,
            _ => false,
        }
    }

    /// Whether a flush ends after a message that leaves one of its objects with so many rows and full parts.
    pub fn ends_after(&self, rows: u64, parts: usize) -> Option<Reason> {
        if rows >= self.flush_size {
            Some(Reason::FlushSize)
        } else if parts >= PARTS {
            Some(Reason::Parts)
        } else {
            None
        }
    }

    /// Whether what is buffered ends now.
    pub fn ends_now(&self, buffered: Buffered, tick: &Tick) -> Option<Reason> {
        if !buffered.rows {
            return match tick.demand {
                Demand::Shutdown => Some(Reason::Shutdown),
                Demand::Commit => Some(Reason::Offset),
                // At the end of the partition nothing more will come along to take the offset with it.
                Demand::Settings | Demand::Memory => tick.idle.is_some().then_some(Reason::Offset),
            };
        }
        if buffered.scheduled.is_some_and(|at| tick.wall_millis >= at) {
            return Some(Reason::Schedule);
        }
        if let (Some(limit), Some(idle)) = (self.idle, tick.idle)
            && idle >= limit
        {
            return Some(Reason::Idle);
        }
        match tick.demand {
            // Parts that are being uploaded give their memory back by themselves; ending the object would only make it smaller.
            Demand::Memory if buffered.uploading => None,
            Demand::Memory => Some(Reason::Memory),
            Demand::Shutdown => Some(Reason::Shutdown),
            Demand::Settings | Demand::Commit => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn rotation() -> Rotation {
        Rotation { flush_size: 10, interval: Some(HOUR), schedule: None, idle: Some(Duration::from_secs(5)) }
    }

    fn tick(demand: Demand, idle: Option<u64>) -> Tick {
        Tick { wall_millis: 1000, idle: idle.map(Duration::from_secs), demand }
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
        assert_eq!(rotation().ends_after(10, 0), Some(Reason::FlushSize));
        assert_eq!(rotation().ends_after(1, 9_000), Some(Reason::Parts));
    }

    /// `Commit` never ends what has rows; memory and shutdown do; idle does after its time.
    #[test]
    fn demands() {
        for (buffered, demand, idle, expected) in [
            (ROWS, Demand::Settings, None, None),
            (ROWS, Demand::Settings, Some(4), None),
            (ROWS, Demand::Settings, Some(5), Some(Reason::Idle)),
            (ROWS, Demand::Commit, Some(0), None),
            (ROWS, Demand::Memory, None, Some(Reason::Memory)),
            (Buffered { uploading: true, ..ROWS }, Demand::Memory, None, None),
            (ROWS, Demand::Shutdown, None, Some(Reason::Shutdown)),
            (Buffered { scheduled: Some(1000), ..ROWS }, Demand::Settings, None, Some(Reason::Schedule)),
            (Buffered { scheduled: Some(1001), ..ROWS }, Demand::Settings, None, None),
            (OFFSET, Demand::Settings, None, None),
            (OFFSET, Demand::Settings, Some(0), Some(Reason::Offset)),
            (OFFSET, Demand::Commit, None, Some(Reason::Offset)),
            (OFFSET, Demand::Memory, None, None),
            (OFFSET, Demand::Shutdown, None, Some(Reason::Shutdown)),
        ] {
            let actual = rotation().ends_now(buffered, &tick(demand, idle));
            assert_eq!(actual, expected, "{buffered:?} {demand:?} {idle:?}");
        }
    }

    /// Moments are multiples of the interval since local midnight, and always later than now.
    #[test]
    fn schedule() {
        let tokyo = TimeZone::get("Asia/Tokyo").expect("a known zone");
        let hourly = Schedule { interval: HOUR, zone: tokyo.clone() };
        assert_eq!(hourly.after(0), Some(HOUR));
        assert_eq!(hourly.after(HOUR - 1), Some(HOUR));
        let daily = Schedule { interval: 24 * HOUR, zone: tokyo };
        assert_eq!(daily.after(0), Some(15 * HOUR), "midnight in Tokyo is 15:00 UTC");
        let odd = Schedule { interval: 7 * HOUR, zone: TimeZone::UTC };
        assert_eq!(odd.after(20 * HOUR), Some(21 * HOUR));
        assert_eq!(odd.after(25 * HOUR), Some(31 * HOUR), "counted anew from midnight");
        assert_eq!(Schedule { interval: i64::MAX, zone: TimeZone::UTC }.after(25 * HOUR), None);
    }
}
