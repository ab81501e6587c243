//! The sink's keys, with Kafka Connect's names and meanings, and what they come to.

use std::time::Duration;

use fms_connect::sink::Replay;
use fms_connect::{Config, ConfigError, Key, Kind, TopicPartition};
use fms_record::{EventTime, Row, TimeSource};
use jiff::tz::TimeZone;

use crate::partitioner::{Field, Misfit, Partitioner, TimeFolders};
use crate::path_format::PathFormat;
use crate::rotation::{Rotation, Schedule};
use crate::writer::{Compression, GZIP_DEFAULT};

/// S3's limit for a key.
const KEY_BYTES: usize = 1024;

/// Bytes that `topics.dir` may have: what is left holds the longest topic name twice and some folders.
const DIR_BYTES: usize = 200;

const HOUR: i64 = 3_600_000;

/// All keys.
pub const KEYS: &[Key] = &[
    Key::new("s3.bucket.name", Kind::Text, "the bucket; it has to exist").required().in_intent().high(),
    Key::new("s3.region", Kind::Text, "the bucket's region; unset, that of the AWS environment or profile").in_intent(),
    Key::new("topics.dir", Kind::Text, "the folder above all topics, at most 200 bytes; empty is none")
        .default("topics")
        .in_intent()
        .high()
        .risk("two connectors that write one topic to the same bucket and folder write over each other's objects"),
    Key::new("s3.part.size", Kind::Int(5_242_880, 1_073_741_824), "the size of an uploaded part; the default is the least that S3 takes")
        .default("5242880")
        .in_intent()
        .low()
        .unit("bytes")
        .risk(
            "a task holds up to one part for every object it has open, so a larger one costs that much `buffer.memory`; an object has \
             at most 9,000 parts",
        ),
    Key::new(
        "partitioner.class",
        Kind::OneOf(&[
            "Default",
            "Field",
            "TimeBased",
            "FieldAndTime",
            "Daily",
            "Hourly",
            "io.confluent.connect.storage.partitioner.DefaultPartitioner",
            "io.confluent.connect.storage.partitioner.FieldPartitioner",
            "io.confluent.connect.storage.partitioner.TimeBasedPartitioner",
            "io.confluent.connect.storage.partitioner.DailyPartitioner",
            "io.confluent.connect.storage.partitioner.HourlyPartitioner",
        ]),
        "an object's folders: the Kafka partition, fields of the row, its event time, or fields and then event time",
    )
    .default("Default")
    .in_intent()
    .high()
    .risk("folders of many values mean many open objects, each small and each holding memory"),
    Key::new(
        "partition.field.name",
        Kind::List,
        "for Field and FieldAndTime: the fields, or paths such as `device.id`, in the order of the folders; a row without one of them goes \
         to the dead letters",
    )
    .in_intent()
    .high()
    .risk("a field with many values, such as a vehicle's id, makes as many small objects"),
    Key::new(
        "path.format",
        Kind::Text,
        "for TimeBased and FieldAndTime: `'year'=YYYY/'month'=MM/'day'=dd/'hour'=HH`, or strftime's `year=%Y/month=%m/day=%d/hour=%H`",
    )
    .in_intent()
    .high(),
    Key::new(
        "partition.duration.ms",
        Kind::Int(1, i64::MAX),
        "for TimeBased and FieldAndTime: event time is rounded down to it, in local time",
    )
    .in_intent()
    .unit("ms")
    .risk("it should be what the last unit of `path.format` spans; another one leaves folders empty or fills them with other times"),
    Key::new(
        "timezone",
        Kind::Text,
        "the IANA name (`UTC`, `Asia/Tokyo`) of the zone whose hours and days folders and `rotate.schedule.interval.ms` mean",
    )
    .in_intent()
    .risk("in a zone with summer time an hour's folder holds two hours once a year"),
    Key::new(
        "timestamp.extractor",
        Kind::Text,
        "event time: `RecordField` (`timestamp.field`, else the envelope's time, else Kafka's) or `Record` (Kafka's alone)",
    )
    .default("RecordField")
    .in_intent(),
    Key::new("timestamp.field", Kind::Text, "for RecordField: the row's field, or path such as `position.fixTime`, that has its event time; a log line says when no row of a \
             flush has it")
        .default("timestamp")
        .in_intent()
        .risk("a field that rows do not have leaves them to the time of the envelope or of Kafka"),
    Key::new(
        "s3.compression.type",
        Kind::OneOf(&["none", "gzip", "zstd"]),
        "how objects are compressed; their names end with .json, .json.gz or .json.zst",
    )
    .default("none")
    .in_intent(),
    Key::new(
        "s3.compression.level",
        Kind::Int(-1, 22),
        "gzip: 0 to 9; zstd: 1 to 22; -1 is 5 for gzip and 3 for zstd",
    )
    .default("-1")
    .in_intent()
    .low()
    .risk("zstd over 9 holds up to 90 MiB for every open object"),
    Key::new(
        "flush.size",
        Kind::Int(1, i64::MAX),
        "rows of an object after which it is flushed, and with it all objects of its Kafka partition; a message is never divided",
    )
    .required()
    .high()
    .unit("rows")
    .risk("a small one makes many small objects; without a rotation beside it, rows wait until so many have come"),
    Key::new(
        "rotate.interval.ms",
        Kind::Int(-1, i64::MAX),
        "event time, from an object's first row, that flushes before the record that reaches it; -1 is off",
    )
    .default("-1")
    .unit("ms")
    .risk("it needs a next record: the last rows of a topic that falls silent stay unwritten"),
    Key::new(
        "rotate.schedule.interval.ms",
        Kind::Int(-1, i64::MAX),
        "wall-clock time, counted anew from each midnight in `timezone`, at whose multiples and at midnight is flushed; -1 is off",
    )
    .default("-1")
    .unit("ms"),
    Key::new(
        "rotate.idle.ms",
        Kind::Int(-1, i64::MAX),
        "flushes when the partition's end is reached and no record came for so long; -1 is off",
    )
    .default("-1")
    .unit("ms")
    .risk("off, the last rows of a topic that falls silent stay unwritten; short, a slow topic becomes many small objects"),
    Key::new(
        "format.class",
        Kind::Text,
        "`Json`, or `io.confluent.connect.s3.format.json.JsonFormat`: a JSON object a line",
    )
    .default("Json")
    .low(),
    Key::new(
        "storage.class",
        Kind::OneOf(&["io.confluent.connect.s3.storage.S3Storage"]),
        "accepted as Kafka Connect writes it",
    )
    .default("io.confluent.connect.s3.storage.S3Storage")
    .low(),
    Key::new(
        "schema.compatibility",
        Kind::OneOf(&["NONE"]),
        "accepted as Kafka Connect writes it: rows have no schema to compare",
    )
    .default("NONE")
    .low(),
    Key::new(
        "locale",
        Kind::OneOf(&["en-US", "en_US", "en"]),
        "accepted as Kafka Connect writes it: `path.format` has only numbers",
    )
    .default("en-US")
    .low(),
];

