//! `DynamoDB`: the rows of a partition are put one by one, and those that are no longer there are deleted. A row is whole
//! at every moment; a partition is not until its note says so.
//!
//! The keys of what is put are listed in a manifest before the first row is, and a manifest stays until everything that
//! it lists has been put or deleted. So whoever comes after a process that died knows every row that may be there.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, anyhow, bail};
use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, DeleteRequest, KeySchemaElement, KeyType, PutRequest,
    ScalarAttributeType, TableStatus, WriteRequest,
};
use fms_aws::{Error, Retry, Verdict};
use fms_query::program::retry;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use jiff::civil::Date;
use tokio::runtime::Handle;

use super::cells::rows;
use super::item::{Item, Key, SORT, item, key, partition_type};
use super::{NOTES, Part, Target, Unreachable};
use crate::model::Model;
use crate::query::column;

/// The keys of the table of notes: which table, and which of its partitions or manifests.
const TABLE: &str = "table_name";
const NOTE: &str = "part";
const CONTENT: &str = "content";
const KEYS: &str = "keys";

/// How many rows a call writes at most.
const ROWS: usize = 25;
/// How many calls are under way at once.
const CALLS: usize = 8;
/// How many bytes of keys an item of a manifest has; an item may have 400 kB.
const MANIFEST: usize = 300_000;

/// The tables whose names begin with a prefix.
pub(super) struct DynamoDb {
    client: Client,
    prefix: String,
    retry: Retry,
}

/// Why an attempt did not do everything.
#[derive(Debug, thiserror::Error)]
enum Attempt {
    #[error("{0}")]
    Call(#[from] Error),
    #[error("{0} items were left unprocessed")]
    Unprocessed(usize),
    #[error("the table is being created")]
    Creating,
}

impl Attempt {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Call(error) => error.verdict_at_start(),
            Self::Unprocessed(_) => Verdict::Throttled("unprocessed-items"),
            Self::Creating => Verdict::Transient("creating"),
        }
    }
}

impl DynamoDb {
    pub async fn open(prefix: &str) -> anyhow::Result<Self> {
        let handle = Handle::current();
        // The configuration is loaded on a thread of its own, for that blocks.
        let aws = tokio::task::spawn_blocking(move || fms_aws::load(&handle)).await?;
        Ok(Self { client: Client::new(&aws), prefix: prefix.to_owned(), retry: retry("fms mart publish") })
    }

