//! `fms lake alter`: a table gets a column, or one of its columns another type.

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use fms_lake::{Alter, Altered, Bucket, Field, PARTITION_KEYS, S3Url, Timestamp, Type};

use super::compact::MEMORY;
use super::counted;
use super::place::connect;
use super::settings::OrderArguments;
use super::storage::StorageArguments;
use crate::{LogFormat, NOT_STARTED, say, start_log};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The table, by its name in the catalog.
    #[arg(value_name = "TABLE")]
    table: String,
    /// The lake, as `s3://bucket/prefix`.
    #[arg(long, env = "FMS_LAKE_TO", value_name = "URL")]
    lake: S3Url,
    /// The database of the Glue catalog with the tables of the lake.
    #[arg(long, env = "FMS_LAKE_DATABASE", value_name = "NAME")]
    database: String,
    #[command(flatten)]
    change: ChangeArguments,
    #[command(flatten)]
    order: OrderArguments,
    #[command(flatten)]
    storage: StorageArguments,
    /// How many hours are written again at a time. Each may need 250 MB of memory.
    #[arg(long, value_name = "NUMBER", default_value = "2")]
    at_once: NonZeroUsize,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct ChangeArguments {
    /// The column that gets another type.
    #[arg(long, value_name = "NAME", requires = "to", conflicts_with = "add")]
    column: Option<String>,
    /// The type that it gets: a wider number, or `string`.
    #[arg(long, value_name = "TYPE", requires = "column")]
    to: Option<Type>,
    /// A column that the table gets, such as `wear:double`, or a field of a struct, such as `doors.rear:boolean`; `[]` after
    /// a name stands for the elements of an array.
    #[arg(long, value_name = "NAME:TYPE", value_parser = addition)]
    add: Option<Addition>,
}

/// A column or field that is added.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Addition {
    /// Its name, with those of the structs around it.
    path: String,
    data_type: Type,
}

/// Reads a column or field with its type.
fn addition(text: &str) -> Result<Addition, String> {
    let (path, data_type) = text.split_once(':').ok_or("write the name and the type, such as `wear:double`")?;
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    for name in path.split('.').map(|name| name.trim_end_matches("[]")) {
        if name.is_empty() || name.len() > 250 || !name.bytes().all(is_plain) {
            return Err(format!("`{name}` is no name that a column may have: lower-case letters, digits and `_`"));
        }
    }
    let column = path.split('.').next().unwrap_or_default().trim_end_matches("[]");
    if PARTITION_KEYS.contains(&column) {
        return Err(format!("`{column}` is a partition key"));
    }
    if path.ends_with("[]") {
        return Err(format!("`{path}` stands for elements, which have no name; write the type of the array"));
    }
    let data_type = data_type.parse().map_err(|error| format!("{error}"))?;
    Ok(Addition { path: path.to_owned(), data_type })
}

impl Addition {
    /// The column with nothing but the field in it.
    fn column(&self) -> Field {
        let mut names = self.path.rsplit('.');
        let mut field = Field::new(names.next().unwrap_or_default(), self.data_type.clone());
        for outer in names {
            let name = outer.trim_end_matches("[]");
            let arrays = (outer.len() - name.len()) / "[]".len();
            let inner = Type::Struct(vec![field]);
            field = Field::new(name, (0..arrays).fold(inner, |element, _| Type::Array(Box::new(element))));
        }
        field
    }
}

/// Alters the table. The exit status is 2 if it could not be altered, or not to the end.
pub(super) fn run(arguments: Arguments, log_format: LogFormat) -> ExitCode {
    let altered = || {
        start_log(log_format)?;
        let Arguments { lake, database, .. } = &arguments;
        let (runtime, bucket) = connect("fms lake alter", lake, database, arguments.storage.storage())?;
        runtime.block_on(alter(&bucket, arguments))
    };
    match altered() {
        Ok(said) => {
            say(&said);
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&format!("fms lake alter: {error:#}"));
            NOT_STARTED.into()
        }
    }
}

async fn alter(bucket: &Bucket, arguments: Arguments) -> anyhow::Result<String> {
    let Arguments { table, change, order, at_once, .. } = arguments;
    if let Some(addition) = change.add {
        let is_added = bucket.add_column(&table, &addition.column()).await?;
        let (Addition { path, data_type }, was) = (addition, if is_added { "" } else { ", as it had" });
        return Ok(format!("the table `{table}` has the column `{path}`, which is {data_type}{was}"));
    }
    let (Some(column), Some(to)) = (change.column, change.to) else {
        anyhow::bail!("give --column with --to, or --add");
    };
    let done = format!("the column `{column}` of the table `{table}` is {to}");
    let options = Alter {
        table,
        column,
        to,
        sort_fields: order.sort_fields,
        memory: MEMORY,
        at_once: at_once.get(),
        now: Timestamp::now(),
    };
    let Altered { is_changed, is_resumed, hours, files, rows } = bucket.alter(&Arc::new(options)).await?;
    if !is_changed {
        return Ok(format!("{done}, as it was"));
    }
    let how = if is_resumed { "what was interrupted is finished: " } else { "" };
    let (hours, files, rows) = (counted(hours, "hour"), counted(files, "file"), counted(rows, "row"));
    Ok(format!("{done}; {how}{files} of {hours} with {rows} were written again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_has_a_name_of_the_catalog_and_a_type() {
        let column = |text: &str| addition(text).map(|addition| addition.column());
        assert_eq!(column("wear:double"), Ok(Field::new("wear", Type::Double)));
        for (text, name, data_type) in [
            ("s:struct<a:int>", "s", "struct<a:int>"),
            ("doors.rear:boolean", "doors", "struct<rear:boolean>"),
            ("dtcs[].lamp.on:boolean", "dtcs", "array<struct<lamp:struct<on:boolean>>>"),
        ] {
            let column = column(text).expect("a column");
            assert_eq!((column.name.as_str(), column.data_type.to_string()), (name, data_type.to_owned()));
        }
        for wrong in
            ["wear", "Wear:double", ":int", "a..b:int", "a[]:int", "ymd:string", "ymd.x:int", "a:decimal(10,2)"]
        {
            assert!(addition(wrong).is_err(), "{wrong}");
        }
    }
}
