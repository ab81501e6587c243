//! Columns as Arrow arrays.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Float32Array, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch,
    StringArray, StructArray, TimestampMillisecondArray, UInt32Array,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Field as ArrowField, Fields, Schema, TimeUnit};

use crate::column::{Column, Values};
use crate::columns::Columns;
use crate::types::{Field, Type};

/// The zone that Arrow gives to times: their values count from the Unix epoch in UTC.
const UTC: &str = "UTC";

/// The schema of a file with these columns. Every column and field may be null.
pub fn schema(columns: &[Field]) -> Schema {
    Schema::new(fields(columns))
}

fn fields(columns: &[Field]) -> Fields {
    columns.iter().map(|field| ArrowField::new(&field.name, data_type(&field.data_type), true)).collect()
}

/// A type as Arrow has it.
pub(crate) fn data_type(data_type: &Type) -> DataType {
    match data_type {
        Type::Boolean => DataType::Boolean,
        Type::Int => DataType::Int32,
        Type::Bigint => DataType::Int64,
        Type::Float => DataType::Float32,
        Type::Double => DataType::Float64,
        Type::String => DataType::Utf8,
        Type::Date => DataType::Date32,
        Type::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, Some(UTC.into())),
        Type::Array(element) => DataType::List(Arc::new(element_field(element))),
        Type::Struct(columns) => DataType::Struct(fields(columns)),
    }
}

/// The field of an array's elements, which the Parquet specification names `element`.
fn element_field(element: &Type) -> ArrowField {
    ArrowField::new("element", data_type(element), true)
}

/// The rows of the columns in the given order, or in their own.
pub(crate) fn batch(
    schema: &Arc<Schema>,
    columns: Columns,
    order: Option<Vec<u32>>,
) -> Result<RecordBatch, ArrowError> {
    let order = order.map(UInt32Array::from);
    let arrays = columns.into_columns().map(|column| {
        let array = array(column)?;
        order.as_ref().map_or(Ok(array.clone()), |order| arrow_select::take::take(&array, order, None))
    });
    RecordBatch::try_new(Arc::clone(schema), arrays.collect::<Result<_, _>>()?)
}

fn array(column: Column) -> Result<ArrayRef, ArrowError> {
    // Without any null there is nothing to look at row by row.
    let has_nulls = column.valid.contains(&false);
    let nulls = has_nulls.then(|| NullBuffer::new(BooleanBuffer::from(column.valid)));
    Ok(match (column.values, &column.data_type) {
        (Values::Boolean(values), _) => Arc::new(BooleanArray::new(values.into(), nulls)),
        (Values::Int(values), Type::Date) => Arc::new(Date32Array::new(values.into(), nulls)),
        (Values::Int(values), _) => Arc::new(Int32Array::new(values.into(), nulls)),
        (Values::Bigint(values), Type::Timestamp) => {
            Arc::new(TimestampMillisecondArray::new(values.into(), nulls).with_timezone(UTC))
        }
        (Values::Bigint(values), _) => Arc::new(Int64Array::new(values.into(), nulls)),
        (Values::Float(values), _) => Arc::new(Float32Array::new(values.into(), nulls)),
        (Values::Double(values), _) => Arc::new(Float64Array::new(values.into(), nulls)),
        (Values::Text { ends, bytes }, _) => {
            Arc::new(StringArray::try_new(offsets(ends), Buffer::from_vec(bytes), nulls)?)
        }
        (Values::Array { ends, elements }, _) => {
            let field = Arc::new(element_field(&elements.data_type));
            Arc::new(ListArray::try_new(field, offsets(ends), array(*elements)?, nulls)?)
        }
        (Values::Struct(columns), data_type) => {
            let Type::Struct(types) = data_type else {
                return Err(ArrowError::SchemaError(format!("a struct is not {data_type}")));
            };
            let arrays = columns.into_columns().map(array).collect::<Result<_, _>>()?;
            Arc::new(StructArray::try_new(fields(types), arrays, nulls)?)
        }
    })
}

/// The ends as offsets, which begin with zero.
fn offsets(ends: Vec<i32>) -> OffsetBuffer<i32> {
    let offsets: Vec<i32> = std::iter::once(0).chain(ends).collect();
    OffsetBuffer::new(ScalarBuffer::from(offsets))
}
