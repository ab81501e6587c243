//! Tables and their versions. A change makes a new version, and can be bound to the version that it replaces.

use std::collections::{BTreeMap, BTreeSet};

use regex::RegexBuilder;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::page::{self, Page};
use super::{
    ACCOUNT, CatalogId, Databases, Name, Refusal, check_members, column_type, database, described, done, exists,
    invalid, not_found, now, table,
};

/// The largest description of a table, as JSON.
const LARGEST: usize = 400 * 1024;

/// The members of a `TableInput`.
const MEMBERS: [&str; 12] = [
    "Name",
    "Description",
    "Owner",
    "LastAccessTime",
    "LastAnalyzedTime",
    "Retention",
    "StorageDescriptor",
    "PartitionKeys",
    "ViewOriginalText",
    "ViewExpandedText",
    "TableType",
    "Parameters",
];

/// A table with its versions and partitions.
#[derive(Debug)]
pub(super) struct Table {
    current: Value,
    /// The versions before the current one that were archived, the oldest first.
    archived: Vec<Value>,
    version: u64,
    /// Every partition as Glue gives it, by its values.
    pub(super) partitions: BTreeMap<Vec<String>, Value>,
}

impl Table {
    /// The table as Glue gives it.
    pub(super) fn current(&self) -> &Value {
        &self.current
    }

    /// The columns by which the table is partitioned: name and type of each.
    pub(super) fn partition_keys(&self) -> Vec<(&str, &str)> {
        columns(self.current.get("PartitionKeys")).collect()
    }
}

/// Name and type of each column in a list of columns.
fn columns(list: Option<&Value>) -> impl Iterator<Item = (&str, &str)> {
    fn text<'a>(column: &'a Value, member: &str) -> &'a str {
        column.get(member).and_then(Value::as_str).unwrap_or_default()
    }
    list.and_then(Value::as_array).into_iter().flatten().map(|column| (text(column, "Name"), text(column, "Type")))
}

