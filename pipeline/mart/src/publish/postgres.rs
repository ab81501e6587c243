//! `PostgreSQL`: a partition is replaced in one transaction, by `delete` and `copy`, so that no reader ever sees a part of
//! it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use async_trait::async_trait;
use futures_util::{SinkExt as _, TryStreamExt as _};
use jiff::civil::Date;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Error, IsolationLevel, NoTls, Transaction};

use super::cells::{Cell, rows};
use super::statement::Dialect;
use super::tls::Tls;
use super::{Connection, NOTES, Part, Target, Unreachable, columns};
use crate::model::{DAY, Model};

/// How long connecting may take, unless the URL has `connect_timeout`.
const CONNECT: Duration = Duration::from_secs(10);
/// The column names of a table that the search path leads to; none if there is no such table.
const COLUMNS: &str = "select attname::text from pg_attribute \
    where attrelid = to_regclass($1) and attnum > 0 and not attisdropped";

/// A connection, and how it was made.
pub(super) struct Postgres {
    config: Config,
    /// `None` if nothing is encrypted.
    tls: Option<Tls>,
    client: Client,
}

impl Postgres {
    pub async fn open(config: &Config, connection: &Connection) -> anyhow::Result<Self> {
        let mut config = config.clone();
        config.application_name("fms mart publish");
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        config.ssl_mode(if connection.is_plain { SslMode::Disable } else { SslMode::Require });
        let tls = if connection.is_plain { None } else { Some(Tls::new(connection.ca.as_deref())?) };
        let client = connect(&config, tls.clone()).await?;
        Ok(Self { config, tls, client })
    }

    /// The names of a table's columns.
    async fn columns(&self, table: &str) -> anyhow::Result<Vec<String>> {
        let name = Dialect::Postgres.name(table);
        let found = self.client.query(COLUMNS, &[&name]).await.map_err(explained)?;
        found.iter().map(|row| row.try_get(0).map_err(explained)).collect()
    }
}

async fn connect(config: &Config, tls: Option<Tls>) -> anyhow::Result<Client> {
    // Whoever waits for an answer is told why a connection has ended.
    if let Some(tls) = tls {
        let (client, connection) = config.connect(tls).await.map_err(explained)?;
        tokio::spawn(connection);
        return Ok(client);
    }
    let (client, connection) = config.connect(NoTls).await.map_err(explained)?;
    tokio::spawn(connection);
    Ok(client)
}

#[async_trait]
impl Target for Postgres {
    async fn published(&mut self, model: &Model) -> anyhow::Result<BTreeMap<Date, String>> {
        if self.columns(NOTES).await?.is_empty() {
            self.client.batch_execute(&Dialect::Postgres.create_notes()).await.map_err(explained)?;
        }
        let found = self.columns(&model.name).await?;
        if found.is_empty() {
            let begun = self.client.transaction().await.map_err(explained)?;
            // What was published to a table that somebody has dropped is gone.
            let forget = format!("delete from {NOTES} where table_name = $1");
            begun.execute(&forget, &[&model.name]).await.map_err(explained)?;
            begun.batch_execute(&Dialect::Postgres.create(model)).await.map_err(explained)?;
            begun.commit().await.map_err(explained)?;
            return Ok(BTreeMap::new());
        }
        Dialect::Postgres.check_columns(model, &found)?;
        let noted = format!("select ymd::text, content from {NOTES} where table_name = $1");
        let noted = self.client.query(&noted, &[&model.name]).await.map_err(explained)?;
        noted.iter().map(|row| Ok((row.try_get::<_, &str>(0)?.parse()?, row.try_get(1)?))).collect()
    }

    async fn replace(&mut self, model: &Model, part: &Part) -> anyhow::Result<u64> {
        if self.client.is_closed() {
            self.client = connect(&self.config, self.tls.clone()).await.context("the connection was lost")?;
        }
        let begun = self.client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start().await;
        let begun = begun.map_err(explained)?;
        let day = part.date.to_string();
        // Whoever publishes the same day meanwhile waits here, because both write this row, and then replaces the rows
        // that were published first.
        let note = format!(
            "insert into {NOTES} (table_name, ymd, content) values ($1, $2::text::date, $3) on conflict (table_name, ymd) \
             do update set content = excluded.content, published_at = now()"
        );
        begun.execute(&note, &[&model.name, &day, &part.content]).await.map_err(explained)?;
        let table = Dialect::Postgres.name(&model.name);
        let delete = format!("delete from {table} where {DAY} = $1::text::date");
        begun.execute(&delete, &[&day]).await.map_err(explained)?;
        let number = copy(&begun, model, part).await?;
        begun.commit().await.map_err(explained)?;
        Ok(number)
    }
}

