//! One Parquet file: rows are collected up to a row group, sorted, encoded and written.

use std::io::{self, Write};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use fms_record::Row;
use jiff::tz::TimeZone;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::arrow;
use crate::columns::{Columns, Problem};
use crate::convert::{Target, Written};
use crate::rename::Renames;
use crate::table::Table;
use crate::types::{Field, Type};

/// The key in a file's metadata under which the version of the table stands by which the file was written.
pub const TABLE_VERSION: &str = "fms.table.version";

/// The most rows of a row group.
const ROW_GROUP_ROWS: usize = 65_536;

/// The most values of a row group: a row of a wide table takes memory for every column, however short its text is.
const ROW_GROUP_VALUES: usize = 8 << 20;

/// The memory that a row group of sorted rows may take while it is being written.
const ROW_GROUP_MEMORY: usize = 64 << 20;

/// What the files of a table have in common.
#[derive(Debug)]
pub(crate) struct Format {
    columns: Vec<Field>,
    /// Whether values without a column are kept in one for the rest.
    keeps_rest: bool,
    schema: Arc<Schema>,
    properties: WriterProperties,
    /// The columns by which rows are sorted within a row group.
    sort: Vec<String>,
    /// The most rows of a row group.
    row_group_rows: usize,
}

impl Format {
    /// The format of a table. Rows are sorted by those columns of `sort` that the table has as scalars.
    pub fn new(table: &Table, sort: &[String]) -> Result<Self, ParquetError> {
        let Table { columns, version, growth } = table;
        let is_scalar = |field: &&Field| !matches!(field.data_type, Type::Array(_) | Type::Struct(_));
        let has = |name: &&String| columns.iter().filter(is_scalar).any(|field| field.name == **name);
        let sort: Vec<String> = sort.iter().filter(has).cloned().collect();
        let sorting = sort.iter().filter_map(|name| leaf(columns, name)).map(|column_idx| SortingColumn {
            column_idx,
            descending: false,
            nulls_first: true,
        });
        let width: usize = columns.iter().map(|field| leaves(&field.data_type)).sum();
        let row_group_rows = (ROW_GROUP_VALUES / width.max(1)).clamp(1, ROW_GROUP_ROWS);
        let mut properties = WriterProperties::builder()
            .set_created_by("fms-lake".to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
            .set_max_row_group_row_count(Some(row_group_rows))
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_sorting_columns(Some(sorting.collect()))
            .set_key_value_metadata(Some(vec![KeyValue::new(TABLE_VERSION.to_owned(), version.clone())]));
        for path in doubles(columns) {
            // Measured values are mostly distinct: a dictionary of them costs time and makes the file larger.
            properties = properties.set_column_dictionary_enabled(path, false);
        }
        Ok(Self {
            columns: columns.clone(),
            keeps_rest: !growth.is_open(),
            schema: Arc::new(arrow::schema(columns)),
            properties: properties.build(),
            sort,
            row_group_rows,
        })
    }
}

/// The place of a top-level scalar among the leaves of a schema.
fn leaf(columns: &[Field], name: &str) -> Option<i32> {
    let before =
        columns.iter().take_while(|field| field.name != name).map(|field| leaves(&field.data_type)).sum::<usize>();
    i32::try_from(before).ok()
}

fn leaves(data_type: &Type) -> usize {
    match data_type {
        Type::Array(element) => leaves(element),
        Type::Struct(fields) => fields.iter().map(|field| leaves(&field.data_type)).sum(),
        _ => 1,
    }
}

/// The paths of the top-level columns of floating-point numbers.
fn doubles(columns: &[Field]) -> impl Iterator<Item = ColumnPath> {
    let is_double = |field: &&Field| matches!(field.data_type, Type::Double | Type::Float);
    columns.iter().filter(is_double).map(|field| ColumnPath::new(vec![field.name.clone()]))
}

impl Format {
    /// The schema of the files.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The columns by which rows are sorted.
    pub fn sort(&self) -> &[String] {
        &self.sort
    }
}

/// A file of rows that come in their order, and that is being written.
pub(crate) struct SortedFile<W: Write + Send> {
    writer: ArrowWriter<W>,
    rows: u64,
}

impl<W: Write + Send> SortedFile<W> {
    /// A file that is written to `out`.
    pub fn new(format: &Format, out: W) -> Result<Self, ParquetError> {
        let writer = ArrowWriter::try_new(out, Arc::clone(&format.schema), Some(format.properties.clone()))?;
        Ok(Self { writer, rows: 0 })
    }

