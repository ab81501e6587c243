//! The queries of a table's checks. Checks that look at single rows take one scan of the table together, and so do those
//! that compare a row with the one before it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use fms_query::{Query, Size};
use jiff::Timestamp;
use jiff::civil::Date;

use crate::check::{Check, Suite};
use crate::column::{ELEMENT, Path, identifier};
use crate::condition::{self, Scope, Series};
use crate::kind::{Equal, InTable, Key, Kind, RowCount};
use crate::volume::{self, FIRES};

/// The partition key of days.
pub(crate) const DAY: &str = "ymd";

/// The column with the file of a row.
pub(crate) const FILE: &str = "$path";

/// The column that says of which query of two a row is.
pub(crate) const SIDE: &str = "side";

/// The column of the values that are not in another table.
pub(crate) const VALUE: &str = "value";

/// Is true of each row, and names the column with its file, which rows have in queries that name it.
const HAS_FILE: &str = "\"$path\" is not null";

/// The days that are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days {
    /// The first one.
    pub from: Date,
    /// The last one.
    pub to: Date,
    /// The day on which they are.
    pub today: Date,
}

impl Days {
    /// A query, in which `$from`, `$to` and `$today` are these days, as far as it has them.
    pub(crate) fn query(self, sql: &str, memory: Option<Size>) -> Query {
        let parameters = [("from", self.from), ("to", self.to), ("today", self.today)];
        let parameters = parameters.into_iter().filter(|(name, _)| has_parameter(sql, name));
        let parameters = parameters.map(|(name, day)| (name.to_owned(), day.to_string())).collect();
        Query { sql: sql.to_owned(), parameters, memory, max_scan: None }
    }
}

/// Whether a query has `$name`, and not only one that begins in this way.
fn has_parameter(sql: &str, name: &str) -> bool {
    let is_of_name = |c: char| c.is_alphanumeric() || c == '_';
    sql.match_indices(&format!("${name}")).any(|(at, found)| !sql[at + found.len()..].starts_with(is_of_name))
}

/// What the queries have to know besides the checks.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    /// The tables that the checks name, with their columns.
    pub tables: &'a BTreeMap<String, Vec<String>>,
    pub days: Days,
    pub now: Timestamp,
}

/// A query that counts for some checks: of check `i`, the columns `total_i`, `bad_i`, and `newest_i` in milliseconds since
/// 1970 for one about the newest row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    pub sql: String,
    /// The checks' places in the suite.
    pub checks: Vec<usize>,
}

/// The queries of these checks of a suite.
pub(crate) fn statements(suite: &Suite, chosen: &[usize], place: &Place<'_>) -> Vec<Statement> {
    let mut shared: BTreeMap<Scope, Statement> = BTreeMap::new();
    let mut own = Vec::new();
    for &index in chosen {
        let check = &suite.checks[index];
        match counts(suite, check, index, place) {
            Counts::Shared(scope, columns) => {
                let statement =
                    shared.entry(scope).or_insert_with(|| Statement { sql: String::new(), checks: Vec::new() });
                let comma = if statement.sql.is_empty() { "" } else { ",\n  " };
                // Writing to a text does not fail.
                let _ = write!(statement.sql, "{comma}{columns}");
                statement.checks.push(index);
            }
            Counts::Own(sql) => own.push(Statement { sql, checks: vec![index] }),
            Counts::None => {}
        }
    }
    let shared = shared.into_iter().map(|(scope, Statement { sql: columns, checks })| {
        let checked: Vec<(usize, &Check)> = checks.iter().map(|&index| (index, &suite.checks[index])).collect();
        let source = match scope {
            Scope::Row(list) => source(&rows(&suite.table, place), list),
            Scope::Series => marked(suite, &checked, &rows(&suite.table, place), place),
        };
        Statement { sql: format!("select {columns}\nfrom {source}"), checks }
    });
    shared.chain(own).collect()
}

/// How a check counts.
enum Counts {
    /// In a scan with others.
    Shared(Scope, String),
    /// By a query of its own.
    Own(String),
    /// Without a query.
    None,
}

