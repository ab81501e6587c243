//! What `fms mart` can be asked for.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use fms_lake::{S3Url, Storage, TimeZone, time_zone};
use fms_query::program::{LogFormat, duration, retry};
use fms_query::{EventTime, Lake, Size};
use jiff::Timestamp;
use jiff::civil::Date;
use tokio::runtime::Handle;

use crate::catalog::{Bucket, Catalog, Folder};
use crate::engine::{self, Engine};
use crate::model::{ModelError, Models};
use crate::select::{modified, select};

/// Build tables for people and applications from those of a lake.
///
/// The exit status is 0 if everything is as it should be; 1 if rows do not pass the checks of their model, an example is not
/// what it should be, two versions differ or a server does not take a day for what it has: another attempt finds the same; and
/// 2 if nothing was begun or something could not be built, which another attempt goes on with.
#[derive(Debug, Parser)]
#[command(name = "fms-sql", bin_name = "fms mart", version)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    /// How log lines are written to standard error; `RUST_LOG` says which.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show which days of which models would be built, and why. Nothing is changed.
    Plan(Build),
    /// Build the days of which an input has changed since they were built.
    Apply(Told),
    /// Build all days of a range, whether an input has changed or not.
    Backfill(Told),
    /// Run the examples of models, without a lake.
    Test(Choice),
    /// Show what is made of what.
    Lineage(Lineage),
    /// Print the statements by which another engine builds models, for the days that are asked for, or run them there.
    Sql(Sql),
    /// Send tables to the server that applications ask: of each day, if its rows are others than those that it has.
    Publish(Publish),
    /// Build two versions of a model of the same inputs, and compare the rows by the model's keys. Nothing is changed.
    Diff(Diff),
    /// Remove the files of partitions that have been replaced for longer than the grace period.
    Expire(Expire),
}

#[derive(Debug, Args)]
pub(super) struct Build {
    #[command(flatten)]
    pub choice: Choice,
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub range: Range,
    /// Also build days some of whose inputs are gone, as after an expiry of the lake. They may have fewer rows then.
    #[arg(long)]
    pub despite_gone: bool,
    /// How many partitions are built at a time; as many as there are cores if it is not given. Each is built on one
    /// thread, so that its rows are the same to the last digit each time.
    #[arg(long, value_name = "NUMBER")]
    pub at_once: Option<NonZeroUsize>,
    /// How much memory all of them may use together, such as 2GB; at least 100MB for each partition that is built at a
    /// time. What needs more writes to temporary files in `TMPDIR`.
    #[arg(long, value_name = "BYTES")]
    pub memory_limit: Option<Size>,
    /// The time zone that the lake was converted by, which says when an hour has ended. Only warnings about tables that
    /// are not fresh depend on it.
    #[arg(long, env = "FMS_LAKE_TIMEZONE", value_name = "ZONE", value_parser = time_zone, default_value = "UTC")]
    pub timezone: TimeZone,
    /// The time that is taken for now when tables are looked at for being fresh.
    #[arg(long, value_name = "TIME")]
    pub now: Option<Timestamp>,
}

#[derive(Debug, Args)]
pub(super) struct Sql {
    #[command(flatten)]
    pub choice: Choice,
    /// The engine.
    #[arg(long, value_enum)]
    pub engine: Engine,
    /// The database of the Glue catalog that has the tables of the lake, and gets those of the mart; for Redshift, the
    /// external schema that stands for it.
    #[arg(long, env = "FMS_LAKE_DATABASE", value_name = "NAME")]
    pub database: String,
    /// Where the files of the mart are, such as `s3://lake/mart`.
    #[arg(long, env = "FMS_MART", value_name = "URL")]
    pub mart: S3Url,
    /// The first day that is built, such as 2023-01-01.
    #[arg(long, value_name = "DAY")]
    pub from: Date,
    /// The last day that is built.
    #[arg(long, value_name = "DAY")]
    pub to: Date,
    /// The time that is taken for now, which is in the names of new folders. None of them may be there yet.
    #[arg(long, value_name = "TIME")]
    pub now: Option<Timestamp>,
    /// Run the statements on the engine, one after the other, instead of printing them.
    #[arg(long)]
    pub submit: bool,
    #[command(flatten)]
    pub on: On,
}