    /// Writes the next rows. A row group ends when it has as many rows, or takes as much memory, as one may.
    pub fn write(&mut self, rows: &RecordBatch) -> Result<(), ParquetError> {
        self.rows += rows.num_rows() as u64;
        self.writer.write(rows)?;
        if self.writer.memory_size() > ROW_GROUP_MEMORY { self.writer.flush() } else { Ok(()) }
    }

    /// How large the file is so far, about.
    pub fn size(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    /// Writes the footer. Gives the output and the number of rows.
    pub fn finish(self) -> Result<(W, u64), ParquetError> {
        Ok((self.writer.into_inner()?, self.rows))
    }
}

/// A file that is being written.
pub(crate) struct File<W: Write + Send> {
    format: Arc<Format>,
    /// The rows of the row group that is being collected.
    columns: Columns,
    /// Rows in row groups that are written.
    written: usize,
    /// Rows of which something is in the column for the rest.
    with_rest: usize,
    renames: Renames,
    writer: ArrowWriter<Counted<W>>,
}

/// An output, and how many bytes were written to it.
struct Counted<W> {
    out: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W: Write + Send> File<W> {
    /// A file that is written to `out`.
    pub fn new(format: Arc<Format>, out: W) -> Result<Self, ParquetError> {
        let out = Counted { out, bytes: 0 };
        let writer = ArrowWriter::try_new(out, Arc::clone(&format.schema), Some(format.properties.clone()))?;
        let columns = Columns::new(&format.columns, format.keeps_rest);
        Ok(Self { columns, written: 0, with_rest: 0, renames: Renames::default(), writer, format })
    }

    /// Collects a row. Nothing of it remains if there is a problem with it.
    pub fn push(&mut self, row: &Row<'_>, zone: &TimeZone) -> Result<(), Problem> {
        let rows = self.columns.rows();
        let has_rest = self.columns.push_row(row, zone).inspect_err(|_| self.columns.truncate(rows))?;
        self.with_rest += usize::from(has_rest);
        Ok(())
    }

    /// Whether the row group is full.
    pub fn is_full(&self) -> bool {
        self.columns.rows() >= self.format.row_group_rows
    }

    /// Sorts and writes the rows that are collected as a row group.
    pub fn flush(&mut self) -> Result<(), ParquetError> {
        if self.columns.rows() == 0 {
            return Ok(());
        }
        let columns = self.columns.take();
        self.written += columns.rows();
        columns.add_renames("", &mut self.renames);
        let sort: Vec<&str> = self.format.sort.iter().map(String::as_str).collect();
        let order = columns.order(&sort);
        self.writer.write(&arrow::batch(&self.format.schema, columns, order)?)?;
        self.writer.flush()
    }

    /// Writes what is left to write and the footer, and adds the fields that have other names as columns to `renames`.
    pub fn finish(mut self, target: Target, renames: &mut Renames) -> Result<Written<W>, ParquetError> {
        self.flush()?;
        renames.extend(std::mem::take(&mut self.renames));
        let (rows, with_rest) = (self.written, self.with_rest);
        let Counted { out, bytes } = self.writer.into_inner()?;
        Ok(Written { target, out, rows, with_rest, parquet_bytes: bytes })
    }
}