/// Where event time comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extractor {
    /// This field, else the envelope's time, else Kafka's.
    Field(String),
    /// Kafka's timestamp.
    Kafka,
}

impl Extractor {
    /// The row's event time. The error says what is wrong with it and where it was looked for.
    pub fn time(&self, row: &Row<'_>, kafka: Option<i64>) -> Result<EventTime, Misfit> {
        match self {
            Self::Field(field) => {
                EventTime::of(row, Some(field), kafka).map_err(|error| Misfit::new(error.class(), error.to_string()))
            }
            Self::Kafka => kafka.map(|millis| EventTime { millis, source: TimeSource::Kafka }).ok_or_else(|| {
                Misfit::new(
                    "MissingTime",
                    "the Kafka record has no timestamp, which `timestamp.extractor` Record asks for",
                )
            }),
        }
    }
}

/// Everything that names and bytes depend on besides the records and a flush's end: what an intent keeps.
#[derive(Debug, Clone)]
pub struct Layout {
    /// `s3.bucket.name`.
    pub bucket: String,
    /// `s3.region`.
    pub region: Option<String>,
    /// `topics.dir` with a slash behind it, or nothing.
    pub dir: String,
    /// `s3.part.size`, bytes.
    pub part_size: usize,
    /// `partitioner.class` and what belongs to it.
    pub partitioner: Partitioner,
    /// `timestamp.extractor` and `timestamp.field`.
    pub extractor: Extractor,
    /// `s3.compression.type` and `s3.compression.level`.
    pub compression: Compression,
}

