//! Which rows a check counts as bad, as a condition in SQL. Where a value is missing, a row is not bad: whether values
//! may be missing is a check of its own.

use std::collections::BTreeSet;
use std::fmt::Display;

use crate::column::{Path, text};
use crate::kind::{Accepted, Jump, Kind, Length, Pattern, Range, Stuck, Transitions};

/// The radius of the earth in meters.
const EARTH: f64 = 6_371_000.0;

/// What a condition looks at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// A single row, or an element of its list.
    Row(Option<String>),
    /// A row and those before it in its series.
    Series,
}

/// How the rows of a table follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Series {
    /// The window, such as `partition by id order by time`.
    pub window: String,
    /// The time of a row in milliseconds, as SQL.
    pub time: String,
}

/// The condition by which a row is bad; none if the kind is not about rows. `only` chooses the rows that are looked at.
pub(crate) fn of(kind: &Kind, only: &str, series: &Series) -> Option<(Scope, String)> {
    let row = |path: &Path, sql: String| Some((Scope::Row(path.list()), sql));
    match kind {
        Kind::NotNull(columns) => {
            let missing = columns.columns.iter().map(|column| format!("{} is null", column.sql()));
            row(columns.columns.first()?, missing.collect::<Vec<_>>().join(" or "))
        }
        Kind::Range(Range { column, min, max }) => row(column, outside(&column.sql(), min.as_ref(), max.as_ref())),
        Kind::Accepted(Accepted { column, values }) => row(column, not_in(&column.sql(), values)),
        Kind::Pattern(Pattern { column, regex }) => {
            row(column, format!("not regexp_like({}, {})", column.sql(), text(regex)))
        }
        Kind::Length(Length { column, min, max }) => {
            row(column, outside(&format!("character_length({})", column.sql()), min.as_ref(), max.as_ref()))
        }
        Kind::Holds(condition) => Some((Scope::Row(None), format!("not ({condition})"))),
        Kind::Step(condition) => Some((Scope::Series, format!("not ({condition})"))),
        Kind::Jump(jump) => Some((Scope::Series, jumps(jump, only, series))),
        Kind::Stuck(Stuck { column, rows }) => {
            let value = format!("case when {only} then {} end", column.sql());
            let window = &series.window;
            let over = |call: &str| {
                format!("{call}({value}) over ({window} rows between {} preceding and current row)", rows - 1)
            };
            let [count, least, greatest] = ["count", "min", "max"].map(over);
            Some((Scope::Series, format!("{count} = {rows} and {least} = {greatest}")))
        }
        Kind::Transitions(Transitions { column, allowed }) => {
            let (now, window) = (column.sql(), &series.window);
            // Rows that are not looked at are passed over.
            let before = format!("lag(case when {only} then {now} end) ignore nulls over ({window})");
            let follows = |(from, to): (&String, &BTreeSet<String>)| {
                let to: Vec<String> = to.iter().cloned().collect();
                format!("{before} = {} and {}", text(from), not_in(&now, &to))
            };
            let mut bad: Vec<String> = allowed.iter().map(follows).collect();
            let known: Vec<String> = allowed.keys().cloned().collect();
            bad.push(not_in(&now, &known));
            Some((Scope::Series, bad.iter().map(|bad| format!("({bad})")).collect::<Vec<_>>().join(" or ")))
        }
        _ => None,
    }
}

fn outside<T: Display>(value: &str, min: Option<&T>, max: Option<&T>) -> String {
    let under = min.map(|min| format!("{value} < {min}"));
    let over = max.map(|max| format!("{value} > {max}"));
    under.into_iter().chain(over).collect::<Vec<_>>().join(" or ")
}

fn not_in(value: &str, values: &[String]) -> String {
    let values: Vec<String> = values.iter().map(|value| text(value)).collect();
    // An empty list is not SQL.
    if values.is_empty() { format!("{value} is not null") } else { format!("{value} not in ({})", values.join(", ")) }
}

/// How many positions before it a row is compared with. One of them is the last right one, even where a wrong one was
/// sent twice.
const BEFORE: u64 = 3;

/// The distance on a sphere over the time, against the speed. A position is a jump if it is too far from each of those
/// before it that are looked at, so that the right one after a wrong one is none.
fn jumps(jump: &Jump, only: &str, series: &Series) -> String {
    let Jump { latitude, longitude, max_speed, min_seconds } = jump;
    let Series { window, time } = series;
    let (north, east) = (latitude.sql(), longitude.sql());
    let there = format!("{north} is not null and {east} is not null");
    let square = |degrees: String| format!("power(sin(radians({degrees}) / 2), 2)");
    let before = |value: &str, back: u64| {
        format!("lag(case when {only} and {there} then {value} end, {back}) ignore nulls over ({window})")
    };
    let is_far = |back: u64| {
        let (north_before, east_before) = (before(&north, back), before(&east, back));
        let haversine = format!(
            "{} + cos(radians({north})) * cos(radians({north_before})) * {}",
            square(format!("{north} - {north_before}")),
            square(format!("{east} - {east_before}")),
        );
        // `least` passes over what is missing.
        let meters = format!("{} * asin(least(1.0, sqrt({haversine})))", 2.0 * EARTH);
        let seconds = format!("greatest(({time} - {}) / 1000.0, {min_seconds:?})", before(time, back));
        format!("({north_before} is null or {meters} > {} * {seconds})", max_speed / 3.6)
    };
    let far: Vec<String> = (1..=BEFORE).map(is_far).collect();
    format!("{there} and {} is not null and {}", before(&north, 1), far.join(" and "))
}
