//! Everything that the names and bytes of objects depend on, besides the records and the end of their flush.

use fms_connect::{Config, ConfigError, Replay, TopicPartition, TopicRouter};
use fms_layout::{Extension, Field, FileName, Folder, PathFormat, Template, time_zone};
use jiff::tz::TimeZone;

use crate::extractor::Extractor;
use crate::partitioner::{Partitioner, PlacementError, TimeFolders};
use crate::writer::{Codec, Compression, GZIP_DEFAULT, ZSTD_DEFAULT};

/// The longest key that S3 takes, in bytes.
const KEY_BYTES: usize = 1024;

/// The bytes that `topics.dir` may have. What is left of a key has room for the longest topic name twice and for some
/// folders.
const DIR_BYTES: usize = 200;

const HOUR: i64 = 3_600_000;

/// How objects are named and written. An intent keeps the settings that it is made from, so that a replay writes the
/// same names and bytes.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// `s3.bucket.name`.
    pub bucket: String,
    /// `s3.region`.
    pub region: Option<String>,
    /// `s3.part.size` in bytes.
    pub part_size: usize,
    /// How the folders of a row are found: `partitioner.class` and the keys that belong to it.
    pub partitioner: Partitioner,
    /// `timestamp.extractor` and `timestamp.field`.
    pub extractor: Extractor,
    /// `s3.compression.type` and `s3.compression.level`.
    pub compression: Compression,
    /// The form of the keys: `topics.dir` and the folders of the partitioner.
    template: Template,
    /// Under which names topics are stored.
    topics: TopicRouter,
}

impl Layout {
    /// The layout of a configuration.
    pub(crate) fn parse(config: &Config) -> Result<Self, ConfigError> {
        let dir = dir(config)?;
        let (partitioner, folders) = partitioner(config)?;
        Ok(Self {
            bucket: config.text("s3.bucket.name").into(),
            region: config.get("s3.region").map(Into::into),
            part_size: usize::try_from(config.int("s3.part.size").unwrap_or_default())
                .map_err(|_| config.error("s3.part.size", "does not fit into this machine's memory"))?,
            partitioner,
            extractor: Extractor::parse(config)?,
            compression: compression(config)?,
            template: Template::new(dir, folders),
            topics: TopicRouter::of(config)?,
        })
    }

    /// The layout of the configuration that a previous owner of the partition had when it committed its intent.
    pub(crate) fn of_intent(today: &Config, replay: &Replay) -> Result<Self, ConfigError> {
        Self::parse(&today.with(&replay.settings)?)
    }

    /// The partition under the name of the topic that its objects have, which a `RegexRouter` may change.
    pub(crate) fn stored_as(&self, partition: &TopicPartition) -> TopicPartition {
        TopicPartition { topic: self.topics.route(&partition.topic).into(), partition: partition.partition }
    }

    /// What the keys of all objects of a topic begin with, which is stored under this name.
    pub(crate) fn topic_prefix(&self, topic: &str) -> String {
        self.template.topic_prefix(topic)
    }

    /// The key of the object in these folders of the flush that starts at this offset.
    ///
    /// It has the offset of the flush and not that of the object's first record: the commit of the intent has the
    /// former, and compaction cannot remove it.
    pub(crate) fn key(&self, partition: &TopicPartition, folders: &str, start: i64) -> String {
        let TopicPartition { topic, partition } = partition;
        let extension = match self.compression {
            Compression::None => Extension::Json,
            Compression::Gzip(_) => Extension::JsonGzip,
            Compression::Zstd(_) => Extension::JsonZstd,
        };
        let topic = self.topics.route(topic).into_owned();
        self.template.key(folders, &FileName { topic, partition: *partition, start, extension })
    }

