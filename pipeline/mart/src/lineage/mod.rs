//! What is made of what: tables of tables, and columns of columns.

mod events;
mod html;
mod resolved;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context as _;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use fms_lake::{Field, Type};

use crate::model::{Model, Models};
use crate::query;

pub(crate) use events::{Built, Events};
pub(crate) use html::html;
pub(crate) use text::{columns, tables};

/// A column of a table that a model reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    pub table: String,
    pub column: String,
}

/// How much of a column's values is in those that are made of it, from most to least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum How {
    /// They are the same, perhaps of another type.
    Same,
    /// Each is computed of the values of a row.
    Computed,
    /// Each is computed of the values of several rows.
    Aggregated,
}

/// The columns that a column is made of.
pub(crate) type Origins = BTreeMap<Origin, How>;

/// What the columns of a model are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lineage {
    /// Each column of the model, in its order, and the day.
    pub columns: Vec<(String, Origins)>,
    /// The columns that decide: by which rows are filtered, joined and grouped, windows are ordered, and the value of a
    /// `case` is chosen.
    pub deciding: BTreeSet<Origin>,
}

/// The lineage of the columns of these models, in the order in which they are built.
pub(crate) async fn lineage<'m>(
    models: &'m Models,
    of: &'m BTreeSet<&str>,
) -> anyhow::Result<Vec<(&'m Model, Lineage)>> {
    let mut found = Vec::new();
    for model in models.named(of) {
        let lineage = of_model(model).await.with_context(|| format!("{}.sql", model.name))?;
        found.push((model, lineage));
    }
    Ok(found)
}

/// The lineage of a model's columns, from its query as the engine understands it.
pub(crate) async fn of_model(model: &Model) -> anyhow::Result<Lineage> {
    let context = SessionContext::new();
    for (source, reads) in &model.sources {
        let keys = query::keys(reads).iter().map(|key| Field::new(*key, Type::String));
        let fields: Vec<_> = reads.columns.iter().cloned().chain(keys).collect();
        let schema = Arc::new(fms_lake::schema(&fields));
        context.register_table(source, Arc::new(MemTable::try_new(schema, vec![Vec::new()])?))?;
    }
    resolved::lineage(query::rows(&context, model).await?.logical_plan())
}
