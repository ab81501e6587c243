//! The lineage of columns in a plan whose names are resolved: of each of its outputs, the columns of tables that it is
//! made of.

use std::collections::BTreeSet;

use anyhow::ensure;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{Aggregate, Distinct, Expr, Join, LogicalPlan, Subquery};

use super::{How, Lineage, Origin, Origins};

/// What the outputs of a plan are made of.
pub(super) fn lineage(plan: &LogicalPlan) -> anyhow::Result<Lineage> {
    let mut resolver = Resolver::default();
    let outputs = resolver.outputs(plan)?;
    let names = plan.schema().fields().iter().map(|field| field.name().clone());
    Ok(Lineage { columns: names.zip(outputs).collect(), deciding: resolver.deciding })
}

#[derive(Default)]
struct Resolver {
    deciding: BTreeSet<Origin>,
}

impl Resolver {
    /// The origins of each output of a plan.
    fn outputs(&mut self, plan: &LogicalPlan) -> anyhow::Result<Vec<Origins>> {
        let outputs = match plan {
            LogicalPlan::TableScan(scan) => {
                let origin =
                    |column: &str| Origin { table: scan.table_name.table().to_owned(), column: column.to_owned() };
                let fields = scan.projected_schema.fields().iter();
                fields.map(|field| [(origin(field.name()), How::Same)].into()).collect()
            }
            LogicalPlan::Projection(projection) => {
                let inputs = self.outputs(&projection.input)?;
                self.of_each(&projection.expr, projection.input.schema(), &inputs)?
            }
            LogicalPlan::Window(window) => {
                let mut outputs = self.outputs(&window.input)?;
                let more = self.of_each(&window.window_expr, window.input.schema(), &outputs)?;
                outputs.extend(more);
                outputs
            }
            LogicalPlan::Filter(filter) => {
                let inputs = self.outputs(&filter.input)?;
                self.decides(&filter.predicate, filter.input.schema(), &inputs)?;
                inputs
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate)?,
            LogicalPlan::Join(join) => self.join(join)?,
            LogicalPlan::Union(union) => {
                let mut outputs = vec![Origins::new(); union.schema.fields().len()];
                for input in &union.inputs {
                    for (output, input) in outputs.iter_mut().zip(self.outputs(input)?) {
                        merge(output, &input, How::Same);
                    }
                }
                outputs
            }
            LogicalPlan::Unnest(unnest) => {
                let inputs = self.outputs(&unnest.input)?;
                let of = |at: &usize| inputs.get(*at).cloned().unwrap_or_default();
                unnest.dependency_indices.iter().map(of).collect()
            }
            LogicalPlan::Distinct(Distinct::On(distinct)) => {
                let inputs = self.outputs(&distinct.input)?;
                for expr in &distinct.on_expr {
                    self.decides(expr, distinct.input.schema(), &inputs)?;
                }
                self.of_each(&distinct.select_expr, distinct.input.schema(), &inputs)?
            }
            LogicalPlan::Distinct(Distinct::All(input)) => self.outputs(input)?,
            LogicalPlan::Sort(sort) => self.outputs(&sort.input)?,
            LogicalPlan::Limit(limit) => self.outputs(&limit.input)?,
            LogicalPlan::Repartition(repartition) => self.outputs(&repartition.input)?,
            LogicalPlan::SubqueryAlias(alias) => self.outputs(&alias.input)?,
            LogicalPlan::Subquery(subquery) => self.outputs(&subquery.subquery)?,
            // Every output may be made of every column that goes in.
            other => {
                let mut all = Origins::new();
                for input in other.inputs() {
                    self.outputs(input)?.iter().for_each(|input| merge(&mut all, input, How::Computed));
                }
                vec![all; other.schema().fields().len()]
            }
        };
        let (found, fields) = (outputs.len(), plan.schema().fields().len());
        ensure!(found == fields, "a step of the query has {fields} columns, of which {found} were understood");
        Ok(outputs)
    }

