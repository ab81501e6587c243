//! `e2e record` makes a fixture of what is in a topic, with fields masked by rules.

mod consume;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;
use e2e_mask::Mask;

use self::consume::{Source, read};
use super::new::write;
use crate::json::quoted;
use crate::stack::Record;
use crate::{Suite, machine};

#[derive(Debug, Args)]
pub(super) struct RecordArguments {
    /// The topic whose records are read.
    #[arg(long, value_name = "TOPIC")]
    topic: String,
    /// The folder of the fixture, `fixtures/PROTOCOL/CASE`. It must not exist.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// The Kafka brokers.
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS", value_name = "HOST:PORT,…")]
    bootstrap_servers: String,
    /// The most records.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    max_messages: usize,
    /// Read from this offset of each partition on.
    #[arg(long, value_name = "OFFSET", conflicts_with = "last")]
    from_offset: Option<i64>,
    /// Read only the last records of each partition, so many.
    #[arg(long, value_name = "N")]
    last: Option<i64>,
    /// A setting of librdkafka for the consumer, such as `security.protocol=ssl`. May be repeated.
    #[arg(long, value_parser = setting, value_name = "KEY=VALUE")]
    consumer: Vec<(String, String)>,
    /// Fields whose values are replaced by others of the same form, wherever they are in a message. Equal values get equal
    /// ones, and a record's key is replaced as the field is that it equals.
    #[arg(long, value_name = "FIELD,…", value_delimiter = ',')]
    mask: Vec<String>,
    /// Two fields with a latitude and a longitude. All positions are moved on the globe by one rotation, so that distances
    /// and angles stay as they are.
    #[arg(long = "move", value_name = "LATITUDE,LONGITUDE", value_parser = pair)]
    position: Option<(String, String)>,
    /// Decides what values are replaced by, and where positions are moved. Without it, it is drawn, and nobody knows it.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Keep records that are no JSON objects although there is something to mask, which cannot be masked in them.
    #[arg(long)]
    keep_unmasked: bool,
    /// What the fixture says of itself.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let setting = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let setting = setting.map(|(key, value)| (key.to_owned(), value.to_owned()));
    setting.ok_or_else(|| "write KEY=VALUE, such as security.protocol=ssl".to_owned())
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once(',').filter(|(one, other)| !one.is_empty() && !other.is_empty());
    let pair = pair.map(|(one, other)| (one.to_owned(), other.to_owned()));
    pair.ok_or_else(|| "write two fields, such as latitude,longitude".to_owned())
}

impl RecordArguments {
    /// Reads the topic and writes the fixture. `runner` is the command that starts this runner again.
    pub(super) fn record(&self, suite: &Suite, runner: &str) -> Result<ExitCode, String> {
        let folder = std::path::absolute(&self.out).map_err(|error| format!("{}: {error}", self.out.display()))?;
        let name = case_name(suite, &folder)?;
        if folder.exists() {
            return Err(format!("{} exists already", folder.display()));
        }
        let source = Source {
            topic: &self.topic,
            servers: &self.bootstrap_servers,
            settings: &self.consumer,
            from: self.from_offset,
            last: self.last,
            most: self.max_messages,
        };
        let read = read(&source)?;
        // Of a seed that is not known, nobody can undo what was masked.
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..));
        let mask = Mask::other(seed, &self.mask, self.position.as_ref());
        let (mut lines, mut recorded, mut left_out) = (String::new(), 0_usize, 0_usize);
        for record in &read {
            let masked = masked(&mask, record);
            match masked {
                Some(masked) => lines.push_str(&line(&masked)?),
                None if self.keep_unmasked => lines.push_str(&line(record)?),
                None => {
                    left_out += 1;
                    continue;
                }
            }
            recorded += 1;
        }
        if recorded == 0 {
            return Err(format!(
                "there is nothing to record of topic {} at {}: {} records were read, and {left_out} of them are no JSON \
                 objects in which fields could be masked",
                self.topic,
                self.bootstrap_servers,
                read.len()
            ));
        }
        let described = self.description.clone().unwrap_or_else(|| self.describe(recorded));
        write(&folder.join("messages.ndjson"), lines.as_bytes())?;
        write(
            &folder.join("case.toml"),
            format!("description = {}\ntopic = {}\n", quoted(&described), quoted(&self.topic)).as_bytes(),
        )?;
        let mut text = format!("{}: {recorded} records of topic {}\n", folder.display(), self.topic);
        if left_out > 0 {
            let _infallible = writeln!(
                text,
                "{left_out} records that are no JSON objects were left out, because nothing can be masked in them; \
                 --keep-unmasked keeps them as they are"
            );
        }
        let _infallible = writeln!(
            text,
            "Read the messages before you commit them: what no rule names stands there as it was sent.\n\
             {runner} {name} shows what the pipeline stores; cargo insta review accepts that"
        );
        machine::print(&text);
        Ok(ExitCode::SUCCESS)
    }

    fn describe(&self, recorded: usize) -> String {
        let mut masked = self.mask.clone();
        masked.extend(self.position.iter().map(|(one, other)| format!("{one} and {other}")));
        let masked = if masked.is_empty() { "nothing".to_owned() } else { masked.join(", ") };
        format!("Recorded: {recorded} records of topic {}; masked: {masked}.", self.topic)
    }
}

