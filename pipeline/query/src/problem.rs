//! Why a query does not start, in words for its author: where in the text, what is wrong, and which names are near.

use std::fmt;
use std::ops::ControlFlow;

use datafusion::common::{SchemaError, TableReference};
use datafusion::error::DataFusionError;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Spanned as _, visit_relations};
use thiserror::Error;

/// How alike two names have to be to be near, from 0 to 1.
const NEAR: f64 = 0.85;
/// How many near names, or names at all, are listed.
const LISTED: usize = 5;

/// A line and a column of the query's text, from 1 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    line: u64,
    column: u64,
}

/// Why a query does not start.
#[derive(Debug, Error)]
pub struct Problem {
    position: Option<Position>,
    text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Position { line, column }) = self.position {
            write!(f, "line {line}, column {column}: ")?;
        }
        f.write_str(&self.text)
    }
}

impl Problem {
    /// A problem of the whole query.
    pub fn new(text: impl Into<String>) -> Self {
        Self { position: None, text: text.into() }
    }

    /// The same problem, if the query begins at this line of a file, counted from 1 on.
    #[must_use]
    pub fn from_line(mut self, first: usize) -> Self {
        if let Some(position) = &mut self.position {
            position.line += (first as u64).saturating_sub(1);
        }
        self
    }
}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        Self::new(format!("{error:#}"))
    }
}

impl From<DataFusionError> for Problem {
    fn from(error: DataFusionError) -> Self {
        of(&error)
    }
}

/// The problem that an error of the engine tells.
pub(crate) fn of(error: &DataFusionError) -> Problem {
    let mut position = None;
    let text = describe(error, &mut position);
    // The parser writes the position behind its message.
    match text.rsplit_once(" at Line: ").and_then(|(text, position)| Some((text, at(position)?))) {
        Some((text, position)) => Problem { position: Some(position), text: text.to_owned() },
        None => Problem { position, text },
    }
}

/// The numbers in `3, Column: 12`.
fn at(position: &str) -> Option<Position> {
    let (line, column) = position.trim_end_matches(')').split_once(", Column: ")?;
    Some(Position { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
}

fn describe(error: &DataFusionError, position: &mut Option<Position>) -> String {
    match error {
        DataFusionError::Diagnostic(diagnostic, error) => {
            if let Some(span) = diagnostic.span {
                *position = Some(Position { line: span.start.line, column: span.start.column });
            }
            describe(error, position)
        }
        // What went on is the engine's own affair.
        DataFusionError::Context(_, error) => describe(error, position),
        DataFusionError::Shared(error) => describe(error, position),
        DataFusionError::Collection(errors) => match errors.as_slice() {
            [first, ..] => describe(first, position),
            [] => error.to_string(),
        },
        DataFusionError::SchemaError(error, _) => match &**error {
            SchemaError::FieldNotFound { field, valid_fields } => {
                let name = match &field.relation {
                    Some(table) => format!("{}.{}", table.table(), field.name),
                    None => field.name.clone(),
                };
                let names = valid_fields.iter().map(|field| field.name.clone());
                format!("there is no column `{name}`; {}", near(&field.name, names))
            }
            error => error.to_string(),
        },
        DataFusionError::SQL(error, _) => error.to_string().trim_start_matches("sql parser error: ").to_owned(),
        DataFusionError::Plan(text) | DataFusionError::Execution(text) | DataFusionError::ResourcesExhausted(text) => {
            text.clone()
        }
        DataFusionError::External(error) => chain(&**error),
        DataFusionError::ObjectStore(error) => match &**error {
            object_store::Error::Generic { source, .. } => chain(&**source),
            error => error.to_string(),
        },
        error => error.strip_backtrace(),
    }
}

/// An error with its causes, as far as its text does not have them.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

/// The problem that a statement names a table that does not exist.
pub(crate) fn no_table(statement: &Statement, table: &TableReference, database: &str, names: Vec<String>) -> Problem {
    let text = match table.schema() {
        Some(schema) if schema != database || table.catalog().is_some() => {
            format!("there is no table `{table}`: every table here is in `{database}`")
        }
        _ => format!("there is no table `{}`; {}", table.table(), near(table.table(), names)),
    };
    Problem { position: position(statement, table.table()), text }
}

/// Where a table is named in a statement.
fn position(statement: &Statement, table: &str) -> Option<Position> {
    let statement = match statement {
        Statement::Statement(statement) => statement,
        Statement::Explain(explain) => return position(&explain.statement, table),
        _ => return None,
    };
    let found = visit_relations(&**statement, |name| {
        let is_it = name.0.last().is_some_and(|part| {
            part.as_ident().is_some_and(|ident| ident.value == table || ident.value.to_lowercase() == table)
        });
        if is_it { ControlFlow::Break(name.span().start) } else { ControlFlow::Continue(()) }
    });
    match found {
        ControlFlow::Break(start) if start.line > 0 => Some(Position { line: start.line, column: start.column }),
        _ => None,
    }
}

/// The names that are near to one, or some of all if none is.
fn near(name: &str, names: impl IntoIterator<Item = String>) -> String {
    let name = name.to_lowercase();
    let likeness = |other: &str| {
        let part = if other.contains(&name) { NEAR } else { 0.0 };
        strsim::normalized_damerau_levenshtein(&name, other).max(part)
    };
    let mut names: Vec<(f64, String)> = names.into_iter().map(|other| (likeness(&other), other)).collect();
    names.sort_by(|(a, a_name), (b, b_name)| b.total_cmp(a).then_with(|| a_name.cmp(b_name)));
    names.dedup_by(|(_, a), (_, b)| a == b);
    let (near, others): (Vec<_>, Vec<_>) = names.into_iter().partition(|(likeness, _)| *likeness >= NEAR);
    if near.is_empty() {
        return format!("there is {}", list(others.into_iter().map(|(_, name)| name)));
    }
    format!("did you mean {}?", list(near.into_iter().map(|(_, name)| name)))
}

/// Names as a sentence has them; `nothing` if there are none.
pub(crate) fn list(names: impl IntoIterator<Item = String>) -> String {
    let names: Vec<String> = names.into_iter().collect();
    let shown: Vec<String> = names.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    match names.len() {
        0 => "nothing".to_owned(),
        1..=LISTED => shown.join(", "),
        more => format!("{} and {} more", shown.join(", "), more - LISTED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn near_names_come_first_and_others_only_if_none_is() {
        assert_eq!(near("presure", names(&["id", "pressure", "id"])), "did you mean `pressure`?");
        assert_eq!(near("press", names(&["id", "pressure"])), "did you mean `pressure`?");
        assert_eq!(near("Pressure", names(&["pressure"])), "did you mean `pressure`?");
        assert_eq!(near("q", names(&["pressure", "id"])), "there is `id`, `pressure`");
        assert_eq!(near("x", names(&[])), "there is nothing");
        assert!(near("q", names(&["a1", "a2", "a3", "a4", "a5", "a6", "a7"])).ends_with(" and 2 more"));
    }

    #[test]
    fn the_parsers_position_comes_first() {
        let error = datafusion::sql::sqlparser::parser::ParserError::ParserError("wrong at Line: 3, Column: 12".into());
        let problem = of(&DataFusionError::SQL(Box::new(error), None));
        assert_eq!(problem.to_string(), "line 3, column 12: wrong");
    }
}
