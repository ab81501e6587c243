//! Shows each dead letter as a block of text with key, timestamp, headers and value. The order does not depend on which
//! was written first.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::name::safe;
use super::visible::{self, visible};
use super::{EntryKind, Key, Rule, Section};
use crate::case::{Case, Redaction, is_request_id};
use crate::json::quoted;
use crate::stack::{Record, Stack, StackError};

/// A record of a dead-letter topic. A pipeline sends it before it commits the offset after the source record, so a
/// crash may cause it to be sent again.
pub(crate) static DEAD_LETTER: EntryKind = EntryKind {
    noun: "dead letter",
    is_block: true,
    key: Key::Lines(&[
        "header __connect.errors.topic",
        "header __connect.errors.partition",
        "header __connect.errors.offset",
        "header __connect.errors.row.index",
    ]),
    rule: Rule::AtLeastOnce { offset_line: "header __connect.errors.offset:" },
};

const REDACTED: &str = "[redacted]";

/// One section for every dead-letter topic.
pub(super) fn sections(case: &Case, stack: &dyn Stack) -> Result<Vec<Section>, StackError> {
    let section = |topic: &String| {
        let entries = blocks(&stack.read_topic(topic)?, &case.redact);
        Ok(Section { name: safe(&["dead-letters", topic]), kind: &DEAD_LETTER, entries })
    };
    case.settings.dead_letters.iter().map(section).collect()
}

/// The headers in which Kafka Connect names the source of a dead letter: the topic, and the numbers by which the
/// letters of one topic are sorted.
const SOURCE_TOPIC: &str = "__connect.errors.topic";
const SOURCE_NUMBERS: [&str; 3] =
    ["__connect.errors.partition", "__connect.errors.offset", "__connect.errors.row.index"];

/// One block for each dead letter, in the order of the sources, so that the rows of one message keep their order.
/// Letters without such headers are sorted by key and value.
fn blocks(records: &[Record], redact: &[Redaction]) -> Vec<String> {
    let mut blocks: Vec<(&Record, String)> = records.iter().map(|record| (record, block(record, redact))).collect();
    blocks.sort_by(|(a, a_text), (b, b_text)| {
        source(a).cmp(&source(b)).then_with(|| (&a.key, &a.value, a_text).cmp(&(&b.key, &b.value, b_text)))
    });
    blocks.into_iter().map(|(_, text)| text).collect()
}

/// The source's topic, partition, offset and row index. Each of them is `None` if the headers do not give it.
fn source(record: &Record) -> (Option<&str>, [Option<i64>; 3]) {
    let header = |wanted: &str| {
        let (_, value) = record.headers.iter().find(|(name, _)| name == wanted)?;
        std::str::from_utf8(value.as_deref()?).ok()
    };
    (header(SOURCE_TOPIC), SOURCE_NUMBERS.map(|name| header(name)?.parse().ok()))
}

fn block(record: &Record, redact: &[Redaction]) -> String {
    let mut text = format!("key: {}\n", short(record.key.as_deref()));
    let timestamp = if redact.contains(&Redaction::DeadLetterTimestamp) {
        REDACTED.to_owned()
    } else {
        record.timestamp.to_string()
    };
    let _ = writeln!(text, "timestamp: {timestamp}");
    for (name, value) in &record.headers {
        let hidden = is_request_id(name)
            || redact
                .iter()
                .any(|redaction| matches!(redaction, Redaction::DeadLetterHeader(header) if header == name));
        let value = if hidden { REDACTED.to_owned() } else { short(value.as_deref()) };
        let _ = writeln!(text, "header {}: {value}", visible(name));
    }
    match record.value.as_deref() {
        None => text.push_str("value: null (a tombstone)"),
        // No line may end with a space, because insta trims its snapshots.
        Some([]) => text.push_str("value, 0 bytes"),
        Some(bytes) => {
            let (how, value) = visible::line(bytes);
            let unit = if bytes.len() == 1 { "byte" } else { "bytes" };
            let _ = write!(text, "value, {} {unit}{how}: {value}", bytes.len());
        }
    }
    text
}

/// A key or header value, shown as quoted text, as base64 or as `null`.
fn short(bytes: Option<&[u8]>) -> String {
    match bytes {
        None => "null".to_owned(),
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => visible(&quoted(text)),
            Err(_) => format!("base64 {}", BASE64.encode(bytes)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: Option<&[u8]>) -> Record {
        Record {
            topic: "dlq".into(),
            partition: 0,
            offset: 0,
            timestamp: 7,
            key: Some(b"k".to_vec()),
            value: value.map(<[u8]>::to_vec),
            headers: vec![("h".into(), Some(b"10".to_vec())), ("h".into(), None)],
        }
    }

    #[test]
    fn a_letter_shows_everything_it_has() {
        assert_eq!(
            block(&record(Some(b"{\"a\":")), &[]),
            "key: \"k\"\ntimestamp: 7\nheader h: \"10\"\nheader h: null\nvalue, 5 bytes: {\"a\":"
        );
        assert!(block(&record(None), &[]).ends_with("value: null (a tombstone)"));
        assert!(block(&record(Some(b"\xb1")), &[]).ends_with("value, 1 byte, not UTF-8, escaped: \\xb1"));
        let redact = [Redaction::DeadLetterHeader("h".into()), Redaction::DeadLetterTimestamp];
        assert_eq!(block(&record(None), &redact).matches(REDACTED).count(), 3);
    }

    /// Two runs of one fixture differ only in the id of the call that refused the row, and this id is not shown.
    #[test]
    fn the_id_of_the_call_that_refused_a_row_is_not_shown() {
        let letter = |id: &str| {
            let mut record = record(None);
            record.headers.push(("__connect.errors.request.id".into(), Some(id.as_bytes().to_vec())));
            block(&record, &[])
        };
        assert!(letter("R1").contains("header __connect.errors.request.id: [redacted]\n"), "{}", letter("R1"));
        assert_eq!(letter("R1"), letter("R2"));
    }

    #[test]
    fn letters_come_in_the_order_of_their_sources() {
        let letter = |offset: &str, row: Option<&str>, value: &[u8]| {
            let mut record = record(Some(value));
            let headers = [
                ("__connect.errors.partition", Some("1")),
                ("__connect.errors.offset", Some(offset)),
                ("__connect.errors.row.index", row),
            ];
            record.headers = headers
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), Some(value?.as_bytes().to_vec()))))
                .collect();
            record
        };
        let mut letters = vec![
            letter("10", None, b"d"),
            letter("9", Some("10"), b"a"),
            letter("9", Some("2"), b"b"),
            letter("9", None, b"c"),
        ];
        let values = |letters: &[Record]| -> Vec<char> {
            blocks(letters, &[]).iter().filter_map(|block| block.chars().last()).collect()
        };
        assert_eq!(values(&letters), ['c', 'b', 'a', 'd']);
        for letter in &mut letters {
            letter.headers.clear();
        }
        assert_eq!(values(&letters), ['a', 'b', 'c', 'd']);
    }
}
