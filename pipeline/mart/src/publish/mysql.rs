//! `MySQL` and `MariaDB`: a partition is replaced in one transaction of `InnoDB`, so that no reader ever sees a part of it.

use std::collections::BTreeMap;

use anyhow::{Context as _, anyhow, ensure};
use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error, IsolationLevel, Opts, OptsBuilder, Params, SslOpts, Transaction, TxOpts, Value};

use super::cells::{Cell, rows};
use super::statement::Dialect;
use super::{Connection, NOTES, Part, Target, Unreachable, columns, tls};
use crate::model::{DAY, Model};

/// How many rows one statement inserts at most.
const ROWS: usize = 500;
/// How many values one statement has at most; the protocol counts them in 16 bits.
const VALUES: usize = 60_000;
/// From how many bytes of texts on a statement is sent. Servers take no statement of more than 4 MiB if nobody says so.
const BYTES: usize = 1 << 20;

/// A connection, and how it was made.
pub(super) struct MySql {
    opts: Opts,
    connection: Conn,
}

impl MySql {
    pub async fn open(opts: &Opts, connection: &Connection) -> anyhow::Result<Self> {
        let ssl = if connection.is_plain {
            None
        } else {
            // The client takes what encrypts from the process. That somebody has named it before is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let roots = tls::roots(connection.ca.as_deref())?.into_iter().map(|root| root.to_vec().into()).collect();
            Some(SslOpts::default().with_root_certs(roots).with_disable_built_in_roots(true))
        };
        // A text that does not fit is an error, and not cut off.
        let strict = "set session sql_mode = concat(@@sql_mode, ',STRICT_ALL_TABLES')";
        let opts = OptsBuilder::from_opts(opts.clone()).ssl_opts(ssl).prefer_socket(false).init(vec![strict]);
        let opts = Opts::from(opts);
        let connection = Conn::new(opts.clone()).await.map_err(explained)?;
        Ok(Self { opts, connection })
    }

    /// The names of a table's columns; none if there is no such table.
    async fn columns(&mut self, table: &str) -> anyhow::Result<Vec<String>> {
        let columns =
            "select column_name from information_schema.columns where table_schema = database() and table_name = ?";
        self.connection.exec(columns, (table,)).await.map_err(explained)
    }
}

#[async_trait]
impl Target for MySql {
    async fn published(&mut self, model: &Model) -> anyhow::Result<BTreeMap<Date, String>> {
        self.connection.query_drop(Dialect::MySql.create_notes()).await.map_err(explained)?;
        let found = self.columns(&model.name).await?;
        if found.is_empty() {
            // What was published to a table that somebody has dropped is gone. A table is created in no transaction, so
            // this comes first.
            let forget = format!("delete from {NOTES} where table_name = ?");
            self.connection.exec_drop(forget, (&model.name,)).await.map_err(explained)?;
            self.connection.query_drop(Dialect::MySql.create(model)).await.map_err(explained)?;
            return Ok(BTreeMap::new());
        }
        Dialect::MySql.check_columns(model, &found)?;
        let noted = format!("select cast(ymd as char), content from {NOTES} where table_name = ?");
        let noted: Vec<(String, String)> = self.connection.exec(noted, (&model.name,)).await.map_err(explained)?;
        noted.into_iter().map(|(day, content)| Ok((day.parse()?, content))).collect()
    }

    async fn replace(&mut self, model: &Model, part: &Part) -> anyhow::Result<u64> {
        if self.connection.ping().await.is_err() {
            let again = Conn::new(self.opts.clone()).await.map_err(explained);
            self.connection = again.context("the connection was lost")?;
        }
        // No rows of other days are locked at this level.
        let mut options = TxOpts::new();
        options.with_isolation_level(IsolationLevel::ReadCommitted);
        let mut begun = self.connection.start_transaction(options).await.map_err(explained)?;
        match fill(&mut begun, model, part).await {
            Ok(number) => {
                begun.commit().await.map_err(explained)?;
                Ok(number)
            }
            Err(error) => {
                // Without a connection, the server does so itself.
                let _ = begun.rollback().await;
                Err(error)
            }
        }
    }
}