impl Layout {
    /// Of today's configuration.
    pub fn parse(config: &Config) -> Result<Self, ConfigError> {
        Ok(Self {
            bucket: config.text("s3.bucket.name").into(),
            region: config.get("s3.region").map(Into::into),
            dir: dir(config)?,
            part_size: usize::try_from(config.int("s3.part.size").unwrap_or_default())
                .map_err(|_| config.error("s3.part.size", "does not fit into this machine's memory"))?,
            partitioner: partitioner(config)?,
            extractor: extractor(config)?,
            compression: compression(config)?,
        })
    }

    /// Of the configuration that a previous owner had when it committed an intent.
    pub fn of_intent(today: &Config, replay: &Replay) -> Result<Self, ConfigError> {
        Self::parse(&today.with(&replay.settings)?)
    }

    /// What the keys of all objects of a topic begin with.
    pub fn topic_prefix(&self, topic: &str) -> String {
        format!("{}{topic}/", self.dir)
    }

    /// The key of the object in these folders of the flush that starts at this offset.
    ///
    /// The flush's start, not the object's first record: the intent's commit has it, and compaction cannot take it away.
    pub fn key(&self, partition: &TopicPartition, folders: &str, start: i64) -> String {
        let TopicPartition { topic, partition } = partition;
        let extension = self.compression.extension();
        format!("{}{topic}/{folders}/{topic}+{partition}+{start:010}.json{extension}", self.dir)
    }

    /// Whether the key of every object in these folders is within S3's limit, whatever its offset.
    pub fn check_folders(&self, partition: &TopicPartition, folders: &str) -> Result<(), Misfit> {
        let rest =
            self.dir.len() + 2 * partition.topic.len() + "//+-2147483648+.json.zst".len() + "9223372036854775807".len();
        let bytes = rest + folders.len();
        if bytes <= KEY_BYTES {
            return Ok(());
        }
        let longest = folders.split('/').max_by_key(|folder| folder.len()).unwrap_or_default();
        let (name, _) = longest.split_once('=').unwrap_or((longest, ""));
        Err(Misfit::new(
            "KeyTooLong",
            format!(
                "the fields that `partition.field.name` asks for give folders of {} bytes, the longest, of `{name}`, with {}, and so \
                 an object key of up to {bytes} bytes; S3 takes {KEY_BYTES}: send less in it, or leave it out of `partition.field.name`",
                folders.len(),
                longest.len()
            ),
        ))
    }
}

/// Whether `key` is that of an object of this partition, in whatever folders.
pub fn is_of(key: &str, partition: &TopicPartition) -> bool {
    let name = key.rsplit('/').next().unwrap_or(key);
    name.strip_prefix(&*partition.topic)
        .and_then(|rest| rest.strip_prefix('+'))
        .and_then(|rest| rest.strip_prefix(&partition.partition.to_string()))
        .and_then(|rest| rest.strip_prefix('+'))
        .and_then(|rest| rest.split_once(".json"))
        .is_some_and(|(offset, extension)| {
            offset.len() >= 10
                && offset.bytes().all(|byte| byte.is_ascii_digit())
                && matches!(extension, "" | ".gz" | ".zst")
        })
}

