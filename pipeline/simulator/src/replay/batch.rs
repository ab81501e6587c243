//! Rows as the messages that they were sent in: consecutive rows of one message become one message again.
//!
//! What all of them have in common at their beginning is the envelope, and the rest, from the time of the row on, is the
//! list. A pipeline that unrolls the list has exactly the same rows again, byte by byte.

use e2e_mask::{fields, quoted};
use jiff::Timestamp;
use serde_json::value::RawValue;

use super::Recorded;

/// The list of a message.
pub(super) const LIST: &str = "measurements";
/// The fields that say when a message was sent: of the envelope, and of a row if the envelope does not say it.
const TIMES: [&str; 2] = ["messaged_at", "timestamp_iso"];
/// The fields that rows of one message have in common.
const SAME: [&str; 5] = ["object", "type", "command", "id", "message_id"];
/// The fields with which an element of the list begins, as devices write it.
const ELEMENT: [&str; 2] = ["timestamp_iso", "seq"];
/// The values of `command` of messages that have no list, as JSON.
const WITHOUT_LIST: [&str; 2] = ["\"command\"", "\"response\""];
/// The most rows of a message, and the most bytes; rows over it begin a new one.
const ROWS: usize = 5000;
const BYTES: usize = 4 << 20;

/// The rows of a message that is not complete yet.
#[derive(Debug, Default)]
pub(super) struct Batch {
    rows: Vec<String>,
    bytes: usize,
    /// The values of [`SAME`].
    same: Vec<String>,
}

type Fields<'r> = Vec<(String, &'r RawValue)>;

fn find<'r>(fields: &Fields<'r>, name: &str) -> Option<&'r str> {
    fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.get())
}

impl Batch {
    /// Adds a row. If it is of another message than those before, they are given, which are complete. An error says what
    /// is wrong with the row.
    pub(super) fn add(&mut self, row: &str) -> Result<Option<Recorded>, String> {
        let fields = fields(row.as_bytes()).ok_or("it is no JSON object")?;
        time(&fields)?;
        let same: Vec<String> = SAME.map(|name| find(&fields, name).unwrap_or_default().to_owned()).into();
        // A row without a `message_id` is a message of its own.
        let is_alone = same[SAME.len() - 1].is_empty() || is_whole(&fields);
        let goes_on = !is_alone && same == self.same && self.rows.len() < ROWS && self.bytes + row.len() < BYTES;
        let complete = if goes_on { None } else { self.end() };
        self.same = if is_alone { Vec::new() } else { same };
        self.bytes += row.len();
        self.rows.push(row.to_owned());
        Ok(complete)
    }

    /// The message of the rows that are left.
    pub(super) fn end(&mut self) -> Option<Recorded> {
        let rows = std::mem::take(&mut self.rows);
        (self.bytes, self.same) = (0, Vec::new());
        // They were read when they were added.
        let parsed: Vec<Fields<'_>> = rows.iter().filter_map(|row| fields(row.as_bytes())).collect();
        let (first, last) = (parsed.first()?, parsed.last()?);
        let at = time(first).ok().filter(|_| find(first, TIMES[0]).is_some()).or_else(|| time(last).ok())?;
        let id = find(first, "id").map(|id| id.trim_matches('"').as_bytes().to_vec());
        let value = if parsed.len() == 1 && is_whole(first) { rows[0].clone() } else { message(&parsed) };
        Some(Recorded { at, topic: None, key: id, value: Some(value.into_bytes()), headers: Vec::new() })
    }
}

/// Whether a row is a message as it is: it has a list itself, or is of a request or a response.
fn is_whole(fields: &Fields<'_>) -> bool {
    find(fields, LIST).is_some() || find(fields, "command").is_some_and(|command| WITHOUT_LIST.contains(&command))
}

/// When the message of a row was sent, in milliseconds since the Unix epoch.
fn time(fields: &Fields<'_>) -> Result<i64, String> {
    let found = TIMES.iter().find_map(|name| find(fields, name).map(|value| (name, value)));
    let (name, value) = found.ok_or("it has neither `messaged_at` nor `timestamp_iso`, which say when it was sent")?;
    let time: Result<Timestamp, _> = value.trim_matches('"').parse();
    time.map(Timestamp::as_millisecond).map_err(|_| format!("`{name}` is {value}, which is no time with an offset"))
}

