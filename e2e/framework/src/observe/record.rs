//! Shows a Kafka record as a block of text: its key, partition, timestamp, headers and value.

use std::borrow::Cow;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::redactor::{REDACTED, Redactor};
use super::visible::{self, visible};
use crate::case::Place;
use crate::json::quoted;
use crate::stack::Record;

/// A record as it is shown, and what of it decides its order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shown<'a> {
    key: Option<&'a [u8]>,
    /// The value without what is redacted.
    value: Option<Cow<'a, [u8]>>,
    /// The whole block.
    pub text: String,
}

/// Shows a record of this place, without what is redacted there.
pub(super) fn show<'a>(record: &'a Record, place: Place, redactor: &Redactor<'_>) -> Shown<'a> {
    let mut text = format!("key: {}\n", short(record.key.as_deref()));
    // A dead letter is identified by its source, so its own partition says nothing.
    if place == Place::Records {
        let _ = writeln!(text, "partition: {}", record.partition);
    }
    let is_hidden = redactor.hides_timestamp(place);
    let timestamp = if is_hidden { REDACTED.to_owned() } else { record.timestamp.to_string() };
    let _ = writeln!(text, "timestamp: {timestamp}");
    for (name, value) in &record.headers {
        let is_hidden = redactor.hides_header(place, name);
        let value = if is_hidden { REDACTED.to_owned() } else { short(value.as_deref()) };
        let _ = writeln!(text, "header {}: {value}", visible(name));
    }
    let written = record.value.as_deref();
    let redacted = written.and_then(|value| redactor.fields(place, std::str::from_utf8(value).ok()?));
    match (written, &redacted) {
        (None, _) => text.push_str("value: null (a tombstone)"),
        // No line may end with a space, because a snapshot is trimmed at its end.
        (Some([]), _) => text.push_str("value, 0 bytes"),
        // The number of bytes may depend on what is redacted.
        (_, Some(value)) => {
            let (how, value) = visible::line(value.as_bytes());
            let _ = write!(text, "value, redacted{how}: {value}");
        }
        (Some(bytes), None) => {
            let (how, value) = visible::line(bytes);
            let unit = if bytes.len() == 1 { "byte" } else { "bytes" };
            let _ = write!(text, "value, {} {unit}{how}: {value}", bytes.len());
        }
    }
    let value = redacted.map(|text| Cow::Owned(text.into_bytes())).or(written.map(Cow::Borrowed));
    Shown { key: record.key.as_deref(), value, text }
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
    use crate::case::Redactions;

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

    fn block(record: &Record, redact: &[&str]) -> String {
        show(record, Place::DeadLetters, &Redactor::new(&Redactions::of(redact, &[]))).text
    }

    #[test]
    fn a_record_shows_everything_it_has() {
        assert_eq!(
            block(&record(Some(b"{\"a\":")), &[]),
            "key: \"k\"\ntimestamp: 7\nheader h: \"10\"\nheader h: null\nvalue, 5 bytes: {\"a\":"
        );
        assert!(block(&record(None), &[]).ends_with("value: null (a tombstone)"));
        assert!(block(&record(Some(b"\xb1")), &[]).ends_with("value, 1 byte, not UTF-8, escaped: \\xb1"));
    }

    #[test]
    fn what_is_redacted_is_not_shown_and_changes_nothing_else() {
        let redact = ["$.dead_letters[*].headers.h", "$.dead_letters[*].timestamp"];
        assert_eq!(block(&record(None), &redact).matches(REDACTED).count(), 3);
        let redact = ["$.dead_letters[*].value.a.at"];
        let shown = block(&record(Some(br#"{"a":{"at":12},"b":1.50}"#)), &redact);
        assert!(shown.ends_with(r#"value, redacted: {"a":{"at":"[redacted]"},"b":1.50}"#), "{shown}");
        assert!(block(&record(Some(b"{\"at\":1}")), &redact).ends_with("value, 8 bytes: {\"at\":1}"));
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
}
