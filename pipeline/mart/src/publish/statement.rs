//! The statements of SQL by which a table is created, in the words that `PostgreSQL` and `MySQL` do not have in common.

use anyhow::bail;
use fms_lake::Type;

use super::{NOTES, columns};
use crate::model::{DAY, Model};

/// Whose SQL it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Postgres,
    MySql,
}

impl Dialect {
    /// A name that no word of the language can be taken for. Names of models and columns have letters, digits and `_`
    /// only.
    pub fn name(self, name: &str) -> String {
        match self {
            Self::Postgres => format!("\"{name}\""),
            Self::MySql => format!("`{name}`"),
        }
    }

    /// Names between commas.
    pub fn names<'n>(self, names: impl Iterator<Item = &'n str>) -> String {
        names.map(|name| self.name(name)).collect::<Vec<_>>().join(", ")
    }

    /// The type of a column.
    fn data_type(self, data_type: &Type, is_key: bool) -> &'static str {
        match (data_type, self) {
            (Type::Boolean, _) => "boolean",
            (Type::Int, _) => "int",
            (Type::Bigint, _) => "bigint",
            (Type::Float, Self::Postgres) => "real",
            (Type::Float, Self::MySql) => "float",
            (Type::Double, Self::Postgres) => "double precision",
            (Type::Double, Self::MySql) => "double",
            // An index of MySQL takes no text of any length.
            (Type::String, Self::MySql) if is_key => "varchar(255)",
            (Type::String, Self::MySql) => "mediumtext",
            (Type::String, Self::Postgres) => "text",
            (Type::Date, _) => "date",
            (Type::Timestamp, Self::Postgres) => "timestamptz",
            (Type::Timestamp, Self::MySql) => "datetime(3)",
            (Type::Array(_) | Type::Struct(_), Self::Postgres) => "jsonb",
            (Type::Array(_) | Type::Struct(_), Self::MySql) => "json",
        }
    }

    /// The end of a statement that creates a table. Texts are compared as the mart does, byte by byte, and changes of
    /// a partition are one transaction.
    fn storage(self) -> &'static str {
        match self {
            Self::Postgres => "",
            Self::MySql => " engine = InnoDB default character set utf8mb4 collate utf8mb4_bin",
        }
    }

    /// Creates the table of a model. The primary key begins with the day, by which rows are replaced.
    pub fn create(self, model: &Model) -> String {
        let columns = model.columns.iter().map(|column| {
            let is_key = model.keys.contains(&column.field.name);
            let data_type = self.data_type(&column.field.data_type, is_key);
            let null = if is_key { " not null" } else { "" };
            format!(",\n  {} {data_type}{null}", self.name(&column.field.name))
        });
        let keys = self.names([DAY].into_iter().chain(model.keys.iter().map(String::as_str)));
        format!(
            "create table {} (\n  {} date not null{},\n  primary key ({keys})\n){}",
            self.name(&model.name),
            self.name(DAY),
            columns.collect::<String>(),
            self.storage()
        )
    }

    /// Adds a column of a model to the table that was created without it.
    pub fn add(self, model: &Model, column: &str) -> String {
        let data_type = model.columns.iter().find(|one| one.field.name == column);
        let data_type = data_type.map_or("date", |one| self.data_type(&one.field.data_type, false));
        format!("alter table {} add column {} {data_type}", self.name(&model.name), self.name(column))
    }

    /// Checks that a table has the columns of a model. `MySQL` does not mind upper and lower case in their names.
    pub fn check_columns(self, model: &Model, found: &[String]) -> anyhow::Result<()> {
        let is_same = |one: &str, other: &str| match self {
            Self::Postgres => one == other,
            Self::MySql => one.eq_ignore_ascii_case(other),
        };
        if let Some(missing) = columns(model).find(|name| !found.iter().any(|found| is_same(found, name))) {
            bail!(
                "it has no column `{missing}`; add it: {}; or drop the table, and it is created with all rows",
                self.add(model, missing)
            );
        }
        Ok(())
    }

    /// Creates the table of what is published, if it is not there.
    pub fn create_notes(self) -> String {
        let (text, time) = match self {
            Self::Postgres => ("text", "timestamptz not null default now()"),
            Self::MySql => ("varchar(255)", "timestamp(3) not null default current_timestamp(3)"),
        };
        format!(
            "create table if not exists {NOTES} (\n  table_name {text} not null,\n  ymd date not null,\n  \
             content {text} not null,\n  published_at {time},\n  primary key (table_name, ymd)\n){}",
            self.storage()
        )
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::model::Models;

    #[test]
    fn a_table_is_created_of_the_columns_of_its_model() {
        let text = "/*\ndescription = \"d\"\nowner = \"o\"\ngrain = \"g\"\nkeys = [\"id\", \"code\"]\ncolumns = \"\"\"\n\
            id bigint the vehicle\ncode string a code\nn int a number\nratio float a share\nkm double km\nis_on boolean on\n\
            note string a text\nday date a day\nat timestamp a time\nall array<string> codes\n\"\"\"\n\
            [sources.raw]\ncolumns = \"id bigint\"\n[[examples]]\nname = \"e\"\nexpect = \"id\"\n*/\nselect 1";
        let models = Models::of([(PathBuf::from("order.sql"), text.to_owned())]).expect("models");
        let model = models.get("order").expect("a model");
        insta::assert_snapshot!(Dialect::Postgres.create(model), @r#"
        create table "order" (
          "ymd" date not null,
          "id" bigint not null,
          "code" text not null,
          "n" int,
          "ratio" real,
          "km" double precision,
          "is_on" boolean,
          "note" text,
          "day" date,
          "at" timestamptz,
          "all" jsonb,
          primary key ("ymd", "id", "code")
        )
        "#);
        insta::assert_snapshot!(Dialect::MySql.create(model), @r"
        create table `order` (
          `ymd` date not null,
          `id` bigint not null,
          `code` varchar(255) not null,
          `n` int,
          `ratio` float,
          `km` double,
          `is_on` boolean,
          `note` mediumtext,
          `day` date,
          `at` datetime(3),
          `all` json,
          primary key (`ymd`, `id`, `code`)
        ) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin
        ");
        assert_eq!(Dialect::MySql.add(model, "km"), "alter table `order` add column `km` double");
    }
}
