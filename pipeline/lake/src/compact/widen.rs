//! The rows of an older file as rows of the table's current columns: columns and fields that it lacks are null, and a
//! column that had another type gets the present one if no value is changed by that.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array, ArrayRef, ListArray, RecordBatch, StructArray, new_null_array};
use arrow_schema::{ArrowError, DataType, Fields, Schema};

use super::cast::cast;

/// Gives the rows the columns of `schema`. A column whose values that would lose is an error, and so is one that is not
/// there.
pub(super) fn widen(rows: &RecordBatch, schema: &Arc<Schema>) -> Result<RecordBatch, ArrowError> {
    if rows.schema_ref() == schema {
        return Ok(rows.clone());
    }
    let found = rows.schema();
    let arrays = widen_fields(found.fields(), rows.columns(), schema.fields(), rows.num_rows(), "")?;
    RecordBatch::try_new(Arc::clone(schema), arrays)
}

fn widen_fields(
    found: &Fields,
    arrays: &[ArrayRef],
    wanted: &Fields,
    rows: usize,
    within: &str,
) -> Result<Vec<ArrayRef>, ArrowError> {
    let path = |name: &str| if within.is_empty() { name.to_owned() } else { format!("{within}.{name}") };
    if let Some(unknown) = found.iter().find(|field| wanted.find(field.name()).is_none()) {
        let path = path(unknown.name());
        return Err(ArrowError::SchemaError(format!("the file has a column `{path}`, which the table lacks")));
    }
    let widened = wanted.iter().map(|field| match found.find(field.name()) {
        Some((at, _)) => widen_array(&arrays[at], field.data_type(), &path(field.name())),
        None => Ok(new_null_array(field.data_type(), rows)),
    });
    widened.collect()
}

fn widen_array(array: &ArrayRef, wanted: &DataType, path: &str) -> Result<ArrayRef, ArrowError> {
    match (array.data_type(), wanted) {
        (found, wanted) if found == wanted => Ok(Arc::clone(array)),
        (DataType::List(_), DataType::List(element)) => {
            let list = array.as_list::<i32>();
            let values = widen_array(list.values(), element.data_type(), &format!("{path}[]"))?;
            let nulls = list.nulls().cloned();
            Ok(Arc::new(ListArray::try_new(Arc::clone(element), list.offsets().clone(), values, nulls)?))
        }
        (DataType::Struct(found), DataType::Struct(wanted)) => {
            let object = array.as_struct();
            let fields = widen_fields(found, object.columns(), wanted, object.len(), path)?;
            Ok(Arc::new(StructArray::try_new_with_length(
                wanted.clone(),
                fields,
                object.nulls().cloned(),
                object.len(),
            )?))
        }
        (found, wanted) => {
            let is_top = !path.contains(['.', '[']);
            let cast = if is_top { cast(array, wanted, path)? } else { None };
            cast.ok_or_else(|| {
                ArrowError::SchemaError(format!(
                    "column `{path}` is {found} in the file and {wanted} in the table; correct the table's type"
                ))
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::Int64Array;
    use arrow_array::types::Int64Type;

    use super::*;
    use crate::arrow::schema;
    use crate::types::Type;

    fn of(columns: &str) -> Arc<Schema> {
        let Ok(Type::Struct(columns)) = format!("struct<{columns}>").parse() else { panic!("{columns}") };
        Arc::new(schema(&columns))
    }

    /// A row of which every column is null but `a`, which is 7.
    fn row(columns: &str) -> RecordBatch {
        let schema = of(columns);
        let arrays = schema.fields().iter().map(|field| match field.name().as_str() {
            "a" => Arc::new(Int64Array::from(vec![7])),
            _ => new_null_array(field.data_type(), 1),
        });
        RecordBatch::try_new(Arc::clone(&schema), arrays.collect()).expect("a row")
    }

    #[test]
    fn columns_and_fields_that_are_missing_are_null_and_the_others_stay() {
        let wanted = of("b:string,a:bigint,s:struct<x:int,y:double>,l:array<struct<z:date,w:array<int>>>");
        let widened = widen(&row("a:bigint,s:struct<x:int>,l:array<struct<z:date>>"), &wanted).expect("widened");
        assert_eq!(widened.schema(), wanted);
        assert_eq!(widened.column(1).as_primitive::<Int64Type>().value(0), 7);
        assert!([0, 2, 3].iter().all(|&column| widened.column(column).is_null(0)));
    }

    #[test]
    fn a_value_that_would_be_lost_is_an_error_that_names_its_column() {
        let error = |found: &str, wanted: &str| widen(&row(found), &of(wanted)).expect_err("an error").to_string();
        assert!(error("a:bigint,s:struct<x:int>", "a:bigint,s:struct<y:int>").contains("`s.x`"));
        assert!(error("l:array<bigint>", "l:array<string>").contains("`l[]` is Int64"));
    }
}
