//! Files and objects with messages: all of them are read, and then given by their times.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;

use jiff::Timestamp;

use super::batch::Batch;
use super::sorter::{Merged, Sorter};
use super::{Next, Recorded, ReplayError, Source, csv, line};

const DAY: i64 = 86_400_000;
/// Messages that are further away from others are another recording. A device with a wrong clock is years away.
const FAR: i64 = 7 * DAY;

/// Reads messages, in any order.
#[derive(Debug, Default)]
pub struct Intake {
    since: Option<i64>,
    until: Option<i64>,
    batch: Batch,
    sorter: Sorter,
    /// The earliest message of each day, and how many there are.
    days: BTreeMap<i64, (i64, u64)>,
}

/// All messages, by their times.
#[derive(Debug)]
pub struct Sorted {
    /// The time of the first one, in milliseconds since the Unix epoch; `None` if there is none.
    pub first: Option<i64>,
    /// What is left out because it is more than a week away from what is given: the days, and how many messages.
    pub left_out: Vec<(Timestamp, Timestamp, u64)>,
    window: Range<i64>,
    messages: Merged,
}

impl Intake {
    /// Takes messages from one time on and from before another, in milliseconds since the Unix epoch.
    pub fn new(since: Option<i64>, until: Option<i64>) -> Self {
        Self { since, until, ..Self::default() }
    }

    /// Reads a line of a file or an object: a record as `--to file` writes it, or a row as the S3 sink does. `place` says
    /// for an error which one it is.
    pub fn line(&mut self, text: &[u8], place: &dyn Fn() -> String) -> Result<(), ReplayError> {
        let no_message = |problem: String| ReplayError::NoMessage { place: place(), problem };
        let text = std::str::from_utf8(text).map_err(|_| no_message("it is not UTF-8".to_owned()))?;
        if let Some(record) = line::record(text).map_err(no_message)? {
            self.end_of_object()?;
            return self.add(record);
        }
        match self.batch.add(text).map_err(no_message)? {
            Some(message) => self.add(message),
            None => Ok(()),
        }
    }

    /// Says that the lines before are all of their object.
    pub fn end_of_object(&mut self) -> Result<(), ReplayError> {
        self.batch.end().map_or(Ok(()), |message| self.add(message))
    }

    /// Reads a CSV file with a header, whose lines are rows.
    pub fn csv(&mut self, file: impl Read, place: &str) -> Result<(), ReplayError> {
        csv::each_row(file, place, &mut |number, row| {
            self.line(row.as_bytes(), &|| format!("line {number} of {place}"))
        })?;
        self.end_of_object()
    }

    fn add(&mut self, message: Recorded) -> Result<(), ReplayError> {
        let at = message.at;
        if self.since.is_some_and(|since| at < since) || self.until.is_some_and(|until| at >= until) {
            return Ok(());
        }
        let (first, count) = self.days.entry(at.div_euclid(DAY)).or_insert((at, 0));
        (*first, *count) = (at.min(*first), *count + 1);
        Ok(self.sorter.add(message)?)
    }

    /// Everything that was read, by its time. If nothing says which time is wanted, it is that of most messages, up to a
    /// week without any before and after.
    pub fn sorted(mut self) -> Result<Sorted, ReplayError> {
        self.end_of_object()?;
        let is_asked = self.since.is_some() || self.until.is_some();
        let mut spans: Vec<(i64, i64, u64)> = Vec::new();
        for (day, (first, count)) in &self.days {
            let end = (day + 1) * DAY;
            match spans.last_mut().filter(|(_, before, _)| is_asked || first - *before <= FAR) {
                Some(span) => (span.1, span.2) = (end, span.2 + count),
                None => spans.push((*first, end, *count)),
            }
        }
        // Of spans of the same size, the latest.
        let chosen = (0..spans.len()).max_by_key(|at| spans[*at].2).map(|at| spans.remove(at));
        let time = |millis| Timestamp::from_millisecond(millis).unwrap_or_default();
        Ok(Sorted {
            first: chosen.map(|(first, ..)| first),
            left_out: spans.into_iter().map(|(first, end, count)| (time(first), time(end), count)).collect(),
            window: chosen.map_or(0..0, |(first, end, _)| first..end),
            messages: self.sorter.sorted()?,
        })
    }
}

impl Source for Sorted {
    fn next(&mut self) -> Result<Next, ReplayError> {
        for message in &mut self.messages {
            let message = message?;
            if self.window.contains(&message.at) {
                return Ok(Next::Message(message));
            }
        }
        Ok(Next::End)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(intake: Intake) -> (Sorted, Vec<i64>) {
        let mut sorted = intake.sorted().expect("sorted");
        let mut times = Vec::new();
        while let Next::Message(message) = sorted.next().expect("read") {
            times.push(message.at);
        }
        (sorted, times)
    }

    fn intake(since: Option<i64>, times: &[i64]) -> Intake {
        let mut intake = Intake::new(since, None);
        for time in times {
            let row = format!(r#"{{"id":1,"messaged_at":"{}"}}"#, Timestamp::from_millisecond(*time).expect("a time"));
            intake.line(row.as_bytes(), &String::new).expect("a row");
        }
        intake
    }

    #[test]
    fn what_a_wrong_clock_has_sent_is_left_out_unless_it_is_asked_for() {
        let times = [20_000 * DAY + 7, 5, 20_000 * DAY + 3, 40_000 * DAY, 20_005 * DAY];
        let (sorted, read_times) = read(intake(None, &times));
        assert_eq!(read_times, [20_000 * DAY + 3, 20_000 * DAY + 7, 20_005 * DAY]);
        assert_eq!(sorted.first, Some(20_000 * DAY + 3));
        let left_out: Vec<u64> = sorted.left_out.iter().map(|(_, _, count)| *count).collect();
        assert_eq!(left_out, [1, 1]);
        let (sorted, read_times) = read(intake(Some(6), &times));
        assert_eq!((sorted.first, read_times.len(), sorted.left_out.len()), (Some(20_000 * DAY + 3), 4, 0));
        let (sorted, read_times) = read(intake(None, &[]));
        assert_eq!((sorted.first, read_times.len()), (None, 0));
    }

    #[test]
    fn a_line_that_is_no_message_is_named() {
        let mut intake = Intake::new(None, None);
        let error = intake.line(b"{", &|| "line 3 of a.json".to_owned()).expect_err("no row");
        assert_eq!(error.to_string(), "line 3 of a.json: it is no JSON object");
        let error = intake.csv("id\n7\n".as_bytes(), "a.csv").expect_err("no time");
        assert!(error.to_string().starts_with("line 2 of a.csv: it has neither `messaged_at`"), "{error}");
    }
}
