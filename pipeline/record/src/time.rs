//! The event time of a row: that of its own field, else that of the envelope, else Kafka's timestamp.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use jiff::civil::{Date, DateTime};

use crate::excerpt::Excerpt;
use crate::{Row, RowError, json};

/// The envelope's field that says when the message was made.
const MESSAGED_AT: &str = "messaged_at";

/// Where an event time was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::EnumCount, strum::VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum TimeSource {
    /// The configured field of the row.
    Field,
    /// The envelope's `messaged_at`.
    Envelope,
    /// The Kafka record's timestamp.
    Kafka,
}

/// An event time and its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTime {
    /// Milliseconds since the Unix epoch, UTC.
    pub millis: i64,
    /// Where it was taken from.
    pub source: TimeSource,
}

impl EventTime {
    /// The event time of a row. `field` is `timestamp.field`, a name or a path. If a source is absent or null, the next
    /// one counts; a value that cannot be read as a time is an error, which shows the value.
    pub fn of(row: &Row<'_>, field: Option<&str>, kafka_millis: Option<i64>) -> Result<Self, RowError> {
        let present = |value: &&str| *value != "null";
        if let Some(field) = field
            && let Some(value) = row.find(field).filter(present)
        {
            return Ok(Self { millis: read_field(field, value)?, source: TimeSource::Field });
        }
        if let Some(value) = row.message().envelope(MESSAGED_AT).filter(present) {
            return Ok(Self { millis: read_field(MESSAGED_AT, value)?, source: TimeSource::Envelope });
        }
        let kafka = kafka_millis.map(|millis| Self { millis, source: TimeSource::Kafka });
        kafka.ok_or_else(|| RowError::MissingTime { field: field.map(Into::into) })
    }
}

fn read_field(field: &str, value: &str) -> Result<i64, RowError> {
    read(value).map_err(|reason| RowError::UnreadableTime {
        field: field.into(),
        value: Excerpt::start_of(value),
        reason,
    })
}

/// The magnitude from which on a number counts milliseconds.
const FIRST_MILLIS: i128 = 100_000_000_000;

/// Reads the JSON text of a time: RFC 3339 with an offset or `Z`, perhaps with a space instead of `T`, or epoch seconds
/// or milliseconds as a number or string. The error says what is wrong with the value, as the end of a sentence.
///
/// Gives milliseconds since the Unix epoch; finer parts are cut off, towards the past. A number below 100,000,000,000
/// in magnitude counts seconds (these reach to the year 5138), a larger one milliseconds (from March 1973 on). A leap
/// second is read as the second before it.
fn read(value: &str) -> Result<i64, Cow<'static, str>> {
    let Some(raw) = json::raw(value) else {
        let is_number = value.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        return if is_number { Ok(epoch(value)?) } else { Err("is neither text nor a number".into()) };
    };
    let text = json::decode(raw).map_err(|_| "has a surrogate escape without its partner")?;
    if let Some(time) = Rfc3339::read(text.as_bytes()) {
        return Ok(in_range(Some(time.millis))?);
    }
    if let Some(millis) = uncommon(&text) {
        return Ok(in_range(Some(millis))?);
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E'))
        && let Ok(millis) = epoch(&text)
    {
        return Ok(millis);
    }
    if text.parse::<jiff::civil::DateTime>().is_ok() {
        return Err("has no UTC offset (`Z`, or such as `+09:00`), so it names no instant".into());
    }
    let impossible = impossible_parts(text.as_bytes());
    if !impossible.is_empty() {
        return Err(format!("names what does not exist: {}", impossible.join(", ")).into());
    }
    Err("is neither an RFC 3339 time with UTC offset, such as `2023-01-01T12:00:00.000+09:00`, nor epoch seconds or \
         milliseconds"
        .into())
}