/// Checks what a client gives of a table or partition: every column has a name of its own, and a type that can be read.
pub(super) fn check_columns(given: &Map<String, Value>) -> Result<(), Refusal> {
    let mut names = BTreeSet::new();
    let descriptor = given.get("StorageDescriptor").and_then(|descriptor| descriptor.get("Columns"));
    for (name, kind) in columns(descriptor).chain(columns(given.get("PartitionKeys"))) {
        if name.is_empty() || name.len() > 255 {
            return Err(invalid(format!("the column name `{name}` does not have 1 to 255 bytes")));
        }
        if !names.insert(name.to_lowercase()) {
            return Err(invalid(format!("the column {name} is there twice; names that differ by case are the same")));
        }
        if !kind.is_empty() {
            column_type::check(kind)
                .map_err(|problem| invalid(format!("the type `{kind}` of column {name} cannot be read: {problem}")))?;
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct TableInput {
    #[serde(rename = "Name")]
    name: Name,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl TableInput {
    /// The table as Glue gives it.
    fn describe(self, database: &Name, created: &Value, version: u64) -> Result<Value, Refusal> {
        check_members(&self.rest, "TableInput", &MEMBERS)?;
        check_columns(&self.rest)?;
        let added = json!({
            "Name": self.name.0,
            "DatabaseName": database.0,
            "CreateTime": created,
            "UpdateTime": now(),
            "CreatedBy": format!("arn:aws:iam::{ACCOUNT}:user/embedded"),
            "IsRegisteredWithLakeFormation": false,
            "CatalogId": ACCOUNT,
            "VersionId": version.to_string(),
        });
        let table = described(self.rest, added);
        let size = table.to_string().len();
        if size > LARGEST {
            return Err(invalid(format!("the table has {size} bytes, more than the {LARGEST} that Glue keeps")));
        }
        Ok(table)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Create {
    #[serde(rename = "CatalogId")]
    _catalog_id: Option<CatalogId>,
    database_name: Name,
    table_input: TableInput,
}

pub(super) fn create(state: &mut Databases, input: Create) -> Result<Value, Refusal> {
    let tables = &mut database(state, &input.database_name)?.tables;
    let name = input.table_input.name.0.clone();
    if tables.contains_key(&name) {
        return Err(exists("Table"));
    }
    let current = input.table_input.describe(&input.database_name, &now(), 0)?;
    tables.insert(name, Table { current, archived: Vec::new(), version: 0, partitions: BTreeMap::new() });
    Ok(done())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct One {
    #[serde(rename = "CatalogId")]
    _catalog_id: Option<CatalogId>,
    database_name: Name,
    name: Name,
}

pub(super) fn get(state: &mut Databases, input: &One) -> Result<Value, Refusal> {
    Ok(json!({"Table": table(state, &input.database_name, &input.name)?.current}))
}

pub(super) fn delete(state: &mut Databases, input: &One) -> Result<Value, Refusal> {
    let removed = database(state, &input.database_name)?.tables.remove(&input.name.0);
    removed.ok_or_else(|| not_found("Table", &input.name.0))?;
    Ok(done())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct List {
    #[serde(rename = "CatalogId")]
    _catalog_id: Option<CatalogId>,
    database_name: Name,
    /// A regular expression that matches the whole name.
    expression: Option<String>,
    next_token: Option<String>,
    max_results: Option<i64>,
}

pub(super) fn list(state: &mut Databases, input: &List) -> Result<Value, Refusal> {
    let page = Page::new(input.next_token.as_ref(), input.max_results, 100)?;
    let pattern = |text: &String| {
        let whole = RegexBuilder::new(&format!("^(?:{text})$")).case_insensitive(true).build();
        whole.map_err(|error| invalid(format!("the expression `{text}` is no regular expression: {error}")))
    };
    let pattern = input.expression.as_ref().filter(|text| !text.is_empty()).map(pattern).transpose()?;
    let tables = database(state, &input.database_name)?.tables.iter();
    let found = tables.filter(|(name, _)| pattern.as_ref().is_none_or(|pattern| pattern.is_match(name)));
    Ok(page::answer("TableList", page.of(found.map(|(name, table)| (vec![name.clone()], table.current.clone())))))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Update {
    #[serde(rename = "CatalogId")]
    _catalog_id: Option<CatalogId>,
    database_name: Name,
    table_input: TableInput,
    #[serde(default)]
    skip_archive: bool,
    version_id: Option<String>,
}

pub(super) fn update(state: &mut Databases, input: Update) -> Result<Value, Refusal> {
    let table = table(state, &input.database_name, &input.table_input.name)?;
    if input.version_id.is_some_and(|version| version != table.version.to_string()) {
        return Err(Refusal::new(
            "ConcurrentModificationException",
            format!("Update table failed due to concurrent modifications: the table's version is {}.", table.version),
        ));
    }
    let created = table.current["CreateTime"].clone();
    let next = input.table_input.describe(&input.database_name, &created, table.version + 1)?;
    let before = std::mem::replace(&mut table.current, next);
    table.version += 1;
    if !input.skip_archive {
        table.archived.push(before);
    }
    Ok(done())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Versions {
    #[serde(rename = "CatalogId")]
    _catalog_id: Option<CatalogId>,
    database_name: Name,
    table_name: Name,
    next_token: Option<String>,
    max_results: Option<i64>,
}

/// The versions of a table, the newest first.
pub(super) fn versions(state: &mut Databases, input: &Versions) -> Result<Value, Refusal> {
    let page = Page::new(input.next_token.as_ref(), input.max_results, 100)?;
    let table = table(state, &input.database_name, &input.table_name)?;
    let newest_first = std::iter::once(&table.current).chain(table.archived.iter().rev());
    let entries = newest_first.enumerate().map(|(index, version)| {
        // The key sorts as the position does, whatever the number of versions.
        (vec![format!("{index:020}")], json!({"Table": version, "VersionId": version["VersionId"]}))
    });
    Ok(page::answer("TableVersions", page.of(entries)))
}
