//! `fms lake compact`: small files of hours that are over become few large ones.

use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use fms_lake::{Bucket, Compact, Compacted, Timestamp};

use super::age::age;
use super::counted;
use super::settings::{LakeArguments, OrderArguments};
use super::storage::StorageArguments;
use super::work::{Progress, each, run as run_work};
use crate::LogFormat;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    lake: LakeArguments,
    #[command(flatten)]
    order: OrderArguments,
    #[command(flatten)]
    storage: StorageArguments,
    /// The columns by which repeats of a row are found, beside those of `--sort-fields`. Without it, rows are repeats
    /// if they are the same in every column.
    #[arg(long, env = "FMS_LAKE_DEDUP_KEY", value_name = "COLUMNS", value_delimiter = ',')]
    dedup_key: Vec<String>,
    /// How large files become, MiB.
    #[arg(long, env = "FMS_LAKE_TARGET_SIZE_MIB", value_name = "MIB", default_value = "128")]
    target_size: NonZeroUsize,
    /// How long an hour has to be over before it is compacted, such as `90m`. Files that come later are merged by the
    /// next compaction.
    #[arg(long, env = "FMS_LAKE_CLOSED_AFTER", value_name = "TIME", default_value = "1h", value_parser = age)]
    closed_after: Duration,
    /// For how long files are kept that others have replaced, such as `36h`. It has to be longer than the longest query.
    #[arg(long, env = "FMS_LAKE_GRACE", value_name = "TIME", default_value = "1d", value_parser = age)]
    grace: Duration,
    /// How many partitions are compacted at a time. Each may need 250 MB of memory, and of the disk as much as its
    /// rows take.
    #[arg(long, value_name = "NUMBER", default_value = "2")]
    at_once: NonZeroUsize,
    /// Change nothing, only count what would be merged.
    #[arg(long)]
    dry_run: bool,
}

/// The memory that rows may take before they are written to a temporary file.
pub(super) const MEMORY: usize = 64 << 20;

/// Compacts. The exit status is 0 if every partition was compacted or left for later, 1 if one could not be, and 2 if
/// nothing was begun.
pub(super) fn run(arguments: Arguments, log_format: LogFormat) -> ExitCode {
    run_work("fms lake compact", &arguments.lake, arguments.storage.storage(), log_format, async |bucket| {
        let at_once = arguments.at_once.get();
        let options = Arc::new(Compact {
            tables: arguments.lake.tables.clone(),
            zone: arguments.order.zone.timezone,
            sort_fields: arguments.order.sort_fields,
            dedup_key: arguments.dedup_key,
            target_size: arguments.target_size.get().saturating_mul(1 << 20),
            memory: MEMORY,
            closed_after: arguments.closed_after,
            grace: arguments.grace,
            now: Timestamp::now(),
            dry_run: arguments.dry_run,
        });
        compact(&bucket, &options, at_once).await
    })
}

async fn compact(bucket: &Bucket, options: &Arc<Compact>, at_once: usize) -> anyhow::Result<Progress> {
    let partitions = bucket.compacting(options).await?;
    let mut sum = Compacted::default();
    let work = |partition| bucket.compact(options, partition);
    let failed = each(&partitions, at_once, work, |compacted| sum.add(&compacted)).await;
    Ok(Progress { summary: summary(&sum, failed, options.dry_run), failed })
}

fn summary(sum: &Compacted, failed: u64, dry_run: bool) -> String {
    let mut text = if dry_run {
        format!(
            "{} would be compacted: {} of {}\n",
            counted(sum.partitions, "partition"),
            counted(sum.files_before, "file"),
            bytes(sum.bytes_before),
        )
    } else {
        format!(
            "{} compacted: {} of {} became {} of {} with {}; {} removed\n",
            counted(sum.partitions, "partition"),
            counted(sum.files_before, "file"),
            bytes(sum.bytes_before),
            counted(sum.files_after, "file"),
            bytes(sum.bytes_after),
            counted(sum.rows, "row"),
            counted(sum.repeats, "repeat"),
        )
    };
    let others = [
        (sum.unchanged, "partition", "nothing to merge"),
        (sum.left, "partition", "left for the next compaction, because others wrote to them meanwhile"),
        (sum.removed, "file", "removed that had been replaced before"),
        (failed, "partition", "NOT compacted"),
    ];
    for (count, noun, what) in others.into_iter().filter(|(count, ..)| *count > 0) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {}: {what}", counted(count, noun));
    }
    text
}

/// Bytes as people read them.
pub(super) fn bytes(bytes: u64) -> String {
    let mut unit = (bytes, "bytes");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if unit.0 < 10_240 {
            break;
        }
        unit = (unit.0 / 1024, larger);
    }
    format!("{} {}", unit.0, unit.1)
}
