//! The query of a model in the words of another engine, where it does not have those of the model.

use std::ops::ControlFlow;

use anyhow::{Context as _, ensure};
use datafusion::sql::sqlparser::ast::{
    DataType, DateTimeField, ExactNumberInfo, Expr, FunctionArg, FunctionArgExpr, FunctionArguments,
    NamedWindowDefinition, NamedWindowExpr, Query, Select, Statement, VisitMut as _, VisitorMut, WindowType,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::Engine;

/// The query as the engine takes it.
pub(super) fn query(engine: Engine, sql: &str) -> anyhow::Result<String> {
    let mut query = parsed(sql)?;
    let mut words = Words { engine, failed: None };
    let _ = query.visit(&mut words);
    match words.failed {
        None => Ok(format!("{query:#}")),
        Some(error) => Err(error),
    }
}

fn parsed(sql: &str) -> anyhow::Result<Box<Query>> {
    let mut statements = Parser::parse_sql(&GenericDialect {}, sql)?;
    ensure!(statements.len() == 1, "it is not one query");
    match statements.pop() {
        Some(Statement::Query(query)) => Ok(query),
        _ => anyhow::bail!("it is no query"),
    }
}

struct Words {
    engine: Engine,
    failed: Option<anyhow::Error>,
}

impl VisitorMut for Words {
    type Break = ();

    /// Queries within have been translated before.
    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if self.engine == Engine::Redshift {
            inline_windows(select);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match translated(self.engine, expr) {
            Ok(Some(other)) => *expr = other,
            Ok(None) => {}
            Err(error) => {
                self.failed = Some(error);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

/// Puts windows that have a name where they are used, because Redshift has no clause `window`.
fn inline_windows(select: &mut Select) {
    let windows = std::mem::take(&mut select.named_window);
    if windows.is_empty() {
        return;
    }
    let _ = select.visit(&mut Inline(&windows));
}

/// Replaces the names of windows.
struct Inline<'w>(&'w [NamedWindowDefinition]);

impl VisitorMut for Inline<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr
            && let Some(WindowType::NamedWindow(name)) = &function.over
            && let Some(NamedWindowDefinition(_, NamedWindowExpr::WindowSpec(window))) =
                self.0.iter().find(|NamedWindowDefinition(other, _)| other == name)
        {
            function.over = Some(WindowType::WindowSpec(window.clone()));
        }
        ControlFlow::Continue(())
    }
}

/// What an expression is for an engine that has no such one.
fn translated(engine: Engine, expr: &mut Expr) -> anyhow::Result<Option<Expr>> {
    match expr {
        // Redshift gives whole seconds, and Athena has another function.
        Expr::Extract { field: DateTimeField::Epoch, expr, .. } => Ok(Some(match engine {
            Engine::Redshift => expression(&format!("(datediff(ms, timestamp '1970-01-01', {expr}) / 1000.0)"))?,
            Engine::Athena => expression(&format!("to_unixtime({expr})"))?,
        })),
        Expr::Cast { data_type, .. } if engine == Engine::Athena && *data_type == DataType::DoublePrecision => {
            *data_type = DataType::Double(ExactNumberInfo::None);
            Ok(None)
        }
        // Athena has no exact median: it is the mean of the two values in the middle, which are one if the number is odd.
        Expr::Function(function)
            if engine == Engine::Athena && function.name.to_string().eq_ignore_ascii_case("median") =>
        {
            let FunctionArguments::List(list) = &function.args else { anyhow::bail!("`median` has no argument") };
            let [FunctionArg::Unnamed(FunctionArgExpr::Expr(of))] = &*list.args else {
                anyhow::bail!("`median` has another number of arguments than one")
            };
            ensure!(function.over.is_none(), "`median` over a window has no counterpart in Athena");
            let sorted = format!("array_sort(array_agg({of}) filter (where {of} is not null))");
            Ok(Some(expression(&format!(
                "((element_at({sorted}, (count({of}) + 1) / 2) + element_at({sorted}, (count({of}) + 2) / 2)) / 2)"
            ))?))
        }
        _ => Ok(None),
    }
}

fn expression(sql: &str) -> anyhow::Result<Expr> {
    let mut parser = Parser::new(&GenericDialect {}).try_with_sql(sql)?;
    parser.parse_expr().with_context(|| format!("`{sql}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing but the windows is translated.
    struct Inlined;

    impl VisitorMut for Inlined {
        type Break = ();

        fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
            inline_windows(select);
            ControlFlow::Continue(())
        }
    }

    #[test]
    fn what_an_engine_has_not_is_said_in_its_words() {
        let one_line = |engine, sql: &str| {
            let text = query(engine, sql).expect("a query");
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let sql = "select median(a) as m, cast(b as double precision) as d, extract(epoch from c) as e from t";
        assert_eq!(
            one_line(Engine::Athena, sql),
            "SELECT ((element_at(array_sort(array_agg(a) FILTER (WHERE a IS NOT NULL)), (count(a) + 1) / 2) + \
             element_at(array_sort(array_agg(a) FILTER (WHERE a IS NOT NULL)), (count(a) + 2) / 2)) / 2) AS m, \
             CAST(b AS DOUBLE) AS d, to_unixtime(c) AS e FROM t"
        );
        assert_eq!(
            one_line(Engine::Redshift, sql),
            "SELECT median(a) AS m, CAST(b AS DOUBLE PRECISION) AS d, \
             (datediff(ms, TIMESTAMP '1970-01-01', c) / 1000.0) AS e FROM t"
        );
        let windows = "select lag(a) over w, max(b) over w from t window w as (partition by c order by d)";
        assert!(one_line(Engine::Athena, windows).contains("WINDOW w AS (PARTITION BY c ORDER BY d)"));
        let inlined = one_line(Engine::Redshift, windows);
        assert!(!inlined.contains("WINDOW"), "{inlined}");
        assert_eq!(inlined.matches("PARTITION BY c ORDER BY d").count(), 2, "{inlined}");
        assert!(query(Engine::Athena, "select 1; select 2").is_err());
    }

    /// A model whose windows are written where they are used gives the same rows.
    #[tokio::test]
    async fn windows_without_a_name_give_the_rows_that_were_worked_out_by_hand() {
        let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/mart"));
        let models = crate::model::Models::read(folder).expect("models");
        let mut seen = 0;
        for model in models.iter().filter(|model| model.sql.contains("window ")) {
            let mut query = parsed(&model.sql).expect("a query");
            let _ = query.visit(&mut Inlined);
            let other = crate::model::Model { sql: query.to_string(), ..model.clone() };
            assert_ne!(other.sql, parsed(&model.sql).expect("a query").to_string());
            assert_eq!(crate::example::examples(&other).await.expect("examples"), [], "{}", model.name);
            seen += 1;
        }
        assert!(seen >= 3, "{seen} models have windows with names");
    }
}