/// Replaces the rows within a transaction.
async fn fill(begun: &mut Transaction<'_>, model: &Model, part: &Part) -> anyhow::Result<u64> {
    let day = part.date.to_string();
    // Whoever publishes the same day meanwhile waits here, because both write this row, and then replaces the rows that
    // were published first.
    let note = format!(
        "insert into {NOTES} (table_name, ymd, content) values (?, ?, ?) \
         on duplicate key update content = values(content), published_at = current_timestamp(3)"
    );
    begun.exec_drop(note, (&model.name, &day, &part.content)).await.map_err(explained)?;
    let table = Dialect::MySql.name(&model.name);
    begun.exec_drop(format!("delete from {table} where {DAY} = ?"), (&day,)).await.map_err(explained)?;
    let most = (VALUES / (1 + model.columns.len())).clamp(1, ROWS);
    let (mut number, mut size, mut values) = (0, 0, Vec::new());
    let mut batches = part.rows.clone().execute_stream().await?;
    let mut waiting = 0;
    while let Some(batch) = batches.try_next().await? {
        for row in rows(&batch)? {
            values.push(Value::from(day.as_str()));
            for (cell, name) in row.into_iter().zip(columns(model).skip(1)) {
                let value = value(cell).with_context(|| format!("the column `{name}`"))?;
                size += if let Value::Bytes(bytes) = &value { bytes.len() } else { 0 };
                values.push(value);
            }
            (number, waiting) = (number + 1, waiting + 1);
            if waiting == most || size >= BYTES {
                insert(begun, model, waiting, std::mem::take(&mut values)).await?;
                (waiting, size) = (0, 0);
            }
        }
    }
    if waiting > 0 {
        insert(begun, model, waiting, values).await?;
    }
    Ok(number)
}

async fn insert(begun: &mut Transaction<'_>, model: &Model, rows: usize, values: Vec<Value>) -> anyhow::Result<()> {
    let row = format!("({})", vec!["?"; 1 + model.columns.len()].join(", "));
    let (table, names) = (Dialect::MySql.name(&model.name), Dialect::MySql.names(columns(model)));
    let insert = format!("insert into {table} ({names}) values {}", vec![row.as_str(); rows].join(", "));
    begun.exec_drop(insert, Params::Positional(values)).await.map_err(explained)
}

fn value(cell: Cell) -> anyhow::Result<Value> {
    Ok(match cell {
        Cell::Null => Value::NULL,
        Cell::Boolean(value) => Value::Int(value.into()),
        Cell::Integer(value) => Value::Int(value),
        Cell::Float(value) => {
            ensure!(value.is_finite(), "MySQL has no {value}; make it null in the model");
            Value::Float(value)
        }
        Cell::Double(value) => {
            ensure!(value.is_finite(), "MySQL has no {value}; make it null in the model");
            Value::Double(value)
        }
        Cell::Text(value) => Value::Bytes(value.into_bytes()),
        Cell::Nested(value) => Value::Bytes(value.to_string().into_bytes()),
        Cell::Date(value) => time(value.into()),
        Cell::Time(value) => time(value.to_zoned(TimeZone::UTC).datetime()),
    })
}

fn time(time: DateTime) -> Value {
    let number = |number: i8| number.unsigned_abs();
    Value::Date(
        time.year().unsigned_abs(),
        number(time.month()),
        number(time.day()),
        number(time.hour()),
        number(time.minute()),
        number(time.second()),
        time.subsec_nanosecond().unsigned_abs() / 1000,
    )
}

/// What the server says, and what to do about it.
fn explained(error: Error) -> anyhow::Error {
    let Error::Server(said) = &error else {
        return anyhow::Error::from(error).context(Unreachable);
    };
    let advice = match said.code {
        1044 | 1142 => "grant CREATE, SELECT, INSERT, UPDATE and DELETE on the database",
        1045 => "correct the user and the password of the URL",
        1049 => "create the database, or correct its name in the URL",
        1062 => "the table has rows of others for this day, or an index that the model's keys break: remove them",
        1406 => "give the column a longer type",
        _ => "repair the cause, and run it again",
    };
    anyhow!("{} ({}); {advice}", said.message, said.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_that_of_utc_and_a_number_that_is_none_is_refused() {
        let at = value(Cell::Time("2023-01-01T08:00:00.5Z".parse().expect("a time"))).expect("a value");
        assert_eq!(at, Value::Date(2023, 1, 1, 8, 0, 0, 500_000));
        let error = value(Cell::Double(f64::NAN)).expect_err("no number").to_string();
        assert_eq!(error, "MySQL has no NaN; make it null in the model");
    }
}
