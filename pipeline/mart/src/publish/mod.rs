//! Tables of the mart on a server that applications ask: of each partition, what is published is noted there with the
//! digest of its rows, and exactly those are sent whose rows are others by now.

mod cells;
mod dynamodb;
mod held;
mod item;
mod mysql;
mod postgres;
mod statement;
mod tls;
mod to;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::Context as _;
use async_trait::async_trait;
use datafusion::dataframe::DataFrame;
use fms_query::{Engine, Lake, Size};
use jiff::civil::Date;

use self::held::Held;
use self::to::To;
use crate::catalog::{Built, Catalog};
use crate::inputs::{Partitions, Version};
use crate::model::{DAY, Model, Models};
use crate::plan::Scope;
use crate::query::column;
use crate::sources::Source;

/// The table of a server in which it is noted what is published.
const NOTES: &str = "fms_mart_published";

/// A call failed for a reason that may pass: nothing else can be sent until it has.
#[derive(Debug, thiserror::Error)]
#[error("make sure that the server can be reached, and how its connections are encrypted")]
struct Unreachable;

/// A partition that is sent.
struct Part {
    date: Date,
    /// The digest of its rows.
    content: String,
    /// The columns of the model, in its order.
    rows: DataFrame,
}

/// A server with tables.
#[async_trait]
trait Target: Send {
    /// Sees to it that the table of a model is there, with its columns. Gives the digest of each day that it has.
    async fn published(&mut self, model: &Model) -> anyhow::Result<BTreeMap<Date, String>>;

    /// Replaces the rows of a day, and notes their digest. Gives how many rows there are.
    async fn replace(&mut self, model: &Model, part: &Part) -> anyhow::Result<u64>;
}

/// What is published where.
pub(crate) struct Publish<'p> {
    pub models: &'p Models,
    pub selected: BTreeSet<&'p str>,
    pub lake: &'p Lake,
    pub catalog: &'p dyn Catalog,
    pub scope: Scope,
    pub memory: Option<Size>,
    /// Whether days are sent on which a check of their table has failed.
    pub despite_failed: bool,
}

/// What became of the partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Published {
    pub sent: usize,
    pub kept: usize,
    /// Those on which a check has failed.
    pub held: usize,
    pub failed: usize,
}

/// How a server is reached.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    /// The URL, which may have a password.
    pub url: String,
    /// A file of the certificates that are trusted instead of the system's.
    pub ca: Option<PathBuf>,
    /// Whether nothing is encrypted.
    pub is_plain: bool,
}

impl Publish<'_> {
    /// Sends what the server does not have. What can be sent is, if something else cannot; the error is of a server that
    /// cannot be reached.
    pub async fn run(&self, connection: &Connection, say: &dyn Fn(String)) -> anyhow::Result<Published> {
        let to = To::parse(connection)?;
        let mut target = to.open(connection).await.with_context(|| format!("cannot connect to {to}"))?;
        let held = if self.despite_failed { Held::default() } else { Held::read(self.lake).await? };
        let mut sum = Published::default();
        for model in self.models.named(&self.selected) {
            let name = &model.name;
            let built = self.catalog.built(model).await?;
            let source = Source::of_model(model, &built);
            let published = match target.published(model).await {
                Ok(published) => published,
                Err(error) if error.is::<Unreachable>() => return Err(error.context(format!("`{name}`, {to}"))),
                Err(error) => {
                    say(format!("{name}: the table is not published to {to}: {error:#}"));
                    sum.failed += 1;
                    continue;
                }
            };
            for (date, built) in built.into_iter().filter(|(date, _)| self.scope.has(*date)) {
                if published.get(&date) == Some(&built.content) {
                    sum.kept += 1;
                    continue;
                }
                if let Some(check) = held.failed(name, date) {
                    say(format!(
                        "{name} {date}: it is held back, because its check `{check}` has failed; it is published when the \
                         check has passed, or with `--despite-failed`"
                    ));
                    sum.held += 1;
                    continue;
                }
                let sent = async {
                    let part = self.part(model, &source, date, built).await?;
                    target.replace(model, &part).await.with_context(|| format!("it is not published to {to}"))
                };
                match sent.await {
                    Ok(rows) => {
                        let why = if published.contains_key(&date) { "its rows have changed" } else { "it is new" };
                        say(format!("{name} {date}: {rows} rows; {why}"));
                        sum.sent += 1;
                    }
                    Err(error) if error.is::<Unreachable>() => {
                        return Err(error.context(format!("{name} {date}")));
                    }
                    Err(error) => {
                        say(format!("{name} {date}: {error:#}"));
                        sum.failed += 1;
                    }
                }
            }
        }
        Ok(sum)
    }

    /// The rows of a partition, of the files to which readers are sent now.
    async fn part(&self, model: &Model, source: &Source, date: Date, built: Built) -> anyhow::Result<Part> {
        let engine = Engine::new(self.lake, self.memory)?;
        let partitions: Partitions = [(date.to_string(), Version::of_content(&built.content))].into();
        let (definition, files) =
            source.read(self.lake, &partitions).await?.context("the mart has no such table; run `fms mart apply`")?;
        let table = engine.context().read_table(engine.table(definition, files))?;
        let columns: Vec<_> = model.columns.iter().map(|field| column(&field.field.name)).collect();
        let keys = model.keys.iter().map(|key| column(key).sort(true, false)).collect();
        Ok(Part { date, content: built.content, rows: table.select(columns)?.sort(keys)? })
    }
}

/// The names of a table's columns on a server: the day, and those of the model.
fn columns(model: &Model) -> impl Iterator<Item = &str> {
    [DAY].into_iter().chain(model.columns.iter().map(|column| column.field.name.as_str()))
}
