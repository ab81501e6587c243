//! What `fms quality` can be asked for.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use fms_lake::{TimeZone, time_zone};
use fms_query::program::{LogFormat, retry};
use fms_query::{EventTime, Lake, Size};
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use tokio::runtime::Handle;

use super::push::Group;
use crate::check::Severity;
use crate::history::Place;
use crate::report::Format;
use crate::statement::Days;

/// Check whether the tables of a lake and of its mart are possible, complete and consistent.
///
/// The exit status is 0 if no check failed, 1 if one failed, and otherwise 2 if one could not run.
#[derive(Debug, Parser)]
#[command(name = "fms-sql", bin_name = "fms quality", version)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    /// How log lines are written to standard error; `RUST_LOG` says which.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run checks.
    Run(Box<RunChecks>),
    /// Show which checks there are, and who owns them. No lake is needed.
    List(Choice),
    /// Tell what the checks find of the faults of a simulated fleet: recall and precision by kind of fault.
    Judge(Judge),
    /// Propose a file of checks by the rows that a table has.
    Profile(Profile),
    /// Make files of checks of the rules of another tool.
    Import(Import),
}

#[derive(Debug, Args)]
pub(super) struct Choice {
    /// Files of checks, or folders of such files.
    #[arg(env = "FMS_QUALITY_CHECKS", value_name = "PATH", default_value = "deploy/quality", value_delimiter = ',')]
    pub paths: Vec<PathBuf>,
    /// Only checks of this table; it may be given several times.
    #[arg(long, value_name = "TABLE")]
    pub table: Vec<String>,
    /// Only checks with this tag; it may be given several times.
    #[arg(long, value_name = "TAG")]
    pub tag: Vec<String>,
}

/// Which rows are looked at.
#[derive(Debug, Args)]
pub(super) struct Rows {
    /// The folder of a lake.
    #[arg(long, value_name = "FOLDER", conflicts_with = "database")]
    pub lake: Option<PathBuf>,
    /// The database of the Glue catalog that has the tables of a lake in S3.
    #[arg(long, env = "FMS_LAKE_DATABASE", value_name = "NAME", required_unless_present = "lake")]
    pub database: Option<String>,
    /// The AWS account that owns the buckets of the lake and of the history. If another one does, nothing is read or written
    /// there.
    #[arg(long, env = "FMS_LAKE_EXPECTED_BUCKET_OWNER", value_name = "ACCOUNT")]
    pub expected_bucket_owner: Option<String>,
    /// The first day that is looked at, such as 2023-01-01. Yesterday if it is not given.
    #[arg(long, value_name = "DAY")]
    pub from: Option<Date>,
    /// The last day that is looked at. The first one if it is not given.
    #[arg(long, value_name = "DAY")]
    pub to: Option<Date>,
    /// The time zone that the lake was converted by, which says what yesterday is.
    #[arg(long, env = "FMS_LAKE_TIMEZONE", value_name = "ZONE", value_parser = time_zone, default_value = "UTC")]
    pub timezone: TimeZone,
    /// The time that is taken for now.
    #[arg(long, value_name = "TIME")]
    pub now: Option<Timestamp>,
}

#[derive(Debug, Args)]
pub(super) struct Profile {
    /// The table.
    pub table: String,
    /// Who owns the checks, as an e-mail address.
    #[arg(long, value_name = "E-MAIL")]
    pub owner: String,
    #[command(flatten)]
    pub rows: Rows,
    /// How much memory a query may use before it writes to temporary files in `TMPDIR`, such as 2GB; at least 100MB.
    #[arg(long, value_name = "BYTES")]
    pub memory_limit: Option<Size>,
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// The file with the rules.
    pub file: PathBuf,
    /// Whose rules they are.
    #[arg(long = "of", value_enum, value_name = "TOOL")]
    pub tool: Tool,
    /// The table that the rules are about. A file of dbt names its tables itself.
    #[arg(long, required_if_eq("tool", "dqdl"), value_name = "TABLE")]
    pub table: Option<String>,
    /// Who owns the checks, as an e-mail address.
    #[arg(long, value_name = "E-MAIL")]
    pub owner: String,
    /// Write a file `TABLE.yml` for each table into this folder, instead of all to standard output. What is there already is
    /// not replaced.
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
}

/// A tool whose rules can be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Tool {
    /// AWS Glue Data Quality: a ruleset in DQDL.
    Dqdl,
    /// dbt: a `schema.yml` with generic tests.
    Dbt,
}

