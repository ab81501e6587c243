//! Partitions: single calls, batches with an error for each entry that fails, and listings by an expression.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::expression::Filter;
use super::page::{self, Page};
use super::tables::{Table, check_columns};
use super::{
    ACCOUNT, CatalogId, Databases, Name, Refusal, check_members, constraint, described, done, exists, invalid,
    not_found, now, table,
};

/// The members of a `PartitionInput`.
const MEMBERS: [&str; 5] = ["Values", "LastAccessTime", "LastAnalyzedTime", "StorageDescriptor", "Parameters"];

#[derive(Deserialize)]
struct PartitionInput {
    #[serde(rename = "Values", default)]
    values: Vec<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// The values of a partition, by which a batch names it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Values {
    values: Vec<String>,
}

/// Declares the input of an operation on the partitions of a table. Every such input names its table.
macro_rules! input {
    ($name:ident { $($field:ident: $kind:ty),* }) => {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        pub(super) struct $name {
            #[serde(rename = "CatalogId")]
            _catalog_id: Option<CatalogId>,
            database_name: Name,
            table_name: Name,
            $($field: $kind,)*
        }
    };
}

/// The partitions of a table, to change them.
struct Of<'a> {
    database: &'a str,
    name: &'a str,
    table: &'a mut Table,
}

impl<'a> Of<'a> {
    fn table(state: &'a mut Databases, database: &'a Name, name: &'a Name) -> Result<Self, Refusal> {
        Ok(Self { database: &database.0, name: &name.0, table: table(state, database, name)? })
    }

    /// Adds a partition.
    fn add(&mut self, input: PartitionInput, created: &Value) -> Result<(), Refusal> {
        check_members(&input.rest, "PartitionInput", &MEMBERS)?;
        check_values(self.table, &input.values)?;
        check_columns(&input.rest)?;
        if self.table.partitions.contains_key(&input.values) {
            return Err(exists("Partition"));
        }
        let added = json!({
            "Values": input.values,
            "DatabaseName": self.database,
            "TableName": self.name,
            "CreationTime": created,
            "CatalogId": ACCOUNT,
        });
        self.table.partitions.insert(input.values, described(input.rest, added));
        Ok(())
    }

    /// Replaces a partition by another one, which may have other values.
    fn replace(&mut self, values: &[String], input: PartitionInput) -> Result<(), Refusal> {
        check_values(self.table, values)?;
        let Some(before) = self.table.partitions.remove(values) else { return Err(no_partition(values)) };
        let added = self.add(input, &before["CreationTime"]);
        if added.is_err() {
            self.table.partitions.insert(values.to_vec(), before);
        }
        added
    }
}

fn no_partition(values: &[String]) -> Refusal {
    not_found("Partition", &values.join("/"))
}

fn check_values(table: &Table, values: &[String]) -> Result<(), Refusal> {
    let keys = table.partition_keys();
    if keys.len() != values.len() {
        let problem = "The number of partition keys do not match the number of partition values";
        return Err(invalid(format!("{problem}: {} keys, {} values", keys.len(), values.len())));
    }
    Ok(())
}

fn check_length(member: &str, length: usize, largest: usize) -> Result<(), Refusal> {
    if length > largest {
        let problem = "failed to satisfy constraint: Member must have length less than or equal to";
        return Err(constraint(format!("Value at '{member}' of length {length} {problem} {largest}")));
    }
    Ok(())
}

/// An entry of a batch that failed.
fn failed(member: &str, values: &[String], refusal: &Refusal) -> Value {
    json!({member: values, "ErrorDetail": {"ErrorCode": refusal.kind, "ErrorMessage": refusal.message}})
}

input!(Create { partition_input: PartitionInput });

pub(super) fn create(state: &mut Databases, input: Create) -> Result<Value, Refusal> {
    Of::table(state, &input.database_name, &input.table_name)?.add(input.partition_input, &now())?;
    Ok(done())
}

input!(BatchCreate { partition_input_list: Vec<PartitionInput> });

pub(super) fn batch_create(state: &mut Databases, input: BatchCreate) -> Result<Value, Refusal> {
    check_length("partitionInputList", input.partition_input_list.len(), 100)?;
    let mut of = Of::table(state, &input.database_name, &input.table_name)?;
    let mut errors = Vec::new();
    for partition in input.partition_input_list {
        let values = partition.values.clone();
        if let Err(refusal) = of.add(partition, &now()) {
            errors.push(failed("PartitionValues", &values, &refusal));
        }
    }
    Ok(json!({"Errors": errors}))
}

input!(One { partition_values: Vec<String> });

pub(super) fn get(state: &mut Databases, input: &One) -> Result<Value, Refusal> {
    let table = table(state, &input.database_name, &input.table_name)?;
    check_values(table, &input.partition_values)?;
    let partition = table.partitions.get(&input.partition_values);
    Ok(json!({"Partition": partition.ok_or_else(|| no_partition(&input.partition_values))?}))
}

