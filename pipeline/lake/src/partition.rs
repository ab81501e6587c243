//! The partition of a row: the day and hour of its event time in the fleet's zone.

use std::fmt;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

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

    /// The partition of these values of the partition keys; `None` if they are not those of an hour.
    pub fn of_values(values: &[impl AsRef<str>]) -> Option<Self> {
        let [ymd, hour] = values else { return None };
        let (date, hour): (Date, i8) = (ymd.as_ref().parse().ok()?, hour.as_ref().parse().ok()?);
        let partition = Self { year: date.year(), month: date.month(), day: date.day(), hour };
        let is_same = partition.values().iter().zip(values).all(|(a, b)| a == b.as_ref());
        (is_same && (0..24).contains(&hour)).then_some(partition)
    }

    /// When the hour is over. An hour that a change of the clock repeats is over when it is for the second time.
    pub fn end(&self, zone: &TimeZone) -> Option<Timestamp> {
        let start = Date::new(self.year, self.month, self.day).ok()?.at(self.hour, 0, 0, 0);
        let end = start.checked_add(Span::new().hours(1)).ok()?;
        zone.to_ambiguous_timestamp(end).later().ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_a_partition_give_it_again_and_others_give_none() {
        let partition = Partition::of(1_672_542_000_000, &TimeZone::UTC).expect("a partition");
        assert_eq!(Partition::of_values(&partition.values()), Some(partition));
        for other in [["2023-01-01", "3"], ["2023-01-01", "24"], ["20230101", "03"], ["", ""]] {
            assert_eq!(Partition::of_values(&other), None, "{other:?}");
        }
    }

    #[test]
    fn an_hour_that_comes_twice_is_over_when_it_is_for_the_second_time() {
        let zone = TimeZone::get("America/New_York").expect("a zone");
        let end = |ymd: &str, hour: &str| {
            let end = Partition::of_values(&[ymd, hour]).and_then(|partition| partition.end(&zone));
            end.expect("an end").to_string()
        };
        assert_eq!(end("2026-11-01", "01"), "2026-11-01T07:00:00Z");
        assert_eq!(end("2026-11-01", "02"), "2026-11-01T08:00:00Z");
        assert_eq!(end("2026-12-31", "23"), "2027-01-01T05:00:00Z");
    }
}
