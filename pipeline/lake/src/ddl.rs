//! The statements that make a SQL engine know the tables of a lake.
//!
//! Where the rows of an hour are, the catalog says: a compaction moves them out of the folder that the values of the
//! partition keys name. So every partition is created with its location, and what computes folders from values is
//! refused once they differ.

mod dialect;
#[cfg(test)]
mod tests;

use self::dialect::{Redshift, Trino, back_quoted, double_quoted, list, single_quoted};
use crate::partition::{KEYS, Partition};
use crate::types::{Field, Type};

/// The most partitions that Redshift adds in a statement (its limit with a Glue catalog), and that are added in one of
/// Athena's, whose statements have at most 256 KiB.
const ADDED: usize = 100;

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

/// A table of the lake, with where its files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// Its name.
    pub table: String,
    /// The columns, without the partition keys.
    pub columns: Vec<Field>,
    /// Where the table is: `s3://bucket/formatted/…`, without or with a slash at its end.
    pub location: String,
    /// The hours that have rows, each with where its files are.
    pub hours: Vec<(Partition, String)>,
}

/// Which catalog an engine asks for a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Catalog {
    /// The Glue database that has the lake's tables.
    Shared,
    /// One in which the tables have to be created.
    Own,
}

impl Engine {
    /// The statements that make the engine know these tables in `database`, which Redshift and Trino call a schema.
    ///
    /// # Errors
    ///
    /// If the engine would not find rows of a table by these statements; the text says why and what to do.
    pub fn statements(self, database: &str, tables: &[External], catalog: Catalog) -> Result<String, String> {
        let mut statements = Vec::new();
        match (self, catalog) {
            (Self::Redshift, Catalog::Shared) => {
                let note = "-- The tables are those of the Glue catalog, with the partitions that they have when they are read.\n";
                return Ok(note.to_owned() + &schema(database, false));
            }
            (Self::Redshift, Catalog::Own) => statements.push(schema(database, true)),
            (Self::AthenaProjection, _) => statements.push(
                "-- Do not compact this lake: partition projection does not find the hours that a compaction moves.\n"
                    .to_owned(),
            ),
            (_, Catalog::Shared) => statements.push(
                "-- These statements are for an engine that does not use the Glue catalog of the lake. Its own one does not \
                 learn of\n-- hours that come, go, or are compacted later: drop the tables then, and create them again.\n"
                    .to_owned(),
            ),
            (_, Catalog::Own) => {}
        }
        for table in tables {
            statements.push(match self {
                Self::Redshift => table.redshift(database),
                Self::Athena => table.athena(database),
                Self::AthenaProjection => table.projected(database)?,
                Self::Trino => table.trino(database),
            });
        }
        Ok(statements.join("\n"))
    }
}

/// The schema of Redshift that stands for a database of the Glue catalog.
fn schema(database: &str, is_created: bool) -> String {
    let created = if is_created { "\ncreate external database if not exists" } else { "" };
    format!(
        "create external schema if not exists {}\nfrom data catalog\ndatabase {}\niam_role default{created};\n",
        double_quoted(database),
        single_quoted(database)
    )
}

impl External {
    fn location(&self) -> String {
        with_slash(&self.location)
    }

    /// Where the files of an hour are if nobody has moved them.
    fn folder(&self, hour: Partition) -> String {
        format!("{}{hour}/", self.location())
    }

    /// How many hours have their rows elsewhere.
    fn moved(&self) -> usize {
        self.hours.iter().filter(|(hour, location)| with_slash(location) != self.folder(*hour)).count()
    }

    fn redshift(&self, database: &str) -> String {
        let columns =
            list(&self.columns, |column| format!("{} {}", double_quoted(&column.name), Redshift(&column.data_type)));
        let keys = KEYS.map(|key| format!("{} varchar(10)", double_quoted(key))).join(", ");
        let name = format!("{}.{}", double_quoted(database), double_quoted(&self.table));
        format!(
            "create external table {name} (\n{columns}\n)\npartitioned by ({keys})\nstored as parquet\nlocation {};\n{}",
            single_quoted(&self.location()),
            self.added(&name)
        )
    }

    fn athena(&self, database: &str) -> String {
        let name = format!("{}.{}", back_quoted(database), back_quoted(&self.table));
        self.created_in_athena(&name, &[]) + &self.added(&name)
    }