fn dir(config: &Config) -> Result<String, ConfigError> {
    let dir = config.get("topics.dir").unwrap_or_default();
    if dir.is_empty() {
        return Ok(String::new());
    }
    if dir.split('/').any(|segment| matches!(segment, "" | "." | "..")) || dir.chars().any(char::is_control) {
        return Err(config.error(
            "topics.dir",
            "write it as `raw` or `raw/fleet`: no empty, `.` or `..` folder, no slash at its ends",
        ));
    }
    if dir.len() > DIR_BYTES {
        return Err(config.error("topics.dir", format!("has {} bytes, at most {DIR_BYTES} are allowed", dir.len())));
    }
    Ok(format!("{dir}/"))
}

fn partitioner(config: &Config) -> Result<Partitioner, ConfigError> {
    let class = config.text("partitioner.class");
    let class = class.strip_prefix("io.confluent.connect.storage.partitioner.").unwrap_or(class);
    let class = class.strip_suffix("Partitioner").unwrap_or(class);
    let unused: &[&str] = match class {
        "Field" => &["path.format", "partition.duration.ms"],
        "TimeBased" | "Daily" | "Hourly" => &["partition.field.name"],
        "FieldAndTime" => &[],
        _ => &["partition.field.name", "path.format", "partition.duration.ms"],
    };
    if let Some(key) = unused.iter().find(|key| config.get(key).is_some()) {
        return Err(
            config.error(key, format!("has no effect with {class}: remove it, or take a partitioner that uses it"))
        );
    }
    let (fields, time) = match class {
        "Field" => (fields(config)?, None),
        "TimeBased" => (Vec::new(), Some(time_folders(config)?)),
        "FieldAndTime" => (fields(config)?, Some(time_folders(config)?)),
        "Daily" => (Vec::new(), Some(fixed(config, "'year'=YYYY/'month'=MM/'day'=dd", 24 * HOUR)?)),
        "Hourly" => (Vec::new(), Some(fixed(config, "'year'=YYYY/'month'=MM/'day'=dd/'hour'=HH", HOUR)?)),
        _ => return Ok(Partitioner::Kafka(None)),
    };
    Ok(Partitioner::Row { fields, time })
}

fn fields(config: &Config) -> Result<Vec<Field>, ConfigError> {
    let fields = config.list("partition.field.name");
    if fields.is_empty() {
        return Err(config.error("partition.field.name", format!("is required by {}", class(config))));
    }
    Ok(fields.into_iter().map(Field::new).collect())
}

fn time_folders(config: &Config) -> Result<TimeFolders, ConfigError> {
    let required = |key| config.error(key, format!("is required by {}", class(config)));
    let format = config.get("path.format").ok_or_else(|| required("path.format"))?;
    let format = PathFormat::parse(format).map_err(|problem| config.error("path.format", problem))?;
    let duration = config.int("partition.duration.ms").ok_or_else(|| required("partition.duration.ms"))?;
    Ok(TimeFolders::new(format, duration, zone(config)?.ok_or_else(|| required("timezone"))?))
}

/// Daily and Hourly: Kafka Connect ignores the two keys here; so that nobody relies on them, other values are refused.
fn fixed(config: &Config, format: &str, duration: i64) -> Result<TimeFolders, ConfigError> {
    let own = |key, is: &str| config.error(key, format!("{} has `{is}`; take TimeBased for another", class(config)));
    if config.get("path.format").is_some_and(|value| value != format) {
        return Err(own("path.format", format));
    }
    if config.int("partition.duration.ms").is_some_and(|value| value != duration) {
        return Err(own("partition.duration.ms", &duration.to_string()));
    }
    let zone = zone(config)?.ok_or_else(|| config.error("timezone", format!("is required by {}", class(config))))?;
    let format = PathFormat::parse(format).map_err(|problem| config.error("path.format", problem))?;
    Ok(TimeFolders::new(format, duration, zone))
}

