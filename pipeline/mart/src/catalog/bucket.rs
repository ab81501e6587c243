//! A mart in S3, whose tables are in the database of a lake in Glue: a partition's location says where its file is, and
//! its parameters say what it was built of, so that one call of Glue changes both.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use async_trait::async_trait;
use aws_config::SdkConfig;
use fms_aws::{Error, Retry};
use fms_glue::{
    Column, Failed, Glue, PartitionInput, SerDeInfo, StorageDescriptor, Table, TableInput, already_exists,
    modified_meanwhile,
};
use fms_lake::{Files, S3Url, Spool, Storage};
use jiff::Timestamp;
use jiff::civil::Date;
use object_store::path::Path;
use serde_json::Value;

use super::{Built, Catalog, FILE, dead, generation, note};
use crate::build::Output;
use crate::model::{DAY, Model};

/// How often a table is read again because others changed it.
const MAX_ROUNDS: usize = 16;

/// A mart in S3 and Glue.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    glue: Glue,
    files: Files,
    database: String,
}

impl Bucket {
    /// The mart whose files are below `place`, and whose tables are in `database`.
    pub fn new(aws: &SdkConfig, place: &S3Url, database: &str, retry: &Retry, storage: Storage) -> Self {
        let files = Files::new(aws, place, retry.clone(), storage);
        Self { glue: Glue::new(aws, retry.clone()), files, database: database.to_owned() }
    }

    async fn table(&self, model: &Model) -> anyhow::Result<Option<Table>> {
        let found = self.glue.table(&self.database, &model.name).await;
        let found = found.map_err(|error| self.failed("read the table", model, &error))?;
        let is_ours = |table: &Table| table.parameters.contains_key(note::TABLE);
        if found.as_ref().is_some_and(|table| !is_ours(table)) {
            bail!(
                "there is a table `{}.{}` that is none of the mart; rename the model, or delete the table",
                self.database,
                model.name
            );
        }
        Ok(found)
    }

    /// The table as it should be, made of the one that there is.
    fn wanted(&self, model: &Model, table: Option<Table>) -> TableInput {
        let mut input = table.map(Table::into_input).unwrap_or_default();
        let storage = input.storage_descriptor.get_or_insert_default();
        storage.columns = columns(model);
        storage.location = Some(self.files.url(&format!("{}/", model.name)));
        let class = |name: &str| Some(format!("org.apache.hadoop.hive.ql.io.parquet.{name}"));
        storage.input_format = class("MapredParquetInputFormat");
        storage.output_format = class("MapredParquetOutputFormat");
        let parameters = [("serialization.format".to_owned(), "1".to_owned())].into();
        let serde =
            SerDeInfo { serialization_library: class("serde.ParquetHiveSerDe"), parameters, ..SerDeInfo::default() };
        storage.serde_info.get_or_insert(serde);
        input.name.clone_from(&model.name);
        input.partition_keys = vec![Column::new(DAY, "string")];
        input.table_type = Some("EXTERNAL_TABLE".to_owned());
        let parameters = [("EXTERNAL", "TRUE"), ("classification", "parquet"), (note::TABLE, "true")];
        input.parameters.extend(parameters.map(|(name, value)| (name.to_owned(), value.to_owned())));
        input.others.insert("Description".to_owned(), Value::from(short(&model.description)));
        input.others.insert("Owner".to_owned(), Value::from(model.owner.clone()));
        input
    }

    fn failed(&self, doing: &str, model: &Model, error: &Error) -> anyhow::Error {
        let advice = match error.code() {
            Some("EntityNotFoundException") => "create the database, or correct its name",
            Some("AccessDeniedException") => {
                "grant glue:GetTable, glue:CreateTable, glue:UpdateTable, glue:GetPartitions, glue:BatchGetPartition, \
                 glue:BatchCreatePartition and glue:BatchUpdatePartition"
            }
            _ if error.status().is_none() => "check the AWS credentials, region and endpoint",
            _ => "repair the cause, and run it again",
        };
        anyhow!("cannot {doing} `{}.{}` in Glue: {error}; {advice}", self.database, model.name)
    }

    /// A folder as the store of the lake names it: the bucket, and the key.
    fn folder(&self, path: &str) -> anyhow::Result<Path> {
        let url: S3Url = self.files.url(path).parse().map_err(anyhow::Error::msg)?;
        Ok(Path::parse(format!("{}/{}", url.bucket, url.key.trim_end_matches('/')))?)
    }
}

#[async_trait]
impl Catalog for Bucket {
    async fn built(&self, model: &Model) -> anyhow::Result<BTreeMap<Date, Built>> {
        if self.table(model).await?.is_none() {
            return Ok(BTreeMap::new());
        }
        let found = self.glue.partitions(&self.database, &model.name, None).await;
        let found = found.map_err(|error| self.failed("read the partitions of", model, &error))?;
        let built = found.into_iter().filter_map(|partition| {
            let url: S3Url = partition.storage_descriptor?.location?.parse().ok()?;
            let folder = Path::parse(format!("{}/{}", url.bucket, url.key.trim_end_matches('/'))).ok()?;
            Some((partition.values.first()?.parse().ok()?, note::read(folder, &partition.parameters)?))
        });
        Ok(built.collect())
    }

