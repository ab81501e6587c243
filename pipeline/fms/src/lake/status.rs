//! `fms lake status`: what a lake in S3 holds, hour by hour, and what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use fms_lake::{HourStatus, Partition, Quarantined, RawHour, Readers, S3Url, Status, TableStatus, Why};
use serde_json::{Value, json};

use super::compact::bytes;
use super::counted;
use super::grid::grid;
use super::settings::LakeArguments;
use super::storage::{OwnerArguments, RawOwnerArguments};
use super::work::{Progress, run as run_work};
use crate::LogFormat;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    lake: LakeArguments,
    #[command(flatten)]
    owner: OwnerArguments,
    #[command(flatten)]
    raw_owner: RawOwnerArguments,
    /// Raw objects that should be in the lake, as `s3://bucket/prefix`; may be repeated. Those that are not converted
    /// are named.
    #[arg(long, value_name = "URL")]
    raw: Vec<S3Url>,
    /// Read these raw objects, too, and compare how many rows they have with what was noted when they were converted.
    #[arg(long, requires = "raw")]
    count: bool,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// Prints the status. The exit status is 1 if rows are missing, or readers do not find them, and 2 if something cannot
/// be read.
pub(super) fn run(arguments: &Arguments, log_format: LogFormat) -> ExitCode {
    run_work("fms lake status", &arguments.lake, arguments.owner.storage(), log_format, async |bucket| {
        let bucket = bucket.expecting_raw_owner(arguments.raw_owner.expected_raw_bucket_owner.clone());
        let status = bucket.status(&arguments.lake.tables, &arguments.raw).await?;
        let counted = if arguments.count { Some(bucket.miscounted(&arguments.raw).await?) } else { None };
        let summary = if arguments.json {
            format!("{}\n", json(&status, counted.as_ref()))
        } else {
            text(&status) + &counted.as_ref().map(miscounted).unwrap_or_default()
        };
        let is_miscounted = counted.is_some_and(|counted| !counted.is_empty());
        Ok(Progress { summary, failed: u64::from(status.is_incomplete() || is_miscounted) })
    })
}

/// Raw objects with another number of rows than were noted: that, and how many they have.
type Miscounted = BTreeMap<(String, String), (u64, u64)>;

fn miscounted(counted: &Miscounted) -> String {
    let sentence = |((bucket, key), (found, stored)): (&(String, String), &(u64, u64))| {
        let rows = self::counted(*found, "row");
        format!(
            "s3://{bucket}/{key}: it has {rows}, and {stored} are in the lake or in quarantine; convert it with --again\n"
        )
    };
    counted.iter().map(sentence).collect()
}

/// A line for each hour, one for each quarantine, and a sentence for everything that is missing.
fn text(status: &Status) -> String {
    let heads = ["TABLE", "HOUR", "RAW ROWS", "PARQUET ROWS", "QUARANTINED", "NOT CONVERTED", "FILES", "SIZE", "STATE"];
    let mut rows = vec![heads.map(str::to_owned)];
    for (name, table) in &status.tables {
        let hours: BTreeSet<&Partition> = table.hours.keys().chain(table.raw_hours.keys()).collect();
        rows.extend(hours.into_iter().map(|hour| hour_cells(name, *hour, table)));
        let told: u64 = table.raw_hours.values().map(|hour| hour.quarantined).sum();
        let rest = table.quarantined.rows.map(|rows| rows.saturating_sub(told));
        if rest != Some(0) {
            rows.extend(quarantine_cells(name, Quarantined { rows: rest, ..table.quarantined }));
        }
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

fn hour_cells(table: &str, partition: Partition, status: &TableStatus) -> [String; 9] {
    let raw = status.raw_hours.get(&partition).copied().unwrap_or_default();
    let count = |count: u64| if count == 0 { "-".to_owned() } else { count.to_string() };
    let (quarantined, not_converted) = (count(raw.quarantined), count(raw.not_converted));
    let (table, time) = (table.to_owned(), partition.values().join(" "));
    let Some(hour) = status.hours.get(&partition) else {
        let nothing = || "-".to_owned();
        let state = "not in the lake".to_owned();
        return [table, time, nothing(), nothing(), quarantined, not_converted, nothing(), nothing(), state];
    };
    let state = match hour.late {
        None => "not compacted".to_owned(),
        Some(0) => "compacted".to_owned(),
        Some(late) => format!("compacted, {} late", counted(late, "file")),
    };
    [
        table,
        time,
        known(hour.raw_rows),
        known(hour.parquet_rows),
        quarantined,
        not_converted,
        hour.files.to_string(),
        bytes(hour.bytes),
        state,
    ]
}

fn quarantine_cells(table: &str, quarantined: Quarantined) -> Option<[String; 9]> {
    let rows = known(quarantined.rows);
    let cells = [table, "-", &rows, "-", &rows, "-", &quarantined.files.to_string(), "-", "in quarantine"];
    (quarantined.files > 0).then(|| cells.map(str::to_owned))
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

fn json(status: &Status, counted: Option<&Miscounted>) -> Value {
    let quarantined = |of: Quarantined| json!({"files": of.files, "rows": of.rows});
    let table = |(name, table): (&String, &TableStatus)| {
        let hours: Vec<Value> = table.hours.iter().map(|(partition, hour)| hour_json(*partition, hour)).collect();
        let raw_hours: Vec<Value> = table.raw_hours.iter().map(|(hour, raw)| raw_hour_json(*hour, *raw)).collect();
        json!({
            "table": name, "hours": hours, "raw_hours": raw_hours, "quarantined": quarantined(table.quarantined),
            "left": table.left,
        })
    };
    let miscounted = counted.map(|counted| {
        let entry = |((bucket, key), (rows, noted)): (&(String, String), &(u64, u64))| {
            json!({"bucket": bucket, "key": key, "rows": rows, "noted": noted})
        };
        counted.iter().map(entry).collect::<Vec<_>>()
    });
    let not_converted =
        |((bucket, key), why): (&(String, String), &Why)| json!({"bucket": bucket, "key": key, "why": why.as_str()});
    json!({
        "tables": status.tables.iter().map(table).collect::<Vec<_>>(),
        "unclassified": status.unclassified.map(quarantined),
        "not_converted": status.not_converted.iter().map(not_converted).collect::<Vec<_>>(),
        "miscounted": miscounted,
        "incomplete": status.is_incomplete() || counted.is_some_and(|counted| !counted.is_empty()),
    })
}

fn raw_hour_json(partition: Partition, raw: RawHour) -> Value {
    let [ymd, hour] = partition.values();
    json!({"ymd": ymd, "hour": hour, "quarantined": raw.quarantined, "not_converted": raw.not_converted})
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
