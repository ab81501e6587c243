//! The queries of checks are run, and each check gets a verdict.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, ensure};
use datafusion::arrow::array::{Array as _, AsArray as _, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::arrow::row::{RowConverter, SortField};
use fms_query::{Lake, Planned, Query, Size};
use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use jiff::civil::Date;
use sha2::{Digest as _, Sha256};

use crate::check::{Check, Suite};
use crate::column::{Path, identifier};
use crate::history::Digests;
use crate::items::{Compared, Items};
use crate::kind::{InDynamoDb, Kind};
use crate::statement::{self, Place, Statement};
use crate::verdict::{Counted, Run, Verdict};

pub use crate::statement::Days;

/// How many bytes of a digest are kept.
const DIGEST: usize = 8;

/// Runs these checks of a suite, given by their places in it. A check that cannot run gets a verdict that says so, and
/// keeps no other from running. `earlier` is what stable queries gave the last time; `None` if nobody keeps it. `items` is
/// needed by checks that look into `DynamoDB`.
pub(crate) async fn check(
    lake: &Lake,
    suite: &Suite,
    chosen: &[usize],
    (days, now): (Days, Timestamp),
    memory: Option<Size>,
    earlier: Option<&Digests>,
    items: Option<&Items>,
) -> Vec<Verdict> {
    let engine = Engine { lake, memory };
    let run = Run { days, now };
    let (tables, types) = match engine.tables(suite).await {
        Ok(found) => found,
        Err(error) => {
            let problem = format!("{error:#}");
            return chosen.iter().map(|&index| Verdict::error(suite, &suite.checks[index], &problem, run)).collect();
        }
    };
    let place = Place { tables: &tables, days, now };
    let mut found: BTreeMap<usize, anyhow::Result<Counted>> = BTreeMap::new();
    for statement in statement::statements(suite, chosen, &place) {
        match engine.count(&statement, days).await {
            Ok(counted) => found.extend(counted.into_iter().map(|(index, counted)| (index, Ok(counted)))),
            // One of the checks is wrong: each runs alone, so that it is found and the others have their verdicts.
            Err(_) if statement.checks.len() > 1 => {
                for &index in &statement.checks {
                    let alone = statement::statements(suite, &[index], &place);
                    for statement in alone {
                        let counted = engine.count(&statement, days).await;
                        found.insert(index, counted.map(|counted| counted.get(&index).copied().unwrap_or_default()));
                    }
                }
            }
            Err(error) => found.extend(statement.checks.first().map(|&index| (index, Err(error)))),
        }
    }
    let mut compared = BTreeMap::new();
    for &index in chosen {
        let check = &suite.checks[index];
        if let Kind::InDynamoDb(of) = &check.kind {
            let verdict = match engine.items(suite, check, of, &place, items).await {
                Ok(found) => in_dynamodb(suite, check, &found, run),
                Err(error) => Verdict::error(suite, check, &format!("{error:#}"), run),
            };
            compared.insert(index, verdict);
        }
        let Kind::Stable(sql) = &check.kind else { continue };
        let sql = statement::bare(sql);
        let verdict = match (engine.digest(sql, days).await, earlier) {
            (Ok(found), Some(earlier)) => stable(suite, check, sql, found, earlier, run),
            (Ok(_), None) => {
                let problem = "nobody keeps what the query gives; name the history: --history PLACE";
                Verdict::error(suite, check, problem, run)
            }
            (Err(error), _) => Verdict::error(suite, check, &format!("{error:#}"), run),
        };
        compared.insert(index, verdict);
    }
    let verdict = |&index: &usize| {
        let check = &suite.checks[index];
        if let Some(verdict) = compared.remove(&index) {
            return verdict;
        }
        if let Kind::Schema(expected) = &check.kind {
            return schema(suite, check, expected, &types, run);
        }
        match found.remove(&index) {
            Some(Ok(counted)) => Verdict::new(suite, check, counted, statement::bad_rows(suite, check, &place), run),
            Some(Err(error)) => Verdict::error(suite, check, &format!("{error:#}"), run),
            None => Verdict::error(suite, check, "no query was made for it", run),
        }
    };
    chosen.iter().map(verdict).collect()
}

/// The query of the rows that a check finds bad. None if it has no rows to show.
///
/// # Errors
///
/// A table cannot be read.
pub(crate) async fn bad_rows(
    lake: &Lake,
    suite: &Suite,
    index: usize,
    (days, now): (Days, Timestamp),
) -> anyhow::Result<Option<String>> {
    let (tables, _) = Engine { lake, memory: None }.tables(suite).await?;
    Ok(statement::bad_rows(suite, &suite.checks[index], &Place { tables: &tables, days, now }))
}

/// The columns of a table, with the names of their types.
type Types = BTreeMap<String, String>;

fn schema(suite: &Suite, check: &Check, expected: &Types, found: &Types, run: Run) -> Verdict {
    let differing: Vec<String> = expected
        .iter()
        .filter(|(name, data_type)| found.get(*name) != Some(*data_type))
        .map(|(name, data_type)| match found.get(name) {
            Some(found) => format!("{name} is {found} and not {data_type}"),
            None => format!("{name} is missing"),
        })
        .collect();
    let counted = Counted { total: expected.len() as u64, bad: differing.len() as u64, newest: None };
    let mut verdict = Verdict::new(suite, check, counted, None, run);
    if !differing.is_empty() {
        verdict.observed = differing.join(", ");
    }
    verdict
}

/// Whether rows and items have the same keys, which are named unless they are masked.
fn in_dynamodb(suite: &Suite, check: &Check, found: &Compared, run: Run) -> Verdict {
    let counted = Counted { total: found.total, bad: found.bad(), newest: None };
    let names: BTreeSet<String> = suite.mask.iter().map(|name| name.to_lowercase()).collect();
    let paths = check.kind.paths().into_iter().chain([&suite.time]);
    let is_masked = paths.flat_map(Path::steps).any(|name| names.contains(&name.to_lowercase()));
    Verdict { observed: found.observed(!is_masked), ..Verdict::new(suite, check, counted, None, run) }
}

/// Whether a query has given the rows that it gave the last time, for the same days.
fn stable(
    suite: &Suite,
    check: &Check,
    sql: &str,
    (rows, digest): (u64, String),
    earlier: &Digests,
    run: Run,
) -> Verdict {
    let Run { days, .. } = run;
    let key = (suite.table.clone(), check.name.clone(), days.from.to_string(), days.to.to_string());
    let is_other = earlier.get(&key).is_some_and(|earlier| *earlier != digest);
    let counted = Counted { total: rows, bad: is_other.into(), newest: None };
    Verdict { digest: Some(digest), ..Verdict::new(suite, check, counted, Some(sql.to_owned()), run) }
}

struct Engine<'a> {
    lake: &'a Lake,
    memory: Option<Size>,
}

