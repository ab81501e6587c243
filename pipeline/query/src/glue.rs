//! A lake in S3, whose tables and partitions are in a database of the Glue catalog.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use aws_config::SdkConfig;
use fms_aws::{Error, Retry};
use fms_glue::{Glue, StorageDescriptor, Table, missing};
use fms_lake::{Field, S3Url};
use object_store::path::Path;

use crate::s3::S3;
use crate::source::{Definition, EventTime, Lake, Partition, Source};

#[derive(Debug)]
struct Catalog {
    glue: Glue,
    database: String,
}

impl Lake {
    /// The lake whose tables are in a database of the Glue catalog. Every call is retried by `retry`.
    pub fn in_catalog(aws: &SdkConfig, database: &str, time: EventTime, retry: &Retry) -> Self {
        Self::in_catalog_of(aws, database, time, retry, None)
    }

    /// The same lake, whose files are in buckets of the account `owner`, if that is given. If another one owns a bucket,
    /// nothing is read there.
    pub fn in_catalog_of(
        aws: &SdkConfig,
        database: &str,
        time: EventTime,
        retry: &Retry,
        owner: Option<String>,
    ) -> Self {
        let source = Catalog { glue: Glue::new(aws, retry.clone()), database: database.to_owned() };
        let store = Arc::new(S3::new(aws, retry.clone(), owner));
        Self { source: Arc::new(source), store, database: database.to_owned(), time }
    }
}

#[async_trait]
impl Source for Catalog {
    fn scheme(&self) -> &'static str {
        "s3://"
    }

    async fn names(&self) -> anyhow::Result<Vec<String>> {
        let tables = self.glue.tables(&self.database).await;
        let tables = tables.map_err(|error| self.failed("list the tables", &error))?;
        Ok(tables.into_iter().map(|table| table.name).collect())
    }

    async fn table(&self, name: &str) -> anyhow::Result<Option<Definition>> {
        let found = self.glue.table(&self.database, name).await;
        let found = found.map_err(|error| self.failed(&format!("read the table `{name}`"), &error))?;
        found.map(definition).transpose().with_context(|| format!("the table `{name}` cannot be queried"))
    }

    async fn partitions(&self, table: &Definition, expression: Option<&str>) -> anyhow::Result<Vec<Partition>> {
        if table.keys.is_empty() {
            return Ok(vec![Partition { values: Vec::new(), folder: table.folder.clone() }]);
        }
        let found = self.glue.partitions(&self.database, &table.name, expression).await;
        let found = found.map_err(|error| self.failed(&format!("read the partitions of `{}`", table.name), &error))?;
        let partition = |partition: fms_glue::Partition| {
            let place = location(partition.storage_descriptor.as_ref());
            let folder = place.with_context(|| format!("partition {} of `{}`", partition.values.join("/"), table.name));
            Ok(Partition { folder: folder?, values: partition.values })
        };
        found.into_iter().map(partition).collect()
    }
}

impl Catalog {
    fn failed(&self, doing: &str, error: &Error) -> anyhow::Error {
        let database = &self.database;
        let advice = match error.code() {
            _ if missing(error) => "create the database, or correct its name",
            Some("AccessDeniedException") => "grant glue:GetTable, glue:GetTables and glue:GetPartitions",
            _ if error.status().is_none() => "check the AWS credentials, region and endpoint",
            _ => "repair the cause, and run the query again",
        };
        anyhow::anyhow!("cannot {doing} in the database `{database}` of Glue: {error}; {advice}")
    }
}

fn definition(table: Table) -> anyhow::Result<Definition> {
    if table.table_type.as_deref() == Some("VIRTUAL_VIEW") {
        bail!("it is a view, whose text is in the dialect of its engine; query the tables that it reads");
    }
    if table.parameters.get("projection.enabled").is_some_and(|enabled| enabled == "true") {
        bail!("its partitions are known by projection and not in the catalog, from where they are read here");
    }
    let storage = table.storage_descriptor.as_ref();
    let folder = location(storage)?;
    let storage = storage.context("the catalog says nothing of its files")?;
    if storage.input_format.as_ref().is_some_and(|format| !format.to_ascii_lowercase().contains("parquet")) {
        bail!("its files are not Parquet");
    }
    let field = |column: &fms_glue::Column| {
        let data_type = column.data_type.parse().with_context(|| format!("column `{}`", column.name))?;
        anyhow::Ok(Field::new(&column.name, data_type))
    };
    let columns = storage.columns.iter().map(field).collect::<Result<_, _>>()?;
    if let Some(key) = table.partition_keys.iter().find(|key| key.data_type != "string") {
        bail!("its partition key `{}` is of type {}; only `string` can be read", key.name, key.data_type);
    }
    let keys = table.partition_keys.into_iter().map(|key| key.name).collect();
    Ok(Definition { name: table.name, columns, keys, folder })
}

/// The place of files in the store, where paths begin with the bucket.
fn location(storage: Option<&StorageDescriptor>) -> anyhow::Result<Path> {
    let url =
        storage.and_then(|storage| storage.location.as_deref()).context("the catalog does not say where it is")?;
    let place: S3Url = url.parse().map_err(anyhow::Error::msg)?;
    Path::parse(format!("{}/{}", place.bucket, place.key)).with_context(|| format!("cannot use the location `{url}`"))
}
