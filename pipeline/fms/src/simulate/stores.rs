//! The stores of a pipeline that `fms simulate verify` reads: DynamoDB, raw objects, and the lake with its catalog.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context;
use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use fms_aws::{Error, Retry};
use fms_lake::{Bucket, Cell, QuarantineFile, RawObjects, S3Url, Selection};
use fms_simulator::{FIELDS, Field, RowKey, What};
use futures_util::TryStreamExt as _;
use tokio::runtime::Handle;

const COMMAND: &str = "fms simulate verify";
/// How long a call is repeated.
const PATIENCE: Duration = Duration::from_mins(2);
/// The longest wait between two attempts of a call.
const DELAY_MAX: Duration = Duration::from_secs(10);

/// A store, which can be read any number of times.
pub(super) enum Store {
    /// A table of DynamoDB, by its name.
    Table(Client, String),
    /// Raw objects.
    Raw(RawObjects, S3Url),
    /// The Parquet files to which the catalog sends readers, and what is in quarantine.
    Lake(Box<Bucket>, S3Url),
}

/// How calls of a command are repeated.
pub(super) fn retry(command: &'static str) -> Retry {
    Retry::new(command, Some(PATIENCE), DELAY_MAX, |_| {})
}

impl Store {
    pub(super) fn table(aws: &SdkConfig, name: &str) -> Self {
        Self::Table(Client::new(aws), name.to_owned())
    }

    pub(super) fn raw(aws: &SdkConfig, url: &S3Url) -> Self {
        Self::Raw(RawObjects::new(aws, retry(COMMAND)), url.clone())
    }

    pub(super) fn lake(aws: &SdkConfig, url: &S3Url, database: &str) -> Self {
        Self::Lake(Box::new(Bucket::new(aws, url, database, retry(COMMAND))), url.clone())
    }

    /// What is read, for people.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Table(_, name) => format!("DynamoDB table {name}"),
            Self::Raw(_, url) => format!("raw objects of {url}"),
            Self::Lake(_, url) => format!("lake at {url}"),
        }
    }

    /// What the store has to have.
    pub(super) const fn what(&self) -> What {
        match self {
            Self::Table(..) => What::Items,
            Self::Raw(..) | Self::Lake(..) => What::Rows,
        }
    }

    /// Gives the key of every row.
    pub(super) fn each_row(&self, handle: &Handle, each: &mut dyn FnMut(RowKey)) -> anyhow::Result<()> {
        match self {
            Self::Table(client, name) => handle.block_on(each_item(client, name, each)),
            Self::Raw(objects, url) => Ok(objects.each_line(url, handle, &mut |line| each(RowKey::of_json(line)))?),
            Self::Lake(bucket, _) => {
                bucket.each_row(&FIELDS, handle, &mut |cells| each(key_of(cells)))?;
                let read = |_: &QuarantineFile, file: &mut dyn std::io::Read| -> std::io::Result<Vec<RowKey>> {
                    let rows = Selection::default();
                    rows.rows(file).map(|row| row.map(|row| RowKey::of_json(row.row.as_bytes()))).collect()
                };
                handle.block_on(async {
                    let mut files = std::pin::pin!(bucket.quarantine(Selection::default(), read));
                    while let Some(keys) = files.try_next().await? {
                        keys.into_iter().for_each(&mut *each);
                    }
                    Ok(())
                })
            }
        }
    }
}

/// The key of a row of which the lake has these values.
fn key_of(cells: &[Cell<'_>]) -> RowKey {
    RowKey::of(std::array::from_fn(|at| match cells[at] {
        Cell::Integer(number) => Some(Field::Text(number.to_string().into())),
        Cell::Text(text) => Some(Field::Text(Cow::Borrowed(text))),
        Cell::Millis(millis) => Some(Field::Millis(millis)),
        Cell::Missing | Cell::Other => None,
    }))
}

/// Scans a table from its first item to its last.
async fn each_item(client: &Client, table: &str, each: &mut dyn FnMut(RowKey)) -> anyhow::Result<()> {
    // Names that DynamoDB has reserved, such as `type`, stand for themselves only by another name.
    let names: HashMap<String, String> =
        FIELDS.iter().enumerate().map(|(at, name)| (format!("#f{at}"), (*name).to_owned())).collect();
    let projection = (0..FIELDS.len()).map(|at| format!("#f{at}")).collect::<Vec<_>>().join(", ");
    let mut start: Option<HashMap<String, AttributeValue>> = None;
    loop {
        let call = || async {
            let scan = client.scan().table_name(table).projection_expression(&projection).consistent_read(true);
            let scan = scan.set_expression_attribute_names(Some(names.clone()));
            scan.set_exclusive_start_key(start.clone()).send().await.map_err(Error::from)
        };
        let verdict = if start.is_none() { Error::verdict_at_start } else { Error::verdict };
        let page = retry(COMMAND).run(format!("Scan {table}"), verdict, call).await;
        let page = page.with_context(|| format!("cannot read the table {table}"))?;
        for item in page.items() {
            each(RowKey::of(FIELDS.map(|name| match item.get(name)? {
                AttributeValue::S(text) | AttributeValue::N(text) => Some(Field::Text(text.into())),
                _ => None,
            })));
        }
        start = page.last_evaluated_key;
        if start.is_none() {
            return Ok(());
        }
    }
}
