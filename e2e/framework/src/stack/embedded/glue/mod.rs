//! Glue's Data Catalog in memory: databases, tables with their versions, and partitions.
//!
//! It follows AWS's API reference (<https://docs.aws.amazon.com/glue/latest/webapi/API_Operations.html>). What a client
//! gives is kept as the JSON that it was, and is given back with the members that Glue adds. A member of a request that
//! is not known here is refused, because a test would otherwise pass that relies on it.

mod column_type;
mod databases;
mod expression;
mod page;
mod partitions;
mod tables;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use self::databases::Database;
use self::tables::Table;
use super::ACCOUNT;
use super::json_service::{self, Call, JsonService, Refusal, unknown};

/// The whole catalog of one account. Clones share the same catalog.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog {
    databases: Arc<Mutex<Databases>>,
}

/// Serves `catalog` until this future is dropped.
pub(crate) async fn serve(listener: TcpListener, catalog: Catalog) {
    json_service::serve(listener, catalog).await;
}

impl Catalog {
    /// Creates a database. A database that exists already is left unchanged.
    pub(crate) fn create_database(&self, name: &str) {
        let name = name.to_lowercase();
        self.state().entry(name.clone()).or_insert_with(|| Database::named(&name));
    }

    /// Creates a table, of which a `TableInput` is given. An error is what Glue would say.
    pub(crate) fn create_table(&self, database: &str, table: &Value) -> Result<(), String> {
        let input = serde_json::from_value(json!({"DatabaseName": database, "TableInput": table}));
        let input = input.map_err(|error| format!("it is no TableInput of Glue: {error}"))?;
        let created = tables::create(&mut self.state(), input);
        created.map(drop).map_err(|Refusal { kind, message, .. }| format!("{kind}: {message}"))
    }

    /// Each table of a database as Glue gives it, with its partitions as `Partitions`, sorted by name and by values. It
    /// is `None` if there is no such database.
    pub(crate) fn tables(&self, database: &str) -> Option<Vec<Value>> {
        let state = self.state();
        let tables = &state.get(&database.to_lowercase())?.tables;
        let whole = |table: &Table| {
            let mut whole = table.current().clone();
            whole["Partitions"] = table.partitions.values().cloned().collect();
            whole
        };
        Some(tables.values().map(whole).collect())
    }

    fn state(&self) -> MutexGuard<'_, Databases> {
        self.databases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl JsonService for Catalog {
    const CONTENT_TYPE: &'static str = "application/x-amz-json-1.1";
    const TARGET: &'static str = "AWSGlue";
    const ERROR_NAMESPACE: &'static str = "";
    const UNKNOWN_OPERATION: &'static str = "ValidationException";

    async fn call(&self, call: Call) -> Result<Value, Refusal> {
        let state = &mut *self.state();
        match call.operation.as_str() {
            "CreateDatabase" => databases::create(state, call.input()?),
            "GetDatabase" => databases::get(state, &call.input()?),
            "GetDatabases" => databases::list(state, &call.input()?),
            "DeleteDatabase" => databases::delete(state, call.input()?),
            "CreateTable" => tables::create(state, call.input()?),
            "GetTable" => tables::get(state, &call.input()?),
            "GetTables" => tables::list(state, &call.input()?),
            "UpdateTable" => tables::update(state, call.input()?),
            "DeleteTable" => tables::delete(state, &call.input()?),
            "GetTableVersions" => tables::versions(state, &call.input()?),
            "CreatePartition" => partitions::create(state, call.input()?),
            "BatchCreatePartition" => partitions::batch_create(state, call.input()?),
            "GetPartition" => partitions::get(state, &call.input()?),
            "GetPartitions" => partitions::list(state, &call.input()?),
            "BatchGetPartition" => partitions::batch_get(state, &call.input()?),
            "UpdatePartition" => partitions::update(state, call.input()?),
            "BatchUpdatePartition" => partitions::batch_update(state, call.input()?),
            "DeletePartition" => partitions::delete(state, &call.input()?),
            "BatchDeletePartition" => partitions::batch_delete(state, &call.input()?),
            operation => Err(unknown::<Self>(operation)),
        }
    }
}

/// The name of a database or table, which Glue folds to lower case.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Name(String);

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if name.is_empty() || name.len() > 255 || name.chars().any(char::is_control) {
            return Err(format!("`{name}`: a name has 1 to 255 bytes and no control characters"));
        }
        Ok(Self(name.to_lowercase()))
    }
}

/// The id of a catalog that a request names. The account has only its own.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct CatalogId;

impl TryFrom<String> for CatalogId {
    type Error = String;

    fn try_from(id: String) -> Result<Self, String> {
        if id == ACCOUNT { Ok(Self) } else { Err(format!("CatalogId {id} is not {ACCOUNT}, the only catalog here")) }
    }
}

fn not_found(what: &str, name: &str) -> Refusal {
    Refusal::new("EntityNotFoundException", format!("{what} {name} not found."))
}

fn exists(what: &str) -> Refusal {
    Refusal::new("AlreadyExistsException", format!("{what} already exists."))
}

fn invalid(problem: impl Into<String>) -> Refusal {
    Refusal::new("InvalidInputException", problem)
}

fn constraint(problem: impl Into<String>) -> Refusal {
    Refusal::new("ValidationException", format!("1 validation error detected: {}", problem.into()))
}

/// The databases of the catalog, by name.
type Databases = BTreeMap<String, Database>;

/// The database that a request names.
fn database<'a>(state: &'a mut Databases, name: &Name) -> Result<&'a mut Database, Refusal> {
    state.get_mut(&name.0).ok_or_else(|| not_found("Database", &name.0))
}

/// The table that a request names.
fn table<'a>(state: &'a mut Databases, of: &Name, name: &Name) -> Result<&'a mut Table, Refusal> {
    database(state, of)?.tables.get_mut(&name.0).ok_or_else(|| not_found("Table", &name.0))
}

/// The time as Glue's answers have it: seconds since the Unix epoch, with milliseconds.
fn now() -> Value {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let seconds = std::time::Duration::from_millis(u64::try_from(millis).unwrap_or_default()).as_secs_f64();
    json!(seconds)
}

/// `given` with the members that Glue adds. Null members are those that a client left out.
fn described(given: Map<String, Value>, added: Value) -> Value {
    let mut described = given;
    described.retain(|_, value| !value.is_null());
    if let Value::Object(added) = added {
        described.extend(added);
    }
    Value::Object(described)
}

/// An error unless `given` has only members that AWS's reference names.
fn check_members(given: &Map<String, Value>, what: &str, members: &[&str]) -> Result<(), Refusal> {
    match given.keys().find(|name| !members.contains(&name.as_str())) {
        Some(name) => Err(constraint(format!("{what} has no member {name}; it has {}", members.join(", ")))),
        None => Ok(()),
    }
}

/// The answer of an operation that has nothing to say.
fn done() -> Value {
    json!({})
}
