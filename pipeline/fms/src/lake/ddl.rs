//! `fms lake ddl`: the statements that make a SQL engine know the tables of a lake.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use fms_lake::{Catalog, Engine, External, Folder, S3Url, Storage};

use super::place::connect;
use super::storage::OwnerArguments;
use crate::{NOT_STARTED, say};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The tables to create; all tables of the lake if none is named. Redshift reads all tables of a lake in S3 through
    /// one schema, so none can be named there.
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,
    /// The lake: a folder, or `s3://bucket/prefix`, whose tables are read from the Glue catalog.
    #[arg(long, value_name = "FOLDER")]
    lake: String,
    /// Where the content of a folder is for the engine, such as `s3://bucket/lake`. A lake in S3 knows it.
    #[arg(long, value_name = "URL")]
    location: Option<String>,
    /// The database that gets the tables, which Redshift and Trino call a schema. For a lake in S3, it is the database of
    /// the Glue catalog with its tables.
    #[arg(long, value_name = "NAME")]
    database: String,
    /// The engine in whose dialect the statements are written.
    #[arg(long, value_enum)]
    engine: EngineName,
    #[command(flatten)]
    owner: OwnerArguments,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EngineName {
    /// Redshift Spectrum.
    Redshift,
    /// Athena; the statements also add the partitions.
    Athena,
    /// Athena, which knows the partitions by projection. It does not find compacted rows, so it is refused if there are
    /// some.
    AthenaProjection,
    /// Trino's Hive connector.
    Trino,
}

impl From<EngineName> for Engine {
    fn from(name: EngineName) -> Self {
        match name {
            EngineName::Redshift => Self::Redshift,
            EngineName::Athena => Self::Athena,
            EngineName::AthenaProjection => Self::AthenaProjection,
            EngineName::Trino => Self::Trino,
        }
    }
}

/// Prints the statements. The exit status is 2 if the lake cannot be read, has not all of the tables, or has rows that
/// the engine would not find.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match statements(arguments) {
        Ok(text) => {
            // An error means that nobody reads the output.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&format!("fms lake ddl: {error:#}"));
            NOT_STARTED.into()
        }
    }
}

fn statements(arguments: &Arguments) -> anyhow::Result<String> {
    let (tables, catalog) = match arguments.lake.parse::<S3Url>() {
        Ok(url) => {
            let is_of_all = matches!(arguments.engine, EngineName::Redshift);
            ensure!(
                !is_of_all || arguments.tables.is_empty(),
                "a schema of Redshift has all tables of a Glue database; name no table, and grant the right to read each \
                 of them in Redshift or Lake Formation"
            );
            (in_glue(arguments, &url)?, Catalog::Shared)
        }
        Err(_) => (in_folder(arguments)?, Catalog::Own),
    };
    let statements = Engine::from(arguments.engine).statements(&arguments.database, &tables, catalog);
    statements.map_err(anyhow::Error::msg)
}

fn in_glue(arguments: &Arguments, url: &S3Url) -> anyhow::Result<Vec<External>> {
    ensure!(arguments.location.is_none(), "--location is for a lake in a folder; this one is at {url}");
    let (runtime, bucket) = connect("fms lake ddl", url, &arguments.database, arguments.owner.storage())?;
    let tables = runtime.block_on(bucket.external(&arguments.tables))?;
    ensure!(!tables.is_empty(), "the database `{}` has no tables of the lake at {url}", arguments.database);
    Ok(tables)
}

fn in_folder(arguments: &Arguments) -> anyhow::Result<Vec<External>> {
    ensure!(arguments.owner.storage() == Storage::default(), "--expected-bucket-owner is for a lake in S3");
    let url = arguments.location.as_deref();
    let url = url.context("a lake in a folder needs --location, for where the engine finds its files")?;
    let mut tables = Folder::new(&arguments.lake).external(url)?;
    let names: Vec<String> = tables.iter().map(|table| table.table.clone()).collect();
    ensure!(!names.is_empty(), "{} has no tables; is it the folder of a lake?", arguments.lake);
    if let Some(missing) = arguments.tables.iter().find(|name| !names.contains(name)) {
        anyhow::bail!("the lake has no table `{missing}`; it has {}", names.join(", "));
    }
    tables.retain(|table| arguments.tables.is_empty() || arguments.tables.contains(&table.table));
    Ok(tables)
}
