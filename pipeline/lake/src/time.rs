//! Times of a row's own fields: RFC 3339 with a UTC offset, to the millisecond.

use fms_record::Rfc3339;
use jiff::Timestamp;
use jiff::fmt::temporal::Pieces;
use jiff::tz::{Offset, TimeZone};

/// The most decimals of a second that a time has.
const MOST_DECIMALS: usize = 9;

/// A time as a text says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instant {
    /// Milliseconds since the Unix epoch, UTC. Finer parts are cut off, towards the past.
    pub millis: i64,
    /// Whether the text has parts that are finer than that, or a leap second.
    is_finer: bool,
    /// The UTC offset that the text has.
    offset: Offset,
}

impl Instant {
    /// The time of a text such as `2023-01-01T12:00:00.000+09:00`; `None` if it is no date and time with an offset.
    pub fn parse(text: &str) -> Option<Self> {
        Self::common(text).or_else(|| Self::uncommon(text))
    }

    /// The time of a text in the common form, if it is one that jiff has too.
    fn common(text: &str) -> Option<Self> {
        let Rfc3339 { millis, is_finer, decimals, offset } = Rfc3339::read(text.as_bytes())?;
        Timestamp::from_millisecond(millis).ok().filter(|_| decimals <= MOST_DECIMALS)?;
        Some(Self { millis, is_finer, offset: Offset::from_seconds(offset).ok()? })
    }

    fn uncommon(text: &str) -> Option<Self> {
        // RFC 3339 has all of these marks, and no annotation in brackets. What is parsed below also has other forms.
        let [b'0'..=b'9', _, _, _, b'-', _, _, b'-', _, _, b'T' | b't' | b' ', _, _, b':', _, _, b':', second @ ..] =
            text.as_bytes()
        else {
            return None;
        };
        if text.contains('[') {
            return None;
        }
        let is_leap = second.starts_with(b"60");
        let pieces = Pieces::parse(text).ok()?;
        let offset = pieces.to_numeric_offset()?;
        let at = offset.to_timestamp(pieces.date().to_datetime(pieces.time()?)).ok()?;
        let nanos = at.as_nanosecond();
        let millis = i64::try_from(nanos.div_euclid(1_000_000)).ok()?;
        Some(Self { millis, is_finer: is_leap || nanos.rem_euclid(1_000_000) != 0, offset })
    }

    /// Whether the text says more than the instant and the zone do: a finer time, a leap second, or an offset that is
    /// neither UTC's nor the zone's at that time.
    pub fn says_more(self, zone: &TimeZone) -> bool {
        let of_zone = || Timestamp::from_millisecond(self.millis).map(|at| zone.to_offset(at));
        self.is_finer || (self.offset != Offset::UTC && of_zone().is_ok_and(|offset| offset != self.offset))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_common_way_agrees_with_jiff(
            year in 0..=9999_u16, month in 1..=12_u8, day in 1..=31_u8, hour in 0..=23_u8, second in 0..=60_u8,
            fraction in "(\\.[0-9]{1,11}|\\.[0-9]{3}0{1,6})?", zone in "[Zz]|[+-](0[0-9]|2[0-4]):[0-5][0-9]",
        ) {
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:59:{second:02}{fraction}{zone}");
            if let Some(common) = Instant::common(&text) {
                prop_assert_eq!(Some(common), Instant::uncommon(&text), "{}", text);
            }
        }
    }

    #[test]
    fn a_time_needs_a_date_a_clock_and_an_offset() {
        for (text, millis) in [
            ("2023-01-01T12:00:00.000+09:00", Some(1_672_542_000_000)),
            ("2023-01-01T03:00:00Z", Some(1_672_542_000_000)),
            ("2023-01-01 03:00:00.123456Z", Some(1_672_542_000_123)),
            ("1969-12-31T23:59:59.9999Z", Some(-1)),
            ("2023-01-01T12:00:00", None),
            ("2023-01-01", None),
            ("20230101T120000Z", None),
            ("2023-02-30T12:00:00Z", None),
            ("2023-01-01T12:00:00+09:00[Asia/Seoul]", None),
            ("12:00:00Z", None),
            ("2023-01-01T12:00Z", None),
            ("2023-01-01T12Z", None),
            ("2023-01-01T120000Z", None),
            ("2016-12-31T235960+0000", None),
            ("2023-01-01T00:00:00Z[foo=bar]", None),
            ("2023-01-01T12:00:", None),
            ("2023-01-01T12:00:00.1234567890Z", None),
            ("9999-12-31T23:59:59Z", None),
            ("01GNNMCPNR6VXPD30Z0DG4WV5P", None),
            ("", None),
        ] {
            assert_eq!(Instant::parse(text).map(|instant| instant.millis), millis, "{text}");
        }
    }

    #[test]
    fn a_text_says_more_if_it_cannot_be_written_again_from_instant_and_zone() {
        let seoul = TimeZone::get("Asia/Seoul").expect("a zone");
        for (text, more) in [
            ("2023-01-01T12:00:00.000+09:00", false),
            ("2023-01-01T03:00:00Z", false),
            ("2023-01-01T12:00:00.120000+09:00", false),
            ("2023-01-01T12:00:00.120001+09:00", true),
            ("2023-01-01T12:00:00+08:00", true),
            ("2016-12-31T23:59:60Z", true),
        ] {
            assert_eq!(Instant::parse(text).map(|instant| instant.says_more(&seoul)), Some(more), "{text}");
        }
    }
}
