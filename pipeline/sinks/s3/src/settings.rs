//! A connector's settings, checked for what goes together.

use std::time::Duration;

use fms_connect::{Config, ConfigError};

use crate::extractor::Extractor;
use crate::layout::{Layout, class, zone};
use crate::rotation::{Rotation, Schedule};
use crate::writer::Compression;

/// The settings of a connector.
#[derive(Debug, Clone)]
pub(crate) struct S3Settings {
    /// What the names and bytes of objects depend on.
    pub layout: Layout,
    /// When a flush ends.
    pub rotation: Rotation,
}

impl S3Settings {
    /// Reads the sink's keys and checks what goes together.
    pub(crate) fn parse(config: &Config) -> Result<Self, ConfigError> {
        check_format(config)?;
        let settings = Self { layout: Layout::parse(config)?, rotation: rotation(config)? };
        check_effects(config, &settings)?;
        Ok(settings)
    }
}

/// Checks `format.class`. There is only one format, but a configuration that is pasted from Kafka Connect names it.
fn check_format(config: &Config) -> Result<(), ConfigError> {
    match config.text("format.class") {
        "Json" | "io.confluent.connect.s3.format.json.JsonFormat" => Ok(()),
        _ => Err(config.error(
            "format.class",
            "is refused: rows are written as the JSON text that they arrived as, so that no digit is changed; \
             allowed are Json and io.confluent.connect.s3.format.json.JsonFormat",
        )),
    }
}

/// The milliseconds of a key that is off with -1.
fn millis(config: &Config, key: &str) -> Result<Option<i64>, ConfigError> {
    match config.int(key) {
        None | Some(-1) => Ok(None),
        Some(0) => Err(config.error(key, "would flush without end; milliseconds over 0, or -1 for off")),
        value => Ok(value),
    }
}

fn rotation(config: &Config) -> Result<Rotation, ConfigError> {
    let schedule = millis(config, "rotate.schedule.interval.ms")?
        .map(|interval| {
            let zone = zone(config)?
                .ok_or_else(|| config.error("timezone", "is required by `rotate.schedule.interval.ms`"))?;
            Ok(Schedule { interval, zone })
        })
        .transpose()?;
    Ok(Rotation {
        flush_size: config.int("flush.size").and_then(|rows| u64::try_from(rows).ok()).unwrap_or(u64::MAX),
        interval: millis(config, "rotate.interval.ms")?,
        schedule,
        idle: millis(config, "rotate.idle.ms")?.map(|millis| Duration::from_millis(millis.unsigned_abs())),
    })
}

