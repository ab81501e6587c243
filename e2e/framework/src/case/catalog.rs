//! The Glue tables that a case creates before its pipeline starts: the files of `catalog/<database>/`.

use std::path::Path;

use serde_json::Value;

use super::error::FixtureError;
use super::seed::{entries, folders};
use crate::stack::namespace;

/// A Glue table that is there before the pipeline starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedTable {
    /// The database, which is one of `databases`.
    pub database: String,
    /// The name of the table, which is that of the file without `.json`.
    pub name: String,
    /// A `TableInput` of Glue's API as JSON text, in which the namespace is not filled in yet.
    text: String,
}

impl SeedTable {
    /// The table as the operation `CreateTable` takes it, with the namespace filled in.
    pub(crate) fn input(&self, namespace: &str) -> serde_json::Result<Value> {
        let mut input: Value = serde_json::from_str(&namespace::fill_in(&self.text, namespace))?;
        input["Name"] = self.name.clone().into();
        Ok(input)
    }
}

/// Reads `catalog/` of a case, in the order of database and name. There need not be such a folder.
pub(super) fn read(folder: &Path, databases: &[String]) -> Result<Vec<SeedTable>, FixtureError> {
    let mut tables = Vec::new();
    if !folder.exists() {
        return Ok(tables);
    }
    for (database, path) in folders(folder, "catalog", "database", databases)? {
        for (file, path) in entries(&path)? {
            tables.push(read_table(&path, &file, &database)?);
        }
    }
    if tables.is_empty() {
        let problem = "has no files; delete it, or put tables into `catalog/<database>/<table>.json`";
        return Err(FixtureError::new(folder, problem));
    }
    Ok(tables)
}

fn read_table(path: &Path, file: &str, database: &str) -> Result<SeedTable, FixtureError> {
    let Some(name) = file.strip_suffix(".json").filter(|name| !name.is_empty() && path.is_file()) else {
        return Err(FixtureError::new(path, "a table is a file that is named `<table>.json`"));
    };
    let text = std::fs::read_to_string(path).map_err(|error| FixtureError::io(path, "read", &error))?;
    let input: Value = serde_json::from_str(&text)
        .map_err(|error| FixtureError::new(path, format!("is no `TableInput` of Glue as JSON: {error}")))?;
    match input.get("Name") {
        _ if !input.is_object() => Err(FixtureError::new(path, "is no object, as a `TableInput` of Glue is")),
        Some(other) if other != name => {
            Err(FixtureError::new(path, format!("its `Name` is {other}, and its file is named after `{name}`")))
        }
        _ => Ok(SeedTable { database: database.to_owned(), name: name.to_owned(), text }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_one(path: &str, text: &str) -> Result<Vec<SeedTable>, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("catalog").join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("written");
        read(&folder.path().join("catalog"), &["fleet".to_owned()]).map_err(|error| error.problem)
    }

    #[test]
    fn a_table_has_the_name_of_its_file_and_the_namespace_of_the_test() {
        let location = r#"{"StorageDescriptor":{"Location":"s3://${namespace}lake/t/"}}"#;
        let tables = read_one("fleet/t.json", location).expect("a table");
        assert_eq!((tables[0].database.as_str(), tables[0].name.as_str()), ("fleet", "t"));
        let input = tables[0].input("n-").expect("JSON");
        assert_eq!(input, json!({"Name": "t", "StorageDescriptor": {"Location": "s3://n-lake/t/"}}));
        assert_eq!(read(Path::new("/nowhere"), &[]).expect("no tables"), []);
    }

    #[test]
    fn what_is_no_table_of_the_case_is_refused() {
        for (path, text, problem) in [
            ("flet/t.json", "{}", "`flet` is not among `databases`; did you mean `fleet`?"),
            ("fleet/t.sql", "{}", "named `<table>.json`"),
            ("fleet/t.json/u.json", "{}", "named `<table>.json`"),
            ("t.json", "{}", "one folder for each database"),
            ("fleet/t.json", "{", "is no `TableInput` of Glue as JSON"),
            ("fleet/t.json", "[]", "is no object"),
            ("fleet/t.json", r#"{"Name":"u"}"#, r#"its `Name` is "u", and its file is named after `t`"#),
        ] {
            let error = read_one(path, text).expect_err(path);
            assert!(error.contains(problem), "{error}");
        }
    }
}
