//! `fms lake`: raw objects as typed, partitioned Parquet files. A module for each command.

mod age;
mod alter;
mod bucket;
mod compact;
mod convert;
mod ddl;
mod expire;
mod explain;
mod grid;
mod lock;
mod place;
mod poll;
mod quarantine;
mod queues;
mod redrive;
mod repair;
mod settings;
mod status;
mod storage;
mod work;

use std::process::ExitCode;

use clap::Subcommand;

use crate::LogFormat;

#[derive(Debug, Subcommand)]
pub(crate) enum LakeCommand {
    /// Convert raw objects, which are files of JSON lines, plain or compressed with gzip or zstd, into a lake in a
    /// folder or in S3.
    Convert(Box<convert::Arguments>),
    /// Merge the small files of hours that are over into few large ones, in a lake in S3.
    Compact(compact::Arguments),
    /// Add a column to a table of a lake in S3, or give a column another type and write the files again that have it.
    Alter(alter::Arguments),
    /// Let old hours leave a lake in S3.
    Expire(expire::Arguments),
    /// Print the statements that create the tables of a lake in Redshift, Athena or Trino.
    Ddl(ddl::Arguments),
    /// Tell what raw objects would add to a lake, put into quarantine and conflict with, by firmware and schema version.
    /// Nothing is written.
    Explain(explain::Arguments),
    /// Lock tables: data adds no columns to them any more, and what has no column is kept as JSON in `_rest`.
    Lock(lock::Arguments),
    /// Let tables get columns from data again that were locked or full.
    Unlock(lock::Arguments),
    /// Convert raw objects in S3 as messages of an SQS queue name them, into a lake in S3, until SIGTERM.
    Poll(Box<poll::Arguments>),
    /// List and explain the rows in quarantine, and store those that fit after tables have changed.
    #[command(subcommand)]
    Quarantine(quarantine::QuarantineCommand),
    /// Find what does not fit together of a lake in S3 and its catalog, and mend it with `--apply`: partitions without
    /// files, files without a partition, and partitions that differ from their table.
    Repair(repair::Arguments),
    /// Show what a lake in S3 holds by table and hour, and what is missing of the raw objects.
    Status(status::Arguments),
    /// Send messages of the fallback queue back to the queue, so that their objects are converted again.
    Redrive(redrive::Arguments),
}

/// Runs a command and gives the exit status of the process.
pub(crate) fn run(command: LakeCommand, log_format: LogFormat) -> ExitCode {
    match command {
        LakeCommand::Convert(arguments) => convert::run(&arguments, log_format),
        LakeCommand::Compact(arguments) => compact::run(arguments, log_format),
        LakeCommand::Alter(arguments) => alter::run(arguments, log_format),
        LakeCommand::Expire(arguments) => expire::run(arguments, log_format),
        LakeCommand::Ddl(arguments) => ddl::run(&arguments),
        LakeCommand::Explain(arguments) => explain::run(arguments, log_format),
        LakeCommand::Lock(arguments) => lock::run(&arguments, true, log_format),
        LakeCommand::Unlock(arguments) => lock::run(&arguments, false, log_format),
        LakeCommand::Poll(arguments) => poll::run(*arguments, log_format),
        LakeCommand::Quarantine(command) => quarantine::run(command, log_format),
        LakeCommand::Redrive(arguments) => redrive::run(arguments, log_format),
        LakeCommand::Repair(arguments) => repair::run(&arguments, log_format),
        LakeCommand::Status(arguments) => status::run(&arguments, log_format),
    }
}

fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