/// Refuses settings that have no effect. This is not part of [`Layout::parse`], which also reads the settings of
/// intents: a version that did not check this may have written them.
fn check_effects(config: &Config, settings: &S3Settings) -> Result<(), ConfigError> {
    let S3Settings { layout, rotation } = settings;
    // A key that is set to its default is accepted.
    let unread = |key: &str, default: Option<&str>, problem: &str| match config.get(key) {
        value if value == default => Ok(()),
        _ => Err(config.error(key, problem)),
    };
    if layout.compression == Compression::None {
        unread(
            "s3.compression.level",
            Some("-1"),
            "has no effect with `s3.compression.type` = `none`: remove it, or compress",
        )?;
    }
    if layout.extractor == Extractor::Kafka {
        let problem = "has no effect with `timestamp.extractor` = `Record`, which takes Kafka's timestamp: remove it, \
                       or take RecordField";
        unread("timestamp.field", Some("timestamp"), problem)?;
    }
    let class = class(config);
    if !layout.partitioner.needs_time() && rotation.interval.is_none() {
        let problem = format!(
            "has no effect: nothing reads event time with {class} and without `rotate.interval.ms`; remove it, or take \
             a partitioner by time"
        );
        unread("timestamp.extractor", Some("RecordField"), &problem)?;
        unread("timestamp.field", Some("timestamp"), &problem)?;
    }
    if !layout.partitioner.needs_time() && rotation.schedule.is_none() {
        let problem = format!(
            "has no effect: nothing reads a zone with {class} and without `rotate.schedule.interval.ms`; remove it, or \
             take a partitioner by time"
        );
        unread("timezone", None, &problem)?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use fms_connect::Replay;

    use super::*;
    use crate::keys::KEYS;
    use crate::writer::GZIP_DEFAULT;

    pub(crate) const TIME: &[(&str, &str)] = &[
        ("partitioner.class", "TimeBased"),
        ("path.format", "'hour'=HH"),
        ("partition.duration.ms", "3600000"),
        ("timezone", "Asia/Tokyo"),
    ];

    pub(crate) fn config(extra: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let values = [("s3.bucket.name", "raw"), ("flush.size", "1000")];
        let values = values.iter().chain(extra).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Config::new("raw", &[KEYS], values.collect())
    }

    pub(crate) fn parsed(extra: &[(&str, &str)]) -> Result<S3Settings, ConfigError> {
        config(extra).and_then(|config| S3Settings::parse(&config))
    }

    /// A configuration as people paste it from Kafka Connect starts.
    #[test]
    fn pasted_configuration() {
        let settings = parsed(&[
            ("storage.class", "io.confluent.connect.s3.storage.S3Storage"),
            ("format.class", "io.confluent.connect.s3.format.json.JsonFormat"),
            ("schema.compatibility", "NONE"),
            ("partitioner.class", "io.confluent.connect.storage.partitioner.TimeBasedPartitioner"),
            ("path.format", "'year'=YYYY/'month'=MM/'day'=dd/'hour'=HH"),
            ("partition.duration.ms", "3600000"),
            ("locale", "en-US"),
            ("timezone", "UTC"),
            ("timestamp.extractor", "RecordField"),
            ("timestamp.field", "timestamp_iso"),
            ("rotate.interval.ms", "-1"),
            ("s3.part.size", "26214400"),
            ("s3.compression.type", "gzip"),
        ])
        .expect("a valid configuration");
        assert_eq!(settings.layout.extractor, Extractor::Field("timestamp_iso".into()));
        assert_eq!(settings.layout.part_size, 26_214_400);
        assert_eq!(settings.layout.compression, Compression::Gzip(GZIP_DEFAULT));
        assert!(settings.layout.partitioner.needs_time());
    }

    /// What is refused names the key and what is allowed instead.
    #[test]
    fn refusals() {
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[("timestamp.extractor", "Wallclock")], "a replay after a crash would read another time"),
            (&[("timestamp.extractor", "Recrod")], "allowed are RecordField and Record"),
            (&[("format.class", "io.confluent.connect.s3.format.avro.AvroFormat")], "allowed are Json and"),
            (&[("s3.part.size", "5242879")], "`s3.part.size`"),
            (&[("flush.size", "0")], "`flush.size`"),
            (&[("rotate.interval.ms", "0")], "-1 for off"),
            (&[("rotate.schedule.interval.ms", "60000")], "`timezone`: is required by `rotate.schedule.interval.ms`"),
            (&[("partitioner.class", "Field")], "`partition.field.name`: is required by `partitioner.class` = `Field`"),
            (&[("partitioner.class", "TimeBased")], "`path.format`: is required"),
            (&[("path.format", "YYYY")], "`path.format` = `YYYY`: has no effect with Default"),
            (&[("partitioner.class", "Hourly")], "`timezone`: is required"),
            (
                &[("partitioner.class", "Hourly"), ("timezone", "UTC"), ("path.format", "YYYY")],
                "take TimeBased for another",
            ),
            (&[("timezone", "Asia/Tokio"), ("rotate.schedule.interval.ms", "1")], "IANA names"),
            (&[("s3.compression.type", "gzip"), ("s3.compression.level", "10")], "0 to 9"),
            (&[("s3.compression.type", "zstd"), ("s3.compression.level", "0")], "1 to 22"),
            (&[("topics.dir", "/raw")], "no slash at its ends"),
            (&[("topics.dir", "a/../b")], "`..` folder"),
        ];
        for (extra, problem) in cases {
            let error = parsed(extra).expect_err(problem).to_string();
            assert!(error.contains(problem), "{extra:?}: {error}");
        }
    }

    /// What would do nothing is refused, and names what would read it; next to that it is accepted, and so is a default
    /// that is written out.
    #[test]
    fn settings_without_effect() {
        const FIELD: &[(&str, &str)] = &[("partitioner.class", "Field"), ("partition.field.name", "id")];
        const RECORD: &[(&str, &str)] = &[("timestamp.extractor", "Record")];
        const GZIP: &[(&str, &str)] = &[("s3.compression.type", "gzip")];
        const INTERVAL: &[(&str, &str)] = &[("rotate.interval.ms", "1000")];
        const SCHEDULE: &[(&str, &str)] = &[("rotate.schedule.interval.ms", "1000")];
        let daily = [("partitioner.class", "Daily"), ("timezone", "UTC")];
        for (setting, unread, read) in [
            (("s3.compression.level", "5"), &[][..], GZIP.to_vec()),
            (("timestamp.field", "at"), &[], INTERVAL.to_vec()),
            (("timestamp.field", "at"), FIELD, [FIELD, INTERVAL].concat()),
            (("timestamp.field", "at"), &[TIME, RECORD].concat(), TIME.to_vec()),
            (("timestamp.field", "at"), &[INTERVAL, RECORD].concat(), daily.to_vec()),
            (("timestamp.extractor", "Record"), &[], INTERVAL.to_vec()),
            (("timestamp.extractor", "Record"), FIELD, TIME.to_vec()),
            (("timezone", "UTC"), &[], SCHEDULE.to_vec()),
            (("timezone", "UTC"), INTERVAL, [FIELD, SCHEDULE].concat()),
            (("timezone", "UTC"), FIELD, vec![("partitioner.class", "Hourly")]),
        ] {
            parsed(&[&[setting][..], &read[..]].concat())
                .unwrap_or_else(|error| panic!("{setting:?} with {read:?}: {error}"));
            let error = parsed(&[&[setting][..], unread].concat()).map(drop).expect_err(setting.0).to_string();
            assert!(error.contains(&format!("`{}` = `{}`: has no effect", setting.0, setting.1)), "{error}");
        }
        parsed(&[
            ("timestamp.field", "timestamp"),
            ("timestamp.extractor", "RecordField"),
            ("s3.compression.level", "-1"),
        ])
        .expect("the defaults");
    }

    /// An intent of a writer that accepted settings without effect is repeated all the same.
    #[test]
    fn intents_with_settings_without_effect_are_understood() {
        let announced = config(&[("timezone", "UTC"), ("s3.compression.level", "5")]).expect("values of their kinds");
        let replay = Replay { end: 7, settings: announced.intent_settings() };
        Layout::of_intent(&config(&[]).expect("valid"), &replay).expect("readable");
    }

    /// An intent brings everything that names and bytes depend on, and nothing else.
    #[test]
    fn intents_keep_the_layout() {
        let announced = [TIME, &[("s3.compression.type", "zstd"), ("s3.compression.level", "9")]].concat();
        let announced = config(&announced).expect("a valid configuration");
        let replay = Replay { end: 7, settings: announced.intent_settings() };
        let today = config(&[("topics.dir", "new"), ("s3.bucket.name", "new"), ("s3.region", "eu-west-1")]);
        let layout = Layout::of_intent(&today.expect("a valid configuration"), &replay).expect("readable");
        let expected = Layout::parse(&announced).expect("a valid layout");
        assert_eq!(format!("{layout:?}"), format!("{expected:?}"));
    }
}