/// The parts that no calendar or clock has, of a text in the form of a date, or of a date and a time.
#[cold]
fn impossible_parts(text: &[u8]) -> Vec<String> {
    let two = |at: usize| text.get(at..at + 2).and_then(two_digits);
    let marked =
        |marks: &[(usize, &[u8])]| marks.iter().all(|(at, any)| text.get(*at).is_some_and(|mark| any.contains(mark)));
    let mut parts = Vec::new();
    let year = text.get(..4).and_then(number).filter(|_| marked(&[(4, b"-"), (7, b"-")]));
    let (Some(year), Some(month), Some(day)) = (year, two(5), two(8)) else { return parts };
    match Date::new(year, month, 1).map(Date::days_in_month) {
        Ok(days) if day < 1 || day > days => {
            parts.push(format!("day {day:02} ({year:04}-{month:02} has {days} days)"));
        }
        Ok(_) => {}
        Err(_) => {
            parts.push(format!("month {month:02} (01 to 12)"));
            if !(1..=31).contains(&day) {
                parts.push(format!("day {day:02} (01 to 31)"));
            }
        }
    }
    if marked(&[(10, b"Tt "), (13, b":"), (16, b":")])
        && let (Some(hour), Some(minute), Some(second)) = (two(11), two(14), two(17))
    {
        if hour > 23 {
            parts.push(format!("hour {hour:02} (00 to 23)"));
        }
        if minute > 59 {
            parts.push(format!("minute {minute:02} (00 to 59)"));
        }
        if second > 60 {
            parts.push(format!("second {second:02} (00 to 59, or 60 for a leap second)"));
        }
        if let Some([sign @ (b'+' | b'-'), h, g, b':', m, n]) = text[19..].last_chunk()
            && let (Some(hours), Some(minutes)) = (two_digits(&[*h, *g]), two_digits(&[*m, *n]))
            && (hours > 23 || minutes > 59)
        {
            let sign = char::from(*sign);
            parts.push(format!("UTC offset {sign}{hours:02}:{minutes:02} (at most 23:59 either way)"));
        }
    }
    parts
}

/// The times that calendars can show, 9999 years either way.
const RANGE: RangeInclusive<i64> = -377_705_116_800_000..=253_402_300_799_999;

/// The beginning of the Unix epoch.
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

const OUT_OF_RANGE: &str = "is out of range (-9999-01-01T00:00:00Z to 9999-12-31T23:59:59.999Z)";

/// The time, if calendars can show it.
fn in_range(millis: Option<i64>) -> Result<i64, &'static str> {
    millis.filter(|millis| RANGE.contains(millis)).ok_or(OUT_OF_RANGE)
}

/// Reads every other form with a date, a time and a UTC offset. jiff's `Timestamp` is not used, because it ends a day
/// before the year 9999 does.
fn uncommon(text: &str) -> Option<i64> {
    let pieces = jiff::fmt::temporal::Pieces::parse(text).ok()?;
    let (date, time, offset) = (pieces.date(), pieces.time()?, pieces.to_numeric_offset()?);
    let since = date.to_datetime(time).duration_since(EPOCH).as_nanos().div_euclid(1_000_000);
    Some(i64::try_from(since).ok()? - i64::from(offset.seconds()) * 1000)
}

/// A time in the common form, as its text says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rfc3339 {
    /// Milliseconds since the Unix epoch, UTC. Finer parts are cut off, towards the past.
    pub millis: i64,
    /// Whether the text has parts that are finer than that.
    pub is_finer: bool,
    /// How many decimals its seconds have.
    pub decimals: usize,
    /// The UTC offset that the text has, in seconds.
    pub offset: i32,
}

