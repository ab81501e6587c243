//! The range of event times that a query's conditions leave, and which partitions can have rows within it.
//!
//! The partition of a row follows from its time field, or from its envelope's time where it has none. A condition that
//! is not true for null leaves out the latter, so its range is that of the partitions, too.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};
use datafusion::scalar::ScalarValue;
use fms_lake::TimeZone;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};

use crate::keys::quoted;

const SECOND: i64 = 1000;
const HOUR: i64 = 3600 * SECOND;
const DAY: i64 = 24 * HOUR;

/// How far clocks were ever from UTC, and a little more: where the zone is not known, a day may begin so much earlier
/// or later.
const FARTHEST: i64 = 16 * HOUR;

/// Event times in milliseconds since the Unix epoch, with both ends; without an end, it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Range {
    from: Option<i64>,
    to: Option<i64>,
}

impl Range {
    /// The range that the conditions leave to the column `time`. It is open if the column is no time.
    pub fn of(filters: &[Expr], time: &str, schema: &TableSchema) -> Self {
        let field = schema.file_schema().field_with_name(time);
        if !field.is_ok_and(|field| matches!(field.data_type(), DataType::Timestamp(..))) {
            return Self::default();
        }
        filters.iter().fold(Self::default(), |range, filter| range.and(of_filter(filter, time)))
    }

    fn and(self, other: Self) -> Self {
        let tighter = |a: Option<i64>, b: Option<i64>, choose: fn(i64, i64) -> i64| match (a, b) {
            (Some(a), Some(b)) => Some(choose(a, b)),
            (a, b) => a.or(b),
        };
        Self { from: tighter(self.from, other.from, i64::max), to: tighter(self.to, other.to, i64::min) }
    }

    /// The smallest range that has both.
    fn or(self, other: Self) -> Self {
        Self {
            from: self.from.zip(other.from).map(|(a, b)| a.min(b)),
            to: self.to.zip(other.to).map(|(a, b)| a.max(b)),
        }
    }

    /// What Glue can be told of the key that has the day, such as `ymd >= '2023-01-01'`.
    pub fn expressions(&self, key: &str) -> Vec<String> {
        let day = |millis: i64| {
            let date = Timestamp::from_millisecond(millis).ok()?.to_zoned(TimeZone::UTC).date();
            // Otherwise the texts are not in the order of the days.
            (0..=9999).contains(&date.year()).then(|| quoted(&date.to_string()))
        };
        let from = self.from.and_then(|from| day(from.saturating_sub(FARTHEST)));
        let to = self.to.and_then(|to| day(to.saturating_add(FARTHEST)));
        let from = from.map(|from| format!("{key} >= {from}"));
        from.into_iter().chain(to.map(|to| format!("{key} <= {to}"))).collect()
    }

    /// Whether the partition of a day and an hour can have rows within the range. One whose values are no day and hour
    /// can.
    pub fn may_have(&self, day: &str, hour: &str, zone: Option<&TimeZone>) -> bool {
        let (Ok(day), Ok(hour)) = (day.parse::<Date>(), hour.parse::<i8>()) else { return true };
        let Ok(clock) = Time::new(hour, 0, 0, 0) else { return true };
        let Some((first, last)) = instants(day.to_datetime(clock), zone) else { return true };
        self.from.is_none_or(|from| from <= last) && self.to.is_none_or(|to| first <= to)
    }
}

/// The first and the last millisecond that clocks can show as this hour.
fn instants(hour: DateTime, zone: Option<&TimeZone>) -> Option<(i64, i64)> {
    let end = hour.with().minute(59).second(59).millisecond(999).build().ok()?;
    let (first, last, slack) = match zone {
        // Where clocks are put back, an hour comes twice. A leap second is stored as the first one of the next hour.
        Some(zone) => (
            zone.to_ambiguous_zoned(hour).earlier().ok()?.timestamp(),
            zone.to_ambiguous_zoned(end).later().ok()?.timestamp(),
            SECOND,
        ),
        None => {
            (TimeZone::UTC.to_zoned(hour).ok()?.timestamp(), TimeZone::UTC.to_zoned(end).ok()?.timestamp(), FARTHEST)
        }
    };
    Some((first.as_millisecond() - slack, last.as_millisecond() + slack))
}

