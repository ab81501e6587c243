//! Databases: creating, reading, listing and deleting.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::page::{self, Page};
use super::tables::Table;
use super::{
    ACCOUNT, CatalogId, Databases, Name, Refusal, check_members, database, described, done, exists, not_found, now,
};

/// A database with its tables.
#[derive(Debug)]
pub(super) struct Database {
    /// The database as Glue gives it.
    description: Value,
    pub(super) tables: BTreeMap<String, Table>,
}

impl Database {
    /// A database without tables, of which only the name is given.
    pub(super) fn named(name: &str) -> Self {
        Self::new(name, Map::new())
    }

    fn new(name: &str, input: Map<String, Value>) -> Self {
        let added = json!({"Name": name, "CreateTime": now(), "CatalogId": ACCOUNT});
        Self { description: described(input, added), tables: BTreeMap::new() }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Create {
    #[serde(rename = "CatalogId")]
    _catalog_id: Option<CatalogId>,
    database_input: DatabaseInput,
}

#[derive(Deserialize)]
struct DatabaseInput {
    #[serde(rename = "Name")]
    name: Name,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

pub(super) fn create(state: &mut Databases, input: Create) -> Result<Value, Refusal> {
    let DatabaseInput { name: Name(name), rest } = input.database_input;
    check_members(&rest, "DatabaseInput", &["Name", "Description", "LocationUri", "Parameters"])?;
    match state.entry(name) {
        Entry::Occupied(_) => Err(exists("Database")),
        Entry::Vacant(place) => {
            let database = Database::new(place.key(), rest);
            place.insert(database);
            Ok(done())
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct One {
    #[serde(rename = "CatalogId")]
    _catalog_id: Option<CatalogId>,
    name: Name,
}

pub(super) fn get(state: &mut Databases, input: &One) -> Result<Value, Refusal> {
    Ok(json!({"Database": database(state, &input.name)?.description}))
}

pub(super) fn delete(state: &mut Databases, input: One) -> Result<Value, Refusal> {
    let Name(name) = input.name;
    state.remove(&name).ok_or_else(|| not_found("Database", &name))?;
    Ok(done())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct List {
    #[serde(rename = "CatalogId")]
    _catalog_id: Option<CatalogId>,
    next_token: Option<String>,
    max_results: Option<i64>,
}

pub(super) fn list(state: &mut Databases, input: &List) -> Result<Value, Refusal> {
    let page = Page::new(input.next_token.as_ref(), input.max_results, 100)?;
    let all = state.iter().map(|(name, database)| (vec![name.clone()], database.description.clone()));
    Ok(page::answer("DatabaseList", page.of(all)))
}