    fn aggregate(&mut self, aggregate: &Aggregate) -> anyhow::Result<Vec<Origins>> {
        let Aggregate { input, group_expr, aggr_expr, schema, .. } = aggregate;
        let inputs = self.outputs(input)?;
        for expr in group_expr {
            self.decides(expr, input.schema(), &inputs)?;
        }
        if group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
            let mut all = Origins::new();
            for input in &inputs {
                merge(&mut all, input, How::Aggregated);
            }
            return Ok(vec![all; schema.fields().len()]);
        }
        let mut outputs = self.of_each(group_expr, input.schema(), &inputs)?;
        for mut output in self.of_each(aggr_expr, input.schema(), &inputs)? {
            for how in output.values_mut() {
                *how = How::Aggregated;
            }
            outputs.push(output);
        }
        Ok(outputs)
    }

    fn join(&mut self, join: &Join) -> anyhow::Result<Vec<Origins>> {
        let (left, right) = (self.outputs(&join.left)?, self.outputs(&join.right)?);
        for (one, other) in &join.on {
            self.decides(one, join.left.schema(), &left)?;
            self.decides(other, join.right.schema(), &right)?;
        }
        if let Some(filter) = &join.filter {
            self.decides(filter, join.left.schema(), &left)?;
            self.decides(filter, join.right.schema(), &right)?;
        }
        // Some joins give the columns of one side, or a mark whether there is a row on the other one.
        let fields = join.schema.fields().len();
        let both = left.len() + right.len();
        Ok(match fields {
            fields if fields == both => [left, right].concat(),
            fields if fields == left.len() => left,
            fields if fields == right.len() => right,
            _ => left.into_iter().chain([Origins::new()]).collect(),
        })
    }

    /// The origins of expressions.
    fn of_each(&mut self, exprs: &[Expr], schema: &DFSchema, inputs: &[Origins]) -> anyhow::Result<Vec<Origins>> {
        exprs.iter().map(|expr| self.of(expr, schema, inputs)).collect()
    }

    fn of(&mut self, expr: &Expr, schema: &DFSchema, inputs: &[Origins]) -> anyhow::Result<Origins> {
        let of_column = |column: &Column| schema.maybe_index_of_column(column).and_then(|at| inputs.get(at));
        match expr {
            Expr::Alias(alias) => return self.of(&alias.expr, schema, inputs),
            Expr::Cast(cast) => return self.of(&cast.expr, schema, inputs),
            Expr::TryCast(cast) => return self.of(&cast.expr, schema, inputs),
            Expr::Column(column) => return Ok(of_column(column).cloned().unwrap_or_default()),
            _ => {}
        }
        let mut found = Origins::new();
        self.gather(expr, schema, inputs, &mut found)?;
        Ok(found)
    }

    /// Adds the origins of an expression's parts. Those of conditions, and of the order of windows, decide only.
    fn gather(
        &mut self,
        expr: &Expr,
        schema: &DFSchema,
        inputs: &[Origins],
        found: &mut Origins,
    ) -> anyhow::Result<()> {
        let (mut values, mut deciding): (Vec<&Expr>, Vec<&Expr>) = (Vec::new(), Vec::new());
        let mut subqueries = Vec::new();
        expr.apply(|part| {
            match part {
                Expr::Column(column) | Expr::OuterReferenceColumn(_, column) => {
                    if let Some(origins) = schema.maybe_index_of_column(column).and_then(|at| inputs.get(at)) {
                        merge(found, origins, How::Computed);
                    }
                }
                Expr::ScalarSubquery(subquery) => subqueries.push(subquery),
                Expr::InSubquery(of) => subqueries.push(&of.subquery),
                Expr::Exists(of) => subqueries.push(&of.subquery),
                Expr::SetComparison(of) => subqueries.push(&of.subquery),
                Expr::Case(case) => {
                    deciding.extend(case.expr.as_deref());
                    deciding.extend(case.when_then_expr.iter().map(|(when, _)| &**when));
                    values.extend(case.when_then_expr.iter().map(|(_, then)| &**then));
                    values.extend(case.else_expr.as_deref());
                    return Ok(TreeNodeRecursion::Jump);
                }
                Expr::WindowFunction(function) => {
                    let params = &function.params;
                    values.extend(&params.args);
                    deciding.extend(params.partition_by.iter().chain(params.order_by.iter().map(|sort| &sort.expr)));
                    deciding.extend(params.filter.as_deref());
                    return Ok(TreeNodeRecursion::Jump);
                }
                Expr::AggregateFunction(function) => {
                    let params = &function.params;
                    values.extend(&params.args);
                    deciding.extend(params.order_by.iter().map(|sort| &sort.expr).chain(params.filter.as_deref()));
                    return Ok(TreeNodeRecursion::Jump);
                }
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        for value in values {
            self.gather(value, schema, inputs, found)?;
        }
        for Subquery { subquery, outer_ref_columns, .. } in subqueries {
            self.outputs(subquery)?.iter().for_each(|output| merge(found, output, How::Computed));
            for outer in self.of_each(outer_ref_columns, schema, inputs)? {
                merge(found, &outer, How::Computed);
            }
        }
        deciding.into_iter().try_for_each(|expr| self.decides(expr, schema, inputs))
    }

    /// Notes the columns of an expression as such that decide.
    fn decides(&mut self, expr: &Expr, schema: &DFSchema, inputs: &[Origins]) -> anyhow::Result<()> {
        let origins = self.of(expr, schema, inputs)?;
        self.deciding.extend(origins.into_keys());
        Ok(())
    }
}

/// Adds origins; of a column that is there in two ways, the one remains that says more of its values is lost.
fn merge(all: &mut Origins, more: &Origins, at_least: How) {
    for (origin, how) in more {
        let how = (*how).max(at_least);
        all.entry(origin.clone()).and_modify(|other| *other = how.max(*other)).or_insert(how);
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::sync::Arc;

    use datafusion::datasource::MemTable;
    use datafusion::prelude::SessionContext;
    use fms_lake::{Field, Type};

    use super::*;

    /// What the columns of a query are made of, one on each line.
    async fn shown(sql: &str) -> String {
        let context = SessionContext::new();
        for table in ["t", "u"] {
            let fields = ["a", "b", "c"].map(|name| Field::new(name, Type::Bigint));
            let table_of = MemTable::try_new(Arc::new(fms_lake::schema(&fields)), vec![Vec::new()]).expect("a table");
            context.register_table(table, Arc::new(table_of)).expect("a table");
        }
        let plan = context.sql(sql).await.expect("a query");
        let Lineage { columns, deciding } = lineage(plan.logical_plan()).expect("lineage");
        let mut out = String::new();
        let name = |origin: &Origin| format!("{}.{}", origin.table, origin.column);
        for (column, origins) in columns {
            let origins: Vec<String> =
                origins.iter().map(|(origin, how)| format!("{} {how:?}", name(origin))).collect();
            let _ = writeln!(out, "{column}: {}", origins.join(", "));
        }
        let _ = write!(out, "decided by: {}", deciding.iter().map(name).collect::<Vec<_>>().join(", "));
        out
    }

    #[tokio::test]
    async fn columns_are_followed_through_every_step_of_a_query() {
        insta::assert_snapshot!(shown("select a as x, a + b as y, 1 as z from t where c > 0").await, @r"
        x: t.a Same
        y: t.a Computed, t.b Computed
        z: 
        decided by: t.c
        ");
        insta::assert_snapshot!(shown(
            "with s as (select a, max(b) as m from t group by a)
             select s.a, u.b, s.m + u.c as n from s left join u on s.a = u.a"
        ).await, @r"
        a: t.a Same
        b: u.b Same
        n: t.b Aggregated, u.c Computed
        decided by: t.a, u.a
        ");
        insta::assert_snapshot!(shown(
            "select a, lag(b) over (partition by a order by c) as before from t
             union all select distinct b, cast(c as bigint) from u"
        ).await, @r"
        a: t.a Same, u.b Same
        before: t.b Computed, u.c Same
        decided by: t.a, t.c
        ");
        insta::assert_snapshot!(shown(
            "select case when b > 0 then a else 1 end as a, (select max(u.b) from u where u.a = t.a) as m from t where b in (select c from u)"
        ).await, @r"
        a: t.a Computed
        m: t.a Computed, u.b Aggregated
        decided by: t.b, u.a, u.c
        ");
    }
}
