//! The catalog's entities as Glue's API has them. Members that are not named here are kept as they are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Members that this crate does not know.
type Others = Map<String, Value>;

/// The members of a table, other than those with a field here, that `CreateTable` and `UpdateTable` take. The further
/// ones, such as `CreateTime`, are Glue's own.
const TABLE_INPUT: [&str; 8] = [
    "Description",
    "LastAccessTime",
    "LastAnalyzedTime",
    "Owner",
    "Retention",
    "TargetTable",
    "ViewExpandedText",
    "ViewOriginalText",
];

/// The members of a partition, other than those with a field here, that an update takes.
const PARTITION_INPUT: [&str; 2] = ["LastAccessTime", "LastAnalyzedTime"];

/// A database.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// The other members.
    #[serde(flatten)]
    pub others: Others,
}

/// A column, or a partition key.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, such as `array<bigint>`.
    #[serde(rename = "Type")]
    pub data_type: String,
    /// The other members, such as a comment.
    #[serde(flatten)]
    pub others: Others,
}

impl Column {
    /// A column of this name and type.
    pub fn new(name: impl Into<String>, data_type: impl Into<String>) -> Self {
        Self { name: name.into(), data_type: data_type.into(), others: Others::new() }
    }
}

/// What reads and writes the rows of files.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SerDeInfo {
    /// The Java class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serialization_library: Option<String>,
    /// Its parameters.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// The other members.
    #[serde(flatten)]
    pub others: Others,
}

/// Where the files of a table or partition are, and how they are read.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct StorageDescriptor {
    /// The columns, without the partition keys.
    pub columns: Vec<Column>,
    /// The folder of the files, such as `s3://lake/formatted/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The Java class that reads files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_format: Option<String>,
    /// The Java class that writes files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_format: Option<String>,
    /// What reads and writes rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serde_info: Option<SerDeInfo>,
    /// The other members.
    #[serde(flatten)]
    pub others: Others,
}

/// A table as the catalog has it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Table {
    /// Its name, in lower case.
    pub name: String,
    /// Glue's version of it, which every change moves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// Where its files are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_descriptor: Option<StorageDescriptor>,
    /// Its partition keys.
    pub partition_keys: Vec<Column>,
    /// Its kind, such as `EXTERNAL_TABLE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table_type: Option<String>,
    /// Its parameters.
    pub parameters: BTreeMap<String, String>,
    /// The other members.
    #[serde(flatten)]
    pub others: Others,
}

impl Table {
    /// What an update of this table takes: everything but what Glue itself decides.
    pub fn into_input(self) -> TableInput {
        let Self { name, storage_descriptor, partition_keys, table_type, parameters, others, version_id: _ } = self;
        let others = only(others, &TABLE_INPUT);
        TableInput { name, storage_descriptor, partition_keys, table_type, parameters, others }
    }
}

/// A table as it is created or replaced.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TableInput {
    /// Its name, which Glue writes in lower case.
    pub name: String,
    /// Where its files are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_descriptor: Option<StorageDescriptor>,
    /// Its partition keys.
    pub partition_keys: Vec<Column>,
    /// Its kind, such as `EXTERNAL_TABLE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table_type: Option<String>,
    /// Its parameters.
    pub parameters: BTreeMap<String, String>,
    /// The other members.
    #[serde(flatten)]
    pub others: Others,
}

/// A partition as the catalog has it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Partition {
    /// The values of the table's partition keys.
    pub values: Vec<String>,
    /// Where its files are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_descriptor: Option<StorageDescriptor>,
    /// Its parameters.
    pub parameters: BTreeMap<String, String>,
    /// The other members.
    #[serde(flatten)]
    pub others: Others,
}

impl Partition {
    /// What an update of this partition takes: everything but what Glue itself decides.
    pub fn into_input(self) -> PartitionInput {
        let Self { values, storage_descriptor, parameters, others } = self;
        PartitionInput { values, storage_descriptor, parameters, others: only(others, &PARTITION_INPUT) }
    }
}

/// A partition as it is created or replaced.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PartitionInput {
    /// The values of the table's partition keys.
    pub values: Vec<String>,
    /// Where its files are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_descriptor: Option<StorageDescriptor>,
    /// Its parameters.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// The other members.
    #[serde(flatten)]
    pub others: Others,
}

fn only(mut members: Others, names: &[&str]) -> Others {
    members.retain(|name, _| names.contains(&name.as_str()));
    members
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_update_has_what_others_wrote_and_not_what_glue_decides() {
        let table = json!({
            "Name": "t", "DatabaseName": "lake", "CreateTime": 1.7e9, "CatalogId": "1", "VersionId": "7",
            "Description": "tires", "Retention": 3, "Owner": "fleet", "TableType": "EXTERNAL_TABLE",
            "PartitionKeys": [{"Name": "ymd", "Type": "string", "Comment": "day"}],
            "Parameters": {"a": "b"},
            "StorageDescriptor": {
                "Columns": [{"Name": "x", "Type": "int", "Comment": "c", "Parameters": {"k": "v"}}],
                "Location": "s3://lake/", "Compressed": true, "SerdeInfo": {"Name": "s", "Parameters": {"p": "q"}},
            },
        });
        let read: Table = serde_json::from_value(table.clone()).expect("a table");
        assert_eq!(serde_json::to_value(&read).expect("JSON"), table, "nothing is lost");
        let mut input = table;
        for name in ["DatabaseName", "CreateTime", "CatalogId", "VersionId"] {
            input.as_object_mut().expect("an object").remove(name);
        }
        assert_eq!(serde_json::to_value(read.into_input()).expect("JSON"), input);
    }

    #[test]
    fn a_partition_is_updated_without_what_glue_decides() {
        let partition = json!({
            "Values": ["2022-12-25", "11"], "DatabaseName": "lake", "TableName": "t", "CreationTime": 1.0,
            "Parameters": {"a": "b"}, "StorageDescriptor": {"Columns": [], "SortColumns": []}, "LastAccessTime": 2.0,
        });
        let read: Partition = serde_json::from_value(partition).expect("a partition");
        let input = serde_json::to_value(read.into_input()).expect("JSON");
        assert_eq!(
            input,
            json!({
                "Values": ["2022-12-25", "11"], "Parameters": {"a": "b"},
                "StorageDescriptor": {"Columns": [], "SortColumns": []}, "LastAccessTime": 2.0,
            })
        );
    }
}
