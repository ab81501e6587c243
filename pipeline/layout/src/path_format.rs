//! `path.format`: an event time as folders, in the letters of Joda, as Kafka Connect has them, or in those of strftime.

use std::fmt;
use std::ops::RangeInclusive;

use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::strtime::{self, BrokenDownTime};

/// A checked `path.format`. It formats every time of the years 0 to 9999, as one or more folders of printable ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathFormat {
    /// The format in strftime's letters.
    strftime: String,
}

const JODA: &str = "allowed are YYYY or yyyy, MM, dd, DDD, HH, mm, ss and 'quoted text'";
const STRFTIME: &str = "allowed are %Y, %m, %d, %j, %H, %M, %S, %F and %%";

impl PathFormat {
    /// Reads a format such as Joda's `'year'=YYYY/'month'=MM/'day'=dd/'hour'=HH`; one that contains a `%` is read as
    /// strftime's, such as `year=%Y/month=%m/day=%d/hour=%H`. The error says what is wrong and what is allowed.
    ///
    /// Only numbers are allowed: names of months and days depend on a locale, and a time of the clock with a UTC offset
    /// comes twice when clocks are set back.
    pub fn parse(source: &str) -> Result<Self, String> {
        let strftime = if source.contains('%') { checked_strftime(source)? } else { joda(source)? };
        let format = Self { strftime };
        let mut sample = String::new();
        format.write(DateTime::constant(2023, 4, 5, 6, 7, 8, 0), &mut sample);
        if sample.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(format!("it gives `{sample}`, which has an empty, `.` or `..` folder"));
        }
        if let Some(c) = sample.chars().find(|c| !c.is_ascii() || c.is_ascii_control()) {
            return Err(format!("it gives `{sample}`, in which {c:?} is not printable ASCII"));
        }
        Ok(format)
    }

    /// Appends `time` in this format. Its year has to be one of 0 to 9999.
    pub fn write(&self, time: DateTime, out: &mut String) {
        // Only directives that a date and time can fill have passed the check.
        out.push_str(&strtime::format(&self.strftime, time).unwrap_or_default());
    }

    /// Whether this format can have written the text: whether there is a time that it writes in this way.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let Ok(parsed) = BrokenDownTime::parse(&self.strftime, text) else { return false };
        let mut written = String::new();
        // Parsing takes more than is ever written, such as a day that its month does not have, a day of the year that
        // is another day than that of the month, or a number without its leading zeros.
        times(&parsed).any(|time| {
            written.clear();
            self.write(time, &mut written);
            written == text
        })
    }

    /// How many folders it writes.
    pub(crate) fn depth(&self) -> usize {
        self.strftime.split('/').count()
    }
}

impl fmt::Display for PathFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.strftime)
    }
}

/// The times that a text may stand for of which these parts were parsed. A part that the format does not have does not
/// matter to what is written; only an unknown year does, because some days exist in leap years alone.
fn times(parsed: &BrokenDownTime) -> impl Iterator<Item = DateTime> {
    const LEAP_AND_COMMON: RangeInclusive<i16> = 2024..=2025;
    let years = parsed.year().map_or(LEAP_AND_COMMON, |year| year..=year);
    let (month, day, day_of_year) = (parsed.month(), parsed.day(), parsed.day_of_year());
    let clock = [parsed.hour(), parsed.minute(), parsed.second()].map(Option::unwrap_or_default);
    years.filter_map(move |year| {
        let date = match day_of_year {
            Some(day) => Date::new(year, 1, 1).and_then(|first| first.with().day_of_year(day).build()),
            None => Date::new(year, month.unwrap_or(1), day.unwrap_or(1)),
        };
        let [hour, minute, second] = clock;
        Some(DateTime::from_parts(date.ok()?, Time::new(hour, minute, second, 0).ok()?))
    })
}

