//! `fms lake status`: what a lake in S3 holds, hour by hour, and what is missing.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use fms_lake::{HourStatus, Partition, Quarantined, Readers, S3Url, Status, TableStatus, Why};
use serde_json::{Value, json};

use super::compact::bytes;
use super::counted;
use super::grid::grid;
use super::settings::LakeArguments;
use super::storage::OwnerArguments;
use super::work::{Progress, run as run_work};
use crate::LogFormat;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    lake: LakeArguments,
    #[command(flatten)]
    owner: OwnerArguments,
    /// Raw objects that should be in the lake, as `s3://bucket/prefix`; may be repeated. Those that are not converted
    /// are named.
    #[arg(long, value_name = "URL")]
    raw: Vec<S3Url>,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// Prints the status. The exit status is 1 if rows are missing, or readers do not find them, and 2 if something cannot
/// be read.
pub(super) fn run(arguments: &Arguments, log_format: LogFormat) -> ExitCode {
    run_work("fms lake status", &arguments.lake, arguments.owner.storage(), log_format, async |bucket| {
        let status = bucket.status(&arguments.lake.tables, &arguments.raw).await?;
        let summary = if arguments.json { format!("{}\n", json(&status)) } else { text(&status) };
        Ok(Progress { summary, failed: u64::from(status.is_incomplete()) })
    })
}

/// A line for each hour, one for each quarantine, and a sentence for everything that is missing.
fn text(status: &Status) -> String {
    let heads = ["TABLE", "HOUR", "RAW ROWS", "PARQUET ROWS", "QUARANTINED", "FILES", "SIZE", "STATE"];
    let mut rows = vec![heads.map(str::to_owned)];
    for (name, table) in &status.tables {
        rows.extend(table.hours.iter().map(|(partition, hour)| hour_cells(name, *partition, hour)));
        rows.extend(quarantine_cells(name, table.quarantined));
    }
    rows.extend(status.unclassified.and_then(|quarantined| quarantine_cells("unclassified", quarantined)));
    let mut text = grid(&rows);
    for (name, table) in &status.tables {
        sentences(&mut text, name, table);
    }
    for ((bucket, key), why) in &status.not_converted {
        let why = match why {
            Why::NoRecord => "it is not converted yet",
            Why::UnderWay => "its conversion is under way, or was interrupted and has to be repeated",
            Why::Replaced => "it was replaced since it was converted",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "s3://{bucket}/{key}: {why}");
    }
    text
}

fn hour_cells(table: &str, partition: Partition, hour: &HourStatus) -> [String; 8] {
    let state = match hour.late {
        None => "not compacted".to_owned(),
        Some(0) => "compacted".to_owned(),
        Some(late) => format!("compacted, {} late", counted(late, "file")),
    };
    [
        table.to_owned(),
        partition.values().join(" "),
        known(hour.raw_rows),
        known(hour.parquet_rows),
        "-".to_owned(),
        hour.files.to_string(),
        bytes(hour.bytes),
        state,
    ]
}

fn quarantine_cells(table: &str, quarantined: Quarantined) -> Option<[String; 8]> {
    let cells = ["-", &known(quarantined.rows), "-", &known(quarantined.rows), &quarantined.files.to_string(), "-"];
    let [hour, raw, parquet, rows, files, size] = cells.map(str::to_owned);
    (quarantined.files > 0)
        .then(|| [table.to_owned(), hour, raw, parquet, rows, files, size, "in quarantine".to_owned()])
}

fn known(rows: Option<u64>) -> String {
    rows.map_or_else(|| "?".to_owned(), |rows| rows.to_string())
}

/// What is wrong with the hours of a table, and what it has no hours of any more.
fn sentences(text: &mut String, name: &str, table: &TableStatus) {
    for (partition, hour) in &table.hours {
        let wrong = match hour.readers {
            Readers::There => None,
            Readers::Nowhere => Some("the catalog has no partition for its rows"),
            Readers::Elsewhere => Some("the catalog sends readers to a folder without its rows"),
        };
        // Writing to a string cannot fail.
        if let Some(wrong) = wrong {
            let _ = writeln!(text, "{name}, {partition}: {wrong}; `fms lake repair` mends that");
        }
        if hour.under_way > 0 {
            let objects = counted(hour.under_way, "raw object");
            let _ = writeln!(text, "{name}, {partition}: the conversion of {objects} with rows of it has not ended");
        }
        for path in &hour.missing {
            let _ = writeln!(text, "{name}, {partition}: MISSING {path}; convert its raw object with --again");
        }
    }
    if table.left > 0 {
        let _ = writeln!(text, "{name}: {} left the lake", counted(table.left, "hour"));
    }
}

fn json(status: &Status) -> Value {
    let quarantined = |of: Quarantined| json!({"files": of.files, "rows": of.rows});
    let table = |(name, table): (&String, &TableStatus)| {
        let hours: Vec<Value> = table.hours.iter().map(|(partition, hour)| hour_json(*partition, hour)).collect();
        json!({"table": name, "hours": hours, "quarantined": quarantined(table.quarantined), "left": table.left})
    };
    let not_converted =
        |((bucket, key), why): (&(String, String), &Why)| json!({"bucket": bucket, "key": key, "why": why.as_str()});
    json!({
        "tables": status.tables.iter().map(table).collect::<Vec<_>>(),
        "unclassified": status.unclassified.map(quarantined),
        "not_converted": status.not_converted.iter().map(not_converted).collect::<Vec<_>>(),
        "incomplete": status.is_incomplete(),
    })
}

fn hour_json(partition: Partition, hour: &HourStatus) -> Value {
    let HourStatus { raw_rows, parquet_rows, files, bytes, late, readers, under_way, missing } = hour;
    let [ymd, hour] = partition.values();
    json!({
        "ymd": ymd, "hour": hour, "raw_rows": raw_rows, "parquet_rows": parquet_rows, "files": files, "bytes": bytes,
        "compacted": late.is_some(), "late_files": late, "readers": readers.as_str(), "under_way": under_way,
        "missing": missing,
    })
}
