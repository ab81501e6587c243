//! The sink's configuration keys, with Kafka Connect's names and meanings.

use fms_connect::{Key, ValueType};
use strum::VariantNames as _;

use crate::writer::Codec;

/// The sink's own keys. Those with `in_intent` affect the names or bytes of objects: a flush is repeated with the
/// values that they had.
pub const KEYS: &[Key] = &[
    Key::new("s3.bucket.name", ValueType::Text, "Objects are stored in this bucket, which has to exist")
        .required()
        .in_intent()
        .high(),
    Key::new(
        "s3.region",
        ValueType::Text,
        "The bucket is in this region, or, if the key is unset, in that of the AWS environment or profile",
    )
    .in_intent(),
    Key::new(
        "topics.dir",
        ValueType::Text,
        "This folder is above the folders of all topics and has at most 200 bytes. An empty one means that \
         there is none",
    )
    .default("topics")
    .in_intent()
    .high()
    .risk(
        "If two connectors write one topic to the same bucket and folder, rows are stored twice, or tasks \
         fail because the name of an object is taken",
    ),
    Key::new(
        "s3.part.size",
        ValueType::Int(5_242_880, 1_073_741_824),
        "Large objects are uploaded in parts of this size. The default is the smallest that S3 accepts",
    )
    .default("5242880")
    .in_intent()
    .low()
    .unit("bytes")
    .risk(
        "A task holds up to one part for each open object, so larger parts need that much more of \
         `buffer.memory`. An object has at most 9,000 parts",
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
        "The folders of an object are the Kafka partition (Default), fields of the row (Field), its event \
         time (TimeBased, Daily, Hourly), or fields and then the event time (FieldAndTime)",
    )
    .default("Default")
    .in_intent()
    .high()
    .risk("If folders have many values, many objects are open, and each of them is small and needs memory"),
    Key::new(
        "partition.field.name",
        ValueType::List,
        "With Field and FieldAndTime, these fields, or paths such as `device.id`, become folders in this \
         order. A row without one of them becomes a dead letter",
    )
    .in_intent()
    .high()
    .risk("A field with many values, such as the id of a vehicle, makes as many small objects"),
    Key::new(
        "path.format",
        ValueType::Text,
        "With TimeBased and FieldAndTime, the event time becomes folders of this form: \
         `'year'=YYYY/'month'=MM/'day'=dd/'hour'=HH` as in Kafka Connect, or \
         `year=%Y/month=%m/day=%d/hour=%H` as in strftime",
    )
    .in_intent()
    .high(),
    Key::new(
        "partition.duration.ms",
        ValueType::Int(1, i64::MAX),
        "With TimeBased and FieldAndTime, the event time is rounded down to a multiple of this, in local time",
    )
    .in_intent()
    .unit("ms")
    .risk(
        "It should be what the last unit of `path.format` spans; otherwise some folders stay empty, or have \
         rows of other times",
    ),
    Key::new(
        "timezone",
        ValueType::Text,
        "The hours and days of folders and of `rotate.schedule.interval.ms` are those of the time zone with \
         this IANA name, such as `UTC` or `Asia/Tokyo`",
    )
    .in_intent()
    .risk("In a zone with daylight saving time, the folder of one hour has the rows of two hours once a year"),
    Key::new(
        "timestamp.extractor",
        ValueType::Text,
        "With `RecordField`, the event time is that of `timestamp.field`, or else that of the envelope, or \
         else Kafka's timestamp. With `Record`, it is Kafka's timestamp",
    )
    .default("RecordField")
    .in_intent(),
    Key::new(
        "timestamp.field",
        ValueType::Text,
        "With RecordField, this field of the row, or path such as `position.fixTime`, holds the event time. \
         The log says when no row of a flush has the field",
    )
    .default("timestamp")
    .in_intent()
    .risk("If rows do not have the field, the time of the envelope or of Kafka is used"),
    Key::new(
        "s3.compression.type",
        ValueType::OneOf(Codec::VARIANTS),
        "Objects are compressed in this way, and their names end with .json, .json.gz or .json.zst",
    )
    .default("none")
    .in_intent(),
    Key::new(
        "s3.compression.level",
        ValueType::Int(-1, 22),
        "Gzip has the levels 0 to 9, and zstd has the levels 1 to 22. The level -1 stands for 5 with gzip and \
         for 3 with zstd",
    )
    .default("-1")
    .in_intent()
    .low()
    .risk("Zstd above level 9 needs up to 90 MiB of memory for each open object"),
    Key::new(
        "flush.size",
        ValueType::Int(1, i64::MAX),
        "When an object has this number of rows, it is flushed, together with all objects of its Kafka partition. A \
         message is never divided",
    )
    .required()
    .high()
    .unit("rows")
    .risk(
        "If it is small, there are many small objects. Without a rotation beside it, rows wait until there \
         are so many",
    ),
    Key::new(
        "rotate.interval.ms",
        ValueType::Int(-1, i64::MAX),
        "When a row's event time is this much later than that of the first row in its object, the rows before \
         its record are flushed; -1 turns this off",
    )
    .default("-1")
    .unit("ms")
    .risk("It needs a next record: if a topic falls silent, its last rows stay unwritten"),
    Key::new(
        "rotate.schedule.interval.ms",
        ValueType::Int(-1, i64::MAX),
        "All rows are flushed at midnight in `timezone`, and at each multiple of this time since then; -1 \
         turns this off",
    )
    .default("-1")
    .unit("ms"),
    Key::new(
        "rotate.idle.ms",
        ValueType::Int(-1, i64::MAX),
        "When the end of a partition is reached and no record has come for this long, its rows are flushed; \
         -1 turns this off",
    )
    .default("-1")
    .unit("ms")
    .risk(
        "If it is off, the last rows of a topic that falls silent stay unwritten. If it is short, a slow \
         topic becomes many small objects",
    ),
    Key::new(
        "format.class",
        ValueType::Text,
        "Objects have one JSON object on each line. `Json` and \
         `io.confluent.connect.s3.format.json.JsonFormat` both mean this",
    )
    .default("Json")
    .low(),
    Key::new(
        "storage.class",
        ValueType::OneOf(&["io.confluent.connect.s3.storage.S3Storage"]),
        "This setting is accepted so that a configuration of Kafka Connect can be used as it is",
    )
    .default("io.confluent.connect.s3.storage.S3Storage")
    .low(),
    Key::new(
        "schema.compatibility",
        ValueType::OneOf(&["NONE"]),
        "This setting is accepted so that a configuration of Kafka Connect can be used as it is. Rows have no \
         schema to compare",
    )
    .default("NONE")
    .low(),
    Key::new(
        "locale",
        ValueType::OneOf(&["en-US", "en_US", "en"]),
        "This setting is accepted so that a configuration of Kafka Connect can be used as it is. \
         `path.format` has only numbers",
    )
    .default("en-US")
    .low(),
];
