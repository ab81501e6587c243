//! Which lake a command is about: one in a folder, or one in S3 with its tables in the Glue catalog.

use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use fms_aws::Retry;
use fms_lake::{Bucket, Folder, S3Url, Storage};
use tokio::runtime::{Builder, Runtime};

/// How long a call is repeated. What that is not enough for is reported, and the work goes on with the next.
const PATIENCE: Duration = Duration::from_mins(2);
/// The longest wait between two attempts of a call.
const DELAY_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct PlaceArguments {
    /// The lake: a folder, or `s3://bucket/prefix`.
    #[arg(long, value_name = "FOLDER")]
    lake: String,
    /// The database of the Glue catalog that has the tables of a lake in S3.
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
}

/// A lake that exists.
pub(super) enum Place {
    Folder(Folder),
    Bucket(Box<Bucket>, Runtime),
}

impl PlaceArguments {
    /// Finds the lake, whose files will be stored in this way. An error says why it cannot be used.
    pub fn find_storing(&self, command: &'static str, storage: Storage) -> anyhow::Result<Place> {
        let Ok(url) = self.lake.parse::<S3Url>() else {
            ensure!(
                storage == Storage::default(),
                "--sse-kms-key-id, --storage-class, --tag and --expected-bucket-owner are for a lake in S3"
            );
            ensure!(self.database.is_none(), "--database is for a lake in S3, and {} is no `s3://…`", self.lake);
            ensure!(std::path::Path::new(&self.lake).is_dir(), "there is no folder {}", self.lake);
            return Ok(Place::Folder(Folder::new(&self.lake)));
        };
        let database = self.database.as_deref().context("a lake in S3 needs --database, for its tables in Glue")?;
        let (runtime, bucket) = connect(command, &url, database, storage)?;
        Ok(Place::Bucket(Box::new(bucket), runtime))
    }
}

/// The lake in S3 at `url`, which is there, with the threads on which its calls are made.
pub(super) fn connect(
    command: &'static str,
    url: &S3Url,
    database: &str,
    storage: Storage,
) -> anyhow::Result<(Runtime, Bucket)> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.context("cannot start threads")?;
    let retry = Retry::new(command, Some(PATIENCE), DELAY_MAX, |_| {});
    let bucket = Bucket::new(&fms_aws::load(runtime.handle()), url, database, retry).storing(storage);
    runtime.block_on(bucket.check())?;
    Ok((runtime, bucket))
}