/// Where statements run.
#[derive(Debug, Args)]
pub(super) struct On {
    /// The workgroup of Athena or of Redshift Serverless.
    #[arg(long, value_name = "NAME", requires = "submit")]
    pub workgroup: Option<String>,
    /// Where Athena keeps the results of statements, such as `s3://ops/athena/`, if the workgroup does not say it.
    #[arg(long, value_name = "URL", requires = "submit")]
    pub results: Option<String>,
    /// The cluster of Redshift, instead of a workgroup.
    #[arg(long, value_name = "NAME", requires = "submit", conflicts_with = "workgroup")]
    pub cluster: Option<String>,
    /// The database of Redshift that has the external schema.
    #[arg(long, value_name = "NAME", requires = "submit")]
    pub redshift_database: Option<String>,
    /// The user of the cluster's database.
    #[arg(long, value_name = "NAME", requires = "cluster")]
    pub db_user: Option<String>,
    /// The secret of AWS Secrets Manager that has the user of Redshift.
    #[arg(long, value_name = "ARN", requires = "redshift_database", conflicts_with = "db_user")]
    pub secret_arn: Option<String>,
}

impl Sql {
    /// Where statements run.
    pub fn place(&self) -> anyhow::Result<engine::Place> {
        let On { workgroup, results, cluster, redshift_database, db_user, secret_arn } = &self.on;
        if self.engine == Engine::Athena {
            ensure!(
                cluster.is_none() && redshift_database.is_none(),
                "--cluster and --redshift-database are for Redshift"
            );
            let (database, workgroup) = (self.database.clone(), workgroup.clone());
            return Ok(engine::Place::Athena { database, workgroup, results: results.clone() });
        }
        ensure!(results.is_none(), "--results is for Athena");
        let database =
            redshift_database.clone().context("name the database that has the schema: --redshift-database")?;
        let secret = secret_arn.clone();
        let of = match (cluster, workgroup) {
            (Some(name), _) => engine::Redshift::Cluster { name: name.clone(), user: db_user.clone(), secret },
            (None, Some(name)) => engine::Redshift::Workgroup { name: name.clone(), secret },
            (None, None) => bail!("name where it runs: --cluster NAME, or --workgroup NAME of Redshift Serverless"),
        };
        Ok(engine::Place::Redshift { database, of })
    }
}

#[derive(Debug, Args)]
pub(super) struct Told {
    #[command(flatten)]
    pub build: Build,
    /// Add events of `OpenLineage` to this file, one on each line: what each model reads and writes, down to columns, when
    /// its build begins and what has become of it. They are also sent to the backend that `OPENLINEAGE_URL` names.
    #[arg(long, env = "FMS_MART_OPENLINEAGE", value_name = "FILE")]
    pub openlineage: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Lineage {
    #[command(flatten)]
    pub choice: Choice,
    /// What is shown.
    #[arg(long, value_enum, default_value_t = Shown::Tables, value_name = "FORM")]
    pub format: Shown,
}

/// A form of lineage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Shown {
    /// Which tables a table is made of.
    Tables,
    /// Which columns a column is made of.
    Columns,
    /// The same as a page whose columns lead to each other.
    Html,
}

#[derive(Debug, Args)]
pub(super) struct Choice {
    /// The folder of the models.
    #[arg(long, env = "FMS_MART_MODELS", value_name = "FOLDER", default_value = "deploy/mart")]
    pub models: PathBuf,
    /// Only this model; `+trip` is it and all that it is made of, and `trip+` it and all that is made of it.
    /// `state:modified` stands for all models whose files are others than in the folder of --state. It may be given
    /// several times.
    #[arg(long, value_name = "MODEL", allow_hyphen_values = true)]
    pub select: Vec<String>,
    /// An earlier state of the folder of the models, for `--select state:modified+`.
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(super) struct Place {
    /// The folder of a lake, in which the mart is, too.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["database", "mart"])]
    lake: Option<PathBuf>,
    /// The database of the Glue catalog that has the tables of the lake, and gets those of the mart.
    #[arg(long, env = "FMS_LAKE_DATABASE", value_name = "NAME", required_unless_present = "lake")]
    database: Option<String>,
    /// Where the files of the mart are, such as `s3://lake/mart`.
    #[arg(long, env = "FMS_MART", value_name = "URL", required_unless_present = "lake")]
    mart: Option<S3Url>,
    /// The key of AWS KMS by which files are encrypted. The bucket's encryption if it is not given.
    #[arg(long, env = "FMS_LAKE_SSE_KMS_KEY_ID", value_name = "KEY")]
    sse_kms_key_id: Option<String>,
    /// The AWS account that owns the bucket. If another one does, nothing is read or written there.
    #[arg(long, env = "FMS_LAKE_EXPECTED_BUCKET_OWNER", value_name = "ACCOUNT")]
    expected_bucket_owner: Option<String>,
}

#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Range {
    /// The first day that is looked at, such as 2023-01-01.
    #[arg(long, value_name = "DAY")]
    pub from: Option<Date>,
    /// The last day that is looked at.
    #[arg(long, value_name = "DAY")]
    pub to: Option<Date>,
}