/// The range of a condition; open where the condition can be true for null.
fn of_filter(filter: &Expr, time: &str) -> Range {
    let compare = |left: &Expr, op: Operator, right: &Expr| compared(left, op, right, time).unwrap_or_default();
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            of_filter(left, time).and(of_filter(right, time))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            of_filter(left, time).or(of_filter(right, time))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => compare(left, *op, right),
        Expr::Between(Between { expr, negated: false, low, high }) => {
            compare(expr, Operator::GtEq, low).and(compare(expr, Operator::LtEq, high))
        }
        Expr::InList(list) if !list.negated => {
            let ranges = list.list.iter().map(|value| compare(&list.expr, Operator::Eq, value));
            ranges.reduce(Range::or).unwrap_or_default()
        }
        _ => Range::default(),
    }
}

fn compared(left: &Expr, op: Operator, right: &Expr, time: &str) -> Option<Range> {
    let (expr, op, value) = match right {
        Expr::Literal(value, _) => (left, op, value),
        _ => match left {
            Expr::Literal(value, _) => (right, op.swap()?, value),
            _ => return None,
        },
    };
    let (coarseness, value) = (coarseness(expr, time)?, millis(value)?);
    let from = Some(value.saturating_sub(coarseness));
    let to = Some(value.saturating_add(coarseness));
    match op {
        Operator::Eq => Some(Range { from, to }),
        Operator::Gt | Operator::GtEq => Some(Range { from, to: None }),
        Operator::Lt | Operator::LtEq => Some(Range { from: None, to }),
        _ => None,
    }
}

/// How far the value of an expression can be from that of the column; `None` if the expression is another one.
fn coarseness(expr: &Expr, time: &str) -> Option<i64> {
    let cast = match expr {
        Expr::Column(column) => return (column.name == time).then_some(0),
        Expr::Cast(cast) => Some((&cast.expr, &cast.field)),
        Expr::TryCast(cast) => Some((&cast.expr, &cast.field)),
        _ => None,
    };
    if let Some((inner, field)) = cast {
        let is_column = matches!(&**inner, Expr::Column(column) if column.name == time);
        return match field.data_type() {
            DataType::Timestamp(TimeUnit::Second, _) if is_column => Some(SECOND),
            DataType::Timestamp(..) if is_column => Some(0),
            DataType::Date32 if is_column => Some(DAY),
            _ => None,
        };
    }
    let Expr::ScalarFunction(call) = expr else { return None };
    let ("date_trunc", [Expr::Literal(unit, _), inner]) = (call.name(), call.args.as_slice()) else { return None };
    let unit = match unit.try_as_str()??.to_ascii_lowercase().as_str() {
        "second" => SECOND,
        "minute" => 60 * SECOND,
        "hour" => HOUR,
        "day" => DAY,
        "week" => 7 * DAY,
        "month" => 31 * DAY,
        "quarter" => 92 * DAY,
        "year" => 366 * DAY,
        _ => return None,
    };
    Some(coarseness(inner, time)? + unit)
}

