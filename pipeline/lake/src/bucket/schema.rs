//! A table in Glue as the lake reads and writes it: its columns, their version, and how columns are added.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use fms_glue::{Column, SerDeInfo, StorageDescriptor, TableInput};
use sha2::{Digest as _, Sha256};

use crate::growth::{self, Grown};
use crate::partition::KEYS;
use crate::table::{Growth, Table};
use crate::types::Field;

/// The parameter of a table that counts the changes of its columns. Tables that the lake did not make lack it.
pub(crate) const COLUMNS_VERSION: &str = "fms.columns.version";

/// The parameter of a table that says which version of the columns all partitions have.
pub(crate) const PARTITIONS_VERSION: &str = "fms.partitions.version";

/// The parameter of a table that says whether data may add columns: `locked` or `full`, and nothing if it may.
pub(super) const SCHEMA: &str = "fms.schema";

/// The parameter of a table with the version by which a column has got another type last.
pub(super) const TYPES_VERSION: &str = "fms.types.version";

/// The version of a table's columns. Its text is `7-1a2b3c4d`: how often the lake changed them, and a digest of them,
/// because people change columns, and lock tables, by hand without counting. Glue's own version is no use here: any
/// change of a table moves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    number: u64,
    digest: u32,
}

impl Version {
    /// The version of a table. A table that the lake did not make, nor gave columns, has number 0.
    pub fn of(table: &fms_glue::Table) -> Self {
        let number = table.parameters.get(COLUMNS_VERSION).and_then(|number| number.parse().ok()).unwrap_or(0);
        Self { number, digest: digest(columns(table), growth(table).unwrap_or_default()) }
    }