#[derive(Debug, Args)]
pub(super) struct RunChecks {
    #[command(flatten)]
    pub choice: Choice,
    #[command(flatten)]
    pub rows: Rows,
    /// From which outcome on the exit status is 1.
    #[arg(long, value_enum, default_value_t = FailOn::Fail, value_name = "OUTCOME")]
    pub fail_on: FailOn,
    /// The exit status is 1 only for checks of this severity or a worse one.
    #[arg(long, value_enum, default_value_t = Severity::Error, value_name = "SEVERITY")]
    pub severity: Severity,
    /// How the verdicts are written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Write the verdicts to a file instead of standard output, and what people read to standard error.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write the verdicts to another file as well, such as `html=checks.html`; it may be given several times.
    #[arg(long, value_name = "FORMAT=FILE", value_parser = report)]
    pub report: Vec<(Format, PathBuf)>,
    /// Keep all bad rows of each check in a file of this folder, as JSON lines. What `mask` names is null there.
    #[arg(long, value_name = "FOLDER")]
    pub bad_rows: Option<PathBuf>,
    /// Replace the metrics of this group of a Pushgateway by those of the verdicts, such as
    /// `http://pushgateway:9091/metrics/job/fms-quality`. If it does not take them, the log says so.
    #[arg(long, env = "FMS_QUALITY_PUSH_TO", value_name = "URL", value_parser = Group::parse)]
    pub push_to: Option<Group>,
    /// Add the verdicts to the table `quality_results` of this lake: a folder, or `s3://bucket/prefix` with
    /// --database.
    #[arg(long, env = "FMS_QUALITY_HISTORY", value_name = "PLACE")]
    pub history: Option<Place>,
    /// Look at days one by one, and run each check on those of which the history has no verdict of it that still holds: it
    /// was not run before, is defined otherwise now, could not run, or one of the tables that it reads has other files.
    /// Without --from, all days until --to. A failure of the last twelve hours is found once more.
    #[arg(long, requires = "history")]
    pub changed: bool,
    /// How much memory a query may use before it writes to temporary files in `TMPDIR`, such as 2GB; at least 100MB.
    #[arg(long, value_name = "BYTES")]
    pub memory_limit: Option<Size>,
}

#[derive(Debug, Args)]
pub(super) struct Judge {
    #[command(flatten)]
    pub choice: Choice,
    /// What the fleet has sent, as `fms simulate --expect` has written it.
    #[arg(long, value_name = "FILE")]
    pub expect: PathBuf,
    /// The folder of the lake that has these messages. If it is not given, they are made again and stored in a temporary
    /// one.
    #[arg(long, value_name = "FOLDER")]
    pub lake: Option<PathBuf>,
    /// The time zone that the lake is converted by.
    #[arg(long, env = "FMS_LAKE_TIMEZONE", value_name = "ZONE", value_parser = time_zone, default_value = "UTC")]
    pub timezone: TimeZone,
    /// The exit status is 1 if the recall of a fault is less.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub min_recall: Option<f64>,
    /// The exit status is 1 if the precision of a fault is less.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub min_precision: Option<f64>,
    /// Print a JSON object on a line for each kind of fault.
    #[arg(long)]
    pub json: bool,
    /// How much memory a query may use before it writes to temporary files in `TMPDIR`, such as 2GB; at least 100MB.
    #[arg(long, value_name = "BYTES")]
    pub memory_limit: Option<Size>,
}

/// From which outcome on a check counts as failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FailOn {
    /// A check warned or failed.
    Warn,
    /// A check failed.
    Fail,
}

/// A format and a file.
fn report(text: &str) -> Result<(Format, PathBuf), String> {
    let (format, path) = text.split_once('=').ok_or("write FORMAT=FILE, such as html=checks.html")?;
    let format = Format::from_str(format, false).map_err(|_| {
        let known: Vec<String> = Format::value_variants()
            .iter()
            .filter_map(ValueEnum::to_possible_value)
            .map(|value| value.get_name().to_owned())
            .collect();
        format!("there is no format `{format}`; there is {}", known.join(", "))
    })?;
    Ok((format, path.into()))
}

/// A share from 0 to 1.
fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(format!("{share} is not from 0 to 1")) }
}

impl Rows {
    /// The time that is taken for now.
    pub fn now(&self) -> Timestamp {
        self.now.unwrap_or_else(Timestamp::now)
    }

    /// The days that are looked at.
    pub fn days(&self, now: Timestamp) -> anyhow::Result<Days> {
        let today = now.to_zoned(self.timezone.clone()).date();
        let from = match self.from.or(self.to) {
            Some(from) => from,
            None => today.checked_sub(1.day()).context("there is no day before --now")?,
        };
        let to = self.to.unwrap_or(from);
        anyhow::ensure!(from <= to, "--from {from} is after --to {to}");
        Ok(Days { from, to, today })
    }

    /// The lake that is checked.
    pub fn lake(&self, runtime: &Handle) -> anyhow::Result<Lake> {
        let time = EventTime { column: "timestamp_iso".to_owned(), zone: Some(self.timezone.clone()) };
        if let Some(folder) = &self.lake {
            return Lake::in_folder(folder, "lake", time);
        }
        let database = self.database.as_deref().context("name the lake: --lake FOLDER, or --database NAME")?;
        let owner = self.expected_bucket_owner.clone();
        Ok(Lake::in_catalog_of(&fms_aws::load(runtime), database, time, &retry("fms quality"), owner))
    }
}
