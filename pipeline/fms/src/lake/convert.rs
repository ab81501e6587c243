//! `fms lake convert`: raw objects on disk become a lake in a folder, and those in S3 a lake in S3.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use fms_lake::{Folder, Object, Report, S3Url, Storage, convert_object, files};

use super::bucket::{self, Job};
use super::counted;
use super::settings::ConversionArguments;
use super::storage::{RawOwnerArguments, StorageArguments};
use crate::{FAILED, LogFormat, NOT_STARTED, say, start_log};

/// How many fields of a table are shown that have other names as columns.
const RENAMES: usize = 20;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The raw objects: files and folders, or `s3://bucket/key`; a folder or prefix stands for all objects below it.
    /// Converting an object again replaces its files.
    #[arg(required = true, value_name = "PATH")]
    objects: Vec<String>,
    /// The lake: a folder, or `s3://bucket/prefix` for objects in S3. A folder gets `formatted/`, `quarantine/` and
    /// `tables/`; a bucket gets `conversions/` instead of `tables/`.
    #[arg(long, value_name = "FOLDER")]
    to: String,
    /// The database of the Glue catalog that gets the tables of a lake in S3. It has to exist.
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// Convert also the objects in S3 that were converted by the same settings and have not changed since.
    #[arg(long)]
    again: bool,
    /// How many objects in S3 are converted at a time, 4 if it is not given. Each may need 200 MB of memory.
    #[arg(long, value_name = "NUMBER")]
    at_once: Option<NonZeroUsize>,
    #[command(flatten)]
    conversion: ConversionArguments,
    #[command(flatten)]
    storage: StorageArguments,
    #[command(flatten)]
    raw_owner: RawOwnerArguments,
}

/// Converts the objects. The exit status is 0 if every object was converted, with or without rows in quarantine; 1 if
/// one could not be; 2 if nothing was begun.
pub(super) fn run(arguments: &Arguments, log_format: LogFormat) -> ExitCode {
    let converted = match arguments.to.parse() {
        Ok(to) => in_bucket(arguments, to, log_format),
        Err(_) => in_folder(arguments),
    };
    converted.unwrap_or_else(|error| {
        say(&format!("fms lake convert: {error:#}"));
        NOT_STARTED.into()
    })
}

fn in_bucket(arguments: &Arguments, to: S3Url, log_format: LogFormat) -> anyhow::Result<ExitCode> {
    let objects: Result<Vec<S3Url>, String> = arguments.objects.iter().map(|object| object.parse()).collect();
    let objects = objects.map_err(anyhow::Error::msg).context("a lake in S3 is made of objects in S3")?;
    let database = arguments.database.clone().context("a lake in S3 needs --database, for its tables in Glue")?;
    start_log(log_format)?;
    bucket::run(Job {
        objects,
        to,
        database,
        again: arguments.again,
        at_once: arguments.at_once.map_or(4, NonZeroUsize::get),
        settings: arguments.conversion.settings()?,
        storage: arguments.storage.storage(),
        raw_owner: arguments.raw_owner.expected_raw_bucket_owner.clone(),
    })
}

fn in_folder(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let only_s3 = arguments.database.is_some() || arguments.again || arguments.at_once.is_some();
    anyhow::ensure!(!only_s3, "--database, --again and --at-once are for a lake in S3; write `--to s3://…`");
    anyhow::ensure!(
        arguments.storage.storage() == Storage::default() && arguments.raw_owner.expected_raw_bucket_owner.is_none(),
        "--sse-kms-key-id, --storage-class, --tag, --expected-bucket-owner and --expected-raw-bucket-owner are for a lake \
         in S3; write `--to s3://…`"
    );
    if let Some(url) = arguments.objects.iter().find(|object| object.starts_with("s3://")) {
        anyhow::bail!("{url} is in S3, so the lake has to be, too; write `--to s3://…`");
    }
    let paths: Vec<PathBuf> = arguments.objects.iter().map(PathBuf::from).collect();
    let objects = objects(&paths, Path::new(&arguments.to))?;
    let mut lake = Folder::new(&arguments.to);
    let settings = arguments.conversion.settings()?;
    let mut tally = Tally::default();
    for (path, key) in &objects {
        let object = Object { bucket: String::new(), key: key.clone(), version_id: None };
        match convert_object(&settings, &object, || File::open(path), &mut lake) {
            Ok(report) => tally.converted(report),
            Err(error) => {
                tally.failed += 1;
                say(&format!("{}: {error}", path.display()));
            }
        }
    }
    Ok(tally.print())
}