fn counts(suite: &Suite, check: &Check, index: usize, place: &Place<'_>) -> Counts {
    let only = only(suite, check, place);
    if let Some((scope, bad)) = condition::of(&check.kind, &only, &series(suite)) {
        let (only, bad) = match scope {
            Scope::Row(_) => (only.clone(), format!("{only} and ({bad})")),
            Scope::Series => (format!("quality_only_{index}"), format!("quality_bad_{index}")),
        };
        let columns =
            format!("count(*) filter (where {only}) as total_{index}, count(*) filter (where {bad}) as bad_{index}");
        return Counts::Shared(scope, columns);
    }
    match &check.kind {
        Kind::RowCount(count @ RowCount { days: Some(days), .. }) => Counts::Own(format!(
            "select count(*) as total_{index}, count(*) filter (where {}) as bad_{index} from {}",
            volume::is_unusual(count),
            volume::days(&suite.table, *days, &only, place)
        )),
        Kind::RowCount(_) => {
            Counts::Shared(Scope::Row(None), format!("count(*) filter (where {only}) as total_{index}"))
        }
        Kind::Freshness(_) => {
            let newest = milliseconds(&suite.time.sql());
            let columns = format!(
                "count(*) filter (where {only}) as total_{index}, max({newest}) filter (where {only}) as newest_{index}"
            );
            Counts::Shared(Scope::Row(None), columns)
        }
        Kind::Volume(volume) => Counts::Own(format!(
            "select count(*) as total_{index}, count(*) filter (where {FIRES}) as bad_{index} from {}",
            volume::hours(&suite.table, volume, &only, place)
        )),
        Kind::Unique(_) => Counts::Own(format!(
            "select coalesce(sum(quality_n), 0) as total_{index}, coalesce(sum(quality_n - 1), 0) as bad_{index}\n\
             from (\n{}\n)",
            groups(suite, check, place)
        )),
        Kind::InTable(_) => {
            let counts =
                format!("count(*) as total_{index}, count(*) filter (where found.value is null) as bad_{index}");
            Counts::Own(format!("select {counts}\nfrom {}", values(suite, check, place)))
        }
        Kind::Sql(sql) => {
            Counts::Own(format!("select count(*) as total_{index}, count(*) as bad_{index} from (\n{}\n)", bare(sql)))
        }
        Kind::Equal(Equal { left, right }) => {
            let (left, right) = (bare(left), bare(right));
            Counts::Own(format!(
                "select sum(total) as total_{index}, sum(bad) as bad_{index} from (\n\
                 select count(*) as total, 0 as bad from (\n{left}\n)\n\
                 union all select 0, count(*) from (select * from (\n{left}\n) except all select * from (\n{right}\n))\n\
                 union all select 0, count(*) from (select * from (\n{right}\n) except all select * from (\n{left}\n)))"
            ))
        }
        _ => Counts::None,
    }
}

/// The query of a check's bad rows, which a person can give to `fms query`. Rows of the table have their file in
/// `$path`. None if it has no rows to show.
pub(crate) fn bad_rows(suite: &Suite, check: &Check, place: &Place<'_>) -> Option<String> {
    let only = only(suite, check, place);
    let rows = rows_with(Some(HAS_FILE), &suite.table, place);
    match (&check.kind, condition::of(&check.kind, &only, &series(suite))) {
        (_, Some((Scope::Row(list), bad))) => {
            Some(format!("select * from {} where {only} and ({bad})", source(&rows, list)))
        }
        (_, Some((Scope::Series, _))) => Some(format!(
            "select * exclude (quality_only_0, quality_bad_0) from {} where quality_bad_0",
            marked(suite, &[(0, check)], &rows, place)
        )),
        (Kind::Volume(volume), _) => {
            let hours = volume::hours(&suite.table, volume, &only, place);
            Some(format!("select * from {hours} where {FIRES} order by {DAY}, hour"))
        }
        (Kind::RowCount(count @ RowCount { days: Some(before), .. }), _) => {
            let days = volume::days(&suite.table, *before, &only, place);
            Some(format!("select * from {days} where {} order by {DAY}", volume::is_unusual(count)))
        }
        (Kind::Unique(_), _) => Some(format!("select * from ({}) where quality_n > 1", groups(suite, check, place))),
        (Kind::InTable(_), _) => {
            Some(format!("select given.{VALUE} from {} where found.{VALUE} is null", values(suite, check, place)))
        }
        (Kind::Sql(sql) | Kind::Stable(sql), _) => Some(bare(sql).to_owned()),
        (Kind::Equal(Equal { left, right }), _) => {
            let (left, right) = (bare(left), bare(right));
            Some(format!(
                "select 'left only' as {SIDE}, * from (select * from ({left}) except all select * from ({right})) union all \
                 select 'right only', * from (select * from ({right}) except all select * from ({left}))"
            ))
        }
        _ => None,
    }
}