/// A format in Joda's letters as one in strftime's. It has no `%`, which would have to be doubled.
fn joda(source: &str) -> Result<String, String> {
    let mut strftime = String::new();
    let mut chars = source.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\'' {
            // Two quotes stand for one, inside of quoted text and outside.
            if chars.next_if_eq(&'\'').is_some() {
                strftime.push('\'');
                continue;
            }
            loop {
                match chars.next() {
                    Some('\'') if chars.next_if_eq(&'\'').is_some() => strftime.push('\''),
                    Some('\'') => break,
                    Some(c) => strftime.push(c),
                    None => return Err("a quote (') is not closed".into()),
                }
            }
        } else if c.is_ascii_alphabetic() {
            let mut width = 1;
            while chars.next_if_eq(&c).is_some() {
                width += 1;
            }
            strftime.push_str(match (c, width) {
                ('Y' | 'y', 4) => "%Y",
                ('M', 1) => "%-m",
                ('M', 2) => "%m",
                ('d', 1) => "%-d",
                ('d', 2) => "%d",
                ('D', 1) => "%-j",
                ('D', 2) => "%02j",
                ('D', 3) => "%j",
                ('H', 1) => "%-H",
                ('H', 2) => "%H",
                ('m', 1) => "%-M",
                ('m', 2) => "%M",
                ('s', 1) => "%-S",
                ('s', 2) => "%S",
                _ => return Err(format!("`{}` is not supported; {JODA}", c.to_string().repeat(width))),
            });
        } else {
            strftime.push(c);
        }
    }
    Ok(strftime)
}

