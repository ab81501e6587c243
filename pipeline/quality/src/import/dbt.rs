//! The generic tests of dbt's `schema.yml`, as a suite for each model, source table, seed or snapshot.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use serde_norway::{Mapping, Value};

use crate::written::{WrittenCheck, WrittenSuite, map, texts};

/// The file, as far as it has tests.
#[derive(Debug, Deserialize)]
struct File {
    #[serde(default)]
    models: Vec<Model>,
    #[serde(default)]
    seeds: Vec<Model>,
    #[serde(default)]
    snapshots: Vec<Model>,
    #[serde(default)]
    sources: Vec<Source>,
}

#[derive(Debug, Deserialize)]
struct Source {
    #[serde(default)]
    tables: Vec<Model>,
}

#[derive(Debug, Deserialize)]
struct Model {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    columns: Vec<Column>,
    #[serde(default)]
    tests: Vec<Value>,
    #[serde(default)]
    data_tests: Vec<Value>,
}

#[derive(Debug, Deserialize)]
struct Column {
    name: String,
    #[serde(default)]
    tests: Vec<Value>,
    #[serde(default)]
    data_tests: Vec<Value>,
}

/// The suites of a file. Tables without tests have none.
///
/// # Errors
///
/// The text is no such file, or has no test.
pub(crate) fn suites(yaml: &str, owner: &str) -> anyhow::Result<Vec<WrittenSuite>> {
    let File { models, seeds, snapshots, sources } =
        serde_norway::from_str(yaml).context("it is no schema.yml of dbt")?;
    let tables = sources.into_iter().flat_map(|source| source.tables);
    let mut suites = Vec::new();
    for model in models.into_iter().chain(seeds).chain(snapshots).chain(tables) {
        let mut suite = WrittenSuite {
            table: model.name,
            owner: owner.to_owned(),
            description: model.description.trim().to_owned(),
            checks: Vec::new(),
            left: Vec::new(),
        };
        let of_columns = model.columns.iter().flat_map(|column| {
            let tests = column.tests.iter().chain(&column.data_tests);
            tests.map(|test| (Some(column.name.as_str()), test))
        });
        let of_table = model.tests.iter().chain(&model.data_tests).map(|test| (None, test));
        for (column, written) in of_columns.chain(of_table) {
            let test = Test::of(written);
            match test.check(column) {
                Ok(check) => suite.checks.push(check),
                Err(why) => {
                    let of = column.map_or_else(String::new, |column| format!(" of {column}"));
                    suite.left.push(format!("{}{of}: {why}", test.name));
                }
            }
        }
        if !suite.checks.is_empty() || !suite.left.is_empty() {
            suites.push(suite);
        }
    }
    ensure!(!suites.is_empty(), "it has no tests");
    Ok(suites)
}

/// A test, with its arguments and its configuration.
struct Test {
    name: String,
    arguments: BTreeMap<String, Value>,
}

/// The keys of a test that say how it is run.
const CONFIGURATION: [&str; 7] = ["severity", "where", "warn_if", "error_if", "tags", "description", "name"];

impl Test {
    fn of(test: &Value) -> Self {
        let no_arguments = |name: String| Self { name, arguments: BTreeMap::new() };
        let Value::Mapping(test) = test else { return no_arguments(test.as_str().unwrap_or("a test").to_owned()) };
        let Some((name, arguments)) = test.iter().next() else { return no_arguments("a test".to_owned()) };
        let mut all = BTreeMap::new();
        // Arguments and configuration are at the top, or in maps of their own.
        let mut add = |map: &Mapping| {
            for (key, value) in map {
                all.insert(key.as_str().unwrap_or_default().to_owned(), value.clone());
            }
        };
        if let Value::Mapping(arguments) = arguments {
            add(arguments);
            for key in ["arguments", "config"] {
                if let Some(Value::Mapping(inner)) = arguments.get(key) {
                    add(inner);
                }
            }
        }
        all.remove("arguments");
        all.remove("config");
        Self { name: name.as_str().unwrap_or("a test").to_owned(), arguments: all }
    }

