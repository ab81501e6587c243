//! The rows of a partition: what its inputs are, and the engine that is given their files.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use datafusion::arrow::datatypes::Schema;
use datafusion::datasource::MemTable;
use fms_query::{Engine, Size};
use jiff::civil::Date;

use super::Work;
use crate::build::{Output, build};
use crate::inputs::Inputs;
use crate::model::Model;
use crate::query;
use crate::sources::Source;

/// What all days of a model are built of.
#[derive(Debug, Default)]
pub(crate) struct Everything {
    days: BTreeMap<Date, Inputs>,
    sources: BTreeMap<String, Source>,
}

impl Everything {
    pub fn dates(&self) -> impl Iterator<Item = Date> {
        self.days.keys().copied()
    }
}

impl Work<'_> {
    /// What all days of a model are built of, if nothing is built before.
    pub async fn everything(&self, name: &str) -> anyhow::Result<Everything> {
        let mut sources = BTreeMap::new();
        let Some(model) = self.models.get(name) else { return Ok(Everything::default()) };
        for (name, reads) in &model.sources {
            let source = match self.models.get(name).filter(|_| reads.is_model) {
                Some(model) => Source::of_model(model, &self.catalog.built(model).await?),
                None => Source::of_lake(self.lake, name, self.models, self.scope).await?,
            };
            sources.insert(name.clone(), source);
        }
        let days = self.days(model, &sources, &BTreeMap::new());
        Ok(Everything { days: days.into_iter().map(|day| (day.date, day.inputs)).collect(), sources })
    }

    /// The rows of a day of a model, which are published nowhere.
    pub async fn day(&self, name: &str, date: Date, of: &Everything) -> anyhow::Result<Output> {
        let model = self.models.get(name).with_context(|| format!("there is no model `{name}`"))?;
        let inputs = of.days.get(&date).cloned().unwrap_or_default();
        self.output(model, date, &inputs, &of.sources).await
    }

    /// The rows of a partition, made on a task of its own, so that all cores have work. A file is only read in the state
    /// in which it was listed; if one was replaced or removed since, that is an error, and the next run lists it anew.
    pub(super) async fn output(
        &self,
        model: &Model,
        date: Date,
        inputs: &Inputs,
        sources: &BTreeMap<String, Source>,
    ) -> anyhow::Result<Output> {
        let memory = self.memory.map(|memory| Size::from(memory.bytes() / self.at_once as u64));
        let engine = Engine::new(self.lake, memory)?;
        for (name, reads) in &model.sources {
            let partitions = inputs.0.get(name).cloned().unwrap_or_default();
            let source = sources.get(name);
            let read = match source {
                Some(source) => source.read(self.lake, &partitions).await?,
                None => None,
            };
            let table = if let Some((definition, files)) = read {
                engine.table(definition, files)
            } else {
                let keys = query::keys(reads).iter().map(|key| fms_lake::Field::new(*key, fms_lake::Type::String));
                let fields: Vec<_> = reads.columns.iter().cloned().chain(keys).collect();
                let schema: Arc<Schema> = Arc::new(fms_lake::schema(&fields));
                Arc::new(MemTable::try_new(schema, vec![Vec::new()])?)
            };
            query::register(engine.context(), name, reads, table)?;
        }
        let model = model.clone();
        tokio::spawn(async move { build(&engine, &model, date).await }).await?
    }
}