    /// Checks that the key of every object in these folders is within S3's limit, whatever its offset is.
    pub(crate) fn check_folders(&self, partition: &TopicPartition, folders: &str) -> Result<(), PlacementError> {
        let bytes = self.template.max_len(&self.topics.route(&partition.topic), folders);
        if bytes <= KEY_BYTES {
            return Ok(());
        }
        let longest = folders.split('/').max_by_key(|folder| folder.len()).unwrap_or_default();
        let (name, _) = longest.split_once('=').unwrap_or((longest, ""));
        Err(PlacementError::new(
            "KeyTooLong",
            format!(
                "the fields that `partition.field.name` asks for give folders of {} bytes, the longest, of `{name}`, \
                 with {}, and so an object key of up to {bytes} bytes; S3 takes {KEY_BYTES}: send less in it, or leave \
                 it out of `partition.field.name`",
                folders.len(),
                longest.len()
            ),
        ))
    }
}

/// Whether `key` is that of an object of this partition, which is [stored under this name](Layout::stored_as), in whatever
/// folders: a previous owner may have had another configuration.
pub(crate) fn is_of(key: &str, partition: &TopicPartition) -> bool {
    let file = key.rsplit('/').next().unwrap_or(key).parse::<FileName>();
    file.is_ok_and(|file| file.topic == *partition.topic && file.partition == partition.partition)
}

/// `topics.dir`, checked; empty for none.
fn dir(config: &Config) -> Result<&str, ConfigError> {
    let dir = config.get("topics.dir").unwrap_or_default();
    let has_odd_segment = || dir.split('/').any(|segment| matches!(segment, "" | "." | ".."));
    if !dir.is_empty() && (has_odd_segment() || dir.chars().any(char::is_control)) {
        return Err(config.error(
            "topics.dir",
            "write it as `raw` or `raw/fleet`: no empty, `.` or `..` folder, no slash at its ends",
        ));
    }
    if dir.len() > DIR_BYTES {
        return Err(config.error("topics.dir", format!("has {} bytes, at most {DIR_BYTES} are allowed", dir.len())));
    }
    Ok(dir)
}

/// What `partitioner.class` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString)]
enum PartitionerClass {
    Default,
    Field,
    TimeBased,
    FieldAndTime,
    Daily,
    Hourly,
}

impl PartitionerClass {
    /// Accepts the short name and Kafka Connect's class name.
    fn parse(config: &Config) -> Result<Self, ConfigError> {
        const KEY: &str = "partitioner.class";
        let text = config.text(KEY);
        let name = text.strip_prefix("io.confluent.connect.storage.partitioner.");
        let name = name.map_or(text, |name| name.strip_suffix("Partitioner").unwrap_or(name));
        name.parse().map_err(|_| config.error(KEY, "is not a known partitioner"))
    }

    /// The keys that have no effect with this class.
    fn unused(self) -> &'static [&'static str] {
        match self {
            Self::Default => &["partition.field.name", "path.format", "partition.duration.ms"],
            Self::Field => &["path.format", "partition.duration.ms"],
            Self::TimeBased | Self::Daily | Self::Hourly => &["partition.field.name"],
            Self::FieldAndTime => &[],
        }
    }
}

