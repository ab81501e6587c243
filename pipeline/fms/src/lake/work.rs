//! What the commands on a lake in S3 have in common: they open it and print a summary. Those that change it work through
//! a list and say how far they are.

use std::fmt::Display;
use std::future::Future;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use fms_lake::{Bucket, Storage};
use futures_util::{StreamExt as _, stream};

use super::place::connect;
use super::settings::LakeArguments;
use crate::{FAILED, LogFormat, NOT_STARTED, say, start_log};

/// How often it is said how much is done.
const PROGRESS: Duration = Duration::from_secs(10);

/// What has become of the work.
pub(super) struct Progress {
    pub summary: String,
    /// How much is not as it should be, such as entries of the list that could not be worked on to the end.
    pub failed: u64,
}

/// Opens the lake, whose files are stored as `storage` says, works, and prints the summary. An error of `work` says why
/// nothing was begun.
pub(super) fn run(
    command: &'static str,
    lake: &LakeArguments,
    storage: Storage,
    log_format: LogFormat,
    work: impl AsyncFnOnce(Bucket) -> anyhow::Result<Progress>,
) -> ExitCode {
    let worked = || {
        start_log(log_format)?;
        let (runtime, bucket) = connect(command, &lake.lake, &lake.database, storage)?;
        runtime.block_on(work(bucket))
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

/// Works on every entry of a list, on some at a time. `add` is given what became of each; why one could not be worked on
/// is said. Gives how many that are.
pub(super) async fn each<'l, T: Display, R, F: Future<Output = io::Result<R>>>(
    list: &'l [T],
    at_once: usize,
    work: impl Fn(&'l T) -> F,
    mut add: impl FnMut(R),
) -> u64 {
    let all = list.len();
    let work = |entry: &'l T| {
        let worked = work(entry);
        async move { (entry, worked.await) }
    };
    let mut working = stream::iter(list).map(work).buffer_unordered(at_once);
    let (mut done, mut failed, mut said) = (0_u64, 0, Instant::now());
    while let Some((entry, worked)) = working.next().await {
        done += 1;
        match worked {
            Ok(result) => add(result),
            Err(error) => {
                failed += 1;
                say(&format!("{entry}: {error}"));
            }
        }
        if said.elapsed() >= PROGRESS {
            said = Instant::now();
            say(&format!("{done} of {all} so far"));
        }
    }
    failed
}
