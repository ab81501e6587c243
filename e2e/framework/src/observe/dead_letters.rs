//! Dead letters as text: key, time, headers and value, a block each, in an order that does not depend on who wrote first.

use std::cmp::Ordering;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::case::Redaction;
use crate::json::quoted;
use crate::stack::Record;

const REDACTED: &str = "[redacted]";

/// One block a letter, sorted.
pub(super) fn blocks(records: &[Record], redact: &[Redaction]) -> Vec<String> {
    let mut blocks: Vec<String> = records.iter().map(|record| block(record, redact)).collect();
    blocks.sort_by(|a, b| natural(a, b));
    blocks
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
        let hidden =
            redact.iter().any(|redaction| matches!(redaction, Redaction::DeadLetterHeader(header) if header == name));
        let value = if hidden { REDACTED.to_owned() } else { short(value.as_deref()) };
        let _ = writeln!(text, "header {name}: {value}");
    }
    match record.value.as_deref() {
        None => text.push_str("value: null (a tombstone)"),
        Some(bytes) => {
            let (encoding, value) = match plain(bytes) {
                Some(value) => ("", value.to_owned()),
                None => (" in base64", BASE64.encode(bytes)),
            };
            let _ = write!(text, "value, {} bytes{encoding}: {value}", bytes.len());
        }
    }
    text
}

/// A key or header: quoted text, base64, or null.
fn short(bytes: Option<&[u8]>) -> String {
    match bytes {
        None => "null".to_owned(),
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => quoted(text),
            Err(_) => format!("base64 {}", BASE64.encode(bytes)),
        },
    }
}

/// Text that is shown as it is: UTF-8 on one line, with nothing in it that a terminal or an editor would hide.
fn plain(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes)
        .ok()
        .filter(|text| !text.chars().any(|c| c.is_control() || c == '\u{feff}') && text.trim_end() == *text)
}

/// Text order in which runs of digits count as numbers: offset 9 before offset 10.
fn natural(a: &str, b: &str) -> Ordering {
    runs(a).cmp(runs(b))
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Run<'a> {
    /// Significant digits, these, and how many there are with leading zeros.
    Number(usize, &'a str, usize),
    Text(&'a str),
}

fn runs(mut text: &str) -> impl Iterator<Item = Run<'_>> {
    std::iter::from_fn(move || {
        let is_number = text.starts_with(|c: char| c.is_ascii_digit());
        let end = text.find(|c: char| c.is_ascii_digit() != is_number).unwrap_or(text.len());
        let (run, rest) = text.split_at(end);
        text = rest;
        let significant = run.trim_start_matches('0');
        match run {
            "" => None,
            run if is_number => Some(Run::Number(significant.len(), significant, run.len())),
            run => Some(Run::Text(run)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
        for hidden in [&b"\xff"[..], b"a\nb", b"\xef\xbb\xbf{}", b"a "] {
            assert!(block(&record(Some(hidden)), &[]).contains("in base64"), "{hidden:?}");
        }
        let redact = [Redaction::DeadLetterHeader("h".into()), Redaction::DeadLetterTimestamp];
        assert_eq!(block(&record(None), &redact).matches(REDACTED).count(), 3);
    }

    #[test]
    fn offsets_are_sorted_as_numbers() {
        assert_eq!(natural("offset: 9 x", "offset: 10 x"), Ordering::Less);
        assert_eq!(natural("a", "a1"), Ordering::Less);
        assert_eq!(natural("a01", "a1"), Ordering::Greater);
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in "[a0-9]{0,6}", b in "[a0-9]{0,6}", c in "[a0-9]{0,6}") {
            prop_assert_eq!(natural(&a, &b), natural(&b, &a).reverse());
            prop_assert_eq!(natural(&a, &b).is_eq(), a == b);
            if natural(&a, &b).is_le() && natural(&b, &c).is_le() {
                prop_assert!(natural(&a, &c).is_le());
            }
        }
    }
}
