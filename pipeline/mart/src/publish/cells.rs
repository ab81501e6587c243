//! The values of a partition's rows, as every server can be told them.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use datafusion::arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Field, Float32Type, Float64Type, Int32Type, Int64Type, Schema, TimeUnit,
    TimestampMillisecondType,
};
use datafusion::arrow::json::WriterBuilder;
use datafusion::arrow::json::writer::LineDelimited;
use jiff::civil::Date;
use jiff::{Span, Timestamp};
use serde_json::Value;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Null,
    Boolean(bool),
    Integer(i64),
    /// A number of 32 bits.
    Float(f32),
    Double(f64),
    Text(String),
    Date(Date),
    Time(Timestamp),
    /// A list, or fields with names.
    Nested(Value),
}

/// The rows of a batch.
pub(super) fn rows(batch: &RecordBatch) -> anyhow::Result<impl Iterator<Item = Vec<Cell>>> {
    let schema = batch.schema();
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| cells(column).with_context(|| format!("the column `{}`", field.name())));
    let mut columns =
        columns.map(|cells| Ok(cells?.into_iter())).collect::<anyhow::Result<Vec<std::vec::IntoIter<Cell>>>>()?;
    // Every column has as many values as there are rows.
    Ok((0..batch.num_rows()).map(move |_| columns.iter_mut().filter_map(Iterator::next).collect()))
}

/// The values of a column, by the types that files of the mart have.
fn cells(column: &ArrayRef) -> anyhow::Result<Vec<Cell>> {
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let column = match column.data_type() {
        DataType::Utf8View | DataType::LargeUtf8 => cast(column, &DataType::Utf8)?,
        DataType::Timestamp(..) => cast(column, &time)?,
        _ => Arc::clone(column),
    };
    let cell = |at: usize| {
        anyhow::Ok(match column.data_type() {
            DataType::Boolean => Cell::Boolean(column.as_boolean().value(at)),
            DataType::Int32 => Cell::Integer(column.as_primitive::<Int32Type>().value(at).into()),
            DataType::Int64 => Cell::Integer(column.as_primitive::<Int64Type>().value(at)),
            DataType::Float32 => Cell::Float(column.as_primitive::<Float32Type>().value(at)),
            DataType::Float64 => Cell::Double(column.as_primitive::<Float64Type>().value(at)),
            DataType::Utf8 => Cell::Text(column.as_string::<i32>().value(at).to_owned()),
            DataType::Date32 => {
                let days = column.as_primitive::<Date32Type>().value(at);
                Cell::Date(Date::constant(1970, 1, 1).checked_add(Span::new().days(days)).context("a date")?)
            }
            DataType::Timestamp(..) => {
                let millis = column.as_primitive::<TimestampMillisecondType>().value(at);
                Cell::Time(Timestamp::from_millisecond(millis).context("a time")?)
            }
            other => anyhow::bail!("no column of a model is of the type {other}"),
        })
    };
    if column.data_type().is_nested() {
        return nested(&column);
    }
    (0..column.len()).map(|at| if column.is_null(at) { Ok(Cell::Null) } else { cell(at) }).collect()
}

/// Lists and fields, as JSON.
fn nested(column: &ArrayRef) -> anyhow::Result<Vec<Cell>> {
    const NAME: &str = "v";
    let schema = Schema::new(vec![Field::new(NAME, column.data_type().clone(), true)]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::clone(column)])?;
    let mut text = Vec::new();
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut text);
    writer.write(&batch)?;
    writer.finish()?;
    drop(writer);
    let values = serde_json::Deserializer::from_slice(&text).into_iter::<Value>().map(|row| {
        Ok(match row?.get_mut(NAME).map(Value::take) {
            None | Some(Value::Null) => Cell::Null,
            Some(value) => Cell::Nested(value),
        })
    });
    let values = values.collect::<anyhow::Result<Vec<Cell>>>()?;
    ensure!(values.len() == column.len(), "{} values became {}", column.len(), values.len());
    Ok(values)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Date32Array, Float64Array, Int64Array, ListArray, StringViewArray};
    use datafusion::arrow::array::{TimestampMicrosecondArray, UInt8Array};
    use serde_json::json;

    use super::*;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
            .expect("a batch")
    }

    #[test]
    fn every_value_is_there_and_so_is_its_absence() {
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None]);
        let batch = batch(vec![
            ("id", Arc::new(Int64Array::from(vec![Some(7), None]))),
            ("name", Arc::new(StringViewArray::from(vec![Some("a long name that is no inlined one"), None]))),
            ("km", Arc::new(Float64Array::from(vec![Some(-0.5), None]))),
            ("at", Arc::new(TimestampMicrosecondArray::from(vec![Some(1_500_000), None]))),
            ("day", Arc::new(Date32Array::from(vec![Some(-1), None]))),
            ("codes", Arc::new(lists)),
        ]);
        let rows: Vec<Vec<Cell>> = rows(&batch).expect("rows").collect();
        let first = [
            Cell::Integer(7),
            Cell::Text("a long name that is no inlined one".to_owned()),
            Cell::Double(-0.5),
            Cell::Time("1970-01-01T00:00:01.5Z".parse().expect("a time")),
            Cell::Date("1969-12-31".parse().expect("a day")),
            Cell::Nested(json!([1, null])),
        ];
        assert_eq!(rows, [first.to_vec(), vec![Cell::Null; 6]]);
    }

    #[test]
    fn a_type_that_no_model_has_is_named_with_its_column() {
        let batch = batch(vec![("n", Arc::new(UInt8Array::from(vec![1])))]);
        let error = rows(&batch).err().map(|error| format!("{error:#}"));
        assert_eq!(error.as_deref(), Some("the column `n`: no column of a model is of the type UInt8"));
    }
}
