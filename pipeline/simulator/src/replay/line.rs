//! A line of a file: a record as `--to file` writes it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Recorded;

/// How a line begins that is a record and no row.
const RECORD: &str = "{\"$record\"";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'l> {
    #[serde(rename = "$record", borrow)]
    record: Record<'l>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record<'l> {
    topic: Option<String>,
    key: Option<String>,
    #[serde(default)]
    headers: Vec<(String, Option<String>)>,
    timestamp: i64,
    #[serde(borrow)]
    value: Option<&'l RawValue>,
    value_base64: Option<String>,
}

/// The record that a line is; `None` if it is a row. An error says what is wrong with it.
pub(super) fn record(line: &str) -> Result<Option<Recorded>, String> {
    if !line.starts_with(RECORD) {
        return Ok(None);
    }
    let Line { record } = serde_json::from_str(line).map_err(|error| format!("it is no record: {error}"))?;
    let value = match (record.value, record.value_base64) {
        (_, Some(bytes)) => Some(BASE64.decode(bytes).map_err(|error| format!("`value_base64`: {error}"))?),
        (None, None) => None,
        // A string stands for its text.
        (Some(value), None) if value.get().starts_with('"') => {
            let text: String = serde_json::from_str(value.get()).map_err(|error| format!("`value`: {error}"))?;
            Some(text.into_bytes())
        }
        (Some(value), None) => Some(value.get().as_bytes().to_vec()),
    };
    let headers = record.headers.into_iter().map(|(name, value)| (name, value.map(String::into_bytes))).collect();
    let key = record.key.map(String::into_bytes);
    Ok(Some(Recorded { at: record.timestamp, topic: record.topic, key, value, headers }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_the_bytes_that_were_sent() {
        let line = |rest: &str| record(&format!(r#"{{"$record":{{"topic":"t","key":"7","timestamp":5,{rest}}}}}"#));
        let value = |rest: &str| line(rest).expect("a record").expect("no row").value;
        assert_eq!(value(r#""value":{"a": 1.50}"#), Some(br#"{"a": 1.50}"#.to_vec()));
        assert_eq!(value(r#""value":"{\"a\":""#), Some(br#"{"a":"#.to_vec()));
        assert_eq!(value(r#""value":null"#), None);
        assert_eq!(value(r#""value_base64":"/w==""#), Some(vec![0xff]));
        let read = line(r#""headers":[["a","b"],["c",null]],"value":1"#).expect("a record").expect("no row");
        assert_eq!(read.headers, [("a".to_owned(), Some(b"b".to_vec())), ("c".to_owned(), None)]);
        assert_eq!((read.at, read.topic.as_deref(), read.key.as_deref()), (5, Some("t"), Some(&b"7"[..])));
        assert_eq!(record(r#"{"id":7}"#), Ok(None));
        assert!(line(r#""walue":1"#).is_err_and(|error| error.contains("walue")));
    }
}