/// The files with the keys of the objects that they are: the whole path, so that an object has the same key however it
/// was named. Files of the lake itself are no raw objects.
fn objects(paths: &[PathBuf], lake: &Path) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let lake = lake.canonicalize().unwrap_or_else(|_| lake.to_owned());
    let mut objects = BTreeMap::new();
    for path in paths {
        let reading = || format!("cannot read {}", path.display());
        for file in files(path).with_context(reading)? {
            let whole = file.canonicalize().with_context(reading)?;
            if !whole.starts_with(&lake) {
                let key = whole.to_string_lossy().trim_start_matches('/').to_owned();
                objects.insert(key, file);
            }
        }
    }
    anyhow::ensure!(!objects.is_empty(), "there is no file in what was named, apart from those of the lake");
    Ok(objects.into_iter().map(|(key, file)| (file, key)).collect())
}

/// What has become of the objects.
#[derive(Debug, Default)]
pub(super) struct Tally {
    converted: u64,
    /// Objects that were left out, because they were converted before.
    pub on_record: u64,
    pub failed: u64,
    sum: Report,
}

impl Tally {
    pub fn converted(&mut self, report: Report) {
        self.converted += 1;
        self.sum.add(report);
    }

    /// How many objects are done.
    pub fn objects(&self) -> u64 {
        self.converted + self.on_record + self.failed
    }

    /// Prints what has become of the objects, and gives the exit status.
    pub fn print(&self) -> ExitCode {
        // An error means that nobody reads the output.
        let _ = io::stdout().write_all(self.summary().as_bytes());
        if self.failed == 0 { ExitCode::SUCCESS } else { FAILED.into() }
    }

    fn summary(&self) -> String {
        let Self { converted, on_record, failed, sum } = self;
        let quarantined: u64 = sum.quarantined.values().sum();
        let mut text = format!(
            "{} converted: {} of {} in {}, {quarantined} in quarantine\n",
            counted(*converted, "object"),
            counted(sum.rows, "row"),
            sum.lines,
            counted(sum.files, "file"),
        );
        for identity in &sum.grown {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  created or given columns: {}", identity.table());
        }
        for (identity, rows) in &sum.with_rest {
            let _ = writeln!(text, "  with a part in `_rest` of {}: {}", identity.table(), counted(*rows, "row"));
        }
        for (identity, renames) in &sum.renames {
            let table = identity.table();
            for (field, column, why) in renames.iter().take(RENAMES) {
                let _ = writeln!(text, "  renamed in {table}: `{field}` is the column `{column}`: {why}");
            }
            let more = renames.iter().count().saturating_sub(RENAMES);
            if more > 0 {
                let _ = writeln!(text, "  renamed in {table}: {more} more");
            }
        }
        for ((reason, column), rows) in &sum.quarantined {
            let column = if column.is_empty() { String::new() } else { format!(", column `{column}`") };
            let _ = writeln!(text, "  in quarantine: {} because of {}{column}", counted(*rows, "row"), reason);
        }
        if *on_record > 0 {
            let _ = writeln!(text, "  converted before and left as they are: {}", counted(*on_record, "object"));
        }
        if *failed > 0 {
            let _ = writeln!(text, "  NOT converted: {}", counted(*failed, "object"));
        }
        text
    }
}