/// The format itself, if it has no other directives than those that are allowed.
fn checked_strftime(source: &str) -> Result<String, String> {
    let mut rest = source.split('%');
    rest.next();
    while let Some(directive) = rest.next() {
        match directive.chars().next() {
            Some('Y' | 'm' | 'd' | 'j' | 'H' | 'M' | 'S' | 'F') => {}
            Some(c) => return Err(format!("`%{c}` is not supported; {STRFTIME}")),
            // Nothing is between the two of `%%`, and the second begins no directive.
            None if rest.next().is_some() => {}
            None => return Err(format!("it ends in a lone `%`; {STRFTIME}")),
        }
    }
    Ok(source.into())
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, ToSpan as _};
    use proptest::prelude::*;

    use super::*;

    fn written(format: &PathFormat, time: DateTime) -> String {
        let mut out = String::new();
        format.write(time, &mut out);
        out
    }

    fn formatted(source: &str) -> String {
        written(&PathFormat::parse(source).expect(source), DateTime::constant(2023, 1, 2, 3, 4, 5, 0))
    }

    /// Both styles give the same folders, and recognize them.
    #[test]
    fn styles() {
        for (source, expected) in [
            ("'year'=YYYY/'month'=MM/'day'=dd/'hour'=HH", "year=2023/month=01/day=02/hour=03"),
            ("year=%Y/month=%m/day=%d/hour=%H", "year=2023/month=01/day=02/hour=03"),
            ("'ymd'=yyyy-MM-dd/'hm'=HHmm.ss", "ymd=2023-01-02/hm=0304.05"),
            ("ymd=%F/hm=%H%M.%S", "ymd=2023-01-02/hm=0304.05"),
            ("yyyy/DDD", "2023/002"),
            ("%Y/%j", "2023/002"),
            ("YYYY/M/d/H", "2023/1/2/3"),
            ("'it''s'=HH", "it's=03"),
            ("%Y%%", "2023%"),
            ("%%%Y%%/%%%%%m", "%2023%/%%01"),
            ("YYYY/DD/D/m:s", "2023/02/2/4:5"),
        ] {
            assert_eq!(formatted(source), expected, "{source}");
            let format = PathFormat::parse(source).expect(source);
            assert!(format.matches(expected), "{source}");
            assert_eq!(format.depth(), expected.split('/').count(), "{source}");
        }
    }

    #[test]
    fn folders_of_another_form_are_not_recognized() {
        let format = PathFormat::parse("ymd=%F/hour=%H").expect("a valid format");
        for other in
            ["ymd=2023-01-02", "ymd=2023-1-2/hour=03", "ymd=2023-02-30/hour=03", "ymd=2023-01-02/hour=24", "x/y"]
        {
            assert!(!format.matches(other), "{other}");
        }
        let repeated = PathFormat::parse("%Y/%Y-%m").expect("a valid format");
        assert!(repeated.matches("2023/2023-01") && !repeated.matches("2022/2023-01"));
    }

    #[test]
    fn impossible_dates_are_not_recognized() {
        for (source, possible, impossible) in [
            ("%Y/%j", &["2024/366", "2023/365"][..], &["2023/366", "2023/000"][..]),
            ("%F/%j", &["2024-12-31/366"], &["2023-01-02/003", "2023-12-31/366"]),
            ("%m-%d", &["02-29", "12-31"], &["02-30", "02-31", "04-31", "00-01", "13-01"]),
            ("%m-%d/%j", &["02-29/060", "03-01/060", "03-01/061", "12-31/366"], &["02-28/060", "03-01/062"]),
            ("%d", &["01", "31"], &["00", "32"]),
            ("%H:%M:%S", &["23:59:59"], &["23:59:60", "24:00:00"]),
        ] {
            let format = PathFormat::parse(source).expect(source);
            for text in possible {
                assert!(format.matches(text), "{source}: {text}");
            }
            for text in impossible {
                assert!(!format.matches(text), "{source}: {text}");
            }
        }
    }

    /// A format that is refused says why, and what is allowed.
    #[test]
    fn refusals() {
        for (source, problem) in [
            ("YY/MM", "`YY` is not supported"),
            ("YYYY/MMM", "`MMM` is not supported"),
            ("YYYY/hh", "`hh` is not supported"),
            ("YYYY'/MM", "not closed"),
            ("%Y/%B", "`%B` is not supported"),
            ("%Y/%", "lone `%`"),
            ("/YYYY", "empty"),
            ("YYYY//MM", "empty"),
            ("../YYYY", "`..` folder"),
            ("", "empty"),
            ("'年'=YYYY", "not printable ASCII"),
        ] {
            let error = PathFormat::parse(source).expect_err(source);
            assert!(error.contains(problem), "{source}: {error}");
        }
    }

    const FORMATS: [&str; 8] = ["%Y/%j", "%F/%j", "%m-%d", "%m-%d/%j", "%Y/%d", "%d/%j", "%Y/%m/%d/%H", "%F/%H:%M:%S"];

    proptest! {
        #[test]
        fn what_is_written_is_recognized(
            source in proptest::sample::select(&FORMATS[..]),
            year in 0..10_000_i16,
            day in 1..=366_i16,
            second in 0..86_400_i64,
        ) {
            let date = Date::new(year, 1, 1).and_then(|first| first.with().day_of_year(day).build());
            prop_assume!(date.is_ok());
            let midnight = date.expect("a day of that year").to_datetime(Time::midnight());
            let format = PathFormat::parse(source).expect("a valid format");
            let text = written(&format, midnight + SignedDuration::from_secs(second));
            prop_assert!(format.matches(&text), "{}", text);
        }

        /// The days of a leap year and of a common year are all days that there are.
        #[test]
        fn what_no_day_is_written_as_is_not_recognized(
            source in proptest::sample::select(&FORMATS[..6]),
            year in 2023..2026_i16,
            month in 0..14_u8,
            day in 0..33_u8,
            of_year in 0..368_u16,
        ) {
            let text = source.replace("%F", "%Y-%m-%d").replace("%Y", &year.to_string());
            let text = text.replace("%m", &format!("{month:02}")).replace("%d", &format!("{day:02}"));
            let text = text.replace("%j", &format!("{of_year:03}"));
            let format = PathFormat::parse(source).expect("a valid format");
            let mut days = Date::constant(2023, 1, 1).series(1.day()).take(3 * 365 + 1);
            let is_written = days.any(|day| written(&format, day.to_datetime(Time::midnight())) == text);
            prop_assert_eq!(format.matches(&text), is_written, "{}", text);
        }
    }
}
