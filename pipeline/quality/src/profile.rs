//! A suite proposed by what the data looks like: what was never missing, between which values, one of which few texts.
//! It says what is, not what has to be; people go through it before it is used.

use anyhow::{Context as _, ensure};
use datafusion::arrow::array::{ArrayRef, AsArray as _, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type};
use fms_lake::Type;
use fms_query::{Lake, Planned, Size};
use futures_util::TryStreamExt as _;
use serde_norway::Value;

use crate::column::{Path, identifier};
use crate::statement::{DAY, Days};
use crate::written::{WrittenCheck, WrittenSuite, map, texts};

/// A text of which there are more values is not one of a list.
const FEW: i64 = 20;
/// A range is proposed this share wider than what was seen, for tomorrow has other values.
const WIDER: f64 = 0.1;
/// Columns that each row of the lake has, and nobody has to be told about.
const KEYS: [&str; 2] = [DAY, "hour"];

/// A column, or a field of one.
struct Column {
    path: Path,
    shape: Shape,
}

/// What there is to say of the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Whole,
    Number,
    Text,
    Time,
    Other,
}

impl Column {
    fn is_number(&self) -> bool {
        matches!(self.shape, Shape::Whole | Shape::Number)
    }
}

/// Proposes a suite for a table by its rows on these days.
///
/// # Errors
///
/// There is no such table, it has no rows on these days, or it cannot be read.
pub(crate) async fn propose(
    lake: &Lake,
    (table, owner): (&str, &str),
    days: Days,
    memory: Option<Size>,
) -> anyhow::Result<WrittenSuite> {
    let definition = lake.table(table).await?.with_context(|| format!("there is no table `{table}`"))?;
    let mut columns = Vec::new();
    for field in &definition.columns {
        match &field.data_type {
            Type::Struct(fields) => {
                let inner = fields
                    .iter()
                    .filter_map(|inner| column(&format!("{}.{}", field.name, inner.name), &inner.data_type));
                columns.extend(inner);
            }
            data_type => columns.extend(column(&field.name, data_type)),
        }
    }
    let source = if definition.keys.iter().any(|key| key == DAY) {
        format!("{} where {DAY} between '{}' and '{}'", identifier(table), days.from, days.to)
    } else {
        identifier(table)
    };
    let one = |sql: String| async move {
        let planned = Planned::new(lake, &days.query(&sql, memory)).await?;
        let batches: Vec<RecordBatch> = planned.start()?.try_collect().await?;
        anyhow::Ok(batches.into_iter().filter(|batch| batch.num_rows() > 0).collect::<Vec<_>>())
    };
    let mut counts = vec!["count(*) as n".to_owned(), "count(*) as days".to_owned()];
    if definition.keys.iter().any(|key| key == DAY) {
        counts[1] = format!("count(distinct {DAY}) as days");
    }
    for (at, column) in columns.iter().enumerate() {
        let sql = column.path.sql();
        counts.push(format!("count({sql}) as there_{at}"));
        if column.is_number() {
            counts.push(format!("cast(min({sql}) as double) as least_{at}, cast(max({sql}) as double) as most_{at}"));
        }
        if column.shape == Shape::Text {
            counts.push(format!("approx_distinct({sql}) as distinct_{at}"));
        }
    }
    let counted = one(format!("select {} from {source}", counts.join(", "))).await?;
    let counted = counted.first().with_context(|| format!("`{table}` gave no counts"))?;
    let rows = whole(counted, "n")?;
    ensure!(rows > 0, "`{table}` has no rows from {} to {}; name days with --from and --to", days.from, days.to);
    let per_day = rows / whole(counted, "days")?.max(1);
    let mut checks = vec![row_count(per_day)];
    let mut always = Vec::new();
    for (at, column) in columns.iter().enumerate() {
        let there = whole(counted, &format!("there_{at}"))?;
        if there == rows {
            always.push(column.path.to_string());
        }
        // A vehicle's number is a name.
        if column.is_number() && there > 0 && column.path.to_string() != "id" {
            let bound = |name: &str| number(counted, &format!("{name}_{at}"));
            checks.push(range(column, bound("least")?, bound("most")?));
        }
        if column.shape == Shape::Text && (1..=FEW).contains(&whole(counted, &format!("distinct_{at}"))?) {
            let sql = column.path.sql();
            let values = one(format!("select distinct {sql} as value from {source}")).await?;
            let mut values =
                values.iter().map(|batch| strings(batch.column(0))).collect::<Result<Vec<_>, _>>()?.concat();
            values.sort_unstable();
            // As many texts as rows are names and not kinds.
            let known = i64::try_from(values.len()).unwrap_or(i64::MAX);
            if known <= FEW && known * 2 <= there {
                let arguments = map([
                    ("column", column.path.to_string().into()),
                    ("values", texts(values.iter().map(String::as_str))),
                ]);
                checks.push(WrittenCheck::new(
                    format!("{} is one of the known ones", column.path),
                    "accepted",
                    arguments,
                ));
            }
        }
    }
    if !always.is_empty() {
        let arguments = map([("columns", texts(always.iter().map(String::as_str)))]);
        checks.insert(1, WrittenCheck::new("what was never missing is there", "not_null", arguments));
    }
    if columns.iter().any(|column| column.shape == Shape::Time && column.path.to_string() == "timestamp_iso") {
        checks.push(WrittenCheck::new("the newest row is of today", "freshness", map([("max_age", "26h".into())])));
    }
    let named = |names: [&str; 2]| names.iter().all(|name| definition.columns.iter().any(|field| field.name == *name));
    if named(["message_id", "seq"]) {
        let repeats = "select coalesce(sum(n - 1), 0) as n from (select count(*) as n from";
        let sql = format!("{repeats} {source} group by message_id, seq having count(*) > 1)");
        let repeated = one(sql).await?.first().map(|batch| whole(batch, "n")).transpose()?.unwrap_or(0);
        let mut check =
            WrittenCheck::new("a row is stored once", "unique", map([("columns", texts(["message_id", "seq"]))]));
        check.description = format!("{repeated} of {rows} rows were there again.");
        check.more.push(("warn", 1.into()));
        checks.push(check);
    }
    let types =
        definition.columns.iter().map(|field| (Value::from(field.name.as_str()), field.data_type.to_string().into()));
    checks.push(WrittenCheck::new("the columns are those of before", "schema", Value::Mapping(types.collect())));
    let description = format!("Proposed by {rows} rows from {} to {}.", days.from, days.to);
    Ok(WrittenSuite { table: table.to_owned(), owner: owner.to_owned(), description, checks, left: Vec::new() })
}

