//! The files that are read and written: those of checks, of verdicts, and of bad rows.

use std::fs;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use datafusion::arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, StructArray, new_null_array};
use datafusion::arrow::datatypes::{DataType, FieldRef, Fields, Schema};
use fms_query::program::begin_file;
use fms_query::{Format, Lake, Planned, Size, Writer};
use futures_util::TryStreamExt as _;

use crate::check::Suite;
use crate::statement::Days;
use crate::verdict::Verdict;

/// The endings of the names of files with checks.
const ENDINGS: [&str; 2] = ["yml", "yaml"];

/// Reads the files of checks, and those of folders in the order of their names.
pub(super) fn suites(paths: &[PathBuf]) -> anyhow::Result<Vec<Suite>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let read = || -> std::io::Result<Vec<PathBuf>> {
            fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect()
        };
        let mut found = read().with_context(|| format!("cannot read the folder {}", path.display()))?;
        found.retain(|file| file.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known)));
        anyhow::ensure!(!found.is_empty(), "{} has no file that ends in .yml or .yaml", path.display());
        found.sort();
        files.extend(found);
    }
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Suite::parse(&text).with_context(|| file.display().to_string())
    };
    files.into_iter().map(read).collect()
}

/// Replaces a file as a whole.
pub(super) fn replace(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let write = || -> anyhow::Result<()> {
        let mut file = begin_file(path)?;
        std::io::Write::write_all(&mut file, content)?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a file that is not there yet.
pub(super) fn create(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let write = || -> anyhow::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = begin_file(path)?;
        std::io::Write::write_all(&mut file, content)?;
        file.persist_noclobber(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}; a file that is there is not replaced", path.display()))
}

/// Keeps the bad rows of a verdict in a file of the folder. A verdict without such rows takes away what an earlier one kept.
pub(super) async fn keep_bad_rows(
    lake: &Lake,
    suite: &Suite,
    verdict: &Verdict,
    (days, memory): (Days, Option<Size>),
    folder: &Path,
) -> anyhow::Result<()> {
    let plain = |character: char| if character.is_alphanumeric() { character } else { '-' };
    let name: String = verdict.check.chars().map(plain).collect();
    let path = folder.join(format!("{}.{name}.jsonl", verdict.table));
    let Some(sql) = &verdict.query else {
        return match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        };
    };
    fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
    let keep = async {
        let planned = Planned::new(lake, &days.query(sql, memory)).await?;
        let file = begin_file(&path)?;
        let mut writer = Writer::new(Format::Json, &planned.schema(), Box::new(BufWriter::new(file.reopen()?)))?;
        let mut rows = planned.start()?;
        while let Some(batch) = rows.try_next().await? {
            writer.write(masked(suite, &batch)?)?;
        }
        writer.finish()?;
        file.persist(&path)?;
        anyhow::Ok(())
    };
    keep.await.with_context(|| format!("cannot keep the bad rows of `{}` in {}", verdict.check, path.display()))
}

/// The rows without what nobody may see, however deep it is.
fn masked(suite: &Suite, batch: &RecordBatch) -> anyhow::Result<RecordBatch> {
    let columns = batch.schema_ref().fields().iter().zip(batch.columns());
    let (fields, columns): (Vec<_>, Vec<_>) = columns.map(|(field, column)| hidden(suite, field, column)).unzip();
    Ok(RecordBatch::try_new(Schema::new(fields).into(), columns)?)
}

fn hidden(suite: &Suite, field: &FieldRef, column: &ArrayRef) -> (FieldRef, ArrayRef) {
    if suite.mask.contains(field.name()) {
        let field = field.as_ref().clone().with_nullable(true);
        return (field.into(), new_null_array(column.data_type(), column.len()));
    }
    let Some(rows) = column.as_struct_opt() else { return (Arc::clone(field), Arc::clone(column)) };
    let inner = rows.fields().iter().zip(rows.columns());
    let (fields, columns): (Vec<_>, Vec<_>) = inner.map(|(field, column)| hidden(suite, field, column)).unzip();
    let fields = Fields::from(fields);
    let rows = StructArray::new(fields.clone(), columns, rows.nulls().cloned());
    (field.as_ref().clone().with_data_type(DataType::Struct(fields)).into(), Arc::new(rows))
}
