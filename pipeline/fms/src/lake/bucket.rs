//! The conversion of raw objects in S3 into a lake in S3, whose tables are in the Glue catalog.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fms_lake::{Bucket, ObjectError, Raw, Report, S3Url, Settings, Storage};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, pin_mut, stream};

use super::convert::Tally;
use super::counted;
use super::place::connect;
use crate::say;

/// How often it is said how many objects are done.
const PROGRESS: Duration = Duration::from_secs(10);

/// What to convert, and into which lake.
pub(super) struct Job {
    pub objects: Vec<S3Url>,
    pub to: S3Url,
    pub database: String,
    pub settings: Settings,
    pub storage: Storage,
    /// The account that owns the buckets of the objects.
    pub raw_owner: Option<String>,
    /// Whether objects that are on record are converted as well.
    pub again: bool,
    /// How many objects are converted at a time.
    pub at_once: usize,
}

/// Converts the objects. An error says why nothing was begun.
pub(super) fn run(job: Job) -> anyhow::Result<ExitCode> {
    let (runtime, bucket) = connect("fms lake convert", &job.to, &job.database, job.storage.clone())?;
    let bucket = bucket.expecting_raw_owner(job.raw_owner.clone());
    runtime.block_on(convert(&bucket, job))
}

async fn convert(bucket: &Bucket, job: Job) -> anyhow::Result<ExitCode> {
    let Job { objects, settings, again, at_once, .. } = job;
    let names = objects.iter().map(S3Url::to_string).collect::<Vec<_>>().join(", ");
    let settings = Arc::new(settings);
    let done = raws(bucket, objects).map(|raw| {
        let settings = &settings;
        async move {
            let raw = raw?;
            let result = bucket.convert(settings, &raw, again).await;
            Ok::<_, io::Error>((raw, result))
        }
    });
    let done = done.buffer_unordered(at_once);
    pin_mut!(done);
    let (mut tally, mut listed, mut said) = (Tally::default(), true, Instant::now());
    while let Some(object) = done.next().await {
        match object {
            Ok((raw, result)) => note(&mut tally, &raw, result),
            Err(error) if tally.objects() == 0 => return Err(error.into()),
            Err(error) => {
                say(&format!("not all objects were found: {error}"));
                listed = false;
            }
        }
        if said.elapsed() >= PROGRESS {
            said = Instant::now();
            say(&format!("{} so far", counted(tally.objects(), "object")));
        }
    }
    anyhow::ensure!(tally.objects() > 0 || !listed, "there is no object at {names}");
    let exit = tally.print();
    Ok(if listed { exit } else { crate::FAILED.into() })
}

fn note(tally: &mut Tally, raw: &Raw, result: Result<Option<Report>, ObjectError>) {
    match result {
        Ok(Some(report)) => tally.converted(report),
        Ok(None) => tally.on_record += 1,
        Err(error) => {
            tally.failed += 1;
            say(&format!("{raw}: {error}"));
        }
    }
}

/// All raw objects of these keys or below them.
fn raws(bucket: &Bucket, urls: Vec<S3Url>) -> impl Stream<Item = io::Result<Raw>> {
    stream::iter(urls).flat_map(move |url| {
        let pages = stream::try_unfold(Some(None), move |next: Option<Option<String>>| {
            let url = url.clone();
            async move {
                let Some(next) = next else { return Ok(None) };
                let (page, next) = bucket.raws(&url, next).await?;
                let page = stream::iter(page.into_iter().map(Ok));
                Ok::<_, io::Error>(Some((page, next.map(Some))))
            }
        });
        pages.try_flatten()
    })
}
