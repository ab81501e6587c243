//! Shows the tables of Glue databases: their columns, where their files are, and their partitions.

use serde_json::Value;

use super::name::safe;
use super::visible::visible;
use super::{EntryKind, Key, Redactor, Rule, Section};
use crate::case::Case;
use crate::stack::{Stack, StackError};

/// A line about a table: a column, a partition key, its location, a parameter, or a partition.
static LINE: EntryKind =
    EntryKind { noun: "catalog line", is_block: false, place: None, key: Key::Name, rule: Rule::EachOnce };

/// The parameters of tables that Glue or its crawlers set by the clock.
const VOLATILE: [&str; 2] = ["transient_lastDdlTime", "last_modified_time"];

/// One section for every table. Its columns are sorted, because their order depends on which object was first to have
/// them.
pub(super) fn sections(case: &Case, stack: &dyn Stack, redactor: &Redactor<'_>) -> Result<Vec<Section>, StackError> {
    let mut sections = Vec::new();
    for database in &case.settings.resources.databases {
        for table in stack.catalog(database)? {
            let name = text(&table["Name"]);
            sections.push(Section::new(safe(&["glue", database, &name]), &LINE, entries(&table, redactor)));
        }
    }
    Ok(sections)
}

fn entries(table: &Value, redactor: &Redactor<'_>) -> Vec<String> {
    let storage = &table["StorageDescriptor"];
    let mut columns = columns(storage);
    let mut entries: Vec<String> = columns.iter().map(|(name, kind)| format!("column {name}: {kind}")).collect();
    entries.sort();
    for key in list(&table["PartitionKeys"]) {
        entries.push(format!("partition key {}: {}", text(&key["Name"]), text(&key["Type"])));
    }
    entries.push(format!("location: {}", text(&storage["Location"])));
    entries.push(format!("format: {}", text(&storage["SerdeInfo"]["SerializationLibrary"])));
    for (name, value) in table["Parameters"].as_object().into_iter().flatten() {
        if !VOLATILE.contains(&name.as_str()) {
            entries.push(format!("parameter {name}: {}", text(value)));
        }
    }
    columns.sort();
    for partition in list(&table["Partitions"]) {
        let values: Vec<String> = list(&partition["Values"]).iter().map(text).collect();
        let of_partition = &partition["StorageDescriptor"];
        let location = redactor.name(&text(&of_partition["Location"]));
        entries.push(format!("partition {}: {location}", values.join("/")));
        entries.extend(difference(&values.join("/"), &columns, of_partition));
    }
    entries.iter().map(|entry| visible(entry)).collect()
}

/// Says how the columns of a partition differ from those of its table. Athena refuses to read such a partition.
fn difference(partition: &str, of_table: &[(String, String)], storage: &Value) -> Option<String> {
    let of_partition = columns(storage);
    let only = |these: &[(String, String)], those: &[(String, String)]| -> Vec<String> {
        these.iter().filter(|column| !those.contains(column)).map(|(name, kind)| format!("{name} {kind}")).collect()
    };
    let (lacks, has) = (only(of_table, &of_partition), only(&of_partition, of_table));
    (!lacks.is_empty() || !has.is_empty()).then(|| {
        format!(
            "WRONG partition {partition}: its columns are not the table's: it lacks [{}] and has [{}] beside them",
            lacks.join(", "),
            has.join(", ")
        )
    })
}

fn columns(storage: &Value) -> Vec<(String, String)> {
    list(&storage["Columns"]).iter().map(|column| (text(&column["Name"]), text(&column["Type"]))).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A text as it is, and everything else as JSON.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::case::Redactions;

    #[test]
    fn a_partition_whose_columns_are_not_the_tables_is_said() {
        let columns = |names: &[&str]| -> Value {
            names.iter().map(|name| json!({"Name": name, "Type": "bigint"})).collect::<Vec<_>>().into()
        };
        let partition = |hour: &str, names: &[&str]| {
            let location = format!("s3://lake/t/hour={hour}/");
            json!({"Values": [hour], "StorageDescriptor": {"Location": location, "Columns": columns(names)}})
        };
        let table = json!({
            "Name": "t",
            "StorageDescriptor": {
                "Columns": columns(&["b", "a"]),
                "Location": "s3://lake/t/",
                "SerdeInfo": {"SerializationLibrary": "parquet"},
            },
            "PartitionKeys": [{"Name": "hour", "Type": "string"}],
            "Parameters": {"classification": "parquet", "transient_lastDdlTime": "1"},
            "Partitions": [partition("11", &["a", "b"]), partition("12", &["a", "c"])],
        });
        let redactions = Redactions::of(&[], &["=12"]);
        assert_eq!(
            entries(&table, &Redactor::new(&redactions)),
            [
                "column a: bigint",
                "column b: bigint",
                "partition key hour: string",
                "location: s3://lake/t/",
                "format: parquet",
                "parameter classification: parquet",
                "partition 11: s3://lake/t/hour=11/",
                "partition 12: s3://lake/t/hour[redacted]/",
                "WRONG partition 12: its columns are not the table's: it lacks [b bigint] and has [c bigint] beside them",
            ]
        );
    }
}
