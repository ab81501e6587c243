//! What every command that converts can be told about rows and tables.

use clap::Args;
use fms_lake::{KeyTemplate, S3Url, Settings, TimeZone, time_zone};

#[derive(Debug, Args)]
pub(super) struct ConversionArguments {
    /// The fields whose values decide a row's table.
    #[arg(
        long,
        env = "FMS_LAKE_TABLE_FIELDS",
        value_name = "FIELDS",
        value_delimiter = ',',
        default_value = "object,type,command"
    )]
    table_fields: Vec<String>,
    /// The folders with which the keys of raw objects begin, with fields that are read from them instead of from the
    /// rows, such as `topics/{topic}/`. `*` stands for any folder. Each of the fields has to be among `--table-fields`.
    #[arg(long, env = "FMS_LAKE_RAW_KEY_TEMPLATE", value_name = "TEMPLATE")]
    raw_key_template: Option<KeyTemplate>,
    /// The field with a row's event time. A row without it takes that of its `messaged_at`.
    #[arg(long, env = "FMS_LAKE_TIMESTAMP_FIELD", value_name = "FIELD", default_value = "timestamp_iso")]
    timestamp_field: String,
    #[command(flatten)]
    order: OrderArguments,
}

/// How the rows of a table are ordered: by the hours of partitions, and by columns.
#[derive(Debug, Args)]
pub(super) struct OrderArguments {
    /// The columns by which rows are sorted.
    #[arg(
        long,
        env = "FMS_LAKE_SORT_FIELDS",
        value_name = "FIELDS",
        value_delimiter = ',',
        default_value = "id,timestamp_iso"
    )]
    pub sort_fields: Vec<String>,
    #[command(flatten)]
    pub zone: ZoneArguments,
}

#[derive(Debug, Args)]
pub(super) struct ZoneArguments {
    /// The time zone of the partitions' days and hours, such as `Asia/Seoul`.
    #[arg(long, env = "FMS_LAKE_TIMEZONE", value_name = "ZONE", default_value = "UTC", value_parser = time_zone)]
    pub timezone: TimeZone,
}

/// A lake in S3 that exists.
#[derive(Debug, Args)]
pub(super) struct LakeArguments {
    /// The lake, as `s3://bucket/prefix`.
    #[arg(long, env = "FMS_LAKE_TO", value_name = "URL")]
    pub lake: S3Url,
    /// The database of the Glue catalog with the tables of the lake.
    #[arg(long, env = "FMS_LAKE_DATABASE", value_name = "NAME")]
    pub database: String,
    /// A table of the lake; may be repeated. All tables if none is named.
    #[arg(long = "table", value_name = "NAME")]
    pub tables: Vec<String>,
}

impl ConversionArguments {
    /// The settings. An error says which options do not go together.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        let settings = Settings {
            table_fields: self.table_fields.clone(),
            key_template: self.raw_key_template.clone(),
            time_field: self.timestamp_field.clone(),
            zone: self.order.zone.timezone.clone(),
            sort_fields: self.order.sort_fields.clone(),
            ..Settings::default()
        };
        if let Some(unused) = settings.unused_key_field() {
            anyhow::bail!(
                "`--raw-key-template` has the field `{unused}`, which decides no table; add it to `--table-fields`, or \
                 write `*` in its place"
            );
        }
        Ok(settings)
    }
}
