//! Messages as JSON lines, in a file or on the standard output: what `messages.ndjson` of a fixture has.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{Header, Missing, Record, Target, TargetError};

/// Writes each message as a line `{"$record":{"topic":…,"key":…,"timestamp":…,"value":…}}`.
///
/// A value that is JSON stands there as it is sent, byte for byte. Other text is a string, and what is no text is
/// `value_base64`.
pub struct Lines {
    out: Box<dyn Write>,
    path: PathBuf,
    /// Text that waits until it is much.
    waiting: Vec<u8>,
    /// How many lines there were, and how many of them were written.
    sent: u64,
    written: u64,
}

/// How many bytes are written at once.
const CHUNK: usize = 1 << 16;

impl Lines {
    /// To the standard output.
    pub fn stdout() -> Self {
        Self::new(Box::new(io::stdout()), "standard output".into())
    }

    /// Into a file, which is created, or emptied if it is there.
    pub fn file(path: &Path) -> Result<Self, TargetError> {
        let file = std::fs::File::create(path).map_err(|error| TargetError::Write { path: path.into(), error })?;
        Ok(Self::new(Box::new(file), path.into()))
    }

    fn new(out: Box<dyn Write>, path: PathBuf) -> Self {
        Self { out, path, waiting: Vec::new(), sent: 0, written: 0 }
    }

    /// Writes what waits. After an error, it is known how many whole lines were written.
    fn write(&mut self) -> Result<(), TargetError> {
        let mut rest = self.waiting.as_slice();
        let written = loop {
            if rest.is_empty() {
                break self.out.flush();
            }
            match self.out.write(rest) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => {
                    self.written += memchr::memchr_iter(b'\n', &rest[..bytes]).count() as u64;
                    rest = &rest[bytes..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.waiting.clear();
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => TargetError::Closed,
            _ => TargetError::Write { path: self.path.clone(), error },
        })
    }
}

impl Target for Lines {
    fn send(&mut self, record: &Record<'_>, _stops: &dyn Fn() -> bool) -> Result<(), TargetError> {
        let before = self.waiting.len();
        write_line(&mut self.waiting, record).map_err(|what| {
            self.waiting.truncate(before);
            TargetError::NoText { name: record.name.to_owned(), what, path: self.path.clone() }
        })?;
        self.sent += 1;
        if self.waiting.len() < CHUNK { Ok(()) } else { self.write() }
    }

    fn finish(&mut self, _stops: &dyn Fn() -> bool) -> Result<(), TargetError> {
        self.write()
    }

    fn arrived(&self) -> u64 {
        self.written
    }

    fn missing(&mut self) -> Missing {
        Missing { numbers: (self.written..self.sent).collect(), uncertain: 0 }
    }
}

/// An error is what of the record is no text, although a line can hold only text there.
fn write_line(out: &mut Vec<u8>, record: &Record<'_>) -> Result<(), String> {
    // Writing to a vector cannot fail.
    let _infallible = out.write_all(b"{\"$record\":{\"topic\":");
    let _infallible = serde_json::to_writer(&mut *out, record.topic);
    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| std::str::from_utf8(bytes).map(str::to_owned)).transpose();
    let key = text(record.key).map_err(|_| "the key".to_owned())?;
    let _infallible = out.write_all(b",\"key\":");
    let _infallible = serde_json::to_writer(&mut *out, &key);
    if !record.headers.is_empty() {
        let header = |(name, value): &Header| {
            let value = text(value.as_deref()).map_err(|_| format!("the header `{name}`"))?;
            Ok((name.clone(), value))
        };
        let headers: Vec<_> = record.headers.iter().map(header).collect::<Result<_, String>>()?;
        let _infallible = out.write_all(b",\"headers\":");
        let _infallible = serde_json::to_writer(&mut *out, &headers);
    }
    let _infallible = write!(out, ",\"timestamp\":{},", record.at);
    match record.value {
        None => out.extend_from_slice(br#""value":null"#),
        Some(value) if record.is_json => {
            out.extend_from_slice(br#""value":"#);
            out.extend_from_slice(value);
        }
        Some(value) => match std::str::from_utf8(value) {
            Ok(text) => {
                out.extend_from_slice(br#""value":"#);
                let _infallible = serde_json::to_writer(&mut *out, text);
            }
            Err(_) => {
                let _infallible = write!(out, r#""value_base64":"{}""#, BASE64.encode(value));
            }
        },
    }
    out.extend_from_slice(b"}}\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_bytes_of_the_value_whatever_they_are() {
        for (value, is_json, written) in [
            (Some(&br#"{"a":1.50}"#[..]), true, r#""value":{"a":1.50}"#),
            (Some(br#"{"a":"#), false, r#""value":"{\"a\":""#),
            (Some(b"\xef\xbb\xbf{}"), false, "\"value\":\"\u{feff}{}\""),
            (Some(b"\xff"), false, r#""value_base64":"/w==""#),
            (Some(b""), false, r#""value":"""#),
            (None, false, r#""value":null"#),
        ] {
            let mut line = Vec::new();
            let topic = "fms.vehicle.real";
            let record = Record { topic, key: Some(b"10001"), at: 5, value, headers: &[], is_json, name: "" };
            write_line(&mut line, &record).expect("text");
            let whole =
                format!(r#"{{"$record":{{"topic":"fms.vehicle.real","key":"10001","timestamp":5,{written}}}}}"#);
            assert_eq!(String::from_utf8_lossy(&line), whole + "\n");
        }
    }

    #[test]
    fn headers_stand_in_a_line_if_they_are_text() {
        let headers = [("trace".to_owned(), Some(b"7".to_vec())), ("none".to_owned(), None)];
        let record =
            Record { topic: "t", key: None, at: 5, value: None, headers: &headers, is_json: false, name: "it" };
        let mut line = Vec::new();
        write_line(&mut line, &record).expect("text");
        assert_eq!(
            String::from_utf8_lossy(&line),
            concat!(
                r#"{"$record":{"topic":"t","key":null,"headers":[["trace","7"],["none",null]],"timestamp":5,"value":null}}"#,
                "\n"
            )
        );
        let record = Record { key: Some(b"\xff"), ..record };
        assert_eq!(write_line(&mut line, &record), Err("the key".to_owned()));
    }
}
