//! How the table in Glue changes when people give one of its columns another type, or add a column to it.

use std::io;

use fms_glue::TableInput;

use super::catalog::{Catalog, MAX_ROUNDS};
use super::schema::{
    self, COLUMNS_VERSION, PARTITIONS_VERSION, SCHEMA, TYPES_VERSION, Version, columns, fields, growth, set_growth,
};
use crate::compact::is_castable;
use crate::table::{Growth, Table};
use crate::types::{Field, Type};

/// The parameter of a table that names the column that has another type by now than it has in some of the files, and
/// that type: `pressure:bigint`.
const ALTERING: &str = "fms.altering";

/// How far a change of a column's type is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Alteration {
    /// The column has this type, which may become the other one.
    Possible(Type),
    /// The table has the type, and some files have this one.
    Begun(Type),
    /// The column has the type.
    Done,
}

impl Catalog {
    /// How far a change of a column's type is. The error says why it cannot be made.
    pub async fn alteration(&self, name: &str, column: &str, to: &Type) -> io::Result<Alteration> {
        let table = self.existing(name).await?;
        self.usable(&table, alteration(&table, column, to))
    }

    /// The table as it will be when a column has another type.
    pub async fn foreseen(&self, name: &str, column: &str, to: &Type) -> io::Result<Table> {
        self.named(name).await?;
        let table = self.existing(name).await?;
        let location = table.storage_descriptor.as_ref().and_then(|storage| storage.location.clone());
        let retyped = self.usable(&table, retyped(table.clone(), column, to))?;
        self.usable(&table, schema::read(&retyped, &location.unwrap_or_default()))
    }

    /// Gives a column another type, and notes that not all files have it yet.
    pub async fn begin_alteration(&self, name: &str, column: &str, to: &Type) -> io::Result<()> {
        for _ in 0..MAX_ROUNDS {
            // Partitions that lack columns get them before, because the table will not say any more that they do.
            self.named(name).await?;
            let table = self.existing(name).await?;
            match self.usable(&table, alteration(&table, column, to))? {
                // The answer to the last attempt was lost.
                Alteration::Begun(_) | Alteration::Done => return Ok(()),
                Alteration::Possible(_) if schema::lags(&table) => continue,
                Alteration::Possible(_) => {}
            }
            let version = table.version_id.clone();
            let retyped = self.usable(&table, retyped(table.clone(), column, to))?;
            if self.replace(&retyped.into_input(), version.as_deref()).await? {
                return Ok(());
            }
        }
        Err(self.restless(name))
    }

    /// Notes that all files have the types of the table.
    pub async fn end_alteration(&self, name: &str) -> io::Result<()> {
        for _ in 0..MAX_ROUNDS {
            let table = self.existing(name).await?;
            let version = table.version_id.clone();
            let mut input = table.into_input();
            if input.parameters.remove(ALTERING).is_none() || self.replace(&input, version.as_deref()).await? {
                return Ok(());
            }
        }
        Err(self.restless(name))
    }

    /// Adds a column to a table, also to a locked one. Gives whether it lacked the column.
    pub async fn add_column(&self, name: &str, column: &Field) -> io::Result<bool> {
        for _ in 0..MAX_ROUNDS {
            let table = self.existing(name).await?;
            let version = table.version_id.clone();
            let Some(input) = self.usable(&table, add(table.clone(), column))? else {
                // Whoever added it may have died before the partitions got it.
                return self.named(name).await.map(|_| false);
            };
            if self.replace(&input, version.as_deref()).await? {
                return self.settle(name).await.map(|_| true);
            }
        }
        Err(self.restless(name))
    }
}