/// The tables that a check reads, its own among them. Of a text that is no SQL, nothing else is known.
pub(crate) fn tables(suite: &Suite, index: usize, days: Days) -> BTreeSet<String> {
    let place = Place { tables: &BTreeMap::new(), days, now: Timestamp::UNIX_EPOCH };
    let mut texts: Vec<String> =
        statements(suite, &[index], &place).into_iter().map(|statement| statement.sql).collect();
    if let Kind::Stable(sql) = &suite.checks[index].kind {
        texts.push(bare(sql).to_owned());
    }
    let read = texts.into_iter().filter_map(|sql| Query { sql, ..Query::default() }.tables().ok()).flatten();
    read.chain([suite.table.clone()]).collect()
}

/// The tables that a check reads besides its own.
pub(crate) fn other_tables(suite: &Suite) -> impl Iterator<Item = &str> {
    suite.checks.iter().filter_map(|check| match &check.kind {
        Kind::InTable(InTable { table, .. }) => Some(table.as_str()),
        _ => None,
    })
}

/// The condition of the rows that a check looks at.
fn only(suite: &Suite, check: &Check, place: &Place<'_>) -> String {
    let settled = check.settle.map(|settle| {
        let until = place.now.as_millisecond() - i64::try_from(settle.as_millis()).unwrap_or(i64::MAX);
        format!("{} <= {until}", milliseconds(&suite.time.sql()))
    });
    let only = check.only.as_ref().map(|only| format!("({only})"));
    let conditions: Vec<String> = settled.into_iter().chain(only).collect();
    if conditions.is_empty() { "true".to_owned() } else { conditions.join(" and ") }
}

/// Rows, or the elements of their lists.
fn source(rows: &str, list: Option<String>) -> String {
    let element = list.map_or_else(String::new, |list| format!(", unnest({list}) as {ELEMENT}"));
    format!("(select *{element} from {rows})")
}

/// The rows of a table on the days that are looked at.
fn rows(table: &str, place: &Place<'_>) -> String {
    rows_with(None, table, place)
}

/// The same of those for which a condition is true.
fn rows_with(condition: Option<&str>, table: &str, place: &Place<'_>) -> String {
    let Days { from, to, .. } = place.days;
    let is_by_day = place.tables.get(table).is_some_and(|columns| columns.iter().any(|column| column == DAY));
    let days = is_by_day.then(|| format!("{DAY} between '{from}' and '{to}'"));
    let conditions: Vec<String> = condition.map(str::to_owned).into_iter().chain(days).collect();
    let all = if conditions.is_empty() { String::new() } else { format!(" where {}", conditions.join(" and ")) };
    format!("{}{all}", identifier(table))
}