pub(super) fn delete(state: &mut Databases, input: &One) -> Result<Value, Refusal> {
    let table = table(state, &input.database_name, &input.table_name)?;
    check_values(table, &input.partition_values)?;
    table.partitions.remove(&input.partition_values).ok_or_else(|| no_partition(&input.partition_values))?;
    Ok(done())
}

input!(BatchGet { partitions_to_get: Vec<Values> });

/// The partitions that exist among those that are named. The others are left out.
pub(super) fn batch_get(state: &mut Databases, input: &BatchGet) -> Result<Value, Refusal> {
    check_length("partitionsToGet", input.partitions_to_get.len(), 1000)?;
    let table = table(state, &input.database_name, &input.table_name)?;
    input.partitions_to_get.iter().try_for_each(|named| check_values(table, &named.values))?;
    let found: Vec<_> =
        input.partitions_to_get.iter().filter_map(|named| table.partitions.get(&named.values)).collect();
    Ok(json!({"Partitions": found, "UnprocessedKeys": []}))
}

input!(BatchDelete { partitions_to_delete: Vec<Values> });

pub(super) fn batch_delete(state: &mut Databases, input: &BatchDelete) -> Result<Value, Refusal> {
    check_length("partitionsToDelete", input.partitions_to_delete.len(), 25)?;
    let table = table(state, &input.database_name, &input.table_name)?;
    let mut errors = Vec::new();
    for Values { values } in &input.partitions_to_delete {
        let removed = check_values(table, values)
            .and_then(|()| table.partitions.remove(values).map(drop).ok_or_else(|| no_partition(values)));
        errors.extend(removed.err().map(|refusal| failed("PartitionValues", values, &refusal)));
    }
    Ok(json!({"Errors": errors}))
}

input!(Update { partition_value_list: Vec<String>, partition_input: PartitionInput });

/// A partition that is replaced, and what replaces it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Entry {
    partition_value_list: Vec<String>,
    partition_input: PartitionInput,
}

pub(super) fn update(state: &mut Databases, input: Update) -> Result<Value, Refusal> {
    let mut of = Of::table(state, &input.database_name, &input.table_name)?;
    of.replace(&input.partition_value_list, input.partition_input)?;
    Ok(done())
}

input!(BatchUpdate { entries: Vec<Entry> });

pub(super) fn batch_update(state: &mut Databases, input: BatchUpdate) -> Result<Value, Refusal> {
    check_length("entries", input.entries.len(), 100)?;
    let mut of = Of::table(state, &input.database_name, &input.table_name)?;
    let mut errors = Vec::new();
    for Entry { partition_value_list: values, partition_input } in input.entries {
        if let Err(refusal) = of.replace(&values, partition_input) {
            errors.push(failed("PartitionValueList", &values, &refusal));
        }
    }
    Ok(json!({"Errors": errors}))
}

/// A part of the partitions, so that several clients can list one table together.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Segment {
    segment_number: u64,
    total_segments: u64,
}

impl Segment {
    fn check(&self) -> Result<(), Refusal> {
        if !(1..=10).contains(&self.total_segments) || self.segment_number >= self.total_segments {
            let Self { segment_number, total_segments } = self;
            return Err(constraint(format!(
                "Segment {segment_number} of {total_segments}: there are 1 to 10 segments, counted from 0"
            )));
        }
        Ok(())
    }

    fn has(&self, values: &[String]) -> bool {
        let mut hasher = DefaultHasher::new();
        values.hash(&mut hasher);
        hasher.finish() % self.total_segments == self.segment_number
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct List {
    #[serde(rename = "CatalogId")]
    _catalog_id: Option<CatalogId>,
    database_name: Name,
    table_name: Name,
    expression: Option<String>,
    segment: Option<Segment>,
    #[serde(default)]
    exclude_column_schema: bool,
    next_token: Option<String>,
    max_results: Option<i64>,
}

pub(super) fn list(state: &mut Databases, input: &List) -> Result<Value, Refusal> {
    let page = Page::new(input.next_token.as_ref(), input.max_results, 1000)?;
    input.segment.as_ref().map_or(Ok(()), Segment::check)?;
    let table = table(state, &input.database_name, &input.table_name)?;
    let filter = Filter::parse(input.expression.as_deref().unwrap_or_default(), &table.partition_keys());
    let filter = filter.map_err(invalid)?;
    let found = table.partitions.iter().filter(|(values, _)| {
        filter.admits(values) && input.segment.as_ref().is_none_or(|segment| segment.has(values))
    });
    let (mut partitions, token) = page.of(found.map(|(values, partition)| (values.clone(), partition.clone())));
    if input.exclude_column_schema {
        for partition in &mut partitions {
            if let Some(descriptor) = partition.get_mut("StorageDescriptor").and_then(Value::as_object_mut) {
                descriptor.remove("Columns");
            }
        }
    }
    Ok(page::answer("Partitions", (partitions, token)))
}
