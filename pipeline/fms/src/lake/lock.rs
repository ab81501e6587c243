//! `fms lake lock` and `fms lake unlock`: whether data may add columns to a table.

use std::process::ExitCode;

use clap::Args;

use super::place::{Place, PlaceArguments};
use super::storage::OwnerArguments;
use crate::{LogFormat, NOT_STARTED, say, start_log};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The tables, by their names in the catalog.
    #[arg(required = true, value_name = "TABLE")]
    tables: Vec<String>,
    #[command(flatten)]
    place: PlaceArguments,
    #[command(flatten)]
    owner: OwnerArguments,
}

/// Locks or unlocks the tables. The exit status is 2 if one of them could not be; those before it are done then.
pub(super) fn run(arguments: &Arguments, is_locked: bool, log_format: LogFormat) -> ExitCode {
    let command = if is_locked { "fms lake lock" } else { "fms lake unlock" };
    let locked = start_log(log_format).and_then(|()| {
        let place = arguments.place.find_storing(command, arguments.owner.storage())?;
        for table in &arguments.tables {
            let is_changed = match &place {
                Place::Folder(folder) => folder.lock(table, is_locked)?,
                Place::Bucket(bucket, runtime) => runtime.block_on(bucket.lock(table, is_locked))?,
            };
            let state = if is_locked { "locked" } else { "open" };
            say(&format!("the table `{table}` is {state}{}", if is_changed { "" } else { ", as it was" }));
        }
        Ok(())
    });
    match locked {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{command}: {error:#}"));
            NOT_STARTED.into()
        }
    }
}
