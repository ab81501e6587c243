//! Reads what a case sends: `messages.ndjson` with one message on each line, or the files of `messages/`, byte for
//! byte.
//!
//! A line of `messages.ndjson` is sent exactly as it is written, without its line break, whatever bytes it contains. An
//! empty line is refused, because its meaning is not clear; an empty message is written `{"$record": {"value": ""}}`. A
//! line that begins with `{"$record"` can also give the topic, key, headers, timestamp and partition of its record.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::error::{FixtureError, with_nearest_key};

/// One message of a fixture, before its topic, partition and offset are decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// The number of its line in `messages.ndjson`, or of its file in `messages/`, counted from 1.
    pub line: usize,
    /// The topic, unless it is the one of the settings.
    pub topic: Option<String>,
    pub key: Key,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    pub timestamp: Option<i64>,
    pub partition: Option<i32>,
}

/// Where a message's key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// The key comes from the key template of the settings.
    Template,
    /// The line itself gives the key. `None` is a null key.
    Given(Option<Vec<u8>>),
}

impl Message {
    fn plain(line: usize, value: Vec<u8>) -> Self {
        Self {
            line,
            topic: None,
            key: Key::Template,
            value: Some(value),
            headers: Vec::new(),
            timestamp: None,
            partition: None,
        }
    }
}

/// Reads the messages of `messages.ndjson`.
pub(super) fn read_lines(path: &Path) -> Result<Vec<Message>, FixtureError> {
    let bytes = std::fs::read(path).map_err(|error| FixtureError::io(path, "read", &error))?;
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    if bytes.is_empty() {
        return Err(FixtureError::new(path, "is empty: write one message a line"));
    }
    bytes.split(|byte| *byte == b'\n').enumerate().map(|(i, line)| parse_line(path, i + 1, line)).collect()
}

fn parse_line(path: &Path, number: usize, line: &[u8]) -> Result<Message, FixtureError> {
    if line.is_empty() {
        let problem = r#"an empty line; an empty message is written {"$record": {"value": ""}}"#;
        return Err(FixtureError::at(path, number, problem));
    }
    if !is_record(line) {
        return Ok(Message::plain(number, line.to_vec()));
    }
    let wrapper: Wrapper = serde_json::from_slice(line).map_err(|error| {
        FixtureError::at(path, number, format!("`$record`: {}", with_nearest_key(&error.to_string())))
    })?;
    wrapper.record.message(number).map_err(|problem| FixtureError::at(path, number, format!("`$record`: {problem}")))
}

/// Whether the line begins with `{"$record"`, if whitespace is ignored.
fn is_record(line: &[u8]) -> bool {
    let Some(rest) = line.trim_ascii_start().strip_prefix(b"{") else { return false };
    rest.trim_ascii_start().starts_with(br#""$record""#)
}

/// Reads the files of `messages/`, in the order of their names.
pub(super) fn read_files(folder: &Path) -> Result<Vec<Message>, FixtureError> {
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut paths: Vec<_> = entries
        .map_err(|error| FixtureError::io(folder, "list", &error))?
        .into_iter()
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    if paths.is_empty() {
        return Err(FixtureError::new(folder, "is empty: put one message a file into it"));
    }
    let read = |(i, path): (usize, &std::path::PathBuf)| {
        if path.is_dir() {
            return Err(FixtureError::new(
                path,
                "a folder among messages; every message is a file of `messages/` itself",
            ));
        }
        let bytes = std::fs::read(path).map_err(|error| FixtureError::io(path, "read", &error))?;
        Ok(Message::plain(i + 1, bytes))
    };
    paths.iter().enumerate().map(read).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrapper<'a> {
    #[serde(rename = "$record", borrow)]
    record: RecordLine<'a>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordLine<'a> {
    #[serde(borrow)]
    topic: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "present")]
    key: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    value_base64: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    headers: Headers<'a>,
    timestamp: Option<i64>,
    partition: Option<i32>,
}

