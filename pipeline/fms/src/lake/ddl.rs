//! `fms lake ddl`: the statements that create the tables of a lake in a SQL engine.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use fms_lake::{Engine, External, Folder};

use crate::{NOT_STARTED, say};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The tables to create; all tables of the lake if none is named.
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,
    /// The folder of the lake.
    #[arg(long, value_name = "FOLDER")]
    lake: PathBuf,
    /// Where the content of that folder is for the engine, such as `s3://bucket/lake`.
    #[arg(long, value_name = "URL")]
    location: String,
    /// The database that gets the tables, which Redshift and Trino call a schema.
    #[arg(long, value_name = "NAME")]
    database: String,
    /// The engine in whose dialect the statements are written.
    #[arg(long, value_enum)]
    engine: EngineName,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EngineName {
    /// Redshift Spectrum.
    Redshift,
    /// Athena; its partitions are added with `msck repair table`.
    Athena,
    /// Athena, which knows the partitions by projection.
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

/// Prints the statements. The exit status is 2 if the lake cannot be read or has not all of the tables.
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
    let mut tables = Folder::new(&arguments.lake).tables()?;
    let names: Vec<String> = tables.keys().cloned().collect();
    anyhow::ensure!(!names.is_empty(), "{} has no tables; is it the folder of a lake?", arguments.lake.display());
    if let Some(missing) = arguments.tables.iter().find(|name| !names.contains(name)) {
        anyhow::bail!("the lake has no table `{missing}`; it has {}", names.join(", "));
    }
    tables.retain(|name, _| arguments.tables.is_empty() || arguments.tables.contains(name));
    let root = arguments.location.trim_end_matches('/');
    let statements = tables.iter().map(|(name, (folder, table))| {
        let location = format!("{root}/{folder}");
        let (database, columns) = (&arguments.database, &table.columns);
        External { database, table: name, columns, location: &location }.statements(arguments.engine.into())
    });
    Ok(statements.collect::<Vec<_>>().join("\n"))
}