    /// The check that is the same, or why there is none.
    fn check(&self, column: Option<&str>) -> Result<WrittenCheck, String> {
        let (kind, arguments, known): (_, _, &[&str]) = match (self.name.as_str(), column) {
            ("not_null", Some(column)) => ("not_null", map([("columns", texts([column]))]), &[]),
            ("unique", Some(column)) => ("unique", map([("columns", texts([column]))]), &[]),
            ("accepted_values", Some(column)) => {
                let values = self.list("values")?;
                ("accepted", map([("column", column.into()), ("values", values)]), &["values", "quote"])
            }
            ("relationships", Some(column)) => {
                let (to, field) = (self.text("to")?, self.text("field")?);
                let table = to.trim_end_matches(')').rsplit(['(', ',']).next().unwrap_or_default();
                let table = table.trim().trim_matches(['\'', '"']);
                let arguments = map([("column", column.into()), ("table", table.into()), ("to", field.into())]);
                ("in_table", arguments, &["to", "field"])
            }
            ("dbt_utils.accepted_range" | "dbt_expectations.expect_column_values_to_be_between", Some(column)) => {
                let mut range = Mapping::new();
                range.insert("column".into(), column.into());
                for (theirs, ours) in [("min_value", "min"), ("max_value", "max")] {
                    if let Some(bound) = self.arguments.get(theirs) {
                        range.insert(ours.into(), bound.clone());
                    }
                }
                let is_inclusive = self.arguments.get("inclusive").and_then(Value::as_bool) != Some(false);
                if !is_inclusive {
                    return Err("its bounds do not belong to it, which those of `range` do; write `holds`".to_owned());
                }
                ("range", Value::Mapping(range), &["min_value", "max_value", "inclusive"])
            }
            ("dbt_utils.unique_combination_of_columns", None) => {
                let columns = self.list("combination_of_columns")?;
                ("unique", map([("columns", columns)]), &["combination_of_columns"])
            }
            ("dbt_utils.expression_is_true", None) => ("holds", self.text("expression")?.into(), &["expression"]),
            _ => return Err("no kind of check here is the same".to_owned()),
        };
        let is_other = |key: &&String| !known.contains(&key.as_str()) && !CONFIGURATION.contains(&key.as_str());
        if let Some(other) = self.arguments.keys().find(is_other) {
            return Err(format!("its argument `{other}` has no meaning here"));
        }
        let of = column.map_or_else(String::new, |column| format!(" of {column}"));
        let mut check = WrittenCheck::new(format!("{}{of}", self.name), kind, arguments);
        check.more = self.configuration()?;
        if let Some(description) = self.arguments.get("description").and_then(Value::as_str) {
            description.trim().clone_into(&mut check.description);
        }
        Ok(check)
    }

    fn configuration(&self) -> Result<Vec<(&'static str, Value)>, String> {
        let mut more = Vec::new();
        if let Some(only) = self.arguments.get("where") {
            more.push(("where", only.clone()));
        }
        let is_warning = match self.arguments.get("severity").and_then(Value::as_str) {
            None => false,
            Some(severity) if severity.eq_ignore_ascii_case("error") => false,
            Some(severity) if severity.eq_ignore_ascii_case("warn") => true,
            Some(other) => return Err(format!("its severity `{other}` is not known")),
        };
        for (theirs, ours) in [("warn_if", "warn"), ("error_if", "fail")] {
            let Some(limit) = self.arguments.get(theirs) else { continue };
            more.push((ours, limit_of(limit).ok_or_else(|| format!("its `{theirs}` is not `>` and a number"))?));
        }
        // A test whose severity is `warn` never fails. Else, the limits that are not given are those of dbt: one row.
        if is_warning {
            more.retain(|(key, _)| *key != "fail");
        }
        let has = |key: &str| more.iter().any(|(known, _)| *known == key);
        let (has_warn, has_fail) = (has("warn"), has("fail"));
        if !has_warn && (is_warning || has_fail) {
            more.push(("warn", 1.into()));
        }
        if !is_warning && has_warn && !has_fail {
            more.push(("fail", 1.into()));
        }
        if let Some(tags) = self.arguments.get("tags") {
            let tags = if tags.is_string() { Value::Sequence(vec![tags.clone()]) } else { tags.clone() };
            more.push(("tags", tags));
        }
        Ok(more)
    }

