//! A table in Glue as the lake reads and writes it: its columns, their version, and how columns are added.

use std::fmt;
use std::str::FromStr;

use fms_glue::{Column, SerDeInfo, StorageDescriptor, TableInput};
use sha2::{Digest as _, Sha256};

use crate::partition::KEYS;
use crate::table::Table;
use crate::types::{Field, Type};

/// The parameter of a table that counts the changes of its columns. Tables that the lake did not make lack it.
pub(crate) const COLUMNS_VERSION: &str = "fms.columns.version";

/// The parameter of a table that says which version of the columns all partitions have.
pub(crate) const PARTITIONS_VERSION: &str = "fms.partitions.version";

/// The version of a table's columns. Its text is `7-1a2b3c4d`: how often the lake changed them, and a digest of them,
/// because people change columns by hand without counting. Glue's own version is no use here: any change of a table
/// moves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    number: u64,
    digest: u32,
}

impl Version {
    /// The version of a table. A table that the lake did not make, nor gave columns, has number 0.
    pub fn of(table: &fms_glue::Table) -> Self {
        let number = table.parameters.get(COLUMNS_VERSION).and_then(|number| number.parse().ok()).unwrap_or(0);
        Self { number, digest: digest(columns(table)) }
    }

    /// Whether the columns have been changed since the other version, as far as that is known.
    pub fn is_newer_than(self, other: Self) -> bool {
        self.number > other.number
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:08x}", self.number, self.digest)
    }
}

impl FromStr for Version {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (number, digest) = text.split_once('-').ok_or(())?;
        let digest = u32::from_str_radix(digest, 16).map_err(drop)?;
        Ok(Self { number: number.parse().map_err(drop)?, digest })
    }
}

fn digest(columns: &[Column]) -> u32 {
    let mut hash = Sha256::new();
    for column in columns {
        // No name or type has a line break.
        hash.update(format!("{}\n{}\n", column.name, column.data_type));
    }
    let hash = hash.finalize();
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// The columns of a table.
pub(crate) fn columns(table: &fms_glue::Table) -> &[Column] {
    table.storage_descriptor.as_ref().map_or(&[], |storage| &storage.columns)
}

/// Whether two lists of columns are the same to a reader of files, whatever the comments are.
pub(crate) fn same_columns(a: &[Column], b: &[Column]) -> bool {
    let plain = |column: &Column| (column.name.clone(), column.data_type.clone());
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| plain(a) == plain(b))
}

/// Whether there may be partitions with the columns of an older version. What others made is left to them.
pub(crate) fn lags(table: &fms_glue::Table) -> bool {
    table.parameters.contains_key(COLUMNS_VERSION)
        && table.parameters.get(PARTITIONS_VERSION) != Some(&Version::of(table).to_string())
}

/// A table as the converter needs it. The error says why the lake cannot write to it.
pub(crate) fn read(table: &fms_glue::Table, location: &str) -> Result<Table, String> {
    let storage = table.storage_descriptor.as_ref().ok_or("it says nothing of files")?;
    let found = storage.location.as_deref().unwrap_or_default();
    if found.trim_end_matches('/') != location.trim_end_matches('/') {
        return Err(format!("its files are at `{found}`, and the lake would write them to `{location}`"));
    }
    let keys = keys(table);
    if keys != KEYS {
        return Err(format!("its partition keys are `{}`, and those of the lake `{}`", keys.join(","), KEYS.join(",")));
    }
    Ok(Table { columns: fields(&storage.columns)?, version: Version::of(table).to_string() })
}

fn keys(table: &fms_glue::Table) -> Vec<&str> {
    table.partition_keys.iter().map(|key| key.name.as_str()).collect()
}

/// The folders of a table whose files the lake at `root` has; `None` if it is not such a table.
pub(crate) fn folders<'t>(table: &'t fms_glue::Table, root: &str) -> Option<&'t str> {
    let location = table.storage_descriptor.as_ref()?.location.as_deref()?;
    let folders = location.strip_prefix(root)?.strip_prefix("formatted/")?.trim_end_matches('/');
    (!folders.is_empty() && keys(table) == KEYS).then_some(folders)
}

