//! `fms lake quarantine replay`: the raw objects of rows in quarantine are converted once more.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::ensure;
use clap::Args;
use fms_lake::{Folder, Object, ObjectError, Report, Settings, convert_object};
use futures_util::{StreamExt as _, stream};

use super::super::convert::Tally;
use super::super::counted;
use super::super::place::Place;
use super::super::settings::ConversionArguments;
use super::super::storage::{RawOwnerArguments, StorageArguments};
use super::{RowArguments, read, shown};
use crate::say;

/// How many objects in S3 are converted at a time.
const AT_ONCE: usize = 4;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    rows: RowArguments,
    /// Convert nothing, only say which objects would be converted.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    conversion: ConversionArguments,
    #[command(flatten)]
    storage: StorageArguments,
    #[command(flatten)]
    raw_owner: RawOwnerArguments,
}

/// Converts the objects. The exit status is 1 if one could not be.
pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { rows, dry_run, conversion, storage, raw_owner } = arguments;
    let (selection, place) = (rows.selection(), rows.place.find_storing("fms lake quarantine", storage.storage())?);
    ensure!(
        matches!(place, Place::Bucket(..)) || raw_owner.expected_raw_bucket_owner.is_none(),
        "--expected-raw-bucket-owner is for a lake in S3; the raw objects of one in a folder are files"
    );
    let selected = selection.clone();
    let files = read(&place, &selection, move |_, bytes| {
        let mut objects: BTreeMap<Name, (Object, u64)> = BTreeMap::new();
        for row in selected.rows(bytes) {
            let object = row?.origin.object;
            objects.entry(name(&object)).or_insert((object, 0)).1 += 1;
        }
        Ok(objects)
    })?;
    let mut objects: BTreeMap<Name, (Object, u64)> = BTreeMap::new();
    for (name, (object, rows)) in files.into_iter().flatten() {
        objects.entry(name).or_insert((object, 0)).1 += rows;
    }
    let rows: u64 = objects.values().map(|(_, rows)| rows).sum();
    say(&format!("{} in quarantine, of {}", counted(rows, "row"), counted(objects.len() as u64, "object")));
    let objects: Vec<Object> = objects.into_values().map(|(object, _)| object).collect();
    if dry_run {
        for object in &objects {
            say(&format!("  {}", shown(object)));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut tally = Tally::default();
    let settings = conversion.settings()?;
    match place {
        Place::Folder(mut folder) => {
            for object in &objects {
                note(&mut tally, object, in_folder(&mut folder, &settings, object));
            }
        }
        Place::Bucket(bucket, runtime) => runtime.block_on(async {
            let settings = Arc::new(settings);
            let bucket = bucket.expecting_raw_owner(raw_owner.expected_raw_bucket_owner);
            let replays = objects.into_iter().map(|object| {
                let (bucket, settings) = (&bucket, &settings);
                async move {
                    let replayed = bucket.replay(settings, &object).await;
                    (object, replayed)
                }
            });
            let mut replays = stream::iter(replays).buffer_unordered(AT_ONCE);
            while let Some((object, replayed)) = replays.next().await {
                note(&mut tally, &object, replayed);
            }
        }),
    }
    Ok(tally.print())
}

/// What tells an object from others: bucket, key and version.
type Name = (String, String, Option<String>);

fn name(object: &Object) -> Name {
    (object.bucket.clone(), object.key.clone(), object.version_id.clone())
}

/// Converts a file on disk, whose key is its whole path.
fn in_folder(lake: &mut Folder, settings: &Settings, object: &Object) -> Result<Option<Report>, ObjectError> {
    if !object.bucket.is_empty() {
        let error = format!("{} is no file, and a lake in a folder is made of files", shown(object));
        return Err(ObjectError::Read(io::Error::other(error)));
    }
    let path = Path::new("/").join(&object.key);
    convert_object(settings, object, || File::open(&path), lake).map(Some)
}

fn note(tally: &mut Tally, object: &Object, replayed: Result<Option<Report>, ObjectError>) {
    match replayed {
        Ok(Some(report)) => tally.converted(report),
        Ok(None) => tally.on_record += 1,
        Err(error) => {
            tally.failed += 1;
            let advice = match error.reason() {
                "missing" => "; its rows stay in quarantine until it is there again, under the same key",
                _ => "",
            };
            say(&format!("{}: {error}{advice}", shown(object)));
        }
    }
}
