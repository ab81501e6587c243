//! The statements that create a table of the lake in a SQL engine, for those who do not use the Glue catalog there.

use std::fmt::{self, Write};

use crate::partition::KEYS;
use crate::types::{Field, Type};

/// A SQL engine that reads external tables in its own dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Redshift Spectrum.
    Redshift,
    /// Athena, with partitions that the catalog holds.
    Athena,
    /// Athena with partition projection: partitions follow from the days and hours, and no catalog has to hold them.
    AthenaProjection,
    /// Trino's Hive connector.
    Trino,
}

/// A table as an engine is to see it.
#[derive(Debug, Clone, Copy)]
pub struct External<'a> {
    /// The database, which Redshift and Trino call a schema.
    pub database: &'a str,
    /// The table.
    pub table: &'a str,
    /// The columns, without the partition keys.
    pub columns: &'a [Field],
    /// Where the files are: `s3://bucket/formatted/…`, without or with a slash at its end.
    pub location: &'a str,
}

impl External<'_> {
    /// The statements that create the table, each with a semicolon and a line break at its end.
    pub fn statements(&self, engine: Engine) -> String {
        match engine {
            Engine::Redshift => self.redshift(),
            Engine::Athena => self.athena(&[]),
            Engine::AthenaProjection => self.athena(&self.projection()),
            Engine::Trino => self.trino(),
        }
    }

    fn location(&self) -> String {
        format!("{}/", self.location.trim_end_matches('/'))
    }

    fn redshift(&self) -> String {
        let columns =
            list(self.columns, |column| format!("{} {}", double_quoted(&column.name), Redshift(&column.data_type)));
        let keys = KEYS.map(|key| format!("{} varchar(10)", double_quoted(key))).join(", ");
        format!(
            "create external table {}.{} (\n{columns}\n)\npartitioned by ({keys})\nstored as parquet\nlocation {};\n",
            double_quoted(self.database),
            double_quoted(self.table),
            single_quoted(&self.location())
        )
    }

    fn athena(&self, properties: &[(String, String)]) -> String {
        let columns = list(self.columns, |column| format!("{} {}", back_quoted(&column.name), column.data_type));
        let keys = KEYS.map(|key| format!("{} string", back_quoted(key))).join(", ");
        let classification = ("classification".to_owned(), "parquet".to_owned());
        let properties: Vec<String> = std::iter::once(&classification)
            .chain(properties)
            .map(|(name, value)| format!("  {} = {}", single_quoted(name), single_quoted(value)))
            .collect();
        format!(
            "create external table if not exists {}.{} (\n{columns}\n)\npartitioned by ({keys})\nstored as parquet\n\
             location {}\ntblproperties (\n{}\n);\n",
            back_quoted(self.database),
            back_quoted(self.table),
            single_quoted(&self.location()),
            properties.join(",\n")
        )
    }

    /// The properties by which Athena knows every day from 2020 on, and each of its hours.
    fn projection(&self) -> Vec<(String, String)> {
        let [day, hour] = KEYS;
        let of = |key: &str, property: &str| format!("projection.{key}.{property}");
        let template = format!("{}{day}=${{{day}}}/{hour}=${{{hour}}}/", self.location());
        [
            ("projection.enabled".to_owned(), "true".to_owned()),
            (of(day, "type"), "date".to_owned()),
            (of(day, "format"), "yyyy-MM-dd".to_owned()),
            // An event may be up to a day ahead of UTC, where clocks go before it.
            (of(day, "range"), "2020-01-01,NOW+1DAYS".to_owned()),
            (of(hour, "type"), "integer".to_owned()),
            (of(hour, "range"), "0,23".to_owned()),
            (of(hour, "digits"), "2".to_owned()),
            ("storage.location.template".to_owned(), template),
        ]
        .into()
    }

    fn trino(&self) -> String {
        let keys = KEYS.map(|key| Field::new(key, Type::String));
        let columns: Vec<Field> = self.columns.iter().chain(&keys).cloned().collect();
        let columns = list(&columns, |column| format!("{} {}", double_quoted(&column.name), Trino(&column.data_type)));
        let names = KEYS.map(single_quoted).join(", ");
        let (database, table) = (double_quoted(self.database), double_quoted(self.table));
        format!(
            "create table if not exists hive.{database}.{table} (\n{columns}\n)\nwith (\n  external_location = {},\n  \
             format = 'PARQUET',\n  partitioned_by = array[{names}]\n);\n\
             call hive.system.sync_partition_metadata({}, {}, 'FULL');\n",
            single_quoted(&self.location()),
            single_quoted(self.database),
            single_quoted(self.table)
        )
    }
}