    fn text(&self, name: &str) -> Result<&str, String> {
        self.arguments.get(name).and_then(Value::as_str).ok_or_else(|| format!("its argument `{name}` is missing"))
    }

    /// A list of texts; numbers become such.
    fn list(&self, name: &str) -> Result<Value, String> {
        let list = self.arguments.get(name).and_then(Value::as_sequence);
        let list = list.ok_or_else(|| format!("its argument `{name}` is missing"))?;
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(is) => Some(is.to_string()),
            _ => None,
        };
        let texts: Option<Vec<Value>> = list.iter().map(|value| text(value).map(Value::from)).collect();
        texts.map(Value::Sequence).ok_or_else(|| format!("its argument `{name}` has a value that is no text"))
    }
}

/// From how many rows on, given `>10`, `>= 10` or `!=0`.
fn limit_of(limit: &Value) -> Option<Value> {
    let text = limit.as_str()?.replace(' ', "");
    let number = |text: &str| text.parse::<u64>().ok();
    let least = if let Some(text) = text.strip_prefix(">=") {
        number(text)?
    } else if let Some(text) = text.strip_prefix('>') {
        number(text)? + 1
    } else if text == "!=0" {
        1
    } else {
        return None;
    };
    Some(least.into())
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn tests_become_checks_and_what_does_not_is_named() {
        let schema = "
version: 2
models:
  - name: trip
    description: What each vehicle drove.
    tests:
      - dbt_utils.unique_combination_of_columns:
          combination_of_columns: [ymd, trip_id]
      - dbt_utils.expression_is_true: {expression: 'begin_at <= end_at', config: {severity: warn}}
      - my_own_test
    columns:
      - name: id
        tests: [not_null, unique, {relationships: {to: \"ref('vehicle')\", field: id}}]
      - name: kind
        data_tests:
          - accepted_values: {arguments: {values: [work, 7, true]}, where: kind is not null}
          - accepted_values: {quote: false}
      - name: distance_km
        tests:
          - dbt_utils.accepted_range: {min_value: 0, max_value: 2500, error_if: '>100', warn_if: '>= 10', tags: nightly}
          - dbt_utils.accepted_range: {min_value: 0, inclusive: false}
          - not_null: {error_if: 'between 1 and 3'}
          - not_null: {limit: 10}
      - name: only_warn_if
        tests: [{not_null: {warn_if: '>10'}}]
      - name: only_error_if
        tests: [{not_null: {error_if: '>10'}}]
      - name: never_an_error
        tests: [{not_null: {severity: warn, warn_if: '>10', error_if: '>20'}}]
  - name: without_tests
sources:
  - name: raw
    tables:
      - name: events
        columns: [{name: id, tests: [not_null]}]
";
        let suites = suites(schema, "fleet@example.com").expect("suites");
        let texts: Vec<String> = suites.iter().map(|suite| suite.text().expect("a text")).collect();
        assert_snapshot!(texts.join("---\n"));
    }

    #[test]
    fn a_file_without_tests_says_so() {
        let error = |text: &str| format!("{:#}", suites(text, "a@example.com").expect_err(text));
        assert_snapshot!(error("models: [{name: a}]"), @"it has no tests");
        assert!(error("models: 3").contains("it is no schema.yml of dbt"));
    }
}
