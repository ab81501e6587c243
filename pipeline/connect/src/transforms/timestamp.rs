//! `TimestampConverter`: a time in another form.

use super::TransformError;
use super::build::KeyProblem;
use super::fields::REPLACE_NULL;
use super::json::{Json, Kind, get, kind, quoted, set};
use super::pattern::DatePattern;
use crate::{Config, Key, ValueType};

const DAY: i64 = 86_400_000;

pub(super) const KEYS: &[Key] = &[
    Key::new("field", ValueType::Text, "This field is converted; if it is empty, the whole key or value").default("").high(),
    Key::new(
        "target.type",
        ValueType::OneOf(&["string", "unix", "Date", "Time", "Timestamp"]),
        "A `string` is a text in `format` and in UTC, `unix` an integer in `unix.precision`. Of the other ones, which have no \
         form in JSON, the milliseconds since 1970 are written: of the day's beginning (`Date`), of the time of day \
         (`Time`) or of the time itself (`Timestamp`)",
    )
    .required()
    .high(),
    Key::new("format", ValueType::Text, "The form of texts that are read or written, as of Java's SimpleDateFormat").default(""),
    Key::new(
        "unix.precision",
        ValueType::OneOf(&["seconds", "milliseconds", "microseconds", "nanoseconds"]),
        "What integers count that are read or written",
    )
    .default("milliseconds")
    .low(),
    REPLACE_NULL,
];

/// What a time becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString)]
enum Target {
    #[strum(serialize = "string")]
    Text,
    #[strum(serialize = "unix")]
    Unix,
    Date,
    Time,
    Timestamp,
}

/// The transform. What is below a millisecond is lost, as in Kafka Connect.
#[derive(Debug, Clone)]
pub(super) struct TimestampConverter {
    field: String,
    target: Target,
    format: Option<DatePattern>,
    /// How many of them are a millisecond, or how many milliseconds one is.
    precision: Precision,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
enum Precision {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl Precision {
    /// A count of it in milliseconds, rounded towards zero as Java does.
    fn millis(self, count: i64) -> i64 {
        match self {
            Self::Seconds => count.saturating_mul(1000),
            Self::Milliseconds => count,
            Self::Microseconds => count / 1000,
            Self::Nanoseconds => count / 1_000_000,
        }
    }

    fn of_millis(self, millis: i64) -> i64 {
        match self {
            Self::Seconds => millis / 1000,
            Self::Milliseconds => millis,
            Self::Microseconds => millis.saturating_mul(1000),
            Self::Nanoseconds => millis.saturating_mul(1_000_000),
        }
    }
}

impl TimestampConverter {
    pub fn new(config: &Config) -> Result<Self, KeyProblem> {
        let known = |key: &'static str| (key, "is not known".to_owned());
        let target = config.text("target.type").parse().map_err(|_| known("target.type"))?;
        let format = match config.text("format") {
            format if format.trim().is_empty() => None,
            format => Some(DatePattern::parse(format).map_err(|problem| ("format", problem))?),
        };
        if target == Target::Text && format.is_none() {
            return Err(("format", "is missing: a time as a text needs it".into()));
        }
        let precision = config.text("unix.precision").parse().map_err(|_| known("unix.precision"))?;
        Ok(Self { field: config.text("field").into(), target, format, precision })
    }

    /// Applies it to a key or value. A null is left as it is.
    pub fn apply<'r>(&self, operand: Json<'r>) -> Result<Json<'r>, TransformError> {
        if self.field.is_empty() {
            return match operand.into_text() {
                Some(text) => Ok(Json::of(self.convert(&text)?.into())),
                None => Ok(Json::Null),
            };
        }
        let Some(mut fields) = operand.fields("converting a time")? else { return Ok(Json::Null) };
        let converted = self
            .convert(get(&fields, &self.field).unwrap_or("null"))
            .map_err(|error| TransformError { text: format!("field `{}`: {}", self.field, error.text), ..error })?;
        set(&mut fields, &self.field, converted.into());
        Ok(Json::Object(fields))
    }

    /// The JSON text of a time in its new form.
    fn convert(&self, text: &str) -> Result<String, TransformError> {
        let millis = match (kind(text), &self.format) {
            (Kind::Null, _) => return Ok("null".into()),
            (Kind::Integer, _) => {
                let count = text.trim().parse().map_err(|_| TransformError::data(format!("{text} is no time")))?;
                self.precision.millis(count)
            }
            (Kind::Text, Some(format)) => {
                let time: String = serde_json::from_str(text).map_err(|error| TransformError::unreadable(&error))?;
                format.read(&time).ok_or_else(|| {
                    TransformError::data(format!("the text `{time}` does not match the format `{format}`"))
                })?
            }
            (Kind::Text, None) => return Err(TransformError::data("a time that is a text needs `format`".into())),
            (other, _) => return Err(TransformError::data(format!("{} is no time", other.name()))),
        };
        Ok(match (self.target, &self.format) {
            (Target::Text, Some(format)) => {
                let text = format.write(millis);
                quoted(&text.ok_or_else(|| TransformError::data(format!("{millis} ms is out of the range of times")))?)
            }
            (Target::Unix, _) => self.precision.of_millis(millis).to_string(),
            (Target::Date, _) => (millis.div_euclid(DAY) * DAY).to_string(),
            (Target::Time, _) => millis.rem_euclid(DAY).to_string(),
            (Target::Text | Target::Timestamp, _) => millis.to_string(),
        })
    }
}
