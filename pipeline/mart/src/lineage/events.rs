//! Events of `OpenLineage`: that a model's build has begun, and what has become of it. They are the lines of a file,
//! and are sent to a backend.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use fms_openlineage::{Backend, Facet, Kind, Outbox, Run, dataset, field, run_id};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{How, of_model};
use crate::model::{DAY, Model};

/// Who gets events.
pub(crate) struct Events {
    file: Option<File>,
    outbox: Option<Outbox>,
}

/// A build that has begun.
pub(crate) struct Begun {
    run: Run,
    inputs: Vec<Value>,
    output: Value,
}

/// What has become of the partitions of a model.
#[derive(Debug, Clone, Default)]
pub(crate) struct Built {
    pub rows: u64,
    pub files: u64,
    /// Why the first one that failed did.
    pub failure: Option<String>,
}

impl Events {
    /// Adds to a file, which is created if it is not there, and sends to the backend that the environment names. `None`
    /// if there is neither.
    pub fn open(path: Option<&Path>) -> anyhow::Result<Option<Self>> {
        let open = |path: &Path| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.with_context(|| format!("--openlineage {}: it cannot be written", path.display()))
        };
        let file = path.map(open).transpose()?;
        let outbox = Backend::of_environment()?.map(Outbox::start);
        Ok((file.is_some() || outbox.is_some()).then_some(Self { file, outbox }))
    }

    /// Waits for the backend, for a while.
    pub async fn finish(self) {
        if let Some(outbox) = self.outbox {
            outbox.finish().await;
        }
    }

    /// Tells that the build of a model begins.
    pub async fn begin(&self, model: &Model) -> anyhow::Result<Begun> {
        let (job, now) = (format!("mart.{}", model.name), Timestamp::now());
        // Nobody else begins the same job with the same number.
        let id = run_id([job.as_str(), &now.to_string(), &fastrand::u128(..).to_string()].into_iter());
        let run = Run { job, id, producer: "urn:fms:mart" };
        let inputs = model.sources.keys().map(|source| dataset(source)).collect();
        let mut output = dataset(&model.name);
        output["facets"] = run
            .facets([(Facet::Schema, json!({"fields": schema(model)})), (Facet::ColumnLineage, columns(model).await?)]);
        let begun = Begun { run, inputs, output };
        self.tell(&begun, Kind::Start, now, &begun.output, &json!({}))?;
        Ok(begun)
    }

    /// Tells what has become of it.
    pub fn end(&self, begun: &Begun, built: Built) -> anyhow::Result<()> {
        let Begun { run, output, .. } = begun;
        let mut output = output.clone();
        let statistics = json!({"rowCount": built.rows, "fileCount": built.files});
        output["outputFacets"] = run.facets([(Facet::OutputStatistics, statistics)]);
        let (kind, facets) = match built.failure {
            None => (Kind::Complete, json!({})),
            Some(message) => {
                let message = json!({"message": message, "programmingLanguage": "Rust"});
                (Kind::Fail, run.facets([(Facet::ErrorMessage, message)]))
            }
        };
        self.tell(begun, kind, Timestamp::now(), &output, &facets)
    }

    fn tell(&self, begun: &Begun, kind: Kind, now: Timestamp, output: &Value, facets: &Value) -> anyhow::Result<()> {
        let event = begun.run.event(kind, &now.to_string(), &begun.inputs, std::slice::from_ref(output), facets);
        if let Some(outbox) = &self.outbox {
            outbox.send(format!("{} of {}", kind.name(), begun.run.job), event.clone());
        }
        let Some(mut file) = self.file.as_ref() else { return Ok(()) };
        // One call, so that events of two programs do not mix.
        file.write_all(event.as_bytes()).context("an event of OpenLineage cannot be written")
    }
}

/// The columns with their types and what they mean.
fn schema(model: &Model) -> Vec<Value> {
    let column = |column: &crate::model::Column| {
        json!({
            "name": column.field.name, "type": column.field.data_type.to_string(), "description": column.description,
        })
    };
    let day = json!({"name": DAY, "type": "string", "description": "the day"});
    model.columns.iter().map(column).chain([day]).collect()
}

/// The facet that says which columns each column is made of.
async fn columns(model: &Model) -> anyhow::Result<Value> {
    let lineage = of_model(model).await?;
    let origin = |origin: &super::Origin, of: &str, subtype: Option<&str>| {
        let mut field = field(&origin.table, &origin.column);
        let mut transformation = json!({"type": of});
        if let Some(subtype) = subtype {
            transformation["subtype"] = json!(subtype);
        }
        field["transformations"] = json!([transformation]);
        field
    };
    let mut fields = Map::new();
    for (column, origins) in &lineage.columns {
        let subtype = |how: How| match how {
            How::Same => "IDENTITY",
            How::Computed => "TRANSFORMATION",
            How::Aggregated => "AGGREGATION",
        };
        let inputs: Vec<Value> = origins.iter().map(|(one, how)| origin(one, "DIRECT", Some(subtype(*how)))).collect();
        fields.insert(column.clone(), json!({"inputFields": inputs}));
    }
    let deciding: Vec<Value> = lineage.deciding.iter().map(|one| origin(one, "INDIRECT", None)).collect();
    Ok(json!({"fields": fields, "dataset": deciding}))
}
