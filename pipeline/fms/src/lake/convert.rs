//! `fms lake convert`: raw objects on disk become a lake in a folder.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use fms_lake::{Folder, Object, Report, Settings, convert_object, files};

use super::counted;
use super::settings::ConversionArguments;
use crate::{FAILED, NOT_STARTED, say};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The raw objects; a folder stands for all files below it. Converting an object again replaces its files.
    #[arg(required = true, value_name = "PATH")]
    objects: Vec<PathBuf>,
    /// The folder of the lake. It gets `formatted/`, `quarantine/` and `tables/`.
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    #[command(flatten)]
    conversion: ConversionArguments,
}

/// Converts the objects. The exit status is 0 if every object was converted, with or without rows in quarantine; 1 if one
/// could not be; 2 if nothing was begun.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    let objects = match objects(&arguments.objects, &arguments.to) {
        Ok(objects) => objects,
        Err(error) => {
            say(&format!("fms lake convert: {error:#}"));
            return NOT_STARTED.into();
        }
    };
    let settings = Settings::from(arguments.conversion);
    let mut lake = Folder::new(&arguments.to);
    let (mut sum, mut failed) = (Report::default(), 0);
    for (path, key) in &objects {
        let object = Object { bucket: String::new(), key: key.clone(), version_id: None };
        match convert_object(&settings, &object, || File::open(path), &mut lake) {
            Ok(report) => sum.add(report),
            Err(error) => {
                failed += 1;
                say(&format!("{}: {error}", path.display()));
            }
        }
    }
    // An error means that nobody reads the output.
    let _ = io::stdout().write_all(summary(objects.len(), failed, &sum).as_bytes());
    if failed == 0 { ExitCode::SUCCESS } else { FAILED.into() }
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

fn summary(objects: usize, failed: usize, sum: &Report) -> String {
    let quarantined: u64 = sum.quarantined.values().sum();
    let mut text = format!(
        "{} converted: {} of {} in {}, {quarantined} in quarantine\n",
        counted((objects - failed) as u64, "object"),
        counted(sum.rows, "row"),
        sum.lines,
        counted(sum.files, "file"),
    );
    for identity in &sum.grown {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  created or given columns: {}", identity.table());
    }
    for ((reason, column), rows) in &sum.quarantined {
        let column = if column.is_empty() { String::new() } else { format!(", column `{column}`") };
        let _ = writeln!(text, "  in quarantine: {} because of {}{column}", counted(*rows, "row"), reason);
    }
    if failed > 0 {
        let _ = writeln!(text, "  NOT converted: {}", counted(failed as u64, "object"));
    }
    text
}
