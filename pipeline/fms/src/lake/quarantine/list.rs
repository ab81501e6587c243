//! `fms lake quarantine list`: the rows in quarantine, counted by kind.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Args;
use fms_lake::{Group, Kind, Overview, QuarantinedRow};
use serde_json::json;

use super::super::grid::grid;
use super::super::storage::OwnerArguments;
use super::{Format, RowArguments, read};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    rows: RowArguments,
    #[command(flatten)]
    owner: OwnerArguments,
    /// How the list is printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let selection = arguments.rows.selection();
    let place = arguments.rows.place.find_storing("fms lake quarantine", arguments.owner.storage())?;
    let mut overview = Overview::default();
    let selected = selection.clone();
    for part in read(&place, &selection, move |file, bytes| Overview::of(file, bytes, &selected))? {
        overview.add(part);
    }
    let text = match arguments.format {
        Format::Table => table(&overview),
        Format::Json => json(&overview),
    };
    // An error means that nobody reads the output.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

/// A line for each kind.
fn table(overview: &Overview) -> String {
    let heads = ["TABLE", "REASON", "COLUMN", "ROWS", "FIRST", "LAST", "EXAMPLE"].map(str::to_owned);
    let kinds = overview.0.iter().map(|(kind, group)| cells(kind, group));
    grid(&std::iter::once(heads).chain(kinds).collect::<Vec<_>>())
}

fn cells(kind: &Kind, group: &Group) -> [String; 7] {
    let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let QuarantinedRow { expected, found, origin, .. } = &group.example;
    let example = format!("expected {expected}, found {found}, in {}", super::explain::place(origin));
    [
        kind.table.clone(),
        kind.reason.clone(),
        dash(&kind.column),
        group.rows.to_string(),
        group.first.to_string(),
        group.last.to_string(),
        example,
    ]
}

/// A JSON object on a line for each kind.
fn json(overview: &Overview) -> String {
    let line = |(kind, group): (&Kind, &Group)| {
        let Kind { table, reason, column } = kind;
        let Group { rows, first, last, example } = group;
        let (first, last) = (first.to_string(), last.to_string());
        let line = json!({
            "table": table, "reason": reason, "column": column, "rows": rows, "first": first, "last": last,
            "example": example,
        });
        format!("{line}\n")
    };
    overview.0.iter().map(line).collect()
}