/// The rows with the row before each in its series, and whether they are looked at and bad.
fn marked(suite: &Suite, checks: &[(usize, &Check)], rows: &str, place: &Place<'_>) -> String {
    let series = series(suite);
    let window = &series.window;
    let bad: Vec<(String, String)> = checks
        .iter()
        .map(|(_, check)| {
            let only = only(suite, check, place);
            let bad = condition::of(&check.kind, &only, &series).map_or_else(|| "false".to_owned(), |(_, bad)| bad);
            (only, bad)
        })
        .collect();
    let uses = |column: &&String| {
        let (plain, quoted) = (format!("previous.{column}"), format!("previous.{}", identifier(column)));
        bad.iter().any(|(only, bad)| [only, bad].iter().any(|sql| sql.contains(&plain) || sql.contains(&quoted)))
    };
    let columns = place.tables.get(&suite.table).map_or(&[][..], Vec::as_slice);
    let before: Vec<&String> = columns.iter().filter(uses).collect();
    let mut lagged = String::new();
    let mut fields = Vec::new();
    for (place, column) in before.iter().enumerate() {
        let name = identifier(column);
        let _ = write!(lagged, ", lag({name}) over ({window}) as quality_before_{place}");
        fields.push(format!("{}, quality_before_{place}", crate::column::text(column)));
    }
    let named: Vec<String> = (0..before.len()).map(|place| format!("quality_before_{place}")).collect();
    let previous = if fields.is_empty() {
        "*".to_owned()
    } else {
        format!("* exclude ({}), named_struct({}) as previous", named.join(", "), fields.join(", "))
    };
    let time = &series.time;
    let seconds = format!("({time} - lag({time}) over ({window})) / 1000.0 as seconds");
    let mut marks = String::new();
    for ((index, _), (only, bad)) in checks.iter().zip(&bad) {
        let _ = write!(
            marks,
            ", ({only}) as quality_only_{index}, coalesce(({only}) and ({bad}), false) as quality_bad_{index}"
        );
    }
    format!("(select *{marks} from (select {previous} from (select *, {seconds}{lagged} from {rows})))")
}

fn series(suite: &Suite) -> Series {
    let list = |paths: &[Path]| paths.iter().map(Path::sql).collect::<Vec<_>>().join(", ");
    let window = format!("partition by {} order by {}", list(&suite.series), list(&suite.order));
    Series { window, time: milliseconds(&suite.time.sql()) }
}

/// How often each combination of values is there.
fn groups(suite: &Suite, check: &Check, place: &Place<'_>) -> String {
    let Kind::Unique(columns) = &check.kind else { return String::new() };
    let only = only(suite, check, place);
    let source = source(&rows(&suite.table, place), columns.columns.first().and_then(Path::list));
    let columns: Vec<String> = columns.columns.iter().map(Path::sql).collect();
    let given: String = columns.iter().fold(String::new(), |given, column| format!("{given} and {column} is not null"));
    let columns = columns.join(", ");
    format!("select {columns}, count(*) as quality_n from {source} where {only}{given} group by {columns}")
}

/// The values of a check's column, `given`, each beside the same value of the other table, `found`, if it is there.
fn values(suite: &Suite, check: &Check, place: &Place<'_>) -> String {
    let Kind::InTable(InTable { column, table, to }) = &check.kind else { return String::new() };
    let distinct = |path: &Path, table: &str, only: &str| {
        let source = source(&rows(table, place), path.list());
        format!("select distinct {0} as {VALUE} from {source} where {only} and {0} is not null", path.sql())
    };
    let (given, found) = (distinct(column, &suite.table, &only(suite, check, place)), distinct(to, table, "true"));
    format!("({given}) as given left join ({found}) as found on given.{VALUE} = found.{VALUE}")
}

/// The query of the keys of items that rows have: a partition key and a time in milliseconds, in their order and each pair
/// once, of the times from the first one until before the second one.
pub(crate) fn keys(suite: &Suite, check: &Check, key: &Key, place: &Place<'_>, (first, end): (i64, i64)) -> String {
    let time = milliseconds(&suite.time.sql());
    let (only, key, rows) = (only(suite, check, place), key.sql(), rows(&suite.table, place));
    format!(
        "select distinct {key} as item, {time} as millis from (select * from {rows}) where {only} and {time} >= {first} and \
         {time} < {end} and {key} is not null order by item, millis"
    )
}

/// A time in milliseconds since 1970.
fn milliseconds(time: &str) -> String {
    format!("cast(arrow_cast({time}, 'Timestamp(Millisecond, None)') as bigint)")
}

/// A query that can stand in brackets.
pub(crate) fn bare(sql: &str) -> &str {
    sql.trim().trim_end_matches(';').trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_given_the_days_that_it_names_and_no_others() {
        let given = |sql: &str| {
            let day = Date::constant(2023, 1, 1);
            let query = Days { from: day, to: day, today: day }.query(sql, None);
            query.parameters.into_keys().collect::<Vec<_>>()
        };
        assert_eq!(given("select 1 where ymd < $today"), ["today"]);
        assert_eq!(given("select 1 where ymd between $from and $to"), ["from", "to"]);
        assert!(given("select '$' where $total > 1").is_empty());
    }
}