impl Rfc3339 {
    /// Reads the common form, `YYYY-MM-DDThh:mm:ss[.fff…](Z|±hh:mm)`, fast. `None` for any other text, which may
    /// still be a time, such as one with a leap second.
    pub fn read(text: &[u8]) -> Option<Self> {
        let (clock, rest) = text.split_first_chunk::<19>()?;
        let two = |at: usize| two_digits(&clock[at..at + 2]);
        let marks = (clock[4], clock[7], clock[10], clock[13], clock[16]);
        let (b'-', b'-', b'T' | b't' | b' ', b':', b':') = marks else { return None };
        let (year, month, day) = (number(&clock[..4])?, two(5)?, two(8)?);
        let (hour, minute, second) = (two(11)?, two(14)?, two(17)?);
        let date = Date::new(year, month, day).ok().filter(|_| hour <= 23 && minute <= 59 && second <= 59)?;
        let (fraction, zone) = match rest {
            [b'.', rest @ ..] => {
                let decimals = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                if decimals == 0 {
                    return None;
                }
                rest.split_at(decimals)
            }
            zone => (&[][..], zone),
        };
        let (millis, finer) = match fraction {
            [] => (0, &[][..]),
            [a] => (number(&[*a, b'0', b'0'])?, &[][..]),
            [a, b] => (number(&[*a, *b, b'0'])?, &[][..]),
            [a, b, c, finer @ ..] => (number(&[*a, *b, *c])?, finer),
        };
        let offset = match zone {
            [b'Z' | b'z'] => 0,
            [sign @ (b'+' | b'-'), h, g, b':', m, n] => {
                let (hours, minutes) = (two_digits(&[*h, *g])?, two_digits(&[*m, *n])?);
                if hours > 23 || minutes > 59 {
                    return None;
                }
                (i32::from(hours) * 60 + i32::from(minutes)) * if *sign == b'-' { -60 } else { 60 }
            }
            _ => return None,
        };
        let of_day = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
        let seconds = date.duration_since(EPOCH.date()).as_secs() + of_day - i64::from(offset);
        Some(Self {
            millis: seconds * 1000 + i64::from(millis),
            is_finer: finer.iter().any(|&digit| digit != b'0'),
            decimals: fraction.len(),
            offset,
        })
    }
}

/// The number that at most four digits stand for.
fn number(digits: &[u8]) -> Option<i16> {
    digits.iter().try_fold(0, |value, digit| digit.is_ascii_digit().then(|| value * 10 + i16::from(digit - b'0')))
}

/// The number that two digits stand for.
fn two_digits(digits: &[u8]) -> Option<i8> {
    number(digits).and_then(|number| i8::try_from(number).ok())
}

/// Reads epoch seconds or milliseconds from a decimal number, exactly.
fn epoch(text: &str) -> Result<i64, &'static str> {
    let (digits, exponent) = decimal(text).ok_or("is no number of epoch seconds or milliseconds")?;
    let is_millis = scale(digits.abs(), exponent).ok_or(OUT_OF_RANGE)? >= FIRST_MILLIS;
    let millis = scale(digits, if is_millis { exponent } else { exponent.saturating_add(3) });
    in_range(millis.and_then(|millis| i64::try_from(millis).ok()))
}

/// `digits` times ten to that power, rounded down; `None` if it is too large to be a time.
fn scale(digits: i128, exponent: i64) -> Option<i128> {
    let power = u32::try_from(exponent.unsigned_abs()).unwrap_or(u32::MAX);
    match (10_i128.checked_pow(power), exponent < 0) {
        (Some(factor), true) => Some(digits.div_euclid(factor)),
        (Some(factor), false) => digits.checked_mul(factor),
        (None, true) => Some(digits.signum().min(0)),
        (None, false) => (digits == 0).then_some(0),
    }
}

