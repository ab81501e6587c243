//! The sink's configuration keys, with Kafka Connect's names and meanings.

use fms_connect::{Key, ValueType};
use strum::VariantNames as _;

use crate::writer::Codec;

/// The sink's own keys. Those with `in_intent` affect the names or bytes of objects: a flush is repeated with the
/// values that they had.
pub const KEYS: &[Key] = &[
    Key::new("s3.bucket.name", ValueType::Text, "the bucket; it has to exist").required().in_intent().high(),
    Key::new("s3.region", ValueType::Text, "the bucket's region; unset, that of the AWS environment or profile").in_intent(),
    Key::new("topics.dir", ValueType::Text, "the folder above all topics, at most 200 bytes; empty is none")
        .default("topics")
        .in_intent()
        .high()
        .risk("two connectors that write one topic to the same bucket and folder write over each other's objects"),
    Key::new("s3.part.size", ValueType::Int(5_242_880, 1_073_741_824), "the size of an uploaded part; the default is the least that S3 takes")
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
        ValueType::OneOf(&[
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
        ValueType::List,
        "for Field and FieldAndTime: the fields, or paths such as `device.id`, in the order of the folders; a row without one of them goes \
         to the dead letters",
    )
    .in_intent()
    .high()
    .risk("a field with many values, such as a vehicle's id, makes as many small objects"),
    Key::new(
        "path.format",
        ValueType::Text,
        "for TimeBased and FieldAndTime: `'year'=YYYY/'month'=MM/'day'=dd/'hour'=HH`, or strftime's `year=%Y/month=%m/day=%d/hour=%H`",
    )
    .in_intent()
    .high(),
    Key::new(
        "partition.duration.ms",
        ValueType::Int(1, i64::MAX),
        "for TimeBased and FieldAndTime: event time is rounded down to it, in local time",
    )
    .in_intent()
    .unit("ms")
    .risk("it should be what the last unit of `path.format` spans; another one leaves folders empty or fills them with other times"),
    Key::new(
        "timezone",
        ValueType::Text,
        "the IANA name (`UTC`, `Asia/Tokyo`) of the zone whose hours and days folders and `rotate.schedule.interval.ms` mean",
    )
    .in_intent()
    .risk("in a zone with summer time an hour's folder holds two hours once a year"),
    Key::new(
        "timestamp.extractor",
        ValueType::Text,
        "event time: `RecordField` (`timestamp.field`, else the envelope's time, else Kafka's) or `Record` (Kafka's alone)",
    )
    .default("RecordField")
    .in_intent(),
    Key::new("timestamp.field", ValueType::Text, "for RecordField: the row's field, or path such as `position.fixTime`, that has its event time; a log line says when no row of a \
             flush has it")
        .default("timestamp")
        .in_intent()
        .risk("a field that rows do not have leaves them to the time of the envelope or of Kafka"),
    Key::new(
        "s3.compression.type",
        ValueType::OneOf(Codec::VARIANTS),
        "how objects are compressed; their names end with .json, .json.gz or .json.zst",
    )
    .default("none")
    .in_intent(),
    Key::new(
        "s3.compression.level",
        ValueType::Int(-1, 22),
        "gzip: 0 to 9; zstd: 1 to 22; -1 is 5 for gzip and 3 for zstd",
    )
    .default("-1")
    .in_intent()
    .low()
    .risk("zstd over 9 holds up to 90 MiB for every open object"),
    Key::new(
        "flush.size",
        ValueType::Int(1, i64::MAX),
        "rows of an object after which it is flushed, and with it all objects of its Kafka partition; a message is never divided",
    )
    .required()
    .high()
    .unit("rows")
    .risk("a small one makes many small objects; without a rotation beside it, rows wait until so many have come"),
    Key::new(
        "rotate.interval.ms",
        ValueType::Int(-1, i64::MAX),
        "event time, from an object's first row, that flushes before the record that reaches it; -1 is off",
    )
    .default("-1")
    .unit("ms")
    .risk("it needs a next record: the last rows of a topic that falls silent stay unwritten"),
    Key::new(
        "rotate.schedule.interval.ms",
        ValueType::Int(-1, i64::MAX),
        "wall-clock time, counted anew from each midnight in `timezone`, at whose multiples and at midnight is flushed; -1 is off",
    )
    .default("-1")
    .unit("ms"),
    Key::new(
        "rotate.idle.ms",
        ValueType::Int(-1, i64::MAX),
        "flushes when the partition's end is reached and no record came for so long; -1 is off",
    )
    .default("-1")
    .unit("ms")
    .risk("off, the last rows of a topic that falls silent stay unwritten; short, a slow topic becomes many small objects"),
    Key::new(
        "format.class",
        ValueType::Text,
        "`Json`, or `io.confluent.connect.s3.format.json.JsonFormat`: a JSON object a line",
    )
    .default("Json")
    .low(),
    Key::new(
        "storage.class",
        ValueType::OneOf(&["io.confluent.connect.s3.storage.S3Storage"]),
        "accepted as Kafka Connect writes it",
    )
    .default("io.confluent.connect.s3.storage.S3Storage")
    .low(),
    Key::new(
        "schema.compatibility",
        ValueType::OneOf(&["NONE"]),
        "accepted as Kafka Connect writes it: rows have no schema to compare",
    )
    .default("NONE")
    .low(),
    Key::new(
        "locale",
        ValueType::OneOf(&["en-US", "en_US", "en"]),
        "accepted as Kafka Connect writes it: `path.format` has only numbers",
    )
    .default("en-US")
    .low(),
];
