//! A partition of a model becomes a file of Parquet, whose rows pass the checks of the model. The same inputs give the
//! same bytes.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::Context as _;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::logical_expr::lit;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_writer::ArrowWriterOptions;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use fms_query::{Engine, Problem};
use futures_util::TryStreamExt as _;
use jiff::civil::Date;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::model::{DAY, Model};
use crate::query;

/// How many rows are named that a check is not true for.
const NAMED: usize = 3;

/// Rows do not pass the checks of their model: another attempt makes the same rows.
#[derive(Debug, thiserror::Error)]
#[error("the rows do not pass the checks, so the partition stays as it was: {0}")]
pub(crate) struct Refused(String);

/// The rows of a partition, in a file that is gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Output {
    pub file: NamedTempFile,
    pub rows: u64,
    /// The SHA-256 of the bytes.
    pub content: String,
}

/// Writes a file and takes the digest of its bytes.
struct Hashed {
    file: BufWriter<File>,
    hash: Sha256,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Builds the partition of a day of what is registered with an engine.
pub(crate) async fn build(engine: &Engine, model: &Model, date: Date) -> anyhow::Result<Output> {
    let file = tempfile::Builder::new().suffix(".parquet").tempfile().context("cannot create a temporary file")?;
    let out = Hashed { file: BufWriter::new(file.reopen()?), hash: Sha256::new() };
    let rows = query::rows(engine.context(), model).await?.filter(query::column(DAY).eq(lit(date.to_string())))?;
    let columns: Vec<_> = model.columns.iter().map(|column| query::column(&column.field.name)).collect();
    let keys = model.keys.iter().map(|key| query::column(key).sort(true, false)).collect();
    let mut rows = rows.select(columns)?.sort(keys)?.execute_stream().await.map_err(Problem::from)?;
    // Nothing in the file depends on the program that wrote it.
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_created_by("fms-mart".to_owned())
        .build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let schema = query::schema(model);
    let mut writer = ArrowWriter::try_new_with_options(out, schema.clone(), options)?;
    let mut count = 0;
    while let Some(batch) = rows.try_next().await.map_err(Problem::from)? {
        count += batch.num_rows() as u64;
        writer.write(&batch.with_schema(schema.clone())?).context("cannot write the rows")?;
    }
    let mut out = writer.into_inner().context("cannot write the rows")?;
    out.flush().context("cannot write the rows")?;
    let content = hex::encode(out.hash.finalize());
    check(model, file.path()).await?;
    Ok(Output { file, rows: count, content })
}

/// Refuses rows of which two have the same key, or that a check of the model is not true for.
async fn check(model: &Model, file: &Path) -> anyhow::Result<()> {
    let context = SessionContext::new();
    let path = file.to_str().context("the temporary folder has a name that is no UTF-8; set TMPDIR")?;
    context.register_parquet("result", path, ParquetReadOptions::default()).await?;
    let keys = model.keys.join(", ");
    let no_key = model.keys.iter().map(|key| format!("{key} is null")).collect::<Vec<_>>().join(" or ");
    let repeated = format!("select {keys} from result group by {keys} having count(*) > 1 or {no_key}");
    let mut checks = vec![("every key is there, and only once".to_owned(), repeated)];
    checks.extend(model.checks.iter().map(|check| {
        let sql = format!("select {keys} from result where not coalesce(({}), false)", check.sql);
        (check.name.clone(), sql)
    }));
    let mut failed = Vec::new();
    for (name, sql) in checks {
        let within = |error| anyhow::Error::from(Problem::from(error)).context(format!("the check `{name}`"));
        let wrong = context.sql(&sql).await.map_err(within)?;
        let number = wrong.clone().count().await.map_err(within)?;
        if number > 0 {
            let sample = wrong.limit(0, Some(NAMED)).map_err(within)?.collect().await.map_err(within)?;
            failed
                .push(format!("`{name}` is not true for {number} rows, such as\n{}", pretty_format_batches(&sample)?));
        }
    }
    if !failed.is_empty() {
        return Err(Refused(failed.join("\n")).into());
    }
    Ok(())
}
