//! What every command that converts can be told about rows and tables.

use clap::Args;
use fms_lake::{Settings, TimeZone};

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
    /// The field with a row's event time. A row without it takes that of its `messaged_at`.
    #[arg(long, env = "FMS_LAKE_TIMESTAMP_FIELD", value_name = "FIELD", default_value = "timestamp_iso")]
    timestamp_field: String,
    /// The columns by which rows are sorted.
    #[arg(
        long,
        env = "FMS_LAKE_SORT_FIELDS",
        value_name = "FIELDS",
        value_delimiter = ',',
        default_value = "id,timestamp_iso"
    )]
    sort_fields: Vec<String>,
    /// The time zone of the partitions' days and hours, such as `Asia/Seoul`.
    #[arg(long, env = "FMS_LAKE_TIMEZONE", value_name = "ZONE", default_value = "UTC", value_parser = time_zone)]
    timezone: TimeZone,
}

fn time_zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|error| error.to_string())
}

impl From<ConversionArguments> for Settings {
    fn from(arguments: ConversionArguments) -> Self {
        Self {
            table_fields: arguments.table_fields,
            time_field: arguments.timestamp_field,
            zone: arguments.timezone,
            sort_fields: arguments.sort_fields,
            ..Self::default()
        }
    }
}
