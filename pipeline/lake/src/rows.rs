//! Rows as they are stored: those of raw objects as lines, and those of a lake as its readers find them.
//!
//! All of it blocks, and none of it may be called in an async context.

use std::io::{self, Read};
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type, TimestampMillisecondType};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use aws_config::SdkConfig;
use fms_aws::Retry;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::runtime::Handle;

use crate::bucket::schema::is_same;
use crate::bucket::store::Listed;
use crate::bucket::{Bucket, Raw, S3Url};
use crate::lines::{Line, each_line};

/// The value of a column in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell<'c> {
    /// The row has none, or its file has no such column.
    Missing,
    /// A whole number.
    Integer(i64),
    /// A text.
    Text(&'c str),
    /// A time in milliseconds since the Unix epoch.
    Millis(i64),
    /// A value of another type.
    Other,
}

/// Raw objects in S3, without a lake.
#[derive(Debug, Clone)]
pub struct RawObjects(crate::bucket::Reading);

impl RawObjects {
    /// Raw objects that are read with this configuration. Every call is retried by `retry`.
    pub fn new(aws: &SdkConfig, retry: Retry) -> Self {
        Self(crate::bucket::Reading::new(aws, retry))
    }

    /// Gives every line of the objects at `url` or below it. An empty line is left out, and of one that is too long the
    /// beginning is given.
    pub fn each_line(&self, url: &S3Url, handle: &Handle, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        self.each_object(url, handle, &mut |raw, bytes| {
            let read = each_line(bytes, |line| {
                let (Line::Whole(line) | Line::TooLong(line, _)) = line;
                if !line.is_empty() {
                    each(line);
                }
                Ok::<_, io::Error>(())
            });
            read.map_err(|error| io::Error::new(error.kind(), format!("cannot read {raw}: {error}")))
        })
    }

    /// Gives every object at `url` or below it, with its bytes. The first error ends it.
    pub fn each_object<E: From<io::Error>>(
        &self,
        url: &S3Url,
        handle: &Handle,
        each: &mut dyn FnMut(&Raw, &mut dyn Read) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut next = None;
        loop {
            let (raws, more) = handle.block_on(self.0.list(url, next))?;
            for raw in raws {
                let raw = Arc::new(raw);
                each(&raw, &mut self.0.open(&raw, handle.clone())?)?;
            }
            next = more;
            if next.is_none() {
                return Ok(());
            }
        }
    }
}

/// Takes a line with its number.
type EachLine<'l, E> = dyn FnMut(u64, &[u8]) -> Result<(), E> + 'l;

/// Gives every line of a file or an object with its number, counted from 1. It may be compressed with gzip or zstd. An
/// empty line is left out. A line that is too long is an error, which does not name the file.
pub fn numbered_lines<E: From<io::Error>>(object: &mut dyn Read, each: &mut EachLine<'_, E>) -> Result<(), E> {
    let mut number = 0;
    each_line(object, |line| {
        number += 1;
        match line {
            Line::Whole([]) => Ok(()),
            Line::Whole(line) => each(number, line),
            Line::TooLong(_, length) => {
                Err(io::Error::other(format!("line {number} has {length} bytes, which is no row")).into())
            }
        }
    })
}

impl Bucket {
    /// Gives the values of these columns of every row that readers of the catalog find: of the tables of the lake, in
    /// the folders to which the catalog sends readers. Rows in quarantine are not among them.
    pub fn each_row(&self, columns: &[&str], handle: &Handle, each: &mut dyn FnMut(&[Cell<'_>])) -> io::Result<()> {
        for (table, folders) in handle.block_on(self.catalog.tables(&[]))? {
            for (_, (hour, _)) in handle.block_on(self.all_hours(&table, &folders))? {
                let Some(location) = hour.location() else { continue };
                let files = hour.all_rows().filter(|file| is_same(&self.catalog.url(file.folder()), location));
                for file in files {
                    self.each_row_of(file, columns, handle, each)?;
                }
            }
        }
        Ok(())
    }

    fn each_row_of(
        &self,
        file: &Listed,
        columns: &[&str],
        handle: &Handle,
        each: &mut dyn FnMut(&[Cell<'_>]),
    ) -> io::Result<()> {
        let url = self.catalog.url(&file.path);
        let Some((body, _)) = handle.block_on(self.store.download(&file.path, &file.etag))? else {
            return Err(io::Error::other(format!("{url} was replaced while the lake was being read; read it again")));
        };
        let read = || -> Result<(), ArrowError> {
            let reader = ParquetRecordBatchReaderBuilder::try_new(body)?;
            let mask = ProjectionMask::columns(reader.parquet_schema(), columns.iter().copied());
            for rows in reader.with_projection(mask).build()? {
                each_of(&rows?, columns, each);
            }
            Ok(())
        };
        read().map_err(|error| io::Error::other(format!("cannot read the rows of {url}: {error}")))
    }
}

fn each_of(rows: &RecordBatch, columns: &[&str], each: &mut dyn FnMut(&[Cell<'_>])) {
    let arrays: Vec<Option<&dyn Array>> =
        columns.iter().map(|name| rows.column_by_name(name).map(|array| &**array)).collect();
    let mut cells = Vec::with_capacity(columns.len());
    for row in 0..rows.num_rows() {
        cells.clear();
        cells.extend(arrays.iter().map(|array| array.map_or(Cell::Missing, |array| cell(array, row))));
        each(&cells);
    }
}

fn cell(array: &dyn Array, row: usize) -> Cell<'_> {
    if array.is_null(row) {
        return Cell::Missing;
    }
    match array.data_type() {
        DataType::Int32 => Cell::Integer(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Cell::Integer(array.as_primitive::<Int64Type>().value(row)),
        DataType::Utf8 => Cell::Text(array.as_string::<i32>().value(row)),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            Cell::Millis(array.as_primitive::<TimestampMillisecondType>().value(row))
        }
        _ => Cell::Other,
    }
}