/// A decimal number as integer and power of ten; `None` if it is no number or has too many digits to be a time.
fn decimal(text: &str) -> Option<(i128, i64)> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (sign, unsigned) = match mantissa.strip_prefix('-') {
        Some(unsigned) => (-1, unsigned),
        None => (1, mantissa),
    };
    let (integer, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let mut digits = 0_i128;
    for digit in integer.bytes().chain(fraction.bytes()) {
        if !digit.is_ascii_digit() {
            return None;
        }
        digits = digits.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    let has_digits = !integer.is_empty() && (!fraction.is_empty() || !unsigned.contains('.'));
    has_digits.then_some((sign * digits, exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Parser;

    #[test]
    fn reads_every_form() {
        let noon = 1_672_542_000_000;
        for (json, millis) in [
            (r#""2023-01-01T12:00:00+09:00""#, noon),
            (r#""2023-01-01T12:00:00.000+09:00""#, noon),
            (r#""2023-01-01 12:00:00.1239999+09:00""#, noon + 123),
            (r#""2023-01-01T03:00:00Z""#, noon),
            (r#""2023-01-01t03:00:00.5z""#, noon + 500),
            (r#""2022-12-31T23:00:00.07-04:00""#, noon + 70),
            (r#""2023-01-01T03:00:00.1234567890123456789Z""#, noon + 123),
            (r#""2023-01-01T03:00:00\u005a""#, noon),
            (r#""2023-01-01 12:00:00+09""#, noon),
            (r#""2023-01-01T12:00:00+0900""#, noon),
            (r#""2023-01-01T12:00:00+09:00[Asia/Seoul]""#, noon),
            (r#""1969-12-31T23:59:59.9999Z""#, -1),
            (r#""2016-12-31T23:59:60Z""#, 1_483_228_799_000),
            (r#""2003-05-18T00:00:00Z""#, 1_053_216_000_000),
            (r#""2080-02-29T00:00:00Z""#, 3_476_390_400_000),
            (r#""2094-01-01T00:00:00Z""#, 3_913_142_400_000),
            (r#""9999-12-30T22:00:01Z""#, 253_402_207_201_000),
            (r#""9999-12-31T23:59:59Z""#, 253_402_300_799_000),
            (r#""9999-12-31T23:59:59.999999999Z""#, 253_402_300_799_999),
            (r#""9999-12-31T23:59:59.999+0000""#, 253_402_300_799_999),
            (r#""9999-12-31T23:59:59+23:59""#, 253_402_214_459_000),
            (r#""-009999-01-01T00:00:00Z""#, -377_705_116_800_000),
            ("253402300799999.9", 253_402_300_799_999),
            ("-377705116800000", -377_705_116_800_000),
            ("0", 0),
            ("-1", -1000),
            ("-0.0001", -1),
            ("-99999999999.5", -99_999_999_999_500),
            ("0e9223372036854775807", 0),
            ("1e-9223372036854775807", 0),
            ("1672542000", noon),
            ("1672542000.1239", noon + 123),
            ("1.672542E9", noon),
            ("1672542000123", noon + 123),
            ("1672542000123.9", noon + 123),
            (r#""1672542000""#, noon),
            (r#""1672542000123""#, noon + 123),
            (r#""1672542000.25""#, noon + 250),
            ("99999999999", 99_999_999_999_000),
            ("100000000000", 100_000_000_000),
            ("1e-30", 0),
            ("0e999", 0),
        ] {
            assert_eq!(read(json), Ok(millis), "{json}");
        }
    }

    #[test]
    fn says_why_it_cannot_read() {
        for (json, reason) in [
            (r#""2023-01-01T12:00:00""#, "no UTC offset"),
            (r#""2023-01-01 12:00:00.5""#, "no UTC offset"),
            (r#""2023-01-01""#, "no UTC offset"),
            (r#""2023-02-30T12:00:00.000+09:00""#, "names what does not exist: day 30 (2023-02 has 28 days)"),
            (r#""2023-02-29""#, "does not exist: day 29 (2023-02 has 28 days)"),
            (r#""0000-00-00T00:00:00""#, "does not exist: month 00 (01 to 12), day 00 (01 to 31)"),
            (r#""2023-13-01T12:00:00Z""#, "does not exist: month 13 (01 to 12)"),
            (r#""2023-01-01T24:00:00Z""#, "does not exist: hour 24 (00 to 23)"),
            (r#""2023-01-01 12:60:61Z""#, "minute 60 (00 to 59), second 61 (00 to 59, or 60 for a leap second)"),
            (r#""2023-01-01T12:00:00.5-09:75""#, "does not exist: UTC offset -09:75"),
            (r#""2023-01-01Tnoon""#, "neither an RFC 3339 time"),
            (r#""yesterday""#, "neither an RFC 3339 time"),
            (r#""""#, "neither an RFC 3339 time"),
            (r#""-""#, "neither an RFC 3339 time"),
            (r#""\ud800""#, "surrogate"),
            ("true", "neither text nor a number"),
            ("[1]", "neither text nor a number"),
            ("1e99999999999999999999", "no number of epoch"),
            ("1e999999999999", "out of range"),
            ("1e30", "out of range"),
            (r#""9999-12-31T23:59:59-00:01""#, "is out of range (-9999-01-01T00:00:00Z to 9999-12-31T23:59:59.999Z)"),
            (r#""9999-12-31T23:59:59-0001""#, "is out of range (-9999"),
            (r#""-009999-01-01T00:00:00+00:01""#, "out of range"),
            ("253402300800000", "out of range"),
            ("-377705116800001", "out of range"),
        ] {
            let error = read(json).expect_err(json);
            assert!(error.contains(reason), "{json}: {error}");
        }
    }

    #[test]
    fn falls_through_what_is_absent_or_null_only() {
        let time = |json: &str, kafka| {
            let message = Parser::new(None).parse(json.as_bytes()).expect("valid");
            let row = message.rows().next().expect("a row").expect("a row");
            EventTime::of(&row, Some("at"), kafka)
                .map(|time| (time.millis, time.source))
                .map_err(|error| error.to_string())
        };
        assert_eq!(time(r#"{"at":1,"messaged_at":2}"#, Some(3)), Ok((1000, TimeSource::Field)));
        assert_eq!(time(r#"{"at":null,"messaged_at":2}"#, Some(3)), Ok((2000, TimeSource::Envelope)));
        assert_eq!(time(r#"{"messaged_at":null}"#, Some(3)), Ok((3, TimeSource::Kafka)));
        assert_eq!(
            time(r#"{"messaged_at":null}"#, None).expect_err("no time"),
            "the row has no event time: field `at` (timestamp.field) is absent or null, the envelope's `messaged_at` \
             is absent or null and the Kafka record has no timestamp"
        );
        assert_eq!(
            time(r#"{"at":"2023-01-01T12:00:00","messaged_at":2}"#, Some(3)).expect_err("no time"),
            "field `at` holds no event time: `\"2023-01-01T12:00:00\"` has no UTC offset (`Z`, or such as `+09:00`), \
             so it names no instant"
        );
        assert!(time(r#"{"at":null,"messaged_at":{}}"#, Some(3)).is_err());
    }

    proptest! {
        #[test]
        fn the_fast_way_agrees_with_jiff(
            year in 0..9999_i32, month in 0..14_u8, day in 0..33_u8, hour in 0..25_u8, minute in 0..61_u8, second in 0..60_u8,
            fraction in "(\\.[0-9]{1,9})?", separator in "[Tt ]", zone in "[Zz]|[+-](0[0-9]|1[0-9]|2[0-3]):[0-5][0-9]",
        ) {
            let text = format!("{year:04}-{month:02}-{day:02}{separator}{hour:02}:{minute:02}:{second:02}{fraction}{zone}");
            let jiff = text.parse::<jiff::Timestamp>().ok().map(|time| time.as_nanosecond().div_euclid(1_000_000));
            prop_assert_eq!(Rfc3339::read(text.as_bytes()).map(|time| time.millis.into()), jiff, "{}", text);
        }

        #[test]
        fn every_form_of_a_time_is_the_same(millis in -377_705_023_201_000..253_402_207_200_000_i64, offset in -1439..1440_i32) {
            let offset = jiff::tz::Offset::from_seconds(offset * 60).expect("in range");
            let text = jiff::Timestamp::from_millisecond(millis).expect("in range").display_with_offset(offset).to_string();
            prop_assert_eq!(read(&serde_json::to_string(&text).expect("JSON")), Ok(millis), "{}", text);
            prop_assert_eq!(uncommon(&text), Some(millis), "{}", text);
        }

        #[test]
        fn any_time_is_read_back(millis in -62_135_596_800_000..253_402_207_200_000_i64) {
            let text = jiff::Timestamp::from_millisecond(millis).expect("in range").to_string();
            prop_assert_eq!(Rfc3339::read(text.as_bytes()).map(|time| time.millis), Some(millis));
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = read(&text);
            let _ = read(&serde_json::to_string(&text).expect("a string is JSON"));
        }
    }
}
