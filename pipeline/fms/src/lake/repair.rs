//! `fms lake repair`: what does not fit together of a lake in S3 and its catalog is said, and mended.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use fms_lake::{Bucket, Finding, Repair, Repaired, Timestamp};

use super::age::age;
use super::counted;
use super::settings::LakeArguments;
use super::storage::OwnerArguments;
use super::work::{Progress, each, run as run_work};
use crate::LogFormat;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    lake: LakeArguments,
    #[command(flatten)]
    owner: OwnerArguments,
    /// For how long files without a partition are left to those who may be writing them, such as `2h`.
    #[arg(long, env = "FMS_LAKE_GRACE", value_name = "TIME", default_value = "1d", value_parser = age)]
    grace: Duration,
    /// Mend what is found. Without it, nothing is changed.
    #[arg(long)]
    apply: bool,
}

/// How many findings are mended at a time.
const AT_ONCE: usize = 8;

/// Looks and mends. The exit status is 0 if all fits together in the end, 1 if something does not, and 2 if nothing was
/// begun.
pub(super) fn run(arguments: &Arguments, log_format: LogFormat) -> ExitCode {
    run_work("fms lake repair", &arguments.lake, arguments.owner.storage(), log_format, async |bucket| {
        let options = Repair { tables: arguments.lake.tables.clone(), grace: arguments.grace, now: Timestamp::now() };
        let findings = bucket.repairing(&options).await?;
        let Progress { summary, failed } = if arguments.apply {
            mend(&bucket, &findings).await
        } else {
            let mendable = findings.iter().filter(|finding| finding.is_mendable()).count() as u64;
            let advice = if mendable > 0 { "; --apply mends what can be mended" } else { "" };
            let count = findings.len() as u64;
            Progress { summary: format!("{} found{advice}\n", counted(count, "fault")), failed: count }
        };
        let mut text = String::new();
        for finding in &findings {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{finding}");
        }
        Ok(Progress { summary: text + &summary, failed })
    })
}

async fn mend(bucket: &Bucket, findings: &[Finding]) -> Progress {
    let (mendable, others): (Vec<&Finding>, Vec<_>) = findings.iter().partition(|finding| finding.is_mendable());
    let (mut mended, mut left) = (0, 0);
    let failed = each(
        &mendable,
        AT_ONCE,
        |finding| bucket.repair(finding),
        |repaired| match repaired {
            Repaired::Mended => mended += 1,
            Repaired::Left => left += 1,
        },
    );
    let failed = failed.await;
    let mut summary = format!("{} mended\n", counted(mended, "fault"));
    for (count, what) in [
        (left, "left to the next repair, because others wrote there meanwhile"),
        (others.len() as u64, "NOT mended, because it takes what is said above"),
        (failed, "NOT mended, because of an error"),
    ] {
        if count > 0 {
            // Writing to a string cannot fail.
            let _ = writeln!(summary, "  {}: {what}", counted(count, "fault"));
        }
    }
    Progress { summary, failed: failed + left + others.len() as u64 }
}