/// A time in milliseconds, of which finer parts are cut off towards the past.
fn millis(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::TimestampSecond(Some(value), _) => value.checked_mul(SECOND),
        ScalarValue::TimestampMillisecond(Some(value), _) | ScalarValue::Date64(Some(value)) => Some(*value),
        ScalarValue::TimestampMicrosecond(Some(value), _) => Some(value.div_euclid(1000)),
        ScalarValue::TimestampNanosecond(Some(value), _) => Some(value.div_euclid(1_000_000)),
        ScalarValue::Date32(Some(days)) => Some(i64::from(*days) * DAY),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit};

    use super::*;

    /// 2023-01-01T12:00:00Z
    const NOON: i64 = 1_672_574_400_000;

    fn at(millis: i64) -> Expr {
        lit(ScalarValue::TimestampMillisecond(Some(millis), Some("UTC".into())))
    }

    fn range(filter: &Expr) -> Range {
        of_filter(filter, "time")
    }

    #[test]
    fn a_range_follows_from_conditions_that_leave_out_null() {
        let (from, to) = (Some(NOON), Some(NOON + HOUR));
        assert_eq!(range(&col("time").gt_eq(at(NOON))), Range { from, to: None });
        assert_eq!(range(&at(NOON).lt_eq(col("time"))), Range { from, to: None });
        assert_eq!(range(&col("time").between(at(NOON), at(NOON + HOUR))), Range { from, to });
        let both = col("time").gt(at(NOON)).and(col("id").eq(lit(1))).and(col("time").lt(at(NOON + HOUR)));
        assert_eq!(range(&both), Range { from, to });
        let either = col("time").eq(at(NOON)).or(col("time").eq(at(NOON + HOUR)));
        assert_eq!(range(&either), Range { from, to });
        assert_eq!(range(&col("time").in_list(vec![at(NOON + HOUR), at(NOON)], false)), Range { from, to });
    }

    #[test]
    fn a_condition_that_can_be_true_without_a_time_leaves_the_range_open() {
        let after = || col("time").gt_eq(at(NOON));
        for filter in [
            after().or(col("id").eq(lit(1))),
            after().or(col("time").is_null()),
            Expr::Not(Box::new(after())),
            col("time").not_eq(at(NOON)),
            col("other").gt_eq(at(NOON)),
            col("time").in_list(vec![at(NOON)], true),
        ] {
            assert_eq!(range(&filter), Range::default(), "{filter}");
        }
    }

    #[test]
    fn a_time_that_was_rounded_widens_the_range() {
        let days = Expr::Cast(datafusion::logical_expr::Cast::new(Box::new(col("time")), DataType::Date32));
        let day = lit(ScalarValue::Date32(Some(19_358)));
        let of_day = range(&days.eq(day));
        assert!(of_day.from <= Some(NOON - 12 * HOUR) && of_day.to >= Some(NOON + 12 * HOUR - 1), "{of_day:?}");
    }

    #[test]
    fn partitions_are_those_of_the_zone_or_of_every_zone() {
        let seoul = TimeZone::get("Asia/Seoul").expect("a zone");
        let noon = Range { from: Some(NOON), to: Some(NOON) };
        // It is 21 o'clock in Seoul.
        let hours = |zone: Option<&TimeZone>| -> Vec<i8> {
            (0..24).filter(|hour| noon.may_have("2023-01-01", &format!("{hour:02}"), zone)).collect()
        };
        // A leap second may be stored with the hour before.
        assert_eq!(hours(Some(&seoul)), [20, 21]);
        assert_eq!(hours(Some(&TimeZone::UTC)), [11, 12]);
        assert_eq!(hours(None).len(), 24);
        assert!(noon.may_have("2023-01-02", "03", None) && !noon.may_have("2023-01-02", "05", None));
        assert!(noon.may_have("__HIVE_DEFAULT_PARTITION__", "", Some(&seoul)));
        assert_eq!(noon.expressions("ymd"), ["ymd >= '2022-12-31'", "ymd <= '2023-01-02'"]);
    }

    #[test]
    fn no_row_is_left_out_where_clocks_are_put_back_or_forward() {
        for name in ["America/New_York", "Australia/Lord_Howe", "Asia/Seoul", "Antarctica/Troll"] {
            let zone = TimeZone::get(name).expect("a zone");
            for step in 0..(366 * 48) {
                let at = NOON + step * HOUR / 2;
                let local = zone.to_datetime(Timestamp::from_millisecond(at).expect("a time"));
                let (day, hour) = (local.date().to_string(), format!("{:02}", local.hour()));
                let exactly = Range { from: Some(at), to: Some(at) };
                assert!(exactly.may_have(&day, &hour, Some(&zone)), "{name} {local}");
                assert!(exactly.may_have(&day, &hour, None), "{name} {local}");
            }
        }
    }
}