#[derive(Debug, Args)]
pub(super) struct Diff {
    /// The file of one version of a model.
    pub a: PathBuf,
    /// The file of the other version, which has the same name in another folder.
    pub b: PathBuf,
    #[command(flatten)]
    pub build: Build,
}

#[derive(Debug, Args)]
pub(super) struct Expire {
    #[command(flatten)]
    pub choice: Choice,
    #[command(flatten)]
    pub place: Place,
    /// For how long readers may be at files that have been replaced.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "24h")]
    pub grace: Duration,
}

#[derive(Debug, Args)]
pub(super) struct Publish {
    #[command(flatten)]
    pub choice: Choice,
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub range: Range,
    /// Where to: `postgres://user:password@host/database`, `mysql://user:password@host/database`, or `dynamodb:PREFIX` for
    /// tables whose names begin so. Everybody on this machine can read the options of a program, so a URL with a password
    /// belongs into the environment.
    #[arg(long, env = "FMS_MART_PUBLISH_TO", value_name = "URL", hide_env_values = true)]
    pub target: String,
    /// A file of certificates in PEM that are trusted instead of the system's.
    #[arg(long, env = "FMS_MART_PUBLISH_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Also send days on which a check of their table has failed, as the history of the checks has it (`fms quality run
    /// --history`, of severity error).
    #[arg(long)]
    pub despite_failed: bool,
    /// Do not encrypt the connection. Without this, it is encrypted and the server's certificate verified.
    #[arg(long, conflicts_with = "ca")]
    pub no_tls: bool,
    /// How much memory the rows of a day may take before they are written to temporary files in `TMPDIR`, such as 2GB; at
    /// least 100MB.
    #[arg(long, value_name = "BYTES")]
    pub memory_limit: Option<Size>,
}

impl Choice {
    /// All models of the folder.
    pub fn models(&self) -> anyhow::Result<Models> {
        Models::read(&self.models).map_err(problems)
    }

    /// The names of those that are selected.
    pub fn selected<'m>(&self, models: &'m Models) -> anyhow::Result<BTreeSet<&'m str>> {
        let modified = self.state.as_deref().map(|state| modified(models, &self.models, state)).transpose()?;
        select(models, &self.select, modified.as_ref())
    }
}

/// Everything that is wrong with models, each in a line.
pub(super) fn problems(errors: Vec<ModelError>) -> anyhow::Error {
    let lines: Vec<String> = errors.into_iter().map(|error| error.to_string()).collect();
    anyhow!(lines.join("\n"))
}

impl Place {
    /// The lake, and the tables of the mart. Must not be called in an async context.
    pub fn open(&self, runtime: &Handle) -> anyhow::Result<(Lake, Box<dyn Catalog>)> {
        // Which rows are read follows from partitions, and not from times.
        let time = EventTime { column: "timestamp_iso".to_owned(), zone: None };
        let database = self.database.as_deref();
        if let Some(lake) = &self.lake {
            return Ok((Lake::in_folder(lake, database.unwrap_or("lake"), time)?, Box::new(Folder::new(lake))));
        }
        let database = database.context("name the lake: --lake FOLDER, or --database NAME of the Glue catalog")?;
        let mart = self.mart.as_ref().context("name the place of the mart: --mart s3://…")?;
        let retry = retry("fms mart");
        let aws = fms_aws::load(runtime);
        let storage = Storage {
            sse_kms_key_id: self.sse_kms_key_id.clone(),
            expected_bucket_owner: self.expected_bucket_owner.clone(),
            ..Storage::default()
        };
        let catalog = Bucket::new(&aws, mart, database, &retry, storage);
        let owner = self.expected_bucket_owner.clone();
        Ok((Lake::in_catalog_of(&aws, database, time, &retry, owner), Box::new(catalog)))
    }
}