fn fields(columns: &[Column]) -> Result<Vec<Field>, String> {
    let field = |column: &Column| {
        let data_type = column.data_type.parse().map_err(|error| format!("column `{}`: {error}", column.name))?;
        Ok(Field::new(&column.name, data_type))
    };
    columns.iter().map(field).collect()
}

/// A new table with these columns and no partitions.
pub(crate) fn create(name: String, location: String, fields: &[Field]) -> TableInput {
    let column = |field: &Field| Column::new(&field.name, field.data_type.to_string());
    let columns: Vec<Column> = fields.iter().map(column).collect();
    let version = Version { number: 1, digest: digest(&columns) };
    let class = |name: &str| Some(format!("org.apache.hadoop.hive.ql.io.parquet.{name}"));
    let parameter = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let storage = StorageDescriptor {
        columns,
        location: Some(location),
        input_format: class("MapredParquetInputFormat"),
        output_format: class("MapredParquetOutputFormat"),
        serde_info: Some(SerDeInfo {
            serialization_library: class("serde.ParquetHiveSerDe"),
            parameters: [parameter(("serialization.format", "1"))].into(),
            ..SerDeInfo::default()
        }),
        ..StorageDescriptor::default()
    };
    let parameters = [
        ("EXTERNAL", "TRUE"),
        ("classification", "parquet"),
        (COLUMNS_VERSION, &version.number.to_string()),
        (PARTITIONS_VERSION, &version.to_string()),
    ];
    TableInput {
        name,
        storage_descriptor: Some(storage),
        partition_keys: KEYS.map(|key| Column::new(key, "string")).into(),
        table_type: Some("EXTERNAL_TABLE".to_owned()),
        parameters: parameters.into_iter().map(parameter).collect(),
        ..TableInput::default()
    }
}

/// Adds what a table lacks of these columns, behind those that it has. `None` if it lacks nothing.
///
/// A type never changes: where the table has another one by now, it stays, and the rows will be converted by it.
pub(crate) fn grow(table: fms_glue::Table, wanted: &[Field]) -> Result<Option<TableInput>, String> {
    let number = Version::of(&table).number;
    let mut input = table.into_input();
    let storage = input.storage_descriptor.get_or_insert_default();
    let before = fields(&storage.columns)?;
    let mut after = before.clone();
    if !merge(&mut after, wanted) {
        return Ok(None);
    }
    for (column, (before, after)) in storage.columns.iter_mut().zip(before.iter().zip(&after)) {
        if before != after {
            column.data_type = after.data_type.to_string();
        }
    }
    let new = after[before.len()..].iter().map(|field| Column::new(&field.name, field.data_type.to_string()));
    storage.columns.extend(new);
    input.parameters.insert(COLUMNS_VERSION.to_owned(), (number + 1).to_string());
    Ok(Some(input))
}

/// Adds fields that are missing, also within structs. Gives whether there were any.
fn merge(fields: &mut Vec<Field>, wanted: &[Field]) -> bool {
    let mut changed = false;
    for field in wanted {
        if let Some(known) = fields.iter_mut().find(|known| known.name == field.name) {
            changed |= merge_type(&mut known.data_type, &field.data_type);
        } else {
            fields.push(field.clone());
            changed = true;
        }
    }
    changed
}

