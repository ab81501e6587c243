//! What the commands that change a lake in S3 have in common: they work through a list and say how far they are.

use std::future::Future;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fms_aws::Retry;
use fms_lake::Bucket;
use futures_util::{StreamExt as _, stream};

use super::settings::LakeArguments;
use crate::{FAILED, LogFormat, NOT_STARTED, say, start_log};

/// How long a call is repeated.
const PATIENCE: Duration = Duration::from_mins(2);
/// The longest wait between two attempts of a call.
const DELAY_MAX: Duration = Duration::from_secs(10);
/// How often it is said how much is done.
const PROGRESS: Duration = Duration::from_secs(10);

/// What has become of the list.
pub(super) struct Progress {
    pub summary: String,
    /// How many entries could not be worked on to the end.
    pub failed: u64,
}

/// Opens the lake, works, and prints the summary. An error of `work` says why nothing was begun.
pub(super) fn run(
    command: &'static str,
    lake: &LakeArguments,
    log_format: LogFormat,
    work: impl AsyncFnOnce(Bucket) -> anyhow::Result<Progress>,
) -> ExitCode {
    let worked = || {
        start_log(log_format)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.context("cannot start threads")?;
        let aws = fms_aws::load(runtime.handle());
        let bucket =
            Bucket::new(&aws, &lake.lake, &lake.database, Retry::new(command, Some(PATIENCE), DELAY_MAX, |_| {}));
        runtime.block_on(async {
            bucket.check().await?;
            work(bucket).await
        })
    };
    match worked() {
        Ok(progress) => {
            // An error means that nobody reads the output.
            let _ = io::stdout().write_all(progress.summary.as_bytes());
            if progress.failed == 0 { ExitCode::SUCCESS } else { FAILED.into() }
        }
        Err(error) => {
            say(&format!("{command}: {error:#}"));
            NOT_STARTED.into()
        }
    }
}

/// Works on every entry of a list, on some at a time. `note` is given what became of each, and gives whether it is
/// done. Gives how many are not.
pub(super) async fn each<T, R, F: Future<Output = R>>(
    list: Vec<T>,
    at_once: usize,
    work: impl Fn(T) -> F,
    mut note: impl FnMut(R) -> bool,
) -> u64 {
    let all = list.len();
    let mut working = stream::iter(list).map(work).buffer_unordered(at_once);
    let (mut done, mut failed, mut said) = (0_u64, 0, Instant::now());
    while let Some(result) = working.next().await {
        done += 1;
        failed += u64::from(!note(result));
        if said.elapsed() >= PROGRESS {
            said = Instant::now();
            say(&format!("{done} of {all} so far"));
        }
    }
    failed
}
