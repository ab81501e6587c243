//! The forms in which a result is written: a table for people, CSV, JSON lines or Parquet.

use std::io::{self, Write};

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::arrow::json::Writer as JsonWriter;
use datafusion::arrow::json::writer::{LineDelimited, WriterBuilder as JsonBuilder};
use datafusion::arrow::util::pretty::pretty_format_batches_with_schema;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;

/// How a result is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people. All of it is in memory before it is written.
    Table,
    /// Comma-separated values with a line of names.
    Csv,
    /// An object of JSON on each line.
    Json,
    /// Parquet, compressed with zstd.
    Parquet,
}

/// Where a result goes.
pub type Out = Box<dyn Write + Send>;

/// Writes a result in a format.
pub struct Writer {
    inner: Inner,
    rows: u64,
}

enum Inner {
    Table(Out, SchemaRef, Vec<RecordBatch>),
    Csv(Box<csv::Writer<Out>>),
    Json(JsonWriter<Out, LineDelimited>),
    Parquet(Box<ArrowWriter<Out>>),
}

impl Writer {
    /// Begins a result with these columns. It is an error if the format cannot have one of them.
    pub fn new(format: Format, schema: &SchemaRef, out: Out) -> anyhow::Result<Self> {
        let inner = match format {
            Format::Table => Inner::Table(out, SchemaRef::clone(schema), Vec::new()),
            Format::Csv => {
                if let Some(field) = schema.fields().iter().find(|field| is_nested(field.data_type())) {
                    bail!(
                        "CSV cannot have the column `{}`, which is nested; select its fields, or write --format json",
                        field.name()
                    );
                }
                let mut writer = csv::WriterBuilder::new().with_header(true).build(out);
                // The names are there even if no row is.
                writer.write(&RecordBatch::new_empty(SchemaRef::clone(schema)))?;
                Inner::Csv(Box::new(writer))
            }
            Format::Json => Inner::Json(JsonBuilder::new().with_explicit_nulls(true).build(out)),
            Format::Parquet => {
                let zstd = Compression::ZSTD(ZstdLevel::try_new(3)?);
                let properties = WriterProperties::builder().set_compression(zstd).set_coerce_types(true).build();
                let writer = ArrowWriter::try_new(out, SchemaRef::clone(schema), Some(properties));
                Inner::Parquet(Box::new(writer.context("Parquet cannot have a column of the result")?))
            }
        };
        Ok(Self { inner, rows: 0 })
    }

    /// Writes some rows.
    pub fn write(&mut self, batch: RecordBatch) -> anyhow::Result<()> {
        self.rows += batch.num_rows() as u64;
        match &mut self.inner {
            Inner::Table(.., batches) => batches.push(batch),
            Inner::Csv(writer) => writer.write(&batch)?,
            Inner::Json(writer) => writer.write(&batch)?,
            Inner::Parquet(writer) => writer.write(&batch)?,
        }
        Ok(())
    }

    /// Writes what is left. Gives how many rows there were.
    pub fn finish(self) -> anyhow::Result<u64> {
        let mut out = match self.inner {
            Inner::Table(mut out, schema, batches) => {
                writeln!(out, "{}", pretty_format_batches_with_schema(schema, &batches)?)?;
                out
            }
            Inner::Csv(writer) => writer.into_inner(),
            Inner::Json(mut writer) => {
                writer.finish()?;
                writer.into_inner()
            }
            Inner::Parquet(writer) => writer.into_inner()?,
        };
        out.flush()?;
        Ok(self.rows)
    }

    /// How many rows were written.
    pub fn rows(&self) -> u64 {
        self.rows
    }
}

fn is_nested(data_type: &DataType) -> bool {
    data_type.is_nested()
}

/// Whether an error says that nobody reads the output any more, as after `| head`.
pub fn is_unread(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>();
        io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) || cause.to_string().contains("Broken pipe")
    })
}