/// How far a change of a column's type is. The error says why it cannot be made.
fn alteration(table: &fms_glue::Table, column: &str, to: &Type) -> Result<Alteration, String> {
    let fields = fields(columns(table))?;
    let Some(field) = fields.iter().find(|field| field.name == column) else {
        let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        return Err(format!("it has no column `{column}`; it has {}", names.join(", ")));
    };
    let is_done = field.data_type == *to;
    match table.parameters.get(ALTERING).map(|altering| altering.split_once(':').unwrap_or((altering, ""))) {
        Some((altering, was)) if altering == column && is_done => {
            let was = was.parse().map_err(|error| format!("its parameter `{ALTERING}`: {error}"))?;
            return Ok(Alteration::Begun(was));
        }
        Some((altering, _)) => {
            let begun = fields.iter().find(|field| field.name == altering);
            let begun = begun.map_or_else(String::new, |field| field.data_type.to_string());
            return Err(format!(
                "another change has begun and not ended; finish it first, by `--column {altering} --to {begun}`"
            ));
        }
        None if is_done => return Ok(Alteration::Done),
        None => {}
    }
    if !is_castable(&field.data_type, to) {
        return Err(format!(
            "column `{column}` is {}, which cannot become {to}: an int may become a bigint or double, a bigint or float \
             a double, and a boolean, date or number a string",
            field.data_type
        ));
    }
    Ok(Alteration::Possible(field.data_type.clone()))
}

/// A table in which a column has another type, which not all files have yet.
fn retyped(mut table: fms_glue::Table, column: &str, to: &Type) -> Result<fms_glue::Table, String> {
    let number = Version::of(&table).number() + 1;
    let storage = table.storage_descriptor.as_mut().ok_or("it says nothing of files")?;
    let mut was = String::new();
    for found in storage.columns.iter_mut().filter(|found| found.name == column) {
        was = std::mem::replace(&mut found.data_type, to.to_string());
    }
    table.parameters.insert(COLUMNS_VERSION.to_owned(), number.to_string());
    table.parameters.insert(TYPES_VERSION.to_owned(), number.to_string());
    table.parameters.insert(ALTERING.to_owned(), format!("{column}:{was}"));
    // The partitions get the type one by one, together with their files.
    let version = Version::of(&table).to_string();
    table.parameters.insert(PARTITIONS_VERSION.to_owned(), version);
    Ok(table)
}

/// Adds a column, or the fields that a struct lacks, also to a locked table. `None` if the table has all of it.
fn add(table: fms_glue::Table, column: &Field) -> Result<Option<TableInput>, String> {
    let before = growth(&table)?;
    if let Some(found) = columns(&table).iter().find(|found| found.name == column.name) {
        let parsed: Option<Type> = found.data_type.parse().ok();
        match parsed.as_ref().map(|found| lacks(found, &column.data_type)) {
            Some(Ok(true)) => {}
            Some(Ok(false)) => return Ok(None),
            Some(Err(())) | None => {
                let (name, found) = (&column.name, &found.data_type);
                return Err(format!(
                    "its column `{name}` is {found}, which has no room for {}; --column and --to change the type of a \
                     column that is no struct, and a field of a struct keeps its type, so add it under another name",
                    column.data_type
                ));
            }
        }
    }
    let mut open = table;
    set_growth(&mut open.parameters, Growth::Open);
    let Some(mut input) = schema::grow(open, std::slice::from_ref(column))? else { return Ok(None) };
    if input.parameters.contains_key(SCHEMA) {
        return Err(format!("it has no room for the column `{}`", column.name));
    }
    set_growth(&mut input.parameters, before);
    Ok(Some(input))
}

/// Whether a type lacks fields that another one has within structs. It is an error if they differ in anything else.
fn lacks(found: &Type, wanted: &Type) -> Result<bool, ()> {
    match (found, wanted) {
        (Type::Struct(found), Type::Struct(wanted)) => {
            let lacks = |wanted: &Field| match found.iter().find(|found| found.name == wanted.name) {
                Some(found) => lacks(&found.data_type, &wanted.data_type),
                None => Ok(true),
            };
            wanted.iter().map(lacks).try_fold(false, |any, one| Ok(any | one?))
        }
        (Type::Array(found), Type::Array(wanted)) => lacks(found, wanted),
        (found, wanted) if found == wanted => Ok(false),
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_lacking_within_structs_and_another_type_is_no_lack() {
        let of = |found: &str, wanted: &str| lacks(&found.parse().expect("a type"), &wanted.parse().expect("a type"));
        assert_eq!(of("struct<a:int>", "struct<b:int>"), Ok(true));
        assert_eq!(of("struct<a:int,b:int>", "struct<b:int>"), Ok(false));
        assert_eq!(of("array<struct<a:struct<b:int>>>", "array<struct<a:struct<c:int>>>"), Ok(true));
        assert_eq!(of("struct<a:int>", "struct<b:int,a:string>"), Err(()));
        assert_eq!(of("bigint", "struct<a:int>"), Err(()));
    }
}