fn class(config: &Config) -> String {
    format!("`partitioner.class` = `{}`", config.text("partitioner.class"))
}

fn zone(config: &Config) -> Result<Option<TimeZone>, ConfigError> {
    config
        .get("timezone")
        .map(|name| {
            TimeZone::get(name).map_err(|error| {
                config.error("timezone", format!("{error}; allowed are IANA names such as `UTC` or `Asia/Tokyo`"))
            })
        })
        .transpose()
}

fn extractor(config: &Config) -> Result<Extractor, ConfigError> {
    const CLASS: &str = "io.confluent.connect.storage.partitioner.TimeBasedPartitioner$";
    let extractor = config.text("timestamp.extractor");
    let name =
        extractor.strip_prefix(CLASS).and_then(|name| name.strip_suffix("TimestampExtractor")).unwrap_or(extractor);
    match name {
        "RecordField" => Ok(Extractor::Field(config.text("timestamp.field").into())),
        "Record" => Ok(Extractor::Kafka),
        "Wallclock" => Err(config.error(
            "timestamp.extractor",
            "is refused: a replay after a crash would read another time and write the same rows into other objects; \
             take RecordField or Record",
        )),
        _ => Err(config.error("timestamp.extractor", "allowed are RecordField and Record")),
    }
}

fn compression(config: &Config) -> Result<Compression, ConfigError> {
    let level = config.int("s3.compression.level").unwrap_or(-1);
    let wrong = |problem: &str| config.error("s3.compression.level", problem);
    match config.text("s3.compression.type") {
        "gzip" => match u32::try_from(level) {
            Err(_) => Ok(Compression::Gzip(GZIP_DEFAULT)),
            Ok(level @ 0..=9) => Ok(Compression::Gzip(level)),
            Ok(_) => Err(wrong("gzip has levels 0 to 9, or -1 for its default, 5")),
        },
        "zstd" => match i32::try_from(level) {
            Ok(-1) => Ok(Compression::Zstd(3)),
            Ok(level @ 1..=22) => Ok(Compression::Zstd(level)),
            _ => Err(wrong("zstd has levels 1 to 22, or -1 for its default, 3")),
        },
        _ => Ok(Compression::None),
    }
}

/// `format.class`: it has nothing to choose, but a pasted configuration has to be understood.
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

/// Milliseconds over 0, or -1 for off.
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

/// Refuses settings that nothing reads. Not part of the layout: an intent was announced with what its writer accepted.
fn check_effects(config: &Config, settings: &Settings) -> Result<(), ConfigError> {
    let Settings { layout, rotation } = settings;
    // A default that is written out does no harm.
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
        let problem = "has no effect with `timestamp.extractor` = `Record`, which takes Kafka's timestamp: remove it, or take RecordField";
        unread("timestamp.field", Some("timestamp"), problem)?;
    }
    let class = class(config);
    if !layout.partitioner.needs_time() && rotation.interval.is_none() {
        let problem = format!(
            "has no effect: nothing reads event time with {class} and without `rotate.interval.ms`; remove it, or take a partitioner by time"
        );
        unread("timestamp.extractor", Some("RecordField"), &problem)?;
        unread("timestamp.field", Some("timestamp"), &problem)?;
    }
    if !layout.partitioner.needs_time() && rotation.schedule.is_none() {
        let problem = format!(
            "has no effect: nothing reads a zone with {class} and without `rotate.schedule.interval.ms`; remove it, or take a partitioner \
             by time"
        );
        unread("timezone", None, &problem)?;
    }
    Ok(())
}

/// A connector's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What names and bytes depend on.
    pub layout: Layout,
    /// When a flush ends.
    pub rotation: Rotation,
}

