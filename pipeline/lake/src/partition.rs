//! The partition of a row: the day and hour of its event time in the fleet's zone.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The names of the partition keys. No column of a table has one of them.
pub const KEYS: [&str; 2] = ["ymd", "hour"];

/// An hour of a day in the fleet's zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    year: i16,
    month: i8,
    day: i8,
    hour: i8,
}

impl Partition {
    /// The partition of an event time in milliseconds since the Unix epoch; `None` if calendars do not show it.
    pub fn of(millis: i64, zone: &TimeZone) -> Option<Self> {
        let time = zone.to_datetime(Timestamp::from_millisecond(millis).ok()?);
        Some(Self { year: time.year(), month: time.month(), day: time.day(), hour: time.hour() })
    }

    /// The values of the partition keys, such as `2022-12-25` and `11`.
    pub fn values(&self) -> [String; 2] {
        [format!("{:04}-{:02}-{:02}", self.year, self.month, self.day), format!("{:02}", self.hour)]
    }
}

impl fmt::Display for Partition {
    /// The folders of the partition: `ymd=2022-12-25/hour=11`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [ymd, hour] = self.values();
        write!(f, "ymd={ymd}/hour={hour}")
    }
}