    /// How often the lake has changed the columns.
    pub fn number(self) -> u64 {
        self.number
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

/// A digest of the columns, and of whether there may be more: rows with values that have no column are stored in a
/// closed table, and in an open one by other columns.
fn digest(columns: &[Column], growth: Growth) -> u32 {
    let mut hash = Sha256::new();
    if !growth.is_open() {
        hash.update("closed\n");
    }
    for column in columns {
        // No name or type has a line break.
        hash.update(format!("{}\n{}\n", column.name, column.data_type));
    }
    let hash = hash.finalize();
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// Whether data may add columns to a table.
pub(super) fn growth(table: &fms_glue::Table) -> Result<Growth, String> {
    let Some(value) = table.parameters.get(SCHEMA) else { return Ok(Growth::Open) };
    let growth = serde_json::from_value(value.as_str().into());
    growth
        .map_err(|_| format!("its parameter `{SCHEMA}` is `{value}`; it may be `locked`, `full` or `open`, or absent"))
}

/// Notes whether data may add columns to a table.
pub(super) fn set_growth(parameters: &mut BTreeMap<String, String>, growth: Growth) {
    match growth {
        Growth::Open => parameters.remove(SCHEMA),
        Growth::Locked => parameters.insert(SCHEMA.to_owned(), "locked".to_owned()),
        Growth::Full => parameters.insert(SCHEMA.to_owned(), "full".to_owned()),
    };
}

/// Locks a table, or lets it grow again. `None` if it is as it should be.
pub(super) fn lock(table: fms_glue::Table, is_locked: bool) -> Result<Option<TableInput>, String> {
    let wanted = if is_locked { Growth::Locked } else { Growth::Open };
    if growth(&table)? == wanted {
        return Ok(None);
    }
    let mut input = table.into_input();
    set_growth(&mut input.parameters, wanted);
    Ok(Some(input))
}

/// The version by which a column has got another type last; 0 if none has.
pub(crate) fn types(table: &fms_glue::Table) -> u64 {
    table.parameters.get(TYPES_VERSION).and_then(|version| version.parse().ok()).unwrap_or(0)
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

/// Whether two locations are the same folder.
pub(crate) fn is_same(a: &str, b: &str) -> bool {
    a.trim_end_matches('/') == b.trim_end_matches('/')
}

/// A table as the converter needs it. The error says why the lake cannot write to it.
pub(crate) fn read(table: &fms_glue::Table, location: &str) -> Result<Table, String> {
    let storage = table.storage_descriptor.as_ref().ok_or("it says nothing of files")?;
    let found = storage.location.as_deref().unwrap_or_default();
    if !is_same(found, location) {
        return Err(format!("its files are at `{found}`, and the lake would write them to `{location}`"));
    }
    let keys = keys(table);
    if keys != KEYS {
        return Err(format!("its partition keys are `{}`, and those of the lake `{}`", keys.join(","), KEYS.join(",")));
    }
    let version = Version::of(table).to_string();
    Ok(Table { columns: fields(&storage.columns)?, version, growth: growth(table)? })
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

pub(super) fn fields(columns: &[Column]) -> Result<Vec<Field>, String> {
    let field = |column: &Column| {
        let data_type = column.data_type.parse().map_err(|error| format!("column `{}`: {error}", column.name))?;
        Ok(Field::new(&column.name, data_type))
    };
    columns.iter().map(field).collect()
}

/// A new table with these columns, as far as the catalog takes them, and no partitions.
pub(crate) fn create(name: String, location: String, fields: &[Field]) -> TableInput {
    let Grown { columns, growth } = growth::grow(&[], Growth::Open, fields);
    let column = |field: &Field| Column::new(&field.name, field.data_type.to_string());
    let columns: Vec<Column> = columns.iter().map(column).collect();
    let version = Version { number: 1, digest: digest(&columns, growth) };
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
    let mut parameters = parameters.into_iter().map(parameter).collect();
    set_growth(&mut parameters, growth);
    TableInput {
        name,
        storage_descriptor: Some(storage),
        partition_keys: KEYS.map(|key| Column::new(key, "string")).into(),
        table_type: Some("EXTERNAL_TABLE".to_owned()),
        parameters,
        ..TableInput::default()
    }
}

/// Adds what a table lacks of these columns, behind those that it has, as far as it may have more. `None` if nothing
/// changes.
///
/// A type never changes: where the table has another one by now, it stays, and the rows will be converted by it.
pub(crate) fn grow(table: fms_glue::Table, wanted: &[Field]) -> Result<Option<TableInput>, String> {
    let number = Version::of(&table).number;
    let growth_before = growth(&table)?;
    let mut input = table.into_input();
    let storage = input.storage_descriptor.get_or_insert_default();
    let before = fields(&storage.columns)?;
    let Grown { columns: after, growth } = growth::grow(&before, growth_before, wanted);
    if after == before && growth == growth_before {
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
    set_growth(&mut input.parameters, growth);
    Ok(Some(input))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::types::Type;

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
    fn a_locked_table_gets_no_column_but_the_one_for_the_rest() {
        let lock = |table: fms_glue::Table, is_locked| {
            let input = json!(lock(table, is_locked).expect("usable").expect("a change"));
            serde_json::from_value::<fms_glue::Table>(input).expect("a table")
        };
        let open = table("a:bigint", Some("4"));
        let locked = lock(open.clone(), true);
        assert_eq!(locked.parameters[SCHEMA], "locked");
        assert_eq!(read(&locked, "s3://lake/t/").expect("usable").growth, Growth::Locked);
        assert_ne!(Version::of(&locked), Version::of(&open), "the files of rows with more fields differ");
        assert_eq!(grow(locked.clone(), &of("b:string,a:double")), Ok(None));
        let grown = grow(locked.clone(), &of("b:string,_rest:string")).expect("usable").expect("a change");
        assert_eq!(grown.storage_descriptor.expect("columns").columns[1..], [Column::new("_rest", "string")]);
        assert_eq!(super::lock(locked.clone(), true), Ok(None));
        assert_eq!(lock(locked, false), open);
        let mut odd = open;
        odd.parameters.insert(SCHEMA.into(), "lock".into());
        assert!(read(&odd, "s3://lake/t/").expect_err("refused").contains("it may be `locked`"));
    }

    #[test]
    fn a_table_without_room_is_full_until_it_is_unlocked() {
        let wide: Vec<Field> = (0..10_000).map(|n| Field::new(format!("c{n}"), Type::Int)).collect();
        let input = create("t".into(), "s3://lake/t/".into(), &wide);
        assert_eq!(input.parameters[SCHEMA], "full");
        let full: fms_glue::Table = serde_json::from_value(json!(input)).expect("a table");
        assert_eq!((columns(&full).len(), lags(&full)), (9_998, false));
        assert_eq!(grow(full.clone(), &wide), Ok(None));
        let mut unlocked: fms_glue::Table =
            serde_json::from_value(json!(lock(full.clone(), false).expect("usable"))).expect("a table");
        let again = grow(unlocked.clone(), &wide).expect("usable").expect("it is full again");
        assert_eq!(again.parameters[SCHEMA], "full");
        unlocked.storage_descriptor.as_mut().expect("columns").columns.truncate(9_000);
        let fewer = grow(unlocked, &wide[..9_001]).expect("usable").expect("it has room");
        assert!(!fewer.parameters.contains_key(SCHEMA));
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