    fn table(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Sees to it that a table is there, with these keys.
    async fn prepare(&self, name: &str, keys: [(&str, ScalarAttributeType); 2]) -> anyhow::Result<()> {
        let table = self.table(name);
        let described = || async {
            let output = self.client.describe_table().table_name(&table).send().await.map_err(Error::from)?;
            match output.table.as_ref().and_then(|table| table.table_status.as_ref()) {
                Some(TableStatus::Creating) => Err(Attempt::Creating),
                _ => Ok(output.table),
            }
        };
        let describe = || self.retry.run(format!("DescribeTable of `{table}`"), Attempt::verdict, described);
        let found = match describe().await {
            Err(Attempt::Call(error)) if error.code() == Some("ResourceNotFoundException") => {
                self.create(&table, &keys).await?;
                describe().await
            }
            found => found,
        };
        let found = found.map_err(|error| explained("look at", &table, &error))?.context("it has no description")?;
        let has = |(name, kind): &(&str, ScalarAttributeType)| {
            found.key_schema().iter().any(|key| key.attribute_name() == *name)
                && found
                    .attribute_definitions()
                    .iter()
                    .any(|one| one.attribute_name() == *name && one.attribute_type() == kind)
        };
        if let Some((name, kind)) = keys.iter().find(|key| !has(key)) {
            bail!("the table `{table}` has no key `{name}` of type {}; delete it, and it is created", kind.as_str());
        }
        Ok(())
    }

    async fn create(&self, table: &str, keys: &[(&str, ScalarAttributeType); 2]) -> anyhow::Result<()> {
        let mut create = self.client.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
        for ((name, kind), role) in keys.iter().zip([KeyType::Hash, KeyType::Range]) {
            create = create
                .attribute_definitions(
                    AttributeDefinition::builder().attribute_name(*name).attribute_type(kind.clone()).build()?,
                )
                .key_schema(KeySchemaElement::builder().attribute_name(*name).key_type(role).build()?);
        }
        match create.send().await.map_err(Error::from) {
            // Somebody else has created it since.
            Err(error) if error.code() == Some("ResourceInUseException") => Ok(()),
            Err(error) => Err(explained("create", table, &Attempt::Call(error))),
            Ok(_) => Ok(()),
        }
    }

    /// The notes of a table whose sort keys begin so.
    async fn notes(&self, model: &Model, begin: &str) -> anyhow::Result<Vec<Item>> {
        let table = self.table(NOTES);
        let (mut found, mut next) = (Vec::new(), None);
        loop {
            let query = || async {
                let mut query = self.client.query().table_name(&table).consistent_read(true);
                query = query.set_exclusive_start_key(next.clone());
                query = query.expression_attribute_values(":table", AttributeValue::S(model.name.clone()));
                query = if begin.is_empty() {
                    // The keys of manifests are many.
                    let query = query.expression_attribute_names("#part", NOTE);
                    let query = query.expression_attribute_names("#content", CONTENT);
                    let query = query.projection_expression("#part, #content");
                    query.key_condition_expression(format!("{TABLE} = :table"))
                } else {
                    let begin = AttributeValue::S(begin.to_owned());
                    let query = query.expression_attribute_values(":begin", begin);
                    query.key_condition_expression(format!("{TABLE} = :table and begins_with({NOTE}, :begin)"))
                };
                Ok(query.send().await.map_err(Error::from)?)
            };
            let output = self.retry.run(format!("Query of `{table}`"), Attempt::verdict, query).await;
            let output = output.map_err(|error| explained("read", &table, &error))?;
            found.extend(output.items.unwrap_or_default());
            next = output.last_evaluated_key.filter(|key| !key.is_empty());
            if next.is_none() {
                return Ok(found);
            }
        }
    }

    /// Writes items, several calls at a time.
    async fn write(&self, table: &str, requests: Vec<WriteRequest>) -> anyhow::Result<()> {
        let calls = requests.chunks(ROWS).map(|chunk| {
            let left = Mutex::new(chunk.to_vec());
            async move {
                let lock = || left.lock().unwrap_or_else(PoisonError::into_inner);
                let batch = || async {
                    let requests = lock().clone();
                    let output = self.client.batch_write_item().request_items(table, requests).send().await;
                    let left = output.map_err(Error::from)?.unprocessed_items.unwrap_or_default();
                    let left: Vec<WriteRequest> = left.into_values().flatten().collect();
                    if left.is_empty() {
                        return Ok(());
                    }
                    let number = left.len();
                    *lock() = left;
                    Err(Attempt::Unprocessed(number))
                };
                self.retry.run(format!("BatchWriteItem to `{table}`"), Attempt::verdict, batch).await
            }
        });
        let calls: Vec<_> = calls.collect();
        let done: Result<(), Attempt> = stream::iter(calls).buffer_unordered(CALLS).try_collect().await;
        done.map_err(|error| explained("write to", table, &error))
    }

    /// Notes that a partition is published, if nobody else has published it since `before` was read. Otherwise, rows of
    /// both may be there, so that it is noted as not published.
    async fn note(&self, model: &Model, part: &Part, before: Option<&str>) -> anyhow::Result<()> {
        let table = self.table(NOTES);
        let [name, day] = [model.name.clone(), part.date.to_string()].map(AttributeValue::S);
        let put = || async {
            let mut put = self.client.put_item().table_name(&table);
            put = put.item(TABLE, name.clone()).item(NOTE, day.clone());
            put = put.item(CONTENT, AttributeValue::S(part.content.clone()));
            put = put.item("published_at", AttributeValue::S(Timestamp::now().to_string()));
            put = put.expression_attribute_names("#content", CONTENT);
            put = put.expression_attribute_values(":new", AttributeValue::S(part.content.clone()));
            // An attempt whose answer was lost has noted it already.
            put = match before {
                Some(before) => put
                    .expression_attribute_values(":before", AttributeValue::S(before.to_owned()))
                    .condition_expression("#content in (:before, :new)"),
                None => put.condition_expression("attribute_not_exists(#content) or #content = :new"),
            };
            put.send().await.map_err(Error::from)?;
            Ok(())
        };
        match self.retry.run(format!("PutItem to `{table}`"), Attempt::verdict, put).await {
            Err(Attempt::Call(error)) if error.code() == Some("ConditionalCheckFailedException") => {
                let delete = DeleteRequest::builder().key(TABLE, name).key(NOTE, day).build()?;
                self.write(&table, vec![WriteRequest::builder().delete_request(delete).build()]).await?;
                bail!("others have published it at the same time, and rows of both may be there; run it again")
            }
            done => done.map_err(|error| explained("write to", &table, &error)),
        }
    }

    /// The requests that write a manifest of these keys.
    fn manifest(model: &Model, part: &Part, keys: &[Key]) -> anyhow::Result<Vec<WriteRequest>> {
        let mut requests = Vec::new();
        let mut begin = 0;
        while begin < keys.len() {
            let mut text = String::new();
            let mut at = begin;
            while at < keys.len() && text.len() < MANIFEST {
                text.push_str(&serde_json::to_string(&keys[at])?);
                text.push('\n');
                at += 1;
            }
            let name = format!("{}#{:06}", own(part), requests.len());
            let put = PutRequest::builder()
                .item(TABLE, AttributeValue::S(model.name.clone()))
                .item(NOTE, AttributeValue::S(name))
                .item(KEYS, AttributeValue::S(text));
            requests.push(WriteRequest::builder().put_request(put.build()?).build());
            begin = at;
        }
        Ok(requests)
    }
}

/// What begins the sort keys of the manifest of a partition's rows.
fn own(part: &Part) -> String {
    format!("{}#{}", part.date, part.content)
}

/// The text of an attribute.
fn text<'i>(item: &'i Item, name: &str) -> Option<&'i str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