/// The message of which the pipeline makes these rows.
fn message(rows: &[Fields<'_>]) -> String {
    let first = &rows[0];
    let is_common = |at: usize| {
        let (name, value) = &first[at];
        rows.iter().all(|row| row.get(at).is_some_and(|(other, text)| other == name && text.get() == value.get()))
    };
    // An element has a field at least.
    let shortest = rows.iter().map(Vec::len).min().unwrap_or(0);
    let element = first.iter().position(|(name, _)| ELEMENT.contains(&name.as_str())).unwrap_or(usize::MAX);
    let common = (0..shortest.saturating_sub(1).min(element)).take_while(|at| is_common(*at)).count();
    // A name that a row has twice is not in both parts: the element's would hide that of the envelope.
    let is_twice = |at: &usize| rows.iter().any(|row| row[common..].iter().any(|(name, _)| *name == first[*at].0));
    let common = (0..common).find(is_twice).unwrap_or(common);
    let text = |fields: &[(String, &RawValue)]| {
        let fields = fields.iter().map(|(name, value)| format!("{}:{}", quoted(name), value.get()));
        fields.collect::<Vec<_>>().join(",")
    };
    let elements: Vec<String> = rows.iter().map(|row| format!("{{{}}}", text(&row[common..]))).collect();
    let separator = if common == 0 { "" } else { "," };
    format!("{{{}{separator}\"{LIST}\":[{}]}}", text(&first[..common]), elements.join(","))
}

#[cfg(test)]
mod tests {
    use fms_record::Parser;
    use proptest::prelude::*;

    use super::*;

    /// The rows that a pipeline makes of a message.
    fn unrolled(message: &Recorded) -> Vec<String> {
        let mut parser = Parser::new(Some(LIST.to_owned()));
        let message = parser.parse(message.value.as_deref().expect("a value")).expect("a message");
        let rows = message.rows().map(|row| {
            let mut line = Vec::new();
            row.expect("a row").write_json(&mut line);
            String::from_utf8(line).expect("text")
        });
        rows.collect()
    }

    fn batched(rows: &[String]) -> Vec<Recorded> {
        let mut batch = Batch::default();
        let mut messages: Vec<Recorded> = rows.iter().filter_map(|row| batch.add(row).expect("a row")).collect();
        messages.extend(batch.end());
        messages
    }

    #[test]
    fn rows_of_a_message_are_one_message_again() {
        let row = |message: &str, second: u32, speed: &str| {
            format!(
                r#"{{"object":"vehicle","id":7,"message_id":"{message}","messaged_at":"2023-01-01T00:01:00Z","timestamp_iso":"2023-01-01T00:00:{second:02}Z","speed":{speed}}}"#
            )
        };
        let messages = batched(&[row("a", 0, "1.50"), row("a", 1, "1.50"), row("b", 2, "2")]);
        assert_eq!(messages.len(), 2);
        assert_eq!((messages[0].at, messages[0].key.as_deref()), (1_672_531_260_000, Some(&b"7"[..])));
        assert_eq!(
            String::from_utf8_lossy(messages[0].value.as_deref().expect("a value")),
            r#"{"object":"vehicle","id":7,"message_id":"a","messaged_at":"2023-01-01T00:01:00Z","measurements":[{"timestamp_iso":"2023-01-01T00:00:00Z","speed":1.50},{"timestamp_iso":"2023-01-01T00:00:01Z","speed":1.50}]}"#
        );
        assert_eq!(
            String::from_utf8_lossy(messages[1].value.as_deref().expect("a value")),
            r#"{"object":"vehicle","id":7,"message_id":"b","messaged_at":"2023-01-01T00:01:00Z","measurements":[{"timestamp_iso":"2023-01-01T00:00:02Z","speed":2}]}"#
        );
        let response = r#"{"command":"response","id":7,"message_id":"c","messaged_at":"2023-01-01T00:01:00Z"}"#;
        assert_eq!(batched(&[response.to_owned()])[0].value.as_deref(), Some(response.as_bytes()));
    }

    #[test]
    fn what_is_no_row_is_explained() {
        let problem = |row: &str| Batch::default().add(row).expect_err("no row");
        assert_eq!(problem("[1]"), "it is no JSON object");
        assert!(problem(r#"{"id":1}"#).contains("neither `messaged_at` nor `timestamp_iso`"));
        assert!(problem(r#"{"timestamp_iso":"noon"}"#).contains(r#"`timestamp_iso` is "noon""#));
    }

    proptest! {
        /// A pipeline makes the same rows of the messages again, byte by byte and in their order.
        #[test]
        fn the_pipeline_makes_the_same_rows_again(
            rows in proptest::collection::vec((0..3_u8, 0..2_u8, proptest::collection::btree_map("[a-d]", 0..3_u8, 0..4)), 1..12)
        ) {
            let rows: Vec<String> = rows.iter().map(|(message, second, fields)| {
                let fields: Vec<String> = fields.iter().map(|(name, value)| format!(r#","{name}":{value}.0"#)).collect();
                let fields = fields.concat();
                format!(r#"{{"object":"o","type":"t","id":1,"message_id":"{message}","timestamp_iso":"2023-01-01T00:00:0{second}Z"{fields}}}"#)
            }).collect();
            let again: Vec<String> = batched(&rows).iter().flat_map(unrolled).collect();
            prop_assert_eq!(again, rows);
        }
    }
}
