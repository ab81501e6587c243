//! `fms lake quarantine`: what is in quarantine, why, and how it leaves it. A module for each command.

mod explain;
mod list;
mod replay;

use std::io::{self, Read};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use fms_lake::{Object, QuarantineFile, Selection};
use futures_util::TryStreamExt as _;

use super::place::{Place, PlaceArguments};
use crate::{LogFormat, NOT_STARTED, say, start_log};

#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineCommand {
    /// Count the rows in quarantine by table, reason and column.
    List(list::Arguments),
    /// Show rows in quarantine, with the reason and the origin of each.
    Explain(explain::Arguments),
    /// Convert the raw objects of rows in quarantine once more, after tables have changed: rows that fit by now are
    /// stored, and the others stay.
    Replay(Box<replay::Arguments>),
}

/// Runs a command and gives the exit status of the process: 2 if nothing was begun.
pub(super) fn run(command: QuarantineCommand, log_format: LogFormat) -> ExitCode {
    let done = start_log(log_format).and_then(|()| match command {
        QuarantineCommand::List(arguments) => list::run(&arguments),
        QuarantineCommand::Explain(arguments) => explain::run(&arguments),
        QuarantineCommand::Replay(arguments) => replay::run(*arguments),
    });
    done.unwrap_or_else(|error| {
        say(&format!("fms lake quarantine: {error:#}"));
        NOT_STARTED.into()
    })
}

/// Which rows of which lake.
#[derive(Debug, Args)]
struct RowArguments {
    #[command(flatten)]
    place: PlaceArguments,
    /// Only rows of these tables, by their names in the catalog; `unclassified` stands for lines without a table.
    #[arg(long, value_name = "TABLE", value_delimiter = ',')]
    table: Vec<String>,
    /// Only rows with these reasons, such as `type`.
    #[arg(long, value_name = "REASON", value_delimiter = ',')]
    reason: Vec<String>,
    /// Only rows with these columns, as they are listed, such as `dtcs[].code`.
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    column: Vec<String>,
}

impl RowArguments {
    fn selection(&self) -> Selection {
        let set = |values: &[String]| values.iter().cloned().collect();
        Selection { tables: set(&self.table), reasons: set(&self.reason), columns: set(&self.column) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// A JSON object on each line.
    Json,
}

/// What `read` makes of each file in quarantine.
fn read<T: Send + 'static>(
    place: &Place,
    selection: &Selection,
    read: impl Fn(&QuarantineFile, &mut dyn Read) -> io::Result<T> + Send + Sync + 'static,
) -> io::Result<Vec<T>> {
    match place {
        Place::Folder(folder) => folder.quarantine(selection, read),
        Place::Bucket(bucket, runtime) => runtime.block_on(bucket.quarantine(selection.clone(), read).try_collect()),
    }
}

/// An object, or a file on disk, as people read it.
fn shown(object: &Object) -> String {
    match object.bucket.as_str() {
        "" => format!("/{}", object.key),
        bucket => format!("s3://{bucket}/{}", object.key),
    }
}
