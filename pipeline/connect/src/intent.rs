//! The intent of a flush: where it ends and the settings that it is written with, kept in the metadata of Kafka's
//! offset commits.
//!
//! The intent is committed together with the unchanged start offset, before the objects of the flush are completed.
//! Whoever takes the partition over reads it and repeats exactly that flush: with the same records and settings, and so
//! the same names and bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::sink::Replay;
use crate::{Config, ConfigError};

/// The default of a broker's `offset.metadata.max.bytes`. A commit with more is refused.
const METADATA_MAX_BYTES: usize = 4096;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    #[serde(rename = "fms-intent")]
    version: u32,
    end: i64,
    settings: BTreeMap<String, String>,
}

/// Version 1 named objects after their first records, version 2 names them after the start of their flush.
const VERSION: u32 = 2;

/// The metadata that announces a flush of everything before `end`, written with `settings`.
pub fn encode(end: i64, settings: &BTreeMap<String, String>) -> String {
    let metadata = Metadata { version: VERSION, end, settings: settings.clone() };
    serde_json::to_string(&metadata).expect("a map of strings is always JSON")
}

/// The flush that `metadata` announces. `None` for metadata that announces none, whoever wrote it. An intent that this
/// version cannot read is an error: ignoring it would write the same rows under other names.
pub fn decode(metadata: &str) -> Result<Option<Replay>, String> {
    if !metadata.starts_with(r#"{"fms-intent":"#) {
        return Ok(None);
    }
    // The text is not shown, because it has settings that may be secret.
    let intent: Metadata = serde_json::from_str(metadata).map_err(|e| {
        format!(
            "the intent in the commit metadata is not readable ({e}); run the version that wrote it \
             until it has finished that flush"
        )
    })?;
    if intent.version != VERSION {
        return Err(format!(
            "the intent in the commit metadata is of version {}, but this program reads version {VERSION}; run the \
             version that wrote it until it has finished that flush",
            intent.version
        ));
    }
    Ok(Some(Replay { end: intent.end, settings: intent.settings }))
}

/// Checks that every intent of this configuration fits into the metadata of a commit.
pub fn check(config: &Config) -> Result<(), ConfigError> {
    let settings = config.intent_settings();
    let bytes = encode(i64::MAX, &settings).len();
    if bytes <= METADATA_MAX_BYTES {
        return Ok(());
    }
    let longest = settings.iter().max_by_key(|(_, value)| value.len()).map_or("", |(key, _)| key.as_str());
    Err(config.error(
        longest,
        format!(
            "the settings that names and bytes of objects depend on take {bytes} bytes in the metadata of an offset \
             commit, of which Kafka accepts {METADATA_MAX_BYTES}; shorten this one, which is the longest"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_survives_the_commit_metadata() {
        let settings = BTreeMap::from([("topics.dir".to_owned(), "\"한국\" \\ ${id}".to_owned())]);
        let replay = decode(&encode(42, &settings)).expect("readable").expect("an intent");
        assert_eq!(replay, Replay { end: 42, settings });
    }

    #[test]
    fn foreign_metadata_announces_nothing_and_an_intent_of_another_version_is_refused() {
        assert_eq!(decode(""), Ok(None));
        assert_eq!(decode("connect-consumer-7"), Ok(None));
        let newer = decode(r#"{"fms-intent":3,"end":1,"settings":{}}"#).expect_err("newer");
        assert!(newer.contains("version 3"), "{newer}");
        let older =
            decode(r#"{"fms-intent":1,"end":1,"settings":{}}"#).expect_err("older: its objects have other names");
        assert!(older.contains("version 1, but this program reads version 2"), "{older}");
        let damaged = decode(r#"{"fms-intent":2,"end":"#).expect_err("damaged");
        assert!(damaged.contains("not readable"), "{damaged}");
    }
}