/// A column that can be looked at; none if it is a list or a key.
fn column(path: &str, data_type: &Type) -> Option<Column> {
    if KEYS.contains(&path) {
        return None;
    }
    let shape = match data_type {
        Type::Int | Type::Bigint => Shape::Whole,
        Type::Float | Type::Double => Shape::Number,
        Type::String => Shape::Text,
        Type::Timestamp => Shape::Time,
        Type::Boolean | Type::Date => Shape::Other,
        Type::Array(_) | Type::Struct(_) => return None,
    };
    Some(Column { path: path.parse().ok()?, shape })
}

/// At least half of the rows of a day.
fn row_count(per_day: i64) -> WrittenCheck {
    let mut check = WrittenCheck::new(
        "there are about as many rows as before",
        "row_count",
        map([("min", (per_day / 2).max(1).into())]),
    );
    check.description = format!("A day had {per_day} rows.");
    check.more.push(("severity", "warning".into()));
    check
}

/// A range around what was seen. What was never negative stays so.
fn range(column: &Column, least: f64, most: f64) -> WrittenCheck {
    let wider = (most - least) * WIDER;
    let low = if least >= 0.0 { (least - wider).max(0.0) } else { least - wider };
    let [low, high] = if column.shape == Shape::Whole {
        #[expect(clippy::cast_possible_truncation, reason = "a bound beyond 2^63 is as good at it")]
        let bounds = [low.floor() as i64, (most + wider).ceil() as i64];
        bounds.map(Value::from)
    } else {
        [low, most + wider].map(|bound| (bound * 1000.0).round() / 1000.0).map(Value::from)
    };
    let arguments = map([("column", column.path.to_string().into()), ("min", low), ("max", high)]);
    let mut check = WrittenCheck::new(format!("{} is as it was", column.path), "range", arguments);
    check.description = format!("It was from {least} to {most}.");
    check
}

fn whole(batch: &RecordBatch, name: &str) -> anyhow::Result<i64> {
    let column = batch.column_by_name(name).with_context(|| format!("`{name}` was not counted"))?;
    Ok(cast(column, &DataType::Int64)?.as_primitive::<Int64Type>().value(0))
}

fn number(batch: &RecordBatch, name: &str) -> anyhow::Result<f64> {
    let column = batch.column_by_name(name).with_context(|| format!("`{name}` was not counted"))?;
    Ok(column.as_primitive::<Float64Type>().value(0))
}

fn strings(column: &ArrayRef) -> anyhow::Result<Vec<String>> {
    let column = cast(column, &DataType::Utf8)?;
    Ok(column.as_string::<i32>().iter().flatten().map(str::to_owned).collect())
}
