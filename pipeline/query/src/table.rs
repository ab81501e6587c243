//! A table of the lake as the engine sees it: which partitions a query needs, and which files these have.
//!
//! The listing table of the engine lists every file of a table again for every query. This one asks the catalog for the
//! partitions that the query's conditions leave, and lists the folders of these alone.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::project_schema;
use datafusion::common::stats::Precision;
use datafusion::common::{Result, Statistics};
use datafusion::datasource::TableType;
use datafusion::datasource::file_format::FileFormat as _;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::DataFusionError;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::scalar::ScalarValue;
use fms_lake::PARTITION_KEYS;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::{ObjectMeta, ObjectStore as _};

use crate::keys;
use crate::meter::Metered;
use crate::range::Range;
use crate::schema;
use crate::source::{Definition, EventTime, Partition, Source, is_data};

/// How many folders are listed at a time.
const LISTS: usize = 32;

/// The last bytes of a file, which are read at once: they have the footer of most files, so that it takes one call.
const FOOTER: usize = 64 << 10;

/// A table of a lake.
#[derive(Debug)]
pub(crate) struct LakeTable {
    definition: Definition,
    schema: TableSchema,
    /// Whether rows have the column with their file.
    has_file: bool,
    source: Arc<dyn Source>,
    store: Arc<Metered>,
    /// Where the engine finds the store.
    url: ObjectStoreUrl,
    time: EventTime,
}

impl LakeTable {
    pub fn new(
        definition: Definition,
        source: Arc<dyn Source>,
        store: Arc<Metered>,
        url: ObjectStoreUrl,
        time: EventTime,
        has_file: bool,
    ) -> Self {
        let schema = schema::of(&definition, has_file);
        Self { definition, schema, has_file, source, store, url, time }
    }

    fn keys(&self) -> Vec<&str> {
        self.definition.keys.iter().map(String::as_str).collect()
    }

    /// The partitions that can have rows for which all conditions are true.
    async fn partitions(&self, state: &dyn Session, filters: &[Expr]) -> Result<Vec<Partition>> {
        let conditions = keys::conditions(filters, &self.keys());
        // By the names of the partition keys, a partition is an hour of a day.
        let is_by_time = self.keys() == PARTITION_KEYS;
        let range = if is_by_time { Range::of(filters, &self.time.column, &self.schema) } else { Range::default() };
        let expression = keys::expression(&conditions, range.expressions(PARTITION_KEYS[0]));
        let found = self.source.partitions(&self.definition, expression.as_deref()).await.map_err(external)?;
        let named = found.len();
        let partitions = keys::retain(state, &schema::keys(&self.definition), conditions, found)?;
        let zone = self.time.zone.as_ref();
        let is_within = |partition: &Partition| match partition.values.as_slice() {
            [day, hour] if is_by_time => range.may_have(day, hour, zone),
            _ => true,
        };
        let partitions: Vec<Partition> = partitions.into_iter().filter(is_within).collect();
        self.store.meter.partitions.add(partitions.len() as u64);
        self.store.meter.pruned.add((named - partitions.len()) as u64);
        Ok(partitions)
    }

    /// The files of these partitions.
    async fn files(&self, partitions: Vec<Partition>) -> Result<Vec<PartitionedFile>> {
        let listed = stream::iter(partitions).map(|partition| async move {
            let files: Vec<ObjectMeta> = self.store.list(Some(&partition.folder)).try_collect().await?;
            let values: Vec<ScalarValue> = partition.values.iter().map(|value| value.as_str().into()).collect();
            let file = |meta: ObjectMeta| {
                let path = self.has_file.then(|| format!("{}{}", self.source.scheme(), meta.location).into());
                let values = values.iter().cloned().chain(path).collect();
                PartitionedFile::new_from_meta(meta).with_partition_values(values)
            };
            Ok::<Vec<_>, DataFusionError>(files.into_iter().filter(is_data).map(file).collect())
        });
        let files: Vec<_> = listed.buffered(LISTS).try_collect().await?;
        Ok(files.into_iter().flatten().collect())
    }
}

#[async_trait]
impl TableProvider for LakeTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let keys = self.keys();
        let support = |filter: &&Expr| {
            // Partitions for which a condition on their keys is not true are left out.
            let is_exact = keys::is_of_keys(filter, &keys);
            if is_exact { TableProviderFilterPushDown::Exact } else { TableProviderFilterPushDown::Inexact }
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let partitions = self.partitions(state, filters).await?;
        let files = self.files(partitions).await?;
        scan(state, &self.schema, (&self.store, &self.url), files, projection, limit).await
    }
}

/// The plan that reads these files of a table.
pub(crate) async fn scan(
    state: &dyn Session,
    schema: &TableSchema,
    (store, url): (&Metered, &ObjectStoreUrl),
    files: Vec<PartitionedFile>,
    projection: Option<&Vec<usize>>,
    limit: Option<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let size: u64 = files.iter().map(|file| file.object_meta.size).sum();
    store.meter.files.add(files.len() as u64);
    store.meter.size.add(size);
    if files.is_empty() {
        return Ok(Arc::new(EmptyExec::new(project_schema(schema.table_schema(), projection)?)));
    }
    let mut statistics = Statistics::new_unknown(schema.table_schema());
    statistics.total_byte_size = Precision::Inexact(usize::try_from(size).unwrap_or(usize::MAX));
    let groups = FileGroup::new(files).split_files(state.config().target_partitions());
    let source = Arc::new(ParquetSource::new(schema.clone()));
    let scan = FileScanConfigBuilder::new(url.clone(), source)
        .with_file_groups(groups)
        .with_statistics(statistics)
        .with_projection_indices(projection.cloned())?
        .with_limit(limit)
        .build();
    let mut options = state.default_table_options().parquet;
    options.global.metadata_size_hint = Some(FOOTER);
    ParquetFormat::default().with_options(options).create_physical_plan(state, scan).await
}

fn external(error: anyhow::Error) -> DataFusionError {
    DataFusionError::External(error.into())
}
