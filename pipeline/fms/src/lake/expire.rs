//! `fms lake expire`: old hours leave a lake.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use fms_lake::{Bucket, Expire, Expired, Timestamp};

use super::age::age;
use super::compact::bytes;
use super::counted;
use super::settings::{LakeArguments, ZoneArguments};
use super::storage::OwnerArguments;
use super::work::{Progress, each, run as run_work};
use crate::LogFormat;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    lake: LakeArguments,
    #[command(flatten)]
    zone: ZoneArguments,
    #[command(flatten)]
    owner: OwnerArguments,
    /// How long an hour has to be over, such as `90d`. Files of the quarantine leave when they are as old.
    #[arg(long, value_name = "TIME", value_parser = age)]
    older_than: Duration,
    /// Change nothing, only count what would leave.
    #[arg(long)]
    dry_run: bool,
}

/// How many partitions leave at a time.
const AT_ONCE: usize = 8;

/// Lets old hours leave. The exit status is 0 if all of them have left, 1 if one could not, and 2 if nothing was begun.
pub(super) fn run(arguments: Arguments, log_format: LogFormat) -> ExitCode {
    run_work("fms lake expire", &arguments.lake, arguments.owner.storage(), log_format, async |bucket| {
        let before = Timestamp::now().checked_sub(arguments.older_than).context("--older-than is too long")?;
        let options = Expire {
            tables: arguments.lake.tables.clone(),
            zone: arguments.zone.timezone,
            before,
            dry_run: arguments.dry_run,
        };
        expire(&bucket, &options).await
    })
}

async fn expire(bucket: &Bucket, options: &Expire) -> anyhow::Result<Progress> {
    let expiring = bucket.expiring(options).await?;
    let mut sum = Expired::default();
    let work = |expiring| bucket.expire(options, expiring);
    let failed = each(&expiring, AT_ONCE, work, |expired| sum.add(&expired)).await;
    let would = if options.dry_run { "would leave" } else { "left" };
    let mut summary = format!(
        "{} {would} the lake: {}, and {} of the quarantine, of {}\n",
        counted(sum.partitions, "partition"),
        counted(sum.files, "file"),
        counted(sum.quarantined, "file"),
        bytes(sum.bytes),
    );
    if failed > 0 {
        // Writing to a string cannot fail.
        let _ = writeln!(summary, "  NOT removed: {}", counted(failed, "partition or quarantine"));
    }
    Ok(Progress { summary, failed })
}
