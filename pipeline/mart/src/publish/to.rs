//! Where tables are published to, as people name it, and as errors may show it: without the password.

use std::fmt;

use anyhow::{Context as _, bail, ensure};

use super::dynamodb::DynamoDb;
use super::mysql::MySql;
use super::postgres::Postgres;
use super::{Connection, Target};

/// A server, or the tables of an account.
pub(super) enum To {
    Postgres(Box<tokio_postgres::Config>),
    MySql(mysql_async::Opts),
    /// The tables of `DynamoDB` whose names begin with this.
    DynamoDb(String),
}

impl To {
    /// Reads a URL.
    pub fn parse(connection: &Connection) -> anyhow::Result<Self> {
        let url = connection.url.as_str();
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
        let tls = "the URL says how connections are encrypted; they are, unless --no-tls is given: remove it";
        match scheme {
            "postgres" | "postgresql" => {
                ensure!(!url.contains("sslmode="), "{tls}");
                let config: tokio_postgres::Config = url.parse().context("the URL of PostgreSQL cannot be read")?;
                ensure!(config.get_dbname().is_some(), "the URL names no database: postgres://user@host/database");
                Ok(Self::Postgres(Box::new(config)))
            }
            "mysql" => {
                let opts = mysql_async::Opts::from_url(url).context("the URL of MySQL cannot be read")?;
                ensure!(opts.ssl_opts().is_none(), "{tls}");
                ensure!(opts.db_name().is_some(), "the URL names no database: mysql://user@host/database");
                Ok(Self::MySql(opts))
            }
            "dynamodb" => {
                let prefix = url.trim_start_matches("dynamodb:");
                let is_name = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
                ensure!(
                    prefix.chars().all(is_name),
                    "`{prefix}` cannot begin the names of tables; use letters, digits, `_`, `.` and `-`"
                );
                ensure!(
                    connection.ca.is_none() && !connection.is_plain,
                    "--ca and --no-tls have no meaning for DynamoDB, whose endpoint is that of the AWS configuration"
                );
                Ok(Self::DynamoDb(prefix.to_owned()))
            }
            // What is said must not have the password of a URL that is misspelt.
            _ => bail!("--target is none of postgres://…, mysql://… and dynamodb:PREFIX"),
        }
    }

    /// Connects to it.
    pub async fn open(&self, connection: &Connection) -> anyhow::Result<Box<dyn Target>> {
        Ok(match self {
            Self::Postgres(config) => Box::new(Postgres::open(config, connection).await?),
            Self::MySql(opts) => Box::new(MySql::open(opts, connection).await?),
            Self::DynamoDb(prefix) => Box::new(DynamoDb::open(prefix).await?),
        })
    }
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(config) => {
                let host = match config.get_hosts().first() {
                    Some(tokio_postgres::config::Host::Tcp(host)) => host.clone(),
                    #[cfg(unix)]
                    Some(tokio_postgres::config::Host::Unix(path)) => path.display().to_string(),
                    None => "localhost".to_owned(),
                };
                let port = config.get_ports().first().unwrap_or(&5432);
                write!(f, "PostgreSQL at {host}:{port}/{}", config.get_dbname().unwrap_or_default())
            }
            Self::MySql(opts) => {
                let (host, port) = (opts.ip_or_hostname(), opts.tcp_port());
                write!(f, "MySQL at {host}:{port}/{}", opts.db_name().unwrap_or_default())
            }
            Self::DynamoDb(prefix) => write!(f, "DynamoDB, `{prefix}…`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> anyhow::Result<To> {
        To::parse(&Connection { url: url.to_owned(), ca: None, is_plain: false })
    }

    #[test]
    fn what_is_shown_has_no_password() {
        for (url, shown) in [
            ("postgres://me:secret@db.example.com/fleet", "PostgreSQL at db.example.com:5432/fleet"),
            ("postgresql://me:secret@db:6543/fleet?connect_timeout=3", "PostgreSQL at db:6543/fleet"),
            ("mysql://me:secret@db.example.com/fleet", "MySQL at db.example.com:3306/fleet"),
            ("dynamodb:fleet-", "DynamoDB, `fleet-…`"),
        ] {
            assert_eq!(parse(url).map(|to| to.to_string()).ok().as_deref(), Some(shown), "{url}");
        }
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_without_the_password() {
        for (url, says) in [
            ("postgres://me:secret@db/fleet?sslmode=disable", "unless --no-tls is given"),
            ("mysql://me:secret@db/fleet?require_ssl=true", "unless --no-tls is given"),
            ("postgres://me:secret@db", "names no database"),
            ("mysql://me:secret@db", "names no database"),
            ("postgres://me:secret@db/fleet?colour=red", "cannot be read"),
            ("mysql://me:secret@db/fleet?colour=red", "cannot be read"),
            ("dynamodb:a b", "cannot begin the names of tables"),
            ("postgre://me:secret@db/fleet", "is none of"),
            ("fleet", "is none of"),
        ] {
            let error = parse(url).err().map(|error| format!("{error:#}")).unwrap_or_default();
            assert!(error.contains(says) && !error.contains("secret"), "{url}: {error}");
        }
    }
}