#[async_trait]
impl Target for DynamoDb {
    async fn published(&mut self, model: &Model) -> anyhow::Result<BTreeMap<Date, String>> {
        let text = ScalarAttributeType::S;
        self.prepare(NOTES, [(TABLE, text.clone()), (NOTE, text.clone())]).await?;
        self.prepare(&model.name, [(&model.keys[0], partition_type(model)), (SORT, text)]).await?;
        let notes = self.notes(model, "").await?;
        let note = |item: &Item| Some((self::text(item, NOTE)?.parse().ok()?, self::text(item, CONTENT)?.to_owned()));
        Ok(notes.iter().filter_map(note).collect())
    }

    async fn replace(&mut self, model: &Model, part: &Part) -> anyhow::Result<u64> {
        let (table, notes) = (self.table(&model.name), self.table(NOTES));
        let before = self.notes(model, &part.date.to_string()).await?;
        let content = before.iter().find_map(|item| text(item, CONTENT)).map(str::to_owned);

        let mut keys = Vec::new();
        let columns: Vec<_> = model.keys.iter().map(|key| column(key)).collect();
        let mut batches = part.rows.clone().select(columns)?.execute_stream().await?;
        while let Some(batch) = batches.try_next().await? {
            keys.extend(rows(&batch)?.map(|values| key(part.date, &values)));
        }
        self.write(&notes, Self::manifest(model, part, &keys)?).await?;

        let mut batches = part.rows.clone().execute_stream().await?;
        while let Some(batch) = batches.try_next().await? {
            let put = |row: Vec<_>| {
                let put = PutRequest::builder().set_item(Some(item(model, part.date, &row)?)).build()?;
                Ok(WriteRequest::builder().put_request(put).build())
            };
            self.write(&table, rows(&batch)?.map(put).collect::<anyhow::Result<_>>()?).await?;
        }

        let now: HashSet<&Key> = keys.iter().collect();
        let mut gone = HashSet::new();
        for line in before.iter().filter_map(|item| text(item, KEYS)).flat_map(str::lines) {
            let key: Key = serde_json::from_str(line)
                .with_context(|| format!("a manifest in the table `{notes}` cannot be read; delete its item"))?;
            if !now.contains(&key) {
                gone.insert(key);
            }
        }
        let delete = |key: &Key| {
            let delete = DeleteRequest::builder().set_key(Some(key.item(model))).build()?;
            Ok(WriteRequest::builder().delete_request(delete).build())
        };
        self.write(&table, gone.iter().map(delete).collect::<anyhow::Result<_>>()?).await?;
        self.note(model, part, content.as_deref()).await?;

        // The manifest of the same rows is always the same.
        let own = own(part);
        let is_old = |name: &&str| name.contains('#') && !name.starts_with(&own);
        let old = before.iter().filter_map(|item| text(item, NOTE)).filter(is_old).map(|name| {
            let [table, name] = [model.name.as_str(), name].map(|text| AttributeValue::S(text.to_owned()));
            let delete = DeleteRequest::builder().key(TABLE, table).key(NOTE, name).build()?;
            Ok(WriteRequest::builder().delete_request(delete).build())
        });
        self.write(&notes, old.collect::<anyhow::Result<_>>()?).await?;
        Ok(keys.len() as u64)
    }
}

/// What failed, and what to do about it.
fn explained(doing: &str, table: &str, error: &Attempt) -> anyhow::Error {
    if matches!(error, Attempt::Call(error) if error.status().is_none()) {
        return anyhow!("cannot {doing} the table `{table}`: {error}").context(Unreachable);
    }
    let advice = match error {
        Attempt::Call(error) => match error.code() {
            Some("AccessDeniedException") => {
                "grant dynamodb:DescribeTable, CreateTable, Query, PutItem and BatchWriteItem on the table"
            }
            Some("ValidationException") => "the rows break a rule of DynamoDB, such as that no key is an empty text",
            Some("ResourceNotFoundException") => "somebody has deleted it; run it again",
            _ => "repair the cause, and run it again",
        },
        Attempt::Unprocessed(_) | Attempt::Creating => "run it again",
    };
    anyhow!("cannot {doing} the table `{table}`: {error}; {advice}")
}
