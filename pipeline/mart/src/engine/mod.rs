//! The statements by which a model is built on another engine: its table, and of each day a query that writes files to a
//! new folder, to which one change of the catalog then sends readers. They are printed for whoever has the engine, or run there.

mod submit;
mod translated;

use std::fmt::Write as _;

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;
use fms_lake::{S3Url, Type};
use jiff::civil::Date;

use crate::model::{DAY, Model};
use crate::query::keys;

pub(crate) use submit::{Place, Redshift, Session};

/// Whose SQL it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// Amazon Redshift, with the lake's database as an external schema.
    Redshift,
    /// Amazon Athena.
    Athena,
}

/// What is built where.
#[derive(Debug, Clone)]
pub(crate) struct Target<'t> {
    pub engine: Engine,
    /// The database of the Glue catalog, or the external schema.
    pub database: &'t str,
    pub mart: &'t S3Url,
    /// The first day and the last one.
    pub days: (Date, Date),
    /// The name of the folders of new files. No earlier one may have had it.
    pub generation: &'t str,
}

/// One of the statements by which a model is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    /// What it is for, such as `trip 2023-01-01: the rows`.
    pub what: String,
    pub sql: String,
    /// Whether what it creates may be there already, which the engine cannot be told.
    pub may_be_there: bool,
}

impl Engine {
    /// Its name for people.
    fn name(self) -> &'static str {
        match self {
            Self::Redshift => "Redshift",
            Self::Athena => "Athena",
        }
    }

    /// The type of a column of files, in the statement that creates a table.
    fn column(self, data_type: &Type) -> anyhow::Result<String> {
        Ok(match (self, data_type) {
            (Self::Athena, data_type) => data_type.to_string(),
            (Self::Redshift, Type::Array(_) | Type::Struct(_)) => {
                bail!(
                    "Redshift writes no lists and fields to files; leave them out of the model, or build it elsewhere"
                )
            }
            (Self::Redshift, data_type) => self.value(data_type),
        })
    }

    /// The type of a value in a query.
    fn value(self, data_type: &Type) -> String {
        let name = match (data_type, self) {
            (Type::Boolean, _) => "boolean",
            (Type::Int, _) => "integer",
            (Type::Bigint, _) => "bigint",
            (Type::Float, _) => "real",
            (Type::Double, Self::Redshift) => "double precision",
            (Type::Double, Self::Athena) => "double",
            (Type::String, Self::Redshift) => "varchar(65535)",
            (Type::String, Self::Athena) => "varchar",
            (Type::Date, _) => "date",
            (Type::Timestamp, _) => "timestamp",
            (Type::Array(_) | Type::Struct(_), _) => return data_type.to_string(),
        };
        name.to_owned()
    }

    fn day(self) -> &'static str {
        match self {
            Self::Redshift => "varchar(10)",
            Self::Athena => "string",
        }
    }
}

