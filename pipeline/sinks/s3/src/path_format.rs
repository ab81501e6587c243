//! `path.format`: an event time as folders, in Joda's letters as Kafka Connect has them or in strftime's.

use std::fmt::Write as _;

use jiff::civil::DateTime;

/// A checked `path.format`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathFormat {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// At least this many digits.
    Number(Unit, usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Year,
    Month,
    Day,
    DayOfYear,
    Hour,
    Minute,
    Second,
}

const JODA: &str = "allowed are YYYY or yyyy, MM, dd, DDD, HH, mm, ss and 'quoted text'";
const STRFTIME: &str = "allowed are %Y, %m, %d, %j, %H, %M, %S, %F and %%";

impl PathFormat {
    /// Joda-style `'year'=YYYY/'month'=MM/'day'=dd/'hour'=HH`; with a `%` in it, strftime-style `year=%Y/month=%m/day=%d/hour=%H`.
    ///
    /// Only numbers: names of months and days depend on a locale, and an offset repeats itself when clocks are set back.
    pub fn parse(source: &str) -> Result<Self, String> {
        let format = Self { pieces: if source.contains('%') { strftime(source)? } else { joda(source)? } };
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

    /// Appends `time` in this format. Years are those of 0 to 9999.
    pub fn write(&self, time: DateTime, out: &mut String) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Number(unit, width) => {
                    let number = match unit {
                        Unit::Year => time.year(),
                        Unit::Month => time.month().into(),
                        Unit::Day => time.day().into(),
                        Unit::DayOfYear => time.day_of_year(),
                        Unit::Hour => time.hour().into(),
                        Unit::Minute => time.minute().into(),
                        Unit::Second => time.second().into(),
                    };
                    let _ = write!(out, "{number:0width$}");
                }
            }
        }
    }
}

/// Appends to the last piece if that is text.
fn push_text(pieces: &mut Vec<Piece>, c: char) {
    if let Some(Piece::Text(text)) = pieces.last_mut() {
        text.push(c);
    } else {
        pieces.push(Piece::Text(c.into()));
    }
}

fn joda(source: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut chars = source.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\'' {
            // '' is a quote, inside of quotes and outside.
            if chars.next_if_eq(&'\'').is_some() {
                push_text(&mut pieces, '\'');
                continue;
            }
            loop {
                match chars.next() {
                    Some('\'') if chars.next_if_eq(&'\'').is_some() => push_text(&mut pieces, '\''),
                    Some('\'') => break,
                    Some(c) => push_text(&mut pieces, c),
                    None => return Err("a quote (') is not closed".into()),
                }
            }
        } else if c.is_ascii_alphabetic() {
            let mut width = 1;
            while chars.next_if_eq(&c).is_some() {
                width += 1;
            }
            let unit = match (c, width) {
                ('Y' | 'y', 4) => Unit::Year,
                ('M', 1 | 2) => Unit::Month,
                ('d', 1 | 2) => Unit::Day,
                ('D', 1..=3) => Unit::DayOfYear,
                ('H', 1 | 2) => Unit::Hour,
                ('m', 1 | 2) => Unit::Minute,
                ('s', 1 | 2) => Unit::Second,
                _ => return Err(format!("`{}` is not supported; {JODA}", c.to_string().repeat(width))),
            };
            pieces.push(Piece::Number(unit, width));
        } else {
            push_text(&mut pieces, c);
        }
    }
    Ok(pieces)
}

fn strftime(source: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut chars = source.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            push_text(&mut pieces, c);
            continue;
        }
        match chars.next() {
            Some('Y') => pieces.push(Piece::Number(Unit::Year, 4)),
            Some('m') => pieces.push(Piece::Number(Unit::Month, 2)),
            Some('d') => pieces.push(Piece::Number(Unit::Day, 2)),
            Some('j') => pieces.push(Piece::Number(Unit::DayOfYear, 3)),
            Some('H') => pieces.push(Piece::Number(Unit::Hour, 2)),
            Some('M') => pieces.push(Piece::Number(Unit::Minute, 2)),
            Some('S') => pieces.push(Piece::Number(Unit::Second, 2)),
            Some('F') => {
                pieces.push(Piece::Number(Unit::Year, 4));
                push_text(&mut pieces, '-');
                pieces.push(Piece::Number(Unit::Month, 2));
                push_text(&mut pieces, '-');
                pieces.push(Piece::Number(Unit::Day, 2));
            }
            Some('%') => push_text(&mut pieces, '%'),
            Some(c) => return Err(format!("`%{c}` is not supported; {STRFTIME}")),
            None => return Err(format!("it ends in a lone `%`; {STRFTIME}")),
        }
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(source: &str) -> String {
        let mut out = String::new();
        PathFormat::parse(source).expect(source).write(DateTime::constant(2023, 1, 2, 3, 4, 5, 0), &mut out);
        out
    }

    /// Both styles give the same folders.
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
        ] {
            assert_eq!(formatted(source), expected, "{source}");
        }
    }

    /// What is refused says why and what is allowed.
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
}
