//! `fms lake quarantine explain`: rows in quarantine, with the reason and the origin of each.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Args;
use fms_lake::{QuarantinedRow, RowOrigin};

use super::super::storage::OwnerArguments;
use super::{Format, RowArguments, read};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    rows: RowArguments,
    #[command(flatten)]
    owner: OwnerArguments,
    /// The most rows that are shown.
    #[arg(long, value_name = "ROWS", default_value_t = 20)]
    limit: usize,
    /// How the rows are printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (selection, limit) = (arguments.rows.selection(), arguments.limit);
    let place = arguments.rows.place.find_storing("fms lake quarantine", arguments.owner.storage())?;
    let selected = selection.clone();
    let files = read(&place, &selection, move |file, bytes| {
        let rows: io::Result<Vec<QuarantinedRow>> = selected.rows(bytes).take(limit).collect();
        Ok((file.table(), rows?))
    })?;
    let mut output = io::stdout().lock();
    let rows = files.iter().flat_map(|(table, rows)| rows.iter().map(move |row| (table, row)));
    for (table, row) in rows.take(limit) {
        let text = match arguments.format {
            Format::Table => shown(table, row),
            Format::Json => serde_json::to_string(row)? + "\n",
        };
        // An error means that nobody reads the output.
        let _ = output.write_all(text.as_bytes());
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(table: &str, row: &QuarantinedRow) -> String {
    let QuarantinedRow { reason, column, expected, found, origin, row } = row;
    let column = if column.is_empty() { String::new() } else { format!(", column `{column}`") };
    format!("{}: {table}: {reason}{column}: expected {expected}, found {found}\n  {row}\n", place(origin))
}

/// Where a row was, as people read it.
pub(super) fn place(origin: &RowOrigin) -> String {
    format!("{} line {}", super::shown(&origin.object), origin.line)
}