    async fn prepare(&self, model: &Model) -> anyhow::Result<()> {
        for _ in 0..MAX_ROUNDS {
            let found = self.table(model).await?;
            let version = found.as_ref().and_then(|table| table.version_id.clone());
            let wanted = self.wanted(model, found.clone());
            let Some(found) = found else {
                match self.glue.create_table(&self.database, &wanted).await {
                    Ok(()) => return Ok(()),
                    Err(error) if already_exists(&error) => continue,
                    Err(error) => return Err(self.failed("create the table", model, &error)),
                }
            };
            if found.into_input() == wanted {
                return Ok(());
            }
            match self.glue.update_table(&self.database, &wanted, version.as_deref()).await {
                Ok(()) => return Ok(()),
                Err(error) if modified_meanwhile(&error) => {}
                Err(error) => return Err(self.failed("change the table", model, &error)),
            }
        }
        bail!(
            "the table `{}.{}` was changed by others {MAX_ROUNDS} times in a row; run it again",
            self.database,
            model.name
        )
    }

    async fn store(&self, model: &Model, date: Date, output: &Output) -> anyhow::Result<Path> {
        let folder = format!("{}/{}", model.name, generation(date));
        let mut spool = Spool::new();
        io::copy(&mut output.file.reopen()?, &mut spool).context("cannot read the rows that were written")?;
        self.files.put(&format!("{folder}/{FILE}"), &mut spool).await?;
        self.folder(&folder)
    }

    async fn publish(&self, model: &Model, date: Date, built: &Built) -> anyhow::Result<()> {
        let values = vec![date.to_string()];
        let found = self.glue.partitions_by_values(&self.database, &model.name, std::slice::from_ref(&values)).await;
        let found = found.map_err(|error| self.failed("read a partition of", model, &error))?.into_iter().next();
        let is_there = found.is_some();
        let mut input = found.map(fms_glue::Partition::into_input).unwrap_or_default();
        let table = self.wanted(model, None).storage_descriptor.unwrap_or_default();
        let location = format!("s3://{}/", built.folder);
        let others = input.storage_descriptor.take().unwrap_or_default().others;
        input.storage_descriptor = Some(StorageDescriptor { location: Some(location), others, ..table });
        input.parameters.retain(|name, _| !note::is_part(name));
        input.parameters.extend(note::write(built));
        input.values = values;
        self.put(model, input, is_there).await
    }

    async fn expire(&self, model: &Model, grace: Duration, now: Timestamp) -> anyhow::Result<u64> {
        let root = format!("{}/", model.name);
        let files = self.files.list(&root).await?;
        let mut folders: BTreeMap<String, i64> = BTreeMap::new();
        for file in &files {
            let Some((folder, FILE)) = file.path.strip_prefix(&root).and_then(|path| path.rsplit_once('/')) else {
                continue;
            };
            folders.insert(folder.to_owned(), file.modified);
        }
        // Read after the files, so that none of them can have become current since.
        let place = self.folder(&root)?;
        let current = self.built(model).await?.into_iter().filter_map(|(date, built)| {
            let below: Path = built.folder.prefix_match(&place)?.collect();
            Some((date, below.to_string()))
        });
        let dead = dead(&folders, &current.collect(), grace, now);
        for folder in &dead {
            self.files.delete(&format!("{root}{folder}/{FILE}")).await?;
        }
        Ok(dead.len() as u64)
    }
}

impl Bucket {
    /// Creates or replaces a partition, whichever it takes.
    async fn put(&self, model: &Model, input: PartitionInput, is_there: bool) -> anyhow::Result<()> {
        let (database, table) = (&self.database, &model.name);
        let input = std::slice::from_ref(&input);
        let mut is_there = is_there;
        for _ in 0..MAX_ROUNDS {
            let failed = if is_there {
                self.glue.update_partitions(database, table, input).await
            } else {
                self.glue.create_partitions(database, table, input).await
            };
            let failed = failed.map_err(|error| self.failed("write a partition of", model, &error))?;
            match failed.into_iter().next() {
                None => return Ok(()),
                Some(failed) if Failed::already_exists(&failed) => is_there = true,
                Some(failed) if Failed::missing(&failed) => is_there = false,
                Some(failed) => bail!("cannot write a partition of `{database}.{table}` in Glue: {failed}"),
            }
        }
        bail!("a partition of `{database}.{table}` was created and deleted by others {MAX_ROUNDS} times; run it again")
    }
}

/// The columns as Glue has them, with what they mean.
fn columns(model: &Model) -> Vec<Column> {
    let column = |column: &crate::model::Column| {
        let mut glue = Column::new(&column.field.name, column.field.data_type.to_string());
        glue.others.insert("Comment".to_owned(), Value::from(short(&column.description)));
        glue
    };
    model.columns.iter().map(column).collect()
}

/// As much of a text as Glue takes for a comment: one line of at most 255 characters.
fn short(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(255).collect()
}