    fn created_in_athena(&self, name: &str, properties: &[(String, String)]) -> String {
        let columns = list(&self.columns, |column| format!("{} {}", back_quoted(&column.name), column.data_type));
        let keys = KEYS.map(|key| format!("{} string", back_quoted(key))).join(", ");
        let classification = ("classification".to_owned(), "parquet".to_owned());
        let properties: Vec<String> = std::iter::once(&classification)
            .chain(properties)
            .map(|(name, value)| format!("  {} = {}", single_quoted(name), single_quoted(value)))
            .collect();
        format!(
            "create external table if not exists {name} (\n{columns}\n)\npartitioned by ({keys})\nstored as parquet\n\
             location {}\ntblproperties (\n{}\n);\n",
            single_quoted(&self.location()),
            properties.join(",\n")
        )
    }

    /// The statements of Athena and Redshift that add the partitions.
    fn added(&self, name: &str) -> String {
        let partition = |(hour, location): &(Partition, String)| {
            let [day, hour] = hour.values();
            let location = single_quoted(&with_slash(location));
            format!("\n  partition ({}='{day}', {}='{hour}') location {location}", KEYS[0], KEYS[1])
        };
        let statement = |hours: &[(Partition, String)]| {
            format!("alter table {name} add if not exists{};\n", hours.iter().map(partition).collect::<String>())
        };
        self.hours.chunks(ADDED).map(statement).collect()
    }

    /// The table whose every day from 2020 on, and each of its hours, Athena knows without asking.
    fn projected(&self, database: &str) -> Result<String, String> {
        let moved = self.moved();
        if moved > 0 {
            return Err(format!(
                "partition projection would not find the rows of {moved} hour{} of the table `{}`, because a compaction has \
                 moved them; take the engine `athena`, whose partitions say where their rows are",
                if moved == 1 { "" } else { "s" },
                self.table
            ));
        }
        let [day, hour] = KEYS;
        let of = |key: &str, property: &str| format!("projection.{key}.{property}");
        let template = format!("{}{day}=${{{day}}}/{hour}=${{{hour}}}/", self.location());
        let properties = [
            ("projection.enabled".to_owned(), "true".to_owned()),
            (of(day, "type"), "date".to_owned()),
            (of(day, "format"), "yyyy-MM-dd".to_owned()),
            // An event may be up to a day ahead of UTC, where clocks go before it.
            (of(day, "range"), "2020-01-01,NOW+1DAYS".to_owned()),
            (of(hour, "type"), "integer".to_owned()),
            (of(hour, "range"), "0,23".to_owned()),
            (of(hour, "digits"), "2".to_owned()),
            ("storage.location.template".to_owned(), template),
        ];
        let name = format!("{}.{}", back_quoted(database), back_quoted(&self.table));
        Ok(self.created_in_athena(&name, &properties))
    }

    fn trino(&self, database: &str) -> String {
        let keys = KEYS.map(|key| Field::new(key, Type::String));
        let columns: Vec<Field> = self.columns.iter().chain(&keys).cloned().collect();
        let columns = list(&columns, |column| format!("{} {}", double_quoted(&column.name), Trino(&column.data_type)));
        let names = KEYS.map(single_quoted).join(", ");
        let (schema, table) = (double_quoted(database), double_quoted(&self.table));
        format!(
            "create table if not exists hive.{schema}.{table} (\n{columns}\n)\nwith (\n  external_location = {},\n  \
             format = 'PARQUET',\n  partitioned_by = array[{names}]\n);\n{}",
            single_quoted(&self.location()),
            self.registered(database)
        )
    }

    /// The calls of Trino that add the partitions. Where no hour was moved, one call finds them by their folders; it adds
    /// only, for `FULL` would drop partitions whose folder is gone.
    fn registered(&self, database: &str) -> String {
        let (schema, table) = (single_quoted(database), single_quoted(&self.table));
        if self.moved() == 0 {
            return format!("call hive.system.sync_partition_metadata({schema}, {table}, 'ADD');\n");
        }
        let names = KEYS.map(single_quoted).join(", ");
        let call = |(hour, location): &(Partition, String)| {
            let values = hour.values().map(|value| single_quoted(&value)).join(", ");
            let location = single_quoted(&with_slash(location));
            format!(
                "call hive.system.register_partition({schema}, {table}, array[{names}], array[{values}], {location});\n"
            )
        };
        let needed = "-- The catalog needs `hive.allow-register-partition-procedure=true`.\n";
        needed.to_owned() + &self.hours.iter().map(call).collect::<String>()
    }
}

fn with_slash(location: &str) -> String {
    format!("{}/", location.trim_end_matches('/'))
}
