//! Conditions on partition keys: what a query's conditions say of them alone, as the catalog understands it, and which
//! partitions are left.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray as _, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{FieldRef, Schema};
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, Result};
use datafusion::datasource::listing::helpers::expr_applicable_for_cols;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Operator};

use crate::source::Partition;

/// The most characters of an expression that Glue takes.
const MAX_EXPRESSION: usize = 2048;

/// Whether a condition can be decided for a whole partition, by its keys.
pub(crate) fn is_of_keys(filter: &Expr, keys: &[&str]) -> bool {
    let is_query = |expr: &Expr| {
        matches!(
            expr,
            Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
        )
    };
    let names = filter.column_refs();
    !names.is_empty()
        && names.iter().all(|column| keys.contains(&column.name.as_str()))
        && expr_applicable_for_cols(keys, filter)
        && !datafusion::common::tree_node::TreeNode::exists(filter, |expr| Ok(is_query(expr))).unwrap_or(true)
}

/// What the conditions say of the partition keys alone: each is true wherever the conditions are.
pub(crate) fn conditions(filters: &[Expr], keys: &[&str]) -> Vec<Expr> {
    filters.iter().filter_map(|filter| weaker(filter, keys)).collect()
}

fn weaker(filter: &Expr, keys: &[&str]) -> Option<Expr> {
    if is_of_keys(filter, keys) {
        return Some(filter.clone());
    }
    let Expr::BinaryExpr(binary) = filter else { return None };
    let (left, right) = (weaker(&binary.left, keys), weaker(&binary.right, keys));
    match binary.op {
        Operator::And => match (left, right) {
            (Some(left), Some(right)) => Some(left.and(right)),
            (one, other) => one.or(other),
        },
        Operator::Or => Some(left?.or(right?)),
        _ => None,
    }
}

/// The expression by which Glue chooses partitions: all that it understands of these conditions, and `more` ones. What
/// it does not understand is decided here afterwards. `None` if there is nothing to choose by.
pub(crate) fn expression(conditions: &[Expr], more: Vec<String>) -> Option<String> {
    let mut text = String::new();
    for part in conditions.iter().filter_map(glue).chain(more) {
        let and = if text.is_empty() { "" } else { " AND " };
        if text.len() + and.len() + part.len() <= MAX_EXPRESSION {
            text.push_str(and);
            text.push_str(&part);
        }
    }
    (!text.is_empty()).then_some(text)
}

/// A condition in the words of Glue. It may be true for more partitions than the condition is.
fn glue(condition: &Expr) -> Option<String> {
    match condition {
        Expr::BinaryExpr(binary) => match binary.op {
            Operator::And => match (glue(&binary.left), glue(&binary.right)) {
                (Some(left), Some(right)) => Some(format!("({left} AND {right})")),
                (one, other) => one.or(other),
            },
            Operator::Or => Some(format!("({} OR {})", glue(&binary.left)?, glue(&binary.right)?)),
            op => {
                let (key, op, value) = match (name(&binary.left), name(&binary.right)) {
                    (Some(key), None) => (key, op, text(&binary.right)?),
                    (None, Some(key)) => (key, op.swap()?, text(&binary.left)?),
                    _ => return None,
                };
                let op = match op {
                    Operator::Eq => "=",
                    Operator::NotEq => "<>",
                    Operator::Lt => "<",
                    Operator::LtEq => "<=",
                    Operator::Gt => ">",
                    Operator::GtEq => ">=",
                    _ => return None,
                };
                Some(format!("{key} {op} {value}"))
            }
        },
        Expr::InList(list) if !list.negated => {
            let values: Option<Vec<String>> = list.list.iter().map(text).collect();
            Some(format!("{} IN ({})", name(&list.expr)?, values?.join(", ")))
        }
        Expr::Between(between) if !between.negated => {
            let key = name(&between.expr)?;
            Some(format!("({key} >= {} AND {key} <= {})", text(&between.low)?, text(&between.high)?))
        }
        _ => None,
    }
}

fn name(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Column(column) => Some(&column.name),
        _ => None,
    }
}

fn text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Literal(value, _) => Some(quoted(value.try_as_str()??)),
        _ => None,
    }
}

/// A text as Glue's expressions have it.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The partitions for which all conditions are true.
pub(crate) fn retain(
    state: &dyn Session,
    keys: &[FieldRef],
    conditions: Vec<Expr>,
    partitions: Vec<Partition>,
) -> Result<Vec<Partition>> {
    let Some(condition) = conjunction(conditions) else { return Ok(partitions) };
    let schema = Arc::new(Schema::new(keys.to_vec()));
    let column = |key: usize| -> ArrayRef {
        let value = |partition: &Partition| partition.values.get(key).cloned();
        Arc::new(partitions.iter().map(value).collect::<StringArray>())
    };
    let batch = RecordBatch::try_new(Arc::clone(&schema), (0..keys.len()).map(column).collect())?;
    let condition = state.create_physical_expr(condition, &DFSchema::try_from(schema)?)?;
    let truth = condition.evaluate(&batch)?.into_array(batch.num_rows())?;
    let truth = truth.as_boolean().iter().map(|truth| truth == Some(true));
    Ok(partitions.into_iter().zip(truth).filter_map(|(partition, is_true)| is_true.then_some(partition)).collect())
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit};

    use super::*;

    fn said(filter: Expr) -> Option<String> {
        expression(&conditions(&[filter], &["ymd", "hour"]), Vec::new())
    }

    #[test]
    fn glue_is_asked_for_what_conditions_say_of_the_keys() {
        let day = || col("ymd").gt_eq(lit("2023-01-01"));
        assert_eq!(said(day()).as_deref(), Some("ymd >= '2023-01-01'"));
        assert_eq!(said(lit("2023-01-01").lt_eq(col("ymd"))).as_deref(), Some("ymd >= '2023-01-01'"));
        assert_eq!(said(col("ymd").eq(lit("it's"))).as_deref(), Some("ymd = 'it''s'"));
        let hours = col("hour").in_list(vec![lit("01"), lit("02")], false);
        assert_eq!(said(day().and(hours)).as_deref(), Some("(ymd >= '2023-01-01' AND hour IN ('01', '02'))"));
        let between = col("ymd").between(lit("2023-01-01"), lit("2023-01-02"));
        assert_eq!(said(between).as_deref(), Some("(ymd >= '2023-01-01' AND ymd <= '2023-01-02')"));
    }

    #[test]
    fn a_condition_on_other_columns_is_left_out_where_that_gives_more_partitions_only() {
        let (day, other) = (|| col("ymd").eq(lit("2023-01-01")), || col("id").eq(lit(1)));
        assert_eq!(said(day().and(other())).as_deref(), Some("ymd = '2023-01-01'"));
        assert_eq!(said(day().or(other())), None);
        let either = day().and(other()).or(col("ymd").eq(lit("2023-01-02")).and(other()));
        assert_eq!(said(either).as_deref(), Some("(ymd = '2023-01-01' OR ymd = '2023-01-02')"));
        assert_eq!(said(Expr::Not(Box::new(day().and(other())))), None);
    }

    #[test]
    fn an_expression_is_never_longer_than_glue_takes_it() {
        let days: Vec<Expr> = (0..300).map(|day| lit(format!("day {day}"))).collect();
        let conditions = [col("ymd").in_list(days, false), col("hour").eq(lit("01"))];
        assert_eq!(expression(&conditions, Vec::new()).as_deref(), Some("hour = '01'"));
    }
}
