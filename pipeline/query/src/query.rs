//! One query: its text becomes a plan over the tables of a lake, and the plan runs within limits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::{ParamValues, TableReference};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::{SQLOptions, SessionContext};
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::Statement;

use crate::engine;
use crate::meter::Meter;
use crate::problem::{self, Problem};
use crate::schema;
use crate::size::Size;
use crate::source::Lake;
use crate::summary::Summary;
use crate::table::LakeTable;

/// The name of the database where a text is only read: which one it is changes no name of a table.
const DATABASE: &str = "lake";

/// A query and its limits.
#[derive(Debug, Default)]
pub struct Query {
    /// The text, with `$name` for parameters.
    pub sql: String,
    /// The values of the parameters.
    pub parameters: BTreeMap<String, String>,
    /// How much memory it may use before it writes to temporary files.
    pub memory: Option<Size>,
    /// How many bytes its files may have.
    pub max_scan: Option<Size>,
}

impl Query {
    /// The names of the tables that the text reads, without looking into a catalog.
    ///
    /// # Errors
    ///
    /// The text is no statement of SQL.
    pub fn tables(&self) -> Result<BTreeSet<String>, Problem> {
        let state = engine::session(DATABASE, None, None)?.state();
        let dialect = state.config_options().sql_parser.dialect;
        let statement = state.sql_to_statement(&self.sql, &dialect).map_err(|error| problem::of(&error))?;
        let references = state.resolve_table_references(&statement).map_err(|error| problem::of(&error))?;
        Ok(references.iter().map(|reference| reference.table().to_owned()).collect())
    }
}

/// A query that can run.
pub struct Planned {
    plan: Arc<dyn ExecutionPlan>,
    context: SessionContext,
    meter: Arc<Meter>,
}

impl Planned {
    /// Plans a query: reads the catalog, and lists the files that can have what it asks for.
    pub async fn new(lake: &Lake, query: &Query) -> Result<Self, Problem> {
        let meter = Arc::new(Meter::default());
        let context = engine::session(&lake.database, query.memory, None)?;
        let state = context.state();
        let dialect = state.config_options().sql_parser.dialect;
        let statement = state.sql_to_statement(&query.sql, &dialect).map_err(|error| problem::of(&error))?;
        load(lake, &context, &statement, &meter).await?;
        let plan = context.state().statement_to_plan(statement).await.map_err(|error| problem::of(&error))?;
        let only_reads = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        only_reads.verify_plan(&plan).map_err(|error| problem::of(&error))?;
        let plan = with_parameters(plan, &query.parameters)?;
        let plan = context.state().create_physical_plan(&plan).await.map_err(|error| problem::of(&error))?;
        let (size, files) = (meter.size.get(), meter.files.get());
        if let Some(limit) = query.max_scan.filter(|limit| size > limit.bytes()) {
            return Err(Problem::new(format!(
                "the query would read up to {} in {files} files of {} partitions, which is more than --max-scan \
                 {limit}; name fewer days or hours, or raise the limit",
                Size::from(size),
                meter.partitions.get(),
            )));
        }
        Ok(Self { plan, context, meter })
    }

    /// The columns of the result.
    pub fn schema(&self) -> SchemaRef {
        self.plan.schema()
    }

    /// Starts the query.
    pub fn start(&self) -> Result<SendableRecordBatchStream, DataFusionError> {
        execute_stream(Arc::clone(&self.plan), self.context.task_ctx())
    }

    /// What has been read until now.
    pub fn summary(&self, rows: u64) -> Summary {
        Summary::new(rows, &self.meter, self.plan.as_ref())
    }
}

/// Gives the engine the tables that a statement names.
async fn load(lake: &Lake, context: &SessionContext, statement: &Statement, meter: &Arc<Meter>) -> Result<(), Problem> {
    let (store, url) = engine::mount(lake, context, meter)?;
    let has_file = statement.to_string().contains(&format!("\"{}\"", schema::FILE));
    let references = context.state().resolve_table_references(statement).map_err(|error| problem::of(&error))?;
    for reference in references {
        let is_ours = reference.schema().is_none_or(|schema| schema == lake.database) && reference.catalog().is_none();
        let table = if is_ours { lake.source.table(reference.table()).await? } else { None };
        let Some(definition) = table else {
            let names = lake.source.names().await?;
            return Err(problem::no_table(statement, &reference, &lake.database, names));
        };
        let source = Arc::clone(&lake.source);
        let (store, url, time) = (Arc::clone(&store), url.clone(), lake.time.clone());
        let table = LakeTable::new(definition, source, store, url, time, has_file);
        let name = TableReference::full("lake", lake.database.as_str(), reference.table());
        context.register_table(name, Arc::new(table)).map_err(|error| problem::of(&error))?;
    }
    Ok(())
}

/// Puts the values of parameters into a plan, each as the type that its place in the query asks for.
fn with_parameters(plan: LogicalPlan, given: &BTreeMap<String, String>) -> Result<LogicalPlan, Problem> {
    let asked = plan.get_parameter_types().map_err(|error| problem::of(&error))?;
    let asked: BTreeMap<&str, DataType> = asked
        .iter()
        .map(|(name, data_type)| (name.trim_start_matches('$'), data_type.clone().unwrap_or(DataType::Utf8)))
        .collect();
    if let Some(name) = given.keys().find(|name| !asked.contains_key(name.as_str())) {
        let known = problem::list(asked.keys().map(|name| format!("${name}")));
        return Err(Problem::new(format!("the query has no parameter `${name}`; it has {known}")));
    }
    let mut values = Vec::new();
    for (name, data_type) in asked {
        let Some(text) = given.get(name) else {
            return Err(Problem::new(format!("the parameter `${name}` has no value; add --param {name}=VALUE")));
        };
        let value = ScalarValue::try_from_string(text.clone(), &data_type).map_err(|_| {
            Problem::new(format!("the value `{text}` of the parameter `${name}` cannot be read as {data_type}"))
        })?;
        values.push((name.to_owned(), value));
    }
    if values.is_empty() {
        return Ok(plan);
    }
    plan.with_param_values(ParamValues::from(values)).map_err(|error| problem::of(&error))
}