fn list(columns: &[Field], line: impl Fn(&Field) -> String) -> String {
    columns.iter().map(|column| format!("  {}", line(column))).collect::<Vec<_>>().join(",\n")
}

fn double_quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn back_quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn single_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A type as Redshift writes it. Nested types have the form of Hive, with Redshift's names inside.
struct Redshift<'a>(&'a Type);

impl fmt::Display for Redshift<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            // The longest text that Redshift has.
            Type::String => f.write_str("varchar(65535)"),
            Type::Float => f.write_str("real"),
            Type::Double => f.write_str("double precision"),
            Type::Array(element) => write!(f, "array<{}>", Self(element)),
            Type::Struct(fields) => {
                f.write_str("struct<")?;
                fields_of(f, fields, |f, field| write!(f, "{}:{}", field.name, Redshift(&field.data_type)))?;
                f.write_char('>')
            }
            other => write!(f, "{other}"),
        }
    }
}

/// A type as Trino writes it.
struct Trino<'a>(&'a Type);

impl fmt::Display for Trino<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Type::String => f.write_str("varchar"),
            Type::Int => f.write_str("integer"),
            Type::Float => f.write_str("real"),
            Type::Timestamp => f.write_str("timestamp(3)"),
            Type::Array(element) => write!(f, "array({})", Self(element)),
            Type::Struct(fields) => {
                f.write_str("row(")?;
                fields_of(f, fields, |f, field| {
                    write!(f, "{} {}", double_quoted(&field.name), Trino(&field.data_type))
                })?;
                f.write_char(')')
            }
            other => write!(f, "{other}"),
        }
    }
}

fn fields_of(
    f: &mut fmt::Formatter<'_>,
    fields: &[Field],
    write: impl Fn(&mut fmt::Formatter<'_>, &Field) -> fmt::Result,
) -> fmt::Result {
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            f.write_str(", ")?;
        }
        write(f, field)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statements(engine: Engine) -> String {
        let columns: Vec<Field> = [
            ("id", "bigint"),
            ("timestamp_iso", "timestamp"),
            ("pressure", "double"),
            ("wheel", "struct<axle:bigint,notes:array<string>>"),
        ]
        .map(|(name, text)| Field::new(name, text.parse().expect("a type")))
        .into();
        let table = External {
            database: "fleet",
            table: "vehicle_tire_report",
            columns: &columns,
            location: "s3://lake/formatted/object=vehicle/type=tire/command=report",
        };
        table.statements(engine)
    }

    #[test]
    fn redshift() {
        insta::assert_snapshot!(statements(Engine::Redshift), @r#"
        create external table "fleet"."vehicle_tire_report" (
          "id" bigint,
          "timestamp_iso" timestamp,
          "pressure" double precision,
          "wheel" struct<axle:bigint, notes:array<varchar(65535)>>
        )
        partitioned by ("ymd" varchar(10), "hour" varchar(10))
        stored as parquet
        location 's3://lake/formatted/object=vehicle/type=tire/command=report/';
        "#);
    }

    #[test]
    fn athena() {
        insta::assert_snapshot!(statements(Engine::Athena), @r"
        create external table if not exists `fleet`.`vehicle_tire_report` (
          `id` bigint,
          `timestamp_iso` timestamp,
          `pressure` double,
          `wheel` struct<axle:bigint,notes:array<string>>
        )
        partitioned by (`ymd` string, `hour` string)
        stored as parquet
        location 's3://lake/formatted/object=vehicle/type=tire/command=report/'
        tblproperties (
          'classification' = 'parquet'
        );
        ");
    }

    #[test]
    fn athena_with_projection_names_each_hour_by_its_folder() {
        let statements = statements(Engine::AthenaProjection);
        let template = "'storage.location.template' = \
             's3://lake/formatted/object=vehicle/type=tire/command=report/ymd=${ymd}/hour=${hour}/'";
        for property in ["'projection.enabled' = 'true'", "'projection.hour.digits' = '2'", template] {
            assert!(statements.contains(property), "{statements}");
        }
    }

    #[test]
    fn trino() {
        insta::assert_snapshot!(statements(Engine::Trino), @r#"
        create table if not exists hive."fleet"."vehicle_tire_report" (
          "id" bigint,
          "timestamp_iso" timestamp(3),
          "pressure" double,
          "wheel" row("axle" bigint, "notes" array(varchar)),
          "ymd" varchar,
          "hour" varchar
        )
        with (
          external_location = 's3://lake/formatted/object=vehicle/type=tire/command=report/',
          format = 'PARQUET',
          partitioned_by = array['ymd', 'hour']
        );
        call hive.system.sync_partition_metadata('fleet', 'vehicle_tire_report', 'FULL');
        "#);
    }
}
