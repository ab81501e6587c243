//! The engine with its limits, to which a lake's files are mounted. [`Engine`] is given its tables one by one, each
//! with the files that it has, so that a query reads exactly these.

use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::scalar::ScalarValue;
use object_store::ObjectMeta;

use crate::meter::{Meter, Metered};
use crate::problem::{self, Problem};
use crate::size::Size;
use crate::source::{Definition, Lake};
use crate::{schema, table};

/// The store of a lake, as the engine names it.
const STORE: &str = "lake://files/";

/// How many tenths of the memory limit operators may reserve. The rest is for what they do not count, such as the pages
/// that are being decoded and the batches between them.
const RESERVED: u64 = 6;

/// The least memory limit, and what a thread has of it. With less, the engine can write what it sorts to files, but not
/// merge the files.
const LEAST_MEMORY: u64 = 100_000_000;

/// How many of the largest users of memory an error names.
const NAMED_CONSUMERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2);

/// An engine whose tables are given to it.
pub struct Engine {
    context: SessionContext,
    store: Arc<Metered>,
    url: ObjectStoreUrl,
}

/// A file of a table, in the state in which it was listed.
#[derive(Debug, Clone)]
pub struct TableFile {
    /// The values of the partition keys.
    pub values: Vec<String>,
    /// Where it is, and its `ETag`.
    pub meta: ObjectMeta,
}

impl Engine {
    /// An engine for the files of a lake, which runs every query on one thread. So the same files give the same rows to
    /// the last digit, for numbers are added in the same order.
    pub fn new(lake: &Lake, memory: Option<Size>) -> Result<Self, Problem> {
        let context = session(&lake.database, memory, Some(1))?;
        let (store, url) = mount(lake, &context, &Arc::default())?;
        Ok(Self { context, store, url })
    }

    /// Where tables are registered, and queries are planned.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// A table with these files and no others.
    pub fn table(&self, definition: &Definition, files: Vec<TableFile>) -> Arc<dyn TableProvider> {
        let file = |TableFile { values, meta }: TableFile| {
            let values = values.iter().map(|value| ScalarValue::from(value.as_str())).collect();
            PartitionedFile::new_from_meta(meta).with_partition_values(values)
        };
        Arc::new(Pinned {
            schema: schema::of(definition, false),
            files: files.into_iter().map(file).collect(),
            store: Arc::clone(&self.store),
            url: self.url.clone(),
        })
    }
}

/// A table whose files are known.
#[derive(Debug)]
struct Pinned {
    schema: TableSchema,
    files: Vec<PartitionedFile>,
    store: Arc<Metered>,
    url: ObjectStoreUrl,
}

#[async_trait]
impl TableProvider for Pinned {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        table::scan(state, &self.schema, (&self.store, &self.url), self.files.clone(), projection, limit).await
    }
}

/// Lets a session read the files of a lake.
pub(crate) fn mount(
    lake: &Lake,
    context: &SessionContext,
    meter: &Arc<Meter>,
) -> Result<(Arc<Metered>, ObjectStoreUrl), Problem> {
    let url = ObjectStoreUrl::parse(STORE).map_err(|error| problem::of(&error))?;
    let store = Arc::new(Metered { store: Arc::clone(&lake.store), meter: Arc::clone(meter) });
    context.register_object_store(url.as_ref(), Arc::clone(&store) as _);
    Ok((store, url))
}

/// A session in which tables may be called by their names, or by those of `database`.
pub(crate) fn session(database: &str, memory: Option<Size>, threads: Option<usize>) -> Result<SessionContext, Problem> {
    let mut config = SessionConfig::new().with_default_catalog_and_schema("lake", database);
    if let Some(threads) = threads {
        config = config.with_target_partitions(threads);
    }
    config.options_mut().sql_parser.collect_spans = true;
    let mut runtime = RuntimeEnvBuilder::new();
    if let Some(memory) = memory {
        if memory.bytes() < LEAST_MEMORY {
            return Err(Problem::new(format!(
                "--memory-limit {memory} is less than 100 MB, with which no large sort could be finished; raise it"
            )));
        }
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let pool = FairSpillPool::new(size(memory.bytes() / 10 * RESERVED));
        runtime = runtime.with_memory_pool(Arc::new(TrackConsumersPool::new(pool, NAMED_CONSUMERS)));
        let threads = config.target_partitions().min(size(memory.bytes() / LEAST_MEMORY));
        config = config.with_target_partitions(threads);
        // Each sort, of which there is one on every thread, keeps this much for the merge of what it wrote to files.
        let merge = size(memory.bytes() / 20) / threads;
        let kept = &mut config.options_mut().execution.sort_spill_reservation_bytes;
        *kept = merge.min(*kept);
    }
    let runtime = runtime.build_arc().map_err(|error| problem::of(&error))?;
    let state =
        SessionStateBuilder::new().with_config(config).with_runtime_env(runtime).with_default_features().build();
    Ok(SessionContext::new_with_state(state))
}
