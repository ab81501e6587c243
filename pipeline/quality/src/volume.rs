//! How many rows there are, against the same hour of the weeks before and against the days before: the queries of the kind
//! `volume`, and of the kind `row_count` with `days`.

use jiff::ToSpan as _;
use jiff::civil::Date;

use crate::column::identifier;
use crate::kind::{RowCount, Rows, Volume};
use crate::statement::{DAY, Days, Place};

/// The partition key of hours.
const HOUR: &str = "hour";

/// A deviation is at least this share of the rows: a fleet is not the same size each week.
const LEAST_SHARE: f64 = 0.05;

/// The median of distances from the median, times this, is the standard deviation of what is normally distributed.
const NORMAL: f64 = 1.4826;

/// The hours that are looked at, or the days of a table without hours, each with its rows, how many are typical, how many
/// more or fewer are allowed, and of how many weeks that is known.
///
/// The first day of a table and those after it are known. Before that, no rows say nothing.
pub(crate) fn hours(table: &str, volume: &Volume, only: &str, place: &Place<'_>) -> String {
    let Volume { weeks, warm_up, deviations } = volume;
    let Days { from, to, .. } = place.days;
    let days: Vec<Date> = from.series(1.day()).take_while(|day| *day <= to).collect();
    let week = |day: Date, back: i64| day.saturating_sub((7 * back).days());
    let pairs = days
        .iter()
        .flat_map(|day| (1..=i64::from(*weeks)).map(move |back| format!("('{day}', '{}')", week(*day, back))));
    let pairs = pairs.collect::<Vec<_>>().join(", ");
    let has_hours = place.tables.get(table).is_some_and(|columns| columns.iter().any(|column| column == HOUR));
    let (hour, hours) = if has_hours {
        (HOUR, (0..24).map(|hour| format!("('{hour:02}')")).collect::<Vec<_>>().join(", "))
    } else {
        ("''", "('')".to_owned())
    };
    let first = week(from, i64::from(*weeks));
    let table = identifier(table);
    format!(
        "(with counted as (select {DAY} as day, {hour} as hour, count(*) as n from {table} \
         where {DAY} between '{first}' and '{to}' and {only} group by {DAY}, {hour}), \
         past as (select pair.day, hours.hour, coalesce(counted.n, 0) as n \
         from (values {pairs}) as pair(day, past) cross join (values {hours}) as hours(hour) \
         cross join (select min(day) as first from counted) as known \
         left join counted on counted.day = pair.past and counted.hour = hours.hour where pair.past >= known.first), \
         usual as (select day, hour, median(cast(n as double)) as typical, count(*) as weeks from past group by day, hour), \
         spread as (select past.day, past.hour, median(abs(past.n - usual.typical)) as distance from past \
         join usual on usual.day = past.day and usual.hour = past.hour group by past.day, past.hour) \
         select usual.day as {DAY}, usual.hour, coalesce(counted.n, 0) as found, usual.typical, {deviations} * \
         greatest({NORMAL} * spread.distance, sqrt(usual.typical), {LEAST_SHARE} * usual.typical) as allowed, usual.weeks \
         from usual join spread on spread.day = usual.day and spread.hour = usual.hour \
         left join counted on counted.day = usual.day and counted.hour = usual.hour where usual.weeks >= {warm_up})"
    )
}

/// By which of these hours the check fires.
pub(crate) const FIRES: &str = "abs(found - typical) > allowed";

/// The days that are looked at, each with its rows and the median of the days before it. A day is not looked at before half
/// of these are known.
pub(crate) fn days(table: &str, before: u32, only: &str, place: &Place<'_>) -> String {
    let Days { from, to, .. } = place.days;
    let all = from.series(1.day()).take_while(|day| *day <= to);
    let back = |day: Date, back: u32| day.saturating_sub(i64::from(back).days());
    let pairs = all.flat_map(|day| (1..=before).map(move |number| format!("('{day}', '{}')", back(day, number))));
    let (pairs, first) = (pairs.collect::<Vec<_>>().join(", "), back(from, before));
    let (table, least) = (identifier(table), before.div_ceil(2));
    format!(
        "(with counted as (select {DAY} as day, count(*) as n from {table} \
         where {DAY} between '{first}' and '{to}' and {only} group by {DAY}), \
         past as (select pair.day, coalesce(counted.n, 0) as n from (values {pairs}) as pair(day, past) \
         cross join (select min(day) as first from counted) as known \
         left join counted on counted.day = pair.past where pair.past >= known.first), \
         usual as (select day, median(cast(n as double)) as typical, count(*) as days from past group by day) \
         select usual.day as {DAY}, coalesce(counted.n, 0) as found, usual.typical, usual.days \
         from usual left join counted on counted.day = usual.day where usual.days >= {least})"
    )
}

/// By which of these days the check is bad.
pub(crate) fn is_unusual(count: &RowCount) -> String {
    let bound = |rows: Option<Rows>, is: &str| match rows? {
        Rows::Percent(percent) => Some(format!("found {is} {:?} * typical", percent / 100.0)),
        Rows::Count(count) => Some(format!("found {is} {count}")),
    };
    bound(count.min, "<").into_iter().chain(bound(count.max, ">")).collect::<Vec<_>>().join(" or ")
}