/// Makes a field that is null `Some`, so that it differs from a field that is absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl RecordLine<'_> {
    fn message(&self, line: usize) -> Result<Message, String> {
        let value = match (self.value, &self.value_base64) {
            (Some(value), None) => bytes(value)?,
            (None, Some(text)) => {
                Some(BASE64.decode(text.as_ref()).map_err(|error| format!("`value_base64`: {error}"))?)
            }
            (Some(_), Some(_)) => return Err("has both `value` and `value_base64`".to_owned()),
            (None, None) => {
                return Err("has neither `value` nor `value_base64`; a tombstone is `\"value\": null`".to_owned());
            }
        };
        let header = |(name, value): &(String, &RawValue)| Ok((name.clone(), bytes(value)?));
        Ok(Message {
            line,
            topic: self.topic.as_deref().map(str::to_owned),
            key: self.key.map_or(Ok(Key::Template), |key| bytes(key).map(Key::Given))?,
            value,
            headers: self.headers.0.iter().map(header).collect::<Result<_, String>>()?,
            timestamp: self.timestamp,
            partition: self.partition,
        })
    }
}

/// The bytes that a JSON value stands for: the text of a string, `None` for null, and for any other value its JSON text
/// as it is written.
fn bytes(value: &RawValue) -> Result<Option<Vec<u8>>, String> {
    match value.get() {
        "null" => Ok(None),
        text if text.starts_with('"') => match serde_json::from_str::<String>(text) {
            Ok(text) => Ok(Some(text.into_bytes())),
            Err(error) => Err(format!("{text}: {error}; bytes that are no Unicode text are given as `value_base64`")),
        },
        text => Ok(Some(text.as_bytes().to_vec())),
    }
}

/// Headers written as `[["name", "value"], …]` or as `{"name": "value", …}`. Both forms keep their order and
/// duplicates.
#[derive(Default)]
struct Headers<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Headers<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("headers as a list of [name, value] or as a map")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut headers = Vec::new();
                while let Some(header) = list.next_element()? {
                    headers.push(header);
                }
                Ok(headers)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut headers = Vec::new();
                while let Some(header) = map.next_entry()? {
                    headers.push(header);
                }
                Ok(headers)
            }
        }
        deserializer.deserialize_any(Either).map(Headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &[u8]) -> Result<Message, FixtureError> {
        parse_line(Path::new("messages.ndjson"), 7, text)
    }

    #[test]
    fn any_bytes_are_sent_as_they_stand() {
        for bytes in [&br#"{"a":1.50}"#[..], br#"{"a":"#, b"\xff\xfe{", b"\xef\xbb\xbf{}", b" ", b"{}\r"] {
            assert_eq!(line(bytes).expect("sent"), Message::plain(7, bytes.to_vec()));
        }
    }

    #[test]
    fn a_record_gives_topic_key_headers_time_and_partition() {
        let text = br#"{ "$record": {"key": "k", "value": {"a": 1.50}, "headers": [["h","1"],["h",null]], "timestamp": 5, "partition": 3, "topic": "t"}}"#;
        let message = line(text).expect("a record");
        assert_eq!(message.topic.as_deref(), Some("t"));
        assert_eq!(message.key, Key::Given(Some(b"k".to_vec())));
        assert_eq!(message.value, Some(br#"{"a": 1.50}"#.to_vec()));
        assert_eq!(message.headers, [("h".to_owned(), Some(b"1".to_vec())), ("h".to_owned(), None)]);
        assert_eq!((message.timestamp, message.partition), (Some(5), Some(3)));
        let message =
            line(br#"{"$record": {"value": null, "key": null, "headers": {"a": "b"}}}"#).expect("a tombstone");
        assert_eq!((message.key, message.value), (Key::Given(None), None));
        assert_eq!(message.headers, [("a".to_owned(), Some(b"b".to_vec()))]);
        assert_eq!(line(br#"{"$record": {"value_base64": "//4="}}"#).expect("bytes").value, Some(vec![0xff, 0xfe]));
        assert_eq!(line(br#"{"$record": {"value": ""}}"#).expect("empty").value, Some(Vec::new()));
    }

    #[test]
    fn mistakes_name_the_line_and_what_to_write() {
        for (text, says) in [
            (&br#"{"$record": {"valeu": 1}}"#[..], "did you mean `value`?"),
            (br#"{"$record": {"key": "k"}}"#, "a tombstone is `\"value\": null`"),
            (br#"{"$record": {"value": 1, "value_base64": ""}}"#, "both"),
            (br#"{"$record": {"value_base64": "*"}}"#, "value_base64"),
            (br#"{"$record": {"value": 1}"#, "`$record`"),
            (br#"{"$record": {"value": "\ud800"}}"#, "value_base64"),
            (b"", "an empty line"),
        ] {
            let error = line(text).expect_err(says).to_string();
            assert!(error.starts_with("messages.ndjson:7: ") && error.contains(says), "{error}");
        }
    }
}