/// The record without what the rules take from it; `None` if there are rules, and it is no JSON object.
fn masked(mask: &Mask<'_>, record: &Record) -> Option<Record> {
    if mask.is_empty() {
        return Some(record.clone());
    }
    // A tombstone has nothing to mask but its key.
    let value = match &record.value {
        None => None,
        Some(value) => Some(mask.message(value)?),
    };
    Some(Record { key: record.key.as_ref().map(|key| mask.key(key)), value, ..record.clone() })
}

/// The name of the case in this folder; an error if it is no folder of a case.
fn case_name(suite: &Suite, folder: &Path) -> Result<String, String> {
    let below = folder.strip_prefix(&suite.fixtures).ok().and_then(Path::to_str);
    let name = below.and_then(|below| below.split_once('/')).filter(|(_, case)| !case.contains('/'));
    name.map(|(protocol, case)| format!("{protocol}::{case}")).ok_or_else(|| {
        format!("--out is {}; write the folder of a case, {}/PROTOCOL/CASE", folder.display(), suite.fixtures.display())
    })
}

/// A record as a line of `messages.ndjson`. It goes to the partition of its key, as it did. An error is a key or a header
/// that such a line cannot hold.
fn line(record: &Record) -> Result<String, String> {
    let text = |bytes: &Option<Vec<u8>>| match bytes {
        None => Some("null".to_owned()),
        Some(bytes) => std::str::from_utf8(bytes).ok().map(quoted),
    };
    let Record { topic, partition, offset, .. } = record;
    let no_text = |what: &str| {
        format!(
            "the record at offset {offset} of {topic}-{partition} has {what} that is no text, which messages.ndjson cannot hold"
        )
    };
    let key = text(&record.key).ok_or_else(|| no_text("a key"))?;
    let mut line = format!("{{\"$record\":{{\"topic\":{},\"key\":{key}", quoted(topic));
    if !record.headers.is_empty() {
        let header = |(name, value): &(String, Option<Vec<u8>>)| {
            let value = text(value).ok_or_else(|| no_text(&format!("a header `{name}`")))?;
            Ok(format!("[{},{value}]", quoted(name)))
        };
        let headers: Vec<String> = record.headers.iter().map(header).collect::<Result<_, String>>()?;
        let _infallible = write!(line, ",\"headers\":[{}]", headers.join(","));
    }
    let _infallible = write!(line, ",\"timestamp\":{},", record.timestamp);
    let is_one_line_of_json = |value: &[u8]| {
        !value.contains(&b'\n')
            && matches!(value.first(), Some(b'{' | b'['))
            && serde_json::from_slice::<&serde_json::value::RawValue>(value).is_ok()
    };
    let _infallible = match &record.value {
        Some(value) if is_one_line_of_json(value) => write!(line, "\"value\":{}", String::from_utf8_lossy(value)),
        Some(value) if std::str::from_utf8(value).is_err() => {
            write!(line, "\"value_base64\":\"{}\"", BASE64.encode(value))
        }
        value => write!(line, "\"value\":{}", text(value).unwrap_or_default()),
    };
    line.push_str("}}\n");
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Program;

    fn record(value: Option<&[u8]>) -> Record {
        Record {
            topic: "t".into(),
            partition: 1,
            offset: 7,
            timestamp: 5,
            key: Some(b"10001".to_vec()),
            value: value.map(<[u8]>::to_vec),
            headers: vec![("h".into(), Some(b"x".to_vec()))],
        }
    }

    #[test]
    fn a_line_has_the_bytes_of_the_record() {
        let head = r#"{"$record":{"topic":"t","key":"10001","headers":[["h","x"]],"timestamp":5,"#;
        for (value, written) in [
            (Some(&br#"{"a": 1.50}"#[..]), r#""value":{"a": 1.50}"#),
            (Some(b"{\n}"), r#""value":"{\n}""#),
            (Some(b"42"), r#""value":"42""#),
            (Some(b"{"), r#""value":"{""#),
            (Some(b""), r#""value":"""#),
            (Some(b"\xff"), r#""value_base64":"/w==""#),
            (None, r#""value":null"#),
        ] {
            assert_eq!(line(&record(value)), Ok(format!("{head}{written}}}}}\n")));
        }
        let binary = Record { key: Some(vec![0xff]), ..record(None) };
        assert!(line(&binary).is_err_and(|error| error.contains("offset 7 of t-1 has a key that is no text")));
    }

    #[test]
    fn a_tombstone_has_only_its_key_masked() {
        let rules = ["id".to_owned()];
        let (mask, tombstone) = (Mask::other(7, &rules, None), record(None));
        assert_ne!(masked(&mask, &tombstone).expect("a tombstone").key, tombstone.key);
        assert!(masked(&mask, &record(Some(b"42"))).is_none());
        assert_eq!(masked(&Mask::other(7, &[], None), &record(Some(b"42"))), Some(record(Some(b"42"))));
    }

    #[test]
    fn the_folder_is_that_of_a_case() {
        let suite = Suite::new("/p", Program::Shell("true".into()));
        let name = |folder: &str| case_name(&suite, Path::new(folder));
        assert_eq!(name("/p/fixtures/trucks/first"), Ok("trucks::first".to_owned()));
        for wrong in ["/p/fixtures/trucks", "/p/fixtures/a/b/c", "/elsewhere/a/b"] {
            assert!(name(wrong).is_err_and(|error| error.contains("/p/fixtures/PROTOCOL/CASE")), "{wrong}");
        }
    }
}
