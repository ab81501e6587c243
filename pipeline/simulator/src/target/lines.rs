//! Messages as JSON lines, in a file or on the standard output: what `messages.ndjson` of a fixture has.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{Target, TargetError};
use crate::Message;

/// Writes each message as a line `{"$record":{"topic":…,"key":…,"timestamp":…,"value":…}}`.
///
/// A value that is JSON stands there as it is sent, byte for byte. Other text is a string, and what is no text is
/// `value_base64`.
pub struct Lines {
    out: BufWriter<Box<dyn Write>>,
    path: PathBuf,
    line: Vec<u8>,
}

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
        Self { out: BufWriter::with_capacity(1 << 16, out), path, line: Vec::new() }
    }

    fn done(&self, written: io::Result<()>) -> Result<(), TargetError> {
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => TargetError::Closed,
            _ => TargetError::Write { path: self.path.clone(), error },
        })
    }
}

impl Target for Lines {
    fn send(&mut self, topic: &str, message: &Message) -> Result<(), TargetError> {
        self.line.clear();
        write_line(&mut self.line, topic, message);
        let written = self.out.write_all(&self.line);
        self.done(written)
    }

    fn finish(&mut self) -> Result<(), TargetError> {
        let flushed = self.out.flush();
        self.done(flushed)
    }
}

fn write_line(out: &mut Vec<u8>, topic: &str, message: &Message) {
    let Message { id, at, .. } = message;
    // Writing to a vector cannot fail.
    let _infallible = write!(out, r#"{{"$record":{{"topic":"{topic}","key":"{id}","timestamp":{at},"#);
    match &message.value {
        None => out.extend_from_slice(br#""value":null"#),
        Some(value) if message.is_json => {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Protocol;

    #[test]
    fn a_line_has_the_bytes_of_the_value_whatever_they_are() {
        let message = |value: Option<&[u8]>, is_json| Message {
            protocol: Protocol::VehicleTire,
            id: 10_001,
            at: 5,
            value: value.map(<[u8]>::to_vec),
            is_json,
            message_id: String::new(),
            rows: Vec::new(),
            dead_letters: 0,
            is_refused_by_dynamodb: false,
            is_copy: false,
            faults: Vec::new(),
            of_all_rows: crate::Faults::default(),
        };
        for (value, is_json, written) in [
            (Some(&br#"{"a":1.50}"#[..]), true, r#""value":{"a":1.50}"#),
            (Some(br#"{"a":"#), false, r#""value":"{\"a\":""#),
            (Some(b"\xef\xbb\xbf{}"), false, "\"value\":\"\u{feff}{}\""),
            (Some(b"\xff"), false, r#""value_base64":"/w==""#),
            (Some(b""), false, r#""value":"""#),
            (None, false, r#""value":null"#),
        ] {
            let mut line = Vec::new();
            write_line(&mut line, "fms.vehicle.real", &message(value, is_json));
            let whole =
                format!(r#"{{"$record":{{"topic":"fms.vehicle.real","key":"10001","timestamp":5,{written}}}}}"#);
            assert_eq!(String::from_utf8_lossy(&line), whole + "\n");
        }
    }
}