impl Target<'_> {
    /// All statements of a model, in their order.
    pub fn statements(&self, model: &Model) -> anyhow::Result<Vec<Statement>> {
        let query = translated::query(self.engine, &model.sql).with_context(|| format!("{}.sql", model.name))?;
        let mut statements = vec![Statement {
            what: format!("{}: the table", model.name),
            sql: self.create(model)?,
            may_be_there: true,
        }];
        let (mut day, last) = self.days;
        ensure!(day <= last, "--from {day} is after --to {last}");
        while day <= last {
            let whats = ["the rows", "the partition", "its place"];
            let statement =
                |(sql, what)| Statement { what: format!("{} {day}: {what}", model.name), sql, may_be_there: false };
            statements.extend(self.build(model, &query, day).into_iter().zip(whats).map(statement));
            day = day.tomorrow()?;
        }
        Ok(statements)
    }

    /// All statements of a model as a text.
    pub fn text(&self, model: &Model) -> anyhow::Result<String> {
        let mut text = format!("-- {}: {}\n", model.name, model.grain);
        for Statement { sql, .. } in self.statements(model)? {
            text.extend([&sql, ";\n\n"]);
        }
        Ok(text)
    }

    fn folder(&self, model: &Model) -> String {
        let S3Url { bucket, key } = self.mart;
        let below = if key.is_empty() || key.ends_with('/') { "" } else { "/" };
        format!("s3://{bucket}/{key}{below}{}/", model.name)
    }

    fn create(&self, model: &Model) -> anyhow::Result<String> {
        let columns = model.columns.iter().map(|column| {
            let data_type = self.engine.column(&column.field.data_type);
            let data_type = data_type.with_context(|| format!("{}.sql: `{}`", model.name, column.field.name))?;
            Ok(format!("  {} {data_type}", self.quoted(&column.field.name)))
        });
        let columns: Vec<String> = columns.collect::<anyhow::Result<_>>()?;
        let unless_there = if self.engine == Engine::Athena { "if not exists " } else { "" };
        Ok(format!(
            "create external table {unless_there}{}.{} (\n{}\n)\npartitioned by ({DAY} {})\nstored as parquet\nlocation \
             '{}'",
            self.database,
            model.name,
            columns.join(",\n"),
            self.engine.day(),
            self.folder(model)
        ))
    }

    /// A name of a column in a statement that creates a table.
    fn quoted(&self, name: &str) -> String {
        match self.engine {
            Engine::Redshift => format!("\"{name}\""),
            Engine::Athena => format!("`{name}`"),
        }
    }

    /// The statements that write the rows of a day, create its partition, and send readers to the rows.
    fn build(&self, model: &Model, query: &str, day: Date) -> [String; 3] {
        let mut select = String::from("with\n");
        for (at, (source, reads)) in model.sources.iter().enumerate() {
            let (first, last) = reads.window(day);
            let columns = reads.columns.iter().map(|field| field.name.as_str()).chain(keys(reads).iter().copied());
            let columns: Vec<String> = columns.map(|name| format!("\"{name}\"")).collect();
            let comma = if at == 0 { "" } else { ",\n" };
            let _ = write!(
                select,
                "{comma}{source} as (\n  select {}\n  from {}.{source}\n  where {DAY} between '{first}' and '{last}'\n)",
                columns.join(", "),
                self.database
            );
        }
        let columns = model.columns.iter().map(|column| {
            let name = format!("\"{}\"", column.field.name);
            match &column.field.data_type {
                Type::Array(_) | Type::Struct(_) => name,
                data_type => format!("cast({name} as {}) as {name}", self.engine.value(data_type)),
            }
        });
        let columns: Vec<String> = columns.collect();
        let _ =
            write!(select, "\nselect\n  {}\nfrom (\n{query}\n) as built\nwhere {DAY} = '{day}'", columns.join(",\n  "));
        let table = format!("{}.{}", self.database, model.name);
        let folder = format!("{}{DAY}={day}/{}/", self.folder(model), self.generation);
        let unload = match self.engine {
            Engine::Redshift => {
                format!("unload ($build$\n{select}\n$build$)\nto '{folder}'\niam_role default\nformat parquet")
            }
            Engine::Athena => {
                format!("unload (\n{select}\n)\nto '{folder}'\nwith (format = 'PARQUET', compression = 'ZSTD')")
            }
        };
        let partition = format!("partition ({DAY} = '{day}')");
        [
            unload,
            format!("alter table {table} add if not exists {partition} location '{folder}'"),
            format!("alter table {table} {partition} set location '{folder}'"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect, RedshiftSqlDialect};
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;
    use crate::model::Models;

    fn statements(engine: Engine, model: &Model) -> anyhow::Result<String> {
        let mart: S3Url = "s3://lake/mart".parse().expect("a place");
        let days = ("2023-01-01".parse().expect("a day"), "2023-01-01".parse().expect("a day"));
        Target { engine, database: "fleet", mart: &mart, days, generation: "20230102T020000Z" }.text(model)
    }

    #[test]
    fn a_model_is_a_table_and_a_query_for_each_day() {
        let text = "/*\ndescription = \"d\"\nowner = \"o\"\ngrain = \"a vehicle on a day\"\nkeys = [\"id\"]\ncolumns = \"\"\"\n\
            id bigint the vehicle\nseconds double s\ncolor string a text\n\"\"\"\n\
            [sources.raw]\nreads = \"1 day before\"\ncolumns = \"id bigint, at timestamp, color string\"\n\
            [[examples]]\nname = \"e\"\nexpect = \"id\"\n*/\n\
            select ymd, id, extract(epoch from max(at)) - extract(epoch from min(at)) as seconds,\n\
            cast(max(n) as double precision) as color\n\
            from (select *, lag(id) over w as n from raw window w as (partition by id order by at)) as r group by ymd, id";
        let models = Models::of([(PathBuf::from("idle.sql"), text.to_owned())]).expect("models");
        let model = models.get("idle").expect("a model");
        insta::assert_snapshot!("engine_redshift", statements(Engine::Redshift, model).expect("statements"));
        insta::assert_snapshot!("engine_athena", statements(Engine::Athena, model).expect("statements"));
    }

    /// The queries within the statements are parsed by the dialect of Redshift, and by the generic one for Athena.
    #[test]
    fn every_model_can_be_built_elsewhere() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/mart"));
        let models = Models::read(folder).expect("models");
        let redshift: (Engine, &dyn Dialect, [&str; 2]) =
            (Engine::Redshift, &RedshiftSqlDialect {}, ["$build$\n", "\n$build$"]);
        let athena: (Engine, &dyn Dialect, [&str; 2]) =
            (Engine::Athena, &GenericDialect {}, ["unload (\n", "\n)\nto '"]);
        for model in models.iter() {
            for (engine, dialect, [begin, end]) in [redshift, athena] {
                let text = statements(engine, model).expect("statements");
                let query =
                    text.split_once(begin).and_then(|(_, rest)| Some(rest.split_once(end)?.0)).expect("a query");
                let parsed = Parser::parse_sql(dialect, query);
                assert_eq!(parsed.as_ref().map(Vec::len), Ok(1), "{engine:?}, {}: {query}", model.name);
                let upper = query.to_uppercase();
                assert!(!upper.contains("EXTRACT(EPOCH"), "{engine:?}, {}: {query}", model.name);
                let foreign = if engine == Engine::Redshift { " WINDOW " } else { "DOUBLE PRECISION" };
                assert!(!upper.contains(foreign), "{engine:?}, {}: {query}", model.name);
            }
        }
    }
}
