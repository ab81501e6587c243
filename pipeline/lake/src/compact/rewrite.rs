//! The files of a partition, merged into a new folder that becomes the current one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use arrow_schema::ArrowError;
use jiff::Timestamp;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::runtime::Handle;

use super::merge::Merge;
use super::plan::{Listing, Plan};
use super::{Compact, Compacted, Compacting};
use crate::bucket::Bucket;
use crate::bucket::manifest::{Content, Manifest, Replaced};
use crate::bucket::spool::Spool;
use crate::bucket::store::{Listed, Put};
use crate::file::{Format, SortedFile};
use crate::table::Table;
use crate::types::Type;

/// How many rows of a file are read at a time.
const READ_ROWS: usize = 1024;

/// Merges the files of a partition. If others write to it meanwhile, it is left for later.
pub(super) fn rewrite(
    bucket: &Bucket,
    compact: &Compact,
    compacting: &Compacting,
    manifest: &mut Manifest,
    handle: &Handle,
) -> io::Result<Compacted> {
    let left = Compacted { left: 1, ..Compacted::default() };
    let (store, place) = (&bucket.store, &compacting.place);
    let next = format!("{}{}/", place.compacted(), generation(compact.now));
    let announced = Content { next: Some(next.clone()), ..manifest.content.clone() };
    if !handle.block_on(manifest.replace(store, announced))? {
        return Ok(left);
    }
    // Only files that are listed from now on are certain to be all of them.
    let plan = handle.block_on(Listing::new(store, place))?.plan(&manifest.content, place);
    let (table, _) = handle.block_on(bucket.catalog.named(&compacting.table))?;
    let Some((merged, mut outputs)) = merge(bucket, compact, &table, (&plan, &manifest.content), handle)? else {
        return Ok(left);
    };
    let put = Put { version: table.version.parse().ok(), is_newest: true, is_new: true };
    let (rows, repeats) = (merged.rows, merged.repeats);
    let mut compacted = Compacted { partitions: 1, unchanged: 0, rows, repeats, ..plan.foreseen() };
    let mut content = manifest.content.clone();
    content.files.clear();
    for (number, spool) in outputs.iter_mut().enumerate() {
        let name = format!("{number:05}.parquet");
        handle.block_on(store.put(&format!("{next}{name}"), spool, put))?;
        compacted.files_after += 1;
        compacted.bytes_after += spool.length();
        content.files.insert(name);
    }
    content.rows = Some(rows);
    content.sources.extend(merged.sources);
    let before = std::mem::replace(&mut content.current, next);
    content.replaced.push(Replaced { location: before, since: None });
    content.next = None;
    Ok(if handle.block_on(manifest.replace(store, content))? { compacted } else { left })
}

/// How the name of a generation says when it was begun. Names have the order of time.
const BEGUN: &str = "%Y%m%dT%H%M%SZ";

/// The name of a folder that nobody else chooses.
pub(super) fn generation(now: Timestamp) -> String {
    format!("{}-{:016x}", now.strftime(BEGUN), fastrand::u64(..))
}

/// Whether a generation, whose folder this is, was begun before a time.
pub(super) fn is_begun_before(folder: &str, time: Timestamp) -> bool {
    let name = folder.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    name < time.strftime(BEGUN).to_string().as_str()
}

/// What was merged.
struct Merged {
    rows: u64,
    repeats: u64,
    sources: BTreeMap<String, Option<String>>,
}

/// The columns of texts that were values of another type.
fn texts(content: &Content) -> Vec<(String, Type)> {
    content.texts.iter().filter_map(|(name, was)| Some((name.clone(), was.parse().ok()?))).collect()
}

/// Merges the rows of files. `None` if one of them was changed meanwhile.
fn merge(
    bucket: &Bucket,
    compact: &Compact,
    table: &Table,
    (plan, content): (&Plan, &Content),
    handle: &Handle,
) -> io::Result<Option<(Merged, Vec<Spool>)>> {
    let format = Format::new(table, &compact.sort_fields).map_err(io::Error::other)?;
    let identity = identity(compact, &format)?;
    let merge = Merge::new(format.schema(), (format.sort(), &identity), &texts(content), compact.memory);
    let mut merge = merge.map_err(io::Error::other)?;
    let (mut sources, mut read) = (BTreeMap::new(), 0);
    let compacted = plan.compacted.iter().map(|file| (file, false));
    for (file, is_fresh) in compacted.chain(plan.fresh.iter().map(|file| (file, true))) {
        let Some((body, sha256)) = handle.block_on(bucket.store.download(&file.path, &file.etag))? else {
            return Ok(None);
        };
        read += add(&mut merge, body).map_err(|error| unreadable(bucket, file, &error))?;
        if is_fresh {
            sources.insert(file.name().to_owned(), sha256);
        }
    }
    let mut outputs = Outputs { format, target: compact.target_size, current: None, done: Vec::new() };
    let merged = merge.finish(true, |rows| outputs.write(&rows)).map_err(io::Error::other)?;
    let (files, written) = outputs.finish().map_err(io::Error::other)?;
    if merged.rows + merged.repeats != read || written != merged.rows {
        return Err(io::Error::other(format!(
            "{read} rows were read, and {written} were written and {} repeat others; this is a mistake in the program",
            merged.repeats
        )));
    }
    Ok(Some((Merged { rows: merged.rows, repeats: merged.repeats, sources }, files)))
}

/// The columns that tell rows apart: those of the key, and those by which rows are sorted.
fn identity(compact: &Compact, format: &Format) -> io::Result<Vec<String>> {
    if compact.dedup_key.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(missing) = compact.dedup_key.iter().find(|name| format.schema().index_of(name).is_err()) {
        return Err(io::Error::other(format!(
            "the table has no column `{missing}`, which the key of repeats has; compact it by itself with another key"
        )));
    }
    let mut identity = format.sort().to_vec();
    identity.extend(compact.dedup_key.iter().filter(|name| !format.sort().contains(name)).cloned());
    Ok(identity)
}

/// Adds the rows of a file. Gives how many there are.
pub(super) fn add(merge: &mut Merge, body: File) -> Result<u64, ArrowError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(body)?.with_batch_size(READ_ROWS).build()?;
    let mut read = 0;
    for rows in reader {
        let rows = rows?;
        read += rows.num_rows() as u64;
        merge.add(&rows)?;
    }
    Ok(read)
}

pub(super) fn unreadable(bucket: &Bucket, file: &Listed, error: &ArrowError) -> io::Error {
    io::Error::other(format!("cannot merge the rows of {}: {error}", bucket.catalog.url(&file.path)))
}

/// The files that are being written.
struct Outputs {
    format: Format,
    target: usize,
    current: Option<SortedFile<Spool>>,
    done: Vec<(Spool, u64)>,
}

impl Outputs {
    fn write(&mut self, rows: &arrow_array::RecordBatch) -> Result<(), ArrowError> {
        let mut file = match self.current.take() {
            Some(file) => file,
            None => SortedFile::new(&self.format, Spool::new())?,
        };
        file.write(rows)?;
        if file.size() >= self.target {
            self.done.push(file.finish()?);
        } else {
            self.current = Some(file);
        }
        Ok(())
    }

    /// Gives the files, and how many rows they have.
    fn finish(mut self) -> Result<(Vec<Spool>, u64), ArrowError> {
        if let Some(file) = self.current.take() {
            self.done.push(file.finish()?);
        }
        let rows = self.done.iter().map(|(_, rows)| rows).sum();
        Ok((self.done.into_iter().map(|(spool, _)| spool).collect(), rows))
    }
}
