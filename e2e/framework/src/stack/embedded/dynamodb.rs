//! DynamoDB in memory: `dynoxide` is served on a listener, and is read directly when a test observes it.

use dynoxide::actions::create_table::CreateTableRequest;
use dynoxide::actions::query::QueryRequest;
use dynoxide::actions::scan::ScanRequest;
use dynoxide::types::{
    AttributeDefinition, AttributeValue, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType,
};
use dynoxide::{Database, DynoxideError};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::stack::{StackError, Table, index_name};

/// All tables. Clones share the same database.
#[derive(Clone)]
pub(crate) struct Tables {
    database: Database,
}

/// Serves `tables` until the runtime ends. Requests have to be signed, but any key is accepted.
pub(crate) async fn serve(listener: TcpListener, tables: Tables) {
    dynoxide::server::serve_on(listener, tables.database).await;
}

impl Tables {
    /// A database without tables.
    pub(crate) fn new() -> Result<Self, StackError> {
        let database = Database::memory().map_err(|error| StackError::new("starting the embedded DynamoDB", error))?;
        Ok(Self { database })
    }

    /// Creates a table, which accepts writes at once.
    pub(crate) fn create(&self, table: &Table) -> Result<(), StackError> {
        let action = || format!("creating table {}", table.name);
        let mut request = CreateTableRequest {
            table_name: table.name.clone(),
            billing_mode: Some("PAY_PER_REQUEST".into()),
            ..Default::default()
        };
        for (name, kind) in table.attributes() {
            let attribute_type = match kind.as_str() {
                "S" => ScalarAttributeType::S,
                "N" => ScalarAttributeType::N,
                "B" => ScalarAttributeType::B,
                _ => {
                    return Err(StackError::new(
                        action(),
                        format!("key attribute {name} has type {kind:?}; a key is S, N or B"),
                    ));
                }
            };
            request.attribute_definitions.push(AttributeDefinition { attribute_name: name.clone(), attribute_type });
        }
        let element =
            |(name, _): &(String, String), key_type| KeySchemaElement { attribute_name: name.clone(), key_type };
        request.key_schema =
            table.key().zip([KeyType::HASH, KeyType::RANGE]).map(|(key, role)| element(key, role)).collect();
        if !table.indexes.is_empty() {
            let index = |key: &(String, String)| GlobalSecondaryIndex {
                index_name: index_name(&key.0),
                key_schema: vec![element(key, KeyType::HASH)],
                projection: Projection { projection_type: Some(ProjectionType::ALL), non_key_attributes: None },
                provisioned_throughput: None,
            };
            request.global_secondary_indexes = Some(table.indexes.iter().map(index).collect());
        }
        self.database.create_table(request).map(drop).map_err(|error| StackError::new(action(), error))
    }

    /// Whether a table has an item whose partition key, the attribute `name`, is this text.
    pub(crate) fn has_item(&self, table: &str, name: &str, value: &str) -> Result<bool, StackError> {
        let request = QueryRequest {
            table_name: table.to_owned(),
            key_condition_expression: Some("#k = :v".into()),
            expression_attribute_names: Some([("#k".to_owned(), name.to_owned())].into()),
            expression_attribute_values: Some([(":v".to_owned(), AttributeValue::S(value.to_owned()))].into()),
            limit: Some(1),
            ..Default::default()
        };
        match self.database.query(request) {
            Ok(found) => Ok(found.count > 0),
            Err(error) => Err(StackError::new(format!("asking table {table} for {name} = {value}"), error)),
        }
    }

    /// All items of a table, unordered.
    pub(crate) fn scan(&self, table: &str) -> Result<Vec<Value>, StackError> {
        let failed = |error: DynoxideError| StackError::new(format!("scanning table {table}"), error);
        let mut items = Vec::new();
        let mut exclusive_start_key = None;
        loop {
            let request = ScanRequest { table_name: table.to_owned(), exclusive_start_key, ..Default::default() };
            let page = self.database.scan(request).map_err(failed)?;
            for item in page.items.unwrap_or_default() {
                let mut item = serde_json::to_value(item)
                    .map_err(|error| StackError::new(format!("scanning table {table}"), error))?;
                // The attributes of items and maps come in the random order of a hash table.
                item.sort_all_objects();
                items.push(item);
            }
            exclusive_start_key = page.last_evaluated_key;
            if exclusive_start_key.is_none() {
                return Ok(items);
            }
        }
    }
}
