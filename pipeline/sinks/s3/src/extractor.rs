//! `timestamp.extractor`: where the event time of a row comes from. It is never the wall clock, which a replay would
//! read differently.

use fms_connect::{Config, ConfigError};
use fms_record::{EventTime, Row, TimeSource};

use crate::partitioner::PlacementError;

/// Where the event time of a row comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Extractor {
    /// This field of the row; without it the time of the envelope, and without that Kafka's timestamp.
    Field(String),
    /// Kafka's timestamp.
    Kafka,
}

impl Extractor {
    /// The extractor that `timestamp.extractor` and `timestamp.field` name. Kafka Connect's class names are accepted
    /// too.
    pub(crate) fn parse(config: &Config) -> Result<Self, ConfigError> {
        const CLASS: &str = "io.confluent.connect.storage.partitioner.TimeBasedPartitioner$";
        let extractor = config.text("timestamp.extractor");
        let name = extractor.strip_prefix(CLASS).and_then(|name| name.strip_suffix("TimestampExtractor"));
        match name.unwrap_or(extractor) {
            "RecordField" => Ok(Self::Field(config.text("timestamp.field").into())),
            "Record" => Ok(Self::Kafka),
            "Wallclock" => Err(config.error(
                "timestamp.extractor",
                "is refused: a replay after a crash would read another time and write the same rows into other \
                 objects; take RecordField or Record",
            )),
            _ => Err(config.error("timestamp.extractor", "allowed are RecordField and Record")),
        }
    }

    /// The row's event time; `kafka` is the timestamp of its record. The error says what is wrong with the time and
    /// where it was looked for.
    pub(crate) fn time(&self, row: &Row<'_>, kafka: Option<i64>) -> Result<EventTime, PlacementError> {
        match self {
            Self::Field(field) => EventTime::of(row, Some(field), kafka)
                .map_err(|error| PlacementError::new(error.class(), error.to_string())),
            Self::Kafka => kafka.map(|millis| EventTime { millis, source: TimeSource::Kafka }).ok_or_else(|| {
                let problem = "the Kafka record has no timestamp, which `timestamp.extractor` Record asks for";
                PlacementError::new("MissingTime", problem)
            }),
        }
    }
}