impl Settings {
    /// Checks what goes together.
    pub fn parse(config: &Config) -> Result<Self, ConfigError> {
        check_format(config)?;
        let settings = Self { layout: Layout::parse(config)?, rotation: rotation(config)? };
        check_effects(config, &settings)?;
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIME: &[(&str, &str)] = &[
        ("partitioner.class", "TimeBased"),
        ("path.format", "'hour'=HH"),
        ("partition.duration.ms", "3600000"),
        ("timezone", "Asia/Tokyo"),
    ];

    fn config(extra: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let values = [("s3.bucket.name", "raw"), ("flush.size", "1000")];
        let values = values.iter().chain(extra).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Config::new("raw", &[KEYS], values.collect())
    }

    fn parsed(extra: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        config(extra).and_then(|config| Settings::parse(&config))
    }

    fn partition(topic: &str) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition: 3 }
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

    /// What would do nothing is refused, and names what would read it; next to that it is accepted, and so is a default that is written out.
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

    /// Kafka Connect's names.
    #[test]
    fn names() {
        let layout = parsed(&[("s3.compression.type", "gzip")]).expect("valid").layout;
        let key = layout.key(&partition("fms.vehicle.real"), "hour=05", 48211);
        assert_eq!(key, "topics/fms.vehicle.real/hour=05/fms.vehicle.real+3+0000048211.json.gz");
        let layout = parsed(&[("topics.dir", "")]).expect("valid").layout;
        assert_eq!(layout.key(&partition("t"), "partition=3", i64::MAX), "t/partition=3/t+3+9223372036854775807.json");
    }

    /// Folders that would make a key too long for S3 are an error, the longest that fit are not.
    #[test]
    fn long_folders() {
        let layout = parsed(&[("s3.compression.type", "zstd")]).expect("valid").layout;
        let partition = TopicPartition { topic: "t".repeat(249).into(), partition: i32::MIN };
        let longest = (0..KEY_BYTES).rev().find(|&n| layout.check_folders(&partition, &"f".repeat(n)).is_ok());
        let longest = "f".repeat(longest.expect("some fit"));
        assert_eq!(layout.key(&partition, &longest, i64::MAX).len(), KEY_BYTES);
        let error = layout.check_folders(&partition, &format!("{longest}f")).expect_err("one more");
        assert!(error.error.contains("S3 takes 1024"), "{error:?}");
        let folders = format!("a=1/type={}/b=2", "x".repeat(KEY_BYTES));
        let error = layout.check_folders(&partition, &folders).expect_err("too long");
        assert_eq!(error.class, "KeyTooLong");
        assert!(error.error.contains("the longest, of `type`, with 1029"), "{error:?}");
    }

    /// What takes over a partition finds its objects, and none of another's.
    #[test]
    fn own_keys() {
        let ours = partition("t");
        for key in ["topics/t/a/t+3+0000000000.json", "t+3+9223372036854775807.json.gz", "x/t+3+0000000001.json.zst"] {
            assert!(is_of(key, &ours), "{key}");
        }
        for key in [
            "topics/t/a/t+33+0000000000.json",
            "topics/t/a/t+3+000000000.json",
            "topics/t/a/t+3+0000000000.avro",
            "topics/t/a/t+3+0000000000.json.bz2",
            "topics/t/t+3+0000000000.json/x",
            "topics/t/a/tt+3+0000000000.json",
            "topics/t/a/t+3+00000x0000.json",
        ] {
            assert!(!is_of(key, &ours), "{key}");
        }
    }

    proptest! {
        /// Every key is below its topic's prefix, and is recognised as its partition's own.
        #[test]
        fn keys_are_found_again(value in any::<String>(), offset in 0..i64::MAX) {
            let layout = parsed(&[("topics.dir", "a/b")]).expect("valid").layout;
            let mut folders = "field=".to_owned();
            crate::escape::escape(&value, &mut folders);
            let key = layout.key(&partition("t"), &folders, offset);
            prop_assert!(key.starts_with(&layout.topic_prefix("t")) && is_of(&key, &partition("t")), "{}", key);
            prop_assert_eq!(key.split('/').count(), 5);
        }
    }
}