/// The partitioner, and the folders that it writes.
fn partitioner(config: &Config) -> Result<(Partitioner, Vec<Folder>), ConfigError> {
    let class = PartitionerClass::parse(config)?;
    if let Some(key) = class.unused().iter().find(|key| config.get(key).is_some()) {
        let problem = format!("has no effect with {class:?}: remove it, or take a partitioner that uses it");
        return Err(config.error(key, problem));
    }
    let (fields, time) = match class {
        PartitionerClass::Default => return Ok((Partitioner::Kafka(None), vec![Folder::KafkaPartition])),
        PartitionerClass::Field => (fields(config)?, None),
        PartitionerClass::TimeBased => (Vec::new(), Some(time_folders(config)?)),
        PartitionerClass::FieldAndTime => (fields(config)?, Some(time_folders(config)?)),
        PartitionerClass::Daily => (Vec::new(), Some(fixed(config, "'year'=YYYY/'month'=MM/'day'=dd", 24 * HOUR)?)),
        PartitionerClass::Hourly => {
            (Vec::new(), Some(fixed(config, "'year'=YYYY/'month'=MM/'day'=dd/'hour'=HH", HOUR)?))
        }
    };
    let time_folder = time.as_ref().map(|time| Folder::Time(time.format().clone()));
    let folders = fields.iter().cloned().map(Folder::Field).chain(time_folder).collect();
    Ok((Partitioner::Row { fields, time }, folders))
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

/// The folders of Daily and Hourly, whose format and duration are fixed. Kafka Connect ignores `path.format` and
/// `partition.duration.ms` for them; here another value is refused, so that nobody relies on it.
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

/// The class as errors name it.
pub(crate) fn class(config: &Config) -> String {
    format!("`partitioner.class` = `{}`", config.text("partitioner.class"))
}

/// `timezone`, if it is set.
pub(crate) fn zone(config: &Config) -> Result<Option<TimeZone>, ConfigError> {
    config
        .get("timezone")
        .map(|name| {
            time_zone(name).map_err(|error| {
                config.error("timezone", format!("{error}; allowed are IANA names such as `UTC` or `Asia/Tokyo`"))
            })
        })
        .transpose()
}

fn compression(config: &Config) -> Result<Compression, ConfigError> {
    let level = config.int("s3.compression.level").unwrap_or(-1);
    let wrong = |problem: &str| config.error("s3.compression.level", problem);
    match config.one_of("s3.compression.type")? {
        Codec::None => Ok(Compression::None),
        Codec::Gzip => match u32::try_from(level) {
            Ok(level @ 0..=9) => Ok(Compression::Gzip(level)),
            Ok(10..) => Err(wrong("gzip has levels 0 to 9, or -1 for its default, 5")),
            Err(_) => Ok(Compression::Gzip(GZIP_DEFAULT)),
        },
        Codec::Zstd => match i32::try_from(level) {
            Ok(level @ 1..=22) => Ok(Compression::Zstd(level)),
            Ok(-1) => Ok(Compression::Zstd(ZSTD_DEFAULT)),
            Ok(..-1 | 0 | 23..) | Err(_) => Err(wrong("zstd has levels 1 to 22, or -1 for its default, 3")),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::settings::tests::parsed;

    fn partition(topic: &str) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition: 3 }
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

    /// What the partitioner writes is what the template reads.
    #[test]
    fn keys_are_parsed_by_the_template() {
        let layout = parsed(&[
            ("partitioner.class", "FieldAndTime"),
            ("partition.field.name", "object,id"),
            ("path.format", "'ymd'=YYYY-MM-dd/'hour'=HH"),
            ("partition.duration.ms", "3600000"),
            ("timezone", "UTC"),
        ]);
        let mut layout = layout.expect("valid").layout;
        let message = fms_record::Parser::new(None).parse(br#"{"object":"a/b","id":7}"#).expect("a message");
        let row = message.rows().next().expect("a row").expect("a row");
        let mut folders = String::new();
        layout.partitioner.write(&row, 3, Some(1_672_542_000_000), &mut folders).expect("folders");
        let name = layout.template.parse(&layout.key(&partition("t"), &folders, 42)).expect("a key of ours");
        let expected = ["a/b", "7", "ymd=2023-01-01/hour=03"].map(|value| fms_layout::Value::Whole(value.into()));
        assert_eq!(name.folders, expected);
        assert_eq!((&*name.file.topic, name.file.partition, name.file.start), ("t", 3, 42));
    }

    proptest! {
        /// Every key is below its topic's prefix, and is recognised as its partition's own.
        #[test]
        fn keys_are_found_again(value in any::<String>(), offset in 0..i64::MAX) {
            let layout = parsed(&[("topics.dir", "a/b")]).expect("valid").layout;
            let mut folders = "field=".to_owned();
            fms_layout::escape(&value, &mut folders);
            let key = layout.key(&partition("t"), &folders, offset);
            prop_assert!(key.starts_with(&layout.topic_prefix("t")) && is_of(&key, &partition("t")), "{}", key);
            prop_assert_eq!(key.split('/').count(), 5);
        }
    }
}