/// Sends the rows.
async fn copy(begun: &Transaction<'_>, model: &Model, part: &Part) -> anyhow::Result<u64> {
    let (table, names) = (Dialect::Postgres.name(&model.name), Dialect::Postgres.names(columns(model)));
    let sink = begun.copy_in(&format!("copy {table} ({names}) from stdin")).await.map_err(explained)?;
    let mut sink = pin!(sink);
    let mut batches = part.rows.clone().execute_stream().await?;
    while let Some(batch) = batches.try_next().await? {
        let mut text = String::new();
        for row in rows(&batch)? {
            line(part.date, &row, &mut text);
        }
        sink.send(bytes::Bytes::from(text)).await.map_err(explained)?;
    }
    sink.finish().await.map_err(explained)
}

/// Writes a row as `copy` reads it: values between tabs, and `\N` for none.
fn line(day: Date, row: &[Cell], out: &mut String) {
    let _ = write!(out, "{day}");
    for cell in row {
        out.push('\t');
        let _ = match cell {
            Cell::Null => write!(out, "\\N"),
            Cell::Boolean(value) => write!(out, "{value}"),
            Cell::Integer(value) => write!(out, "{value}"),
            Cell::Float(value) => write!(out, "{value}"),
            Cell::Double(value) => write!(out, "{value}"),
            Cell::Date(value) => write!(out, "{value}"),
            Cell::Time(value) => write!(out, "{value}"),
            Cell::Text(value) => {
                escaped(value, out);
                Ok(())
            }
            Cell::Nested(value) => {
                escaped(&value.to_string(), out);
                Ok(())
            }
        };
    }
    out.push('\n');
}

fn escaped(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c => out.push(c),
        }
    }
}

/// What the server says, and what to do about it.
fn explained(error: Error) -> anyhow::Error {
    let Some(said) = error.as_db_error() else {
        return anyhow::Error::from(error).context(Unreachable);
    };
    let advice = match said.code() {
        code if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            "grant CREATE on the schema, and SELECT, INSERT, UPDATE and DELETE on the tables"
        }
        code if *code == SqlState::INVALID_PASSWORD || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            "correct the user and the password of the URL"
        }
        code if *code == SqlState::INVALID_CATALOG_NAME => "create the database, or correct its name in the URL",
        code if *code == SqlState::UNIQUE_VIOLATION => {
            "the table has rows of others for this day, or an index that the model's keys break: remove them"
        }
        _ => "repair the cause, and run it again",
    };
    let more = [said.detail(), said.where_()].into_iter().flatten().map(|text| format!(" ({text})"));
    anyhow!("{}{}; {advice}", said.message(), more.collect::<String>())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What `copy` makes of a text between tabs.
    fn read(text: &str) -> String {
        let mut out = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            out.push(match c {
                '\\' => match chars.next().expect("no backslash is the last character") {
                    't' => '\t',
                    'n' => '\n',
                    'r' => '\r',
                    other => other,
                },
                c => c,
            });
        }
        out
    }

    proptest! {
        #[test]
        fn a_text_is_one_value_and_the_same(text in "[a-z\\\\\t\n\r N.é]{0,12}") {
            let mut out = String::new();
            escaped(&text, &mut out);
            prop_assert!(!out.contains(['\t', '\n', '\r']));
            prop_assert_ne!(out.as_str(), "\\N");
            prop_assert_ne!(out.as_str(), "\\.");
            prop_assert_eq!(read(&out), text);
        }
    }

    #[test]
    fn a_row_is_a_line() {
        let cells = [
            Cell::Integer(7),
            Cell::Null,
            Cell::Boolean(true),
            Cell::Double(0.1),
            Cell::Double(f64::NAN),
            Cell::Float(0.1),
            Cell::Text("a\tb".to_owned()),
            Cell::Time("2023-01-01T08:00:00.5Z".parse().expect("a time")),
            Cell::Nested(serde_json::json!(["a\\"])),
        ];
        let mut out = String::new();
        line("2023-01-01".parse().expect("a day"), &cells, &mut out);
        assert_eq!(out, "2023-01-01\t7\t\\N\ttrue\t0.1\tNaN\t0.1\ta\\tb\t2023-01-01T08:00:00.5Z\t[\"a\\\\\\\\\"]\n");
    }
}
