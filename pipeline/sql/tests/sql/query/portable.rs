//! The queries of `deploy/queries` are written in what engines have in common: three dialects parse them, and `DuckDB`
//! gives the same rows as we do.
//!
//! `DuckDB` needs a Python that has it: `python3`, or the one that `E2E_PYTHON` names. Without it the test says so and
//! proves nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect, HiveDialect, RedshiftSqlDialect};
use datafusion::sql::sqlparser::parser::Parser;

use super::harness::{convert, fleet, fms_sql};

const QUERIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/queries");

fn queries() -> Vec<PathBuf> {
    let entries = fs::read_dir(QUERIES).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut queries: Vec<PathBuf> = entries.collect();
    queries.sort();
    assert!(queries.len() >= 5, "{queries:?}");
    queries
}

#[test]
fn the_dialects_of_redshift_hive_and_others_parse_every_query() {
    let dialects: [(&str, &dyn Dialect); 3] =
        [("Redshift", &RedshiftSqlDialect {}), ("Hive", &HiveDialect {}), ("the generic one", &GenericDialect {})];
    for path in queries() {
        let sql = fs::read_to_string(&path).expect("a query");
        for (name, dialect) in dialects {
            let parsed = Parser::parse_sql(dialect, &sql);
            assert_eq!(parsed.as_ref().map(Vec::len), Ok(1), "{} in the dialect {name}", path.display());
        }
    }
}

#[test]
fn duckdb_gives_the_same_rows() {
    let python = std::env::var("E2E_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let import = Command::new(&python).args(["-c", "import duckdb, pyarrow"]).output();
    if !import.as_ref().is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: `{python}` has no duckdb and pyarrow: {import:?}. Name another interpreter in E2E_PYTHON");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (lake, results) = (folder.path().join("lake"), folder.path().join("results"));
    convert(&lake, &fleet());
    fs::create_dir(&results).expect("created");
    for path in queries() {
        let result = results.join(path.with_extension("parquet").file_name().expect("a name"));
        let [query, result] = [&path, &result].map(|path| path.to_str().expect("UTF-8"));
        let arguments = ["--timezone", "Asia/Seoul", "--format", "parquet", "--output", result, "-f", query];
        let ran = fms_sql(&lake, &arguments);
        assert_eq!(ran.status, Some(0), "{query}: {}", ran.error);
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sql/query/beside_duckdb.py");
    let compared =
        Command::new(python).arg(script).args([&lake, Path::new(QUERIES), &results]).output().expect("Python");
    let said = format!("{}{}", String::from_utf8_lossy(&compared.stdout), String::from_utf8_lossy(&compared.stderr));
    println!("{said}");
    assert!(compared.status.success(), "{said}");
}
