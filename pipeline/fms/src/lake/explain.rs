//! `fms lake explain`: what objects would add to a lake, put into quarantine and conflict with. Nothing is written.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use fms_aws::Retry;
use fms_lake::{Bucket, Effect, Explained, Folder, Object, S3Url, Settings, Surroundings as _};
use tokio::runtime::Runtime;

use super::counted;
use super::settings::ConversionArguments;
use super::storage::{OwnerArguments, RawOwnerArguments};
use crate::{LogFormat, NOT_STARTED, say, start_log};

/// How long a call is repeated.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest wait between two attempts of a call.
const DELAY_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The raw objects: files, folders, or `s3://bucket/key`; a folder or prefix stands for all objects below it.
    #[arg(required = true, value_name = "PATH")]
    objects: Vec<String>,
    /// The lake: a folder, or `s3://bucket/prefix`, with whose tables rows are compared. Nothing is written to it.
    #[arg(long, value_name = "FOLDER")]
    lake: String,
    /// The database of the Glue catalog that has the tables of a lake in S3.
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// The fields whose values tell rows apart, so that the release is named which broke a field.
    #[arg(long, value_name = "FIELDS", value_delimiter = ',', default_value = "firmware,schema_version")]
    by: Vec<String>,
    #[command(flatten)]
    conversion: ConversionArguments,
    #[command(flatten)]
    owner: OwnerArguments,
    #[command(flatten)]
    raw_owner: RawOwnerArguments,
}

/// Prints what would happen. The exit status is 0 if every row would be stored, 1 if one would be in quarantine or a
/// table cannot be used, and 2 if the objects or the lake cannot be read.
pub(super) fn run(arguments: Arguments, log_format: LogFormat) -> ExitCode {
    let by = arguments.by.clone();
    match explained(arguments, log_format) {
        Ok(explained) => {
            // An error means that nobody reads the output.
            let _ = io::stdout().write_all(text(&explained, &by).as_bytes());
            let mut effects = explained.groups.values().flat_map(|effects| effects.values());
            let is_clean = effects.all(|effect| effect.quarantined.is_empty() && effect.problem.is_none());
            if is_clean { ExitCode::SUCCESS } else { crate::FAILED.into() }
        }
        Err(error) => {
            say(&format!("fms lake explain: {error:#}"));
            NOT_STARTED.into()
        }
    }
}

fn explained(arguments: Arguments, log_format: LogFormat) -> anyhow::Result<Explained> {
    start_log(log_format)?;
    let Arguments { objects, lake, database, by, conversion, owner, raw_owner } = arguments;
    let settings = conversion.settings()?;
    let mut explained = Explained::default();
    let runtime = Runtime::new().context("cannot start threads")?;
    let bucket = if let Ok(place) = lake.parse::<S3Url>() {
        let database = database.context("a lake in S3 needs --database, for its tables in Glue")?;
        let retry = Retry::new("fms lake explain", Some(PATIENCE), DELAY_MAX, |_| {});
        let bucket = Bucket::new(&fms_aws::load(runtime.handle()), &place, &database, retry);
        Some(bucket.storing(owner.storage()).expecting_raw_owner(raw_owner.expected_raw_bucket_owner))
    } else {
        anyhow::ensure!(database.is_none(), "--database is for a lake in S3; write `--lake s3://…`");
        let has_owner = owner.expected_bucket_owner.is_some() || raw_owner.expected_raw_bucket_owner.is_some();
        anyhow::ensure!(!has_owner, "an expected owner is for a lake in S3; write `--lake s3://…`");
        None
    };
    let mut folder = Folder::new(&lake);
    let mut count = 0;
    for object in &objects {
        match (object.parse::<S3Url>(), &bucket) {
            (Ok(url), Some(bucket)) => count += in_s3(bucket, &url, &settings, &by, &runtime, &mut explained)?,
            (Ok(url), None) => anyhow::bail!("{url} is in S3, so the lake has to be, too; write `--lake s3://…`"),
            (Err(_), _) => {
                let reading = || format!("cannot read {object}");
                for file in fms_lake::files(Path::new(object)).with_context(reading)? {
                    let key = file.to_string_lossy().into_owned();
                    let raw = Object { bucket: String::new(), key, version_id: None };
                    let open = || File::open(&file);
                    let added = match &bucket {
                        Some(bucket) => explained
                            .add(&settings, &by, &raw, open, |identity| runtime.block_on(bucket.table(identity))),
                        None => explained.add(&settings, &by, &raw, open, |identity| folder.table(identity)),
                    };
                    added.with_context(reading)?;
                    count += 1;
                }
            }
        }
    }
    anyhow::ensure!(count > 0, "there is no object at {}", objects.join(", "));
    Ok(explained)
}

/// Explains the objects below a prefix. Gives how many there are.
fn in_s3(
    bucket: &Bucket,
    url: &S3Url,
    settings: &Settings,
    by: &[String],
    runtime: &Runtime,
    explained: &mut Explained,
) -> anyhow::Result<u64> {
    let (mut count, mut next) = (0, None);
    loop {
        let (raws, more) = runtime.block_on(bucket.raws(url, next))?;
        for raw in raws {
            bucket.explain(settings, by, &raw, runtime.handle(), explained).with_context(|| raw.to_string())?;
            count += 1;
        }
        if more.is_none() {
            return Ok(count);
        }
        next = more;
    }
}

// Writing to a string cannot fail, so its results are left aside here and below.
fn text(explained: &Explained, by: &[String]) -> String {
    let mut text = String::new();
    for (group, effects) in &explained.groups {
        let value = |(field, value): (&String, &Option<String>)| match value {
            Some(value) => format!("{field} {value}"),
            None => format!("no {field}"),
        };
        let _ = writeln!(text, "{}", by.iter().zip(group).map(value).collect::<Vec<_>>().join(", "));
        for (table, effect) in effects {
            table_text(table, effect, &mut text);
        }
    }
    text
}

fn table_text(table: &str, effect: &Effect, text: &mut String) {
    let table = if table.is_empty() { "no table" } else { table };
    let _ = writeln!(text, "  {table}: {} would be stored", counted(effect.rows, "row"));
    if let Some(problem) = &effect.problem {
        let _ = writeln!(text, "    the table cannot be used: {problem}");
    }
    if effect.is_new {
        let _ = writeln!(text, "    the table would be created");
    }
    for (name, data_type) in &effect.added {
        let _ = writeln!(text, "    the column `{name}` would be added: {data_type}");
    }
    for (field, column, why) in effect.renames.iter() {
        let _ = writeln!(text, "    the field `{field}` is the column `{column}`: {why}");
    }
    for ((reason, column), misfits) in &effect.quarantined {
        let column = if column.is_empty() { String::new() } else { format!(", column `{column}`") };
        let rows = counted(misfits.rows, "row");
        let _ = writeln!(
            text,
            "    in quarantine: {rows} because of {reason}{column}: expected {}, found {} (line {} of {})",
            misfits.expected, misfits.found, misfits.line, misfits.key
        );
    }
}