fn merge_type(known: &mut Type, wanted: &Type) -> bool {
    match (known, wanted) {
        (Type::Struct(known), Type::Struct(wanted)) => merge(known, wanted),
        (Type::Array(known), Type::Array(wanted)) => merge_type(known, wanted),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(text: &str) -> Vec<Field> {
        let Ok(Type::Struct(fields)) = format!("struct<{text}>").parse() else { panic!("{text}") };
        fields
    }

    fn table(columns: &str, version: Option<&str>) -> fms_glue::Table {
        let input = create("t".into(), "s3://lake/t/".into(), &of(columns));
        let mut table: fms_glue::Table = serde_json::from_value(json!(input)).expect("a table");
        table.parameters.remove(COLUMNS_VERSION);
        table.parameters.extend(version.map(|version| (COLUMNS_VERSION.to_owned(), version.to_owned())));
        table
    }

    #[test]
    fn a_new_table_is_one_that_every_engine_reads() {
        let input = json!(create("t".into(), "s3://lake/t/".into(), &of("a:array<bigint>")));
        assert_eq!(input["TableType"], "EXTERNAL_TABLE");
        assert_eq!(
            input["PartitionKeys"],
            json!([{"Name": "ymd", "Type": "string"}, {"Name": "hour", "Type": "string"}])
        );
        assert_eq!(input["StorageDescriptor"]["Columns"], json!([{"Name": "a", "Type": "array<bigint>"}]));
        let serde = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe";
        assert_eq!(input["StorageDescriptor"]["SerdeInfo"]["SerializationLibrary"], serde);
        assert_eq!(
            (&input["Parameters"]["EXTERNAL"], &input["Parameters"]["classification"]),
            (&json!("TRUE"), &json!("parquet"))
        );
        assert!(!lags(&table("a:bigint", Some("1"))), "it has no partitions that could lag");
    }

    #[test]
    fn columns_are_added_behind_and_within_structs_and_no_type_changes() {
        let mut before = table("a:bigint,s:struct<x:int>,l:array<struct<y:int>>", Some("4"));
        let storage = before.storage_descriptor.as_mut().expect("columns");
        storage.columns[0].others.insert("Comment".into(), "kept".into());
        before.others.insert("Description".into(), "kept".into());
        let wanted = of("b:string,a:double,s:struct<z:string>,l:array<struct<w:date>>");
        let input = json!(grow(before, &wanted).expect("known types").expect("it grows"));
        assert_eq!(
            input["StorageDescriptor"]["Columns"],
            json!([
                {"Name": "a", "Type": "bigint", "Comment": "kept"},
                {"Name": "s", "Type": "struct<x:int,z:string>"},
                {"Name": "l", "Type": "array<struct<y:int,w:date>>"},
                {"Name": "b", "Type": "string"},
            ])
        );
        assert_eq!((&input["Parameters"][COLUMNS_VERSION], &input["Description"]), (&json!("5"), &json!("kept")));
        assert_eq!(grow(table("a:bigint", None), &of("a:string")), Ok(None));
    }

    #[test]
    fn a_version_moves_with_the_columns_and_with_nothing_else() {
        let version = |table: &fms_glue::Table| Version::of(table);
        let mut one = table("a:bigint", Some("3"));
        let before = version(&one);
        one.parameters.insert("owner".into(), "fleet".into());
        one.version_id = Some("99".into());
        assert_eq!(version(&one), before);
        assert_eq!(before.to_string().parse(), Ok(before));
        let by_hand = version(&table("a:bigint,b:int", Some("3")));
        assert!(by_hand != before && !by_hand.is_newer_than(before));
        assert!(version(&table("a:bigint", Some("4"))).is_newer_than(before));
        assert!(before.is_newer_than(version(&table("a:bigint", None))));
    }

    #[test]
    fn partitions_lag_when_the_columns_moved_but_not_in_tables_of_others() {
        assert!(lags(&table("a:bigint", Some("2"))), "they are at 1");
        assert!(!lags(&table("a:bigint", None)));
    }

    #[test]
    fn a_table_that_is_not_the_lakes_is_refused_with_what_is_wrong() {
        let refused = |table: &fms_glue::Table| read(table, "s3://lake/t/").expect_err("refused");
        let mut elsewhere = table("a:bigint", None);
        elsewhere.storage_descriptor.as_mut().expect("files").location = Some("s3://other/t/".into());
        assert!(refused(&elsewhere).contains("`s3://other/t/`"));
        let mut keyless = table("a:bigint", None);
        keyless.partition_keys.clear();
        assert!(refused(&keyless).contains("`ymd,hour`"));
        let mut odd = table("a:bigint", None);
        odd.storage_descriptor.as_mut().expect("columns").columns[0].data_type = "decimal(10,2)".into();
        assert!(refused(&odd).contains("column `a`"));
        let mut good = table("a:bigint", None);
        good.storage_descriptor.as_mut().expect("files").location = Some("s3://lake/t".into());
        assert_eq!(read(&good, "s3://lake/t/").expect("good").columns, of("a:bigint"));
    }
}
