//! The query of a model over tables that are given to it. Its columns are those that the model promises, by their
//! types.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::{Expr, cast, lit, try_cast};
use datafusion::prelude::SessionContext;
use fms_lake::{Field, PARTITION_KEYS};
use fms_query::Problem;

use crate::model::{DAY, Model, Reads};

/// The partition keys of a source.
pub(crate) fn keys(reads: &Reads) -> &'static [&'static str] {
    const LAKE: &[&str] = &PARTITION_KEYS;
    if reads.is_model { &[DAY] } else { LAKE }
}

/// Gives a session the columns that a model reads of a source, by the name of the source. A column that the table does
/// not have is null, and so is a text that is not of the type that is read.
pub(crate) fn register(
    context: &SessionContext,
    source: &str,
    reads: &Reads,
    table: Arc<dyn TableProvider>,
) -> Result<(), Problem> {
    let schema = table.schema();
    let columns = reads.columns.iter().map(|field| {
        let wanted = data_type(field);
        let Ok(found) = schema.field_with_name(&field.name) else {
            return Ok(null(&wanted)?.alias(&field.name));
        };
        read(&field.name, found.data_type(), &wanted).ok_or_else(|| {
            let (name, found) = (&field.name, shown(found.data_type()));
            Problem::new(format!(
                "the column `{name}` of `{source}` is {found}, and the model reads it as {}; correct the type in \
                 `columns`, and convert it in the query",
                field.data_type
            ))
        })
    });
    let keys = keys(reads).iter().map(|key| Ok(column(key)));
    let columns = columns.chain(keys).collect::<Result<Vec<Expr>, Problem>>()?;
    let view = context.read_table(table)?.select(columns)?.into_view();
    context.register_table(source, view)?;
    Ok(())
}

/// The rows of the query, of all days: the columns of the model, and the day.
pub(crate) async fn rows(context: &SessionContext, model: &Model) -> Result<DataFrame, Problem> {
    planned(context, model).await.map_err(|problem| problem.from_line(model.line))
}

async fn planned(context: &SessionContext, model: &Model) -> Result<DataFrame, Problem> {
    let state = context.state();
    let dialect = state.config_options().sql_parser.dialect;
    let statement = state.sql_to_statement(&model.sql, &dialect)?;
    let named = state.resolve_table_references(&statement)?;
    let named: BTreeSet<&str> = named.iter().map(datafusion::common::TableReference::table).collect();
    if let Some(unknown) = named.iter().find(|name| !model.sources.contains_key(**name)) {
        return Err(Problem::new(format!("the query reads `{unknown}`, which is not among the model's sources")));
    }
    if let Some(idle) = model.sources.keys().find(|source| !named.contains(source.as_str())) {
        return Err(Problem::new(format!("the query does not read `{idle}`, which is among the model's sources")));
    }
    let rows = context.sql_with_options(&model.sql, only_reads()).await?;
    let schema = rows.schema().as_arrow().clone();
    let promised = model.columns.iter().map(|column| &column.field);
    let mut columns = Vec::new();
    for field in promised {
        let Ok(found) = schema.field_with_name(&field.name) else {
            return Err(Problem::new(format!("the query gives no column `{}`, which the model promises", field.name)));
        };
        let expr = typed(&field.name, found.data_type(), &data_type(field)).ok_or_else(|| {
            let (name, found) = (&field.name, shown(found.data_type()));
            Problem::new(format!(
                "the query gives the column `{name}` as {found}, and the model promises {}; convert it in the query",
                field.data_type
            ))
        });
        columns.push(expr?);
    }
    let day = schema.field_with_name(DAY).ok().filter(|field| is_text(field.data_type()));
    if day.is_none() {
        return Err(Problem::new(format!("the query gives no text `{DAY}`, the day to which a row belongs")));
    }
    columns.push(cast(column(DAY), DataType::Utf8).alias(DAY));
    let is_promised = |name: &str| name == DAY || model.columns.iter().any(|column| column.field.name == name);
    if let Some(more) = schema.fields().iter().find(|field| !is_promised(field.name())) {
        return Err(Problem::new(format!("the query gives a column `{}`, which is not among `columns`", more.name())));
    }
    Ok(rows.select(columns)?)
}

/// A name as it is written, without regard to case or dots.
pub(crate) fn column(name: &str) -> Expr {
    Expr::Column(datafusion::common::Column::new_unqualified(name))
}

/// The type of a field as files have it.
pub(crate) fn data_type(field: &Field) -> DataType {
    fms_lake::schema(std::slice::from_ref(field)).field(0).data_type().clone()
}

/// The schema of the files of a model.
pub(crate) fn schema(model: &Model) -> SchemaRef {
    Arc::new(fms_lake::schema(&model.fields()))
}

fn null(data_type: &DataType) -> Result<Expr, Problem> {
    Ok(lit(ScalarValue::try_from(data_type)?))
}

/// A column of a source as the type that a model reads; `None` if it cannot be. What a column of the lake is depends on
/// what vehicles sent first: one text among numbers makes it a column of texts, of which the others are numbers still.
fn read(name: &str, found: &DataType, wanted: &DataType) -> Option<Expr> {
    let is_flat = !found.is_nested() && !wanted.is_nested();
    if is_text(found) && !is_text(wanted) && is_flat {
        return Some(try_cast(column(name), wanted.clone()).alias(name));
    }
    if is_text(wanted) && is_flat {
        return Some(cast(column(name), DataType::Utf8).alias(name));
    }
    typed(name, found, wanted)
}

/// A type as people write it in models.
fn shown(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Float32 => "float".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        text if is_text(text) => "string".to_owned(),
        other => other.to_string(),
    }
}

/// A column as the type that is wanted; `None` if something could be lost.
fn typed(name: &str, found: &DataType, wanted: &DataType) -> Option<Expr> {
    use DataType::{Float32, Float64, Int8, Int16, Int32, Int64, Timestamp, UInt8, UInt16, UInt32, UInt64, Utf8};
    if found == wanted {
        return Some(column(name));
    }
    let is_wider = match wanted {
        Utf8 => is_text(found),
        Int32 => matches!(found, Int8 | Int16 | UInt8 | UInt16),
        // Counts and row numbers are never so large that they do not fit.
        Int64 => matches!(found, Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32 | UInt64),
        Float64 => matches!(found, Float32 | Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32),
        Timestamp(..) => matches!(found, Timestamp(_, Some(_))),
        wanted => *found == DataType::Null || (wanted.is_nested() && wanted.equals_datatype(found)),
    };
    (is_wider || *found == DataType::Null).then(|| cast(column(name), wanted.clone()).alias(name))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8)
}

fn only_reads() -> datafusion::prelude::SQLOptions {
    datafusion::prelude::SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}
