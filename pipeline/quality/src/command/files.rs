//! The files that are written: those of checks, of verdicts, and of bad rows.

use std::fs;
use std::io::BufWriter;
use std::path::Path;

use anyhow::Context as _;
use fms_query::program::begin_file;
use fms_query::{Format, Lake, Planned, Size, Writer};
use futures_util::TryStreamExt as _;
use jiff::civil::Date;

use crate::check::{Check, Suite};
use crate::mask::Hidden;
use crate::statement::Days;
use crate::verdict::Verdict;

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

/// The name of the file with the bad rows of a check; of one that looks at days one by one, with its day.
pub(super) fn name_of_bad_rows(verdict: &Verdict, day: Option<Date>) -> String {
    let plain = |character: char| if character.is_alphanumeric() { character } else { '-' };
    let name: String = verdict.check.chars().map(plain).collect();
    let day = day.map_or_else(String::new, |day| format!(".{day}"));
    format!("{}.{name}{day}.jsonl", verdict.table)
}

/// Keeps the bad rows of a verdict in a file, and gives its name. A verdict without such rows takes away what an earlier one
/// kept.
pub(super) async fn keep_bad_rows(
    lake: &Lake,
    (suite, check, verdict): (&Suite, &Check, &Verdict),
    (days, memory): (Days, Option<Size>),
    path: &Path,
) -> anyhow::Result<Option<String>> {
    let Some(sql) = &verdict.query else {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(None),
        };
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
    }
    let keep = async {
        let table = lake.table(&suite.table).await?;
        let fields = table.iter().flat_map(|table| table.columns.iter().map(|field| &field.name).chain(&table.keys));
        let hidden = Hidden::of(suite, check, fields.cloned());
        let planned = Planned::new(lake, &days.query(sql, memory)).await?;
        let file = begin_file(path)?;
        let mut writer = Writer::new(Format::Json, &planned.schema(), Box::new(BufWriter::new(file.reopen()?)))?;
        let mut rows = planned.start()?;
        while let Some(batch) = rows.try_next().await? {
            writer.write(hidden.masked(&batch)?)?;
        }
        writer.finish()?;
        file.persist(path)?;
        anyhow::Ok(())
    };
    keep.await.with_context(|| format!("cannot keep the bad rows of `{}` in {}", verdict.check, path.display()))?;
    Ok(path.file_name().map(|name| name.to_string_lossy().into_owned()))
}
