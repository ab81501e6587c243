//! The schema of a table: the columns of its files, and the partition keys behind them.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::datasource::table_schema::TableSchema;

use crate::source::Definition;

/// The column with the file of a row, by the name that Athena and Redshift have for it. A table has it in queries that
/// name it; there, it is also part of `*`.
pub(crate) const FILE: &str = "$path";

/// The schema of a table. Texts are views, which engines copy less; the reader makes them of what the files have.
pub(crate) fn of(table: &Definition, has_file: bool) -> TableSchema {
    let files = fms_lake::schema(&table.columns);
    let column = |field: &FieldRef| match field.data_type() {
        DataType::Utf8 => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View)),
        _ => Arc::clone(field),
    };
    let files = Schema::new(files.fields().iter().map(column).collect::<Vec<_>>());
    let file = has_file.then(|| Arc::new(Field::new(FILE, DataType::Utf8, false)));
    let by_file: Vec<FieldRef> = keys(table).into_iter().chain(file).collect();
    TableSchema::builder(Arc::new(files)).with_table_partition_cols(by_file).build()
}

/// The partition keys as columns.
pub(crate) fn keys(table: &Definition) -> Vec<FieldRef> {
    table.keys.iter().map(|key| Arc::new(Field::new(key, DataType::Utf8, false))).collect()
}
