//! Kafka Connect's single message transforms, under their own names and with their own keys.
//!
//! They see a message as it was sent, before its list becomes rows, one after the other in the order of `transforms`.
//! Values keep their text; only what a transform changes is written anew. Rows depend on them, so their keys are part of
//! every intent. A connector without transforms pays nothing for them.

mod build;
mod fields;
mod json;
mod pattern;
mod predicate;
mod router;
mod shape;
mod timestamp;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests;

use std::borrow::Cow;

use fms_record::Source;

use self::build::Step;
pub(crate) use self::build::{check, is_key, kinds};
use self::json::Json;
pub use self::router::TopicRouter;
use crate::sink::Origin;
use crate::{Config, ConfigError};

/// Why a record cannot be transformed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TransformError {
    /// The error's kind, for `__connect.errors.exception.class.name`.
    pub class: &'static str,
    pub text: String,
    /// Whether the record is no JSON that could be transformed; the converter may say better what is wrong with it.
    pub unreadable: bool,
}

impl TransformError {
    /// The data is not such that the transform can be applied.
    fn data(text: String) -> Self {
        Self { class: "DataException", text, unreadable: false }
    }

    fn unreadable(error: &serde_json::Error) -> Self {
        let text = format!("the message is no JSON that can be transformed: {error}");
        Self { class: "DataException", text, unreadable: true }
    }
}

/// What one transform changes of a record.
#[derive(Debug)]
struct Record<'r> {
    origin: &'r Origin,
    topic: Cow<'r, str>,
    key: Json<'r>,
    value: Json<'r>,
}

/// The transforms of a connector.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    steps: Vec<Step>,
    /// Whether values are `{"schema": …, "payload": …}`; then the payload is transformed.
    schemas: bool,
    /// Whether keys are texts, as `StringConverter` reads them, and not JSON.
    text_keys: bool,
}

/// A record after its transforms.
#[derive(Debug)]
pub(crate) struct Transformed<'r> {
    /// The value; `None` if it is null.
    pub value: Option<Cow<'r, [u8]>>,
    /// The key, if a transform has changed it.
    pub key: Option<Vec<u8>>,
    /// Whether a filter has dropped the record.
    pub dropped: bool,
}

impl<'r> Transformed<'r> {
    /// A record as it is.
    pub fn unchanged(value: Option<&'r [u8]>) -> Self {
        Self { value: value.map(Cow::Borrowed), key: None, dropped: false }
    }

    /// A record of which nothing is left.
    pub fn dropped() -> Self {
        Self { value: None, key: None, dropped: true }
    }
}

impl Chain {
    /// The transforms of the configuration; `None` if it has none.
    pub fn of(config: &Config) -> Result<Option<Self>, ConfigError> {
        let steps = build::steps(config).map_err(|mut wrong| wrong.swap_remove(0))?;
        Ok((!steps.is_empty()).then(|| Self {
            steps,
            schemas: config.get("value.converter.schemas.enable") == Some("true"),
            text_keys: config.get("key.converter").is_some_and(|class| class.ends_with("StringConverter")),
        }))
    }

    /// Applies the transforms to a record with this value.
    pub fn apply<'r>(&self, origin: &'r Origin, value: Option<&'r [u8]>) -> Result<Transformed<'r>, TransformError> {
        let text = |bytes: &'r [u8]| {
            let text = std::str::from_utf8(bytes);
            text.map_err(|error| TransformError { unreadable: true, ..TransformError::data(error.to_string()) })
        };
        let mut schema = None;
        let payload = match value {
            None => Json::Null,
            Some(bytes) if self.schemas => {
                let mut around = Json::of(Cow::Borrowed(text(bytes)?)).fields("the schema of a value")?;
                let payload = around.as_mut().and_then(|fields| {
                    let at = fields.iter().position(|(name, _)| name == "payload")?;
                    Some(fields.remove(at).1)
                });
                schema = around;
                // Without a payload, the converter says what is wrong.
                let Some(payload) = payload else { return Ok(Transformed::unchanged(value)) };
                Json::of(payload)
            }
            Some(bytes) => Json::of(Cow::Borrowed(text(bytes)?)),
        };
        let key = match &origin.key {
            None => Json::Null,
            Some(key) if self.text_keys => Json::of(Cow::Owned(json::quoted(&String::from_utf8_lossy(key)))),
            // Keys are looked into only by transforms of keys, which refuse one that is no JSON.
            Some(key) => Json::of(String::from_utf8_lossy(key)),
        };
        let mut record = Record { origin, topic: Cow::Borrowed(&*origin.partition.topic), key, value: payload };
        for step in &self.steps {
            match step.apply(record) {
                Ok(Some(next)) => record = next,
                Ok(None) => return Ok(Transformed::dropped()),
                Err(error) => return Err(TransformError { text: format!("{}: {}", step.alias, error.text), ..error }),
            }
        }
        let key = self.steps.iter().any(Step::changes_key).then(|| self.key_bytes(record.key));
        let value = match (record.value.into_text(), schema) {
            (None, _) => None,
            (Some(text), None) => Some(bytes(text)),
            (Some(text), Some(mut around)) => {
                around.push(("payload".into(), text));
                Some(bytes(Cow::Owned(json::write(&around))))
            }
        };
        Ok(Transformed { value, key, dropped: false })
    }

    /// The bytes of a key: the text itself of a JSON string, and the JSON text of anything else.
    fn key_bytes(&self, key: Json<'_>) -> Vec<u8> {
        let text = key.into_text().unwrap_or_default();
        match serde_json::from_str::<String>(&text) {
            Ok(plain) if self.text_keys => plain.into_bytes(),
            _ => text.into_owned().into_bytes(),
        }
    }
}

fn bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// A record whose key was changed.
#[derive(Debug)]
pub(crate) struct Rekeyed<'r> {
    pub source: &'r dyn Source,
    pub key: &'r [u8],
}

impl Source for Rekeyed<'_> {
    fn topic(&self) -> &str {
        self.source.topic()
    }

    fn partition(&self) -> i32 {
        self.source.partition()
    }

    fn offset(&self) -> i64 {
        self.source.offset()
    }

    fn timestamp(&self) -> Option<i64> {
        self.source.timestamp()
    }

    fn key(&self) -> Option<&[u8]> {
        Some(self.key)
    }

    fn header(&self, name: &str) -> Option<Option<&[u8]>> {
        self.source.header(name)
    }
}
