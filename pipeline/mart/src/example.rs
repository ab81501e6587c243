//! The examples of a model: rows of its sources are given to its query, without a lake, and what becomes of them is
//! compared with the rows that were worked out by hand.

use std::fmt;
use std::sync::Arc;

use anyhow::Context as _;
use datafusion::arrow::array::{Array as _, ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::compute::{CastOptions, cast_with_options, concat_batches};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::model::{Cells, DAY, Example, Model, Reads};
use crate::query;

/// The partition keys of rows that do not say theirs.
const USUAL: [(&str, &str); 2] = [(DAY, "2023-01-01"), ("hour", "00")];

/// An example of which other rows have become than were expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The name of the example.
    pub example: String,
    /// The line of the model's file in which it begins.
    pub line: usize,
    /// What was expected.
    pub expected: Cells,
    /// What has become.
    pub found: Cells,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { example, line, expected, found } = self;
        writeln!(f, "line {line}: the example `{example}` expects")?;
        for row in expected.to_string().lines() {
            writeln!(f, "    {row}")?;
        }
        writeln!(f, "  and the query gives")?;
        for row in found.to_string().lines() {
            writeln!(f, "    {row}")?;
        }
        Ok(())
    }
}

/// Runs the examples of a model. Gives those of which other rows have become.
///
/// # Errors
///
/// The query cannot be planned or run, or a cell is none of its column's type.
pub async fn examples(model: &Model) -> anyhow::Result<Vec<Mismatch>> {
    let mut mismatches = Vec::new();
    for example in &model.examples {
        let found = run(model, example).await.with_context(|| format!("line {}: `{}`", example.line, example.name))?;
        if found != example.expect {
            let expected = example.expect.clone();
            mismatches.push(Mismatch { example: example.name.clone(), line: example.line, expected, found });
        }
    }
    Ok(mismatches)
}

/// What becomes of the rows of an example: the columns that it expects. A value is written as the example has it if it
/// is the same one, where a number may have more decimals than are expected.
async fn run(model: &Model, example: &Example) -> anyhow::Result<Cells> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    for (source, reads) in &model.sources {
        let cells = example.given.get(source).cloned().unwrap_or_default();
        let rows = batch(&cells, reads).with_context(|| format!("the rows of `{source}`"))?;
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]])?;
        query::register(&context, source, reads, Arc::new(table))?;
    }
    let rows = query::rows(&context, model).await?;
    let order = [DAY].into_iter().chain(model.keys.iter().map(String::as_str));
    let rows = rows.sort(order.map(|name| query::column(name).sort(true, false)).collect())?;
    let schema = Arc::clone(rows.schema().inner());
    let rows = concat_batches(&schema, &rows.collect().await?)?;
    let mut columns = Vec::new();
    for (at, name) in example.expect.columns.iter().enumerate() {
        let expected: Vec<Option<&str>> = example.expect.rows.iter().map(|row| row[at].as_deref()).collect();
        let found = rows.column_by_name(name).with_context(|| format!("there is no column `{name}`"))?;
        columns.push(shown(found, &expected).with_context(|| format!("the column `{name}`"))?);
    }
    let row = |at: usize| columns.iter().map(|column| column[at].clone()).collect();
    Ok(Cells { columns: example.expect.columns.clone(), rows: (0..rows.num_rows()).map(row).collect() })
}

/// The rows of a source. Columns that have no cells are null.
fn batch(cells: &Cells, reads: &Reads) -> anyhow::Result<RecordBatch> {
    let keys = query::keys(reads);
    let fields = reads.columns.iter().map(|field| Field::new(&field.name, query::data_type(field), true));
    let fields: Vec<Field> = fields.chain(keys.iter().map(|key| Field::new(*key, DataType::Utf8, true))).collect();
    let column = |field: &Field| {
        let texts: StringArray = if let Some(at) = cells.columns.iter().position(|name| name == field.name()) {
            cells.rows.iter().map(|row| row[at].as_deref()).collect()
        } else {
            let usual = USUAL.iter().find(|(name, _)| keys.contains(name) && name == field.name());
            cells.rows.iter().map(|_| usual.map(|(_, value)| *value)).collect()
        };
        converted(&texts, field.data_type()).with_context(|| format!("the column `{}`", field.name()))
    };
    let columns = fields.iter().map(column).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// The values of texts.
fn converted(texts: &StringArray, data_type: &DataType) -> anyhow::Result<ArrayRef> {
    anyhow::ensure!(!data_type.is_nested(), "cells cannot be of type {data_type}");
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    Ok(cast_with_options(texts, data_type, &strict)?)
}

/// The values of a column as texts, each as it is expected if it is the same.
fn shown(found: &ArrayRef, expected: &[Option<&str>]) -> anyhow::Result<Vec<Option<String>>> {
    let values = converted(&expected.iter().copied().collect(), found.data_type())?;
    let options = FormatOptions::default();
    let (texts, wanted) = (ArrayFormatter::try_new(found, &options)?, ArrayFormatter::try_new(&values, &options)?);
    let is_float = found.data_type().is_floating();
    let text = |at: usize| {
        if found.is_null(at) {
            return None;
        }
        let text = texts.value(at).to_string();
        let expected = expected.get(at).copied().flatten();
        let is_same = expected.is_some_and(|expected| match text.parse::<f64>() {
            Ok(number) if is_float => rounded(number, expected) == expected,
            _ => wanted.value(at).to_string() == text,
        });
        Some(if is_same { expected.map_or(text, str::to_owned) } else { text })
    };
    Ok((0..found.len()).map(text).collect())
}

/// A number with as many decimals as a text has.
fn rounded(number: f64, like: &str) -> String {
    let decimals = like.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let text = format!("{number:.decimals$}");
    // Zero has no sign.
    if text.trim_start_matches('-').chars().all(|c| c == '0' || c == '.') {
        text.trim_start_matches('-').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_compared_in_as_many_decimals_as_are_written() {
        assert_eq!(rounded(1.2345, "1.23"), "1.23");
        assert_eq!(rounded(1.2345, "1"), "1");
        assert_eq!(rounded(-0.0001, "0.00"), "0.00");
        assert_eq!(rounded(-1.26, "-1.3"), "-1.3");
    }
}
