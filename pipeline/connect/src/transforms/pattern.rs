//! The part of Java's `SimpleDateFormat` that names a time in UTC by numbers: written and read without a locale.

use std::fmt::{self, Write as _};

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

/// A pattern such as `yyyy-MM-dd'T'HH:mm:ss.SSSXXX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DatePattern {
    source: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// A letter of [`NUMBERS`] and how often it stands there.
    Number(char, usize),
    /// `Z`, `X`, `XX` or `XXX`.
    Offset(char, usize),
}

/// Year, month, day, hour, minute, second and millisecond.
const NUMBERS: &str = "yMdHmsS";

impl fmt::Display for DatePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl DatePattern {
    pub fn parse(source: &str) -> Result<Self, String> {
        let mut parts: Vec<Part> = Vec::new();
        let mut text = String::new();
        let mut rest = source.chars().peekable();
        while let Some(c) = rest.next() {
            if c == '\'' {
                if rest.next_if_eq(&'\'').is_some() {
                    text.push('\'');
                    continue;
                }
                loop {
                    match rest.next() {
                        None => return Err("has a quote without its end".into()),
                        Some('\'') if rest.next_if_eq(&'\'').is_some() => text.push('\''),
                        Some('\'') => break,
                        Some(c) => text.push(c),
                    }
                }
                continue;
            }
            if !c.is_ascii_alphabetic() {
                text.push(c);
                continue;
            }
            let mut count = 1;
            while rest.next_if_eq(&c).is_some() {
                count += 1;
            }
            let part = match (c, count) {
                ('y', 2) => return Err("has `yy`, whose century depends on the present year: write `yyyy`".into()),
                ('M', 3..) => return Err("has the name of a month, which depends on a language: write `MM`".into()),
                ('X', 1..=3) => Part::Offset('X', count),
                ('Z', _) => Part::Offset('Z', 1),
                (c, count) if NUMBERS.contains(c) => Part::Number(c, count),
                (c, _) => {
                    return Err(format!("has `{c}`, which is not known; there are {NUMBERS}, Z, X and 'text'"));
                }
            };
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(part);
        }
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Self { source: source.to_owned(), parts })
    }

    /// The time, milliseconds since 1970, in UTC. `None` for one beyond the years -9999 to 9999.
    pub fn write(&self, millis: i64) -> Option<String> {
        let time = Offset::UTC.to_datetime(Timestamp::from_millisecond(millis).ok()?);
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(own) => text.push_str(own),
                Part::Number(letter, count) => {
                    let number = match letter {
                        'y' => i64::from(time.year()),
                        'M' => i64::from(time.month()),
                        'd' => i64::from(time.day()),
                        'H' => i64::from(time.hour()),
                        'm' => i64::from(time.minute()),
                        's' => i64::from(time.second()),
                        _ => i64::from(time.millisecond()),
                    };
                    // Writing to a text cannot fail.
                    let _infallible = write!(text, "{number:0count$}");
                }
                Part::Offset('Z', _) => text.push_str("+0000"),
                Part::Offset(..) => text.push('Z'),
            }
        }
        Some(text)
    }

    /// The time that a text names, in milliseconds since 1970. Without an offset it is in UTC, and what is not named is
    /// that of the beginning of 1970. As in Java, text behind the time does not count; other than in Java, there is no
    /// 13th month.
    pub fn read(&self, text: &str) -> Option<i64> {
        let (mut year, mut month, mut day) = (1970_i16, 1_i8, 1_i8);
        let (mut hour, mut minute, mut second) = (0_i8, 0_i8, 0_i8);
        let (mut millis, mut offset) = (0_i64, 0_i64);
        let mut rest = text;
        for (i, part) in self.parts.iter().enumerate() {
            match part {
                Part::Text(own) => rest = rest.strip_prefix(own.as_str())?,
                Part::Offset(..) => (offset, rest) = read_offset(rest)?,
                Part::Number(letter, count) => {
                    // A number directly before another one has just its own digits.
                    let limit = if matches!(self.parts.get(i + 1), Some(Part::Number(..))) { *count } else { 9 };
                    let digits = rest.bytes().take(limit).take_while(u8::is_ascii_digit).count();
                    let number: i64 = rest.get(..digits)?.parse().ok()?;
                    rest = &rest[digits..];
                    match letter {
                        'y' => year = number.try_into().ok()?,
                        'M' => month = number.try_into().ok()?,
                        'd' => day = number.try_into().ok()?,
                        'H' => hour = number.try_into().ok()?,
                        'm' => minute = number.try_into().ok()?,
                        's' => second = number.try_into().ok()?,
                        _ => millis = number,
                    }
                }
            }
        }
        let time = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
        let time = Offset::UTC.to_timestamp(time).ok()?;
        let time = time.checked_add(SignedDuration::from_millis(millis)).ok()?;
        time.as_millisecond().checked_sub(offset * 1000)
    }
}

/// An offset from UTC, `Z`, `+09`, `+0900` or `+09:00`, in seconds, and the text behind it.
fn read_offset(text: &str) -> Option<(i64, &str)> {
    if let Some(rest) = text.strip_prefix('Z') {
        return Some((0, rest));
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let two = |text: &str| -> Option<i64> {
        let digits = text.get(..2)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let hours = two(&text[1..])?;
    let rest = &text[3..];
    let behind = rest.strip_prefix(':').unwrap_or(rest);
    let (minutes, rest) = two(behind).map_or((0, rest), |minutes| (minutes, &behind[2..]));
    (hours < 24 && minutes < 60).then_some((sign * (hours * 3600 + minutes * 60), rest))
}