impl Engine<'_> {
    /// The columns of all tables that a suite names, and the types of its own.
    async fn tables(&self, suite: &Suite) -> anyhow::Result<(BTreeMap<String, Vec<String>>, Types)> {
        let mut tables = BTreeMap::new();
        let mut types = Types::new();
        for table in statement::other_tables(suite).chain([suite.table.as_str()]) {
            let query = Query { sql: format!("select * from {} limit 0", identifier(table)), ..Query::default() };
            // A check that names another table which is not there is found when it runs.
            let planned = match Planned::new(self.lake, &query).await {
                Ok(planned) => planned,
                Err(_) if table != suite.table => continue,
                Err(error) => return Err(error.into()),
            };
            let schema = planned.schema();
            tables.insert(table.to_owned(), schema.fields().iter().map(|field| field.name().clone()).collect());
            if table == suite.table {
                let named = |field: &std::sync::Arc<datafusion::arrow::datatypes::Field>| {
                    (field.name().clone(), name(field.data_type()))
                };
                types = schema.fields().iter().map(named).collect();
            }
        }
        Ok((tables, types))
    }

    /// How many rows a query gives, and a digest of them, in whatever order they come.
    async fn digest(&self, sql: &str, days: Days) -> anyhow::Result<(u64, String)> {
        let planned = Planned::new(self.lake, &days.query(sql, self.memory)).await?;
        let schema = planned.schema();
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        let converter = RowConverter::new(fields)?;
        let (mut rows, mut sum) = (0_u64, 0_u128);
        let mut batches = planned.start()?;
        while let Some(batch) = batches.try_next().await.context("the query failed")? {
            for row in &converter.convert_columns(batch.columns())? {
                let hash = Sha256::digest(row.as_ref());
                let mut half = [0; 16];
                half.copy_from_slice(&hash[..16]);
                // A row that is there twice counts twice.
                sum = sum.wrapping_add(u128::from_be_bytes(half));
                rows += 1;
            }
        }
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let all = Sha256::digest(format!("{names:?} {rows} {sum}"));
        Ok((rows, hex::encode(&all[..DIGEST])))
    }

    /// The keys of rows beside those of items. Rows that have not settled are on neither side.
    async fn items(
        &self,
        suite: &Suite,
        check: &Check,
        of: &InDynamoDb,
        place: &Place<'_>,
        items: Option<&Items>,
    ) -> anyhow::Result<Compared> {
        let items = items.context("nobody has said where DynamoDB is")?;
        let Days { from, to, .. } = place.days;
        let begin = |day: Date| day.to_zoned(items.zone.clone()).map(|time| time.timestamp().as_millisecond());
        let (first, mut end) = (begin(from)?, begin(to.tomorrow()?)?);
        if let Some(settle) = check.settle {
            end = end.min(place.now.saturating_sub(settle)?.as_millisecond() + 1);
        }
        let window = (first, end.max(first));
        let sql = statement::keys(suite, check, &of.key, place, window);
        let planned = Planned::new(self.lake, &place.days.query(&sql, self.memory)).await?;
        let rows = planned.start()?.map_err(|error| anyhow::Error::from(error).context("the query failed"));
        items.compare(&of.table, window, rows).await
    }

    /// What the query counts for each of its checks.
    async fn count(&self, statement: &Statement, days: Days) -> anyhow::Result<BTreeMap<usize, Counted>> {
        let planned = Planned::new(self.lake, &days.query(&statement.sql, self.memory)).await?;
        let batches: Vec<RecordBatch> = planned.start()?.try_collect().await.context("the query failed")?;
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        ensure!(rows == 1, "the query gave {rows} rows where it counts");
        let batch = batches.iter().find(|batch| batch.num_rows() == 1).context("the query gave no row")?;
        let number = |name: String| -> anyhow::Result<Option<i64>> {
            let Some(column) = batch.column_by_name(&name) else { return Ok(None) };
            let column = datafusion::arrow::compute::cast(column, &DataType::Int64)?;
            Ok((!column.is_null(0)).then(|| column.as_primitive::<Int64Type>().value(0)))
        };
        let count = |name: String| Ok::<_, anyhow::Error>(u64::try_from(number(name)?.unwrap_or(0)).unwrap_or(0));
        let counted = |&index: &usize| {
            let newest = number(format!("newest_{index}"))?;
            let newest =
                newest.map(Timestamp::from_millisecond).transpose().context("the newest time is out of range")?;
            let counted =
                Counted { total: count(format!("total_{index}"))?, bad: count(format!("bad_{index}"))?, newest };
            Ok((index, counted))
        };
        statement.checks.iter().map(counted).collect()
    }
}

/// The name of a type as the catalog has it, for the types whose names are one word.
fn name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Float32 => "float".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => "string".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::List(field) | DataType::LargeList(field) => format!("array<{}>", name(field.data_type())),
        DataType::Struct(fields) => {
            let field = |field: &std::sync::Arc<datafusion::arrow::datatypes::Field>| {
                format!("{}:{}", field.name(), name(field.data_type()))
            };
            format!("struct<{}>", fields.iter().map(field).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}
